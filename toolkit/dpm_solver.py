"""Chapter 4: DPM-Solver, DPM-Solver++ and their SDE forms.

DPM-Solver: Lu et al., NeurIPS 2022 (arXiv 2206.00927).  DPM-Solver++: Lu et al. 2022 (arXiv 2211.01095).
Both integrate the linear part of the probability-flow ODE exactly (see `toolkit.exponential`) and expand the
prediction in lambda = log(alpha / sigma); h is the step in lambda.

A last step to sigma = 0, where lambda is infinite, every solver here takes as a jump to the predicted x_0.
No solver lowers its order by itself with the number of steps; `lower_last` asks for a first-order last step.
"""

import math
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np

from toolkit.exponential import (
    adams_table,
    after,
    carry,
    check_start,
    orders_of_steps,
    phi,
    run_table,
)
from toolkit.noise import noise_of
from toolkit.ode import check_tolerances, size_of_error, tries_until
from toolkit.options import at_each_time, check_choice, whole_number
from toolkit.sampling import kept, sampler

# --- singlestep, noise prediction -------------------------------------------------------------------------
# s, t: arrays of times, the starts and the ends of n steps; the coefficients are float64 arrays (n,), and
# `rows` makes of them one tuple of floats a step.


class First(NamedTuple):
    """x_t = a x_s + b eps."""

    a: float
    b: float


class Second(NamedTuple):
    """u = a_m x_s + b_m eps at the time m;  x_t = a x_s + b eps + d (eps(u, m) - eps)."""

    m: float
    a_m: float
    b_m: float
    a: float
    b: float
    d: float


class Third(NamedTuple):
    """u_1 = a_1 x_s + b_1 eps at m_1, D_1 = eps(u_1, m_1) - eps;  u_2 = a_2 x_s + b_2 eps + d_2 D_1 at m_2,
    D_2 = eps(u_2, m_2) - eps;  x_t = a x_s + b eps + d D_2.
    """

    m_1: float
    a_1: float
    b_1: float
    m_2: float
    a_2: float
    b_2: float
    d_2: float
    a: float
    b: float
    d: float


def first_order(schedule, s, t):
    """The `First` of DPM-Solver-1 (eq. 3.7): x_t = alpha_t / alpha_s x_s - sigma_t (e^h - 1) eps.

    Written as b = sigma_t - a sigma_s, which holds at sigma_t = 0 too.
    """
    a = schedule.alpha(t) / schedule.alpha(s)
    return First(a, schedule.sigma(t) - a * schedule.sigma(s))


def second_order(schedule, s, t, r1=0.5):
    """The `Second` of DPM-Solver-2 (Algorithm 1; any r1: its appendix): m at lambda_s + r1 h, d = b / (2 r1).
    """
    m = _between(schedule, s, t, r1)
    a, b = first_order(schedule, s, t)
    return Second(m, *first_order(schedule, s, m), a, b, b / (2 * r1))


def third_order(schedule, s, t, r1=1 / 3, r2=2 / 3):
    """The `Third` of DPM-Solver-3 (Algorithm 2; any r1 < r2: its appendix): m_i at lambda_s + r_i h,
    d_2 = -sigma_(m_2) r2 / r1 r2 h phi_2(r2 h),  d = -sigma_t h phi_2(h) / r2.

    Third order needs r2 = 2/3: phi_2(h) r2 / 2 must tend to phi_3(h), which is 1/6 at h = 0.
    """
    m_1, m_2 = _between(schedule, s, t, r1), _between(schedule, s, t, r2)
    h = schedule.lam(t) - schedule.lam(s)
    d_2 = -schedule.sigma(m_2) * r2 / r1 * r2 * h * phi(2, r2 * h)
    d = -schedule.sigma(t) * h / r2 * phi(2, h)
    to_m1, to_m2, to_t = (first_order(schedule, s, end) for end in (m_1, m_2, t))
    return Third(m_1, *to_m1, m_2, *to_m2, d_2, *to_t, d)


def _between(schedule, s, t, share):
    lam = schedule.lam(s)
    return schedule.t_of_lam(lam + share * (schedule.lam(t) - lam))


