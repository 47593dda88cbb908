"""Chapter 4's solvers: the papers' formulas, their orders, their calls, their ends."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch

from toolkit import EDM, VE, VP, Discrete, Flow, Mixture, Network, VPCosine, grids, initial_noise, sample
from toolkit.convergence import exact_variance, ode_errors, reference, slope
from toolkit.ddim import ddim
from toolkit.dpm_solver import (
    divided_coefficients,
    dpm_solver_1,
    dpm_solver_2,
    dpm_solver_3,
    dpm_solver_adaptive,
    dpm_solver_fast,
    dpmpp_2m,
    dpmpp_2m_coefficients,
    dpmpp_2s,
    dpmpp_3m,
    dpmpp_3m_divided,
    fast_orders,
    sde_dpmpp_1,
    sde_dpmpp_2m,
    sde_dpmpp_3m,
    third_order,
)
from toolkit.exponential import adams_table, phi
from toolkit.noise import Noise
from toolkit.ode import heun, midpoint
from toolkit.sampling import Sampler

SCHEDULES = [VP(), VPCosine(), VE(), EDM(), Flow()]
named = lambda value: getattr(value, "__name__", str(value))
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
MODES = Mixture.ring(8, radius=1.0, std=0.3)


def ends(schedule):
    """The times at which sigma / alpha is 5 and 0.2."""
    return schedule.t_of_lam(-math.log(5)), schedule.t_of_lam(math.log(5))


def uneven(schedule, count=10):
    """Times between them with steps of many sizes."""
    shares = np.cumsum([0, *(1 + 0.6 * np.sin(2.3 * np.arange(count)))])
    return schedule.t_of_lam(-math.log(5) + 2 * math.log(5) * shares / shares[-1]).tolist()


def start(schedule, t, seed=0, n=8):
    """States of the ring of Gaussians at time t, float64."""
    noise = initial_noise(n, 2, seed, torch.float64)
    return schedule.alpha(t) * MODES.sample(n, seed) + schedule.sigma(t) * noise


def distance(one, two):
    return float((one - two).abs().max() / two.abs().max())


def levels(schedule, *times):
    """alpha, sigma and lambda at these times, three lists."""
    return [[level(t) for t in times] for level in (schedule.alpha, schedule.sigma, schedule.lam)]


# --- the papers' formulas -------------------------------------------------------------------------------


@by_schedule
def test_dpm_solver_1_is_ddim(schedule, seed):
    times = uneven(schedule)
    x = start(schedule, times[0], seed)
    one, two = (sample(f, MODES.model(schedule), x, times, keep_path=True).path for f in (dpm_solver_1, ddim))
    assert distance(one, two) < 1e-12


@by_schedule
def test_dpm_solver_2_is_the_geometric_midpoint_and_not_heun(schedule, seed):
    times = uneven(schedule)
    x, model = start(schedule, times[0], seed), MODES.model(schedule)
    one = sample(dpm_solver_2, model, x, times, keep_path=True).path
    two = sample(midpoint, model, x, times, keep_path=True, variable="sigma", mean="geometric").path
    assert distance(one, two) < 1e-12
    for variable in ("sigma", "lam", "t"):
        assert distance(sample(heun, model, x, times, variable=variable).x, two[-1]) > 1e-4
        assert distance(sample(midpoint, model, x, times, variable=variable).x, two[-1]) > 1e-6


@by_schedule
@pytest.mark.parametrize("r1, r2", [(1 / 3, 2 / 3), (0.2, 0.9), (0.5, 1.0)])
def test_dpm_solver_2_and_3_as_the_algorithms_read(schedule, r1, r2):
    """Algorithms 4 and 5 for general r1 and r2 with exponentials written out."""
    s, t = uneven(schedule, 4)[1:3]
    x, model = start(schedule, s), MODES.model(schedule)
    lam_s, h = schedule.lam(s), schedule.lam(t) - schedule.lam(s)
    m1, m2 = (float(schedule.t_of_lam(lam_s + r * h)) for r in (r1, r2))
    alpha, sigma, _ = levels(schedule, s, m1, m2, t)
    grow = lambda r: math.exp(r * h) - 1
    eps = model.eps(x, s)
    u1 = alpha[1] / alpha[0] * x - sigma[1] * grow(r1) * eps
    d1 = model.eps(u1, m1) - eps
    second = alpha[3] / alpha[0] * x - sigma[3] * grow(1) * (eps + d1 / (2 * r1))
    assert distance(sample(dpm_solver_2, model, x, [s, t], r1=r1).x, second) < 1e-11
    u2 = alpha[2] / alpha[0] * x - sigma[2] * grow(r2) * eps
    u2 = u2 - sigma[2] * r2 / r1 * (grow(r2) / (r2 * h) - 1) * d1
    d2 = model.eps(u2, m2) - eps
    third = alpha[3] / alpha[0] * x - sigma[3] * grow(1) * eps - sigma[3] / r2 * (grow(1) / h - 1) * d2
    assert distance(sample(dpm_solver_3, model, x, [s, t], r1=r1, r2=r2).x, third) < 1e-11


@by_schedule
@pytest.mark.parametrize("r1", [0.5, 0.3, 1.0])
def test_2s_as_the_algorithm_reads(schedule, r1):
    s, t = uneven(schedule, 4)[1:3]
    x, model = start(schedule, s), MODES.model(schedule)
    h = schedule.lam(t) - schedule.lam(s)
    m = float(schedule.t_of_lam(schedule.lam(s) + r1 * h))
    alpha, sigma, _ = levels(schedule, s, m, t)
    data = model.x0(x, s)
    u = sigma[1] / sigma[0] * x - alpha[1] * (math.exp(-r1 * h) - 1) * data
    mean = (1 - 1 / (2 * r1)) * data + model.x0(u, m) / (2 * r1)
    want = sigma[2] / sigma[0] * x - alpha[2] * (math.exp(-h) - 1) * mean
    assert distance(sample(dpmpp_2s, model, x, [s, t], r1=r1).x, want) < 1e-11


@by_schedule
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_2m_as_the_algorithm_reads(schedule, seed, tau):
    """Algorithm 2, and eq. 19 for the SDE, with the ratio r of the step before to this one."""
    times = uneven(schedule)
    x, model = start(schedule, times[0], seed), MODES.model(schedule)
    alpha, sigma, lam = levels(schedule, *times)
    noises = Noise(seed).normals(x, times)
    y, before = x, None
    for i in range(len(times) - 1):
        h = lam[i + 1] - lam[i]
        data = model.x0(y, times[i])
        mean = data
        if i:
            r = (lam[i] - lam[i - 1]) / h
            mean = (1 + 1 / (2 * r)) * data - before / (2 * r)
        if tau:
            y = sigma[i + 1] / sigma[i] * math.exp(-h) * y + alpha[i + 1] * (1 - math.exp(-2 * h)) * mean
            y = y + sigma[i + 1] * math.sqrt(1 - math.exp(-2 * h)) * next(noises)
        else:
            y = sigma[i + 1] / sigma[i] * y - alpha[i + 1] * (math.exp(-h) - 1) * mean
        before = data
    solver = sde_dpmpp_2m if tau else dpmpp_2m
    assert distance(sample(solver, model, x, times, draws=seed).x, y) < 1e-11


def test_2m_on_equal_steps_has_the_weights_three_halves_and_minus_one_half():
    times = grids.uniform_lambda(VP(), 8).tolist()
    for step in dpmpp_2m_coefficients(VP(), times)[1:]:
        assert step.c == 0 and step.d_0 / step.d_1 == pytest.approx(-3, rel=1e-9)


@by_schedule
def test_the_divided_form_leaves_out_half_of_the_second_derivative(schedule):
    """3M less divided = b phi_3 h^2 times the divided difference x0[0, 1, 2], on any steps; where h is small
    that is 1/6 against 1/3 of h^2 x0''/2.
    """
    times = uneven(schedule)
    lam = schedule.lam(np.array(times))
    rows = divided_coefficients(schedule, times)
    right = adams_table(schedule, times, 3)
    for i in range(2, len(times) - 1):
        h = lam[i + 1] - lam[i]
        values = (lam[[i, i - 1, i - 2]] - lam[i]) ** 2  # a parabola, whose divided difference is 1
        off = np.dot(right[i].weights, values) - np.dot(rows[i].weights, values)
        assert off == pytest.approx(schedule.alpha(times[i + 1]) * h**3 * phi(3, -h), rel=1e-9)


@by_schedule
def test_sde_1_is_ddim_with_eta_one(schedule, seed):
    times = uneven(schedule)
    x, model = start(schedule, times[0], seed), MODES.model(schedule)
    one = sample(sde_dpmpp_1, model, x, times, draws=seed, keep_path=True).path
    two = sample(ddim, model, x, times, draws=seed, eta=1.0, keep_path=True).path
    assert distance(one, two) < 1e-12


@by_schedule
@pytest.mark.parametrize(
    "stochastic, deterministic", [(sde_dpmpp_1, ddim), (sde_dpmpp_2m, dpmpp_2m), (sde_dpmpp_3m, dpmpp_3m)],
    ids=named,
)  # fmt: skip
def test_no_noise_at_tau_zero(schedule, stochastic, deterministic):
    times = uneven(schedule)
    x, model = start(schedule, times[0]), MODES.model(schedule)
    one = sample(stochastic, model, x, times, tau=0.0).x
    assert distance(one, sample(deterministic, model, x, times).x) < 1e-12


@pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("tau", [0.5, 1.0, 1.5])
def test_sde_solvers_have_the_right_variance_whatever_tau(schedule, tau):
    """On Gaussian data, without sampling: right to 1e-3 with 400 steps, and 2M better than 1 by far."""
    first, last = ends(schedule)
    times = grids.uniform_lambda(schedule, 400, first, last)
    want = (schedule.alpha(last) * 0.5) ** 2 + schedule.sigma(last) ** 2
    off = [
        abs(exact_variance(f, schedule, times, tau=tau) / want - 1)
        for f in (sde_dpmpp_1, sde_dpmpp_2m, sde_dpmpp_3m)
    ]
    assert off[1] < 1e-3 and off[2] < 1e-3 and off[0] > 4 * max(off[1:])


# --- order ----------------------------------------------------------------------------------------------

FIVE = Mixture(
    [0.15, 0.25, 0.2, 0.25, 0.15],
    [[1.2, 0.3], [-0.4, 1.1], [-1.1, -0.5], [0.5, -1.0], [0.0, 0.1]],
    [0.45, 0.5, 0.55, 0.6, 0.65],
)
WIDER = Mixture(
    torch.ones(5),
    [[1.5, -0.3], [-2.2, 0.6], [-1.1, -1.4], [0.4, 0.8], [-0.7, -0.4]],
    [0.45, 0.5, 0.55, 0.6, 0.65],
)


@lru_cache
def problem(mixture, seed):
    """256 starts of pure noise at t = 1 on VP, and where the flow takes them at t = 1e-3."""
    x = initial_noise(256, 2, seed, torch.float64)
    return x, reference(mixture.model(VP()), x, 1.0, 1e-3)


def errors_from_pure_noise(solver, steps, mixture=FIVE, seed=0, **options):
    x, want = problem(mixture, seed)
    return ode_errors(solver, mixture.model(VP()), x, steps, want=want, **options)["rmse"]


@pytest.mark.parametrize("mixture, at_100, at_200", [(FIVE, 3.3e-5, 4.0e-6), (WIDER, 4e-5, 5e-6)],
                         ids=["five", "wider"])  # fmt: skip
def test_3m_is_of_order_three_from_pure_noise_and_its_divided_form_of_order_two(
    mixture, at_100, at_200, seed
):
    steps = [100, 150, 200, 300]
    right, divided = (errors_from_pure_noise(f, steps, mixture, seed) for f in (dpmpp_3m, dpmpp_3m_divided))
    assert right[0] <= at_100 and right[2] <= at_200
    assert slope(steps, right) == pytest.approx(3, abs=0.1)
    assert slope(steps, divided) == pytest.approx(2, abs=0.1)
    assert all(wrong > 5 * one for wrong, one in zip(divided, right))


def test_at_five_steps_order_is_not_quality(seed):
    """There the smaller extrapolation of the divided form, and of 2M, is the better one."""
    third, divided, second = (
        errors_from_pure_noise(f, [5], seed=seed)[0] for f in (dpmpp_3m, dpmpp_3m_divided, dpmpp_2m)
    )
    assert second < divided < third


def measured(solver, grid=grids.uniform_lambda, steps=(128, 256, 512), seed=0, **options):
    """The slope of a solver's error between sigma / alpha = 5 and 0.2 on VP."""
    first, last = ends(VP())
    x = start(VP(), first, seed, 32)
    return slope(steps, ode_errors(solver, MODES.model(VP()), x, steps, grid, first, last, **options)["rmse"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver, options, order",
    [
        (dpm_solver_2, {"r1": 0.2}, 2),
        (dpm_solver_2, {"r1": 1.0}, 2),
        (dpm_solver_3, {}, 3),
        (dpm_solver_3, {"r1": 0.2}, 3),
        (dpm_solver_3, {"r1": 0.5}, 3),
        (dpm_solver_3, {"r2": 0.5}, 2),  # third order needs r2 = 2/3
        (dpm_solver_3, {"r2": 0.8}, 2),
        (dpm_solver_3, {"r2": 1.0}, 2),
        (dpmpp_2s, {"r1": 0.3}, 2),
        (dpmpp_2s, {"r1": 1.0}, 2),
        (dpmpp_2m, {"form": "exact"}, 2),
        (dpmpp_2m, {"exact": 1}, 2),
        (dpmpp_3m_divided, {}, 2),
        (dpmpp_3m, {"exact": 2, "lower_last": True}, 2),
    ],
    ids=named,
)
def test_orders(solver, options, order, seed):
    assert measured(solver, seed=seed, **options) == pytest.approx(order, abs=0.1)


def alternating(schedule, steps, start=None, end=None):
    """Steps in lambda of alternately 3 and 1."""
    shares = np.cumsum([0, *([3, 1] * ((steps + 1) // 2))[:steps]])
    low, high = schedule.lam(start), schedule.lam(end)
    return torch.from_numpy(schedule.t_of_lam(low + (high - low) * shares / shares[-1]))


@Sampler
def without_the_step_before(model, x, times):
    """2M with r = 1 whatever the steps are."""
    lam = [model.schedule.lam(t) for t in times]
    alpha, sigma, _ = levels(model.schedule, *times)
    before = None
    yield times[0], x
    for i in range(len(times) - 1):
        data = model.x0(x, times[i])
        mean = data if before is None else 1.5 * data - 0.5 * before
        x = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * math.expm1(lam[i] - lam[i + 1]) * mean
        before = data
        yield times[i + 1], x


def test_2m_needs_the_ratio_of_its_steps(seed):
    """On steps of 3 and 1 in turn; with r taken for 1 it is of order 1 there, of order 2 on equal steps."""
    assert measured(dpmpp_2m, alternating, seed=seed) == pytest.approx(2, abs=0.1)
    assert measured(dpmpp_2m, alternating, seed=seed, form="exact") == pytest.approx(2, abs=0.1)
    assert measured(without_the_step_before, alternating, seed=seed) == pytest.approx(1, abs=0.1)
    assert measured(without_the_step_before, seed=seed) == pytest.approx(2, abs=0.1)


def test_third_order_meets_its_condition_at_two_thirds_only():
    """d tends to -sigma h / (2 r2) of phi_2 at 0, the midpoint's weight: with D_2 the increase over r2 h, the
    second moment is r2 h^3 / 2 and has to be h^3 / 3.
    """
    schedule, h = VE(), 1e-4
    s = np.array([schedule.t_of_lam(0.0)])
    t = np.array([schedule.t_of_lam(h)])
    for r2, fits in ((2 / 3, True), (0.5, False), (0.9, False)):
        (d,) = third_order(schedule, s, t, 1 / 3, r2).d.tolist()
        second_moment = -d / schedule.sigma(float(t[0])) * (r2 * h) ** 2
        assert (abs(second_moment / (h**3 / 3) - 1) < 1e-3) is fits


# --- calls ----------------------------------------------------------------------------------------------


def test_fast_spends_exactly_the_calls_it_is_given():
    for nfe in range(1, 61):
        orders = fast_orders(nfe)
        assert sum(orders) == nfe and len(orders) == nfe // 3 + 1
        model = MODES.model(VP())
        run = sample(
            dpm_solver_fast, model, torch.ones(1, 2), grids.uniform_lambda(VP(), len(orders)), nfe=nfe
        )
        assert run.nfe == model.nfe == nfe
        assert all(order == 3 for order in orders[:-2])


def test_fast_by_default_uses_what_its_steps_can_hold():
    for steps in range(1, 12):
        run = sample(dpm_solver_fast, MODES.model(VP()), torch.ones(1, 2), grids.uniform_lambda(VP(), steps))
        assert run.nfe == 3 * steps - 1 == dpm_solver_fast.nfe(steps)


@pytest.mark.parametrize("rest, order", [(2, 3), (1, 2), (0, 2)])
def test_order_of_fast_by_what_its_last_step_costs(rest, order, seed):
    """One step of order 2 errs by h^3 and keeps order 3; one of order 1 leaves 2, as does 2 then 1."""
    first, last = ends(VP())
    model, x = MODES.model(VP()), start(VP(), first, seed, 32)
    want, steps, errors = reference(model, x, first, last), [64, 128, 256], []
    for n in steps:
        nfe = 3 * (n - 1) + rest
        times = grids.uniform_lambda(VP(), n, first, last)
        got = sample(dpm_solver_fast, model, x, times, nfe=nfe).x
        errors.append(float((got - want).square().mean().sqrt()))
    assert slope(steps, errors) == pytest.approx(order, abs=0.1)


# --- adaptive -------------------------------------------------------------------------------------------


def adaptive(order, rtol, seed=0, schedule=VP(), **options):  # noqa: B008 - a schedule never changes
    """(error, run, log) between sigma / alpha = 5 and 0.2."""
    first, last = ends(schedule)
    model, x, log = MODES.model(schedule), start(schedule, first, seed, 16), []
    run = sample(
        dpm_solver_adaptive, model, x, [first, last], order=order, rtol=rtol, atol=rtol / 10, log=log,
        keep_path=True, **options,
    )  # fmt: skip
    return float((run.x - reference(model, x, first, last)).square().mean().sqrt()), run, log


@pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("order", [2, 3])
def test_adaptive_error_falls_with_its_tolerance(order, schedule, seed):
    tolerances = [3e-2, 3e-3, 3e-4, 3e-5]
    errors, runs, _ = zip(*(adaptive(order, rtol, seed, schedule) for rtol in tolerances))
    assert all(a > 3 * b for a, b in zip(errors, errors[1:]))
    assert all(a.nfe < b.nfe for a, b in zip(runs, runs[1:]))
    # steps of about tolerance^(1 / order), each of which errs by less than the estimate: at least this slope
    assert slope([run.nfe for run in runs[1:]], errors[1:]) > order - 0.3


@pytest.mark.parametrize("order", [2, 3])
def test_adaptive_logs_every_try_and_counts_every_call(order, seed):
    """A try costs one call more than it shares: eps at the start is kept when a step is tried again."""
    for rtol, first in ((1e-2, 0.05), (1e-3, 3.0)):  # the second begins with a step far too long
        _, run, log = adaptive(order, rtol, seed, first=first)
        accepted = [entry for entry in log if entry[3]]
        assert run.nfe == len(accepted) + (order - 1) * len(log)
        assert run.times == [log[0][0], *(s for _, s, _, _ in accepted)]
        assert len(run.path) == len(run.times)
        assert run.times[-1] == ends(VP())[1] and (first < 1 or not log[0][3])
        t = log[0][0]
        for start_of_try, end, error, taken in log:
            assert start_of_try == t and end < t and taken == (error <= 1)
            t = end if taken else t


@pytest.mark.parametrize("order", [2, 3])
def test_adaptive_steps_follow_the_controller(order):
    """The next step is 0.9 E^(-1/order) as long in lambda, except for the one that the end cuts."""
    _, _, log = adaptive(order, 1e-3)
    lengths = [VP().lam(s) - VP().lam(t) for t, s, _, _ in log]
    for (_, _, error, _), h, following in list(zip(log, lengths, lengths[1:]))[:-1]:
        assert following == pytest.approx(0.9 * h * error ** (-1 / order), rel=1e-9)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("schedule", [Discrete.linear(), VPCosine(), EDM()], ids=lambda s: type(s).__name__)
def test_adaptive_to_no_noise(order, schedule):
    first, _ = ends(schedule)
    model, x = MODES.model(schedule), start(schedule, first)
    options = {"order": order, "rtol": 1e-3, "atol": 1e-3}
    run = sample(dpm_solver_adaptive, model, x, [first, 0.0], keep_path=True, **options)
    assert run.times[-1] == 0.0 and run.x.isfinite().all()
    assert torch.allclose(run.x, model.x0(run.path[-2], run.times[-2]), atol=1e-12)
    end = run.times[-2]
    assert math.exp(-schedule.lam(end)) == pytest.approx(1e-6, rel=1e-6)


def test_adaptive_takes_the_worst_sample_of_a_batch():
    """Ten easy samples beside a hard one do not hide its error."""
    first, last = ends(VP())
    hard = torch.tensor([[0.35, 0.02]], dtype=torch.float64)
    model, log, alone = MODES.model(VP()), [], []
    easy = hard.new_full((10, 2), 40.0)
    sample(dpm_solver_adaptive, model, torch.cat([hard, easy]), [first, last], log=log)
    sample(dpm_solver_adaptive, model, hard, [first, last], log=alone)
    assert log[0][2] >= alone[0][2] * (1 - 1e-12)


# --- ends, precision, no hidden switch ------------------------------------------------------------------

DETERMINISTIC = {
    "DPM-1": (dpm_solver_1, {}),
    "DPM-2": (dpm_solver_2, {}),
    "DPM-3": (dpm_solver_3, {}),
    "2S": (dpmpp_2s, {}),
    "2M": (dpmpp_2m, {}),
    "2M exact": (dpmpp_2m, {"form": "exact"}),
    "3M": (dpmpp_3m, {}),
    "3M divided": (dpmpp_3m_divided, {}),
}
every_solver = pytest.mark.parametrize("name", DETERMINISTIC)


@every_solver
@pytest.mark.parametrize(
    "schedule", [Discrete.linear(), VPCosine(), VP(), EDM()], ids=lambda s: type(s).__name__
)
def test_the_last_step_to_no_noise_is_the_predicted_data(name, schedule):
    solver, options = DETERMINISTIC[name]
    for times in ([*uneven(schedule, 6), 0.0], [uneven(schedule)[0], 0.0]):
        model, x = MODES.model(schedule), start(schedule, times[0])
        path = sample(solver, model, x, times, keep_path=True, **options).path
        assert torch.allclose(path[-1], model.x0(path[-2], times[-2]), atol=1e-9)


@pytest.mark.parametrize("solver", [sde_dpmpp_1, sde_dpmpp_2m, sde_dpmpp_3m], ids=named)
@pytest.mark.parametrize("schedule", [Discrete.linear(), VPCosine()], ids=lambda s: type(s).__name__)
def test_the_last_step_to_no_noise_adds_none(solver, schedule):
    times = [*uneven(schedule, 6), 0.0]
    model, x = MODES.model(schedule), start(schedule, times[0])
    path = sample(solver, model, x, times, keep_path=True).path
    assert torch.allclose(path[-1], model.x0(path[-2], times[-2]), atol=1e-12)


@pytest.mark.parametrize("solver", [dpmpp_2m, dpmpp_3m, dpmpp_3m_divided], ids=named)
@by_schedule
def test_lower_last_is_a_first_order_last_step(solver, schedule):
    times = uneven(schedule, 7)
    model, x = MODES.model(schedule), start(schedule, times[0])
    path = sample(solver, model, x, times, keep_path=True, lower_last=True).path
    plain = sample(solver, model, x, times, keep_path=True).path
    assert torch.equal(path[:-1], plain[:-1]) and not torch.allclose(path[-1], plain[-1])
    assert distance(path[-1], sample(ddim, model, path[-2], times[-2:]).x) < 1e-12


@every_solver
def test_float32_states_lose_only_their_rounding(name, seed):
    solver, options = DETERMINISTIC[name]
    times = grids.uniform_lambda(VP(), 60, *ends(VP())).tolist()
    exact = MODES.model(VP())
    rounded = Network(lambda x, c: exact.x0(x.double(), float(c[0])).to(x.dtype), VP(), predicts="x0")
    x = start(VP(), times[0], seed).float()
    one = sample(solver, exact, x.double(), times, **options).x
    two = sample(solver, rounded, x, times, **options).x
    assert two.dtype == torch.float32 and float((one - two).abs().max()) < 1e-4


def bends(solver, counts, **options):
    """How much the ratio of neighbouring errors changes from one number of steps to the next."""
    first, last = ends(VP())
    x = start(VP(), first, 0, 32)
    errors = ode_errors(solver, MODES.model(VP()), x, counts, start=first, end=last, **options)["rmse"]
    return np.abs(np.diff(np.log(errors), 2)), errors


@pytest.mark.parametrize("name, exact", [*((name, 0) for name in DETERMINISTIC), ("3M", 2)])
def test_no_error_jumps_between_neighbouring_numbers_of_steps(name, exact):
    """From 5 steps to 60 calls the error only falls, each ratio within 15 per cent of the last one: no order
    is switched behind the reader's back.
    """
    solver, options = DETERMINISTIC[name]
    bend, errors = bends(solver, range(5, 60 // solver.nfe(1) + 1), exact=exact, **options)
    assert bend.max() < math.log(1.15), bend
    assert max(b / a for a, b in zip(errors, errors[1:])) < 1.05


# --- bad input ------------------------------------------------------------------------------------------


def run(solver, schedule=VP(), times=(0.9, 0.5, 0.1), **options):  # noqa: B008 - a schedule never changes
    return sample(solver, MODES.model(schedule), torch.ones(2, 2), times, **options)


ONES = torch.ones(2, 2)
NAN = Network(lambda x, c: x * math.nan, VP())


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: run(dpm_solver_2, r1=0.0), "r1 .* must satisfy 0 < r1 .* got 0"),
        (lambda: run(dpm_solver_2, r1=1.2), "got 1.2"),
        (lambda: run(dpm_solver_3, r1=0.7, r2=0.5), "0 < r1 < r2 <= 1, got 0.7, 0.5"),
        (lambda: run(dpm_solver_3, r1=0.5, r2=0.5), "0 < r1 < r2 <= 1, got 0.5, 0.5"),
        (lambda: run(dpm_solver_3, r2=math.nan), "r2 must be a number, got nan"),
        (lambda: run(dpmpp_2s, r1=-0.5), "got -0.5"),
        (lambda: run(dpm_solver_fast, nfe=12), "nfe = 12 needs 5 steps; times has 2"),
        (lambda: run(dpm_solver_fast, nfe=0), "nfe must be a whole number of at least 1, got 0"),
        (lambda: fast_orders(-3), "nfe must be a whole number of at least 1, got -3"),
        (lambda: run(dpmpp_2m, form="heun"), "form must be one of midpoint, exact; got 'heun'"),
        (lambda: run(sde_dpmpp_2m, form="heun"), "form must be one of midpoint, exact; got 'heun'"),
        (lambda: run(dpm_solver_adaptive, order=1), "order must be one of 2, 3; got 1"),
        (lambda: sample(dpm_solver_adaptive, NAN, torch.ones(1, 2), [1.0, 0.1]), "at t = 1 is NaN"),
        *[
            (lambda loop=solver.loop: list(loop(MODES.model(Flow()), ONES, [1.0, 0.5])), "start the grid")
            for solver in (
                dpm_solver_1, dpm_solver_2, dpm_solver_3, dpm_solver_fast, dpm_solver_adaptive,
                dpmpp_2s, dpmpp_2m, dpmpp_3m, dpmpp_3m_divided, sde_dpmpp_1, sde_dpmpp_2m, sde_dpmpp_3m,
            )
        ],
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call()
    assert len(str(problem.value).splitlines()) == 1
