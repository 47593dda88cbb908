"""The figures of chapter 5 draw, say what they show, and the numbers that its prose quotes come out."""

import re

import numpy as np
import pytest
import torch

from benchmarks import student_options
from toolkit import EDM, initial_noise, students
from toolkit.claims import distill as experiments
from toolkit.claims import recorded
from toolkit.convergence import slope
from toolkit.figures import distill as figures
from toolkit.plots import Picture


def numbers(picture):
    return [float(v) for v in re.findall(r"\d+\.?\d*", picture.alt)]


def test_one_step_says_the_mean_and_the_flow_map_does_not():
    alt = figures.why_hard(400).alt
    spreads = [float(v) for v in re.findall(r"deviation ([\d.]*\d)", alt)]
    assert spreads[0] > 0.8 and spreads[1] < 0.6 and spreads[2] < 0.02


def test_slope_follows_its_law_and_grows_ten_million_times():
    assert experiments.steepness(0.15) / experiments.steepness(0.3) == pytest.approx(1e7, rel=0.2)
    for std in (0.15, 0.3, 0.6):
        assert experiments.steepness(std) == pytest.approx(std * np.exp(0.5 / std**2), rel=0.01)
    assert isinstance(figures.steepness(np.array([0.2, 0.5])), Picture)


def test_halving_keeps_the_deviation_with_the_right_target_only():
    assert re.search(
        r"two-step target stays at 0.42.*literal loss falls from 0.42 to 0.0051", figures.halving().alt
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_linear_minimiser_is_what_draws_of_pairs_give(seed):
    """The slope at the first levels by least squares on drawn pairs."""
    s = experiments.rising(10)
    x0 = 0.5 * initial_noise(200_000, 1, seed, dtype=torch.float64)
    z = initial_noise(200_000, 1, seed + 100, dtype=torch.float64)
    slopes = [1.0]
    for low, high in zip(s[:-1], s[1:]):
        x, y = x0 + high * z, slopes[-1] * (x0 + low * z)
        slopes.append(float((x * y).sum() / x.square().sum()))
    assert np.allclose(slopes, experiments.linear_slopes(10), rtol=0.02)


def test_bias_is_of_first_order_on_a_gaussian_only():
    for counts, errors in experiments.bias_by_levels().values():
        assert slope(counts[3:], errors[3:]) == pytest.approx(1, abs=0.05)
    found = experiments.minimisers_on_two_peaks((80, 320))
    ratio = found["RMS to the flow map, 80 levels"] / found["RMS to the flow map, 320 levels"]
    assert ratio == pytest.approx(1.6, abs=0.05)


def test_a_better_solver_teaches_in_fewer_levels():
    found = experiments.teachers_and_training((10, 20, 40))
    orders = {name: slope(*row) for name, row in found.items()}
    shown = experiments.with_a_teacher()
    assert shown["distillation, Heun steps: 80 levels"] < 0.01 * shown["training: 80 levels"]
    assert (
        orders["distillation, Heun steps"] > 1.9 > 1 > orders["distillation, DDIM steps"] > orders["training"]
    )


def test_curves_of_the_options():
    assert "0.35" in figures.gradients().alt and figures.metrics().alt.startswith("share of the left peak")
    decays = experiments.averages()
    ends = [v for k, v in decays.items() if k.startswith("deviation")]
    assert max(ends) - min(ends) < 1e-3
    assert decays["sweeps, decay 0.99"] == pytest.approx(10 * decays["sweeps, decay 0"], rel=0.1)


def test_a_second_step_helps_between_modes_and_not_on_one_gaussian():
    found = experiments.refinement((40,))
    assert min(found["two peaks, 40 levels"][1]) == pytest.approx(0.57, abs=0.03)
    assert min(found["one Gaussian, 40 levels"][1]) > 0.99
    assert isinstance(figures.refinement(), Picture)


@pytest.mark.parametrize("data", ["ring", "digits"])
def test_the_widget_draws_every_student_and_the_same_bytes_twice(data):
    picture = figures.jumps(2, data)
    assert all(name in picture.alt for name in ("regression", "progressive", "adversarial", "reflow"))
    figures._digit_jumps.cache_clear()
    assert picture.png == figures.jumps(2, data).png
    assert picture.alt != figures.jumps(5, data).alt


def test_students_of_the_ring_are_far_better_than_one_step_of_ddim():
    found = experiments.ring_students()
    one_step = experiments.rms(experiments.ring_jumps("teacher") - experiments.ring_ends()[1])
    for name in experiments.RING_STUDENTS:
        assert found[f"{name}: from the flow map"] < 0.6 * one_step
    assert isinstance(figures.ring_students(), Picture)


def test_reflow_straightens():
    found = experiments.reflow_on_ring()
    assert found["length / chord, before"] > 1.5 and found["length / chord, after one reflow"] < 1.1
    assert "40 paths" in figures.reflow_paths().alt


def test_guidance_and_the_sheet_of_students():
    alt = figures.guidance((1.0, 2.0)).alt
    assert "guided student" in alt and "not trained" not in alt
    far = figures.all_students(4).alt
    assert "teacher, 36 calls" in far and "trained consistency" in far


def test_training_is_counted_as_it_happens():
    """Two steps of each method: calls of student and teacher as `training_calls` assumes, in samples."""
    from toolkit import distill

    shared = students.setting("digits")
    images, labels = shared.data[:64], shared.labels[:64]
    options = dict(labels=labels, steps=2, batch=8)
    student = shared.fresh(0, distill.ConsistencyModel)
    distill.train_consistency(student, images, levels=(4, 4), **options)
    assert student.nfe == 2 * 2
    student, teacher = shared.fresh(0, distill.ConsistencyModel), students.teacher()
    distill.train_consistency(student, images, teacher=teacher, levels=(4, 4), **options)
    assert (student.nfe, teacher.nfe) == (2 * 2, 2 * 2)
    student, teacher = shared.fresh(0), students.teacher()
    distill.distill_progressively(student, teacher, images, rounds=(2,), labels=labels, steps=(2,), batch=8)
    assert (student.nfe, teacher.nfe) == (2, 2 * 2)


def test_break_even_is_where_the_bills_are_equal():
    for name, n in experiments.break_even().items():
        student = experiments.training_calls(name.removeprefix("samples, ")) + n
        assert student == pytest.approx(18 * n, rel=1e-3)


def test_the_table_holds_what_was_recorded():
    study, text = recorded("distillation"), experiments.student_table()
    for name in experiments.ONE_STEP:
        mean, half = experiments.spread(study["digits"][name], "1", "unconditional")
        (line,) = [line for line in text.splitlines() if line.split("  ")[0] == name]
        assert f"{mean:.2f} ± {half:.2f}" in line


def test_rounding_to_many_bits_changes_nothing_and_to_few_much():
    found = experiments.bits(50)
    assert found["one step, 8 bits"] < 0.05 < found["one step, 4 bits"]
    network = students.teacher().network
    same = experiments.rounded_weights(network, 24)
    x = initial_noise(4, (1, 8, 8), 0)
    c = torch.zeros(4)
    assert torch.allclose(network(x, c), same(x, c), atol=1e-3)
    assert EDM().end == experiments.SCHEDULE.end


@pytest.mark.parametrize(
    "name, seed", [("CD, weight 1/σ²+1/d²", 0), ("CD, uniform weight", 0), ("CT, gradient through", 5)]
)
def test_the_study_of_options_comes_out_again(name, seed):
    """The same seed, or another, to within what machines and seeds differ by."""
    mean, half = experiments.spread(recorded("student_options")["consistency"][name], "rms")
    assert student_options.consistency_scores(name, seed)["rms"] == pytest.approx(mean, abs=0.05 + half)


def test_the_study_of_options_is_whole():
    study = recorded("student_options")
    assert set(study["consistency"]) == set(student_options.CONSISTENCY)
    assert set(study["critic"]) == {f"{w:g}" for w in student_options.CRITIC}
    assert all(len(rows) == 3 for group in ("consistency", "critic") for rows in study[group].values())
    assert "CT, noise drawn twice" in experiments.option_table()
    assert "critic's weight 100" in experiments.option_table("critic")


def test_guided_distances_are_the_recorded_ones():
    found = experiments.guided_distances()
    assert found["scale 2: student, 18 calls"] == pytest.approx(found["scale 2: teacher, 36 calls"], rel=0.15)
