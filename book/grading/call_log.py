"""Notes which of our own methods a student's code calls, for the instructor to look at.

In the staged package every function of a module that holds what exercises ask for begins with a call of
`note` (staging.py puts it there): it costs nothing where no such function is called, and needs no tracing.
"""

from __future__ import annotations

import ast
import os
import sys
from functools import partial

from book import folders
from book.lessons import diagnose
from book.lessons.diagnose import is_cell

_METHODS = (
    "ddpm", "ddim", "ode", "sde", "exponential", "dpm_solver", "multistep", "distill", "amed", "distilled",
    "flow_maps", "learned", "practice", "conditions", "masked",
)  # fmt: skip
"""The toolkit's modules that hold what the exercises ask for; the others are tools that an answer may use,
but for what a task says gives it away."""


def methods() -> list[str]:
    """The modules whose calls are noted: 'toolkit.ddim', and the experiments of the chapters."""
    experiments = (f"book.ch{chapter}.experiments" for chapter in folders.chapters("experiments.py"))
    return [*(f"toolkit.{name}" for name in _METHODS), *experiments]


def is_method(name: str) -> bool:
    """Whether a name such as 'toolkit.ddim.ddim' lies in one of these modules."""
    return name.startswith(tuple(f"{module}." for module in methods()))


called: set[str] = set()
"""What student's code has called since this was last emptied, as 'toolkit.ddim.ddim'."""

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PROBES = os.path.join(_ROOT, "lessons", "_probes_")
_INSTALLED = (_ROOT, sys.prefix, sys.base_prefix)


def note(name: str, frame_at=sys._getframe) -> None:
    """Note a call unless it is a probe's own: the nearest caller that is a probe or not installed decides.

    What is called in a thread, or as the answer itself, has a student for its caller as well.
    """
    frame = frame_at(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PROBES):
            return
        if is_cell(file) or file.startswith(os.sep) and not file.startswith(_INSTALLED):
            break
        if file == diagnose.__file__:
            break
        frame = frame.f_back
    called.add(name)


def under(name: str, listed) -> bool:
    """Whether a name is one of those listed, or lies under it: 'toolkit.schedules.Discrete.cosine'."""
    return any(name == one or name.startswith(f"{one}.") for one in listed)


def note_answer(answer) -> None:
    """Note an answer that is one of the toolkit's own methods, as it is or with some arguments given."""
    while isinstance(answer, partial):
        answer = answer.func
    module = getattr(answer, "__module__", "")
    if isinstance(module, str) and module in methods():
        called.add(f"{module}.{getattr(answer, '__qualname__', type(answer).__qualname__)}")


def logging(source: str, module: str, only=()) -> str:
    """The source of a module with a call of `note` at the start of each function, or of those `under` the
    names in `only`."""
    tree, lines = ast.parse(source), source.splitlines()
    found: list[tuple[int, str, str]] = []

    def visit(node, path):
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inner = (*path, child.name)
            if isinstance(child, ast.FunctionDef):
                body = child.body[1:] if ast.get_docstring(child) is not None else child.body
                wanted = not only or under(".".join((module, *inner)), only)
                if wanted and body and body[0].lineno > child.lineno:
                    at = min([body[0].lineno, *(d.lineno for d in getattr(body[0], "decorator_list", ()))])
                    found.append((at, " " * body[0].col_offset, ".".join(inner)))
            visit(child, inner)

    visit(tree, ())
    for at, indent, name in sorted(found, reverse=True):
        lines.insert(at - 1, f'{indent}_note("{module}.{name}")')
    # After the docstring and a `from __future__`, before anything can run.
    start = max(
        [
            node.end_lineno
            for node in tree.body[:2]
            if isinstance(node, ast.Expr) or getattr(node, "module", "") == "__future__"
        ],
        default=0,
    )
    lines.insert(start, "from book.grading.call_log import note as _note")
    return "\n".join([*lines, ""])
