"""Figures of chapter 3: one SDE, one ODE, and the solvers that sample."""

import math
from functools import cache

import matplotlib.lines
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
)
from toolkit import VE, VP, Brownian, Mixture, SubVP, grids, initial_noise, sample
from toolkit.convergence import reference, slope
from toolkit.ode import STABILITY, euler, heun, midpoint, rk4
from toolkit.sde import euler_maruyama, simulate, stochastic_heun

DOUBLE = {"dtype": torch.float64}
PALE = "#C8C8C8"


def _whole_ticks(ax, values):
    """Ticks at these numbers on a logarithmic horizontal axis."""
    ax.set_xticks(values, [f"{v:g}" for v in values])
    ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def _slopes(ax, orders, corner, span, labels=True):
    """Grey lines of these orders on logarithmic axes, from corner (x, y) over a factor `span` in x."""
    x, y = corner
    for order in orders:
        ax.plot(
            [x, x * span], [y, y * span**-order], color=GREY, linewidth=1, linestyle=(0, (2, 2)), zorder=1
        )
        if labels:
            ax.annotate(
                f"slope {order:g}", (x * span, y * span**-order), xytext=(3, -2), textcoords="offset points",
                color=GREY, fontsize=8.5, annotation_clip=False,
            )  # fmt: skip


def _label_ends(ax, curves, colours, size=8.5):
    """Names at the right ends of curves, pushed apart where they would meet; curves: dict name -> (x, y)."""
    low, high = (math.log(v) for v in ax.get_ylim())
    gap = 0.055 * (high - low)
    ends = sorted((math.log(y[-1]), name, x[-1]) for name, (x, y) in curves.items())
    placed, last = [], -math.inf
    for at, name, x in ends:
        last = max(at, last + gap)
        placed.append((last, name, x))
    for at, name, x in placed:
        ax.annotate(
            name, (x, math.exp(at)), xytext=(6, 0), textcoords="offset points", va="center", fontsize=size,
            color=colours[name], annotation_clip=False,
        )  # fmt: skip


@style()
def roads() -> Picture:
    """The chapter as a map: data and noise, the diffusion to the right, two ways back."""
    fig, ax = new_figure(height=2.7)
    ax.set(xlim=(0, 10), ylim=(0, 3.6))
    ax.set_axis_off()
    box = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": INK}
    ax.text(1, 1.7, "data\n$p_0$", ha="center", va="center", fontsize=12, bbox=box)
    ax.text(9, 1.7, "noise\n$p_1$", ha="center", va="center", fontsize=12, bbox=box)

    def arrow(start, end, colour, bend, dash="-"):
        look = {
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 1.8,
            "linestyle": dash,
            "mutation_scale": 16,
        }
        ax.annotate("", end, start, arrowprops=look | {"connectionstyle": f"arc3,rad={bend}"})

    arrow((1.6, 2.25), (8.4, 2.25), COLOURS[2], -0.1)
    arrow((8.4, 1.7), (1.6, 1.7), COLOURS[1], 0.0, "--")
    arrow((8.4, 1.15), (1.6, 1.15), COLOURS[0], -0.1)
    text = {"ha": "center", "va": "center", "fontsize": 10.5}
    ax.text(5, 3.15, "noise is added: $dx=f\\,x\\,dt+g\\,dw$", color=COLOURS[2], **text)
    drift = r"$\frac{1+\ell^2}{2}\,g^2\,\nabla\log p_t$"
    ax.text(5, 1.98, rf"back with noise, level $\ell$: score term {drift}, noise $\ell\,g\,d\bar w$",
            color=COLOURS[1], **text)  # fmt: skip
    ode = r"$\frac{dx}{dt}=f\,x-\frac{1}{2}\,g^2\,\nabla\log p_t$"
    ax.text(5, 0.25, rf"back without noise, $\ell=0$, an ODE: {ode}", color=COLOURS[0], **text)
    return Picture(
        fig,
        "A map. Left data, right noise. One arrow leads from data to noise, the diffusion dx = f x dt + g "
        "dw. Two lead back: a dashed one with noise of level l, whose score term has the factor (1 + l "
        "squared) / 2, and one without noise, level 0, which is an ordinary differential equation with half "
        "of the score term.",
    )


@style()
def forward_paths(mixture, paths=12, steps=400, seed=2) -> Picture:
    """Paths of the forward SDE from one-dimensional data, by `simulate`, under VP, sub-VP and a short VE,
    with the exact mean plus and minus two standard deviations.
    """
    schedules = {"VP": VP(), "sub-VP": SubVP(), "VE to σ = 3": VE(0.01, 3.0)}
    fig, axes = new_figure(1, 3, height=2.9)
    times, told = np.linspace(0, 1, steps + 1), []
    x0 = mixture.sample(paths, seed)
    m, v = float(mixture.mean()[0]), float(mixture.covariance()[0, 0])
    for ax, (name, schedule) in zip(axes, schedules.items(), strict=True):
        path = np.stack([x[:, 0].numpy() for _, x in simulate(schedule, x0, times, rng=1)])
        for k in range(paths):
            ax.plot(times, path[:, k], color=COLOURS[k % 6 + 1], linewidth=0.7, alpha=0.8)
        alpha, sigma = schedule.alpha(times), schedule.sigma(times)
        sd = np.sqrt(alpha**2 * v + sigma**2)
        for sign in (-2, 2):
            ax.plot(times, alpha * m + sign * sd, color=INK, linestyle="--", linewidth=1.4)
        ax.set(title=name, xlabel="$t$")
        told.append(f"{name} ends with standard deviation {number(sd[-1], 3)}")
    axes[0].set_ylabel("$x_t$")
    return Picture(
        fig,
        f"{paths} forward paths from two peaks, jagged as Brownian paths are, with dashed lines two exact "
        f"standard deviations about the mean: {listing(told)}.",
    )


