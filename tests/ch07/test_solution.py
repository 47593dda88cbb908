"""The book's own answers to exercise 07 against the toolkit, closed forms and formulas written again."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar
from sympy import lambdify, sympify

from book.ch07 import solution, tasks
from book.lessons import normal, read_axes
from toolkit import EDM, Flow, Mixture, grids, initial_noise, sample
from toolkit.convergence import reference
from toolkit.ddim import ddim
from toolkit.flow_maps import (
    ExactFlowMap,
    MeanVelocity,
    flow_map,
    mean_velocity,
    meanflow_loss,
    shortcut_loss,
)
from toolkit.learned import Table
from toolkit.mixtures import GaussianFlow
from toolkit.models import AFS

RIGHT = {name: value for task in tasks.TASKS for name, value in task.reference.items()}
TANGLE = Mixture([0.4, 0.3, 0.2, 0.1], 1.5 + initial_noise(4, 8, seed=6, dtype=torch.float64), [0.2] * 4)
BELL = Mixture([1.0], [[2.0]], [0.5]).model(Flow())


def _formula(name, symbols):
    """The right formula of this name as a function of floats."""
    return lambdify(symbols.split(), sympify(str(RIGHT[name])))


class Bent(torch.nn.Module):
    """A small network of two times, called as `MeanVelocity` calls one."""

    def __init__(self):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.tensor([0.7, -0.4], dtype=torch.float64))

    def forward(self, x, t, label=None, gap=None):
        t, gap = t[:, None], gap[:, None]
        return torch.tanh(self.theta[0] * x * (1 + t) + self.theta[1] * gap) + 0.3 * x * gap


def _same_loss(mine, wanted, theta):
    """Whether two losses have one value and one gradient."""
    slopes = [torch.autograd.grad(loss, theta)[0] for loss in (mine, wanted)]
    return torch.allclose(mine, wanted, rtol=1e-10) and torch.allclose(*slopes, rtol=1e-8)


T = torch.tensor([0.9, 0.75, 1.0, 0.5], dtype=torch.float64)
S = torch.tensor([0.2, 0.7, 0.0, 0.5], dtype=torch.float64)


# --- 7.1: three laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("x, t, s, m, d", [(0.7, 0.9, 0.2, 1.3, 0.5), (-1.2, 0.6, 0.1, 2.0, 1.4)])
def test_the_laws_hold_along_a_trajectory_of_the_toolkit(x, t, s, m, d):
    model, flow = Mixture([1.0], [[m]], [d]).model(Flow()), GaussianFlow(Flow(), m, d)
    names = "x t s m d"

    def carried(t, s):  # from x at t, to s
        return flow.map(torch.tensor([[x]], dtype=torch.float64), t, s).item()

    start = torch.tensor([[x]], dtype=torch.float64)
    u = _formula("mean", names)
    velocity = lambda tau: model.flow(flow.map(start, t, tau), tau).item()
    assert math.isclose(_formula("end", names)(x, t, s, m, d), carried(t, s), rel_tol=1e-10)
    assert math.isclose(u(x, t, s, m, d), mean_velocity(model, start, t, s).item(), rel_tol=1e-8)
    assert math.isclose(u(x, t, s, m, d), quad(velocity, s, t)[0] / (t - s), rel_tol=1e-8)
    h = 1e-5
    total = (u(carried(t, t + h), t + h, s, m, d) - u(carried(t, t - h), t - h, s, m, d)) / (2 * h)
    assert math.isclose(_formula("total", names)(x, t, s, m, d), total, rel_tol=1e-6)
    rate = (carried(t, s + h) - carried(t, s - h)) / (2 * h)
    assert math.isclose(_formula("end_rate", names)(x, t, s, m, d), rate, rel_tol=1e-6)
    assert math.isclose(_formula("jump", "x m d")(x, m, d), carried(1.0, 0.0), rel_tol=1e-9)


def test_only_a_single_point_has_straight_trajectories():
    x, ends = torch.tensor([[0.3]], dtype=torch.float64), {}
    for d in (1e-9, 0.5, 1.0, 3.0):
        flow = GaussianFlow(Flow(), 1.0, d)
        middle = (flow.map(x, 0.8, 0.3) + flow.map(x, 0.8, 0.7)) / 2
        ends[d] = (middle - flow.map(x, 0.8, 0.5)).abs().item()
    assert ends[1e-9] < 1e-9 and min(ends[d] for d in (0.5, 1.0, 3.0)) > 1e-3 and RIGHT["straight"] == 0


# --- 7.2: MeanFlow's loss -----------------------------------------------------------------------------------


def test_the_meanflow_loss_is_the_toolkits():
    net, x, v = Bent(), 0.5 + normal(0, 4, 2), normal(0, 4, 2, stream=1)
    mine = solution.meanflow_loss(lambda x, t, gap: net(x, t, gap=gap), x, v, T, S)
    wanted = meanflow_loss(MeanVelocity(net), x, v, T, S).mean()
    assert _same_loss(mine, wanted, net.theta)


def test_without_the_stop_gradient_pairs_have_another_minimum():
    """The expected loss at u + a w, u exact, in a direction w, over x at one time: its slope in a is 0 with
    the exact velocity and with the stop-gradient, and not with the velocities of pairs."""
    m, d, t, s = 2.0, 0.5, 0.8, 0.3
    size = lambda t: torch.sqrt((1 - t) ** 2 * d**2 + t**2)
    exact = lambda x, t: (x - (1 - s) * m - size(torch.tensor(s)) / size(t) * (x - (1 - t) * m)) / (t - s)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    off, weights = torch.from_numpy(nodes)[:, None], torch.from_numpy(weights / weights.sum())[:, None]
    t = torch.full((20, 1), t, dtype=torch.float64)
    x = (1 - t) * m + size(t) * off
    v = BELL.flow(x, 0.8)
    spread = d / size(t)  # of eps - x_0 given x: x_0 and eps lie on a line
    slopes = {}
    for name, sizes in (("exactly", (0.0,)), ("pairs", (1.0, -1.0))):
        for cut in (True, False):
            a, expected = torch.zeros((), dtype=torch.float64, requires_grad=True), 0.0
            u = lambda x, t, a=a: exact(x, t) + a * torch.sin(x + t)
            for one in sizes:
                told = v + one * spread
                value, rate = torch.func.jvp(u, (x, t), (told, torch.ones_like(t)))
                target = told - (t - s) * rate
                left = value - (target.detach() if cut else target)
                expected = expected + (weights * left**2).sum() / len(sizes)
            slopes[name, cut] = torch.autograd.grad(expected, a)[0].abs().item()
    assert max(slopes["exactly", True], slopes["exactly", False], slopes["pairs", True]) < 1e-9
    assert slopes["pairs", False] > 1e-3
    assert (RIGHT["told_exactly"], RIGHT["told_pairs"]) == ("same", "another")


# --- 7.3: two samplers --------------------------------------------------------------------------------------


def test_the_walk_is_the_toolkits_and_exact_for_an_exact_map():
    model, x, times = ExactFlowMap(BELL), 0.5 + normal(0, 4, 1), [0.95, 0.6, 0.35, 0.1]
    u = CANDIDATES[3]
    result = solution.walk(model.mean, x, times)
    assert torch.allclose(result, sample(flow_map, model, x, times).x, rtol=1e-9)
    wanted = GaussianFlow(Flow(), 2.0, 0.5).map(x, 0.95, 0.1)
    assert torch.allclose(result, wanted, rtol=1e-8)
    again = solution.renoised(u, x, times, [normal(0, 4, 1, stream=k) for k in (1, 2, 3)])
    assert RIGHT["follows"] == "walk" and (again - wanted).abs().max() > 0.1


def test_renoised_samples_have_the_right_distribution():
    flow, x = GaussianFlow(Flow(), 2.0, 0.5), normal(0, 20000, 1)
    u = lambda x, t, s: (x - flow.map(x, t, s)) / (t - s)
    noises = [normal(0, 20000, 1, stream=k) for k in (1, 2, 3)]
    end = solution.renoised(u, x, [1.0, 0.7, 0.4, 0.2], noises)
    assert abs(end.mean().item() - 0.8 * 2) < 0.02
    assert abs(end.std().item() - math.hypot(0.8 * 0.5, 0.2)) < 0.02


def _euler_factor(steps):
    """The deviation that Euler's steps make of 1."""
    factor = 1.0
    for i in range(steps):
        t = 1 - i / steps
        factor *= 1 - (t - (1 - t) * 0.25) / ((1 - t) ** 2 * 0.25 + t**2) / steps
    return factor


