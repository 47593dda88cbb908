"""The figures of chapter 6 draw, say what they show, and the numbers that its prose quotes come out."""

import math
import re

import pytest
import torch

from book.ch06 import experiments, figures
from book.plots import Picture
from toolkit import sample
from toolkit.amed import Predictor, amed_solver, best_time
from toolkit.convergence import reference

pytestmark = pytest.mark.slow


def numbers(text):
    return [float(v) for v in re.findall(r"\d*\.\d+|\d+", text)]


def test_of_the_four_guesses_the_arithmetic_midpoint_is_nearest():
    alt = figures.guesses(experiments.line_step()).alt
    mean = float(re.search(r"mean direction is ([\d.]+\d)", alt)[1])
    result = {
        name: float(re.search(rf"{name} ([\d.]*\d)", alt)[1]) for name in experiments.GUESSES if name != "RK4"
    }
    assert min(result, key=lambda name: abs(result[name] - mean)) == "arithmetic midpoint"
    errors = experiments.one_large_step()
    assert errors["Heun"] > errors["geometric midpoint"] > errors["Euler"] > errors["arithmetic midpoint"]


def test_circle_and_parabola_are_drawn_with_their_means():
    picture = figures.vector_theorem()
    assert "length 0.9" in picture.alt and len(picture.axes) == 2


def test_components_rank_one_way_and_distances_another():
    result = experiments.shapes()
    vp, edm = result["VP coordinates"], result["EDM, from 80"]
    assert vp[0][0] > 300 * edm[0][0] and vp[1][0] < edm[1][0] and edm[1][1] < 0.3 * edm[1][0]
    assert "600 times smaller" in figures.components(result).alt


def test_distance_from_the_plane_of_a_planar_path():
    """A path in a plane is off its line and not off its plane; a helix is off both."""
    u = torch.linspace(0, 3, 50, dtype=torch.float64)
    circle = torch.stack([u.cos(), u.sin(), 0 * u], 1)[:, None]
    helix = torch.stack([u.cos(), u.sin(), u], 1)[:, None]
    assert experiments.off_the_plane(circle, 1) > 0.1 > 1e-9 > experiments.off_the_plane(circle, 2)
    assert experiments.off_the_plane(helix, 2) > 0.02
    assert experiments.length_over_chord(circle) == pytest.approx(3 / (2 - 2 * math.cos(3)) ** 0.5, rel=1e-3)


def test_the_prediction_moves_along_few_directions():
    one, two, off, bent, flat, turned = experiments.prediction_path().values()
    assert 0.9 < one < two < 1 and 0.75 < bent < 0.87 and bent < flat < 0.97
    assert 0.08 < off < 0.13 and 0.25 < turned < 0.35


@pytest.mark.parametrize("seed", [1, 2])
def test_the_best_time_moves_away_from_the_middle_where_the_data_appear(seed):
    model = experiments.TRIANGLE.model(experiments.WIDE)
    high = best_time(model, experiments.starts(experiments.TRIANGLE, 10.0, 32, seed), 10.0, 3.7)[0]
    low = best_time(model, experiments.starts(experiments.TRIANGLE, 1.2, 32, seed), 1.2, 0.29)[0]
    assert (high - 0.5).abs().max() < 0.02 and low.median() < 0.45 and low.std() > 5 * high.std()
    assert isinstance(figures.best_times(*experiments.best_times(n=16)), Picture)


def test_the_failure_has_slope_two_and_is_small_at_large_steps():
    result = experiments.failure()
    for kind in ("best r, Euler's line", "best r, exact trajectory", "r = 1/2: DPM-Solver-2"):
        assert result[f"{kind} | slope"] == pytest.approx(2, abs=0.2)
    ends = {k.split(" | ")[0]: v for k, v in result.items() if k.endswith("from a level to its tenth")}
    assert ends["r = 1/2: DPM-Solver-2"] > ends["Euler: the direction at the start"] > 0.5
    assert (
        ends["best r, Euler's line"] < 0.05 and 0.15 < result["best r, Euler's line | one in ten, more than"]
    )
    high = {k.split(" | ")[0]: v for k, v in result.items() if k.endswith("from level 4 to its tenth")}
    assert high["r = 1/2: DPM-Solver-2"] < high["Euler: the direction at the start"] < 0.2
    assert "log-log" in figures.failure(experiments.SIZES, experiments.residuals()).alt


