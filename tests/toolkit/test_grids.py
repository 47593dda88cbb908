"""Every grid, on every schedule."""

import itertools
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
    Mixture,
    SubVP,
    VPCosine,
    grids,
    initial_noise,
    sample,
)
from toolkit.ddim import ddim

SCHEDULES = [VP(), VPCosine(), VE(), SubVP(), EDM(), Flow(), Discrete.linear(), Discrete.cosine()]
by_name = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
every_grid = pytest.mark.parametrize("name", grids.GRIDS)
STEPS = [1, 2, 3, 7, 50, 250]


def build(name, schedule, steps, **ends):
    """The grid, with an end where lambda is finite for the grids that need one."""
    if name == "strided" and not isinstance(schedule, Discrete):
        pytest.skip("strided is for tables")
    if name in ("uniform_lambda", "karras") and schedule.end == 0 and isinstance(schedule, Discrete):
        ends.setdefault("end", 1 / schedule.T)
    return grids.GRIDS[name](schedule, steps, **ends)


@by_name
@every_grid
def test_length_dtype_ends_and_order(schedule, name):
    for steps in STEPS:
        times = build(name, schedule, steps)
        assert times.shape == (steps + 1,) and times.dtype == torch.float64
        assert (times.diff() < 0).all(), "strictly decreasing"
        assert times[0] <= schedule.start and times[-1] >= schedule.end
        if name != "truncated":
            assert times[0] == schedule.start
            assert times[-1] == (1 / schedule.T if times[-1] != schedule.end else schedule.end)


@by_name
@every_grid
def test_given_ends_are_met_exactly(schedule, name):
    start, end = 0.731 * schedule.start, 0.213 * schedule.start
    if name == "strided":
        start, end = 0.731, 0.213  # whole steps of the table
    for steps in (1, 5, 30):
        times = build(name, schedule, steps, start=start, end=end)
        assert float(times[0]) == start and float(times[-1]) == end and len(times) == steps + 1


@by_name
def test_uniform_and_quadratic_are_equal_steps_in_their_variable(schedule):
    assert grids.uniform(schedule, 9).diff().numpy() == pytest.approx(
        (schedule.end - schedule.start) / 9, rel=1e-12
    )
    roots = grids.quadratic(schedule, 9).sqrt().diff()
    assert roots.numpy() == pytest.approx((math.sqrt(schedule.end) - math.sqrt(schedule.start)) / 9, rel=1e-9)


@by_name
def test_uniform_lambda_is_equal_steps_in_half_log_snr(schedule):
    lam = schedule.lam(build("uniform_lambda", schedule, 11))
    assert lam.diff().numpy() == pytest.approx(float(lam[-1] - lam[0]) / 11, rel=1e-8)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_karras_is_the_formula_of_the_paper(rho):
    n = np.arange(18)
    low, high = 0.002 ** (1 / rho), 80 ** (1 / rho)
    sigmas = (high + n / 17 * (low - high)) ** rho  # Karras et al. 2022, eq. 5, N = 18
    assert grids.karras(EDM(), 17, rho=rho).numpy() == pytest.approx(sigmas, rel=1e-11)
    for schedule in (VP(), VE(), Flow()):
        times = grids.karras(schedule, 17, start=0.8, end=0.1, rho=rho)
        levels = np.exp(-schedule.lam(times).numpy()) ** (1 / rho)
        assert np.diff(levels) == pytest.approx((levels[-1] - levels[0]) / 17, rel=1e-9)


def test_karras_with_a_large_rho_is_uniform_in_lambda():
    assert torch.allclose(grids.karras(VP(), 10, rho=1e6), grids.uniform_lambda(VP(), 10), rtol=1e-4)


