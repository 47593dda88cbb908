"""Figures of chapter 1: denoising diffusion probabilistic models."""

import math

import matplotlib.patches
import numpy as np
import torch

from book.plots import (
    COLOURS,
    GREY,
    INK,
    Picture,
    array,
    image_grid,
    listing,
    mark,
    new_figure,
    number,
    style,
)
from book.problems import normal_density
from toolkit import ddpm as d
from toolkit.metrics import nearest_neighbour_ratio

# --- drawings -------------------------------------------------------------------------------------------


def _blank(height, width, tall):
    """A figure without axes' marks, in units of which `width` fit across and `tall` up."""
    fig, ax = new_figure(height=height)
    ax.set(xlim=(0, width), ylim=(0, tall), aspect="equal")
    ax.set_axis_off()
    return fig, ax


def _arrow(ax, start, end, bend=0.0, dashed=False):
    """An arrow from start to end, bent to its left by `bend`."""
    ax.add_patch(
        matplotlib.patches.FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=13,
            linewidth=1.4,
            linestyle="--" if dashed else "-",
            color=COLOURS[1] if dashed else INK,
        )
    )


@style()
def markov_chain() -> Picture:
    """The chain x_0 … x_T: the forward kernels q to the right, the learned p back, and the jump over them."""
    fig, ax = _blank(2.2, 15.4, 4.6)
    names = ["$x_0$", "$x_{n-1}$", "$x_n$", "$x_T$"]
    places = [1.1, 5.5, 9.9, 14.3]
    for name, x in zip(names, places, strict=True):
        ax.add_patch(matplotlib.patches.Circle((x, 2), 0.75, facecolor="#EEEEEE", edgecolor=INK))
        ax.text(x, 2, name, ha="center", va="center", fontsize=12)
    for i, (left, right) in enumerate(zip(places, places[1:], strict=False)):
        _arrow(ax, (left + 0.65, 2.45), (right - 0.65, 2.45), -0.2)
        _arrow(ax, (right - 0.65, 1.55), (left + 0.65, 1.55), -0.2, dashed=True)
        middle = (left + right) / 2
        if i == 1:
            ax.text(middle, 2.95, r"$q(x_n\,|\,x_{n-1})$", ha="center", va="bottom")
            ax.text(middle, 1.05, r"$p(x_{n-1}\,|\,x_n)$", ha="center", va="top", color=COLOURS[1])
        ax.text(middle, 2, "adds noise" if i == 1 else "…", ha="center", va="center", fontsize=9)
    _arrow(ax, (1.1, 2.75), (9.75, 2.8), -0.3)
    ax.text(3.4, 4.45, r"the jump $q(x_n\,|\,x_0)$", ha="center", va="top")
    ax.text(1.1, 0.95, "data", ha="center", va="top")
    ax.text(14.3, 0.95, "$N(0, I)$", ha="center", va="top")
    return Picture(
        fig,
        "A chain of circles from x_0, the data, over x_(n-1) and x_n to x_T, which is N(0, I). Solid "
        "arrows to the right add noise, q; dashed arrows back, p, are what is learned; a long arrow jumps "
        "from x_0 to x_n.",
    )