@style()
def family(mixture, taus=(0.0, 0.5, 1.0, 2.0), steps=200, shown=16, n=3000) -> Picture:
    """Above: paths of members of the reverse family from shared starts, against time.  Below: where n of them
    end, with the data's density.
    """
    schedule = VP()
    model, x = mixture.model(schedule), initial_noise(n, 1, 0, **DOUBLE)
    times = grids.quadratic(schedule, steps)
    fig, axes = new_figure(2, len(taus), height=4.3, sharey="row", height_ratios=[3, 2])
    grid = np.linspace(-2.2, 2.2, 300)
    density = mixture.log_prob(torch.as_tensor(grid)[:, None]).exp().numpy()
    told = []
    for (above, below), tau in zip(axes.T, taus, strict=True):
        loop = stochastic_heun if tau else heun
        options = {"tau": tau} if tau else {}
        path = sample(loop, model, x, times, draws=3, keep_path=True, **options).path[:, :, 0].numpy()
        for k in range(shown):
            above.plot(times, path[:, k], color=PALE, linewidth=0.5, alpha=0.6, zorder=1)
        for i, k in enumerate((1, 2, 6, 11)):
            above.plot(times, path[:, k], color=COLOURS[i], linewidth=1.1, zorder=2)
        name = {0.0: "0 (ODE)", 1.0: "1 (reversal)"}.get(tau, f"{tau:g}")
        above.set_title(f"level {name}", fontsize=10)
        above.set(xlabel="$t$")
        above.invert_xaxis()
        below.hist(path[-1], bins=50, range=(-2.2, 2.2), density=True, color=PALE)
        below.plot(grid, density, color=INK, linewidth=1.3)
        below.set(xlabel="$x_0$", yticks=[])
        told.append(f"level {tau:g} has {number(100 * (path[-1] < 0).mean())} % in the left peak")
    axes[0, 0].set_ylabel("$x_t$")
    axes[1, 0].set_ylabel("density")
    return Picture(
        fig,
        "Four members of the reverse family from the same starts: smooth paths at level 0, ever more jagged "
        f"ones above. The histograms of the ends all follow the density of the data: {listing(told)}; the "
        "data have 30 %.",
    )


@style()
def removed(curves) -> Picture:
    """Variance along the way for several drifts, on a log axis; curves: dict label -> (t, variance)."""
    fig, ax = new_figure(height=3.1)
    told = []
    for i, (name, (t, v)) in enumerate(curves.items()):
        look = mark(i) if name != "truth" else {"color": GREY, "linewidth": 4, "alpha": 0.5, "zorder": 1}
        ax.plot(t, v, label=name, markevery=4, **look)
        told.append(f"{name}: {number(v[-1])}")
    ax.set(yscale="log", xlabel="$t$, from noise (left) to data (right)", ylabel="variance of $x_t$")
    ax.invert_xaxis()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Picture(fig, f"Variance from noise to data on a log axis. At the end: {listing(told)}.")


@style()
def modes(shares, ends, weights) -> Picture:
    """Left: probability of the rare mode against steps, dict solver -> (steps, per cent).  Right: share of
    the three modes, dict label -> three numbers; weights: the true per cents.
    """
    fig, (left, right) = new_figure(1, 2, height=3.2)
    told = []
    for i, (name, (steps, per_cent)) in enumerate(shares.items()):
        left.plot(steps, per_cent, label=name, **mark(i))
        told.append(
            f"{name} gives {number(per_cent[0])} % at {steps[0]} steps and {number(per_cent[-1])} % at "
            f"{steps[-1]}"
        )
    left.axhline(weights[0], color=GREY, linestyle=":", linewidth=1.6, label="truth")
    left.set(
        xscale="log", xlabel="steps", ylabel="rare mode, %", title="a rare mode, few steps", ylim=(0, None)
    )
    _whole_ticks(left, steps)
    left.legend()
    for j, (name, values) in enumerate(ends.items()):
        bars = right.bar(
            np.arange(3) + (j - 0.5) * 0.4, values, 0.37, label=name, color=(PALE, "white")[j],
            edgecolor=INK, linewidth=0.8, hatch=("", "///")[j],
        )  # fmt: skip
        right.bar_label(bars, [f"{v:.1f}" for v in values], padding=2, fontsize=9)
        told.append(f"{name} ends with {listing([number(v, 3) for v in values])} % in the three modes")
    right.set_xticks(range(3), ["rare", "middle", "largest"])
    right.grid(False, axis="x")
    right.set(ylabel="share, %", title="steepest ascent is another map", ylim=(0, 82))
    right.legend(loc="upper left")
    return Picture(fig, f"True shares are {listing(weights)} %. {'; '.join(told)}.")


# --- the widget -----------------------------------------------------------------------------------------

FIELD_DATA = Mixture([0.2, 0.3, 0.5], [[-1.1, -0.5], [0.9, -0.8], [0.3, 1.0]], [0.15, 0.2, 0.25])
FIELD_SOLVERS = {
    "Euler in t": (euler, 1, {}),
    "DDIM (Euler in σ/α)": (euler, 1, {"variable": "sigma"}),
    "Heun in t": (heun, 2, {}),
    "DPM-Solver-2 (geometric midpoint)": (midpoint, 2, {"variable": "sigma", "mean": "geometric"}),
    "RK4 in t": (rk4, 4, {}),
    "RK4 in λ": (rk4, 4, {"variable": "lam"}),
    "Euler–Maruyama": (euler_maruyama, 1, {}),
    "stochastic Heun": (stochastic_heun, 2, {}),
}


