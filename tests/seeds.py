"""Seeds by case: a test holds for any seed, so each case takes one of its own, and none takes several."""

import zlib


def seed_of(*case) -> int:
    """A seed below 1000 that is another for another case, and the same on every run."""
    return zlib.crc32(" ".join(map(str, case)).encode()) % 1000
