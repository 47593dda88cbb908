"""Chapter 4: multistep solvers, which reuse the predictions of earlier steps.

All are `run_table` of `toolkit.exponential` with one table or another: a row of weights for each step.

PNDM, PLMS: Liu et al., ICLR 2022 (arXiv 2202.09778).  DEIS, iPNDM: Zhang & Chen, ICLR 2023 (arXiv
2204.13902). UniPC: Zhao et al., NeurIPS 2023 (arXiv 2302.04867).  SA-Solver: Xue et al., NeurIPS 2023 (arXiv
2309.05019).

A last step to sigma = 0, where lambda is infinite, is a jump to the predicted x_0 for every solver.
"""

import numpy as np

from toolkit.ddim import ddim_coefficients
from toolkit.exponential import adams_table, check_choice, check_start, orders_of_steps, run_table
from toolkit.noise import noise_of
from toolkit.sampling import kept, sampler

# Adams-Bashforth with equal steps (Hairer, Norsett & Wanner 1993, sec. III.1), the newest prediction's weight
# first
EQUAL_STEPS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


@sampler(order=2, nfe=lambda steps: steps, kind="ode")
def exponential_ab(
    model, x, times, order=2, prediction="x0", variable="lam", lower_last=False, warmup="lower"
):
    """The general exponential Adams-Bashforth method: the polynomial through the last `order` predictions,
    integrated exactly (`adams_table`).

    x: (B, ...) at times[0].  prediction: "x0" or "eps".  variable: what the polynomial is in, "lam", "t" or
    "sigma" (for sigma / alpha).  order: any; warmup="matched" (see `run_table`) up to 4. Special cases: order
    1 is DDIM; ("x0", "lam", 3) is dpmpp_3m; ("eps", "t") is DEIS-tAB; ("eps", "sigma") is DEIS-rhoAB and
    iPNDM with variable steps.
    """
    table = adams_table(model.schedule, times, order, prediction, variable, lower_last=lower_last)
    yield from run_table(model, x, times, table, prediction, warmup=warmup)


@sampler(order=3, nfe=lambda steps: steps, kind="ode", needs={"warmup": "matched"})
def deis(model, x, times, order=3, variant="tab", lower_last=False, warmup="lower"):
    """DEIS (Zhang & Chen 2023): a polynomial through the last `order` eps, integrated exactly.

    x: (B, ...) at times[0].  variant: "tab", the polynomial in t; "rhoab", in rho = sigma / alpha.  The paper
    counts the degree, order - 1.
    """
    check_choice("variant", variant, ("tab", "rhoab"))
    variable = "t" if variant == "tab" else "sigma"
    table = adams_table(model.schedule, times, order, "eps", variable, lower_last=lower_last)
    yield from run_table(model, x, times, table, "eps", warmup=warmup)


@kept
def equal_steps_table(schedule, times, order, lower_last=False):
    """Rows of `run_table` with Adams-Bashforth's weights for equal steps, in eps, whatever the steps are:
    DDIM's step (`ddim_coefficients`) with a weighted mean of the last predictions as its eps.
    """
    check_choice("order", order, tuple(EQUAL_STEPS))
    a, b, _ = ddim_coefficients(schedule, times)
    counts = orders_of_steps(schedule, times, order, lower_last)
    return [(a[i], [b[i] * w for w in EQUAL_STEPS[k]], 0.0) for i, k in enumerate(counts)]


@sampler(order=2, nfe=lambda steps: steps, kind="ode")
def ipndm(model, x, times, order=4, variable_step=False, lower_last=False, warmup="lower"):
    """iPNDM (Zhang & Chen 2023): PNDM's multistep part, started with lower orders.

    x: (B, ...) at times[0].  order: 1 to 4, the number of predictions used.  The weights are those of equal
    steps in sigma / alpha: on any other grid the method is of order 2 (1 for order=1), though its constant at
    few steps is small. variable_step=True uses the weights of the actual steps, which is DEIS-rhoAB and has
    its order.
    """
    schedule = model.schedule
    if variable_step:
        table = adams_table(schedule, times, order, "eps", "sigma", lower_last=lower_last)
    else:
        table = equal_steps_table(schedule, times, order, lower_last)
    yield from run_table(model, x, times, table, "eps", warmup=warmup)


