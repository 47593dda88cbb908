"""Chapter 4: DPM-Solver, DPM-Solver++ and their SDE forms.

DPM-Solver: Lu et al., NeurIPS 2022 (arXiv 2206.00927).  DPM-Solver++: Lu et al. 2022 (arXiv 2211.01095).
Both integrate the linear part of the probability-flow ODE exactly (see `toolkit.exponential`) and expand the
prediction in lambda = log(alpha / sigma); h is the step in lambda.

A last step to sigma = 0, where lambda is infinite, every solver here takes as a jump to the predicted x_0.
No solver lowers its order by itself with the number of steps; `lower_last` asks for a first-order last step.
"""

import math

import numpy as np

from toolkit.exponential import (
    Known,
    adams_table,
    carry,
    check_choice,
    check_start,
    orders_of_steps,
    phi,
    run_table,
)
from toolkit.noise import noise_of
from toolkit.ode import check_tolerances
from toolkit.sampling import kept, sampler

# --- singlestep, noise prediction -------------------------------------------------------------------------
# s, t: arrays of times, the starts and the ends of n steps; the coefficients are float64 arrays (n,).


def first_order(schedule, s, t):
    """(a, b): DPM-Solver-1 (eq. 3.7), x_t = a x_s + b eps = alpha_t / alpha_s x_s - sigma_t (e^h - 1) eps.

    Written as b = sigma_t - a sigma_s, which holds at sigma_t = 0 too.
    """
    a = schedule.alpha(t) / schedule.alpha(s)
    return a, schedule.sigma(t) - a * schedule.sigma(s)


def second_order(schedule, s, t, r1=0.5):
    """(m, a_m, b_m, a, b, d): DPM-Solver-2 (Algorithm 1; any r1: its appendix), with m the time at
    lambda_s + r1 h, u = a_m x_s + b_m eps and x_t = a x_s + b eps + d (eps(u, m) - eps), d = b / (2 r1).
    """
    m = _between(schedule, s, t, r1)
    a, b = first_order(schedule, s, t)
    return m, *first_order(schedule, s, m), a, b, b / (2 * r1)


def third_order(schedule, s, t, r1=1 / 3, r2=2 / 3):
    """(m_1, a_1, b_1, m_2, a_2, b_2, d_2, a, b, d): DPM-Solver-3 (Algorithm 2; any r1 < r2: its appendix):

    u_1 = a_1 x_s + b_1 eps and D_1 = eps(u_1, m_1) - eps; u_2 = a_2 x_s + b_2 eps + d_2 D_1 and
    D_2 = eps(u_2, m_2) - eps; x_t = a x_s + b eps + d D_2.  Third order needs r2 = 2/3: phi_2(h) r2 / 2 must
    tend to phi_3(h), which is 1/6 at h = 0.
    """
    m1, m2 = _between(schedule, s, t, r1), _between(schedule, s, t, r2)
    h = schedule.lam(t) - schedule.lam(s)
    d_2 = -schedule.sigma(m2) * r2 / r1 * r2 * h * phi(2, r2 * h)
    d = -schedule.sigma(t) * h / r2 * phi(2, h)
    to_m1, to_m2, to_t = (first_order(schedule, s, end) for end in (m1, m2, t))
    return m1, *to_m1, m2, *to_m2, d_2, *to_t, d


def _between(schedule, s, t, share):
    lam = schedule.lam(s)
    return schedule.t_of_lam(lam + share * (schedule.lam(t) - lam))


def _step(model, x, s, row, eps=None):
    """One step with the coefficients `row` of one of the three functions above; eps at (x, s) may be
    given.
    """
    eps = model.eps(x, s) if eps is None else eps
    if len(row) == 2:
        a, b = row
        return a * x + b * eps
    if len(row) == 6:
        m, a_m, b_m, a, b, d = row
        return a * x + b * eps + d * (model.eps(a_m * x + b_m * eps, m) - eps)
    m1, a_1, b_1, m2, a_2, b_2, d_2, a, b, d = row
    change = model.eps(a_1 * x + b_1 * eps, m1) - eps
    change = model.eps(a_2 * x + b_2 * eps + d_2 * change, m2) - eps
    return a * x + b * eps + d * change


COEFFICIENTS = {1: first_order, 2: second_order, 3: third_order}


def _single_steps(model, x, times, orders, **shares):
    """Steps of these orders, one after the other; one to sigma = 0 is always of order 1."""
    schedule = model.schedule
    check_start(schedule, times)
    if schedule.sigma(times[-1]) == 0:
        orders = [*orders[:-1], 1]
    starts, ends, rows = np.array(times[:-1]), np.array(times[1:]), [None] * len(orders)
    for order in set(orders):
        steps = np.flatnonzero(np.array(orders) == order)
        options = shares if order > 1 else {}
        columns = COEFFICIENTS[order](schedule, starts[steps], ends[steps], **options)
        for i, row in zip(steps, zip(*(c.tolist() for c in columns))):
            rows[i] = row
    yield times[0], x
    for i, row in enumerate(rows):
        x = _step(model, x, times[i], row)
        yield times[i + 1], x


