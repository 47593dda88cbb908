"""The book's own answers to exercise 05 against the toolkit, closed forms and formulas written again."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm
from sympy import lambdify, sympify

from book.ch05 import solution, tasks
from book.lessons import judge, normal, read_axes
from book.lessons.task import Made
from tests.solution_cells import source
from toolkit import EDM, VP, Flow, Mixture, grids, sample
from toolkit.ddim import ddim
from toolkit.distill import (
    ConsistencyModel,
    FlowMap,
    boundary_coefficients,
    consistency,
    consistency_loss,
    ddim_step,
    doubling_levels,
    two_step_target,
)
from toolkit.mixtures import GaussianFlow
from toolkit.noise import Replay
from toolkit.ode import edm_heun, euler

END, STD = 0.002, 0.5
RIGHT = {name: value for task in tasks.TASKS for name, value in task.reference.items()}
GAUSSIAN = Mixture([1.0], [[0.0]], [STD]).model(EDM())


def _formula(name, symbols):
    """The right formula of this name as a function of floats."""
    return lambdify(symbols.split(), sympify(str(RIGHT[name])))


def _levels(intervals):
    """Karras's levels from the end up, written down again: (intervals + 1,) floats."""
    low, high = END ** (1 / 7), 80 ** (1 / 7)
    return [(low + (high - low) * i / intervals) ** 7 for i in range(intervals + 1)]


# --- 5.1: the coefficients of the skip connection -----------------------------------------------------------


@pytest.mark.parametrize("d, s", [(0.5, 0.3), (1.7, 0.9), (0.4, 12.0)])
def test_edms_pair_leaves_the_smallest_variance(d, s):
    best = minimize_scalar(lambda c: (1 - c) ** 2 * d**2 + c**2 * s**2)
    assert math.isclose(_formula("edm_skip", "s d")(s, d), best.x, rel_tol=1e-6)
    assert math.isclose(_formula("edm_out", "s d")(s, d), math.sqrt(best.fun), rel_tol=1e-6)


@pytest.mark.parametrize("d, e, s", [(0.5, 0.002, 0.3), (1.7, 0.4, 0.9), (0.4, 0.3, 0.3)])
def test_the_moved_pair_is_the_toolkits(d, e, s):
    moved = [_formula(name, "s e d")(s, e, d) for name in ("c_skip", "c_out")]
    assert np.allclose(moved, boundary_coefficients(s, e, d), rtol=1e-12)


def test_the_consistency_function_is_the_toolkits():
    x, s = normal(0, 3, 1, 2, 2), torch.tensor([0.3, 1.1, 40.0], dtype=torch.float64)

    class Bent(torch.nn.Module):
        def forward(self, x, c, label=None):
            return torch.tanh(x + c.reshape(-1, 1, 1, 1))

    model = ConsistencyModel(Bent(), EDM(), sigma_data=STD, end=0.3)
    result = solution.consistency_function(Bent(), x, s, 0.3, STD)
    assert torch.allclose(result, model.x0(x, s), rtol=1e-12)
    assert torch.equal(result[0], x[0])


# --- 5.2: progressive distillation's target -----------------------------------------------------------------


def test_the_target_of_two_steps_is_the_toolkits():
    x, times = normal(0, 2, 1, 2, 2), torch.tensor([[0.9, 0.6, 0.4], [0.5, 0.3, 0.1]], dtype=torch.float64)

    def predict(x, t):
        return torch.tanh(x + t.reshape(-1, 1, 1, 1))

    teacher = SimpleNamespace(x0=predict, schedule=VP())
    result = solution.two_step_target(predict, VP(), x, *times.T)
    assert torch.allclose(result, two_step_target(teacher, x, *times.T), rtol=1e-12)


