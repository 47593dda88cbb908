"""Figures of the book: one style, one wrapper that carries alt text, and the figures that chapters share.

Every figure function returns a :class:`Picture`: a matplotlib figure together with one or two sentences that
say what is to be seen in it, worked out from the data. No function uses pyplot, so nothing here touches
global state, and none imports a sampler: what is drawn comes in as arrays.

To add a figure, decorate the function with ``@style()``, ask :func:`new_figure` for axes, draw, and return
``Picture(fig, alt)``::

    @style()
    def residuals(x, y):
        fig, ax = new_figure(height=2.6)
        ax.plot(x, y, **mark(0))
        return Picture(fig, f"Residuals against x: the largest is {number(abs(y).max())}.")
"""

import base64
import io
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager

import matplotlib
import matplotlib.patches
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from toolkit.convergence import slope

WIDTH = 7.2  # inches: the text column of a notebook at 100 dots an inch
DPI = 100

# Okabe & Ito (2008), "Color Universal Design"; black first, the pale yellow left out. All differ with each
# kind of colour blindness; in grey red, green and pink are as good as one, and so are orange and sky blue. So
# every series also has its own dash pattern and marker, and nothing is told by its colour alone.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = (
    "-",
    (0, (6, 2)),
    (0, (6, 2, 1, 2)),
    (0, (1.5, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (10, 3)),
    (0, (4, 4)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")
INK = "#222222"
GREY = "#767676"

STYLE = {
    "font.family": "DejaVu Sans",  # in matplotlib's own wheel: the same letters on every machine
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.06,
    "savefig.facecolor": "white",
    "text.usetex": False,
    "mathtext.fontset": "dejavusans",
}

FILLERS = (
    "",
    "image",
    "figure",
    "plot",
    "picture",
    "chart",
    "graph",
    "alt",
    "todo",
    "no description has been provided",
)


def style() -> AbstractContextManager:
    """The book's look as a context manager, and so also as a decorator: ``with style():`` or ``@style()``."""
    return matplotlib.rc_context(STYLE)


def is_filler(alt) -> bool:
    """True for alt text that tells a reader nothing: empty, one stock word, or under five words."""
    text = " ".join(str(alt or "").lower().split()).strip(" .!")
    return text in FILLERS or text.startswith(FILLERS[-1]) or len(text.split()) < 5


class Picture:
    """A matplotlib figure and the sentence or two that stand for it when it cannot be seen.

    ``Picture(fig, alt)``; ``.fig``, ``.axes`` (list), ``.alt``, ``.png`` (bytes). In a notebook it shows
    itself as image/png with the alt text in the output's metadata, and as the alt text where only text can be
    shown. Raises ValueError when ``fig`` is not a Figure or ``alt`` says nothing.
    """

    def __init__(self, fig: Figure, alt: str):
        if not isinstance(fig, Figure):
            raise ValueError(
                f"fig must be a matplotlib Figure, got {type(fig).__name__}: make one with new_figure()"
            )
        if is_filler(alt):
            raise ValueError(
                f"alt must say in a sentence what the figure shows (five words or more), got {alt!r}"
            )
        self.fig = fig
        self.alt = " ".join(alt.split())
        self._png = None

    @property
    def axes(self) -> list:
        return self.fig.axes

    @property
    def png(self) -> bytes:
        """The figure as PNG bytes, the same on every run with one matplotlib. Drawn once, then kept."""
        if self._png is None:
            buffer = io.BytesIO()
            with style():  # ticks are made while drawing, and read the style then
                self.fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
            self._png = _smaller(buffer.getvalue())
        return self._png

    def save(self, path) -> None:
        """Write the PNG to ``path``."""
        with open(path, "wb") as file:
            file.write(self.png)

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}

    def __repr__(self):
        return self.alt


def _smaller(png):
    """The same picture in 256 colours where that makes the file smaller: the eye does not tell."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "png", optimize=True
    )
    return min(png, buffer.getvalue(), key=len)


# --- helpers for figure functions -----------------------------------------------------------------------


def new_figure(rows: int = 1, cols: int = 1, height=3.2, width=WIDTH, **subplots) -> tuple:
    """``(fig, axes)`` like pyplot's ``subplots``, without pyplot; ``height`` and ``width`` in inches."""
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, cols, **subplots)


