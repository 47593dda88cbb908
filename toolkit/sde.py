"""Chapter 3: stochastic differential equations, forward and reversed, and the samplers that solve them.

    dx = f x dt + g dw                                        the diffusion          Song et al. 2021, eq. 5
    dx = (f x - g^2 score) dt + g dw                          its reversal in time   Anderson 1982; eq. 6
    dx = (f x - (1 + tau^2) / 2 g^2 score) dt + tau g dw      one family             tau = 0: eq. 13 (the ODE)

Song et al. is ICLR 2021 (arXiv 2011.13456).  Time runs backwards in the last two: dt < 0.  All members have
the marginals p_t of the first.  g depends on time alone: the noise is additive, so that the Ito and the
Stratonovich reading are the same equation, and Euler-Maruyama is of strong order 1 (it is Milstein's method).
"""

import math

import numpy as np
import torch

from toolkit.noise import noise_of
from toolkit.options import at_each_time, check_choice, real_number, true_or_false, whole_number
from toolkit.sampling import sampler
from toolkit.schedules import check_signal

# --- forward --------------------------------------------------------------------------------------------


def simulate(schedule, x0, times, rng=0):
    """Forward diffusion by Euler-Maruyama: yields (t, x) along *increasing* times, the start first.

    x0: (B, ...), the state at times[0].  x + f x h + g sqrt(h) z, f and g at the start of each step.  rng:
    int seed, generator, Noise or Brownian (for which a grid refined between the same ends sees the same
    path).  ValueError unless the times increase.
    """
    times = [schedule.within(float(t)) for t in times]
    if len(times) < 2 or not all(s > t for t, s in zip(times, times[1:])):
        raise ValueError("times must be at least two, and increase: the diffusion runs from data to noise")
    t, h = np.asarray(times[:-1]), np.diff(times)
    a, c = (1 + schedule.f(t) * h).tolist(), np.sqrt(schedule.g2(t) * h).tolist()
    noises = noise_of(rng, x0, [-t for t in times])
    x = x0
    yield times[0], x
    for i, s in enumerate(times[1:]):
        x = a[i] * x + c[i] * next(noises)
        yield s, x


# --- the reverse family ---------------------------------------------------------------------------------


def reverse_coefficients(schedule, times, tau=1.0):
    """(p, q, c), float64 arrays shaped like times: dx = (p x + q eps) dt + c dw, dt < 0, at these times.

    p = f, q = (1 + tau^2) / 2 g^2 / sigma (from score = -eps / sigma), c = tau g.  tau: a number, a function
    of time, or a list of one number for each of times; 0 is the probability-flow ODE, 1 Anderson's reversal.
    ValueError if it is negative, and where alpha is 0.
    """
    times = np.asarray(times, dtype=np.float64)
    tau = np.reshape(at_each_time("tau", tau, times.reshape(-1)), times.shape)
    check_signal(schedule.alpha(times), times)
    g2, sigma = schedule.g2(times), schedule.sigma(times)
    with np.errstate(divide="ignore", invalid="ignore"):  # sigma = 0 is an end that no step starts from
        return schedule.f(times), (1 + tau**2) / 2 * g2 / sigma, tau * np.sqrt(g2)


def _ends_clean(schedule, times):
    return schedule.sigma(times[-1]) == 0


@sampler(order=1, nfe=lambda steps: steps, kind="sde", cite="song2021sde")
def euler_maruyama(model, x, times, tau=1.0, last_noise=None, rng=0):
    """Euler-Maruyama for the reverse family (Song et al. 2021, eq. 6; Kloeden & Platen 1992, eq. 10.2.4):
    x' = x + h (p x + q eps) + sqrt(-h) c z.  With tau = 0 it is `euler` in t, but for a step to sigma = 0.

    x: (B, ...) at times[0].  tau: see `reverse_coefficients`.  last_noise: whether the last step adds its
    noise; by default it does unless it ends at sigma = 0.  rng: int seed, generator or Brownian.
    Order 1 both in the weak and in the strong sense.
    """
    p, q, c = (v.tolist() for v in reverse_coefficients(model.schedule, times, tau))
    clean = _ends_clean(model.schedule, times)
    last_noise = not clean if last_noise is None else true_or_false("last_noise", last_noise)
    noises = noise_of(rng, x, times)
    yield times[0], x
    for i, t in enumerate(times[:-1]):
        h = times[i + 1] - t
        z = next(noises)
        x = x + h * (p[i] * x + q[i] * model.eps(x, t))
        if last_noise or i < len(times) - 2:
            x = x + math.sqrt(-h) * c[i] * z
        yield times[i + 1], x


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="sde", cite="kloeden1992")
def stochastic_heun(model, x, times, tau=1.0, rng=0):
    """Heun's method for the reverse family: weak order 2, because the noise is additive,
    x' = x + h / 2 (drift + drift_ahead) + sqrt(-h) (c + c_ahead) / 2 z.  With tau = 0 it is `heun` in t.

    x: (B, ...) at times[0].  The predictor is a whole Euler-Maruyama step, *its noise included*; the
    corrector takes the mean drift of both ends and the mean deviation of both ends, with the *same* normal
    (Kloeden & Platen 1992, sec. 15.1: eq. 15.1.3 for additive noise; no calculus is chosen, Ito and
    Stratonovich agree here).  A last step to sigma = 0 is a jump to the predicted x_0.
    """
    schedule = model.schedule
    p, q, c = (v.tolist() for v in reverse_coefficients(schedule, times, tau))
    clean = _ends_clean(schedule, times)
    noises = noise_of(rng, x, times)
    yield times[0], x
    for i, (t, s) in enumerate(zip(times[: -1 - clean], times[1:])):
        h, z = s - t, next(noises)
        drift = p[i] * x + q[i] * model.eps(x, t)
        ahead = x + h * drift + math.sqrt(-h) * c[i] * z
        drift_ahead = p[i + 1] * ahead + q[i + 1] * model.eps(ahead, s)
        x = x + h / 2 * (drift + drift_ahead) + math.sqrt(-h) * (c[i] + c[i + 1]) / 2 * z
        yield s, x
    if clean:
        yield times[-1], schedule.alpha(times[-1]) * model.x0(x, times[-2])


