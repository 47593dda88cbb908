"""Claims of chapter 8: practice.  Which sampler for which budget, what a condition does to samples, larger
pictures on a small machine, and a contest that counts calls.

The exact posterior, the exact tilted density and exact flows judge wherever they exist.  What takes minutes
comes from recorded studies in `recorded/`.
"""

import base64
import inspect
import math
import statistics
import zlib
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from scipy import stats
from torch import nn

from book.claims import claim, recorded, tried_on
from book.contest.commands import FOLDER
from book.contest.inside import loaded
from book.contest.scoring import column
from book.problems import ON_COSINE, RING, rms
from toolkit import (
    EDM,
    VP,
    Discrete,
    Flow,
    Guided,
    Mixture,
    Network,
    VPCosine,
    grids,
    initial_noise,
    sample,
)
from toolkit.conditions import (
    ClassifierGuided,
    GuidedBetween,
    Reconstructed,
    class_log_prob,
    conditioned,
    dps,
    inpaint,
    tilted,
)
from toolkit.convergence import exact_variance, reference
from toolkit.data import digits, two_moons
from toolkit.ddim import ddim, ddim_coefficients
from toolkit.ddpm import ddpm, snr
from toolkit.distilled import jump, student, teacher
from toolkit.dpm_solver import dpmpp_2m, sde_dpmpp_2m
from toolkit.flow_maps import MeanVelocity, flow_map
from toolkit.masked import Strings, bound, even, law, some, surest, total_variation
from toolkit.metrics import (
    class_accuracy,
    digit_features,
    frechet_distance,
    frechet_from_features,
    gaussian_w2_squared,
    nearest_neighbour_ratio,
)
from toolkit.multistep import ipndm
from toolkit.networks import DIGITS_SIGMA_DATA, MLP, Conditioning, digits_model, pretrained
from toolkit.ode import edm_heun, euler, heun
from toolkit.practice import adaptive_per_sample, break_even, calls_of, difficulty, frontier, relay
from toolkit.scales import (
    Checkpointed,
    PeakMemory,
    PrincipalLatents,
    bytes_of_weights,
    enlarge,
    noise_error_at_scale,
    restart,
    rounded,
    shrink,
    spectrum,
)
from toolkit.training import draw_times, fit, loss

# --- choosing a sampler ---------------------------------------------------------------------------------

FAMILIES = {  # name in a chart -> kind; which record it is from is in `chart`
    "solvers of the ODE": ("DDIM", "2M", "Heun", "DPM-Solver-2", "3M", "iPNDM", "UniPC-3"),
    "solvers with noise": ("DDPM", "SDE-Euler", "EDM, stochastic", "Restart", "SDE-2M"),
    "students": (
        "regression", "progressive", "consistency", "consistency-distilled", "adversarial", "reflow",
    ),
    "flow maps": ("MeanFlow", "MeanFlow, short", "Lagrangian, short", "shortcut, short"),
    "learned solvers": ("learned grid, iPNDM", "learned weights and grid", "AMED-Solver", "AMED-Plugin"),
}  # fmt: skip
KIND = {name: family for family, names in FAMILIES.items() for name in names}
BUDGETS = (1, 2, 4, 6, 10, 20, 40)


@cache
def study():
    """The recorded parts of `studies.practice_study`."""
    return recorded("practice")


@cache
def chart() -> dict:
    """Fréchet distances of 2,000 digits of chapter 5's teacher and of all that learned from its data: "no
    label" or "label" -> sampler -> calls -> [each seed].  What has at most 1.2 times the least mean within a
    budget has ten seeds, all else three."""
    found = {kind: {name: dict(rows) for name, rows in by.items()} for kind, by in three_seeds().items()}
    for name, rows in study()["contenders"].items():
        for calls, kinds in rows.items():
            for kind, values in kinds.items():
                found[kind][name][int(calls)] = values
    return found


@cache
def three_seeds() -> dict:
    """The same with three seeds each, from chapters 5, 6 and 7 and this one's study."""
    found = {"no label": {}, "label": {}}

    def add(kind, name, calls, values):
        found[kind].setdefault(name, {})[int(calls)] = list(values)

    five, seven = recorded("distillation"), recorded("flow_maps")["digits"]
    words = {"no label": "unconditional", "label": "conditional"}
    for kind, word in words.items():
        for way, rows in five["teacher"].items():
            name, steps = way.split()
            add(kind, name, int(steps) * (2 if name == "Heun" else 1), (row[word] for row in rows))
        for name in FAMILIES["students"]:
            for calls in "124":
                add(kind, name, calls, (row[calls][word] for row in five["digits"][name]))
        names = ("meanflow", "meanflow-short", "lagrangian", "shortcut")
        for name, label in zip(names, FAMILIES["flow maps"], strict=True):
            for calls in ("1", "2", "4", "16"):
                add(kind, label, calls, (row[calls][kind] for row in seven[name]))
        for name, rows in study()["digits"]["samplers"].items():
            for row in rows.values():
                add(kind, name, row[0]["calls"], (one[kind] for one in row))
    learned = {"learned grid, iPNDM": "grid, iPNDM", "learned weights and grid": "weights and grid"}
    learned |= {"AMED-Solver": "AMED-Solver", "AMED-Plugin": "AMED-Plugin, iPNDM"}
    for calls, rows in recorded("learned")["calls"].items():
        for name, there in learned.items():
            runs = rows["analytic start"][there]["runs"]
            add("no label", name, calls, (run["frechet"] for run in runs))
    for calls, rows in study()["digits"]["learned, labels"].items():
        add("label", "learned weights and grid", calls, (row["label"] for row in rows))
    return found


def floor() -> float:
    """The Fréchet distance of 2,000 fresh real digits to all 1,797, the mean of 20 draws."""
    return study()["digits"]["floor"]["mean"]


def interval(values, places=2) -> str:
    """Mean ± half the range."""
    return f"{statistics.mean(values):.{places}f} ± {(max(values) - min(values)) / 2:.{places}f}"


@cache
def standing(kind, calls, families=tuple(FAMILIES)):
    """(best, ties) of these families: what has the least mean distance with at most so many calls, and those
    of ten seeds whose difference from it is within its own 95 % (Welch's t): each (name, calls, values).
    What has three seeds is larger by a fifth or more."""
    rows = [
        (name, n, values) for name, by in chart()[kind].items() if KIND[name] in families
        for n, values in by.items() if n <= calls
    ]  # fmt: skip
    best = min(rows, key=lambda row: statistics.mean(row[2]))
    others = [row for row in rows if row[0] != best[0] and len(row[2]) == len(best[2])]
    return best, [row for row in others if stats.ttest_ind(best[2], row[2], equal_var=False).pvalue > 0.05]


def ten_seeds(values) -> str:
    """Mean ± half of its 95 % interval (Student's t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):.2f} ± {half:.2f}"


def guide(kind="no label") -> dict:
    """What has the least distance within a budget; what ties with it; and the best that nobody trained, with
    its ties."""
    result = {}
    for budget in BUDGETS:
        (name, calls, values), ties = standing(kind, budget)
        result[f"{budget} | best"] = f"{name} ({calls})"
        result[f"{budget} | distance"] = ten_seeds(values)
        result[f"{budget} | level with it"] = _listed(ties) or "nothing"
        (name, calls, values), ties = standing(kind, budget, tuple(FAMILIES)[:2])
        more = f", level: {_listed(ties)}" if ties else ""
        result[f"{budget} | best untrained"] = f"{name} ({calls}): {ten_seeds(values)}{more}"
    return result


def _listed(rows):
    """Each sampler once, with its calls."""
    calls = {}
    for name, n, _ in rows:
        calls.setdefault(name, []).append(str(n))
    return ", ".join(f"{name} ({', '.join(counts)})" for name, counts in calls.items())


def guide_with_labels() -> dict:
    """The same with labels."""
    return guide("label")


def pareto() -> tuple:
    """For the picture: kind -> family -> [(name, calls, mean)], the frontiers, and the floor."""
    panels, fronts = {}, {}
    for kind, by in chart().items():
        points = {(name, n): (n, statistics.mean(v)) for name, rows in by.items() for n, v in rows.items()}
        fronts[kind] = [(name, *points[name, n]) for name, n in frontier(points)]
        panels[kind] = {
            family: [(name, n, points[name, n][1]) for name, n in points if name in names]
            for family, names in FAMILIES.items()
        }
    return panels, fronts, floor()


# Seconds, with training counted


@cache
def training_seconds() -> dict:
    """CPU seconds that each learner took, once: what learns pairs is charged for them, and the teacher, which
    all but the flow maps start from or ask, is not."""
    rate = study()["digits"]["seconds a call"]
    five, seven = recorded("distillation"), recorded("flow_maps")["digits"]
    mean = lambda rows: statistics.mean(row["seconds"] for row in rows)  # noqa: E731
    found = {name: mean(five["digits"][name]) for name in FAMILIES["students"]}
    names = ("meanflow", "meanflow-short", "lagrangian", "shortcut")
    found |= {label: mean(seven[name]) for name, label in zip(names, FAMILIES["flow maps"], strict=True)}
    pairs = recorded("learned")["pairs"] * 2 * 6 * 24 * rate["digits-teacher"] / study()["digits"]["n"]
    rows = recorded("learned")["calls"]["5"]["analytic start"]
    found["learned grid, iPNDM"] = rows["grid, iPNDM"]["seconds"] + pairs
    found["learned weights and grid"] = rows["weights and grid"]["seconds"] + pairs
    found["AMED-Solver"] = rows["AMED-Solver"]["seconds"]
    found["AMED-Plugin"] = rows["AMED-Plugin, iPNDM"]["seconds"]
    return found


def seconds_each(name, calls) -> float:
    """CPU seconds of one thread for one digit."""
    rate = study()["digits"]["seconds a call"]
    network = "flow map" if KIND[name] == "flow maps" else "digits-teacher"
    return calls * rate[network] / study()["digits"]["n"]


def bill(n, kind="no label") -> dict:
    """(seconds a digit, distance) of every sampler at every count of calls, when n digits are drawn and the
    training is shared among them: (name, calls) -> (seconds, mean distance)."""
    return {
        (name, calls): (
            training_seconds().get(name, 0.0) / n + seconds_each(name, calls), statistics.mean(values),
        )
        for name, by in chart()[kind].items()
        for calls, values in by.items()
    }  # fmt: skip


def bill_in_families(n, kind="no label") -> tuple:
    """For the picture: family -> [(name, calls, seconds a digit, distance)], its frontier, the floor, n."""
    points = bill(n, kind)
    families = {
        family: [(*key, *points[key]) for key in points if key[0] in names]
        for family, names in FAMILIES.items()
    }
    return families, [(*key, *points[key]) for key in frontier(points)], floor(), n


def when_it_pays() -> dict:
    """How many digits must be drawn before a training has paid: against the untrained sampler with the fewest
    calls that is as good, without labels and with."""
    plain = [*FAMILIES["solvers of the ODE"], *FAMILIES["solvers with noise"]]
    result = {}
    for name, calls, kind in (
        ("learned weights and grid", 5, "no label"),
        ("adversarial", 1, "no label"),
        ("MeanFlow", 2, "no label"),
        ("adversarial", 1, "label"),
        ("consistency", 1, "label"),
        ("consistency", 2, "label"),
        ("MeanFlow", 2, "label"),
    ):
        reached = statistics.mean(chart()[kind][name][calls])
        rivals = [
            (n, one) for one in plain for n, v in chart()[kind].get(one, {}).items()
            if statistics.mean(v) <= reached
        ]  # fmt: skip
        row = f"{name}, {calls} call{'s' if calls > 1 else ''}, {kind}"
        result[f"{row} | distance"] = round(reached, 2)
        if not rivals:
            result[f"{row} | as good without training"] = result[f"{row} | pays from"] = "none"
            continue
        n, one = min(rivals)
        paid = break_even(training_seconds()[name], seconds_each(one, n), seconds_each(name, calls))
        result[f"{row} | as good without training"] = f"{one} ({n})"
        result[f"{row} | pays from"] = f"{float(f'{paid:.1g}'):,.0f} digits"
    return result


@claim(
    "BT27",
    source="Textbook, section 8.5",
    says="A thousand steps of DDPM give the highest quality.",
    holds=lambda r: r["DDPM, 1000 calls"] < min(r["SDE-2M, 20 calls"], r["Restart, 20 calls"]),
    verdict=False,
    finding="On the digits with labels it has a Fréchet distance of 0.13, with either variance, and so have "
    "fifty calls of DDIM; SDE-2M has 0.098 and Restart 0.091 at 20 calls; fresh real digits have 0.086.",
    figure="pareto",
)
def a_thousand_steps() -> dict:
    """Fréchet distance of 1,797 digits with labels, the means of eight or ten seeds (three above 100 calls),
    by the records of chapters 3 and 4."""
    four, three = recorded("noisy_digits"), recorded("digits_samplers")["samplers"]
    row = lambda name, calls: next(r for r in three[name]["rows"] if r["nfe"] == calls)["frechet"]  # noqa: E731
    return {
        "DDPM, 1000 calls": four["ten"]["DDPM, 1000 calls"]["mean"],
        "DDPM, larger variance, 1000 calls": row("DDPM, beta", 1000),
        "DDPM, larger variance, 100 calls": row("DDPM, beta", 100),
        "DDIM, 50 calls": row("DDIM", 50),
        "SDE-2M, 20 calls": four["solvers"]["SDE-2M, τ = 1"]["20"]["mean"],
        "Restart, 20 calls": four["solvers"]["Restart"]["20"]["mean"],
        "fresh real digits": four["floor"]["mean"],
    }


# Schedules, grids and their ends


def rho_curves() -> dict:
    """Recorded: RMSE at ten calls over the best of its curve, data -> sampler -> (rhos, means)."""
    found = {}
    for data, by in study()["grids"]["rho"].items():
        found[data] = {}
        for name, rows in by.items():
            rhos = [float(rho) for rho in rows]
            means = np.array([statistics.mean(values) for values in rows.values()])
            found[data][name] = (rhos, means / means.min())
    return found


def best_rho() -> dict:
    """Recorded: the rho with the least RMSE in each of eight batches, their range, by sampler and data; and
    what rho = 7 has in excess."""
    result = {}
    for data, by in study()["grids"]["rho"].items():
        for name, rows in by.items():
            errors = np.array(list(rows.values()))
            best = [float(list(rows)[i]) for i in errors.argmin(0)]
            result[f"{name} | {data}"] = (
                f"{min(best):g}–{max(best):g}" if min(best) < max(best) else f"{best[0]:g}"
            )
            excess = errors[list(rows).index("7")].mean() / errors.min(0).mean() - 1
            result[f"{name} | {data}, 7 has more by"] = f"{100 * excess:.0f} %"
    return result


def learned_grids() -> dict:
    """Recorded: RMSE on fresh noise at six steps on the swiss roll; the range of eight trainings."""
    result = {}
    for name, rows in study()["grids"]["learned"].items():
        for row in ("Karras, rho = 7", "the best rho", "learned grid"):
            values = rows[row]
            told = f"{values[0]:.3f}" if len(values) == 1 else f"{min(values):.3f}–{max(values):.3f}"
            result[f"{row} | {name}"] = told
        result[f"rho found | {name}"] = f"{min(rows['rho']):.2g}–{max(rows['rho']):.2g}"
    return result


@claim(
    "BT28",
    source="Textbook, section 8.5.2",
    says="The early sampling steps have a very high signal-to-noise ratio and may be skipped.",
    holds=lambda r: r["SNR where sampling starts"] > r["SNR where it ends"],
    verdict=False,
    finding="They have the lowest: 4.3e-05 where sampling starts and 9,095 where it ends. For that very "
    "reason a start at an SNR of 0.001 costs nothing that could be measured, if the data are centred.",
    elsewhere={"0.001": "a ratio"},
    figure="ends",
)
@tried_on(ON_COSINE)
def where_the_signal_is() -> dict:
    """alpha^2 / sigma^2 on VP at its two ends, and the times at which it is 0.001, 1 and 1000."""
    schedule = VP()
    at = lambda ratio: float(schedule.t_of_lam(0.5 * np.log(ratio)))  # noqa: E731
    return {
        "SNR where sampling starts": float(snr(schedule, schedule.start)),
        "SNR where it ends": float(snr(schedule, schedule.end)),
        "time at SNR 0.001": at(1e-3),
        "time at SNR 1": at(1.0),
        "time at SNR 1000": at(1e3),
    }


def start_gap(ratio, std=0.7):
    """The Wasserstein distance between N(0, 1) and what it stands for, x_t of data N(0, std^2) where SNR is
    `ratio` (variance preserving), per coordinate."""
    alpha2 = ratio / (1 + ratio)
    one = np.eye(1)
    return float(
        np.sqrt(gaussian_w2_squared(np.zeros(1), one, np.zeros(1), one * (1 - alpha2 * (1 - std**2))))
    )


def ends() -> tuple:
    """Recorded: excess of the sliced Wasserstein distance over the floor by the SNR at which sampling starts
    and stops: data -> what -> (SNRs, [each seed])."""
    found = {}
    for data, rows in study()["ends"].items():
        found[data] = {"floor": rows["floor"]}
        for what in ("start from noise", "start with mean and covariance", "stop, then jump", "stop"):
            found[data][what] = {ratio: values for ratio, values in rows[what].items()}
    return found


def ends_table() -> dict:
    """Recorded: sliced Wasserstein distance of 4,000 points at ten calls, mean and half the range of eight
    seeds, where sampling starts late or stops early."""
    result = {}
    for data, rows in ends().items():
        result[f"fresh data | {data}"] = interval(rows["floor"], 3)
        for what, by in rows.items():
            for ratio, values in by.items() if what != "floor" else ():
                told = "the whole way" if ratio == "None" else f"SNR {float(ratio):g}"
                result[f"{what}: {told} | {data}"] = interval(values, 3)
    return result


# Compositions


def relay_points() -> tuple:
    """Recorded: name -> (deviations by the median, by the root mean square, sliced distances), each of ten
    seeds; and the true deviation."""
    keys = ("by the median", "mode deviation", "sliced Wasserstein")
    rows = study()["relays"]["24 calls"]
    return {name: tuple(row[key] for key in keys) for name, row in rows.items()}, true_deviation()


def true_deviation(schedule=None, std=0.08) -> float:
    """The deviation of a mode of the ring where sampling ends."""
    schedule = schedule or VP()
    end = schedule.end
    return float(np.sqrt((schedule.alpha(end) * std) ** 2 + schedule.sigma(end) ** 2))


def deviation_of(one, steps=24, std=0.08, grid=grids.uniform_lambda) -> float:
    """The deviation that a sampler gives N(0, std^2), exactly (`exact_variance`)."""
    return exact_variance(one, VP(), grid(VP(), steps), std) ** 0.5


def one_mode() -> dict:
    """The deviation with which one Gaussian of a mode's width comes out, exactly; and the ring's modes'."""
    seen = study()["relays"]["24 calls"]
    ways = {
        "2M": dpmpp_2m,
        "DDPM, then 2M": relay((ddpm, 6), (dpmpp_2m, 18)),
        "mostly DDPM, then 2M": relay((ddpm, 18), (dpmpp_2m, 6)),
        "DDPM": ddpm,
        "2M, then DDPM": relay((dpmpp_2m, 18), (ddpm, 6)),
        "DDIM": ddim,
    }
    result = {}
    for name, one in ways.items():
        result[f"{name} | one Gaussian, exactly"] = deviation_of(one)
        for key, told in (("by the median", "ring, median"), ("mode deviation", "ring, root mean square")):
            result[f"{name} | {told}"] = statistics.mean(seen[name][key])
    return result


