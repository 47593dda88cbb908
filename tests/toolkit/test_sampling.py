"""Running samplers: the contract, noise that belongs to a path, and loops that never wait for the device."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit import (
    VP,
    Brownian,
    Discrete,
    Flow,
    Mixture,
    Network,
    exact_variance,
    grids,
    initial_noise,
    sample,
)
from toolkit._brownian import FINE, UNITS, HashedNormals, bridge_of, split_at
from toolkit.ddim import ddim, ddim_invert
from toolkit.ddpm import ddpm
from toolkit.noise import Replay
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
            stand_still(None, torch.zeros(1, 1), [0.0, 1.0])
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_initial_noise_is_a_function_of_seed_and_row(dtype):
    whole = initial_noise(10, (1, 3, 3), seed=4, dtype=dtype)
    assert whole.shape == (10, 1, 3, 3) and whole.dtype == dtype
    assert torch.equal(whole[6:9], initial_noise(3, (1, 3, 3), seed=4, dtype=dtype, first=6))
    assert torch.equal(initial_noise(2, 9, seed=4, dtype=dtype), whole[:2].reshape(2, 9))


# --- noise that belongs to a path -----------------------------------------------------------------------


def normals(seed, shape, times, first=0, dtype=torch.float64):
    return torch.stack(list(Brownian(seed, first).normals(torch.empty(shape, dtype=dtype), times)))


def deep_grid(n):
    return grids.karras(VP(), n).tolist()


@pytest.mark.parametrize("seed", [0, 1, 12345, -7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noises_are_standard_normal_and_independent(seed, dtype):
    """Mean, variance, shape of the distribution; no correlation across steps, samples and elements."""
    z = normals(seed, (500, 8), deep_grid(12), dtype=dtype).double()  # 12 steps x 500 samples x 8 elements
    n = z.numel()
    assert abs(z.mean()) < 4.5 / math.sqrt(n) and abs(z.var() - 1) < 4.5 * math.sqrt(2 / n)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-5
    for step in z:  # unit variance at each step, whatever its length
        assert abs(step.var() - 1) < 5 * math.sqrt(2 / step.numel())
    for columns in (z.permute(1, 2, 0), z.permute(0, 1, 2), z.transpose(1, 2)[:, :, :24]):
        flat = columns.reshape(-1, columns.shape[-1]).numpy()
        correlation = np.corrcoef(flat.T) - np.eye(flat.shape[1])
        assert abs(correlation).max() < 5.5 / math.sqrt(len(flat))


@pytest.mark.parametrize("seed", range(4))
def test_seeds_and_the_start_are_independent_of_one_another(seed):
    a, b = (normals(s, (2000, 2), [1.0, 0.4, 0.0]).flatten() for s in (seed, seed + 1))
    start = initial_noise(2000, 2, seed, torch.float64).flatten()
    for one, two in ((a, b), (a[:4000], start), (a[4000:], start)):
        assert abs((one * two).mean()) < 4.5 / math.sqrt(len(one))


@pytest.mark.parametrize("shape", [(7, 2), (5, 3), (6, 1, 4, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_does_not_depend_on_how_a_batch_is_cut(shape, dtype):
    whole = normals(3, shape, deep_grid(9), dtype=dtype)
    assert whole.dtype == dtype
    for first, last in [(0, 1), (2, 5), (4, shape[0])]:
        part = normals(3, (last - first, *shape[1:]), deep_grid(9), first=first, dtype=dtype)
        assert torch.equal(part, whole[:, first:last])


def test_noise_of_a_batch_too_large_for_one_block_has_the_same_bits():
    """Beyond half a million numbers the path is built piece by piece, along the same divisions."""
    times, shape = deep_grid(40), (300, 128)
    for dtype in (torch.float32, torch.float64):
        whole = normals(1, shape, times, dtype=dtype)
        assert whole.numel() > 2**20
        for first in (0, 131, 299):
            assert torch.equal(normals(1, (1, 128), times, first, dtype)[:, 0], whole[:, first])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block, chunk", [(1, 1), (50, 7), (2**30, 2**30)])
def test_the_sizes_of_blocks_and_of_draws_change_no_bit(dtype, block, chunk, monkeypatch):
    times, shape = deep_grid(23), (5, 3)
    whole = normals(2, shape, times, dtype=dtype)
    monkeypatch.setattr("toolkit._brownian._BLOCK", block)
    monkeypatch.setattr("toolkit._brownian._CHUNK", chunk)
    assert torch.equal(normals(2, shape, times, dtype=dtype), whole)


@pytest.mark.parametrize("seed, steps", [(0, 7), (1, 23), (2, 50)])
def test_a_path_is_levys_construction(seed, steps):
    """The lines of `toolkit.noise`'s docstring, cell by cell, against the engine that draws many at once."""
    times, like, length = deep_grid(steps), torch.empty(5, 3, dtype=torch.float64), UNITS * FINE
    hashed = HashedNormals(seed, 0, like)
    normal = lambda m: hashed.draw(hashed.keys([m]), hashed.column([1.0]))[0]
    points = np.rint((times[0] - np.array(times)) / (times[0] - times[-1]) * length).astype(int).tolist()

    def path(a, b, w):
        if not any(a < point < b for point in points):
            yield b, w
        else:
            m = split_at(a, b)
            share, spread = bridge_of(a, m, b)
            left = share * w + spread * normal(m)
            yield from path(a, m, left)
            yield from path(m, b, w - left)

    cells = list(path(0, length, math.sqrt(length) * normal(0)))
    steps_of = zip(points, points[1:])
    want = [sum(w for end, w in cells if a < end <= b) / math.sqrt(b - a) for a, b in steps_of]
    assert torch.allclose(normals(seed, (5, 3), times), torch.stack(want), rtol=0, atol=1e-9)


