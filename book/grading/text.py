"""Text that others wrote (names, file names, what an answer printed), made fit to be shown and stored."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor moves
    r"|\x1b[\]PX^_][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)?"  # titles, links and other strings for it
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)

# Marks that turn the reading direction round: what is shown would not be what is there.  Also what is no
# character at all: control codes other than newline and tab, halves of pairs, and what XML 1.0 leaves out.
_UNSHOWN = re.compile(
    "[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)


def plain(text: str, limit: int = 0) -> str:
    """The text in NFC without terminal codes, control characters and marks that turn its direction round.

    Tabs stay; every kind of line end becomes '\\n'.  limit: characters kept, if above 0; the end then says
    how many are left out.
    """
    text = f"{text}"
    # Cleaning costs time for each character; nobody reads beyond the limit.
    size, text = len(text), text[: 4 * limit] if limit else text
    text = _ANSI.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = unicodedata.normalize("NFC", _few_marks(_UNSHOWN.sub("", text)))
    if limit and (len(text) > limit or size > 4 * limit):
        text = text[:limit].rstrip() + f"\n… ({max(size - limit, 1):,} more characters)"
    return text


MARKS = 30
"""Accents on one letter that are kept, as many as Unicode's stream-safe form has (UAX 15, section 13)."""


def _few_marks(text: str) -> str:
    """The text with so many combining marks in a row at most: sorting them takes their number squared."""
    if text.isascii():
        return text
    kept, row = [], 0
    for letter in text:
        row = (
            row + 1 if unicodedata.combining(letter) or letter in "\u0f73\u0f75\u0f81" else 0
        )  # two marks each
        if row <= MARKS:
            kept.append(letter)
    return "".join(kept)


def line(text: str, limit: int = 200) -> str:
    """The text as one line of at most so many characters, cleaned as by `plain`."""
    text = " ".join(plain(f"{text}"[: 8 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def without_numbers(text: str) -> str:
    """The text with 0 in the place of each number: what differs only in numbers becomes one."""
    return re.sub(r"[-+]?\d(?:[\d.,]*\d)?(?:e[-+]?\d+)?", "0", text)


def some(names: Sequence[str]) -> str:
    """At most five names, the others counted."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


def words(name: str) -> tuple[str, ...]:
    """A name as its words in alphabetical order, so that 'Lovelace, Ada' is 'Ada Lovelace'."""
    return tuple(sorted(re.findall(r"\w+", line(name).casefold())))


def squeezed(name: str) -> str:
    """A name as Canvas writes it into file names: 'Lovelace, Ada' is 'lovelaceada'."""
    return re.sub(r"[\W_]", "", line(name).casefold())


def points(value: float) -> str:
    """Points as people write them: '2', '2.5', '1.33'."""
    return f"{round(value + 0.0, 2):.2f}".rstrip("0").rstrip(".")


def counted(number: float, word: str) -> str:
    """'1 point', '2 points', '2.5 points'."""
    return f"{points(number)} {word}" if number == 1 else f"{points(number)} {word}s"
