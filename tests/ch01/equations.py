"""Chapter 1: forward process, posterior, bound, weights, score, schedules, variances."""

import math

import numpy as np
import sympy
import torch

from book.ch01 import experiments
from book.problems import two_peaks
from tests.book.notebooks.equations import equation
from toolkit import VP, Discrete, Mixture, VPCosine, initial_noise, sample
from toolkit import ddpm as d
from toolkit.noise import Replay

LINEAR = Discrete.linear(1000)
COSINE = Discrete.cosine(1000)


@equation("ddpm.step")
def step():
    """For neighbours of a table (ratio, beta) is (sqrt(1 - beta_n), beta_n); and two transitions compose to
    one, for any three times.
    """
    for table in (LINEAR, COSINE, Discrete.quadratic(50), Discrete.sigmoid(200)):
        n = np.arange(1, table.T + 1)
        ratio, beta = d.transition(table, (n - 1) / table.T, n / table.T)
        assert np.allclose(ratio, np.sqrt(1 - table.betas), rtol=1e-9)
        assert np.allclose(beta, table.betas, rtol=1e-9)
    for schedule in (VP(), LINEAR):
        (r1, b1), (r2, b2) = d.transition(schedule, 0.2, 0.5), d.transition(schedule, 0.5, 0.7)
        ratio, beta = d.transition(schedule, 0.2, 0.7)
        assert math.isclose(ratio, r1 * r2, rel_tol=1e-12)
        assert math.isclose(beta, r2**2 * b1 + b2, rel_tol=1e-12)


@equation("ddpm.jump")
def jump():
    """By induction: if x_s = alpha_s x_0 + sigma_s eps then one step gives the levels at t; and numerically
    the whole table.
    """
    b, bar = sympy.symbols("beta alphabar", positive=True)
    signal, noise = sympy.sqrt(1 - b) * sympy.sqrt(bar), (1 - b) * (1 - bar) + b
    assert sympy.simplify(signal**2 - (1 - b) * bar) == 0
    assert sympy.simplify(noise - (1 - (1 - b) * bar)) == 0
    result = experiments.chain_and_jump()
    assert result["difference of signal"] < 1e-14 and result["difference of noise variance"] < 1e-12
    assert np.allclose(LINEAR.alpha_bar[1:], np.cumprod(1 - LINEAR.betas), rtol=1e-12)


def _posterior_symbols():
    a_s, s_s, ratio = sympy.symbols("alpha_s sigma_s ratio", positive=True)
    beta = sympy.Symbol("beta", positive=True)
    a_t, var_t = ratio * a_s, ratio**2 * s_s**2 + beta
    return a_s, s_s, ratio, beta, a_t, var_t


@equation("ddpm.posterior")
def posterior():
    """log q(x_s|x_0) + log q(x_t|x_s) - log q(x_t|x_0) = log of the Gaussian stated, symbolically
    and to the constant.
    """
    a_s, s_s, ratio, beta, a_t, var_t = _posterior_symbols()
    x0, xs, xt = sympy.symbols("x_0 x_s x_t", real=True)

    def log_normal(x, mean, var):
        return -((x - mean) ** 2) / (2 * var) - sympy.log(2 * sympy.pi * var) / 2

    c_0, c_t, tilde = a_s * beta / var_t, ratio * s_s**2 / var_t, beta * s_s**2 / var_t
    bayes = (
        log_normal(xs, a_s * x0, s_s**2) + log_normal(xt, ratio * xs, beta) - log_normal(xt, a_t * x0, var_t)
    )
    difference = bayes - log_normal(xs, c_0 * x0 + c_t * xt, tilde)
    for x in (x0, xs, xt):
        assert sympy.simplify(sympy.diff(difference, x)) == 0
    at_zero = difference.subs({x0: 0, xs: 0, xt: 0})
    assert sympy.simplify(sympy.expand_log(sympy.logcombine(at_zero, force=True), force=True)) == 0
    values = {a_s: 0.8, s_s: 0.6, ratio: 0.5, beta: 0.75}
    schedule = _Levels(s=(0.8, 0.6), t=(0.4, math.sqrt(0.25 * 0.36 + 0.75)))
    assert np.allclose(
        d.posterior(schedule, "t", "s"), [float(c.subs(values)) for c in (c_0, c_t, tilde)], rtol=1e-12
    )


