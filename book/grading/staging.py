"""The packages as a student's kernel sees them: all samplers, pictures and experiments, and of the lessons
the probes.

What is left out follows from rules: answers (`ANSWERS`), and of the lessons and of the grading whatever the
kernel's own check does not import.  So a line of imports that is copied from a chapter works here, too.
"""

from __future__ import annotations

import ast
import compileall
import shutil
from collections.abc import Iterator
from pathlib import Path

import toolkit
from book import folders
from book.grading import call_log, probe_source
from book.lessons import registry

BOOK = folders.HERE
TOOLKIT = Path(toolkit.__file__).parent
PACKAGES = "packages"
"""The folder of the staged packages."""

ANSWERS = ("tasks", "tasks.py", "solution.py", "reference.json")
"""What in a chapter's folder knows what is right."""

ORGANISERS = ("judge.py", "board.py", "oracle.py")
"""What of the contest runs on the organiser's side, and has no business in a sandbox."""

_ENTRIES = ("book.grading.zygote", "book.grading.kernel_check", "book.lessons", "book.lessons.trying")
# Modules of the lessons that the kernel's check stands for.
_KERNEL = {"checking": "*", "widget": "progress", "hunting": "hunt"}


def stage(folder: Path, lessons: list[str]) -> Path:
    """Put the staged packages into an empty folder: `packages/toolkit`, `packages/book`, and a `passwd` that
    names the student.

    lessons: '02', …; only their probes are there.  Returns the folder.  Raises ValueError for a lesson whose
    probes cannot be kept apart from its answers.
    """
    there = folder / PACKAGES
    shutil.copytree(TOOLKIT, there / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BOOK, there / "book", ignore=_left_out)
    for path in _engine():
        target = there / "book" / path.relative_to(BOOK)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    (there / "book" / "grading" / "__init__.py").write_text("")
    for name, what in _KERNEL.items():
        line = f"from book.grading.kernel_check import {what}  # noqa\n"
        (there / "book" / "lessons" / f"{name}.py").write_text(line)
    for module, only in _logged(lessons):
        path = there.joinpath(*module.split(".")).with_suffix(".py")
        path.write_text(call_log.logging(path.read_text("utf8"), module, only), "utf8")
    for lesson in lessons:
        (there / "book" / "lessons" / f"_probes_{lesson}.py").write_text(probe_source.source(lesson), "utf8")
    (folder / "passwd").write_text("student:x:1000:1000::/home/s:/bin/sh\n")
    compileall.compile_dir(there, quiet=2, workers=1)
    return folder


def _logged(lessons: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, the names in it whose calls are noted): of the methods' modules all, (), of others what tasks
    of these lessons are given away by."""
    methods = call_log.methods()
    yield from ((module, ()) for module in methods)
    names = {
        name for lesson in lessons for task in registry.tasks(lesson).values() for name in task.gives_away
    }
    for module in sorted({".".join(name.split(".")[:2]) for name in names} - set(methods)):
        yield module, tuple(name for name in names if name.startswith(f"{module}."))


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What of `book` is not copied as it is."""
    out = {"__pycache__", *(("lessons", "grading") if Path(folder) == BOOK else ())}
    if Path(folder) == BOOK / "contest":
        return out | set(ORGANISERS)
    return out | (set(ANSWERS) if Path(folder).parent == BOOK else set())


def _engine() -> set[Path]:
    """The files of `book.lessons` and `book.grading` that a kernel needs: the entries' imports, in turn."""
    waiting, done = list(_ENTRIES), set()
    while waiting:
        path = BOOK.parent.joinpath(*waiting.pop().split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        ours = BOOK / "lessons" in path.parents or BOOK / "grading" in path.parents
        if ours and path.is_file() and path not in done and path.stem not in _KERNEL:
            done.add(path)
            waiting += _imported(ast.parse(path.read_text("utf8")))
    return done


def _imported(tree: ast.AST) -> Iterator[str]:
    """What a piece of code imports, wherever in it: modules, and names that may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(sources) -> list[str]:
    """What cells import, to be imported before the first fork: modules, and names that modules fetch.

    What is not Python is passed over.

    sources: the sources of a lesson's cells.
    """
    names = {
        "torch",
        "numpy.random",
        "matplotlib.pyplot",
        "matplotlib_inline.backend_inline",
        "toolkit",
        "joblib",
    }
    names |= {"book.grading.kernel_check"}
    for source in sources:
        try:
            names |= set(_imported(ast.parse(source)))
        except SyntaxError:
            continue
    return sorted(names)
