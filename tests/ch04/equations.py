"""Chapter 4: variation of constants, phi, DPM-Solver, local errors, ++, multistep, stability, controllers."""

import math

import numpy as np
import sympy
import torch

from book.ch04 import experiments
from tests.book.notebooks.equations import equation
from toolkit import EDM, VP, GaussianFlow, Mixture, VPCosine, exact_variance, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.dpm_solver import (
    divided_coefficients,
    dpm_solver_1,
    dpm_solver_2,
    dpm_solver_3,
    dpm_solver_adaptive,
    dpmpp_2m_coefficients,
    dpmpp_2s,
    er_sde,
    sde_dpmpp_1,
    sde_dpmpp_2m,
    seeds_2,
)
from toolkit.exponential import adams_table, blended, phi
from toolkit.models import Thresholded
from toolkit.noise import Replay

SCHEDULES = (VP(), VPCosine(), EDM())
DOUBLE = {"dtype": torch.float64}


def _ends(schedule):
    """(s, t) where lambda is -0.3 and 0.5."""
    return tuple(float(schedule.t_of_lam(v)) for v in (-0.3, 0.5))


@equation("dpm_solver.semilinear")
def semilinear():
    """The velocity along x_t = alpha x_0 + sigma eps is alpha' x_0 + sigma' eps: sympy; and numerically along
    the Gaussian flow.
    """
    t = sympy.Symbol("t")
    alpha, sigma = (sympy.Function(name)(t) for name in ("alpha", "sigma"))
    x0, eps = sympy.symbols("x_0 eps")
    f = alpha.diff(t) / alpha
    g2 = (sigma**2).diff(t) - 2 * f * sigma**2
    velocity = f * (alpha * x0 + sigma * eps) + g2 / (2 * sigma) * eps
    assert sympy.simplify(velocity - alpha.diff(t) * x0 - sigma.diff(t) * eps) == 0
    schedule, x = VP(), torch.full((1, 1), 0.7, **DOUBLE)
    flow, model, h = GaussianFlow(schedule, std=0.5), Mixture.gaussian(1, 0.5).model(schedule), 1e-5
    slope = (flow.map(x, 0.5, 0.5 + h) - flow.map(x, 0.5, 0.5 - h)) / (2 * h)
    assert math.isclose(
        slope, schedule.f(0.5) * 0.7 + schedule.g2(0.5) / (2 * schedule.sigma(0.5)) * model.eps(x, 0.5),
        rel_tol=1e-8,
    )  # fmt: skip


def _integral(schedule, s, t, f):
    """Gauss-Legendre over lambda_s to lambda_t of f(lambda)."""
    low, high = schedule.lam(s), schedule.lam(t)
    u, w = np.polynomial.legendre.leggauss(40)
    return sum(
        (high - low) / 2 * weight * f(low + (high - low) * (node + 1) / 2) for node, weight in zip(u, w)
    )


@equation("dpm_solver.exact")
def exact():
    """Along the exact Gaussian flow, on three schedules; and the derivative in lambda_t gives
    back the ODE: sympy.
    """
    for schedule in SCHEDULES:
        s, t = _ends(schedule)
        flow, model = GaussianFlow(schedule, std=0.5), Mixture.gaussian(1, 0.5).model(schedule)
        x = torch.full((1, 1), 0.7, **DOUBLE)

        def along(lam, schedule=schedule, flow=flow, model=model, x=x, s=s, t=t):
            now = float(schedule.t_of_lam(lam))
            return math.exp(schedule.lam(t) - lam) * float(model.eps(flow.map(x, s, now), now))

        ours = schedule.alpha(t) / schedule.alpha(s) * 0.7 - schedule.sigma(t) * _integral(
            schedule, s, t, along
        )
        assert math.isclose(ours, flow.map(x, s, t), rel_tol=1e-10)


