"""Claims under test: what textbooks and folklore say, as data, each with the experiment that decides it.

A claim is recorded in the module of its chapter, in this folder::

    from . import Claim, register

    def few_steps():
        return {"distance at 20 steps": ..., "distance at 1000 steps": ...}

    register(Claim(
        id="T05", chapter="01", claim="…in our words…", source="Textbook, section 3.2",
        experiment=few_steps, holds=lambda r: r["distance at 20 steps"] < 2 * r["distance at 1000 steps"],
        verdict=False, finding="…what was found, one or two sentences…", figure=draw_few_steps,
    ))

``tests/test_claims.py`` runs each experiment and demands that it still decides as recorded; :func:`table`
shows the claims of a chapter in a notebook.
"""

import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

# chapter -> module of this folder
MODULES = {"01": "ddpm", "02": "ddim", "03": "sde_ode", "04": "dpm_solver", "05": "distill", "06": "amed"}


@dataclass(frozen=True)
class Claim:
    """One testable statement.

    id: its id or ids (comma separated) in the list of claims of the source texts. chapter: two digits. claim:
    in our words. source: the text and section. experiment: no arguments, returns a dict label -> number, the
    same on every run.
    holds: of that dict, whether the claim holds in it. verdict: what was found when it was recorded, True or
    False.
    finding: the verdict in words, with the condition under which it holds. figure: a function of the
    experiment's dict returning a :class:`toolkit.plots.Picture`, or None.
    """

    id: str
    chapter: str
    claim: str
    source: str
    experiment: Callable[[], dict]
    holds: Callable[[dict], bool]
    verdict: bool
    finding: str
    figure: Callable | None = None

    def __post_init__(self):
        for name in ("id", "chapter", "claim", "source", "finding"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise ValueError(
                    f"claim {self.id!r}: {name} must be a non-empty text, got {getattr(self, name)!r}."
                )
        if self.chapter not in MODULES:
            raise ValueError(
                f"claim {self.id}: chapter must be one of {', '.join(MODULES)}, got {self.chapter!r}."
            )
        if not isinstance(self.verdict, bool):
            raise ValueError(f"claim {self.id}: verdict must be True or False, got {self.verdict!r}.")

    def run(self):
        """The experiment's numbers (run once in a process, then kept)."""
        return _run(self.experiment)

    def decided(self):
        """Whether the claim holds, by the experiment run now."""
        return bool(self.holds(self.run()))


@cache
def _run(experiment):
    return experiment()


REGISTRY: dict[str, Claim] = {}


def register(claim):
    """Add a claim to the registry; ValueError when its id is taken. Returns the claim."""
    if claim.id in REGISTRY and REGISTRY[claim.id].experiment.__qualname__ != claim.experiment.__qualname__:
        raise ValueError(f"claim {claim.id} is registered twice: give one of them another id.")
    REGISTRY[claim.id] = claim
    return claim


def claims(chapter=None):
    """The claims of a chapter ("01"), or of all chapters, in the order of their recording."""
    if chapter is not None and chapter not in MODULES:
        raise ValueError(f"chapter must be one of {', '.join(MODULES)}, got {chapter!r}.")
    for number, name in MODULES.items():
        if chapter in (None, number):
            import_module(f"{__name__}.{name}")
    return [claim for claim in REGISTRY.values() if chapter in (None, claim.chapter)]


class Table:
    """Claims as a table that a notebook shows (HTML), a page can hold (Markdown) and a terminal can print."""

    columns = ("claim", "source", "verdict", "what was found")

    def __init__(self, rows):
        self.rows = list(rows)

    def cells(self):
        """One tuple of texts a claim."""
        return [
            (f"{c.claim} ({c.id})", c.source, "holds" if c.verdict else "fails", c.finding) for c in self.rows
        ]

    def markdown(self):
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


def table(chapter=None):
    """The claims of a chapter, with their recorded verdicts, for display."""
    return Table(claims(chapter))


def recorded(name):
    """The results of a study too long for a notebook, as a dict read from recorded/<name>.json; its keys
    about and machine say what was measured, and where.  ValueError for a name that is not there.
    """
    folder = Path(__file__).parent / "recorded"
    names = sorted(path.stem for path in folder.glob("*.json"))
    if name not in names:
        raise ValueError(f"recorded results are {', '.join(names) or 'none'}; got {name!r}.")
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
