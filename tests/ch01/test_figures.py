"""Chapter 1's figures and experiments: what a figure shows is what was computed, and what the
prose says is true.
"""

import numpy as np
import pytest
import torch

from book.ch01 import experiments, figures
from book.plots import Picture
from book.problems import two_peaks
from tests.seeds import seed_of
from toolkit import VP, Discrete, Mixture, initial_noise, sample
from toolkit import ddpm as d
from toolkit.data import digit_labels, digits
from toolkit.networks import pretrained

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


def test_a_short_step_is_a_bell_moved_by_the_score():
    """The argument of section 1.1: mean (x_t + beta score) / ratio, variance near beta, for several data."""
    t, s, x_t = 0.4, 0.398, 0.3
    ratio, beta = d.transition(VP(), s, t)
    for mixture in (two_peaks(), Mixture.gaussian(1, 0.5), Mixture([0.5, 0.5], [[-2.0], [1.0]], [0.1, 1.0])):
        x, exact, _, kl = experiments.reverse_kernel(mixture, VP(), t, s, x_t)
        score = float(mixture.model(VP()).score(torch.tensor([[x_t]], dtype=torch.float64), t))
        mean = np.trapezoid(x * exact, x)
        assert mean == pytest.approx((x_t + beta * score) / ratio, abs=1e-9)
        assert np.trapezoid((x - mean) ** 2 * exact, x) == pytest.approx(beta, rel=0.1)
        assert kl < 1e-6


