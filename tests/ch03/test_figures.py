"""The figures of chapter 3 draw, say what they show, and the numbers that its prose quotes come out."""

import re

import numpy as np
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
    assert "VE to σ = 3 ends with standard deviation 3.1" in figures.forward_paths(two_peaks()).alt


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
    assert "400 of 400 outside" in figures.field("RK4 in λ", 2, 0.5).alt
    assert "outside" not in figures.field("RK4 in t", 2, 0.5).alt


def test_orders_of_all_solvers():
    for name, errors in experiments.orders().items():
        expected = 4 if "RK4" in name else 1 if "Euler" in name else 2
        assert experiments.order_of(errors) == pytest.approx(expected, abs=0.1), name
    order, constant = experiments.order_constants().values()
    assert 2000 < order < 4000 and 2.4 < constant < 3
    assert "has order 3.99" in figures.orders(experiments.orders()).alt


def test_the_worst_twentieth_decides_the_root_mean_square():
    found = experiments.tails()
    assert found["RK4 in t: share of the worst 5 %, %"] > 90
    assert found["RK4 in t: root mean square"] > 10 * found["RK4 in t: median"]
    assert found["RK4 in t: worst 5 % over median"] > 50
    by = lambda measure: found[f"DDIM: {measure}"] / found[f"Euler in t: {measure}"]
    assert by("root mean square") < 2 and by("median") > 4
    image = experiments.error_map(points=25)
    angle = np.linspace(-3, 3, 25)
    x, y = np.meshgrid(angle, angle)
    turn = (np.arctan2(y, x) / (np.pi / 4)) % 1  # half-way between two modes is 1/2
    far = np.hypot(x, y) > 1.5
    assert (
        np.median(image[far & (abs(turn - 0.5) < 0.06)])
        > np.median(image[far & (abs(turn - 0.5) > 0.3)]) + 0.5
    )
    assert "spokes" in figures.ring_tails(image, experiments.ring_errors()).alt


def test_stochastic_orders():
    weak, strong = experiments.weak_curves(), experiments.strong_curves()
    assert len(weak) == 5
    for name, (steps, errors) in weak.items():
        expected = 2 if name == "stochastic Heun" else 1
        assert slope(steps, errors) == pytest.approx(expected, abs=0.1), name
    assert slope(*strong["Euler–Maruyama"]) == pytest.approx(1, abs=0.1)
    assert slope(*strong["Euler–Maruyama, geometric Brownian"]) == pytest.approx(0.5, abs=0.1)
    assert "strong order" in figures.stochastic_orders(weak, strong).alt
    found = experiments.weak_orders()
    assert found["Euler–Maruyama / stochastic Heun, 100 steps"] == pytest.approx(155, abs=2)
    assert found["Euler–Maruyama / stochastic Heun, 200 calls"] == pytest.approx(76, abs=2)


def test_the_gain_on_two_peaks_does_not_hang_on_the_quadrature():
    coarse, fine = experiments.gain_on_two_peaks(25), experiments.gain_on_two_peaks(25, points=1201, nodes=21)
    for name, value in fine.items():
        assert coarse[name] == pytest.approx(value, rel=0.1), name
    gains = experiments.gain_on_two_peaks()
    assert all(3 < v < 45 for name, v in gains.items() if name.endswith("gain, equal steps"))
    assert all(2 < v < 22 for name, v in gains.items() if name.endswith("gain, equal calls"))
    slips = [v for name, v in gains.items() if "slips" in name]
    assert min(slips) < 1 < max(slips)  # which of the two errs more depends on what is averaged


def test_errors_are_carried_and_added():
    found = experiments.error_is_a_sum()
    assert found["sum of the carried local errors"] == pytest.approx(found["error at the end"], rel=1e-9)
    orders = experiments.local_and_global()
    for name, order in (("Euler", 1), ("Heun", 2), ("RK4", 4)):
        assert orders[f"{name}: order of one step"] == pytest.approx(order + 1, abs=0.1)
        assert orders[f"{name}: order of the run"] == pytest.approx(order, abs=0.1)
    assert "fan" in figures.fan_of_errors(*experiments.fan()).alt.lower()


def test_what_spoils_an_order():
    thin, rounded = experiments.thin_curves(), experiments.rounded_curves()
    fine = thin["sd 0.005, uniform in $t$"]
    assert slope(fine[0][2:5], fine[1][2:5]) < 2 and slope(fine[0][-2:], fine[1][-2:]) > 3.7
    assert rounded["RK4, rounded time"][1][-1] > 1e5 * rounded["RK4"][1][-1]
    assert rounded["Euler, rounded time"][1][-1] == pytest.approx(rounded["Euler"][1][-1], rel=0.05)
    assert "RK4" in figures.thin_data(thin).alt and "up and down" in figures.rounded_clock(rounded).alt
    for name, (steps, errors) in experiments.rounded_plateau().items():
        few = [error for n, error in zip(steps, errors) if n <= 40]
        assert (max(few) > 5 * min(few)) == ("truncated" not in name), name  # no level, but up and down
        assert 1e-6 < min(errors) and max(errors) < 1e-3


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
    assert "y grows" in figures.stability(curves, 2.5, "Heun").alt
    assert "y shrinks" in figures.stability(curves, 2.5, "RK4").alt


