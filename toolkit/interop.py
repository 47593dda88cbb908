"""Networks of diffusers in our samplers, and our samplers in pipelines of diffusers.

    model = model_of(unet, config)                    # a UNet and a scheduler's config: the face of a `Model`
    times = times_of(config, steps)                   # the grid on which diffusers would walk
    pipe.scheduler = as_diffusers(dpmpp_2m, config)   # one of our samplers where a pipeline wants a scheduler

config is a scheduler of diffusers, its `.config`, a dict like it, or the path of a `scheduler_config.json` or
of its folder.  Only numbers are read from it: diffusers need not be installed.

diffusers counts time steps from 0, so that its step n is our step n + 1 of a table of T betas, t = (n + 1) /
T.  Its tables are float32; here they are computed in float64 from the same numbers.  Its flow-matching models
are `Flow` at t = sigma, and are told 1000 t.

A pipeline calls the network itself and hands each output to `step`, while a sampler of ours calls its model.
So a sampler is run once on stand-ins, zeros whose arithmetic is written down (`_Stand`), and `step` carries
out what is written between one call of the model and the next.  No thread waits, nothing is computed twice,
and a scheduler can be copied in the middle of a run.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from toolkit.models import Network, Thresholded, alpha_and_sigma, dtype_of_weights, view_coefficients
from toolkit.noise import Noise, drawn_seed
from toolkit.schedules import Discrete, Flow

# --- what a config says ---------------------------------------------------------------------------------

PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v", "flow_prediction": "flow"}
_OTHER_GRIDS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")


def read_config(source) -> dict:
    """The settings of a scheduler of diffusers, a dict.

    source: a scheduler, its `.config`, a dict, or a path: a JSON file, or a folder that holds
    `scheduler_config.json`, itself or in `scheduler/`.  ValueError for anything else.
    """
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(getattr(source, "config", None), Mapping):
        return {"_class_name": type(source).__name__, **source.config}
    if not isinstance(source, (str, Path)):
        raise ValueError(
            f"a scheduler of diffusers, its config or the path of one is needed; got {type(source).__name__}"
        )
    name = "scheduler_config.json"
    tried = [Path(source), Path(source) / name, Path(source) / "scheduler" / name]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        raise ValueError(f"there is no {name} at {str(source)!r}; nothing is downloaded here")
    return json.loads(found.read_text("utf8"))


def _needed(config, key):
    if config.get(key) is None:
        raise ValueError(f"the config of {config.get('_class_name', 'this scheduler')} does not say {key}")
    return config[key]


def _is_flow(config):
    return (
        str(config.get("_class_name", "")).startswith("FlowMatch")
        or bool(config.get("use_flow_sigmas"))
        or config.get("prediction_type") == "flow_prediction"
        or ("shift" in config and "beta_schedule" not in config)
    )


def schedule_of(config):
    """The schedule of a scheduler's config: `Discrete`, or `Flow` for flow matching.

    beta_schedule: linear, scaled_linear, squaredcos_cap_v2 (Nichol & Dhariwal 2021, eq. 17) or sigmoid; or
    trained_betas; each with rescale_betas_zero_snr (Lin et al. 2024, alg. 1).  `shift` moves the grid of a
    flow (`times_of`), not its schedule.  ValueError for another, by name.
    """
    config = read_config(config)
    if _is_flow(config):
        return Flow()
    betas = np.asarray(_betas(config), dtype=np.float64)
    return Discrete.zero_terminal_snr(betas) if config.get("rescale_betas_zero_snr") else Discrete(betas)


def _betas(config):
    if config.get("trained_betas") is not None:
        return config["trained_betas"]
    T, kind = _needed(config, "num_train_timesteps"), _needed(config, "beta_schedule")
    if kind == "squaredcos_cap_v2":
        return Discrete.cosine(T).betas
    if kind not in ("linear", "scaled_linear", "sigmoid"):
        raise ValueError(
            "beta_schedule must be linear, scaled_linear, squaredcos_cap_v2 or sigmoid (give others as "
            f"trained_betas), got {kind!r}"
        )
    first, last = _needed(config, "beta_start"), _needed(config, "beta_end")
    if kind == "sigmoid":
        return first + (last - first) / (1 + np.exp(-np.linspace(-6, 6, T)))
    return np.linspace(first, last, T) if kind == "linear" else np.linspace(first**0.5, last**0.5, T) ** 2


def predicts_of(config) -> str:
    """What the network of a scheduler's config predicts, as `Network(predicts=)` has it: "eps", "x0", "v" or
    "flow".  ValueError for another prediction_type."""
    config = read_config(config)
    kind = config.get("prediction_type") or ("flow_prediction" if _is_flow(config) else None)
    if kind not in PREDICTIONS:
        raise ValueError(f"prediction_type must be one of {', '.join(PREDICTIONS)}; got {kind!r}")
    return PREDICTIONS[kind]


def times_of(config, steps: int, shift: float | None = None) -> list[float]:
    """The times at which a scheduler of this config would call the network, and the end: decreasing floats.

    steps: calls of the network.  timestep_spacing: leading, linspace or trailing, as DDIMScheduler has them
    (Lin et al. 2024, table 2), with steps_offset; the end is n = 0, where sigma = 0, or n = 1 with
    set_alpha_to_one=False or final_sigmas_type="sigma_min" (a step that would then stay at n = 1 is left
    out).  For a flow t' = shift t / (1 + (shift - 1) t) (Esser et al. 2024, eq. 23).
    shift: in the place of the config's; to be given where that leaves it to the picture's size, exp(mu).
    ValueError for a setting that is not one of these.
    """
    config = read_config(config)
    for name in (*_OTHER_GRIDS, "shift_terminal", "invert_sigmas", "timesteps"):
        if config.get(name):
            raise ValueError(f"{name} asks for a grid that is not among ours; give the times yourself")
    if _is_flow(config):
        return _flow_times(config, steps, shift)
    T, spacing = len(_betas(config)), config.get("timestep_spacing", "leading")
    if not 1 <= steps <= T:
        raise ValueError(f"steps must lie between 1 and {T}, got {steps}")
    if spacing == "leading":
        n = np.arange(steps)[::-1] * (T // steps) + config.get("steps_offset", 0)
    elif spacing == "linspace":
        n = np.linspace(0, T - 1, steps).round()[::-1]
    elif spacing == "trailing":
        n = np.round(np.arange(T, 0, -T / steps)) - 1
    else:
        raise ValueError(f"timestep_spacing must be leading, linspace or trailing; got {spacing!r}")
    clean = config.get("set_alpha_to_one", True) and config.get("final_sigmas_type") != "sigma_min"
    end = 0 if clean else 1
    return [*((n + 1) / T)[n + 1 > end].tolist(), end / T]


def _shifted(t, shift):
    return shift * t / (1 + (shift - 1) * t)


def _flow_times(config, steps, shift):
    """As FlowMatchEulerDiscreteScheduler has them, which shifts the least time too before it shifts all."""
    T = config.get("num_train_timesteps", 1000)
    by_size = config.get("use_dynamic_shifting") and shift is None
    if by_size:
        raise ValueError("use_dynamic_shifting leaves the shift to the picture's size: give shift=exp(mu)")
    least = 1 / T if config.get("use_dynamic_shifting") else _shifted(1 / T, _shift_of(config))
    times = np.linspace(1.0, least, steps)
    return [*_shifted(times, _shift_of(config) if shift is None else shift).tolist(), 0.0]


def _shift_of(config):
    return config.get("shift", config.get("flow_shift", 1.0))


def config_of(schedule, predicts: str = "eps") -> dict:
    """A config for schedulers of diffusers from a schedule of ours: `DDIMScheduler.from_config(...)`.

    schedule: `Discrete`, by its betas, or `Flow`.  ValueError for another, which diffusers has not.
    """
    names = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    if predicts not in names:
        raise ValueError(f"predicts must be one of {', '.join(names)}; got {predicts!r}")
    if isinstance(schedule, Flow):
        return {"num_train_timesteps": 1000, "shift": 1.0, "prediction_type": names[predicts]}
    if not isinstance(schedule, Discrete):
        raise ValueError(
            f"diffusers has no schedule like {type(schedule).__name__}; give a Discrete or a Flow"
        )
    betas = schedule.betas.tolist()
    return {"num_train_timesteps": len(betas), "trained_betas": betas, "prediction_type": names[predicts]}


def _clipped(model, config, clip):
    """The model with its x_0 clipped, as clip_sample and thresholding of the config ask for."""
    if clip is None:
        clip = config.get("clip_sample") or config.get("thresholding")
    if not clip:
        return model
    largest = config.get("sample_max_value", 1.0)
    if config.get("thresholding") and largest > 1:
        raise ValueError(
            f"thresholding with sample_max_value={largest:g} is not ours, whose size has no bound: set "
            "clip=False, and Thresholded(model) as you want it"
        )
    limit = 1.0 if config.get("thresholding") else config.get("clip_sample_range", 1.0)
    return Thresholded(model, quantile=None, limit=limit)


# --- a network of theirs for our samplers -----------------------------------------------------------------


class _Conditioned:
    """A network (x, c, label) of one that is called network(x, timestep=, **conditions)."""

    def __init__(self, network, scale, offset, fixed):
        self.network, self.scale, self.offset, self.fixed = network, scale, offset, fixed

    def __call__(self, x, c, label=None):
        given = label if isinstance(label, dict) else {} if label is None else {"class_labels": label}
        x_in, timestep = x.to(dtype_of_weights(self.network, x)), c * self.scale - self.offset
        out = self.network(x_in, timestep=timestep, **given, **self.fixed)
        out = out.sample if hasattr(out, "sample") else out[0] if isinstance(out, tuple) else out
        return out.to(x.dtype) if isinstance(out, torch.Tensor) else out


def model_of(
    unet,
    config,
    *,
    label=None,
    predicts: str | None = None,
    clip: bool | None = None,
    learned_variance: bool | None = None,
    **conditions,
):
    """The network of a pipeline as a model for every sampler of ours: a `Network` on `schedule_of(config)`.

    unet: called as unet(x, timestep=, **conditions), x in its own dtype, timestep (B,) counted from 0; what
    it returns is a tensor, a tuple that begins with it, or has it as `.sample`.
    label: as for `Network`; what is not a dict is given to the network as class_labels.
    conditions: its other arguments.  Tensors (B, ...), or with one row for all, and dicts of them, as
    encoder_hidden_states and added_cond_kwargs are, make the label, a dict; so `Guided(model, label, scale,
    null)` takes two such dicts.  Anything else is given in every call as it is.
    predicts: in the place of the config's prediction_type.
    clip: whether x_0 is clipped, the model a `Thresholded`; None: as clip_sample and thresholding say.
    learned_variance: whether the output has twice the channels; None: as unet.config says.
    ValueError for a setting that is not known here.
    """
    config = read_config(config)
    schedule = schedule_of(config)
    rows = {name: one for name, one in conditions.items() if isinstance(one, (torch.Tensor, dict))}
    fixed = {name: one for name, one in conditions.items() if name not in rows}
    if rows and label is not None:
        raise ValueError(f"give label or {', '.join(rows)}, not both: a label may be a dict of all of them")
    if learned_variance is None:
        about = getattr(unet, "config", None)
        inside, outside = (getattr(about, f"{side}_channels", None) for side in ("in", "out"))
        learned_variance = None not in (inside, outside) and outside == 2 * inside
    scale, offset = _count_of(schedule, config)
    model = Network(
        _Conditioned(unet, 1 if offset else scale, offset, fixed),
        schedule,
        predicts=predicts or predicts_of(config),
        label=rows or label,
        clock="index" if offset else "t",
        learned_variance=learned_variance,
    )
    return _clipped(model, config, clip)


def _count_of(schedule, config):
    """(T, offset): their timestep is t T - offset."""
    return (schedule.T, 1) if isinstance(schedule, Discrete) else (config.get("num_train_timesteps", 1000), 0)


# --- a sampler, written down ------------------------------------------------------------------------------


class _Number(int):
    """The number of a tensor that is not there yet."""


def _mapped(value, change):
    """value with change(one) for what it holds, through tuples, lists and dicts."""
    if isinstance(value, (tuple, list)):
        inner = [_mapped(one, change) for one in value]
        return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
    if isinstance(value, dict):
        return {name: _mapped(one, change) for name, one in value.items()}
    return change(value)


def _leaves(value):
    """What value holds, through tuples, lists and dicts."""
    if isinstance(value, (tuple, list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
    else:
        yield value


_LOOKS = {getattr(torch.Tensor, name) for name in ("__bool__", "__float__", "__int__", "__index__", "item")}
_LOOKS |= {torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__, torch.equal, torch.allclose}


class _Stand(torch.Tensor):
    """A tensor of zeros whose arithmetic is written into `tape`, a `_Tape`."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _LOOKS:
            raise _Looked
        out = super().__torch_function__(func, types, args, kwargs)
        if results := [one for one in _leaves(out) if isinstance(one, cls)]:
            stand = next(one for one in _leaves((args, kwargs)) if isinstance(one, cls))
            stand.tape.wrote(func, args, kwargs, results)
        return out


