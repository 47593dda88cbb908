"""Mistakes that can be put into a listing together: which of a task's, and which of their combinations.

A bug is a listed mistake that is nothing but edits of one function of the right answer.  A combination may be
drawn if every part of it does something else than every other part, than the whole and than the right answer
(none cancels, none hides another), and none of them stops.  That is found by running them all:
`studies/hunt_pairs.py` writes `chNN/recorded/hunts.json`, which is read here.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import FunctionType

import numpy as np

from book.lessons import edits, registry
from book.lessons.diagnose import SEEDS, Seen, expected, full_answer, observe, same_value
from book.lessons.task import Task

MARGIN = 10.0
"""Two behaviours are told apart where a value differs by so many of the task's tolerances."""

SLOWEST = 1.0
"""Seconds that the right answer of a task may take, for its mistakes to be hunted."""

TRIPLES = 12
"""Combinations of three that are recorded for a task."""


@dataclass(frozen=True)
class Bug:
    """A mistake as edits: its number among the task's, the answer's name ('' for the only one), the edits."""

    index: int
    name: str
    function: FunctionType
    edits: tuple[tuple[str, str], ...]


def bugs(task: Task) -> dict[int, Bug]:
    """{number among the task's mistakes: the bug} of those that are edits of one function of the answer."""
    right = task.reference if task.names else {"": task.reference}
    found = {}
    for index, mistake in enumerate(task.mistakes):
        wrong = mistake.answer
        if not isinstance(wrong, Mapping):
            wrong = {_name(right, wrong): wrong}
        if len(wrong) != 1 or mistake.as_given:
            continue
        ((name, function),) = wrong.items()
        change = getattr(function, "change", None)
        if change and not change.names and change.function is right.get(name):
            found[index] = Bug(index, name, change.function, change.edits)
    return found


def _name(right: Mapping, function) -> str:
    """The name of the answer that a function alone stands for."""
    own = getattr(function, "__name__", "")
    return next((name for name, one in right.items() if name and getattr(one, "__name__", "-") == own), "")


def texts(task: Task, chosen: Collection[int]) -> dict[str, str]:
    """{name: source, with its docstring} of the functions of a task's answer, with these bugs in them."""
    right = task.reference if task.names else {"": task.reference}
    return {
        name: edits.edited(function, *_edits(task, chosen, name), docstring=True)
        for name, function in right.items()
        if isinstance(function, FunctionType)
    }


def answer(task: Task, chosen: Collection[int]):
    """The answer to a task with these bugs in it, as the check takes it.

    Raises ValueError for bugs whose edits overlap.
    """
    right = task.reference if task.names else {"": task.reference}
    wrong = {
        name: edits.changed(function, *made)
        for name, function in right.items()
        if isinstance(function, FunctionType) and (made := _edits(task, chosen, name))
    }
    if not wrong:
        return task.reference
    return full_answer(task, wrong) if task.names else wrong[""]


def _edits(task: Task, chosen: Collection[int], name: str) -> list[tuple[str, str]]:
    """The edits of a function that these bugs make.  Raises ValueError for bugs whose edits overlap."""
    known = bugs(task)
    groups = [known[index].edits for index in sorted(chosen) if known[index].name == name]
    made = [edit for group in groups for edit in group]
    if len(groups) > 1:
        function = next(bug.function for bug in known.values() if bug.name == name)
        other = [edit for group in reversed(groups) for edit in group]
        if edits.edited(function, *made) != edits.edited(function, *other):
            raise ValueError(f"task {task.id}: mistakes {sorted(chosen)} change each other's fragments")
    return made


# --- what can be told apart -----------------------------------------------------------------------------


def apart(task: Task, a: Seen, b: Seen) -> bool:
    """Whether two behaviours differ clearly: by MARGIN tolerances in a value, or in a word or a shape."""
    if a.values.keys() != b.values.keys():
        return True
    mine, theirs = a.values, b.values
    return any(not same_value(mine[k], theirs[k], MARGIN * task.tolerance_of(k), True) for k in mine)