def test_the_error_of_one_step_is_the_residual_times_the_step():
    model, x, end, best = experiments.one_step_truth()
    made = sample(amed_solver, model, x, list(experiments.STEP), predictor=experiments.Exactly(best)).x
    left = best_time(model, x, *experiments.STEP, along="euler")[1]
    length = (end - x).norm(dim=1)
    assert torch.allclose((made - end).norm(dim=1), left * length, atol=1e-5)


def test_features_help_and_a_layer_norm_takes_them_away():
    result = experiments.what_is_learned()
    assert result["error, no features"] < 0.3 * result["error, r = 1/2"]
    assert result["error, layer norm"] == pytest.approx(result["error, no features"], abs=0.015)
    assert result["error, features"] < 0.65 * result["error, no features"]
    assert result["error, exact best r"] < result["error, features"]
    assert "diagonal" in figures.learned_and_best(*experiments.best_and_learned()).alt
    assert sum(p.numel() for p in Predictor(0).parameters()) == 195


@pytest.mark.parametrize("number", [3, 20])
def test_the_widget_draws_the_same_bytes_twice_and_knows_the_best(number):
    best = float(experiments.one_step_truth()[3][number])
    draw = lambda r: figures.one_step(experiments.one_step(r, number))
    at_best, elsewhere = (draw(r) for r in (best, min(best + 0.3, 0.95)))
    error = [float(re.search(r"left is ([\d.]+\d)", p.alt)[1]) for p in (at_best, elsewhere)]
    assert error[0] < error[1]
    assert at_best.png == draw(best).png


@pytest.mark.parametrize("number", [9, 21])
def test_asked_on_the_exact_path_the_step_is_that_of_the_paths_own_direction(number):
    model, x, end, _ = experiments.one_step_truth()
    start, stop = experiments.STEP
    step = experiments.one_step(0.5, number, "exact path")
    middle = (start * stop) ** 0.5
    state = reference(model, x[number : number + 1], start, middle)
    assert torch.allclose(step["asked"], state, atol=1e-6)
    made = x[number] + (stop - start) * model.eps(state, middle)[0]
    assert step["error"] == pytest.approx(float((made - end[number]).norm()), abs=1e-5)
    shares, errors = step["errors"]
    assert min(errors) == errors[int(round(100 * step["best"]))] <= step["error"]
    assert "exact path" in figures.one_step(step).alt


def test_two_steps_are_two_of_the_samplers_and_the_best_share_comes_nearer_to_the_middle():
    model, x, end, _ = experiments.one_step_truth()
    start, stop = experiments.STEP
    for number, share in ((3, 0.5), (7, 0.28)):
        step = experiments.one_step(share, number, steps=2)
        levels, r = [start, (start * stop) ** 0.5, stop], torch.full((1,), share, dtype=torch.float64)
        state = x[number : number + 1]
        made = sample(amed_solver, model, state, levels, predictor=experiments.Exactly(r)).x
        assert step["error"] == pytest.approx(float((made[0] - end[number]).norm()), abs=1e-5)
        assert "Two steps" in figures.one_step(step).alt and step["learned"] is None
    best = lambda number, steps: experiments.one_step(0.5, number, steps=steps)["best"]
    nearer = [best(number, 1) < best(number, 2) < 0.5 for number in range(experiments.WIDGET_SAMPLES)]
    assert sum(nearer) >= 0.9 * len(nearer)


def test_samples_7_9_and_21_are_what_the_text_says():
    at = lambda r, number, *along: experiments.one_step(r, number, *along)
    assert at(0.5, 7)["error"] == pytest.approx(0.91, abs=0.005)
    assert at(0.5, 7, "Euler's line", 2)["error"] == pytest.approx(0.08, abs=0.005)
    assert at(0.5, 7)["error"] > 5 * at(at(0.5, 7)["best"], 7)["error"]
    assert at(0.5, 9)["best"] < 0.01
    assert at(0.5, 21)["best"] > at(0.5, 21)["learned"] + 0.08
    assert at(0.5, 21)["error"] < at(at(0.5, 21)["learned"], 21)["error"]
    assert at(0.5, 21, "exact path")["error"] < 0.3 * at(0.5, 21)["error"]
    assert at(0.5, 9, "exact path")["error"] > at(0.5, 9)["error"]


