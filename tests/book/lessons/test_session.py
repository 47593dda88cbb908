"""Notebooks that go wrong: each costs its own task only, within the time limit, and is told in one
sentence."""

import json
import time

import pytest

from book.lessons import running
from book.lessons.running import BadNotebook, Session, default_deadline, read_notebook
from tests.book.lessons import lesson_99

pytestmark = pytest.mark.slow

DEADLINE = 2.0  # of a cell that never ends; the others have all the time that a busy machine takes


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(running, "_GRACE", 0.5)


def light(lesson99, path, before=(), third="import math\nsigma = math.sqrt(1 - 0.6**2)", extra=()):
    """A notebook with other cells first, an answer to 99.3 (whose check needs no torch), its check, and more
    cells."""
    cells = [*((f"b{i}", source) for i, source in enumerate(before)), ("answer-99-3", third)]
    cells += [("check-99-3", "check('99.3', sigma)  # the package's source is run, not this")]
    cells += [(f"e{i}", source) for i, source in enumerate(extra)]
    return lesson_99.write(path / "99_small.ipynb", cells)


def verdict(path, task="99.3"):
    with Session(path) as session:
        return session.result(task)


SWALLOWS = """
import time
while True:
    try:
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
"""
PRINTS = """
import time
while True:
    try:
        while True:
            print("x" * 1000)
            time.sleep(1e-4)  # else it fills the memory of a machine that is too busy to read it
    except KeyboardInterrupt:
        pass
"""

ENDS = {
    "never returns": ("while True: pass", "still running after 2 s"),
    "never returns and swallows interrupts": (SWALLOWS, "still running after 2 s"),
    "output without end": (PRINTS, "output without end"),
    "20,000 displays": (
        "from IPython.display import display\nfor i in range(20_000): display(i)",
        "more than 2,000 outputs",
    ),
    "os._exit": ("import os; os._exit(0)", "ended its Python process"),
    "a crash": ("import ctypes; ctypes.string_at(0)", "ended its Python process"),
}


def hurried(session, run, words):
    """What `run()` gives when it has DEADLINE, if that is what is to end it, and else all its time."""
    whole = session.deadline
    session.deadline = DEADLINE if "still running" in words else whole
    try:
        return run()
    finally:
        session.deadline = whole


@pytest.mark.parametrize("case", ENDS)
def test_a_bad_cell_costs_only_itself(lesson99, tmp_path, case):
    source, words = ENDS[case]
    path = light(lesson99, tmp_path, before=["kept = 0.6", source], third="sigma = (1 - kept**2) ** 0.5")
    with Session(path) as session:
        session.run(session.steps[0])
        ran = hurried(session, lambda: session.run(session.steps[1]), words)
        said = running.trouble(session.steps[1], ran)
        result = session.result("99.3")
    assert result.state == "done", result
    assert said.startswith("code cell 2 ") and words in said and "\n" not in said


@pytest.mark.parametrize("source", ["print('x' * 30_000_000)", "for _ in range(6000): print('x' * 1000)"])
def test_a_long_output_costs_nothing_and_is_cut(lesson99, tmp_path, source):
    before = ["kept = 0.6", f"{source}\nalso = kept**2"]
    path = light(lesson99, tmp_path, before=before, third="sigma = (1 - also) ** 0.5")
    with Session(path) as session:
        result, ran = session.result("99.3"), session.steps[1].ran
    assert (result.state, ran.stopped, ran.ename) == ("done", "", "")
    assert len(ran.text) <= running.BUDGET


@pytest.mark.parametrize("case", ["never returns and swallows interrupts", "os._exit"])
def test_a_bad_answer_costs_only_its_task(lesson99, tmp_path, case):
    # The answer to 99.3 misbehaves while the check looks at it; the check of 99.5 comes after it.
    source = ENDS[case][0].strip().replace("\n", "\n        ")
    evil = f"class Evil:\n    def __float__(self):\n        {source}\nsigma = Evil()"
    cells = [("answer-99-3", evil), ("check-99-3", "")]
    cells += [(i, s) for i, s in lesson_99.CELLS if i in ("a5", "c5")]
    path = lesson_99.write(tmp_path / "99_small.ipynb", cells)
    with Session(path) as session:
        session.run(session.steps[0])
        bad = hurried(session, lambda: session.result("99.3"), ENDS[case][1])
        good = session.result("99.5")
    assert bad.state == "not yet" and ENDS[case][1] in bad.sentence
    assert good.state == "done", good


def test_a_cell_that_ends_the_new_kernel_is_left_out_then(lesson99, tmp_path):
    flag = tmp_path / "flag"
    again = f"import os, pathlib\np = pathlib.Path({str(flag)!r})\nif p.exists(): os._exit(1)\np.touch()"
    path = light(lesson99, tmp_path, before=[again, "import os; os._exit(0)"])
    assert verdict(path).state == "done"


def test_a_copy_of_the_check_is_told_and_the_first_counts(lesson99, tmp_path):
    path = light(lesson99, tmp_path, extra=["sigma = 99", "check('99.3', sigma)"])
    raw = json.loads(path.read_text())
    raw["cells"][-1]["metadata"]["nbgrader"] = {"grade_id": "check-99-3"}
    path.write_text(json.dumps(raw))
    result = verdict(path)
    assert result.state == "done" and "copy of this check further down (code cell 4)" in result.note


def test_a_lost_check_is_told(lesson99, tmp_path):
    path = lesson_99.edited(lesson99.solution, tmp_path / "99_small.ipynb", check_99_3=None)
    with Session(path) as session:
        result = session.result("99.3")
    assert result.state == "not yet" and "check cell is missing" in result.sentence
    assert [cell.task for cell in session.missing] == ["99.3"]


