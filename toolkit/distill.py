"""Distillation and one-step generation (chapter 5): students that do in a few calls what a teacher does in
many.

A teacher and its students are models of `toolkit.models`; a student is a `Network`, whose network is trained
in place.  Each method is a loss of its own and a loop (`toolkit.training.fit`) that feeds it:

    regress_on_pairs        the flow map itself, from noise to the teacher's samples
    distill_progressively   two DDIM steps of the teacher in one of the student, again and again
    distill_guidance        classifier-free guidance in one call, for a range of scales
    train_consistency       equal answers along a trajectory: the teacher's (distillation), or with no teacher
    distill_adversarially   regression, and a critic that compares with the data
    reflow                  a flow with straight paths, from the teacher's pairs

Every one returns a `toolkit.training.Training`; `student.with_network(run.net)` is the trained student, and
`consistency` samples from it in one step or in several.  The loops take the arguments of `fit`: steps, lr,
ema, seed, progress, callback, ..., and `checkpoint` where the loop keeps nothing else between two steps:
regress_on_pairs, distill_guidance and reflow."""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from toolkit import grids
from toolkit.ddpm import diffuse
from toolkit.models import Affine, Calls, Model, Network, Wrapper, alpha_and_sigma, view_coefficients
from toolkit.noise import noise_of
from toolkit.options import whole_number
from toolkit.sampling import sampler
from toolkit.schedules import wide_dtype
from toolkit.training import batches, device_of, draw_times, fit, loss

# --- weights and metrics ----------------------------------------------------------------------------------


def weight(name, level, sigma_data=0.5, lower=None):
    """The weight (B,) of a squared error of x0 at noise level `level` = sigma / alpha (B,).

    "uniform": 1 / d^2, d = sigma_data.  "snr": 1 / level^2, which makes it an error of eps.  "truncated snr":
    the larger of the two, and "snr+1": their sum (Salimans & Ho 2022, sec. 4, for data of deviation d = 1);
    the last is EDM's weight, under which a fresh network errs alike at all levels (Karras et al. 2022, table
    1).  "1/gap", for consistency losses only: 1 / (level - lower), `lower` (B,) the neighbouring level (Song
    & Dhariwal 2024, sec. 3.1)."""
    if name == "uniform":
        return torch.full_like(level, sigma_data**-2)
    if name == "snr":
        return level**-2
    if name == "truncated snr":
        return (level**-2).clamp(min=sigma_data**-2)
    if name == "snr+1":
        return level**-2 + sigma_data**-2
    if name == "1/gap" and lower is not None:
        return 1 / (level - lower)
    raise ValueError(
        "weighting must be 'uniform', 'snr', 'truncated snr', 'snr+1' or, for consistency, '1/gap'; "
        f"got {name!r}"
    )


def pseudo_huber(error, c):
    """sqrt(|error|^2 + c^2) - c of each sample, (B,): squares small errors, takes the length of large ones
    (Song & Dhariwal 2024, sec. 3.3, who take c = 0.00054 sqrt(d)).
    """
    return (error.square().flatten(1).sum(1) + c**2).sqrt() - c


def mean_square(error):
    """The mean of each sample's squared elements: (B, ...) -> (B,)."""
    return error.square().flatten(1).mean(1)


def column(values, x):
    """(B,) float64 -> (B, 1, ...) to broadcast against x."""
    return values.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def _there(times, x):
    """A grid (n + 1,) on x's device."""
    return times.to(wide_dtype(x.device)).to(x.device)


# --- progressive distillation -----------------------------------------------------------------------------


def ddim_step(model, x, t, s):
    """One step of DDIM (eta = 0) for each sample from its own time t to s, both (B,), x (B, ...): one
    call."""
    return _towards(model.schedule, model.x0(x, t), x, t, s)


def _towards(schedule, x0, x, t, s):
    """Where one step of DDIM from x at time t to s ends, with the prediction x0."""
    alpha, sigma = alpha_and_sigma(schedule, x, t)
    alpha_s, sigma_s = alpha_and_sigma(schedule, x, s)
    return alpha_s * x0 + sigma_s / sigma * (x - alpha * x0)