def rows(coefficients, schedule, times, *shares):
    """A list with one tuple of floats for each step of `times`, from one of the functions above."""
    check_start(schedule, times)
    if len(times) == 1:
        return []
    columns = coefficients(schedule, np.array(times[:-1]), np.array(times[1:]), *shares)
    return list(map(type(columns), *(column.tolist() for column in columns)))


def _noisy(schedule, times):
    """times without a last one at sigma = 0: the steps that can be of any order."""
    return times[:-1] if schedule.sigma(times[-1]) == 0 else times


@sampler(order=1, nfe=lambda steps: steps, kind="ode", cite="lu2022dpmsolver")
def dpm_solver_1(model, x, times):
    """DPM-Solver-1: x_t = alpha_t / alpha_s x_s - sigma_t (e^h - 1) eps (`first_order`).  It is DDIM.

    x: (B, ...) at times[0].
    """
    steps = rows(first_order, model.schedule, times)
    yield times[0], x
    for row, s, t in zip(steps, times, times[1:]):
        x = row.a * x + row.b * model.eps(x, s)  # alpha_t / alpha_s x - sigma_t (e^h - 1) eps_theta(x, s)
        yield t, x


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode", cite="lu2022dpmsolver")
def dpm_solver_2(model, x, times, r1=0.5):
    """DPM-Solver-2: x_t = alpha_t / alpha_s x_s - sigma_t (e^h - 1) (eps + (eps(u, m) - eps) / (2 r1)), with
    u the DPM-Solver-1 step to m, at lambda_s + r1 h (`second_order`).

    x: (B, ...) at times[0].  r1: in (0, 1]; with 1/2 it is `midpoint` in sigma / alpha, the middle geometric.
    """
    _check_shares(r1)
    inner = _noisy(model.schedule, times)
    steps = rows(second_order, model.schedule, inner, r1)
    yield times[0], x
    for row, s, t in zip(steps, inner, inner[1:]):
        eps = model.eps(x, s)  # eps_theta(x_(i-1), t_(i-1))
        u = row.a_m * x + row.b_m * eps  # u_i, at s_i: lambda = lambda_(i-1) + r_1 h_i
        change = model.eps(u, row.m) - eps  # eps_theta(u_i, s_i) - eps_theta(x_(i-1), t_(i-1))
        x = row.a * x + row.b * eps + row.d * change  # the last term: -sigma_i (e^h_i - 1) / (2 r_1)
        yield t, x
    yield from _rest(dpm_solver_1, model, x, times[len(inner) - 1 :])


@sampler(order=3, nfe=lambda steps: 3 * steps, kind="ode", cite="lu2022dpmsolver")
def dpm_solver_3(model, x, times, r1=1 / 3, r2=2 / 3):
    """DPM-Solver-3: x_t = alpha_t / alpha_s x_s - sigma_t (e^h - 1) eps - sigma_t h phi_2(h) / r2 D_2, with
    D_2 = eps(u_2, m_2) - eps, and u_2 a step like DPM-Solver-2's to m_2, at lambda_s + r2 h (`third_order`).

    x: (B, ...) at times[0].  0 < r1 < r2 <= 1; of order 2 unless r2 = 2/3.
    """
    _check_shares(r1, r2)
    inner = _noisy(model.schedule, times)
    steps = rows(third_order, model.schedule, inner, r1, r2)
    yield times[0], x
    for row, s, t in zip(steps, inner, inner[1:]):
        eps = model.eps(x, s)  # eps_theta(x_(i-1), t_(i-1))
        u_1 = row.a_1 * x + row.b_1 * eps  # u_(2i-1), at s_(2i-1): lambda_(i-1) + r_1 h_i
        d_1 = model.eps(u_1, row.m_1) - eps  # D_(2i-1)
        u_2 = row.a_2 * x + row.b_2 * eps + row.d_2 * d_1  # u_(2i), at s_(2i): lambda_(i-1) + r_2 h_i
        d_2 = model.eps(u_2, row.m_2) - eps  # D_(2i)
        x = row.a * x + row.b * eps + row.d * d_2  # the last term: -sigma_i / r_2 ((e^h_i - 1) / h_i - 1)
        yield t, x
    yield from _rest(dpm_solver_1, model, x, times[len(inner) - 1 :])


def _rest(solver, model, x, times):
    """What the solver yields after its start; nothing for a single time."""
    return islice(solver.loop(model, x, times), 1, None) if len(times) > 1 else ()


