"""Figures of chapter 6: the mean-value idea, AMED-Solver and AMED-Plugin."""

import numpy as np
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from book.plots import (
    COLOURS,
    DASHES,
    GREY,
    INK,
    MARKERS,
    Picture,
    array,
    image_grid,
    lines,
    listing,
    mark,
    mosaic,
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
    places = ((1.02, 0.98), (1.08, 0.96))  # clear of arrows and curves
    for ax, (title, u, v, a, b), place in zip(axes, drawn, places):
        ax.plot(u, v, color=COLOURS[2], linewidth=2.4)
        for i in (0, 66, 133, 199):
            ax.annotate(
                "", (u[i], v[i]), (0, 0), arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 1}
            )
        ax.plot(a, b, "s", color=COLOURS[1], markeredgecolor=INK, markersize=9)
        leader = {"arrowstyle": "-", "color": INK, "linewidth": 0.8, "shrinkB": 6}
        ax.annotate("mean", (a, b), place, ha="left", va="center", arrowprops=leader if a < 1 else None)
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


def crossing(errors) -> Picture:
    """RMSE on digits against calls, for solvers of one and of two calls a step: solver -> {calls: RMSE}."""
    calls = list(errors["DDIM"])
    picture = lines(
        {name: (list(row), list(row.values())) for name, row in errors.items()},
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


BASES = {  # colour and marker: the base; line: learned, searched or untrained
    "two calls a step *": (0, "AMED-Solver", "one share a step", "DPM-Solver-2"),
    "iPNDM": (1, "AMED-Plugin, iPNDM", "iPNDM, analytic start, searched grid", "iPNDM, analytic start"),
    "DPM-Solver++ 2M": (2, "AMED-Plugin, DPM-Solver++ 2M", None, "DPM-Solver++ 2M, analytic start"),
    "DDIM": (5, "AMED-Plugin, DDIM", None, "DDIM, analytic start"),
}
HOW = {"learned *": "-", "searched": (0, (6, 2)), "untrained, analytic start": (0, (1.2, 1.8))}


@style()
def table_two(rmse, frechet, flow) -> Picture:
    """The recorded study: RMSE and Fréchet distance against calls, each method -> {calls: value}; one colour
    for each base, the line says how the times were found.  flow: the flow's own Fréchet distance, a line.
    """
    fig, axes = new_figure(1, 2, height=4.3)
    handles, told = [], []
    for base, (i, *names) in BASES.items():
        for name, (how, dashes) in zip(names, HOW.items()):
            if name is None:
                continue
            look = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": dashes, "markersize": 4.5}
            look["linewidth"] = 2.3 if how == "learned *" else 1.6
            if how == "searched":  # above the learned line, which it may cover, and seen by its hollow marks
                look |= {"zorder": 3, "markersize": 7, "markerfacecolor": "white"}
            for ax, table in zip(axes, (rmse, frechet)):
                ax.plot(list(table[name]), list(table[name].values()), **look)
            told.append(f"{base} {how} {number(rmse[name][3])}".replace(" *", ""))
        handles.append((Line2D([], [], color=COLOURS[i], marker=MARKERS[i], linestyle="none"), base))
    for how, dashes in HOW.items():
        handles.append((Line2D([], [], color=INK, linestyle=dashes), how))
    flow_line = axes[1].axhline(flow, color=GREY, linewidth=3, alpha=0.6, zorder=0)
    handles.append((flow_line, f"the flow itself, {flow:.2f}"))
    for ax, title, ticks in zip(
        axes,
        ("RMSE to the flow's end", "Fréchet distance"),
        ((0.01, 0.02, 0.05, 0.1, 0.2, 0.5), (1, 2, 5, 10, 20)),
    ):
        ax.set(yscale="log", title=title, xlabel="calls of the network")
        ax.set_xticks(list(rmse["DDIM, analytic start"]))
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
        ax.minorticks_off()
    fig.legend(*zip(*handles), loc="outside lower center", ncols=4, fontsize=9)
    return Picture(
        fig,
        f"Digits from level 20 against calls of the network; a colour for each base, full lines learned, "
        f"dashed lines with hollow marks searched, dotted untrained. RMSE at 3 calls: {listing(told, 12)}. "
        f"From 4 calls on iPNDM on a searched grid is lowest. In Fréchet distance the order is another: "
        f"DPM-Solver++ 2M lies below the flow's own {flow:.2f}, a grey line, plugged at three and four calls "
        f"and, with an analytic start, from four on; the others come down to it.",
    )


KINDS = {"nothing chosen": (GREY, ""), "searched": (COLOURS[5], "///"), "learned": (COLOURS[2], "xxx")}


@style()
def controls(errors) -> Picture:
    """What each part of AMED's gain is due to: dict label -> (RMSE, one of `KINDS`).  The
    longest bar is broken.
    """
    fig, ax = new_figure(height=4.0)
    values = [value for value, _ in errors.values()]
    limit = 1.22 * sorted(values)[-2]
    for i, (value, kind) in enumerate(errors.values()):
        colour, hatch = KINDS[kind]
        pale = to_rgba(colour, 0.55)
        ax.barh(i, min(value, limit), color=pale, edgecolor=INK, linewidth=0.8, hatch=hatch, height=0.72)
        at = min(value, limit)
        ax.text(at + 0.003, i, f"{value:.3f}", va="center", fontsize=9)
        if value > limit:  # a broken bar
            for shift in (-0.022, -0.014):
                ax.plot([at + shift, at + shift + 0.006], [i - 0.5, i + 0.5], color="white", linewidth=3)
                ax.plot([at + shift, at + shift + 0.006], [i - 0.45, i + 0.45], color=INK, linewidth=0.8)
    ax.set_yticks(range(len(errors)), list(errors), fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="RMSE to the flow's end, three calls", xlim=(0, limit + 0.028))
    ax.grid(False, axis="y")
    patches = [
        Patch(facecolor=to_rgba(colour, 0.55), edgecolor=INK, hatch=hatch, label=kind)
        for kind, (colour, hatch) in KINDS.items()
    ]
    ax.legend(handles=patches, loc="lower right")
    told = [f"{name} {value:.3f} ({kind})" for name, (value, kind) in errors.items()]
    return Picture(fig, f"Bars of RMSE to the flow's end at three calls: {listing(told, 12)}.")


@style()
def share_map(first, second, errors, points) -> Picture:
    """RMSE of two steps over their two shares r: errors[i][j] at first[i], second[j]; points: dict label ->
    (share of step 1, share of step 2).
    """
    errors = np.asarray(errors)
    fig, ax = new_figure(height=3.7)
    levels = (0.14, 0.16, 0.2, 0.25, 0.3, 0.4, 0.6)
    ax.contourf(second, first, errors, levels=(0, *levels, 9), cmap="Greys", alpha=0.45, norm=LogNorm())
    drawn = ax.contour(second, first, errors, levels=levels, colors=INK, linewidths=0.8)
    ax.clabel(drawn, fmt="%g", fontsize=8)
    for i, (label, (r1, r2)) in enumerate(points.items()):
        look = {"color": COLOURS[i + 1], "markersize": 10, "markeredgecolor": "white", "clip_on": False}
        ax.plot(r2, r1, MARKERS[i + 1], label=label, **look)
    ax.set(xlabel="share $r$ of step 2", ylabel="share $r$ of step 1", title="RMSE to the flow's end")
    fig.legend(loc="outside lower center", ncols=3)
    told = [f"{label} at {r1:.2f} and {r2:.2f}" for label, (r1, r2) in points.items()]
    return Picture(
        fig,
        f"Contours of the RMSE of two steps over their two shares r, a bowl about the first two. The shares "
        f"of step 1 and step 2: {listing(told)}.",
    )


def three_calls(rows) -> Picture:
    """Digits by three calls of several methods from the same noise, in [-1, 1]: dict label -> (n, 1, 8, 8),
    the end of the flow first.
    """
    first, *methods = rows
    told = [f"{name} {rms(rows[name] - rows[first]):.1f}" for name in methods]
    return image_grid(
        {label: digits.clamp(-1, 1) for label, digits in zip((first, *told), rows.values())},
        alt=f"{len(rows[first])} digits in columns, by three calls of each method from the same noise; on "
        f"top where the flow ends. Root mean square distance from it: {listing(told)}; * analytic start.",
    )


# --- the widget -----------------------------------------------------------------------------------------


def _clusters(ax, mixture):
    """The clusters of a mixture in the plane as circles of two deviations."""
    angle = np.linspace(0, 2 * np.pi, 60)
    for (a, b), std in zip(mixture.means.tolist(), mixture.stds.tolist()):
        ax.plot(a + 2 * std * np.cos(angle), b + 2 * std * np.sin(angle), color=INK, linewidth=1.2)


@style()
def one_step(step) -> Picture:
    """For the widget: one step of one trajectory, or two as long, with the intermediate time at share r, and
    the error it leaves.

    Left: the exact path, the way to the chosen level, and the steps with the direction found there.
    Right: the error over r, with the chosen r, the exact best and what the trained predictor says.
    step: what `experiments.one_step` returns.
    """
    along = "Euler" if step["along"] == "Euler's line" else "along the path"
    name = "the step" if len(step["asked"]) == 1 else "the steps"
    fig, (left, right) = new_figure(1, 2, height=3.9)
    left.plot(*step["path"].T, color=INK, linewidth=2.4, label="exact path")
    left.plot(*step["asked"].T, color=GREY, marker="^", markersize=7, linestyle="none")
    for i, way in enumerate(step["ways"]):
        label = f"{along} to the level" if i == 0 else None
        left.plot(*way.T, color=GREY, linestyle=":", linewidth=2.2, zorder=4, label=label)
    left.plot(*step["made"].T, color=COLOURS[1], linestyle="--", marker="s", label=name)
    left.plot(*step["end"], "o", color=INK, markersize=7)
    _clusters(left, step["mixture"])
    left.set(title=name, xlabel="$x_1$", ylabel="$x_2$", aspect="equal", adjustable="datalim")
    _error_over_share(right, step)
    for ax in (left, right):
        ax.locator_params(nbins=4)  # a label of a tick costs the widget as much as a curve
    handles = [ax.get_legend_handles_labels() for ax in (left, right)]
    fig.legend(*(a + b for a, b in zip(*handles)), loc="outside lower center", ncols=3)
    return Picture(fig, _told_of_steps(step))


def _error_over_share(ax, step):
    """The right half of `one_step`."""
    ax.plot(*step["errors"], color=INK)
    chosen = dict(color=COLOURS[1], markersize=9, markeredgecolor=INK, label="yours")
    ax.plot(step["share"], step["error"], "s", **chosen)
    ax.axvline(step["best"], color=INK, linestyle=":", linewidth=1.6, label="exact best")
    if step["learned"] is not None:
        ax.axvline(step["learned"], color=COLOURS[1], linestyle="--", linewidth=2.2, label="AMED")
    ax.set(
        title=f"error left: {step['error']:.2f}",
        xlabel="share $r$ of the step",
        ylabel="error",
        ylim=(0, None),
        xlim=(-0.03, 1.03),
    )


def _told_of_steps(step):
    """`one_step` in words."""
    start, stop = step["kappas"]
    on = "Euler’s line" if step["along"] == "Euler's line" else "the exact path"
    steps, each = ("One step", "it") if len(step["asked"]) == 1 else ("Two steps", "each")
    learned = "" if step["learned"] is None else f", the trained predictor says {step['learned']:.1f}"
    return (
        f"{steps} from level {start:g} to {stop:g} with the direction found at share {step['share']:g} of "
        f"{each}, on {on}: the error left is {step['error']:.2f}. The exact best share is "
        f"{step['best']:.2f}{learned}."
    )


@style()
def three_curves(curves, kappas) -> Picture:
    """One digit's path in VP coordinates, its prediction and velocity, each in its own two components: label
    -> (N, 2).
    """
    units = {"path": "digit's norms", "prediction": "parts of its way", "velocity": "mean speeds"}
    titles = {"path": "path in VP", "prediction": "prediction", "velocity": "velocity"}
    fig, axes = new_figure(1, 3, height=2.9)
    marked, told = [int(np.abs(kappas - k).argmin()) for k in (10.0, 1.0, 0.1)], []
    for ax, (name, points) in zip(axes, curves.items()):
        ax.axhline(0, color=GREY, linewidth=1)
        ax.plot(*points.T, color=INK, linewidth=1.8)
        for k, marker in zip(marked, ("o", "s", "^")):
            ax.plot(*points[k], marker, color=COLOURS[1], markeredgecolor=INK, markersize=7)
        off = f"{np.abs(points[:, 1]).max():.1g}"
        ax.set(
            title=f"{titles[name]}: {off} off",
            xlabel=f"component 1\n({units[name]})",
            aspect="equal",
            adjustable="datalim",
        )
        told.append(f"{titles[name]} {off} off its line")
    axes[0].set_ylabel("component 2")
    for k, marker in zip((10, 1, 0.1), ("o", "s", "^")):
        axes[2].plot([], [], marker, color=COLOURS[1], markeredgecolor=INK, label=f"level {k:g}")
    fig.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"One digit, each curve in its own two principal components, equal axes: {listing(told)}. The path "
        f"is a long shallow bow; the velocity turns most between the levels 10 and 0.1.",
    )


