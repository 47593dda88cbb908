"""Chapter 1: the forward process, its posterior, four variances, the losses, and the bound."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from toolkit import (
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    Mixture,
    Network,
    Noise,
    SubVP,
    VPCosine,
    exact_variance,
    grids,
    sample,
)
from toolkit import ddpm as chapter
from toolkit.ddpm import (
    LossAwareTimes,
    ddpm,
    ddpm_coefficients,
    diffuse,
    elbo,
    gaussian_kl,
    hybrid_loss,
    mean_square_eps,
    noise_loss,
    optimal_variance,
    posterior,
    step_variances,
    transition,
)

SCHEDULES = [VP(), VPCosine(), VE(), SubVP(), EDM(), Flow(), Discrete.linear(), Discrete.cosine()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def three_times(schedule):
    low = max(schedule.end, 0.01)
    return [low + share * (schedule.start - low) for share in (0.0, 0.35, 0.9)]


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- the forward process --------------------------------------------------------------------------------


@by_schedule
def test_two_short_jumps_are_one_long_jump(schedule):
    """Strided is composed: ratios multiply, and the first jump's variance is scaled by the second."""
    s, u, t = three_times(schedule)
    (r_us, b_us), (r_tu, b_tu), (r_ts, b_ts) = (
        transition(schedule, *pair) for pair in ((s, u), (u, t), (s, t))
    )
    assert r_ts == pytest.approx(r_tu * r_us, rel=1e-12)
    assert b_ts == pytest.approx(b_tu + r_tu**2 * b_us, rel=1e-12)
    assert b_ts == pytest.approx(schedule.sigma(t) ** 2 - r_ts**2 * schedule.sigma(s) ** 2, rel=1e-9)


def test_a_table_is_the_paper_s_one_step_process():
    schedule, n = Discrete.linear(), np.arange(1, 1001)
    ratio, beta = transition(schedule, (n - 1) / 1000, n / 1000)
    assert beta == pytest.approx(schedule.betas, rel=1e-10)
    assert ratio == pytest.approx(np.sqrt(1 - schedule.betas), rel=1e-12)


def test_diffuse_has_the_moments_of_many_small_steps(seed):
    schedule, n = Discrete(np.linspace(0.01, 0.3, 12)), 40_000
    x0 = torch.full((n, 1), 0.7, dtype=torch.float64)
    x, generator = x0, torch.Generator().manual_seed(seed)
    for beta in schedule.betas:
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(
            n, 1, generator=generator, dtype=torch.float64
        )
    jump = diffuse(schedule, x0, 1.0, torch.randn(n, 1, generator=generator, dtype=torch.float64))
    assert stats.ks_2samp(x[:, 0], jump[:, 0]).pvalue > 1e-5
    assert abs(float(jump.mean()) - 0.7 * schedule.alpha(1.0)) < 5 * schedule.sigma(1.0) / math.sqrt(n)


def test_diffuse_takes_a_time_for_each_sample():
    x0, noise, t = randn(5, 1, 2, 2), randn(5, 1, 2, 2, seed=1), torch.rand(5, dtype=torch.float64)
    got = diffuse(VP(), x0, t, noise)
    for i in range(5):
        assert torch.allclose(
            got[i], VP().alpha(float(t[i])) * x0[i] + VP().sigma(float(t[i])) * noise[i], atol=1e-14
        )
    with pytest.raises(ValueError, match="shape of x0"):
        diffuse(VP(), x0, t, noise[:1])


# --- the posterior --------------------------------------------------------------------------------------


@by_schedule
def test_posterior_is_bayes_rule(schedule):
    """The product of q(x_s | x_0) and q(x_t | x_s) as functions of x_s, completed to a square."""
    s, u, t = three_times(schedule)
    for late, early in ((u, s), (t, u), (t, s)):
        ratio, beta = transition(schedule, early, late)
        precision = 1 / schedule.sigma(early) ** 2 + ratio**2 / beta
        c_0, c_t, tilde = posterior(schedule, late, early)
        assert tilde == pytest.approx(1 / precision, rel=1e-10)
        assert c_0 == pytest.approx(schedule.alpha(early) / schedule.sigma(early) ** 2 / precision, rel=1e-9)
        assert c_t == pytest.approx(ratio / beta / precision, rel=1e-10)


