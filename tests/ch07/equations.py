"""Chapter 7: the mean velocity, its identity, and what the losses that learn it have as minimisers."""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch

from book.ch07 import experiments
from book.ch07.experiments import STD, TRIANGLE, GaussianMap, starts
from tests.book.notebooks.equations import equation
from toolkit import EDM, Mixture, grids, initial_noise
from toolkit.amed import mean_direction
from toolkit.convergence import reference
from toolkit.dpm_solver import dpm_solver_2
from toolkit.flow_maps import (
    MeanVelocity,
    flow_map,
    lagrangian_loss,
    mean_and_rate,
    mean_noise,
    mean_velocity,
    meanflow_loss,
    meanflow_target,
    shortcut_loss,
)
from toolkit.learned import Table, learn, midpoints, weighted
from toolkit.multistep import EQUAL_STEPS, ipndm
from toolkit.networks import TwoTimeMLP
from toolkit.sampling import sample

# --- flow maps ------------------------------------------------------------------------------------------

DOUBLE = {"dtype": torch.float64}


def drawn(n=64, seed=0):
    """Pairs of N(0, STD^2) in one dimension: (x0, eps, t, s), float64."""
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, n, 1, generator=generator, **DOUBLE)
    both = torch.rand(2, n, generator=generator, **DOUBLE)
    return STD * x0, eps, both.amax(0), both.amin(0)


def on_the_way(x0, eps, t):
    return (1 - t[:, None]) * x0 + t[:, None] * eps


def fresh_map(seed=0):
    """A network that is not trained, whose gap counts."""
    torch.manual_seed(seed)
    network = TwoTimeMLP(shape=(1,), width=16, blocks=2).double()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    return MeanVelocity(network)


@equation("flowmap.average")
def average():
    """The mean of the velocity along the trajectory, by quadrature, and the step that it makes."""
    t, s, x = 0.9, 0.2, starts(0.9, 4)
    nodes, weights = np.polynomial.legendre.leggauss(30)
    times = (t + s) / 2 - (t - s) / 2 * nodes
    speeds = [TRIANGLE.flow(reference(TRIANGLE, x, t, float(now)), float(now)) for now in times]
    u = mean_velocity(TRIANGLE, x, t, s)
    assert torch.allclose(sum(w / 2 * v for w, v in zip(weights, speeds)), u, atol=1e-4)
    assert torch.allclose(x - (t - s) * u, reference(TRIANGLE, x, t, s), atol=1e-12)


@equation("flowmap.coordinates")
def coordinates():
    x = starts(0.8, 8)
    u = mean_velocity(TRIANGLE, x, 0.8, 0.3)
    assert torch.allclose(x + (1 - 0.8) * u, mean_direction(TRIANGLE, x, 0.8, 0.3), atol=1e-9)
    assert torch.equal(mean_noise(u, x, 0.8, 0.3), x + (1 - 0.8) * u)


@equation("flowmap.identity")
def identity():
    """In closed form on one Gaussian, the derivative in forward mode along the exact velocity."""
    x0, eps, t, s = drawn()
    x = on_the_way(x0, eps, t)
    v = GaussianMap.exact(x, t, t)
    u, rate = mean_and_rate(GaussianMap(), x, v, t, s)
    assert torch.allclose(u, v - (t - s)[:, None] * rate, atol=1e-12)
    by_time = mean_and_rate(GaussianMap(), x, torch.zeros_like(x), t, s)[1]
    by_place = mean_and_rate(GaussianMap(), x, v, t, s)[1] - by_time
    assert torch.allclose(rate, by_time + by_place) and by_place.abs().max() > 0.01


@equation("flowmap.meanflow")
def meanflow():
    """The loss is that of a fixed target: its gradient is the plain one of the prediction."""
    model, (x0, eps, t, s) = fresh_map(), drawn()
    x, v = on_the_way(x0, eps, t), eps - x0
    u, rate = mean_and_rate(model, x, v, t, s)
    target = (v - (t - s)[:, None] * rate).detach()
    wanted = (model.mean(x, t, s) - target).square().mean()
    ours = meanflow_loss(model, x, v, t, s).mean()
    weights = [*model.network.parameters()]
    assert torch.allclose(ours, wanted)
    for a, b in zip(*(torch.autograd.grad(loss, weights, allow_unused=True) for loss in (ours, wanted))):
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-10)


@equation("flowmap.linear")
def linear():
    """The mean over pairs of the target at one x_t is the target of their mean, and the noise is turned by
    the jump's derivative."""
    model, (x0, eps, t, s) = fresh_map(), drawn(1)
    x, pairs = on_the_way(x0, eps, t), torch.randn(40, 1, 1, **DOUBLE)

    def target(v):
        return meanflow_target(v, mean_and_rate(model, x, v, t, s)[1], t, s)

    mean = torch.stack([target(v) for v in pairs]).mean(0)
    assert torch.allclose(mean, target(pairs.mean(0)))
    slope = torch.func.jvp(lambda x: model.map(x, t, s), (x,), (torch.ones_like(x),))[1]
    assert torch.allclose(target(pairs[0]) - target(pairs[1]), slope * (pairs[0] - pairs[1]))


