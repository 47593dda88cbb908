"""Claims of chapter 8: practice.  Which sampler for which budget, what a condition does to samples, larger
pictures on a small machine, and a contest that counts calls.

The exact posterior, the exact tilted density and exact flows judge wherever they exist.  What takes minutes
comes from recorded studies in `recorded/`.
"""

import math
import statistics
from functools import cache

import numpy as np
import torch

from book.claims import recorded
from book.contest.commands import FOLDER
from book.contest.inside import loaded
from book.contest.scoring import column
from toolkit import initial_noise
from toolkit.data import digits
from toolkit.metrics import nearest_neighbour_ratio
from toolkit.networks import pretrained

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


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
}


def contest_curves():
    """{"curves": {baseline: (calls, geometric means)}, "floor"}: the baselines' samplers with the networks
    that ship; what was refused in a column has no number there."""
    found = recorded("contest")
    curves = {}
    for name, columns in found["shipped"].items():
        means = [_mean(scores) for scores in columns.values()]
        curves[NAMES[name]] = (
            [int(calls) for calls in columns],
            [math.nan if m is None else m for m in means],
        )
    return {"curves": curves, "floor": found["floor"][0]}


def _mean(scores):
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


def contest_boxed(part="baselines"):
    """Baselines as the contest runs them.  "baselines": 45 s on a busy machine, mean and interval of three
    trainings, or that one of them was refused; "full": one training of 90 s on an idle one."""
    found = recorded("contest")[part]
    return {
        f"{NAMES[name]} | {_calls(calls)}": _interval(scores)
        for name, its in found.items()
        for calls, scores in its["columns"].items()
    }


def _interval(scores):
    one = column(scores)
    if one is None:
        return "refused"
    return f"{one.mean:.2g}" + (f" [{one.low:.2g}, {one.high:.2g}]" if len(scores) > 1 else "")


def contest_carried():
    """What a Gaussian for each class scores, by how many of its directions it has."""
    found = recorded("contest")["gaussians"]
    shown = {"Fréchet distance": "frechet", "near a digit of the data": "near"}
    return {
        f"{one['numbers']:,} numbers | {what}": float(f"{one[key]:.2g}")
        for one in found.values()
        for what, key in shown.items()
    }


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
