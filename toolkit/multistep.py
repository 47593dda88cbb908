"""Chapter 4: multistep solvers, which reuse the predictions of earlier steps.

PNDM, PLMS: Liu et al., ICLR 2022 (arXiv 2202.09778).  DEIS, iPNDM: Zhang & Chen, ICLR 2023 (arXiv
2204.13902). UniPC: Zhao et al., NeurIPS 2023 (arXiv 2302.04867).  SA-Solver: Xue et al., NeurIPS 2023 (arXiv
2309.05019).

Each is the loop of its paper; `exponential_ab` is the general method, whose tables they are or differ from.
A last step to sigma = 0, where lambda is infinite, is a jump to the predicted x_0 for every solver.
"""

from typing import NamedTuple

import numpy as np

from toolkit.ddim import ddim_coefficients
from toolkit.exponential import (
    PREDICTIONS,
    Row,
    adams_table,
    after,
    blended,
    check_start,
    combine,
    orders_of_steps,
    run_table,
)
from toolkit.noise import noise_of
from toolkit.options import check_choice, real_number
from toolkit.sampling import kept, sampler

# Adams-Bashforth with equal steps (Hairer, Norsett & Wanner 1993, sec. III.1), the newest prediction's weight
# first
EQUAL_STEPS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def one_call_a_step(steps, order, history):
    """The calls of a multistep method: one a step, and one for each earlier state that it uses."""
    return steps + min(len(history), order - 1)


@sampler(order=2, nfe=one_call_a_step, kind="ode", cite="hochbruck2010")
def exponential_ab(
    model, x, times, order=2, prediction="x0", variable="lam", lower_last=False, history=(), rate=None
):
    """The general exponential Adams-Bashforth method: the polynomial through the last `order` predictions,
    integrated exactly (`adams_table`), x' = a x + sum_j w_j m_j.

    x: (B, ...) at times[0].  order: 1, 2, 3, ...  prediction: "x0" or "eps".  variable: what the polynomial
    is in, "lam", "t" or "sigma" (for sigma / alpha).  The first steps have fewer predictions, unless history,
    a list of (t, x) before times[0], is given (`exponential.after`).  rate: a number for the linear part in
    place of the prediction's own, which is 1 for x0 and -1 for eps (`exponential.blended`); prediction is
    then not used.  Special cases: order 1 is DDIM; ("x0", "lam", 3) is dpmpp_3m; ("eps", "t") is DEIS-tAB;
    ("eps", "sigma") is DEIS-rhoAB and iPNDM with variable steps.
    """
    rate = None if rate is None else real_number("rate", rate)
    check_choice("prediction", prediction, PREDICTIONS)
    predict = {"x0": model.x0, "eps": model.eps}[prediction] if rate is None else blended(model, rate)
    grid, past = after(history, predict, x, times, order - 1)
    table = adams_table(
        model.schedule, grid, order, prediction, variable, lower_last=lower_last, rate=rate
    )
    yield from run_table(model, x, times, table[len(past) :], predict, past=past)


@sampler(order=3, nfe=one_call_a_step, kind="ode", cite="zhang2023deis")
def deis(model, x, times, order=3, variant="tab", lower_last=False, history=()):
    """DEIS (Zhang & Chen 2023): a polynomial through the last `order` eps, integrated exactly,
    x_t = Psi(t, s) x_s + sum_j C_j eps_j, with Psi(t, s) = alpha_t / alpha_s.  It is `exponential_ab` in eps.

    x: (B, ...) at times[0].  variant: "tab", the polynomial in t; "rhoab", in rho = sigma / alpha.  The paper
    counts the degree, order - 1; degree 0 is DDIM.  The first steps have fewer predictions, unless history, a
    list of (t, x) before times[0], is given (`exponential.after`).
    """
    check_choice("variant", variant, ("tab", "rhoab"))
    variable = "t" if variant == "tab" else "sigma"
    grid, eps = after(history, model.eps, x, times, order - 1)
    table = adams_table(model.schedule, grid, order, "eps", variable, lower_last=lower_last)[len(eps) :]
    yield times[0], x
    for row, s, t in zip(table, times, times[1:]):
        eps = [model.eps(x, s), *eps[: order - 1]]  # eps_theta(x_(t_i), t_i), eps_theta(x_(t_(i+1)), ..), ..
        x = row.a * x  # Psi(t_(i-1), t_i) x_(t_i)
        for c, e in zip(row.weights, eps):
            x = x + c * e  # + C_ij eps_theta(x_(t_(i+j)), t_(i+j))
        yield t, x