def x0_that_leads(schedule, x, t, y, s):
    """The x0 with which one DDIM step from x at time t ends in y at time s; x, y (B, ...), t, s (B,) or
    numbers.

    (y - r x) / (alpha_s - r alpha_t), r = sigma_s / sigma_t (Salimans & Ho 2022, alg. 2)."""
    alpha, sigma = alpha_and_sigma(schedule, x, t)
    alpha_s, sigma_s = alpha_and_sigma(schedule, x, s)
    ratio = sigma_s / sigma
    return (y - ratio * x) / (alpha_s - ratio * alpha)


def two_step_target(teacher, x, t, middle, s):
    """What the student should predict as x0 at (x, t), so that its one step t -> s equals the teacher's two,
    t -> middle -> s (Salimans & Ho 2022, alg. 2).  x (B, ...), times (B,).  Two calls."""
    y = ddim_step(teacher, ddim_step(teacher, x, t, middle), middle, s)
    return x0_that_leads(teacher.schedule, x, t, y, s)


def heun_target(teacher, x, times):
    """What the student should predict as x0 at (x, times[0]), so that its one step to times[-1] ends where
    the teacher's steps of Heun's method through all of `times` do.  x (B, ...), times: at least two, each
    (B,).  Two calls a step of the teacher."""
    y = x
    for t, s in zip(times, times[1:]):
        y = _heun_step(teacher, y, t, s)
    return x0_that_leads(teacher.schedule, x, times[0], y, times[-1])


def distill_progressively(
    student,
    teacher,
    data,
    *,
    rounds=(8, 4, 2, 1),
    steps=(400, 400, 800, 1200),
    first_heun=None,
    scales=None,
    grid=grids.karras,
    weighting="snr+1",
    labels=None,
    p_uncond=0.1,
    batch=256,
    seed=0,
    **loop,
):
    """Progressive distillation (Salimans & Ho 2022, alg. 2): teach `student` each of `rounds` numbers of
    steps in turn, the first from `teacher`, which makes twice as many, each other from the student of the
    round before.

    data (n, ...) float32, labels (n,) or None.  steps: optimiser steps of each round.
    first_heun: in the first round the teacher makes so many steps of Heun's method, of two calls each, in
        each of the student's; None for the paper's two of DDIM.
    scales: for a guided student, the interval of its scales, one drawn for each sample; the teacher is a
        guided student, too (Meng et al. 2023, sec. 3.2), and both take scale= as in `distill_guidance`.

    Sample the result of a round with `ddim` on grid(schedule, that many steps).  Returns a list of
    `Training`, one a round.  ValueError where a round does not halve the one before, and for lists of two
    lengths."""
    if len(steps) != len(rounds) or any(2 * b != a for a, b in zip(rounds, rounds[1:])):
        raise ValueError(f"rounds must halve, with as many entries of steps: got {rounds} and {steps}")
    _check_loop(loop)
    _check_apart(student, teacher)
    seed = whole_number("seed", seed, -math.inf)
    draw = batches(student.network, data, labels, p_uncond, batch)
    schedule, runs = student.schedule, []
    for i, (pieces, n) in enumerate(zip(rounds, steps)):
        target_of, parts = (heun_target, first_heun) if first_heun and not i else (_ddim_target, 2)
        times = grid(schedule, parts * pieces)

        def loss_of(generator, teacher=teacher, times=times, pieces=pieces, target_of=target_of, parts=parts):
            x0, eps, label = draw(generator)
            place = parts * torch.randint(pieces, (len(x0),), generator=generator, device=x0.device)
            through = [_there(times, x0)[place + k] for k in range(parts + 1)]
            x = diffuse(schedule, x0, through[0], eps)
            scale = None if scales is None else _draw_scales(scales, x0, generator)
            with torch.no_grad():
                target = target_of(_conditioned(teacher, label, scale), x, through)
            error = _conditioned(student, label, scale).x0(x, through[0]) - target
            level = schedule.sigma(through[0]) / schedule.alpha(through[0])
            return (weight(weighting, level, student.sigma_data).to(x) * mean_square(error)).mean()

        runs.append(fit(student.network, loss_of, steps=n, seed=seed + i, **loop))
        teacher = student.with_network(runs[-1].net)
        student.network.load_state_dict(runs[-1].net.state_dict())  # go on from the average
    return runs


