"""The folders of the chapters: `book/ch00`, `book/ch01`, …  What holds for every chapter is read from these.

A chapter's folder may hold `experiments.py`, `figures.py`, `tasks.py`, `reference.json` and `recorded/`; a
new folder is a new chapter, and nothing else lists it.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent


def chapters(having: str = "") -> list[str]:
    """The numbers of the chapters, in order: ['00', '01', …]; those whose folder has this file or folder."""
    return sorted(
        path.name[2:]
        for path in HERE.iterdir()
        if re.fullmatch(r"ch\d\d", path.name) and (path / having).exists()
    )


def folder(chapter: str) -> Path:
    """The folder of a chapter ('03').  Raises ValueError, with the chapters that there are, for another."""
    if chapter not in chapters():
        raise ValueError(f"chapter must be one of {', '.join(chapters())}, got {chapter!r}")
    return HERE / f"ch{chapter}"


def module(chapter: str, name: str) -> ModuleType:
    """A module of a chapter: `module('03', 'experiments')` is `book.ch03.experiments`."""
    return import_module(f"book.{folder(chapter).name}.{name}")


def chapter_of(module_name: str) -> str:
    """The chapter whose folder a module lies in: '03' of 'book.ch03.experiments'.  Raises ValueError."""
    match = re.search(r"(?:^|\.)ch(\d\d)\.", module_name)
    if not match:
        raise ValueError(f"{module_name} lies in no chapter's folder")
    return match[1]
