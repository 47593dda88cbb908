"""The book's own answers to exercise 06 against the toolkit, closed forms and formulas written again."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from sympy import Rational, lambdify, simplify, symbols, sympify

from book.ch06 import solution, tasks
from book.lessons import judge, normal, read_axes
from toolkit import EDM, VP, Mixture, grids, initial_noise, sample
from toolkit.amed import amed_plugin, amed_solver, explained, teacher_path
from toolkit.convergence import reference
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_2
from toolkit.mixtures import GaussianFlow
from toolkit.models import AFS

STD = 0.5
REPORT = grids.karras(EDM(sigma_max=20.0), 3).tolist()
RIGHT = {name: value for task in tasks.TASKS for name, value in task.reference.items()}
TANGLE = Mixture([0.25] * 4, initial_noise(4, 8, seed=6, dtype=torch.float64), [0.2] * 4)


def _formula(name, symbols):
    """The right formula of this name as a function of floats."""
    return lambdify(symbols.split(), sympify(str(RIGHT[name])))


def _gaussian(d):
    """The exact model of one number from N(0, d^2)."""
    return Mixture([1.0], [[0.0]], [d]).model(EDM())


def _chosen(shares, scales=1.0):
    """A predictor that says the same of every step; shares (B,), scales (B,) or a number."""
    return lambda features, start, end, n: (shares, scales, 1.0)


def _factor(d, s, e, r):
    """What the toolkit's AMED-Solver multiplies x by in one step."""
    one = torch.ones(1, 1, dtype=torch.float64)
    return sample(
        amed_solver, _gaussian(d), one, [s, e], predictor=_chosen(torch.full((1,), r, dtype=torch.float64))
    ).x.item()


# --- 6.1: the mean value of a scalar ------------------------------------------------------------------------


@pytest.mark.parametrize("d, a, b", [(0.5, 3.0, 0.2), (1.3, 20.0, 0.01), (0.3, 80.0, 20.0)])
def test_the_slope_is_its_mean_at_the_level(d, a, b):
    def slope(s):
        return s / math.hypot(d, s)

    mean = quad(slope, b, a)[0] / (a - b)
    assert math.isclose(_formula("mean", "d a b")(d, a, b), mean, rel_tol=1e-8)
    assert math.isclose(slope(_formula("level", "d m")(d, mean)), mean, rel_tol=1e-9)
    share = brentq(lambda r: slope(a ** (1 - r) * b**r) - mean, 0.0, 1.0, xtol=1e-13)
    assert math.isclose(solution.best_share(d, a, b), share, rel_tol=1e-6)


@pytest.mark.parametrize("size, a, b", [("large", 80.0, 20.0), ("small", 0.1, 0.002)])
def test_far_from_the_data_the_level_is_a_plain_mean(size, a, b):
    level = a * (b / a) ** solution.best_share(STD, a, b)
    means = {"geometric": math.sqrt(a * b), "arithmetic": (a + b) / 2}
    assert math.isclose(level, means.pop(RIGHT[size]), rel_tol=5e-3)
    assert all(abs(level / other - 1) > 0.1 for other in means.values())


# --- 6.2: the vector counterexample -------------------------------------------------------------------------

PATHS = {
    "velocity_1": lambda t: (1 + 2 * math.sin(t), 3 - 4 * math.sin(t)),
    "velocity_2": lambda t: (1.0, t, t**2),
    "velocity_3": lambda t: (t, t**3),
    "velocity_4": lambda t: [c * t / math.hypot(STD, t) for c in normal(0, 64).tolist()],
}


def _distance(velocity, a, b):
    """The smallest distance of a velocity from its mean, by quadrature, a scan and a search."""
    count = len(velocity(a))
    mean = np.array([quad(lambda t, i=i: velocity(t)[i], a, b)[0] for i in range(count)]) / (b - a)
    times = np.linspace(a, b, 101)
    nearest = min(times, key=lambda t: np.linalg.norm(velocity(t) - mean))
    bounds = max(a, nearest - (b - a) / 100), min(b, nearest + (b - a) / 100)
    return minimize_scalar(
        lambda t: np.linalg.norm(velocity(t) - mean), bounds=bounds, method="bounded", options={"xatol": 1e-9}
    ).fun


