"""The figures of chapter 4 draw, say what they show, and the numbers that its prose quotes come out."""

import re

import numpy as np
import pytest

from book.ch04 import experiments, figures
from book.plots import Picture
from book.problems import RING
from toolkit.convergence import slope

pytestmark = pytest.mark.slow


def test_noise_bends_at_the_data_end_of_time():
    alt = figures.why_lambda(RING).alt
    assert float(re.search(r"last ([\d.]+) % of time", alt)[1]) < 35


def test_naive_phi_has_no_digit_left():
    z, errors = experiments.phi_errors()
    assert errors["recursion, float32"][z < 4e-3].min() > 0.3
    assert errors["recursion, float64"][z < 3e-6].min() > 0.3
    assert isinstance(figures.phi_errors(z, errors), Picture)


def test_weights_of_noise_prediction_add_up_to_more_the_longer_the_step():
    assert "total of 19.1" in figures.kernels(3.0).alt and "total of 0.95" in figures.kernels(3.0).alt


def test_slopes_of_every_solver_in_the_plane():
    result = experiments.curves(budgets=(20, 50, 100, 200), n=20)
    orders = {name: experiments.order_of(rows, first=1) for name, rows in result.items()}
    for names, order in (
        (("DDIM = DPM-1",), 1),
        (("DPM-2", "Heun, σ/α", "++2S", "++2M", "3M, divided", "iPNDM-4"), 2),
        (("DPM-3", "++3M", "UniPC-2", "DEIS-tAB-3"), 3),
        (("UniPC-3",), 4),
    ):
        assert all(abs(orders[name] - order) < 0.3 for name in names), orders
    curves = [(name, (rows["nfe"], rows["rmse"])) for name, rows in result.items()]
    groups = {f"from {i}": dict(curves[i : i + 5]) for i in range(0, len(curves), 5)}  # fewer than marks
    assert "UniPC-3 " in figures.panels(groups, first=1).alt


def test_calls_are_what_the_axis_says():
    result = experiments.curves(budgets=(10, 20), n=8)
    for name, rows in result.items():
        assert all(n <= b for n, b in zip(rows["nfe"], (10, 20))), name
        assert rows["nfe"][-1] >= 18, name


def test_far_modes_halve_the_slope_of_the_mean_square_only():
    result = experiments.flipped()
    assert result["DDIM, slope of rmse"] == pytest.approx(0.5, abs=0.12)
    assert result["DDIM, slope of median"] == pytest.approx(1, abs=0.12)


def test_local_orders_and_their_figure():
    orders = experiments.local_orders()
    assert orders["DPM-3, r_2=1/2"] == pytest.approx(3, abs=0.15)
    assert "slope 4.0" in figures.one_step(*experiments.one_step()).alt


def test_factor_two_costs_an_order_and_wins_at_five_calls():
    result = experiments.factor_two()
    assert result["++3M: order, 50 to 1000 calls"] == pytest.approx(3, abs=0.1)
    assert result["3M, divided: order, 50 to 1000 calls"] == pytest.approx(2, abs=0.1)
    assert result["3M, divided: error, 5 calls"] < result["++3M: error, 5 calls"]
    assert result["3M, divided: error, 200 calls"] > 15 * result["++3M: error, 200 calls"]


def test_identities_hold_to_rounding():
    assert max(experiments.identities().values()) < 1e-11


def test_few_calls_as_the_prose_has_them():
    four = experiments.at_four()
    ddim = four["DDIM = DPM-1, 4 calls"]
    assert four["DPM-2, 4 calls"] / ddim == pytest.approx(17, rel=0.1)
    assert four["Heun, σ/α, 4 calls"] / ddim == pytest.approx(66, rel=0.1)
    assert four["++2M, 4 calls"] < 0.55 * ddim and four["2M, noise, 4 calls"] < 0.45 * ddim
    assert four["most calls at which DPM-2 loses to DDIM"] == 16
    ratios = experiments.ratios()
    assert ratios["DDIM / 2M, 24 calls"] == pytest.approx(5, rel=0.1)
    assert ratios["DDIM / 2M, 192 calls"] == pytest.approx(49, rel=0.1)


