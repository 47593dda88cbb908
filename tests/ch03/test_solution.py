"""The book's own answers to exercise 03 against the toolkit, closed forms and formulas written down apart."""

import math

import pytest
import sympy
import torch

from book.ch03 import solution
from book.lessons import changed, registry
from book.lessons.diagnose import diagnose
from toolkit import VE, VP, Mixture, grids, ode, sample, sde
from toolkit.noise import Replay

schedule = VP()
modes = Mixture([1, 1], [[-1.0, 0.5], [1.0, -0.5]], [0.3, 0.3]).model(schedule)
TIMES = [0.9, 0.6, 0.4, 0.05]


def normals(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def modes_slope(x, t):
    return schedule.f(t) * x - schedule.g2(t) / 2 * modes.score(x, t)


def noisy(sampler, model, x, times, noises, **options):
    """The last state of a sampler of the toolkit along these noises."""
    *_, (_, x) = sampler(model, x, times, rng=Replay(noises), **options)
    return x


def same(a, b):
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9)


# --- 3.1: the formulas --------------------------------------------------------------------------------------

FORMULAS = {
    "backward": "f*x - (1 + l**2)/2*g**2*s",
    "forward": "f*x - (1 - l**2)/2*g**2*s",
    "slope": "(1 + l**2)/2*g**2/sigma",
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_the_one_written_down_here(name):
    assert sympy.simplify(getattr(solution, name) - sympy.sympify(FORMULAS[name])) == 0


def test_the_slope_is_the_coefficient_of_eps_in_the_toolkit():
    l, t = 0.7, 0.4
    _, q, _ = sde.reverse_coefficients(schedule, [t], l)
    at = {"l": l, "g": schedule.g2(t) ** 0.5, "sigma": schedule.sigma(t)}
    assert float(solution.slope.subs(at)) == pytest.approx(q[0], rel=1e-12)


# --- 3.2, 3.3, 3.9, 3.10: samplers with noise ---------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("end", [0.05, 0.0])
def test_the_family_is_the_toolkits_euler_maruyama(level, end):
    times, x, z = [*TIMES[:-1], end], normals(5, 2), normals(3, 5, 2, seed=1)
    found = solution.family(modes.score, schedule.f, schedule.g2, x, times, level, z)
    assert same(found, noisy(sde.euler_maruyama, modes, x, times, z, tau=level))


def test_the_sampler_of_ve_is_euler_maruyama_from_its_prior():
    ve = VE(0.02, 9.0)
    model, x, times = Mixture.gaussian(2, std=0.5).model(ve), normals(5, 2), [1.0, 0.7, 0.5, 0.2]
    z = normals(3, 5, 2, seed=1)
    found = solution.ve_sample(lambda x, sigma: -x / (sigma**2 + 0.25), 0.02, 9.0, x, times, z)
    assert same(found, noisy(sde.euler_maruyama, model, 9.0 * x, times, z))


def test_stochastic_heun_is_the_toolkits():
    x, z = normals(5, 2), normals(3, 5, 2, seed=1)

    def drift(x, t):
        return schedule.f(t) * x - schedule.g2(t) * modes.score(x, t)

    found = solution.heun_sde(drift, lambda t: schedule.g2(t) ** 0.5, x, TIMES, z)
    assert same(found, noisy(sde.stochastic_heun, modes, x, TIMES, z))


def test_the_rule_of_the_corrector_is_the_toolkits():
    score, z = normals(5, 2), normals(5, 2, seed=1)
    assert same(solution.snr_step(score, z, 0.2), sde.snr_step(score, z, 0.2))


@pytest.mark.parametrize("end", [0.05, 0.0])
def test_predictor_and_corrector_are_the_toolkits(end):
    times, x, z = [*TIMES[:-1], end], normals(5, 2), normals(3, 2, 5, 2, seed=1)
    found = solution.predictor_corrector(modes.score, schedule.f, schedule.g2, x, times, z, 0.2)
    z = z.flatten(0, 1)
    assert same(found, noisy(sde.predictor_corrector, modes, x, times, z, snr=0.2, norms="sample"))


# --- 3.4 to 3.6: solvers without noise ----------------------------------------------------------------------

SOLVERS = {
    "Euler": (solution.euler_step, ode.euler, 1),
    "Heun": (solution.heun_step, ode.heun, 2),
    "RK4": (solution.rk4_step, ode.rk4, 4),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_step_along_a_grid_is_the_toolkits_sampler(name):
    step, solver, _ = SOLVERS[name]
    x = normals(5, 2)
    assert same(solution.solve(step, modes_slope, x, TIMES), sample(solver, modes, x, TIMES).x)


def test_the_figure_draws_the_errors_of_the_toolkits_solvers():
    counts, std, end = [10, 20, 40], 0.4, 0.001
    lines = {line.get_label(): line for line in solution.draw(counts, std).get_lines()}
    model, one = Mixture.gaussian(1, std=std).model(schedule), torch.ones(1, 1, dtype=torch.float64)
    width = [schedule.alpha(t) ** 2 * std**2 + schedule.sigma(t) ** 2 for t in (1.0, end)]
    exact = math.sqrt(width[1] / width[0])
    for name, (_, solver, calls) in SOLVERS.items():
        assert list(lines[name].get_xdata()) == [calls * n for n in counts]
        runs = [sample(solver, model, one, grids.uniform(schedule, n, 1.0, end)).x.item() for n in counts]
        wanted = [abs(x - exact) for x in runs]
        assert lines[name].get_ydata() == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_the_errors_at_a_budget_are_those_of_whole_steps():
    x, fine = normals(5, 2), normals(5, 2, seed=1)
    found = solution.errors(modes, x, fine, 10)
    for name, (solver, steps) in {
        "Euler": (ode.euler, 10),
        "Heun": (ode.heun, 5),
        "RK4": (ode.rk4, 2),
    }.items():
        d = sample(solver, modes, x, grids.quadratic(schedule, steps)).x - fine
        assert found.pop(name) == pytest.approx(float(d.norm()) / math.sqrt(d.numel()), rel=1e-12)
    assert not found


# --- 3.7: step control --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [0.0, 1e-6, 0.3, 1.0, 4.0, 1e6])
@pytest.mark.parametrize("order", [1, 4])
def test_the_controller_is_the_toolkits(error, order):
    assert solution.next_step(-0.1, error, order) == pytest.approx(
        ode.next_step(-0.1, error, order), rel=1e-12
    )


def test_the_adaptive_solver_keeps_its_rules():
    x, tolerance = normals(5, 2), 0.01
    y, tries = solution.adaptive(modes_slope, x, 1.0, 0.01, tolerance, -0.5)
    assert {fine for *_, fine in tries} == {True, False} and tries[-1][3]
    at, u = x, 1.0
    for number, (start, h, error, fine) in enumerate(tries):
        assert start == u and h < 0 and u + h >= 0.01 - 1e-12
        euler = solution.solve(solution.euler_step, modes_slope, at, [u, u + h])
        heun = solution.solve(solution.heun_step, modes_slope, at, [u, u + h])
        assert error == pytest.approx(float((heun - euler).norm()) / math.sqrt(10) / tolerance, rel=1e-9)
        assert fine == (error <= 1)
        at, u = (heun, u + h) if fine else (at, u)
        if number + 1 < len(tries):
            wish = ode.next_step(h, error, 1)
            assert tries[number + 1][1] == pytest.approx(max(wish, 0.01 - u), rel=1e-9)
    assert same(y, at) and u == pytest.approx(0.01)


# --- 3.8: the stiff end -------------------------------------------------------------------------------------


def test_a_step_of_implicit_euler_is_exact_on_a_line():
    y, rate, h = normals(5, 2), -40.0, 0.7
    found = solution.implicit_step(lambda y, u: rate * y, lambda y, u: rate + 0 * y, y, 0.0, h, 1)
    assert same(found, y / (1 - h * rate))


def test_a_step_of_implicit_euler_solves_its_equation_by_newtons_rounds():
    y, u, h = normals(5, 2), 0.2, 0.3

    def slope(y, u):
        return -3 * torch.tanh(2 * y) + u

    def residual(new):
        return new - y - h * slope(new, u + h)

    def derivative(y, u):
        return -6 / torch.cosh(2 * y) ** 2

    assert residual(solution.implicit_step(slope, derivative, y, u, h, 30)).abs().max() < 1e-12
    start = y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(residual(start).sum(), start)
    assert same(solution.implicit_step(slope, derivative, y, u, h, 1), y - residual(y) / gradient)


def test_the_limits_of_stability_are_the_toolkits():
    """A step in lambda of the largest size at kappa = 0.1 multiplies by -1; for a point the rate is -1."""
    facts = registry.find("3.8").reference
    kappa, std = 0.1, 0.05
    t = schedule.t_of_lam(-math.log(kappa))
    s = schedule.t_of_lam(-math.log(kappa * (1 + 1e-6)))
    (z,) = ode.stiffness(schedule, [s, t], std, variable="lam", at="end")
    h = schedule.lam(t) - schedule.lam(s)
    assert 1 + solution.largest * z / h == pytest.approx(-1, abs=1e-4)
    way = schedule.lam(0.001) - schedule.lam(1.0)
    assert facts["fewest"] == math.ceil(way / 2) and facts["largest"] == solution.largest


# --- 3.11: noise and the network's errors -------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 0.7, 1.5])
def test_a_model_that_is_wrong_all_the_way_draws_the_data_that_it_believes_in(level):
    assert solution.end_variance(level, 0.36, 0.0, 1.0) == pytest.approx(0.36, abs=5e-5)
    assert solution.end_variance(level, 0.36, 2.0, 3.0) == pytest.approx(0.25, abs=1e-6)


def test_noise_forgets_an_error_and_makes_more_of_it_as_the_closed_form_says():
    """(1 + l²) (v / (v + kappa²))^(l²), for a small error made at kappa; it is 1 at kappa² = v for l = 1."""
    for level, a in ((0.5, 0.3), (1.0, 0.05), (1.0, 0.25), (1.6, 0.15)):
        errors = [solution.end_variance(tau, 0.251, a, a + 1e-3) - 0.25 for tau in (level, 0.0)]
        kappa = schedule.sigma(a + 5e-4) / schedule.alpha(a + 5e-4)
        wanted = (1 + level**2) * (0.25 / (0.25 + kappa**2)) ** (level**2)
        assert errors[0] / errors[1] == pytest.approx(wanted, rel=5e-3)
    facts = registry.find("3.11").reference
    assert schedule.sigma(facts["turning"]) / schedule.alpha(facts["turning"]) == pytest.approx(0.5, abs=2e-3)
    for name, window in {"early": (0.2, 1.0), "late": (0.0, 0.1), "everywhere": (0.0, 1.0)}.items():
        errors = [solution.end_variance(tau, 0.49, *window) - 0.25 for tau in (1.0, 0.0)]
        assert errors[0] / errors[1] == pytest.approx(facts[name], abs=2e-4)


# --- 3.12: the noise that was drawn twice -------------------------------------------------------------------


def test_the_simulation_is_the_toolkits_euler_maruyama():
    x, z = normals(5, 2), normals(4, 5, 2, seed=1)
    found = solution.simulate(modes.score, schedule.f, schedule.g2, x, 0.2, 4, iter(z).__next__)
    assert same(found, noisy(sde.euler_maruyama, modes, x, [1.0, 0.8, 0.6, 0.4, 0.2], z))


def test_the_kurtosis_is_that_of_a_sum_of_products():
    """Fourth cumulants add: 9 − 3 for a product of two normals, and a sum of n has n times that over n²."""
    assert solution.kurtosis.subs("n", 1) == 9
    assert sympy.simplify(solution.kurtosis - 3 - sympy.Rational(6) / sympy.Symbol("n")) == 0


# --- what is right in another form, and what is right on the data probed only -------------------------------


def increments(score, sigma_min, sigma_max, z, times, noises):
    """VE by the exact increments of sigma²."""
    x, ratio = sigma_max * z, sigma_max / sigma_min
    for i, (t, s) in enumerate(zip(times, times[1:])):
        a, b = sigma_min * ratio**t, sigma_min * ratio**s
        x = x + (a * a - b * b) * score(x, a) + math.sqrt(a * a - b * b) * noises[i]
    return x


def midpoint_sde(drift, g, x, times, noises):
    """The midpoint rule with additive noise, of weak order 2."""
    for i, (t, s) in enumerate(zip(times, times[1:])):
        m, noise = (t + s) / 2, g((t + s) / 2) * math.sqrt(t - s) * noises[i]
        x = x + (s - t) * drift(x + (s - t) / 2 * drift(x, t) + noise / 2, m) + noise
    return x


MEAN_OF_SQUARES = ("(g(t) + g(s)) / 2", "math.sqrt((g(t) ** 2 + g(s) ** 2) / 2)")
OTHER_FORMS = {
    "3.3, increments of sigma²": ("3.3", increments),
    "3.9, the root of the mean of g²": ("3.9", changed(solution.heun_sde, MEAN_OF_SQUARES)),
    "3.9, the midpoint rule": ("3.9", midpoint_sde),
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_another_form_with_the_order_and_the_calls_is_done_and_told_that_it_is_another(name):
    task, answer = OTHER_FORMS[name]
    verdict = diagnose(registry.find(task), answer)
    assert verdict.state == "done" and "right" in verdict.sentence


TOO_DEAR = {
    "3.2": ("dt = s - t\n", "dt = s - t\n        score(x, t)\n"),
    "3.3": ("g = sigma_t", "score(x, sigma_t)\n        g = sigma_t"),
    "3.9": ("h = s - t\n", "h = s - t\n        drift(x, t)\n"),
}


@pytest.mark.parametrize("task", TOO_DEAR)
def test_a_call_too_many_is_told(task):
    verdict = diagnose(registry.find(task), changed(registry.find(task).reference, TOO_DEAR[task]))
    assert verdict.state == "not yet" and "calls of the" in verdict.sentence


SAID = {  # what a wrong answer is told, where a listed mistake does not describe it
    "3.7, no safety, other limits": (
        "3.7",
        lambda h, error, order, safety=0.9, least=0.2, most=4.0: h
        * (most if error == 0 else min(most, max(least, error ** (-1 / (order + 1))))),
        "safety factor",
    ),
    "3.12, a draw that is discarded": ("3.12", "(draw(), draw())[1]", "times. How many independent normals"),
    "3.12, a sign from one draw": ("3.12", "draw().sign() * draw()", "times. How many independent normals"),
    "3.12, the score twice": ("3.12", "draw() + 0 * score(x, s)", "another scheme"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_a_noise_is_true(name):
    task, answer, said = SAID[name]
    if isinstance(answer, str):
        answer = changed(solution.simulate, ("* draw()", f"* ({answer})"))
        wrong = {"simulate": answer}
    else:
        wrong = {"next_step": answer}
    verdict = diagnose(registry.find(task), registry.find(task).reference | wrong)
    assert verdict.state == "not yet" and said in verdict.sentence, verdict.sentence
