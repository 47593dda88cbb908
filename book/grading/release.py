"""Release exercises to a class: the tasks chosen, their points, the deadline; and the record of all that.

`release` writes the notebooks as students get them, and `release.json`, by which `toolkit grade` knows what
was set.  The same choice gives the same bytes.
"""

from __future__ import annotations

import json
import math
import re
import symtable
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from book.grading import issuing, text
from book.lessons import building, hunting, record, registry
from book.lessons.running import BadNotebook, read_notebook
from toolkit.files import write_file

FORMAT = 1
RECORD = "release.json"
CELL = "release"  # the id of the Markdown cell that tells title, points and deadline


class ReleaseError(Exception):
    """A release that cannot be made or read; the text is one sentence."""


@dataclass(frozen=True)
class Release:
    """What was set: lessons such as ('02',), tasks such as ('2.1', '2.3') in order, the points of each; the
    tasks that are bug hunts, with the number of mistakes, and those with constants of each student's own.

    partial: whether a hunt gives points in proportion to the mistakes that are mended.
    """

    lessons: tuple[str, ...]
    tasks: tuple[str, ...]
    points: dict[str, float] = field(default_factory=dict)
    due: str = ""
    title: str = ""
    hunts: dict[str, int] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    partial: bool = False

    @property
    def issued(self) -> bool:
        """Whether each student has a notebook of their own, by the course's key."""
        return bool(self.hunts or self.varied)

    def course(self, key: bytes) -> issuing.Course:
        """What differs between students, by the course's key."""
        return issuing.Course(key, self.hunts, self.varied, self.partial)

    @classmethod
    def whole(cls, lessons: Sequence[str]) -> Release:
        """All tasks of these lessons, or of all, with the book's points.

        Raises ReleaseError for an unknown lesson.
        """
        return _choose(lessons, None, {}, "", "")

    def tasks_of(self, lesson: str) -> tuple[str, ...]:
        """The tasks set of a lesson, in order."""
        return tuple(task for task in self.tasks if _lesson(task) == lesson)


