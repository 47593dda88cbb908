"""Learned solvers: at fixed numbers they are samplers that are known; learned ones run as they were
learned."""

import math

import pytest
import torch

from tests.seeds import seed_of
from toolkit import EDM, VP, Flow, Mixture, grids, sample
from toolkit.amed import amed_solver
from toolkit.convergence import ode_errors, reference, slope
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_2, dpmpp_2m
from toolkit.learned import Solver, Table, learn, midpoints, programmed, weighted
from toolkit.models import AFS
from toolkit.multistep import EQUAL_STEPS, ipndm
from toolkit.ode import heun
from toolkit.sampling import every_sampler

RING = Mixture.ring(8, radius=1.0, std=0.1)
SCHEDULES = [EDM(), VP(), Flow()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def ends_of(schedule):
    """Times of the levels 10 and .05."""
    return tuple(schedule.t_of_lam(-math.log(level)) for level in (10.0, 0.05))


def begun(schedule, *case, n=40):
    """(model, x at level 10, the grid's ends)."""
    first, last = ends_of(schedule)
    generator = torch.Generator().manual_seed(seed_of(*case))
    x = schedule.sigma(first) * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return RING.model(schedule), x, (first, last)


# --- known numbers, known samplers ------------------------------------------------------------------------


def known(base, times):
    """(sampler and options of ours, the registered one that it must equal)."""
    steps = len(times) - 1
    rows = [list(EQUAL_STEPS[min(n + 1, 4)]) for n in range(steps)]
    return {
        "Euler": ((weighted, {}), ddim),
        "weights of iPNDM": ((weighted, {"weights": rows}), ipndm),
        "a midpoint": ((midpoints, {}), dpm_solver_2),
        "AMED's default": ((midpoints, {}), amed_solver),
        "two points in one place": (
            (midpoints, {"points": [[(0.5, 0.3, 1), (0.5, 0.7, 1)]] * steps}),
            amed_solver,
        ),
        "a point at the end": ((midpoints, {"points": [[(0.0, 0.5, 1), (1.0, 0.5, 1)]] * steps}), heun),
    }[base]


@by_schedule
@pytest.mark.parametrize(
    "base",
    [
        "Euler",
        "weights of iPNDM",
        "a midpoint",
        "AMED's default",
        "two points in one place",
        "a point at the end",
    ],
)
def test_with_known_numbers_it_is_a_known_sampler(base, schedule):
    model, x, ends = begun(schedule, base, schedule)
    times = grids.karras(schedule, 6, *ends)
    (ours, options), other = known(base, times)
    more = {"variable": "sigma"} if other is heun else {}
    assert torch.allclose(
        sample(ours, model, x, times, **options).x, sample(other, model, x, times, **more).x, rtol=1e-9
    )


def test_a_level_told_is_the_level_asked():
    """A factor on the level that the model is told, and no other change."""
    asked = []

    class Watched(type(RING.model(EDM()))):
        def _view(self, want, x, t):
            asked.append(float(torch.as_tensor(t).max()))
            return super()._view(want, x, t)

    model = Watched(RING, EDM())
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(seed_of("told")), dtype=torch.float64)
    sample(weighted, model, 4 * x, [4.0, 1.0, 0.5], told=[0.5, 1.25])
    assert asked == pytest.approx([2.0, 1.25])


@pytest.mark.parametrize(
    "sampler, options, message",
    [
        (weighted, {"weights": [[1.0]]}, "weights must have an entry for each of the 2 steps, got 1"),
        (weighted, {"told": [1.0]}, "told must have an entry for each of the 2 steps, got 1"),
        (weighted, {"weights": [[1.0, 0.0], [1.0]]}, "weights of step 0 can weigh 1 predictions at most"),
        (midpoints, {"points": [[(0.5, 1, 1)]]}, "points must have an entry for each of the 2 steps, got 1"),
        (midpoints, {"points": [[(0.5, 1, 1)], []]}, "at least one number"),
        (midpoints, {"points": [[(0.5, 1, 1)], [(0.5, 1, 1)] * 2]}, "equally many"),
        (midpoints, {"points": [[(0.5, 1)]] * 2}, "equally many"),
        (weighted, {"weights": [[1.0], ["1"]]}, "weights must be a number"),
    ],
    ids=lambda v: "",
)
def test_lists_of_another_length_are_named(sampler, options, message):
    model, x, ends = begun(EDM(), "lengths")
    with pytest.raises(ValueError, match=message):
        sample(sampler, model, x, grids.karras(EDM(), 2, *ends), **options)


