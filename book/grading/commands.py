"""The commands `toolkit release`, `hunt`, `grade` and `statistics`.

What they need is imported inside them.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer


def _fail(sentence) -> typer.Exit:
    typer.echo(f"{sentence}", err=True)
    return typer.Exit(2)


def release(
    folder: Annotated[Path, typer.Argument(help="Where the notebooks go; it is made.")],
    lesson: Annotated[
        list[str] | None, typer.Option(help="A lesson, 02; may be given again. [default: all]")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks, 2.3; may be given again.")] = None,
    points: Annotated[list[str] | None, typer.Option(help="Other points for a task, 2.3=6.")] = None,
    due: Annotated[str, typer.Option(help="The deadline, as students are to read it.")] = "",
    title: Annotated[str, typer.Option(help="A line above the deadline, such as the course's name.")] = "",
    exercises: Annotated[Path, typer.Option(help="The project's exercise notebooks.")] = Path("exercises"),
    force: Annotated[bool, typer.Option(help="Write into a folder that holds other files.")] = False,
    hunt: Annotated[
        list[str] | None, typer.Option(help="A task as a listing with so many mistakes, 4.2=2.")
    ] = None,
    vary: Annotated[bool, typer.Option(help="Give each student constants of their own.")] = False,
    key: Annotated[
        Path | None, typer.Option(help="The course's secret key, for --hunt and --vary; made if not there.")
    ] = None,
    roll: Annotated[
        Path | None, typer.Option(help="The class, for both: an id a line, or a table as an LMS exports it.")
    ] = None,
    partial: Annotated[
        bool, typer.Option(help="Let a hunt give points in proportion to the mistakes that are mended.")
    ] = False,
):
    """Write the exercises of a course as students get them, and release.json for `toolkit grade`.

    With --hunt or --vary each student gets a folder of their own; keep the key, and where no student sees it.
    """
    from book.grading.release import ReleaseError
    from book.grading.release import release as write
    from book.grading.roll import read_roll

    try:
        hunts = {name: _count(name, many) for name, many in _points(hunt or (), "--hunt 4.2=2").items()}
        students = list(read_roll(roll).lines) if roll else ()
        own = {"hunts": hunts, "vary": vary, "students": students, "key": _key(key, folder)}
        written = write(
            folder,
            lesson or (),
            due,
            _points(points or ()),
            task,
            title,
            exercises,
            force,
            **own,
            partial=partial,
        )
    except (ReleaseError, ValueError) as error:
        raise _fail(error) from None
    except OSError as error:
        raise _fail(f"{error.filename or folder} cannot be written ({error.strerror}).") from None
    for path in written:
        print(path)


def hunt(
    lesson: Annotated[str, typer.Argument(help="The lesson, 04.")],
    count: Annotated[int, typer.Option("--bugs", help="How many mistakes: 1, 2 or 3.")] = 2,
    seed: Annotated[int, typer.Option(help="Another seed gives another hunt.")] = 0,
    task: Annotated[str, typer.Option(help="Only from this task, 4.2. [default: any]")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the notebook.")] = Path("hunts"),
    exercises: Annotated[Path, typer.Option(help="The project's exercise notebooks.")] = Path("exercises"),
    key: Annotated[
        Path | None, typer.Option(help="For instructors: a course's key, with --student and --task.")
    ] = None,
    student: Annotated[str, typer.Option(help="The id of a student, whose hunt is drawn by the key.")] = "",
    answers: Annotated[bool, typer.Option(help="Say which mistakes they are, and write nothing.")] = False,
):
    """Make a bug hunt: a notebook with a right answer that has mistakes in it, to be opened in JupyterLab.

    Its cell `hunt(...)` says how many are still there and which measurement shows it.  The same seed gives
    the same hunt; `toolkit release --hunt` draws one for each student by the course's key.
    """
    from book.grading.release import ReleaseError, hunt_notebook
    from book.grading.roll import AN_ID, is_id
    from book.lessons import drawing, hunting, registry
    from toolkit.files import write_file

    try:
        if bool(key) != bool(student) or (key and not task):
            raise ValueError("A student's hunt needs all of --key, --student and --task")
        if student and not is_id(student):
            raise ValueError(f"{student!r:.90} is no id: {AN_ID}")
        secret = drawing.of_student(drawing.read_key(key), student) if key else drawing.public(seed)
        made = hunting.draw(registry.lesson_name(lesson), count, secret, task, letter=bool(key))
        if answers:
            for index in made.chosen:
                print(f"{made.task}, mistake {index + 1}: {registry.find(made.task).mistakes[index].says}")
            return
        path = out / f"{made.task.replace('.', '-')}_{student or f'seed_{seed}_bugs_{count}'}.ipynb"
        write_file(path, hunt_notebook(made, exercises))
    except (ReleaseError, ValueError) as error:
        raise _fail(error) from None
    except OSError as error:
        raise _fail(f"{error.filename or out} cannot be written ({error.strerror}).") from None
    print("\n\n".join(text.rstrip() for text in made.texts().values()))
    print(f"\n{path}: open it in JupyterLab, and mend the listing")


def _key(path: Path | None, folder: Path) -> bytes:
    """The key in a file, which is made where there is none; b'' without a file."""
    from book.lessons import drawing

    if path is None:
        return b""
    if folder.resolve() in path.resolve().parents:
        raise ValueError(f"{path} lies in what students get: keep the key elsewhere")
    return drawing.read_key(path) if path.exists() else drawing.new_key(path)


def _points(texts, example="--points 2.3=6") -> dict[str, float]:
    """{'2.3': 6.0} of ['2.3=6'].  Raises ValueError for what has not this form."""
    found = {}
    for text in texts:
        task, _, number = text.partition("=")
        try:
            found[task] = float(number)
        except ValueError:
            name = example.split()[0]
            raise ValueError(f"{name} {text!r} is not understood; write {example}") from None
    return found


def _count(task: str, number: float) -> int:
    """A number of mistakes.  Raises ValueError for what is no whole number."""
    if not number.is_integer():
        raise ValueError(f"--hunt {task}={number:g}: a hunt has 1, 2 or 3 mistakes")
    return int(number)


def grade(
    submissions: Annotated[
        Path, typer.Argument(help="A folder or a zip, as the LMS gives it, or one notebook.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where marks and feedback go.")],
    lesson: Annotated[
        list[str] | None, typer.Option(help="A lesson, 02; may be given again. [default: all]")
    ] = None,
    released: Annotated[
        Path | None, typer.Option("--release", help="The release.json of the course.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The course's key, where --hunt or --vary was used.")
    ] = None,
    roll: Annotated[
        Path | None, typer.Option(help="The class, to tell who handed in nothing, or another's notebook.")
    ] = None,
    solutions: Annotated[Path, typer.Option(help="The project's solution notebooks.")] = Path("solutions"),
    due: Annotated[datetime | None, typer.Option(help="Deadline, to tell what came late.")] = None,
    lms: Annotated[
        list[str] | None, typer.Option(help="canvas, moodle, gradescope or classroom (GitHub): its file too.")
    ] = None,
    canvas: Annotated[Path | None, typer.Option(help="Canvas's exported gradebook, to be filled in.")] = None,
    moodle: Annotated[Path | None, typer.Option(help="Moodle's grading worksheet, to be filled in.")] = None,
    canvas_column: Annotated[
        str, typer.Option(help="Canvas's column, if all lessons go into one. [default: a column a lesson]")
    ] = "",
    title: Annotated[str, typer.Option(help="The heading of the feedback pages.")] = "",
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="How many at a time. [default: the cores]")] = -1,
    backend: Annotated[str, typer.Option(help="loky, this machine's cores, or dask.")] = "loky",
    scheduler: Annotated[str, typer.Option(help="Dask: the scheduler's address.")] = "",
    isolation: Annotated[str, typer.Option(help="auto, bubblewrap or limits.")] = "auto",
    deadline: Annotated[float | None, typer.Option(help="Seconds a cell. [default: by the solution]")] = None,
):
    """Grade a class: marks, reasons and a feedback page for every student.

    A run that was stopped goes on where it was with the same command.  The exit code is 0 when everything was
    graded, 1 when something could not be or was not handed in (the table says what), 2 when nothing was.
    """
    from book.grading import course
    from book.grading.roll import read_roll
    from book.grading.run import Options
    from book.lessons import drawing

    options = Options(solutions, jobs, backend, scheduler, isolation, deadline)
    try:
        _check(options, lms or ())
        graded = course.grade_class(
            submissions,
            out,
            lessons=lesson or (),
            release=released,
            key=drawing.read_key(key) if key else b"",
            roll=read_roll(roll) if roll else None,
            due=due,
            canvas=canvas or "canvas" in (lms or ()),
            column=canvas_column,
            moodle=moodle or "moodle" in (lms or ()),
            classroom="classroom" in (lms or ()),
            gradescope="gradescope" in (lms or ()),
            title=title,
            options=options,
            tell=lambda sentence: typer.echo(sentence, err=True),
        )
    except (*course.REFUSED, ValueError) as error:
        raise _fail(error) from None
    except OSError as error:
        raise _fail(f"{error.filename or out} cannot be written or read ({error.strerror}).") from None
    except KeyboardInterrupt:
        raise _fail("Stopped. What was graded is kept: the same command goes on from here.") from None
    raise typer.Exit(_say(graded, out))


def statistics(
    graded: Annotated[Path, typer.Argument(help="The folder that toolkit grade has written.")],
    compare: Annotated[
        Path | None, typer.Option(help="That of another run, such as the year before.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where they go. [default: beside the marks]")
    ] = None,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "What the class got wrong",
):
    """Tell for each task and each mistake the share of the class and the points lost: a page and a CSV.

    They name nobody.  With --compare the difference of two runs, with its 95 % interval.
    """
    from book.grading import statistics as counting
    from toolkit.files import write_file

    folder = out or (graded if graded.is_dir() else graded.parent)
    try:
        other = counting.read(compare) if compare else None
        made = counting.lines(counting.read(graded), other)
        write_file(folder / "statistics.csv", counting.table(made))
        write_file(folder / "statistics.html", counting.page(made, title, bool(compare)))
    except counting.StatisticsError as error:
        raise _fail(error) from None
    except OSError as error:
        raise _fail(f"{error.filename or folder} cannot be written ({error.strerror}).") from None
    for name in ("statistics.html", "statistics.csv"):
        print(folder / name)


def _say(graded, out: Path) -> int:
    """Print what was done and what is left to look at; returns the exit code."""
    from book.grading.text import counted

    bad = [one for one in graded if one.problem]
    flagged = [one for one in graded if one.flags or any(task.flags for task in one.tasks)]
    students = len({one.student.key for one in graded})
    print(f"{counted(len(graded), 'submission')} of {counted(students, 'student')}: {out / 'summary.html'}")
    for found, what in (
        (bad, "not graded"),
        (flagged, "to look at"),
        ([one for one in graded if one.late], "late"),
    ):
        names = list({one.student.key: one.student.name or one.student.key for one in found}.values())
        if names:
            print(f"{what}: {len(names)} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})")
    return 2 if len(bad) == len(graded) else 1 if bad else 0


def _check(options, lms) -> None:
    """Raise ValueError, with one sentence, for options that do not fit."""
    from book.grading.sandbox import KINDS

    for value, known, name in (
        (options.isolation, KINDS, "--isolation"),
        (options.backend, ("loky", "dask"), "--backend"),
        *((one, ("canvas", "moodle", "gradescope", "classroom"), "--lms") for one in lms),
    ):
        if value not in known:
            raise ValueError(f"{name} {value} is not known; use {' or '.join(known)}")
    if options.backend == "dask" and not options.scheduler:
        raise ValueError("--backend dask needs --scheduler, the address of a Dask scheduler")
    if options.jobs == 0 or options.jobs < -1:
        raise ValueError(f"--jobs is {options.jobs}; give a number above 0, or -1 for all cores")
    if options.deadline is not None and not options.deadline > 0:
        raise ValueError(f"--deadline is {options.deadline:g}; give seconds above 0")
