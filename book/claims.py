"""Claims under test: what textbooks and folklore say, each beside the experiment that decides it.

A claim stands above its experiment, in `experiments.py` of its chapter's folder::

    from book.claims import claim

    @claim(
        "T05",
        source="Textbook, section 3.2",
        says="…in our words…",
        holds=lambda r: r["distance at 20 steps"] < 2 * r["distance at 1000 steps"],
        verdict=False,
        finding="…what was found, one or two sentences…",
    )
    def few_steps():
        return {"distance at 20 steps": ..., "distance at 1000 steps": ...}

A verdict is one of four, `VERDICTS`; True and False stand for the plain two, "holds" and "fails". A claim
that holds on a condition, or that its experiment leaves open, has a second question, `fails`, which of itself
is "not holds". Yes to both: the experiment shows a side where the claim holds and one where it does not::

    holds=lambda r: r["calls, digits, ours"] < r["calls, digits, theirs"],
    fails=lambda r: r["calls, ring, ours"] > r["calls, ring, theirs"],
    verdict="holds if",
    finding="If the data are images, as the digits are; on the ring ...",

No to both: nothing is decided, since each question asks for more than the spread allows.

``tests/book/test_claims.py`` runs each experiment and demands that it still decides as recorded; `make test`
asks that in the kernel of the page that shows it;
:func:`table` shows the claims of a chapter in a notebook; `book.numbers` shows the numbers of an experiment.
"""

import html
import inspect
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, wraps

from book import folders

# what an experiment decides, by its answers to (does the claim hold in it, does it fail in it)
VERDICTS = {
    (True, False): "holds",
    (True, True): "holds if",
    (False, True): "fails",
    (False, False): "not decided",
}