def read_release(path: Path) -> Release:
    """The release that a `release.json` records.  Raises ReleaseError, with one sentence, for others."""
    path = Path(path)
    try:
        raw = json.loads(path.read_text("utf8"))
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        raise ReleaseError(f"{path.name} is not JSON: make the release again.") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ReleaseError(f"{path.name} is not the record of a release of this version: make it again.")
    try:
        if not (raw["lessons"] and raw["tasks"]):
            raise TypeError("it names no lesson or no task")
        chosen = _choose(raw["lessons"], raw["tasks"], raw["points"], raw["due"], raw["title"])
        return _issued(chosen, raw.get("hunts", {}), bool(raw.get("varied")), bool(raw.get("partial")))
    except (KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{path.name} is damaged ({error}): make the release again.") from None


def release(
    folder: Path,
    lessons: Sequence[str],
    due: str = "",
    points: Mapping[str, float] | None = None,
    tasks: Sequence[str] | None = None,
    title: str = "",
    exercises: Path = Path("exercises"),
    force: bool = False,
    hunts: Mapping[str, int] | None = None,
    vary: bool = False,
    key: bytes = b"",
    students: Sequence[str] = (),
    partial: bool = False,
) -> list[Path]:
    """Write the exercises of these lessons as students get them, and `release.json`; returns the files.

    due: the deadline as students read it.  points: {'2.3': 6} for tasks that are worth something else than
    in the book.  tasks: only these, such as ['2.1', '2.3'].  lessons: where none is named, those of the
    tasks, or all.  force: write even where other files lie, or another release.  hunts: {'4.2': 2} for tasks
    that are given as listings with so many mistakes.  vary: give the tasks that have them constants of each
    student's own.  For either: the course's key, and the ids of the students, who get a folder each.
    partial: let hunts give points in proportion to the mistakes that are mended.

    Raises ReleaseError, with one sentence, and writes nothing, for what does not fit.
    """
    folder, exercises = Path(folder), Path(exercises)
    chosen = _issued(_choose(lessons, tasks, points or {}, due, title), hunts or {}, vary, partial)
    if chosen.issued and not (key and students):
        raise ReleaseError("Hunts and constants are drawn for each student: give --key and --roll.")
    course = chosen.course(key)
    files = {}
    for lesson in chosen.lessons:
        path = exercises / record.load(lesson).notebook
        for student in students if chosen.issued else ("",):
            files[folder / student / path.name] = _notebook(path, chosen, lesson, course, student)
    files[folder / RECORD] = _dump(chosen)
    _check_folder(folder, files, exercises, force)
    for path, content in files.items():
        write_file(path, content)
    return list(files)


def hunt_notebook(hunt: hunting.Hunt, exercises: Path = Path("exercises")) -> str:
    """The notebook of a bug hunt on its own, as text: its task's cells of the exercise, with the listing.

    Raises ReleaseError where there is no such exercise.
    """
    import nbformat

    lesson = record.load(_lesson(hunt.task))
    path = Path(exercises) / lesson.notebook
    alone = _choose([], [hunt.task], {}, "", "")
    notebook = nbformat.reads(_notebook(path, alone, lesson.lesson), as_version=4)
    issuing.put_hunt(notebook, hunt, lesson)
    told = next(cell for cell in notebook.cells if cell["id"] == CELL)
    told.source = (
        f"**Bug hunt {hunt.ticket}.** One task of this lesson, {hunt.task}, its right answer spoilt. The "
        "introduction above speaks of the whole lesson. Below the listing, `hunt(...)` counts the mistakes "
        "that are still there, and the check after it is the exercise's own."
    )
    return building._text(notebook)


# --- the choice -----------------------------------------------------------------------------------------


def _lesson(task: str) -> str:
    return f"{int(task.partition('.')[0]):02d}"


def _choose(lessons, tasks, points: Mapping[str, float], due: str, title: str) -> Release:
    """The release, its parts checked and in order.  Raises ReleaseError."""
    lessons = lessons or _lessons(tasks)
    try:
        names = sorted({registry.lesson_name(lesson) for lesson in lessons})
        cells = {cell.task: cell.points for name in names for cell in record.load(name).cells}
    except ValueError as error:
        said = f"{error}"
        raise ReleaseError(said[0].upper() + said[1:] + ".") from None
    if not names:
        raise ReleaseError("There is no lesson to release.")
    wanted = list(tasks) if tasks else list(cells)
    for task in (*wanted, *points):
        if task not in cells:
            known = ", ".join(cells)
            raise ReleaseError(f"There is no task {task} in what is released; there are {known}.")
    kept = tuple(task for task in cells if task in wanted)
    for name in names:
        if name not in map(_lesson, kept):
            raise ReleaseError(f"No task of lesson {name} is chosen: choose one, or leave the lesson out.")
    for task, value in points.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value > 0):
            raise ReleaseError(f"Task {task} cannot be worth {value!r} points: give a number above 0.")
        if task not in kept:
            raise ReleaseError(f"Task {task} has points but is not among the tasks chosen.")
    worth = {task: _whole(points.get(task, cells[task])) for task in kept}
    return Release(tuple(names), kept, worth, f"{due}", f"{title}")


