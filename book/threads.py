"""How many threads a kernel or a command of ours computes on: one, unless the reader has chosen.

The states of this book are small: a second thread waits more than it computes, and where the machine has
other work both wait for each other (measured in CONTRIBUTING.md).  So whatever starts a kernel, or a process
that computes, takes its environment from here.  What is large, such as a training, chooses for itself; the
library `toolkit` changes nobody's setting.
"""

import os
from collections.abc import Mapping

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What torch, MKL and numpy's OpenBLAS read when they are loaded."""


FIXED = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "TQDM_DISABLE": "1",
}
"""The environment of what is compared: one thread, a fixed hash seed, no window and no progress bars, so that
what a cell or a test prints depends on it alone."""


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment `given` (default: this process's) with one thread, unless it names a number already.

    A reader who has set any of `VARIABLES` has chosen, and nothing is added.
    """
    given = dict(os.environ if given is None else given)
    return given if any(name in given for name in VARIABLES) else given | dict.fromkeys(VARIABLES, "1")


def choose() -> None:
    """The same for this process and what it starts; before torch and numpy are loaded."""
    os.environ.update(environment())