# --- EDM's sampler --------------------------------------------------------------------------------------


def churned(kappa, churn, low=0.0, high=math.inf):
    """The raised noise levels kappa + gamma kappa of EDM's sampler (Karras et al. 2022, Algorithm 2),
    float64 (n,).

    kappa: sigma / alpha at the n + 1 times.  gamma = min(churn / n, sqrt(2) - 1) where low <= kappa <= high,
    and 0 elsewhere.  ValueError if churn is negative.
    """
    churn = real_number("churn", churn)
    if churn < 0:
        raise ValueError(f"churn must be a number and not negative, got {churn}")
    kappa = np.asarray(kappa)[:-1]
    gamma = np.where((low <= kappa) & (kappa <= high), min(churn / len(kappa), math.sqrt(2) - 1), 0.0)
    return kappa * (1 + gamma)


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="sde", cite="karras2022edm")
def edm_stochastic(model, x, times, churn=40.0, low=0.0, high=math.inf, noise_scale=1.0, rng=0):
    """EDM's stochastic sampler (Karras et al. 2022, Algorithm 2), in y = x / alpha:
    y^ = y + S_noise sqrt(kappa^^2 - kappa^2) z, then y' = y^ + h / 2 (eps(y^) + eps(y^ + h eps(y^))).

    x: (B, ...) at times[0].  Each step first adds noise, from kappa = sigma / alpha up to a level `churned`,
    then takes a Heun step of the ODE from there.  churn, low, high, noise_scale: the paper's S_churn, S_tmin,
    S_tmax and S_noise; churn = 0 is `edm_heun`.  A last step to sigma = 0 costs one call.  Noise is raised
    beyond times[0], but never beyond the schedule's `span`, where no model knows what it sees: from t = 1 on
    VP the first step raises nothing; EDM's span has no end.
    """
    schedule = model.schedule
    alpha, kappa = schedule.alpha(np.asarray(times)), np.exp(-schedule.lam(np.asarray(times)))
    top = np.exp(-schedule.lam(schedule.span[1]))
    raised = np.maximum(np.minimum(churned(kappa, churn, low, high), top), kappa[:-1])
    raised_times = np.where(raised > kappa[:-1], schedule.t_of_lam(-np.log(raised)), times[:-1])
    raised_alpha, raised_times = schedule.alpha(raised_times).tolist(), raised_times.tolist()
    added = (noise_scale * np.sqrt(np.maximum(raised**2 - kappa[:-1] ** 2, 0))).tolist()
    alpha, kappa, raised = alpha.tolist(), kappa.tolist(), raised.tolist()
    noises = noise_of(rng, x, times)
    y = x / alpha[0]
    yield times[0], x
    for i, t in enumerate(raised_times):
        y = y + added[i] * next(noises)
        h = kappa[i + 1] - raised[i]
        slope = model.eps(raised_alpha[i] * y, t)
        ahead = y + h * slope
        if kappa[i + 1] > 0:
            ahead = y + h / 2 * (slope + model.eps(alpha[i + 1] * ahead, times[i + 1]))
        y = ahead
        yield times[i + 1], alpha[i + 1] * y


# --- Restart --------------------------------------------------------------------------------------------