def _issued(chosen: Release, hunts: Mapping[str, int], vary: bool, partial: bool) -> Release:
    """The release with these hunts, and with constants where there are any.  Raises ReleaseError."""
    if partial and max(hunts.values(), default=0) < 2:
        raise ReleaseError("Points in part are for hunts with two or three mistakes: set one (--hunt 4.2=2).")
    for task, count in hunts.items():
        if task not in chosen.tasks:
            raise ReleaseError(f"Task {task} is to be a hunt but is not among the tasks chosen.")
        try:
            hunting.draw(_lesson(task), count, b"", task)
        except (ValueError, TypeError) as error:
            said = f"{error}"
            raise ReleaseError(said[0].upper() + said[1:] + ".") from None
    able = tuple(task for task in chosen.tasks if registry.find(task).varies) if vary else ()
    if vary and not able:
        every = (task for lesson in registry.lessons() for task in registry.tasks(lesson).values())
        able = ", ".join(task.id for task in every if task.varies)
        raise ReleaseError(f"None of the tasks chosen can be given with other constants, as {able} can.")
    return replace(chosen, hunts=dict(hunts), varied=able, partial=partial)


def _lessons(tasks: Sequence[str] | None) -> list[str]:
    """The lessons of these tasks, or all where there are none.  Raises ReleaseError for what is no task."""
    for task in tasks or ():
        if not re.fullmatch(r"\d{1,2}\.\d+", task):
            raise ReleaseError(f"There is no task {text.line(task)}: name one by its number, such as 2.3.")
    return sorted({_lesson(task) for task in tasks}) if tasks else registry.lessons()


def _whole(value: float) -> float:
    """2.0 as 2, so that it is written as people write it."""
    return int(value) if value == int(value) else float(value)


def _dump(chosen: Release) -> str:
    raw = {**vars(chosen), "format": FORMAT}
    if not chosen.issued:
        del raw["hunts"], raw["varied"]
    if not chosen.partial:
        del raw["partial"]
    return json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _check_folder(folder: Path, files: Mapping[Path, str], exercises: Path, force: bool) -> None:
    """Raise ReleaseError for a folder in which something else could be lost."""
    if folder.exists() and not folder.is_dir():
        raise ReleaseError(f"{folder} is a file: name a folder for the release.")
    if folder.resolve() == exercises.resolve():
        raise ReleaseError(f"{folder} holds the exercises themselves: name another folder for the release.")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if RECORD in there and not force and (folder / RECORD).read_bytes() != files[folder / RECORD].encode():
        raise ReleaseError(
            f"{folder} holds another release (its {RECORD} differs): name another folder, or replace that "
            "one with --force."
        )
    ours = {path.relative_to(folder).parts[0] for path in files}
    other = [name for name in there if name not in ours]
    if there and not force and (other or RECORD not in there):
        raise ReleaseError(
            f"{folder} holds other files ({(other or there)[0]}): name an empty folder, or write into this "
            "one all the same with --force."
        )


# --- the notebooks --------------------------------------------------------------------------------------


def _notebook(path: Path, chosen: Release, lesson: str, course=None, student: str = "") -> str:
    """The exercise of a lesson with what was chosen, as text.  Raises ReleaseError.

    course, student: whose hunts and constants are put into it.
    """
    try:
        notebook = read_notebook(path)
    except BadNotebook as error:
        raise ReleaseError(
            f"{error} Go to the project's folder, or name the folder of the exercises."
        ) from None
    tasks = chosen.tasks_of(lesson)
    sections = list(_sections(notebook, record.load(lesson), path.name))
    dropped = {index for task, cells in sections for index in cells if task not in tasks}
    _check_names(notebook, sections, dropped)
    for task, cells in sections:
        if task in tasks:
            _set_points([notebook.cells[index] for index in cells], task, chosen.points[task])
    first = notebook.cells[0] if notebook.cells and notebook.cells[0].cell_type == "markdown" else None
    kept = [cell for index, cell in enumerate(notebook.cells) if index not in dropped and cell is not first]
    notebook.cells = [*([first] if first else []), _told(chosen, tasks, bool(dropped)), *kept]
    if dropped:
        notebook.metadata["toolkit"]["tasks"] = list(tasks)
    if student:
        issuing.put(notebook, course, student, record.load(lesson), tasks)
    try:
        return building._text(notebook)
    except building.BuildError as error:
        raise ReleaseError(f"{path.name}: {error}") from None


