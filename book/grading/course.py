"""A course from end to end: what students handed in goes in, marks and pages to hand back come out."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from book.grading import feedback, issuing, reports, results, sandbox
from book.grading.collect import CollectError, collect
from book.grading.release import Release, ReleaseError, read_release
from book.grading.results import Graded
from book.grading.roll import Roll
from book.grading.run import CannotGrade, Options, grade
from book.lessons import record, registry
from toolkit.files import write_file

REFUSED = (CollectError, ReleaseError, CannotGrade, reports.ReportError, sandbox.NoSandbox)
"""Why a run may be refused as a whole; the text of each is one sentence."""


def grade_class(
    submissions: Path,
    out: Path,
    *,
    lessons: Sequence[str] = (),
    release: Path | None = None,
    key: bytes = b"",
    roll: Roll | None = None,
    due: datetime | None = None,
    canvas: Path | bool = False,
    column: str = "",
    moodle: Path | bool = False,
    classroom: bool = False,
    gradescope: bool = False,
    title: str = "",
    options: Options | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> list[Graded]:
    """Grade what is in a notebook, folder or zip, and write into `out`:

    grades.csv, canvas.csv, moodle.csv with moodle-feedback.zip, and classroom.json (where asked for),
    junit.xml, gradescope/KEY.json, feedback/KEY.html for each student, summary.html, graded.json (all of it,
    for `toolkit statistics`), and state/ (so that a stopped run goes on).

    lessons: those graded, '02'; all by default.  release: the record of what was set (tasks, points), in
    place of lessons.  key: of the course, where each student has hunts or constants of their own.  roll: the
    class, by which it is told whose a notebook is, and who handed in nothing.  due: when files count as
    late.  canvas, moodle: see `reports.write`.  column: Canvas's, if all lessons go into one.  classroom:
    everything is one student's.  gradescope: the source is Gradescope's export, whatever its name.  title:
    the pages' heading.  tell: is given sentences for the instructor.  Raises one of REFUSED with one
    sentence.
    """
    submissions, out, chosen = Path(submissions), Path(out), _chosen(lessons, release)
    options = _of_course(options or Options(), chosen, key)
    _check_out(submissions, out)
    _check_sheets(canvas, moodle)
    if sandbox.found(options.isolation) == "limits":
        tell(f"WARNING: {sandbox.NOT_PROTECTED}")
    with tempfile.TemporaryDirectory() as folder:
        known = {"alone": classroom, "released": bool(release), "gradescope": gradescope}
        known["asked"] = bool(lessons or release)
        found = collect(submissions, Path(folder), chosen.lessons, due, tell, **known)
        wanted = {one.lesson for one in found}
        kept = {lesson: chosen_record(chosen, lesson) for lesson in chosen.lessons if lesson in wanted}
        with _only_one(out):
            graded = grade(found, kept, out, options, _progress)
            graded = _with_flags(graded, found, roll)
            about_roll = roll.odd(one.student for one in graded) if roll else ()
            for sentence in (*issuing.odd(graded), *about_roll):
                tell(sentence)
            for sentence in reports.write(graded, out, canvas, moodle, column, classroom):
                tell(sentence)
            write_file(out / results.ALL, results.dump(graded))
            pages = _write_pages(graded, out, title or chosen.title)
            if moodle:
                write_file(out / "moodle-feedback.zip", reports.moodle_feedback(graded, pages))
    return graded


def _of_course(options: Options, chosen, key: bytes) -> Options:
    """The options with what each student was issued.  Raises ReleaseError for a key that is missing, or one
    that draws nothing."""
    if chosen.issued and not key:
        raise ReleaseError("Each student has hunts or constants of their own: give the course's --key.")
    if key and not chosen.issued:
        raise ReleaseError("A --key is given and nothing to draw by it: give the course's --release, too.")
    if not chosen.issued:
        return options
    return replace(options, course=chosen.course(key))


def _with_flags(graded: list[Graded], found, roll: Roll | None) -> list[Graded]:
    """What was graded with the flags and tries of what was handed in, and whose the hunts were."""
    return [
        replace(one, flags=(*one.flags, *own.flags, *flags), tries=own.tries)
        for one, own, flags in zip(graded, found, issuing.whose(graded, roll), strict=True)
    ]


@contextlib.contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """The folder of results for this run alone.  Raises CannotGrade while another grader has it.

    The lock is the system's, on OUT/state, and ends with the process that took it, however that ends.  Where
    folders cannot be locked (some network drives) there is none.
    """
    import fcntl

    state = out / "state"
    state.mkdir(parents=True, exist_ok=True)
    handle = os.open(state, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise CannotGrade(
            f"Another grader is at work in {out}: wait for it, or name another folder."
        ) from None
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(handle)


def _chosen(lessons: Sequence[str], release: Path | None) -> Release:
    """What was set.  Raises ReleaseError for a record and lessons at once."""
    if not release:
        return Release.whole(lessons or registry.lessons())
    if lessons:
        raise ReleaseError("A release says itself which lessons were set: leave --lesson or --release out.")
    return read_release(release)


def _check_out(submissions: Path, out: Path) -> None:
    """Raise CannotGrade for a folder of results that lies in the submissions, or holds something else."""
    if out.resolve() == submissions.resolve() or submissions.resolve() in out.resolve().parents:
        raise CannotGrade(f"{out} lies in the submissions: name a folder of its own for the results.")
    try:
        there = sorted(path.name for path in out.iterdir())
    except FileNotFoundError:
        there = []
    except OSError as error:
        raise CannotGrade(f"{out} cannot be used for the results ({error.strerror}).") from None
    if there and "state" not in there:
        raise CannotGrade(f"{out} holds other files ({there[0]}): name an empty folder for the results.")


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


def _write_pages(graded: list[Graded], out: Path, title: str) -> dict[str, str]:
    """The feedback page of every student, which is returned by key, and the summary of the class.

    Pages of students who are no longer there are removed.
    """
    title = title or "Feedback"
    pages = {student.key: feedback.page(theirs, title) for student, theirs in reports.by_student(graded)}
    for old in (out / "feedback").glob("*.html"):
        if old.stem not in pages:
            old.unlink()
    for key, page in pages.items():
        write_file(out / "feedback" / f"{key}.html", page)
    write_file(out / "summary.html", feedback.summary(graded, title, "feedback/{key}.html"))
    return pages


def _progress(total: int, results):
    """The results, with a progress bar where somebody can see it."""
    from tqdm import tqdm

    return tqdm(results, total=total, desc="grading", unit=" notebook", file=sys.stderr, disable=None)
