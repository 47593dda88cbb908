"""Each recorded claim is decided by its experiment as it was when it was recorded."""

import math

import pytest

from book import claims as module
from book.claims import Claim, Table, claim, claims, table

ALL = claims()


@pytest.mark.slow
@pytest.mark.parametrize("claim", ALL, ids=lambda claim: f"{claim.chapter}-{claim.id}")
def test_experiment_decides_as_recorded(claim):
    numbers = claim.run()
    assert numbers and all(isinstance(k, str) and math.isfinite(v) for k, v in numbers.items())
    assert claim.decided() == claim.verdict, f"{claim.says}: {numbers}"


def example(**changes):
    fields = dict(
        id="T00",
        says="Two is more than one",
        source="Arithmetic, section 1",
        experiment=lambda: {"one": 1.0, "two": 2.0},
        holds=lambda r: r["two"] > r["one"],
        verdict=True,
        finding="It is, by one.",
    )
    return Claim(**(fields | changes))


def test_a_claim_runs_and_decides():
    assert example().decided() == example().verdict == "holds"
    less = example(holds=lambda r: r["two"] < r["one"], verdict=False)
    assert less.decided() == less.verdict == "fails"


def test_two_questions_have_four_verdicts():
    yes, no = (lambda r: r["two"] > r["one"]), (lambda r: r["two"] < r["one"])
    assert [example(holds=h, fails=f).decided() for h, f in ((yes, no), (yes, yes), (no, yes), (no, no))] == [
        "holds",
        "holds if",
        "fails",
        "not decided",
    ]


@pytest.mark.parametrize("verdict", ["holds if", "not decided"])
def test_a_verdict_of_two_questions_needs_both(verdict):
    with pytest.raises(ValueError, match="needs fails="):
        example(verdict=verdict)


@pytest.mark.parametrize("changes", [{"says": ""}, {"finding": " "}, {"verdict": "true"}, {"id": ""}])
def test_bad_record_is_one_sentence(changes):
    with pytest.raises(ValueError, match="^claim [^\n]+$"):
        example(**changes)


def test_table_shows_claim_and_verdict_in_three_forms():
    shown = Table([example(says="a < b | c")])
    assert "a &lt; b" in shown._repr_html_() and 'scope="col"' in shown._repr_html_()
    assert "a < b \\| c (T00)" in shown.markdown()
    assert repr(shown).startswith("HOLDS: a < b")
    on_a_condition = Table([example(verdict="holds if", fails=bool)])
    assert on_a_condition.cells()[0][2] == "holds if …" and repr(on_a_condition).startswith("HOLDS IF …: Two")
    with pytest.raises(ValueError, match="chapter must be one of"):
        table("99")


def test_a_claim_that_holds_somewhere_says_where():
    half = example(holds=lambda r: False, verdict=False, where="in base 2")
    assert Table([half]).cells()[0][2] == "holds in base 2" and example().told == "holds"
    with pytest.raises(ValueError, match="^claim T00: it holds throughout"):
        example(where="in base 2")


def test_claims_stand_above_their_experiment_in_order(monkeypatch):
    monkeypatch.setattr(module, "REGISTRY", {})
    fields = dict(source="s", holds=bool, verdict=True, finding="f")

    @claim("A", says="one", **fields)
    @claim("B", says="two", **fields)
    @claim("C", says="three", **fields)
    def numbers():
        return {"one": 1.0}

    @claim("D", says="four", **fields)
    def others():
        return {"two": 2.0}

    assert list(module.REGISTRY) == ["A", "B", "C", "D"]
    assert numbers() == {"one": 1.0}
    with pytest.raises(ValueError, match="claim A is registered twice"):
        claim("A", says="five", **fields)(others)
