"""The yardsticks of convergence, held against what is known in closed form."""

import math

import numpy as np
import pytest
import torch

from tests.seeds import seed_of
from toolkit import (
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    GaussianFlow,
    Mixture,
    SubVP,
    VPCosine,
    grids,
    initial_noise,
    sample,
)
from toolkit.convergence import (
    exact_start,
    exact_variance,
    multiplicative_errors,
    ode_errors,
    reference,
    slope,
    strong_errors,
    weak_errors,
)
from toolkit.ddim import ddim, ddim_invert
from toolkit.dpm_solver import dpmpp_3m
from toolkit.ode import heun, rk4
from toolkit.sde import euler_maruyama, stochastic_heun

SCHEDULES = [VP(), VPCosine(), SubVP(), VE(), EDM(), Flow(), Discrete.linear()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
RING = Mixture.ring(8, std=0.3)


def noisy(schedule, mixture, t, n=50, seed=0):
    noise = initial_noise(n, mixture.d, seed, torch.float64)
    return schedule.alpha(t) * mixture.sample(n, seed) + schedule.sigma(t) * noise


def levels(schedule, *kappas):
    return [schedule.t_of_lam(-math.log(kappa)) for kappa in kappas]


# --- the reference --------------------------------------------------------------------------------------


@by_schedule
def test_reference_is_the_gaussian_s_flow_both_ways(schedule, seed):
    covariance = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=torch.float64)
    data = Mixture([1.0], [[0.4, -0.2]], covariances=covariance[None])
    flow = GaussianFlow(schedule, mean=[0.4, -0.2], covariance=covariance)
    t, s = levels(schedule, 20.0, 0.02)
    x = noisy(schedule, data, t, seed=seed)
    forth = reference(data.model(schedule), x, t, s)
    assert torch.allclose(forth, flow.map(x, t, s), atol=1e-9, rtol=1e-9)
    assert torch.allclose(reference(data.model(schedule), forth, s, t), x, atol=1e-9 * float(x.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=lambda s: type(s).__name__)
def test_reference_is_the_limit_of_rk4_on_a_mixture(schedule):
    t, s = levels(schedule, 5.0, 0.2)
    x, model = noisy(schedule, RING, t), RING.model(schedule)
    fine = sample(rk4, model, x, grids.uniform_lambda(schedule, 3000, t, s), variable="lam").x
    assert torch.allclose(fine, reference(model, x, t, s), atol=1e-9)


def test_reference_keeps_the_shape_and_works_in_float64():
    x = initial_noise(3, (1, 2, 1))
    end = reference(Mixture.ring().model(VP()), x, 0.9, 0.1)
    assert end.shape == x.shape and end.dtype == torch.float64


@pytest.mark.parametrize(
    "schedule, t, s", [(VP(), 1.0, 0.0), (Discrete.linear(), 1.0, 0.0), (Flow(), 1.0, 0.5)]
)
def test_reference_says_which_end_it_cannot_reach(schedule, t, s):
    with pytest.raises(ValueError, match="both must be finite"):
        reference(RING.model(schedule), initial_noise(2, 2), t, s)


# --- slopes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0.5, 1, 2, 4])
def test_slope_of_known_sequences(order):
    steps = [10, 20, 40, 100]
    assert slope(steps, [3 * n**-order for n in steps]) == pytest.approx(order, abs=1e-12)
    wobble = np.exp([0.1, -0.1, 0.05, 0])
    assert slope(steps, 7e-5 * wobble * np.array(steps, dtype=float) ** -order) == pytest.approx(
        order, abs=0.1
    )


def test_slope_leaves_out_what_rounding_hides():
    steps, errors = [8, 16, 32, 64], [1e-2, 1e-4, 1e-6, 1e-16]
    assert slope(steps, errors) == pytest.approx(math.log2(100)) == slope(steps[:3], errors[:3])
    assert slope(steps, [*errors[:3], 0.0]) == slope(steps, errors)
    assert slope(steps, errors, floor=0) == pytest.approx(14.6, abs=0.1)


@pytest.mark.parametrize(
    "steps, errors",
    [
        ([1], [1.0]),
        ([1, 2], [1.0]),
        ([1, 2], [1.0, 0.0]),
        ([1, 2], [0.0, 0.0]),
        ([1, 2], [1.0, 1e-14]),
        ([1, 2], [1, math.nan]),
        ([1, 2], [math.inf, 1]),
        ([1, 2, 4], [1, 0.5, -0.1]),
    ],
)
def test_slope_refuses_what_has_none(steps, errors):
    with pytest.raises(ValueError, match="errors must be"):
        slope(steps, errors)


def test_exact_starting_values_lie_on_the_flow_and_are_handed_on():
    schedule, model, (t, s) = VP(), RING.model(VP()), levels(VP(), 5.0, 0.2)
    x, times = noisy(schedule, RING, t), grids.uniform_lambda(schedule, 8, t, s)
    history, state = exact_start(model, x, times, 2)
    assert [u for u, _ in history] == times[:2].tolist() and torch.equal(history[0][1], x)
    for (_, got), u in zip([*history[1:], (None, state)], times[1:3].tolist()):
        assert torch.allclose(got, reference(model, x, t, u), atol=1e-10)
    end = sample(dpmpp_3m, model, state, times[2:], history=history).x
    rmse = float((end - reference(model, x, t, s)).square().mean().sqrt())
    assert ode_errors(dpmpp_3m, model, x, [8], start=t, end=s, exact=2)["rmse"] == pytest.approx([rmse])


def test_ode_errors_are_what_they_say():
    model, (t, s) = RING.model(VP()), levels(VP(), 5.0, 0.2)
    x = noisy(VP(), RING, t, n=9)
    table = ode_errors(heun, model, x, [4, 8], grids.karras, t, s, variable="lam")
    assert table["steps"] == [4, 8] and table["nfe"] == [8, 16]
    end = sample(heun, model, x, grids.karras(VP(), 8, t, s), variable="lam").x
    squares = (end - reference(model, x, t, s)).square()
    assert table["rmse"][1] == pytest.approx(float(squares.mean().sqrt()), rel=1e-9)
    assert table["median"][1] == pytest.approx(float(squares.mean(1).sqrt().median()), rel=1e-9)
    assert ode_errors(heun, model, x, [8], start=t, end=s, want=end, variable="lam")["rmse"][0] > 0
    assert table["rmse"][1] < table["rmse"][0] and table["median"][1] < table["median"][0]


def test_ode_errors_of_an_inversion_run_from_the_data_s_end():
    model, (t, s) = RING.model(VP()), levels(VP(), 5.0, 0.2)
    x = noisy(VP(), RING, s)
    steps = [100, 200, 400]
    assert slope(steps, ode_errors(ddim_invert, model, x, steps, start=t, end=s)["rmse"]) == pytest.approx(
        1, abs=0.1
    )


def test_weak_errors_are_exact_variances():
    times = grids.uniform(VP(), 20, end=0.1)
    exact = (VP().alpha(0.1) * 0.7) ** 2 + VP().sigma(0.1) ** 2
    (error,) = weak_errors(ddim, VP(), [20], std=0.7, grid=grids.uniform, end=0.1, eta=0.5)
    assert error == pytest.approx(abs(exact_variance(ddim, VP(), times, 0.7, eta=0.5) - exact), rel=1e-12)


# --- strong order: additive and multiplicative noise ------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [VP(), SubVP(), VE()], ids=lambda s: type(s).__name__)
def test_additive_noise_has_strong_order_one(schedule):
    start, end, steps, seed = *levels(schedule, 5.0, 0.3), [64, 128, 256], seed_of(type(schedule).__name__)
    x = noisy(schedule, RING, start, 300, seed)
    errors = strong_errors(euler_maruyama, RING.model(schedule), x, steps, 4000, seed, start, end)
    assert slope(steps, errors) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_heun_s_method_is_of_strong_order_one_too():
    seed = seed_of("Heun")
    x, steps = noisy(VP(), RING, 0.9, 200, seed), [64, 128, 256]
    errors = strong_errors(stochastic_heun, RING.model(VP()), x, steps, 4000, seed, 0.9, 0.2)
    assert slope(steps, errors) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("seed", [seed_of("multiplicative", n) for n in range(3)])
def test_multiplicative_noise_has_strong_order_one_half(seed):
    steps = [16, 32, 64, 128, 256]
    assert slope(steps, multiplicative_errors(steps, 1024, seed=seed)) == pytest.approx(0.5, abs=0.1)


def test_multiplicative_errors_without_noise_are_euler_s():
    """Then the equation is X' = drift X, and the step (1 + drift / n)^n."""
    got = multiplicative_errors([10, 20], 40, paths=3, drift=0.7, spread=0.0)
    assert got == pytest.approx([math.exp(0.7) - (1 + 0.7 / n) ** n for n in (10, 20)], rel=1e-9)


def test_mistakes_are_one_sentence():
    x = initial_noise(2, 2)
    with pytest.raises(ValueError, match="finest must exceed"):
        strong_errors(euler_maruyama, RING.model(VP()), x, [10, 20], 20)
    with pytest.raises(ValueError, match="divide finest"):
        multiplicative_errors([10, 30], 100)