def test_few_calls_depend_on_the_grid():
    result = experiments.few_by_grid()
    ratio = lambda grid, n: result[f"{grid}, {n} calls: 2M"] / result[f"{grid}, {n} calls: DDIM"]
    assert max(ratio("uniform λ", n) for n in (4, 5)) < 0.85 < ratio("uniform λ", 6) < 1.15
    assert min(ratio(grid, n) for grid in ("quadratic", "Karras") for n in (5, 6)) > 1.5
    for n in (4, 5, 6):
        row = {name: e for name, e in result.items() if f"{n} calls" in name and "sd" not in name}
        assert min(row, key=row.get) == f"uniform λ, {n} calls: 2M with the noise"
    for n in (4, 5):
        row = {name: e for name, e in result.items() if f"quadratic, {n} calls" in name and "sd" not in name}
        assert min(row, key=row.get) == f"quadratic, {n} calls: DDIM"


def test_rounding_works_against_2m_until_its_own_error_is_small():
    signs = list(experiments.rounding_against_2m().values())
    assert max(signs[:3]) < -0.6 and signs[3] > 0.6


def test_ten_calls_reach_the_flow_itself():
    result = experiments.ten_or_thousand()
    assert abs(result["++2M, 10 calls"] - result["the flow itself (UniPC-3, 20)"]) < 0.03
    assert result["DPM-2, 10 calls"] > 2 * result["++2M, 10 calls"]
    assert result["DPM-3, 9 calls"] > 8 * result["++2M, 10 calls"]


def test_inverted_quotient_keeps_the_order_but_not_exactness():
    result = experiments.inverted_quotient()
    assert all(v == pytest.approx(2, abs=0.1) for k, v in result.items() if k.endswith("order"))
    assert result["r inverted, alternating 3:1: error / 2M's"] == pytest.approx(2, abs=0.15)
    for grid in ("uniform t", "quadratic"):
        assert 0.85 < result[f"r inverted, {grid}: error / 2M's"] < 1
    errors, short = experiments.exactness(), experiments.exactness((1,), shrink=10)
    assert errors["2M, exact form, r inverted"][1] > 0.5
    assert short["2M, midpoint form"][0] < 0.2 * errors["2M, midpoint form"][1]
    assert short["2M, midpoint form, r inverted"][0] > 0.8 * errors["2M, midpoint form, r inverted"][1]


def test_expanding_in_lambda_or_t_is_a_matter_of_the_constant():
    result = experiments.lambda_or_t()
    medians = {key: float(np.mean(pair[1])) for key, pair in result.items()}
    assert all(1 / 11 < m < 1 / 2.4 for (grid, _), m in medians.items() if grid != "uniform t")
    assert [n for n in experiments.LINE_COUNTS if medians["uniform t", n] > 1] == [20]
    assert all(0.5 < float(np.mean(r[0])) < 0.8 for (g, _), r in result.items() if g != "uniform t")
    for (grid, _), pair in experiments.lambda_or_t("five").items():
        median = float(np.mean(pair[1]))
        assert median > 1.4 if grid == "uniform t" else 0.35 < median < 0.7


