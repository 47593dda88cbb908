"""Metrics: how far a set of samples is from a set of data.

Sets are tensors or arrays (n, ...); everything but the first axis is flattened, arithmetic is float64 and
results are Python floats.  Metrics with `images` read digits (n, 1, 8, 8) or (n, 1, 28, 28) in [-1, 1]
through the shipped classifier of that size; distances of one size cannot be compared with the other's.

**A Fréchet distance depends on the number of samples**: an estimated covariance is biased, and the bias
shrinks like 1/n.  Compare only distances taken at the same n, and print n beside them.
"""

import math
from functools import cache

import numpy as np
import torch

from toolkit.data import digits
from toolkit.networks import pretrained
from toolkit.options import whole_number

CLASSIFIERS = {8: "classifier", 28: "large-classifier"}  # side: shipped weights
FEATURE_VARIANCE = 64.0  # total variance of the digits' features once scaled


def _points(values, name="x"):
    """`values` as a finite float64 array (n, d)."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    values = np.asarray(values)
    if not values.size or not values.ndim:
        raise ValueError(f"{name} must be a set of points of shape (n, ...), got shape {values.shape}")
    points = values.astype(np.float64).reshape(len(values), -1)
    if not np.isfinite(points).all():
        raise ValueError(
            f"{name} holds NaN or infinite values in {(~np.isfinite(points)).any(1).sum()} of its rows"
        )
    return points


def _pair(x, y):
    x, y = _points(x, "x"), _points(y, "y")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x and y must have points of the same size, got {x.shape[1]} and {y.shape[1]} coordinates"
        )
    return x, y


# --- Fréchet distance -----------------------------------------------------------------------------------


def _root(matrix):
    """Symmetric square root of a positive semi-definite matrix; eigenvalues that rounding made negative count
    as 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def gaussian_w2_squared(mean1, cov1, mean2, cov2):
    """Squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982):
    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1^1/2 C2 C1^1/2)^1/2. Means (d,), covariances (d, d)."""
    root = _root(cov1)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov2 @ root), 0, None)).sum()
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross)


def frechet_from_features(x, y):
    """Fréchet distance of two sets of features (n, d) and (m, d): `gaussian_w2_squared` of their moments, the
    "FID" of Heusel et al. 2017 (no square root). Each set needs at least 2 rows."""
    x, y = _pair(x, y)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {len(x)} and {len(y)}")
    moments = [(z.mean(0), np.atleast_2d(np.cov(z, rowvar=False))) for z in (x, y)]
    return max(0.0, gaussian_w2_squared(*moments[0], *moments[1]))


@cache
def _classifier(side):
    return pretrained(CLASSIFIERS[side])


def _digit_images(images):
    """`images` as float32 (n, 1, side, side) on the CPU, of a side that there is a classifier for."""
    images = torch.as_tensor(images).float().cpu()
    images = images[:, None] if images.ndim == 3 else images
    if tuple(images.shape[1:]) not in [(1, side, side) for side in CLASSIFIERS]:
        raise ValueError(
            f"digit images have shape (batch, 1, 8, 8) or (batch, 1, 28, 28), got {tuple(images.shape)}"
        )
    if not torch.isfinite(images).all():
        raise ValueError("images hold NaN or infinite values")
    return images


@torch.no_grad()
def _classify(images, what):
    """`what`, "forward" or "features", of the images' classifier, a batch at a time, as a float64 array."""
    images = _digit_images(images)
    read, batch = getattr(_classifier(images.shape[-1]), what), 2**18 // images[0].numel()
    return np.concatenate([read(part).double().numpy() for part in images.split(batch)])


@cache
def _feature_scale(side):
    return math.sqrt(FEATURE_VARIANCE / _classify(digits("all", side)[0], "features").var(0).sum())


def digit_features(images):
    """64 features (n, 64) of digit images in the shipped classifier of their size, scaled so that those of
    all digits of that size have total variance 64 (one unit a feature on average)."""
    images = _digit_images(images)
    return _classify(images, "features") * _feature_scale(images.shape[-1])


@cache
def _digit_features(split, side):
    return digit_features(digits(split, side)[0])


def frechet_distance(images, reference=None):
    """Fréchet distance of digit images in `digit_features`, to all digits of that size or to the images
    `reference`.

    It falls with the number of images: quote n. `fresh_distances` gives the scale."""
    side = _digit_images(images).shape[-1]
    if reference is None:
        return frechet_from_features(digit_features(images), _digit_features("all", side))
    if _digit_images(reference).shape[-1] != side:
        raise ValueError(
            f"images and reference must be of one size, got {side} and {reference.shape[-1]} pixels a side"
        )
    return frechet_from_features(digit_features(images), digit_features(reference))


