"""Figures of chapter 7: flow maps and learned solvers."""

import numpy as np

from book.plots import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    Picture,
    array,
    bars,
    image_grid,
    lines,
    listing,
    mark,
    new_figure,
    number,
    style,
)
from book.problems import rms

# --- flow maps ------------------------------------------------------------------------------------------


@style()
def where_is_the_mean(step) -> Picture:
    """One step of a one-dimensional flow.  Left: the trajectory, its chord, and where Euler and the midpoint
    end.  Right: the velocity on the way, its mean as a rectangle of the same area, and what each answers.

    step: what `experiments.line_step` returns.
    """
    times, states, speeds, mean = (step[key] for key in ("times", "states", "speeds", "mean"))
    t, s = times[0], times[-1]
    fig, (left, right) = new_figure(1, 2, height=3.9)
    left.plot(times, states, color=INK, linewidth=2.4, label="trajectory")
    left.plot([t, s], [states[0], states[-1]], color=COLOURS[1], linewidth=1.8, label="jump by the mean")
    right.fill_between(times, speeds, color="#DDDDDD", linewidth=0)
    right.plot(times, speeds, color=INK, linewidth=2.4)
    right.plot([t, t, s, s], [0, mean, mean, 0], color=COLOURS[1], linewidth=1.8)
    told = []
    for i, (name, (time, speed)) in enumerate(step["guesses"].items(), 2):
        end = states[0] - (t - s) * speed
        look = {"color": COLOURS[i], "marker": "os^D"[i], "markersize": 7, "markeredgecolor": INK}
        left.plot([t, s], [states[0], end], color=COLOURS[i], linestyle=":", linewidth=1.2)
        left.plot(s, end, linestyle="none", label=name, **look)
        right.plot(time, speed, linestyle="none", **look)
        right.annotate(name, (time, speed), (8, 3), textcoords="offset points", fontsize=9)
        told.append(f"{name} {number(speed)}")
    for time in step["where"]:
        right.plot(time, mean, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK)
        right.annotate("AMED: when?", (time, mean), (8, -14), textcoords="offset points", fontsize=9)
    right.annotate("MeanFlow: how high?", (t, mean), (4, -14), textcoords="offset points", fontsize=9)
    left.set(title="one step", xlabel="time $t$", ylabel="$x$")
    right.set(title="the velocity on the way", xlabel="time $t$", ylabel="$v$")
    left.legend(fontsize=8.5)
    for ax in (left, right):
        ax.invert_xaxis()
    return Picture(
        fig,
        f"One step of a one-dimensional flow from time {t:g} to {s:g}. The velocity on the way runs from "
        f"{number(speeds[0])} to {number(speeds[-1])}; a rectangle of the same area has its mean, "
        f"{number(mean)}, as its height. As a guess of it, {listing(told)}. A ring marks the time "
        f"{listing([number(time) for time in step['where']])} at which the trajectory itself has it.",
    )


@style()
def three_conditions() -> Picture:
    """A schematic: what three losses compare on one trajectory."""
    u = np.linspace(0, 1, 100)
    path = lambda u: np.stack([u, 0.6 * u**4 + 0.35 * np.sin(0.85 * np.pi * u)], axis=-1)  # noqa: E731
    shown = {  # from, to, bend
        "MeanFlow: move the start": [(1.0, 0.12, -0.25), (0.84, 0.12, -0.12)],
        "Lagrangian: move the end": [(1.0, 0.3, -0.12), (1.0, 0.12, -0.25)],
        "shortcut: halve the jump": [(1.0, 0.12, -0.3), (1.0, 0.56, 0.3), (0.56, 0.12, 0.3)],
    }
    fig, axes = new_figure(1, 3, height=2.2, sharey=True)
    for ax, (name, arrows) in zip(axes, shown.items()):
        ax.plot(*path(u).T, color="#B5B5B5", linewidth=4, solid_capstyle="round", zorder=1)
        for first, last, bend in arrows:
            look = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.6, "shrinkA": 4, "shrinkB": 5}
            look |= {"connectionstyle": f"arc3,rad={bend}", "mutation_scale": 14}
            ax.annotate("", path(last), path(first), arrowprops=look)
            ax.plot(*np.stack([path(first), path(last)]).T, "o", color=INK, markersize=5, zorder=3)
        ax.annotate("$s$", path(0.12), (0, -16), textcoords="offset points", ha="center")
        ax.annotate("$t$", path(1.0), (8, 2), textcoords="offset points", ha="center")
        ax.set(title=name, xlim=(-0.05, 1.12), ylim=(-0.15, 0.95), xticks=[], yticks=[])
        ax.title.set_fontsize(9.5)
        ax.spines[:].set_visible(False)
    return Picture(
        fig,
        "One trajectory from time t to time s, three times, with the jumps that a loss compares as arrows. "
        "MeanFlow: from two neighbouring starts to one end. Lagrangian: from one start to two neighbouring "
        "ends. Shortcut: one jump over the whole, and two of half its length.",
    )


