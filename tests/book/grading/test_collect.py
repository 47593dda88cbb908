"""Submissions as LMSs and people lay them out, and as somebody would who means harm."""

import functools
import json
import os
import random
import re
import shutil
import stat
import struct
import time
import zipfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from book.grading import bare, unpacking
from book.grading.collect import SHIPPED, CollectError, collect
from book.lessons import record, registry
from book.lessons.running import read_notebook

ROOT = Path(__file__).parents[3]


def notebook(lesson="02", size=0):
    """A small notebook of a lesson ('' for none), as bytes."""
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "x" * size}
    told = {"toolkit": {"lesson": lesson}} if lesson else {}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": told, "cells": [cell]}).encode()


BOOK = notebook()


def folder(root, files):
    """A folder with these files: {path: bytes}; a path that ends in '/' is an empty folder."""
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def zipped(path, files):
    """A zip with these members: {name or ZipInfo: bytes}, or a list of such pairs."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return path


def inner(files):
    """A zip as bytes."""
    out = BytesIO()
    zipped(out, files)
    return out.getvalue()


@pytest.fixture
def run(tmp_path):
    """collect on a source, into a fresh folder: (submissions, sentences told)."""

    def run(source, lessons=("02",), **options):
        into, told = tmp_path / f"into{len(list(tmp_path.glob('into*')))}", []
        return collect(source, into, lessons, tell=told.append, **options), told

    return run


def shown(submissions):
    return {
        (s.student.name, s.lesson): (s.file, bool(s.path), s.late, s.problem, s.notes) for s in submissions
    }


def both(tmp_path, files, name="class"):
    """The same files as a folder and as a zip."""
    yield folder(tmp_path / name, files)
    yield zipped(tmp_path / f"{name}.zip", files)


# --- layouts --------------------------------------------------------------------------------------------


def test_canvas(run, tmp_path):
    files = {
        "lovelaceada_12345_67890_02_ddim.ipynb": BOOK,
        "turingalan_LATE_12346_67891_02_ddim-1.ipynb": BOOK,
        "o_brienmary_12347_67892_work.ipynb": BOOK,
        "garcíajosé_12348_67893_02_ddim.ipynb": BOOK,
        "hopper_12349_67894_answers.zip": inner({"hw/02_ddim.ipynb": BOOK, "hw/notes.txt": b"x"}),
        "noether_12350_text.html": b"<p>I typed it</p>",
        "LATE_anon_aB3xY_67895_02_ddim.ipynb": BOOK,
    }
    for source in both(tmp_path, files):
        got, told = run(source)
        assert told == []
        by = {s.student.name: s for s in got}
        assert {s.student.ids["canvas_id"] for s in got} >= {"12345", "anon_aB3xY"}
        assert (by["lovelaceada"].file, by["lovelaceada"].late) == ("02_ddim.ipynb", False)
        assert (by["turingalan"].file, by["turingalan"].late) == ("02_ddim-1.ipynb", True)
        assert by["anon_aB3xY"].late and by["garcíajosé"].student.key == "garciajose-12348"
        assert by["o_brienmary"].path.read_bytes() == BOOK
        assert by["hopper"].notes == ("Not read, since only notebooks are: “notes.txt”.",)
        assert by["noether"].problem == "No notebook for lesson 02 was handed in."
        assert by["noether"].notes == ("What was typed into Canvas is not read (text): only notebooks are.",)


def test_canvas_the_last_upload_counts(run, tmp_path):
    files = {f"lovelaceada_12345_{60 + k}_02_ddim{s}.ipynb": notebook(size=k) for k, s in
             enumerate(["", "-1", "-2", "-10"])}  # fmt: skip
    (one,), _ = run(zipped(tmp_path / "class.zip", files))
    assert one.file == "02_ddim-10.ipynb" and one.path.read_bytes() == notebook(size=3)
    assert one.notes == (
        "Of several notebooks for lesson 02 “02_ddim-10.ipynb” was graded, the last that was handed in, not "
        "“02_ddim.ipynb”, “02_ddim-1.ipynb”, “02_ddim-2.ipynb”.",
    )


@pytest.mark.parametrize("end", ["_", ""])
def test_moodle_folders(run, tmp_path, end):
    files = {
        f"Ada Lovelace_123_assignsubmission_file{end}/02_ddim.ipynb": BOOK,
        f"Team A-José García_124_assignsubmission_file{end}/mine/02_ddim.ipynb": BOOK,
        f"José García_125_assignsubmission_onlinetext{end}/onlinetext.html": b"x",
        f"Ada Lovelace_123_assignsubmission_onlinetext{end}/onlinetext.html": b"x",
        f"Participant_126_assignsubmission_file{end}/02_ddim.ipynb": BOOK,
    }
    for source in both(tmp_path, files):
        got, _ = run(source)
        assert [s.student.ids["moodle_id"] for s in got] == ["123", "125", "126", "124"]
        assert got[0].student.name == "Ada Lovelace" and got[0].file == "02_ddim.ipynb"
        assert got[0].notes == ("Text typed into Moodle is not read: only notebooks are.",)
        assert got[1].problem and got[1].notes == got[0].notes


def test_moodle_flat_in_sections(run, tmp_path):
    files = {
        "Monday/Ada Lovelace_123_assignsubmission_file_my solution.ipynb": BOOK,
        "Friday/李小龍_124_assignsubmission_file_02_ddim.ipynb": BOOK,
    }
    for source in both(tmp_path, files):
        got = {s.student.name: s for s in run(source)[0]}
        assert got["Ada Lovelace"].file == "my solution.ipynb"
        assert got["李小龍"].student.key == "124-" + got["李小龍"].student.key[-8:]


METADATA = """---
submission_1:
  :submitters:
  - :name: Ada Lovelace
    :sid: '77'
    :email: ada@b.c
  - :name: Alan Turing
    :sid: '78'
    :email: alan@b.c
  :created_at: 2024-05-01 09:59:00.000000000 Z
  :score: 1
submission_2:
  :submitters:
  - :name: Grace Hopper
    :sid:
    :email: grace@b.c
  :created_at: 2024-05-01 10:01:00.000000000 Z
submission_3:
  :submitters:
  - :name: Ada Lovelace
    :sid: '77'
    :email: ada@b.c
  :created_at: 2024-05-01 10:30:00.000000000 +02:00
