"""The book's own answers to exercise 04 against what is known apart from them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
import torch
from scipy import stats

from book.ch04 import solution, tasks
from book.lessons import changed, read_axes
from book.lessons.diagnose import diagnose
from toolkit import VP, Flow, Mixture, exact_variance, grids, initial_noise, sample
from toolkit.convergence import reference
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_1, dpm_solver_2, dpm_solver_3, dpmpp_2m, dpmpp_2s, sde_dpmpp_1
from toolkit.exponential import phi
from toolkit.models import Thresholded
from toolkit.noise import Replay

DPM_SOLVERS = {1: dpm_solver_1, 2: dpm_solver_2, 3: dpm_solver_3}
STEPS = {1: solution.dpm1_step, 2: solution.dpm2_step, 3: solution.dpm3_step}
UNEVEN = [0.9, 0.62, 0.3, 0.14, 0.02]  # far from equal steps in lambda


def ring():
    return Mixture.ring(8, 1.0, 0.3).model(VP())


def noise(*shape, seed=0):
    return initial_noise(shape[0], shape[1:], seed=seed, dtype=torch.float64)


def close(a, b):
    return torch.allclose(a, b, rtol=1e-9, atol=1e-11)


def rms(d):
    return math.sqrt(float((d**2).mean()))


def integral(f, low, high):
    """Of a smooth function, by 30 nodes of Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(30)
    half = (high - low) / 2
    return sum(half * w * f(low + half * (1 + u)) for u, w in zip(nodes.tolist(), weights.tolist()))


def value(formula, **at):
    return float(formula.subs({symbol: at[symbol.name] for symbol in formula.free_symbols}))


# --- 4.1: phi functions -------------------------------------------------------------------------------------


def test_phi_is_the_toolkits():
    for k in (1, 2, 3):
        for z in (-30.0, -2.01, -1.99, -0.3, -1e-8, 0.0, 1e-8, 2e-3, 0.7, 1.99, 2.01, 5.0):
            assert math.isclose(solution.phi(k, z), float(phi(k, z)), rel_tol=1e-13)


def test_the_exact_step_integrates_a_polynomial():
    schedule, s, t = VP(), 0.63, 0.31
    low, high = schedule.lam(s), schedule.lam(t)
    x, (e, d1, d2) = noise(2, 3), noise(3, 2, 3, seed=1)

    def weighted(lam):
        shift = lam - low
        return math.exp(high - lam) * (e + shift * d1 + shift**2 / 2 * d2)

    levels = schedule.alpha(s), schedule.sigma(s), schedule.alpha(t), schedule.sigma(t)
    exact = schedule.alpha(t) / schedule.alpha(s) * x - schedule.sigma(t) * integral(weighted, low, high)
    assert close(solution.exact_step(x, [e, d1, d2], *levels), exact)


# --- 4.2 and 4.3: DPM-Solver-1, 2, 3 ------------------------------------------------------------------------


@pytest.mark.parametrize("order", (1, 2, 3))
def test_the_steps_are_the_toolkits(order):
    model, x = ring(), noise(4, 2)
    walked, calls = solution.walk(STEPS[order], model, x, UNEVEN), model.nfe
    assert close(walked, sample(DPM_SOLVERS[order], model, x, UNEVEN).x)
    assert calls == order * 4


def test_the_figure_shows_the_toolkits_errors():
    model, x = ring(), noise(4, 2)
    exact, counts = reference(model, x, 1.0, 0.01), [4, 8, 16]
    lines = read_axes(solution.draw(model, x, exact, counts)).lines
    assert list(lines) == [f"DPM-Solver-{order}" for order in DPM_SOLVERS]
    for (order, solver), (calls, errors) in zip(DPM_SOLVERS.items(), lines.values()):
        grid = [grids.uniform_lambda(VP(), n, 1.0, 0.01) for n in counts]
        assert calls.tolist() == [order * n for n in counts]
        assert np.allclose(errors, [rms(sample(solver, model, x, times).x - exact) for times in grid])


