"""Each recorded claim is decided by its experiment as it was when it was recorded."""

import math

import pytest

from book.claims import Claim, Table, claims, table
from book.plots import Picture

ALL = claims()


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: f"{claim.chapter}-{claim.id}")
def test_experiment_decides_as_recorded(claim):
    numbers = claim.run()
    assert numbers and all(isinstance(k, str) and math.isfinite(v) for k, v in numbers.items())
    assert claim.decided() is claim.verdict, f"{claim.claim}: {numbers}"
    if claim.figure is not None:
        assert isinstance(claim.figure(numbers), Picture)


def example(**changes):
    fields = dict(
        id="T00",
        chapter="01",
        claim="Two is more than one",
        source="Arithmetic, section 1",
        experiment=lambda: {"one": 1.0, "two": 2.0},
        holds=lambda r: r["two"] > r["one"],
        verdict=True,
        finding="It is, by one.",
    )
    return Claim(**(fields | changes))


def test_a_claim_runs_and_decides():
    assert example().decided() is True
    assert example(holds=lambda r: r["two"] < r["one"]).decided() is False


@pytest.mark.parametrize("changes", [{"chapter": "77"}, {"finding": " "}, {"verdict": "true"}, {"id": ""}])
def test_bad_record_is_one_sentence(changes):
    with pytest.raises(ValueError, match="^claim [^\n]+$"):
        example(**changes)


def test_table_shows_claim_and_verdict_in_three_forms():
    shown = Table([example(claim="a < b | c")])
    assert "a &lt; b" in shown._repr_html_() and 'scope="col"' in shown._repr_html_()
    assert "a < b \\| c (T00)" in shown.markdown()
    assert repr(shown).startswith("HOLDS: a < b")
    with pytest.raises(ValueError, match="chapter must be one of"):
        table("99")