@equation("dpm_solver.phi")
def phi_functions():
    """The recursion and phi_k(0) = 1 / k! by sympy; our phi against 60 digits."""
    z, u = sympy.symbols("z u", positive=True)
    defined = [sympy.exp(z)] + [
        sympy.integrate(sympy.exp((1 - u) * z) * u ** (k - 1) / sympy.factorial(k - 1), (u, 0, 1))
        for k in (1, 2, 3)
    ]
    for k in range(3):
        recursion = (defined[k] - 1 / sympy.factorial(k)) / z
        assert sympy.simplify(defined[k + 1] - recursion) == 0
        assert sympy.limit(defined[k + 1], z, 0) == 1 / sympy.factorial(k + 1)
    z, errors = experiments.phi_errors()
    assert errors["toolkit.exponential.phi"].max() < 1e-14
    assert errors["recursion, float64"].max() > 1 and errors["recursion, float32"].max() > 1
    assert len(z) == len(errors["recursion, float64"])


@equation("dpm_solver.taylor")
def taylor():
    """int e^(h - u) u^k / k! du over a step is h^(k+1) phi_(k+1)(h): sympy, and our phi."""
    h, u = sympy.symbols("h u", positive=True)
    for k in range(4):
        integral = sympy.integrate(sympy.exp(h - u) * u**k / sympy.factorial(k), (u, 0, h))
        for value in (0.3, 1.7):
            assert math.isclose(
                float(integral.subs(h, value)), value ** (k + 1) * phi(k + 1, value), rel_tol=1e-12
            )


@equation("dpm_solver.first")
def first():
    """DPM-Solver-1's step, and that it is DDIM's, on three schedules."""
    for schedule in SCHEDULES:
        s, t = _ends(schedule)
        model, x = experiments.FIVE.model(schedule), initial_noise(9, 2, 0, **DOUBLE)
        h = schedule.lam(t) - schedule.lam(s)
        printed = schedule.alpha(t) / schedule.alpha(s) * x - schedule.sigma(t) * math.expm1(h) * model.eps(
            x, s
        )
        for loop in (dpm_solver_1, ddim):
            assert torch.allclose(sample(loop, model, x, [s, t]).x, printed, rtol=1e-12, atol=1e-13)
    assert max(experiments.first_is_ddim().values()) < 1e-12


@equation("dpm_solver.second")
def second():
    """The two lines of DPM-Solver-2 for three r_1."""
    schedule = VP()
    s, t = _ends(schedule)
    model, x = experiments.FIVE.model(schedule), initial_noise(9, 2, 0, **DOUBLE)
    alpha, sigma, h = schedule.alpha, schedule.sigma, schedule.lam(t) - schedule.lam(s)
    for r in (0.3, 0.5, 1.0):
        m = float(schedule.t_of_lam(schedule.lam(s) + r * h))
        e = model.eps(x, s)
        u = alpha(m) / alpha(s) * x - sigma(m) * math.expm1(r * h) * e
        printed = alpha(t) / alpha(s) * x - sigma(t) * math.expm1(h) * (e + (model.eps(u, m) - e) / (2 * r))
        assert torch.allclose(sample(dpm_solver_2, model, x, [s, t], r1=r).x, printed, rtol=1e-12, atol=1e-13)


