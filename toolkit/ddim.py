"""Chapter 2: denoising diffusion implicit models (Song, Meng & Ermon, ICLR 2021; arXiv 2010.02502).

In this book's notation (their alpha_t is our alpha_t^2): from x_t to x_s, s < t,

    x_s = alpha_s x0 + sqrt(sigma_s^2 - c^2) eps + c z        (their eq. 12)
    c = eta sqrt(sigma_s^2 / sigma_t^2 (sigma_t^2 - alpha_t^2 / alpha_s^2 sigma_s^2))    (eq. 16)

with x0 and eps the model's predictions at x_t and z fresh noise: eta = 1 is DDPM's posterior, eta = 0 is
deterministic.
"""

import math

import numpy as np
import torch

from toolkit.ddpm import transition
from toolkit.noise import noise_of
from toolkit.options import real_number
from toolkit.sampling import largest_rms, sample_last, sampler
from toolkit.schedules import check_signal


def ddim_sigma(schedule, t, s, eta=1.0):
    """Standard deviation c of the noise that a DDIM step from t to s adds (eq. 16 of the paper).

    t, s: times, floats or float64 arrays, sigma(s) <= sigma(t).  eta = 1 gives the posterior deviation of
    DDPM.
    """
    _, fresh = transition(schedule, s, t)  # sigma_t^2 - alpha_t^2 / alpha_s^2 sigma_s^2
    return eta * schedule.sigma(s) / schedule.sigma(t) * np.sqrt(fresh)


def ddim_coefficients(schedule, times, eta=0.0):
    """(a, b, c), lists of floats, such that a DDIM step is  x_s = a x_t + b eps + c z.

    That is eq. 12 with x0 = (x_t - sigma_t eps) / alpha_t; its mean is eq. 7 at the predicted x0, and for
    eta = 0, divided by alpha_s, it is eq. 14: x/alpha moves by eps times the change of sigma/alpha.
    times: decreasing list of n + 1 times; each list has n entries.  ValueError if alpha is 0 where x0 must be
    formed, or eta is negative or so large that the noise would exceed sigma_s.
    """
    eta = real_number("eta", eta)
    if eta < 0:
        raise ValueError(f"eta must be a number and not negative, got {eta}")
    times = np.asarray(times)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    (t, alpha_t, sigma_t), (s, alpha_s, sigma_s) = zip(*((v[:-1], v[1:]) for v in (times, alpha, sigma)))
    check_signal(alpha_t, t)
    noise = ddim_sigma(schedule, t, s, eta) if eta else np.zeros(len(t))
    room = sigma_s**2 - noise**2
    if (room < -1e-12 * sigma_s**2).any():
        raise ValueError(
            f"eta = {eta:g} asks for more noise than sigma_s at some step; on this grid eta must be smaller"
        )
    direction = np.sqrt(np.maximum(room, 0.0))
    a = alpha_s / alpha_t
    return a.tolist(), (direction - a * sigma_t).tolist(), noise.tolist()


@sampler(order=1, nfe=lambda steps: steps, kind="ode", cite="song2021ddim")
def ddim(model, x, times, eta=0.0, rng=0):
    """DDIM along `times`, any sub-sequence; the last step may end at sigma = 0:
    x_s = alpha_s x0 + sqrt(sigma_s^2 - c^2) eps + c z  (eq. 12 of the paper).  eta = 1 is `ddpm`, eta = 0
    `dpm_solver_1` and `euler` in sigma / alpha.

    x: (B, ...) at times[0].  eta: 0 deterministic, 1 DDPM's posterior variance.  rng: int seed, generator or
    Brownian, used if eta > 0.
    """
    a, b, c = ddim_coefficients(model.schedule, times, eta)
    noises = noise_of(rng, x, times) if eta else None
    yield times[0], x
    for i, t in enumerate(times[:-1]):
        x = a[i] * x + b[i] * model.eps(x, t)
        if noises:
            x = x + c[i] * next(noises)
        yield times[i + 1], x


@sampler(order=1, nfe=None, kind="ode", cite="song2021ddim")
def ddim_adaptive(model, x, times, tol=0.01, extrapolate=False):
    """DDIM, x_s = a x_t + b eps (eta = 0), that chooses its own steps between times[0] and times[-1]; the
    times between are ignored.

    Were eps a straight line in lambda with the slope of the last two calls, a step h in lambda would err by
    kappa `step_error(h)` |slope| in x / alpha, kappa = sigma / alpha.  Both calls are made before the step
    is, so h is solved for, at no extra call, and no step is rejected.  `tol` bounds this error at each step
    (root mean square of a sample, largest of the batch, relative to sqrt(1 + kappa^2), the size of noisy
    data); a step is at most 1.5 times the one before, and from kappa <= tol on a single one goes to the end.
    extrapolate=True adds the estimate to the step: a two-step Adams-Bashforth method, second order, exact for
    eps linear in lambda.
    The batch shares its steps, so results depend on how it is cut.  ValueError unless 0 < tol < 1 and lambda
    is finite at the start.
    """
    if not 0 < tol < 1:
        raise ValueError(f"tol must lie between 0 and 1, got {tol}")
    schedule, t, end = model.schedule, times[0], times[-1]
    if not math.isfinite(schedule.lam(t)):
        raise ValueError(f"lambda is {schedule.lam(t):g} at the start t = {t:g}: start a little later")
    yield t, x
    # no slope is known before the second call; size = 1 stands in for it, since eps itself is of that size
    eps, slope, size, h = model.eps(x, t), torch.zeros_like(x), 1.0, math.inf
    while t > end:
        lam, kappa = schedule.lam(t), math.exp(-schedule.lam(t))
        h = min(float(step_for(tol * math.hypot(1, kappa) / (kappa * max(size, 1e-12)))), 1.5 * h)
        s = end if kappa <= tol or lam + h >= schedule.lam(end) else schedule.t_of_lam(lam + h)
        h = schedule.lam(s) - lam
        (a,), (b,), _ = ddim_coefficients(schedule, [t, s])
        x = a * x + b * eps
        if extrapolate:
            x = x - schedule.alpha(s) * kappa * float(step_error(h)) * slope
        yield s, x
        if s > end:
            fresh = model.eps(x, s)
            slope, eps = (fresh - eps) / h, fresh
            size = largest_rms(slope)
        t = s