@kept
def equal_steps_table(schedule, times, order, lower_last=False):
    """A `Row` for each step with Adams-Bashforth's weights for equal steps, in eps, whatever the steps are:
    DDIM's step (`ddim_coefficients`) with a weighted mean of the last predictions as its eps.
    """
    check_choice("order", order, tuple(EQUAL_STEPS))
    a, b, _ = ddim_coefficients(schedule, times)
    counts = orders_of_steps(schedule, times, order, lower_last)
    return tuple(Row(a[i], tuple(b[i] * w for w in EQUAL_STEPS[k]), 0.0) for i, k in enumerate(counts))


@sampler(order=2, nfe=one_call_a_step, kind="ode", cite="zhang2023deis")
def ipndm(model, x, times, order=4, variable_step=False, lower_last=False, history=()):
    """iPNDM (Zhang & Chen 2023): PNDM's multistep part, started with lower orders: DDIM's step with the mean
    (55 eps_0 - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24 of the last four predictions as its eps.

    x: (B, ...) at times[0].  order: 1 to 4, the number of predictions used; 1 is DDIM.  The weights are those
    of equal steps in sigma / alpha: on any other grid the method is of order 2 (1 for order=1), though its
    constant at few steps is small.  variable_step=True uses the weights of the actual steps, which is
    DEIS-rhoAB and has its order.  history: a list of (t, x) before times[0], see `exponential.after`.
    """
    grid, eps = after(history, model.eps, x, times, order - 1)
    if variable_step:
        table = adams_table(model.schedule, grid, order, "eps", "sigma", lower_last=lower_last)
    else:
        table = equal_steps_table(model.schedule, grid, order, lower_last)
    yield times[0], x
    for row, s, t in zip(table[len(eps) :], times, times[1:]):
        eps = [model.eps(x, s), *eps[: order - 1]]  # eps_theta(x_t, t), and the three before it
        x = row.a * x  # sqrt(abar_(t-1) / abar_t) x_t
        for w, e in zip(row.weights, eps):
            x = x + w * e  # + DDIM's factor times 55/24, -59/24, 37/24, -9/24 of it
        yield t, x


@sampler(order=2, nfe=lambda steps: steps + 3 * min(steps, 3), kind="ode", cite="liu2022pndm")
def pndm(model, x, times):
    """PNDM (Liu et al. 2022): three pseudo Runge-Kutta steps, four calls each, then PLMS, which is `ipndm`:
    x_t = phi(x_s, eps', s, t), DDIM's step, with eps' = (55 eps_0 - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24.

    x: (B, ...) at times[0].  Both combine four eps and carry x with one DDIM step, their "transfer".
    The Runge-Kutta middle is the middle in t, and the weights 55, -59, 37, -9 (over 24) are those of equal
    steps in sigma / alpha: order 2 on other grids.
    """
    schedule = model.schedule
    check_start(schedule, times)
    table, eps = equal_steps_table(schedule, times, 4), []
    yield times[0], x
    for i, (row, s, t) in enumerate(zip(table, times, times[1:])):
        eps = [model.eps(x, s), *eps[:3]]  # e_t, e_(t-delta), e_(t-2delta), e_(t-3delta)
        if i < 3 and schedule.sigma(t) > 0:
            x = _pseudo_runge_kutta(model, x, s, t, eps[0])  # eq. 13, PRK
        else:
            x = row.a * x + sum(w * e for w, e in zip(row.weights, eps))  # eq. 12, PLMS
        yield t, x


def _pseudo_runge_kutta(model, x, s, t, e1):
    """x carried by DDIM with the Runge-Kutta mean of four eps (Liu et al. 2022)."""
    m = (s + t) / 2
    schedule = model.schedule
    (to_m,), (from_s,), _ = ddim_coefficients(schedule, [s, m])
    (to_t,), (whole,), _ = ddim_coefficients(schedule, [s, t])
    e2 = model.eps(to_m * x + from_s * e1, m)
    e3 = model.eps(to_m * x + from_s * e2, m)
    e4 = model.eps(to_t * x + whole * e3, t)
    return to_t * x + whole * (e1 + 2 * e2 + 2 * e3 + e4) / 6


# --- predictor and corrector ------------------------------------------------------------------------------


class UniPCStep(NamedTuple):
    """UniP:  x' = a x + sum_j predict[j] m_j,  m_0 the prediction at the step's start.  UniC, after it: x' =
    a x + sum_j correct[j] m_j,  m_0 the prediction at the step's end.
    """

    a: float
    predict: tuple[float, ...]
    correct: tuple[float, ...]


