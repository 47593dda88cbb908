"""The figures of chapter 2 draw, say what they show, and the numbers that its prose quotes come out."""

import re

import numpy as np
import pytest

from book.ch02 import experiments, figures
from book.plots import Picture, number
from book.problems import rms
from toolkit import VP, grids
from toolkit.convergence import slope
from toolkit.data import digits
from toolkit.ddim import edit
from toolkit.metrics import class_accuracy
from toolkit.networks import digits_model


def spread(eta, steps):
    """What the widget prints as the modes' spread."""
    return float(re.search(r"deviation of ([\d.]+)", figures.explorer(eta, steps).alt)[1])


def test_the_widget_shows_what_its_question_asks():
    assert spread(0.0, 20) > 0.083 and spread(1.0, 20) < 0.077
    assert spread(0.0, 5) == pytest.approx(spread(1.0, 5), abs=0.02) and spread(0.0, 5) > 0.1
    assert (
        "at one point" in figures.explorer(0.0, 10).alt
        and "at one point" not in figures.explorer(0.5, 10).alt
    )


def test_the_widget_draws_the_same_bytes_twice():
    assert figures.explorer(0.5, 7).png == figures.explorer(0.5, 7).png


def test_bundles_part_only_with_noise():
    alt = figures.bundles(experiments.FAR_START).alt
    assert re.search(r"DDIM ends in 1 of", alt)
    assert int(re.search(r"DDPM ends in (\d)", alt)[1]) > 1


def test_the_chain_and_the_family_are_two_drawings():
    picture = figures.graphs()
    assert [len(ax.texts) - 4 > 5 for ax in picture.axes] == [
        True,
        True,
    ]  # arrows beside four names of states
    assert "Markov chain" in picture.alt or "neighbour" in picture.alt


def test_some_noise_remembers_its_start_and_much_does_not():
    found = experiments.bundle_counts()
    assert found["eta 0: fullest mode"] == 400
    assert found["eta 0.5: emptiest mode"] < 30 < found["eta 1: emptiest mode"]


def test_a_broken_walk_leaves_the_marginal_at_once():
    times = grids.uniform_lambda(VP(), 20).tolist()
    from scipy.special import ndtr

    broken = [
        experiments.kolmogorov(ndtr(row)) for row in experiments.walk_family(0.5, times, broken=True, seed=3)
    ]
    assert all(np.array(broken[2:]) > experiments.KS_WORST)
    lam = VP().lam(np.array(times[1:]))
    assert isinstance(figures.marginal_test({"broken": (lam, broken)}, experiments.KS_WORST), Picture)


def test_three_terms_say_how_much_noise():
    assert "noise at most 0 at eta 0" in figures.three_terms(experiments.LINEAR).alt


def test_orders_are_one():
    for name, (steps, errors) in experiments.orders((20, 40, 80, 160), n=60).items():
        assert slope(steps, errors) == pytest.approx(1, abs=0.1), name


def test_iterations_raise_the_order_of_the_round_trip():
    for k, (calls, errors) in experiments.round_trip((100, 200, 400), (0, 1, 2)).items():
        assert slope(calls, errors) == pytest.approx(k + 1, abs=0.25)


def test_iterating_pays_the_more_the_more_is_spent():
    gain = experiments.equal_calls((20, 100, 500), range(1, 3))
    ways = ("1 iteration", "2 iterations", "4 iterations")
    assert max(gain[f"ring, 20 calls: {k}"] for k in ways) < 1.2
    assert gain["ring, 100 calls: 4 iterations"] < 2 < gain["ring, 100 calls: 1 iteration"] < 5
    assert gain["ring, 500 calls: 4 iterations"] > 50 > gain["ring, 500 calls: 1 iteration"] > 5


def test_solving_every_step_inverts_where_the_iteration_converges():
    found = experiments.inversion()
    assert found["round trip, 20 steps, 30 iterations"] > 1e-3
    assert found["round trip, 80 steps, 30 iterations"] < 1e-9


def test_isotropic_gaussians_that_are_centred_or_of_variance_one_have_straight_paths():
    arcs = experiments.arcs_of_gaussians(100)
    for name in ("centred, isotropic", "off-centre, variance 1"):
        assert arcs[f"{name}: largest arc / chord"] < 1 + 1e-9
    assert arcs["centred, stretched: largest arc / chord"] > 1.02
    assert arcs["off-centre, isotropic: largest arc / chord"] > 1.2


