"""Figures of chapter 4: DPM-Solver and its family."""

import numpy as np
import torch

from book.plots import (
    COLOURS,
    DASHES,
    GREY,
    INK,
    Picture,
    listing,
    mark,
    mosaic,
    new_figure,
    number,
    plain,
    style,
)
from toolkit import VP, grids, initial_noise, sample
from toolkit.convergence import slope
from toolkit.dpm_solver import dpmpp_3m


def _ticks(ax, values, axis="x"):
    """These positions, written as plain numbers, on a log axis."""
    getattr(ax, f"set_{axis}ticks")(values, [f"{v:g}" for v in values])
    getattr(ax, f"{axis}axis").minorticks_off()


def _at_ends(ax, ends, gap=0.062, size=9):
    """Write names beside the right edge, each at the height where its line ends, moved apart where they would
    touch.  ends: list of (y, text, colour); the limits of y must be set before.
    """
    low, high = ax.get_ylim()
    log = ax.get_yscale() == "log"
    share = lambda y: (np.log(y / low) / np.log(high / low)) if log else (y - low) / (high - low)
    places = sorted([float(np.clip(share(y), 0, 1)), text, colour] for y, text, colour in ends)
    for before, place in zip(places, places[1:]):
        place[0] = max(place[0], before[0] + gap)
    over = max(places[-1][0] - 1.02, 0)
    for after, place in zip([None, *reversed(places)], reversed(places)):
        place[0] = min(place[0], (after[0] - gap) if after else place[0] - over)
    for y, text, colour in places:
        ax.annotate(text, (1.015, y), xycoords="axes fraction", va="center", fontsize=size, color=colour,
                    annotation_clip=False)  # fmt: skip