@equation("dpm_solver.third")
def third():
    """The last line of DPM-Solver-3, and r_2 = 2/3 from phi_2 r_2 / 2 -> phi_3, by sympy; the measured
    one-step slopes.
    """
    r2 = sympy.Symbol("r_2")
    assert sympy.solve(r2 / 2 * sympy.Rational(1, 2) - sympy.Rational(1, 6), r2) == [sympy.Rational(2, 3)]
    schedule = VP()
    s, t = _ends(schedule)
    model, x = experiments.FIVE.model(schedule), initial_noise(9, 2, 0, **DOUBLE)
    alpha, sigma, h = schedule.alpha, schedule.sigma, schedule.lam(t) - schedule.lam(s)
    r1, r2 = 1 / 3, 2 / 3
    m1, m2 = (float(schedule.t_of_lam(schedule.lam(s) + r * h)) for r in (r1, r2))
    e = model.eps(x, s)
    u1 = alpha(m1) / alpha(s) * x - sigma(m1) * math.expm1(r1 * h) * e
    d1 = model.eps(u1, m1) - e
    u2 = alpha(m2) / alpha(s) * x - sigma(m2) * (
        math.expm1(r2 * h) * e + r2**2 * h / r1 * phi(2, r2 * h) * d1
    )
    d2 = model.eps(u2, m2) - e
    printed = alpha(t) / alpha(s) * x - sigma(t) * (math.expm1(h) * e + h / r2 * phi(2, h) * d2)
    assert torch.allclose(sample(dpm_solver_3, model, x, [s, t]).x, printed, rtol=1e-11, atol=1e-12)
    orders = experiments.local_orders()
    assert orders["DPM-3, r_2=2/3"] > 3.8 and orders["DPM-3, r_2=1/2"] < 3.1


@equation("dpm_solver.local")
def local_error():
    """The h^2 and h^3 terms of the local errors of DPM-Solver-1 and -2, for a general eps(y, lambda), by
    Taylor series in sympy.

    With alpha = 1 and lambda_s = 0, so sigma = e^-lambda; y = y_0 + ... is the exact solution of dy/dlambda =
    -e^-lambda eps.
    """
    h, r, y0 = sympy.symbols("h r y_0")
    c = {(i, j): sympy.Symbol(f"c{i}{j}") for i in range(3) for j in range(3) if i + j <= 2}
    eps = lambda y, lam: sum(v * (y - y0) ** i * lam**j for (i, j), v in c.items())
    lam = sympy.Symbol("lambda")
    series = lambda e, n: sympy.series(sympy.expand(e), lam, 0, n).removeO()
    y = y0
    for n in (1, 2, 3):  # Picard: each round is right to one order more
        slope = series(-sympy.exp(-lam) * eps(y, lam), n)
        y = y0 + sympy.integrate(sympy.expand(slope), (lam, 0, lam))
    along = series(eps(y, lam), 3)  # the prediction along the exact solution
    d1, d2 = (sympy.diff(along, lam, k).subs(lam, 0) for k in (1, 2))
    first = lambda end: y0 - sympy.exp(-end) * (sympy.exp(end) - 1) * c[0, 0]
    middle = eps(first(r * h), r * h)
    step2 = first(h) - sympy.exp(-h) * (sympy.exp(h) - 1) / (2 * r) * (middle - c[0, 0])
    truth = y.subs(lam, h)
    error1 = sympy.series(truth - first(h), h, 0, 3).removeO()
    assert sympy.simplify(error1 - (-(h**2) / 2 * d1)) == 0
    error2 = sympy.series(truth - step2, h, 0, 4).removeO()
    stated = h**3 * (d1 / 12 + (r / 4 - sympy.Rational(1, 6)) * d2 + r / 4 * c[1, 0] * d1)
    assert sympy.simplify(sympy.expand(error2 - stated)) == 0


@equation("dpm_solver.data")
def data_form():
    """As `exact`, with data prediction."""
    for schedule in SCHEDULES:
        s, t = _ends(schedule)
        flow, model = GaussianFlow(schedule, std=0.5), Mixture.gaussian(1, 0.5).model(schedule)
        x = torch.full((1, 1), 0.7, **DOUBLE)

        def along(lam, schedule=schedule, flow=flow, model=model, x=x, s=s, t=t):
            now = float(schedule.t_of_lam(lam))
            return math.exp(lam - schedule.lam(t)) * float(model.x0(flow.map(x, s, now), now))

        ours = schedule.sigma(t) / schedule.sigma(s) * 0.7 + schedule.alpha(t) * _integral(
            schedule, s, t, along
        )
        assert math.isclose(ours, flow.map(x, s, t), rel_tol=1e-10)


