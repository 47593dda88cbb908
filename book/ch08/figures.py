"""Figures of chapter 8: practice."""

import statistics

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
    scatter_grid,
    style,
)
from book.problems import rms

# --- choosing a sampler ---------------------------------------------------------------------------------


def _families(ax, families, front):
    """Points of each family, and the stepped frontier, numbered where it turns; the limits of ax are set.

    families: name -> [(sampler, calls, x, y)].  front: [(sampler, calls, x, y)], x rising."""
    for i, (family, points) in enumerate(families.items()):
        x, y = ([point[k] for point in points] for k in (2, 3))
        look = {"color": COLOURS[(i + 1) % 6], "marker": MARKERS[i], "markersize": 5, "alpha": 0.75}
        ax.plot(x, y, linestyle="none", label=family, markeredgecolor=INK, markeredgewidth=0.4, **look)
    ax.step([p[2] for p in front], [p[3] for p in front], where="post", color=INK, linewidth=1.1, zorder=1)
    for first, last, x, y in _close_together(ax, front):
        text = str(first) if first == last else f"{first}–{last}"
        ax.annotate(text, (x, y), (-3, -13), textcoords="offset points", fontsize=8.5, weight="bold")


def _close_together(ax, front, points=10):
    """The numbers of the front with one label for those whose labels would overlap: [(first, last, x, y)]."""
    found, scale = [], 72 / ax.figure.dpi
    for i, (_, _, x, y) in enumerate(front, 1):
        here = scale * ax.transData.transform((x, y))
        if found and np.abs(here - found[-1][1]).max() < points:
            found[-1][0][1:] = [i, x, y]
        else:
            found.append(([i, i, x, y], here))
    return [group for group, _ in found]


def _numbered(front):
    return listing([f"{i} {name} ({calls})" for i, (name, calls, *_) in enumerate(front, 1)], 20)


