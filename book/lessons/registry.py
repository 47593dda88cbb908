"""Where the lessons are: `tasks.py` in the folders of the chapters, and in those that TOOLKIT_LESSONS names.

A course can add lessons of its own, in the same form: a folder that holds `ch50/tasks.py` (and
`ch50/solution.py` and `ch50/reference.json`, which `toolkit build` writes), named in the environment variable
TOOLKIT_LESSONS (several folders are separated as in PATH).
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from book import folders as book_folders
from book.lessons.task import Task

HERE = book_folders.HERE


def folders() -> list[Path]:
    """The folders that hold lessons as `chNN/tasks.py`, ours first."""
    more = os.environ.get("TOOLKIT_LESSONS", "")
    return [HERE, *(Path(part).resolve() for part in more.split(os.pathsep) if part)]


def lessons() -> list[str]:
    """The lessons that have tasks, in order: ['01', '02']."""
    there = {path.parent.name[2:] for one in folders() for path in one.glob("ch[0-9][0-9]/tasks.py")}
    return sorted(there)


def lesson_name(text: str) -> str:
    """'2', '02' or '02_ddim.ipynb' -> '02'.  Raises ValueError with the lessons that there are."""
    match = re.match(r"(\d{1,2})(?!\d)", Path(text).name)
    if not match:
        raise ValueError(f"{text!r} names no lesson; there are {', '.join(lessons()) or 'none'}")
    return f"{int(match[1]):02d}"


def folder_of(lesson: str) -> Path:
    """The folder of a lesson, which holds its tasks.py.  Raises ValueError when there is none."""
    for one in folders():
        if (one / f"ch{lesson}" / "tasks.py").is_file():
            return one / f"ch{lesson}"
        if (one / f"tasks_{lesson}.py").is_file():
            raise ValueError(f"tasks_{lesson}.py is not looked for any more: move it to ch{lesson}/tasks.py")
    raise ValueError(f"there is no lesson {lesson}; there are {', '.join(lessons()) or 'none'}")


def tasks(lesson: str) -> dict[str, Task]:
    """The tasks of a lesson by id, in their order.

    Raises ValueError for a lesson that is not there or not sound.
    """
    try:
        found = getattr(module(lesson), "TASKS", None)
    except (ImportError, AttributeError) as error:  # such as a solution.py that is not there yet
        raise ValueError(f"ch{lesson}/tasks.py cannot be imported ({error}): run toolkit build") from error
    if not found:
        raise ValueError(f"ch{lesson}/tasks.py has no TASKS: end it with TASKS = (task_1, task_2, ...)")
    table: dict[str, Task] = {}
    for task in found:
        if task.lesson != lesson:
            raise ValueError(f"task {task.id} does not belong into ch{lesson}/tasks.py")
        if task.id in table:
            raise ValueError(f"there are two tasks {task.id} in ch{lesson}/tasks.py")
        table[task.id] = task
    return table


def find(task_id: str) -> Task:
    """The task of this id.  Raises ValueError, with the ids that there are, when there is none."""
    match = re.fullmatch(r"(\d{1,2})\.(\d+)", str(task_id))
    if not match:
        raise ValueError(f"{task_id!r} is no task id; ids look like '2.3'")
    table = tasks(f"{int(match[1]):02d}")
    if task_id not in table:
        raise ValueError(f"there is no task {task_id}; there are {', '.join(table)}")
    return table[task_id]


def package(lesson: str) -> ModuleType:
    """The folder of a lesson as a package, `book.ch50`, for a course's own lessons as for ours."""
    folder, name = folder_of(lesson), f"book.ch{lesson}"
    if folder.parent == HERE:
        return importlib.import_module(name)
    there = sys.modules.get(name)
    if there is None or there.__path__ != [str(folder)]:
        for old in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            del sys.modules[old]
        there = sys.modules[name] = ModuleType(name)
        there.__path__ = [str(folder)]
        importlib.invalidate_caches()
    return there


def module(lesson: str) -> ModuleType:
    """The tasks.py of a lesson as a module; it may import its neighbour: `from book.ch50 import solution`."""
    return importlib.import_module(f"{package(lesson).__name__}.tasks")
