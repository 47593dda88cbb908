"""Chapter 3: the chain's limit, Ito's formula, Fokker-Planck, the reverse family,
solvers, Langevin, likelihood.
"""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch

from book.ch03.experiments import (
    contraction,
    shifted,
    simulated_stationary,
    snr_stationary,
    stationary,
)
from tests.book.notebooks.equations import equation
from toolkit import EDM, VE, VP, Flow, GaussianFlow, LinearSDE, Mixture, QuantileFlow, SubVP, initial_noise
from toolkit.ddim import ddim
from toolkit.noise import Replay
from toolkit.ode import (
    STABILITY,
    euler,
    flow_coefficients,
    heun,
    implicit_euler,
    log_likelihood,
    midpoint,
    next_step,
    rk4,
    trapezoid,
)
from toolkit.sampling import sample_last
from toolkit.sde import (
    churned,
    edm_stochastic,
    langevin_step,
    restart,
    reverse_coefficients,
    simulate,
    snr_step,
    stochastic_heun,
)

DOUBLE = {"dtype": torch.float64}
t, x, h, z = sympy.symbols("t x h z", real=True)
f, g, level = sympy.Function("f")(t), sympy.Function("g")(t), sympy.Symbol("l", nonnegative=True)
p = sympy.Function("p")(x, t)
SCORE = sympy.diff(sympy.log(p), x)


def _transport(velocity, diffusion, density=p):
    """-d/dx(velocity density) + diffusion d2/dx2 density."""
    return -sympy.diff(velocity * density, x) + diffusion * sympy.diff(density, x, 2)


def _normal_mean(expression):
    """The mean over z ~ N(0, 1) of a polynomial in z."""
    terms = sympy.Poly(sympy.expand(expression), z).terms()
    moment = lambda k: 0 if k % 2 else sympy.factorial2(k - 1) if k else 1
    return sum(c * moment(k) for (k,), c in terms)


@equation("sde_ode.step")
def step():
    """Taylor in the root of h, symbolically: the difference of the two sides is of order h^2 in the drift."""
    beta = sympy.Symbol("beta", positive=True)
    remainder = sympy.series(sympy.sqrt(1 - beta * h) - (1 - beta * h / 2), h, 0, 4).removeO()
    assert sympy.simplify(remainder / h**2).subs(h, 0) == -(beta**2) / 8
    exact = sympy.sqrt(beta * h) - sympy.sqrt(beta) * sympy.sqrt(h)
    assert sympy.simplify(exact.subs(h, sympy.Symbol("k", positive=True))) == 0


@equation("sde_ode.sde")
def sde():
    """One short step of `simulate` has mean x + f x h and variance g^2 h; many have alpha x_0 and sigma^2."""
    schedule, x0 = VP(), torch.full((2, 1), 0.7, **DOUBLE)
    now, soon = 0.3, 0.301
    (_, _), (_, moved) = simulate(
        schedule, x0, [now, soon], rng=Replay([torch.tensor([[0.0], [1.0]], **DOUBLE)])
    )
    assert math.isclose(float(moved[0]), 0.7 * (1 + schedule.f(now) * (soon - now)), rel_tol=1e-12)
    assert math.isclose(float(moved[1] - moved[0]), math.sqrt(schedule.g2(now) * (soon - now)), rel_tol=1e-9)
    for schedule in (VP(), SubVP(), VE(0.01, 5.0)):
        times, mean, variance = np.linspace(0, 1, 20001), 0.7, schedule.sigma(0.0) ** 2
        for a, c in zip(1 + schedule.f(times[:-1]) / 20000, schedule.g2(times[:-1]) / 20000):
            mean, variance = a * mean, a * a * variance + c
        assert mean == pytest.approx(0.7 * schedule.alpha(1.0), rel=2e-3)
        assert variance == pytest.approx(schedule.sigma(1.0) ** 2, rel=1e-3)


