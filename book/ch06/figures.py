"""Figures of chapter 6: the mean-value idea, AMED-Solver and AMED-Plugin."""

import numpy as np

from book.plots import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    Picture,
    bars,
    image_grid,
    lines,
    listing,
    mark,
    new_figure,
    number,
    style,
)
from book.problems import rms


@style()
def guesses(step) -> Picture:
    """One step of a one-dimensional flow. Left: the trajectory, the chord, and where four methods end.
    Right: its slope over the level, the mean, and what each method takes for the mean.

    step: what `experiments.line_step` returns.
    """
    kappas, states, slopes, mean, r = (step[key] for key in ("kappas", "states", "slopes", "mean", "share"))
    start, end = kappas[0], kappas[-1]
    fig, (left, right) = new_figure(1, 2, height=3.9)
    left.plot(kappas, states, color=INK, linewidth=2.4, label="trajectory")
    left.plot([start, end], [states[0], states[-1]], color=GREY, linewidth=1.2, label="its chord")
    left.legend(fontsize=8.5)
    right.plot(kappas, slopes, color=INK, linewidth=2.4, label="direction on the trajectory")
    right.axhline(mean, color=GREY, linewidth=1.6, label="its mean")
    told = []
    for i, (name, (kappa, slope)) in enumerate(step["guesses"].items()):
        ends = states[0] + (end - start) * slope
        look = {"color": COLOURS[i + 1], "marker": MARKERS[i + 1], "markersize": 7, "markeredgecolor": INK}
        left.plot([start, end], [states[0], ends], color=COLOURS[i + 1], linewidth=0.8, linestyle=":")
        left.plot(end, ends, linestyle="none", **look)
        right.plot(kappa, slope, linestyle="none", label=name, **look)
        told.append(f"{name} {number(slope)}")
    right.plot(
        start ** (1 - r) * end**r, mean, "o", markersize=10, markerfacecolor="none", markeredgecolor=INK
    )
    for ax, title, ylabel in ((left, "one step", "$x$"), (right, "the direction", r"$\varepsilon$")):
        ax.set(title=title, xlabel=r"level $\kappa$", ylabel=ylabel)
        ax.invert_xaxis()
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"One step of a one-dimensional flow from level {start:g} to {end:g}. The mean direction is "
        f"{number(mean)}; as a guess of it, {listing(told)}. A ring marks the level "
        f"{number(start * (end / start) ** r)} at which the trajectory itself has the mean direction.",
    )


@style()
def vector_theorem() -> Picture:
    """Velocities of a quarter circle and of a parabola as curves, each with its mean."""
    t = np.linspace(0, 1, 200)
    fig, axes = new_figure(1, 2, height=3.5)
    drawn = (
        (
            "circle: mean off the curve",
            np.cos(np.pi / 2 * t),
            np.sin(np.pi / 2 * t),
            2 / np.pi,
            2 / np.pi,
        ),
        ("parabola: mean on the curve", np.ones_like(t), 2 * t, 1.0, 1.0),
    )
    for ax, (title, u, v, a, b) in zip(axes, drawn):
        ax.plot(u, v, color=COLOURS[2], linewidth=2.4)
        for i in (0, 66, 133, 199):
            ax.annotate(
                "", (u[i], v[i]), (0, 0), arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 1}
            )
        ax.plot(a, b, "s", color=COLOURS[1], markeredgecolor=INK, markersize=9)
        ax.annotate("mean", (a, b), xytext=(-10, -14), textcoords="offset points", ha="right")
        ax.plot(0, 0, ".", color=INK)
        ax.set(title=title, xlabel="first component of the velocity", aspect="equal")
    axes[0].set(ylabel="second component", xlim=(-0.1, 1.3), ylim=(-0.1, 1.3))
    axes[1].set(xlim=(-0.6, 1.6), ylim=(-0.1, 2.1))
    length = 2 * np.sqrt(2) / np.pi
    return Picture(
        fig,
        f"All velocities of two motions as points of the plane. On a quarter circle they form an arc of "
        f"radius 1, and the mean, of length {number(length, 3)}, lies inside it. On a parabola they form a "
        f"straight segment, and the mean is its middle.",
    )


@style()
def components(shapes) -> Picture:
    """Left: share of the variance that 1, 2, 3 components leave. Right: how far the path strays from them.

    shapes: dict view -> (three shares, three distances), of `experiments.shapes`.
    """
    fig, (left, right) = new_figure(1, 2, height=3.4)
    told = []
    for i, (name, (share, off)) in enumerate(shapes.items()):
        left.plot((1, 2, 3), share, label=name, **mark(i))
        right.plot((1, 2, 3), off, label=name, **mark(i))
        told.append(f"{name} {number(share[0])} of the variance and {number(off[0])} norms after one")
    ratio = shapes["VP coordinates"][0][0] / shapes["EDM, from 80"][0][0]
    left.set(yscale="log", title="variance not explained", xlabel="principal components")
    right.set(title="largest distance, in digits' norms", xlabel="principal components", ylim=(0, None))
    for ax in (left, right):
        ax.set_xticks((1, 2, 3))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"What the first components of a digit's trajectory leave, medians of 100 paths: {listing(told)}. "
        f"In EDM coordinates from level 80 the variance left is {round(ratio, -2):.0f} times smaller than in "
        f"VP, the distance is not.",
    )


