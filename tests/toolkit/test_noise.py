"""Noise: what it is a function of, how it is distributed, what it costs; paths that can be refined."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from toolkit import VP, Brownian, Mixture, Noise, grids, initial_noise, sample
from toolkit._normals import KeyedNormals
from toolkit.ddpm import ddpm
from toolkit.noise import _CELLS, Replay, _middle

RING = Mixture.ring()
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
KINDS = pytest.mark.parametrize("kind", [Noise, Brownian])


def normals(kind, seed, shape, times, first=0, dtype=torch.float64):
    return torch.stack(list(kind(seed, first).normals(torch.empty(shape, dtype=dtype), times)))


def deep_grid(n):
    return grids.karras(VP(), n).tolist()


# --- both kinds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_initial_noise_is_a_function_of_seed_and_row(dtype):
    whole = initial_noise(10, (1, 3, 3), seed=4, dtype=dtype)
    assert whole.shape == (10, 1, 3, 3) and whole.dtype == dtype
    assert torch.equal(whole[6:9], initial_noise(3, (1, 3, 3), seed=4, dtype=dtype, first=6))
    assert torch.equal(initial_noise(2, 9, seed=4, dtype=dtype), whole[:2].reshape(2, 9))


@KINDS
@pytest.mark.parametrize("seed", [0, 1, 12345, -7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noises_are_standard_normal_and_independent(kind, seed, dtype):
    """Mean, variance, shape of the distribution; no correlation across steps, samples and elements."""
    z = normals(kind, seed, (500, 8), deep_grid(12), dtype=dtype).double()  # steps x samples x elements
    n = z.numel()
    assert abs(z.mean()) < 4.5 / math.sqrt(n) and abs(z.var() - 1) < 4.5 * math.sqrt(2 / n)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-5
    for step in z:  # unit variance at each step, whatever its length
        assert abs(step.var() - 1) < 5 * math.sqrt(2 / step.numel())
    for columns in (z.permute(1, 2, 0), z.permute(0, 1, 2), z.transpose(1, 2)[:, :, :24]):
        flat = columns.reshape(-1, columns.shape[-1]).numpy()
        correlation = np.corrcoef(flat.T) - np.eye(flat.shape[1])
        assert abs(correlation).max() < 5.5 / math.sqrt(len(flat))


@KINDS
def test_seeds_and_the_start_are_independent_of_one_another(kind, seed):
    a, b = (normals(kind, s, (2000, 2), [1.0, 0.4, 0.0]).flatten() for s in (seed, seed + 1))
    start = initial_noise(2000, 2, seed, torch.float64).flatten()
    for one, two in ((a, b), (a[:4000], start), (a[4000:], start)):
        assert abs((one * two).mean()) < 4.5 / math.sqrt(len(one))


@KINDS
@pytest.mark.parametrize("shape", [(7, 2), (5, 3), (6, 1, 4, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_does_not_depend_on_how_a_batch_is_cut(kind, shape, dtype):
    whole = normals(kind, 3, shape, deep_grid(9), dtype=dtype)
    assert whole.dtype == dtype
    for first, last in [(0, 1), (2, 5), (4, shape[0])]:
        part = normals(kind, 3, (last - first, *shape[1:]), deep_grid(9), first=first, dtype=dtype)
        assert torch.equal(part, whole[:, first:last])


@KINDS
@pytest.mark.parametrize("d", [1, 2, 3, 7, 64, 65])
def test_any_number_of_elements(kind, d):
    """Hashes give normals in pairs: an odd element count leaves one of a pair unused, and none twice."""
    times = [1.0, 0.7, 0.2, 0.0]
    z = normals(kind, 5, (400, d), times)
    start = initial_noise(400, d, seed=5, dtype=torch.float64)
    for values in (z, start):
        assert values.isfinite().all() and len(values.unique()) == values.numel()
    assert abs(z.mean()) < 5 / math.sqrt(z.numel()) and abs(z.var() - 1) < 5 * math.sqrt(2 / z.numel())
    if d > 1:
        off = np.corrcoef(z.flatten(0, 1).numpy().T) - np.eye(d)
        assert abs(off).max() < 5.5 / math.sqrt(1200)
    assert torch.equal(normals(kind, 5, (1, d), times, first=399)[:, 0], z[:, 399])
    assert torch.equal(z, normals(kind, 5, (400, 1, d, 1), times)[:, :, 0, :, 0])


@KINDS
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 2**31, 2**62 - 1, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_distribution_in_the_large(kind, seed, dtype):
    """A quarter of a million normals: four moments and the Kolmogorov-Smirnov distance; correlations, of the
    values and of their squares, at lags over steps, samples and elements.  Every bound is 5 deviations."""
    z = normals(kind, seed, (250, 50), np.linspace(1, 0, 21).tolist(), dtype=dtype).double()
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


@KINDS
def test_single_and_double_precision_see_the_same_path(kind):
    """Up to rounding in single precision: its largest error is where the radius of Box-Muller is nearly 0,
    sqrt(2) times the root of half a last place of 1."""
    times = deep_grid(30)
    pairs = [
        normals(kind, 6, (200, 7), times, dtype=dtype).double() for dtype in (torch.float32, torch.float64)
    ]
    pairs += [initial_noise(20000, 7, 6, dtype).double() for dtype in (torch.float32, torch.float64)]
    for single, double in (pairs[:2], pairs[2:]):
        off = (single - double).abs()
        assert off.max() < 5e-4 and off.square().mean().sqrt() < 2e-6 and off.median() < 5e-7


# --- one draw a step ------------------------------------------------------------------------------------


def by_hand(seed, step, sample, element, d):
    """One number of `Noise` in integers of any size: SplitMix64, then Box-Muller."""
    golden, one, two, word = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 2**64

    def mixed(z):
        z = (z ^ z >> 30) * one % word
        z = (z ^ z >> 27) * two % word
        return z ^ z >> 31

    signed = lambda half_word: half_word - 2**32 if half_word >> 31 else half_word
    half = (d + 1) // 2
    key = mixed(((-2 - step) * golden + seed * two + 1) % word)
    bits = mixed((key + mixed((sample * one + element % half * golden) % word)) % word)
    radius = math.sqrt(-2 * math.log(min((abs(signed(bits % 2**32)) + 0.5) / 2**31, 1)))
    angle = math.pi * signed(bits >> 32) / 2**31
    return radius * (math.cos(angle) if element < half else math.sin(angle))


@pytest.mark.parametrize("seed", [0, 3, -5, 2**62 - 1, 2**80])
def test_noise_equals_integers_by_hand(seed):
    z = normals(Noise, seed, (4, 5), deep_grid(6), first=7)
    want = [[[by_hand(seed, k, 7 + i, j, 5) for j in range(5)] for i in range(4)] for k in range(6)]
    assert torch.allclose(z, torch.tensor(want, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 2), (64, 100), (1, 7)])
def test_a_step_costs_one_draw_on_any_grid_and_none_ahead_of_its_piece(shape, monkeypatch):
    drawn, draw = [], KeyedNormals._drawn

    def counted(self, keys):
        drawn.append(len(keys))
        return draw(self, keys)

    monkeypatch.setattr(KeyedNormals, "_drawn", counted)
    monkeypatch.setattr("toolkit._normals._CHUNK", 16 * shape[0] * shape[1])
    for times in (deep_grid(50), grids.uniform_lambda(VP(), 50), np.linspace(1, 0, 51)):
        drawn.clear()
        noises = Noise(0).normals(torch.empty(shape), list(times))
        assert drawn == []
        next(noises)
        assert sum(drawn) <= 16
        assert len(list(noises)) == 49 and sum(drawn) == 50


@pytest.mark.parametrize("chunk", [1, 50, 2**30])
def test_the_size_of_a_piece_changes_no_bit(chunk, monkeypatch):
    whole = normals(Noise, 2, (5, 3), deep_grid(23))
    monkeypatch.setattr("toolkit._normals._CHUNK", chunk)
    assert torch.equal(normals(Noise, 2, (5, 3), deep_grid(23)), whole)


def test_the_noise_of_a_step_does_not_depend_on_the_grid():
    """On any grid and with any number of steps; a run that stops early has drawn the same."""
    long = normals(Noise, 1, (3, 4), deep_grid(40))
    assert torch.equal(normals(Noise, 1, (3, 4), [1.0, 0.9, 0.1, 0.0]), long[:3])


# --- paths that can be refined ----------------------------------------------------------------------------


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
            z = normals(Brownian, seed, (9, 3), (1 - points / cells).tolist(), dtype=dtype).double()
            paths[k] = z * torch.from_numpy(np.sqrt(np.diff(points)))[:, None, None]
        for k in (1, 2):
            at = np.searchsorted(grids_[k - 1], grids_[k])
            joined = torch.stack([paths[k - 1][i:j].sum(0) for i, j in zip(at, at[1:])])
            assert (joined - paths[k]).abs().max() < tolerance * 20 * math.sqrt(cells)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 3e-6), (torch.float64, 1e-12)])
def test_a_refined_grid_sees_the_same_path(seed, dtype, tolerance):
    """Increments over nested grids: the coarse one is the sum of the fine ones, on the lattice of times."""
    cells = 16_384_000
    fine = np.sort(np.random.default_rng(seed).choice(np.arange(1, cells), 23, replace=False))
    fine = np.concatenate([[0], fine, [cells]])
    coarse = fine[[0, 3, 4, 11, 19, 24]]
    to_times = lambda points: (2.0 - 1.7 * points / cells).tolist()
    z_fine, z_coarse = (normals(Brownian, seed, (20, 3), to_times(p), dtype=dtype) for p in (fine, coarse))
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
    z, z_finer = normals(Brownian, 0, (50, 2), times), normals(Brownian, 0, (50, 2), finer)
    length = -np.diff(times)
    joined = (z_finer[0::2] + z_finer[1::2]) / math.sqrt(2)
    lattice = (times[0] - times[-1]) / 16_384_000
    off = (joined - z).square().mean((1, 2)).sqrt().numpy()
    assert (off < 6 * np.sqrt(lattice / length) + 1e-12).all()


def test_stochastic_samplers_converge_along_the_path():
    """The same paths on finer and finer grids tend to one sample."""
    model, x = Mixture.gaussian(2, 0.5).model(VP()), initial_noise(64, 2, dtype=torch.float64)
    ends = [sample(ddpm, model, x, grids.uniform(VP(), n), draws=Brownian(3)).x for n in (100, 200, 400, 800)]
    gaps = [float((a - b).square().mean().sqrt()) for a, b in zip(ends, ends[1:])]
    assert gaps[0] > 1.5 * gaps[1] > 1.5**2 * gaps[2] and gaps[2] < 0.05
    other = sample(ddpm, model, x, grids.uniform(VP(), 800), draws=Brownian(4)).x
    assert (other - ends[-1]).square().mean().sqrt() > 0.3


@pytest.mark.parametrize("seed, steps", [(0, 7), (1, 23)])
def test_a_path_is_levys_construction(seed, steps):
    """Interval by interval from the whole, each midpoint a bridge, against the normals of the lattice."""
    times, like = deep_grid(steps), torch.empty(5, 3, dtype=torch.float64)
    normal = lambda m: next(KeyedNormals(seed, 0, like)(torch.tensor([m])))
    points = np.rint((times[0] - np.array(times)) / (times[0] - times[-1]) * _CELLS).astype(int).tolist()

    def value(p, a=0, b=_CELLS, w_a=0.0, w_b=None):
        """The path at lattice point p, of which a and b are known."""
        w_b = math.sqrt(_CELLS) * normal(0) if w_b is None else w_b
        if p in (a, b):
            return w_a if p == a else w_b
        m = _middle(a, b)
        mean = w_a + (w_b - w_a) * (m - a) / (b - a)
        w_m = mean + math.sqrt((m - a) * (b - m) / (b - a)) * normal(m)
        return value(p, a, m, w_a, w_m) if p <= m else value(p, m, b, w_m, w_b)

    want = [(value(b) - value(a)) / math.sqrt(b - a) for a, b in zip(points, points[1:])]
    assert torch.allclose(normals(Brownian, seed, (5, 3), times), torch.stack(want), rtol=0, atol=1e-9)


def test_times_that_the_lattice_cannot_tell_apart():
    with pytest.raises(ValueError, match="too close together"):
        normals(Brownian, 0, (1, 1), [1.0, 0.5, 0.5 - 1e-9, 0.0])


# --- noise given in advance ---------------------------------------------------------------------------


def test_replayed_noise():
    model, x = RING.model(VP()), initial_noise(6, 2)
    times = grids.uniform(VP(), 5)
    zs = list(Noise(9).normals(x, times.tolist()))
    want = sample(ddpm, model, x, times, draws=9).x
    for batch_size in (None, 4, 1):
        assert torch.equal(sample(ddpm, model, x, times, draws=Replay(zs), batch_size=batch_size).x, want)
        assert torch.equal(sample(ddpm, model, x, times, draws=Noise(9), batch_size=batch_size).x, want)
    assert torch.equal(sample(ddpm, model, x[2:], times, draws=Noise(9, first=2)).x, want[2:])
    with pytest.raises(ValueError, match="5 steps need as many noises; got 4"):
        sample(ddpm, model, x, times, draws=Replay(zs[:4]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@KINDS
def test_gpu_noise_is_cpu_noise_up_to_rounding(kind):
    times = grids.karras(VP(), 20).tolist()
    cpu, gpu = (
        torch.stack(list(kind(3).normals(torch.empty(40, 6, device=d), times))).cpu() for d in ("cpu", "cuda")
    )
    assert torch.allclose(cpu, gpu, atol=1e-4)
    assert torch.allclose(initial_noise(40, 6), initial_noise(40, 6, device="cuda").cpu(), atol=1e-5)


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: Noise(1.5), "seed must be a whole number, got 1.5"),
        (lambda: Brownian("one"), "seed must be a whole number, got 'one'"),
        (lambda: Noise(0, first=-1), "first must be a whole number of at least 0, got -1"),
        (lambda: initial_noise(2.5, 2), "n must be a whole number of at least 0, got 2.5"),
        (lambda: initial_noise(2, (2, 0.5)), "shape must be a whole number of at least 1, got 0.5"),
        (lambda: initial_noise(2, 2, dtype=torch.int64), "dtype must be floating-point, got torch.int64"),
    ],
)
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call()
