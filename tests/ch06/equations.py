"""Chapter 6: the mean direction, the theorem and its failure, AMED's step and loss, the analytic start."""

import math

import numpy as np
import pytest
import sympy
import torch

from book.ch06 import experiments
from tests.book.notebooks.equations import equation
from toolkit import AFS, EDM, VP, Mixture, grids, initial_noise, sample
from toolkit.amed import (
    Predictor,
    amed_plugin,
    amed_solver,
    best_time,
    mean_direction,
    teacher_path,
    train_predictor,
)
from toolkit.convergence import reference
from toolkit.ode import euler, heun, midpoint

WIDE, STEP = experiments.WIDE, experiments.STEP
DOUBLE = {"dtype": torch.float64}


def trajectory(n=4, seed=0, schedule=WIDE):
    """(model, x at level 2) on the triangle."""
    return experiments.TRIANGLE.model(schedule), experiments.starts(experiments.TRIANGLE, STEP[0], n, seed)


@equation("amed.mean")
def mean():
    """The exact step is the mean of eps along the trajectory, by quadrature, times the step in kappa."""
    model, x = trajectory()
    nodes, weights = np.polynomial.legendre.leggauss(24)
    t, s = STEP
    kappas = (t + s) / 2 + (s - t) / 2 * nodes
    eps = [model.eps(reference(model, x, t, float(k)), float(k)) for k in kappas]
    quadrature = sum(w / 2 * e for w, e in zip(weights, eps))
    assert torch.allclose(quadrature, mean_direction(model, x, t, s), atol=1e-4)
    end = x + (s - t) * mean_direction(model, x, t, s)
    assert torch.allclose(end, reference(model, x, t, s), atol=1e-9)


@equation("amed.guesses")
def guesses():
    """One step of each solver of the library is the step with that guess."""
    model, x = trajectory()
    t, s = STEP
    first = model.eps(x, t)
    at = lambda kappa: model.eps(x + (kappa - t) * first, kappa)
    wanted = {
        "Euler": (euler, {}, first),
        "Heun": (heun, {}, (first + at(s)) / 2),
        "arithmetic": (midpoint, {}, at((t + s) / 2)),
        "geometric": (midpoint, {"mean": "geometric"}, at(math.sqrt(t * s))),
    }
    for name, (loop, options, guess) in wanted.items():
        made = sample(loop, model, x, [t, s], variable="sigma", **options).x
        assert torch.allclose(made, x + (s - t) * guess, atol=1e-12), name


@equation("amed.scalar")
def scalar():
    """In one dimension a level with the mean direction exists, and lies within the step."""
    result = experiments.line_and_plane()
    assert result["one dimension, largest residual"] < 1e-6
    assert 0 < result["one dimension, smallest r"] < result["one dimension, largest r"] < 1


@equation("amed.gaussian")
def gaussian():
    """For N(0, d^2 I): x = C sqrt(d^2 + kappa^2); the mean slope m is taken on at m d / sqrt(1 - m^2)."""
    k, d, t, s = sympy.symbols("kappa d t s", positive=True)
    path = sympy.sqrt(d**2 + k**2)
    m = (path.subs(k, s) - path.subs(k, t)) / (s - t)
    kappa = m * d / sympy.sqrt(1 - m**2)
    values = {d: sympy.Rational(1, 2), t: 5, s: sympy.Rational(1, 5)}
    difference = (path.diff(k).subs(k, kappa) - m).subs(values)
    assert abs(sympy.N(difference, 30)) < 1e-25
    x = initial_noise(5, 3, 0, **DOUBLE) * 5
    r = best_time(Mixture.gaussian(3, 0.5).model(WIDE), x, 5.0, 0.2)[0]
    exact = experiments.both_ends()["r, from 5 to 0.2"]
    assert torch.allclose(r, torch.full_like(r, exact), atol=1e-6)


