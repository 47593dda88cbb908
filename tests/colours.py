"""What a reader sees who tells colours apart otherwise, and whether a figure can still be read.

Colour blindness by the matrices of Machado, Oliveira and Fernandes (2009), severity 1, on linear sRGB;
distances in OKLab (Ottosson, 2020), in which 0.02 is about what can just be seen of two large patches.
"""

import itertools

import numpy as np
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

MACHADO = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
       [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
       [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
EYES = ("ordinary", *MACHADO, "grey")

APART = 0.06
"""Distance of two colours that are told apart in thin lines and small dots: three times what is just seen."""


# --- colours --------------------------------------------------------------------------------------------


def linear(rgb) -> np.ndarray:
    """Linear sRGB of sRGB, each in [0, 1], (..., 3)."""
    rgb = np.asarray(rgb, dtype=float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def oklab(rgb) -> np.ndarray:
    """OKLab of linear sRGB, (..., 3): lightness, green to red, blue to yellow."""
    return np.cbrt(np.asarray(rgb) @ np.transpose(LMS)) @ np.transpose(LAB)


def seen(colour, eye: str) -> np.ndarray:
    """OKLab (3,) of a colour (r, g, b) in sRGB as one of EYES sees it; in grey only its luminance is left."""
    light = linear(colour)
    if eye == "grey":
        light = np.full(3, light @ (0.2126, 0.7152, 0.0722))
    elif eye in MACHADO:
        light = np.clip(np.array(MACHADO[eye]) @ light, 0, 1)
    return oklab(light)


def distance(a, b, eye: str) -> float:
    """How far apart two colours (r, g, b) are to one of EYES."""
    return float(np.linalg.norm(seen(a, eye) - seen(b, eye)))


def nearest(a, b) -> tuple[float, str]:
    """The least distance of two colours, and to whose eye."""
    return min((distance(a, b, eye), eye) for eye in EYES)


# --- figures --------------------------------------------------------------------------------------------


def colour_alone(fig) -> list[str]:
    """The pairs of a figure's legends that some eye cannot tell apart, a sentence each.

    What is named at its place, by a text beside it, has no need of a legend and none of its colour.
    """
    # A curve with error bars is told by its line, and the legend's list names its bars.
    bars = [one for axes in fig.axes for one in axes.containers if isinstance(one, ErrorbarContainer)]
    with_bars = {one.get_label(): one.lines[0] for one in bars if one.lines[0] is not None}
    legends = [*fig.legends, *(axes.get_legend() for axes in fig.axes if axes.get_legend())]
    found = []
    for legend in legends:
        named = [
            (text.get_text(), with_bars.get(text.get_text(), handle))
            for text, handle in zip(legend.get_texts(), legend.legend_handles)
        ]
        for (a, first), (b, second) in itertools.combinations(named, 2):
            far, eye = _apart(first, second)
            if far < APART:
                found.append(f"{a!r} and {b!r} differ by {far:.3f} to the eye {eye!r}, and by nothing else")
    return found


def _apart(first, second):
    """How far apart two things are to the eye that sees them nearest; infinitely, by any sign but colour."""
    one, other = _signs(first), _signs(second)
    if one is None or one["shape"] != other["shape"] or _far(one["size"], other["size"]):
        return np.inf, ""
    return max((nearest(a, b) for a, b in zip(one["colours"], other["colours"])), key=lambda pair: pair[0])


def _far(a, b):
    """Whether two sizes differ clearly: by a factor of 1.7."""
    return max(a) > 1.7 * max(b) or max(b) > 1.7 * max(a)


def _signs(thing):
    """What a thing in a legend is told by: its shape (equal or not), its size, and its colours on white."""
    if isinstance(thing, Line2D):
        line = thing.get_linestyle() not in ("None", "none", "", " ")
        marker = str(thing.get_marker())
        dots = marker not in ("None", "none", "", " ")
        hollow = dots and nearest(_on_white(thing.get_markerfacecolor()), (1, 1, 1))[0] < APART
        shape = ("line", line and str(thing._unscaled_dash_pattern), dots and marker, hollow)
        size = (line * thing.get_linewidth(), dots * thing.get_markersize())
        colours = [thing.get_color()] if line else [thing.get_markeredgecolor()]
    elif isinstance(thing, Patch):
        shape = ("area", thing.get_hatch(), str(thing.get_linestyle()))
        size, colours = (1.0,), [thing.get_facecolor(), thing.get_edgecolor()]
    elif isinstance(thing, Collection):
        path = thing.get_paths()[0].vertices.round(2).tolist() if thing.get_paths() else []
        shape = ("dots", str(path), str(thing.get_linestyle()), thing.get_hatch())
        sizes = thing.get_sizes() if hasattr(thing, "get_sizes") else thing.get_linewidth()
        drawn = thing.get_facecolor() if len(thing.get_facecolor()) else thing.get_edgecolor()
        size, colours = (float(np.max(sizes)) ** 0.5,), list(drawn[:1])
    else:
        return None
    return {"shape": shape, "size": size, "colours": [_on_white(colour) for colour in colours]}


def _on_white(colour):
    """A colour (r, g, b) as it looks on white paper."""
    *rgb, alpha = to_rgba(colour)
    return tuple(alpha * part + 1 - alpha for part in rgb)