class _Looked(Exception):
    """A sampler asked for the value of a stand-in."""


class _Line(NamedTuple):
    """One operation: func(*args, **kwargs), tensors by number; `results` are the numbers of what it gives,
    `last` those that are not used after it."""

    func: object
    args: tuple
    kwargs: dict
    results: list
    last: list


class _Draw(NamedTuple):
    """In the place of a function: the next normals of a sampler's k-th request for noise."""

    k: int


class _Question(NamedTuple):
    """A call of the model at time t: the numbers of x and of the answer, `last` as in `_Line`."""

    x: int
    answer: int
    t: float
    last: list


class _Tape:
    """What a sampler does to tensors along a grid.

    lines: the operations, with the questions among them.  starts: the time of each state of the grid, by how
    many questions come before it.  requests: the grids of its noise.  last: the number of the last state; 0
    is the first.
    """

    def __init__(self, scheduler, times, like):
        self.lines, self.starts, self.requests, self._count, self._asked = [], {}, [], 0, 0
        sampler, options = scheduler.sampler, dict(scheduler.options)
        if sampler.random:
            options["rng"] = self
        try:
            with torch.no_grad():
                states = sampler(scheduler.model(self), self._stand(like), times, **options)
                for t, state in states:
                    self.starts.setdefault(self._asked, t)
                    last = state
        except _Looked:
            raise ValueError(
                f"{sampler.__name__} looks at values to choose its steps, and diffusers must know the calls "
                "of the network beforehand: take a sampler of fixed steps"
            ) from None
        self.last = last.number
        self._mark_last_uses()

    @property
    def times(self):
        """The times of the questions."""
        return [line.t for line in self.lines if isinstance(line, _Question)]

    def _stand(self, like, channels=1):
        """A new stand-in like a tensor, or with so many times its channels."""
        with torch._C.DisableTorchFunctionSubclass():  # none of this belongs to the sampler
            blank = torch.zeros_like(torch.cat([like] * channels, dim=1))
            return self._numbered(blank.as_subclass(_Stand))

    def _numbered(self, stand):
        stand.tape, stand.number, self._count = self, _Number(self._count), self._count + 1
        return stand

    def wrote(self, func, args, kwargs, results):
        """Note an operation and number its results; called by `_Stand`."""
        args, kwargs = _mapped((args, kwargs), lambda one: one.number if isinstance(one, _Stand) else one)
        self.lines.append(_Line(func, args, kwargs, [self._numbered(one).number for one in results], []))

    def normals(self, x, times):
        """Stand-ins for the noise of a sampler's `rng`."""
        k = len(self.requests)
        self.requests.append(list(times))
        for _ in range(len(times) - 1):
            z = self._stand(x)
            self.lines.append(_Line(_Draw(k), (), {}, [z.number], []))
            yield z

    def asked(self, x, t, learned_variance):
        """A stand-in for the network's output at x and t, which is noted as a question."""
        answer = self._stand(x, 2 if learned_variance else 1)
        self.lines.append(_Question(x.number, answer.number, t, []))
        self._asked += 1
        return answer

    def _mark_last_uses(self):
        seen = {self.last}
        for line in reversed(self.lines):
            used = {line.x, line.answer} if isinstance(line, _Question) else {*line.results, *_numbers(line)}
            line.last.extend(used - seen)
            seen |= used


