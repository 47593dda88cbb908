"""Chapter 7, second half: solvers that are learned, a few numbers each.

Instead of a network, the *solver* is fitted: to noises and the ends of their exact trajectories, by gradient
through the whole run.  In y = x / alpha against kappa = sigma / alpha a step from kappa_n to kappa_(n+1), h
their difference, is

    a base of chapter 6   on learned levels (LD3: Tong et al. 2025)
    `weighted`            y + h sum_j w_nj eps_(n-j), with learned weights (S4S: Frankel et al. 2025), levels,
                          and levels that the model is told
    `midpoints`           y + h sum_k w_nk eps(y + (m_nk - kappa_n) eps_n, a_nk m_nk), learned levels
                          m in between, whose calls do not wait for each other (EPD: Zhu et al. 2025); one of
                          them is AMED's step without a network

`Table` holds the numbers while they are learned, `learn` learns them, and `Solver` is the result: a sampler's
name, its times and options, what it was fitted to.  It is run by `sample` as any sampler is, and kept as
JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from toolkit import grids
from toolkit.amed import BASES, advance, direction, level_of, time_of
from toolkit.files import write_file
from toolkit.multistep import EQUAL_STEPS
from toolkit.options import real_number, whole_number
from toolkit.sampling import Run, every_sampler, sample, sampler
from toolkit.training import fit

# --- the two samplers -------------------------------------------------------------------------------------


@sampler(order=1, nfe=lambda steps: steps, kind="ode", cite="frankel2025s4s")
def weighted(model, x, times, weights=None, told=None):
    """A multistep method by its weights: y_(n+1) = y_n + (kappa_(n+1) - kappa_n) sum_j w_nj eps_(n-j), the
    model told the level told_n kappa_n.

    x: (B, ...) at times[0].  weights: a list for each step, newest prediction first, at most as many as there
    are; None for 1, Euler's method in kappa, which is DDIM, whose order is the one declared.  told: a factor
    for each step, or None for 1.
    ValueError for lists of another length."""
    steps = len(times) - 1
    weights = [[1.0]] * steps if weights is None else _listed("weights", weights, 2, steps)
    told = [1.0] * steps if told is None else _listed("told", told, 1, steps)
    for n, row in enumerate(weights):
        if not 1 <= len(row) <= n + 1:
            raise ValueError(
                f"weights of step {n} can weigh {n + 1} predictions at most, and one at least; got {len(row)}"
            )
    levels, past = [level_of(model.schedule, t) for t in times], []
    y = x / model.schedule.alpha(times[0])
    yield times[0], x
    for n, s in enumerate(times[1:]):
        y, past = _weighted_step(model, y, levels[n], levels[n + 1], weights[n], told[n], past)
        yield s, model.schedule.alpha(s) * y


def _weighted_step(model, y, start, end, weights, told, past):
    """One step, with the predictions so far, newest first; levels, weights and told are numbers or tensors
    ()."""
    past = [direction(model, y, _each(told * start, y)), *past]
    return y + (end - start) * sum(w * eps for w, eps in zip(weights, past)), past


@sampler(order=2, nfe=lambda steps, points: (1 + _count(points)) * steps, kind="ode", cite="zhu2025epd")
def midpoints(model, x, times, points=None):
    """Steps by levels in between, in parallel: with eps_n at the start of a step,

        y_(n+1) = y_n + h sum_k w_k eps(y_n + (m_k - kappa_n) eps_n, a_k m_k),
        m_k = kappa_n^(1 - r_k) kappa_(n+1)^(r_k)

    x: (B, ...) at times[0].  points: for each step a list of (r, w, a); None for one, (1/2, 1, 1), which is
    DPM-Solver-2, whose order is the one declared.  The calls of one step after the first do not need each
    other: two rounds a step, however many points.
    A last step to sigma = 0 jumps to the predicted x_0.
    ValueError for lists of another length, and unless all steps have equally many points."""
    steps = len(times) - 1
    points = [[(0.5, 1.0, 1.0)]] * steps if points is None else _listed("points", points, 3, steps)
    if {len(point) for row in points for point in row} - {3} or len({len(row) for row in points}) > 1:
        raise ValueError(f"points must be equally many (r, w, a) for each step, got {points!r:.80}")
    levels = [level_of(model.schedule, t) for t in times]
    y = x / model.schedule.alpha(times[0])
    yield times[0], x
    for n, s in enumerate(times[1:]):
        y = _step_by_points(model, y, levels[n], levels[n + 1], points[n])
        yield s, model.schedule.alpha(s) * y


def _count(points):
    return 1 if points is None else len(_listed("points", points, 3)[0])


def _step_by_points(model, y, start, end, points):
    eps = direction(model, y, _each(start, y))
    if end == 0:
        return y - start * eps
    mean = 0.0
    for r, w, a in points:
        middle = start ** (1 - r) * end**r
        mean = mean + w * direction(model, y + (middle - start) * eps, _each(a * middle, y))
    return y + (end - start) * mean


def _each(level, y):
    """A level as `direction` takes it: a number, or a tensor () as one for each sample."""
    return level.expand(len(y)) if isinstance(level, torch.Tensor) else level


def _listed(name, values, depth, steps=None):
    """An option as lists of floats, `depth` of them one in another, the outer one with an entry for each
    step.  ValueError for anything else."""
    if depth == 0:
        return real_number(name, values)
    array = isinstance(values, (np.ndarray, torch.Tensor)) and values.ndim > 0
    if not array and not isinstance(values, (list, tuple)):
        raise ValueError(f"{name} must be a list with an entry for each step, got {values!r:.60}")
    if steps is not None and len(values) != steps:
        raise ValueError(f"{name} must have an entry for each of the {steps} steps, got {len(values)}")
    if not len(values):
        raise ValueError(f"{name} must have at least one number for each step")
    return [_listed(name, value, depth - 1) for value in values]


# --- learning ---------------------------------------------------------------------------------------------


class Table(nn.Module):
    """The numbers of a solver, as parameters (float64), and the run that they make.

    schedule, times (N + 1,): the grid that learning starts from; its ends stay.
    base: "ddim", "ipndm", "dpmpp_2m" or "dpm_solver_2" of chapter 6; or "weighted", "midpoints".
    grid: learn the levels between the ends: log kappa falls by shares, the softmax of N numbers (Tong et al.
        2025), so that they stay in order.
    told: learn the factors of "weighted".  order: how many predictions "weighted" has; it starts as iPNDM.
    points: how many "midpoints" has; they start spread evenly in lambda, with equal weights.

    `learned` is how many numbers are learned."""

    def __init__(self, schedule, times, base="ipndm", *, grid=True, told=False, order=4, points=1):
        super().__init__()
        if base not in (*BASES, "weighted", "midpoints"):
            raise ValueError(f"base must be one of {', '.join(BASES)}, weighted, midpoints; got {base!r}")
        levels = torch.tensor([level_of(schedule, float(t)) for t in times], dtype=torch.float64)
        if not (levels > 0).all():
            raise ValueError("a grid can be learned where sigma > 0: end a little earlier")
        self.schedule, self.base, self.steps = schedule, base, len(levels) - 1
        self.register_buffer("ends", levels[[0, -1]])
        self.gaps = nn.Parameter((levels[:-1] / levels[1:]).log().log(), requires_grad=grid)
        if base == "weighted":
            rows = [min(n + 1, whole_number("order", order)) for n in range(self.steps)]
            self.weights = nn.ParameterList(torch.tensor(EQUAL_STEPS[k], dtype=torch.float64) for k in rows)
            self.told = nn.Parameter(torch.zeros(self.steps, dtype=torch.float64), requires_grad=told)
        if base == "midpoints":
            count = whole_number("points", points)
            spread = torch.linspace(0, 1, count + 2, dtype=torch.float64)[1:-1].logit()
            fresh = torch.stack([spread, torch.full_like(spread, 1 / count), torch.zeros_like(spread)], 1)
            self.points = nn.Parameter(fresh.repeat(self.steps, 1, 1))
        # kept, since the moving average that `fit` returns is frozen; of shares that sum to 1, one fewer
        self.learned = sum(p.numel() for p in self.parameters() if p.requires_grad) - grid
        self.tells = told

    def levels(self):
        """The levels kappa (N + 1,), decreasing."""
        fall = torch.softmax(self.gaps, 0).cumsum(0)
        inner = self.ends[0] * (self.ends[1] / self.ends[0]) ** fall[:-1]
        return torch.cat([self.ends[:1], inner, self.ends[1:]])

    def forward(self, model, x):
        """The end of the run from x (B, ...) at the first time, with gradients to the numbers."""
        levels, history = self.levels(), []
        y = x / self.schedule.alpha(time_of(self.schedule, float(self.ends[0])))
        for n, (start, end) in enumerate(zip(levels, levels[1:])):
            y, history = self._step(model, y, n, start, end, history)
        return self.schedule.alpha(time_of(self.schedule, float(self.ends[1]))) * y

    def _step(self, model, y, n, start, end, history):
        if self.base == "weighted":
            told = self.told[n].exp()
            return _weighted_step(model, y, start, end, self.weights[n].to(y), told, history)
        if self.base == "midpoints":
            return _step_by_points(model, y, start, end, self._points(n)), history
        start, end = _each(start, y), _each(end, y)
        eps = direction(model, y, start)
        return advance(self.base, model, y, start, end, eps, history)

    def _points(self, n):
        """(r, w, a) of step n, r within the step."""
        return [(torch.sigmoid(r), w, a.exp()) for r, w, a in self.points[n]]

    def solver(self, **about):
        """The `Solver` of these numbers."""
        times = [float(time_of(self.schedule, level)) for level in self.levels().tolist()]
        options = {}
        if self.base == "weighted":
            options = {"weights": [row.tolist() for row in self.weights]}
            if self.tells:  # else they are 1, the sampler's own
                options["told"] = self.told.exp().tolist()
        if self.base == "midpoints":
            steps = [[torch.stack(point).tolist() for point in self._points(n)] for n in range(self.steps)]
            options = {"points": steps}
        return Solver(self.base, times, options, about)


def learn(
    table, model, noise, ends, *, label=None, steps=250, lr=5e-2, batch=128, warmup=10, ema=0.95, **loop
):
    """Fit a `Table` to `noise` (n, ...) at its first time and `ends` (n, ...), where the flow leads from
    there: the mean squared distance of the run's end, by gradient through the run.

    model: its network frozen; with `models.AFS` the first call is analytic, and the numbers are fitted to
    that.
    label: a label (n,) for each pair, or None.
    steps, lr, ...: of `training.fit`; midpoints start far off, and with lr = .02 they do not arrive.
    Returns a `Training`; its `net` is the fitted table.
    ValueError unless noise and ends have one shape."""
    if noise.shape != ends.shape or not len(noise):
        raise ValueError(
            f"noise and ends must have one shape, a row a pair: {tuple(noise.shape)}, {tuple(ends.shape)}"
        )

    def loss_of(generator):
        rows = torch.randint(len(noise), (batch,), generator=generator, device=noise.device)
        part = model.fresh()
        part = part if label is None else part.with_label(label[rows])
        part.begin()
        return (table(part, noise[rows]) - ends[rows]).square().mean()

    return fit(table, loss_of, steps=steps, lr=lr, warmup=warmup, ema=ema, **loop)


def programmed(model, path, times, steps):
    """The grid of `steps` steps, among the times (n,) of an accurate run `path` (n, B, ...), with the
    smallest sum of local errors of DDIM's step, by dynamic programming (GITS: Chen et al. 2024;
    `grids.local_costs`, `grids.cheapest`): steps + 1 floats.  Nothing is fitted, and any sampler can take
    it."""
    times = [float(t) for t in times]
    return [times[i] for i in grids.cheapest(grids.local_costs(model, path, times), steps)]


# --- the result -------------------------------------------------------------------------------------------


@dataclass
class Solver:
    """A learned solver: the name of a registered sampler, the times to run it at, its options, and `about`,
    what it was fitted to."""

    name: str
    times: list[float]
    options: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    def run(self, model, noise, **more) -> Run:
        """`sample` with it: noise (B, ...) at times[0]."""
        return sample(every_sampler()[self.name], model, noise, self.times, **self.options, **more)

    @property
    def numbers(self) -> int:
        """How many numbers it has: the times between the ends, and the options'."""
        count = lambda v: sum(map(count, v)) if isinstance(v, (list, tuple)) else 1  # noqa: E731
        return len(self.times) - 2 + sum(count(v) for v in self.options.values())

    def save(self, path):
        """Write it to a JSON file."""
        write_file(Path(path), json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path):
        """The solver that `save` wrote.  ValueError for a file that is none."""
        try:
            solver = cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{str(path)!r} does not hold a learned solver ({error})") from None
        if solver.name not in every_sampler():
            raise ValueError(f"{str(path)!r} names no sampler of ours: {solver.name!r}")
        return solver
