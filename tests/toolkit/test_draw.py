"""Samples drawn by several processes: the same bytes for any number, after a stop, and no hang."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.seeds import seed_of
from toolkit import EDM, VP, Guided, Mixture, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.draw import SHIPPED, draw, fingerprint, main
from toolkit.networks import WEIGHTS, digits_model, pretrained
from toolkit.noise import Noise
from toolkit.ode import edm_heun
from toolkit.sde import euler_maruyama

ROOT = Path(__file__).resolve().parents[2]
TIMES = grids.uniform_lambda(VP(), 5, end=1e-3)
RING = Mixture.ring(8).model(VP())
WAIT = 120  # seconds that a busy machine may take; what is tested would not end at all

# One of several processes, which find each other through a file.  MISCHIEF: what befalls process 1 before its
# second batch.
PROCESS = """
import os, sys
import torch
from torch import distributed
from tests.toolkit.test_draw import drawn_by_all

rank, count, meeting, out, mischief = sys.argv[1:]
if int(count) > 1:
    found = {"init_method": f"file://{meeting}", "rank": int(rank), "world_size": int(count)}
    distributed.init_process_group("gloo", **found)
try:
    drawn_by_all(out, mischief if rank == "1" else "")
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
finally:
    if distributed.is_initialized():
        distributed.destroy_process_group()