@claim(
    "BT29",
    source="Textbook, section 8.5.3",
    says="A few last steps of DDPM refine the sample.",
    holds=lambda r: r["2M, then DDPM, 8 calls | median"] < r["2M, 8 calls | median"] / 4,
    fails=lambda r: r["2M, then DDPM | median"] > r["2M | median"],
    verdict="holds if",
    finding="If the modes come out too wide without them, as at 8 calls: by the median 2M alone misses their "
    "width by 0.019, with DDPM in its last two steps by 0.001. At 24 calls 2M misses by 0.0002 and 18 "
    "steps of it with 6 of DDPM by 0.0102, too narrow (root mean square 0.0021 and 0.0083).",
    figure="relays",
)
def last_steps_of_ddpm() -> dict:
    """By how much the modes' mean deviation misses the true one: at 24 calls, ten seeds, recorded; at 8, by
    the median, eight seeds."""
    rows, keys = study()["relays"]["24 calls"], {"median": "by the median", "rms": "mode deviation"}
    missed = {
        f"{name} | {told}": abs(statistics.mean(rows[name][key]) - true_deviation())
        for name in ("2M", "DDPM", "2M, then DDPM", "DDPM, then 2M")
        for told, key in keys.items()
    }
    for name, one in {"2M": dpmpp_2m, "2M, then DDPM": relay((dpmpp_2m, 6), (ddpm, 2))}.items():
        width = statistics.mean(width_on_the_ring(one, 8, seed) for seed in range(8))
        missed[f"{name}, 8 calls | median"] = abs(width - true_deviation())
    return missed


def width_on_the_ring(one, steps, seed, n=4000, grid=grids.uniform_lambda) -> float:
    """The deviation of the ring's modes, by the median distance of n samples to the nearest, as recorded."""
    noise = initial_noise(n, 2, seed, torch.float64)
    x = sample(one, RING.model(VP()), noise, grid(VP(), steps), draws=seed).x
    return float(torch.cdist(x, RING.means).amin(1).median()) / math.sqrt(2 * math.log(2))


@claim(
    "BS25",
    source="Blog on DDIM, second option",
    says="The noise eta = (t / T)^2 begins deterministically and adds its randomness late.",
    holds=lambda r: r["eta at the last step"] > r["eta at the first step"],
    verdict=False,
    finding="t falls from T to 0, so the noise comes first: eta goes from 1.0 to 0.0007 in 40 steps. There "
    "it does next to nothing: the ring's modes come out at 0.065, without noise at 0.064, with the noise "
    "late at 0.058 and with all of it at 0.056, by the median.",
)
def eta_formula() -> dict:
    """The formula along 40 equal steps of t, and the modes' deviation on the ring, by the median."""
    t = grids.uniform(VP(), 40)[:-1].numpy()
    rows = study()["relays"]["40 calls"]
    result = {"eta at the first step": float(t[0] ** 2), "eta at the last step": float(t[-1] ** 2)}
    for name, row in rows.items():
        result[f"modes' deviation, {name}"] = statistics.mean(row["by the median"])
    return result | {"modes' deviation, true": true_deviation()}


def missed_by_each_step(steps=24, std=0.08) -> dict:
    """By how much the variance is wrong after one step from the exact one, on N(0, std^2), in % of what is
    right: DDIM with several eta on a grid equal in lambda, name -> (steps, %)."""
    schedule = VP()
    times = grids.uniform_lambda(schedule, steps).numpy()
    exact = (schedule.alpha(times) * std) ** 2 + schedule.sigma(times) ** 2
    falling, found = np.linspace(1, 0, steps) ** 2, {}
    for name, etas in {
        "eta = 0 (DDIM)": np.zeros(steps),
        "eta = 1 (DDPM)": np.ones(steps),
        "eta falls": falling,
        "eta rises": falling[::-1],
    }.items():
        wrong = []
        for n, eta in enumerate(etas):
            (a,), (b,), (c,) = ddim_coefficients(schedule, times[n : n + 2], eta)
            after = (a + b * schedule.sigma(times[n]) / exact[n]) ** 2 * exact[n] + c**2  # (8.5)
            wrong.append(100 * (after / exact[n + 1] - 1))
        found[name] = (np.arange(1, steps + 1), np.array(wrong))
    return found


def digits_of_the_frontier(n=10, seed=1) -> dict:
    """The same n noises through samplers of the chart, with labels 0 to 9: name -> images (n, 1, 8, 8)."""
    labels, z = torch.arange(n) % 10, initial_noise(n, (1, 8, 8), seed)
    model, start = teacher().with_label(labels), z * EDM().start
    network = student("consistency")
    flow = MeanVelocity(pretrained("flow-map-meanflow")).with_label(labels)
    solved = lambda one, steps: sample(one, model, start, grids.karras(EDM(), steps), draws=seed).x  # noqa: E731
    return {
        "DDIM (4)": solved(ddim, 4),
        "2M (8)": solved(dpmpp_2m, 8),
        "SDE-2M (20)": solved(sde_dpmpp_2m, 20),
        "consistency (1)": jump(network.with_label(labels), start, 1, draws=seed),
        "consistency (2)": jump(network.with_label(labels), start, 2, draws=seed),
        "MeanFlow (2)": sample(flow_map, flow, z, grids.uniform(Flow(), 2, 1.0, 0.0)).x,
    }


# Steps that follow the sample


@cache
def moons() -> Mixture:
    """Two moons as 512 Gaussians along their curves."""
    return Mixture(np.ones(512), np.asarray(two_moons(512, 0, noise=0.0)), np.full(512, 0.07))


def where_steps_go(n=400, tol=0.03, seed=0) -> dict:
    """On the two moons: exact ends (n, 2), the calls that each sample chose, its difficulty at ten calls, and
    the errors that its own steps and 2M at ten calls make."""
    model, x, log = moons().model(VP()), initial_noise(n, 2, seed, torch.float64), []
    exact = reference(model, x, 1.0, VP().end, 1e-8)
    own = sample(adaptive_per_sample, model, x, [1.0, VP().end], tol=tol, log=log).x
    times = grids.uniform_lambda(VP(), 10)
    return {
        "ends": exact.numpy(),
        "calls": calls_of(log, n),
        "difficulty": difficulty(model, x, times),
        "own": (own - exact).norm(dim=1).numpy(),
        "fixed": (sample(dpmpp_2m, model, x, times).x - exact).norm(dim=1).numpy(),
    }


def _mean(rows, *keys):
    for key in keys:
        rows = [row[key] for row in rows]
    return statistics.mean(rows)


def adaptive_table(tol="0.03") -> dict:
    """Recorded: root mean square (median) error to the exact end, means of eight batches of 400, and calls a
    sample."""
    result = {}
    for data, by in study()["adaptive"]["steps"].items():
        for name in by[tol][0]:
            rows = by[tol]
            told = f"{_mean(rows, name, 'rms'):.3f} ({_mean(rows, name, 'median'):.3f})"
            result[f"{name} | {data}"] = f"{told}, {_mean(rows, name, 'calls'):.0f}"
    return result


def adaptive_curves() -> dict:
    """Recorded: error against mean calls: data -> sampler -> (calls, RMSE)."""
    found = {}
    for data, by in study()["adaptive"]["steps"].items():
        names = [*by["0.03"][0]]
        found[data] = {
            name: tuple([_mean(rows, name, key) for rows in by.values()] for key in ("calls", "rms"))
            for name in names
        }
    return found


def difficulty_table() -> dict:
    """Recorded: the rank correlation of the index with a sample's true error, and root mean square errors of
    2M at ten calls a sample, divided equally, by the index and by the true error; means of eight batches."""
    result = {}
    for data, rows in study()["adaptive"]["difficulty"].items():
        for key in ("correlation, DDIM", "correlation, 2M", "correlation, iPNDM", "most to gain"):
            result[f"{data} | {key}"] = round(_mean(rows, key), 2)
        for key, told in (("fixed", "equal"), ("by the index",) * 2, ("by the true error",) * 2):
            result[f"{data} | {told}"] = round(_mean(rows, key, "rms"), 3)
    return result


