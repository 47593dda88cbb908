"""The study of learned solvers: every row makes the calls that it says, and is measured on fresh noise."""

import pytest
import torch

from studies import learned_study
from studies.amed_study import FRESH, noise
from toolkit.learned import Solver, Table


@pytest.mark.parametrize("analytic", [0, 1])
@pytest.mark.parametrize("calls", learned_study.CALLS)
@pytest.mark.parametrize("kind", learned_study.FITTED)
def test_a_row_makes_its_calls_or_is_left_out(kind, calls, analytic):
    base, options, per_step = learned_study.FITTED[kind]
    begun = learned_study.started(calls, per_step, analytic)
    assert (begun is None) == bool((calls + analytic) % per_step)
    if begun:
        model, times = begun
        run = Table(learned_study.SCHEDULE, times, base, **options).solver().run(model, noise(4, FRESH))
        assert run.nfe == calls


def test_a_row_that_makes_other_calls_is_refused():
    model, times = learned_study.started(3, 1, 0)
    solver = Solver("ddim", times.tolist())
    with pytest.raises(ValueError, match="made 3 calls, not 4"):
        learned_study.measured(solver, model, 4)


def test_noise_that_is_learned_from_measures_nothing():
    seeds = {learned_study.CHOOSING + seed for seed in learned_study.SEEDS}
    assert FRESH not in seeds
    drawn = [noise(2, seed) for seed in (FRESH, *seeds)]
    assert all(not torch.equal(drawn[0], other) for other in drawn[1:])


def test_what_is_recorded_is_the_solver_rounded():
    model, times = learned_study.started(5, 1, 0)
    solver = Table(learned_study.SCHEDULE, times, "weighted").solver()
    told = learned_study.told(solver)
    again = Solver(solver.name, told["times"], told["options"])
    few = noise(8, FRESH)
    assert torch.allclose(again.run(model, few).x, solver.run(model, few).x, atol=2e-3)
    row = {"rmse": 0.1, "frechet": 2.0, "seconds": 1.0, "numbers": 4}
    mean = learned_study.mean_of([row, row | {"rmse": 0.2}])
    assert mean["rmse"] == 0.15 and mean["rmse range"] == [0.1, 0.2] and len(mean["runs"]) == 2
