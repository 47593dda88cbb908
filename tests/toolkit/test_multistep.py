"""Chapter 4's multistep methods: what each integrates exactly, and which of them are the same."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from toolkit import EDM, VP, Discrete, Flow, Mixture, Network, VPCosine, grids, initial_noise, sample
from toolkit.convergence import ode_errors, slope
from toolkit.ddim import ddim
from toolkit.dpm_solver import (
    dpmpp_2m,
    dpmpp_3m,
    dpmpp_3m_divided,
    sde_dpmpp_1,
    sde_dpmpp_2m,
    sde_dpmpp_3m,
)
from toolkit.exponential import adams_table, position, run_table
from toolkit.multistep import deis, exponential_ab, ipndm, pndm, sa_solver, unipc, unipc_coefficients
from toolkit.noise import Replay
from toolkit.sampling import Sampler, sample_last

SCHEDULES = [VP(), VPCosine(), EDM(), Flow()]
named = lambda value: getattr(value, "__name__", str(value))
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
MODES = Mixture.ring(8, radius=1.0, std=0.3)


def uneven(schedule, count=10):
    """Times between sigma / alpha = 5 and 0.2 with steps of many sizes."""
    shares = np.cumsum([0, *(1 + 0.6 * np.sin(2.3 * np.arange(count)))])
    return schedule.t_of_lam(-math.log(5) + 2 * math.log(5) * shares / shares[-1]).tolist()


def even_in_kappa(schedule, count=10):
    """Times between sigma / alpha = 5 and 0.2, equal steps in it."""
    return schedule.t_of_lam(-np.log(np.linspace(5, 0.2, count + 1))).tolist()


def start(schedule, t, seed=0, n=8):
    """States of the ring of Gaussians at time t, float64."""
    noise = initial_noise(n, 2, seed, torch.float64)
    return schedule.alpha(t) * MODES.sample(n, seed) + schedule.sigma(t) * noise


# --- exact on polynomials -------------------------------------------------------------------------------


def polynomial(schedule, degree, variable, seed):
    """A polynomial of the variable of a time, with all its coefficients of the same weight over the grid."""
    coefficients = np.random.default_rng(seed).uniform(0.5, 1.5, degree + 1) * (-1) ** np.arange(degree + 1)
    low, high = (position(schedule, t, variable) for t in uneven(schedule, 1))
    return lambda t: np.polynomial.polynomial.polyval(
        (position(schedule, t, variable) - low) / (high - low), coefficients
    )


def exact_step(schedule, of, prediction, s, t, x, tau=0.0):
    """The probability flow, or the mean of the reverse SDE of level tau, from x at s to t, where the
    prediction is `of` of the time alone: variation of constants, by adaptive quadrature.
    """
    low, high = schedule.lam(s), schedule.lam(t)
    rate = 1 + tau**2 if prediction == "x0" else -1.0
    kernel = lambda lam: math.exp(rate * (lam - high)) * of(float(schedule.t_of_lam(lam)))
    whole = quad(kernel, low, high, epsabs=1e-14, epsrel=1e-13)[0]
    if prediction == "eps":
        return schedule.alpha(t) / schedule.alpha(s) * x - schedule.sigma(t) * whole
    gain = schedule.sigma(t) / schedule.sigma(s) * math.exp(-(tau**2) * (high - low))
    return gain * x + rate * schedule.alpha(t) * whole


def worst_step(solver, options, schedule, degree, prediction, variable, first, seed, times):
    """The largest error of one step, from step `first` on, each from where the step before ended."""
    of = polynomial(schedule, degree, variable, seed)
    net = lambda x, c: torch.full_like(x, float(of(float(c[0]))))
    x = torch.full((1, 1), 0.7, dtype=torch.float64)
    noise = Replay([torch.zeros_like(x)] * (len(times) - 1))
    extra = {"seed": noise} if solver.random else {}
    model = Network(net, schedule, predicts=prediction, clock="t")
    run = sample(solver, model, x, times, keep_path=True, **extra, **options)
    tau, path = options.get("tau", 1.0) if solver.random else 0.0, run.path.flatten().tolist()
    off = [
        abs(exact_step(schedule, of, prediction, times[i], times[i + 1], path[i], tau) - path[i + 1])
        for i in range(first, len(times) - 1)
    ]
    return max(off)


# name: solver, its options, the prediction, the variable, and the degree below which it is exact
EXACT = {
    "AB-1, x0": (exponential_ab, {"order": 1}, "x0", "lam", 1),
    "AB-2, x0": (exponential_ab, {"order": 2}, "x0", "lam", 2),
    "AB-3, x0": (exponential_ab, {"order": 3}, "x0", "lam", 3),
    "AB-4, x0": (exponential_ab, {"order": 4}, "x0", "lam", 4),
    "AB-5, x0": (exponential_ab, {"order": 5}, "x0", "lam", 5),
    "AB-2, x0 in t": (exponential_ab, {"order": 2, "variable": "t"}, "x0", "t", 2),
    "AB-3, x0 in sigma": (exponential_ab, {"order": 3, "variable": "sigma"}, "x0", "sigma", 3),
    "AB-3, eps": (exponential_ab, {"order": 3, "prediction": "eps"}, "eps", "lam", 3),
    "AB-4, eps": (exponential_ab, {"order": 4, "prediction": "eps"}, "eps", "lam", 4),
    "DDIM": (ddim, {}, "eps", "lam", 1),
    "2M, midpoint": (dpmpp_2m, {}, "x0", "lam", 1),
    "2M, exact": (dpmpp_2m, {"form": "exact"}, "x0", "lam", 2),
    "3M": (dpmpp_3m, {}, "x0", "lam", 3),
    "DEIS-1": (deis, {"order": 1}, "eps", "t", 1),
    "DEIS-2, tAB": (deis, {"order": 2}, "eps", "t", 2),
    "DEIS-3, tAB": (deis, {"order": 3}, "eps", "t", 3),
    "DEIS-4, tAB": (deis, {"order": 4}, "eps", "t", 4),
    "DEIS-3, rhoAB": (deis, {"variant": "rhoab"}, "eps", "sigma", 3),
    "iPNDM-4, actual steps": (ipndm, {"variable_step": True}, "eps", "sigma", 4),
    "UniPC-2, bh1": (unipc, {"order": 2, "form": "bh1"}, "x0", "lam", 1),
    "UniPC-2, bh2": (unipc, {"order": 2}, "x0", "lam", 1),
    "UniPC-3": (unipc, {"order": 3}, "x0", "lam", 3),
    "UniPC-4": (unipc, {"order": 4}, "x0", "lam", 4),
    "UniP-3": (unipc, {"order": 3, "corrector": False}, "x0", "lam", 3),
    "SDE++ 1, tau 1": (sde_dpmpp_1, {}, "x0", "lam", 1),
    "SDE++ 2M exact, tau 1": (sde_dpmpp_2m, {"form": "exact"}, "x0", "lam", 2),
    "SDE++ 3M, tau 1": (sde_dpmpp_3m, {}, "x0", "lam", 3),
    "SDE++ 3M, tau .4": (sde_dpmpp_3m, {"tau": 0.4}, "x0", "lam", 3),
    "SA-Solver-3, tau .6": (sa_solver, {"tau": 0.6}, "x0", "lam", 3),
    "SA-Solver-4, tau 1, no corrector": (sa_solver, {"order": 4, "corrector": False}, "x0", "lam", 4),
}


@by_schedule
@pytest.mark.parametrize("name", EXACT)
def test_exact_on_polynomials_below_its_order_and_no_further(name, seed, schedule):
    """Uneven steps; `first` leaves out the starting steps (a corrected state is first right one later)."""
    solver, options, prediction, variable, below = EXACT[name]
    first = options.get("order", 3)
    off = lambda degree: worst_step(
        solver, options, schedule, degree, prediction, variable, first, seed, uneven(schedule)
    )
    size = max(1.0, schedule.sigma(uneven(schedule)[0]))
    for degree in range(below):
        assert off(degree) < 1e-11 * size, degree
    assert off(below) > 1e-4


@by_schedule
def test_a_divided_difference_for_a_second_derivative_fails_at_degree_two(schedule, seed):
    off = lambda solver, k: worst_step(solver, {}, schedule, k, "x0", "lam", 3, seed, uneven(schedule))
    assert off(dpmpp_3m_divided, 0) < 1e-12 and off(dpmpp_3m_divided, 1) < 1e-12
    assert off(dpmpp_3m_divided, 2) > 5e-4 and off(dpmpp_3m, 2) < 1e-12


@by_schedule
@pytest.mark.parametrize("solver", [pndm, ipndm], ids=["PNDM", "iPNDM"])
def test_equal_weights_are_exact_on_equal_steps_only(solver, schedule):
    """Degree 3 in sigma / alpha on equal steps of it; on others not even degree 1."""
    off = lambda degree, times: worst_step(solver, {}, schedule, degree, "eps", "sigma", 3, 0, times)
    for degree in range(4):
        assert off(degree, even_in_kappa(schedule)) < 1e-11
    assert off(4, even_in_kappa(schedule)) > 1e-5
    assert off(0, uneven(schedule)) < 1e-11
    assert off(1, uneven(schedule)) > 1e-2


@by_schedule
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_corrector_is_exact_one_degree_further(order, schedule):
    """The implicit rows, on the values of a polynomial of degree `order`; UniC-1 takes rho = 1/2 instead."""
    times = uneven(schedule)
    of = polynomial(schedule, order, "lam", 0)
    for tau in (0.0, 0.7):
        table = adams_table(schedule, times, order, tau=tau, implicit=True)
        for i in range(order - 1, len(times) - 1):
            a, weights, _ = table[i]
            got = a * 0.7 + sum(w * of(times[i + 1 - j]) for j, w in enumerate(weights))
            assert got == pytest.approx(
                exact_step(schedule, of, "x0", times[i], times[i + 1], 0.7, tau), abs=1e-11
            )
    exact = adams_table(schedule, times, order, implicit=True)
    steps = unipc_coefficients(schedule, times, order)
    same = [step.correct == row.weights for step, row in zip(steps, exact)]
    assert same == [False] + [order > 1] * (len(same) - 1) if order > 1 else not any(same)


# --- the same method twice ------------------------------------------------------------------------------


def agree(schedule, one, two, seed=0, times=None, tolerance=1e-12):
    """(sampler, options) twice: the whole path to 1e-12."""
    times = uneven(schedule) if times is None else times
    x = start(schedule, times[0], seed)
    model = MODES.model(schedule)
    paths = [sample(f, model, x, times, draws=seed, keep_path=True, **kw).path for f, kw in (one, two)]
    off = float((paths[0] - paths[1]).abs().max() / paths[1].abs().max())
    assert off < tolerance, off


SAME = {
    "AB-1 in x0 is DDIM": ((exponential_ab, {"order": 1}), (ddim, {})),
    "AB-1 in eps is DDIM": ((exponential_ab, {"order": 1, "prediction": "eps"}), (ddim, {})),
    "3M": ((dpmpp_3m, {}), (exponential_ab, {"order": 3})),
    "2M, exact form": ((dpmpp_2m, {"form": "exact"}), (exponential_ab, {"order": 2})),
    "DEIS-tAB": ((deis, {"order": 4}), (exponential_ab, {"order": 4, "prediction": "eps", "variable": "t"})),
    "DEIS-rhoAB": (
        (deis, {"variant": "rhoab"}),
        (exponential_ab, {"order": 3, "prediction": "eps", "variable": "sigma"}),
    ),
    "iPNDM of actual steps": ((ipndm, {"variable_step": True}), (deis, {"order": 4, "variant": "rhoab"})),
    "iPNDM-1 is DDIM": ((ipndm, {"order": 1}), (ddim, {})),
    "UniP-2 bh2 is 2M": ((unipc, {"order": 2, "corrector": False}), (dpmpp_2m, {})),
    "UniP-1 is DDIM": ((unipc, {"order": 1, "corrector": False}), (ddim, {})),
    "SA without noise or corrector is AB": (
        (sa_solver, {"tau": 0.0, "order": 4, "corrector": False}),
        (exponential_ab, {"order": 4}),
    ),
    "SA without corrector is SDE++ 3M": ((sa_solver, {"corrector": False}), (sde_dpmpp_3m, {})),
    "SA-1 without corrector is DDIM, eta 1": (
        (sa_solver, {"order": 1, "corrector": False}),
        (ddim, {"eta": 1.0}),
    ),
}


@by_schedule
@pytest.mark.parametrize("name", SAME)
def test_the_same_method_by_two_names(name, seed, schedule):
    agree(schedule, *SAME[name], seed)


@by_schedule
def test_equal_weights_are_the_actual_ones_on_equal_steps(schedule, seed):
    times = even_in_kappa(schedule, 12)
    agree(schedule, (ipndm, {}), (ipndm, {"variable_step": True}), seed, times)


@by_schedule
@pytest.mark.parametrize("order", [3, 4])
def test_sa_solver_without_noise_is_unipc_with_exact_weights(schedule, seed, order):
    """Row for row from the first full one on, predictor and corrector; and the run is a PEC loop by hand."""
    times = uneven(schedule)
    explicit = adams_table(schedule, times, order)
    implicit = adams_table(schedule, times, order, implicit=True)
    for i, step in enumerate(unipc_coefficients(schedule, times, order)):
        assert i < 2 or (step.a, step.predict) == (explicit[i].a, explicit[i].weights)
        assert i < 1 or step.correct == implicit[i].weights
    model, x = MODES.model(schedule), start(schedule, times[0], seed)
    got = sample(sa_solver, model, x, times, order=order, tau=0.0).x

    values, y, guess = [], x, x
    for i in range(len(times) - 1):
        values.insert(0, model.x0(guess, times[i]))
        if i:
            a, weights, _ = implicit[i - 1]
            y = a * y + sum(w * v for w, v in zip(weights, values))
        a, weights, _ = explicit[i]
        guess = a * y + sum(w * v for w, v in zip(weights, values))
    assert torch.allclose(got, guess, atol=1e-12 * float(guess.abs().max()))


@pytest.mark.parametrize("i", [3, 4, 5, 7])
def test_pndm_is_plms_after_its_runge_kutta_steps(seed, i):
    """From the fourth step on: DDIM's step with the weighted mean of the last four eps."""
    schedule, times = VP(), uneven(VP(), 8)
    model, x = MODES.model(schedule), start(schedule, times[0], seed)
    path = sample(pndm, model, x, times, keep_path=True).path
    eps = [model.eps(state, t) for state, t in zip(path, times)]
    mean = sum(w * e for w, e in zip((55 / 24, -59 / 24, 37 / 24, -9 / 24), eps[i :: -1]))
    alpha, sigma = (level(np.array(times)) for level in (schedule.alpha, schedule.sigma))
    want = alpha[i + 1] / alpha[i] * (path[i] - sigma[i] * mean) + sigma[i + 1] * mean
    assert torch.allclose(path[i + 1], want, atol=1e-12)


