"""Figures of chapter 2: denoising diffusion implicit models."""

import math

import numpy as np
import torch

from book.plots import (
    COLOURS,
    GREY,
    INK,
    Picture,
    image_grid,
    listing,
    mark,
    new_figure,
    number,
    plain,
    style,
    trajectories,
)
from toolkit import VP, Mixture, grids, initial_noise, sample
from toolkit.ddim import ddim, ddim_adaptive, ddim_invert, ddim_sigma, lerp, slerp

RING = Mixture.ring(8)


def key(ax, **options):
    """Say in a panel of paths what its signs mean."""
    signs = [
        ax.plot([], [], "o", markerfacecolor="white", markeredgecolor=INK, markersize=5, label="noise")[0],
        ax.plot([], [], "o", color=INK, markersize=4, label="sample")[0],
        ax.plot([], [], "o", color="#C8C8C8", markersize=3, label="data")[0],
    ]
    ax.legend(handles=signs, **{"loc": "upper left", "fontsize": 8, "handlelength": 1} | options)


@style()
def graphs() -> Picture:
    """Two graphs of four states side by side: DDPM's Markov chain, and DDIM's family, where every arrow down
    needs x_0 too.
    """
    fig, axes = new_figure(1, 2, height=2.5)
    places = {k: (3.0 - k, 0.0) for k in range(4)}
    for ax, title in zip(axes, ("DDPM: a Markov chain", "DDIM's family: every step sees $x_0$")):
        for k, (x, y) in places.items():
            ax.plot(x, y, "o", markersize=26, color="white", markeredgecolor=INK, zorder=3)
            ax.annotate(f"$x_{k}$", (x, y), ha="center", va="center", fontsize=12, zorder=4)
        ax.set(xlim=(-0.5, 3.5), ylim=(-0.9, 1.35), aspect="equal", title=title)
        ax.set_axis_off()

    def arrow(ax, start, end, colour, bend=0.0, dash="-"):
        look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 14, "shrinkB": 14, "linewidth": 1.6}
        look |= {"connectionstyle": f"arc3,rad={bend}", "linestyle": dash, "mutation_scale": 13}
        ax.annotate("", places[end], places[start], arrowprops=look)

    for k in range(3):
        arrow(axes[0], k, k + 1, COLOURS[2], bend=0.35)
        arrow(axes[0], k + 1, k, COLOURS[1], bend=0.35, dash="--")
        if k:  # (2.1) ends at x_1: x_0 is given
            arrow(axes[1], k + 1, k, COLOURS[2])
    arrow(axes[1], 0, 3, COLOURS[2], bend=0.5)
    arrow(axes[1], 0, 2, COLOURS[2], bend=0.42)
    arrow(axes[1], 0, 1, COLOURS[2], bend=0.5)
    text = {"ha": "center", "fontsize": 9.5}
    axes[0].text(1.5, 0.62, "noise is added: $q(x_n|x_{n-1})$", color=COLOURS[2], **text)
    axes[0].text(1.5, -0.78, "sampling: $p(x_{n-1}|x_n)$", color=COLOURS[1], **text)
    axes[1].text(1.5, -0.6, "$q_c(x_{n-1}|x_n,x_0)$, written backwards", color=COLOURS[2], **text)
    return Picture(
        fig,
        "Two graphs, noise at the left. DDPM: arrows from each state to the next noisier one, and dashed "
        "ones back, so that a state sees only its neighbour. DDIM's family: an arrow from each state to the "
        "cleaner one beside it, down to x1, and one from x0 to every state, so that each step sees x0, too.",
    )


def bundles(start, etas=(0.0, 0.5, 1.0), steps=40, copies=4) -> Picture:
    """Paths on the ring from one x_T = `start` (2,), `copies` times with different noise, for several eta."""
    schedule = VP()
    start = torch.tensor([start], dtype=torch.float64).expand(copies, 2).clone()
    times, paths, told = grids.quadratic(schedule, steps), {}, []
    for eta in etas:
        run = sample(ddim, RING.model(schedule), start, times, eta=eta, draws=1, keep_path=True)
        name = {0.0: "η = 0: DDIM", 1.0: "η = 1: DDPM"}.get(eta, f"η = {eta:g}")
        paths[name] = run.path
        modes = len(set(torch.cdist(run.x, RING.means).argmin(1).tolist()))
        told.append(f"{name} ends in {modes} of the eight modes")
    alt = f"{copies} sampling paths from one and the same noise, on a ring of eight modes: {listing(told)}."
    picture = trajectories(paths, data=RING.sample(800, 1), limit=3, alt=alt)
    for ax in picture.axes:
        for line in ax.lines:
            if len(line.get_xdata()) > steps:
                line.set(linewidth=0.8, marker="")
    key(picture.axes[0], loc="lower left")
    return picture


