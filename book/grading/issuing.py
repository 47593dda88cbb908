"""What differs between the notebooks of a course's students: bug hunts and constants, drawn by its key.

All of it follows from the key and the student's id, so a grader that has the key makes it again.  A notebook
says whom it was issued to, with a tag that only the key can make: in its metadata, and in the cell that tells
the deadline, which survives when cells are copied into another file.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from book.grading.results import Graded, Student
from book.grading.roll import ID, Roll
from book.lessons import bugs, drawing, hunting, reach, record, registry, varying
from book.lessons.hunting import Hunt
from book.lessons.running import names_of
from book.lessons.task import Task

_ISSUED = re.compile(r"Issued to `([^`\s]+)` \(([0-9a-f]{20})\)")


@dataclass(frozen=True)
class Course:
    """The key of a course, its hunts, {task: number of mistakes}, and the tasks whose constants are drawn.

    partial: whether a hunt gives points in proportion to the mistakes that are mended.
    """

    key: bytes
    hunts: Mapping[str, int] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    partial: bool = False

    def hunt(self, student: str, task: str) -> Hunt:
        """The hunt of a student.  Raises ValueError where there is nothing to draw."""
        secret = drawing.of_student(self.key, student)
        return hunting.draw(registry.find(task).lesson, self.hunts[task], secret, task, letter=True)

    def constants(self, student: str, task: str) -> dict[str, float]:
        """The constants of a student in a task."""
        return varying.draw(registry.find(task), drawing.of_student(self.key, student))

    def checks(self, student: str, lesson: record.Lesson) -> dict[str, str]:
        """{task: its check cell as this student is given it} of the tasks with constants."""
        return {
            cell.task: varying.call_with(cell.source, self.constants(student, cell.task))
            for cell in lesson.cells
            if cell.task in self.varied
        }

    def tasks(self, student: str, lesson: str) -> dict[str, Task]:
        """The tasks of a lesson as this student has them."""
        return {
            name: varying.varied(task, self.constants(student, name)) if name in self.varied else task
            for name, task in registry.tasks(lesson).items()
        }


# --- into a notebook ------------------------------------------------------------------------------------


def put(notebook, course: Course, student: str, lesson: record.Lesson, tasks: Sequence[str]) -> None:
    """Make an exercise the student's own: listings with their mistakes, their constants, whom it is for."""
    tag = drawing.tag(course.key, student)
    told = notebook.metadata["toolkit"]
    told["issued"] = {"to": student, "tag": tag}
    varied = {task: course.constants(student, task) for task in tasks if task in course.varied}
    for task, constants in varied.items():
        put_constants(notebook, registry.find(task), constants)
    if varied:
        told["varied"] = varied
    for task in tasks:
        if task in course.hunts:
            put_hunt(notebook, course.hunt(student, task), lesson, course.partial)
    cell = next(cell for cell in notebook.cells if cell.get("id") == "release")
    cell.source += f"\n\nIssued to `{student}` ({tag}): its listings and constants are yours alone."


def put_constants(notebook, task: Task, constants: Mapping[str, float]) -> None:
    """Let a task's statement, its hints and its check speak of these constants.

    Raises ValueError where the statement does not say what they replace.
    """
    cells = {cell.get("id"): cell for cell in notebook.cells}
    statement, check = cells[f"task-{task.slug}"], cells[f"check-{task.slug}"]
    statement.source = varying.reworded(task, constants, statement.source, whole=True)
    for name, cell in cells.items():
        if re.fullmatch(rf"(hints|answer)-{task.slug}(-\d+)?", name or ""):
            cell.source = varying.reworded(task, constants, cell.source)
    check.source = varying.call_with(check.source, constants)


def put_hunt(notebook, hunt: Hunt, lesson: record.Lesson, partial: bool = False) -> None:
    """Put a hunt's listing into the answer cells of its task, and the cell that counts what is left.

    partial: say that each mistake that is mended earns its part of the points.
    """
    from nbformat.v4 import new_code_cell

    task, texts = registry.find(hunt.task), hunt.texts()
    for cell in notebook.cells:
        if cell.get("id") in lesson.answers[task.id]:
            cell.source = _with_functions(cell.source, texts, task.lesson)
        if cell.get("id") == f"task-{task.slug}":
            cell.source = _told(cell.source, task, len(hunt.chosen), partial)
    if lacking := _lacking(notebook, texts, task.lesson):
        first = next(n for n, cell in enumerate(notebook.cells) if cell.get("id") in lesson.answers[task.id])
        given = f"# What the listing uses, from other tasks of the lesson.\n{lacking}"
        notebook.cells.insert(first, new_code_cell(given, id=f"given-{task.slug}"))
    at = next(n for n, cell in enumerate(notebook.cells) if cell.get("id") == f"check-{task.slug}")
    functions = [name for name, one in task.reference.items() if callable(one)] if task.names else []
    answers = _call_of(notebook.cells[at].source)
    given = [f"{name}={answers[name]}" for name in functions] if task.names else [answers[""]]
    call = f'from book import hunt\n\nhunt("{hunt.ticket}", {", ".join(given)})'
    notebook.cells.insert(at, new_code_cell(call, id=f"hunt-{task.slug}"))


