"""Chapter 8: practice."""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch
from scipy import stats

from book.ch08 import experiments
from book.ch08.experiments import GIVEN, LINE, LINE_MODEL, MASK, PAIR, PEAKS
from book.contest.scoring import Interval
from tests.book.notebooks.equations import equation
from toolkit import EDM, VP, Flow, Guided, Mixture, VPCosine, grids, initial_noise, sample
from toolkit.conditions import ClassifierGuided, Reconstructed, class_log_prob, conditioned, inpaint, tilted
from toolkit.convergence import exact_variance, reference
from toolkit.ddim import ddim, ddim_adaptive, ddim_coefficients, step_error
from toolkit.masked import Strings, bound, even
from toolkit.metrics import gaussian_w2_squared, nearest_neighbour_ratio
from toolkit.noise import Replay
from toolkit.practice import allocate, break_even, difficulty, most_to_gain, relay
from toolkit.scales import PrincipalLatents, enlarge, noise_error_at_scale, restart, shrink

# --- choosing a sampler ---------------------------------------------------------------------------------

RING = Mixture.ring(8)


@equation("practice.bill")
def the_bill():
    """Two totals of seconds cross where it says, and nowhere else."""
    training, slow, fast = 90.0, 2e-4, 1e-5
    n = break_even(training, slow, fast)
    assert n == pytest.approx(training / (slow - fast))
    for factor, learner_is_dearer in ((0.9, True), (1.1, False)):
        assert (training + factor * n * fast > factor * n * slow) is learner_is_dearer


@equation("practice.schedule")
def the_path_knows_no_schedule():
    """Equal steps in t on one schedule are the same run on another, at the times with the same levels."""
    x = initial_noise(20, 2, 0, torch.float64)
    times = grids.uniform(VP(), 7)
    lam = torch.as_tensor(VP().lam(times.numpy()))
    y = x / VP().alpha(1.0)
    here = sample(ddim, RING.model(VP()), x, times).x / VP().alpha(float(times[-1]))
    for other in (EDM(), Flow(), VPCosine()):
        there = [float(t) for t in other.t_of_lam(lam)]
        run = sample(ddim, RING.model(other), other.alpha(there[0]) * y, there)
        assert torch.allclose(run.x / other.alpha(there[-1]), here, atol=1e-6), other


@equation("practice.rho")
def steps_in_a_stretch():
    """The density of Karras' levels, counted on a fine grid, for several rho."""
    schedule, steps = EDM(), 20_000
    for rho in (1.0, 3.0, 7.0, 30.0):
        levels = grids.karras(schedule, steps, rho=rho).numpy()
        for level in (0.05, 1.0, 20.0):
            counted = ((levels > level * 0.95) & (levels < level * 1.05)).sum() / math.log(1.05 / 0.95)
            ends = levels[0] ** (1 / rho) - levels[-1] ** (1 / rho)
            wanted = steps * level ** (1 / rho) / rho / ends
            assert counted == pytest.approx(wanted, rel=0.03, abs=12)


@equation("practice.skipped")
def the_start_that_is_skipped():
    """The Wasserstein distance of two Gaussians, by the general formula, and its leading term."""
    for t in (1.0, 0.9, 0.6, 0.3):
        alpha2, one, std = VP().alpha(t) ** 2, np.eye(1), 0.7
        there = alpha2 * std**2 + VP().sigma(t) ** 2
        exact = math.sqrt(gaussian_w2_squared(np.zeros(1), one, np.zeros(1), one * there))
        assert exact == pytest.approx(abs(1 - math.sqrt(1 - alpha2 * (1 - std**2))), abs=1e-9)
        if alpha2 < 0.01:
            assert exact == pytest.approx(alpha2 * (1 - std**2) / 2, rel=0.01)