@kept
def unipc_coefficients(schedule, times, order, form="bh2", lower_last=False):
    """A `UniPCStep` for each step of UniPC (Zhao et al. 2023, with data prediction).

    UniP-p integrates the polynomial through p predictions, UniC-p that through p and the one at the step's
    end; their system R rho = phi / B(h) does not depend on B, except where the paper takes rho = 1/2 instead
    of solving it: in UniP-2 and in UniC-1.  There B(h) = h ("bh1") or 1 - e^-h ("bh2").
    """
    check_choice("form", form, ("bh1", "bh2"))
    explicit = adams_table(schedule, times, order, lower_last=lower_last)
    implicit = adams_table(schedule, times, order, lower_last=lower_last, implicit=True)
    steps = [UniPCStep(p.a, p.weights, c.weights) for p, c in zip(explicit, implicit)]
    lam, alpha = (level(np.asarray(times)) for level in (schedule.lam, schedule.alpha))
    for i, k in enumerate(orders_of_steps(schedule, times, order, lower_last)):
        h = lam[i + 1] - lam[i]
        if k > 2 or not np.isfinite(h):
            continue
        half = float(alpha[i + 1] * (h if form == "bh1" else -np.expm1(-h)) / 2)  # alpha_t B(h) rho
        total = float(-alpha[i + 1] * np.expm1(-h))
        if k == 2:
            bend = float(half * h / (lam[i] - lam[i - 1]))
            steps[i] = steps[i]._replace(predict=(total + bend, -bend))
        else:
            steps[i] = steps[i]._replace(correct=(half, total - half))
    return tuple(steps)


@sampler(order=4, nfe=one_call_a_step, kind="ode", cite="zhao2023unipc")
def unipc(model, x, times, order=3, form="bh2", corrector=True, lower_last=False, history=()):
    """UniPC (Zhao et al. 2023): the predictor UniP, and the corrector UniC, which costs no call: it reuses
    the prediction that the next step needs anyway,
    x_t = sigma_t / sigma_s x_s + alpha_t (1 - e^-h) m_0 + alpha_t B(h) sum_j rho_j / r_j (m_j - m_0).

    x: (B, ...) at times[0].  order: 1, 2, 3, ... predictions in the predictor; with the corrector the method
    is of order + 1, without it of order.  The state at times[-1] is not corrected.  form: "bh1" or "bh2",
    which differ in UniP-2 and UniC-1 only.  UniP-1 is DDIM, UniP-2 (bh2) dpmpp_2m, UniP-3 dpmpp_3m but for
    its second step.  The first steps have fewer predictions, unless history, a list of (t, x) before
    times[0], is given (`exponential.after`).
    """
    grid, data = after(history, model.x0, x, times, order - 1)
    steps = unipc_coefficients(model.schedule, grid, order, form, lower_last)[len(data) :]
    moved = x
    yield times[0], x
    for i, (row, s, t) in enumerate(zip(steps, times, times[1:])):
        data = [model.x0(x, s), *data[:order]]  # Q: x_theta(x~_(i-1), t_(i-1)) and those before it
        if corrector and i:  # UniC-p: x~^c_(i-1), in the place of x~_(i-1)
            x = combine(moved, steps[i - 1].correct, data)
        moved = row.a * x  # sigma_i / sigma_(i-1) x~^c_(i-1)
        x = combine(moved, row.predict, data)  # UniP-p: x~_i
        yield t, x


@sampler(order=2, nfe=lambda steps: steps, kind="sde", cite="xue2023sasolver")
def sa_solver(model, x, times, order=3, tau=1.0, corrector=True, rng=0):
    """SA-Solver (Xue et al. 2023): stochastic Adams, predictor and corrector, for the reverse SDE of level
    tau, x' = a x + sum_j w_j m_j + c z (`adams_table`).

    x: (B, ...) at times[0].  order: predictions in the predictor; the corrector uses one more, at the step's
    end, and the same noise.  tau: a number, a function of t or one number for each time; 0 is UniPC with
    exact weights.  Without the corrector order 1 is sde_dpmpp_1, order 3 sde_dpmpp_3m.  Weak order 2.
    """
    schedule = model.schedule
    predictor = adams_table(schedule, times, order, tau=tau)
    implicit = adams_table(schedule, times, order, tau=tau, implicit=True) if corrector else None
    yield from run_table(model, x, times, predictor, noises=noise_of(rng, x, times), corrector=implicit)