def _told(statement: str, task: Task, many: int, partial: bool) -> str:
    """The statement of a task as that of a hunt."""
    mistakes = "one mistake" if many == 1 else f"{('two', 'three')[many - 2]} mistakes"
    head, _, rest = statement.partition("\n\n*Difficulty")
    facts, _, rest = rest.partition("\n")
    others = [n for n in task.names if not callable(task.reference[n])]
    more = f" (What is asked for besides, {', '.join(others)}, plays no part in the hunt.)" if others else ""
    if task.kind == "find-the-bug":
        more += (
            " Where it, or a hint, speaks of the listing's mistakes, it means those of the exercise in the "
            "book: this listing has others, or some of them."
        )
    return (
        f"{head}\n\n*Difficulty{facts}\n\n"
        f"**A bug hunt: below stands a right answer with {mistakes} put into it.** Find out by measuring, "
        "and mend the listing. The cell `hunt(...)` counts the mistakes that are still there, and names the "
        f"measurement that shows it.{_PART if partial and many > 1 else ''} What follows is what the listing "
        f"should do.{more}\n{rest}"
    )


_PART = " Each mistake that is mended earns its part of the points, if the others are as they were."


def _with_functions(source: str, texts: Mapping[str, str], lesson: str) -> str:
    """An answer cell in which each function stands as the listing, or else the solution, has it."""
    lines, solution = source.splitlines(), registry.package(lesson).solution
    for statement in reversed(ast.parse(source).body):
        if isinstance(statement, ast.FunctionDef):
            own = getattr(solution, statement.name, None)
            text = texts.get(statement.name) or (bugs.edits.edited(own, docstring=True) if own else "")
            if text:
                lines[statement.lineno - 1 : statement.end_lineno] = text.rstrip("\n").splitlines()
    return "\n".join(lines)


def _lacking(notebook, texts: Mapping[str, str], lesson: str) -> str:
    """The source of what a listing needs of the lesson's solution and no cell of the notebook defines."""
    path = registry.folder_of(lesson) / "solution.py"
    whole = path.read_text("utf8")
    body = ast.parse(whole).body
    listing = [part for text in texts.values() for part in ast.parse(text).body]
    there = {name for part in listing for name in reach.binds(part)}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            there |= {name for part in ast.parse(cell.source).body for name in reach.binds(part)}
    bound = {name: parts for name, parts in reach.bindings(body).items() if name not in there}
    wanted = set().union(*map(reach.reads, listing))
    needed = {name for name, parts in reach.reached(wanted, bound) if parts}
    kept = [part for statement in body for part in reach.kept(statement, needed - there)]
    return "\n\n\n".join(ast.get_source_segment(whole, part) or ast.unparse(part) for part in kept)


def _call_of(source: str) -> dict[str, str]:
    """{name: expression} of the answers that a check cell gives to `check`, '' for the one answer."""
    call = ast.parse(source).body[-1].value
    found = {word.arg: ast.unparse(word.value) for word in call.keywords}
    return found or {"": ast.unparse(call.args[1])}


# --- out of a notebook ----------------------------------------------------------------------------------


def issued_to(notebook, key: bytes) -> str:
    """Whom a notebook was issued to, by a tag that this key makes; '' where it says nothing, or another's, or
    names several."""
    known = ((s, tag) for s, tag in _claims(notebook) if isinstance(s, str) and ID.fullmatch(s))
    found = {student for student, tag in known if tag == drawing.tag(key, student)}
    return found.pop() if len(found) == 1 else ""


def claimed(notebook) -> bool:
    """Whether a notebook says that it was issued to somebody, true or not."""
    return any(isinstance(student, str) and student for student, _ in _claims(notebook))


