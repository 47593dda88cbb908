"""Chapter 2: the family, its forward kernel, the bound, the step, the solver, inversion, interpolation."""

import math

import numpy as np
import sympy
import torch

from book.ch02 import experiments
from book.problems import rms, two_peaks
from tests.book.notebooks.equations import equation
from toolkit import VE, VP, Discrete, Mixture, VPCosine, grids, initial_noise, sample
from toolkit.ddim import ddim, ddim_coefficients, ddim_invert, ddim_sigma, slerp, step_error
from toolkit.ddpm import (
    ddpm_coefficients,
    optimal_variance,
    posterior,
    step_variances,
    transition,
    vlb_weight,
)
from toolkit.noise import Replay

LINEAR = Discrete.linear(1000)


def _symbols():
    """alpha_t, sigma_t, alpha_s, sigma_s, and v = sigma_s^2 - room^2 so that the root in the direction is
    `room`, a plain symbol.
    """
    a_t, s_t, a_s, s_s, room = sympy.symbols("alpha_t sigma_t alpha_s sigma_s room", positive=True)
    return a_t, s_t, a_s, s_s, room, s_s**2 - room**2


def _covariance_of_family(schedule, times, eta):
    """Covariance of the states at `times`, noisiest first, given x_0, by walking down (2.1): (n, n)."""
    result = np.zeros((len(times), len(times)))
    result[0, 0] = schedule.sigma(times[0]) ** 2
    for k, (t, s) in enumerate(zip(times, times[1:]), 1):
        c = ddim_sigma(schedule, t, s, eta)
        slope = math.sqrt(schedule.sigma(s) ** 2 - c**2) / schedule.sigma(t)
        result[k, :k] = result[:k, k] = slope * result[k - 1, :k]
        result[k, k] = slope**2 * result[k - 1, k - 1] + c**2
    return result


@equation("ddim.family")
def family():
    """The mean written in x_t and x_0 is the step at the true x_0; at eta = 1 it is DDPM's posterior.
    The joint that is written down the steps has the jump's marginals, and at eta = 1 the chain's covariances.
    """
    times = [1.0, 0.7, 0.4, 0.1]
    for eta in (0.0, 0.4, 1.0):
        joint = _covariance_of_family(VP(), times, eta)
        alpha, sigma = VP().alpha(np.array(times)), VP().sigma(np.array(times))
        assert np.allclose(np.diag(joint), sigma**2, rtol=1e-12)
        chain = np.minimum.outer(sigma**2 / alpha**2, sigma**2 / alpha**2) * np.outer(alpha, alpha)
        assert np.allclose(joint, chain, rtol=1e-10) is (eta == 1)
    for schedule in (VP(), LINEAR):
        t, s = 0.6, 0.45
        for eta in (0.0, 0.3, 1.0):
            (a,), (b,), (noise,) = ddim_coefficients(schedule, [t, s], eta)
            room = math.sqrt(schedule.sigma(s) ** 2 - noise**2)
            weight_xt = room / schedule.sigma(t)
            weight_x0 = schedule.alpha(s) - weight_xt * schedule.alpha(t)
            # x_t = alpha_t x_0 + sigma_t eps into a x_t + b eps
            assert math.isclose(
                a * schedule.alpha(t), weight_x0 + weight_xt * schedule.alpha(t), rel_tol=1e-12
            )
            assert math.isclose(a * schedule.sigma(t) + b, weight_xt * schedule.sigma(t), rel_tol=1e-12)
        c_0, c_t, _ = posterior(schedule, t, s)
        assert math.isclose(c_t, weight_xt, rel_tol=1e-12) and math.isclose(c_0, weight_x0, rel_tol=1e-9)


@equation("ddim.marginal")
def marginal():
    """Mean and variance of x_s given x_0, with x_t integrated out, are alpha_s x_0 and sigma_s^2 for every
    noise: sympy.
    """
    a_t, s_t, a_s, s_s, room, noise2 = _symbols()
    x0 = sympy.Symbol("x_0", real=True)
    mean = a_s * x0 + room * (a_t * x0 - a_t * x0) / s_t
    variance = (room / s_t) ** 2 * s_t**2 + noise2
    assert sympy.simplify(mean - a_s * x0) == 0
    assert sympy.simplify(variance - s_s**2) == 0
    result = experiments.marginals_kept()
    assert all((value > experiments.KS_1_PERCENT) == ("broken" in name) for name, value in result.items()), (
        result
    )


