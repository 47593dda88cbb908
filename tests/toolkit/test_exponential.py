"""Chapter 4's weights: phi, the exact integrals of polynomials, and the tables made of them."""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import quad

from toolkit import EDM, VE, VP, Discrete, Flow, Mixture, Network, SubVP, VPCosine, grids, sample
from toolkit.ddim import ddim, ddim_coefficients
from toolkit.dpm_solver import divided_coefficients, dpmpp_2m_coefficients
from toolkit.exponential import (
    adams_table,
    carry,
    interpolation_weights,
    moments,
    orders_of_steps,
    phi,
    position,
    run_table,
)
from toolkit.multistep import exponential_ab, unipc_coefficients

SCHEDULES = [VP(), VPCosine(), VE(), SubVP(), EDM(), Flow(), Discrete.linear()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
by_variable = pytest.mark.parametrize("variable", ["lam", "t", "sigma"])
# noise prediction, data prediction, and data prediction for the SDE of level 1
by_rate = pytest.mark.parametrize("rate", [-1.0, 1.0, 2.0])


# --- phi ------------------------------------------------------------------------------------------------


def exact_phi(k, z):
    """phi_k(z) in 60 digits, from its integral's closed form: e^z less the first k terms of its series."""
    with mpmath.workdps(60 + 12 * k):  # near 0 the difference loses up to |log10 z| k digits
        z = mpmath.mpf(z)
        if abs(z) < 1e-10:
            return sum(z**n / mpmath.factorial(n + k) for n in range(4))
        return (mpmath.exp(z) - sum(z**n / mpmath.factorial(n) for n in range(k))) / z**k


@pytest.mark.parametrize("k", range(7))
def test_phi_to_float64_precision(k):
    """From tiny to 700 on both sides, and densely on both sides of |z| = 2, where the way to it changes."""
    sizes = [1e-300, 1e-20, 1e-9, 1e-4, 0.01, 0.3, 1.0, 1.99999, 2.0, 2.00001, 3.3, 10.0, 50.0, 300.0, 700.0]
    sizes += np.linspace(1.5, 2.5, 21).tolist()
    z = np.array([-s for s in sizes] + [0.0, *sizes])
    want = np.array([float(exact_phi(k, v)) for v in z])
    assert phi(k, z) == pytest.approx(want, rel=2e-14, abs=0)
    assert [phi(k, v) for v in z.tolist()] == phi(k, z).tolist()


def test_phi_at_minus_infinity_and_at_zero():
    for k in range(7):
        assert phi(k, -math.inf) == 0
        assert phi(k, 0.0) == 1 / math.factorial(k)


@pytest.mark.parametrize("k", range(1, 5))
def test_phi_is_the_integral_that_defines_it(k):
    for z in (-30.0, -2.5, -0.1, 0.0, 1e-8, 1.0, 4.0):
        want = quad(lambda u, z=z: math.exp((1 - u) * z) * u ** (k - 1) / math.factorial(k - 1), 0, 1)[0]
        assert phi(k, z) == pytest.approx(want, rel=1e-11)


# --- integrals and weights ------------------------------------------------------------------------------


def times_of(schedule, count=9):
    """Uneven times, well inside the schedule."""
    lam = np.linspace(-2.0, 2.5, count) + 0.13 * np.sin(5 * np.arange(count))
    return schedule.t_of_lam(lam)


def integral(schedule, s, t, rate, of):
    """int_0^1 e^(-rate h (1 - u)) of(time at lambda_s + u h) du by adaptive quadrature."""
    low = schedule.lam(s)
    h = schedule.lam(t) - low
    kernel = lambda u: math.exp(-rate * h * (1 - u)) * of(float(schedule.t_of_lam(low + u * h)))
    return quad(kernel, 0, 1, epsabs=1e-12, epsrel=1e-12, limit=100)[0]


# A table between whose entries log alpha-bar is interpolated has no derivatives there: quadrature of either
# kind stops at about 1e-5 of it, and SciPy's warns.
pytestmark = pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")


def precision(schedule, variable):
    return 2e-5 if isinstance(schedule, Discrete) and variable == "t" else 1e-11


@by_schedule
@by_variable
@by_rate
def test_moments_are_the_integrals(schedule, variable, rate):
    times = times_of(schedule, 5)
    s, t = times[:-1], times[1:]
    got = moments(schedule, s, t, 4, np.full(4, rate), variable)
    for i in range(4):
        low, high = position(schedule, s[i], variable), position(schedule, t[i], variable)
        for m in range(4):
            of = lambda now, low=low, high=high, m=m: (
                ((position(schedule, now, variable) - low) / (high - low)) ** m
            )
            want = integral(schedule, s[i], t[i], rate, of)
            assert got[i, m] == pytest.approx(want, rel=precision(schedule, variable))


@cache
def power_over_step(schedule, variable, rate, j, degree):
    """(a power of the variable as a function of time, its integral over step j), for any number of nodes."""
    s, t = times_of(schedule)[j : j + 2]
    centre = position(schedule, s, variable)
    scale = position(schedule, t, variable) - centre
    of = lambda now: ((position(schedule, now, variable) - centre) / scale - 0.3) ** degree
    return of, integral(schedule, s, t, rate, of)


@pytest.mark.slow
@by_schedule
@by_variable
@by_rate
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_weights_integrate_polynomials_exactly(schedule, variable, rate, k):
    """Degree below k through k nodes, old and uneven ones, to rounding; degree k is not caught."""
    times = times_of(schedule)
    i = np.arange(k - 1, len(times) - 1)
    nodes = times[i[:, None] - np.arange(k)]
    weights = interpolation_weights(schedule, nodes, times[i], times[i + 1], np.full(len(i), rate), variable)
    for row, (j, weight) in enumerate(zip(i, weights)):
        for degree in range(k + 1):
            of, want = power_over_step(schedule, variable, rate, int(j), degree)
            values = [of(now) for now in nodes[row]]
            size = np.abs(weight * values).sum() + abs(want)
            off = abs(weight @ values - want)
            if degree < k:
                assert off < 10 * precision(schedule, variable) * size
            else:
                assert off > 1e-3 * abs(want)


@by_schedule
def test_weights_sum_to_the_integral_of_one(schedule):
    times = times_of(schedule)
    i = np.arange(3, len(times) - 1)
    h = np.diff(schedule.lam(times))[i]
    for variable in ("lam", "t", "sigma"):
        for rate in (-1.0, 1.0, 1.25):
            nodes = times[i[:, None] - np.arange(4)]
            rates = np.full(len(i), rate)
            weights = interpolation_weights(schedule, nodes, times[i], times[i + 1], rates, variable)
            assert weights.sum(1) == pytest.approx(phi(1, -rate * h), rel=1e-9)


@by_schedule
def test_carry_holds_where_the_prediction_is_constant(schedule):
    """x_t = alpha_t x0 + sigma_t eps exactly, whichever of the two is held."""
    times = times_of(schedule)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    h = np.diff(schedule.lam(times))
    for prediction in ("x0", "eps"):
        a, b, c, rate = carry(schedule, times, prediction)
        whole = b * phi(1, -rate * h)
        held, other = (alpha, sigma) if prediction == "x0" else (sigma, alpha)
        assert a == pytest.approx(other[1:] / other[:-1], rel=1e-12)
        assert a * held[:-1] + whole == pytest.approx(held[1:], rel=1e-9)
        assert (c == 0).all()
    for tau in (0.3, 1.0, 1.7):
        a, b, c, rate = carry(schedule, times, "x0", tau)
        assert a * alpha[:-1] + b * phi(1, -rate * h) == pytest.approx(alpha[1:], rel=1e-9)
        assert (a * sigma[:-1]) ** 2 + c**2 == pytest.approx(sigma[1:] ** 2, rel=1e-12)


@by_schedule
def test_tau_one_is_the_posterior(schedule):
    times = times_of(schedule)
    a, b, c, rate = carry(schedule, times, "x0", 1.0)
    first, second, third = (np.array(v) for v in ddim_coefficients(schedule, times, eta=1.0))
    # ddim's b multiplies eps = (x - alpha x0) / sigma
    alpha, sigma = schedule.alpha(times[:-1]), schedule.sigma(times[:-1])
    h = np.diff(schedule.lam(times))
    assert c == pytest.approx(third, rel=1e-9)
    assert a == pytest.approx(first + second / sigma, rel=1e-9)
    assert b * phi(1, -rate * h) == pytest.approx(-second * alpha / sigma, rel=1e-9)


def test_a_step_to_no_noise_is_a_jump_to_the_data():
    for schedule in (VPCosine(), Discrete.linear(), VP(), Flow()):
        times = [schedule.start * 0.5, 0.0]
        assert carry(schedule, times, "x0", 1.0)[:3] == ([0.0], [1.0], [0.0])
        for prediction in ("x0", "eps"):
            (row,) = adams_table(schedule, times, 3, prediction)
            x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
            model = Mixture.ring().model(schedule)
            m = model.x0(x, times[0]) if prediction == "x0" else model.eps(x, times[0])
            assert row.c == 0 and len(row.weights) == 1
            assert torch.allclose(row.a * x + row.weights[0] * m, model.x0(x, times[0]), atol=1e-12)


# --- tables ---------------------------------------------------------------------------------------------


def test_orders_of_steps():
    times = np.linspace(1, 0.1, 6).tolist()
    assert orders_of_steps(VP(), times, 3) == [1, 2, 3, 3, 3]
    assert orders_of_steps(VP(), times, 3, lower_last=True) == [1, 2, 3, 3, 1]
    assert orders_of_steps(VP(), [*times, 0.0], 4) == [1, 2, 3, 4, 4, 1]
    for count in range(1, 40):  # no hidden switch at small numbers of steps
        grid = np.linspace(1, 0.1, count + 1).tolist()
        assert orders_of_steps(VP(), grid, 3) == [min(3, i + 1) for i in range(count)]


def test_tables_are_remembered_and_never_shared_to_write():
    times = times_of(VP()).tolist()
    schedule = VP()
    one, two = adams_table(schedule, times, 3), adams_table(schedule, np.array(times), 3)
    assert one is two  # the second call costs nothing,
    hash((one, unipc_coefficients(schedule, times, 3)))  # and none of it can be changed: it is all tuples
    assert adams_table(schedule, times, 3, tau=0.5) is not one
    assert adams_table(VP(beta_max=19.0), times, 3) != one
    # two samplers that begin with the same rows and change some do not disturb each other
    second = dpmpp_2m_coefficients(schedule, times)
    divided_coefficients(schedule, times), unipc_coefficients(schedule, times, 2)
    fresh = VP()  # another schedule object: built anew
    assert adams_table(fresh, times, 3) == one and dpmpp_2m_coefficients(fresh, times) == second
    assert adams_table(schedule, times, 3) is one


@pytest.mark.parametrize("tau", [lambda t: 0.5, lambda t: 0.2 + t])
def test_tau_as_a_function_of_t(tau):
    times = times_of(VP()).tolist()
    table = adams_table(VP(), times, 1, tau=tau)
    for i, row in enumerate(table):
        assert row == adams_table(VP(), times[i : i + 2], 1, tau=tau(times[i]))[0]


def test_run_table_with_no_model_in_the_weights_is_ddim(seed):
    model = Mixture.ring().model(VP())
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    times = grids.uniform_lambda(VP(), 12).tolist()
    for prediction in ("x0", "eps"):
        table = adams_table(VP(), times, 1, prediction)
        states = [x for _, x in run_table(model, x, times, table, prediction)]
        assert len(states) == 13
        assert torch.allclose(states[-1], sample(ddim, model, x, times).x, atol=1e-12)


@pytest.mark.parametrize("steps", [10_000, 3])
def test_float32_states_see_float64_weights(steps):
    """Steps of h = 1e-3 in lambda, where phi_2 written as (e^z - 1 - z) / z^2 has no digit left in float32,
    and steps of h = 4: the sum of what a constant prediction gets is right to float32's rounding.
    """
    schedule = VE()
    times = grids.uniform_lambda(schedule, steps)
    noise = torch.full((1, 1), 1.25)
    model = Network(lambda x, c: noise, schedule)
    start, end = schedule.sigma(float(times[0])), schedule.sigma(float(times[-1]))
    for variable in ("lam", "t", "sigma"):
        options = {"order": 3, "prediction": "eps", "variable": variable}
        got = sample(exponential_ab, model, noise * start, times, **options).x
        assert float(got) == pytest.approx(1.25 * end, abs=1e-7 * 1.25 * start * math.sqrt(steps))


# --- bad input ------------------------------------------------------------------------------------------

TIMES = [0.9, 0.5, 0.3, 0.1]


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: adams_table(VP(), TIMES, 0), "order must be a whole number of at least 1, got 0"),
        (lambda: adams_table(VP(), TIMES, 2, "v"), "prediction must be one of eps, x0; got 'v'"),
        (lambda: adams_table(VP(), TIMES, 2, "x0", "kappa"), "variable must be one of .*'kappa'"),
        (lambda: adams_table(VP(), TIMES, 2, "eps", tau=0.5), "tau > 0 needs prediction='x0'"),
        (lambda: adams_table(VPCosine(), [1.0, 0.5], 2), "lambda is .* at the start t = 1"),
        (lambda: adams_table(Flow(), [1.0, 0.5], 2), "lambda is -inf at the start t = 1: start the grid"),
    ],
)
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call()
    assert len(str(problem.value).splitlines()) == 1