@style()
def marginal_test(series, critical, title="") -> Picture:
    """sqrt(n) times the Kolmogorov-Smirnov distance at each level, with the critical value; series: dict
    label -> (lambda, distances).
    """
    fig, ax = new_figure(height=3.1)
    told = []
    for i, (label, (x, y)) in enumerate(series.items()):
        ax.plot(x, y, label=label, **mark(i))
        told.append(f"{plain(label)} at most {number(max(y))}")
    ax.axhline(critical, color=INK, linestyle="--", linewidth=1.2)
    ax.annotate(
        "rejected at 1 %",
        (x[-1], critical),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    ax.set(
        yscale="log",
        xlabel=r"$\lambda$ (noise at the left, data at the right)",
        ylabel=r"$\sqrt{n}$ × KS distance",
        title=title,
    )
    ax.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Picture(
        fig,
        "Kolmogorov–Smirnov distance from the true marginal, times the root of the number of points, at each "
        f"level of a walk from noise to data: {listing(told)}; the test rejects above {number(critical, 3)}.",
    )


@style()
def three_terms(schedule, steps=20, etas=(0.0, 0.5, 1.0)) -> Picture:
    """What multiplies predicted x0, direction and noise in each step of an even grid, a panel an eta."""
    times = grids.strided(schedule, steps).numpy()
    t, s = times[:-1], times[1:]
    fig, axes = new_figure(1, len(etas), height=2.8, sharey=True)
    told = []
    for ax, eta in zip(axes, etas, strict=True):
        c = ddim_sigma(schedule, t, s, eta)
        direction = np.sqrt(np.maximum(schedule.sigma(s) ** 2 - c**2, 0))
        for i, (name, y) in enumerate(
            (("predicted $x_0$", schedule.alpha(s)), ("direction", direction), ("fresh noise", c))
        ):
            ax.plot(t, y, label=name, markevery=2, **mark(i))
        ax.set(title=f"η = {eta:g}", xlabel="time $t$ the step leaves")
        ax.invert_xaxis()
        told.append(f"noise at most {number(c.max())} at eta {eta:g}")
    axes[0].set_ylabel("coefficient")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"Coefficients of the three terms of a DDIM step over {steps} steps. That of the predicted x0 grows "
        f"from 0 to 1 in all panels; the noise takes its share from the direction: {listing(told)}.",
    )


@style()
def explorer(eta, steps, start=(-1.6, 1.9), runs=5) -> Picture:
    """For the widget: on the ring, `runs` paths from one x_T at the left, 400 samples at the right, for an
    eta and a number of steps.
    """
    schedule = VP()
    times, model = grids.quadratic(schedule, steps), RING.model(schedule)
    start = torch.tensor([start], dtype=torch.float64).expand(runs, 2).clone()
    path = sample(ddim, model, start, times, eta=eta, draws=1, keep_path=True).path.numpy()
    cloud = sample(ddim, model, initial_noise(400, 2, 0, dtype=torch.float64), times, eta=eta, draws=2).x
    fig, (left, right) = new_figure(1, 2, height=3.7)
    for ax in (left, right):
        ax.scatter(*RING.sample(600, 1).T, s=3, color="#C8C8C8", linewidths=0, rasterized=True)
        ax.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal")
    for k in range(runs):
        dots = {"marker": ".", "markersize": 4} if steps <= 25 else {}
        left.plot(*path[:, k].T, color=COLOURS[k % 6 + 1], linewidth=0.9, **dots)
    left.plot(*path[0, 0], "o", markerfacecolor="white", markeredgecolor=INK, markersize=6)
    left.plot(*path[-1].T, "o", color=INK, markersize=4)
    key(left, loc="lower left")
    right.scatter(*cloud.T, s=7, color=COLOURS[2], linewidths=0, rasterized=True)
    spread = float(np.sqrt(((path[-1] - path[-1].mean(0)) ** 2).sum(1).mean()))
    apart = "at one point" if spread < 1e-9 else f"{number(spread)} from their centre (root mean square)"
    off = float((torch.cdist(cloud, RING.means).min(1).values ** 2).mean().div(2).sqrt())
    left.set_title(f"{runs} runs from one $x_T$")
    right.set_title(f"spread {off:.3f} (data: 0.080)")
    return Picture(
        fig,
        f"DDIM on the ring with eta {eta:g} and {steps} steps. {runs} runs from one starting point "
        f"end {apart}; 400 samples have a standard deviation of {number(off)} about their modes, "
        "the truth being 0.08.",
    )


