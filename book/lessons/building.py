"""Build an exercise notebook, and the package's answers and record of its lesson, from a solution notebook.

`solutions/NN_name.ipynb` is the only source.  The build takes the right answers from it, with which the tasks
compare, runs it, takes the solutions out, puts the hints in, writes nbgrader's metadata (schema 3), and gives
the same bytes for the same source; whatever does not fit is refused with one sentence.  What the checks print
of the right answers goes into the record and into the solution; an exercise holds no output.  Printed values
that agree with the committed ones within the task's tolerance are kept as they are, so that another processor
does not change a file.
"""

from __future__ import annotations

import ast
import copy
import re
import textwrap
from dataclasses import dataclass, field, replace
from pathlib import Path

from book.lessons import extracting, reach, record, registry
from book.lessons.running import BadNotebook, Session, lesson_of, read_notebook, trouble
from book.lessons.task import Task

BEGIN, INSTEAD, END = "### BEGIN SOLUTION", "### INSTEAD", "### END SOLUTION"
CHECK = "# NBVAL_CHECK_OUTPUT"

SOLUTION_ONLY = "solution-only"
"""The tag of a Markdown cell that stays in the solution: a derivation, the answer to an open question."""


class BuildError(Exception):
    """A solution, or a task, that cannot be built from; the text is one sentence."""


@dataclass
class Part:
    """What belongs to one task in the solution notebook: indices of its cells."""

    task: Task
    check: int
    statement: int = -1
    answers: list[int] = field(default_factory=list)


def build(path: Path) -> dict[Path, str]:
    """Everything that follows from a solution notebook: {file: its text}; nothing is written.

    The files are the solution itself (normalised), the exercise beside it in ../exercises, and the lesson's
    right answers and record in the package.  Raises BuildError with one sentence.
    """
    path = Path(path).resolve()
    try:
        source = read_notebook(path)
        lesson = lesson_of(source, path)
    except BadNotebook as error:
        raise BuildError(str(error)) from None
    if registry.lesson_name(path.name) != lesson:
        raise BuildError(
            f"{path.name} says that it is lesson {lesson}: name the file {lesson}_something.ipynb."
        )
    try:
        answers = extracting.source(lesson, path.name, *_answers(source, path.name))
        with extracting.installed(lesson, answers) as prelude:
            return _files(path, source, lesson, prelude) | {extracting.path_of(lesson): answers}
    except ValueError as error:  # of the tasks, or of the answers apart from the rest
        raise BuildError(f"{path.name}: {error}.") from None


def _files(path: Path, source, lesson: str, prelude: str) -> dict[Path, str]:
    """What follows from a solution notebook besides the right answers, which the tasks know already.

    prelude: lets a fresh kernel know them.
    """
    parts = _parts(source, registry.tasks(lesson), path.name)
    for part in parts:
        _check_hints(part, source)
    solution, exercise = _solution(source, parts, lesson), _exercise(source, parts, lesson)
    noted = _record(path, source, parts, solution, lesson, prelude)
    _put_outputs(solution, noted)
    return {
        path: _text(solution),
        path.parent.parent / "exercises" / path.name: _text(exercise),
        record.path_of(lesson): record.dump(noted),
    }


# --- reading the solution -------------------------------------------------------------------------------


