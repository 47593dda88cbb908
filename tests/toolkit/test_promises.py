"""What holds for every sampler in the registry, however it is called: gradients, precision, devices, memory,
options, threads.  A new sampler is tested by existing."""

import contextlib
import inspect
import math
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit import (
    AFS,
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    Guided,
    LinearSDE,
    Mixture,
    Network,
    Schedule,
    SubVP,
    Thresholded,
    VPCosine,
    distill,
    distilled,
    grids,
    initial_noise,
    metrics,
    sample,
    training,
)
from toolkit.amed import Predictor, train_predictor
from toolkit.data import digits
from toolkit.ddpm import diffuse, noise_loss
from toolkit.models import Model
from toolkit.networks import ToyMLP, pretrained
from toolkit.ode import log_likelihood
from toolkit.sampling import every_sampler
from toolkit.training import train

REGISTRY = every_sampler()
ADAPTIVE = [name for name, solver in REGISTRY.items() if solver.nfe is None]
FIXED = [name for name in REGISTRY if name not in ADAPTIVE]
each_sampler = pytest.mark.parametrize("name", REGISTRY)
every_fixed = pytest.mark.parametrize("name", FIXED)
TIMES = [1.0, 0.7, 0.4, 0.2, 0.1]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
COSTLY = {"langevin": {"corrections": 2}}  # its default makes ten calls a time


def variants(name):
    """Options of a sampler: none, and what makes it draw noise, remember, correct or start from a history."""
    parameters = inspect.signature(REGISTRY[name]).parameters
    start = COSTLY.get(name, {})
    found = [start]
    if "eta" in parameters:
        found.append({"eta": 0.7})
    if "norms" in parameters:
        found.append(start | {"norms": "sample"})
    if name == "amed_plugin":
        found += [{"base": base} for base in ("ddim", "dpmpp_2m", "dpm_solver_2")]
    return found


class Smooth(nn.Module):
    """A small network of x and c, in any dtype, whose weight is its only parameter."""

    def __init__(self, theta=0.6, dtype=torch.float64):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=dtype))

    def forward(self, x, c):
        c = c.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        return torch.tanh(self.theta * x) + 0.1 * c * torch.cos(x)


def smooth(x, c):
    """The same without a weight."""
    return torch.tanh(0.6 * x) + 0.1 * c.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)) * torch.cos(x)


def noise(n=3, d=2, dtype=torch.float64, seed=0):
    return initial_noise(n, d, seed, dtype)


def same(one, two):
    return torch.equal(one.x, two.x)


# --- gradients ------------------------------------------------------------------------------------------


def derivatives(run, x, theta, h=1e-4):
    """The derivative of a number in the first element of x and in theta, by central differences of order
    four.
    """
    unit = torch.zeros_like(x)
    unit[0, 0] = 1.0

    def slope(at):
        near, far = (float((at(k * h) - at(-k * h)).detach()) for k in (1, 2))
        return (8 * near - far) / (12 * h)

    return [slope(lambda e: run(x + e * unit, theta)), slope(lambda e: run(x, theta + e))]


@pytest.mark.parametrize("by_hand", [False, True], ids=["sample", "generator"])
@every_fixed
def test_gradients_are_central_differences(name, by_hand):
    x, cases = noise(), variants(name)
    if "history" in inspect.signature(REGISTRY[name]).parameters:
        cases.append({"history": [(1.0, 1.1 * x), (0.9, 1.05 * x)]})
    for options in cases:

        def run(x, theta, options=options, **more):
            model = Network(Smooth(theta) if isinstance(theta, float) else theta, VP())
            if by_hand:
                *_, (_, end) = REGISTRY[name](model, x, TIMES[1:], **options)
            else:
                end = sample(REGISTRY[name], model, x, TIMES[1:], **options, **more).x
            return (end * torch.tensor([1.0, -0.7])).sum()

        start, network = x.clone().requires_grad_(), Smooth()
        value = run(start, network) if by_hand else run(start, network, gradients=True)
        value.backward()
        got = [float(start.grad[0, 0]), float(network.theta.grad)]
        assert got == pytest.approx(derivatives(run, x, 0.6), rel=1e-6, abs=1e-7), options


@pytest.mark.parametrize("name", ADAPTIVE)
def test_an_adaptive_sampler_is_differentiated_along_its_steps(name, recwarn):
    network, x = Smooth(), noise().requires_grad_()
    run = sample(REGISTRY[name], Network(network, VP()), x, TIMES, gradients=True)
    run.x.sum().backward()
    assert x.grad.isfinite().all() and network.theta.grad != 0 and not recwarn.list


def test_gradients_do_not_depend_on_how_a_batch_is_cut():
    found = []
    for size in (None, 2, 1):
        x, network = noise().requires_grad_(), Smooth()
        options = dict(gradients=True, keep_path=True, batch_size=size)
        run = sample(REGISTRY["heun"], Network(network, VP()), x, TIMES, **options)
        (run.x.sum() + run.path.square().sum()).backward()
        found.append((x.grad, network.theta.grad))
    for got in found[1:]:
        torch.testing.assert_close(got, found[0], rtol=1e-12, atol=1e-12)