@cache
def _field_truth():
    """The exact ends of the widget's 400 samples, and the exact paths of its fourteen particles."""
    schedule = VP()
    model, x = FIELD_DATA.model(schedule), initial_noise(400, 2, 0, **DOUBLE)
    path = sample(rk4, model, x[:14], grids.quadratic(schedule, 100), keep_path=True).path
    return reference(model, x, schedule.start, schedule.end), path


def _placed(fig, **edges):
    """Axes where they are told to be: for a widget, whose every move would pay for a layout worked out."""
    fig.set_layout_engine(None)
    fig.subplots_adjust(**edges)


def _reached(times, path, t):
    """(how many states of a path (steps + 1, n, 2) come before time t, where it is at t on straight
    lines).
    """
    done = min(int((times >= t).sum()), len(times) - 1)
    share = np.clip((times[done - 1] - t) / (times[done - 1] - times[done]), 0, 1)
    return done, (1 - share) * path[done - 1] + share * path[done]


def _in_one(path):
    """Paths (steps, n, 2) as one broken line (2, n (steps + 1)): a single artist."""
    return np.concatenate([path, np.full_like(path[:1], np.nan)]).transpose(1, 0, 2).reshape(-1, 2).T


@cache
def _field_run(solver, steps):
    """(run of 400 samples by a solver of the widget, distance of its ends from the true ones)."""
    schedule = VP()
    loop, _, options = FIELD_SOLVERS[solver]
    model, x = FIELD_DATA.model(schedule), initial_noise(400, 2, 0, **DOUBLE)
    run = sample(loop, model, x, grids.quadratic(schedule, steps), draws=1, keep_path=True, **options)
    return run, float((run.x - _field_truth()[0]).square().mean().sqrt())


@style()
def field(solver, steps, t) -> Picture:
    """For the widget.  Left: the probability-flow field in the plane at time t, 14 particles that follow it
    by `solver` (a filled dot: where each is at time t, on straight lines between its states; its way up to
    there dark, the rest pale), and in grey the exact curves, with a ring where each should be.  Right: 400
    samples.  The grid is quadratic.
    """
    schedule = VP()
    model, (loop, _, _) = FIELD_DATA.model(schedule), FIELD_SOLVERS[solver]
    true_path = _field_truth()[1]
    run, error = _field_run(solver, steps)
    fig, (left, right) = new_figure(1, 2, height=3.9)
    axis = torch.linspace(-2.2, 2.2, 13, **DOUBLE)
    points = torch.cartesian_prod(axis, axis)
    arrow = -(schedule.f(t) * points + schedule.g2(t) / (2 * schedule.sigma(t)) * model.eps(points, t))
    left.quiver(*points.T, *arrow.T, color="#B4B4B4", width=0.004, scale_units="xy", angles="xy",
                scale=float(arrow.norm(dim=1).quantile(0.9)) / 0.3)  # fmt: skip
    grid, fine = np.asarray(run.times), np.asarray(grids.quadratic(schedule, len(true_path) - 1))
    path, true = run.path[:, :14].numpy(), true_path.numpy()
    done, here = _reached(grid, path, t)
    _, there = _reached(fine, true, t)
    dots = {"marker": ".", "markersize": 4} if steps <= 30 else {}
    left.plot(*_in_one(true), color=GREY, linewidth=2.2, alpha=0.35)
    left.plot(*_in_one(np.stack([here, *path[done:]])), color=COLOURS[2], linewidth=0.9, alpha=0.35)
    left.plot(*_in_one(np.stack([*path[:done], here])), color=COLOURS[2], linewidth=1.1, **dots)
    left.plot(*there.T, "o", color=GREY, markersize=8, markerfacecolor="none", label="should be")
    left.plot(*here.T, "o", color=INK, markersize=4, label="is")
    left.legend(loc="upper left", fontsize=8, handlelength=1, framealpha=0.9)
    right.plot(*FIELD_DATA.sample(600, 1).T, ".", markersize=2.5, color=PALE, label="data", rasterized=True)
    right.plot(*run.x.T, ".", markersize=3.5, color=COLOURS[2], label="samples", rasterized=True)
    right.legend(loc="upper left", fontsize=8, handlelength=1)
    for ax in (left, right):
        ax.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
    counts = torch.cdist(run.x, FIELD_DATA.means).argmin(1).bincount(minlength=3) / 4
    shares, away = " / ".join(f"{c:.0f}" for c in counts), int((run.x.abs() > 2.4).any(1).sum())
    lost = f", {away} of 400 outside the picture" if away else ""
    left.set_title(f"field at $t$ = {t:g}, {steps} steps", fontsize=10)
    right.set_title(
        f"{run.nfe} calls: " + (f"{away} of 400 outside" if away else f"modes {shares} %"), fontsize=10
    )
    _placed(fig, left=0.05, right=0.99, bottom=0.07, top=0.93, wspace=0.12)
    noisy = loop in (euler_maruyama, stochastic_heun)
    off = "it is random, and not meant to follow them" if noisy else f"its ends are {number(error)} off"
    return Picture(
        fig,
        f"{solver}, {steps} steps, {run.nfe} calls. Left, fourteen particles over the flow field at t = "
        f"{t:g}, exact curves in grey, rings where they should be at that time: {off}. Right, 400 samples, "
        f"{shares} % nearest to the modes of 20, 30 and 50 %{lost}.",
    )


# --- orders ---------------------------------------------------------------------------------------------