def test_from_how_many_calls_on_the_higher_orders_win():
    model, x = ring(), noise(16, 2)
    exact, best = reference(model, x, 1.0, 0.01), {}
    for budget in (6, 12, 18, 24):
        one, two, three = (
            rms(sample(solver, model, x, grids.uniform_lambda(VP(), budget // order, 1.0, 0.01)).x - exact)
            for order, solver in DPM_SOLVERS.items()
        )
        best[budget] = two < one, three < min(one, two)
    firsts = [min(budget for budget in best if best[budget][k]) for k in (0, 1)]
    assert firsts == [tasks.CONVERGENCE.reference[name] for name in ("two_from", "three_from")]


# --- 4.4: local error and stability -------------------------------------------------------------------------


def test_the_local_errors_lead_the_series_of_exact_minus_numerical():
    sigma, h, e, d1, d2 = sympy.symbols("sigma h e d1 d2", positive=True)
    lam = sympy.Symbol("lam", positive=True)
    eps = e + d1 * lam + d2 * lam**2 / 2
    exact = sympy.integrate(sympy.expand(sympy.exp(h - lam) * eps), (lam, 0, h))
    for share, power, told in ((0, 2, solution.local_1), (sympy.Rational(1, 2), 3, solution.local_2)):
        numerical = (sympy.exp(h) - 1) * eps.subs(lam, share * h)
        error = -sigma * (exact - numerical)
        terms = [error.diff(h, k).subs(h, 0) * h**k / math.factorial(k) for k in range(power + 1)]
        assert sympy.expand(sum(terms) - told) == 0


def linear_growth(solver, mu, h):
    """By what one step of length h in lambda multiplies x / sigma when eps = mu x / sigma."""
    schedule = VP()
    model = SimpleNamespace(
        schedule=schedule,
        eps=lambda x, t: mu * x / schedule.sigma(t),
        x0=lambda x, t: (1 - mu) * x / schedule.alpha(t),
    )
    s, t = 0.7, float(schedule.t_of_lam(schedule.lam(0.7) + h))
    *_, (_, x) = solver(model, torch.ones(1, 1, dtype=torch.float64), [s, t])
    return float(x) * schedule.sigma(s) / schedule.sigma(t)


def test_the_growth_is_the_toolkits():
    for h, mu in ((0.3, 0.5), (0.6, 3.0), (1.1, 4.0)):
        assert math.isclose(
            linear_growth(dpm_solver_2, mu, h), value(solution.growth, h=h, mu=mu), rel_tol=1e-9
        )


@pytest.mark.parametrize("solver, limit", [(dpm_solver_2, "limit_noise"), (dpmpp_2s, "limit_data")])
def test_the_longest_step_is_where_the_growth_passes_one(solver, limit):
    h = getattr(solution, limit)
    assert math.isclose(abs(linear_growth(solver, 3.0, h)), 1, rel_tol=1e-9)
    assert all(abs(linear_growth(solver, 3.0, share * h)) < 1 for share in (0.1, 0.4, 0.7, 0.99))
    assert abs(linear_growth(solver, 3.0, 1.01 * h)) > 1


# --- 4.5 to 4.7: what the listings should have been ---------------------------------------------------------


def test_two_m_is_the_toolkits():
    model, x = ring(), noise(4, 2)
    assert close(solution.two_m(model, x, UNEVEN), sample(dpmpp_2m, model, x, UNEVEN).x)


def test_the_third_order_update_integrates_the_parabola_through_its_predictions():
    x, m0, m1, m2 = noise(4, 2, 3)
    h, h1, h2, alpha_t, gain = 0.5, 0.3, 0.8, 0.9, 0.6
    a, b = -h1, -h1 - h2

    def weighted(lam):
        newest = (lam - a) * (lam - b) / (a * b) * m0
        older = lam * (lam - b) / (a * (a - b)) * m1 + lam * (lam - a) / (b * (b - a)) * m2
        return math.exp(lam - h) * (newest + older)

    exact = gain * x + alpha_t * integral(weighted, 0.0, h)
    assert close(solution.third_update(x, m0, m1, m2, h, h1, h2, alpha_t, gain), exact)


def test_dpm_solver_2_on_step_numbers_is_the_toolkits():
    model, x = ring(), noise(4, 2)
    walked = solution.dpm2_on_steps(lambda x, n: model.eps(x, n / 1000), VP(), x, UNEVEN, 1000)
    assert close(walked, sample(dpm_solver_2, model, x, UNEVEN).x)


# --- 4.8: the adaptive solver -------------------------------------------------------------------------------


def test_the_estimate_and_the_controller_are_the_printed_ones():
    low, high, before = noise(3, 5, 2).numpy()
    for atol, rtol in ((0.01, 0.1), (0.5, 0.1)):
        scale = np.maximum(atol, rtol * np.maximum(np.abs(low), np.abs(before)))
        told = solution.estimate(*map(torch.from_numpy, (low, high, before)), atol, rtol)
        assert math.isclose(told, np.sqrt(np.mean(((high - low) / scale) ** 2)), rel_tol=1e-12)
    assert math.isclose(solution.next_h(0.4, 1 / 8, 2), 0.9 * 0.4 * 2)
    assert math.isclose(solution.next_h(0.4, 4.0, 1, safety=0.5), 0.1)


def test_dpm_solver_12_is_made_of_the_toolkits_steps_and_the_printed_controller():
    model, x, atol, rtol, h = ring(), noise(4, 2), 0.0078, 0.05, 3.0
    end, tries = solution.dpm12(model, x, 1.0, 0.01, h, atol, rtol)
    calls, t, accepted, lam = model.nfe, 1.0, 0, VP().lam
    for start, s, error, fine in tries:
        h = min(h, lam(0.01) - lam(t))
        assert start == t and math.isclose(lam(s) - lam(t), h, rel_tol=1e-9)
        low, high = (sample(solver, model, x, [t, s]).x for solver in (dpm_solver_1, dpm_solver_2))
        scale = torch.clamp(rtol * torch.maximum(low.abs(), x.abs()), min=atol)
        assert math.isclose(error, rms((high - low) / scale), rel_tol=1e-6) and fine == (error <= 1)
        h = 0.9 * h / math.sqrt(error)
        x, t, accepted = (high, s, accepted + 1) if fine else (x, t, accepted)
    assert t == 0.01 and close(end, x)
    assert 0 < accepted < len(tries) and calls == accepted + len(tries)  # a rejection keeps its first call


# --- 4.9: claims --------------------------------------------------------------------------------------------


def test_the_threshold_is_the_toolkits():
    x = (
        3
        * noise(5, 1, 4, 4)
        * torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64).reshape(5, 1, 1, 1)
    )
    model = SimpleNamespace(schedule=VP(), x0=lambda x, t: x, begin=lambda: None)
    for quantile, limit in ((0.9, 1.0), (0.5, 0.8)):
        expected = Thresholded(model, quantile, limit).x0(x, 0.5)
        assert close(solution.threshold(x, quantile, limit), expected)


def test_what_the_clip_leaves_is_the_censored_normals():
    inside = stats.norm.cdf(0.5) - stats.norm.cdf(-0.5)  # |2 z| < 1
    variance = 4 * (inside - stats.norm.pdf(0.5)) + 1 - inside
    assert math.isclose(tasks.CLAIMS.reference["latent_sd"], math.sqrt(variance), abs_tol=5e-5)


# --- 4.10: the stochastic step ------------------------------------------------------------------------------


def test_the_stochastic_step_is_the_toolkits():
    schedule, s, t = VP(), 0.6, 0.35
    model, x, z = ring(), noise(4, 2), noise(4, 2, seed=1)
    at = dict(alpha_s=schedule.alpha(s), sigma_s=schedule.sigma(s))
    at |= dict(alpha_t=schedule.alpha(t), sigma_t=schedule.sigma(t))
    parts = (value(part, **at) for part in (solution.x_part, solution.data_part, solution.noise_part))
    told = sum(part * y for part, y in zip(parts, (x, model.x0(x, s), z)))
    assert close(told, sample(sde_dpmpp_1, model, x, [s, t], tau=1.0, draws=Replay([z])).x)


def test_eta_gives_ddim_the_same_noise():
    schedule, s, t = VP(), 0.6, 0.35
    model, x, z = ring(), noise(4, 2), noise(4, 2, seed=1)
    for tau in (0.4, 0.8):
        eta = value(solution.eta, tau=tau, h=schedule.lam(t) - schedule.lam(s))
        ours, theirs = (
            [sample(solver, model, x, [s, t], draws=Replay([draw]), **option).x for draw in (z, 0 * z)]
            for solver, option in ((sde_dpmpp_1, {"tau": tau}), (ddim, {"eta": eta}))
        )
        assert close(ours[0] - ours[1], theirs[0] - theirs[1])


def test_the_weak_order_is_the_toolkits():
    schedule, exact = VP(), 0.25 * VP().alpha(0.01) ** 2 + VP().sigma(0.01) ** 2
    grid = [grids.uniform_lambda(schedule, n, 1.0, 0.01) for n in (100, 200)]
    errors = [abs(exact_variance(sde_dpmpp_1, schedule, times, std=0.5) - exact) for times in grid]
    assert round(math.log2(errors[0] / errors[1])) == tasks.STOCHASTIC.reference["weak_order"]


# --- 4.11: shifted times ------------------------------------------------------------------------------------


def test_eulers_method_for_a_flow_is_ddim_along_the_shifted_times():
    """A shift multiplies sigma / alpha; the first time is just below 1, where alpha is 0."""
    schedule, shift = Flow(), 2.5
    model, x = Mixture.ring(8, 1.0, 0.3).model(schedule), noise(4, 2)
    kappa = np.array([1 - k / 6 for k in range(1, 6)]) / np.array([k / 6 for k in range(1, 6)]) * shift
    times = [1 - 1e-9, *(kappa / (1 + kappa)).tolist(), 0.0]
    found = solution.flow_euler(model.flow, x, 6, shift)
    assert torch.allclose(found, sample(ddim, model, x, times).x, rtol=1e-6, atol=1e-6)


def test_a_shift_moves_every_time_by_as_much_in_lambda():
    asked, shift = [], 3.0
    solution.flow_euler(lambda x, t: asked.append(t) or x, noise(1, 1), 5, shift)
    moved = [Flow().lam(t) - Flow().lam(1 - k / 5) for k, t in enumerate(asked) if k]
    assert np.allclose(moved, value(solution.moved, s=shift))


# --- what is right in another form, and what an order does not show -----------------------------------------


def on_whole_steps(net, schedule, x, times, total):
    """DPM-Solver-2 along the times that the clock can tell."""
    return solution.dpm2_on_steps(net, schedule, x, [round(t * total) / total for t in times], total)


EXACTLY = ("(m - old) / (2 * r)", "h * phi(2, -h) / phi(1, -h) * (m - old) / before")
OTHER_FORMS = {
    "4.5, the line integrated exactly": (tasks.TWO_M, changed(solution.two_m, EXACTLY)),
    "4.7, a grid of whole steps": (tasks.CLOCK, on_whole_steps),
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_another_form_with_the_order_and_the_calls_is_done_and_told_that_it_is_another(name):
    task, answer = OTHER_FORMS[name]
    verdict = diagnose(task, answer, seeds=(0,))
    assert verdict.state == "done" and "right" in verdict.sentence


WRONG = {
    "two calls a step": (("r = 1.0", "model.x0(x, s)\n        r = 1.0"), "two calls"),
    "right on centred data only": (("return x", "return x.clamp(-1.2, 1.2)"), "order"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_order_on_the_usual_ring_does_not_show_is_told(name):
    edit, said = WRONG[name]
    verdict = diagnose(tasks.TWO_M, changed(solution.two_m, edit), seeds=(0,))
    assert verdict.state == "not yet" and said in verdict.sentence
