"""Every submission of the corpus gets the mark that it deserves, and is told why."""

import contextlib
import functools

import pytest

from book.grading import sandbox
from book.lessons import running
from book.lessons.running import BadNotebook, read_notebook
from tests.book.grading import corpus, marking_lab

pytestmark = pytest.mark.slow

DEADLINE = 2.5
CASES = [*corpus.ODD, *corpus.BROKEN, *corpus.HOSTILE]


@pytest.fixture(scope="module")
def markers():
    """`markers(lesson)`: one marker a lesson, made when first asked for."""
    with contextlib.ExitStack() as stack:
        limits = sandbox.Limits(memory=2 * 2**30)
        yield functools.cache(
            lambda lesson: stack.enter_context(
                marking_lab.marker(lesson, corpus.TASKS[lesson], limits=limits)
            )
        )


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(running, "_GRACE", 0.5)


def mark(case, markers, path):
    """The results of a case."""
    path.write_bytes(case.file())
    marker = markers(case.lesson)
    return (marking_lab.hurried(marker, DEADLINE) if case.slow else marker).mark(read_notebook(path))


def holds(found, part):
    """Whether a text, or one of some texts, holds this part; where no part is given there is none."""
    texts = [found] if isinstance(found, str) else list(found)
    return any(part in text for text in texts) if part else not any(texts)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_submission_gets_what_it_deserves(case, markers, tmp_path):
    if case.boxed and sandbox.found() == "limits":
        pytest.skip("bubblewrap is not here, and without it nothing keeps this submission in")
    if case.problem:
        with pytest.raises(BadNotebook, match=case.problem):
            mark(case, markers, tmp_path / "a.ipynb")
        return
    results = mark(case, markers, tmp_path / "a.ipynb")
    marks = case.marks or tuple(result.points for result in results)
    assert tuple(result.score for result in results) == marks, results
    for result in results:
        for told in ("says", "notes", "flags"):
            found = result.sentence if told == "says" else getattr(result, told)
            assert holds(found, getattr(case, told).get(result.task, "")), (told, result)
