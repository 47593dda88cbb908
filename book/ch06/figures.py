"""Figures of chapter 6: the mean-value idea, AMED-Solver and AMED-Plugin."""

from functools import cache

import numpy as np
import torch

from book.ch06 import experiments
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
from toolkit import AFS, Mixture, grids, sample
from toolkit.amed import amed_plugin, amed_solver, best_time, mean_direction, teacher_path
from toolkit.convergence import reference
from toolkit.ddim import ddim
from toolkit.multistep import ipndm

WIDE = experiments.WIDE


@cache
def _line_path(nodes=80):
    """A one-dimensional trajectory over the step from level 2 to 0.2: (model, levels, states, slopes)."""
    model = Mixture([0.3, 0.7], [[-1.0], [0.8]], [0.15, 0.25]).model(WIDE)
    levels = np.linspace(*experiments.STEP, nodes + 1)
    states = [torch.tensor([[1.9]], dtype=torch.float64)]
    for t, s in zip(levels, levels[1:]):
        states.append(reference(model, states[-1], float(t), float(s)))
    slopes = [float(model.eps(x, float(t))) for x, t in zip(states, levels)]
    return model, levels, [float(x) for x in states], slopes


@style()
def guesses():
    """One step of a one-dimensional flow. Left: the trajectory, the chord, and where four methods end.
    Right: its slope over the level, the mean, and what each method takes for the mean."""
    model, levels, states, slopes = _line_path()
    start, end = experiments.STEP
    x = torch.tensor([[states[0]]], dtype=torch.float64)
    along = lambda level: x + (level - start) * slopes[0]
    at = lambda level: float(model.eps(along(level), level))
    middle, geometric = (start + end) / 2, (start * end) ** 0.5
    guess = {
        "Euler": (start, slopes[0]),
        "Heun": (end, (slopes[0] + at(end)) / 2),
        "arithmetic midpoint": (middle, at(middle)),
        "geometric midpoint": (geometric, at(geometric)),
    }
    mean = float(mean_direction(model, x, start, end))
    r = float(best_time(model, x, start, end)[0])
    fig, (left, right) = new_figure(1, 2, height=3.9)
    left.plot(levels, states, color=INK, linewidth=2.4, label="trajectory")
    left.plot([start, end], [states[0], states[-1]], color=GREY, linewidth=1.2, label="its chord")
    left.legend(fontsize=8.5)
    right.plot(levels, slopes, color=INK, linewidth=2.4, label="direction on the trajectory")
    right.axhline(mean, color=GREY, linewidth=1.6, label="its mean")
    told = []
    for i, (name, (level, slope)) in enumerate(guess.items()):
        ends = states[0] + (end - start) * slope
        look = {"color": COLOURS[i + 1], "marker": MARKERS[i + 1], "markersize": 7, "markeredgecolor": INK}
        left.plot([start, end], [states[0], ends], color=COLOURS[i + 1], linewidth=0.8, linestyle=":")
        left.plot(end, ends, linestyle="none", **look)
        right.plot(level, slope, linestyle="none", label=name, **look)
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
def vector_theorem():
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
def components():
    """Left: share of the variance that 1, 2, 3 components leave. Right: how far the path strays from them."""
    fig, (left, right) = new_figure(1, 2, height=3.4)
    told = []
    for i, (name, (share, off)) in enumerate(experiments.shapes().items()):
        left.plot((1, 2, 3), share, label=name, **mark(i))
        right.plot((1, 2, 3), off, label=name, **mark(i))
        told.append(f"{name} {number(share[0])} of the variance and {number(off[0])} norms after one")
    ratio = experiments.shapes()["VP coordinates"][0][0] / experiments.shapes()["EDM, from 80"][0][0]
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
def best_times(steps=4, n=64):
    """The exact best share r of each step of a grid on the triangle: median and middle 80 %, for both kinds
    of candidates."""
    mixture = experiments.TRIANGLE
    model, times = mixture.model(WIDE), grids.karras(WIDE, steps, 10.0, 0.05).tolist()
    fig, ax = new_figure(height=3.3)
    told = []
    for i, (along, label) in enumerate((("exact", "on the exact trajectory"), ("euler", "on Euler's line"))):
        rows = [
            best_time(model, experiments.starts(mixture, t, n), t, s, along=along)[0].numpy()
            for t, s in zip(times, times[1:])
        ]
        low, half, high = np.quantile(rows, [0.1, 0.5, 0.9], axis=1)
        at = np.arange(steps) + 0.16 * (2 * i - 1)
        ax.errorbar(
            at, half, (half - low, high - half), linestyle="none", capsize=4, label=label, markersize=7,
            color=COLOURS[i + 1], marker=MARKERS[i + 1],
        )  # fmt: skip
        told.append(f"{label} {listing([number(v) for v in half])}")
    ax.axhline(0.5, color=GREY, linestyle=":", label="DPM-Solver-2")
    ax.set_xticks(range(steps), [f"{number(t)} → {number(s)}" for t, s in zip(times, times[1:])])
    ax.set(xlabel=r"step, from level to level", ylabel="best $r$", ylim=(0, 0.7))
    ax.legend(ncols=3, loc="lower left")
    return Picture(
        fig,
        f"The share of the step at which one direction serves best, median and middle 80 % of {n} samples "
        f"on the triangle, for {steps} steps from level 10 to 0.05: {'; '.join(told)}. "
        f"DPM-Solver-2 takes 0.5.",
    )


