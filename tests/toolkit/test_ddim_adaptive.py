"""DDIM that chooses its own steps."""

import math

import pytest
import torch

from book.problems import rms
from toolkit import VP, Discrete, Mixture, VPCosine, initial_noise, sample
from toolkit.convergence import reference, slope
from toolkit.ddim import ddim, ddim_adaptive, step_error

RING = Mixture.ring(8)


def noise(n=50, seed=0, dtype=torch.float64):
    return initial_noise(n, 2, seed, dtype=dtype)


def test_each_step_is_a_ddim_step():
    model, x = RING.model(VP()), noise()
    run = sample(ddim_adaptive, model, x, [1.0, 1e-3], tol=0.03)
    assert torch.allclose(run.x, sample(ddim, model, x, run.times).x, atol=1e-12)
    assert run.nfe == len(run.times) - 1


@pytest.mark.parametrize("schedule", [VP(), VPCosine(), Discrete.linear(1000)], ids=repr)
@pytest.mark.parametrize("tol", [0.3, 0.01])
def test_it_starts_and_ends_where_told(schedule, tol):
    run = sample(ddim_adaptive, RING.model(schedule), noise(), [schedule.start, schedule.end], tol=tol)
    assert run.times[0] == schedule.start and run.times[-1] == schedule.end
    assert all(t > s for t, s in zip(run.times, run.times[1:]))
    assert torch.isfinite(run.x).all()


@pytest.mark.parametrize("extrapolate, order", [(False, 1), (True, 2)])
def test_order_in_the_number_of_calls(extrapolate, order):
    model, x = RING.model(VP()), noise(100)
    exact = reference(model, x, VP().start, VP().end)
    runs = [
        sample(ddim_adaptive, model, x, [1.0, 1e-3], tol=tol, extrapolate=extrapolate)
        for tol in (3e-3, 3e-4, 3e-5)
    ]
    assert slope([run.nfe for run in runs], [rms(run.x - exact) for run in runs]) > order - 0.1


def test_float32_stays_float32():
    assert (
        sample(ddim_adaptive, RING.model(VP()), noise(dtype=torch.float32), [1.0, 1e-3]).x.dtype
        == torch.float32
    )


@pytest.mark.parametrize("tol", [0.0, 1.0, -1.0])
def test_a_bad_tolerance_is_one_sentence(tol):
    with pytest.raises(ValueError, match="^tol must lie between 0 and 1"):
        sample(ddim_adaptive, RING.model(VP()), noise(), [1.0, 1e-3], tol=tol)


def test_step_error_is_half_h_squared_at_first_and_one_at_last():
    assert step_error(1e-4) == pytest.approx(5e-9, rel=1e-3) and step_error(math.inf) == 1.0