def step_error(h):
    """1 - (1 + h) e^-h, about h^2 / 2: what a DDIM step h in lambda misses in x / sigma_t for eps of slope 1
    in lambda; 1 at h = inf.  h: a float or an array.
    """
    h = np.minimum(h, 700.0)
    return -np.expm1(-h) - h * np.exp(-h)


def step_for(error):
    """The h with `step_error(h)` = error, by Lambert's W, shaped like error; infinite where error >= 1."""
    from scipy.special import lambertw

    h = -1 - lambertw((np.clip(error, 1e-6, 1.0) - 1) / math.e, -1).real
    return np.where(np.asarray(error) > 1e-6, h, np.sqrt(2 * np.abs(error)))


@sampler(
    order=1, nfe=lambda steps, iterations: steps * (iterations + 1), kind="inversion", cite="song2021ddim"
)
def ddim_invert(model, x, times, iterations=0):
    """Encode data into noise: undo DDIM's steps (eta = 0) one by one, from times[-1] up to times[0].

    times: the *decreasing* grid that decoding will use.  A step solves x_s = a x_t + b eps(x_t, t) for x_t.
    iterations = 0 is the usual approximation, eps(x_s, t) in place of eps(x_t, t) (Song, Meng & Ermon 2021,
    sec. 4.3 and 5.4), off by O(h) in all; each fixed-point iteration costs one call a step and repairs it
    (Pan et al. 2023), to round-off when enough are made.
    """
    if iterations < 0:
        raise ValueError(f"iterations must not be negative, got {iterations}")
    a, b, _ = ddim_coefficients(model.schedule, times)
    yield times[-1], x
    for i in reversed(range(len(times) - 1)):
        known, t = x, times[i]
        for _ in range(iterations + 1):
            x = (known - b[i] * model.eps(x, t)) / a[i]
        yield t, x


def lerp(x, y, weight: float):
    """Straight line between two latents: (1 - w) x + w y.  Leaves the shell on which Gaussian noise lives."""
    return (1 - weight) * x + weight * y


def slerp(x, y, weight: float):
    """Great circle between two latents (Shoemake 1985; Song, Meng & Ermon 2021, app. D.5), sample by sample.

    x, y: (B, ...).  sin((1 - w) th) / sin(th) x + sin(w th) / sin(th) y, th the angle between them; parallel
    latents fall back on lerp.
    """
    flat_x, flat_y = x.flatten(1), y.flatten(1)
    cosine = (flat_x * flat_y).sum(1) / (flat_x.norm(dim=1) * flat_y.norm(dim=1))
    theta = torch.arccos(cosine.clamp(-1, 1)).reshape(-1, *[1] * (x.ndim - 1))
    parallel = theta.sin() < 1e-6
    safe = torch.where(parallel, torch.ones_like(theta), theta.sin())
    great = (((1 - weight) * theta).sin() * x + (weight * theta).sin() * y) / safe
    return torch.where(parallel, lerp(x, y, weight), great)


def edit(source, target, x, times, until: float, iterations: int = 0):
    """Edit by partial inversion: encode x with `source` up to time `until`, decode with `target` (both models
    on one schedule).

    times: a decreasing grid ending where x lives; the part from `until` down is used, `until` itself rounded
    to the grid.  The smaller `until`, the more of x is kept.  Returns the edited batch, shaped like x,
    without gradients.
    """
    times = torch.as_tensor(times, dtype=torch.float64)
    until = source.schedule.within(float(until))
    first = int((times - until).abs().argmin())
    if first >= len(times) - 1:
        raise ValueError(
            f"until = {until:g} lies at or below the end of the grid, {float(times[-1]):g}: nothing to edit"
        )
    part = times[first:]
    return sample_last(ddim(target, sample_last(ddim_invert(source, x, part, iterations=iterations)), part))


def curvature(path):
    """How bent trajectories are: arc length over chord, (B,); 1 for a straight line.  path: (n + 1, B, ...).
    """
    flat = path.flatten(2)
    length = (flat[1:] - flat[:-1]).norm(dim=2).sum(0)
    return length / (flat[-1] - flat[0]).norm(dim=1).clamp(min=math.ulp(1.0))