def interpolation(model, first, second, times, weights=7, seed=0) -> Picture:
    """Between two digits (1, h, w) each: straight in pixels; and encoded by exact inversion, mixed by lerp
    and by slerp, decoded.

    A state at the grid's end still holds a little noise, which is added to the clean digits: without it their
    latents are too short, for the blank paper around a digit leads back to 0.
    """
    ends, weight = torch.stack([first, second]), np.linspace(0, 1, weights).tolist()
    noise = initial_noise(2, ends.shape[1:], seed)
    states = model.schedule.alpha(times[-1]) * ends + model.schedule.sigma(times[-1]) * noise
    latents = sample(ddim_invert, model, states, times, iterations=5).x
    rows = {"pixels": torch.cat([lerp(ends[:1], ends[1:], w) for w in weight])}
    norms = {}
    for mix in (lerp, slerp):
        z = torch.cat([mix(latents[:1], latents[1:], w) for w in weight])
        norms[mix] = float(z[weights // 2].norm() / math.sqrt(z[0].numel()))
        rows[f"{mix.__name__}, norm {norms[mix]:.2f}"] = sample(ddim, model, z, times).x
    return image_grid(
        rows,
        column_labels=[f"{w:.2f}" for w in weight],
        alt="Interpolation between two digits in seven columns. Top row: pixels are mixed, and the "
        "middle shows both digits at once. Rows below: latents are mixed and decoded; half-way the "
        f"latent's norm over root D is {norms[lerp]:.2f} on the straight line and {norms[slerp]:.2f} "
        "on the great circle.",
    )


@style()
def speed_and_quality(measured, floors, n) -> Picture:
    """Two distances against calls on log axes, a curve with its standard error for each sampler; the mean of
    n fresh real images, a band of one standard deviation about it; and that of n copies.

    measured: dict sampler -> rows {calls, metric: (mean, error)}.
    floors: dict metric -> (mean, deviation, mean of copies).
    """
    fig, axes = new_figure(1, 2, height=3.4)
    told = []
    for ax, (metric, (floor, deviation, copies)) in zip(axes, floors.items(), strict=True):
        for i, (name, rows) in enumerate(measured.items()):
            calls, (mean, error) = [row["calls"] for row in rows], np.transpose([row[metric] for row in rows])
            ax.errorbar(calls, mean, yerr=error, label=name, capsize=2, **mark(i))
            told.append(
                f"{plain(metric)}, {name}: {number(mean[0])} at {calls[0]} calls, "
                f"{number(mean[-1])} at {calls[-1]}"
            )
        ax.axhspan(floor - deviation, floor + deviation, color="#DDDDDD", zorder=0)
        ax.axhline(floor, color=GREY, linestyle=":", linewidth=1.4, label=f"{n} fresh digits")
        ax.axhline(copies, color=GREY, linestyle="--", linewidth=1.0, label=f"{n} copies")
        told.append(f"{n} fresh digits {number(floor)}, {n} copies {number(copies)}")
        ax.set(xscale="log", yscale="log", xlabel="calls of the network", title=metric)
        ax.set_xticks(calls, [str(c) for c in calls])
        low, high = ax.get_ylim()
        ticks = [v for v in (0.03, 0.04, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1, 2) if low <= v <= high]
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
        ax.minorticks_off()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return Picture(fig, f"{n} digits against all 1797, distance over cost on log axes. {'; '.join(told)}.")


@style()
def adaptive(curves, chosen) -> Picture:
    """Left: error against calls, dict label -> (calls, errors).  Right: the steps chosen, dict label ->
    (lambda, step in lambda).
    """
    fig, axes = new_figure(1, 2, height=3.6)
    told = []
    for i, (label, (calls, errors)) in enumerate(curves.items()):
        axes[0].plot(calls, errors, label=label, **mark(i))
        told.append(f"{plain(label)} reaches {number(errors[-1])} with {calls[-1]} calls")
    axes[0].set(
        xscale="log", yscale="log", xlabel="calls of the model", ylabel="error", title="error against cost"
    )
    axes[0].set_xticks([5, 10, 20, 40, 80], ["5", "10", "20", "40", "80"])
    axes[0].minorticks_off()
    for label, (lam, step) in chosen.items():
        axes[1].plot(lam, step, label=label, **mark(list(curves).index(label)))
    axes[1].set(
        yscale="log", xlabel=r"$\lambda$", ylabel=r"step in $\lambda$", title="where the steps go (20 or 21)"
    )
    axes[1].set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    axes[1].minorticks_off()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    lam, step = next(iter(chosen.values()))
    where = f"largest near lambda {number(lam[step.argmax()])} and shortest near {number(lam[step.argmin()])}"
    return Picture(
        fig,
        f"Left: error against calls on log axes: {'; '.join(told)}. Right: the adaptive steps are {where}.",
    )


def steps_taken(schedule, times):
    """(lambda at the start of each step, its size in lambda) of a list of times."""
    lam = schedule.lam(np.asarray(times))
    return lam[:-1], np.diff(lam)


def adaptive_steps(tol=0.01, n=400):
    """The steps that `ddim_adaptive` takes on the ring."""
    schedule = VP()
    run = sample(
        ddim_adaptive,
        RING.model(schedule),
        initial_noise(n, 2, 0, dtype=torch.float64),
        [schedule.start, schedule.end],
        tol=tol,
    )
    return steps_taken(schedule, run.times)


def editing(model, image, label, target, times, untils=(0.3, 0.5, 0.6, 0.7, 0.8, 0.9)) -> Picture:
    """One digit (1, h, w) of class `label`, encoded up to several times and decoded with another label.

    Rows: decoded with its own label (a round trip), and with `target`.
    """
    x, times = image[None], torch.as_tensor(times, dtype=torch.float64)
    up = sample(ddim_invert, model.with_label(label), x, times, iterations=5, keep_path=True).path
    both, ends = model.with_label(torch.tensor([label, target])), [torch.cat([x, x])]
    for until in untils:  # an encoding goes through all times below its last: one serves every `until`
        first = int((times - until).abs().argmin())
        latent = up[len(times) - 1 - first]
        ends.append(sample(ddim, both, torch.cat([latent, latent]), times[first:]).x)
    kept, edited = torch.stack(ends, 1)
    change = [float((y - x[0]).square().mean().sqrt()) for y in edited[1:]]
    return image_grid(
        {f"label {label} kept": kept, f"{label} → {target}": edited},
        column_labels=["original", *(f"{u:g}" for u in untils)],
        alt=f"A digit {label} encoded up to the time above each column and decoded again: with its "
        f"own label it comes back unchanged; with the label {target} it changes by a root mean square "
        f"of {number(change[0])} at {untils[0]:g} up to {number(change[-1])} at {untils[-1]:g}, where "
        "it is another digit.",
    )


def editor(model, image, label, times):
    """For the widget: draw(target, depth), a digit (1, h, w) of class `label`, its latent at the time of the
    grid next to `depth`, and what that becomes with the label `target`. It is encoded once.
    """
    x, times = image[None], torch.as_tensor(times, dtype=torch.float64)
    up = sample(ddim_invert, model.with_label(label), x, times, iterations=5, keep_path=True).path

    def draw(target, depth):
        first = int((times - depth).abs().argmin())
        latent = up[len(times) - 1 - first]
        edited = sample(ddim, model.with_label(target), latent, times[first:]).x
        change = number(float((edited - x).square().mean().sqrt()))
        return image_grid(
            {f"label {label}": x, f"t = {depth:g}": latent, f"label {target}": edited},
            pixels=84,
            noisy=[False, True, False],
            alt=f"A digit {label}, its latent at t = {depth:g}, noise only where the strokes are, and that "
            f"decoded with the label {target}: the root mean square change is {change}.",
        )

    return draw


def bent_paths(mixture, paths=14, steps=200) -> Picture:
    """DDIM paths from shared starting points, on `mixture` and on one Gaussian."""
    schedule, start = VP(), initial_noise(paths, 2, 0, dtype=torch.float64)
    drawn = {
        name: sample(ddim, m.model(schedule), start, grids.uniform(schedule, steps), keep_path=True).path
        for name, m in (("three modes", mixture), ("one Gaussian, centred", Mixture.gaussian(2, 0.5)))
    }
    picture = trajectories(drawn, cols=2)
    for ax, data in zip(picture.axes, (mixture, Mixture.gaussian(2, 0.5))):
        ax.scatter(*data.sample(600, 1).T, s=3, color="#C8C8C8", linewidths=0, zorder=1, rasterized=True)
    key(picture.axes[0], loc="lower left")
    return picture
