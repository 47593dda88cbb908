"""Conclusions of chapter 8c outside what it shows: other strings, other features, the recorded seeds."""

import numpy as np
import pytest

from book.ch08 import experiments
from book.claims import recorded
from toolkit.masked import Strings, law, some, surest, total_variation
from toolkit.metrics import gaussian_w2_squared

OTHERS = ("his", "hat", "sat", "ash", "has", "sit", "tie", "set")


def miss(words, rules):
    return total_variation(words, law(words, rules)[0])


def test_one_letter_a_call_is_exact_on_other_words_and_two_are_not():
    words = Strings({word: 1 / n for n, word in enumerate(OTHERS, 1)})
    for rule in (some, surest):
        assert miss(words, [rule(1)] * 3) < 1e-9
        assert miss(words, [rule(1), rule(2)]) > 0.01


def test_which_letters_come_first_is_a_matter_of_the_words():
    """One before three holds on nearly all lists; equal halves and the surest first turn round."""
    found = experiments.other_words()
    one = [n for name, n in found.items() if name.startswith("one, then three, before")]
    assert min(one) >= 18
    for rule in ("two, then two, before", "two calls, the surest before"):
        ours, others = (n for name, n in found.items() if name.startswith(rule))
        assert (ours > 10) != (others > 10), rule
    assert max(n for name, n in found.items() if name.startswith("three calls")) < 10


def bias(x, values):
    """The mean distance of sets x (sets, n, d) from the law of covariance diag(values), over the formula."""
    d = x.shape[2]
    moments = ((one.mean(0), np.cov(one, rowvar=False)) for one in x)
    found = [gaussian_w2_squared(*one, np.zeros(d), np.diag(values)) for one in moments]
    return np.mean(found) / experiments.bias_of_moments(values, x.shape[1])


def test_the_bias_of_a_distance_needs_the_eigenvalues_and_light_tails():
    rng, unit = np.random.default_rng(0), np.ones(24)
    shape = (60, 400, 24)
    assert bias(rng.uniform(-(3**0.5), 3**0.5, shape), unit) == pytest.approx(1, abs=0.1)
    tails = rng.standard_normal(shape) / np.sqrt(rng.chisquare(5, (60, 400, 1)) / 3)
    assert bias(tails, unit) > 1.4
    unequal = np.geomspace(10, 0.01, 24)
    normal = rng.standard_normal(shape) * np.sqrt(unequal)
    assert bias(normal, unequal) == pytest.approx(1, abs=0.15)
    assert experiments.bias_of_moments(unequal, 1) < 0.8 * experiments.bias_of_moments(
        unit * unequal.mean(), 1
    )


def test_fresh_noise_is_compared_with_the_same_solver_without():
    runs = recorded("scales")["fresh"]["runs"]
    distance = {name: np.array(run["distance"]) for name, run in runs.items()}
    for level in ("from 1.4", "from 2.8"):
        assert (distance[f"{level} | DDIM, fresh noise"] < distance[f"{level} | DDIM"]).all()