@style()
def on_two_grids(pairs, calls=(3, 5, 7)) -> Picture:
    """RMSE on Karras's grid and on the one uniform in time: method -> grid -> {calls: value}."""
    fig, axes = new_figure(1, len(calls), height=4.2, sharey=True)
    told = []
    for ax, c in zip(axes, calls):
        for i, (name, pair) in enumerate(pairs.items()):
            learned = "AMED" in name
            look = {"color": COLOURS[1] if learned else COLOURS[2] if "share" in name else GREY}
            look |= {"linewidth": 2.6 if learned else 1.2, "linestyle": "-" if learned else DASHES[i % 7]}
            if "share" in name:  # above the learned line, which it nearly covers
                look |= {"zorder": 3, "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.6}
            values = [row[c] for row in pair.values()]
            ax.plot((0, 1), values, marker=MARKERS[i % 7], label=name, **look)
            if learned:
                told.append(f"{c} calls {values[0]:.3f} and {values[1]:.3f}")
        ax.set(yscale="log", title=f"{c} calls", xlim=(-0.25, 1.25))
        ax.set_xticks((0, 1), [grid.split()[0] for grid in pair])
    ticks = (0.03, 0.05, 0.1, 0.2, 0.5, 1)
    axes[0].set_yticks(ticks, [f"{v:g}" for v in ticks])
    axes[0].minorticks_off()
    axes[0].set_ylabel("RMSE to the flow's end")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8.5)
    return Picture(
        fig,
        f"RMSE of {len(pairs)} methods on Karras's grid and on the official one, uniform in time. Lines "
        f"cross: some solvers gain by the change, more lose. AMED-Solver, trained on each: {listing(told)}.",
    )