@sampler(order=1, nfe=lambda steps: steps, kind="ode")
def dpm_solver_1(model, x, times):
    """DPM-Solver-1: `first_order` steps along times; identical with DDIM.  x: (B, ...) at times[0]."""
    yield from _single_steps(model, x, times, [1] * (len(times) - 1))


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode")
def dpm_solver_2(model, x, times, r1=0.5):
    """DPM-Solver-2: `second_order` steps along times.  x: (B, ...) at times[0].  r1: in (0, 1]."""
    _check_shares(r1)
    yield from _single_steps(model, x, times, [2] * (len(times) - 1), r1=r1)


@sampler(order=3, nfe=lambda steps: 3 * steps, kind="ode")
def dpm_solver_3(model, x, times, r1=1 / 3, r2=2 / 3):
    """DPM-Solver-3: `third_order` steps along times.  x: (B, ...) at times[0].  0 < r1 < r2 <= 1."""
    _check_shares(r1, r2)
    yield from _single_steps(model, x, times, [3] * (len(times) - 1), r1=r1, r2=r2)


def _check_shares(*shares):
    if not all(a < b for a, b in zip((0, *shares), shares)) or shares[-1] > 1:
        names = ", ".join(f"{r:g}" for r in shares)
        raise ValueError(f"r1 (and r2) must satisfy 0 < r1 < r2 <= 1, got {names}")


def fast_orders(nfe: int) -> list[int]:
    """The orders of the steps with which DPM-Solver-fast spends exactly `nfe` calls (Lu et al. 2022,
    appendix): third order as often as can be, and the rest at the end.
    """
    if nfe < 1:
        raise ValueError(f"nfe must be at least 1, got {nfe}")
    threes, rest = divmod(nfe, 3)
    return [3] * (threes - 1) + [2, 1] if rest == 0 else [3] * threes + [rest]


@sampler(order=3, nfe=lambda steps: 3 * steps - 1, kind="ode")
def dpm_solver_fast(model, x, times, nfe=None):
    """DPM-Solver-fast: steps of the orders `fast_orders(nfe)` along times, nfe calls in all.

    x: (B, ...) at times[0].  nfe: needs nfe // 3 + 1 steps; by default the most that these steps can hold.
    What the last step or two cost: one step of order 2 errs by h^3, which keeps the whole at order 3 (nfe = 3
    n - 1); one of order 1 errs by h^2, and order 2 is left.  ValueError if nfe and the number of steps
    disagree.
    """
    orders = fast_orders(3 * (len(times) - 1) - 1 if nfe is None else nfe)
    if len(orders) != len(times) - 1:
        raise ValueError(f"nfe = {nfe} needs {len(orders)} steps; times has {len(times) - 1}")
    yield from _single_steps(model, x, times, orders)


@sampler(order=3, nfe=None, kind="ode")
def dpm_solver_adaptive(
    model, x, times, order=3, rtol=0.05, atol=0.0078, first=0.05, safety=0.9, log=None
):
    """DPM-Solver-12 (order=2) and DPM-Solver-23 (order=3): two embedded orders and a step-size controller
    (its appendix) from times[0] to times[-1]; the times between are ignored.

    x: (B, ...) at times[0].  E = rms((x_high - x_low) / max(atol, rtol max(|x_low|, |x_previous|))), the
    largest of the batch; a step is accepted if E <= 1, and the next is safety E^(-1/order) times as long in
    lambda: E is of order h^order, `order` being the lower order plus one.  first: the first step in lambda.
    To sigma = 0 the ODE is followed until sigma / alpha = 1e-3 atol, then a jump to the predicted x_0.
    log: a list to which (t, s, E, accepted) of each try is appended.  The batch shares its steps.  ValueError
    for another order, if E is not finite, or if 100,000 tries do not reach the end.
    """
    check_choice("order", order, (2, 3))
    check_tolerances(rtol, atol)
    schedule, end = model.schedule, times[-1]
    check_start(schedule, times)
    clean = schedule.sigma(end) == 0
    if clean:
        end = float(schedule.t_of_lam(-math.log(1e-3 * atol)))
    t, h, previous, eps, tries = times[0], first, x, None, 0
    yield t, x
    while t > end:
        lam = schedule.lam(t)
        s = end if lam + h >= schedule.lam(end) else float(schedule.t_of_lam(lam + h))
        h = schedule.lam(s) - lam
        eps = model.eps(x, t) if eps is None else eps
        low, high = _embedded(model, x, t, s, order, eps)
        scale = (rtol * low.abs().maximum(previous.abs())).clamp(min=atol)
        error = float(((high - low) / scale).square().flatten(1).mean(1).max().sqrt())
        if not math.isfinite(error):
            what = "NaN" if math.isnan(error) else "infinite"
            raise ValueError(f"the error of a step at t = {t:g} is {what}: check the model's output")
        if log is not None:
            log.append((t, s, error, error <= 1))
        h = safety * h * max(error, 1e-8) ** (-1 / order)
        tries += 1
        if tries > 100_000:
            raise ValueError(f"100000 tries did not reach t = {end:g}: raise rtol or atol, or end earlier")
        if error <= 1:
            previous, x, t, eps = low, high, s, None
            yield t, x
    if clean:
        yield times[-1], schedule.alpha(times[-1]) * model.x0(x, t)


