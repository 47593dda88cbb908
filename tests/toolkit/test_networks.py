"""Networks: their common face, the shortcut for one noise level, shipped weights and what they are worth."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from toolkit import EDM, VP, grids, initial_noise, sample
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpmpp_2m
from toolkit.metrics import class_accuracy, frechet_distance, nearest_neighbour_ratio
from toolkit.networks import (
    LARGE_DIGITS_SIGMA_DATA,
    MLP,
    WEIGHTS,
    DigitClassifier,
    DigitsMLP,
    ToyMLP,
    UNet,
    digits_model,
    load_weights,
    pretrained,
    save_weights,
)
from toolkit.ode import edm_heun

STUDIES = Path(__file__).resolve().parents[2] / "studies"
SHIPPED = {"digits": 8, "digits-unet": 8, "large-digits": 28}  # name: side
FACES = {
    "digits": lambda: DigitsMLP(),
    "toy": lambda: ToyMLP(),
    "toy with classes": lambda: ToyMLP(n_classes=3),
    "any shape": lambda: MLP((3, 4), n_classes=2, width=32, blocks=2),
    "unet": lambda: UNet(),
    "unet of patches": lambda: UNet((1, 28, 28), channels=(8, 16), condition=16, patch=2),
    "colour unet": lambda: UNet((3, 16, 16), n_classes=0, channels=(16, 32)),
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scrambled(net, seed=0):
    """`net` with every weight random, so that no zero initialisation hides a part of it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    return net.eval()


def batch(net, n=20, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, *net.shape, generator=generator, dtype=dtype)
    return x, torch.linspace(-1, 1, n, dtype=dtype), torch.arange(n) % (net.n_classes + 1)


@pytest.mark.parametrize("name", FACES)
def test_every_denoiser_has_the_same_face(name):
    net = scrambled(FACES[name]())
    x, c, label = batch(net)
    out, features = net.forward_with_features(x, c, label)
    assert out.shape == x.shape and features.shape == (len(x), net.feature_size)
    assert torch.equal(out, net(x, c, label)) and torch.equal(features, net.features(x, c, label))
    assert torch.equal(net(x, c), net(x, c, torch.full_like(label, net.n_classes)))
    assert not torch.allclose(out, net(x, c + 0.3, label))
    if net.n_classes:
        assert not torch.allclose(features, net.features(x, c))
    double = net.double()
    assert double(x.double(), c.double(), label).dtype == torch.float64