@equation("dpm_solver.2s")
def two_s():
    """++2S as printed, for two r."""
    schedule = VP()
    s, t = _ends(schedule)
    model, x = experiments.FIVE.model(schedule), initial_noise(9, 2, 0, **DOUBLE)
    alpha, sigma, h = schedule.alpha, schedule.sigma, schedule.lam(t) - schedule.lam(s)
    for r in (0.5, 0.8):
        m = float(schedule.t_of_lam(schedule.lam(s) + r * h))
        d = model.x0(x, s)
        u = sigma(m) / sigma(s) * x - alpha(m) * math.expm1(-r * h) * d
        mean = (1 - 1 / (2 * r)) * d + model.x0(u, m) / (2 * r)
        printed = sigma(t) / sigma(s) * x - alpha(t) * math.expm1(-h) * mean
        assert torch.allclose(sample(dpmpp_2s, model, x, [s, t], r1=r).x, printed, rtol=1e-12, atol=1e-13)


@equation("dpm_solver.2m")
def two_m():
    """Each step's row is the printed one, and without h_(i-1) the order falls to 1 on a rough grid."""
    schedule, times = VP(), grids.quadratic(VP(), 8).numpy()
    lam = schedule.lam(times)
    for i, row in enumerate(dpmpp_2m_coefficients(schedule, times)):
        h = lam[i + 1] - lam[i]
        whole = -schedule.alpha(times[i + 1]) * math.expm1(-h)
        assert math.isclose(row.a, schedule.sigma(times[i + 1]) / schedule.sigma(times[i]), rel_tol=1e-12)
        if i:
            r = (lam[i] - lam[i - 1]) / h
            assert np.allclose(row.weights, [whole * (1 + 1 / (2 * r)), -whole / (2 * r)], rtol=1e-10)
    result = experiments.orders_without_h()
    assert result["2M, alternating 3:1"] > 1.8 > 1.2 > result["2M, r = 1, alternating 3:1"]
    inverted = experiments.inverted_quotient()
    assert all(abs(v - 2) < 0.1 for k, v in inverted.items() if k.endswith("order"))


@equation("dpm_solver.3m")
def three_m():
    """The update with D_1 and D_2 is our row; with half of D_2's term it is the libraries' row."""
    schedule, times = VP(), grids.quadratic(VP(), 8).numpy()
    lam, i = schedule.lam(times), 6
    h, near, far = lam[i + 1] - lam[i], lam[i] - lam[i - 1], lam[i] - lam[i - 2]
    unit = np.eye(3)
    slope1, slope2 = (unit[0] - unit[1]) / near, (unit[1] - unit[2]) / (far - near)
    second = (slope1 - slope2) / far  # the divided difference, half of the second derivative
    first = slope1 + near * second
    alpha = schedule.alpha(times[i + 1])
    for table, factor in ((adams_table(schedule, times, 3), 2), (divided_coefficients(schedule, times), 1)):
        printed = alpha * (
            h * phi(1, -h) * unit[0] + h**2 * phi(2, -h) * first + h**3 * phi(3, -h) * factor * second
        )
        assert np.allclose(table[i].weights, printed, rtol=1e-9)


@equation("dpm_solver.family")
def family():
    """Weights of `adams_table` integrate polynomials of degree below the order exactly, in each variable."""
    result = experiments.exactness()
    exact = {
        "2M, midpoint form": 1, "2M, exact form": 2, "3M": 3,
        "3M, divided": 2, "DEIS-tAB-3": 3, "DEIS-ρAB-4": 4, "iPNDM-4": 1, "UniC-3 (corrector)": 4,
        "2M, midpoint form, r inverted": 1, "2M, exact form, r inverted": 1,
    }  # fmt: skip
    for name, errors in result.items():
        assert all(e < 1e-11 for e in errors[: exact[name]]), (name, errors)
        assert all(e > 1e-3 for e in errors[exact[name] :]), (name, errors)