def test_posterior_by_quadrature():
    schedule, x0, x_t, s, t = VP(), 0.4, -0.3, 0.2, 0.5
    ratio, beta = transition(schedule, s, t)
    joint = lambda y: (
        stats.norm.pdf(y, schedule.alpha(s) * x0, schedule.sigma(s))
        * stats.norm.pdf(x_t, ratio * y, math.sqrt(beta))
    )
    moment = lambda k: quad(lambda y: y**k * joint(y), -6, 6, epsabs=1e-14)[0]
    mass, first, second = map(moment, range(3))
    c_0, c_t, tilde = posterior(schedule, t, s)
    assert first / mass == pytest.approx(c_0 * x0 + c_t * x_t, abs=1e-11)
    assert second / mass - (first / mass) ** 2 == pytest.approx(tilde, abs=1e-11)


@by_schedule
def test_posterior_leads_back_to_the_marginal(schedule):
    """Averaged over q(x_t | x_0), the posterior is q(x_s | x_0)."""
    s, u, t = three_times(schedule)
    for late, early in ((u, s), (t, u), (t, s)):
        c_0, c_t, tilde = posterior(schedule, late, early)
        assert c_0 + c_t * schedule.alpha(late) == pytest.approx(schedule.alpha(early), rel=1e-12)
        assert (c_t * schedule.sigma(late)) ** 2 + tilde == pytest.approx(
            schedule.sigma(early) ** 2, rel=1e-11
        )


def test_posterior_of_a_table_is_the_paper_s():
    schedule, n = Discrete.linear(), np.arange(1, 1001)
    bar, bar_before, beta = schedule.alpha_bar[1:], schedule.alpha_bar[:-1], schedule.betas
    c_0, c_t, tilde = posterior(schedule, n / 1000, (n - 1) / 1000)
    assert c_0 == pytest.approx(np.sqrt(bar_before) * beta / (1 - bar), rel=1e-9)
    assert c_t == pytest.approx(np.sqrt(1 - beta) * (1 - bar_before) / (1 - bar), rel=1e-9, abs=1e-15)
    assert tilde == pytest.approx((1 - bar_before) / (1 - bar) * beta, rel=1e-9, abs=1e-15)
    assert posterior(schedule, 0.001, 0.0) == pytest.approx((1, 0, 0), abs=1e-15)


def test_coefficients_are_algorithm_2():
    schedule, times = Discrete.linear(), np.arange(1000, -1, -1) / 1000
    a, b = ddpm_coefficients(schedule, times)
    beta, bar = schedule.betas[::-1], schedule.alpha_bar[:0:-1]
    assert a == pytest.approx(1 / np.sqrt(1 - beta), rel=1e-10)
    assert b == pytest.approx(-beta / np.sqrt(1 - bar) / np.sqrt(1 - beta), rel=1e-9)


# --- variances ------------------------------------------------------------------------------------------


def gaussian_gamma(schedule, times, std):
    """E|eps|^2 / d in closed form for data N(0, std^2)."""
    t = np.asarray(times[:-1])
    return schedule.sigma(t) ** 2 / (schedule.alpha(t) ** 2 * std**2 + schedule.sigma(t) ** 2)


@by_schedule
@pytest.mark.parametrize("std", [0.5, 1.0, 1.7])
def test_the_analytic_variance_is_exact_for_gaussian_data_at_any_number_of_steps(schedule, std):
    for steps in (1, 2, 3, 10, 57):
        times = grids.uniform(schedule, steps)
        gamma = gaussian_gamma(schedule, times, std)
        want = (schedule.alpha(float(times[-1])) * std) ** 2 + schedule.sigma(float(times[-1])) ** 2
        got = exact_variance(ddpm, schedule, times, std, variance="analytic", gamma=gamma)
        lost = 1e-15 / (1 - gamma).min()  # gamma near 1 is a float near 1
        assert got == pytest.approx(want, rel=1e-10 + lost)


