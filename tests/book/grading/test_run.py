"""A class from end to end: the LMSs' zips, resuming, workers on this machine and on a cluster."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from book.__main__ import make_app
from book.grading import course, run
from book.grading.collect import Submission
from book.grading.results import Student
from book.grading.run import Options
from tests.book.grading import classes
from tests.book.notebooks.lab import CHROMIUM

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = "00_start_here.ipynb"
OPTIONS = Options(solutions=ROOT / "solutions", jobs=1, isolation="auto")
"""One worker, this process, wherever nothing hangs on their number: each other one costs seconds to start."""


def handed_in(students=30):
    """{student: bytes} of a class for lesson 00, no two files alike."""
    made = classes.notebooks("00", students)
    return {name: classes.text(notebook) for name, notebook in zip(classes.NAMES, made, strict=False)}


def results(out: Path) -> dict[str, bytes]:
    """Every file that a run writes, kept state included."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def table(out: Path) -> list[dict]:
    return list(csv.DictReader(io.StringIO((out / "grades.csv").read_text("utf-8-sig"))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The class as plain folders."""
    return classes.folders(handed_in(12), tmp_path_factory.mktemp("class"), NOTEBOOK)


@pytest.fixture(scope="module")
def graded(folder, tmp_path_factory):
    """(marks, folder of results) of the class, with two workers."""
    out = tmp_path_factory.mktemp("out")
    return course.grade_class(folder, out, lessons=["00"], options=replace(OPTIONS, jobs=2)), out


def test_all_are_there_and_the_table_says_what_the_records_say(graded):
    found, out = graded
    rows = table(out)
    assert len(found) == len(rows) == 12
    assert [float(row["score"]) for row in rows] == [one.score for one in found]
    assert {one.score for one in found} >= {2.0} and min(one.score for one in found) < 2.0
    assert all((out / "feedback" / f"{one.student.key}.html").is_file() for one in found)
    assert all(json.loads((out / f"gradescope/{one.student.key}.json").read_text()) for one in found)


def test_the_same_bytes_whatever_the_workers_and_the_secret_seed(folder, graded, tmp_path):
    """Here one worker; two, and another secret, are `graded`; one and three are compared below."""
    course.grade_class(folder, tmp_path, lessons=["00"], options=OPTIONS)
    assert results(tmp_path) == results(graded[1])


WILD = (
    "while True: print('x' * 1000)",
    "while True:\n    try:\n        import time; time.sleep(1)\n    except BaseException: pass",
    "import os\nwhile True: os.fork()",
    "import os; os._exit(0)",
)


def test_the_same_bytes_beside_submissions_that_take_what_they_can(tmp_path):
    made = classes.notebooks("00", len(WILD) + 3)
    for notebook, source in zip(made, WILD, strict=False):
        next(cell for cell in notebook.cells if cell["id"] == "answer-0-1").source = source
    files = {f"s{n}": classes.text(notebook) for n, notebook in enumerate(made)}
    folder = classes.folders(files, tmp_path / "in", NOTEBOOK)
    for jobs in (1, 3):
        # Else it follows from how fast the solution ran; an honest cell needs less beside all of them.
        options = replace(OPTIONS, jobs=jobs, deadline=30.0)
        course.grade_class(folder, tmp_path / f"out{jobs}", lessons=["00"], options=options)
    assert results(tmp_path / "out1") == results(tmp_path / "out3")


@pytest.fixture(scope="module")
def thirty(graded, tmp_path_factory):
    """Where the results of the class of thirty are kept, whichever LMS it comes from; twelve are `graded`."""
    return shutil.copytree(graded[1] / "state", tmp_path_factory.mktemp("thirty") / "state")


@pytest.mark.parametrize("lms", ["canvas", "moodle", "gradescope"])
def test_a_class_of_thirty_in_the_zip_of_each_lms(lms, thirty, tmp_path):
    files = handed_in()
    archive = tmp_path / f"{lms}.zip"
    archive.write_bytes(getattr(classes, lms)(files, NOTEBOOK))
    out = tmp_path / "out"
    shutil.copytree(thirty, out / "state")  # what was marked before: here the zip and the tables are new
    wanted = {"canvas": lms == "canvas", "moodle": lms == "moodle"}
    found = course.grade_class(archive, out, lessons=["00"], options=OPTIONS, **wanted)
    assert len(found) == 30 and not [one.problem for one in found if one.problem]
    shutil.copytree(out / "state", thirty, dirs_exist_ok=True)
    by_id = {min(one.student.ids.values()): one.score for one in found}
    assert len(by_id) == 30
    if lms == "canvas":
        rows = list(csv.DictReader(io.StringIO((out / "canvas.csv").read_text("utf-8-sig"))))[1:]
        (column,) = set(rows[0]) - {"Student", "ID", "SIS User ID", "SIS Login ID", "Section"}
        assert {row["ID"]: float(row[column]) for row in rows} == by_id
        assert sum(one.late for one in found) == len([n for n in range(30) if n % 7 == 3])
    if lms == "moodle":
        rows = list(csv.DictReader(io.StringIO((out / "moodle.csv").read_text("utf-8-sig"))))
        assert {row["Identifier"].split()[-1]: float(row["Grade"]) for row in rows} == by_id
    if lms == "gradescope":
        told = [json.loads(path.read_text()) for path in (out / "gradescope").iterdir()]
        assert sorted(one["score"] for one in told) == sorted(by_id.values())
    names = {one.student.name for one in found}
    assert lms == "canvas" or names == set(classes.NAMES)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_a_script_in_a_submission_stays_inert_in_a_browser(tmp_path):
    """From the answer's own print, its error and its values to the pages of the student and of the class."""
    playwright = pytest.importorskip("playwright.sync_api")
    attack = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    notebook = classes.notebooks("00", 1)[0]
    answer = next(cell for cell in notebook.cells if cell["id"] == "answer-0-1")
    name = answer.source.split("def ")[1].split("(")[0]
    answer.source += f"\n\ndef {name}(*given):\n    print({attack!r})\n    raise ValueError({attack!r})\n"
    folder = classes.folders({attack.replace("/", "|"): classes.text(notebook)}, tmp_path / "in", NOTEBOOK)
    (found,) = course.grade_class(folder, tmp_path / "out", lessons=["00"], options=OPTIONS)
    assert "onerror" in found.tasks[0].sentence and "onerror" in found.tasks[0].printed
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for page in (
            tmp_path / "out" / "feedback" / f"{found.student.key}.html",
            tmp_path / "out/summary.html",
        ):
            tab = browser.new_page()
            tab.goto(page.as_uri())
            assert tab.title() != "owned" and tab.locator("script, img").count() == 0
            assert "onerror" in tab.locator("body").inner_text()
        browser.close()


def grade_words(folder, out, *more):
    """The command, as `python -m book` has it."""
    return ["grade", str(folder), "-o", str(out), "--lesson", "00",
            "--solutions", str(ROOT / "solutions"), *more]  # fmt: skip


def grade_here(*words):
    """The command in this process."""
    return CliRunner().invoke(make_app(), grade_words(*words))


def test_a_killed_run_goes_on_where_it_was(folder, graded, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "book", *grade_words(folder, out, "-j", "1")]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    state = out / "state"
    while process.poll() is None and len(list(state.glob("*.json")) if state.is_dir() else []) < 3:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in state.glob("*.json")}
    assert 3 <= len(kept) < 12 and not (out / "grades.csv").exists()
    again = grade_here(folder, out, "-j", "1")
    assert again.exit_code == 0, again.stderr
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())  # none was graded twice
    assert results(out) == results(graded[1])


