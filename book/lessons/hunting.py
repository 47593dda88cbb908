"""Bug hunts: a listing with mistakes in it, and a check that counts those that are still there.

A hunt is a task, a few of its listed mistakes, and perhaps a letter that the listing's own variables end in
(so that the listing of one student is not that of another, nor the book's).  It has a ticket, "4.2-mq3zc",
from which it can be made again; the ticket hides its content from a glance, not from who reads this file, and
so does the listing, which anybody can lay beside the public solution.

In a notebook: `from book import hunt`, and `hunt("4.2-mq3zc", dpm2_step=dpm2_step)`.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import itertools
import symtable
from collections.abc import Sequence
from dataclasses import dataclass

from book.lessons import bugs, diagnose, drawing, registry
from book.lessons.checking import NoSuchTask, NotTried, NotYet
from book.lessons.diagnose import SEEDS, Seen, expected, same_value
from book.lessons.task import Task

LETTERS = "abcdfghjkmpqrsuvwyz"
SHOWN = 3
"""Measurements that a check shows."""


@dataclass(frozen=True)
class Hunt:
    """A task's id, the numbers of the mistakes among the task's, and the letter of the listing or ''."""

    task: str
    chosen: tuple[int, ...]
    letter: str = ""

    @property
    def ticket(self) -> str:
        """The hunt in one word."""
        number = sum(1 << index for index in self.chosen)
        number = number * 32 + (LETTERS.index(self.letter) + 1 if self.letter else 0)
        raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
        raw = bytes([*_sum(self.task, raw), *raw])
        mixed = bytes(a ^ b for a, b in zip(raw, _pad(self.task, len(raw))))
        return f"{self.task}-{base64.b32encode(mixed).decode().rstrip('=').lower()}"

    @classmethod
    def of(cls, ticket: str) -> Hunt:
        """The hunt of a ticket.  Raises ValueError for what is none."""
        task, _, code = str(ticket).strip().partition("-")
        known = registry.find(task)
        try:
            mixed = base64.b32decode(code.upper() + "=" * (-len(code) % 8))
        except ValueError:
            mixed = b""
        raw = bytes(a ^ b for a, b in zip(mixed, _pad(task, len(mixed))))
        number = int.from_bytes(raw[2:], "big")
        chosen = tuple(index for index in range(200) if number >> (index + 5) & 1)
        fine = len(raw) > 2 and raw[:2] == _sum(task, raw[2:]) and number % 32 <= len(LETTERS)
        if not fine or not set(chosen) <= set(bugs.bugs(known)):
            raise ValueError(f"{ticket!r} is no hunt of this version of the book: copy it whole")
        return cls(task, chosen, LETTERS[number % 32 - 1] if number % 32 else "")

    def texts(self) -> dict[str, str]:
        """{name of a function: its source with the mistakes} of the answer's functions."""
        found = bugs.texts(registry.find(self.task), self.chosen)
        return {_called(text): dressed(text, self.letter) for text in found.values()}


def _called(text: str) -> str:
    """The name of the function that a text defines."""
    return symtable.symtable(text, "listing", "exec").get_children()[0].get_name()


def _sum(task: str, raw: bytes) -> bytes:
    return hashlib.blake2b(raw, key=task.encode(), digest_size=2).digest()


def _pad(task: str, size: int) -> bytes:
    return hashlib.blake2b(f"hunt {task}".encode(), digest_size=64).digest()[:size]


# --- drawing --------------------------------------------------------------------------------------------


def draw(lesson: str, count: int, secret: bytes, task: str = "", letter: bool = False) -> Hunt:
    """A hunt with so many mistakes, drawn from what may be drawn of the lesson, or of one of its tasks.

    secret: see `drawing`.  letter: let the listing's variables end in a drawn letter.  Raises ValueError
    where there is nothing to draw.
    """
    known = bugs.combinations(lesson)
    if count not in (1, 2, 3):
        raise ValueError(f"a hunt has 1, 2 or 3 mistakes, got {count}")
    if task and task not in registry.tasks(lesson):
        raise ValueError(f"there is no task {task} in lesson {lesson}")
    able = [name for name, found in known.items() if found.of(count) and task in ("", name)]
    if not able:
        have = [name for name, found in known.items() if found.of(count)]
        raise ValueError(
            f"{'task ' + task if task else 'lesson ' + lesson} has no {count} mistakes that can be told "
            f"apart; with {count} there are {', '.join(have) or 'none'}"
        )
    name = drawing.one_of(secret, f"task {lesson} {count}", able)
    chosen = drawing.one_of(secret, f"mistakes {name} {count}", known[name].of(count))
    mark = drawing.one_of(secret, f"letter {name}", LETTERS) if letter else ""
    return Hunt(name, tuple(chosen), mark)


def dressed(text: str, letter: str) -> str:
    """The source of a function whose own variables end in _letter; its parameters, and names that a function
    or a comprehension in it binds itself, stay.  Nothing does where an f-string holds one of them: Python
    does not tell where in the text."""
    if not letter:
        return text
    top = symtable.symtable(text, "listing", "exec").get_children()[0]
    inner, waiting = set(), list(top.get_children())
    own = {s.get_name() for s in top.get_symbols() if s.is_local() and not s.is_parameter()}
    own -= {table.get_name() for table in waiting}
    while waiting:
        table = waiting.pop()
        inner |= {s.get_name() for s in table.get_symbols() if s.is_local()}
        waiting += table.get_children()
    own -= inner
    places = sorted(
        (node.lineno, node.end_col_offset)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name) and node.id in own
    )
    if any(isinstance(part, ast.Name) and part.id in own for part in _in_strings(ast.parse(text))):
        return text
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    for row, end in reversed(places):
        lines[row - 1] = lines[row - 1][:end] + f"_{letter}".encode() + lines[row - 1][end:]
    return b"".join(lines).decode()


