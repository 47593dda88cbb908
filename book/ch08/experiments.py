"""Claims of chapter 8: practice.  Which sampler for which budget, what a condition does to samples, larger
pictures on a small machine, and a contest that counts calls.

The exact posterior, the exact tilted density and exact flows judge wherever they exist.  What takes minutes
comes from recorded studies in `recorded/`.
"""

import math
import statistics

from book.claims import recorded
from book.contest.scoring import column

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


# --- the contest ----------------------------------------------------------------------------------------

NAMES = {
    "gaussians": "a Gaussian a class, no network",
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
