"""What each recorded claim is held to, in a test of its own or in the kernel of its chapter's notebook."""

import math
import re
from pathlib import Path

from book.chapters import number, read
from book.claims import Claim, claims

COMPARED = ("03", "04")
"""The chapters whose findings are compared with what their experiments return."""


def decides_as_recorded(claim: Claim) -> None:
    """Raise AssertionError where the claim's experiment, run now, does not decide as it was recorded."""
    numbers = claim.run()
    assert numbers and all(isinstance(k, str) and math.isfinite(v) for k, v in numbers.items()), numbers
    assert claim.decided() == claim.verdict, f"{claim.says}: {numbers}"


def states_what_it_measured(claim: Claim) -> None:
    """Raise AssertionError where a number in the finding that has decimals or a % is not among the results,
    rounded to the digits that stand there.
    """
    assert claim.unmeasured() == [], f"{claim.unmeasured()} in {claim.finding} {claim.run()}"


def undecided(asked: list[Claim]) -> list[str]:
    """A line for each of these claims that is not as it was recorded, whatever goes wrong with it."""
    lines = []
    for claim in asked:
        try:
            decides_as_recorded(claim)
            if claim.chapter in COMPARED:
                states_what_it_measured(claim)
        except Exception as error:  # the others are asked all the same
            lines.append(f"{claim.id}: {type(error).__name__}: {error}")
    return lines


def claims_of(notebook: Path) -> list[Claim]:
    """The claims that are asked in the kernel of one of a chapter's notebooks: those whose experiment its
    code names, and no earlier notebook's of the chapter; none of an appendix.
    """
    chapter = number(notebook)
    if chapter is None:
        return []
    there = sorted(notebook.parent.glob(f"{chapter}*.ipynb"))
    code = ["\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code") for path in there]

    def place(claim):
        name = re.compile(rf"\b{claim.experiment.__name__}\b")
        return next((path for path, text in zip(there, code, strict=True) if name.search(text)), None)

    return [claim for claim in claims(chapter) if place(claim) == notebook]
