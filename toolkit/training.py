"""Training: any prediction target, any schedule, moving average, guidance dropout, exact resume after a kill.

    run = train(ToyMLP(), two_moons(20_000), VP(), predicts="eps", steps=2000)
    model = Network(run.net, VP(), predicts="eps")

One step draws a batch x_0 and times t, forms x_t = alpha x_0 + sigma eps and descends on the squared error of
what the network predicts.  Each piece is a function of its own: `target`, `draw_times`, `noise_error_factor`,
`loss`.
"""

import hashlib
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from toolkit.files import write_file
from toolkit.models import Network, view_coefficients
from toolkit.options import real_number, whole_number
from toolkit.schedules import Discrete, wide_dtype

LOSS_CHECK_EVERY = 100  # steps between looks at the loss, each of which waits for the device


# --- the maths ------------------------------------------------------------------------------------------


def target(predicts, x0, eps, alpha, sigma, sigma_data=0.5):
    """What the network should return at x_t = alpha x0 + sigma eps; all arguments broadcast.

    "eps", "x0", "v" = alpha eps - sigma x0 (Salimans & Ho 2022), "score" = -eps / sigma, "flow" = eps - x0
    (Lipman et al. 2023; Liu et al. 2023), and for "edm" the raw output
    F = (s x0 / d - d eps) / sqrt(s^2 + d^2), s = sigma / alpha, d = sigma_data (Karras et al. 2022, eq. 8,
    simplified)."""
    if predicts == "eps":
        return eps
    if predicts == "x0":
        return x0
    if predicts == "v":
        return alpha * eps - sigma * x0
    if predicts == "score":
        return -eps / sigma
    if predicts == "flow":
        return eps - x0
    if predicts == "edm":
        level = sigma / alpha
        return (level / sigma_data * x0 - sigma_data * eps) / (level**2 + sigma_data**2) ** 0.5
    raise ValueError(f"predicts must be one of eps, x0, v, score, flow, edm; got {predicts!r}")


def noise_error_factor(predicts, alpha, sigma, sigma_data=0.5):
    """The factor that turns the squared error of a prediction into the squared error of eps at the same
    x_t."""
    return view_coefficients(predicts, "eps", alpha, sigma, sigma_data)[1] ** 2


def draw_times(t_sampler, schedule, n, generator, device="cpu"):
    """n times t (n,), float64 on CPU and CUDA, else float32, spread by the low-discrepancy rule u_i = (u_0 +
    i/n) mod 1 (Kingma et al. 2021, app. I.1).

    `t_sampler` turns u into t. "uniform": uniform on [schedule.end, schedule.start], or on n/T, n = 1 ... T
    of a Discrete schedule. "lognormal", or ("lognormal", mean, std): log(sigma/alpha) ~ N(-1.2, 1.2^2)
    (Karras et al. 2022, table 1). Or a function (schedule, u) -> t, the inverse of the distribution function
    that you want."""
    wide = wide_dtype(torch.device(device))
    u = torch.rand(1, generator=generator, device=device, dtype=wide)
    u = (u + torch.arange(n, device=device, dtype=wide) / n) % 1.0
    if callable(t_sampler):
        return schedule.within(t_sampler(schedule, u))
    if t_sampler == "uniform":
        if isinstance(schedule, Discrete):
            return (torch.floor(u * schedule.T) + 1) / schedule.T
        return schedule.end + (schedule.start - schedule.end) * u
    name, mean, std = t_sampler if isinstance(t_sampler, tuple) else (t_sampler, -1.2, 1.2)
    if name != "lognormal":
        raise ValueError(
            f"t_sampler must be 'uniform', 'lognormal' or a function (schedule, u) -> t, got {t_sampler!r}"
        )
    rare = max(1e-9, torch.finfo(wide).eps)
    lam = -(mean + std * torch.special.ndtri(u.clamp(rare, 1 - rare)))
    return schedule.t_of_lam(lam.clamp(schedule.lam(schedule.start), schedule.lam(schedule.end)))


def loss(model, x0, eps, t, weighting="simple"):
    """Mean squared error of the `Network` model at x_t = alpha x0 + sigma eps; x0, eps (B, ...), t (B,).

    "simple" weighs all times alike in the network's own target: L_simple of Ho et al. 2020, eq. 14 for eps,
    EDM's weight for "edm"; a score is multiplied by sigma^2 first. A function weighting(schedule, t) -> (B,)
    weighs the squared error of eps instead, whatever the network predicts, so the same weight means the same
    loss for all."""
    shape = (-1,) + (1,) * (x0.ndim - 1)
    alpha, sigma = (
        level.to(x0.dtype).reshape(shape) for level in (model.schedule.alpha(t), model.schedule.sigma(t))
    )
    prediction = model.prediction(alpha * x0 + sigma * eps, t)
    error = (prediction.to(x0.dtype) - target(model.predicts, x0, eps, alpha, sigma, model.sigma_data)) ** 2
    if callable(weighting):
        weight = weighting(model.schedule, t).to(x0.dtype).reshape(shape)
        return (weight * noise_error_factor(model.predicts, alpha, sigma, model.sigma_data) * error).mean()
    if weighting != "simple":
        raise ValueError(
            f"weighting must be 'simple' or a function (schedule, t) -> weights, got {weighting!r}"
        )
    return ((sigma**2 * error) if model.predicts == "score" else error).mean()


