"""Chapter 6: the mean-value idea, AMED-Solver and AMED-Plugin (Zhou et al., CVPR 2024, arXiv 2312.00094).

In y = x / alpha the probability flow is dy/dkappa = eps(x, t), kappa = sigma / alpha (EDM's coordinates).  A
step from kappa_t to kappa_s needs the mean of eps along the way.  For a scalar it is taken on at some level
in between; for a vector it need not be, though along diffusion trajectories it very nearly is.  AMED lets a
small network, g_phi, say at which level, from what the model's own bottleneck holds at the start of the step.

`best_time` finds that level exactly on models that are known in closed form, and what no level can remove.
`Predictor` is g_phi, `train_predictor` fits it to a teacher's trajectory, `amed_solver` and `amed_plugin` use
it."""

import math

import torch
from torch import nn

from toolkit.convergence import reference
from toolkit.models import AFS
from toolkit.multistep import EQUAL_STEPS
from toolkit.ode import heun
from toolkit.sampling import sample, sampler
from toolkit.schedules import wide_dtype
from toolkit.training import fit

BASES = ("ddim", "dpm_solver_2", "dpmpp_2m", "ipndm")


# --- levels -----------------------------------------------------------------------------------------------


def level_of(schedule, t):
    """kappa = sigma / alpha at t."""
    return schedule.sigma(t) / schedule.alpha(t)


def time_of(schedule, level):
    """The time at which sigma / alpha is `level`, a positive number or tensor."""
    return schedule.t_of_lam(-(level.log() if isinstance(level, torch.Tensor) else math.log(level)))


def _column(value, y):
    """(B,) -> (B, 1, ...) in y's dtype; numbers stay."""
    return value.to(y.dtype).reshape(-1, *[1] * (y.ndim - 1)) if isinstance(value, torch.Tensor) else value


def direction(model, y, level):
    """eps at y (B, ...) and kappa = level, a number or (B,)."""
    t, ends = time_of(model.schedule, level), model.schedule.span  # a predictor may scale beyond them
    t = t.clamp(*ends) if isinstance(t, torch.Tensor) else min(max(t, ends[0]), ends[1])
    alpha = model.schedule.alpha(t)
    return model.eps(_column(alpha, y) * y, t)


# --- the mean value, exactly ------------------------------------------------------------------------------


def mean_direction(model, x, t, s):
    """The mean of eps in kappa along the exact trajectory from x (B, ...) at t to time s: what one Euler step
    would need.  float64, for models that `convergence.reference` can follow."""
    schedule = model.schedule
    end = reference(model, x, t, s)
    gap = level_of(schedule, s) - level_of(schedule, t)
    return (end / schedule.alpha(s) - x.double() / schedule.alpha(t)) / gap


def best_time(model, x, t, s, *, along="exact", nodes=64):
    """Where between t and s the direction comes nearest to the mean direction, and how near.

    x: (B, ...) at t.  along: "exact", candidates lie on the exact trajectory, as in the mean-value theorem;
    "euler", on the straight line that one Euler step from x makes, which is all that a solver has. Returns
    (r, residual), both (B,) float64: r is the share of the step in lambda, kappa_r = kappa_t^(1 - r)
    kappa_s^r; residual the distance to the mean direction over the mean direction's length: 0 where the
    theorem holds. The minimum over r is searched on `nodes` intervals, then by golden section. ValueError for
    another `along`."""
    if along not in ("exact", "euler"):
        raise ValueError(f"along must be 'exact' or 'euler', got {along!r}")
    schedule, x = model.schedule, x.double()
    first, last = level_of(schedule, t), level_of(schedule, s)
    mean = mean_direction(model, x, t, s)
    length = mean.flatten(1).norm(dim=1)
    y, d = x / schedule.alpha(t), direction(model, x / schedule.alpha(t), first)
    path = _hermite(model, y, first, last, nodes) if along == "exact" else None

    def residual(r):
        level = first ** (1 - r) * last**r
        at = y + _column(level - first, y) * d if path is None else path(r)
        return (direction(model, at, level) - mean).flatten(1).norm(dim=1) / length

    shares = torch.linspace(0, 1, nodes + 1, dtype=torch.float64)
    values = torch.stack([residual(share.expand(len(x))) for share in shares])
    nearest = values.argmin(0).clamp(1, nodes - 1)
    return _golden(residual, shares[nearest - 1], shares[nearest + 1])


