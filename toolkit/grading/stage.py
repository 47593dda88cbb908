"""The package as a student's kernel sees it: all samplers and pictures, and of the lessons the probes."""

from __future__ import annotations

import ast
import compileall
import shutil
from pathlib import Path

from . import apart, noting

HERE = Path(__file__).parent
PACKAGE = HERE.parent

_LESSONS = ("__init__", "task", "probes", "diagnose", "record", "registry", "running", "trying")
_GRADING = ("zygote", "wire", "inside", "noting")


def stage(folder: Path, lessons: list[str]) -> Path:
    """Put the staged package into an empty folder: `book/toolkit`, and a `passwd` that names the student.

    lessons: '02', …; only their probes are there.  Returns the folder.  Raises ValueError for a lesson whose
    probes cannot be kept apart from its answers.
    """
    book = folder / "book" / "toolkit"
    shutil.copytree(PACKAGE, book, ignore=_left_out, symlinks=False)
    _fill(book / "lessons", PACKAGE / "lessons", _LESSONS)
    _fill(book / "grading", HERE, _GRADING)
    (book / "grading" / "__init__.py").write_text("")
    (book / "lessons" / "checking.py").write_text("from ..grading.inside import *  # noqa\n")
    (book / "lessons" / "widget.py").write_text("from ..grading.inside import progress  # noqa\n")
    for name in noting.METHODS:
        module = book / f"{name}.py"
        module.write_text(noting.noting(module.read_text("utf8"), f"toolkit.{name}"), "utf8")
    for lesson in lessons:
        (book / "lessons" / f"_probes_{lesson}.py").write_text(apart.source(lesson), "utf8")
    (folder / "passwd").write_text("student:x:1000:1000::/home/s:/bin/sh\n")
    compileall.compile_dir(folder / "book", quiet=2, workers=1)
    return folder


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What is not copied: lessons and grading (filled by name), caches, and what no exercise needs."""
    out = {name for name in names if name == "__pycache__"}
    if Path(folder) == PACKAGE:
        out |= {"lessons", "grading", "claims", "selftest.py", "__main__.py"}
    return out


def _fill(target: Path, source: Path, names) -> None:
    target.mkdir()
    for name in names:
        shutil.copy(source / f"{name}.py", target)


def imports_of(sources) -> list[str]:
    """What cells import, to be imported before the first fork: modules, and names that modules fetch.

    What is not Python is passed over.

    sources: the sources of a lesson's cells.
    """
    found = {"torch", "numpy.random", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "toolkit"}
    found |= {"toolkit.grading.inside"}
    for source in sources:
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return sorted(found)