@claim(
    "T56",
    source="Textbook, closing exercise, part 2",
    says="Steps spent where a sample is difficult give a smaller error at equal mean calls.",
    holds=lambda r: all(value < 1 for name, value in r.items() if "rule" in name),
    fails=lambda r: all(value > 1 for name, value in r.items() if "rule" in name),
    verdict=False,
    finding="At equal mean calls, 6 to 15, the samples' own steps have 1.2 to 3.9 times the error of the "
    "same rule on a fixed grid. On the digits it is where the tolerance puts the steps that costs: over "
    "the mean of their own grids the factor is 1.00 to 1.17.",
    figure="adaptive",
)
@claim(
    "P24",
    source="Textbook, listing 8.1",
    says="An adaptive sampler, repaired, needs fewer calls than a fixed grid for one error.",
    holds=lambda r: all(value < 1 for name, value in r.items() if "rule" in name),
    fails=lambda r: all(value > 1 for name, value in r.items() if "rule" in name),
    verdict=False,
    finding="On ring, swiss roll, two moons and digits its own rule on a fixed grid has less error at as "
    "many calls, 6 to 15. Over 2M it has 1.6 to 4.8 times the error at ten calls; at six it passes 2M on "
    "the ring (0.65) and is about level with it on the digits (0.91).",
    figure="adaptive",
)
def own_steps() -> dict:
    """The error of steps that each sample chooses, over that of a fixed grid at equal mean calls: the same
    rule on a grid equal in lambda (digits: Karras), on the mean of the samples' own grids, and 2M; tolerances
    0.1, 0.03 and 0.01, means of eight batches."""
    result = {}
    for data, by in study()["adaptive"]["steps"].items():
        for rows in by.values():
            row = f"{data}, {_mean(rows, 'own steps', 'calls'):.0f} calls"
            for key, told in (
                ("fixed, same rule", "same rule"),
                ("the mean of the own grids", "the mean of their grids"),
                ("fixed, 2M", "2M"),
            ):
                result[f"{row} | {told}"] = _mean(rows, "own steps", "rms") / _mean(rows, key, "rms")
    return result


@claim(
    "T55",
    source="Textbook, closing exercise, part 1",
    says="The disagreement of two orders tells which samples will be wrong.",
    holds=lambda r: min(value for name, value in r.items() if "moons" in name) > 0.3,
    fails=lambda r: max(value for name, value in r.items() if "digits" in name) < 0.3,
    verdict="holds if",
    finding="If the data are the two moons: rank correlations with the true errors of three samplers are "
    "0.41 to 0.55. On the digits they are 0.10 to 0.21, on the swiss roll 0.05 to 0.51, and on the ring "
    "-0.57 for 2M.",
    figure="where",
)
def how_well_it_tells() -> dict:
    """Rank correlation of the index with the true errors at ten calls, means of eight batches."""
    rows = study()["adaptive"]["difficulty"]
    return {
        f"{data}, {name}": _mean(found, f"correlation, {name}") for data, found in rows.items()
        for name in ("DDIM", "2M", "iPNDM")
    }  # fmt: skip


LISTED = VP()


@claim(
    "BP27",
    source="Textbook, listing 8.1",
    says="The adaptive sampler, as it is listed, runs.",
    holds=lambda r: r["the root's argument at t = 0.99"] >= 0,
    verdict=False,
    finding="It takes 1 - beta(t) for the squared signal, and beta goes up to 20: at t = 0.99 the root is of "
    "-18.8. The listing gives no number above t = 0.045, where beta passes 1.",
    elsewhere={"0.99": "a time"},
)
@tried_on({"a rate of up to 10": {"LISTED": VP(beta_max=10.0)}})
def as_listed() -> dict:
    """1 - beta(t), which the listing takes for alpha^2, and the time from which it is negative."""
    schedule = LISTED
    times = np.linspace(0, 1, 100_001)
    negative = times[1 - schedule.beta(times) < 0]
    return {
        "the root's argument at t = 0.99": 1 - float(schedule.beta(0.99)),
        "negative from t": float(negative.min()),
        "alpha^2 at t = 0.99": float(schedule.alpha(0.99) ** 2),
        "the root's argument at t = 0": 1 - float(schedule.beta(0.0)),
    }


# --- conditions -----------------------------------------------------------------------------------------

DOUBLE = {"dtype": torch.float64}
VPS = VP()
LINE = Mixture(
    [0.5, 0.5], [[-1.0], [1.0]], [0.5, 0.5]
)  # two classes on a line; the condition is the right one
LINE_MODEL = LINE.model(VPS)
SCALES = (1, 2, 4, 8)
WHERE = torch.linspace(-4, 5, 901, **DOUBLE)[:, None]  # a grid that holds all but 1e-8 of LINE


def spread_noise(n=800):
    """n points (n, 1) that stand for N(0, 1): its quantiles at (i + 1/2) / n."""
    return torch.special.ndtri((torch.arange(n, **DOUBLE) + 0.5) / n)[:, None]


def told(x):
    """Mean and deviation of x (n, 1) or (n,), floats."""
    return float(x.mean()), float(x.std(unbiased=False))


def pushed(model, n=800, steps=60):
    """Where the probability flow of `model` carries the quantiles of the noise, (n, 1): on a line no two
    trajectories cross, so that these are the quantiles of its samples, without any luck."""
    return sample(heun, model, spread_noise(n), grids.uniform_lambda(VPS, steps)).x


def tilted_moments(scale, label=1):
    """Mean and deviation of p(x) p(label | x)^scale on LINE, by quadrature."""
    weight = torch.softmax(tilted(LINE, label, scale, WHERE), 0)
    mean = float(weight @ WHERE[:, 0])
    return mean, float(weight @ (WHERE[:, 0] - mean) ** 2) ** 0.5


# Classifiers


def clean_log_prob(x, t):
    """log p(right | x) of LINE's data, asked at a state as if it were data: (B,)."""
    return torch.nn.functional.logsigmoid(8 * x[:, 0])


def guided_by(name, scale=1.0):
    """LINE's model, unconditional, guided to the right by one of three classifiers."""
    return ClassifierGuided(LINE_MODEL, GUIDES[name], scale)


GUIDES = {
    "knows the noise": class_log_prob(LINE_MODEL, 1),
    "clean, at the state": clean_log_prob,
    "clean, at the estimate": lambda x, t: clean_log_prob(LINE_MODEL.x0(x, t), t),
}


COSINE_LINE = LINE.model(VPCosine())
ON_COSINE_LINE = {
    "the cosine schedule": {
        "VPS": COSINE_LINE.schedule,
        "LINE_MODEL": COSINE_LINE,
        "GUIDES": GUIDES | {"knows the noise": class_log_prob(COSINE_LINE, 1)},
    }
}


def classifier_curves(levels=(0.1, 0.7, 3.0), points=201):
    """The chance of the right class at x_t / alpha, by the level: what a classifier that knows the noise
    says, and what one of clean data says at the state and at the estimate: level -> label -> (x, chance)."""
    x, curves = torch.linspace(-3, 3, points, **DOUBLE)[:, None], {}
    for level in levels:
        t = float(VPS.t_of_lam(-math.log(level)))
        state = VPS.alpha(t) * x
        curves[level] = {
            name: (x[:, 0].numpy(), said(state if "state" not in name else x, t).exp().detach().numpy())
            for name, said in GUIDES.items()
        }
    return curves


@claim(
    "BS35, S32",
    source="Survey of samplers, section 4.7",
    says="A classifier of clean pictures, such as one that goes by text, can guide.",
    holds=lambda r: all(r[f"{name} | right of 0, %"] > 97 for name in GUIDES),
    fails=lambda r: all(
        abs(r[f"{name} | deviation"] - r["the class itself | deviation"]) > 0.15 for name in list(GUIDES)[1:]
    ),
    verdict="holds if",
    finding="If only the class counts: all of its samples fall into it. They are not samples of the class: a "
    "deviation of 0.22 asked at the state and of 0.30 at the estimate, where the class has 0.50, as has what "
    "a classifier that knows the noise guides.",
    figure="classifiers",
)
@tried_on(ON_COSINE_LINE)
def three_classifiers() -> dict:
    """Mean, deviation and share of the wanted class of guided samples at scale 1, where the right answer is
    the class itself, N(1, 1/4), of which 2.3 % lie on the other side of 0."""
    found = {name: pushed(guided_by(name)) for name in GUIDES}
    found["the class itself"] = pushed(LINE_MODEL.with_label(1))
    result = {}
    for name, x in found.items():
        result[f"{name} | mean"], result[f"{name} | deviation"] = told(x)
        result[f"{name} | right of 0, %"] = 100.0 * float((x > 0).double().mean())
    return result


def conditions_study(part):
    """A part of the recorded study of conditions: name -> a row for each seed."""
    return recorded("conditions")[part]


def mean_of(rows, key):
    """The mean of a figure over seeds."""
    return sum(row[key] for row in rows) / len(rows)


GUIDE_ORDER = ("no condition", *list(GUIDES)[1:], "knows the noise", "labels in the network")
FILL_ORDER = ("replacement", "RePaint", "estimate", "DPS", "the digits")


def _place(order, name):
    """The place in `order` of the first entry that `name` begins with."""
    return next(i for i, head in enumerate(order) if name.startswith(head))


def guided_digits() -> dict:
    """Digits guided by three classifiers, and by the network's own labels: what their nearest real digit is,
    in %, and the Fréchet distance; 500 digits, means of three seeds."""
    result, found = {}, conditions_study("guides")
    for name in sorted(found, key=lambda name: (_place(GUIDE_ORDER, name), float(name.split(" | ")[1]))):
        (method, scale), rows = name.split(" | "), found[name]
        label = method if scale == "0" else f"{method}, w = {scale}"
        result[f"{label} | label, %"] = round(100 * mean_of(rows, "read"))
        result[f"{label} | FD"] = f"{mean_of(rows, 'FD'):.2g}"
    return result


# Guidance without a classifier


@claim(
    "S33, BS36",
    source="Survey of samplers, section 4.7",
    says="Guidance without a classifier needs two models, and twice the memory.",
    holds=lambda r: r["weights: two networks, guided"] == r["weights: one network, guided"],
    verdict=False,
    finding="One network does both. The word for no label is 96 of its 364,576 numbers; what doubles is the "
    "calls, 60 for 30.",
)
def one_network() -> dict:
    """Numbers that a guided run of the digits needs, with one network that knows no label too, and with a
    second one for that; and its calls."""
    net = pretrained("digits")
    size = sum(weights.numel() for weights in net.parameters())
    model, times = digits_model(EDM()), grids.karras(EDM(), 30)
    noise = float(times[0]) * initial_noise(2, (1, 8, 8), 0)
    calls = lambda one: sample(ddim, one, noise, times).nfe
    return {
        "weights: one network, guided": size,
        "weights: the word for no label": net.conditioning.classes.weight.shape[1],
        "weights: two networks, guided": 2 * size,
        "calls: with the label": calls(model.with_label(3)),
        "calls: guided": calls(Guided(model, 3, 2.0)),
    }


def dropped_labels() -> dict:
    """Root mean square error of a network's noise on a ring of four classes, by the share of labels that its
    training dropped: mean ± half the range of four trainings."""
    return {
        f"{float(share):.0%} dropped | {key}": _spread(rows, key)
        for share, rows in conditions_study("dropout").items()
        for key in ("label", "no label", "guided, w = 3")
    }


def _spread(rows, key, places=3, scale=1):
    found = [scale * row[key] for row in rows]
    return f"{sum(found) / len(found):.{places}f} ± {(max(found) - min(found)) / 2:.{places}f}"


# What guided samples are


def right_term(scale):
    """LINE's model with the term that does sample p(x) p(right | x)^scale: the slope of
    log E[p(right | x_0)^scale | x_t], the mean by quadrature."""

    def log_mean(x, t):
        alpha, sigma = VPS.alpha(float(t)), VPS.sigma(float(t))
        off = (x - alpha * WHERE[:, 0]) / sigma
        return torch.logsumexp(tilted(LINE, 1, scale, WHERE) - off**2 / 2, 1) - LINE_MODEL.log_prob(x, t)

    return ClassifierGuided(LINE_MODEL, log_mean)


@claim(
    "C34",
    source="Survey of samplers, section 4.7",
    says="Guidance sharpens: the larger the scale, the narrower the samples.",
    holds=lambda r: all(
        r[f"w = {b} | flow, deviation"] < r[f"w = {a} | flow, deviation"] - 0.02 for a, b in pairwise(SCALES)
    ),
    verdict=True,
    finding="On two Gaussians on a line the deviation of the flow's samples falls from 0.50 to 0.36, 0.29 "
    "and 0.25 at w = 2, 4 and 8, and their mean goes from 1.0 to 2.1, away from the other class.",
    figure="guided-densities",
)
@claim(
    "BS36, density",
    source="Folklore, on what guidance samples",
    says="Guidance at scale w samples p(x) p(c | x)^w.",
    holds=lambda r: abs(r["w = 1 | flow, deviation"] - r["w = 1 | tilted, deviation"]) < 0.01,
    fails=lambda r: (
        abs(r["w = 4 | flow, mean"] - r["w = 4 | tilted, mean"]) > 0.5
        and abs(r["w = 4 | with noise, mean"] - r["w = 4 | tilted, mean"]) > 0.1
    ),
    verdict="holds if",
    finding="If w = 1. At w = 4 the flow's samples have mean 1.67 and deviation 0.29, the tilted density "
    "1.06 and 0.45; DDPM's, from the same guided score, 1.28 and 0.42.",
    figure="guided-densities",
)
@tried_on(ON_COSINE_LINE)
def guided_moments() -> dict:
    """Mean and deviation of guided samples on LINE by the flow, where no luck is, and by DDPM in 200 steps,
    on 4,000 noises, beside the tilted density by quadrature."""
    result = {}
    for w in SCALES:
        noisy = sample(
            ddim, Guided(LINE_MODEL, 1, w), spread_noise(4000), grids.uniform_lambda(VPS, 200), eta=1.0
        ).x
        rows = {
            "flow": told(pushed(Guided(LINE_MODEL, 1, w))),
            "with noise": told(noisy),
            "tilted": tilted_moments(w),
        }
        for name, (mean, deviation) in rows.items():
            result[f"w = {w} | {name}, mean"], result[f"w = {w} | {name}, deviation"] = mean, deviation
    return result