def test_the_target_leads_from_x_to_y_in_one_step_of_ddim():
    x, y, a_t, s_t, a_s, s_s = 0.7, -0.4, 0.3, 0.9, 0.8, 0.5
    target = _formula("target", "x y a_t s_t a_s s_s")

    def step(x0):
        return a_s * x0 + s_s / s_t * (x - a_t * x0)

    assert math.isclose(step(target(x, y, a_t, s_t, a_s, s_s)), y, rel_tol=1e-12)
    amplify = _formula("amplify", "a_t s_t a_s s_s")(a_t, s_t, a_s, s_s)
    assert math.isclose(amplify * (step(1.0) - step(0.0)), 1.0, rel_tol=1e-12)


# --- 5.3 and 5.4: the losses --------------------------------------------------------------------------------


def _student(network):
    """f as the toolkit's loss takes it, the network bare inside the boundary."""

    def x0(x, s):
        c_skip, c_out = boundary_coefficients(s[:, None], END, STD)
        return c_skip * x + c_out * network(x, s)

    return SimpleNamespace(x0=x0, schedule=EDM(), sigma_data=STD)


@pytest.fixture
def batch():
    """A student, its parameters, and data, noise and the levels of an interval for each sample."""
    theta = normal(0, 2, stream=2).requires_grad_()
    f = _student(lambda x, s: torch.tanh(theta[0] * x + theta[1] * s.log()[:, None]))
    r = torch.tensor([END, 0.05, 0.5, 9.0], dtype=torch.float64)
    return SimpleNamespace(f=f, theta=theta, x0=normal(0, 4, 3), z=normal(0, 4, 3, stream=1), r=r, s=1.4 * r)


def _assert_same_loss(loss, wanted, theta):
    """Value and gradient of two losses agree."""
    assert math.isclose(loss.item(), wanted.item(), rel_tol=1e-10)
    slopes = [torch.autograd.grad(one, theta)[0] for one in (loss, wanted)]
    assert torch.allclose(*slopes, rtol=1e-10)


def test_consistency_training_is_the_toolkits(batch):
    f, s, r = batch.f, batch.s, batch.r
    target = f.x0(batch.x0 + r[:, None] * batch.z, r).detach()
    wanted = consistency_loss(f, target, batch.x0 + s[:, None] * batch.z, s, r, weighting="1/gap")
    _assert_same_loss(solution.training_loss(f.x0, batch.x0, batch.z, s, r), wanted, batch.theta)


def test_consistency_distillation_steps_as_ddim_does(batch):
    f, s, r = batch.f, batch.s, batch.r
    teacher = SimpleNamespace(x0=lambda x, s: torch.sin(x) / (1 + s[:, None]), schedule=EDM())
    x = batch.x0 + s[:, None] * batch.z
    target = f.x0(ddim_step(teacher, x, s, r), r).detach()
    wanted = consistency_loss(f, target, x, s, r, weighting="1/gap")
    loss = solution.distillation_loss(f.x0, teacher.x0, batch.x0, batch.z, s, r)
    _assert_same_loss(loss, wanted, batch.theta)


def test_the_mended_listing_is_the_toolkits_loss(batch):
    def network(x, u):
        return torch.tanh(batch.theta[0] * x + batch.theta[1] * u[:, None])

    f, t, s = _student(network), batch.s, batch.r
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    target = f.x0(batch.x0 + s[:, None] * z, s).detach()
    wanted = STD**2 * consistency_loss(f, target, batch.x0 + t[:, None] * z, t, s, weighting="uniform")
    loss = solution.loss_of_batch(network, batch.x0, t, s, torch.Generator().manual_seed(5))
    _assert_same_loss(loss, wanted, batch.theta)


def test_the_factors_are_least_squares_slopes():
    d, r, s = 0.6, 0.4, 1.3  # x_r and x_s in the basis of x_0 and one or two noises
    for name, low, high in (
        ("factor_shared", (d, r), (d, s)),
        ("factor_independent", (d, r, 0.0), (d, 0.0, s)),
    ):
        slope = np.linalg.lstsq(np.array(high)[:, None], np.array(low), rcond=None)[0][0]
        assert math.isclose(_formula(name, "d r s")(d, r, s), slope, rel_tol=1e-12)