@style()
def best_times(kappas, shares) -> Picture:
    """The exact best share r of each step of a grid on the triangle: median and middle 80 %.

    kappas: the levels, (steps + 1,); shares: dict label -> (steps, n), of n samples.
    """
    fig, ax = new_figure(height=3.3)
    steps, told = len(kappas) - 1, []
    for i, (label, rows) in enumerate(shares.items()):
        low, half, high = np.quantile(rows, [0.1, 0.5, 0.9], axis=1)
        at = np.arange(steps) + 0.16 * (2 * i - 1)
        ax.errorbar(
            at, half, (half - low, high - half), linestyle="none", capsize=4, label=label, markersize=7,
            color=COLOURS[i + 1], marker=MARKERS[i + 1],
        )  # fmt: skip
        told.append(f"{label} {listing([number(v) for v in half])}")
    ax.axhline(0.5, color=GREY, linestyle=":", label="DPM-Solver-2")
    ax.set_xticks(range(steps), [f"{number(t)} → {number(s)}" for t, s in zip(kappas, kappas[1:])])
    ax.set(xlabel=r"step, from level to level", ylabel="best $r$", ylim=(0, 0.7))
    ax.legend(ncols=3, loc="lower left")
    return Picture(
        fig,
        f"The share of the step at which one direction serves best, median and middle 80 % of {len(rows[0])} "
        f"samples on the triangle, for {steps} steps from level {kappas[0]:g} to {kappas[-1]:g}: "
        f"{'; '.join(told)}. DPM-Solver-2 takes 0.5.",
    )


def failure(ratios, residuals) -> Picture:
    """The residual of the best level, and of two solvers' choices, over the size of the step.

    ratios: of the step's two levels; residuals: dict label -> list as long.
    """
    sizes = [1 - 1 / ratio for ratio in ratios]
    picture = lines(
        {name: (sizes, row) for name, row in residuals.items()},
        "step, as a share of the level it starts from",
        "distance from the mean, relative",
        logx=True,
        logy=True,
        height=3.8,
    )
    ax = picture.axes[0]
    guide = np.array([0.02, 0.2])
    ax.plot(guide, 0.004 * guide**2, color=GREY, linewidth=1, linestyle="-")
    ax.annotate("slope 2", (0.06, 0.004 * 0.06**2), xytext=(6, -10), textcoords="offset points", fontsize=9)
    ax.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 0.9], ["0.02", "0.05", "0.1", "0.2", "0.5", "0.9"])
    ax.minorticks_off()
    ax.set_title("on the triangle", loc="left", fontweight="bold")
    return picture


@style()
def learned_and_best(best, learned) -> Picture:
    """What three predictors say against the exact best r of each sample: (n,), and dict title -> (n,)."""
    fig, axes = new_figure(1, 3, height=3.0, sharey=True)
    told = []
    for ax, (title, r) in zip(axes, learned.items()):
        ax.plot(best, r, "o", markersize=3, color=COLOURS[2], alpha=0.6, linewidth=0)
        ax.plot([0, 0.6], [0, 0.6], color=INK, linewidth=1)
        ax.set(title=title, xlabel="exact best $r$", xlim=(0, 0.6), ylim=(0, 0.6))
        told.append(f"{title}: from {r.min():.1f} to {r.max():.1f}")
    axes[0].set_ylabel("learned $r$")
    return Picture(
        fig,
        f"Learned against exact best r for {len(best)} fresh samples, with the diagonal. {'; '.join(told)}. "
        f"Only the last cloud lies along the diagonal.",
    )


def stand_ins(tops, errors) -> Picture:
    """Relative error of what may stand in for the first direction, against the level of the start: dict label
    -> list, one for each of tops.
    """
    picture = lines(
        {name: (tops, row) for name, row in errors.items()},
        "level at which the run starts",
        "relative error of the first direction",
        logx=True,
        logy=True,
    )
    ax = picture.axes[0]
    ax.set_xticks(tops, [str(top) for top in tops])
    ax.minorticks_off()
    ax.invert_xaxis()
    return picture


def crossing(calls, errors) -> Picture:
    """RMSE on digits against calls, for solvers of one and of two calls a step: dict solver -> list, one for
    each of calls.
    """
    picture = lines(
        {name: (calls, row) for name, row in errors.items()},
        "calls of the network",
        "RMSE to the flow's end",
        logx=True,
        logy=True,
        height=3.6,
    )
    ax = picture.axes[0]
    ax.set_xticks(calls, [str(c) for c in calls])
    ax.minorticks_off()
    return picture


SHOWN = (
    "DDIM",
    "AMED-Plugin, DPM-Solver++ 2M",
    "DPM-Solver++ 2M, analytic start",
    "iPNDM",
    "iPNDM, analytic start",
    "one share a step",
    "AMED-Solver",
    "AMED-Plugin, iPNDM",
)


