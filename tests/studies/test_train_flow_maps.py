"""The study of flow maps: a small run of each command, and a record that keeps what it does not measure."""

import json

import pytest
import torch

from book.ch07.experiments import jump
from book.claims import recorded
from studies import train_flow_maps as study
from toolkit import initial_noise
from toolkit.flow_maps import MeanVelocity
from toolkit.networks import pretrained

STUDY = recorded("flow_maps")


@pytest.fixture
def quick(monkeypatch):
    """Recipes of three steps, measured on few samples."""
    for on in study.SHARED:
        monkeypatch.setitem(study.SHARED, on, study.SHARED[on] | dict(steps=3, batch=16))
    monkeypatch.setitem(study.RECIPES["digits"], "meanflow", {})
    monkeypatch.setattr(study, "N", 200)
    monkeypatch.setattr(study, "POINTS", 200)


@pytest.mark.parametrize("on, name", [(on, name) for on, names in study.RECIPES.items() for name in names])
def test_each_recipe_trains(quick, on, name):
    network, _ = study.trained(on, name, 0, steps=2, batch=8)
    shape = (1, 8, 8) if on == "digits" else (2,)
    with torch.no_grad():
        assert torch.isfinite(jump(MeanVelocity(network), initial_noise(4, shape, 0), 2)).all()


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="recipes are digits: meanflow"):
        study.recipe("ring", "lagrangian")


def test_a_record_ships_seed_0_and_keeps_what_it_does_not_measure(quick, tmp_path):
    path, folder = tmp_path / "recorded" / "record.json", tmp_path / "weights"
    path.parent.mkdir()
    path.write_text(json.dumps({"digits": {"shortcut": ["kept"]}, "ring": {}, "matching": 3}))
    for seed in study.SEEDS:
        study.make("digits", "meanflow", seed, tmp_path)
    study.record("digits", "meanflow", tmp_path, path, folder)
    found = json.loads(path.read_text())
    assert found["digits"]["shortcut"] == ["kept"] and found["matching"] == 3
    assert [row["seed"] for row in found["digits"]["meanflow"]] == [0, 1, 2]
    assert set(found["digits"]["meanflow"][0]["16"]) == {"no label", "label", "read right", "copies"}
    assert (folder / "flow-map-meanflow.safetensors").exists()


def test_the_ring_and_its_consistency_model_are_measured(quick, tmp_path, monkeypatch):
    for seed in study.SEEDS:
        study.make("ring", "meanflow", seed, tmp_path)
    path = tmp_path / "record.json"
    study.record("ring", "meanflow", tmp_path, path, tmp_path)
    monkeypatch.setattr(study, "SEEDS", (0,))
    study.measure_consistency("ring", tmp_path, path)
    found = json.loads(path.read_text())["ring"]
    assert len(found["meanflow"]) == 3 and set(found["consistency"]) == {
        "fresh noise",
        "low levels",
        "no noise",
    }


def test_matching_is_measured(tmp_path):
    path = tmp_path / "record.json"
    study.measure_matching(path, count=1, steps=2)
    assert set(json.loads(path.read_text())["matching"]) == set(study.WAYS)


def test_points_on_the_modes_are_covered_and_others_astray():
    found = study.covered(study.WIDE.sample(2000, 0))
    assert found["modes"] == 8 and found["astray"] < 0.01 and found["W2"] < 0.3
    assert study.covered(study.WIDE.means[:1].repeat(100, 1))["modes"] == 1
    assert study.covered(torch.zeros(100, 2))["astray"] == 1


@pytest.mark.parametrize("name", study.SHIPPED)
def test_a_shipped_file_holds_its_recipe(name):
    notes = pretrained(f"flow-map-{name}").notes
    assert notes["settings"] == json.loads(json.dumps(study.recipe("digits", name)))
    assert notes["seed"] == 0 and notes["seconds"] == STUDY["digits"][name][0]["seconds"]


@pytest.mark.slow
def test_a_shipped_flow_map_is_as_good_as_recorded():
    model = MeanVelocity(pretrained("flow-map-meanflow"))
    with torch.no_grad():
        way = lambda noise, calls, label: jump(model.with_label(label), noise, calls)
        found = study.figures_of("digits", way, 0, (1,))["1"]
    wanted = STUDY["digits"]["meanflow"][0]["1"]
    assert found["label"] == pytest.approx(wanted["label"], rel=0.03)
    assert found["no label"] == pytest.approx(wanted["no label"], rel=0.03)
