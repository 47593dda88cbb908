"""Helpers for probes and facts: inputs from a seed; numbers, words, formulas and figures as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.container import ErrorbarContainer

from book.lessons.task import Remark

MOST_POINTS = 200_000
"""Points that the check of a drawing takes, at home as in a course."""


def normal(seed: int, *shape: int, stream: int = 0):
    """Standard normal float64 tensor of this shape, a function of (seed, stream) only."""
    import torch

    return torch.from_numpy(np.random.default_rng([seed, stream]).standard_normal(shape))


def uniform(seed: int, low: float, high: float, stream: int = 0) -> float:
    """A Python float in [low, high), a function of (seed, stream) only."""
    return float(np.random.default_rng([seed, stream, 1]).uniform(low, high))


def one_number(value) -> float:
    """A number, whatever kind: of Python, numpy, torch or sympy, or an array or tensor of one element.

    Raises TypeError, ValueError or RuntimeError for anything else.
    """
    return float(value.item() if hasattr(value, "item") else value)


_NO_NUMBER = (TypeError, ValueError, RuntimeError)


def number_facts(label: str = "your number") -> Callable[[Any, int], dict]:
    """The facts of a task whose answer is one real number, see `one_number`."""

    def probe(answer, seed):
        try:
            return {label: one_number(answer)}
        except _NO_NUMBER:
            raise Remark(f"The answer is one number, and yours is {describe(answer)}.") from None

    return probe


def named_numbers(answer, *names) -> dict:
    """{name: float} of the named answers, each of which is to be one number; Remark for one that is not."""
    found = {}
    for name in names:
        try:
            found[name] = one_number(getattr(answer, name))
        except _NO_NUMBER:
            kind = type(getattr(answer, name)).__name__
            raise Remark(f"{name} is one number; yours is a {kind}.") from None
    return found


def right_or_number(number, right, tolerance):
    """The word "right" for a right number, else the number: the package's record holds what a right answer
    prints, for everyone to read, and must not tell the answer."""
    return "right" if abs(number - right) <= tolerance * (1 + abs(right)) else number


def right_numbers(answer, tolerance, relative=False, **right) -> dict:
    """{name: "right" or the number} of the named numbers; `relative`: the tolerance is a share of the right
    one."""
    values = named_numbers(answer, *right)
    if not relative:
        return {name: right_or_number(value, right[name], tolerance) for name, value in values.items()}
    near = {name: abs(value - right[name]) <= tolerance * abs(right[name]) for name, value in values.items()}
    return {name: "right" if near[name] else value for name, value in values.items()}


def right_words(answer, choices, **right) -> dict:
    """{name: "right" or the word} of the named answers, each of which is to be one of `choices`.

    Raises Remark for one that is not.
    """
    found = {}
    for name, wanted in right.items():
        said = str(getattr(answer, name)).strip().lower()
        if said not in [choice.lower() for choice in choices]:
            shown = " or ".join(repr(choice) for choice in choices)
            raise Remark(f"{name} is {shown}; yours is {getattr(answer, name)!r}.")
        found[name] = "right" if said == wanted.lower() else said
    return found


def expression_probe(label: str = "value", **ranges: tuple[float, float]) -> Callable[[Any, int], dict]:
    """The probe of a task whose answer is a formula: `expression_probe(a=(.1, .9), s=(.1, 1.))`.

    The answer is a sympy expression (or a string that sympy reads) in symbols of these names.  It is
    evaluated at four points drawn from the seed within the ranges, to three decimals, which the labels name,
    so that every way of writing the same formula is right and everyone can put the point into theirs.
    """

    def probe(answer, seed):
        import sympy

        try:
            formula = sympy.sympify(answer)
            free = {symbol.name: symbol for symbol in formula.free_symbols}
        except (sympy.SympifyError, AttributeError, TypeError, SyntaxError):
            raise Remark(f"The answer is a formula of sympy, and yours is {describe(answer)}.") from None
        strange = sorted(set(free) - set(ranges))
        if strange:
            raise Remark(
                f"Your formula uses {', '.join(strange)}, and may use only {', '.join(ranges)}: "
                "which step gets rid of the rest?"
            )
        draws = np.random.default_rng(seed)
        out = {}
        for _ in range(4):
            at = {name: round(float(draws.uniform(*ends)), 3) for name, ends in ranges.items()}
            try:
                number = complex(formula.evalf(17, subs={free[name]: at[name] for name in free}))
            except TypeError:
                raise Remark(
                    f"Your formula, {formula}, has no number as its value: is there a function in it that "
                    "sympy does not know?"
                ) from None
            shown = ", ".join(f"{name} = {value:g}" for name, value in at.items())
            out[f"{label} at {shown}"] = number.real if number.imag == 0 else float("nan")
        return out

    return probe


def named_expressions(answer, seed: int, points: int, **ranges: dict) -> dict:
    """{"name at x = 0.3, s = -1.2": value, ...} of the named answers that are formulas, each at the first
    `points` points of `expression_probe`; ranges: name -> its symbols' ranges.  Remark for a missing one."""
    values = {}
    for name, symbols in ranges.items():
        if getattr(answer, name) is None:
            raise Remark(f"{name} is None: is it still to be computed?")
        found = expression_probe(name, **symbols)(getattr(answer, name), seed)
        values.update(list(found.items())[:points])
    return values


