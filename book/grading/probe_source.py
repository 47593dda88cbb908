"""A lesson's probes kept apart from the right answers, as a module that may lie beside a student's code.

A probe runs a student's functions on inputs of its own, and so it has to be where these functions are.  The
references, the mistakes, the hints and the right numbers need not be there, and are not: `source` takes from
a lesson's tasks.py what the probes reach, by name, and nothing else.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass

from book.lessons import reach, registry

OFFERED = frozenset(
    "Remark axes_values check error_lines expression_probe named_expressions named_numbers normal "
    "number_facts progress read_axes uniform".split()
)
"""What `book.lessons` has beside a student's code."""

_OURS = "book.lessons"
_KNOWN = frozenset({*dir(builtins), "__name__", "__file__", "__doc__"})


@dataclass(frozen=True)
class _Entry:
    """A task as it stands in the file: its id, and the expressions of its fields."""

    id: str
    names: ast.expr
    probe: ast.expr
    reference: ast.expr


def source(lesson: str) -> str:
    """Python source of a module that holds the probes of a lesson ("02") and what they need.

    It ends with PROBES, {task id: (names of the answers, probe or None)}.  Raises ValueError, with a
    sentence, for a lesson that is not there, and for a probe that cannot be kept apart: one that reaches a
    reference, needs what `book.lessons` does not have there, or is not written out in its Task(...).
    """
    path = registry.folder_of(lesson) / "tasks.py"
    try:
        tree = ast.parse(path.read_text("utf8"))
    except SyntaxError as error:
        raise ValueError(f"{path.name} is not Python: {error}") from None
    entries = [_entry(call, path.name) for call in _calls(tree, path.name)]
    bound = reach.bindings(tree.body)
    secret = {
        name: entry.id
        for entry in entries
        for name in reach.reads(entry.reference)
        if not all(isinstance(part, reach.IMPORTS) for part in bound.get(name, ()))
    }
    needed: set[str] = set()
    for entry in entries:
        needed |= _reach(entry, bound, secret)
    body = [part for statement in tree.body for part in reach.kept(statement, needed)]
    module = ast.Module([*body, _table(entries)], [])
    return ast.unparse(ast.fix_missing_locations(_WithoutDocstrings().visit(module))) + "\n"


# --- the tasks of the file ------------------------------------------------------------------------------


def _calls(tree: ast.Module, file: str) -> Iterator[ast.Call]:
    """The Task(...) of each task in TASKS, in order.  Raises ValueError where one is not written out."""
    values = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    tasks = values.get("TASKS")
    if not isinstance(tasks, (ast.Tuple, ast.List)):
        raise ValueError(f"{file} does not end with TASKS = (task_1, task_2, ...), written out")
    for element in tasks.elts:
        call = values.get(element.id) if isinstance(element, ast.Name) else element
        if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] != "Task":
            raise ValueError(f"{file}: {ast.unparse(element)} in TASKS is not written out as Task(...)")
        yield call


def _entry(call: ast.Call, file: str) -> _Entry:
    fields = {keyword.arg: keyword.value for keyword in call.keywords}
    task_id = getattr(fields.get("id"), "value", None)
    if call.args or None in fields or not isinstance(task_id, str):
        raise ValueError(f"{file}: a Task(...) does not give each of its fields by name, and its id as text")
    none = ast.Constant(None)
    return _Entry(
        task_id,
        fields.get("names", ast.Tuple([], ast.Load())),
        fields.get("probe", none),
        fields.get("reference", none),
    )


def _table(entries) -> ast.Assign:
    """PROBES = {"2.1": (names, probe), ...}."""
    pairs = [ast.Tuple([entry.names, entry.probe], ast.Load()) for entry in entries]
    table = ast.Dict([ast.Constant(entry.id) for entry in entries], pairs)
    return ast.Assign([ast.Name("PROBES", ast.Store())], table)


# --- what a probe reaches -------------------------------------------------------------------------------


def _reach(entry: _Entry, bound: dict[str, list[ast.stmt]], secret: dict[str, str]) -> set[str]:
    """The names of the module that a task's probe needs.  Raises ValueError for one that may not be there."""
    done: set[str] = set()
    _check_imports(entry, entry.probe)
    for name, statements in reach.reached(reach.reads(entry.probe) | reach.reads(entry.names), bound):
        done.add(name)
        if name in secret:
            raise ValueError(
                f"the probe of task {entry.id} needs {name}, and so does the reference of task "
                f"{secret[name]}: what knows the right answer belongs into facts"
            )
        if not statements and name not in _KNOWN:
            raise ValueError(f"the probe of task {entry.id} needs {name}, which its file does not define")
        for statement in statements:
            _check_imports(entry, statement)
    return done


def _check_imports(entry: _Entry, code: ast.AST) -> None:
    """Raise ValueError where code imports of the lessons what is not there beside a student's code."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            wrong = [alias.name for alias in node.names if _inside(alias.name)]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module == _OURS:
            wrong = [alias.name for alias in node.names if alias.name not in OFFERED]
        elif isinstance(node, ast.ImportFrom):
            wrong = [node.module or "."] if node.level or _inside(node.module) else []
            wrong += [name for name in (f"{node.module}.{a.name}" for a in node.names) if _inside(name)]
        else:
            wrong = []
        if wrong:
            raise ValueError(
                f"the probe of task {entry.id} needs {wrong[0]}, which is not there beside a student's code: "
                f"of {_OURS} it may use {', '.join(sorted(OFFERED))}"
            )


def _inside(module: str) -> bool:
    """Whether a module is that of the lessons, or of the grading, or lies in it."""
    ours = r"(toolkit\.lessons|book\.(lessons|grading|ch\d\d\.(tasks|solution)))(\.|$)"
    return re.match(ours, module) is not None


# --- what is kept ---------------------------------------------------------------------------------------


class _WithoutDocstrings(ast.NodeTransformer):
    """Takes the docstrings out of functions and classes; they may say more than a probe does."""

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_ClassDef = visit_AsyncFunctionDef = visit_FunctionDef