@style()
def beside_the_plugin(ratios) -> Picture:
    """RMSE over that of AMED-Plugin on iPNDM, against calls: label -> {calls: ratio}."""
    picture = lines(
        {label: (list(row), list(row.values())) for label, row in ratios.items()},
        "calls of the network",
        "RMSE / the plugin's",
        logy=True,
        height=3.6,
    )
    ax = picture.axes[0]
    ax.axhline(1, color=INK, linewidth=1)
    ticks = (0.5, 0.7, 1, 1.5, 2, 3)
    ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
    ax.set_xticks(list(next(iter(ratios.values()))))
    ax.minorticks_off()
    ax.get_legend().remove()
    picture.fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return picture


@style()
def contrasts(rows, flow) -> Picture:
    """Fréchet distance as sampled and at the flow's own contrast: name -> (contrast, distance, distance
    at the flow's contrast); flow: the flow's own.
    """
    fig, ax = new_figure(height=3.0)
    for i, (_, before, after) in enumerate(rows.values()):
        ax.annotate("", (after, i), (before, i), arrowprops={"arrowstyle": "->", "color": INK})
        ax.plot(before, i, "o", color=COLOURS[2], markersize=8, label="as sampled" if not i else None)
        ax.plot(
            after, i, "s", color=COLOURS[1], markersize=8, label="at the flow's contrast" if not i else None
        )
    ax.axvline(flow, color=GREY, linewidth=3, alpha=0.6, label=f"the flow itself, {flow:.2f}", zorder=0)
    ax.set_yticks(range(len(rows)), [f"{name} ({row[0]:.2f})" for name, row in rows.items()], fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="Fréchet distance", xlim=(0, None))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    told = [f"{name} {before:.2f} to {after:.2f}" for name, (_, before, after) in rows.items()]
    return Picture(
        fig,
        f"Fréchet distances of samples as they are, and stretched to the flow's contrast: {listing(told, 8)}."
        f" All that lay left of the flow's {flow:.2f} come to lie right of it.",
    )


