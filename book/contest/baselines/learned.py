"""Chapter 7: a solver learned for each number of calls, its weights and its grid."""

import time

import torch

from book.contest.kit import denoiser, model_of, start_and_grid
from toolkit import sample as run
from toolkit.learned import Solver, Table, learn
from toolkit.ode import edm_heun

PAIRS, CALLS = 400, (2, 4, 8)


def train(images, labels, seconds, seed):
    """Two thirds of the time for the network of chapter 1, the rest for the solvers, which are notes."""
    end = time.monotonic() + seconds
    network = denoiser(images, labels, 2 * seconds / 3, seed)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(PAIRS, 1, 8, 8, generator=generator, dtype=torch.float32)
    label = labels[torch.randint(len(labels), (PAIRS,), generator=generator)]
    x, fine = start_and_grid(noise, 12)
    model = model_of(network.requires_grad_(False), label)
    ends = run(edm_heun, model, x, fine).x
    notes = {}
    for left, calls in zip((3, 2, 1), CALLS):
        table = Table(model.schedule, start_and_grid(noise, calls)[1], "weighted")
        notes[str(calls)] = _learned(table, model, x, ends, label, (end - time.monotonic()) / left)
    return network, notes


def _learned(table, model, x, ends, label, seconds):
    """The solver's numbers after about so many seconds, at least ten steps."""
    began = time.monotonic()
    learn(table, model, x, ends, label=label, steps=2, batch=64)
    steps = max(10, min(250, int(2 * seconds / (time.monotonic() - began)) - 4))
    solver = learn(table, model, x, ends, label=label, steps=steps, batch=64).net.solver()
    return {"times": solver.times, "options": solver.options}


def sample(network, noise, labels, calls, notes):
    """The learned solver; at one call there is nothing to learn, and it is DDIM's single step."""
    x, times = start_and_grid(noise, calls)
    solver = Solver("weighted", **notes[str(calls)]) if str(calls) in notes else Solver("ddim", times)
    return solver.run(model_of(network, labels), x).x