def _embedded(model, x, s, t, order, eps):
    """(lower, higher) result of one step; DPM-Solver-23 shares the call at r1 = 1/3."""

    def row(coefficients, *shares):
        columns = coefficients(model.schedule, np.array([s]), np.array([t]), *shares)
        return [float(c[0]) for c in columns]

    if order == 2:
        return tuple(_step(model, x, s, row(f), eps) for f in (first_order, second_order))
    m, a_m, b_m, *_ = low = row(second_order, 1 / 3)
    shared = model.eps(a_m * x + b_m * eps, m)
    return tuple(_step(Known(model, m, shared), x, s, r, eps) for r in (low, row(third_order)))


# --- data prediction: DPM-Solver++ ------------------------------------------------------------------------


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode")
def dpmpp_2s(model, x, times, r1=0.5):
    """DPM-Solver++(2S) (Lu et al. 2022b, Algorithm 1): singlestep, two calls a step, data prediction.

    x: (B, ...) at times[0].  r1: where the second call is, in (0, 1].
    """
    _check_shares(r1)
    schedule = model.schedule
    check_start(schedule, times)
    *rows, last = zip(*(c.tolist() for c in _2s_coefficients(schedule, np.array(times), r1)))
    clean = schedule.sigma(times[-1]) == 0
    yield times[0], x
    for i, (m, a_m, b_m, a, b) in enumerate(rows if clean else [*rows, last]):
        data = model.x0(x, times[i])
        ahead = model.x0(a_m * x + b_m * data, m)
        x = a * x + b * ((1 - 1 / (2 * r1)) * data + 1 / (2 * r1) * ahead)
        yield times[i + 1], x
    if clean:
        yield times[-1], schedule.alpha(times[-1]) * model.x0(x, times[-2])


def _2s_coefficients(schedule, times, r1):
    """(m, a_m, b_m, a, b) of each step: from s to t, a = sigma_t / sigma_s and b = -alpha_t (e^-h - 1)."""
    s, t = times[:-1], times[1:]
    m = _between(schedule, s, np.where(schedule.sigma(t) > 0, t, s), r1)

    def step_to(end):
        h = schedule.lam(end) - schedule.lam(s)
        return schedule.sigma(end) / schedule.sigma(s), -schedule.alpha(end) * np.expm1(-h)

    return m, *step_to(m), *step_to(t)


@kept
def dpmpp_2m_table(schedule, times, tau=0.0, form="midpoint", lower_last=False):
    """Rows of `run_table` for DPM-Solver++(2M) (Algorithm 2) and its SDE form.

    form: "midpoint", the paper's: the mean of the prediction over the step is its value extrapolated to the
    middle in lambda, D = (1 + 1 / (2 r)) m_0 - 1 / (2 r) m_1, r = h_(i-1) / h_i; or "exact", which integrates
    the straight line through m_0 and m_1 exactly, with phi_2.  Both are of order 2.
    """
    check_choice("form", form, ("midpoint", "exact"))
    if form == "exact":
        return adams_table(schedule, times, 2, "x0", "lam", tau, lower_last)
    rows = list(adams_table(schedule, times, 1, "x0", "lam", tau, lower_last))
    lam, counts = schedule.lam(np.asarray(times)), orders_of_steps(schedule, times, 2, lower_last)
    for i, (a, weights, c) in enumerate(rows):
        if counts[i] == 2:
            half = float((lam[i + 1] - lam[i]) / (lam[i] - lam[i - 1]) / 2)  # 1 / (2 r)
            rows[i] = a, [weights[0] * (1 + half), -weights[0] * half], c
    return rows


