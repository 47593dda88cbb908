"""The bound of chapter 3 (S35): its closed forms against a run of the chain, matrices and quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from book.ch03.experiments import end_distance, end_loss, frozen_variance, path_loss
from toolkit import VP, Mixture

END = 5.0  # of the forward process dx = -x dt + 2^(1/2) dw


@pytest.mark.parametrize("steps", [3, 10, 40])
@pytest.mark.parametrize("std", [0.3, 0.5, 1.5])
def test_the_chain_s_variance_is_that_of_a_run(steps, std):
    """Run on the unit vectors of its start and its noises, with the score of the toolkit's own model."""
    schedule = VP()
    model = Mixture.gaussian(steps + 1, std).model(schedule)
    units, h = torch.eye(steps + 1, dtype=torch.float64), END / steps
    x = units[:1]
    for k in range(steps):
        t = schedule.t_of_lam(-0.5 * math.log(math.expm1(2 * (END - k * h))))  # where alpha = exp(k h - END)
        score = -model.eps(x, t) / schedule.sigma(t)
        x = math.exp(h) * x + 2 * math.expm1(h) * score + math.sqrt(math.expm1(2 * h)) * units[k + 1]
    assert frozen_variance(steps, std) == pytest.approx(x.square().sum().item(), rel=1e-9)


def path_matrices(steps, parts, std):
    """Covariances of the true reverse path and of the chain's, each at `parts` points of every step."""
    n, h = steps * parts, END / steps
    u = END * (1 - np.arange(n + 1) / n)
    truth = np.exp(-abs(u[:, None] - u)) + (std**2 - 1) * np.exp(-(u[:, None] + u))
    gains = np.zeros((n + 1, n + 1))  # of each point, with respect to the start and the noise of each piece
    gains[0, 0] = 1.0
    for k in range(steps):
        first = k * parts
        score = -gains[first] / (1 + (std**2 - 1) * math.exp(-2 * u[first]))
        for j in range(1, parts + 1):
            tau = h / parts
            gains[first + j] = math.exp(tau) * gains[first + j - 1] + 2 * math.expm1(tau) * score
            gains[first + j, first + j] += math.sqrt(math.expm1(2 * tau))
    return truth, gains @ gains.T


@pytest.mark.parametrize(("steps", "std"), [(5, 0.5), (12, 0.5), (10, 0.3), (10, 1.5)])
def test_the_path_s_divergence_is_the_limit_of_finer_looks(steps, std):
    """Between the points of finer and finer grids it rises to the closed form, at order 2."""
    result = []
    for parts in (8, 16, 32):
        p, q = path_matrices(steps, parts, std)
        quotient = np.linalg.solve(q, p)
        result.append(0.5 * (np.trace(quotient) - len(p) - np.linalg.slogdet(quotient)[1]))
    limit = path_loss(steps, 1, std)
    gaps = [limit - one for one in result]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[1] / gaps[2] == pytest.approx(4, abs=0.05)
    assert (4 * result[2] - result[1]) / 3 == pytest.approx(limit, rel=1e-5)


@pytest.mark.parametrize("d", [1, 7, 64])
@pytest.mark.parametrize("steps", [20, 100, 700])
def test_the_bound_holds(steps, d):
    assert 0 < end_loss(steps, d) < path_loss(steps, d)
    assert 0 < end_distance(steps, d) < math.sqrt(end_loss(steps, d) / 2)


@pytest.mark.parametrize(("steps", "std"), [(20, 0.5), (100, 0.5), (20, 1.5)])
def test_the_distance_is_half_the_area_between_the_densities(steps, std):
    x = np.linspace(-30, 30, 600_001)
    densities = [stats.norm.pdf(x, scale=s) for s in (std, math.sqrt(frozen_variance(steps, std)))]
    area = np.trapezoid(abs(densities[0] - densities[1]), x)
    assert end_distance(steps, 1, std) == pytest.approx(area / 2, rel=1e-6)
