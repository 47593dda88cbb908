"""Plain `pytest --nbval-lax` on an exercise is a real check: unsolved fails, and solved passes."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.book.lessons import lesson_99

pytestmark = pytest.mark.slow

PLUGIN = "book.lessons.pytest_plugin"
INSTALLED = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
ROOT = Path(__file__).parents[3]


def nbval(*paths, options=()):
    """Run pytest --nbval-lax as a student would; gives (exit code, output)."""
    env = {**os.environ, "TOOLKIT_DEADLINE": "60", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", "-rfEs"),
            *(() if INSTALLED else ("-p", PLUGIN)),
            *options,
            *map(str, paths),
        ],
        cwd=paths[0].parent,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return run.returncode, run.stdout + run.stderr


def summary(output):
    """{item: its sentence} of the failures."""
    return dict(re.findall(r"^_+ \S+\.ipynb::(.+?) _+\n(.+)$", output, re.MULTILINE))


def test_the_package_tells_pytest_of_the_plugin():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    assert project["entry-points"]["pytest11"] == {"toolkit": PLUGIN}


def test_an_unsolved_exercise_fails_at_each_check_for_the_right_reason(lesson99, tmp_path):
    code, output = nbval(lesson99.exercise, options=[f"--junitxml={tmp_path / 'x.xml'}"])
    failed = summary(output)
    assert code == 1
    assert list(failed) == [f"task {task}" for task in lesson_99.TASK_IDS]
    for task in lesson_99.TASK_IDS:
        assert failed[f"task {task}"].startswith(f"{task} not tried. ")
    assert "Traceback" not in output
    cases = ElementTree.parse(tmp_path / "x.xml").iter("testcase")
    ids = {case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")} for case in cases}
    assert ids["task 99.2"] == {"cell_id": "check-99-2", "task": "99.2"}
    assert ids["Cell 0"] == {"cell_id": "setup"}


def test_a_solved_exercise_passes_with_any_outputs_stored(lesson99, tmp_path):
    solved = lesson_99.edited(lesson99.solution, tmp_path / "99_small.ipynb")
    raw = json.loads(solved.read_text())
    for cell in raw["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "something else\n"}]
            cell["execution_count"] = None
    solved.write_text(json.dumps(raw))
    code, output = nbval(solved)
    assert code == 0, output
    assert "14 passed" in output


def test_wrong_answers_fail_though_the_file_holds_what_they_print(lesson99, tmp_path):
    # Running a wrong check in JupyterLab stores its own output: compared with itself, it would pass.
    path = lesson_99.edited(
        lesson99.solution,
        tmp_path / "99_small.ipynb",
        answer_99_3="sigma = 0.64",
        check_99_3='print("99.3 done")',
        check_99_4=None,
        answer_99_6="def mean(x):\n    return x.mean()",
        check_99_6="# NBVAL_SKIP",
    )
    raw = json.loads(path.read_text())
    for cell in raw["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    path.write_text(json.dumps(raw))
    code, output = nbval(path)
    failed = summary(output)
    assert code == 1
    assert set(failed) == {"task 99.3", "task 99.4", "task 99.6"}
    assert failed["task 99.3"] == "99.3 not yet. This is the variance. What is the standard deviation?"
    assert "check cell is missing" in failed["task 99.4"]
    assert "Over which axis" in failed["task 99.6"]


def test_bad_cells_fail_with_one_sentence_and_spare_the_other_tasks(lesson99, tmp_path):
    loop = "import time\nwhile True:\n    try:\n        while True: print('x' * 1000); time.sleep(1e-4)\n"
    loop += "    except KeyboardInterrupt: pass"
    cells = [("c1", loop), ("c2", "import os; os._exit(0)"), ("c3", "sigma = 0.8"), ("check-99-3", "")]
    path = lesson_99.write(tmp_path / "99_small.ipynb", [*cells, ("c4", "1 / 0"), ("check-99-4", "")])
    code, output = nbval(path, options=["-k", "99.3 or 99.4 or Cell"])
    failed = summary(output)
    assert code == 1 and set(failed) == {"Cell 0", "Cell 1", "Cell 4", "task 99.4"}
    assert failed["Cell 0"].startswith("Code cell 1 ") and "ended its Python process" in failed["Cell 1"]
    assert failed["Cell 4"] == "Code cell 5 stopped with ZeroDivisionError: division by zero."
    assert "formula is not defined, because code cell 5" in failed["task 99.4"]
    assert "xfail" not in output


def test_what_is_no_notebook_fails_with_a_sentence_and_other_notebooks_are_left_to_nbval(lesson99, tmp_path):
    (tmp_path / "99_small.ipynb").write_text("<html>")
    lesson_99.write(tmp_path / "mine.ipynb", [("a", "x = 1"), ("b", "# NBVAL_CHECK_OUTPUT\nprint(2)")])
    code, output = nbval(tmp_path / "99_small.ipynb", tmp_path / "mine.ipynb", options=["-v"])
    assert code == 1
    assert summary(output) == {
        "notebook": "99_small.ipynb is not a notebook: it is not JSON. Was the download or the save cut off?"
    }
    assert "2 passed" in output


def test_a_lesson_without_its_metadata_is_known_by_its_check_cells(lesson99, tmp_path):
    path = lesson_99.write(tmp_path / "mine.ipynb", [("a", "sigma = 0.64"), ("check-99-3", "")])
    code, output = nbval(path, options=["-k", "99.3"])
    assert code == 1 and summary(output) == {
        "task 99.3": "99.3 not yet. This is the variance. What is the standard deviation?"
    }


def test_without_nbval_nothing_is_collected(lesson99):
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(lesson99.exercise.parent)],
        cwd=lesson99.root,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 5
