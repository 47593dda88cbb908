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
    groups = {"all": {name: (rows["nfe"], rows["rmse"]) for name, rows in result.items()}}
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
    assert "slope" in figures.basins(experiments.basins()).alt


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
    assert four["Heun, σ/α, 4 calls"] / ddim == pytest.approx(64, rel=0.1)
    assert four["++2M, 4 calls"] < 0.6 * ddim and four["++2S, 4 calls"] < ddim
    assert four["most calls at which DPM-2 loses to DDIM"] == 16


def test_few_calls_depend_on_the_grid():
    result = experiments.few_by_grid()
    ahead = lambda grid, n: result[f"{grid}, {n} calls: 2M"] < result[f"{grid}, {n} calls: DDIM"]
    assert [n for n in (4, 5, 6) if ahead("uniform λ", n)] == [4, 5]
    assert not any(ahead(grid, n) for grid in ("quadratic", "Karras") for n in (4, 5, 6))
    for n in (5, 6):
        row = {name: e for name, e in result.items() if f"{n} calls" in name}
        assert min(row, key=row.get) == f"quadratic, {n} calls: DDIM"


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
    assert experiments.exactness()["the same, r inverted"][1] > 0.1


def test_expanding_in_lambda_or_t_is_a_matter_of_the_constant():
    result = experiments.lambda_or_t()
    assert all(0.4 < a / b < 0.8 for (grid, _), (a, b) in result.items() if grid != "uniform t")
    assert {n for (grid, n), (a, b) in result.items() if grid == "uniform t" and a > b} == {20, 40}
    orders = experiments.expansion()
    for grid in ("quadratic", "uniform λ", "Karras"):
        assert all(orders[f"{grid}: slope, line in {v}"] == pytest.approx(2, abs=0.1) for v in "λt")


def test_divided_form_is_ahead_with_few_calls():
    calls = (4, 5, 6, 8, 12, 16, 24)
    result = experiments.divided_few(calls)
    for problem, last in (("five modes", 6), ("digits", 16)):
        right, wrong, second = (result[problem][name] for name in ("++3M", "3M, divided", "++2M"))
        assert [n for n, a, b in zip(calls, wrong, right) if a < b] == [n for n in calls if n <= last]
        assert all(c < min(a, b) for n, a, b, c in zip(calls, wrong, right, second) if n <= 6)


def test_stable_steps_and_their_figure():
    result = experiments.stable_steps()
    edge = result["DPM-2: unstable from h ="]
    factor = lambda mu: 1 - 2 * mu * np.sinh(edge / 2) * (1 - mu * (1 - np.exp(-edge / 2)))  # (4.14)
    assert factor(np.linspace(0, 1, 1001)).min() == pytest.approx(-1, abs=1e-3)
    assert result["DPM-3: unstable from h ="] == pytest.approx(4.75, abs=0.02)
    assert all(f"{name}: unstable from h =" not in result for name in ("DDIM", "++2S", "++2M", "++3M"))
    sizes, limits = experiments.largest_mu()
    assert limits["++3M"][-1] == pytest.approx(1.2, abs=0.1) and limits["++2S"][-1] > 2
    assert "++3M 1.2" in figures.stability(sizes, limits).alt


def test_order_that_survives_to_zero_is_the_grid_s():
    for k, order in enumerate(experiments.orders_at_zero().values(), 1):
        assert order == pytest.approx(k, abs=0.25)


def test_grids_and_ends():
    result = experiments.grid_errors()
    for name in ("++3M", "UniPC-3"):
        assert min(result[name], key=result[name].get) == "uniform λ"
    assert min(result["++2M"], key=result["++2M"].get) == "quadratic"
    assert min(result["iPNDM-4"], key=result["iPNDM-4"].get) == "uniform t"
    assert "uniform λ" in figures.grid_choice(result).alt
    alt = figures.hidden(experiments.hidden_switch(), experiments.whole_times()).alt
    assert "at 9 steps" in alt and "at 10" in alt


def test_guidance_as_the_prose_has_it():
    result = experiments.guided_digits()
    growth = {name: errors[-1] / errors[0] for name, (_, errors) in result.items()}
    assert growth["DPM-2"] > 20 and growth["++2S"] < 5
    assert result["UniPC-3"][1][-1] > result["DDIM = DPM-1"][1][-1] > result["++2S"][1][-1]
    assert "DPM-2" in figures.guidance(result).alt


def test_adaptive_figure_and_the_stuck_controller():
    result = experiments.adaptive_curves((0.1, 0.01), n=8)
    assert "DPM-Solver-23" in figures.calls_and_error(result).alt
    assert slope(*result["DPM-Solver-23"]) > 1
    tries = experiments.controllers(n=8)
    assert (
        tries["exponent 1/3, safety 1: reached t ="] > 1e-3 == tries["exponent 1/2, safety 0.9: reached t ="]
    )


def test_the_widget_draws_the_same_bytes_twice_and_answers_its_questions():
    draw = lambda *at: figures.explorer(experiments.digit_runs(*at), *at)
    error = lambda *at: float(re.search(r"error ([\d.]+)\.", draw(*at).alt)[1])
    assert error("DPM-2", 8, "uniform λ", 4) > 3 * error("++2S", 8, "uniform λ", 4)
    assert error("++3M", 8, "uniform t", 1) > 4 * error("++2M", 8, "uniform t", 1)
    pictures = [draw("++2M", 8, "Karras", 2).png for _ in range(2)]
    assert pictures[0] == pictures[1]


def test_the_closing_table_is_complete():
    rows = experiments.closing_table()
    assert [row[0] for row in rows] == list(experiments.DIGIT_SOLVERS)
    assert all(np.isfinite(row[:7][1:]).all() for row in rows)