"""


def test_gradescope(run, tmp_path):
    root = "assignment_5_export/"
    files = {
        root + "submission_metadata.yml": METADATA.encode(),
        root + "submission_1/02_ddim.ipynb": notebook(size=1),
        root + "submission_2/02_ddim.ipynb": notebook(size=2),
        root + "submission_3/02_ddim.ipynb": notebook(size=3),
        root + "submission_4/02_ddim.ipynb": BOOK,
        # A student's own list of submitters, with which to hand in for somebody else.
        root + "submission_2/submission_metadata.yml": METADATA.replace("submission_1", "x").encode(),
        root + "submission_2/x/02_ddim.ipynb": BOOK,
    }
    for source in both(tmp_path, files):
        got, _ = run(source, due=datetime(2024, 5, 1, 10, tzinfo=UTC))
        by = {s.student.name: s for s in got}
        assert list(by) == ["Ada Lovelace", "Alan Turing", "Grace Hopper", "submission_4"]
        assert by["Ada Lovelace"].path == by["Alan Turing"].path, "a group has one mark; the date decides"
        assert by["Ada Lovelace"].path.read_bytes() == notebook(size=1) and not by["Ada Lovelace"].late
        assert len(by["Ada Lovelace"].notes) == 1 and by["Alan Turing"].notes == ()
        assert by["Grace Hopper"].late and by["Grace Hopper"].student.ids == {"email": "grace@b.c"}
        assert by["submission_4"].notes == (
            "Gradescope's submission_metadata.yml does not say who handed in submission_4.",
        )


def test_a_broken_list_of_submitters_is_said(run, tmp_path):
    twice = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
    for bad in (b"- [", b"[]", b"!!python/object/apply:os.system ['true']", twice.encode(), b"[" * 100_000):
        root = folder(tmp_path / f"{len(bad)}", {"submission_metadata.yml": bad, "s/x.ipynb": BOOK})
        with pytest.raises(CollectError, match="cannot be read: export the submissions again"):
            run(root, gradescope=True)


def test_nbgrader(run, tmp_path):
    files = {
        "submitted/ada/ps2/02_ddim.ipynb": BOOK,
        "submitted/ada/ps2/timestamp.txt": b"2024-05-01 10:00:01.5 UTC\n",
        "submitted/bob/ps2/02_ddim.ipynb": BOOK,
        "submitted/bob/ps2/timestamp.txt": b"2024-05-01 05:59:59 America/New_York",
        "source/ps2/02_ddim.ipynb": BOOK,
        "release/ps2/02_ddim.ipynb": BOOK,
    }
    for source in both(tmp_path, files):
        got, _ = run(source, due=datetime(2024, 5, 1, 10, tzinfo=UTC))
        assert [(s.student.key, s.late, s.student.ids) for s in got] == [
            ("ada", True, {"nbgrader_id": "ada"}),
            ("bob", False, {"nbgrader_id": "bob"}),
        ]


@pytest.mark.parametrize(
    "files, names",
    [
        (["ada/02_ddim.ipynb", "bob/answers.ipynb"], ["ada", "bob"]),
        (["ada.ipynb", "bob.ipynb"], ["ada", "bob"]),
        (["ada_02_ddim.ipynb", "02_ddim_bob.ipynb"], ["ada", "bob"]),
        (["class/ada/exercises/02_ddim.ipynb", "class/bob/02_ddim.ipynb"], ["ada", "bob"]),
        (["A/ada/02_ddim.ipynb", "A/cy/02_ddim.ipynb", "B/bob/02_ddim.ipynb", "B/di/x.ipynb"],
         ["ada", "bob", "cy", "di"]),
        (["02/ada.ipynb", "02/bob.ipynb"], ["ada", "bob"]),
        (["week 2/ada/02.ipynb", "week 3/ada/02.ipynb", "week 2/bob/02.ipynb"], ["ada", "bob"]),
        (["01_ada.ipynb", "02_bob.ipynb"], ["01_ada", "02_bob"]),
        (["ada/first/02.ipynb", "ada/second/02.ipynb", "bob/first/02.ipynb", "bob/second/02.ipynb"],
         ["ada", "bob"]),
        (["ada.zip/02_ddim.ipynb", "bob/02_ddim.ipynb"], ["ada", "bob"]),
        (["ada/mine.ipynb"], ["ada"]),
        (["class/ada/mine.ipynb"], ["ada"]),
    ],
)  # fmt: skip
def test_plain(run, tmp_path, files, names):
    for source in both(tmp_path, dict.fromkeys(files, BOOK), "all"):
        assert [s.student.name for s in run(source)[0]] == names


def test_one_notebook(run, tmp_path):
    got, _ = run(folder(tmp_path, {"ada.ipynb": BOOK}) / "ada.ipynb")
    assert shown(got) == {("ada", "02"): ("ada.ipynb", True, False, "", ())}


def test_a_folder_without_a_notebook_has_a_sentence(run, tmp_path):
    source = folder(
        tmp_path / "all", {"ada/02_ddim.ipynb": BOOK, "bob/": b"", "cy/02.pdf": b"", "di/w.rar": b""}
    )
    assert shown(run(source)[0]) == {
        ("ada", "02"): ("02_ddim.ipynb", True, False, "", ()),
        ("bob", "02"): ("", False, False, "No notebook for lesson 02 was handed in.", ()),
        ("cy", "02"): ("", False, False, "No notebook for lesson 02 was handed in.",
                       ("Not read, since only notebooks are: “02.pdf”.",)),
        ("di", "02"): ("", False, False, "No notebook for lesson 02 was handed in.",
                       ("“w.rar” is an archive that is not opened: hand in the notebook itself.",)),
    }  # fmt: skip


# --- lessons --------------------------------------------------------------------------------------------


def test_the_lesson_is_told_by_the_notebook_not_by_its_name(run, tmp_path):
    ours = {"cell_type": "code", "id": "x", "metadata": {"nbgrader": {"grade_id": "check-2-1"}},
            "source": "", "outputs": [], "execution_count": None}  # fmt: skip
    named = json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [ours]}).encode()
    ours = {**ours, "metadata": {}, "source": 'y = 1\ncheck("0.1", y)'}
    called = json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [ours]}).encode()
    files = {
        "ada/03_sde_ode.ipynb": BOOK,
        "ada/start.ipynb": notebook("00"),
        "bob/untitled.ipynb": named,
        "bob/untitled2.ipynb": called,
        "cy/Untitled.ipynb": notebook(""),
        "di/04_dpm_solver.ipynb": notebook("04"),
        "ed/02_ddim.ipynb.txt": BOOK,
    }
    got, _ = run(folder(tmp_path / "all", files), ("00", "02"))
    got = shown(got)
    assert got["ada", "02"][:2] == ("03_sde_ode.ipynb", True) and got["ada", "00"][:2] == (
        "start.ipynb",
        True,
    )
    assert got["bob", "02"][:2] == ("untitled.ipynb", True) and got["bob", "00"][:2] == (
        "untitled2.ipynb",
        True,
    )
    assert got["cy", "00"][3:] == (
        "No notebook for lesson 00 was handed in.", ("“Untitled.ipynb” is not one of this book's exercises.",)
    )  # fmt: skip
    assert got["di", "00"][4] == ("“04_dpm_solver.ipynb” belongs to lesson 04, which is not graded here.",)
    assert got["ed", "02"][:2] == ("02_ddim.ipynb.txt", True) and got["ed", "00"][3]
    assert len(got) == 10


def test_a_lesson_that_nobody_handed_in_is_not_missed(run, tmp_path):
    got, _ = run(folder(tmp_path / "all", {"ada.ipynb": BOOK}), ("00", "02", "05"))
    assert [s.lesson for s in got] == ["02"]


def test_damaged_notebooks(run, tmp_path):
    files = {"ada/work.ipynb": b'{"cells": [', "bob/02_ddim.ipynb": b"[" * 100_000, "cy/02_ddim.ipynb": BOOK,
             "cy/02_ddim-1.ipynb": b""}  # fmt: skip
    source = folder(tmp_path / "all", files)
    got = shown(run(source)[0])
    said = "“{}” is not a notebook: it is not JSON. Was the download or the save cut off?"
    empty = "“02_ddim-1.ipynb” is empty: was the upload cut off? Hand it in again."
    assert got["ada", "02"] == ("work.ipynb", False, False, said.format("work.ipynb"), ())
    assert got["bob", "02"][3] == said.format("02_ddim.ipynb")
    assert got["cy", "02"] == ("02_ddim.ipynb", True, False, "", (empty,))
    got = shown(run(source, ("00", "02"))[0])
    assert got["ada", "02"] == ("", False, False, said.format("work.ipynb"), ())


def test_old_and_odd_encodings_are_read(run, tmp_path):
    text = BOOK.decode()
    source = folder(
        tmp_path / "all", {"ada.ipynb": text.encode("utf-16"), "bob.ipynb": text.encode("utf-8-sig")}
    )
    assert all(s.path and not s.problem for s in run(source)[0])


# --- several notebooks, releases, deadlines -------------------------------------------------------------


def dated(root, files):
    """A folder with these files: {path: seconds since 2024 began}."""
    folder(root, dict.fromkeys(files, BOOK))
    for name, seconds in files.items():
        os.utime(root / name, (1_704_067_200 + seconds,) * 2)
    return root


def test_of_several_in_a_folder_the_newest_is_graded(run, tmp_path):
    source = dated(
        tmp_path / "all", {"ada/b.ipynb": 0, "ada/a.ipynb": 500, "bob/b.ipynb": 7, "bob/a.ipynb": 7}
    )
    by = {s.student.name: s for s in run(source, due=datetime(2000, 1, 1))[0]}
    assert by["ada"].file == "a.ipynb" and by["bob"].file == "b.ipynb"
    said = "Of several notebooks for lesson 02 “{}” was graded, the {}, not “{}”."
    assert by["ada"].notes == (said.format("a.ipynb", "newest by its date", "b.ipynb"),)
    assert by["bob"].notes == (said.format("b.ipynb", "last by its name", "a.ipynb"),)
    assert not by["ada"].late, "the date of a file tells nothing of when it was handed in"
    source = dated(tmp_path / "odd", {"ada/b.ipynb": 0, "ada/a (1).ipynb": -3_000_000_000, "bob/b.ipynb": 0})
    assert run(source)[0][0].file == "b.ipynb"


def test_everything_is_one_students(run, tmp_path):
    files = {"02_ddim.ipynb": 0, "02_ddim-Copy1.ipynb": 900, "old/bob.ipynb": 950, "README.md": 0}
    source = dated(tmp_path / "sheet-ada", files)
    ((one,), told) = run(source, alone=True)
    assert (one.student.key, one.student.name, told) == ("sheet-ada", "sheet-ada", [])
    assert one.notes[0] == (
        "Of several notebooks for lesson 02 “02_ddim.ipynb” was graded, which has the lesson's own name, not "
        "“02_ddim-Copy1.ipynb”, “bob.ipynb”."
    )
    source = dated(tmp_path / "other", {"b.ipynb": 0, "a.ipynb": 9, "x/odd.ipynb": 1})
    (source / "x" / "odd.ipynb").write_bytes(notebook("77"))
    ((one,), _) = run(source, alone=True)
    assert one.file == "a.ipynb" and "newest by its date" in one.notes[0]
    ((one,), _) = run(zipped(tmp_path / "cy.zip", {"x/1.ipynb": BOOK, "y/1.ipynb": BOOK}), alone=True)
    assert one.student.name == "cy"


NO_TIMES = "--due had no effect: these submissions record no times."


def test_a_deadline_without_times_is_told(run, tmp_path):
    due = datetime(2024, 5, 1, 10, tzinfo=UTC)
    plain = folder(tmp_path / "plain", {"ada/02_ddim.ipynb": BOOK, "bob/02_ddim.ipynb": BOOK})
    assert run(plain, due=due)[1] == [NO_TIMES] and run(plain)[1] == []
    canvas = {ADA + "02_ddim.ipynb": BOOK, "turingalan_LATE_124_457_02_ddim.ipynb": BOOK}
    assert run(zipped(tmp_path / "canvas.zip", canvas), due=due)[1] == []
    stamped = {"submitted/ada/ps2/02_ddim.ipynb": BOOK, "submitted/bob/ps2/02_ddim.ipynb": BOOK,
               "submitted/ada/ps2/timestamp.txt": b"2024-05-01 10:00:01.5 UTC"}  # fmt: skip
    assert run(folder(tmp_path / "nb", stamped), due=due)[1] == []


def test_a_class_that_handed_in_another_lesson_is_refused(run, tmp_path):
    files = {"ada/02_ddim.ipynb": BOOK, "bob/02_ddim.ipynb": BOOK, "cy/02_ddim.ipynb": b"["}
    source = folder(tmp_path / "all", files)
    with pytest.raises(CollectError) as error:
        run(source, ("00",))
    assert str(error.value) == "There is no notebook of lesson 00 in all; these are of lesson 02."
    (source / "bob" / "02_ddim.ipynb").write_bytes(notebook("04"))
    with pytest.raises(CollectError, match="of lessons 00 or 03 in all; these are of lessons 02 and 04.$"):
        run(source, ("00", "03"))
    ((one,), _) = run(source / "ada", ("00",))
    assert one.problem == "No notebook for lesson 00 was handed in."
    assert run(folder(tmp_path / "own", {"a/x.ipynb": notebook(""), "b/x.ipynb": notebook("")}))[0][0].problem


def part(tasks):
    told = json.loads(BOOK)
    told["metadata"]["toolkit"]["tasks"] = tasks
    return json.dumps(told).encode()


def test_notebooks_of_a_release_are_told_once(run, tmp_path):
    two = part(["2.1", "2.3", "9.9"])
    files = {"ada/02_ddim.ipynb": two, "bob/02_ddim.ipynb": two, "cy/02_ddim.ipynb": BOOK,
             "eve/02_ddim.ipynb": part(["2.1"])}  # fmt: skip
    source = folder(tmp_path / "all", files)
    got, told = run(source)
    count = len(registry.tasks("02"))
    assert told == [
        f"2 of 4 notebooks say that 2 of {count} tasks of lesson 02 were set: if you released it so, grade "
        "with --release."
    ]
    assert all(s.path for s in got) and run(source, released=True)[1] == []
    (source / "ada" / "02_ddim.ipynb").write_bytes(BOOK)
    (source / "bob" / "02_ddim.ipynb").write_bytes(BOOK)
    (said,) = run(source)[1]
    assert said.startswith(f"1 of 4 notebooks (eve's) says that 1 of {count} tasks of lesson 02 was set: if")
    odd = [[], {"2.1": 1}, None, [{}, 1], "2.1", list(registry.tasks("02"))]
    source = folder(tmp_path / "odd", {f"s{k}/02_ddim.ipynb": part(tasks) for k, tasks in enumerate(odd)})
    assert run(source)[1] == []


# --- names ----------------------------------------------------------------------------------------------


def test_names_stay_as_they_are_and_keys_are_plain(run, tmp_path):
    names = [
        "José",
        "Jose",
        "jose",
        "Søren Ærø",
        "Łukasz",
        "李",
        "王",
        "Ada " * 40,
        "con",
        "😀",
        "Ada\u202eevil",
    ]
    got, _ = run(folder(tmp_path / "all", {f"{name}/02_ddim.ipynb": BOOK for name in names}))
    keys = [s.student.key for s in got]
    assert len({key.casefold() for key in keys}) == len(names) and keys == sorted(keys)
    assert all(key.isascii() and len(key) <= 60 and key.replace("-", "").isalnum() for key in keys)
    by = {s.student.name: s.student.key for s in got}
    assert by["Søren Ærø"] == "soren-aero" and by["Łukasz"] == "lukasz" and by["con"] != "con"
    assert by["José"].startswith("jose-") and "Adaevil" in by


def test_one_name_in_two_encodings_is_one_student(run, tmp_path):
    files = {"Jose\u0301/02_ddim.ipynb": BOOK, "José/notes.txt": b"", "bob/02_ddim.ipynb": BOOK}
    got, _ = run(zipped(tmp_path / "all.zip", files))
    assert [(s.student.name, s.student.key) for s in got] == [("bob", "bob"), ("José", "jose")]


def test_names_of_a_zip_that_does_not_state_its_encoding(run, tmp_path):
    info = zipfile.ZipInfo("Jos?/02_ddim.ipynb")
    data = inner([(info, BOOK), ("bob/02_ddim.ipynb", BOOK)])
    wide = data.replace(b"Jos?/02_ddim.ipynb", "José/02_dim.ipynb".encode())  # as long, without the flag
    (tmp_path / "all.zip").write_bytes(wide)
    assert [s.student.name for s in run(tmp_path / "all.zip")[0]] == ["bob", "José"]


def test_the_order_of_the_files_makes_no_difference(run, tmp_path):
    files = [(f"{name}_{k}_{9 * k}_02_ddim{s}.ipynb", notebook(size=k)) for k, name in
             enumerate(["zoe", "ada", "émile", "bob", "Bob"], 100) for s in ("", "-1")]  # fmt: skip
    first = None
    for seed in range(4):
        random.Random(seed).shuffle(files)
        got, _ = run(zipped(tmp_path / "all.zip", files))
        plain = [(s.student, s.lesson, s.file, s.path.read_bytes(), s.late, s.notes) for s in got]
        assert first in (None, plain)
        first = plain


# --- harm -----------------------------------------------------------------------------------------------


def member(name, mode=stat.S_IFREG | 0o644, date=(2024, 1, 1, 0, 0, 0)):
    info = zipfile.ZipInfo(name, date)
    info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
    return info


ADA, OTHER = "lovelaceada_123_456_", "turingalan_124_457_02_ddim.ipynb"


@pytest.mark.parametrize(
    "name, said",
    [
        ("../../{}x.ipynb", "is to be unpacked outside its folder"),
        ("/{}x.ipynb", "is to be unpacked outside its folder"),
        ("..\\..\\{}x.ipynb", "is to be unpacked outside its folder"),
        ("C:\\{}x.ipynb", "is to be unpacked outside its folder"),
        ("{}x.ipynb/../../y.ipynb", "is to be unpacked outside its folder"),
        ("{}" + "a/" * 40 + "x.ipynb", "lies too deep"),
    ],
)
def test_members_that_lead_outside(run, tmp_path, name, said):
    source = zipped(tmp_path / "all.zip", {name.format(ADA): BOOK, OTHER: BOOK})
    got, _ = run(source)
    by = {s.student.name: s for s in got}
    assert by["turingalan"].path and not by["turingalan"].notes
    assert by["lovelaceada"].path is None and said in by["lovelaceada"].problem
    outside = [p for p in tmp_path.rglob("*.ipynb") if not p.parent.name.startswith("into")]
    assert outside == []


@pytest.mark.parametrize(
    "mode, said",
    [
        (stat.S_IFLNK | 0o777, "is a link; links are not followed."),
        (stat.S_IFCHR | 0o666, "is not an ordinary file."),
        (stat.S_IFIFO | 0o666, "is not an ordinary file."),
    ],
)
def test_links_and_devices_in_zips(run, tmp_path, mode, said):
    for bad in (
        {member(ADA + "02_ddim.ipynb", mode): b"/etc/passwd", OTHER: BOOK},
        {ADA + "work.zip": inner({member("02_ddim.ipynb", mode): b"/etc/passwd"}), OTHER: BOOK},
    ):
        by = {s.student.name: s for s in run(zipped(tmp_path / "all.zip", bad))[0]}
        assert said in by["lovelaceada"].problem and by["turingalan"].path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes to put into a folder")
def test_links_and_pipes_in_folders(run, tmp_path):
    (tmp_path / "secret.ipynb").write_bytes(BOOK)
    source = folder(
        tmp_path / "all", {"cy/02_ddim.ipynb": BOOK, "ada/": b"", "bob/": b"", "di/": b"", "ed/": b""}
    )
    os.symlink(tmp_path / "secret.ipynb", source / "ada" / "02_ddim.ipynb")
    os.symlink(tmp_path, source / "bob" / "everything")
    os.mkfifo(source / "di" / "02_ddim.ipynb")
    os.symlink(source / "ed", source / "ed" / "loop")
    os.symlink(tmp_path, source / "zz")
    got, told = run(source)
    got = {s.student.name: (s.path is not None, s.problem) for s in got}
    assert got == {
        "ada": (False, "“ada/02_ddim.ipynb” is a link; links are not followed."),
        "bob": (False, "“bob/everything” is a link; links are not followed."),
        "cy": (True, ""),
        "di": (False, "“di/02_ddim.ipynb” is not an ordinary file."),
        "ed": (False, "“ed/loop” is a link; links are not followed."),
    }
    assert told == ["“zz” is a link; links are not followed."]


def locked():
    """A zip that says of its member that it is locked."""
    data = bytearray(inner({"02_ddim.ipynb": BOOK}))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def repacked(method):
    out = BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("02_ddim.ipynb", BOOK)
    return out.getvalue()


def corrupted():
    """A zip with a member whose data do not fit its sum."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("02_ddim.ipynb", BOOK)
    return out.getvalue().replace(b"nbformat_minor", b"nbformat_MINOR")