def test_the_same_step_is_harder_near_the_data():
    """The answer to the first question of the chapter."""
    kls = [
        experiments.reverse_kernel(two_peaks(), VP(), t, t - 0.3, 0.1)[3] for t in (0.3, 0.4, 0.5, 0.7, 1.0)
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
    result = experiments.where_cosine_helps()
    cosine, linear = (result[f"{name}: fall of log-SNR, last 1 %"] for name in ("cosine", "linear"))
    assert round(cosine / linear) == 57
    result = experiments.terminal_signal()
    assert 1 - result["almost cosine: mean, flow"] == pytest.approx(0.12, abs=0.005)
    peak = "posterior, sd of a peak of 0.08 after 1000 steps"
    assert round(experiments.thousand_steps_on_a_narrow_peak()[peak], 4) == 0.0763
    assert round(experiments.kl_is_closed_form()["largest weight over smallest"]) == 120
    assert sum(weight.numel() for weight in pretrained("digits").parameters()) == 364_576
    assert experiments.what_the_start_decides()["share of the start"] == pytest.approx(1e-5, rel=0.05)


def test_the_unweighted_integral_depends_on_the_unit_of_time_and_the_weighted_one_does_not():
    result = experiments.likelihood_weight()
    for T in (1, 1000):
        assert result[f"with the weight, t from 0 to {T}"] == pytest.approx(result["KL"], rel=1e-6)
    short, long = (result[f"without it, t from 0 to {T}"] for T in (1, 1000))
    assert short < result["KL"] < long


def test_the_posterior_variance_loses_near_the_data_and_by_the_borrowed_variance():
    gap = experiments.where_the_posterior_variance_loses()
    parts = gap["from the KL terms"] + gap["from the variance borrowed for the last step"]
    assert parts == pytest.approx(gap["the whole gap"], abs=1e-4)
    assert gap["from the last ten of them"] > 0.8 * gap["from the KL terms"]


def test_no_power_of_the_snr_comes_within_two_decades_of_the_bound():
    found = experiments.snr_powers_are_no_bound()
    t, weights = experiments.weights_of_steps()
    ratio = d.snr(LINEAR, t)
    for p in np.linspace(-3, 4, 29):
        assert (
            np.ptp(np.log10(ratio**p / (1 + ratio) / weights["bound"])) >= found["the smallest spread"] - 1e-6
        )
    assert found["the smallest spread"] > 2


def test_the_axioms_sum_of_two_steps_by_hand():
    """One KL, whose earlier neighbour is x_0 itself."""
    result, schedule = experiments.three_step_chain(2), Discrete(np.linspace(0.1, 0.7, 2))
    on, apart = (
        result[f"minus the sum of the summary, neighbours {how}"] for how in ("on one path", "drawn apart")
    )
    assert on == pytest.approx(apart, abs=1e-12)  # x_0 and x_2 given x_0: there is only one way
    times = experiments.steps_of(schedule)
    gamma = experiments.mean_square_noise(Mixture.gaussian(1, 0.5), schedule, times)
    v = d.step_variances(schedule, times, "analytic", gamma)[0]
    x2_power = 0.25 * schedule.alpha(1.0) ** 2 + schedule.sigma(1.0) ** 2
    gain = 0.25 * schedule.alpha(0.5) * schedule.alpha(1.0)  # E[x_1 x_2] / E[x_2^2]
    gain = (gain + schedule.sigma(0.5) ** 2 * schedule.alpha(1.0) / schedule.alpha(0.5)) / x2_power
    ratio, beta = d.transition(schedule, 0.0, 0.5)
    far = 0.25 * (ratio - gain * schedule.alpha(1.0)) ** 2 + (gain * schedule.sigma(1.0)) ** 2
    bound = experiments.exact_bound(Mixture.gaussian(1, 0.5), schedule, times, "analytic", gamma)
    kl = 0.5 * (np.log(v / beta) + (beta + far) / v - 1)
    assert on == pytest.approx(-(bound.prior + bound.decoder + kl), rel=1e-9)


def test_an_autoencoder_of_many_steps_has_the_bound_of_ddpm_for_any_number_of_them():
    for steps in (1, 2, 7):
        result = experiments.multi_step_vae(steps)
        assert result["its bound as a VAE"] == pytest.approx(result["-ELBO of DDPM"], abs=1e-9)
        assert result["what x_T tells about x_0"] < 1e-4


@pytest.mark.slow
def test_a_learned_variance_beats_the_best_constant():
    found = experiments.bound_with_a_learned_variance()
    assert found["learned"] + 3 * found["standard error of that"] < found["analytic"]
    assert found["analytic"] < found["beta"] < found["posterior"]


def test_by_one_rule_for_the_last_noise_the_three_variances_lie_close_on_clusters():
    """And that noise alone costs the optimal one, perfect for one Gaussian, a quarter of its samples."""
    assert experiments.few_steps()["analytic, 10 steps"] == pytest.approx(0.25, abs=1e-12)
    assert experiments.few_steps()["beta with the last noise, 10 steps"] == pytest.approx(0.347, abs=1e-3)
    result = experiments.shares_by_steps()
    three = ("posterior", "beta", "analytic")
    ten, twenty = ({v: result[f"{k} steps, {v}"] for v in three} for k in (10, 20))
    assert max(ten, key=ten.get) == "beta" and max(twenty, key=twenty.get) == "posterior"
    assert max(ten.values()) - min(ten.values()) < 0.05 and max(ten.values()) < 0.85
    noisy = {v: result[f"10 steps and the last noise, {v}"] for v in three}
    assert (
        noisy["beta"] < noisy["analytic"] < ten["analytic"] - 0.2 and noisy["posterior"] == ten["posterior"]
    )
    assert result["100 steps, posterior"] > 0.993  # above the data's 0.989: narrow clusters are rewarded


def test_copies_score_best_and_the_network_worst_at_the_same_n_and_quotas():
    """Of digits that are copies, the data themselves and noisy, in the classes' proportions."""
    labels = torch.cat([digit_labels(360, seed) for seed in range(2)])
    images, own = digits("all")
    draw = torch.Generator().manual_seed(seed_of("distances"))
    rows = [int(torch.multinomial((own == k).float(), 1, generator=draw)) for k in labels.tolist()]
    noisy = images[rows] + 0.4 * torch.randn(720, 1, 8, 8, generator=draw)
    found = experiments.distances(noisy, 360, draws=4)
    assert {len(values) for values in found.values()} == {4}
    means = {kind: values.mean() for kind, values in found.items()}
    assert means["copies"] < means["fresh real digits"] < means["samples of the network"]


def test_recorded_networks_that_were_trained_for_longer_copy_more():
    rows = experiments.longer_training()
    for sampler in ("DDPM", "DDIM"):
        copies = [count for name, count in rows.items() if name.endswith(f"{sampler}, near-copies")]
        assert len(copies) == 3 and copies == sorted(copies) and copies[-1] > 10 * copies[0]


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
    images = torch.zeros(2, 1, 8, 8)
    many = initial_noise(30, (1, 8, 8), seed=1)
    model = Mixture.gaussian(64, 0.5).model(LINEAR)
    run = sample(d.ddpm, model, images + 1, experiments.steps_of(LINEAR, 4), keep_path=True)
    pictures = [
        figures.one_step_or_many(*experiments.kernels_by_step(peaks, schedule)),
        figures.step_explorer(**experiments.explored_step(peaks, schedule, 0.2, 1.0, 0.0)),
        figures.demolition(images, ["0", "1"], LINEAR, [0, 0.5, 1]),
        figures.two_clues(LINEAR, 0.3, 0.25, 0.8, 0.2),
        figures.conditional_and_marginal(Mixture.ring(), schedule, draws=5),
        figures.schedules({name: table(100) for name, table in experiments.TABLES.items()}),
        figures.weights(*experiments.weights_of_steps()),
        figures.training(torch.ones(100), [0.1, 0.2], [1, 1], [1, 1], torch.zeros(3, 2), torch.zeros(3, 2)),
        figures.predict_and_renoise(model, run.path, run.times, [0, 2, 4]),
        figures.with_neighbours(many[:5], many[5:], count=3),
        figures.markov_chain(),
        figures.network(),
        figures.bound_gaps(
            {v: ([5, 10, 20, 50, 100], [1, 0.5, 0.25, 0.1, 0.05]) for v in ("posterior", "beta", "analytic")}
        ),
    ]
    for picture in pictures:
        assert isinstance(picture, Picture) and len(picture.alt) > 60
        assert len(picture.png) < 150_000