@style()
def orders(curves) -> Picture:
    """Error against steps and against calls on log axes; curves: dict solver -> `ode_errors`.  The name at
    each line's end has the order measured on the finer half; grey lines have slopes 1, 2 and 4.
    """
    fig, (left, right) = new_figure(1, 2, height=3.9, sharey=True, width_ratios=[1, 1.0])
    told, named, colours = [], {}, {}
    for i, (name, e) in enumerate(curves.items()):
        half = len(e["steps"]) // 2
        order = slope(e["steps"][half:], e["rmse"][half:])
        left.plot(e["steps"], e["rmse"], **mark(i))
        right.plot(e["nfe"], e["rmse"], **mark(i))
        label = f"{name}: {order:.2f}"
        named[label], colours[label] = (e["nfe"], e["rmse"]), COLOURS[i % len(COLOURS)]
        told.append(f"{name} has order {order:.2f}")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="steps",
        ylabel="root mean square error",
        title="error against steps",
    )
    right.set(xscale="log", xlabel="calls of the model", title="the same against cost")
    _slopes(left, (1, 2, 4), (17, 1e-8), 3)
    _whole_ticks(left, e["steps"])
    _whole_ticks(right, [16, 64, 256, 1024])
    _label_ends(right, {k: ([1024], [y[-1]]) for k, (_, y) in named.items()}, colours)
    return Picture(fig, f"Errors of ODE solvers on an exact model, log-log. {'; '.join(told)}.")


@style()
def fan_of_errors(times, states, curves) -> Picture:
    """Lady Windermere's fan: a solver's polygon, and the exact curve from each of its states to the end.

    times, states: the polygon, in lambda; curves: for each state (times, values) of the exact curve.
    """
    lam = VP().lam
    from scipy.interpolate import CubicSpline

    fig, (ax, near) = new_figure(1, 2, height=3.5, width_ratios=[3, 1])
    exact = CubicSpline(lam(np.array(curves[0][0])), curves[0][1])
    away = lambda t, y: np.array(y) - exact(lam(np.array(t)))
    ax.axhline(0, color=INK, linewidth=2.4)
    for t, y in curves[1:-1]:
        ax.plot(lam(np.array(t)), away(t, y), color=COLOURS[2], linewidth=1.2)
    ax.plot(
        lam(np.array(times)), away(times, states), color=COLOURS[1], marker="o", markersize=5, linewidth=1.3
    )
    ends = [y[-1] - curves[0][1][-1] for _, y in curves]
    ax.annotate("exact curve (the axis)", (lam(times[0]), 0), xytext=(2, -13), textcoords="offset points")
    ax.annotate("Euler", (lam(times[3]), away(times, states)[3]), xytext=(-8, 4), textcoords="offset points",
                ha="right", color=COLOURS[1])  # fmt: skip
    ax.set(
        xlabel=r"$\lambda$, from noise to data",
        ylabel=r"$x/\alpha$ minus the exact curve",
        title=r"Euler in $\sigma/\alpha$, six steps equal in $\lambda$",
    )
    for k, (low, high) in enumerate(zip(ends, ends[1:]), start=1):
        near.plot([k, k], [low, high], color=COLOURS[2], linewidth=5, solid_capstyle="butt")
        near.plot([k, k + 1], [high, high], color=GREY, linewidth=0.8)
    near.plot(len(ends), ends[-1], "o", color=COLOURS[1])
    near.axhline(0, color=INK, linewidth=2.4)
    near.set(
        xlabel="step", title="at the end", xticks=range(1, len(ends)), ylim=ax.get_ylim(), yticklabels=[]
    )
    gaps = [number(b - a) for a, b in zip(ends, ends[1:])]
    return Picture(
        fig,
        "A fan, drawn relative to the exact curve, which is the axis. Euler's polygon leaves it a little at "
        "each step; from each of its corners the "
        "exact curve on to the end is drawn. Right, how far apart neighbouring curves end: "
        f"{listing(gaps)}. Together they are Euler's error, {number(ends[-1])}.",
    )


@style()
def ring_tails(image, curves, title="RK4 in t, 64 calls") -> Picture:
    """Left: the error of every start on the plane, image (n, n), powers of ten over [-3, 3]^2.  Right: root
    mean square and median of the errors against calls; curves: dict solver -> (calls, errors (budgets, n)).
    """
    fig, (left, right) = new_figure(1, 2, height=3.8)
    shown = left.imshow(image, extent=(-3, 3, -3, 3), origin="lower", cmap="cividis")
    bar = fig.colorbar(shown, ax=left, shrink=0.85)
    bar.set_label("error, power of ten")
    left.grid(False)
    left.set(title=f"by start, {title}", xlabel="$x_1$", ylabel="$x_2$")
    told = []
    for i, (name, (calls_of, e)) in enumerate(curves.items()):
        rms, middle = np.sqrt((e**2).mean(1)), np.median(e, 1)
        right.plot(calls_of, rms, label=name, **mark(i))
        right.plot(calls_of, middle, **mark(i) | {"markerfacecolor": "white", "alpha": 0.75})
        told.append(f"{name} {number(rms[-1])} and {number(middle[-1])}")
    right.plot([], [], "s", color=INK, label="root mean square")
    right.plot([], [], "s", color=INK, markerfacecolor="white", label="median (open)")
    right.set(xscale="log", yscale="log", xlabel="calls of the model", ylabel="error", title="two summaries")
    _whole_ticks(right, calls_of)
    right.legend(fontsize=8.5, loc="lower left")
    return Picture(
        fig,
        f"Left, the error of {title} by starting point: eight bright spokes, where it errs most, are the "
        "borders between the starts of neighbouring modes. Right, root mean square and median error at "
        f"{calls_of[-1]} calls: {listing(told)}.",
    )


