"""Marks as files for people and programs; whatever a submission says, they stay what they are."""

import csv
import io
import json
import random
import unicodedata
import zipfile
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from book.grading import feedback, reports
from book.grading.results import Graded, Student, from_json, to_json
from tests.book.grading.classroom import HOSTILE, ROWS, ada, eve, many, nothing


def table(content, delimiter=","):
    """A table as dicts."""
    return list(csv.DictReader(io.StringIO(content.removeprefix("\ufeff"), newline=""), delimiter=delimiter))


def start(one, score=1.5, points=2):
    """The same student's submission to lesson 00, with one task."""
    task = replace(one.tasks[0], task="0.1", title="Noise", points=points, score=score, flags=())
    return replace(
        one, lesson="00", notebook="00_start_here.ipynb", tasks=(task,), flags=(), notes=(), late=False
    )


CLASS = [ada(), nothing(), eve(), start(ada())]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_marks_give_the_same_bytes_in_any_order(tmp_path):
    first = None
    for seed in range(3):
        graded = [from_json(json.loads(json.dumps(to_json(one)))) for one in CLASS]
        random.Random(seed).shuffle(graded)
        reports.write(graded, tmp_path / f"{seed}", canvas=True, moodle=True)
        got = files(tmp_path / f"{seed}")
        assert set(got) == {"grades.csv", "junit.xml", "canvas.csv", "moodle.csv", "gradescope/bob.json",
                            "gradescope/eve.json", "gradescope/ada-lovelace-12345.json"}  # fmt: skip
        assert first in (None, got)
        first = got


def test_what_only_the_instructor_sees_is_in_one_file(tmp_path):
    flagged = replace(
        ada(), flags=("FLAG one",), tasks=tuple(replace(t, flags=("FLAG two",)) for t in ada().tasks)
    )
    reports.write([flagged], tmp_path, canvas=True, moodle=True)
    assert [name for name, content in files(tmp_path).items() if b"FLAG" in content] == ["grades.csv"]


# --- grades.csv -----------------------------------------------------------------------------------------


def test_the_table_of_marks_reads_back():
    content = reports.grades(CLASS)
    assert content.startswith("\ufeffkey,name,") and "\n" not in content.replace("\r\n", "")
    by = {row["key"]: row for row in table(content)}
    one = by["ada-lovelace-12345"]
    assert (one["name"], one["canvas_id"], one["email"]) == ("Ada Lovelace", "12345", "ada@b.c")
    assert (one["score"], one["points"], one["02 score"], one["02 points"]) == ("8", "18", "6.5", "16")
    assert (one["task 2.3"], one["task 2.5"], one["task 0.1"], one["02 late"], one["00 late"]) == (
        "2.5",
        "0",
        "1.5",
        "late",
        "",
    )
    assert (one["02 not tried"], by["bob"]["02 not tried"]) == ("task 2.5", "")
    assert one["to look at"].startswith(
        "lesson 02: two cells were made in another notebook; 2.3: this answer calls"
    )
    assert (
        by["bob"]["02 problem"] == "No notebook for lesson 02 was handed in." and by["bob"]["task 0.1"] == ""
    )


def test_no_cell_is_a_formula_or_runs_over_its_line():
    graded = [replace(eve(text), student=Student(f"k{k}", text)) for k, text in enumerate(HOSTILE)]
    rows = list(csv.reader(io.StringIO(reports.grades(graded).removeprefix("\ufeff"), newline="")))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(tuple("=+-@\t\r\n")), cell
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in cell)
        assert not set(cell) & set("\u202e\u2066\u202a\u202d")
    assert any("'=cmd|' /C calc'!A0" in row for row in rows)
    assert reports.cell("-1") == "'-1" and reports.cell("a=b") == "a=b" and reports.cell("\t=1") == "'=1"
    assert reports.cell("＝1+1") == "'＝1+1" and reports.cell(3) == "3"


# --- Canvas ---------------------------------------------------------------------------------------------

GRADEBOOK = (
    "\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Quiz (1),Homework 2 (77),Current Score\r\n"
    "    Points Possible,,,,,10,32,(read only)\r\n"
    '"Lovelace, Ada",12345,u1,ada,S1,3,,50\r\n'
    '"Smith, Bob",555,u2,bob@b.c,S1,4,EX,60\r\n'
    '"Turing, Alan",556,u3,alan,"S1, S2",5,7,70\r\n'
    '"=Student, Test",557,,x,S1,,,\r\n'
)