def test_variable_and_grid_apart():
    """The review's table, each number of it computed apart from ours."""
    found = experiments.variable_or_grid()
    assert found["midpoint"] == pytest.approx([0.178, 0.0359, 0.00104, 3.88e-5], rel=0.01)
    assert found["RK4"] == pytest.approx([1.73, 0.198, 0.00045, 6.08e-5], rel=0.01)
    assert found["implicit Euler"] == pytest.approx([0.244, 0.0576, 0.0478, 0.0037], rel=0.01)
    gains = experiments.corner_gains()
    assert all(4 < gains[f"{name}, width 0.005: variable alone"] < 9 for name in ("Euler", "midpoint", "RK4"))
    assert gains["Euler, width 0.05: variable alone"] < 1 < gains["Euler, width 0.05: grid alone"]
    assert gains["RK4, width 0.05: then the variable"] < 1 < gains["midpoint, width 0.05: then the variable"]
    assert gains["RK4, width 0.5: grid alone"] < 1 < gains["RK4, width 0.5: then the method"]
    even = [value for name, value in experiments.implicit_lag().items() if "equal t" in name]
    assert all(1 < value < experiments.TIE for value in even) and min(experiments.implicit_lag().values()) > 1
    ends = experiments.stable_steps()
    assert ends["largest |z| at the start of a step, 60 steps in t"] < 1
    assert 7 < ends["largest |z| at the end of a step, 60 steps in t"] < 8


def test_adaptive_figure():
    log, rows = experiments.adaptive_log(), {m: experiments.adaptive_errors(m) for m in experiments.MEASURES}
    fixed = {m: experiments.fixed_errors(m)["RK4, quadratic grid"] for m in experiments.MEASURES}
    picture = figures.adaptive(experiments.TOLERANCES, rows, fixed, log)
    assert f"{sum(not accepted for *_, accepted in log)} refused" in picture.alt
    found = experiments.adaptive_against_fixed()
    over = [
        [v for name, v in found.items() if name.startswith(f"error over tolerance, {k}")]
        for k in ("least", "largest")
    ]
    assert len(over[1]) == 4 and min(over[0]) > 0.05 and max(over[1]) > 5
    ahead = [v for name, v in found.items() if name.startswith("ahead at")]
    assert len(ahead) == 8 and 4 < min(ahead) <= max(ahead) < 14


def test_the_snr_rule_needs_dimensions():
    result = experiments.langevin_stability()
    assert result["SNR rule, d = 64, sd 1"] < 1.2 and result["SNR rule, d = 2, least of 8 seeds"] > 5
    assert result["SNR rule, d = 64, sd 1"] == pytest.approx(experiments.snr_stationary(64), abs=0.01)
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


def test_noise_repairs_early_errors_and_amplifies_late_ones_on_a_gaussian():
    found, truth = experiments.repaired(), experiments.true_variance(VP(), VP().end)
    assert found["wrong early"][1] == pytest.approx([0.286, 0.277, 0.262, 0.2505], abs=5e-4)
    assert found["wrong late"][1] == pytest.approx([0.277, 0.2825, 0.297, 0.333], abs=5e-4)
    between = found["wrong between"][1]
    assert between[0] < between[2] > between[3]  # up, then down
    band = experiments.noise_in_a_band()
    assert min(band, key=lambda name: band[name] - truth) == "wrong early and late, level 2 above t = 0.1"
    assert all(v == pytest.approx(0.36, abs=1e-3) for name, v in band.items() if "all the way" in name)
    rates = list(experiments.restart_rate().values())
    assert rates[1:] == pytest.approx([rates[0]] * 2, rel=1e-3)
    assert "wrong between" in figures.repair(found, truth, "level", "noise all the way").alt


def test_wrong_weights_are_healed_in_part():
    found = {name: values for name, (_, values) in experiments.weights_repaired(n=1000, steps=150).items()}
    early, between, late = (found[f"wrong {when}"] for when in ("early", "between", "late"))
    assert early[0] > 45 > early[2] > 35 and between[2] > between[0] + 4
    assert all(abs(share - 30) < 6 for share in late)