INNER = {
    "broken": (lambda: inner({"02_ddim.ipynb": BOOK})[:50], "cannot be unpacked: it is damaged or not a zip"),
    "empty": (lambda: b"", "cannot be unpacked: it is damaged or not a zip"),
    "text": (lambda: b"hello", "cannot be unpacked: it is damaged or not a zip"),
    "sum": (corrupted, "cannot be unpacked: it is damaged or not a zip"),
    "locked": (locked, "is locked with a password."),
    "lzma": (lambda: repacked(zipfile.ZIP_LZMA), "is packed in an unusual way"),
    "nested": (lambda: inner({"a.zip": inner({"b.zip": inner({"c": BOOK})})}), "is a zip in a zip in a zip"),
    "huge": (lambda: inner({"02_ddim.ipynb": b" " * 20_000_001}), "unpacks to more than 200 times its size"),
    "notebooks": (lambda: inner({f"{k}.ipynb": b"{}" for k in range(301)}), "holds more than 300 notebooks."),
    "many": (lambda: inner({f"{k}.txt": b"" for k in range(5001)}), "has more than 5,000 members."),
    "bomb": (
        lambda: inner({f"{k}.ipynb": b" " * 19_000_000 for k in range(6)}),
        "unpacks to more than the 100 MB that are read of a zip.",
    ),
    "none": (lambda: inner({}), "No notebook for lesson 02 was handed in."),
}  # fmt: skip


