"""Mistakes as edits of the right answer: the same function with a few fragments of its text replaced."""

from __future__ import annotations

import ast
import inspect
import itertools
import linecache
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

_COUNT = itertools.count(1)


@dataclass(frozen=True)
class Change:
    """How `changed` made a function: from which one, by which edits, with which names replaced."""

    function: FunctionType
    edits: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


def changed(function: FunctionType, *edits: tuple[str, str], **names: Any) -> FunctionType:
    """The function that another text gives: `changed(next_step, ("-1 / (order + 1)", "-1 / order"))`.

    function: defined at the top level of a module, such as `solution.next_step`.
    edits: pairs (old, new), made one after the other; each old fragment occurs exactly once in the text at
        its turn, line ends and indentation included.  The docstring does not belong to the text.
    names: what the function finds under a name of its module instead of what is there, such as a helper that
        is changed itself: `changed(solution.predictor_corrector, snr_step=wrong)`.

    The function's own module stays as it is.  Raises ValueError, with the fragment or the name, for an edit
    that fits no place or several, a name that the function does not read, and a call without either.
    """
    if not edits and not names:
        raise ValueError(f"changed({function.__name__}) has nothing to change: give an edit or a name")
    text = edited(function, *edits)
    for name in names:
        if not reads(function, name):
            raise ValueError(f"{function.__name__} reads no name {name!r} of its module")
    made = _compiled(text, inspect.unwrap(function), names)
    made.change = Change(function, edits, tuple(names))
    return made


def edited(function: FunctionType, *edits: tuple[str, str], docstring: bool = False) -> str:
    """The text of a function with these fragments replaced, one after the other.

    docstring: with the function's docstring, which no edit reaches.  Raises ValueError as `changed` does.
    """
    text = _text(function)
    for old, new in edits:
        if (times := text.count(old)) != 1:
            raise ValueError(f"{old!r} must occur once in {function.__name__}, and occurs {times} times")
        text = text.replace(old, new)
    if not docstring or not (said := _docstring(function)):
        return text
    lines = text.splitlines(keepends=True)
    first = ast.parse(text).body[0].body[0].lineno - 1
    return "".join([*lines[:first], said, *lines[first:]])


def changes(module: ModuleType) -> Callable[..., dict[str, FunctionType]]:
    """`changed` for the answers of one module, by name: with `_wrong = changes(solution)` there is
    `_wrong("step", (old, new), …)` = {"step": changed(solution.step, (old, new), …)}, the wrong part of a
    `Mistake` of several answers."""
    return lambda name, *edits, **names: {name: changed(getattr(module, name), *edits, **names)}


def reads(function: FunctionType, name: str) -> bool:
    """Whether a function, or one defined in it, reads this name of its module."""
    return any(name in code.co_names for code in _codes(inspect.unwrap(function).__code__))


@lru_cache(maxsize=1024)
def _text(function: FunctionType) -> str:
    """The source of a function without its docstring, which often says in words what the code says."""
    text = textwrap.dedent(inspect.getsource(function))
    first, *rest = ast.parse(text).body[0].body
    if not rest or not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
        return text
    lines = text.splitlines(keepends=True)
    return "".join(lines[: first.lineno - 1] + lines[first.end_lineno :])


def _docstring(function: FunctionType) -> str:
    """The lines of a function's docstring as they stand in its source, or ''."""
    text = textwrap.dedent(inspect.getsource(function))
    first = ast.parse(text).body[0].body[0]
    if not isinstance(getattr(getattr(first, "value", None), "value", None), str):
        return ""
    return "".join(text.splitlines(keepends=True)[first.lineno - 1 : first.end_lineno])


def _compiled(text: str, function: FunctionType, names: dict[str, Any]) -> FunctionType:
    """The function of this text among the names of the other one's module, some of them replaced."""
    file = f"<{function.__name__}, changed, {next(_COUNT)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # for error messages
    try:
        code = compile(text, file, "exec")
    except SyntaxError as error:
        raise ValueError(f"{function.__name__} as changed is not Python: {error}") from None
    defined: dict[str, Any] = {}
    exec(code, {**function.__globals__, **names} if names else function.__globals__, defined)
    return defined[function.__name__]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
