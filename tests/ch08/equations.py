"""Chapter 8: practice."""

import math

import numpy as np
import pytest
import torch

from tests.book.notebooks.equations import equation
from toolkit import EDM, VP, Flow, Mixture, VPCosine, grids, initial_noise, sample
from toolkit.convergence import exact_variance, reference
from toolkit.ddim import ddim, ddim_adaptive, ddim_coefficients, step_error
from toolkit.metrics import gaussian_w2_squared
from toolkit.practice import allocate, break_even, difficulty, most_to_gain, relay

# --- choosing a sampler ---------------------------------------------------------------------------------

RING = Mixture.ring(8)


@equation("practice.bill")
def the_bill():
    """Two totals of seconds cross where it says, and nowhere else."""
    training, slow, fast = 90.0, 2e-4, 1e-5
    n = break_even(training, slow, fast)
    assert n == pytest.approx(training / (slow - fast))
    for factor, learner_is_dearer in ((0.9, True), (1.1, False)):
        assert (training + factor * n * fast > factor * n * slow) is learner_is_dearer


@equation("practice.schedule")
def the_path_knows_no_schedule():
    """Equal steps in t on one schedule are the same run on another, at the times with the same levels."""
    x = initial_noise(20, 2, 0, torch.float64)
    times = grids.uniform(VP(), 7)
    lam = torch.as_tensor(VP().lam(times.numpy()))
    y = x / VP().alpha(1.0)
    here = sample(ddim, RING.model(VP()), x, times).x / VP().alpha(float(times[-1]))
    for other in (EDM(), Flow(), VPCosine()):
        there = [float(t) for t in other.t_of_lam(lam)]
        run = sample(ddim, RING.model(other), other.alpha(there[0]) * y, there)
        assert torch.allclose(run.x / other.alpha(there[-1]), here, atol=1e-6), other


@equation("practice.rho")
def steps_in_a_stretch():
    """The density of Karras' levels, counted on a fine grid, for several rho."""
    schedule, steps = EDM(), 20_000
    for rho in (1.0, 3.0, 7.0, 30.0):
        levels = grids.karras(schedule, steps, rho=rho).numpy()
        for level in (0.05, 1.0, 20.0):
            counted = ((levels > level * 0.95) & (levels < level * 1.05)).sum() / math.log(1.05 / 0.95)
            ends = levels[0] ** (1 / rho) - levels[-1] ** (1 / rho)
            wanted = steps * level ** (1 / rho) / rho / ends
            assert counted == pytest.approx(wanted, rel=0.03, abs=12)


@equation("practice.skipped")
def the_start_that_is_skipped():
    """The Wasserstein distance of two Gaussians, by the general formula, and its leading term."""
    for t in (1.0, 0.9, 0.6, 0.3):
        alpha2, one, std = VP().alpha(t) ** 2, np.eye(1), 0.7
        there = alpha2 * std**2 + VP().sigma(t) ** 2
        exact = math.sqrt(gaussian_w2_squared(np.zeros(1), one, np.zeros(1), one * there))
        assert exact == pytest.approx(abs(1 - math.sqrt(1 - alpha2 * (1 - std**2))), abs=1e-9)
        if alpha2 < 0.01:
            assert exact == pytest.approx(alpha2 * (1 - std**2) / 2, rel=0.01)


@equation("practice.variance")
def the_variance_of_a_relay():
    """The recursion, against the variance that `exact_variance` has from the sampler itself."""
    schedule, std = VP(), 0.4
    times = grids.uniform_lambda(schedule, 6)
    etas = (0.0, 1.0, 0.3, 0.7, 0.0, 1.0)
    a, b, _ = ddim_coefficients(schedule, times)
    grid = times.tolist()
    value = (schedule.alpha(grid[0]) * std) ** 2 + schedule.sigma(grid[0]) ** 2
    for n, eta in enumerate(etas):
        (a,), (b,), (c,) = ddim_coefficients(schedule, grid[n : n + 2], eta)
        alpha, sigma = schedule.alpha(grid[n]), schedule.sigma(grid[n])
        value = (a + b * sigma / (alpha**2 * std**2 + sigma**2)) ** 2 * value + c**2
    one = relay(*((ddim, 1, {"eta": eta}) for eta in etas))
    assert exact_variance(one, schedule, times, std) == pytest.approx(value)


@equation("practice.disagreement")
def two_orders():
    """DDIM's step misses the flow by the disagreement, to leading order."""
    model, t, schedule = RING.model(VP()), 0.5, VP()
    start = initial_noise(50, 2, 1, torch.float64)
    x = reference(model, start, 1.0, t)
    lam, kappa = float(schedule.lam(t)), math.exp(-float(schedule.lam(t)))
    back = float(schedule.t_of_lam(lam - 1e-4))
    slope = (model.eps(x, t) - model.eps(reference(model, x, t, back), back)) / 1e-4
    for h in (0.02, 0.01):
        s = float(schedule.t_of_lam(lam + h))
        missed = (sample(ddim, model, x, [t, s]).x - reference(model, x, t, s)) / schedule.alpha(s)
        told = kappa * step_error(h) * slope
        assert (missed - told).norm() < 2 * h * told.norm()


@equation("practice.step")
def the_step_that_is_solved_for():
    """Every step of `ddim_adaptive` but the limited ones makes the disagreement equal to what is allowed."""
    model, schedule, tol = RING.model(VP()), VP(), 0.01
    run = sample(
        ddim_adaptive, model, initial_noise(1, 2, 3, torch.float64), [1.0, 1e-3], tol=tol, keep_path=True
    )
    lam = schedule.lam(np.array(run.times))
    met = 0
    for n in range(1, len(lam) - 2):
        eps = [model.eps(run.path[k], run.times[k]) for k in (n - 1, n)]
        slope = float(((eps[1] - eps[0]) / (lam[n] - lam[n - 1])).square().mean().sqrt())
        kappa, h = math.exp(-lam[n]), lam[n + 1] - lam[n]
        share = kappa * step_error(h) * slope / (tol * math.hypot(1, kappa))
        assert share < 1 + 1e-6
        assert share > 1 - 1e-6 or h == pytest.approx(1.5 * (lam[n] - lam[n - 1]), rel=1e-6)
        met += share > 1 - 1e-6
    assert met


@equation("practice.division")
def the_best_division():
    """No small transfer of steps between two samples makes the sum of squares smaller."""
    d, order, mean = np.array([0.2, 1.0, 3.0, 0.7]), 2, 40.0
    loss = lambda n: float(((d / n**order) ** 2).sum())  # noqa: E731
    n = mean * d ** (2 / (2 * order + 1)) / (d ** (2 / (2 * order + 1))).mean()
    for i in range(4):
        for j in range(4):
            moved = n.copy()
            moved[i] += 0.01
            moved[j] -= 0.01
            assert loss(moved) >= loss(n)
    assert math.sqrt(loss(np.full(4, mean)) / loss(n)) == pytest.approx(most_to_gain(d, order))
    assert np.allclose(allocate(d, mean, order), n, atol=1)
    assert difficulty(RING.model(VP()), initial_noise(3, 2, 0, torch.float64), [1.0, 0.5, 0.1]).shape == (3,)


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------
