"""What a column scores, and how scores become intervals, places and points.

A column's score is a Fréchet distance; the smaller, the better.  Scores are averaged as logarithms, so that
halving a distance is worth the same in each column.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from sklearn.neighbors import NearestNeighbors

from book.contest.rules import Refused, Rules
from toolkit.data import digits
from toolkit.metrics import class_accuracy, frechet_distance, nearest_neighbour_ratio


def score(images, labels, rules: Rules) -> dict:
    """{"frechet", "obeyed", "copies", "near"} of images (n, 1, 8, 8), cut to [-1, 1], for labels (n,).

    The distance is to all digits, and so are the two shares of copies.  Raises Refused for another number of
    images, for labels not obeyed, and for copies.
    """
    if tuple(images.shape) != (len(labels), 1, 8, 8):
        raise Refused(f"its images must have shape ({len(labels)}, 1, 8, 8), got {tuple(images.shape)}")
    images = images.clamp(-1, 1)
    obeyed = class_accuracy(images, labels)
    if obeyed < rules.obeyed:
        raise Refused(f"{obeyed:.0%} of its images are read as the digit asked for; {rules.obeyed:.0%} must")
    shares = closeness(images)
    for name, bound, most in (("copies", COPY, rules.copies), ("near", NEAR, rules.near)):
        if shares[name] > most:
            what = f"{shares[name]:.0%} of its images lie within {bound} spacings of a digit of the data"
            raise Refused(f"{what}; {most:.0%} may")
    return {"frechet": round(frechet_distance(images), 4), "obeyed": round(obeyed, 3)} | shares


COPY, NEAR = 0.5, 0.7
"""Ratios of `metrics.nearest_neighbour_ratio`."""


def closeness(images) -> dict[str, float]:
    """{"copies", "near"}: shares of images (n, 1, 8, 8) whose distance to the nearest of all digits is below
    0.5, and below 0.7, of that digit's own distance to the next."""
    ratio = nearest_neighbour_ratio(images, digits("all")[0])
    return {"copies": float((ratio < COPY).mean()), "near": float((ratio < NEAR).mean())}


AGAIN = 0.2
"""A sample comes again when its nearest of another batch is so much nearer than a twentieth of that batch."""


def repeated(images, others) -> float:
    """The share of images (n, 1, 8, 8) that come again among others (m, 1, 8, 8), drawn from other noise.

    Points of a smooth density have their nearest neighbour at half the distance of the twentieth part of a
    batch, or a third; those of a list have it at none.  Both distances are of the sampler's own images, so
    that blurred ones, which are all alike, do not count.
    """
    images, others = (x.clamp(-1, 1).flatten(1).double().numpy() for x in (images, others))
    nearest = NearestNeighbors(n_neighbors=max(1, len(others) // 20)).fit(others)
    distance = nearest.kneighbors(images)[0]
    return float((distance[:, 0] <= AGAIN * distance[:, -1]).mean())


def refuse_repeated(images, others, rules: Rules) -> float:
    """`repeated`.  Raises Refused where it is more than the rules allow: a list of images is no sampler."""
    share = repeated(images, others)
    if share > rules.again:
        raise Refused(f"{share:.0%} of its images come again from other noise; {rules.again:.0%} may")
    return share


# --- intervals ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A geometric mean and its 95 % interval, by Student's t on the logarithms."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values) -> Interval:
        """Of positive values; of a single one the interval is all there is."""
        logs = [math.log(max(value, 1e-6)) for value in values]
        mean = statistics.fmean(logs)
        if len(logs) == 1:
            return cls(math.exp(mean), 0.0, math.inf)
        from scipy.stats import t

        half = t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
        return cls(math.exp(mean), math.exp(mean - half), math.exp(mean + half))

    def clearly_below(self, other: Interval) -> bool:
        """Whether the whole of it lies below the whole of the other."""
        return self.high < other.low


def column(scores: list[dict]) -> Interval | None:
    """The interval of one column over the seeds; None where one of them was not scored."""
    if not scores or any("frechet" not in one for one in scores):
        return None
    return Interval.of([one["frechet"] for one in scores])


def overall(columns: dict[str, list[dict]]) -> Interval | None:
    """Over all columns: of each seed the geometric mean of its columns, and of these the interval.  None
    where a column was not scored."""
    if not columns or any(column(scores) is None for scores in columns.values()):
        return None
    each = zip(*([math.log(max(one["frechet"], 1e-6)) for one in scores] for scores in columns.values()))
    return Interval.of([math.exp(statistics.fmean(logs)) for logs in each])


def places(intervals: dict[str, Interval | None]) -> dict[str, int]:
    """{name: 1 + how many are clearly better}: those whose intervals overlap are not told apart by luck.

    Without an interval there is no place.
    """
    scored = {name: one for name, one in intervals.items() if one is not None}
    return {
        name: 1 + sum(other.clearly_below(one) for other in scored.values()) for name, one in scored.items()
    }


# --- points ---------------------------------------------------------------------------------------------

FULL = 10.0


def points(columns: dict, baselines: list[dict]) -> float:
    """Points from 0 to 10: the mean over the columns of how far an entry came, in log distance, from the
    second worst baseline to the second best.  (The best may be `stored`, which is no sampler.)

    columns, and each of baselines: {calls: scores}.  It does not depend on the other entries.  A column
    without a score is worth nothing.  Raises ValueError where fewer than four baselines have one.
    """
    shares = []
    for calls, scores in columns.items():
        known = sorted(one.mean for its in baselines if (one := column(its.get(calls, []))) is not None)
        if len(known) < 4:
            raise ValueError(
                f"points need four baselines with a score at {calls} calls, and the board has {len(known)}: "
                "toolkit contest run --baselines"
            )
        nothing, full = math.log(known[-2]), math.log(known[1])
        own = column(scores)
        share = 0.0 if own is None else (nothing - math.log(own.mean)) / max(nothing - full, 1e-9)
        shares.append(min(1.0, max(0.0, share)))
    return round(FULL * statistics.fmean(shares), 1)