@pytest.mark.parametrize(
    "schedule", [VP(), VPCosine(), Discrete.linear(), Discrete.cosine()], ids=lambda s: type(s).__name__
)
def test_the_two_fixed_variances_bracket_the_truth(schedule):
    for steps in (5, 20, 100):
        times = grids.uniform(schedule, steps, end=0.05)
        want = (schedule.alpha(0.05) * 0.5) ** 2 + schedule.sigma(0.05) ** 2
        small, large = (exact_variance(ddpm, schedule, times, variance=v) for v in ("posterior", "beta"))
        assert small < want < large
        lower, best, upper = (
            step_variances(schedule, times, v, gaussian_gamma(schedule, times, 0.5))
            for v in ("posterior", "analytic", "beta")
        )
        assert (lower < best).all() and (best < upper).all()


def test_strided_sampling_keeps_the_variance_where_a_naive_stride_does_not():
    schedule, times = Discrete.linear(), grids.strided(Discrete.linear(), 100)
    assert abs(exact_variance(ddpm, schedule, times, variance="beta") - 0.25) < 0.02
    assert abs(exact_variance(ddpm, schedule, times, variance="posterior") - 0.25) < 0.04
    for variance in ("posterior", "beta"):
        assert (
            abs(exact_variance(ddpm, schedule, grids.strided(schedule, 1000), variance=variance) - 0.25)
            < 0.005
        )


def test_the_optimal_variance_is_the_mean_conditional_variance():
    """E Var(x_s | x_t) on a 1-D mixture, by quadrature over both."""
    mixture = Mixture([0.3, 0.7], [[-1.0], [0.6]], [0.2, 0.35])
    schedule, t, s = VP(), 0.45, 0.15
    ratio, beta = transition(schedule, s, t)
    x_s, x_t = np.linspace(-6, 6, 2401), np.linspace(-7, 7, 701)
    log_p = mixture.log_prob(torch.from_numpy(x_s)[:, None], schedule.alpha(s), schedule.sigma(s)).numpy()
    joint = np.exp(log_p) * stats.norm.pdf(x_t[:, None], ratio * x_s, math.sqrt(beta))
    mass = joint.sum(1)
    mean, square = (joint @ x_s**k / mass for k in (1, 2))
    want = ((square - mean**2) * mass).sum() / mass.sum()
    eps = mixture.model(schedule).eps(torch.from_numpy(x_t)[:, None], t).square()[:, 0].numpy()
    gamma = (eps * mass).sum() / mass.sum()
    assert optimal_variance(schedule, t, s, gamma) == pytest.approx(want, rel=1e-9)


def test_mean_square_eps_estimates_gamma(seed):
    model, times = Mixture.gaussian(2, 0.5).model(VP()), grids.uniform(VP(), 6)
    data = Mixture.gaussian(2, 0.5).sample(20_000, seed)
    want = gaussian_gamma(VP(), times, 0.5)
    assert mean_square_eps(model, data, times, seed) == pytest.approx(want, rel=5 * math.sqrt(2 / 40_000))


def learned(fraction, schedule):
    """An exact model of N(0, 1/4) that also predicts where its variance lies between the two bounds."""
    exact = Mixture.gaussian(8, 0.5).model(schedule)

    def net(x, c):
        return torch.cat([exact.eps(x, float(c[0])), torch.full_like(x, 2 * fraction - 1)], dim=1)

    return Network(net, schedule, learned_variance=True), exact


@pytest.mark.parametrize("fraction, variance", [(0.0, "posterior"), (1.0, "beta")])
@pytest.mark.parametrize("end", [0.0, 0.01])
def test_a_learned_variance_at_its_bounds_is_the_fixed_one(fraction, variance, end):
    schedule = Discrete.linear(100)
    model, exact = learned(fraction, schedule)
    times, x = grids.uniform(schedule, 20, end=end), randn(6, 2, 2, 2)
    for seed in range(3):
        one = sample(ddpm, model, x, times, draws=seed, variance="learned").x
        two = sample(ddpm, exact, x, times, draws=seed, variance=variance).x
        assert torch.allclose(one, two, atol=1e-10)


