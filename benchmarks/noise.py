"""What the noise of a stochastic sampler's step costs beside `torch.randn` of the same size."""

import math

import torch

from benchmarks.timing import interleaved, summary
from toolkit import VP, Noise, grids

SHAPES = [(1, 64), (16, 2), (64, 64), (1024, 64), (64, 3, 32, 32)]
GRIDS = [(grids.uniform, 20), (grids.uniform_lambda, 20), (grids.karras, 100)]
TARGET = 2


def loops(x, times: list, repeats: int) -> dict:
    """The noises of `repeats` runs along these times, ours and torch's."""

    def ours():
        for _ in range(repeats):
            for _ in Noise(0).normals(x, times):
                pass

    def theirs():
        for _ in range(repeats * (len(times) - 1)):
            torch.randn(x.shape)

    return {"ours": ours, "torch.randn": theirs}


def measure(rounds: int) -> list:
    """Rows {shape, grid, steps, best_us, median_us, ratio}: one step's noise, and its best time over that of
    torch.randn, what a run prepares included.
    """
    rows = []
    for shape in SHAPES:
        for grid, steps in GRIDS:
            repeats = max(1, 100_000 // (steps * math.prod(shape)))
            taken = interleaved(loops(torch.empty(shape), grid(VP(), steps).tolist(), repeats), rounds)
            ours, theirs = (summary(seconds, repeats * steps) for seconds in taken.values())
            ratio = round(ours["best_us"] / theirs["best_us"], 2)
            rows.append(
                {"shape": list(shape), "grid": grid.__name__, "steps": steps, **ours, "ratio": ratio}
            )
    return rows


def page(rows: list) -> list:
    """Lines of the page of results."""
    lines = [
        "## Noise",
        "",
        "One step's standard normals, float32, with all that a run prepares, against `torch.randn` of that "
        f"size. Target: at most {TARGET} times, for a batch of 64 digits (64 × 64) on any grid.",
        "",
        "| state | grid | steps | best, µs | median, µs | best / torch.randn |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        shape = " × ".join(map(str, r["shape"]))
        cells = [shape, r["grid"], r["steps"], r["best_us"], r["median_us"], r["ratio"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
