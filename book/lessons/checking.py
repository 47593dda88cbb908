"""`check("2.3", answer)`: the last line of a check cell."""

from __future__ import annotations

from collections.abc import Mapping

from book.lessons import registry, varying
from book.lessons.diagnose import DONE, NOT_TRIED, Verdict, diagnose, lines


class CheckFailed(Exception):
    """A check that is not passed; IPython shows its one sentence and no traceback."""

    def _render_traceback_(self):
        return [str(self)]


class NotYet(CheckFailed):
    """The answer was tried and is not right yet."""


class NotTried(CheckFailed):
    """The answer is still the stub."""


class NoSuchTask(CheckFailed):
    """The check names a task that is not there, or names its answers wrongly."""


def check(task_id: str, *answer, given: Mapping[str, float] | None = None, **answers) -> None:
    """Check the answer to a task: print values computed from it, then "2.3 done", or say what is wrong.

    A right answer in another form than the statement's gets a remark before its "done".

    task_id: "2.3".  answer: the answer itself, a function, a number, a formula or an Axes; for a task with
    several answers, name them: `check("2.3", step=my_step, grid=my_grid)`.
    given: the constants of a task that a course has given with others than the book's.

    Raises NotTried, NotYet or NoSuchTask with one sentence, which a notebook shows without a traceback.
    """
    verdict = judge(task_id, *answer, given=given, **answers)
    if verdict.printed:
        print(verdict.printed.rstrip("\n"))
    task = registry.find(task_id)
    for line in lines(task, verdict.values):
        print(line)
    if verdict.state == DONE:
        if verdict.sentence:
            print(verdict.sentence)
        print(f"{task_id} done")
    else:
        error = NotTried if verdict.state == NOT_TRIED else NotYet
        raise error(f"{task_id} {verdict.state}. {verdict.sentence}") from None


def judge(task_id: str, *answer, given: Mapping[str, float] | None = None, **answers) -> Verdict:
    """The verdict on an answer, without printing.  Raises NoSuchTask when the call itself does not fit."""
    try:
        task = registry.find(task_id)
        task = varying.varied(task, given) if given else task
        if not task.names and (len(answer) != 1 or answers):
            raise ValueError(f'check {task_id} takes one answer: check("{task_id}", your_answer)')
        if task.names and answer:
            raise ValueError(f"check {task_id} takes {', '.join(f'{n}=...' for n in task.names)}")
        return diagnose(task, answers if task.names else answer[0])
    except ValueError as error:
        raise NoSuchTask(f"{error}") from None