def test_a_teacher_of_two_substeps_spoils_its_student():
    result = experiments.biased()
    for who, times in (("teacher", 5), ("student", 1.5)):
        two, four = (result[f"{k} substeps: the {who}, from the flow"] for k in (2, 4))
        assert two > times * four
    student, rival = "2 substeps: the student, from", "2 substeps: iPNDM, from the flow"
    assert result[f"{student} its teacher"] < result["2 substeps: iPNDM, from this teacher"]
    assert result[f"{student} the flow"] > 1.5 * result[rival]


def test_three_calls_of_digits_in_order():
    told = re.search(r"from it: (.*)\.$", figures.three_calls(experiments.three_calls(4)).alt)[1]
    values = dict(re.findall(r"(DDIM|DPM-Solver-2|plugged iPNDM|iPNDM)(?: \*)? ([\d.]+)", told))
    assert float(values["DPM-Solver-2"]) > float(values["DDIM"]) > float(values["plugged iPNDM"])


def test_analytic_step_and_crossing():
    assert isinstance(figures.stand_ins(*experiments.stand_ins_by_level((80, 5))), Picture)
    moved = experiments.analytic_runs()
    for plain, told in zip(*list(moved.values())):
        assert told < plain
    result = experiments.order_misleads()
    assert result["Heun beats DDIM from, calls"] >= result["DPM-Solver-2 beats DDIM from, calls"] > 6
    errors = experiments.crossing()
    ratios = {c: v / errors["DDIM"][c] for c, v in errors["DPM-Solver++ 2M"].items()}
    assert 0.97 < ratios.pop(4) < 1.03 and max(ratios.values()) < 0.9
    assert isinstance(figures.crossing(errors), Picture)


def test_a_last_step_of_first_order_halves_the_error_of_the_third_order_solvers():
    result = experiments.last_step()
    for name in ("3M", "UniPC"):
        assert (
            result[f"{name}, 6 calls, first order at the end"] < 0.65 * result[f"{name}, 6 calls, full order"]
        )
    assert result["iPNDM, 6 calls, first order at the end"] > result["iPNDM, 6 calls, full order"]


def test_the_best_times_of_digits_differ_little():
    result = experiments.digit_times()
    first, second = (
        [result[f"step {i}: best r, {p} of samples below"] for p in ("10%", "90%")] for i in (1, 2)
    )
    assert 0.3 < first[0] < first[1] < 0.42 and 0.07 < second[0] < second[1] < 0.14
    assert all(1 < result[f"step {i}: one r / a sample's own, error"] < 1.05 for i in (1, 2))