def slopes(curves) -> Picture:
    """The slope of a map to the data against the time it starts at: dict label -> (times, slopes)."""
    return lines(curves, "time $t$", "slope of the map to the data", height=2.8)


@style()
def calls(panels) -> Picture:
    """Fréchet distance against calls, a panel each: dict title -> dict label -> (calls, lists of the seeds').
    A line is the seeds' mean, its bar their range."""
    fig, axes = new_figure(1, len(panels), height=4.3)
    told = []
    for ax, (title, curves) in zip(axes, panels.items()):
        for i, (label, (counts, seeds)) in enumerate(curves.items()):
            y = np.array(seeds)
            ax.plot(counts, y.mean(0), label=label, **mark(i))
            ax.vlines(counts, y.min(0), y.max(0), color=COLOURS[i], linewidth=3, alpha=0.4)
            told.append(f"{label} {listing([number(v) for v in y.mean(0)])}")
        ax.set(title=title, xlabel="calls", xscale="log", yscale="log")
        ax.set_xticks([1, 2, 4, 16], ["1", "2", "4", "16"])
        ax.minorticks_off()
        ticks = [v for v in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if ax.get_ylim()[0] < v < ax.get_ylim()[1]]
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
    axes[0].set(ylabel="Fréchet distance")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)
    first = len(told) // len(panels)
    return Picture(
        fig,
        f"Fréchet distance of digits against calls, {listing(panels)}. With 1, 2, 4 and 16 calls, "
        f"{next(iter(panels))}: {'; '.join(told[:first])}.",
    )


@style()
def two_jumps(panels) -> Picture:
    """How far two jumps end from one, against the time between: dict title -> dict label -> (times, lists of
    the seeds' distances)."""
    fig, axes = new_figure(1, len(panels), height=3.8)
    told = []
    for ax, (title, curves) in zip(axes, panels.items()):
        for i, (label, (times, seeds)) in enumerate(curves.items()):
            y = np.array(seeds)
            ax.plot(times, y.mean(0), label=label, **mark(i))
            ax.fill_between(times, y.min(0), y.max(0), color=COLOURS[i], alpha=0.15, linewidth=0)
            told.append(f"{title}, {label} at most {number(y.mean(0).max())}")
        ax.set(title=title, xlabel="time between", ylim=(0, None), xlim=(0, 1))
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}  # each panel has its own
        ax.legend(**below, fontsize=8.5)
    axes[0].set(ylabel="RMS, two jumps from one")
    return Picture(
        fig,
        f"Root mean square distance between one jump from noise to data and two, against the time between "
        f"them: {'; '.join(told)}. An exact flow map would have 0.",
    )


