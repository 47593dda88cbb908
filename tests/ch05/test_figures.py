"""The figures of chapter 5 draw, say what they show, and the numbers that its prose quotes come out."""

import re

import numpy as np
import pytest
import torch

from book.ch05 import experiments, figures
from book.claims import recorded
from book.plots import Picture, from_one_noise
from book.problems import rms, training_calls
from studies import student_options
from toolkit import EDM, distilled, initial_noise
from toolkit.convergence import slope

pytestmark = pytest.mark.slow


def numbers(picture):
    return [float(v) for v in re.findall(r"\d+\.?\d*", picture.alt)]


def test_one_step_says_the_mean_and_the_flow_map_does_not():
    alt = figures.maps(*experiments.why_hard(400)).alt
    spreads = [float(v) for v in re.findall(r"deviation ([\d.]*\d)", alt)]
    assert spreads[0] > 0.8 and spreads[1] < 0.6 and spreads[2] < 0.02


def test_slope_follows_its_law_and_grows_by_millions():
    assert experiments.steepness(0.15) / experiments.steepness(0.3) == pytest.approx(8.6e6, rel=0.01)
    for std in (0.15, 0.3, 0.6):
        assert experiments.steepness(std) == pytest.approx(std * np.exp(0.5 / std**2), rel=0.01)
    assert isinstance(figures.steepness(*experiments.steepness_by_deviation([0.2, 0.5])), Picture)


def test_halving_keeps_the_deviation_with_the_right_target_only():
    alt = figures.halving(experiments.halving(), experiments.TRUE_STD).alt
    assert re.search(r"two-step target stays at 0.42.*literal loss falls from 0.42 to 0.0051", alt)


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
    result = experiments.minimisers_on_two_peaks((80, 320))
    ratio = result["RMS to the flow map, 80 levels"] / result["RMS to the flow map, 320 levels"]
    assert ratio == pytest.approx(1.6, abs=0.05)
    wide = experiments.wide_modes()
    ratio = wide["RMS on wide peaks, 80 levels"] / wide["RMS on wide peaks, 320 levels"]
    assert ratio == pytest.approx(3.2, abs=0.1)


def test_the_haze_of_the_ring_is_not_the_bias():
    result = experiments.bias_between_neighbours((160, 640))
    values = [result[f"minimiser of {m} levels: between modes, %"] for m in (160, 640)]
    assert values == pytest.approx([5.7, 3.4], abs=0.2)
    assert result["pseudo-Huber, 160 levels: between modes, %"] < 1
    few, many = (
        experiments.spread(recorded("student_options")["levels"][n], "between") for n in ("80", "640")
    )
    assert few[0] == pytest.approx(25, abs=0.5) and many[0] == pytest.approx(26, abs=0.5)
    assert abs(many[0] - few[0]) < few[1], "less than the seeds differ"
    shown = experiments.ring_students()
    blank = shown["a ring without modes: between modes, %"]
    assert blank == pytest.approx(28, abs=0.5) and abs(shown["CT: between modes, %"] - blank) < 2
    assert shown["CT: contrast"] == pytest.approx(1, abs=0.1) and shown["the flow map: contrast"] > 15
    assert all(abs(mean - blank) < half for mean, half in (few, many)), "the seeds do not tell it from none"


def test_the_misfit_enters_at_the_bottom_of_the_ladder():
    result = experiments.misfit_by_level((0.1, 0.2, 0.5, 80.0), 2000)
    for name, share in (("CT", 0.5), ("CD", 0.4)):
        low, quarter, half, whole = (result[f"{name}: {level:g}"] for level in (0.1, 0.2, 0.5, 80.0))
        assert low < quarter < half < whole + 3 and quarter > share * whole and half > 0.6 * whole


def test_contrast_counts_the_sectors():
    angle = torch.tensor([0.0, 0.1, 0.1 + np.pi / 2, np.pi / 8, np.pi])
    points = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    assert experiments.contrast(points) == 4


def test_a_better_solver_teaches_in_fewer_levels():
    result = experiments.teachers_and_training((10, 20, 40))
    orders = {name: slope(*row) for name, row in result.items()}
    fine = experiments.teachers_and_training((80,))
    assert fine["distillation, Heun steps"][1][0] < 0.01 * fine["training"][1][0]
    assert fine["distillation, DDIM steps"][1][0] == pytest.approx(fine["training"][1][0] / 3, rel=0.05)
    assert "order 0.69 to" in figures.teachers(experiments.teachers_and_training()).alt
    assert (
        orders["distillation, Heun steps"] > 1.9 > 1 > orders["distillation, DDIM steps"] > orders["training"]
    )