def test_independent_noise_asks_the_denoiser_again_and_again():
    x = torch.tensor([[math.hypot(STD, 80.0)]], dtype=torch.float64)
    for s in reversed(_levels(20)[1:]):
        x = GAUSSIAN.x0(x, s)
    assert math.isclose(RIGHT["log10_std"], math.log10(x.item()), rel_tol=1e-9)


# --- 5.5: the gradient through the target -------------------------------------------------------------------


def _rest(intervals, low_of=lambda r, s: (STD, r), weight=lambda r, s: 1 / (s - r)):
    """The deviation where all of sum weight |a_n (d, s) - a_{n-1} low_of(r, s)|^2 is least, by least squares;
    a_0 = 1."""
    levels = _levels(intervals)
    matrix, right = np.zeros((2 * intervals, intervals)), np.zeros(2 * intervals)
    for n, (r, s) in enumerate(zip(levels, levels[1:])):
        rows, root = slice(2 * n, 2 * n + 2), math.sqrt(weight(r, s))
        matrix[rows, n] = root * np.array([STD, s])
        if n:
            matrix[rows, n - 1] = -root * np.array(low_of(r, s))
        else:
            right[rows] = root * np.array(low_of(r, s))
    return np.linalg.lstsq(matrix, right, rcond=None)[0][-1] * math.hypot(STD, 80.0)


def test_the_linear_loss_is_the_mean_square_of_the_difference():
    levels = torch.tensor([END, 0.1, 0.4, 1.5, 6.0], dtype=torch.float64)
    a = (0.5 + 0.3 * normal(0, 4)).requires_grad_()
    wanted = 0.0
    for n, (r, s) in enumerate(zip(levels, levels[1:])):
        target = a[n - 1].detach() if n else 1.0
        wanted += (((a[n] - target) * STD) ** 2 + (a[n] * s - target * r) ** 2) / (s - r)
    _assert_same_loss(solution.linear_loss(a, levels, STD), wanted, a)


def test_where_descent_comes_to_rest():
    gain = math.prod((STD**2 + r * s) / (STD**2 + s**2) for r, s in zip(_levels(20), _levels(20)[1:]))
    assert math.isclose(RIGHT["stopped"], gain * math.hypot(STD, 80.0), rel_tol=1e-9)
    assert math.isclose(RIGHT["through"], _rest(20), rel_tol=1e-9)
    assert math.isclose(tasks.UNWEIGHTED, _rest(20, weight=lambda r, s: 1.0), rel_tol=1e-9)


def test_finer_grids_do_not_help_the_listing_and_a_teacher_does():
    assert RIGHT["finer"] == "stays" and all(abs(_rest(m) - STD) > 0.18 for m in (20, 80, 160))

    def on_the_path(r, s):
        return np.array([STD, s]) * math.hypot(STD, r) / math.hypot(STD, s)

    assert RIGHT["with_teacher"] == "stays"
    assert math.isclose(_rest(20, low_of=on_the_path), math.hypot(STD, END), rel_tol=1e-9)


# --- 5.6: the schedule --------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps, first, last", [(1000, 10, 160), (10, 3, 20), (10, 8, 8), (77, 5, 1000)])
def test_the_number_of_levels_is_the_toolkits(steps, first, last):
    for step in range(steps):
        assert solution.levels_at(step, steps, first, last) == doubling_levels(step, steps, first, last)


def test_the_shares_are_those_of_a_normal_cut_off():
    mass = np.diff(norm.cdf(np.log(_levels(160)), loc=-1.1, scale=2.0))
    shares = solution.shares(torch.tensor(_levels(160), dtype=torch.float64), -1.1, 2.0)
    assert np.allclose(shares, mass / mass.sum(), rtol=1e-9)
    assert math.isclose(RIGHT["middle"], _levels(160)[80], rel_tol=1e-9)
    assert math.isclose(RIGHT["below"], mass[:80].sum() / mass.sum(), rel_tol=1e-9)


# --- 5.7: the bias of the levels ----------------------------------------------------------------------------


