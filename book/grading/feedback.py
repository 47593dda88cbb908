"""Pages for people: what a student reads about their answers, and what an instructor reads about the class.

A page is one file that needs nothing else and runs nothing: all text from submissions is escaped and cleaned
of what is no character, and a content security policy forbids scripts and requests on top of that.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from book.grading import text
from book.grading.reports import by_student, flags
from book.grading.results import DONE, NOT_TRIED, NOT_YET, Graded, TaskResult

STATES = (DONE, NOT_YET, NOT_TRIED)
NOT_GRADED = "not graded"  # what is shown for the tasks of a submission that has a problem
# A mark for each, so that no state is told by its colour alone.
MARKS = {DONE: "✓", NOT_YET: "△", NOT_TRIED: "○", NOT_GRADED: "–"}
MISTAKES = 30
"""Mistakes that the summary lists for a lesson."""


@lru_cache(maxsize=1)
def templates():
    """The environment of the templates: escapes everything, and fails for a name that it is not given."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # A text that no filter has cleaned is cleaned here.
        finalize=lambda value: text.plain(value) if type(value) is str else value,
    )
    made.filters |= {
        "line": text.line,
        "plain": text.plain,
        "points": text.points,
        "counted": text.counted,
        "slug": lambda task: re.sub(r"\W", "-", task),
    }
    made.globals |= {"marks": MARKS, "states": STATES, "not_graded": NOT_GRADED}
    return made


def page(graded: Sequence[Graded], title: str) -> str:
    """The feedback page of one student, as HTML: their submissions to all lessons.

    Flags are not in it.  Raises ValueError for an empty list or for submissions of several students.
    """
    students = by_student(graded)
    if len(students) != 1:
        raise ValueError(f"a page is for one student; these are submissions of {len(students)}")
    ((student, lessons),) = students
    return templates().get_template("page.html").render(
        title=title,
        student=student,
        lessons=lessons,
        score=sum(one.score for one in lessons),
        of=sum(one.points for one in lessons),
        checked=any(one.tasks and not one.problem for one in lessons),
    )  # fmt: skip


# --- the class ------------------------------------------------------------------------------------------


def summary(graded: Iterable[Graded], title: str = "Summary", link: str = "") -> str:
    """The page on the class, for instructors, as HTML.

    link: where a student's page is, such as 'students/{key}.html'; '' for no links.
    """
    students = by_student(graded)
    lessons: dict[str, list[Graded]] = defaultdict(list)
    for _, theirs in students:
        for one in theirs:
            lessons[one.lesson].append(one)
    names = sorted(lessons)
    every = [one for name in names for one in lessons[name]]
    return templates().get_template("summary.html").render(
        title=title,
        link=link,
        lessons=[_lesson(name, lessons[name]) for name in names],
        flagged=[(student, said) for student, theirs in students if (said := flags(theirs))],
        problems=[one for one in every if one.problem],
        late=[one for one in every if one.late],
        everybody=[_row(student, theirs, names) for student, theirs in students],
    )  # fmt: skip


def _row(student, theirs: Sequence[Graded], names: Sequence[str]) -> dict:
    scores = {one.lesson: one.score for one in theirs}
    return {
        "student": student,
        "scores": [scores.get(name) for name in names],
        "sum": sum(scores.values()),
    }


def _lesson(name: str, graded: Sequence[Graded]) -> dict:
    """The figures of a lesson.  Statistics are over the submissions that could be graded."""
    good = [one for one in graded if not one.problem]
    scores = [one.score for one in good] or [0.0]
    mistakes = _mistakes(good)
    return {
        "lesson": name,
        "notebook": graded[0].notebook,
        "students": len(graded),
        "graded": len(good),
        "points": max(one.points for one in graded),
        "mean": statistics.fmean(scores),
        "median": statistics.median(scores),
        "late": sum(one.late for one in graded),
        "bins": _bins(good),
        "tasks": _tasks(good),
        "mistakes": mistakes[:MISTAKES],
        "more": len(mistakes[MISTAKES:]),
    }


def _share(count: int, of: int) -> int:
    return round(100 * count / of) if of else 0


def _bins(graded: Sequence[Graded]) -> list[dict]:
    """How many submissions have 0 to 9 % of the points, …, 90 to 99 %, and all; the best first."""
    counts = [0] * 11
    for one in graded:
        counts[int(10 * one.score / one.points + 1e-9) if one.points else 0] += 1
    names = [*(f"{10 * k} to {10 * k + 9} %" for k in range(10)), "all points"]
    most = max(counts) or 1
    return [
        {"name": name, "count": count, "width": _share(count, most)}
        for name, count in reversed(list(zip(names, counts)))
    ]


def _tasks(graded: Sequence[Graded]) -> list[dict]:
    """For each task how many are done, not yet and not tried, and the points lost."""
    tasks: dict[str, list[TaskResult]] = defaultdict(list)
    for one in graded:
        for task in one.tasks:
            tasks[task.task].append(task)
    rows = []
    for name, results in tasks.items():
        row = {
            "task": name,
            "title": results[0].title,
            "lost": sum(task.points - task.score for task in results),
        }
        for state in STATES:
            count = sum(task.state == state for task in results)
            row[state] = {"count": count, "share": _share(count, len(results))}
        rows.append(row)
    return rows


def _mistakes(graded: Sequence[Graded]) -> list[dict]:
    """The diagnoses given, the most frequent first; those that differ only in their numbers are one."""
    groups: dict[tuple, list[TaskResult]] = defaultdict(list)
    for one in graded:
        for task in one.tasks:
            if task.state == NOT_YET and task.sentence:
                bare = text.without_numbers(text.line(task.sentence, 1500))
                groups[task.task, task.kind, task.mistake, bare].append(task)
    rows = [
        {
            "task": key[0],
            "sentence": min(task.sentence for task in results),
            "students": len(results),
            "lost": sum(task.points - task.score for task in results),
        }
        for key, results in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row["students"], -row["lost"], row["task"], row["sentence"]))