def test_a_learned_variance_between_is_a_geometric_mean():
    schedule = Discrete.linear(100)
    model, exact = learned(0.25, schedule)
    x, noise = randn(4, 2, 2, 2), randn(4, 2, 2, 2, seed=1)
    t, s = 0.8, 0.75
    from toolkit.noise import Replay

    got = sample(ddpm, model, x, [t, s], draws=Replay([noise]), variance="learned").x
    (a,), (b,) = ddpm_coefficients(schedule, [t, s])
    beta, tilde = transition(schedule, s, t)[1], posterior(schedule, t, s)[2]
    deviation = math.sqrt(beta**0.25 * tilde**0.75)
    assert torch.allclose(got, a * x + b * exact.eps(x, t) + deviation * noise, atol=1e-12)


def test_the_last_step_to_no_noise_returns_the_mean():
    schedule, x = Discrete.linear(), randn(3, 2)
    model = Mixture.ring().model(schedule)
    for variance in ("posterior", "beta"):
        one, two = (sample(ddpm, model, x, [0.001, 0.0], draws=s, variance=variance).x for s in (0, 1))
        assert torch.equal(one, two) and torch.allclose(one, model.x0(x, 0.001), atol=1e-12)
        one, two = (sample(ddpm, model, x, [0.5, 0.25], draws=s, variance=variance).x for s in (0, 1))
        assert not torch.allclose(one, two)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"variance": "mine"}, "variance must be one of"),
        ({"variance": "analytic"}, "needs gamma"),
        ({"variance": "analytic", "gamma": [0.5]}, "needs gamma"),
        ({"variance": "learned"}, "learned_variance=True"),
    ],
)
def test_mistakes_are_one_sentence(options, says):
    with pytest.raises(ValueError, match=says):
        sample(ddpm, Mixture.ring().model(VP()), randn(2, 2), grids.uniform(VP(), 3), **options)


# --- losses ---------------------------------------------------------------------------------------------


@by_schedule
def test_the_vlb_weight_is_the_kl_divergence(schedule):
    """weight |eps - eps_model|^2 = KL(posterior at x_0 || at the predicted x_0)."""
    s, u, t = three_times(schedule)
    for late, early in ((u, s), (t, u)):
        c_0, _, tilde = posterior(schedule, late, early)
        error = 0.3
        gap = torch.tensor(c_0 * schedule.sigma(late) / schedule.alpha(late) * error, dtype=torch.float64)
        kl = gaussian_kl(gap, tilde, math.log(tilde))
        assert chapter.vlb_weight(schedule, late, early) * error**2 == pytest.approx(float(kl), rel=1e-8)


@by_schedule
def test_the_continuous_weight_is_the_limit_of_many_steps(schedule):
    t = three_times(schedule)[1] * (1 + 1e-9)  # not on a knot of a table
    if isinstance(schedule, Discrete):
        t = (math.floor(t * 1000) + 0.5) / 1000
    h = 1e-6 * t
    slope = (schedule.lam(t - h) - schedule.lam(t + h)) / (2 * h)
    assert chapter.continuous_weight(schedule, t) == pytest.approx(slope, rel=1e-6)
    assert chapter.vlb_weight(schedule, t + h / 2, t - h / 2) / h == pytest.approx(slope, rel=1e-4)


def test_named_weights():
    t = np.array([0.01, 0.3, 0.9])
    ratio = VP().alpha(t) ** 2 / VP().sigma(t) ** 2
    tensor = torch.from_numpy(t)
    for name, options, want in [
        ("snr", {}, ratio),
        ("snr_weight", {"gamma": 0.0}, np.ones(3)),
        ("snr_weight", {"gamma": -0.5}, ratio**-0.5),
        ("min_snr_weight", {}, np.minimum(ratio, 5) / ratio),
        ("min_snr_weight", {"gamma": 1.0}, np.minimum(ratio, 1) / ratio),
        ("p2_weight", {"gamma": 0.5, "k": 2.0}, (2 + ratio) ** -0.5),
    ]:
        weight = getattr(chapter, name)
        assert weight(VP(), t, **options) == pytest.approx(want, rel=1e-12)
        assert weight(VP(), tensor, **options).numpy() == pytest.approx(want, rel=1e-12)


