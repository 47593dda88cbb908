"""Noise that belongs to a path: standard normals that depend on (seed, sample, time) and on nothing else.

`Brownian` is what samplers draw from, `Replay` plays given tensors back, `initial_noise` starts a run.
Inside, a path is built by bisection from a counter-based generator: hash (seed, node, sample, element), then
Box-Muller.
"""

import math
from functools import lru_cache

import numpy as np
import torch

_UNITS, _FINE = 1000, 2**14  # the lattice of times on which a Brownian path is known: 1000 x 2^14 cells
_BLOCK = 2**20  # numbers of a path held at once


class Brownian:
    """Brownian paths, one a sample, each a function of (seed, sample, time) and of nothing else.

    `normals(x, times)` gives for each step of the grid a standard normal shaped like x: the path's increment
    over that step, scaled to unit variance.  So the same samples come out however a batch is cut (`first` is
    the number of the first row), and a finer grid with the same ends sees the same path.  Times are rounded
    to 1/16,384,000 of the grid's length.  The path is built by bisection (Lévy's construction) from a
    counter-based generator, on x's device, without a host sync; CPU and GPU agree up to rounding.
    """

    def __init__(self, seed: int = 0, first: int = 0):
        self.seed, self.first = int(seed), int(first)

    def rows(self, first: int, last: int):
        """The same paths for rows first..last-1 of a batch."""
        return Brownian(self.seed, self.first + first)

    def normals(self, x, times):
        """An iterator over len(times) - 1 tensors shaped like x; times is a decreasing list of floats."""
        u = (times[0] - np.asarray(times)) / (times[0] - times[-1])
        points = tuple(np.rint(u * (_UNITS * _FINE)).astype(np.int64).tolist())
        if any(b <= a for a, b in zip(points, points[1:])):
            raise ValueError(
                "times lie too close together for a Brownian path: "
                "two of them differ by less than 6e-8 of the grid"
            )
        rows, d = len(x), math.prod(x.shape[1:])
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        samples = torch.arange(self.first, self.first + rows, device=x.device)

        def draw(keys):
            return _hashed_normal(self.seed, keys, samples, d, dtype)

        program = _program(0, _UNITS * _FINE, points, rows * d, x.device)
        cells = _walk(program, draw(torch.zeros(1, dtype=torch.int64, device=x.device)), draw)
        return (z.reshape(x.shape).to(x.dtype) for z in _gather(cells, points))