def learning_rate(step, steps, peak, warmup, floor=0.02):
    """Linear warm-up over `warmup` steps, then a cosine from `peak` down to `floor` * peak at the last
    step."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup - 1)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


# --- the loop -------------------------------------------------------------------------------------------


@dataclass
class Training:
    """What `train` returns: `net`, a copy with the averaged weights in evaluation mode; `losses` (steps,)
    float32 on the CPU; `seconds` spent in this call; `resumed_at`, the step of the checkpoint it went on
    from, or 0."""

    net: nn.Module
    losses: torch.Tensor
    seconds: float
    resumed_at: int


@torch.inference_mode(False)
def train(
    net,
    data,
    schedule,
    *,
    predicts="eps",
    steps=4000,
    batch=256,
    labels=None,
    p_uncond=0.1,
    lr=2e-3,
    betas=(0.9, 0.99),
    warmup=100,
    ema=0.999,
    weighting="simple",
    t_sampler=None,
    sigma_data=0.5,
    clock=None,
    amp=False,
    seed=0,
    progress=False,
    checkpoint=None,
    checkpoint_every=500,
    resume=True,
    callback=None,
):
    """Train `net` in place on `data` (n, ...) and return a `Training` with its moving average.  Weights that
    are frozen stay so, unless all of them are, as shipped ones come: then all are trained.

    predicts, clock, sigma_data: as in `Network`, which is how the network is called here too.
    labels: classes (n,) int64 or None; each is replaced by the null label with probability `p_uncond`, so
        that the network also learns the unconditional model (Ho & Salimans 2022, alg. 1).
    lr, betas, warmup, ema: AdamW with `learning_rate`, gradients clipped to norm 1, and a moving average of
        decay min(ema, (1 + step) / (10 + step)), so that short runs are not dominated by their first weights.
    weighting: see `loss`. t_sampler: see `draw_times`; "lognormal" for predicts="edm", else "uniform".
    amp: False, "bf16", "fp16", or "auto" for what the device runs fast (nothing on a CPU). Weights stay
        float32.
    checkpoint: a file, written every `checkpoint_every` steps; its folder is made if need be. With `resume` a
        run goes on from it where it exists and ends in the very weights of an uninterrupted run; the settings
        and data must be the same.
    callback(step, loss): called after each step with a tensor loss; an exception in it stops training.

    Batches, times, noise and dropout come from `seed` alone; the global random state is left as it was. The
    device is that of the network's weights. ValueError for data that are not finite, labels that do not fit,
    a checkpoint that is damaged or of other settings, and a loss that is not finite."""
    batch, p_uncond = whole_number("batch", batch), _share("p_uncond", p_uncond)
    data, labels = _check_data(net, data, labels, device_of(net))
    t_sampler = t_sampler or ("lognormal" if predicts == "edm" else "uniform")
    model = Network(net, schedule, predicts, clock=clock, sigma_data=sigma_data)
    settings = _settings(locals())

    def loss_of(generator):
        rows, t, eps, label = _draw(generator, data, labels, batch, p_uncond, schedule, t_sampler)
        return loss(model.with_label(label), data[rows], eps, t, weighting)

    return fit(
        net,
        loss_of,
        steps=steps,
        lr=lr,
        betas=betas,
        warmup=warmup,
        ema=ema,
        amp=amp,
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        resume=resume,
        settings=settings,
        callback=callback,
    )


@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    net,
    loss_of,
    *,
    steps,
    lr=2e-3,
    betas=(0.9, 0.99),
    warmup=100,
    ema=0.999,
    amp=False,
    seed=0,
    progress=False,
    checkpoint=None,
    checkpoint_every=500,
    resume=True,
    settings=None,
    callback=None,
):
    """The loop of `train` for any loss: descend on `loss_of(generator)`, a scalar tensor that depends on
    `net`'s weights and draws all that is random from the generator.

    settings: a dictionary of strings that a checkpoint must have in common with the run that resumes it. The
    other arguments, the result and the errors are those of `train`."""
    began = time.perf_counter()
    device, settings = device_of(net), settings or {}
    steps, checkpoint_every = whole_number("steps", steps), whole_number("checkpoint_every", checkpoint_every)
    warmup, ema = whole_number("warmup", warmup, 0), real_number("ema", ema)
    seed = whole_number("seed", seed, -math.inf)
    if not real_number("lr", lr) > 0 or not 0 <= ema < 1:
        raise ValueError(f"lr must be positive and ema in [0, 1), got lr = {lr}, ema = {ema}")
    _make_ready(net, checkpoint)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout layers draw from the global state
        state = _State(net, steps, lr, betas, _amp_dtype(amp, device), seed)
        if checkpoint is not None and resume and Path(checkpoint).exists():
            state.load(checkpoint, settings)
        resumed_at = state.step
        net.train()
        for step in _steps(state.step, steps, progress):
            with torch.autocast(device.type, state.amp_dtype, enabled=state.amp_dtype is not None):
                value = loss_of(state.generator)
            state.descend(value, learning_rate(step, steps, lr, warmup), ema)
            if callback is not None:
                callback(step, value.detach())
            last = step + 1 == steps
            if last or (step + 1) % LOSS_CHECK_EVERY == 0:
                state.check_losses()
            if checkpoint is not None and (last or (step + 1) % checkpoint_every == 0):
                state.save(checkpoint, settings)
    return Training(state.average.eval(), state.losses.cpu(), time.perf_counter() - began, resumed_at)


def device_of(net):
    """The device of a network's weights; ValueError if it has none that can be trained."""
    weights = next((p for p in net.parameters() if p.is_floating_point()), None)
    if weights is None:
        raise ValueError(f"{type(net).__name__} has no weights to train")
    if weights.is_inference():
        raise ValueError(
            "the network's weights were made in torch.inference_mode, so they cannot be trained: "
            "make or load it outside"
        )
    return weights.device


