"""The book's own answers to exercise 08 against the toolkit, closed forms and formulas written again."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from scipy.stats import entropy, norm
from sympy import lambdify, sympify

from book.ch08 import solution, tasks
from book.lessons import normal, read_axes
from tests.solution_cells import says
from toolkit import EDM, VP, Mixture, grids, initial_noise
from toolkit.conditions import GuidedBetween, conditioned, inpaint
from toolkit.convergence import exact_variance
from toolkit.ddim import ddim
from toolkit.masked import Strings, each, even, law, total_variation
from toolkit.metrics import frechet_from_features
from toolkit.noise import Replay
from toolkit.practice import break_even, frontier
from toolkit.sampling import sample_last
from toolkit.sde import euler_maruyama

RIGHT = {name: value for task in tasks.TASKS for name, value in task.reference.items()}
FEW = EDM(sigma_min=0.02, sigma_max=20.0)


def _formula(name, symbols):
    """The right formula of this name as a function of floats."""
    return lambdify(symbols.split(), sympify(str(RIGHT[name])))


def _as_given(task, name):
    """The listing that the exercise hands out."""
    return next(mistake.answer[name] for mistake in task.mistakes if mistake.as_given)


# --- 8.1: the front -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_the_toolkits_where_no_pair_is_there_twice(seed):
    draws = np.random.default_rng(seed)
    points = {f"{i}": tuple(pair) for i, pair in enumerate(draws.integers(0, 9, (12, 2)).tolist())}
    once = {pair: name for name, pair in points.items()}
    alone = {name: pair for pair, name in once.items()}
    assert solution.front(alone) == frontier(alone)
    both = solution.front(points)
    assert {points[name] for name in both} == {alone[name] for name in frontier(alone)}
    assert len(both) == sum(pair in {points[name] for name in both} for pair in points.values())


def test_the_line_goes_through_the_front():
    seen = read_axes(solution.draw({"a": (1, 0.9), "b": (4, 0.2), "c": (2, 0.95), "d": (3, 0.5)}))
    assert [list(part) for part in seen.lines["front"]] == [[1, 3, 4], [0.9, 0.5, 0.2]]


def test_who_ties_by_hand():
    best = [
        1.0,
        2.0,
        3.0,
        6.0,
    ]  # differences 1, 1, 1, 1.2; then 0, 1, -1, 0.4; then of mean 1 and deviation 1
    scores = {"no": [2.0, 3.0, 4.0, 7.2], "yes": [1.0, 3.0, 2.0, 6.4], "best": best}
    gaps = np.array([1.1, -1.1, 0.4, -0.4]) / np.std([1.1, -1.1, 0.4, -0.4], ddof=1)
    scores |= {"at 0.99": (best + gaps + 0.99).tolist(), "at 1.01": (best + gaps + 1.01).tolist()}
    assert sorted(solution.leaders(scores)) == ["at 0.99", "best", "yes"]


def test_the_bill_is_the_toolkits():
    for bill in ((90.0, 0.03, 0.002), (5.0, 0.1, 0.1), (5.0, 0.1, 0.2)):
        assert solution.pays_from(*bill) == break_even(*bill)
    n = RIGHT["samples"]
    assert math.isclose(90 + n * 0.4e-3, n * 20 * 0.4e-3)


# --- 8.2: steps that follow the sample ----------------------------------------------------------------------


def test_with_steps_of_one_length_it_is_the_toolkits_method():
    x, said = 1 + normal(0, 3, 2), normal(0, 3, 2, stream=1)
    noises = [normal(0, 3, 2, stream=k) for k in range(2, 42)]
    queue = iter(noises)
    mine = solution.adaptive(lambda x, t: said, x, 0.2, lambda: next(queue))  # no change of mind
    model = SimpleNamespace(schedule=VP(), eps=lambda x, t: said)
    times = np.linspace(1, 0.2, 41).tolist()
    wanted = sample_last(euler_maruyama(model, x, times, rng=Replay(noises)))
    assert torch.allclose(mine, wanted, rtol=1e-8) and next(queue, None) is None


def test_a_step_is_shorter_where_the_model_changes_its_mind():
    asked = []
    solution.adaptive(lambda x, t: asked.append(t) or 0 * x + 3 * t, torch.zeros(2, 1), 0.5, lambda: 0.0)
    steps = np.diff(asked)
    assert np.allclose(steps[0], -0.02) and np.allclose(-steps[1:], 0.02 / (1 + 15 * -steps[:-1]))
    assert asked[-1] > 0.5


def _moments(bug, m, d, variance=1.0, end=0.05, step=0.002):
    """(mean, variance) at the end of a walk with one of the mistakes, or none; equal steps."""
    schedule, mean, t = VP(), 0.0, 1.0
    while t > end + 1e-9:
        moved = t - step if bug == "time" else t
        alpha, sigma, beta = (float(part(moved)) for part in (schedule.alpha, schedule.sigma, schedule.beta))
        signal, noise = float(schedule.alpha(t)), float(schedule.sigma(t))
        size = signal**2 * d**2 + noise**2  # the model is asked at t
        divisor = math.sqrt(beta) if bug == "bar" else sigma
        slope = 1 + step * beta * (0.5 - noise / size / divisor)
        mean = slope * mean + step * beta * noise / size / divisor * signal * m
        fresh = beta * step**2 if bug == "noise" else beta * step
        variance, t = slope**2 * variance + fresh, moved - step
    return mean, variance


def test_what_the_two_tests_see():
    sees = {bug: abs(_moments(bug, 0.0, 1.0)[1] - 1) > 0.1 for bug in ("", "bar", "time", "noise")}
    assert sees == {"": False, "bar": True, "time": False, "noise": True} and RIGHT["unseen"] == "time"
    there = float(VP().alpha(0.05)) * 2
    assert abs(_moments("", 2.0, 0.5)[0] - there) < 0.02 < 0.2 < abs(_moments("time", 2.0, 0.5)[0] - there)
    assert f"{_moments('time', 2.0, 0.5)[0]:.1f} for {there:.2f}" == "1.5 for 1.97"  # as why-8-2 has it
    for bug in ("", "time"):
        assert abs(_moments(bug, 0.0, 1.0, variance=4.0)[1] - 1) < 0.1
    assert RIGHT["sees_it"] == "mean"
    assert math.isclose(float(VP().beta(RIGHT["signal_ends"])), 1)


# --- 8.3: noise early or late -------------------------------------------------------------------------------


def test_the_step_with_noise_is_the_toolkits():
    model, x, levels = Mixture.ring(4).model(EDM()), 3 * normal(0, 5, 2), [5.0, 2.0, 0.7, 0.1]
    noises = [normal(0, 5, 2, stream=k) for k in (1, 2, 3)]
    for eta in (0.0, 0.6, 1.0):
        mine = solution.eta_walk(model.eps, x, levels, [eta] * 3, noises)
        wanted = sample_last(ddim(model, x, levels, eta=eta, rng=Replay(noises)))
        assert torch.allclose(mine, wanted, rtol=1e-9)


def test_the_deviations_of_a_narrow_mode():
    levels = grids.karras(FEW, 16)
    for name, eta in (("std_plain", 0.0), ("std_full", 1.0)):
        wanted = exact_variance(ddim, FEW, levels, 0.08, **({"eta": eta} if eta else {}))
        assert math.isclose(RIGHT[name], math.sqrt(wanted), rel_tol=1e-6)
    levels = levels.tolist()
    bell = Mixture([1.0], [[0.0]], [0.08]).model(FEW)

    def gains(etas):
        """How a start of 1 and each noise of 1 come out, squared, from runs of their own."""
        zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
        ends = [solution.eta_walk(bell.eps, one, levels, etas, [zero] * 16)]
        for k in range(16):
            noises = [one if i == k else zero for i in range(16)]
            ends.append(solution.eta_walk(bell.eps, zero, levels, etas, noises))
        return [end.item() ** 2 for end in ends]

    formula = [(1 - k / 16) ** 2 for k in range(16)]  # (t / T)^2 at t / T = 1 - k / 16
    for name, etas in (("std_published", formula), ("std_turned", formula[::-1])):
        start, *fresh = gains(etas)
        assert math.isclose(RIGHT[name] ** 2, start * (0.08**2 + 400) + sum(fresh), rel_tol=1e-6)
    start, *fresh = gains([1.0] * 16)
    first = start * (0.08**2 + 400) + sum(fresh[:8])
    assert math.isclose(RIGHT["remembered"], first / (first + sum(fresh[8:])), rel_tol=1e-6)
    assert RIGHT["published"] == "early" and formula[0] > formula[-1]
    says("08", "why-8-3", f"{RIGHT['std_published']:.4f}", f"{RIGHT['std_turned']:.3f}", "half of a per cent")


# --- 8.4: guidance in one call ------------------------------------------------------------------------------


def test_guidance_is_the_toolkits():
    ring = Mixture.ring(4)
    model = Mixture(ring.weights, ring.means, ring.stds, labels=[0, 1, 2, 3]).model(EDM())
    x, label = 2 * normal(0, 6, 2), torch.tensor([0, 3, 1, 2, 2, 0])

    def net(x, s, label):  # 9 stands for none
        given, free = model.with_label(label.clamp(max=3)).eps(x, s), model.with_label(None).eps(x, s)
        return torch.where((label == 9)[:, None], free, given)

    for s in (0.2, 0.4, 1.0, 3.0):
        wanted = GuidedBetween(model, label, 2.5, 0.2, 1.0).eps(x, s)
        assert torch.allclose(solution.guided(net, x, s, label, 2.5, 9, 0.2, 1.0), wanted, rtol=1e-9)


def test_what_guidance_costs_and_how_it_is_written():
    calls = sum(1 + (0.3 < s <= 3) for s in grids.karras(EDM(), 20).tolist()[:-1])
    assert RIGHT["rows"] == calls and RIGHT["theirs"] == 4 - 1 and RIGHT["networks"] == 1
    label, u = torch.arange(1000) % 10, torch.linspace(0, 1, 1000)
    found = solution.dropped(label, u, 0.15, 10)
    assert (found == 10).sum() == 150 and torch.equal(found[150:], label[150:])


# --- 8.5: what guidance samples -----------------------------------------------------------------------------


@pytest.mark.parametrize("m, d, D, w", [(0.7, 0.5, 1.3, 3.0), (1.5, 0.8, 1.1, 2.2), (1.0, 0.4, 1.8, 1.0)])
def test_the_flow_of_guidance_ends_where_the_formulas_say(m, d, D, w):
    score = _formula("guided_score", "x k m d D w")
    own, all_ = (norm(m, math.hypot(d, 0.8)), norm(0, math.hypot(D, 0.8)))
    log_density = lambda x: (1 - w) * all_.logpdf(x) + w * own.logpdf(x)
    assert math.isclose(
        score(0.3, 0.8, m, d, D, w), (log_density(0.3001) - log_density(0.2999)) / 2e-4, rel_tol=1e-5
    )
    K = 3000.0

    def end(x):
        flow = lambda k, x: -k * score(x, k, m, d, D, w)
        return solve_ivp(flow, (K, 0), [x], rtol=1e-9, atol=1e-10).y[0, -1]

    low, high = end(0.0), end(K)
    assert math.isclose(high - low, _formula("guided_std", "d D w")(d, D, w), rel_tol=1e-3)
    if w == 3:
        assert math.isclose(low, _formula("guided_mean", "m d D")(m, d, D), rel_tol=1e-3)


@pytest.mark.parametrize("m, d, D, w", [(0.7, 0.5, 1.3, 3.0), (1.5, 0.8, 1.1, 2.2)])
def test_the_tilted_density(m, d, D, w):
    density = lambda x: norm(0, D).pdf(x) ** (1 - w) * norm(m, d).pdf(x) ** w
    whole, first, second = (quad(lambda x, p=p: x**p * density(x), -9, 9, epsabs=1e-13)[0] for p in (0, 1, 2))
    mean, std = first / whole, math.sqrt(second / whole - (first / whole) ** 2)
    assert math.isclose(_formula("tilted_mean", "m d D w")(m, d, D, w), mean, rel_tol=1e-6)
    assert math.isclose(_formula("tilted_std", "d D w")(d, D, w), std, rel_tol=1e-6)
    assert _formula("guided_std", "d D w")(d, D, w) < std and RIGHT["narrower"] == "guided"


# --- 8.6: inpainting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [1, 3])
def test_inpainting_is_the_toolkits(repeats):
    """The toolkit puts the known back at the start as well, and repeats all steps but the first."""
    model, levels = Mixture.ring(5).model(EDM()), [5.0, 2.0, 0.8, 0.1]
    known, mask = torch.tensor([0.7, 0.0], dtype=torch.float64), torch.tensor([True, False])
    drawn = [normal(0, 4, 2, stream=k) for k in range(60)]
    x = 5 * normal(0, 4, 2, stream=99)
    wanted = sample_last(
        inpaint(model, x, levels, known=known, level=mask, repeats=repeats, rng=Replay(drawn))
    )
    queue = iter(drawn)
    noise = lambda: next(queue)
    x = torch.where(mask, known + 5 * noise(), x)
    x = solution.repaint(model.x0, x, known, mask, levels[:2], 1, noise)
    mine = solution.repaint(model.x0, x, known, mask, levels[1:], repeats, noise)
    assert torch.allclose(mine, wanted, rtol=1e-8)


PAIR = Mixture([1.0], [[1.0, 0.5]], covariances=[[[1.0, 0.8], [0.8, 1.0]]])


def test_the_means_of_the_second_pixel():
    exact = conditioned(PAIR, [2.5, 0.0], [True, False])
    assert math.isclose(RIGHT["mean_exact"], exact.means[0, 1], rel_tol=1e-9)
    zero, model = torch.zeros(1, 2, dtype=torch.float64), PAIR.model(FEW)
    known, mask = torch.tensor([2.5, 0.0], dtype=torch.float64), torch.tensor([True, False])
    levels = grids.karras(FEW, 20).tolist()
    for listing in (solution.repaint, _as_given(tasks.REPAINT, "repaint")):  # the mistakes show in no mean
        for name, repeats in (("mean_once", 1), ("mean_twenty", 20)):
            mine = listing(model.x0, zero, known, mask, levels, repeats, lambda: zero)
            assert math.isclose(RIGHT[name], mine[0, 1].item(), rel_tol=1e-8)
    says("08", "why-8-6", f"{RIGHT['mean_once']:.2f}", f"{RIGHT['mean_twenty']:.2f}", "1.7", "0.600")


def _deviations(listing, repeats):
    """Of the two pixels, exactly: a row for each number that is drawn, and a last one without any."""
    levels, model = grids.karras(FEW, 20).tolist(), PAIR.model(FEW)
    known, mask = torch.tensor([2.5, 0.0], dtype=torch.float64), torch.tensor([True, False])
    rows, count = 2 * (3 * repeats * len(levels) + 1), itertools.count(0, 2)

    def noise():
        drawn, first = torch.zeros(rows + 1, 2, dtype=torch.float64), next(count)
        drawn[first, 0] = drawn[first + 1, 1] = 1
        return drawn

    x = listing(model.x0, 20 * noise(), known, mask, levels, repeats, noise)
    return (x[:-1] - x[-1]).square().sum(0).sqrt().tolist()


def test_what_the_mistakes_do_to_the_deviation():
    mended = [_deviations(solution.repaint, repeats) for repeats in (1, 20)]
    given = [_deviations(_as_given(tasks.REPAINT, "repaint"), repeats) for repeats in (1, 20)]
    assert all(wrong[0] > 1.5 * right[0] for right, wrong in zip(mended, given))
    assert given[1][1] < 0.7 * mended[1][1] and RIGHT["shows_in"] == "deviation"
    said = [f"{one[1]:.3f}" for one in (*mended, *given)] + [f"{given[0][0]:.3f}"]
    says("08", "why-8-6", *said)


# --- 8.7: the exact posterior -------------------------------------------------------------------------------


def _random_gaussian():
    a = normal(3, 4, 4)
    return 1 + normal(3, 4, stream=1), a @ a.T / 4 + 0.3 * torch.eye(4, dtype=torch.float64)


def test_the_posterior_is_the_toolkits():
    mean, covariance = _random_gaussian()
    y, data = normal(3, 4, stream=2), Mixture([1.0], mean[None], covariances=covariance[None])
    for level in ([0.0, math.inf, 0.7, 0.2], [math.inf, 0.0, 0.0, math.inf], [math.inf] * 4):
        level = torch.tensor(level, dtype=torch.float64)
        wanted, mine = conditioned(data, y, level), solution.posterior(mean, covariance, y, level)
        assert torch.allclose(mine[0], wanted.means[0]) and torch.allclose(mine[1], wanted.covariances[0])
    level, x = torch.tensor([0.4, math.inf, 0.7, 0.2], dtype=torch.float64), normal(3, 5, 4, stream=3)
    score = conditioned(data, y, level).model(EDM()).score(x, 0.8)
    assert torch.allclose(solution.given_score(mean, covariance, y, level, x, 0.8), score, rtol=1e-8)


@pytest.mark.parametrize("s, d", [(0.3, 0.8), (2.0, 0.5)])
def test_the_spread_that_makes_the_sum_exact(s, d):
    told = conditioned(Mixture([1.0], [[0.0]], [d]), [0.3], torch.tensor([s]))
    assert math.isclose(_formula("spread", "s d")(s, d), told.covariances[0, 0, 0], rel_tol=1e-6)
    x, y, share = 0.9, 0.4, d**2 / (d**2 + s**2)  # x_0 given x has the mean share x
    term = share * (y - share * x) / _formula("spread", "s d")(s, d)
    assert math.isclose(-x / (d**2 + s**2) + term, -(x - y) / s**2, rel_tol=1e-9)
    assert math.isclose(_formula("too_weak", "s d")(s, d) * _formula("spread", "s d")(s, d), s**2)


def test_the_middle_pixel():
    covariance = 0.9 ** torch.tensor([[0, 1, 2], [1, 0, 1], [2, 1, 0]]).double()
    row = Mixture([1.0], [[1.0, 0.0, -1.0]], covariances=covariance[None])
    told = conditioned(row, [2.0, 0.0, -2.0], torch.tensor([0.0, math.inf, 0.5]).double())
    assert math.isclose(RIGHT["middle_mean"], told.means[0, 1], rel_tol=1e-6)
    assert math.isclose(RIGHT["middle_std"], told.covariances[0, 1, 1] ** 0.5, rel_tol=1e-6)


# --- 8.8: samples in chunks ---------------------------------------------------------------------------------


def test_the_samples_in_chunks_are_those_of_the_toolkits_ddpm():
    model, levels = Mixture.ring(4).model(EDM()), [6.0, 2.0, 0.5, 0.1]
    drawn = initial_noise(7, (4, 2), 11, torch.float64)
    noises = [drawn[:, k] for k in (1, 2, 3)]
    wanted = sample_last(ddim(model, 6.0 * drawn[:, 0], levels, eta=1.0, rng=Replay(noises)))
    for chunk in (1, 3, 7, 20):
        assert torch.allclose(solution.in_chunks(model.eps, 7, 2, levels, chunk, 11), wanted, rtol=1e-9)


def _five_of_ten(way, chunk):
    """The noises (5, 3, 1) that the first five of ten samples get, for chunks of this size."""
    new = lambda *key: np.random.default_rng(key)
    stream, ahead = new(1), new(1).standard_normal((10, 3, 1))
    parts = []
    for first in range(0, 10, chunk):
        if way == "one_stream":
            parts.append(np.stack([stream.standard_normal((chunk, 1)) for _ in range(3)], 1))
        elif way == "all_ahead":
            parts.append(ahead[first : first + chunk])
        elif way == "by_chunk":
            parts.append(new(1 + first // chunk).standard_normal((chunk, 3, 1)))
        else:
            parts.append(np.stack([new(1, i).standard_normal((3, 1)) for i in range(first, first + chunk)]))
    return np.concatenate(parts)[:5]


@pytest.mark.parametrize("way", ["one_stream", "all_ahead", "by_chunk", "by_sample"])
def test_which_ways_do_not_mind_the_chunk(way):
    same = np.array_equal(_five_of_ten(way, 5), _five_of_ten(way, 2))
    assert RIGHT[way] == ("same" if same else "other")


def test_what_all_noises_take():
    one = torch.empty(784).nbytes  # of a picture, float32
    assert math.isclose(RIGHT["ahead_mib"], 10_000 * 21 * one / 2**20, rel_tol=1e-9)
    says("08", "why-8-8", f"{RIGHT['ahead_mib']:.0f} MiB")


# --- 8.9: strings -------------------------------------------------------------------------------------------


def test_a_step_has_the_law_of_the_toolkits():
    """On an even grid of u and v each place has the toolkit's probabilities."""
    words = Strings({"ab": 0.5, "ba": 0.2, "bb": 0.3})
    state = words.read(["__"])
    side = torch.arange(1000, dtype=torch.float64)
    u, v = (
        (part.reshape(-1, 1).expand(-1, 2) + 0.5) / 1000 for part in torch.meshgrid(side, side, indexing="ij")
    )
    x = state.expand(len(u), 2)
    guess = words.guess(state).expand(len(u), 2, 2)
    end = solution.unmask_step(x, guess, 0.5, 0.75, u, v)
    alone, _ = law(words, [each(0.5)])
    for place in range(2):
        wanted = [
            sum(p for p, s in zip(alone, words.states()) if s[place] == token).item() for token in range(3)
        ]
        assert np.allclose(
            [(end[:, place] == token).double().mean() for token in range(3)], wanted, atol=2e-3
        )
    assert torch.equal(solution.unmask_step(end, guess, 0.75, 1.0, u, v)[end < 2], end[end < 2])