def test_how_many_steps_euler_needs():
    near = [n for n in range(1, 300) if abs(_euler_factor(n) / 0.5 - 1) < 0.05]
    assert near[0] == RIGHT["euler_calls"] and len(near) == 300 - near[0]


# --- 7.4: the semigroup -------------------------------------------------------------------------------------


CANDIDATES = {
    1: lambda x, t, s: BELL.flow(x, t),
    2: lambda x, t, s: torch.zeros_like(x),
    3: lambda x, t, s: _mean(2.0, x, t, s),
    4: lambda x, t, s: _mean(2.0, x, t, s) + 0.3 * (t - s) * torch.sin(x),
    5: lambda x, t, s: _mean(1.5, x, t, s),
}


def _mean(m, x, t, s):
    s = min(s, t - 1e-8)
    return (x - GaussianFlow(Flow(), m, 0.5).map(x, t, s)) / (t - s)


@pytest.mark.parametrize("number", CANDIDATES)
def test_which_candidates_pass(number):
    u, x = CANDIDATES[number], torch.linspace(-1, 4, 51, dtype=torch.float64)[:, None]
    map_ = lambda x, t, s: x - (t - s) * u(x, t, s)
    for t, r, s in ((0.9, 0.5, 0.2), (0.7, 0.6, 0.1)):
        wanted = (map_(map_(x, t, r), r, s) - map_(x, t, s)).numpy()
        assert math.isclose(solution.defect(u, x, t, r, s), np.linalg.norm(wanted) / 51**0.5, abs_tol=1e-12)
        passes = RIGHT[f"semigroup_{number}"] == "passes"
        assert passes == (solution.defect(u, x, t, r, s) < 1e-6)
    moves = solution.velocity_defect(u, BELL.flow, x, 0.6)
    assert math.isclose(moves, np.linalg.norm((u(x, 0.6, 0.6) - BELL.flow(x, 0.6)).numpy()) / 51**0.5)
    assert (RIGHT["flow_map"] == number) == (passes and moves < 1e-5)