def test_a_gradebook_of_canvas_is_filled_in():
    bob = replace(nothing(), student=Student("bob", "smithbob", {"canvas_id": "555"}))
    lost = replace(nothing(), student=Student("zoe", "Zoe", {"canvas_id": "999"}))
    filled = reports.fill_canvas([ada(), bob, lost], GRADEBOOK, "Homework 2")
    assert filled.text == GRADEBOOK.replace("u1,ada,S1,3,,50", "u1,ada,S1,3,13,50")
    assert filled.remarks == [
        "Zoe is not in the exported file.",
        "The LMS gives 32 points where 16 were set: scaled.",
        "Smith, Bob is excused in “Homework 2”: left as it is.",
    ]


def test_a_column_that_is_new_comes_last():
    filled = reports.fill_canvas([ada(), start(ada())], GRADEBOOK)
    rows = table(filled.text)
    assert list(rows[0])[-2:] == ["Exercises 0", "Exercises 2"]
    assert [row["Exercises 2"] for row in rows] == ["16", "6.5", "", "", ""]
    assert [row["Exercises 0"] for row in rows] == ["2", "1.5", "", "", ""] and filled.remarks == []


def test_marks_that_were_there_and_are_others_now_are_counted():
    before = GRADEBOOK.replace("ada,S1,3,,50", "ada,S1,3,9,50").replace("5,7,70", "5,6.50,70")
    alan = replace(ada(), student=Student("alan", "Turing, Alan"))
    filled = reports.fill_canvas([ada(), alan], before.replace(",32,", ",16,"), "Homework 2")
    assert filled.remarks == ["1 mark that was already in “Homework 2” was changed: Lovelace, Ada."]
    again = reports.fill_canvas([ada(), alan], filled.text, "Homework 2")
    assert again.text == filled.text and again.remarks == []
    sheet = WORKSHEET.replace("100,00", "16").replace("s1@b.c,Submitted,,", 's1@b.c,Submitted,"6,5",')
    one = replace(ada(), student=Student("s", "Student 01"))
    other = replace(ada(), student=Student("x", "Not Graded"))
    filled = reports.fill_moodle([ada(), one, other], sheet)
    said = "1 {} that was already in the worksheet was changed: Not Graded."
    assert filled.remarks == [said.format("comment"), said.format("mark")]  # "keep, me" was somebody's own
    assert reports.fill_moodle([ada(), one, other], filled.text).remarks == []


def test_a_table_made_afresh_leaves_out_whom_the_lms_cannot_find():
    lost = [replace(ada(), student=Student(f"k{k}", f"Name {k}")) for k in range(7)]
    for fill, name, known in ((reports.fill_canvas, "Canvas for canvas.csv", ada()),
                              (reports.fill_moodle, "Moodle for moodle.csv", many(1)[0])):  # fmt: skip
        filled = fill([*lost, known])
        said = "Name 0, Name 1, Name 2, Name 3, Name 4 and 2 more"
        assert filled.remarks == [f"Left out, since they have no id of {name}: {said}."]
        assert "Name" not in filled.text.split("\r\n", 1)[1] and known.student.name in filled.text
        assert fill([known]).remarks == []


@pytest.mark.parametrize("name", ["Ada Lovelace", "lovelaceada", "LOVELACE, ADA", "Lovelace Ada"])
def test_a_student_is_found_by_name_if_only_one_has_it(name):
    one = replace(ada(), student=Student("x", name))
    assert table(reports.fill_canvas([one], GRADEBOOK).text)[1]["Exercises 2"] == "6.5"
    twice = GRADEBOOK + '"Lovelace, Ada",600,,,S1,,,\r\n'
    filled = reports.fill_canvas([one], twice)
    assert all(row["Exercises 2"] in ("", "16") for row in table(filled.text))
    assert filled.remarks == [f"{name} is not in the exported file."]