def mark(i: int, points: bool = True) -> dict:
    """Colour, dash pattern and (with ``points``) marker of the i-th series, as keywords of ``ax.plot``."""
    look = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
    return look | {"marker": MARKERS[i % len(MARKERS)]} if points else look


def array(x) -> np.ndarray:
    """A numpy array from a tensor on any device, an array or a list."""
    return np.asarray(x.detach().cpu().numpy() if hasattr(x, "detach") else x)


def number(x, digits: int = 2) -> str:
    """A short form of a number for alt text: 3, 0.25, 1.2e-05."""
    x = float(x)
    if not math.isfinite(x):
        return "no finite value"
    if x == 0 or 1e-3 <= abs(x) < 1e5:
        text = f"{x:.{max(0, digits - 1 - math.floor(math.log10(abs(x))))}f}" if x else "0"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    return f"{x:.{digits - 1}e}".replace("-", "−")


def listing(words, limit: int = 6) -> str:
    """'a, b and c'; more than ``limit`` words end in 'and n more'."""
    words = [str(word) for word in words]
    if len(words) > limit:
        words = words[: limit - 1] + [f"{len(words) - limit + 1} more"]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def plain(label) -> str:
    """A label without TeX marks, for alt text."""
    text = str(label).replace("$", "").replace("\\", "").replace("{", "").replace("}", "").replace("\n", " ")
    return " ".join(text.split())


def _trend(x, y):
    """'falls from 2 to 0.1' and the like, for alt text; names a turning point that lies outside both ends."""
    keep = np.isfinite(x) & np.isfinite(y)
    if not keep.any():
        return "has no finite value"
    x, y = x[keep], y[keep]
    first, last, low, high = y[0], y[-1], y.min(), y.max()
    span = high - low
    if span <= 1e-12 + 0.02 * abs(high):
        return f"stays at {number(first)}"
    if low < min(first, last) - 0.1 * span:
        turn = f"{number(low)} at {number(x[y.argmin()])}"
        return f"falls from {number(first)} to {turn}, then ends at {number(last)}"
    if high > max(first, last) + 0.1 * span:
        turn = f"{number(high)} at {number(x[y.argmax()])}"
        return f"rises from {number(first)} to {turn}, then ends at {number(last)}"
    return f"{'rises' if last > first else 'falls'} from {number(first)} to {number(last)}"


def _xy(value):
    """``(x, y)`` from a pair or from y alone, whose x is then 0, 1, 2, ..."""
    if isinstance(value, tuple) and len(value) == 2:
        x, y = array(value[0]).astype(float), array(value[1]).astype(float)
    else:
        y = array(value).astype(float)
        x = np.arange(len(y), dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"a series is (x, y) with two equal 1-D lengths, got shapes {x.shape} and {y.shape}"
        )
    return x, y


def _named(value, what):
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{what} must be a non-empty dict from label to data, got {type(value).__name__}")
    return value