# --- 7.5: the shortcut model --------------------------------------------------------------------------------


def test_the_shortcut_loss_is_the_toolkits():
    net, x, low = Bent(), 0.5 + normal(0, 4, 2), S - torch.tensor([0, 0, 0, 0.3])
    model = MeanVelocity(net)
    mine = solution.shortcut_loss(model.mean, x, T, low)
    assert _same_loss(mine, shortcut_loss(model, x, T, low).mean(), net.theta)


def test_a_perfect_shortcut_model_is_eulers_method():
    assert math.isclose(RIGHT["jump_std"], _euler_factor(8), rel_tol=1e-6)
    assert math.isclose(tasks._STD_OF_FOUR, _euler_factor(4), rel_tol=1e-6)
    x = torch.zeros(1, 1, dtype=torch.float64)
    for i in range(8):
        x = x - BELL.flow(x, 1 - i / 8) / 8
    assert math.isclose(RIGHT["jump_mean"], x.item(), rel_tol=1e-9) and RIGHT["flow_map_std"] == 0.5


# --- 7.6: the sweep -----------------------------------------------------------------------------------------


def _distance(method, calls, seed):
    """The statement's distance, its error term and its samplers written again."""
    a = initial_noise(1, 6, seed=seed, dtype=torch.float64)[0].tolist()
    q = torch.special.ndtri((torch.arange(500, dtype=torch.float64) + 0.5) / 500)[:, None]

    def moved(x, t, s, to):
        off = a[0] * torch.sin(2 * x + a[1] + 3 * t) + a[2] * torch.sin(x + a[3] - 2 * s)
        off = 0.15 * (off + 0.5 * a[4] * math.cos(4 * (t - s) + a[5]))
        mean = BELL.flow(x, t) if s == t else (x - GaussianFlow(Flow(), 2.0, 0.5).map(x, t, s)) / (t - s)
        return x - (t - to) * (mean + off)

    x = q
    for i in range(calls):
        t, s = 1 - i / calls, 1 - (i + 1) / calls
        if method == "consistency":
            noise = q[initial_noise(500, 1, seed=100 * seed + i)[:, 0].argsort()]
            x = (1 - s) * moved(x, t, 0.0, 0.0) + s * noise
        else:
            x = moved(x, t, s if method == "flow map" else t, s)
    return (x.sort(0).values - 2 - 0.5 * q).square().mean().sqrt().item()


