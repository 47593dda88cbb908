"""Solvers that are learned, on digits, each with its controls:

    python -m studies.learned_study book/ch07/recorded/learned.json     some 25 minutes on one core

The setting is chapter 6's (`studies.amed_study`): unconditional digits from level 20, errors to where the
flow ends, on noise that chose nothing.  Each method is fitted from three seeds, to PAIRS noises of its own
seed and their ends, and has two rows: from Karras' grid, and with the analytic first step, which frees one
call for one more step.  Chapter 6's rows on the same fresh noise stand beside them.  Two looks further: how
many pairs are needed, and what a solver that was fitted to one problem is worth on another.  Writes the file
that is named, as it goes."""

import json
import re
import statistics
import sys
import time
from functools import cache
from pathlib import Path

import torch

from book.claims import recorded
from studies.amed_study import FRESH, SCHEDULE, TOP, contrast, digits_teacher, moments, noise, scores, truth
from toolkit import AFS, EDM, Guided, Mixture, grids, initial_noise, sample
from toolkit.amed import Predictor, teacher_path
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpmpp_2m
from toolkit.learned import Solver, Table, learn, programmed
from toolkit.metrics import fresh_distances
from toolkit.multistep import ipndm
from toolkit.ode import heun

CALLS, SEEDS, N, PAIRS = (3, 5, 7, 9), (0, 1, 2), 2000, 1500
# rates: the better of .05 and .1 on noises of another seed; with .02 the midpoints, which start far off, do
# not arrive
MIDPOINTS, OTHERS = {"lr": 1e-1, "steps": 200}, {"lr": 1e-1, "steps": 120}
TWO_MIDPOINTS = MIDPOINTS | {"lr": 5e-2}
BATCH = 48
CHOOSING = 7000  # seeds of the noises that are learned from, beside a training seed
STARTS = ("plain start", "analytic start")
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
    "two midpoints and grid": ("midpoints", {"points": 2}, 3),
}
BESIDE = {  # chapter 6's rows on the same noise: name there, and how many numbers by the steps of its grid
    "one share a step": ("one share a step", lambda steps: steps),
    "AMED-Solver": ("AMED-Solver", lambda steps: predictor_size()),
    "AMED-Plugin, iPNDM": ("AMED-Plugin, iPNDM", lambda steps: predictor_size()),
    "searched grid, iPNDM": ("iPNDM, analytic start, searched grid", lambda steps: 2 * steps - 1),
}
FEW = (50, 200)  # pairs, beside PAIRS


# --- one row ----------------------------------------------------------------------------------------------


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
    return scores(run.x) | {"contrast": round(contrast(run.x), 3)}


def fit(kind, model, times, start, ends, seed, **more):
    """The table of one kind, fitted from this seed to these noises and ends; `more` goes to `learn`."""
    base, options, *_ = FITTED[kind]
    table = Table(model.schedule, times, base, **options)
    how = MIDPOINTS if base == "midpoints" else OTHERS
    how = TWO_MIDPOINTS if "points" in options else how
    return learn(table, model, start, ends, **({"batch": BATCH, "seed": seed} | how | more)).net


def fitted(kind, calls, analytic, count=PAIRS):
    """The row of a learned solver, from `count` pairs: the mean of its seeds, and each; None where the calls
    do not fit."""
    if (begun := started(calls, FITTED[kind][2], analytic)) is None:
        return None
    model, times = begun
    found = []
    for seed in SEEDS:
        start, ends = (x[:count] for x in pairs(seed))
        began = time.process_time()
        table = fit(kind, model, times, start, ends, seed)
        seconds = time.process_time() - began
        solver = table.solver()
        own = float((solver.run(model, start).x - ends).square().mean().sqrt())
        row = measured(solver, model, calls) | {"on its own pairs": round(own, 4)}
        found.append(row | {"seconds": round(seconds, 1), "numbers": table.learned, "solver": told(solver)})
    return mean_of(found)


def told(solver):
    """The solver's numbers, rounded, for the record."""
    rounded = lambda v: [rounded(u) for u in v] if isinstance(v, list) else round(v, 5)  # noqa: E731
    name, options = solver.name, {k: rounded(v) for k, v in solver.options.items()}
    return {"name": name, "times": rounded(solver.times), "options": options}


def mean_of(found):
    """Means and ranges over the seeds, and the runs themselves."""
    means = [key for key in ("rmse", "frechet", "contrast", "on its own pairs", "seconds") if key in found[0]]
    row = {key: round(statistics.mean(f[key] for f in found), 4) for key in means}
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