def _parts(notebook, tasks: dict[str, Task], name: str) -> list[Part]:
    """The parts of the notebook, one a task, in order.

    Raises BuildError for everything that does not fit.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code" and _solution_only(cell):
            raise BuildError(
                f"{name}, cell {cell.get('id')}: the tag {SOLUTION_ONLY!r} is for Markdown; code goes "
                f"between {BEGIN} and {END}."
            )
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids:
        raise BuildError(f"{name} has a cell without an id: save it in JupyterLab, as nbformat 4.5.")
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise BuildError(f"{name} has two cells with the id {twice[0]}.")
    parts: list[Part] = []
    answers: list[int] = []
    start = 0
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        where = f"{name}, cell {cell['id']}"
        task_id = _check_call(cell.source, where, tasks)
        if task_id is None:
            if regions(cell.source, where):
                answers.append(index)
            continue
        if any(part.task.id == task_id for part in parts):
            raise BuildError(f"{where}: there are two checks of {task_id}.")
        part = Part(tasks[task_id], index, answers=answers)
        part.statement = _statement(notebook, range(start, index), part.task, where)
        if not answers:
            raise BuildError(f"{where}: nothing between {BEGIN} and {END} belongs to the check of {task_id}.")
        parts.append(part)
        answers, start = [], index + 1
    if answers:
        raise BuildError(f"{name}, cell {notebook.cells[answers[0]]['id']}: no check follows this solution.")
    lost = [task_id for task_id in tasks if task_id not in {part.task.id for part in parts}]
    if lost:
        raise BuildError(f"{name} has no check cell for task {lost[0]}.")
    return parts


def _check_call(source: str, where: str, tasks: dict[str, Task]) -> str | None:
    """The id of the task that a cell checks, or None for a cell that is no check."""
    marked = False
    for line in source.splitlines():
        if "NBVAL_" in line and line.strip() != CHECK:
            raise BuildError(
                f"{where}: the line {line.strip()!r} is not understood; write {CHECK!r} alone on its line."
            )
        marked = marked or line.strip() == CHECK
    calls = re.search(r"^\s*check\(", source, re.MULTILINE)
    if not calls and not marked:
        return None
    if not (calls and marked):
        raise BuildError(f"{where}: a check cell needs both the line {CHECK!r} and a call of check(...).")
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise BuildError(f"{where}: line {error.lineno} is not Python.") from None
    call = body[-1].value if isinstance(body[-1], ast.Expr) else None
    plain = all(isinstance(line, (ast.Import, ast.ImportFrom)) for line in body[:-1])
    if (
        not plain
        or not isinstance(call, ast.Call)
        or getattr(call.func, "id", "") != "check"
        or not call.args
    ):
        raise BuildError(f'{where}: a check cell holds imports and one call, check("2.3", your_answer).')
    task_id = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
    if task_id not in tasks:
        raise BuildError(f"{where}: there is no task {task_id!r}; there are {', '.join(tasks)}.")
    names = tasks[task_id].names
    given = tuple(word.arg for word in call.keywords)
    if (len(call.args), set(given)) != ((1, set(names)) if names else (2, set())):
        wanted = ", ".join(f"{n}=..." for n in names) or "your_answer"
        raise BuildError(f'{where}: task {task_id} is checked by check("{task_id}", {wanted}).')
    return task_id


def _answers(notebook, name: str) -> tuple[list[str], list[tuple[int, set[str]]]]:
    """(the code cells without the markers, (cells before it, names given to it) of each check), in order.

    A check that does not fit gives no names here; `_parts` tells what is wrong with it.
    """
    cells, checks = [], []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        if CHECK not in cell.source:
            cells.append(_solved(cell.source, f"{name}, cell {cell.get('id')}"))
            continue
        try:
            call = getattr(ast.parse(cell.source).body[-1], "value", None)
        except (SyntaxError, IndexError):
            continue
        if isinstance(call, ast.Call):
            given = [*call.args, *(word.value for word in call.keywords)]
            checks.append((len(cells), set().union(*map(reach.reads, given))))
    return cells, checks


def _solved(source: str, where: str) -> str:
    """A cell's source with each solution region replaced by the solution's own lines."""
    lines = source.splitlines()
    for region in reversed(regions(source, where)):
        lines[region.first : region.last + 1] = region.solution
    return "\n".join(lines)


def _heading(task: Task) -> re.Pattern:
    """The statement's first line, with what an earlier build has put there."""
    return re.compile(rf"^### {re.escape(task.id)}(?![\d.]).*(\n\n\*Difficulty .*\*$)?", re.MULTILINE)


def _statement(notebook, span: range, task: Task, where: str) -> int:
    for index in span:
        cell = notebook.cells[index]
        if cell.cell_type == "markdown" and _heading(task).search(cell.source):
            return index
    raise BuildError(f"{where}: no Markdown cell before this check has the line '### {task.id}'.")


@dataclass(frozen=True)
class Region:
    """A solution region: its lines [first, last] with the markers, the solution's own lines, and what stands
    instead.
    """

    first: int
    last: int
    indent: str
    solution: tuple[str, ...]
    instead: tuple[str, ...]


