"""The figures of chapter 3 draw, say what they show, and the numbers that its prose quotes come out."""

import re

import pytest
import torch

from book.ch03 import experiments, figures
from book.plots import Picture
from book.problems import two_peaks
from toolkit import VP, initial_noise
from toolkit.convergence import slope
from toolkit.ode import STABILITY

pytestmark = pytest.mark.slow


def test_all_levels_end_in_the_data():
    alt = figures.family(two_peaks(), n=1000, steps=100).alt
    shares = [float(v) for v in re.findall(r"has ([\d.]+) % in the left", alt)]
    assert len(shares) == 4 and all(abs(share - 30) < 5 for share in shares)


def test_forward_paths_say_where_they_end():
    assert (
        "VE to σ = 3 ends with standard deviation 3.1" in figures.forward_paths(two_peaks()).alt
    )


def test_the_drifts_collapse_and_explode():
    curves = experiments.removed_curves(steps=50)
    assert curves["drift kept, noise removed"][1][-1] < 1e-4
    assert curves["g set to 0 everywhere"][1][-1] > 1e4
    assert isinstance(figures.removed(curves), Picture)


def test_euler_and_ddim_err_to_different_sides():
    shares = experiments.rare_shares()
    assert shares["Euler in t"][1][0] > 1.5 and shares["DDIM"][1][0] < 0.1
    assert shares["Heun in t"][1][-1] == pytest.approx(0.5, abs=0.02)
    assert "steps" in figures.modes(shares, {"a": [1, 2, 97], "b": [2, 2, 96]}, [0.5, 29.5, 70]).alt


@pytest.mark.parametrize("solver", figures.FIELD_SOLVERS)
def test_the_widget_draws_every_solver(solver):
    picture = figures.field(solver, 3, 0.3)
    assert solver in picture.alt and picture.png == figures.field(solver, 3, 0.3).png


def test_the_widget_shows_what_its_question_asks():
    off = lambda solver, steps: float(
        re.search(r"ends are ([\d.]+) off", figures.field(solver, steps, 0.5).alt)[1]
    )
    assert off("RK4 in t", 2) == pytest.approx(off("Euler in t", 8), rel=0.5)
    assert off("RK4 in λ", 2) > 100


def test_orders_of_all_solvers():
    for name, errors in experiments.orders().items():
        expected = 4 if "RK4" in name else 1 if "Euler" in name else 2
        assert experiments.order_of(errors) == pytest.approx(expected, abs=0.1), name
    ratio = experiments.orders()["Euler, t"]["rmse"][2] / experiments.orders()["RK4, t"]["rmse"][0]
    assert 2000 < ratio < 4000
    constants = (
        experiments.orders()["DDIM = Euler, σ/α"]["rmse"][-1] / experiments.orders()["Euler, t"]["rmse"][-1]
    )
    assert 2.4 < constants < 3
    assert "has order 3.99" in figures.orders(experiments.orders()).alt


def test_stochastic_orders():
    weak, strong = experiments.weak_curves(), experiments.strong_curves()
    for name, order in (
        ("Euler–Maruyama", 1),
        ("stochastic Heun", 2),
        ("'Heun', predictor without noise", 1),
    ):
        assert slope(*weak[name]) == pytest.approx(order, abs=0.1)
    assert slope(*strong["Euler–Maruyama"]) == pytest.approx(1, abs=0.1)
    assert slope(*strong["Euler–Maruyama, geometric Brownian"]) == pytest.approx(0.5, abs=0.1)
    assert "strong order" in figures.stochastic_orders(weak, strong).alt


def test_what_spoils_an_order():
    thin, rounded = experiments.thin_curves(), experiments.rounded_curves()
    fine = thin["sd 0.005, uniform in $t$"]
    assert slope(fine[0][2:5], fine[1][2:5]) < 2 and slope(fine[0][-2:], fine[1][-2:]) > 3.7
    assert rounded["RK4, rounded time"][1][-1] > 1e5 * rounded["RK4"][1][-1]
    assert rounded["Euler, rounded time"][1][-1] == pytest.approx(rounded["Euler"][1][-1], rel=0.05)
    assert "order" in figures.spoiled(thin, rounded).alt


def test_explicit_methods_grow_beyond_their_limits():
    curves = experiments.thin_in_lambda()
    for name, limit in (("euler", 2), ("heun", 2), ("rk4", 2.785)):
        for step, factor in zip(*curves[name]):
            assert (factor > 1) == (step > limit), (name, step)
    for name in ("euler", "heun", "rk4", "implicit_euler", "trapezoid"):
        steps, factors = map(torch.tensor, curves[name])
        assert torch.allclose(factors, STABILITY[name](-steps).abs(), rtol=0.02, atol=1e-3), name
    assert max(curves["implicit_euler"][1] + curves["trapezoid"][1]) < 1
    assert experiments.largest_stable("heun") == pytest.approx(2, abs=1e-3)
    assert experiments.largest_stable("trapezoid") == float("inf")
    assert "−2.79" in figures.stability(curves).alt


def test_the_last_step_in_t_is_stiff_for_those_who_look_at_its_end():
    result = experiments.stiff_or_not()
    start, end = (result[f"largest |z| at the {at} of a step, 60 steps in t"] for at in ("start", "end"))
    assert start < 1 and 7 < end < 8
    error = lambda where, name: result[f"error in {where}, {name}"]
    assert min(error("t", "explicit Heun"), error("t", "explicit RK4")) > 1
    assert error("t", "explicit midpoint") < error("t", "implicit trapezoid") < error("t", "implicit Euler")
    assert error("t", "implicit Euler") < error("t", "explicit Euler") < 0.4
    for kind in ("explicit Euler", "explicit midpoint", "explicit Heun", "explicit RK4"):
        assert error("t", kind) > 50 * error("sigma", kind)
    for kind in ("implicit Euler", "implicit trapezoid"):
        assert error("t", kind) > 50 * error("sigma", kind)