def _slopes(ax, orders, low, high, top):
    """Grey reference lines of these orders from (low, top) to high, named where they leave the picture."""
    bottom = ax.get_ylim()[0]
    for order in orders:
        end = max(top * (high / low) ** -order, bottom * 1.6)
        at = low * (top / end) ** (1 / order)
        ax.plot([low, at], [top, end], color=GREY, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        ax.annotate(f"{order}", (at, end), xytext=(2, 1), textcoords="offset points", color=GREY, fontsize=9)


@style()
def why_lambda(mixture, paths=4, shown=10) -> Picture:
    """The first coordinate of the predicted noise along exact paths, against t and against lambda, with dots
    at `shown` equal steps of each.
    """
    schedule = VP()
    model = mixture.model(schedule)
    x = initial_noise(paths, 2, 3, dtype=torch.float64)
    times = grids.uniform_lambda(schedule, 200)
    states = sample(dpmpp_3m, model, x, times, keep_path=True).path
    eps = torch.stack([model.eps(s, float(t)) for s, t in zip(states, times)])[..., 0].numpy()
    t, lam = times.numpy(), schedule.lam(times.numpy())
    fig, axes = new_figure(1, 2, height=3.0, sharey=True)
    for ax, u, name in ((axes[0], t, "time $t$"), (axes[1], lam, r"$\lambda=\log(\alpha/\sigma)$")):
        dots = np.linspace(u[0], u[-1], shown + 1)
        for k in range(paths):
            look = {"color": COLOURS[k], "linestyle": DASHES[k]}
            ax.plot(u, eps[:, k], **look)
            order = np.argsort(u)
            ax.plot(dots, np.interp(dots, u[order], eps[order, k]), "o", color=COLOURS[k], markersize=4)
        ax.set(xlabel=name, title=f"{shown} equal steps in {'$t$' if ax is axes[0] else 'λ'}")
    axes[0].invert_xaxis()
    axes[0].set_ylabel(r"first coordinate of $\hat\varepsilon$")
    _at_ends(axes[1], [(eps[-1, k], f"path {'abcdefgh'[k]}", COLOURS[k]) for k in range(paths)])
    late = float((lam > lam[0] + (lam[-1] - lam[0]) / 2).mean() * 100)
    width = float(t[np.argmin(np.abs(lam - (lam[0] + lam[-1]) / 2))])
    before = float((np.linspace(t[0], t[-1], shown + 1) < width).sum())
    return Picture(
        fig,
        f"First coordinate of the predicted noise along {paths} exact paths. Against t the cleaner half of "
        f"the range of lambda is squeezed into the last {number(100 * width)} % of time, where the curves "
        f"are steep and {number(before)} of {shown + 1} dots lie; against lambda the curves rise and fall "
        f"evenly, and {number(late)} % of the dots lie in that half.",
    )


@style()
def kernels(h=3.0) -> Picture:
    """Over one step of h in lambda: the weight that noise prediction gives to each moment, and data
    prediction's, with their totals.
    """
    fig, axes = new_figure(1, 2, height=2.6)
    u = np.linspace(0, h, 200)
    rows = (
        (r"noise: $e^{\lambda_t-\lambda}$", np.exp(h - u), np.expm1(h), 1),
        (r"data: $e^{\lambda-\lambda_t}$", np.exp(u - h), -np.expm1(-h), 2),
    )
    for ax, (name, weight, total, k) in zip(axes, rows):
        ax.fill_between(u, weight, color=COLOURS[k], alpha=0.25, linewidth=0)
        ax.plot(u, weight, color=COLOURS[k])
        ax.plot([0, h / 2], np.interp([0, h / 2], u, weight), "o", color=INK, markersize=6)
        ax.set(title=f"{name}, area {total:.3g}", ylim=(0, None))
        ax.set_xticks([0, h / 2, h], [r"$\lambda_s$", "$m$", r"$\lambda_t$"])
    axes[0].set_ylabel("weight in the integral")
    return Picture(
        fig,
        f"Weights over one step of {number(h)} in lambda. Noise prediction weighs its start most, by e to "
        f"the h, with a total of {number(np.expm1(h), 3)}; data prediction weighs its end most, with a total "
        f"of {number(-np.expm1(-h))}. Dots: where a method of order two calls the model, at the start and in "
        "the middle.",
    )


@style()
def phi_errors(z, errors, k=3) -> Picture:
    """Relative error of phi_k against |z|, a curve for each way to compute it."""
    fig, ax = new_figure(height=3.1)
    told = []
    for i, (name, e) in enumerate(errors.items()):
        ax.plot(z, np.minimum(e, 1e4), label=name, markevery=4, **mark(i))
        told.append(f"{name} errs by at most {number(e.max())}")
    ax.axhline(1, color=GREY, linestyle=":", linewidth=1.2)
    ax.set(
        xscale="log", yscale="log", xlabel="$z$ (the step $h$)", ylabel=f"relative error of $\\varphi_{k}$"
    )
    ax.legend(loc="upper right")
    return Picture(
        fig, f"Relative error of phi {k} against z from 1e-6 to 10: {'; '.join(told)} (cut off at 10 000)."
    )


@style()
def one_step(sizes, curves) -> Picture:
    """One-step errors against h on log axes, the measured slopes at the lines' ends."""
    fig, ax = new_figure(height=3.3)
    told, ends = [], []
    for i, (name, errors) in enumerate(curves.items()):
        p = -slope(sizes[1:], errors[1:])
        ax.plot(sizes, errors, **mark(i))
        ends.append((errors[0], f"{name}: slope {p:.1f}", COLOURS[i]))
        told.append(f"{plain(name)} with slope {p:.1f}")
    ax.set(
        xscale="log", yscale="log", xlabel=r"step $h$ in $\lambda$", ylabel="error of one step, five modes"
    )
    _ticks(ax, sizes)
    low, high = ax.get_ylim()
    x = np.array([sizes[2], sizes[0]])
    for order in (2, 3, 4):
        y = 600 * low * (x / x[1]) ** order
        ax.plot(x, y, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        ax.annotate(f"slope {order}", (x[0], y[0]), xytext=(-40, -3), textcoords="offset points",
                    color=GREY, fontsize=9)  # fmt: skip
    ax.set_ylim(low, high)
    _at_ends(ax, ends, 0.075)
    return Picture(fig, f"Error of one step against its length, log-log: {listing(told)}.")


@style()
def panels(
    groups, xlabel="calls of the model", ylabel="error", ticks=(5, 20, 100, 1000), top=3.0, bottom=None,
    first=3, height=4.2, below=-0.2, orders=(1, 2, 3, 4), legend="each",
) -> Picture:  # fmt: skip
    """Log-log error curves in panels that share their axes, with grey lines of these orders and each curve's
    slope at its end.

    groups: dict title -> dict label -> (calls, errors).  Slopes are fitted from the `first` budget on, above
    rounding (3e-10).  Errors above `top` lie beyond the picture.  below: the upper edge of the legends, in
    heights of an axis.  legend: "each" panel has its own, or "one" for all, where their labels are the same.
    """
    fig, axes = new_figure(1, len(groups), height=height, sharey=True)
    told, axes = [], np.atleast_1d(axes)
    seen = [e for curves in groups.values() for _, errors in curves.values() for e in errors if e > 0]
    bottom = 0.5 * min(seen) if bottom is None else bottom
    for ax, (title, curves) in zip(axes, groups.items()):
        ends = []
        for i, (name, (calls, errors)) in enumerate(curves.items()):
            pairs = [(n, e) for n, e in zip(calls, errors) if e > 3e-10]
            p = slope(*zip(*pairs[min(first, len(pairs) - 2) :]))
            ax.plot(calls, errors, label=name, **mark(i))
            ends.append((errors[-1], f"{p:.1f}", COLOURS[i % len(COLOURS)]))
            told.append(f"{plain(name)} {p:.1f}")
        ax.set(xscale="log", yscale="log", xlabel=xlabel, title=title)
        ax.set_ylim(bottom, top)
        _ticks(ax, ticks)
        ax.tick_params(axis="x", labelsize=9)
        if legend == "each":
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=1, fontsize=9)
        _slopes(ax, orders, ticks[0], ticks[-1], 0.6 * top)
        _at_ends(ax, ends, 0.05 * 4.2 / height)
    axes[0].set_ylabel(ylabel)
    if legend == "one":
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    return Picture(
        fig,
        f"{ylabel} against {xlabel}, log-log, {listing(map(plain, groups))}; slopes: {listing(told, 30)}.",
    )


@style()
def noise_over_data(calls, pairs) -> Picture:
    """Error of noise prediction over that of data prediction against the calls, a panel for each pair of
    methods; means over batches, with bars of one standard deviation.

    pairs: dict title -> dict problem -> [ratios of the batches at each of `calls`].
    """
    fig, axes = new_figure(1, len(pairs), height=3.7, sharey=True)
    told = []
    for ax, (title, rows) in zip(axes, pairs.items()):
        for i, (name, ratios) in enumerate(rows.items()):
            mean, sd = (np.array([f(r) for r in ratios]) for f in (np.mean, lambda r: np.std(r, ddof=1)))
            at = np.array(calls) * (1 + 0.012 * (i - 2))  # bars beside each other
            ax.errorbar(at, mean, sd, label=name, elinewidth=0.8, **mark(i))
        ax.axhline(1, color=INK, linewidth=1)
        ax.set(xscale="log", yscale="log", xlabel="calls", ylim=(0.1, 20))
        ax.set_title(title, fontsize=9.5)
        _ticks(ax, [8, 16, 24, 48, 96])
        first, last = ([float(np.mean(r[k])) for r in rows.values()] for k in (0, -1))
        told.append(
            f"{title}: {number(min(first))} to {number(max(first))} at {calls[0]} calls, {number(min(last))} "
            f"to {number(max(last))} at {calls[-1]}"
        )
    _ticks(axes[0], [0.1, 0.2, 0.5, 1, 2, 5, 10, 20], "y")
    axes[0].set_ylabel("error, noise / data")
    axes[0].annotate("noise prediction\nahead", (8, 0.13), fontsize=9, color=INK)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return Picture(
        fig, f"Error with noise over error with data prediction, order 2, five problems. {'; '.join(told)}."
    )


@style()
def grid_choice(errors) -> Picture:
    """Errors by solver on four grids; errors: dict solver -> {grid -> error}."""
    fig, ax = new_figure(height=3.3)
    names = list(next(iter(errors.values())))
    told = []
    for i, (solver, row) in enumerate(errors.items()):
        look = mark(i) | {"linestyle": "none", "markersize": 8}
        ax.plot(np.arange(len(names)) + 0.09 * (i - 2.5), list(row.values()), label=solver, **look)
        best = min(row, key=row.get)
        told.append(f"{solver} best on {best}, {number(row[best])}")
    ax.set(yscale="log", ylabel="rms error, five modes, 20 calls")
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Picture(fig, f"Error on five modes at 20 calls of six solvers on four grids: {'; '.join(told)}.")


@style()
def hidden(switch, whole) -> Picture:
    """Left: error against steps with a hidden switch of order.  Right: whole time steps stop a high order."""
    fig, (left, right) = new_figure(1, 2, height=3.9)
    for i, (name, (counts, errors)) in enumerate(switch.items()):
        left.plot(counts, errors, label=name, **(mark(i) | ({"linewidth": 2.6} if i == 0 else {})))
    left.set(yscale="log", xlabel="steps", ylabel="rms error, five modes", title="2M, equal steps in $t$")
    _ticks(left, [0.02, 0.05, 0.1, 0.2, 0.4], "y")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
    told = []
    for i, (name, (calls, errors)) in enumerate(whole.items()):
        short = name.replace("DDIM = DPM-1", "DDIM").replace("whole steps", "rounded")
        right.plot(calls, errors, label=short, **mark(i))
        told.append(f"{name} {number(errors[-1])}")
    right.set(xscale="log", yscale="log", xlabel="calls", title="network's time rounded to 1/1000")
    _ticks(right, [10, 20, 50, 100, 200, 500])
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize=9,
                 columnspacing=0.8, handlelength=2.0)  # fmt: skip
    counts, errors = next(iter(switch.values()))
    i = int(np.argmax(np.diff(errors)))
    return Picture(
        fig,
        f"Left: with a hidden switch the error of 2M jumps from {number(errors[i])} at {counts[i]} steps to "
        f"{number(errors[i + 1])} at {counts[i + 1]}; with either rule kept there is no jump. Right: errors "
        f"at {calls[-1]} calls, {listing(told, 9)}.",
    )


