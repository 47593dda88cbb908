"""How answers, and what was seen of them, travel out of a student's kernel: as JSON, never as pickles.

`pack` and `pack_seen` run in the student's kernel, `unpack` and `unpack_seen` outside.  What arrives is only
the student's word: it is checked, cut to size and never evaluated.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from book.lessons.diagnose import Seen, plain
from book.lessons.probes import MOST_POINTS, describe
from book.lessons.running import BUDGET
from book.lessons.task import Remark

LIMIT = BUDGET - 100_000
"""Characters of JSON that one check may send: a little less than a cell may print."""

_TEXT, _PARTS, _NUMBERS, _LABELS = 2000, 100, 2 * MOST_POINTS, 200
_MANY, _AXES = 2000, 32
"""Numbers of an array above which a message that is too long names its shape only; numpy's most axes."""

_DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)
"""What taking things out of JSON that is not what it should be can lead to."""


class BadMessage(ValueError):
    """What arrived is not what a check sends."""


# --- answers --------------------------------------------------------------------------------------------


def pack(answer: Any) -> dict:
    """An answer as JSON: numbers, words, arrays, lists of them and drawn Axes as they are, everything else by
    what it is called.
    """
    if answer is ... or answer is NotImplemented:
        return {"is": "stub"}
    if answer is None:
        return {"is": "none"}
    if isinstance(answer, str):
        return {"is": "text", "text": answer[:_TEXT]}
    if isinstance(answer, (bool, np.bool_)):
        return {"is": "bool", "value": bool(answer)}
    if isinstance(answer, int) and abs(answer) < 2**63:
        return {"is": "int", "value": int(answer)}
    if isinstance(answer, float):  # a subclass that can be called, too
        return {"is": "float", "value": float(answer)}
    if isinstance(answer, (list, tuple)) and len(answer) <= _PARTS:
        return {"is": "tuple" if isinstance(answer, tuple) else "list", "parts": [pack(p) for p in answer]}
    if callable(answer):
        return {"is": "function", "name": str(getattr(answer, "__name__", type(answer).__name__))[:80]}
    return (
        _array(answer) or _number(answer) or _axes(answer) or {"is": "other", "name": type(answer).__name__}
    )


def _array(answer) -> dict | None:
    """A tensor or an array of numbers."""
    if hasattr(answer, "detach"):
        answer = plain(answer)
    if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "biuf" or answer.size > _NUMBERS:
        return None
    return {"is": "array", **_numbers(answer)}


def _number(answer) -> dict | None:
    """Whatever makes itself a float: numpy's and sympy's numbers, fractions, decimals."""
    try:
        return {"is": "float", "value": float(answer)}
    except Exception:  # whatever a class of its own may raise
        return None


def _axes(answer) -> dict | None:
    """A drawing, as far as `read_axes` can tell: lines, points, scales and texts."""
    from book.lessons.probes import one_axes

    try:
        axes = one_axes(answer)
    except Remark:
        return None
    legend = axes.get_legend()
    lines = [
        {
            "label": str(line.get_label())[:_TEXT],
            "x": _numbers(line.get_xdata()),
            "y": _numbers(line.get_ydata()),
        }
        for line in axes.get_lines()[:_PARTS]
    ]
    points = [
        {"label": str(cloud.get_label())[:_TEXT], "at": _numbers(cloud.get_offsets())}
        for cloud in list(axes.collections)[:_PARTS]
        if len(cloud.get_offsets())
    ]
    texts = [text.get_text()[:_TEXT] for text in legend.get_texts()[:_PARTS]] if legend else None
    called = {
        name: getattr(axes, f"get_{name}")()[:_TEXT]
        for name in ("xscale", "yscale", "xlabel", "ylabel", "title")
    }
    return {"is": "axes", "lines": lines, "points": points, "legend": texts, **called}


def unpack(raw: Any, right: Any = None) -> Any:
    """The answer that arrived, as something facts can be asked of.

    right: the reference's answer; it stands in where the student's is a function, which cannot leave its
    kernel and is judged there.  Raises BadMessage for what `pack` does not make.
    """
    try:
        return _UNPACK[raw["is"]](raw, right)
    except BadMessage:
        raise
    except _DAMAGE as error:
        raise BadMessage(f"the answer does not arrive in one piece ({type(error).__name__})") from None


def _function(raw, right):
    if callable(right):
        return right

    def absent(*_, **__):
        raise TypeError("a function where none is asked for")

    absent.__name__ = str(raw["name"])[:80]
    return absent