@equation("sde_ode.ito")
def ito():
    """The mean of phi after a step of size h, to first order in h, for powers of x; the noise
    part is g phi' dw.
    """
    a, b = sympy.symbols("f g", real=True)
    root = sympy.Symbol("root", positive=True)  # the root of h
    for power in range(1, 6):
        moved = sympy.expand((x + a * x * root**2 + b * root * z) ** power)
        drift = sympy.expand(_normal_mean(moved)).coeff(root, 2)
        phi = x**power
        assert sympy.expand(drift - a * x * sympy.diff(phi, x) - b**2 / 2 * sympy.diff(phi, x, 2)) == 0
        assert sympy.expand(moved.coeff(root, 1) - b * z * sympy.diff(phi, x)) == 0


@equation("sde_ode.moments")
def moments():
    """Ito's formula with x and x^2; and every schedule's alpha and sigma^2 solve the two equations."""
    m, v = sympy.Function("m")(t), sympy.Function("v")(t)
    mean, square = f * m, 2 * f * (v + m**2) + g**2  # means of the drift of x and of x^2
    assert sympy.simplify(square - 2 * m * mean - (2 * f * v + g**2)) == 0
    for schedule in (VP(), SubVP(), VE(), LinearSDE(lambda s: -0.5 - s, lambda s: 1 + s**2)):
        s, d = np.linspace(0.1, 0.9, 9), 1e-5
        alpha, variance = schedule.alpha(s + d) - schedule.alpha(s - d), schedule.sigma(s) ** 2
        assert np.allclose(alpha / (2 * d), schedule.f(s) * schedule.alpha(s), rtol=1e-7)
        change = schedule.sigma(s + d) ** 2 - schedule.sigma(s - d) ** 2
        assert np.allclose(change / (2 * d), 2 * schedule.f(s) * variance + schedule.g2(s), rtol=1e-6)


@equation("sde_ode.schedules")
def schedules():
    """f and g^2 of VP, sub-VP and VE, and that each gives the levels of its own schedule."""
    s = np.linspace(0.05, 1, 9)
    vp, sub, ve = VP(), SubVP(), VE()
    beta, integral = vp.beta(s), -2 * vp.log_alpha(s)
    assert np.allclose(vp.g2(s), beta) and np.allclose(vp.f(s), -beta / 2)
    assert np.allclose(sub.f(s), vp.f(s)) and np.allclose(sub.g2(s), beta * (1 - np.exp(-2 * integral)))
    assert np.allclose(ve.f(s), 0)
    assert np.allclose(ve.g2(s), 2 * ve.sigma(s) ** 2 * math.log(ve.sigma_max / ve.sigma_min))
    for schedule, sigma0 in ((vp, 0.0), (sub, 0.0), (ve, 0.01)):
        levels = LinearSDE(schedule.f, schedule.g2, sigma0=sigma0)
        assert np.allclose(levels.alpha(s), schedule.alpha(s), rtol=1e-9)
        assert np.allclose(levels.sigma(s), schedule.sigma(s), rtol=1e-8)


@equation("sde_ode.score")
def score():
    """The gradient of the mixture's log density, by autograd, is -eps / sigma."""
    mixture, schedule = Mixture([0.3, 0.7], [[-1.0, 0.2], [0.8, 0.0]], [0.2, 0.4]), VP()
    model = mixture.model(schedule)
    points = initial_noise(50, 2, 0, **DOUBLE).requires_grad_()
    for s in (0.05, 0.5, 0.95):
        (slope,) = torch.autograd.grad(model.log_prob(points, s).sum(), points)
        eps = model.eps(points.detach(), s)
        assert torch.allclose(slope, -eps / schedule.sigma(s), rtol=1e-9, atol=1e-11)


@equation("sde_ode.fokker")
def fokker():
    """By parts: the mean of Ito's drift of phi is the integral of phi times the right side, for polynomials
    against a Gaussian; and the Gaussian with the moments of (3.4) solves the equation.
    """
    m, v = sympy.Function("m")(t), sympy.Function("v", positive=True)(t)
    gauss = sympy.exp(-((x - m) ** 2) / (2 * v)) / sympy.sqrt(2 * sympy.pi * v)
    change = sympy.diff(gauss, t).subs({sympy.diff(m, t): f * m, sympy.diff(v, t): 2 * f * v + g**2})
    assert sympy.simplify((change - _transport(f * x, g**2 / 2, gauss)) / gauss) == 0
    a, b = sympy.symbols("f g", real=True)
    normal = sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)
    for power in range(1, 5):
        phi = x**power
        left = (a * x * sympy.diff(phi, x) + b**2 / 2 * sympy.diff(phi, x, 2)) * normal
        right = phi * _transport(a * x, b**2 / 2, normal)
        assert sympy.simplify(sympy.integrate(sympy.expand(left - right), (x, -sympy.oo, sympy.oo))) == 0


