"""Figures of chapter 5: distillation and one-step generation."""

from functools import cache

import numpy as np
import torch

from toolkit import EDM, Flow, Mixture, grids, initial_noise, sample
from toolkit.claims import distill as experiments
from toolkit.ddim import ddim
from toolkit.ode import edm_heun
from toolkit.plots import (
    COLOURS,
    GREY,
    INK,
    Picture,
    image_grid,
    lines,
    listing,
    mark,
    new_figure,
    number,
    plain,
    style,
    trajectories,
)

SCHEDULE = EDM()


@style()
def maps(functions, xlabel="noise $x_T/\\sigma_T$", limit=2.6, alt=None):
    """One-step maps of one-dimensional data: dict label -> (n,) answers to `experiments.quantiles(n)`, the exact
    one first, drawn wide in grey; the density of the data at the right."""
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
    density = experiments.marginal(experiments.two_peaks(), x, SCHEDULE.end)[0]
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


def steepness(stds=None):
    """Largest slope of the flow map between two peaks at -1 and 1 against their deviation."""
    stds = np.linspace(0.14, 0.8, 40) if stds is None else stds
    exact = [experiments.steepness(s) for s in stds]
    law = [s * np.exp(0.5 / s**2) for s in stds]
    return lines(
        {"largest slope of the flow map": (stds, exact), r"$s\,e^{1/2s^2}$": (stds, law)},
        "deviation $s$ of the two peaks",
        "largest slope",
        logy=True,
        points=False,
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


def gradients():
    """Deviation of one-step samples against levels, with the stop-gradient and without."""
    found = {
        label.replace("snr+1", r"$1/\sigma^2+1/d^2$").replace("1/gap", "1/gap"): row
        for label, row in experiments.gradients().items()
    }
    counts = list(experiments.COUNTS)
    series = found | {"data": ([counts[0], counts[-1]], [experiments.TRUE_STD] * 2)}
    picture = lines(series, "levels", "deviation of the samples", logx=True)
    picture.axes[0].set_xticks(counts, [str(m) for m in counts])
    picture.axes[0].minorticks_off()
    picture.axes[0].set_ylim(0, None)
    picture.axes[0].legend(loc="center left", bbox_to_anchor=(1, 0.5))
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
    )
    ax = picture.axes[0]
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    ax.set_ylim(0, 1.2)
    return picture