@equation("ddim.forward")
def forward():
    """q(x_s|x_t,x_0) q(x_t|x_0) = q(x_t|x_s,x_0) q(x_s|x_0) as densities, symbolically; and eta = 1 is the
    Markov step.
    """
    a_t, s_t, a_s, s_s, room, noise2 = _symbols()
    x0, xs, xt = sympy.symbols("x_0 x_s x_t", real=True)

    def log_normal(x, mean, var):
        return -((x - mean) ** 2) / (2 * var) - sympy.log(var) / 2

    left = log_normal(xs, a_s * x0 + room * (xt - a_t * x0) / s_t, noise2) + log_normal(xt, a_t * x0, s_t**2)
    mean = a_t * x0 + s_t * room / s_s**2 * (xs - a_s * x0)
    right = log_normal(xt, mean, s_t**2 * noise2 / s_s**2) + log_normal(xs, a_s * x0, s_s**2)
    difference = sympy.expand_log(sympy.simplify(left - right), force=True)
    assert sympy.simplify(difference) == 0
    result = experiments.family_by_bayes()
    assert result["difference of slope"] < 1e-12 and result["difference of variance"] < 1e-12
    assert abs(result["weight of x_0 at eta 1"]) < 1e-12 and abs(result["weight of x_0 beside x_s"]) > 0.1
    schedule, t, s = VP(), 0.6, 0.4
    ratio, beta = transition(schedule, s, t)
    c = ddim_sigma(schedule, t, s, 1.0)
    slope = schedule.sigma(t) * math.sqrt(schedule.sigma(s) ** 2 - c**2) / schedule.sigma(s) ** 2
    assert math.isclose(slope, ratio, rel_tol=1e-10) and math.isclose(
        (schedule.sigma(t) * c / schedule.sigma(s)) ** 2, beta, rel_tol=1e-10
    )


@equation("ddim.bound")
def bound():
    """KL of two Gaussians of one variance is b^2 |eps - eps_model|^2 / (2 c^2); at eta = 1 the weight is
    DDPM's; it grows like 1/eta^2.
    """
    a_t, s_t, a_s, s_s, room, noise2 = _symbols()
    e, f, xt = sympy.symbols("epsilon f x_t", real=True)

    def mean(eps):
        return a_s * (xt - s_t * eps) / a_t + room * eps

    b = room - a_s * s_t / a_t
    assert sympy.simplify((mean(e) - mean(f)) ** 2 - b**2 * (e - f) ** 2) == 0
    for t, s in ((0.5, 0.499), (1.0, 0.9), (0.3, 0.1)):
        assert math.isclose(
            experiments.bound_weight(LINEAR, t, s, 1.0), vlb_weight(LINEAR, t, s), rel_tol=1e-9
        )
    small = [experiments.bound_weight(LINEAR, 0.5, 0.499, eta) for eta in (1e-3, 1e-4)]
    assert math.isclose(small[1] / small[0], 100, rel_tol=1e-4)


@equation("ddim.step")
def step():
    """The sampler's step is the three terms, with noise given."""
    model = Mixture.ring(8).model(LINEAR)
    x, z = (initial_noise(6, 2, seed, dtype=torch.float64) for seed in (0, 1))
    t, s, eta = 0.6, 0.4, 0.7
    c = ddim_sigma(LINEAR, t, s, eta)
    direction = math.sqrt(LINEAR.sigma(s) ** 2 - c**2) * model.eps(x, t)
    expected = LINEAR.alpha(s) * model.x0(x, t) + direction + c * z
    *_, (_, result) = ddim(model, x, [t, s], eta=eta, rng=Replay([z]))
    assert torch.allclose(result, expected, rtol=1e-12, atol=1e-13)


@equation("ddim.sigma")
def sigma():
    """The formula in alpha-bar (the paper's symbols), and eta = 1 against DDPM's posterior for every step of
    the table.
    """
    bar = LINEAR.alpha_bar
    t, s = np.arange(2, 1001), np.arange(1, 1000)
    printed = np.sqrt((1 - bar[s]) / (1 - bar[t])) * np.sqrt(1 - bar[t] / bar[s])
    assert np.allclose(ddim_sigma(LINEAR, t / 1000, s / 1000, 1.0), printed, rtol=1e-9)
    assert np.allclose(0.3 * printed, ddim_sigma(LINEAR, t / 1000, s / 1000, 0.3), rtol=1e-9)
    times = np.arange(1000, 0, -1) / 1000
    a, b, c = ddim_coefficients(LINEAR, times, 1.0)
    assert np.allclose((a, b), ddpm_coefficients(LINEAR, times), rtol=0, atol=1e-13)
    assert np.allclose(np.square(c), step_variances(LINEAR, times, "posterior"), rtol=1e-12, atol=0)


@equation("ddim.largest")
def largest():
    """At the largest eta the noise is all of sigma_s; a little more is refused, there and only there."""
    for t, s in ((0.9, 0.5), (0.5, 0.45), (1.0, 0.999)):
        top = 1 / math.sqrt(-math.expm1(2 * (LINEAR.lam(t) - LINEAR.lam(s))))
        assert top > 1 and math.isclose(ddim_sigma(LINEAR, t, s, top), LINEAR.sigma(s), rel_tol=1e-10)
        ddim_coefficients(LINEAR, [t, s], 0.999 * top)
        try:
            ddim_coefficients(LINEAR, [t, s], 1.001 * top)
        except ValueError:
            continue
        raise AssertionError("a noise larger than sigma_s was accepted")