@style()
def stochastic_orders(weak, strong) -> Picture:
    """Left: exact errors of the variance; middle: strong errors; right: those of another equation, whose
    noise is multiplied by the state.  dict label -> (steps, errors), log-log, with the fitted order in the
    legend.
    """
    additive = {name: curve for name, curve in strong.items() if "geometric" not in name}
    other = {name.split(", ")[0]: curve for name, curve in strong.items() if "geometric" in name}
    fig, axes = new_figure(1, 3, height=4.0, width_ratios=[1.25, 1, 1])
    parts = []
    kinds = (
        ("weak", weak, "error of the variance", "weak", (1, 2)),
        ("strong", additive, "distance between paths", "strong, noise added", (1,)),
        ("strong", other, "distance between paths", "strong, × state", (0.5, 1)),
    )
    for ax, place, (kind, curves, label, title, grey) in zip(
        axes, ("Left", "Middle", "Right"), kinds, strict=True
    ):
        told = []
        for i, (name, (steps, errors)) in enumerate(curves.items()):
            order = slope(steps, errors)
            ax.plot(steps, errors, label=f"{name}: {order:.2f}", **mark(i))
            told.append(f"{plain(name)} {order:.2f}")
        lines = "a line of slope" if len(grey) == 1 else "lines of slope"
        slopes = " and ".join("½" if s == 0.5 else str(s) for s in grey)
        parts.append(f"{place}, {title}, beside {lines} {slopes}: {kind} order of {listing(told, 9)}.")
        ax.set(xscale="log", yscale="log", xlabel="steps", ylabel=label, title=title)
        top = ax.get_ylim()[1] / (1 if kind == "strong" else 25)  # between the lines, where there are five
        _slopes(ax, grey, (steps[0], top), 4)
        _whole_ticks(ax, steps)
        ax.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8.5, title="measured order")
    return Picture(fig, f"Errors of SDE solvers against steps, log-log. {' '.join(parts)}")


@style()
def thin_data(curves) -> Picture:
    """RK4 on ever thinner data, dict label -> (steps, relative errors), log-log, beside a line of slope 4."""
    fig, ax = new_figure(height=3.4)
    told = []
    for i, (name, (steps, errors)) in enumerate(curves.items()):
        ax.plot(steps, errors, label=name, **mark(i))
        told.append(f"{plain(name)} falls to {number(errors[-1])} at {steps[-1]} steps")
    ax.set(xscale="log", yscale="log", xlabel="steps of RK4", ylabel="relative error")
    _slopes(ax, (4,), (32, 1e-3), 16)
    _whole_ticks(ax, [8, 16, 32, 64, 128, 256, 512, 1024, 2048])
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Picture(fig, f"RK4 on data of three widths, log-log. {'; '.join(told)}.")


@style()
def rounded_clock(curves) -> Picture:
    """Solvers with the model's time exact (filled) and rounded (open); dict label -> (steps, errors),
    log-log.
    """
    fig, ax = new_figure(height=3.4)
    told = []
    for i, (name, (steps, errors)) in enumerate(curves.items()):
        look = mark(i // 2) | {"linestyle": ("-", "--")[i % 2]}
        ax.plot(steps, errors, label=name, **look | ({"markerfacecolor": "white"} if i % 2 else {}))
        told.append(f"{name} {number(errors[-1])}")
    rounded = [
        e
        for name, (steps, errors) in curves.items()
        for n, e in zip(steps, errors)
        if "RK4, r" in name and n > 30
    ]
    band = "RK4 rounded, above 30 steps"
    ax.axhspan(min(rounded), max(rounded), color=PALE, alpha=0.4, linewidth=0, zorder=0, label=band)
    ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="error")
    _slopes(ax, (1, 2, 4), (steps[0], 3e-8), 2.6)
    _whole_ticks(ax, [8, 16, 32, 64, 128, 256])
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Picture(
        fig,
        "Error against steps with the exact time and with the time rounded to thousandths, log-log. At "
        f"{steps[-1]} steps: {listing(told)}. Above 30 steps RK4 with the rounded time goes up and down "
        f"between {number(min(rounded))} and {number(max(rounded))}.",
    )


# --- stability ------------------------------------------------------------------------------------------


METHODS = {
    "Euler": "euler",
    "Heun": "heun",
    "RK4": "rk4",
    "implicit Euler": "implicit_euler",
    "trapezoid": "trapezoid",
}


@cache
def _stability_map():
    """dict method -> (mask of |R(z)| <= 1 on [-4.2, 3.2] x [-3.4, 3.4], its edge: arrays (k, 2) of
    points).
    """
    from contourpy import contour_generator

    x, y = np.meshgrid(np.linspace(-4.2, 3.2, 371), np.linspace(-3.4, 3.4, 341))
    result = {}
    for name in METHODS.values():
        with np.errstate(divide="ignore", invalid="ignore"):
            size = abs(STABILITY[name](x + 1j * y))
        result[name] = size <= 1, contour_generator(x, y, np.minimum(size, 50)).lines(1.0)
    return result


def _iterates(ax, factor, step, method):
    """Eight steps, each of which multiplies by `factor`, beside the truth, exp(-step) a step."""
    n = np.arange(9)
    ax.plot(n, np.exp(-step * n), color=GREY, linewidth=4, alpha=0.5, label="truth")
    ax.plot(n, factor**n, color=COLOURS[list(METHODS).index(method)], marker="o", label=method)
    reach = 1.6 if abs(factor) <= 1 else min(abs(factor) ** 8, 6.0) * 1.05
    ax.set(xlabel="step $n$", xticks=range(0, 9, 2), ylim=(-reach if factor < 0 else -0.25 * reach, reach))
    ax.set_title(f"$y_n$, each step × {number(factor)}", fontsize=10)
    ax.legend(fontsize=8.5, loc="upper right")


