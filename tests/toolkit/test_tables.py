"""Each multistep loop of the papers is the general loop, `run_table`, with a table of its own: shown on all
grids, several schedules, numbers of steps and orders, to the last bit where both add the same numbers.
"""

import numpy as np
import pytest
import torch

from toolkit import EDM, VP, Discrete, Flow, Mixture, VPCosine, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.dpm_solver import (
    dpm_solver_1,
    dpm_solver_2,
    dpm_solver_3,
    dpm_solver_adaptive,
    dpm_solver_fast,
    dpmpp_2m,
    dpmpp_3m,
    dpmpp_3m_divided,
    sde_dpmpp_1,
    sde_dpmpp_2m,
    sde_dpmpp_3m,
)
from toolkit.exponential import Row, adams_table, orders_of_steps, run_table
from toolkit.multistep import EQUAL_STEPS, deis, exponential_ab, ipndm, sa_solver, unipc
from toolkit.noise import noise_of

MODES = Mixture.ring(8, radius=1.0, std=0.3)
SCHEDULES = [VP(), VPCosine(), EDM(), Flow(), Discrete.linear()]
CASES = [
    pytest.param(schedule, grid, id=f"{type(schedule).__name__}-{grid}")
    for schedule in SCHEDULES
    for grid in grids.GRIDS
    if grid != "strided" or isinstance(schedule, Discrete)  # strided is for tables
]
everywhere = pytest.mark.parametrize("schedule, grid", CASES)
both_ends = pytest.mark.parametrize("lower_last", [False, True])


def problems(schedule, grid, *, finite=False):
    """(model, x, times) for one, a few and many steps, float32 or float64; finite: no end at sigma = 0."""
    deep = isinstance(schedule, Discrete) and grid in ("uniform_lambda", "karras")
    ends = {"end": 1 / schedule.T} if deep else {}
    for steps, dtype in ((1, torch.float32), (2, torch.float64), (5, torch.float32), (14, torch.float64)):
        times = grids.GRIDS[grid](schedule, steps, **ends).tolist()
        if finite and schedule.sigma(times[-1]) == 0:
            times = times[:-1]
        if len(times) > 1:
            size = max(schedule.sigma(times[0]), schedule.alpha(times[0]))
            yield MODES.model(schedule), size * initial_noise(3, 2, 1, dtype), times


def is_table(solver, model, x, times, table, prediction="x0", **options):
    """Whether the sampler and the general loop with this table give the same bits, at every time."""
    noises = noise_of(options["rng"], x, times) if solver.random else None
    run = run_table(model, x, times, table, prediction, noises)
    ours = solver(model, x, times, **options)
    return all(t == s and torch.equal(y, z) for (t, y), (s, z) in zip(ours, run, strict=True))


def near(one, two, schedule, times):
    """Equal but for rounding, beside data of size 1; a step h in lambda can make it e^h times as large."""
    h = np.diff(schedule.lam(np.array(times)))
    tolerance = 1e-13 * np.exp(h[np.isfinite(h)].max(initial=0))
    return float((one - two).abs().max()) < tolerance * max(1.0, float(two.abs().max()))


# --- the loops of the papers are tables -------------------------------------------------------------------


@everywhere
@both_ends
def test_2m_is_a_table(schedule, grid, lower_last):
    """Algorithm 2's two weights, D = (1 + 1 / (2 r)) m_0 - 1 / (2 r) m_1, in the rows of order 1; the exact
    form is the general method of order 2.
    """
    for model, x, times in problems(schedule, grid):
        lam, rows = schedule.lam(np.array(times)), list(adams_table(schedule, times, 1))
        for i, k in enumerate(orders_of_steps(schedule, times, 2, lower_last)):
            if k == 2:
                r = (lam[i] - lam[i - 1]) / (lam[i + 1] - lam[i])
                (whole,) = rows[i].weights
                rows[i] = Row(rows[i].a, (whole * (1 + 1 / r / 2), -whole * (1 / r / 2)), 0.0)
        run = sample(dpmpp_2m, model, x.double(), times, lower_last=lower_last).x
        *_, (_, general) = run_table(model, x.double(), times, rows)
        assert near(run, general, schedule, times)
        exact = adams_table(schedule, times, 2, lower_last=lower_last)
        assert is_table(dpmpp_2m, model, x, times, exact, form="exact", lower_last=lower_last)


