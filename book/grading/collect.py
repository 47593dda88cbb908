"""Who handed in what: submissions as Canvas, Moodle, Gradescope, nbgrader or a person lays them out.

The layout is told by the names (`owners`).  Nothing is dropped: what cannot be graded becomes a submission
with a problem, or a note.  Nobody's file changes which lessons count for another.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from book.grading import text
from book.grading.owners import File, Layout, Owner, original_name
from book.grading.reading import read
from book.grading.results import Student
from book.grading.unpacking import CHECKPOINTS, CollectError, Found, find, is_archive
from book.lessons import record, registry
from book.lessons.building import BEGIN
from book.lessons.running import BadNotebook, lesson_of

__all__ = ["CollectError", "Submission", "collect"]


@dataclass(frozen=True)
class Submission:
    """What one student handed in for one lesson.

    path: the copy to be graded, or None when there is none; `problem` then says why in one sentence.  file:
    its original name.  late: as the LMS says it, or by the deadline.  notes: remarks for the student.  flags:
    for the instructor.  tries: how often it was handed in, where that is known, else 0.
    """

    student: Student
    lesson: str
    path: Path | None
    file: str
    late: bool
    problem: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    tries: int = 0


def collect(
    source: Path,
    into: Path,
    lessons: Sequence[str],
    due: datetime | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
    alone: bool = False,
    released: bool = False,
    asked: bool = True,
    gradescope: bool = False,
) -> list[Submission]:
    """The submissions in a notebook, a folder or a zip, in the order of the students' keys and the lessons.

    into: an empty folder for the copies.  lessons: those graded, such as ['02'].  asked: the instructor has
    named them; each student gets an entry for every one that anybody has handed in.  Else each gets an entry
    for those that most have handed in, and for what they have handed in themselves.  due: the deadline; it is
    compared with the times that Gradescope and nbgrader record (other dates are those of a download), and a
    time without a zone is this machine's.  Canvas marks late files itself.  tell: is given a sentence on
    every file that belongs to no student, on a deadline that has no effect, on lessons that few handed in,
    and on notebooks of a release where there should be its record.
    alone: everything is one student's, named as the source is; of several notebooks of a lesson the one that
    has the lesson's own file name is graded, not its copies.  released: the record of the release is known.
    gradescope: the source is Gradescope's export, whatever its name.

    Raises CollectError, with one sentence, for a source that cannot be read, and for several students of whom
    none has a notebook of these lessons but some have notebooks of others.
    """
    source = Path(source)
    found = find(source, into)
    files = [_file(item, lessons) for item in found]
    if alone:
        _assign_all(files, source.resolve(), lessons)
    else:
        _assign(files, Layout(found, files, source.stem, lessons, gradescope, tell), tell)
    people = _people(files)
    if not people:
        raise CollectError(f"There is no notebook in {source.name}.")
    if len(people) > 1:
        _check_lessons(files, lessons, source.name)
    if due:
        _tell_times(files, tell)
    if not released:
        _tell_release(files, lessons, tell)
    keys = _keys(people)
    wanted = _wanted(people, lessons, asked, tell)
    due = due.astimezone() if due else None
    made = [
        one for who, person in people.items() for one in _submissions(person, keys[who], wanted[who], due)
    ]
    return sorted(made, key=lambda one: (one.student.key, one.lesson))


def _wanted(
    people: dict[tuple, _Person], lessons: Sequence[str], asked: bool, tell: Callable[[str], None]
) -> dict[tuple, list[str]]:
    """{who: lessons of which they get an entry}, as `collect` says; tells of those that few handed in."""
    by = {lesson: {who for who, person in people.items() if lesson in person.lessons} for lesson in lessons}
    by = {lesson: whose for lesson, whose in by.items() if whose}
    active = set().union(*by.values())
    few = [lesson for lesson, whose in by.items() if 2 * len(whose) <= len(active)]
    then = "for all, since it was named." if asked else "for them only: name the lessons with --lesson."
    for lesson in few if len(by) > 1 else ():
        tell(f"Lesson {lesson} was handed in by {len(by[lesson])} of {len(people)} and counts {then}")
    for_all = [lesson for lesson in by if asked or lesson not in few]
    most = max(by, key=lambda lesson: len(by[lesson]), default=lessons[0])
    return {
        who: [one for one in lessons if one in for_all or who in by.get(one, ())] or [most] for who in people
    }


def _check_lessons(files: list[File], lessons: Sequence[str], source: str) -> None:
    """Raise CollectError where there are notebooks of the book, and none is of a lesson that is graded.

    A damaged notebook tells no lesson of itself, so it counts for none.
    """
    there = {file.lesson for file in files if file.owners and not file.problem} & set(registry.lessons())
    if there and not there & set(lessons):
        raise CollectError(
            f"There is no notebook of {_numbered(lessons, 'or')} in {source}; "
            f"these are of {_numbered(sorted(there), 'and')}."
        )


def _numbered(lessons: Sequence[str], word: str) -> str:
    """'lesson 02', 'lessons 00 and 02' or 'lessons 00, 01 and 02'."""
    said = f" {word} ".join(filter(None, (", ".join(lessons[:-1]), lessons[-1])))
    return f"lesson{'s' if len(lessons) > 1 else ''} {said}"


def _tell_times(files: list[File], tell: Callable[[str], None]) -> None:
    """Tell of times that a deadline cannot be compared with, or that there are none."""
    owners = [owner for file in files for owner in file.owners]
    unread = sorted({(owner.unread, owner.name) for owner in owners if owner.unread})
    if unread:
        (example, name), verb = unread[0], "is" if len(unread) == 1 else "are"
        tell(
            f"{text.counted(len(unread), 'time')} ({name}: “{example}”) {verb} not understood, and not "
            "compared with --due: a zone needs its offset, such as 2026-12-04 12:00:00 -0500."
        )
    elif not any(owner.handed or owner.late for owner in owners):
        tell("--due had no effect: these submissions record no times.")


def _tell_release(files: list[File], lessons: Sequence[str], tell: Callable[[str], None]) -> None:
    """Tell of notebooks that say that not all tasks were set, for which there should be a record."""
    books = [file for file in files if file.lesson in lessons and file.owners and not file.problem]
    parts = Counter((file.lesson, len(file.tasks)) for file in books if file.tasks)
    if not parts:
        return
    lesson, count = max(parts, key=lambda part: (parts[part], *part))
    some = [file for file in books if (file.lesson, len(file.tasks)) == (lesson, count)]
    every = text.counted(sum(file.lesson == lesson for file in books), "notebook")
    whose = f" ({some[0].owners[0].name}'s)" if len(some) == 1 else ""
    whole = text.counted(len(record.load(lesson).cells), "task")
    tell(
        f"{len(some)} of {every}{whose} {'says' if len(some) == 1 else 'say'} that {count} of {whole} of "
        f"lesson {lesson} {'was' if count == 1 else 'were'} set: if you released it so, grade with --release."
    )


# --- which lesson ---------------------------------------------------------------------------------------


def _file(item: Found, lessons: Sequence[str]) -> File:
    """A file with its lesson and its problem.

    One that cannot be read is of the lesson that its name tells, or of the only one that is graded.
    """
    if item.kind == "bad" and ".ipynb" not in item.name.lower():
        return File(item, "", item.trouble)
    if item.kind not in ("notebook", "checkpoint", "bad"):
        return File(item)
    name = original_name(item.name)
    problem = item.trouble
    if item.path:
        try:
            notebook, notes = read(item.path, name)
        except BadNotebook as error:
            problem = f"{error}"
        else:
            lesson = _lesson_told(notebook, name)
            tasks = _tasks_told(notebook, lesson) if lesson in lessons else ()
            return File(
                item, lesson, tasks=tasks, notes=notes, shipped=_is_shipped(notebook, lesson, lessons)
            )
    try:
        told = registry.lesson_name(name)
    except ValueError:
        told = ""
    return File(item, told if told in lessons else lessons[0] if len(lessons) == 1 else "", problem)


def _is_shipped(notebook, lesson: str, lessons: Sequence[str]) -> bool:
    """Whether a notebook is the book's own solution: an answer cell has its marks, which no exercise has."""
    if lesson not in lessons:
        return False
    answers = {name for names in record.load(lesson).answers.values() for name in names}
    mine = (cell.source for cell in notebook.cells if cell.get("id") in answers)
    return any(line.strip() == BEGIN for source in mine for line in source.splitlines())


