"""What chapter 8c writes out in its cells is what the toolkit does; its experiments measure what they say."""

from functools import cache, partial

import numpy as np
import pytest
import torch

from book.ch08 import experiments, figures
from book.claims import recorded
from studies import latents_study
from tests.book.notebooks.pages import left_by, sources
from toolkit import initial_noise
from toolkit.masked import even, law, unmask
from toolkit.networks import WEIGHTS, pretrained
from toolkit.scales import enlarge

page = cache(partial(left_by, "08c_larger_pictures"))


def test_the_restart_in_the_page_is_the_experiment():
    assert torch.equal(page("restart-by-hand")["digits"], experiments.refine(1.4))


def test_the_root_in_the_page_is_the_experiment():
    found = experiments.root_of_rest()
    space = page("root-by-hand")
    wrong = float(abs(space["single"][0].double() / space["exact"][0] - 1))
    assert wrong == pytest.approx(found["from single precision"], rel=1e-6)


def test_the_loop_of_strings_in_the_page_has_the_core_s_law():
    """The page's four steps, on many rows, come at each word as often as `law` says."""
    source = sources("08c_larger_pictures")["strings-by-hand"]
    space, n = {"experiments": experiments, "torch": torch, "print": lambda *words: None}, 4000
    exec(source.replace('["____"] * 6', f'["____"] * {n}'), space)
    words = experiments.strings()
    found, _ = law(words, even(4))
    written, drawn = words.write(words.states()), words.write(space["x"])
    for word, p in zip(written, found.tolist()):
        assert abs(drawn.count(word) / n - p) <= 6 * (p * (1 - p) / n) ** 0.5 + 1e-9
    *_, core = unmask(words, n, even(4))
    assert set(words.write(core)) <= {word for word, p in zip(written, found.tolist()) if p > 0}


def test_the_preview_network_ships_as_its_study_says():
    net = pretrained("preview-digits")
    assert net.shape == (1, 7, 7)
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in latents_study.PREVIEW.items()} == {
        k: list(v) if isinstance(v, tuple) else v for k, v in net.notes["settings"].items()
    }
    assert (WEIGHTS / "preview-digits.safetensors").stat().st_size <= 300_000


def test_a_preview_that_is_not_refined_far_stays_itself():
    """From next to no noise four calls give the enlarged preview back; from far up another picture."""
    large = enlarge(experiments.drawn_previews(), 4)
    near, far = (float((experiments.refine(level) - large).square().mean().sqrt()) for level in (0.01, 20.0))
    assert near < 0.1 < 0.3 < far


def test_recorded_runs_have_all_their_seeds():
    runs = recorded("scales")["runs"]
    assert {len(values) for run in runs.values() for values in run.values()} == {8}
    for row in recorded("speed")["rows"].values():
        assert row["range"][0] <= row["ratio"] <= row["range"][1]


def test_the_autoencoder_in_the_page_is_the_toolkit_s():
    space = page("autoencoder-by-hand")
    codes = space["latents"].encode(space["images"])
    torch.testing.assert_close(space["white"].flip(1).abs().float(), codes.abs(), atol=1e-4, rtol=1e-3)


def test_recorded_latents_keep_the_order_of_their_floors():
    """Each kind's samples are further than its reconstructions, and these further than real digits; at 16 the
    learned code is nearer in both, by more than its trainings differ."""
    found = recorded("latents")
    kinds = found["learned"]["kinds"]
    of = lambda kind, key: [run[key]["distance"] for run in kinds[kind]]  # noqa: E731
    for kind, runs in kinds.items():
        for run in runs:
            order = [run[key]["distance"] for key in ("reconstructed", "samples", "normal latents")]
            assert found["floor"]["distance"] < order[0] < order[1] < order[2], kind
    for key in ("reconstructed", "samples"):
        learned = of("16, autoencoder", key)
        assert max(learned) + 3 * (max(learned) - min(learned)) < min(of("16, principal", key))
    assert found["learned"]["kinds"]["16, principal"][0]["samples"] == found["latents"]["16"]["samples"]
    assert experiments.drawn_from_latents()["learned"].shape == (10, 1, 28, 28)


def test_joint_losses_are_what_their_names_say():
    x, generator = initial_noise(32, 64), torch.Generator().manual_seed(0)
    for care, reached in (("none", True), ("unit", True), ("stop", False)):
        torch.manual_seed(0)
        joint = latents_study.Joint(care)
        torch.nn.init.normal_(joint.noise.outlet.weight, std=0.1)
        _, wrong, _ = joint.losses(x, experiments.VP(), generator)
        wrong.backward()
        gradient = joint.encoder[0].weight.grad
        assert (gradient is not None and bool(gradient.abs().sum() > 0)) == reached, care


def test_figures_tell_what_they_show():
    curves = {"a": ([1.0, 2.0], [4.0, 3.0], [0.1, 0.2])}
    assert "a 4 from 1, least 3 from 2" in figures.refined(curves, {"real": 0.5}).alt
    spectra = {"digits": np.array([9.0, 4.0, 1.0]), "lost": np.array([0.0, 1.0, 1.0])}
    assert "digits has at most 4" in figures.hidden_detail(spectra).alt
    assert "DiT 2022" in figures.topics({"scaling": [(2022, "DiT"), (2024, "Liang")]}).alt
    images = initial_noise(3, (1, 28, 28))
    told = figures.previews_refined({"enlarged": images, "from 1": images + 1}).alt
    assert "from 1 1" in told