@pytest.mark.parametrize(
    "name, method", [("euler", "Euler"), ("flow", "flow map"), ("consistency", "consistency")]
)
def test_what_the_seeds_agree_on(name, method):
    falls = sum(_distance(method, 16, seed) < _distance(method, 2, seed) for seed in range(8))
    assert RIGHT[name] == ("better" if falls >= 7 else "worse" if falls <= 1 else "tie")


def test_the_error_of_a_prediction_is_as_long_as_its_jump():
    u, off = CANDIDATES[3], lambda x, t, s: CANDIDATES[3](x, t, s) + 0.01
    x, noise = normal(0, 3, 1), [normal(0, 3, 1)]
    apart = solution.renoised(off, x, [0.8, 0.0], noise) - solution.renoised(u, x, [0.8, 0.0], noise)
    wanted = _formula("error_of", "t delta")(0.8, 0.01)
    assert torch.allclose(apart.abs(), torch.full_like(apart, wanted), rtol=1e-9)


def test_the_lines_are_medians():
    seen = read_axes(solution.draw(lambda method, n, seed: (1 + seed**2) / n, [0, 1, 2, 3]))
    for label in ("Euler", "flow map", "consistency"):
        x, y = seen.lines[label]
        assert x.tolist() == [1, 2, 4, 8, 16] and np.allclose(y, 3.5 / x)


# --- 7.7: published mistakes --------------------------------------------------------------------------------


def _shift(t, k):
    """By the ratio of noise to signal, which a shift multiplies."""
    ratio = k * t / (1 - t) if t < 1 else math.inf
    return 1.0 if ratio == math.inf else ratio / (1 + ratio)


def test_the_times_are_shifted_once():
    wanted = [_shift(t, 3.0) for t in np.linspace(1, 0.001, 10)] + [0.0]
    assert np.allclose(solution.shifted_times(10, 3.0), wanted, rtol=1e-10)
    k = _formula("twice", "k")(3.0)
    assert math.isclose(_shift(0.3, k), _shift(_shift(0.3, 3.0), 3.0), rel_tol=1e-12)
    assert math.isclose(RIGHT["last_twice"], _shift(_shift(0.001, 3.0), 3.0), rel_tol=1e-9)


def _unfit(velocity, x, steps):
    """The statement's walk with its direction mended only."""
    for i in range(steps):
        x = x - velocity(x, 1 - i / (steps - 1)) / steps
    return x


def test_the_walk_and_what_exposes_the_other_one():
    x = normal(0, 4, 1)
    times = np.linspace(1, 0, 6).tolist()
    wanted = sample(ddim, BELL, x, times).x  # on Flow, DDIM is Euler's method
    assert torch.allclose(solution.flow_walk(BELL.flow, x, 5), wanted, rtol=1e-9, atol=1e-9)
    exact, one, point = 2 + 0.5 * x, lambda x, t: torch.ones_like(x), lambda x, t: (x - 0.7) / t
    for walk in (solution.flow_walk, _unfit):
        errors = [(walk(BELL.flow, x, n) - exact).square().mean().sqrt().item() for n in (200, 400)]
        assert abs(math.log2(errors[0] / errors[1]) - 1) < 0.1  # the order sees nothing
        assert torch.allclose(walk(one, x, 6), x - 1)  # nor does a constant velocity
    right = torch.full_like(x, 0.7)
    assert torch.allclose(solution.flow_walk(point, x, 4), right)
    assert not torch.allclose(_unfit(point, x, 4), right) and RIGHT["exposes"] == "point"


