"""Does this installation work?  `selftest()` runs what the book leans on and says so in one line each."""

import importlib
import sys

OLDEST = (3, 11)
PACKAGES = "torch numpy scipy sklearn matplotlib ipywidgets nbval nbformat safetensors mlxtend".split()


def _python():
    if sys.version_info[:2] < OLDEST:
        raise RuntimeError(f"Python {sys.version.split()[0]} is too old; 3.11 or newer is needed")


def _packages():
    missing = []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}; run `python lab.py install`")


def _exact_sampler():
    from toolkit import VP, Mixture, grids, initial_noise, sample
    from toolkit.ddim import ddim

    schedule = VP()
    model = Mixture.ring(8).model(schedule)
    run = sample(ddim, model, initial_noise(64, 2, seed=0), grids.uniform_lambda(schedule, 20))
    radius = float(run.x.norm(dim=1).mean())
    if run.nfe != 20 or not 0.8 < radius < 1.2:
        raise RuntimeError(f"20 steps of DDIM made {run.nfe} calls and ended at radius {radius:.2f}, not 1")


def _weights():
    from toolkit import VP
    from toolkit.networks import digits_model, pretrained

    for name in ("digits", "large-digits"):
        digits_model(VP(), name=name)
    pretrained("classifier")


def _figures():
    from book import plots

    if len(plots.lines({"a line": ([0, 1], [0, 1])}, xlabel="x", ylabel="y").png) < 1000:
        raise RuntimeError("matplotlib drew an empty picture")


def _lessons():
    from book import folders
    from book.lessons import check  # noqa: F401
    from book.lessons.registry import tasks

    if not all(tasks(lesson) for lesson in folders.chapters("tasks.py")):
        raise RuntimeError("the exercises' tasks cannot be loaded")


CHECKS = {
    "Python is recent enough": _python,
    "every package is there": _packages,
    "a sampler samples, and its calls are counted": _exact_sampler,
    "the shipped weights are intact": _weights,
    "a figure can be drawn": _figures,
    "the exercises can check": _lessons,
}


def selftest() -> bool:
    """Print a line for each check; True if all hold.  Downloads nothing."""
    well = True
    for name, check in CHECKS.items():
        try:
            check()
            print(f"ok      {name}")
        except Exception as error:  # whatever is wrong becomes a sentence, and the other checks still run
            well = False
            print(f"PROBLEM {name}: {error}")
    print("All is well." if well else "Something is missing: see docs/machines.md, 'If something fails'.")
    return well