def test_the_recorded_study_says_what_the_prose_says():
    gains = experiments.gains()
    assert gains["3 calls: plain solvers"] == pytest.approx(2.0, abs=0.1)
    assert gains["3 calls: with analytic start"] == pytest.approx(1.4, abs=0.1)
    assert gains["3 calls: AMED-Solver, best fixed time"] == pytest.approx(1.5, abs=0.1)
    assert all(gains[f"{c} calls: with analytic start"] > 1 for c in (3, 4, 5, 7))
    assert all(gains[f"{c} calls: with analytic start"] < 1 for c in (6, 9))
    rmse, frechet = experiments.study(), experiments.study("frechet")
    assert rmse["DPM-Solver-2"][3] / rmse["best fixed time"][3] == pytest.approx(4.2, abs=0.3)
    assert rmse["AMED-Plugin, iPNDM, untrained"][3] / rmse["AMED-Plugin, iPNDM"][3] == pytest.approx(
        1.4, abs=0.1
    )
    assert all(rmse["AMED-Plugin, iPNDM, greedy"][c] > rmse["iPNDM"][c] for c in (6, 7, 9))
    drawn = [name for _, *names in figures.BASES.values() for name in names if name]
    assert all("DPM-Solver++ 2M" in min(drawn, key=lambda name: frechet[name][c]) for c in (3, 4))
    below = lambda name: {c for c, v in frechet[name].items() if v < experiments.flow("frechet")}
    assert below("AMED-Plugin, DPM-Solver++ 2M") == {3, 4} and below("DPM-Solver++ 2M") == {5, 6, 7, 9}
    assert below("DPM-Solver++ 2M, analytic start") == {4, 5, 6, 7, 9}
    for name in ("DDIM", "iPNDM", "DPM-Solver++ 2M", "DPM-Solver++ 3M, lower last"):  # worth one call
        assert all(0.9 < rmse[f"{name}, analytic start"][c] / rmse[name][c + 1] < 1.15 for c in (3, 4, 5, 6))
    least = min(drawn, key=lambda name: rmse[name][3])
    assert least == "AMED-Plugin, iPNDM"
    assert all(min(drawn, key=lambda name: rmse[name][c]) == experiments.SEARCHED for c in (4, 5, 6, 7, 9))
    assert (
        min(experiments.PAPER, key=lambda name: frechet[name][9]) == "Heun"
        and rmse["Heun"][9] > rmse["DDIM"][9]
    )
    assert all(frechet[name][7] > frechet[name][3] for name in ("DPM-Solver++ 3M", "UniPC"))
    pays = experiments.looking_pays()
    assert all(v < 1.06 for k, v in pays.items() if "digits" in k)
    assert pays["a mixture built for it: gain"] > 15
    assert pays["built mixture, features: r, wide cluster"] < 0.25
    assert pays["built mixture, features: r, narrow cluster"] > 0.28
    assert max(v for k, v in experiments.plugged().items() if "analytic" not in k) < 1
    for calls, name, value in ((3, "DPM-Solver++ 2M", 1.71), (4, "DPM-Solver++ 2M", 1.48)):
        assert experiments.best_of(frechet, calls, "frechet") == (
            pytest.approx(value, abs=0.05),
            f"AMED-Plugin, {name}",
        )
    assert experiments.best_of(frechet, 9, "frechet")[1] == "Heun"
    assert frechet["AMED-Plugin, iPNDM"][3] > frechet["AMED-Plugin, iPNDM, untrained"][3]
    assert frechet["DPM-Solver++ 3M"][3] < frechet["AMED-Solver"][3] < frechet["AMED-Plugin, iPNDM"][3]
    paper = sorted(experiments.PAPER, key=lambda name: experiments.PAPER[name][0])
    assert paper == sorted(paper, key=lambda name: rmse[name][3])
    solver = rmse["AMED-Solver"][3]
    assert 1 < experiments.best_of(experiments.PLAIN + experiments.STARTED, 3)[0] / solver < 1.1
    assert all(rmse["AMED-Solver"][c] > experiments.best_of(experiments.PLAIN, c)[0] for c in (5, 6, 7, 9))
    assert rmse["iPNDM"][3] / rmse["AMED-Plugin, iPNDM, untrained"][3] == pytest.approx(1.42, abs=0.02)
    over = {
        (base, c)
        for base in ("DDIM", "iPNDM", "DPM-Solver++ 2M")
        for c, v in rmse[f"AMED-Plugin, {base}"].items()
        if v > rmse[f"{base}, analytic start"][c]
    }
    assert over == {("DDIM", 6), ("iPNDM", 6), ("iPNDM", 9), ("DPM-Solver++ 2M", 4)}
    found = experiments.searches()  # two numbers without a network against the three trainings
    ratio = float(found["one share a step, 8 searches | RMSE, least"]) / float(
        found["AMED-Solver, 3 trainings | RMSE, most"]
    )
    assert 1 < ratio < 1.04
    assert gains["3 calls: iPNDM, searched grid"] > 1
    assert all(gains[f"{c} calls: iPNDM, searched grid"] < 0.9 for c in (4, 5, 6, 7, 9))
    assert gains["3 calls: AMED-Solver, one share a step"] < 1.05
    for rows in (
        experiments.study_table(),
        experiments.study_table("frechet"),
        experiments.beside_the_paper(),
    ):
        assert any("AMED-Plugin, iPNDM" in name for name in rows) and "nan" not in rows.values()


def test_the_rows_of_methods_with_two_calls_a_step_have_a_star():
    rows = [name.split(" | ")[0] for name in experiments.study_table()]
    assert rows[0] == "the flow itself"
    stars = {name for name in rows if name.endswith("*")}
    assert {"Heun *", "best fixed time *", "one share a step *", "AMED-Plugin, iPNDM *"} <= stars
    assert not any("analytic start" in name for name in stars) and "iPNDM *" not in stars


