"""Releases in which each student has a notebook of their own: drawn by the key, told apart, graded by it."""

import copy
import json
from dataclasses import replace

import nbformat
import pytest
from typer.testing import CliRunner

from book.__main__ import make_app
from book.grading import course as courses
from book.grading import issuing
from book.grading.collect import CollectError
from book.grading.release import ReleaseError, read_release, release
from book.grading.results import Graded, Student
from book.grading.roll import Roll
from book.lessons import bugs, drawing, hunting, record, registry
from book.lessons.running import Session
from tests.book.grading import marking_lab

EXERCISES = marking_lab.ROOT / "exercises"
KEY = b"the key of a course of the tests"
HUNTS = {"0.1": 1, "2.2": 2}
STUDENTS = ("ada", "bob@uni.edu")
COURSE = issuing.Course(KEY, HUNTS, ("0.2",))


def make(folder, key=KEY, students=STUDENTS, tasks=("0.1", "0.2", "2.2"), hunts=HUNTS, **more):
    return release(
        folder,
        (),
        tasks=tasks,
        exercises=EXERCISES,
        hunts=hunts,
        vary=True,
        key=key,
        students=students,
        **more,
    )


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    """{(student, lesson): notebook} of a release, and its folder under 'folder'."""
    folder = tmp_path_factory.mktemp("course") / "handout"
    make(folder, due="Friday")
    paths = {
        (s, lesson): folder / s / record.load(lesson).notebook for s in STUDENTS for lesson in ("00", "02")
    }
    return {"folder": folder} | {where: nbformat.read(path, 4) for where, path in paths.items()}


def source(notebook, name):
    return next(cell.source for cell in notebook.cells if cell["id"] == name)


# --- the release ----------------------------------------------------------------------------------------


def test_each_student_gets_a_listing_and_constants_of_their_own(handout):
    for student in STUDENTS:
        first, second = handout[student, "00"], handout[student, "02"]
        level = COURSE.constants(student, "0.2")["lam"]
        assert f"\\lambda={level:g}$" in source(first, "task-0-2")
        assert source(first, "check-0-2").endswith(f'given={{"lam": {level!r}}})')
        hunt = COURSE.hunt(student, "2.2")
        assert issuing.untouched(hunt, [source(second, "answer-2-2")])
        assert hunt.ticket in source(second, "hunt-2-2") and "two mistakes" in source(second, "task-2-2")
        assert issuing.issued_to(first, KEY) == issuing.issued_to(second, KEY) == student
    ours = [source(handout[student, "02"], "answer-2-2") for student in STUDENTS]
    assert ours[0] != ours[1]


def test_a_release_is_made_again_to_the_byte_and_its_record_does_not_hold_the_key(handout, tmp_path):
    files = make(tmp_path / "again", due="Friday")
    for path in files:
        assert path.read_bytes() == (handout["folder"] / path.relative_to(tmp_path / "again")).read_bytes()
    chosen = read_release(tmp_path / "again" / "release.json")
    assert (chosen.hunts, chosen.varied, chosen.issued) == (HUNTS, ("0.2",), True)
    assert KEY.hex() not in "".join(path.read_text("utf8") for path in files)
    assert not read_release(release(tmp_path / "plain", ["0"], exercises=EXERCISES)[-1]).issued


def test_what_does_not_fit_is_refused(tmp_path):
    for more, said in (
        ({"key": b""}, "--key"),
        ({"students": ()}, "--roll"),
        ({"hunts": {"0.1": 2}}, "told apart"),
        ({"hunts": {"4.2": 2}}, "not among the tasks"),
        ({"hunts": {}, "tasks": ("2.1",)}, "other constants"),
    ):
        with pytest.raises(ReleaseError, match=said):
            make(tmp_path / "r", **more)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("student", ["../../x", "a/b", ".", "a\nb", "<b>", "x" * 65])
def test_a_hunt_is_made_for_an_id_only(student, tmp_path):
    key, out = tmp_path / "key", tmp_path / "out" / "er"
    drawing.new_key(key)
    words = ["hunt", "04", "--task", "4.2", "--key", str(key), "--student", student, "-o", str(out)]
    run = CliRunner().invoke(make_app(), words)
    assert run.exit_code == 2 and "is no id" in run.output and not list(tmp_path.rglob("*.ipynb"))


