"""Networks and arguments as other people have them: velocities of rectified flows, conditions of any shape,
modules of other libraries, and what is not a model at all.
"""

import inspect
import math
import warnings
from types import SimpleNamespace

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
    Guided,
    Mixture,
    Network,
    Sampler,
    Thresholded,
    grids,
    initial_noise,
    sample,
)
from toolkit.ddim import ddim, ddim_invert
from toolkit.distill import at_scale
from toolkit.models import MixUp, view_of
from toolkit.ode import euler
from toolkit.sampling import NoiseNotScaled, every_sampler
from toolkit.training import loss, train

REGISTRY = every_sampler()
DATA = Mixture.gaussian(2, 0.5)
X = torch.ones(4, 2)

# --- rectified flows ------------------------------------------------------------------------------------


def velocity(schedule):
    """The exact eps - x0 of DATA, as a network."""
    exact = DATA.model(schedule)

    def network(x, c):
        return exact.eps(x, c) - exact.x0(x, c)

    return network


@pytest.mark.parametrize("name", REGISTRY)
def test_a_flow_network_is_the_exact_model(name):
    solver = REGISTRY[name]
    for schedule in (Flow(), VP(), EDM(), Discrete.linear()):
        times, seed = grids.uniform_lambda(schedule, 6, end=max(schedule.end, 0.01)), seed_of(name, schedule)
        x = initial_noise(8, 2, seed, torch.float64) * schedule.sigma(schedule.start)
        model = Network(velocity(schedule), schedule, "flow")
        got, want = (sample(solver, m, x, times).x for m in (model, DATA.model(schedule)))
        assert torch.allclose(got, want, rtol=1e-6, atol=1e-6 * float(want.abs().max())), schedule


def test_on_flow_it_is_the_slope_of_the_paths():
    x, h = initial_noise(8, 2, 1, torch.float64), 1e-4
    model = DATA.model(Flow())
    step = sample(euler, model, x, [0.6, 0.6 - h]).x
    assert torch.allclose((x - step) / h, model.flow(x, 0.6), atol=1e-9)


def test_networks_whose_time_runs_the_other_way():
    """The two recipes of `Network`'s docstring."""
    exact = velocity(Flow())
    other_way = lambda x, c: -exact(x, 1 - c)
    thousand = lambda x, c: exact(x, c / 1000)
    x, times = initial_noise(8, 2, 1, torch.float64), grids.uniform(Flow(), 9)
    want = sample(ddim, DATA.model(Flow()), x, times).x
    for network in (lambda x, c: -other_way(x, 1 - c), lambda x, c: thousand(x, 1000 * c)):
        assert torch.allclose(sample(ddim, Network(network, Flow(), "flow"), x, times).x, want, atol=1e-10)


def test_the_target_of_training_is_the_view():
    x0, eps, t = DATA.sample(8, 1), initial_noise(8, 2, 2, torch.float64), torch.full((8,), 0.3).double()
    for schedule in (Flow(), VP()):
        right = Network(lambda x, c: eps - x0, schedule, "flow")
        assert loss(right, x0, eps, t) == 0
    run = train(Small(3), DATA.sample(64, 1).float(), Flow(), predicts="flow", steps=3, batch=8)
    assert torch.isfinite(run.losses).all()


class Small(nn.Module):
    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.layer = nn.Linear(3, 2)

    def forward(self, x, c):
        return self.layer(torch.cat([x, c[:, None].to(x)], 1))


def test_v_on_flow_is_said_to_look_like_a_mix_up():
    with pytest.warns(MixUp, match="predicts=\"flow\""):
        Network(lambda x, c: x, Flow(), "v")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Network(lambda x, c: x, Flow(), "flow")
        Network(lambda x, c: x, VP(), "v")
        warnings.simplefilter("ignore", MixUp)
        Network(lambda x, c: x, Flow(), "v")


# --- what is not a model, and what is not a sampler -----------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY)
def test_a_bare_network_is_told_how_to_become_a_model(name):
    for thing in (lambda x, c: x, nn.Linear(2, 2), "ddim", None, Network, VP()):
        for call in (sample, lambda solver, *rest: solver(*rest)):
            with pytest.raises(ValueError, match=r"wrap a network as Network\(net, schedule, predicts="):
                call(REGISTRY[name], thing, X, [1.0, 0.5])


def test_a_sampler_by_name_or_a_bare_loop():
    def loop(model, x, times):
        yield times[0], x
        yield times[-1], x

    for thing in ("ddim", None, loop, ddim.loop):
        with pytest.raises(ValueError, match=r"must be a Sampler.*every_sampler\(\).*Sampler\(loop\)"):
            sample(thing, DATA.model(VP()), X, [1.0, 0.5])
    assert torch.equal(sample(Sampler(loop), DATA.model(VP()), X, [1.0, 0.5]).x, X)


