"""The command `toolkit contest`: run, table and baselines.  What it needs is imported inside."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

contest = typer.Typer(
    help="The best digits at 1, 2, 4 and 8 calls.", no_args_is_help=True, rich_markup_mode=None
)

BOARD = Annotated[Path, typer.Option(help="The leaderboard, a JSON file.")]
FOLDER = Path(__file__).parent / "baselines"


def _fail(sentence) -> typer.Exit:
    typer.echo(f"{sentence}.", err=True)
    return typer.Exit(2)


def _files(given: Path | None, baselines: bool) -> dict[str, Path]:
    """{name on the board: file} of entries, in order.  Raises ValueError."""
    from book.contest.board import BASELINE

    if (given is None) != baselines:
        raise ValueError("name a file or a folder of entries, or give --baselines")
    folder = FOLDER if baselines else given
    found = [folder] if folder.is_file() else sorted(p for p in folder.glob("*.py") if p.stem != "__init__")
    if not found:
        raise ValueError(f"{folder} is no entry, and no folder of entries (*.py)")
    named = {}
    for path in found:
        stem = unicodedata.normalize("NFKC", path.stem)
        name = re.sub(r"[^\w -]", "_", stem).strip(" -")[:40] or "unnamed"
        if name in named:
            raise ValueError(f"{path.name} and {named[name].name} would have one name on the board: {name}")
        named[name] = path
    return {f"{BASELINE}{name}": path for name, path in named.items()} if baselines else named


@contest.command()
def run(
    entry: Annotated[Path | None, typer.Argument(help="An entry, or a folder of entries (*.py).")] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Run the baselines that ship.")] = False,
    seconds: Annotated[float, typer.Option(help="Of training.")] = 90.0,
    seeds: Annotated[int, typer.Option(help="How many trainings.")] = 3,
    board: BOARD = Path("contest.json"),
    csv: Annotated[Path | None, typer.Option(help="Write points there, for a course.")] = None,
    isolation: Annotated[
        str, typer.Option(help="bubblewrap; or limits, which enters nothing.")
    ] = "bubblewrap",
):
    """Train and score entries in the sandbox, and put them on the leaderboard.

    The exit code is 0 when every column of every entry was scored, 1 when one was not (the table says why),
    2 when nothing was run.
    """
    from book.contest import board as boards
    from book.contest.judge import Judge
    from book.contest.rules import Rules
    from book.grading.sandbox import NoSandbox

    if isolation not in ("bubblewrap", "limits"):
        raise _fail(f"--isolation {isolation} is not known; use bubblewrap or limits")
    try:
        rules = replace(Rules(), seconds=seconds, seeds=seeds)
        files, scored = _files(entry, baselines), True
        boards.check(board, rules)
        with Judge(rules, isolation) as judge:
            for name, path in files.items():
                result = _judged(judge, name, path)
                scored &= all("frechet" in s for found in result.columns.values() for s in found)
                if isolation == "limits":
                    _show({"entries": {result.name: _alone(result)}})
                else:
                    boards.enter(board, result, rules)
        if isolation != "limits":
            _show(boards.read(board))
            _write_marks(csv, boards.read(board))
    except NoSandbox as error:
        raise _fail(f"{error}".rstrip(".")) from None
    except ValueError as error:
        raise _fail(error) from None
    except OSError as error:
        raise _fail(f"{error.filename or board} cannot be read or written ({error.strerror})") from None
    raise typer.Exit(0 if scored else 1)


def _judged(judge, name: str, path: Path):
    """The result of an entry; one that cannot be read has the reason in each column."""
    from book.contest.judge import Entry, Result, read_source
    from book.contest.rules import Refused

    try:
        one = Entry(name, read_source(path, judge.rules))
        return judge.run(one, lambda line: typer.echo(line, err=True))
    except Refused as why:
        return Result(name, columns={calls: [{"why": str(why)}] for calls in judge.rules.calls})


def _alone(result) -> dict:
    columns = {str(calls): scores for calls, scores in result.columns.items()}
    return {"size": result.size, "runs": 1, "columns": columns}


def _write_marks(path: Path | None, board: dict) -> None:
    from book.contest.board import marks
    from toolkit.files import write_file

    if path is not None:
        lines = [f"{name},{points:g}" for name, points in marks(board).items()]
        write_file(path, "\n".join(["entry,points", *lines]) + "\n")


@contest.command()
def table(board: BOARD = Path("contest.json")):
    """Print the leaderboard.  Equal places are ties: intervals that overlap."""
    from book.contest.board import read

    try:
        found = read(board)
    except ValueError as error:
        raise _fail(error) from None
    if not found["entries"]:
        raise _fail(f"{board} has no entries yet")
    _show(found)


def _show(board: dict) -> None:
    from book.contest.board import rows

    table = rows(board)
    calls = list(table[0]["columns"])
    heads = [f"{c} call{'s' if int(c) > 1 else ''}" for c in calls]
    print(f"{'place':>5}  {'entry':28}{''.join(f'{h:>23}' for h in heads)}{'all':>23}  {'size':>7}  runs")
    for row in table:
        cells = [_cell(*row["columns"][c]) for c in calls] + [_cell(row["overall"], None)]
        place = row["place"] or "-"
        name = row["name"][:27]
        print(f"{place:>5}  {name:28}{''.join(f'{c:>23}' for c in cells)}  {row['size']:7,}  {row['runs']}")
        for why in row["why"]:
            print(f"{'':7}not scored: {why}")


def _cell(interval, place) -> str:
    if interval is None:
        return "-"
    told = f"{interval.mean:.2f}" + (f" [{interval.low:.2f}, {interval.high:.2f}]" if interval.low else "")
    return told + (f" #{place}" if place == 1 else "")


@contest.command()
def baselines(
    folder: Annotated[Path | None, typer.Argument(help="Where copies go, to start from.")] = None,
):
    """List the baselines, or copy them into a folder."""
    import ast
    import shutil

    found = [path for path in sorted(FOLDER.glob("*.py")) if path.stem != "__init__"]
    for path in found:
        said = ast.get_docstring(ast.parse(path.read_text("utf8"))) or ""
        print(f"{path.stem:12} {said.splitlines()[0]}")
    if folder is not None:
        taken = [path.name for path in found if (folder / path.name).exists()]
        if taken:
            raise _fail(f"{folder} has a {taken[0]} already")
        folder.mkdir(parents=True, exist_ok=True)
        for path in found:
            shutil.copy(path, folder / path.name)
