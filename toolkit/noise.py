"""Noise that belongs to a path: standard normals that depend on (seed, sample, time) and on nothing else.

`Brownian` is what samplers draw from, `Replay` plays given tensors back, `initial_noise` starts a run.
A path is made by Lévy's construction.  Known is the increment w of a path over the cell [a, b); given it, the
increment over [a, m) is normal with mean (m - a) / (b - a) w and variance (m - a) (b - m) / (b - a)::

    def path(a, b, w, points, normal):
        if no point of the grid lies strictly between a and b:
            yield b, w
        else:
            m = split_at(a, b)                                      # a point of the lattice
            share, spread = bridge_of(a, m, b)
            left = share * w + spread * normal(m)                   # a function of (seed, m, sample)
            yield from path(a, m, left, points, normal)
            yield from path(m, b, w - left, points, normal)

from [0, 1) and w = normal(0), summed over the cells of each step of the grid.  What a cell holds does not
depend on the grid, so that a refined grid sees the same path.  `toolkit._brownian` does this for many cells
in one operation; the tests compare it with these lines.
"""

import numpy as np
import torch

from toolkit._brownian import FINE, UNITS, HashedNormals, increments


class Brownian:
    """Brownian paths, one a sample, each a function of (seed, sample, time) and of nothing else.

    `normals(x, times)` gives for each step of the grid a standard normal shaped like x: the path's increment
    over that step, scaled to unit variance.  So the same samples come out however a batch is cut (`first` is
    the number of the first row), and a finer grid with the same ends sees the same path.  Times are rounded
    to 1/16,384,000 of the grid's length.  The path is built by nested division (Lévy's construction) from a
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
        points = tuple(np.rint(u * (UNITS * FINE)).astype(np.int64).tolist())
        if any(b <= a for a, b in zip(points, points[1:])):
            raise ValueError(
                "times lie too close together for a Brownian path: "
                "two of them differ by less than 6e-8 of the grid"
            )
        drawn = increments(self.seed, self.first, x, points)
        return (z.to(x.dtype).view(x.shape) for z in drawn)


def initial_noise(n: int, shape, seed: int = 0, dtype=torch.float32, device="cpu", first: int = 0):
    """Standard normal (n, *shape); row i is a function of (seed, first + i) only.  shape: an int or a tuple.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    like = torch.empty(n, *shape, dtype=dtype, device=device)
    hashed = HashedNormals(int(seed), first, like)
    return hashed.draw(hashed.keys([-1]), hashed.column([1.0]))[0].to(dtype).view(like.shape)


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