def _sampled_error(sampler, intervals):
    """|deviation - exact| after a sampler of the toolkit with the exact denoiser."""
    start = torch.tensor([[math.hypot(STD, 80.0)]], dtype=torch.float64)
    run = sample(sampler, GAUSSIAN, start, grids.karras(EDM(), intervals))
    return abs(run.x.item() - math.hypot(STD, END))


def test_the_lines_are_the_errors_of_two_samplers():
    counts = [10, 20, 40, 80, 160, 320]
    seen = read_axes(solution.draw(counts, STD))
    assert seen.xscale == seen.yscale == "log" and seen.xlabel and seen.ylabel
    for label, sampler, enough in (
        ("training", ddim, "enough_training"),  # the `twin`
        ("distillation, Heun", edm_heun, "enough_heun"),
    ):
        wanted = [_sampled_error(sampler, count) for count in counts]
        assert np.array_equal(seen.lines[label][0], counts)
        assert np.allclose(seen.lines[label][1], wanted, rtol=1e-8)
        good = [count for count, error in zip(counts, wanted) if error < 0.01 * math.hypot(STD, END)]
        assert RIGHT[enough] == good[0]
    assert RIGHT["twin"] == "ddim"


# --- 5.8: several jumps -------------------------------------------------------------------------------------


def _deviations(a, rounds):
    """The deviations of a student f(x, s) = a(s) x after the jump from 80 and after each further one."""
    variance = a(80.0) ** 2 * (STD**2 + 80.0**2)
    result = [math.sqrt(variance)]
    for s in rounds:
        variance = a(s) ** 2 * (variance + s**2 - END**2)
        result.append(math.sqrt(variance))
    return result


def _exact(s):
    """The factor of the exact flow map."""
    return math.hypot(STD, END) / math.hypot(STD, s)


def test_refinement_is_the_toolkits_multistep_sampler():
    model, levels, end = FlowMap(GaussianFlow(EDM(), 0.3, STD), end=0.1), [8.0, 2.0, 0.6], 0.1
    x, noises = 8.0 * normal(0, 4, 2), [normal(0, 4, 2, stream=k) for k in (1, 2, 3)]
    wanted = sample(consistency, model, x, [*levels, end], draws=Replay(noises)).x
    assert torch.allclose(solution.refine(model.x0, x, levels, end, noises[:2]), wanted, rtol=1e-12)


def test_the_deviations_after_several_jumps():
    means = GAUSSIAN.x0(torch.tensor([[math.hypot(STD, 80.0)]], dtype=torch.float64), 80.0)
    assert math.isclose(RIGHT["means_std"], means.item(), rel_tol=1e-9)
    assert math.isclose(RIGHT["four_rounds"], _deviations(lambda s: 0.95 * _exact(s), [0.2] * 4)[-1])

    def hasty(s):
        return (1 - 0.15 * s / (s + 1)) * _exact(s)

    choices = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)
    errors = {s: abs(_deviations(hasty, [s])[-1] - math.hypot(STD, END)) for s in choices}
    assert RIGHT["best_level"] == min(errors, key=errors.get)


def test_a_trained_student_gains_at_no_level():
    levels = _levels(20)
    gains = {levels[0]: 1.0}
    for r, s in zip(levels, levels[1:]):
        gains[s] = gains[r] * (STD**2 + r * s) / (STD**2 + s**2)
    gains[80.0] = gains[levels[-1]]
    errors = np.abs([np.array(_deviations(gains.get, [s])) - math.hypot(STD, END) for s in levels[1:-1]])
    assert RIGHT["trained_gains"] == "never" and (errors[:, 1] > errors[:, 0]).all()


# --- 5.9: an honest comparison ------------------------------------------------------------------------------