def test_the_number_counts_more_than_the_name():
    one = replace(ada(), student=Student("x", "Turing, Alan", {"canvas_id": "12345"}))
    other = replace(ada(), student=Student("y", "Lovelace, Ada"))
    filled = reports.fill_canvas([one, other], GRADEBOOK)
    assert [row["Exercises 2"] for row in table(filled.text)][1:] == ["6.5", "", "", ""]
    assert filled.remarks == ["Lovelace, Ada is one of two that fit the same row of the exported file."]


def test_canvas_without_a_gradebook():
    filled = reports.fill_canvas([ada(), eve()], assignment="All")
    rows = list(csv.reader(io.StringIO(filled.text)))
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "All"]
    assert rows[1] == ["    Points Possible", "", "", "", "", "48"]
    assert rows[2] == ["Ada Lovelace", "12345", "", "ada@b.c", "", "6.5"] and rows[3][1] == "999"


def test_other_delimiters_and_files_that_are_no_gradebook(tmp_path):
    wide = GRADEBOOK.replace(",", ";").replace("; ", ", ")
    assert "6.5" in reports.fill_canvas([ada()], wide).text and ";" in reports.fill_canvas([ada()], wide).text
    for content, said in {"a,b\n1,2\n": "has no column “Student”", "Student,Nr\nx,1\n": "has no column “ID”",
                          "": "has no column"}.items():  # fmt: skip
        with pytest.raises(reports.ReportError, match=said):
            reports.fill_canvas([ada()], content or "\n")
    (tmp_path / "x.csv").write_bytes(b"Student,ID\n\xe9,1\n")
    with pytest.raises(reports.ReportError, match="is not a CSV file in UTF-8"):
        reports.write([ada()], tmp_path / "out", canvas=tmp_path / "x.csv")
    with pytest.raises(reports.ReportError, match="cannot be read"):
        reports.write([ada()], tmp_path / "out", moodle=tmp_path / "none.csv")
    assert not (tmp_path / "out").exists()
    (tmp_path / "y.csv").write_bytes(GRADEBOOK.removeprefix("\ufeff").encode("utf-16"))
    reports.write([ada()], tmp_path / "out", canvas=tmp_path / "y.csv")
    assert "6.5" in (tmp_path / "out" / "canvas.csv").read_text("utf8")


# --- lessons that few have, and what an earlier run left --------------------------------------------------


def test_a_lesson_that_not_all_have_is_in_nobodys_mark_in_an_lms():
    """grading.md F1: one notebook of another lesson divided the marks of all."""
    graded = [ada(), start(ada(), score=0, points=40), *many(4)[1:3]]
    less = [one for one in graded if one.lesson == "02"]
    for fill, sheet in ((reports.fill_moodle, WORKSHEET), (reports.fill_moodle, ""),
                        (reports.fill_canvas, GRADEBOOK), (reports.fill_canvas, "")):  # fmt: skip
        assert _marks(fill(graded, sheet)) == _marks(fill(less, sheet))
    assert _marks(reports.fill_canvas(graded, GRADEBOOK, "All")) == _marks(
        reports.fill_canvas(less, GRADEBOOK, "All")
    )
    assert reports._few(graded) == ["Not in the LMS's marks, since not for all: lesson 00; see grades.csv."]
    assert reports._few(less) == []


def _marks(filled):
    rows = table(filled.text)
    return [[v for k, v in row.items() if k not in ("Feedback comments",)] for row in rows]


def test_where_no_lesson_is_everybodys_each_mark_is_out_of_their_own():
    other = replace(start(many(8)[7], score=10, points=40), student=many(8)[1].student)  # Participant 901
    filled = reports.fill_moodle([ada(), other], WORKSHEET)
    rows = {row["Identifier"]: row["Grade"] for row in table(filled.text)}
    assert (rows["Participant 901"], float(rows["Participant 7"])) == (
        "25",
        pytest.approx(100 * 6.5 / 16, abs=0.01),
    )
    column = table(
        reports.fill_canvas(
            [ada(), replace(other, student=Student("t", "Turing, Alan"))], GRADEBOOK, "All"
        ).text
    )
    assert [row["All"] for row in column] == ["56", "22.75", "", "14", ""]
    assert len(reports._few([ada(), other])) == 1


