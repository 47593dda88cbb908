"""What chapter 7b writes out in its cells is what the library does."""

import ast
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from book.ch07 import experiments
from toolkit import EDM, Mixture, grids, initial_noise, sample
from toolkit.learned import Solver, Table, midpoints, programmed
from toolkit.multistep import ipndm

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "chapters" / "07b_learned_solvers.ipynb"
RING = Mixture.ring(8)


def page(cell_id):
    """The source of one cell."""
    return next(cell.source for cell in nbformat.read(PAGE, 4).cells if cell.id == cell_id)


def defined(cell_id, **given):
    """The functions that a cell defines, and its capitals, as a dict; nothing else of the cell is run."""
    capital = lambda node: isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper()
    tree = ast.parse(page(cell_id))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) or capital(node)]
    names = {"torch": torch, "np": np, "Solver": Solver, **given}
    exec(compile(tree, cell_id, "exec"), names)
    return names


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_the_programme_is_the_librarys(steps):
    model, levels = RING.model(EDM()), grids.karras(EDM(), 20, 10.0, 0.05)
    x = 10 * initial_noise(30, 2, steps, dtype=torch.float64)
    path = sample(ipndm, model, x, levels, keep_path=True).path
    costs = grids.local_costs(model, path, levels)
    costs[np.tril_indices(len(costs))] = np.inf
    found = defined("programme-by-hand")["cheapest"](costs, steps)
    assert [float(levels[i]) for i in found] == programmed(model, path, levels, steps)


def test_the_levels_are_the_tables():
    table = Table(EDM(sigma_max=20.0), grids.karras(EDM(sigma_max=20.0), 5), "ddim")
    with torch.no_grad():
        table.gaps += torch.randn(5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(defined("gradient-by-hand")["levels_of"](table.gaps), table.levels())


@torch.no_grad()
def test_the_run_is_ipndms():
    model, levels = RING.model(EDM()), grids.karras(EDM(), 6, 10.0, 0.05)
    x = 10 * initial_noise(20, 2, 3, dtype=torch.float64)
    made = defined("gradient-by-hand", model=model)["end_of"](x, levels)
    assert torch.allclose(made, sample(ipndm, model, x, levels).x, atol=1e-9)


@torch.no_grad()
def test_the_step_is_the_librarys():
    model, row = RING.model(EDM()), [(0.2, 0.5, 1.1), (0.6, 0.3, 0.9), (0.9, 0.2, 1.0)]
    x = 3 * initial_noise(20, 2, 4, dtype=torch.float64)
    made = defined("points-by-hand")["step"](model, x, 3.0, 0.4, row)
    assert torch.allclose(made, sample(midpoints, model, x, [3.0, 0.4], points=[row]).x, atol=1e-12)


def test_restored_weights_are_consistent_and_nothing_else_is_changed():
    solver = Solver("weighted", [2.0, 1.0, 0.5], {"weights": [[0.9], [1.4, -0.6]]})
    made = defined("sums-restored")["restored"](solver)
    assert made.times == solver.times and [sum(row) for row in made.options["weights"]] == [1.0, 1.0]
    first, second = made.options["weights"][1]
    assert first / second == pytest.approx(1.4 / -0.6)


def test_the_gradient_on_the_page_finds_the_recorded_grid():
    """To a few per cent of its levels, and of its error on the page's fresh digits."""
    names = {}
    for cell in ("imports", "first-solver", "gradient-by-hand"):
        exec(compile(page(cell), cell, "exec"), names)
    found, recorded = names["track"][-1].tolist(), experiments.learned_solver("grid, iPNDM", 3)
    assert found == pytest.approx(recorded.times, rel=0.15)
    with torch.no_grad():
        error = experiments.rms(names["end_of"](names["fresh"], names["track"][-1]) - names["ends"])
    made = recorded.run(names["model"], names["fresh"]).x
    assert error == pytest.approx(experiments.rms(made - names["ends"]), rel=0.02)