@pytest.mark.parametrize("steps, p", [(1, 0.3), (4, 0.5), (7, 0.9)])
def test_wrong_words_and_calls_are_those_of_the_exact_law(steps, p):
    for length in (2, 3):
        words = Strings({"a" * length: p, "b" * length: 1 - p})
        found, calls = law(words, even(steps))
        assert math.isclose(_formula("calls", "n L")(steps, length), calls, rel_tol=1e-9)
        if length == 2:
            wrong = _formula("wrong_words", "n p")(steps, p)
            assert math.isclose(wrong, total_variation(words, found), rel_tol=1e-9)


# --- 8.10: a comparison -------------------------------------------------------------------------------------


def test_the_distance_is_the_toolkits():
    one, two = 2 + normal(0, 40, 3) @ normal(0, 3, 3, stream=5), 0.7 * normal(0, 25, 3, stream=1)
    wanted = frechet_from_features(one.numpy(), two.numpy())
    assert math.isclose(solution.frechet(one, two), wanted, rel_tol=1e-8)


def test_the_inception_score_is_that_of_relative_entropies():
    answers = torch.softmax(2 * normal(0, 30, 5), 1).numpy()
    wanted = math.exp(np.mean([entropy(row, answers.mean(0)) for row in answers]))
    assert math.isclose(solution.inception(torch.from_numpy(answers)), wanted, rel_tol=1e-9)
    copies = torch.eye(10).double().repeat_interleave(60, 0)
    assert math.isclose(solution.inception(copies), RIGHT["ten_copies"], rel_tol=1e-9)