def test_curves_of_the_options():
    assert "0.35" in figures.gradients(experiments.gradients(), experiments.TRUE_STD).alt
    assert figures.metrics(experiments.metrics()).alt.startswith("share of the left peak")
    decays = experiments.averages()
    ends = [v for k, v in decays.items() if k.startswith("deviation")]
    assert max(ends) - min(ends) < 1e-3
    assert decays["passes, decay 0.99"] == pytest.approx(10 * decays["passes, decay 0"], rel=0.1)


def test_a_second_step_helps_between_modes_and_not_on_one_gaussian():
    result = experiments.refinement((40,))
    assert min(result["two peaks, 40 levels"][1]) == pytest.approx(0.57, abs=0.03)
    assert min(result["one Gaussian, 40 levels"][1]) > 0.99
    assert isinstance(figures.refinement(experiments.refinement()), Picture)


def test_a_move_of_the_levels_is_a_curve_between_denoiser_and_flow_map():
    draw = lambda levels: figures.levels(*experiments.minimisers(levels, (), n=400))  # noqa: E731
    spreads = [float(re.findall(r"deviation ([\d.]*\d)", draw(m).alt)[1]) for m in (1, 5, 20, 80)]
    assert spreads == sorted(spreads) and spreads[0] < 0.02 and spreads[-1] > 0.78
    assert "1 level from" in draw(1).alt and draw(5).png == draw(5).png != draw(6).png
    beside = experiments.minimisers(20, n=400)[1]
    assert list(beside)[1:] == ["1 level", "5 levels", "80 levels", "20 levels"], "each once, the chosen last"


def test_errors_fall_from_the_denoisers_with_the_levels():
    curves = experiments.limit_of_levels((1, 10, 80, 320))
    for _, errors in curves.values():
        assert errors[0] == pytest.approx(1, abs=0.02) and errors == sorted(errors, reverse=True)
    assert curves["one Gaussian"][1][-1] < curves["wide peaks"][1][-1] < 0.02 < curves["two peaks"][1][-1]
    assert "320" in figures.limit_of_levels(curves).alt


def test_students_miss_half_way_between_the_modes():
    noise, far = experiments.ring_misses()
    turn = (torch.atan2(noise[:, 1], noise[:, 0]) * 8).cos()  # -1 half-way between two modes
    for name in experiments.RING_STUDENTS:
        worst = far[experiments.called(name)].topk(50).indices
        assert turn[worst].mean() < -0.3 < turn.mean(), name
    alt = figures.ring_misses(noise, far).alt
    assert "1000 noises" in alt and "CT" in alt and "reflow" in alt


def test_the_schematic_says_what_it_shows():
    assert "neighbouring" in figures.targets().alt


def test_students_of_the_ring_are_far_better_than_one_step_of_ddim():
    result = experiments.ring_students()
    one_step = rms(experiments.ring_jumps("teacher") - experiments.ring_ends()[1])
    for name in experiments.RING_STUDENTS:
        assert result[f"{experiments.called(name)}: from the flow map"] < 0.6 * one_step
    assert isinstance(figures.ring_students(*experiments.ring_clouds()), Picture)


def test_reflow_straightens():
    result = experiments.reflow_on_ring()
    before, after = (result[f"all lengths / all chords, {name}"] for name in ("before", "after one reflow"))
    assert before == pytest.approx(1.75, abs=0.05) and after < 1.05
    exact, of_all = experiments.path_lengths(), experiments.straightness()
    assert of_all["rectified flow: ring"] > 1.4 * of_all["VP: ring"]
    for data in ("digits", "digits with a label"):
        assert of_all[f"rectified flow: {data}"] + 0.04 < of_all[f"VP: {data}"] < 1.15
    assert exact["all lengths / all chords, rectified flow"] == pytest.approx(before, abs=0.05)
    assert exact["median length / chord, rectified flow"] == pytest.approx(2, abs=0.1)
    assert exact["all lengths / all chords, VP"] == pytest.approx(1.2, abs=0.05)
    assert "12 paths" in figures.reflow_paths(*experiments.reflow_paths()).alt


def test_what_progressive_distillation_lacks_is_mostly_contrast(seed):
    """At each seed of the noise; the text's share is that of seed 0."""
    result = experiments.lost_contrast(seed=seed)
    told = lambda name, head: float(result[f"{name} | {head}"])
    assert told("progressive", "contrast") < 0.96 * told("the flow, Heun 18", "contrast")
    gain = {
        name: told(name, "FD") - told(name, "FD at the flow's contrast") for name in ("progressive", "CT")
    }
    assert gain["progressive"] > 1.2 * gain["CT"] > 0  # each has two digits: 1.5 and 1.0 were seen
    lag = told("progressive", "FD") - told("regression", "FD")
    assert 0.5 * lag < gain["progressive"] < 0.85 * lag


