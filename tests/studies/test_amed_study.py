"""The recorded study of AMED on digits: whole, repeatable in its cheap rows, and as the chapter reads it."""

import pytest
import torch

from book.claims import recorded
from studies.amed_study import (
    CALLS,
    FRESH,
    LEARNED,
    ONE_CALL,
    SCHEDULE,
    SEEDS,
    TWO_CALLS,
    N,
    Shares,
    always,
    digits_teacher,
    few_calls,
    moments,
    noise,
    rmse,
    sample_row,
    scores,
    search_levels,
    trained,
    two_call_grid,
    uniform_time,
)
from toolkit import AFS, grids, sample
from toolkit.amed import amed_plugin, amed_solver, teacher_error
from toolkit.multistep import ipndm

pytestmark = pytest.mark.slow

STUDY = recorded("amed")
TABLE = STUDY["table"]
by_calls = pytest.mark.parametrize("calls", [str(calls) for calls in CALLS])


def learned(calls):
    """The learned methods that make this number of calls."""
    return [name for name, (*_, base) in LEARNED.items() if two_call_grid(int(calls), base)]


@by_calls
def test_the_study_is_whole(calls):
    rows = TABLE[calls]
    assert STUDY["n"] == N and tuple(STUDY["seeds"]) == SEEDS
    assert {*ONE_CALL, *TWO_CALLS, "best fixed time", "AMED-Solver, no features"} <= set(rows)
    for name in learned(calls):
        each = rows[name]["each"]
        assert len(each) == len(SEEDS)
        assert sum(row["rmse"] for row in each) / len(each) == pytest.approx(rows[name]["rmse"], abs=1e-3)
    searched = rows.get("AMED-Plugin, iPNDM, searched levels")
    assert searched is None if int(calls) % 2 == 0 else len(searched["each"]) == len(SEEDS)


@pytest.mark.parametrize("name", [*ONE_CALL, *TWO_CALLS])
def test_a_row_without_training_comes_out_again(name):
    """On the recorded noise; the two-call solvers with their analytic first step."""
    model, times = (digits_teacher(), grids.karras(SCHEDULE, 3)) if name in ONE_CALL else two_call_grid(3)
    solver, options = (ONE_CALL | TWO_CALLS)[name]
    run = sample(solver, model, noise(N, FRESH), times, **options)
    assert run.nfe == 3
    found, wanted = scores(run.x), TABLE["3"][name]
    assert found["rmse"] == pytest.approx(wanted["rmse"], rel=0.01)
    assert found["frechet"] == pytest.approx(wanted["frechet"], rel=0.03, abs=0.02)


@pytest.mark.parametrize("name, calls", [("DDIM", 5), ("Heun", 6), ("DPM-Solver++ 2S", 4)])
def test_a_row_of_few_calls_comes_out_again(name, calls):
    found = few_calls(counts=(calls,), seeds=(FRESH,), names=(name,))[name][str(calls)]
    assert found[0] == pytest.approx(STUDY["few calls"][name][str(calls)][0], rel=0.01)


def test_on_searched_levels_another_training_reaches_the_recorded_error():
    """Shorter, on another's noise: within a tenth."""
    outer = TABLE["5"]["iPNDM, analytic start, searched grid"]["each"][0]["levels"][::2]
    model, _ = two_call_grid(5)
    run = trained(5, base="ipndm", seed=6, steps=150, grid=lambda *_: outer)
    made = sample(amed_plugin, model, noise(500, FRESH), outer, predictor=run.net, base="ipndm").x
    assert rmse(made) < 1.1 * TABLE["5"]["AMED-Plugin, iPNDM, searched levels"]["rmse"]


def test_the_fixed_time_and_the_teachers_errors_come_out_again():
    model, times = two_call_grid(3)
    row = TABLE["3"]["best fixed time"]
    made = sample(amed_solver, model, noise(N, FRESH), times, predictor=always(row["share"])).x
    assert rmse(made) == pytest.approx(row["rmse"], rel=0.01)
    row = TABLE["3"]["one share a step"]["each"][0]
    made = sample(amed_solver, model, noise(N, FRESH), times, predictor=Shares(times, row["shares"])).x
    assert rmse(made) == pytest.approx(row["rmse"], rel=0.01)
    for substeps in (2, 4):
        error = teacher_error(digits_teacher(), noise(500, FRESH), times, substeps)
        assert error == pytest.approx(STUDY["teacher error"]["3"][str(substeps)], rel=0.02)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_official_grid_is_uniform_in_a_vp_time(steps):
    """log(1 + level^2) is a quadratic in the number of the step."""
    levels = uniform_time(SCHEDULE, steps)
    assert levels[0] == 20 and levels[-1] == 0.002 and len(levels) == steps + 1
    log = torch.log1p(levels**2)
    assert torch.allclose(log.diff(n=3), torch.zeros(max(0, steps - 2), dtype=log.dtype), atol=1e-9)
    assert (levels.diff() < 0).all()


