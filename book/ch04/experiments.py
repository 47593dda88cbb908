"""Claims of chapter 4: DPM-Solver and its family.

The truth is a mixture's probability flow, solved to twelve digits (`convergence.reference`), the closed flow
of a Gaussian, or algebra.  Each experiment takes no argument and returns a dict label -> number; what figures
draw comes from functions that return curves.
"""

import math
from functools import cache, lru_cache, partial

import numpy as np
import torch

from book.claims import claim, recorded, tried_on
from book.problems import (
    ON_COSINE,
    ON_COSINE_MODERATE,
    ON_SIX_MODES,
    ON_SIX_WIDE,
    RING,
    WIDE_RING,
    RoundedClock,
    mistake,
    moderate,
    rms,
)
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
    er_scale,
    er_sde,
    sde_dpmpp_1,
    sde_dpmpp_2m,
    sde_dpmpp_3m,
    seeds_2,
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
FOUR = Mixture(
    [0.4, 0.3, 0.2, 0.1], [[1.2, 0.0], [-0.8, 0.9], [-0.6, -1.0], [0.2, 0.3]], [0.1, 0.25, 0.15, 0.2]
)
ON_FOUR_MODES = {"four narrower modes": {"FIVE": FOUR}}


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
    "2M, noise": (exponential_ab, 1, {"order": 2, "prediction": "eps"}),
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


BATCHES = 8  # of so many independent batches a mean and a standard deviation are told
EIGHT = 64 * BATCHES


@cache
def truth(n=64, problem="five"):
    """(model, starts, exact ends) on `FIVE`, the ring, or `far`; VP's whole interval.  The ends are right to
    1e-10, those of more than 64 starts, which serve few calls, to 1e-7.
    """
    mixture = {"five": FIVE, "ring": RING, "far": far()}[problem]
    model, x = mixture.model(VP()), initial_noise(n, mixture.d, 0, **DOUBLE)
    return model, x, reference(model, x, VP().start, VP().end, 1e-12 if n <= 64 else 1e-9)


def in_batches(difference, batches=BATCHES):
    """(root mean square, median over the samples of their own root mean square) of each of so many equal
    batches of the difference (n, ...): two arrays (batches,).
    """
    each = torch.as_tensor(difference).double().square().flatten(1).mean(1).reshape(batches, -1)
    return each.mean(1).sqrt().numpy(), each.median(1).values.sqrt().numpy()


