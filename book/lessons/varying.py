"""Tasks with other constants: drawn for a student by a course's key, put into words and into what is right.

A task says by its `varies` which constants there are, how its texts name them, and what changes with them
(`Variation`).  The book has the task as it stands; a course that is released with `--vary` gives each student
constants of their own, and `check(..., given={...})` in the student's notebook says which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from book.lessons import drawing
from book.lessons.task import Mistake, Task


def draw(task: Task, secret: bytes) -> dict[str, float]:
    """The constants of a task that are drawn from a secret; see `drawing`."""
    return {
        name: drawing.one_of(secret, f"constant {task.id} {name}", values)
        for name, values in task.varies.choices.items()
    }


def varied(task: Task, constants: Mapping[str, float]) -> Task:
    """The task with these constants; the same one for the same constants.

    Raises ValueError for constants that it does not have, or that are no choice of its.
    """
    if task.varies is None or set(constants) != set(task.varies.choices):
        names = ", ".join(task.varies.choices) if task.varies else "none"
        raise ValueError(f"task {task.id} is given with these constants: {names}")
    for name, value in constants.items():
        if value not in task.varies.choices[name]:
            raise ValueError(f"task {task.id} is not given with {name} = {value!r}")
    return _varied(task, json.dumps(dict(constants), sort_keys=True))


@lru_cache(maxsize=512)
def _varied(task: Task, constants: str) -> Task:
    given = json.loads(constants)

    def said(text):
        return reworded(task, given, text)

    fields = task.varies.fields(task, **given)
    facts = fields.get("facts", task.facts)
    return replace(
        task,
        **{
            "hints": tuple(map(said, task.hints)),
            "asks": {said(label): said(text) for label, text in task.asks.items()},
            **fields,
            "mistakes": tuple(
                Mistake(one.answer, said(one.says), one.as_given)
                for one in fields.get("mistakes", task.mistakes)
            ),
            "facts": lambda answer, seed: {said(k): v for k, v in facts(answer, seed).items()},
            "varies": None,
        },
    )


def reworded(task: Task, constants: Mapping[str, float], text: str, whole: bool = False) -> str:
    """A text of the task with these constants in the places of its own, all replaced at once.

    whole: it is the statement, so that there must be one.  Raises ValueError where there is none.
    """
    pairs = dict(task.varies.words(**constants))
    longest_first = sorted(pairs, key=len, reverse=True)
    made, count = re.subn("|".join(map(re.escape, longest_first)), lambda found: pairs[found[0]], text)
    if whole and not count:
        raise ValueError(f"the statement of task {task.id} names none of {', '.join(pairs)}")
    return made


def call_with(source: str, constants: Mapping[str, float]) -> str:
    """A check cell's source whose last call also tells the constants."""
    shown = ", ".join(f'"{name}": {value!r}' for name, value in constants.items())
    return source.rstrip().removesuffix(")") + f", given={{{shown}}})"


def told(task: Task, notebook) -> dict[str, float] | None:
    """The constants that a notebook's metadata tells for a task, None where it tells none that fit."""
    known = notebook.metadata.get("toolkit")
    known = known.get("varied") if isinstance(known, dict) else None
    constants = known.get(task.id) if isinstance(known, dict) else None
    try:
        varied(task, constants)
    except (ValueError, TypeError, AttributeError):
        return None
    return constants