def _share(name, value):
    if not 0 <= real_number(name, value) <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
    return value


def _make_ready(net, checkpoint):
    """Weights that can be trained, and a folder for the checkpoint; ValueError if its name is a folder's."""
    if not any(p.requires_grad for p in net.parameters()):
        net.requires_grad_(True)
    if checkpoint is not None:
        if Path(checkpoint).is_dir():
            raise ValueError(f"checkpoint must be the name of a file, got the folder {str(checkpoint)!r}")
        Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)


def _draw(generator, data, labels, batch, p_uncond, schedule, t_sampler):
    """One batch: rows of the data, times, noise and labels, all from `generator`."""
    device = data.device
    rows = torch.randint(len(data), (batch,), generator=generator, device=device)
    t = draw_times(t_sampler, schedule, batch, generator, device)
    eps = torch.randn((batch, *data.shape[1:]), generator=generator, device=device, dtype=data.dtype)
    if labels is None:
        return rows, t, eps, None
    return rows, t, eps, labels.drawn(rows, p_uncond, generator)


def batches(net, data, labels=None, p_uncond=0.1, batch=256):
    """A function of a generator that draws a batch for `fit`: data x_0 (batch, ...), noise of that shape, and
    labels (batch,) or None, each replaced by the null label of `net` with probability `p_uncond`.

    data (n, ...), labels (n,) int64 or None. ValueError as in `train`."""
    batch, p_uncond = whole_number("batch", batch), _share("p_uncond", p_uncond)
    data, labels = _check_data(net, data, labels, device_of(net))

    def draw(generator):
        rows = torch.randint(len(data), (batch,), generator=generator, device=data.device)
        eps = torch.randn(
            (batch, *data.shape[1:]), generator=generator, device=data.device, dtype=data.dtype
        )
        return data[rows], eps, None if labels is None else labels.drawn(rows, p_uncond, generator)

    return draw


def _steps(first, steps, progress):
    from tqdm.auto import tqdm

    return tqdm(range(first, steps), initial=first, total=steps, disable=not progress, desc="training")


@dataclass
class _Labels:
    values: torch.Tensor
    null: int

    def drawn(self, rows, p_uncond, generator):
        """The labels of these rows, each with probability `p_uncond` the null label instead."""
        drawn = torch.rand(len(rows), generator=generator, device=rows.device, dtype=torch.float32)
        dropped = drawn < p_uncond
        return torch.where(dropped, self.null, self.values[rows])


def _check_data(net, data, labels, device):
    data = torch.as_tensor(data).detach().to(device, torch.float32)
    if data.ndim < 2:
        raise ValueError(f"data must be of shape (n, ...), one row a sample, got shape {tuple(data.shape)}")
    if not len(data) or not torch.isfinite(data).all():
        raise ValueError(
            f"data must be finite and not empty, got shape {tuple(data.shape)} with "
            f"{int((~torch.isfinite(data)).sum())} values that are NaN or infinite"
        )
    if labels is None:
        return data, None
    values = torch.as_tensor(labels).to(device, torch.int64)
    null = getattr(net, "n_classes", int(values.max()) + 1)
    if values.shape != data.shape[:1] or int(values.min()) < 0 or int(values.max()) >= null:
        raise ValueError(
            f"labels must be {len(data)} whole numbers from 0 to {null - 1}, got shape "
            f"{tuple(values.shape)} from {int(values.min())} to {int(values.max())}"
        )
    return data, _Labels(values, null)