def test_adaptive_figure():
    log = experiments.adaptive_log()
    picture = figures.adaptive(experiments.adaptive_errors(), experiments.fixed_errors(), log, VP())
    assert f"{sum(not accepted for *_, accepted in log)} refused" in picture.alt


def test_the_snr_rule_needs_dimensions():
    result = experiments.langevin_stability()
    assert result["SNR rule, d = 64, sd 1"] < 1.2 and result["SNR rule, d = 2, least of 8 seeds"] > 5
    assert result["SNR rule, d = 2, most"] > 1.5 * result["SNR rule, d = 2, least of 8 seeds"]


def test_langevin_figure_and_churn():
    picture = figures.langevin(experiments.stationary, ([1.0], [2.0]), experiments.corrected(), 0.2)
    assert "diverges" in picture.alt
    result = experiments.churn_variances()
    assert result["churn 0, 20 steps"] < result["churn 10, 20 steps"] <= result["churn 40, 20 steps"]


def test_likelihood_has_two_floors():
    errors = experiments.likelihood_errors()
    assert errors["exact density at the start"][1][-1] < 5e-4
    assert errors["N(0, σ²) at the start"][1][-1] == pytest.approx(0.0045, abs=0.001)
    probes, spreads = experiments.hutchinson_spread()
    assert slope(probes, spreads) == pytest.approx(0.5, abs=0.1)
    assert "probe" in figures.likelihood(errors, (probes, spreads)).alt


def test_who_wins_at_which_budget():
    ring, digits = experiments.budget(), experiments.digits_budget()
    alt = figures.budget(ring, digits).alt
    assert "Euler in t at 8, Heun in t at 16" in alt and "RK4 in t at 192" in alt
    assert "DDIM at 8" in alt and "quadratic grid" in alt


def test_the_grid_decides_too():
    head, *rows = experiments.grid_table()
    assert head[:3] == ("data", "grid", "8 calls") and len(rows) == 8
    best = {(data, grid): names for data, grid, *names in rows}
    assert best["ring", "quadratic"] == ["Euler in t", "Heun in t", "Heun in t", "RK4 in t"]
    assert best["ring", "uniform"] == ["RK4 in t", "RK4 in t", "Euler in t", "RK4 in t"]
    assert best["digits", "uniform"] == ["DDIM", "Euler in t", "Euler in t", "Euler in t"]
    assert all(best["digits", grid][0] == "DDIM" for grid in experiments.GRIDS)
    assert all(
        best["digits", grid][2:] == ["RK4 in t"] * 2 for grid in ("quadratic", "uniform in λ", "Karras")
    )
    result = experiments.ring_winners()
    factors = [value for name, value in result.items() if "over the best" in name]
    assert len(factors) == 4 and all(2 < factor < 12.5 for factor in factors)


def test_accuracy_buys_little_on_digits():
    result = experiments.accuracy_and_quality()
    ratio = result["DDIM, 50 calls: off the flow by"] / result["DDIM, 1000 calls: off the flow by"]
    assert 8 < ratio < 13
    few, many = (result[f"DDIM, {calls} calls: Fréchet distance"] for calls in (50, 1000))
    assert abs(few - many) < result["DDIM, 50 calls: spread between seeds"]


def test_what_the_recorded_study_says():
    curves, (real, spread) = experiments.quality()
    alt = figures.quality(curves, (real, spread)).alt
    assert "DDIM 0.24 at 10 calls" in alt and "real digits drawn anew" in alt.lower()
    head, *rows = experiments.quality_table()
    table = {name: [float(v) if v != "–" else None for v in values] for name, *values in rows}
    at_10 = {name: values[0] for name, values in table.items()}
    assert sorted(at_10, key=at_10.get)[:2] == ["EDM's Heun", "DDIM"]
    assert table["SDE-Heun"][0] < table["SDE-Euler"][0] and table["SDE-Heun"][2] > table["SDE-Euler"][2]
    posterior, beta = table["DDPM, posterior variance"], table["DDPM, beta"]
    assert posterior[1] < beta[1] and posterior[2] > beta[2]
    at_1000 = {name: values[5] for name, values in table.items() if values[5] is not None}
    assert max(at_1000, key=at_1000.get) == "Predictor-corrector"
    for name in set(experiments.DRAWN) - {"DDPM, posterior variance"}:
        assert abs(table[name][3] - real) < spread, name


def test_a_last_jump_costs_the_order():
    kept, lost = experiments.last_jump().values()
    assert kept == pytest.approx(2, abs=0.1) and lost < 1.5


def test_digit_rows():
    from toolkit.networks import digits_model

    model = digits_model(VP(), label=torch.tensor([3]))
    alt = figures.digit_rows(model, initial_noise(1, (1, 8, 8), 7), budgets=(4, 16)).alt
    assert "five samplers" in alt


def test_the_sober_table_measures_what_is_promised():
    head, *rows = experiments.sober_table()
    assert head[-1] == "measured" and len(rows) == 13
    for name, _, _, promised, measured in rows:
        if name == "rk45":
            assert measured == "tol^1.0"
        else:
            assert float(measured) == pytest.approx(int(promised), abs=0.1), name


def test_score_errors_grow_towards_the_data():
    result = experiments.score_errors()
    assert result["score"] == sorted(result["score"], reverse=True)