def _numbers(line):
    return [one for one in _leaves((line.args, line.kwargs)) if type(one) is _Number]


class _Asking(Network):
    """A network whose outputs are stand-ins, noted as questions of a tape."""

    def __init__(self, tape, schedule, predicts, learned_variance):
        super().__init__(tape.asked, schedule, predicts, learned_variance=learned_variance)

    def prediction(self, x, t):
        if isinstance(t, torch.Tensor) and t.numel() > 1:
            raise ValueError("this sampler asks about each sample at a time of its own; a pipeline cannot")
        if torch.is_grad_enabled():
            raise ValueError("this sampler needs the network's derivatives; a pipeline gives its output only")
        return self.network(x, float(t), self.learned_variance)


class _Run:
    """A tape that is being carried out: the tensors that are still needed, by number, and how far it is."""

    def __init__(self, scheduler, times, x, draws):
        self._scheduler, self._times, self._draws = scheduler, times, draws
        self._like, self._device = torch.empty_like(x, device="meta"), x.device
        self._tensors, self._at, self._pulled = {0: x}, 0, {}
        self._tape, self._noises = None, {}

    def __getstate__(self):
        """Without the tape, which can be made again, and the noises, which can be drawn again."""
        return {**vars(self), "_tape": None, "_noises": {}}

    @property
    def tape(self):
        if self._tape is None:
            self._tape = _Tape(self._scheduler, self._times, self._blank())
        return self._tape

    def _blank(self):
        return torch.zeros_like(self._like, device=self._device)

    def until_question(self):
        """The state that the network is to be asked about next, or the last one."""
        lines = self.tape.lines
        while self._at < len(lines) and not isinstance(lines[self._at], _Question):
            line = lines[self._at]
            self._keep(line, line.results, self._carried_out(line))
            self._at += 1
        return self._tensors[lines[self._at].x if self._at < len(lines) else self.tape.last]

    def answer(self, output):
        """Go on from a question with the network's output."""
        question = self.tape.lines[self._at]
        self._keep(question, [question.answer], [output])
        self._at += 1

    def _carried_out(self, line):
        if isinstance(line.func, _Draw):
            return [self._noise(line.func.k)]
        value_of = lambda one: self._tensors[one] if type(one) is _Number else one
        args, kwargs = _mapped((line.args, line.kwargs), value_of)
        return [one for one in _leaves(line.func(*args, **kwargs)) if isinstance(one, torch.Tensor)]

    def _keep(self, line, numbers, tensors):
        self._tensors.update(zip(numbers, tensors, strict=True))
        for number in line.last:
            self._tensors.pop(number, None)

    def _noise(self, k):
        if k not in self._noises:
            self._noises[k] = iter(self._draws.normals(self._blank(), self.tape.requests[k]))
            for _ in range(self._pulled.get(k, 0)):
                next(self._noises[k])
        self._pulled[k] = self._pulled.get(k, 0) + 1
        return next(self._noises[k])