# --- order ----------------------------------------------------------------------------------------------


def measured(solver, grid=grids.uniform_lambda, steps=(128, 256, 512), seed=0, **options):
    """The slope of a solver's error between sigma / alpha = 5 and 0.2 on VP."""
    first, last = VP().t_of_lam(-math.log(5)), VP().t_of_lam(math.log(5))
    model, x = MODES.model(VP()), start(VP(), first, seed, 32)
    errors = ode_errors(solver, model, x, steps, grid, first, last, **options)["rmse"]
    return slope(steps, errors)


ORDERS = [
    *[(exponential_ab, {"order": k, "prediction": p, "variable": v, "exact": 3}, k)
      for k in (2, 3) for p in ("x0", "eps") for v in ("lam", "t", "sigma")],
    (exponential_ab, {"order": 4, "exact": 3}, 4),
    *[(deis, {"order": k, "variant": v, "exact": 3}, k) for k in (2, 3) for v in ("tab", "rhoab")],
    (ipndm, {"variable_step": True, "order": 3, "exact": 3}, 3),
    (ipndm, {"order": 3, "exact": 3}, 2),
    *[(unipc, {"order": k, "form": f, "corrector": c, "exact": 3}, k + c)
      for k in (1, 2, 3) for f in ("bh1", "bh2") for c in (False, True)],
    (sa_solver, {"tau": 0.0, "order": 1}, 2),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("solver, options, order", ORDERS, ids=named)
def test_orders_of_the_families(solver, options, order, seed):
    assert measured(solver, seed=seed, **options) == pytest.approx(order, abs=0.1)


def alternating(schedule, steps, start=None, end=None):
    """Steps in lambda of alternately 3 and 1."""
    shares = np.cumsum([0, *([3, 1] * ((steps + 1) // 2))[:steps]])
    low, high = schedule.lam(start), schedule.lam(end)
    return torch.from_numpy(schedule.t_of_lam(low + (high - low) * shares / shares[-1]))


@pytest.mark.parametrize(
    "solver, options, order",
    [
        (dpmpp_2m, {}, 2),
        (dpmpp_3m, {"exact": 3}, 3),
        (deis, {"exact": 3}, 3),
        (unipc, {"order": 2, "exact": 3}, 3),
        (ipndm, {"variable_step": True, "order": 3, "exact": 3}, 3),
        (ipndm, {"exact": 3}, 1),  # weights of equal steps, on steps that never become equal
    ],
    ids=named,
)
def test_orders_on_steps_of_three_and_one_in_turn(solver, options, order, seed):
    assert measured(solver, alternating, seed=seed, **options) == pytest.approx(order, abs=0.1)


# --- errors, ends, precision ----------------------------------------------------------------------------


ONES = torch.ones(2, 2)


def run(solver, schedule=VP(), times=(0.9, 0.5, 0.1), **options):  # noqa: B008 - a schedule never changes
    return sample(solver, MODES.model(schedule), ONES, times, **options)


def loop(solver, schedule):
    """The sampler's own loop from t = 1, where alpha is 0."""
    return list(solver.loop(MODES.model(schedule), ONES, [1.0, 0.5]))


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: run(exponential_ab, order=0), "order must be a whole number of at least 1, got 0"),
        (lambda: run(exponential_ab, prediction="v"), "prediction must be one of eps, x0; got 'v'"),
        (lambda: run(exponential_ab, variable="kappa"), "variable must be one of t, sigma, lam; got 'kappa'"),
        (lambda: run(exponential_ab, history=[(0.9, ONES)]), "times that decrease to .* 0.9, .* got t = 0.9"),
        (lambda: run(unipc, history=[(0.95, ONES), (0.97, ONES)]), "the oldest first; got t = 0.95, 0.97"),
        (lambda: run(deis, history=[(1.0, ONES[:1])]), r"shaped like x, \(2, 2\); got \(1, 2\) at t = 1"),
        (lambda: loop(exponential_ab, VPCosine()), "at the start t = 1"),
        (lambda: loop(exponential_ab, Flow()), "both alpha and sigma are positive"),
        (lambda: run(deis, variant="zab"), "variant must be one of tab, rhoab; got 'zab'"),
        (lambda: run(deis, order=0), "order must be a whole number of at least 1"),
        (lambda: run(ipndm, order=5), "order must be one of 1, 2, 3, 4; got 5"),
        (lambda: loop(pndm, Flow()), "at the start t = 1"),
        (lambda: loop(ipndm, Flow()), "start the grid a little later"),
        (lambda: run(unipc, form="bh3"), "form must be one of bh1, bh2; got 'bh3'"),
        (lambda: run(unipc, order=0), "order must be a whole number of at least 1"),
        (lambda: loop(unipc, Flow()), "at the start t = 1"),
        (lambda: run(sa_solver, order=0), "order must be a whole number of at least 1"),
    ],
)
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call()
    assert len(str(problem.value).splitlines()) == 1


DETERMINISTIC = {
    "AB-4": (exponential_ab, {"order": 4}),
    "AB-3, eps in t": (exponential_ab, {"order": 3, "prediction": "eps", "variable": "t"}),
    "DEIS": (deis, {}),
    "DEIS, rhoAB": (deis, {"variant": "rhoab"}),
    "iPNDM": (ipndm, {}),
    "iPNDM, actual steps": (ipndm, {"variable_step": True}),
    "PNDM": (pndm, {}),
    "UniPC-2": (unipc, {"order": 2}),
    "UniPC-3, bh1": (unipc, {"form": "bh1"}),
    "SA, tau 0": (sa_solver, {"tau": 0.0}),
}
every_solver = pytest.mark.parametrize("name", DETERMINISTIC)


@every_solver
@pytest.mark.parametrize(
    "schedule", [Discrete.linear(), VPCosine(), VP(), EDM()], ids=lambda s: type(s).__name__
)
def test_the_last_step_to_no_noise_is_the_predicted_data(name, schedule):
    solver, options = DETERMINISTIC[name]
    times = [*uneven(schedule, 6), 0.0]
    model, x = MODES.model(schedule), start(schedule, times[0])
    path = sample(solver, model, x, times, keep_path=True, **options).path
    # with a corrector the prediction is that at the state before it is corrected
    assert torch.allclose(path[-1], model.x0(path[-2], times[-2]), atol=1e-9)


@pytest.mark.parametrize(
    "solver, options",
    [
        (exponential_ab, {"order": 3}),
        (deis, {}),
        (ipndm, {}),
        (ipndm, {"variable_step": True}),
        (unipc, {"corrector": False}),
    ],
    ids=named,
)
def test_lower_last_is_a_first_order_last_step(solver, options):
    times = uneven(VP(), 7)
    model, x = MODES.model(VP()), start(VP(), times[0])
    path = sample(solver, model, x, times, keep_path=True, lower_last=True, **options).path
    plain = sample(solver, model, x, times, keep_path=True, **options).path
    assert torch.equal(path[:-1], plain[:-1]) and not torch.allclose(path[-1], plain[-1])
    assert torch.allclose(path[-1], sample(ddim, model, path[-2], times[-2:]).x, atol=1e-13)


@every_solver
def test_float32_states_lose_only_their_rounding(name, seed):
    solver, options = DETERMINISTIC[name]
    times = grids.uniform_lambda(VP(), 60, VP().t_of_lam(-1.6), VP().t_of_lam(1.6)).tolist()
    exact = MODES.model(VP())
    rounded = Network(lambda x, c: exact.x0(x.double(), float(c[0])).to(x.dtype), VP(), predicts="x0")
    x = start(VP(), times[0], seed).float()
    one = sample(solver, exact, x.double(), times, **options).x
    two = sample(solver, rounded, x, times, **options).x
    assert two.dtype == torch.float32 and float((one - two).abs().max()) < 1e-4


def bends(solver, counts, **options):
    """How much the ratio of neighbouring errors changes from one number of steps to the next, between sigma /
    alpha = 5 and 0.2.
    """
    first, last = VP().t_of_lam(-math.log(5)), VP().t_of_lam(math.log(5))
    model, x = MODES.model(VP()), start(VP(), first, 0, 32)
    errors = ode_errors(solver, model, x, counts, start=first, end=last, **options)["rmse"]
    return np.abs(np.diff(np.log(errors), 2)), errors


@every_solver
def test_no_error_jumps_between_neighbouring_numbers_of_steps(name):
    """From 5 to 60 steps the error only falls, each ratio within 15 per cent of the last one."""
    solver, options = DETERMINISTIC[name]
    bend, errors = bends(solver, range(5, 61), **options)
    assert bend.max() < math.log(1.15), bend
    assert max(b / a for a, b in zip(errors, errors[1:])) < 1.05


@pytest.mark.parametrize("cliff", [10, 15])
def test_the_test_of_jumps_finds_a_hidden_switch(cliff):
    """A last step of first order below so many steps, as libraries have it, would be found."""

    @Sampler
    def switching(model, x, times):
        yield from exponential_ab(model, x, times, order=3, lower_last=len(times) - 1 < cliff)

    assert bends(switching, range(5, 61))[0].max() > 2 * math.log(1.15)


def test_the_state_of_a_batch_row_does_not_depend_on_earlier_runs(seed):
    """Remembered tables hold no history: the same run twice, with others between."""
    times = uneven(VP())
    x = start(VP(), times[0], seed)
    runs = [sample(f, MODES.model(VP()), x, times, **kw).x for f, kw in [*DETERMINISTIC.values()] * 2]
    half = len(runs) // 2
    assert all(torch.equal(one, two) for one, two in zip(runs[:half], runs[half:]))


def test_run_table_stops_where_it_is_left():
    """A generator: the model is called once for each state asked for."""
    model, times = MODES.model(VP()), uneven(VP())
    states = run_table(model, start(VP(), times[0]), times, adams_table(VP(), times, 3))
    for _ in range(4):
        next(states)
    assert model.nfe == 3
    assert sample_last(states).isfinite().all() and model.nfe == len(times) - 1


# --- the linear part as a number ------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3])
@by_schedule
def test_rates_one_and_minus_one_are_data_and_noise(schedule, order):
    times = [*uneven(schedule), *([0.0] if schedule.sigma(0.0) == 0 else [])]
    model, x = MODES.model(schedule), start(schedule, times[0], 3)
    for rate, prediction in ((1.0, "x0"), (-1.0, "eps")):
        ours = sample(exponential_ab, model, x, times, order=order, rate=rate).x
        theirs = sample(exponential_ab, model, x, times, order=order, prediction=prediction).x
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("order", [1, 2])
def test_any_rate_has_the_order(order):
    model, x = MODES.model(VP()), start(VP(), uneven(VP())[0], 4)
    ends = {"start": uneven(VP())[0], "end": uneven(VP())[-1]}
    for rate in (0.0, 0.6, -1.5):
        options = {"order": order, "rate": rate, "exact": order - 1}
        errors = ode_errors(exponential_ab, model, x, [64, 128, 256], **ends, **options)
        assert slope([64, 128, 256], errors["rmse"]) == pytest.approx(order, abs=0.1)


def test_a_step_to_no_noise_is_a_jump_for_any_rate():
    schedule = VP()
    model, x = MODES.model(schedule), start(schedule, 0.3, 5)
    jump = schedule.alpha(0.0) * model.x0(x, 0.3)
    assert torch.allclose(sample(exponential_ab, model, x, [0.3, 0.0], rate=0.4).x, jump, rtol=1e-9)
    with pytest.raises(ValueError, match="rate must be a number, got 'x0'"):
        sample(exponential_ab, model, x, [0.3, 0.1], rate="x0")
