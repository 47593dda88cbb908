"""Chapter 8: practice."""

import math

import numpy as np
import pytest
from scipy import stats

from book.contest.scoring import Interval
from tests.book.notebooks.equations import equation
from toolkit.metrics import nearest_neighbour_ratio

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


# --- the contest ----------------------------------------------------------------------------------------


@equation("contest.ratio")
def nearest_ratio():
    """By hand on points of small whole numbers, and beside an independent search over all pairs."""
    data = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 6.0]])
    halfway = (data[1:2] + data[2:]) / 2
    assert nearest_neighbour_ratio(halfway, data)[0] == pytest.approx(0.5)
    rng = np.random.default_rng(4)
    x, data = rng.standard_normal((20, 3)), rng.standard_normal((30, 3))
    apart = np.linalg.norm(data[:, None] - data[None], axis=-1) + 1e9 * np.eye(30)
    to = np.linalg.norm(x[:, None] - data[None], axis=-1)
    wanted = to.min(1) / apart.min(1)[to.argmin(1)]
    assert nearest_neighbour_ratio(x, data) == pytest.approx(wanted)


@equation("contest.interval")
def interval_of_logarithms():
    """Covers the median of a log-normal in 95 of 100 triples, and equals scipy's."""
    rng = np.random.default_rng(3)
    logs = 0.7 * rng.standard_normal((2000, 3))
    found = [Interval.of(np.exp(row)) for row in logs]
    assert np.mean([one.low < 1 < one.high for one in found]) == pytest.approx(0.95, abs=0.02)
    low, high = stats.t.interval(0.95, 2, logs[0].mean(), stats.sem(logs[0]))
    got = [math.log(value) for value in (found[0].mean, found[0].low, found[0].high)]
    assert got == pytest.approx([logs[0].mean(), low, high])
    assert stats.t.ppf(0.975, 2) / math.sqrt(3) == pytest.approx(2.5, abs=0.02)