def _check_shares(*shares):
    if not all(a < b for a, b in zip((0, *shares), shares)) or shares[-1] > 1:
        names = ", ".join(f"{r:g}" for r in shares)
        raise ValueError(f"r1 (and r2) must satisfy 0 < r1 < r2 <= 1, got {names}")


def fast_orders(nfe: int) -> list[int]:
    """The orders of the steps with which DPM-Solver-fast spends exactly `nfe` calls (Lu et al. 2022,
    appendix): third order as often as can be, and the rest at the end.
    """
    threes, rest = divmod(whole_number("nfe", nfe), 3)
    return [3] * (threes - 1) + [2, 1] if rest == 0 else [3] * threes + [rest]


SINGLE = {1: dpm_solver_1, 2: dpm_solver_2, 3: dpm_solver_3}


@sampler(
    order=3, nfe=lambda steps, nfe: 3 * steps - 1 if nfe is None else nfe, kind="ode", cite="lu2022dpmsolver"
)
def dpm_solver_fast(model, x, times, nfe=None):
    """DPM-Solver-fast: `dpm_solver_3` along times, and at the end `dpm_solver_2` or `dpm_solver_1`, such that
    they make nfe calls in all (`fast_orders`).

    x: (B, ...) at times[0].  nfe: needs nfe // 3 + 1 steps; by default the most that these steps can hold.
    What the last step or two cost: one step of order 2 errs by h^3, which keeps the whole at order 3 (nfe = 3
    n - 1); one of order 1 errs by h^2, and order 2 is left.  ValueError if nfe and the number of steps
    disagree.
    """
    orders = fast_orders(3 * (len(times) - 1) - 1 if nfe is None else nfe)
    if len(orders) != len(times) - 1:
        raise ValueError(f"nfe = {nfe} needs {len(orders)} steps; times has {len(times) - 1}")
    last = 0
    yield times[0], x
    for order, run in groupby(orders):
        first, last = last, last + len(list(run))
        states = _rest(SINGLE[order], model, x, times[first : last + 1])
        for t, x in states:
            yield t, x


@sampler(order=3, nfe=None, kind="ode", cite="lu2022dpmsolver")
def dpm_solver_adaptive(
    model, x, times, order=3, rtol=0.05, atol=0.0078, first=0.05, safety=0.9, log=None
):
    """DPM-Solver-12 (order=2) and DPM-Solver-23 (order=3): two embedded orders and a step-size controller
    (its appendix) from times[0] to times[-1]; the times between are ignored.  An accepted step is one of
    `dpm_solver_2` or `dpm_solver_3`; h' = safety h E^(-1/order).

    x: (B, ...) at times[0].  E = rms((x_high - x_low) / max(atol, rtol max(|x_low|, |x_previous|))), the
    largest of the batch; a step is accepted if E <= 1, and the next is safety E^(-1/order) times as long in
    lambda: E is of order h^order, `order` being the lower order plus one.  first: the first step in lambda.
    To sigma = 0 the ODE is followed until sigma / alpha = 1e-3 atol, then a jump to the predicted x_0.
    log: a list to which (t, s, E, accepted) of each try is appended.  The batch shares its steps.  ValueError
    for another order, if E is not finite, or if 100,000 tries do not reach the end.
    """
    check_choice("order", order, (2, 3))
    check_tolerances(rtol, atol, log)
    schedule, end = model.schedule, times[-1]
    check_start(schedule, times)
    clean = schedule.sigma(end) == 0
    end = float(schedule.t_of_lam(-math.log(1e-3 * atol))) if clean else end
    t, h, previous, eps, tries = times[0], first, x, None, tries_until(end)
    yield t, x
    while t > end:
        next(tries)
        lam = schedule.lam(t)
        s = end if lam + h >= schedule.lam(end) else float(schedule.t_of_lam(lam + h))
        h = schedule.lam(s) - lam
        eps = model.eps(x, t) if eps is None else eps
        low, high = embedded(model, x, t, s, order, eps)
        scale = (rtol * low.abs().maximum(previous.abs())).clamp(min=atol)
        error = size_of_error((high - low) / scale, t)
        if log is not None:
            log.append((t, s, error, error <= 1))
        h = safety * h * max(error, 1e-8) ** (-1 / order)
        if error <= 1:
            previous, x, t, eps = low, high, s, None
            yield t, x
    if clean:
        yield times[-1], schedule.alpha(times[-1]) * model.x0(x, t)