class _Levels:
    """A schedule that is only two pairs (alpha, sigma)."""

    def __init__(self, **levels):
        self.levels = levels

    def alpha(self, t):
        return self.levels[t][0]

    def sigma(self, t):
        return self.levels[t][1]

    def log_alpha(self, t):
        return math.log(self.alpha(t))

    def lam(self, t):
        return math.log(self.alpha(t) / self.sigma(t))


@equation("ddpm.square")
def square():
    """The coefficients of the completed square: precision and its product with the mean."""
    a_s, s_s, ratio, beta, a_t, var_t = _posterior_symbols()
    x0, xs, xt = sympy.symbols("x_0 x_s x_t", real=True)
    exponent = -((xs - a_s * x0) ** 2) / (2 * s_s**2) - (xt - ratio * xs) ** 2 / (2 * beta)
    A, B = 1 / s_s**2 + ratio**2 / beta, a_s * x0 / s_s**2 + ratio * xt / beta
    assert sympy.simplify(sympy.diff(exponent + A * xs**2 / 2 - B * xs, xs)) == 0
    assert sympy.simplify(1 / A - beta * s_s**2 / var_t) == 0
    assert sympy.simplify(B / A - (a_s * beta * x0 + ratio * s_s**2 * xt) / var_t) == 0


@equation("ddpm.posterior_eps")
def posterior_eps():
    """With x_0 = (x_t - sigma_t eps) / alpha_t the posterior mean is (x_t - beta / sigma_t eps) / ratio; the
    sampler's coefficients agree.
    """
    a_s, s_s, ratio, beta, a_t, var_t = _posterior_symbols()
    xt, eps = sympy.symbols("x_t epsilon", real=True)
    x0 = (xt - sympy.sqrt(var_t) * eps) / a_t
    mean = a_s * beta / var_t * x0 + ratio * s_s**2 / var_t * xt
    assert sympy.simplify(mean - (xt - beta / sympy.sqrt(var_t) * eps) / ratio) == 0
    times = [0.9, 0.5, 0.1]
    a, b = d.ddpm_coefficients(LINEAR, times)
    ratio, beta = d.transition(LINEAR, np.array(times[1:]), np.array(times[:-1]))
    assert np.allclose(a, 1 / ratio, rtol=1e-12)
    assert np.allclose(b, -beta / LINEAR.sigma(np.array(times[:-1])) / ratio, rtol=1e-12)


@equation("ddpm.reverse")
def reverse():
    """One step of the sampler: the posterior mean at the predicted x_0, plus sqrt(v) times its noise."""
    model = Mixture.ring().model(LINEAR)
    x = initial_noise(8, 2, seed=1, dtype=torch.float64)
    noise = initial_noise(8, 2, seed=2, dtype=torch.float64)
    for variance in ("posterior", "beta"):
        run = sample(d.ddpm, model, x, [0.6, 0.55], draws=Replay([noise]), variance=variance)
        c_0, c_t, _ = d.posterior(LINEAR, 0.6, 0.55)
        v = d.step_variances(LINEAR, [0.6, 0.55], variance)[0]
        assert torch.allclose(
            run.x, c_0 * model.x0(x, 0.6) + c_t * x + math.sqrt(v) * noise, atol=1e-12, rtol=0
        )


@equation("ddpm.jensen")
def jensen():
    """log p(x_0) of a linear Gaussian chain in closed form: above the ELBO, by the KL between the two
    posteriors of the path.
    """
    for T in (1, 2, 3, 10):
        result = experiments.three_step_chain(T)
        assert result["ELBO"] < result["log p"] + 1e-12
    # one step: gap = KL(q(x_1 | x_0) || p(x_1 | x_0)), both Gaussian
    schedule, x0 = Discrete([0.6]), 0.7
    v, gain = 0.2, 0.5
    var = gain**2 + v
    a, s2 = schedule.alpha(1.0), schedule.sigma(1.0) ** 2
    log_p = -0.5 * (math.log(2 * math.pi * var) + x0**2 / var)
    mean, spread = (
        gain * x0 / var,
        v / var,
    )  # p(x_1 | x_0) for p(x_1) = N(0, 1), p(x_0 | x_1) = N(gain x_1, v)
    elbo = -0.5 * (math.log(2 * math.pi * v) + ((x0 - gain * a * x0) ** 2 + gain**2 * s2) / v)
    elbo -= 0.5 * (a**2 * x0**2 + s2 - 1 - math.log(s2))
    gap = 0.5 * (math.log(spread / s2) + (s2 + (a * x0 - mean) ** 2) / spread - 1)
    assert math.isclose(log_p - elbo, gap, rel_tol=1e-12)