def test_a_damaged_result_is_made_again_and_a_changed_deadline_regrades(folder, graded, tmp_path):
    shutil.copytree(graded[1] / "state", tmp_path / "state")
    first = sorted((tmp_path / "state").iterdir())[0]
    first.write_text(first.read_text()[:50])
    course.grade_class(folder, tmp_path, lessons=["00"], options=OPTIONS)
    assert results(tmp_path) == results(graded[1])
    before = set((tmp_path / "state").iterdir())
    course.grade_class(folder, tmp_path, lessons=["00"], options=replace(OPTIONS, deadline=19.0))
    assert len(set((tmp_path / "state").iterdir()) - before) == 12


def test_two_students_with_one_file_get_the_same_marks_and_a_flag(tmp_path):
    (raw, blank) = (classes.text(n) for n in (classes.notebooks("00", 1)[0], classes.notebooks("00", 1)[0]))
    files = {"Ada": raw, "Bob": blank}
    found = course.grade_class(
        classes.folders(files, tmp_path / "in", NOTEBOOK), tmp_path / "out", lessons=["00"], options=OPTIONS
    )
    assert found[0].score == found[1].score
    assert [one.flags for one in found] == [("the same file as bob",), ("the same file as ada",)]
    assert len(list((tmp_path / "out" / "state").iterdir())) == 1


def test_partners_of_one_file_are_no_pair_to_look_at():
    def handed(name, path):
        return Submission(Student(name), "00", Path(path), NOTEBOOK, False)

    done = SimpleNamespace(tasks=[SimpleNamespace(state="done")])
    trio = [handed("ada", "a"), handed("bob", "a"), handed("cy", "c")]
    flags = run._twins(trio, dict.fromkeys(range(3), "same.json"), {"same.json": done})
    assert flags == {n: (f"the same file as {who}",) for n, who in enumerate(("cy", "cy", "ada, bob"))}
    assert run._twins(trio[:2], dict.fromkeys(range(2), "same.json"), {"same.json": done}) == {}