@pytest.mark.parametrize("kind", INNER)
def test_a_bad_zip_harms_its_student_only(run, tmp_path, kind):
    make, said = INNER[kind]
    for source in both(tmp_path, {ADA + "work.zip": make(), OTHER: BOOK}):
        by = {s.student.name: s for s in run(source)[0]}
        mine = by["lovelaceada"]
        assert mine.problem and any(said in text for text in (mine.problem, *mine.notes)), mine
        assert mine.path is None and by["turingalan"].path and not by["turingalan"].notes


def test_a_zip_of_zips_has_one_limit_for_all_of_it_and_costs_no_other(run, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_FILES", 3000)
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 1000)
    many = {f"{k}.zip": inner({f"{n}.txt": b"" for n in range(400)}) for k in range(9)}
    source = folder(
        tmp_path / "all", {"bob/w.zip": inner(many), "eve/w.zip": inner(many), "zoe/02.ipynb": BOOK}
    )
    bob, eve, zoe = run(source)[0]
    assert "“bob/w.zip” has more than 1,000 members. Hand in the notebook itself." in (
        bob.problem,
        *bob.notes,
    )
    assert eve.problem and len(eve.notes) < 30 and zoe.path and not zoe.notes
    monkeypatch.setattr(unpacking, "MOST_FILES", 4)
    with pytest.raises(CollectError, match="all holds more than 4 files, 2 of them in “a”"):
        run(folder(source, {"a/1.txt": b"", "a/2.txt": b""}))


def test_a_zip_that_hides_a_long_table_of_contents(run, tmp_path):
    data = bytearray(inner({"02_ddim.ipynb": BOOK}))
    end = data.index(b"PK\5\6")
    struct.pack_into("<I", data, end + 12, 9_000_000)
    by = {s.student.name: s for s in
          run(zipped(tmp_path / "all.zip", {ADA + "w.zip": bytes(data), OTHER: BOOK}))[0]}  # fmt: skip
    assert "has more than 5,000 members." in by["lovelaceada"].problem and by["turingalan"].path