@equation("ddpm.elbo")
def elbo():
    """The three parts sum to E_q[log q(x_1..T | x_0) - log p(x_0..T)], taken term by term over the same
    random paths.
    """
    schedule, mixture = Discrete(np.linspace(0.1, 0.7, 4)), two_peaks()
    times, model = np.arange(4, -1, -1) / 4, mixture.model(Discrete(np.linspace(0.1, 0.7, 4)))
    x0, generator = mixture.sample(200_000, 3), torch.Generator().manual_seed(4)
    gamma = experiments.mean_square_noise(mixture, schedule, times)
    v = d.step_variances(schedule, times, "analytic", gamma)
    log_ratio, xs = torch.zeros(len(x0), dtype=torch.float64), [x0]

    def log_normal(x, mean, var):
        return -0.5 * (math.log(2 * math.pi * var) + (x - mean)[:, 0] ** 2 / var)

    for beta in schedule.betas:
        z = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
        xs.append(math.sqrt(1 - beta) * xs[-1] + math.sqrt(beta) * z)
        log_ratio += log_normal(xs[-1], math.sqrt(1 - beta) * xs[-2], beta)
    log_ratio -= log_normal(xs[-1], 0 * x0, 1.0)
    a, b = d.ddpm_coefficients(schedule, times)
    for i, t in enumerate(times[:-1].tolist()):
        later, earlier = xs[4 - i], xs[3 - i]
        log_ratio -= log_normal(earlier, a[i] * later + b[i] * model.eps(later, t), v[i])
    expected = experiments.exact_bound(mixture, schedule, times, "analytic", gamma).total
    assert abs(float(log_ratio.mean()) - expected) < 5 * float(log_ratio.std()) / math.sqrt(len(x0))


@equation("ddpm.kl")
def kl():
    """Against the integral of q log(q / p)."""
    x = np.linspace(-12, 12, 200_001)
    for m1, v1, m2, v2 in ((0.0, 1.0, 0.5, 2.0), (-1.0, 0.3, 0.2, 0.8), (0.4, 1.5, 0.4, 0.7)):
        log_q = -0.5 * (np.log(2 * np.pi * v1) + (x - m1) ** 2 / v1)
        log_p = -0.5 * (np.log(2 * np.pi * v2) + (x - m2) ** 2 / v2)
        integral = np.trapezoid(np.exp(log_q) * (log_q - log_p), x)
        formula = 0.5 * (np.log(v2 / v1) + (v1 + (m1 - m2) ** 2) / v2 - 1)
        ours = d.gaussian_kl(torch.tensor([m1 - m2], dtype=torch.float64), v1, math.log(v2))
        assert math.isclose(integral, formula, rel_tol=1e-9) and math.isclose(
            float(ours), formula, rel_tol=1e-12
        )


@equation("ddpm.kl_step")
def kl_step():
    """The term of a step in three dimensions, by the general KL of two Gaussians with the posterior and the
    model's Gaussian put in.
    """
    t, s, v = 0.4, 0.37, 0.004
    x0, x0_hat, x_t = np.array([[0.3, -1.0, 2.0], [-0.2, 0.5, 1.9], [0.9, 0.1, -0.4]])
    c_0, c_t, tilde = d.posterior(LINEAR, t, s)
    m1, m2 = c_0 * x0 + c_t * x_t, c_0 * x0_hat + c_t * x_t
    general = 0.5 * (math.log(v / tilde) + (tilde + (m1 - m2) ** 2) / v - 1).sum()
    stated = c_0**2 * ((x0 - x0_hat) ** 2).sum() / (2 * v) + 3 / 2 * (tilde / v - 1 - math.log(tilde / v))
    assert math.isclose(general, stated, rel_tol=1e-12)