def embedded(model, x, s, t, order, eps):
    """(lower, higher) result (B, ...) of one step from s to t, eps at x and s being known: DPM-Solver-1 and
    -2 for order 2; DPM-Solver-2 with r1 = 1/3 and -3, which share the call there, for order 3.
    """
    (low,) = rows(second_order, model.schedule, [s, t], 1 / order)
    change = model.eps(low.a_m * x + low.b_m * eps, low.m) - eps  # D_1
    second = low.a * x + low.b * eps + low.d * change
    if order == 2:
        return low.a * x + low.b * eps, second
    (high,) = rows(third_order, model.schedule, [s, t])
    change = model.eps(high.a_2 * x + high.b_2 * eps + high.d_2 * change, high.m_2) - eps  # D_2
    return second, high.a * x + high.b * eps + high.d * change


# --- data prediction: DPM-Solver++ ------------------------------------------------------------------------


class SecondData(NamedTuple):
    """u = a_m x_s + b_m x0 at the time m;  x_t = a x_s + b ((1 - 1 / (2 r1)) x0 + 1 / (2 r1) x0(u, m))."""

    m: float
    a_m: float
    b_m: float
    a: float
    b: float


def second_order_data(schedule, s, t, r1=0.5):
    """The `SecondData` of 2S (Algorithm 1): m at lambda_s + r1 h, a = sigma_t / sigma_s, b = -alpha_t (e^-h -
    1).
    """
    m = _between(schedule, s, t, r1)

    def step_to(end):
        h = schedule.lam(end) - schedule.lam(s)
        return schedule.sigma(end) / schedule.sigma(s), -schedule.alpha(end) * np.expm1(-h)

    return SecondData(m, *step_to(m), *step_to(t))


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode", cite="lu2022dpmsolverpp")
def dpmpp_2s(model, x, times, r1=0.5):
    """DPM-Solver++(2S) (Lu et al. 2022b, Algorithm 1): singlestep, two calls a step, data prediction,
    x_t = sigma_t / sigma_s x_s + alpha_t (1 - e^-h) ((1 - 1 / (2 r1)) x0(x_s, s) + 1 / (2 r1) x0(u, m)).

    x: (B, ...) at times[0].  r1: where m, the time of the second call, is: lambda_s + r1 h, in (0, 1].
    """
    _check_shares(r1)
    inner = _noisy(model.schedule, times)
    steps = rows(second_order_data, model.schedule, inner, r1)
    yield times[0], x
    for row, s, t in zip(steps, inner, inner[1:]):
        data = model.x0(x, s)  # x_theta(x_(i-1), t_(i-1))
        u = row.a_m * x + row.b_m * data  # u_i, at s_i: lambda = lambda_(i-1) + r_1 h_i
        ahead = model.x0(u, row.m)  # x_theta(u_i, s_i)
        mean = (1 - 1 / (2 * r1)) * data + 1 / (2 * r1) * ahead  # D_i
        x = row.a * x + row.b * mean  # sigma_i / sigma_(i-1) x - alpha_i (e^-h_i - 1) D_i
        yield t, x
    if inner is not times:
        yield times[-1], model.schedule.alpha(times[-1]) * model.x0(x, inner[-1])


class DataStep(NamedTuple):
    """x_t = a x_s + d_0 m_0 + d_1 m_1 + d_2 m_2 + c z:  m_0 is the data predicted at s, m_1 and m_2 one and
    two steps before (0 where a step uses none), z fresh noise.
    """

    a: float
    d_0: float
    d_1: float
    d_2: float
    c: float

    @property
    def weights(self):
        """Those that are used: with them a DataStep is a row for `run_table`."""
        return tuple(d for d in (self.d_0, self.d_1, self.d_2) if d)


@kept
def multistep_coefficients(schedule, times, order, tau=0.0, lower_last=False):
    """A `DataStep` for each step: the polynomial in lambda through the last `order` predictions, 1 to 3,
    integrated exactly.

    a = sigma_t / sigma_s e^(-tau^2 h),  d_0 + d_1 + d_2 = alpha_t (1 - e^(-(1 + tau^2) h)),
    c = sigma_t sqrt(1 - e^(-2 tau^2 h)).  tau: the level of the reverse SDE, a number, a function of t or
    one number for each of times.
    """
    table = adams_table(schedule, times, order, tau=tau, lower_last=lower_last)
    return tuple(DataStep(row.a, *row.weights, *[0.0] * (3 - len(row.weights)), row.c) for row in table)