@equation("flowmap.open")
def open_loss():
    """Without stop-gradient the loss of pairs is that of the exact velocity and a price on the slope; its
    minimum, by a linear system, is below that of the exact map, and a descent on it finds no less."""
    n = 200_000
    x0, eps, t, s = drawn(n)
    x, v = on_the_way(x0, eps, t), eps - x0
    exact, model = GaussianMap.exact(x, t, t), GaussianMap(1.2)

    def rate_of_jump(v):  # dX/dt along v, which is u + (t - s) du/dt - v with the sign turned
        u, rate = mean_and_rate(model, x, v, t, s)
        return meanflow_target(v, rate, t, s) - u

    slope = torch.func.jvp(lambda x: model.map(x, t, s), (x,), (torch.ones_like(x),))[1]
    whole = rate_of_jump(v).square().mean()
    parts = rate_of_jump(exact).square().mean() + (slope * (v - exact)).square().mean()
    assert float(whole) == pytest.approx(float(parts), rel=0.02)
    times, kept = experiments.open_map(noise=0.0, cells=500)
    assert np.allclose(kept, STD / np.sqrt(experiments.gaussian_rates(times)[0]), atol=1e-4)
    assert experiments.open_map(cells=400)[1][-1] == pytest.approx(
        experiments.open_map(cells=800)[1][-1], abs=1e-3
    )


@equation("flowmap.lagrangian")
def lagrangian():
    """The exact jump's end moves with the velocity there, by differences; the loss is 0 there."""
    x, t, s, h = starts(0.9, 4), 0.9, 0.3, 1e-3
    moved = (reference(TRIANGLE, x, t, s + h) - reference(TRIANGLE, x, t, s - h)) / (2 * h)
    assert torch.allclose(moved, TRIANGLE.flow(reference(TRIANGLE, x, t, s), s), atol=1e-3)
    x0, eps, t, s = drawn()
    assert lagrangian_loss(GaussianMap(), on_the_way(x0, eps, t), t, s).max() < 1e-20


@equation("flowmap.shortcut")
def shortcut():
    """A jump is the mean of its halves, exactly; and a perfect shortcut model is Euler's method."""
    x0, eps, t, s = drawn()
    assert shortcut_loss(GaussianMap(), on_the_way(x0, eps, t), t, s).max() < 1e-20
    x, steps = torch.ones(1, 1, **DOUBLE), 32
    for i in range(steps):
        now = torch.tensor([1 - i / steps], **DOUBLE)
        x = x - GaussianMap.exact(x, now, now) / steps
    assert float(x) == pytest.approx(experiments.perfect_shortcut()["finest step 1/32"])


@equation("flowmap.semigroup")
def semigroup():
    x = starts(0.9, 8)
    one, half = reference(TRIANGLE, x, 0.9, 0.1), reference(TRIANGLE, x, 0.9, 0.5)
    assert torch.allclose(reference(TRIANGLE, half, 0.5, 0.1), one, atol=1e-9)
    exact = sample(flow_map, GaussianMap(), torch.ones(3, 1, **DOUBLE), [1.0, 0.6, 0.0]).x
    assert torch.allclose(exact, torch.full_like(exact, STD))


@equation("flowmap.dmd")
def dmd():
    """The gradient by mean and deviation is that of the averaged divergences between Gaussians, in closed
    form where the data are one Gaussian; w = sigma."""
    mean, std, levels = 0.4, 0.7, np.array([[0.5], [2.0]])
    found = experiments.reverse_gradient(mean, std, 0.0, levels)  # both peaks at 0: N(0, WIDTH^2)
    wide, data = std**2 + levels**2, experiments.WIDTH**2 + levels**2
    assert found[0] == pytest.approx((levels * mean / data).mean(), rel=1e-6)  # d KL / d mean
    assert found[1] == pytest.approx((levels * (std / data - std / wide)).mean(), rel=1e-6)


# --- learned solvers --------------------------------------------------------------------------------------

LEVELS = [10.0, 4.0, 1.2, 0.3, 0.05]


def ring_run(seed=0, n=8):
    """(the exact ring on EDM, x (n, 2) at level 10)."""
    return Mixture.ring(8).model(EDM()), 10 * initial_noise(n, 2, seed, **DOUBLE)


