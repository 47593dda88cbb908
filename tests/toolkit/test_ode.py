"""Chapter 3: the probability-flow ODE, its variables, and every solver, as statements that run."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.integrate import RK45
from scipy.optimize import brentq

from benchmarks.peers import part
from tests.seeds import seed_of
from toolkit import (
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    GaussianFlow,
    Mixture,
    Network,
    SubVP,
    VPCosine,
    grids,
    initial_noise,
    sample,
)
from toolkit.convergence import ode_errors, reference, slope
from toolkit.ddim import ddim
from toolkit.ode import (
    STABILITY,
    VARIABLES,
    ProbabilityFlow,
    edm_heun,
    euler,
    flow_coefficients,
    heun,
    implicit_euler,
    log_likelihood,
    midpoint,
    next_step,
    rk4,
    rk4_invert,
    rk45,
    stiffness,
    time_of,
    trapezoid,
    with_middles,
)

SCHEDULES = [VP(), VPCosine(), SubVP(), VE(), EDM(), Flow(), Discrete.linear()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
some_schedules = pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=lambda s: type(s).__name__)
by_variable = pytest.mark.parametrize("variable", VARIABLES)
EXPLICIT = [euler, heun, midpoint, rk4]
IMPLICIT = [implicit_euler, trapezoid]
by_solver = pytest.mark.parametrize("solver", [*EXPLICIT, *IMPLICIT], ids=lambda s: s.__name__)
RING = Mixture.ring(8, std=0.3)


def levels(schedule, *kappas):
    return [schedule.t_of_lam(-math.log(kappa)) for kappa in kappas]


def noisy(schedule, mixture, t, n=32, seed=0):
    noise = initial_noise(n, mixture.d, seed, torch.float64)
    return schedule.alpha(t) * mixture.sample(n, seed) + schedule.sigma(t) * noise


def some_grids(schedule, clean=True):
    """Grids of several shapes; the last ones end at sigma = 0 where the schedule can."""
    start = schedule.start
    yield grids.uniform(schedule, 7, end=max(schedule.end, 0.01)).tolist()
    yield grids.karras(schedule, 10, end=max(schedule.end, 0.01)).tolist()
    yield [start, 0.4 * start, 0.1 * start]
    if clean and schedule.sigma(0.0) == 0:
        yield [*grids.quadratic(schedule, 6, end=max(schedule.end, 0.01)).tolist(), 0.0]


# --- the equation ---------------------------------------------------------------------------------------


@by_schedule
@by_variable
def test_the_three_variables_describe_one_curve(schedule, variable):
    """d/dt of the exact flow of a Gaussian, by differences, is scale (p y + q eps) du/dt + y dscale/dt."""
    flow, model = GaussianFlow(schedule, std=0.4), Mixture.gaussian(2, 0.4).model(schedule)
    for t in (0.2513 * schedule.start, 0.7317 * schedule.start):  # between the knots of a table
        x, h = initial_noise(5, 2, dtype=torch.float64), 1e-5 * t
        states = [flow.map(x, t, s) for s in (t - h, t + h)]
        us, scales, _, _ = flow_coefficients(schedule, [t - h, t + h], variable)
        slope_now = (states[1] / scales[1] - states[0] / scales[0]) / (us[1] - us[0])
        _, (scale,), (p,), (q,) = flow_coefficients(schedule, [t], variable)
        want = p * x / scale + q * model.eps(x, t)
        assert torch.allclose(slope_now, want, rtol=1e-5, atol=1e-6 * float(want.abs().max()))


@by_schedule
@by_variable
def test_time_of_undoes_the_variable(schedule, variable):
    times = np.array(grids.uniform(schedule, 9, end=max(schedule.end, 0.02)).tolist())
    u = flow_coefficients(schedule, times, variable)[0]
    assert time_of(schedule, u, variable) == pytest.approx(times, rel=1e-9)


@by_schedule
def test_the_middle_in_lambda_is_the_geometric_mean_of_sigma(schedule):
    for times in some_grids(schedule):
        one = with_middles(schedule, times, "sigma", "geometric")
        two = with_middles(schedule, times, "lam", "arithmetic")
        assert one == pytest.approx(two, rel=1e-10)
        assert one[: 2 * len(times) - 1 : 2][:3] == times[:3] and one[-1] == times[-1]
        other = with_middles(schedule, times, "sigma", "arithmetic")
        assert max(abs(a - b) for a, b in zip(one, other)) > 0.01 * times[0]


# --- orders ---------------------------------------------------------------------------------------------


@cache
def start_and_end(kind, seed, n=32):
    """(schedule, t, s, x at t, the exact x at s) of the ring between kappa = 5 and 0.2."""
    schedule = kind()
    t, s = levels(schedule, 5.0, 0.2)
    x = noisy(schedule, RING, t, n, seed)
    return schedule, t, s, x, reference(RING.model(schedule), x, t, s)


@cache
def rounded_start_and_end(kind, seed):
    """The same from an x of single precision."""
    schedule, t, s, x, _ = start_and_end(kind, seed)
    x = x.float()
    return schedule, t, s, x, reference(RING.model(schedule), x, t, s)


@pytest.mark.slow
@by_variable
@by_solver
@pytest.mark.parametrize("kind", [VP, SubVP, VE, Flow])
def test_order_in_every_variable(kind, solver, variable):
    schedule, t, s, x, want = start_and_end(kind, seed_of(kind.__name__, variable) % 4)
    steps = [48, 96, 192] if solver.order < 4 else [32, 64, 128]
    errors = ode_errors(solver, RING.model(schedule), x, steps, start=t, end=s, want=want, variable=variable)[
        "rmse"
    ]
    assert slope(steps, errors) == pytest.approx(solver.order, abs=0.1), errors


@pytest.mark.slow
@by_variable
@by_solver
@pytest.mark.parametrize("kind, seed", [(VP, 2), (Flow, 3)])
def test_order_in_single_precision_until_round_off(kind, solver, variable, seed):
    """The same slopes while the error is above float32's own; more steps then stop helping, at about 1e-6."""
    schedule, t, s, x, want = rounded_start_and_end(kind, seed)
    model = RING.model(schedule)
    steps = [24, 48, 96] if solver.order < 4 else [8, 12, 16]
    run = lambda steps: ode_errors(solver, model, x, steps, start=t, end=s, want=want, variable=variable)
    errors = run(steps)["rmse"]
    assert slope(steps, errors) == pytest.approx(solver.order, abs=0.15 if solver.order < 4 else 0.3)
    if solver is rk4:
        assert 1e-8 < run([300])["rmse"][0] < 3e-6


