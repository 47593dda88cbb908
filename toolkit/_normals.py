"""Standard normals by counting: each is a function of (seed, key, sample, element), drawn in any order."""

import math
import sys

import torch

_LOW = 0 if sys.byteorder == "little" else 1  # which half of a hash holds its last bits
_CHUNK, _LARGE_CHUNK = 2**17, 2**19  # numbers drawn at once: what stays in a CPU's cache, what fills a device


def _signed(value):
    return (value & (2**64 - 1)) - (2**64 if value & 2**63 else 0)


_GOLDEN, _MIX1, _MIX2 = (_signed(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mix(z):
    """SplitMix64's finaliser (Steele, Lea & Flood 2014), in place on int64; the masks make >> a logical
    shift.
    """
    z.bitwise_xor_((z >> 30).bitwise_and_(2**34 - 1)).mul_(_MIX1)
    z.bitwise_xor_((z >> 27).bitwise_and_(2**37 - 1)).mul_(_MIX2)
    return z.bitwise_xor_((z >> 31).bitwise_and_(2**33 - 1))


class KeyedNormals:
    """Standard normals shaped like x (B, ...), one tensor for each key, each element a function of (seed,
    key, sample, element) and of nothing else; the rows of x are samples first, first + 1, ...

    A hash gives two numbers (Box & Muller 1958), elements i and i + (d + 1) // 2 of a sample's d.  Nothing
    is read back from x's device.  Arithmetic is float64 for a float64 x, else float32.
    """

    def __init__(self, seed: int, first: int, x: torch.Tensor):
        self.x, self.d = x, math.prod(x.shape[1:])
        chunk = _CHUNK if x.device.type == "cpu" else _LARGE_CHUNK
        self.at_once = max(chunk // max(x.numel(), 1), 1)
        self.seed = _signed(seed * _MIX2 + 1)
        samples = torch.arange(first, first + len(x), device=x.device)
        pairs = torch.arange((self.d + 1) // 2, device=x.device)
        self.places = _mix((samples * _MIX1)[:, None] + pairs * _GOLDEN)

    def __call__(self, keys):
        """An iterator over the tensors of these keys, int64 (n,); small ones are drawn many at once."""
        hashed = _mix(keys * _GOLDEN + self.seed)
        pieces = -(-len(hashed) // self.at_once)
        chunks = map(self._drawn, hashed.chunk(pieces)) if pieces else ()
        return (z for chunk in chunks for z in chunk)

    def _drawn(self, keys):
        """The normals of a few hashed keys, one for each."""
        dtype = torch.float64 if self.x.dtype == torch.float64 else torch.float32
        bits = _mix(keys[:, None, None] + self.places).view(torch.int32).unflatten(-1, (-1, 2))
        low, high = bits[..., _LOW].to(dtype), bits[..., 1 - _LOW].to(dtype)
        uniform = low.abs_().add_(0.5).mul_(2.0**-31).clamp_(max=1)
        radius, angle = uniform.log_().mul_(-2).sqrt_(), high.mul_(math.pi * 2.0**-31)
        out = torch.empty(len(keys), len(self.x), self.d, dtype=dtype, device=self.x.device)
        half = self.places.shape[1]
        rest = self.d - half  # half, or one less when d is odd
        torch.mul(radius, angle.cos(), out=out[..., :half])
        torch.mul(radius[..., :rest], angle.sin_()[..., :rest], out=out[..., half:])
        return out.to(self.x.dtype).view(len(keys), *self.x.shape).unbind()