def test_a_network_that_is_none_and_a_schedule_that_is_none():
    with pytest.raises(ValueError, match="called as network"):
        Network(DATA.model(VP()), VP())
    for schedule in (VP, "vp", None):
        with pytest.raises(ValueError, match="schedule must be one of toolkit.schedules"):
            Network(nn.Linear(2, 2), schedule)


def test_an_output_with_sample_names_the_reader():
    with pytest.raises(ValueError, match=r"SimpleNamespace.*toolkit\.interop reads diffusers' models"):
        Network(lambda x, c: SimpleNamespace(sample=x), VP()).eps(X, 0.5)


def test_modules_of_diffusers_are_sent_to_the_reader():
    """By how they are called: their names for the arguments.  A time called timestep is nobody's own."""
    diffusers = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    theirs = diffusers.UNet2DModel(sample_size=8, block_out_channels=(32,), **blocks)
    with pytest.raises(ValueError, match="UNet2DModel takes timestep=.*toolkit.interop reads diffusers'"):
        Network(theirs, Discrete.linear(), clock="index")
    assert torch.equal(Network(lambda x, timestep: x, VP()).eps(X, 0.5), X)


@pytest.mark.parametrize("name", REGISTRY)
def test_no_option_is_nan(name):
    solver, model = REGISTRY[name], DATA.model(VP())
    for option, parameter in inspect.signature(solver).parameters.items():
        number = isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
        if number and option != "rng":
            with pytest.raises(ValueError, match=f"{option} must be a (whole )?number.*, got nan"):
                sample(solver, model, X, [1.0, 0.5], **{option: math.nan})


def test_other_numbers_that_are_nan():
    model = Mixture([1.0, 1.0], [[0.0] * 2, [1.0] * 2], [0.5, 0.5]).model(VP())
    for call, says in (
        (lambda: Guided(model, 1, math.nan), "scale must be a finite number, got nan"),
        (lambda: Thresholded(model, math.nan), "quantile must lie"),
        (lambda: Thresholded(model, 0.9, math.nan), "limit must be positive, got nan"),
        (lambda: Thresholded(model, None, 0.0), "limit must be positive, got 0"),
        (lambda: grids.karras(VP(), 5, rho=math.nan), "rho must be a number, got nan"),
        (lambda: grids.karras(VP(), 5, rho=0), "rho must be positive and finite, got 0"),
        (lambda: grids.truncated(VP(), 5, snr_start=math.nan), "snr_start must be a number, got nan"),
        (lambda: grids.truncated(VP(), 5, snr_end=math.nan), "snr_end must be a number, got nan"),
        (lambda: grids.truncated(VP(), 5, snr_start=0), "snr_start and snr_end must be positive"),
        (lambda: grids.uniform(VP(), 5, math.nan), "got start = nan"),
        (lambda: AFS(model, std=math.nan), "mean and std must be finite"),
    ):
        with pytest.raises(ValueError, match=says) as problem:
            call()
        assert len(str(problem.value).splitlines()) == 1


