"""Figures of chapter 8: practice."""

import numpy as np

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
    scatter_grid,
    style,
)
from book.problems import rms

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------

MIDDLE = {"ha": "center", "va": "center"}


@style()
def two_terms() -> Picture:
    """A schematic: the score of the data, what the condition adds, and where the second may come from."""
    fig, ax = new_figure(height=2.7)
    box = {"boxstyle": "round,pad=0.45", "edgecolor": INK}
    sources = (
        "a classifier that knows the noise",
        "the network with and without its label",
        "known pixels, put back",
        "known pixels, against the predicted data",
    )
    ax.text(0.16, 0.5, r"$\nabla\log p_t(x)$" + "\nthe model", bbox=box | {"facecolor": "#E8E8E8"}, **MIDDLE)
    ax.text(0.29, 0.5, "+", fontsize=16, **MIDDLE)
    ax.text(
        0.42, 0.5, r"$\nabla\log p_t(y|x)$" + "\nthe condition", bbox=box | {"facecolor": "white"}, **MIDDLE
    )
    for i, source in enumerate(sources):
        y = 0.9 - 0.265 * i
        ax.text(0.64, y, source, va="center", fontsize=9.5)
        look = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2}
        ax.annotate("", (0.52, 0.5 + 0.05 * (1.5 - i)), (0.63, y), arrowprops=look)
    ax.set(xlim=(0.04, 1.1), ylim=(0, 1), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return Picture(
        fig,
        "Two boxes with a plus between: the model's score, and the slope of log p(y|x), which the condition "
        f"adds. Four arrows lead into the second: {listing(sources)}.",
    )


@style()
def classifiers(panels) -> Picture:
    """The chance of a class against the state, a panel for each level: level -> label -> (x, chance)."""
    fig, axes = new_figure(1, len(panels), height=3.0, sharey=True)
    told = []
    for ax, (level, curves) in zip(axes, panels.items()):
        for i, (label, (x, chance)) in enumerate(curves.items()):
            ax.plot(x, chance, label=label, **mark(i, points=False))
            told.append(f"{label} {number(np.interp(0.5, x, chance))}")
        ax.set(title=rf"level $\kappa$ = {level:g}", xlabel=r"$x_t/\alpha_t$")
    axes[0].set(ylabel="chance of the right class")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    first = len(told) // len(panels)
    return Picture(
        fig,
        f"The chance that a classifier gives the right class against the state, levels {listing(panels)}. "
        f"At x = 0.5, lowest level: {listing(told[:first])}; highest: {listing(told[-first:])}.",
    )


@style()
def guided_beside_tilted(panels) -> Picture:
    """Densities of guided samples and the tilted density, a panel a scale: scale -> label -> (x, p)."""
    fig, axes = new_figure(1, len(panels), height=3.1, sharey=True)
    told = []
    for ax, (scale, curves) in zip(axes, panels.items()):
        _densities(ax, curves)
        tops = [f"{label} {number(x[np.argmax(p)])}" for label, (x, p) in curves.items()]
        told.append(f"w = {scale:g}: {listing(tops)}")
        ax.set(title=f"$w$ = {scale:g}", xlabel="$x$", xlim=(-1, 3))
    axes[0].set_ylim(0, 1.05 * max(p.max() for curves in panels.values() for _, p in curves.values()))
    axes[0].set(ylabel="density")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Picture(
        fig, f"Three densities for each scale of guidance; where each is highest: {'; '.join(told)}."
    )


def _densities(ax, curves):
    """Curves of densities, the first one filled."""
    for i, (label, (x, p)) in enumerate(curves.items()):
        if not i:
            ax.fill_between(x, p, color="#DDDDDD", linewidth=0)
        ax.plot(x, p, label=label, **mark(i, points=False))


@style()
def between(state) -> Picture:
    """For the widget: the density of guided samples beside the tilted one, and on which levels guidance acts.

    state: what `experiments.between_state` returns.
    """
    fig, (left, right) = new_figure(1, 2, height=3.3, width_ratios=(2.4, 1))
    _densities(left, state["curves"])
    left.set(title=f"$w$ = {state['scale']:g}", xlabel="$x$", ylabel="density", xlim=(-1, 4), ylim=(0, 2.2))
    left.legend(fontsize=8.5)
    low, high = state["levels"]
    top = 20.0
    right.axhspan(max(low, 0.02), max(min(high, top), 0.02), facecolor="#CCCCCC", edgecolor=GREY)
    right.set(title="guidance acts here", ylabel=r"level $\kappa$", yscale="log", ylim=(0.02, top), xticks=[])
    right.set_yticks((0.02, 0.1, 0.5, 2, 20), ["0.02", "0.1", "0.5", "2", "20"])
    right.minorticks_off()
    moments = [f"{label} mean {m:.2f} deviation {d:.2f}" for label, (m, d) in state["moments"].items()]
    return Picture(
        fig,
        f"Guidance at scale {state['scale']:g} on levels from {low:g} to {high:g}, {state['calls']} calls: "
        f"{listing(moments)}.",
    )


@style()
def scale_curves(curves, floor) -> Picture:
    """Fréchet distance against the scale: label -> (scales, lists of the seeds'); floor: of real digits."""
    fig, ax = new_figure(height=3.7)
    told = []
    for i, (label, (scales, seeds)) in enumerate(curves.items()):
        y = np.array(seeds)
        ax.plot(scales, y.mean(1), label=label, **mark(i))
        ax.vlines(scales, y.min(1), y.max(1), color=COLOURS[i], linewidth=3, alpha=0.4)
        told.append(f"{label} {', '.join(number(v) for v in y.mean(1))}")
    ax.axhline(floor, color=INK, linestyle="--", linewidth=1)
    ax.text(0.99, floor, "real digits", transform=ax.get_yaxis_transform(), ha="right", va="bottom")
    ax.set(xlabel="scale $w$", ylabel="Fréchet distance", yscale="log")
    ticks = [v for v in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if ax.get_ylim()[0] < v < ax.get_ylim()[1]]
    ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
    ax.minorticks_off()
    fig.legend(loc="outside lower center", ncols=4)
    return Picture(
        fig,
        f"Fréchet distance of 1,000 digits against the scale of guidance, means of eight seeds: "
        f"{'; '.join(told)}. Real digits have {number(floor)}.",
    )


@style()
def filled(samples, exact) -> Picture:
    """The unknown pixel on two peaks, a histogram for each way, and the exact posterior: label -> (n,), and
    (where, density)."""
    fig, axes = new_figure(1, len(samples), height=2.8, sharey=True)
    told = []
    for ax, (label, x) in zip(axes, samples.items()):
        ax.hist(
            x, bins=np.linspace(-2.2, 2.2, 45), density=True, color="#C8C8C8", edgecolor=GREY, linewidth=0.4
        )
        ax.plot(*exact, color=INK, linewidth=2)
        ax.set(title=label, xlabel="the unknown pixel")
        told.append(f"{label} {np.mean(x > 0):.0%}")
    axes[0].set(ylabel="density")
    where, p = exact
    share = p[where > 0].sum() / p.sum()
    return Picture(
        fig,
        f"Histograms of the unknown pixel, with the exact posterior as a line, which has {share:.0%} on the "
        f"upper peak. Share there: {listing(told)}.",
    )


def half_digits(rows) -> Picture:
    """Digits of which the upper half is known: row -> (n, 1, 28, 28), the digit first."""
    off = {
        name: np.sqrt(np.mean((array(x) - array(rows["digit"]))[:, :, 14:] ** 2))
        for name, x in rows.items()
        if name not in ("digit", "known")
    }
    told = [f"{name} {number(v)}" for name, v in off.items()]
    return image_grid(
        rows,
        alt=f"{len(rows['digit'])} digits, their upper half, and {len(off)} ways to fill in the lower one. "
        f"Root mean square distance of the lower halves from the digits' own: {listing(told)}.",
    )


def region_digits(rows) -> Picture:
    """Digits redrawn with noise of another level in each half: row -> (n, 1, 28, 28), the digit first."""
    told = []
    for name, x in list(rows.items())[1:]:
        off = (array(x) - array(rows["digit"])) ** 2
        upper, lower = (np.sqrt(np.mean(off[:, :, half])) for half in (slice(14), slice(14, None)))
        told.append(f"{name}: {number(upper)} and {number(lower)}")
    return image_grid(
        rows,
        alt="Digits, and the same drawn again with noise of the levels named in the upper and lower half. "
        f"Root mean square change of the halves: {listing(told)}.",
    )


def text_clouds(clouds, shares) -> Picture:
    """Points that a network makes of texts: text -> [all places, points]; shares: text -> the share in a
    place that the text allows."""
    told = [f"{text} {share:.0%}" for text, share in shares.items()]
    return scatter_grid(
        clouds,
        cols=3,
        limit=2.2,
        alt=f"Points made of texts, over all sixteen places in grey. Share in a place that the text allows: "
        f"{listing(told)}.",
    )


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


# --- the contest ----------------------------------------------------------------------------------------


@style()
def contest_lines(found) -> Picture:
    """Fréchet distance against calls, a curve for each baseline, and the floor of perfect samples.

    found: what `experiments.contest_curves` returns.
    """
    fig, ax = new_figure(height=4.2)
    told = []
    for i, (name, (calls, means)) in enumerate(found["curves"].items()):
        apart = {"color": GREY, "linewidth": 3} if "no network" in name else mark(i)
        ax.plot(calls, means, label=name, **apart)
        ends = [number(mean) for mean in array(means) if mean == mean]
        told.append(f"{name} {', '.join(ends)}")
    ax.axhline(found["floor"], color=GREY, linewidth=1.2)
    ax.annotate(
        "perfect samples", (1, found["floor"]), (2, 4), textcoords="offset points", color=INK, fontsize=9
    )
    ax.set(xscale="log", yscale="log", xlabel="calls a sample", ylabel="Fréchet distance, n = 2000")
    ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    alt = f"Fréchet distance against 1, 2, 4 and 8 calls, both on logarithmic axes: {listing(told, 12)}."
    return Picture(fig, f"{alt} Perfect samples would have {number(found['floor'])}.")


def contest_samples(rows) -> Picture:
    """What entries draw at one call, a digit a column: row -> (10, 1, 8, 8)."""
    told = [f"{name} {number(array(x).std())}" for name, x in rows.items()]
    alt = (
        f"The digits 0 to 9 as entries draw them from one noise; deviation of their pixels: {listing(told)}."
    )
    return image_grid(rows, alt=alt)


def contest_forgeries(rows) -> Picture:
    """A stored digit of each class and what is made of it: row, with its ratio r, -> (10, 1, 8, 8)."""
    first, *others = rows
    far = [f"{name} {number(rms(rows[name] - rows[first]))}" for name in others]
    alt = f"The digits 0 to 9, {first}, and what is made of them; root mean square change: {listing(far)}."
    return image_grid(rows, alt=alt)


def contest_forger(found) -> Picture:
    """What `experiments.contest_forger` returns: three rows of digits, with r above each column."""
    rows = {name: found[name] for name in ("stored", "changed", "nearest digit")}
    ratios = [f"{r:.2f}" for r in found["r"]]
    told = "Ten digits as they are stored, changed, and the nearest digit of the data"
    alt = f"{told}; ratios r: {listing(ratios, 10)}."
    return image_grid(rows, column_labels=ratios, title="r of each changed digit", alt=alt)