@style()
def spread_of_best(shares) -> Picture:
    """How the exact best r differs from sample to sample: title -> (n,)."""
    fig, axes = new_figure(1, len(shares), height=2.6, sharex=True)
    told = []
    for ax, (title, r) in zip(axes, shares.items()):
        ax.hist(
            r, bins=np.linspace(0, 0.6, 31), color=to_rgba(COLOURS[2], 0.55), edgecolor=INK, linewidth=0.6
        )
        low, high = np.quantile(r, (0.1, 0.9))
        ax.set(title=title, xlabel="exact best $r$", xlim=(0, 0.6), yticks=[])
        told.append(f"{title} {low:.2f} to {high:.2f}")
    return Picture(
        fig,
        f"Histograms of the exact best r over samples, middle 80 %: {listing(told)}. On digits it hardly "
        f"varies.",
    )


@style()
def three_levels(state) -> Picture:
    """For the widget: three grids of five levels and the error that each leaves, and digits.

    state: what `experiments.three_levels` returns.
    """
    fig, (left, right) = new_figure(1, 2, height=3.0, width_ratios=(1.35, 1))
    told = []
    for i, (label, levels) in enumerate(state["levels"].items()):
        error = state["errors"][label]
        left.plot(levels, [i] * len(levels), color=COLOURS[i], marker=MARKERS[i], linewidth=1.2, markersize=7)
        left.text(20, i - 0.2, f"{label}: RMSE {error:.3f}", fontsize=9.5)
        told.append(f"{label} {error:.3f}")
    left.set(xscale="log", xlabel=r"level $\kappa$", ylim=(2.4, -0.6), title=state["solver"])
    left.set_yticks([])
    left.invert_xaxis()
    sheet, y, _ = mosaic([list(array(batch[:5].clamp(-1, 1))) for batch in state["digits"].values()], 44)
    right.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    right.grid(False)
    right.spines[:].set_visible(False)
    right.set_xticks([])
    right.set_yticks(y, list(state["digits"]))
    right.tick_params(length=0)
    yours = listing([f"{level:.2g}" for level in state["levels"]["yours"][1:-1]])
    return Picture(
        fig,
        f"Three calls with an analytic start by {state['solver']} on three grids of five levels, RMSE: "
        f"{listing(told)}. Yours has the inner levels {yours}; five digits beneath the flow's.",
    )
