"""Many samples, drawn by several processes: the same bytes however many there are, and after a stop too.

    torchrun --nproc-per-node=4 -m toolkit.draw edm_heun digits --samples 50000 --steps 18 --out drawn
    python -m toolkit.draw edm_heun digits --samples 50000 --steps 18 --out drawn          # one process

or, from a script of your own that `torchrun` starts, `draw(sampler, model, times, n, shape=…, out=…)`.

The work is cut into batches of a size that is a setting, since what a network computes for a sample depends,
in its last bits, on the batch around it.  Sample i has the noise of (seed, i), so that a batch is a function
of the settings and of its number.  Each process draws some of the batches and writes each as a file; the
first one joins them.  A run that was stopped, however, goes on from the files that are there.

No sample travels between processes, which exchange a few words before and after: gloo carries them, on GPUs
as well.
"""

import argparse
import hashlib
import importlib
import inspect
import json
import os
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import distributed

from toolkit import grids, schedules
from toolkit.files import whole_file, write_file
from toolkit.models import Guided
from toolkit.networks import digits_model
from toolkit.noise import Noise, initial_noise
from toolkit.sampling import Sampler, every_sampler, sample

# --- settings -------------------------------------------------------------------------------------------


def fingerprint(model, times) -> str:
    """What tells one model from another, as far as samples along `times` show it: a SHA-256 of the kinds and
    numbers of its wrappers, of its schedule at these times, and of its network's weights.
    """
    digest = hashlib.sha256()

    def add(*values):
        digest.update(repr(values).encode("utf8"))

    add([(model.schedule.alpha(t), model.schedule.sigma(t)) for t in times])
    while model is not None:
        numbers = {name: one for name, one in vars(model).items() if isinstance(one, (int, float, str))}
        add(type(model).__qualname__, sorted(numbers.items()))
        network = getattr(model, "network", None)
        if isinstance(network, torch.nn.Module):
            for name, weight in network.state_dict().items():
                add(name, weight.dtype, tuple(weight.shape))
                digest.update(
                    weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                )
        model = getattr(model, "model", None)
    return digest.hexdigest()


def _check_same(found, settings, folder):
    """ValueError unless a folder's settings are these."""
    for name, value in settings.items():
        if found.get(name) != value:
            raise ValueError(
                f"{str(folder)!r} holds samples of another run ({name} is {found.get(name)!r} there, "
                f"{value!r} here): give the same settings or another folder"
            )


# --- processes ------------------------------------------------------------------------------------------


class _Processes(NamedTuple):
    """This process, its number `rank` among `count`, and the group in which they exchange words."""

    rank: int
    count: int
    group: object

    def exchanged(self, fault, word=None):
        """The words of all processes.  What went wrong in any of them is raised: its own in that process,
        RuntimeError in the others.
        """
        said = [(fault and f"{type(fault).__name__}: {fault}", word)]
        if self.count > 1:
            said = said * self.count
            try:
                distributed.all_gather_object(said, said[0], group=self.group)
            except RuntimeError as error:
                raise fault or RuntimeError(
                    "another process has ended or does not answer; what was drawn is kept: start all of them "
                    "again to go on"
                ) from error
        if fault:
            raise fault
        for rank, (trouble, _) in enumerate(said):
            if trouble:
                raise RuntimeError(f"process {rank} has stopped ({trouble}); what was drawn is kept")
        return [word for _, word in said]


@contextmanager
def _processes(patience):
    """The processes that torchrun, or the caller, has started; one alone where there are no others."""
    waiting = timedelta(seconds=patience)
    if distributed.is_available() and distributed.is_initialized():
        group = distributed.new_group(backend="gloo", timeout=waiting)
        try:
            yield _Processes(distributed.get_rank(), distributed.get_world_size(), group)
        finally:
            distributed.destroy_process_group(group)
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        distributed.init_process_group("gloo", timeout=waiting)
        try:
            yield _Processes(distributed.get_rank(), distributed.get_world_size(), None)
        finally:
            distributed.destroy_process_group()
    else:
        yield _Processes(0, 1, None)