def right_guidance() -> dict:
    """The same flow with the right term at w = 4."""
    mean, deviation = told(pushed(right_term(4), 100, 40))
    wanted = tilted_moments(4)
    return {
        "the right term | mean": mean,
        "the right term | deviation": deviation,
        "the tilted density | mean": wanted[0],
        "the tilted density | deviation": wanted[1],
    }


def density_of(x):
    """(where, density) of a line's samples from their quantiles x (n, 1): the mass between two over their
    distance."""
    x = x[:, 0].sort().values
    return ((x[1:] + x[:-1]) / 2).numpy(), (1 / len(x) / x.diff()).numpy()


def tilted_curve(scale):
    """(where, density) of the tilted density on LINE."""
    weight = torch.softmax(tilted(LINE, 1, scale, WHERE), 0) / float(WHERE[1, 0] - WHERE[0, 0])
    return WHERE[:, 0].numpy(), weight.numpy()


def guided_densities(scales=(1, 2, 4)):
    """scale -> label -> (where, density): guided samples of the flow and of DDPM (smoothed a little), and the
    tilted density."""
    found = {}
    for w in scales:
        noisy = sample(
            ddim, Guided(LINE_MODEL, 1, w), spread_noise(8000), grids.uniform_lambda(VPS, 100), eta=1.0
        ).x
        kernel = Mixture.empirical(noisy)
        found[w] = {
            "tilted": tilted_curve(w),
            "flow, guided": density_of(pushed(Guided(LINE_MODEL, 1, w), 1000)),
            "DDPM, guided": (
                WHERE[::5, 0].numpy(),
                kernel.log_prob(WHERE[::5], sigma=0.08).exp().numpy(),
            ),
        }
    return found


# Guidance on some levels


def between_state(scale=4.0, low=0.0, high=20.0):
    """For the widget: the guided samples of LINE's flow with guidance on low < kappa <= high, beside the
    tilted density and the class itself; with means, deviations and calls.  high = 20 is no end."""
    high = max(high, low)
    end = high if high < 20 else math.inf
    run = sample(
        heun, GuidedBetween(LINE_MODEL, 1, scale, low, end), spread_noise(400), grids.uniform_lambda(VPS, 40)
    )
    return {
        "scale": scale,
        "levels": (low, high),
        "curves": {
            "the class": tilted_curve(1.0),
            "tilted": tilted_curve(scale),
            "guided": density_of(run.x),
        },
        "moments": {"guided": told(run.x), "tilted": tilted_moments(scale), "the class": (1.0, 0.5)},
        "calls": run.nfe,
    }


def scale_curves():
    """Fréchet distance of digits with labels against the scale, by the levels on which it acts: label ->
    (scales, lists of the seeds'); and that of as many real digits."""
    found = {}
    for name, rows in conditions_study("scales").items():
        if name != "floor":
            levels, scale = name.split(" | ")
            found.setdefault(levels, []).append((float(scale), [row["FD"] for row in rows]))
    plain = next(row for row in found["all levels"] if row[0] == 1)
    for levels, rows in found.items():
        found[levels] = tuple(zip(*sorted(rows if plain in rows else [plain, *rows])))
    floor = conditions_study("scales")["floor"]
    return found, sum(floor) / len(floor)


@claim(
    "G1",
    source="Kynkäänniemi et al. 2024, on where guidance is needed",
    says="Guidance belongs on levels in the middle.",
    holds=lambda r: all(r[f"w = {w} | seeds in which the middle is ahead"] == 8 for w in (2, 3, 5)),
    fails=lambda r: r["w = 1 | all levels"] < r["w = 2 | below 1"] / 2 < r["w = 2 | the middle"] / 2,
    verdict="holds if",
    finding="If the scale is given: from 0.3 to 3 it takes 37 calls for 60, and in all eight seeds the "
    "distance is smaller, 1.7 for 2.6 at w = 2. On these digits levels below 1 alone do less harm, 0.8, "
    "and no guidance is best, 0.16: their network needs none.",
    elsewhere={"0.3": "a level"},
)
def middle_levels() -> dict:
    """Fréchet distance of 1,000 digits, means of eight seeds, and calls: guidance on all levels, on 0.3 <
    kappa <= 3, and below 1."""
    found = conditions_study("scales")
    result = {"w = 1 | all levels": mean_of(found["all levels | 1"], "FD")}
    for w in (2, 3, 5):
        whole, middle = found[f"all levels | {w}"], found[f"0.3 to 3 | {w}"]
        result[f"w = {w} | all levels"] = mean_of(whole, "FD")
        result[f"w = {w} | the middle"] = mean_of(middle, "FD")
        result[f"w = {w} | below 1"] = mean_of(found[f"below 1 | {w}"], "FD")
        result[f"w = {w} | seeds in which the middle is ahead"] = sum(
            b["FD"] < a["FD"] for a, b in zip(whole, middle)
        )
        result[f"w = {w} | calls, all levels"] = whole[0]["calls"]
        result[f"w = {w} | calls, the middle"] = middle[0]["calls"]
    return result


# What is known of a picture: a pair of pixels, known exactly

PAIR = Mixture([1.0], [[0.0, 0.0]], covariances=[[[0.09, 0.081], [0.081, 0.09]]])  # correlation 0.9
PEAKS = Mixture([0.5, 0.5], [[-0.4, -1.0], [0.4, 1.0]], [0.3, 0.3])
GIVEN = {"pair": torch.tensor([0.5, 0.0]), "peaks": torch.tensor([0.15, 0.0])}
MASK = torch.tensor([True, False])
DATA = {"pair": PAIR, "peaks": PEAKS}
WEAKER = Mixture([1.0], [[0.0, 0.0]], covariances=[[[0.09, 0.045], [0.045, 0.09]]])
ON_WEAKER_PAIR = {"correlation 0.5": {"PAIR": WEAKER, "DATA": DATA | {"pair": WEAKER}}}
FILLED = 100  # steps


def fill(way, on="pair", n=2000, steps=FILLED, seed=0):
    """Samples (n, 2) float64 of two pixels of which the first is known, and the calls: by a name of WAYS."""
    solver, wrap, options = WAYS[way]
    model, known = DATA[on].model(VPS), GIVEN[on]
    told_of = {"known": known, "level": MASK} if solver is inpaint else {}
    told_of = {"known": known, "mask": MASK} if solver is dps else told_of
    model = Reconstructed(model, known, MASK, **wrap) if wrap is not None else model
    noise, times = initial_noise(n, 2, seed, **DOUBLE), grids.uniform_lambda(VPS, steps)
    run = sample(solver, model, noise, times, draws=seed + 1, **told_of, **options)
    return run.x, run.nfe


WAYS = {  # sampler, options of `Reconstructed` or None, options of the sampler
    "replacement": (inpaint, None, {}),
    "RePaint, 5 times": (inpaint, None, {"repeats": 5}),
    "RePaint, 20 times": (inpaint, None, {"repeats": 20}),
    "estimate, r = κ": (ddim, {}, {}),
    "estimate, r of one pixel": (ddim, {"std": 0.3}, {}),
    "estimate, r of the model": (ddim, {"std": "model"}, {}),
    "DPS, ζ = 0.1": (dps, None, {"zeta": 0.1}),
    "DPS, ζ = 1": (dps, None, {"zeta": 1.0}),
}
PUT_BACK, ESTIMATES = list(WAYS)[:3], list(WAYS)[3:]


def filled_moments(ways, on="pair", n=4000, steps=FILLED):
    """Mean and deviation of the unknown pixel, of the known one the root mean square miss, and the calls, by
    the way; and of the exact posterior."""
    exact = conditioned(DATA[on], GIVEN[on], MASK)
    result = {}
    for way in ways:
        x, calls = fill(way, on, n, steps)
        result[f"{way} | calls"] = calls
        result[f"{way} | known, off by"] = rms(x[:, 0] - GIVEN[on][0])
        result[f"{way} | mean"], result[f"{way} | deviation"] = told(x[:, 1])
    result["exact | mean"] = float(exact.mean()[1])
    result["exact | deviation"] = float(exact.covariance()[1, 1]) ** 0.5
    return result


@claim(
    "C35, P26",
    source="Practical guide, section 9.1",
    says="Known pixels put back at every step fill a hole.",
    holds=lambda r: abs(r["RePaint, 20 times | mean"] - r["exact | mean"]) < 0.02,
    fails=lambda r: abs(r["replacement | mean"] - r["exact | mean"]) > 0.1,
    verdict="holds if",
    finding="If steps are repeated. One pass has mean 0.30 and deviation 0.16 where 0.45 and 0.13 are right; "
    "five times as many calls bring the mean to 0.42, twenty times to 0.44.",
    figure="filled",
)
@tried_on(ON_COSINE_LINE | ON_WEAKER_PAIR)
def put_back() -> dict:
    """Two pixels of deviation 0.3 and correlation 0.9, the first known to be 0.5: what the second gets by
    replacement and by RePaint, 100 steps."""
    return filled_moments(PUT_BACK)


def by_estimate() -> dict:
    """The same by the x0 estimate and by DPS, 100 steps."""
    return filled_moments(ESTIMATES)


def step_lengths() -> dict:
    """DPS with zeta = 0.1 by the number of steps: how far the known pixel is off, and the mean and deviation
    of the other."""
    result = {}
    for steps in (25, 100, 400):
        x, _ = fill("DPS, ζ = 0.1", n=2000, steps=steps)
        result[f"{steps} steps | known, off by"] = rms(x[:, 0] - 0.5)
        result[f"{steps} steps | mean"], result[f"{steps} steps | deviation"] = told(x[:, 1])
    return result


# The listing