def _amp_dtype(amp, device):
    if amp is False or amp is None:
        return None
    if amp == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if amp not in ("bf16", "fp16"):
        raise ValueError(f"amp must be False, 'auto', 'bf16' or 'fp16', got {amp!r}")
    if amp == "fp16" and device.type == "cpu":
        raise ValueError("amp='fp16' needs a GPU; on a CPU use amp='auto' (off) or 'bf16'")
    return torch.bfloat16 if amp == "bf16" else torch.float16


# --- state on disk --------------------------------------------------------------------------------------


def _settings(scope):
    """What must be equal for a resumed run to be the same run, as a dictionary of strings."""
    names = "predicts steps batch p_uncond lr betas warmup ema weighting t_sampler sigma_data clock amp seed"
    values = {name: scope[name] for name in [*names.split(), "schedule"]}
    settings = {name: getattr(value, "__qualname__", None) or repr(value) for name, value in values.items()}
    labels = scope["labels"]
    for name, tensor in (("data", scope["data"]), ("labels", None if labels is None else labels.values)):
        content = b"" if tensor is None else tensor.cpu().numpy().tobytes()
        settings[name] = hashlib.sha256(content).hexdigest()
    shapes = [(key, tuple(value.shape)) for key, value in scope["net"].state_dict().items()]
    return settings | {"net": hashlib.sha256(repr(shapes).encode()).hexdigest()}


class _State:
    """All that changes during training, and its way to disk and back."""

    def __init__(self, net, steps, lr, betas, amp_dtype, seed):
        self.net = net
        self.averaged = AveragedModel(net, multi_avg_fn=self._towards).requires_grad_(False)
        self.averaged.n_averaged.fill_(1)  # at 0 it would take the next weights whole
        self.device, self.amp_dtype, self.step = next(net.parameters()).device, amp_dtype, 0
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=lr, betas=betas, fused=self.device.type in ("cpu", "cuda")
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=amp_dtype is torch.float16)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.losses = torch.full((steps,), math.nan, device=self.device, dtype=torch.float32)

    def descend(self, value, lr, ema):
        """One optimiser step on the loss `value`, then one step of the moving average."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        self.scaler.scale(value).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.losses[self.step] = value.detach()
        self.step += 1
        self.decay = min(ema, (1 + self.step) / (10 + self.step))
        self.averaged.update_parameters(self.net)

    @property
    def average(self):
        """The network with the averaged weights."""
        return self.averaged.module

    @torch.no_grad()
    def _towards(self, averages, weights, _count):
        torch._foreach_lerp_(averages, weights, 1 - self.decay)

    def check_losses(self):
        bad = ~torch.isfinite(self.losses[: self.step])
        if bad.any():
            raise ValueError(
                f"the loss became NaN or infinite at step {int(bad.nonzero()[0])}; try a smaller lr"
            )

    def save(self, path, settings):
        """Write a checkpoint: digest, then content."""
        content = io.BytesIO()
        torch.save(
            dict(
                settings=settings,
                step=self.step,
                losses=self.losses,
                generator=self.generator.get_state(),
                random=self._random(),
                **{key: part.state_dict() for key, part in self._parts()},
            ),
            content,
        )
        content = content.getvalue()
        write_file(Path(path), hashlib.sha256(content).digest() + content)

    def load(self, path, settings):
        """Take up the state that `save` wrote; ValueError if the file is damaged or belongs to another
        run."""
        raw = Path(path).read_bytes()
        if hashlib.sha256(raw[32:]).digest() != raw[:32]:
            raise ValueError(f"the checkpoint {str(path)!r} is damaged; delete it to start again")
        saved = torch.load(io.BytesIO(raw[32:]), map_location="cpu", weights_only=True)
        other = sorted(name for name in settings if saved["settings"].get(name) != settings[name])
        if other:
            raise ValueError(
                f"the checkpoint {str(path)!r} is of a run with another {', '.join(other)}; "
                "delete it, or pass resume=False"
            )
        for key, part in self._parts():
            part.load_state_dict(saved[key])
        self.step, self.losses = saved["step"], saved["losses"].to(self.device)
        self.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["random"]["cpu"])
        if "cuda" in saved["random"] and self.device.type == "cuda":
            torch.cuda.set_rng_state(saved["random"]["cuda"], self.device)

    def _parts(self):
        return [(key, getattr(self, key)) for key in ("net", "average", "optimizer", "scaler")]

    def _random(self):
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states