@equation("practice.variance")
def the_variance_of_a_relay():
    """The recursion, against the variance that `exact_variance` has from the sampler itself."""
    schedule, std = VP(), 0.4
    times = grids.uniform_lambda(schedule, 6)
    etas = (0.0, 1.0, 0.3, 0.7, 0.0, 1.0)
    a, b, _ = ddim_coefficients(schedule, times)
    grid = times.tolist()
    value = (schedule.alpha(grid[0]) * std) ** 2 + schedule.sigma(grid[0]) ** 2
    for n, eta in enumerate(etas):
        (a,), (b,), (c,) = ddim_coefficients(schedule, grid[n : n + 2], eta)
        alpha, sigma = schedule.alpha(grid[n]), schedule.sigma(grid[n])
        value = (a + b * sigma / (alpha**2 * std**2 + sigma**2)) ** 2 * value + c**2
    one = relay(*((ddim, 1, {"eta": eta}) for eta in etas))
    assert exact_variance(one, schedule, times, std) == pytest.approx(value)


@equation("practice.disagreement")
def two_orders():
    """DDIM's step misses the flow by the disagreement, to leading order."""
    model, t, schedule = RING.model(VP()), 0.5, VP()
    start = initial_noise(50, 2, 1, torch.float64)
    x = reference(model, start, 1.0, t)
    lam, kappa = float(schedule.lam(t)), math.exp(-float(schedule.lam(t)))
    back = float(schedule.t_of_lam(lam - 1e-4))
    slope = (model.eps(x, t) - model.eps(reference(model, x, t, back), back)) / 1e-4
    for h in (0.02, 0.01):
        s = float(schedule.t_of_lam(lam + h))
        missed = (sample(ddim, model, x, [t, s]).x - reference(model, x, t, s)) / schedule.alpha(s)
        told = kappa * step_error(h) * slope
        assert (missed - told).norm() < 2 * h * told.norm()


@equation("practice.step")
def the_step_that_is_solved_for():
    """Every step of `ddim_adaptive` but the limited ones makes the disagreement equal to what is allowed."""
    model, schedule, tol = RING.model(VP()), VP(), 0.01
    run = sample(
        ddim_adaptive, model, initial_noise(1, 2, 3, torch.float64), [1.0, 1e-3], tol=tol, keep_path=True
    )
    lam = schedule.lam(np.array(run.times))
    met = 0
    for n in range(1, len(lam) - 2):
        eps = [model.eps(run.path[k], run.times[k]) for k in (n - 1, n)]
        slope = float(((eps[1] - eps[0]) / (lam[n] - lam[n - 1])).square().mean().sqrt())
        kappa, h = math.exp(-lam[n]), lam[n + 1] - lam[n]
        share = kappa * step_error(h) * slope / (tol * math.hypot(1, kappa))
        assert share < 1 + 1e-6
        assert share > 1 - 1e-6 or h == pytest.approx(1.5 * (lam[n] - lam[n - 1]), rel=1e-6)
        met += share > 1 - 1e-6
    assert met


@equation("practice.division")
def the_best_division():
    """No small transfer of steps between two samples makes the sum of squares smaller."""
    d, order, mean = np.array([0.2, 1.0, 3.0, 0.7]), 2, 40.0
    loss = lambda n: float(((d / n**order) ** 2).sum())  # noqa: E731
    n = mean * d ** (2 / (2 * order + 1)) / (d ** (2 / (2 * order + 1))).mean()
    for i in range(4):
        for j in range(4):
            moved = n.copy()
            moved[i] += 0.01
            moved[j] -= 0.01
            assert loss(moved) >= loss(n)
    assert math.sqrt(loss(np.full(4, mean)) / loss(n)) == pytest.approx(most_to_gain(d, order))
    assert np.allclose(allocate(d, mean, order), n, atol=1)
    assert difficulty(RING.model(VP()), initial_noise(3, 2, 0, torch.float64), [1.0, 0.5, 0.1]).shape == (3,)


# --- conditions -----------------------------------------------------------------------------------------