def test_huge_notebooks(run, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "LARGEST_NOTEBOOK", 1_000_000)
    noise = random.Random(1).randbytes(600_000).hex().encode()
    for source in both(tmp_path, {ADA + "02_ddim.ipynb": noise, OTHER: BOOK}):
        by = {s.student.name: s for s in run(source)[0]}
        assert by["lovelaceada"].problem == (
            f"“{ADA}02_ddim.ipynb” is larger than 1 MB without its outputs. {unpacking.CLEAR}"
        )
        assert by["lovelaceada"].file == "02_ddim.ipynb" and by["turingalan"].path


def test_a_notebook_of_very_many_parts_is_not_read(run, tmp_path):
    many = b'{"nbformat": 4, "nbformat_minor": 5, "cells": [], "metadata": {"a": [%s]}}' % (b"{}," * 200_001)
    text = notebook(size=0).replace(b'"source": ""', b'"source": "' + b'[{\\"' * 210_000 + b'"')
    source = folder(tmp_path / "all", {"ada.ipynb": many, "bob.ipynb": text,
                                       "cy.ipynb": many.decode().encode("utf-16")})  # fmt: skip
    got = {s.student.name: (bool(s.path), s.problem) for s in run(source)[0]}
    said = f"“{{}}” holds far more cells and outputs than any exercise: it is not read. {unpacking.CLEAR}"
    assert got == {"ada": (False, said.format("ada.ipynb")), "bob": (True, ""),
                   "cy": (False, said.format("cy.ipynb"))}  # fmt: skip


def test_the_sum_of_all_has_a_limit_at_which_the_largest_are_left_out(run, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "LARGEST_SUM", 1000)
    files = {ADA + "02_ddim.ipynb": notebook(size=700), OTHER: BOOK}
    for source in both(tmp_path, {**files, ADA.replace("456", "458") + "x.ipynb": notebook(size=800)}):
        by = {s.student.name: s for s in run(source)[0]}
        assert by["turingalan"].path and not by["turingalan"].notes
        assert (
            "(1 MB) is one of the largest files, and all are more than is read." in by["lovelaceada"].problem
        )


def test_members_twice_and_members_that_fold_to_one_name(run, tmp_path):
    name = ADA + "02_ddim.ipynb"
    pairs = [(member(name), notebook(size=1)), (member(name), notebook(size=2)),
             (member(ADA + "02_DDIM.ipynb", date=(2023, 1, 1, 0, 0, 0)), notebook(size=3))]  # fmt: skip
    with pytest.warns(UserWarning, match="Duplicate name"):
        source = zipped(tmp_path / "all.zip", [*pairs, (OTHER, BOOK)])
    by = {s.student.name: s for s in run(source)[0]}
    assert by["lovelaceada"].path.read_bytes() == notebook(size=2)
    assert any("is in the zip more than once" in note for note in by["lovelaceada"].notes)
    assert len({s.path.name.casefold() for s in by.values()}) == 2


def test_a_name_of_very_many_folders_is_kept_short(run, tmp_path):
    files = {ADA + "a/" * 5000 + "x.ipynb": BOOK, OTHER: BOOK}
    path = zipped(tmp_path / "all.zip", files)
    assert max(len(item.parts) for item in unpacking.find(path, tmp_path / "found")) <= unpacking.DEEPEST + 1
    by = {s.student.name: s for s in run(path)[0]}
    assert by["lovelaceada"].problem.endswith("lies too deep to be read.") and by["turingalan"].path


def test_very_long_names(run, tmp_path):
    files = {ADA + "x" * 40_000 + ".ipynb": BOOK, ADA[:-4] + "459_" + "y" * 200 + ".ipynb": b"[", OTHER: BOOK}
    by = {s.student.name: s for s in run(zipped(tmp_path / "all.zip", files))[0]}
    assert by["lovelaceada"].path and len(by["lovelaceada"].file) <= 200
    assert all(len(note) < 400 for note in by["lovelaceada"].notes)


def test_litter_is_passed_over_and_code_is_not_unpacked(run, tmp_path):
    files = {
        "ada/02_ddim.ipynb": BOOK,
        "ada/.ipynb_checkpoints/02_ddim-checkpoint.ipynb": BOOK,
        "ada/.DS_Store": b"x",
        "ada/conftest.py": b"raise SystemExit",
        "ada/torch.py": b"raise SystemExit",
        "__MACOSX/ada/._02_ddim.ipynb": b"x",
        "bob/02_ddim.ipynb": BOOK,
        "conftest.py": b"raise SystemExit",
    }
    for source in both(tmp_path, files):
        got, told = run(source)
        assert got[0].notes == ("Not read, since only notebooks are: “conftest.py”, “torch.py”.",)
        assert got[1].notes == () and len(got) == 2
        assert told == ["“conftest.py” was not read: it is no notebook and nobody's."]
        assert {p.suffix for p in got[0].path.parent.iterdir()} == {".ipynb"}


def test_nobody_hands_in_for_another_by_a_name(run, tmp_path):
    evil = {
        "eve/lovelaceada_123_456_02_ddim.ipynb": BOOK,
        "eve/Ada Lovelace_123_assignsubmission_file_/02_ddim.ipynb": BOOK,
        "eve/submission_metadata.yml": METADATA.encode(),
        "eve/submission_1/02_ddim.ipynb": BOOK,
    }
    for source in both(tmp_path, {**evil, "ada/02_ddim.ipynb": BOOK}):
        assert [s.student.name for s in run(source)[0]] == ["ada", "eve"]
    inside = {ADA + "02_ddim.ipynb": BOOK, "eve_999_998_x.zip": inner({k.removeprefix("eve/"): v for k, v in
                                                                       evil.items()})}  # fmt: skip
    by = {s.student.name: s for s in run(zipped(tmp_path / "canvas.zip", inside))[0]}
    assert set(by) == {"lovelaceada", "eve"} and by["lovelaceada"].notes == ()


# --- what one student hands in costs no other -----------------------------------------------------------


def test_a_lesson_of_few_counts_for_them_only(run, tmp_path):
    """grading.md F1: an empty notebook of another lesson lowered the marks of all."""
    files = {f"{name}/02_ddim.ipynb": BOOK for name in ("ada", "bob", "cy")}
    files |= {"eve/02_ddim.ipynb": BOOK, "eve/06.ipynb": notebook("06"), "zoe/": b""}
    source = folder(tmp_path / "all", files)
    got, told = run(source, ("00", "02", "06"), asked=False)
    assert [(s.student.key, s.lesson) for s in got] == [
        ("ada", "02"), ("bob", "02"), ("cy", "02"), ("eve", "02"), ("eve", "06"), ("zoe", "02")
    ]  # fmt: skip
    said = "Lesson 06 was handed in by 1 of 5 and counts for {}"
    assert told == [said.format("them only: name the lessons with --lesson.")]
    got, told = run(source, ("00", "02", "06"), asked=True)
    assert [s.lesson for s in got] == ["02", "06"] * 5
    assert told == [said.format("all, since it was named.")]
    assert run(source / "eve", ("00", "02", "06"), asked=False)[1] == []


def test_where_each_handed_in_another_lesson_each_has_their_own(run, tmp_path):
    files = {"ada/a.ipynb": notebook("00"), "bob/a.ipynb": notebook("02"), "cy/a.ipynb": notebook("")}
    got, told = run(folder(tmp_path / "all", files), ("00", "02"), asked=False)
    assert [(s.student.key, s.lesson, bool(s.path)) for s in got] == [
        ("ada", "00", True), ("bob", "02", True), ("cy", "00", False)
    ]  # fmt: skip
    assert len(told) == 2