def _lesson_told(notebook, name: str) -> str:
    """The lesson of a notebook by what it holds, else by its name, else ''."""
    try:
        return lesson_of(notebook, Path(name))
    except BadNotebook:
        calls = (
            re.search(r"""^[ \t]*check\([ \t]*["'](\d{1,2})\.\d""", c.source, re.M) for c in notebook.cells
        )
        return next((f"{int(call[1]):02d}" for call in calls if call), "")


def _tasks_told(notebook, lesson: str) -> tuple[str, ...]:
    """The tasks of a lesson that a notebook says were set; () where it does not say that some were not."""
    about = notebook.metadata.get("toolkit")
    said = about.get("tasks") if isinstance(about, dict) else None
    whole = [cell.task for cell in record.load(lesson).cells]
    tasks = tuple(task for task in whole if task in said) if isinstance(said, list) else ()
    return tasks if len(tasks) < len(whole) else ()


# --- whose it is ------------------------------------------------------------------------------------------


def _assign(files: list[File], layout: Layout, tell: Callable[[str], None]) -> None:
    """Put the owners to the files, and tell of what belongs to nobody."""
    for file in files:
        item = file.item
        owners = layout.owners(item)
        file.owners = [replace(owner, name=text.line(owner.name, 120) or "?") for owner in owners]
        if not file.owners and item.kind in ("other", "bad"):
            tell(item.trouble or f"“{'/'.join(item.parts)}” was not read: it is no notebook and nobody's.")
    known = {owner.who for file in files if file.item.kind != "checkpoint" for owner in file.owners}
    for file in files if known else ():
        # Beside the files of a class JupyterLab's copies are those of who looked at them.
        among = file.item.kind == "checkpoint" and file.item.parts[:-1] == layout.top
        if among and not known & {owner.who for owner in file.owners}:
            file.owners = []
            tell(f"“{file.item.name}” was not read: it is JupyterLab's copy of a file that is not there.")


