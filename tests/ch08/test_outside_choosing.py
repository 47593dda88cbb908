"""Chapter 8's conclusions just outside of what its tables show: where they hold, and where they turn."""

import statistics

import numpy as np
import pytest
import torch

from book.ch08.experiments import true_deviation, width_on_the_ring
from book.problems import RING, rms
from toolkit import VP, Mixture, grids, initial_noise, sample
from toolkit.convergence import reference
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm
from toolkit.distilled import mixture
from toolkit.dpm_solver import dpmpp_2m
from toolkit.metrics import sliced_wasserstein
from toolkit.multistep import exponential_ab
from toolkit.practice import adaptive_per_sample, calls_of, correct, relay


def missed(one, steps, seed, **how):
    """By how much the ring's modes are too wide, mean of four batches."""
    widths = [width_on_the_ring(one, steps, 4 * seed + i, **how) for i in range(4)]
    return statistics.mean(widths) - true_deviation()


@pytest.mark.parametrize("steps", [8, 12, 36])
def test_ddpm_at_the_end_narrows_and_helps_only_where_modes_are_too_wide(steps, seed):
    few = steps // 4
    alone = missed(dpmpp_2m, steps, seed)
    ended = missed(relay((dpmpp_2m, steps - few), (ddpm, few)), steps, seed)
    assert ended < alone - 0.004
    assert (abs(ended) < abs(alone)) == (steps == 8)


def test_on_equal_steps_of_t_ddpm_at_the_end_goes_too_far(seed):
    one = relay((dpmpp_2m, 18), (ddpm, 6))
    assert missed(dpmpp_2m, 24, seed, grid=grids.uniform) > 0.03
    assert missed(one, 24, seed, grid=grids.uniform) < -0.02


def test_at_eight_calls_sliced_distances_see_the_width(seed):
    """The same noises and the same fresh points for both, four batches."""
    found, times = {}, grids.uniform_lambda(VP(), 8)
    for name, one in {"alone": dpmpp_2m, "ended": relay((dpmpp_2m, 6), (ddpm, 2))}.items():
        start = lambda i: initial_noise(4000, 2, 4 * seed + i, torch.float64)  # noqa: E731
        runs = [sample(one, RING.model(VP()), start(i), times, draws=i).x for i in range(4)]
        each = [sliced_wasserstein(x, RING.sample(4000, 9000 + i), 64) for i, x in enumerate(runs)]
        found[name] = statistics.mean(each)
    assert found["ended"] < found["alone"]


def test_there_is_a_place_where_a_corrector_pays(seed):
    """After 14 of 20 steps, at level 0.19, and with a step of 0.3; not where the figure has it, at 19."""
    at = lambda k, snr: relay((ddim, k), (correct, 4, {"snr": snr}), (ddim, 20 - k))  # noqa: E731
    plain = missed(ddim, 24, seed)
    assert missed(at(14, 0.3), 20, seed) < plain - 0.002
    assert missed(at(19, 0.16), 20, seed) > plain
    assert missed(at(10, 1.0), 20, seed) > 10 * plain


def test_a_late_start_costs_what_the_mean_is_worth(seed):
    """Data of mean 3: from noise it misses about 3 alpha, from the right mean and covariance little."""
    data, schedule = Mixture(np.ones(8), RING.means.numpy() + [3.0, 0.0], np.full(8, 0.08)), VP()
    model, z = data.model(schedule), initial_noise(4000, 2, seed, torch.float64)
    times = grids.truncated(schedule, 9, snr_start=0.1, snr_end=1e9)
    t, fresh = float(times[0]), data.sample(4000, seed + 1)
    cov = schedule.alpha(t) ** 2 * data.covariance() + schedule.sigma(t) ** 2 * torch.eye(2)
    right = schedule.alpha(t) * data.mean() + z @ torch.linalg.cholesky(cov).T
    ends = [model.x0(sample(dpmpp_2m, model, x, times).x, float(times[-1])) for x in (z, right)]
    noise, moments = (sliced_wasserstein(x, fresh, 64) for x in ends)
    assert noise > 0.35 and moments < 0.15


def test_own_steps_can_be_ahead_by_root_mean_square_and_behind_by_the_median(seed):
    """The swiss roll at the largest tolerance, five calls."""
    model, log = mixture("swiss roll").model(VP()), []
    x = initial_noise(200, 2, seed, torch.float64)
    exact = reference(model, x, 1.0, VP().end, 1e-5)
    own = sample(adaptive_per_sample, model, x, [1.0, VP().end], tol=0.3, log=log).x
    times = grids.uniform_lambda(VP(), round(float(calls_of(log, 200).mean())))
    fixed = sample(exponential_ab, model, x, times, prediction="eps", order=2).x
    median = lambda y: float((y - exact).norm(dim=1).median())  # noqa: E731
    assert rms(own - exact) < rms(fixed - exact) and median(own) > 1.2 * median(fixed)
