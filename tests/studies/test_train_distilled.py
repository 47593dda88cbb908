"""The study of students: recipes in the files, and a record that keeps what it does not measure."""

import json
from functools import partial

import pytest
import torch

from book.claims import recorded
from studies import train_distilled
from toolkit import EDM, distilled, grids, initial_noise, sample
from toolkit.data import digit_labels
from toolkit.ddim import ddim
from toolkit.distill import at_scale
from toolkit.metrics import frechet_distance
from toolkit.models import Guided
from toolkit.networks import load_weights, pretrained, save_weights

STUDY = recorded("distillation")
# the others are older than that note
WITH_RECIPE = ("consistency-distilled", "reflow", "guided", *distilled.FEW)


@pytest.mark.parametrize("name", WITH_RECIPE)
def test_a_shipped_file_holds_its_recipe(name):
    notes = pretrained(f"student-{name}").notes
    options = distilled.FEW_STEPS if name in distilled.FEW else distilled.OPTIONS["digits"][name]
    told = json.loads(json.dumps(train_distilled._told(options)))
    assert notes["settings"] == told and notes["seed"] == 0
    if name in distilled.FEW:
        assert notes["seconds"] == STUDY["guided, few steps"]["seconds"][0]
    else:
        rows = STUDY["guided"] if name == "guided" else STUDY["digits"][name]
        assert notes["seconds"] == rows[0]["seconds"]


def test_a_recipe_is_told_with_functions_by_name():
    def late(schedule, u, power):
        return u

    told = train_distilled._told({"lr": 2e-3, "rounds": (2, 1), "t": late, "s": partial(late, power=4)})
    assert told == {"lr": 2e-3, "rounds": (2, 1), "t": "late", "s": ["late", {"power": 4}]}
    json.dumps(told)


def test_a_record_ships_seed_0_and_keeps_what_it_does_not_measure(tmp_path, monkeypatch):
    monkeypatch.setattr(train_distilled, "_student_figures", lambda on, name, seeds: [f"new {name}"])
    for seed in (0, 1):
        network = pretrained("student-reflow")
        with torch.no_grad():
            next(network.parameters()).add_(seed)
        save_weights(network, tmp_path / f"digits-reflow-{seed}.safetensors", seed=seed, seconds=1)
    path, folder = tmp_path / "record.json", tmp_path / "weights"
    path.write_text(json.dumps({"digits": {"reflow": ["old"], "consistency": ["kept"]}, "n": 3}))
    train_distilled.record("digits", "reflow", tmp_path, path, folder)
    assert json.loads(path.read_text()) == {
        "digits": {"reflow": ["new reflow"], "consistency": ["kept"]},
        "n": 3,
    }
    shipped = load_weights(folder / "student-reflow.safetensors")
    want = load_weights(tmp_path / "digits-reflow-0.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(shipped.parameters(), want.parameters()))
    assert shipped.notes["seed"] == 0 and "student-reflow" in json.loads(
        (folder / "manifest.json").read_text()
    )


def _guided_digits(seed, n=STUDY["n"], scale=3.0):
    """n digits of the guided teacher, written out: 18 steps of DDIM, two calls each."""
    labels, noise = digit_labels(n, seed), initial_noise(n, (1, 8, 8), seed) * EDM().start
    return sample(ddim, Guided(distilled.teacher(), labels, scale), noise, grids.karras(EDM(), 18)).x


@pytest.mark.slow
def test_the_floor_under_the_guided_students_comes_out_again():
    """The guided teacher against itself with other labels and other noise."""
    found = frechet_distance(_guided_digits(0), _guided_digits(10))
    for rows in (STUDY["guided target"], STUDY["guided, few steps"]["1"]):
        assert found == pytest.approx(rows[0]["3"]["floor"], rel=0.03, abs=0.002)


@pytest.mark.slow
def test_shipped_guided_students_of_few_steps_give_the_recorded_distances():
    goal, n = _guided_digits(10), STUDY["n"]
    labels, noise = digit_labels(n, 0), initial_noise(n, (1, 8, 8), 0) * EDM().start
    for name, steps in distilled.FEW.items():
        model = at_scale(distilled.student(name).with_label(labels), 3.0)
        want = STUDY["guided, few steps"][f"{steps}"][0]["3"]["student"]
        found = frechet_distance(distilled.jump(model, noise, steps), goal)
        assert model.nfe == steps and found == pytest.approx(want, rel=0.03, abs=0.002)
