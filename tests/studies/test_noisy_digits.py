"""The recorded study of noise on digits can be run again, and is read as it was written."""

import statistics

import pytest

from book.ch04 import experiments
from book.claims import recorded
from studies.noisy_digits import CALLS, COUNT, SEEDS, SOLVERS, TEN, digits_of, run_once
from toolkit.metrics import frechet_distance

STUDY = recorded("noisy_digits")


def test_the_study_is_whole():
    assert STUDY["n"] == COUNT and tuple(STUDY["seeds"]) == SEEDS and len(SEEDS) >= 8
    assert set(STUDY["solvers"]) == set(SOLVERS) and set(STUDY["ten"]) == {*TEN, "DDPM, 1000 calls"}
    rows = [*STUDY["ten"].values(), *(row for of in STUDY["solvers"].values() for row in of.values())]
    for row in rows:
        assert len(row["each"]) == len(SEEDS)
        assert row["mean"] == pytest.approx(statistics.mean(row["each"]), abs=1e-3)
        assert row["median"] == pytest.approx(statistics.median(row["each"]), abs=1e-3)
    for of in STUDY["solvers"].values():
        assert [int(calls) for calls in of] == list(CALLS)
        assert all(row["nfe"] == int(calls) for calls, row in of.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_a_row_comes_out_again(name):
    row = STUDY["solvers"][name]["20"]
    again = frechet_distance(run_once(name, 20, SEEDS[0]).x)
    assert again == pytest.approx(row["each"][0], abs=max(row["spread"], 0.02))


@pytest.mark.slow
def test_ten_calls_come_out_again():
    name = "++2M, 10 calls"
    loop, options, steps = TEN[name]
    again = frechet_distance(digits_of(loop, options, "uniform_lambda", steps, SEEDS[1]).x)
    assert again == pytest.approx(STUDY["ten"][name]["each"][1], abs=0.02)


def test_the_table_has_every_row():
    table = experiments.noise_on_digits()
    assert len(table) == len(SOLVERS) * len(CALLS) and all("±" in text for text in table.values())