@pytest.mark.parametrize("count", ["inf", "nan", "1e400", "2.5"])
def test_a_number_of_mistakes_is_whole(count, tmp_path):
    run = CliRunner().invoke(make_app(), ["release", str(tmp_path / "out"), "--hunt", f"4.2={count}"])
    assert run.exit_code == 2 and "1, 2 or 3 mistakes" in run.output and not (tmp_path / "out").exists()


def test_a_key_is_made_once_and_read_again(tmp_path):
    key = drawing.new_key(tmp_path / "key")
    assert drawing.read_key(tmp_path / "key") == key and (tmp_path / "key").stat().st_mode & 0o77 == 0
    with pytest.raises(FileExistsError):
        drawing.new_key(tmp_path / "key")
    (tmp_path / "key").write_text("no key\n")
    with pytest.raises(ValueError, match="no key"):
        drawing.read_key(tmp_path / "key")


def test_the_command_toolkit_check_knows_the_constants(handout):
    path = handout["folder"] / "ada" / "00_start_here.ipynb"
    cell = Session(path).lesson.cell("0.2")
    level = COURSE.constants("ada", "0.2")["lam"]
    assert f'given={{"lam": {level!r}}}' in cell.source and f"lambda = {level:g}  right" in cell.output


# --- whose it is ----------------------------------------------------------------------------------------


def test_a_notebook_is_a_students_by_its_tag_only(handout):
    notebook = copy.deepcopy(handout["ada", "00"])
    assert issuing.issued_to(notebook, b"another key") == ""
    del notebook.metadata["toolkit"]["issued"]
    assert issuing.issued_to(notebook, KEY) == "ada"  # the cell with the deadline says it, too
    notebook.cells = [cell for cell in notebook.cells if cell["id"] != "release"]
    assert issuing.issued_to(notebook, KEY) == ""
    for claim in (
        {"to": "bob@uni.edu", "tag": drawing.tag(KEY, "ada")},
        {"to": "\ud800", "tag": ""},
        [],
        "x",
    ):
        notebook.metadata["toolkit"]["issued"] = claim
        assert issuing.issued_to(notebook, KEY) == ""


def test_who_hands_in_anothers_notebook_is_flagged():
    def graded(who, issued, problem=""):
        return Graded(Student(who), "00", "00.ipynb", (), "f", problem=problem, issued=issued)

    found = issuing.whose(
        [graded("ada", "ada"), graded("bob", "bob"), graded("cy", "bob"), graded("dora", "")]
        + [graded("eve", None, "nothing"), graded("Fay, LMS 7", "fay"), graded("gus", "ada_of_last_year")]
    )
    assert [bool(flags) for flags in found] == [False, True, True, True, False, False, False]
    assert found[2] == ("the notebook was issued to bob",)
    assert found[1] == ("the notebook of this student came from cy, too",)


def test_the_roll_says_who_handed_in_anothers_notebook():
    roll = Roll({"adal": ("adal", "Lovelace, Ada"), "ep": ("ep", "Post, Emil"), "cy": ("cy", "Cy X")})

    def graded(name, issued, **ids):
        return Graded(Student(f"{name}-7", name, ids), "00", "00.ipynb", (), "f", issued=issued)

    ada, emil, nobody = graded("lovelaceada", "adal"), graded("Emil Post", "cy"), graded("Zoe", "cy2")
    assert list(map(bool, issuing.whose([ada, emil, nobody]))) == [False, False, False]
    assert issuing.whose([ada, emil, nobody], roll) == [(), ("the notebook was issued to cy",), ()]
    known = [graded("Ada", "a@b.c", email="a@b.c"), graded("Bob", "a@b.c", email="b@b.c", sid="12")]
    assert issuing.whose(known[1:] + [graded("Eve", "12")]) == [(), ()]  # a number may be another list's
    assert list(map(bool, issuing.whose([*known[:1], replace(known[1], lesson="01")]))) == [False, True]


def test_a_class_that_is_graded_without_its_key_or_with_another_is_told(handout, tmp_path):
    assert issuing.claimed(handout["ada", "00"]) and not issuing.claimed(marking_lab.exercise("00"))
    one = Graded(Student("ada"), "00", "00.ipynb", (), "f", issued="ada")
    lone, nobodys = replace(one, issued=None, flags=(issuing.UNREAD,)), replace(one, issued="")
    assert issuing.odd([]) == issuing.odd([one, lone]) == issuing.odd([one, nobodys]) == []
    assert (
        "--key" in issuing.odd([lone])[0] and "the key of this course" in issuing.odd([nobodys, nobodys])[0]
    )
    with pytest.raises(ReleaseError, match="--release"):
        courses.grade_class(handout["folder"], tmp_path / "marks", lessons=["00"], key=KEY)