def test_the_simple_loss_by_hand():
    x0, noise, t = (
        randn(4, 1, 3, 3),
        randn(4, 1, 3, 3, seed=1),
        torch.tensor([0.1, 0.4, 0.6, 0.9], dtype=torch.float64),
    )
    model = Network(lambda x, c: 0.5 * x, VP())
    error = (noise - 0.5 * diffuse(VP(), x0, t, noise)).square()
    assert float(noise_loss(model, x0, t, noise)) == pytest.approx(float(error.mean()), rel=1e-12)
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5])
    want = (weight[:, None, None, None] * error).mean()
    assert float(noise_loss(model, x0, t, noise, weight)) == pytest.approx(float(want), rel=1e-12)
    assert float(noise_loss(model, x0, t, noise, chapter.min_snr_weight(VP(), t))) > 0


def test_the_simple_loss_is_least_for_the_exact_model():
    mixture, n = Mixture.ring(), 4000
    for seed in range(3):
        x0, noise = mixture.sample(n, seed), randn(n, 2, seed=seed + 50)
        t = torch.rand(n, generator=torch.Generator().manual_seed(seed)).double()
        exact = mixture.model(VP())
        best = float(noise_loss(exact, x0, t, noise))
        for factor in (0.95, 1.05):
            scaled = Network(lambda x, c, f=factor, m=exact: f * m.eps(x, c), VP())
            assert float(noise_loss(scaled, x0, t, noise)) > best


def test_the_bound_trains_the_variance_only():
    """In L_hybrid the gradient of L_vlb stops at the mean: that of the eps channels is L_simple's alone."""
    schedule = Discrete.linear(100)
    x0, noise = randn(5, 2, 3, 3), randn(5, 2, 3, 3, seed=1)
    t = torch.tensor([0.1, 0.3, 0.5, 0.7, 1.0], dtype=torch.float64)

    def gradient(share):
        out = randn(5, 4, 3, 3, seed=2).mul(0.3).requires_grad_()
        loss = hybrid_loss(
            Network(lambda x, c: out, schedule, learned_variance=True), x0, t, t - 0.01, noise, share
        )
        (grad,) = torch.autograd.grad(loss, out)
        return grad.chunk(2, dim=1)

    (eps_0, variance_0), (eps_1, variance_1) = gradient(0.0), gradient(1.0)
    assert torch.equal(eps_0, eps_1) and eps_0.abs().min() > 0
    assert (variance_0 == 0).all() and variance_1.abs().min() > 0


def test_the_learned_variance_is_right_when_the_bound_is_least():
    """For Gaussian data the optimum of L_vlb is the analytic variance."""
    schedule, t, s, n = Discrete.linear(100), 0.5, 0.49, 60_000
    exact = Mixture.gaussian(1, 0.5).model(schedule)
    best = optimal_variance(schedule, t, s, gaussian_gamma(schedule, [t, s], 0.5)[0])
    beta, tilde = transition(schedule, s, t)[1], posterior(schedule, t, s)[2]
    optimum = math.log(best / tilde) / math.log(beta / tilde)
    x0, noise = Mixture.gaussian(1, 0.5).sample(n), randn(n, 1)
    ts = torch.full((n,), t, dtype=torch.float64)

    def bound(fraction):
        net = lambda x, c: torch.cat([exact.eps(x, t), torch.full_like(x, 2 * fraction - 1)], dim=1)
        model = Network(net, schedule, learned_variance=True)
        return float(hybrid_loss(model, x0, ts, ts - 0.01, noise, 1.0) - noise_loss(exact, x0, ts, noise))

    values = [bound(optimum + d) for d in (-0.1, 0.0, 0.1)]
    assert values[1] < min(values[0], values[2])


