"""Claims of chapter 4: DPM-Solver and its family.

The truth is a mixture's probability flow, solved to twelve digits (`convergence.reference`), the closed flow
of a Gaussian, or algebra.  Each experiment takes no argument and returns a dict label -> number; what
figures draw comes from functions that return curves.
"""

import math
from functools import cache, partial

import numpy as np
import torch

from book.claims import claim, recorded, show  # noqa: F401 - the chapter prints with show
from book.problems import RING, WIDE_RING, RoundedClock, mistake, moderate, rms
from toolkit import EDM, VE, VP, GaussianFlow, Mixture, VPCosine, grids, initial_noise, sample
from toolkit.convergence import ode_errors, reference, slope, weak_errors
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm
from toolkit.dpm_solver import (
    divided_coefficients,
    dpm_solver_1,
    dpm_solver_2,
    dpm_solver_3,
    dpm_solver_adaptive,
    dpmpp_2m,
    dpmpp_2m_coefficients,
    dpmpp_2s,
    dpmpp_3m,
    dpmpp_3m_divided,
    embedded,
    sde_dpmpp_1,
    sde_dpmpp_2m,
    sde_dpmpp_3m,
)
from toolkit.exponential import adams_table, carry, phi, position, run_table
from toolkit.models import Guided, Thresholded
from toolkit.multistep import deis, equal_steps_table, exponential_ab, ipndm, pndm, sa_solver, unipc
from toolkit.ode import heun, midpoint, rk4

DOUBLE = {"dtype": torch.float64}
FIVE = Mixture(
    [0.15, 0.25, 0.2, 0.25, 0.15],
    [[1.2, 0.3], [-0.4, 1.1], [-1.1, -0.5], [0.5, -1.0], [0.0, 0.1]],
    [0.45, 0.5, 0.55, 0.6, 0.65],
)  # five broad modes that overlap: every solver shows its order here


def far(d=64):
    """Two narrow, unequal modes far apart in d dimensions, along the diagonal."""
    means = 0.5 * torch.tensor([[-1.0], [1.0]], dtype=torch.float64).expand(2, d)
    return Mixture([0.3, 0.7], means, [0.1, 0.1])


# label: (sampler, calls a step, options)
SINGLE = {
    "DDIM = DPM-1": (ddim, 1, {}),
    "DPM-2": (dpm_solver_2, 2, {}),
    "DPM-3": (dpm_solver_3, 3, {}),
    "Heun, σ/α": (heun, 2, {"variable": "sigma"}),
    "++2S": (dpmpp_2s, 2, {}),
}
MULTI = {
    "++2M": (dpmpp_2m, 1, {}),
    "++3M": (dpmpp_3m, 1, {}),
    "3M, divided": (dpmpp_3m_divided, 1, {}),
    "UniPC-2": (unipc, 1, {"order": 2}),
    "UniPC-3": (unipc, 1, {}),
}
NOISE = {
    "DEIS-tAB-3": (deis, 1, {}),
    "DEIS-ρAB-3": (deis, 1, {"variant": "rhoab"}),
    "iPNDM-4": (ipndm, 1, {}),
    "iPNDM-4, true steps": (ipndm, 1, {"variable_step": True}),
    "PNDM": (pndm, 1, {}),
}
SOLVERS = SINGLE | MULTI | NOISE
BUDGETS = (5, 10, 20, 50, 100, 200, 500, 1000)


def steps_for(solver, nfe):
    """How many steps of a row of `SOLVERS` fit into nfe calls (PNDM starts with three steps of four)."""
    loop, cost, _ = solver
    return nfe - 9 if loop is pndm else nfe // cost


@cache
def truth(n=64, problem="five"):
    """(model, starts, exact ends) on `FIVE`, the ring, or `far`; VP's whole interval."""
    mixture = {"five": FIVE, "ring": RING, "far": far()}[problem]
    model, x = mixture.model(VP()), initial_noise(n, mixture.d, 0, **DOUBLE)
    return model, x, reference(model, x, VP().start, VP().end)


@cache
def curves(names=tuple(SOLVERS), budgets=BUDGETS, problem="five", n=64, grid=grids.uniform_lambda):
    """Error against calls: dict solver -> `ode_errors`; at least one step, and at equal calls."""
    model, x, want = truth(n, problem)
    found = {}
    for name in names:
        loop, _, options = SOLVERS[name]
        counts = [k for k in (steps_for(SOLVERS[name], b) for b in budgets) if k > 0]
        found[name] = ode_errors(loop, model, x, counts, grid, want=want, **options)
    return found


def order_of(errors, first=3, last=None, key="rmse"):
    """The slope of an `ode_errors` dict over its budgets first:last, above rounding."""
    pairs = [(n, e) for n, e in zip(errors["nfe"], errors[key]) if e > 3e-10][first:last]
    return slope(*zip(*pairs))


# ---- the equation ----------------------------------------------------------------------------------------


@claim(
    "T27, T28",
    source="Textbook, sections 8.3.1 and 8.3.2",
    says="An exponential integrator solves the linear part of the ODE exactly.",
    holds=lambda r: r["variation of constants"] < 1e-9 < r["Euler in t"],
    verdict=True,
    finding="With eps frozen one step of any length is exact; Euler in t errs, and with the levels "
    "alpha and sigma read as the coefficients f and g^2 / 2 sigma it solves another equation.",
)
def frozen(t=0.8, s=0.3):
    """One step from t to s with eps held constant, against the exact result of that frozen equation, solved
    by RK4: of variation of constants, of Euler in t, and of the summary's formula (with g for g^2 / 2 and
    the signs of its exponents reversed)."""
    schedule = VP()
    x, eps = initial_noise(50, 1, 0, **DOUBLE), initial_noise(50, 1, 1, **DOUBLE)
    drift = lambda y, u: schedule.f(u) * y + schedule.g2(u) / (2 * schedule.sigma(u)) * eps
    y, times = x, np.linspace(t, s, 801)
    for a, b in zip(times, times[1:]):
        h, m = b - a, (a + b) / 2
        k1 = drift(y, a)
        k2 = drift(y + h / 2 * k1, m)
        k3 = drift(y + h / 2 * k2, m)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + drift(y + h * k3, b))
    h = schedule.lam(s) - schedule.lam(t)
    ours = schedule.alpha(s) / schedule.alpha(t) * x - schedule.sigma(s) * math.expm1(h) * eps
    literal = x + (s - t) * (schedule.alpha(t) * x + schedule.sigma(t) * eps)
    return {
        "variation of constants": rms(ours - y),
        "Euler in t": rms(x + (s - t) * drift(x, t) - y),
        "Euler in t, with alpha and sigma for f and g^2 / 2 sigma": rms(literal - y),
    }


@claim(
    "BS32, S29",
    source="Summary, option 3",
    says="The exponential step is e^(-beta h / 2) x plus an integral of g times the score.",
    holds=lambda r: r["printed: slope of the one-step error"] > 1.9,
    verdict=False,
    finding="Backwards in time the exponent is positive, the factor is g^2 / 2, and the kernel grows the "
    "other way. As printed the error of one step falls only like h, so it does not converge; set "
    "right, like h^2.",
)
def summary_formula(counts=(50, 100, 200, 400)):
    """The summary's printed exponential step, e^(-beta h / 2) x + int e^(...) g score, and the right one with
    the score frozen: local error when the step is halved, on N(0, 1/4) from t = 0.5."""
    schedule, t = VP(), 0.5
    x = initial_noise(100, 1, 0, **DOUBLE)
    score = Mixture.gaussian(1, 0.5).model(schedule).score(x, t)
    flow = GaussianFlow(schedule, std=0.5)
    found = {"printed": [], "right": []}
    for n in counts:
        h = 1 / n
        half = math.log(schedule.alpha(t - h) / schedule.alpha(t))  # int beta / 2 over the step
        u = t - h + h * (np.polynomial.legendre.leggauss(20)[0] + 1) / 2
        w = h * np.polynomial.legendre.leggauss(20)[1] / 2
        kernel = schedule.alpha(t - h) / schedule.alpha(u)
        right = math.exp(half) * x + 0.5 * float((w * kernel * schedule.g2(u)).sum()) * score
        printed = math.exp(-half) * x + float((w / kernel * np.sqrt(schedule.g2(u))).sum()) * score
        want = flow.map(x, t, t - h)
        found["right"].append(rms(right - want))
        found["printed"].append(rms(printed - want))
    return {
        f"{name}: slope of the one-step error": slope(counts, errors) for name, errors in found.items()
    } | {f"{name}: error at h = {1 / counts[0]:g}": errors[0] for name, errors in found.items()}


