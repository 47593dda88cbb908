"""Releases: what students get, what is recorded, and what is refused."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from book import folders
from book.__main__ import make_app
from book.grading.release import CELL, Release, ReleaseError, read_release, release
from book.lessons import record
from book.lessons.running import Session

ROOT = Path(__file__).resolve().parents[3]
EXERCISES = ROOT / "exercises"
LESSONS = folders.chapters("tasks.py")


def make(folder, lessons, **options):
    return release(folder, lessons, exercises=EXERCISES, **options)


def cells(path):
    return {cell["id"]: cell for cell in nbformat.read(path, 4).cells}


def test_a_whole_lesson_is_the_exercise_with_one_cell_more(tmp_path):
    notebook, told = make(tmp_path / "r", ["2"], due="Friday 12 May, 18:00", title="Sheet 3")
    assert (notebook.name, told.name) == ("02_ddim.ipynb", "release.json")
    ours, theirs = cells(notebook), cells(EXERCISES / "02_ddim.ipynb")
    assert list(ours)[:2] == ["intro", CELL] and [i for i in ours if i != CELL] == list(theirs)
    assert all(ours[i] == theirs[i] for i in theirs)
    source = ours[CELL].source
    assert source.startswith("**Sheet 3**\n\n11 tasks (2.1 to 2.11), 39 points in all.")
    assert "Hand in by **Friday 12 May, 18:00**" in source
    assert ours[CELL].metadata["nbgrader"]["locked"] and not ours[CELL].metadata["nbgrader"]["grade"]
    assert read_release(told).points == Release.whole(["02"]).points
    assert "tasks" not in nbformat.read(notebook, 4).metadata["toolkit"]


def test_a_choice_of_tasks_and_points(tmp_path):
    wanted = ["2.8", "2.1", "2.3", "0.2"]
    start, ddim, told = make(tmp_path / "r", ["00", "02"], tasks=wanted, points={"2.3": 1, "2.8": 2.5})
    found = cells(ddim)
    tasks = {i.split("-", 1)[1] for i in found if i.startswith("check-")}
    assert tasks == {"2-1", "2-3", "2-8"} and {"intro", "setup", "end", "look-draw"} <= set(found)
    assert "measure-walk" not in found and "hints-2-4" not in found
    assert "about 20 minutes, 1 point.*" in found["task-2-3"].source
    assert "about 20 minutes, 2.5 points.*" in found["task-2-8"].source
    worth = {i: c.metadata["nbgrader"]["points"] for i, c in found.items() if i.startswith("check-")}
    assert worth == {"check-2-1": 2, "check-2-3": 1, "check-2-8": 2.5}
    assert found[CELL].source.startswith("3 tasks (2.1, 2.3 and 2.8), 5.5 points in all. Hand in: ")
    assert cells(start)[CELL].source.startswith("1 task (0.2), 1 point in all.")
    assert nbformat.read(ddim, 4).metadata["toolkit"] == {"lesson": "02", "tasks": ["2.1", "2.3", "2.8"]}
    chosen = read_release(told)
    assert chosen.tasks == ("0.2", "2.1", "2.3", "2.8") and chosen.lessons == ("00", "02")
    assert chosen.tasks_of("02") == ("2.1", "2.3", "2.8")
    assert chosen.points == {"0.2": 1, "2.1": 2, "2.3": 1, "2.8": 2.5}


def test_the_notebooks_are_valid_for_nbgrader(tmp_path):
    for path in make(tmp_path / "r", LESSONS, points={"3.1": 0.5})[:-1]:
        notebook = nbformat.read(path, 4)
        nbformat.validate(notebook)
        marked = [c.metadata["nbgrader"] for c in notebook.cells if "nbgrader" in c.metadata]
        names = [mark["grade_id"] for mark in marked]
        assert len(set(names)) == len(names)
        for mark in marked:
            assert mark["schema_version"] == 3 and not (mark["solution"] and mark["grade"])
            assert ("points" in mark) == mark["grade"] and mark["locked"] != mark["solution"]


def test_every_single_task_can_be_released_alone(tmp_path):
    for lesson in LESSONS:
        for cell in record.load(lesson).cells:
            make(tmp_path / cell.task, [lesson], tasks=[cell.task])


def test_the_same_choice_gives_the_same_bytes(tmp_path):
    options = dict(tasks=["2.3", "2.1"], points={"2.1": 3.0}, due="now")
    first = make(tmp_path / "a", ["02"], **options)
    second = make(tmp_path / "b", ["2"], **{**options, "tasks": ["2.1", "2.3"], "points": {"2.1": 3}})
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    again = make(tmp_path / "a", ["02"], **options)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in second]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["02_ddim.ipynb", "release.json"]


def test_a_released_exercise_can_be_checked(tmp_path):
    """By `toolkit check`, and by nbval, which both fail at the unsolved check and at nothing else."""
    (path, _) = make(tmp_path / "r", ["00"], tasks=["0.2"], points={"0.2": 4}, due="soon")
    with Session(path) as session:
        assert session.result("0.2").state == "not tried"
        assert not [step for step in session.steps if step.ran and step.ran.ename and step.check is None]
    run = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--nbval-lax",
        "-p",
        "no:cacheprovider",
        "-k",
        "not 0.1",
        str(path),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, capture_output=True, text=True, env=env, cwd=tmp_path)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert done.returncode == 1 and len(failed) == 1 and "task 0.2" in failed[0], done.stdout


@pytest.mark.parametrize(
    "lessons, options, said",
    [
        (["9"], {}, "There is no lesson 09; there are 00"),
        (["x"], {}, "'x' names no lesson"),
        ([], {"tasks": ["9.1"]}, "There is no lesson 09; there are 00"),
        ([], {"tasks": ["x"]}, "There is no task x: name one by its number, such as 2.3."),
        ([], {"tasks": ["2.99"]}, "There is no task 2.99 in what is released; there are 2.1"),
        ([], {"points": {"2.99": 1}}, "There is no task 2.99 in what is released"),
        (["2"], {"tasks": ["2.99"]}, "There is no task 2.99 in what is released; there are 2.1"),
        (["2"], {"tasks": ["3.1"]}, "There is no task 3.1 in what is released"),
        (["2", "3"], {"tasks": ["2.1"]}, "No task of lesson 03 is chosen"),
        (["2"], {"points": {"2.1": 0}}, "Task 2.1 cannot be worth 0 points: give a number above 0."),
        (["2"], {"points": {"2.1": -1}}, "cannot be worth -1 points"),
        (["2"], {"points": {"2.1": float("nan")}}, "cannot be worth nan points"),
        (["2"], {"points": {"2.1": "5"}}, "cannot be worth '5' points"),
        (["2"], {"points": {"2.1": True}}, "cannot be worth True points"),
        (["2"], {"points": {"4.1": 1}}, "There is no task 4.1"),
        (["2"], {"tasks": ["2.1"], "points": {"2.2": 1}}, "Task 2.2 has points but is not among"),
    ],
)
def test_what_is_refused(tmp_path, lessons, options, said):
    with pytest.raises(ReleaseError) as error:
        make(tmp_path / "r", lessons, **options)
    assert str(error.value).startswith(said) or said in str(error.value)
    assert "\n" not in str(error.value) and not (tmp_path / "r").exists()


def test_folders_that_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "my.txt").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "02_ddim.ipynb").write_text("my solved notebook")
    for name, said in {"file": "is a file", "other": "holds other files (my.txt)",
                       "mine": "holds other files (02_ddim.ipynb)"}.items():  # fmt: skip
        with pytest.raises(ReleaseError) as error:
            make(tmp_path / name, ["02"])
        assert said in str(error.value)
    assert (tmp_path / "mine" / "02_ddim.ipynb").read_text() == "my solved notebook"
    make(tmp_path / "other", ["02"], force=True)
    assert (tmp_path / "other" / "my.txt").read_text() == "mine"
    with pytest.raises(ReleaseError, match="holds the exercises themselves"):
        release(EXERCISES, ["02"], exercises=EXERCISES, force=True)
    with pytest.raises(ReleaseError, match="Go to the project's folder"):
        release(tmp_path / "r", ["02"], exercises=tmp_path)


def test_another_release_is_not_written_over(tmp_path):
    first = make(tmp_path / "r", ["02"], due="Friday")
    before = [path.read_bytes() for path in first]
    for options in ({"due": "Monday"}, {"due": "Friday", "tasks": ["2.1"]}):
        with pytest.raises(ReleaseError, match="holds another release .its release.json differs"):
            make(tmp_path / "r", ["02"], **options)
    assert [path.read_bytes() for path in first] == before
    assert [path.read_bytes() for path in make(tmp_path / "r", ["02"], due="Friday")] == before
    make(tmp_path / "r", ["02"], due="Monday", force=True)
    assert read_release(tmp_path / "r" / "release.json").due == "Monday"


def test_lessons_follow_from_the_tasks(tmp_path):
    files = make(tmp_path / "r", [], tasks=["2.3", "0.2"])
    assert [path.name for path in files] == ["00_start_here.ipynb", "02_ddim.ipynb", "release.json"]
    assert read_release(files[-1]).tasks == ("0.2", "2.3")
    everything = make(tmp_path / "all", [], tasks=[])
    assert len(everything) == len(LESSONS) + 1 and read_release(everything[-1]) == Release.whole(())


def test_the_cell_tells_what_a_check_prints_and_what_is_set(tmp_path):
    right = "A check prints values computed from your answer, then that the task is done, or what it noticed."
    whole = cells(make(tmp_path / "a", ["02"])[0])[CELL].source
    part = cells(make(tmp_path / "b", ["02"], tasks=["2.1", "2.3"])[0])[CELL].source
    assert right in whole and right in part and "introduction" not in whole
    assert part.endswith("The introduction speaks of the whole lesson; of it these are set: 2.1 and 2.3.")


def test_a_task_that_needs_another_is_not_released_alone(tmp_path):
    source = json.loads((EXERCISES / "02_ddim.ipynb").read_text("utf8"))
    by = {cell["id"]: cell for cell in source["cells"]}
    by["answer-2-3"]["source"] = "def later():\n    return noise_size(1, 1, 0)\n"
    (tmp_path / "02_ddim.ipynb").write_text(json.dumps(source), "utf8")
    with pytest.raises(ReleaseError) as error:
        release(tmp_path / "r", ["02"], tasks=["2.3"], exercises=tmp_path)
    assert str(error.value) == "Without task 2.1, task 2.3 lacks noise_size: choose both or neither."
    release(tmp_path / "r", ["02"], tasks=["2.1", "2.3"], exercises=tmp_path)
    source["cells"] = [cell for cell in source["cells"] if cell["id"] != "hints-2-4"]
    (tmp_path / "02_ddim.ipynb").write_text(json.dumps(source), "utf8")
    with pytest.raises(ReleaseError, match="is not as `toolkit build` makes it: task 2.4 is not whole"):
        release(tmp_path / "q", ["02"], exercises=tmp_path)


RECORD = {"format": 1, "lessons": ["02"], "tasks": ["2.1"], "points": {}, "due": "", "title": ""}


@pytest.mark.parametrize(
    "content, said",
    [
        ("{", "is not JSON"),
        ("[]", "is not the record of a release"),
        ('{"format": 99}', "is not the record of a release"),
        ('{"format": 1, "lessons": ["02"]}', "is damaged ('tasks')"),
        (json.dumps({**RECORD, "tasks": ["2.77"]}), "There is no task 2.77"),
        (json.dumps({**RECORD, "points": {"2.1": -1}}), "cannot be worth -1 points"),
        (json.dumps({**RECORD, "points": []}), "is damaged"),
        (json.dumps({**RECORD, "lessons": 2}), "is damaged"),
        (json.dumps({**RECORD, "lessons": []}), "is damaged"),
        (json.dumps({**RECORD, "tasks": []}), "is damaged"),
    ],
)
def test_records_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "release.json"
    path.write_text(content)
    with pytest.raises(ReleaseError) as error:
        read_release(path)
    assert said in str(error.value)


def test_a_record_that_is_not_there(tmp_path):
    with pytest.raises(ReleaseError, match="cannot be read"):
        read_release(tmp_path / "none.json")
    with pytest.raises(ReleaseError, match="There is no lesson 98"):
        Release.whole(["98"])


def shown():
    """The commands `toolkit release` in the fenced blocks of what instructors read."""
    for name in ("docs/grading.md", "INSTRUCTORS.md", "README.md"):
        fenced = (ROOT / name).read_text("utf8").split("```")[1::2]
        found = re.findall(r"^\S*toolkit (release .*)$", "\n".join(fenced), re.MULTILINE)
        yield from (shlex.split(words, comments=True) for words in found)


@pytest.mark.parametrize("words", list(shown()), ids=" ".join)
def test_the_commands_that_instructors_read_are_taken(words, tmp_path, monkeypatch):
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "class.csv").write_text("login,name\nada,Ada\nbob,Bob\n")
    monkeypatch.chdir(folder)
    run = CliRunner().invoke(make_app(), [*words, "--exercises", str(EXERCISES)])
    assert run.exit_code == 0 and (folder / words[1] / "release.json").is_file(), run.output