@kept
def dpmpp_2m_coefficients(schedule, times, tau=0.0, form="midpoint", lower_last=False):
    """A `DataStep` for each step of DPM-Solver++(2M) (Algorithm 2) and its SDE form.

    form: "midpoint", the paper's: the mean of the prediction over the step is its value extrapolated to the
    middle in lambda, D = (1 + 1 / (2 r)) m_0 - 1 / (2 r) m_1, r = h_(i-1) / h_i; or "exact", which integrates
    the straight line through m_0 and m_1 exactly, with phi_2.  Both are of order 2.
    """
    check_choice("form", form, ("midpoint", "exact"))
    if form == "exact":
        return multistep_coefficients(schedule, times, 2, tau, lower_last)
    steps = list(multistep_coefficients(schedule, times, 1, tau))
    lam, counts = schedule.lam(np.asarray(times)), orders_of_steps(schedule, times, 2, lower_last)
    for i in np.flatnonzero(np.array(counts) == 2).tolist():
        half, whole = float((lam[i + 1] - lam[i]) / (lam[i] - lam[i - 1]) / 2), steps[i].d_0  # 1 / (2 r)
        steps[i] = steps[i]._replace(d_0=whole * (1 + half), d_1=-whole * half)
    return tuple(steps)


@sampler(
    order=2, nfe=lambda steps, history: steps + min(len(history), 1), kind="ode", cite="lu2022dpmsolverpp"
)
def dpmpp_2m(model, x, times, form="midpoint", lower_last=False, history=()):
    """DPM-Solver++(2M) (Lu et al. 2022b, Algorithm 2): multistep, one call a step, data prediction,
    x_t = sigma_t / sigma_s x_s + alpha_t (1 - e^-h) ((1 + 1 / (2 r)) m_0 - 1 / (2 r) m_1), r = h_(i-1) / h_i.

    x: (B, ...) at times[0].  form: see `dpmpp_2m_coefficients`; "midpoint" is UniP-2 (bh2), "exact" is
    `exponential_ab` of order 2.  The first step is of order 1, DDIM's, unless history, a list of (t, x)
    before times[0], is given: one call more (`exponential.after`).
    """
    grid, data = after(history, model.x0, x, times, 1)
    steps = dpmpp_2m_coefficients(model.schedule, grid, 0.0, form, lower_last)[len(data) :]
    yield times[0], x
    for row, s, t in zip(steps, times, times[1:]):
        data = [model.x0(x, s), *data[:1]]  # x_theta(x_(i-1), t_(i-1)), x_theta(x_(i-2), t_(i-2))
        x = row.a * x + row.d_0 * data[0]  # sigma_i / sigma_(i-1) x - alpha_i (e^-h_i - 1) D_i, where
        if row.d_1:  # D_i = (1 + 1 / (2 r_i)) x_theta(x_(i-1), t_(i-1))
            x = x + row.d_1 * data[1]  # - 1 / (2 r_i) x_theta(x_(i-2), t_(i-2))
        yield t, x


@sampler(
    order=3, nfe=lambda steps, history: steps + min(len(history), 2), kind="ode", cite="lu2022dpmsolverpp"
)
def dpmpp_3m(model, x, times, lower_last=False, history=()):
    """DPM-Solver++(3M): the parabola in lambda through the last three predictions, integrated exactly,
    x_t = sigma_t / sigma_s x_s + alpha_t (h phi_1 m_0 + h^2 phi_2 D_1 + h^3 phi_3 D_2), phi_k = phi_k(-h),
    D_1 and D_2 the parabola's derivatives at s.  It is `exponential_ab` of order 3.

    x: (B, ...) at times[0].  The first two steps are of order 1 and 2, which harms nothing where the first
    steps are in pure noise; elsewhere begin with history, a list of (t, x) before times[0], of which two are
    used, one call each (`exponential.after`).  The form found in libraries, which is of order 2, is
    `dpmpp_3m_divided`.
    """
    grid, data = after(history, model.x0, x, times, 2)
    steps = multistep_coefficients(model.schedule, grid, 3, 0.0, lower_last)[len(data) :]
    yield times[0], x
    for row, s, t in zip(steps, times, times[1:]):
        data = [model.x0(x, s), *data[:2]]  # m_0 = x_theta(x_(i-1), t_(i-1)), m_1, m_2
        x = row.a * x + row.d_0 * data[0]  # sigma_i / sigma_(i-1) x + alpha_i (h phi_1 m_0
        if row.d_1:  # + h^2 phi_2 D_1 + h^3 phi_3 D_2), where D_1 and D_2 are sums
            x = x + row.d_1 * data[1]  # of m_0, m_1 and m_2: what multiplies each of them
        if row.d_2:  # is collected in d_0, d_1 and d_2
            x = x + row.d_2 * data[2]
        yield t, x