@equation("amed.circle")
def circle():
    """The mean velocity of a quarter circle, symbolically."""
    u = sympy.symbols("u")
    mean = [sympy.integrate(f(sympy.pi / 2 * u), (u, 0, 1)) for f in (sympy.cos, sympy.sin)]
    assert sympy.simplify(sympy.sqrt(mean[0] ** 2 + mean[1] ** 2) - 2 * sympy.sqrt(2) / sympy.pi) == 0


@equation("amed.criterion")
def criterion():
    """v = a + b phi has its mean on every interval, and its path lies in a plane; with one
    more function, neither.
    """
    u = np.linspace(0, 1, 4001)
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 5))
    for extra, holds in ((0.0, True), (1.0, False)):
        v = a + np.sin(3 * u)[:, None] * b + extra * (u**2)[:, None] * c
        path = np.cumsum((v[1:] + v[:-1]) / 2 * np.diff(u)[:, None], axis=0)
        mean = path[-1]
        assert bool(np.linalg.norm(v - mean, axis=1).min() < 1e-3) is holds
        assert bool(np.linalg.svd(path - path.mean(0), compute_uv=False)[2] < 1e-6) is holds
    circle = np.stack([np.cos(np.pi / 2 * u), np.sin(np.pi / 2 * u)], 1)  # planar, and fails
    assert np.linalg.norm(circle - circle.mean(0), axis=1).min() > 0.09


@equation("amed.turn")
def turn():
    """Along an exact trajectory, by differences: the direction turns as the prediction moves."""
    model, x = trajectory(8, 1)
    e = 1e-3
    for k in (1.5, 0.6):
        ends = [reference(model, x, STEP[0], k + i * e) for i in (-1, 1)]
        eps = [model.eps(y, k + i * e) for i, y in zip((-1, 1), ends)]
        x0 = [model.x0(y, k + i * e) for i, y in zip((-1, 1), ends)]
        slope, moved = ((b - a) / (2 * e) for a, b in (eps, x0))
        assert slope.abs().max() > 0.05
        assert torch.allclose(slope, -moved / k, rtol=1e-3, atol=1e-4)


@equation("amed.residual")
def residual():
    """h^2 / 24 times the part of v'' across v', over the mean, for a small step."""
    model, x = trajectory(8, 3)
    k, h, e = 1.5, 0.05, 0.02
    start = reference(model, x, STEP[0], k + h / 2)
    v = {i: model.eps(reference(model, x, STEP[0], k + i * e), k + i * e) for i in (-1, 0, 1)}
    first, second = (v[1] - v[-1]) / (2 * e), (v[1] - 2 * v[0] + v[-1]) / e**2
    along = first * ((first * second).sum(1) / first.square().sum(1))[:, None]
    formula = h**2 / 24 * (second - along).norm(dim=1) / v[0].norm(dim=1)
    measured = best_time(model, start, k + h / 2, k - h / 2)[1]
    assert torch.allclose(measured, formula, rtol=0.05, atol=1e-9)


@equation("amed.step")
def step():
    """One step of the library's AMED-Solver is the formula, with r, c and a from the predictor."""
    torch.manual_seed(0)
    g = Predictor(2)
    torch.nn.init.normal_(g.body[2].weight)
    model, x = trajectory()
    t, s = STEP
    eps, features = model.eps_and_features(x, t)
    r, c, a = (v.detach().double()[:, None] for v in g(features, t, s, len(x)))
    assert r.std() > 0
    kappa = t ** (1 - r) * s**r
    there = x + (kappa - t) * eps
    again = torch.cat([model.eps(there[i : i + 1], float(a[i] * kappa[i])) for i in range(len(x))])
    want = x + c * (s - t) * again
    assert torch.allclose(sample(amed_solver, model, x, [t, s], predictor=g).x, want, atol=1e-5)