@pytest.mark.parametrize("source", ["print('99.3 done')", "# NBVAL_SKIP"])
def test_a_check_that_was_edited_is_run_as_the_package_has_it(lesson99, tmp_path, source):
    path = lesson_99.edited(lesson99.exercise, tmp_path / "99_small.ipynb", check_99_3=source)
    assert verdict(path).state == "not tried"


def test_a_check_without_its_id_is_found_by_its_grade_id_or_its_call(lesson99, tmp_path):
    path = light(lesson99, tmp_path)
    raw = json.loads(path.read_text())
    raw["nbformat_minor"] = 4
    for cell in raw["cells"]:
        del cell["id"]
    raw["cells"][-1]["source"] = 'check("99.3", sigma)'
    path.write_text(json.dumps(raw))
    assert verdict(path).state == "done"
    raw["cells"][-1].update(source="lost", metadata={"nbgrader": {"grade_id": "check-99-3"}})
    path.write_text(json.dumps(raw))
    assert verdict(path).state == "done"


def test_an_old_notebook_is_upgraded(lesson99, tmp_path):
    cells = ["sigma = 0.8", 'check("99.3", sigma)']
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "99"},
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "code", "input": s, "outputs": [], "language": "python", "metadata": {}}
                    for s in cells
                ]
            }
        ],
    }
    path = tmp_path / "99_small.ipynb"
    path.write_text(json.dumps(old))
    assert verdict(path).state == "done"


@pytest.mark.parametrize(
    "third, state, words",
    [
        ("sgima = 0.8", "not yet", "sigma is not defined: was it renamed"),
        ("sigma = = 0.8", "not yet", "sigma is not defined, because code cell 1 stopped with SyntaxError"),
        ("sigma = float(input())", "not yet", "nobody is there to answer"),
        ("raise NotImplementedError", "not tried", "still the stub"),
        ("sigma = 1 / 0", "not yet", "code cell 1 stopped with ZeroDivisionError: division by zero."),
        ("sigma = 0.64", "not yet", "This is the variance."),
    ],
)
def test_each_way_to_have_no_answer_has_its_sentence(lesson99, tmp_path, third, state, words):
    result = verdict(light(lesson99, tmp_path, third=third))
    assert result.state == state and words in result.sentence, result


def test_what_a_student_prints_warns_and_adds_does_no_harm(lesson99, tmp_path):
    noise = "import sys, warnings\nprint('hello')\nwarnings.warn('careful')\nprint('oh', file=sys.stderr)"
    path = light(lesson99, tmp_path, before=[noise, "raise ValueError('my own try')"])
    raw = json.loads(path.read_text())
    raw["metadata"] = {"kernelspec": {"name": "my-own-kernel", "display_name": "x"}}
    path.write_text(json.dumps(raw))
    assert verdict(path).state == "done"


def test_a_faked_check_function_does_not_pass(lesson99, tmp_path):
    fake = "import book.lessons as lessons\nlessons.check = lambda *a, **k: print('99.3 done')"
    result = verdict(light(lesson99, tmp_path, before=[fake], third="sigma = 0"))
    assert result.state == "not yet" and "does not print" in result.sentence


BAD = {
    "not JSON": (b"<html>log in</html>", "not JSON"),
    "cut off": (b'{"nbformat": 4, "cells": [', "not JSON"),
    "binary": (bytes(range(256)), "not JSON"),
    "empty": (b"", "not JSON"),
    "a list": (b"[1, 2]", "no nbformat number"),
    "deep": (b"[" * 100_000, "not JSON"),
    "no cells": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "damaged"),
    "odd cells": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3]}', "damaged"),
    "from the future": (b'{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}', "damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_notebook_is_told_in_one_sentence(tmp_path, case):
    data, words = BAD[case]
    path = tmp_path / "99_small.ipynb"
    path.write_bytes(data)
    with pytest.raises(BadNotebook) as caught:
        read_notebook(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_other_files_are_told(lesson99, tmp_path):
    with pytest.raises(BadNotebook, match="There is no file"):
        Session(tmp_path / "99_none.ipynb")
    with pytest.raises(BadNotebook, match="is a folder"):
        Session(tmp_path)
    lesson_99.write(tmp_path / "notes.ipynb", [("a", "x = 1")])
    with pytest.raises(BadNotebook, match="not one of this book's exercises"):
        Session(tmp_path / "notes.ipynb")
    lesson_99.write(tmp_path / "98_notes.ipynb", [("a", "x = 1")])
    with pytest.raises(BadNotebook, match="there is no lesson 98"):
        Session(tmp_path / "98_notes.ipynb")
    path = lesson_99.write(tmp_path / "99_utf16.ipynb")
    path.write_bytes(path.read_text("utf8").encode("utf-16"))
    assert len(Session(path).steps) > 6


def test_the_deadline_can_be_set(monkeypatch):
    monkeypatch.setenv("TOOLKIT_DEADLINE", "12.5")
    assert default_deadline() == 12.5
    monkeypatch.setenv("TOOLKIT_DEADLINE", "soon")
    with pytest.raises(ValueError, match="'soon'; give seconds"):
        default_deadline()


def test_no_kernel_is_left_behind(lesson99, tmp_path):
    path = light(lesson99, tmp_path, before=["import os; print(os.getpid())"])
    with Session(path) as session:
        session.result("99.3")
        pid = int(session.steps[0].ran.text)
    for _ in range(300):
        if not _runs(pid):
            return
        time.sleep(0.1)
    raise AssertionError("the kernel still runs")


def _runs(pid):
    import os

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
