"""Solvers that are learned, on digits, each with its controls:

    python -m studies.learned_study learned.json        some twenty minutes on one core

The setting is chapter 6's (`studies.amed_study`): unconditional digits from level 20, errors to where the
flow ends, on noise that chose nothing.  Each method is fitted from three seeds, to PAIRS noises of its own
seed and their ends, and has two rows: from Karras' grid, and with the analytic first step, which frees one
call for one more step.  Writes the file that is named."""

import json
import statistics
import sys
import time
from functools import cache
from pathlib import Path

import torch

from studies.amed_study import FRESH, SCHEDULE, digits_teacher, moments, noise, scores, truth
from toolkit import AFS, grids, sample
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpmpp_2m
from toolkit.learned import Solver, Table, learn, programmed
from toolkit.multistep import ipndm
from toolkit.ode import heun

CALLS, SEEDS, N, PAIRS = (3, 5, 7, 9), (0, 1, 2), 2000, 1500
CHOOSING = 7000  # seeds of the noises that are learned from, beside a training seed
PLAIN = {"DDIM": ddim, "iPNDM": ipndm, "DPM-Solver++ 2M": dpmpp_2m}
FITTED = {  # what is learned: base of the table, its options, calls a step
    "grid, DDIM": ("ddim", {}, 1),
    "grid, iPNDM": ("ipndm", {}, 1),
    "grid, DPM-Solver++ 2M": ("dpmpp_2m", {}, 1),
    "weights": ("weighted", {"grid": False}, 1),
    "weights and grid": ("weighted", {}, 1),
    "weights, grid and levels told": ("weighted", {"told": True}, 1),
    "one midpoint": ("midpoints", {"grid": False}, 2),
    "one midpoint and grid": ("midpoints", {}, 2),
    "two midpoints": ("midpoints", {"grid": False, "points": 2}, 3),
}


@cache
def pairs(seed):
    """(noise, ends) to learn from."""
    return noise(PAIRS, CHOOSING + seed), truth(CHOOSING + seed, PAIRS)


def started(calls, per_step, analytic):
    """(model, Karras' grid) with which a method of so many calls a step makes `calls`; None where it
    cannot."""
    steps, left = divmod(calls + analytic, per_step)
    if left:
        return None
    model = digits_teacher()
    return AFS(model, *moments()) if analytic else model, grids.karras(SCHEDULE, steps)


def measured(solver, model, calls):
    """The scores on fresh noise.  ValueError where the calls are not those that the row says."""
    run = solver.run(model, noise(N, FRESH))
    if run.nfe != calls:
        raise ValueError(f"{solver.name} made {run.nfe} calls, not {calls}")
    return scores(run.x)


def fitted(kind, calls, analytic):
    """The row of a learned solver: the mean of its seeds, and each; None where the calls do not fit."""
    base, options, per_step = FITTED[kind]
    if (begun := started(calls, per_step, analytic)) is None:
        return None
    model, times = begun
    found = []
    for seed in SEEDS:
        began = time.process_time()
        table = learn(Table(SCHEDULE, times, base, **options), model, *pairs(seed), seed=seed).net
        seconds = time.process_time() - began
        solver = table.solver()
        row = measured(solver, model, calls)
        found.append(row | {"seconds": round(seconds, 1), "numbers": table.learned, "solver": told(solver)})
    return mean_of(found)


def told(solver):
    """The solver's numbers, rounded, for the record."""
    rounded = lambda v: [rounded(u) for u in v] if isinstance(v, list) else round(v, 5)  # noqa: E731
    return {"times": rounded(solver.times), "options": {k: rounded(v) for k, v in solver.options.items()}}


def mean_of(found):
    """Means and ranges over the seeds, and the runs themselves."""
    row = {key: round(statistics.mean(f[key] for f in found), 4) for key in ("rmse", "frechet", "seconds")}
    for key in ("rmse", "frechet"):
        values = [f[key] for f in found]
        row[f"{key} range"] = [min(values), max(values)]
    return row | {"numbers": found[0]["numbers"], "runs": found}


@cache
def fine_path(nodes=60):
    """(times, path) of an accurate run on few noises, for the dynamic programme."""
    times = grids.karras(SCHEDULE, nodes)
    path = sample(heun, digits_teacher(), noise(300, CHOOSING), times, keep_path=True, variable="sigma").path
    return times, path


def unlearned(name, calls, analytic, programme):
    """The row of a sampler on Karras' grid, or on the grid of the dynamic programme."""
    model, times = started(calls, 1, analytic)
    if programme:
        fine, path = fine_path()
        times = programmed(digits_teacher(), path, fine, len(times) - 1)
    solver = Solver(PLAIN[name].__name__, [float(t) for t in times])
    return measured(solver, model, calls) | {"numbers": 0, "solver": told(solver)}


def record():
    """All rows: {calls: {"plain start" or "analytic start": {method: row}}}."""
    found = {}
    for calls in CALLS:
        found[str(calls)] = {}
        for analytic, start in enumerate(("plain start", "analytic start")):
            rows = {name: unlearned(name, calls, analytic, False) for name in PLAIN}
            for name in PLAIN:
                rows[f"programmed grid, {name}"] = unlearned(name, calls, analytic, True)
            for kind in FITTED:
                if (row := fitted(kind, calls, analytic)) is not None:
                    rows[kind] = row
                    print(calls, start, kind, {k: row[k] for k in ("rmse", "frechet", "seconds")}, flush=True)
            found[str(calls)][start] = rows
    return found


def main(path):
    """Write the record to `path`."""
    torch.set_num_threads(1)
    about = {"n": N, "pairs": PAIRS, "seeds": len(SEEDS), "flow": scores(truth(FRESH, N))}
    Path(path).write_text(json.dumps({"about": about, "calls": record()}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