@equation("dpm_solver.stability")
def stability():
    """The factors of DDIM, DPM-Solver-2 and ++2S on the linear test problem: the formulas against one step,
    and ++2S bounded by (1 - mu)^2.
    """
    schedule = EDM()
    for h in (0.5, 2.0, 6.0):
        times = [float(schedule.t_of_lam(0.0)), float(schedule.t_of_lam(h))]
        for mu in (0.3, 1.0, 2.5):
            model = experiments.Linear(torch.tensor([[mu]], **DOUBLE))
            inner = 1 - mu * -math.expm1(-h / 2)
            stated = {
                ddim: 1 - mu * -math.expm1(-h),
                dpm_solver_2: 1 - 2 * mu * math.sinh(h / 2) * inner,
                dpmpp_2s: math.exp(-h) - math.expm1(-h) * (1 - mu) * inner,
            }
            for loop, factor in stated.items():
                *_, (_, x) = loop(model, torch.ones(1, 1, **DOUBLE), times)
                assert math.isclose(float(x), factor, rel_tol=1e-9, abs_tol=1e-12)
    assert all(math.isclose(1 - 2 * math.sinh(h / 2) * math.exp(-h / 2), math.exp(-h)) for h in (0.5, 2.0))
    h, mu = sympy.symbols("h mu", positive=True)
    two_s = sympy.exp(-h) + (1 - sympy.exp(-h)) * (1 - mu) * (1 - mu * (1 - sympy.exp(-h / 2)))
    assert sympy.simplify(sympy.limit(two_s, h, sympy.oo) - (1 - mu) ** 2) == 0
    middle = 1 - 2 * mu * sympy.sinh(h / 2) * (1 - mu * (1 - sympy.exp(-h / 2)))
    tail = sympy.limit(middle.rewrite(sympy.exp).expand() * sympy.exp(-h / 2), h, sympy.oo)
    assert sympy.simplify(tail + mu * (1 - mu)) == 0


@equation("dpm_solver.rate")
def rate():
    """d(kappa^-s y)/dlambda = e^(rate lambda) q: sympy, with y' = x0 - y; and q is `blended`'s."""
    lam, share = sympy.symbols("lambda s")
    y = sympy.Function("y")(lam)
    data = y + y.diff(lam)  # y' = -kappa eps = x0 - y
    q = sympy.exp((1 - share) * lam) * (data - (1 - share) * y)
    left = (sympy.exp(share * lam) * y).diff(lam)
    assert sympy.simplify(left - sympy.exp((2 * share - 1) * lam) * q) == 0
    model, x, t = experiments.FIVE.model(VP()), initial_noise(9, 2, 0, **DOUBLE), 0.4
    alpha, kappa = VP().alpha(t), VP().sigma(t) / VP().alpha(t)
    for value in (-1.0, 0.3, 1.0, 1.7):
        s = (1 + value) / 2
        printed = kappa ** (s - 1) * (s * model.x0(x, t) - (1 - s) * kappa * model.eps(x, t))
        assert torch.allclose(blended(model, value)(x, t), printed, rtol=1e-11, atol=1e-12)
        assert torch.allclose(printed, kappa ** (s - 1) * (model.x0(x, t) - (1 - s) * x / alpha), rtol=1e-9)