def test_the_student_pays_from_the_first_sample_at_which_it_is_quicker():
    def student(n):
        return 40.0 + 20_000 * 36 * 40e-6 + n * 40e-6

    assert math.isclose(RIGHT["ratio"], 10_000 * 36 * 40e-6 / student(10_000), rel_tol=1e-12)
    for name, calls in (("pays_from", 36), ("pays_from_equal", 10)):
        n = RIGHT[name]
        assert student(n) < n * calls * 40e-6 and student(n - 1) >= (n - 1) * calls * 40e-6
    assert RIGHT["claim"] == "fails"
    spent = dict(training=7.0, pairs=3000, pair_calls=12)
    assert math.isclose(solution.seconds(500, 2, 1e-3, **spent), 7.0 + 36.0 + 1.0, rel_tol=1e-12)
    assert math.isclose(solution.seconds(500, 18, 1e-3), 9.0, rel_tol=1e-12)


# --- 5.10: reflow in one dimension --------------------------------------------------------------------------

PEAKS = Mixture([0.7, 0.3], [[-0.6], [0.8]], [0.25, 0.25])


def test_the_walk_is_eulers_method_of_the_toolkit():
    z, times = normal(0, 20, 1), np.linspace(1.0, 0.0, 8)
    model = PEAKS.model(Flow())
    wanted = sample(euler, model, z, times).x
    assert torch.allclose(solution.walk(model.flow, z, 7), wanted, rtol=1e-9)


def test_the_loss_of_a_flow_is_least_squares_of_a_derivative():
    theta = normal(0, 2).requires_grad_()
    x0, z, t = (
        normal(0, 4, 3, stream=1),
        normal(0, 4, 3, stream=2),
        torch.tensor([0.1, 0.4, 0.7, 0.9]).double(),
    )

    def velocity(x, t):
        return torch.tanh(theta[0] * x + theta[1] * t[:, None])

    rows = [(1 - u) * a + u * b for u, a, b in zip(t, x0, z)]
    wanted = (
        sum(((velocity(x[None], u[None])[0] - b + a) ** 2).sum() for x, u, a, b in zip(rows, t, x0, z)) / 12
    )
    _assert_same_loss(solution.flow_loss(velocity, x0, z, t), wanted, theta)


def test_one_step_of_the_first_flow_ends_at_the_mean():
    assert math.isclose(RIGHT["first_step"], float(PEAKS.mean()[0]), rel_tol=1e-12)
    ends = solution.walk(PEAKS.model(Flow()).flow, normal(0, 50, 1), 1)
    assert torch.allclose(ends, torch.full_like(ends, RIGHT["first_step"]), atol=1e-12)


def test_new_lines_never_cross_and_one_step_along_them_is_exact():
    z = torch.linspace(-3, 3, 200, dtype=torch.float64)[:, None]
    ends = torch.tensor([[_matched(float(one))] for one in z], dtype=torch.float64)
    for t in (0.0, 0.3, 0.9):
        assert (((1 - t) * ends + t * z).diff(dim=0) > 0).all()
    assert RIGHT["chords"] == "never" and RIGHT["again"] == "no"
    for steps in (1, 8):
        assert torch.allclose(tasks._walked(tasks._straight, z, steps), ends, atol=5e-3)  # a table


def _matched(z):
    """The data's quantile at the noise's: where a flow in one dimension leads."""

    def above(x):
        return 0.7 * norm.cdf((x + 0.6) / 0.25) + 0.3 * norm.cdf((x - 0.8) / 0.25) - norm.cdf(z)

    return brentq(above, -4, 4, xtol=1e-14)


def _trained(seed, pairs=None):
    """The notebook's own training: the network of its `reflowed`, or one trained on other (z, x_0)."""
    names = {}
    answer = source("05", "answer-5-10").partition("### BEGIN SOLUTION\nstudent")[0]
    exec("\n".join([source("05", "setup"), source("05", "two-peaks"), answer]), names)
    if pairs is None:
        return names["reflowed"](seed)
    (z, x0), network = pairs, names["small_network"](seed)
    generator = torch.Generator().manual_seed(seed)

    def loss_of_step():
        times = torch.rand(len(z), generator=generator, dtype=torch.float64)
        return solution.flow_loss(network, x0, z, times)

    return names["fit"](network, loss_of_step, steps=800)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_trained_network_passes_and_training_on_other_pairs_is_told(seed):
    def ends(student):
        return tasks._probe_reflow(SimpleNamespace(**(RIGHT | {"student": student})), seed)["student"]

    assert ends(_trained(seed)) == "in 1 near, in 8 near"
    z = normal(seed, 1000, 1)
    one_step = solution.walk(PEAKS.model(Flow()).flow, z, 1)
    assert ends(_trained(seed, (z, one_step))) == "in 1 all at one place, in 8 all at one place"


