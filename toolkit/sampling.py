"""Running a sampler: `sample`, and the registry of samplers.

A sampler is a generator, `sampler(model, x, times, **options)`, that yields (t, x), the start first.  It
evaluates its schedule once, on the host in float64, and its loop is the algorithm box.  Everything else is
the consumer's: path, progress, batches, early stop.
"""

import contextlib
import inspect
import math
import pkgutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import WRAPPER_ASSIGNMENTS, lru_cache, partial, wraps
from importlib import import_module

import numpy as np
import torch

from toolkit.models import clock_dtype
from toolkit.noise import Noise, drawn_seed
from toolkit.options import at_each_time, checked, true_or_false, whole_number
from toolkit.schedules import can_be_looked_at

# --- the registry ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sampler:
    """A sampling loop and what it promises; called as sampler(model, x, times, **options), it checks what it
    is given, and the options of a registered one (`options.checked`), and runs the loop.  `Sampler(loop)`
    makes one of a loop of your own, unregistered, for `sample`.

    Where alpha is 0 at times[0] (zero terminal SNR, Flow at t = 1) x is noise alone, and no step can be
    written in eps or in lambda.  There a sampler of kind "ode" or "sde" that keeps to its times takes as its
    first step DDIM's, x_s = alpha_s x0 + sigma_s / sigma_t x_t, one call, and goes on with its own loop from
    times[1]; the model must be one that tells x0 there, such as a network that predicts x0, v or flow.

    loop: the generator function (model, x, times, **options); it receives times as a list of floats.
    order: order of convergence as the steps are refined, the weak order for kind="sde"; None where there is
    none.
    nfe: nfe(steps, **options) is the number of model calls with these options, a start at alpha > 0 and an
    end at sigma > 0; None if the sampler chooses its own steps (`Run.nfe` is what was counted).  It is
    declared as a function of the steps and of those options, by name, that it depends on.
    kind: "ode" or "sde" (sampling), "mcmc" (Langevin dynamics, which solves no equation between the times),
    "jump" (each call leads to the data, for models trained to do so), "inversion" (from data to noise).
    random: whether it draws noise, that is, whether the loop takes an `rng`.
    cite: the key of its paper in references.bib (`toolkit.citing`).
    """

    loop: Callable
    order: int | None = None
    nfe: Callable[..., int] | None = None
    kind: str = "ode"
    random: bool = field(init=False)
    cite: str | None = None

    def __post_init__(self):
        loop = self.loop
        vars(self).update(  # what functools.wraps would set, were the record not frozen
            {name: getattr(loop, name) for name in WRAPPER_ASSIGNMENTS if hasattr(loop, name)},
            __wrapped__=loop,
            random="rng" in inspect.signature(loop).parameters,
            nfe=self.nfe and _counted(self.nfe, loop),
        )

    def __call__(self, model, x, times, **options):
        _check_model(model)
        _check_state(x)
        times = check_times(times, model.schedule)
        if REGISTRY.get(self.__name__) is self:
            options = checked(self.loop, options)
        if self.kind in ("ode", "sde") and self.nfe and model.schedule.alpha(times[0]) == 0:
            return self._from_noise_alone(model, x, times, options)
        return self.loop(model, x, times, **options)

    def _from_noise_alone(self, model, x, times, options):
        """The run from a time at which alpha is 0: DDIM's step to times[1], then the loop."""
        schedule, t, s = model.schedule, *times[:2]
        yield t, x
        x = schedule.alpha(s) * model.x0(x, t) + schedule.sigma(s) / schedule.sigma(t) * x
        if len(times) == 2:
            yield s, x
        else:
            if isinstance(options.get("tau"), (list, tuple, np.ndarray, torch.Tensor)):
                options = options | {"tau": options["tau"][1:]}  # one number for each time
            yield from self.loop(model, x, times[1:], **options)

    def __reduce__(self):
        return self.__qualname__  # pickled by name, as functions are