def _assign_all(files: list[File], source: Path, lessons: Sequence[str]) -> None:
    """Give all files to one student, whose name is the source's."""
    name = text.line(source.name if source.is_dir() else source.stem, 120) or "?"
    for file in files:
        file.owners = [Owner(("plain", name), name)]
        file.own = file.lesson in lessons and file.item.name == record.load(file.lesson).notebook


# --- what is graded -------------------------------------------------------------------------------------


@dataclass
class _Person:
    """A student, with the files that are theirs."""

    owner: Owner
    files: list[tuple[File, Owner]] = field(default_factory=list)

    @property
    def lessons(self) -> set[str]:
        """Those of their notebooks, and of files that cannot be read by their names."""
        return {file.lesson for file, _ in self.files}


def _people(files: list[File]) -> dict[tuple, _Person]:
    """{who: the person with their files}."""
    people: dict[tuple, _Person] = {}
    for file in files:
        for owner in file.owners:
            people.setdefault(owner.who, _Person(owner)).files.append((file, owner))
    return people


def _submissions(person: _Person, key: str, asked: list[str], due: datetime | None) -> Iterator[Submission]:
    """One submission for each lesson asked for; the first has the notes on what belongs to none."""
    student = Student(key, person.owner.name, dict(person.owner.ids))
    loose = [(f, o) for f, o in person.files if f.lesson not in asked]
    notes = list(dict.fromkeys([*(o.note for _, o in person.files if o.note), *_loose_notes(loose)]))
    problems = [f.problem for f, _ in loose if f.problem]
    for lesson in asked:
        files = sorted((one for one in person.files if one[0].lesson == lesson), key=_order)
        good = [one for one in files if one[0].item.path and not one[0].problem]
        real = [one for one in good if one[0].item.kind != "checkpoint"]
        if real:
            files = [one for one in files if one[0].item.kind != "checkpoint"]
        file, owner = (real or good or files or [(None, None)])[-1]
        if file is None:
            said = problems[0] if problems else f"No notebook for lesson {lesson} was handed in."
            others = [note for note in notes if note != said]
            yield Submission(student, lesson, None, "", False, said, tuple(others))
        else:
            late = owner.late or bool(due and owner.handed and owner.handed > due)
            path = file.item.path if not file.problem else None
            told = (*_choice_notes(file, files, lesson), *file.notes, *notes)
            flags = (SHIPPED,) if file.shipped and path else ()
            tries = _tries(real)
            yield Submission(
                student, lesson, path, _shown(file, owner), late, file.problem, told, flags, tries
            )
        notes = []


def _tries(files: list[tuple[File, Owner]]) -> int:
    """How often a lesson was handed in: the notebooks that there are, or more where the LMS counts them (a
    zip of Canvas holds the last one, and its name the number)."""
    own = [(file, owner) for file, owner in files if not file.shipped]
    counted = [1 + owner.turn[1] for _, owner in own if owner.who[0] == "canvas" and len(owner.turn) == 2]
    return max([len(own), *counted])


SHIPPED = "its answer cells hold the marks of the book's own solution"
"""The flag of a notebook from solutions/."""