DOUBLE = {"dtype": torch.float64}
STATES = initial_noise(6, 1, 3, **DOUBLE)


def slope_of(function, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


@equation("cond.bayes")
def bayes():
    """The classifier's slope is what parts the two scores, and class_log_prob has it."""
    said = class_log_prob(LINE_MODEL, 1)
    added = slope_of(lambda x: said(x, 0.4), STATES)
    wanted = LINE_MODEL.with_label(1).score(STATES, 0.4)
    assert torch.allclose(LINE_MODEL.score(STATES, 0.4) + added, wanted, atol=1e-10)


@equation("cond.average")
def average():
    """By quadrature over x_0: the mean of the clean classifier is the one that knows the noise."""
    t, x0 = 0.4, experiments.WHERE
    alpha, sigma = LINE_MODEL.schedule.alpha(t), LINE_MODEL.schedule.sigma(t)
    weight = torch.softmax(LINE.log_prob(x0) - ((STATES - alpha * x0[:, 0]) / sigma) ** 2 / 2, 1)
    clean = (tilted(LINE, 1, 1.0, x0) - LINE.log_prob(x0)).exp()
    assert torch.allclose(weight @ clean, class_log_prob(LINE_MODEL, 1)(STATES, t).exp(), atol=1e-8)


@equation("cond.classifier")
def classifier():
    said, t = class_log_prob(LINE_MODEL, 1), 0.4
    made = ClassifierGuided(LINE_MODEL, said, 3.0).eps(STATES, t)
    step = 3.0 * LINE_MODEL.schedule.sigma(t) * slope_of(lambda x: said(x, t), STATES)
    assert torch.allclose(made, LINE_MODEL.eps(STATES, t) - step, atol=1e-10)


@equation("cond.free")
def free():
    """Without a classifier it is the same, and `Guided`."""
    null, given = LINE_MODEL.eps(STATES, 0.4), LINE_MODEL.with_label(1).eps(STATES, 0.4)
    wanted = null + 3.0 * (given - null)
    assert torch.allclose(Guided(LINE_MODEL, 1, 3.0).eps(STATES, 0.4), wanted)
    guided = ClassifierGuided(LINE_MODEL, class_log_prob(LINE_MODEL, 1), 3.0)
    assert torch.allclose(guided.eps(STATES, 0.4), wanted, atol=1e-10)


@equation("cond.tilted")
def tilted_density():
    """Both forms are one density; its score is the guided one's where there is no noise, and the right term
    has its diffused score where there is."""
    x, w = experiments.WHERE, 3.0
    given = Mixture([1.0], [[1.0]], [0.5]).log_prob(x)
    ratio = tilted(LINE, 1, w, x) - (w * given + (1 - w) * LINE.log_prob(x))
    assert torch.allclose(ratio, ratio[:1].expand(len(x)), atol=1e-9)
    t = 1e-4
    score = slope_of(lambda x: tilted(LINE, 1, w, x), STATES)
    assert torch.allclose(Guided(LINE_MODEL, 1, w).score(STATES, t), score, atol=1e-2)
    t = 0.4
    alpha, sigma = LINE_MODEL.schedule.alpha(t), LINE_MODEL.schedule.sigma(t)
    data = torch.softmax(tilted(LINE, 1, w, x), 0)
    near = torch.softmax(data.log() - ((STATES - alpha * x[:, 0]) / sigma) ** 2 / 2, 1)
    diffused = (alpha * (near @ x) - STATES) / sigma**2
    assert torch.allclose(experiments.right_term(w).score(STATES, t), diffused, atol=1e-6)
    assert (Guided(LINE_MODEL, 1, w).score(STATES, t) - diffused).abs().max() > 0.1


@equation("cond.posterior")
def posterior():
    root = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), **DOUBLE)
    data = Mixture([1.0], [[0.3, -0.2, 0.1]], covariances=(root @ root.T)[None])
    y, level = torch.tensor([0.5, -1.0, 0.0], **DOUBLE), torch.tensor([0.0, 0.4, math.inf])
    A, C, mean = torch.eye(3, **DOUBLE)[:2], data.covariances[0], data.means[0]
    G = C @ A.T @ torch.linalg.inv(A @ C @ A.T + torch.diag(torch.tensor([0.0, 0.16], **DOUBLE)))
    found = conditioned(data, y, level)
    assert torch.allclose(found.means[0], mean + G @ (y[:2] - A @ mean))
    assert torch.allclose(found.covariances[0], C - G @ A @ C, atol=1e-12)