def _counted(nfe, loop):
    """nfe(steps, **options): a declared `nfe`, given the options that it names at the loop's own defaults
    where they are left out.  TypeError for an option that the loop has not.
    """
    _, *names = inspect.signature(nfe).parameters
    signature = inspect.signature(loop)

    def calls(steps, **options):
        known = signature.bind(None, None, None, **options)
        counts = (name for name in {*names} & {*options} if type(signature.parameters[name].default) is int)
        known.arguments.update({name: whole_number(name, options[name], -math.inf) for name in counts})
        known.apply_defaults()
        return nfe(steps, *(known.arguments[name] for name in names))

    return calls


REGISTRY: dict[str, Sampler] = {}


def sampler(*, order: int | None, nfe: Callable[..., int] | None, kind: str, cite: str | None = None):
    """Decorate a loop: make a `Sampler` of it, which says what the arguments mean, and register that under
    its name.
    """

    def decorate(loop):
        REGISTRY[loop.__name__] = Sampler(loop, order, nfe, kind, cite)
        return REGISTRY[loop.__name__]

    return decorate


def every_sampler() -> dict[str, Sampler]:
    """The registry once every module of the package has been imported: name -> sampler."""
    import toolkit

    for module in pkgutil.iter_modules(toolkit.__path__):
        if not module.ispkg:
            import_module(f"toolkit.{module.name}")
    return REGISTRY


def __getattr__(name):
    if name == "exact_variance":  # where it was; exercises that were handed out import it from here
        return import_module("toolkit.convergence").exact_variance
    raise AttributeError(f"module 'toolkit.sampling' has no attribute {name!r}")


def _check_state(x):
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.ndim < 2:
        got = f"shape {tuple(x.shape)}, {x.dtype}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise ValueError(f"x must be a floating-point tensor of shape (B, ...), one row a sample; got {got}")
    if x.layout != torch.strided or x.element_size() < 2:
        raise ValueError(f"x must be a dense tensor of at least half precision, got {x.dtype}, {x.layout}")
    if not math.prod(x.shape[1:]):
        raise ValueError(f"x must hold samples of at least one element, got shape {tuple(x.shape)}")
    return x


def _check_model(model):
    if isinstance(model, type) or not (hasattr(model, "schedule") and hasattr(model, "eps")):
        raise ValueError(
            f"model must be one of toolkit.models, got {type(model).__name__}: wrap a network as "
            "Network(net, schedule, predicts=...)"
        )


def check_times(times, schedule):
    """times as a list of floats.  ValueError unless they are at least two, within the schedule's span, and
    decrease.
    """
    values = torch.as_tensor(times, dtype=torch.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "times must be a list of at least two times, the start and the end; "
            f"got shape {tuple(values.shape)}"
        )
    values = values.tolist()
    if not all(math.isfinite(t) for t in values):
        raise ValueError("times must be finite")
    if hasattr(schedule, "within"):  # one of another make may know no span
        values = [schedule.within(t) for t in values]
    for i, (t, s) in enumerate(zip(values, values[1:])):
        if not t > s:
            raise ValueError(
                f"times must decrease, from noise to data: times[{i}] = {t:g}, times[{i + 1}] = {s:g}"
            )
    return values


def kept(build):
    """Remember the coefficients that `build(schedule, times, ...)` made: each batch of a run needs the same
    ones.  They must be tuples, since all who ask share them.  What may change is no key: `tau` is remembered
    by its values on the grid, and for a schedule that is not `constant` nothing is.
    """
    remembered = lru_cache(maxsize=256)(build)
    signature = inspect.signature(build)

    @wraps(build)
    def table(schedule, times, *args, **options):
        times = tuple(float(t) for t in times)
        asked = signature.bind(schedule, times, *args, **options)
        if "tau" in asked.arguments:
            asked.arguments["tau"] = at_each_time("tau", asked.arguments["tau"], times)
        make = remembered if getattr(schedule, "constant", False) else build
        return make(*asked.args, **asked.kwargs)

    return table


