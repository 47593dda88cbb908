"""The recorded study of choosing a sampler is whole, and a row of it comes out again."""

import numpy as np
import pytest
import torch

from book.claims import recorded
from book.problems import RING
from studies import practice_study as study
from toolkit import VP, grids, initial_noise, sample
from toolkit.practice import calls_of

STUDY = recorded("practice")


def test_the_study_is_whole():
    assert set(study.PARTS) <= set(STUDY)
    for name, rows in STUDY["digits"]["samplers"].items():
        wanted = study.RESTARTS if name == "Restart" else study.BUDGETS
        assert {int(budget) for budget in rows} <= set(wanted)
        for budget, each in rows.items():
            assert len(each) == len(study.DIGITS_SEEDS) and each[0]["calls"] <= int(budget)
    assert set(STUDY["digits"]["samplers"]) == set(study.DIGITS)
    assert set(STUDY["relays"]["24 calls"]) == {"floor", *study.relays_of()}
    each = [v for row in STUDY["relays"]["24 calls"].values() for v in row.values()]
    assert all(len(values) == len(study.SEEDS) >= 10 for values in each)
    for rows in STUDY["adaptive"]["difficulty"].values():
        assert len(rows) == len(study.ADAPTIVE_SEEDS) >= 8


@pytest.mark.parametrize("name", study.relays_of())
def test_every_composition_has_equal_calls(name):
    one, steps = study.relays_of()[name]
    assert one.nfe(steps) == study.CALLS
    run = sample(one, RING.model(VP()), initial_noise(4, 2, 0), grids.uniform_lambda(VP(), steps))
    assert run.nfe == study.CALLS


def test_a_mode_is_as_wide_as_it_is(seed):
    rms, median = study.mode_deviations(RING.sample(20_000, seed), RING)
    assert rms == pytest.approx(0.08, abs=0.002) and median == pytest.approx(0.08, abs=0.002)


def test_the_mean_of_grids_is_theirs_where_they_are_one():
    schedule, times = VP(), np.array([1.0, 0.6, 0.3, 0.1])
    log = [(np.arange(2), np.full(2, t), np.full(2, s), np.zeros(2)) for t, s in zip(times, times[1:])]
    mean = study.mean_grid(schedule, log, 1.0, 0.1, 3)
    assert np.allclose(mean, times) and calls_of(log, 2).tolist() == [3, 3]


@pytest.mark.slow
def test_a_row_comes_out_again():
    one, steps = study.relays_of()["2M, then DDPM"]
    x = initial_noise(study.POINTS, 2, 3, torch.float64)
    run = sample(one, RING.model(VP()), x, grids.uniform_lambda(VP(), steps), draws=3)
    rms, median = study.mode_deviations(run.x, RING)
    row = STUDY["relays"]["24 calls"]["2M, then DDPM"]
    assert rms == pytest.approx(row["mode deviation"][3], abs=2e-4)
    assert median == pytest.approx(row["by the median"][3], abs=2e-4)