@pytest.fixture
def draws(monkeypatch):
    """Counts the draws that a path makes: a function of (shape, times)."""
    asked, draw = [], HashedNormals.draw

    def counted(self, keys, *rest, **options):
        asked.append(len(keys))
        return draw(self, keys, *rest, **options)

    def count(shape, times):
        asked.clear()
        assert len(normals(0, shape, times)) == len(times) - 1
        return sum(asked)

    monkeypatch.setattr(HashedNormals, "draw", counted)
    return count


@pytest.mark.parametrize("steps", [2, 10, 20, 100, 200, 1000])
@pytest.mark.parametrize("shape", [(3, 2), (64, 100)])  # the second takes several blocks from 100 steps on
def test_equal_steps_of_these_numbers_cost_one_draw_each(steps, shape, draws):
    for ends in ((1, 0), (80, 0.002)):
        assert draws(shape, np.linspace(*ends, steps + 1).tolist()) == steps


def test_other_grids_cost_several_draws_a_step(draws):
    """As the page of the benchmarks says."""
    for times in (np.linspace(1, 0, 51).tolist(), deep_grid(50)):
        assert 50 < draws((2, 2), times) < 50 * 24


@pytest.mark.parametrize("d", [1, 2, 3, 7, 64, 65])
def test_any_number_of_elements(d):
    """Hashes give normals in pairs: an odd element count leaves one of a pair unused, and none twice."""
    times = [1.0, 0.7, 0.2, 0.0]
    z = normals(5, (400, d), times)
    start = initial_noise(400, d, seed=5, dtype=torch.float64)
    for values in (z, start):
        assert values.isfinite().all() and len(values.unique()) == values.numel()
    assert abs(z.mean()) < 5 / math.sqrt(z.numel()) and abs(z.var() - 1) < 5 * math.sqrt(2 / z.numel())
    if d > 1:
        off = np.corrcoef(z.flatten(0, 1).numpy().T) - np.eye(d)
        assert abs(off).max() < 5.5 / math.sqrt(1200)
    assert torch.equal(normals(5, (1, d), times, first=399)[:, 0], z[:, 399])
    assert torch.equal(z, normals(5, (400, 1, d, 1), times)[:, :, 0, :, 0])