def test_on_the_official_grid_a_row_comes_out_again():
    made = sample(ipndm, digits_teacher(), noise(N, FRESH), uniform_time(SCHEDULE, 3)).x
    assert rmse(made) == pytest.approx(STUDY["uniform time"]["3"]["iPNDM"]["rmse"], rel=0.01)


def test_the_searched_grid_comes_out_again_and_another_search_reaches_it():
    model = AFS(digits_teacher(), *moments())
    found = TABLE["3"]["iPNDM, analytic start, searched grid"]
    run = sample(ipndm, model, noise(N, FRESH), found["each"][0]["levels"])
    assert run.nfe == 3 and rmse(run.x) == pytest.approx(found["each"][0]["rmse"], rel=0.01)
    levels = search_levels(3, seed=5, n=100)
    assert levels == sorted(levels, reverse=True) and (levels[0], levels[-1]) == (20, 0.002)
    assert rmse(sample(ipndm, model, noise(500, FRESH), levels).x) < 1.1 * found["rmse"]


@by_calls
def test_the_official_grid_has_amed_solver_from_three_seeds(calls):
    row = STUDY["uniform time"][calls]["AMED-Solver, no features"]
    assert len(row["each"]) == len(SEEDS)
    assert sum(run["rmse"] for run in row["each"]) / len(SEEDS) == pytest.approx(row["rmse"], abs=1e-4)


def test_training_from_other_seeds_reaches_the_recorded_error():
    """Shorter, on another's noise: within a tenth of what three whole trainings reach."""
    model, times = two_call_grid(3)
    run = trained(3, seed=5, steps=150)
    made = sample(amed_solver, model, noise(500, FRESH), times, predictor=run.net).x
    assert rmse(made) < 1.1 * TABLE["3"]["AMED-Solver"]["rmse"]
    run = trained(3, base="ipndm", seed=6, steps=150)
    made = sample(amed_plugin, model, noise(500, FRESH), times, predictor=run.net, base="ipndm").x
    assert rmse(made) < 1.1 * TABLE["3"]["AMED-Plugin, iPNDM"]["rmse"]


@by_calls
def test_no_plugin_is_worse_than_the_solver_it_plugs_into(calls):
    for name in learned(calls):
        if name != "AMED-Solver":
            base = name.removeprefix("AMED-Plugin, ")
            assert TABLE[calls][name]["rmse"] < TABLE[calls][base]["rmse"], base
            if f"{base}, lower last" in TABLE[calls]:
                assert TABLE[calls][name]["rmse"] < TABLE[calls][f"{base}, lower last"]["rmse"]


def test_at_three_calls_learning_pays_and_looking_at_the_sample_does_not():
    rows = TABLE["3"]
    plain = min(rows[name]["rmse"] for name in [*ONE_CALL, *TWO_CALLS])
    analytic = min(rows[f"{name}, analytic start"]["rmse"] for name in ONE_CALL)
    solver, plugin = rows["AMED-Solver"]["rmse"], rows["AMED-Plugin, iPNDM"]["rmse"]
    assert plain / solver > 1.3 and plain / plugin > 1.9
    assert analytic / plugin > 1.3 and 1 < analytic / solver < 1.1  # the control that decides
    assert 1.3 < rows["best fixed time"]["rmse"] / solver < 2
    assert rows["AMED-Solver, no features"]["rmse"] / solver < 1.03
    assert STUDY["teacher error"]["3"]["2"] > 2 * solver  # such a teacher cannot teach it


def test_looking_at_the_sample_pays_where_it_was_made_to():
    found = STUDY["sample"]
    gain = {name: row["no features"]["rmse"] / row["features"]["rmse"] for name, row in found.items()}
    assert gain["a mixture built for it"] > 15
    assert 0.99 < gain["digits"] < 1.01
    assert 1.01 < gain["digits with labels"] < 1.1 and 1.01 < gain["digits guided, w = 4"] < 1.1
    wide, narrow = found["a mixture built for it"]["features"]["r by cluster"]
    assert wide < 0.22 < 0.3 < narrow


def test_the_row_of_the_built_mixture_comes_out_again_from_another_seed():
    row, wanted = sample_row("a mixture built for it", seeds=(4,), steps=150), STUDY["sample"]
    wanted = wanted["a mixture built for it"]
    assert row["features"]["rmse"] < 2 * wanted["features"]["rmse"]
    assert row["no features"]["rmse"] == pytest.approx(wanted["no features"]["rmse"], rel=0.1)
