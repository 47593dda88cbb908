"""What the tests of marking share: a box and a key for each lesson, made once."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

from book.grading import marking, sandbox, staging
from book.lessons import record
from book.lessons.running import read_notebook

ROOT = Path(__file__).parents[3]

SECRET = b"a secret of tests"


def solution(lesson: str):
    return read_notebook(ROOT / "solutions" / record.load(lesson).notebook)


def exercise(lesson: str):
    return read_notebook(ROOT / "exercises" / record.load(lesson).notebook)


def reduced(lesson: str, tasks=()) -> record.Lesson:
    """The record of a lesson, with these tasks only."""
    whole = record.load(lesson)
    return replace(whole, cells=tuple(cell for cell in whole.cells if not tasks or cell.task in tasks))


@contextlib.contextmanager
def box(lesson: str, kind: str = "auto", limits: sandbox.Limits | None = None):
    """A box in which submissions to a lesson can be marked."""
    with tempfile.TemporaryDirectory(prefix="tk") as folder:
        staged = staging.stage(Path(folder), [lesson])
        sources = [cell.source for cell in solution(lesson).cells if cell.cell_type == "code"]
        imports = [*staging.imports_of(sources), f"book.lessons._probes_{lesson}"]
        with sandbox.Sandbox(staged, imports, limits or sandbox.Limits(), kind) as made:
            yield made


@contextlib.contextmanager
def marker(lesson: str, tasks=(), secret: bytes = SECRET, limits: sandbox.Limits | None = None):
    """A marker of a lesson, or of some of its tasks."""
    with box(lesson, limits=limits) as made:
        base = solution(lesson)
        key = marking.make_key(reduced(lesson, tasks), base, made, secret)
        yield marking.Marker(key, base, made)


def hurried(marker: marking.Marker, deadline: float) -> marking.Marker:
    """The marker with another deadline for each cell."""
    return marking.Marker(replace(marker.key, deadline=deadline), marker.base, marker.box)