@some_schedules
def test_middles_of_either_kind_are_second_order(schedule):
    schedule, t, s, x, want = start_and_end(type(schedule), 0)
    steps = [64, 128, 256]
    for variable, mean in [("sigma", "geometric"), ("sigma", "arithmetic"), ("t", "geometric")]:
        errors = ode_errors(
            midpoint, RING.model(schedule), x, steps, start=t, end=s, want=want, variable=variable, mean=mean
        )
        assert slope(steps, errors["rmse"]) == pytest.approx(2, abs=0.1)


# --- what each method is --------------------------------------------------------------------------------


@by_schedule
def test_euler_in_sigma_is_ddim(schedule, seed):
    model = RING.model(schedule)
    for times in some_grids(schedule):
        x = noisy(schedule, RING, times[0], seed=seed)
        one = sample(euler, model, x, times, variable="sigma", keep_path=True).path
        two = sample(ddim, model, x, times, keep_path=True).path
        assert torch.allclose(one, two, rtol=1e-12, atol=1e-12 * float(x.abs().max()))


@by_schedule
@pytest.mark.parametrize("variable", ["t", "lam"])
def test_euler_in_another_variable_is_not_ddim(schedule, variable):
    if isinstance(schedule, (EDM, Flow)) and variable == "t":
        return  # EDM's t is sigma, and flow matching's path is straight in t: there it is DDIM
    model, times = RING.model(schedule), next(some_grids(schedule))
    x = noisy(schedule, RING, times[0])
    gap = sample(euler, model, x, times, variable=variable).x - sample(ddim, model, x, times).x
    assert gap.abs().max() > 1e-3


@by_schedule
def test_midpoint_with_geometric_means_is_dpm_solver_2(schedule):
    """Lu et al. 2022, Algorithm 1 with r_1 = 1/2, written out in their terms."""
    model = RING.model(schedule)
    for times in some_grids(schedule, clean=False):
        x = y = noisy(schedule, RING, times[0])
        for t, s in zip(times, times[1:]):
            h = schedule.lam(s) - schedule.lam(t)
            m = schedule.t_of_lam((schedule.lam(s) + schedule.lam(t)) / 2)
            u = schedule.alpha(m) / schedule.alpha(t) * y
            u = u - schedule.sigma(m) * math.expm1(h / 2) * model.eps(y, t)
            y = schedule.alpha(s) / schedule.alpha(t) * y - schedule.sigma(s) * math.expm1(h) * model.eps(
                u, m
            )
        got = sample(midpoint, model, x, times, variable="sigma", mean="geometric").x
        assert torch.allclose(got, y, rtol=1e-9, atol=1e-10 * float(x.abs().max()))