# ---- lambda and t ------------------------------------------------------------------------------------------


@cache
def lambda_or_t(n=64):
    """Two-prediction exponential Adams-Bashforth in eps with the line in lambda or in t, on four grids: dict
    grid, calls -> (error with lambda, error with t)."""
    model, x, want = truth(n, "ring")
    found = {}
    for name, grid in GRIDS.items():
        for steps in (20, 40, 80, 320, 640):
            ends = [
                sample(exponential_ab, model, x, grid(VP(), steps), order=2, prediction="eps", variable=v).x
                for v in ("lam", "t")
            ]
            found[name, steps] = tuple(rms(end - want) for end in ends)
    return found


GRIDS = {
    "uniform t": grids.uniform,
    "quadratic": grids.quadratic,
    "uniform λ": grids.uniform_lambda,
    "Karras": grids.karras,
}


@claim(
    "BT18, T29",
    source="Textbook, section 8.3.3",
    says="DPM-Solver expands the network in powers of time, and it makes no difference in what one "
    "expands.",
    holds=lambda r: all(
        0.8 < r[f"{g}, {n} calls, line in λ"] / r[f"{g}, {n} calls, line in t"] < 1.25
        for g in GRIDS
        for n in (20, 40, 80)
    ),
    verdict=False,
    finding="It expands in lambda; a polynomial in t is DEIS's choice. The order is the same, the "
    "constant is not: lambda errs by a quarter to a half less, but with 20 or 40 equal steps in t a "
    "polynomial in t is ahead.",
)
def expansion():
    """`lambda_or_t` as labels and numbers, and the slopes of its last doubling."""
    found = {
        f"{grid}, {steps} calls, line in {v}": e
        for (grid, steps), pair in lambda_or_t().items()
        for v, e in zip(("λ", "t"), pair)
    }
    last = lambda grid, v: [found[f"{grid}, {n} calls, line in {v}"] for n in (320, 640)]
    return found | {f"{g}: slope, line in {v}": slope((320, 640), last(g, v)) for g in GRIDS for v in "λt"}


# ---- phi ---------------------------------------------------------------------------------------------------


def naive_phi(k, z, dtype=np.float64):
    """phi_k by its recursion as it stands, in this precision."""
    z = np.asarray(z, dtype=dtype)
    value = np.exp(z)
    for j in range(k):
        value = (value - dtype(1 / math.factorial(j))) / z
    return value


def true_phi(k, z):
    """phi_k at one number, with 60 digits."""
    import mpmath

    with mpmath.workdps(60):
        z = mpmath.mpf(float(z))
        value = mpmath.exp(z)
        for j in range(k):
            value = (value - 1 / mpmath.factorial(j)) / z
        return float(value)


def phi_errors(k=3, points=41):
    """Relative errors of phi_k: z, and dict label -> errors."""
    z = np.logspace(-6, 1, points)
    truth = np.array([true_phi(k, v) for v in z])
    single = z.astype(np.float32).astype(float)
    found = {
        "recursion, float64": naive_phi(k, z),
        "recursion, float32": naive_phi(k, z, np.float32).astype(float) * truth
        / np.array([true_phi(k, v) for v in single]),
        "toolkit.exponential.phi": phi(k, z),
    }  # fmt: skip
    return z, {name: np.abs(value / truth - 1) + 1e-17 for name, value in found.items()}


# ---- identities --------------------------------------------------------------------------------------------


@cache
def identities(steps=12, schedule=None):
    """Largest differences between samplers that are one method, on the ring, the same start, 12 steps."""
    schedule = schedule or VP()
    model, x = RING.model(schedule), initial_noise(60, 2, 0, **DOUBLE) * schedule.sigma(schedule.start)
    times = grids.uniform_lambda(schedule, steps)
    rho1 = grids.karras(schedule, steps, rho=1.0)
    end = lambda loop, grid=times, **o: sample(loop, model, x, grid, **o).x
    ab = partial(end, exponential_ab)
    first = sample(ddim, model, x, times[:3], keep_path=True)  # three states, from which both of two go on
    history = list(zip(first.times, first.path))[:2]
    onward = lambda loop, **o: sample(loop, model, first.x, times[2:], history=history, **o).x
    found = {
        "DPM-Solver-1 = DDIM": end(dpm_solver_1) - end(ddim),
        "exponential AB-1, data prediction = DDIM": ab(order=1) - end(ddim),
        "DPM-Solver-2 = geometric midpoint in σ/α": end(dpm_solver_2)
        - end(midpoint, variable="sigma", mean="geometric"),
        "2M, exact form = AB-2 (x0, λ)": end(dpmpp_2m, form="exact") - ab(order=2),
        "3M = AB-3 (x0, λ)": end(dpmpp_3m) - ab(order=3),
        "DEIS-tAB-3 = AB-3 (eps, t)": end(deis) - ab(order=3, prediction="eps", variable="t"),
        "DEIS-ρAB-4 = iPNDM-4 with true steps": end(deis, order=4, variant="rhoab")
        - end(ipndm, variable_step=True),
        "iPNDM-4 = DEIS-ρAB-4 on equal steps in σ/α": end(ipndm, rho1)
        - end(deis, rho1, order=4, variant="rhoab"),
        "UniP-2 (bh2) = 2M, midpoint form": end(unipc, order=2, corrector=False) - end(dpmpp_2m),
        "UniP-3 - 3M, second step apart": onward(unipc, order=3, corrector=False) - onward(dpmpp_3m),
        "SA-Solver (τ = 0, predictor only) = 3M": end(sa_solver, tau=0.0, corrector=False) - end(dpmpp_3m),
        "SDE-DPM-Solver++1 = DDIM with η = 1": end(sde_dpmpp_1, seed=3) - end(ddim, eta=1.0, seed=3),
    }
    return {name: float(gap.abs().max()) for name, gap in found.items()}


@claim(
    "C14",
    source="Textbook, section 8.3.3",
    says="DPM-Solver-1 is DDIM.",
    holds=lambda r: max(r.values()) < 1e-12,
    verdict=True,
    finding="To rounding, on every schedule tried.",
)
def first_is_ddim():
    """DPM-Solver-1 against DDIM on four schedules, ring, 12 steps: largest differences over the size of the
    state at the start."""
    found = {}
    for schedule in (VP(), VPCosine(), VE(), EDM()):
        scale = schedule.sigma(schedule.start)
        found[type(schedule).__name__] = identities(schedule=schedule)["DPM-Solver-1 = DDIM"] / scale
    return found


@claim(
    "C15, B06",
    source="Blog, on DPM-Solver-2",
    says="DPM-Solver-2 evaluates at the geometric mean of its two times.",
    holds=lambda r: abs(r["VP: middle / sqrt(t s) - 1"]) < 1e-9,
    verdict=False,
    finding="At the geometric mean of the two values of sigma / alpha, and then it is the midpoint "
    "method in that variable. Only where time is sigma / alpha itself, as in EDM, is that the mean of "
    "the times; and r1 must be 1/2.",
)
def geometric_mean():
    """The middle of DPM-Solver-2's step from t = 0.6 to 0.4, against the geometric mean, in t and in sigma /
    alpha; VP and VE."""
    found = {}
    for schedule in (VP(), EDM()):
        t, s = (0.6, 0.4) if isinstance(schedule, VP) else (6.0, 4.0)
        middle = float(schedule.t_of_lam((schedule.lam(t) + schedule.lam(s)) / 2))
        kappa = [math.exp(-schedule.lam(u)) for u in (t, s, middle)]
        name = type(schedule).__name__
        found[f"{name}: middle / sqrt(t s) - 1"] = middle / math.sqrt(t * s) - 1
        found[f"{name}: the same in σ/α"] = kappa[2] / math.sqrt(kappa[0] * kappa[1]) - 1
    return found | {
        "DPM-2 - geometric midpoint in σ/α": identities()["DPM-Solver-2 = geometric midpoint in σ/α"],
        "DPM-2 - Heun in σ/α": rms(_pair(dpm_solver_2) - _pair(heun, variable="sigma")),
        "DPM-2 - arithmetic midpoint": rms(_pair(dpm_solver_2) - _pair(midpoint, variable="sigma")),
    }


