"""How the paths of `noise.Brownian` are made, fast.  What they are is said in `toolkit.noise`.

A path is built by nested division of its lattice of times, a counter-based generator giving the normal of
each point: hash (seed, point of the lattice, sample, pair of elements), then Box-Muller.  Divisions that a
grid needs are planned once (`_plan`) and carried out for many points of the lattice in one operation.
"""

import math
from bisect import bisect_left, bisect_right
from functools import lru_cache

import torch

# The lattice of times on which a Brownian path is known: UNITS x FINE cells.  Whole units are reached by
# the nested divisions below, so that 2, 10, 20, 100, 200 and 1000 equal steps cost one draw a step; a unit is
# then split into halves.
UNITS, FINE = 1000, 2**14
_DIVISIONS = tuple(FINE * units for units in (500, 100, 50, 10, 5, 1))
_BLOCK, _CHUNK = 2**19, 2**16  # numbers of a path held at once; numbers drawn at once, to stay in the cache


def increments(seed, first, x, points):
    """An iterator over a path's increments (B, d) between the points of the lattice, from 0 to UNITS * FINE,
    each scaled to unit variance; samples first, first + 1, ... of a batch like x.
    """
    hashed = HashedNormals(seed, first, x)
    program = _program(0, UNITS * FINE, points, hashed)
    whole = hashed.draw(hashed.keys([0]), hashed.column([math.sqrt(UNITS * FINE)]))[0]
    return _gather(_walk(program, whole, hashed), points)


def _gather(cells, points):
    """Join the cells (end, increment), which come in order, into one increment for each step of the grid."""
    ends, total = iter(points[1:]), None
    end_of_step = next(ends)
    for end, w in cells:
        total = w if total is None else total + w
        if end == end_of_step:
            yield total
            total, end_of_step = None, next(ends, None)