@style()
def stability(curves, step=1.5, method="RK4") -> Picture:
    """Left: the side of |R(z)| = 1 on which a method is stable, shaded, and the edges of all; a dot at z =
    -step. Middle: eight steps of that size, y_n = R(-h)^n, beside the truth.  Right: factor per step against
    the step in lambda, in the high noise over a point of data: lines |R(-h)|, markers what the samplers do;
    curves: dict method -> (step, factors), "truth" among them.
    """
    fig, (left, middle, right) = new_figure(1, 3, height=3.5, width_ratios=[1.15, 1, 1])
    regions, chosen = _stability_map(), METHODS[method]
    shade = np.where(regions[chosen][0][..., None], [0.80, 0.88, 0.95, 1.0], [1.0, 1.0, 1.0, 0.0])
    left.imshow(shade, extent=(-4.2, 3.2, -3.4, 3.4), origin="lower", interpolation="nearest")
    left.grid(False)
    fine, handles = np.linspace(0.2, 4.1, 120), []
    for i, (label, name) in enumerate(METHODS.items()):
        look = mark(i) | {"linewidth": 2.0 if name == chosen else 0.9}
        for edge in regions[name][1]:
            left.plot(*edge.T, **look | {"marker": ""})
        right.plot(fine, abs(STABILITY[name](-fine)), **look | {"marker": ""})
        if name == chosen:
            right.plot(*curves[name], **look | {"linestyle": ""})
        handles.append(matplotlib.lines.Line2D([], [], **mark(i), label=label))
    left.axhline(0, color=GREY, linewidth=0.6)
    left.plot([-step], [0], "o", color="black", markersize=6)
    left.annotate("$z=-h$", (-step, 0), xytext=(-6, 7), textcoords="offset points", fontsize=9)
    left.set(xlabel="Re $z$", ylabel="Im $z$", xlim=(-4.2, 3.2), ylim=(-3.4, 3.4))
    left.set_title(f"stable: shaded ({method})", fontsize=10)
    factor = float(STABILITY[chosen](-step))
    _iterates(middle, factor, step, method)
    (truth,) = right.plot(*curves["truth"], color=GREY, linewidth=4, alpha=0.5, zorder=1, label="truth")
    right.axhline(1, color=INK, linewidth=0.9)
    right.axvline(step, color="black", linewidth=1.2)
    right.set(yscale="log", xlabel=r"step in $\lambda$", ylim=(0.01, 8), xlim=(0.1, 4.15))
    right.set_title("size of the factor", fontsize=10)
    right.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    fig.legend(handles=[*handles, truth], loc="lower center", ncols=6, handlelength=2.0, columnspacing=1.2)
    _placed(fig, left=0.07, right=0.99, bottom=0.27, top=0.92, wspace=0.28)
    verdict = (
        "shrinks" if abs(factor) < 1 else "grows" if abs(factor) > 1 + 1e-9 else "neither grows nor shrinks"
    )
    return Picture(
        fig,
        f"Left, in the plane of z, where {method} is stable, and the edges of five methods: Euler's crosses "
        "the negative axis at −2, so does Heun's, RK4's at −2.79, the implicit ones not at all. A dot at z = "
        f"−{step:g}. Middle, eight steps of that size: each multiplies by {number(factor)}, so that y "
        f"{verdict}; the truth is {number(math.exp(-step))}. Right, the size of that factor against the step "
        "in lambda.",
    )


# --- adaptive steps -------------------------------------------------------------------------------------


@style()
def adaptive(tolerances, adaptively, fixed, log) -> Picture:
    """Left: error against calls of rk45, dict measure -> (calls, errors), and of a fixed grid, dict measure
    -> (calls, errors).  Middle: rk45's error over its tolerance.  Right: its steps, log: list of (t, s,
    error, accepted).
    """
    fig, (left, middle, right) = new_figure(1, 3, height=3.5)
    told = []
    for i, (name, rows) in enumerate({"rk45": adaptively, "RK4, quadratic": fixed}.items()):
        for measure, (calls, errors) in rows.items():
            look = mark(i) | ({} if measure == "rmse" else {"markerfacecolor": "white", "alpha": 0.75})
            left.plot(calls, errors, label=name if measure == "rmse" else None, markersize=4, **look)
            told.append(f"{name}, {measure}, reaches {number(errors[-1])} with {calls[-1]} calls")
    left.set(xscale="log", yscale="log", xlabel="calls of the model", title="error (open: median)")
    _whole_ticks(left, [50, 100, 200, 400])
    left.legend(fontsize=8.5)
    ratios = np.array(adaptively["rmse"][1]) / np.array(tolerances)
    middle.plot(tolerances, ratios, **mark(0))
    middle.axhline(1, color=INK, linewidth=0.9)
    middle.set(xscale="log", yscale="log", xlabel="tolerance", title="error / tolerance")
    middle.invert_xaxis()
    taken = np.array([(t, t - s) for t, s, _, accepted in log if accepted])
    refused = np.array([(t, t - s) for t, s, _, accepted in log if not accepted]).reshape(-1, 2)
    right.plot(*taken.T, label="taken", **mark(0))
    right.plot(*refused.T, linestyle="", marker="x", color=COLOURS[1], markersize=7, label="refused")
    right.set(xscale="log", yscale="log", xlabel="$t$", title="its steps in $t$")
    right.invert_xaxis()
    right.legend(fontsize=8.5)
    return Picture(
        fig,
        f"Left: {'; '.join(told)}. Middle: error over tolerance lies between {number(ratios.min())} and "
        f"{number(ratios.max())}. Right: {len(taken)} steps taken and {len(refused)} refused; the step "
        f"shrinks from {number(taken[:, 1].max())} to {number(taken[:, 1].min())} towards the data.",
    )