def test_files_of_an_earlier_run_do_not_stay(tmp_path):
    """grading.md F14."""
    reports.write([ada(), *many(5)], tmp_path, canvas=True, moodle=True)
    (tmp_path / "moodle-feedback.zip").write_bytes(b"old")
    (tmp_path / "my notes.txt").write_text("mine")
    said = reports.write([ada()], tmp_path)
    assert said == [
        "Removed, since this run does not make them: canvas.csv, moodle.csv, moodle-feedback.zip of an "
        "earlier one."
    ]
    assert set(files(tmp_path)) == {
        "grades.csv",
        "junit.xml",
        "gradescope/ada-lovelace-12345.json",
        "my notes.txt",
    }
    assert reports.write([ada()], tmp_path) == []


def test_a_line_that_is_wrong_is_marked():
    """grading.md, section 3: of seven rows none said which."""
    rows = tuple(replace(row, wrong=k == 1) for k, row in enumerate(ROWS))
    one = replace(ada(), tasks=tuple(replace(task, rows=rows) for task in ada().tasks))
    told = reports.gradescope([one])["tests"][0]["output"]
    assert told.count("(not yet right)") == 1 and f"{ROWS[1].label} (not yet right): yours" in told
    page = feedback.page([one], "Marks")
    assert page.count("(not yet right)") == len(one.tasks)
    assert "not yet right" not in feedback.page([ada()], "Marks")


# --- Moodle ---------------------------------------------------------------------------------------------

WORKSHEET = (
    'Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed",'
    '"Last modified (grade)","Feedback comments"\r\n'
    'Participant 901,"Student 01",s1@b.c,Submitted,,"100,00",Yes,-,\r\n'
    'Participant 902,"Student 02",s2@b.c,Submitted,5,"100,00",No,-,old\r\n'
    'Participant 7,"Ada Lovelace",ada@b.c,Submitted,,"100,00",Yes,-,\r\n'
    'Participant 8,"Not Graded",x@b.c,,1.5,"100,00",Yes,-,"keep, me"\r\n'
)


def test_a_worksheet_of_moodle_is_filled_in():
    graded = [ada(), *many(4)[1:3], eve()]
    filled = reports.fill_moodle(graded, WORKSHEET)
    rows = {row["Identifier"]: row for row in table(filled.text)}
    before = {row["Identifier"]: row for row in table(WORKSHEET)}
    assert rows["Participant 8"] == before["Participant 8"]
    assert rows["Participant 902"] == before["Participant 902"]
    assert float(rows["Participant 901"]["Grade"]) == pytest.approx(100 * graded[1].score / 48, abs=0.005)
    comment = rows["Participant 7"]["Feedback comments"]
    assert comment.startswith("<b>02_ddim.ipynb: 6.5 of 16</b><br>Of several notebooks")
    assert "2.3 Fifty steps out of a thousand: 2.5 of 4, not yet. The list should end at 0" in comment
    assert filled.remarks == [
        f"{HOSTILE[0]} is not in the exported file.",
        "The LMS gives 100 points where 48 were set: scaled.",
        "The grade of Student 02 cannot be changed in Moodle: left as it is.",
    ]


def test_feedback_for_moodle_is_harmless_html():
    one = replace(eve(), student=Student("x", "", {"moodle_id": "7"}))
    comment = table(reports.fill_moodle([one], WORKSHEET).text)[2]["Feedback comments"]
    tags = {part.split(">")[0] for part in comment.split("<")[1:]}
    assert tags == {"b", "/b", "br"} and "&lt;script&gt;" in comment


def test_moodle_without_a_worksheet_has_what_moodle_asks_for():
    rows = table(reports.fill_moodle([*many(2), nothing()]).text)
    assert [row["Identifier"] for row in rows] == ["Participant 900", "Participant 901"]
    assert rows[0]["Last modified (grade)"] == "-" and rows[0]["Grade"] == "16" == rows[0]["Maximum Grade"]
    with pytest.raises(reports.ReportError, match="has no column “Grade”"):
        reports.fill_moodle([ada()], "Identifier,Name\nParticipant 1,x\n")