@pytest.mark.parametrize("name", PATHS)
def test_the_residual_is_the_smallest_distance_from_the_mean(name):
    def velocity(t):
        return torch.tensor([PATHS[name](u) for u in t.tolist()], dtype=torch.float64)

    distances = [_distance(PATHS[name], a, b) for a, b in ((0.0, 1.0), (0.3, 2.5))]
    results = [solution.residual(velocity, a, b) for a, b in ((0.0, 1.0), (0.3, 2.5))]
    assert np.allclose(results, distances, atol=3e-3)
    assert RIGHT[name] == ("holds" if max(distances) < 1e-6 else "fails")


def test_the_residual_of_an_arc_and_its_power():
    residual = _formula("arc_residual", "w")
    for w in (0.5, 1.0, 3.0):
        assert math.isclose(residual(w), _distance(lambda t: (-math.sin(t), math.cos(t)), 0.2, 0.2 + w))
    assert math.isclose(math.log2(residual(2e-2) / residual(1e-2)), RIGHT["power"], rel_tol=1e-4)


# --- 6.3: PCA of a path -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trajectories():
    """(states (61, 32, 8), levels (61, 1, 1)) of the statement."""
    noise = 80 * initial_noise(32, 8, seed=1, dtype=torch.float64)
    run = sample(ddim, TANGLE.model(EDM()), noise, grids.karras(EDM(), 60), keep_path=True)
    return run.path, torch.tensor(run.times, dtype=torch.float64)[:, None, None]


def _left(path):
    """What the first component leaves, the mean over the samples, from the eigenvalues of the covariance."""
    variances = [np.linalg.eigvalsh(np.cov(one.numpy().T)) for one in path.transpose(0, 1)]
    return np.mean([values[:-1].sum() / values.sum() for values in variances])


def _off_line(path):
    """How far the last state is off the line of the first eigenvector, relative; the mean of all samples."""
    shares = []
    for points in path.transpose(0, 1).numpy():
        direction = np.linalg.eigh(np.cov(points.T)).eigenvectors[:, -1]
        last = points[-1] - points.mean(axis=0)
        shares.append(np.linalg.norm(last - last @ direction * direction) / np.linalg.norm(points[-1]))
    return np.mean(shares)


def test_the_shares_are_the_toolkits():
    path = normal(0, 12, 3, 4).cumsum(0)
    assert torch.allclose(solution.explained(path), explained(path), rtol=1e-12)
    first = solution.explained(path)[:, 0].numpy()
    assert math.isclose(1 - first.mean(), _left(path), rel_tol=1e-9)


def test_a_path_is_flat_in_edms_coordinates_only(trajectories):
    path, levels = trajectories
    in_vp = path / torch.sqrt(1 + levels**2)
    assert math.isclose(RIGHT["edm_left"], _left(path), rel_tol=1e-6)
    assert math.isclose(RIGHT["vp_left"], _left(in_vp), rel_tol=1e-6)
    assert math.isclose(RIGHT["off_line"], _off_line(path), rel_tol=1e-6)
    assert math.isclose(tasks._FLOW_LEFT, _left(path / (1 + levels)), rel_tol=1e-6)
    assert math.isclose(tasks._OFF_LINE_IN_VP, _off_line(in_vp), rel_tol=1e-6)


# --- 6.4: the analytic first step ---------------------------------------------------------------------------


def _noisy(level):
    """The statement's 2000 states at this level and the exact eps."""
    x = TANGLE.sample(2000, seed=3) + level * initial_noise(2000, 8, seed=4, dtype=torch.float64)
    return x, TANGLE.model(EDM()).eps(x, float(level))


def _relative(guess, exact):
    return ((guess - exact).norm() / exact.norm()).item()


def _closed_error(level):
    """The closed form's error: that of the toolkit's analytic first step."""
    x, eps = _noisy(level)
    std = math.sqrt(np.trace(TANGLE.covariance().numpy()) / 8)
    return _relative(AFS(TANGLE.model(EDM()), TANGLE.mean(), std).eps(x, float(level)), eps)