@each_sampler
def test_without_gradients_nothing_is_kept_and_the_modes_outside_change_nothing(name):
    model, x = Network(Smooth(), VP()), noise()
    want = sample(REGISTRY[name], model, x, TIMES, **variants(name)[0])
    assert not want.x.requires_grad
    for mode in (torch.no_grad(), torch.inference_mode(), torch.enable_grad()):
        with mode:
            assert same(sample(REGISTRY[name], model, x.clone(), TIMES, **variants(name)[0]), want)
    with torch.inference_mode():
        start = x.clone()
        run = sample(REGISTRY[name], model, start, TIMES, gradients=True, **variants(name)[0])
    assert run.x.requires_grad and torch.equal(run.x.detach(), want.x)
    assert same(sample(REGISTRY[name], model, start, TIMES, **variants(name)[0]), want)


def test_an_implicit_solver_keeps_no_graph_that_nobody_can_use():
    """Iterated where gradients are on, as they are unless switched off."""
    for start, network, kept in ((noise(), smooth, False), (noise(), Smooth(), True)):
        for solver in (REGISTRY["implicit_euler"], REGISTRY["trapezoid"]):
            *_, (_, end) = solver(Network(network, VP()), start, TIMES)
            assert end.requires_grad == kept


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_the_likelihood_has_gradients_where_it_is_asked_for_them(divergence):
    def value(x, theta, **more):
        network = Smooth(theta) if isinstance(theta, float) else theta
        return log_likelihood(Network(network, VP()), x, TIMES, divergence, **more)[0].sum()

    x, network = noise().requires_grad_(), Smooth()
    assert not value(x, network).requires_grad
    value(x, network, gradients=True).backward()
    got = [float(x.grad[0, 0]), float(network.theta.grad)]
    assert got == pytest.approx(derivatives(value, x.detach(), 0.6), rel=1e-6)
    with torch.inference_mode():
        assert value(x.clone(), network).isfinite()


# --- precision ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_fixed
def test_samples_have_the_dtype_of_the_noise_whatever_the_network_answers(name, dtype):
    x = noise(dtype=dtype)
    for predicts in ("eps", "x0"):
        want = sample(REGISTRY[name], Network(smooth, VP(), predicts), x, TIMES, **variants(name)[0]).x
        assert want.dtype == dtype
        for other in (torch.bfloat16, torch.float64):
            model = Network(lambda x, c, other=other: smooth(x, c).to(other), VP(), predicts)
            got = sample(REGISTRY[name], model, x, TIMES, **variants(name)[0]).x
            assert got.dtype == dtype and (torch.equal(got, want) or other != torch.float64)


@pytest.mark.parametrize("weights", DTYPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_network_is_given_the_dtype_of_its_weights(weights, dtype):
    seen = []

    class Noted(Smooth):
        def forward(self, x, c):
            seen.append((x.dtype, c.dtype))
            return super().forward(x, c)

    for network in (Noted(dtype=weights), nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).to(weights)):
        for predicts in ("eps", "edm"):
            if isinstance(network, nn.Sequential):
                model = Network(lambda x, c, network=network: network(x.to(weights)), VP(), predicts)
            else:
                model = Network(network, VP(), predicts)
            for view in ("eps", "x0", "score", "v"):
                assert getattr(model, view)(noise(dtype=dtype), 0.5).dtype == dtype
                assert getattr(model, view)(noise(dtype=dtype), torch.full((3,), 0.5)).dtype == dtype
    told = torch.float64 if weights == torch.float64 else torch.float32
    assert set(seen) == {(weights, told)}


@pytest.mark.parametrize("answer", [torch.int64, torch.bool, torch.complex64], ids=str)
def test_answers_that_are_no_real_numbers_are_refused(answer):
    model = Network(lambda x, c: x.to(answer), VP())
    with pytest.raises(ValueError, match=f"floating-point numbers, got {answer}"):
        sample(REGISTRY["ddim"], model, noise(), TIMES)


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@each_sampler
def test_neither_the_default_dtype_nor_autocast_changes_a_sample(name):
    for model in (Network(smooth, VP()), Mixture.ring().model(VP())):
        x = noise(dtype=torch.float32)
        want = sample(REGISTRY[name], model, x, TIMES, **variants(name)[0])
        for mode in (
            default_dtype(torch.float64),
            default_dtype(torch.float16),
            torch.autocast("cpu", torch.bfloat16),
        ):
            with mode:
                assert same(sample(REGISTRY[name], model, x, TIMES, **variants(name)[0]), want)


def test_a_predictor_does_not_depend_on_the_default_dtype():
    model, x = Mixture.ring().model(VP()), noise(dtype=torch.float32)
    with default_dtype(torch.float64):
        run = sample(REGISTRY["amed_solver"], model, x, TIMES, predictor=Predictor(2).float())
    assert run.x.dtype == torch.float32


# --- devices without float64 ------------------------------------------------------------------------------