@style()
def network() -> Picture:
    """The noise network as a picture: a U-Net whose blocks are told the time and the label."""
    fig, ax = _blank(3.1, 16, 6.9)
    boxes = {  # name: left, bottom, width, height
        "28 × 28": (2.6, 2.4, 0.9, 3.2),
        "14 × 14": (4.4, 2.9, 0.9, 2.2),
        "7 × 7": (7.55, 3.3, 0.9, 1.4),
        "14 × 14 ": (10.7, 2.9, 0.9, 2.2),
        "28 × 28 ": (12.5, 2.4, 0.9, 3.2),
    }
    for name, (x, y, width, height) in boxes.items():
        ax.add_patch(matplotlib.patches.Rectangle((x, y), width, height, facecolor="#DDE7F0", edgecolor=INK))
        ax.text(x + width / 2, y - 0.12, name.strip(), ha="center", va="top", fontsize=8.5)
        _arrow(ax, (8, 1.05), (x + width / 2, y - 0.55), 0.0, dashed=True)
    order = list(boxes.values())
    for (x, y, width, height), (to, *_) in zip(order, order[1:], strict=False):
        _arrow(ax, (x + width, y + height / 2), (to, y + height / 2))
    for first, last, level in ((0, 4, 5.35), (1, 3, 4.85)):
        _arrow(ax, (order[first][0] + 0.9, level), (order[last][0], level), -0.12)
    ax.text(8, 6.6, "skip connections: fine detail", ha="center", va="center", fontsize=9)
    ax.text(1.1, 4, "$x_t$", ha="center", va="center", fontsize=13)
    _arrow(ax, (1.6, 4), (2.6, 4))
    ax.text(14.95, 4, r"$\hat\varepsilon$", ha="center", va="center", fontsize=13)
    _arrow(ax, (13.4, 4), (14.5, 4))
    ax.text(
        8,
        0.6,
        "time: sines and cosines of $t$, two layers   +   label: a learned vector",
        ha="center",
        va="center",
        color=COLOURS[1],
        fontsize=9.5,
    )
    return Picture(
        fig,
        "A U-Net: x_t enters at 28 by 28 pixels, is halved to 14 and to 7, and is doubled back to the "
        "predicted noise. Two skip connections lead from the blocks on the way down to those on the way "
        "up; dashed arrows bring the time and the label to all five blocks.",
    )


# --- the exact reverse step -----------------------------------------------------------------------------


def _kernel_panel(ax, x, exact, gaussian):
    """Draw both densities at x."""
    ax.fill_between(x, exact, color="#CFCFCF", linewidth=0)
    ax.plot(x, exact, label="exact", **mark(0, points=False))
    ax.plot(x, gaussian, label="best Gaussian", **mark(1, points=False))
    keep = np.flatnonzero(np.maximum(exact, gaussian) > 1e-3 * exact.max())
    ax.set(xlim=(x[keep[0]], x[keep[-1]]), ylim=(0, 1.12 * max(exact.max(), gaussian.max())), xlabel="$x_s$")
    ax.set_yticks([])


@style()
def one_step_or_many(t, x_t, kernels) -> Picture:
    """p(x_s | x_t) for steps of several lengths down from time t: exact, and the best Gaussian.

    kernels: dict length of the step -> what `experiments.reverse_kernel` returns.
    """
    fig, axes = new_figure(1, len(kernels), height=2.5, sharex=True, sharey=True)
    widest = next(iter(kernels.values()))[0]
    tallest = max(exact.max() for _, exact, _, _ in kernels.values())
    for ax, (step, (*densities, kl)) in zip(axes, kernels.items(), strict=True):
        _kernel_panel(ax, *densities)
        ax.set_title(f"step {step:g}\nKL {number(kl)}")
        ax.set(xlim=(0.6 * widest[0], 0.6 * widest[-1]), ylim=(0, 1.05 * tallest))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    told = listing([f"{number(kl)} for a step of {step:g}" for step, (*_, kl) in kernels.items()])
    return Picture(
        fig,
        f"The exact distribution of the earlier state given x_t = {x_t:g} at t = {t:g}, and the best "
        f"Gaussian. A long step has two separate peaks; a short step is one bell. The Kullback-Leibler "
        f"divergence is {told}.",
    )