@kept
def divided_coefficients(schedule, times, tau=0.0, lower_last=False):
    """A `DataStep` for each step of the third-order multistep update as libraries have it: the second
    *divided difference* x0[0, 1, 2] stands where the second derivative belongs, which is twice that.

    With D1 and D2 the derivatives at s of the parabola, the right update adds b (phi_2 h D1 + phi_3 h^2 D2);
    this one adds half of the last term.
    """
    steps = list(dpmpp_2m_coefficients(schedule, times, tau, "midpoint", lower_last))
    right = multistep_coefficients(schedule, times, 3, tau, lower_last)
    lam = schedule.lam(np.asarray(times))
    _, b, _, rate = carry(schedule, times, "x0", at_each_time("tau", tau, times)[:-1])
    for i in np.flatnonzero(np.array(orders_of_steps(schedule, times, 3, lower_last)) == 3).tolist():
        h, near, far = lam[i + 1] - lam[i], lam[i] - lam[i - 1], lam[i] - lam[i - 2]
        difference = np.array([1 / (near * far), -1 / (near * (far - near)), 1 / (far * (far - near))])
        excess = b[i] * h**2 * phi(3, -rate[i] * h) * difference
        d_0, d_1, d_2 = (np.array(right[i].weights) - excess).tolist()
        steps[i] = right[i]._replace(d_0=d_0, d_1=d_1, d_2=d_2)
    return tuple(steps)


@sampler(order=2, nfe=lambda steps: steps, kind="ode", cite="lu2022dpmsolverpp")
def dpmpp_3m_divided(model, x, times, lower_last=False):
    """DPM-Solver++(3M) with a divided difference in place of the second derivative: half of `dpmpp_3m`'s D_2
    (`divided_coefficients`).

    x: (B, ...) at times[0].  This is the update of the official code, diffusers, k-diffusion and
    diff-sampler. Order 2, though it uses three predictions; at few steps the smaller extrapolation can be the
    better one.
    """
    yield from run_table(model, x, times, divided_coefficients(model.schedule, times, 0.0, lower_last))


# --- SDE-DPM-Solver++ -------------------------------------------------------------------------------------


@sampler(order=1, nfe=lambda steps: steps, kind="sde", cite="lu2022dpmsolverpp")
def sde_dpmpp_1(model, x, times, tau=1.0, rng=0):
    """SDE-DPM-Solver++1 (Lu et al. 2022b, for tau = 1): exact linear part and noise, the prediction frozen,
    x_t = sigma_t / sigma_s e^(-tau^2 h) x_s + alpha_t (1 - e^(-(1 + tau^2) h)) x0
    + sigma_t sqrt(1 - e^(-2 tau^2 h)) z.

    x: (B, ...) at times[0].  tau: the level of the reverse SDE, a number, a function of t or one number for
    each time; tau = 1 is DDPM's posterior, ddim with eta = 1.  A step to sigma = 0 adds no noise.
    """
    steps, noises = multistep_coefficients(model.schedule, times, 1, tau), noise_of(rng, x, times)
    yield times[0], x
    for row, s, t in zip(steps, times, times[1:]):
        data = model.x0(x, s)  # x_theta(x_s, s)
        moved = row.a * x + row.c * next(noises)  # sigma_t / sigma_s e^-h x_s + sigma_t sqrt(1 - e^-2h) z
        x = moved + row.d_0 * data  # + alpha_t (1 - e^-2h) x_theta(x_s, s), all for tau = 1
        yield t, x


