"""The leaderboard: one JSON file, changed under one lock and in one move."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from book.contest import scoring
from book.contest.judge import Result
from book.contest.rules import Rules
from book.grading.text import line
from toolkit.files import write_file

BASELINE = "baseline: "
"""How the names of the organiser's own entries begin; no file's name can contain a colon on the board."""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # given back when the file is closed, or its process ends
        yield


def read(path: Path) -> dict:
    """{"rules": ..., "entries": {name: ...}} of a board; empty where there is no file.  Raises ValueError."""
    try:
        board = json.loads(path.read_text("utf8"))
    except FileNotFoundError:
        return {"rules": None, "entries": {}}
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a leaderboard ({error})") from None
    if not isinstance(board, dict) or not isinstance(board.get("entries"), dict):
        raise ValueError(f"{path} is not a leaderboard (it has no entries)")
    if not isinstance(board.setdefault("rules", None), dict | None):
        raise ValueError(f"{path} is not a leaderboard (its rules are none)")
    for name, entry in board["entries"].items():
        if line(name, 60) != name or not _fits(entry):
            raise ValueError(f"{path} is not a leaderboard (its entry {name!r:.60} cannot be read)")
    return board


def _fits(entry) -> bool:
    """Whether an entry is one as `enter` writes them."""
    try:
        whole = all(type(entry[key]) is int and entry[key] >= 0 for key in ("size", "runs"))
        columns = entry["columns"]
        return (
            whole
            and all(calls.isdecimal() and isinstance(found, list) for calls, found in columns.items())
            and all(_is_score(one) for found in columns.values() for one in found)
        )
    except (TypeError, KeyError, AttributeError):
        return False


def _is_score(one: dict) -> bool:
    value = one.get("frechet")
    return isinstance(one.get("why"), str) if value is None else math.isfinite(value) and value >= 0


def check(path: Path, rules: Rules) -> None:
    """Raise ValueError where the board was made by other rules, so that nothing on it could be compared."""
    board = read(path)
    if board["rules"] not in (None, rules.told()):
        old = board["rules"]
        now = [name for name, value in rules.told().items() if old.get(name) != value]
        raise ValueError(f"{path} has other rules ({', '.join(now)} differ): name another file by --board")


def enter(path: Path, result: Result, rules: Rules) -> None:
    """Put a result on the board.  An entry's last run counts, not its best, and its runs are counted."""
    with _locked(path):
        check(path, rules)
        board = read(path)
        runs = board["entries"].get(result.name, {}).get("runs", 0) + 1
        columns = {str(calls): scores for calls, scores in result.columns.items()}
        board["rules"] = rules.told()
        board["entries"][result.name] = {"size": result.size, "runs": runs, "columns": columns}
        write_file(path, json.dumps(board, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def rows(board: dict) -> list[dict]:
    """The table: {"name", "place", "overall", "columns": {calls: (interval or None, place or None)}, "why",
    "size", "runs"}, in the order of the overall means, what has none at the end by name."""
    entries = board["entries"]
    overall = {name: scoring.overall(one["columns"]) for name, one in entries.items()}
    place = scoring.places(overall)
    numbers = sorted({calls for one in entries.values() for calls in one["columns"]}, key=int)
    columns = {}
    for calls in numbers:
        found = {name: scoring.column(one["columns"].get(calls, [])) for name, one in entries.items()}
        columns[calls] = (found, scoring.places(found))
    table = [
        {
            "name": name,
            "place": place.get(name),
            "overall": overall[name],
            "columns": {calls: (found[name], at.get(name)) for calls, (found, at) in columns.items()},
            "why": sorted(
                {one["why"] for scores in entry["columns"].values() for one in scores if "why" in one}
            ),
            "size": entry["size"],
            "runs": entry["runs"],
        }
        for name, entry in entries.items()
    ]
    order = lambda row: (row["overall"] is None, row["overall"].mean if row["overall"] else 0, row["name"])
    return sorted(table, key=order)


def marks(board: dict) -> dict[str, float]:
    """{name: points} of the entries that are no baselines.  Raises ValueError without enough baselines."""
    entries = board["entries"]
    known = [one["columns"] for name, one in entries.items() if name.startswith(BASELINE)]
    return {
        name: scoring.points(one["columns"], known)
        for name, one in sorted(entries.items())
        if not name.startswith(BASELINE)
    }