@dataclass(frozen=True)
class Claim:
    """One testable statement.

    id: its id or ids (comma separated) in the list of claims of the source texts.
    source: the text and section.
    says: the claim in our words.
    experiment: no arguments, returns a dict label -> number, the same on every run.
    holds: of that dict, whether it shows the claim to hold, where its condition is met if it has one.
    verdict: what was found when it was recorded, one of `VERDICTS`; True is "holds", False is "fails".
    finding: the verdict in words, with the condition under which it holds.
    fails: of that dict, whether it shows the claim to fail; None is "not holds". Needed for "holds if" and
        "not decided", which have two questions.
    elsewhere: the numbers in the finding that the experiment does not return, as they stand there, each with
        what it is ("a width"), or the name of the function beside the experiment that returns it; every other
        one with decimals or a % must be among the experiment's results, rounded (`unmeasured`).
    figure: where a picture says more than the numbers, the id of the cell of its chapter that draws it; the
        appendix shows it.
    """

    id: str
    source: str
    says: str
    experiment: Callable[[], dict]
    holds: Callable[[dict], bool]
    verdict: str | bool
    finding: str
    fails: Callable[[dict], bool] | None = None
    elsewhere: dict[str, str] = field(default_factory=dict)
    figure: str = ""

    def __post_init__(self):
        for name in ("id", "source", "says", "finding"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise ValueError(
                    f"claim {self.id!r}: {name} must be a non-empty text, got {getattr(self, name)!r}"
                )
        if isinstance(self.verdict, bool):
            object.__setattr__(self, "verdict", "holds" if self.verdict else "fails")
        if self.verdict not in VERDICTS.values():
            words = ", ".join(map(repr, VERDICTS.values()))
            raise ValueError(f"claim {self.id}: verdict must be one of {words}, got {self.verdict!r}")
        if self.verdict in ("holds if", "not decided") and self.fails is None:
            raise ValueError(f"claim {self.id}: a verdict {self.verdict!r} needs fails=, the other question")
        if strange := set(self.elsewhere) - {text for text, _ in stated_numbers(self.finding)}:
            raise ValueError(f"claim {self.id}: elsewhere names {min(strange)!r}, no number of its finding")

    @property
    def told(self) -> str:
        """The verdict as a table has it."""
        return self.verdict.replace(" if", " if …")

    @property
    def neighbours(self) -> dict[str, dict]:
        """What its experiment is tried on besides, by `tried_on`: {name: what differs there}."""
        return getattr(self.experiment, "neighbours", {})

    @property
    def chapter(self) -> str:
        """The chapter in whose folder the experiment lies, two digits."""
        return folders.chapter_of(self.experiment.__module__)

    def run(self) -> dict:
        """The experiment's numbers (run once in a process, then kept)."""
        return _run(self.experiment)

    def decided(self) -> str:
        """The verdict by the experiment run now."""
        return self.verdict_of(self.run())

    def verdict_of(self, numbers: dict) -> str:
        """The verdict by numbers of the experiment, such as those with another seed."""
        holds = bool(self.holds(numbers))
        fails = not holds if self.fails is None else bool(self.fails(numbers))
        return VERDICTS[holds, fails]

    def unmeasured(self) -> list[str]:
        """The numbers of the finding that are not measured, rounded to as many digits (`rounds_to`), by the
        experiment, run now, or by the one that `elsewhere` names, nor explained there.
        """
        return [text for text, value in stated_numbers(self.finding) if not self._measured(text, value)]

    def _measured(self, text, value):
        source = self.experiment
        if text in self.elsewhere:
            source = getattr(sys.modules[source.__module__], self.elsewhere[text], None)
        return source is None or any(rounds_to(number, text, value) for number in _run(source).values())


@cache
def _run(experiment):
    return experiment()


def _kept(experiment):
    """The experiment, run once in a process as it stands, and each time where it is given arguments: its
    claims, its table and the tests of its sentences ask for the same numbers, and each gets a dict of its
    own.
    """

    @wraps(experiment)
    def run(*args, **options):
        return experiment(*args, **options) if args or options else dict(_run(experiment))

    run.kept = True
    return run


NUMBER = re.compile(r"(?<![\w.^/+])[-−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?: ?%)?")


def stated_numbers(finding: str) -> list[tuple[str, float]]:
    """(as it stands, its value) of each number in a finding that has decimals, an exponent or a %; whole
    numbers, which count calls and steps, are not among them.
    """
    found = [match.group().rstrip(",") for match in NUMBER.finditer(finding)]
    value = lambda text: float(text.replace("−", "-").replace(",", "").rstrip(" %"))
    return [(text, value(text)) for text in found if re.search(r"\.\d|e|%", text)]


def rounds_to(result: float, text: str, value: float) -> bool:
    """Whether a result, or 100 times it where a percentage is meant, rounds to a number of a finding in the
    digits that stand there. Sizes are compared, not signs.
    """
    mantissa = re.match(r"[-−]?\d[\d,]*(?:\.(\d+))?(?:e([-+]?\d+))?", text)
    half = 0.5 * 10.0 ** (int(mantissa[2] or 0) - len(mantissa[1] or ""))
    scales = (1, 100) if text.endswith("%") else (1,)
    return any(abs(abs(scale * result) - abs(value)) <= half * (1 + 1e-9) for scale in scales)


REGISTRY: dict[str, Claim] = {}


def claim(
    id: str,
    *,
    source: str,
    says: str,
    holds: Callable,
    verdict: str | bool,
    finding: str,
    fails: Callable | None = None,
    elsewhere: dict[str, str] | None = None,
    figure: str = "",
) -> Callable:
    """Decorate an experiment with a claim that it decides (see :class:`Claim` for the fields), and keep its
    numbers.

    Two claims on one experiment stand above it in their order.  Raises ValueError for an empty text, and for
    an id that another experiment has.
    """

    def register(experiment):
        experiment = experiment if hasattr(experiment, "kept") else _kept(experiment)
        new = Claim(id, source, says, experiment, holds, verdict, finding, fails, elsewhere or {}, figure)
        old = REGISTRY.get(id)
        if old and old.experiment.__qualname__ != experiment.__qualname__:
            raise ValueError(f"claim {id} is registered twice: give one of them another id")
        REGISTRY.pop(id, None)  # a module that is loaded again brings its claims again
        # decorators are applied from below: what stands above, on the same experiment, comes first
        later = [key for key, one in REGISTRY.items() if one.experiment is experiment]
        REGISTRY[id] = new
        REGISTRY.update({key: REGISTRY.pop(key) for key in later})
        return experiment

    return register


def tried_on(neighbours: dict[str, dict]) -> Callable:
    """Decorate an experiment with what else its claims are tried on (`studies.neighbours`): other data,
    another schedule, grid or number of steps.

    neighbours: {name: {what is replaced: by what}}.  A name reads on after "with", such as "six wider
        modes".  What is replaced is an argument of the experiment, or a name in its module, such as RING,
        that stands for something else while the experiment runs.

    Stands below the claims.  Raises ValueError for what is neither.
    """

    def keep(experiment):
        inner = inspect.unwrap(experiment)
        known = {*inspect.signature(inner).parameters, *inner.__globals__}
        if strange := {name for changes in neighbours.values() for name in changes} - known:
            raise ValueError(
                f"{inner.__name__} has no argument, and its module no name, {min(strange)!r} to replace"
            )
        experiment.neighbours = neighbours
        return experiment

    return keep


def claims(chapter: str | None = None) -> list[Claim]:
    """The claims of a chapter ("01"), or of all chapters in turn, in the order of their experiments.

    Raises ValueError for a chapter without experiments.
    """
    there = folders.chapters("experiments.py")
    if chapter is not None and chapter not in there:
        raise ValueError(f"chapter must be one of {', '.join(there)}, got {chapter!r}")
    numbers = [number for number in there if chapter in (None, number)]
    for number in numbers:
        folders.module(number, "experiments")
    return [one for number in numbers for one in REGISTRY.values() if one.chapter == number]


class Table:
    """Claims as a table that a notebook shows (HTML), a page can hold (Markdown) and a terminal can print."""

    columns = ("claim", "source", "verdict", "what was found")

    def __init__(self, rows):
        self.rows = list(rows)

    def cells(self) -> list[tuple]:
        """One tuple of texts a claim."""
        return [(f"{c.says} ({c.id})", c.source, c.told, c.finding) for c in self.rows]

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = ["| " + " | ".join(self.columns) + " |", "|---" * len(self.columns) + "|"]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in self.cells()]
        return "\n".join(lines)

    def __repr__(self):
        return "\n".join(
            f"{verdict.upper()}: {claim}. {finding}" for claim, _, verdict, finding in self.cells()
        )

    def _repr_html_(self):
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in self.columns)
        body = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{html.escape(text)}</td>' for text in row)
            + "</tr>"
            for row in self.cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table(chapter: str | None = None) -> Table:
    """The claims of a chapter, with their recorded verdicts, for display."""
    return Table(claims(chapter))


def recorded(name: str) -> dict:
    """The results of a study too long for a notebook, read from `recorded/<name>.json` of a chapter's folder.

    Its keys about and machine say what was measured, and where.  Raises ValueError for a name
    that is not there.
    """
    paths = {path.stem: path for path in sorted(folders.HERE.glob("ch[0-9][0-9]/recorded/*.json"))}
    if name not in paths:
        raise ValueError(f"recorded results are {', '.join(paths) or 'none'}; got {name!r}")
    return json.loads(paths[name].read_text(encoding="utf-8"))
