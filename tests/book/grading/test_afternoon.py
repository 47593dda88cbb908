"""An instructor's afternoon, for a class of four: release, three LMSs, marks, other points, two years."""

import csv
import json
from dataclasses import replace

import nbformat
import pytest
from typer.testing import CliRunner

from book.__main__ import make_app
from book.grading import issuing
from book.grading.release import read_release
from book.lessons import drawing, registry
from tests.book.grading import classes

pytestmark = pytest.mark.slow

NOTEBOOK = "00_start_here.ipynb"
CLASS = {"alovelace": "Ada Lovelace", "epost": "Emil Post", "ghopper": "Grace Hopper", "rpeter": "Rosa Peter"}


def toolkit(*words, code=0):
    """What a command said.  It must end with this exit code."""
    run = CliRunner().invoke(make_app(), [*map(str, words)])
    assert run.exit_code == code, run.output
    return run.output


def answered(path, course, student, tasks=("0.1", "0.2")):
    """A student's notebook with these tasks solved, as bytes."""
    task, notebook = registry.find("0.2"), nbformat.read(path, 4)
    hunt = replace(course.hunt(student, "0.1"), chosen=())
    number = task.varies.fields(task, **course.constants(student, "0.2"))["reference"]
    texts = {"0.1": "\n\n".join(hunt.texts().values()), "0.2": f"alpha_bar = {number:.6f}"}
    wanted = {f"answer-{name.replace('.', '-')}": texts[name] for name in tasks}
    for cell in notebook.cells:
        cell.source = wanted.get(cell["id"], cell.source)
    return classes.text(notebook)


@pytest.fixture(scope="module")
def afternoon(tmp_path_factory):
    """The folder of a course: the class as Canvas exports it, what was released, what three LMSs give."""
    folder = tmp_path_factory.mktemp("course")
    people = [(login, *name.split()) for login, name in CLASS.items()]
    rows = [f'"{b}, {a}",{1000 + n},S{n},{login},One,' for n, (login, a, b) in enumerate(people)]
    head = ["Student,ID,SIS User ID,SIS Login ID,Section,Exercises 0 (7)", "    Points Possible,,,,,3"]
    (folder / "gradebook.csv").write_text("\n".join([*head, *rows, ""]))
    make = ("--lesson", "00", "--hunt", "0.1=1", "--vary", "--exercises", classes.ROOT / "exercises")
    make = (*make, "--key", folder / "course.key", "--roll", folder / "gradebook.csv")
    toolkit("release", folder / "handout", *make)
    toolkit("release", folder / "other_points", *make, "--points", "0.1=2")
    chosen = read_release(folder / "handout" / "release.json")
    course = issuing.Course(drawing.read_key(folder / "course.key"), chosen.hunts, chosen.varied)
    ada, emil, grace, rosa = CLASS
    mine = {who: folder / "handout" / who / NOTEBOOK for who in CLASS}
    files = {
        CLASS[ada]: answered(mine[ada], course, ada),
        CLASS[emil]: answered(mine[emil], course, emil, ["0.2"]),
        CLASS[grace]: answered(mine[ada], course, ada),  # Ada's file
    }
    for form in (classes.canvas, classes.moodle, classes.gradescope):
        (folder / f"{form.__name__}.zip").write_bytes(form(files, NOTEBOOK))
    return folder


def grade(folder, form, out, *more, released="handout"):
    """(what was said, the rows of the table) of grading what an LMS gave."""
    line = ("--release", folder / released / "release.json", "--key", folder / "course.key", "-j", 1)
    line += ("--roll", folder / "gradebook.csv", "--solutions", classes.ROOT / "solutions")
    said = toolkit("grade", folder / f"{form}.zip", "-o", folder / out, *line, *more)
    rows = csv.DictReader((folder / out / "grades.csv").open(encoding="utf-8-sig"))
    return said, sorted(rows, key=lambda row: row["key"])


def test_three_forms_one_mark(afternoon):
    for form in ("canvas", "moodle", "gradescope"):
        said, rows = grade(afternoon, form, f"marks_{form}")
        marks = {row["name"].replace(" ", "").replace(",", "").lower(): float(row["score"]) for row in rows}
        assert {name[:3]: mark for name, mark in marks.items()} == {"lov": 2, "pos": 1, "hop": 2}, form
        assert "Nothing came from 1 of the 4 on the roll: rpeter." in said
        assert "to look at: 2" in said, said  # Ada and Grace, who handed in one file
        told = json.loads((afternoon / f"marks_{form}" / "graded.json").read_text("utf8"))
        flags = {one["student"]["name"]: " ".join(one["flags"]) for one in told}
        about = sorted("came from" in one or "issued to alovelace" in one for one in flags.values())
        assert about == [False, True, True]
        assert not any(task["notes"] for one in told for task in one["tasks"])


def test_other_points_and_the_year_before(afternoon):
    grade(afternoon, "canvas", "marks")
    book = ("--canvas", afternoon / "gradebook.csv")
    _, rows = grade(afternoon, "canvas", "marks", *book, released="other_points")
    assert sorted(float(row["score"]) for row in rows) == [1, 3, 3]
    filled = list(csv.reader((afternoon / "marks" / "canvas.csv").open(encoding="utf-8-sig")))
    assert [row[-1] for row in filled[2:]] == ["3", "1", "3", ""]
    toolkit("statistics", afternoon / "marks", "--compare", afternoon / "marks", "--title", "Two years")
    lines = list(csv.DictReader((afternoon / "marks" / "statistics.csv").open(encoding="utf-8-sig")))
    assert {row["difference"] for row in lines} == {"0.0"}
    assert {row["task"] for row in lines} == {"task 0.1", "task 0.2"}
    assert "Two years" in (afternoon / "marks" / "statistics.html").read_text("utf8")
