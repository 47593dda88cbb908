"""What claims decide on other random numbers, as `studies.neighbours` recorded it."""

import json
from functools import cache
from pathlib import Path

from book.claims import Claim

FILE = Path(__file__).with_name("neighbours.json")
SHIFTS = (1000,)
NOTHING = "draws nothing"


@cache
def record() -> dict[str, list[str]]:
    """{id of a claim: what it decided with seeds moved by each of `SHIFTS`, or `NOTHING`}."""
    return json.loads(FILE.read_text(encoding="utf-8"))["claims"]


def turned(claim: Claim) -> list[str]:
    """The verdicts of a claim on other random numbers that differ from its own; none if untried."""
    return [one for one in record().get(claim.id, []) if one not in (claim.verdict, NOTHING)]
