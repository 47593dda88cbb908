"""The students of chapter 5: what ships, and the recipes that made it.

    student("consistency")                   the shipped weights
    student("consistency", retrain=True)     trained here and now, in a minute or two
    student("regression", "ring")            the same method in the plane

Three settings: "digits" (the teacher is a network, `teacher()`; one student serves every class and, without a
label, all of them), and in the plane "ring" and "swiss roll", whose teachers are exact, so that every
student's error is known point by point.  All start from noise at level 80 of `EDM()`, except "reflow", which
lives on `Flow()`; `jump` takes the same noise for each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch

from toolkit import distill, grids
from toolkit.data import digit_labels, digits, swiss_roll
from toolkit.ddim import ddim
from toolkit.mixtures import Mixture
from toolkit.models import Model, Network
from toolkit.networks import DIGITS_SIGMA_DATA, ScaledMLP, ToyMLP, pretrained
from toolkit.noise import initial_noise
from toolkit.ode import edm_heun
from toolkit.sampling import sample
from toolkit.schedules import EDM, Flow

METHODS = ("regression", "progressive", "consistency", "consistency-distilled", "adversarial", "reflow")
NULL = 10  # the label of "no class"
START = EDM().start
FLOW_START = START / (1 + START)  # the time of Flow() at which sigma / alpha is EDM's at its start


# --- settings -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What all students of one data set share.

    teacher: the model to be distilled, on EDM().  data (n, ...), labels (n,) or None: what it was trained on.
    shape: of one sample.  network: seed -> the network a student starts with.  sigma_data: for `Network`.
    pair_steps: steps of EDM's Heun from noise to data for the teacher's pairs.
    """

    teacher: Model
    data: torch.Tensor
    labels: torch.Tensor | None
    shape: tuple
    network: Callable
    sigma_data: float
    pair_steps: int = 12

    def fresh(self, seed, kind=None, schedule=None):
        """An untrained student: of `distill.ConsistencyModel`, or a `Network` on `schedule`."""
        network = self.network(seed)
        if kind is distill.ConsistencyModel:
            return kind(network, EDM(), sigma_data=self.sigma_data)
        return Network(network, schedule or EDM(), predicts="edm", sigma_data=self.sigma_data)

    def pairs(self, n, seed):
        """n pairs of the teacher, noise (n, ...) at level 80 and sample (n, ...), with labels (n,) or None;
        half of the labels say "no class"."""
        noise = initial_noise(n, self.shape, 1000 + seed) * START
        labels = None
        if self.labels is not None:
            labels = digit_labels(n, seed)
            generator = torch.Generator().manual_seed(seed)
            labels[torch.rand(n, generator=generator, dtype=torch.float32) < 0.5] = NULL
        model = self.teacher if labels is None else self.teacher.with_label(labels)
        times = grids.karras(EDM(), self.pair_steps)
        return noise, sample(edm_heun, model, noise, times, batch_size=1000).x, labels


def teacher():
    """The digits' teacher: the network of the other chapters, trained with half of the labels dropped, so
    that it is as good without a label as with one."""
    return Network(pretrained("digits-teacher"), EDM(), predicts="edm", sigma_data=DIGITS_SIGMA_DATA)


@cache
@torch.inference_mode(False)
def mixture(name):
    """The data of the plane's settings, as a `Mixture`: "ring" is eight Gaussians of deviation 0.1 on the
    unit circle, "swiss roll" is `data.swiss_roll` as 512 Gaussians of its noise along the curve."""
    if name == "ring":
        return Mixture.ring(8, radius=1.0, std=0.1)
    if name == "swiss roll":
        curve = swiss_roll(512, _Midpoints(512), noise=0.0)
        return Mixture(np.ones(512), curve, np.full(512, 0.05))
    raise ValueError(f"there is no setting {name!r}; there are digits, ring and swiss roll")


class _Midpoints(np.random.Generator):
    """A generator whose uniform numbers are the midpoints of equal cells."""

    def __init__(self, n):
        super().__init__(np.random.PCG64(0))
        self._n = n

    def random(self, size):
        return (np.arange(self._n) + 0.5) / self._n


def _loaded(name):
    return pretrained(name).train().requires_grad_(True)


def _toy(seed):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return ToyMLP(width=96)


@cache
@torch.inference_mode(False)  # what is kept serves in every mode
def setting(name):
    """The `Setting` called "digits", "ring" or "swiss roll"."""
    if name == "digits":
        images, labels = digits("train")
        network = lambda seed: _loaded("digits-teacher")  # noqa: E731
        return Setting(teacher(), images, labels, (1, 8, 8), network, DIGITS_SIGMA_DATA)
    exact = mixture(name)
    spread = float((exact.covariance().trace() / 2 + exact.mean().square().mean()).sqrt())
    data = exact.sample(20_000, seed=1).float()
    return Setting(exact.model(EDM()), data, None, (2,), _toy, spread, 18)


