"""Figures of chapter 5: distillation and one-step generation."""

import numpy as np

from book.plots import (
    COLOURS,
    INK,
    MARKERS,
    Picture,
    image_grid,
    lines,
    listing,
    mark,
    mosaic,
    new_figure,
    number,
    plain,
    scatter_grid,
    style,
    trajectories,
)
from book.problems import rms


@style()
def maps(noise, answers, density, xlabel="noise $x_T/\\sigma_T$", limit=2.6, alt=None) -> Picture:
    """One-step maps of one-dimensional data: dict label -> answers (n,) to standardised `noise` (n,), the
    exact one first, drawn wide in grey; at the right the density of the data, a pair (x, p), both (m,).
    """
    fig, (left, right) = new_figure(1, 2, height=3.4, sharey=True, width_ratios=(4, 1))
    told = []
    for i, (label, y) in enumerate(answers.items()):
        look = mark(i, points=False) | (
            {"color": "#9A9A9A", "linewidth": 5, "linestyle": "-", "solid_capstyle": "butt"} if i == 0 else {}
        )
        left.plot(noise, y, label=label, **look)
        told.append(f"{plain(label)} from {number(y[0])} to {number(y[-1])}, deviation {number(y.std())}")
    right.fill_betweenx(*density, color="#C8C8C8")
    right.set(xlabel="density", xticks=[])
    left.set(xlim=(-limit, limit), xlabel=xlabel, ylabel="answer $f$")
    left.legend(loc="upper left")
    return Picture(fig, alt or f"What one-step maps make of noise, over the noise: {'; '.join(told)}.")


@style()
def steepness(stds, exact) -> Picture:
    """Largest slope of the flow map between two peaks at -1 and 1, and its law, against their deviation."""
    law = [s * np.exp(0.5 / s**2) for s in stds]
    fig, ax = new_figure()
    ax.plot(stds, exact, color="#B5B5B5", linewidth=6, label="largest slope of the flow map")
    ax.plot(stds, law, color=INK, linewidth=1.4, linestyle=(0, (4, 3)), label=r"$s\,e^{1/2s^2}$")
    ax.set(xlabel="deviation $s$ of the two peaks", ylabel="largest slope", yscale="log")
    ax.legend()
    return Picture(
        fig,
        f"Largest slope of the flow map against the deviation s of the two peaks, log scale: it falls from "
        f"{number(exact[0])} at {number(stds[0])} to {number(exact[-1])} at {number(stds[-1])}, on the curve "
        f"s exp(1/(2 s squared)).",
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
    picture = lines(
        curves | {"one step": ([0.04, 25], [1, 1])},
        "level in the middle",
        "error of two steps / of one",
        logx=True,
        points=False,
    )
    ax = picture.axes[0]
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    ax.set_ylim(0, 1.2)
    return picture


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


def reflow_paths(paths, data) -> Picture:
    """Paths of rectified flow on the ring, before and after one reflow, from the same noise: dict label ->
    (steps + 1, n, 2); data: (m, 2), drawn behind.
    """
    return trajectories(paths, data=data, cols=2, limit=2.4)


def all_students(rows) -> Picture:
    """Digits of the teacher and of every student in one call, one noise a column: dict label -> (n, 1, 8, 8),
    the teacher's own first.
    """
    first, *others = rows
    told = [f"{label} {number(rms(rows[label] - rows[first]))}" for label in others]
    return image_grid(
        rows,
        alt=f"{len(rows[first])} noises in columns; rows: {listing(rows, 9)}. Root mean square distance from "
        f"the top row: {listing(told, 9)}.",
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


# --- the widget -----------------------------------------------------------------------------------------


def jumps(runs, noise, data) -> Picture:
    """For the widget: one noise, the teacher's path, and where each student jumps; data: "ring" or "digits".

    runs: what `experiments.jumps(noise, data)` returns.
    """
    return (_ring_jumps if data == "ring" else _digits_jumps)(runs, noise)


@style()
def _ring_jumps(runs, k):
    path, at = runs["path"], runs["end"]
    fig, (left, right) = new_figure(1, 2, height=3.7)
    for ax in (left, right):
        ax.scatter(*runs["data"].T, s=3, color="#C8C8C8", linewidths=0, rasterized=True)
    left.plot(*path.T, color=INK, linewidth=1.4)
    left.plot(*path[0], "o", markerfacecolor="white", markeredgecolor=INK, markersize=7)
    for i, (name, y) in enumerate(runs["students"].items()):
        right.plot(*y, label=name, **_ring_mark(i + 1, 6 + 1.6 * i))  # growing, so that none hides another
    left.plot(*at, "*", color=INK, markersize=14, markeredgecolor="white")
    right.plot(
        *at, "*", markerfacecolor="none", markeredgecolor=INK, markersize=18, label="the path's end", zorder=1
    )
    left.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal", title="the teacher's path")
    right.set(
        xlim=(at[0] - 0.45, at[0] + 0.45),
        ylim=(at[1] - 0.45, at[1] + 0.45),
        aspect="equal",
        title="each student's jump, nearer",
    )
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    told = [f"{name} {number(np.linalg.norm(y - at))}" for name, y in runs["students"].items()]
    return Picture(
        fig,
        f"Noise {k} on the ring of eight modes: the exact path, and the students' jumps; distance from the "
        f"path's end: {listing(told, 8)}.",
    )


@style()
def _digits_jumps(runs, k):
    levels, students, end = runs["levels"], runs["students"], runs["end"]
    shown = [0, 7, 9, 11, 12, 14, 18]
    sheet, y, x = mosaic(
        [runs["path"][shown], [end, *students.values()]], pixels=60, gap=8, noisy=[True, False]
    )
    fig, ax = new_figure(height=2.7)
    ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(x, ["path\nend", *students], fontsize=8)
    for i, place in zip(shown, x):
        ax.annotate(
            f"σ = {levels[i]:.2g}", (place, 0), (0, 4), textcoords="offset points", ha="center", fontsize=8
        )
    ax.set_yticks(y, ["teacher's\npath", "one call"])
    far = [f"{name} {number(rms(digit - end))}" for name, digit in students.items()]
    return Picture(
        fig,
        f"Noise {k} of the digits: above, states of the teacher's path from noise to a digit; below, its end "
        f"and each student's jump; root mean square distance from the end: {listing(far, 8)}.",
    )