def regions(source: str, where: str = "cell") -> list[Region]:
    """The solution regions of a cell, in order.  Raises BuildError for markers that are not clean pairs."""
    found: list[Region] = []
    lines = source.splitlines()
    first, middle = None, None
    for number, line in enumerate(lines):
        marker = next((m for m in (BEGIN, INSTEAD, END) if m.lstrip("# ") in line and "#" in line), None)
        if marker is None or (marker == INSTEAD and not line.strip().startswith(INSTEAD)):
            continue
        if line.strip() != marker:
            raise BuildError(
                f"{where}, line {number + 1}: write {marker!r} alone on its line, not {line.strip()!r}."
            )
        if (marker == BEGIN) != (first is None) or (marker == INSTEAD and middle is not None):
            raise BuildError(f"{where}, line {number + 1}: {marker!r} stands where it does not belong.")
        if marker == BEGIN:
            first = number
        elif marker == INSTEAD:
            middle = number
        else:
            cut = number if middle is None else middle
            indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
            given = [] if middle is None else _uncomment(lines[middle + 1 : number], where)
            found.append(Region(first, number, indent, tuple(lines[first + 1 : cut]), tuple(given)))
            first = middle = None
    if first is not None:
        raise BuildError(f"{where}: {BEGIN!r} in line {first + 1} has no {END!r}.")
    return found


def _uncomment(lines: list[str], where: str) -> list[str]:
    out = []
    for line in lines:
        match = re.fullmatch(r"(\s*)# ?(.*)", line)
        if not match and line.strip():
            raise BuildError(
                f"{where}: after {INSTEAD!r} every line is a comment, and {line.strip()!r} is not."
            )
        out.append(match[1] + match[2] if match else "")
    return out


def _check_hints(part: Part, notebook) -> None:
    """Raise BuildError when a hint quotes a line of the solution, or the right side of one."""
    for index in part.answers:
        for region in regions(notebook.cells[index].source):
            for line in region.solution:
                code = line.split("#")[0].strip()
                for piece in {code, code.removeprefix("return "), code.partition(" = ")[2]}:
                    plain = re.sub(r"\s", "", piece)
                    for number, hint in enumerate(part.task.hints, 1):
                        if len(plain) >= 12 and plain in re.sub(r"\s", "", hint):
                            raise BuildError(
                                f"hint {number} of task {part.task.id} quotes the solution: {code!r}."
                            )


# --- making the notebooks -------------------------------------------------------------------------------


def _solution(source, parts: list[Part], lesson: str):
    """The solution notebook, normalised: ids and metadata set, headings filled in, outputs dropped."""
    notebook = copy.deepcopy(source)
    keep = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook.metadata = type(notebook.metadata)(
        **keep, language_info={"name": "python"}, toolkit={"lesson": lesson}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = type(cell.metadata)(**({"tags": tags} if tags else {}))
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for part in parts:
        slug = part.task.slug
        statement, check = notebook.cells[part.statement], notebook.cells[part.check]
        statement.source = _heading(part.task).sub(
            lambda _, t=part.task: t.heading, statement.source, count=1
        )
        _name(statement, f"task-{slug}", locked=True)
        for number, index in enumerate(part.answers):
            _name(
                notebook.cells[index], f"answer-{slug}" + (f"-{number + 1}" if number else ""), solution=True
            )
        _name(check, f"check-{slug}", locked=True, points=part.task.points)
    ids = [cell["id"] for cell in notebook.cells]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise BuildError(
            f"lesson {lesson}: the id {twice[0]} is taken by the build; give the other cell another one."
        )
    return notebook


def _name(cell, cell_id: str, solution=False, locked=False, points: int | None = None) -> None:
    """Set a cell's id and nbgrader's metadata, schema 3."""
    cell["id"] = cell_id
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": cell_id,
        "solution": solution,
        "grade": points is not None,
        "locked": locked,
        "task": False,
        **({"points": points} if points is not None else {}),
    }


def _exercise(source, parts: list[Part], lesson: str):
    """The exercise notebook: stubs for solutions, a folded cell of hints after each check, and neither the
    outputs nor the Markdown of the solution.
    """
    from nbformat.v4 import new_markdown_cell

    notebook = _solution(source, parts, lesson)
    for part in parts:
        for index in part.answers:
            cell = notebook.cells[index]
            cell.source = stub(cell.source, part.task)
        check = notebook.cells[part.check]
        # The marker stands for nbval's eyes, which takes the check from the package's record.
        check.source = "\n".join(line for line in check.source.splitlines() if line.strip() != CHECK)
        check.metadata.update(editable=False, deletable=False)
    for part in reversed(parts):
        folded = [
            f"<details><summary>Hint {number} for {part.task.id}</summary>\n\n{hint.strip()}\n\n</details>"
            for number, hint in enumerate(part.task.hints, 1)
        ]
        hints = new_markdown_cell("\n\n".join(folded))
        _name(hints, f"hints-{part.task.slug}", locked=True)
        notebook.cells.insert(part.check + 1, hints)
    notebook.cells = [cell for cell in notebook.cells if not _solution_only(cell)]
    return notebook