# --- recipes ------------------------------------------------------------------------------------------------


def _regression(setting, seed, *, pairs, steps, lr, **loop):
    model = setting.fresh(seed)
    noise, samples, labels = setting.pairs(pairs, seed)
    run = distill.regress_on_pairs(
        model, noise, samples, labels=labels, steps=steps, lr=lr, seed=seed, **loop
    )
    return model.with_network(run.net)


def _progressive(setting, seed, *, rounds, steps, lr, **loop):
    model = setting.fresh(seed)
    runs = distill.distill_progressively(
        model,
        setting.teacher,
        setting.data,
        rounds=rounds,
        steps=steps,
        lr=lr,
        labels=setting.labels,
        p_uncond=0.5,
        seed=seed,
        **loop,
    )
    return model.with_network(runs[-1].net)


def _consistency(setting, seed, *, distilled=False, **options):
    model = setting.fresh(seed, distill.ConsistencyModel)
    run = distill.train_consistency(
        model,
        setting.data,
        teacher=setting.teacher if distilled else None,
        labels=setting.labels,
        p_uncond=0.5,
        seed=seed,
        **options,
    )
    return model.with_network(run.net)


def _adversarial(setting, seed, *, pairs, **options):
    model = setting.fresh(seed)
    noise, samples, labels = setting.pairs(pairs, seed)
    run = distill.distill_adversarially(
        model,
        noise,
        samples,
        setting.data,
        labels=labels,
        data_labels=setting.labels,
        p_uncond=0.5,
        seed=seed,
        **options,
    )
    return model.with_network(run.net)


def _reflow(setting, seed, *, pairs, **options):
    model = setting.fresh(seed, schedule=Flow())
    noise, samples, labels = setting.pairs(pairs, seed)
    run = distill.reflow(model, noise / START, samples, labels=labels, seed=seed, **options)
    return model.with_network(run.net)


