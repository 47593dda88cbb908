"""Solvers with and without noise on the shipped digits network, few calls, eight seeds: `python -m
studies.noisy_digits` (some five minutes of one core) writes book/ch04/recorded/noisy_digits.json, which
`book.claims.recorded` reads.
"""

import json
import statistics

import torch

from benchmarks.__main__ import machine
from book import folders
from book.claims import recorded
from studies import digits_samplers
from toolkit import VP, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_2, dpm_solver_3, dpmpp_2m, er_sde, sde_dpmpp_2m
from toolkit.files import write_file
from toolkit.metrics import frechet_distance, fresh_distances
from toolkit.multistep import unipc
from toolkit.networks import digits_model
from toolkit.ode import edm_heun
from toolkit.sde import edm_stochastic, restart

RESULT = folders.folder("04") / "recorded" / "noisy_digits.json"
COUNT, SEEDS, SHAPE = 1797, tuple(range(8)), (1, 8, 8)  # as many images as there are digits
CALLS = (10, 20, 40, 80)

# name -> (sampler, options, grid, model calls a step)
SOLVERS = {
    "DDIM": (ddim, {}, "quadratic", 1),
    "2M": (dpmpp_2m, {}, "uniform_lambda", 1),
    "EDM's Heun": (edm_heun, {}, "quadratic", 2),
    "EDM, stochastic": (
        edm_stochastic,
        {"churn": 10.0, "low": 0.05, "high": 50.0, "noise_scale": 1.003},
        "quadratic",
        2,
    ),
    "Restart": (restart, {"low": 0.1, "high": 0.5}, "quadratic", 2),
    "SDE-2M, τ = 1": (sde_dpmpp_2m, {}, "karras", 1),
    "ER-SDE-3": (er_sde, {}, "quadratic", 1),
}
RESTARTS = {10: (1, 1), 20: (3, 1), 40: (2, 2), 80: (2, 4)}  # calls -> (rounds, Heun steps in each)
TEN = {  # with the grid and the schedule of chapter 4's tables: (sampler, options, steps)
    "DPM-2, 10 calls": (dpm_solver_2, {}, 5),
    "DPM-3, 9 calls": (dpm_solver_3, {}, 3),
    "++2M, 10 calls": (dpmpp_2m, {}, 10),
    "the flow itself (UniPC-3, 20)": (unipc, {}, 20),
}
ABOUT = {
    "what": "Fréchet distance of n generated digits to all 1797, in the shipped classifier's features, for "
    "each seed; the lower the better, and only comparable at equal n; floor: fresh real digits at equal n",
    "schedule": "VP, from t = 1 to its end at 0.001; the shipped network, each class in turn as label; the "
    "first state of a seed is the same for every solver",
    "settings": "grid, and Restart's levels, rounds and steps: the best or level with it in a trial with 600 "
    "digits, 20 and 40 calls and two other seeds: four grids, five pairs of levels (not tried at 80); EDM's "
    "are those of digits_samplers",
    "DDPM": "Discrete.linear(1000), posterior variance, as in digits_samplers, whose three seeds are taken "
    "from there",
}


def digits_of(loop, options, grid, steps, seed, n=COUNT):
    """A Run of n digits."""
    model, x = digits_model(VP(), label=torch.arange(n) % 10), initial_noise(n, SHAPE, seed)
    return sample(loop, model, x, grids.GRIDS[grid](VP(), steps), draws=seed, batch_size=600, **options)


def run_once(name, calls, seed, n=COUNT):
    """A Run of n digits by a solver of `SOLVERS` with so many calls."""
    loop, options, grid, cost = SOLVERS[name]
    steps = calls // cost
    if loop is restart:
        rounds, inner = RESTARTS[calls]
        options, steps = options | {"rounds": rounds, "inner": inner}, steps - rounds * inner
    return digits_of(loop, options, grid, steps, seed, n)


def row(each):
    """{each, mean, median, spread} of distances."""
    each = [round(value, 4) for value in each]
    measures = {"mean": statistics.mean, "median": statistics.median, "spread": statistics.stdev}
    return {"each": each} | {name: round(measure(each), 4) for name, measure in measures.items()}


def thousand():
    """DDPM's distances with 1000 steps, of `SEEDS`."""
    name = "DDPM, posterior variance"
    rows = recorded("digits_samplers")["samplers"][name]["rows"]
    known = next(one["each"] for one in rows if one["budget"] == 1000)
    return known + [
        frechet_distance(digits_samplers.run_once(name, 1000, seed)[0].x) for seed in SEEDS[len(known) :]
    ]


def main():
    """Run the study and write its file."""
    torch.set_num_threads(1)
    results = {"about": ABOUT, "machine": machine(), "n": COUNT, "seeds": list(SEEDS), "solvers": {}}
    results["floor"] = row(fresh_distances(COUNT).tolist())
    for name in SOLVERS:
        results["solvers"][name] = rows = {}
        for calls in CALLS:
            runs = [run_once(name, calls, seed) for seed in SEEDS]
            rows[calls] = row([frechet_distance(run.x) for run in runs]) | {"nfe": runs[0].nfe}
        print(name, {calls: one["mean"] for calls, one in rows.items()}, flush=True)
    results["ten"] = {
        name: row([frechet_distance(digits_of(loop, options, "uniform_lambda", steps, s).x) for s in SEEDS])
        for name, (loop, options, steps) in TEN.items()
    }
    results["ten"]["DDPM, 1000 calls"] = row(thousand())
    write_file(RESULT, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