@equation("sde_ode.transport")
def transport():
    """Diffusion is transport along the score, for any density p(x, t)."""
    assert sympy.simplify(g**2 / 2 * sympy.diff(p, x, 2) - sympy.diff(g**2 / 2 * p * SCORE, x)) == 0
    assert sympy.simplify(_transport(f * x, g**2 / 2) - _transport(f * x - g**2 / 2 * SCORE, 0)) == 0


@equation("sde_ode.ode")
def ode():
    """The exact flow of a Gaussian has this velocity, in both forms."""
    points = initial_noise(20, 1, 0, **DOUBLE)
    for schedule in (VP(), SubVP(), VE(0.01, 5.0)):
        model, exact, s, d = (
            Mixture.gaussian(1, 0.5).model(schedule),
            GaussianFlow(schedule, std=0.5),
            0.4,
            1e-5,
        )
        velocity = (exact.map(points, s, s + d) - exact.map(points, s, s - d)) / (2 * d)
        by_score = schedule.f(s) * points - schedule.g2(s) / 2 * model.score(points, s)
        by_eps = schedule.f(s) * points + schedule.g2(s) / (2 * schedule.sigma(s)) * model.eps(points, s)
        assert torch.allclose(velocity, by_score, rtol=1e-7) and torch.allclose(by_score, by_eps, rtol=1e-12)


@equation("sde_ode.family")
def family():
    """In reversed time tau = -t the family's Fokker-Planck equation is d/dtau p = -d/dt p, whatever the
    level: symbolically; and `reverse_coefficients` holds its coefficients.
    """
    backwards = -(f * x - (1 + level**2) / 2 * g**2 * SCORE)  # the drift per unit of reversed time
    in_reverse = _transport(backwards, level**2 * g**2 / 2)
    forwards = _transport(f * x, g**2 / 2)
    assert sympy.simplify(in_reverse + forwards) == 0
    schedule = VP()
    for ell in (0.0, 0.7, 1.0, 2.0):
        drift, by_eps, noise = (float(c[0]) for c in reverse_coefficients(schedule, [0.4], ell))
        assert math.isclose(drift, schedule.f(0.4))
        assert math.isclose(by_eps, (1 + ell**2) / 2 * schedule.g2(0.4) / schedule.sigma(0.4))
        assert math.isclose(noise, ell * math.sqrt(schedule.g2(0.4)), abs_tol=1e-15)


@equation("sde_ode.variables")
def variables():
    """The exact flow of a Gaussian has the three slopes, and the coefficients are these."""
    for schedule in (VP(), VE(0.01, 5.0)):
        model, exact = Mixture.gaussian(1, 0.5).model(schedule), GaussianFlow(schedule, std=0.5)
        points, s, d = initial_noise(20, 1, 0, **DOUBLE), 0.4, 1e-5
        for variable in ("t", "sigma", "lam"):
            u, scale, a, b = flow_coefficients(schedule, [s - d, s, s + d], variable)
            early, late = (exact.map(points, s, r) / c for r, c in ((s - d, scale[0]), (s + d, scale[2])))
            slope = (late - early) / (u[2] - u[0])
            want = a[1] * points / scale[1] + b[1] * model.eps(points, s)
            assert torch.allclose(slope, want, rtol=1e-6), variable
        kappa = schedule.sigma(s) / schedule.alpha(s)
        (_,), _, (none,), (b,) = flow_coefficients(schedule, [s], "lam")
        assert none == 0 and math.isclose(b, -kappa) and flow_coefficients(schedule, [s], "sigma")[3][0] == 1