@equation("ddim.euler")
def euler():
    """The step divided by alpha_s is Euler's in kappa: sympy, then three schedules; and the ODE holds along
    the exact flow.
    """
    a_t, s_t, a_s, s_s, *_ = _symbols()
    x, eps = sympy.symbols("x eps", real=True)
    ours = (a_s * (x - s_t * eps) / a_t + s_s * eps) / a_s
    assert sympy.simplify(ours - (x / a_t + (s_s / a_s - s_t / a_t) * eps)) == 0
    result = experiments.which_euler()
    assert all(v < 1e-13 * (50 if "VE" in k else 10) for k, v in result.items() if "sigma/alpha" in k), result
    assert all(v > 0.01 for k, v in result.items() if "Euler in t" in k)
    for schedule in (
        VP(),
        VPCosine(),
        VE(),
    ):  # dy/dkappa = eps where y = x / alpha, by the exact Gaussian flow
        from toolkit import GaussianFlow

        exact, model = GaussianFlow(schedule, 0.0, 0.5), Mixture.gaussian(1, 0.5).model(schedule)
        t, h, x_t = 0.5, 1e-4, torch.full((1, 1), 0.7, dtype=torch.float64)
        after, before = (exact.map(x_t, t, t + d) / schedule.alpha(t + d) for d in (h, -h))
        kappa = math.exp(-schedule.lam(t + h)) - math.exp(-schedule.lam(t - h))
        assert torch.allclose((after - before) / kappa, model.eps(x_t, t), rtol=1e-6)


@equation("ddim.estimate")
def estimate():
    """Integral of the slope over the step: kappa (1 - (1 + h) e^-h), symbolically; and
    0, h^2 / 2, 1 in its limits.
    """
    u, h, lam = sympy.symbols("u h lambda", positive=True)
    integral = sympy.integrate(u * sympy.exp(-lam - u), (u, 0, h))
    assert sympy.simplify(integral - sympy.exp(-lam) * (1 - (1 + h) * sympy.exp(-h))) == 0
    assert math.isclose(step_error(0.7), 1 - 1.7 * math.exp(-0.7), rel_tol=1e-12)
    assert step_error(math.inf) == 1 and math.isclose(step_error(1e-3), 5e-7, rel_tol=1e-2)


@equation("ddim.variance")
def variance():
    """E|x_s - mean|^2 over the mixture's own posterior: the variance stated is what remains; eta = 1 gives
    `optimal_variance`.

    gamma is an integral over x: 1 - gamma is 0.02 here, and an average over draws would miss it by a tenth.
    """
    schedule, t, s = VP(), 0.6, 0.4
    mixture = two_peaks()
    model, n = mixture.model(schedule), 400_000
    x0 = mixture.sample(n, 0)
    x = schedule.alpha(t) * x0 + schedule.sigma(t) * initial_noise(n, 1, 1, dtype=torch.float64)
    eps = model.eps(x, t)
    at = torch.linspace(-10, 10, 4001, dtype=torch.float64)[:, None]
    density = mixture.log_prob(at, schedule.alpha(t), schedule.sigma(t)).exp()
    assert math.isclose(torch.trapezoid(density, at[:, 0]), 1, rel_tol=1e-9)
    gamma = float(torch.trapezoid(density * model.eps(at, t)[:, 0].square(), at[:, 0]))
    for eta in (0.0, 0.5, 1.0):
        (a,), (b,), (noise,) = ddim_coefficients(schedule, [t, s], eta)
        stated = noise**2 + b**2 * (1 - gamma)
        true = (
            a * x
            + b * (x - schedule.alpha(t) * x0) / schedule.sigma(t)
            + noise * initial_noise(n, 1, 2, dtype=torch.float64)
        )
        left = float((true - (a * x + b * eps)).square().mean())
        assert math.isclose(left, stated, rel_tol=0.02), (eta, left, stated)
    assert math.isclose(stated, optimal_variance(schedule, t, s, gamma), rel_tol=1e-9)


@equation("ddim.inversion")
def inversion():
    """The fixed point undoes the step to rounding; the naive one does not."""
    model, x = Mixture.ring(8).model(VP()), Mixture.ring(8).sample(50, 0)
    times = grids.uniform_lambda(VP(), 40)
    back = [
        sample(ddim, model, sample(ddim_invert, model, x, times, iterations=k).x, times).x for k in (0, 100)
    ]
    errors = [rms(y - x) for y in back]
    assert errors[1] < 1e-9 and errors[0] > 1e-3


@equation("ddim.slerp")
def great_circle():
    """The formula, its ends, and that it keeps the norm of two vectors of one length."""
    x, y = (initial_noise(20, 30, seed, dtype=torch.float64) for seed in (0, 1))
    y = y * (x.norm(dim=1) / y.norm(dim=1))[:, None]
    theta = torch.arccos((x * y).sum(1) / x.norm(dim=1) ** 2)[:, None]
    for w in (0.0, 0.25, 0.5, 1.0):
        mixed = slerp(x, y, w)
        assert torch.allclose(
            mixed, (((1 - w) * theta).sin() * x + (w * theta).sin() * y) / theta.sin(), rtol=1e-10
        )
        assert torch.allclose(mixed.norm(dim=1), x.norm(dim=1), rtol=1e-10)
    assert torch.allclose(slerp(x, y, 0.0), x) and torch.allclose(slerp(x, y, 1.0), y)