def _own_device():
    """The GPU of this process's number on its machine, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def _reproducible(threads):
    """torch's settings on which the last bits depend; what they were is given back."""
    cudnn = torch.backends.cudnn
    before = torch.get_num_threads(), cudnn.benchmark, cudnn.deterministic
    torch.set_num_threads(threads or before[0])
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.benchmark, cudnn.deterministic = before[1:]


# --- drawing --------------------------------------------------------------------------------------------


class Drawn(NamedTuple):
    """What `draw` returns in every process: the path of the samples and what is known of them.

    path: of `samples.npy`, (n, *shape) in order.  about: what `samples.json` holds beside it: settings; nfe,
    calls of the model for each sample (the mean, where batches differ); seconds, spent drawing, all processes
    together; wall_seconds, those of the last run.
    """

    path: Path
    about: dict


def draw(
    sampler,
    model,
    times,
    n: int,
    *,
    shape,
    out,
    batch_size: int = 250,
    seed: int = 0,
    labels=None,
    device=None,
    dtype=torch.float32,
    threads: int | None = 1,
    patience: float = 3600.0,
    progress: bool = True,
    **options,
) -> Drawn:
    """Draw n samples in all the processes that run this, and go on where an earlier run stopped.

    sampler, model, times: as for `sample`; or model a function of a torch.device that makes it there, and
    times one of its schedule.
    shape: of one sample.
    out: a folder, which all processes see.
    batch_size: samples at once.  The last bits of the samples depend on it, not on the number of processes.
    labels: None, an int, or one for each sample, (n,).
    device: None: the process's GPU, or the CPU.
    dtype: of the states.
    threads: of each process on the CPU, on which the last bits depend too; None: as they are set.
    patience: seconds that one process waits for another.
    progress: whether the first process shows a bar.
    options: the sampler's own.
    ValueError for settings that cannot work, and for a folder that holds samples of others; RuntimeError
    where another process failed or is gone.  What was drawn by then is kept.
    """
    began, fault, plan = time.monotonic(), None, None
    with _processes(patience) as processes, _reproducible(threads):
        try:
            given = sampler, model, times, n, shape, out, batch_size, seed, labels, device, dtype, options
            work = _Work(*given)
            work.settings["threads"] = threads if work.device.type == "cpu" else None
            plan = work.settings, (work.begin() if processes.rank == 0 else None)
        except Exception as error:
            fault = error
        (settings, missing), *others = processes.exchanged(fault, plan)
        for rank, (other, _) in enumerate(others, 1):
            name = next((name for name in settings if other[name] != settings[name]), None)
            if name:
                raise ValueError(
                    f"all processes need the same settings: {name} is {other[name]!r} in process {rank}, "
                    f"{settings[name]!r} in process 0"
                )
        with work.bar(progress and processes.rank == 0) as show:
            try:
                work.draw_batches(missing[processes.rank :: processes.count], show)
            except Exception as error:
                fault = error
                work.failed.touch()
            processes.exchanged(fault)
            show()
        try:
            if processes.rank == 0:
                work.join(began)
        except Exception as error:
            fault = error
        processes.exchanged(fault)
    return Drawn(work.result, json.loads(work.about.read_text("utf8")))