def beside(calls):
    """Chapter 6's rows with so many calls, on the same fresh noise, with an analytic start: as `fitted`."""
    found = recorded("amed")["table"][str(calls)]
    rows = {}
    for label, (name, numbers) in BESIDE.items():
        each = [{"numbers": numbers((calls + 1) // 2)} | run for run in found[name]["each"]]
        rows[label] = mean_of([{key: run[key] for key in ("rmse", "frechet", "numbers")} for run in each])
        rows[label]["seconds"] = found[name].get("seconds") or statistics.mean(r["seconds"] for r in each)
    return rows


def predictor_size():
    """How many numbers AMED's network has, features of the digits network included."""
    return sum(p.numel() for p in Predictor(160).parameters())


# --- how far it carries -----------------------------------------------------------------------------------


def problems():
    """name -> (model, starts, labels or None): what the solvers were fitted to, and what is just outside."""
    teacher, labels = digits_teacher(), torch.arange(N) % 10
    from_80 = digits_teacher(EDM(sigma_max=80.0))
    ring = Mixture.ring(8).model(SCHEDULE)
    return {
        "digits": (teacher, noise, None),
        "digits with labels": (teacher, noise, labels),
        "digits guided, w = 2": (Guided(teacher, 0, 2.0), noise, labels),
        "digits from level 80": (from_80, lambda n, seed: noise(n, seed) * (80 / TOP), None),
        "ring": (ring, lambda n, seed: TOP * initial_noise(n, 2, seed), None),
    }


def carried(name, solvers, calls=5, n=1000):
    """What solvers that were fitted to digits make of one of the `problems`, at their own levels but for the
    first, which is the problem's: method -> [RMSE to the flow's end, for each seed]; beside iPNDM on Karras'
    grid, and weights and grid fitted to this problem itself.

    solvers: method -> [`Solver`, for each seed]."""
    model, starts, labels = problems()[name]
    label = lambda rows: None if labels is None else labels[:rows]  # noqa: E731
    judge = lambda rows: model if labels is None else model.with_label(label(rows))  # noqa: E731
    times = grids.karras(model.schedule, calls).tolist()

    def made(rows, seed):
        start = starts(rows, seed)
        return start, teacher_path(judge(rows), start, grids.karras(model.schedule, 6), 24)[-1]

    fresh, ends = made(n, FRESH)
    error = lambda solver: rounded_rms(solver.run(judge(n), fresh).x - ends)  # noqa: E731

    def refitted(seed):
        start, wanted = made(500, CHOOSING + seed)
        return fit("weights and grid", model, times, start, wanted, seed, label=label(500)).solver()

    rows = {"iPNDM, Karras' grid": [error(Solver("ipndm", times))]}
    for kind, each in solvers.items():
        moved = [Solver(s.name, [times[0], *s.times[1:]], s.options) for s in each]
        rows[f"{kind}, carried over"] = [error(solver) for solver in moved]
    if name != "digits":
        rows["weights and grid, fitted here"] = [error(refitted(seed)) for seed in SEEDS]
    return rows


def rounded_rms(difference):
    """Root mean square, to four places."""
    return round(float(difference.square().mean().sqrt()), 4)


def exchanged(rows, calls=5):
    """Each sampler's learned grid given to each sampler, from the plain start: "grid for A | B" -> RMSE, the
    mean of the seeds."""
    found, model = {}, digits_teacher()
    for owner in PLAIN:
        each = [run["solver"]["times"] for run in rows[f"grid, {owner}"]["runs"]]
        for name, sampler in PLAIN.items():
            errors = [measured(Solver(sampler.__name__, times), model, calls)["rmse"] for times in each]
            found[f"grid for {owner} | {name}"] = round(statistics.mean(errors), 4)
    return found


# --- the record -------------------------------------------------------------------------------------------


def rows_of(calls, analytic):
    """All rows with so many calls from one start."""
    rows = {name: unlearned(name, calls, analytic, False) for name in PLAIN}
    for name in PLAIN:
        rows[f"programmed grid, {name}"] = unlearned(name, calls, analytic, True)
    for kind in FITTED:
        if (row := fitted(kind, calls, analytic)) is not None:
            rows[kind] = row
            print(calls, STARTS[analytic], kind, row["rmse"], row["frechet"], row["seconds"], flush=True)
    return rows | (beside(calls) if analytic else {})


def about():
    """The setting, the flow's own distance from three noises, and the floor of such a distance."""
    flow = [scores(truth(FRESH, N))["frechet"]]
    floor = fresh_distances(N)
    return {
        "about": "Learned solvers on unconditional digits from level 20, by studies.learned_study",
        "n": N, "pairs": PAIRS, "seeds": len(SEEDS), "batch": BATCH, "midpoints": MIDPOINTS, "others": OTHERS,
        "flow": {"frechet": flow[0], "contrast": round(contrast(truth(FRESH, N)), 3)},
        "floor": {"mean": round(float(floor.mean()), 3), "sd": round(float(floor.std()), 3)},
    }  # fmt: skip


def solvers_of(rows, kinds=("grid, iPNDM", "weights and grid")):
    """The recorded solvers of some rows: method -> [`Solver`, for each seed]."""
    return {
        kind: [Solver(s["name"], s["times"], s["options"]) for s in (r["solver"] for r in rows[kind]["runs"])]
        for kind in kinds
    }


def write(path, found):
    """Write the record, each list of numbers on one line."""
    text = json.dumps(found, indent=1)
    lines = re.sub(r"\[[^\[\]{}]*\]", lambda match: re.sub(r"\s+", " ", match[0]), text)
    Path(path).write_text(lines + "\n")


def main(path):
    """Measure everything, and write the record to `path` as it grows."""
    torch.set_num_threads(1)
    found = about() | {"calls": {}}
    for calls in CALLS:
        found["calls"][str(calls)] = {start: rows_of(calls, i) for i, start in enumerate(STARTS)}
        if calls == 5:
            rows = found["calls"]["5"]["plain start"]
            found["exchanged"] = exchanged(rows)
            found["carried"] = {name: carried(name, solvers_of(rows)) for name in problems()}
        if calls == 3:
            found["pairs needed"] = {str(n): fitted("weights and grid", 3, 1, n) for n in FEW}
        write(path, found)


if __name__ == "__main__":
    main(*sys.argv[1:])