# --- a table while it is learned --------------------------------------------------------------------------

TABLES = {
    "ddim": ddim,
    "ipndm": ipndm,
    "dpmpp_2m": dpmpp_2m,
    "weighted": ipndm,
    "midpoints": amed_solver,
}


@by_schedule
@pytest.mark.parametrize("base", TABLES)
def test_a_fresh_table_is_its_base_on_its_grid(base, schedule):
    model, x, ends = begun(schedule, "table", base)
    times = grids.karras(schedule, 5, *ends)
    table = Table(schedule, times, base)
    assert torch.allclose(table.levels(), schedule.sigma(times) / schedule.alpha(times), rtol=1e-9)
    want = sample(TABLES[base], model, x, times).x
    assert torch.allclose(table(model, x).detach(), want, rtol=1e-8)


@pytest.mark.parametrize("base", ["ddim", "ipndm", "dpmpp_2m", "weighted", "midpoints"])
def test_the_solver_runs_as_the_table_does(base, tmp_path):
    """Whatever its numbers are: through the registered sampler, and from its file."""
    schedule = EDM()
    model, x, ends = begun(schedule, "solver", base)
    table = Table(schedule, grids.karras(schedule, 4, *ends), base, told=True, points=2)
    generator = torch.Generator().manual_seed(seed_of("numbers", base))
    with torch.no_grad():
        for number in table.parameters():
            number += 0.1 * torch.randn(number.shape, generator=generator, dtype=torch.float64)
    solver = table.solver(data="ring")
    want = table(model, x).detach()
    assert torch.allclose(solver.run(model, x).x, want, rtol=1e-8)
    solver.save(tmp_path / "solver.json")
    again = Solver.load(tmp_path / "solver.json")
    assert again == solver and again.about == {"data": "ring"}
    assert torch.equal(again.run(model, x).x, solver.run(model, x).x)


def test_levels_stay_in_order_whatever_is_learned():
    table = Table(EDM(), grids.karras(EDM(), 8, 10.0, 0.05), "ddim")
    with torch.no_grad():
        table.gaps += 3 * torch.randn(8, generator=torch.Generator().manual_seed(seed_of("order")))
    levels = table.levels()
    assert (levels.diff() < 0).all() and levels[0] == 10.0 and levels[-1] == 0.05


def test_numbers_are_counted():
    times = grids.karras(EDM(), 4, 10.0, 0.05)
    assert Table(EDM(), times, "ipndm").solver().numbers == 3
    assert Table(EDM(), times, "weighted").solver().numbers == 3 + (1 + 2 + 3 + 4)
    assert Table(EDM(), times, "weighted", told=True).solver().numbers == 3 + (1 + 2 + 3 + 4) + 4
    assert Table(EDM(), times, "midpoints", points=2).solver().numbers == 3 + 4 * 2 * 3
    assert Table(EDM(), times, "ipndm").learned == 3
    assert Table(EDM(), times, "weighted", grid=False).learned == 1 + 2 + 3 + 4
    assert Table(EDM(), times, "midpoints", grid=False).learned == 4 * 3


# --- learning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base, options",
    [
        ("ipndm", {}),
        ("dpmpp_2m", {}),
        ("weighted", {"grid": False}),
        ("midpoints", {"grid": False, "points": 2}),
    ],
    ids=str,
)
def test_learning_comes_nearer_to_the_flow_on_fresh_noise(base, options):
    model, x, ends = begun(EDM(), "fit", base, n=400)
    want = reference(model, x, *ends, tolerance=1e-8)
    times = grids.karras(EDM(), 4, *ends)
    fresh = Table(EDM(), times, base, **options)
    before = error(fresh(model, x[300:]).detach(), want[300:])
    run = learn(fresh, model, x[:300], want[:300], steps=80, batch=100, seed=seed_of("learn", base))
    after = error(run.net.solver().run(model, x[300:]).x, want[300:])
    assert after < 0.9 * before


def error(x, want):
    """The median over the samples of their distances: on a ring a few end at another mode."""
    return float((x - want).norm(dim=1).median())


