"""Running samplers: the contract, seeds, batches, and loops that never wait for the device."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit import (
    VP,
    Discrete,
    Flow,
    Mixture,
    Network,
    exact_variance,
    grids,
    initial_noise,
    sample,
)
from toolkit.ddim import ddim, ddim_coefficients, ddim_invert
from toolkit.ddpm import ddpm, ddpm_coefficients
from toolkit.sampling import REGISTRY, Sampler, sampler

RING = Mixture.ring()
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def image_model(schedule=None):
    """A network without randomness or weights, for states of any shape."""
    return Network(
        lambda x, c: torch.tanh(x) * (1 + 0.1 * c.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)),
        schedule or VP(),
    )


# --- the contract ---------------------------------------------------------------------------------------


def test_a_sampler_is_a_generator_that_yields_the_start_first():
    times, x = grids.uniform(VP(), 4), initial_noise(3, 2)
    states = ddim(RING.model(VP()), x, times)
    t, first = next(states)
    assert t == 1.0 and first is x
    rest = list(states)
    assert [t for t, _ in rest] == times[1:].tolist() and all(y.shape == x.shape for _, y in rest)


def test_run_holds_what_it_says():
    model, times, x = RING.model(VP()), grids.uniform(VP(), 4), initial_noise(3, 2)
    run = sample(ddim, model, x, times, keep_path=True)
    assert run.path.shape == (5, 3, 2) and torch.equal(run.path[0], x) and torch.equal(run.path[-1], run.x)
    assert run.times == times.tolist() and run.nfe == 4
    assert sample(ddim, model, x, times).path is None
    assert sample(ddim, model, x, times).nfe == 4  # of this run, not of the model's whole life
    assert sample(ddim, model, x, times.tolist()).times == run.times


def test_the_decorator_registers_and_checks():
    @sampler(order=1, nfe=lambda steps: 0, kind="ode")
    def stand_still(model, x, times):
        """Go nowhere."""
        for t in times:
            yield t, x

    try:
        assert REGISTRY["stand_still"] is stand_still and stand_still.__doc__ == "Go nowhere."
        promises = stand_still.order, stand_still.nfe(7), stand_still.kind, stand_still.random
        assert promises == (1, 0, "ode", False) and stand_still.cite is None
        with pytest.raises(ValueError, match="decrease"):
            stand_still(RING.model(VP()), torch.zeros(1, 1), [0.0, 1.0])
        with pytest.raises(dataclasses.FrozenInstanceError):
            stand_still.order = 2
    finally:
        del REGISTRY["stand_still"]
    assert REGISTRY["ddim"] is ddim and REGISTRY["ddpm"].random


def test_a_loop_of_your_own_need_not_be_registered():
    @Sampler
    def halve(model, x, times, rng=0):
        """A half at each step."""
        for i, t in enumerate(times):
            yield t, x / 2**i

    run = sample(halve, RING.model(VP()), torch.ones(2, 2), grids.uniform(VP(), 3))
    assert (run.x == 1 / 8).all() and halve.random and halve.nfe is None and "halve" not in REGISTRY


def test_the_exact_variance_is_still_found_where_it_was():
    """Exercises that were handed out import it from here."""
    from toolkit import convergence, sampling

    assert sampling.exact_variance is convergence.exact_variance is exact_variance
    with pytest.raises(AttributeError, match="no attribute 'variance'"):
        sampling.variance  # noqa: B018 - it raises


def test_samplers_can_be_stopped_and_switched_half_way():
    model, x = RING.model(VP()), initial_noise(3, 2)
    times = grids.uniform(VP(), 6).tolist()
    t, y = next(state for state in ddim(model, x, times) if state[0] <= 0.5)
    second = sample(ddim, model, y, times[times.index(t) :])
    assert torch.equal(second.x, sample(ddim, model, x, times).x)


def test_progress(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    x, times = initial_noise(2, 2), grids.uniform(VP(), 4)
    run = sample(ddim, RING.model(VP()), x, times, progress=True)
    assert torch.equal(run.x, sample(ddim, RING.model(VP()), x, times).x)


def test_a_run_leaves_no_gradient_and_no_mark_on_its_start():
    x = initial_noise(3, 2).requires_grad_()
    copy = x.detach().clone()
    run = sample(ddpm, RING.model(VP()), x, grids.uniform(VP(), 3))
    assert not run.x.requires_grad and torch.equal(x.detach(), copy)


# --- seeds ----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_samples_and_another_gives_others():
    model, times, x = RING.model(VP()), grids.uniform(VP(), 5), initial_noise(4, 2)
    runs = [sample(ddpm, model, x, times, draws=s).x for s in (0, 0, 1, -1, 2**63, np.int64(1))]
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[2], runs[5])
    assert not any(torch.isclose(runs[0], other).any() for other in runs[2:5])


def test_a_torch_generator_is_a_seed_and_moves_on():
    model, times, x = RING.model(VP()), grids.uniform(VP(), 5), initial_noise(4, 2)
    first, second = (torch.Generator().manual_seed(5) for _ in range(2))
    one, again = (
        sample(ddpm, model, x, times, generator=g, batch_size=b).x for g, b in ((first, None), (second, 2))
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, sample(ddpm, model, x, times, generator=first).x)
    assert torch.equal(one, sample(ddpm, model, x, times, draws=torch.Generator().manual_seed(5)).x)


def test_the_global_random_state_is_neither_used_nor_moved():
    model, times = RING.model(VP()), grids.uniform(VP(), 5)
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one = sample(ddpm, model, initial_noise(4, 2), times).x
    RING.sample(5)
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()
    torch.manual_seed(2)
    assert torch.equal(one, sample(ddpm, model, initial_noise(4, 2), times).x)


# --- batches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options", [("ddim", {}), ("ddim", {"eta": 0.7}), ("ddpm", {}), ("ddpm", {"variance": "beta"})]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_batch_split_gives_the_same_bits(name, options, dtype):
    x, times = initial_noise(7, (1, 4, 4), dtype=dtype), grids.uniform(VP(), 6)
    run = lambda size: sample(
        REGISTRY[name], image_model(), x, times, draws=2, batch_size=size, keep_path=True, **options
    )
    whole = run(None)
    for size in (1, 2, 3, 7, 100):
        part = run(size)
        assert torch.equal(part.x, whole.x) and torch.equal(part.path, whole.path) and part.nfe == whole.nfe


def test_labels_are_cut_with_the_batch():
    model = Network(lambda x, c, label: x * (1 + label[:, None].to(x)), VP(), label=torch.arange(7))
    x, times = initial_noise(7, 2), grids.uniform(VP(), 4)
    whole = sample(ddim, model, x, times).x
    assert all(torch.equal(sample(ddim, model, x, times, batch_size=size).x, whole) for size in (1, 3, 5))


def test_an_empty_batch_is_a_batch():
    for loop in (ddim, ddpm):
        assert sample(loop, RING.model(VP()), torch.empty(0, 2), grids.uniform(VP(), 3)).x.shape == (0, 2)


# --- precision and devices ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddim", "ddpm", "ddim_invert"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_float_dtype(name, dtype):
    x = initial_noise(16, (1, 4, 4), dtype=dtype)
    run = lambda state: sample(REGISTRY[name], image_model(), state, grids.uniform(VP(), 10), draws=1)
    got = run(x)
    assert got.x.dtype == dtype
    noise = {"float16": 0.02, "bfloat16": 0.2, "float32": 3e-5, "float64": 1e-12}[str(dtype).split(".")[1]]
    if dtype == torch.float64 or name != "ddpm":
        want = run(x.double()).x
        assert torch.allclose(got.x.double(), want, atol=noise * float(want.abs().max()))


class NoSync(TorchDispatchMode):
    """Fail at any operation that makes the host wait for a value."""

    forbidden = (
        "_local_scalar_dense",
        "item",
        "nonzero",
        "equal",
        "is_nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        assert name not in self.forbidden, f"{name} waits for the device inside the loop"
        return function(*args, **(kwargs or {}))


CASES = [
    ("ddim", {}),
    ("ddim", {"eta": 1.0}),
    ("ddpm", {}),
    ("ddpm", {"variance": "beta"}),
    ("ddim_invert", {"iterations": 2}),
]


@pytest.mark.parametrize("name, options", CASES)
@pytest.mark.parametrize("label", [None, 1, torch.tensor([0, 1, 2, 3])])
def test_no_host_sync_in_the_loop(name, options, label):
    for model in (image_model(), RING.model(VP()).with_label(label)):
        x = initial_noise(4, 2)
        states = REGISTRY[name](model, x, grids.uniform(VP(), 5), **options)
        next(states)
        with NoSync(), torch.no_grad():
            assert len(list(states)) == 5


def test_the_sync_detector_detects():
    with NoSync(), pytest.raises(AssertionError, match="waits"):
        float(torch.ones(1).sum())


@pytest.mark.parametrize("name, options", CASES)
def test_loops_run_on_tensors_that_have_no_values(name, options):
    """The 'meta' device has shapes only: whatever looks at a value fails."""
    x = torch.empty(4, 1, 3, 3, device="meta")
    *_, (t, end) = REGISTRY[name](image_model(), x, grids.uniform(VP(), 5), **options)
    assert end.shape == x.shape and end.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name, options", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gpu_loop_agrees_with_cpu_and_never_syncs(name, options, dtype):
    times, x = grids.uniform(VP(), 6), initial_noise(8, (1, 4, 4), dtype=dtype)
    want = sample(REGISTRY[name], image_model(), x, times, **options).x
    states = REGISTRY[name](image_model(), x.cuda(), times, **options)
    next(states)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad():
            *_, (t, got) = states
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert got.is_cuda and got.dtype == dtype
    assert torch.allclose(got.cpu().double(), want.double(), atol=100 * torch.finfo(dtype).eps, rtol=0.05)


# --- the exact variance of a linear sampler -------------------------------------------------------------


@pytest.mark.parametrize("options", [{"eta": 0.0}, {"eta": 0.5}, {"eta": 1.0}])
def test_exact_variance_agrees_with_sampling(options):
    schedule, times = VP(), grids.uniform(VP(), 7)
    want = exact_variance(ddim, schedule, times, 0.5, **options)
    model = Mixture.gaussian(1, 0.5).model(schedule)
    scale = math.sqrt(schedule.alpha(1.0) ** 2 * 0.25 + schedule.sigma(1.0) ** 2)
    for seed in range(3):
        x = scale * initial_noise(20_000, 1, seed, torch.float64)
        got = sample(ddim, model, x, times, draws=seed, **options).x.square().mean()
        assert abs(float(got) / want - 1) < 5 * math.sqrt(2 / 20_000)


# --- bad input ------------------------------------------------------------------------------------------

GRID = [1.0, 0.5, 0.1]
X = torch.zeros(3, 2)


@pytest.mark.parametrize(
    "noise, times, options, says",
    [
        (X.long(), GRID, {}, "floating-point tensor.*int64"),
        (X[0], GRID, {}, r"shape \(2,\)"),
        (X.numpy(), GRID, {}, "ndarray"),
        (X, [0.1, 0.5, 1.0], {}, r"times\[0\] = 0.1, times\[1\] = 0.5"),
        (X, [1.0, 0.5, 0.5], {}, "decrease"),
        (X, [1.0], {}, "at least two"),
        (X, [], {}, "at least two"),
        (X, 1.0, {}, "at least two"),
        (X, [[1.0, 0.5]], {}, r"shape \(1, 2\)"),
        (X, [1.0, math.nan], {}, "finite"),
        (X, [math.inf, 1.0], {}, "finite"),
        (X, GRID, {"batch_size": 0}, "batch_size"),
        (X, GRID, {"batch_size": -1}, "batch_size"),
        (X, GRID, {"draws": "seven"}, "draws must be.*got 'seven'"),
        (X, GRID, {"rng": 3}, "draws="),
    ],
)
def test_mistakes_are_one_sentence(noise, times, options, says):
    with pytest.raises(ValueError, match=says) as problem:
        sample(ddpm, RING.model(VP()), noise, times, **options)
    assert len(str(problem.value).splitlines()) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_fails_is_named_and_dated(bad):
    model = Network(lambda x, c: torch.where(c[:, None] < 0.6, bad, x), VP())
    with pytest.raises(ValueError, match="NaN or inf.*keep_path"):
        sample(ddim, model, torch.ones(2, 2), [1.0, 0.5, 0.1])
    with pytest.raises(ValueError, match="first at t = 0.1:"):
        sample(ddim, model, torch.ones(2, 2), [1.0, 0.5, 0.1], keep_path=True)


def test_alpha_zero_at_the_start():
    with pytest.raises(ValueError, match="alpha is 0"):
        sample(ddim_invert, RING.model(Flow()), X, [1.0, 0.5, 0.1])
    for coefficients in (ddim_coefficients, ddpm_coefficients):
        with pytest.raises(ValueError, match="alpha is 0"):
            coefficients(Flow(), [1.0, 0.5, 0.1])
    assert Discrete.linear().alpha(1.0) > 0


def test_the_seed_has_its_old_name_too():
    """Exercises that were handed out call it so."""
    times, x = grids.uniform(VP(), 4), initial_noise(3, 2)
    run = lambda **named: sample(ddpm, RING.model(VP()), x, times, **named).x
    assert torch.equal(run(seed=5), run(draws=5)) and not torch.equal(run(seed=5), run(draws=6))
