"""Each recorded claim is decided by its experiment as it was when it was recorded.

Where a page shows the experiment, `make test` asks in the kernel that has run it already
(`tests/book/notebooks/claimed.py`), and leaves out what is marked `claims` here.
"""

import dataclasses
from pathlib import Path

import pytest

from book import claims as module
from book.chapters import chapters
from book.claims import Claim, Table, claim, claims, table
from tests.book.deciding import COMPARED, claims_of, decides_as_recorded, states_what_it_measured, undecided

ALL = claims()
SHOWN = [one.id for path in chapters(Path(__file__)) for one in claims_of(path)]


def each(claims):
    """A case for each claim, marked where it is asked in a notebook's kernel, too."""
    return pytest.mark.parametrize(
        "claim",
        [pytest.param(one, marks=[pytest.mark.claims] * (one.id in SHOWN)) for one in claims],
        ids=[f"{one.chapter}-{one.id}" for one in claims],
    )


@pytest.mark.slow
@each(ALL)
def test_experiment_decides_as_recorded(claim):
    decides_as_recorded(claim)


@pytest.mark.slow
@each([one for one in ALL if one.chapter in COMPARED])
def test_numbers_of_the_finding_are_measured(claim):
    states_what_it_measured(claim)


def test_a_shown_claim_is_asked_in_one_notebook():
    assert len(set(SHOWN)) == len(SHOWN) > 100


def test_a_claim_that_is_not_as_recorded_is_told_and_the_others_are_asked():
    right = next(one for one in ALL if one.chapter == "01")
    wrong = {
        "other verdict": dataclasses.replace(right, verdict=right.verdict == "fails"),
        "no numbers": dataclasses.replace(right, experiment=moved(dict)),
        "nan": dataclasses.replace(right, experiment=moved(lambda: {"one": float("nan")})),
        "stops": dataclasses.replace(right, experiment=moved(lambda: 1 / 0)),
    }
    lines = undecided([*wrong.values(), right])
    assert len(lines) == len(wrong) and "ZeroDivisionError" in lines[-1]
    of_three = example(experiment=moved(two, "03"), finding="It is, by 2.5.")
    (line,) = undecided([of_three])
    assert "['2.5']" in line and undecided([example(experiment=moved(two, "03"))]) == []


def moved(experiment, chapter="01"):
    """The experiment as if it stood in the folder of a chapter."""

    def run():
        return experiment()

    run.__module__ = f"book.ch{chapter}.experiments"
    return run


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


def test_numbers_of_a_finding_are_those_with_decimals_or_per_cent():
    text = "In 20 steps 1.5 to 2e-4, −0.25, 3 % and 1,234.5 of them (section 4.5 aside), h^2 and sd/2 not"
    found = [("1.5", 1.5), ("2e-4", 2e-4), ("−0.25", -0.25), ("3 %", 3.0), ("1,234.5", 1234.5), ("4.5", 4.5)]
    assert module.stated_numbers(text) == found


@pytest.mark.parametrize(
    "result, text, same",
    [(0.0412, "0.04", True), (0.0412, "0.041", True), (0.0412, "0.042", False), (2.4e-6, "2e-6", True)]
    + [(2.6e-6, "2e-6", False), (0.034, "3 %", True), (3.4, "3 %", True), (-1.5, "1.5", True)],
)
def test_a_result_rounds_to_the_digits_that_stand_there(result, text, same):
    assert module.rounds_to(result, text, module.stated_numbers(text)[0][1]) == same


def test_a_number_that_nothing_returns_is_named():
    of = lambda **changes: example(experiment=two, finding="From 1.0 to 2.5, width 0.3.", **changes)
    assert of().unmeasured() == ["2.5", "0.3"]
    assert of(elsewhere={"0.3": "a width"}).unmeasured() == ["2.5"]
    assert of(elsewhere={"0.3": "a width", "2.5": "half_more"}).unmeasured() == []
    assert of(elsewhere={"0.3": "half_more"}).unmeasured() == ["2.5", "0.3"]
    with pytest.raises(ValueError, match="^claim T00: elsewhere names '7.5'"):
        of(elsewhere={"7.5": "a width"})


def two():
    return {"one": 1.0, "two": 2.0}


def half_more():
    return {"two and a half": 2.5}


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


def test_an_experiment_runs_once_and_gives_each_who_asks_numbers_of_their_own(monkeypatch):
    monkeypatch.setattr(module, "REGISTRY", {})
    ran = []

    @claim("A", says="one", source="s", holds=lambda r: r["one"] == 1, verdict=True, finding="f")
    @claim("B", says="two", source="s", holds=lambda r: r["one"] == 2, verdict=False, finding="f")
    def numbers(more=0):
        ran.append(more)
        return {"one": 1.0 + more}

    numbers()["one"] = 7.0
    assert [one.decided() for one in module.REGISTRY.values()] == ["holds", "fails"] and ran == [0]
    assert numbers(2) == {"one": 3.0} and ran == [0, 2]