def test_a_listing_that_is_not_ones_own_is_noticed():
    hunt, task = COURSE.hunt("ada", "2.2"), registry.find("2.2")
    mine = hunting.Hunt("2.2", (), hunt.letter).texts().values()
    another = next(letter for letter in hunting.LETTERS if letter != hunt.letter)
    theirs = hunting.Hunt("2.2", (), another).texts().values()
    assert issuing.foreign(hunt, list(mine)) == "" and not issuing.untouched(hunt, list(mine))
    assert "the book's own" in issuing.foreign(hunt, list(bugs.texts(task, ()).values()))
    assert f"_{another}" in issuing.foreign(hunt, list(theirs))
    assert issuing.foreign(hunt, ["not Python ("]) == "" and not issuing.untouched(hunt, ["def f(: pass"])


# --- marks ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def marker():
    """A marker of lesson 00 as the course has it."""
    with marking_lab.marker("00") as made:
        yield type(made)(replace(made.key, course=COURSE), made.base, made.box)


def with_answers(notebook, **sources):
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        name = cell["id"].replace("-", "_")
        cell.source = sources.get(name, cell.source)
    return made


@pytest.mark.slow
def test_marks_of_hunts_and_constants(handout, marker):
    hunt, level = COURSE.hunt("ada", "0.1"), COURSE.constants("ada", "0.2")
    right = registry.find("0.2").varies.fields(registry.find("0.2"), **level)["reference"]
    given = handout["ada", "00"]
    first, second = marker.mark(given)
    assert (marker.issued, first.state, first.left, second.state) == (
        "ada",
        "not tried",
        hunt.chosen,
        "not tried",
    )

    form = "def recover_x0(x_t, eps, alpha, sigma):\n    return x_t / alpha - eps * (sigma / alpha)"
    mended = with_answers(given, answer_0_1=form, answer_0_2=f"alpha_bar = {right:.6f}")
    first, second = marker.mark(mended)
    assert (first.state, first.hunt, second.state) == ("done", hunt.chosen, "done")

    book = with_answers(given, answer_0_2=f"alpha_bar = {registry.find('0.2').reference}")
    assert marker.mark(book)[1].state == "not yet"

    other = form.replace("return", "return 1.5 *")
    first, _ = marker.mark(with_answers(given, answer_0_1=other))
    assert (first.state, first.left, first.hunt) == ("not yet", (), hunt.chosen)

    nobodys = copy.deepcopy(mended)
    del nobodys.metadata["toolkit"]["issued"]
    nobodys.cells = [cell for cell in nobodys.cells if cell["id"] != "release"]
    _, second = marker.mark(nobodys)
    assert (marker.issued, second.score, second.kind) == ("", 0.0, "not issued")


@pytest.mark.slow
def test_a_crash_on_further_inputs_is_told_without_the_inputs(marker):
    source = (
        "def recover_x0(x_t, eps, alpha, sigma):\n"
        "    known = {-0.0654}\n"
        "    if abs(float(x_t[0, 0]) - 0.1257302210933933) > 1e-9:\n"
        "        raise KeyError(float(x_t[0, 0]))\n"
        "    return (x_t - sigma * eps) / alpha"
    )
    notebook = with_answers(marking_lab.exercise("00"), answer_0_1=source)
    plain = type(marker)(replace(marker.key, course=None), marker.base, marker.box)
    result = plain.mark(notebook)[0]
    assert result.kind in ("only public", "raises") and "KeyError" in result.sentence
    if result.kind == "only public":
        assert "further inputs, which are not shown" in result.sentence
        assert "KeyError:" not in result.sentence


def test_a_course_with_hunts_is_not_graded_without_its_key(handout, tmp_path):
    record_of = handout["folder"] / "release.json"
    with pytest.raises(ReleaseError, match="--key"):
        courses.grade_class(handout["folder"], tmp_path / "marks", release=record_of)
    assert json.loads(record_of.read_text())["hunts"] == HUNTS
    assert issubclass(CollectError, Exception) and not (tmp_path / "marks").exists()