def _in_strings(tree: ast.AST):
    """The nodes within the f-strings of a text."""
    return (part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node))


# --- the check ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What is left of a hunt: the numbers of the mistakes that are still there, None where what the listing
    does is what no part of them does; the labels that show it, with the listing's values; a sentence."""

    left: tuple[int, ...] | None
    shows: tuple[tuple[str, str], ...] = ()
    sentence: str = ""


def look(hunt: Hunt, answer) -> Found:
    """What is left of a hunt in a listing, by what it does.

    answer: as the task's check takes it; of named answers those that are functions will do, and right ones
    stand in for the others.
    """
    task = registry.find(hunt.task)
    if task.names:
        answer = {**task.reference, **answer}
    seen = diagnose.observe(task, answer, SEEDS[0])
    if seen.values is None:
        return Found(None, sentence=seen.text or "One of its functions is a stub.")
    if _is_right(task, seen, answer):
        return Found(())
    left, shows = left_of(hunt, seen), tuple(_shows(task, seen))
    if left is None and not shows:
        return Found(None, sentence=diagnose.diagnose(task, answer).sentence)
    return Found(left, shows)


def left_of(hunt: Hunt, seen: Seen) -> tuple[int, ...] | None:
    """The mistakes of a hunt that a behaviour on the public seed shows; None for that of no part of them."""
    task = registry.find(hunt.task)
    for count in range(len(hunt.chosen), 0, -1):
        for part in itertools.combinations(hunt.chosen, count):
            if _does(task, seen, bugs.behaviour(task, part)):
                return part
    return None


def _is_right(task: Task, seen: Seen, answer) -> bool:
    """Whether an answer is right by the task's own measure: on all public seeds, and steady."""
    if not diagnose.right(task, seen, expected(task, SEEDS[0])):
        return False
    others = {seed: diagnose.observe(task, answer, seed) for seed in SEEDS[1:]}
    fine = all(diagnose.right(task, other, expected(task, seed)) for seed, other in others.items())
    return fine and diagnose.steady(seen, diagnose.observe(task, answer, SEEDS[0], 2))


def _does(task: Task, seen: Seen, other: Seen) -> bool:
    """Whether a behaviour is that of another, as closely as the task's values are compared."""
    known = seen.values is not None and other.values is not None
    return known and not seen.changed and not bugs.apart(task, seen, other)


def _shows(task: Task, seen: Seen):
    """(label, value) of what is not as it should be, in the order of the check."""
    for label, right in expected(task, SEEDS[0]).values.items():
        mine = seen.values.get(label)
        if mine is None:
            yield label, "missing"
        elif not same_value(mine, right, task.tolerance_of(label)):
            rows = [(name.removeprefix(label).strip(" ,"), text) for name, text in _rows(task, label, mine)]
            yield label, ", ".join(f"{text} ({name})" if name else text for name, text in rows)


def _rows(task: Task, label: str, value) -> list[tuple[str, str]]:
    return diagnose.rows(task, {label: value})[:4]


def hunt(ticket: str, *answer, **answers) -> None:
    """Say how many of a listing's mistakes are still there, and which measurement shows it; never which line.

    ticket: of the hunt, "4.2-mq3zc".  answer: the listing's function; for a task with several answers the
    functions by their names.  When none is left it prints what the mistakes were.

    Raises NotYet or NoSuchTask with one sentence, which a notebook shows without a traceback.
    """
    try:
        this = Hunt.of(ticket)
        task = registry.find(this.task)
        _fits(task, answer, answers)
        found = look(this, answers if task.names else answer[0])
    except ValueError as error:
        raise NoSuchTask(f"{error}") from None
    many = len(this.chosen)
    for label, value in found.shows[:SHOWN]:
        print(f"{task.id}  not as it should be: {label}; the listing gives {value}")
    if len(found.shows) > SHOWN:
        print(f"{task.id}  and {len(found.shows) - SHOWN} more")
    if found.left is None:
        why = found.sentence or "a repair has changed something that was right, or only half of a mistake"
        raise NotYet(f"{task.id} not yet. What the listing does now none of its mistakes does: {why}")
    if found.left:
        count = len(found.left)
        raise (NotTried if count == many else NotYet)(
            f"{task.id} not yet. {counted(count, many)}; what stands above shows it."
        )
    gone = ("the mistake is", "both mistakes are", "all three mistakes are")[min(many, 3) - 1]
    print(f"{task.id} hunt done: {gone} gone. What a tutor says of them:")
    for index in this.chosen:
        print(f"- {task.mistakes[index].says}")


def counted(count: int, many: int) -> str:
    """'1 of 2 mistakes is still there'."""
    if many == 1:
        return "The mistake is still there"
    verb = "is" if count == 1 else "are"
    return f"{count} of {many} mistakes {verb} still there"


def _fits(task: Task, answer: Sequence, answers) -> None:
    """Raise ValueError for a call that does not fit the task."""
    functions = [name for name, one in task.reference.items() if callable(one)] if task.names else []
    if not task.names and (len(answer) != 1 or answers):
        raise ValueError("the hunt takes its ticket and the listing's function")
    if task.names and (answer or not set(functions) <= set(answers) <= set(task.names)):
        raise ValueError(f"the hunt takes its ticket and {', '.join(f'{n}=...' for n in functions)}")