def _floor(ax, value):
    ax.axhline(value, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
    ax.annotate("fresh real digits", (1, value), (-4, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", fontsize=8, color=GREY)  # fmt: skip


@style()
def pareto(panels, fronts, floor) -> Picture:
    """Distance against calls, a panel with and one without labels: what `experiments.pareto` returns."""
    fig, axes = new_figure(1, 2, height=4.6, sharey=True)
    told = []
    for ax, (kind, families) in zip(axes, panels.items()):
        spread = {f: [(name, n, n, y) for name, n, y in points] for f, points in families.items()}
        front = [(name, n, n, y) for name, n, y in fronts[kind]]
        ax.set(xscale="log", yscale="log", xlim=(0.8, 90), ylim=(0.06, 40), xlabel="calls a digit")
        ax.set(title={"no label": "without labels", "label": "with labels"}[kind])
        _families(ax, spread, front)
        _floor(ax, floor)
        rows = "\n".join(f"{i} {name} ({calls})" for i, (name, calls, *_) in enumerate(front, 1))
        ax.annotate(rows, (0.98, 0.98), xycoords="axes fraction", ha="right", va="top", fontsize=8.5,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
        told.append(
            f"{'without' if kind == 'no label' else 'with'} labels the frontier is {_numbered(front)}"
        )
    axes[0].set(ylabel="Fréchet distance")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return Picture(
        fig,
        f"Fréchet distance of 2,000 digits against calls, all samplers of the book, calls in brackets; "
        f"{'; '.join(told)}. Fresh real digits have {number(floor)}.",
    )


@style()
def bill(families, front, floor, n) -> Picture:
    """Distance against seconds a digit with the training shared by n digits, laid out by hand: it is redrawn
    at each move of a slider."""
    fig, ax = new_figure(height=4.2)
    fig.set_layout_engine("none")
    ax.set_position((0.1, 0.13, 0.66, 0.79))
    ax.set(xscale="log", yscale="log", xlim=(5e-6, 4), ylim=(0.06, 60), title=f"{n:,} digits")
    ax.set(xlabel="seconds a digit, its share of the training included", ylabel="Fréchet distance")
    _families(ax, families, front)
    ax.minorticks_off()
    _floor(ax, floor)
    rows = "\n".join(f"{i} {name} ({calls})" for i, (name, calls, *_) in enumerate(front, 1))
    ax.annotate(rows, (1.02, 0.97), xycoords="axes fraction", va="top", fontsize=8)
    ax.legend(loc="lower left", bbox_to_anchor=(1.0, -0.03), fontsize=8, handletextpad=0)
    return Picture(
        fig,
        f"Fréchet distance against seconds a digit when {n:,} are drawn and training is shared among them. "
        f"The frontier, from the cheapest: {_numbered(front)}.",
    )


@style()
def rho_curves(curves) -> Picture:
    """RMSE over the best of each curve, by rho, a panel for each data set: what `experiments.rho_curves`
    returns."""
    fig, axes = new_figure(1, len(curves), height=3.4, sharey=True)
    told = []
    for ax, (data, by) in zip(axes, curves.items()):
        for i, (name, (rho, excess)) in enumerate(by.items()):
            ax.plot(rho, excess, label=name, **mark(i))
        ax.axvline(7, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        ax.set(title=data, xscale="log", yscale="log", xlabel="rho", ylim=(0.9, 12))
        ax.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
        ax.set_xticks([1, 3, 7, 20, 50], ["1", "3", "7", "20", "50"])
        ax.minorticks_off()
        best = [f"{name} at {rho[int(np.argmin(excess))]:g}" for name, (rho, excess) in by.items()]
        told.append(f"on {data} the least is that of {listing(best)}")
    axes[0].set(ylabel="RMSE over the curve's least")
    axes[0].legend(fontsize=8.5)
    return Picture(fig, f"Error at ten calls against rho, each curve over its own least: {'; '.join(told)}.")


@style()
def ends(found) -> Picture:
    """Distance by the SNR at which sampling starts (left) and stops (right), a row for each data set."""
    fig, axes = new_figure(len(found), 2, height=4.8, sharey="row")
    told = []
    for row, (data, by) in zip(axes, found.items()):
        sides = (
            ("start from noise", "start with mean and covariance"),
            ("stop", "stop, then jump"),
        )
        for ax, names in zip(row, sides):
            for i, name in enumerate(names):
                keys = list(by[name])
                means = [statistics.mean(v) for v in by[name].values()]
                half = [(max(v) - min(v)) / 2 for v in by[name].values()]
                ax.errorbar(np.arange(len(keys)) + 0.1 * i, means, half, label=name, capsize=2, **mark(i))
                told.append(f"{data}, {name}: {number(means[0])} to {number(means[-1])}")
            look = {"color": GREY, "linewidth": 1, "linestyle": (0, (2, 2)), "label": "fresh data"}
            ax.axhline(statistics.mean(by["floor"]), **look)
            ax.set_xticks(range(len(keys)), ["all"] + [f"{float(key):g}" for key in keys[1:]])
            ax.set(title=data, yscale="log", ylim=(0.011, 0.25))
            ax.set_yticks([0.02, 0.05, 0.1], ["0.02", "0.05", "0.1"])
            ax.minorticks_off()
            ax.legend(fontsize=8.5, loc="upper left")
        row[0].set(ylabel="sliced Wasserstein")
    for ax, side in zip(axes[-1], ("starts", "stops")):
        ax.set(xlabel=f"SNR where sampling {side}")
    return Picture(
        fig,
        "Sliced Wasserstein distance at ten calls against the signal-to-noise ratio at which sampling starts "
        f"or stops, from the whole way to the shortest: {'; '.join(told)}. The dashed line is fresh data; "
        "bars have half the range of eight seeds on each side.",
    )


def missed_by_each_step(curves) -> Picture:
    """By how much each step gets the variance wrong: dict label -> (steps, %)."""
    return lines(curves, "step of 24, from noise to data", "variance missed, %", height=2.8)


@style()
def relays(points, deviation) -> Picture:
    """How wide the modes come out, and the sliced distance, of each composition, ten seeds each: what
    `experiments.relay_points` returns."""
    fig, (left, right) = new_figure(1, 2, height=4.7, sharey=True)
    told = []
    for i, (name, (median, whole, sliced)) in enumerate(points.items()):
        for ax, values, look in (
            (left, whole, {"marker": "o", "markerfacecolor": "white", "color": COLOURS[1]}),
            (left, median, {"marker": "D", "color": COLOURS[2]}),
            (right, sliced, {"marker": "s", "color": INK}),
        ):
            ax.plot(values, [i] * len(values), "|", color=GREY, markersize=8, zorder=1)
            ax.plot(statistics.mean(values), i, markersize=6, **look)
        told.append(f"{name} {number(statistics.mean(median))}")
    left.plot([], [], "D", color=COLOURS[2], label="by the median")
    left.plot([], [], "o", color=COLOURS[1], markerfacecolor="white", label="root mean square")
    left.axvline(deviation, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    left.set_yticks(range(len(points)), ["fresh data" if name == "floor" else name for name in points])
    left.invert_yaxis()
    left.set(xlabel="deviation of a mode (dashed: true)")
    right.set(xlabel="sliced Wasserstein distance")
    handles, labels = left.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2)
    return Picture(
        fig,
        f"24 calls on the ring, ten seeds each. Mode deviation by the median, true {number(deviation)}: "
        f"{listing(told, 20)}. Sliced Wasserstein distances overlap with that of fresh data.",
    )


@style()
def where_steps_go(found) -> Picture:
    """Left: the ends on the two moons, darker and larger where a sample took more calls.  Right: its true
    error at ten calls against its difficulty."""
    fig, (left, right) = new_figure(1, 2, height=3.4)
    calls, x = found["calls"], found["ends"]
    low, high = calls.min(), calls.max()
    shade = (calls - low) / max(high - low, 1)
    spots = left.scatter(*x.T, c=calls, cmap="Greys", s=8 + 30 * shade, vmin=low - 1.5, vmax=high,
                         edgecolors=INK, linewidths=0.3)  # fmt: skip
    fig.colorbar(spots, ax=left, label="calls", ticks=range(low, high + 1))
    left.set(title="calls that each sample took", xticks=[], yticks=[], aspect="equal")
    rank = lambda values: values.argsort().argsort()  # noqa: E731
    agree = np.corrcoef(rank(found["difficulty"]), rank(found["fixed"]))[0, 1]
    right.loglog(found["difficulty"], found["fixed"], "o", color=COLOURS[2], markersize=3)
    right.set(title="does it tell?", xlabel="difficulty, ten calls", ylabel="true error of 2M")
    return Picture(
        fig,
        f"Samples of the two moons take from {low} to {high} calls, {number(calls.mean())} on average. "
        f"Right: true error against difficulty, a wide cloud with rank correlation {number(agree)} and "
        f"errors from {number(found['fixed'].min())} to {number(found['fixed'].max())}.",
    )


@style()
def adaptive(curves) -> Picture:
    """Error against mean calls, a panel for each data set: what `experiments.adaptive_curves` returns."""
    fig, axes = new_figure(2, 2, height=5.6)
    told = []
    for ax, (data, by) in zip(axes.flat, curves.items()):
        for i, (name, (calls, errors)) in enumerate(by.items()):
            ax.plot(calls, errors, label=name, **mark(i))
        ax.set(title=data, xscale="log", yscale="log")
        ax.set_xticks([6, 10, 15, 25], ["6", "10", "15", "25"])
        ax.minorticks_off()
        low, high = ax.get_ylim()
        shown = [v for v in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4) if low < v < high]
        ax.set_yticks(shown, [f"{v:g}" for v in shown])
        told.append(
            f"{data}, most calls: " + listing([f"{name} {number(e[-1])}" for name, (_, e) in by.items()], 8)
        )
    for ax in axes[1]:
        ax.set(xlabel="mean calls a sample")
    for ax in axes[:, 0]:
        ax.set(ylabel="RMS error")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return Picture(fig, f"Error to the exact end against mean calls. {'; '.join(told)}.")


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
        ax.annotate("", (0.495, 0.5 + 0.05 * (1.5 - i)), (0.63, y), arrowprops=look)
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
    titled = {f"{text}: {shares[text]:.0%}" if text in shares else text: x for text, x in clouds.items()}
    return scatter_grid(
        titled,
        cols=3,
        limit=2.2,
        alt=f"Points made of texts, over all sixteen places in grey. Share in a place that the text allows: "
        f"{listing(told)}.",
    )


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


def previews_refined(rows) -> Picture:
    """Previews, and what the large network makes of them from several levels: dict label -> (n, 1, h, w)."""
    enlarged = array(rows["enlarged"])
    told = [
        f"{name} {number(rms(array(images) - enlarged))}" for name, images in rows.items() if "from" in name
    ]
    return image_grid(
        rows,
        alt=f"{len(enlarged)} digits in columns; rows: {listing(rows, 8)}. RMS distance from the "
        f"enlarged preview: {listing(told, 8)}.",
    )


def one_level(enlarged, state, digits, distance) -> Picture:
    """For the widget: enlarged previews, the noisy state, the refined digits (n, 1, 28, 28), and how far
    these are from the previews once they are small again."""
    rows = {"enlarged": enlarged, "with noise": state, "refined": digits}
    return image_grid(
        rows,
        noisy=[False, True, False],
        title=f"made small again, {distance:.2f} from the preview",
        alt=f"{len(enlarged)} previews enlarged, with noise, and what the large network makes of them; "
        f"made small again these are {number(distance)} from the previews.",
    )


@style()
def hidden_detail(spectra, levels=(0.35, 1.4, 5.6)) -> Picture:
    """The power of digits at each frequency, of what enlarging has not got, and of noise: label -> (m,)."""
    fig, ax = new_figure(height=3.4)
    told = []
    for i, (name, power) in enumerate(spectra.items()):
        ax.plot(np.arange(1, len(power)), power[1:], label=name, **mark(i))
        told.append(f"{name} has at most {number(power[1:].max())}")
    for level in levels:
        ax.axhline(level**2, color=GREY, linestyle=":", linewidth=1.2)
        ax.annotate(f"noise of level {level:g}", (len(power) - 1, level**2), (0, 3), fontsize=8.5,
                    textcoords="offset points", ha="right", color=INK)  # fmt: skip
    ax.set(yscale="log", xlabel="frequency, waves across the picture", ylabel="power")
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.94))
    return Picture(
        fig,
        f"Power against frequency, from 1 to {len(power) - 1} waves: {listing(told)}. Noise of level "
        f"{listing([f'{level:g}' for level in levels])} is flat at "
        f"{listing([number(level**2) for level in levels])}.",
    )


@style()
def refined(curves, others) -> Picture:
    """Distance against the level of refinement.  curves: label -> (levels, means, standard errors); others:
    label -> distance, as lines across."""
    fig, ax = new_figure(height=3.7)
    told = []
    for i, (name, (levels, means, errors)) in enumerate(curves.items()):
        ax.errorbar(levels, means, 2 * np.array(errors), label=name, capsize=3, **mark(i))
        best = int(np.argmin(means))
        told.append(
            f"{name} {number(means[0])} from {levels[0]:g}, least {number(means[best])} from {levels[best]:g}"
        )
    for (name, value), look in zip(others.items(), (":", "-.", "--", "-")):
        ax.axhline(value, color=GREY, linestyle=look, linewidth=1.3, label=name)
    ax.set(xscale="log", yscale="log", xlabel="level where the large network takes over", ylabel="distance")
    every = sorted({level for levels, _, _ in curves.values() for level in levels})
    ax.set_xticks(every, [f"{level:g}" for level in every])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    lines_told = [f"{name} {number(value)}" for name, value in others.items()]
    return Picture(
        fig, f"Distance of refined previews by level; {'; '.join(told)}. Beside them {listing(lines_told)}."
    )


def floors(values, real) -> Picture:
    """Bars of distances of reconstructions and samples by latents; real: that of real digits, a line."""
    picture = bars(values, "distance", fmt="{:.2g}", reference=(real, "real digits"), height=3.6)
    (ax,) = picture.axes
    ax.set_ylim(0, 1.35 * max(max(row.values()) for row in values.values()))
    ax.legend(ncols=4, loc="upper center", fontsize=8.5)
    return picture


def bits(errors) -> Picture:
    """Errors of half precision against the number of steps: label -> (steps, errors)."""
    picture = lines(errors, "steps", "RMSE to the exact arithmetic", logx=True, logy=True, height=4.0)
    (ax,) = picture.axes
    steps = next(iter(errors.values()))[0]
    ax.set_xticks(steps, [str(n) for n in steps])
    ax.minorticks_off()
    ax.set_ylim(top=2)
    ax.legend(ncols=3, loc="upper center", fontsize=8.5)
    return picture


@style()
def topics(papers) -> Picture:
    """A timeline of open topics.  papers: dict topic -> list of (year, name)."""
    fig, ax = new_figure(height=0.62 * len(papers) + 0.7)
    years = [year for found in papers.values() for year, _ in found]
    for i, found in enumerate(papers.values()):
        ax.plot([min(y for y, _ in found), max(y for y, _ in found)], [i, i], color=GREY, linewidth=1)
        for j, (year, name) in enumerate(found):
            ax.plot(year, i, MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], markeredgecolor=INK)
            up = j % 2 == 0
            ax.annotate(name, (year, i), (0, 6 if up else -6), textcoords="offset points", fontsize=8,
                        ha="center", va="bottom" if up else "top")  # fmt: skip
    ax.set_yticks(range(len(papers)), list(papers))
    ax.set_xticks(range(min(years), max(years) + 1))
    ax.set_xlim(min(years) - 0.6, max(years) + 0.9)
    ax.set_ylim(len(papers) - 0.4, -0.6)
    ax.grid(False, axis="y")
    told = [
        f"{topic}: {listing([f'{name} {year}' for year, name in found], 6)}"
        for topic, found in papers.items()
    ]
    return Picture(fig, f"A timeline of papers by topic. {'; '.join(told)}.")


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
