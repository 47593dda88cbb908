"""The recorded study can be run again: its cheap rows come out as they were written."""

import pytest

from book.claims import recorded
from studies.digits_samplers import CALLS, COUNT, SAMPLERS, SEEDS, floor, run_once, seeds_at
from toolkit.metrics import frechet_distance

pytestmark = pytest.mark.slow

STUDY = recorded("digits_samplers")
DIGITS = {name: entry["rows"] for name, entry in STUDY["samplers"].items()}


def test_the_study_is_whole():
    assert STUDY["n"] == COUNT and tuple(STUDY["seeds"]) == SEEDS and set(DIGITS) == set(SAMPLERS)
    for name, rows in DIGITS.items():
        sampler, options, grid, per_step, most = SAMPLERS[name]
        entry = STUDY["samplers"][name]
        assert (entry["sampler"], entry["options"], entry["grid"]) == (sampler.__name__, options, grid)
        assert [row["budget"] for row in rows] == [calls for calls in CALLS if calls <= most]
        for row in rows:
            assert row["budget"] - per_step < row["nfe"] <= row["budget"] + 1
            assert len(row["each"]) == len(seeds_at(row["budget"])) and row["seconds"] > 0
            assert sum(row["each"]) / len(row["each"]) == pytest.approx(row["frechet"], abs=1e-3)
    assert set(STUDY["by_grid"]["frechet"]) == set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_cheap_row_comes_out_again(name):
    """The same seed gives the recorded distance, to within what the seeds differ by: rounding differs between
    machines, and the distances of good samples are close to their own noise."""
    row, seed = DIGITS[name][0], 0
    run, _ = run_once(name, row["budget"], SEEDS[seed])
    assert len(run.times) - 1 == row["steps"] and run.nfe == row["nfe"]
    assert frechet_distance(run.x) == pytest.approx(row["each"][seed], abs=max(row["spread"], 0.02))


@pytest.mark.parametrize("seed", [11, 12])
def test_other_seeds_lie_within_a_few_spreads(seed):
    for name in ("DDIM", "DDPM, posterior variance", "SDE-Heun"):
        row = DIGITS[name][1]
        new = frechet_distance(run_once(name, row["budget"], seed)[0].x)
        assert new == pytest.approx(row["frechet"], abs=4 * max(row["spread"], 0.02))


def test_the_floor():
    assert floor()["frechet"] == pytest.approx(STUDY["floor"]["frechet"], abs=1e-3)


def test_an_unknown_study_is_named():
    with pytest.raises(ValueError, match="digits_samplers.*got 'nothing'"):
        recorded("nothing")