def fresh_distances(n, side=8, draws=20, seed=0):
    """What n perfect samples could expect of `frechet_distance`, (draws,): their mean is its floor at this n,
    their standard deviation its luck.

    Each is the distance of real digits, the classes in their proportions, from all others: m of the N there
    are, n or half of N. It is multiplied by (1/n + 1/N) / (1/m + 1/(N - m)), for the distance of two samples
    of one distribution goes with the sum of the inverse sizes (measured to a few per cent). Digits drawn from
    the reference itself are no yardstick: they score what copies do."""
    from sklearn.model_selection import train_test_split

    labels, features = digits("all", side)[1], _digit_features("all", side)
    total = len(labels)
    if whole_number("n", n) < 10:
        raise ValueError(f"n must be at least 10, one of each class, got {n}")
    m = min(n, total // 2)
    parts = [
        train_test_split(features, train_size=m, stratify=labels, random_state=seed + i) for i in range(draws)
    ]
    scale = (1 / n + 1 / total) / (1 / m + 1 / (total - m))
    return scale * np.array([frechet_from_features(*pair) for pair in parts])


def class_accuracy(images, labels):
    """Share of digit images that the shipped classifier of their size reads as `labels` (n,)."""
    labels = torch.as_tensor(labels).cpu().numpy().reshape(-1)
    read = _classify(images, "forward").argmax(1)
    if len(read) != len(labels):
        raise ValueError(f"images and labels must have the same length, got {len(read)} and {len(labels)}")
    return float((read == labels).mean())


# --- transport and energy -------------------------------------------------------------------------------


def wasserstein2(x, y):
    """Exact 2-Wasserstein distance of two sets of n points each, by optimal assignment; cost n^3, so n of a
    few thousand. `sliced_wasserstein` takes larger sets, and sets of two sizes."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    x, y = _pair(x, y)
    if len(x) != len(y):
        raise ValueError(f"wasserstein2 needs sets of the same size, got {len(x)} and {len(y)} points")
    cost = cdist(x, y, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def sliced_wasserstein(x, y, directions=256, seed=0):
    """Sliced 2-Wasserstein distance: the root mean square, over random directions, of the 1-D distance of the
    projections (Bonneel et al. 2015). A shift by s in d dimensions gives |s| / sqrt(d) on average.

    `seed` is an integer or a numpy Generator; sets of different sizes are compared exactly, by quantiles."""
    x, y = _pair(x, y)
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    axes = rng.standard_normal((x.shape[1], directions))
    axes /= np.linalg.norm(axes, axis=0)
    x, y = np.sort(x @ axes, axis=0), np.sort(y @ axes, axis=0)
    # quantile functions are constant between the multiples of 1/n and of 1/m: integers in units of 1/(n m)
    n, m = len(x), len(y)
    knots = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    gap = x[knots[:-1] // m] - y[knots[:-1] // n]
    return float(np.sqrt((np.diff(knots)[:, None] * gap**2).sum(0).mean() / (n * m)))


def energy_distance(x, y, rows=1024):
    """Energy distance sqrt(2 E|X - Y| - E|X - X'| - E|Y - Y'|) (Székely & Rizzo 2013) of the two empirical
    distributions; zero exactly when they are equal, and scipy's function of this name in one dimension."""
    x, y = _pair(x, y)
    squared = 2 * _mean_distance(x, y, rows) - _mean_distance(x, x, rows) - _mean_distance(y, y, rows)
    return math.sqrt(max(0.0, squared))


def _mean_distance(x, y, rows):
    from scipy.spatial.distance import cdist

    return sum(cdist(x[i : i + rows], y).sum() for i in range(0, len(x), rows)) / (len(x) * len(y))


# --- neighbours -----------------------------------------------------------------------------------------


def _nearest(points, queries, k):
    """Distances (n, k) and rows (n, k) of the k nearest `points` of each query."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors(queries)


def precision_recall(samples, data, k=3):
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1-3): the share of samples that fall
    inside the union of balls around the data, and of data inside the balls around the samples. A ball reaches
    to its centre's k-th nearest neighbour in its own set. Give features, or points of few dimensions."""
    samples, data = _pair(samples, data)
    if min(len(samples), len(data)) <= k:
        raise ValueError(f"both sets need more than k = {k} points, got {len(samples)} and {len(data)}")
    return _covered(samples, data, k), _covered(data, samples, k)


def _covered(queries, centres, k, rows=1024):
    from scipy.spatial.distance import cdist

    radius = np.concatenate(
        [np.partition(cdist(part, centres), k, axis=1)[:, k] for part in _parts(centres, rows)]
    )
    inside = [(cdist(part, centres) <= radius).any(1) for part in _parts(queries, rows)]
    return float(np.concatenate(inside).mean())


def _parts(points, rows):
    return (points[i : i + rows] for i in range(0, len(points), rows))


def nearest_neighbour_ratio(samples, training):
    """For each sample, its distance to the nearest training point over that point's distance to its own
    nearest neighbour in the training set: (n,). Fresh data give about 1; well below 1/2 is a copy."""
    samples, training = _pair(samples, training)
    if len(training) < 2:
        raise ValueError("the training set needs at least 2 points")
    distance, row = _nearest(training, samples, 1)
    spacing = _nearest(training, training[row[:, 0]], 2)[0][:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = distance[:, 0] / spacing
    return np.where(distance[:, 0] == 0, 0.0, ratio)
