"""Lesson 99 in a folder of its own, built once for all tests of the engine."""

import shutil
from types import SimpleNamespace

import pytest

from tests.book.lessons import lesson_99


@pytest.fixture(scope="session")
def _built99(tmp_path_factory):
    from book.lessons.building import build

    root = tmp_path_factory.mktemp("lesson99")
    shutil.copytree(lesson_99.FIXTURES / "ch99", root / "lessons" / "ch99")
    solution = lesson_99.write(root / "solutions" / "99_small.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLKIT_LESSONS", str(root / "lessons"))
        files = build(solution)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf8")
    return SimpleNamespace(
        root=root, solution=solution, exercise=root / "exercises" / "99_small.ipynb", files=files
    )


@pytest.fixture
def lesson99(_built99, monkeypatch):
    """Paths of the built fixture lesson: .solution and .exercise; TOOLKIT_LESSONS points at its tasks.

    Only for the test that asks: a later one in the same process must not find a lesson that is not its own.
    """
    monkeypatch.setenv("TOOLKIT_LESSONS", str(_built99.root / "lessons"))
    return _built99