# --- 5.11: a critic -----------------------------------------------------------------------------------------


def test_the_critics_losses_are_cross_entropies():
    real, fake, wanted = normal(0, 6, 1), normal(0, 6, 1, stream=1), normal(0, 6, 1, stream=2)
    theta = normal(0, 2, stream=3).requires_grad_()

    def critic(x):
        return theta[0] + theta[1] * x

    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(6, 1).double(), torch.zeros(6, 1).double()
    wanted_loss = entropy(critic(real), ones) + entropy(critic(fake), zeros)
    _assert_same_loss(solution.critic_loss(critic, real, fake), wanted_loss, theta)
    wanted_loss = ((fake - wanted) ** 2).mean() + 0.3 * entropy(critic(fake), ones)
    _assert_same_loss(solution.student_loss(critic, fake, wanted, 0.3), wanted_loss, theta)
    maker = torch.tensor(1.0).double().requires_grad_()
    assert not torch.autograd.grad(
        solution.critic_loss(critic, real, maker * fake), maker, allow_unused=True, materialize_grads=True
    )[0]


def test_the_best_logit_is_that_of_the_densities():
    logit = _formula("best_logit", "x d q")
    for x, d, q in ((0.3, 0.5, 0.9), (1.2, 0.7, 0.4)):
        assert math.isclose(logit(x, d, q), norm.logpdf(x, scale=d) - norm.logpdf(x, scale=q), rel_tol=1e-10)


def _rest_of_duel(weight, saturated=False):
    """Where the student of one number comes to rest against the best critic of each b, by quadrature."""

    def slope(b):
        def push(z):
            logit = norm.logpdf(b * z, scale=STD) - norm.logpdf(b * z, scale=b)
            odds = 1 / (1 + math.exp(logit if not saturated else -logit))
            return odds * (1 / b**2 - 1 / STD**2) * b * z**2 * norm.pdf(z)

        return 2 * (b - 0.3) - weight * quad(push, -9, 9)[0]

    return brentq(slope, 0.3, STD, xtol=1e-13)


def test_where_student_and_critic_come_to_rest():
    assert math.isclose(RIGHT["light"], _rest_of_duel(0.2), rel_tol=1e-8)
    assert math.isclose(RIGHT["heavy"], _rest_of_duel(1.0), rel_tol=1e-8)
    assert math.isclose(tasks._SATURATED_LIGHT, _rest_of_duel(0.2, saturated=True), rel_tol=1e-8)
    assert math.isclose(tasks._SATURATED_HEAVY, _rest_of_duel(1.0, saturated=True), rel_tol=1e-8)
    assert RIGHT["mirror"] == "cannot"  # N(0, b^2) is the distribution of b z and of -b z


# --- 5.12: guidance -----------------------------------------------------------------------------------------

LABELLED, ALL = Mixture.gaussian(1, 0.25, mean=1.0), Mixture.gaussian(1, 1.0, mean=0.0)


