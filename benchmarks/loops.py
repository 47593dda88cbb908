"""What a sampling loop costs beyond the model: a step's own time with a model that returns a constant
tensor.
"""

import numpy as np
import torch

from benchmarks import peers
from benchmarks.timing import interleaved, summary
from toolkit import Discrete, Network, grids
from toolkit.ddim import ddim, ddim_coefficients
from toolkit.ddpm import ddpm, ddpm_coefficients, step_variances

SHAPE, TARGET = (1, 8, 8), 2.2
CASES = [(1000, 1), (1000, 64), (100, 1), (100, 64)]  # steps, batch
SCHEDULE = Discrete.linear()


def floors(x, constant, times):
    """The same arithmetic written out by hand over precomputed floats; DDPM's draws torch.randn at each
    step.
    """
    a, b, _ = ddim_coefficients(SCHEDULE, times)
    a_ddpm, b_ddpm = ddpm_coefficients(SCHEDULE, times)
    c = np.sqrt(step_variances(SCHEDULE, times)).tolist()
    net = lambda x, c: constant

    def floor_ddim():
        y = x
        for i in range(len(a)):
            y = a[i] * y + b[i] * net(y, None)

    def floor_ddpm():
        y = x
        for i in range(len(a)):
            y = a_ddpm[i] * y + b_ddpm[i] * net(y, None) + c[i] * torch.randn(y.shape)

    return floor_ddim, floor_ddpm


def ours(sampler, x, constant, times):
    """One of our samplers through its public face: the generator and a Network."""
    model = Network(lambda x, c: constant, SCHEDULE)

    def loop():
        for _ in sampler(model, x, times):
            pass

    return loop


def measure(steps: int, batch: int, rounds: int) -> list:
    """Rows {family, name, steps, batch, best_us, median_us, ratio}: ratio is to the floor of the family, best
    against best."""
    x = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))
    constant, times = torch.zeros_like(x), grids.strided(SCHEDULE, steps).tolist()
    floor_ddim, floor_ddpm = floors(x, constant, times)
    loops = {
        ("DDIM", "floor, by hand"): floor_ddim,
        ("DDIM", "toolkit ddim"): ours(ddim, x, constant, times),
        ("DDPM", "floor, by hand"): floor_ddpm,
        ("DDPM", "toolkit ddpm"): ours(ddpm, x, constant, times),
        **peers.loops(x, constant, steps),
    }
    with torch.no_grad():
        taken = interleaved(loops, rounds)
    rows = []
    for (family, name), seconds in taken.items():
        row = {"family": family, "name": name, "steps": steps, "batch": batch, **summary(seconds, steps)}
        floor = summary(taken[family, "floor, by hand"], steps)
        row["ratio"] = round(row["best_us"] / floor["best_us"], 2)
        row["median_ratio"] = round(row["median_us"] / floor["median_us"], 2)
        rows.append(row)
    return rows