@equation("dpm_solver.rate_error")
def rate_error():
    """The h^2 term of the first-order step's error with any rate, in y = x / alpha: sympy; that rates of
    either sign make the same step; and on a Gaussian the rate without that term.
    """
    h, share, y0, d0, d1 = sympy.symbols("h s y_0 d_0 d_1")  # x0 = d0 + d1 lambda + ..., lambda_s = 0
    rate, lam = 2 * share - 1, sympy.Symbol("lambda")
    y = y0 + (d0 - y0) * lam + (d1 - (d0 - y0)) * lam**2 / 2  # y' = x0 - y
    q = d0 - (1 - share) * y0
    step = sympy.exp(-share * h) * (y0 + q * (sympy.exp(rate * h) - 1) / rate)
    error = sympy.series(y.subs(lam, h) - step, h, 0, 3).removeO()
    stated = h**2 / 2 * (d1 + (1 - rate**2) / 4 * y0)
    assert sympy.simplify(sympy.expand(error - stated)) == 0
    assert sympy.simplify(step - step.subs(share, 1 - share)) == 0
    c = sympy.Symbol("c")  # Gaussian data: x0 = c y, c' = 2 c (1 - c), so x0' = c (1 - c) y
    assert sympy.simplify((2 * c * (1 - c) - c * (1 - c)) - c * (1 - c)) == 0
    assert experiments.gaussian_rate_order()["N(0, 1/4), changing ϱ: order, the whole range"] > 2.8


@equation("dpm_solver.bound")
def bound():
    """The two forms agree on the ring; on Gaussian data the divergence of the ends is below the bound."""
    for pair in ("0.1 and 0.2", "0.2 and 0.5", "0.5 and 2.0"):
        left, right = (experiments.martingale()[f"σ = {pair}: {side}"] for side in ("left", "right"))
        assert math.isclose(left, right, rel_tol=0.02)
    schedule, std = VP(), 0.5
    for steps in (4, 8, 16):
        times = grids.uniform_lambda(schedule, steps).tolist()
        ours = exact_variance(sde_dpmpp_1, schedule, times, std)
        true = (schedule.alpha(times[-1]) * std) ** 2 + schedule.sigma(times[-1]) ** 2
        divergence = (true / ours - 1 - math.log(true / ours)) / 2
        lam = np.linspace(*schedule.lam(np.array([times[0], times[-1]])), 40 * steps + 1)
        m = std**2 / (1 + std**2 * np.exp(2 * lam))
        costs = experiments.bound_costs(lam, m)
        total = sum(costs[i, i + 40] for i in range(0, 40 * steps, 40))
        assert 0 < divergence < total


@equation("dpm_solver.threshold")
def threshold():
    """`Thresholded` is the printed clip, static and dynamic."""

    class Fixed:
        schedule = VP()

        def x0(self, x, t):
            return x

        def begin(self):
            pass

    x = 3 * initial_noise(5, 200, 0, **DOUBLE)
    assert torch.equal(Thresholded(Fixed(), None).x0(x, 0.5), x.clamp(-1, 1))
    s = torch.quantile(x.abs(), 0.9, dim=1, keepdim=True).clamp(min=1)
    assert torch.allclose(Thresholded(Fixed(), 0.9).x0(x, 0.5), x.clamp(-s, s) / s)


@equation("dpm_solver.controller")
def controller():
    """Each next step of DPM-Solver-12 and -23 is the printed one; the estimates fall with h^2 and h^3."""
    model, x = experiments.FIVE.model(VP()), initial_noise(9, 2, 0, **DOUBLE)
    for order in (2, 3):
        log = []
        sample(dpm_solver_adaptive, model, x, [1.0, 1e-3], order=order, log=log)
        lam = VP().lam
        for (t, s, error, _), (start, end, _, _) in zip(log, log[1:-1]):
            if end == 1e-3:  # cut short to end where it should
                continue
            h = 0.9 * (lam(s) - lam(t)) * max(error, 1e-8) ** (-1 / order)
            assert math.isclose(lam(end) - lam(start), h, rel_tol=1e-6)
    result = experiments.estimate_slopes()
    assert abs(result["slope of the estimate, DPM-Solver-12"] - 2) < 0.15
    assert abs(result["slope of the estimate, DPM-Solver-23"] - 3) < 0.15