def _pair(loop, steps=12, **options):
    x = initial_noise(60, 2, 0, **DOUBLE)
    return sample(loop, RING.model(VP()), x, grids.uniform_lambda(VP(), steps), **options).x


@claim(
    "BT13",
    source="Textbook, section 8.2.4, table of solvers",
    says="DPM-Solver-3 is a linear multistep method.",
    holds=lambda r: r["DPM-Solver-3: change by beginning again"] > 1e-6,
    verdict=False,
    finding="It is a single-step method: three calls a step, no memory. Beginning again from a state in "
    "the middle changes nothing; with 2M, which is multistep, it does.",
)
def keeps_no_history():
    """DPM-Solver-3 and 2M: calls of a step, and how much the result changes if the run is stopped half-way
    and begun again from its state."""
    model, x = RING.model(VP()), initial_noise(50, 2, 0, **DOUBLE)
    times, found = grids.uniform_lambda(VP(), 10), {}
    for name, loop in (("DPM-Solver-3", dpm_solver_3), ("DPM-Solver++(2M)", dpmpp_2m)):
        whole = sample(loop, model, x, times, keep_path=True)
        again = sample(loop, model, whole.path[5], times[5:])
        found[f"{name}: calls a step"] = whole.nfe / 10
        found[f"{name}: change by beginning again"] = float((again.x - whole.x).abs().max())
    return found


# ---- orders ------------------------------------------------------------------------------------------------


@cache
def one_step(sizes=(0.4, 0.2, 0.1, 0.05, 0.025), n=50):
    """Errors of one step of length h in lambda from an exact state at sigma / alpha = 1: (h, dict solver ->
    errors)."""
    schedule = VP()
    model = FIVE.model(schedule)
    s = float(schedule.t_of_lam(0.0))
    x = reference(model, initial_noise(n, 2, 0, **DOUBLE), schedule.start, s)
    methods = {
        "DPM-1": (dpm_solver_1, {}),
        "DPM-2, $r_1=1/2$": (dpm_solver_2, {}),
        "++2S": (dpmpp_2s, {}),
        "DPM-3, $r_2=2/3$": (dpm_solver_3, {}),
        "DPM-3, $r_2=1/2$": (dpm_solver_3, {"r2": 0.5}),
    }
    found = {name: [] for name in methods}
    for h in sizes:
        t = float(schedule.t_of_lam(h))
        want = reference(model, x, s, t)
        for name, (loop, options) in methods.items():
            found[name].append(rms(sample(loop, model, x, [s, t], **options).x - want))
    return sizes, found


@claim(
    "T40",
    source="Textbook, exercise 8.3.4a",
    says="One step of DPM-Solver-k errs by h^(k+1).",
    holds=lambda r: all(
        abs(r[k] - v) < 0.15
        for k, v in (("DPM-1", 2), ("DPM-2, r_1=1/2", 3), ("++2S", 3), ("DPM-3, r_2=2/3", 4))
    ),
    verdict=True,
    finding="Slopes 2, 3 and 4. In DPM-Solver-3 only with r2 = 2/3: with 1/2 a step errs by h^3, and an "
    "order is lost.",
)
def local_orders():
    """The slope of each one-step error."""
    sizes, found = one_step()
    return {name.replace("$", ""): -slope(sizes[1:], errors[1:]) for name, errors in found.items()}


@claim(
    "C16, T35",
    source="Textbook, exercise 8.3.1",
    says="DPM-Solver-1, 2, 3 are of order 1, 2, 3; 2S and 2M of order 2.",
    holds=lambda r: all(
        abs(r[k] - v) < 0.1
        for k, v in (("DDIM = DPM-1", 1), ("DPM-2", 2), ("DPM-3", 3), ("++2S", 2), ("++2M", 2))
    ),
    verdict=True,
    finding="On an exact model, away from both ends of time, within 0.1; 3M and DEIS-3 reach 3 with a "
    "start of matching order, and UniPC-3 with its corrector 4.",
)
def measured_orders():
    """Slopes over 64 to 256 steps between sigma / alpha = 5 and 0.2 on eight broad modes, uniform in lambda;
    multistep methods with a start of matching order."""
    start, end = moderate()
    model, x = WIDE_RING.model(VP()), initial_noise(40, 2, 0, **DOUBLE)
    want = reference(model, x, start, end)
    found = {}
    for name, (loop, _, options) in SOLVERS.items():
        if name in ("Heun, σ/α", "3M, divided", "PNDM", "iPNDM-4, true steps", "UniPC-2"):
            continue
        options = options | getattr(loop, "needs", {})
        errors = ode_errors(loop, model, x, (64, 128, 256), start=start, end=end, want=want, **options)
        found[name] = slope(errors["steps"], errors["rmse"])
    return found


@claim(
    "BS34",
    source="Summary, comparison of solvers",
    says="DPM-Solver works for linear noise schedules only.",
    holds=lambda r: any(abs(v - int(k[-1])) > 0.1 for k, v in r.items() if "DPM-Solver-" in k),
    verdict=False,
    finding="It needs lambda(t) to be invertible, nothing else. In x / alpha a step knows the schedule "
    "by its two values of lambda only, so that on equal steps in lambda all schedules give one result; "
    "on equal steps in t the orders are 1, 2 and 3 on the cosine schedule and on VE.",
)
def other_schedules():
    """Slopes of DPM-Solver-1, 2, 3 over 64 to 256 equal steps in t, on the cosine schedule and on VE; and
    the largest difference of x / alpha between the two with 12 equal steps in lambda."""
    found, ends = {}, []
    for schedule in (VPCosine(), VE()):
        start, end = moderate(schedule)
        model = WIDE_RING.model(schedule)
        x = initial_noise(40, 2, 0, **DOUBLE) * math.hypot(schedule.sigma(start), schedule.alpha(start))
        want = reference(model, x, start, end)
        for k, loop in enumerate((dpm_solver_1, dpm_solver_2, dpm_solver_3), 1):
            errors = ode_errors(loop, model, x, (64, 128, 256), grids.uniform, start, end, want)
            found[f"{type(schedule).__name__}, equal steps in t: DPM-Solver-{k}"] = slope(
                errors["steps"], errors["rmse"]
            )
        times = grids.uniform_lambda(schedule, 12, start=start, end=end)
        ends.append(sample(dpm_solver_3, model, x, times).x / schedule.alpha(end))
    return found | {"VPCosine - VE, x/α, equal steps in λ": float((ends[0] - ends[1]).abs().max())}


# ---- 2M and 3M ---------------------------------------------------------------------------------------------


def alternating(schedule, steps, start=None, end=None, ratio=3.0):
    """Steps in lambda that alternate ratio : 1; a rough grid, to be used in tests."""
    ends = [schedule.lam(schedule.start if start is None else start)]
    ends.append(schedule.lam(schedule.end if end is None else end))
    sizes = np.where(np.arange(steps) % 2 == 0, ratio, 1.0)
    where = np.concatenate([[0.0], np.cumsum(sizes) / sizes.sum()])
    times = np.array([float(schedule.t_of_lam(ends[0] + w * (ends[1] - ends[0]))) for w in where])
    times[0] = schedule.start if start is None else start
    times[-1] = schedule.end if end is None else end
    return torch.from_numpy(times)


@mistake
def blind_2m(model, x, times):
    """2M that knows no h_(i-1) and takes r = 1: 3/2 of the newest prediction less 1/2 of the one before."""
    rows = list(dpmpp_2m_coefficients(model.schedule, times))
    for i, row in enumerate(rows):
        if row.d_1:
            whole = row.d_0 + row.d_1
            rows[i] = row._replace(d_0=1.5 * whole, d_1=-0.5 * whole)
    yield from run_table(model, x, times, rows)


def inverted_2m_coefficients(schedule, times, form="midpoint"):
    """2M's steps with the quotient r upside down, h_i / h_(i-1), as code has it that confuses the two."""
    lam = schedule.lam(np.asarray(times))
    for i, row in enumerate(dpmpp_2m_coefficients(schedule, times, form=form)):
        if row.d_1:
            past = row.d_1 * ((lam[i] - lam[i - 1]) / (lam[i + 1] - lam[i])) ** 2
            row = row._replace(d_0=row.d_0 + row.d_1 - past, d_1=past)
        yield row


