"""A course from end to end: what students handed in goes in, marks and pages to hand back come out."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ..lessons import record, registry
from . import feedback, reports, sandbox, text
from .collect import CollectError, collect
from .release import Release, ReleaseError, read_release
from .results import Graded
from .run import CannotGrade, Options, grade

REFUSED = (CollectError, ReleaseError, CannotGrade, reports.ReportError, sandbox.NoSandbox)
"""Why a run may be refused as a whole; the text of each is one sentence."""


def grade_class(
    submissions: Path,
    out: Path,
    lessons: Sequence[str] = (),
    release: Path | None = None,
    due: datetime | None = None,
    canvas: Path | bool = False,
    moodle: Path | bool = False,
    title: str = "",
    classroom: bool = False,
    options: Options | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> list[Graded]:
    """Grade what is in a notebook, folder or zip, and write into `out`:

    grades.csv, canvas.csv, moodle.csv and classroom.json (where asked for), junit.xml, gradescope/KEY.json,
    feedback/KEY.html for each student, summary.html, and state/ (so that a stopped run goes on).

    lessons: those graded, '02'; all by default.  release: the record of what was set (tasks, points), in
    place of lessons.  due: when files count as late.  canvas, moodle: see `reports.write`.  title: the pages'
    heading.  tell: is given sentences for the instructor.  Raises one of REFUSED with one sentence.
    """
    options, out = options or Options(), Path(out)
    chosen = read_release(release) if release else Release.whole(lessons or registry.lessons())
    if sandbox.found(options.isolation) == "limits":
        tell(f"WARNING: {sandbox.NOT_PROTECTED}")
    _check_sheets(canvas, moodle)
    with tempfile.TemporaryDirectory() as folder:
        found = collect(submissions, Path(folder), chosen.lessons, due, tell)
        wanted = {one.lesson for one in found}
        kept = {lesson: chosen_record(chosen, lesson) for lesson in chosen.lessons if lesson in wanted}
        graded = grade(found, kept, out, options, _progress)
    for sentence in reports.write(graded, out, canvas, moodle, title, classroom):
        tell(sentence)
    _write_pages(graded, out, title or chosen.title)
    return graded


def _check_sheets(canvas: Path | bool, moodle: Path | bool) -> None:
    """Raise ReportError for an LMS's file that cannot be filled in, before an hour is spent on grading."""
    for sheet, fill in ((canvas, reports.fill_canvas), (moodle, reports.fill_moodle)):
        if sheet and sheet is not True:
            fill([], reports.read_csv(sheet))


def chosen_record(chosen: Release, lesson: str) -> record.Lesson:
    """The record of a lesson with the tasks and points of a release."""
    whole, tasks = record.load(lesson), chosen.tasks_of(lesson)
    cells = (cell for cell in whole.cells if cell.task in tasks)
    return replace(whole, cells=tuple(replace(cell, points=chosen.points[cell.task]) for cell in cells))


def _write_pages(graded: list[Graded], out: Path, title: str) -> None:
    """The feedback page of every student, and the summary of the class."""
    for student, theirs in reports.by_student(graded):
        text.write(out / "feedback" / f"{student.key}.html", feedback.page(theirs, title or "Feedback"))
    page = feedback.summary(graded, title or "Summary", "feedback/{key}.html")
    text.write(out / "summary.html", page)


def _progress(total: int, results):
    """The results, with a progress bar where somebody can see it."""
    from tqdm import tqdm

    return tqdm(results, total=total, desc="grading", unit=" notebook", file=sys.stderr, disable=None)