@equation("dpm_solver.sde")
def sde():
    """One stochastic step as printed for three levels; with x0 = 0 held, its variance is exact; tau = 1 is
    DDIM with eta = 1.
    """
    schedule = VP()
    s, t = _ends(schedule)
    model, x, z = experiments.FIVE.model(schedule), *(initial_noise(9, 2, k, **DOUBLE) for k in (0, 1))
    h = schedule.lam(t) - schedule.lam(s)
    for tau in (0.0, 0.6, 1.0):
        printed = (
            schedule.sigma(t) / schedule.sigma(s) * math.exp(-(tau**2) * h) * x
            - schedule.alpha(t) * math.expm1(-(1 + tau**2) * h) * model.x0(x, s)
            + schedule.sigma(t) * math.sqrt(-math.expm1(-2 * tau**2 * h)) * z
        )
        *_, (_, result) = sde_dpmpp_1(model, x, [s, t], tau=tau, rng=Replay([z]))
        assert torch.allclose(result, printed, rtol=1e-11, atol=1e-12)
    times = [s, t]
    ours, theirs = (
        exact_variance(f, schedule, times, **o) for f, o in ((sde_dpmpp_1, {}), (ddim, {"eta": 1.0}))
    )
    assert math.isclose(ours, theirs, rel_tol=1e-12)


@equation("dpm_solver.seeds")
def seeds():
    """One step as printed, and that the noise of its two halves adds up to that of the whole."""
    schedule = VP()
    s, t = _ends(schedule)
    alpha, sigma, h = schedule.alpha, schedule.sigma, schedule.lam(t) - schedule.lam(s)
    m = float(schedule.t_of_lam(schedule.lam(s) + h / 2))
    model = experiments.FIVE.model(schedule)
    x, z1, z2 = (initial_noise(9, 2, k, **DOUBLE) for k in (0, 1, 2))
    u = alpha(m) / alpha(s) * x - 2 * sigma(m) * math.expm1(h / 2) * model.eps(x, s)
    u = u + sigma(m) * math.sqrt(math.expm1(h)) * z1
    printed = alpha(t) / alpha(s) * x - 2 * sigma(t) * math.expm1(h) * model.eps(u, m)
    printed = printed + sigma(t) * math.sqrt(math.exp(2 * h) - math.exp(h)) * z1
    printed = printed + sigma(t) * math.sqrt(math.expm1(h)) * z2
    *_, (_, result) = seeds_2(model, x, [s, t], rng=Replay([z1, z2]))
    assert torch.allclose(result, printed, rtol=1e-11, atol=1e-12)
    assert math.isclose((math.exp(2 * h) - math.exp(h)) + math.expm1(h), math.expm1(2 * h))


@equation("dpm_solver.ersde")
def ersde():
    """One step of order 1 as printed; the scale kappa^(1 + tau^2) is the SDE of level tau; with memory it is
    exact for an x0 that is a parabola in kappa.
    """
    schedule = VP()
    s, t = _ends(schedule)
    model, x, z = experiments.FIVE.model(schedule), *(initial_noise(9, 2, k, **DOUBLE) for k in (0, 1))
    kappa = lambda time: schedule.sigma(time) / schedule.alpha(time)
    scale = lambda k: k * (np.exp(k**0.3) + 10)
    r = scale(kappa(t)) / scale(kappa(s))
    printed = r * schedule.alpha(t) / schedule.alpha(s) * x + schedule.alpha(t) * (1 - r) * model.x0(x, s)
    printed = printed + schedule.alpha(t) * math.sqrt(kappa(t) ** 2 - (r * kappa(s)) ** 2) * z
    *_, (_, result) = er_sde(model, x, [s, t], order=1, rng=Replay([z]))
    assert torch.allclose(result, printed, rtol=1e-11, atol=1e-12)
    for tau in (0.6, 1.0):
        *_, (_, ours) = er_sde(model, x, [s, t], scale=lambda k, p=1 + tau**2: k**p, rng=Replay([z]))
        *_, (_, theirs) = sde_dpmpp_2m(model, x, [s, t], tau=tau, rng=Replay([z]))
        assert torch.allclose(ours, theirs, rtol=1e-11, atol=1e-12)
    assert max(experiments.same_family().values()) < 1e-9