def _ddim_target(teacher, x, times):
    return two_step_target(teacher, x, *times)


def _conditioned(model, label, scale):
    """The model at a label, and at a scale if there is one."""
    model = model.with_label(label)
    return model if scale is None else at_scale(model, scale)


def _draw_scales(scales, x, generator):
    """A scale (B,) for each sample of x, uniform in the interval `scales`."""
    low, high = scales
    return low + (high - low) * torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)


# --- guidance distillation --------------------------------------------------------------------------------


def guided_x0(teacher, x, t, label, scale):
    """The guided prediction x0_null + scale (x0_label - x0_null), scale (B,) or a number: `Guided` with a
    scale for each sample.  Two calls."""
    null = teacher.with_label(None).x0(x, t)
    scale = column(torch.as_tensor(scale).expand(len(x)), x)
    return null + scale * (teacher.with_label(label).x0(x, t) - null)


class _AtScale(Wrapper):
    """A guided student at one scale, or at one for each sample, which is cut with the batch."""

    def __init__(self, model, scale):
        super().__init__(model)
        self.scale = scale

    def _view(self, want, x, t):
        network = partial(self.model.network, scale=self.scale)
        return self.model.with_network(network)._view(want, x, t)

    def rows(self, first, last):
        relative = super().rows(first, last)
        if isinstance(self.scale, torch.Tensor) and self.scale.ndim:
            relative.scale = self.scale[first:last]
        return relative


def at_scale(student, scale):
    """The guided student, whose network takes scale=, as a model at the guidance `scale`, a number or (B,):
    one call where the teacher needs two."""
    return _AtScale(student, scale)


class GuidedPaths(NamedTuple):
    """Paths of a guided teacher: states (steps, n, ...) at times (steps,), with labels and scales (n,)."""

    states: torch.Tensor
    times: torch.Tensor
    labels: torch.Tensor
    scales: torch.Tensor

    def draw(self, n, generator):
        """n states (n, ...), their times, labels and scales (n,), anywhere on the paths."""
        place, row = (
            torch.randint(m, (n,), generator=generator, device=self.states.device)
            for m in self.states.shape[:2]
        )
        return self.states[place, row], self.times[place], self.labels[row], self.scales[row]


@torch.no_grad()
def guided_paths(teacher, noise, times, labels, scales):
    """The `GuidedPaths` of `teacher` in DDIM steps from noise (n, ...) at times[0] along times (steps + 1,),
    each with its own label and scale (n,): the states that it is asked at, so without the last."""
    x, states = noise, []
    for t, s in zip(times, times[1:]):
        states.append(x)
        here, there = (_there(u, x).expand(len(x)) for u in (t, s))
        x = _towards(teacher.schedule, guided_x0(teacher, x, here, labels, scales), x, here, there)
    return GuidedPaths(torch.stack(states), _there(times[:-1], noise), labels, scales)


def distill_guidance(
    student,
    teacher,
    data,
    labels,
    *,
    scales=(1.0, 4.0),
    paths=None,
    share=0.5,
    weighting="snr+1",
    batch=256,
    **loop,
):
    """Guidance distillation (Meng et al. 2023, sec. 3.1): one call of `student` learns the guided prediction
    of `teacher` for every scale in the interval `scales`.

    The student's network takes scale= beside its label, as `networks.ScaledMLP` does.  data (n, ...), labels
    (n,). Times are log-normal (`training.draw_times`).
    paths: `GuidedPaths`, states of which replace this `share` of each batch.  The paper learns from noisy
        data alone; but a guided path leaves these, and there the student is asked.

    Sample with `at_scale(student.with_network(run.net), scale)`. Returns a `Training`."""
    _check_apart(student, teacher)
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    draw, schedule = batches(student.network, data, labels, 0.0, batch), student.schedule
    on_paths = 0 if paths is None else round(share * batch)

    def loss_of(generator):
        x0, eps, label = draw(generator)
        t = draw_times("lognormal", schedule, len(x0), generator, x0.device)
        scale = _draw_scales(scales, x0, generator)
        x = diffuse(schedule, x0, t, eps)
        if on_paths:
            replaced = zip(paths.draw(on_paths, generator), (x, t, label, scale))
            x, t, label, scale = (torch.cat([new, old[on_paths:]]) for new, old in replaced)
        with torch.no_grad():
            target = guided_x0(teacher, x, t, label, scale)
        error = at_scale(student.with_label(label), scale).x0(x, t) - target
        level = schedule.sigma(t) / schedule.alpha(t)
        return (weight(weighting, level, student.sigma_data).to(x) * mean_square(error)).mean()

    return fit(student.network, loss_of, **loop)