@by_schedule
def test_every_solver_s_last_step_to_no_noise_is_the_predicted_data(schedule):
    if schedule.sigma(0.0) != 0:
        return
    model, times = RING.model(schedule), [0.4 * schedule.start, 0.1 * schedule.start, 0.0]
    x = noisy(schedule, RING, times[0])
    for solver in [*EXPLICIT, *IMPLICIT, edm_heun]:
        for variable in VARIABLES if solver is not edm_heun else ["sigma"]:
            options = {} if solver is edm_heun else {"variable": variable}
            path = sample(solver, model, x, times, keep_path=True, **options).path
            assert torch.allclose(path[-1], schedule.alpha(0.0) * model.x0(path[-2], times[-2]), atol=1e-12)


def test_calls_down_to_no_noise_are_edm_s():
    """2 n - 1 for Heun's methods (Karras et al. 2022, Algorithm 1), and a whole step less for the others."""
    model, times = RING.model(EDM()), [*grids.karras(EDM(), 9).tolist(), 0.0]
    x = noisy(EDM(), RING, 80.0)
    for solver, calls in [(euler, 10), (heun, 19), (edm_heun, 19), (midpoint, 19), (rk4, 37)]:
        assert sample(solver, model, x, times).nfe == calls


# --- step for step the same as others -------------------------------------------------------------------


@pytest.fixture
def k_diffusion():
    try:
        return part("k_diffusion", "sampling", absent=("torchvision.transforms.functional",))
    except ImportError as missing:
        pytest.skip(f"k-diffusion: {missing}")


def in_their_terms(model):
    """k-diffusion's model: the predicted data at x / alpha and sigma / alpha."""
    schedule = model.schedule

    def denoised(y, kappa):
        t = schedule.t_of_lam(-math.log(float(kappa[0])))
        return model.x0(schedule.alpha(t) * y, t)

    return denoised