@sampler(order=2, nfe=lambda steps: steps + 3 * min(steps, 3), kind="ode")
def pndm(model, x, times):
    """PNDM (Liu et al. 2022): three pseudo Runge-Kutta steps, four calls each, then PLMS.

    x: (B, ...) at times[0].  Both combine four eps and carry x with one DDIM step, their "transfer".
    The Runge-Kutta middle is the middle in t, and the weights 55, -59, 37, -9 (over 24) are those of equal
    steps in sigma / alpha: order 2 on other grids.
    """
    schedule = model.schedule
    check_start(schedule, times)
    table = equal_steps_table(schedule, times, 4)
    times, history = list(times), []
    yield times[0], x
    for i, (s, t) in enumerate(zip(times, times[1:])):
        clean = schedule.sigma(t) == 0
        newest = model.eps(x, s)
        history = [newest, *history[:3]]
        if i < 3 and not clean:
            x = _pseudo_runge_kutta(model, x, s, t, newest)
        else:
            a, weights, _ = table[i]
            x = a * x + sum(w * m for w, m in zip(weights, history))
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


@kept
def unipc_tables(schedule, times, order, form="bh2", lower_last=False):
    """(predictor, corrector) rows of UniPC (Zhao et al. 2023, with data prediction).

    UniP-p integrates the polynomial through p predictions, UniC-p that through p and the one at the step's
    end; their system R rho = phi / B(h) does not depend on B, except where the paper takes rho = 1/2 instead
    of solving it: in UniP-2 and in UniC-1.  There B(h) = h ("bh1") or 1 - e^-h ("bh2").
    """
    check_choice("form", form, ("bh1", "bh2"))
    predictor = list(adams_table(schedule, times, order, lower_last=lower_last))
    corrector = list(adams_table(schedule, times, order, lower_last=lower_last, implicit=True))
    lam, alpha = (level(np.asarray(times)) for level in (schedule.lam, schedule.alpha))
    for i, k in enumerate(orders_of_steps(schedule, times, order, lower_last)):
        h = lam[i + 1] - lam[i]
        if not np.isfinite(h):
            continue
        half = float(alpha[i + 1] * (h if form == "bh1" else -np.expm1(-h)) / 2)  # alpha_t B(h) rho
        total = float(-alpha[i + 1] * np.expm1(-h))
        if k == 2:
            bend = float(half * h / (lam[i] - lam[i - 1]))
            predictor[i] = predictor[i][0], [total + bend, -bend], 0.0
        if k == 1:
            corrector[i] = corrector[i][0], [half, total - half], 0.0
    return predictor, corrector


@sampler(order=4, nfe=lambda steps: steps, kind="ode", needs={"warmup": "matched"})
def unipc(model, x, times, order=3, form="bh2", corrector=True, lower_last=False, warmup="lower"):
    """UniPC (Zhao et al. 2023): the predictor UniP, and the corrector UniC, which costs no call:
    it reuses the prediction that the next step needs anyway.

    x: (B, ...) at times[0].  order: 1, 2, 3, ... predictions in the predictor; with the corrector the method
    is of order + 1, without it of order.  The state at times[-1] is not corrected.  form: "bh1" or "bh2",
    which differ in UniP-2 and UniC-1 only.  warmup: see `run_table`.
    """
    predictor, implicit = unipc_tables(model.schedule, times, order, form, lower_last)
    yield from run_table(model, x, times, predictor, warmup=warmup, corrector=implicit if corrector else None)


@sampler(order=2, nfe=lambda steps: steps, kind="sde")
def sa_solver(model, x, times, order=3, tau=1.0, corrector=True, rng=0):
    """SA-Solver (Xue et al. 2023): stochastic Adams, predictor and corrector, for the reverse
    SDE of level tau.

    x: (B, ...) at times[0].  order: predictions in the predictor; the corrector uses one more, at the step's
    end, and the same noise.  tau: a number or a function of t; 0 is UniPC with exact weights.  Weak order 2.
    """
    schedule = model.schedule
    predictor = adams_table(schedule, times, order, tau=tau)
    implicit = adams_table(schedule, times, order, tau=tau, implicit=True) if corrector else None
    yield from run_table(model, x, times, predictor, noises=noise_of(rng, x, times), corrector=implicit)