@equation("amed.loss")
def loss():
    """The first loss that training reports: the mean over times of the log mean square distance."""
    model, times = experiments.TRIANGLE.model(WIDE), grids.karras(WIDE, 3).tolist()
    x = 10 * initial_noise(32, 2, 0)
    run = train_predictor(Predictor(0), model, times, lambda generator: x, steps=1, base="ddim")
    made = sample(amed_plugin, model, x, times, base="ddim", keep_path=True).path
    want = (made - teacher_path(model, x, times, 4))[1:].square().flatten(1).mean(1).log().mean()
    assert float(run.losses[0]) == pytest.approx(float(want), rel=1e-4)


@equation("amed.afs")
def afs():
    """Exact for Gaussian data of that mean and deviation, whatever the level and the schedule."""
    data = Mixture([1.0], [[0.3, -0.2]], [0.7])
    for schedule, t in ((EDM(), 7.0), (VP(), 0.6)):
        model = data.model(schedule)
        x = schedule.sigma(t) * initial_noise(6, 2, 0, **DOUBLE)
        start = AFS(model, torch.tensor([0.3, -0.2], **DOUBLE), 0.7)
        start.begin()
        kappa, y = schedule.sigma(t) / schedule.alpha(t), x / schedule.alpha(t)
        formula = kappa * (y - torch.tensor([0.3, -0.2], **DOUBLE)) / (0.7**2 + kappa**2)
        assert torch.allclose(formula, model.eps(x, t), atol=1e-12)
        assert torch.allclose(start.eps(x, t), formula, atol=1e-12)


@equation("amed.plugin")
def plugin():
    """Two steps of the library's plugin on iPNDM are the formula, with r, c and a from the predictor: the
    weights are those that integrate polynomials on equal steps.
    """
    torch.manual_seed(0)
    g = Predictor(2)
    torch.nn.init.normal_(g.body[2].weight)
    model, x = trajectory()
    times, old, made = [2.0, 0.8, 0.2], [], x
    wanted = sample(amed_plugin, model, x, times, predictor=g, base="ipndm").x

    def slope(directions):
        powers = np.vander(-np.arange(len(directions)), increasing=True).T  # nodes 0, -1, ...
        weights = np.linalg.solve(powers, [1 / (m + 1) for m in range(len(directions))])
        return sum(w * d for w, d in zip(weights, directions))

    for t, s in zip(times, times[1:]):
        eps, features = model.eps_and_features(made, t)
        r, c, a = (v.detach().double()[:, None] for v in g(features, t, s, len(x)))
        kappa, old = t ** (1 - r) * s**r, [eps, *old]
        made = made + (kappa - t) * slope(old)
        again = [model.eps(made[i : i + 1], float(a[i] * kappa[i])) for i in range(len(x))]
        old = [torch.cat(again), *old]
        made = made + c * (s - kappa) * slope(old)
    assert torch.allclose(made, wanted, atol=1e-5)


@equation("amed.average")
def average():
    """Symbolically with the mean of exercise 6.1, and by differences along exact trajectories."""
    from book.ch06.solution import a, b, d, mean

    eps = a / sympy.sqrt(d**2 + a**2)
    assert sympy.simplify(mean - eps + (a - b) * sympy.diff(mean, a)) == 0
    model, x = trajectory(8, 2)
    t, s = STEP
    h = 1e-3
    ends = [mean_direction(model, reference(model, x, t, t + i * h), t + i * h, s) for i in (-1, 1)]
    slope = (ends[1] - ends[0]) / (2 * h)
    assert slope.abs().max() > 0.05
    want = model.eps(x, t) - (t - s) * slope
    assert torch.allclose(mean_direction(model, x, t, s), want, atol=1e-5)


@equation("amed.cost")
def cost():
    """Calls counted by the model while a teacher and a student walk once."""
    model, times = experiments.TRIANGLE.model(WIDE), grids.karras(WIDE, 2).tolist()
    x = 10 * initial_noise(4, 2, 0)
    model.begin()
    before = model.nfe
    teacher_path(model, x, times, 4)
    assert model.nfe - before == 2 * 4 * 2
    assert sample(amed_solver, AFS(model), x, times).nfe == 3
    assert experiments.cost()["AMED, 3 calls"] == 250 * 64 * (2 * 4 * 2 + 3 * 3)