# --- consistency ------------------------------------------------------------------------------------------


def boundary_coefficients(level, end, sigma_data=0.5):
    """(c_skip, c_out) of f = c_skip x / alpha + c_out F at noise level `level` = sigma / alpha, for which
    f(x) = x / alpha at level `end`, whatever F is (Song et al. 2023, app. C; EDM's, moved from 0 to `end`).
    """
    rise = level - end
    c_skip = sigma_data**2 / (rise**2 + sigma_data**2)
    return c_skip, sigma_data * rise / (level**2 + sigma_data**2) ** 0.5


class ConsistencyModel(Network):
    """A consistency function f (Song et al. 2023, sec. 3): x0(x, t) is where x's trajectory ends, at time
    `end`, over alpha there.

    network: EDM's raw network, as for Network(predicts="edm").  end: the schedule's by default.  At `end` the
    view x0 is x / alpha (to rounding), whatever the network returns."""

    def __init__(self, network, schedule, label=None, sigma_data=0.5, end=None):
        super().__init__(network, schedule, predicts="edm", label=label, sigma_data=sigma_data)
        self.end = schedule.end if end is None else schedule.within(float(end))

    def _affine(self, want, x, t):
        alpha, sigma = alpha_and_sigma(self.schedule, x, t)
        floor = self.schedule.sigma(self.end) / self.schedule.alpha(self.end)
        c_skip, c_out = boundary_coefficients(sigma / alpha, floor, self.sigma_data)
        a, b = view_coefficients("x0", want, alpha, sigma)
        return Affine(a + b * c_skip / alpha, b * c_out)


class FlowMap(Model):
    """The perfect student: x0(x, t) is the exact end of x's trajectory, over alpha there.

    flow: with `schedule` and `map(x, t, s)`, such as GaussianFlow and QuantileFlow; times are numbers.
    """

    def __init__(self, flow, end=None):
        self.exact, self.schedule, self._calls = flow, flow.schedule, Calls()
        self.end = self.schedule.end if end is None else self.schedule.within(float(end))

    def _view(self, want, x, t):
        self._calls.add()
        x0 = self.exact.map(x, float(t), self.end) / self.schedule.alpha(self.end)
        to = view_coefficients("x0", want, *alpha_and_sigma(self.schedule, x, t))
        return to.x * x + to.prediction * x0


@sampler(order=None, nfe=lambda steps: steps, kind="jump", cite="song2023consistency")
def consistency(model, x, times, rng=0):
    """Multistep consistency sampling (Song et al. 2023, alg. 1): jump to the data from each of `times` but
    the last, and add noise anew in between, x_s = alpha_s x0 + sqrt(sigma_s^2 - alpha_s^2 kappa^2) z, kappa
    the level at which jumps end.  For models whose x0 is the end of a trajectory; one step uses no noise.

    x (B, ...) at times[0].  times[-1] is the time at which jumps end.  rng: int seed, generator or Brownian.
    """
    schedule, end = model.schedule, times[-1]
    noises = noise_of(rng, x, times) if len(times) > 2 else None
    floor = schedule.sigma(end) / schedule.alpha(end)
    yield times[0], x
    for i, s in enumerate(times[1:]):
        x0 = model.x0(x, times[i])
        if s == end:
            yield end, schedule.alpha(end) * x0
            return
        alpha, sigma = schedule.alpha(s), schedule.sigma(s)
        x = alpha * x0 + math.sqrt(max(0.0, sigma**2 - (alpha * floor) ** 2)) * next(noises)
        yield s, x


