"""AMED on digits, in the shape of the paper's table 2, with its controls:

    python -m studies.amed_study        about half an hour on one core

Unconditional digits, `toolkit.distilled.teacher()` from level 20, 3 to 9 calls.  Every method's error is the
root mean square distance to where Heun's method with 24 substeps ends, and the Fréchet distance, on noise
that chose nothing.  Predictors are trained from three seeds.  The second part looks for settings in which a
level chosen for each *sample* is worth more than one for each step.  Writes
book/ch06/recorded/amed.json."""

import json
import math
import statistics
import time
from functools import cache

import torch

from book import folders
from toolkit import AFS, EDM, Guided, Mixture, Network, grids, initial_noise, sample
from toolkit.amed import (
    Predictor,
    amed_plugin,
    amed_solver,
    level_of,
    teacher_error,
    teacher_path,
    train_predictor,
)
from toolkit.data import digits
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_2, dpmpp_2m, dpmpp_2s, dpmpp_3m
from toolkit.metrics import frechet_distance
from toolkit.multistep import ipndm, unipc
from toolkit.networks import DIGITS_SIGMA_DATA, pretrained
from toolkit.ode import heun

PATH = folders.folder("06") / "recorded" / "amed.json"
TOP, CALLS, SEEDS, N = 20.0, (3, 4, 5, 6, 7, 9), (0, 1, 2), 2000
FRESH, CHOOSING = 500, 900  # seeds of the noise that measures, and of the noise that chooses a fixed time
SCHEDULE = EDM(sigma_max=TOP)
ONE_CALL = {
    "DDIM": (ddim, {}),
    "DPM-Solver++ 2M": (dpmpp_2m, {}),
    "DPM-Solver++ 3M": (dpmpp_3m, {}),
    "UniPC": (unipc, {}),
    "iPNDM": (ipndm, {}),
    # of first order on the last step, as the libraries do it with few steps
    "DPM-Solver++ 2M, lower last": (dpmpp_2m, {"lower_last": True}),
    "DPM-Solver++ 3M, lower last": (dpmpp_3m, {"lower_last": True}),
    "UniPC, lower last": (unipc, {"lower_last": True}),
}
TWO_CALLS = {"Heun": (heun, {"variable": "sigma"}), "DPM-Solver-2": (dpm_solver_2, {})}
LEARNED = {
    "AMED-Solver": (amed_solver, {}, None),
    "AMED-Plugin, DDIM": (amed_plugin, {"base": "ddim"}, "ddim"),
    "AMED-Plugin, iPNDM": (amed_plugin, {"base": "ipndm"}, "ipndm"),
    "AMED-Plugin, DPM-Solver++ 2M": (amed_plugin, {"base": "dpmpp_2m"}, "dpmpp_2m"),
    # four calls a step, so with 3, 4 and 7 calls only
    "AMED-Plugin, DPM-Solver-2": (amed_plugin, {"base": "dpm_solver_2"}, "dpm_solver_2"),
}
SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
FEW = 300  # noises on which one share for each step is searched for


def digits_teacher(schedule=SCHEDULE):
    """The model of the study: chapter 5's teacher, without a label."""
    return Network(pretrained("digits-teacher"), schedule, predicts="edm", sigma_data=DIGITS_SIGMA_DATA)


@cache
def moments():
    """Mean (1, 8, 8) and standard deviation of the training digits, for the analytic first step."""
    images, _ = digits("train")
    mean = images.mean(0)
    return mean, float((images - mean).std())


def noise(n, seed):
    """n starts (n, 1, 8, 8) at level TOP."""
    return initial_noise(n, (1, 8, 8), seed) * TOP


def draws(generator, n=64):
    """A batch of starts for training."""
    return TOP * torch.randn(n, 1, 8, 8, generator=generator)


def uniform_time(schedule, steps, low=0.002, first=1e-3):
    """The official AMED-Solver's grid ("time_uniform"): equal steps in the time u of a VP process with
    1 + kappa^2 = exp(b u^2 / 2 + a u), from u = 1 down to u = `first`; a and b make the levels there the
    schedule's start and `low`.  (steps + 1,) float64 levels, which are the times of EDM."""
    start = level_of(schedule, schedule.start)
    top, bottom = math.log(1 + start**2), math.log(1 + low**2)
    b = 2 * (bottom / first - top) / (first - 1)
    a = top - b / 2
    u = torch.linspace(1, first, steps + 1, dtype=torch.float64)
    levels = torch.expm1(b / 2 * u**2 + a * u).sqrt()
    levels[0], levels[-1] = start, low
    return levels


