"""Figures and small experiments of chapter 0."""

import numpy as np

from book.plots import (
    GREY,
    Picture,
    array,
    image_grid,
    listing,
    mark,
    new_figure,
    number,
    schedule_panels,
    style,
)
from toolkit.convergence import exact_variance
from toolkit.noise import initial_noise
from toolkit.sampling import sample
from toolkit.schedules import NOTATIONS, convert


def journey_rows(model, steps=(1000, 50, 20, 10, 5, 1), samples=5, frames=8, seed=25, label=None):
    """Rows for `plots.journey`: the same noise carried to digits in fewer and fewer steps.

    1000 steps are DDPM's ancestral sampling, all others DDIM.  label: class of every sample, or None for any.
    Returns a dict: row label -> (path (frames, 1, h, w), results (samples - 1, 1, h, w)).
    """
    from toolkit import grids
    from toolkit.ddim import ddim
    from toolkit.ddpm import ddpm

    noise = initial_noise(samples, model.network.shape, seed=seed)
    model = model if label is None else model.with_label(label)
    rows = {}
    for n in steps:
        name, sampler = ("DDPM", ddpm) if n == 1000 else ("DDIM", ddim)
        run = sample(sampler, model, noise, grids.strided(model.schedule, n), draws=seed, keep_path=True)
        shown = np.linspace(0, n, min(frames, n + 1)).round().astype(int)
        rows[f"{name}, {n} step{'s' * (n > 1)}"] = (run.path[shown, 0], run.path[-1, 1:])
    return rows


def same_noise_level(digit, schedules, lams=(-3, -2, -1, 0, 1, 2, 3), seed=0, alt=None) -> Picture:
    """One digit at the same half log-SNR under several schedules, each divided by sqrt(alpha^2 + sigma^2).

    digit: (1, h, w).  schedules: dict label -> schedule.  The rows come out alike.
    """
    noise = initial_noise(1, digit.shape, seed=seed, dtype=digit.dtype)[0]
    rows = {}
    for label, schedule in schedules.items():
        row = []
        for lam in lams:
            t = schedule.t_of_lam(float(lam))
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            row.append(array(alpha * digit + sigma * noise) / np.hypot(alpha, sigma))
        rows[label] = np.stack(row)
    spread = max(np.abs(rows[a] - rows[b]).max() for a in rows for b in rows)
    alt = alt or (
        f"The same digit at half log-SNR {listing([str(v) for v in lams], 9)}, a row for each of "
        f"{listing(list(rows))}: from pure noise at the left to a clean digit at the right, and each row the "
        f"same to {number(spread, 1)}."
    )
    return image_grid(rows, column_labels=[f"λ = {v}".replace("-", "−") for v in lams], noisy=True, alt=alt)


@style()
def rosetta(digit, lam, seed=0) -> Picture:
    """One noise level in all symbols: the noisy digit at half log-SNR `lam`, where that is on the curves of
    alpha and sigma and what either alpha-bar says there, and its names.

    Variance preserving throughout (alpha^2 + sigma^2 = 1).  digit: (1, h, w).
    """
    alpha, sigma = convert((1.0, float(lam)), "half log-SNR", "this book")
    noise = initial_noise(1, digit.shape, seed=seed, dtype=digit.dtype)[0]
    fig, axes = new_figure(1, 3, height=2.9, gridspec_kw={"width_ratios": [0.75, 1.1, 2.2]})
    left, curves, right = axes
    state = array(alpha * digit + sigma * noise)[0]
    left.imshow(state, cmap="gray_r", vmin=-2, vmax=2, interpolation="nearest")
    left.set_title(f"λ = {lam:.1f}".replace("-", "−"))
    left.set_axis_off()
    grid = np.linspace(-4, 4, 161)
    curve = 1 / np.sqrt(1 + np.exp(-2 * grid))
    for i, (name, y, here) in enumerate(
        (
            (r"$\alpha$ (blog: $\barα$)", curve, alpha),
            (r"$\alpha^2$ (DDPM: $\barα$)", curve**2, alpha**2),
            (r"$\sigma$", curve[::-1], sigma),
        )
    ):
        curves.plot(grid, y, label=name, **mark(i, points=False))
        curves.plot(lam, here, **(mark(i) | {"linestyle": "", "markersize": 7}))
    curves.set(xlabel="λ", xlim=(-4.3, 4.3), ylim=(-0.05, 1.6), yticks=[0, 0.5, 1])
    curves.legend(loc="upper left", fontsize=8, handlelength=2)
    right.set_axis_off()
    right.set(xlim=(0, 1), ylim=(len(NOTATIONS) + 0.6, -0.4))
    told = []
    for i, notation in enumerate(NOTATIONS.values()):
        values = convert((alpha, sigma), "this book", notation.name)
        text = ",  ".join(f"{s} = {v:.4g}" for s, v in zip(notation.symbols, values))
        right.text(0.0, i + 0.5, notation.name, weight="bold", va="center")
        right.text(0.4, i + 0.5, text.replace("-", "−"), va="center")
        right.axhline(i + 1.0, color=GREY, linewidth=0.4)
        told.append(f"{notation.name}: {text}")
    names = "; ".join(told)
    return Picture(fig, f"A digit at half log-SNR {lam:.1f}, and that level in seven notations. {names}.")


@style()
def schedules(named) -> Picture:
    """`plots.schedule_panels` with the noise on a log axis and one line of names."""
    picture = schedule_panels(named)
    picture.axes[1].set(yscale="log", ylim=(5e-3, 200))
    picture.fig.legends[0].remove()
    names = picture.axes[0].get_legend_handles_labels()
    picture.fig.legend(*names, loc="outside lower center", ncols=len(named))
    return picture


def variance_errors(schedule, steps=(5, 10, 20, 50, 100, 200, 500, 1000)):
    """|variance - 0.25| of what DDIM and DDPM produce on data N(0, 0.25), exactly.

    Returns a dict label -> (steps, errors), for `loglog_convergence`.
    """
    from toolkit import grids
    from toolkit.ddim import ddim
    from toolkit.ddpm import ddpm

    errors = {"DDIM": [], "DDPM": []}
    for n in steps:
        for name, sampler in (("DDIM", ddim), ("DDPM", ddpm)):
            errors[name].append(abs(exact_variance(sampler, schedule, grids.strided(schedule, n)) - 0.25))
    return {name: (np.array(steps), np.array(values)) for name, values in errors.items()}
