"""Figures of chapter 5: distillation and one-step generation."""

import numpy as np
from matplotlib.collections import LineCollection

from book.plots import (
    COLOURS,
    INK,
    MARKERS,
    Picture,
    image_grid,
    lines,
    listing,
    loglog_convergence,
    mark,
    new_figure,
    number,
    plain,
    scatter_grid,
    style,
)
from book.problems import rms


@style()
def targets() -> Picture:
    """A schematic: what three kinds of student are asked for on one sampling path."""
    u = np.linspace(0, 1, 100)
    path = lambda u: np.stack([u, 0.6 * u**4 + 0.35 * np.sin(0.85 * np.pi * u)], axis=-1)  # noqa: E731
    nodes = path(np.linspace(0, 1, 9))
    shown = {
        "regression": [(8, 0, 0)],
        "progressive": [(8, 4, 0.4), (4, 0, 0.4)],
        "consistency": [(6, 0, -0.2), (5, 0, -0.1)],
    }
    fig, axes = new_figure(1, 3, height=2.2, sharey=True)
    for ax, (name, arrows) in zip(axes, shown.items()):
        ax.plot(*path(u).T, color="#B5B5B5", linewidth=4, solid_capstyle="round", zorder=1)
        ax.plot(*nodes.T, "o", color="#8A8A8A", markersize=4, zorder=2)
        for first, last, bend in arrows:
            look = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.6, "shrinkA": 4, "shrinkB": 5}
            look |= {"connectionstyle": f"arc3,rad={bend}", "mutation_scale": 14}
            ax.annotate("", nodes[last], nodes[first], arrowprops=look)
        ax.plot(*nodes[0], "o", color=INK, markersize=8, zorder=3)
        ax.annotate("data", nodes[0], (0, -16), textcoords="offset points", ha="center")
        ax.annotate("noise", nodes[-1], (0, 8), textcoords="offset points", ha="center")
        ax.set(title=name, xlim=(-0.12, 1.12), ylim=(-0.2, 0.85), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return Picture(
        fig,
        "A sampling path from noise to data, three times, with what a student must learn as arrows. "
        "Regression: one arrow from noise to data. Progressive: two arrows that each pass over several "
        "of the teacher's steps. Consistency: from two neighbouring points of the path, one arrow each to "
        "the same end.",
    )


@style()
def maps(noise, answers, density, faint=(), title="") -> Picture:
    """One-step maps of one-dimensional data: dict label -> answers (n,) to standardised `noise` (n,), the
    exact one first, drawn wide in grey; at the right the density of the data, a pair (x, p), both (m,).
    faint: labels of curves that stand thin and grey behind the others, and have no place in the legend.
    """
    fig, (left, right) = new_figure(1, 2, height=3.4, sharey=True, width_ratios=(4, 1))
    told, shown = [], [label for label in answers if label not in faint]
    for label, y in answers.items():
        look = {"color": "#767676", "linewidth": 0.8}
        if label in shown:
            look = mark(shown.index(label), points=False)
        if label == shown[0]:
            look |= {"color": "#9A9A9A", "linewidth": 5, "linestyle": "-", "solid_capstyle": "butt"}
        left.plot(noise, y, label=None if label in faint else label, **look)
        told.append(f"{plain(label)} from {number(y[0])} to {number(y[-1])}, deviation {number(y.std())}")
    right.fill_betweenx(*density, color="#C8C8C8")
    right.set(xlabel="density", xticks=[])
    left.set(xlim=(-2.6, 2.6), xlabel="noise $x_T/\\sigma_T$", ylabel="answer $f$", title=title)
    left.legend(loc="upper left")
    return Picture(fig, f"What one-step maps make of noise, over the noise: {'; '.join(told)}.")


def levels(noise, answers, density) -> Picture:
    """For the widget: what `maps` draws of the flow map, faintly of several minimisers, and of the last one,
    with its errors told above.
    """
    exact, *_, learned = answers.values()
    told = f"deviation {learned.std():.2f} of {exact.std():.2f}; RMS from the flow map"
    title = f"{told} {rms(learned - exact):.2f}"
    return maps(noise, answers, density, faint=list(answers)[1:-1], title=title)


@style()
def steepness(stds, exact) -> Picture:
    """Largest slope of the flow map between two peaks at -1 and 1, and its law, against their deviation b."""
    law = [s * np.exp(0.5 / s**2) for s in stds]
    fig, ax = new_figure()
    ax.plot(stds, exact, color="#B5B5B5", linewidth=6, label="largest slope of the flow map")
    ax.plot(stds, law, color=INK, linewidth=1.4, linestyle=(0, (4, 3)), label=r"$b\,e^{1/2b^2}$")
    ax.set(xlabel="deviation $b$ of the two peaks", ylabel="largest slope", yscale="log")
    ax.legend()
    return Picture(
        fig,
        f"Largest slope of the flow map against the deviation b of the two peaks, log scale: it falls from "
        f"{number(exact[0])} at {number(stds[0])} to {number(exact[-1])} at {number(stds[-1])}, on the curve "
        f"b exp(1/(2 b squared)).",
    )


def halving(deviations, data) -> Picture:
    """Deviation of one-dimensional Gaussian samples against the steps of the student, for both losses.

    deviations: dict "LOSS, N steps" -> number, of `experiments.halving`; data: the deviation of the data.
    """
    steps = (16, 8, 4, 2, 1)
    series = {
        name: (steps, [deviations[f"{name}, {n} steps"] for n in steps])
        for name in ("two-step target", "literal loss")
    }
    series["data"] = ((16, 1), (data, data))
    picture = lines(series, "steps of the student (its teacher: 16)", "deviation of the samples", logx=True)
    ax = picture.axes[0]
    ax.set_xticks(steps, [str(n) for n in steps])
    ax.minorticks_off()
    ax.invert_xaxis()
    return picture


@style()
def gradients(curves, data) -> Picture:
    """Deviation of one-step samples against levels, with the stop-gradient and without.

    curves: dict label -> (levels, deviations), on the same levels; data: the deviation of the data.
    """
    series = {label.replace("snr+1", r"$1/\sigma^2+1/d^2$"): curve for label, curve in curves.items()}
    counts = next(iter(curves.values()))[0]
    series["data"] = ([counts[0], counts[-1]], [data, data])
    picture = lines(series, "levels", "deviation of the samples", logx=True, height=3.7)
    ax = picture.axes[0]
    ax.set_xticks(counts, [str(m) for m in counts])
    ax.minorticks_off()
    ax.set_ylim(0, None)
    ax.get_legend().remove()
    picture.fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture


def metrics(curves) -> Picture:
    """Share of the left peak among one-step samples against levels: dict metric -> (levels, shares), on the
    same levels.
    """
    counts = next(iter(curves.values()))[0]
    series = curves | {"data": ([counts[0], counts[-1]], [0.3, 0.3])}
    picture = lines(series, "levels", "share of the left peak", logx=True)
    picture.axes[0].set_xticks(counts, [str(m) for m in counts])
    picture.axes[0].minorticks_off()
    picture.axes[0].set_ylim(0, 0.35)
    return picture


def refinement(curves) -> Picture:
    """What a second step leaves of the error of the first, against the level at which it starts: dict label
    -> (levels, ratios).
    """
    picture = lines(curves, "level in the middle", "error of two steps / of one", logx=True, points=True)
    ax = picture.axes[0]
    ax.axhline(1, color="#767676", linewidth=1.2, linestyle=(0, (6, 3)))
    ax.annotate("one step", (11, 1), xytext=(0, 5), textcoords="offset points", color="#5A5A5A")
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    ax.set_ylim(0.5, 1.1)
    return picture


def limit_of_levels(curves) -> Picture:
    """Relative error of consistency training's minimiser against levels, from one on: dict label ->
    (levels, errors).
    """
    picture = loglog_convergence(curves, orders=(1,), xlabel="levels", ylabel="error / deviation of the data")
    ax = picture.axes[0]
    ax.annotate("denoiser", (1, 1), xytext=(4, -18), textcoords="offset points", color="#5A5A5A")
    return picture


def teachers(curves) -> Picture:
    """Error of what consistency learns, with a teacher and without, against levels: dict label -> (levels,
    errors).
    """
    return loglog_convergence(
        curves, orders=(1, 2), xlabel="levels", ylabel="RMS from the flow map", height=3.4
    )


# --- the shipped students -------------------------------------------------------------------------------


def guidance(curves) -> Picture:
    """RMS distance of digits from those of the guided teacher, against the scale: dict label
    -> (scales, distances).
    """
    picture = lines(curves, "guidance scale $w$", "RMS from the guided teacher")
    largest = next(iter(curves.values()))[0][-1]
    picture.axes[0].axvspan(4, max(largest, 4.5), color="#E8E8E8", zorder=0)
    picture.axes[0].annotate("not trained", (5, 0), xytext=(0, 6), textcoords="offset points", ha="center")
    picture.axes[0].set_ylim(0, None)
    return picture


def guided_digits(rows, scale) -> Picture:
    """For the widget: digits at one guidance scale, one noise a column: dict label -> (n, 1, 8, 8), first the
    guided teacher's.
    """
    first, *others = rows
    told = [f"{label} {number(rms(rows[label] - rows[first]))}" for label in others]
    return image_grid(
        rows,
        alt=f"{len(rows[first])} digits at guidance {scale:g} in columns; rows: {listing(rows)}. Root mean "
        f"square distance from the top row: {listing(told)}.",
    )


def ring_students(clouds, between) -> Picture:
    """The ring through each student in one call, from the same noise, with what lies between the modes.

    clouds: dict label -> (n, 2); between: dict label -> share, in %, of that cloud's points between modes.
    """
    n = len(next(iter(clouds.values())))
    told = [f"{name} {number(share)} %" for name, share in between.items()]
    return scatter_grid(
        {text: clouds[name] for name, text in zip(between, told)},
        limit=1.5,
        size=2.5,
        alt=f"{n} samples on a ring of eight modes from the same noise in one call. Share between the modes: "
        f"{listing(told, 10)}.",
    )


@style()
def ring_misses(noise, far) -> Picture:
    """Noises of the ring (n, 2), dark where a student's jump misses the flow map's end: dict label -> (n,)
    distances.
    """
    noise = np.asarray(noise)
    fig, axes = new_figure(2, 3, height=4.9, sharex=True, sharey=True)
    turn = np.angle(np.exp(8j * np.arctan2(noise[:, 1], noise[:, 0]))) / 8  # from the nearest mode's ray
    told = []
    for ax, (name, distance) in zip(axes.flat, far.items()):
        distance = np.asarray(distance)
        order = np.argsort(distance)
        dots = ax.scatter(
            *noise[order].T, c=distance[order], s=9, cmap="magma_r", vmin=0, vmax=0.3, linewidths=0
        )
        worst = np.degrees(np.abs(turn[order[-len(order) // 20 :]])).mean()
        told.append(f"{name} {number(np.quantile(distance, 0.95))} and {worst:.0f} degrees")
        ax.set(title=name, xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
    fig.colorbar(dots, ax=axes, label="distance from the flow map's end", extend="max", shrink=0.7)
    return Picture(
        fig,
        f"{len(noise)} noises in the plane, dark where a student's jump ends far from the flow map's end. "
        "The distance that 95 % keep, and how far the worst 5 % lie on average from the ray of a mode (22.5 "
        f"degrees is half-way to the next, 11 would be chance): {listing(told, 8)}.",
    )


@style()
def reflow_paths(paths, data) -> Picture:
    """Paths of rectified flow on the ring, before and after one reflow, from the same noise, light at the
    noise and dark at the end: dict label -> (steps + 1, n, 2); data: (m, 2), drawn behind.
    """
    fig, axes = new_figure(1, len(paths), height=3.9, sharey=True)
    told = []
    for ax, (name, path) in zip(axes, paths.items()):
        path = np.asarray(path)
        ax.scatter(*np.asarray(data).T, s=3, color="#D8D8D8", linewidths=0, zorder=1, rasterized=True)
        pieces = np.stack([path[:-1], path[1:]], axis=2).reshape(-1, 2, 2)
        t = np.repeat(np.linspace(1, 0, len(path) - 1), path.shape[1])
        drawn = LineCollection(pieces, array=t, cmap="plasma", linewidths=1.8, zorder=2)
        drawn.set_clim(0, 1.15)
        ax.add_collection(drawn)
        ax.plot(*path[0].T, "o", markerfacecolor="white", markeredgecolor=INK, markersize=5, zorder=3)
        ax.plot(*path[-1].T, "o", color=INK, markersize=4, zorder=4)
        ax.set(title=name, xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
        length = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum(0)
        nearest = np.median(np.linalg.norm(path, axis=-1).min(0))
        told.append(
            f"{name}, {number(length.sum() / np.linalg.norm(path[-1] - path[0], axis=-1).sum())} times as "
            f"long as their chords in all, coming as near to the centre as {number(nearest)} (median)"
        )
    bar = fig.colorbar(drawn, ax=axes, label="$t$", shrink=0.7, ticks=[0, 0.5, 1])
    bar.ax.set_ylim(0, 1)
    return Picture(
        fig,
        f"{path.shape[1]} paths from noise to the ring, drawn from light to dark: {'; '.join(told)}.",
    )


@style()
def quality_per_second(panels) -> Picture:
    """Fréchet distance without labels against all seconds, training included, for several numbers of digits:
    the teacher's settings as a line for each solver, the students as points.

    panels: dict number of digits -> dict label -> (seconds, distance); the teacher's labels are "DDIM N",
    "2M N" and "Heun N".  What lies above the panel, above a distance of 100, is not drawn.
    """
    look = {
        "DDIM": ("DDIM", "#9A9A9A", "-"),
        "2M": ("DPM-Solver++ 2M", INK, "-"),
        "Heun": ("Heun", INK, ":"),
    }
    fig, axes = new_figure(2, 2, height=5.6, sharey=True)
    told = []
    for ax, (n, rows) in zip(axes.flat, panels.items()):
        students = [name for name in rows if name.split()[0] not in look]
        for key, (label, colour, dash) in look.items():
            line = [rows[name] for name in rows if name.split()[0] == key]
            ax.plot(*np.array(line).T, ".", color=colour, linestyle=dash, label=f"teacher, {label}")
        for i, name in enumerate(students, 1):
            ax.plot(*rows[name], label=name, **_ring_mark(i, 8))
        quickest = min(rows[name][0] for name in students)
        told.append(f"{n:,}: {number(rows['2M 5'][0])} and {number(quickest)}")
        ax.set(title=f"{n:,} digits", xscale="log", yscale="log", xlabel="seconds in all", ylim=(1.2, 100))
    for ax in axes[:, 0]:
        ax.set(ylabel="FD, no label")
        ax.set_yticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
        ax.minorticks_off()
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        "Fréchet distance without labels against seconds in all, training included, on log scales: a line "
        "for each solver of the teacher, six points for the students. Seconds of five calls of DPM-Solver++ "
        f"2M and of the quickest student, by the number of digits: {listing(told)}.",
    )


def _ring_mark(i, size):
    """The i-th student's marker, hollow, as keywords of ``ax.plot``."""
    look = {"marker": MARKERS[i], "linestyle": "none", "markersize": size, "markeredgewidth": 1.8}
    return look | {"markerfacecolor": "none", "markeredgecolor": COLOURS[i]}
