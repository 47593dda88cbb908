"""Lesson 99 in a folder of its own, built once for all tests of the engine."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import lesson_99  # noqa: E402


@pytest.fixture(scope="session")
def lesson99(tmp_path_factory):
    """Paths of the built fixture lesson: .solution and .exercise; TOOLKIT_LESSONS points at its tasks."""
    from types import SimpleNamespace

    from toolkit.lessons.building import build

    root = tmp_path_factory.mktemp("lesson99")
    (root / "lessons" / "reference").mkdir(parents=True)
    shutil.copy(lesson_99.FIXTURES / "tasks_99.py", root / "lessons")
    solution = lesson_99.write(root / "solutions" / "99_small.ipynb")
    before = os.environ.get("TOOLKIT_LESSONS")
    os.environ["TOOLKIT_LESSONS"] = str(root / "lessons")
    try:
        files = build(solution)
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf8")
        yield SimpleNamespace(
            root=root, solution=solution, exercise=root / "exercises" / "99_small.ipynb", files=files
        )
    finally:
        if before is None:
            del os.environ["TOOLKIT_LESSONS"]
        else:
            os.environ["TOOLKIT_LESSONS"] = before
