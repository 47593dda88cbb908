"""Fast sampling of diffusion models, in a form short enough to read.

The package re-exports its nouns (schedules, models, grids, `sample`); each sampler lives in the module of the
chapter that derives it (`toolkit.ddpm`, `toolkit.ddim`, …).  Names are loaded on first use, so that the
command line and the pytest plugin do not pay for torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(
        ["VP", "VPCosine", "VE", "SubVP", "EDM", "Flow", "Discrete", "LinearSDE", "Schedule"], "schedules"
    ),
    **dict.fromkeys(["Model", "Network", "Guided", "Thresholded", "AFS"], "models"),
    **dict.fromkeys(["Mixture", "GaussianFlow", "QuantileFlow"], "mixtures"),
    **dict.fromkeys(["Noise", "Brownian", "initial_noise"], "noise"),
    **dict.fromkeys(["sample", "sampler", "Sampler", "REGISTRY"], "sampling"),
    "exact_variance": "convergence",
}
_MODULES = {"grids", "schedules", "models", "mixtures", "noise", "sampling"}

__all__ = sorted([*_HOME, "grids"])


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"toolkit.{name}")
    if name in _HOME:
        return getattr(import_module(f"toolkit.{_HOME[name]}"), name)
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME, *_MODULES})
