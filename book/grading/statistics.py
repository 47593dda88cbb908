"""What a class got wrong: for each task and each mistake the share of the class, the points lost, the tries.

Read from `graded.json` of one run, beside that of another (the year before) if there is one.  A difference of
two shares comes with its 95 % interval (Newcombe 1998, method 10, from Wilson's intervals), and is called one
only if the interval leaves out 0: two classes of forty differ by twenty points by chance.  Nobody is named.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from book.grading import results, text
from book.grading.results import DONE, NOT_TRIED, NOT_YET, Graded, TaskResult
from book.lessons import registry

Z = 1.959964
"""Of a normal distribution, beyond which lie 5 %."""

_HUNTED = re.compile(r"^(\d of \d mistakes (is|are) still there|The mistake is still there)\. ")


class StatisticsError(Exception):
    """Results that cannot be read; the text is one sentence."""


@dataclass(frozen=True)
class Share:
    """So many of so many; `of` may be 0."""

    count: int
    of: int

    @property
    def percent(self) -> float:
        return 100 * self.count / self.of if self.of else math.nan


@dataclass(frozen=True)
class Change:
    """The difference of two shares, this one's less the other's, in percentage points, with its interval."""

    before: Share
    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether chance alone would hardly make it."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Line:
    """One line: a task, or something that students of it were told.

    what: 'task', 'mistake' (a diagnosis that they were given), or 'hunt' (a mistake of a bug hunt that they
    did not find, of those who had it).  share: of those who could be graded: for a task those who have it
    done.  lost: points.  tried: of a task the share that tried it.  tries: the mean of how often the lesson
    was handed in, nan where the LMS does not tell.
    """

    lesson: str
    task: str
    what: str
    text: str
    share: Share
    lost: float
    tried: Share | None = None
    tries: float = math.nan
    change: Change | None = None


def read(folder: Path) -> list[Graded]:
    """The results of a run, from its folder or its graded.json.

    Raises StatisticsError, with one sentence, where there are none.
    """
    path = Path(folder)
    path = path / results.ALL if path.is_dir() else path
    found: list[Graded] = []
    try:
        found = results.load(path.read_text("utf8"))
    except OSError as error:
        raise StatisticsError(
            f"{path} cannot be read ({error.strerror}): name the folder that toolkit grade has written."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StatisticsError(f"{path} does not hold the results of toolkit grade: grade again.") from None
    if not found:
        raise StatisticsError(f"{path} holds no result: nothing was handed in.")
    return found


def lines(graded: Iterable[Graded], other: Iterable[Graded] | None = None) -> list[Line]:
    """The lines of a run, by lesson and task; a task's mistakes follow it, the most frequent first.

    other: another run, to compare with.  What only the other has is not listed.
    """
    mine = _lines(graded)
    if other is None:
        return mine
    before = {(line.task, line.what, _bare(line.text)): line for line in _lines(other)}
    tasks = {line.task: line for line in before.values() if line.what == "task"}
    return [_compared(line, before, tasks) for line in mine]


def _lines(graded: Iterable[Graded]) -> list[Line]:
    good = [one for one in graded if not one.problem]
    found: dict[tuple[str, str], list[tuple[TaskResult, Graded]]] = defaultdict(list)
    for one in good:
        for task in one.tasks:
            found[one.lesson, task.task].append((task, one))
    made = []
    for (lesson, name), pairs in sorted(found.items(), key=lambda item: _order(*item[0])):
        tasks = [task for task, _ in pairs]
        done = sum(task.state == DONE for task in tasks)
        tried = sum(task.state != NOT_TRIED for task in tasks)
        known = [one.tries for _, one in pairs if one.tries]
        tries = sum(known) / len(known) if known else math.nan
        said = Share(done, len(tasks)), sum(task.points - task.score for task in tasks)
        made.append(Line(lesson, name, "task", tasks[0].title, *said, Share(tried, len(tasks)), tries))
        made += _mistakes(lesson, name, tasks)
    return made


def _order(lesson: str, task: str) -> tuple:
    return lesson, int(task.partition(".")[2]) if task.partition(".")[2].isdigit() else 0


def _mistakes(lesson: str, name: str, tasks: Sequence[TaskResult]) -> list[Line]:
    """The lines of what students of a task were told, and of what they did not find in its hunts."""
    told: dict[str, list[TaskResult]] = defaultdict(list)
    for task in tasks:
        if task.state == NOT_YET and task.sentence and task.kind != "hunt":
            told[_bare(task.sentence)].append(task)
    made = [
        Line(
            lesson,
            name,
            "mistake",
            min(_HUNTED.sub("", task.sentence) for task in group),
            Share(len(group), len(tasks)),
            sum(task.points - task.score for task in group),
        )
        for group in told.values()
    ]
    for index in sorted({index for task in tasks for index in task.hunt}):
        had = [task for task in tasks if index in task.hunt]
        # One that is neither right nor known may have it or not: it counts as left.
        left = [task for task in had if task.state != DONE and (index in task.left or not task.left)]
        lost = sum((task.points - task.score) / max(1, len(task.left or task.hunt)) for task in left)
        made.append(Line(lesson, name, "hunt", _says(name, index), Share(len(left), len(had)), lost))
    return sorted(made, key=lambda line: (line.what != "mistake", -line.share.count, -line.lost, line.text))


def _says(task: str, index: int) -> str:
    """What a tutor says to a listed mistake."""
    try:
        return registry.find(task).mistakes[index].says
    except (ValueError, IndexError):
        return f"mistake {index + 1}"


def _bare(sentence: str) -> str:
    """A sentence without what differs from student to student: numbers, and how many mistakes were left."""
    return text.without_numbers(_HUNTED.sub("", text.line(sentence, 1500)))


# --- two runs -------------------------------------------------------------------------------------------


def _compared(line: Line, before: dict, tasks: dict[str, Line]) -> Line:
    """A line with its change; none where the other run did not set the task, or the hunt's mistake."""
    old = before.get((line.task, line.what, _bare(line.text)))
    if old is None and (line.task not in tasks or line.what == "hunt"):
        return line
    share = old.share if old else Share(0, tasks[line.task].share.of)
    return Line(**{**vars(line), "change": change(line.share, share)})