def test_large_files_of_spaces_cost_their_own_student(run, tmp_path):
    """grading.md F4: the class was refused for a zip that unpacks to 200 times its size."""
    spaces = {ADA.replace("456", f"45{k}") + "02_ddim.ipynb": b" " * 21_000_000 for k in range(3)}
    by = {s.student.name: s for s in run(zipped(tmp_path / "all.zip", {**spaces, OTHER: BOOK}))[0]}
    assert by["turingalan"].path and not by["turingalan"].notes
    assert "unpacks to more than 200 times its size, and is not read. Clear the" in by["lovelaceada"].problem


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0f73", "\u0f81\u0301"])
def test_names_of_very_many_marks_are_shown_with_few(run, tmp_path, marks):
    """grading.md F4: sorting 20 KB of marks took half a second a name."""
    name = ADA + "x" + marks * (20_000 // len(marks.encode())) + "y.ipynb"
    by = {s.student.name: s for s in run(zipped(tmp_path / "all.zip", {name: BOOK, OTHER: BOOK}))[0]}
    assert by["lovelaceada"].path and by["turingalan"].path
    assert re.fullmatch("x.{1,90}y.ipynb", by["lovelaceada"].file)


# --- handing in for another -----------------------------------------------------------------------------


def test_a_list_of_submitters_counts_in_an_export_of_gradescope_only(run, tmp_path):
    """grading.md F5: a zip with a list of its own handed in for others."""
    forged = {"submission_metadata.yml": METADATA.encode(), "submission_1/02_ddim.ipynb": BOOK}
    said = "“{}submission_metadata.yml” was not taken for Gradescope's list of who handed in what"
    (one,), told = run(zipped(tmp_path / "late_eve.zip", forged))
    assert one.student.ids == {} and one.student.name in ("submission_1", "late_eve")
    assert [line.startswith(said.format("")) for line in told] == [True]
    nothing = zipped(tmp_path / "none.zip", {"ada/02_ddim.ipynb": BOOK})
    assert "There is no submission_metadata.yml in none" in run(nothing, gradescope=True)[1][0]
    got, told = run(tmp_path / "late_eve.zip", gradescope=True)
    assert {s.student.name for s in got} == {"Ada Lovelace", "Alan Turing"} and told == []
    # Beside files that are no export, or with one submission only, it is a name that anybody can give.
    loose = {"ada.ipynb": BOOK, "bob.ipynb": BOOK, "assignment_1_export.zip": inner(forged)}
    for source in both(tmp_path, loose):
        got, told = run(source)
        assert {s.student.name for s in got} >= {"ada", "bob"} and not any(s.student.ids for s in got)
        assert len(told) == 1 and "--lms gradescope" in told[0]
    one = METADATA[: METADATA.index("submission_2")]
    alone = {"assignment_1_export/submission_metadata.yml": one.encode(),
             "assignment_1_export/submission_1/02_ddim.ipynb": BOOK}  # fmt: skip
    assert not any(s.student.ids for s in run(folder(tmp_path / "one", alone))[0])
    for name in ("assignment_5_export.zip", "assignment_5_export (1).zip"):
        got, told = run(zipped(tmp_path / name, forged))
        assert {s.student.name for s in got} == {"Ada Lovelace", "Alan Turing"} and told == []


def test_names_and_ids_of_a_list_of_submitters_are_text(run, tmp_path):
    listed = (
        METADATA.replace("'77'", "[[1]]").replace("ada@b.c", "{a: 1}").replace("Grace Hopper", "x" * 10**6)
    )
    files = {"submission_metadata.yml": listed.encode(), "submission_1/02_ddim.ipynb": BOOK,
             "submission_2/02_ddim.ipynb": BOOK}  # fmt: skip
    got, _ = run(folder(tmp_path / "all", files), gradescope=True)
    assert {s.student.name: s.student.ids for s in got if len(s.student.name) < 50} == {
        "Ada Lovelace": {}, "Alan Turing": {"sid": "78", "email": "alan@b.c"}
    }  # fmt: skip
    assert max(len(s.student.name) for s in got) <= 120


CLASS = {f"student{k}_{10 + k}_{98800 + k}_02_ddim.ipynb": BOOK for k in range(4)}


@pytest.mark.parametrize("name, ids", [
    ("mallory_11_98866_72_98888_x.ipynb", "72"),  # 11 is student1
    ("mallory_77_98866_78_98888_x.ipynb", ""),  # user 77's '78_98888_x', or of 78, called 'mallory_77_98866'
    ("mallory_77_9_78_9_x.ipynb", ""),  # no upload is near to the others
    ("ada_77_98866_2_ddim.ipynb", "77"),  # upload 2 is far from the others
    ("ada_77_98866_2024_11_30_homework.ipynb", "77"),
    ("o_brien_77_98866_02_ddim.ipynb", "77"),
    ("ada_LATE_77_98866_1_1_x.ipynb", "77"),
    ("student1_11_98866_78_98888_x.ipynb", ""),  # by its name, too, it could be student1's
])  # fmt: skip
def test_numbers_in_a_name_of_canvas_hand_in_for_nobody_else(run, tmp_path, name, ids):
    """grading.md F5: somebody called 'Mallory_ 11_66' was read as user 11."""
    for source in both(tmp_path, {**CLASS, name: BOOK}):
        got, told = run(source)
        assert len(got) == 5 and all(s.path for s in got)
        by = {s.student.ids.get("canvas_id", ""): s.student.name for s in got}
        assert by["11"] == "student1" and ids in by and by.get("") in (None, name)
        assert len(told) == (not ids) and all("can be read as the file of user" in line for line in told)


def test_what_was_typed_by_a_name_with_numbers_is_nobody_elses(run, tmp_path):
    files = {**CLASS, "mallory_77_98866_78_text.html": b"typed"}
    got, told = run(zipped(tmp_path / "all.zip", files))
    assert not {"77", "78"} & {s.student.ids.get("canvas_id") for s in got} and len(told) == 1


def test_canvas_beside_a_readme_and_a_folder(run, tmp_path):
    files = {ADA + "02_ddim.ipynb": BOOK, OTHER: BOOK, "README.txt": b"", "notes.pdf": b"", "old/a.txt": b""}
    assert {"123", "124"} <= {s.student.ids.get("canvas_id") for s in run(folder(tmp_path / "all", files))[0]}


def test_the_greater_upload_of_canvas_counts(run, tmp_path):
    """reports.md 40: a file's own '-7' was taken for Canvas's count."""
    files = {"ada_1_100_homework-7.ipynb": notebook(size=1), "ada_1_200_homework.ipynb": BOOK, OTHER: BOOK}
    by = {s.student.name: s for s in run(zipped(tmp_path / "all.zip", files))[0]}
    assert by["ada"].path.read_bytes() == BOOK and "the last that was handed in" in by["ada"].notes[0]


# --- large, odd, and not what it is called --------------------------------------------------------------


def with_outputs(outputs, **cell):
    """A notebook of one code cell."""
    made = {"cell_type": "code", "id": "a", "metadata": {}, "source": "x", "outputs": outputs,
            "execution_count": 1, **cell}  # fmt: skip
    told = {"toolkit": {"lesson": "02"}, "widgets": {"state": {"a": [{}]}}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": told, "cells": [made]}).encode()


@functools.cache
def noise(size):
    """Text of twice this length that no zip makes much smaller."""
    return random.Random(1).randbytes(size).hex()


def large():
    """Outputs that are honest and large: {kind: output}."""
    points = [k % 1000 / 7 for k in range(300_000)]
    return {
        "animation": {"data": {"text/html": '<img src="data:' + noise(11_000_000) + '">\\'}},
        "curve": {"data": {"application/json": {"data": [{"x": points, "y": points * 2}]}}},
        "table": {"data": {"application/json": [{"x": [k, "]}"]} for k in range(250_000)]}},
        "small": {"data": {"application/json": [[] for _ in range(201_000)]}},
    }


def test_outputs_play_no_part_however_large(run, tmp_path):
    """grading.md F8, reports.md 43: 25 MB of honest outputs scored 0."""
    source = 'x = "\\"outputs\\": [1]"\n# "attachments": {'
    made = {kind: with_outputs([one], source=source) for kind, one in large().items()}
    made["utf16"] = with_outputs(["é" * 400_000], source=source).decode("utf8").encode("utf-16")
    made["photo"] = with_outputs([], source=source, attachments={"a.png": {"image/png": noise(11_000_000)}})
    got, _ = run(zipped(tmp_path / "all.zip", {f"{kind}/02_ddim.ipynb": raw for kind, raw in made.items()}))
    assert len(got) == len(made)
    for one in got:
        assert one.path and not one.problem and one.notes == (), one
        assert one.path.stat().st_size < 5000
        (cell,) = read_notebook(one.path).cells
        assert cell.source == source and cell.outputs == []
    (one,), _ = run(folder(tmp_path / "ada", {"in.zip": inner({"02_ddim.ipynb": made["curve"]})}))
    assert one.path


def test_what_is_cut_out_is_outputs_and_nothing_else(tmp_path):
    path = tmp_path / "a.ipynb"
    for raw in (b"", b"{}", b'{"outputs": [', b'{"outputs": [[}', b'"outputs": "[]"', b'["outputs", [1]]',
                b'{"a": "\\"outputs\\": [1]"}', b"[" * 100_000, b'{"outputs": ' + b"[" * 60 + b"]" * 60,
                b'"\\', b"\xff\xfe\x00"):  # fmt: skip
        path.write_bytes(raw)
        assert bare.write_bare(path) == len(raw) and path.read_bytes() == raw
    path.write_bytes(b'{"outputs" : [{"a": "]"}], "b": {"outputs":[]}, "widgets":{"c": 1}, "d": 1}')
    bare.write_bare(path)
    assert path.read_bytes() == b'{"outputs" : [], "b": {"outputs":[]}, "widgets":{}, "d": 1}'


PIECES = ['"', "\\", "[", "]", "{", "}", ":", ",", "outputs", '"outputs": [', "\n", "é", "widgets", "a"]


def some_json(draw, depth=0):
    """A value of JSON whose texts look like parts of JSON."""
    kind = draw.random() if depth < 5 else 0
    if kind < 0.4:
        return "".join(draw.choices(PIECES, k=draw.randint(0, 8)))
    if kind < 0.6:
        return [some_json(draw, depth + 1) for _ in range(draw.randint(0, 4))]
    if kind < 0.8:
        return {draw.choice(PIECES): some_json(draw, depth + 1) for _ in range(draw.randint(0, 4))}
    return draw.choice([1, None, True, -2500.0])


def without_outputs(value):
    """By the parts of what was read, where `bare` goes by the text."""
    if isinstance(value, dict):
        cut = {k for k in ("outputs", "attachments", "widgets") if isinstance(value.get(k), (list, dict))}
        return {k: type(v)() if k in cut else without_outputs(v) for k, v in value.items()}
    return [without_outputs(one) for one in value] if isinstance(value, list) else value


def test_what_is_left_is_what_reading_it_says(tmp_path, seed):
    path = tmp_path / "a.ipynb"
    for n in range(300):
        draw = random.Random(1000 * seed + n)
        cell = {key: some_json(draw) for key in ("source", "outputs", "metadata", "attachments")}
        content = {"cells": [cell, {"outputs": [some_json(draw)]}], "metadata": {"widgets": some_json(draw)}}
        path.write_text(json.dumps(content, ensure_ascii=n % 2 > 0, indent=draw.choice([None, 1])), "utf8")
        assert bare.write_bare(path) == path.stat().st_size
        assert json.loads(path.read_text("utf8")) == without_outputs(content)


def test_what_is_still_too_much_is_told_what_to_do(run, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "LARGEST_FILE", 600_000)
    big = with_outputs([{"a": noise(400_000)}])
    for place in both(tmp_path, {ADA + "02_ddim.ipynb": big, OTHER: BOOK}):
        by = {s.student.name: s for s in run(place)[0]}
        assert by["lovelaceada"].problem.endswith(f"is larger than 0 MB. {unpacking.CLEAR}")
    many = with_outputs([]).replace(b'"metadata": {}', b'"metadata": {"a": [%s]}' % (b"1," * 600_000 + b"1"))
    cells = json.loads(BOOK)
    cells["cells"] *= 5001
    source = folder(tmp_path / "more", {"ada/02.ipynb": many, "bob/02.ipynb": json.dumps(cells).encode()})
    ada, bob = run(source)[0]
    assert ada.problem.endswith(unpacking.CLEAR) and "holds 5,001 cells" in bob.problem


NO_NOTEBOOK = {
    b"": "is empty",
    b" \n": "is empty",
    b"\0" * 5000: "holds nothing but zeros",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n": "is only Git LFS's pointer",
    b"\n<!DOCTYPE html>\n<html></html>": "is a web page",
    b"\xef\xbb\xbf<HTML lang=de>": "is a web page",
    b"%PDF-1.7\n": "is a PDF",
    b"PK\3\4more": "is a zip",
    b"\x89PNG\r\n": "is a picture",
    b"<?xml version='1.0'?>": "is an XML file",
    b'{\n<<<<<<< HEAD\n "cells": [],\n=======\n "cells": [1],\n>>>>>>> x\n}': "marks of an unfinished merge",
    b'{"cells": [': "it is not JSON. Was the download or the save cut off?",
}


def test_what_is_no_notebook_is_called_what_it_is(run, tmp_path):
    """reports.md 42: a merge conflict, a web page and an LFS pointer were “not JSON”."""
    source = folder(tmp_path / "all", {f"s{k:02}/02_ddim.ipynb": raw for k, raw in enumerate(NO_NOTEBOOK)})
    for one, said in zip(run(source)[0], NO_NOTEBOOK.values(), strict=True):
        assert one.path is None and one.problem.startswith("“02_ddim.ipynb” ") and said in one.problem
    text = with_outputs([], source="<<<<<<< HEAD\n=======\n>>>>>>> other")
    assert run(folder(tmp_path / "one", {"ada/02.ipynb": text}))[0][0].path


@pytest.mark.parametrize(
    "odd", [{"source": 5}, {"source": None}, {"source": {"a": 1}}, {"source": ["x", 1]}, "x", 7]
)
def test_a_cell_without_text_costs_itself_only(run, tmp_path, odd):
    """grading.md F15: a number as the source of one cell cost the whole file."""
    content = json.loads(with_outputs([], source="x = 1"))
    content["cells"].insert(0, {**content["cells"][0], "id": "b", **odd} if isinstance(odd, dict) else odd)
    ((one,), _) = run(folder(tmp_path / "all", {"ada/02.ipynb": json.dumps(content).encode()}))
    assert [cell.source for cell in read_notebook(one.path).cells if cell.source] == ["x = 1"]
    assert one.notes == ("In “02.ipynb” cell 1, counted from the top, has no text and was taken as empty.",)


# --- clones, checkpoints, zones -------------------------------------------------------------------------


def lessons_own(folder, lesson="00"):
    """The lesson's notebook as it is in the project."""
    return (ROOT / folder / record.load(lesson).notebook).read_bytes()


def test_of_a_clone_the_exercise_is_graded_and_not_the_solution(run, tmp_path):
    """reports.md 37: a clone was graded from its solutions/, with full marks."""
    clone = {"exercises/00_start_here.ipynb": lessons_own("exercises"),
             "solutions/00_start_here.ipynb": lessons_own("solutions")}  # fmt: skip
    moodle = "Ada Lovelace_11_assignsubmission_file_/"
    other = {"Bob B_12_assignsubmission_file_/00_start_here.ipynb": lessons_own("exercises")}
    for name, files in {
        "zip": {moodle + "repo.zip": inner({f"repo/{k}": v for k, v in clone.items()}), **other},
        "folder": {moodle + k: v for k, v in clone.items()} | other,
    }.items():
        by = {s.student.name: s for s in run(folder(tmp_path / name, files), ("00",))[0]}
        assert by["Ada Lovelace"].path.read_bytes() == lessons_own("exercises")
        assert by["Ada Lovelace"].flags == () and "not the book's own solution" in by["Ada Lovelace"].notes[0]
    ((one,), _) = run(folder(tmp_path / "classroom", clone), ("00",), alone=True)
    assert one.path.read_bytes() == lessons_own("exercises")


def test_the_shipped_solution_is_flagged(run, tmp_path):
    files = {"ada/a.ipynb": lessons_own("solutions"), "bob/a.ipynb": lessons_own("exercises"),
             "cy/a.ipynb": lessons_own("solutions").replace(b"### BEGIN SOLUTION", b"# mine")}  # fmt: skip
    ada, bob, cy = run(folder(tmp_path / "all", files), ("00",))[0]
    assert ada.path and ada.flags == (SHIPPED,) and bob.flags == cy.flags == ()
    for lesson in registry.lessons():
        files = {
            "ada/a.ipynb": lessons_own("solutions", lesson),
            "bob/a.ipynb": lessons_own("exercises", lesson),
        }
        ada, bob = run(folder(tmp_path / lesson, files), (lesson,))[0]
        assert (ada.flags, bob.flags) == ((SHIPPED,), ())


@pytest.mark.parametrize("student", ["ada", "Ada Lovelace_1_assignsubmission_file_"])
def test_only_a_checkpoint_is_graded_and_said(run, tmp_path, student):
    """reports.md 38: the student vanished."""
    checkpoint = f"{student}/.ipynb_checkpoints/02_ddim-checkpoint.ipynb"
    others = {student.replace("_1_", f"_{k}_") if "_1_" in student else f"s{k}": BOOK for k in (2, 3)}
    files = {f"{name}/02_ddim.ipynb": raw for name, raw in others.items()}
    for place in both(tmp_path, {**files, checkpoint: notebook(size=7)}):
        one = next(s for s in run(place)[0] if s.path and s.path.read_bytes() == notebook(size=7))
        assert one.file == "02_ddim.ipynb" and one.student.name.lower().startswith("ada")
        assert one.notes == (
            "Only JupyterLab's own copy of “02_ddim.ipynb”, in .ipynb_checkpoints, was handed in; it was "
            "graded.",
        )
    files[f"{student}/02_ddim.ipynb"] = BOOK  # with the file itself the copy counts for nothing, newer or not
    for place in both(tmp_path, {**files, checkpoint: notebook(size=7)}, "again"):
        got, told = run(place)
        assert (
            all(s.path.read_bytes() == BOOK and s.notes == () for s in got) and told == [] and len(got) == 3
        )


def test_checkpoints_of_the_instructor_are_nobodys(run, tmp_path):
    old = ".ipynb_checkpoints/{}-checkpoint.ipynb"
    files = {
        "ada.ipynb": BOOK,
        "bob.ipynb": BOOK,
        old.format("ada"): notebook(size=3),
        old.format("zoe"): BOOK,
    }
    got, told = run(folder(tmp_path / "all", files))
    assert [(s.student.key, s.path.read_bytes()) for s in got] == [("ada", BOOK), ("bob", BOOK)]
    assert told == ["“zoe.ipynb” was not read: it is JupyterLab's copy of a file that is not there."]


STAMPS = {
    "2026-07-04 12:00:01.000000 EDT": True,  # 16:00:01 UTC
    "2026-07-04 11:59:59 EDT": False,
    "2026-07-04 18:00:01 CEST": True,
    "2026-07-04 17:59:59 CEST": False,
    "2026-07-04 09:00:01.5 PDT": True,
    "2026-07-05 01:00:01 JST": True,
    "2026-07-04 16:00:01 UTC": True,
    "2026-07-04 12:00:01 America/New_York": True,
    "2026-07-04 12:00:01 -0400": True,
}


def test_abbreviations_of_zones_are_understood(run, tmp_path):
    """reports.md 39: a time in EDT was on time whenever it was."""
    files = {}
    for k, stamp in enumerate(STAMPS):
        files[f"submitted/s{k}/00/02_ddim.ipynb"] = BOOK
        files[f"submitted/s{k}/00/timestamp.txt"] = stamp.encode()
    got, told = run(folder(tmp_path / "all", files), due=datetime(2026, 7, 4, 16, tzinfo=UTC))
    assert [s.late for s in got] == list(STAMPS.values()) and told == []


@pytest.mark.parametrize("stamp", ["2026-07-04 12:00:01 XYZT", "2026-07-04 12:00:01 ../../etc", "yesterday"])
def test_a_time_that_is_not_understood_is_said(run, tmp_path, stamp):
    files = {"submitted/ada/00/02_ddim.ipynb": BOOK, "submitted/ada/00/timestamp.txt": stamp.encode()}
    source = folder(tmp_path / "all", files)
    ((one,), told) = run(source, due=datetime(2026, 7, 4, 16, tzinfo=UTC))
    assert not one.late and told == [
        f"1 time (ada: “{stamp}”) is not understood, and not compared with --due: a zone needs its offset, "
        "such as 2026-12-04 12:00:00 -0500."
    ]
    assert run(source)[1] == []


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system's zone cannot be set for a process")
def test_an_abbreviation_of_this_machines_zone_is_this_machines(run, tmp_path, monkeypatch):
    files = {
        "submitted/ada/00/02_ddim.ipynb": BOOK,
        "submitted/ada/00/timestamp.txt": b"2026-07-04 12:00:01 CST",
    }
    source, due = folder(tmp_path / "all", files), datetime(2026, 7, 4, 4, tzinfo=UTC)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        ((one,), told) = run(source, due=due)
    time.tzset()
    assert one.late and told == []


def test_a_second_download_of_a_named_file_is_the_same_students(run, tmp_path):
    """reports.md 41."""
    files = {"Ada L - 02_ddim.ipynb": BOOK, "Ada L - 02_ddim (1).ipynb": BOOK, "Bob B - 02_ddim.ipynb": BOOK}
    assert [s.student.name for s in run(folder(tmp_path / "all", files))[0]] == ["Ada L", "Bob B"]


# --- sources that cannot be read ------------------------------------------------------------------------


def test_sources_that_cannot_be_read(run, tmp_path):
    folder(tmp_path, {"x.txt": b"", "bad.zip": b"PK", "all/a/": b"", "none.zip": inner({})})
    for name, said in {
        "nowhere": "There is no file or folder",
        "x.txt": "is neither a notebook nor a zip nor a folder",
        "bad.zip": "cannot be unpacked: it is damaged or not a zip",
        "none.zip": "There is no notebook in none.zip",
    }.items():
        with pytest.raises(CollectError, match=said):
            run(tmp_path / name)
    with pytest.raises(CollectError, match="lies inside"):
        collect(tmp_path / "all", tmp_path / "all" / "into", ["02"])
    with pytest.raises(CollectError, match="is not empty"):
        collect(tmp_path / "none.zip", tmp_path / "all", ["02"])


def test_a_locked_class_is_told_for_each_student(run, tmp_path):
    (tmp_path / "all.zip").write_bytes(locked())
    (one,), _ = run(tmp_path / "all.zip")
    assert one.problem == "“02_ddim.ipynb” is locked with a password."


def test_the_source_stays_as_it_is(run, tmp_path):
    source = folder(
        tmp_path / "all", {"ada/02_ddim.ipynb": BOOK, "bob/w.zip": inner({"02_ddim.ipynb": BOOK})}
    )
    copy = shutil.copytree(source, tmp_path / "copy")
    run(source)
    names = sorted(p.relative_to(copy) for p in copy.rglob("*"))
    assert sorted(p.relative_to(source) for p in source.rglob("*")) == names
