"""Running a sampler: `sample`, and the registry of samplers.

A sampler is a generator, `sampler(model, x, times, **options)`, that yields (t, x), the start first.  It
evaluates its schedule once, on the host in float64, and its loop is the algorithm box.  Everything else is
the consumer's: path, progress, batches, early stop.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps

import numpy as np
import torch

from toolkit.noise import Brownian, Replay, drawn_seed

# --- the registry ---------------------------------------------------------------------------------------

REGISTRY: dict[str, Callable] = {}


def sampler(*, order: int | None, nfe: Callable[[int], int] | None, kind: str, needs: dict | None = None):
    """Declare what a sampler promises, check its arguments, and register it under its name.

    order: order of convergence as the steps are refined (weak order for kind="sde"; None for "mcmc" and
    "jump").  nfe: steps -> model calls with default options and an end at sigma > 0, None if the sampler
    chooses its own steps (`Run.nfe` is what was counted).  kind: "ode" or "sde" (sampling), "mcmc" (Langevin
    dynamics, which solves no equation between the times), "jump" (each call leads to the data, for models
    trained to do so), "inversion" (from data to noise).  needs:
    options without which it has not got that order.  The decorated generator receives `times` as a list of
    floats.
    """

    def decorate(loop):
        @wraps(loop)
        def checked(model, x, times, **options):
            return loop(model, _check_state(x), _check_times(times), **options)

        checked.order, checked.nfe, checked.kind, checked.needs = order, nfe, kind, needs or {}
        checked.random = "rng" in inspect.signature(loop).parameters
        REGISTRY[loop.__name__] = checked
        return checked

    return decorate


def _check_state(x):
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.ndim < 2:
        got = f"shape {tuple(x.shape)}, {x.dtype}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise ValueError(f"x must be a floating-point tensor of shape (B, ...), one row a sample; got {got}")
    return x


def _check_times(times):
    values = torch.as_tensor(times, dtype=torch.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "times must be a list of at least two times, the start and the end; "
            f"got shape {tuple(values.shape)}"
        )
    values = values.tolist()
    if not all(math.isfinite(t) for t in values):
        raise ValueError("times must be finite")
    for i, (t, s) in enumerate(zip(values, values[1:])):
        if not t > s:
            raise ValueError(
                f"times must decrease, from noise to data: times[{i}] = {t:g}, times[{i + 1}] = {s:g}"
            )
    return values


def kept(build):
    """Remember the coefficients that `build(schedule, times, ...)` made, as tuples: each batch of a run needs
    the same ones.  `build` itself, for arguments that cannot be remembered, is `__wrapped__`.
    """
    remembered = lru_cache(maxsize=256)(lambda *args, **options: _tuples(build(*args, **options)))

    @wraps(build)
    def table(schedule, times, *args, **options):
        return remembered(schedule, tuple(float(t) for t in times), *args, **options)

    return table


def _tuples(table):
    return tuple(map(_tuples, table)) if isinstance(table, (list, tuple)) else table


# --- running --------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What `sample` returns: final state x (B, ...), path (len(times), B, ...) or None, times, and the model
    calls made for each sample.
    """

    x: torch.Tensor
    path: torch.Tensor | None
    times: list[float]
    nfe: int


def sample(
    sampler,
    model,
    noise,
    times,
    *,
    seed=0,
    generator=None,
    keep_path=False,
    progress=False,
    batch_size=None,
    **options,
) -> Run:
    """Run `sampler` from `noise`, the state at times[0], along `times`.

    noise: (B, ...), for VE and EDM already multiplied by sigma(start).  seed: for samplers that draw noise,
    an int or an object with
    `normals`, such as Brownian (and with `rows`, for batches); or give generator, a torch.Generator whose
    next draw is the seed.  keep_path: keep every state.  batch_size: rows at once; the result does not depend
    on it.
    Runs without gradients.  ValueError for shapes and grids that cannot work, and if the result is not
    finite.
    """
    _check_state(noise)
    if "rng" in options:
        raise ValueError(
            "give sample the noise as seed= or generator=, not rng=, which is the sampler's own option"
        )
    if generator is not None or isinstance(seed, torch.Generator):
        seed = drawn_seed(generator or seed)
    noises = Brownian(seed) if isinstance(seed, (int, np.integer)) else seed
    size = max(len(noise), 1) if batch_size is None else batch_size
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    states, paths = [], []
    for first in range(0, max(len(noise), 1), size):
        rows = noise[first : first + size]
        part = model if size >= len(noise) else model.rows(first, first + len(rows))
        if sampler.random:
            options["rng"] = noises if size >= len(noise) else noises.rows(first, first + len(rows))
        part.begin()
        before = model.nfe
        visited, path, x = _consume(sampler(part, rows, times, **options), keep_path, progress and len(times))
        nfe = model.nfe - before
        states.append(x)
        paths.append(path)
    x = torch.cat(states)
    if keep_path and len({len(part) for part in paths}) > 1:
        raise ValueError(
            "this sampler chose other steps for each batch, so there is no common path: leave batch_size out"
        )
    path = torch.cat(paths, dim=1) if keep_path else None
    _check_finite(x, path, visited)
    return Run(x, path, visited, nfe)


def _consume(states, keep_path, progress):
    if progress:
        from tqdm.auto import tqdm

        states = tqdm(states, total=progress, unit="state")
    visited, kept = [], []
    with torch.no_grad():
        for t, x in states:
            visited.append(t)
            if keep_path:
                kept.append(x)
    return visited, torch.stack(kept) if keep_path else None, x


def _check_finite(x, path, visited):
    if torch.isfinite(x).all():
        return
    where = "; run with keep_path=True to see at which step"
    if path is not None:
        bad = ~torch.isfinite(path).flatten(1).all(dim=1)
        where = f", first at t = {visited[int(bad.nonzero()[0])]:g}"
    raise ValueError(
        f"the sample is not finite (NaN or inf){where}: check the model's output and the ends of the grid"
    )


def exact_variance(sampler, schedule, times, std: float = 0.5, **options):
    """The exact variance of a sampler's output when the data are N(0, std^2), without Monte Carlo.

    For Gaussian data every sampler here is linear in its start and its noises, so one run on the basis
    vectors gives all gains; the variance is sum_j gain_j^2, the start counted with the exact variance alpha^2
    std^2 + sigma^2 of x at times[0].
    Returns a float.  Needs a sampler whose steps do not depend on x.
    """
    from toolkit.mixtures import Mixture

    times = _check_times(times)
    steps = len(times) - 1
    basis = torch.eye(2 * steps + 1, dtype=torch.float64)  # the start, and up to two noises a step
    start = math.sqrt(schedule.alpha(times[0]) ** 2 * std**2 + schedule.sigma(times[0]) ** 2)
    if sampler.random:
        options["rng"] = Replay(basis[1:, None, :])
    model = Mixture.gaussian(2 * steps + 1, std).model(schedule)
    return float(sample_last(sampler(model, start * basis[:1], times, **options)).square().sum())


def sample_last(states):
    """The last state of a sampler's generator, without gradients."""
    return _consume(states, False, False)[2]