@equation("sde_ode.heun")
def heun_step():
    """One step of the sampler in sigma / alpha is the formula, written out."""
    schedule, model = VP(), Mixture.ring(8).model(VP())
    points, (a, b) = initial_noise(10, 2, 0, **DOUBLE), (0.7, 0.5)
    kappa = lambda s: schedule.sigma(s) / schedule.alpha(s)
    y, step_size = points / schedule.alpha(a), kappa(b) - kappa(a)
    slope = model.eps(points, a)
    ahead = y + step_size * slope
    y = y + step_size / 2 * (slope + model.eps(schedule.alpha(b) * ahead, b))
    got = sample_last(heun(model, points, [a, b], variable="sigma"))
    assert torch.allclose(got, schedule.alpha(b) * y, rtol=1e-12)


@equation("sde_ode.stochastic")
def stochastic_step():
    """One step of the sampler is the formula, written out, with one normal in both places."""
    schedule, model = VP(), Mixture.ring(8).model(VP())
    points, noise = (initial_noise(10, 2, k, **DOUBLE) for k in (0, 1))
    a, b = 0.5, 0.4
    for ell in (0.5, 1.0):
        drift = lambda y, s, ell=ell: (
            schedule.f(s) * y - (1 + ell**2) / 2 * schedule.g2(s) * model.score(y, s)
        )
        c = lambda s, ell=ell: ell * math.sqrt(schedule.g2(s))
        size, root = b - a, math.sqrt(a - b)
        ahead = points + drift(points, a) * size + c(a) * root * noise
        want = points + size / 2 * (drift(points, a) + drift(ahead, b)) + (c(a) + c(b)) / 2 * root * noise
        got = sample_last(stochastic_heun(model, points, [a, b], tau=ell, rng=Replay([noise])))
        assert torch.allclose(got, want, rtol=1e-12)


@equation("sde_ode.fan")
def fan():
    """The error is the sum of its carried parts, to rounding: Heun on two peaks, by the exact flow; and the
    bound's sum is of order p: with L = 1 it tends to C h^p (e^(T) - 1).
    """
    schedule, peaks = VP(), Mixture([0.3, 0.7], [[-1.0], [0.8]], [0.3, 0.4])
    flow, times = QuantileFlow(schedule, peaks), [0.9, 0.7, 0.5, 0.35, 0.2]
    points = initial_noise(5, 1, 0, **DOUBLE)
    states = [points]
    for a, b in itertools.pairwise(times):
        states.append(sample_last(heun(peaks.model(schedule), states[-1], [a, b])))
    ends = [flow.map(y, t, times[-1]) for t, y in zip(times, states)]
    gaps = sum(late - early for early, late in itertools.pairwise(ends))
    assert torch.allclose(states[-1] - flow.map(points, times[0], times[-1]), gaps, atol=1e-9)
    for order in (1, 2, 4):
        bounds = []
        for n in (200, 400):
            step = 1 / n
            bounds.append(sum(math.exp(1 - k * step) for k in range(1, n + 1)) * step ** (order + 1))
        assert math.log2(bounds[0] / bounds[1]) == pytest.approx(order, abs=0.01)


@equation("sde_ode.stability")
def stability():
    """On a point of data dy/dlambda = -y exactly: one step of each solver multiplies by R(-h)."""
    schedule, loops = EDM(), (euler, heun, midpoint, rk4, implicit_euler, trapezoid)
    model = Mixture([1.0], [[0.0]], [1e-12]).model(schedule)
    points = initial_noise(5, 1, 0, **DOUBLE)
    for size in (0.3, 1.5, 2.5):
        times = [40.0, 40.0 * math.exp(-size)]
        for loop in loops:
            got = sample_last(loop(model, points, times, variable="lam"))
            assert torch.allclose(got, STABILITY[loop.__name__](-size) * points, rtol=1e-9), loop.__name__
    zeta = sympy.Symbol("z")
    taylor = sympy.series(sympy.exp(zeta), zeta, 0, 5).removeO()
    assert sympy.expand(STABILITY["rk4"](zeta) - taylor) == 0
    assert sympy.expand(STABILITY["heun"](zeta) - sympy.series(sympy.exp(zeta), zeta, 0, 3).removeO()) == 0