def test_the_guided_target_mixes_two_scores():
    def predict(x, s, label):
        models = {1: LABELLED.model(EDM()), 0: ALL.model(EDM())}
        rows = zip(x, s.tolist(), label.tolist())
        return torch.cat([models[one].x0(row[None], level) for row, level, one in rows])

    x, s = normal(0, 4, 1), torch.tensor([0.2, 0.2, 3.0, 3.0]).double()
    w, label = torch.tensor([0.5, 1.0, 2.0, 4.0]).double(), torch.tensor([1, 1, 1, 1])
    result = solution.guided_target(predict, x, s, label, w)
    for row, level, scale, taught in zip(x, s.tolist(), w.tolist(), result):
        eps = scale * LABELLED.model(EDM()).eps(row[None], level)
        eps = eps + (1 - scale) * ALL.model(EDM()).eps(row[None], level)
        assert torch.allclose(taught, (row - level * eps)[0], rtol=1e-9)
    theta = torch.tensor(0.7).double().requires_grad_()

    def student(x, s, label, w):
        return theta * x + w[:, None]

    z, noisy = normal(0, 4, 1, stream=1), x + s[:, None] * normal(0, 4, 1, stream=1)
    wanted = (student(noisy, s, label, w) - solution.guided_target(predict, noisy, s, label, w)) ** 2
    _assert_same_loss(solution.guided_loss(student, predict, x, z, s, label, w), wanted.mean(), theta)


@pytest.mark.parametrize("w, d, k", [(1.0, 0.5, 1.0), (3.0, 0.5, 1.0), (2.5, 0.4, 1.2)])
def test_what_a_guided_flow_makes(w, d, k):
    def score(x, s):
        return w * norm_slope(x, 0.3, d, s) + (1 - w) * norm_slope(x, 0.0, k, s)

    def norm_slope(x, mean, std, s):
        return -(x - mean) / (std**2 + s**2)

    tilted = _formula("tilted", "w d k s")(w, d, k, 0.4)
    assert math.isclose(tilted, (score(0.0, 0.4) - score(1.0, 0.4)) ** -0.5, rel_tol=1e-9)
    start = 2000.0
    ends = solve_ivp(lambda s, x: -s * score(x, s), (start, 0.0), [0.0, start], rtol=1e-10, atol=1e-10).y
    assert math.isclose(_formula("sampled", "w d k")(w, d, k), abs(ends[1, -1] - ends[0, -1]), rel_tol=1e-4)


def test_the_states_of_a_guided_flow_are_narrower_than_noised_data():
    def slope(s, x):
        return s * (4 * x / (0.25 + s**2) - 3 * x / (1 + s**2))

    width = solve_ivp(slope, (2000.0, 0.5), [2000.0], rtol=1e-10).y[0, -1]
    assert math.isclose(RIGHT["narrow"], width / math.hypot(0.5, 0.5), rel_tol=1e-4)
    assert RIGHT["states"] == "guided"


# --- what is right in another form --------------------------------------------------------------------------


def _in_numpy(name):
    """The right function of this name, what it returns in numpy."""
    return lambda *given: RIGHT[name](*given).numpy()


class _OneCall:
    """Both losses of 5.3: f is asked once, for both levels, and the mean is a sum of squares over a count."""

    def __call__(self, f, *given):
        *teacher, x0, z, s, r = given
        x, y = (torch.addcmul(x0, level.unsqueeze(1), z) for level in (s, r))
        if teacher:
            y = (r / s).unsqueeze(1) * x + (1 - r / s).unsqueeze(1) * teacher[0](x, s).detach()
        high, low = f(torch.cat([x, y]), torch.cat([s, r])).chunk(2)
        miss = high - low.detach()
        return torch.einsum("bd,bd,b->", miss, miss, 1 / (s - r)) / miss.numel()


def _sample_by_sample(f, x0, z, s, r):
    """5.3's training loss, one sample after the other."""
    total = 0.0
    for i in range(len(x0)):
        one = slice(i, i + 1)
        with torch.no_grad():
            wanted = f(x0[one] + r[i] * z[one], r[one])
        total = total + torch.nn.functional.mse_loss(f(x0[one] + s[i] * z[one], s[one]), wanted) / (
            s[i] - r[i]
        )
    return total / len(x0)


def _walk_down(velocity, z, steps):
    """5.10's walk on a copy, in place, counting down, half of the batch at a time."""
    parts = []
    for part in z.clone().chunk(2):
        for k in range(steps, 0, -1):
            part -= velocity(part.clone(), torch.ones(len(part), dtype=z.dtype) * k / steps) / steps
        parts.append(part)
    return torch.cat(parts)


