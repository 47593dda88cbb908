"""What the chapter's pages write out in their cells is what the library and the study do."""

import ast
from pathlib import Path

import nbformat
import pytest
import torch

from book.ch06 import experiments
from book.ch06.experiments import STEP, TRIANGLE, UNEQUAL, WIDE
from book.claims import recorded
from studies.amed_study import Shares
from toolkit import amed, grids, initial_noise, sample
from toolkit.amed import Predictor, amed_plugin, amed_solver
from toolkit.convergence import reference

pytestmark = pytest.mark.slow

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"


def page(name, cell_id):
    """The source of one cell of a chapter."""
    cells = nbformat.read(CHAPTERS / f"{name}.ipynb", 4).cells
    return next(cell.source for cell in cells if cell.id == cell_id)


def defined(name, cell_id, **given):
    """The functions that a cell defines, and its capitals, as a dict; nothing else of the cell is run."""
    capital = lambda node: isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper()
    tree = ast.parse(page(name, cell_id))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) or capital(node)]
    names = {"torch": torch, **given}
    exec(compile(tree, cell_id, "exec"), names)
    return names


def scattered(seed):
    """A predictor that says another r, c and a for each sample."""
    torch.manual_seed(seed)
    g = Predictor(2)
    torch.nn.init.normal_(g.body[2].weight)
    return g.eval()


def test_the_search_for_the_best_time_is_the_librarys():
    model, x = TRIANGLE.model(WIDE), experiments.starts(TRIANGLE, STEP[0], 16, 3)
    found = defined("06_amed", "best-time", reference=reference)["best_time"](model, x, *STEP)
    for own, theirs in zip(found, amed.best_time(model, x, *STEP, along="euler")):
        assert torch.allclose(own, theirs, atol=1e-6)


@torch.no_grad()
def test_the_step_is_amed_solvers():
    model, g = UNEQUAL.model(WIDE), scattered(0)
    x = experiments.draw_step(torch.Generator().manual_seed(1))
    step = defined("06_amed", "amed-step")["amed_step"]
    assert torch.allclose(
        step(model, x, *STEP, g), sample(amed_solver, model, x, list(STEP), predictor=g).x, atol=1e-5
    )


@torch.no_grad()
def test_two_shares_make_amed_solvers_two_steps():
    model, times = experiments.student_of(3)
    (t, m, s), x = times.tolist(), experiments.noise(20, 4)
    step = defined("06_amed", "two-shares", model=model)["step"]
    model.begin()
    made = step(step(x, t, m, 0.39), m, s, 0.11)
    theirs = sample(amed_solver, model, x, times, predictor=Shares(times, (0.39, 0.11))).x
    assert torch.allclose(made, theirs, atol=1e-5)


@torch.no_grad()
def test_the_plugins_step_is_the_librarys():
    model, times, g = TRIANGLE.model(WIDE), grids.karras(WIDE, 3).tolist(), scattered(2)
    step = defined("06b_mean_value", "plugin-by-hand")["plugin_step"]
    start = 10 * initial_noise(16, 2, 0, dtype=torch.float64)
    x, old = start, []
    for t, s in zip(times, times[1:]):
        x, old = step(model, x, t, s, g, old)
    theirs = sample(amed_plugin, model, start, times, predictor=g, base="ipndm").x
    assert torch.allclose(x, theirs, atol=1e-5)


@pytest.mark.parametrize("components", [1, 2])
def test_what_components_leave_is_what_the_experiments_measure(components):
    path = torch.randn(12, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0)
    share, off = defined("06b_mean_value", "pca-by-hand")["left_by"](path[:, 0], components)
    assert share == pytest.approx(1 - float(amed.explained(path)[0, components - 1]), abs=1e-9)
    assert off == pytest.approx(float(experiments.off_the_plane(path, components)[0]), abs=1e-9)


def test_the_search_on_the_page_finds_the_recorded_grid():
    """The study's first search is on the same noises."""
    names = {}
    exec(compile(page("06b_mean_value", "imports"), "imports", "exec"), names)
    exec(compile(page("06b_mean_value", "grid-search"), "grid-search", "exec"), names)
    assert names["levels"] == pytest.approx(experiments.searched_levels(), rel=0.02)
    wanted = recorded("amed")["table"]["3"][experiments.SEARCHED]["rmse"]
    assert names["error"](names["levels"], *names["fresh"]) == pytest.approx(wanted, rel=0.05)