def _hermite(model, y, first, last, nodes):
    """The exact trajectory from y at level `first`, as a function of r (B,): cubic Hermite between `nodes`
    equal pieces of r, whose slopes the model gives."""
    schedule = model.schedule
    levels = [first ** (1 - i / nodes) * last ** (i / nodes) for i in range(nodes + 1)]
    states, slopes = [y], [direction(model, y, first)]
    for now, then in zip(levels, levels[1:]):
        t, s = time_of(schedule, now), time_of(schedule, then)
        states.append(reference(model, schedule.alpha(t) * states[-1], t, s) / schedule.alpha(s))
        slopes.append(direction(model, states[-1], then))
    rate = math.log(last / first)  # d kappa / d r = kappa rate
    states = torch.stack(states)
    slopes = torch.stack([slope * level * rate / nodes for slope, level in zip(slopes, levels)])

    def at(r):
        place = (r * nodes).floor().clamp(0, nodes - 1).long()
        u = _column(r * nodes - place, y)
        rows = torch.arange(len(y))
        p, q = states[place, rows], states[place + 1, rows]
        dp, dq = slopes[place, rows], slopes[place + 1, rows]
        return (
            (1 + 2 * u) * (1 - u) ** 2 * p
            + u * (1 - u) ** 2 * dp
            + u**2 * (3 - 2 * u) * q
            + u**2 * (u - 1) * dq
        )

    return at