@equation("ddpm.weight")
def weight():
    """c_0^2 sigma_t^2 / (2 beta-tilde alpha_t^2) = (SNR_s / SNR_t - 1) / 2, symbolically; and the function.
    """
    a_s, s_s, ratio, beta, a_t, var_t = _posterior_symbols()
    tilde, c_0 = beta * s_s**2 / var_t, a_s * beta / var_t
    left = c_0**2 * var_t / (2 * tilde * a_t**2)
    snr_s, snr_t = a_s**2 / s_s**2, a_t**2 / var_t
    assert sympy.simplify(left - (snr_s / snr_t - 1) / 2) == 0
    c_0, _, tilde = d.posterior(LINEAR, 0.5, 0.45)
    factor = (c_0 * LINEAR.sigma(0.5) / LINEAR.alpha(0.5)) ** 2 / (2 * tilde)
    assert math.isclose(d.vlb_weight(LINEAR, 0.5, 0.45), factor, rel_tol=1e-12)


@equation("ddpm.simple")
def simple():
    """`noise_loss` is the mean squared error of the noise: 0 for a model that is told x_0, and by hand for
    the ring's exact model.
    """
    x0, noise = Mixture.ring().sample(20_000, 1), initial_noise(20_000, 2, seed=2, dtype=torch.float64)
    t = torch.linspace(0.01, 1, len(x0), dtype=torch.float64)
    assert float(d.noise_loss(experiments.Oracle(x0, _column(LINEAR)), x0, t, noise)) < 1e-20
    far = Mixture.gaussian(2, 1e-6).model(LINEAR)  # data at the origin: eps = x / sigma
    value = float(d.noise_loss(far, torch.zeros_like(x0), t, noise))
    assert value < 1e-6
    by_hand = (noise - Mixture.ring().model(LINEAR).eps(d.diffuse(LINEAR, x0, t, noise), t)).square().mean()
    assert math.isclose(
        float(d.noise_loss(Mixture.ring().model(LINEAR), x0, t, noise)), float(by_hand), rel_tol=1e-12
    )


def _column(schedule):
    """A schedule whose levels broadcast against (B, d) when t is a tensor (B,)."""

    class Column:
        def alpha(self, t):
            return schedule.alpha(t)[:, None] if isinstance(t, torch.Tensor) and t.ndim else schedule.alpha(t)

        def sigma(self, t):
            return schedule.sigma(t)[:, None] if isinstance(t, torch.Tensor) and t.ndim else schedule.sigma(t)

    return Column()


@equation("ddpm.continuous")
def continuous():
    """N times the weight of a step of length 1/N tends to g^2 / (2 sigma^2) = -dlambda/dt, with an error
    that falls like 1/N.
    """
    for schedule in (VP(), VPCosine()):
        t, limit = 0.6, d.continuous_weight(schedule, 0.6)
        errors = [abs(n * d.vlb_weight(schedule, t, t - 1 / n) / limit - 1) for n in (100, 1000, 10_000)]
        assert errors[2] < 2e-3 and 8 < errors[0] / errors[1] < 12 and 8 < errors[1] / errors[2] < 12
        slope = (schedule.lam(t + 1e-6) - schedule.lam(t - 1e-6)) / 2e-6
        assert math.isclose(-slope, limit, rel_tol=1e-7)


@equation("ddpm.tweedie")
def tweedie():
    """-E[eps | x_t] / sigma by an integral over x_0, and the models' score, against autograd of log p_t, in
    1-D and in the plane.
    """
    result = experiments.tweedie()
    assert result["integral against gradient"] < 1e-10 and result["model against gradient"] < 1e-12
    mixture, schedule = Mixture.ring(), LINEAR
    x = initial_noise(64, 2, seed=3, dtype=torch.float64).requires_grad_()
    for t in (0.05, 0.4, 0.9):
        log_p = mixture.log_prob(x, schedule.alpha(t), schedule.sigma(t)).sum()
        gradient = torch.autograd.grad(log_p, x)[0]
        eps = mixture.model(schedule).eps(x.detach(), t)
        assert torch.allclose(gradient, -eps / schedule.sigma(t), atol=1e-9)


