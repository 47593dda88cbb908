"""Figures of chapter 5: distillation and one-step generation."""

from functools import cache

import numpy as np
import torch

from book.ch05 import experiments
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
from book.problems import rms, two_peaks
from toolkit import EDM, distilled, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.ode import edm_heun

SCHEDULE = EDM()


@style()
def maps(functions, xlabel="noise $x_T/\\sigma_T$", limit=2.6, alt=None):
    """One-step maps of one-dimensional data: dict label -> (n,) answers to `experiments.quantiles(n)`, the
    exact one first, drawn wide in grey; the density of the data at the right."""
    fig, (left, right) = new_figure(1, 2, height=3.4, sharey=True, width_ratios=(4, 1))
    told = []
    for i, (label, y) in enumerate(functions.items()):
        z = experiments.quantiles(len(y)) / SCHEDULE.start
        look = mark(i, points=False) | (
            {"color": "#9A9A9A", "linewidth": 5, "linestyle": "-", "solid_capstyle": "butt"} if i == 0 else {}
        )
        left.plot(z, y, label=label, **look)
        told.append(f"{plain(label)} from {number(y[0])} to {number(y[-1])}, deviation {number(y.std())}")
    x = np.linspace(-1.7, 1.8, 400)
    density = experiments.marginal(two_peaks(), x, SCHEDULE.end)[0]
    right.fill_betweenx(x, density, color="#C8C8C8")
    right.set(xlabel="density", xticks=[])
    left.set(xlim=(-limit, limit), xlabel=xlabel, ylabel="answer $f$")
    left.legend(loc="upper left")
    return Picture(fig, alt or f"What one-step maps make of noise, over the noise: {'; '.join(told)}.")


def why_hard(n=2000):
    """The flow map of the two peaks, four steps of DDIM, and one."""
    x = experiments.quantiles(n)
    return maps(
        {
            "the flow map": experiments.flow_map(x),
            "DDIM, 4 steps": experiments.run(ddim, x, 4),
            "DDIM, 1 step": experiments.run(ddim, x, 1),
        }
    )


@style()
def steepness(stds=None):
    """Largest slope of the flow map between two peaks at -1 and 1 against their deviation."""
    stds = np.linspace(0.14, 0.8, 40) if stds is None else stds
    exact = [experiments.steepness(s) for s in stds]
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


def halving():
    """Deviation of one-dimensional Gaussian samples against the steps of the student, for both losses."""
    found = experiments.halving()
    steps = (16, 8, 4, 2, 1)
    series = {
        name: (steps, [found[f"{name}, {n} steps"] for n in steps])
        for name in ("two-step target", "literal loss")
    }
    series["data"] = ((16, 1), (experiments.TRUE_STD,) * 2)
    picture = lines(series, "steps of the student (its teacher: 16)", "deviation of the samples", logx=True)
    ax = picture.axes[0]
    ax.set_xticks(steps, [str(n) for n in steps])
    ax.minorticks_off()
    ax.invert_xaxis()
    return picture


def minimisers(levels=(5, 20, 80), n=2000):
    """What consistency training learns on the two peaks with several numbers of levels."""
    x = experiments.quantiles(n)
    found = {"the flow map": experiments.flow_map(x)}
    return maps(found | {f"{m} levels": experiments.minimiser(m)[-1](x) for m in levels})


def learned(model, levels, n=2000):
    """A trained one-dimensional consistency model beside the minimiser of its loss and the flow map."""
    x = experiments.quantiles(n)
    y = model.x0(torch.as_tensor(x, dtype=torch.float32)[:, None], SCHEDULE.start)
    return maps(
        {
            "the flow map": experiments.flow_map(x),
            f"minimiser, {levels} levels": experiments.minimiser(levels)[-1](x),
            "the trained network": y[:, 0].detach().double().numpy(),
        }
    )


@style()
def gradients():
    """Deviation of one-step samples against levels, with the stop-gradient and without."""
    found = {
        label.replace("snr+1", r"$1/\sigma^2+1/d^2$"): row for label, row in experiments.gradients().items()
    }
    counts = list(experiments.COUNTS)
    series = found | {"data": ([counts[0], counts[-1]], [experiments.TRUE_STD] * 2)}
    picture = lines(series, "levels", "deviation of the samples", logx=True, height=3.7)
    ax = picture.axes[0]
    ax.set_xticks(counts, [str(m) for m in counts])
    ax.minorticks_off()
    ax.set_ylim(0, None)
    ax.get_legend().remove()
    picture.fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture


def metrics():
    """Share of the left peak among one-step samples against levels, for three metrics."""
    found = experiments.metrics()
    counts = next(iter(found.values()))[0]
    series = found | {"data": ([counts[0], counts[-1]], [0.3, 0.3])}
    picture = lines(series, "levels", "share of the left peak", logx=True)
    picture.axes[0].set_xticks(counts, [str(m) for m in counts])
    picture.axes[0].minorticks_off()
    picture.axes[0].set_ylim(0, 0.35)
    return picture


def refinement():
    """What a second step leaves of the error of the first, against the level at which it starts."""
    series = experiments.refinement()
    picture = lines(
        series | {"one step": ([0.04, 25], [1, 1])},
        "level in the middle",
        "error of two steps / of one",
        logx=True,
        points=False,
    )
    ax = picture.axes[0]
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    ax.set_ylim(0, 1.2)
    return picture


# ---- the shipped students ----------------------------------------------------------------------------------


def guidance(scales=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0)):
    """RMS distance of digits from those of the guided teacher, against the scale: the guided student, and the
    teacher without guidance."""
    names = {"student": "guided student, 18 calls", "plain": "teacher without guidance, 18 calls"}
    series = {label: ([], []) for label in names.values()}
    for scale in scales:
        runs = experiments.guided_samples(scale)
        for key, label in names.items():
            series[label][0].append(scale)
            series[label][1].append(rms(runs[key].x - runs["teacher"].x))
    picture = lines(series, "guidance scale $w$", "RMS from the guided teacher")
    picture.axes[0].axvspan(4, max(scales[-1], 4.5), color="#E8E8E8", zorder=0)
    picture.axes[0].annotate("not trained", (5, 0), xytext=(0, 6), textcoords="offset points", ha="center")
    picture.axes[0].set_ylim(0, None)
    return picture


def ring_students():
    """The ring through each student in one call, from the same noise, with what lies between the modes."""
    clouds = {"the flow map": experiments.ring_ends()[1]}
    clouds["one DDIM step"] = experiments.ring_jumps("teacher")
    clouds |= {experiments.called(name): experiments.ring_jumps(name) for name in experiments.RING_STUDENTS}
    told = [f"{name} {number(experiments.off_modes(cloud))} %" for name, cloud in clouds.items()]
    return scatter_grid(
        clouds,
        limit=1.5,
        size=2.5,
        alt=f"{experiments.NOISE} samples on a ring of eight modes from the same noise in one call. Share "
        f"between the "
        f"modes: {listing(told, 10)}.",
    )


def reflow_paths(n=40):
    """Paths of rectified flow on the ring, before and after one reflow, from the same noise."""
    paths = experiments.flow_paths(n)
    return trajectories(paths, data=distilled.mixture("ring").sample(600, 1), cols=2, limit=2.4)


ROWS = {
    "teacher, 36 calls": None,
    "teacher, 1 call": "teacher",
    "regression": "regression",
    "progressive": "progressive",
    "CD": "consistency-distilled",
    "adversarial": "adversarial",
    "reflow": "reflow",
    "CT": "consistency",
}


@cache
def _teacher_path(n, steps=18, seed=41):
    """(noise, path): n noises of digits, and the teacher's states from there in Heun's steps."""
    noise = initial_noise(n, (1, 8, 8), seed) * SCHEDULE.start
    run = sample(edm_heun, distilled.teacher(), noise, grids.karras(SCHEDULE, steps), keep_path=True)
    return noise, run.path


@cache
def _digit_jumps(name, n, seed=41):
    noise = _teacher_path(n, seed=seed)[0]
    model = distilled.teacher() if name == "teacher" else distilled.student(name)
    return distilled.jump(model, noise).detach()


def all_students(n=10):
    """Digits of the teacher and of every student in one call, one noise a column."""
    path = _teacher_path(24)[1]
    rows = {label: (path[-1] if name is None else _digit_jumps(name, 24))[:n] for label, name in ROWS.items()}
    far = {
        label: rms(batch - path[-1, :n])
        for label, batch in rows.items()
        if ROWS[label] is not None
    }
    told = [f"{label} {number(v)}" for label, v in far.items()]
    return image_grid(
        rows,
        alt=f"{n} noises in columns; rows: {listing(list(rows), 9)}. Root mean square distance from the "
        f"top row: "
        f"{listing(told, 9)}.",
    )