def split_at(a, b):
    """Where the cell [a, b) is split: at the middle multiple of the coarsest division that it holds, then in
    halves.
    """
    length = b - a
    step = next((d for d in _DIVISIONS if d < length), 0)
    return a + (step * (length // step // 2) if step else length // 2)


def bridge_of(a, m, b):
    """(share, spread) of a Brownian bridge: given the increment w of [a, b), that of [a, m) is
    N(share w, spread^2).
    """
    return (m - a) / (b - a), math.sqrt((m - a) * (b - m) / (b - a))


def _program(a, b, points, hashed):
    """How to split the cell [a, b) down to the grid: nested ("split", key, share, spread, left, right) and
    ("block", keys, spreads, shares, scales, rounds, cells), with all it needs on the device before the
    sampler's loop begins.
    """
    first, last = bisect_right(points, a), bisect_left(points, b)
    if (last - first) * hashed.size > _BLOCK and last - first > 1:
        m = split_at(a, b)
        share, spread = bridge_of(a, m, b)
        parts = _program(a, m, points, hashed), _program(m, b, points, hashed)
        return "split", hashed.keys([m]), share, hashed.column([spread]), *parts
    keys, bridges, scales, rounds, cells = _plan(points[first - 1 : last + 1], a, b, hashed.at_once)
    rounds = [rows.to(hashed.device) if torch.is_tensor(rows) else rows for rows in rounds]
    shares, spreads = zip(*bridges) if bridges else ((), ())
    columns = (hashed.column(c) for c in (spreads, shares, scales))
    return "block", hashed.keys(keys), *columns, rounds, cells


@lru_cache(maxsize=4096)
def _plan(points, a, b, at_once):
    """The splits of [a, b) until no point of the grid is inside a cell, as rounds over a table of increments
    whose row 0 is that of [a, b), and whose row k + 1 is at first the noise of the k-th split.

    Returns (keys, bridges, scales, rounds, cells): the middle of each split and its `bridge_of`; for each row
    of the finished table 1 / sqrt(length of the step that it belongs to); for each round the rows that it
    splits (a range or a tensor; at most at_once of them), whose right parts stay while the left parts go to
    the next new rows; (end, row) of each cell, in order of time.
    """
    cells, keys, bridges, rounds = [(a, b)], [], [], []
    while True:
        parents = [row for row, (start, end) in enumerate(cells) if _divided(points, start, end)]
        if not parents:
            break
        for i in range(0, len(parents), at_once):
            rows = parents[i : i + at_once]
            contiguous = rows[-1] - rows[0] == len(rows) - 1
            rounds.append(range(rows[0], rows[-1] + 1) if contiguous else torch.tensor(rows))
        for row in parents:
            start, end = cells[row]
            middle = split_at(start, end)
            keys.append(middle)
            bridges.append(bridge_of(start, middle, end))
            cells[row] = middle, end
            cells.append((start, middle))
    steps = [bisect_left(points, end) for _, end in cells]
    scales = [(points[i] - points[i - 1]) ** -0.5 for i in steps]
    return keys, bridges, scales, rounds, sorted((end, row) for row, (_, end) in enumerate(cells))


def _divided(points, a, b):
    """Whether a point lies strictly between a and b."""
    return bisect_right(points, a) < bisect_left(points, b)


def _walk(program, w, hashed):
    """Carry out a program on the increment w (B, d) of its cell: yield (end, increment) in order of time,
    each divided by the square root of the length of the step that it belongs to.
    """
    kind, *rest = program
    if kind == "block":
        yield from _bisect(w, *rest, hashed)
    else:
        key, share, spread, first, second = rest
        left = (w * share).add_(hashed.draw(key, spread)[0])
        right = w.sub_(left)
        yield from _walk(first, left, hashed)
        yield from _walk(second, right, hashed)


def _bisect(w, keys, spreads, shares, scales, rounds, cells, hashed):
    """Fill the table of increments round by round; the cells as `_walk` yields them.

    Not fused into addcmul: one rounding an operation gives the same bits whatever the batch.
    """
    table = w.new_empty(len(cells), *w.shape)
    table[0], known = w, 1
    hashed.draw(keys, spreads, out=table[1:])
    for rows in rounds:
        new, share = table[known : known + len(rows)], shares[known - 1 : known - 1 + len(rows)]
        old = table[rows] if torch.is_tensor(rows) else table[rows.start : rows.stop]
        left = new.add_(old * share)
        right = old.sub_(left)
        if torch.is_tensor(rows):
            table[rows] = right
        known += len(rows)
    table.mul_(scales)
    return ((end, table[row]) for end, row in cells)


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


class HashedNormals:
    """Standard normals, each a function of (seed, key, sample, element) and of nothing else, for samples
    first, first + 1, ... of a batch like x (B, ...), d elements a sample: hash, then Box-Muller.

    A hash gives two of them, elements i and i + (d + 1) // 2.  at_once: how many keys are drawn, and rows
    split, in one piece.
    """

    def __init__(self, seed, first, x):
        self.device, self.size, self.d = x.device, x.numel(), math.prod(x.shape[1:])
        self.dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        self.at_once = max((_CHUNK if x.device.type == "cpu" else _BLOCK) // max(self.size, 1), 1)
        self.seed = _signed(seed * _MIX2 + 1)
        samples = torch.arange(first, first + len(x), device=x.device)
        pairs = torch.arange((self.d + 1) // 2, device=x.device)
        self.places = _mix((samples * _MIX1)[:, None] + pairs * _GOLDEN)

    def keys(self, keys):
        """These keys, hashed with the seed."""
        return _mix(torch.tensor(keys, dtype=torch.int64, device=self.device) * _GOLDEN + self.seed)

    def column(self, values):
        """Numbers, one for each key, shaped to multiply states."""
        return torch.tensor(values, dtype=self.dtype, device=self.device)[:, None, None]

    def draw(self, keys, spreads, out=None):
        """The normals of these hashed keys times spreads (n, 1, 1), as (n, B, d)."""
        if out is None:
            out = torch.empty(len(keys), len(self.places), self.d, dtype=self.dtype, device=self.device)
        half, at_once = self.places.shape[1], self.at_once
        for i in range(0, len(keys), at_once):
            part = slice(i, i + at_once)
            bits = _mix(keys[part, None, None] + self.places)
            one, other = bits.view(torch.int32).unflatten(-1, (-1, 2)).unbind(-1)  # halves of the hashes
            uniform = one.to(self.dtype).abs_().add_(0.5).mul_(2.0**-31).clamp_(max=1)
            radius = uniform.log_().mul_(-2).sqrt_().mul_(spreads[part])
            angle = other.to(self.dtype).mul_(math.pi * 2.0**-31)
            torch.mul(radius, angle.cos(), out=out[part, :, :half])
            rest = self.d - half  # half, or one less when d is odd
            torch.mul(radius[..., :rest], angle.sin_()[..., :rest], out=out[part, :, half:])
        return out