@sampler(order=2, nfe=lambda steps: steps, kind="sde", cite="lu2022dpmsolverpp")
def sde_dpmpp_2m(model, x, times, tau=1.0, form="midpoint", rng=0):
    """SDE-DPM-Solver++(2M) (Lu et al. 2022b): `sde_dpmpp_1` with x0 extrapolated as in `dpmpp_2m`, which it
    is for tau = 0.

    x: (B, ...) at times[0].  tau: as in `sde_dpmpp_1`.  Weak order 2 (in the variance).
    """
    steps = dpmpp_2m_coefficients(model.schedule, times, tau, form)
    noises, data = noise_of(rng, x, times), []
    yield times[0], x
    for row, s, t in zip(steps, times, times[1:]):
        data = [model.x0(x, s), *data[:1]]  # x_theta(x_(i-1), t_(i-1)), x_theta(x_(i-2), t_(i-2))
        moved = row.a * x + row.c * next(noises)  # sigma_i / sigma_(i-1) e^-h x + sigma_i sqrt(1 - e^-2h) z
        x = moved + row.d_0 * data[0]  # + alpha_i (1 - e^-2h) D_i, where
        if row.d_1:  # D_i = (1 + 1 / (2 r_i)) x_theta(x_(i-1), t_(i-1))
            x = x + row.d_1 * data[1]  # - 1 / (2 r_i) x_theta(x_(i-2), t_(i-2))
        yield t, x


@sampler(order=2, nfe=lambda steps: steps, kind="sde", cite="lu2022dpmsolverpp")
def sde_dpmpp_3m(model, x, times, tau=1.0, rng=0):
    """SDE-DPM-Solver++(3M): `sde_dpmpp_1` with the parabola of `dpmpp_3m`, which it is for tau = 0, in the
    place of x0.

    x: (B, ...) at times[0].  tau: as in `sde_dpmpp_1`.  Its
    deterministic part is of order 3; weak order 2, since what the noise within a step does to the prediction
    is left out.
    """
    table = multistep_coefficients(model.schedule, times, 3, tau)
    yield from run_table(model, x, times, table, noises=noise_of(rng, x, times))


# --- exponential solvers of the SDE, other choices --------------------------------------------------------


class SeedsStep(NamedTuple):
    """u = a_m x_s + b_m eps + c_m z_1 at the time m;  x_t = a x_s + b eps(u, m) + c_1 z_1 + c_2 z_2."""

    m: float
    a_m: float
    b_m: float
    c_m: float
    a: float
    b: float
    c_1: float
    c_2: float


def seeds_coefficients(schedule, s, t):
    """The `SeedsStep` of SEEDS-2: m the middle in lambda, b = -2 sigma_t (e^h - 1), and the noise of the two
    halves of the step, c_1^2 = sigma_t^2 (e^2h - e^h) and c_2^2 = sigma_t^2 (e^h - 1).
    """
    m = _between(schedule, s, t, 0.5)
    h = schedule.lam(t) - schedule.lam(s)
    to_m, to_t = first_order(schedule, s, m), first_order(schedule, s, t)
    near, sigma_m, sigma = np.expm1(h), schedule.sigma(m), schedule.sigma(t)
    c_1, c_2 = sigma * np.sqrt(np.exp(h) * near), sigma * np.sqrt(near)
    return SeedsStep(m, to_m.a, 2 * to_m.b, sigma_m * np.sqrt(near), to_t.a, 2 * to_t.b, c_1, c_2)


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="sde", cite="gonzalez2023seeds")
def seeds_2(model, x, times, rng=0):
    """SEEDS-2 (Gonzalez et al. 2023): DPM-Solver-2 for the reverse SDE of level 1, noise prediction,
    u = alpha_m / alpha_s x_s - 2 sigma_m (e^(h/2) - 1) eps + sigma_m sqrt(e^h - 1) z_1,
    x_t = alpha_t / alpha_s x_s - 2 sigma_t (e^h - 1) eps(u, m) + sigma_t (sqrt(e^2h - e^h) z_1
    + sqrt(e^h - 1) z_2).

    x: (B, ...) at times[0].  The noise of the first half, z_1, is in both lines.  A step to sigma = 0 is a
    jump to x_0, one call.  Weak order 2 (in the variance).
    """
    inner = _noisy(model.schedule, times)
    steps = rows(seeds_coefficients, model.schedule, inner)
    halves = [inner[0], *(time for row, t in zip(steps, inner[1:]) for time in (row.m, t))]
    noises = noise_of(rng, x, halves)
    yield times[0], x
    for row, s, t in zip(steps, inner, inner[1:]):
        z_1, z_2 = next(noises), next(noises)
        u = row.a_m * x + row.b_m * model.eps(x, s) + row.c_m * z_1
        x = row.a * x + row.b * model.eps(u, row.m) + row.c_1 * z_1 + row.c_2 * z_2
        yield t, x
    if inner is not times:
        yield times[-1], model.schedule.alpha(times[-1]) * model.x0(x, inner[-1])


