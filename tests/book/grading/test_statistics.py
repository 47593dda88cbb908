"""Statistics of a class: shares, points, hunts, two runs; a page and a table that name nobody."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from book.__main__ import make_app
from book.grading import results, statistics
from book.grading.collect import collect
from book.grading.results import DONE, NOT_TRIED, NOT_YET, Graded, Student, TaskResult
from book.grading.statistics import Share
from tests.book.grading.test_collect import BOOK, zipped

NASTY = '=cmd|"<script>alert(1)</script>" was 0.25'


def one(who, *tasks, tries=0, problem=""):
    return Graded(Student(who, f"Name of {who}"), "00", "00.ipynb", tasks, "f", problem=problem, tries=tries)


def task(state, sentence="", name="0.1", **more):
    return TaskResult(name, "A title", 2, 2.0 * (state == DONE), state, sentence, **more)


CLASS = [
    one("ada", task(DONE), task(DONE, name="0.10"), tries=1),
    one("bob", task(NOT_YET, "Off by 0.5."), task(NOT_YET, NASTY, name="0.10"), tries=3),
    one("cy", task(NOT_YET, "Off by -1.25e-3."), task(NOT_TRIED, name="0.10")),
    one("dora", task(NOT_TRIED), task(NOT_YET, NASTY, name="0.10")),
    one("eve", task(NOT_TRIED), task(NOT_TRIED, name="0.10"), problem="No notebook."),
]


def test_shares_points_and_tries_of_those_who_could_be_graded():
    found = statistics.lines(CLASS)
    assert [(line.task, line.what) for line in found] == [
        ("0.1", "task"), ("0.1", "mistake"), ("0.10", "task"), ("0.10", "mistake"),
    ]  # fmt: skip
    first, told, _, nasty = found
    assert (first.share, first.tried, first.lost, first.tries) == (Share(1, 4), Share(3, 4), 6, 2.0)
    assert (told.share, told.lost, told.text) == (Share(2, 4), 4, "Off by -1.25e-3.")  # numbers apart, one
    assert nasty.share == Share(2, 4) and math.isnan(nasty.tries)
    assert math.isnan(statistics.lines([one("x", task(DONE))])[0].tries)


def test_what_is_left_of_hunts_is_counted_among_those_who_had_it():
    had = [
        one("ada", task(DONE, hunt=(0, 1))),
        one("bob", task(NOT_YET, "1 of 2 mistakes is still there. Hm.", kind="hunt", hunt=(0, 1), left=(1,))),
        one("cy", task(NOT_TRIED, "As given.", kind="as given", hunt=(0, 2), left=(0, 2))),
        one("dora", task(NOT_YET, "Another thing.", kind="value", hunt=(1, 2))),
    ]
    hunts = {line.text: line for line in statistics.lines(had) if line.what == "hunt"}
    from book.lessons import registry

    says = [mistake.says for mistake in registry.find("0.1").mistakes]
    assert {index: hunts[says[index]].share for index in range(3)} == {
        0: Share(1, 3), 1: Share(2, 3), 2: Share(2, 2),
    }  # fmt: skip
    assert sum(line.lost for line in hunts.values()) == 6  # what the three lost, once


def test_the_interval_of_a_difference_is_newcombes():
    """Newcombe 1998, Statistics in Medicine 17, 873, table II: method 10 for 56/70 less 48/80, and 9/10 less
    3/10."""
    for (a, m), (b, n), low, high in (((56, 70), (48, 80), 5.24, 33.39), ((9, 10), (3, 10), 17.05, 80.90)):
        found = statistics.change(Share(a, m), Share(b, n))
        assert found.difference == pytest.approx(100 * (a / m - b / n))
        assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
        assert found.clear
    assert not statistics.change(Share(3, 6), Share(2, 6)).clear
    assert statistics.change(Share(0, 0), Share(2, 6)) is None


def test_two_runs_are_compared_by_what_was_said():
    before = [one("ann", task(DONE)), one("ben", task(NOT_YET, "Off by 7."))]
    found = {(line.task, line.what): line for line in statistics.lines(CLASS, before)}
    assert found["0.1", "task"].change.before == Share(1, 2)
    assert found["0.1", "mistake"].change.before == Share(1, 2)
    assert found["0.10", "task"].change is None  # was not set
    gone = {(line.task, line.what): line for line in statistics.lines(CLASS, [one("ann", task(DONE))])}
    assert gone["0.1", "mistake"].change.before == Share(0, 1)


def test_the_page_and_the_table_name_nobody_and_run_nothing(tmp_path):
    for name, graded in (("now", CLASS), ("then", CLASS[:3])):
        (tmp_path / name).mkdir()
        (tmp_path / name / results.ALL).write_text(results.dump(graded), "utf8")
    run = CliRunner().invoke(
        make_app(),
        ["statistics", str(tmp_path / "now"), "--compare", str(tmp_path / "then"), "--title", "<b>"],
    )
    assert run.exit_code == 0, run.output
    page = (tmp_path / "now" / "statistics.html").read_text("utf8")
    text = (tmp_path / "now" / "statistics.csv").read_text("utf-8-sig")
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>" not in page
    for word in ("ada", "Name of"):
        assert word not in page and word not in text
    assert page.count("<caption>") == page.count("<table") == 2 and 'scope="row"' in page
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["task"] == "task 0.1" and rows[0]["before of"] == "3"
    assert all(not cell.startswith(("=", "@", "+")) for row in rows for cell in row.values())


def test_how_often_a_lesson_was_handed_in(tmp_path):
    """Canvas's zip holds the last upload, whose name counts those before; of a folder the files count."""
    canvas = {"turingalan_124_457_02_ddim-2.ipynb": BOOK, "lovelaceada_123_456_02_ddim.ipynb": BOOK}
    folders = {"ada/02_ddim.ipynb": BOOK, "ada/02_ddim (1).ipynb": BOOK, "bob/02_ddim.ipynb": BOOK}
    for n, files in enumerate((canvas, folders)):
        into = tmp_path / f"into{n}"
        into.mkdir()
        found = collect(zipped(tmp_path / f"{n}.zip", files), into, ["02"])
        assert sorted(one.tries for one in found) == [[1, 3], [1, 2]][n]


def test_results_go_to_a_file_and_back():
    graded = [replace(CLASS[0], issued="ada"), one("z", task(DONE, hunt=(1, 2), left=(2,)))]
    assert results.load(results.dump(graded)) == graded
    assert results.dump(results.load(results.dump(graded))) == results.dump(graded)


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '[{"student": {}}]', "[" * 10_000])
def test_what_holds_no_results_is_refused_in_one_sentence(text, tmp_path):
    if text is not None:
        (tmp_path / results.ALL).write_text(text)
    with pytest.raises(statistics.StatisticsError, match=r"toolkit grade|grade again|no result"):
        list(statistics.lines(statistics.read(tmp_path)))


@pytest.mark.parametrize(
    ("key", "value"),
    [("points", "x"), ("points", math.nan), ("score", None), ("sentence", 5), ("task", None)]
    + [("hunt", ["a"]), ("hunt", [-1]), ("left", [None]), ("title", {})],
)
def test_an_edited_result_is_refused_in_one_sentence(key, value, tmp_path):
    raw = [results.to_json(one("ada", task(NOT_YET, "Off.")))]
    raw[0]["tasks"][0][key] = value
    (tmp_path / results.ALL).write_text(json.dumps(raw))
    with pytest.raises(statistics.StatisticsError, match="grade again"):
        statistics.read(tmp_path)