def inpainted_as_listed(steps, n=4000, T=1000, seed=0):
    """The listing's loop on the pair: every k-th of a table's T levels with the step of one level, and known
    pixels at the level that the step has just left."""
    schedule = Discrete.linear(T)
    betas = schedule.betas
    model, generator = PAIR.model(schedule), torch.Generator().manual_seed(seed)
    normal = lambda: torch.randn(n, 2, generator=generator, **DOUBLE)
    x = normal()
    for i in reversed(range(0, T, T // steps)):
        t = (i + 1) / T
        mean = (x - betas[i] / schedule.sigma(t) * model.eps(x, t)) / math.sqrt(1 - betas[i])
        x = mean + (math.sqrt(betas[i]) * normal() if i else 0)
        noisy = schedule.alpha(t) * GIVEN["pair"] + schedule.sigma(t) * normal()
        x = torch.where(MASK, noisy, x)
    return x


@claim(
    "BP29",
    source="Practical guide, section 9.1, the listing",
    says="The listing fills a hole in a hundred steps of a thousand.",
    holds=lambda r: abs(r["100 of 1000 | mean"] - r["exact | mean"]) < 0.05,
    verdict=False,
    finding="With 100 of its 1,000 levels the second pixel has mean 0.05 and deviation 0.73, where 0.45 and "
    "0.13 are right: each step removes the noise of one level and not of ten. With all 1,000 it is what one "
    "pass of replacement is, 0.32 and 0.17.",
)
@tried_on(ON_WEAKER_PAIR)
def listed() -> dict:
    """The second pixel by the listing's loop, with 100 and with 1,000 of a table's 1,000 levels."""
    result = {}
    for steps in (100, 1000):
        mean, deviation = told(inpainted_as_listed(steps)[:, 1])
        result[f"{steps} of 1000 | mean"], result[f"{steps} of 1000 | deviation"] = mean, deviation
    exact = conditioned(PAIR, GIVEN["pair"], MASK)
    result["exact | mean"] = float(exact.mean()[1])
    result["exact | deviation"] = float(exact.covariance()[1, 1]) ** 0.5
    return result


# Two peaks: the posterior has two sides


def filled_densities(ways=("replacement", "RePaint, 20 times", "estimate, r of one pixel"), n=2000):
    """(label -> the unknown pixel's samples (n,), the exact posterior as (where, density)) on two peaks."""
    where = torch.linspace(-2.2, 2.2, 400, **DOUBLE)
    exact = conditioned(PEAKS, GIVEN["peaks"], MASK)
    line = Mixture(exact.weights, exact.means[:, 1:], covariances=exact.covariances[:, 1:, 1:])
    samples = {way: fill(way, "peaks", n)[0][:, 1].numpy() for way in ways}
    return samples, (where.numpy(), line.log_prob(where[:, None]).exp().numpy())


def upper_share(ways=tuple(WAYS), n=4000) -> dict:
    """Share of samples on the upper peak, in %, and what is right."""
    exact = conditioned(PEAKS, GIVEN["peaks"], MASK)
    result = {way: 100 * float((fill(way, "peaks", n)[0][:, 1] > 0).double().mean()) for way in ways}
    return result | {"exact": 100 * float(exact.weights[1])}


# Digits


def half_digits(n=8, steps=20):
    """Large digits of the test split of which the upper half is known, and what fills the lower: row ->
    (n, 1, 28, 28)."""
    images = digits("test", side=28)[0][60::120][:n]
    mask = torch.zeros(1, 28, 28, dtype=torch.bool)
    mask[:, :14] = True
    model, times = digits_model(EDM(), name="large-digits"), grids.karras(EDM(), steps)
    noise = float(times[0]) * initial_noise(n, (1, 28, 28), 0)
    told_of = {"known": images, "level": mask}
    estimate = lambda **options: Reconstructed(model, images, mask, **options)
    rows = {"digit": images, "known": torch.where(mask, images, -1.0)}
    rows["replacement"] = sample(inpaint, model, noise, times, **told_of).x
    rows["RePaint, 5 times"] = sample(inpaint, model, noise, times, repeats=5, **told_of).x
    rows["estimate, r = κ"] = sample(ddim, estimate(), noise, times, eta=1.0).x
    rows["estimate, model's r"] = sample(ddim, estimate(std="model"), noise, times, eta=1.0).x
    return {name: x.clamp(-1, 1) for name, x in rows.items()}


def half_counts() -> dict:
    """Small digits whose upper half is known, 360 of the test split, 30 steps, three seeds: what the whole is
    read as, in %; how far both halves are off; calls."""
    result, found = {}, conditions_study("inpainting")
    for name in sorted(found, key=lambda name: (_place(FILL_ORDER, name), mean_of(found[name], "read"))):
        rows = found[name]
        result[f"{name} | calls"] = rows[0]["calls"]
        result[f"{name} | read right, %"] = (
            _spread(rows, "read", 0, 100) if len(rows) > 1 else f"{rows[0]['read']:.0%}"[:-1]
        )
        result[f"{name} | known, off by"] = f"{mean_of(rows, 'known off'):.2g}"
        result[f"{name} | filled, off by"] = f"{mean_of(rows, 'filled off'):.2f}"
    return result


# Noise by region


@claim(
    "S37, regions",
    source="Survey of samplers, section 5.2",
    says="Parts of a picture can be controlled by noise of another level in each.",
    holds=lambda r: all(
        abs(r[f"level {level} | held, mean"] - r[f"level {level}, exact | held, mean"]) < 0.06
        for level in (0.1, 0.3, 1)
    ),
    fails=lambda r: (
        abs(r["level 0.1 | mean"] - r["level 0.1, exact | mean"]) > 0.08
        and abs(r["level 0.3, 5 times | held, mean"] - r["level 0.3, exact | held, mean"]) > 0.15
        and abs(r["level 0.03, 5 times | mean"] - r["level 0.03, exact | mean"]) < 0.05
    ),
    verdict="holds if",
    finding="If it is the held pixel that counts, or the level is low and steps are repeated. Held down to "
    "level 0.1, 0.3 or 1 it keeps 0.41, 0.22 and 0.04 of its 0.5; an observation with that noise would leave "
    "0.45, 0.25 and 0.04. Its neighbour hears too little at a low level, 0.29 for 0.41 at 0.1. Steps made "
    "five times mend that at 0.03, 0.42 for 0.45, and at 0.3 make both forget, 0.05 for 0.25.",
    elsewhere={"0.03": "a level", "0.1": "a level", "0.3": "a level", "0.5": "what is known"},
    figure="regions",
)
@tried_on(ON_COSINE_LINE | ON_WEAKER_PAIR | {"200 steps": {"FILLED": 200}})
def region_noise() -> dict:
    """Two pixels of deviation 0.3 and correlation 0.9, the first held to 0.5 down to a level and then free,
    in 100 steps: means and deviations of both, and the exact ones of a pixel observed as 0.5 with that noise.
    At two levels also with the steps made five times.
    """
    result = {}
    model, times = PAIR.model(VPS), grids.uniform_lambda(VPS, FILLED)
    noise = initial_noise(4000, 2, 0, **DOUBLE)
    for level, repeats in ((0.0, 1), (0.03, 1), (0.1, 1), (0.3, 1), (1.0, 1), (0.03, 5), (0.3, 5)):
        limits = torch.tensor([level, math.inf])
        held = {"known": GIVEN["pair"], "level": limits, "repeats": repeats}
        run = sample(inpaint, model, noise, times, draws=1, **held)
        exact = conditioned(PAIR, GIVEN["pair"], limits)
        gain = PAIR.covariances[0, :, 0] / (PAIR.covariances[0, 0, 0] + level**2)
        wide = (
            exact.covariances[0].diagonal() + (gain * level) ** 2
        ).sqrt()  # and the observation's own noise
        name = f"level {level:g}" + (f", {repeats} times" if repeats > 1 else "")
        rows = {name: (run.x.mean(0), run.x.std(0)), f"level {level:g}, exact": (exact.means[0], wide)}
        for label, (mean, deviation) in rows.items():
            for pixel, i in (("held, ", 0), ("", 1)):
                result[f"{label} | {pixel}mean"] = float(mean[i])
                result[f"{label} | {pixel}deviation"] = round(float(deviation[i]), 4)
    return result


def region_digits(n=8, steps=40):
    """Large digits redrawn with noise of another level in each half: row -> (n, 1, 28, 28)."""
    images = digits("test", side=28)[0][50::110][:n]
    model, times = digits_model(EDM(), name="large-digits"), grids.karras(EDM(), steps)
    noise = float(times[0]) * initial_noise(n, (1, 28, 28), 3)
    rows = {"digit": images}
    for upper, lower in ((0.2, 0.2), (0.2, 1.0), (1.0, 0.2), (0.0, 3.0)):
        level = torch.full((1, 28, 28), upper)
        level[:, 14:] = lower
        run = sample(inpaint, model, noise, times, known=images, level=level)
        rows[f"levels {upper:g}, {lower:g}"] = run.x.clamp(-1, 1)
    return rows


# Words

WORDS = ["near", "far", "north", "south", "east", "west"]
HELD_OUT = "far north east"


def _places():
    """Text of all its words -> centre: two radii, eight directions."""
    found = {}
    for i, way in enumerate(
        ("east", "north east", "north", "north west", "west", "south west", "south", "south east")
    ):
        for reach, radius in (("near", 0.7), ("far", 1.6)):
            angle = math.pi / 4 * i
            found[f"{reach} {way}"] = (radius * math.cos(angle), radius * math.sin(angle))
    return found


PLACES = _places()
PLACE_STD = 0.12


class WordConditioning(Conditioning):
    """(c, words) -> (B, width): the vectors of the words (B, L) added up; 0 is no word, and its vector 0."""

    def __init__(self, width, n_words, waves=32):
        super().__init__(width, n_words, waves)
        self.classes = nn.Embedding(n_words + 1, width, padding_idx=0)

    def rows(self, c, words):
        """As `networks.Conditioning.rows`, a vector a sample."""
        vectors = self.classes(words).sum(1)
        return nn.functional.silu(self.level(self._waves(c)) + vectors), None


class TextMLP(MLP):
    """An MLP told words: net(x, c, words), words (B, L) of `tokens` in any order; None says nothing."""

    make_conditioning = WordConditioning

    def condition(self, x, c, label):
        """The conditioning's table, with no word where label is None."""
        words = torch.zeros(len(x), 1, dtype=torch.int64) if label is None else label
        return self.conditioning.rows(c, words)


def tokens(texts, words=3):
    """Texts as whole numbers (n, words): 1 + each word's place in WORDS, and 0, no word."""
    rows = [[1 + WORDS.index(word) for word in text.split()] for text in texts]
    return torch.tensor([row + [0] * (words - len(row)) for row in rows])


def captioned(n, generator, all_places=False):
    """n points (n, 2) and their whole texts as tokens (n, 3): places drawn alike often, HELD_OUT left out
    unless all_places."""
    names = [name for name in PLACES if all_places or name != HELD_OUT]
    which = torch.randint(len(names), (n,), generator=generator)
    centres = torch.tensor([PLACES[name] for name in names])
    return centres[which] + PLACE_STD * torch.randn(n, 2, generator=generator), tokens(names)[which]


@cache
def text_network(steps=1200, dropped=0.2, whole=0.1, seed=0):
    """A TextMLP trained on captioned points: each word is dropped with a chance of `dropped`, and the whole
    text with one of `whole`."""
    torch.manual_seed(seed)
    net = TextMLP(shape=(2,), n_classes=len(WORDS), width=64, blocks=3)
    model = Network(net, VPS, predicts="v")

    def loss_of(generator):
        x0, words = captioned(256, generator)
        kept = torch.rand(words.shape, generator=generator) >= dropped
        kept &= torch.rand(len(words), 1, generator=generator) >= whole
        t = draw_times("uniform", VPS, 256, generator)
        return loss(model.with_label(words * kept), x0, torch.randn(x0.shape, generator=generator), t)

    return Network(fit(net, loss_of, steps=steps, seed=seed).net, VPS, predicts="v")


def places_of(text):
    """The places whose text has all the words of `text`."""
    return [name for name in PLACES if set(text.split()) <= set(name.split())]


def said(text, scale=1.0, n=300, steps=30, seed=0, network=None):
    """Points (n, 2) for a text, guided at `scale` against no word."""
    model, noise = network or text_network(), initial_noise(n, 2, seed)
    guided = Guided(model, tokens([text]), scale) if scale != 1 else model.with_label(tokens([text]))
    return sample(dpmpp_2m, guided, noise, grids.uniform_lambda(VPS, steps)).x


TEXTS = ("far south", "east near", "far", "north", HELD_OUT, "north south")


def text_clouds(scale=2.0):
    """Text -> [all places, the points that the network makes of it]."""
    every = captioned(800, torch.Generator().manual_seed(1), True)[0]
    return {text: [every, said(text, scale)] for text in TEXTS}


def found_in(x, names):
    """Share of points (n, 2) that lie within three and a half deviations of one of these places."""
    centres = torch.tensor([PLACES[name] for name in names])
    return float((torch.cdist(x, centres).amin(1) < 3.5 * PLACE_STD).double().mean())


@claim(
    "P27, BP31",
    source="Practical guide, section 9.2",
    says="A network with an input for text is all that a condition by text needs, guidance included.",
    holds=lambda r: r["texts dropped | far south, w = 3"] > 90,
    fails=lambda r: r["texts kept | far south, w = 3"] < 50,
    verdict="holds if",
    finding="If its training dropped texts: at w = 3 far south is then obeyed by 99 % of the points. With "
    "texts always there guidance leaves 0 %, for the network never learned what it is told by no text.",
    figure="words",
)
def words_obeyed() -> dict:
    """Share of points in a place that the text allows, in %, by the text, the scale, and whether the training
    dropped words and texts; means of three trainings."""
    found = conditions_study("words")
    return {name: round(100 * sum(shares) / len(shares)) for name, shares in found.items()}


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------

EDM_LEVELS = EDM()
LARGE, SMALL = (1, 28, 28), (1, 7, 7)
STRINGS = ("east", "seat", "eats", "teas", "sate", "test", "sets", "tees", "ease", "seas", "tats", "teat")
EIGHT_LETTERS = (  # words of a, e, i, n, o, r, s and t
    "rain note toes rose nose seat star rate neat near tone tore torn sort nest rest iron into ears oats "
    "rise site tire oars earn sane sore stir tons ones"
).split()
PREVIEWS = {"network, 7": "network's, 7 x 7", "real, 7": "real, 7 x 7", "real, 14": "real, 14 x 14"}
PREVIEWS |= {"class mean": "mean of the class", "noise": "noise alone"}


@cache
def large_digits(labels=tuple(range(10))):
    """The network of 28 x 28 pixels, a label a row."""
    return digits_model(EDM_LEVELS, torch.tensor(labels), "large-digits")


@cache
def drawn_previews(seed=4, labels=tuple(range(10))):
    """Previews (n, 1, 7, 7) of the network of 7 x 7 pixels: 19 calls, which cost what a tenth of one call of
    the large network does."""
    times = grids.karras(EDM_LEVELS, 10)
    noise = initial_noise(len(labels), SMALL, seed) * times[0]
    model = digits_model(EDM_LEVELS, torch.tensor(labels), "preview-digits")
    return sample(edm_heun, model, noise, times).x


def refine(level, calls=4, seed=4, labels=tuple(range(10))):
    """The previews, refined by so many calls of the large network from a level."""
    noise = initial_noise(len(labels), LARGE, seed)
    x = restart(EDM_LEVELS, drawn_previews(seed, labels), 4, level, noise)
    return sample(ipndm, large_digits(labels), x, grids.karras(EDM_LEVELS, calls, start=level)).x


def from_previews() -> dict:
    """Previews, the same enlarged, and what four calls of the large network make of them from four levels."""
    small = drawn_previews()
    enlarged = enlarge(small, 4)
    rows = {"preview": small.repeat_interleave(4, 2).repeat_interleave(4, 3), "enlarged": enlarged}
    return rows | {f"from {level:g}": refine(level) for level in (0.35, 0.7, 1.4, 5.6)}


def from_level(level, calls, seed):
    """For the widget: the enlarged previews, the state from which the large network goes on, its digits, and
    how far these are from the previews when they are made small again."""
    labels, noise = (0, 2, 3, 4, 5, 8), initial_noise(6, LARGE, seed)
    small = drawn_previews(seed, labels)
    digits = refine(level, calls, seed, labels)
    state = restart(EDM_LEVELS, small, 4, level, noise) / math.sqrt(1 + level**2)
    return enlarge(small, 4), state, digits, rms(shrink(digits, 4) - small)


@cache
def spectra() -> dict:
    """The power at each frequency of real digits, and of what enlarging from 14 and from 7 pixels a side has
    not got: label -> (15,)."""
    images = digits("test", 28)[0]
    lost = {
        f"lost at {28 // f} x {28 // f}": spectrum(images - enlarge(shrink(images, f), f)) for f in (2, 4)
    }
    return {name: power.numpy() for name, power in ({"digits": spectrum(images)} | lost).items()}


def hiding_levels() -> dict:
    """The level of noise whose power is that of the lost detail at the frequency where it has most; and the
    one at which noise hides the whole of it, |lost|^2 / 2 sigma^2 = 1."""
    images, found = digits("test", 28)[0], {}
    for side, factor in ((14, 2), (7, 4)):
        lost = images - enlarge(shrink(images, factor), factor)
        found[f"{side} x {side} | at each frequency"] = round(math.sqrt(spectrum(lost).max()), 2)
        whole = math.sqrt(float(lost.square().flatten(1).sum(1).mean()) / 2)
        found[f"{side} x {side} | all together"] = round(whole, 1)
    return found


@cache
def kept_of_previews() -> dict:
    """By the level: root mean square between previews and the refined digits made small again, of twenty
    digits; between two previews of one class it is the last number."""
    labels = tuple(range(10)) * 2
    small, found = drawn_previews(4, labels), {}
    for level in (0.7, 1.4, 2.8, 5.6, 11.0):
        found[f"from {level:g}"] = round(rms(shrink(refine(level, 4, 4, labels), 4) - small), 2)
    return found | {"another of the same class": round(rms(small[:10] - small[10:]), 2)}


def _scales(name, what="distance"):
    """(mean, standard error) over the recorded seeds."""
    found = np.array(recorded("scales")["runs"][name][what])
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found)))