def _lerped(velocity, x0, z, t):
    """5.10's loss by torch's own names."""
    return torch.nn.functional.mse_loss(velocity(torch.lerp(x0, z, t.unsqueeze(1)), t), z - x0)


def _single(x, t):
    """A student of 5.10 that answers in float32."""
    return RIGHT["student"].make()(x, t).float()


def _one_batch(critic, real, fake):
    """5.11's loss of the critic, with one call of it, by cross-entropy."""
    truth = torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    logits = critic(torch.cat([real, fake.detach()]))
    return 2 * torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)


def _log_sigmoid(critic, fake, wanted, weight):
    """5.11's loss of the student by logsigmoid, the critic not asked where it has no weight."""
    loss = torch.nn.functional.mse_loss(fake, wanted)
    return loss - weight * torch.nn.functional.logsigmoid(critic(fake)).mean() if weight else loss


def _lerped_target(predict, x, s, label, w):
    """5.12's target from one call of twice the rows."""
    both = predict(torch.cat([x, x]), torch.cat([s, s]), torch.cat([0 * label, label]))
    return torch.lerp(*both.chunk(2), w.reshape(-1, 1))


def _numpy_target(predict, x, s, label, w):
    """5.12's target as a list of numpy rows, one sample after the other."""
    rows = []
    for i in range(len(x)):
        one = slice(i, i + 1)
        none, named = (
            predict(x[one], s[one], names).detach().numpy() for names in (0 * label[one], label[one])
        )
        rows.append(((1 - w[i].item()) * none + w[i].item() * named)[0])
    return np.array(rows)


@pytest.mark.parametrize(
    "task, answers",
    [
        ("5.1", {"consistency_function": lambda *given: RIGHT["consistency_function"](*given).tolist()}),
        ("5.2", {"two_step_target": _in_numpy("two_step_target")}),
        ("5.8", {"refine": _in_numpy("refine")}),
        ("5.3", {"training_loss": _OneCall(), "distillation_loss": _OneCall()}),
        ("5.3", {"training_loss": _sample_by_sample}),
        ("5.10", {"walk": _walk_down, "flow_loss": _lerped, "first_step": np.float32(-0.18)}),
        ("5.10", {"student": _single, "first_step": torch.tensor([-0.18])}),
        ("5.11", {"critic_loss": _one_batch, "student_loss": _log_sigmoid, "mirror": " Cannot"}),
        ("5.12", {"guided_target": _lerped_target, "sampled": "exp(w*log(d) + (1 - w)*log(k))"}),
        ("5.12", {"guided_target": _numpy_target, "narrow": "0.253"}),
    ],
)
def test_other_forms_of_a_right_answer_are_done(task, answers):
    right = {
        name: one.make() if isinstance(one, Made) else one for name, one in _task(task).reference.items()
    }
    verdict = judge(task, **{**right, **answers})
    assert verdict.state == "done", verdict.sentence


def _task(number):
    return next(task for task in tasks.TASKS if task.id == number)


def test_a_wrong_formula_is_named_though_others_are_made_of_it():
    """Of the tasks whose later answers a student computes from the earlier ones."""
    once = judge("5.2", **_task("5.2").reference | {"target": "(y - s_s/s_t*x)/a_s", "amplify": "1/a_s"})
    assert once.kind == "mistake" and once.sentence.endswith(tasks._FOLLOWS + ")")
    d, k, s, w = 0.5, 1.0, 0.5, 4
    there = (k**2 + s**2) ** ((w - 1) / 2) * (d**2 + s**2) ** ((2 - w) / 2)  # the exponents turned round
    wrong = {"sampled": "d*(k/d)**(w - 1)", "narrow": there / math.hypot(d, s)}
    turned = judge("5.12", **_task("5.12").reference | wrong)
    assert turned.kind == "mistake" and "will follow" in turned.sentence
