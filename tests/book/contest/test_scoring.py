"""What a column scores, and what follows from scores: intervals, places, points."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from book.contest.rules import Refused, Rules
from book.contest.scoring import (
    Interval,
    closeness,
    column,
    overall,
    places,
    points,
    refuse_repeated,
    repeated,
    score,
)
from toolkit.data import digits

RULES = Rules()


def test_digits_that_were_not_trained_on_are_no_copies():
    """Halves of the data against each other: the bounds leave fresh digits room."""
    from toolkit.metrics import nearest_neighbour_ratio

    ratio = nearest_neighbour_ratio(digits("test")[0], digits("train")[0])
    assert (ratio < 0.5).mean() < RULES.copies and (ratio < 0.7).mean() < 0.7 * RULES.near


@pytest.mark.parametrize("kind", ["train", "test", "noise", "midpoints"])
def test_copies_are_refused_however_they_are_made_a_little_different(kind, seed):
    images, labels = digits("test" if kind == "test" else "train")
    if kind == "noise":
        generator = torch.Generator().manual_seed(seed)
        images = images + 0.1 * torch.randn(images.shape, generator=generator, dtype=torch.float32)
    if kind == "midpoints":
        flat = images.flatten(1)
        apart = torch.cdist(flat, flat) + 1e6 * (labels[:, None] != labels[None]) + 1e6 * torch.eye(len(flat))
        images = (images + images[apart.argmin(1)]) / 2
    with pytest.raises(Refused, match="spacings of a digit"):
        score(images, labels, RULES)
    shares = closeness(images)
    assert shares["copies"] > 0.3 or shares["near"] > 0.3


def test_what_is_no_picture_of_what_was_asked_for_is_refused():
    images, labels = digits("test")
    with pytest.raises(Refused, match="read as the digit"):
        score(images, (labels + 1) % 10, RULES)
    with pytest.raises(Refused, match="shape"):
        score(images[:5], labels, RULES)
    with pytest.raises(Refused):
        score(torch.full_like(images, 1e38), labels, RULES)


@pytest.mark.parametrize("stored, fresh", [(500, 0.0), (2000, 0.0), (6000, 0.0), (2000, 0.05)])
def test_a_list_of_images_comes_again_however_long_it_is(stored, fresh, seed):
    """As many as a network of 400,000 numbers can hold, 64 each; digits with noise stand in for them."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float32)  # noqa: E731
    images = digits("all")[0]
    rows = torch.randint(len(images), (stored,), generator=generator)
    kept = images[rows] + 0.2 * normal(stored, 1, 8, 8)
    drawn = lambda: kept[torch.randint(stored, (2000,), generator=generator)]  # noqa: E731
    batches = [drawn() + fresh * normal(2000, 1, 8, 8) for _ in range(2)]
    with pytest.raises(Refused, match="come again"):
        refuse_repeated(*batches, RULES)
    fresh_ones = [images[torch.randint(len(images), (2000,), generator=generator)] for _ in range(2)]
    fresh_ones = [one + 0.2 * normal(2000, 1, 8, 8) for one in fresh_ones]
    assert refuse_repeated(*fresh_ones, RULES) < 0.02


@pytest.mark.parametrize("spread", [0.01, 1.0])
def test_images_that_are_all_alike_do_not_come_again(spread, seed):
    """What is blurred has a bad distance and is no list: only the batch's own scale counts."""
    generator = torch.Generator().manual_seed(seed)
    x = spread * torch.randn(2, 2000, 1, 8, 8, generator=generator, dtype=torch.float32)
    assert repeated(*x) < 0.001
    assert repeated(torch.zeros(50, 1, 8, 8), torch.zeros(50, 1, 8, 8)) == 1.0


def test_halves_of_the_data_do_not_come_again():
    images = digits("all")[0]
    assert repeated(images[::2], images[1::2]) < 0.02


def test_an_interval_is_student_s_on_the_logarithms():
    values = np.array([0.4, 0.5, 0.9, 1.3])
    one = Interval.of(values)
    low, high = stats.t.interval(0.95, 3, np.log(values).mean(), stats.sem(np.log(values)))
    assert one.mean == pytest.approx(stats.gmean(values))
    assert (one.low, one.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert Interval.of([0.5]).high == math.inf
    assert Interval.of([0.0, 0.0]).mean < 1e-5


def test_the_interval_covers_as_often_as_it_says(seed):
    rng = np.random.default_rng(seed)
    drawn = [Interval.of(np.exp(rng.standard_normal(3))) for _ in range(600)]
    assert 0.92 < np.mean([one.low < 1 < one.high for one in drawn]) < 0.98


def test_places_call_ties_ties():
    found = places(
        {
            "a": Interval(1.0, 0.9, 1.1),
            "b": Interval(1.1, 1.0, 1.2),  # not told apart from a
            "c": Interval(1.19, 1.15, 1.3),  # clearly worse than a, not than b
            "d": Interval(9.0, 8.0, 10.0),
            "one run": Interval(0.5, 0.0, math.inf),
            "not scored": None,
        }
    )
    assert found == {"a": 1, "b": 1, "c": 2, "d": 4, "one run": 1}


def scores(*values):
    return [{"frechet": value} for value in values]


def test_a_column_that_was_missed_once_is_missed():
    assert column([*scores(1, 2), {"why": "late"}]) is None and column([]) is None
    assert overall({"1": scores(1, 1), "2": [{"why": "late"}] * 2}) is None
    assert overall({"1": scores(1, 1), "2": scores(4, 4)}).mean == pytest.approx(2)


def test_points_go_from_the_second_worst_baseline_to_the_second_best():
    known = [{"1": scores(value, value)} for value in (8.0, 4.0, 2.0, 1.0, 0.1)]
    of = lambda value: points({"1": scores(value, value)}, known)  # noqa: E731
    assert [of(v) for v in (0.3, 1.0, 2.0, 4.0, 8.0)] == [10.0, 10.0, 5.0, 0.0, 0.0]
    assert points({"1": [{"why": "late"}], "2": scores(1.0)}, [one | {"2": one["1"]} for one in known]) == 5.0
    with pytest.raises(ValueError, match="four baselines"):
        points({"1": scores(1.0)}, known[:3])