@sampler(order=2, nfe=lambda steps: steps, kind="ode")
def dpmpp_2m(model, x, times, form="midpoint", lower_last=False, warmup="lower"):
    """DPM-Solver++(2M) (Lu et al. 2022b, Algorithm 2): multistep, one call a step, data prediction.

    x: (B, ...) at times[0].  form: see `dpmpp_2m_table`.  The first step is of order 1; warmup:
    see `run_table`.
    """
    table = dpmpp_2m_table(model.schedule, times, 0.0, form, lower_last)
    yield from run_table(model, x, times, table, warmup=warmup)


@sampler(order=3, nfe=lambda steps: steps, kind="ode", needs={"warmup": "matched"})
def dpmpp_3m(model, x, times, lower_last=False, warmup="lower"):
    """DPM-Solver++(3M): the parabola in lambda through the last three predictions, integrated exactly; order
    3.

    x: (B, ...) at times[0].  The first two steps are of order 1 and 2, which harms nothing where the first
    steps are in pure noise; warmup="matched" makes them of order 4 (`run_table`).  The form found in
    libraries, which is of order 2, is `dpmpp_3m_divided`.
    """
    table = adams_table(model.schedule, times, 3, lower_last=lower_last)
    yield from run_table(model, x, times, table, warmup=warmup)


@kept
def divided_table(schedule, times, tau=0.0, lower_last=False):
    """Rows of the third-order multistep update as libraries have it: the second *divided difference* x0[0, 1,
    2] stands where the second derivative belongs, which is twice that.

    With D1 and D2 the derivatives at s of the parabola, the right update adds b (phi_2 h D1 + phi_3 h^2 D2);
    this one adds half of the last term.
    """
    rows = list(dpmpp_2m_table(schedule, times, tau, "midpoint", lower_last))
    right = adams_table(schedule, times, 3, "x0", "lam", tau, lower_last)
    lam = schedule.lam(np.asarray(times))
    _, b, _, rate = carry(schedule, times, "x0", tau)
    for i in np.flatnonzero(np.array(orders_of_steps(schedule, times, 3, lower_last)) == 3).tolist():
        h, near, far = lam[i + 1] - lam[i], lam[i] - lam[i - 1], lam[i] - lam[i - 2]
        difference = np.array([1 / (near * far), -1 / (near * (far - near)), 1 / (far * (far - near))])
        a, weights, c = right[i]
        rows[i] = a, (np.array(weights) - b[i] * h**2 * phi(3, -rate[i] * h) * difference).tolist(), c
    return rows


@sampler(order=2, nfe=lambda steps: steps, kind="ode")
def dpmpp_3m_divided(model, x, times, lower_last=False):
    """DPM-Solver++(3M) with a divided difference in place of the second derivative: `divided_table`.

    x: (B, ...) at times[0].  This is the update of the official code, diffusers, k-diffusion and
    diff-sampler. Order 2, though it uses three predictions; at few steps the smaller extrapolation can be the
    better one.
    """
    yield from run_table(model, x, times, divided_table(model.schedule, times, 0.0, lower_last))


# --- SDE-DPM-Solver++ -------------------------------------------------------------------------------------


@sampler(order=1, nfe=lambda steps: steps, kind="sde")
def sde_dpmpp_1(model, x, times, tau=1.0, rng=0):
    """SDE-DPM-Solver++1 (Lu et al. 2022b, for tau = 1): exact linear part and noise, the prediction
    frozen.

    x: (B, ...) at times[0].  tau: the level of the reverse SDE, a number or a function of t; tau = 1 is
    DDPM's posterior, ddim with eta = 1.  A step to sigma = 0 adds no noise.
    """
    table = adams_table(model.schedule, times, 1, tau=tau)
    yield from run_table(model, x, times, table, noises=noise_of(rng, x, times))


@sampler(order=2, nfe=lambda steps: steps, kind="sde")
def sde_dpmpp_2m(model, x, times, tau=1.0, form="midpoint", rng=0):
    """SDE-DPM-Solver++(2M) (Lu et al. 2022b): as `dpmpp_2m`, for the reverse SDE of level tau (a
    number).

    x: (B, ...) at times[0].  Weak order 2 (in the variance).
    """
    table = dpmpp_2m_table(model.schedule, times, tau, form)
    yield from run_table(model, x, times, table, noises=noise_of(rng, x, times))


@sampler(order=2, nfe=lambda steps: steps, kind="sde")
def sde_dpmpp_3m(model, x, times, tau=1.0, rng=0):
    """SDE-DPM-Solver++(3M): as `dpmpp_3m`, for the reverse SDE of level tau (a number or a function of t).

    x: (B, ...) at times[0].  Its deterministic part is of order 3; weak order 2, since what the noise within
    a step does to the prediction is left out.
    """
    table = adams_table(model.schedule, times, 3, tau=tau)
    yield from run_table(model, x, times, table, noises=noise_of(rng, x, times))