@mistake
def inverted_2m(model, x, times):
    """2M with `inverted_2m_coefficients`."""
    yield from run_table(model, x, times, list(inverted_2m_coefficients(model.schedule, times)))


def inverted_quotient(counts=(32, 64, 128, 256), n=50):
    """2M with r upside down: slope, and its error over that of 2M at the most steps, on three grids."""
    start, end = moderate()
    model, x = WIDE_RING.model(VP()), initial_noise(n, 2, 0, **DOUBLE)
    want, found = reference(model, x, start, end), {}
    for name, grid in (
        ("alternating 3:1", alternating), ("uniform t", grids.uniform), ("quadratic", grids.quadratic),
    ):  # fmt: skip
        wrong, right = (
            ode_errors(loop, model, x, counts, grid, start, end, want)["rmse"]
            for loop in (inverted_2m, dpmpp_2m)
        )
        found[f"r inverted, {name}: order"] = slope(counts[-3:], wrong[-3:])
        found[f"r inverted, {name}: error / 2M's"] = wrong[-1] / right[-1]
    return found


@cache
def without_memory_of_h(counts=(8, 16, 32, 64, 128, 256), n=50):
    """2M with and without h_(i-1), on the alternating grid and on equal steps in t: dict label -> (steps,
    errors)."""
    start, end = moderate()
    model, x = WIDE_RING.model(VP()), initial_noise(n, 2, 0, **DOUBLE)
    want, found = reference(model, x, start, end), {}
    for grid_name, grid in (("alternating 3:1", alternating), ("uniform t", grids.uniform)):
        for name, loop in (("2M", dpmpp_2m), ("2M, r = 1", blind_2m)):
            errors = ode_errors(loop, model, x, counts, grid, start, end, want)
            found[f"{name}, {grid_name}"] = errors["steps"], errors["rmse"]
    return found


@claim(
    "BT21, T32, E12",
    source="Textbook, section 8.3.4, listing",
    says="A second-order multistep step needs the last prediction, and nothing else, from the past.",
    holds=lambda r: r["2M, r = 1, alternating 3:1"] > 1.8,
    verdict=False,
    finding="It needs the length of the last step too. Without it the order is 1 on a grid whose steps "
    "alternate; smooth grids hide the mistake.",
)
def orders_without_h():
    """Slopes of `without_memory_of_h` over its finer half."""
    return {name: slope(n[-3:], e[-3:]) for name, (n, e) in without_memory_of_h().items()}


@claim(
    "D1",
    source="Official code, diffusers, k-diffusion, diff-sampler",
    says="The multistep third-order update found in libraries is of order 3.",
    holds=lambda r: r["3M, divided: order, 50 to 1000 calls"] > 2.8,
    verdict=False,
    finding="It is of order 2: a second divided difference stands where a second derivative, twice as "
    "large, belongs. With few calls the smaller extrapolation is the better one, up to six on five modes "
    "and up to 16 on digits, which is why nobody noticed.",
)
def factor_two():
    """Slopes of 3M and of the libraries' form, and their errors at few and many calls, on five modes."""
    found = curves(("++3M", "3M, divided"))
    at = lambda name, nfe: found[name]["rmse"][BUDGETS.index(nfe)]
    result = {f"{name}: order, 50 to 1000 calls": order_of(e) for name, e in found.items()}
    return result | {f"{name}: error, {n} calls": at(name, n) for n in (5, 10, 100, 200) for name in found}


def divided_few(calls=(4, 5, 6, 8, 12, 16, 24)):
    """3M and the libraries' form with few calls: dict problem -> dict solver -> errors at `calls`."""
    names = ("++2M", "++3M", "3M, divided")
    modes, network = curves(names, calls), digits_curves(calls, names=names)
    return {
        "five modes": {name: modes[name]["rmse"] for name in names},
        "digits": {name: network[name][1] for name in names},
    }


def _tables():
    """label -> (rows of (schedule, times), prediction, variable)."""
    ab = lambda p, v, k: (lambda s, t: adams_table(s, t, k, p, v), p, v)
    return {
        "2M, midpoint form": (dpmpp_2m_coefficients, "x0", "lam"),
        "2M, exact form": (lambda s, t: dpmpp_2m_coefficients(s, t, form="exact"), "x0", "lam"),
        "the same, r inverted": (lambda s, t: inverted_2m_coefficients(s, t, "exact"), "x0", "lam"),
        "3M": ab("x0", "lam", 3),
        "3M, divided": (divided_coefficients, "x0", "lam"),
        "DEIS-tAB-3": ab("eps", "t", 3),
        "DEIS-ρAB-4": ab("eps", "sigma", 4),
        "iPNDM-4": (lambda s, t: equal_steps_table(s, t, 4), "eps", "sigma"),
        "UniC-3 (corrector)": (
            lambda s, t: adams_table(s, t, 3, implicit=True), "x0", "lam"
        ),
    }  # fmt: skip


def exactness(degrees=(0, 1, 2, 3), steps=6):
    """Error of a method's last step, relative to the exact integral, when the prediction is v^m, v the
    method's own variable from 0 to 1 over the step, with exact history: dict method -> list over m.  No x is
    involved."""
    schedule, found = VP(), {}
    times = tuple(grids.quadratic(schedule, steps).tolist())
    s, t = np.array(times[-2:-1]), np.array(times[-1:])
    lam = schedule.lam(s), schedule.lam(t)
    u, w = np.polynomial.legendre.leggauss(60)
    inner = lam[0] + (lam[1] - lam[0]) * (u + 1) / 2
    for name, (build, prediction, variable) in _tables().items():
        weights = list(build(schedule, times))[-1].weights
        implicit = "UniC" in name
        nodes = np.array(times[::-1][0 if implicit else 1 :][: len(weights)])
        low, high = position(schedule, s, variable), position(schedule, t, variable)
        place = lambda v, low=low, high=high: (v - low) / (high - low)
        middle = {"lam": inner, "t": schedule.t_of_lam(inner), "sigma": np.exp(-inner)}[variable]
        _, (b,), _, (rate,) = carry(schedule, [times[-2], times[-1]], prediction)
        kernel = w / 2 * np.exp(-rate * (lam[1] - lam[0]) * (1 - u) / 2)
        found[name] = []
        for m in degrees:
            exact = b * float((kernel * place(middle) ** m).sum())
            ours = float(np.dot(weights, place(position(schedule, nodes, variable)) ** m))
            found[name].append(abs(ours / exact - 1))
    return found


# ---- what hides the order ----------------------------------------------------------------------------------


class WholeTimes(RoundedClock):
    """A network that knows whole steps out of 1000, under a solver that goes on reckoning with its own times
    (`RoundedClock`), for data prediction too."""

    def x0(self, x, t):
        return (x - self.schedule.sigma(t) * self.eps(x, t)) / self.schedule.alpha(t)


@cache
def whole_times(counts=(10, 20, 50, 100, 200, 500), n=64):
    """Errors of DDIM, 2M and UniPC-3 with and without whole time steps: dict label -> (calls, errors)."""
    model, x, want = truth(n)
    found = {}
    for name in ("DDIM = DPM-1", "++2M", "UniPC-3"):
        loop, _, options = SOLVERS[name]
        for label, asked in ((name, model), (f"{name}, whole steps", WholeTimes(model))):
            errors = ode_errors(loop, asked, x, counts, want=want, **options)
            found[label] = errors["nfe"], errors["rmse"]
    return found


@claim(
    "D5",
    source="diffusers, schedulers that round their time steps",
    says="Asking the network at the nearest whole time step costs a solver nothing.",
    holds=lambda r: r["UniPC-3, whole steps"] > 2.5,
    verdict=False,
    finding="The rounding is an error of its own that does not shrink with the step. DDIM's error hides "
    "it for long; that of a high order runs into it and stops.",
)
def whole_orders():
    """Slopes of `whole_times` over the finer half."""
    return {name: slope(n[-3:], e[-3:]) for name, (n, e) in whole_times().items()}


@cache
def hidden_switch(counts=tuple(range(4, 21)), below=10, n=64):
    """2M with its last step of order 1 below `below` steps, as libraries do it, never, and always, on equal
    steps in t: dict rule -> (steps, errors)."""
    model, x, want = truth(n)
    rules = {
        f"switch at {below} steps": lambda k: k < below,
        "last step of order 1": lambda k: True,
        "full order": lambda k: False,
    }
    error = lambda k, low: rms(sample(dpmpp_2m, model, x, grids.uniform(VP(), k), lower_last=low).x - want)
    return {name: (list(counts), [error(k, rule(k)) for k in counts]) for name, rule in rules.items()}


