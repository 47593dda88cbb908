"""Put a student's cells and the package's together: what is run when a submission is graded.

The order is the lesson's: its own setup, then for each task the student's answer and the package's check.
Cells of the student's own stay after the cell that they stand behind.  So an answer cell that was moved, a
check that was edited, deleted or doubled, and tags that ask to skip a cell change nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..lessons import record
from ..lessons.running import CALL, Step, names_of


@dataclass(frozen=True)
class Assembled:
    """steps: what is run.  notes: {task: remarks for the student}.  imported: {task: what the student's cells
    for it import from the toolkit's modules, as 'toolkit.ddim.ddim'}.
    """

    steps: list[Step]
    notes: dict[str, list[str]]
    imported: dict[str, set[str]]


@dataclass
class _Sorted:
    """The student's code cells: the base's by id, checks by task, and the others by the id of the cell that
    they stand behind ('' at the start).
    """

    known: dict[str, str] = field(default_factory=dict)
    checks: dict[str, list[str]] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)


def assemble(submission, base, lesson: record.Lesson) -> Assembled:
    """The steps for a submission.

    submission: the student's notebook, nbformat 4.  base: the lesson's own notebook (the exercise or the
    solution), whose answer cells are not used.  lesson: its record, of the tasks that are graded.
    """
    tasks = {cell.id: cell for cell in lesson.cells}
    answers = {cell_id: task for task, ids in lesson.answers.items() for cell_id in ids}
    own = [cell for cell in base.cells if cell.cell_type == "code"]
    graded = {cell.task for cell in lesson.cells}
    mine = _sort(submission, [cell["id"] for cell in own], lesson)
    steps: list[Step] = []

    def add(cell_id: str, source: str, check=None) -> None:
        steps.append(Step(len(steps), cell_id, source, check))

    for source in mine.others.get("", []):
        add("", source)
    for cell in own:
        name = cell["id"]
        if name in tasks:
            add(name, tasks[name].source, tasks[name])
        elif name in answers:
            if name in mine.known:
                add(name, mine.known[name])
        elif not CALL.search(cell.source) or CALL.search(cell.source)[1] in graded:
            add(name, cell.source)
            if mine.known.get(name, cell.source).strip() != cell.source.strip():
                add(name, mine.known[name])
        for source in mine.others.get(name, []):
            add("", source)
    return Assembled(steps, _notes(mine, lesson), _imported(steps, own))


def _sort(submission, base_ids: list[str], lesson: record.Lesson) -> _Sorted:
    found, behind = _Sorted(), ""
    tasks = {cell.id: cell.task for cell in lesson.cells}
    for cell in submission.cells:
        if cell.cell_type != "code":
            continue
        # A cell that was copied keeps its grade_id and gets an id of its own, which then counts.
        own = cell.get("id")
        names = [own, *sorted(names_of(cell) - {own})]
        check = _check_id(names, cell.source)
        name = next((n for n in names if n in base_ids and n not in found.known), "")
        if check:
            found.checks.setdefault(tasks.get(check, ""), []).append(cell.source)
            behind = check if check in base_ids else behind
        elif name:
            found.known[name] = cell.source
            behind = name
        else:
            found.others.setdefault(behind, []).append(cell.source)
    return found


def _check_id(names: list, source: str) -> str:
    """The id of the check that a cell is: by name, or because it holds a call of check(...) and imports only.

    A student's own cell that also defines something is no check, whatever it calls at its end.
    """
    for name in names:
        if isinstance(name, str) and re.fullmatch(r"check-\d+-\d+", name):
            return name
    called = CALL.search(source)
    try:
        plain = all(isinstance(s, (ast.Import, ast.ImportFrom, ast.Expr)) for s in ast.parse(source).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return f"check-{called[1].replace('.', '-')}" if called and plain else ""


def _notes(mine: _Sorted, lesson: record.Lesson) -> dict[str, list[str]]:
    """What a student is told about check cells that are not as they were handed out."""
    notes: dict[str, list[str]] = {}
    for cell in lesson.cells:
        here = mine.checks.get(cell.task, [])
        said = notes.setdefault(cell.task, [])
        if not here:
            said.append("Its check cell was missing; the original was used.")
        elif _plain(here[0]) != _plain(cell.source):
            said.append("Its check cell was changed; the original was used.")
        if len(here) > 1:
            said.append(f"Its check cell was there {len(here)} times; the original was used, once.")
        lost = [name for name in lesson.answers.get(cell.task, []) if name not in mine.known]
        if lost and not mine.others:
            said.append("The cell for its answer was missing.")
    return notes


def _plain(source: str) -> str:
    """A source without what does not matter in it: blank lines, comments, quotes and spaces."""
    try:
        return ast.unparse(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source


def _imported(steps: list[Step], own) -> dict[str, set[str]]:
    """{task: what student's cells import from the toolkit}, less what the lesson itself imports."""
    given = {name for cell in own for name in imports(cell.source)}
    found: dict[str, set[str]] = {}
    pending: set[str] = set()
    for step in steps:
        if step.check:
            found[step.check.task], pending = pending, set()
        else:
            pending |= {name for name in imports(step.source) if name not in given}
    return found


def imports(source: str) -> Iterator[str]:
    """The names that a cell imports from the toolkit's modules: 'toolkit.ddim.ddim'."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "toolkit":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "toolkit")