def end_of(name, model, x, calls, grid=grids.uniform_lambda):
    """Where the solver of this name in `SOLVERS` ends with at most so many calls (one step at least)."""
    loop, cost, options = SOLVERS[name]
    return sample(loop, model, x, grid(model.schedule, max(calls // cost, 1)), **options).x


def told_pair(mean, sd) -> str:
    """'mean ± standard deviation', two digits of the latter."""
    digits = max(0, 1 - math.floor(math.log10(sd))) if sd > 1e-9 else 3
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def told(values) -> str:
    """`told_pair` of the values of independent batches."""
    return told_pair(float(np.mean(values)), float(np.std(values, ddof=1)))


@cache
def curves(names=tuple(SOLVERS), budgets=BUDGETS, problem="five", n=64, grid=grids.uniform_lambda):
    """Error against calls: dict solver -> `ode_errors`; at least one step, and at equal calls."""
    model, x, want = truth(n, problem)
    result = {}
    for name in names:
        loop, _, options = SOLVERS[name]
        counts = [k for k in (steps_for(SOLVERS[name], b) for b in budgets) if k > 0]
        result[name] = ode_errors(loop, model, x, counts, grid, want=want, **options)
    return result


def order_of(errors, first=3, last=None, key="rmse"):
    """The slope of an `ode_errors` dict over its budgets first:last, above rounding."""
    pairs = [(n, e) for n, e in zip(errors["nfe"], errors[key]) if e > 3e-10][first:last]
    return slope(*zip(*pairs))


# --- the equation ---------------------------------------------------------------------------------------


@claim(
    "T27, T28",
    source="Textbook, sections 8.3.1 and 8.3.2",
    says="An exponential integrator solves the linear part of the ODE exactly.",
    holds=lambda r: r["variation of constants"] < 1e-9 < r["Euler in t"],
    verdict=True,
    finding="With eps frozen one step of any length is exact; Euler in t errs, and with the levels "
    "alpha and sigma read as the coefficients f and g^2 / 2 sigma it solves another equation.",
    figure="kernels-figure",
)
@tried_on(ON_COSINE | {"another step": {"s": 0.4, "t": 0.2}})
def frozen(s=0.8, t=0.3) -> dict:
    """One step from s to t with eps held constant, against the exact result of that frozen equation, solved
    by RK4: of variation of constants, of Euler in t, and of the summary's formula (with g for g^2 / 2 and the
    signs of its exponents reversed).
    """
    schedule = VP()
    x, eps = initial_noise(50, 1, 0, **DOUBLE), initial_noise(50, 1, 1, **DOUBLE)
    drift = lambda y, u: schedule.f(u) * y + schedule.g2(u) / (2 * schedule.sigma(u)) * eps
    y, times = x, np.linspace(s, t, 801)
    for a, b in zip(times, times[1:]):
        h, m = b - a, (a + b) / 2
        k1 = drift(y, a)
        k2 = drift(y + h / 2 * k1, m)
        k3 = drift(y + h / 2 * k2, m)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + drift(y + h * k3, b))
    h = schedule.lam(t) - schedule.lam(s)
    ours = schedule.alpha(t) / schedule.alpha(s) * x - schedule.sigma(t) * math.expm1(h) * eps
    literal = x + (t - s) * (schedule.alpha(s) * x + schedule.sigma(s) * eps)
    return {
        "variation of constants": rms(ours - y),
        "Euler in t": rms(x + (t - s) * drift(x, s) - y),
        "Euler in t, with alpha and sigma for f and g^2 / 2 sigma": rms(literal - y),
    }


@claim(
    "BS32, S29",
    source="Summary, section 4.4",
    says="The exponential step is e^(-beta h / 2) x plus an integral of g times the score.",
    holds=lambda r: r["printed: slope of the one-step error"] > 1.9,
    verdict=False,
    finding="Backwards in time the exponent is positive, the factor is g^2 / 2, and the kernel grows the "
    "other way. As printed the error of one step falls only like h, so it does not converge; set "
    "right, like h^2.",
)
@tried_on(ON_COSINE)
def summary_formula(counts=(50, 100, 200, 400)) -> dict:
    """The summary's printed exponential step, e^(-beta h / 2) x + int e^(...) g score, and the right one with
    the score frozen: local error when the step is halved, on N(0, 1/4) from t = 0.5.
    """
    schedule, t = VP(), 0.5
    x = initial_noise(100, 1, 0, **DOUBLE)
    score = Mixture.gaussian(1, 0.5).model(schedule).score(x, t)
    flow = GaussianFlow(schedule, std=0.5)
    result = {"printed": [], "right": []}
    for n in counts:
        h = 1 / n
        half = math.log(schedule.alpha(t - h) / schedule.alpha(t))  # int beta / 2 over the step
        u = t - h + h * (np.polynomial.legendre.leggauss(20)[0] + 1) / 2
        w = h * np.polynomial.legendre.leggauss(20)[1] / 2
        kernel = schedule.alpha(t - h) / schedule.alpha(u)
        right = math.exp(half) * x + 0.5 * float((w * kernel * schedule.g2(u)).sum()) * score
        printed = math.exp(-half) * x + float((w / kernel * np.sqrt(schedule.g2(u))).sum()) * score
        want = flow.map(x, t, t - h)
        result["right"].append(rms(right - want))
        result["printed"].append(rms(printed - want))
    return {
        f"{name}: slope of the one-step error": slope(counts, errors) for name, errors in result.items()
    } | {f"{name}: error at h = {1 / counts[0]:g}": errors[0] for name, errors in result.items()}


# --- lambda and t ---------------------------------------------------------------------------------------


GRIDS = {
    "uniform t": grids.uniform,
    "quadratic": grids.quadratic,
    "uniform λ": grids.uniform_lambda,
    "Karras": grids.karras,
}
LINE_COUNTS = (20, 40, 80, 320)


@cache
def lambda_or_t(problem="ring"):
    """Two-prediction exponential Adams-Bashforth in eps on the ring or on five modes, on four grids: dict
    (grid, steps) -> (ratios of the root mean squares, ratios of the medians), error with the line in lambda
    over error with the line in t, of eight batches of 64 starts each.
    """
    model, x, want = truth(EIGHT, problem)
    result = {}
    for name, grid in GRIDS.items():
        for steps in LINE_COUNTS:
            line = partial(sample, exponential_ab, model, x, grid(VP(), steps), order=2, prediction="eps")
            lam, t = (in_batches(line(variable=v).x - want) for v in ("lam", "t"))
            result[name, steps] = lam[0] / t[0], lam[1] / t[1]
    return result


@claim(
    "BT18, T29",
    source="Textbook, section 8.3.3",
    says="DPM-Solver expands the network in powers of time, and it makes no difference in what one expands.",
    holds=lambda r: all(0.8 < v < 1.25 for k, v in r.items() if "median" in k),
    verdict=False,
    finding="It expands in lambda; a polynomial in t is DEIS's choice. The order is the same, the constant "
    "is not: on three grids lambda errs 0.11 to 0.41 times as much for the ring's typical sample, on five "
    "modes 0.39 to 0.65 times. On equal steps in t a polynomial in t is ahead: on the ring with 20 calls, on "
    "five modes throughout.",
    elsewhere=dict.fromkeys(("0.39", "0.65"), "in expansion_table"),
    figure="why-lambda-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def expansion() -> dict:
    """`lambda_or_t` as labels and numbers, the means of the eight batches."""
    return {
        f"{grid}, {steps} calls: {what} in λ / in t": float(np.mean(pair[k]))
        for (grid, steps), pair in lambda_or_t().items()
        for k, what in enumerate(("rms", "median"))
    }


def expansion_table():
    """`lambda_or_t`, a row for each problem, grid and measure, a column for each number of calls."""
    rows = [("ring", "median", 1), ("ring", "root mean square", 0), ("five modes", "median", 1)]
    return {
        f"{problem}, {grid}, {what} | {n} calls": told(lambda_or_t(problem.split()[0])[grid, n][k])
        for problem, what, k in rows
        for grid in GRIDS
        for n in LINE_COUNTS
    }


# --- phi ------------------------------------------------------------------------------------------------


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
    result = {
        "recursion, float64": naive_phi(k, z),
        "recursion, float32": naive_phi(k, z, np.float32).astype(float) * truth
        / np.array([true_phi(k, v) for v in single]),
        "toolkit.exponential.phi": phi(k, z),
    }  # fmt: skip
    return z, {name: np.abs(value / truth - 1) + 1e-17 for name, value in result.items()}


# --- identities -----------------------------------------------------------------------------------------


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
    result = {
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
        "UniP-3 = 3M, from the third step on": onward(unipc, order=3, corrector=False) - onward(dpmpp_3m),
        "SA-Solver (τ = 0, predictor only) = 3M": end(sa_solver, tau=0.0, corrector=False) - end(dpmpp_3m),
        "(4.14) with rates 1 and -1 = x0 and eps": (ab(order=3, rate=1.0) - ab(order=3)).abs()
        + (ab(order=3, rate=-1.0) - ab(order=3, prediction="eps")).abs(),
        "SDE-DPM-Solver++1 = DDIM with η = 1": end(sde_dpmpp_1, seed=3) - end(ddim, eta=1.0, seed=3),
    }
    return {name: float(gap.abs().max()) for name, gap in result.items()}


@claim(
    "C14",
    source="Textbook, section 8.3.3",
    says="DPM-Solver-1 is DDIM.",
    holds=lambda r: max(r.values()) < 1e-12,
    verdict=True,
    finding="To rounding, on every schedule tried.",
)
def first_is_ddim() -> dict:
    """DPM-Solver-1 against DDIM on four schedules, ring, 12 steps: largest differences over the size of the
    state at the start.
    """
    result = {}
    for schedule in (VP(), VPCosine(), VE(), EDM()):
        scale = schedule.sigma(schedule.start)
        result[type(schedule).__name__] = identities(schedule=schedule)["DPM-Solver-1 = DDIM"] / scale
    return result


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
@tried_on(ON_SIX_MODES)
def geometric_mean() -> dict:
    """The middle of DPM-Solver-2's step from t = 0.6 to 0.4, against the geometric mean, in t and in sigma /
    alpha; VP and VE.
    """
    result = {}
    for schedule in (VP(), EDM()):
        t, s = (0.6, 0.4) if isinstance(schedule, VP) else (6.0, 4.0)
        middle = float(schedule.t_of_lam((schedule.lam(t) + schedule.lam(s)) / 2))
        kappa = [math.exp(-schedule.lam(u)) for u in (t, s, middle)]
        name = type(schedule).__name__
        result[f"{name}: middle / sqrt(t s) - 1"] = middle / math.sqrt(t * s) - 1
        result[f"{name}: the same in σ/α"] = kappa[2] / math.sqrt(kappa[0] * kappa[1]) - 1
    return result | {
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
@tried_on(ON_SIX_MODES | ON_COSINE)
def keeps_no_history() -> dict:
    """DPM-Solver-3 and 2M: calls of a step, and how much the result changes if the run is stopped half-way
    and begun again from its state.
    """
    model, x = RING.model(VP()), initial_noise(50, 2, 0, **DOUBLE)
    times, result = grids.uniform_lambda(VP(), 10), {}
    for name, loop in (("DPM-Solver-3", dpm_solver_3), ("DPM-Solver++(2M)", dpmpp_2m)):
        whole = sample(loop, model, x, times, keep_path=True)
        again = sample(loop, model, whole.path[5], times[5:])
        result[f"{name}: calls a step"] = whole.nfe / 10
        result[f"{name}: change by beginning again"] = float((again.x - whole.x).abs().max())
    return result


# --- orders ---------------------------------------------------------------------------------------------


@cache
def one_step(sizes=(0.4, 0.2, 0.1, 0.05, 0.025), n=50):
    """Errors of one step of length h in lambda from an exact state at sigma / alpha = 1: (h, dict
    solver -> errors).
    """
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
    result = {name: [] for name in methods}
    for h in sizes:
        t = float(schedule.t_of_lam(h))
        want = reference(model, x, s, t)
        for name, (loop, options) in methods.items():
            result[name].append(rms(sample(loop, model, x, [s, t], **options).x - want))
    return sizes, result


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
    figure="one-step-figure",
)
@tried_on(ON_COSINE | ON_FOUR_MODES)
def local_orders() -> dict:
    """The slope of each one-step error."""
    sizes, result = one_step()
    return {name.replace("$", ""): -slope(sizes[1:], errors[1:]) for name, errors in result.items()}


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
    elsewhere={"0.1": "the margin"},
    figure="all-figure",
)
@tried_on(ON_COSINE_MODERATE | ON_SIX_WIDE)
def measured_orders() -> dict:
    """Slopes over 64 to 256 steps between sigma / alpha = 5 and 0.2 on eight broad modes, uniform in lambda;
    multistep methods with a start of matching order.
    """
    start, end = moderate()
    model, x = WIDE_RING.model(VP()), initial_noise(40, 2, 0, **DOUBLE)
    want = reference(model, x, start, end)
    result = {}
    for name, (loop, _, options) in SOLVERS.items():
        if name in ("Heun, σ/α", "3M, divided", "PNDM", "iPNDM-4, true steps", "UniPC-2"):
            continue
        options = options | getattr(loop, "needs", {})
        errors = ode_errors(loop, model, x, (64, 128, 256), start=start, end=end, want=want, **options)
        result[name] = slope(errors["steps"], errors["rmse"])
    return result


@claim(
    "BS34",
    source="Summary, section 4.6",
    says="DPM-Solver works for linear noise schedules only.",
    holds=lambda r: any(abs(v - int(k[-1])) > 0.1 for k, v in r.items() if "DPM-Solver-" in k),
    verdict=False,
    finding="It needs lambda(t) to be invertible, nothing else. In x / alpha a step knows the schedule "
    "by its two values of lambda only, so that on equal steps in lambda all schedules give one result; "
    "on equal steps in t the orders are 1, 2 and 3 on the cosine schedule and on VE.",
)
@tried_on(ON_SIX_WIDE)
def other_schedules() -> dict:
    """Slopes of DPM-Solver-1, 2, 3 over 64 to 256 equal steps in t, on the cosine schedule and on VE; and the
    largest difference of x / alpha between the two with 12 equal steps in lambda.
    """
    result, ends = {}, []
    for schedule in (VPCosine(), VE()):
        start, end = moderate(schedule)
        model = WIDE_RING.model(schedule)
        x = initial_noise(40, 2, 0, **DOUBLE) * math.hypot(schedule.sigma(start), schedule.alpha(start))
        want = reference(model, x, start, end)
        for k, loop in enumerate((dpm_solver_1, dpm_solver_2, dpm_solver_3), 1):
            errors = ode_errors(loop, model, x, (64, 128, 256), grids.uniform, start, end, want)
            result[f"{type(schedule).__name__}, equal steps in t: DPM-Solver-{k}"] = slope(
                errors["steps"], errors["rmse"]
            )
        times = grids.uniform_lambda(schedule, 12, start=start, end=end)
        ends.append(sample(dpm_solver_3, model, x, times).x / schedule.alpha(end))
    return result | {"VPCosine - VE, x/α, equal steps in λ": float((ends[0] - ends[1]).abs().max())}


# --- 2M and 3M ------------------------------------------------------------------------------------------


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
    want, result = reference(model, x, start, end), {}
    for name, grid in (
        ("alternating 3:1", alternating), ("uniform t", grids.uniform), ("quadratic", grids.quadratic),
    ):  # fmt: skip
        wrong, right = (
            ode_errors(loop, model, x, counts, grid, start, end, want)["rmse"]
            for loop in (inverted_2m, dpmpp_2m)
        )
        result[f"r inverted, {name}: order"] = slope(counts[-3:], wrong[-3:])
        result[f"r inverted, {name}: error / 2M's"] = wrong[-1] / right[-1]
    return result


@cache
def without_memory_of_h(counts=(8, 16, 32, 64, 128, 256), n=50):
    """2M with and without h_(i-1), on the alternating grid and on equal steps in t: dict label
    -> (steps, errors).
    """
    start, end = moderate()
    model, x = WIDE_RING.model(VP()), initial_noise(n, 2, 0, **DOUBLE)
    want, result = reference(model, x, start, end), {}
    for grid_name, grid in (("alternating 3:1", alternating), ("uniform t", grids.uniform)):
        for name, loop in (("2M", dpmpp_2m), ("2M, r = 1", blind_2m)):
            errors = ode_errors(loop, model, x, counts, grid, start, end, want)
            result[f"{name}, {grid_name}"] = errors["steps"], errors["rmse"]
    return result


@claim(
    "BT21, T32, E12",
    source="Textbook, section 8.3.4, listing",
    says="A second-order multistep step needs the last prediction, and nothing else, from the past.",
    holds=lambda r: r["2M, r = 1, alternating 3:1"] > 1.8,
    verdict=False,
    finding="It needs the length of the last step too. Without it the order is 1 on a grid whose steps "
    "alternate; smooth grids hide the mistake.",
    figure="two-m-figure",
)
@tried_on(ON_COSINE | ON_SIX_WIDE)
def orders_without_h() -> dict:
    """Slopes of `without_memory_of_h` over its finer half."""
    return {name: slope(n[-3:], e[-3:]) for name, (n, e) in without_memory_of_h().items()}


@claim(
    "D1",
    source="Official code, diffusers, k-diffusion, diff-sampler",
    says="The multistep third-order update found in libraries is of order 3.",
    holds=lambda r: r["3M, divided: order, 50 to 1000 calls"] > 2.8,
    verdict=False,
    finding="It is of order 2: a second divided difference stands where a second derivative, twice as "
    "large, belongs. With few calls the smaller extrapolation is ahead: up to six on five modes, eight on "
    "digits, 24 and more on the ring and on digits with guidance 8. A picture made with few calls does "
    "not show the mistake.",
)
@tried_on(ON_COSINE | ON_FOUR_MODES)
def factor_two() -> dict:
    """Slopes of 3M and of the libraries' form, and their errors at few and many calls, on five modes."""
    both = curves(("++3M", "3M, divided"))
    at = lambda name, nfe: both[name]["rmse"][BUDGETS.index(nfe)]
    result = {f"{name}: order, 50 to 1000 calls": order_of(e) for name, e in both.items()}
    return result | {f"{name}: error, {n} calls": at(name, n) for n in (5, 10, 100, 200) for name in both}


DIVIDED_CALLS = (4, 6, 8, 12, 24, 48, 96)


@cache
def divided_few(calls=DIVIDED_CALLS):
    """The libraries' 3M and 2M against the right 3M with few calls, on five modes and the ring (eight batches
    of 64), on digits without guidance and with guidance 8 (eight of ten): dict problem -> dict solver ->
    [ratios of the batches at each of `calls`].  Root mean squares; of the ring the medians too.
    """
    problems = {
        "five modes": (truth(EIGHT), 0),
        "ring": (truth(EIGHT, "ring"), 0),
        "ring, median": (truth(EIGHT, "ring"), 1),
        "digits": (digits_truth(80), 0),
        "digits, guidance 8": (guided_truth(8), 0),
    }
    result = {}
    for problem, ((model, x, want), which) in problems.items():
        error = lambda name, n, m=model, y=x, w=want, k=which: in_batches(end_of(name, m, y, n) - w)[k]
        right = [error("++3M", n) for n in calls]
        result[problem] = {
            name: [error(name, n) / e for n, e in zip(calls, right)] for name in ("3M, divided", "++2M")
        }
    return result


def divided_table(calls=DIVIDED_CALLS):
    """`divided_few`, a row for each problem and solver, a column for each number of calls."""
    return {
        f"{problem}: {name.removeprefix('++')} | {n} calls": told(ratios)
        for problem, rows in divided_few(calls).items()
        for name, row in rows.items()
        for n, ratios in zip(calls, row)
    }


def _tables():
    """label -> (rows of (schedule, times), prediction, variable)."""
    ab = lambda p, v, k: (lambda s, t: adams_table(s, t, k, p, v), p, v)
    return {
        "2M, midpoint form": (dpmpp_2m_coefficients, "x0", "lam"),
        "2M, exact form": (lambda s, t: dpmpp_2m_coefficients(s, t, form="exact"), "x0", "lam"),
        "2M, midpoint form, r inverted": (inverted_2m_coefficients, "x0", "lam"),
        "2M, exact form, r inverted": (lambda s, t: inverted_2m_coefficients(s, t, "exact"), "x0", "lam"),
        "3M": ab("x0", "lam", 3),
        "3M, divided": (divided_coefficients, "x0", "lam"),
        "DEIS-tAB-3": ab("eps", "t", 3),
        "DEIS-ρAB-4": ab("eps", "sigma", 4),
        "iPNDM-4": (lambda s, t: equal_steps_table(s, t, 4), "eps", "sigma"),
        "UniC-3 (corrector)": (
            lambda s, t: adams_table(s, t, 3, implicit=True), "x0", "lam"
        ),
    }  # fmt: skip


def exactness(degrees=(0, 1, 2, 3), steps=6, shrink=1):
    """Error of a method's last step, relative to the exact integral, when the prediction is v^m, v
    the method's own variable from 0 to 1 over the step, with exact history: dict method -> list over
    m.  No x is involved.  The steps are the last of a quadratic grid, each so many times shorter in lambda as
    shrink says.
    """
    schedule, result = VP(), {}
    far = schedule.lam(grids.quadratic(schedule, steps).numpy())
    times = tuple(schedule.t_of_lam(far[-1] + (far - far[-1]) / shrink).tolist())
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
        result[name] = []
        for m in degrees:
            exact = b * float((kernel * place(middle) ** m).sum())
            ours = float(np.dot(weights, place(position(schedule, nodes, variable)) ** m))
            result[name].append(abs(ours / exact - 1))
    return result


# --- what hides the order -------------------------------------------------------------------------------


class WholeTimes(RoundedClock):
    """A network that knows whole steps out of 1000, under a solver that goes on reckoning with its own times
    (`RoundedClock`), for data prediction too.
    """

    def x0(self, x, t):
        return (x - self.schedule.sigma(t) * self.eps(x, t)) / self.schedule.alpha(t)


@cache
def whole_times(counts=(10, 20, 50, 100, 200, 500), n=64):
    """Errors of DDIM, 2M and UniPC-3 with and without whole time steps: dict label -> (calls, errors)."""
    model, x, want = truth(n)
    result = {}
    for name in ("DDIM = DPM-1", "++2M", "UniPC-3"):
        loop, _, options = SOLVERS[name]
        for label, asked in ((name, model), (f"{name}, whole steps", WholeTimes(model))):
            errors = ode_errors(loop, asked, x, counts, want=want, **options)
            result[label] = errors["nfe"], errors["rmse"]
    return result


@claim(
    "D5",
    source="diffusers, schedulers that round their time steps",
    says="Asking the network at the nearest whole time step costs a solver nothing.",
    holds=lambda r: r["UniPC-3, whole steps"] > 2.5,
    verdict=False,
    finding="The rounding is an error of its own, near 1e-4, which falls only as roundings of either sign "
    "average out. DDIM's error hides it for long; that of a high order runs into it and stops.",
    elsewhere={"1e-4": "the plateau in whole_errors"},
)
@tried_on(ON_COSINE | ON_FOUR_MODES)
def whole_orders() -> dict:
    """Slopes of `whole_times` over the finer half; where an error has stopped falling they are no orders."""
    return {name: slope(n[-3:], e[-3:]) for name, (n, e) in whole_times().items()}


def whole_errors():
    """The errors of `whole_times`, a row for each solver, a column for each number of calls from 50 on."""
    return {
        f"{name} | {n} calls": f"{e:.1e}"
        for name, (calls, errors) in whole_times().items()
        for n, e in zip(calls[2:], errors[2:])
    }


def rounding_against_2m(calls=(50, 100, 200, 500)) -> dict:
    """On five modes: the correlation of 2M's own error with what rounding the time adds to it."""
    model, x, want = truth(64)
    result = {}
    for n in calls:
        times = grids.uniform_lambda(VP(), n)
        own, rounded = (sample(dpmpp_2m, m, x, times).x for m in (model, WholeTimes(model)))
        pair = torch.stack([(own - want).flatten(), (rounded - own).flatten()])
        result[f"correlation, {n} calls"] = float(torch.corrcoef(pair)[0, 1])
    return result


@cache
def hidden_switch(counts=tuple(range(4, 21)), below=10, n=64):
    """2M with its last step of order 1 below `below` steps, as libraries do it, never, and always, on equal
    steps in t: dict rule -> (steps, errors).
    """
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
    holds=lambda r: r["switch at 10 steps: error at 10 steps"] <= r["switch at 10 steps: error at 9 steps"],
    verdict=False,
    finding="Where the order of the last step depends on the number of steps, the error jumps at the "
    "switch. With either rule kept there is no jump.",
)
@tried_on(ON_COSINE | ON_FOUR_MODES)
def switch_jump() -> dict:
    """Error at 9 and at 10 steps with the hidden switch; with either rule kept."""
    result = hidden_switch()
    return {
        f"{name}: error at {k} steps": errors[counts.index(k)]
        for name, (counts, errors) in result.items()
        for k in (9, 10)
    }


@cache
def to_zero(counts=(64, 256, 1024, 4096), std=0.5):
    """3M on N(0, std^2) down to t = 0, where lambda is infinite and the last step is a jump: dict grid ->
    (steps, errors).
    """
    schedule, x = VP(), initial_noise(20, 1, 0, **DOUBLE)
    model = Mixture.gaussian(1, std).model(schedule)
    want = GaussianFlow(schedule, std=std).map(x, schedule.start, 0.0)
    error = lambda times: rms(sample(dpmpp_3m, model, x, times).x - want)
    result = {
        name: (list(counts), [error(grid(schedule, k, end=0.0)) for k in counts])
        for name, grid in (("uniform t", grids.uniform), ("quadratic", grids.quadratic))
    }
    cubic = lambda k: torch.linspace(1, 0, k + 1, dtype=torch.float64) ** 3
    return result | {"$t=u^3$": (list(counts), [error(cubic(k)) for k in counts])}


def orders_at_zero():
    """Slopes of `to_zero` at its fine end."""
    return {
        f"3M to t = 0, {name}".replace("$", ""): slope(n[-2:], e[-2:]) for name, (n, e) in to_zero().items()
    }


# --- grids ----------------------------------------------------------------------------------------------


@cache
def grid_errors(nfe=20, n=64, problem="five"):
    """Errors at nfe calls: dict solver -> {grid -> error}."""
    model, x, want = truth(n, problem)
    result = {}
    for name in ("DDIM = DPM-1", "DPM-2", "++2M", "++3M", "UniPC-3", "iPNDM-4"):
        loop, cost, options = SOLVERS[name]
        result[name] = {
            label: rms(sample(loop, model, x, grid(VP(), nfe // cost), **options).x - want)
            for label, grid in GRIDS.items()
        }
    return result


def grids_table(calls=(10, 20, 40)):
    """On five modes (root mean square) and the ring (median), a row for each solver and grid, a column for
    each problem and number of calls: the error on this grid over that on the best of the four.
    """
    result = {}
    for name in ("DDIM = DPM-1", "++2M", "++3M", "UniPC-3", "iPNDM-4"):
        for problem, short, which in (("five modes", "five", 0), ("ring", "ring", 1)):
            model, x, want = truth(64, short)
            for n in calls:
                errors = {
                    label: float(in_batches(end_of(name, model, x, n, grid) - want, 1)[which][0])
                    for label, grid in GRIDS.items()
                }
                for label, e in errors.items():
                    result[f"{name}, {label} | {problem}, {n} calls"] = f"{e / min(errors.values()):.3g}"
    return result


@claim(
    "BB4, T38",
    source="Blog, on fast samplers; textbook, exercise 8.3.2c",
    says="Where the nodes are is not a key ingredient.",
    holds=lambda r: all(
        r[f"{name}, rho = 1"] < 2 * r[f"{name}, rho = 7"]
        for name in ("DDIM, 10 calls", "DPM-2, 20 calls", "2M, 40 calls")
    ),
    verdict=False,
    finding="On EDM's range equal steps in sigma cost DDIM with 10 calls a factor of ten, DPM-2 with 20 "
    "hundreds, 2M with 40 ninety and with 8 three.",
    figure="grids-figure",
)
@tried_on(ON_SIX_MODES | {"levels from 20": {"EDM": partial(EDM, sigma_max=20.0)}})
@cache
def nodes_matter(powers=(1, 2, 3, 5, 7, 10, 20)) -> dict:
    """EDM's schedule from 80 to 0.002 on the ring, equal steps in sigma^(1/rho): median error, 100 starts."""
    schedule, result = EDM(), {}
    model = RING.model(schedule)
    x = 80 * initial_noise(100, 2, 0, **DOUBLE)
    want = reference(model, x, schedule.start, schedule.end)
    for name, loop, steps, nfe in (
        ("DDIM", ddim, 10, 10), ("DPM-2", dpm_solver_2, 10, 20), ("2M", dpmpp_2m, 8, 8),
        ("2M", dpmpp_2m, 20, 20), ("2M", dpmpp_2m, 40, 40),
    ):  # fmt: skip
        for rho in powers:
            end = sample(loop, model, x, grids.karras(schedule, steps, rho=float(rho))).x
            result[f"{name}, {nfe} calls, rho = {rho}"] = float(in_batches(end - want, 1)[1][0])
    return result


# --- few calls, and stability ---------------------------------------------------------------------------

FEW = (4, 6, 8, 12, 16, 24, 48, 96, 192)
FEW_SOLVERS = ("DDIM = DPM-1", "DPM-2", "DPM-3", "Heun, σ/α", "++2S", "++2M", "2M, noise")


@cache
def few_calls(budgets=FEW, n=64):
    """On the ring, uniform in lambda: dict solver -> (calls, errors)."""
    result = curves(FEW_SOLVERS, budgets, "ring", n)
    return {name: (e["nfe"], e["rmse"]) for name, e in result.items()}


SHORT = {"DDIM = DPM-1": "DDIM", "++2S": "2S", "++2M": "2M", "2M, noise": "2M with the noise"}


@claim(
    "C18, BB11",
    source="Blog, on few-step sampling",
    says="With five calls or fewer a second-order method is worse than a first-order one.",
    holds=lambda r: all(
        r[f"quadratic, {n} calls: DDIM / {other}"] < 1 for n in (4, 5) for other in list(SHORT.values())[1:]
    ),
    fails=lambda r: all(
        r[f"uniform λ, {n} calls: DDIM / {memory}"] > 1 for n in (4, 5) for memory in list(SHORT.values())[2:]
    ),
    verdict="holds if",
    finding="If the grid is the quadratic one: there DDIM beats 2S and both 2M. With four and five equal "
    "steps in lambda both 2M beat DDIM on the ring, by factors of 1.3 to 2.5. It turns with six wider modes "
    "and with the cosine schedule: even on the quadratic grid 2M with the noise is level with DDIM at four "
    "calls, and ahead at five.",
    figure="few-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
@cache
def few_by_grid(calls=(4, 5, 6)) -> dict:
    """Errors (root mean square; mean of eight batches of 64 starts, and their standard deviation) of DDIM, 2S
    and both 2M on the ring with very few calls on each grid (2S makes two calls a step, so four where five
    are allowed), and DDIM's over each.
    """
    model, x, want = truth(EIGHT, "ring")
    result = {}
    for label, grid in GRIDS.items():
        for n in calls:
            for name, short in SHORT.items():
                errors = in_batches(end_of(name, model, x, n, grid) - want)[0]
                row = f"{label}, {n} calls: {short}"
                result |= {row: float(errors.mean()), f"{row}, sd": float(errors.std(ddof=1))}
                first = result[f"{label}, {n} calls: DDIM"]
                result[f"{label}, {n} calls: DDIM / {short}"] = first / result[row]
    return result


def few_table():
    """`few_by_grid`, a row for each number of calls and grid, a column for each solver."""
    each = few_by_grid()
    spread = lambda name: told_pair(each[name], each[f"{name}, sd"])
    rows = [(grid, n) for n in (4, 5, 6) for grid in GRIDS]
    return {
        f"{n} calls, {grid} | {short}": spread(f"{grid}, {n} calls: {short}")
        for grid, n in rows
        for short in SHORT.values()
    }


def few_medians():
    """The medians beside `few_table`, on two grids: a row for each number of calls and grid, a column for
    each solver.
    """
    model, x, want = truth(EIGHT, "ring")
    return {
        f"{n} calls, {label} | {short}": told(in_batches(end_of(name, model, x, n, GRIDS[label]) - want)[1])
        for n in (4, 5, 6)
        for label in ("quadratic", "uniform λ")
        for name, short in SHORT.items()
    }


@claim(
    "BB7",
    source="Blog, on fast samplers",
    says="DPM-Solver and its kin are general-purpose methods, not made for diffusion.",
    holds=lambda r: r["++2S, 4 calls"] > 0.5 * min(r["Heun, σ/α, 4 calls"], r["DPM-2, 4 calls"]),
    verdict=False,
    finding="DPM-Solver-2 coincides with a general method, the midpoint rule in sigma / alpha. Data "
    "prediction, with the linear part of this very equation integrated exactly, does not, and with four "
    "calls on the ring has a twentieth of its error. With many calls the two differ by less than a factor of "
    "two.",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
@cache
def at_four() -> dict:
    """Errors on the ring with four equal steps' worth of calls in lambda, root mean square over 512 starts:
    mean and standard deviation over eight batches; and the most calls at which DPM-2 loses to DDIM.
    """
    model, x, want = truth(EIGHT, "ring")
    result = {}
    for name in ("DDIM = DPM-1", "DPM-2", "Heun, σ/α", "++2S", "++2M", "2M, noise"):
        errors = in_batches(end_of(name, model, x, 4) - want)[0]
        row = f"{name}, 4 calls"
        result |= {row: float(errors.mean()), f"{row}, sd": float(errors.std(ddof=1))}
    curve = few_calls()
    worse = [n for n, a, b in zip(FEW, curve["DPM-2"][1], curve["DDIM = DPM-1"][1]) if a > b]
    return result | {"most calls at which DPM-2 loses to DDIM": max(worse)}


@claim(
    "BT15, T14",
    source="Textbook, section 8.2.4, tip",
    says="With more than fifty steps use Euler, that is DDIM.",
    holds=lambda r: r["DDIM / 2M, 192 calls"] < 2,
    verdict=False,
    finding="The more steps, the more a second order gains: for the typical sample each doubling of the "
    "steps doubles the ratio of the errors.",
    figure="few-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
@cache
def ratios() -> dict:
    """Median error of DDIM over that of 2M on the ring, uniform in lambda: mean and standard deviation over
    eight batches of 64.
    """
    model, x, want = truth(EIGHT, "ring")
    result = {}
    for n in (24, 48, 96, 192):
        ddim_, two_m = (in_batches(end_of(name, model, x, n) - want)[1] for name in ("DDIM = DPM-1", "++2M"))
        row, values = f"DDIM / 2M, {n} calls", ddim_ / two_m
        result |= {row: float(values.mean()), f"{row}, sd": float(values.std(ddof=1))}
    return result


@claim(
    "C37, T33",
    source="Textbook, section 8.3, research box",
    says="High-order solvers lose stability when steps are few.",
    holds=lambda r: (
        min(r["DPM-3, 6 calls"], r["Heun in σ/α, 6 calls"], r["RK4 in λ, 4 calls"]) > 2 * r["DDIM, 6 calls"]
    ),
    verdict=True,
    finding="Single-step methods of order 2 to 4 do, RK4 in lambda by four powers of ten. Order 1 never "
    "leaves the stable range on Gaussian data.",
    figure="few-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def blow_up() -> dict:
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
    """The linear test problem in EDM's schedule: eps = mu x / sigma, a row for each mu, so that dx / dlambda
    is -mu x.  Gaussian data have mu in (0, 1); guidance multiplies it.
    """

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
    "2M, noise": (exponential_ab, {"order": 2, "prediction": "eps"}),
}


def growth(loop, h, mu, **options):
    """By what factor |x| grows a step, steps of h in lambda on the linear test problem, for each mu (n,).

    Measured over the second half of a run: of 60 steps, or of as many as float64 holds (sigma falls by e^h a
    step).
    """
    steps = int(np.clip(280 / h, 24, 60))
    times = np.exp(-h * np.arange(steps + 1))
    x = torch.ones(len(mu), 1, dtype=torch.float64)
    model = Linear(torch.as_tensor(mu, dtype=torch.float64)[:, None])
    sizes = [state.abs() for _, state in loop(model, x, times, **options)]
    late = torch.stack(sizes[steps // 2 :]).clamp(min=1e-300)
    return ((late[-6:].amax(0) / late[:6].amax(0)) ** (1 / (len(late) - 6)))[:, 0].numpy()


SIZES = tuple(np.linspace(0.1, 10, 34).round(3).tolist())


@cache
def largest_mu(sizes=SIZES, top=8.0, points=400):
    """The largest mu up to which every mu is stable, for each step h in lambda: (h, dict solver -> mu)."""
    mu = np.linspace(0.01, top, points)
    result = {}
    for name, (loop, options) in TESTED.items():
        limits = []
        for h in sizes:
            wild = growth(loop, h, mu, **options) > 1 + 1e-6
            limits.append(float(mu[wild.argmax()]) if wild.any() else top)
        result[name] = limits
    return list(sizes), result


@cache
def breaking_step(name, points=200):
    """The shortest step in lambda at which some mu in (0, 1) grows, by bisection; None if there is none up to
    the last of `SIZES`.
    """
    loop, options = TESTED[name]
    mu = np.linspace(0.005, 0.995, points)
    wild = lambda h: bool((growth(loop, h, mu, **options) > 1 + 1e-6).any())
    if not any(wild(h) for h in SIZES):
        return None
    high = next(h for h in SIZES if wild(h))
    low = max(h for h in (0.01, *SIZES) if h < high)
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if wild(middle) else (middle, high)
    return high


@claim(
    "T41",
    source="Textbook, exercise 8.3.4b",
    says="A method of higher order is less stable.",
    holds=lambda r: r["++3M: largest factor"] > 1 + 1e-6 > r["++2M: largest factor"],
    fails=lambda r: (
        r["DPM-2: unstable from h ="] < r["DPM-3: unstable from h ="] and r["++2S: largest factor"] < 1 + 1e-6
    ),
    verdict="holds if",
    finding="If both have a memory: 3M grows from h = 5.95 on where 2M never does, and above the band of "
    "Gaussian data 2M's room ends before DDIM's and 3M's before 2M's. Across forms the prediction matters "
    "more: DPM-Solver-2 breaks at 3.89, DPM-Solver-3, an order higher, at 4.75, 2S nowhere up to 10.",
    figure="stability-figure",
)
@cache
def stable_steps() -> dict:
    """For each solver the largest factor a step by which a mu in (0, 1) grows, steps of 0.1 to 10 in lambda;
    and where it exceeds 1, the shortest such step.
    """
    mu, result = np.linspace(0.005, 0.995, 200), {}
    for name, (loop, options) in TESTED.items():
        result[f"{name}: largest factor"] = float(max(growth(loop, h, mu, **options).max() for h in SIZES))
        h = breaking_step(name)
        if h is not None:
            result[f"{name}: unstable from h ="] = h
    return result


def breaking_table():
    """The shortest unstable step of each solver of `TESTED`, as rows."""
    steps = {name: breaking_step(name) for name in TESTED}
    return {name: "none up to 10" if h is None else f"{h:.2f}" for name, h in steps.items()}


BARS = {
    "DDIM": (ddim, {}),
    "DPM-2": (dpm_solver_2, {}),
    "DPM-3": (dpm_solver_3, {}),
    "Heun, σ/α": (heun, {"variable": "sigma"}),
    "2S": (dpmpp_2s, {}),
    "2M": (dpmpp_2m, {}),
    "2M, noise": (exponential_ab, {"order": 2, "prediction": "eps"}),
    "3M": (dpmpp_3m, {}),
    "UniPC-3": (unipc, {}),
}


def growth_of_all(h, mu):
    """The factor a step of every solver of `BARS` for one h and mu: dict name -> factor."""
    return {
        name: float(growth(loop, h, np.array([mu]), **options)[0]) for name, (loop, options) in BARS.items()
    }


def greedy_step(y, slopes, k):
    """-4 y_i + 5 y_(i-1) + k (4 y'_i + 2 y'_(i-1)): the explicit two-step method of the highest order, 3
    (Hairer, Norsett & Wanner 1993, sec. III.3).  y, slopes: the newest value last.
    """
    return -4 * y[-1] + 5 * y[-2] + k * (4 * slopes[-1] + 2 * slopes[-2])


@cache
def local_is_not_global(counts=(10, 20, 40)) -> dict:
    """Eight broad modes, y = x/α, equal steps k in κ = σ/α from 5 to 0.2, exact values at the first two
    times.
    The error of one `greedy_step` from exact values half-way, as its slope in k; the error at the end of
    `greedy_step` repeated; and that of Adams-Bashforth of order 2, which starts from the same values.
    """
    start, end = moderate()
    schedule, model = VP(), WIDE_RING.model(VP())
    x, local, result = initial_noise(40, 2, 0, **DOUBLE), [], {}
    want = reference(model, x, start, end)
    exact = lambda t: reference(model, x, start, t) / schedule.alpha(t)
    slope_at = lambda y, t: model.eps(schedule.alpha(t) * y, t)
    for n in counts:
        times = grids.karras(schedule, n, start, end, rho=1.0).tolist()
        k, i = (0.2 - 5) / n, n // 2
        pair = [exact(t) for t in times[i - 1 : i + 1]]
        one = greedy_step(pair, [slope_at(y, t) for y, t in zip(pair, times[i - 1 :])], k)
        local.append(rms(one - exact(times[i + 1])))
        y = [x / schedule.alpha(start), exact(times[1])]
        slopes = [slope_at(*pair) for pair in zip(y, times)]
        for t in times[2:]:
            y = [y[-1], greedy_step(y, slopes, k)]
            slopes = [slopes[-1], slope_at(y[-1], t)]
        result[f"root −5, {n} steps: error at the end"] = rms(schedule.alpha(end) * y[-1] - want)
        adams = sample(
            exponential_ab, model, schedule.alpha(times[1]) * exact(times[1]), times[1:],
            order=2, prediction="eps", variable="sigma", history=[(start, x)],
        )  # fmt: skip
        result[f"Adams-Bashforth, {n} steps: error at the end"] = rms(adams.x - want)
    return {"root −5: slope of one step's error": slope(counts, local)} | result


# --- guidance and thresholds ----------------------------------------------------------------------------


@cache
def guided_truth(scale, n=80):
    """(model, starts, ends): `guided_start`, and the guided network's own flow by UniPC-3 with 150 steps (RK4
    with 300 agrees to 1e-4 at scale 8).
    """
    model, x = guided_start(scale, n)
    return model, x, sample(unipc, model, x, grids.uniform_lambda(VP(), 150)).x


@cache
def guided_start(scale, n=80):
    """(model, starts): n digits of all classes, with guidance."""
    from toolkit.networks import digits_model

    label, x = torch.arange(n) % 10, initial_noise(n, (1, 8, 8), 0)
    model = digits_model(VP(), label=label) if scale == 1 else Guided(digits_model(VP()), label, float(scale))
    return model, x


@cache
def guided_digits(scales=(1, 2, 4, 8), calls=12):
    """Digits with guidance: root mean square distance from the guided flow's own end, at equal calls of the
    solver, means over eight batches of ten: dict solver -> (scales, errors).
    """
    result = {name: ([], []) for name in GUIDED}
    for scale in scales:
        model, x, want = guided_truth(scale)
        for name in GUIDED:
            result[name][0].append(scale)
            result[name][1].append(float(in_batches(end_of(name, model, x, calls) - want)[0].mean()))
    return result


GUIDED = ("DDIM = DPM-1", "DPM-2", "++2S", "++2M", "2M, noise", "++3M", "UniPC-3")


@claim(
    "C27, T36",
    source="Textbook, section 8.3.4 and exercise 8.3.2a",
    says="Data prediction is the stabler form under guidance.",
    holds=lambda r: r["++2S"] < 0.2 * r["DPM-2"],
    fails=lambda r: r["2M, noise"] + 2 * r["2M, noise, sd"] < r["++2M"],
    verdict="holds if",
    finding="If the method makes a second call in the step, where steps are near the limit of stability: "
    "with ten calls and guidance 6 on the ring DPM-Solver-2 errs two hundred times as much as 2S. From 12 "
    "calls on the lead shrinks, and by root mean square it is gone on the ring at 48. With memory it fails: "
    "there 2M errs by 0.11, with the noise by 0.024; noise prediction is stable too, and ahead on the "
    "quadratic grid with few calls.",
    figure="data-or-noise",
)
@tried_on(ON_COSINE | {"guidance 3": {"scale": 3.0}, "14 calls": {"calls": 14}})
@cache
def guided_ring(scale=6.0, calls=10, n=EIGHT) -> dict:
    """Guidance 6 on the exact ring, ten calls of the solver: median error against the guided flow, mean and
    standard deviation over eight batches.
    """
    model, x, want = guided_ring_truth(scale, n)
    result = {}
    for name in GUIDED:
        errors = in_batches(end_of(name, model, x, calls) - want)[1]
        result |= {name: float(errors.mean()), f"{name}, sd": float(errors.std(ddof=1))}
    return result


@cache
def guided_ring_truth(scale, n=EIGHT):
    """(model, starts, exact ends): the ring with guidance towards each start's own mode."""
    model = Guided(RING.model(VP()), torch.arange(n) % 8, float(scale))
    x = initial_noise(n, 2, 0, **DOUBLE)
    return model, x, reference(model, x, VP().start, VP().end, 1e-9)


RATIO_CALLS = (8, 12, 16, 20, 24, 32, 48, 96)


@cache
def noise_over_data(calls=RATIO_CALLS):
    """The error with noise prediction over the error with data prediction, same order, same calls, same grid:
    dict pair -> dict problem -> [ratios of eight batches at each of `calls`].  The pairs: DPM-2 and 2S; 2M
    with the noise and with the data, on two grids.  The problems: digits with guidance 1, 3 and 8 (eighty,
    root mean square, against UniPC-3 with 150 steps), the ring and five modes (512 starts, medians).
    """
    problems = {"digits": guided_truth(1)} | {f"digits, guidance {w}": guided_truth(w) for w in (3, 8)}
    problems |= {"ring": truth(EIGHT, "ring"), "five modes": truth(EIGHT)}
    pairs = {
        "DPM-2 / 2S, equal λ": ("DPM-2", "++2S", grids.uniform_lambda),
        "2M: noise / data, equal λ": ("2M, noise", "++2M", grids.uniform_lambda),
        "2M: noise / data, quadratic": ("2M, noise", "++2M", grids.quadratic),
    }
    result = {}
    for label, (noise, data, grid) in pairs.items():
        result[label] = {}
        for problem, (model, x, want) in problems.items():
            which = 0 if "digits" in problem else 1
            error = lambda name, n, m=model, y=x, w=want, k=which, g=grid: in_batches(
                end_of(name, m, y, n, g) - w
            )[k]
            result[label][problem] = [error(noise, n) / error(data, n) for n in calls]
    return result


def data_table():
    """The first and the last pair of `noise_over_data`, a row for each problem, a column for each number of
    calls; and the first pair on the ring by root mean square.
    """
    every = noise_over_data()
    pairs = {"DPM-2 / 2S": "DPM-2 / 2S, equal λ", "2M, quadratic": "2M: noise / data, quadratic"}
    rows = {f"{short}, {p}": row for short, pair in pairs.items() for p, row in every[pair].items()}
    model, x, want = truth(EIGHT, "ring")
    error = lambda name, n: in_batches(end_of(name, model, x, n) - want)[0]
    rows["DPM-2 / 2S, ring, root mean square"] = [error("DPM-2", n) / error("++2S", n) for n in RATIO_CALLS]
    return {
        f"{label} | {n} calls": told(ratios)
        for label, row in rows.items()
        for n, ratios in zip(RATIO_CALLS, row)
    }


CHOICES = ("DDIM = DPM-1", "++2S", "++2M", "2M, noise", "++3M", "UniPC-3")
SETTINGS = (
    ("digits", 1, 10), ("digits", 1, 12), ("digits", 1, 16), ("digits", 2, 10), ("digits", 4, 12),
    ("digits", 4, 24), ("digits", 8, 12), ("ring", 6, 10), ("ring", 6, 16),
)  # fmt: skip


@cache
def choices():
    """The errors behind the advice that closes chapter 4: dict (data, guidance, calls, grid) -> {solver ->
    values of eight batches}, eighty digits by root mean square, 512 starts on the ring by the median.
    """
    result = {}
    for data, scale, calls in SETTINGS:
        model, x, want = guided_truth(scale) if data == "digits" else guided_ring_truth(scale)
        for label in ("uniform λ", "quadratic"):
            result[data, scale, calls, label] = {
                name: in_batches(end_of(name, model, x, calls, GRIDS[label]) - want)[int(data == "ring")]
                for name in CHOICES
            }
    return result


def choices_table():
    """`choices`, a row for each setting and grid, a column for each solver: means, with a star where the best
    of both grids is level with it (within two standard errors).
    """
    result = {}
    for data, scale, calls in SETTINGS:
        both = {g: choices()[data, scale, calls, g] for g in ("uniform λ", "quadratic")}
        cells = {(g, n): e for g, row in both.items() for n, e in row.items()}
        low = min(cells, key=lambda key: cells[key].mean())
        for (grid, name), errors in cells.items():
            gap = errors - cells[low]
            star = "*" if gap.mean() <= 2 * gap.std(ddof=1) / math.sqrt(BATCHES) else ""
            label = f"{data}, guidance {scale}, {calls} calls, {grid}"
            result[f"{label} | {name.removeprefix('++').split(' =')[0]}"] = f"{errors.mean():.2g}{star}"
    return result


@claim(
    "BT19, T30",
    source="Textbook, section 8.3.4",
    says="DPM-Solver++ has two key improvements, data prediction and thresholding.",
    holds=lambda r: r["++2S, 20 calls"] / r["++2M, 20 calls"] < 1.2,
    verdict=False,
    finding="The third is the multistep form, one call a step: on five modes with twenty calls it gains more "
    "than data prediction does.",
)
@tried_on(ON_SIX_MODES | ON_COSINE | ON_FOUR_MODES)
def two_improvements() -> dict:
    """Errors on five modes with twenty calls: noise prediction, data prediction, data prediction with memory;
    and what memory is worth on the ring: the median error of 2S over that of 2M, mean of eight batches.
    """
    model, x, want = truth(64)
    result = {}
    for name in ("DPM-2", "++2S", "++2M"):
        result[f"{name}, 20 calls"] = rms(end_of(name, model, x, 20) - want)
    model, x, want = truth(EIGHT, "ring")
    for n in (8, 12, 20):
        single, memory = (in_batches(end_of(name, model, x, n) - want)[1] for name in ("++2S", "++2M"))
        result[f"ring, {n} calls: 2S / 2M"] = float((single / memory).mean())
    return result


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
    result = {}
    for name, options in CLIPS.items():
        model = Guided(digits_model(schedule), label, scale)
        model = model if options is None else Thresholded(model, **options)
        result[name] = sample(dpmpp_2m, model, x, grids.uniform_lambda(schedule, steps)).x
    return result


def one_prediction(t=0.5, scale=8.0, n=200):
    """What the rules do to one guided prediction of x0 half-way: share of pixels at the limit, correlation
    with the prediction as it was.
    """
    from toolkit.data import digits
    from toolkit.networks import digits_model

    schedule = VP()
    images, labels = (part[:n] for part in digits("test"))
    model = Guided(digits_model(schedule), labels, scale)
    x = schedule.alpha(t) * images + schedule.sigma(t) * initial_noise(n, (1, 8, 8), 0)
    with torch.no_grad():
        raw = model.x0(x, t)
        result = {"one prediction, raw: largest |x0|": float(raw.abs().max())}
        for name, options in CLIPS.items():
            if options is not None:
                pixels = Thresholded(model, **options).x0(x, t)
                pair = torch.stack([raw.flatten(), pixels.flatten()]).double()
                result[f"one prediction, {name}: at ±1, %"] = float(100 * (pixels.abs() >= 1).double().mean())
                result[f"one prediction, {name}: correlation"] = float(torch.corrcoef(pair)[0, 1])
    return result


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
    figure="threshold-figure",
)
@tried_on(ON_COSINE)
def thresholds() -> dict:
    """`one_prediction`; of a whole run, the share of pixels at the limit or beyond (the data's own for
    comparison) and the correlation with the unclipped result; and the standard deviation of Gaussian data of
    standard deviation 2 sampled with each rule.
    """
    from toolkit.data import digits

    schedule = VP()
    result = one_prediction()
    result["data: pixels at ±1 or beyond, %"] = float(100 * (digits("all")[0].abs() >= 0.98).double().mean())
    raw = clipped_digits()["none"].flatten().double()
    wide = Mixture.gaussian(16, 2.0).model(schedule)
    x = initial_noise(1000, 16, 0, **DOUBLE)
    for name, options in CLIPS.items():
        pixels = clipped_digits()[name].flatten().double()
        model = wide if options is None else Thresholded(wide, **options)
        latent = sample(dpmpp_2m, model, x, grids.uniform_lambda(schedule, 20)).x
        result[f"{name}: pixels at ±1 or beyond, %"] = float(100 * (pixels.abs() >= 0.98).double().mean())
        result[f"{name}: correlation with the raw result"] = float(
            torch.corrcoef(torch.stack([raw, pixels]))[0, 1]
        )
        result[f"{name}: std of N(0, 4) data"] = float(latent.std())
    return result


# --- adaptive -------------------------------------------------------------------------------------------


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


CONTROLLED = {"1/2": 1 / 2, "1/3": 1 / 3}


@cache
def controllers(tolerances=(0.02, 0.005), seeds=(0, 1, 2, 3), n=20, tries=200):
    """DPM-Solver-12 on the ring for exponents 1/2 and 1/3, with and without the safety factor: dict
    (exponent, safety) -> [(t reached, tries, refused) of each tolerance and seed]; at most so many tries.
    """
    model, result = RING.model(VP()), {}
    for name, exponent in CONTROLLED.items():
        for safety in (1.0, 0.9):
            result[name, safety] = rows = []
            for tol in tolerances:
                for seed in seeds:
                    log, x = [], initial_noise(n, 2, seed, **DOUBLE)
                    run = sample(
                        controller_12, model, x, [1.0, 1e-3],
                        log=log, exponent=exponent, safety=safety, rtol=tol, atol=tol / 10, tries=tries,
                    )  # fmt: skip
                    rows.append((run.times[-1], len(log), log.count(False)))
    return result


def controller_table():
    """`controllers`, a row for each exponent and safety factor: runs that reached the end; the tries and
    the refusals of those, the fewest to the most.
    """
    result = {}
    for (name, safety), rows in controllers().items():
        done = [row for row in rows if row[0] <= 1e-3]
        label = f"exponent {name}, {'θ = 0.9' if safety < 1 else 'without θ'}"
        result[f"{label} | reached the end"] = f"{len(done)} of {len(rows)}"
        for k, what in ((1, "tries"), (2, "refused")):
            values = sorted({row[k] for row in done})
            result[f"{label} | {what}"] = (
                f"{values[0]} to {values[-1]}" if len(values) > 1 else str(values[0]) if values else "–"
            )
    return result


@claim(
    "BT22, T34, S23",
    source="Textbook, section 8.3.5",
    says="In h (tol / err)^(1 / (p + 1)) p is the order of the solver.",
    holds=lambda r: abs(r["slope of the estimate, DPM-Solver-12"] - 3) < 0.3,
    verdict=False,
    finding="p is the order of the lower member, whose error is what is measured: the estimate of "
    "DPM-Solver-12 falls like h^2, that of DPM-Solver-23 like h^3, so the exponents are 1/2 and 1/3.",
)
@tried_on(ON_COSINE | ON_FOUR_MODES)
def estimate_slopes(sizes=(0.2, 0.1, 0.05, 0.025), n=50) -> dict:
    """How the estimate of DPM-Solver-12 and -23, the distance of their two results, falls with the step, from
    an exact state at sigma / alpha = 1.
    """
    schedule, s = VP(), float(VP().t_of_lam(0.0))
    model = FIVE.model(schedule)
    x = reference(model, initial_noise(n, 2, 0, **DOUBLE), schedule.start, s)
    result = {}
    for order, name in ((2, "12"), (3, "23")):
        gaps = []
        for h in sizes:
            low, high = embedded(model, x, s, float(schedule.t_of_lam(h)), order, model.eps(x, s))
            gaps.append(rms(high - low))
        result[f"slope of the estimate, DPM-Solver-{name}"] = -slope(sizes, gaps)
    return result


@cache
def adaptive_curves(tolerances=(0.3, 0.1, 0.03, 0.01, 0.003, 0.001), n=20):
    """On the ring: (calls, errors) of DPM-Solver-12 and -23, and of DPM-Solver-2 and -3 on
    equal steps in lambda.
    """
    schedule = VP()
    model, x = RING.model(schedule), initial_noise(n, 2, 0, **DOUBLE)
    want, result = reference(model, x, schedule.start, schedule.end), {}
    for order, name in ((2, "DPM-Solver-12"), (3, "DPM-Solver-23")):
        runs = [
            sample(
                dpm_solver_adaptive, model, x, [schedule.start, schedule.end],
                order=order, rtol=tol, atol=tol / 6,
            )
            for tol in tolerances
        ]  # fmt: skip
        result[name] = [run.nfe for run in runs], [rms(run.x - want) for run in runs]
    for name, loop, cost in (
        ("DPM-Solver-2, fixed", dpm_solver_2, 2),
        ("DPM-Solver-3, fixed", dpm_solver_3, 3),
    ):
        calls = (24, 48, 96, 192, 384)
        errors = ode_errors(loop, model, x, [k // cost for k in calls], want=want)["rmse"]
        result[name] = list(calls), errors
    return result


@claim(
    "C28, T39",
    source="Textbook, section 8.3.5 and exercise 8.3.3",
    says="Adaptive steps give more accuracy for the same calls.",
    holds=lambda r: r["DPM-Solver-12"] < r["DPM-Solver-2, uniform t"],
    fails=lambda r: r["DPM-Solver-12"] > r["DPM-Solver-2, quadratic"],
    verdict="holds if",
    finding="If the fixed grid does not suit the problem, as equal steps in t do not suit the ring. Against "
    "the quadratic one, which does, DPM-Solver-12 loses at a tolerance of 0.01 and is level at 0.001; "
    "DPM-Solver-23 is ahead there by root mean square, level by the median. What they buy is that nobody has "
    "to know which grid suits.",
    elsewhere={"0.01": "a tolerance", "0.001": "a tolerance"},
    figure="adaptive-figure",
)
@tried_on(ON_SIX_MODES | ON_COSINE)
def adaptive_against_fixed() -> dict:
    """The error of DPM-Solver-12 at its tolerance of 0.01, and of fixed grids at the same calls."""
    model, x, want = truth(64, "ring")
    schedule = VP()
    run = sample(
        dpm_solver_adaptive, model, x, [schedule.start, schedule.end], order=2, rtol=0.01, atol=0.01 / 6
    )
    result = {"calls": run.nfe, "DPM-Solver-12": rms(run.x - want)}
    for name, grid in GRIDS.items():
        result[f"DPM-Solver-2, {name}"] = rms(
            sample(dpm_solver_2, model, x, grid(schedule, run.nfe // 2)).x - want
        )
    return result


@cache
def adaptive_or_fixed(tolerances=(0.01, 0.001), n=20):
    """The error of a fixed grid over that of adaptive steps with the same calls, on the ring: dict (order,
    tolerance) -> (calls of the eight batches of n starts, {(grid, measure) -> their ratios}).
    """
    model, result = RING.model(VP()), {}
    for order, loop in ((2, dpm_solver_2), (3, dpm_solver_3)):
        for tol in tolerances:
            calls, ratios = [], {(grid, what): [] for grid in GRIDS for what in ("rms", "median")}
            for seed in range(BATCHES):
                x, want = _ring_ends(n, seed)
                run = sample(dpm_solver_adaptive, model, x, [VP().start, VP().end],
                             order=order, rtol=tol, atol=tol / 6)  # fmt: skip
                calls.append(run.nfe)
                ours = in_batches(run.x - want, 1)
                for name, grid in GRIDS.items():
                    theirs = in_batches(sample(loop, model, x, grid(VP(), run.nfe // order)).x - want, 1)
                    for k, what in enumerate(("rms", "median")):
                        ratios[name, what].append(float(theirs[k][0] / ours[k][0]))
            result[order, tol] = calls, ratios
    return result


@cache
def _ring_ends(n, seed):
    """(starts, exact ends) of n samples of the ring."""
    x = initial_noise(n, 2, seed, **DOUBLE)
    return x, reference(RING.model(VP()), x, VP().start, VP().end, 1e-11)


def adaptive_table():
    """`adaptive_or_fixed`, a row for each solver, tolerance and measure, columns for calls and grids."""
    result = {}
    for (order, tol), (calls, ratios) in adaptive_or_fixed().items():
        for what in ("rms", "median"):
            label = f"DPM-{order - 1}{order}, tolerance {tol:g}, {what}"
            result[f"{label} | calls"] = f"{min(calls)} to {max(calls)}"
            result |= {f"{label} | {grid}": told(ratios[grid, what]) for grid in GRIDS}
    return result


@cache
def adaptive_digits(tol=0.05, n=30):
    """DPM-Solver-23 with its default tolerances on digits: calls, and distance from the network's own flow;
    and the fixed grid with as many calls.
    """
    model, x, want = digits_truth(n)
    schedule = model.schedule
    run = sample(dpm_solver_adaptive, model, x, [schedule.start, schedule.end], rtol=tol)
    fixed = sample(dpm_solver_3, model, x, grids.uniform_lambda(schedule, run.nfe // 3)).x
    return {
        "digits: calls of DPM-Solver-23": run.nfe,
        "digits: its error": rms(run.x - want),
        "digits: DPM-Solver-3, equal steps in λ": rms(fixed - want),
    }


# --- SDE ------------------------------------------------------------------------------------------------

SDE_SOLVERS = {
    "DDPM (posterior)": (ddpm, {"variance": "posterior"}),
    "SDE-DPM-Solver++1": (sde_dpmpp_1, {}),
    "SDE-DPM-Solver++(2M)": (sde_dpmpp_2m, {}),
    "SDE-DPM-Solver++(3M)": (sde_dpmpp_3m, {}),
    "SA-Solver-3": (sa_solver, {}),
    "ER-SDE-3": (er_sde, {}),
    "SEEDS-2": (seeds_2, {}),
}


@cache
def weak_curves(counts=(256, 512, 1024)):
    """|variance - exact| on N(0, 1/4), σ/α from 5 to 0.2: dict SDE solver -> (steps, errors)."""
    start, end = moderate()
    return {
        name: (list(counts), weak_errors(loop, VP(), counts, start=start, end=end, **options))
        for name, (loop, options) in SDE_SOLVERS.items()
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
@tried_on(ON_COSINE)
def weak_orders() -> dict:
    """Measured weak orders; the difference between SDE-DPM-Solver++1 and DDIM with eta = 1 on one noise."""
    result = {name: slope(n[-2:], e[-2:]) for name, (n, e) in weak_curves().items()}
    return {f"weak order, {name}": p for name, p in result.items()} | {
        "SDE-DPM-Solver++1 - DDIM with η = 1": identities()["SDE-DPM-Solver++1 = DDIM with η = 1"]
    }


def same_family() -> dict:
    """ER-SDE-1 with the scales κ² and κ against SDE-DPM-Solver++1 (one noise) and DDIM; ER-SDE-3 with the
    scale κ against Adams–Bashforth through three x0 in σ/α: largest differences on the ring, ten steps.
    """
    model, x = RING.model(VP()), initial_noise(60, 2, 0, **DOUBLE)
    times = grids.quadratic(VP(), 10)
    end = lambda loop, **o: sample(loop, model, x, times, **o).x
    gaps = {
        "ER-SDE-1, scale κ² - SDE-DPM-Solver++1": end(er_sde, order=1, scale=np.square, draws=3)
        - end(sde_dpmpp_1, draws=3),
        "ER-SDE-1, scale κ - DDIM": end(er_sde, order=1, scale=lambda kappa: kappa) - end(ddim),
        "ER-SDE-3, scale κ - AB-3 (x0, σ/α)": end(er_sde, scale=lambda kappa: kappa)
        - end(exponential_ab, order=3, variable="sigma"),
    }
    return {name: float(gap.abs().max()) for name, gap in gaps.items()}


# --- the linear part as a choice --------------------------------------------------------------------------

NEAR_ONE = tuple(np.linspace(1, 1.3, 13).round(3).tolist())  # where the error falls steeply
RATES = tuple(sorted({*np.linspace(-2.5, 2.5, 41).round(3).tolist(), *NEAR_ONE, *(-r for r in NEAR_ONE)}))


@cache
def rate_problem(problem):
    """(model, starts, ends) for the experiments on rates: 256 starts on five modes or the ring, 40 digits."""
    if problem == "digits":
        return digits_truth(40)
    return truth(256, problem)


@cache
def rate_curves(problem="five", calls=(8, 16, 32), order=2, rates=RATES):
    """Median error of (4.14) with every rate of the linear part, equal steps in lambda: dict calls -> (rates,
    errors).
    """
    model, x, want = rate_problem(problem)
    end = lambda n, rate: (
        sample(exponential_ab, model, x, grids.uniform_lambda(VP(), n), order=order, rate=rate).x - want
    )
    return {n: (list(rates), [float(in_batches(end(n, r), 1)[1][0]) for r in rates]) for n in calls}


@cache
def stationary_rates(problem="five", points=60):
    """The rate at which the first-order error of a step vanishes on average, |rate| = sqrt(1 + 4 a), a =
    E<x0', y> / E<y, y>, y = x / alpha, along exact paths: (lambda, rates); nan where 1 + 4 a < 0.
    """
    model, x, _ = rate_problem(problem)
    schedule = model.schedule
    times = grids.uniform_lambda(schedule, points)
    states = sample(unipc, model, x, grids.uniform_lambda(schedule, 4 * points), keep_path=True).path[::4]
    data = [model.x0(s, t).double().flatten(1) for s, t in zip(states, times.tolist())]
    lam = schedule.lam(times.numpy())
    rates = []
    for i in range(1, points):
        change = (data[i + 1] - data[i - 1]) / (lam[i + 1] - lam[i - 1])
        y = states[i].double().flatten(1) / schedule.alpha(float(times[i]))
        a = 4 * float((change * y).sum() / y.square().sum())
        rates.append(math.sqrt(1 + a) if a > -1 else math.nan)
    return lam[1:-1], np.array(rates)


def gaussian_rates(lam, std):
    """sqrt(1 + 4 c (1 - c)), c = std^2 / (std^2 + kappa^2): the rate on N(0, std^2) at every lambda."""
    c = std**2 / (std**2 + np.exp(-2 * np.asarray(lam)))
    return np.sqrt(1 + 4 * c * (1 - c))


def fitted_rate(model, x, times, rates):
    """x at the end: the first-order step with its own rate of the linear part in each step, (4.15) with q
    frozen.  rates: one number a step.
    """
    schedule = model.schedule
    kappa, alpha = (schedule.sigma(np.array(times)) / schedule.alpha(np.array(times)), schedule.alpha(times))
    y = x / alpha[0]
    for i, rate in enumerate(rates):
        share, ratio = (1 + rate) / 2, kappa[i + 1] / kappa[i]
        pull = model.x0(alpha[i] * y, times[i]) - (1 - share) * y
        h = -math.log(ratio)
        y = ratio**share * y + ratio ** (1 - share) * h * phi(1, -rate * h) * pull
    return alpha[-1] * y


@cache
def rates_pay(calls=(8, 16, 32)):
    """What a free rate of the linear part gains over DDIM (rate 1), equal steps in lambda, on three problems:
    dict (problem, calls) -> {"changing": the ratios of the medians, DDIM's over that with the rate of
    `stationary_rates` at each step's start, of eight batches; "constant": with the best of
    `NEAR_ONE` in all steps; "best": that rate}.
    """
    result = {}
    for problem, name in (("five", "five modes"), ("ring", "ring"), ("digits", "digits")):
        model, x, want = rate_problem(problem)
        for n in calls:
            times = grids.uniform_lambda(VP(), n).tolist()
            curve = np.interp(VP().lam(np.array(times[:-1])), *stationary_rates(problem))
            gaps = {r: fitted_rate(model, x, times, [r] * n) - want for r in NEAR_ONE}
            best = min(gaps, key=lambda r: in_batches(gaps[r], 1)[1][0])
            median = lambda gap: in_batches(gap)[1]
            result[name, n] = {
                "changing": median(gaps[1.0]) / median(fitted_rate(model, x, times, curve) - want),
                "constant": median(gaps[1.0]) / median(gaps[best]),
                "best": best,
            }
    return result


def rates_table():
    """`rates_pay`, a row for each problem and choice of the rate, a column for each number of calls."""
    result = {}
    for what in ("constant", "changing"):
        for (name, n), row in rates_pay().items():
            rate = f" (ϱ = {row['best']:g})" if what == "constant" else ""
            result[f"{name}, {what} ϱ | {n} calls"] = f"{told(row[what])}{rate}"
    return result


def gaussian_rate_order(counts=(32, 64, 128)) -> dict:
    """The order of the first-order step with the rate of `gaussian_rates` on N(0, 1/4), over the whole range
    of lambda, at whose ends the rate is 1, and over a part.
    """
    model, x = Mixture.gaussian(1, 0.5).model(VP()), initial_noise(50, 1, 0, **DOUBLE)
    result = {}
    for name, start in (("the whole range", VP().start), ("λ from −0.5 on", float(VP().t_of_lam(-0.5)))):
        want, errors = GaussianFlow(VP(), std=0.5).map(x, start, VP().end), []
        for n in counts:
            times = grids.uniform_lambda(VP(), n, start=start).tolist()
            rates = gaussian_rates(VP().lam(np.array(times[:-1])), 0.5)
            errors.append(rms(fitted_rate(model, x, times, rates) - want))
        result[f"N(0, 1/4), changing ϱ: order, {name}"] = slope(counts, errors)
    return result


# --- grids that are computed ------------------------------------------------------------------------------

NODES = 61  # of the fine grid, in equal steps of lambda, from which a computed grid takes its own
COMPUTED_STEPS = 8


@cache
def fine_path(n=64, seed=5):
    """(model, times, states) of `NODES` equal steps in lambda on the ring, by UniPC-3 with four steps between
    two of them.
    """
    model, x = RING.model(VP()), initial_noise(n, 2, seed, **DOUBLE)
    run = sample(unipc, model, x, grids.uniform_lambda(VP(), 4 * (NODES - 1)), keep_path=True)
    return model, grids.uniform_lambda(VP(), NODES - 1), torch.stack(list(run.path[::4]))


@cache
def remaining_error(n=20000, seed=7):
    """m(lambda) = E|x_0 - x0(x, lambda)|^2, the ring's least mean squared error of denoising at the nodes
    of the fine grid: (lambda, m), by Monte Carlo with the same draws at all levels.
    """
    _, times, _ = fine_path()
    lam, schedule = VP().lam(times.numpy()), EDM()
    model, x0, z = RING.model(schedule), RING.sample(n, seed), initial_noise(n, 2, seed + 1, **DOUBLE)
    m = [float((x0 - model.x0(x0 + k * z, k)).square().sum(1).mean()) for k in np.exp(-lam).tolist()]
    return lam, np.array(m)


def bound_costs(lam, m):
    """costs[i, j] of Align Your Steps' bound: int e^(2 lambda) (m(lambda_i) - m(lambda)) dlambda from
    lambda_i to lambda_j, by the trapezoidal rule on the nodes.
    """
    costs = np.zeros((len(lam), len(lam)))
    for i in range(len(lam) - 1):
        f = np.exp(2 * lam[i:]) * (m[i] - m[i:])
        costs[i, i + 1 :] = np.cumsum((f[1:] + f[:-1]) / 2 * np.diff(lam[i:]))
    return costs


def carried_nodes(steps=COMPUTED_STEPS):
    """The indices that Optimal Stepsize (Pei et al. 2025) chooses for DDIM: to each node, with k steps, comes
    the state whose last step, from the best state with k - 1, ends nearest to the exact path.
    """
    model, times, path = fine_path()
    alpha, sigma = (torch.as_tensor(level(times)) for level in (VP().alpha, VP().sigma))
    states, came = {0: path[0]}, []
    for _ in range(steps):
        best = {}
        for i, x in states.items():
            eps = model.eps(x, float(times[i]))
            gain = (alpha / alpha[i])[:, None, None]
            ends = gain * x + (sigma[:, None, None] - gain * sigma[i]) * eps
            miss = (ends - path).square().mean(2).sqrt().mean(1)
            for j in range(i + 1, NODES):
                if j not in best or miss[j] < best[j][0]:
                    best[j] = float(miss[j]), i, ends[j]
        came.append({j: i for j, (_, i, _) in best.items()})
        states = {j: x for j, (_, _, x) in best.items()}
    nodes = [NODES - 1]
    for row in reversed(came):
        nodes.append(row[nodes[-1]])
    return nodes[::-1]


def fitted_times(loop, steps=COMPUTED_STEPS, seed=5, **options):
    """Times that minimise the solver's own error on the ring, the mean over 64 starts of the distance to the
    exact ends, over the logarithms of the gaps in lambda (scipy, L-BFGS-B from the quadratic grid).
    seed: of the starts.
    """
    from scipy.optimize import minimize

    model, times, path = fine_path(seed=seed)
    low, high = (float(VP().lam(float(t))) for t in (times[0], times[-1]))

    def times_of(logs):
        gaps = np.exp(logs - logs.max())
        inner = low + (high - low) * np.cumsum(gaps)[:-1] / gaps.sum()
        return [float(times[0]), *VP().t_of_lam(inner).tolist(), float(times[-1])]

    miss = lambda logs: float((sample(loop, model, path[0], times_of(logs), **options).x - path[-1])
                              .square().mean(1).sqrt().mean())  # fmt: skip
    first = np.log(np.diff(VP().lam(grids.quadratic(VP(), steps).numpy())))
    found = minimize(lambda logs: math.log(miss(logs)), first, method="L-BFGS-B", options={"maxiter": 40})
    return times_of(found.x)


@cache
def computed_grids(steps=COMPUTED_STEPS):
    """dict name -> times: the four usual grids, and those that a computer chose for this ring."""
    model, times, path = fine_path()
    take = lambda indices: times[indices]
    return {name: grid(VP(), steps) for name, grid in GRIDS.items()} | {
        "local errors (GITS)": take(grids.cheapest(grids.local_costs(model, path, times), steps)),
        "carried (OSS)": take(carried_nodes(steps)),
        "bound (AYS)": take(grids.cheapest(bound_costs(*remaining_error()), steps)),
        "fitted to DDIM": torch.tensor(fitted_times(ddim, steps), **DOUBLE),
        "fitted to 2M": torch.tensor(fitted_times(dpmpp_2m, steps), **DOUBLE),
    }


@cache
def computed_errors(n=4000):
    """With eight calls on each of `computed_grids`, on fresh starts of the ring: the median error of DDIM and
    2M (512 starts), and the spread of n samples of SDE-DPM-Solver++(2M) about the nearest mode, which should
    be the data's 0.08: dict grid -> dict solver -> values of eight batches.
    """
    model, x = RING.model(VP()), initial_noise(EIGHT, 2, 1, **DOUBLE)
    want = reference(model, x, VP().start, VP().end, 1e-9)
    many, result = initial_noise(n, 2, 3, **DOUBLE), {}
    for grid, times in computed_grids().items():
        noisy = sample(sde_dpmpp_2m, model, many, times, draws=1).x
        nearest = (noisy[:, None] - RING.means).square().sum(2).argmin(1)
        result[grid] = {
            "DDIM": in_batches(sample(ddim, model, x, times).x - want)[1],
            "2M": in_batches(sample(dpmpp_2m, model, x, times).x - want)[1],
            "SDE-2M, spread": in_batches(noisy - RING.means[nearest])[0],
        }
    return result


def computed_table():
    """`computed_errors`, a row for each grid, a column for each measure."""
    return {
        f"{grid} | {name}": told(values)
        for grid, row in computed_errors().items()
        for name, values in row.items()
    }


@cache
def other_starts(seeds=(5, 6, 7)):
    """Grids of eight steps computed from other starts of the ring, on 512 fresh ones: dict label -> {seed ->
    (root mean squares, medians) of eight batches}: the best usual grid's error over that of 2M on its fit,
    and that of DDIM on local errors over the quadratic grid's.
    """
    model, x = RING.model(VP()), initial_noise(EIGHT, 2, 1, **DOUBLE)
    error = lambda loop, times: np.array(in_batches(sample(loop, model, x, times).x - lab_truth()))
    usual = [error(dpmpp_2m, computed_grids()[grid]) for grid in GRIDS]
    best = np.array([min((each[k] for each in usual), key=np.mean) for k in range(2)])
    quadratic = error(ddim, computed_grids()["quadratic"])
    result = {"2M: best usual grid / its fit": {}, "DDIM: local errors / quadratic": {}}
    for seed in seeds:
        exact, times, path = fine_path(seed=seed)
        local = times[grids.cheapest(grids.local_costs(exact, path, times), COMPUTED_STEPS)]
        result["2M: best usual grid / its fit"][seed] = best / error(
            dpmpp_2m, fitted_times(dpmpp_2m, seed=seed)
        )
        result["DDIM: local errors / quadratic"][seed] = error(ddim, local) / quadratic
    return result


def other_starts_table():
    """`other_starts`, a row for each comparison and measure, a column for each seed."""
    return {
        f"{name}, {what} | starts of seed {seed}": told(pair[k])
        for name, rows in other_starts().items()
        for k, what in ((1, "median"), (0, "root mean square"))
        for seed, pair in rows.items()
    }


@cache
def transfer():
    """What a grid computed for the ring with eight steps is worth on other data: dict label -> the error of
    DDIM or 2M with eight calls on it over that on the best of the four usual grids, of eight batches; digits
    (80), five modes (512).
    """
    result = {}
    for problem, (model, x, want) in (("digits", digits_truth(80)), ("five modes", truth(EIGHT))):
        for name, short in (("DDIM = DPM-1", "DDIM"), ("++2M", "2M")):
            loop, _, options = SOLVERS[name]
            every = {
                grid: in_batches(sample(loop, model, x, times, **options).x - want)[0]
                for grid, times in computed_grids().items()
            }
            usual = min((every[grid] for grid in GRIDS), key=np.mean)
            for grid in (f"fitted to {short}", "local errors (GITS)", "bound (AYS)"):
                result[f"{problem}, {short} | {grid.replace(f' to {short}', '')}"] = every[grid] / usual
    return result


def transfer_table():
    """`transfer`, a row for each problem and solver, a column for each grid."""
    return {label: told(ratios) for label, ratios in transfer().items()}


def own_grid(centre, width, steps=COMPUTED_STEPS):
    """Times whose nodes lie about `centre` in lambda: quantiles of nine parts of a logistic density of this
    width and one part of equal shares.
    """
    low, high = VP().lam(VP().start), VP().lam(VP().end)
    fine = np.linspace(low, high, 2001)
    bell = 1 / (1 + np.exp(-(fine - centre) / width))
    share = 0.9 * (bell - bell[0]) / (bell[-1] - bell[0]) + 0.1 * (fine - low) / (high - low)
    inner = np.interp(np.linspace(0, 1, steps + 1)[1:-1], share, fine)
    return [VP().start, *VP().t_of_lam(inner).tolist(), VP().end]


@cache
def lab_error(loop, times):
    """Median error of a solver on the ring along these times, 512 fresh starts."""
    model, x = RING.model(VP()), initial_noise(EIGHT, 2, 1, **DOUBLE)
    want = lab_truth()
    return float(in_batches(sample(loop, model, x, list(times)).x - want, 1)[1][0])


@cache
def lab_truth():
    """The exact ends of the 512 fresh starts of `lab_error`."""
    return reference(RING.model(VP()), initial_noise(EIGHT, 2, 1, **DOUBLE), VP().start, VP().end, 1e-9)


def grid_lab(solver, centre, width):
    """For the widget: rows of `figures.node_rows`, the reader's grid of eight steps beside three others, for
    DDIM or 2M.
    """
    loop, every = {"DDIM": ddim, "2M": dpmpp_2m}[solver], computed_grids()
    choice = {name: every[name].tolist() for name in ("uniform λ", "quadratic", f"fitted to {solver}")}
    choice["yours"] = own_grid(centre, width)
    return {
        name: (VP().lam(np.array(times)), f"median error {lab_error(loop, tuple(times)):.2g}")
        for name, times in choice.items()
    }


@cache
def martingale() -> dict:
    """(4.17) on the ring: E|x0(x_t) - x0(x_s)|^2 by Monte Carlo, x_s noisier than x_t on one path, and the
    difference of the remaining errors, at three pairs of levels.
    """
    n, result = 200000, {}
    model, x0 = RING.model(EDM()), RING.sample(n, 3)
    z, w = (initial_noise(n, 2, k, **DOUBLE) for k in (4, 5))
    for t, s in ((0.1, 0.2), (0.2, 0.5), (0.5, 2.0)):
        x_t = x0 + t * z
        x_s = x_t + math.sqrt(s**2 - t**2) * w
        clean, noisy = model.x0(x_t, t), model.x0(x_s, s)
        left = float((clean - noisy).square().sum(1).mean())
        right = float(((x0 - noisy).square() - (x0 - clean).square()).sum(1).mean())
        result |= {f"σ = {t} and {s}: left": left, f"σ = {t} and {s}: right": right}
    return result


# --- digits ---------------------------------------------------------------------------------------------


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
    "2M, noise",
    "iPNDM-4",
)


@cache
def digits_by_grid(calls=(8, 24)):
    """Eighty digits against the network's own flow: dict (solver, calls) -> {grid -> errors of eight
    batches of ten}.
    """
    model, x, want = digits_truth(80)
    return {
        (name, n): {
            label: in_batches(end_of(name, model, x, n, grid) - want)[0] for label, grid in GRIDS.items()
        }
        for name in DIGIT_SOLVERS
        for n in calls
    }


def best_grid(rows) -> str:
    """The name of the grid with the smallest mean error; with others that are level: within two standard
    errors of the paired difference.  rows: {grid -> errors of the batches}.
    """
    best = min(rows, key=lambda g: rows[g].mean())
    level = []
    for name, errors in rows.items():
        gap = errors - rows[best]
        if gap.mean() <= 2 * gap.std(ddof=1) / math.sqrt(len(gap)):
            level.append(name)
    return ", ".join(sorted(level, key=lambda g: rows[g].mean()))


@cache
def digits_curves(budgets=(4, 6, 8, 12, 16, 24, 48, 96), n=80, names=DIGIT_SOLVERS):
    """Distance from the network's own flow at equal calls, uniform in lambda, the mean of eight batches: dict
    solver -> (calls, errors).
    """
    model, x, want = digits_truth(n)
    result = {}
    for name in names:
        loop, cost, options = SOLVERS[name]
        counts = sorted({b // cost for b in budgets})
        ends = [sample(loop, model, x, grids.uniform_lambda(VP(), k), **options).x for k in counts]
        result[name] = [k * cost for k in counts], [float(in_batches(end - want)[0].mean()) for end in ends]
    return result


@claim(
    "BS24",
    source="Summary, section 4.3",
    says="With 10 steps DPM-Solver reaches the quality of DDPM's 1000.",
    holds=lambda r: r["++2M, 10 calls"] < r["DDPM, 1000 calls"] + r["++2M, 10 calls: spread"],
    verdict=True,
    finding="For 2M, on digits, within the spread between eight seeds: with ten calls it is where the "
    "network's own flow is. DPM-Solver-2 and -3, which the name first meant, are far off with ten calls.",
)
def ten_or_thousand() -> dict:
    """Fréchet distance of 1797 digits, mean and standard deviation over eight seeds, from the recorded study:
    DDPM (posterior variance) with 1000 steps; solvers with ten calls; and the network's own flow.
    """
    rows, result = recorded("noisy_digits")["ten"], {}
    for label, row in rows.items():
        result |= {label: row["mean"], f"{label}: spread": row["spread"]}
    gap = np.subtract(rows["++2M, 10 calls"]["each"], rows["the flow itself (UniPC-3, 20)"]["each"])
    name = "++2M, 10 calls − the flow itself, seed by seed"
    return result | {name: float(gap.mean()), f"{name}: spread": float(gap.std(ddof=1))}


def noise_on_digits():
    """The recorded study of solvers with and without noise on digits: mean ± standard deviation of eight
    seeds and, in brackets, their median; a column for each number of calls.
    """
    study = recorded("noisy_digits")
    text = lambda row: f"{told_pair(row['mean'], row['spread'])} ({row['median']:.3g})"
    return {
        f"{name} | {calls} calls": text(row)
        for name, rows in study["solvers"].items()
        for calls, row in rows.items()
    }


def noise_against_flow():
    """Of the same study, the distances less those of the network's own flow from the same starts, seed by
    seed: mean ± standard deviation.
    """
    study = recorded("noisy_digits")
    flow = study["ten"]["the flow itself (UniPC-3, 20)"]["each"]
    result = {}
    for name, rows in study["solvers"].items():
        for calls, row in rows.items():
            gap = np.subtract(row["each"], flow)
            result[f"{name} | {calls} calls"] = told_pair(gap.mean(), gap.std(ddof=1))
    return result


def er_levels(kappas=(10.0, 1.0, 0.1)) -> dict:
    """The square of the level, tau^2 = d log(scale) / d log(kappa) - 1, of ER-SDE's recommended scale at
    three kappa, by a difference.
    """
    ratio = lambda kappa: math.log(er_scale(kappa * 1.001) / er_scale(kappa / 1.001)) / math.log(1.001**2)
    return {f"τ² at κ = {kappa:g}": ratio(kappa) - 1 for kappa in kappas}


def calls_for(targets=(0.05, 0.02, 0.01)) -> dict:
    """How many calls DDIM, 2M and UniPC-3 need on digits for these errors, equal steps in lambda:
    interpolated between measured numbers of calls, on logarithmic axes.
    """
    result = {}
    for name in ("DDIM = DPM-1", "++2M", "UniPC-3"):
        calls, errors = digits_curves(names=(name,))[name]
        for target in targets:
            at = np.interp(-math.log(target), -np.log(errors), np.log(calls))
            result[f"{name}, error {target}"] = f"{math.exp(at):.0f}"
    return result


# --- the widget that compares solvers -------------------------------------------------------------------

WIDGET_SOLVERS = (
    "DDIM = DPM-1", "DPM-2", "DPM-3", "++2S", "++2M", "2M, noise", "++3M", "UniPC-3", "iPNDM-4",
)  # fmt: skip
WIDGET_BUDGETS = (4, 6, 8, 10, 12, 16, 20, 30, 40)
WIDGET_SCALES = (1, 2, 4, 8)
WIDGET_DATA = ("digits", "ring")


@lru_cache(32)
def _widget_truth(data, scale):
    """(model, starts, exact ends) of the widget: ten digits, or 64 starts on the ring, with guidance."""
    if data == "digits":
        model, x = guided_start(scale, 10)
    else:
        model, x = RING.model(VP()), initial_noise(64, 2, 0, **DOUBLE)
        model = model if scale == 1 else Guided(model, torch.arange(64) % 8, float(scale))
    return model, x, sample(unipc, model, x, grids.uniform_lambda(VP(), 100)).x  # right to 1e-4


def widget_error(data, solver, calls, grid, scale):
    """The error of one setting: root mean square over ten digits, median over 64 starts on the ring."""
    model, x, want = _widget_truth(data, scale)
    error = end_of(solver, model, x, calls, GRIDS[grid]) - want
    return rms(error) if data == "digits" else float(in_batches(error, 1)[1][0])


def digit_runs(data, solver, calls, grid, scale):
    """One setting of the widget: "exact" and "made", ten digits (10, 1, 8, 8) or 64 points (64, 2), by the
    (guided) flow itself and by the solver; "error", their distance (`widget_error`); and, for each grid, "by
    grid", the recorded errors at "calls".
    """
    study = recorded("widget_errors")
    model, x, want = _widget_truth(data, scale)
    made = end_of(solver, model, x, calls, GRIDS[grid])
    error = rms(made - want) if data == "digits" else float(in_batches(made - want, 1)[1][0])
    errors = study["errors"][data][solver]
    by_grid = {name: errors[name][str(scale)] for name in GRIDS}
    return {"exact": want, "made": made, "error": error, "calls": study["calls"], "by grid": by_grid}


# --- samples that go astray ---------------------------------------------------------------------------


@cache
def basins(names=("DDIM = DPM-1",), budgets=(5, 10, 20, 50, 100, 200), n=1000, d=64):
    """On `far`, starts at the quantiles of the line through both modes: dict solver -> {"nfe", "rmse",
    "median", "flipped"}; flipped is the share of samples that end at the other mode than the exact flow's.
    """
    mixture, along = far(d), torch.full((d,), d**-0.5, dtype=torch.float64)
    model, x = mixture.model(VP()), initial_noise(n, d, 0, **DOUBLE)
    quantiles = torch.special.ndtri((torch.arange(n, **DOUBLE) + 0.5) / n)
    x = x + (quantiles - x @ along)[:, None] * along
    want = reference(model, x, VP().start, VP().end)
    result = {}
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
        result[name] = rows
    return result


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
@tried_on(ON_COSINE)
def flipped() -> dict:
    """Slopes of the measures for DDIM between the far modes, 5 to 200 calls."""
    rows = basins()["DDIM = DPM-1"]
    return {f"DDIM, slope of {key}": slope(rows["nfe"], rows[key]) for key in ("rmse", "median")} | {
        f"DDIM, share flipped, {n} calls": rows["flipped"][rows["nfe"].index(n)] for n in (10, 50, 200)
    }


# --- the table that closes the chapter ------------------------------------------------------------------


@cache
def closing_table():
    """A row for each solver: name, calls a step, measured order, error on five modes at 50 calls with equal
    steps in lambda; then on digits, (error, best grid) at 8 and at 24 calls, each on its best grid, and the
    error with guidance 4 at 12 calls.
    """
    exact = curves(DIGIT_SOLVERS, (50, 100, 200, 500))
    digits, guided = digits_by_grid(), guided_digits()
    rows = []
    for name in DIGIT_SOLVERS:
        errors = exact[name]
        five = min((50 - n, e) for n, e in zip(errors["nfe"], errors["rmse"]) if n <= 50)[1]
        best = [
            (min(float(e.mean()) for e in digits[name, n].values()), best_grid(digits[name, n]))
            for n in (8, 24)
        ]
        strong = guided[name][1][guided[name][0].index(4)] if name in guided else math.nan
        rows.append((name, SOLVERS[name][1], order_of(errors, first=0), five, *best, strong))
    return rows


def closing_numbers():
    """`closing_table` in rows and columns, without the 3M that chapter 4b takes apart."""
    return {
        f"{name} | {head}": value
        for name, cost, order, five, few, more, strong in closing_table()
        if name != "3M, divided"
        for head, value in (
            ("calls a step", cost),
            ("order", f"{order:.1f}"),
            ("5 modes, 50 calls", f"{five:.2g}"),
            ("digits, 8 calls: error", f"{few[0]:.2g}"),
            ("best grid", few[1]),
            ("24 calls: error", f"{more[0]:.2g}"),
            ("best grid there", more[1]),
            ("guidance 4, 12 calls", f"{strong:.2g}" if math.isfinite(strong) else "–"),
        )
    }