# --- Langevin -------------------------------------------------------------------------------------------


@style()
def langevin(stationary, simulated, corrected, truth) -> Picture:
    """Left: stationary variance over the true one against step / variance, formula (function) and simulation
    (steps, values).  Right: spread of samples at equal calls, dict sampler -> (calls, spreads).
    """
    fig, (left, right) = new_figure(1, 2, height=3.7)
    ratio = np.linspace(0.01, 1.95, 300)
    left.plot(ratio, [stationary(r, 1.0) for r in ratio], color=INK, label="formula")
    left.plot(*simulated, linestyle="", marker="s", color=COLOURS[1], label="iterated")
    left.axvline(2, color=GREY, linestyle=":")
    left.annotate("limit", (2, 6), xytext=(-4, 0), textcoords="offset points", ha="right", fontsize=9)
    left.set(
        xlabel=r"step $\epsilon$ / variance $s^2$", ylabel=r"stationary variance / $s^2$", ylim=(0.8, 12),
        yscale="log", title="the price of a step",
    )  # fmt: skip
    left.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    left.minorticks_off()
    left.legend(loc="upper left")
    told = []
    for i, (name, (calls, spreads)) in enumerate(corrected.items()):
        right.plot(calls, np.abs(np.array(spreads) - truth), label=name, **mark(i))
        told.append(
            f"{name} {number(spreads[0], 3)} at {calls[0]} calls, {number(spreads[-1], 3)} at {calls[-1]}"
        )
    right.set(
        xscale="log", yscale="log", xlabel="calls of the model", ylabel="off by", title="spread in a cluster"
    )
    _whole_ticks(right, calls)
    right.axhspan(1e-4, 0.0018, color=PALE, alpha=0.5, linewidth=0, zorder=0, label="one standard error")
    right.set_ylim(8e-4, None)
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        "Left: the stationary variance grows with the step and diverges at twice the variance. Right: "
        f"spread about the clusters, truth {truth:g}: {listing(told)}.",
    )


@style()
def likelihood(errors, hutchinson) -> Picture:
    """Left: mean error of log p against steps, dict label -> (steps, errors).  Right: spread of Hutchinson's
    estimate against probes.
    """
    fig, (left, right) = new_figure(1, 2, height=3.0)
    told = []
    for i, (name, (steps, e)) in enumerate(errors.items()):
        left.plot(steps, e, label=name, **mark(i))
        told.append(f"with {name} the error falls to {number(e[-1])} nats at {steps[-1]} steps")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="RK4 steps",
        ylabel="error of log p, nats",
        title="exact divergence",
    )
    _whole_ticks(left, steps)
    left.legend(loc="lower left", fontsize=9)
    probes, spreads = map(np.asarray, hutchinson)
    right.plot(probes, spreads, label="measured", **mark(0))
    right.plot(probes, spreads[0] / np.sqrt(probes), color=GREY, linestyle=":", label=r"$1/\sqrt{k}$")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="random probes $k$",
        ylabel="spread, nats",
        title="Hutchinson's estimate",
    )
    _whole_ticks(right, probes)
    right.set_yticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
    right.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    right.legend()
    return Picture(
        fig,
        f"Left: {'; '.join(told)}. Right: the spread of the estimate falls from {number(spreads[0])} nats "
        f"with one probe to {number(spreads[-1])} with {probes[-1]}.",
    )


@style()
def budget(ring, digits, cap=3.0) -> Picture:
    """Error against calls on log axes on the quadratic grid; ring: dict measure ("rmse", "median") -> dict
    solver -> (calls, errors); digits: dict solver -> (calls, errors).  Errors above `cap` are left out.
    """
    fig, axes = new_figure(1, 3, height=4.0, sharey=True)
    told = []
    panels = {"ring, root mean square": ring["rmse"], "ring, median": ring["median"], "digits": digits}
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        for i, (name, (calls, errors)) in enumerate(curves.items()):
            ax.plot(calls, np.where(np.asarray(errors) > cap, np.nan, errors), label=name, **mark(i))
        best = [min(curves, key=lambda name: curves[name][1][k]) for k in range(len(calls))]
        told.append(f"{title}: {listing([f'{name} at {n}' for n, name in zip(calls, best, strict=True)])}")
        ax.set(xscale="log", yscale="log", xlabel="calls", title=title)
        _whole_ticks(ax, calls)
    axes[0].set_ylabel("distance from the flow's end")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Picture(
        fig,
        "Error against calls, log-log, quadratic grid. The lowest line is, on the "
        f"{'; on the '.join(told)} calls.",
    )