class NoDouble(TorchDispatchMode):
    """Fail where a float64 tensor is made on the device "meta", which knows no values either."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(made, torch.Tensor) and made.device.type == "meta":
                assert made.dtype != torch.float64, f"{function} makes float64 on a device that may lack it"
        return out


SCHEDULES = [VP(), SubVP(), VPCosine(), VE(), EDM(), Flow(), Discrete.linear()]
SCHEDULES += [LinearSDE(lambda t: -0.5 - 0 * t, lambda t: 1 + t)]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def test_the_mode_detects():
    with NoDouble(), pytest.raises(AssertionError, match="float64"):
        torch.zeros(2, device="meta").double()


@every_fixed
def test_no_sampler_makes_float64_on_a_device_or_looks_at_a_value(name):
    x = torch.empty(4, 2, device="meta")
    for schedule in (VP(), Discrete.linear(), EDM()):
        model = Network(smooth, schedule)
        if REGISTRY[name].random:
            options = {"rng": Given()}
        else:
            options = {}
        for more in variants(name):
            if name in ("implicit_euler", "trapezoid"):
                continue  # they solve equations, for which "meta" has no kernel on the CPU's build
            with NoDouble():
                *_, (_, end) = REGISTRY[name](model, x, TIMES, **options, **more)
            assert end.dtype == torch.float32 and end.device.type == "meta"


def test_noise_of_ones_own_is_brought_to_the_dtype_of_the_state():
    class Mine:
        def normals(self, x, times):
            return iter([torch.ones(x.shape, dtype=torch.float64)] * len(times))

    x = noise(dtype=torch.float32)
    for name, solver in REGISTRY.items():
        if solver.random:
            options = variants(name)[-1]
            run = sample(solver, Network(smooth, VP()), x, TIMES, draws=Mine(), **options)
            assert run.x.dtype == torch.float32
            with pytest.raises(ValueError, match="draws needs rows"):
                sample(solver, Network(smooth, VP()), x, TIMES, draws=Mine(), batch_size=1, **options)


def test_states_that_no_sampler_can_carry():
    for x in (noise().to_sparse(), noise().to(torch.float8_e4m3fn)):
        with pytest.raises(ValueError, match="a dense tensor of at least half precision"):
            sample(REGISTRY["ddim"], Network(smooth, VP()), x, TIMES)


class Given:
    """Noise without values."""

    def normals(self, x, times):
        return (torch.empty_like(x) for _ in times[1:])


@pytest.mark.slow
@by_schedule
def test_times_on_a_device_make_no_float64_there(schedule):
    x, t = torch.empty(4, 2, device="meta"), torch.empty(4, device="meta")
    with NoDouble():
        for predicts in ("eps", "edm"):
            model = Network(smooth, schedule, predicts)
            for view in ("eps", "x0", "v", "score"):
                for at in (t, torch.full((4,), 0.5)):
                    assert getattr(model, view)(x, at).dtype == torch.float32
            for wrapper in (Thresholded(model), AFS(model), Mixture.ring().model(schedule)):
                assert wrapper.v(x, t).dtype == torch.float32
            for weighting in ("simple", lambda schedule, t: schedule.sigma(t)):
                training.loss(model, x, x, t, weighting)
        noise_loss(model, x, t, x)
        assert diffuse(schedule, x, t, x).dtype == torch.float32
        for level in (schedule.f, schedule.g2, schedule.lam, schedule.t_of_lam, schedule.beta):
            assert level(t).dtype == torch.float32


@by_schedule
def test_times_are_drawn_without_float64(schedule, monkeypatch):
    """A generator without values does not exist: the dtype of a device is asked of the CPU."""
    for module in ("training", "schedules"):
        monkeypatch.setattr(f"toolkit.{module}.wide_dtype", lambda device: torch.float32)
    for sampler in ("uniform", "lognormal"):
        t = training.draw_times(sampler, schedule, 64, torch.Generator().manual_seed(0))
        assert t.dtype == torch.float32 and t.isfinite().all()
        assert (t <= schedule.start * (1 + 1e-6)).all() and (t >= schedule.end * (1 - 1e-6)).all()


@by_schedule
def test_single_precision_is_enough_for_levels(schedule, monkeypatch):
    times = torch.linspace(max(schedule.end, 1e-3), schedule.start, 400)
    # f of a table jumps from step to step
    levels = ("alpha", "sigma") if isinstance(schedule, Discrete) else ("alpha", "sigma", "f", "g2")
    want = {name: getattr(schedule, name)(times.double()) for name in levels}
    monkeypatch.setattr("toolkit.schedules.wide_dtype", lambda device: torch.float32)
    for name in levels:
        found = getattr(schedule, name)(times).double()
        near = times > 0.99 * schedule.start  # where alpha falls to 0 it has no more digits than 1 - t
        off = (found - want[name]).abs() / (want[name].abs() + 1e-30)
        off = off[~near] if schedule.start < 1 else off
        assert off.nan_to_num(0).max() < (2e-6 if name in ("alpha", "sigma") else 1e-5), name


# --- memory ---------------------------------------------------------------------------------------------


class Reused:
    """A network that answers with the same memory at each call, as CUDA graphs do; `spoils` writes into its
    input, too, or answers with it."""

    def __init__(self, spoils):
        self.buffer, self.spoils = None, spoils

    def __call__(self, x, c):
        out = smooth(x, c)
        c.mul_(2) if len(c) == 1 else None
        if self.spoils:
            return x.copy_(out)
        if self.buffer is None:
            self.buffer = torch.empty_like(out)
        return self.buffer[: len(out)].copy_(out)  # the first batch is the largest


@pytest.mark.parametrize("spoils", [False, True])
@each_sampler
def test_a_network_may_use_one_memory_for_all_answers(name, spoils):
    if spoils and name in ("implicit_euler", "trapezoid"):
        return  # they differentiate the network, which must keep its input for that
    for rows in (1, 3):
        x, grid = noise(rows), [1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2]
        for predicts in ("eps", "x0"):
            for options in variants(name):
                want = sample(REGISTRY[name], Network(smooth, VP(), predicts), x, grid, **options).x
                start = x.clone()
                got = sample(REGISTRY[name], Network(Reused(spoils), VP(), predicts), start, grid, **options)
                assert torch.equal(got.x, want) and torch.equal(start, x), (predicts, options)


# --- options --------------------------------------------------------------------------------------------

WHOLE = [
    (name, p.name)
    for name, solver in REGISTRY.items()
    for p in inspect.signature(solver).parameters.values()
    if type(p.default) is int and p.name != "rng"
]
REAL = [
    (name, p.name)
    for name, solver in REGISTRY.items()
    for p in inspect.signature(solver).parameters.values()
    if type(p.default) is float
]
FLAGS = [
    (name, p.name)
    for name, solver in REGISTRY.items()
    for p in inspect.signature(solver).parameters.values()
    if type(p.default) is bool
]
REST = [
    (name, p.name)
    for name, solver in REGISTRY.items()
    for p in list(inspect.signature(solver).parameters.values())[3:]
    if (name, p.name) not in (*WHOLE, *REAL, *FLAGS)
]


def refused(name, option, value, **more):
    """The sentence with which a sampler refuses a value, which must name the option."""
    with pytest.raises((ValueError, TypeError)) as problem:
        sample(REGISTRY[name], Network(smooth, VP()), noise(), TIMES, **{option: value}, **more)
    says = str(problem.value)
    assert option in says and len(says.splitlines()) == 1, (name, option, value, says)
    return says


@pytest.mark.parametrize("name, option", WHOLE)
def test_options_that_count_take_whole_numbers_only(name, option):
    for value in (2.5, math.nan, math.inf, "3", None, [2], torch.ones(2), torch.tensor(2.5), True):
        assert "must be a whole number" in refused(name, option, value)
    model = Network(smooth, VP())
    runs = [
        sample(REGISTRY[name], model, noise(), TIMES, **{option: value})
        for value in (2, 2.0, np.int64(2), np.float32(2), torch.tensor(2), torch.tensor([2]))
    ]
    assert all(same(run, runs[0]) for run in runs)
    if REGISTRY[name].nfe:
        assert REGISTRY[name].nfe(4, **{option: torch.tensor(2)}) == REGISTRY[name].nfe(4, **{option: 2})
        with contextlib.suppress(ValueError):  # where it counts
            assert REGISTRY[name].nfe(4, **{option: 2.5}) == REGISTRY[name].nfe(4)


@pytest.mark.parametrize("name, option", REAL)
def test_options_that_measure_take_numbers(name, option):
    for value in (math.nan, "3", None, torch.ones(2), True, 1j):
        refused(name, option, value)
    given = inspect.signature(REGISTRY[name]).parameters[option].default
    given = 0.5 if given == 1.0 else given
    model, more = Network(smooth, VP()), COSTLY.get(name, {})
    values = (given, np.float64(given), torch.tensor(given, dtype=torch.float64), np.array([given]))
    runs = [
        sample(REGISTRY[name], model, noise(), TIMES, **{option: value}, **more) for value in values
    ]
    assert all(same(run, runs[0]) for run in runs)


@pytest.mark.parametrize("name, option", FLAGS)
def test_switches_are_true_or_false(name, option):
    for value in (2.5, "yes", None, torch.ones(2), [True]):
        assert "must be True or False" in refused(name, option, value)
    sample(REGISTRY[name], Network(smooth, VP()), noise(), TIMES, **{option: np.True_})


@pytest.mark.parametrize("name, option", REST)
def test_no_other_option_fails_without_a_sentence(name, option):
    for value in (2.5, math.nan, "3", torch.ones(2), (1, 2), object()):
        try:
            sample(REGISTRY[name], Network(smooth, VP()), noise(), TIMES, **{option: value})
        except ValueError as problem:
            assert option in str(problem) or "rng" in str(problem), (name, option, value, problem)


@each_sampler
def test_an_option_that_a_sampler_has_not(name):
    with pytest.raises(TypeError, match=f"{name} has no option 'ordr'"):
        sample(REGISTRY[name], Network(smooth, VP()), noise(), TIMES, ordr=2)


@pytest.mark.parametrize("value", [2.5, 0, -1, math.nan, "3", torch.ones(2), True])
def test_counts_elsewhere(value):
    for call in (
        lambda: grids.uniform(VP(), value),
        lambda: sample(REGISTRY["ddim"], Network(smooth, VP()), noise(), TIMES, batch_size=value),
    ):
        with pytest.raises(ValueError, match="(steps|batch_size) must be a whole number"):
            call()


@pytest.mark.parametrize("make", [Discrete.linear, Discrete.quadratic, Discrete.sigmoid, Discrete.cosine])
def test_the_length_of_a_table_is_a_whole_number(make):
    for value in (2.5, 0, -1, math.nan, "3", None, torch.ones(2)):
        with pytest.raises(ValueError, match="T must be a whole number"):
            make(value)
    assert make(torch.tensor(50)).T == make(50.0).T == 50


def test_counts_may_be_tensors():
    assert torch.equal(grids.uniform(VP(), torch.tensor(5)), grids.uniform(VP(), 5))
    run = sample(REGISTRY["ddim"], Network(smooth, VP()), noise(), TIMES, batch_size=torch.tensor(2))
    assert run.nfe == 4


@pytest.mark.parametrize("rho", [0, -1, math.nan, "7", None])
def test_karras_needs_a_positive_rho(rho):
    with pytest.raises(ValueError, match="rho must be"):
        grids.karras(VP(), 5, rho=rho)


def test_betas_of_any_kind_of_numbers():
    betas = torch.linspace(0.01, 0.2, 10)
    for given in (betas.clone().requires_grad_(), betas.bfloat16(), betas.half(), betas.tolist()):
        assert Discrete(given).alpha(0.5) == pytest.approx(Discrete(betas).alpha(0.5), rel=2e-2)


@pytest.mark.parametrize(
    "draws", [[torch.Generator()], 3.0, torch.tensor(3), None, "3", True, np.array([1, 2]), 1j]
)
def test_draws_that_are_no_seed(draws):
    for name in ("ddpm", "ddim"):
        with pytest.raises(ValueError, match="draws must be a whole number, the seed"):
            sample(REGISTRY[name], Network(smooth, VP()), noise(), TIMES, draws=draws)
    with pytest.raises(ValueError, match="generator must be one torch.Generator"):
        sample(REGISTRY["ddpm"], Network(smooth, VP()), noise(), TIMES, generator=[torch.Generator()])


@each_sampler
def test_batches_without_samples_and_samples_without_elements(name):
    for model in (Network(smooth, VP()), Mixture.ring().model(VP())):
        run = sample(REGISTRY[name], model, torch.empty(0, 2), TIMES, **variants(name)[0])
        assert run.x.shape == (0, 2)
    for shape in ((2, 0), (0, 0), (2, 3, 0)):
        with pytest.raises(ValueError, match="at least one element"):
            sample(REGISTRY[name], Network(smooth, VP()), torch.empty(shape), TIMES)


# --- what changes after it was used -----------------------------------------------------------------------


class Own(Schedule):
    """A schedule whose rate can be changed."""

    def __init__(self, rate=2.0):
        self.rate = rate

    def _log_alpha(self, t, xp):
        return -self.rate * t

    def _sigma(self, t, xp):
        return xp.sqrt(-xp.expm1(-2 * self.rate * t))

    def _f(self, t, xp):
        return -self.rate + 0 * t

    def _g2(self, t, xp):
        return 2 * self.rate + 0 * t

    def _t_of_lam(self, lam, xp):
        return 0.5 * xp.log1p(xp.exp(-2 * lam)) / self.rate


@each_sampler
def test_a_schedule_of_ones_own_may_change_between_runs(name):
    schedule, rate = Own(), [2.0]
    drift = LinearSDE(lambda t: -rate[0] + 0 * t, lambda t: 2 * rate[0] + 0 * t)
    for own in (schedule, drift):
        model = Network(lambda x, c: smooth(x, c), own, predicts="x0", clock="lam")
        grid = [0.7, 0.5, 0.3]
        schedule.rate = rate[0] = 2.0
        before = sample(REGISTRY[name], model, noise(), grid, **variants(name)[0])
        schedule.rate = rate[0] = 3.0
        fresh = Network(smooth, Own(3.0), predicts="x0", clock="lam")
        after = sample(REGISTRY[name], model, noise(), grid, **variants(name)[0]).x
        want = sample(REGISTRY[name], fresh, noise(), grid, **variants(name)[0]).x
        assert torch.allclose(after, want, rtol=1e-6, atol=1e-6) and not torch.allclose(after, before.x)


@by_schedule
def test_a_shipped_schedule_cannot_change(schedule):
    for name in vars(schedule):
        if name not in ("start", "end") and schedule.constant:
            with pytest.raises(AttributeError, match=f"{name} of a schedule cannot be changed"):
                setattr(schedule, name, 1.0)
    for name in ("sigma", "lam", "alpha"):
        if schedule.constant:
            with pytest.raises(AttributeError, match="cannot be changed"):
                setattr(schedule, name, lambda t: t)


@pytest.mark.parametrize("table", ["betas", "alpha_bar"])
@each_sampler
def test_tables_that_were_written_into_are_noticed(name, table):
    betas = np.linspace(0.01, 0.2, 10)
    schedule = Discrete(betas)
    betas[3] = 0.5  # a copy was made
    model = Network(smooth, schedule)
    want = sample(REGISTRY[name], model, noise(), TIMES, **variants(name)[0])
    again = sample(REGISTRY[name], Network(smooth, Discrete(np.linspace(0.01, 0.2, 10))), noise(), TIMES,
                   **variants(name)[0])  # fmt: skip
    assert same(want, again)
    getattr(schedule, table)[3] = 0.25
    with pytest.raises(ValueError, match="were changed after it was made"):
        sample(REGISTRY[name], model, noise(), TIMES, **variants(name)[0])


with_tau = pytest.mark.parametrize(
    "name", [n for n, s in REGISTRY.items() if "tau" in inspect.signature(s).parameters]
)


@with_tau
def test_tau_is_what_it_is_now(name):
    level = 0.0

    def tau(t):
        return level

    run = lambda tau: sample(REGISTRY[name], Network(smooth, VP()), noise(), TIMES, tau=tau)
    first, level = run(tau), 1.0
    assert same(first, run(0.0)) and same(run(tau), run(1.0)) and not same(first, run(tau))
    falling = [1.0, 0.8, 0.5, 0.3, 0.2]
    levels = dict(zip(TIMES, falling))
    forms = falling, tuple(falling), np.array(falling), torch.tensor(falling, dtype=torch.float64)
    runs = [run(lambda t: levels[float(t)]), *map(run, forms)]
    assert all(same(other, runs[0]) for other in runs)
    falling[0] = 0.1
    assert not same(run(falling), runs[0])
    for one in (np.array(1.0), torch.tensor(1.0), np.float32(1), [1] * 5):
        assert same(run(one), run(1.0))
    for wrong in ([1.0], [1.0] * 4, "1", -1.0, [1, 1, -1, 1, 1], lambda t: "a", lambda t: math.nan, None):
        refused(name, "tau", wrong)
    assert run(lambda t: 1.0 if t > 0.5 else 0.5).x.isfinite().all()  # of one time, not of an array


def test_a_mixture_may_change_between_runs():
    ring, x = Mixture.ring(), noise(dtype=torch.float32)
    model = ring.model(VP())
    before = model.x0(x, 0.5)
    ring.means += 1
    moved = Mixture(ring.weights, ring.means, ring.stds)
    assert torch.equal(model.x0(x, 0.5), moved.model(VP()).x0(x, 0.5))
    ring.means = ring.means - 1
    assert torch.allclose(model.x0(x, 0.5), before, atol=1e-6)


# --- counting -------------------------------------------------------------------------------------------


def models():
    """Models and how many calls each makes of ddim's twenty steps."""
    plain = Network(smooth, VP())
    labelled = Network(lambda x, c, label=None: smooth(x, c), VP())
    return [
        (plain, 20),
        (Mixture.ring().model(VP()), 20),
        (Guided(labelled, 1, 2.0), 40),
        (AFS(plain), 19),
        (Guided(AFS(labelled), 1, 2.0), 38),
        (Thresholded(AFS(plain)), 19),
    ]


