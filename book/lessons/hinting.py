"""Hints on the command line: the next one of a task each time it is asked for.

What has been shown is kept in a small file in the user's state folder (or in the folder named by
TOOLKIT_STATE); when that cannot be read or written, the hints still come, from the first one on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from book.lessons import record, registry
from toolkit.files import write_file


def state_file() -> Path:
    """Where it is kept which hints were shown."""
    folder = os.environ.get("TOOLKIT_STATE")
    if not folder:
        from platformdirs import user_state_dir

        folder = user_state_dir("diffusion-toolkit", appauthor=False)
    return Path(folder) / "hints.json"


def task_id_of(lesson: str, task: str | None) -> str:
    """('02', '3') or ('2.3', None) -> '2.3'.  Raises ValueError for what names no task."""
    if task is None:
        lesson, _, task = lesson.partition(".")
    number = str(task).rpartition(".")[2]
    if not number.isdigit():
        raise ValueError("name the lesson and the task, such as: toolkit hint 02 3")
    return f"{int(registry.lesson_name(lesson))}.{int(number)}"


def hints_of(task_id: str) -> list[str]:
    """The three hints of a task, from the lesson's record.

    Raises ValueError for a task that is not there.
    """
    lesson = record.load(registry.lesson_name(task_id.partition(".")[0]))
    lesson.cell(task_id)
    return lesson.hints[task_id]


def shown(task_id: str) -> int:
    """How many hints of a task have been shown (0 to 3)."""
    count = _read().get(task_id, 0)
    return count if isinstance(count, int) and 0 <= count <= 3 else 0


def remember(task_id: str, count: int) -> bool:
    """Keep how many hints of a task have been shown; False when that cannot be written."""
    state = {**_read(), task_id: count}
    try:
        write_file(state_file(), json.dumps(state, indent=1, sort_keys=True) + "\n")
    except OSError:
        return False
    return True


def _read() -> dict:
    try:
        state = json.loads(state_file().read_text("utf8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}
