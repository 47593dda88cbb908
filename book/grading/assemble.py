"""Put a student's cells and the package's together: what is run when a submission is graded.

The order is the lesson's: its own setup, then for each task the student's answer and the package's check.
Cells of the student's own stay between the cells that they stand between; where these were moved apart, at
the place that comes sooner.  So an answer cell that was moved, a check that was edited, deleted or doubled,
and tags that ask to skip a cell change nothing.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from book.lessons import reach, record
from book.lessons.running import CALL, LONGEST, Step, names_of


@dataclass(frozen=True)
class Assembled:
    """steps: what is run.  notes: {task: remarks for the student}.  imported: {task: what the student's cells
    for it import from the toolkit's modules, as 'toolkit.ddim.ddim'}.  named: {task: the parts of the grader
    and of the checks that they name, as 'book.grading'}.
    """

    steps: list[Step]
    notes: dict[str, list[str]]
    imported: dict[str, set[str]]
    named: dict[str, set[str]]


@dataclass
class _Sorted:
    """The student's code cells: the base's by id, checks by task, and the others by the number of the base's
    cell that they go before.
    """

    known: dict[str, str] = field(default_factory=dict)
    checks: dict[str, list[str]] = field(default_factory=dict)
    others: dict[int, list[str]] = field(default_factory=dict)


def assemble(submission, base, lesson: record.Lesson, handed: Mapping[str, str] | None = None) -> Assembled:
    """The steps for a submission.

    submission: the student's notebook, nbformat 4.  base: the lesson's own notebook (the exercise or the
    solution), whose answer cells are not used.  lesson: its record, of the tasks that are graded.  handed:
    {task: the check cell as this student was given it}, where it is not the lesson's.
    """
    tasks = {cell.id: cell for cell in lesson.cells}
    answers = {cell_id: task for task, ids in lesson.answers.items() for cell_id in ids}
    own = [cell for cell in base.cells if cell.cell_type == "code"]
    graded = {cell.task for cell in lesson.cells}
    mine = _sort(submission, [cell["id"] for cell in own], lesson)
    _unswap(mine.known, {cell["id"]: _defined(cell.source) for cell in own if cell["id"] in answers})
    steps: list[Step] = []

    def add(cell_id: str, source: str, check=None, place="a cell of your own") -> None:
        steps.append(Step(len(steps), cell_id, source, check, place=place, spare=not cell_id))

    for place, cell in enumerate(own):
        name = cell["id"]
        for source in mine.others.get(place, []):
            add("", source)
        if name in tasks:
            add(name, tasks[name].source, tasks[name])
        elif name in answers:
            if name in mine.known:
                add(name, mine.known[name], place=f"the answer cell of {answers[name]}")
        elif not CALL.search(cell.source) or CALL.search(cell.source)[1] in graded:
            add(name, cell.source, place="the lesson's own cell")
            if mine.known.get(name, cell.source).strip() != cell.source.strip():
                add(name, mine.known[name])
    for source in mine.others.get(len(own), []):
        add("", source)
    given = {name for cell in own for name in imports(cell.source)}
    imported = _by_task(steps, lambda source: set(imports(source)) - given)
    return Assembled(steps, _notes(mine, lesson, handed or {}), imported, _by_task(steps, _inner))


def _sort(submission, base_ids: list[str], lesson: record.Lesson) -> _Sorted:
    found, waiting, sooner = _Sorted(), [], 0
    tasks = {cell.id: cell.task for cell in lesson.cells}
    for cell in submission.cells:
        if cell.cell_type != "code":
            continue
        # A cell that was copied keeps its grade_id and gets an id of its own, which then counts.
        own = cell.get("id")
        names = [own, *sorted(names_of(cell) - {own})]
        name = next((n for n in names if n in base_ids and n not in found.known), "")
        check = _check_id(names, cell.source, not name)
        if check:
            found.checks.setdefault(tasks.get(check, ""), []).append(cell.source)
            # Cells that were merged into a check are answers too.
            waiting += [] if _only_calls(cell.source) else [cell.source]
            name = check if check in base_ids else ""
        elif name:
            found.known[name] = cell.source
        else:
            waiting.append(cell.source)
        if name:
            place = base_ids.index(name)
            found.others.setdefault(min(sooner, place), []).extend(waiting)
            waiting, sooner = [], place + 1
    found.others.setdefault(sooner, []).extend(waiting)
    return found


def _unswap(known: dict[str, str], asked: dict[str, set[str]]) -> None:
    """Give two answer cells back to each other where each defines what only the other is asked for.

    known: {id: the student's source}, changed.  asked: {id: the names that the answer cell is to define}.
    """
    have = {name: _defined(known[name]) for name in asked if name in known}
    for a, b in itertools.combinations(have, 2):
        crossed = asked[a] and asked[b] and asked[a] <= have[b] and asked[b] <= have[a]
        if crossed and not asked[a] & have[a] and not asked[b] & have[b]:
            known[a], known[b], have[a], have[b] = known[b], known[a], have[b], have[a]


def _defined(source: str) -> set[str]:
    """The names that a cell's statements define."""
    tree = _tree(source)
    try:
        return {name for part in (tree.body if tree else ()) for name in reach.binds(part)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()


def _check_id(names: list, source: str, unknown: bool) -> str:
    """The id of the check that a cell is: by name, or, if it is unknown, because it holds a call of
    check(...) and imports only.

    A student's own cell that also defines something is no check, whatever it calls at its end.
    """
    for name in names:
        if isinstance(name, str) and re.fullmatch(r"check-\d+-\d+", name):
            return name
    called = CALL.search(source)
    return f"check-{called[1].replace('.', '-')}" if called and unknown and _only_calls(source) else ""


def _only_calls(source: str) -> bool:
    """Whether a cell only imports and evaluates, so that it defines nothing."""
    tree = _tree(source)
    return tree is not None and all(isinstance(s, (ast.Import, ast.ImportFrom, ast.Expr)) for s in tree.body)


def _tree(source: str) -> ast.Module | None:
    """The syntax tree of a cell; None where it is not Python, or too long to be run: a tree takes hundreds of
    bytes for each of the source's."""
    try:
        return ast.parse(source) if len(source) <= LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _notes(mine: _Sorted, lesson: record.Lesson, handed: Mapping[str, str]) -> dict[str, list[str]]:
    """What a student is told about check cells that are not as they were handed out."""
    notes: dict[str, list[str]] = {}
    for cell in lesson.cells:
        here = mine.checks.get(cell.task, [])
        said = notes.setdefault(cell.task, [])
        if not here:
            said.append("Its check cell was missing; the original was used.")
        elif _plain(here[0]) != _plain(handed.get(cell.task, cell.source)):
            said.append("Its check cell was changed; the original was used.")
        if len(here) > 1:
            said.append(f"Its check cell was there {len(here)} times; the original was used, once.")
        lost = [name for name in lesson.answers.get(cell.task, []) if name not in mine.known]
        if lost and not any(mine.others.values()):
            said.append("The cell for its answer was missing.")
    return notes


def _plain(source: str) -> str:
    """A source without what does not matter in it: blank lines, comments, quotes and spaces."""
    tree = _tree(source)
    try:
        return source if tree is None else ast.unparse(tree)
    except (ValueError, RecursionError, MemoryError):
        return source


def _by_task(steps: list[Step], find) -> dict[str, set[str]]:
    """{task: what `find(source)` finds in the cells for it}."""
    found: dict[str, set[str]] = {}
    pending: set[str] = set()
    for step in steps:
        if step.check:
            found[step.check.task], pending = pending, set()
        else:
            pending |= find(step.source)
    return found


def _inner(source: str) -> set[str]:
    """The parts of the grader and of the checks that a cell names; an answer has no use for them."""
    return set(re.findall(_INNER, source))


_INNER = (
    r"(?:toolkit|book)\.grading|(?:toolkit|book)\.lessons\.\w+"
    r"|\bch\d\d(?:\.| import )(?:tasks|solution)\b|\b_probes_\d\d\b"
)


def imports(source: str) -> Iterator[str]:
    """The names that a cell imports from our modules: 'toolkit.ddim.ddim'."""
    for node in ast.walk(_tree(source) or ast.Module([], [])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("toolkit", "book"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in ("toolkit", "book"))
