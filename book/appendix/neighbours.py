"""What claims decide on their neighbours, as `studies.neighbours` recorded it."""

import json
from functools import cache
from pathlib import Path

from book.claims import Claim

FILE = Path(__file__).with_name("neighbours.json")
SEEDS = "other random numbers"
"""The neighbour that every claim has; the others are named where its experiment stands (`tried_on`)."""
NOTHING = "draws nothing"


@cache
def record() -> dict[str, dict[str, str]]:
    """{id of a claim: {name of a neighbour: what it decided there}}; under `SEEDS` also `NOTHING`."""
    return json.loads(FILE.read_text(encoding="utf-8"))["claims"]


def untried(claim: Claim) -> bool:
    """Whether a claim, or a neighbour of it, is not in the record, or the record has one that it has not."""
    return {*record().get(claim.id, {})} != {SEEDS, *claim.neighbours}


def turned(claim: Claim) -> dict[str, str]:
    """{neighbour: verdict} of a claim where the verdict is not its own; none if untried."""
    found = record().get(claim.id, {})
    return {name: verdict for name, verdict in found.items() if verdict not in (claim.verdict, NOTHING)}