def _sections(notebook, lesson: record.Lesson, name: str) -> Iterator[tuple[str, range]]:
    """(task, its cells) from the statement to the hints, for each task of the lesson."""
    at = {cell.get("id"): index for index, cell in enumerate(notebook.cells)}
    for cell in lesson.cells:
        slug = cell.task.replace(".", "-")
        if f"task-{slug}" not in at or f"hints-{slug}" not in at:
            raise ReleaseError(f"{name} is not as `toolkit build` makes it: task {cell.task} is not whole.")
        yield cell.task, range(at[f"task-{slug}"], at[f"hints-{slug}"] + 1)


def _check_names(notebook, sections, dropped: set[int]) -> None:
    """Raise ReleaseError when a cell that stays needs what a cell that goes defines."""
    owner = {index: task for task, cells in sections for index in cells}
    made: dict[str, int] = {}  # name: a cell above that defines it, if possible one that stays
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        defines, needs = _globals(cell.source)
        lost = sorted(name for name in needs if made.get(name) in dropped)
        if lost and index not in dropped:
            where = f"task {owner[index]}" if index in owner else f"cell {cell.get('id')}"
            raise ReleaseError(
                f"Without task {owner[made[lost[0]]]}, {where} lacks {lost[0]}: choose both or neither."
            )
        made |= {name: index for name in defines if index not in dropped or made.get(name, index) in dropped}


def _globals(source: str) -> tuple[set[str], set[str]]:
    """(names that a cell defines, other global names that it uses)."""
    try:
        top = symtable.symtable(source, "cell", "exec")
    except SyntaxError:  # a magic
        return set(), set()
    tables, used = [top], set()
    for table in tables:
        tables += table.get_children()
        used |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and
                 (table is top or s.is_global())}  # fmt: skip
    names = top.get_symbols()
    made = {s.get_name() for s in names if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return made, used - made


def _set_points(cells, task: str, points: float) -> None:
    """Put the points into the statement's heading and into nbgrader's metadata."""
    for cell in cells:
        if cell.get("id") == f"task-{task.replace('.', '-')}":
            cell.source = re.sub(
                r"(^\*Difficulty .*), [\d.]+ points?\.\*$",
                lambda match: f"{match[1]}, {text.counted(points, 'point')}.*",
                cell.source,
                count=1,
                flags=re.MULTILINE,
            )
        grade = cell.metadata.get("nbgrader", {})
        if grade.get("grade"):
            grade["points"] = points


def _told(chosen: Release, tasks: Sequence[str], part: bool):
    """The Markdown cell that tells what is set.  part: whether tasks of the lesson were left out."""
    from nbformat.v4 import new_markdown_cell

    total = sum(chosen.points[task] for task in tasks)
    due = f"Hand in by **{chosen.due}**" if chosen.due else "Hand in"
    said = [
        *([f"**{chosen.title}**"] if chosen.title else []),
        f"{text.counted(len(tasks), 'task')} ({_run(tasks)}), {text.counted(total, 'point')} in all. {due}: "
        "this one file, under any name. What is graded is what you write into the answer cells; the check "
        "cells tell you beforehand how it stands.",
        "A check prints values computed from your answer, then that the task is done, or what it noticed.",
    ]
    if part:
        said.append(f"The introduction speaks of the whole lesson; of it these are set: {_run(tasks)}.")
    cell = new_markdown_cell("\n\n".join(said))
    building._name(cell, CELL, locked=True)
    return cell


def _run(tasks: Sequence[str]) -> str:
    """'2.1', '2.1 and 2.3', or '2.1 to 2.10' for tasks that follow each other."""
    numbers = [int(task.partition(".")[2]) for task in tasks]
    if len(tasks) > 2 and numbers == list(range(numbers[0], numbers[0] + len(tasks))):
        return f"{tasks[0]} to {tasks[-1]}"
    return " and ".join(filter(None, (", ".join(tasks[:-1]), tasks[-1])))
