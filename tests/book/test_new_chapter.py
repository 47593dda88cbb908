"""A new folder is all that a new chapter needs: chapter 99 is put into a copy of the project, and found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.book.lessons import lesson_99

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PARTS = ("toolkit", "book", "chapters", "exercises", "solutions", "tests", "pyproject.toml", "Makefile")

CHAPTER = [
    "# 99 A fixture\n\n<!-- eq:fixture.decay -->\n$$\\dot x = -\\rho x \\tag{99.1}$$",
    "from book.ch99 import experiments, figures\nfrom book.claims import table\n"
    "from book.numbers import show",
    "show(experiments.euler_halves())",
    "figures.decay()",
    'table("99")',
]


def chapter():
    """The notebook of chapter 99, not run yet."""
    new = nbformat.v4
    cells = [(new.new_markdown_cell if text.startswith("#") else new.new_code_cell)(text) for text in CHAPTER]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return new.new_notebook(cells=cells)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, and in it the files of chapter 99: nothing else is edited."""
    copy, fixtures = tmp_path_factory.mktemp("project"), lesson_99.FIXTURES
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, copy)
    shutil.copytree(fixtures / "ch99", copy / "book/ch99", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests/ch99").mkdir()
    shutil.copy(copy / "tests/ch00/__init__.py", copy / "tests/ch99")
    shutil.copy(fixtures / "equations_99.py", copy / "tests/ch99/equations.py")
    nbformat.write(chapter(), copy / "chapters/99_small.ipynb")
    lesson_99.write(copy / "solutions/99_small.ipynb")
    return copy


@pytest.fixture(scope="module")
def run(project):
    """`run("-m", "book", "build")`: what Python prints in the copy."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TOOLKIT", "PYTEST"))}

    def python(*words, code=0):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=project,
            env=env | {"PYTHONPATH": str(project)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    assert "99_small.ipynb: rewritten" in python("-m", "book", "book", "chapters/99_small.ipynb")
    assert "99_small.ipynb: built" in python("-m", "book", "build", "solutions/99_small.ipynb")
    return python


# Most of what a process of the copy costs is its imports: one is asked all that leaves the copy as it is.
ASKED = """
import json, sys
from pathlib import Path
from typer.testing import CliRunner
from book.__main__ import make_app
from book.appendix import page
from book.chapters import chapters, number
from book.claims import claims
from book.grading.staging import stage

commands, staged = json.loads(sys.argv[1]), Path(sys.argv[2])
said = {
    "claims": [claims("99")[0].decided(), "F99" in str(claims())],
    "appendix": [cell.id for cell in page.notebook().cells if "(F99)" in cell.source],
    "last chapter": [path.name for path in chapters() if number(path)][-1],
}
staged.mkdir()
stage(staged, ["99"])
for name, words in commands.items():
    told = CliRunner().invoke(make_app(), words)
    said[name] = [told.exit_code, told.stdout]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def asked(run, tmp_path_factory):
    """What one process of the copy says: {question: answer}, and {command: [exit code, what it prints]}.

    "released" and "staged" are folders."""
    room = tmp_path_factory.mktemp("asked")
    commands = {
        "compared": ["book", "--check", "--twice", "chapters/99_small.ipynb"],
        "built": ["build", "--check", "solutions/99_small.ipynb"],
        "unsolved": ["check", "exercises/99_small.ipynb", "--task", "3"],
        "solved": ["check", "solutions/99_small.ipynb", "--task", "3"],
        "release": ["release", str(room / "released"), "--lesson", "99"],
    }
    said = run("-c", ASKED, json.dumps(commands), str(room / "staged"))
    return json.loads(said.splitlines()[-1]) | {"released": room / "released", "staged": room / "staged"}


def test_its_claims_are_found(asked):
    assert asked["claims"] == ["holds", True]


def test_its_claims_stand_in_the_appendix(asked):
    assert asked["appendix"] == ["papers-libraries-and-folklore"]


def test_its_claims_are_decided_after_the_cells_of_its_notebook(run, project):
    """As `make test` asks; here of a verdict that is not the experiment's."""
    path = project / "book/ch99/experiments.py"
    right = path.read_text("utf8")
    path.write_text(right.replace("verdict=True", "verdict=False"), "utf8")
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.book.notebooks.claimed", "--nbval-lax"]
    try:
        said = run("-m", "pytest", *options, "--nbval-current-env", "chapters/99_small.ipynb", code=1)
    finally:
        path.write_text(right, "utf8")
    assert "99_small.ipynb: F99: AssertionError: " in said and "1 failed, 4 passed" in said


def test_its_notebook_is_run_and_compared(asked, project):
    code, said = asked["compared"]
    assert code == 0 and "99_small.ipynb: as committed" in said
    assert asked["last chapter"] == "99_small.ipynb"
    shown = (project / "chapters/99_small.ipynb").read_text("utf8")
    assert "HOLDS: Twice the steps halve" in shown and "image/png" in shown


def test_its_exercise_is_built_and_checked(asked, project):
    assert (project / "book/ch99/reference.json").is_file()
    assert asked["built"] == [0, ""]
    code, said = asked["unsolved"]
    assert code == 1 and "99.3  not tried" in said
    code, said = asked["solved"]
    assert code == 0 and "1 of 1 tasks done" in said


def test_its_equation_needs_its_check_and_has_it(run):
    options = ["-q", "-p", "no:cacheprovider", "-k", "(number and 99) or fixture or every_equation"]
    said = run("-m", "pytest", *options, "tests/book/notebooks/test_equations.py")
    assert "3 passed" in said


def test_its_lesson_is_staged_for_students(asked):
    there = asked["staged"] / "packages/book"
    assert (there / "lessons/_probes_99.py").is_file() and (there / "ch99/figures.py").is_file()
    assert not (there / "ch99/tasks.py").exists()


def test_its_lesson_is_among_those_that_can_be_given_out(asked):
    assert asked["release"][0] == 0 and (asked["released"] / "99_small.ipynb").is_file()