# --- noise that was not scaled --------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [EDM(), VE()], ids=repr)
def test_unit_noise_where_sigma_is_large(schedule):
    noise, model, times = initial_noise(64, 2, 1), DATA.model(schedule), grids.uniform_lambda(schedule, 4)
    with pytest.warns(NoiseNotScaled, match=r"deviation .* sigma\(start\) = .* schedule.sigma\(times\[0\]\)"):
        sample(ddim, model, noise, times, batch_size=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample(ddim, model, noise * schedule.sigma(schedule.start), times)
        sample(ddim, model, noise[:3], times)  # too few numbers to say
        sample(ddim, model, torch.ones(8, 2), times)
        sample(ddim, model, torch.zeros(8, 2), times)
        sample(ddim_invert, model, noise, times)  # noise is what comes out
        sample(ddim, model, noise, grids.uniform_lambda(schedule, 4, 0.5))
        sample(ddim, DATA.model(VP()), noise, grids.uniform_lambda(VP(), 4))


# --- conditions -----------------------------------------------------------------------------------------

CONDITIONS = {
    "a class": torch.tensor([3, 1, 4, 1, 5]),
    "a vector": torch.linspace(0, 1, 15).reshape(5, 3),
    "a sequence": torch.linspace(0, 1, 60).reshape(5, 4, 3),
    "a dict": {"text": torch.linspace(0, 1, 15).reshape(5, 3), "n": torch.arange(5), "kind": 2, "no": None},
    "nested": {"a": {"b": torch.arange(10.0).reshape(5, 2)}},
    "one for all": torch.linspace(0, 1, 12).reshape(1, 4, 3),
    "a number": 7,
    "a list": [3, 1, 4, 1, 5],
}
each_condition = pytest.mark.parametrize("name", CONDITIONS)


def total(label, n):
    """One number a sample of a condition as the network gets it: with n rows."""
    if isinstance(label, dict):
        return sum(total(part, n) for part in label.values() if part is not None)
    assert len(label) == n
    return label.double().reshape(n, -1).sum(1)


class Conditioned(nn.Module):
    """x + the condition's sum; its scale is for `at_scale`."""

    def forward(self, x, c, label=None, scale=1.0):
        return x * 0.1 if label is None else x * 0.1 + total(label, len(x)).to(x)[:, None]


@each_condition
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_conditions_are_cut_with_the_batch(name, sampler):
    label, times = CONDITIONS[name], grids.uniform(VP(), 4)
    x = initial_noise(5, 2, seed_of(name))
    base = Network(Conditioned(), VP())
    null = {"one for all": torch.zeros(1, 4, 3)}.get(name)
    for model in (
        base.with_label(label),
        Network(Conditioned(), VP(), label=label),
        Guided(base, label, 2.0),
        Guided(base, 3, 2.0).with_label(label),
        Guided(base, label, 2.0, null=null),
        Thresholded(Guided(base, label, 2.0, null=label)),
        at_scale(base.with_label(label), torch.ones(5)),
    ):
        whole = sample(REGISTRY[sampler], model, x, times).x
        for size in (1, 2, 3):
            assert torch.equal(sample(REGISTRY[sampler], model, x, times, batch_size=size).x, whole)
    assert not torch.equal(sample(REGISTRY[sampler], base, x, times).x, whole)


@each_condition
def test_a_null_condition_is_given(name):
    """Guidance with a null of its own: null + scale (label - null)."""
    base, x, label = Network(Conditioned(), VP()), initial_noise(5, 2, 1), CONDITIONS[name]
    null = torch.full((1, 3), 0.25)
    want = base.with_label(null).eps(x, 0.5) * -1 + 2 * base.with_label(label).eps(x, 0.5)
    assert torch.allclose(Guided(base, label, 2.0, null=null).eps(x, 0.5), want, atol=1e-5)
    without = 2 * base.with_label(label).eps(x, 0.5) - base.eps(x, 0.5)
    assert torch.allclose(Guided(base, label, 2.0).eps(x, 0.5), without, atol=1e-5)


def test_lengths_that_do_not_fit_are_one_sentence():
    base, x, times = Network(Conditioned(), VP()), initial_noise(5, 2, 1), [1.0, 0.5]
    for label in (
        torch.arange(3),
        torch.arange(7),
        torch.ones(4, 3),
        torch.ones(6, 4, 3),
        {"text": torch.ones(5, 3), "size": torch.arange(6)},
    ):
        for model in (base.with_label(label), Guided(base, label, 2.0), Guided(base, 1, 2.0, null=label)):
            for size in (None, 1, 2, 5):
                with pytest.raises(ValueError, match="label must be one for all or have one row per sample"):
                    sample(ddim, model, x, times, batch_size=size)
            with pytest.raises(ValueError, match="for 5$"):
                model.eps(x, 0.5)
    with pytest.raises(ValueError, match="got 3 for 5"):
        base.with_label(torch.arange(3)).rows(2, 5)
    for label in ("a cat", [torch.ones(2), torch.ones(3)], object()):
        with pytest.raises(ValueError, match="label must be an int, a tensor with one row a sample, or"):
            base.with_label(label)
    with pytest.raises(ValueError, match="got a dict"):
        DATA.model(VP()).with_label({"a": 1})


def test_conditions_move_to_the_samples_device():
    """Seen without a GPU: the network gets them where x is."""
    seen = []

    def network(x, c, label):
        seen.append((label["text"].device, label["kind"].device, label["text"].shape))
        return x

    model = Network(network, VP(), label={"text": torch.ones(5, 4, 3), "kind": 2})
    model.eps(torch.empty(5, 2, device="meta"), 0.5)
    model.eps(torch.empty(5, 2, device="meta"), 0.5)
    assert seen == [(torch.device("meta"), torch.device("meta"), (5, 4, 3))] * 2
    assert view_of("v", 1.0, 2.0, 0.6, 0.8) == pytest.approx(0.6 * 2 - 0.8)