def test_the_first_target_gains_and_the_more_the_fewer_rounds_follow():
    """No range of three trainings touches another's, without labels."""
    study = recorded("distillation")
    name = {(6, "DDIM"): "progressive, six rounds, DDIM first", (6, "Heun"): "progressive, six rounds"}
    name |= {(4, "DDIM"): "progressive, DDIM first"}
    rows = {which: study["controls"][one] for which, one in name.items()}
    rows[4, "Heun"] = study["digits"]["progressive"]
    far = {which: [row["1"]["unconditional"] for row in of] for which, of in rows.items()}
    assert max(far[6, "Heun"]) < min(far[6, "DDIM"]) < max(far[6, "DDIM"]) < min(far[4, "DDIM"])
    mean = {which: sum(values) / 3 for which, values in far.items()}
    assert mean[4, "DDIM"] - mean[4, "Heun"] > 2 * (mean[6, "DDIM"] - mean[6, "Heun"])
    assert mean[4, "Heun"] < mean[6, "Heun"]


def test_guidance_and_the_sheet_of_students():
    alt = figures.guidance(experiments.guided_curves((1.0, 2.0))).alt
    assert "guided student" in alt and "not trained" not in alt
    rows = experiments.guided_digits(3.0, 4)
    assert [len(batch) for batch in rows.values()] == [4, 4, 4, 4] and "guidance 3" in figures.guided_digits(
        rows, 3.0
    ).alt
    far = from_one_noise(experiments.all_students(4)).alt
    assert "teacher, 36 calls" in far and "CT" in far and "CD" in far


def test_training_is_counted_as_it_happens():
    """Two steps of each method: calls of student and teacher as `training_calls` assumes, in samples."""
    from toolkit import distill

    shared = distilled.setting("digits")
    images, labels = shared.data[:64], shared.labels[:64]
    options = dict(labels=labels, steps=2, batch=8)
    student = shared.fresh(0, distill.ConsistencyModel)
    distill.train_consistency(student, images, levels=(4, 4), **options)
    assert student.nfe == 2 * 2
    student, teacher = shared.fresh(0, distill.ConsistencyModel), distilled.teacher()
    distill.train_consistency(student, images, teacher=teacher, levels=(4, 4), **options)
    assert (student.nfe, teacher.nfe) == (2 * 2, 2 * 2)
    student, teacher = shared.fresh(0), distilled.teacher()
    distill.distill_progressively(student, teacher, images, rounds=(2,), labels=labels, steps=(2,), batch=8)
    assert (student.nfe, teacher.nfe) == (2, 2 * 2)
    student, teacher = shared.fresh(0), distilled.teacher()
    options = dict(rounds=(2,), labels=labels, steps=(2,), batch=8, first_heun=4)
    distill.distill_progressively(student, teacher, images, **options)
    assert (student.nfe, teacher.nfe) == (2, 2 * 2 * 4)


def test_break_even_is_where_the_bills_are_equal_at_equal_quality():
    study = recorded("distillation")
    distance = lambda rows, *at: experiments.spread(rows, *at, "unconditional")[0]  # noqa: E731
    result = experiments.break_even()
    for name in experiments.ONE_STEP:
        way, calls = experiments.equals(name)
        n, goal = result[f"{experiments.called(name)}, against {way}"], distance(study["digits"][name], "1")
        assert training_calls(name) + n == pytest.approx(calls * n, rel=1e-3)
        assert distance(study["teacher"][way]) <= goal
        cheaper = [w for w in study["teacher"] if experiments.teacher_calls(w) < calls]
        assert all(distance(study["teacher"][w]) > goal for w in cheaper)
    rivals = {experiments.equals(name)[0] for name in experiments.ONE_STEP}
    assert rivals <= {f"2M {calls}" for calls in (4, 5, 6)}, "a good solver in four to six calls"
    assert all(1e6 < n < 1e7 for n in result.values())
    flow = distance(study["teacher"][experiments.THE_FLOW])
    below = [w for w in ("2M 6", "2M 8", "Heun 6") if distance(study["teacher"][w]) < flow]
    assert flow == pytest.approx(2.1, abs=0.01) and len(below) == 3