# --- 7.8: the dynamic programme -----------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_the_cheapest_grid_is_the_toolkits_and_that_of_all_grids(steps):
    costs = tasks._table(0, 9, 3)
    path = solution.cheapest(costs, steps)
    assert path == grids.cheapest(costs, steps)
    every = [(0, *inner, 8) for inner in itertools.combinations(range(1, 8), steps - 1)]
    total = lambda path: sum(costs[i, j] for i, j in zip(path, path[1:]))
    assert tuple(path) == min(every, key=total)


@pytest.fixture(scope="module")
def fine():
    """(levels, the exact path (17, 32, 8), costs by Euler's formula (17, 17))."""
    levels = grids.karras(EDM(sigma_min=0.02, sigma_max=20.0), 16).tolist()
    model, path = TANGLE.model(EDM()), [20 * initial_noise(32, 8, seed=5, dtype=torch.float64)]
    for a, b in zip(levels, levels[1:]):
        path.append(reference(model, path[-1], a, b, 1e-9))
    costs = np.zeros((17, 17))
    for i, j in itertools.combinations(range(17), 2):
        step = path[i] + (levels[j] - levels[i]) * model.eps(path[i], levels[i])
        costs[i, j] = (step - path[j]).square().mean(1).sqrt().mean()
    return levels, path, costs


@pytest.mark.slow
def test_what_the_grid_gains(fine):
    levels, path, costs = fine
    model = TANGLE.model(EDM())

    def error(chosen):
        return (sample(ddim, model, path[0], chosen).x - path[-1]).square().mean().sqrt().item()

    best = grids.cheapest(costs, 3)
    karras = grids.karras(EDM(sigma_min=0.02, sigma_max=20.0), 3)
    gain = error([levels[i] for i in best]) / error(karras)
    assert math.isclose(RIGHT["gain"], gain, rel_tol=1e-4)
    total = lambda path: sum(costs[i, j] for i, j in zip(path, path[1:]))
    assert math.isclose(tasks._SUM, total(best), rel_tol=1e-4)
    assert math.isclose(RIGHT["greedy_cost"], total(tasks._greedy(costs, 3)), rel_tol=1e-4)
    every = [(0, *inner, 16) for inner in itertools.combinations(range(1, 16), 3)]
    errors = [error([levels[k] for k in one]) for one in every]
    mine = error([levels[i] for i in grids.cheapest(costs, 4)])
    assert RIGHT["least"] == "no" and min(errors) < 0.97 * mine


# --- 7.9: a grid by gradient --------------------------------------------------------------------------------


def test_the_levels_are_those_of_the_toolkits_table():
    table = Table(EDM(), [15.0, 4.0, 2.0, 1.0, 0.3], "ddim")
    with torch.no_grad():
        table.gaps.copy_(normal(0, 4))
    mine = solution.levels_of(normal(0, 4), 15.0, 0.3)
    assert torch.allclose(mine, table.levels().double(), rtol=1e-8)


def _miss(levels, d):
    """ln q - ln q_exact."""
    made = sum(math.log(1 + (e - s) * s / (d**2 + s**2)) for s, e in zip(levels, levels[1:]))
    return made - math.log(math.hypot(d, levels[-1]) / math.hypot(d, levels[0]))


@pytest.mark.parametrize("d", [0.4, 1.0])
def test_the_learned_levels_are_the_best_ones(d):
    levels = solution.learned_levels(d, 10.0, 0.1, 3)

    def cost(logs):
        a, b = 10 * math.exp(-abs(logs[0])), 10 * math.exp(-abs(logs[0]) - abs(logs[1]))
        return _miss([10.0, a, b, 0.1], d) ** 2 if b > 0.1 else 100.0

    found = minimize(cost, [1.5, 1.5], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14})
    wanted = [10 * math.exp(-abs(found.x[0])), 10 * math.exp(-abs(found.x).sum())]
    assert np.allclose(levels[1:3], wanted, rtol=1e-3)


