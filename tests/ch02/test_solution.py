"""The book's own answers to exercise 02 against the toolkit, closed forms and formulas written once more."""

import math

import numpy as np
import pytest
import sympy
import torch

from book.ch02 import solution, tasks
from book.lessons import changed, judge
from tests.solution_cells import says
from toolkit import Discrete, Mixture, exact_variance, grids, initial_noise, sample
from toolkit.data import digits
from toolkit.ddim import ddim, ddim_coefficients, ddim_invert, ddim_sigma
from toolkit.ddpm import ddpm
from toolkit.metrics import class_accuracy
from toolkit.networks import digits_model
from toolkit.noise import Replay
from toolkit.sampling import sample_last

TABLE = Discrete.linear(1000)
ALPHA_BAR = torch.from_numpy(TABLE.alpha_bar)
MODEL = Mixture([1, 1], [[-1.0], [1.0]], [0.3, 0.3]).model(TABLE)
X = initial_noise(5, 1, seed=0, dtype=torch.float64)


def _noise_of(model):
    """predict(x, n) of a model of the table."""
    return lambda x, n: model.eps(x, n / TABLE.T)


def _times(grid):
    return [n / TABLE.T for n in grid]


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_noise_of_a_step_is_the_toolkits(eta):
    for t, s in ((0.9, 0.7), (0.4, 0.39), (0.1, 0.0)):
        size = solution.noise_size(TABLE.alpha(t), TABLE.alpha(s), eta)
        assert math.isclose(size, ddim_sigma(TABLE, t, s, eta), rel_tol=1e-10, abs_tol=1e-15)