def _features(shift, stretch, count, seed):
    scales = np.linspace(0.5, 1.5, 8)
    return 3 + shift + stretch * scales * initial_noise(count, 8, seed=seed, dtype=torch.float64).numpy()


def test_the_report_and_the_fair_numbers():
    real = _features(0.0, 1.0, 2000, 100)
    mean = lambda shift, stretch, count: np.mean(
        [frechet_from_features(_features(shift, stretch, count, seed), real) for seed in range(8)]
    )
    assert math.isclose(RIGHT["floor_30"], mean(0.0, 1.0, 30), rel_tol=1e-4)
    assert math.isclose(RIGHT["fair_p"], mean(0.05, 1.0, 500), rel_tol=1e-4)
    assert math.isclose(RIGHT["fair_q"], mean(0.15, 0.8, 500), rel_tol=1e-4)
    reported = frechet_from_features(_features(0.05, 1.0, 30, 0), real), mean(0.15, 0.8, 2000)
    assert f"{reported[0]:.2f}, {reported[1]:.2f}" == "0.82, 0.60" and RIGHT["better"] == "P"
    says("08", "task-8-10", "0.82", "0.60")
    says("08", "why-8-10", f"{RIGHT['floor_30']:.2f}", "0.10", "0.65", f"{mean(0.0, 1.0, 500):.2f}")
    copies = np.tile(_features(0.0, 1.0, 10, 3), (60, 1))
    assert frechet_from_features(copies, real) > 5 * frechet_from_features(_features(0.0, 1.0, 600, 4), real)
    assert RIGHT["sees_copies"] == "frechet"