@style()
def table_two(rmse, frechet, flow) -> Picture:
    """The recorded study: RMSE and Fréchet distance against calls, each method -> {calls: value}; flow: the
    Fréchet distance of the flow itself, a line.
    """
    fig, axes = new_figure(1, 2, height=4.2)
    told = [f"{name} {number(rmse[name][3])}" for name in SHOWN]
    for ax, table, title in zip(axes, (rmse, frechet), ("RMSE to the flow's end", "Fréchet distance")):
        for i, name in enumerate(SHOWN):
            look = mark(i) | ({"color": INK, "linewidth": 2.6} if "AMED" in name else {"linewidth": 1.2})
            look |= {"color": GREY} if name == "DDIM" else {}
            ax.plot(list(table[name]), list(table[name].values()), label=name, **look)
        ax.set(yscale="log", title=title, xlabel="calls of the network")
        if table is frechet:
            ax.axhline(
                flow, color=GREY, linewidth=1.6, linestyle=(0, (6, 2)), label=f"the flow itself, {flow:.2f}"
            )
        ax.set_xticks(list(table["DDIM"]))
        ticks = (0.02, 0.05, 0.1, 0.2) if table is rmse else (1, 2, 5, 10, 20)
        low, high = ax.get_ylim()
        ticks = [v for v in ticks if low <= v <= high]
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
        ax.minorticks_off()
    fig.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"Digits from level 20 against calls of the network. RMSE at 3 calls: {listing(told, 8)}. In Fréchet "
        f"distance the order is another: of these the plugin on DPM-Solver++ 2M has the least at 3 and 4 "
        f"calls, from 5 on DPM-Solver++ 2M itself, all below the {flow:.2f} of the flow itself, a line.",
    )


def controls(errors) -> Picture:
    """What each part of AMED's gain is due to, as bars: dict label -> RMSE."""
    picture = bars(errors, "RMSE to the flow's end", fmt="{:.3f}")
    picture.axes[0].tick_params(axis="x", labelsize=8.5)
    return picture


def three_calls(rows) -> Picture:
    """Digits by three calls of several methods from the same noise, in [-1, 1]: dict label -> (n, 1, 8, 8),
    the end of the flow first.
    """
    first, *methods = rows
    told = [f"{name} {rms(rows[name] - rows[first]):.1f}" for name in methods]
    return image_grid(
        {name: digits.clamp(-1, 1) for name, digits in rows.items()},
        alt=f"{len(rows[first])} digits in columns, by three calls of each method from the same noise; on "
        f"top where the flow ends. Root mean square distance from it: {listing(told)}.",
    )


# --- the widget -----------------------------------------------------------------------------------------


def _clusters(ax, mixture):
    """The clusters of a mixture in the plane as circles of two deviations."""
    angle = np.linspace(0, 2 * np.pi, 60)
    for (a, b), std in zip(mixture.means.tolist(), mixture.stds.tolist()):
        ax.plot(a + 2 * std * np.cos(angle), b + 2 * std * np.sin(angle), color=INK, linewidth=1.2)


@style()
def one_step(step) -> Picture:
    """For the widget: one step of one trajectory, the intermediate time at share r, and the error it leaves.

    Left: the exact path, Euler's line to the chosen level, and the step with the direction found there.
    Right: the error over r, with the chosen r, the exact best and what the trained predictor says.
    step: what `experiments.one_step` returns.
    """
    r, error, path, line, made = (step[key] for key in ("share", "error", "path", "line", "made"))
    start, stop = step["kappas"]
    fig, (left, right) = new_figure(1, 2, height=3.9)
    left.plot(*path.T, color=INK, linewidth=2.4, label="exact path")
    left.plot(*line.T, color=GREY, linestyle=":", linewidth=2.2, marker="^", label="Euler to the level")
    left.plot(*made.T, color=COLOURS[1], linestyle="--", marker="s", label="the step")
    left.plot(*step["end"], "o", color=INK, markersize=7)
    _clusters(left, step["mixture"])
    left.set(title="the step", xlabel="$x_1$", ylabel="$x_2$", aspect="equal", adjustable="datalim")
    left.legend(fontsize=8.5)
    right.plot(*step["errors"], color=INK)
    right.plot(r, error, "s", color=COLOURS[1], markersize=9, markeredgecolor=INK, label="yours")
    right.axvline(step["best"], color=INK, linestyle=":", linewidth=1.6, label="exact best")
    right.axvline(step["learned"], color=COLOURS[1], linestyle="--", linewidth=2.2, label="AMED")
    right.set(
        title=f"error left: {error:.2f}", xlabel="share $r$ of the step", ylabel="error", ylim=(0, None)
    )
    right.legend()
    return Picture(
        fig,
        f"One step from level {start:g} to {stop:g} with the direction found at share {r:g} of it: the error "
        f"left is {error:.2f}. The exact best share is {step['best']:.2f}, the trained predictor says "
        f"{step['learned']:.1f}.",
    )