@claim(
    "D8",
    source="Official code and diffusers: lower_order_final",
    says="One step more never makes the result worse.",
    holds=lambda r: (
        r["switch at 10 steps: error at 10 steps"] <= r["switch at 10 steps: error at 9 steps"]
    ),
    verdict=False,
    finding="Where the order of the last step depends on the number of steps, the error jumps at the "
    "switch. With either rule kept there is no jump.",
)
def switch_jump():
    """Error at 9 and at 10 steps with the hidden switch; with either rule kept."""
    found = hidden_switch()
    return {
        f"{name}: error at {k} steps": errors[counts.index(k)]
        for name, (counts, errors) in found.items()
        for k in (9, 10)
    }


@cache
def to_zero(counts=(64, 256, 1024, 4096), std=0.5):
    """3M on N(0, std^2) down to t = 0, where lambda is infinite and the last step is a jump: dict grid ->
    (steps, errors)."""
    schedule, x = VP(), initial_noise(20, 1, 0, **DOUBLE)
    model = Mixture.gaussian(1, std).model(schedule)
    want = GaussianFlow(schedule, std=std).map(x, schedule.start, 0.0)
    error = lambda times: rms(sample(dpmpp_3m, model, x, times).x - want)
    found = {
        name: (list(counts), [error(grid(schedule, k, end=0.0)) for k in counts])
        for name, grid in (("uniform t", grids.uniform), ("quadratic", grids.quadratic))
    }
    cubic = lambda k: torch.linspace(1, 0, k + 1, dtype=torch.float64) ** 3
    return found | {"$t=u^3$": (list(counts), [error(cubic(k)) for k in counts])}


def orders_at_zero():
    """Slopes of `to_zero` at its fine end."""
    return {
        f"3M to t = 0, {name}".replace("$", ""): slope(n[-2:], e[-2:]) for name, (n, e) in to_zero().items()
    }


# ---- grids -------------------------------------------------------------------------------------------------


