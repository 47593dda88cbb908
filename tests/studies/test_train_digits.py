"""The recipes are those that the shipped weights were made by, and a run goes through."""

import json

import pytest
import torch

from studies import train_classifier, train_digits
from toolkit.data import digits
from toolkit.networks import load_weights, pretrained


def as_written(settings):
    """What settings become in a file's metadata."""
    return json.loads(json.dumps(settings))


@pytest.mark.parametrize("name", train_digits.RECIPES)
def test_shipped_digits_networks_were_made_by_these_recipes(name):
    make, recipe = train_digits.RECIPES[name]
    net = pretrained(name)
    assert net.notes["settings"] == as_written(train_digits.SHARED | recipe)
    assert {key: value.shape for key, value in make().state_dict().items()} == {
        key: value.shape for key, value in net.state_dict().items()
    }


@pytest.mark.parametrize("name", train_classifier.RECIPES)
def test_shipped_classifiers_were_made_by_these_recipes(name):
    net = pretrained(name)
    assert net.notes["settings"] == train_classifier.SETTINGS and net.notes["test_accuracy"] >= 0.98
    images, labels = digits("test", net.shape[-1])
    read = net(images).argmax(1)
    assert float((read == labels).float().mean()) == pytest.approx(net.notes["test_accuracy"], abs=0.003)


@pytest.mark.parametrize("side", [8, 28])
def test_augmentation_moves_digits_by_little_and_keeps_the_paper(side):
    images = digits("test", side)[0][:20]
    still = train_classifier.augmented(images, torch.Generator().manual_seed(0), 0.0, 0.0)
    torch.testing.assert_close(still, images, atol=1e-4, rtol=0)
    moved = train_classifier.augmented(images, torch.Generator().manual_seed(0), 0.125, 0.1)
    assert moved.shape == images.shape and moved.min() >= -1.0001 and not torch.allclose(moved, images)
    assert abs(moved.mean() - images.mean()) < 0.06


def test_a_short_run_ships_what_it_trained_and_resumes(tmp_path, monkeypatch):
    make, recipe = train_digits.RECIPES["large-digits"]
    monkeypatch.setitem(train_digits.RECIPES, "large-digits", (make, recipe | dict(steps=3, batch=4)))
    monkeypatch.setattr(train_digits, "measure", lambda net, **options: {})
    for folder in ("one", "two"):  # the second run finds the first one's checkpoint
        train_digits.main("large-digits", tmp_path / folder, tmp_path / "checkpoint")
    one, two = (tmp_path / folder / "large-digits.safetensors" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    net = load_weights(one)
    assert net.shape == (1, 28, 28) and net.notes["settings"]["steps"] == 3
    assert (tmp_path / "one" / "manifest.json").exists()