@style()
def stability(sizes, limits) -> Picture:
    """Left: edges of the classical regions, methods applied in t, as the step vanishes.  Right: the largest
    stable mu of the linear test problem against the step in lambda.
    """
    fig, (left, right) = new_figure(1, 2, height=4.0)
    x, y = np.meshgrid(np.linspace(-3.0, 1.2, 400), np.linspace(-2.8, 2.8, 400))
    z = x + 1j * y
    taylor = {"order 1": 1 + z, "order 2": 1 + z + z**2 / 2, "order 3": 1 + z + z**2 / 2 + z**3 / 6}
    for i, r in enumerate(taylor.values()):
        left.contour(x, y, abs(r), [1.0], colors=COLOURS[i], linestyles=[DASHES[i]], linewidths=1.7)
    for i, coefficients in ((4, (3 / 2, -1 / 2)), (5, (23 / 12, -16 / 12, 5 / 12))):
        left.contour(x, y, _largest_root(z, coefficients), [1.0], colors=COLOURS[i], linestyles=[DASHES[i]],
                     linewidths=1.7)  # fmt: skip
    left.axhline(0, color=GREY, linewidth=0.7)
    left.axvline(0, color=GREY, linewidth=0.7)
    left.set(xlabel="Re $z$", ylabel="Im $z$", aspect="equal", title="small steps: $|R(z)|\\leq1$ inside")
    for k, text, at in ((0, "1", (-1.05, 0.72)), (1, "2", (-1.55, 1.1)), (2, "3", (-1.95, 1.75)),
                        (4, "AB2", (-1.45, 0.1)), (5, "AB3", (-0.47, 0.1))):  # fmt: skip
        left.annotate(text, at, fontsize=8.5, color=COLOURS[k])
    left.annotate("++2S lies\nunder DPM-2", (-0.62, 1.68), (0.28, 2.0), fontsize=8.5, color=INK,
                  arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.8})  # fmt: skip
    told, ends = [], []
    right.set(ylim=(0, 6))
    for i, (name, mu) in enumerate(limits.items()):
        right.plot(sizes, mu, markevery=5, **mark(i))
        ends.append((mu[-1], name, COLOURS[i]))
        told.append(f"{name} {number(mu[len(mu) // 2 - 1])} and {number(mu[-1])}")
    right.axhspan(0, 1, color="#DDDDDD", alpha=0.6, linewidth=0)
    right.annotate("one Gaussian", (0.25, 0.35), fontsize=9, color=INK)
    right.set(xlabel=r"step $h$ in $\lambda$", ylabel=r"largest stable $\mu$",
              title="long steps: stable below the curve")  # fmt: skip
    _at_ends(right, ends, 0.065)
    return Picture(
        fig,
        "Left: stability regions for vanishing steps. Single-step methods of order 1 and 2 (2S's edge lies "
        "under that of DPM-2) reach −2 on the real axis, order 3 −2.5; Adams-Bashforth with two predictions "
        f"−1, with three −0.55. Right: the largest mu that is stable with steps of "
        f"{number(sizes[len(sizes) // 2 - 1])} and of {number(sizes[-1])} in lambda: {listing(told, 9)}; "
        "Gaussian data lie between 0 and 1.",
    )


@style()
def growth_bars(factors, h, mu) -> Picture:
    """For the widget: |growth| a step of every solver as a bar, hatched where it exceeds 1; bars end at 3.

    factors: dict solver -> factor.
    """
    fig, ax = new_figure(height=2.7)
    fig.set_layout_engine(None)  # fixed places: the widget answers at once
    ax.set_position([0.1, 0.15, 0.88, 0.73])
    values = np.array(list(factors.values()))
    wild = values > 1 + 1e-6
    for which, colour, hatch in ((~wild, COLOURS[2], ""), (wild, COLOURS[1], "///")):
        at = np.flatnonzero(which)
        ax.bar(at, np.minimum(values[at], 3), 0.7, color=colour, alpha=0.6, edgecolor=INK, linewidth=0.8,
               hatch=hatch)  # fmt: skip
    for k, value in enumerate(values):
        text = f"{value:.2f}" if value < 100 else f"{value:.0e}"
        ax.annotate(text, (k, min(value, 3) + 0.06), ha="center", fontsize=9, zorder=5,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    ax.axhline(1, color=INK, linewidth=1)
    ax.set(ylim=(0, 3.3), ylabel="growth a step", title=rf"$h={h:g}$, $\mu={mu:g}$")
    ax.set_xticks(range(len(factors)), list(factors))
    ax.grid(False, axis="x")
    names = [name for name, one in zip(factors, wild) if one]
    return Picture(
        fig,
        f"Growth a step with h = {number(h)} and mu = {number(mu)}: "
        f"{listing([f'{name} {number(v)}' for name, v in factors.items()], 9)}. Unstable: "
        f"{listing(names, 9) if names else 'none'}.",
    )


def _largest_root(z, coefficients):
    """Spectral radius of Adams-Bashforth's recursion y' = y + z sum_j c_j y_j at each z."""
    k = len(coefficients)
    matrix = np.zeros((*z.shape, k, k), dtype=complex)
    matrix[..., 0, :] = z[..., None] * np.array(coefficients)
    matrix[..., 0, 0] += 1
    for j in range(1, k):
        matrix[..., j, j - 1] = 1
    return np.abs(np.linalg.eigvals(matrix)).max(-1)


@style()
def guidance(curves) -> Picture:
    """Error against guidance scale, dict solver -> (scales, errors)."""
    fig, ax = new_figure(height=3.2)
    told, ends = [], []
    for i, (name, (scales, errors)) in enumerate(curves.items()):
        ax.plot(scales, errors, **mark(i))
        ends.append((errors[-1], name, COLOURS[i]))
        told.append(f"{name} {number(errors[0])} to {number(errors[-1])}")
    ax.set(xscale="log", yscale="log", xlabel="guidance scale", ylabel="error on digits, 12 calls")
    _ticks(ax, [1, 2, 4, 8])
    _ticks(ax, [0.01, 0.03, 0.1, 0.3, 1], "y")
    _at_ends(ax, ends, 0.075)
    return Picture(fig, f"Error on digits from guidance 1 to 8: {'; '.join(told)}.")


@style()
def calls_and_error(curves, ticks=(24, 48, 96, 192, 384)) -> Picture:
    """Error against calls on log axes, dict label -> (calls, errors)."""
    fig, ax = new_figure(height=3.2)
    told = []
    for i, (name, (calls, errors)) in enumerate(curves.items()):
        ax.plot(calls, errors, label=name, **mark(i))
        told.append(
            f"{name} {number(errors[0])} with {calls[0]} calls to {number(errors[-1])} with {calls[-1]}"
        )
    ax.set(xscale="log", yscale="log", xlabel="calls, refused steps included", ylabel="rms error on the ring")
    _ticks(ax, ticks)
    ax.legend(loc="lower left")
    return Picture(fig, f"Error against calls, adaptive and fixed steps: {'; '.join(told)}.")


@style()
def rates(lam, curves, constant, calls) -> Picture:
    """Left: the rate of the linear part at which the first-order error vanishes, against lambda; curves: dict
    label -> (lambda, rates).  Right: the error of the first-order method with one rate throughout; constant:
    dict label -> (rates, errors), with this many calls.
    """
    fig, (left, right) = new_figure(1, 2, height=3.3)
    told, lowest = [], []
    for i, (name, (at, values)) in enumerate(curves.items()):
        left.plot(at, values, label=name, **mark(i, points=False))
        told.append(f"{name} {number(np.nanmax(values), 3)}")
    left.axhline(1, color=GREY, linewidth=0.8)
    left.set(xlabel=r"$\lambda$", ylabel=r"rate $\varrho$", title="no first-order error", ylim=(0.95, 1.5))
    left.legend(loc="upper left", fontsize=9)
    for i, (name, (at, errors)) in enumerate(constant.items(), 1):
        right.plot(at, errors, label=name, **mark(i, points=False))
        best = int(np.argmin(errors))
        lowest.append(f"{name} at ±{abs(at[best]):g}, {number(errors[best])}")
    for rate in (-1, 1):
        right.axvline(rate, color=INK, linewidth=0.8, zorder=0)
    right.set(yscale="log", xlabel=r"rate $\varrho$, the same in all steps",
              ylabel=f"median error, {calls} calls", title="one rate throughout")  # fmt: skip
    right.set_xlim(-2, 2)
    right.set_xticks([-2, -1, 0, 1, 2])
    right.legend(loc="upper center", fontsize=9)
    return Picture(
        fig,
        f"Left: the rate at which the first-order error vanishes is 1 at both ends of lambda; its largest "
        f"values: {listing(told)}. Right: with one rate throughout the median error has two sharp minima, "
        f"equally deep, a little outside −1, noise prediction, and 1, data prediction: {listing(lowest)}.",
    )


@style()
def node_rows(rows, curve=None, title="") -> Picture:
    """Grids as rows of dots on an axis of lambda, with a text at the right of each; and above, if given, a
    curve over lambda.

    rows: dict name -> (lambdas of the nodes, text).  curve: (lambda, values, label).
    """
    height = (1.8 if curve else 0.9) + 0.27 * len(rows)
    fig, axes = new_figure(2 if curve else 1, 1, height=height, sharex=True,
                           height_ratios=[1, 0.3 * len(rows)] if curve else None)  # fmt: skip
    axes = np.atleast_1d(axes)
    fig.set_layout_engine(None)  # fixed places: the widget answers at once
    fig.subplots_adjust(left=0.2, right=0.68, top=1 - 0.3 / height, bottom=0.5 / height, hspace=0.12)
    ax = axes[-1]
    for i, (lam, text) in enumerate(rows.values()):
        ax.plot(lam, [-i] * len(lam), "o-", color=COLOURS[i % len(COLOURS)], markersize=5, linewidth=0.8)
        ax.annotate(text, (1.02, -i), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    ax.set_yticks(-np.arange(len(rows)), list(rows), fontsize=9)
    ax.set(xlabel=r"$\lambda$ (noise at the left, data at the right)", ylim=(0.6 - len(rows), 0.6))
    if curve:
        axes[0].plot(curve[0], curve[1], color=INK)
        axes[0].set_ylabel(curve[2], fontsize=9)
    axes[0].set_title(title)
    told = [f"{name}: {text}" for name, (_, text) in rows.items()]
    return Picture(fig, f"Where grids of {len(lam) - 1} steps lie in lambda. {'; '.join(told)}.")


# --- the widget -----------------------------------------------------------------------------------------


@style()
def explorer(runs, data, solver, calls, grid, scale) -> Picture:
    """For the widget: ten digits, or points on the ring, by the exact flow and by a solver, and the solver's
    error against its calls on each grid.

    runs: what `experiments.digit_runs` returns for this setting.
    """
    fig, (left, right) = new_figure(1, 2, height=3.4)
    fig.set_layout_engine(None)  # fixed places: the widget answers at once
    left.set_position([0.075, 0.05, 0.45, 0.84])
    right.set_position([0.63, 0.14, 0.355, 0.75])
    exact, ours, error = runs["exact"].numpy(), runs["made"].numpy(), runs["error"]
    left.grid(False)
    left.set_xticks([])
    if data == "digits":
        sheet, rows, _ = mosaic([list(exact[:5]), list(ours[:5]), list(exact[5:]), list(ours[5:])], pixels=40)
        left.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        left.spines[:].set_visible(False)
        left.tick_params(length=0)
        left.set_yticks(rows, ["exact", "solver", "exact", "solver"])
    else:
        left.plot(*np.stack([exact, ours]).transpose(2, 0, 1), color=GREY, linewidth=0.8)
        left.plot(*exact.T, "o", markersize=5, markerfacecolor="white", markeredgecolor=INK, label="exact")
        left.plot(*ours.T, "o", markersize=3, color=COLOURS[1], label="solver")
        left.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
        left.set_yticks([])
        left.legend(loc="lower left", fontsize=9, handlelength=1, frameon=True, framealpha=0.9)
    what = "error" if data == "digits" else "median error"
    left.set_title(f"{solver}, {calls} calls: {what} {error:.2g}")
    for i, (name, errors) in enumerate(runs["by grid"].items()):
        look = mark(i, points=False) | {"linewidth": 2.6 if name == grid else 1.2}
        right.plot(runs["calls"], errors, label=name, **look)
    right.plot([calls], [error], "o", markersize=9, markerfacecolor="white", markeredgecolor=INK, zorder=5)
    right.set(xscale="log", yscale="log", xlabel="calls of the solver", ylabel=what, ylim=(1e-3, 12))
    _ticks(right, [4, 6, 10, 20, 40])
    right.legend(loc="lower left", fontsize=9)
    thing = "Ten digits" if data == "digits" else "64 points on the ring"
    beside = "beneath" if data == "digits" else "joined to"
    return Picture(
        fig,
        f"{thing} by {solver} with {calls} calls, grid {grid}, guidance {number(scale)}, {beside} the exact "
        f"ones: {what} {number(error)}. At the right the error falls with the calls on each of four grids, "
        f"to {number(runs['by grid'][grid][-1])} at {runs['calls'][-1]} on this one.",
    )