def test_the_bound_in_the_hybrid_loss_is_a_sum_over_steps():
    """Its weight grows with the length of the chain, which a schedule without a table must be told."""
    x0, noise, t = randn(4, 2, 3, 3), randn(4, 2, 3, 3, seed=1), torch.full((4,), 0.5, dtype=torch.float64)
    net = lambda x, c: torch.zeros(len(x), 4, 3, 3, dtype=x.dtype)

    def bound(**options):
        model = Network(net, VP(), learned_variance=True)
        total = hybrid_loss(model, x0, t, t - 0.01, noise, 1.0, **options)
        return float(total - noise.square().mean())

    assert bound(steps=200) == pytest.approx(2 * bound(steps=100), rel=1e-10)
    with pytest.raises(ValueError, match="steps"):
        bound()


def test_importance_sampling_is_unbiased(seed):
    T, generator = 20, torch.Generator().manual_seed(seed)
    losses = torch.logspace(-2, 1, T, dtype=torch.float64)
    sampler = LossAwareTimes(T, history=3)
    assert torch.allclose(
        sampler.probabilities(), torch.full((T,), 1 / T).double()
    )  # until every step has been seen
    for _ in range(3):
        sampler.update(torch.arange(1, T + 1), losses)
    p = sampler.probabilities()
    assert float(p.sum()) == pytest.approx(1) and (p.diff() > 0).all()
    assert p.numpy() == pytest.approx((0.999 * losses / losses.sum() + 0.001 / T).numpy(), rel=1e-12)
    steps, weights = sampler.draw(20_000, generator)
    assert steps.min() >= 1 and steps.max() <= T
    assert float((p * losses / (T * p)).sum()) == pytest.approx(float(losses.mean()), rel=1e-12)
    weighted = weights * losses[steps - 1]
    spread = float(weighted.std()) / math.sqrt(len(steps))
    assert abs(float(weighted.mean() - losses.mean())) < 5 * spread
    uniform = float(losses.std(correction=0)) / math.sqrt(len(steps))
    assert spread < 0.1 * uniform  # what it is for


def test_importance_sampling_remembers_the_latest_losses():
    sampler = LossAwareTimes(2, history=2, floor=0.0)
    for loss in (100.0, 1.0, 1.0):
        sampler.update(torch.tensor([1, 2]), torch.tensor([loss, 3.0]))
    assert sampler.probabilities().tolist() == pytest.approx([0.25, 0.75])


# --- the bound on the likelihood ------------------------------------------------------------------------

TABLE = Discrete.linear(200)
STEPS = grids.strided(TABLE, 200)


def test_a_model_that_knows_the_answer_has_no_kl():
    x0 = randn(6, 16).clamp(-1, 1)
    oracle = Network(lambda x, c: x0, Discrete.linear(), predicts="x0")
    terms = elbo(oracle, x0, grids.strided(Discrete.linear(), 1000))
    assert abs(terms.steps).max() < 1e-9 and len(terms.steps) == 999
    assert 0 < terms.prior < 0.01 and terms.dims == 16
    assert terms.total == pytest.approx(terms.prior + terms.steps.sum() + terms.decoder)
    assert terms.bits_per_dim == pytest.approx(terms.total / 16 / math.log(2))


@pytest.mark.parametrize("variance", ["posterior", "beta", "analytic"])
def test_the_bound_is_a_bound(seed, variance):
    """-ELBO >= -log p, where the mixture knows log p; sampled, so to within five standard errors."""
    mixture, n = Mixture.ring(5, std=0.2), 2000
    model, x0 = mixture.model(TABLE), mixture.sample(n, seed)
    gamma = mean_square_eps(model, mixture.sample(4000, 99), STEPS, 7) if variance == "analytic" else None
    surprise = -mixture.log_prob(x0)
    halves = [elbo(model, half, STEPS, variance, gamma, seed=seed).total for half in x0.chunk(4)]
    excess = np.array(halves) - [float(part.mean()) for part in surprise.chunk(4)]
    assert excess.mean() > -5 * excess.std(ddof=1) / 2 - 1e-3
    assert excess.mean() < 3.0  # and not a vacuous one