def test_divided_form_is_ahead_with_few_calls():
    calls, result = experiments.DIVIDED_CALLS, experiments.divided_few()
    last = {"five modes": 6, "ring": 24, "ring, median": 48, "digits": 8, "digits, guidance 8": 24}
    for problem, edge in last.items():
        wrong, second = (
            {n: float(np.mean(r)) for n, r in zip(calls, result[problem][name])}
            for name in ("3M, divided", "++2M")
        )
        level = (12,) if problem == "digits" else ()
        assert all((wrong[n] < 1) == (n <= edge) for n in calls if n not in level), problem
        assert all(abs(wrong[n] - 1) < 0.1 for n in level)
        assert all(second[n] < min(1, wrong[n]) for n in (4, 6))
    assert wrong[24] < 0.8
    ring = {name: np.mean(rows[calls.index(24)]) for name, rows in result["ring, median"].items()}
    assert ring["3M, divided"] < 0.5 and ring["++2M"] > 1.3  # not a matter of long steps alone


def test_stable_steps_and_their_figure():
    result = experiments.stable_steps()
    edge = result["DPM-2: unstable from h ="]
    factor = lambda mu: 1 - 2 * mu * np.sinh(edge / 2) * (1 - mu * (1 - np.exp(-edge / 2)))  # (4.14)
    assert factor(np.linspace(0, 1, 1001)).min() == pytest.approx(-1, abs=1e-3)
    assert result["DPM-3: unstable from h ="] == pytest.approx(4.75, abs=0.02)
    assert result["++3M: unstable from h ="] == pytest.approx(5.95, abs=0.05)
    stable = ("DDIM", "++2S", "++2M", "2M, noise")
    assert all(f"{name}: unstable from h =" not in result for name in stable)
    sizes, limits = experiments.largest_mu()
    middle = sizes.index(4.9)
    assert limits["++3M"][middle] == pytest.approx(1.2, abs=0.05) and limits["++3M"][-1] < 0.2
    assert limits["++2M"][-1] == pytest.approx(1.5, abs=0.05) and limits["++2S"][-1] > 1.99
    assert "++3M 1.2" in figures.stability(sizes, limits).alt
    bars = experiments.growth_of_all(4.8, 0.5)
    assert [name for name, v in bars.items() if v > 1] == ["DPM-2", "Heun, σ/α"]
    assert "Unstable: DPM-2 and Heun" in figures.growth_bars(bars, 4.8, 0.5).alt


def test_a_small_error_in_one_step_is_not_enough():
    result = experiments.local_is_not_global()
    assert result["root −5: slope of one step's error"] == pytest.approx(4, abs=0.1)
    assert result["root −5, 20 steps: error at the end"] > 1e5
    adams = [result[f"Adams-Bashforth, {n} steps: error at the end"] for n in (20, 40)]
    assert slope((20, 40), adams) == pytest.approx(2, abs=0.3)


def test_order_that_survives_to_zero_is_the_grid_s():
    for k, order in enumerate(experiments.orders_at_zero().values(), 1):
        assert order == pytest.approx(k, abs=0.25)


def test_grids_and_ends():
    result = experiments.grid_errors()
    for name in ("++3M", "UniPC-3"):
        assert min(result[name], key=result[name].get) == "uniform λ"
    assert min(result["++2M"], key=result["++2M"].get) == "quadratic"
    assert min(result["iPNDM-4"], key=result["iPNDM-4"].get) == "uniform t"
    table = experiments.grids_table((10, 20))
    worst = max(experiments.GRIDS, key=lambda grid: float(table[f"iPNDM-4, {grid} | ring, 20 calls"]))
    assert worst == "uniform t" and table["iPNDM-4, quadratic | five modes, 10 calls"] == "1"
    assert float(table["UniPC-3, quadratic | five modes, 10 calls"]) > 10
    assert "uniform λ" in figures.grid_choice(result).alt
    alt = figures.hidden(experiments.hidden_switch(), experiments.whole_times()).alt
    assert "at 9 steps" in alt and "at 10" in alt


def test_guidance_as_the_prose_has_it():
    result = experiments.guided_digits()
    growth = {name: errors[-1] / errors[0] for name, (_, errors) in result.items()}
    assert growth["DPM-2"] == pytest.approx(36, rel=0.1) and growth["++2S"] < 4
    assert result["UniPC-3"][1][-1] > result["DDIM = DPM-1"][1][-1] > result["++2S"][1][-1]
    assert "DPM-2" in figures.guidance(result).alt