def test_the_first_step_is_exact_for_gaussian_data():
    mean, x, s, r, std = normal(0, 3, stream=1), 6 * normal(0, 4, 3), 6.0, 2.0, 0.7
    model = Mixture([1.0], mean[None], [std]).model(EDM())
    wanted = sample(ddim, model, x, [s, r]).x
    assert torch.allclose(solution.first_step(x, s, r, mean, std), wanted, rtol=1e-12)


def test_the_errors_of_the_guesses():
    x, eps = _noisy(20)
    guesses = {"error_itself": x, "error_ratio": x / 20}
    for name, guess in guesses.items():
        assert math.isclose(RIGHT[name], _relative(guess, eps), rel_tol=1e-6)
    assert math.isclose(tasks._UNIT_ERROR, _relative(x / math.sqrt(401), eps), rel_tol=1e-6)
    assert math.isclose(RIGHT["error_closed"], _closed_error(20), rel_tol=1e-6)
    safe = [level for level in (1, 2, 5, 10, 20, 40, 80) if _closed_error(level) < 0.02]
    assert RIGHT["safe_from"] == safe[0] == 10


def test_the_state_is_near_to_eps_in_vp_at_the_start():
    schedule, h = VP(), 1e-4
    x = schedule.alpha(1.0) * TANGLE.sample(2000, seed=3) + schedule.sigma(1.0) * normal(0, 2000, 8)
    model = TANGLE.model(schedule)
    eps = model.eps(x, 1.0)
    velocity = (x - reference(model, x, 1.0, 1.0 - h)) / h
    errors = {
        "eps in VP": _relative(x, eps),
        "velocity in VP": _relative(x, velocity),
        "eps in EDM": RIGHT["error_itself"],
    }
    assert RIGHT["true_of"] == min(errors, key=errors.get) and min(errors.values()) < 0.01


# --- 6.5: one step of AMED ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, sampler, options", [("amed_step", amed_solver, {}), ("plugin_step", amed_plugin, {"base": "ddim"})]
)
def test_a_step_is_the_toolkits(name, sampler, options):
    model, x, s, e = TANGLE.model(EDM()), 4 * normal(0, 3, 8), 4.0, 0.4
    r, c = torch.tensor([[0.2, 0.5, 0.8], [0.96, 1.0, 1.05]], dtype=torch.float64)
    wanted = sample(sampler, model, x, [s, e], predictor=_chosen(r, c), **options).x
    assert torch.allclose(RIGHT[name](model.eps, x, s, e, r, c), wanted, rtol=1e-10)


def test_half_way_amed_is_dpm_solver_2():
    model, x, one = TANGLE.model(EDM()), 4 * normal(0, 3, 8), torch.ones(3, dtype=torch.float64)
    wanted = sample(dpm_solver_2, model, x, [4.0, 0.4]).x
    assert torch.allclose(solution.amed_step(model.eps, x, 4.0, 0.4, one / 2, one), wanted, rtol=1e-10)


# --- 6.6: one training step ---------------------------------------------------------------------------------


def test_each_interval_learns_from_its_own_step_of_the_toolkits_solver():
    model, x, levels = TANGLE.model(EDM()), 4 * normal(0, 4, 8), [4.0, 1.0, 0.2, 0.05]
    wanted = teacher_path(model, x, levels)[1:]
    theta = normal(0, 2, stream=3).requires_grad_()

    def predict(x, s, e):
        return torch.sigmoid(theta[0] + theta[1] * math.log(s) + 0.3 * x.mean(1))

    total, state = 0.0, x
    for s, e, y in zip(levels, levels[1:], wanted):
        state = state.detach()
        *_, (_, state) = amed_solver(model, state, [s, e], predictor=_chosen(predict(state, s, e)))
        total = total + (state - y).square().mean() / 3
    loss = solution.training_loss(model.eps, predict, x, levels, list(wanted))
    assert math.isclose(loss.item(), total.item(), rel_tol=1e-10)
    slopes = [torch.autograd.grad(one, theta)[0] for one in (loss, total)]
    assert torch.allclose(*slopes, rtol=1e-8) and slopes[0].abs().min() > 1e-6