@equation("sde_ode.controller")
def controller():
    """`next_step` is the rule within its limits; a local error C h^(p + 1) is brought to the tolerance by it.
    """
    for error in (0.1, 0.5, 1.0, 3.0):
        assert math.isclose(next_step(0.2, error, order=4, safety=1.0), 0.2 * (1 / error) ** (1 / 5))
    size, tol, c, order = sympy.symbols("h tol C p", positive=True)
    new = size * (tol / (c * size ** (order + 1))) ** (1 / (order + 1))
    assert sympy.simplify(sympy.expand_log(sympy.log(c * new ** (order + 1) / tol), force=True)) == 0


@equation("sde_ode.langevin")
def langevin_formula():
    """The stationary variance solves the chain's recursion, symbolically and by iteration; the
    step is the code's.
    """
    s, e = sympy.symbols("s epsilon", positive=True)
    v = s**2 / (1 - e / (2 * s**2))
    assert sympy.simplify(v * (1 - e / s**2) ** 2 + 2 * e - v) == 0
    for e_ in (0.1, 1.0, 1.9):
        assert math.isclose(stationary(e_, 1.0), simulated_stationary(e_, 1.0), rel_tol=1e-9)
    assert simulated_stationary(2.05, 1.0, 2000) > 1e50 and stationary(2.05, 1.0) == math.inf
    a, b, c = (initial_noise(4, 3, k, **DOUBLE) for k in range(3))
    assert torch.allclose(langevin_step(a, b, 0.3, c), a + 0.3 * b + math.sqrt(0.6) * c)


@equation("sde_ode.snr")
def snr():
    """The step of each sample, and that it scales with the square of the width."""
    noise, state = (initial_noise(6, 40, k, **DOUBLE) for k in (0, 1))
    steps = [snr_step(-state * s / s**2, noise, 0.16) for s in (1.0, 0.01)]
    assert torch.allclose(steps[0][:, 0], 2 * (0.16 * noise.norm(dim=1) / state.norm(dim=1)) ** 2)
    assert torch.allclose(steps[1], steps[0] * 1e-4)


@equation("sde_ode.snr_variance")
def snr_variance():
    """It balances E|x|^2 in one step of the chain, symbolically in d, r and the variance; and the code's."""
    d, r, v = sympy.symbols("d r v", positive=True)  # s = 1; x is N(0, v I)
    inverse, square = 1 / ((d - 2) * v), d * (d + 2)  # the means of |x|^-2 and of |z|^4
    # x (1 - e) + (2 e)^(1/2) z with e = 2 r^2 |z|^2 / |x|^2, z independent of x
    shrunk = d * v - 2 * 2 * r**2 * d + 4 * r**4 * square * inverse
    (found,) = sympy.solve(sympy.Eq(shrunk + 4 * r**2 * square * inverse, d * v), v)
    assert sympy.simplify(found - (1 + r**2) * (d + 2) / (d - 2)) == 0
    assert snr_stationary(64, 0.16) == pytest.approx(float(found.subs({d: 64, r: 0.16})))
    assert snr_stationary(2) == math.inf


@equation("sde_ode.restart")
def restart_round():
    """One round of `restart` on the unit vectors of a Gaussian: the excess shrinks by the squared
    correlation.
    """
    schedule, low, high, std = VP(), 0.1, 0.45, 0.5
    t, up = (float(schedule.t_of_lam(-math.log(kappa))) for kappa in (low, high))
    variance = lambda s: (schedule.alpha(s) * std) ** 2 + schedule.sigma(s) ** 2
    model = Mixture.gaussian(2, std).model(schedule)
    for excess in (0.05, -0.1):
        exact = schedule.alpha(up) / schedule.alpha(t)
        v = variance(t) + excess
        there = exact**2 * v + schedule.sigma(up) ** 2 - exact**2 * schedule.sigma(t) ** 2
        back = there * variance(t) / variance(up)
        rho2 = exact**2 * variance(t) / variance(up)
        assert back - variance(t) == pytest.approx(rho2 * excess, rel=1e-9)
        assert contraction(low, high, std) == pytest.approx(rho2, rel=1e-12)
        # the sampler: from a little above t, so that the start's excess arrives there
        begin = float(schedule.t_of_lam(-math.log(low * 1.0001)))
        x, z = math.sqrt(v) * torch.tensor([[1.0, 0.0]], **DOUBLE), torch.tensor([[0.0, 1.0]], **DOUBLE)
        run = restart(model, x, [begin, t], low=low, high=high, rounds=1, inner=100, rng=Replay([z]))
        assert float(sample_last(run).square().sum()) - variance(t) == pytest.approx(rho2 * excess, rel=1e-3)


