"""Every claim on other random numbers: which verdicts stand, and which turn.

`python -m studies.neighbours` runs each claim's experiment with every seed moved (`SHIFTS`) and writes what
was decided to `book/appendix/neighbours.json`.  "draws nothing": the experiment is exact, or reads a recorded
study.  Networks that were trained before stay as they are; what an experiment trains itself is trained anew.
"""

import json
import sys
from contextlib import contextmanager

import numpy as np
import torch

from book.appendix.neighbours import FILE, NOTHING, SHIFTS
from book.claims import claims
from toolkit.files import write_file
from toolkit.noise import KeyedNormals


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


def decided(shift: int, wanted=None) -> dict[str, str]:
    """{id of a claim: its verdict with moved seeds, or `NOTHING`}, for all claims or those wanted.

    wanted: ids of claims.  Leaves the experiments' memory empty.
    """
    every, ran, found = claims(), {}, {}  # the modules are imported, and their data drawn, before seeds move
    for one in every:
        if wanted and one.id not in wanted:
            continue
        if one.experiment not in ran:
            forget()
            with moved(shift) as drawn:
                ran[one.experiment] = one.experiment.__wrapped__(), bool(drawn)
        numbers, random = ran[one.experiment]
        found[one.id] = one.verdict_of(numbers) if random else NOTHING
    forget()
    return found


def main() -> None:
    """Write the record anew, or print what the claims that are named decide with the first move."""
    if sys.argv[1:]:
        print(json.dumps(decided(SHIFTS[0], sys.argv[1:])))
        return
    found = [decided(shift) for shift in SHIFTS]
    record = {
        "about": f"what each claim decides with all seeds moved by {' and by '.join(map(str, SHIFTS))}",
        "claims": {one.id: [its[one.id] for its in found] for one in claims()},
    }
    write_file(FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
