"""Chapter 1's figures and experiments: what a figure shows is what was computed, and what the
prose says is true.
"""

import numpy as np
import pytest
import torch

from book.ch01 import experiments, figures
from book.plots import Picture
from book.problems import two_peaks
from toolkit import VP, Discrete, Mixture, initial_noise, sample
from toolkit import ddpm as d

LINEAR = Discrete.linear(1000)


def test_the_reverse_kernel_is_bayes_rule_on_a_grid():
    mixture, t, s, x_t = two_peaks(), 0.4, 0.1, 0.3
    x, exact, gaussian, kl = experiments.reverse_kernel(mixture, LINEAR, t, s, x_t)
    ratio, beta = d.transition(LINEAR, s, t)
    prior = mixture.log_prob(torch.from_numpy(x)[:, None], LINEAR.alpha(s), LINEAR.sigma(s)).exp().numpy()
    joint = prior * np.exp(-((x_t - ratio * x) ** 2) / (2 * beta))
    assert np.allclose(exact, joint / np.trapezoid(joint, x), atol=1e-9)
    for density in (exact, gaussian):
        assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-9)
        assert np.trapezoid(x * density, x) == pytest.approx(np.trapezoid(x * exact, x), abs=1e-9)
        assert np.trapezoid(x**2 * density, x) == pytest.approx(np.trapezoid(x**2 * exact, x), abs=1e-9)
    assert kl > 0


def test_the_same_step_is_harder_near_the_data():
    """The answer to the first question of the chapter."""
    kls = [
        experiments.reverse_kernel(two_peaks(), VP(), t, t - 0.3, 0.1)[3]
        for t in (0.3, 0.4, 0.5, 0.7, 1.0)
    ]
    assert all(a > 5 * b or a > 3 * b for a, b in zip(kls, kls[1:], strict=False))


def test_the_exact_bound_agrees_with_the_sampled_one():
    mixture, times = two_peaks(), experiments.steps_of(LINEAR, 10)
    gamma = experiments.mean_square_noise(mixture, LINEAR, times)
    x0 = mixture.sample(200_000, 1)
    for variance in ("posterior", "beta", "analytic"):
        exact = experiments.exact_bound(mixture, LINEAR, times, variance, gamma)
        sampled = d.elbo(mixture.model(LINEAR), x0, times, variance, gamma=gamma)
        assert sampled.total == pytest.approx(exact.total, abs=0.02)
        assert sampled.prior == pytest.approx(exact.prior, abs=1e-5)


def test_the_bound_is_never_below_the_entropy():
    for _, gaps in experiments.bound_by_steps((5, 20, 100)).values():
        assert min(gaps) > 0
    result = experiments.bound_and_entropy()
    assert min(result.values()) >= result["entropy"] - 1e-12


def test_numbers_of_the_text():
    """Numbers that the prose repeats."""
    assert experiments.two_bars()["signal at T (the square root of the product)"] == pytest.approx(
        0.0064, abs=5e-5
    )
    assert 1 / LINEAR.alpha(1.0) == pytest.approx(157, abs=0.5)
    result = experiments.likelihood_weight()
    assert (round(result["KL"], 4), round(result["without it"], 4)) == (0.0966, 0.0619)
    result = experiments.where_cosine_helps()
    cosine, linear = (result[f"{name}: fall of log-SNR at the end"] for name in ("cosine", "linear"))
    assert round(cosine / linear) == 57
    result = experiments.terminal_signal()
    assert 1 - result["almost cosine: mean, flow"] == pytest.approx(0.12, abs=0.005)
    assert round(experiments.thousand_steps_on_a_narrow_peak()["posterior"], 4) == 0.0763
    assert experiments.what_the_start_decides()["share of the start"] == pytest.approx(1e-5, rel=0.05)


def test_the_optimal_variance_is_best_for_a_gaussian_and_worst_for_clusters_at_ten_steps():
    assert experiments.few_steps()["analytic, 10 steps"] == pytest.approx(0.25, abs=1e-12)
    result = experiments.shares_by_steps()
    ten = {v: result[f"{v}, 10 steps: on a cluster"] for v in ("posterior", "beta", "analytic")}
    assert ten["analytic"] < min(ten["posterior"], ten["beta"]) - 0.1
    assert result["analytic, 10 steps: radius"] == pytest.approx(1.01, abs=0.04)


def test_an_oracle_has_no_kl():
    x0 = Mixture.ring().sample(16, 1)
    bound = d.elbo(experiments.Oracle(x0, LINEAR), x0, experiments.steps_of(LINEAR, 50))
    assert np.abs(bound.steps).max() < 1e-12


def test_loss_of_the_exact_model_is_smallest():
    """The same noise is used for every model, so the comparison is of models alone."""
    clusters, times = experiments.six_clusters(), np.array([0.05, 0.3])
    data = clusters.sample(4000, 1)
    exact = experiments.loss_at(clusters.model(LINEAR), data, times)
    other = experiments.loss_at(Mixture.gaussian(2, 0.7).model(LINEAR), data, times)
    assert (exact < other).all()
    assert np.allclose(exact, experiments.loss_at(clusters.model(LINEAR), data.float(), times), atol=1e-3)


def test_every_figure_is_a_picture_with_words():
    peaks, schedule = two_peaks(), VP()
    digits = torch.zeros(2, 1, 8, 8)
    many = initial_noise(30, (1, 8, 8), seed=1)
    model = Mixture.gaussian(64, 0.5).model(LINEAR)
    run = sample(d.ddpm, model, digits + 1, experiments.steps_of(LINEAR, 4), keep_path=True)
    pictures = [
        figures.one_step_or_many(*experiments.kernels_by_step(peaks, schedule)),
        figures.step_explorer(**experiments.explored_step(peaks, schedule, 0.2, 1.0, 0.0)),
        figures.demolition(digits, LINEAR, [0, 0.5, 1]),
        figures.two_clues(LINEAR, 0.3, 0.25, 0.8, 0.2),
        figures.conditional_and_marginal(Mixture.ring(), schedule, draws=5),
        figures.schedules({name: table(100) for name, table in experiments.TABLES.items()}),
        figures.weights(*experiments.weights_of_steps()),
        figures.training(torch.ones(100), [0.1, 0.2], [1, 1], [1, 1], torch.zeros(3, 2), torch.zeros(3, 2)),
        figures.predict_and_renoise(model, run.path, run.times, [0, 2, 3]),
        figures.with_neighbours(many[:5], many[5:], count=3),
        figures.variances({"beta": ([10, 20], [0.2, 0.25])}),
    ]
    for picture in pictures:
        assert isinstance(picture, Picture) and len(picture.alt) > 60
        assert len(picture.png) < 150_000