def er_scale(kappa):
    """The noise scale that Cui et al. (2023) recommend: kappa (e^(kappa^0.3) + 10)."""
    return kappa * (np.exp(kappa**0.3) + 10)


_LEGENDRE = np.polynomial.legendre.leggauss(48)


@kept
def er_coefficients(schedule, times, order=3, scale=er_scale):
    """A `DataStep` for each step of ER-SDE: with r = scale(kappa_t) / scale(kappa_s), kappa = sigma / alpha,
    a = r alpha_t / alpha_s,  c = alpha_t sqrt(kappa_t^2 - r^2 kappa_s^2), and the polynomial in kappa through
    the last `order` predictions, integrated exactly: int v^m d(scale(kappa_t) / scale(kappa)), v = 0 at s and
    1 at t, is 1 - r for m = 0, and by parts 1 - m int v^(m - 1) scale(kappa_t) / scale(kappa) dv otherwise.
    """
    check_start(schedule, times)
    alpha, sigma = (level(np.asarray(times)) for level in (schedule.alpha, schedule.sigma))
    kappa, counts, steps = sigma / alpha, orders_of_steps(schedule, times, order), []
    for i, count in enumerate(counts):
        (s, t), nodes = kappa[i : i + 2], kappa[i - np.arange(count)]
        if t == 0:
            steps.append(DataStep(0.0, float(alpha[i + 1]), 0.0, 0.0, 0.0))
            continue
        inner = np.exp(np.log(s) + np.log(t / s) * (1 + _LEGENDRE[0]) / 2)
        v = (inner - s) / (t - s)
        weight = _LEGENDRE[1] / 2 * np.log(s / t) * inner * scale(t) / scale(inner) / (s - t)
        r = float(scale(t) / scale(s))
        parts = [1 - m * float((weight * v ** (m - 1)).sum()) if m else 1 - r for m in range(count)]
        d = np.linalg.solve(np.vander((nodes - s) / (t - s), count, increasing=True).T, parts)
        d = (alpha[i + 1] * d).tolist() + [0.0] * (3 - count)
        gap = 1 - (r * s / t) ** 2  # below 1e-13 it is rounding
        c = alpha[i + 1] * t * math.sqrt(gap) if gap > 1e-13 else 0.0
        steps.append(DataStep(float(r * alpha[i + 1] / alpha[i]), *d, float(c)))
    return tuple(steps)


@sampler(order=2, nfe=lambda steps: steps, kind="sde", cite="cui2023ersde")
def er_sde(model, x, times, order=3, scale=er_scale, rng=0):
    """ER-SDE (Cui et al. 2023): the reverse SDE whose level changes with the noise, its linear part and noise
    exact: x_t = r alpha_t / alpha_s x_s + alpha_t (1 - r) x0 + alpha_t sqrt(kappa_t^2 - r^2 kappa_s^2) z, r =
    scale(kappa_t) / scale(kappa_s), with the polynomial in kappa through the last `order` x0 in x0's place.

    x: (B, ...) at times[0].  order: 1 to 3; 1 is of weak order 1, the others of 2.  scale: a rising function
    of kappa = sigma / alpha; kappa^(1 + tau^2) is the reverse SDE of level tau, kappa itself the ODE.
    ValueError if it is no function.
    """
    check_choice("order", order, (1, 2, 3))
    if not callable(scale):
        raise ValueError(f"scale must be a rising function of sigma / alpha, got {scale!r}")
    table = er_coefficients(model.schedule, times, order, scale)
    yield from run_table(model, x, times, table, noises=noise_of(rng, x, times))