def test_feedback_files_for_moodle():
    ids = {"a": "A_da/Love..lace", "b": "../../\x00evil:", "c": "", "d": "José 李"}
    graded = [replace(ada(), student=Student(key, name, {"moodle_id": f"{k}"}))
              for k, (key, name) in enumerate(ids.items(), 7)]  # fmt: skip
    pages = {**dict.fromkeys(ids, "<p>é</p>"), "z": "nobody's"}
    raw = reports.moodle_feedback([*graded, nothing()], {**pages, "bob": "without a number"})
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = archive.namelist()
        assert archive.read(names[0]).decode() == "<p>é</p>"
    end = "_assignsubmission_file_/feedback.html"
    assert names == [f"A da Love..lace_7{end}", f"evil_8{end}", f"Participant_9{end}", f"José 李_10{end}"]
    assert all(
        name.split("_")[1:4] == [f"{k}", "assignsubmission", "file"] for k, name in enumerate(names, 7)
    )
    assert raw == reports.moodle_feedback([nothing(), *graded[::-1]], pages)


# --- Gradescope, JUnit ----------------------------------------------------------------------------------


def test_gradescope(tmp_path):
    reports.write(CLASS, tmp_path)
    found = json.loads((tmp_path / "gradescope" / "ada-lovelace-12345.json").read_text("utf8"))
    assert set(found) == {"score", "output", "output_format", "visibility", "stdout_visibility", "tests"}
    assert found["score"] == 8 and [test["number"] for test in found["tests"]][:2] == ["0.1", "2.1"]
    third = found["tests"][3]
    assert (third["status"], third["score"], third["max_score"]) == ("failed", 2.5, 4)
    assert third["output"].splitlines()[:2] == [
        "Not yet. The list should end at 0, and yours ends at 25. What is the last step for?",
        "noise at eta = 1, first: yours 0.437398; a right answer gives a number",
    ]
    assert "\x1b" not in third["output"] and found["tests"][1]["status"] == "passed"
    harm = (tmp_path / "gradescope" / "eve.json").read_bytes()
    assert len(harm) < 200_000 and b"\\u0000" not in harm and b"\\u001b" not in harm


# Elements and attributes of the schema that Jenkins reads (junit-10.xsd), and pytest's properties of a case.
SCHEMA = {
    "testsuites": ({"testsuite"}, {"name", "tests", "failures", "errors"}),
    "testsuite": ({"properties", "testcase"}, {"name", "tests", "failures", "errors", "skipped"}),
    "testcase": ({"properties", "failure"}, {"name", "classname"}),
    "properties": ({"property"}, set()),
    "property": (set(), {"name", "value"}),
    "failure": (set(), {"type", "message"}),
}


def test_junit():
    content = reports.junit(CLASS)
    root = ElementTree.fromstring(content.encode())
    for element in root.iter():
        children, attributes = SCHEMA[element.tag]
        assert {child.tag for child in element} <= children and set(element.attrib) <= attributes
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["ada-lovelace-12345 00_start_here.ipynb", "ada-lovelace-12345 02_ddim.ipynb",
                            "bob 02_ddim.ipynb", "eve 02_ddim.ipynb"]  # fmt: skip
    suite = suites["ada-lovelace-12345 02_ddim.ipynb"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "3", "0")
    case = suite.findall("testcase")[2]
    assert case.get("name") == "2.3 Fifty steps out of a thousand"
    properties = {p.get("name"): p.get("value") for p in case.find("properties")}
    assert properties == {"cell_id": "check-2-3", "score": "2.5", "points": "4"}
    assert case.find("failure").get("message").startswith("The list should end at 0")
    assert suite.findall("testcase")[4].find("failure").get("message") == "Not tried."
    assert {f.get("message") for f in suites["bob 02_ddim.ipynb"].iter("failure")} == {
        "No notebook for lesson 02 was handed in."
    }


def test_junit_of_every_hostile_text_reads_back():
    for text in HOSTILE:
        ElementTree.fromstring(reports.junit([eve(text)]).encode())


def test_nothing_at_all(tmp_path):
    reports.write([], tmp_path, canvas=True, moodle=True)
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"
    empty = Graded(Student("x"), "02", "02_ddim.ipynb", ())
    reports.write([empty], tmp_path, canvas=True, moodle=True)
    assert table((tmp_path / "grades.csv").read_text("utf8"))[0]["02 points"] == "0"
