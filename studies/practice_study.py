"""What the choice of a sampler needs and no earlier study has:

    python -m studies.practice_study [part ...]     all parts but contenders: some ten CPU minutes
    python -m studies.practice_study contenders     from folder seeds, see `contenders`: three minutes

digits: samplers of chapters 1 to 4 and learned solvers on chapter 5's teacher, measured as chapter 5 measures
its students, and the seconds of a call.  relays, adaptive, grids, ends: on mixtures, whose flow is exact.
contenders: ten seeds of what comes near the best within a budget.  Puts each part into
book/ch08/recorded/practice.json and leaves the others as they are."""

import json
import sys
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from book import folders
from book.ch07.experiments import jump
from book.ch08 import experiments
from studies import train_distilled, train_flow_maps
from studies.learned_study import CHOOSING, PAIRS, fit, noise
from toolkit import EDM, VP, Mixture, grids, initial_noise, sample
from toolkit.amed import teacher_path
from toolkit.convergence import reference
from toolkit.data import digit_labels, two_moons
from toolkit.ddim import ddim, ddim_adaptive
from toolkit.ddpm import ddpm
from toolkit.distilled import START, mixture, teacher
from toolkit.dpm_solver import dpm_solver_2, dpmpp_2m, dpmpp_3m, sde_dpmpp_2m
from toolkit.files import write_file
from toolkit.flow_maps import MeanVelocity, flow_map
from toolkit.learned import Table, learn
from toolkit.metrics import frechet_distance, fresh_distances, sliced_wasserstein
from toolkit.models import Network
from toolkit.multistep import exponential_ab, ipndm, unipc
from toolkit.networks import DIGITS_SIGMA_DATA, pretrained
from toolkit.ode import edm_heun
from toolkit.practice import adaptive_per_sample, allocate, calls_of, correct, difficulty, most_to_gain, relay
from toolkit.schedules import Flow
from toolkit.sde import edm_stochastic, euler_maruyama, restart

RESULT = folders.folder("08") / "recorded" / "practice.json"
rounded = partial(round, ndigits=4)

# --- digits -----------------------------------------------------------------------------------------------

N, DIGITS_SEEDS = 2000, (0, 1, 2)  # chapter 5's
DIGITS = {  # name -> sampler, options, calls a step; on Karras' grid from level 80 to .002
    "DDPM": (ddpm, {}, 1),
    "SDE-Euler": (euler_maruyama, {}, 1),
    "EDM, stochastic": (edm_stochastic, {"churn": 10.0, "low": 0.05, "high": 50.0, "noise_scale": 1.003}, 2),
    "Restart": (restart, {"low": 0.1, "high": 0.5}, 2),
    "SDE-2M": (sde_dpmpp_2m, {}, 1),
    "DPM-Solver-2": (dpm_solver_2, {}, 2),
    "3M": (dpmpp_3m, {}, 1),
    "iPNDM": (ipndm, {}, 1),
    "UniPC-3": (unipc, {}, 1),
}
BUDGETS = (4, 6, 10, 20, 40)
RESTARTS = {20: (3, 1), 40: (2, 2)}  # calls -> (rounds, Heun steps in each), chapter 4's
LEARNED_CALLS = (3, 5, 7, 9)


def of_both(images_of, seed):
    """{no label, label}: Fréchet distances of N digits; `images_of(model, noise)` -> images."""
    labels, start = digit_labels(N, seed), initial_noise(N, (1, 8, 8), seed) * START
    kinds = {"no label": teacher(), "label": teacher().with_label(labels)}
    return {kind: round(frechet_distance(images_of(model, start)), 3) for kind, model in kinds.items()}


def digits_row(name, calls, seed):
    """One sampler of `DIGITS` with so many calls."""
    loop, options, cost = DIGITS[name]
    steps = calls // cost
    if loop is restart:
        rounds, inner = RESTARTS[calls]
        options, steps = options | {"rounds": rounds, "inner": inner}, steps - rounds * inner
    times, used = grids.karras(EDM(), steps), []

    def images(model, start):
        run = sample(loop, model, start, times, draws=seed, **options)
        used.append(run.nfe)
        return run.x

    return of_both(images, seed) | {"calls": used[0]}