def test_more_pairs_would_be_exchanged_the_denser_the_points():
    found = experiments.pairs_by_number((50, 200, 400), seed=1)
    changed, saved = ([v for k, v in found.items() if what in k] for what in ("changed", "saved"))
    assert changed == sorted(changed) and changed[-1] > 3 * changed[0] and max(saved) < 1.5


def test_brightness_needs_a_start_at_pure_noise():
    found = experiments.terminal_signal()
    share = lambda name: found[f"Stable Diffusion's{name}, share brought back"]
    assert share("") < 0.75 and share(", zero terminal SNR") > 0.98
    assert share(" in 50 steps: leading") < share(" in 50 steps: trailing")
    assert np.allclose(experiments.spacing("trailing"), grids.strided(experiments.LINEAR, 50))


@pytest.mark.slow
def test_clipping_is_wrong_off_centre_and_no_help_on_digits():
    found = experiments.clip_predictions()
    assert (
        found["mean on N(2, 1/4), clipped"] == pytest.approx(1) and found["mean on N(2, 1/4), as it is"] > 1.9
    )
    worse, spread = (found[f"clipped minus as it is, same seed{sd}"] for sd in ("", ", sd"))
    assert worse > 3 * spread / 8**0.5


@pytest.mark.slow
def test_rare_modes_are_kept_by_the_flow_and_few_steps_draw_them_too_often_or_too_rarely():
    found = experiments.rare_mode(seeds=(5, 6))
    share = lambda data, way: found[f"{data}: rare mode, %, {way}"]
    assert 0.3 < share("ring", "exact flow") < 0.7 < share("ring", "10 steps")
    assert found["ring: chi-square, 10 steps"] > 4 * experiments.CHI2_5_PERCENT
    assert found["ring: chi-square, 50 steps"] < 2 * experiments.CHI2_5_PERCENT
    assert share("far out", "5 steps") < 0.25 and share("two on a line", "5 steps") < 0.35


def test_history_falls_twice_as_fast_as_adaptive_steps():
    with_history = slope(*experiments.adaptive_errors((0.01, 0.003, 0.001), extrapolate=True, n=100))
    assert with_history > 1.7
    picture = figures.adaptive({"a": ([10, 20], [0.1, 0.05])}, {"a": figures.adaptive_steps(n=50)})
    assert "shortest near" in picture.alt


def test_digit_figures():
    images, labels = digits("test")
    pick = [images[(labels == k).nonzero()[0, 0]] for k in (0, 4)]
    model, times = digits_model(VP()), grids.quadratic(VP(), 20)
    assert "great circle" in figures.interpolation(model, *pick, times).alt
    alt = figures.editing(model, pick[0], 0, 6, times, untils=(0.3, 0.9)).alt
    own, other, x = model.with_label(0), model.with_label(6), pick[0][None]
    change = number(rms(edit(own, other, x, times, until=0.9, iterations=5) - x))
    assert "comes back unchanged" in alt and f"{change} at 0.9" in alt
    assert f"change is {change}" in figures.editor(model, pick[0], 0, times)(6, 0.9).alt


@pytest.mark.slow
def test_the_depth_at_which_a_4_becomes_another_digit():
    """What the chapter asks beside its second widget: a 6 early, a 2 last of all."""
    images, labels = digits("test", side=28)
    model, times = digits_model(VP(), name="large-digits"), grids.quadratic(VP(), 50)
    four, own = images[labels == 4][:1], model.with_label(4)
    for target, depth, read in ((6, 0.7, 1), (2, 0.8, 0), (2, 1.0, 1)):
        edited = edit(own, model.with_label(target), four, times, until=depth, iterations=5)
        assert class_accuracy(edited, [target]) == read


def test_distances_and_their_figure():
    result, floors = experiments.speed_and_quality(), experiments.distance_floors(draws=5)
    assert [row["calls"] for row in result["DDIM"]] == list(experiments.COUNTS)
    for rows in result.values():
        for metric, (floor, _, copies) in floors.items():
            assert rows[0][metric][0] > rows[2][metric][0] > copies and floor > 1.1 * copies
    assert experiments.knee(result["DDIM"], "Fréchet distance") in experiments.COUNTS[1:3]
    assert "400 digits" in figures.speed_and_quality(result, floors, 400).alt


def test_paths_bend_on_three_modes_only():
    median = [
        float(v)
        for v in re.findall(r"([\d.]+) times as long", figures.bent_paths(experiments.three_modes()).alt)
    ]
    assert median[0] > 1.02 and median[1] == pytest.approx(1, abs=1e-3)
