"""Where the lessons are: `tasks_NN.py` modules here, and in the folders named by TOOLKIT_LESSONS.

A course can add lessons of its own: a folder with `tasks_NN.py` (and `reference/NN.json`, which `toolkit
build` writes), named in the environment variable TOOLKIT_LESSONS (several folders are separated as in PATH).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

from .task import Task

HERE = Path(__file__).parent


def folders() -> list[Path]:
    """The folders that hold lessons, ours first."""
    more = os.environ.get("TOOLKIT_LESSONS", "")
    return [HERE, *(Path(part).resolve() for part in more.split(os.pathsep) if part)]


def lessons() -> list[str]:
    """The lessons that have tasks, in order: ['01', '02']."""
    found = {path.stem[6:] for folder in folders() for path in folder.glob("tasks_[0-9][0-9].py")}
    return sorted(found)


def lesson_name(text: str) -> str:
    """'2', '02' or '02_ddim.ipynb' -> '02'.  Raises ValueError with the lessons that there are."""
    match = re.match(r"(\d{1,2})(?!\d)", Path(text).name)
    if not match:
        raise ValueError(f"{text!r} names no lesson; there are {', '.join(lessons()) or 'none'}")
    return f"{int(match[1]):02d}"


def folder_of(lesson: str) -> Path:
    """The folder that holds tasks_NN.py.  Raises ValueError when no folder does."""
    for folder in folders():
        if (folder / f"tasks_{lesson}.py").is_file():
            return folder
    raise ValueError(f"there is no lesson {lesson}; there are {', '.join(lessons()) or 'none'}")


def tasks(lesson: str) -> dict[str, Task]:
    """The tasks of a lesson by id, in their order.

    Raises ValueError for a lesson that is not there or not sound.
    """
    module = _module(lesson)
    found = getattr(module, "TASKS", None)
    if not found:
        raise ValueError(f"tasks_{lesson}.py has no TASKS: end it with TASKS = (task_1, task_2, ...)")
    table: dict[str, Task] = {}
    for task in found:
        if task.lesson != lesson:
            raise ValueError(f"task {task.id} does not belong into tasks_{lesson}.py")
        if task.id in table:
            raise ValueError(f"there are two tasks {task.id} in tasks_{lesson}.py")
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


def _module(lesson: str):
    """tasks_NN as a module: an ordinary import for ours, from the file for a course's own."""
    folder = folder_of(lesson)
    if folder == HERE:
        return importlib.import_module(f"{__package__}.tasks_{lesson}")
    path = folder / f"tasks_{lesson}.py"
    name = f"{__package__}._own_{lesson}"
    module = sys.modules.get(name)
    if module is None or Path(module.__file__) != path:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module