def test_quality_per_second_changes_sides_between_the_panels():
    result = experiments.quality_per_second()
    for n, wins in ((10**3, False), (10**5, False), (10**6, False), (10**7, True)):
        for name in experiments.ONE_STEP:
            way = experiments.equals(name)[0]
            assert (result[n][experiments.called(name)][0] < result[n][way][0]) is wins
    picture = figures.quality_per_second(result)
    assert "1,000,000: 40 and" in picture.alt and "10,000,000" in picture.alt


def test_every_student_gains_a_factor_of_ten_without_labels_and_several_with():
    study, settings = recorded("distillation"), experiments.settings()
    keys, mean = ("unconditional", "conditional"), lambda *at: experiments.spread(*at)[0]
    for key, factor in zip(keys, (10, 5)):
        one_step = mean(study["teacher"]["DDIM 1"], key)
        assert all(one_step > factor * mean(study["digits"][name], "1", key) for name in experiments.ONE_STEP)
    rows = [(settings[way],) for way in experiments.TEACHER_ROWS if not way.startswith("Heun ")]
    rows += [(study["digits"][name], "1") for name in experiments.ONE_STEP]
    free, classed = ([mean(*row, key) for row in rows] for key in keys)
    assert all(a > 3 * b for a, b in zip(free, classed)), "a label settles most of the distance"
    assert mean(settings["Heun 6"], keys[1]) > 3 * mean(settings[experiments.THE_FLOW], keys[1])


def test_with_labels_a_lower_end_makes_the_solver_a_students_equal_in_four_to_six_calls():
    rivals = {name: experiments.equals(name, "conditional") for name in experiments.ONE_STEP}
    assert rivals["adversarial"] == ("2M 6, lower end", 6) and rivals["consistency"] == ("2M 5, lower end", 5)
    assert all(4 <= calls <= 6 for _, calls in rivals.values())
    far = {w: experiments.spread(rows, "conditional")[0] for w, rows in experiments.settings().items()}
    plain = {way: v for way, v in far.items() if "lower" not in way}
    assert min(plain.values()) > 0.215, "none without it reaches the critic's .20"
    assert min(far, key=far.get) == "2M 7, lower end" and min(far.values()) == pytest.approx(0.19, abs=0.005)
    table = experiments.cost_table()
    assert table["CD | label: rival"] == "2M 4" and table["CD | M digits, no label"] == "1.5"


def test_without_2m_the_rival_is_heun_and_the_break_even_less_than_half():
    study, settings = recorded("distillation"), recorded("distillation")["teacher"]
    for name in experiments.ONE_STEP:
        goal = experiments.spread(study["digits"][name], "1", "unconditional")[0]
        good = [
            w
            for w in settings
            if w[:2] != "2M" and experiments.spread(settings[w], "unconditional")[0] <= goal
        ]
        way = min(good, key=experiments.teacher_calls)
        assert way in ("Heun 5", "Heun 6")
        share = (experiments.equals(name)[1] - 1) / (experiments.teacher_calls(way) - 1)
        assert 0.33 < share < 0.5


def test_more_calls_sharpen_cd_on_the_ring_and_ruin_regression():
    table = experiments.steps_table()
    at = lambda name: [float(table[f"{name}, calls: {n} | ring, contrast"]) for n in (1, 2, 4)]  # noqa: E731
    assert at("CD")[0] < at("CD")[1] < at("CD")[2] and at("regression")[0] > at("regression")[2]
    assert max(at("CT")) < 2, "hardly away from a ring without modes"
    study, spread = recorded("distillation")["digits"], experiments.spread
    one, two, four = (spread(study["consistency-distilled"], n, "unconditional") for n in "124")
    assert two[0] - one[0] > two[1] + one[1] and four[0] < one[0]
    labelled = {n: spread(study["consistency"], n, "conditional")[0] for n in "12"}
    assert labelled["2"] < 0.15 < labelled["1"]


def test_copies_with_noise_are_found_and_students_make_none():
    result = experiments.copies()
    shares = [result[f"training digits + noise {a:g}"][0] for a in (0.05, 0.1, 0.15, 0.2, 0.27)]
    assert np.allclose(shares, [100, 89, 26, 3, 0], atol=3)
    share, middle, least = result["digits held out"]
    assert (share, middle, least) == pytest.approx((0, 1.04, 0.57), abs=0.01)
    assert result["CT"] == pytest.approx((0, 1.10, 0.57), abs=0.02)
    assert result["regression"] == pytest.approx((0, 1.22, 0.62), abs=0.02)
    assert result["CT"][2] > least and result["regression"][2] > least
    assert result["regression, from its teacher's samples"][1] > middle


