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
from toolkit.ode import euler, flow_coefficients, heun
from toolkit.sde import euler_maruyama, reverse_coefficients

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


def solver_floors(x, constant, times):
    """Euler, Heun and Euler-Maruyama in t written out by hand; the last step, to sigma = 0, is the jump to
    the predicted x_0 (for Euler-Maruyama, a step without noise).
    """
    _, _, p, q = (v.tolist() for v in flow_coefficients(SCHEDULE, times[:-1]))
    p_sde, q_sde, c = (v.tolist() for v in reverse_coefficients(SCHEDULE, times))
    h = np.diff(times).tolist()
    c = (np.array(c[:-1]) * np.sqrt(-np.array(h))).tolist()
    jump = 1 / SCHEDULE.alpha(times[-2]), -SCHEDULE.sigma(times[-2]) / SCHEDULE.alpha(times[-2])
    net, inner = lambda x, c: constant, range(len(h) - 1)

    def floor_euler():
        y = x
        for i in inner:
            y = y + h[i] * (p[i] * y + q[i] * net(y, None))
        return jump[0] * y + jump[1] * net(y, None)

    def floor_heun():
        y = x
        for i in inner:
            slope = p[i] * y + q[i] * net(y, None)
            ahead = y + h[i] * slope
            y = y + h[i] / 2 * (slope + p[i + 1] * ahead + q[i + 1] * net(ahead, None))
        return jump[0] * y + jump[1] * net(y, None)

    def floor_sde():
        y = x
        for i in inner:
            y = y + h[i] * (p_sde[i] * y + q_sde[i] * net(y, None)) + c[i] * torch.randn(y.shape)
        return y + h[-1] * (p_sde[-2] * y + q_sde[-2] * net(y, None))

    return floor_euler, floor_heun, floor_sde


def ours(sampler, x, constant, times, options=None):
    """One of our samplers through its public face: the generator and a Network."""
    model = Network(lambda x, c: constant, SCHEDULE)
    options = options or {}

    def loop():
        for _ in sampler(model, x, times, **options):
            pass

    return loop


def measure(steps: int, batch: int, rounds: int) -> list:
    """Rows {family, name, steps, batch, best_us, median_us, ratio}: ratio is to the floor of the family, best
    against best."""
    x = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))
    constant, times = torch.zeros_like(x), grids.strided(SCHEDULE, steps).tolist()
    floor_ddim, floor_ddpm = floors(x, constant, times)
    floor_euler, floor_heun, floor_sde = solver_floors(x, constant, times)
    loops = {
        ("DDIM", "floor, by hand"): floor_ddim,
        ("DDIM", "toolkit ddim"): ours(ddim, x, constant, times),
        ("DDPM", "floor, by hand"): floor_ddpm,
        ("DDPM", "toolkit ddpm"): ours(ddpm, x, constant, times),
        ("Euler", "floor, by hand"): floor_euler,
        ("Euler", "toolkit euler"): ours(euler, x, constant, times),
        ("Heun", "floor, by hand"): floor_heun,
        ("Heun", "toolkit heun"): ours(heun, x, constant, times),
        ("SDE-Euler", "floor, by hand"): floor_sde,
        ("SDE-Euler", "toolkit euler_maruyama"): ours(euler_maruyama, x, constant, times),
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