def two_call_grid(calls, base=None, grid=grids.karras):
    """Model and grid of a method with two calls a step (the plugin on DPM-Solver-2: four): with an odd number
    of calls the first one is analytic.  None where the calls are not a whole number of steps."""
    model, per_step = digits_teacher(), 4 if base == "dpm_solver_2" else 2
    steps, left = divmod(calls + calls % 2, per_step)
    if left:
        return None
    return AFS(model, *moments()) if calls % 2 else model, grid(SCHEDULE, steps)


@cache
def truth(seed, n=N):
    """Where the exact flow ends, from `noise(n, seed)`."""
    return teacher_path(digits_teacher(), noise(n, seed), grids.karras(SCHEDULE, 6), 24)[-1]


def rmse(x, seed=FRESH):
    """Root mean square distance to the exact ends."""
    return float((x - truth(seed, len(x))).square().mean().sqrt())


def scores(x):
    """{"rmse", "frechet"} of images made from `noise(N, FRESH)`."""
    return {"rmse": round(rmse(x), 4), "frechet": round(frechet_distance(x), 3)}


def always(share):
    """A predictor that says `share` at each step, for each sample."""
    predictor = Predictor()
    with torch.no_grad():
        predictor.body[2].bias[0] = torch.logit(torch.tensor(share))
    return predictor.eval()


def best_fixed(calls):
    """The one share of all steps that errs least on noise of its own."""
    model, times = two_call_grid(calls)
    start = noise(500, CHOOSING)

    def error(share):
        return rmse(sample(amed_solver, model, start, times, predictor=always(share)).x, CHOOSING)

    return min(SHARES, key=error)


class Shares(Predictor):
    """A table: one share r for each step of a grid, whatever the sample; c = a = 1.

    times: the grid, (N + 1,) levels.  shares: N numbers."""

    def __init__(self, times, shares):
        super().__init__()
        self.table = dict(zip(map(float, times[:-1]), shares, strict=True))

    def forward(self, features, start, end, n):
        """The share of the step that starts at this level, for all n samples."""
        return torch.full((n,), self.table[float(start)]), torch.ones(n), torch.ones(n)


def search_shares(calls, seed, grid=grids.karras, rounds=3, n=FEW):
    """One share for each step, found without a gradient: each in turn takes the best of its neighbours on a
    grid that becomes finer, from .1, .04 to .01, by the RMSE on `n` noises of this seed."""
    model, times = two_call_grid(calls, grid=grid)
    start = noise(n, seed)
    end = teacher_path(digits_teacher(), start, times, 16)[-1]
    shares = [0.3] * (len(times) - 1)

    def error(candidate):
        made = sample(amed_solver, model, start, times, predictor=Shares(times, candidate)).x
        return float((made - end).square().mean())

    for width in (0.1, 0.04, 0.01):
        for _ in range(rounds):
            before = list(shares)
            for i in range(len(shares)):
                near = [round(shares[i] + k * width, 2) for k in range(-2, 3)]
                tried = [[*shares[:i], r, *shares[i + 1 :]] for r in near if 0.01 <= r <= 0.99]
                shares = min(tried, key=error)
            if shares == before:
                break
    return shares


def share_rows(calls, grid=grids.karras):
    """AMED-Solver with one share for each step and no network: the mean of some searches, each on noises of
    its own, and the searches: eight with three calls, where they all but agree, else two."""
    model, times = two_call_grid(calls, grid=grid)
    found, start = [], noise(N, FRESH)
    for seed in range(CHOOSING, CHOOSING + (8 if calls == 3 else 2)):
        began = time.process_time()
        shares = search_shares(calls, seed, grid)
        spent = time.process_time() - began
        made = sample(amed_solver, model, start, times, predictor=Shares(times, shares)).x
        found.append(scores(made) | {"shares": shares, "seconds": round(spent, 1)})
    return {"one share a step": mean_of(found)}


