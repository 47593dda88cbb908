"""Chapter 7b: the record says what the page says, and the figures draw it."""

import re

import numpy as np
import pytest

from book.ch07 import experiments, figures
from book.claims import recorded
from book.plots import Picture
from studies import amed_study, learned_study


def test_chapter_6s_rows_are_those_of_the_same_noise():
    """Copied from its record, whose setting is this one."""
    ours, theirs = recorded("learned"), recorded("amed")
    assert ours["n"] == theirs["n"] == amed_study.N and theirs["top"] == amed_study.TOP
    assert ours["flow"]["frechet"] == theirs["flow"]["frechet"]
    for calls in experiments.SOLVER_CALLS:
        for label, (name, _) in learned_study.BESIDE.items():
            row = experiments.solver_row(f"{label} *", calls)
            assert row["rmse"] == pytest.approx(theirs["table"][str(calls)][name]["rmse"], abs=1e-4)
        for name in ("DDIM", "iPNDM", "DPM-Solver++ 2M"):  # measured again here, and the same
            assert experiments.solver_row(name, calls)["rmse"] == theirs["table"][str(calls)][name]["rmse"]


@pytest.mark.parametrize("method", experiments.all_solvers())
def test_each_row_has_its_numbers_and_three_trainings(method):
    name = method.removesuffix(" *")
    for calls, row in ((c, experiments.solver_row(method, c)) for c in experiments.solver_values(method)):
        assert 0 < row["rmse"] < 0.6 and row["frechet"] > 1
        if name in learned_study.FITTED:
            assert len(row["runs"]) == 3 and row["numbers"] > 0
            solver = experiments.learned_solver(method, calls)
            least = solver.numbers - (
                0 if learned_study.FITTED[name][1].get("grid", True) else len(solver.times) - 2
            )
            assert row["numbers"] == least


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["grid, iPNDM *", "weights and grid *", "weights and grid", "one midpoint and grid *"]
)
def test_a_recorded_solver_makes_the_recorded_error(method):
    model = experiments.digits()["*" in method]
    x, ends = experiments.digit_pairs(amed_study.N, amed_study.FRESH)
    made = experiments.learned_solver(method, 3).run(model, x)
    assert made.nfe == 3
    wanted = experiments.solver_row(method, 3)["runs"][0]["rmse"]
    assert experiments.rms(made.x - ends) == pytest.approx(wanted, rel=5e-3)


def test_the_target_is_met():
    """Weights and grid at three calls: at most .11, in at most 10 s, from either start."""
    for method in ("weights and grid", "weights and grid *"):
        row = experiments.solver_row(method, 3)
        assert max(run["rmse"] for run in row["runs"]) < 0.11 and row["seconds"] < 10


def test_figures_say_what_they_show():
    curves = figures.solver_curves(experiments.solver_curves())
    assert isinstance(curves, Picture) and len(curves.axes[0].lines) == len(experiments.solver_curves())
    grids = figures.grids_beside(experiments.levels_of_grids())
    assert "Karras 6.6, 1.8, 0.35, 0.042" in grids.alt
    rulers = figures.two_rulers(*experiments.two_rulers())
    below = int(re.search(r"(\d+) lie below", rulers.alt)[1])
    assert below <= experiments.rulers_agree()["below the flow's own distance"]
    errors = np.array([[0.2, np.nan], [0.15, 0.18]])
    drawn = figures.level_map(
        [1.0, 2.0], [0.1, 0.5], errors, {"here": (2.0, 0.1), "a path": [(1, 0.1), (2, 0.5)]}
    )
    assert "here at 2 and 0.1" in drawn.alt and "a path at 2 and 0.5" in drawn.alt


@pytest.mark.slow
def test_the_widget_starts_at_karras_grid_and_the_learned_one_is_better():
    for name in experiments.UNLEARNED:
        state = experiments.two_levels(2.8, 0.18, name)
        karras, learned, yours = (state[label][2] for label in state)
        assert learned < karras and yours == pytest.approx(karras, rel=0.05)
        assert "yours 2.8 and 0.18" in figures.two_levels(state).alt


@pytest.mark.slow
def test_the_other_figures_say_their_numbers():
    sums = experiments.sums_of_weights()
    assert all(abs(row["step 4"] - 1) > 0.2 for row in sums.values()) and "1.2" in figures.sums(sums).alt
    assert "from level 80 " in figures.carried(experiments.carried_bars()).alt
    assert "the table above" in figures.parts_of_a_gain(experiments.fair_curves()).alt
    digits = experiments.solver_digits()
    assert "weights and grid *" in figures.digits_beside(digits).alt and len(digits["the flow"]) == 10
