"""Entries in the sandbox: honest ones score what they score without it, hostile ones gain nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from book.contest import commands, scoring
from book.contest.inside import loaded
from book.contest.judge import Entry, Judge, read_source
from book.contest.oracle import Oracle
from book.contest.rules import Refused, Rules
from book.grading import sandbox
from tests.book.contest.corpus import HOSTILE, source
from toolkit import initial_noise
from toolkit.data import digits

pytestmark = pytest.mark.slow

RULES = Rules(calls=(1,), n=200, seeds=1, seconds=120.0, sampling=120.0)
SHORT = {  # what is ended by the clock need not take long
    "turns the clock back": {"seconds": 2.0},
    "starts processes without end": {"seconds": 10.0},
    "makes a fresh counter": {"sampling": 3.0},
    "prints without end": {"seconds": 1.0},
    "gives a thousand times as many images": {"sampling": 10.0},
}


@pytest.fixture(scope="module")
def judge():
    """One box for all: each training and each column has a kernel of its own in it."""
    if sandbox.found() == "limits":
        pytest.skip("bubblewrap is not installed here, or the system forbids it")
    with Judge(RULES) as one:
        yield one


@pytest.fixture
def rules_of(judge, monkeypatch):
    """Gives the judge other rules for one test."""
    return lambda **more: monkeypatch.setattr(judge, "rules", replace(RULES, **more))


@pytest.fixture(scope="module")
def honestly_trained(judge):
    """What the honest training hands over, which the entries that are hostile only in `sample` share."""
    return judge.trained(Entry("honest", source()), 5)


def baseline(name):
    return read_source(commands.FOLDER / f"{name}.py", RULES)


# --- honest -----------------------------------------------------------------------------------------------


def test_an_entry_scores_in_the_box_what_it_scores_outside(judge, rules_of, seed):
    """The same functions, called here with the noise that the box was sent."""
    rules_of(calls=(1, 2))
    text = baseline("gaussians")
    result = judge.run(Entry("gaussians", text), seeds=[seed])
    names = loaded(text)
    _, notes = names["train"](*digits("train"), 1.0, 0)
    for calls, (got,) in result.columns.items():
        images, labels = judge.sampled(Entry("", text), None, notes, calls, seed)
        noise = initial_noise(RULES.n, (1, 8, 8), seed)
        torch.testing.assert_close(images, names["sample"](None, noise, labels, calls, notes))
        assert 0 < got["frechet"] < 3 and got["obeyed"] > 0.9
    assert len(text) < result.size < 2 * RULES.notes


def test_a_network_answers_in_the_box_as_it_does_outside(judge, seed, monkeypatch):
    made, answer = [], Oracle.answer
    monkeypatch.setattr(Oracle, "answer", lambda self, told: made.append(self) or answer(self, told))
    text = baseline("dpmpp_2m")
    untrained = text.replace("denoiser(images, labels, seconds, seed)", "fresh(seed=seed)")
    entry = Entry("untrained", untrained.replace("import denoiser", "import fresh, denoiser"))
    network, notes, size = judge.trained(entry, 3)
    images, labels = judge.sampled(entry, network, notes, 4, seed)
    with torch.no_grad():
        here = loaded(text)["sample"](network, initial_noise(RULES.n, (1, 8, 8), seed), labels, 4, notes)
    torch.testing.assert_close(images, here, rtol=1e-3, atol=1e-3)
    assert made[-1].spent == 4 * RULES.n == made[-1].allowed
    assert size == sum(p.numel() for p in network.parameters()) + len(entry.source)


# --- hostile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_gained(judge, rules_of, name, tmp_path, monkeypatch, honestly_trained):
    train, sample, wanted = HOSTILE[name]
    if train is None:
        monkeypatch.setattr(judge, "trained", lambda entry, seed: honestly_trained)
    board = tmp_path / "contest.json"
    board.write_text("as it was")
    if train and "{board" in train:
        train = train.format(board=str(board))
    rules_of(**SHORT.get(name, {}), **({"calls": (1, 2)} if "another column" in name else {}))
    result = judge.run(Entry(name, source(train, sample)), seeds=[5])
    for scores in result.columns.values():
        assert [list(one) for one in scores] == [["why"]]
        assert re.search(wanted, scores[0]["why"]), scores[0]["why"]
    assert scoring.overall(result.columns) is None
    assert board.read_text() == "as it was"


def test_the_next_entry_is_none_the_worse(judge):
    """After all of them the same box still scores an honest one."""
    result = judge.run(Entry("gaussians", baseline("gaussians")), seeds=[1])
    assert scoring.overall(result.columns).mean < 3


def test_an_entry_without_its_functions_is_told_so(judge):
    (one,) = judge.run(Entry("empty", "x = 1"), seeds=[1]).columns[1]
    assert "there is no train" in one["why"]


def test_what_is_no_entry_is_refused_before_it_runs(tmp_path):
    def why(content):
        path = tmp_path / "one.py"
        path.write_bytes(content)
        with pytest.raises(Refused) as error:
            read_source(path, RULES)
        return str(error.value)

    assert "8,192 are allowed" in why(b"x = '" + b"A" * 9000 + b"'")  # a network in the source
    assert "not a Python file" in why(b"def train(:")
    assert "not a Python file" in why(b"\xff\xfe\x00")
    assert "not a Python file" in why(b"x = 1\0")
    with pytest.raises(Refused):
        read_source(Path("/dev"), RULES)