def _legend(ax, count, loc="best"):
    """A legend inside for a few series, beside the axes for many."""
    ax.legend(**({"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if count > 5 else {"loc": loc}))


# --- curves ---------------------------------------------------------------------------------------------


@style()
def lines(
    series, xlabel="", ylabel="", title="", logx=False, logy=False, points=None, height=3.2, alt=None
) -> Picture:
    """Curves in one panel.

    series: dict label -> y, or label -> (x, y), 1-D. ``points`` draws markers (default: up to
    25 values a curve).
    alt: replaces the sentence worked out from the data.
    """
    fig, ax = new_figure(height=height)
    told = []
    for i, (label, value) in enumerate(_named(series, "series").items()):
        x, y = _xy(value)
        ax.plot(x, y, label=label, **mark(i, len(x) <= 25 if points is None else points))
        told.append(f"{plain(label)} {_trend(x, y)}")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.set_xscale("log" if logx else "linear")
    ax.set_yscale("log" if logy else "linear")
    if len(series) > 1:
        _legend(ax, len(series))
    words = f"{plain(ylabel) or 'Value'} against {plain(xlabel) or 'index'}"
    words += " (log-log)" if logx and logy else " (log scale)" if logy else ""
    return Picture(fig, alt or f"{plain(title) + ': ' if title else ''}{words}. {'; '.join(told[:7])}.")


def _order(steps, errors):
    """The `slope` of the finer half of a curve, of its last two points at least; None where it has none."""
    tail = slice(min(len(steps) // 2, max(len(steps) - 2, 0)), None)
    steps, errors = steps[tail], errors[tail]
    seen = np.isfinite(errors)
    try:
        return slope(steps[seen], errors[seen])
    except ValueError:  # one point, or all of them at the floor of rounding
        return None


@style()
def loglog_convergence(
    errors, orders=(1, 2), xlabel="steps", ylabel="error", title="", height=3.6, alt=None
) -> Picture:
    """Error against steps on log-log axes: the measured order in the legend, grey lines of the given orders.

    errors: dict label -> (steps, errors). The order is `slope` of the finer half of each curve (at
    least two points).
    """
    fig, ax = new_figure(height=height)
    told, everything = [], []
    for i, (label, value) in enumerate(_named(errors, "errors").items()):
        x, y = _xy(value)
        order = _order(x, y)
        ax.plot(x, y, label=label if order is None else f"{label} (order {order:.1f})", **mark(i))
        falls = "ends" if order is None else f"falls with order {number(order)} to"
        told.append(f"{plain(label)} {falls} {number(y[-1])} at {number(x[-1], 4)} steps")
        everything.append((x, y))
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    low, high = min(x.min() for x, _ in everything), max(x.max() for x, _ in everything)
    top = max(np.nanmax(y) for _, y in everything)
    bottom = min(np.nanmin(y[y > 0]) for _, y in everything if (y > 0).any())
    for order in orders:
        reference = np.array([1.0, (high / low) ** -order])
        ax.plot([low, high], 1.6 * top * reference, color=GREY, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        end = max(1.6 * top * reference[1], 0.6 * bottom)  # where the reference leaves the picture
        ax.annotate(
            f"order {order}",
            (low * (1.6 * top / end) ** (1 / order), end),
            xytext=(4, 1),
            textcoords="offset points",
            color=GREY,
            fontsize=9,
            annotation_clip=False,
        )
    ax.set_ylim(bottom * 0.5, top * 2.5)
    ax.set_xticks(*_tidy_ticks(np.unique(np.concatenate([x for x, _ in everything]))))
    ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    _legend(ax, len(errors), "lower left")
    head = f"{plain(title)}: " if title else ""
    return Picture(
        fig, alt or f"{head}{plain(ylabel)} against {plain(xlabel)}, both on log scales. {'; '.join(told)}."
    )


def _tidy_ticks(values):
    """At most about eight tick positions out of ``values``, and their labels, for a log axis."""
    kept = [values[0]]
    gap = max((values[-1] / values[0]) ** (1 / 9), 1.25)
    for value in values[1:]:
        if value >= kept[-1] * gap:
            kept.append(value)
    return kept, [f"{value:g}" for value in kept]


@style()
def bars(
    values, ylabel="", title="", errors=None, reference=None, fmt="{:.3g}", height=3.0, alt=None
) -> Picture:
    """Bars with their numbers on top.

    values: dict label -> number, or dict group -> {series -> number} for grouped bars. errors: the same
    shape, half the length of the error bar. reference: (number, label), a dashed line across.
    """
    grouped = isinstance(next(iter(_named(values, "values").values())), Mapping)
    names = list(next(iter(values.values()))) if grouped else [None]
    fig, ax = new_figure(height=height)
    width = 0.8 / len(names)
    for j, name in enumerate(names):
        y = [float(values[g][name] if grouped else values[g]) for g in values]
        bad = errors and [float(errors[g][name] if grouped else errors[g]) for g in values]
        at = np.arange(len(values)) + (j - (len(names) - 1) / 2) * width
        pale = matplotlib.colors.to_rgba(COLOURS[(j + 2) % len(COLOURS)], 0.55)
        drawn = ax.bar(
            at,
            y,
            0.92 * width,
            yerr=bad,
            color=pale,
            edgecolor=INK,
            linewidth=0.8,
            hatch=HATCHES[j % 7],
            label=name,
            capsize=3,
        )
        ax.bar_label(drawn, [fmt.format(v) for v in y], padding=2, fontsize=9)
    ax.set_xticks(range(len(values)), list(values))
    ax.grid(False, axis="x")
    ax.margins(y=0.14)
    ax.set(ylabel=ylabel, title=title)
    if reference:
        ax.axhline(reference[0], color=INK, linestyle="--", linewidth=1.2, label=reference[1])
    if len(names) > 1 or reference:
        ax.legend()
    told = [
        f"{plain(g)} {', '.join(f'{plain(n)} {fmt.format(v[n])}' for n in names)}"
        if grouped
        else f"{plain(g)} {fmt.format(v)}"
        for g, v in values.items()
    ]
    told += [f"{plain(reference[1])} {fmt.format(reference[0])} (dashed line)"] if reference else []
    return Picture(fig, alt or f"Bars of {plain(ylabel) or plain(title) or 'values'}: {'; '.join(told)}.")


@style()
def schedule_panels(schedules, points=400, height=2.7, alt=None) -> Picture:
    """Three panels against time: alpha, sigma, and lambda, half the log signal-to-noise ratio.

    schedules: dict label -> schedule with ``alpha(t)``, ``sigma(t)``, ``lam(t)`` on numpy
    arrays; ``start``, ``end``.
    """
    fig, axes = new_figure(1, 3, height=height)
    told = []
    for i, (label, schedule) in enumerate(_named(schedules, "schedules").items()):
        t = np.linspace(float(schedule.end), float(schedule.start), points)
        lam = array(schedule.lam(t))
        for ax, y in zip(axes, (array(schedule.alpha(t)), array(schedule.sigma(t)), lam), strict=True):
            ax.plot(t / t.max(), y, label=label, **mark(i, points=False))
        if axes[1].dataLim.ymax > 2:  # a schedule whose noise grows: the others would lie on the axis
            axes[1].set_yscale("symlog", linthresh=1)
        told.append(f"{plain(label)} half log-SNR {_trend(t, lam)}")
    for ax, name in zip(
        axes,
        (r"$\alpha_t$: signal", r"$\sigma_t$: noise", r"$\lambda_t=\log(\alpha_t/\sigma_t)$"),
        strict=True,
    ):
        ax.set(title=name, xlabel="time / largest time")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(schedules), 4))
    head = "Signal alpha, noise sigma and half log signal-to-noise ratio against time"
    return Picture(fig, alt or f"{head} for {listing(map(plain, schedules))}. {'; '.join(told)}.")


# --- points in the plane --------------------------------------------------------------------------------


@style()
def scatter_grid(clouds, cols=4, limit=None, size=None, title="", alt=None) -> Picture:
    """Point clouds in the plane, one panel each, all on the same scale.

    clouds: dict label -> (n, 2) points, or label -> list of such clouds drawn over each other
    (data first, in grey).
    limit: half the width of the panels (default: holds 99.5 % of all points).
    """
    layers = {
        k: [array(p) for p in (v if isinstance(v, (list, tuple)) else [v])]
        for k, v in _named(clouds, "clouds").items()
    }
    for label, clouds_here in layers.items():
        for points in clouds_here:
            if points.ndim != 2 or points.shape[1] != 2:
                raise ValueError(f"the cloud {label!r} must have shape (n, 2), got {points.shape}")
    limit = limit or 1.1 * float(
        np.quantile(np.abs(np.concatenate([p for v in layers.values() for p in v])), 0.995)
    )
    cols = min(cols, len(layers))
    rows = math.ceil(len(layers) / cols)
    fig, axes = new_figure(
        rows, cols, height=rows * (WIDTH / max(cols, 2) + 0.25), sharex=True, sharey=True, squeeze=False
    )
    told = []
    for ax, (label, here) in zip(axes.flat, layers.items(), strict=False):
        for j, points in enumerate(here):
            colour = "#B5B5B5" if j < len(here) - 1 else COLOURS[2]
            dot = size or float(np.clip(3000 / max(len(points), 1), 1.5, 14))
            ax.scatter(*points.T, s=dot, color=colour, alpha=0.65, linewidths=0, rasterized=True)
        ax.set(title=label, xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        told.append(
            f"{plain(label)} (root mean square radius {number(np.sqrt((here[-1] ** 2).sum(1).mean()))})"
        )
    for ax in axes.flat[len(layers) :]:
        ax.set_axis_off()
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return Picture(fig, alt or f"Point clouds in the plane on one scale: {listing(told, 12)}.")


@style()
def trajectories(
    paths,
    times=None,
    data=None,
    cols=3,
    limit=None,
    xlabel="$t$",
    ylabel="$x$",
    title="",
    height=None,
    alt=None,
) -> Picture:
    """Sampling paths, one panel a label: rings where they start, dots where they end.

    paths: dict label -> (steps+1, n, 2) in the plane, or (steps+1, n) drawn against time.
    times: (steps+1,) or a dict label -> times, needed for the second form; noise is drawn at the left.
    data: (m, 2) or (m,) points of the data, drawn in grey behind (at the end time in the second form).
    """
    paths = {label: array(path).astype(float) for label, path in _named(paths, "paths").items()}
    flat = next(iter(paths.values())).ndim == 2
    cols = min(cols, len(paths))
    rows = math.ceil(len(paths) / cols)
    if height is None:
        height = rows * (2.7 if flat else min(WIDTH / cols, 4.2) + 0.25)
    fig, axes = new_figure(rows, cols, height=height, sharex=not flat, sharey=True, squeeze=False)
    reach = np.concatenate([np.abs(p).ravel() for p in paths.values()])
    limit = limit or 1.05 * float(np.quantile(reach[np.isfinite(reach)], 0.998))
    for i, (ax, (label, path)) in enumerate(zip(axes.flat, paths.items(), strict=False)):
        if flat:
            if times is None:
                raise ValueError("times is needed to draw one-dimensional paths: pass the run's times")
            t = array(times[label] if isinstance(times, Mapping) else times).astype(float)
            _paths_against_time(ax, path, t, data)
            ax.set(xlabel=xlabel, ylabel=ylabel if i % cols == 0 else "", ylim=(-limit, limit))
        else:
            _paths_in_plane(ax, path, data)
            ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ax.set_title(label)
    for ax in axes.flat[len(paths) :]:
        ax.set_axis_off()
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    told = [
        f"{plain(label)} ({p.shape[1]} paths of {p.shape[0] - 1} steps, {number(_bend(p))} times as long as "
        f"the straight line between their ends)"
        for label, p in paths.items()
    ]
    return Picture(fig, alt or f"Sampling paths from noise to data: {'; '.join(told)}.")


def _bend(path):
    """Median over paths of the length travelled over the distance between the ends."""
    path = path[..., None] if path.ndim == 2 else path
    length = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum(0)
    return np.median(length / np.maximum(np.linalg.norm(path[-1] - path[0], axis=-1), 1e-12))


def _paths_in_plane(ax, path, data):
    if data is not None:
        ax.scatter(*array(data).T, s=3, color="#C8C8C8", linewidths=0, zorder=1, rasterized=True)
    for k in range(path.shape[1]):
        look = mark(k % 6 + 1, points=False)
        few = path.shape[0] <= 26
        ax.plot(
            *path[:, k].T,
            color=look["color"],
            linewidth=1.0,
            alpha=0.8,
            marker="." if few else None,
            markersize=3.5,
            zorder=2,
        )
    ax.plot(*path[0].T, "o", markerfacecolor="white", markeredgecolor=INK, markersize=5, zorder=3)
    ax.plot(*path[-1].T, "o", color=INK, markersize=4, zorder=4)


def _paths_against_time(ax, path, t, data):
    for k in range(path.shape[1]):
        few = path.shape[0] <= 26
        ax.plot(
            t,
            path[:, k],
            color=COLOURS[k % 6 + 1],
            linewidth=1.0,
            alpha=0.8,
            marker="." if few else None,
            markersize=3.5,
        )
    if data is not None:
        ax.plot(np.full(len(data), t[-1]), array(data), "_", color=GREY, markersize=8, alpha=0.4)
    ax.plot(
        np.full(path.shape[1], t[0]), path[0], "o", markerfacecolor="white", markeredgecolor=INK, markersize=5
    )
    ax.plot(np.full(path.shape[1], t[-1]), path[-1], "o", color=INK, markersize=4)
    pad = 0.03 * abs(t[0] - t[-1])
    ax.set_xlim(max(t[0], t[-1]) + pad, min(t[0], t[-1]) - pad)


# --- images ---------------------------------------------------------------------------------------------


LARGE = 16  # images with sides from here on are enlarged pixel by pixel, small digits smoothly


def _tile(image, pixels, noisy=False):
    """One image (h, w) or (c, h, w) at (pixels, pixels): 0 paper, 1 ink; a `noisy` state pixel by pixel, with
    greys from -2 to 2, for smoothed and cut off at 1 white noise looks like strokes of a pen."""
    from PIL import Image

    image = np.nan_to_num(np.squeeze(array(image)).astype(np.float32))
    image = image.mean(0) if image.ndim == 3 else image
    smooth = not noisy and max(image.shape) < LARGE
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    grey = np.asarray(Image.fromarray(image / (2 if noisy else 1)).resize((pixels, pixels), how))
    return np.round(np.clip((grey + 1) / 2, 0, 1) * 31) / 31  # 32 greys look the same and halve the file


def _cell(image, pixels):
    """The side of a tile: `pixels`, or for a large image the next multiple of its own side."""
    side = max(array(image).shape[-2:])
    return pixels if side < LARGE else side * math.ceil(pixels / side)


def mosaic(images, pixels: int = 44, gap: int = 2, noisy=False) -> tuple:
    """Rows of images as one array, and the centres of the rows and columns in it.

    images: nested [row][column] of arrays (h, w) or (1, h, w), all of one size; None leaves a hole.
    pixels: side of a tile; for images of 16 x 16 and more the next multiple of their own side.
    noisy: whether they are noisy states, drawn pixel by pixel with greys from -2 to 2, or clean images in
        [-1, 1], enlarged smoothly where they are smaller than 16 x 16; one bool, or one for each row.
    """
    rows, cols = len(images), max(len(row) for row in images)
    pixels = _cell(next(image for row in images for image in row if image is not None), pixels)
    noisy = [noisy] * rows if isinstance(noisy, bool) else noisy
    sheet = np.zeros((rows * (pixels + gap) - gap, cols * (pixels + gap) - gap), dtype=np.float32)
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            if image is not None:
                y, x = i * (pixels + gap), j * (pixels + gap)
                sheet[max(y - gap, 0) : y + pixels + gap, max(x - gap, 0) : x + pixels + gap] = 0.14
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            if image is not None:
                y, x = i * (pixels + gap), j * (pixels + gap)
                sheet[y : y + pixels, x : x + pixels] = _tile(image, pixels, noisy[i])
    centre = np.arange(max(rows, cols)) * (pixels + gap) + (pixels - 1) / 2
    return sheet, centre[:rows], centre[:cols]


@style()
def image_grid(
    images, row_labels=None, column_labels=None, cols=10, title="", pixels=44, noisy=False, alt=None
) -> Picture:
    """Small images in rows, dark ink on white.

    images: (n, 1, h, w) or (n, h, w), cut into rows of ``cols``; or a dict row label -> such a batch, a row
    each. row_labels, column_labels: text at the left and above. pixels, noisy: see :func:`mosaic`.
    """
    if isinstance(images, Mapping):
        row_labels, images = list(images), [list(array(batch)) for batch in images.values()]
    else:
        images = array(images)
        if images.ndim not in (3, 4):
            raise ValueError(f"images must have shape (n, h, w) or (n, 1, h, w), got {images.shape}")
        images = [list(images[i : i + cols]) for i in range(0, len(images), cols)]
    sheet, y, x = mosaic(images, pixels, noisy=noisy)
    room = 0.25 + 0.085 * max(map(len, row_labels)) if row_labels else 0.12  # inches for the labels
    small = max(images[0][0].shape[-2:]) < LARGE
    inner = min(WIDTH - room, sheet.shape[1] / (66 if small else DPI))  # a large image's pixels stay whole
    above = 0.1 + (0.28 if column_labels else 0) + (0.3 if title else 0)
    fig, ax = new_figure(width=inner + room, height=inner * sheet.shape[0] / sheet.shape[1] + above)
    ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.set_xticks(x[: len(column_labels)] if column_labels else [], column_labels or None)
    ax.set_yticks(y[: len(row_labels)] if row_labels else [], row_labels or None)
    if title:
        ax.set_title(title)
    rows = f"rows {listing(map(plain, row_labels), 8)}" if row_labels else f"{sum(map(len, images))} images"
    columns = f"; columns {listing(map(plain, column_labels), 8)}" if column_labels else ""
    return Picture(fig, alt or f"{plain(title) or 'Grid of small grey images'}: {rows}{columns}.")


def from_one_noise(rows) -> Picture:
    """Images of one and the same noise, one noise a column, and how far each row is from the top one: dict
    label -> (n, 8, 8) or (n, 1, 8, 8)."""
    first, *others = rows
    top = array(rows[first])
    told = [f"{label} {number(np.sqrt(np.mean((array(rows[label]) - top) ** 2)))}" for label in others]
    return image_grid(
        rows,
        alt=f"{len(top)} noises in columns; rows: {listing(rows, 9)}. Root mean square distance from the top "
        f"row: {listing(told, 9)}.",
    )


@style()
def journey(
    rows, title="From noise to digits: the same network, fewer and fewer steps", alt=None, width=WIDTH
) -> Picture:
    """The book in one picture: a row for each sampler, its path from noise at left, more results at right.

    rows: dict label -> (path, results): path (frames, 1, h, w), the states of one sample that are to be
    shown, noise first; results (n, 1, h, w), further samples. Short paths are spread over the same width:
    fewer states are fewer steps. All states but the last of a path are drawn as noisy ones, see
    :func:`mosaic`. width: of the figure, in inches.
    """
    rows = {label: (array(path), array(results)) for label, (path, results) in _named(rows, "rows").items()}
    frames = max(len(path) for path, _ in rows.values())
    results = max(len(r) for _, r in rows.values())
    step, start = 1.1, (frames + 0.5) * 1.1
    unit = (width - 1.55) / (start + results * step)  # inches a picture takes; 1.55 for the labels
    fig, ax = new_figure(height=0.75 + unit * step * len(rows), width=width)
    for i, (path, ends) in enumerate(rows.values()):
        at = np.linspace(0, frames - 1, len(path)) if len(path) > 1 else np.array([0.0])
        ax.plot([0.5, (frames - 1) * step + 0.5], [i * step + 0.5] * 2, color=GREY, linewidth=0.8, zorder=1)
        for j, (x, image) in enumerate(
            [*zip(at * step, path), *((start + j * step, e) for j, e in enumerate(ends))]
        ):
            ax.imshow(
                _tile(image, _cell(image, 40), noisy=j < len(path) - 1),
                cmap="gray_r",
                vmin=0,
                vmax=1,
                extent=(x, x + 1, i * step + 1, i * step),
                interpolation="nearest",
                zorder=2,
            )
            ax.add_patch(
                matplotlib.patches.Rectangle(
                    (x, i * step), 1, 1, fill=False, edgecolor="#BBBBBB", linewidth=0.6, zorder=3
                )
            )
    ax.set(xlim=(-0.1, start + results * step), ylim=(len(rows) * step, -0.1), aspect="equal")
    ax.set_yticks(np.arange(len(rows)) * step + 0.5, list(rows))
    ax.set_xticks(
        [0.5, (frames - 1) * step + 0.5, start + (results * step) / 2 - 0.06],
        ["noise", "digit", "more samples"],
    )
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(title)
    words = "The journey of this book. Each row starts from the same noise at the left and ends in a digit"
    return Picture(
        fig, alt or f"{words}; to its right are further samples. Rows: {listing(map(plain, rows), 8)}."
    )