def initial_noise(n: int, shape, seed: int = 0, dtype=torch.float32, device="cpu", first: int = 0):
    """Standard normal (n, *shape); row i is a function of (seed, first + i) only.  shape: an int or a tuple.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    samples = torch.arange(first, first + n, device=device)
    key = torch.full((1,), -1, dtype=torch.int64, device=device)
    inner = torch.float64 if dtype == torch.float64 else torch.float32
    return _hashed_normal(int(seed), key, samples, math.prod(shape), inner)[0].reshape(n, *shape).to(dtype)


def _gather(cells, points):
    """Join the cells (length, z), which come in order, into one unit-variance increment for each step of the
    grid.
    """
    at, total = 0, None
    steps = iter(zip(points, points[1:]))
    a, b = next(steps)
    for length, z in cells:
        at += length
        if at == b and total is None:
            yield z
        else:
            total = z * math.sqrt(length) if total is None else total + z * math.sqrt(length)
            if at == b:
                yield total / math.sqrt(b - a)
        if at == b:
            total = None
            a, b = next(steps, (b, -1))


def _middle(a, b):
    """Where the cell [a, b) is split: whole units first, so that n/1000 are nodes, then halves."""
    length = b - a
    return a + np.where(length > _FINE, _FINE * (length // _FINE // 2), length // 2)


def _program(a, b, points, size, device):
    """How to split the cell [a, b) down to the grid: nested ("split", key, share, left, right), ("block",
    levels, lengths) and ("cell", length), with all it needs on the device before the sampler's loop begins.
    size: elements of a state.
    """
    inside = _inside(points, a, b)
    if not inside:
        return "cell", b - a
    if len(inside) * size <= _BLOCK or len(inside) == 1:
        levels, lengths = _plan(inside, a, b)
        return "block", [[v.to(device) for v in level] for level in levels], lengths
    m = int(_middle(a, b))
    halves = _program(a, m, points, size, device), _program(m, b, points, size, device)
    share = torch.tensor([(m - a) / (b - a)], dtype=torch.float64, device=device)
    return "split", torch.tensor([m], device=device), share, *halves


def _walk(program, z, draw):
    """Carry out a program on the increment z (1, B, d) of its cell; yield (length, increment) in order of
    time.
    """
    kind, *rest = program
    if kind == "cell":
        yield rest[0], z[0]
    elif kind == "block":
        yield from _breadth_first(z, *rest, draw)
    else:
        key, share, first, second = rest
        halves = _split(z, draw(key), share)
        yield from _walk(first, halves[:, 0], draw)
        yield from _walk(second, halves[:, 1], draw)


def _inside(points, a, b):
    low, high = np.searchsorted(points, [a, b], side="left")
    return tuple(p for p in points[low:high] if p > a)


def _split(z, xi, share):
    """Both halves (n, 2, B, d) of the increments z (n, B, d), given fresh noise xi: a rotation, so that they
    are standard normal.

    Not fused into addcmul: one rounding an operation gives the same bits whatever the batch.
    """
    cos, sin = (root.sqrt().to(z.dtype)[:, None, None] for root in (share, 1 - share))
    halves = z.new_empty(len(z), 2, *z.shape[1:])
    torch.mul(z, cos, out=halves[:, 0]).add_(xi * sin)
    torch.mul(z, sin, out=halves[:, 1]).sub_(xi.mul_(cos))
    return halves


@lru_cache(maxsize=4096)
def _plan(inside, a, b):
    """The levels of the bisection of [a, b) that separates the points inside, and the lengths of the final
    cells.
    """
    inside = np.asarray(inside)
    left, right, levels = np.array([a]), np.array([b]), []
    while True:
        holds = np.searchsorted(inside, right, side="left") > np.searchsorted(inside, left, side="right")
        if not holds.any():
            return tuple(levels), (right - left).tolist()
        middle = _middle(left, right)
        parents = np.flatnonzero(holds)
        share = (middle - left)[parents] / (right - left)[parents]
        whole = np.flatnonzero(~holds)
        order = np.argsort(np.concatenate([np.repeat(parents, 2), whole]), kind="stable")
        levels.append([torch.from_numpy(v) for v in (parents, whole, share, middle[parents], order)])
        ends = np.insert(right[parents], np.arange(len(parents)), middle[parents])
        begins = np.insert(middle[parents], np.arange(len(parents)), left[parents])
        left, right = (
            np.concatenate([begins, left[whole]])[order],
            np.concatenate([ends, right[whole]])[order],
        )


def _breadth_first(z, levels, lengths, draw):
    for parents, whole, share, keys, order in levels:
        if len(whole):
            z = torch.cat([_split(z[parents], draw(keys), share).flatten(0, 1), z[whole]])[order]
        else:
            z = _split(z, draw(keys), share).flatten(0, 1)
    return zip(lengths, z.unbind(0))


def _signed(value):
    return (value & (2**64 - 1)) - (2**64 if value & 2**63 else 0)


_GOLDEN, _MIX1, _MIX2 = (_signed(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mix(z):
    """SplitMix64's finaliser (Steele, Lea & Flood 2014), in place on int64; the masks make >> a logical
    shift.
    """
    for shift, factor in ((30, _MIX1), (27, _MIX2), (31, None)):
        z.bitwise_xor_((z >> shift).bitwise_and_(2 ** (64 - shift) - 1))
        if factor:
            z.mul_(factor)
    return z


def _hashed_normal(seed, keys, samples, d, dtype):
    """Standard normals (len(keys), len(samples), d), each a function of (seed, key, sample, element): hash,
    then Box-Muller.
    """
    half = (d + 1) // 2
    base = _mix(torch.full_like(keys, _signed(seed * 0x9E3779B97F4A7C15 + 1)))
    base = _mix(base + keys * _GOLDEN)[:, None, None]
    base = _mix(base + samples[None, :, None] * _GOLDEN)
    bits = _mix(base + torch.arange(half, device=keys.device) * _GOLDEN)
    radius = (bits >> 32).bitwise_and_(0xFFFFFFFF).to(dtype).add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    angle = bits.bitwise_and_(0xFFFFFFFF).to(dtype).mul_(2 * math.pi * 2.0**-32)
    normals = torch.empty(*bits.shape[:-1], 2 * half, dtype=dtype, device=keys.device)
    torch.mul(radius, angle.cos(), out=normals[..., :half])
    torch.mul(radius, angle.sin_(), out=normals[..., half:])
    return normals[..., :d]


def noise_of(rng, x, times):
    """The noise that a sampler's `rng` option stands for: an int seed, a torch.Generator (its next draw is
    the seed), or an object with `normals(x, times)`, such as Brownian or Replay."""
    if isinstance(rng, torch.Generator):
        rng = drawn_seed(rng)
    if isinstance(rng, (int, np.integer)):
        rng = Brownian(rng)
    if not hasattr(rng, "normals"):
        raise ValueError(f"rng must be an int, a torch.Generator or a Brownian; got {type(rng).__name__}")
    return rng.normals(x, times)


def drawn_seed(generator):
    """The next draw of a torch.Generator, as a seed."""
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


class Replay:
    """Noise given in advance: one tensor a step.  For comparing samplers, ours and others', on the same
    draws.
    """

    def __init__(self, tensors):
        self.tensors = list(tensors)

    def rows(self, first: int, last: int):
        """The same noise for rows first..last-1 of a batch."""
        return Replay(z[first:last] for z in self.tensors)

    def normals(self, x, times):
        """The given tensors; ValueError if there are fewer than steps."""
        if len(self.tensors) < len(times) - 1:
            raise ValueError(f"{len(times) - 1} steps need as many noises; got {len(self.tensors)}")
        return iter(self.tensors)