def _levels(kind, calls):
    names = [name.split(" | ") for name in recorded("scales")["runs"] if name != "floor"]
    return [float(level) for one, level, n in names if (one, n) == (kind, str(calls))]


def refined_distances() -> tuple:
    """Distance against the level where the large network takes over with four calls, of each kind of preview:
    label -> (levels, means, standard errors); and lines to compare with."""
    curves = {}
    for kind, label in PREVIEWS.items():
        levels = _levels(kind, 4)
        pairs = [_scales(f"{kind} | {level:g} | 4") for level in levels]
        curves[label] = (levels, *map(list, zip(*pairs)))
    direct = {f"no preview, {n} calls": _scales(f"direct | 80 | {n}")[0] for n in (4, 6, 12)}
    return curves, direct | {"real digits": _scales("floor")[0]}


def direct_and_refined() -> dict:
    """Recorded: the mean distance and its standard error, eight seeds of 200 digits each."""
    found = {}
    rows = {f"no preview, {n} calls": f"direct | 80 | {n}" for n in (2, 4, 6, 12)}
    rows |= {"preview, enlarged alone": "network, 7 | 0 | 0"}
    rows |= {f"preview, {n} calls from 5.6": f"network, 7 | 5.6 | {n}" for n in (2, 4)}
    for name, key in (rows | {"real digits": "floor"}).items():
        mean, error = _scales(key)
        found |= {f"{name} | distance": round(mean, 2), f"{name} | ±": round(error, 2)}
        found[f"{name} | read as their label"] = round(_scales(key, "accuracy")[0], 2)
    return found


def from_high_levels() -> dict:
    """Recorded, four calls: the mean distance from a level of previews, of the mean of the class in their
    place and of noise alone, and 95 % intervals of the paired differences, eight seeds."""
    found, runs = {}, recorded("scales")["runs"]
    rivals = {"noise": "less noise alone", "class mean": "less mean of the class"}
    for level in ("5.6", "11", "22", "45"):
        of = {kind: np.array(runs[f"{kind} | {level} | 4"]["distance"]) for kind in ("network, 7", *rivals)}
        found |= {f"from {level} | {PREVIEWS[kind]}": round(float(x.mean()), 2) for kind, x in of.items()}
        for kind, words in rivals.items():
            gap = of["network, 7"] - of[kind]
            half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / math.sqrt(len(gap))
            found[f"from {level} | {words}"] = f"{gap.mean():+.2f} ± {half:.2f}"
    return found


def fresh_noise() -> dict:
    """Recorded: mean distances at eight calls and their standard errors, seeds of 200 digits."""
    found = {}
    for name, run in recorded("scales")["fresh"]["runs"].items():
        name = name.replace(" | ", ", ")
        values = np.array(run["distance"])
        error = values.std(ddof=1) / math.sqrt(len(values))
        found |= {f"{name} | distance": round(float(values.mean()), 2), f"{name} | ±": round(float(error), 2)}
    return found


@claim(
    "T57",
    source="Textbook, closing project, part 3",
    says="A preview at a low resolution that is refined at a high one saves calls.",
    holds=lambda r: r["preview"] + 2 * r["preview, error"] < r["noise alone"] - 2 * r["noise alone, error"],
    verdict=False,
    finding="Not with a network that was not trained for it. At four large calls a preview does best from "
    "level 22, 1.36, and noise alone has 1.34 from there. (From 80 noise has 2.1: the lower start is what "
    "helps.) From 5.6 a preview is 0.40 better than noise alone, but the mean of the class, which costs "
    "nothing, is better than both, 0.93. From 1.4 the distance is six times that from 80, and so it is with "
    "real previews. What a preview saves is the large picture that nobody wants.",
    elsewhere={"5.6": "a level", "1.4": "a level"},
)
def preview_or_none() -> dict:
    """Recorded distances at four calls of the large network, means and standard errors of eight seeds; of
    previews, noise alone and the mean of the class from the best of their levels."""
    found = {}
    for label, kind in (("preview", "network, 7"), ("noise alone", "noise"), ("class mean", "class mean")):
        pairs = [_scales(f"{kind} | {level:g} | 4") for level in _levels(kind, 4)]
        found[label], found[f"{label}, error"] = min(pairs)
    return found | {
        "gain from 5.6": _scales("noise | 5.6 | 4")[0] - _scales("network, 7 | 5.6 | 4")[0],
        "from 80": _scales("direct | 80 | 4")[0],
        "from 1.4": _scales("network, 7 | 1.4 | 4")[0],
        "real, from 1.4": _scales("real, 7 | 1.4 | 4")[0],
    }


# Latents


@cache
def principal(k=16):
    """Principal latents of the digits for training."""
    return PrincipalLatents(digits("train", 28)[0], k)


def _pictures(kind, what):
    """Ten recorded digits (10, 1, 28, 28) of a kind of latents, "reconstructed" or "drawn", in [-1, 1]."""
    raw = zlib.decompress(base64.b64decode(recorded("latents")["learned"]["pictures"][kind][what]))
    return torch.tensor(np.frombuffer(raw, np.uint8)).view(10, *LARGE) / 127.5 - 1


def latent_digits() -> dict:
    """Ten real digits, and the same from 4, 16 and 64 principal latents, and from 16 of an autoencoder."""
    images, labels = digits("test", 28)
    rows = images[[int((labels == c).nonzero()[3]) for c in range(10)]]
    found = {"real": rows}
    found |= {f"{k} numbers": principal(k).decode(principal(k).encode(rows)) for k in (4, 16, 64)}
    return found | {"16, learned": _pictures("16, autoencoder", "reconstructed")}


def lost_by_latents() -> dict:
    """Mean squared error a pixel of k principal latents, on the digits that they are made from, beside the
    sum of the variances left out; and on digits for testing."""
    found, (train, test) = {}, (digits(split, 28)[0] for split in ("train", "test"))
    for k in (4, 16, 64):
        latents = principal(k)
        error = lambda x, one=latents: float((one.decode(one.encode(x)) - x).square().mean())  # noqa: E731
        found[f"{k} | variance left out"] = round(float(latents.lost.sum()) / 784, 4)
        found[f"{k} | error, training digits"] = round(error(train), 4)
        found[f"{k} | error, test digits"] = round(error(test), 4)
    return found


def latent_bars() -> dict:
    """Recorded distances of reconstructed real digits, of the diffusion's samples, and of normal latents,
    beside 1,000 real digits: principal latents, and an autoencoder's, the mean of two
    trainings."""
    names = {"reconstructed": "reconstructed", "samples": "diffusion", "normal latents": "normal latents"}
    rows = {f"{k} latents": [row] for k, row in recorded("latents")["latents"].items()}
    rows["16, learned"] = _of_sixteen()["autoencoder"]
    return {
        kind: {label: float(np.mean([row[key]["distance"] for row in runs])) for key, label in names.items()}
        for kind, runs in rows.items()
    }


def latent_numbers() -> dict:
    """The same distances in one table."""
    return {
        f"{name} | {label}": round(value, 1)
        for name, row in latent_bars().items()
        for label, value in row.items()
    }


def _of_sixteen():
    """The recorded trainings of latents of 16 numbers: kind -> a row for each training."""
    kinds = recorded("latents")["learned"]["kinds"]
    return {kind.removeprefix("16, "): runs for kind, runs in kinds.items() if kind.startswith("16")}


def learned_latents() -> dict:
    """Recorded distances of 16 principal latents and of 16 that autoencoders learned, means of the trainings
    (two; one with a KL term); and the share of digits drawn that are read as their label."""
    found = {}
    for kind, runs in _of_sixteen().items():
        mean = lambda key, runs=runs: float(np.mean([run[key]["distance"] for run in runs]))  # noqa: E731
        found[f"{kind} | reconstructed"] = round(mean("reconstructed"), 1)
        found[f"{kind} | drawn"] = round(mean("samples"), 1)
        found[f"{kind} | normal latents"] = round(mean("normal latents"))
        found[f"{kind} | read as told"] = round(float(np.mean([r["samples"]["accuracy"] for r in runs])), 2)
    return found


def codes_from_normal() -> dict:
    """Recorded: the sliced distance of 1,000 codes of digits for testing from as many normal numbers, and of
    normal numbers from normal numbers."""
    found = {
        f"sliced distance, {kind}": round(float(np.mean([run["from normal"] for run in runs])), 2)
        for kind, runs in _of_sixteen().items()
    }
    return found | {"sliced distance, normal numbers": round(recorded("latents")["learned"]["normal"], 2)}


def codes_at_scales() -> dict:
    """Recorded, one training: the distance of samples where the autoencoder's codes have another deviation
    than the diffusion's levels are made for."""
    found = recorded("latents")["learned"]
    one = found["kinds"]["16, autoencoder"][0]["samples"]
    named = {"0.1": found["scale"]["0.1"], "1": one, "4.2, as trained": found["scale"]["4.2"]}
    return {f"deviation {name}": round(row["distance"], 1) for name, row in named.items()}


def drawn_from_latents() -> dict:
    """Ten digits drawn in 16 principal latents, and in 16 of an autoencoder."""
    kinds = {"principal": "16, principal", "learned": "16, autoencoder"}
    return {name: _pictures(kind, "drawn") for name, kind in kinds.items()}


def latents_floor() -> float:
    """Recorded: the distance of 1,000 real digits."""
    return recorded("latents")["floor"]["distance"]


def joint_training() -> dict:
    """Recorded: autoencoder and diffusion by one loss, the means of the trainings."""
    names = {
        "none": "one loss, no care",
        "unit": "latents kept at variance 1",
        "stop": "no gradient to the encoder",
    }
    found = {}
    for care, label in names.items():
        runs = recorded("latents")["joint"][care]
        mean = lambda key, runs=runs: float(np.mean([run[key] for run in runs]))  # noqa: E731
        found[f"{label} | deviation of latents"] = round(
            float(np.mean([r["deviation"][-1] for r in runs])), 3
        )
        found[f"{label} | error of ε"] = round(mean("eps"), 3)
        found[f"{label} | share of image lost"] = round(mean("lost"), 2)
        found |= {f"{label} | distance, {i}": round(run["samples"]) for i, run in enumerate(runs, 1)}
    return found


def errors_at_scales() -> dict:
    """The least error of eps for normal latents of a deviation, averaged over the times of VP: label ->
    (deviations, errors)."""
    scales, times = np.geomspace(0.01, 3, 60), np.linspace(0.001, 1, 400)
    vp = VP()
    errors = [np.mean(noise_error_at_scale(scale, vp.alpha(times), vp.sigma(times))) for scale in scales]
    return {"error of ε": (scales, np.array(errors))}


@claim(
    "S30",
    source="Summary, section 4.5",
    says="Latent diffusion has three defects: detail is lost, what is lost stays lost, and the two parts are "
    "trained apart; training them together would mend it.",
    holds=lambda r: r["16 latents, reconstructed"] > 2 * r["real digits"],
    fails=lambda r: r["one loss, deviation at the end"] < 0.7 * r["one loss, deviation at most"],
    verdict="holds if",
    finding="The floor is there, 13 of a distance of 14 at 16 principal latents; at 64 it is 0.8 of 11, and "
    "the prior's is the larger one. An autoencoder's 16 have a floor of 0.9. "
    "One loss for both lets the latents shrink, since the error of ε "
    "falls with their size, and the samples of two trainings are no better.",
    elsewhere={"0.8": "latent_numbers", "0.9": "latent_numbers"},
    figure="floors-figure",
)
def latents_measured() -> dict:
    """Recorded: the floors of 16 principal latents, and what joint training does to the latents."""
    found, runs = recorded("latents"), recorded("latents")["joint"]["none"]
    return {
        "real digits": found["floor"]["distance"],
        "16 latents, reconstructed": found["latents"]["16"]["reconstructed"]["distance"],
        "16 latents, samples": found["latents"]["16"]["samples"]["distance"],
        "one loss, deviation at most": float(np.mean([max(run["deviation"]) for run in runs])),
        "one loss, deviation at the end": float(np.mean([run["deviation"][-1] for run in runs])),
    }


# Memory