def test_single_and_double_precision_see_the_same_path():
    """Up to rounding in single precision: its largest error is where the radius of Box-Muller is nearly 0,
    sqrt(2) times the root of half a last place of 1."""
    times = deep_grid(30)
    pairs = [normals(6, (200, 7), times, dtype=dtype).double() for dtype in (torch.float32, torch.float64)]
    pairs += [initial_noise(20000, 7, 6, dtype).double() for dtype in (torch.float32, torch.float64)]
    for single, double in (pairs[:2], pairs[2:]):
        off = (single - double).abs()
        assert off.max() < 5e-4 and off.square().mean().sqrt() < 2e-6 and off.median() < 5e-7


@pytest.mark.parametrize("seed", range(4))
def test_a_step_is_the_weighted_sum_of_the_steps_inside_it(seed):
    """Three grids, each nested in the next, with steps from one cell of the lattice to a third of all:
    sqrt(length) times the coarse increment is the sum of the same of the fine ones."""
    cells, random = 16_384_000, np.random.default_rng(seed)
    near = 8_192_000 + random.choice(40, 6, replace=False)  # neighbours on the lattice, about its first split
    fine = np.unique([0, *random.integers(1, cells, 50), *near, *range(0, cells, cells // 20), cells])
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
        grids_ = [fine]
        for _ in range(2):
            inner = grids_[-1][1:-1]
            kept = np.sort(random.choice(inner, len(inner) // 2, replace=False))
            grids_.append(np.array([0, *kept, cells]))
        paths = {}
        for k, points in enumerate(grids_):
            z = normals(seed, (9, 3), (1 - points / cells).tolist(), dtype=dtype).double()
            paths[k] = z * torch.from_numpy(np.sqrt(np.diff(points)))[:, None, None]
        for k in (1, 2):
            at = np.searchsorted(grids_[k - 1], grids_[k])
            joined = torch.stack([paths[k - 1][i:j].sum(0) for i, j in zip(at, at[1:])])
            assert (joined - paths[k]).abs().max() < tolerance * 20 * math.sqrt(cells)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 2**31, 2**62 - 1, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_distribution_in_the_large(seed, dtype):
    """A quarter of a million normals: four moments and the Kolmogorov-Smirnov distance; correlations, of the
    values and of their squares, at lags over steps, samples and elements.  Every bound is 5 deviations."""
    z = normals(seed, (250, 50), np.linspace(1, 0, 21).tolist(), dtype=dtype).double()
    for values in (z, initial_noise(5000, 50, seed, dtype).double().reshape(20, 250, 50)):
        n = values.numel()
        for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
            assert abs((values**power).mean() - mean) < 5 * math.sqrt(variance / n), power
        assert stats.kstest(values.flatten().numpy(), "norm").pvalue > 1e-6
        for v in (values, (values**2 - 1) / math.sqrt(2)):
            for axis in range(3):
                for lag in (1, 2, values.shape[axis] // 2):
                    one = v.narrow(axis, 0, v.shape[axis] - lag)
                    two = v.narrow(axis, lag, v.shape[axis] - lag)
                    assert abs((one * two).mean()) < 5 / math.sqrt(one.numel()), (axis, lag)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 3e-6), (torch.float64, 1e-12)])
def test_a_refined_grid_sees_the_same_path(seed, dtype, tolerance):
    """Increments over nested grids: the coarse one is the sum of the fine ones, on the lattice of times."""
    cells = 16_384_000
    fine = np.sort(np.random.default_rng(seed).choice(np.arange(1, cells), 23, replace=False))
    fine = np.concatenate([[0], fine, [cells]])
    coarse = fine[[0, 3, 4, 11, 19, 24]]
    to_times = lambda points: (2.0 - 1.7 * points / cells).tolist()
    z_fine, z_coarse = (normals(seed, (20, 3), to_times(p), dtype=dtype) for p in (fine, coarse))
    path_fine = torch.cumsum(z_fine * torch.from_numpy(np.sqrt(np.diff(fine))).to(dtype)[:, None, None], 0)
    path_coarse = torch.cumsum(
        z_coarse * torch.from_numpy(np.sqrt(np.diff(coarse))).to(dtype)[:, None, None], 0
    )
    at = np.searchsorted(fine, coarse[1:]) - 1
    assert torch.allclose(path_fine[at], path_coarse, atol=tolerance * math.sqrt(cells))


@pytest.mark.parametrize("steps", [10, 17, 64])
def test_doubling_the_steps_of_any_grid_keeps_the_path_up_to_the_lattice(steps):
    times = deep_grid(steps)
    finer = sorted({*times, *[0.5 * (a + b) for a, b in zip(times, times[1:])]}, reverse=True)
    z, z_finer = normals(0, (50, 2), times), normals(0, (50, 2), finer)
    length = -np.diff(times)
    joined = (z_finer[0::2] + z_finer[1::2]) / math.sqrt(2)
    lattice = (times[0] - times[-1]) / 16_384_000
    off = (joined - z).square().mean((1, 2)).sqrt().numpy()
    assert (off < 6 * np.sqrt(lattice / length) + 1e-12).all()


def test_stochastic_samplers_converge_along_the_path():
    """The same seed on finer and finer grids tends to one sample: noise belongs to times, not to step
    numbers.
    """
    model, x = Mixture.gaussian(2, 0.5).model(VP()), initial_noise(64, 2, dtype=torch.float64)
    ends = [sample(ddpm, model, x, grids.uniform(VP(), n), draws=3).x for n in (100, 200, 400, 800)]
    gaps = [float((a - b).square().mean().sqrt()) for a, b in zip(ends, ends[1:])]
    assert gaps[0] > 1.5 * gaps[1] > 1.5**2 * gaps[2] and gaps[2] < 0.05
    other = sample(ddpm, model, x, grids.uniform(VP(), 800), draws=4).x
    assert (other - ends[-1]).square().mean().sqrt() > 0.3


def test_times_that_the_lattice_cannot_tell_apart():
    with pytest.raises(ValueError, match="too close together"):
        normals(0, (1, 1), [1.0, 0.5, 0.5 - 1e-9, 0.0])


def test_replayed_noise():
    model, x = RING.model(VP()), initial_noise(6, 2)
    times = grids.uniform(VP(), 5)
    zs = list(Brownian(9).normals(x, times.tolist()))
    want = sample(ddpm, model, x, times, draws=9).x
    for batch_size in (None, 4, 1):
        assert torch.equal(sample(ddpm, model, x, times, draws=Replay(zs), batch_size=batch_size).x, want)
        assert torch.equal(sample(ddpm, model, x, times, draws=Brownian(9), batch_size=batch_size).x, want)
    assert torch.equal(sample(ddpm, model, x[2:], times, draws=Brownian(9, first=2)).x, want[2:])
    with pytest.raises(ValueError, match="5 steps need as many noises; got 4"):
        sample(ddpm, model, x, times, draws=Replay(zs[:4]))


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_noise_is_cpu_noise_up_to_rounding():
    times = grids.karras(VP(), 20).tolist()
    cpu, gpu = (
        torch.stack(list(Brownian(3).normals(torch.empty(40, 6, device=d), times))).cpu()
        for d in ("cpu", "cuda")
    )
    assert torch.allclose(cpu, gpu, atol=1e-4)
    assert torch.allclose(initial_noise(40, 6), initial_noise(40, 6, device="cuda").cpu(), atol=1e-5)


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
        (X, GRID, {"draws": "seven"}, "rng must be"),
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
    for loop in (ddim, ddpm, ddim_invert):
        with pytest.raises(ValueError, match="alpha is 0"):
            sample(loop, RING.model(Flow()), X, [1.0, 0.5, 0.1])
    assert Discrete.linear().alpha(1.0) > 0


def test_the_seed_has_its_old_name_too():
    """Exercises that were handed out call it so."""
    times, x = grids.uniform(VP(), 4), initial_noise(3, 2)
    run = lambda **named: sample(ddpm, RING.model(VP()), x, times, **named).x
    assert torch.equal(run(seed=5), run(draws=5)) and not torch.equal(run(seed=5), run(draws=6))