def test_the_best_level_in_between():
    cost = lambda log: _miss([20.0, math.exp(log), 0.02], 0.5) ** 2
    best = math.exp(minimize_scalar(cost, bounds=(-3.8, 2.9), method="bounded", options={"xatol": 1e-10}).x)
    scan = min((k / 1000 for k in range(21, 20000)), key=lambda level: cost(math.log(level)))
    assert math.isclose(RIGHT["middle"], best, rel_tol=1e-5) and abs(scan - best) < 1e-3
    karras = grids.karras(EDM(sigma_min=0.02, sigma_max=20.0), 2)[1].item()
    assert RIGHT["karras_middle"] == "above" and karras > 1.1 * best
    one = torch.ones(1, 1, dtype=torch.float64)  # the factor is that of the toolkit's Euler
    walked = sample(ddim, Mixture([1.0], [[0.0]], [0.5]).model(EDM()), one, [20.0, best, 0.02]).x.item()
    exact = GaussianFlow(EDM(), 0.0, 0.5).map(one, 20.0, 0.02).item()
    assert math.isclose(math.log(walked / exact), _miss([20.0, best, 0.02], 0.5), rel_tol=1e-8)


# --- 7.10: an unfair comparison -----------------------------------------------------------------------------


def test_the_fair_table_is_that_of_the_toolkit():
    model, few = TANGLE.model(EDM()), EDM(sigma_min=0.02, sigma_max=20.0)
    started = lambda: AFS(model.fresh(), TANGLE.mean(), np.sqrt(np.trace(TANGLE.covariance().numpy()) / 8))
    fresh = 20 * initial_noise(128, 8, seed=9, dtype=torch.float64)
    end = reference(model, fresh, 20.0, 0.02, 1e-9)

    def error(model, levels, calls=3):
        run = sample(ddim, model, fresh, levels)
        assert run.nfe == calls
        return (run.x - end).square().mean().sqrt().item()

    karras = {steps: grids.karras(few, steps).tolist() for steps in (3, 4)}
    wanted = {
        "plain_karras": error(model, karras[3]),
        "first_karras": error(started(), karras[4]),
        "plain_learned": error(model, [20.0, 2.296, 0.715, 0.02]),
        "first_learned": error(started(), [20.0, 3.229, 1.264, 0.294, 0.02]),
    }
    for name, value in wanted.items():
        assert math.isclose(RIGHT[name], value, rel_tol=1e-4), name
    assert math.isclose(tasks._THREE_AND_START, error(started(), karras[3], 2), rel_tol=1e-4)
    assert math.isclose(tasks._FOUR_CALLS, error(model, karras[4], 4), rel_tol=1e-4)
    assert f"{wanted['plain_karras']:.3f}, {wanted['first_learned']:.3f}" == "0.361, 0.283"
    assert RIGHT["reported"] > 4 * RIGHT["fair_first"] and RIGHT["unfair"] == "start"


@pytest.mark.slow
@pytest.mark.parametrize("levels, start", [([2.296, 0.715], False), ([3.229, 1.264, 0.294], True)])
def test_the_learned_levels_of_the_report_are_near_the_best(levels, start):
    """On other noises: to move any of them by a quarter makes the error larger."""
    model, noise = TANGLE.model(EDM()), 20 * initial_noise(256, 8, seed=8, dtype=torch.float64)
    end = reference(model, noise, 20.0, 0.02, 1e-7)
    std = math.sqrt(np.trace(TANGLE.covariance().numpy()) / 8)

    def error(inner):
        used = AFS(model.fresh(), TANGLE.mean(), std) if start else model
        return (sample(ddim, used, noise, [20.0, *inner, 0.02]).x - end).square().mean().item()

    moved = [
        [x * f if i == k else x for i, x in enumerate(levels)]
        for k in range(len(levels))
        for f in (0.8, 1.25)
    ]
    assert error(levels) < min(map(error, moved))


def test_the_first_direction_is_free():
    x, levels = 4 + 5 * normal(0, 4, 8), [6.0, 2.0, 0.5]
    model = AFS(TANGLE.model(EDM()), 0.3, 0.7)
    first = lambda x, s: s * (x - 0.3) / (0.7**2 + s**2)
    result = solution.walk_from(TANGLE.model(EDM()).eps, x, levels, first)
    assert torch.allclose(result, sample(ddim, model, x, levels).x, rtol=1e-10)