def _chunked(loop, size, keyed=True, n=12):
    """n large digits of a sampler in chunks, with the most memory that lived: (samples, bytes).  keyed: noise
    of (seed, row), else the next numbers of one generator, chunk by chunk, as listings have it."""
    model, times = large_digits(tuple(i % 10 for i in range(n))), grids.karras(EDM_LEVELS, 3)
    noise = initial_noise(n, LARGE, 0) * times[0]
    with PeakMemory() as memory:
        if keyed:
            x = sample(loop, model, noise, times, batch_size=size, draws=1, eta=1.0).x
        else:
            generator = torch.Generator().manual_seed(1)
            rows = [
                sample(
                    loop, model.rows(i, i + size), noise[i : i + size], times, generator=generator, eta=1.0
                ).x
                for i in range(0, n, size)
            ]
            x = torch.cat(rows)
    return x, memory.peak


@claim(
    "P25",
    source="PyTorch tutorial, section 8.2",
    says="Samples can be drawn in chunks: the same pictures for less memory.",
    holds=lambda r: r["chunks of 4, keyed noise"] < 1e-3 and r["memory of one batch / of chunks of 4"] > 2,
    fails=lambda r: r["chunks of 4, one generator"] > 0.1,
    verdict="holds if",
    finding="If each picture has noise of its own, by its number, they are the same to rounding; with the "
    "next numbers of one generator the chunks change the pictures. The peak falls with the chunk.",
)
def chunks() -> dict:
    """Twelve digits of 28 x 28 by a sampler with fresh noise: largest difference between one batch and
    chunks, and the ratio of peaks."""
    (whole, most), (part, less) = _chunked(ddim, 12), _chunked(ddim, 4)
    (loose, _), (cut, _) = _chunked(ddim, 12, False), _chunked(ddim, 4, False)
    return {
        "chunks of 4, keyed noise": float((whole - part).abs().max()),
        "chunks of 4, one generator": float((loose - cut).abs().max()),
        "memory of one batch / of chunks of 4": round(most / less, 1),
    }


def gradient_memory() -> dict:
    """The most memory of a gradient through a run of the 8 x 8 network, 32 digits, by the number of calls, in
    megabytes: activations kept, and computed again."""
    net, found = pretrained("digits"), {}
    for label, one in (("kept", net), ("computed again", Checkpointed(net))):
        for calls in (4, 8, 16):
            times = grids.karras(EDM_LEVELS, calls)
            noise = (initial_noise(32, (1, 8, 8)) * times[0]).requires_grad_()
            with PeakMemory() as memory:
                model = Network(one, EDM_LEVELS, "edm", sigma_data=DIGITS_SIGMA_DATA)
                x = sample(euler, model, noise, times, gradients=True).x
                torch.autograd.grad(x.square().sum(), noise)
            found[f"{label} | {calls} calls"] = round(memory.peak / 1e6, 1)
    return found


# Speed


@claim(
    "BT31",
    source="Textbook, section 8.5.4",
    says="The square roots of 1 - ᾱ can be kept in a table of single precision.",
    holds=lambda r: r["from single precision"] < 1e-6,
    verdict=False,
    finding="As a store it is fine; computed there it is not. 1 - ᾱ of a rounded ᾱ has lost digits where ᾱ "
    "is near 1: at t = 1 the root is wrong in its fifth digit. Compute in double, then store.",
)
def root_of_rest() -> dict:
    """Relative error of sqrt(1 - abar) at two of the linear schedule's thousand steps, computed in single
    precision, and computed in double and then stored in single."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    exact = (-torch.expm1(torch.log1p(-betas).cumsum(0))).sqrt()
    single = (1 - torch.cumprod(1 - betas.float(), 0)).sqrt().double()
    wrong = lambda found: ((found - exact) / exact).abs()  # noqa: E731
    return {
        "from single precision": float(wrong(single)[0]),
        "from single precision, t = 500": float(wrong(single)[499]),
        "from double, stored in single": float(wrong(exact.float().double()).max()),
    }


def listed_step(x, t, model):
    """The compiled step as it is listed: its body stands for a formula."""
    ...


@claim(
    "BT30",
    source="Textbook, section 8.5.4",
    says="A decorator compiles the sampling step, and the loop calls it with the schedule's values.",
    holds=lambda r: r["arguments taken"] == r["arguments given"],
    verdict=False,
    finding="Three arguments are declared and five are given, a TypeError whatever compiles it. And no time"
    " of arrival is among them: it knows no steps but those of the table.",
)
def compiled_step() -> dict:
    """The arguments of the listed step, and those that its loop hands over."""
    return {"arguments taken": len(inspect.signature(listed_step).parameters), "arguments given": 5}


@claim(
    "T54",
    source="Textbook, section 8.5.4",
    says="Tables of coefficients, batches and a compiled loop make sampling faster.",
    holds=lambda r: min(r.values()) > 1.05,
    verdict=True,
    finding="Measured on one core: batches most of all, 17 times; a table 1.1 times for 250 rows; compiling"
    " 1.3 times on the small network, which pays after 150 to 400 runs.",
    elsewhere={"1.1": "speed_rows", "1.3": "speed_rows"},
)
def speed_claimed() -> dict:
    """Recorded ratios of the three."""
    rows = recorded("speed")["rows"]
    keys = (
        "one batch of 32 instead of 32 runs",
        "a table of coefficients, 250 rows",
        "torch.compile, 8 x 8, 250 rows",
    )
    return {key: rows[key]["ratio"] for key in keys}


def speed_rows() -> dict:
    """Recorded: processor time before over after, the median of seven pairs and their range."""
    found = {}
    for name, row in recorded("speed")["rows"].items():
        found |= {f"{name} | ratio": round(row["ratio"], 2), f"{name} | from": round(row["range"][0], 2)}
        found[f"{name} | to"] = round(row["range"][1], 2)
    return found


# Few bits

KINDS_OF_NUMBER = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@cache
def digits_at(weights="float64", state="float64", calls=10, n=64):
    """Digits (n, 1, 8, 8) float64, by a network whose weights and a loop whose state are of these kinds."""
    dtype = KINDS_OF_NUMBER | {"float64": torch.float64}
    net = pretrained("digits").to(dtype[weights])
    times = grids.karras(EDM_LEVELS, calls)
    noise = (initial_noise(n, (1, 8, 8), 0, torch.float64) * times[0]).to(dtype[state])
    model = Network(net, EDM_LEVELS, "edm", sigma_data=DIGITS_SIGMA_DATA)
    return sample(euler, model, noise, times).x.double()


def few_bits() -> dict:
    """RMSE to the run in float64 from the same noise, by the number of steps: label -> (steps, errors)."""
    steps, found = (5, 10, 20, 40, 80), {}
    for name in ("bf16", "fp16"):
        for label, kinds in ((f"{name} network", (name, "float32")), (f"{name} state", ("float32", name))):
            errors = [rms(digits_at(*kinds, calls) - digits_at(calls=calls)) for calls in steps]
            found[label] = (list(steps), errors)
    own = [rms(digits_at(calls=calls) - digits_at(calls=320)) for calls in steps]
    return found | {"Euler's own error": (list(steps), own)}


@claim(
    "S21",
    source="Summary, section 4.3",
    says="Half precision makes it faster and changes nothing that matters.",
    holds=lambda r: max(r["fp16 network"], r["bf16 network"]) < 0.5 * r["Euler's own error"],
    fails=lambda r: r["bf16 state"] > 0.5 * r["Euler's own error"],
    verdict="holds if",
    finding="If the state stays in single precision. Kept in bf16 it is rounded at each step, and the "
    "errors of the steps add up. What it gains is a matter of the processor: fp16 took four times "
    "as long on ours.",
)
def half_precision() -> dict:
    """RMSE of 80 steps to the run in float64, and to 320 steps of it."""
    return {name: errors[4] for name, (_, errors) in few_bits().items()}


def rounded_weights() -> dict:
    """Digits of ten calls with weights of few bits: RMSE to those of float32, the share read as their label,
    and the bytes of the weights."""
    labels, found = torch.arange(10).repeat(20), {}
    times = grids.karras(EDM_LEVELS, 10)
    noise = initial_noise(len(labels), (1, 8, 8)) * times[0]

    def run(net):
        model = Network(net, EDM_LEVELS, "edm", label=labels, sigma_data=DIGITS_SIGMA_DATA)
        return sample(ipndm, model, noise, times).x

    net = pretrained("digits")
    whole = run(net)
    for bits in (32, 8, 6, 5, 4, 3):
        x = whole if bits == 32 else run(rounded(net, bits))
        found[f"{bits} bits | RMSE"] = round(rms(x - whole), 3)
        found[f"{bits} bits | read as their label"] = round(class_accuracy(x, labels), 2)
        found[f"{bits} bits | kB of weights"] = round(bytes_of_weights(net, bits) / 1000)
    return found


# Strings


@cache
def strings():
    """Twelve words of the letters a, e, s and t, the n-th with a weight of 1 / n."""
    return Strings({word: 1 / n for n, word in enumerate(STRINGS, 1)})


def no_words(rules):
    """The share of a sampler's strings that are no words."""
    found, _ = law(strings(), rules)
    place = (strings().mask + 1) ** torch.arange(3, -1, -1)
    return 1 - float(found[(strings().tokens * place).sum(1)].sum())


STRATEGIES = {
    "all at once": lambda: even(1),
    "two at random, then two": lambda: [some(2)] * 2,
    "the two surest, then two": lambda: [surest(2)] * 2,
    "one, then three": lambda: [some(1), some(3)],
    "three, then one": lambda: [some(3), some(1)],
    "one, one, two": lambda: [some(1), some(1), some(2)],
    "two, one, one": lambda: [some(2), some(1), some(1)],
    "one by one": lambda: [some(1)] * 4,
    "one by one, the surest first": lambda: [surest(1)] * 4,
}


def strategies() -> dict:
    """Exact: calls, total variation from the words' law, and the share of strings that are no words."""
    found = {}
    for name, rules in STRATEGIES.items():
        end, calls = law(strings(), rules())
        found[f"{name} | calls"] = round(calls, 2)
        found[f"{name} | distance"] = round(total_variation(strings(), end), 3)
        found[f"{name} | no words"] = round(no_words(rules()), 3)
    return found


@cache
def calls_and_distance() -> dict:
    """Exact: total variation against mean calls, of the diffusion in 1 to 64 steps and of numbers of letters
    that are fixed: label -> (calls, distances)."""
    steps = (1, 2, 3, 4, 6, 8, 16, 32, 64)
    fixed = ([4], [2, 2], [1, 1, 2])
    pairs = lambda runs: [law(strings(), run) for run in runs]  # noqa: E731
    curves = {
        "diffusion, steps 1 to 64": pairs(even(n) for n in steps),
        "fixed numbers, at random": pairs([some(k) for k in ks] for ks in fixed),
        "fixed numbers, the surest": pairs([surest(k) for k in ks] for ks in fixed),
    }
    distance = lambda end: total_variation(strings(), end)  # noqa: E731
    return {
        name: ([calls for _, calls in found], [distance(end) for end, _ in found])
        for name, found in curves.items()
    }


def steps_and_distance() -> dict:
    """Exact: total variation, and the bound's excess over the entropy in nats, by the diffusion's steps:
    label -> (steps, errors)."""
    steps = [1, 2, 4, 8, 16, 32, 64]
    p = strings().probabilities
    entropy = -float(p @ p.log())
    return {
        "total variation": (steps, [total_variation(strings(), law(strings(), even(n))[0]) for n in steps]),
        "bound less entropy": (steps, [bound(strings(), n) - entropy for n in steps]),
    }


@claim(
    "S37",
    source="Summary, sections 5.2 and 5.3",
    says="Diffusion carries over to text: many letters are drawn at once, so it needs fewer calls.",
    holds=lambda r: r["one by one, distance"] < 1e-9,
    fails=lambda r: r["two calls, distance"] > 0.2,
    verdict="holds if",
    finding="One letter a call is exact, in whichever order. What is drawn at once is drawn as if "
    "independent: two calls for four letters miss by 0.29 in total variation, with the two surest "
    "first by 0.23; with other words or weights either order can be the better one.",
    figure="calls-figure",
)
@tried_on({"eight-letter words": {"STRINGS": EIGHT_LETTERS}})
def parallel_letters() -> dict:
    """Exact, on the twelve words."""
    miss = lambda rules: total_variation(strings(), law(strings(), rules)[0])  # noqa: E731
    return {
        "one by one, distance": miss([some(1)] * 4),
        "two calls, distance": miss([some(2)] * 2),
        "two calls, surest first, distance": miss([surest(2)] * 2),
        "all at once, distance": miss(even(1)),
    }


@cache
def other_words(lists=20) -> dict:
    """Exact: in how many of so many lists of twelve words, their weights 1/n, one rule misses by less than
    another; the page's words with their weights shuffled, and words of eight letters drawn anew."""
    rng, found = np.random.default_rng(0), {}
    plans = {
        name: STRATEGIES[name]
        for name in list(STRATEGIES)
        if name.startswith(("two at", "the two", "one, th", "three", "one, one"))
    } | {"one, one, two, the surest": lambda: [surest(1), surest(1), surest(2)]}
    for label, pool in (("its weights shuffled", STRINGS), ("words of eight letters", EIGHT_LETTERS)):
        runs = []
        for _ in range(lists):
            chosen = rng.permutation(pool)[:12]
            words = Strings({str(word): 1 / n for n, word in enumerate(chosen, 1)})
            runs.append(
                {name: total_variation(words, law(words, rules())[0]) for name, rules in plans.items()}
            )
        less = lambda one, other, runs=runs: sum(run[one] < run[other] - 1e-9 for run in runs)  # noqa: E731
        found |= {
            f"one, then three, before three, then one | {label}": less("one, then three", "three, then one"),
            f"two, then two, before one, then three | {label}": less(
                "two at random, then two", "one, then three"
            ),
            f"two calls, the surest before random | {label}": less(
                "the two surest, then two", "two at random, then two"
            ),
            f"three calls, the surest before random | {label}": less(
                "one, one, two, the surest", "one, one, two"
            ),
        }
    return found