def test_distances_below_the_flows_own_are_contrast():
    """What is nearer to the data than the flow has more contrast, and loses the lead where it is taken."""
    flow, rows = experiments.flow("frechet"), experiments.contrasts("frechet")
    level, taken = experiments.contrasts("contrast"), experiments.contrasts("frechet at the flow's contrast")
    assert rows["the flow itself"] == pytest.approx(flow, abs=0.01)
    below = [name for name, value in rows.items() if value < flow - 0.2]
    assert below and all(level[name] > level["the flow itself"] for name in below)
    assert all(taken[name] > rows[name] for name in below)
    assert level["the data"] > level["the flow itself"]


def test_the_grid_moves_a_solver_as_much_as_the_choice_of_the_solver():
    moves = experiments.grid_moves()
    assert 1.7 < moves["the grid moves a solver by, median: 3 calls"] < 2.3
    assert moves["the solver in the middle / the best, Karras: 3 calls"] < 2
    solvers = {
        name: [moves[f"AMED-Solver, {name}: {c} calls"] for c in (3, 4, 5, 6, 7, 9)]
        for name in experiments.GRIDS
    }
    karras, uniform = solvers.values()
    assert [a < b for a, b in zip(karras, uniform)] == [True, True, False, False, True, True]
    for rows in (experiments.two_grids_table(), experiments.two_grids_table("frechet", 2)):
        assert any("AMED-Solver" in name for name in rows) and "nan" not in rows.values()
    assert "Lines cross" in figures.on_two_grids(experiments.two_grids()).alt


def test_the_searched_grid_is_a_grid_and_the_widget_measures_it():
    levels = experiments.searched_levels()
    assert len(levels) == 5 and levels == sorted(levels, reverse=True)
    state = experiments.three_levels(*levels[1:-1])
    assert state["errors"]["yours"] == pytest.approx(state["errors"]["searched, for iPNDM"], abs=1e-3)
    assert state["errors"]["yours"] < 0.85 * state["errors"]["Karras"]
    assert "Karras" in figures.three_levels(state).alt


@pytest.mark.parametrize("where", ["from 80, 3 calls", "from 80, 5 calls", "from 5, 3 calls"])
def test_from_other_levels_the_searched_grid_leads_too(where):
    found = experiments.from_levels()
    plugin, searched, karras = (
        found[f"{name} | {where}"]
        for name in (
            "AMED-Plugin, iPNDM, least of three trainings",
            experiments.SEARCHED,
            "iPNDM, analytic start",
        )
    )
    assert searched < 0.95 * plugin < karras


def test_on_the_searched_levels_the_plugin_adds_a_little():
    rmse = experiments.study()
    for calls, value in rmse[experiments.ON_SEARCHED].items():
        assert calls % 2 and 0.9 < value / rmse[experiments.SEARCHED][calls] < 1, calls


def test_pictures_of_paths_and_of_samples():
    curves, kappas = experiments.three_curves()
    bend = {name: abs(points[:, 1]).max() for name, points in curves.items()}
    assert bend["velocity"] > bend["prediction"]
    assert "velocity" in figures.three_curves(curves, kappas).alt
    best = experiments.best_shares()
    spread = {name: r.std() for name, r in best.items()}
    assert spread["two unequal clusters"] > 1.5 * max(spread["digits, step 1"], spread["digits, step 2"])
    assert "Histograms" in figures.spread_of_best(best).alt
    assert "plugin" in figures.beside_the_plugin(experiments.beside_the_plugin()).alt


def test_the_cheapest_student_costs_twelve_times_as_much():
    cost = experiments.cost()
    assert cost["cheapest student / AMED"] == 12.2 and cost["numbers that it says without features"] == 6


def test_pictures_of_the_study():
    controls = experiments.controls()
    values = [value for value, _ in controls.values()]
    assert values == sorted(values, reverse=True) and "0.774" in figures.controls(controls).alt
    assert controls["best plain solver: 3M, lower last"][0] == experiments.best_of(experiments.PLAIN, 3)[0]
    assert experiments.best_of(experiments.PLAIN, 3)[1] == "DPM-Solver++ 3M, lower last"
    assert (
        "RMSE at 3 calls"
        in figures.table_two(
            experiments.study(), experiments.study("frechet"), experiments.flow("frechet")
        ).alt
    )