def test_noise_against_data_over_the_whole_range():
    calls = (8, 12, 20, 24, 48)
    every = experiments.noise_over_data(calls)
    mean = lambda pair, problem, n: np.mean(every[pair][problem][calls.index(n)])
    single, memory = "DPM-2 / 2S, equal λ", "2M: noise / data, quadratic"
    problems = list(every[single])
    assert all(1.9 < mean(single, problem, 8) < 12.5 for problem in problems)
    assert mean(single, "digits", 48) < 0.9 and all(mean(single, p, 48) > 1.05 for p in problems[1:])
    assert mean(single, "digits, guidance 8", 12) > 1.3 * mean(single, "digits, guidance 8", 8)
    model, x, want = experiments.truth(experiments.EIGHT, "ring")
    both = [experiments.in_batches(experiments.end_of(n, model, x, 48) - want) for n in ("DPM-2", "++2S")]
    square, median = (np.mean(both[0][k] / both[1][k]) for k in range(2))
    assert square < 0.95 and median > 1.6
    assert all(0.9 < mean(single, "digits", n) < 1.15 for n in (20, 24))
    assert all(mean(memory, problem, 8) < 0.85 for problem in problems)
    assert "five problems" in figures.noise_over_data(calls, every).alt


def test_the_closing_advice_is_the_table_s():
    rows = {row[0]: row for row in experiments.closing_table()}
    at_8 = {name: row[4][0] for name, row in rows.items()}
    assert min(at_8, key=at_8.get) == "2M, noise" and rows["2M, noise"][4][1] == "quadratic"
    at_24 = {name: row[5][0] for name, row in rows.items()}
    assert min(at_24, key=at_24.get) == "UniPC-3"
    assert {name for name, row in rows.items() if row[4][1] == "uniform λ"} >= {"++3M", "UniPC-3"}


def test_the_advice_for_guidance_is_the_second_table_s():
    means = {key: {name: e.mean() for name, e in row.items()} for key, row in experiments.choices().items()}
    best = lambda *setting: min(
        (e, name, grid) for (*s, grid), row in means.items() if tuple(s) == setting for name, e in row.items()
    )[1:]
    for setting in (("digits", 2, 10), ("digits", 4, 12), ("digits", 8, 12), ("ring", 6, 16)):
        assert best(*setting) == ("2M, noise", "quadratic")
    for setting in (("digits", 1, 12), ("digits", 1, 16), ("digits", 4, 24)):
        assert best(*setting) == ("UniPC-3", "uniform λ")
    assert best("ring", 6, 10) == ("DDIM = DPM-1", "quadratic")


def test_the_linear_part_has_its_minima_beside_one_and_a_constant_pays_most():
    curves = {name: experiments.rate_curves(name, (16,), 1)[16] for name in ("five", "ring")}
    for rates, errors in curves.values():
        best = rates[int(np.argmin(errors))]
        assert 1.04 < abs(best) < 1.13
        assert errors[rates.index(-best)] == pytest.approx(min(errors))
        assert errors[rates.index(1.0)] > 2 * min(errors)
    pays = experiments.rates_pay()
    for problem, low, high in (("five modes", 6.5, 9), ("ring", 2.4, 3), ("digits", 1.15, 1.4)):
        for n in (8, 16, 32):
            row = {k: float(np.mean(v)) for k, v in pays[problem, n].items()}
            assert low < row["constant"] < high and 1.05 < row["changing"] < row["constant"]
    alt = figures.rates(np.zeros(2), {"ring": experiments.stationary_rates("ring")}, curves, 16).alt
    assert "ring 1.38" in alt and "five at ±1.1" in alt


