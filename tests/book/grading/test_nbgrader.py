"""The same notebooks under the real nbgrader: its commands take them unchanged, and its marks are ours.

nbgrader brings a tab of its own into JupyterLab, so `make test` installs it into an environment beside.  Its
command is the one that NBGRADER names, or nbgrader/bin/nbgrader in this environment, or the one on the PATH.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from book.grading import course
from book.grading.release import release
from book.grading.run import Options
from tests.book.grading import classes

ROOT = Path(__file__).resolve().parents[3]
BESIDE = Path(sys.prefix, "nbgrader/bin/nbgrader")
NBGRADER = os.environ.get("NBGRADER") or (str(BESIDE) if BESIDE.exists() else shutil.which("nbgrader"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NBGRADER, reason="nbgrader is not installed: make test does it"),
]

LESSON, NOTEBOOK = "06", "06_amed.ipynb"  # many kinds of task, and seconds a notebook


def nbgrader(folder, command, *more):
    """Run one of nbgrader's commands in a course's folder."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    clean |= {"PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(Path(sys.prefix, "share/jupyter"))}
    clean["PATH"] = f"{Path(NBGRADER).parent}{os.pathsep}{clean['PATH']}"  # it calls alembic
    done = subprocess.run(
        [NBGRADER, command, *more], cwd=folder, capture_output=True, text=True, env=clean, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def submissions():
    """{student: bytes}: solved, unsolved, with slips, and with all that an honest student leaves behind."""
    made = classes.notebooks(LESSON, 3, seed=5)
    solved = classes.notebooks(LESSON, 1)[0]
    for cell in solved.cells:
        if cell["id"] == "answer-6-1":
            cell.source = "import warnings\nprint('debugging')\nwarnings.warn('careful')\n" + cell.source
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    texts = [classes.text(notebook) for notebook in (*made, solved)]
    unsolved = (ROOT / "exercises" / NOTEBOOK).read_bytes()
    return dict(zip(["ada", "bob", "cleo", "dora", "emil"], [*texts, unsolved], strict=True))


def course_folder(folder, source: Path):
    """A course of nbgrader's with this assignment, as it comes."""
    (folder / "source" / LESSON).mkdir(parents=True)
    shutil.copy(source, folder / "source" / LESSON)
    (folder / "nbgrader_config.py").write_text('c = get_config()\nc.CourseDirectory.course_id = "x"\n')
    return folder


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """(nbgrader's folder, {student: mark}) of a small class."""
    folder = course_folder(tmp_path_factory.mktemp("course"), ROOT / "exercises" / NOTEBOOK)
    nbgrader(folder, "generate_assignment", LESSON)
    for student, raw in submissions().items():
        path = folder / "submitted" / student / LESSON / NOTEBOOK
        path.parent.mkdir(parents=True)
        path.write_bytes(raw)
    nbgrader(folder, "autograde", LESSON)
    nbgrader(folder, "generate_feedback", LESSON)
    nbgrader(folder, "export")
    rows = csv.DictReader((folder / "grades.csv").open())
    return folder, {row["student_id"]: float(row["score"]) for row in rows}


def test_its_commands_take_the_exercise_unchanged(marked):
    folder, marks = marked
    assert set(marks) == set(submissions())
    assert all(
        (folder / "feedback" / s / LESSON / NOTEBOOK.replace("ipynb", "html")).is_file() for s in marks
    )


def test_its_marks_are_ours(marked, tmp_path):
    folder, theirs = marked
    options = Options(solutions=ROOT / "solutions", jobs=1)
    found = course.grade_class(folder / "submitted", tmp_path, lessons=[LESSON], options=options)
    assert {one.student.key: one.score for one in found} == theirs
    assert theirs["emil"] == 0 and len(set(theirs.values())) >= 3


def test_what_is_released_goes_through_it_and_back(tmp_path):
    """The release of two tasks, generated again by nbgrader, solved, is worth the points that were set."""
    files = release(
        tmp_path / "released", [LESSON], "Friday", {"6.2": 3}, ["6.1", "6.2"], exercises=ROOT / "exercises"
    )
    folder = course_folder(tmp_path / "course", files[0])
    nbgrader(folder, "generate_assignment", LESSON)
    solved = folder / "submitted" / "ada" / LESSON
    solved.mkdir(parents=True)
    given = classes.read(folder / "release" / LESSON / NOTEBOOK)
    answers = {c["id"]: c.source for c in classes.read(ROOT / "solutions" / NOTEBOOK).cells}
    for cell in given.cells:
        if cell["id"].startswith("answer-"):
            cell.source = answers[cell["id"]]
    (solved / NOTEBOOK).write_bytes(classes.text(given))
    nbgrader(folder, "autograde", LESSON)
    nbgrader(folder, "export")
    (row,) = csv.DictReader((folder / "grades.csv").open())
    assert (float(row["score"]), float(row["max_score"])) == (7, 7)
    out = tmp_path / "out"
    options = Options(solutions=ROOT / "solutions", jobs=1)
    record = tmp_path / "released" / "release.json"
    (ours,) = course.grade_class(folder / "submitted", out, release=record, options=options)
    assert (ours.score, ours.points) == (7, 7)