@style()
def step_explorer(t, s, x_t, x, before, after, kernel, starts, curve) -> Picture:
    """A step from t to s: the marginal densities at x, `before` it, at t, and `after` it, at s; one panel of
    `one_step_or_many`; and the divergence `curve` of a step of this length from each of `starts`.
    """
    fig, (left, middle, right) = new_figure(1, 3, height=2.8)
    left.plot(x, after, label=f"$p_s$, s = {s:.3g}", **mark(2, points=False))
    left.plot(x, before, label=f"$p_t$, t = {t:.3g}", **mark(3, points=False))
    left.set(title="the noisy data", xlabel="$x$", yticks=[], ylim=(0, 1.7))
    left.legend(loc="upper left", frameon=True, framealpha=1, edgecolor="none")
    left.plot([x_t, x_t], [0, 1.1], color=INK, linewidth=1, linestyle=":")
    left.annotate("$x_t$", (x_t, 0), xytext=(4, 3), textcoords="offset points")
    *densities, kl = kernel
    _kernel_panel(middle, *densities)
    middle.set_title("$p(x_s\\,|\\,x_t)$")
    middle.set_ylim(0, middle.get_ylim()[1] * 1.35)
    middle.legend(loc="upper right", fontsize=8.5)
    right.plot(starts, np.maximum(curve, 1e-10), **mark(0, points=False))
    right.plot(t, max(kl, 1e-10), "o", color=COLOURS[1], markersize=8)
    right.set(
        title=f"KL {number(kl)} nats", xlabel="$t$, where the step starts", yscale="log", ylim=(1e-10, 3)
    )
    return Picture(
        fig,
        f"A step from t = {t:g} to s = {s:.3g}, from x_t = {x_t:g}. Left: the densities of the noisy data at "
        "both times. Middle: the exact distribution of x_s given x_t and the Gaussian of the same mean and "
        f"variance; their divergence is {number(kl)} nats. Right: that divergence for such a step from "
        f"each t, from {number(curve[0])} at t = {starts[0]:g} to {number(curve[-1])} at t = 1.",
    )


# --- the forward process and the posterior --------------------------------------------------------------