def behaviour(task: Task, chosen: Collection[int], seconds: float = 0.0, seed: int = SEEDS[0]) -> Seen:
    """What a task's answer does with these bugs in it.

    seconds: of processor time, after which it is stopped, if above 0.  seed: of the inputs; by default those
    that everybody sees.
    """
    with _stopped_after(seconds):
        return observe(task, answer(task, chosen), seed)


@contextlib.contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    def stop(*_):
        raise TimeoutError("too slow for a hunt")

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def may_be_drawn(task: Task, chosen: Collection[int], look: Callable[[frozenset], Seen | None]) -> bool:
    """Whether every part of a combination, from the right answer to the whole, does what no other does.

    look: gives what the answer does with some of the bugs, None where they cannot be put in together.
    """
    parts = [frozenset(part) for n in range(len(chosen) + 1) for part in itertools.combinations(chosen, n)]
    seen = [look(part) for part in reversed(parts)]  # the whole first: it is what most often fails
    if any(one is None or one.values is None or one.changed or not _numbers(one) for one in seen):
        return False
    return all(apart(task, a, b) for a, b in itertools.combinations(seen, 2))


def _numbers(seen: Seen) -> bool:
    """Whether a behaviour has values, and none is nan or infinite: that hides what is wrong besides."""
    return all(isinstance(value, str) or np.isfinite(value).all() for value in seen.values.values())


# --- the record -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Combinations:
    """What may be drawn of a task: tuples of numbers of its mistakes.  print: of the bugs that were run."""

    print: str
    singles: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, ...], ...]
    triples: tuple[tuple[int, ...], ...]

    def of(self, count: int) -> tuple[tuple[int, ...], ...]:
        """Those with this many bugs."""
        return {1: self.singles, 2: self.pairs, 3: self.triples}.get(count, ())


def fingerprint(task: Task) -> str:
    """Changes when a bug of a task, or a function that bugs are put into, does."""
    parts = [(bug.index, bug.name, edits.edited(bug.function), bug.edits) for bug in bugs(task).values()]
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def find_combinations(task: Task, triples: int = TRIPLES) -> Combinations | None:
    """Run all bugs of a task, all pairs, and triples until so many may be drawn; None for a slow task, and
    for one of whose bugs none can be told from the right answer."""
    began = time.process_time()
    expected(task, SEEDS[0])
    observe(task, task.reference, SEEDS[0])
    limit = time.process_time() - began
    known = bugs(task)
    if not known or limit / 2 > SLOWEST:
        return None

    @cache
    def look(part: frozenset) -> Seen | None:
        try:
            return behaviour(task, part, 1.0 + 5 * limit)
        except ValueError:
            return None

    def fine(chosen):
        return may_be_drawn(task, chosen, look)

    singles = [one for one in itertools.combinations(known, 1) if fine(one)]
    alone = [index for (index,) in singles]
    pairs = [two for two in itertools.combinations(alone, 2) if fine(two)]
    threes = [
        three
        for three in itertools.combinations(alone, 3)
        if all(two in set(pairs) for two in itertools.combinations(three, 2))
    ]
    threes.sort(key=lambda three: hashlib.blake2b(repr(three).encode()).digest())
    good = itertools.islice(filter(fine, threes[: 2 * triples]), triples)
    found = Combinations(fingerprint(task), tuple(singles), tuple(pairs), tuple(good))
    return found if singles else None


def combinations(lesson: str) -> dict[str, Combinations]:
    """{task: what may be drawn of it} of a lesson, as recorded.

    Raises ValueError for a lesson without a record.
    """
    path = registry.folder_of(lesson) / "recorded" / "hunts.json"
    try:
        raw = json.loads(path.read_text("utf8"))
    except FileNotFoundError:
        raise ValueError(f"lesson {lesson} has no hunts: run python -m studies.hunt_pairs {lesson}") from None
    kinds, tasks = ("singles", "pairs", "triples"), registry.tasks(lesson)
    return {
        task: Combinations(one["print"], *(tuple(map(tuple, one[kind])) for kind in kinds))
        for task, one in raw.items()
        if task in tasks
    }
