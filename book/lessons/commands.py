"""The commands `toolkit check`, `toolkit hint` and `toolkit build`.

What they need is imported inside them, so that `toolkit --help` stays quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def _fail(sentence: str) -> typer.Exit:
    """Remark one sentence on stderr; raise what this returns."""
    typer.echo(sentence, err=True)
    return typer.Exit(2)


def check(
    notebooks: Annotated[
        list[Path], typer.Argument(help="Exercise notebooks, such as exercises/02_ddim.ipynb.")
    ],
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task, 3 or 2.3; may be given again.")
    ] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds a cell may take [default: 60].")] = None,
    budget: Annotated[int, typer.Option(help="Characters of output a cell may make.")] = 5_000_000,
):
    """Run an exercise notebook in a fresh kernel and tell, per task: done, not yet or not tried, and why.

    The exit code is 0 when every task asked for is done, 1 when not, 2 when a notebook could not be checked.
    """
    from book.lessons.running import BadNotebook, Session, default_deadline

    code = 0
    for path in notebooks:
        try:
            if deadline is not None and not deadline > 0:
                raise ValueError(f"--deadline is {deadline:g}; give seconds above 0")
            with Session(path, deadline=deadline or default_deadline(), budget=budget) as session:
                wanted = [_task_id(session.lesson, one) for one in task or ()]
                results = [session.result(one) for one in wanted] if wanted else session.results()
        except (BadNotebook, ValueError) as error:
            typer.echo(f"{error}", err=True)
            code = 2
            continue
        _table(path, results)
        if any(result.state != "done" for result in results):
            code = max(code, 1)
    raise typer.Exit(code)


def _task_id(lesson, text: str) -> str:
    """'3' or '2.3' as an id of this lesson.  Raises ValueError for a task that it has not."""
    task_id = text if "." in text else f"{int(lesson.lesson)}.{text}"
    return lesson.cell(task_id).task


def _table(path: Path, results) -> None:
    """Print the verdicts: a table in a terminal, plain lines elsewhere."""
    done = [r for r in results if r.state == "done"]
    points, of = sum(r.cell.points for r in done), sum(r.cell.points for r in results)
    total = f"{len(done)} of {len(results)} tasks done, {points} of {of} points"
    if not sys.stdout.isatty():
        print(path.name)
        for r in results:
            print(f"{r.cell.task:<5} {r.state:<10} {r.cell.title}")
            for text in filter(None, (r.sentence, r.note)):
                print(f"      {text}")
        print(total)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=path.name, caption=total, title_justify="left", caption_justify="left")
    for column in ("task", "verdict", "what to look at"):
        table.add_column(column, no_wrap=column != "what to look at")
    colours = {"done": "green", "not yet": "yellow", "not tried": "dim"}
    for r in results:
        said = "\n".join(filter(None, (r.cell.title, r.sentence, r.note)))
        table.add_row(r.cell.task, Text(r.state, colours[r.state]), Text(said))
    Console().print(table)


def hint(
    lesson: Annotated[str, typer.Argument(help="The lesson, 02 (or lesson and task in one, 2.3).")],
    task: Annotated[str | None, typer.Argument(help="The task's number, 3.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show all three.")] = False,
    reset: Annotated[bool, typer.Option(help="Begin again with the first.")] = False,
):
    """Show the next hint for a task: a nudge, then a closer one, then the key step."""
    from book.lessons import hinting

    try:
        task_id = hinting.task_id_of(lesson, task)
        hints = hinting.hints_of(task_id)
    except ValueError as error:
        raise _fail(f"{error}") from None
    if reset:
        kept = hinting.remember(task_id, 0)
        print(f"The next hint for {task_id} is the first one again.")
    else:
        before = hinting.shown(task_id)
        if before == len(hints) and not every:
            print(f"You have seen all hints for {task_id}; the last one again (--all shows all):")
        chosen = range(len(hints)) if every else [min(before, len(hints) - 1)]
        for index in chosen:
            print(f"Hint {index + 1} of {len(hints)} for {task_id}: {hints[index]}")
        kept = hinting.remember(task_id, max(before, chosen[-1] + 1))
    if not kept:
        typer.echo("(It could not be kept which hints you have seen.)", err=True)


def build(
    solutions: Annotated[
        list[Path] | None, typer.Argument(help="Solution notebooks [default: solutions/*.ipynb].")
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; say what is not up to date.")
    ] = False,
):
    """Build exercises/NN_*.ipynb and the package's record of the lesson from solutions/NN_*.ipynb."""
    from book.lessons.building import BuildError
    from book.lessons.building import build as build_one
    from toolkit.files import write_file

    paths = solutions or sorted(Path("solutions").glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise _fail(
            "There is no solutions/NN_*.ipynb here: go to the project's folder, or name the notebooks."
        )
    code = 0
    for path in paths:
        try:
            files = build_one(path)
        except BuildError as error:
            typer.echo(f"{error}", err=True)
            code = 1
            continue
        for file, text in files.items():
            if file.is_file() and file.read_bytes() == text.encode():
                continue
            if check_only:
                print(f"{file.name} in {file.parent.name}/ is not what {path.name} gives: run toolkit build")
                code = 1
            else:
                write_file(file, text)
                print(f"wrote {file.parent.name}/{file.name}")
        if not check_only:
            print(f"{path.name}: built")
    raise typer.Exit(code)
