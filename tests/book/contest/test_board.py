"""The leaderboard and the commands."""

import json
import multiprocessing
import os
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from book.contest import board as boards
from book.contest import commands
from book.contest.judge import Result, read_source
from book.contest.rules import Refused, Rules

RULES = Rules(calls=(1, 2), seeds=2)


def result(name, *values, size=1000):
    scores = [{"frechet": value, "obeyed": 1.0, "copies": 0.0, "near": 0.0} for value in values]
    return Result(name, size, {1: scores, 2: scores})


def enter(path, name):
    boards.enter(path, result(name, 1.0, 1.1), RULES)


def test_two_who_enter_at_once_are_both_there(tmp_path):
    path = tmp_path / "contest.json"
    context = multiprocessing.get_context("fork")
    many = [context.Process(target=enter, args=(path, f"e{i}")) for i in range(8)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    assert sorted(boards.read(path)["entries"]) == [f"e{i}" for i in range(8)]


def test_the_last_run_counts_and_runs_are_counted(tmp_path):
    path = tmp_path / "contest.json"
    for value in (0.5, 2.0):
        boards.enter(path, result("a", value, value), RULES)
    (row,) = boards.rows(boards.read(path))
    assert row["overall"].mean == pytest.approx(2.0) and row["runs"] == 2


def test_a_board_has_one_set_of_rules(tmp_path):
    path = tmp_path / "contest.json"
    boards.enter(path, result("a", 1, 1), RULES)
    with pytest.raises(ValueError, match="seconds differ"):
        boards.enter(path, result("b", 1, 1), replace(RULES, seconds=10.0))
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a leaderboard"):
        boards.enter(path, result("a", 1, 1), RULES)
    assert path.read_text() == "[]"


def test_the_table_orders_by_the_mean_and_puts_what_has_no_score_last(tmp_path):
    path = tmp_path / "contest.json"
    for name, values in {"slow": (3, 3.1), "fast": (1, 1.01), "tied": (1, 1.02)}.items():
        boards.enter(path, result(name, *values), RULES)
    bad = Result("bad", 0, {1: [{"why": "late"}] * 2, 2: result("", 0.1, 0.1).columns[1]})
    boards.enter(path, bad, RULES)
    rows = boards.rows(boards.read(path))
    assert [(row["name"], row["place"]) for row in rows] == [
        ("fast", 1), ("tied", 1), ("slow", 3), ("bad", None)
    ]  # fmt: skip
    assert rows[-1]["why"] == ["late"] and rows[-1]["columns"]["2"][1] == 1
    shown = CliRunner().invoke(commands.contest, ["table", "--board", str(path)]).output
    assert "not scored: late" in shown and "#1" in shown


def test_marks_do_not_depend_on_the_others(tmp_path):
    path = tmp_path / "contest.json"
    for name, value in {"w": 0.5, "x": 4.0, "y": 2.0, "z": 1.0}.items():
        boards.enter(path, result(boards.BASELINE + name, value, value), RULES)
    boards.enter(path, result("me", 2**0.5, 2**0.5), RULES)
    alone = boards.marks(boards.read(path))
    boards.enter(path, result("better", 0.1, 0.1), RULES)
    assert alone == {"me": 5.0} and boards.marks(boards.read(path)) == {"better": 10.0, "me": 5.0}


def test_names_are_fit_for_tables_and_cannot_be_a_baseline_s(tmp_path):
    for name in ("=cmd", "baseline: ddim", "-a, b"):
        (tmp_path / f"{name}.py").write_text("")
    assert sorted(commands._files(tmp_path, False)) == ["_cmd", "a_ b", "baseline_ ddim"]
    (tmp_path / "+cmd.py").write_text("")
    with pytest.raises(ValueError, match="one name"):
        commands._files(tmp_path, False)


def test_what_is_asked_wrongly_ends_in_a_sentence(tmp_path):
    def said(*arguments):
        done = CliRunner().invoke(commands.contest, [*arguments])
        assert done.exit_code == 2 and not isinstance(done.exception, ValueError)
        return done.output

    none = tmp_path / "none.json"
    assert "no entries yet" in said("table", "--board", str(none))
    assert "--baselines" in said("run", "--board", str(none))
    assert "no entry" in said("run", str(tmp_path / "none"), "--board", str(none))
    assert "above 0" in said("run", "--baselines", "--seconds", "0", "--board", str(none))
    assert "not known" in said("run", "--baselines", "--isolation", "hope")
    none.write_text(json.dumps({"rules": {}, "entries": {}}))
    assert "other rules" in said("run", "--baselines", "--board", str(none))


def test_baselines_are_listed_and_copied_once(tmp_path):
    names = sorted(p.stem for p in commands.FOLDER.glob("*.py") if p.stem != "__init__")
    done = CliRunner().invoke(commands.contest, ["baselines", str(tmp_path / "mine")])
    assert done.exit_code == 0 and all(name in done.output for name in names)
    assert sorted(p.stem for p in (tmp_path / "mine").glob("*.py")) == names
    assert CliRunner().invoke(commands.contest, ["baselines", str(tmp_path / "mine")]).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"entries": {"a": 5}}',
        '{"rules": [1], "entries": {}}',
        '{"entries": {"a": {"size": 1, "runs": 1, "columns": {"1": [{"frechet": "1"}]}}}}',
        '{"entries": {"a": {"size": 1, "runs": 1, "columns": {"1": [{"frechet": NaN}]}}}}',
        '{"entries": {"a": {"size": 1, "runs": 1, "columns": {"x": [{"frechet": 1}]}}}}',
        '{"entries": {"a": {"size": "<b>", "runs": 1, "columns": {}}}}',
        '{"entries": {"\\u001b[31m": {"size": 1, "runs": 1, "columns": {}}}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_board_is_refused_and_kept(text, tmp_path):
    path = tmp_path / "contest.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a leaderboard"):
        boards.enter(path, result("a", 1.0), RULES)
    done = CliRunner().invoke(commands.contest, ["table", "--board", str(path)])
    assert done.exit_code == 2 and "not a leaderboard" in done.output and path.read_text() == text


def test_entries_of_other_alphabets_are_told_apart(tmp_path):
    for name in ("Änne", "Özge", "李四", "張三", "\uff1dcmd"):  # a wide "=" would be one for a spreadsheet
        (tmp_path / f"{name}.py").write_text("")
    assert sorted(commands._files(tmp_path, False)) == sorted(["Änne", "Özge", "李四", "張三", "_cmd"])


def test_a_link_or_a_pipe_is_no_entry_and_is_not_opened(tmp_path):
    """One leads out of the folder, or to what has no end; of the other nobody holds the far side."""
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "bom.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    for name in ("zero", "pipe"):
        with pytest.raises(Refused, match="no file"):
            read_source(tmp_path / f"{name}.py", RULES)
    assert read_source(tmp_path / "bom.py", RULES) == "x = 1\n"


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e300", "-1"])
def test_seconds_are_some(seconds, tmp_path):
    board = str(tmp_path / "contest.json")
    done = CliRunner().invoke(
        commands.contest, ["run", "--baselines", "--seconds", seconds, "--board", board]
    )
    assert done.exit_code == 2 and "at most a day" in done.output
