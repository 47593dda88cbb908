"""What chapter 8b writes out in its cells is what `toolkit.conditions` does, its figures draw and say what
they show, and the numbers that its prose quotes come out."""

from functools import cache, partial

import pytest
import torch

from book.ch08 import experiments, figures
from book.ch08.experiments import GIVEN, LINE_MODEL, MASK, PAIR, PLACES, WORDS
from book.plots import Picture
from tests.book.notebooks.pages import left_by
from toolkit import VP, Guided, Network, grids, initial_noise, sample
from toolkit.conditions import Reconstructed, inpaint
from toolkit.noise import Replay

DOUBLE = {"dtype": torch.float64}


page = cache(partial(left_by, "08b_conditions", defining=True))


# --- the page's code ------------------------------------------------------------------------------------


def test_a_classifier_by_hand():
    x = initial_noise(5, 1, 2, **DOUBLE)
    made = page("classifier-by-hand")["guided_by_hand"](LINE_MODEL, x, 0.3, 2.5)
    assert torch.allclose(made, Guided(LINE_MODEL, 1, 2.5).eps(x, 0.3), atol=1e-10)


@pytest.mark.parametrize("repeats", [1, 3])
def test_repaint_by_hand(repeats):
    times, x = grids.uniform_lambda(VP(), 5).tolist(), initial_noise(4, 2, 0, **DOUBLE)
    draws = [initial_noise(4, 2, seed, **DOUBLE) for seed in range(100)]
    given = iter(draws)
    made = page("repaint-by-hand")["repaint_by_hand"](
        PAIR.model(VP()), x, times, GIVEN["pair"], MASK, repeats, lambda like: next(given)
    )
    options = {"known": GIVEN["pair"], "level": MASK, "repeats": repeats}
    assert torch.allclose(sample(inpaint, PAIR.model(VP()), x, times, draws=Replay(draws), **options).x, made)


def test_the_estimate_by_hand():
    x, model = initial_noise(4, 2, 0, **DOUBLE), experiments.PEAKS.model(VP())
    made = page("estimate-by-hand")["estimate_by_hand"](model, x, 0.4, GIVEN["peaks"], MASK)
    assert torch.allclose(made, Reconstructed(model, GIVEN["peaks"], MASK, std="model").x0(x, 0.4))


# --- words ----------------------------------------------------------------------------------------------


def test_a_network_of_words():
    """No word is the null of guidance, the order does not matter, and each word does."""
    torch.manual_seed(0)
    net = experiments.TextMLP(shape=(2,), n_classes=len(WORDS), width=16, blocks=2)
    for weights in net.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    with torch.no_grad():
        net.conditioning.classes.weight[0] = 0
        model, x = Network(net, VP()), initial_noise(4, 2, 0)
        ask = lambda text: model.with_label(experiments.tokens([text])).eps(x, 0.4)
        assert torch.allclose(ask(""), model.eps(x, 0.4)) and torch.allclose(
            ask("far south"), ask("south far")
        )
        assert not torch.allclose(ask("far south"), ask("near south"))
        guided = Guided(model, experiments.tokens(["far south"]), 3.0).eps(x, 0.4)
        assert torch.allclose(guided, ask("") + 3 * (ask("far south") - ask("")), atol=1e-5)


def test_places_and_captions():
    assert len(PLACES) == 16 and len(experiments.places_of("far")) == 8
    assert experiments.places_of("near north") == ["near north east", "near north", "near north west"]
    points, words = experiments.captioned(2000, torch.Generator().manual_seed(0))
    assert not (words == experiments.tokens([experiments.HELD_OUT])).all(1).any()
    centres = torch.tensor([PLACES[" ".join(WORDS[i - 1] for i in row if i)] for row in words.tolist()])
    assert (points - centres).std() == pytest.approx(experiments.PLACE_STD, rel=0.1)


# --- experiments and figures ----------------------------------------------------------------------------


def test_the_quantiles_are_pushed_without_luck():
    """At scale 1 the flow's samples are the class."""
    mean, deviation = experiments.told(experiments.pushed(LINE_MODEL.with_label(1)))
    assert (mean, deviation) == (pytest.approx(1, abs=0.01), pytest.approx(0.5, abs=0.005))


def test_the_right_term_samples_the_tilted_density():
    r = experiments.right_guidance()
    for key in ("mean", "deviation"):
        assert r[f"the right term | {key}"] == pytest.approx(r[f"the tilted density | {key}"], abs=0.01)


def test_the_widget_counts_calls_and_names_moments():
    whole, some = experiments.between_state(4.0), experiments.between_state(4.0, 0.0, 1.0)
    assert some["calls"] < whole["calls"] == 2 * 2 * 40
    assert whole["moments"]["guided"][0] == pytest.approx(1.67, abs=0.01)
    assert some["moments"]["guided"][0] == pytest.approx(1.19, abs=0.02)
    assert experiments.between_state(2.0, 3.0, 1.0)["levels"] == (3.0, 3.0)


@pytest.mark.parametrize(
    "draw",
    [
        figures.two_terms,
        lambda: figures.classifiers(experiments.classifier_curves(points=11)),
        lambda: figures.guided_beside_tilted({w: {"tilted": experiments.tilted_curve(w)} for w in (1, 4)}),
        lambda: figures.between(experiments.between_state(2.0, 0.5, 3.0)),
        lambda: figures.scale_curves(*experiments.scale_curves()),
        lambda: figures.filled(*experiments.filled_densities(("replacement", "DPS, ζ = 1"), 200)),
        lambda: figures.half_digits({row: torch.zeros(2, 1, 28, 28) for row in ("digit", "known", "way")}),
        lambda: figures.region_digits({row: torch.zeros(2, 1, 28, 28) for row in ("digit", "levels 0, 1")}),
        lambda: figures.text_clouds({"far": [torch.randn(9, 2), torch.randn(9, 2)]}, {"far": 0.5}),
    ],
)
def test_figures(draw):
    picture = draw()
    assert isinstance(picture, Picture) and len(picture.alt) > 60 and "nan" not in picture.alt


def test_what_the_prose_quotes():
    """Numbers of 8.12 to 8.16 that no finding states."""
    r = experiments.guided_moments()
    assert r["w = 8 | flow, mean"] == pytest.approx(2.12, abs=0.01)
    r = experiments.upper_share(("estimate, r = κ", "estimate, r of one pixel"), 1000)
    assert r["exact"] == pytest.approx(79.1, abs=0.1)
    assert r["estimate, r = κ"] < 65 and 76 < r["estimate, r of one pixel"] < 90