def test_threads_count_their_own_calls():
    times = grids.uniform(VP(), 20)
    for model, calls in models():
        before, runs, gate = model.nfe, [], threading.Barrier(3)
        want = sample(REGISTRY["ddim"], model, noise(), times)

        def work(model=model, runs=runs, gate=gate):
            gate.wait()
            runs.append(sample(REGISTRY["ddim"], model, noise(), times))

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [run.nfe for run in (want, *runs)] == [calls] * 4 and all(same(run, want) for run in runs)
        assert model.nfe - before == 4 * calls


def test_a_model_of_ones_own_may_count_in_a_list():
    class Mine(Model):
        schedule = VP()

        def __init__(self):
            self._calls = [0]

        def _view(self, want, x, t):
            self._calls[0] += 1
            return x

    assert sample(REGISTRY["ddim"], Mine(), noise(), TIMES).nfe == 4


def test_models_and_samplers_can_be_sent_to_another_process():
    plain = Network(smooth, VP())
    for model in (
        plain,
        Network(Smooth(), Discrete.linear()),
        Guided(Network(labelled, VP()), 1, 2.0),
        Thresholded(AFS(plain)),
        Mixture.ring().model(EDM()),
        Mixture.ring().model(VP()).with_label(1),
    ):
        model.x0(noise(), 0.5)  # used before, so that what it remembers goes with it
        sent = pickle.loads(pickle.dumps((REGISTRY["ddpm"], model)))
        assert same(sample(*sent, noise(), TIMES), sample(REGISTRY["ddpm"], model, noise(), TIMES))
        assert sent[1].nfe > 0