def test_one_that_the_grader_itself_stumbles_over_does_not_stop_the_others(folder, tmp_path, monkeypatch):
    real = run.marking.Marker.mark

    def stumbles(self, notebook):
        if "Student 3." in notebook.cells[0].source:
            raise RuntimeError("a bug of ours")
        return real(self, notebook)

    monkeypatch.setattr(run.marking.Marker, "mark", stumbles)
    found = course.grade_class(folder, tmp_path, lessons=["00"], options=OPTIONS)
    bad = [one for one in found if one.problem]
    assert len(bad) == 1 and bad[0].score == 0 and "a bug of ours" in bad[0].flags[0]
    assert "bug" not in (tmp_path / "feedback" / f"{bad[0].student.key}.html").read_text("utf8")
    monkeypatch.undo()
    again = course.grade_class(folder, tmp_path, lessons=["00"], options=OPTIONS)
    assert not [one for one in again if one.problem]  # it was not kept


def test_a_lost_worker_costs_the_submission_that_it_held(folder, graded, tmp_path, monkeypatch):
    """Whoever kills the grader's own process is set aside at the second time, alone, and named."""
    monkeypatch.setenv("TOOLKIT_TEST_KILLER", "Student 3.")
    options = replace(OPTIONS, jobs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_named", deadly)
        found = course.grade_class(folder, tmp_path, lessons=["00"], options=options)
    bad = [one for one in found if one.problem]
    assert len(bad) == 1 and "its worker was lost" in bad[0].flags[0] and bad[0].flags[0].endswith("twice")
    before = {one.student.key: one.score for one in graded[0]}
    assert all(one.score == before[one.student.key] for one in found if one not in bad)
    again = course.grade_class(folder, tmp_path, lessons=["00"], options=OPTIONS)
    assert not [one for one in again if one.problem]  # it was not kept


def deadly(name, work, file, raw):
    """`run._named`, in a worker that one submission ends."""
    if os.environ["TOOLKIT_TEST_KILLER"].encode() in raw:
        Path(work.scratch, f"held-{name}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return NAMED(name, work, file, raw)


NAMED = run._named


def test_a_run_that_is_told_to_end_leaves_nothing_behind(folder, tmp_path):
    out, room = tmp_path / "out", tmp_path / "room"
    room.mkdir()
    command = [sys.executable, "-m", "book", *grade_words(folder, out, "-j", "2")]
    env = os.environ | {"TMPDIR": str(room)}
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL, env=env)
    while process.poll() is None and not list((out / "state").glob("*.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait() != 0
    assert not list(room.glob("tk*")) and not list((out / "state").glob("scratch-*"))


def test_what_a_killed_run_has_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, ended = tmp_path / "tkleft", subprocess.Popen(["true"])
    ended.wait()
    left.mkdir()
    (tmp_path / f"scratch-{ended.pid}").write_text(str(left))
    (tmp_path / f"scratch-{os.getppid()}").write_text(str(tmp_path / "tkother"))
    with run._scratch(tmp_path) as scratch:
        assert not left.exists() and os.path.isdir(scratch)
    notes = [note.name for note in tmp_path.glob("scratch-*")]
    assert not os.path.isdir(scratch) and notes == [f"scratch-{os.getppid()}"]


def test_a_dask_cluster_grades_alike_with_one_worker_killed_half_way(folder, graded, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # its nannies set another one, for us too
    killed = []

    def kill_one(total, marks):
        for n, one in enumerate(marks):
            if n == 3:
                pid = cluster.workers[0].pid
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            yield one

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        options = Options(ROOT / "solutions", backend="dask", scheduler=cluster.scheduler_address)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(course, "_progress", kill_one)
            course.grade_class(folder, tmp_path, lessons=["00"], options=options)
    assert killed
    assert results(tmp_path) == results(graded[1])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--lesson", "77"], "no lesson 77"),
        (["--solutions", "nowhere"], "The solution of lesson 00 is needed"),
        (["--isolation", "prayer"], "--isolation prayer is not known"),
        (["--backend", "dask"], "needs --scheduler"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--release", "nowhere.json"], "leave --lesson or --release out"),
        (["--lms", "paper"], "--lms paper is not known"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(folder, tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(ROOT)
    told = grade_here(folder, tmp_path / "out", *more)
    assert told.exit_code == 2 and isinstance(told.exception, SystemExit)  # no traceback
    assert said in told.stderr and len(told.stderr.strip().splitlines()) == 1


def test_an_lms_zip_with_nothing_to_grade_is_refused(tmp_path):
    archive = tmp_path / "empty.zip"
    with zipfile.ZipFile(archive, "w") as empty:
        empty.writestr("readme.txt", "nothing")
    with pytest.raises(course.CollectError):
        course.grade_class(archive, tmp_path / "out", lessons=["00"], options=OPTIONS)