def wilson(share: Share) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in 0 to 1."""
    n, p = share.of, share.count / share.of
    middle, half = p + Z**2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return max(0.0, (middle - half) / (1 + Z**2 / n)), min(1.0, (middle + half) / (1 + Z**2 / n))


def change(now: Share, before: Share) -> Change | None:
    """How a share has changed; None where one of them is of nobody."""
    if not (now.of and before.of):
        return None
    p, q = now.count / now.of, before.count / before.of
    (low, high), (old_low, old_high) = wilson(now), wilson(before)
    down, up = math.hypot(p - low, old_high - q), math.hypot(high - p, q - old_low)
    return Change(before, 100 * (p - q), 100 * (p - q - down), 100 * (p - q + up))


# --- writing --------------------------------------------------------------------------------------------


def table(made: Sequence[Line]) -> str:
    """The lines as a CSV, with a byte order mark for spreadsheet programs."""
    from book.grading.reports import cell

    out = io.StringIO()
    compared = any(line.change for line in made)
    more = ["before", "before of", "difference", "low", "high"] if compared else []
    header = ["lesson", "task", "what", "text", "students", "of", "percent", "points lost", "tried", "tries"]
    rows = [[*header, *more]]
    for line in made:
        share, moved = line.share, line.change
        row = [line.lesson, f"task {line.task}", line.what, line.text, share.count, share.of]
        row += [_number(share.percent), text.points(line.lost), line.tried.count if line.tried else ""]
        row.append(_number(line.tries))
        if compared:
            row += [moved.before.count, moved.before.of] if moved else ["", ""]
            ends = (moved.difference, moved.low, moved.high) if moved else [math.nan] * 3
            row += map(_number, ends)
        rows.append(row)
    csv.writer(out, lineterminator="\r\n").writerows([_cell(value, cell) for value in row] for row in rows)
    return "\ufeff" + out.getvalue()


def _cell(value, cell) -> str:
    """A number as it is, also below 0; any other text so that no spreadsheet takes it for a formula."""
    return value if re.fullmatch(r"-\d+(\.\d+)?", f"{value}") else cell(value)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


def page(made: Sequence[Line], title: str, compared: bool = False) -> str:
    """The lines as a page for instructors, HTML that needs nothing else and runs nothing."""
    from book.grading.feedback import templates

    lessons: dict[str, dict[str, list[Line]]] = {}
    for line in made:
        lessons.setdefault(line.lesson, {}).setdefault(line.task, []).append(line)
    parts = [
        {
            "lesson": lesson,
            "tasks": [found[0] for found in tasks.values()],
            "told": [line for found in tasks.values() for line in found if line.what == "mistake"],
            "hunts": [line for found in tasks.values() for line in found if line.what == "hunt"],
        }
        for lesson, tasks in lessons.items()
    ]
    return templates().get_template("statistics.html").render(title=title, parts=parts, compared=compared)