@pytest.mark.parametrize("schedule", [EDM(), VP(), Flow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("steps", [5, 18, 60])
def test_k_diffusion_s_euler_and_heun(k_diffusion, schedule, steps, seed):
    model = RING.model(schedule)
    times = [*grids.karras(schedule, steps, end=max(schedule.end, 0.01)).tolist(), 0.0]
    kappas = torch.tensor([*np.exp(-schedule.lam(np.array(times[:-1]))), 0.0], dtype=torch.float64)
    x = noisy(schedule, RING, times[0], seed=seed)
    y = x / schedule.alpha(times[0])
    for ours, theirs in [(edm_heun, k_diffusion.sample_heun), (euler, k_diffusion.sample_euler)]:
        options = {"variable": "sigma"} if ours is euler else {}
        want = schedule.alpha(0.0) * theirs(in_their_terms(model), y, kappas, disable=True)
        got = sample(ours, model, x, times, **options).x
        assert torch.allclose(got, want, rtol=0, atol=1e-10 * float(y.abs().max()))


def slope_of_flow(model, variable):
    """dy/du of (u, y) for a peer that knows neither schedules nor times."""
    schedule = model.schedule

    def right_side(u, y, **_):
        t = float(time_of(schedule, float(u), variable))
        _, (scale,), (p,), (q,) = flow_coefficients(schedule, [t], variable)
        return p * y + q * model.eps(scale * y, t)

    return right_side


@some_schedules
@by_variable
def test_torchdiffeq_s_fixed_steps(schedule, variable, seed):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    from torchdiffeq._impl.rk_common import rk4_step_func  # its "rk4" is the 3/8 rule; this is the classical

    model, (t, s) = RING.model(schedule), levels(schedule, 5.0, 0.2)
    times = grids.uniform_lambda(schedule, 12, t, s).tolist()
    u, scale, _, _ = flow_coefficients(schedule, times, variable)
    x, f = noisy(schedule, RING, t, seed=seed), slope_of_flow(model, variable)
    y, grid = x / scale[0], torch.from_numpy(u.copy())
    for ours, name in [(euler, "euler"), (heun, "heun2"), (midpoint, "midpoint")]:
        want = scale[-1] * torchdiffeq.odeint(f, y, grid, method=name)[-1]
        assert torch.allclose(sample(ours, model, x, times, variable=variable).x, want, atol=1e-10)
    for a, b in zip(u, u[1:]):
        y = y + rk4_step_func(f, a, b - a, b, y)
    assert torch.allclose(sample(rk4, model, x, times, variable=variable).x, scale[-1] * y, atol=1e-10)


# --- adaptive steps -------------------------------------------------------------------------------------


@some_schedules
@by_variable
@pytest.mark.parametrize("tol", [1e-4, 1e-7])
def test_rk45_takes_scipy_s_steps(schedule, variable, tol):
    """One sample, so that scipy's norm is ours; its growth limit is 10 to our 5, so the first step is not
    left far too small, and it takes no step up right after a rejection, so that there must be none."""
    model, (t, s) = RING.model(schedule), levels(schedule, 5.0, 0.2)
    x, log = noisy(schedule, RING, t, 1, seed=1), []
    path = sample(rk45, model, x, [t, s], rtol=tol, atol=tol, variable=variable, log=log, keep_path=True)
    u, scale, _, _ = flow_coefficients(schedule, path.times, variable)
    f = slope_of_flow(model, variable)
    theirs = RK45(
        lambda u, y: f(u, torch.from_numpy(y)[None])[0].numpy(),
        u[0], (x[0] / scale[0]).numpy(), u[-1], rtol=tol, atol=tol, first_step=abs(u[-1] - u[0]) / 100,
    )  # fmt: skip
    theirs.step()  # may grow by more than ours at first: compared is each step from our state with our size
    for i in range(len(path.times) - 1):
        y = (path.path[i, 0] / scale[i]).numpy()
        theirs.t, theirs.y, theirs.f, theirs.h_abs = u[i], y, theirs.fun(u[i], y), abs(u[i + 1] - u[i])
        theirs.status = "running"
        theirs.step()
        assert theirs.t == pytest.approx(u[i + 1], rel=1e-12)  # they accept what we accept
        assert theirs.y == pytest.approx((path.path[i + 1, 0] / scale[i + 1]).numpy(), rel=1e-9, abs=1e-12)
        error = next(e for a, b, e, ok in log if ok and b == path.times[i + 1])
        assert min(10.0, 0.9 * error**-0.2) == pytest.approx(theirs.h_abs / abs(u[i + 1] - u[i]), rel=1e-6)


@some_schedules
@by_variable
def test_rk45_errs_by_about_its_tolerance(schedule, variable, seed):
    """Error / tolerance stays within a factor of 30 over five decades, and falls with the tolerance."""
    schedule, t, s, x, want = start_and_end(type(schedule), seed)
    errors, tols = [], [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
    for tol in tols:
        got = sample(rk45, RING.model(schedule), x, [t, s], rtol=tol, atol=tol, variable=variable).x
        errors.append(float((got - want).square().mean().sqrt()))
    assert all(0.003 * tol < e < 30 * tol for e, tol in zip(errors, tols)), errors
    assert 0.7 < -slope(tols, errors) < 1.3


@some_schedules
def test_rk45_agrees_with_dopri5(schedule):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    model, (t, s) = RING.model(schedule), levels(schedule, 5.0, 0.2)
    x, f = noisy(schedule, RING, t), slope_of_flow(model, "lam")
    ends = torch.tensor([schedule.lam(t), schedule.lam(s)], dtype=torch.float64)
    want = torchdiffeq.odeint(f, x / schedule.alpha(t), ends, method="dopri5", rtol=1e-8, atol=1e-8)[-1]
    got = sample(rk45, model, x, [t, s], rtol=1e-8, atol=1e-8, variable="lam").x
    assert torch.allclose(got, schedule.alpha(s) * want, atol=1e-6)


@some_schedules
@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6])
def test_rk45_s_log_and_its_calls(schedule, tol):
    """Each try: where from, where to, its error, whether kept.  Six calls a try and one to begin with."""
    model, end = RING.model(schedule), max(schedule.end, 0.01)
    x, log = noisy(schedule, RING, schedule.start), []
    run = sample(rk45, model, x, [schedule.start, end], rtol=tol, atol=tol, log=log)
    kept = [(t, s) for t, s, _, accepted in log if accepted]
    assert run.nfe == 6 * len(log) + 1
    assert [kept[0][0], *[s for _, s in kept]] == run.times and run.times[-1] == end
    assert [t for t, _ in kept[1:]] == pytest.approx([s for _, s in kept[:-1]], rel=1e-12)
    assert all(accepted == (error <= 1) for _, _, error, accepted in log)
    tries = {}
    for t, s, *_ in log:  # a try that failed is made again from the same place, shorter
        assert t not in tries or s > tries[t]
        tries[t] = s


def test_rk45_rejects_and_recovers():
    """A field with a kink in time: some step must fail there, and the answer is right all the same."""
    model = Network(lambda x, c: torch.where(c[:, None] > 0.4317, 1.0, -40.0).to(x) + 0 * x, EDM(0.1, 1.0))
    log = []
    x = torch.zeros(2, 2, dtype=torch.float64)
    end = sample(rk45, model, x, [1.0, 0.1], rtol=1e-8, atol=1e-8, log=log).x
    assert any(not accepted for *_, accepted in log)
    assert torch.allclose(end, torch.full_like(end, -(1 - 0.4317) + 40 * (0.4317 - 0.1)), atol=1e-5)


@by_variable
def test_rk45_s_rule_for_the_next_step(variable):
    """h (1 / error)^(1/5) times 0.9: the exponent is one over the order of the *lower* member, 4, plus 1."""
    schedule, log = VP(), []
    t, s = levels(schedule, 5.0, 0.2)
    sample(rk45, RING.model(schedule), noisy(schedule, RING, t), [t, s], rtol=1e-6, atol=1e-6,
           variable=variable, log=log)  # fmt: skip
    u = [flow_coefficients(schedule, [a, b], variable)[0] for a, b, *_ in log]
    sizes, errors = [b - a for a, b in u], [e for *_, e, _ in log]
    for h, error, new in zip(sizes, errors, sizes[1:-1]):  # the last one is cut at the end
        assert new == pytest.approx(h * min(5, max(0.2, 0.9 * error ** (-1 / 5))), rel=1e-6)


def test_next_step():
    assert next_step(1.0, 0.9**5, 4) == pytest.approx(1.0)
    assert next_step(0.5, 32 * 0.9**5, 4) == pytest.approx(0.25)
    assert next_step(0.5, 4 * 0.9**2, 1) == pytest.approx(0.25)
    assert next_step(2.0, 0.0, 4) == 10.0 and next_step(2.0, 1e9, 4) == pytest.approx(0.4)
    assert next_step(-2.0, 0.0, 4) == -10.0


@pytest.mark.parametrize("variable", ["t", "sigma"])
def test_rk45_to_no_noise(variable):
    """It follows the flow down to kappa = atol and jumps; one more call."""
    schedule, log = EDM(), []
    x = noisy(schedule, Mixture.gaussian(2, 0.5), 10.0)
    model = Mixture.gaussian(2, 0.5).model(schedule)
    run = sample(rk45, model, x, [10.0, 0.0], rtol=1e-6, atol=1e-4, variable=variable, log=log)
    assert run.nfe == 6 * len(log) + 2
    assert run.times[-1] == 0 and run.times[-2] == pytest.approx(1e-4, rel=1e-9)
    assert torch.allclose(run.x, GaussianFlow(schedule, std=0.5).map(x, 10.0, 0.0), atol=1e-3)


# --- implicit methods and stability ---------------------------------------------------------------------


def linear_rates(schedule, times, std, variable):
    """(u, scale, a) with dy/du = a y on data N(0, std^2), from `stiffness` and one step of size 1 more."""
    u, scale, p, q = flow_coefficients(schedule, times, variable)
    alpha, sigma = schedule.alpha(np.array(times)), schedule.sigma(np.array(times))
    return u, scale, p + q * scale * sigma / (alpha**2 * std**2 + sigma**2)


@by_schedule
@by_variable
@pytest.mark.parametrize("std", [0.02, 0.7])
def test_linear_problems_solved_by_hand(schedule, variable, std):
    """On one Gaussian each step is a division: y' = y / (1 - h a'), and (1 + h a / 2) / (1 - h a' / 2)."""
    times = grids.karras(schedule, 9, end=max(schedule.end, 0.05)).tolist()
    u, scale, a = linear_rates(schedule, times, std, variable)
    h, x = np.diff(u), initial_noise(4, 2, dtype=torch.float64)
    model = Mixture.gaussian(2, std).model(schedule)
    gains = {
        euler: np.prod(1 + h * a[:-1]),
        implicit_euler: np.prod(1 / (1 - h * a[1:])),
        trapezoid: np.prod((1 + h * a[:-1] / 2) / (1 - h * a[1:] / 2)),
        heun: np.prod(1 + h / 2 * (a[:-1] + a[1:] + h * a[:-1] * a[1:])),
    }
    for solver, gain in gains.items():
        got = sample(solver, model, x, times, variable=variable).x
        assert torch.allclose(got, scale[-1] / scale[0] * gain * x, rtol=1e-9, atol=1e-12)
    assert stiffness(schedule, times, std, variable) == pytest.approx(h * a[:-1], rel=1e-12)
    assert stiffness(schedule, times, std, variable, at="end") == pytest.approx(h * a[1:], rel=1e-12)
    with pytest.raises(ValueError, match="start or end"):
        stiffness(schedule, times, std, variable, at="middle")


def test_newton_s_iterations_solve_the_implicit_equation():
    """The residual of y' = y + h slope(y') falls with each round on a mixture, to round-off; where the step
    is long, one Jacobian serves several rounds."""
    schedule, (t, s) = VP(), levels(VP(), 5.0, 0.5)
    model = RING.model(schedule)
    for seed in (0, 1):
        x = noisy(schedule, RING, t, seed=seed)
        times, residuals = [t, (t + s) / 2, s], []
        flow = ProbabilityFlow(model, times[:2], "t")
        for rounds in (1, 2, 4, 8):
            y = sample(implicit_euler, model, x, times[:2], iterations=rounds).x
            residuals.append(float((y - x - (times[1] - t) * flow.slope(y, 1)).abs().max()))
        assert residuals[0] > residuals[1] > residuals[2] and residuals[3] < 1e-10


def test_calls_of_the_implicit_methods():
    model, x = RING.model(VP()), noisy(VP(), RING, 1.0, 2)
    for steps, rounds in [(3, 1), (4, 2), (2, 5)]:
        times = grids.uniform(VP(), steps)
        for solver in IMPLICIT:
            nfe = sample(solver, model, x, times, iterations=rounds).nfe
            assert (
                nfe == solver.nfe(steps, iterations=rounds) == steps * (rounds + (solver is trapezoid))
            )


THIN = VE(1e-3, 1e3)  # far wider than the data: dy/dlambda = -y, all the way


def gain(solver, steps, variable="lam", schedule=THIN, std=1e-9):
    x = torch.ones(1, 1, dtype=torch.float64)
    times = grids.uniform_lambda(schedule, steps)
    return float(sample(solver, Mixture.gaussian(1, std).model(schedule), x, times, variable=variable).x)


@pytest.mark.parametrize("solver", [*EXPLICIT, *IMPLICIT], ids=lambda s: s.__name__)
@pytest.mark.parametrize("steps", [3, 5, 7, 8, 20])
@pytest.mark.parametrize("variable", ["lam", "t"])
def test_stability_functions_are_what_the_solvers_do(solver, steps, variable):
    z = stiffness(THIN, grids.uniform_lambda(THIN, steps), 1e-9, variable)
    assert z == pytest.approx(-math.log(1e6) / steps, rel=1e-9)  # in t of VE as well: t is affine in lambda
    want = STABILITY[solver.__name__](z[0]) ** steps
    assert gain(solver, steps, variable) == pytest.approx(want, rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("solver, limit", [(euler, 2.0), (heun, 2.0), (midpoint, 2.0), (rk4, 2.78529)])
def test_the_largest_stable_step_from_both_sides(solver, limit):
    edge = brentq(lambda z: abs(STABILITY[solver.__name__](-z)) - 1, 1.5, 4)
    assert edge == pytest.approx(limit, rel=1e-5)
    for steps in (4, 6, 10):
        for factor, grows in [(0.98, False), (1.02, True)]:
            schedule = VE(1.0, math.exp(steps * edge * factor))
            assert (abs(gain(solver, steps, schedule=schedule)) > 1) == grows
            for implicit in IMPLICIT:
                assert abs(gain(implicit, steps, schedule=schedule)) < 1


def test_where_euler_explodes_the_implicit_methods_do_not():
    """Over ten steps of three times the stable size Euler grows a thousandfold and more, along a direction
    in which the exact solution has all but vanished."""
    schedule = VE(1.0, math.exp(60.0))
    assert abs(gain(euler, 10, schedule=schedule)) > 1e6 < abs(gain(rk4, 10, schedule=schedule))
    assert 0 < gain(implicit_euler, 10, schedule=schedule) < 1e-6
    assert abs(gain(trapezoid, 10, schedule=schedule)) < 1e-2
    assert abs(gain(euler, 10, "sigma", schedule)) < 1e-6  # in sigma the same steps are harmless: |z| < 1


def test_euler_s_gain_at_each_step_is_predicted_by_stiffness():
    """Also where z changes along the way; VP, in t."""
    times = grids.uniform(VP(), 12, end=0.02).tolist()
    z = stiffness(VP(), times, 0.05)
    model, x = Mixture.gaussian(1, 0.05).model(VP()), torch.ones(1, 1, dtype=torch.float64)
    path = sample(euler, model, x, times, keep_path=True).path[:, 0, 0]
    assert (path[1:] / path[:-1]).numpy() == pytest.approx(STABILITY["euler"](z), rel=1e-10)


# --- inversion ------------------------------------------------------------------------------------------


@pytest.mark.slow
@some_schedules
@by_variable
def test_rk4_round_trip(schedule, variable):
    """Encoding and decoding on one grid returns to the data, up to an error of order 4."""
    model, (t, s) = RING.model(schedule), levels(schedule, 5.0, 0.2)
    seed = seed_of(type(schedule).__name__, variable)
    x, errors, steps = noisy(schedule, RING, s, seed=seed), [], [32, 64, 128]
    for n in steps:
        times = grids.uniform_lambda(schedule, n, t, s)
        latent = sample(rk4_invert, model, x, times, variable=variable)
        assert latent.times == times.tolist()[::-1] and latent.nfe == 4 * n
        assert torch.allclose(latent.x, reference(model, x, s, t), atol=0.01)
        errors.append(float((sample(rk4, model, latent.x, times, variable=variable).x - x).abs().max()))
    assert errors[-1] < 1e-5 and slope(steps, errors) > 3.7


@pytest.mark.parametrize("schedule", [VP(), EDM(), Discrete.linear()], ids=lambda s: type(s).__name__)
def test_rk4_round_trip_from_clean_data(schedule):
    """From sigma = 0 the first step is Euler's in kappa; the smaller it is, the closer the return."""
    model = Mixture.gaussian(2, 0.5).model(schedule)
    x, errors = 0.5 * initial_noise(6, 2, dtype=torch.float64), []
    for kappa in (0.1, 0.01):
        t, s = levels(schedule, 5.0, kappa)
        times = [*grids.uniform_lambda(schedule, 60, t, s).tolist(), 0.0]
        latent = sample(rk4_invert, model, x, times).x
        assert torch.allclose(latent, GaussianFlow(schedule, std=0.5).map(x, 0.0, t), rtol=0.1)
        errors.append(float((sample(rk4, model, latent, times).x - x).abs().max()))
    assert errors[1] < 0.02 * errors[0] < 0.01  # the jump errs by the square of its size


# --- likelihood -----------------------------------------------------------------------------------------


def eight_dimensional(seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((3, 8, 8)) * 0.25
    means = rng.standard_normal((3, 8)) * 0.7
    return Mixture([0.5, 0.3, 0.2], means, covariances=roots @ roots.swapaxes(1, 2) + 0.05 * np.eye(8))


@pytest.mark.slow
@by_variable
@pytest.mark.parametrize("schedule", [VP(), VE(), EDM(), Flow()], ids=lambda s: type(s).__name__)
def test_likelihood_is_exact(schedule, variable):
    data = (RING, eight_dimensional())[seed_of(type(schedule).__name__, variable) % 2]
    model, (t, s) = data.model(schedule), levels(schedule, 20.0, 0.1)
    x, times = noisy(schedule, data, s, 4, seed=1), grids.uniform_lambda(schedule, 64, t, s)
    got, latent = log_likelihood(model, x, times, variable=variable, prior=lambda z: model.log_prob(z, t))
    want = data.log_prob(x, schedule.alpha(s), schedule.sigma(s))
    assert torch.allclose(got, want, atol=1e-3)
    assert torch.allclose(latent, reference(model, x, s, t), atol=1e-4 * schedule.sigma(t))


@pytest.mark.parametrize("variable", VARIABLES)
def test_likelihood_s_error_is_of_order_four(variable):
    model, (t, s) = RING.model(VP()), levels(VP(), 5.0, 0.2)
    x, steps = noisy(VP(), RING, s, 16), [16, 32, 64]
    want = model.log_prob(x, s)
    errors = [
        float(
            (
                log_likelihood(
                    model, x, grids.uniform_lambda(VP(), n, t, s), variable=variable,
                    prior=lambda z: model.log_prob(z, t),
                )[0] - want
            ).square().mean().sqrt()
        )
        for n in steps
    ]  # fmt: skip
    assert slope(steps, errors) == pytest.approx(4, abs=0.3)


def test_the_default_prior_is_the_noise():
    """N(0, sigma^2 I) at the start: for data of this size and VP's start it is off by less than 0.01 nat."""
    for schedule in (VP(), VE(), EDM()):
        end = 0.1 if schedule.start == 1 else 0.5
        x = noisy(schedule, RING, end, 8)
        got, _ = log_likelihood(RING.model(schedule), x, grids.uniform_lambda(schedule, 150, end=end))
        assert torch.allclose(got, RING.model(schedule).log_prob(x, end), atol=0.01)


def test_hutchinson_is_unbiased_and_its_variance_falls_with_probes(seed):
    data = eight_dimensional(seed)
    model, (t, s) = data.model(VP()), levels(VP(), 10.0, 0.2)
    x, times = noisy(VP(), data, s, 1, seed).expand(150, 8), grids.uniform_lambda(VP(), 8, t, s)
    exact = log_likelihood(model, x[:1], times)[0]
    spread = {}
    for probes in (1, 4):  # equal rows, each with signs of its own: 150 estimates at once
        values = log_likelihood(model, x, times, "hutchinson", probes, seed)[0]
        spread[probes] = float(values.std())
        assert abs(float(values.mean() - exact)) < 4 * spread[probes] / math.sqrt(len(x))
    assert spread[1] > 0.01
    assert spread[1] / spread[4] == pytest.approx(2, rel=0.3)


def test_hutchinson_needs_one_probe_where_the_jacobian_is_a_multiple_of_the_identity():
    model, x = Mixture.gaussian(6, 0.5).model(VP()), initial_noise(5, 6, dtype=torch.float64)
    times = grids.uniform(VP(), 20, end=0.1)
    one, two = log_likelihood(model, x, times)[0], log_likelihood(model, x, times, "hutchinson", seed=3)[0]
    assert torch.allclose(one, two, atol=1e-10)


# --- bad input ------------------------------------------------------------------------------------------


X = initial_noise(2, 2, dtype=torch.float64)
AT_1 = RING.model(Flow())
NAN = Network(lambda x, c: x * math.nan, VP())


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: sample(euler, m, X, [1.0, 0.5], variable="s"), "must be one of t, sigma, lam; got 's'"),
        (lambda m: sample(rk45, m, X, [1.0, 0.5], variable="kappa"), "variable must be"),
        (lambda m: sample(midpoint, m, X, [1.0, 0.5], variable="lam", mean="geometric"), "mean must be"),
        (lambda m: sample(midpoint, m, X, [1.0, 0.5], mean="harmonic"), "mean must be.*got 'harmonic'"),
        (lambda m: list(euler.loop(AT_1, X, [1.0, 0.5], "sigma")), "alpha is 0 at t = 1"),
        (lambda m: list(euler.loop(AT_1, X, [1.0, 0.5], "t")), "alpha is 0 at t = 1"),
        (lambda m: list(heun.loop(AT_1, X, [1.0, 0.5], "lam")), "start the grid a little later"),
        (lambda m: sample(rk45, AT_1, X, [1.0, 0.5]), "start the grid a little later"),
        (lambda m: sample(rk45, NAN, X, [1.0, 0.5]), "error of a step at t = 1 is NaN"),
        (lambda m: sample(implicit_euler, m, X, [1.0, 0.5], iterations=0), "at least 1, got 0"),
        (lambda m: log_likelihood(m, X, [1.0, 0.5], divergence="exactly"), "got 'exactly'"),
        (lambda m: log_likelihood(m, X, [1.0, 0.5], "hutchinson", probes=0), "probes must be a whole"),
        (lambda m: log_likelihood(m, X, [1.0, 0.5, 0.0]), "sigma > 0"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call(RING.model(VP()))
    assert len(str(problem.value).splitlines()) == 1
