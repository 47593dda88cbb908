"""The book's own exercises: what is committed is what the solutions give; unsolved fails at each check.

A solution is run once, by the build, which refuses it for a check that does not pass and for any other cell
that stops.  That a solved notebook then passes under nbval, too, the small lesson of the fixtures shows
(`test_plugin.py`), and here the shortest of the book's own.
"""

from pathlib import Path

import nbformat
import pytest

from book.lessons import record, registry
from book.lessons.building import CHECK, SOLUTION_ONLY, build
from tests.book.lessons.test_plugin import nbval, summary

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SOLUTIONS = sorted((ROOT / "solutions").glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_what_is_committed_is_what_the_solution_gives(path):
    # The build runs the solution, and refuses one whose checks do not all pass.
    stale = [
        file.name
        for file, text in build(path).items()
        if not file.is_file() or file.read_text("utf8") != text
    ]
    assert not stale, f"run toolkit build: {stale}"


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_what_a_student_opens_tells_no_answer(path):
    """No output, no marker of another tool's, and nothing of what is for the solution only."""
    for cell in nbformat.read(ROOT / "exercises" / path.name, as_version=4).cells:
        assert not cell.get("outputs") and CHECK not in cell.source
        assert SOLUTION_ONLY not in cell.metadata.get("tags", [])


def test_unsolved_exercises_fail_at_each_check_and_only_there():
    """All of them in one run of pytest, as a reader may, too."""
    code, output = nbval(*(ROOT / "exercises" / path.name for path in SOLUTIONS))
    tasks = [cell.task for path in SOLUTIONS for cell in record.load(path.name[:2]).cells]
    failed = summary(output)
    assert code == 1
    assert list(failed) == [f"task {task}" for task in tasks], output
    for task in tasks:
        assert failed[f"task {task}"].startswith(f"{task} not tried. "), failed


def test_a_solved_exercise_passes():
    code, output = nbval(SOLUTIONS[0])
    assert code == 0, output


def test_every_lesson_has_its_notebooks():
    ours = [lesson for lesson in registry.lessons() if registry.folder_of(lesson).parent == registry.HERE]
    assert {path.name[:2] for path in SOLUTIONS} >= set(ours) - {"00"}  # 00 is a warm-up within its chapter