@by_name
def test_truncated_keeps_the_part_that_matters(schedule):
    times = grids.truncated(schedule, 10, snr_start=1e-2, snr_end=1e2)
    snr = torch.exp(2 * schedule.lam(times))
    assert float(snr[0]) == pytest.approx(1e-2, rel=1e-8)
    assert float(snr[-1]) == pytest.approx(1e2, rel=1e-8)
    wide = grids.truncated(schedule, 10, snr_start=1e-30, snr_end=1e8)  # never beyond the schedule's own ends
    assert wide[0] <= schedule.start and wide[-1] >= schedule.end


def test_strided_is_a_subsequence_as_even_as_can_be():
    for T in (10, 100, 1000):
        schedule = Discrete(np.full(T, 1e-3))
        for steps in {1, 2, 3, 7, 9, T - 1, T} & set(range(1, T + 1)):
            indices = grids.strided(schedule, steps).numpy() * T
            whole = np.rint(indices).astype(int)
            assert indices == pytest.approx(whole, abs=1e-9) and whole[0] == T and whole[-1] == 0
            gaps = -np.diff(whole)
            assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1
    assert (grids.strided(Discrete.linear(), 1000).numpy() == np.arange(1000, -1, -1) / 1000).all()


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: grids.uniform(VP(), 0), "steps"),
        (lambda: grids.uniform(VP(), 2.5), "steps"),
        (lambda: grids.uniform(VP(), math.nan), "steps"),
        (lambda: grids.uniform(VP(), "5"), "steps"),
        (lambda: grids.karras(VP(), -3), "steps"),
        (lambda: grids.uniform(VP(), 5, start=0.1, end=0.9), "start down to end"),
        (lambda: grids.quadratic(VP(), 5, start=0.5, end=0.5), "start down to end"),
        (lambda: grids.uniform(VP(), 5, end=-0.1), "end >= 0"),
        (lambda: grids.uniform(VP(), 5, start=math.nan), "start"),
        (lambda: grids.uniform(EDM(), 5, start=math.inf), "finite start"),
        (lambda: grids.uniform_lambda(VP(), 5, end=0.0), "lambda = inf"),
        (lambda: grids.karras(EDM(), 5, end=0.0), "lambda = inf"),
        (lambda: grids.uniform_lambda(Flow(), 5, start=1.0), "lambda = -inf"),
        (lambda: grids.karras(VPCosine(), 5, start=1.0), "lambda = -inf"),
        (lambda: grids.uniform_lambda(Discrete.linear(), 5), "lambda = inf"),
        (lambda: grids.strided(VP(), 5), "Discrete"),
        (lambda: grids.strided(Discrete.linear(100), 101), "at most 100"),
        (lambda: grids.strided(Discrete.linear(100), 51, start=0.5), "at most 50"),
    ],
)
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call()
    assert len(str(problem.value).splitlines()) == 1


# --- grids that are computed ------------------------------------------------------------------------------


def test_cheapest_is_the_best_of_all_paths():
    rng = np.random.default_rng(seed_of("cheapest"))
    costs = rng.random((9, 9))
    for steps in (1, 2, 4, 8):
        every = [(0, *inner, 8) for inner in itertools.combinations(range(1, 8), steps - 1)]
        price = lambda path: sum(costs[i, j] for i, j in zip(path, path[1:]))
        assert tuple(grids.cheapest(costs, steps)) == min(every, key=price)
    with pytest.raises(ValueError, match="steps must be below the number of nodes, 9; got 9"):
        grids.cheapest(costs, 9)


def test_local_costs_are_the_errors_of_single_ddim_steps():
    model, x = Mixture.ring().model(VP()), initial_noise(5, 2, seed_of("costs"), torch.float64)
    times = grids.uniform_lambda(VP(), 6)
    path = sample(ddim, model, x, times, keep_path=True).path
    costs = grids.local_costs(model, torch.stack(list(path)), times)
    assert np.abs(np.diag(costs, 1)).max() < 1e-12  # its own steps miss nothing
    one = sample(ddim, model, path[1], [float(times[1]), float(times[4])]).x
    assert costs[1, 4] == pytest.approx(float((one - path[4]).square().mean(1).sqrt().mean()))