@equation("ddpm.dsm")
def dsm():
    """DSM - ESM is one constant for any guess, and is the mean squared distance between the two scores."""
    values = list(experiments.denoising_is_score_matching().values())
    assert max(values) - min(values) < 1e-9 and values[0] > 0
    for t, loss in ((0.3, "loss at t = 0.3"), (0.1, "loss at t = 0.1")):
        schedule = VP()
        var = schedule.sigma(t) ** 2
        P = (
            0.25 * schedule.alpha(t) ** 2 + var
        )  # E|target - score|^2 = E|target|^2 - E|score|^2 = 1/var - 1/P
        assert math.isclose(2 * experiments.loss_at_the_exact_score()[loss], 1 / var - 1 / P, rel_tol=1e-12)


@equation("ddpm.hyvarinen")
def hyvarinen():
    """E[|s|^2 / 2 + div s] differs from half the ESM by a constant, for three guesses, by quadrature."""
    x = torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    mixture = two_peaks()
    p = mixture.log_prob(x[:, None], 0.8, 0.6).exp()
    y = x.clone().requires_grad_()
    score = torch.autograd.grad(mixture.log_prob(y[:, None], 0.8, 0.6).sum(), y)[0]
    constants = []
    for guess, slope in ((-x, -torch.ones_like(x)), (torch.sin(x), torch.cos(x)), (-(x**3), -3 * x**2)):
        half_esm = torch.trapezoid(p * 0.5 * (guess - score) ** 2, x)
        constants.append(float(half_esm - torch.trapezoid(p * (0.5 * guess**2 + slope), x)))
    assert max(constants) - min(constants) < 1e-8


@equation("ddpm.cosine")
def cosine():
    """alpha-bar of the table is f(t) / f(0) except where a beta was clipped."""
    f = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    free = COSINE.betas < 0.999 - 1e-12
    assert free[:-1].all() and np.allclose(COSINE.alpha_bar[1:][free], (f / f[0])[1:][free], rtol=1e-9)


@equation("ddpm.analytic")
def analytic():
    """The stationary point of E[KL] in v, symbolically; and no other variance gives a smaller bound."""
    v, tilde, missed, c0 = sympy.symbols("v tilde missed c_0", positive=True)
    expected_kl = (sympy.log(v / tilde) + (tilde + c0**2 * missed) / v - 1) / 2
    assert sympy.solve(sympy.diff(expected_kl, v), v) == [tilde + c0**2 * missed]
    mixture, times = two_peaks(), experiments.steps_of(LINEAR, 20)
    gamma = np.array(experiments.mean_square_noise(mixture, LINEAR, times))
    best = d.step_variances(LINEAR, times, "analytic", gamma)
    c_0, _, tilde = d.posterior(LINEAR, times[:-1], times[1:])
    gap2 = c_0**2 * (LINEAR.sigma(times[:-1]) / LINEAR.alpha(times[:-1])) ** 2 * (1 - gamma)
    assert np.allclose(best, tilde + gap2, rtol=1e-12)


@equation("ddpm.learned")
def learned():
    """Fraction 0 and 1 give the two fixed variances, one half their geometric mean."""
    log_beta, log_tilde = d.log_variance_bounds(LINEAR, [0.5, 0.4, 0.3])
    for fraction, expected in (
        (0.0, log_tilde[0]),
        (1.0, log_beta[0]),
        (0.5, 0.5 * (log_beta[0] + log_tilde[0])),
    ):
        result = d.learned_deviation(torch.tensor(fraction, dtype=torch.float64), log_beta[0], log_tilde[0])
        assert math.isclose(2 * math.log(float(result)), expected, rel_tol=1e-12)


@equation("ddpm.importance")
def importance():
    """Among all p_t, that proportional to sqrt(E[L_t^2]) gives the smallest variance; the
    class converges to it.
    """
    rng = np.random.default_rng(0)
    square = rng.uniform(0.1, 5, 20)

    def second_moment(p):
        return (square / p).sum() / 20**2

    best = np.sqrt(square) / np.sqrt(square).sum()
    for _ in range(200):
        other = best * np.exp(0.2 * rng.standard_normal(20))
        assert second_moment(best) <= second_moment(other / other.sum())
    sampler = d.LossAwareTimes(20, history=4, floor=0.0)
    for _ in range(4):
        sampler.update(torch.arange(1, 21), torch.from_numpy(np.sqrt(square)))
    assert np.allclose(sampler.probabilities().numpy(), best, rtol=1e-12)
    steps, weights = sampler.draw(1000, torch.Generator().manual_seed(0))
    assert np.allclose(weights.numpy(), 1 / (20 * best[steps.numpy() - 1]))
