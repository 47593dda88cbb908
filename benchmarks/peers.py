"""The same loops in other libraries, where they are installed."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import torch


def loops(x, constant, steps: int) -> dict:
    """{(family, name): loop} of each peer that can be imported, doing `steps` steps from x."""
    found = {}
    for add in (_diffusers, _k_diffusion, _smalldiffusion):
        try:
            found.update(add(x, constant, steps))
        except ImportError as missing:
            print(f"left out: {add.__name__.strip('_')} ({missing})", file=sys.stderr)
    return found


def _diffusers(x, constant, steps):
    from diffusers import DDIMScheduler, DDPMScheduler

    def loop_of(scheduler):
        scheduler.set_timesteps(steps)

        def loop():
            y = x
            for t in scheduler.timesteps:
                y = scheduler.step(constant, t, y).prev_sample

        return loop

    return {
        ("DDIM", "diffusers DDIMScheduler"): loop_of(DDIMScheduler(clip_sample=False)),
        ("DDPM", "diffusers DDPMScheduler"): loop_of(DDPMScheduler(clip_sample=False)),
    }


def _k_diffusion(x, constant, steps):
    sampling = part("k_diffusion", "sampling", absent=("torchvision.transforms.functional",))
    sigmas = sampling.get_sigmas_karras(steps, 0.01, 80.0)
    model = lambda x, sigma: constant

    return {
        ("DDIM", "k-diffusion sample_euler"): lambda: sampling.sample_euler(model, x, sigmas, disable=True),
        ("Heun", "k-diffusion sample_heun"): lambda: sampling.sample_heun(model, x, sigmas, disable=True),
        ("DDPM", "k-diffusion sample_euler_ancestral"): lambda: sampling.sample_euler_ancestral(
            model, x, sigmas, disable=True
        ),
    }


def _smalldiffusion(x, constant, steps):
    diffusion = part("smalldiffusion", "diffusion", absent=("accelerate",))
    sigmas = torch.logspace(2, -2, steps + 1)
    model = SimpleNamespace(
        eval=lambda: None,
        predict_eps_cfg=lambda x, sigma, cond, scale: constant,
        rand_input=lambda n: torch.randn(n, *x.shape[1:]),
    )
    place = SimpleNamespace(device="cpu")

    def loop_of(mu):
        def loop():
            for _ in diffusion.samples(model, sigmas, mu=mu, xt=x, accelerator=place):
                pass

        return loop

    return {
        ("DDIM", "smalldiffusion samples(gam=1)"): loop_of(0.0),
        ("DDPM", "smalldiffusion samples(mu=.5)"): loop_of(0.5),
    }


def part(package: str, module: str, absent=()):
    """One module of a package, without what its __init__ imports for training and evaluation.

    `absent` names modules that it imports and that no sampler calls: empty ones stand in for those not
    installed, while it is imported.  ImportError if the package is not installed.
    """
    if package not in sys.modules:
        spec = find_spec(package)
        if spec is None:
            raise ImportError(f"{package} is not installed")
        shell = sys.modules[package] = ModuleType(package)
        shell.__path__ = list(spec.submodule_search_locations)
    standing_in = set()
    for name in absent:
        parts = name.split(".")
        if parts[0] not in sys.modules and find_spec(parts[0]) is None:
            standing_in |= {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    sys.modules.update({name: _Anything(name) for name in standing_in})
    try:
        return import_module(f"{package}.{module}")
    finally:
        for name in standing_in:
            del sys.modules[name]


class _Anything(ModuleType):
    """A stand-in module: whatever is asked of it is an empty class."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
