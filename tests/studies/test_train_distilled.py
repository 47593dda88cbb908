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
from toolkit.metrics import frechet_distance
from toolkit.models import Guided
from toolkit.networks import load_weights, pretrained, save_weights

STUDY = recorded("distillation")
WITH_RECIPE = ("consistency-distilled", "guided")  # the others are older than that note


@pytest.mark.parametrize("name", WITH_RECIPE)
def test_a_shipped_file_holds_its_recipe(name):
    notes = pretrained(f"student-{name}").notes
    told = json.loads(json.dumps(train_distilled._told(distilled.OPTIONS["digits"][name])))
    assert notes["settings"] == told and notes["seed"] == 0
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


@pytest.mark.slow
def test_the_floor_under_the_guided_students_comes_out_again():
    """The guided teacher against itself with other labels and other noise, written out."""
    n, scale, digits = STUDY["n"], 3.0, []
    for seed in (0, 10):
        labels, noise = digit_labels(n, seed), initial_noise(n, (1, 8, 8), seed) * EDM().start
        model = Guided(distilled.teacher(), labels, scale)
        digits.append(sample(ddim, model, noise, grids.karras(EDM(), 18)).x)
    want = STUDY["guided target"][0]["3"]["floor"]
    assert frechet_distance(*digits) == pytest.approx(want, rel=0.03, abs=0.002)
