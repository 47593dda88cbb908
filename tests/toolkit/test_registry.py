"""What each registered sampler promises is measured here: a new sampler is tested by existing."""

import ast
import inspect
import math
import pickle
import textwrap

import pytest
import torch

from tests.seeds import seed_of
from toolkit import (
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    Mixture,
    Network,
    SubVP,
    VPCosine,
    grids,
    initial_noise,
    sample,
)
from toolkit.citing import entries
from toolkit.convergence import ode_errors, slope, weak_errors
from toolkit.sampling import Sampler, every_sampler

REGISTRY = every_sampler()
SCHEDULES = [VP(), VPCosine(), VE(), EDM(), Flow(), Discrete.linear()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


KINDS = ("ode", "sde", "mcmc", "jump", "inversion")


def chosen(*kinds, fixed_steps=True):
    """Names of the samplers of these kinds, with or without a step count of their own."""
    return [n for n, s in REGISTRY.items() if s.kind in kinds and (s.nfe is not None or not fixed_steps)]


def remembers(solver):
    """Whether it takes earlier states: a multistep method."""
    return "history" in inspect.signature(solver).parameters


each_sampler = pytest.mark.parametrize("name", chosen(*KINDS, fixed_steps=False))
every_fixed = pytest.mark.parametrize("name", chosen(*KINDS))


def test_there_is_something_to_test():
    """Also of modules that nothing above imports."""
    assert {"ddim", "ddpm", "ddim_invert", "langevin", "unipc", "consistency", "amed_plugin"} <= set(REGISTRY)


@each_sampler
def test_promises_are_well_formed(name):
    promise = REGISTRY[name]
    assert isinstance(promise, Sampler) and promise.__name__ == name
    assert promise.kind in KINDS
    assert promise.order is None if promise.kind in ("mcmc", "jump") else promise.order >= 1
    assert promise.__doc__ and "times" in promise.__doc__
    assert promise.cite in entries()
    assert inspect.signature(promise) == inspect.signature(promise.loop)
    assert pickle.loads(pickle.dumps(promise)) is promise


# --- order ----------------------------------------------------------------------------------------------

MODES = Mixture.ring(8, radius=1.0, std=0.3)


def between(schedule, noisiest=5.0, cleanest=0.2):
    """The times at which sigma / alpha takes these values: away from both ends, order shows with few
    steps.
    """
    return schedule.t_of_lam(-math.log(noisiest)), schedule.t_of_lam(-math.log(cleanest))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [VP(), SubVP(), VE(), Flow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", chosen("ode", "inversion"))
def test_order_of_deterministic_samplers(name, schedule):
    """Slope of the root mean square error against the number of steps, on an exact mixture, to within 0.1."""
    first, last, seed = *between(schedule), seed_of(name, type(schedule).__name__)
    forward = REGISTRY[name].kind == "ode"
    t, s = (first, last) if forward else (last, first)
    x0, noise = MODES.sample(64, seed), initial_noise(64, 2, seed, torch.float64)
    x = schedule.alpha(t) * x0 + schedule.sigma(t) * noise
    steps = [128, 256]  # errors without noise: two of them are a slope; 0.05 is the least that is left of it
    solver = REGISTRY[name]
    exact = 3 if remembers(solver) else 0  # starting values as exact as the order is to show
    model = MODES.model(schedule)
    errors = ode_errors(solver, model, x, steps, start=first, end=last, exact=exact)["rmse"]
    # a steeper fall than promised is fine where a method is still gaining on its order, a flatter one is not
    assert solver.order - 0.1 < slope(steps, errors) < solver.order + 0.15, errors


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", chosen("sde"))
def test_weak_order_of_stochastic_samplers(name, schedule):
    """Slope of the error in the variance, which is known without sampling for Gaussian data."""
    first, last = between(schedule)
    std = (0.5, 0.8)[seed_of(name, type(schedule).__name__) % 2]
    steps = [768, 1536]  # far enough out: EDM's churn, for one, is capped below about 100 steps
    errors = weak_errors(REGISTRY[name], schedule, steps, std, start=first, end=last)
    assert slope(steps, errors) == pytest.approx(REGISTRY[name].order, abs=0.1), errors


# --- cost, batches, robustness --------------------------------------------------------------------------


@every_fixed
def test_calls_told_are_calls_made(name):
    made = []
    model = Network(lambda x, c: made.append(1) or torch.tanh(x), VP())
    for steps in (1, 2, 3, 5, 10, 33):
        made.clear()
        run = sample(REGISTRY[name], model, initial_noise(2, 2), grids.uniform(VP(), steps))
        assert run.nfe == len(made) == REGISTRY[name].nfe(steps)
        assert len(run.times) == steps + 1


# options on which the calls depend
COSTS = [
    ("ddim_invert", {"iterations": 3}),
    ("langevin", {"corrections": 2}),
    ("predictor_corrector", {"corrections": 0}),
    ("predictor_corrector", {"corrections": 4}),
    ("implicit_euler", {"iterations": 3}),
    ("trapezoid", {"iterations": 1}),
    ("dpm_solver_fast", {"nfe": 16}),
    ("amed_plugin", {"base": "dpm_solver_2"}),
    ("amed_plugin", {"base": "ddim"}),
    ("ddim", {"eta": 0.5}),  # and one on which they do not
]


@pytest.mark.parametrize("name, options", COSTS)
def test_calls_told_with_options_are_calls_made(name, options):
    run = sample(REGISTRY[name], MODES.model(VP()), initial_noise(2, 2), grids.uniform(VP(), 6), **options)
    assert run.nfe == REGISTRY[name].nfe(6, **options)


@pytest.mark.parametrize("name", [name for name, solver in REGISTRY.items() if remembers(solver)])
@pytest.mark.parametrize("earlier", [0, 1, 2, 5])
def test_earlier_states_cost_a_call_each_where_they_are_used(name, earlier):
    model, x, times = MODES.model(VP()), initial_noise(2, 2), grids.uniform(VP(), 12).tolist()
    history = [(t, x) for t in times[:earlier]]
    run = sample(REGISTRY[name], model, x, times[earlier:], history=history)
    assert run.nfe == REGISTRY[name].nfe(12 - earlier, history=history) <= 12


def test_calls_of_an_option_that_the_loop_has_not():
    with pytest.raises(TypeError, match="corections"):
        REGISTRY["langevin"].nfe(5, corections=2)


@every_fixed
@pytest.mark.parametrize("shape", [2, (1, 5, 5)])
def test_samples_do_not_depend_on_the_batch_split(name, shape, seed):
    model = Network(lambda x, c: torch.tanh(x) * (1 + c.reshape(-1, *[1] * (x.ndim - 1)).to(x)), VP())
    x = initial_noise(9, shape, seed)
    whole = sample(REGISTRY[name], model, x, grids.uniform(VP(), 8), draws=seed).x
    for size in (1, 2, 4, 9):
        assert torch.equal(
            sample(REGISTRY[name], model, x, grids.uniform(VP(), 8), draws=seed, batch_size=size).x, whole
        )


def some_grids(name, schedule):
    """(grid, number of steps, times): on VP the small numbers on every grid, and of the large ones another
    fifth on each.  What a sampler makes of a number of steps hangs on the schedule by its coefficients only:
    for each of the others eight numbers do, dealt out to the grids, three or so to each."""
    kinds = [grid for grid in grids.GRIDS if grid != "strided" or isinstance(schedule, Discrete)]
    for which, grid in enumerate(kinds):
        counts = (*range(1, 7), 12, 34)[(which + len(name)) % 3 :: 3]
        if isinstance(schedule, VP):
            counts = (*range(1, 7), *range(7 + which, 51, len(kinds)))
        if REGISTRY[name].nfe is None:
            counts = (1, 50)  # these choose their own steps
        low = isinstance(schedule, Discrete) and grid in ("uniform_lambda", "karras")
        for steps in counts:
            yield grid, steps, grids.GRIDS[grid](schedule, steps, **({"end": 1 / schedule.T} if low else {}))


@pytest.mark.slow
@by_schedule
@each_sampler
def test_finite_for_one_to_fifty_steps_on_every_grid(name, schedule):
    options = {"corrections": 2} if name == "langevin" else {}
    # predicts v, which neither end of a schedule makes singular
    model = Network(lambda x, c: -torch.tanh(x), schedule, predicts="v")
    for grid, steps, times in some_grids(name, schedule):
        x = initial_noise(2, 2) * max(schedule.sigma(float(times[0])), schedule.alpha(float(times[0])))
        run = sample(REGISTRY[name], model, x, times, **options)  # raises if anything is not finite
        # An implicit method has a pole where the solution grows, as it does under this network; PNDM's
        # Runge-Kutta steps are unstable where one of them spans a factor of hundreds in sigma / alpha, and
        # SEEDS-2, noise prediction of an SDE, multiplies twice by that factor.
        wild = ("implicit_euler", "trapezoid", "pndm", "seeds_2")
        assert run.x.abs().max() < (1e12 if name in wild else 1e4), (grid, steps)


@by_schedule
@each_sampler
def test_finite_with_an_exact_model_down_to_the_last_noise(name, schedule):
    """The same with a mixture, to the end of the schedule; one, a few and many steps."""
    model = Mixture.ring().model(schedule)
    for steps in (1, 2, 3, 10, 50):
        times = grids.uniform(schedule, steps)
        x = initial_noise(4, 2, dtype=torch.float64) * max(schedule.sigma(schedule.start), 1e-3)
        run = sample(REGISTRY[name], model, x, times)
        assert run.x.isfinite().all()


@each_sampler
def test_a_loop_is_read_on_one_screen(name):
    """At most 25 lines of code, comments and the docstring not counted."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(REGISTRY[name].loop))).body[0]
    nodes = (node for statement in tree.body[1:] for node in ast.walk(statement) if hasattr(node, "lineno"))
    assert len({line for node in nodes for line in range(node.lineno, node.end_lineno + 1)}) <= 25