@equation("cond.replace")
def replace():
    """After a step of `inpaint` the known pixel is alpha_s y + sigma_s z, z the noise that it was given, and
    the other is DDIM's."""
    model, (t, s) = PAIR.model(VP()), (0.7, 0.5)
    x, z = initial_noise(4, 2, 0, **DOUBLE), [initial_noise(4, 2, seed, **DOUBLE) for seed in range(4)]
    run = sample(inpaint, model, x, [t, s], draws=Replay(z), known=GIVEN["pair"], level=MASK)
    alpha, sigma = model.schedule.alpha, model.schedule.sigma
    assert torch.allclose(run.x[:, 0], alpha(s) * 0.5 + sigma(s) * z[2][:, 0])
    start = torch.where(MASK, alpha(t) * 0.5 + sigma(t) * z[0], x)
    step = sample(ddim, model, start, [t, s], eta=1.0, draws=Replay([z[1]])).x
    assert torch.allclose(run.x[:, 1], step[:, 1])


@equation("cond.estimate")
def estimate():
    """With any variance, the derivative by differences."""
    model, t, x = PEAKS.model(VP()), 0.4, initial_noise(5, 2, 1, **DOUBLE)
    alpha, sigma, h = model.schedule.alpha(t), model.schedule.sigma(t), 1e-5
    steps = h * torch.eye(2, **DOUBLE)
    rows = [(model.x0(x + step, t) - model.x0(x - step, t))[:, 0] / (2 * h) for step in steps]
    x0, r2 = model.x0(x, t), (sigma / alpha) ** 2
    miss = (GIVEN["peaks"][0] - x0[:, :1]) / r2
    wanted = x0 + sigma**2 / alpha * torch.stack(rows, 1) * miss
    made = Reconstructed(model, GIVEN["peaks"], MASK).x0(x, t)
    assert torch.allclose(made, wanted, atol=1e-6)


@equation("cond.spread")
def spread():
    """The covariance of x_0 given x_t is kappa^2 alpha dx0/dx, here the first pixel's in closed form; and all
    three are what `Reconstructed` divides by."""
    model, t, x = PAIR.model(VP()), 0.4, initial_noise(5, 2, 1, **DOUBLE)
    alpha, sigma = model.schedule.alpha(t), model.schedule.sigma(t)
    C, kappa = PAIR.covariances[0], sigma / alpha
    left = C - C @ torch.linalg.inv(C + kappa**2 * torch.eye(2, **DOUBLE)) @ C
    row = slope_of(lambda x: model.x0(x, t)[:, 0], x)
    assert torch.allclose(kappa**2 * alpha * row, left[0].expand(5, 2))
    miss = GIVEN["pair"][0] - model.x0(x, t)[:, :1]
    for std, r2 in ((None, kappa**2), (0.3, kappa**2 * 0.09 / (kappa**2 + 0.09)), ("model", left[0, 0])):
        made = Reconstructed(model, GIVEN["pair"], MASK, std=std).x0(x, t)
        assert torch.allclose(made, model.x0(x, t) + sigma**2 / alpha * row * miss / r2)


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------

WORDS = Strings({"abc": 5, "abb": 3, "cab": 2, "bbc": 1})


