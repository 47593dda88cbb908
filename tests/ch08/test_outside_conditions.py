"""Chapter 8b's conclusions about two pixels outside of its tables.  For Gaussian data every step of
replacement, RePaint and region noise is affine, so the laws of samples are computed without any."""

import numpy as np
import pytest
import torch

from book.ch08 import experiments
from book.ch08.experiments import GIVEN, MASK, PAIR
from toolkit import VP, Mixture, grids, initial_noise, sample
from toolkit.conditions import Reconstructed, conditioned, inpaint
from toolkit.ddim import ddim


def law(repeats=1, level=0.0, correlation=0.9, steps=100, std=0.3, known=0.5):
    """Mean and deviation, (2,) each, of two pixels of which the first is held to `known` down to a level."""
    schedule, eye = VP(), np.eye(2)
    times = grids.uniform_lambda(schedule, steps).numpy()
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    data = std**2 * np.array([[1, correlation], [correlation, 1]])

    def held(mean, cov, i):
        if sigma[i] / alpha[i] < level:
            return mean, cov
        return np.array([alpha[i] * known, mean[1]]), np.diag([sigma[i] ** 2, cov[1, 1]])

    mean, cov = held(np.zeros(2), eye, 0)
    for i in range(steps):
        to_x0 = alpha[i] * data @ np.linalg.inv(alpha[i] ** 2 * data + sigma[i] ** 2 * eye)
        to_eps = (eye - alpha[i] * to_x0) / sigma[i]
        ratio = alpha[i] / alpha[i + 1]
        up = sigma[i] ** 2 - (ratio * sigma[i + 1]) ** 2
        fresh = up * sigma[i + 1] ** 2 / sigma[i] ** 2
        step = alpha[i + 1] * to_x0 + np.sqrt(sigma[i + 1] ** 2 - fresh) * to_eps
        for turn in range(last := repeats if i else 1):
            mean, cov = held(step @ mean, step @ cov @ step.T + fresh * eye, i + 1)
            if turn < last - 1:
                mean, cov = ratio * mean, ratio**2 * cov + up * eye
    return mean, np.sqrt(np.diag(cov))


@pytest.mark.parametrize(("repeats", "level"), [(1, 0.0), (20, 0.0), (1, 0.1), (5, 0.03), (5, 0.3)])
def test_samples_lie_within_the_intervals_of_their_law(repeats, level, seed):
    """Five standard errors of 1,000 samples; that the law is one of a Gaussian."""
    noise, times = initial_noise(1000, 2, seed, torch.float64), grids.uniform_lambda(VP(), 40)
    held = {"known": GIVEN["pair"], "level": torch.tensor([level, torch.inf]), "repeats": repeats}
    x = sample(inpaint, PAIR.model(VP()), noise, times, draws=seed + 1, **held).x.numpy()
    mean, deviation = law(repeats, level, steps=40)
    near = 5 * deviation / 1000**0.5
    assert (abs(x.mean(0) - mean) < near).all() and (abs(x.std(0) - deviation) < near).all()


def test_the_table_lies_within_the_interval_that_it_names():
    """Two standard errors: 0.006 of a mean and 0.004 of a deviation; and the laws that the page quotes."""
    for name, repeats, told in (("replacement", 1, (0.305, 0.164)), ("RePaint, 5 times", 5, (0.425, 0.132))):
        mean, deviation = (float(v[1]) for v in law(repeats))
        x = experiments.fill(name, n=4000)[0][:, 1]
        assert abs(float(x.mean()) - mean) < 0.006 and abs(float(x.std()) - deviation) < 0.004
        assert (mean, deviation) == pytest.approx(told, abs=5e-4)
    assert (law(20)[0][1], law(20)[1][1]) == pytest.approx((0.444, 0.127), abs=5e-4)


@pytest.mark.parametrize("correlation", [-0.9, 0.5, 0.7, 0.97, 0.99])
def test_twenty_repeats_come_near_at_other_correlations(correlation):
    right = 0.5 * correlation
    off = [abs(law(repeats, correlation=correlation)[0][1] - right) for repeats in (1, 5, 20)]
    assert off[0] > 2 * off[1] > 4 * off[2] and off[2] < 0.011


@pytest.mark.parametrize("steps", [25, 400])
def test_twenty_repeats_come_near_at_other_numbers_of_steps(steps):
    assert abs(law(20, steps=steps)[0][1] - 0.45) < 0.01 < 0.1 < abs(law(1, steps=steps)[0][1] - 0.45)


def test_repeats_help_at_a_low_level_and_harm_at_a_high_one():
    for level, helps in ((0.03, True), (0.05, True), (0.2, False), (0.3, False)):
        right = 0.45 * 0.09 / (0.09 + level**2)
        once, often = (abs(law(repeats, level)[0][1] - right) for repeats in (1, 5))
        assert (often < once) == helps


def test_which_variance_is_nearest_on_two_peaks_depends_on_the_case(seed):
    """One pixel's where the peaks weigh the same, the model's where they weigh 0.3 and 0.7."""
    for weights, pixel, nearest in (([0.5, 0.5], 0.3, 0.3), ([0.3, 0.7], -0.1, "model")):
        data, known = Mixture(weights, [[-0.4, -1.0], [0.4, 1.0]], [0.3, 0.3]), torch.tensor([pixel, 0.0])
        right, off = float(conditioned(data, known, MASK).weights[1]), {}
        noise, times = initial_noise(1500, 2, seed, torch.float64), grids.uniform_lambda(VP(), 30)
        for std in (None, 0.3, "model"):
            model = Reconstructed(data.model(VP()), known, MASK, std=std)
            off[std] = abs(float((sample(ddim, model, noise, times).x[:, 1] > 0).double().mean()) - right)
        assert min(off, key=off.get) == nearest