def test_the_table_holds_what_was_recorded():
    study, table = recorded("distillation"), experiments.student_table()
    for name in experiments.ONE_STEP:
        mean, half = experiments.spread(study["digits"][name], "1", "unconditional")
        assert table[f"{experiments.called(name)} | FD, no label"] == f"{mean:.2f} ± {half:.2f}"
    assert table["2M 5 | calls"] == "5" and table["the flow, Heun 128 | training, s"] == "–"
    assert experiments.steps_table()["CT, calls: 4 | FD, label"] == experiments.ranged(
        study["digits"]["consistency"], "4", "conditional"
    )


def test_rounding_to_many_bits_changes_nothing_and_to_few_much():
    result = experiments.bits(50)
    assert result["one step, 8 bits"] < 0.05 < result["one step, 4 bits"]
    network = distilled.teacher().network
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
    assert all(len(rows) == 3 for rows in study["consistency"].values())
    assert set(study["longer"]) == set(student_options.LONGER)
    assert set(study["levels"]) == {f"{n}" for n in student_options.LEVELS}
    assert "CT, target averaged, 2000 steps | between modes, %" in experiments.option_table()
    assert experiments.option_table("levels")["a ring without modes | between modes, %"] == "28"
    rows = [row for part in ("consistency", "longer") for rows in study[part].values() for row in rows]
    assert all(row["contrast"] < 1.5 for row in rows) and study["scale"]["the flow"]["contrast"] > 15
    few, many = (experiments.spread(study["levels"][n], "contrast")[0] for n in ("80", "640"))
    assert (few, many) == pytest.approx((1.3, 1.5), abs=0.05)
    assert 1e-6 < study["seconds a call"] < 1e-3


def test_the_average_arrives_later():
    longer = recorded("student_options")["longer"]
    plain, average = (experiments.spread(longer[name], "rms")[0] for name in student_options.LONGER[:2])
    assert plain == pytest.approx(average, abs=0.01)


def test_what_else_arrives_later_and_what_does_not():
    study = recorded("student_options")
    short, long = (
        {name: experiments.spread(study[part][name], "rms")[0] for name in student_options.LONGER}
        for part in ("consistency", "longer")
    )
    through, twice = student_options.LONGER[2:]
    assert long[through] < 0.7 * short[through] and long[through] > 1.7 * long[student_options.LONGER[0]]
    assert long[twice] == pytest.approx(short[twice], abs=0.06), "no nearer"


def test_the_guided_student_nearly_reaches_its_goal():
    rows = recorded("distillation")["guided target"]
    far = lambda scale, who: experiments.spread(rows, scale, who)[0]  # noqa: E731
    for scale, above in (("2", 0), ("3", 0.005), ("4", 0.025)):
        short = far(scale, "student") - far(scale, "floor")
        assert short == pytest.approx(above, abs=0.006) and short < 0.02 * far(scale, "unguided")
    left = experiments.left_table()
    assert all(1.5 < float(left[f"second stage, 1 call | scale {scale}"]) < 2.5 for scale in "234")
    for scale in "234":
        one, eight = (
            float(left[f"{way} | scale {scale}"]) for way in ("second stage, 1 call", "first stage, 8 calls")
        )
        assert one < 0.7 * eight
    alone, both = (left[f"first stage, {way} | scale 4"] for way in ("noisy data alone", "18 calls"))
    assert float(alone) > 3 * float(both)
    assert far("1", "student") == pytest.approx(1.9 * far("1", "floor"), rel=0.15)
    assert "scale 4 | student, 18 calls" in experiments.guided_table()


def test_students_of_the_second_stage_have_their_column_where_they_are_recorded(monkeypatch):
    study = recorded("distillation")
    few = {"1": study["guided target"], "solvers": {}, "seconds": [1, 2, 3]}
    monkeypatch.setattr(experiments, "recorded", lambda name: study | {"guided, few steps": few})
    table = experiments.guided_table()
    assert table["scale 2 | second stage, 1 call"][:4] == table["scale 2 | student, 18 calls"][:4]


def test_late_times_help_reflows_one_call():
    errors = recorded("distillation")["reflow, errors"]
    ends = {name: (row["others"]["1"], row["others"]["64"]) for name, row in errors.items()}
    assert ends["reflow, uniform times"] == pytest.approx((0.16, 0.08), abs=0.005)
    assert ends["reflow"] == pytest.approx((0.12, 0.09), abs=0.005)
    table = experiments.reflow_table(20)
    assert table["before | digits"] < 1.1 and table["after one reflow | digits"] < 1.02