def _golden(function, low, high, rounds=40):
    """The minimiser in [low, high] and the minimum of a function of tensors (B,), element by element."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(rounds):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        left = function(a) < function(b)
        low, high = torch.where(left, low, a), torch.where(left, b, high)
    middle = (low + high) / 2
    return middle, function(middle)


def explained(path):
    """The share of a trajectory's variance that its first 1, 2, ... principal components explain, for each
    sample.

    path (N, B, ...): the states of one run.  Returns (B, min(N - 1, d)) float64, growing to 1."""
    points = path.double().flatten(2).transpose(0, 1)  # (B, N, d)
    points = points - points.mean(1, keepdim=True)
    power = torch.linalg.svdvals(points).square()[:, : min(points.shape[1] - 1, points.shape[2])]
    return power.cumsum(1) / power.sum(1, keepdim=True)


# --- g_phi ------------------------------------------------------------------------------------------------


class Predictor(nn.Module):
    """g_phi: (features, kappa_t, kappa_s) -> (r, c, a), each (B,): the share r of the step in lambda, the
    scale c of the direction and a of the level that the model is told (Zhou et al. 2024, sec. 3.2 and the
    official code).

    feature_size: of the model's features (`eps_and_features`); 0 for a predictor that sees the levels only,
    hence one fixed time for each step of a grid.  At first r = 1/2, c = a = 1: DPM-Solver-2.  c and a stay
    within 1 -+ `direction_range` and `level_range`; 0 switches them off.  normalise: a layer norm on the
    features; of two features it leaves one bit, which is the larger, so points in the plane go without it."""

    def __init__(
        self, feature_size=0, width=32, code=8, direction_range=0.05, level_range=0.2, normalise=True
    ):
        super().__init__()
        self.feature_size, self.ranges = feature_size, (direction_range, level_range)
        if feature_size:
            scaled = nn.LayerNorm(feature_size, elementwise_affine=False) if normalise else nn.Identity()
            self.encode = nn.Sequential(scaled, nn.Linear(feature_size, code), nn.SiLU())
        self.body = nn.Sequential(
            nn.Linear(2 + (code if feature_size else 0), width), nn.SiLU(), nn.Linear(width, 3)
        )
        nn.init.zeros_(self.body[2].weight)
        nn.init.zeros_(self.body[2].bias)

    def forward(self, features, start, end, n):
        """features (n, feature_size), or None where the first step was analytic; start, end: levels,
        numbers."""
        levels = self.body[0].weight.new_tensor([math.log(start), math.log(end)])
        about = levels.expand(n, 2) / 4
        if self.feature_size:
            if features is None:
                features = about.new_zeros(n, self.feature_size)
            about = torch.cat([about, self.encode(features.to(about))], 1)
        r, c, a = self.body(about).unbind(1)
        return torch.sigmoid(r), 1 + self.ranges[0] * torch.tanh(c), 1 + self.ranges[1] * torch.tanh(a)


# --- the solvers ------------------------------------------------------------------------------------------


@sampler(order=2, nfe=lambda steps: 2 * steps, kind="ode", cite="zhou2024amed")
def amed_solver(model, x, times, predictor=None):
    """AMED-Solver (Zhou et al. 2024, sec. 3): Euler to a level in between, then the whole step with the
    direction found there.  With kappa_m = kappa_t^(1 - r) kappa_s^r and (r, c, a) from the predictor, in y =
    x / alpha,

        u = y_t + (kappa_m - kappa_t) eps(y_t, kappa_t)
        y_s = y_t + c (kappa_s - kappa_t) eps(u, a kappa_m)

    x: (B, ...) at times[0].  predictor: a `Predictor` trained for these times; None for r = 1/2, c = a = 1,
    which is DPM-Solver-2.  With `models.AFS` around the model the first call is analytic and not counted.  A
    last step to sigma = 0 jumps to the predicted x_0: one call."""
    yield from _amed(model, x, times, predictor)


@sampler(
    order=2,
    nfe=lambda steps, base: (4 if base == "dpm_solver_2" else 2) * steps,
    kind="ode",
    cite="zhou2024amed",
)
def amed_plugin(model, x, times, predictor=None, base="ipndm"):
    """AMED-Plugin (Zhou et al. 2024, sec. 3.3): the solver `base` on a grid to which each step adds a level,
    chosen by the predictor for each sample; the step to that grid's next time has its direction scaled by c,
    which for "ddim" reads y_s = y_m + c (kappa_s - kappa_m) eps(y_m, a kappa_m).

    x: (B, ...) at times[0].  base: "ddim", "ipndm", "dpmpp_2m" (two calls a step) or "dpm_solver_2" (four).
    predictor: a `Predictor` trained for these times and this base; None adds the middle in lambda.
    The order is declared for the default base.  ValueError for another base."""
    if base not in BASES:
        raise ValueError(f"base must be one of {', '.join(BASES)}; got {base!r}")
    yield from _amed(model, x, times, predictor, base)


def _amed(model, x, times, predictor, base=None, cut=lambda y: y):
    """Both solvers; `cut` is applied to the state at each time of the grid: training cuts the gradient
    there."""
    if not (predictor is None or callable(predictor)):
        raise ValueError(
            f"predictor must be a Predictor trained for these times, or None; got {predictor!r:.60}"
        )
    schedule = model.schedule
    y, history = x / schedule.alpha(times[0]), []
    yield times[0], x
    for t, s in zip(times, times[1:]):
        start, end = level_of(schedule, t), level_of(schedule, s)
        y = cut(y)
        if end == 0:
            y = y - start * direction(model, y, start)
        else:
            y, history = _interval(model, y, t, start, end, predictor, base, history)
        yield s, schedule.alpha(s) * y


def _interval(model, y, t, start, end, predictor, base, history):
    """One interval of the grid: to the level in between, and to the end."""
    middle, c, a = math.sqrt(start * end), 1.0, 1.0
    x = model.schedule.alpha(t) * y
    if predictor is None:
        eps = model.eps(x, t)
    else:
        eps, features = model.eps_and_features(x, t)
        r, c, a = predictor(features, start, end, len(y))
        middle = start * (end / start) ** r.to(wide_dtype(r.device))
    told = a * middle
    if base is None:
        halfway = y + _column(middle - start, y) * eps
        return y + _column(c, y) * (end - start) * direction(model, halfway, told), history
    y, history = advance(base, model, y, start, middle, eps, history)
    eps = direction(model, y, told)
    return advance(base, model, y, middle, end, eps, history, c)


def advance(base, model, y, start, end, eps, history, c=1.0):
    """One step of `base` from level start to end, numbers or (B,), with eps at the start known; its
    directions scaled by c.  Returns the state and the history, newest first, of (level, eps, x_0)."""
    history = [(start, eps, y - _column(start, y) * eps), *history[:3]]
    gap, c = _column(end - start, y), _column(c, y)
    if base == "dpm_solver_2":
        halfway = (start * end) ** 0.5
        u = y + _column(halfway - start, y) * eps
        return y + c * gap * direction(model, u, halfway), history
    if base == "dpmpp_2m":
        x0 = history[0][2]
        if len(history) > 1:
            now, before = _log(start / end), _log(history[1][0] / start)
            x0 = x0 + _column(now / (2 * before), y) * (x0 - history[1][2])
        ratio = _column(end / start, y)
        return ratio * y + c * (1 - ratio) * x0, history
    order = 1 if base == "ddim" else len(history)
    slope = sum(w * past[1] for w, past in zip(EQUAL_STEPS[order], history))
    return y + c * gap * slope, history


def _log(value):
    return value.log() if isinstance(value, torch.Tensor) else math.log(value)


# --- training ---------------------------------------------------------------------------------------------


def refined(schedule, times, substeps, rho=7.0):
    """The grid `times` with each interval divided into `substeps`, equal in kappa^(1 / rho) as Karras's grid
    is: a list.  The ends of the intervals stay the very numbers that they are."""
    fine = []
    for t, s in zip(times, times[1:]):
        a, b = level_of(schedule, t) ** (1 / rho), level_of(schedule, s) ** (1 / rho)
        inner = [time_of(schedule, (a + (b - a) * i / substeps) ** rho) for i in range(1, substeps)]
        fine += [float(t), *inner]
    return [*fine, float(times[-1])]


def teacher_path(model, x, times, substeps=4):
    """The teacher's states at `times`, (len(times), B, ...): Heun's method in kappa, `substeps` steps an
    interval.

    A teacher of few substeps is itself wrong, and a student that matches it looks better than it is: see
    `teacher_error`."""
    fine = refined(model.schedule, times, substeps)
    return sample(heun, model, x, fine, keep_path=True, variable="sigma").path[::substeps]


def teacher_error(model, x, times, substeps=4, truth=32):
    """Root mean square distance at the last time between `teacher_path` and the same with `truth`
    substeps."""
    ends = [teacher_path(model, x, times, n)[-1] for n in (substeps, truth)]
    return float((ends[0] - ends[1]).square().mean().sqrt())


def train_predictor(
    predictor,
    model,
    times,
    draw,
    *,
    steps=200,
    base=None,
    substeps=4,
    greedy=False,
    lr=5e-3,
    warmup=10,
    ema=0.95,
    **loop,
):
    """Fit g_phi to a teacher's trajectories: the predictor descends on the squared distances, at each time of
    the grid, between the student's states, which start from its own, and the teacher's (Zhou et al. 2024,
    alg. 2).

    model: the student's, its network frozen; with `AFS` the student's first call is analytic, the teacher's
    is not.
    draw: generator -> noise (B, ...) at times[0], or (noise, labels).  base: None for AMED-Solver, else the
    plugin's.
    substeps: of the teacher.  greedy: cut the gradient at each time, as the paper does, so that no interval
    is asked to help a later one; without it the plugins on multistep solvers gain most. The loss is the mean
    over the times of the logarithm of the mean squared distance, so that all count alike. Returns a
    `Training`; its `net` is the trained predictor."""
    times, cut = list(map(float, times)), torch.Tensor.detach if greedy else lambda y: y

    def loss_of(generator):
        noise = draw(generator)
        noise, label = noise if isinstance(noise, tuple) else (noise, None)
        student = model if label is None else model.with_label(label)
        wanted = teacher_path(student.model if isinstance(student, AFS) else student, noise, times, substeps)
        student.begin()
        states = _amed(student, noise, times, predictor, base, cut)
        distances = [(x - y).square().mean() for (_, x), y in zip(states, wanted)]
        return torch.stack(distances[1:]).log().mean()

    return fit(predictor, loss_of, steps=steps, lr=lr, warmup=warmup, ema=ema, **loop)
