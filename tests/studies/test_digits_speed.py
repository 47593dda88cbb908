"""The recorded study of DDIM's speed and quality can be run again, and says what chapter 2 says of it."""

import numpy as np
import pytest

from book.ch02 import experiments
from book.claims import recorded
from studies.digits_speed import COUNT, SEEDS, measure

STUDY = recorded("digits_speed")["samplers"]


def frechet(name, steps):
    """The recorded distances of a sampler, one a seed."""
    return np.array(STUDY[name][experiments.COUNTS.index(steps)]["Fréchet distance"])


def test_the_study_is_whole():
    study = recorded("digits_speed")
    assert study["n"] == COUNT and study["seeds"] == list(SEEDS) and set(STUDY) == set(experiments.SAMPLERS)
    for rows in STUDY.values():
        assert [row["steps"] for row in rows] == [row["nfe"] for row in rows] == list(experiments.COUNTS)
        assert {len(row[m]) for row in rows for m in experiments.METRICS} == {len(SEEDS)}


def test_a_lead_is_one_only_beyond_its_spread():
    """At 10 to 50 steps DDIM leads; at 100 the forward variance ties with it and the posterior trails."""

    def lead(better, worse, steps):
        one, other = frechet(better, steps), frechet(worse, steps)
        error = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / len(SEEDS))
        return (other.mean() - one.mean()) / error

    posterior, forward = "DDPM, posterior variance", "DDPM, forward variance"
    assert all(lead("DDIM", other, n) > 2 for other in (posterior, forward) for n in (10, 20, 50))
    assert lead("DDIM", posterior, 100) > 2 and abs(lead("DDIM", forward, 100)) < 2


def test_time_goes_with_the_calls_and_hardly_with_the_sampler():
    seconds = {name: np.array([row["seconds"] for row in rows]) for name, rows in STUDY.items()}
    for name in seconds:
        share = seconds[name] / seconds[name][-1]
        assert share == pytest.approx(np.array(experiments.COUNTS) / 1000, rel=0.2)
        assert seconds[name] == pytest.approx(seconds["DDIM"], rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.SAMPLERS)
def test_a_cheap_row_comes_out_again(name):
    row = measure(name, 10, seeds=(0,))
    assert row["Fréchet distance"][0] == pytest.approx(frechet(name, 10)[0], abs=0.02)