@cache
def labelled_pairs(seed):
    """(the teacher from level 20, noises, labels, ends of the flow)."""
    schedule = EDM(sigma_max=20.0)
    network = teacher().network
    model = Network(network, schedule, predicts="edm", sigma_data=DIGITS_SIGMA_DATA)
    start, labels = noise(PAIRS, CHOOSING + seed), torch.arange(PAIRS) % 10
    ends = teacher_path(model.with_label(labels), start, grids.karras(schedule, 6), 24)[-1]
    return model, start, labels, ends


def learned_row(calls, seed):
    """Weights and grid, fitted with labels to pairs from level 20, as chapter 7 fits them without."""
    model, start, labels, ends = labelled_pairs(seed)
    times, began = grids.karras(model.schedule, calls), time.process_time()
    solver = fit("weights and grid", model, times, start, ends, seed, label=labels).solver()
    spent = time.process_time() - began
    fresh = initial_noise(N, (1, 8, 8), seed) * 20.0
    run = solver.run(model.with_label(digit_labels(N, seed)), fresh)
    return {"label": round(frechet_distance(run.x), 3), "calls": run.nfe, "seconds": round(spent, 1)}


WORDS = {"no label": "unconditional", "label": "conditional"}  # in a chart, in chapter 5's record
SOLVERS = {"DDIM": ddim, "2M": dpmpp_2m, "Heun": edm_heun}  # of WAYS in `train_distilled`
TEN = tuple(range(10))
NEAR = 1.2  # times the least mean distance within a budget, of three seeds


def near_the_best(names):
    """{(name, calls)} of these whose mean distance is at most NEAR times the least within some budget; of
    what was trained all calls."""
    found = set()
    for by in experiments.three_seeds().values():
        means = {(name, n): np.mean(v) for name, rows in by.items() for n, v in rows.items() if name in names}
        for budget in experiments.BUDGETS:
            within = {key: mean for key, mean in means.items() if key[1] <= budget}
            found |= {key for key, mean in within.items() if mean <= NEAR * min(within.values())}
    trained = {name for name, _ in found if not experiments.KIND[name].startswith("solvers")}
    return found | {key for key in means if key[0] in trained}