@style()
def one_jump(state) -> Picture:
    """For the widget: the triangle, one start at time t, its exact trajectory to s, and three jumps with the
    velocity that makes each.  state: what `experiments.one_jump` returns.
    """
    fig, (left, right) = new_figure(1, 2, height=4.0)
    t, s = state["times"]
    left.plot(*array(state["data"]).T, ".", color="#D5D5D5", markersize=3, zorder=0)
    left.plot(*array(state["path"]).T, color=INK, linewidth=1.6, label="trajectory")
    start = {"markerfacecolor": "white", "markeredgecolor": INK, "markersize": 7, "linestyle": "none"}
    left.plot(*array(state["path"][0]), "o", **start, label="start")
    told = []
    for i, (name, (velocity, end)) in enumerate(state["jumps"].items()):
        look = {"color": COLOURS[i + 1], "arrowstyle": "-|>", "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
        right.annotate("", array(velocity), (0, 0), arrowprops=look | {"mutation_scale": 13})
        right.plot([], [], color=COLOURS[i + 1], marker="os^"[i], label=name)
        right.plot(*array(velocity), marker="os^"[i], color=COLOURS[i + 1], markeredgecolor=INK)
        left.plot(*array(end), "os^"[i], color=COLOURS[i + 1], markeredgecolor=INK, markersize=8)
        off = round(
            float((end - state["path"][-1]).norm()), 4
        )  # an exact jump ends where the trajectory does
        told.append(f"{name} ends {number(off)} away")
    left.set(title=f"from t = {t:g} to s = {s:g}", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal")
    right.set(title="velocities", xlim=(-2.8, 2.8), ylim=(-2.8, 2.8), aspect="equal")
    right.axhline(0, color=GREY, linewidth=0.6)
    right.axvline(0, color=GREY, linewidth=0.6)
    handles = [line for ax in (left, right) for line in ax.get_legend_handles_labels()[0]]
    fig.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8.5)
    return Picture(
        fig,
        f"One point of the triangle's flow at time {t:g}, its trajectory to time {s:g}, and three jumps. "
        f"Measured from the trajectory's end: {listing(told)}.",
    )


# --- learned solvers --------------------------------------------------------------------------------------


@style()
def level_map(upper, lower, errors, points) -> Picture:
    """RMSE of three calls over the two inner levels of their grid: errors[i][j] at upper[i], lower[j].

    points: label -> (upper, lower), or a path of such pairs (n, 2).
    """
    fig, ax = new_figure(height=4.0)
    levels = (0.14, 0.15, 0.17, 0.2, 0.25, 0.3)
    errors = np.ma.masked_invalid(errors)
    ax.contourf(lower, upper, errors, levels=(0, *levels, 9), cmap="Greys", alpha=0.45, vmin=0.08, vmax=0.4)
    drawn = ax.contour(lower, upper, errors, levels=levels, colors=INK, linewidths=0.8)
    ax.clabel(drawn, fmt="%g", fontsize=8)
    told = []
    for i, (label, place) in enumerate(points.items()):
        path = np.atleast_2d(np.asarray(place))
        look = {"color": COLOURS[i + 1], "markeredgecolor": "white", "markersize": 9}
        ax.plot(path[:, 1], path[:, 0], color=COLOURS[i + 1], linewidth=1.6)
        ax.plot(path[-1, 1], path[-1, 0], MARKERS[i + 1], label=label, **look)
        told.append(f"{label} at {number(path[-1, 0])} and {number(path[-1, 1])}")
    ax.set(xscale="log", yscale="log", xlabel="lower inner level", ylabel="upper inner level")
    ax.set_title("RMSE to the flow's end, three calls")
    ax.set_xticks((0.05, 0.1, 0.2, 0.5, 1), ["0.05", "0.1", "0.2", "0.5", "1"])
    ax.set_yticks((0.5, 1, 2, 4, 8), ["0.5", "1", "2", "4", "8"])
    ax.minorticks_off()
    fig.legend(loc="outside lower center", ncols=4)
    return Picture(
        fig,
        "Contours of the RMSE of three calls over the two inner levels of their grid, one bowl: "
        f"{listing(told)}.",
    )


@style()
def grids_beside(levels) -> Picture:
    """The levels of some grids as ticks on one logarithmic axis each: label -> levels."""
    fig, ax = new_figure(height=0.55 + 0.42 * len(levels))
    told = []
    for i, (label, row) in enumerate(levels.items()):
        look = {"color": COLOURS[i % len(COLOURS)], "markeredgewidth": 2.4, "markersize": 15}
        ax.axhline(-i, color=GREY, linewidth=0.6)
        ax.plot(row, [-i] * len(row), "|", **look)
        told.append(f"{label} {', '.join(number(level) for level in row[1:-1])}")
    ax.set(xscale="log", xlabel=r"level $\kappa$", ylim=(0.6 - len(levels), 0.6))
    ax.invert_xaxis()
    ax.set_yticks([-i for i in range(len(levels))], list(levels))
    ax.grid(axis="y", visible=False)
    return Picture(fig, f"Inner levels of grids between the same two ends: {'; '.join(told)}.")


@style()
def solver_curves(rows) -> Picture:
    """RMSE against calls: method -> {calls: RMSE}."""
    picture = lines(
        {label: (list(row), list(row.values())) for label, row in rows.items()},
        "calls of the network",
        "RMSE to the flow's end",
        logy=True,
        height=3.9,
    )
    ax = picture.axes[0]
    ax.set_xticks(sorted({calls for row in rows.values() for calls in row}))
    ticks = (0.01, 0.02, 0.05, 0.1, 0.2)
    ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
    ax.minorticks_off()
    if ax.get_legend():
        ax.get_legend().remove()
    picture.fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture


@style()
def two_rulers(groups, flow) -> Picture:
    """Fréchet distance against RMSE, a point for each method: group -> list of (RMSE, FD); flow: the flow's
    own distance.
    """
    fig, ax = new_figure(height=3.7)
    told = []
    for i, (label, points) in enumerate(groups.items()):
        x, y = zip(*points)
        ax.plot(x, y, **(mark(i) | {"linestyle": "none"}), label=label, markersize=6)
        told.append(f"{label} {number(min(y))} to {number(max(y))}")
    ax.axhline(flow, color=INK, linewidth=1)
    ax.text(0.99, flow, " the flow itself", transform=ax.get_yaxis_transform(), ha="right", va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="RMSE to the flow's end", ylabel="Fréchet distance")
    ax.set_xticks((0.01, 0.02, 0.05, 0.1, 0.2), ["0.01", "0.02", "0.05", "0.1", "0.2"])
    ax.set_yticks((1.5, 2, 3, 5, 10, 20), ["1.5", "2", "3", "5", "10", "20"])
    ax.minorticks_off()
    fig.legend(loc="outside lower center", ncols=3)
    below = sum(y < flow for points in groups.values() for _, y in points)
    return Picture(
        fig,
        f"Fréchet distance against RMSE of {sum(map(len, groups.values()))} solvers; distances: "
        f"{listing(told)}. The flow itself has {number(flow, 3)}; {below} lie below it.",
    )


def sums(rows) -> Picture:
    """Sums of each step's weights: method -> {step: sum}."""
    told = "; ".join(f"{name} {', '.join(number(v) for v in row.values())}" for name, row in rows.items())
    return bars(
        {step: {name: row[step] for name, row in rows.items()} for step in next(iter(rows.values()))},
        "sum of the weights",
        reference=(1.0, "consistent"),
        fmt="{:.2f}",
        alt=f"Sums of each step's learned weights, where consistency asks for 1: {told}.",
    )


def digits_beside(rows) -> Picture:
    """Digits from the same noises: row -> (n, 1, 8, 8), the flow last."""
    *_, flow = rows.values()
    told = [f"{name} {number(rms(x - flow))}" for name, x in list(rows.items())[:-1]]
    return image_grid(
        rows,
        alt=f"Digits at three calls from the same noises, and the flow's; root mean square distance to it: "
        f"{listing(told)}.",
    )


def two_levels(state) -> Picture:
    """RMSE of three calls on some grids: label -> (upper level, lower level, RMSE)."""
    told = [f"{label} {number(a)} and {number(b)}" for label, (a, b, _) in state.items()]
    errors = [f"{label} {number(error)}" for label, (_, _, error) in state.items()]
    return bars(
        {label: error for label, (_, _, error) in state.items()},
        "RMSE to the flow's end",
        fmt="{:.3f}",
        height=2.6,
        alt=f"RMSE of three calls on three grids: {listing(errors)}; inner levels: {listing(told)}.",
    )


@style()
def carried(rows) -> Picture:
    """RMSE of carried solvers over Karras' grid: problem -> {method: ratio}."""
    told = "; ".join(f"{name} {', '.join(number(v) for v in row.values())}" for name, row in rows.items())
    picture = bars(
        {name.replace("digits ", ""): row for name, row in rows.items()},
        "RMSE / iPNDM on Karras' grid",
        reference=(1.0, "Karras' grid"),
        fmt="{:.2f}",
        alt=f"RMSE of carried solvers over iPNDM's on Karras' grid; the grid, then weights and grid: {told}.",
    )
    ax = picture.axes[0]
    ax.get_legend().remove()
    picture.fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return picture


@style()
def parts_of_a_gain(rows) -> Picture:
    """Factors in RMSE against calls: part -> {calls: factor}."""
    picture = lines(
        {label: (list(row), list(row.values())) for label, row in rows.items()},
        "calls of the network",
        "RMSE without / RMSE with",
        height=3.5,
    )
    ax = picture.axes[0]
    ax.axhline(1, color=INK, linewidth=1)
    ax.set_xticks(sorted({calls for row in rows.values() for calls in row}))
    ax.get_legend().remove()
    picture.fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture
