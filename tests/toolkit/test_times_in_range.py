"""A time outside of what its schedule knows is refused at every door, in one sentence that names the span;
and no sampler asks a network about one.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.seeds import seed_of
from toolkit import (
    AFS,
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    GaussianFlow,
    Guided,
    LinearSDE,
    Mixture,
    Network,
    QuantileFlow,
    SubVP,
    Thresholded,
    VPCosine,
    grids,
    initial_noise,
    sample,
    schedules,
)
from toolkit.convergence import reference
from toolkit.ddim import ddim, ddim_invert, edit
from toolkit.ddpm import diffuse, elbo, noise_loss, optimal_variance
from toolkit.distill import ConsistencyModel, FlowMap, ddim_step, x0_that_leads
from toolkit.models import VIEWS
from toolkit.ode import log_likelihood
from toolkit.sampling import every_sampler
from toolkit.sde import edm_stochastic, simulate
from toolkit.training import draw_times, loss

REGISTRY = every_sampler()
DATA = Mixture.gaussian(3)
SCHEDULES = [
    VP(),
    SubVP(),
    VPCosine(),
    VE(),
    EDM(),
    Flow(),
    Discrete.linear(),
    Discrete.zero_terminal_snr(Discrete.linear().betas),
    LinearSDE(lambda t: -1.0 - t, lambda t: 2 + 2 * t, start=2.0),
]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
X = torch.ones(2, 3)


def outside(schedule):
    """Times that the schedule does not know: below, above, a number of steps, and none at all."""
    low, high = schedule.span
    above = [] if math.isinf(high) else [high + 0.01, 500.0]
    return [low - 0.1, low - 1e-3, math.nan, *above]


def one_sentence(call, schedule):
    with pytest.raises(ValueError, match=rf"times of {type(schedule).__name__} lie in \[0, ") as problem:
        call()
    assert len(str(problem.value).splitlines()) == 1


@by_schedule
def test_the_schedule_s_own_functions(schedule):
    for t in outside(schedule):
        for name in ("alpha", "sigma", "lam", "log_alpha", "f", "g2", "beta"):
            for value in (t, np.array([0.5, t]), torch.tensor(t), torch.tensor([0.5, t]), [0.5, t]):
                one_sentence(lambda: getattr(schedule, name)(value), schedule)  # noqa: B023


@by_schedule
def test_what_diffuses_and_what_trains(schedule):
    exact, network = DATA.model(schedule), Network(lambda x, c: x, schedule)
    for t in outside(schedule):
        for value in (t, torch.tensor(t), torch.tensor([0.5, t])):
            one_sentence(lambda: diffuse(schedule, X, value, X), schedule)  # noqa: B023
        pair = torch.tensor([0.5, t])
        one_sentence(lambda: noise_loss(exact, X, pair, X), schedule)  # noqa: B023
        one_sentence(lambda: loss(network, X, X, pair), schedule)  # noqa: B023
        one_sentence(lambda: draw_times(lambda s, u: u * 0 + t, schedule, 4, None), schedule)  # noqa: B023
        one_sentence(lambda: ddim_step(exact, X, pair, pair / 2), schedule)  # noqa: B023
        one_sentence(lambda: x0_that_leads(schedule, X, pair, X, 0.1), schedule)  # noqa: B023
        one_sentence(lambda: ConsistencyModel(lambda x, c: x, schedule, end=t), schedule)  # noqa: B023


@by_schedule
def test_every_view_of_every_model(schedule):
    """Also where the view is what the network itself predicts, and no coefficient is asked for."""
    two = Mixture([1.0, 1.0], [[0.0] * 3, [1.0] * 3], [0.5, 0.5]).model(schedule)
    models = [
        two,
        Guided(two, 1, 2.0),
        Thresholded(two),
        AFS(two),
        FlowMap(GaussianFlow(schedule, std=0.5)),
        *(Network(lambda x, c: x, schedule, p) for p in VIEWS if (p, schedule) != ("v", SCHEDULES[5])),
    ]
    for t in outside(schedule):
        for model in models:
            for view in VIEWS:
                forms = [t] if isinstance(model, FlowMap) else [t, torch.tensor(t), torch.tensor([0.5, t])]
                for form in forms:
                    model.begin()
                    one_sentence(lambda: getattr(model, view)(X, form), schedule)  # noqa: B023


@by_schedule
def test_grids(schedule):
    low, high = schedule.span
    for grid in grids.GRIDS.values():
        if grid is grids.strided and not hasattr(schedule, "T"):
            continue
        with pytest.raises(ValueError, match="end >= 0, got"):
            grid(schedule, 3, 0.9, low - 0.1)
        with pytest.raises(ValueError, match="got start = nan|end = nan"):
            grid(schedule, 3, math.nan if grid is not grids.truncated else 0.9, math.nan)
        if math.isfinite(high):
            one_sentence(lambda: grid(schedule, 3, 100 * high, 0.1), schedule)  # noqa: B023


@pytest.mark.parametrize("name", REGISTRY)
def test_every_sampler_by_sample_and_called(name):
    solver = REGISTRY[name]
    for schedule in SCHEDULES:
        model = DATA.model(schedule)
        for times in ([schedule.start, 0.5, -0.1], [10.0, 5.0, 0.0], [999.0, 500.0, 0.0], [1.5, 1.0, 0.1]):
            if times[-1] >= 0 and times[0] <= schedule.span[1]:
                continue
            one_sentence(lambda: sample(solver, model, X, times), schedule)  # noqa: B023
            one_sentence(lambda: solver(model, X, times), schedule)  # noqa: B023


def test_other_functions_of_times():
    model, bad = DATA.model(VP()), [1.5, 0.5, 0.1]
    exact = GaussianFlow(VP(), std=0.5)
    for call in (
        lambda: edit(model, model, X, [1.0, 0.5, 0.1], until=math.nan),
        lambda: edit(model, model, X, [1.0, 0.5, 0.1], until=500),
        lambda: sample(ddim_invert, model, X, bad),
        lambda: log_likelihood(model, X, bad),
        lambda: elbo(model, X, [1.5, 0.5, 0.0]),
        lambda: reference(model, X, 1.5, 0.1),
        lambda: exact.map(X, 1.5, 0.1),
        lambda: QuantileFlow(VP(), Mixture.gaussian(1)).map(X[:, :1], 0.1, 1.5),
        lambda: list(simulate(VP(), X, [0.1, 1.5])),
        lambda: optimal_variance(VP(), 1.5, 0.1, 0.5),
    ):
        one_sentence(call, VP())


def test_the_hint_is_for_step_numbers():
    with pytest.raises(ValueError, match=r"got 500: step n of 1000 is the time n / 1000$"):
        diffuse(Discrete.linear(1000), X, torch.tensor([500, 3]), X)
    with pytest.raises(ValueError, match=r"got 500: step n of T is the time n / T$"):
        VP().alpha(500)
    with pytest.raises(ValueError, match=r"lie in \[0, inf\), got -0.1$"):
        EDM().alpha(-0.1)
    with pytest.raises(ValueError, match=r"got 1.5$"):
        VP().alpha(1.5)


@by_schedule
def test_rounding_does_no_harm(schedule):
    """A grid that misses its end by round-off ends there, and is clean where the end is."""
    low, high = schedule.span
    for t in (low - 3e-16, np.float64(low - 1e-9)):
        assert schedule.within(t) == low and schedule.sigma(t) == schedule.sigma(low)
        assert schedule.sigma(torch.tensor([t]))[0] == schedule.sigma(low)
        assert schedule.sigma(np.array([t]))[0] == schedule.sigma(low)
    if math.isfinite(high):
        assert schedule.within(high * (1 + 1e-7)) == high
    x = initial_noise(2, 3) * schedule.sigma(0.5)
    run = sample(ddim, DATA.model(schedule), x, [0.5, 0.1, low - 3e-16])
    assert run.times[-1] == low and torch.isfinite(run.x).all()


def test_on_a_device_such_times_become_nan(monkeypatch):
    """Looking would wait for the device; what comes of them is NaN, and a loss says so."""
    t = torch.tensor([0.5, 1.0, -3e-9, 1.2, 500.0, math.nan])
    plain = VP().sigma(torch.tensor([0.5, 1.0, 0.0]))
    monkeypatch.setattr(schedules, "can_be_looked_at", lambda value: not isinstance(value, torch.Tensor))
    for schedule in SCHEDULES[:4]:
        seen = schedule.sigma(t)
        assert torch.isfinite(seen[:3]).all() and seen[3:].isnan().all()
    assert torch.equal(VP().sigma(t)[:3], plain)
    assert noise_loss(DATA.model(VP()), X, torch.tensor([500, 3]), X).isnan()
    assert VP().alpha(torch.empty(3, device="meta")).shape == (3,)


def test_torch_s_transformations_pass_through():
    """jvp, vmap and jacrev over the time, as losses of continuous-time students take them."""
    model, x, t = DATA.model(VP()), torch.ones(2, 3), torch.tensor([0.5, 0.7])
    _, slope = torch.func.jvp(lambda t: model.x0(x, t), (t,), (torch.ones(2),))
    h = 1e-3
    assert torch.allclose(slope, (model.x0(x, t + h) - model.x0(x, t - h)) / (2 * h), atol=1e-3)
    network = Network(lambda x, c: x * c[:, None], VP(), "x0")
    each = torch.vmap(lambda x, t: network.eps(x[None], t)[0])(x, t)
    assert torch.allclose(each, network.eps(x, t))
    assert torch.vmap(VP().sigma)(torch.tensor([0.5, 500.0])).isnan().tolist() == [False, True]
    assert torch.func.jacrev(VP().sigma)(t).shape == (2, 2)


# --- what samplers ask a network ------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY)
def test_a_lookup_table_serves_every_sampler(name):
    """nn.Embedding(T) at c - 1: with churn, with steps of the sampler's own, and with fractional times."""
    schedule, T = Discrete.linear(), 1000
    table = nn.Embedding(T, 1).requires_grad_(False)
    seen = []

    def network(x, c):
        seen.extend(c.tolist())
        step = c.long() - 1
        assert int(step.min()) >= 0, "the last row would be read for it"
        return torch.tanh(x) + 0 * table(step)

    model = Network(network, schedule, clock="index")
    x = initial_noise(3, 2, seed_of(name))
    end = 0.0 if REGISTRY[name].kind != "inversion" else 0.001
    for times in (grids.uniform(schedule, 7, end=end), [*grids.karras(schedule, 5, end=1e-4).tolist(), 0.0]):
        sample(REGISTRY[name], model, x, times)
    assert seen and 1 <= min(seen) and max(seen) <= T


@pytest.mark.parametrize("name", REGISTRY)
def test_no_sampler_leaves_the_span(name):
    for schedule in SCHEDULES:
        low, high = schedule.span
        x = initial_noise(3, 2, seed_of(name)) * schedule.sigma(schedule.start)
        seen = []

        def network(x, c):
            seen.extend(c.tolist())  # noqa: B023
            return torch.tanh(x)

        start = schedule.start if schedule.alpha(schedule.start) > 0 else 0.99
        end = max(schedule.end, 1e-3)
        sample(REGISTRY[name], Network(network, schedule), x, grids.uniform_lambda(schedule, 6, start, end))
        assert seen and low <= min(seen) and max(seen) <= high, (schedule, min(seen), max(seen))


def test_churn_stops_at_the_span_and_not_before():
    """EDM's span has no end, and its sampler raises the noise beyond the start, as the paper's does."""
    for schedule, most in ((EDM(), 80 * math.sqrt(2)), (VP(), VP().sigma(1.0) / VP().alpha(1.0))):
        seen = []
        model = Network(lambda x, c: seen.append(float(c[0])) or x, schedule, clock="sigma")  # noqa: B023
        x = torch.ones(1, 2, dtype=torch.float64) * schedule.sigma(schedule.start)
        sample(edm_stochastic, model, x, grids.karras(schedule, 8))
        assert seen[0] == pytest.approx(most, rel=1e-9)
