"""Figures of chapter 7: flow maps and learned solvers."""

import numpy as np

from book.plots import COLOURS, GREY, INK, MARKERS, Picture, lines, listing, mark, new_figure, number, style

# --- flow maps ------------------------------------------------------------------------------------------

# --- learned solvers --------------------------------------------------------------------------------------


@style()
def level_map(upper, lower, errors, points) -> Picture:
    """RMSE of three calls over the two inner levels of their grid: errors[i][j] at upper[i], lower[j]; points:
    label -> (upper, lower), or a path of such pairs (n, 2).
    """
    fig, ax = new_figure(height=4.0)
    levels = (0.12, 0.13, 0.15, 0.18, 0.22, 0.3)
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
