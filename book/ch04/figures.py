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


@style()
def why_lambda(mixture, paths=4, shown=10) -> Picture:
    """One coordinate of the predicted noise along exact paths, against t and against lambda, with dots at
    `shown` equal steps of each.
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
    axes[0].set_ylabel(r"predicted noise $\hat\varepsilon$")
    late = float((lam > lam[0] + (lam[-1] - lam[0]) / 2).mean() * 100)
    width = float(t[np.argmin(np.abs(lam - (lam[0] + lam[-1]) / 2))])
    return Picture(
        fig,
        f"The predicted noise along {paths} exact paths. Against t, half of the range of lambda is squeezed "
        f"into the last {number(100 * width)} % of time, where the curves are steep and equal steps have one "
        f"or two dots; against lambda ({number(late)} % of the same steps) they are smooth S-shapes, evenly "
        "dotted.",
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
    """One-step errors against h on log axes, the measured slopes in the legend."""
    fig, ax = new_figure(height=3.3)
    told = []
    for i, (name, errors) in enumerate(curves.items()):
        p = -slope(sizes[1:], errors[1:])
        ax.plot(sizes, errors, label=f"{name}: slope {p:.1f}", **mark(i))
        told.append(f"{plain(name)} with slope {p:.1f}")
    ax.set(xscale="log", yscale="log", xlabel=r"step $h$ in $\lambda$", ylabel="error of one step")
    _ticks(ax, sizes)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Picture(fig, f"Error of one step against its length, log-log: {listing(told)}.")


@style()
def panels(groups, xlabel="calls of the model", ylabel="error", ticks=(5, 20, 100, 1000),
           top=3.0, first=3, height=4.2, below=-0.2) -> Picture:  # fmt: skip
    """Log-log error curves in panels that share their axes, slopes in each legend.

    groups: dict title -> dict label -> (calls, errors).  Slopes are fitted from the `first` budget on, above
    rounding (3e-10).  Errors above `top` lie beyond the picture.  below: the upper edge of the legends, in
    heights of an axis.
    """
    fig, axes = new_figure(1, len(groups), height=height, sharey=True)
    told = []
    for ax, (title, curves) in zip(np.atleast_1d(axes), groups.items()):
        for i, (name, (calls, errors)) in enumerate(curves.items()):
            pairs = [(n, e) for n, e in zip(calls, errors) if e > 3e-10]
            p = slope(*zip(*pairs[min(first, len(pairs) - 2) :]))
            ax.plot(calls, errors, label=f"{name}: {p:.1f}", **mark(i))
            told.append(f"{plain(name)} {p:.1f}")
        ax.set(xscale="log", yscale="log", xlabel=xlabel, title=title)
        ax.set_ylim(top=top)
        _ticks(ax, ticks)
        ax.tick_params(axis="x", labelsize=8.5)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=1, title="slope", fontsize=9)
    np.atleast_1d(axes)[0].set_ylabel(ylabel)
    return Picture(
        fig,
        f"{ylabel} against {xlabel}, log-log, {listing(map(plain, groups))}; slopes: {listing(told, 30)}.",
    )


@style()
def basins(curves) -> Picture:
    """Three panels for far modes: root mean square error, median error, share of samples at another mode."""
    fig, axes = new_figure(1, 3, height=3.4)
    told = []
    titles = {"rmse": "root mean square", "median": "median", "flipped": "share astray"}
    for ax, (key, title) in zip(axes, titles.items()):
        for i, (name, rows) in enumerate(curves.items()):
            y = np.array(rows[key])
            keep = y > 0
            calls = np.array(rows["nfe"])
            ax.plot(calls[keep], y[keep], label=name, **mark(i))
            if i == 0:
                told.append(f"{title} slope {slope(calls[keep], y[keep]):.1f}")
        ax.set(xscale="log", yscale="log", xlabel="calls", title=title)
        _ticks(ax, [5, 10, 20, 50, 100, 200])
        ax.tick_params(axis="x", labelsize=8.5)
    _ticks(axes[2], [0.001, 0.003, 0.01, 0.03], "y")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"Two far modes in 64 dimensions. {next(iter(curves))}: {listing(told)}. Higher orders move fewer "
        "samples to the wrong mode; from 50 or 100 calls on none, and then the two errors agree in slope.",
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
    ax.set(yscale="log", ylabel="error at 20 calls")
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Picture(fig, f"Error at 20 calls of six solvers on four grids: {'; '.join(told)}.")


@style()
def hidden(switch, whole) -> Picture:
    """Left: error against steps with a hidden switch of order.  Right: whole time steps stop a high order."""
    fig, (left, right) = new_figure(1, 2, height=3.9)
    for i, (name, (counts, errors)) in enumerate(switch.items()):
        left.plot(counts, errors, label=name, **(mark(i) | ({"linewidth": 2.6} if i == 0 else {})))
    left.set(yscale="log", xlabel="steps", ylabel="error", title="2M, equal steps in $t$")
    _ticks(left, [0.02, 0.05, 0.1, 0.2, 0.4], "y")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
    told = []
    for i, (name, (calls, errors)) in enumerate(whole.items()):
        p = slope(calls[-3:], errors[-3:])
        right.plot(calls, errors, label=f"{name}: {p:.1f}", **mark(i))
        told.append(f"{name} {p:.1f}")
    right.set(xscale="log", yscale="log", xlabel="calls", title="time steps rounded to 1/1000")
    _ticks(right, [10, 20, 50, 100, 200, 500])
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), title="slope", ncols=2, fontsize=8,
                 columnspacing=0.8, handlelength=2.2)  # fmt: skip
    counts, errors = next(iter(switch.values()))
    i = int(np.argmax(np.diff(errors)))
    return Picture(
        fig,
        f"Left: with a hidden switch the error of 2M jumps from {number(errors[i])} at {counts[i]} steps to "
        f"{number(errors[i + 1])} at {counts[i + 1]}; with either rule kept there is no jump. Right: slopes "
        f"at many calls, {listing(told, 9)}.",
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
    left.annotate("++2S lies\nunder DPM-2", (-0.62, 1.68), (0.28, 2.0), fontsize=8.5, color=INK,
                  arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.8})  # fmt: skip
    told = []
    for i, (name, mu) in enumerate(limits.items()):
        right.plot(sizes, mu, label=name, markevery=5, **mark(i))
        told.append(f"{name} {number(mu[-1])}")
    right.axhspan(0, 1, color="#DDDDDD", alpha=0.6, linewidth=0)
    right.annotate("one Gaussian", (0.3, 0.35), fontsize=9, color=INK)
    right.set(xlabel=r"step $h$ in $\lambda$", ylabel=r"largest stable $\mu$", ylim=(0, 6),
              title="long steps: stable below the curve")  # fmt: skip
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=6, handlelength=2.2,
               columnspacing=1.0)  # fmt: skip
    return Picture(
        fig,
        "Left: stability regions for vanishing steps. Single-step methods of order 1 and 2 (2S's edge lies "
        "under that of DPM-2) reach −2 on the real axis, order 3 −2.5; Adams-Bashforth with two predictions "
        "−1, with three −0.55. Right: the largest mu that is stable with steps of 5 in lambda: "
        f"{listing(told, 9)}; Gaussian data lie between 0 and 1.",
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
    told = []
    for i, (name, (scales, errors)) in enumerate(curves.items()):
        ax.plot(scales, errors, label=name, **mark(i))
        told.append(f"{name} {number(errors[0])} to {number(errors[-1])}")
    ax.set(xscale="log", yscale="log", xlabel="guidance scale", ylabel="error on digits, 12 calls")
    _ticks(ax, [1, 2, 4, 8])
    _ticks(ax, [0.01, 0.03, 0.1, 0.3, 1], "y")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
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
    ax.set(xscale="log", yscale="log", xlabel="calls, refused steps included", ylabel="error on the ring")
    _ticks(ax, ticks)
    ax.legend(loc="lower left")
    return Picture(fig, f"Error against calls, adaptive and fixed steps: {'; '.join(told)}.")


# --- the widget -----------------------------------------------------------------------------------------


@style()
def explorer(runs, solver, calls, grid, scale) -> Picture:
    """For the widget: ten digits by the exact flow of the guided network and by a solver, and the solver's
    error against its calls on each grid.

    runs: what `experiments.digit_runs` returns for this setting.
    """
    fig, (left, right) = new_figure(1, 2, height=3.5, width_ratios=[1.15, 1])
    exact, ours, error = runs["exact"].numpy(), runs["made"].numpy(), runs["error"]
    sheet, rows, _ = mosaic([list(exact[:5]), list(ours[:5]), list(exact[5:]), list(ours[5:])], pixels=40)
    left.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    left.grid(False)
    left.spines[:].set_visible(False)
    left.tick_params(length=0)
    left.set_xticks([])
    left.set_yticks(rows, ["exact", "solver", "exact", "solver"])
    left.set_title(f"{solver}, {calls} calls: error {error:.2g}")
    for i, (name, errors) in enumerate(runs["by grid"].items()):
        look = mark(i, points=False) | {"linewidth": 2.4 if name == grid else 1.2}
        right.plot(runs["calls"], errors, label=name, **look)
    right.plot([calls], [error], "o", markersize=9, markerfacecolor="white", markeredgecolor=INK, zorder=5)
    right.set(xscale="log", yscale="log", xlabel="calls of the solver", ylabel="error", ylim=(1e-3, 5))
    _ticks(right, [4, 6, 10, 20, 40])
    right.legend(loc="lower left", fontsize=8.5)
    return Picture(
        fig,
        f"Ten digits by {solver} with {calls} calls, grid {grid}, guidance {number(scale)}, beneath the "
        f"exact ones: error {number(error)}. At the right the error falls with the calls on each of four "
        f"grids, to {number(runs['by grid'][grid][-1])} at {runs['calls'][-1]} on this one.",
    )