@pytest.mark.parametrize("name", FACES)
def test_one_noise_level_for_the_batch_is_a_shortcut_not_another_answer(name):
    net = scrambled(FACES[name]()).double()
    x, _, label = batch(net, dtype=torch.float64)
    shared = torch.full((1,), 0.4, dtype=torch.float64).expand(len(x))
    torch.testing.assert_close(net(x, shared, label), net(x, shared.clone(), label), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(net(x, shared), net(x, shared.clone()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FACES)
def test_rows_do_not_see_each_other(name):
    net = scrambled(FACES[name]()).double()
    x, c, label = batch(net, dtype=torch.float64)
    torch.testing.assert_close(net(x, c, label)[7:9], net(x[7:9], c[7:9], label[7:9]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FACES)
def test_gradients_reach_every_weight(name):
    net = scrambled(FACES[name]()).train()
    net(*batch(net)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("name, side", SHIPPED.items())
def test_models_can_be_built_for_any_schedule(name, side):
    x = torch.randn(5, 1, side, side, generator=torch.Generator().manual_seed(0))
    level, vp = 0.7, VP()
    t = vp.t_of_lam(-torch.tensor(level, dtype=torch.float64).log()).item()
    on_edm, on_vp = digits_model(EDM(), 3, name), digits_model(vp, 3, name)
    torch.testing.assert_close(on_edm.x0(x, level), on_vp.x0(vp.alpha(t) * x, t), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "call, part",
    [
        (lambda: DigitsMLP()(torch.zeros(2, 64), torch.zeros(2)), "(batch, 1, 8, 8), got (2, 64)"),
        (lambda: DigitsMLP()(torch.zeros(2, 1, 8, 8), torch.zeros(3)), "shape (2,)"),
        (
            lambda: DigitsMLP()(torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.tensor([1])),
            "label must have shape (2,)",
        ),
        (lambda: DigitsMLP()(torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.tensor([1, 11])), "from 0 to 10"),
        (lambda: UNet((1, 10, 10)), "divide by 4"),
        (lambda: UNet((1, 28, 28), patch=2), "divide by 8"),
        (lambda: UNet(channels=(10, 20)), "multiples of 8"),
        (lambda: DigitClassifier()(torch.zeros(2, 64)), "(batch, 1, 8, 8)"),
        (lambda: DigitClassifier(28, 2)(torch.zeros(2, 1, 8, 8)), "(batch, 1, 28, 28)"),
        (lambda: digits_model(VP(), name="classifier"), "'classifier' are not those of a digits network"),
        (lambda: pretrained("cats"), "there are no shipped weights 'cats'"),
        (lambda: load_weights("nowhere.safetensors"), "no weights file"),
    ],
)
def test_errors_are_sentences(call, part):
    with pytest.raises(ValueError) as error:
        call()
    assert part in str(error.value) and "\n" not in str(error.value)


# --- weights --------------------------------------------------------------------------------------------


def test_weights_survive_the_disk(tmp_path):
    net = scrambled(UNet(channels=(8, 16), condition=16))
    save_weights(net, tmp_path / "net.safetensors", seed=5)
    again = load_weights(tmp_path / "net.safetensors")
    save_weights(again, tmp_path / "again.safetensors", seed=5)
    assert (tmp_path / "net.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert (
        again.notes == {"seed": 5}
        and not again.training
        and not any(p.requires_grad for p in again.parameters())
    )
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value.half().float())


def test_damaged_weights_are_told(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(ToyMLP(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="not the file that was shipped"):
        load_weights(path, digest)
    path.write_bytes(raw[:100])
    with pytest.raises(ValueError, match="does not hold the weights"):
        load_weights(path)


@pytest.mark.parametrize("name", [*SHIPPED, "classifier", "large-classifier"])
def test_shipped_files_are_small_and_say_how_they_were_made(name):
    entry = json.loads((WEIGHTS / "manifest.json").read_text())[name]
    path = WEIGHTS / entry["file"]
    assert path.stat().st_size <= 2_000_000
    with safe_open(path, framework="pt") as file:
        assert list(file.metadata()) == ["toolkit"]  # one key, so that the bytes are reproducible
        assert all(file.get_tensor(key).dtype == torch.float16 for key in file.keys())
    net = pretrained(name)
    assert net.notes["settings"]["seed"] == 0 and (STUDIES / net.notes["script"]).is_file()


def test_larger_digits_are_of_the_class_that_was_asked_for():
    """Thirty digits by 18 steps of Heun, three a class: readable, and with the pixels of digits."""
    labels = torch.arange(30) % 10
    model, times = digits_model(EDM(), labels, "large-digits"), grids.karras(EDM(), 18)
    images = sample(edm_heun, model, initial_noise(30, (1, 28, 28), seed=0) * times[0], times).x
    assert class_accuracy(images, labels) >= 0.9
    assert images.min() > -1.5 and images.max() < 1.5
    assert abs(images.mean() + 0.74) < 0.1 and abs(images.std() - LARGE_DIGITS_SIGMA_DATA) < 0.06


@pytest.mark.slow
def test_larger_digits_meet_their_bar():
    """500 samples: not far above the floor of fresh digits, readable, and no closer to the training set than
    digits for testing are.  Twelve calls of a good solver are enough to see it."""
    n, (train, _), (test, _) = 500, digits("train", 28), digits("test", 28)
    labels, times = digit_labels(n, seed=0, side=28), grids.karras(EDM(), 12)
    model = digits_model(EDM(), labels, "large-digits")
    images = sample(dpmpp_2m, model, initial_noise(n, (1, 28, 28), seed=0) * times[0], times).x
    distance, accuracy = frechet_distance(images), class_accuracy(images, labels)
    ratio, fresh = nearest_neighbour_ratio(images, train), nearest_neighbour_ratio(test, train)
    print(f"distance {distance:.3f}, accuracy {accuracy:.4f}, ratio {np.median(ratio):.3f}")
    assert distance <= 1.2 and accuracy >= 0.9
    assert (ratio < 0.5).mean() <= 0.004 and np.median(ratio) > np.median(fresh) - 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name, steps", [("digits", 100), ("digits-unet", 25)])
def test_shipped_digits_networks_meet_their_bar(name, steps):
    """2000 samples of DDIM with random labels: as close as fresh digits, readable, and not copies."""
    n = 2000
    labels = digit_labels(n, seed=0)
    model = digits_model(VP(), labels, name)
    images = sample(ddim, model, initial_noise(n, (1, 8, 8), seed=0), grids.uniform_lambda(VP(), steps)).x
    copies = (nearest_neighbour_ratio(images, digits("train")[0]) < 0.5).mean()
    distance, accuracy = frechet_distance(images), class_accuracy(images, labels)
    print(f"{name}: distance {distance:.3f}, accuracy {accuracy:.4f}, copies {copies:.4f}")
    assert distance <= 0.35 and accuracy >= 0.98 and copies <= 0.005
