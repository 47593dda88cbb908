"""What grading finds: plain records that go to JSON and back, so that a run can stop and resume anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

DONE, NOT_YET, NOT_TRIED = "done", "not yet", "not tried"

ALL = "graded.json"
"""The file of a run's results, all of them."""


@dataclass(frozen=True)
class Student:
    """Who handed something in.

    key: unique in this run and fit for a file name.  name: as the LMS writes it.  ids: what an LMS knows the
    student by, such as {"canvas_id": "123"}, {"moodle_id": "4567"} or {"email": "a@b.c", "sid": "77"}.
    """

    key: str
    name: str = ""
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of a check: what it is called, what the student's answer gives (on the public inputs), and what
    kind of thing a right answer gives there: never its value.  wrong: whether this line
    is not as it should be, where that is known."""

    label: str
    yours: str
    kind: str
    wrong: bool = False


@dataclass(frozen=True)
class TaskResult:
    """One task of one submission.

    points: the task's.  score: what was earned.  sentence: the diagnosis, '' when done.  mistake: the number
    of the recognised mistake among the task's, or None; kind: what the diagnosis rests on ('mistake',
    'shape', 'raises', …).  notes: remarks for the student.  flags: remarks for the instructor only.
    printed: what the answer itself printed while it was checked.  hunt: the numbers of the mistakes that a
    bug hunt's listing was given with; left: those that are known to be still there.
    """

    task: str
    title: str
    points: float
    score: float = 0.0
    state: str = NOT_TRIED
    sentence: str = ""
    kind: str = ""
    mistake: int | None = None
    rows: tuple[Row, ...] = ()
    printed: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    hunt: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


@dataclass(frozen=True)
class Graded:
    """One submission to one lesson.

    lesson: '02'.  notebook: the lesson's file name.  file: the name of the file that was graded ('' when
    nothing was handed in).  late: handed in late, as the LMS or the deadline says.  problem: one sentence
    when the file could not be graded (all tasks then score 0).  notes and flags as in TaskResult.
    tries: how often it was handed in, as far as the LMS tells; 0 where it does not.  issued: where
    each student has a notebook of their own, whose it is by its tag, '' for nobody's.
    """

    student: Student
    lesson: str
    notebook: str
    tasks: tuple[TaskResult, ...]
    file: str = ""
    late: bool = False
    problem: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    tries: int = 0
    issued: str | None = None

    @property
    def score(self) -> float:
        return sum(task.score for task in self.tasks)

    @property
    def points(self) -> float:
        return sum(task.points for task in self.tasks)

    def of(self, student: Student, file: str, late: bool, notes=(), flags=()) -> Graded:
        """The same findings for another student's copy of the same file."""
        return replace(
            self,
            student=student,
            file=file,
            late=late,
            notes=(*notes, *self.notes),
            flags=(*flags, *self.flags),
        )


def to_json(graded: Graded) -> dict:
    """A record as JSON holds it."""
    return asdict(graded)


def from_json(raw: dict) -> Graded:
    """A record from what `to_json` gave.  Raises KeyError or TypeError for anything else."""
    tasks = tuple(
        TaskResult(
            **{
                **task,
                "rows": tuple(Row(**row) for row in task["rows"]),
                "notes": tuple(task["notes"]),
                "flags": tuple(task["flags"]),
                **{name: tuple(task.get(name, ())) for name in ("hunt", "left")},
            }
        )
        for task in raw["tasks"]
    )
    return Graded(
        **{
            **raw,
            "student": Student(**raw["student"]),
            "tasks": tasks,
            "notes": tuple(raw["notes"]),
            "flags": tuple(raw["flags"]),
        }
    )


def dump(graded: Sequence[Graded]) -> str:
    """All results of a run as text; the same bytes for the same results."""
    return json.dumps([to_json(one) for one in graded], ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def load(text: str) -> list[Graded]:
    """What `dump` gave.  Raises ValueError, KeyError or TypeError for anything else."""
    found = [from_json(one) for one in json.loads(text)]
    for one in found:
        _check(one)
    return found


def _check(graded: Graded) -> None:
    """Raise TypeError for a record in which something is not of its kind: the file may have been edited."""
    texts = [graded.student.key, graded.student.name, graded.lesson, graded.notebook, graded.file]
    texts += [graded.problem, *graded.notes, *graded.flags]
    counts, numbers = [graded.tries], []
    for task in graded.tasks:
        texts += [task.task, task.title, task.state, task.sentence, task.kind, task.printed]
        numbers += [task.points, task.score]
        counts += [*task.hunt, *task.left]
    fine = (
        all(isinstance(one, str) for one in texts)
        and all(type(one) is int and 0 <= one < 2**31 for one in counts)
        and all(type(one) in (int, float) and 0 <= one < 1e12 for one in numbers)
    )
    if not fine:
        raise TypeError("a text, a number or a count is none")
