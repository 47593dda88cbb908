"""The class list: the ids by which a course draws hunts and constants, and what an LMS calls the same people.

A list is what an instructor has: ids, one a line, or a table as an LMS exports it (Canvas's gradebook,
Moodle's worksheet or participants, Gradescope's roster).  Of a table that column gives the ids which is made
for that and has one in each line.
"""

from __future__ import annotations

import csv
import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from book.grading.results import Student
from book.grading.text import line, some, squeezed, words

ID = re.compile(r"[\w.@+-]{1,64}")
AN_ID = "1 to 64 letters, digits and . @ + - _, no dot at its ends, and no name of a release's own file"

_COLUMNS = (
    "login", "login id", "sis login id", "username", "user name", "netid", "user id", "user_id", "student id",
    "student_id", "sid", "sis user id", "id", "email", "email address", "id number", "user", "student",
)  # fmt: skip
"""Headers of columns that hold ids, the best first."""

_NAMES = ("identifier", "name", "full name", "first name", "last name", "surname", "given name")
"""Headers that a table may begin with, and of columns that hold no ids."""

_NOBODY = ("points possible", "student, test", "test student")
"""What Canvas writes into the first column of lines that are no student's."""


def is_id(student: str) -> bool:
    """Whether a text can be a student's id, which becomes a folder's name."""
    return bool(ID.fullmatch(student)) and student.strip(".") == student and student.lower() != "release.json"


@dataclass(frozen=True)
class Roll:
    """A class: {id: the cells of its line in the list}."""

    lines: Mapping[str, tuple[str, ...]]

    def of(self, student: Student) -> set[str]:
        """The ids of the lines that name this student, by a number or address of the LMS, or by name."""
        called = (student.key, *student.ids.values(), squeezed(student.name), words(student.name))
        return set().union(*(self._whose.get(one, ()) for one in called if one))

    @functools.cached_property
    def _whose(self) -> dict[str | tuple[str, ...], set[str]]:
        """{what a line says for its student: the ids of the lines that say it}."""
        found = defaultdict(set)
        for student, cells in self.lines.items():
            for one in (*_numbers(cells), *_forms(cells)):
                found[one].add(student)
        return found

    def odd(self, students: Iterable[Student]) -> list[str]:
        """Sentences for the instructor: who on the list handed in nothing, and who did and is not on it."""
        ids = {one.key: (one.name or one.key, self.of(one)) for one in students}
        there = set().union(*(theirs for _, theirs in ids.values()))
        absent = [one for one in self.lines if one not in there]
        unknown = [line(name) for name, theirs in ids.values() if not theirs]
        said = []
        if absent:
            of = f"{len(absent)} of the {len(self.lines)} on the roll"
            said.append(f"Nothing came from {of}: {some(absent)}.")
        if unknown:
            said.append(f"Not on the roll, or not under that name: {some(unknown)}.")
        return said


def _numbers(cells: Sequence[str]) -> Iterator[str]:
    """What a line says for an id: its cells, and the number of Moodle's 'Participant 2000'."""
    for cell in cells:
        yield cell
        if match := re.fullmatch(r"Participant (\d+)", cell):
            yield match[1]


def _forms(cells: Sequence[str]) -> Iterator[str | tuple[str, ...]]:
    """The forms of what may be a name in a line: a cell, or two that lie side by side."""
    for cell in (*cells, *map(" ".join, zip(cells, cells[1:], strict=False))):
        yield squeezed(cell)
        yield words(cell)


def read_roll(path: Path) -> Roll:
    """The class in a file.  Raises ValueError, with a sentence, for an id that cannot be a folder's name, or
    is that of another."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        rows = [[cell.strip() for cell in row] for row in _rows(text)]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a class list ({error})") from None
    rows, place = _table([row for row in rows if any(row)])
    lines, known = {}, set()
    for row in rows:
        student = row[place] if place < len(row) else ""
        if not is_id(student):
            raise ValueError(f"{student!r:.90} in {path.name} is no id: {AN_ID}")
        # Some systems take names of another case, or spelling of a letter, for one folder.
        folder = unicodedata.normalize("NFKC", student).casefold()
        if folder in known:
            raise ValueError(f"{student} stands twice in {path.name}")
        known.add(folder)
        lines[student] = tuple(row)
    if not lines:
        raise ValueError(f"{path.name} names nobody: write one id a line")
    return Roll(lines)


def _rows(text: str) -> list[list[str]]:
    """The rows of a table whose cells are parted by what its first line has most of."""
    lines = text.splitlines()
    first = next(filter(str.strip, lines), "")
    return list(csv.reader(lines, delimiter=max(",;\t", key=first.count), skipinitialspace=True))


def _table(rows: list[list[str]]) -> tuple[list[list[str]], int]:
    """(the rows of students, the place of their ids): the first column of a list without a header."""
    header = [cell.lower() for cell in rows[0]] if rows else []
    if not header or header[0] not in (*_COLUMNS, *_NAMES):
        return rows, 0
    rows = [row for row in rows[1:] if row[0].lower() not in _NOBODY and (row[0] or header[0] != "student")]
    places = [header.index(name) for name in _COLUMNS if name in header] or [0]
    whole = (at for at in places if all(is_id(row[at]) for row in rows if at < len(row)))
    return rows, next(whole, places[0])