@equation("scales.average")
def the_mean_of_a_block_has_noise_smaller_by_its_side():
    """The mean of f^2 independent variances sigma^2 has sigma^2 / f^2; and `shrink` takes that mean."""
    for factor in (2, 4):
        block = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
        weights = torch.autograd.functional.jacobian(lambda x, f=factor: shrink(x, f)[0, 0, 0, 0], block)
        assert float(weights.square().sum()) == pytest.approx(1 / factor**2)


@equation("scales.restart")
def the_restart_is_a_state_of_the_forward_process():
    generator = torch.Generator().manual_seed(0)
    preview, noise = (
        torch.rand(3, 1, 7, 7, generator=generator),
        torch.randn(3, 1, 28, 28, generator=generator),
    )
    for schedule, t in ((VP(), 0.3), (EDM(), 1.4)):
        x = restart(schedule, preview, 4, t, noise)
        torch.testing.assert_close(x, schedule.alpha(t) * enlarge(preview, 4) + schedule.sigma(t) * noise)


@equation("latents.lost")
def what_principal_latents_lose_is_the_variance_left_out():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(50, 1, 4, 4, generator=generator, dtype=torch.float64) ** 3
    values = torch.linalg.eigvalsh(torch.cov(images.flatten(1).T, correction=0)).flip(0)
    for k in (1, 7, 15):
        latents = PrincipalLatents(images, k)
        lost = (latents.decode(latents.encode(images)) - images).square().flatten(1).sum(1).mean()
        torch.testing.assert_close(lost, values[k:].sum())


@equation("latents.scale")
def the_least_error_of_eps_by_projection():
    """E[eps x]^2 / E[x^2] is what the best guess explains of eps."""
    s, alpha, sigma = sympy.symbols("s alpha sigma", positive=True)
    left = 1 - sigma**2 / (alpha**2 * s**2 + sigma**2)
    assert sympy.simplify(left - noise_error_at_scale(s, alpha, sigma)) == 0
    assert sympy.limit(noise_error_at_scale(s, alpha, sigma), s, 0) == 0
    assert sympy.simplify(sympy.diff(left, s)).is_positive


@equation("speed.rest")
def a_rounded_product_moves_the_root_of_the_rest():
    """To first order: d sqrt(1 - a) / sqrt(1 - a) = -a / (2 (1 - a)) da / a."""
    a, d = sympy.symbols("a d", positive=True)
    change = sympy.diff(sympy.log(sympy.sqrt(1 - a * (1 + d))), d).subs(d, 0)
    assert sympy.simplify(change + a / (2 * (1 - a))) == 0
    near_one = np.float32(1 - 1e-4)
    exact = math.sqrt(1 - float(near_one))
    assert abs(math.sqrt(1 - float(np.nextafter(near_one, np.float32(0)))) / exact - 1) == pytest.approx(
        2**-24 / (2e-4), rel=0.01
    )


@equation("masked.step")
def reveals_of_many_steps_are_one_reveal():
    """Steps 1 -> 2 -> 3 of levels a < b < c leave a mask with (1 - c) / (1 - a), as one step does; and `even`
    has these shares."""
    a, b, c = sympy.symbols("a b c")
    share = lambda low, high: (high - low) / (1 - low)  # noqa: E731
    both = (1 - share(a, b)) * (1 - share(b, c))
    assert sympy.simplify(both - (1 - share(a, c))) == 0
    masked = torch.ones(1, 3, dtype=torch.bool)
    for n, rule in enumerate(even(5)):
        ((_, found),) = rule(None, masked)
        assert found[0, 0] == pytest.approx(share(n / 5, (n + 1) / 5))


