"""What the solution notebooks say and run beside the answers: derivations, open questions, measurements."""

from functools import cache
from pathlib import Path

import nbformat

SOLUTIONS = Path(__file__).parents[1] / "solutions"


@cache
def source(lesson: str, cell_id: str) -> str:
    """The source of one cell of a lesson's solution notebook, such as ("01", "why-1-5")."""
    (path,) = SOLUTIONS.glob(f"{lesson}_*.ipynb")
    return next(cell.source for cell in nbformat.read(path, 4).cells if cell.id == cell_id)


def says(lesson: str, cell_id: str, *shown: str):
    """Assert that the cell's text holds each of these numbers, or phrases with numbers."""
    missing = [one for one in shown if one not in source(lesson, cell_id)]
    assert not missing, f"{cell_id} of lesson {lesson} does not say {missing}"