def _guided(setting, seed, *, paths, path_steps, scales, **options):
    """paths: of the guided teacher, so many, of so many DDIM steps."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = ScaledMLP()
    network.load_state_dict(pretrained("digits-teacher").state_dict(), strict=False)
    model = setting.fresh(seed).with_network(network)
    noise, (low, high) = initial_noise(paths, setting.shape, 1000 + seed) * START, scales
    generator = torch.Generator().manual_seed(seed)
    drawn = low + (high - low) * torch.rand(paths, generator=generator, dtype=noise.dtype)
    times = grids.karras(EDM(), path_steps)
    run = distill.distill_guidance(
        model,
        setting.teacher,
        setting.data,
        setting.labels,
        scales=scales,
        paths=distill.guided_paths(setting.teacher, noise, times, digit_labels(paths, seed), drawn),
        seed=seed,
        **options,
    )
    return model.with_network(run.net)


def few_steps(seed=0, steps=1, **loop):
    """The second stage of Meng et al. 2023: the shipped guided student, distilled progressively down to so
    many `steps`, at all scales.  {number of steps: model}, one for each round, for `distill.at_scale`."""
    options = dict(FEW_STEPS)
    rounds = [n for n in options.pop("rounds") if n >= steps]
    if steps not in rounds:
        raise ValueError(f"steps must be one of {', '.join(map(str, FEW_STEPS['rounds']))}, got {steps}")
    shared, teacher = setting("digits"), student("guided")
    model = shared.fresh(seed).with_network(_loaded("student-guided"))
    options |= dict(rounds=rounds, steps=options["steps"][: len(rounds)], labels=shared.labels, p_uncond=0.0)
    runs = distill.distill_progressively(model, teacher, shared.data, seed=seed, **options, **loop)
    return {n: model.with_network(run.net) for n, run in zip(rounds, runs)}


FEW_STEPS = dict(rounds=(8, 4, 2, 1), steps=(500, 700, 1000, 1300), lr=1e-3, scales=(1.0, 4.0))
FEW = {"guided-4": 4, "guided-2": 2, "guided-1": 1}  # the guided students of few steps: name -> steps


RECIPES = {
    "regression": _regression,
    "progressive": _progressive,
    "consistency": _consistency,
    "consistency-distilled": partial(_consistency, distilled=True),
    "adversarial": _adversarial,
    "reflow": _reflow,
    "guided": _guided,
}
_IMPROVED = dict(metric="huber", weighting="1/gap", levels=(10, 640), log_level=(-0.5, 1.6))
OPTIONS = {
    "digits": {
        "regression": dict(pairs=40_000, steps=7000, lr=2e-3),
        "progressive": dict(
            rounds=(8, 4, 2, 1), steps=(500, 800, 1400, 1800), batch=192, first_heun=4, lr=2e-3
        ),
        "consistency": dict(steps=8000, lr=1e-3, **_IMPROVED),
        "consistency-distilled": dict(steps=4000, lr=2e-3, levels=(8, 8), log_level=(0.0, 2.0)),
        "adversarial": dict(pairs=40_000, steps=4000, lr=1e-3, adversarial=0.3),
        "reflow": dict(pairs=40_000, steps=7000, lr=2e-3, t_sampler=partial(distill.late_times, power=4)),
        "guided": dict(steps=4500, lr=1e-3, scales=(1.0, 4.0), paths=4000, path_steps=18, share=0.5),
    },
    "plane": {
        "regression": dict(pairs=20_000, steps=3000, lr=2e-3),
        "progressive": dict(rounds=(16, 8, 4, 2, 1), steps=(800, 300, 400, 600, 1000), lr=2e-3),
        "consistency": dict(steps=4000, lr=2e-3, **_IMPROVED),
        "consistency-distilled": dict(steps=2500, lr=2e-3, levels=(18, 36), log_level=(0.0, 2.0)),
        "adversarial": dict(pairs=20_000, steps=1500, lr=2e-3, adversarial=0.1),
        "reflow": dict(pairs=20_000, steps=3000, lr=2e-3),
    },
}


def train(name, on="digits", seed=0, **loop):
    """Train the student `name` on the setting `on` from its recipe: a model.  loop: progress, callback, ...
    of `training.fit`.  Settles for about a minute on two cores on digits, and for 20 s in the plane."""
    options = OPTIONS["digits" if on == "digits" else "plane"]
    if on == "digits" and name in FEW:
        return few_steps(seed, FEW[name], **loop)[FEW[name]]
    if name not in options:
        names = [*options, *(FEW if on == "digits" else ())]
        raise ValueError(f"there is no student {name!r} on {on}; there are {', '.join(names)}")
    return RECIPES[name](setting(on), seed, **options[name], **loop)


def student(name, on="digits", *, retrain=False, seed=0, progress=True):
    """The student `name` ("regression", "progressive", "consistency", "consistency-distilled", "adversarial",
    "reflow"; on digits also "guided", and "guided-4", "guided-2" and "guided-1", made for so many steps) of
    the setting `on`, "digits" or "ring": as it ships, or with `retrain` trained anew, from `seed`.

    A model on EDM() ("reflow": on Flow()); use `jump`, for the guided ones of `distill.at_scale`. ValueError
    for a name or a setting that does not exist."""
    if retrain:
        return train(name, on, seed, progress=progress)
    if on not in ("digits", "ring"):
        raise ValueError(f"students ship for digits and ring, got {on!r}; retrain=True trains one")
    return as_model(name, pretrained(file_name(name, on)), on)


def file_name(name, on):
    """Under which name a student ships."""
    return f"student-{name}" if on == "digits" else f"{on}-{name}"


def as_model(name, network, on="digits"):
    """The network of a student `name` of the setting `on`, as the model that it was trained to be."""
    sigma_data = setting(on).sigma_data
    if name.startswith("consistency"):
        return distill.ConsistencyModel(network, EDM(), sigma_data=sigma_data)
    return Network(network, Flow() if name == "reflow" else EDM(), predicts="edm", sigma_data=sigma_data)


def jump(model, noise, steps=1, draws=0):
    """Samples (n, ...) of a student, or of the teacher, from noise (n, ...) at level 80, in `steps` calls.

    A consistency model jumps, and adds noise anew, by `draws`, at `refinement_times`; any other model makes
    that many steps of DDIM: on Karras's grid, or on Flow() in equal steps."""
    schedule = model.schedule
    if isinstance(schedule, Flow):
        times = grids.uniform(schedule, steps, FLOW_START, 0.0)
        return sample(ddim, model, noise * (FLOW_START / START), times).x
    if isinstance(model, distill.ConsistencyModel):
        return sample(distill.consistency, model, noise, refinement_times(steps), draws=draws).x
    return sample(ddim, model, noise, grids.karras(schedule, steps)).x


def refinement_times(steps):
    """Times for `distill.consistency`: 80, then steps - 1 levels from 1.5 downwards, each half the one
    before, then
    the end: new noise is worth adding only where it leaves the class and the pose as they are."""
    return [START, *(1.5 * 0.5**i for i in range(steps - 1)), EDM().end]