class NoiseNotScaled(UserWarning):
    """A warning that the noise handed to `sample` looks as if it had not been multiplied by sigma(start)."""


def _check_scale(model, noise, start):
    """Warn of unit noise where sigma is far from 1, at no cost: noise on a device is not looked at."""
    sigma = model.schedule.sigma(start)
    if sigma < 5 or noise.numel() < 16 or not can_be_looked_at(noise):
        return
    std, mean = (float(v) for v in torch.std_mean(noise.detach().double()))
    if 0.8 < std < 1.25 and abs(mean) < 0.5:
        warnings.warn(
            f"noise has deviation {std:.2g} where sigma(start) = {sigma:g}: multiply it by "
            "schedule.sigma(times[0])",
            NoiseNotScaled,
            stacklevel=4,
        )


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
    draws=0,
    generator=None,
    keep_path=False,
    progress=False,
    batch_size=None,
    gradients=False,
    graph=False,
    **options,
) -> Run:
    """Run `sampler` from `noise`, the state at times[0], along `times`.

    noise: (B, ...), for VE and EDM already multiplied by sigma(start); a `NoiseNotScaled` warning where it
    plainly is not.
    draws: for samplers that draw noise, an int, the seed of a Noise, or an object with `normals`, such as
    Brownian (paths that a finer grid sees again) or Replay; and with `rows`, for batches.
    generator: in its place, a torch.Generator, whose next draw is the seed.
    keep_path: keep every state.
    progress: show a bar.
    batch_size: rows at once; the result does not depend on it.
    gradients: keep the graph, so that the result can be differentiated with respect to the noise and the
        model's parameters.  A sampler that chooses its own steps is differentiated with the steps held as it
        chose them.
    graph: on a CUDA device, record the whole run of one batch, the network included, as one CUDA graph, and
        replay it for each batch (`toolkit.graphs`): pays for a small network and many batches of one size.
    options: the sampler's own.
    x has the dtype and the device of the noise.  Runs without gradients unless asked for them.  ValueError
    for shapes and grids that cannot work, and if the result is not finite.
    """
    times = _check_asked(sampler, model, noise, times)
    if "rng" in options:
        raise ValueError(
            "give sample the noise as draws= or generator=, not rng=, which is the sampler's own option"
        )
    draws = _draws_of(options.pop("seed", draws), generator)  # "seed" in exercises handed out earlier
    size = max(len(noise), 1) if batch_size is None else whole_number("batch_size", batch_size)
    if size < len(noise) and sampler.random and not hasattr(draws, "rows"):
        raise ValueError(f"draws needs rows(first, last) for batches, which {type(draws).__name__} has not")
    run = partial(_run, sampler, times, options, keep_path, progress and len(times))
    run = _replayed(run, sampler, noise, gradients) if true_or_false("graph", graph) else run
    with gradient_mode(true_or_false("gradients", gradients)):
        noise = noise.clone() if gradients and noise.is_inference() else noise  # autograd keeps none of these
        runs = []
        for part in _parts(model, noise, draws if sampler.random else None, size):
            before = _calls_here(model)
            runs.append(run(*part))
            nfe = _calls_here(model) - before
        visited, paths, states = zip(*runs)
        x = torch.cat(states)
        if keep_path and len(set(map(len, paths))) > 1:
            raise ValueError(
                "this sampler chose other steps for each batch, so there is no common path: leave batch_size "
                "out"
            )
        path = torch.cat(paths, dim=1) if keep_path else None
    _check_finite(x, path, visited[-1])
    return Run(x, path, visited[-1], nfe)


