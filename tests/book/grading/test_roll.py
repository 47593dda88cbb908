"""The class list: which column gives the ids, and whom of the class an LMS means."""

import pytest

from book.grading.results import Student
from book.grading.roll import Roll, read_roll


def read(path):
    return list(read_roll(path).lines)


def test_a_class_list(tmp_path):
    path = tmp_path / "roll.csv"
    path.write_text("\ufeffID;Name\nada;Ada L\n\nbob@uni.edu;Bob\n", "utf8")
    assert read(path) == ["ada", "bob@uni.edu"]
    for text in ("../x\n", "ada\nADA\n", "id\n", ".hidden\n", "a b\n", "x" * 65):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"no id|twice|names nobody"):
            read(path)
    for text, says in {
        '"Doe, Jane",jd1\n': "'Doe, Jane'",
        "Release.JSON\n": "no id",
        "ada.\n": "no id",
        "stra\u00dfe\nSTRASSE\n": "twice",
        "\uac00\n\u1100\u1161\n": "twice",  # one syllable, whole and in parts: one folder on some systems
    }.items():
        path.write_text(text, "utf8")
        with pytest.raises(ValueError, match=says):
            read(path)
    path.write_text('Username,Name\n"ada","L, Ada"\n', "utf8")
    assert read(path) == ["ada"]


CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Homework (901)\n,,,,,Manual Posting\n"
    "    Points Possible,,,,,14\n"
    '"Lovelace, Ada",1000,S4000,alovelace,Section 1,\n"Post, Emil",1001,S4001,epost,Section 1,\n'
    '"Student, Test",1999,,7a8f,Section 1,\n'
)
MOODLE = (
    "Identifier,Full name,Email address,Status,Grade\n"
    "Participant 1000,Ada Lovelace,ada@uni.edu,Submitted,\nParticipant 1001,Emil Post,emil@uni.edu,,\n"
)
GRADESCOPE = "First Name,Last Name,SID,Email,Role\nAda,Lovelace,S4000,ada@uni.edu,Student\n"
GRADESCOPE += "Emil,Post,S4001,emil@uni.edu,Student\n"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (CANVAS, ["alovelace", "epost"]),
        (CANVAS.replace("epost", "").replace("S4001", ""), ["1000", "1001"]),
        (MOODLE, ["ada@uni.edu", "emil@uni.edu"]),
        (MOODLE.replace(",", "\t"), ["ada@uni.edu", "emil@uni.edu"]),
        (GRADESCOPE, ["S4000", "S4001"]),
        ("ada,student\nemil,student\n", ["ada", "emil"]),
    ],
)
def test_a_table_that_an_lms_exported_is_a_class_list(text, ids, tmp_path):
    path = tmp_path / "export.csv"
    path.write_bytes(text.encode("utf-16"))
    assert read(path) == ids
    path.write_text("\ufeff" + text, "utf8")
    assert read(path) == ids


@pytest.mark.parametrize(
    ("text", "ada"),
    [
        (CANVAS, Student("lovelaceada-1000", "lovelaceada", {"canvas_id": "1000"})),
        (CANVAS, Student("lovelaceada", "lovelaceada")),
        (MOODLE, Student("ada-lovelace-1000", "Ada Lovelace", {"moodle_id": "1000"})),
        (MOODLE, Student("ada-lovelace", "Ada Lovelace")),
        (GRADESCOPE, Student("x", "Countess", {"sid": "S4000", "email": "ada@uni.edu"})),
        (GRADESCOPE, Student("x", "Lovelace, Ada")),
        ("alovelace\nepost\n", Student("alovelace", "alovelace")),
    ],
)
def test_the_list_knows_whom_an_lms_means(text, ada, tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(text, "utf8")
    roll = read_roll(path)
    first, second = roll.lines
    assert roll.of(ada) == {first} and roll.of(Student("cy", "Cy")) == set()
    absent, unknown = roll.odd([ada, Student("cy", "Cy")])
    assert absent == f"Nothing came from 1 of the 2 on the roll: {second}." and unknown.endswith(": Cy.")
    assert Roll({first: roll.lines[first]}).odd([ada]) == []
