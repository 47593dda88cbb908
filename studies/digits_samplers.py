"""The samplers of chapters 1 to 3 on the shipped digits network, at equal numbers of model calls: `python -m
studies.digits_samplers` (about a quarter of an hour of one core) writes
book/ch03/recorded/digits_samplers.json, which `book.claims.recorded` reads.
"""

import json
import statistics
import time

import torch

from benchmarks.__main__ import machine
from book import folders
from toolkit import Discrete, grids, initial_noise, sample
from toolkit.data import digits
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm
from toolkit.metrics import frechet_distance, fresh_distances
from toolkit.networks import digits_model
from toolkit.ode import edm_heun, heun
from toolkit.sde import edm_stochastic, euler_maruyama, langevin, predictor_corrector, stochastic_heun

RESULT = folders.folder("03") / "recorded" / "digits_samplers.json"
SCHEDULE, SHAPE = Discrete.linear(), (1, 8, 8)
COUNT, SEEDS = 1797, tuple(range(10))  # as many images as there are digits
FEW = SEEDS[:3]  # above 100 calls, where a run takes half a minute
CALLS = (10, 20, 50, 100, 200, 500, 1000)

# name -> (sampler, options, grid, model calls a step, most calls).  A solver of the ODE has converged long
# before 1000 calls; Langevin is shown for what it costs, not for what it reaches.
SAMPLERS = {
    "DDPM, posterior variance": (ddpm, {"variance": "posterior"}, "strided", 1, 1000),
    "DDPM, beta": (ddpm, {"variance": "beta"}, "strided", 1, 1000),
    "DDIM": (ddim, {}, "strided", 1, 1000),
    "SDE-Euler": (euler_maruyama, {}, "quadratic", 1, 1000),
    "SDE-Heun": (stochastic_heun, {}, "strided", 2, 1000),
    "Heun in t": (heun, {"variable": "t"}, "strided", 2, 200),
    "EDM's Heun": (edm_heun, {}, "strided", 2, 200),
    "EDM, stochastic": (
        edm_stochastic,
        {"churn": 10.0, "low": 0.05, "high": 50.0, "noise_scale": 1.003},
        "strided",
        2,
        1000,
    ),
    "Predictor-corrector": (
        predictor_corrector,
        {"corrections": 1, "snr": 0.16, "norms": "sample"},
        "quadratic",
        2,
        1000,
    ),
    "Annealed Langevin": (langevin, {"corrections": 5, "snr": 0.6, "norms": "sample"}, "strided", 5, 200),
}
ABOUT = {
    "what": "Fréchet distance of n generated digits to all 1797, in the shipped classifier's features; the "
    "lower the better, and only comparable at equal n",
    "schedule": "Discrete.linear(1000); the shipped network, each class in turn as label; the first state of "
    "a seed is the same for every sampler",
    "grids": "strided: the table's own steps, equal in t, down to no noise; quadratic: equal in sqrt(t), "
    "taken where a trial at 20 and 50 calls with another seed found it clearly better (SDE-Euler and the "
    "predictor-corrector, which need short steps near the data).  by_grid gives every sampler on four grids",
    "settings": "churn, snr and corrections are the best of a few tried with fewer images; EDM's low, high "
    "and noise_scale are those of Karras et al. 2022, Table 5, for ImageNet",
    "seconds": "CPU seconds of one thread for n images, median over the first three seeds, machine idle",
    "spread": "standard deviation over the seeds: ten up to 100 calls, the first three of them above",
}


def grid(name: str, steps: int):
    """A grid of `toolkit.grids` down to sigma = 0; those in lambda or kappa stop at the table's first step
    and jump from there.
    """
    if name in ("strided", "quadratic"):
        return grids.GRIDS[name](SCHEDULE, steps, end=0.0)
    first = grids.GRIDS[name](SCHEDULE, steps - 1, end=1 / SCHEDULE.T)
    return torch.cat([first, torch.zeros(1, dtype=first.dtype)])


def run_once(name: str, calls: int, seed: int, n: int = COUNT, on: str | None = None):
    """(Run, CPU seconds) of n digits by a sampler of SAMPLERS at no more than about `calls` model calls; on:
    another grid than its own.
    """
    loop, options, own, per_step, _ = SAMPLERS[name]
    steps = calls // per_step + (loop is langevin)  # its last step is a single call
    model = digits_model(SCHEDULE, label=torch.arange(n) % 10)
    noise = initial_noise(n, SHAPE, seed)
    start = time.process_time()
    run = sample(loop, model, noise, grid(on or own, steps), draws=seed, batch_size=600, **options)
    return run, time.process_time() - start


def seeds_at(calls: int) -> tuple:
    """The seeds of a row with as many calls."""
    return SEEDS if calls <= 100 else FEW


def measure(name: str, calls: int, n: int = COUNT) -> dict:
    """One row: {budget, steps, nfe, seconds, frechet, spread, each}."""
    seeds = seeds_at(calls)
    runs = [run_once(name, calls, seed, n) for seed in seeds]
    each = [frechet_distance(run.x) for run, _ in runs]
    first = runs[0][0]
    return {
        "budget": calls,
        "steps": len(first.times) - 1,
        "nfe": first.nfe,
        "seconds": round(statistics.median(seconds for _, seconds in runs[:3]), 2),
        "frechet": round(statistics.mean(each), 4),
        "spread": round(statistics.stdev(each), 4),
        "each": [round(value, 4) for value in each],
    }


def floor(n: int = COUNT) -> dict:
    """What n perfect samples could expect: fresh digits, at equal n (`toolkit.metrics.fresh_distances`)."""
    each = fresh_distances(n)
    return {
        "frechet": round(float(each.mean()), 4),
        "spread": round(float(each.std(ddof=1)), 4),
        "training against test": round(frechet_distance(digits("test")[0], digits("train")[0]), 4),
    }


def by_grid(calls: int = 20, n: int = 600, seed: int = 7) -> dict:
    """name -> {grid: Fréchet distance} at few calls, where the grid matters most."""
    names = ("strided", "quadratic", "uniform_lambda", "karras")
    return {
        name: {on: round(frechet_distance(run_once(name, calls, seed, n, on)[0].x), 3) for on in names}
        for name in SAMPLERS
    }


def main():
    """Run the study and write its file."""
    torch.set_num_threads(1)
    results = {"about": ABOUT, "machine": machine(), "n": COUNT, "seeds": list(SEEDS), "floor": floor()}
    results["by_grid"] = {"calls": 20, "n": 600, "seed": 7, "frechet": by_grid()}
    results["samplers"] = {}
    for name, (loop, options, on, _, most) in SAMPLERS.items():
        rows = [measure(name, calls) for calls in CALLS if calls <= most]
        results["samplers"][name] = {"sampler": loop.__name__, "options": options, "grid": on, "rows": rows}
        print(name, [(row["nfe"], row["frechet"], row["spread"]) for row in rows], flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