def solver_row(name, calls, seed):
    """One solver of the chart with so many calls."""
    if name in DIGITS:
        return digits_row(name, calls, seed)
    times = grids.karras(EDM(), calls // 2 if name == "Heun" else calls)
    return of_both(lambda model, start: sample(SOLVERS[name], model, start, times).x, seed)


def contenders(folder=Path("seeds")):
    """Ten seeds of all that comes near the best within a budget: name -> calls -> kind -> distances.

    Students and flow maps of seeds 3 to 9 lie in FOLDER: 21 times `python -m studies.train_distilled student
    digits NAME --seed SEED` or `python -m studies.train_flow_maps train digits meanflow --seed SEED`."""
    plain = {name for name, family in experiments.KIND.items() if family.startswith("solvers")}
    found = {}
    for name, calls in sorted(near_the_best(set(experiments.KIND)) | near_the_best(plain)):
        rows = [contender_row(name, calls, seed, folder) for seed in TEN]
        found.setdefault(name, {})[calls] = {kind: [row[kind] for row in rows] for kind in WORDS}
        print(name, calls, found[name][calls], flush=True)
    return found


def contender_row(name, calls, seed, folder):
    """{"no label", "label"} of one contender; seeds 0 to 2 of what was trained are on record already."""
    if experiments.KIND[name].startswith("solvers"):
        return solver_row(name, calls, seed)
    if seed < 3:
        return {kind: by[name][calls][seed] for kind, by in experiments.three_seeds().items()}
    if name == "MeanFlow":
        model, _ = train_flow_maps.stored("digits", "meanflow", seed, folder)
        way = lambda noise, count, label: jump(model.with_label(label), noise, count)  # noqa: E731
        return train_flow_maps.figures_of("digits", way, seed, (calls,))[str(calls)]
    row = train_distilled.student_row("digits", name, seed, folder)[str(calls)]
    return {kind: row[word] for kind, word in WORDS.items()}


def seconds_a_call(repeats=5):
    """CPU seconds of one thread of a call for N digits, the least of some: the teacher's network, in DDIM,
    and a flow map's."""
    x = initial_noise(N, (1, 8, 8), 0)
    runs = {
        "digits-teacher": lambda: sample(ddim, teacher(), x * START, grids.karras(EDM(), 10)).nfe,
        "flow map": lambda: (
            sample(
                flow_map,
                MeanVelocity(pretrained("flow-map-meanflow")),
                x,
                grids.uniform(Flow(), 10, 1.0, 0.0),
            ).nfe
        ),
    }
    return {name: round(min(_timed(run) for _ in range(repeats)), 5) for name, run in runs.items()}


def _timed(run):
    began = time.process_time()
    calls = run()
    return (time.process_time() - began) / calls


def digits():
    """The rows that no earlier study has, the seconds of a call, and the floor at N."""
    floor = fresh_distances(N)
    result = {"n": N, "seeds": list(DIGITS_SEEDS), "seconds a call": seconds_a_call()}
    result["floor"] = {"mean": round(float(floor.mean()), 3), "sd": round(float(floor.std()), 3)}
    result["samplers"] = {}
    for name, (loop, _, cost) in DIGITS.items():
        budgets = RESTARTS if loop is restart else [b for b in BUDGETS if b // cost > 1]
        result["samplers"][name] = {b: [digits_row(name, b, s) for s in DIGITS_SEEDS] for b in budgets}
        print(
            name, {b: [r["label"] for r in rows] for b, rows in result["samplers"][name].items()}, flush=True
        )
    result["learned, labels"] = {c: [learned_row(c, s) for s in DIGITS_SEEDS] for c in LEARNED_CALLS}
    return result


# --- relays -----------------------------------------------------------------------------------------------

SEEDS, POINTS, SPAN = tuple(range(10)), 4000, (1.0, 1e-3)
CALLS = 24


def etas(values):
    """DDIM with an eta for each step."""
    return relay(*((ddim, 1, {"eta": float(eta)}) for eta in values))


def corrected(at, steps=20, corrections=4):
    """DDIM with the corrector's calls after one of its steps."""
    return relay((ddim, at), (correct, corrections), (ddim, steps - at))


def relays_of(calls=CALLS):
    """name -> (sampler, steps of the grid), all of so many calls."""
    falling, few = np.linspace(1, 0, calls) ** 2, calls // 4
    spread = relay(*(leg for _ in range(4) for leg in ((ddim, 5), (correct, 1))))
    return {
        "2M": (dpmpp_2m, calls),
        "DDIM": (ddim, calls),
        "DDPM": (ddpm, calls),
        "2M, then DDPM": (relay((dpmpp_2m, calls - few), (ddpm, few)), calls),
        "DDPM, then 2M": (relay((ddpm, few), (dpmpp_2m, calls - few)), calls),
        "mostly DDPM, then 2M": (relay((ddpm, calls - few), (dpmpp_2m, few)), calls),
        "2M, then mostly DDPM": (relay((dpmpp_2m, few), (ddpm, calls - few)), calls),
        "eta falls": (etas(falling), calls),
        "eta rises": (etas(falling[::-1]), calls),
        "eta = 1/2": (etas(np.full(calls, 0.5)), calls),
        "corrector early": (corrected(5), 20),
        "corrector in the middle": (corrected(10), 20),
        "corrector late": (corrected(19), 20),
        "corrector every fifth step": (spread, 20),
    }


def formula(steps=40):
    """Noise by eta = (t / T)^2, on equal steps of t, and what stands beside it."""
    t = grids.uniform(VP(), steps)[:-1].numpy()
    return {
        "eta = (t/T)^2": etas(t**2),
        "eta = (1 - t/T)^2": etas((1 - t) ** 2),
        "eta = 1": etas(np.ones(steps)),
        "eta = 0": etas(np.zeros(steps)),
    }


def mode_deviations(points, ring):
    """How wide the modes are, per coordinate, from the distances of points (n, 2) to their nearest mode: by
    the root mean square, and by the median, which stragglers between modes leave alone."""
    distance = torch.cdist(points.double(), ring.means).amin(1)
    return float((distance.square().mean() / 2).sqrt()), float(distance.median()) / (2 * np.log(2)) ** 0.5


def relay_row(run, ring, fresh):
    """Mode deviations and sliced distance of `run(seed)`, points (n, 2), to `fresh(seed)`, for each seed."""
    each = []
    for seed in SEEDS:
        x = run(seed)
        each.append((*mode_deviations(x, ring), sliced_wasserstein(x, fresh(seed), directions=128)))
    names = ("mode deviation", "by the median", "sliced Wasserstein")
    return {name: [rounded(v) for v in values] for name, values in zip(names, zip(*each))}


def relays():
    """All compositions at equal calls, and a formula, on the ring."""
    ring, schedule = Mixture.ring(8), VP()
    model = ring.model(schedule)
    alpha, sigma = (float(f(SPAN[1])) for f in (schedule.alpha, schedule.sigma))
    fresh = lambda seed: (
        alpha * ring.sample(POINTS, 900 + seed)
        + sigma
        * initial_noise(  # noqa: E731
            POINTS, 2, 900 + seed, torch.float64
        )
    )

    def run(one, times):
        return lambda seed: (
            sample(one, model, initial_noise(POINTS, 2, seed, torch.float64), times, draws=seed).x
        )

    found = {"floor": relay_row(lambda seed: fresh(seed + 50), ring, fresh)}
    for name, (one, steps) in relays_of().items():
        found[name] = relay_row(run(one, grids.uniform_lambda(schedule, steps)), ring, fresh)
        print(name, {k: rounded(np.mean(v)) for k, v in found[name].items()}, flush=True)
    times = grids.uniform(schedule, 40)
    forty = {name: relay_row(run(one, times), ring, fresh) for name, one in formula().items()}
    return {"seeds": list(SEEDS), "points": POINTS, "24 calls": found, "40 calls": forty}


# --- steps that follow the sample -------------------------------------------------------------------------

ADAPTIVE_SEEDS, ROWS = tuple(range(8)), 400
TOLERANCES = (0.1, 0.03, 0.01)


@cache
def planes():
    """name -> Mixture: chapter 5's swiss roll, two moons as 512 Gaussians, and the ring."""
    moons = two_moons(512, 0, noise=0.0)
    moons = Mixture(np.ones(512), np.asarray(moons), np.full(512, 0.07))
    return {"ring": Mixture.ring(8), "swiss roll": mixture("swiss roll"), "two moons": moons}


@cache
def problem(name, seed):
    """(model, start, (t, s), exact end) of one batch."""
    if name == "digits":
        model, start = teacher(), initial_noise(ROWS, (1, 8, 8), seed) * START
        schedule = model.schedule
        exact = sample(edm_heun, model, start, grids.karras(schedule, 128)).x
        return model, start, (schedule.start, schedule.end), exact
    model, start = planes()[name].model(VP()), initial_noise(ROWS, 2, seed, torch.float64)
    return model, start, SPAN, reference(model, start, *SPAN, 1e-8)


def error_of(x, exact):
    """The root mean square error of each sample: (B,)."""
    return (x - exact).double().square().flatten(1).mean(1).sqrt().numpy()


def told(errors):
    """{rms, median} of errors (B,)."""
    return {"rms": rounded(float(np.sqrt((errors**2).mean()))), "median": rounded(float(np.median(errors)))}


def grid_for(name, schedule, steps):
    """The fixed grid of a data set."""
    return grids.karras(schedule, steps) if name == "digits" else grids.uniform_lambda(schedule, steps)


def by_hand_out(one, name, model, start, steps):
    """The samples' ends, each by its own number of steps."""
    x = torch.empty_like(start)
    for n in np.unique(steps):
        rows = torch.as_tensor(np.flatnonzero(steps == n))
        x[rows] = sample(one, model, start[rows], grid_for(name, model.schedule, int(n))).x
    return x


def adaptive_batch(name, seed, tol):
    """At the mean calls that one tolerance leads to: each sample by itself, all together, and fixed grids."""
    model, start, (t, s), exact = problem(name, seed)
    log = []
    own = sample(adaptive_per_sample, model, start, [t, s], tol=tol, log=log).x
    calls = calls_of(log, ROWS)
    mean = max(round(float(calls.mean())), 2)
    shared = sample(ddim_adaptive, model, start, [t, s], tol=tol, extrapolate=True)
    row = {"own steps": told(error_of(own, exact)) | {"calls": rounded(float(calls.mean()))}}
    row["own steps"] |= {"least": int(calls.min()), "most": int(calls.max())}
    row["shared steps"] = told(error_of(shared.x, exact)) | {"calls": shared.nfe}
    times = grid_for(name, model.schedule, mean)
    same = {"prediction": "eps", "order": 2}  # the rule that `adaptive_per_sample` steps by
    fixed = {
        "fixed, DDIM": (ddim, {}, times),
        "fixed, 2M": (dpmpp_2m, {}, times),
        "fixed, iPNDM": (ipndm, {}, times),
        "fixed, same rule": (exponential_ab, same, times),
        "the mean of the own grids": (exponential_ab, same, mean_grid(model.schedule, log, t, s, mean)),
    }
    for label, (one, options, times) in fixed.items():
        run = sample(one, model, start, times, **options)
        row[label] = told(error_of(run.x, exact)) | {"calls": run.nfe}
    return row


def mean_grid(schedule, log, t, s, steps):
    """The grid whose every share of the way lies, in lambda, at the mean of the samples' own grids."""
    own = {}
    for rows, _, after, _ in log:
        for row, lam in zip(rows, schedule.lam(after)):
            own.setdefault(row, [schedule.lam(t)]).append(lam)
    shares = np.linspace(0, 1, steps + 1)
    mean = np.mean([np.interp(shares, np.linspace(0, 1, len(lams)), lams) for lams in own.values()], axis=0)
    return [t, *schedule.t_of_lam(mean[1:-1]).tolist(), s]


def difficulty_batch(name, seed, calls=10):
    """Rank correlation of the index with true errors, what the best division could gain, and what divisions
    by the index and by the true error do gain, at equal mean calls."""
    model, start, _, exact = problem(name, seed)
    times = grid_for(name, model.schedule, calls)
    index = difficulty(model, start, times)
    row = {"most to gain": rounded(most_to_gain(index)), "spread": rounded(float(index.std() / index.mean()))}
    for label, one in (("DDIM", ddim), ("2M", dpmpp_2m), ("iPNDM", ipndm)):
        row[f"correlation, {label}"] = rounded(
            float(spearmanr(index, error_of(sample(one, model, start, times).x, exact))[0])
        )
    true = error_of(sample(dpmpp_2m, model, start, times).x, exact)
    row["fixed"] = told(true)
    for label, by in (("by the index", index), ("by the true error", true)):
        steps = allocate(by, calls + 0.5, least=5)
        ends = by_hand_out(dpmpp_2m, name, model, start, steps)
        row[label] = told(error_of(ends, exact)) | {"calls": rounded(float(steps.mean()))}
    return row


def adaptive():
    """Both, on every data set and seed."""
    found = {"seeds": list(ADAPTIVE_SEEDS), "rows": ROWS, "steps": {}, "difficulty": {}}
    for name in (*planes(), "digits"):
        found["steps"][name] = {
            str(tol): [adaptive_batch(name, seed, tol) for seed in ADAPTIVE_SEEDS] for tol in TOLERANCES
        }
        found["difficulty"][name] = [difficulty_batch(name, seed) for seed in ADAPTIVE_SEEDS]
        print(name, found["steps"][name]["0.03"][0], found["difficulty"][name][0], flush=True)
    return found


# --- schedules and grids ----------------------------------------------------------------------------------

RHOS = (1, 2, 3, 5, 7, 10, 15, 25, 50)
SCHEDULE = EDM(sigma_max=20.0)


def rho_sweep(calls=10, seeds=range(8), n=200):
    """RMSE of four samplers at ten calls by rho: data -> sampler -> rho -> each seed."""
    found = {}
    ways = {"DDIM": (ddim, 1), "Heun": (edm_heun, 2), "2M": (dpmpp_2m, 1), "iPNDM": (ipndm, 1)}
    for name in ("swiss roll", "two moons", "digits"):
        found[name] = {label: {rho: [] for rho in RHOS} for label in ways}
        for seed in seeds:
            if name == "digits":
                model, start, _, exact = problem(name, seed)
            else:
                model, start = planes()[name].model(EDM()), initial_noise(n, 2, seed, torch.float64) * START
                exact = reference(model, start, START, EDM().end, 1e-8)
            for label, (one, cost) in ways.items():
                for rho in RHOS:
                    times = grids.karras(EDM(), calls // cost, rho=rho)
                    found[name][label][rho].append(
                        told(error_of(sample(one, model, start, times).x, exact))["rms"]
                    )
    return found


def learned_grids(steps=6, seeds=range(8), n=400):
    """RMSE on fresh noise of DDIM and iPNDM on the swiss roll: on Karras' grid, on the best of its family
    (one number), and on a learned grid (steps - 1 numbers)."""
    model = planes()["swiss roll"].model(SCHEDULE)
    batch = lambda seed: initial_noise(n, 2, seed, torch.float64) * 20.0  # noqa: E731
    ends = lambda start: reference(model, start, 20.0, SCHEDULE.end, 1e-8)  # noqa: E731
    fresh = batch(99)
    exact, found = ends(fresh), {}
    score = lambda one, times: told(error_of(sample(one, model, fresh, times).x, exact))["rms"]  # noqa: E731
    for label, one in (("DDIM", ddim), ("iPNDM", ipndm)):
        rows = {"Karras, rho = 7": [score(one, grids.karras(SCHEDULE, steps))]}
        rows["the best rho"], rows["rho"], rows["learned grid"] = [], [], []
        for seed in seeds:
            start = batch(seed)
            wanted = ends(start)
            rho = min(np.geomspace(1, 60, 40).tolist(), key=partial(_loss, one, model, start, wanted, steps))
            rows["rho"].append(round(rho, 2))
            rows["the best rho"].append(score(one, grids.karras(SCHEDULE, steps, rho=rho)))
            table = Table(SCHEDULE, grids.karras(SCHEDULE, steps), one.__name__)
            net = learn(table, model, start, wanted, steps=150, lr=0.1, batch=100, seed=seed).net
            rows["learned grid"].append(score(one, net.solver().times))
        found[label] = rows
        print(label, rows, flush=True)
    return found


def _loss(one, model, start, wanted, steps, rho):
    run = sample(one, model, start, grids.karras(model.schedule, steps, rho=rho))
    return float((error_of(run.x, wanted) ** 2).mean())


def grids_part():
    """The sweep over rho, and grids that were learned."""
    return {"rho": rho_sweep(), "learned": learned_grids()}


# --- the ends that are left out ---------------------------------------------------------------------------

SNRS = (None, 1e-3, 1e-2, 1e-1, 1.0)
STOPS = (None, 1e4, 1e3, 1e2, 25.0)


def truncated_row(name, seed, snr=None, stop=None, steps=10, start_as="noise", jump=True):
    """The sliced Wasserstein distance to fresh data when sampling starts at one SNR and stops at another.

    start_as: "noise", N(0, 1), or "moments", the mean and covariance of x_t.  jump: from the stop to the
    predicted data, in place of one step."""
    data, schedule = planes()[name], VP()
    model, z = data.model(schedule), initial_noise(POINTS, 2, seed, torch.float64)
    ask = {"snr_start": snr or 1e-9, "snr_end": stop or 1e9}
    times = grids.truncated(schedule, steps - jump, **ask)
    t = float(times[0])
    if start_as == "moments":
        cov = schedule.alpha(t) ** 2 * data.covariance() + schedule.sigma(t) ** 2 * torch.eye(2)
        z = schedule.alpha(t) * data.mean() + z @ torch.linalg.cholesky(cov).T
    x = sample(dpmpp_2m, model, z, times).x
    x = model.x0(x, float(times[-1])) if jump else x
    return rounded(sliced_wasserstein(x, data.sample(POINTS, 900 + seed), directions=128))


def ends():
    """Start later, stop earlier: data -> what -> SNR -> each seed."""
    found = {}
    for name in ("ring", "swiss roll"):
        each = lambda **how: [truncated_row(name, seed, **how) for seed in ADAPTIVE_SEEDS]  # noqa: E731, B023
        rows = {
            "start from noise": {str(snr): each(snr=snr) for snr in SNRS},
            "start with mean and covariance": {str(s): each(snr=s, start_as="moments") for s in SNRS},
            "stop, then jump": {str(stop): each(stop=stop) for stop in STOPS},
            "stop": {str(stop): each(stop=stop, jump=False) for stop in STOPS},
        }
        data = planes()[name]
        rows["floor"] = [
            rounded(sliced_wasserstein(data.sample(POINTS, 800 + s), data.sample(POINTS, 900 + s), 128))
            for s in ADAPTIVE_SEEDS
        ]
        found[name] = rows
        print(
            name,
            {k: v if k == "floor" else {s: np.mean(e) for s, e in v.items()} for k, v in rows.items()},
            flush=True,
        )
    return found


PARTS = {"digits": digits, "relays": relays, "adaptive": adaptive, "grids": grids_part, "ends": ends}
PARTS["contenders"] = contenders  # by name alone: it needs what others trained


def main(*parts):
    """Run the parts and write the file."""
    torch.set_num_threads(1)
    for part in parts or list(PARTS)[:-1]:
        made = PARTS[part]()
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        kept |= {"about": "Choosing a sampler, by studies.practice_study", part: made}
        RESULT.parent.mkdir(exist_ok=True)
        write_file(RESULT, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