@style()
def quality_per_second(counts=(10**3, 10**5, 10**6)):
    """Fréchet distance without labels against all seconds, training included, for several numbers of digits:
    the teacher's settings as a line, the students as points."""
    found = experiments.quality_per_second(counts)
    fig, axes = new_figure(1, len(counts), height=3.7, sharey=True)
    told = []
    for ax, (n, rows) in zip(axes, found.items()):
        solver = np.array([rows[name] for name in rows if name.startswith("DDIM")])
        ax.plot(*solver.T, "-o", color="#8A8A8A", markersize=4, label="teacher, DDIM 1 to 64")
        ax.plot(*rows["Heun 18"], "*", color=INK, markersize=12, label="teacher, Heun 18")
        for i, name in enumerate(map(experiments.called, experiments.ONE_STEP), 1):
            ax.plot(
                *rows[name],
                MARKERS[i],
                markerfacecolor="none",
                markeredgecolor=COLOURS[i],
                markeredgewidth=1.8,
                markersize=8,
                label=name,
            )
        students_from = min(rows[experiments.called(name)][0] for name in experiments.ONE_STEP)
        told.append(f"{n:,}: {number(rows['Heun 18'][0])} and {number(students_from)}")
        ax.set(title=f"{n:,} digits", xscale="log", yscale="log", xlabel="seconds in all")
    axes[0].set(ylabel="FD, no label", yticks=[2, 5, 10, 20, 50, 100])
    axes[0].set_yticklabels(["2", "5", "10", "20", "50", "100"])
    axes[0].minorticks_off()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Picture(
        fig,
        "Fréchet distance without labels against seconds in all, training included, on log scales: a line "
        "for the teacher's settings, six points for the students. Seconds of the teacher's 18 Heun steps and "
        f"of the quickest student, by the number of digits: {listing(told)}.",
    )


def jumps(noise=3, data="ring"):
    """For the widget: one noise, the teacher's path, and where each student jumps; data: "ring" or
    "digits"."""
    return _ring_jumps(noise) if data == "ring" else _digits_jumps(noise)


@style()
def _ring_jumps(k):
    noise, ends = experiments.ring_ends()
    times = grids.karras(SCHEDULE, 60)
    path = sample(
        edm_heun, distilled.mixture("ring").model(SCHEDULE), noise[k : k + 1], times, keep_path=True
    ).path[:, 0]
    scaled = path / (1 + times[:, None] ** 2).sqrt()  # every level on one scale
    fig, (left, right) = new_figure(1, 2, height=3.7)
    for ax in (left, right):
        ax.scatter(
            *distilled.mixture("ring").sample(700, 1).T, s=3, color="#C8C8C8", linewidths=0, rasterized=True
        )
    left.plot(*scaled.T, color=INK, linewidth=1.4)
    left.plot(*scaled[0], "o", markerfacecolor="white", markeredgecolor=INK, markersize=7)
    far, at = {}, ends[k].numpy()
    for i, name in enumerate(experiments.RING_STUDENTS):
        y = experiments.ring_jumps(name)[k].numpy()
        far[name] = float(np.linalg.norm(y - at))
        right.plot(  # rings of growing size, so that none hides another
            *y,
            MARKERS[i + 1],
            markerfacecolor="none",
            markeredgecolor=COLOURS[i + 1],
            markeredgewidth=1.8,
            markersize=6 + 1.6 * i,
            label=experiments.called(name),
        )
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
    told = [f"{experiments.called(name)} {number(v)}" for name, v in far.items()]
    return Picture(
        fig,
        f"Noise {k} on the ring of eight modes: the exact path, and the students' jumps; distance from the "
        f"path's "
        f"end: {listing(told, 8)}.",
    )


@style()
def _digits_jumps(k):
    path = _teacher_path(24)[1][:, k]
    levels = grids.karras(SCHEDULE, 18)
    scaled = path / (1 + levels.float()[:, None, None, None] ** 2).sqrt()
    shown = [0, 7, 9, 11, 12, 14, 18]
    names = [name for name in ROWS.values() if name not in (None, "teacher")]
    ends = [_digit_jumps(name, 24)[k] for name in names]
    sheet, y, x = mosaic([[scaled[i] for i in shown], [path[-1], *ends]], pixels=60, gap=8)
    fig, ax = new_figure(height=2.7)
    ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(x, ["path\nend", *map(experiments.called, names)], fontsize=8)
    for i, place in zip(shown, x):
        ax.annotate(
            f"σ = {levels[i]:.2g}", (place, 0), (0, 4), textcoords="offset points", ha="center", fontsize=8
        )
    ax.set_yticks(y, ["teacher's\npath", "one call"])
    far = [f"{experiments.called(n)} {number(rms(e - path[-1]))}" for n, e in zip(names, ends)]
    return Picture(
        fig,
        f"Noise {k} of the digits: above, states of the teacher's path from noise to a digit; below, its "
        f"end and each "
        f"student's jump; root mean square distance from the end: {listing(far, 8)}.",
    )
