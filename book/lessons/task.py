"""What a task is: the record that an exercise author writes, checked when it is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = (
    "implement-equation",
    "implement-sampler",
    "figure",
    "number",
    "coefficient",
    "find-the-bug",
    "claim",
)


def is_stub(message: str) -> bool:
    """Whether a NotImplementedError with this message is the hand-out's, or one that says nothing; torch's
    and a library's own say what they cannot do."""
    return re.fullmatch(r"(\d+\.\d+: your answer)?", message.strip()) is not None


class Remark(Exception):
    """Raised by a probe or facts that see the trouble themselves: `raise Remark("Your list is empty.")`."""


@dataclass(frozen=True)
class Made:
    """An answer that is made when first needed: `Mistake(Made(draw_wrong_axes), "...")`.

    For answers that cost something to make (a figure, a long run), so that importing the tasks stays quick.
    """

    make: Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A wrong answer that people really give, and what a tutor would say to it.

    answer: a runnable wrong answer, of the same form as the right one.  For a task with several named
        answers, a dict with those that are wrong, or the one function that is: the others are taken from the
        reference.  A mistake of functions only is recognised by what they do, whatever the named numbers and
        words are that the student measured with them.
    says: one or two sentences; they may end in a question.  They never tell the answer.
    as_given: this is the faulty listing that the exercise hands out (find the bug): whoever leaves it as it
        stands has not tried yet.
    """

    answer: Any
    says: str
    as_given: bool = False

    def __post_init__(self):
        if not self.says.strip():
            raise ValueError("a mistake has an empty sentence: write what a tutor would say")


@dataclass(frozen=True)
class Variation:
    """How a task can be given with other constants; see `varying`.

    choices: {name: values}; every combination is possible, and the book's own is none of the values.
    words: `words(**constants)` gives {as the book says it: as it is said then}, for statement, answer cell,
        hints, questions, sentences and labels.
    fields: `fields(task, **constants)` gives those of the task's fields that change: reference, facts,
        mistakes (their sentences are put into other words by `words`).
    """

    choices: Mapping[str, tuple[float, ...]]
    words: Callable[..., Mapping[str, str]]
    fields: Callable[..., Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Task:
    """One task of a lesson: what is asked, how an answer is probed, and the mistakes that are recognised.

    id: "2.3" is the third task of lesson 02.
    title, kind (one of KINDS), difficulty (1 to 3), minutes, points: shown above the statement.
    ids: the rows of the source texts that it takes up, such as ("BP2", "T03").
    probe: `probe(answer, seed) -> {label: value}` runs the answer's functions on inputs made from the seed,
        and evaluates its formulas, and returns a few labelled values: numbers, arrays, tensors or short
        strings.  The labels are read by the student, so let them say what was called: "x at eta = 0".
        Everything random in it comes from the seed, any int from 0 to 2**48.  For grading it runs beside the
        student's code, so it knows nothing of the right answer; and what it returns should change with the
        seed, so that printing the known values earns nothing.  None if no answer is a function or a formula.
    facts: `facts(answer, seed) -> {label: value}`, of the answers that are data: numbers, words, a drawn
        Axes (of which it uses what `read_axes` tells, and no more).  It may hold the right numbers and words,
        since it never runs where a student's code does.  It gets the same answer as the probe; a function in
        it is called only where a number has to fit to that function, for in grading it may be the
        reference's.  Its values follow the probe's, under labels of their own.  None if no answer is data.
    reference: the right answer, the solution notebook's: `solution.forward`; for several answers a dict of
        them.
    mistakes: the wrong answers with their sentences.
    hints: exactly three, from a nudge to the key step; none quotes the solution.
    names: for several answers, `check("2.3", step=..., grid=...)`: their names; the probe then gets
        `answer.step`.
    tolerance: values agree when |a - b| <= tolerance (1 + |b|).
    loose: {label: (tolerance, remark)}: a value that another method of the same order and cost may give, too,
        and so need agree within this tolerance only.  Where it does not agree within the task's, the remark
        is said beside "done": what the answer is in place of the statement's form.
    decimals: of the printed values.
    allows: what of the toolkit the statement lets an answer call, such as 'toolkit.exponential.phi': that is
        no suspicion.
    gives_away: what of it is the answer itself although it lies beside the samplers' modules, whose use is
        told to an instructor anyway; 'toolkit.schedules.Discrete' stands for all its methods.
    asks: {label: question}: said instead of the generic question where that label is the first to differ;
        `{value}` in it stands for the student's number.  Let the first labels of a probe be properties (a
        variance that should stay 1, a point that should come back), so that a wrong answer that nobody listed
        is told something true.
    varies: how the task can be given with other constants, or None.

    Raises ValueError, with the task's id, for a field that does not fit.
    """

    id: str
    title: str
    kind: str
    difficulty: int
    minutes: int
    points: int
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    reference: Any
    probe: Callable[[Any, int], Mapping[str, Any]] | None = None
    facts: Callable[[Any, int], Mapping[str, Any]] | None = None
    ids: tuple[str, ...] = ()
    allows: tuple[str, ...] = ()
    gives_away: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tolerance: float = 1e-6
    decimals: int = 6
    asks: Mapping[str, str] = field(default_factory=dict)
    loose: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    varies: Variation | None = None

    def __post_init__(self):
        def need(fine, text):
            if not fine:
                raise ValueError(f"task {self.id}: {text}")

        need(re.fullmatch(r"\d+\.\d+", self.id), "an id is 'lesson.number', such as '2.3'")
        need(self.kind in KINDS, f"kind is {self.kind!r}; use one of {', '.join(KINDS)}")
        need(self.difficulty in (1, 2, 3), f"difficulty is {self.difficulty!r}; use 1, 2 or 3")
        need(self.minutes > 0 and self.points > 0, "minutes and points are above 0")
        need(self.probe or self.facts, "give a probe, facts, or both")
        need(self.reference is not None, "the right answer is missing: give a reference")
        need(
            not self.names or set(self.names) == set(self.reference),
            f"the reference has to be a dict of {', '.join(self.names)}",
        )
        need(len(self.hints) == 3, f"there are {len(self.hints)} hints; give exactly three")
        need(all(hint.strip() for hint in self.hints), "a hint is empty")
        need(len(set(self.hints)) == 3, "two hints are the same")
        need(sum(m.as_given for m in self.mistakes) <= 1, "only one mistake can be the listing as given")
        need(all(wide > self.tolerance for wide, _ in self.loose.values()), "a loose tolerance is too narrow")

    def tolerance_of(self, label: str) -> float:
        """The tolerance within which the value of this label is right."""
        return self.loose[label][0] if label in self.loose else self.tolerance

    @property
    def lesson(self) -> str:
        """The lesson's two digits: '02' for task 2.3."""
        return f"{int(self.id.split('.')[0]):02d}"

    @property
    def slug(self) -> str:
        """The id as it appears in cell ids: '2-3' for task 2.3."""
        return self.id.replace(".", "-")

    @property
    def heading(self) -> str:
        """The two lines of Markdown that open the statement."""
        stars = "●" * self.difficulty + "○" * (3 - self.difficulty)
        unit = "point" if self.points == 1 else "points"
        return (
            f"### {self.id} {self.title}\n\n"
            f"*Difficulty {stars} ({self.difficulty} of 3), about {self.minutes} minutes, "
            f"{self.points} {unit}.*"
        )
