"""A lesson's right answers as a module, `chNN/solution.py`, taken from its solution notebook.

In it are the functions that the notebook's checks are given, those numbers, words and formulas that are
written down plainly, and by name whatever these need.  A value that is computed (a measurement, a training, a
drawing) is left to the notebook: it would cost time whenever the tasks are imported.
"""

from __future__ import annotations

import ast
import linecache
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from book.lessons import reach, registry

PLAIN_CALLS = {
    "math": None,  # whatever is in it
    "sympy": frozenset("symbols Symbol sqrt exp log sin cos tan sinh cosh tanh Rational Integer Abs".split()),
    "builtins": frozenset("abs dict float frozenset int max min range round set tuple".split()),
}
"""What a value may call that is written down plainly, by module: nothing that takes time."""

_PLAIN_NODES = (
    (ast.Constant, ast.Name, ast.Attribute, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Subscript, ast.Slice)
    + (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.keyword)
    + (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)
)
_DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign)

_HEADER = '''"""The right answers of lesson {lesson}, from {notebook}; its tasks compare with them.

{note}
"""
'''
_NOTE = "Written by `toolkit build`: edit the notebook."
_LEFT = "  What is computed there is not here: {names}."


def path_of(lesson: str) -> Path:
    """Where the right answers of a lesson lie.  Raises ValueError for a lesson that is not there."""
    return registry.folder_of(lesson) / "solution.py"


# --- taking them from the notebook ----------------------------------------------------------------------


def source(lesson: str, notebook: str, cells: list[str], answers: Iterable[tuple[int, set[str]]]) -> str:
    """The text of solution.py.

    cells: the code cells of the notebook without the markers, in order; one that is not Python is passed
        over.  answers: for each check the number of cells before it and the names that it is given.

    Raises ValueError, with the name, for a function that needs what no definition, assignment or import
    makes.
    """
    parsed = [list(_statements(text)) for text in cells]
    lines = {id(statement): text for cell in parsed for statement, text in cell}
    needed, imported, left = set(), set(), []
    for count, names in answers:
        bound = reach.bindings(statement for cell in parsed[:count] for statement, _ in cell)
        for name in (name for name in bound if name in names):
            parts = dict(reach.reached([name], bound))
            own = [p for one in parts.values() for p in one if not isinstance(p, reach.IMPORTS)]
            if isinstance(bound[name][-1], _DEFINITIONS):
                _check(name, parts)
            elif not all(_plain(part, bound) for part in own):
                left.append(name)
                continue
            needed |= {id(part) for part in own}
            imported |= parts.keys()
    whole = [statement for cell in parsed for statement, _ in cell]
    imports = [s for s in whole if isinstance(s, reach.IMPORTS)]
    head = dict.fromkeys(ast.unparse(part) for s in imports for part in reach.kept(s, imported))
    body = _laid_out((s, lines[id(s)]) for s in whole if id(s) in needed)
    note = textwrap.fill(_NOTE + (_LEFT.format(names=", ".join(left)) if left else ""), 110)
    header = _HEADER.format(lesson=lesson, notebook=notebook, note=note)
    return header + "".join(f"\n{line}" for line in head).rstrip() + body


def _statements(text: str) -> Iterator[tuple[ast.stmt, str]]:
    """The statements of a cell, each with its lines as they stand there."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return
    rows = text.splitlines()
    for statement in body:
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))])
        last = statement.end_lineno
        shared = sum(other.lineno <= last and other.end_lineno >= first for other in body) > 1  # a = 1; b = 2
        yield statement, ast.unparse(statement) if shared else "\n".join(rows[first - 1 : last])


def _check(function: str, parts: dict[str, list[ast.stmt]]) -> None:
    """Raise ValueError where a function needs a name that a loop or the like makes."""
    for name, statements in parts.items():
        for statement in statements:
            if not isinstance(statement, _DEFINITIONS + _ASSIGNMENTS + reach.IMPORTS):
                kind = type(statement).__name__.lower()
                raise ValueError(
                    f"the answer {function} needs {name}, which is made by a {kind} statement: give it by a "
                    "definition or an assignment"
                )


def _plain(statement: ast.stmt, bound: dict[str, list[ast.stmt]]) -> bool:
    """Whether a statement gives a value that is written down plainly."""
    return (
        isinstance(statement, _ASSIGNMENTS)
        and statement.value is not None
        and all(isinstance(node, _PLAIN_NODES) for node in ast.walk(statement.value))
        and all(_cheap(n.func, bound) for n in ast.walk(statement.value) if isinstance(n, ast.Call))
    )


def _cheap(function: ast.expr, bound: dict[str, list[ast.stmt]]) -> bool:
    """Whether what is called is one of PLAIN_CALLS."""
    module, name = "builtins", ast.unparse(function)
    if isinstance(function, ast.Attribute):
        module, name = ast.unparse(function.value), function.attr
    origin = next((s for s in bound.get(module if module != "builtins" else name, ())), None)
    if isinstance(origin, ast.ImportFrom) and module == "builtins":
        module = origin.module
    elif isinstance(origin, ast.Import):
        module = next((a.name for a in origin.names if (a.asname or a.name) == module), "")
    elif origin is not None:
        return False
    return module in PLAIN_CALLS and (PLAIN_CALLS[module] is None or name in PLAIN_CALLS[module])


def _laid_out(statements: Iterable[tuple[ast.stmt, str]]) -> str:
    """The statements, with two empty lines around a definition."""
    text, after = "\n", ast.Import
    for statement, lines in statements:
        apart = isinstance(statement, _DEFINITIONS) or issubclass(after, _DEFINITIONS)
        text += ("\n\n" if apart else "") + lines + "\n"
        after = type(statement)
    return text


# --- another text than the one on disk ------------------------------------------------------------------


@contextmanager
def installed(lesson: str, text: str) -> Iterator[str]:
    """Meanwhile the tasks of a lesson see this text as their solution; gives code that does the same in
    another process, '' where the text is the one that lies there.
    """
    path = path_of(lesson)
    if path.is_file() and path.read_text("utf8") == text:
        yield ""
        return
    try:
        install(lesson, text)
        yield f"from book.lessons import extracting\nextracting.install({lesson!r}, {text!r})"
    finally:
        _forget(lesson)


def install(lesson: str, text: str) -> None:
    """Let this process import this text as the solution of a lesson, and its tasks anew.

    Raises ValueError for a text that stops.
    """
    _forget(lesson)
    package, path = registry.package(lesson), str(path_of(lesson))
    module = ModuleType(f"{package.__name__}.solution")
    module.__file__ = path
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # for `edits`
    try:
        exec(compile(text, path, "exec"), vars(module))
    except Exception as error:
        raise ValueError(
            f"the right answers by themselves stop with {type(error).__name__}: {error}"
        ) from error
    sys.modules[module.__name__] = package.solution = module


def _forget(lesson: str) -> None:
    """The next import of a lesson's tasks or solution reads the file."""
    package = registry.package(lesson)
    linecache.cache.pop(str(path_of(lesson)), None)
    for name in ("tasks", "solution"):
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)
