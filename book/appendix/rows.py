"""The rows of `rows.toml`: what the source texts define, ask and state, one by one."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from book.claims import Claim, claims

FILE = Path(__file__).with_name("rows.toml")
KINDS = ("method", "exercise", "claim", "listing", "fact", "history", "unsourced", "typo")
PROSE = ("history", "unsourced", "typo")
"""Kinds that need a line and no experiment."""


@dataclass(frozen=True)
class Row:
    """A point of a text; its fields are told at the head of `rows.toml`."""

    id: str
    kind: str
    text: str
    section: str
    says: str = ""
    right: str = ""
    cite: str = ""
    at: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    parts: tuple[tuple[str, str, str], ...] = ()
    rest: str = ""
    figure: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"row {self.id}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")

    @property
    def claims(self) -> list[Claim]:
        """The claims that answer it: those with its id, then those that it names."""
        own = _by_point().get(self.id, [])
        return own + [one for one in _by_point().get("", []) if one.id in self.also and one not in own]

    @property
    def tasks(self) -> list[str]:
        """The tasks that it names besides those that carry its id."""
        named = " ".join([*self.also, *(tasks for _, tasks, _ in self.parts)])
        return list(dict.fromkeys(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", named)))


@dataclass(frozen=True)
class Section:
    """A section of a text: the text's letter, its number or name there, its subject, its rows."""

    text: str
    name: str
    title: str
    rows: tuple[Row, ...]

    @property
    def heading(self) -> str:
        """As the appendix heads it: 'T 8.1.2: the subject'."""
        return f"{self.text} {self.name}: {self.title}"


@dataclass(frozen=True)
class Text:
    """A source text: its letter, its name, what it does well, its sections in their order."""

    letter: str
    name: str
    well: str
    sections: tuple[Section, ...]


def ids(claim: Claim) -> list[str]:
    """The rows that a claim names: ['S18', 'few steps'] of 'S18, few steps', whose second names no row."""
    return re.split(r", ?", claim.id)


@cache
def _by_point():
    """{id of a point: its claims}; under "" all of them."""
    found = {"": claims()}
    for one in found[""]:
        for point in ids(one):
            found.setdefault(point, []).append(one)
    return found


@cache
def _data():
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def told() -> dict[str, str]:
    """{id of a claim: where a chapter tells of it}, for claims whose experiment no cell names."""
    return _data()["told"]


@cache
def texts() -> tuple[Text, ...]:
    """The five texts, with all their rows.  Raises ValueError for a row of no kind."""
    data = _data()
    sections = [
        Section(one["text"], one["name"], one["title"], tuple(_row(row, one) for row in one["rows"]))
        for one in data["section"]
    ]
    return tuple(
        Text(t["letter"], t["name"], t["well"], tuple(s for s in sections if s.text == t["letter"]))
        for t in data["text"]
    )


def _row(row, section):
    lists = {key: tuple(row[key]) for key in ("at", "also") if key in row}
    parts = {"parts": tuple(map(tuple, row["parts"]))} if "parts" in row else {}
    return Row(**{**row, "text": section["text"], "section": section["name"], **lists, **parts})


def rows() -> list[Row]:
    """All rows, in the order of the texts."""
    return [row for text in texts() for section in text.sections for row in section.rows]


def outside() -> list[Claim]:
    """The claims that no row leads to: of papers, of libraries, of folklore."""
    reached = {one.id for row in rows() for one in row.claims}
    return [one for one in claims() if one.id not in reached]


LETTERS = {
    "T": r"T\b|[Tt]extbook",
    "B": r"B\b|[Bb]log",
    "P": r"P\b|(PyTorch )?tutorial",
    "S": r"S\b|[Ss]ummary",
    "I": r"I\b|[Ii]ntroduction",
}


def said_in(claim: Claim) -> set[str]:
    """The letters of the texts that a claim's source names; none for folklore and papers."""
    parts = re.split(r"; ?|, and ", claim.source)
    return {letter for part in parts for letter, name in LETTERS.items() if re.match(name, part)}
