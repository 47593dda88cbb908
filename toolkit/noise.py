"""Noise that depends on who is drawn and not on how: standard normals that are functions of a seed.

`Noise` is what samplers draw from, one draw a step; `Brownian` gives in its place the increments of paths
that can be refined, for studies of convergence; `Replay` plays given tensors back; `initial_noise` starts a
run.  Each has `normals(x, times)`, one standard normal shaped like x for each step of the grid, and
`rows(first, last)`, the same noise for a part of the batch.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
import torch

from toolkit._normals import KeyedNormals
from toolkit.options import whole_number

# Keys of the normals: the points of a path's lattice count up from 0, the start and the steps of a run down.
_START, _FIRST_STEP = -1, -2


class Noise:
    """Independent noise: a standard normal for each step, a function of (seed, sample, number of the step).

    So the same samples come out however a batch is cut (`first` is the number of the first row), in however
    many processes it is drawn, and on every device up to rounding.  What an int `draws` stands for in
    `sample`.  On a refined grid it is other noise: see `Brownian`.  A run that goes on from another run's end
    needs another seed, or it meets the same noise again.
    """

    def __init__(self, seed: int = 0, first: int = 0):
        self.seed, self.first = whole_number("seed", seed, -math.inf), whole_number("first", first, 0)

    def rows(self, first: int, last: int):
        """The same noise for rows first..last-1 of a batch."""
        return type(self)(self.seed, self.first + first)

    def normals(self, x, times):
        """An iterator over len(times) - 1 tensors shaped like x."""
        steps = _FIRST_STEP - torch.arange(len(times) - 1, device=x.device)
        return KeyedNormals(self.seed, self.first, x)(steps)


class Brownian(Noise):
    """Brownian paths, one a sample, each a function of (seed, sample, time) and of nothing else.

    `normals(x, times)` gives for each step of the grid a standard normal shaped like x: the path's increment
    over that step, scaled to unit variance.  A finer grid with the same ends sees the same path, which is
    what a strong order is about; it costs some 15 draws a step in place of one.  Times are rounded to
    1/16,384,000 of the grid's length.

    The path is Lévy's construction (Lévy 1948, sec. 1): given its increment w over the cell [a, b), that over
    [a, m) is normal with mean (m - a) / (b - a) w and variance (m - a) (b - m) / (b - a).
    """

    def normals(self, x, times):
        """An iterator over len(times) - 1 tensors shaped like x; times is a decreasing list of floats."""
        u = (times[0] - np.asarray(times)) / (times[0] - times[-1])
        points = np.rint(u * _CELLS).astype(np.int64).tolist()
        if any(b <= a for a, b in zip(points, points[1:])):
            raise ValueError(
                "times lie too close together for a Brownian path: two of them differ by less than 6e-8 "
                "of the grid; noise that need not be refined, draws=seed, takes any grid"
            )
        like = x if x.dtype == torch.float64 else x.float()
        keyed = KeyedNormals(self.seed, self.first, like)
        normal = lambda m: next(keyed(torch.full((1,), m, device=x.device)))
        cells = _path(0, _CELLS, math.sqrt(_CELLS) * normal(0), points, normal)
        return (z.to(x.dtype) for z in _joined(cells, points))


# The lattice of times on which a path is known: 1000 units, then halves, so that a grid that is even in time
# is reached after a few divisions.
_HALVES = 2**14
_CELLS = 1000 * _HALVES
_DIVISIONS = tuple(_HALVES * units for units in (500, 100, 50, 10, 5, 1))


def _path(a, b, w, points, normal):
    """The cells (end, increment) of a path in order of time, given its increment w over [a, b): divided until
    no point of the grid lies strictly inside one.  What a cell holds does not depend on the grid.
    """
    if bisect_right(points, a) == bisect_left(points, b):
        yield b, w
        return
    m = _middle(a, b)
    spread = math.sqrt((m - a) * (b - m) / (b - a))
    left = w * ((m - a) / (b - a)) + spread * normal(m)
    yield from _path(a, m, left, points, normal)
    yield from _path(m, b, w - left, points, normal)


def _middle(a, b):
    """Where the cell [a, b) is divided: at the middle multiple of the coarsest division that it holds, then
    in halves.
    """
    step = next((d for d in _DIVISIONS if d < b - a), 0)
    return a + (step * ((b - a) // step // 2) if step else (b - a) // 2)


def _joined(cells, points):
    """The cells of each step of the grid added up, and scaled to unit variance."""
    for a, b in zip(points, points[1:]):
        end, total = next(cells)
        while end < b:
            end, w = next(cells)
            total = total + w
        yield total * (b - a) ** -0.5


def initial_noise(n: int, shape, seed: int = 0, dtype=torch.float32, device="cpu", first: int = 0):
    """Standard normal (n, *shape); row i is a function of (seed, first + i) only.  shape: an int or a tuple.
    ValueError for counts that are no whole numbers, and for a dtype that is not floating-point.
    """
    n, start = whole_number("n", n, 0), Noise(seed, first)
    shape = [whole_number("shape", size) for size in (shape if isinstance(shape, Iterable) else [shape])]
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be floating-point, got {dtype}")
    like = torch.empty(n, *shape, dtype=dtype, device=device)
    return next(KeyedNormals(start.seed, start.first, like)(torch.full((1,), _START, device=device)))


def noise_of(rng, x, times):
    """The noise that a sampler's `rng` option stands for: an int seed, a torch.Generator (its next draw is
    the seed), or an object with `normals(x, times)`, such as Noise, Brownian or Replay."""
    if isinstance(rng, torch.Generator):
        rng = drawn_seed(rng)
    if isinstance(rng, (int, np.integer)):
        rng = Noise(rng)
    if not hasattr(rng, "normals"):
        raise ValueError(
            f"rng must be an int, a torch.Generator, Noise or Brownian; got {type(rng).__name__}"
        )
    return (z.to(x) for z in rng.normals(x, times))


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