# --- a sampler of ours as a scheduler of theirs -----------------------------------------------------------


class Config(dict):
    """A dict whose entries are attributes too, as diffusers reads them."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Step(NamedTuple):
    """What `DiffusersScheduler.step` returns: the state to ask the network about next, and the x_0 that it
    has just predicted (None where none follows from it)."""

    prev_sample: torch.Tensor
    pred_original_sample: torch.Tensor | None


class _Each:
    """Noise for a batch each of whose samples has draws of its own."""

    def __init__(self, draws):
        self.draws = draws

    def normals(self, x, times):
        parts = [one.normals(x[i : i + 1], times) for i, one in enumerate(self.draws)]
        return (torch.cat(row) for row in zip(*parts))


def _draws_of(generator):
    """The noise that a pipeline's generator stands for, or its list of one a sample: the next draw of each is
    a seed."""
    if isinstance(generator, (list, tuple)):
        return _Each([_draws_of(one) for one in generator])
    return Noise(drawn_seed(generator))


class DiffusersScheduler:
    """A scheduler for pipelines of diffusers that runs a sampler of ours; `as_diffusers` makes one.

    As theirs it has set_timesteps, timesteps, sigmas, scale_model_input, step, add_noise, init_noise_sigma,
    order, config and len.  `timesteps` has an entry for every call of the network, so that a sampler of two
    calls a step takes two `step`s.  An adaptive sampler is refused.

    A state that was changed between two steps (by inpainting, or a callback) is where the sampler begins
    anew: a multistep method without memory, a random one with fresh noise.  Within a step of several calls it
    cannot be changed: ValueError.
    """

    def __init__(self, sampler, schedule, config, predicts, learned_variance, clip, grid, draws, options):
        self.sampler, self.schedule, self.predicts, self.options = sampler, schedule, predicts, options
        self.learned_variance, self.clip, self.grid, self.draws = learned_variance, clip, grid, draws
        self.config = Config(config)
        self._T, self._offset = _count_of(schedule, config)
        self.init_noise_sigma = 1.0  # Discrete's and Flow's states at the start have the variance of noise
        self.timesteps, self._numbers, self._run, self.begin_index = torch.empty(0), [], None, None

    # --- as a pipeline sees it

    def __len__(self):
        return self._T

    @property
    def order(self) -> int:
        """Calls of the network a step."""
        return math.ceil(len(self.timesteps) / (len(self._times) - 1)) if self._numbers else 1

    @property
    def sigmas(self) -> torch.Tensor:
        """The noise level at each call and at the end, float64: sigma / alpha, and sigma for a flow."""
        times = np.array([*self._asked, self._times[-1]])
        return torch.as_tensor(times if self._is_flow else np.exp(-self.schedule.lam(times)))

    def set_timesteps(
        self, num_inference_steps=None, device=None, timesteps=None, sigmas=None, mu=None
    ) -> None:
        """Choose the grid, which ends what was begun.

        num_inference_steps: steps of the sampler, on the grid of `as_diffusers`.
        device: of `timesteps`.
        timesteps, sigmas: in its place, where the steps begin, decreasing; the end is the clean one.
        mu: for a flow whose shift depends on the size of the picture, its logarithm.
        """
        if sigmas is not None:
            self._times = [*self._times_of_sigmas(np.asarray(sigmas, dtype=np.float64), mu), 0.0]
        elif timesteps is not None:
            self._times = [*((np.asarray(timesteps) + self._offset) / self._T).tolist(), 0.0]
        elif num_inference_steps is None:
            raise ValueError("set_timesteps needs num_inference_steps, or timesteps or sigmas in their place")
        else:
            shift = {} if mu is None else {"shift": math.exp(mu)}
            self._times = np.asarray(self.grid(num_inference_steps, **shift), dtype=np.float64).tolist()
        self.num_inference_steps, self._run, self.begin_index = len(self._times) - 1, None, None
        tape = self._rehearsed(self._times)
        self._asked, self._starts = tape.times, tape.starts
        numbers = [_whole(t * self._T - self._offset) for t in self._asked]
        whole = all(isinstance(n, int) for n in numbers)
        self.timesteps = torch.tensor(numbers, dtype=torch.int64 if whole else torch.float32, device=device)
        self._numbers = torch.tensor(numbers, dtype=self.timesteps.dtype).tolist()

    def set_begin_index(self, begin_index: int = 0) -> None:
        """The call of the network with which the next run begins, as img2img pipelines choose it."""
        self.begin_index = begin_index

    def scale_model_input(self, sample, timestep=None):
        """The sample as it is: the network sees the state itself."""
        return sample

    def step(self, model_output, timestep, sample, generator=None, return_dict=True, **other):
        """Go on with the network's output (B, ...) at `timestep` about `sample`: a `Step`, or a tuple.

        generator: a torch.Generator, or one for each sample, whose next draw is the seed of the run's noise;
        it is read in the run's first step only.  other: options of other schedulers; an eta or the like that
        asks for something is a ValueError, since ours are given to `as_diffusers`.
        """
        if asked := [name for name, value in other.items() if value not in (None, False, 0)]:
            raise ValueError(f"{asked[0]} is not known here: options of the sampler go to as_diffusers")
        self._find(timestep, sample, generator)
        t, self._at = self._asked[self._at], self._at + 1
        output = model_output.to(sample.dtype)
        self._run.answer(output)
        self._next = self._run.until_question()
        self._next_version = _version(self._next)
        result = Step(self._next, self._data(output, sample, t))
        return result if return_dict else tuple(result)

    def add_noise(self, original_samples, noise, timesteps):
        """alpha x_0 + sigma noise, (B, ...), at timesteps (B,) or one number."""
        t = (torch.as_tensor(timesteps).double() + self._offset) / self._T
        alpha, sigma = alpha_and_sigma(self.schedule, original_samples, t)
        return alpha * original_samples + sigma * noise

    # --- within

    @property
    def _is_flow(self):
        return isinstance(self.schedule, Flow)

    def model(self, tape):
        """The model that a tape asks."""
        model = _Asking(tape, self.schedule, self.predicts, self.learned_variance)
        return _clipped(model, self.config, self.clip)

    def _times_of_sigmas(self, sigmas, mu):
        if self._is_flow:
            return _shifted(sigmas, _shift_of(self.config) if mu is None else math.exp(mu)).tolist()
        return self.schedule.t_of_lam(-np.log(sigmas)).tolist()

    def _find(self, timestep, sample, generator):
        """Have a run whose next question is the one at timestep: begin one where there is none, or where the
        state was changed.  A tensor on a device is looked at in these cases only, since it means a wait.
        """
        going = self._run is not None and self._at < len(self._asked)
        untouched = going and sample is self._next and _version(sample) == self._next_version
        if untouched and isinstance(timestep, torch.Tensor) and timestep.device.type != "cpu":
            return
        number = float(timestep)
        if going and number == self._numbers[self._at]:
            if not untouched and (sample is self._next or not _same(sample, self._next)):
                self._begin(self._at, sample, generator, again=True)
            return
        calls = self._numbers[:1] if going and self.begin_index is None else self._numbers
        places = [i for i, one in enumerate(calls) if one == number]
        at = next((i for i in places if i in self._starts), places[0] if places else None)
        if self.begin_index is not None:
            at = self.begin_index if self.begin_index in places else None
        if at is None:
            raise ValueError(f"timestep {number:g} is not the next of this scheduler's timesteps")
        self._begin(at, sample, generator)

    def _begin(self, at, sample, generator, again=False):
        if at not in self._starts:
            raise ValueError(
                f"call {at} of the network is within a step of {self.sampler.__name__}: a run may begin, and "
                "its state be changed, only where a step begins"
            )
        times = self._times[self._times.index(self._starts[at]) if at else 0 :]
        self._runs = self._runs + 1 if again else 0
        if at and self._rehearsed(times).times != self._asked[at:]:
            raise ValueError(
                f"{self.sampler.__name__} makes other calls when it begins at call {at} than when it is there"
            )
        self._run, self._at, self._next = _Run(self, times, sample, self._noise_of(generator)), at, sample
        self._run.until_question()

    def _rehearsed(self, times):
        """The tape along times, of a state of one number.  ValueError where the network would first be asked
        about another state than the one that is given, since a pipeline asks about that.
        """
        run = _Run(self, times, torch.ones(1, 1, dtype=torch.float64), Noise(0))
        if abs(float(run.until_question()) - 1) > 1e-9:
            raise ValueError(
                f"{self.sampler.__name__} changes the state before it first asks the network, and a pipeline "
                "asks first: take another sampler or grid"
            )
        return run.tape

    def _noise_of(self, generator):
        if generator is not None:
            return _draws_of(generator)
        if isinstance(self.draws, (int, np.integer)):  # a run that begins anew has noise of its own
            return Noise(int(self.draws) + (self._runs << 40))
        return self.draws

    def _data(self, output, sample, t):
        if self.learned_variance:
            output = output.chunk(2, dim=1)[0]
        try:
            to = view_coefficients(self.predicts, "x0", self.schedule.alpha(t), self.schedule.sigma(t))
        except ValueError:
            return None
        return to.x * sample + to.prediction * output


def _same(one, other):
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _version(x):
    """What changes when a tensor is written to; torch does not count that in inference mode."""
    return None if x.is_inference() else x._version


def _whole(number):
    """A number that is whole but for round-off, as an int."""
    return round(number) if abs(number - round(number)) < 1e-6 else number


def as_diffusers(
    sampler,
    config,
    *,
    predicts: str | None = None,
    grid=None,
    draws=0,
    clip: bool | None = None,
    learned_variance: bool | None = None,
    **options,
) -> DiffusersScheduler:
    """A sampler of ours as a scheduler of diffusers: `pipe.scheduler = as_diffusers(ddim, pipe.scheduler)`.

    sampler: any with fixed steps.  config: that of the scheduler in whose place it comes, see the head of
    this module, or a `Discrete` or `Flow` of ours.
    predicts: in the place of the config's prediction_type.
    grid: NAME(schedule, steps) -> times, as in `toolkit.grids`; None: `times_of(config, steps)`.
    draws: noise for random samplers where `step` is given no generator, as in `sample`.
    clip, learned_variance: as in `model_of`; learned_variance=None: as variance_type says.
    options: the sampler's own.
    ValueError for a sampler that chooses its own steps, and for settings that are not known here.
    """
    if isinstance(config, (Discrete, Flow)):
        schedule, config = config, config_of(config, predicts or "eps")
    else:
        config = read_config(config)
        schedule = schedule_of(config)
    if learned_variance is None:
        learned_variance = config.get("variance_type") == "learned_range"
    return DiffusersScheduler(
        sampler,
        schedule,
        config,
        predicts or predicts_of(config),
        learned_variance,
        clip,
        _Grid(grid, schedule, config),
        draws,
        options,
    )


class _Grid:
    """steps -> times, on a grid of ours, or on the config's."""

    def __init__(self, grid, schedule, config):
        self.grid, self.schedule, self.config = grid, schedule, config

    def __call__(self, steps, **shift):
        return times_of(self.config, steps, **shift) if self.grid is None else self.grid(self.schedule, steps)