def _order(one: tuple[File, Owner]) -> tuple:
    """By whether it is the student's own, the lesson's own name where that counts, the LMS's count or time,
    the file's date, and its name.

    The last is the one that is graded; `_REASONS` says by which of these.
    """
    file, owner = one
    again = re.search(r" ?\((\d{1,3})\)(?=\.ipynb)", file.item.name)  # as a browser names a second download
    number = int(again[1]) if again else 0
    name = number, file.item.parts, f"{file.item.path}"
    return not file.shipped, file.own, owner.turn, file.item.date, name


_REASONS = (
    "which is not the book's own solution",
    "which has the lesson's own name",
    "the last that was handed in",
    "the newest by its date",
    "the last by its name",
)


def _shown(file: File, owner: Owner) -> str:
    return text.line(owner.file or file.item.name)


def _choice_notes(file: File, files: list[tuple[File, Owner]], lesson: str) -> Iterator[str]:
    """Why this file and not the others of the same lesson."""
    others = [(f, o) for f, o in files if f is not file]
    unread = [f for f, _ in others if f.problem]
    whole = [_shown(f, o) for f, o in others if not f.problem]
    yield from dict.fromkeys(f.problem for f in unread)
    if file.item.kind == "checkpoint":
        name = _shown(file, files[-1][1])
        yield f"Only JupyterLab's own copy of “{name}”, in {CHECKPOINTS}, was handed in; it was graded."
    if whole:
        mine = next(one for one in files if one[0] is file)
        next_best = [one for one in files if one[0] is not file and not one[0].problem][-1]
        why = next(why for why, a, b in zip(_REASONS, _order(mine), _order(next_best)) if a != b)
        name = _shown(*mine)
        yield f"Of several notebooks for lesson {lesson} “{name}” was graded, {why}, not {_list(whole)}."


def _loose_notes(loose: list[tuple[File, Owner]]) -> Iterator[str]:
    """What is said of the files that belong to no lesson asked for."""
    said, unread = [], []
    for file, mine in loose:
        name = _shown(file, mine)
        if file.problem or file.item.trouble:
            said.append(file.problem or file.item.trouble)
        elif file.item.kind == "checkpoint":
            continue
        elif file.item.kind == "notebook" and file.lesson:
            said.append(f"“{name}” belongs to lesson {file.lesson}, which is not graded here.")
        elif file.item.kind == "notebook":
            said.append(f"“{name}” is not one of this book's exercises.")
        elif file.item.kind == "other" and is_archive(name):
            said.append(f"“{name}” is an archive that is not opened: hand in the notebook itself.")
        elif file.item.kind == "other" and not mine.note:
            unread.append(name)
    if unread:
        said.append(f"Not read, since only notebooks are: {_list(unread)}.")
    yield from said[:MOST_SAID]
    if len(said) > MOST_SAID:
        yield f"{len(said) - MOST_SAID} more files were not graded."


MOST_SAID = 20
"""Remarks on the files of one student that belong to no lesson."""


def _list(names: list[str]) -> str:
    """'“a”, “b”' of at most five names, the others counted."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"“{text.line(name, 80)}”" for name in names[:5]) + more


# --- keys -----------------------------------------------------------------------------------------------

_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe",
                          "ı": "i"})  # fmt: skip
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")  # no file may have these names on Windows


def _keys(people: dict[tuple, _Person]) -> dict[tuple, str]:
    """A file name for each student: the name in plain letters, with the LMS's number; a hash where names
    cannot be told apart so.

    The key of a student changes only when another one comes whose name folds to the same letters.
    """
    folded = {who: _fold(person.owner) for who, person in people.items()}
    count = Counter(key for key, _ in folded.values())
    mark = {who: hashlib.sha256(repr(who).encode("utf8", "replace")).hexdigest()[:8] for who in people}
    return {
        who: key if whole and count[key] == 1 else f"{key}-{mark[who]}".strip("-")
        for who, (key, whole) in folded.items()
    }


def _fold(owner: Owner) -> tuple[str, bool]:
    """(key, whether the key alone is enough): small letters, digits and hyphens."""
    number = owner.who[-1] if owner.ids and owner.who[0] != "plain" else ""
    name = unicodedata.normalize("NFKD", f"{owner.name.lower()} {number.lower()}").translate(_LETTERS)
    name = "".join(letter for letter in name if not unicodedata.combining(letter))
    lost = any(letter.isalnum() and not letter.isascii() for letter in name)
    key = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    return key[:48].strip("-") or "student", bool(key) and not lost and len(key) <= 48 and not (
        _RESERVED.fullmatch(key)
    )