def test_noise_at_cost():
    found = experiments.repaired_at_cost()
    of = lambda case, name, what: found[f"{case}, {name}: {what}"]
    names = list(experiments.REPAIRERS)
    for case in ("64 calls, Karras", "128 calls, Karras", "64 calls, quadratic"):
        added = [of(case, name, "too wide adds") for name in names]
        assert max(added) == added[0] and min(added) == of(case, "stochastic Heun, level 2", "too wide adds")
        right = {name: abs(of(case, name, "model right")) for name in names}
        assert min(right, key=right.get) == "stochastic Heun, level 1"
        assert right["Restart, 4 rounds"] < right["churn 10"]
    assert right["Restart, 4 rounds"] > 2 * right["EDM's Heun (no noise)"]  # on the quadratic grid


def test_what_a_shift_does():
    errors = experiments.shift_errors()
    best = {name: shifts[int(np.argmin(e))] for name, (shifts, e) in errors.items()}
    assert best["Euler = DDIM, ring × 1"] < 1 < best["Euler = DDIM, ring × 6"]
    assert "log a" in figures.shift(errors).alt
    orders = list(experiments.flow_orders().values())
    assert orders == pytest.approx([1, 2, 2], abs=0.1)


def test_who_leads_at_which_budget():
    ring = {m: experiments.measured(experiments.budget(), m) for m in experiments.MEASURES}
    digits = experiments.measured(experiments.digits_budget(), "rmse")
    alt = figures.budget(ring, digits).alt
    assert "DDIM at 8" in alt and "quadratic grid" in alt
    quadratic = experiments.leaders(experiments.budget(experiments.WINNERS_AT, "quadratic"), "median")
    assert (
        quadratic[-1][0] == "RK4 in t" and quadratic[-1][1] > 10 and quadratic[-1][2] == experiments.BATCHES
    )


def test_the_grid_decides_too():
    found = experiments.ring_winners()
    least = [v for name, v in found.items() if name.endswith("median, least")]
    assert len(least) == 4 and min(least) > 3
    assert found["uniform: rmse, least"] < experiments.TIE < 5 < found["Karras: rmse, least"]
    ties = experiments.ties()
    assert ties["ties among 16: rmse"] > 2 * ties["ties among 16: median"]
    assert ties["of the leads, the first changes between batches: rmse"] == 0
    digits = experiments.digits_winners()
    for grid in experiments.GRIDS:
        at_8 = experiments.leaders(experiments.digits_budget(experiments.WINNERS_AT, grid))[0]
        assert at_8[0] == "DDIM"
        if grid != "uniform":
            assert digits[f"{grid}, 64 calls: order of the best"] == 4
    even = experiments.digits_equal_steps()
    assert even["Euler in t: 96 calls"] < even["RK4 in t: 96 calls"]
    assert even["Euler in t: 128 calls"] > even["RK4 in t: 128 calls"]
    fewest = experiments.fewest_calls()
    assert fewest["Heun in t"] < fewest["DDIM"]


def test_accuracy_buys_little_on_digits():
    result = experiments.accuracy_and_quality()
    ratio = result["DDIM, 50 calls: off the flow by"] / result["DDIM, 1000 calls: off the flow by"]
    assert 8 < ratio < 13
    few, many = (result[f"DDIM, {calls} calls: Fréchet distance"] for calls in (50, 1000))
    assert abs(few - many) < result["DDIM, 50 calls: spread between seeds"]


def test_what_the_recorded_study_says():
    curves, (real, spread) = experiments.quality()
    alt = figures.quality(curves, (real, spread), experiments.seed_spreads()).alt
    assert all(len(values) == 10 for values in experiments.seed_spreads().values())
    assert all(v > 0.1 for name, v in experiments.spread_ratio().items() if name.endswith(": p"))
    assert "DDIM 0.24 at 10 calls" in alt and "fresh real digits" in alt.lower()
    head, *rows = experiments.quality_table()
    table = {name: [float(v) if v != "–" else None for v in values] for name, *values in rows}
    at_10 = {name: values[0] for name, values in table.items()}
    assert sorted(at_10, key=at_10.get)[:2] == ["EDM's Heun", "DDIM"]
    assert table["SDE-Heun"][0] < table["SDE-Euler"][0] and table["SDE-Heun"][2] > table["SDE-Euler"][2]
    posterior, beta = table["DDPM, posterior variance"], table["DDPM, beta"]
    assert posterior[1] < beta[1] and posterior[2] > beta[2]
    at_1000 = {name: values[6] for name, values in table.items() if values[6] is not None}
    assert max(at_1000, key=at_1000.get) == "Predictor-corrector"
    for name in set(experiments.DRAWN) - {"DDPM, posterior variance"}:
        assert real + spread < table[name][3] < 2 * real, name


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
    assert head[-1] == "measured" and len(rows) == 14
    for name, _, _, promised, measured in rows:
        if name == "rk45":
            assert measured == "tol^1.0"
        else:
            assert float(measured) == pytest.approx(int(promised), abs=0.1), name


def test_score_errors_grow_towards_the_data():
    result = experiments.score_errors()
    assert result["score"] == sorted(result["score"], reverse=True)