def doubling_levels(step, steps, first, last):
    """The number of intervals at optimiser step `step` of `steps`: `first`, doubled at equal times until
    `last` (Song & Dhariwal 2024, sec. 3.4)."""
    stages = max(1, math.ceil(math.log2(last / first)) + 1)
    return min(first * 2 ** (step * stages // steps), last)


def draw_intervals(times, schedule, n, generator, mean=-1.1, std=2.0):
    """n interval numbers i (n,), of the interval times[i] -> times[i + 1], each drawn with the probability
    that a normal of this mean and deviation gives to its part of the axis of log(sigma / alpha) (Song &
    Dhariwal 2024, sec. 3.5)."""
    edges = torch.special.ndtr((-schedule.lam(times) - mean) / std)
    share = (edges[:-1] - edges[1:]).to(wide_dtype(generator.device)).to(generator.device)
    return torch.multinomial(share, n, replacement=True, generator=generator)


def consistency_loss(f, wanted, x, t, s, *, weighting="snr+1", metric="mse", c=None):
    """The mean weighted distance between f.x0(x, t) and `wanted`, the answer at the neighbouring time s (Song
    et al. 2023, def. 1 and 2).  x, wanted (B, ...), t > s (B,).

    metric: "mse", the mean of the squared elements, or "huber", `pseudo_huber` of the whole sample's error,
    with c = 0.00054 sqrt(d) unless given.  weighting: see `weight`."""
    error = f.x0(x, t) - wanted
    size = mean_square(error)
    if metric == "huber":
        size = pseudo_huber(error, 0.00054 * math.sqrt(x[0].numel()) if c is None else c)
    level, lower = (f.schedule.sigma(u) / f.schedule.alpha(u) for u in (t, s))
    return (weight(weighting, level, f.sigma_data, lower).to(x) * size).mean()


@torch.inference_mode(False)
def train_consistency(
    student,
    data,
    *,
    steps,
    teacher=None,
    levels=(10, 160),
    grid=grids.karras,
    weighting="snr+1",
    metric="mse",
    c=None,
    target="stop-gradient",
    decay=0.95,
    shared_noise=True,
    log_level=(-1.1, 2.0),
    labels=None,
    p_uncond=0.1,
    batch=256,
    **loop,
):
    """Consistency training, or distillation if there is a `teacher` (Song et al. 2023, alg. 3 and 2).

    The loss compares f(x, t) with f(y, s) at neighbouring times t > s of a grid.  With a teacher y is one
    step of Heun along its trajectory from x; without one y has x's data and x's noise.

    student: a `ConsistencyModel`.  data (n, ...), labels (n,) or None.
    levels: the number of intervals at the first and the last step, see `doubling_levels`.
    weighting, metric, c: see `consistency_loss`.
    target: what f(y, s) is: "stop-gradient", the student itself, no gradient; "average", its moving average
        with `decay` (Song et al. 2023); "student", with gradient, which changes the minimiser.
    shared_noise: False draws y's noise anew, which has a constant as its minimiser but for the boundary.
    log_level: mean and deviation for `draw_intervals`.

    Returns a `Training`.  ValueError for an option that does not exist.
    """
    _check_choice("target", target, ("stop-gradient", "average", "student"))
    _check_choice("metric", metric, ("mse", "huber"))
    _check_loop(loop)
    if teacher is not None:
        _check_apart(student, teacher)
    if not 1 <= levels[0] <= levels[1]:
        raise ValueError(f"levels must be two numbers of intervals, 1 <= first <= last; got {levels}")
    draw, schedule = batches(student.network, data, labels, p_uncond, batch), student.schedule
    average = None
    if target == "average":
        towards = get_ema_multi_avg_fn(decay)
        average = AveragedModel(student.network, multi_avg_fn=towards).requires_grad_(False)
    step = 0

    def loss_of(generator):
        nonlocal step
        times = grid(schedule, doubling_levels(step, steps, *levels))
        step += 1
        x0, eps, label = draw(generator)
        place = draw_intervals(times, schedule, len(x0), generator, *log_level)
        t, s = (_there(times, x0)[place + k] for k in range(2))
        x = diffuse(schedule, x0, t, eps)
        if teacher is None:
            again = eps
            if not shared_noise:
                again = torch.randn(eps.shape, generator=generator, device=eps.device, dtype=eps.dtype)
            y = diffuse(schedule, x0, s, again)
        else:
            with torch.no_grad():
                y = _heun_step(teacher.with_label(label), x, t, s)
        f = student.with_label(label)
        if average is not None:
            average.update_parameters(student.network)
        with torch.set_grad_enabled(target == "student"):
            wanted = (f if average is None else f.with_network(average.module)).x0(y, s)
        return consistency_loss(f, wanted, x, t, s, weighting=weighting, metric=metric, c=c)

    return fit(student.network, loss_of, steps=steps, **loop)


def _heun_step(model, x, t, s):
    """One step of Heun's method in x / alpha against sigma / alpha, each sample from its time t to its s."""
    alpha, sigma = alpha_and_sigma(model.schedule, x, t)
    alpha_s, sigma_s = alpha_and_sigma(model.schedule, x, s)
    gap = sigma_s / alpha_s - sigma / alpha
    slope = model.eps(x, t)
    euler = alpha_s * (x / alpha + gap * slope)
    return alpha_s * (x / alpha + gap * 0.5 * (slope + model.eps(euler, s)))


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def _check_apart(student, teacher):
    if getattr(teacher, "network", None) is student.network:
        raise ValueError(
            "student and teacher share one network, so that training would move the teacher; "
            "give the student a copy: teacher.with_network(copy.deepcopy(teacher.network))"
        )


def _check_loop(loop):
    if loop.get("checkpoint") is not None:
        raise ValueError("this method keeps more than a checkpoint holds and cannot resume: leave it out")


# --- pairs: regression, a critic, straight paths ----------------------------------------------------------


def regress_on_pairs(student, noise, samples, *, labels=None, start=None, batch=256, **loop):
    """Regression to the flow map (Luhman & Luhman 2021): squared error between `student`'s jump from
    `noise` and the teacher's `samples` from that noise.

    noise (n, ...) at time `start` (the schedule's by default), samples (n, ...), labels (n,) of the pairs,
    the null label included, or None.  Returns a `Training`."""
    draw, start = _pair_drawer(student, noise, samples, labels, batch), _start(student, start)

    def loss_of(generator):
        x, y, label = draw(generator)
        return mean_square(student.with_label(label).x0(x, start) - y).mean()

    return fit(student.network, loss_of, **loop)


def _pair_drawer(student, noise, samples, labels, batch):
    """A function of a generator that draws `batch` of the pairs, with their labels or None."""
    device, batch = device_of(student.network), whole_number("batch", batch)
    noise, samples = (torch.as_tensor(v).detach().to(device, torch.float32) for v in (noise, samples))
    labels = None if labels is None else torch.as_tensor(labels).to(device, torch.int64)
    if noise.shape != samples.shape or (labels is not None and labels.shape != noise.shape[:1]):
        raise ValueError(
            "noise and samples must have one shape, labels its first axis: got "
            f"{tuple(noise.shape)}, {tuple(samples.shape)}, {None if labels is None else tuple(labels.shape)}"
        )
    if not len(noise) or not (torch.isfinite(noise).all() and torch.isfinite(samples).all()):
        raise ValueError("noise and samples must be finite and not empty")

    def draw(generator):
        rows = torch.randint(len(noise), (batch,), generator=generator, device=noise.device)
        return noise[rows], samples[rows], None if labels is None else labels[rows]

    return draw


def _start(student, start):
    return student.schedule.start if start is None else float(start)


class Critic(nn.Module):
    """A discriminator on flattened samples: scores (B,), larger for what it takes for data; a label adds the
    inner product of a learned vector with the features, over their number, so that at first no label counts
    more than the rest (Miyato & Koyama 2018)."""

    def __init__(self, shape, n_classes=0, width=128):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(shape), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        self.head, self.classes = nn.Linear(width, 1), nn.Embedding(n_classes + 1, width)
        self.n_classes = n_classes

    def forward(self, x, label=None):
        """x (B, *shape), label (B,) int64 or None -> (B,)."""
        h = self.body(x)
        if label is None:
            label = torch.full((len(x),), self.n_classes, dtype=torch.int64, device=x.device)
        return self.head(h)[:, 0] + (self.classes(label) * h).mean(1)


def critic_loss(critic, real, fake, label=None, gamma=1.0):
    """What the critic descends on: softplus(-D(real)) + softplus(D(fake)) (Goodfellow et al. 2014), plus R1,
    gamma / 2 |grad D(real)|^2, which keeps it smooth where the data are (Mescheder et al. 2018, eq. 9)."""
    real = real.detach().requires_grad_(True)
    score = critic(real, label)
    value = F.softplus(-score).mean() + F.softplus(critic(fake.detach(), label)).mean()
    (gradient,) = torch.autograd.grad(score.sum(), real, create_graph=True)
    return value + 0.5 * gamma * gradient.square().flatten(1).sum(1).mean()


@torch.inference_mode(False)
def distill_adversarially(
    student,
    noise,
    samples,
    data,
    *,
    adversarial=0.1,
    gamma=1.0,
    labels=None,
    data_labels=None,
    p_uncond=0.1,
    start=None,
    critic_lr=1e-3,
    batch=256,
    seed=0,
    **loop,
):
    """Adversarial distillation: `regress_on_pairs`, plus `adversarial` times the loss softplus(-D(student))
    of a critic D that is trained beside the student to tell it from `data` (the critic's loss is
    `critic_loss`).  A simple relative of Sauer et al. 2023, eq. 1, with a loss on pairs in the place of their
    score distillation: there the student's output is noised again, the teacher denoises it, and the student
    is pulled to that; and their critic sees pretrained features, with a hinge loss.

    noise, samples, labels: the teacher's pairs; data, data_labels: real ones; for conditional students the
    critic sees labels.  Returns a `Training`."""
    _check_loop(loop)
    if (labels is None) != (data_labels is None):
        raise ValueError("give labels of the pairs and data_labels both, or neither: the critic sees them")
    draw, start = _pair_drawer(student, noise, samples, labels, batch), _start(student, start)
    draw_real = batches(student.network, data, data_labels, p_uncond, batch)
    seed = whole_number("seed", seed, -math.inf)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        critic = Critic(data.shape[1:], getattr(student.network, "n_classes", 0))
    critic = critic.to(data.device, torch.float32)
    optimizer = torch.optim.Adam(critic.parameters(), lr=critic_lr, betas=(0.0, 0.99))

    def loss_of(generator):
        real, eps, label = draw_real(generator)
        jump = student.with_label(label)
        with torch.no_grad():
            fake = jump.x0(diffuse(student.schedule, torch.zeros_like(eps), start, eps), start)
        optimizer.zero_grad()
        critic_loss(critic, real, fake, label, gamma).backward()
        optimizer.step()
        x, y, label = draw(generator)
        made = student.with_label(label).x0(x, start)
        return mean_square(made - y).mean() + adversarial * F.softplus(-critic(made, label)).mean()

    return fit(student.network, loss_of, seed=seed, **loop)


def late_times(schedule, u, power=2):
    """Times for `draw_times` that crowd towards the noise, whence a student of one step jumps: start less
    u^power of the whole, so that on [0, 1] a share delta^(1 / power) lies within delta of the noise."""
    return schedule.start - (schedule.start - schedule.end) * u**power


def reflow(student, noise, samples, *, labels=None, t_sampler="uniform", batch=256, **loop):
    """Rectified flow's second round (Liu et al. 2023, alg. 1): `training.loss` with the teacher's own pairs
    of noise and sample in place of independent ones, so that paths no longer cross and become straight.

    student: a model on the `Flow` schedule.  noise (n, ...): standard normal, samples (n, ...), labels (n,)
    or None.  t_sampler: the paper's times are uniform; for others see `draw_times`.  Returns a `Training`."""
    draw = _pair_drawer(student, noise, samples, labels, batch)

    def loss_of(generator):
        eps, x0, label = draw(generator)
        t = draw_times(t_sampler, student.schedule, len(x0), generator, x0.device)
        return loss(student.with_label(label), x0, eps, t)

    return fit(student.network, loss_of, **loop)