def _solution_only(cell) -> bool:
    """Whether a cell stays in the solution notebook."""
    return SOLUTION_ONLY in cell.metadata.get("tags", ())


def stub(source: str, task: Task) -> str:
    """A cell's source with each solution region replaced by its stub.

    Inside a function the stub raises NotImplementedError; at module level each name that the solution assigns
    becomes `name = ...`; what stands after `### INSTEAD` goes in as it is.
    """
    lines = source.splitlines()
    for region in reversed(regions(source)):
        lines[region.first : region.last + 1] = _stub_lines(region, task)
    text = "\n".join(lines)
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise BuildError(
            f"task {task.id}: line {error.lineno} of the stub is not Python ({error.msg})."
        ) from None
    return text


def _stub_lines(region: Region, task: Task) -> list[str]:
    if region.instead:
        return list(region.instead)
    if region.indent:
        return [f'{region.indent}raise NotImplementedError("{task.id}: your answer")']
    try:
        body = ast.parse(textwrap.dedent("\n".join(region.solution))).body
    except SyntaxError as error:
        raise BuildError(f"task {task.id}: line {error.lineno} of the solution is not Python.") from None
    if any(isinstance(line, (ast.FunctionDef, ast.ClassDef)) for line in body):
        raise BuildError(
            f"task {task.id}: put the markers inside the function, so that its first line stays."
        )
    names = []
    for line in body:
        targets = (
            line.targets
            if isinstance(line, ast.Assign)
            else [line.target]
            if isinstance(line, ast.AnnAssign)
            else []
        )
        for target in targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            names += [part.id for part in parts if isinstance(part, ast.Name)]
    if not names:
        raise BuildError(f"task {task.id}: a solution outside a function assigns its answer to a name.")
    return [f"{name} = ...  # your answer" for name in dict.fromkeys(names)]


# --- running the solution -------------------------------------------------------------------------------


def _record(path: Path, source, parts: list[Part], solution, lesson: str, prelude: str) -> record.Lesson:
    """Run the solution and record what its checks print.

    Raises BuildError for a solution that does not pass.
    """
    cells = [
        record.Cell(
            id=f"check-{part.task.slug}",
            task=part.task.id,
            title=part.task.title,
            points=part.task.points,
            source=source.cells[part.check].source,
            output="",
            tolerance=part.task.tolerance,
            decimals=part.task.decimals,
        )
        for part in parts
    ]
    answers = {p.task.id: [solution.cells[i]["id"] for i in p.answers] for p in parts}
    hints = {p.task.id: list(p.task.hints) for p in parts}
    noted = record.Lesson(lesson, path.name, tuple(cells), answers, hints)
    try:
        old = record.load(lesson)
    except ValueError:
        old = None
    done = []
    with Session(path, noted, prelude=prelude) as session:
        for step in session.steps:
            ran = session.run(step)
            if ran.stopped or (ran.ename and not step.raises):
                said = ran.evalue if step.check and not ran.stopped else trouble(step, ran)
                raise BuildError(f"{path.name}, cell {step.id}: {said}")
            if step.check:
                done.append(_with_output(step.check, ran.text, old))
    return replace(noted, cells=tuple(done))


def _with_output(cell: record.Cell, text: str, old: record.Lesson | None) -> record.Cell:
    """The check cell with what it printed; the committed text is kept where the two agree within the
    tolerance.
    """
    labelled = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(f"{cell.task} "))
    new = replace(cell, output=labelled)
    for before in old.cells if old else ():
        if before.id == cell.id and record.labelled(cell.task, labelled).keys() == (
            record.labelled(cell.task, before.output).keys()
        ):
            if not record.compare(replace(before, tolerance=0.0, decimals=cell.decimals), labelled):
                return replace(cell, output=before.output)
    return new


def _put_outputs(notebook, noted: record.Lesson) -> None:
    """Put the recorded outputs into the check cells of a notebook."""
    from nbformat.v4 import new_output

    outputs = {cell.id: cell.output for cell in noted.cells}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        if cell["id"] in outputs:
            cell.outputs = [new_output("stream", name="stdout", text=outputs[cell["id"]])]
            cell.execution_count = number


def _text(notebook) -> str:
    """A notebook as text, the same bytes for the same notebook.

    Raises BuildError for one that is not valid.
    """
    import nbformat

    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise BuildError(f"the notebook that was built is not valid: {str(error).splitlines()[0]}") from None
    return nbformat.writes(notebook).rstrip("\n") + "\n"