class _Work:
    """The work, cut into batches, and its folder."""

    def __init__(
        self, sampler, model, times, n, shape, out, batch_size, seed, labels, device, dtype, options
    ):
        if not isinstance(sampler, Sampler):
            raise ValueError(f"sampler must be a Sampler, such as toolkit.ddim.ddim; got {sampler!r}")
        if n < 1 or batch_size < 1:
            raise ValueError(f"n and batch_size must be at least 1, got {n} and {batch_size}")
        self.device = _own_device() if device is None else torch.device(device)
        self.model = model if hasattr(model, "schedule") else model(self.device)
        times = times(self.model.schedule) if callable(times) else times
        self.sampler, self.times, self.n, self.batch_size = sampler, [float(t) for t in times], n, batch_size
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.seed, self.labels, self.dtype, self.options = seed, labels, dtype, options
        if labels is not None and not isinstance(labels, int):
            self.labels = torch.as_tensor(labels)
            if len(self.labels) != n:
                raise ValueError(
                    f"labels must be one number or one for each sample: got {len(labels)} for {n}"
                )
        self.settings = self._settings()
        out = Path(out)
        self.folder, self.result, self.about = out / "batches", out / "samples.npy", out / "samples.json"
        self.failed = self.folder / "failed"

    def _settings(self):
        """What the bytes depend on, as JSON has it."""
        labels = None if self.labels is None else np.asarray(self.labels).tobytes()
        settings = {
            "sampler": self.sampler.__name__,
            "options": {name: repr(value) for name, value in self.options.items()},
            "model": fingerprint(self.model, self.times),
            "times": self.times,
            "n": self.n,
            "shape": list(self.shape),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "labels": labels and hashlib.sha256(labels).hexdigest(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            "torch": torch.__version__,
        }
        return json.loads(json.dumps(settings))

    def begin(self):
        """The numbers of the batches that are still to be drawn.  Called in the first process."""
        if self.about.exists():
            _check_same(
                json.loads(self.about.read_text("utf8"))["settings"], self.settings, self.about.parent
            )
        else:
            write_file(self.about, json.dumps({"settings": self.settings}, indent=1) + "\n")
        if self.result.exists():
            return []
        self.folder.mkdir(exist_ok=True)
        self.failed.unlink(missing_ok=True)
        return [number for number in range(self.batches) if not self.path(number).exists()]

    @property
    def batches(self):
        return -(-self.n // self.batch_size)

    def path(self, number):
        return self.folder / f"{number:06d}.safetensors"

    def draw_batches(self, numbers, show):
        """Draw these batches, until another process has failed; show() is called after each."""
        for number in numbers:
            if self.failed.exists():
                break
            self._draw(number)
            show()

    @contextmanager
    def bar(self, wanted):
        """A function that brings a bar to what is drawn so far, in all processes; or that does nothing."""
        if not wanted:
            yield lambda: None
            return
        from tqdm.auto import tqdm

        with tqdm(total=self.n, initial=self._samples_there(), unit="sample") as bar:
            yield lambda: bar.update(self._samples_there() - bar.n)

    def _samples_there(self):
        if self.result.exists():
            return self.n
        return min(self.n, self.batch_size * len(list(self.folder.glob("*.safetensors"))))

    def _draw(self, number):
        from safetensors.torch import save

        first = number * self.batch_size
        last = min(first + self.batch_size, self.n)
        model, schedule, start = self.model, self.model.schedule, self.times[0]
        if self.labels is not None:
            model = model.with_label(self.labels if isinstance(self.labels, int) else self.labels[first:last])
        began = time.monotonic()
        noise = initial_noise(last - first, self.shape, self.seed, self.dtype, self.device, first=first)
        noise = noise * schedule.sigma(start) if schedule.alpha(start) == 1 else noise
        run = sample(
            self.sampler, model, noise, self.times, draws=Noise(self.seed, first), **self.options
        )
        samples = run.x.cpu().contiguous()
        samples = samples.float() if samples.dtype == torch.bfloat16 else samples  # NumPy has none
        spent = {"nfe": str(run.nfe), "seconds": str(time.monotonic() - began)}
        write_file(self.path(number), save({"samples": samples}, spent))

    def join(self, began):
        """Write the samples of all batches into one file, in order, and what is known of them.  Called in the
        first process.
        """
        if self.result.exists():
            return
        from safetensors import safe_open

        calls, seconds = 0, 0.0
        with whole_file(self.result) as file:
            for number in range(self.batches):
                with safe_open(self.path(number), framework="np") as batch:
                    samples, spent = batch.get_tensor("samples"), batch.metadata()
                if number == 0:
                    descr = np.lib.format.dtype_to_descr(samples.dtype)
                    header = {"descr": descr, "fortran_order": False, "shape": (self.n, *self.shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(samples.tobytes())
                calls, seconds = calls + len(samples) * int(spent["nfe"]), seconds + float(spent["seconds"])
        wall = time.monotonic() - began
        about = {"settings": self.settings, "nfe": calls / self.n, "seconds": seconds, "wall_seconds": wall}
        write_file(self.about, json.dumps(about, indent=1) + "\n")
        for number in range(self.batches):
            self.path(number).unlink()
        self.folder.rmdir()


# --- the command ----------------------------------------------------------------------------------------

SHIPPED = dict.fromkeys(("digits", "digits-unet", "digits-teacher"), (1, 8, 8))
SHIPPED |= {"large-digits": (1, 28, 28), "preview-digits": (1, 7, 7)}


def command_line() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m toolkit.draw",
        description="Draw many samples in one process, or in several under torchrun, and go on after a stop.",
    )
    add = parser.add_argument
    add("sampler", help="a sampler of the toolkit, by name")
    add("network", help=f"{', '.join(SHIPPED)}; or module:function, which makes a model [of a torch.device]")
    add("--out", required=True, help="the folder of samples.npy and samples.json")
    add("--samples", type=int, required=True, help="how many samples")
    add("--steps", type=int, required=True, help="steps of the grid")
    add("--grid", default="karras", choices=sorted(grids.GRIDS), help="its kind; karras")
    add("--start", type=float, help="the time at which it begins; the schedule's")
    add("--end", type=float, help="the time at which it ends; the schedule's")
    add("--schedule", default="EDM", help="of a shipped network: EDM, VP, VPCosine, VE, SubVP or Flow; EDM")
    add("--shape", help="of a sample of your own model, as 3,32,32")
    add("--batch-size", type=int, default=250, help="samples at once; 250")
    add("--seed", type=int, default=0, help="0")
    add("--labels", help="classes, as 0,1,2, which the samples have in turn")
    add("--guidance", type=float, help="scale of classifier-free guidance, for labels")
    add("--option", action="append", default=[], help="of the sampler, as eta=0.5; may be repeated")
    add("--device", help="cpu or cuda; the GPU where there is one")
    add("--threads", type=int, default=1, help="of each process on the CPU; 1")
    return parser


def _model_maker(name, schedule):
    """A function of a device that makes the command's model."""
    if name in SHIPPED:
        kinds = {kind: getattr(schedules, kind) for kind in ("EDM", "VP", "VPCosine", "VE", "SubVP", "Flow")}
        if schedule not in kinds:
            raise ValueError(f"schedule must be one of {', '.join(kinds)}; got {schedule!r}")

        def shipped(device):
            model = digits_model(kinds[schedule](), name=name)
            model.network.to(device)
            return model

        return shipped
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(f"the network is one of {', '.join(SHIPPED)} or module:function; got {name!r}")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name} cannot be imported ({error})") from None
    return make if inspect.signature(make).parameters else lambda device: make()


def _numbers(text):
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise ValueError(f"numbers with commas between them are needed, as 0,1,2; got {text!r}") from None


def _option(text):
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _run(given):
    samplers = every_sampler()
    if given.sampler not in samplers:
        raise ValueError(f"sampler must be one of {', '.join(samplers)}; got {given.sampler!r}")
    make = _model_maker(given.network, given.schedule)
    if given.shape is None and given.network not in SHIPPED:
        raise ValueError("a model of your own needs --shape, that of one sample, as 3,32,32")
    if given.guidance is not None and given.labels is None:
        raise ValueError("--guidance needs --labels")
    classes = None if given.labels is None else _numbers(given.labels)

    def model(device):
        made = make(device)
        return made if given.guidance is None else Guided(made, classes[0], given.guidance)

    return draw(
        samplers[given.sampler],
        model,
        lambda schedule: grids.GRIDS[given.grid](schedule, given.steps, given.start, given.end),
        given.samples,
        shape=SHIPPED[given.network] if given.shape is None else _numbers(given.shape),
        out=given.out,
        batch_size=given.batch_size,
        seed=given.seed,
        labels=None if classes is None else [classes[i % len(classes)] for i in range(given.samples)],
        device=given.device,
        threads=given.threads,
        **dict(map(_option, given.option)),
    )


def main(arguments=None) -> int:
    """The command; see `python -m toolkit.draw --help`.  Returns 0, or 1 after a sentence that says what is
    wrong.
    """
    given = command_line().parse_args(arguments)
    try:
        drawn = _run(given)
    except (ValueError, RuntimeError, OSError, TypeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if os.environ.get("RANK", "0") == "0":
        about = drawn.about
        spent = f"{about['nfe']:g} calls each, {about['seconds']:.1f} s of work"
        print(f"{drawn.path}: {given.samples} samples, {spent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