def _check_asked(sampler, model, noise, times):
    """The times as floats.  ValueError, and a `NoiseNotScaled` warning, for what `sample` cannot run."""
    if not isinstance(sampler, Sampler):
        raise ValueError(
            f"sampler must be a Sampler, such as toolkit.ddim.ddim, got {sampler!r}: by name they are in "
            "toolkit.sampling.every_sampler(), and Sampler(loop) makes one of a loop of your own"
        )
    _check_model(model)
    _check_state(noise)
    times = check_times(times, model.schedule)
    if hasattr(model, "check_batch"):
        model.check_batch(len(noise))
    if sampler.kind != "inversion":
        _check_scale(model, noise, times[0])
    return times


def _parts(model, noise, draws, size):
    """(model, noise, draws) of each batch of `size` rows."""
    whole = size >= len(noise)
    for first in range(0, max(len(noise), 1), size):
        rows = noise[first : first + size]
        part = model if whole else model.rows(first, first + len(rows))
        part = part.fresh() if hasattr(part, "fresh") else part
        yield part, rows, draws if whole or draws is None else draws.rows(first, first + len(rows))


def _draws_of(draws, generator):
    """The object with `normals` that sample's draws= or generator= stands for."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(f"generator must be one torch.Generator, got {type(generator).__name__}")
    if generator is not None or isinstance(draws, torch.Generator):
        draws = drawn_seed(generator or draws)
    if isinstance(draws, (int, np.integer)) and not isinstance(draws, bool):
        return Noise(draws)
    if not hasattr(draws, "normals"):
        got = repr(draws) if isinstance(draws, (float, str, bool, type(None))) else type(draws).__name__
        raise ValueError(
            "draws must be a whole number, the seed, a torch.Generator, or an object with normals, such as "
            f"Noise; got {got}"
        )
    return draws


def _calls_here(model):
    """The calls of the model so far by this thread, or by all where it does not tell them apart."""
    calls = getattr(model, "_calls", None)
    return calls.here if hasattr(calls, "here") else model.nfe


@contextlib.contextmanager
def gradient_mode(wanted):
    """Without gradients, or with them, whatever holds outside.  ValueError where weights that can have none
    need one, for the caller or for an implicit solver.
    """
    outside = torch.inference_mode(False) if wanted else contextlib.nullcontext()
    try:
        with outside, torch.set_grad_enabled(wanted):
            yield
    except RuntimeError as problem:
        if "Inference tensors cannot be saved" not in str(problem):
            raise
        raise ValueError(
            "gradients are needed here, and part of the model was made in torch.inference_mode, where it can "
            "have none: make or load it outside"
        ) from problem


def _run(sampler, times, options, keep_path, progress, model, x, normals):
    """One batch's run: (times visited, path or None, last state)."""
    if sampler.random:
        options = options | {"rng": normals}
    model.begin()
    return _consume(sampler(model, x, times, **options), keep_path, progress)


def _replayed(run, sampler, noise, gradients):
    """The same, recorded as a CUDA graph.  ValueError where there can be none."""
    from toolkit.graphs import Replayed

    if noise.device.type != "cuda":
        raise ValueError(f"graph=True records a run on a CUDA device; the noise is on {noise.device}")
    if gradients:
        raise ValueError("graph=True keeps no gradients: leave one of graph and gradients out")
    if sampler.nfe is None:
        raise ValueError("graph=True needs steps known beforehand, and this sampler chooses its own")
    return Replayed(run)


def _consume(states, keep_path, progress):
    if progress:
        from tqdm.auto import tqdm

        states = tqdm(states, total=progress, unit="state")
    visited, kept = [], []
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


def sample_last(states):
    """The last state of a sampler's generator, without gradients."""
    with torch.no_grad():
        return _consume(states, False, False)[2]


def largest_rms(x):
    """The root mean square of each sample of x (B, ...), the largest of the batch, as a float: what adaptive
    samplers steer by.  0 for no samples; no gradient flows through it.
    """
    if not len(x):
        return 0.0
    wide = x.detach().to(clock_dtype(x))  # squares of half precision overflow
    return float(wide.square().flatten(1).mean(1).max().sqrt())