def _claims(notebook) -> Iterator[tuple[str, str]]:
    told = notebook.metadata.get("toolkit")
    told = told.get("issued") if isinstance(told, dict) else None
    if isinstance(told, dict):
        yield told.get("to"), told.get("tag")
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "release" in names_of(cell):
            for match in _ISSUED.finditer(cell.source[:20_000]):
                yield match[1], match[2]


def whose(graded: Sequence[Graded], roll: Roll | None = None) -> list[tuple[str, ...]]:
    """Flags for each of a class's submissions: a notebook that was issued to another of the class, to several
    who handed it in, or to nobody.

    roll: tells which id is whose, where the LMS knows people by something else.
    """
    owners, ids = defaultdict(set), {one.student.key: _ids(one.student, roll) for one in graded}
    everybody = set().union(*ids.values())
    for one in graded:
        owners[one.lesson, one.issued].add(one.student.key)
    flags = []
    for one in graded:
        mine = ids[one.student.key]
        others = sorted(owners[one.lesson, one.issued] - {one.student.key})
        if one.issued is None or one.problem:
            flags.append(())
        elif not one.issued:
            flags.append(("the notebook does not say whom it was issued to",))
        elif others and one.issued in mine:
            flags.append((f"the notebook of this student came from {', '.join(others[:5])}, too",))
        elif others or (one.issued not in mine and (one.issued in everybody or (roll and mine))):
            flags.append((f"the notebook was issued to {one.issued}",))
        else:
            flags.append(())
    return flags


def _ids(student: Student, roll: Roll | None) -> set[str]:
    """The ids by which a student may be on the roll: by the roll itself, or else those that can mean nothing
    else, which a number can."""
    if roll:
        return roll.of(student)
    return {student.key, *(one for one in student.ids.values() if not one.isdigit())}


def odd(graded: Sequence[Graded]) -> list[str]:
    """Sentences for the instructor where most notebooks do not fit how they are graded: without the key with
    which they were issued, or with another."""
    good = [one for one in graded if not one.problem]
    lone = sum(any(flag == UNREAD for flag in one.flags) for one in good)
    nobodys = sum(one.issued == "" for one in good)
    said = []
    if 2 * lone > len(good):
        said.append(
            f"{lone} of {len(good)} notebooks were issued to one student each: grade with the course's "
            "--release and --key, or their own constants count as mistakes."
        )
    if 2 * nobodys > len(good):
        said.append(
            f"{nobodys} of {len(good)} notebooks were not issued by this key: is it the key of this course?"
        )
    return said


UNREAD = "the notebook was issued to one student by a course's key, and no key was given"
"""The flag of a notebook that is graded as if it were everybody's."""


def untouched(hunt: Hunt, sources: Sequence[str]) -> bool:
    """Whether these cells hold the functions of a hunt's listing as they were handed out."""
    mine, given = _functions(sources), _functions(hunt.texts().values())
    return bool(given) and all(mine.get(name) == text for name, text in given.items())


def foreign(hunt: Hunt, sources: Sequence[str]) -> str:
    """A remark for the instructor where a mended listing is not the one that was handed out, or ''.

    The variables of a student's listing end in a letter of their own; those of the book in none.
    """
    mine, task = _functions(sources), registry.find(hunt.task)
    plain = bugs.texts(task, ())
    for text in plain.values():
        name = hunting._called(text)
        letters = [letter for letter in ("", *hunting.LETTERS) if letter != hunt.letter]
        if hunting.dressed(text, hunt.letter) == text or name not in mine:
            continue
        for letter in letters:
            if mine[name] == next(iter(_functions([hunting.dressed(text, letter)]).values())):
                whose = f"a listing whose variables end in _{letter}" if letter else "the book's own"
                return f"{name} is {whose}, not the listing that was handed out (_{hunt.letter})"
    return ""


def _functions(sources) -> dict[str, str]:
    """{name: its code in one form} of the functions that cells define, the last of a name."""
    found = {}
    for source in sources:
        try:
            body = ast.parse(source).body if len(source) <= 200_000 else []
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for statement in body:
            if isinstance(statement, ast.FunctionDef):
                with contextlib.suppress(RecursionError):
                    found[statement.name] = ast.dump(_without_docstring(statement))
    return found


def _without_docstring(function: ast.FunctionDef) -> ast.FunctionDef:
    """A function's tree without its docstring."""
    if ast.get_docstring(function, clean=False) is not None:
        function.body = function.body[1:] or [ast.Pass()]
    return function
