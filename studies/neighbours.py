"""Every claim on its neighbours: which verdicts stand, and which turn.

`python -m studies.neighbours` runs each claim's experiment with every seed moved (`SHIFT`), and on the data,
schedules and grids that stand above it (`book.claims.tried_on`), and writes what was decided to
`book/appendix/neighbours.json`, in a quarter of an hour; with `untried` behind it, only what is not there
yet.  "draws nothing": the experiment is exact, or reads a recorded study.  Networks that were trained before
stay as they are; what an experiment trains itself is trained anew.
"""

import inspect
import json
import sys
from contextlib import contextmanager

import numpy as np
import torch

from book.appendix.neighbours import FILE, NOTHING, SEEDS, record
from book.claims import claims
from toolkit.files import write_file
from toolkit.noise import KeyedNormals

SHIFT = 1000


@contextmanager
def moved(shift: int):
    """Within it each seed that our normals, torch or numpy are given stands for seed + shift.

    Yields a list that gets an item a drawing.
    """
    drawn = []
    first = KeyedNormals.__init__, torch.Generator, torch.manual_seed, np.random.default_rng

    def normals(self, seed, start, x):
        drawn.append(seed)
        first[0](self, seed + shift, start, x)

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            drawn.append(seed)
            return super().manual_seed(seed + shift)

    def manual_seed(seed):
        drawn.append(seed)
        return first[2](seed + shift)

    def default_rng(seed=None):
        drawn.append(seed)
        return first[3](seed + shift if isinstance(seed, int) else seed)

    KeyedNormals.__init__, torch.Generator = normals, Generator
    torch.manual_seed, np.random.default_rng = manual_seed, default_rng
    try:
        yield drawn
    finally:
        KeyedNormals.__init__, torch.Generator, torch.manual_seed, np.random.default_rng = first


def forget() -> None:
    """Empty what the book's modules keep of earlier calls: it was drawn with other seeds."""
    for name, module in list(sys.modules.items()):
        for kept in list(vars(module).values()) if name.startswith("book.") else ():
            for function in (kept, getattr(kept, "__wrapped__", None)):
                if callable(getattr(function, "cache_clear", None)):
                    function.cache_clear()


@contextmanager
def replaced(experiment, changes: dict):
    """Within it names of an experiment's module stand for something else; yields what of the changes are
    arguments of it.
    """
    inner = inspect.unwrap(experiment)
    known = inspect.signature(inner).parameters
    arguments = {name: value for name, value in changes.items() if name in known}
    names = {name: value for name, value in changes.items() if name not in known}
    before = {name: inner.__globals__[name] for name in names}
    inner.__globals__.update(names)
    try:
        yield arguments
    finally:
        inner.__globals__.update(before)


def seeds_moved(claims) -> dict[str, str]:
    """{id of a claim: its verdict with moved seeds, or `NOTHING`}, for claims of one experiment."""
    forget()
    with moved(SHIFT) as drawn:
        numbers = claims[0].experiment.__wrapped__()
    return {one.id: one.verdict_of(numbers) if drawn else NOTHING for one in claims}


def beside(claims, names) -> dict[str, dict[str, str]]:
    """{neighbour: {id of a claim: its verdict on it}} by neighbours' names, for claims of one experiment.

    Raises ValueError for a neighbour that changes no number: it is none.
    """
    experiment, tried = claims[0].experiment, {}
    for name in names:
        forget()
        with replaced(experiment, claims[0].neighbours[name]) as arguments:
            numbers = experiment.__wrapped__(**arguments)
            tried[name] = numbers, {one.id: one.verdict_of(numbers) for one in claims}
    forget()
    usual = experiment.__wrapped__() if tried else {}
    if idle := [name for name, (numbers, _) in tried.items() if numbers == usual]:
        raise ValueError(f"{idle[0]!r} changes no number of {experiment.__name__}")
    return {name: verdicts for name, (_, verdicts) in tried.items()}


def decided(claims, known: dict):
    """Yields {id of a claim: {neighbour: verdict}} for each experiment of the claims in turn.

    known: what is decided already, of that form; only the rest is run.  Leaves the experiments' memory empty.
    """
    of_one = {}
    for one in claims:
        of_one.setdefault(one.experiment, []).append(one)
    for its in of_one.values():
        names = [SEEDS, *its[0].neighbours]
        rest = [name for name in names if any(name not in known.get(one.id, {}) for one in its)]
        tried = {SEEDS: seeds_moved(its)} if SEEDS in rest else {}
        tried |= beside(its, [name for name in rest if name != SEEDS])
        yield {
            one.id: {
                name: tried[name][one.id] if name in tried else known[one.id][name] for name in names
            }
            for one in its
        }
    forget()


def main() -> None:
    """Write the record anew, or add what is untried, or print what the claims that are named decide."""
    every, words = claims(), sys.argv[1:]  # the modules are imported, and their data drawn, before seeds move
    if words and words != ["untried"]:
        found = {}
        for some in decided([one for one in every if one.id in words], {}):
            found |= some
        print(json.dumps(found))
        return
    found = dict(record()) if words else {}
    about = f"what each claim decides on its neighbours; {SEEDS}: all seeds moved by {SHIFT}"
    for some in decided(every, found):
        found |= some
        told = {"about": about, "claims": {one.id: found[one.id] for one in every if one.id in found}}
        write_file(FILE, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