def search_levels(calls, seed, rounds=3, n=FEW, top=TOP):
    """The inner levels of a grid for iPNDM with an analytic start, found without a gradient: from Karras's
    grid on, each in turn moves towards a neighbour by a share of the way in log level, .4, .15, then .05,
    while that makes the RMSE on `n` noises of this seed less.  top: the first level."""
    teacher, start = digits_teacher(EDM(sigma_max=top)), noise(n, seed) * (top / TOP)
    model, levels = AFS(teacher, *moments()), grids.karras(teacher.schedule, calls + 1).tolist()
    end = teacher_path(teacher, start, levels, 16)[-1]
    error = lambda levels: float((sample(ipndm, model, start, levels).x - end).square().mean())
    for share in (0.4, 0.15, 0.05):
        for _ in range(rounds):
            before = list(levels)
            for i in range(1, len(levels) - 1):
                moved = [levels[i] ** (1 - share) * levels[j] ** share for j in (i - 1, i + 1)]
                levels = min((levels, *([*levels[:i], v, *levels[i + 1 :]] for v in moved)), key=error)
            if levels == before:
                break
    return levels


def level_rows(calls):
    """iPNDM with an analytic start on a grid that was searched for: as `share_rows`."""
    found, start = [], noise(N, FRESH)
    for seed in range(CHOOSING, CHOOSING + (8 if calls == 3 else 2)):
        began = time.process_time()
        levels = search_levels(calls, seed)
        spent = time.process_time() - began
        made = sample(ipndm, AFS(digits_teacher(), *moments()), start, levels).x
        levels = [round(level, 4) for level in levels]
        found.append(scores(made) | {"levels": levels, "seconds": round(spent, 1)})
    return {"iPNDM, analytic start, searched grid": mean_of(found)}


def plugin_rows(calls, levels):
    """AMED-Plugin on iPNDM, trained from three seeds with every second level of a grid that was searched for
    iPNDM with an analytic start as the grid that it adds its levels to; empty at even counts, where such a
    grid has an odd number of steps.  levels: the calls + 2 levels of that grid."""
    if not calls % 2:
        return {}
    outer, made, start = list(levels)[::2], [], noise(N, FRESH)
    model, _ = two_call_grid(calls)
    for seed in SEEDS:
        net = trained(calls, base="ipndm", seed=seed, grid=lambda *_: outer).net
        made.append(sample(amed_plugin, model, start, outer, predictor=net, base="ipndm").x)
    return {"AMED-Plugin, iPNDM, searched levels": mean_of([scores(x) for x in made])}