@equation("sde_ode.velocity")
def velocity():
    """Symbolically; and a step of DDIM on the linear flow is the step on the velocity."""
    r, v = sympy.symbols("s v", real=True)
    x_0, eps = x - t * v, x + (1 - t) * v
    assert sympy.expand((1 - r) * x_0 + r * eps - (x + (r - t) * v)) == 0
    schedule = Flow()
    model, points = Mixture.ring(8).model(schedule), initial_noise(9, 2, 0, **DOUBLE)
    want = points + (0.3 - 0.7) * (model.eps(points, 0.7) - model.x0(points, 0.7))
    assert torch.allclose(sample_last(ddim(model, points, [0.7, 0.3])), want, rtol=1e-12)


@equation("sde_ode.shift")
def shift():
    """What it does to kappa, symbolically, and to lambda of the toolkit's flow."""
    a, s = sympy.symbols("a t", positive=True)
    moved = a * s / (1 + (a - 1) * s)
    assert sympy.simplify(moved / (1 - moved) - a * s / (1 - s)) == 0
    times = np.linspace(0.05, 0.95, 7)
    assert np.allclose(Flow().lam(shifted(times, 3.0)), Flow().lam(times) - math.log(3))


@equation("sde_ode.churn")
def churn():
    """The raised levels, and one step of the sampler written out."""
    kappa = np.array([10.0, 3.0, 1.0, 0.3])
    assert np.allclose(churned(kappa, 0.6), kappa[:-1] * 1.2)
    assert np.allclose(churned(kappa, 40.0), kappa[:-1] * math.sqrt(2))
    schedule, (a, b) = EDM(), (2.0, 1.0)
    model = Mixture.ring(8).model(schedule)
    points, noise = (2 * initial_noise(10, 2, k, **DOUBLE) for k in (0, 1))
    up = a * 1.3
    y = points + math.sqrt(up**2 - a**2) * noise
    slope = model.eps(y, up)
    want = y + (b - up) / 2 * (slope + model.eps(y + (b - up) * slope, b))
    got = sample_last(edm_stochastic(model, points, [a, b], churn=0.3, rng=Replay([noise])))
    assert torch.allclose(got, want, rtol=1e-12)


@equation("sde_ode.likelihood")
def likelihood():
    """For a Gaussian the divergence is the log of the exact flow's gain: symbolically for VP's linear field,
    and by the code against the mixture's density.
    """
    schedule = VP()
    variance = lambda s: schedule.alpha(s) ** 2 * 0.25 + schedule.sigma(s) ** 2
    s = np.linspace(0.001, 1, 4001)
    divergence = schedule.f(s) + schedule.g2(s) / (2 * variance(s))
    integral = np.trapezoid(divergence, s)
    assert math.isclose(integral, 0.5 * math.log(variance(1.0) / variance(0.001)), rel_tol=1e-6)
    mixture = Mixture([0.3, 0.7], [[-1.0, 0.0], [0.8, 0.5]], [0.3, 0.4])
    model, points = mixture.model(EDM()), mixture.sample(10, 0)
    times = np.exp(np.linspace(math.log(80), math.log(0.002), 161))
    computed, _ = log_likelihood(model, points, times, prior=lambda noise: model.log_prob(noise, 80.0))
    assert torch.allclose(computed, model.log_prob(points, 0.002), atol=1e-5)


@equation("sde_ode.hutchinson")
def hutchinson():
    """The mean over all sign vectors, exactly."""
    for d in (2, 3, 4):
        jacobian = sympy.Matrix(d, d, lambda i, j: sympy.Symbol(f"J{i}{j}"))
        signs = [sympy.Matrix(e) for e in itertools.product((1, -1), repeat=d)]
        mean = sum((e.T * jacobian * e)[0] for e in signs) / len(signs)
        assert sympy.expand(mean - jacobian.trace()) == 0