@everywhere
@both_ends
def test_3m_is_a_table(schedule, grid, lower_last):
    for model, x, times in problems(schedule, grid):
        table = adams_table(schedule, times, 3, lower_last=lower_last)
        assert is_table(dpmpp_3m, model, x, times, table, lower_last=lower_last)


@everywhere
@pytest.mark.parametrize("variant, variable", [("tab", "t"), ("rhoab", "sigma")])
@pytest.mark.parametrize("order, lower_last", [(1, False), (2, False), (3, False), (3, True), (4, False)])
def test_deis_is_a_table(schedule, grid, order, variant, variable, lower_last):
    for model, x, times in problems(schedule, grid):
        table = adams_table(schedule, times, order, "eps", variable, lower_last=lower_last)
        options = {"order": order, "variant": variant, "lower_last": lower_last}
        assert is_table(deis, model, x, times, table, "eps", **options)


@everywhere
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ipndm_is_a_table(schedule, grid, order):
    """With the weights of its actual steps, to the bit; with those of equal steps they are the same rows
    where the steps in sigma / alpha are equal.
    """
    for model, x, times in problems(schedule, grid):
        table = adams_table(schedule, times, order, "eps", "sigma")
        assert is_table(ipndm, model, x, times, table, "eps", order=order, variable_step=True)
    kappas = np.linspace(5, 0.2, 9)
    times = schedule.t_of_lam(-np.log(kappas)).tolist()
    for i, row in enumerate(adams_table(schedule, times, order, "eps", "sigma")):
        step = schedule.alpha(times[i + 1]) * (kappas[i + 1] - kappas[i])
        assert np.allclose(row.weights, step * np.array(EQUAL_STEPS[min(order, i + 1)]), rtol=1e-8)


@everywhere
@both_ends
@pytest.mark.parametrize("order", [1, 3, 4])
def test_unipc_is_a_table(schedule, grid, order, lower_last):
    """Predictor and corrector are the explicit and the implicit table, except in UniP-2 and UniC-1, where the
    paper takes rho = 1/2: after exact starting values, of order 3 and 4 in every step.
    """
    for model, x, times in problems(schedule, grid, finite=True):
        explicit, implicit = (
            adams_table(schedule, times, order, lower_last=lower_last, implicit=i) for i in (False, True)
        )
        options = {"order": order, "lower_last": lower_last, "corrector": False}
        if order == 1:  # UniP-1 has no rho
            assert is_table(unipc, model, x, times, explicit, **options)
        elif len(times) > order:
            past = list(zip(times[: order - 1], initial_noise(order - 1, x.shape, 5, x.dtype)))
            begin = times[order - 1 :]
            for correct in (False, True):
                options["corrector"] = correct
                ours = unipc(model, x, begin, history=past, **options)
                values = [model.x0(state, t) for t, state in reversed(past)]
                predictor, corrector = (table[order - 1 :] for table in (explicit, implicit))
                corrector = corrector if correct else None
                general = run_table(model, x, begin, predictor, corrector=corrector, past=values)
                assert all(torch.equal(y, z) for (_, y), (_, z) in zip(ours, general, strict=True))


@everywhere
@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_the_sde_solvers_are_tables(schedule, grid, tau):
    for model, x, times in problems(schedule, grid):
        for order, solver, options in (
            (1, sde_dpmpp_1, {}),
            (2, sde_dpmpp_2m, {"form": "exact"}),
            (3, sde_dpmpp_3m, {}),
            (3, sa_solver, {"corrector": False}),
        ):
            table = adams_table(schedule, times, order, tau=tau)
            assert is_table(solver, model, x, times, table, tau=tau, rng=4, **options)


# --- one method by two names ------------------------------------------------------------------------------


@everywhere
def test_dpm1_is_ddim(schedule, grid):
    for model, x, times in problems(schedule, grid):
        one, two = (sample(f, model, x.double(), times, keep_path=True).path for f in (dpm_solver_1, ddim))
        assert near(one, two, schedule, times)


@everywhere
def test_order_one_of_each_is_ddim(schedule, grid):
    solvers = [(exponential_ab, {}), (deis, {}), (ipndm, {}), (unipc, {"corrector": False})]
    for model, x, times in problems(schedule, grid):
        want = sample(ddim, model, x.double(), times).x
        for solver, options in solvers:
            run = sample(solver, model, x.double(), times, order=1, **options)
            assert near(run.x, want, schedule, times)


@everywhere
def test_unip_2_is_2m(schedule, grid):
    for model, x, times in problems(schedule, grid):
        unip = sample(unipc, model, x.double(), times, order=2, corrector=False).x
        assert near(unip, sample(dpmpp_2m, model, x.double(), times).x, schedule, times)