# --- 6.7: where the second order begins to pay --------------------------------------------------------------


@pytest.fixture(scope="module")
def errors():
    """sampler, steps -> its error on the ring, each computed once."""
    model = Mixture.ring(8, 1.0, 0.3).model(EDM())
    noise = 80 * initial_noise(64, 2, seed=2, dtype=torch.float64)
    end, known = reference(model, noise, 80.0, 0.002), {}

    def error(sampler, steps):
        if (sampler, steps) not in known:
            run = sample(sampler, model, noise, grids.karras(EDM(), steps))
            known[sampler, steps] = (run.x - end).square().mean().sqrt().item()
        return known[sampler, steps]

    return error


def test_where_the_second_order_wins(errors):
    by_calls = {n: errors(dpm_solver_2, n // 2) < errors(ddim, n) for n in range(2, 41, 2)}
    by_steps = {n: errors(dpm_solver_2, n) < errors(ddim, n) for n in range(1, 21)}
    for name, wins in (("crossing", by_calls), ("flattered", by_steps)):
        first = RIGHT[name]
        assert all(wins[n] for n in wins if n >= first) and not wins[max(n for n in wins if n < first)]
    assert math.isclose(RIGHT["worse"], errors(dpm_solver_2, 2) / errors(ddim, 4), rel_tol=1e-6)
    assert math.isclose(tasks._WORSE_BY_STEPS, errors(dpm_solver_2, 4) / errors(ddim, 4), rel_tol=1e-6)
    assert RIGHT["claim"] == "fails" and RIGHT["worse"] > 1


def test_the_lines_stand_over_their_calls():
    lines = read_axes(solution.draw(lambda n: 3.0 / n, lambda n: 7.0 / n**2, 50)).lines
    for label, constant, calls, order in (("one call a step", 3.0, 1, 1), ("two calls a step", 7.0, 2, 2)):
        x, y = lines[label]
        assert np.allclose(y, constant * (calls / x) ** order) and x.max() <= 50


# --- 6.8: the biased teacher --------------------------------------------------------------------------------


def _ends(substeps):
    """The deviation at the end of the teacher with so many substeps, by the toolkit."""
    start = torch.tensor([[math.hypot(STD, 20.0)]], dtype=torch.float64)
    return teacher_path(_gaussian(STD), start, REPORT, substeps)[-1].item()


@pytest.mark.parametrize("substeps", [1, 2, 5])
def test_the_teachers_factor_is_the_toolkits(substeps):
    one = torch.ones(1, 1, dtype=torch.float64)
    wanted = teacher_path(_gaussian(0.7), one, [5.0, 1.0], substeps)[-1].item()
    assert math.isclose(solution.heun_factor(0.7, 5.0, 1.0, substeps), wanted, rel_tol=1e-10)


def test_the_errors_by_either_ruler():
    start = torch.tensor([[math.hypot(STD, 20.0)]], dtype=torch.float64)
    share = torch.full((1,), 0.35, dtype=torch.float64)
    fixed = sample(amed_solver, _gaussian(STD), start, REPORT, predictor=_chosen(share)).x.item()
    exact = GaussianFlow(EDM(), 0.0, STD).map(start, 20.0, REPORT[-1]).item()
    wanted = {
        "teacher_2": _ends(2) / exact,
        "teacher_8": _ends(8) / exact,
        "fixed_seen": fixed / _ends(2),
        "fixed_true": fixed / exact,
    }
    for name, ratio in wanted.items():
        assert math.isclose(RIGHT[name], abs(ratio - 1), rel_tol=1e-9)
    nearer = "fixed" if abs(fixed - exact) < abs(_ends(2) - exact) else "student"
    assert RIGHT["better"] == nearer and RIGHT["unfair"] == "measure"


# --- 6.9: what g_phi learned --------------------------------------------------------------------------------

TABLE = {1: (20.0, 2.8, 0.428), 2: (2.8, 0.2, 0.370), 3: (0.2, 0.002, 0.149)}


@pytest.mark.parametrize("d, s, e", [(0.3, 3.0, 0.2), (0.9, 20.0, 0.01), (0.36, 2.8, 0.2)])
def test_with_its_share_the_toolkits_step_is_exact(d, s, e):
    exact = GaussianFlow(EDM(), 0.0, d).map(torch.ones(1, 1, dtype=torch.float64), s, e).item()
    share = solution.solver_share(d, s, e)
    assert math.isclose(_factor(d, s, e, share), exact, rel_tol=1e-9)
    assert math.isclose(solution.amed_factor(d, s, e, 0.3), _factor(d, s, e, 0.3), rel_tol=1e-10)


def test_what_the_table_tells():
    d = RIGHT["std_read"]
    for s, e, share in TABLE.values():
        assert abs(solution.solver_share(d, s, e) - share) <= 5.01e-4
        assert RIGHT["solver_level"] == "above" and share < solution.best_share(d, s, e)
    changes = {
        step: abs(solution.solver_share(0.2, s, e) - solution.solver_share(1.0, s, e))
        for step, (s, e, _) in TABLE.items()
    }
    assert RIGHT["informative"] == max(changes, key=changes.get)
    s, e, _ = TABLE[2]
    share = solution.solver_share(d, s, e)
    assert math.isclose(RIGHT["level_asked"], s ** (1 - share) * e**share, rel_tol=1e-3)
    assert RIGHT["features"] == "cannot"


# --- 6.10: the plugin on a solver that remembers ------------------------------------------------------------

TANGLE_NOISE = 20 * initial_noise(64, 8, seed=5, dtype=torch.float64)


def _weights(h, g):
    """p and q by integrating the straight line through the two directions."""
    line = [np.polynomial.Polynomial.fit([-g, 0.0], values, 1) for values in ((0.0, 1.0), (1.0, 0.0))]
    return tuple(one.integ()(h) / h - one.integ()(0.0) / h for one in line)


def _fixed(h, g):
    """The weights for equal gaps."""
    return 1.5, -0.5


@pytest.mark.parametrize("h, g", [(-0.3, -0.3), (-0.2, -0.7), (-0.9, -0.4)])
def test_the_weights_integrate_a_straight_line(h, g):
    wanted = _weights(h, g)
    for name, value in zip(("now", "before"), wanted):
        assert math.isclose(_formula(name, "h g")(h, g), value, rel_tol=1e-9)
    # on the line eps = tau, fixed less right, for a step by h after g and one by g after h
    lost = [a * b * 0.5 - a * (a / 2) for a, b in ((h, g), (g, h))]
    assert math.isclose(_formula("left", "u v")(h, g), sum(lost), rel_tol=1e-9, abs_tol=1e-12)


def test_the_plugin_with_iPNDMs_weights_is_the_toolkits_for_two_steps():
    model, x = TANGLE.model(EDM()), TANGLE_NOISE[:4]
    share = torch.full((4,), 0.35, dtype=torch.float64)
    wanted = sample(amed_plugin, model, x, [4.0, 0.4], predictor=_chosen(share), base="ipndm").x
    result = solution.plugin_walk(model.eps, x, [4.0, 0.4], [0.35], _fixed)
    assert torch.allclose(result, wanted, rtol=1e-9)


def _plugin_errors(weights, share, counts, model, x, end):
    """Errors of the walk with one share for all intervals."""
    errors = []
    for count in counts:
        levels = grids.karras(EDM(sigma_min=0.02, sigma_max=20.0), count).tolist()
        result = solution.plugin_walk(model.eps, x, levels, [share] * count, weights)
        errors.append((result - end).square().mean().sqrt().item())
    return errors


def test_fixed_weights_are_of_first_order_on_uneven_steps():
    model, start = _gaussian(STD), torch.full((1, 1), math.hypot(STD, 20.0), dtype=torch.float64)
    end = GaussianFlow(EDM(), 0.0, STD).map(start, 20.0, 0.02)
    for weights, order in ((_fixed, RIGHT["order"]), (_weights, 2)):
        coarse, fine = _plugin_errors(weights, 0.3, (400, 800), model, start, end)
        assert abs(math.log2(coarse / fine) - order) < 0.1


def test_the_best_pair_of_shares_and_what_it_gains():
    model = TANGLE.model(EDM())
    end, levels = (
        reference(model, TANGLE_NOISE, 20.0, 0.02),
        grids.karras(EDM(sigma_min=0.02, sigma_max=20.0), 2),
    )

    def error(shares, weights):
        walked = solution.plugin_walk(model.eps, TANGLE_NOISE, levels.tolist(), shares, weights)
        return (walked - end).square().mean().sqrt().item()

    for weights, best, gain in (
        (_fixed, (RIGHT["share_1"], RIGHT["share_2"]), RIGHT["gain"]),
        (_weights, tasks._SHARES_RIGHT, tasks._GAIN_RIGHT),
    ):
        tenths = [i / 10 for i in range(1, 10)]
        errors = {(one, two): error((one, two), weights) for one in tenths for two in tenths}
        assert min(errors, key=errors.get) == best
        assert math.isclose(gain, errors[best] / errors[0.5, 0.5], rel_tol=1e-6)
        if weights is _fixed:
            assert min((one for one in errors if one[0] == one[1]), key=errors.get) == (0.5, 0.5)
    assert error((0.5, 0.5), _fixed) < error((0.5, 0.5), _weights) and RIGHT["few"] == "fixed"


# --- 6.11: the mean itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize("x, a, b, d", [(0.7, 3.0, 0.4, 0.5), (-1.2, 2.0, 0.1, 1.3)])
def test_the_mean_and_its_identity(x, a, b, d):
    def eps(x, s):
        return x * s / (d**2 + s**2)

    def mean(x, a, b):
        return quad(lambda s: eps(x * math.hypot(d, s) / math.hypot(d, a), s), b, a, epsabs=1e-13)[0] / (
            a - b
        )

    def on_path(h):
        return mean(x * math.hypot(d, a + h) / math.hypot(d, a), a + h, b)

    assert math.isclose(_formula("average", "x a b d")(x, a, b, d), mean(x, a, b), rel_tol=1e-9)
    total = (on_path(1e-3) - on_path(-1e-3)) / 2e-3
    assert math.isclose(_formula("total", "x a b d")(x, a, b, d), total, rel_tol=1e-4)
    assert math.isclose(mean(x, a, b), eps(x, a) - (a - b) * total, rel_tol=1e-4)
    partial = (mean(x, a + 1e-3, b) - mean(x, a - 1e-3, b)) / 2e-3
    forgotten = _formula("forgotten", "x a b d")(x, a, b, d)
    assert math.isclose(forgotten, mean(x, a, b) - eps(x, a) + (a - b) * partial, rel_tol=1e-4)
    end = GaussianFlow(EDM(), 0.0, d).map(torch.tensor([[x]]).double(), a, 1e-9).item()
    assert math.isclose(_formula("jump", "x a d")(x, a, d), end, rel_tol=1e-6)


def test_the_meanflow_target_is_a_difference_quotient():
    def u(x, a, b):
        return torch.sin(x / (1 + a[:, None])) * (a + 2 * b)[:, None]

    x, direction = normal(0, 3, 2), normal(0, 3, 2, stream=1)
    a, b, h = torch.tensor([3.0, 2.0, 1.0]).double(), torch.tensor([0.5, 0.1, 1.0]).double(), 1e-5
    change = (u(x + h * direction, a + h, b) - u(x - h * direction, a - h, b)) / (2 * h)
    wanted = direction - (a - b)[:, None] * change
    assert torch.allclose(solution.meanflow_target(u, direction, x, a, b), wanted, rtol=1e-7, atol=1e-9)


def test_noise_in_the_place_of_eps_does_not_move_the_targets_mean():
    def u(x, a, b):
        return torch.sin(x / (1 + a[:, None])) * (a + 2 * b)[:, None]

    x, a, b = torch.full((2, 1), 0.4).double(), torch.full((2,), 2.0).double(), torch.full((2,), 0.3).double()
    both = torch.tensor([[-1.3], [2.1]]).double()  # two noises as likely as each other; their mean is eps
    targets = solution.meanflow_target(u, both, x, a, b).mean(0)
    assert torch.allclose(targets, solution.meanflow_target(u, both.mean(0).expand(2, 1), x, a, b)[0])
    assert RIGHT["by_noise"] == "same"


def test_other_lines_and_lengths_of_a_path(trajectories):
    points = trajectories[0].transpose(0, 1).numpy()
    shares = {"_OFF_CENTRED": [], "_OFF_LENGTH": [], "_OFF_ORIGIN": [], "_OFF_BUNDLE": [], "_OFF_SHIFTED": []}
    centred = points - points.mean(axis=1, keepdims=True)
    bundle = np.linalg.eigh(np.cov(centred.reshape(-1, 8).T)).eigenvectors[:, -1]

    def off(last, direction):
        return np.linalg.norm(last - last @ direction * direction)

    for raw, about in zip(points, centred):
        direction = np.linalg.eigh(about.T @ about).eigenvectors[:, -1]
        plain = np.linalg.eigh(raw.T @ raw).eigenvectors[:, -1]
        length = np.linalg.norm(raw[-1])
        shares["_OFF_CENTRED"].append(off(about[-1], direction) / np.linalg.norm(about[-1]))
        shares["_OFF_LENGTH"].append(off(about[-1], direction))
        shares["_OFF_ORIGIN"].append(off(raw[-1], plain) / length)
        shares["_OFF_BUNDLE"].append(off(about[-1], bundle) / length)
        shares["_OFF_SHIFTED"].append(off(raw[-1], direction) / length)
    for name, values in shares.items():
        assert math.isclose(getattr(tasks, name), np.mean(values), rel_tol=1e-5), name
    mean_length = np.mean(np.linalg.norm(points[:, -1], axis=1))
    assert math.isclose(tasks._OFF_MEANS, np.mean(shares["_OFF_LENGTH"]) / mean_length, rel_tol=1e-5)
    roots = [np.linalg.svd(about, compute_uv=False)[::-1] for about in centred]
    assert math.isclose(tasks._UNSQUARED, np.mean([1 - one[-1] / one.sum() for one in roots]), rel_tol=1e-4)


# --- what is right in another form --------------------------------------------------------------------------


def _numpy_residual(velocity, a, b):
    """6.2 in numpy, on the middles of 4000 pieces, whose plain mean is the midpoint rule."""
    t = a + (b - a) * (np.arange(4000) + 0.5) / 4000
    v = velocity(torch.from_numpy(t)).numpy()
    return np.linalg.norm(v - v.mean(axis=0), axis=1).min()


def _path_by_path(path):
    """6.3's shares, one trajectory after the other, by its covariance's eigenvalues: a list of tensors."""
    shares = []
    for points in path.unbind(1):
        power = torch.linalg.eigvalsh(torch.cov(points.T)).flip(0).clamp(min=0)
        shares.append(power.cumsum(0) / power.sum())
    return shares


def _numpy_step(eps, x, s, e, r, c):
    """6.5's AMED step, sample by sample, as a list of numpy rows."""
    rows = []
    for one, share, scale in zip(x, r.tolist(), c.tolist()):
        m = s * (e / s) ** share
        halfway = one[None] + (m - s) * eps(one[None], s)
        rows.append((one.numpy() + scale * (e - s) * eps(halfway, m).numpy()[0]).tolist())
    return rows


def _plugin_by_denoiser(eps, x, s, e, r, c):
    """6.5's plugin in place on a copy, its second step by the denoised sample."""
    m = torch.exp((1 - r) * math.log(s) + r * math.log(e)).unsqueeze(1)
    u = x.clone()
    u += (m - s) * eps(x, torch.full_like(r, s))
    denoised = u - m * eps(u, m.squeeze(1))
    return u + c.unsqueeze(1) * (e / m - 1) * (u - denoised)


class _SortedWalk:
    """6.10's walk on the sorted grid of numpy's numbers, the weights of all steps first."""

    def __call__(self, eps, x, levels, shares, weights):
        added = [s * (e / s) ** r for s, e, r in zip(levels, levels[1:], shares)]
        grid = np.sort(np.array([*levels, *added]))[::-1]
        gaps = np.diff(grid)
        pairs = [(1.0, 0.0), *(weights(h, g) for g, h in zip(gaps, gaps[1:]))]
        old = torch.zeros_like(x)
        for level, gap, (p, q) in zip(grid, gaps, pairs):
            new = eps(x, level)
            x, old = x + gap * p * new + gap * q * old, new
        return x


def _in_reverse(u, direction, x, a, b):
    """6.11's target by two gradients of each column, in reverse mode."""
    x, a = (v.detach().clone().requires_grad_() for v in (x, a))
    out, columns = u(x, a, b), []
    for column in out.T:
        by_x, by_a = torch.autograd.grad(column.sum(), (x, a), retain_graph=True)
        columns.append((by_x * direction).sum(1) + by_a)
    return (direction + (b - a)[:, None] * torch.stack(columns, 1)).detach()


_ROOTS = "sqrt(d**2 + a**2)", "sqrt(d**2 + b**2)"
_NO_DIFFERENCE = (
    f"x*(a + b)/({_ROOTS[0]}*({_ROOTS[0]} + {_ROOTS[1]}))"  # the average, its roots below the line
)


@pytest.mark.parametrize(
    "task, answers",
    [
        ("6.2", {"residual": _numpy_residual, "arc_residual": "1 - sqrt(2 - 2*cos(w))/w", "power": 2.0}),
        ("6.2", {"arc_residual": "1 - sinc(w/2)", "velocity_1": " Holds"}),
        ("6.3", {"explained": _path_by_path}),
        ("6.5", {"amed_step": _numpy_step, "plugin_step": _plugin_by_denoiser}),
        ("6.10", {"plugin_walk": _SortedWalk(), "now": "(h + 2*g)/(2*g)", "left": "u*v - (u**2 + v**2)/2"}),
        ("6.10", {"share_1": np.float64(0.7), "gain": 0.726}),
        ("6.11", {"meanflow_target": _in_reverse, "average": _NO_DIFFERENCE}),
        ("6.11", {"total": f"(x*a/(d**2 + a**2) - {_NO_DIFFERENCE})/(a - b)"}),
    ],
)
def test_other_forms_of_a_right_answer_are_done(task, answers):
    verdict = judge(task, **_task(task).reference | answers)
    assert verdict.state == "done", verdict.sentence


def _task(number):
    return next(task for task in tasks.TASKS if task.id == number)


def test_what_wrong_weights_leave_is_a_students_sum_over_two_steps():
    """`left`, as someone finds it who takes these weights for the right ones."""
    h, g, u, v = symbols("h g u v")
    for now, before, left, _ in tasks._LINES:
        p, q = sympify(now), sympify(before)
        assert simplify(p + q - 1) == 0
        step = h * (Rational(3, 2) - p) * g  # eps less eps_- is g times the slope
        both = sum(step.subs({h: one, g: other}, simultaneous=True) for one, other in ((u, v), (v, u)))
        assert simplify(both - sympify(left)) == 0


@pytest.mark.parametrize("wrong, says", tasks._AVERAGES)
def test_a_wrong_average_is_named_though_three_formulas_are_made_of_it(wrong, says):
    x, a, b, d = symbols("x a b d")
    mean, slope = sympify(wrong), x * a / (d**2 + a**2)
    made = {
        "average": wrong,
        "total": mean.diff(a) + slope * mean.diff(x),
        "forgotten": mean - (slope - (a - b) * mean.diff(a)),
        "jump": simplify(x - a * mean.subs(b, 0)),
    }
    verdict = judge("6.11", **_task("6.11").reference | made)
    assert verdict.kind == "mistake" and verdict.sentence.startswith(says)
