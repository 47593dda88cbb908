"""What every entry is given beside the toolkit; the baselines begin with it.

Nothing in a box is trained already: the shipped weights, the classifier and the data sets of other packages
are not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from toolkit import EDM, Network, grids
from toolkit.networks import DIGITS_SIGMA_DATA, DigitsMLP
from toolkit.training import train


class _Over(Exception):
    """The time is over."""


def trained(seconds: float, make: Callable[[], object], fit: Callable[..., object], trial: int = 20):
    """The network of `fit` after so many seconds by our own clock, loading included.

    make() gives an untrained network.  fit(net, steps=..., callback=...) trains it in place and returns a
    `training.Training`, as the toolkit's trainings do.  A trial of a few steps says how many there is time
    for; should the machine slow down, what is there at the end of the time is taken, without its average.
    """
    end = time.monotonic() + seconds
    fit(make(), steps=2, callback=None)  # the first steps are slower
    began = time.monotonic()
    fit(make(), steps=trial, callback=None)
    each = (time.monotonic() - began) / trial
    net = make()

    def watch(step, loss):
        if time.monotonic() > end:
            raise _Over

    try:
        steps = max(trial, int(0.9 * (end - time.monotonic()) / each))
        return fit(net, steps=steps, callback=watch).net
    except _Over:
        return net.eval()


def fresh(kind=DigitsMLP, seed: int = 0, **config):
    """An untrained network of that kind (`toolkit.networks`), drawn from the seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return kind(**config)


def denoiser(images, labels, seconds: float, seed: int, **config):
    """The digits network of chapter 1, trained for so many seconds by its recipe.

    images (n, 1, 8, 8), labels (n,): the training digits.  config: of `networks.DigitsMLP`.
    """

    how = dict(predicts="edm", sigma_data=DIGITS_SIGMA_DATA, labels=labels, p_uncond=0.1, seed=seed)
    fit = lambda net, **loop: train(net, images, EDM(), **how, **loop)  # noqa: E731
    return trained(seconds, lambda: fresh(seed=seed, **config), fit)


def model_of(network, labels) -> Network:
    """A network that `denoiser` trained, or what answers in its place, as a model on `EDM()`."""
    return Network(network, EDM(), predicts="edm", label=labels, sigma_data=DIGITS_SIGMA_DATA)


def start_and_grid(noise, steps: int):
    """Noise (n, 1, 8, 8) of variance 1 at level 80, and Karras' grid from there to 0 in so many steps."""
    times = grids.karras(EDM(), steps)
    return noise * EDM().start, times