def _drawn(raw, right):
    """Axes with the lines, points, scales and texts of the student's."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    axes = Figure().subplots()
    if max(len(raw[name] or ()) for name in ("lines", "points", "legend")) > _PARTS:
        raise BadMessage("a drawing that arrives has more parts than are sent")
    for line in raw["lines"]:
        axes.add_line(Line2D(_back(line["x"]).ravel(), _back(line["y"]).ravel(), label=line["label"]))
    for cloud in raw["points"]:
        axes.scatter(*_back(cloud["at"]).T, label=cloud["label"])
    axes.set_xscale(raw["xscale"])
    axes.set_yscale(raw["yscale"])
    axes.set(xlabel=raw["xlabel"], ylabel=raw["ylabel"], title=raw["title"])
    if raw["legend"] is not None:
        axes.legend([Line2D([], []) for _ in raw["legend"]], raw["legend"])
    return axes


_UNPACK = {
    "stub": lambda raw, right: ...,
    "none": lambda raw, right: None,
    "text": lambda raw, right: str(raw["text"])[:_TEXT],
    "bool": lambda raw, right: bool(raw["value"]),
    "int": lambda raw, right: max(min(int(raw["value"]), 2**63), -(2**63)),
    "float": lambda raw, right: float(raw["value"]),
    "list": lambda raw, right: [unpack(part) for part in raw["parts"]],
    "tuple": lambda raw, right: tuple(unpack(part) for part in raw["parts"]),
    "array": lambda raw, right: _back(raw),
    "axes": _drawn,
    "function": _function,
    "other": lambda raw, right: type(str(raw["name"])[:80], (), {})(),
}


# --- what was seen --------------------------------------------------------------------------------------


def pack_seen(seen: Seen) -> dict:
    """What an answer did on one seed, as JSON."""
    values = seen.values
    if values is not None:
        values = {
            label: value if isinstance(value, str) else _numbers(value)
            for label, value in list(values.items())[:_LABELS]
        }
    texts = ("trouble", "text", "changed", "returned", "dtype", "printed")
    return {"values": values, "error": list(seen.error), **{name: getattr(seen, name) for name in texts}}


def unpack_seen(raw: Any) -> Seen:
    """What arrived of what an answer did.  Raises BadMessage for what `pack_seen` does not make."""
    try:
        values = raw["values"]
        if values is not None:
            values = {
                str(label)[:_TEXT]: value[:_TEXT] if isinstance(value, str) else _back(value)
                for label, value in list(values.items())[:_LABELS]
            }
        kind, message = (str(part)[:_TEXT] for part in raw["error"])
        texts = ("trouble", "text", "changed", "returned", "dtype", "printed")
        return Seen(values, error=(kind, message), **{name: str(raw[name])[:_TEXT] for name in texts})
    except BadMessage:
        raise
    except _DAMAGE as error:
        what = type(error).__name__
        raise BadMessage(f"what the check saw does not arrive in one piece ({what})") from None


def _numbers(values) -> dict:
    """Numbers of any shape: as text of their float64s, which is half as long as their digits."""
    array = np.asarray(values, dtype="<f8")
    if _room(array.shape) > _NUMBERS:
        what = f"{array.size:,} numbers" if array.size else f"an empty array of shape {array.shape}"
        raise Remark(f"Your answer holds {what}, and the check takes {_NUMBERS:,} numbers at most")
    return {"shape": list(array.shape), "values": base64.b64encode(array.tobytes()).decode()}


def _room(shape) -> int:
    """How many numbers an array of this shape has where none of its axes is empty: what numpy walks over."""
    return math.prod(n for n in shape if n)


def shapes_only(told: Any) -> Any:
    """What a check sends, where it is too long: of larger arrays their shapes.

    A right answer is as short as the solution's, so this one is wrong, and its shape says why.
    """
    if isinstance(told, dict):
        if set(told) >= {"shape", "values"} and _room(told["shape"]) > _MANY:
            return told | {"values": None}
        return {key: shapes_only(value) for key, value in told.items()}
    return [shapes_only(value) for value in told] if isinstance(told, list) else told


def is_cut(told: Any) -> bool:
    """Whether a message has the shape of an array in its place."""
    if isinstance(told, dict):
        here = set(told) >= {"shape", "values"} and told["values"] is None
        return here or any(map(is_cut, told.values()))
    return isinstance(told, list) and any(map(is_cut, told))


def _back(raw) -> np.ndarray:
    said = raw["shape"]
    if not isinstance(said, list) or len(said) > _AXES:
        raise BadMessage("numbers that arrive have no shape")
    shape = tuple(int(n) for n in said)
    if min(shape, default=0) < 0 or max(shape, default=0) > 2**62 or _room(shape) > _NUMBERS:
        raise BadMessage("numbers that arrive do not have a shape that is sent")
    if raw["values"] is None:
        return np.zeros(shape)  # not nan, which would be spoken of before the shape
    values = np.frombuffer(base64.b64decode(raw["values"], validate=True), dtype="<f8")
    if math.prod(shape) != values.size:
        raise BadMessage("numbers that arrive do not have the shape that they are said to have")
    return values.reshape(shape)


def told(answer: dict) -> str:
    """A packed answer in words: 'the number 0.5', 'a function (f)'."""
    return describe(unpack(answer))