def test_what_is_learned_is_counted_and_told_after_learning_too():
    """The moving average that comes back is frozen, and still knows what was learned."""
    model, x, ends = begun(EDM(), "told after", n=60)
    table = Table(EDM(), grids.karras(EDM(), 3, *ends), "weighted", told=True)
    net = learn(table, model, x, x / 10, steps=3, batch=20, seed=seed_of("told after")).net
    solver = net.solver()
    assert net.learned == table.learned == solver.numbers == 2 + (1 + 2 + 3) + 3
    assert solver.options["told"] != [1.0] * 3
    assert torch.allclose(solver.run(model, x).x, net(model, x).detach(), rtol=1e-8)


def test_each_pair_has_its_label():
    """The loss asks the model with the labels of the rows that it drew."""

    seen = []

    class Asked(type(RING.model(EDM()))):
        def with_label(self, label):
            seen.append(label)
            return self

    model = Asked(RING, EDM())
    seen.clear()
    x = begun(EDM(), "labels", n=30)[1]
    table = Table(EDM(), grids.karras(EDM(), 2, *ends_of(EDM())), "ddim")
    labels = torch.arange(30)
    learn(table, model, x, x / 10, label=labels, steps=2, batch=8, seed=seed_of("labels"))
    assert len(seen) == 2 and all(len(rows) == 8 and set(rows.tolist()) <= set(range(30)) for rows in seen)


def test_the_analytic_start_is_learned_with():
    """With AFS the first call is free in learning and in running, and the two agree."""
    model, x, ends = begun(EDM(), "afs")
    analytic = AFS(model, std=0.72)
    table = Table(EDM(), grids.karras(EDM(), 3, *ends), "ipndm")
    analytic.begin()
    want = table(analytic, x).detach()
    run = table.solver().run(AFS(model, std=0.72), x)
    assert run.nfe == 2 and torch.allclose(run.x, want, rtol=1e-9)


def test_a_programmed_grid_keeps_the_ends_and_costs_no_more_than_another():
    model, x, ends = begun(EDM(), "dp")
    fine = grids.karras(EDM(), 24, *ends)
    path = sample(heun, model, x, grids.karras(EDM(), 24 * 4, *ends), keep_path=True).path[::4]
    chosen = programmed(model, path, fine, 4)
    assert chosen[0] == ends[0] and chosen[-1] == ends[1] and len(chosen) == 5
    costs, place = grids.local_costs(model, path, fine), fine.tolist().index
    total = lambda times: sum(costs[place(t), place(s)] for t, s in zip(times, times[1:]))  # noqa: E731
    assert total(chosen) <= total(fine[::6].tolist())


# --- orders of what is not default ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "points, order",
    [
        ([(0.0, 0.5, 1.0), (1.0, 0.5, 1.0)], 2),
        ([(0.2, 1.0, 1.0)], 1),
        ([(0.3, 0.5, 1.0), (0.7, 0.5, 1.0)], 2),
    ],
    ids=["trapezoid", "off the middle", "symmetric"],
)
def test_points_have_the_order_of_their_quadrature(points, order):
    model, x, (first, last) = begun(VP(), "order", str(points))
    steps = [64, 128, 256]
    errors = []
    for n in steps:
        options = {"points": [points] * n}
        errors += ode_errors(midpoints, model, x, [n], start=first, end=last, **options)["rmse"]
    assert order - 0.15 < slope(steps, errors) < order + 0.25


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "[]", '{"name": "ddim"}', '{"name": "eulr", "times": [1, 0]}'])
def test_a_file_that_is_no_solver_is_refused(text, tmp_path):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match="bad.json"):
        Solver.load(tmp_path / "bad.json")
    with pytest.raises(ValueError, match="none.json"):
        Solver.load(tmp_path / "none.json")


def test_bad_tables_are_named():
    with pytest.raises(ValueError, match="base must be one of"):
        Table(EDM(), [2.0, 1.0], "euler")
    with pytest.raises(ValueError, match="end a little earlier"):
        Table(EDM(), [2.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="one shape"):
        learn(Table(EDM(), [2.0, 1.0]), RING.model(EDM()), torch.zeros(3, 2), torch.zeros(2, 2))
    assert {"weighted", "midpoints"} <= set(every_sampler())