"""


class Mischievous:
    """A network of points that, from its tenth call on, comes to grief."""

    def __init__(self, mischief):
        self.model, self.mischief, self.calls = Mixture.ring(8).model(VP()), mischief, 0

    def __call__(self, x, c):
        self.calls += 1
        if self.calls > 10 and self.mischief == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.calls > 10 and self.mischief == "fails":
            raise ValueError("the network is out of order")
        return self.model.eps(x, c[0])


def drawn_by_all(out, mischief="", n=83, **more):
    """What the processes draw: 83 points in batches of 10, random steps."""
    from toolkit import Network

    network = Mischievous(mischief)
    make = lambda device: Network(network, VP(), predicts="eps")
    settings = {"shape": (2,), "batch_size": 10, "seed": 4, "patience": 60, "progress": False, **more}
    return draw(euler_maruyama, make, TIMES, n, out=out, **settings)


def in_processes(count, folder, out, mischief=""):
    """The exit codes and errors of `count` processes."""
    meeting = folder / f"meeting-{len(list(folder.iterdir()))}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(count), str(meeting), str(out), mischief],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        for rank in range(count)
    ]
    try:
        said = [one.communicate(timeout=WAIT)[1] for one in running]
    finally:
        for one in running:
            one.kill()
    return [one.returncode for one in running], said


# --- in one process -------------------------------------------------------------------------------------


def test_samples_are_those_of_sample(tmp_path):
    drawn = drawn_by_all(tmp_path)
    samples = np.load(drawn.path)
    noise = initial_noise(83, (2,), 4)
    run = sample(euler_maruyama, RING, noise, TIMES, draws=Noise(4))
    assert samples.dtype == np.float32 and samples.shape == (83, 2)
    np.testing.assert_allclose(samples, run.x.numpy(), atol=1e-3)
    assert drawn.about["nfe"] == 5 and drawn.about["settings"]["sampler"] == "euler_maruyama"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.json", "samples.npy"]


def test_noise_starts_at_the_schedule_s_level(tmp_path):
    model, times = Mixture.ring(8).model(EDM()), grids.karras(EDM(), 4)
    drawn = draw(edm_heun, model, times, 7, shape=2, out=tmp_path, dtype=torch.float64, progress=False)
    want = sample(edm_heun, model, 80.0 * initial_noise(7, 2, 0, torch.float64), times).x
    np.testing.assert_allclose(np.load(drawn.path), want.numpy(), rtol=1e-9)


def test_labels_are_the_samples_own(tmp_path):
    model, labels = digits_model(EDM()), torch.arange(9)
    for name, one in {"plain": model, "guided": Guided(model, 0, 2.0)}.items():
        drawn = draw(
            edm_heun,
            one,
            grids.karras(EDM(), 2),
            9,
            shape=(1, 8, 8),
            out=tmp_path / name,
            labels=labels,
            batch_size=4,
            progress=False,
        )
        noise = 80.0 * initial_noise(9, (1, 8, 8))
        want = sample(edm_heun, one.with_label(labels), noise, grids.karras(EDM(), 2)).x
        np.testing.assert_allclose(np.load(drawn.path), want.numpy(), atol=1e-3)


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    want = drawn_by_all(tmp_path / "whole").path.read_bytes()
    out = tmp_path / "stopped"
    with pytest.raises(ValueError, match="out of order"):
        drawn_by_all(out, "fails")
    done = sorted((out / "batches").glob("*.safetensors"))
    assert [path.stem for path in done] == ["000000", "000001"] and not (out / "samples.npy").exists()
    before = [path.stat().st_mtime_ns for path in done]
    with pytest.raises(ValueError, match="out of order"):
        drawn_by_all(out, "fails")
    assert [path.stat().st_mtime_ns for path in done] == before  # drawn once
    assert drawn_by_all(out).path.read_bytes() == want
    finished = (out / "samples.npy").stat().st_mtime_ns
    assert drawn_by_all(out, "fails").about["nfe"] == 5  # nothing is left to do
    assert (out / "samples.npy").stat().st_mtime_ns == finished


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("seed", {"seed": 5}),
        ("batch_size", {"batch_size": 20}),
        ("n", {"n": 84}),
        ("dtype", {"dtype": torch.float64}),
    ],
)
def test_another_run_s_folder_is_refused(tmp_path, name, changed):
    with pytest.raises(ValueError, match="out of order"):
        drawn_by_all(tmp_path, "fails")
    with pytest.raises(ValueError, match=f"samples of another run .{name} is .* give the same settings"):
        drawn_by_all(tmp_path, **changed)


def test_a_model_is_known_by_what_it_computes():
    model = digits_model(EDM())
    same = digits_model(EDM())
    other = digits_model(EDM())
    with torch.no_grad():
        next(other.network.parameters()).view(-1)[0] += 1e-3
    known = lambda one: fingerprint(one, [1.0, 0.5, 0.002])
    assert known(model) == known(same) != known(other)
    assert known(Guided(model, 0, 2.0)) != known(Guided(model, 0, 3.0)) != known(model)
    assert known(digits_model(VP())) != known(model)


def test_torch_s_settings_are_given_back(tmp_path):
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(2)
    try:
        drawn_by_all(tmp_path)
        assert torch.get_num_threads() == 2
        assert torch.backends.cudnn.deterministic == before[1]
    finally:
        torch.set_num_threads(before[0])


def test_what_cannot_work_is_said(tmp_path):
    for changed, said in {"n": "at least 1", "batch_size": "at least 1", "labels": "one for each"}.items():
        with pytest.raises(ValueError, match=said):
            drawn_by_all(tmp_path, **{changed: [1] if changed == "labels" else 0})
    with pytest.raises(ValueError, match="must be a Sampler"):
        draw("ddim", RING, TIMES, 3, shape=2, out=tmp_path)


# --- the command ----------------------------------------------------------------------------------------


def ring(device):
    """A model for the command."""
    return Mixture.ring(8).model(VP())


def test_the_command(tmp_path, capsys):
    out = str(tmp_path / "digits")
    arguments = ["edm_heun", "digits", "--samples", "12", "--steps", "2", "--batch-size", "5", "--out", out]
    assert main([*arguments, "--labels", "3,4", "--guidance", "2"]) == 0
    assert "12 samples, 8 calls each" in capsys.readouterr().out
    assert np.load(tmp_path / "digits" / "samples.npy").shape == (12, 1, 8, 8)
    own = ["ddim", "tests.toolkit.test_draw:ring", "--shape", "2", "--option", "eta=0.5"]
    more = ["--samples", "6", "--steps", "3", "--grid", "uniform", "--out", str(tmp_path / "ring")]
    assert main([*own, *more]) == 0
    got = np.load(tmp_path / "ring" / "samples.npy")
    times = grids.uniform(VP(), 3)
    want = sample(ddim, RING, initial_noise(6, (2,)), times, eta=0.5, draws=Noise(0)).x
    np.testing.assert_allclose(got, want.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["odd", "digits"], "sampler must be one of"),
        (["ddim", "odd"], "or module:function"),
        (["ddim", "no.such:thing", "--shape", "2"], "cannot be imported"),
        (["ddim", "tests.toolkit.test_draw:ring"], "--shape"),
        (["ddim", "digits", "--schedule", "odd"], "schedule must be one of"),
        (["ddim", "digits", "--labels", "a"], "numbers with commas"),
        (["ddim", "digits", "--guidance", "2"], "needs --labels"),
        (["ddim", "digits", "--option", "odd=1"], "odd"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, capsys, changed, said):
    assert main([*changed, "--samples", "3", "--steps", "2", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


# --- in several processes -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_bytes_are_the_same_for_any_number_of_processes(tmp_path, count):
    want = drawn_by_all(tmp_path / "one").path.read_bytes()
    codes, said = in_processes(count, tmp_path, tmp_path / "more")
    assert codes == [0] * count, said
    assert (tmp_path / "more" / "samples.npy").read_bytes() == want
    about = json.loads((tmp_path / "more" / "samples.json").read_text())
    assert about["nfe"] == 5 and about["settings"] == drawn_by_all(tmp_path / "one").about["settings"]


@pytest.mark.slow
@pytest.mark.parametrize("mischief", ["killed", "fails"])
def test_when_one_stops_all_leave_and_the_next_run_goes_on(tmp_path, mischief):
    want = drawn_by_all(tmp_path / "one").path.read_bytes()
    out = tmp_path / "more"
    codes, said = in_processes(2, tmp_path, out, mischief)
    assert codes == [1, -signal.SIGKILL if mischief == "killed" else 1]
    assert ("has ended" if mischief == "killed" else "process 1 has stopped") in said[0], said
    kept = len(list((out / "batches").glob("*.safetensors")))
    assert 2 <= kept < 9 and not (out / "samples.npy").exists()
    count = seed_of(mischief) % 2 + 1
    codes, said = in_processes(count, tmp_path, out)
    assert codes == [0] * count, said
    assert (out / "samples.npy").read_bytes() == want


@pytest.mark.slow
def test_the_command_under_torchrun(tmp_path):
    command = ["-m", "toolkit.draw", "ddpm", "digits", "--schedule", "VP", "--samples", "21", "--steps", "3"]
    command += ["--batch-size", "4", "--labels", "1,2,3", "--end", "0.001"]
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for start, out in (([sys.executable], "one"), (run, "two")):
        done = subprocess.run(
            [*start, *command, "--out", str(tmp_path / out)],
            capture_output=True,
            text=True,
            timeout=WAIT,
            cwd=ROOT,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("21 samples, 3 calls each") == 1
    one, two = ((tmp_path / out / "samples.npy").read_bytes() for out in ("one", "two"))
    assert one == two


def test_the_command_knows_every_shipped_denoiser_and_its_shape():
    manifest = json.loads((WEIGHTS / "manifest.json").read_text())
    large = [name for name in manifest if "digits" in name]
    assert {name: pretrained(name).shape for name in large} == SHIPPED