def test_a_computed_grid_is_good_for_what_it_was_made_for():
    errors = experiments.computed_errors()
    mean = lambda grid, name: float(errors[grid][name].mean())
    usual = list(experiments.GRIDS)
    assert mean("fitted to 2M", "2M") < 0.02 * min(mean(grid, "2M") for grid in usual)
    assert abs(mean("bound (AYS)", "SDE-2M, spread") - 0.08) < 0.006
    assert min(mean(grid, "SDE-2M, spread") for grid in usual) > 0.12
    assert abs(mean("carried (OSS)", "DDIM") / mean("fitted to DDIM", "DDIM") - 1) < 0.15
    starts = experiments.other_starts()
    squares, medians = starts["2M: best usual grid / its fit"][6].mean(1)
    assert 6 < squares < 16 and medians > 25
    squares, medians = starts["DDIM: local errors / quadratic"][7].mean(1)
    assert squares > 1.15 and 0.8 < medians < 1.25
    away = experiments.transfer()
    assert all(away[f"{problem}, 2M | fitted"].mean() > 1.3 for problem in ("digits", "five modes"))
    rows = experiments.grid_lab("2M", 2.5, 1.6)
    assert "0.0015" in rows["yours"][1] and "yours" in figures.node_rows(rows).alt


def test_adaptive_figure_and_the_stuck_controller():
    result = experiments.adaptive_curves((0.1, 0.01), n=8)
    assert "DPM-Solver-23" in figures.calls_and_error(result).alt
    assert slope(*result["DPM-Solver-23"]) > 1
    runs = experiments.controllers(tolerances=(0.02,), seeds=(1, 2), n=8, tries=150)
    for (_, safety), rows in runs.items():
        assert all((reached == 1e-3) == (safety < 1) for reached, *_ in rows)
    for right, wrong in zip(runs["1/2", 0.9], runs["1/3", 0.9]):
        assert wrong[1] < right[1] and wrong[2] < right[2]


def test_adaptive_steps_against_the_grids_by_both_measures():
    calls, ratios = experiments.adaptive_or_fixed((0.001,))[3, 0.001]
    mean = {key: np.mean(values) for key, values in ratios.items()}
    assert mean["quadratic", "rms"] > 1.15 and 0.6 < mean["quadratic", "median"] < 1.5
    assert mean["uniform t", "rms"] > 10 and len(calls) == experiments.BATCHES


def test_the_widget_draws_the_same_bytes_twice_and_answers_its_questions():
    draw = lambda *at: figures.explorer(experiments.digit_runs(*at), *at)
    error = lambda *at: float(re.search(r"error ([\d.]+)\. At", draw(*at).alt)[1])
    assert error("digits", "DPM-2", 8, "uniform λ", 4) > 3 * error("digits", "++2S", 8, "uniform λ", 4)
    assert error("digits", "++3M", 8, "uniform t", 1) > 4 * error("digits", "++2M", 8, "uniform t", 1)
    assert error("ring", "iPNDM-4", 6, "uniform λ", 1) == pytest.approx(0.018, abs=0.001)
    pictures = [draw("ring", "++2M", 8, "Karras", 2).png for _ in range(2)]
    assert pictures[0] == pictures[1]


def test_recorded_errors_of_the_widget_are_its_own():
    study = experiments.recorded("widget_errors")
    for data, solver, calls, grid, scale in (
        ("digits", "++2M", 8, "quadratic", 2), ("ring", "2M, noise", 6, "uniform λ", 1),
    ):  # fmt: skip
        kept = study["errors"][data][solver][grid][str(scale)][study["calls"].index(calls)]
        assert experiments.widget_error(data, solver, calls, grid, scale) == pytest.approx(kept, rel=2e-3)


def test_the_closing_table_is_complete():
    rows = experiments.closing_table()
    assert [row[0] for row in rows] == list(experiments.DIGIT_SOLVERS)
    assert all(np.isfinite([*row[1:4], row[4][0], row[5][0]]).all() for row in rows)
