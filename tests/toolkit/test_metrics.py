"""Metrics against cases whose answer is known."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.model_selection import StratifiedShuffleSplit

from toolkit import metrics as m
from toolkit.data import digits


def _covariance(rng, d):
    root = rng.standard_normal((d, d))
    return root @ root.T + 0.1 * np.eye(d)


def test_gaussian_w2_in_closed_form():
    # diagonal covariances: the distance is that of the means and of the standard deviations
    mean1, mean2 = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    sd1, sd2 = np.array([1.0, 2.0, 0.5]), np.array([3.0, 2.0, 1.5])
    expected = ((mean1 - mean2) ** 2).sum() + ((sd1 - sd2) ** 2).sum()
    got = m.gaussian_w2_squared(mean1, np.diag(sd1**2), mean2, np.diag(sd2**2))
    assert got == pytest.approx(expected, rel=1e-12)


def test_gaussian_w2_of_a_linear_map_is_the_cost_of_that_map():
    # T = A x with A symmetric positive definite is an optimal map: W2^2 = tr (A - I) C (A - I)   (Brenier)
    rng = np.random.default_rng(0)
    cov, a = _covariance(rng, 5), _covariance(rng, 5)
    change = a - np.eye(5)
    expected = np.trace(change @ cov @ change)
    assert m.gaussian_w2_squared(np.zeros(5), cov, np.zeros(5), a @ cov @ a) == pytest.approx(
        expected, rel=1e-10
    )


def test_gaussian_w2_survives_singular_covariances():
    flat = np.zeros((4, 4))
    flat[0, 0] = 2.0
    assert m.gaussian_w2_squared(np.zeros(4), flat, np.zeros(4), flat) == pytest.approx(0, abs=1e-12)
    line = np.ones((4, 4))  # rank one, eigenvalue 4
    assert m.gaussian_w2_squared(np.zeros(4), line, np.zeros(4), np.zeros((4, 4))) == pytest.approx(
        4, rel=1e-12
    )


def test_frechet_from_features_of_an_affine_image():
    x = np.random.default_rng(1).standard_normal((300, 6))
    assert m.frechet_from_features(x, x) == pytest.approx(0, abs=1e-10)
    expected = 6 * 0.5**2 + np.trace(np.cov(x.T))  # 2 x + .5 doubles every deviation
    assert m.frechet_from_features(x, 2 * x + 0.5 - x.mean(0)) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_falls_with_the_number_of_samples():
    rng = np.random.default_rng(2)
    data = rng.standard_normal((20_000, 16))
    few, many = (m.frechet_from_features(rng.standard_normal((n, 16)), data) for n in (200, 5000))
    assert few > 4 * many  # 25 times more samples, bias about 1/n


LARGE = pytest.param(28, marks=pytest.mark.slow)  # features of 5000 images: seconds


@pytest.mark.parametrize("side", [8, LARGE])
def test_digit_distances_have_the_documented_scale(side):
    images, _ = digits(side=side)
    assert m.digit_features(images).var(0).sum() == pytest.approx(m.FEATURE_VARIANCE, rel=2e-3)
    assert m.frechet_distance(images) == pytest.approx(0, abs=1e-6)
    images = images[:: len(images) // 1000]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    split = m.frechet_distance(digits("test", side)[0], digits("train", side)[0])
    assert 0.2 < split < 0.5 < m.frechet_distance(images + 0.4 * noise) < m.frechet_distance(noise)


@pytest.mark.parametrize("side", [8, LARGE])
def test_fresh_digits_are_a_floor_with_a_spread(side):
    n = len(digits("test", side)[0])
    one, two = (m.fresh_distances(n, side, seed=seed) for seed in (0, 100))
    assert np.array_equal(one[:2], m.fresh_distances(n, side, draws=2)) and len(one) == 20 and one.std() > 0
    assert abs(one.mean() - two.mean()) < 4 * np.hypot(one.std(), two.std()) / np.sqrt(20)
    # with ever more samples it goes down towards what the reference's own size leaves
    total = len(digits(side=side)[0])
    means = [m.fresh_distances(k, side, draws=3).mean() for k in (n // 2, total // 2, total, 100 * total)]
    assert means == sorted(means, reverse=True) and means[-1] == pytest.approx(means[-2] / 2, rel=0.02)
    # drawn from the reference itself, digits score less: as copies do
    images, labels = digits(side=side)
    features = m.digit_features(images)
    quotas = StratifiedShuffleSplit(5, train_size=n, random_state=0).split(features, labels)
    copies = [m.frechet_from_features(features[rows], features) for rows, _ in quotas]
    assert np.mean(copies) < one.mean() - one.std() / np.sqrt(20)
    # moved by a pixel, digits are no longer such digits: the difference is many spreads
    moved = digits("test", side)[0].roll(1, dims=3)
    assert m.frechet_distance(moved) > one.mean() + 4 * one.std()


@pytest.mark.parametrize("side", [8, 28])
def test_class_accuracy_of_real_digits(side):
    images, labels = digits("test", side)
    assert m.class_accuracy(images, labels) >= 0.98
    assert m.class_accuracy(images, (labels + 1) % 10) <= 0.01


def test_wasserstein2_of_a_shift_and_of_a_permutation():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 3))
    assert m.wasserstein2(x, rng.permutation(x)) == pytest.approx(0, abs=1e-9)
    assert m.wasserstein2(x, rng.permutation(x) + [3.0, 0.0, 4.0]) == pytest.approx(5, rel=1e-9)


def test_wasserstein2_in_one_dimension_pairs_sorted_values():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 100))
    expected = np.sqrt(((np.sort(x) - np.sort(y)) ** 2).mean())
    assert m.wasserstein2(x, y) == pytest.approx(expected, rel=1e-9)
    assert m.sliced_wasserstein(x, y) == pytest.approx(expected, rel=1e-9)


def test_sliced_wasserstein_of_a_shift():
    x = np.random.default_rng(5).standard_normal((50, 4))
    shift = np.array([1.0, -2.0, 0.0, 2.0])
    directions = 20_000  # the mean of <s, u>^2 is |s|^2 / d = 9 / 4
    assert m.sliced_wasserstein(x, x + shift, directions) == pytest.approx(1.5, rel=0.03)
    assert m.sliced_wasserstein(x, x) == 0


def test_sliced_wasserstein_takes_sets_of_different_sizes():
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((4, 2))
    repeated = m.sliced_wasserstein(np.repeat(x, 2, axis=0), np.repeat(y, 3, axis=0), seed=1)
    assert m.sliced_wasserstein(x, y, seed=1) == pytest.approx(repeated, rel=1e-12)


def test_energy_distance():
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal(1500), rng.standard_normal(900) + 1
    assert m.energy_distance(x, x) == 0
    assert m.energy_distance(x, y) == pytest.approx(stats.energy_distance(x, y), rel=1e-9)
    # two points a distance d apart: 2 d - 0 - 0
    assert m.energy_distance([[0.0, 0.0]], [[3.0, 4.0]]) == pytest.approx(math.sqrt(10))
    # {0, 1} against {0}: 2 * 1/2 - 1/2
    assert m.energy_distance([0.0, 1.0], [0.0]) == pytest.approx(math.sqrt(0.5))


def test_precision_and_recall():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((400, 2))
    assert m.precision_recall(x, x) == (1.0, 1.0)
    assert m.precision_recall(x, x + 100) == (0.0, 0.0)
    left = x[x[:, 0] < 0]  # half the data: precise, and misses a half
    precision, recall = m.precision_recall(left, x)
    assert precision == 1.0 and 0.45 < recall < 0.65


def test_precision_recall_by_hand():
    data, samples = np.array([0.0, 1.0, 2.0, 10.0]), np.array([0.5, 2.9, 4.0])
    # with k = 1 the balls of the data have radii 1, 1, 1, 8, those of the samples 2.4, 1.1, 1.1
    assert m.precision_recall(samples, data, k=1) == (1.0, 0.75)


def test_nearest_neighbour_ratio():
    training = np.array([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0]])
    samples = np.array([[0.0, 0.0], [0.0, 1.0], [10.0, 4.0], [2.5, 0.0]])
    np.testing.assert_allclose(m.nearest_neighbour_ratio(samples, training), [0, 0.5, 0.5, 0.25])
    train, test = digits("train")[0], digits("test")[0]
    assert (m.nearest_neighbour_ratio(test, train) < 0.5).mean() == 0
    assert (m.nearest_neighbour_ratio(train[:50] + 1e-3, train) < 0.5).all()
    assert 0.9 < np.median(m.nearest_neighbour_ratio(test, train)) < 1.2


def test_larger_digits_for_testing_are_no_copies_and_copies_are_seen():
    train, test = digits("train", 28)[0], digits("test", 28)[0][::5]
    ratio = m.nearest_neighbour_ratio(test, train)
    assert (ratio < 0.5).mean() == 0 and 0.9 < np.median(ratio) < 1.2
    noise = torch.randn(50, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert (m.nearest_neighbour_ratio(train[::80] + 0.05 * noise, train) < 0.5).mean() > 0.9


@pytest.mark.parametrize(
    "call, part",
    [
        (lambda: m.wasserstein2(np.zeros((3, 2)), np.zeros((4, 2))), "same size, got 3 and 4"),
        (lambda: m.energy_distance(np.zeros((3, 2)), np.zeros((3, 3))), "got 2 and 3 coordinates"),
        (lambda: m.sliced_wasserstein(np.full((3, 2), np.nan), np.zeros((3, 2))), "x holds NaN"),
        (lambda: m.frechet_from_features(np.zeros((1, 2)), np.zeros((3, 2))), "at least 2 samples"),
        (lambda: m.precision_recall(np.zeros((3, 2)), np.zeros((9, 2))), "more than k = 3 points"),
        (lambda: m.frechet_distance(torch.zeros(4, 1, 16, 16)), "(batch, 1, 8, 8) or (batch, 1, 28, 28)"),
        (lambda: m.frechet_distance(torch.zeros(4, 1, 28, 28), torch.zeros(4, 1, 8, 8)), "got 28 and 8"),
        (lambda: m.fresh_distances(9), "at least 10, one of each class, got 9"),
        (lambda: m.frechet_distance(torch.full((4, 1, 8, 8), math.nan)), "NaN"),
        (lambda: m.class_accuracy(torch.zeros(4, 1, 8, 8), [1, 2]), "got 4 and 2"),
        (lambda: m.wasserstein2(np.zeros((0, 2)), np.zeros((0, 2))), "(0, 2)"),
    ],
)
def test_errors_are_sentences(call, part):
    with pytest.raises(ValueError) as error:
        call()
    assert part in str(error.value) and "\n" not in str(error.value)