def test_with_the_optimal_variance_a_gaussian_s_bound_is_its_entropy(seed):
    d, std, n = 4, 0.5, 4000
    gaussian = Mixture.gaussian(d, std)
    model, x0 = gaussian.model(TABLE), gaussian.sample(n, seed)
    gamma = gaussian_gamma(TABLE, STEPS, std)
    entropy = d * 0.5 * math.log(2 * math.pi * math.e * std**2)
    parts = [
        elbo(model, part, STEPS, "analytic", gamma, seed=10 * seed + i) for i, part in enumerate(x0.chunk(8))
    ]
    totals = np.array([part.total for part in parts])
    assert abs(totals.mean() - parts[0].prior - entropy) < 5 * totals.std(ddof=1) / math.sqrt(8) + 1e-3
    # the same data and noise for each variance, so that little but the variance differs
    small, best, large = (
        elbo(model, x0, STEPS, v, gamma, seed=seed).total for v in ("posterior", "analytic", "beta")
    )
    assert best < large < small


def test_a_learned_variance_at_its_bounds_has_the_fixed_one_s_bound():
    x0 = Mixture.gaussian(8, 0.5).sample(20).reshape(20, 2, 2, 2)
    for fraction, variance in ((0.0, "posterior"), (1.0, "beta")):
        model, exact = learned(fraction, TABLE)
        one, two = elbo(model, x0, STEPS, "learned"), elbo(exact, x0, STEPS, variance)
        assert one.steps == pytest.approx(two.steps, abs=1e-9) and one.decoder == pytest.approx(
            two.decoder, abs=1e-9
        )


def decoder(x0, mean, t=0.005, bins=17):
    """L_0 of one step from t to 0 whose mean is `mean`; its variance is sigma_t^2 with variance='beta'."""
    model = Network(lambda x, c: torch.full_like(x, mean), TABLE, predicts="x0")
    x0 = torch.as_tensor(x0, dtype=torch.float64).reshape(1, -1)
    return elbo(model, x0, [t, 0.0], "beta", bins=bins).decoder


@pytest.mark.parametrize("bins", [2, 17, 256])
@pytest.mark.parametrize("mean", [-1.3, -0.98, 0.0, 0.41, 1.0])
@pytest.mark.parametrize("t", [0.005, 0.1, 0.5])
def test_the_discretised_decoder_is_a_distribution_over_the_grey_levels(bins, mean, t):
    levels = np.linspace(-1, 1, bins)
    sigma = TABLE.sigma(t)
    nll = np.array([decoder([level], mean, t, bins) for level in levels])
    assert np.exp(-nll).sum() == pytest.approx(1, abs=1e-10)
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    mass = np.diff(stats.norm.cdf(edges, mean, sigma))
    well = mass > 1e-5  # where scipy's difference of two near ones keeps its digits
    assert np.exp(-nll[well]) == pytest.approx(mass[well], rel=1e-9)


def test_the_discretised_decoder_is_finite_in_the_far_tail():
    assert decoder([1.0], -1.0) > 100 and math.isfinite(decoder([1.0], -1.0))
    assert decoder([-1.0], 1.0) == pytest.approx(decoder([1.0], -1.0), rel=1e-10)


def test_prior_term():
    x0, d = randn(50, 3), 3
    model, t = Mixture.gaussian(d, 1.0).model(TABLE), 0.4
    alpha, sigma = TABLE.alpha(t), TABLE.sigma(t)
    want = [0.5 * (alpha**2 * float(row @ row) + d * (sigma**2 - 1 - math.log(sigma**2))) for row in x0]
    assert elbo(model, x0, [t, 0.2, 0.0]).prior == pytest.approx(np.mean(want), rel=1e-10)


def test_the_bound_needs_a_grid_that_reaches_the_data():
    with pytest.raises(ValueError, match="must end where sigma = 0"):
        elbo(Mixture.ring().model(VP()), randn(2, 2), grids.uniform(VP(), 5))


def test_noise_comes_from_the_seed():
    x0, model = randn(5, 2), Mixture.ring().model(TABLE)
    one, again, other = (elbo(model, x0, grids.strided(TABLE, 10), seed=s).total for s in (0, 0, 1))
    assert one == again != other
    times = grids.strided(TABLE, 10)
    z = list(Noise(0).normals(x0, times.tolist()))
    assert len(z) == 10