def labelled(x, c, label=None):
    return smooth(x, c) if label is None else smooth(x, c) * (1 + label[:, None].to(x.dtype))


@pytest.mark.slow
def test_another_process_makes_the_same_samples():
    context = torch.multiprocessing.get_context("spawn")
    model = Guided(Network(labelled, VP()), 1, 2.0)
    with context.Pool(1) as pool:
        (found,) = pool.starmap(_sampled, [("ddpm", model)])
    assert np.array_equal(found, _sampled("ddpm", model))


def _sampled(name, model):
    return sample(every_sampler()[name], model, noise(), TIMES).x.numpy()


# --- training -------------------------------------------------------------------------------------------

PLANE = Mixture.ring()
PAIRS = initial_noise(64, 2)
METHODS = {
    "train": lambda net, **o: train(net, PAIRS, VP(), **o),
    "labels": lambda net, **o: train(net, PAIRS, VP(), labels=torch.arange(64) % 2, **o),
    "progressive": lambda net, steps=2, **o: distill.distill_progressively(
        Network(net, EDM(), "edm"), PLANE.model(EDM()), PAIRS, rounds=(2, 1), steps=(steps, 1), **o
    )[-1],
    "guidance": lambda net, **o: distill.distill_guidance(
        Network(net, EDM(), "edm"), Network(labelled, EDM()), PAIRS, torch.arange(64) % 2, **o
    ),
    "consistency": lambda net, **o: distill.train_consistency(
        distill.ConsistencyModel(net, EDM()), PAIRS, target="average", **o
    ),
    "consistency-distilled": lambda net, **o: distill.train_consistency(
        distill.ConsistencyModel(net, EDM()), PAIRS, teacher=PLANE.model(EDM()), **o
    ),
    "regression": lambda net, **o: distill.regress_on_pairs(
        Network(net, EDM(), "edm"), 80 * PAIRS, PAIRS.clone(), **o
    ),
    "adversarial": lambda net, **o: distill.distill_adversarially(
        Network(net, EDM(), "edm"), 80 * PAIRS, PAIRS.clone(), PAIRS, **o
    ),
    "reflow": lambda net, **o: distill.reflow(Network(net, Flow(), "edm"), PAIRS, PAIRS.clone(), **o),
}
each_method = pytest.mark.parametrize("method", METHODS)