@everywhere
def test_fast_is_dpm_3_and_then_2_or_1(schedule, grid):
    for model, x, times in problems(schedule, grid):
        path = sample(dpm_solver_fast, model, x, times, keep_path=True).path
        third = sample(dpm_solver_3, model, x, times, keep_path=True).path
        assert torch.equal(path[:-1], third[:-1])
        assert torch.equal(path[-1], sample(dpm_solver_2, model, path[-2], times[-2:]).x)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("order, solver", [(2, dpm_solver_2), (3, dpm_solver_3)])
def test_the_adaptive_solver_takes_the_steps_of_dpm_2_and_3(schedule, order, solver):
    first, last = (float(schedule.t_of_lam(v)) for v in (-1.6, 1.6))
    model, x = MODES.model(schedule), schedule.sigma(first) * initial_noise(3, 2, 1, torch.float64)
    run = sample(dpm_solver_adaptive, model, x, [first, last], order=order, keep_path=True)
    assert torch.equal(run.path, sample(solver, model, x, run.times, keep_path=True).path)


# --- going on from earlier states -------------------------------------------------------------------------

ONWARD = {
    "2M": (dpmpp_2m, {}, 1),
    "2M, exact form": (dpmpp_2m, {"form": "exact"}, 1),
    "3M": (dpmpp_3m, {}, 2),
    "AB-4 in eps and t": (exponential_ab, {"order": 4, "prediction": "eps", "variable": "t"}, 3),
    "DEIS": (deis, {}, 2),
    "iPNDM": (ipndm, {}, 3),
    "iPNDM, actual steps": (ipndm, {"variable_step": True}, 3),
    "UniP-3": (unipc, {"corrector": False}, 2),
}


@pytest.mark.slow
@everywhere
@pytest.mark.parametrize("name", ONWARD)
def test_a_run_that_goes_on_from_its_own_states_is_the_same_run(schedule, grid, name):
    """The states handed on as they were yielded; more than are used do no harm, fewer lower the order."""
    solver, options, used = ONWARD[name]
    for model, x, times in problems(schedule, grid):
        states = list(solver(model, x, times, **options))
        for k in range(used, len(times) - 1):
            t, state = states[k]
            rest = list(solver(model, state, times[k:], history=states[:k], **options))
            assert all(torch.equal(y, z) for (_, y), (_, z) in zip(rest, states[k:], strict=True))
            assert len(states) < k + 3 or not torch.equal(
                sample(solver, model, state, times[k:], **options).x, states[-1][1]
            )


def test_a_history_is_not_changed_and_may_be_a_tuple():
    model, times, x = MODES.model(VP()), grids.uniform(VP(), 6).tolist(), initial_noise(2, 2)
    states = list(dpmpp_3m(model, x, times))
    history = tuple(states[:3])
    again = [sample(dpmpp_3m, model, states[3][1], times[3:], history=h).x for h in (history, list(history))]
    assert torch.equal(*again) and torch.equal(again[0], states[-1][1]) and len(history) == 3


def test_3m_and_its_divided_form_differ_from_the_third_step_on():
    model, times, x = MODES.model(VP()), grids.uniform(VP(), 6).tolist(), initial_noise(2, 2)
    right, divided = (sample(f, model, x, times, keep_path=True).path for f in (dpmpp_3m, dpmpp_3m_divided))
    assert torch.equal(right[:2], divided[:2]) and not torch.allclose(right[3:], divided[3:])


def test_3m_and_unip_3_are_one_method_but_for_the_second_step():
    """From two earlier states on, which both are given, they agree."""
    model, times = MODES.model(VP()), grids.uniform_lambda(VP(), 10).tolist()
    alike = lambda one, two: near(one, two, VP(), times)
    first = sample(ddim, model, initial_noise(5, 2, dtype=torch.float64), times[:3], keep_path=True)
    history = list(zip(first.times, first.path))[:2]
    ends = [
        sample(f, model, first.x, times[2:], history=history, **options).x
        for f, options in ((dpmpp_3m, {}), (unipc, {"corrector": False}), (exponential_ab, {"order": 3}))
    ]
    assert alike(ends[0], ends[1]) and alike(ends[0], ends[2])
    alone = [
        sample(f, model, first.x, times[2:], **options).x
        for f, options in ((dpmpp_3m, {}), (unipc, {"corrector": False}))
    ]
    assert not alike(*alone)