def test_the_three_terms_add_up_to_the_toolkits_step():
    x, eps, z = torch.randn(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t, s = 0.6, 0.45
    (a,), (b,), (c,) = ddim_coefficients(TABLE, [t, s], eta=0.7)
    terms = solution.ddim_terms(x, eps, TABLE.alpha(t), TABLE.sigma(t), TABLE.alpha(s), TABLE.sigma(s), c, z)
    assert torch.allclose(sum(terms), a * x + b * eps + c * z, atol=1e-12)
    assert torch.equal(terms[2], c * z)


@pytest.mark.parametrize("T, steps", [(100, 4), (1000, 30), (1000, 50), (517, 31)])
def test_a_subsequence_is_a_rounded_line(T, steps):
    assert solution.subsequence(T, steps) == np.round(np.linspace(T, 0, steps + 1)).astype(int).tolist()


def test_the_sampler_along_a_subsequence_is_the_toolkits():
    grid = [1000, 700, 430, 100, 20, 0]
    x_0 = solution.ddim_sample(_noise_of(MODEL), ALPHA_BAR, X, grid)
    assert torch.allclose(x_0, sample(ddim, MODEL, X, _times(grid)).x, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_the_mended_walk_is_the_toolkits(eta):
    noises = torch.randn(10, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x_0 = solution.walk(_noise_of(MODEL), ALPHA_BAR, X, 10, eta=eta, noises=noises)
    right = sample_last(ddim(MODEL, X, _times(range(1000, -1, -100)), eta=eta, rng=Replay(noises)))
    assert torch.allclose(x_0, right, atol=1e-10)


def test_the_mended_loop_is_the_toolkits():
    def denoise(x, n):
        return MODEL.x0(x, n / TABLE.T)

    x_0 = solution.short(denoise, torch.from_numpy(TABLE.betas), X, 40)
    assert torch.allclose(x_0, sample(ddim, MODEL, X, _times(range(1000, -1, -25))).x, atol=1e-10)


def test_the_slope_is_the_factor_of_eps_in_the_step():
    levels, c = (0.37, 0.91, 0.72, 0.44), 0.13  # alpha and sigma are no circle here
    symbols = (solution.a_t, solution.s_t, solution.a_s, solution.s_s, solution.c)
    x, eps = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    data, direction, _ = solution.ddim_terms(x, eps, *levels, c, eps)
    slope = float(solution.slope.subs(dict(zip(symbols, (*levels, c)))))
    assert math.isclose(slope, (data + direction).item() / levels[2], rel_tol=1e-12)


def test_the_largest_eta_spends_all_of_sigma_on_fresh_noise():
    a_t, s_t, a_s, s_s = solution.a_t, solution.s_t, solution.a_s, solution.s_s
    c = solution.eta_max * s_s / s_t * sympy.sqrt(s_t**2 - a_t**2 / a_s**2 * s_s**2)
    assert sympy.simplify(c - s_s) == 0


def test_the_bundles_are_ddim_at_both_ends_of_eta():
    """DDPM's lines are DDIM at eta = 1 with the same noises, DDIM's end where the sampler of 2.3 does."""
    model, seeds = Mixture([1, 1], [[-1.0], [1.0]], [0.2, 0.2]).model(TABLE), [3, 4]
    begin, grid = torch.full((1, 1), 0.1, dtype=torch.float64), solution.subsequence(1000, 25)
    lines = [(line.get_label(), line.get_ydata()) for line in solution.bundles(0.1, seeds).get_lines()]
    assert [label for label, _ in lines] == ["DDPM", "DDIM"] * 2
    end = solution.ddim_sample(_noise_of(model), ALPHA_BAR, begin, grid).item()
    for seed, (_, random), (_, fixed) in zip(seeds, lines[::2], lines[1::2], strict=True):
        run = sample(ddim, model, begin, _times(grid), eta=1.0, draws=seed, keep_path=True)
        assert np.allclose(random, run.path[:, 0, 0], atol=1e-10)
        assert fixed[0] == 0.1 and math.isclose(fixed[-1], end, abs_tol=1e-10)


def _variance(steps, eta):
    """Variance of x_0 for data N(0, 1/4): each step multiplies x by a gain and adds noise of size c."""
    grid = solution.subsequence(TABLE.T, steps)
    variance = 1 - 0.75 * TABLE.alpha_bar[-1]
    for bar_t, bar_s in zip(TABLE.alpha_bar[grid], TABLE.alpha_bar[grid[1:]]):
        c = eta * math.sqrt((1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s))
        kept = math.sqrt((1 - bar_s - c**2) * (1 - bar_t))
        gain = (0.25 * math.sqrt(bar_s * bar_t) + kept) / (1 - 0.75 * bar_t)
        variance = gain**2 * variance + c**2
    return variance


def test_the_figure_of_errors_is_a_product_of_gains():
    counts = [10, 40, 100]
    lines = {line.get_label(): line for line in solution.draw(counts).get_lines()}
    for label, eta in (("DDIM", 0.0), ("eta = 1", 1.0)):
        assert list(lines[label].get_xdata()) == counts
        errors = [abs(_variance(n, eta) - 0.25) for n in counts]
        assert np.allclose(lines[label].get_ydata(), errors, rtol=1e-8)


def test_the_fewest_steps_are_the_first_within_5_percent():
    wanted = tasks.CONVERGENCE.reference["fewest"]
    close = [abs(_variance(n, 0.0) - 0.25) <= 0.05 * 0.25 for n in range(1, wanted + 1)]
    assert close == [False] * (wanted - 1) + [True]


@pytest.mark.parametrize("iterations", [0, 3])
def test_inversion_is_the_toolkits(iterations):
    grid = list(range(1000, -1, -50))
    z = solution.invert(_noise_of(MODEL), ALPHA_BAR, X, grid, iterations)
    right = sample_last(ddim_invert(MODEL, X, _times(grid), iterations=iterations))
    assert torch.allclose(z, right, atol=1e-8)


def _gap(mixture):
    """Task 2.10's number, decoded by the sampler of 2.3."""
    predict, grid = _noise_of(mixture.model(TABLE)), solution.subsequence(1000, 50)
    x, y = (initial_noise(500, 2, seed=seed, dtype=torch.float64) for seed in (0, 1))
    middle, left, right = (
        solution.ddim_sample(predict, ALPHA_BAR, latent, grid) for latent in ((x + y) / 2, x, y)
    )
    return float((middle - (left + right) / 2).square().mean().sqrt())


def test_one_gaussian_cannot_tell_the_two_averages_apart_and_the_ring_can():
    numbers = tasks.CLAIM.reference
    assert numbers["verdict"] == "fails" and numbers["gaussian"] < 1e-12
    assert _gap(Mixture.gaussian(2, 0.5)) < 1e-12
    assert math.isclose(_gap(Mixture.ring()), numbers["ring"], abs_tol=1e-4)


def test_a_mean_of_two_noises_is_shorter_by_the_root_of_two():
    """Within four standard errors of a mean of 100 lengths, each of variance about 1 / (4 d)."""
    error = math.sqrt(1 / (4 * 3072) / 100)
    assert abs(tasks.CLAIM.reference["shell"] - math.sqrt(0.5)) < 4 * error


def test_the_strided_grid_of_the_figures_is_the_subsequence():
    for steps in (10, 25, 50, 116):
        assert [round(TABLE.T * float(t)) for t in grids.strided(TABLE, steps)] == solution.subsequence(
            1000, steps
        )


CLIPPED = {
    "2.2": (solution.ddim_terms, ("alpha_s * x0", "alpha_s * x0.clamp(-{0}, {0})")),
    "2.3": (solution.ddim_sample, ("x0 + (1", "x0.clamp(-{0}, {0}) + (1")),
    "2.4": (solution.walk, ("x0 + (1", "x0.clamp(-{0}, {0}) + (1")),
    "2.5": (solution.short, ("denoise(x, n)", "denoise(x, n).clamp(-{0}, {0})")),
}


def _judged(task, answer):
    """The verdict on one answer; of 2.3 it is the sampler."""
    return (
        judge(task, **tasks.SUBSEQUENCE.reference | {"ddim_sample": answer})
        if task == "2.3"
        else judge(task, answer)
    )


@pytest.mark.parametrize("bound", [1, 3, 10])
@pytest.mark.parametrize("task", CLIPPED)
def test_whatever_clips_the_predicted_data_is_not_done(task, bound):
    right, (old, new) = CLIPPED[task]
    assert _judged(task, right).state == "done"
    verdict = _judged(task, changed(right, (old, new.format(bound))))
    assert verdict.state == "not yet" and ("clip" in verdict.sentence or "12" in verdict.sentence)


def _in_kappa(predict, alpha_bar, x, grid):
    """DDIM as Euler's method for x / alpha in sigma / alpha, with NumPy's levels."""
    levels = alpha_bar.numpy()
    kappa, y = np.sqrt((1 - levels) / levels), x / math.sqrt(levels[grid[0]])
    for now, then in zip(grid, grid[1:]):
        y = y + (kappa[then] - kappa[now]) * predict(y * math.sqrt(levels[now]), now)
    return y * math.sqrt(levels[grid[-1]])


def _ratios(denoise, betas, x, steps):
    """Task 2.5 without eps: x_s as a mean of x_t and x_0."""
    levels = np.concatenate([[1.0], np.cumprod(1 - betas.numpy())])
    grid = np.linspace(len(betas), 0, steps + 1).round().astype(int)
    for n, m in zip(grid, grid[1:]):
        ratio = math.sqrt((1 - levels[m]) / (1 - levels[n]))
        x = ratio * x + (math.sqrt(levels[m]) - ratio * math.sqrt(levels[n])) * denoise(x, n)
    return x


def _stacked(*inputs):
    return torch.stack(solution.ddim_terms(*inputs))


@pytest.mark.parametrize(
    "task, answer", [("2.3", _in_kappa), ("2.5", _ratios), ("2.2", _stacked)], ids=["2.3", "2.5", "2.2"]
)
def test_other_forms_of_a_right_answer_are_done(task, answer):
    assert _judged(task, answer).state == "done"


def test_of_two_mistakes_the_one_mended_is_seen_behind_the_nan():
    up = ("len(alpha_bar) - 1, 0", "0, len(alpha_bar) - 1")
    listing = changed(solution.walk, up, ("b.sqrt() * x0", "(b / a).sqrt() * x0"))
    other_form = changed(solution.walk, up, ("b.sqrt() * x0", "x0 * torch.sqrt(b)"))
    assert judge("2.4", listing).state == "not tried"
    verdict = judge("2.4", other_form)
    assert verdict.state == "not yet" and verdict.sentence.startswith("The factor of x0 is right now")


# --- the numbers that the solution quotes ---------------------------------------------------------------


def test_what_the_solution_says_of_orders_and_budgets():
    error = {(n, eta): abs(_variance(n, eta) - 0.25) for n in (20, 50, 100, 200) for eta in (0, 1)}
    slopes = {eta: [math.log2(error[n, eta] / error[2 * n, eta]) for n in (50, 100)] for eta in (0, 1)}
    says("02", "why-2-8", "$2^{{{:.2f}}}$ and $2^{{{:.2f}}}$".format(*slopes[0]))
    says("02", "why-2-8", "${:.2f}$ and ${:.2f}$".format(*slopes[1]))
    for n, places, at in ((20, 3, "at 20 steps"), (100, 4, "at 100"), (200, 4, "at 200")):
        says("02", "why-2-8", f"{error[n, 0]:.{places}f} and {error[n, 1]:.{places}f} {at}")
    factors = [error[n, 1] / error[n, 0] for n in (20, 100, 200)]
    says("02", "why-2-8", "factor of {:.1f}, {:.1f} and {:.1f}".format(*factors))
    beta = [
        exact_variance(ddpm, TABLE, grids.strided(TABLE, n), std=0.5, variance="beta") for n in (20, 100, 200)
    ]
    says("02", "why-2-8", "{:.3f}, {:.4f} and {:.4f}".format(*(v - 0.25 for v in beta)))


@pytest.mark.slow
def test_what_the_solution_says_of_edited_digits():
    images, labels = digits("test", side=28)
    fours, grid = images[labels == 4][:10], list(range(1000, -1, -40))
    network = digits_model(TABLE, name="large-digits")
    predict = lambda x, n, label: network.with_label(label).eps(x, n / 1000)
    for depth, right in ((400, 0), (600, 8), (800, 9), (1000, 9)):
        edited = solution.edit(predict, ALPHA_BAR, fours, grid, depth, 4, 9, 1)
        assert class_accuracy(edited, torch.full((10,), 9)) == pytest.approx(right / 10, abs=0.11)
    says("02", "why-2-11", "none of the ten", "At 600 it reads 8, at 800 and 1000 it reads 9")
    times = grids.strided(TABLE, 25)
    squares = sample(ddim_invert, network.with_label(4), fours, times, iterations=2).x ** 2
    blank = fours == -1
    says("02", "why-2-11", f"{100 * blank.double().mean():.0f} % are blank")
    on_paper, on_ink = squares[blank].mean(), squares[~blank].mean()
    says("02", "why-2-11", f"{on_paper:.2f} there and {on_ink:.1f} on the others")
    length = squares.flatten(1).sum(1).sqrt().mean() / 28
    says("02", "why-2-11", f"length is {length:.2f}, a mean square of {squares.mean():.2f}")