@equation("masked.bound")
def the_bound_is_the_entropy_and_the_dependence_of_what_is_drawn_at_once():
    """In one step all letters are drawn from their own laws: the excess is their total correlation.  In two,
    it is summed by hand over what is masked and what is revealed."""
    p, tokens = WORDS.probabilities, WORDS.tokens
    entropy = -float(p @ p.log())

    def dependence(seen, drawn):
        """E of sum_i H(x_i | seen) - H(x_drawn | seen), over the words."""
        conditional = lambda places: sum(  # noqa: E731
            -float(p[w]) * math.log(share(places + seen, w) / share(seen, w)) for w in range(len(p))
        )
        share = lambda places, w: float(  # noqa: E731
            p[(tokens[:, places] == tokens[w, places]).all(1)].sum()
        )
        return sum(conditional([i]) for i in drawn) - conditional(drawn)

    assert bound(WORDS, 1) - entropy == pytest.approx(dependence([], [0, 1, 2]))
    two = 0.0
    for kept in itertools.product(
        (False, True), repeat=3
    ):  # revealed by the first of two even steps, 1/8 each
        first, second = [i for i in range(3) if kept[i]], [i for i in range(3) if not kept[i]]
        two += (dependence([], first) + dependence(first, second)) / 8
    assert bound(WORDS, 2) - entropy == pytest.approx(two)


@equation("measures.bias")
def the_bias_of_the_frechet_distance_for_large_n():
    found = experiments.bias_of_distance()
    for measured, formula in list(zip(found["measured"][1], found["d/n + d(d+1)/4n"][1]))[2:]:
        assert measured == pytest.approx(formula, rel=0.1)
    d = 64
    assert experiments.bias_of_moments(np.ones(d), 7) == pytest.approx((d + d * (d + 1) / 4) / 7)
    values, n, rng = np.geomspace(5, 0.1, 8), 500, np.random.default_rng(1)
    sets = rng.standard_normal((200, n, 8)) * np.sqrt(values)
    moments = ((x.mean(0), np.cov(x, rowvar=False)) for x in sets)
    found = [gaussian_w2_squared(*one, np.zeros(8), np.diag(values)) for one in moments]
    assert np.mean(found) == pytest.approx(experiments.bias_of_moments(values, n), rel=0.2)


@equation("scales.hidden")
def two_normals_of_one_deviation_differ_by_their_means():
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 10, generator=generator, dtype=torch.float64)
    normal = lambda mean: torch.distributions.Normal(mean, 1.4)  # noqa: E731
    found = torch.distributions.kl_divergence(normal(one), normal(two)).sum()
    torch.testing.assert_close(found, (one - two).square().sum() / (2 * 1.4**2))


# --- the contest ----------------------------------------------------------------------------------------


@equation("contest.ratio")
def nearest_ratio():
    """By hand on points of small whole numbers, and beside an independent search over all pairs."""
    data = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 6.0]])
    halfway = (data[1:2] + data[2:]) / 2
    assert nearest_neighbour_ratio(halfway, data)[0] == pytest.approx(0.5)
    rng = np.random.default_rng(4)
    x, data = rng.standard_normal((20, 3)), rng.standard_normal((30, 3))
    apart = np.linalg.norm(data[:, None] - data[None], axis=-1) + 1e9 * np.eye(30)
    to = np.linalg.norm(x[:, None] - data[None], axis=-1)
    wanted = to.min(1) / apart.min(1)[to.argmin(1)]
    assert nearest_neighbour_ratio(x, data) == pytest.approx(wanted)


@equation("contest.interval")
def interval_of_logarithms():
    """Covers the median of a log-normal in 95 of 100 triples, and equals scipy's."""
    rng = np.random.default_rng(3)
    logs = 0.7 * rng.standard_normal((2000, 3))
    found = [Interval.of(np.exp(row)) for row in logs]
    assert np.mean([one.low < 1 < one.high for one in found]) == pytest.approx(0.95, abs=0.02)
    low, high = stats.t.interval(0.95, 2, logs[0].mean(), stats.sem(logs[0]))
    got = [math.log(value) for value in (found[0].mean, found[0].low, found[0].high)]
    assert got == pytest.approx([logs[0].mean(), low, high])
    assert stats.t.ppf(0.975, 2) / math.sqrt(3) == pytest.approx(2.5, abs=0.02)