@style()
def quality(measured, floor, seeds, cap=3.0) -> Picture:
    """Left: Frechet distance of digits against calls on log axes; measured: dict sampler -> (calls,
    distances), those above `cap` left out; floor: (mean, spread) for fresh real digits, a band.  Right: ten
    seeds each at 50 calls, seeds: dict sampler -> list.
    """
    fig, (left, right) = new_figure(1, 2, height=4.4, width_ratios=[1.25, 1])
    told, low, high = [], floor[0] - floor[1], floor[0] + floor[1]
    for i, (name, (calls, distances)) in enumerate(measured.items()):
        left.plot(calls, np.where(np.asarray(distances) > cap, np.nan, distances), label=name, **mark(i))
        told.append(
            f"{name} {number(distances[0])} at {calls[0]} calls, {number(distances[-1])} at {calls[-1]}"
        )
    left.axhspan(low, high, color=PALE, alpha=0.5, linewidth=0, zorder=0, label="fresh real digits")
    left.set(xscale="log", yscale="log", xlabel="calls of the network", ylabel="Fréchet distance to the data")
    left.set(title="quality against calls")
    _whole_ticks(left, [10, 20, 50, 100, 200, 500, 1000])
    left.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    left.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    for k, values in enumerate(reversed(seeds.values())):
        right.plot(values, [k] * len(values), "o", markersize=4, color=COLOURS[2], alpha=0.6)
        right.plot([np.mean(values)], [k], "|", markersize=16, markeredgewidth=2, color=INK)
    right.axvspan(low, high, color=PALE, alpha=0.5, linewidth=0, zorder=0)
    right.set_yticks(range(len(seeds)), list(seeds)[::-1], fontsize=8.5)
    right.set(xlabel="Fréchet distance", title="ten seeds at 50 calls")
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"Left, distance of sampled digits from the data, log-log: {'; '.join(told)}. Fresh real "
        f"digits: {number(low)} to {number(high)}. Right, ten seeds each of eight samplers at 50 calls: "
        f"{'; '.join(f'{name} {number(min(v))} to {number(max(v))}' for name, v in seeds.items())}.",
    )


@style()
def repair(curves, truth, xlabel, title) -> Picture:
    """Final variance against the level of noise, or the rounds of Restart, with models that are wrong for a
    while; curves: dict belief -> (levels or rounds, variances); truth: the true variance.
    """
    fig, ax = new_figure(height=3.0)
    told = []
    for i, (belief, (x, variances)) in enumerate(curves.items()):
        ax.plot(x, variances, label=f"model {belief}", **mark(i))
        told.append(f"model {belief}: {', '.join(number(v, 3) for v in variances)}")
    ax.axhline(truth, color=GREY, linewidth=4, alpha=0.5, zorder=1, label="truth")
    ax.set(xlabel=xlabel, ylabel="variance of the samples", title=title)
    ax.set_xticks(x)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    at = listing([f"{v:g}" for v in x])
    return Picture(
        fig,
        f"Final variance, truth {number(truth, 3)}, against the {plain(xlabel)}, {at}. {'; '.join(told)}.",
    )


@style()
def shift(errors, a=3.0) -> Picture:
    """Left: twelve equal steps in t of the linear flow, as they are and shifted, on the axis of lambda.
    Right: median error against the shift; errors: dict label -> (a, errors).
    """
    fig, (left, right) = new_figure(1, 2, height=3.3)
    t = np.linspace(0.96, 0.04, 12)
    for k, (label, times) in enumerate(
        {"equal in $t$": t, f"shifted, a = {a:g}": a * t / (1 + (a - 1) * t)}.items()
    ):
        lam = np.log((1 - times) / times)
        left.plot(lam, [k] * len(lam), "|", markersize=18, markeredgewidth=2, color=COLOURS[k + 1])
        left.annotate(label, (lam[0], k), xytext=(0, 14), textcoords="offset points", color=COLOURS[k + 1])
    left.annotate(
        "", (np.log(1 / 1) - math.log(a), 0.8), (0, 0.2), arrowprops={"arrowstyle": "-|>", "color": INK}
    )
    left.annotate(r"by $-\log a$", (-0.4, 0.5), xytext=(8, 0), textcoords="offset points", fontsize=9.5)
    left.set(xlabel=r"$\lambda$, from noise to data", yticks=[], ylim=(-0.6, 1.8), title="what a shift does")
    told = []
    for i, (name, (shifts, e)) in enumerate(errors.items()):
        right.plot(shifts, e, label=name, **mark(i))
        told.append(f"{name} is best at a = {shifts[int(np.argmin(e))]:g}")
    right.set(xscale="log", yscale="log", xlabel="shift $a$", ylabel="median error / size", title="16 calls")
    _whole_ticks(right, shifts)
    right.set_ylim(None, 4)
    right.legend(fontsize=8.5, loc="upper left", ncols=2, columnspacing=1)
    return Picture(
        fig,
        f"Left, twelve equal steps of the linear flow against lambda, and the same shifted by a = {a:g}: all "
        f"ticks move towards the noise by log a. Right, error against the shift: {listing(told)}.",
    )


def digit_rows(model, x, budgets=(4, 8, 16, 32, 64), seed=0) -> Picture:
    """One digit of each row's sampler at equal calls: Euler in t, DDIM, Heun, Euler-Maruyama, stochastic
    Heun; x (1, 1, side, side) is the start, the grid quadratic to t = 0.001.
    """
    cases = {
        "DDIM": (euler, 1, {"variable": "sigma"}),
        "Heun": (heun, 2, {}),
        "RK4": (rk4, 4, {}),
        "Euler–Maruyama": (euler_maruyama, 1, {}),
        "stochastic Heun": (stochastic_heun, 2, {}),
    }
    paths = Brownian(seed)
    rows = {
        name: torch.cat(
            [
                sample(loop, model, x, grids.quadratic(model.schedule, b // cost), draws=paths, **options).x
                for b in budgets
            ]
        )
        for name, (loop, cost, options) in cases.items()
    }
    gap = float((rows["DDIM"][-1] - rows["Heun"][-1]).square().mean().sqrt())
    return image_grid(
        rows,
        column_labels=[f"{b} calls" for b in budgets],
        alt=f"The same noise sampled at {listing(budgets)} calls by five samplers. The three ODE solvers end "
        f"in the same digit, DDIM and Heun {number(gap, 1)} apart at the end; the two SDE solvers, on "
        "one Brownian path, end in others, and need more calls to be clean.",
    )
