"""The package's record of a lesson, `chNN/reference.json`: check cells, what they print when right, hints.

`toolkit build` writes it; the checks outside the student's kernel (command, pytest plugin, widget, hints)
read it, so that none of them has to import torch, and none of them trusts what a student's file says about
itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from book.lessons import registry

FORMAT = 2


@dataclass(frozen=True)
class Cell:
    """A check cell: its id, its task, what it runs, what it prints when the answer is right."""

    id: str
    task: str
    title: str
    points: int
    source: str
    output: str
    tolerance: float
    decimals: int


@dataclass(frozen=True)
class Lesson:
    """A lesson as recorded: number, the notebook's file name, check cells in order, and hints."""

    lesson: str
    notebook: str
    cells: tuple[Cell, ...]
    answers: dict[str, list[str]]
    hints: dict[str, list[str]]

    def cell(self, task_id: str) -> Cell:
        """The check cell of a task.  Raises ValueError, with the tasks that there are, when there is none."""
        for cell in self.cells:
            if cell.task == task_id:
                return cell
        raise ValueError(f"there is no task {task_id}; there are {', '.join(c.task for c in self.cells)}")


def path_of(lesson: str) -> Path:
    """Where the record of a lesson lies.  Raises ValueError for a lesson that is not there."""
    return registry.folder_of(lesson) / "reference.json"


def load(lesson: str) -> Lesson:
    """The record of a lesson.  Raises ValueError when there is none or it is not readable."""
    path = path_of(lesson)
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError:
        raise ValueError(f"lesson {lesson} has not been built yet: run toolkit build") from None
    return _load(path, stamp)


@lru_cache(maxsize=32)
def _load(path: Path, stamp: int) -> Lesson:
    try:
        raw = json.loads(path.read_text("utf8"))
        if raw.pop("format") != FORMAT:
            raise KeyError("format")
        cells = tuple(Cell(**cell) for cell in raw.pop("cells"))
        return Lesson(cells=cells, **raw)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.parent.name}/{path.name} is damaged ({error}): run toolkit build") from None


def dump(lesson: Lesson) -> str:
    """The record as text: sorted keys, one ending newline, the same bytes for the same lesson."""
    raw = {**vars(lesson), "cells": [vars(cell) for cell in lesson.cells], "format": FORMAT}
    return json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def labelled(task_id: str, text: str) -> dict[str, str]:
    """The labelled lines of a check's output: {label: value}, the verdict under 'verdict'.

    Only lines that begin with the task's id count, so whatever an answer prints besides does no harm; of two
    lines with one label the first counts.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.rstrip() == f"{task_id} done":
            found.setdefault("verdict", "done")
            continue
        match = re.fullmatch(re.escape(task_id) + r"  (.+?)\s{2,}(\S.*?)\s*", line)
        if match:
            found.setdefault(match[1], match[2])
    return found


def compare(cell: Cell, text: str) -> str:
    """'' when a check's output agrees with the recorded one, else one sentence.

    Numbers agree within the task's tolerance and one unit of the last printed decimal, so that another
    processor or library version makes no difference.
    """
    right, mine = labelled(cell.task, cell.output), labelled(cell.task, text)
    if "verdict" not in mine:
        return f"The check of {cell.task} ended without its last line, “{cell.task} done”."
    for label, value in right.items():
        if label not in mine:
            return f"The check of {cell.task} does not print “{label}”, which it prints for a right answer."
        if not _close(mine[label], value, cell):
            return f"The check of {cell.task} prints another value for “{label}” than a right answer gives."
    return ""


def _close(mine: str, right: str, cell: Cell) -> bool:
    if mine == right:
        return True
    try:
        a, b = float(mine), float(right)
    except ValueError:
        return False
    unit = 1.01 * 10.0**-cell.decimals
    return abs(a - b) <= cell.tolerance * (1 + abs(b)) + unit * max(1.0, abs(b) / 1e6)