# Measures


def inception_score(images):
    """exp of the mean KL between a picture's classes and all pictures' (Salimans et al. 2016), read by the
    shipped classifier."""
    with torch.no_grad():
        p = torch.softmax(pretrained("classifier")(images.float()), 1).double()
    return float((p * (p.clamp(min=1e-30) / p.mean(0)).log()).sum(1).mean().exp())


def copies(n=60):
    """Ten digits for training, the one of each class of which the classifier is surest, n times each."""
    images, labels = digits("train")
    with torch.no_grad():
        sure = torch.softmax(pretrained("classifier")(images), 1)
    rows = [int(sure[:, c].masked_fill(labels != c, -1).argmax()) for c in range(10)]
    return images[rows].repeat(n, 1, 1, 1)


@claim(
    "BS41, C38",
    source="Summary, section 5.4",
    says="FID favours quality, the inception score diversity.",
    holds=lambda r: r["ten copied digits, inception score"] < r["real digits, inception score"],
    verdict=False,
    finding="The inception score sees whether classes are missing and nothing within a class: ten copied "
    "digits, sixty times each, have 10, the best there is, and pale ones lose next to nothing. The "
    "Fréchet distance sees all three.",
)
def two_measures() -> dict:
    """600 digits each: inception score, and Fréchet distance from all digits."""
    real, copied = (
        digits("train")[0][torch.randperm(1437, generator=torch.Generator().manual_seed(0))[:600]],
        copies(),
    )
    pale = 0.7 * (real + 1) - 1
    half = digits("train")[0][digits("train")[1] < 5][:600]
    found = {}
    for name, images in (
        ("real digits", real),
        ("ten copied digits", copied),
        ("pale digits", pale),
        ("digits 0 to 4", half),
    ):
        found[f"{name}, inception score"] = round(inception_score(images), 2)
        found[f"{name}, Fréchet distance"] = round(frechet_distance(images), 3)
    return found


@cache
def bias_of_distance(d=64) -> dict:
    """The Fréchet distance of n normal points in d dimensions from the law that they come from: measured,
    means of four sets, and by the formula for large n: label -> (n, distances)."""
    sizes, generator = (16, 100, 1000, 10_000), torch.Generator().manual_seed(0)

    def distance(n):
        x = torch.randn(n, d, generator=generator, dtype=torch.float64)
        return gaussian_w2_squared(x.mean(0).numpy(), torch.cov(x.T).numpy(), np.zeros(d), np.eye(d))

    measured = [float(np.mean([distance(n) for _ in range(4)])) for n in sizes]
    return {
        "measured": (sizes, measured),
        "d/n + d(d+1)/4n": (sizes, [bias_of_moments(np.ones(d), n) for n in sizes]),
    }


def bias_of_moments(values, n):
    """What the Fréchet distance of n normal points from their own law is on average for large n; `values`,
    the eigenvalues (d,) of the covariance.  All 1: d/n + d(d+1)/4n."""
    pairs = np.multiply.outer(values, values) / np.add.outer(values, values)
    return (1.25 * values.sum() + 0.5 * pairs.sum()) / n


@cache
def bias_of_features(draws=20) -> dict:
    """The Fréchet distance of n digits, drawn from all digits with replacement, from all digits: means of so
    many draws, beside both formulas."""
    features, rng, found = digit_features(digits("all")[0]), np.random.default_rng(0), {}
    values, d = np.linalg.eigvalsh(np.cov(features, rowvar=False)), features.shape[1]
    for n in (100, 500, 2000):
        rows = rng.integers(0, len(features), (draws, n))
        measured = np.mean([frechet_from_features(features[row], features) for row in rows])
        found[f"measured | {n} digits"] = float(f"{measured:.2g}")
        found[f"by the eigenvalues | {n} digits"] = float(f"{bias_of_moments(values, n):.2g}")
        found[f"with all of them equal | {n} digits"] = float(
            f"{bias_of_moments(np.full(d, values.mean()), n):.2g}"
        )
    return found


# Pictures that were listed


@claim(
    "BP21",
    source="PyTorch tutorial, section 5.2",
    says="The listed function draws a grid of colour pictures into the figure at hand.",
    holds=lambda r: r["channels first are drawn"] and r["figures more than asked for"] == 0,
    verdict=False,
    finding="matplotlib wants channels last, and a second figure is opened within the first: what is saved "
    "is the other one. `book.plots.image_grid` takes (n, 1, h, w).",
)
def listed_grid() -> dict:
    """Whether pictures are drawn with their channels first and last, and how many figures there are after a
    function that opens one, as the listed one does, was called within a subplot."""
    import matplotlib.pyplot as plt

    def drawn(picture):
        try:
            plt.imshow(picture)
        except TypeError:
            return False
        return True

    picture, before = np.full((3, 8, 8), 0.5), set(plt.get_fignums())
    plt.figure()
    plt.subplot(1, 2, 1)
    plt.figure(figsize=(2, 2))  # the listed function's first line
    found = {
        "channels first are drawn": drawn(picture),
        "channels last are drawn": drawn(picture.transpose(1, 2, 0)),
        "figures more than asked for": len(set(plt.get_fignums()) - before) - 1,
    }
    for number in set(plt.get_fignums()) - before:
        plt.close(number)
    return found


@claim(
    "BP32",
    source="PyTorch tutorial, section 10.2",
    says="The listed chart compares four topics of research.",
    holds=lambda r: r["different values"] > 1,
    verdict=False,
    finding="All four values are 4, so it draws a square. One of its three alignments is in no case chosen:"
    " what is below 0 is below 0.1 too.",
    elsewhere={"0.1": "the listing's bound"},
)
def listed_chart() -> dict:
    """The values of the chart that is listed, and the alignments that its branches reach."""
    reached = set()
    for angle in np.linspace(0, 2 * np.pi, 400):
        reached.add("center" if np.cos(angle) < 0.1 else "right" if np.cos(angle) < 0 else "left")
    return {"different values": len(set([4] * 4)), "alignments reached, of three": len(reached)}


@claim(
    "R4",
    source="Summary, section 4.3",
    says="With η = η_max (t / T)² noise comes late in sampling.",
    holds=lambda r: r["share of the noise in the last half of the steps"] > 0.5,
    verdict=False,
    finding="t falls from T to 0, so η falls too: from 1 to 0.0006. The last half of forty steps has 3 % of"
    " its squares; with (1 - t / T)² it has 97 %.",
    elsewhere={"3 %": "late_noise", "97 %": "late_noise"},
)
@tried_on({"ten steps": {"steps": 10}})
def late_noise(steps=40) -> dict:
    """η at the start of each of forty even steps, and what share of Σ η² the last twenty have."""
    t = np.linspace(1, 0, steps + 1)[:-1]
    share = lambda eta: float((eta[steps // 2 :] ** 2).sum() / (eta**2).sum())  # noqa: E731
    return {
        "η of the first step": float(t[0] ** 2),
        "η of the last step": float(t[-1] ** 2),
        "share of the noise in the last half of the steps": share(t**2),
        "the same with (1 - t / T)²": share((1 - t) ** 2),
    }


# --- the contest ----------------------------------------------------------------------------------------

NAMES = {
    "gaussians": "Gaussians, no network",
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "heun": "Heun",
    "dpmpp_2m": "DPM-Solver++ 2M",
    "ipndm": "iPNDM, analytic start",
    "consistency": "consistency model",
    "flow_map": "MeanFlow",
    "learned": "learned solver",
    "stored": "a memory, no sampler",
}


def contest_curves():
    """{"curves": {baseline: (calls, geometric means)}, "floor"}: the baselines' samplers with the networks
    that ship; what was refused in a column has no number there."""
    found = recorded("contest")
    curves = {}
    for name, columns in found["shipped"].items():
        means = [_geometric_mean(scores) for scores in columns.values()]
        curves[NAMES[name]] = (
            [int(calls) for calls in columns],
            [math.nan if m is None else m for m in means],
        )
    return {"curves": curves, "floor": found["floor"][0]}


def _geometric_mean(scores):
    """The geometric mean of a column's distances; None where one was refused."""
    if any("why" in one for one in scores):
        return None
    return math.exp(statistics.fmean(math.log(one["frechet"]) for one in scores))


def contest_table():
    """The same as rows; of eight noises the geometric mean."""
    curves = contest_curves()["curves"]
    return {
        f"{name} | {_calls(calls)}": "refused" if math.isnan(mean) else float(f"{mean:.2g}")
        for name, (counts, means) in curves.items()
        for calls, mean in zip(counts, means)
    }


def _calls(calls):
    return f"{calls} call{'s' if int(calls) > 1 else ''}"


def contest_boxed():
    """Baselines as the contest runs them, 90 s of training: mean and interval of three trainings, or that one
    of them was refused."""
    return {
        f"{NAMES[name]} | {_calls(calls)}": _interval(scores)
        for name, its in recorded("contest")["full"].items()
        for calls, scores in its["columns"].items()
    }


def _interval(scores):
    one = column(scores)
    if one is None:
        return "refused"
    return f"{one.mean:.2g} [{one.low:.2g}, {one.high:.2g}]"


def contest_carried():
    """What a Gaussian for each class scores, by how many of its directions it has."""
    found = recorded("contest")["gaussians"]
    shown = {"Fréchet distance": "frechet", "near a digit of the data": "near"}
    return {
        f"{one['numbers']:,} numbers | {what}": float(f"{one[key]:.2g}")
        for one in found.values()
        for what, key in shown.items()
    }


def contest_lists():
    """Midpoints of stored digits, drawn anew and from lists: what the metric says, and the share that comes
    again from other noise."""
    told = {}
    for name, one in recorded("contest")["lists"].items():
        told[f"{name} | Fréchet distance"] = f"{one['frechet']:.2g}"
        told[f"{name} | near a digit"] = f"{one['near']:.1%}"
        told[f"{name} | comes again"] = f"{one['again']:.0%}"
        told[f"{name} | gates"] = "pass" if one["near"] <= 0.12 and one["again"] <= 0.15 else "refused"
    return told


def contest_copies(stored="all of them"):
    """Shares nearer than half a spacing, and than 0.7, and the distance, of what is made from stored digits;
    and of what is honest."""
    found = recorded("contest")
    rows = found["honest"] if stored == "honest" else found["copies"][stored]
    told = {}
    for name, one in rows.items():
        told |= {f"{name} | below 0.5": f"{one['copies']:.1%}", f"{name} | below 0.7": f"{one['near']:.0%}"}
        told[f"{name} | Fréchet distance"] = f"{one['frechet']:.2g}" if "frechet" in one else ""
        told[f"{name} | gate"] = "passes" if one["copies"] <= 0.02 and one["near"] <= 0.12 else "refused"
    return told


def contest_samples(calls=1):
    """{row: images (10, 1, 8, 8)} of baselines with the shipped networks, from one noise, digits 0 to 9."""
    noise, labels = initial_noise(10, (1, 8, 8), 3), torch.arange(10)
    rows = {}
    shipped = {"ddim": "digits", "dpmpp_2m": "digits", "consistency": "student-consistency"}
    for name, network in shipped.items():
        entry = loaded((FOLDER / f"{name}.py").read_text("utf8"))
        with torch.no_grad():
            rows[NAMES[name]] = entry["sample"](pretrained(network), noise, labels, calls, None)
    entry = loaded((FOLDER / "gaussians.py").read_text("utf8"))
    _, notes = entry["train"](*digits("train"), 0.0, 0)
    return rows | {NAMES["gaussians"]: entry["sample"](None, noise, labels, calls, notes)}


def contest_forgeries():
    """{row: images (10, 1, 8, 8)}: a stored digit of each class and what is made of it, half a spacing of
    noise, the way to a near digit, a difference of two others; each row's name tells the median of r."""
    chosen, near, other = _stored()
    size = lambda x: x.flatten(1).norm(dim=1)[:, None, None, None]  # noqa: E731
    spacing, step = size(near - chosen), near - other
    made = {
        "stored": chosen,
        "noise added": chosen + 0.5 * spacing * _unit(initial_noise(10, (1, 8, 8), 5), size),
        "halfway to a near one": (chosen + near) / 2,
        "a difference added": chosen + spacing * _unit(step, size),
    }
    every = digits("all")[0]
    return {
        f"{name}, r = {np.median(nearest_neighbour_ratio(x, every)):.1f}": x.clamp(-1, 1)
        for name, x in made.items()
    }


@cache
def _stored():
    """A training digit of each class, its nearest of the class, and another: each (10, 1, 8, 8)."""
    images, labels = digits("train")
    rows = []
    for digit in range(10):
        mine = images[labels == digit]
        order = (mine - mine[0]).flatten(1).norm(dim=1).argsort()
        rows.append(mine[order[[0, 1, 5]]])
    return torch.stack(rows, 1).unbind()


def contest_forger(way=0.5, noise=0.0):
    """{"stored", "changed", "nearest digit": images (10, 1, 8, 8), "r": (10,)}: stored digits, moved by the
    share `way` towards a near one and by `noise` spacings in a random direction."""
    chosen, near, _ = _stored()
    size = lambda x: x.flatten(1).norm(dim=1)[:, None, None, None]  # noqa: E731
    aside = size(near - chosen) * _unit(initial_noise(10, (1, 8, 8), 5), size)
    changed = (chosen + way * (near - chosen) + noise * aside).clamp(-1, 1)
    every = digits("all")[0]
    nearest = every[torch.cdist(changed.flatten(1), every.flatten(1)).argmin(1)]
    ratio = nearest_neighbour_ratio(changed, every)
    return {"stored": chosen, "changed": changed, "nearest digit": nearest, "r": ratio}


def _unit(x, size):
    return x / size(x)