def few_calls(counts=(4, 5, 6, 8, 10, 14, 20, 30), seeds=(FRESH, FRESH + 1, FRESH + 2), names=None):
    """Solvers of one and of two calls a step as they stand (or those of these names), those of two at even
    counts: name -> {calls: RMSE from each of these noises}."""
    solvers = {name: (ONE_CALL[name], 1) for name in ("DDIM", "DPM-Solver++ 2M", "iPNDM")}
    solvers |= {name: (pair, 2) for name, pair in TWO_CALLS.items()}
    solvers["DPM-Solver++ 2S"] = (dpmpp_2s, {}), 2

    def error(name, calls, seed):
        (solver, options), price = solvers[name]
        times = grids.karras(SCHEDULE, calls // price)
        return round(rmse(sample(solver, digits_teacher(), noise(N, seed), times, **options).x, seed), 4)

    return {
        name: {str(c): [error(name, c, seed) for seed in seeds] for c in counts if c % price == 0}
        for name, (_, price) in solvers.items()
        if names is None or name in names
    }


def from_level(calls, top=80.0, n=1000):
    """iPNDM with an analytic start on Karras's and on a searched grid, and AMED-Plugin on it without
    features, from another first level, the paper's by default: method -> RMSE, of the plugin one for each
    seed."""
    teacher, start = digits_teacher(EDM(sigma_max=top)), noise(n, FRESH) * (top / TOP)
    end = teacher_path(teacher, start, grids.karras(teacher.schedule, 6), 24)[-1]
    error = lambda x: round(float((x - end).square().mean().sqrt()), 4)
    analytic = AFS(teacher, *moments())
    model, times = analytic if calls % 2 else teacher, grids.karras(teacher.schedule, (calls + 1) // 2)

    def plugged(seed):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            predictor = Predictor(0)
        draw = lambda generator: draws(generator) * (top / TOP)
        net = train_predictor(predictor, model, times, draw, base="ipndm", steps=250, seed=seed).net
        return error(sample(amed_plugin, model, start, times, predictor=net, base="ipndm").x)

    karras, searched = grids.karras(teacher.schedule, calls + 1), search_levels(calls, CHOOSING, top=top)
    return {
        "iPNDM, analytic start": error(sample(ipndm, analytic, start, karras).x),
        "iPNDM, analytic start, searched grid": error(sample(ipndm, analytic, start, searched).x),
        "AMED-Plugin, iPNDM": [plugged(seed) for seed in SEEDS],
    }


def mean_of(each):
    """The mean of scores, and under "each" the scores."""
    mean = {key: round(statistics.mean(row[key] for row in each), 4) for key in ("rmse", "frechet")}
    return mean | {"each": each}


def trained(calls, base=None, features=160, seed=0, steps=250, grid=grids.karras, **options):
    """A predictor trained for this number of calls."""
    model, times = two_call_grid(calls, base, grid)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        predictor = Predictor(features)
    return train_predictor(predictor, model, times, draws, base=base, steps=steps, seed=seed, **options)


def flow_row():
    """The flow itself: no error, and the Fréchet distance of its samples, from three noises."""
    each = [round(frechet_distance(truth(seed)), 3) for seed in (FRESH, FRESH + 1, FRESH + 2)]
    return {"rmse": 0.0, "frechet": each[0], "each": each}


def contrast(x):
    """The root mean square deviation of images (n, 1, 8, 8) from their mean image."""
    return float((x - x.mean(0)).square().mean().sqrt())


def contrast_rows():
    """Contrast and Fréchet distance of the data, of the flow's samples and of some solvers' that have a less
    distance than these; and the distance once their contrast is made the flow's, and the data's.
    """
    model, start = digits_teacher(), noise(N, FRESH)
    analytic = AFS(model, *moments())
    two_calls, times = two_call_grid(9)
    made = {
        "the flow itself": truth(FRESH),
        "DPM-Solver++ 2M, analytic start, 4 calls": sample(
            dpmpp_2m, analytic, start, grids.karras(SCHEDULE, 5)
        ).x,
        "DPM-Solver++ 2M, 7 calls": sample(dpmpp_2m, model, start, grids.karras(SCHEDULE, 7)).x,
        "DPM-Solver-2, 9 calls": sample(dpm_solver_2, two_calls, start, times).x,
        "Heun, 9 calls": sample(heun, two_calls, start, times, variable="sigma").x,
        "iPNDM, analytic start, 3 calls": sample(ipndm, analytic, start, grids.karras(SCHEDULE, 4)).x,
    }
    data = torch.cat([digits(part)[0] for part in ("train", "test")])
    wanted = {"the flow's contrast": contrast(made["the flow itself"]), "the data's contrast": contrast(data)}
    rows = {"the data": {"contrast": round(contrast(data), 3)}}
    for name, x in made.items():
        rows[name] = {"contrast": round(contrast(x), 3), "frechet": round(frechet_distance(x), 2)}
        for label, value in wanted.items():
            scaled = x.mean(0) + (x - x.mean(0)) * value / contrast(x)
            rows[name][f"frechet at {label}"] = round(frechet_distance(scaled), 2)
    return rows


def official_teacher(calls):
    """How far the official AMED-Solver's teacher (Heun with two substeps an interval, all on its own grid) is
    from the flow."""
    steps = (calls + 1) // 2
    x = noise(500, FRESH)
    return round(
        rmse(sample(heun, digits_teacher(), x, uniform_time(SCHEDULE, 2 * steps), variable="sigma").x), 4
    )


def plain_rows(calls, grid=grids.karras):
    """Every solver that has nothing to choose, with and without an analytic first step."""
    start, model, rows = noise(N, FRESH), digits_teacher(), {}
    for name, (solver, options) in ONE_CALL.items():
        rows[name] = scores(sample(solver, model, start, grid(SCHEDULE, calls), **options).x)
        analytic = AFS(model, *moments())
        more = grid(SCHEDULE, calls + 1)
        rows[f"{name}, analytic start"] = scores(sample(solver, analytic, start, more, **options).x)
    model, times = two_call_grid(calls, grid=grid)
    for name, (solver, options) in TWO_CALLS.items():
        rows[name] = scores(sample(solver, model, start, times, **options).x)
    return rows


def on_uniform_time(calls, seeds=SEEDS):
    """On the official AMED-Solver's grid: every solver that has nothing to choose, one share a step, and
    AMED-Solver without features, trained there from these seeds; at three calls from one seed by a teacher of
    eight substeps an interval, too, since one of four is farther from the flow there than on Karras's
    grid."""
    rows = plain_rows(calls, uniform_time) | share_rows(calls, uniform_time)
    model, times = two_call_grid(calls, grid=uniform_time)

    def learned(seed, substeps=4):
        net = trained(calls, features=0, seed=seed, grid=uniform_time, substeps=substeps).net
        return scores(sample(amed_solver, model, noise(N, FRESH), times, predictor=net).x)

    rows["AMED-Solver, no features"] = mean_of([learned(seed) for seed in seeds])
    if calls == 3:
        rows["AMED-Solver, no features, 8 substeps"] = learned(seeds[0], 8)
    return rows


def predictor_price(batches=(1, 64, 1000)):
    """CPU time of a call of g_phi with features over that of a call of the network: batch -> share, the
    median of nine rounds of thirty calls each."""
    model, predictor = digits_teacher(), Predictor(160).eval()

    def spent(call):
        began = time.process_time()
        for _ in range(30):
            call()
        return time.process_time() - began

    def share(n):
        x = noise(n, 0)
        features = model.eps_and_features(x, 2.0)[1]
        rounds = [
            (spent(lambda: predictor(features, 2.0, 0.5, n)), spent(lambda: model.eps_and_features(x, 2.0)))
            for _ in range(9)
        ]
        return round(statistics.median(own / whole for own, whole in rounds), 2)

    with torch.no_grad():
        return {str(n): share(n) for n in batches}


def untrained_rows(calls):
    """Every solver without training: `plain_rows`, the best share of all steps, and plugins untrained."""
    start, rows = noise(N, FRESH), plain_rows(calls)
    model, times = two_call_grid(calls)
    share = best_fixed(calls)
    fixed = sample(amed_solver, model, start, times, predictor=always(share)).x
    rows["best fixed time"] = scores(fixed) | {"share": share}
    for name, (solver, options, base) in LEARNED.items():
        if base is not None and two_call_grid(calls, base):
            model, times = two_call_grid(calls, base)
            rows[f"{name}, untrained"] = scores(sample(solver, model, start, times, **options).x)
    return rows


def learned_rows(calls):
    """Every learned solver from three seeds, and AMED-Solver without features and with the paper's greedy
    training."""
    start, rows = noise(N, FRESH), {}
    wanted = {name: (solver, options, dict(base=base)) for name, (solver, options, base) in LEARNED.items()}
    wanted["AMED-Solver, no features"] = (amed_solver, {}, dict(features=0))
    wanted["AMED-Solver, greedy"] = (amed_solver, {}, dict(greedy=True))
    wanted["AMED-Plugin, iPNDM, greedy"] = (amed_plugin, {"base": "ipndm"}, dict(base="ipndm", greedy=True))
    for name, (solver, options, how) in wanted.items():
        if not two_call_grid(calls, how.get("base")):
            continue
        model, times = two_call_grid(calls, how.get("base"))
        runs = [trained(calls, seed=seed, **how) for seed in SEEDS]
        made = [sample(solver, model, start, times, predictor=run.net, **options).x for run in runs]
        rows[name] = mean_of([scores(x) for x in made])
        rows[name]["seconds"] = round(statistics.mean(run.seconds for run in runs))
    return rows


# --- does it pay to look at the sample? ---------------------------------------------------------------------


def built_mixture():
    """Two clusters so far apart that no start lies between them, one three times as wide as the other: the
    best level of a step is another for each."""
    return Mixture([1, 1], [[-60.0, 0.0], [60.0, 0.0]], [1.0, 0.3])


def built_starts(generator, n=128, level=3.0):
    """n starts (n, 2) of `built_mixture` at this level."""
    mixture = built_mixture()
    rows = torch.randint(2, (n,), generator=generator)
    spread = torch.hypot(mixture.stds[rows].float(), torch.tensor(level))
    return mixture.means[rows].float() + spread[:, None] * torch.randn(n, 2, generator=generator)


def labelled_starts(generator, n=64):
    """Starts of digits with a label for each."""
    return draws(generator, n), torch.randint(10, (n,), generator=generator)


SAMPLE_SETTINGS = {  # name -> model, grid, starts, guidance scale or None, substeps of the teacher
    "a mixture built for it": (
        built_mixture().model(EDM(sigma_max=10.0)),
        [3.0, 0.05],
        built_starts,
        None,
        16,
    ),
    "digits": (digits_teacher(), grids.karras(SCHEDULE, 2).tolist(), draws, None, 4),
    "digits with labels": (digits_teacher(), grids.karras(SCHEDULE, 2).tolist(), labelled_starts, None, 4),
    "digits guided, w = 4": (digits_teacher(), grids.karras(SCHEDULE, 2).tolist(), labelled_starts, 4.0, 4),
}


def sample_row(name, seeds=SEEDS, steps=250):
    """AMED-Solver with the time alone learned, from features and without: error at the end of the flow, root
    mean square and median over samples, and the share r of the first step."""
    model, times, draw, scale, substeps = SAMPLE_SETTINGS[name]
    fresh = draw(torch.Generator().manual_seed(77), 1000)
    start, label = fresh if isinstance(fresh, tuple) else (fresh, None)
    model = Guided(model, 0, scale) if scale else model
    judge = model if label is None else model.with_label(label)
    end = teacher_path(judge, start, times, 200 if start.ndim == 2 else 48)[-1]
    _, seen = judge.eps_and_features(start, times[0])

    def errors(x):
        distance = (x - end).square().flatten(1).mean(1).sqrt()
        return round(float(distance.square().mean().sqrt()), 4), round(float(distance.median()), 4)

    row = {"untrained": errors(sample(amed_solver, judge, start, times).x)[0]}
    for kind, features in (("features", seen.shape[1]), ("no features", 0)):
        each, shares = [], []
        for seed in seeds:
            with torch.random.fork_rng([]):
                torch.manual_seed(seed)
                predictor = Predictor(features, direction_range=0.0, level_range=0.0)
            run = train_predictor(predictor, model, times, draw, steps=steps, substeps=substeps, seed=seed)
            each.append(errors(sample(amed_solver, judge, start, times, predictor=run.net).x))
            shares.append(run.net(seen if features else None, *times[:2], len(start))[0])
        rms, median = (round(statistics.mean(column), 4) for column in zip(*each))
        row[kind] = {"rmse": rms, "median": median, "each": [error[0] for error in each]}
        row[kind]["spread of r"] = [round(float(share.std()), 4) for share in shares]
        if name == "a mixture built for it":
            wide = start[:, 0] < 0
            row[kind]["r by cluster"] = [round(float(shares[0][rows].mean()), 3) for rows in (wide, ~wide)]
    return row


def main():
    """Run everything and write the record."""
    torch.set_num_threads(1)
    began, found = time.time(), {"top": TOP, "n": N, "seeds": list(SEEDS)}
    found["sample"] = {name: sample_row(name) for name in SAMPLE_SETTINGS}
    found["teacher error"] = {
        str(calls): {
            str(k): round(teacher_error(digits_teacher(), noise(500, FRESH), two_call_grid(calls)[1], k), 4)
            for k in (2, 4, 8)
        }
        for calls in CALLS
    }
    found["flow"], found["contrast"] = flow_row(), contrast_rows()
    found["price of g_phi"] = predictor_price()
    found["from 80"] = {str(calls): from_level(calls) for calls in (3, 5)}
    found["from 5"] = {"3": from_level(3, top=5.0)}
    found["few calls"] = few_calls()
    found["official teacher"] = {str(calls): official_teacher(calls) for calls in CALLS}
    found["table"], found["uniform time"] = {}, {}
    for calls in CALLS:
        found["uniform time"][str(calls)] = on_uniform_time(calls)
        found["table"][str(calls)] = (
            untrained_rows(calls) | share_rows(calls) | level_rows(calls) | learned_rows(calls)
        )
        searched = found["table"][str(calls)]["iPNDM, analytic start, searched grid"]["each"][0]["levels"]
        found["table"][str(calls)] |= plugin_rows(calls, searched)
        for name, row in found["table"][str(calls)].items():
            print(calls, name, row["rmse"], row["frechet"], flush=True)
        PATH.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