def failure():
    """The residual of the best level, and of two solvers' choices, over the size of the step."""
    sizes = [1 - 1 / ratio for ratio in experiments.SIZES]
    found = experiments.residuals()
    picture = lines(
        {name: (sizes, row) for name, row in found.items()},
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


def _clusters(ax):
    """The two clusters of the unequal pair as circles of two deviations."""
    angle = np.linspace(0, 2 * np.pi, 60)
    for (a, b), std in zip(experiments.UNEQUAL.means.tolist(), experiments.UNEQUAL.stds.tolist()):
        ax.plot(a + 2 * std * np.cos(angle), b + 2 * std * np.sin(angle), color=INK, linewidth=1.2)


@style()
def learned_and_best():
    """What three predictors say against the exact best r of each sample."""
    best = experiments.one_step_truth()[3]
    fig, axes = new_figure(1, 3, height=3.0, sharey=True)
    told = []
    for ax, (kind, title) in zip(
        axes,
        (
            ("no features", "no features"),
            ("layer norm", "two, layer-normed"),
            ("features", "two, as they are"),
        ),
    ):
        r = experiments.said(kind)
        ax.plot(best, r, "o", markersize=3, color=COLOURS[2], alpha=0.6, linewidth=0)
        ax.plot([0, 0.6], [0, 0.6], color=INK, linewidth=1)
        ax.set(title=title, xlabel="exact best $r$", xlim=(0, 0.6), ylim=(0, 0.6))
        told.append(f"{title}: from {r.min():.1f} to {r.max():.1f}")
    axes[0].set_ylabel("learned $r$")
    return Picture(
        fig,
        f"Learned against exact best r for 400 fresh samples, with the diagonal. {'; '.join(told)}. Only the "
        f"last cloud lies along the diagonal.",
    )


def stand_ins(tops=(80, 40, 20, 10, 5, 2, 1)):
    """Relative error of what may stand in for the first direction, against the level of the start."""
    rows = [experiments.stand_ins(float(top), 300) for top in tops]
    names = ("x / σ", "with mean and deviation")
    picture = lines(
        {name: (tops, [row[name] for row in rows]) for name in names},
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


def crossing():
    """RMSE on digits against calls, for solvers of one and of two calls a step."""
    picture = lines(
        {name: (experiments.FEW, row) for name, row in experiments.crossing().items()},
        "calls of the network",
        "RMSE to the flow's end",
        logx=True,
        logy=True,
        height=3.6,
    )
    ax = picture.axes[0]
    ax.set_xticks(experiments.FEW, [str(c) for c in experiments.FEW])
    ax.minorticks_off()
    return picture


SHOWN = (
    "DDIM",
    "AMED-Plugin, DPM-Solver++ 2M",
    "DPM-Solver++ 2M, analytic start",
    "iPNDM",
    "iPNDM, analytic start",
    "best fixed time",
    "AMED-Solver",
    "AMED-Plugin, iPNDM",
)


@style()
def table_two():
    """The recorded study: RMSE and Fréchet distance against calls."""
    fig, axes = new_figure(1, 2, height=4.2)
    told = []
    for ax, key, title in zip(axes, ("rmse", "frechet"), ("RMSE to the flow's end", "Fréchet distance")):
        found = experiments.study(key)
        for i, name in enumerate(SHOWN):
            look = mark(i) | ({"color": INK, "linewidth": 2.6} if "AMED" in name else {"linewidth": 1.2})
            look |= {"color": GREY} if name == "DDIM" else {}
            ax.plot(list(found[name]), list(found[name].values()), label=name, **look)
            told += [f"{name} {number(found[name][3])}"] if key == "rmse" else []
        ax.set(yscale="log", title=title, xlabel="calls of the network")
        ax.set_xticks(list(found["DDIM"]))
        ticks = (0.02, 0.05, 0.1, 0.2) if key == "rmse" else (1, 2, 5, 10, 20)
        low, high = ax.get_ylim()
        ticks = [v for v in ticks if low <= v <= high]
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
        ax.minorticks_off()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"Digits from level 20 against calls of the network. RMSE at 3 calls: {listing(told, 8)}. In Fréchet "
        f"distance the order is another: of these the plugin on DPM-Solver++ 2M leads at 3 and 4 calls, from "
        f"5 on DPM-Solver++ 2M itself.",
    )


def controls(calls=3):
    """The recorded study with three calls: what each part of AMED's gain is due to, as bars."""
    found = experiments.study()
    rows = {
        "best plain\nsolver": experiments.best_of(experiments.PLAIN, calls)[0],
        "+ analytic\nstart": experiments.best_of(experiments.PLAIN + experiments.STARTED, calls)[0],
        "best fixed\ntime": found["best fixed time"][calls],
        "AMED,\nno features": found["AMED-Solver, no features"][calls],
        "AMED,\nfeatures": found["AMED-Solver"][calls],
        "plugin,\nuntrained": found["AMED-Plugin, iPNDM, untrained"][calls],
        "plugin,\ngreedy": found["AMED-Plugin, iPNDM, greedy"][calls],
        "plugin,\niPNDM": found["AMED-Plugin, iPNDM"][calls],
    }
    picture = bars(rows, "RMSE to the flow's end", fmt="{:.3f}")
    picture.axes[0].tick_params(axis="x", labelsize=8.5)
    return picture


def three_calls(n=8, seed=23):
    """Digits by three calls of five methods from the same noise; the plugin is trained on the spot."""
    model, times = experiments.student_of(3)
    x = experiments.noise(n, seed)
    bare = experiments.digits_model(experiments.TOP)
    end = teacher_path(bare, x, times, 24)[-1]
    plug = experiments.trained_digits(3, "ipndm")
    finer = grids.karras(model.schedule, 4)
    rows = {
        "the flow": end,
        "DDIM": sample(ddim, bare, x, grids.karras(model.schedule, 3)).x,
        "DPM-Solver-2": sample(amed_solver, model, x, times).x,
        "iPNDM, analytic start": sample(ipndm, AFS(bare, *experiments.moments()), x, finer).x,
        "plugin on iPNDM": sample(amed_plugin, model, x, times, predictor=plug, base="ipndm").x,
    }
    told = [f"{name} {rms(y - end):.1f}" for name, y in rows.items() if y is not end]
    return image_grid(
        {name: y.clamp(-1, 1) for name, y in rows.items()},
        alt=f"{n} digits in columns, by three calls of each method from the same noise; on top where the "
        f"flow ends. Root mean square distance from it: {listing(told)}.",
    )


@style()
def one_step(r=0.5, sample_number=0):
    """For the widget: one step of one trajectory, the intermediate time at share r, and the error it leaves.

    Left: the exact path, Euler's line to the chosen level, and the step with the direction found there.
    Right: the error over r, with the chosen r, the exact best and what the trained predictor says."""
    model, x, end, best = experiments.one_step_truth()
    rows = slice(int(sample_number), int(sample_number) + 1)
    x, end, best = x[rows], end[rows], float(best[rows])
    start, stop = experiments.STEP
    first = model.eps(x, start)

    def step(share):
        level = start ** (1 - share) * stop**share
        there = x + (level - start) * first
        return there, x + (stop - start) * model.eps(there, level)

    shares = np.linspace(0, 1, 101)
    errors = [float((step(s)[1] - end).norm()) for s in shares]
    there, made = step(r)
    error, amed = float((made - end).norm()), float(experiments.said("features")[rows])
    levels = np.geomspace(start, stop, 25)
    path = [x]
    for t, s in zip(levels, levels[1:]):
        path.append(reference(model, path[-1], float(t), float(s)))
    path = torch.cat(path).numpy()
    fig, (left, right) = new_figure(1, 2, height=3.9)
    left.plot(*path.T, color=INK, linewidth=2.4, label="exact path")
    left.plot(
        *np.concatenate([x, there]).T,
        color=GREY,
        linestyle=":",
        linewidth=2.2,
        marker="^",
        label="Euler to the level",
    )
    left.plot(*np.concatenate([x, made]).T, color=COLOURS[1], linestyle="--", marker="s", label="the step")
    left.plot(*end[0], "o", color=INK, markersize=7)
    _clusters(left)
    left.set(title="the step", xlabel="$x_1$", ylabel="$x_2$", aspect="equal", adjustable="datalim")
    left.legend(fontsize=8.5)
    right.plot(shares, errors, color=INK)
    right.plot(r, error, "s", color=COLOURS[1], markersize=9, markeredgecolor=INK, label="yours")
    right.axvline(best, color=INK, linestyle=":", linewidth=1.6, label="exact best")
    right.axvline(amed, color=COLOURS[1], linestyle="--", linewidth=2.2, label="AMED")
    right.set(
        title=f"error left: {error:.2f}", xlabel="share $r$ of the step", ylabel="error", ylim=(0, None)
    )
    right.legend()
    return Picture(
        fig,
        f"One step from level {start:g} to {stop:g} with the direction found at share {r:g} of it: the error "
        f"left is {error:.2f}. The exact best share is {best:.2f}, the trained predictor says {amed:.1f}.",
    )
