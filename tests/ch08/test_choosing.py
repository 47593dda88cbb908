"""Conclusions on choosing a sampler, just outside what the page's tables show, and the page's own loops."""

from functools import cache, partial

import numpy as np
import pytest
import torch

from book.ch08 import experiments, figures
from book.ch08.experiments import KIND, chart, deviation_of, standing, start_gap, true_deviation
from tests.book.notebooks.pages import left_by
from toolkit import VP, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm
from toolkit.dpm_solver import dpmpp_2m
from toolkit.practice import adaptive_per_sample, frontier, relay

page = cache(partial(left_by, "08_practice"))


# --- the page's loops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [1e-3, 0.0])
def test_steps_of_each_sample(end, seed):
    model, x = experiments.moons().model(VP()), initial_noise(20, 2, seed, torch.float64)
    mine, calls = page("adaptive-by-hand")["adaptive_by_hand"](model, x, 1.0, end, 0.05)
    ours = sample(adaptive_per_sample, model, x, [1.0, end], tol=0.05)
    assert torch.allclose(mine, ours.x, atol=1e-9) and ours.nfe == calls.max()


def test_the_levels_are_karras():
    levels = page("learn-rho")["levels"](torch.tensor(5.0, dtype=torch.float64), 9)
    wanted = grids.karras(page("learn-rho")["model"].schedule, 9, rho=5.0)
    assert torch.allclose(levels, wanted)


# --- the chart --------------------------------------------------------------------------------------------


def test_every_point_has_its_seeds_and_its_family():
    for by in chart().values():
        assert set(by) <= set(KIND)
        assert all(len(values) >= 3 for rows in by.values() for values in rows.values())
    assert set(KIND) == set(chart()["no label"])


@pytest.mark.parametrize("kind", ["no label", "label"])
def test_nothing_stands_below_the_frontier(kind):
    _, fronts, _ = experiments.pareto()
    for rows in chart()[kind].values():
        for calls, values in rows.items():
            best = min(y for _, n, y in fronts[kind] if n <= calls) if calls >= fronts[kind][0][1] else np.inf
            assert np.mean(values) >= best - 1e-9


def test_what_stands_in_the_guide_was_run_with_ten_seeds_and_nothing_near_it_with_three():
    for kind, by in chart().items():
        for budget in experiments.BUDGETS:
            (name, calls, values), ties = standing(kind, budget)
            assert len(values) == 10 and all(len(row[2]) == 10 for row in ties)
            few = [v for rows in by.values() for n, v in rows.items() if n <= budget and len(v) < 10]
            assert all(np.mean(v) > 1.15 * np.mean(values) for v in few)
            gaps = [np.mean(row[2]) - np.mean(values) for row in ties]
            assert all(0 <= gap < np.hypot(np.std(values), np.std(row[2])) for gap, row in zip(gaps, ties))


def test_more_digits_make_training_cheaper():
    few, many = (experiments.bill(n) for n in (100, 10**8))
    assert all(many[key][0] <= few[key][0] for key in few)
    assert frontier(many) != frontier(few)


# --- relays -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.08, 0.3])
@pytest.mark.parametrize("steps", [12, 48, 96])
def test_the_last_leg_decides_how_wide_a_gaussian_is(steps, std):
    """Also with other numbers of calls and other widths than the page's."""
    few, true = steps // 4, true_deviation(std=std)
    of = lambda one: deviation_of(one, steps, std) - true  # noqa: E731
    alone = of(dpmpp_2m)
    assert abs(of(relay((ddpm, few), (dpmpp_2m, steps - few))) - alone) < 2e-4
    assert of(relay((dpmpp_2m, steps - few), (ddpm, few))) < min(alone, 0) - 5 * abs(alone) / 4
    falls, rises = (
        of(relay(*((ddim, 1, {"eta": eta}) for eta in etas)))
        for etas in (np.linspace(1, 0, steps) ** 2, np.linspace(0, 1, steps) ** 2)
    )
    assert rises < falls and abs(falls - of(ddim)) < abs(rises - of(ddim))


def test_what_a_late_start_misses_is_half_the_ratio():
    assert start_gap(1e-3, 0.0) == pytest.approx(5e-4, rel=0.01)
    assert start_gap(1e-3, 1.0) == 0 and start_gap(1.0) > 100 * start_gap(1e-3)


# --- figures ----------------------------------------------------------------------------------------------


def test_a_bill_tells_its_frontier():
    families, front, floor, n = experiments.bill_in_families(1000)
    alt = figures.bill(families, front, floor, n).alt
    assert "1,000" in alt and all(name in alt for name, *_ in front)