@cache
def grid_errors(nfe=20, n=64, problem="five"):
    """Errors at nfe calls: dict solver -> {grid -> error}."""
    model, x, want = truth(n, problem)
    found = {}
    for name in ("DDIM = DPM-1", "DPM-2", "++2M", "++3M", "UniPC-3", "iPNDM-4"):
        loop, cost, options = SOLVERS[name]
        found[name] = {
            label: rms(sample(loop, model, x, grid(VP(), nfe // cost), **options).x - want)
            for label, grid in GRIDS.items()
        }
    return found


@claim(
    "BB4, T38",
    source="Blog, on fast samplers; textbook, exercise 8.3.2c",
    says="Where the nodes are is not a key ingredient.",
    holds=lambda r: all(
        r[f"{name}, rho = 1"] < 2 * r[f"{name}, rho = 7"]
        for name in ("DDIM, 10 calls", "DPM-2, 20 calls", "2M, 40 calls")
    ),
    verdict=False,
    finding="On EDM's range equal steps in sigma cost each solver a factor of ten to hundreds.",
)
@cache
def nodes_matter():
    """EDM's schedule from 80 to 0.002 on the ring, equal steps in sigma (rho = 1) and in sigma^(1/7)."""
    schedule, found = EDM(), {}
    model = RING.model(schedule)
    x = 80 * initial_noise(100, 2, 0, **DOUBLE)
    want = reference(model, x, schedule.start, schedule.end)
    for name, loop, steps, nfe in (
        ("DDIM", ddim, 10, 10), ("DPM-2", dpm_solver_2, 10, 20), ("2M", dpmpp_2m, 40, 40),
    ):  # fmt: skip
        for rho in (1.0, 7.0):
            times = grids.karras(schedule, steps, rho=rho)
            found[f"{name}, {nfe} calls, rho = {rho:g}"] = rms(sample(loop, model, x, times).x - want)
    return found


# ---- few calls, and stability ------------------------------------------------------------------------------

FEW = (4, 6, 8, 12, 16, 24, 48, 96, 192)
FEW_SOLVERS = ("DDIM = DPM-1", "DPM-2", "DPM-3", "Heun, σ/α", "++2S", "++2M", "UniPC-3")


@cache
def few_calls(budgets=FEW, n=64):
    """On the ring, uniform in lambda: dict solver -> (calls, errors)."""
    found = curves(FEW_SOLVERS, budgets, "ring", n)
    return {name: (e["nfe"], e["rmse"]) for name, e in found.items()}


@claim(
    "C18, BB11",
    source="Blog, on few-step sampling",
    says="With five calls or fewer a second-order method is worse than a first-order one.",
    holds=lambda r: all(
        min(r[f"{g}, {n} calls: 2S"], r[f"{g}, {n} calls: 2M"]) > r[f"{g}, {n} calls: DDIM"]
        for g in GRIDS
        for n in (4, 5)
    ),
    verdict=False,
    finding="It depends on the grid. On the ring 2M beats DDIM with four and five equal steps in lambda, "
    "by a factor of two and a quarter; on the quadratic grid and on Karras' it loses. DPM-Solver-2 "
    "and Heun, which spend two calls a step on noise prediction, lose on equal steps in lambda too.",
)
def few_by_grid(calls=(4, 5, 6)):
    """Errors of DDIM, 2S and 2M on the ring with very few calls on each grid (2S makes two calls a step, so
    four where five are allowed)."""
    names = {"DDIM = DPM-1": "DDIM", "++2S": "2S", "++2M": "2M"}
    found = {}
    for label, grid in GRIDS.items():
        rows = curves(tuple(names), calls, "ring", 64, grid)
        for i, n in enumerate(calls):
            found |= {f"{label}, {n} calls: {short}": rows[name]["rmse"][i] for name, short in names.items()}
    return found


@claim(
    "BB7",
    source="Blog, on fast samplers",
    says="DPM-Solver and its kin are general-purpose methods, not made for diffusion.",
    holds=lambda r: r["++2S, 4 calls"] > 0.5 * min(r["Heun, σ/α, 4 calls"], r["DPM-2, 4 calls"]),
    verdict=False,
    finding="The midpoint form, shared with a general method, is the weakest of the second-order forms. "
    "Data prediction, with the linear part of this very equation integrated exactly, has a twentieth of "
    "its error with the same calls, and less still of Heun's.",
)
def at_four():
    """Errors on the ring with four calls, and the calls at which DPM-2 first beats DDIM."""
    found = few_calls()
    four = {f"{name}, 4 calls": e[0] for name, (_, e) in found.items() if name != "DPM-3"}
    worse = [n for n, a, b in zip(FEW, found["DPM-2"][1], found["DDIM = DPM-1"][1]) if a > b]
    return four | {"most calls at which DPM-2 loses to DDIM": max(worse)}


@claim(
    "BT15, T14",
    source="Textbook, section 8.2.4, tip",
    says="With more than fifty steps use Euler, that is DDIM.",
    holds=lambda r: r["DDIM / 2M, 192 calls"] < 2,
    verdict=False,
    finding="The more steps, the more a second order gains: each doubling of the steps "
    "multiplies the ratio of the errors by 1.6 to 1.9.",
)
def ratios():
    """Error of DDIM over that of 2M on the ring, uniform in lambda."""
    found = few_calls()
    pair = zip(FEW, found["DDIM = DPM-1"][1], found["++2M"][1])
    return {f"DDIM / 2M, {n} calls": a / b for n, a, b in pair if n >= 24}


@claim(
    "C37, T33",
    source="Textbook, section 8.3, research box",
    says="High-order solvers lose stability when steps are few.",
    holds=lambda r: (
        min(r["DPM-3, 6 calls"], r["Heun in σ/α, 6 calls"], r["RK4 in λ, 4 calls"])
        > 2 * r["DDIM, 6 calls"]
    ),
    verdict=True,
    finding="Single-step methods of order 2 to 4 do, RK4 in lambda by four powers of ten. Order 1 never "
    "leaves the stable range on Gaussian data.",
)
def blow_up():
    """Errors on the ring where high orders fail: six calls of each, RK4 in lambda with four."""
    model, x, want = truth(64, "ring")
    error = lambda loop, steps, **o: rms(
        sample(loop, model, x, grids.uniform_lambda(VP(), steps), **o).x - want
    )
    return {
        "DDIM, 6 calls": error(ddim, 6),
        "DPM-3, 6 calls": error(dpm_solver_3, 2),
        "Heun in σ/α, 6 calls": error(heun, 3, variable="sigma"),
        "RK4 in λ, 4 calls": error(rk4, 1, variable="lam"),
        "3M, 6 calls": error(dpmpp_3m, 6),
    }


class Linear:
    """eps = mu x / sigma, a row for each mu: the linear test problem in EDM's schedule, where dx / dlambda
    = -mu x.  Gaussian data have mu in (0, 1); guidance multiplies it."""

    def __init__(self, mu):
        self.mu, self.schedule, self.nfe = mu, EDM(), 0

    def eps(self, x, t):
        return self.mu * x / t

    def x0(self, x, t):
        return x - self.mu * x

    def begin(self):
        """Nothing to prepare."""


TESTED = {
    "DDIM": (ddim, {}),
    "DPM-2": (dpm_solver_2, {}),
    "DPM-3": (dpm_solver_3, {}),
    "++2S": (dpmpp_2s, {}),
    "++2M": (dpmpp_2m, {}),
    "++3M": (dpmpp_3m, {}),
}


def growth(loop, h, mu, steps=60, **options):
    """By what factor |x| grows a step, steps of h in lambda on the linear test problem, for each mu (n,)."""
    times = np.exp(-h * np.arange(steps + 1))
    x = torch.ones(len(mu), 1, dtype=torch.float64)
    model = Linear(torch.as_tensor(mu, dtype=torch.float64)[:, None])
    sizes = [state.abs() for _, state in loop(model, x, times, **options)]
    late = torch.stack(sizes[steps // 2 :]).clamp(min=1e-300)
    return ((late[-6:].amax(0) / late[:6].amax(0)) ** (1 / (len(late) - 6)))[:, 0].numpy()


SIZES = tuple(np.linspace(0.1, 5, 26).round(3).tolist())


@cache
def largest_mu(sizes=SIZES, top=8.0, points=400):
    """The largest mu up to which every mu is stable, for each step h in lambda: (h, dict solver -> mu)."""
    mu = np.linspace(0.01, top, points)
    found = {}
    for name, (loop, options) in TESTED.items():
        limits = []
        for h in sizes:
            wild = growth(loop, h, mu, **options) > 1 + 1e-6
            limits.append(float(mu[wild.argmax()]) if wild.any() else top)
        found[name] = limits
    return list(sizes), found


def breaking_step(name, top=5.0, points=400):
    """The shortest step in lambda at which some mu in (0, 1) grows, by bisection; None if there is none up to
    `top`."""
    loop, options = TESTED[name]
    mu = np.linspace(0.001, 0.999, points)
    wild = lambda h: bool((growth(loop, h, mu, **options) > 1 + 1e-6).any())
    if not any(wild(h) for h in SIZES):
        return None
    low, high = 0.1, next(h for h in SIZES if wild(h))
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if wild(middle) else (middle, high)
    return high


@claim(
    "T41",
    source="Textbook, exercise 8.3.4b",
    says="A method of higher order is less stable.",
    holds=lambda r: r["++2S: largest factor"] > 1 + 1e-6 > r["DDIM: largest factor"],
    verdict=False,
    finding="It is a matter of the prediction. On Gaussian data DDIM, 2S, 2M and 3M survive steps of any "
    "length tried in lambda; DPM-Solver-2 and -3, which extrapolate the noise, do not.",
)
def stable_steps():
    """For each solver the largest factor a step by which a mu in (0, 1) grows, steps of 0.1 to 5 in lambda;
    and where it exceeds 1, the shortest such step."""
    mu, found = np.linspace(0.001, 0.999, 400), {}
    for name, (loop, options) in TESTED.items():
        found[f"{name}: largest factor"] = float(max(growth(loop, h, mu, **options).max() for h in SIZES))
        h = breaking_step(name)
        if h is not None:
            found[f"{name}: unstable from h ="] = h
    return found


# ---- guidance and thresholds -------------------------------------------------------------------------------


@cache
def guided_digits(scales=(1, 2, 4, 8), calls=12, n=30):
    """Digits with guidance: root mean square distance from the guided flow's own end (RK4, 150 steps), at
    equal calls of the solver: dict solver -> (scales, errors)."""
    from toolkit.networks import digits_model

    schedule = VP()
    x, label = initial_noise(n, (1, 8, 8), 0), torch.arange(n) % 10
    found = {name: ([], []) for name in GUIDED}
    for scale in scales:
        model = Guided(digits_model(schedule), label, scale)
        want = sample(unipc, model, x, grids.uniform_lambda(schedule, 150)).x
        for name, (loop, cost, options) in GUIDED.items():
            end = sample(loop, model, x, grids.uniform_lambda(schedule, calls // cost), **options).x
            found[name][0].append(scale)
            found[name][1].append(rms(end - want))
    return found


GUIDED = {
    name: SOLVERS[name] for name in ("DDIM = DPM-1", "DPM-2", "DPM-3", "++2S", "++2M", "++3M", "UniPC-3")
}


@claim(
    "C27, T36",
    source="Textbook, section 8.3.4 and exercise 8.3.2a",
    says="Data prediction is the stabler form under guidance.",
    holds=lambda r: max(r["++2S"], r["++2M"]) < 0.2 * r["DPM-2"],
    verdict=True,
    finding="At the same order and the same calls noise prediction errs tens of times as much. Stable is "
    "not the same as accurate, though: DDIM, of order 1, beats 2M and UniPC-3 here.",
)
@cache
def guided_ring(scale=6.0, calls=10, n=64):
    """Guidance 6 on the exact ring, ten calls of the solver: errors against the guided flow."""
    model = Guided(RING.model(VP()), torch.arange(n) % 8, scale)
    x = initial_noise(n, 2, 0, **DOUBLE)
    want = reference(model, x, VP().start, VP().end)
    return {
        name: rms(sample(loop, model, x, grids.uniform_lambda(VP(), calls // cost), **options).x - want)
        for name, (loop, cost, options) in GUIDED.items()
    }


@claim(
    "BT19, T30",
    source="Textbook, section 8.3.4",
    says="DPM-Solver++ has two key improvements, data prediction and thresholding.",
    holds=lambda r: r["++2S, 20 calls"] / r["++2M, 20 calls"] < 1.2,
    verdict=False,
    finding="The third is the multistep form, one call a step: without guidance it gains more than data "
    "prediction does.",
)
def two_improvements():
    """Errors on five modes with twenty calls: noise prediction, data prediction, data prediction with
    memory."""
    model, x, want = truth(64)
    found = {}
    for name in ("DPM-2", "++2S", "++2M"):
        loop, cost, options = SOLVERS[name]
        found[f"{name}, 20 calls"] = rms(
            sample(loop, model, x, grids.uniform_lambda(VP(), 20 // cost), **options).x - want
        )
    return found


CLIPS = {
    "none": None,
    "static": {"quantile": None},
    "dynamic, 0.995": {"quantile": 0.995},
    "dynamic, 0.9": {"quantile": 0.9},
}


@cache
def clipped_digits(scale=8.0, steps=15, n=40):
    """Digits with strong guidance by 2M, with each of `CLIPS`: dict name -> images (n, 1, 8, 8)."""
    from toolkit.networks import digits_model

    schedule, label = VP(), torch.arange(n) % 10
    x = initial_noise(n, (1, 8, 8), 1)
    found = {}
    for name, options in CLIPS.items():
        model = Guided(digits_model(schedule), label, scale)
        model = model if options is None else Thresholded(model, **options)
        found[name] = sample(dpmpp_2m, model, x, grids.uniform_lambda(schedule, steps)).x
    return found


def one_prediction(t=0.5, scale=8.0, n=200):
    """What the rules do to one guided prediction of x0 half-way: share of pixels at the limit, correlation
    with the prediction as it was."""
    from toolkit.data import digits
    from toolkit.networks import digits_model

    schedule = VP()
    images, labels = (part[:n] for part in digits("test"))
    model = Guided(digits_model(schedule), labels, scale)
    x = schedule.alpha(t) * images + schedule.sigma(t) * initial_noise(n, (1, 8, 8), 0)
    with torch.no_grad():
        raw = model.x0(x, t)
        found = {"one prediction, raw: largest |x0|": float(raw.abs().max())}
        for name, options in CLIPS.items():
            if options is not None:
                pixels = Thresholded(model, **options).x0(x, t)
                pair = torch.stack([raw.flatten(), pixels.flatten()]).double()
                found[f"one prediction, {name}: at ±1, %"] = float(100 * (pixels.abs() >= 1).double().mean())
                found[f"one prediction, {name}: correlation"] = float(torch.corrcoef(pair)[0, 1])
    return found


@claim(
    "BT20, T31, T37",
    source="Textbook, section 8.3.4",
    says="Dynamic thresholding is clip(x_0, -1, 1), and is good for any data.",
    holds=lambda r: abs(r["static: std of N(0, 4) data"] - 2) < 0.1,
    verdict=False,
    finding="That clip is static thresholding, which pins two thirds of the pixels of a strongly guided "
    "prediction. Dynamic thresholding takes the limit from a quantile of each sample and divides by it: "
    "one per cent is pinned and the picture keeps its shape, though not its contrast. On data not "
    "bounded by 1, such as latents, both destroy the scale.",
)
def thresholds():
    """`one_prediction`; of a whole run, the share of pixels at the limit or beyond (the data's own for
    comparison) and the correlation with the unclipped result; and the standard deviation of Gaussian data of
    standard deviation 2 sampled with each rule."""
    from toolkit.data import digits

    schedule = VP()
    found = one_prediction()
    found["data: pixels at ±1 or beyond, %"] = float(100 * (digits("all")[0].abs() >= 0.98).double().mean())
    raw = clipped_digits()["none"].flatten().double()
    wide = Mixture.gaussian(16, 2.0).model(schedule)
    x = initial_noise(1000, 16, 0, **DOUBLE)
    for name, options in CLIPS.items():
        pixels = clipped_digits()[name].flatten().double()
        model = wide if options is None else Thresholded(wide, **options)
        latent = sample(dpmpp_2m, model, x, grids.uniform_lambda(schedule, 20)).x
        found[f"{name}: pixels at ±1 or beyond, %"] = float(100 * (pixels.abs() >= 0.98).double().mean())
        found[f"{name}: correlation with the raw result"] = float(
            torch.corrcoef(torch.stack([raw, pixels]))[0, 1]
        )
        found[f"{name}: std of N(0, 4) data"] = float(latent.std())
    return found


# ---- adaptive ----------------------------------------------------------------------------------------------


@mistake
def controller_12(model, x, times, log, exponent=0.5, safety=0.9, rtol=0.02, atol=0.002, tries=600):
    """DPM-Solver-12 with a free exponent and safety factor (Lu et al. 2022, app. C), to see what they do.
    log: a list, to which is appended whether each try was accepted; after so many tries it gives up.
    """
    schedule, (t, end) = model.schedule, times
    h, previous = 0.05, x
    yield t, x
    while t > end and len(log) < tries:
        lam = schedule.lam(t)
        s = end if lam + h >= schedule.lam(end) else float(schedule.t_of_lam(lam + h))
        h = schedule.lam(s) - lam
        low, high = embedded(model, x, t, s, 2, model.eps(x, t))
        scale = (rtol * low.abs().maximum(previous.abs())).clamp(min=atol)
        error = float(((high - low) / scale).square().flatten(1).mean(1).max().sqrt())
        log.append(error <= 1)
        h = safety * h * max(error, 1e-8) ** -exponent
        if error <= 1:
            previous, x, t = low, high, s
            yield t, x


def controllers(n=20):
    """Tries and refusals of DPM-Solver-12 on the ring, for exponents 1/2 and 1/3, with and without the safety
    factor; at most 600 tries."""
    model, x = RING.model(VP()), initial_noise(n, 2, 0, **DOUBLE)
    found = {}
    for exponent, name in ((1 / 2, "1/2"), (1 / 3, "1/3")):
        for safety in (1.0, 0.9):
            log = []
            run = sample(controller_12, model, x, [1.0, 1e-3], log=log, exponent=exponent, safety=safety)
            label = f"exponent {name}, safety {safety:g}"
            found[f"{label}: reached t ="] = run.times[-1]
            found[f"{label}: tries"] = len(log)
            found[f"{label}: refused"] = log.count(False)
    return found


@claim(
    "BT22, T34, S23",
    source="Textbook, section 8.3.5",
    says="In h (tol / err)^(1 / (p + 1)) p is the order of the solver.",
    holds=lambda r: abs(r["slope of the estimate, DPM-Solver-12"] - 3) < 0.3,
    verdict=False,
    finding="p is the order of the lower member, whose error is what is measured: the estimate of "
    "DPM-Solver-12 falls like h^2, that of DPM-Solver-23 like h^3, so the exponents are 1/2 and 1/3.",
)
def estimate_slopes(sizes=(0.2, 0.1, 0.05, 0.025), n=50):
    """How the estimate of DPM-Solver-12 and -23, the distance of their two results, falls with the step, from
    an exact state at sigma / alpha = 1."""
    schedule, s = VP(), float(VP().t_of_lam(0.0))
    model = FIVE.model(schedule)
    x = reference(model, initial_noise(n, 2, 0, **DOUBLE), schedule.start, s)
    found = {}
    for order, name in ((2, "12"), (3, "23")):
        gaps = []
        for h in sizes:
            low, high = embedded(model, x, s, float(schedule.t_of_lam(h)), order, model.eps(x, s))
            gaps.append(rms(high - low))
        found[f"slope of the estimate, DPM-Solver-{name}"] = -slope(sizes, gaps)
    return found


@cache
def adaptive_curves(tolerances=(0.3, 0.1, 0.03, 0.01, 0.003, 0.001), n=20):
    """On the ring: (calls, errors) of DPM-Solver-12 and -23, and of DPM-Solver-2 and -3 on equal steps in
    lambda."""
    schedule = VP()
    model, x = RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    want, found = reference(model, x, schedule.start, schedule.end), {}
    for order, name in ((2, "DPM-Solver-12"), (3, "DPM-Solver-23")):
        runs = [
            sample(
                dpm_solver_adaptive, model, x, [schedule.start, schedule.end],
                order=order, rtol=tol, atol=tol / 6,
            )
            for tol in tolerances
        ]  # fmt: skip
        found[name] = [run.nfe for run in runs], [rms(run.x - want) for run in runs]
    for name, loop, cost in (
        ("DPM-Solver-2, fixed", dpm_solver_2, 2),
        ("DPM-Solver-3, fixed", dpm_solver_3, 3),
    ):
        calls = (24, 48, 96, 192, 384)
        errors = ode_errors(loop, model, x, [k // cost for k in calls], want=want)["rmse"]
        found[name] = list(calls), errors
    return found


@claim(
    "C28, T39",
    source="Textbook, section 8.3.5 and exercise 8.3.3",
    says="Adaptive steps give more accuracy for the same calls.",
    holds=lambda r: r["DPM-Solver-12"] < min(v for k, v in r.items() if k.startswith("DPM-Solver-2,")),
    verdict=False,
    finding="They beat grids that do not suit the problem, and not the one that does. What they buy is "
    "that nobody has to know which.",
)
def adaptive_against_fixed():
    """The error of DPM-Solver-12 at its tolerance of 0.01, and of fixed grids at the same calls."""
    model, x, want = truth(64, "ring")
    schedule = VP()
    run = sample(
        dpm_solver_adaptive, model, x, [schedule.start, schedule.end], order=2, rtol=0.01, atol=0.01 / 6
    )
    found = {"calls": run.nfe, "DPM-Solver-12": rms(run.x - want)}
    for name, grid in GRIDS.items():
        found[f"DPM-Solver-2, {name}"] = rms(
            sample(dpm_solver_2, model, x, grid(schedule, run.nfe // 2)).x - want
        )
    return found


@cache
def adaptive_digits(tol=0.05, n=30):
    """DPM-Solver-23 with its default tolerances on digits: calls, and distance from the network's own
    flow; and the fixed grid with as many calls."""
    model, x, want = digits_truth(n)
    schedule = model.schedule
    run = sample(dpm_solver_adaptive, model, x, [schedule.start, schedule.end], rtol=tol)
    fixed = sample(dpm_solver_3, model, x, grids.uniform_lambda(schedule, run.nfe // 3)).x
    return {
        "digits: calls of DPM-Solver-23": run.nfe,
        "digits: its error": rms(run.x - want),
        "digits: DPM-Solver-3, equal steps in λ": rms(fixed - want),
    }


# ---- SDE ---------------------------------------------------------------------------------------------------


@cache
def weak_curves(counts=(20, 40, 80, 160)):
    """|variance - exact| on N(0, 1/4), t from 1 to 0.01: dict SDE solver -> (steps, errors)."""
    end = 0.01
    solvers = {
        "DDPM (posterior)": (ddpm, {"variance": "posterior"}),
        "SDE-DPM-Solver++1": (sde_dpmpp_1, {}),
        "SDE-DPM-Solver++(2M)": (sde_dpmpp_2m, {}),
        "SDE-DPM-Solver++(3M)": (sde_dpmpp_3m, {}),
        "SA-Solver-3": (sa_solver, {}),
    }
    return {
        name: (list(counts), weak_errors(loop, VP(), counts, end=end, **options))
        for name, (loop, options) in solvers.items()
    }


@claim(
    "T42",
    source="Textbook, exercise 8.3.4c",
    says="DPM-Solver has to do with discretising the SDE: its stochastic first-order form is an "
    "ancestral sampler.",
    holds=lambda r: (
        r["SDE-DPM-Solver++1 - DDIM with η = 1"] < 1e-9 and r["weak order, SDE-DPM-Solver++(2M)"] > 1.8
    ),
    verdict=True,
    finding="SDE-DPM-Solver++1 is DDIM with eta = 1, which is DDPM's posterior step, to rounding. With "
    "memory the weak order is 2, for 3M too: what the noise inside a step does is left out.",
)
def weak_orders():
    """Measured weak orders; the difference between SDE-DPM-Solver++1 and DDIM with eta = 1 on one noise."""
    found = {name: slope(n[-2:], e[-2:]) for name, (n, e) in weak_curves().items()}
    return {f"weak order, {name}": p for name, p in found.items()} | {
        "SDE-DPM-Solver++1 - DDIM with η = 1": identities()["SDE-DPM-Solver++1 = DDIM with η = 1"]
    }


# ---- digits ------------------------------------------------------------------------------------------------


@cache
def digits_truth(n=30):
    """(model, starts, ends): digits of all classes, and the network's own flow by UniPC-3 with 200 steps."""
    from toolkit.networks import digits_model

    schedule = VP()
    model = digits_model(schedule, label=torch.arange(n) % 10)
    x = initial_noise(n, (1, 8, 8), 0)
    return model, x, sample(unipc, model, x, grids.uniform_lambda(schedule, 200)).x


DIGIT_SOLVERS = (
    "DDIM = DPM-1",
    "DPM-2",
    "DPM-3",
    "++2S",
    "++2M",
    "++3M",
    "3M, divided",
    "UniPC-3",
    "iPNDM-4",
)


@cache
def digits_curves(budgets=(4, 6, 8, 12, 16, 24, 48, 96), n=30, names=DIGIT_SOLVERS):
    """Distance from the network's own flow at equal calls, uniform in lambda: dict solver -> (calls,
    errors)."""
    model, x, want = digits_truth(n)
    found = {}
    for name in names:
        loop, cost, options = SOLVERS[name]
        counts = sorted({b // cost for b in budgets})
        ends = [sample(loop, model, x, grids.uniform_lambda(VP(), k), **options).x for k in counts]
        found[name] = [k * cost for k in counts], [rms(end - want) for end in ends]
    return found


@claim(
    "BS24",
    source="Summary, on DPM-Solver",
    says="With 10 steps DPM-Solver reaches the quality of DDPM's 1000.",
    holds=lambda r: r["++2M, 10 calls"] < r["DDPM, 1000 calls"] + r["++2M, 10 calls: spread"],
    verdict=True,
    finding="For 2M, on digits, within the spread between three seeds: with ten calls it is where the "
    "network's own flow is. DPM-Solver-2 and -3, which the name first meant, are far off with ten calls.",
)
@cache
def ten_or_thousand(n=1797, seeds=(0, 1, 2)):
    """Fréchet distance of n digits, mean and standard deviation over the seeds: DDPM (posterior variance)
    with 1000 steps, recorded in the study of samplers with the same n and seeds; solvers with ten calls;
    and the network's own flow."""
    from toolkit.metrics import frechet_distance
    from toolkit.networks import digits_model

    rows = recorded("digits_samplers")["samplers"]["DDPM, posterior variance"]["rows"]
    each = {"DDPM, 1000 calls": next(row["each"] for row in rows if row["budget"] == 1000)}
    model = digits_model(VP(), label=torch.arange(n) % 10)
    for name, steps in (("DPM-2", 5), ("DPM-3", 3), ("++2M", 10), ("UniPC-3", 20)):
        loop, cost, options = SOLVERS[name]
        label = "the flow itself (UniPC-3, 20)" if name == "UniPC-3" else f"{name}, {steps * cost} calls"
        each[label] = [
            frechet_distance(
                sample(loop, model, initial_noise(n, (1, 8, 8), seed), grids.uniform_lambda(VP(), steps),
                       **options).x
            )
            for seed in seeds
        ]  # fmt: skip
    found = {}
    for label, values in each.items():
        found[label] = float(np.mean(values))
        found[f"{label}: spread"] = float(np.std(values, ddof=1))
    return found


# ---- flipped basins ----------------------------------------------------------------------------------------


@cache
def basins(names=("DDIM = DPM-1", "++2M", "++3M"), budgets=(5, 10, 20, 50, 100, 200), n=1000, d=64):
    """On `far`, starts at the quantiles of the line through both modes: dict solver -> {"nfe", "rmse",
    "median", "flipped"}; flipped is the share of samples that end at the other mode than the exact flow's."""
    mixture, along = far(d), torch.full((d,), d**-0.5, dtype=torch.float64)
    model, x = mixture.model(VP()), initial_noise(n, d, 0, **DOUBLE)
    quantiles = torch.special.ndtri((torch.arange(n, **DOUBLE) + 0.5) / n)
    x = x + (quantiles - x @ along)[:, None] * along
    want = reference(model, x, VP().start, VP().end)
    found = {}
    for name in names:
        loop, cost, options = SOLVERS[name]
        rows = {"nfe": [], "rmse": [], "median": [], "flipped": []}
        for nfe in budgets:
            end = sample(loop, model, x, grids.uniform_lambda(VP(), nfe // cost), **options).x
            squares = (end - want).square().mean(1)
            rows["nfe"].append(nfe)
            rows["rmse"].append(float(squares.mean().sqrt()))
            rows["median"].append(float(squares.median().sqrt()))
            rows["flipped"].append(float(((end @ along > 0) != (want @ along > 0)).double().mean()))
        found[name] = rows
    return found


@claim(
    "T35b",
    source="Textbook, exercise 8.3.1b",
    says="The slope of the root mean square error is the order of the solver.",
    holds=lambda r: r["DDIM, slope of rmse"] > 0.9,
    verdict=False,
    finding="Not on modes far apart: a share of samples that falls like h ends in another mode, each "
    "with an error that does not fall at all, and the root of the share slopes at 1/2. The median "
    "shows the order.",
)
def flipped():
    """Slopes of the measures for DDIM between the far modes, 5 to 200 calls."""
    rows = basins()["DDIM = DPM-1"]
    return {f"DDIM, slope of {key}": slope(rows["nfe"], rows[key]) for key in ("rmse", "median")} | {
        f"DDIM, share flipped, {n} calls": rows["flipped"][rows["nfe"].index(n)] for n in (10, 50, 200)
    }


# ---- the table that closes the chapter ---------------------------------------------------------------------


def closing_table():
    """A row for each solver: name, calls a step, measured order, errors on five modes at 10 and 50 calls, on
    digits at 8 and 24, on digits with guidance 4 at 12."""
    exact, digits, guided = curves(), digits_curves(), guided_digits()
    rows = []
    for name in DIGIT_SOLVERS:
        errors = exact[name]

        def at(calls, values, budget):
            return min((budget - n, e) for n, e in zip(calls, values) if n <= budget)[1]

        rows.append(
            (
                name,
                SOLVERS[name][1],
                order_of(errors),
                *(at(errors["nfe"], errors["rmse"], b) for b in (10, 50)),
                *(at(*digits[name], b) for b in (8, 24)),
                at(*guided[name], 4) if name in guided else math.nan,
            )
        )
    return rows
