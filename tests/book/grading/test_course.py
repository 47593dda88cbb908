"""A class from what was handed in to files of marks, without a kernel: who counts, who is at work."""

import csv
import fcntl
import json
import subprocess
import sys

import pytest

from book.grading import course
from book.grading.collect import SHIPPED
from book.grading.results import DONE, Graded, TaskResult
from tests.book.grading.test_collect import folder, inner, lessons_own, zipped

WORKSHEET = (
    'Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed",'
    '"Last modified (grade)","Feedback comments"\r\n'
)


@pytest.fixture(autouse=True)
def marks(monkeypatch):
    """All that can be graded gets all points; what was graded last is `marks[-1]`."""
    calls = []

    def grade(submissions, lessons, out, options, progress=None):
        calls.append(submissions)
        return [_all_right(one, lessons[one.lesson]) for one in submissions]

    monkeypatch.setattr(course, "grade", grade)
    return calls


def _all_right(one, lesson):
    points = {cell.task: cell.points if one.path else 0 for cell in lesson.cells}
    tasks = [TaskResult(cell.task, cell.title, cell.points, points[cell.task], DONE) for cell in lesson.cells]
    return Graded(
        one.student, one.lesson, lesson.notebook, tuple(tasks), one.file, one.late, one.problem, one.notes
    )


def empty(lesson):
    """An empty notebook that calls itself one of a lesson."""
    told = {"toolkit": {"lesson": lesson}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": told, "cells": []}).encode()


def table(path):
    return list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))


def test_one_extra_notebook_changes_the_mark_of_nobody(tmp_path):
    """grading.md F1, grading_cases/k8: Moodle's grades fell from 10 to 0.44 for all four."""
    names = ["Ada", "Bob", "Cy", "Mallory"]
    files = {f"{name}_{k}_assignsubmission_file_/00.ipynb": empty("00") for k, name in enumerate(names, 1)}
    files["Mallory_4_assignsubmission_file_/06.ipynb"] = empty("06")
    rows = [f'Participant {k},{name},{name}@b.c,Submitted,,"10,00",Yes,-,' for k, name in enumerate(names, 1)]
    (tmp_path / "worksheet.csv").write_text(WORKSHEET + "\r\n".join(rows) + "\r\n")
    said = []
    source = zipped(tmp_path / "moodle.zip", files)
    found = course.grade_class(
        source, tmp_path / "out", moodle=tmp_path / "worksheet.csv", canvas=True, tell=said.append
    )
    assert {row["Grade"] for row in table(tmp_path / "out" / "moodle.csv")} == {"10"}
    assert "Exercises 6" not in (tmp_path / "out" / "canvas.csv").read_text()
    assert len(found) == 5 and not any(one.problem for one in found)
    (about,) = [line for line in said if "--lesson" in line]
    assert about.startswith("Lesson 06 was handed in by 1 of 4")


def test_a_late_zip_moves_nobody_elses_mark(tmp_path):
    """grading.md F5, grading_cases/l1: a list of submitters of a student's own."""
    listed = "submission_1:\n  :submitters:\n  - :name: Alice\n    :sid: '9'\n    :email: alice@b.c\n"
    source = zipped(
        tmp_path / "late_mallory.zip",
        {"submission_metadata.yml": listed, "submission_1/00.ipynb": empty("00")},
    )
    book = "Student,ID,SIS User ID,SIS Login ID,Section,Exercises 0\nAlice,1,9,alice@b.c,S,2\n"
    (tmp_path / "gradebook.csv").write_text(book)
    course.grade_class(source, tmp_path / "out", lessons=["00"], canvas=tmp_path / "gradebook.csv")
    (alice,) = table(tmp_path / "out" / "canvas.csv")
    assert alice["Exercises 0"] == "2"


def test_the_shipped_solution_is_told_to_the_instructor_only(tmp_path):
    clone = {"solutions/00_start_here.ipynb": lessons_own("solutions")}
    files = {"ada/repo.zip": inner(clone), "bob/00_start_here.ipynb": lessons_own("exercises")}
    ada, bob = course.grade_class(folder(tmp_path / "all", files), tmp_path / "out", lessons=["00"])
    assert ada.flags == (SHIPPED,) and bob.flags == ()
    assert SHIPPED in (tmp_path / "out" / "summary.html").read_text().replace("&#39;", "'")
    assert "marks of the book" not in (tmp_path / "out" / "feedback" / "ada.html").read_text()


def test_two_graders_do_not_share_a_folder(tmp_path):
    """grading.md F14: both said success, and the pages were of two classes."""
    source, out = folder(tmp_path / "all", {"ada/00.ipynb": empty("00")}), tmp_path / "out"
    course.grade_class(source, out, lessons=["00"])
    before = (out / "grades.csv").read_bytes()
    wait = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print(1, flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", wait, str(out / "state")], stdin=-1, stdout=-1)
    try:
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(course.CannotGrade) as error:
            course.grade_class(folder(tmp_path / "more", {"bob/00.ipynb": empty("00")}), out, lessons=["00"])
        assert str(error.value) == f"Another grader is at work in {out}: wait for it, or name another folder."
        assert (out / "grades.csv").read_bytes() == before
    finally:
        other.kill()
        other.communicate()
    course.grade_class(source, out, lessons=["00"])  # the lock of one that was killed does not stay


def test_a_folder_that_cannot_be_locked_is_used_all_the_same(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuses)
    source = folder(tmp_path / "all", {"ada/00.ipynb": empty("00")})
    assert course.grade_class(source, tmp_path / "out", lessons=["00"])[0].score > 0