def demolition(images, names, schedule, times, seed=0) -> Picture:
    """Images (n, 1, h, w), a row each with its name, at several times: the same noise along a row."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    columns = [array(d.diffuse(schedule, images, t, noise)) for t in times]
    signal = [schedule.alpha(t) for t in times]
    rows = {name: np.stack([column[i] for column in columns]) for i, name in enumerate(names)}
    return image_grid(
        rows,
        column_labels=[
            f"t = {t:g}\nα = {number(a, 2 if a > 0.1 else 1)}" for t, a in zip(times, signal, strict=True)
        ],
        pixels=84,
        noisy=True,
        alt=f"{len(images)} handwritten digits drowning in noise from left to right; the signal level alpha "
        f"at the columns is {listing([number(a) for a in signal], 10)}. The eye loses the shapes between "
        "alpha = 0.4 and 0.2.",
    )


@style()
def two_clues(schedule, t, s, x0, x_t) -> Picture:
    """What x_0 says about x_s, what x_t says about it, and the product: the posterior q(x_s | x_t, x_0)."""
    ratio, beta = d.transition(schedule, s, t)
    c_0, c_t, tilde = d.posterior(schedule, t, s)
    clues = {
        "clue 1: $x_s$ given $x_0$": (schedule.alpha(s) * x0, schedule.sigma(s) ** 2),
        "clue 2: $x_s$ read off $x_t$": (x_t / ratio, beta / ratio**2),
        r"both: $q(x_s\,|\,x_t,x_0)$": (c_0 * x0 + c_t * x_t, tilde),
    }
    fig, ax = new_figure(height=2.8)
    reach = 3.2 * math.sqrt(max(v for _, v in clues.values()))
    x = np.linspace(min(m for m, _ in clues.values()) - reach, max(m for m, _ in clues.values()) + reach, 800)
    for i, (label, (mean, var)) in enumerate(clues.items()):
        y = normal_density(x, mean, var)
        ax.plot(x, y, label=f"{label}: {mean:.2f} ± {math.sqrt(var):.2f}", **mark((1, 2, 0)[i], points=False))
    ax.set(xlabel="$x_s$", yticks=[], xlim=(x[0], x[-1]))
    ax.set_ylim(0, ax.get_ylim()[1] * 1.05)
    ax.legend(loc="upper left")
    told = [f"{mean:.2f} give or take {math.sqrt(var):.2f}" for mean, var in clues.values()]
    return Picture(
        fig,
        f"Three Gaussians over x_s: the clue from x_0 says {told[0]}, the clue from x_t says {told[1]}, and "
        f"their product, the posterior, {told[2]}: it lies between them and is narrower than both.",
    )


@style()
def bound_gaps(gaps) -> Picture:
    """-ELBO minus entropy against the number of steps, {variance: (counts, gaps)}, with a line of slope
    -1.
    """
    names = {"posterior": r"$v=\tilde\beta$", "beta": r"$v=\beta$", "analytic": r"$v=v^\star$, the best"}
    fig, ax = new_figure(height=3.0)
    for i, (name, (counts, values)) in enumerate(gaps.items()):
        ax.plot(counts, values, label=names[name], **mark(i))
    guide = 0.5 * values[-1] * counts[-1] / np.array([counts[3], counts[-1]])
    ax.plot([counts[3], counts[-1]], guide, color=GREY, linewidth=1, label="slope −1")
    ax.set(xscale="log", yscale="log", xlabel="number of steps", ylabel="(−ELBO) − entropy, nats")
    ax.legend(loc="lower left")
    told = listing([f"{name} {number(v[0])} to {number(v[-1])}" for name, (_, v) in gaps.items()])
    return Picture(
        fig,
        f"Gap of the bound above the entropy, nats, from {counts[0]} to {counts[-1]} steps, both on log "
        f"scales: {told}. The lower two run along a line of slope -1.",
    )


# --- scores ---------------------------------------------------------------------------------------------


@style()
def conditional_and_marginal(mixture, schedule, t=0.35, x_t=(0.25, 0.15), draws=40, seed=1) -> Picture:
    """At one x_t in the plane: the conditional scores -eps / sigma of several x_0 drawn from p(x_0 | x_t),
    and their mean, the score.
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    here = torch.tensor([x_t], dtype=torch.float64)
    pool = mixture.sample(200_000, seed)
    log_w = -((here - alpha * pool) ** 2).sum(1) / (2 * sigma**2)
    pick = torch.multinomial(
        torch.softmax(log_w, 0), draws, replacement=True, generator=torch.Generator().manual_seed(seed)
    )
    ends = alpha * pool[pick]
    score = mixture.model(schedule).score(here, t)[0]
    fig, (left, right) = new_figure(1, 2, height=3.7, sharex=True, sharey=True)
    cloud = alpha * mixture.sample(1500, seed + 1)
    for ax in (left, right):
        ax.scatter(
            *array(cloud).T,
            s=3,
            color="#C4C4C4",
            linewidths=0,
            rasterized=True,
            label=r"data, times $\alpha_t$",
        )
        ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
    for end in ends:
        left.plot([x_t[0], end[0]], [x_t[1], end[1]], color=COLOURS[6], linewidth=0.8, alpha=0.7)
    left.plot(*array(ends).T, "o", color=COLOURS[2], markersize=3, label=r"$\alpha_t x_0$, drawn given $x_t$")
    mean = array(here[0] + sigma**2 * score)
    left.annotate(
        "", mean, x_t, arrowprops=dict(arrowstyle="-|>", color=INK, linewidth=2, shrinkA=0, shrinkB=0)
    )
    left.plot([], [], color=INK, linewidth=2, label=r"to their mean: $\sigma_t^2$ score")
    left.plot(*x_t, "s", color=COLOURS[1], markersize=6, label="$x_t$")
    left.set_title("one $x_t$: many possible targets")
    left.legend(loc="lower left", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", borderpad=0.2)
    axis = torch.linspace(-1.15, 1.15, 15, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    field = mixture.model(schedule).score(grid, t)
    right.quiver(*array(grid).T, *array(field).T, angles="xy", color=COLOURS[2], width=0.004)
    right.set_title("the score: their mean, everywhere")
    conditional = (ends - here) / sigma**2
    return Picture(
        fig,
        f"Left: at one noisy point in a ring of eight clusters, {draws} clean points that could have "
        "produced it lie in several clusters; lines join them to the point, and one thick arrow shows the "
        f"mean. The lengths of the single targets average {number(conditional.norm(dim=1).mean())}, the "
        f"length of the mean, the score, is {number(score.norm())}. Right: arrows of the score over the "
        "plane point from outside and inside towards the ring.",
    )


# --- schedules and weights ------------------------------------------------------------------------------


@style()
def schedules(tables, alt=None) -> Picture:
    """beta, alpha-bar, log-SNR and noise level of tables {name: Discrete} against t; in alpha-bar the line
    below which 1 % of the signal's power is left.
    """
    fig, axes = new_figure(2, 2, height=4.8, sharex=True)
    (first, power), (ratio, level) = axes
    told = []
    for i, (name, table) in enumerate(tables.items()):
        t = np.arange(1, table.T + 1) / table.T
        first.plot(t, table.betas * table.T, label=name, **mark(i, points=False))
        power.plot(t, table.alpha_bar[1:], **mark(i, points=False))
        ratio.plot(t, 2 * table.lam(t), **mark(i, points=False))
        level.plot(t, table.sigma(t), **mark(i, points=False))
        below = float((table.alpha_bar[1:] < 0.01).mean())
        told.append(f"{name} {number(table.alpha_bar[-1])} and {100 * below:.1f} %")
    first.set(title=r"$T\beta_n$: noise added", yscale="log")
    power.axhline(0.01, color=GREY, linewidth=1)
    power.annotate("1 %", (0.02, 0.025), color=INK, fontsize=9)
    power.set(title=r"$\bar\alpha_t$: signal power left")
    ratio.set(title="log SNR", xlabel="$t$", ylim=(-12, 10))
    ratio.annotate(
        "on to −20",
        (0.985, -11.8),
        xytext=(0.6, -10.5),
        fontsize=8.5,
        arrowprops=dict(arrowstyle="->", color=INK),
    )
    level.set(title=r"$\sigma_t$: noise level", xlabel="$t$")
    fig.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return Picture(
        fig,
        alt
        or f"Noise added, signal power, log signal-to-noise ratio and noise level of {len(tables)} tables "
        "against time. Signal power left at the end, and share of the steps with less than 1 % of it: "
        f"{'; '.join(told)}.",
    )


@style()
def weights(t, curves) -> Picture:
    """Weights of the squared noise error against t, each divided by its mean: only the shape
    of a weight matters.
    """
    fig, ax = new_figure(height=3.3)
    told = []
    for i, (name, w) in enumerate(curves.items()):
        w = w / w.mean()
        ax.plot(t, w, label=name, **mark(i, points=False))
        told.append(f"{name}: {number(w[0])} at the least noise, {number(w[-1])} at the most")
    ax.set(xscale="log", yscale="log", xlabel="$t$ (log scale)", ylabel="weight / its mean", ylim=(2e-4, 200))
    ax.legend(loc="upper right", ncols=2)
    return Picture(
        fig,
        f"Weights of the noise error against time, log scales, each over its mean. {'; '.join(told)}.",
    )


# --- training -------------------------------------------------------------------------------------------


@style()
def training(losses, times, network, exact, data, samples, window=25) -> Picture:
    """Three panels: the loss while training, the trained loss against t beside the smallest possible, data
    and samples.

    losses (steps,); network, exact: `experiments.loss_at` of the two models at `times`; data, samples (n, 2).
    """
    fig, axes = new_figure(1, 3, height=2.75, gridspec_kw={"width_ratios": [1, 1, 0.85]})
    losses = array(losses)
    smooth = losses[: len(losses) // window * window].reshape(-1, window).mean(1)
    axes[0].plot(window * (np.arange(len(smooth)) + 0.5), smooth, **mark(0, points=False))
    axes[0].set(title="loss while training", xlabel="step", ylim=(0, None))
    axes[1].plot(times, exact, label="smallest possible", **mark(0, points=False))
    axes[1].plot(times, network, label="trained network", **mark(1))
    axes[1].set(title="loss against $t$", xlabel="$t$ (log scale)", ylim=(0, 1.35), xscale="log")
    axes[1].legend(loc="upper right", fontsize=8.5)
    for points, colour, name in ((data, "#A8A8A8", "data"), (samples, COLOURS[2], "samples")):
        axes[2].scatter(
            *array(points).T, s=5, color=colour, linewidths=0, alpha=0.7, rasterized=True, label=name
        )
    axes[2].legend(loc="center", fontsize=8, markerscale=2.5, frameon=False, handletextpad=0)
    axes[2].set(title="data, samples", xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), aspect="equal")
    return Picture(
        fig,
        f"Left: the loss falls from {number(smooth[0])} to {number(smooth[-1])} and then stays. Middle: "
        "against t, the trained network's loss lies on or just above the smallest possible, which is "
        f"{number(exact[0])} at t = {number(times[0])} and {number(exact[-1])} at t = {number(times[-1])}. "
        "Right: its samples gather on the clusters of the data, a few of them in between.",
    )


# --- digits ---------------------------------------------------------------------------------------------


def predict_and_renoise(model, path, times, shown, row=0) -> Picture:
    """Two rows of one sample's life: the state x_t, and the guess x0_hat that the network makes of it.

    path (steps + 1, n, 1, h, w) and its `times`; shown: indices into them.
    """
    states = path[list(shown), row : row + 1]
    with torch.no_grad():
        clean = [model.schedule.sigma(times[i]) == 0 for i in shown]  # there the state is its own guess
        guesses = [
            array(x if done else model.x0(x, times[i]))[0]
            for i, x, done in zip(shown, states, clean, strict=True)
        ]
    return image_grid(
        {"state $x_t$": [array(x)[0] for x in states], "guess $\\hat x_0$": guesses},
        column_labels=[f"t = {times[i]:.2g}" for i in shown],
        pixels=48,
        noisy=[True, False],
        alt="One sample's way from noise to a digit, at the times above the columns. Upper row: the state, "
        "mere noise until late. Lower row: the network's guess of the clean image, a blurred average at "
        "first, which changes its mind between digits and settles while the state is still noisy.",
    )


def with_neighbours(samples, training, count=10) -> Picture:
    """Samples, their nearest training images, and those images' own nearest neighbours; ratios above.

    Shows the `count` samples that come closest to copying: smallest nearest-neighbour ratio first.
    """
    ratio = nearest_neighbour_ratio(samples, training)
    order = np.argsort(ratio)[:count]
    flat = training.flatten(1)
    near = [int((flat - samples[i].flatten()).square().sum(1).argmin()) for i in order]
    next_near = [int((flat - flat[j]).square().sum(1).topk(2, largest=False).indices[1]) for j in near]
    return image_grid(
        {
            "sample": [array(samples[i]) for i in order],
            "nearest training": [array(training[j]) for j in near],
            "its own nearest": [array(training[j]) for j in next_near],
        },
        column_labels=[f"{'' if k else 'ratio '}{ratio[i]:.2f}" for k, i in enumerate(order)],
        pixels=48,
        alt=f"The {count} samples out of {len(samples)} that lie closest to the training set, the nearest "
        "training image below each, and that image's own nearest neighbour. Ratios of the two distances run "
        f"from {ratio[order[0]]:.2f} to {ratio[order[-1]]:.2f}; the samples resemble their neighbours but "
        "differ in strokes.",
    )