class Scaled(ToyMLP):
    """A small network with labels, that takes a guidance scale and has no use for it."""

    def __init__(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            super().__init__(width=8, blocks=1, n_classes=2)

    def forward(self, x, c, label=None, scale=1.0):
        return super().forward(x, c, label)


def weights(run):
    return weights_of(run.net)


def weights_of(net):
    return torch.cat([p.flatten() for p in net.parameters()])


@each_method
def test_data_that_keep_gradients_are_trained_on(method, monkeypatch):
    """As samples are that were drawn with gradients: what made them is not trained."""
    want = weights(METHODS[method](Scaled(), steps=2, batch=8))
    monkeypatch.setitem(globals(), "PAIRS", PAIRS.clone().requires_grad_() * 1)
    assert torch.equal(weights(METHODS[method](Scaled(), steps=2, batch=8)), want)


@each_method
def test_training_trains_in_any_mode_and_what_comes_frozen(method):
    want = weights(METHODS[method](Scaled(), steps=2, batch=8))
    assert not torch.equal(want, weights_of(Scaled()))
    for mode in (torch.no_grad(), torch.inference_mode()):
        net = Scaled()
        with mode:
            assert torch.equal(weights(METHODS[method](net, steps=2, batch=8)), want)
    net = Scaled()
    with default_dtype(torch.float64):
        found = weights(METHODS[method](net, steps=2, batch=8))
    # the critic's first weights are drawn in the default dtype
    assert found.isfinite().all() if method == "adversarial" else torch.equal(found, want)
    frozen = Scaled().requires_grad_(False)
    assert torch.equal(weights(METHODS[method](frozen, steps=2, batch=8)), want)
    with torch.inference_mode():
        net = Scaled()
    with pytest.raises(ValueError, match="made in torch.inference_mode, so they cannot be trained"):
        METHODS[method](net, steps=2, batch=8)


def test_weights_that_were_frozen_one_by_one_stay():
    net = Scaled()
    frozen = next(net.parameters()).requires_grad_(False)
    before = frozen.clone()
    train(net, PAIRS, VP(), steps=3, batch=8)
    assert torch.equal(frozen, before)


def test_a_shipped_network_can_be_trained_on():
    images, labels = digits("test")
    options = dict(predicts="edm", sigma_data=0.85, labels=labels[:50], steps=2, batch=8)
    assert train(pretrained("digits"), images[:50], VP(), **options).losses.isfinite().all()


@each_method
def test_impossible_settings_are_told_before_the_first_step(method, tmp_path):
    settings = {
        "batch": (0, -1, 1.5, "3", None, math.nan),
        "steps": (0, 2.5, None),
        "warmup": (-1, 0.5),
        "lr": (0, -1, math.nan, "x"),
        "ema": (1.0, -0.1, math.nan, None),
        "seed": (1.5, None),
        "checkpoint_every": (0, 1.5),
    }
    for name, values in settings.items():
        for value in values:
            net, options = Scaled(), {"steps": 2, "batch": 8} | {name: value}
            with pytest.raises(ValueError, match=name):
                METHODS[method](net, **options)
            assert torch.equal(weights_of(net), weights_of(Scaled()))
    with pytest.raises(ValueError, match="has no weights to train"):
        METHODS[method](nn.Identity(), steps=2, batch=8)


@pytest.mark.parametrize("shape", [(64,), ()])
def test_data_without_an_axis_for_the_sample(shape):
    for call in (
        lambda data: train(Scaled(), data, VP(), steps=2),
        lambda data: distill.train_consistency(distill.ConsistencyModel(Scaled(), EDM()), data, steps=2),
    ):
        with pytest.raises(ValueError, match=r"data must be of shape \(n, ...\), one row a sample"):
            call(torch.ones(shape))


@pytest.mark.parametrize("method", ["train", "guidance", "regression", "reflow"])
def test_the_folder_of_a_checkpoint_is_made(method, tmp_path):
    path = tmp_path / "new folder" / "deeper" / "run.ckpt"
    run = METHODS[method](Scaled(), steps=3, batch=8, checkpoint=path, checkpoint_every=1)
    assert path.exists() and METHODS[method](Scaled(), steps=3, batch=8, checkpoint=path).resumed_at == 3
    assert run.losses.isfinite().all()
    with pytest.raises(ValueError, match="checkpoint must be the name of a file, got the folder"):
        METHODS[method](Scaled(), steps=3, batch=8, checkpoint=tmp_path)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_predictor_is_trained_in_any_mode(mode):
    def run():
        draw = lambda generator: 80 * torch.randn(8, 2, generator=generator)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            predictor = Predictor(2, normalise=False)
        return lambda: train_predictor(predictor, PLANE.model(EDM()), grids.karras(EDM(), 3), draw, steps=2)

    want, inside = run(), run()
    with mode():
        found = inside()
    assert torch.equal(weights(found), weights(want()))


@by_schedule
def test_distillation_makes_no_float64_on_a_device(schedule):
    x, t, s = (torch.empty(4, 2, device="meta"), *torch.empty(2, 4, device="meta"))
    model, jump = Network(smooth, schedule, "edm"), distill.ConsistencyModel(smooth, schedule)
    with NoDouble():
        distill.two_step_target(model, x, t, s, s)
        distill.guided_x0(Network(labelled, schedule), x, t, torch.zeros(4, device="meta").long(), s)
        for weighting in ("snr+1", "1/gap"):
            for metric in ("mse", "huber"):
                distill.consistency_loss(jump, x, x, t, s, metric=metric, weighting=weighting)
        distill.critic_loss(distill.Critic((2,)).to("meta"), x, x)


@pytest.mark.parametrize("name", ["amed_solver", "amed_plugin"])
def test_a_predictor_makes_no_float64_on_a_device(name):
    class Featured(Network):
        def eps_and_features(self, x, t):
            return self.eps(x, t), x

    predictor = Predictor(2, normalise=False).to("meta")
    for options in [{}] if name == "amed_solver" else variants(name):
        with NoDouble():
            model, x = Featured(smooth, VP()), torch.empty(4, 2, device="meta")
            *_, (_, end) = REGISTRY[name](model, x, TIMES, predictor=predictor, **options)
        assert end.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("which", ["digits", "digits-unet"])
def test_shipped_networks_work_in_any_precision(which, dtype):
    x = initial_noise(4, (1, 8, 8))
    networks = (pretrained(which), pretrained(which).to(dtype))
    models = [Network(network, VP(), "edm", label=3, sigma_data=0.85) for network in networks]
    want, got = (sample(REGISTRY["ddim"], model, x, TIMES).x for model in models)
    assert got.dtype == torch.float32
    assert (got - want).square().mean().sqrt() < 40 * torch.finfo(dtype).eps + 1e-5


def test_what_is_kept_serves_in_every_mode():
    distilled.setting.cache_clear()
    with torch.inference_mode():
        kept = distilled.setting("ring")
        model = PLANE.model(VP())
        model.x0(PAIRS, 0.5)
    assert not kept.data.is_inference()
    x = PAIRS.clone().requires_grad_()
    model.x0(x, 0.5).sum().backward()
    assert x.grad.isfinite().all()


def test_metrics_take_tensors_of_any_kind():
    x, y = PAIRS, PAIRS.flip(0) + 1
    for dtype in DTYPES:
        got = metrics.sliced_wasserstein(x.to(dtype).clone().requires_grad_(), y.to(dtype))
        assert got == pytest.approx(metrics.sliced_wasserstein(x, y), rel=0.02)


# --- Langevin dynamics in few dimensions ------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 64])
@pytest.mark.parametrize("name, steps, most", [("predictor_corrector", 40, 0.2), ("langevin", 100, 0.2)])
def test_langevin_s_default_step_is_safe_in_any_number_of_dimensions(name, steps, most, d):
    """Deviation of samples of N(0, 1/4); with norms of single samples it is over 1, and up to hundreds, in
    one and two dimensions."""
    for schedule in (VP(), VE(), EDM()):
        times = grids.uniform_lambda(schedule, steps)
        x = initial_noise(1000 if d < 64 else 50, d) * max(schedule.sigma(float(times[0])), 1.0)
        x = sample(REGISTRY[name], Mixture.gaussian(d, 0.5).model(schedule), x, times).x
        assert 0.45 < float(x.std()) < 0.5 * (1 + most)
        assert float(x.abs().max()) < 0.5 * 6