def read_axes(drawn) -> SimpleNamespace:
    """What can be read from a drawing: an Axes, a Figure with one Axes, or anything that has `.axes` or
    `.fig`.

    Gives .lines ({label: (x, y)}, with error bars or without, unlabelled ones as 'line 0', 'line 1', …),
    .points (scatters, {label: (n, 2)}), .curves (both as {label: (x, y)}, for a task that does not mind
    which), .xscale and .yscale ('linear', 'log', …), .xlabel, .ylabel, .title (stripped strings, '' when
    missing) and .legend (the texts of its legend).  Raises Remark for anything else.
    """
    axes = one_axes(drawn)
    count = sum(len(line.get_xdata()) for line in axes.get_lines())
    count += sum(len(cloud.get_offsets()) for cloud in axes.collections)
    if count > MOST_POINTS:
        raise Remark(
            f"Your figure holds {count:,} points, and the check takes {MOST_POINTS:,}: draw fewer of them"
        )
    lines, points = {}, {}
    bars = {id(bar[0]): bar.get_label() for bar in axes.containers if isinstance(bar, ErrorbarContainer)}
    for index, line in enumerate(axes.get_lines()):
        label = str(bars.get(id(line)) or line.get_label())  # with error bars the label is their container's
        label = f"line {index}" if label.startswith("_") or not label else label
        lines[label] = (np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
    for index, cloud in enumerate(c for c in axes.collections if len(c.get_offsets())):
        label = str(cloud.get_label())
        label = f"points {index}" if label.startswith("_") or not label else label
        points[label] = np.asarray(cloud.get_offsets(), float)
    legend = axes.get_legend()
    return SimpleNamespace(
        lines=lines,
        points=points,
        curves={label: tuple(cloud.T) for label, cloud in points.items()} | lines,
        xscale=axes.get_xscale(),
        yscale=axes.get_yscale(),
        xlabel=axes.get_xlabel().strip(),
        ylabel=axes.get_ylabel().strip(),
        title=axes.get_title().strip(),
        legend=[text.get_text() for text in legend.get_texts()] if legend else [],
    )


def axes_values(drawn, order: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The usual values of a figure: number of lines, scales, whether axes are labelled, and the lines' data.

    order: {label of a line: how to call it}; lines are then looked up by label and a missing one is said.
    Without it, lines are taken in the order of drawing.
    """
    seen = read_axes(drawn)
    values: dict[str, Any] = {
        "number of lines": len(seen.lines),
        "x scale": seen.xscale,
        "y scale": seen.yscale,
        "x axis": "labelled" if seen.xlabel else "without a label",
        "y axis": "labelled" if seen.ylabel else "without a label",
    }
    if order is None:
        order = {label: f"line {index}" for index, label in enumerate(seen.lines)}
    for label, call in order.items():
        if label not in seen.lines:
            there = ", ".join(repr(name) for name in seen.lines) or "none"
            raise Remark(f"The figure has no line labelled {label!r}; its lines are {there}.")
        values[f"{call}, x"], values[f"{call}, y"] = seen.lines[label]
    return values


def error_lines(seen: SimpleNamespace, *names: str, count: int | None = 3) -> dict[str, tuple]:
    """{name: (x, y)} of the lines, or scatters, with these labels in what `read_axes` has read: the numbers
    of steps and the errors above 0, `count` of them, in the order of the steps.

    Labels are compared without blanks and capitals, and η is eta.  Raises Remark for a line that is missing
    or other than that, and for logarithms in the place of errors.
    """
    curves = {_called(label): curve for label, curve in seen.curves.items()}
    found = {}
    for name in names:
        if _called(name) not in curves:
            there = ", ".join(repr(label) for label in seen.curves) or "none"
            raise Remark(f"The figure has no line labelled {name!r}; its lines are {there}.")
        x, y = curves[_called(name)]
        order = np.argsort(x, kind="stable")
        x, y = found[name] = x[order], y[order]
        if count is not None and len(x) != count:
            raise Remark(f"The line {name!r} needs {count} points, one for each count; it has {len(x)}.")
        if not (y > 0).all():
            first = f"{y[~(y > 0)][0]:.4g}"
            if seen.yscale == "linear":
                raise Remark(
                    f"The line {name!r} has the value {first}, on a linear axis: if these are logarithms, "
                    "draw the errors themselves and let the axes be logarithmic, xscale='log', yscale='log'."
                )
            raise Remark(
                f"The line {name!r} has the value {first}, and a logarithmic axis shows only what is above "
                "0: is the absolute value missing, or is it a logarithm already?"
            )
    return found


def _called(label: str) -> str:
    """A label as labels are compared."""
    return "".join(label.replace("η", "eta").split()).casefold()


def one_axes(drawn):
    """The one Axes of a drawing.  Raises Remark when there is none or more than one."""
    for name in ("fig", "figure"):
        if not hasattr(drawn, "get_lines") and hasattr(drawn, name):
            drawn = getattr(drawn, name)
    if hasattr(drawn, "get_lines"):
        return drawn
    several = drawn if isinstance(drawn, (list, tuple)) else getattr(drawn, "axes", None)
    if several is None or not all(hasattr(axes, "get_lines") for axes in several):
        raise Remark(f"The answer is the Axes that you drew in (ax), and yours is {describe(drawn)}.")
    if len(several) != 1:
        raise Remark(f"The check reads one Axes, and your figure has {len(several)}: give the one meant.")
    return several[0]


def describe(value) -> str:
    """A value's type and shape in words: 'nothing', 'a tensor of shape (3, 2)', 'the number 0.5', 'a tuple of
    2'.
    """
    if value is None:
        return "nothing (None: is a return missing?)"
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, int, float, complex, np.number)):
        return f"the number {value:.6g}" if not isinstance(value, (bool, np.bool_)) else str(value)
    if hasattr(value, "detach") and hasattr(value, "shape"):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, (tuple, list, dict, set)):
        return f"a {type(value).__name__} of {len(value)}"
    if callable(value):
        return f"a function ({getattr(value, '__name__', type(value).__name__)})"
    return f"a {type(value).__name__}"