def restart_path(schedule, times, low, high, rounds, inner):
    """(i, path): where `restart` goes back, and all times that it visits, floats.

    i: the number of the time whose kappa = sigma / alpha is nearest to low in ratio, among those after the
    start with 0 < kappa < high.  path: times[:i + 1]; `rounds` times the `inner` + 1 times from level high
    down to times[i], equal in kappa^(1 / 7); and times[i + 1:].  high is lowered to the schedule's `span`.
    Where the grid has no such time the path is the grid.
    """
    high = min(high, float(np.exp(-schedule.lam(schedule.span[1]))))
    kappa = np.exp(-schedule.lam(np.asarray(times))).tolist()
    below = [i for i in range(1, len(times)) if 0 < kappa[i] < high]
    if not below:
        return len(times) - 1, list(times)
    i = min(below, key=lambda i: abs(math.log(kappa[i] / low)))
    down = np.linspace(high ** (1 / 7), kappa[i] ** (1 / 7), inner + 1)[:-1] ** 7
    once = [*schedule.t_of_lam(-np.log(down)).tolist(), times[i]]
    return i, [*times[: i + 1], *once * rounds, *times[i + 1 :]]


@sampler(
    order=2,
    nfe=lambda steps, rounds, inner: 2 * (steps + rounds * (inner or (steps + 1) // 2)),
    kind="sde",
    cite="xu2023restart",
)
def restart(model, x, times, low=0.2, high=1.0, rounds=2, inner=None, rng=0):
    """Restart (Xu et al. 2023, sec. 3.1): `edm_heun`; but arrived at the level low it adds noise, in y =
    x / alpha y^ = y + sqrt(high^2 - low^2) z, and comes down again from the level high, `rounds` times.

    x: (B, ...) at times[0].  low, high: the paper's t_min and t_max, levels of kappa = sigma / alpha; it goes
    back from the time of the grid that is nearest to low and below high (`restart_path`), and makes no rounds
    where there is none.  inner: Heun steps of each way down, by default half of the grid's.  The state that
    it yields there is the one after all rounds.  No rounds: it is `edm_heun`.  A last step to sigma = 0
    costs one call.
    """
    rounds = whole_number("rounds", rounds, 0)
    inner = len(times) // 2 if inner is None else whole_number("inner", inner)
    if not 0 < low < high:
        raise ValueError(f"low and high must be 0 < low < high, got low = {low}, high = {high}")
    i, path = restart_path(model.schedule, times, low, high, rounds, inner)
    silent = range(i, len(path) - len(times) + i)  # the visits to times[i], and what lies between them
    alpha, kappa = (f(np.asarray(path)) for f in (model.schedule.alpha, model.schedule.lam))
    alpha, kappa = alpha.tolist(), np.exp(-kappa).tolist()
    noises = noise_of(rng, x, subdivided([times[0], times[i]], max(rounds, 1)))
    y = x / alpha[0]
    yield times[0], x
    for j, (t, s) in enumerate(zip(path, path[1:]), start=1):
        h = kappa[j] - kappa[j - 1]
        if h > 0:  # up: the diffusion from low to high
            y = y + math.sqrt(kappa[j] ** 2 - kappa[j - 1] ** 2) * next(noises)
        else:
            slope = model.eps(alpha[j - 1] * y, t)
            ahead = y + h * slope
            y = ahead if kappa[j] == 0 else y + h / 2 * (slope + model.eps(alpha[j] * ahead, s))
        if j not in silent:
            yield s, alpha[j] * y


# --- Langevin dynamics ----------------------------------------------------------------------------------


def langevin_step(x, score, step, noise):
    """x + step score + sqrt(2 step) noise: one step of Langevin dynamics (Song et al. 2021, Algorithms 4, 5).

    Leaves p invariant as step -> 0, if score is the gradient of log p.  On N(0, s^2) it is stable for
    step < 2 s^2, and its own stationary variance is s^2 / (1 - step / (2 s^2)).  step: a number, or a tensor
    that broadcasts against x.
    """
    return x + step * score + (2 * step) ** 0.5 * noise


def snr_step(score, noise, snr):
    """The step 2 (snr |noise| / |score|)^2 (Song et al. 2021, Algorithm 4), one for each sample, (B, 1, ...).

    It scales with the width of p, so that one snr serves every noise level.  (The paper's VP variant carries
    a factor alpha_i, which is 1 up to the size of a step.)  The norms stand for their expectations.  In few
    dimensions those of a single sample do not: |score| comes near 0, and the step has no mean.
    """
    norms = (v.flatten(1).norm(dim=1) for v in (noise, score))
    return (2 * (snr * torch.div(*norms)) ** 2).reshape(-1, *[1] * (score.ndim - 1))


def subdivided(times, parts):
    """The grid with each interval cut into `parts` equal ones: where a step draws several noises."""
    ends = np.asarray(times)
    inner = ends[:-1, None] + np.diff(ends)[:, None] * (np.arange(parts) / parts)
    return [*inner.reshape(-1).tolist(), float(ends[-1])]


def level_step(sigma, snr):
    """The step 2 (snr sigma)^2: `snr_step` with the norms' expectations at noise level sigma, about sqrt(d)
    and sqrt(d) / sigma, since the score is -eps / sigma.  Stable in any number of dimensions, for snr < 1, as
    no noisy p is narrower than sigma; where p is much wider it is small.  sigma: a float or array.
    """
    return 2 * (snr * sigma) ** 2


def _correct(model, x, t, noises, corrections, snr, step):
    """`corrections` Langevin steps at time t, each with one call of the model; step None: `snr_step`."""
    for _ in range(corrections):
        z, score = next(noises), model.score(x, t)
        x = langevin_step(x, score, snr_step(score, z, snr) if step is None else step, z)
    return x


def _langevin_steps(schedule, levels, norms, snr, step):
    """The Langevin step at each of the times `levels`, a list of floats, or of None for `snr_step`."""
    check_choice("norms", norms, ("expected", "sample"))
    if not (snr if step is None else real_number("step", step)) > 0:
        raise ValueError(f"snr and step must be positive, got snr = {snr}, step = {step}")
    if step is None and norms == "sample":
        return [None] * len(levels)
    sigma = schedule.sigma(np.asarray(levels, dtype=float))
    return (level_step(sigma, snr) if step is None else np.full(len(levels), float(step))).tolist()


@sampler(order=None, nfe=lambda steps, corrections: steps * corrections, kind="mcmc", cite="song2019ncsn")
def langevin(model, x, times, corrections=10, snr=0.16, step=None, norms="expected", rng=0):
    """Annealed Langevin dynamics (NCSN: Song & Ermon 2019, Algorithm 1): at each of times[1:], from noisy to
    clean, `corrections` steps of Langevin dynamics on p_t, x' = x + step score + sqrt(2 step) z; from one
    time to the next x is kept as it is.

    x: (B, ...) at times[0].  The step is 2 (snr sigma)^2, `level_step`; with norms="sample" that of
    `snr_step`, from each sample's own norms, for many dimensions only; or step: their rule, step x
    sigma_i^2 / sigma_n^2, n the last level visited, which is half of their alpha_i.  A last time with
    sigma = 0 is reached by a jump to the predicted x_0, one call.  Not a solver of an equation: no order.
    """
    _check_corrections(corrections, least=1)
    schedule, clean = model.schedule, _ends_clean(model.schedule, times)
    levels = times[1 : len(times) - clean]
    steps = _langevin_steps(schedule, levels, norms, snr, step)
    if step is not None and levels:
        sigma = schedule.sigma(np.asarray(levels))
        steps = (np.array(steps) * (sigma / sigma[-1]) ** 2).tolist()
    noises = noise_of(rng, x, subdivided(times, corrections))
    yield times[0], x
    for t, size in zip(levels, steps):
        x = _correct(model, x, t, noises, corrections, snr, size)
        yield t, x
    if clean:
        yield times[-1], schedule.alpha(times[-1]) * model.x0(x, times[-2])


@sampler(
    order=None, nfe=lambda steps, corrections: steps * (1 + corrections), kind="mcmc", cite="song2021sde"
)
def predictor_corrector(
    model, x, times, corrections=1, snr=0.16, step=None, tau=1.0, norms="expected", rng=0
):
    """Predictor-corrector sampling (Song et al. 2021, Algorithm 1): an Euler-Maruyama step to the next time,
    then `corrections` Langevin steps there, x' = x + step score + sqrt(2 step) z.  Without a correction it is
    `euler_maruyama`.

    x: (B, ...) at times[0].  The corrector's step is 2 (snr sigma)^2, `level_step`; with norms="sample" that
    of `snr_step`, from each sample's own norms, for many dimensions only; or `step`, fixed.  A step that ends
    at sigma = 0 adds no noise and is not corrected.  No order: the corrector's own bias, of the size of its
    step, does not shrink with the grid.
    """
    _check_corrections(corrections, least=0)
    steps = _langevin_steps(model.schedule, times[1:], norms, snr, step)
    p, q, c = (v.tolist() for v in reverse_coefficients(model.schedule, times, tau))
    clean = _ends_clean(model.schedule, times)
    noises = noise_of(rng, x, subdivided(times, corrections + 1))
    yield times[0], x
    for i, t in enumerate(times[:-1]):
        h, s, z = times[i + 1] - t, times[i + 1], next(noises)
        x = x + h * (p[i] * x + q[i] * model.eps(x, t))
        if not (clean and i == len(times) - 2):
            x = x + math.sqrt(-h) * c[i] * z
            x = _correct(model, x, s, noises, corrections, snr, steps[i])
        yield s, x


def _check_corrections(corrections, least):
    if corrections < least:
        raise ValueError(f"corrections must be at least {least}, got {corrections}")