@equation("learned.solver")
def solver():
    """The library's `weighted` is the formula, whatever weights and told levels; with iPNDM's weights it is
    iPNDM."""
    model, x = ring_run()
    weights = [[0.9], [1.4, -0.5], [2.0, -1.5, 0.4], [2.1, -2.0, 1.2, -0.4]]
    told = [1.0, 0.9, 1.2, 1.5]
    y, past = x, []
    for n, (now, then) in enumerate(zip(LEVELS, LEVELS[1:])):
        past = [model.eps(y, told[n] * now), *past]
        y = y + (then - now) * sum(w * eps for w, eps in zip(weights[n], past))
    assert torch.allclose(sample(weighted, model, x, LEVELS, weights=weights, told=told).x, y, atol=1e-12)
    adams = [list(EQUAL_STEPS[n + 1]) for n in range(4)]
    assert torch.allclose(
        sample(weighted, model, x, LEVELS, weights=adams).x, sample(ipndm, model, x, LEVELS).x, atol=1e-10
    )


@equation("learned.objective")
def objective():
    """What `learn` descends on is the mean squared distance of the run's end, and it goes down."""
    model, x = ring_run(1, 64)
    ends = reference(model, x, LEVELS[0], LEVELS[-1])
    table, losses = Table(EDM(), LEVELS, "weighted"), []
    first = (table(model, x) - ends).square().mean()
    learn(table, model, x, ends, steps=2, batch=64, callback=lambda step, loss: losses.append(float(loss)))
    rows = torch.randint(64, (64,), generator=torch.Generator().manual_seed(0))
    fresh = Table(EDM(), LEVELS, "weighted")
    wanted = (fresh(model, x[rows]) - ends[rows]).square().mean().detach()
    assert math.isclose(losses[0], float(wanted), rel_tol=1e-5)
    net = learn(fresh, model, x, ends, steps=60, batch=64).net
    assert (net(model, x) - ends).square().mean() < first


@equation("learned.programme")
def programme():
    """Bellman's recursion finds what a search of all chains finds."""
    nodes, steps = 8, 4
    costs = np.triu(np.random.default_rng(0).random((nodes, nodes)), 1)
    best = np.where(costs > 0, costs, np.inf)[0]
    for _ in range(steps - 1):
        best = np.array(
            [min([best[i] + costs[i, j] for i in range(j)], default=np.inf) for j in range(nodes)]
        )
    chains = [(0, *inner, nodes - 1) for inner in itertools.combinations(range(1, nodes - 1), steps - 1)]
    total = lambda chain: sum(costs[i, j] for i, j in itertools.pairwise(chain))
    assert math.isclose(best[-1], min(map(total, chains)))
    assert grids.cheapest(costs, steps) == list(min(chains, key=total))


@equation("learned.shares")
def shares():
    """`Table`'s levels are the formula, in order and between the ends whatever the numbers are."""
    table = Table(EDM(), LEVELS, "ddim")
    with torch.no_grad():
        table.gaps += torch.randn(4, generator=torch.Generator().manual_seed(0), **DOUBLE)
    levels, fall = table.levels().log(), table.gaps.softmax(0).cumsum(0)
    wanted = math.log(LEVELS[0]) + fall * math.log(LEVELS[-1] / LEVELS[0])
    assert torch.allclose(levels[1:], wanted) and (levels.diff() < 0).all()


@equation("learned.order")
def order():
    """The two conditions make a step exact for eps = 1 and eps = kappa, and no weaker ones do; on equal steps
    the weights of Adams and Bashforth keep both."""
    k, a, b, h, w = sympy.symbols("k a b h w")  # the level, those of two steps before, the step, a weight
    weights = sympy.Matrix(sympy.symbols("w0:3"))
    levels = sympy.Matrix([k, k + a, k + a + b])
    for power, condition in ((0, sum(weights) - 1), (1, weights.dot(levels - sympy.ones(3, 1) * k) - h / 2)):
        exact = sympy.integrate(w**power, (w, k, k + h))
        made = h * weights.dot(levels.applyfunc(lambda level, power=power: level**power))
        left = made - exact - h * condition - (h * k * (sum(weights) - 1) if power else 0)
        assert sympy.simplify(left) == 0
    for count in (2, 3, 4):
        row = [sympy.nsimplify(v) for v in EQUAL_STEPS[count]]
        assert sum(row) == 1 and sum(-j * v for j, v in enumerate(row)) == sympy.Rational(1, 2)


@equation("learned.points")
def points():
    """The library's `midpoints` is the formula; one point at r = 1/2 is DPM-Solver-2."""
    model, x = ring_run(2)
    start, end, row = 4.0, 0.3, [(0.2, 0.4, 1.1), (0.7, 0.55, 0.8)]
    eps = model.eps(x, start)
    levels = [start ** (1 - r) * end**r for r, _, _ in row]
    mean = sum(w * model.eps(x + (m - start) * eps, a * m) for m, (_, w, a) in zip(levels, row, strict=True))
    made = sample(midpoints, model, x, [start, end], points=[row]).x
    assert torch.allclose(made, x + (end - start) * mean, atol=1e-12)
    assert torch.allclose(
        sample(midpoints, model, x, LEVELS).x, sample(dpm_solver_2, model, x, LEVELS).x, atol=1e-10
    )
