"""One model, five views.

A denoising model answers one question, "what is in this noisy x_t?", and the literature asks it in five ways.
With x_t = alpha x_0 + sigma eps they are linear in one another (Salimans & Ho 2022, sec. 4; Song et al. 2021,
sec. 3):

    eps(x, t)    the noise, E[eps | x_t]             score(x, t) = -eps / sigma, the gradient of log p_t
    x0(x, t)     the data, E[x_0 | x_t]              v(x, t)     = alpha eps - sigma x0
                                                     flow(x, t)  = eps - x0, the slope of straight paths

Whatever one a network predicts, every model here has all five, plus `schedule` and `nfe`, the number of times
that the network itself was called.  x has shape (B, ...); t is a number, or a tensor of shape () or (B,).
"""

import contextlib
import copy
import inspect
import math
import threading
import warnings
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from toolkit.schedules import Flow, Schedule, holds, on_host, wide_dtype

VIEWS = ("eps", "x0", "score", "v", "flow")


class MixUp(UserWarning):
    """A warning about what is allowed and is nearly always a mix-up.  Where it is meant,
    `warnings.simplefilter("ignore", MixUp)` silences it.
    """


class Composition(NamedTuple):
    """What a prediction is made of:  scale * prediction = x0 * x_0 + eps * epsilon + x * x_t."""

    scale: float | torch.Tensor
    x0: float | torch.Tensor
    eps: float | torch.Tensor
    x: float | torch.Tensor = 0.0


def composition(view: str, alpha, sigma, sigma_data: float = 0.5) -> Composition:
    """The `Composition` of x0, eps, v, score, flow, or of EDM's raw network output "edm" (Karras et al. 2022,
    eq. 7 and table 1, at kappa = sigma / alpha: c_out F = x0 - c_skip x / alpha).

    alpha, sigma: floats or tensors.  ValueError for another view.
    """
    if view == "x0":
        return Composition(1.0, 1.0, 0.0)
    if view == "eps":
        return Composition(1.0, 0.0, 1.0)
    if view == "v":
        return Composition(1.0, -sigma, alpha)
    if view == "score":
        return Composition(-sigma, 0.0, 1.0)
    if view == "flow":
        return Composition(1.0, -1.0, 1.0)
    if view == "edm":
        total = sigma**2 + alpha**2 * sigma_data**2
        return Composition(
            scale=sigma * sigma_data / total**0.5, x0=1.0, eps=0.0, x=-(alpha * sigma_data**2) / total
        )
    raise ValueError(f"a prediction is one of eps, x0, v, score, flow, edm; got {view!r}")


class Affine(NamedTuple):
    """The map  want = x * x_t + prediction * prediction  from one view to another."""

    x: float | torch.Tensor
    prediction: float | torch.Tensor


def view_coefficients(have: str, want: str, alpha, sigma, sigma_data: float = 0.5) -> Affine:
    """The `Affine` map from the prediction `have` to `want`, any two of eps, x0, score, v, flow and "edm".

    With x_t = alpha x_0 + sigma eps, the two `composition`s are a 2 x 2 linear system, solved here by
    Cramer's rule.  alpha, sigma: floats or tensors.  ValueError if the system is singular (x0 from eps where
    alpha = 0, and so on); tensors on a device are not looked at, and give NaN or infinity there.
    """
    if have == want:
        return Affine(0.0, 1.0)
    given = composition(have, alpha, sigma, sigma_data)
    if have in ("x0", "edm") and want == "x0":
        return Affine(-given.x, given.scale)  # needs no eps, so it holds at sigma = 0 too
    asked = composition(want, alpha, sigma, sigma_data)
    determinant = asked.scale * (alpha * given.eps - sigma * given.x0)
    if holds(determinant == 0):
        singular = on_host(determinant) == 0
        alpha, sigma = (float(on_host(level)[singular][0]) for level in (alpha, sigma))
        later = "start a little later, or take a network that predicts x0, v or flow"
        raise ValueError(
            f"{want} cannot be computed from {have} where alpha = {alpha:g} and sigma = {sigma:g}: "
            + ("end a little earlier" if alpha else later)
        )
    slope = (asked.eps * alpha - asked.x0 * sigma) / determinant
    mixed = (asked.x0 * given.eps - asked.eps * given.x0) / determinant
    return Affine(mixed + asked.x / asked.scale - slope * given.x, given.scale * slope)


def view_of(want: str, x0, eps, alpha, sigma):
    """The view `want`, one of VIEWS, of predictions x0 and eps (B, ...) made at one x_t: it holds where alpha
    or sigma is 0 too.
    """
    if want in ("x0", "eps"):
        return x0 if want == "x0" else eps
    made = composition(want, alpha, sigma)
    return (made.x0 * x0 + made.eps * eps) / made.scale


def _at_a_time(function):
    """Remember function(schedule, t, ...), t a float: a run comes back to the same times, and a batch is
    several runs.  For a schedule that is not `constant` nothing is remembered.
    """
    remembered = lru_cache(maxsize=8192)(function)

    def at(schedule, *args):
        return (remembered if getattr(schedule, "constant", False) else function)(schedule, *args)

    return at


@_at_a_time
def _view_coefficients_at(schedule, t, have, want, sigma_data):
    """`view_coefficients` at a time t, a float."""
    return view_coefficients(have, want, schedule.alpha(t), schedule.sigma(t), sigma_data)


@_at_a_time
def _clock_at(schedule, t, clock, dtype, device, _inference):
    """What a network with this clock is told of a time t, (1,).  A tensor made in inference mode cannot serve
    outside of it, so that the mode is one of the keys.
    """
    return torch.full((1,), _told(schedule, t, clock), dtype=dtype, device=device)


class Calls(list):
    """How often a network was called: a list of one number, shared by a model's relatives.  `here` is the
    share of the thread that asks, so that a run counts its own calls while others go on beside it.
    """

    def __init__(self, total=(0,)):
        super().__init__(total)
        self._lock, self._thread = threading.Lock(), threading.local()

    def add(self, count=1):
        """Count one call, or so many."""
        with self._lock:
            self[0] += count
        self._thread.calls = self.here + count

    @property
    def here(self):
        """Calls made by this thread."""
        return getattr(self._thread, "calls", 0)

    def __reduce__(self):
        return Calls, (tuple(self),)


class Model:
    """The common face.  A subclass gives `_view(want, x, t)`, and `_calls`, a `Calls` that its relatives
    share.
    """

    schedule = None
    _calls = None

    @property
    def nfe(self) -> int:
        """Number of function evaluations so far: how often the network was called (any batch size counts
        once).
        """
        return self._calls[0]

    def eps(self, x, t):
        """Predicted noise E[eps | x_t = x], shaped like x."""
        return self._view("eps", x, t)

    def x0(self, x, t):
        """Predicted data E[x_0 | x_t = x] (Tweedie's formula), shaped like x."""
        return self._view("x0", x, t)

    def score(self, x, t):
        """Gradient of log p_t at x, shaped like x."""
        return self._view("score", x, t)

    def v(self, x, t):
        """Velocity alpha eps - sigma x0 (Salimans & Ho 2022, app. D), shaped like x."""
        return self._view("v", x, t)

    def flow(self, x, t):
        """eps - x0, the velocity of a straight path from data to noise (Lipman et al. 2023; Liu et al. 2023),
        shaped like x; on `Flow` it is dx/dt.
        """
        return self._view("flow", x, t)

    def eps_and_fraction(self, x, t):
        """eps and the share of a learned variance, for networks that predict one: see
        `Network.eps_and_fraction`.
        """
        raise ValueError(
            f"{type(self).__name__} predicts no variance; "
            "variance='learned' needs Network(..., learned_variance=True)"
        )

    def eps_and_features(self, x, t):
        """eps at a number t and what the model found on the way, features (B, n), from one call: what AMED's
        predictor reads.  ValueError for a model that has none. """
        raise ValueError(f"{type(self).__name__} has no features to read")

    def begin(self):
        """Called by `sample` before each run; wrappers that remember something forget it here."""

    def fresh(self):
        """This model for a run of its own: a copy of what remembers something, which runs beside it share."""
        return self

    def rows(self, first: int, last: int):
        """This model for samples first..last-1 of a batch (a label given per sample is cut accordingly)."""
        return self

    def check_batch(self, n: int):
        """ValueError where what was given per sample does not fit a batch of n; `sample` asks once."""

    def conditions(self) -> list[torch.Tensor]:
        """The tensors of its conditions, in memory of their own for a model that `rows` made."""
        return []

    def with_label(self, label):
        """This model, conditioned on `label`, or on nothing for None: see `Labelled`."""
        raise ValueError(f"{type(self).__name__} takes no label")

    def _view(self, want, x, t):
        raise NotImplementedError


class Labelled(Model):
    """A model whose `label` is an attribute: None; an int; a tensor with one row a sample, such as classes
    (B,), vectors (B, n) or sequences (B, L, n), or with a single row for all; or a dict of these.
    """

    label = None

    def with_label(self, label):
        relative = copy.copy(self)
        relative.label = _as_label(label)
        return relative

    def rows(self, first, last):
        relative = copy.copy(self)
        relative.label = _each(self.label, lambda rows: _cut(rows, first, last))
        return relative

    def check_batch(self, n):
        _each(self.label, lambda rows: _check_rows(rows, n))

    def conditions(self):
        found = []
        _each(self.label, found.append)
        return found

    def _labels(self, x):
        """The label with one row a sample, on x's device: a tensor (B, ...), or a dict of these."""
        self.check_batch(len(x))
        self.label = _each(self.label, lambda rows: rows.to(x.device))  # once, not at every call
        return _each(self.label, lambda rows: _expanded(rows, x), numbers=True)


def _each(label, function, numbers=False):
    """The label with `function` applied to each of its tensors, and to its ints if `numbers`."""
    if isinstance(label, dict):
        return {name: _each(part, function, numbers) for name, part in label.items()}
    return function(label) if isinstance(label, torch.Tensor) or (numbers and label is not None) else label


def _per_sample(rows):
    return rows.ndim > 0 and len(rows) != 1


def _check_rows(rows, n):
    if _per_sample(rows) and len(rows) != n:
        raise ValueError(f"label must be one for all or have one row per sample: got {len(rows)} for {n}")


def _cut(rows, first, last):
    if _per_sample(rows):
        _check_rows(rows, max(last, len(rows)))
        return rows[first:last].clone()  # a recorded run writes the next batch's into it
    return rows


def _expanded(rows, x):
    """A label with one row for each sample of x."""
    rows = torch.full((1,), rows, device=x.device) if isinstance(rows, int) else rows
    return (rows if rows.ndim else rows[None]).expand(len(x), *rows.shape[1:])


def _as_label(label):
    if label is None or isinstance(label, int):
        return label
    if isinstance(label, dict):
        return {name: _as_label(part) for name, part in label.items()}
    try:
        return torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            "label must be an int, a tensor with one row a sample, or a dict of these; "
            f"got {type(label).__name__}"
        ) from None


def _called_as_diffusers(network):
    try:
        names = inspect.signature(getattr(network, "forward", network)).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    return "timestep" in names and "return_dict" in names


class Network(Labelled):
    """A network with the face of a model.

    network: called as network(x, c), or network(x, c, label) when a label is set; c has shape (B,), x's
        device, and float32 (float64 when x is float64).  It returns a tensor shaped like x (twice the
        channels with learned_variance).  A module whose weights share one dtype is given a copy of x in that
        dtype, any other network one in x's own; what it returns is brought to x's dtype, whatever it is.
    predicts: what it returns: "eps", "x0", "v", "score", "flow", or "edm", the raw output F of EDM's
        preconditioned network D = c_skip x + c_out F(c_in x, c_noise)  (Karras et al. 2022, eq. 7), in x /
        alpha and at noise level sigma / alpha.
        "flow" is what rectified flows and flow matching train: eps - x0.  Where time runs the other way, as
        in Liu et al. 2023 (noise at 0, data at 1, x0 - eps), give Network(lambda x, c: -net(x, 1 - c),
        Flow(), "flow"); where it runs to 1000, lambda x, c: net(x, 1000 * c).
    clock: what c is: "t"; "lam", half the log-SNR; "index", t T of a Discrete schedule, from 1 at the least
        noise to T, and 1 for times below 1 / T (a network that counts from 0 wants one less); "sigma",
        sigma / alpha; "c_noise", log(sigma / alpha) / 4.
        Default "t", and "c_noise" for predicts="edm".
    label: see `Labelled`; the network gets it with one row a sample.
    ValueError for an unknown `predicts` or `clock`, for an output of the wrong shape or of numbers that are
    not floating-point, and at times outside the schedule's span.  A `MixUp` warning for predicts="v" on Flow,
    where "flow" is the usual one.  diffusers' networks are read by toolkit.interop.
    """

    def __init__(
        self,
        network,
        schedule,
        predicts="eps",
        label=None,
        clock=None,
        sigma_data=0.5,
        learned_variance=False,
    ):
        if not callable(network):
            raise ValueError(f"a network is called as network(x, c), and {type(network).__name__} cannot be")
        if _called_as_diffusers(network):
            raise ValueError(
                f"{type(network).__name__} takes timestep= and return_dict=, and is not called as "
                "network(x, c): toolkit.interop reads diffusers' models"
            )
        if not isinstance(schedule, Schedule):
            raise ValueError(f"schedule must be one of toolkit.schedules, such as VP(); got {schedule!r}")
        if predicts not in (*VIEWS, "edm"):
            raise ValueError(f"predicts must be one of eps, x0, v, score, flow, edm; got {predicts!r}")
        if predicts == "v" and isinstance(schedule, Flow):
            warnings.warn(
                'predicts="v" means alpha eps - sigma x0, which on Flow is not the velocity eps - x0 of a '
                'rectified flow: that is predicts="flow"',
                MixUp,
                stacklevel=2,
            )
        clock = clock or ("c_noise" if predicts == "edm" else "t")
        if clock not in _CLOCKS:
            raise ValueError(f"clock must be one of {', '.join(_CLOCKS)}; got {clock!r}")
        if clock == "index" and not hasattr(schedule, "T"):
            raise ValueError(
                "clock='index' needs a Discrete schedule, whose steps are numbered; "
                f"got {type(schedule).__name__}"
            )
        self.network, self.schedule, self.predicts, self.sigma_data = network, schedule, predicts, sigma_data
        self.clock, self.learned_variance = clock, learned_variance
        self.label, self._calls = _as_label(label), Calls()

    def _view(self, want, x, t):
        prediction = self.prediction(x, t)
        if self.learned_variance:
            prediction = prediction.chunk(2, dim=1)[0]
        return self._convert(want, prediction, x, t)

    def eps_and_fraction(self, x, t):
        """(eps, fraction) of a network with learned variance, from one call.

        fraction in [0, 1], shaped like x, places the log-variance between beta-tilde (0) and beta (1)
        (Nichol & Dhariwal 2021, eq. 15; the network's output in [-1, 1] is mapped to [0, 1]).
        """
        if not self.learned_variance:
            raise ValueError(
                "this network predicts no variance; build it with Network(..., learned_variance=True)"
            )
        prediction, fraction = self.prediction(x, t).chunk(2, dim=1)
        return self._convert("eps", prediction, x, t), (fraction + 1) / 2

    def eps_and_features(self, x, t):
        """eps and the features (B, n) of the network's bottleneck, from one call.

        ValueError if the network has no `forward_with_features`; see `toolkit.networks`.
        """
        if not hasattr(self.network, "forward_with_features"):
            raise ValueError(f"{type(self.network).__name__} has no forward_with_features to read")
        found = []

        def watched(*args):
            out, features = self.network.forward_with_features(*args)
            found.append(features.clone())  # the next call may write into the same memory
            return out

        return self._convert("eps", self._called(watched, x, t), x, t), found[0]

    def prediction(self, x, t):
        """What the network itself returns at x (B, ...) and t, in the view `predicts` and in x's dtype;
        counted as one call.
        """
        return self._called(self.network, x, t)

    def _called(self, network, x, t):
        self._calls.add()
        dtype = dtype_of_weights(self.network, x)
        if isinstance(t, torch.Tensor):
            c = _told(self.schedule, _check_t(t, x).to(wide_dtype(t.device)), self.clock)
            c = c.to(_clock_dtype(dtype)).to(x.device).expand(len(x))
        else:
            inference = torch.is_inference_mode_enabled()
            c = _clock_at(self.schedule, float(t), self.clock, _clock_dtype(dtype), x.device, inference)
            c = c.clone() if x.shape[0] == 1 else c.expand(x.shape[0])  # a single one could be written into
        shape = (x.shape[0], 2 * x.shape[1], *x.shape[2:]) if self.learned_variance else x.shape
        given = x * self._edm_scale(x, t) if self.predicts == "edm" else x.clone()  # it may be written into
        given = given if dtype == x.dtype else given.to(dtype)
        out = network(given, c) if self.label is None else network(given, c, self._labels(x))
        if not isinstance(out, torch.Tensor) or out.shape != shape:
            got = f"shape {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
            if hasattr(out, "sample"):
                got += " with .sample: toolkit.interop reads diffusers' models"
            raise ValueError(f"the network must return a tensor of shape {tuple(shape)}, got {got}")
        if not out.is_floating_point():
            raise ValueError(f"the network must return floating-point numbers, got {out.dtype}")
        return out if out.dtype == x.dtype else out.to(x.dtype)

    def with_network(self, network):
        """This model with another network of the same kind in its place, such as a trained or averaged copy;
        calls go on being counted together.
        """
        relative = copy.copy(self)
        relative.network = network
        return relative

    def _affine(self, want, x, t):
        """The `Affine` map from what the network predicts to `want`, at time t."""
        if isinstance(t, torch.Tensor):
            levels = alpha_and_sigma(self.schedule, x, t)
            return view_coefficients(self.predicts, want, *levels, self.sigma_data)
        return _view_coefficients_at(self.schedule, float(t), self.predicts, want, self.sigma_data)

    def _edm_scale(self, x, t):
        """c_in / alpha: the factor that brings x_t to unit variance."""
        alpha, sigma = alpha_and_sigma(self.schedule, x, t)
        return 1 / (sigma**2 + alpha**2 * self.sigma_data**2) ** 0.5

    def _convert(self, want, prediction, x, t):
        if want == self.predicts:
            return prediction.clone()  # a network may answer with the same memory at each call
        to = self._affine(want, x, t)
        if isinstance(to.x, float) and to.x == 0:
            return prediction * to.prediction
        return to.x * x + to.prediction * prediction


def alpha_and_sigma(schedule, x, t):
    """(alpha, sigma) as floats, or for a tensor t as tensors that broadcast against x."""
    if not isinstance(t, torch.Tensor):
        t = float(t)
        return schedule.alpha(t), schedule.sigma(t)
    t = _check_t(t, x).to(wide_dtype(t.device))
    shape = (-1,) + (1,) * (x.ndim - 1) if t.ndim else ()
    levels = (schedule.alpha(t), schedule.sigma(t))
    return tuple(level.to(x.dtype).to(x.device).reshape(shape) for level in levels)


def _check_t(t, x):
    if t.ndim > 1 or (t.ndim and len(t) not in (1, len(x))):
        raise ValueError(
            f"t must be a number or a tensor of shape ({len(x)},), one time a sample; "
            f"got shape {tuple(t.shape)}"
        )
    return t


def clock_dtype(x):
    """The dtype of what a network is told of time: float64 beside a float64 x, else float32."""
    return _clock_dtype(x.dtype)


def _clock_dtype(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def without_autocast(x):
    """A context in which autocast lowers no precision on x's device: for what is exact, and for derivatives.
    """
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()


def dtype_of_weights(network, x):
    """The dtype in which a network wants x: that of its weights, if it is a module with one for all of them,
    else x's own.
    """
    network = network.func if isinstance(network, partial) else network
    if not isinstance(network, nn.Module):
        return x.dtype
    first = _first_weight(network)
    if first is None or first.dtype == x.dtype:  # the usual case, without a look at every weight
        return x.dtype
    dtypes = {p.dtype for p in network.parameters() if p.is_floating_point()}
    return first.dtype if len(dtypes) == 1 else x.dtype


def _first_weight(module):
    """The first floating-point parameter, or None: `parameters()` is ten times slower."""
    for parameter in module._parameters.values():
        if parameter is not None and parameter.is_floating_point():
            return parameter
    for child in module._modules.values():
        found = None if child is None else _first_weight(child)
        if found is not None:
            return found
    return None


def _step_number(n):
    """n, made whole where only round-off keeps it from being so, and at least 1: networks look it up in
    tables.
    """
    if isinstance(n, torch.Tensor):
        return torch.where((n - n.round()).abs() < 1e-4, n.round(), n).clamp(min=1)
    return max(round(n) if abs(n - round(n)) < 1e-4 else n, 1)


def _kappa(schedule, t):
    """sigma / alpha, infinite where alpha is 0."""
    alpha = schedule.alpha(t)
    return math.inf if isinstance(alpha, float) and alpha == 0 else schedule.sigma(t) / alpha


_CLOCKS = {
    "t": lambda schedule, t: t,
    "lam": lambda schedule, t: schedule.lam(t),
    "index": lambda schedule, t: _step_number(t * schedule.T),
    "sigma": _kappa,
    "c_noise": lambda schedule, t: -0.25 * schedule.lam(t),
}


def _told(schedule, t, clock):
    """What a network with this clock is told of t, a float or a tensor.  ValueError where it is infinite."""
    c = _CLOCKS[clock](schedule, schedule.within(t))
    if holds(abs(c) == math.inf):
        endless = np.isinf(on_host(c))
        t, c = (float(on_host(v)[endless][0]) for v in (t, c))
        raise ValueError(f"a network with clock={clock!r} cannot be asked at t = {t:g}, for it {c:g}")
    return c


class Wrapper(Model):
    """A model made from another: same schedule, same counter."""

    def __init__(self, model):
        self.model, self.schedule = model, model.schedule

    @property
    def _calls(self):
        return self.model._calls

    def begin(self):
        self.model.begin()

    def fresh(self):
        model = self.model.fresh()
        relative = self if model is self.model else copy.copy(self)
        relative.model = model
        return relative

    def rows(self, first, last):
        relative = copy.copy(self)
        relative.model = self.model.rows(first, last)
        return relative

    def check_batch(self, n):
        self.model.check_batch(n)

    def conditions(self):
        return self.model.conditions()

    def with_label(self, label):
        relative = copy.copy(self)
        relative.model = self.model.with_label(label)
        return relative


class Guided(Wrapper):
    """Classifier-free guidance: eps = eps_null + scale (eps_label - eps_null), two calls each (Ho & Salimans
    2022, eq. 6).

    scale = 1 is the plain conditional model, 0 the unconditional one; Ho & Salimans' w is scale - 1.
    label, null: as `Labelled` has them; null is what the network was trained to take for no condition, such
    as an embedding of the empty text, and None calls it without a label.
    """

    def __init__(self, model, label, scale: float, null=None):
        super().__init__(model)
        self.scale, self.null = float(scale), null
        if not math.isfinite(self.scale):
            raise ValueError(f"scale must be a finite number, got {scale}")
        self._conditional, self._null = model.with_label(label), model.with_label(null)

    def rows(self, first, last):
        relative = super().rows(first, last)
        relative._conditional = self._conditional.rows(first, last)
        relative._null = self._null.rows(first, last)
        return relative

    def fresh(self):
        relative = copy.copy(self)
        relative._conditional, relative._null = self._conditional.fresh(), self._null.fresh()
        return relative

    def check_batch(self, n):
        self._conditional.check_batch(n)
        self._null.check_batch(n)

    def conditions(self):
        return self._conditional.conditions() + self._null.conditions()

    def with_label(self, label):
        return Guided(self.model, label, self.scale, self.null)

    def eps_and_features(self, x, t):
        """Guided eps, and the features of both calls side by side (B, 2n)."""
        null, without = self._null.eps_and_features(x, t)
        eps, given = self._conditional.eps_and_features(x, t)
        return null + self.scale * (eps - null), torch.cat([without, given], dim=1)

    def begin(self):
        self._conditional.begin()
        self._null.begin()

    def _view(self, want, x, t):
        # every view is affine in eps with the same offset, so guidance commutes with the change of view
        null = self._null._view(want, x, t)
        return null + self.scale * (self._conditional._view(want, x, t) - null)


class Thresholded(Wrapper):
    """Clip the predicted x0: dynamic thresholding (Saharia et al. 2022, sec. 2.3).

    s = max(limit, the `quantile` of |x0| over each sample); x0 is clipped to [-s, s] and scaled by limit / s.
    quantile=None gives static thresholding, a plain clip to [-limit, limit].  Meant for data in [-limit,
    limit] only.
    """

    def __init__(self, model, quantile: float | None = 0.995, limit: float = 1.0):
        super().__init__(model)
        if quantile is not None and not 0 < quantile <= 1:
            raise ValueError(f"quantile must lie in (0, 1] or be None, got {quantile}")
        if not limit > 0:
            raise ValueError(f"limit must be positive, got {limit}")
        self.quantile, self.limit = quantile, float(limit)

    def _view(self, want, x, t):
        x0 = self.model.x0(x, t)
        if self.quantile is None:
            x0 = x0.clamp(-self.limit, self.limit)
        else:
            sizes = x0.abs().flatten(1).to(clock_dtype(x0))  # torch.quantile knows no half precision
            s = torch.quantile(sizes, self.quantile, dim=1).clamp(min=self.limit)
            s = s.to(x0.dtype).reshape(-1, *[1] * (x0.ndim - 1))
            x0 = x0.clamp(-s, s) * (self.limit / s)
        if want == "x0":
            return x0
        to = view_coefficients("x0", want, *alpha_and_sigma(self.schedule, x, t))
        return to.x * x + to.prediction * x0


class AFS(Wrapper):
    """Analytic first step: answer the first call of a run in closed form, uncounted (Dockhorn et al. 2022,
    sec. 3.3).

    At the start x_t is nearly Gaussian whatever the data, so eps = sigma (x - alpha mean) / (alpha^2 std^2 +
    sigma^2), exact for Gaussian data of that mean and standard deviation (numbers or tensors that broadcast
    against a sample).
    """

    def __init__(self, model, mean=0.0, std=1.0):
        super().__init__(model)
        self.mean, self.std, self._answered = mean, std, False
        if not all(torch.as_tensor(value).isfinite().all() for value in (mean, std)):
            raise ValueError("mean and std must be finite")

    def begin(self):
        self._answered = False
        self.model.begin()

    def fresh(self):
        relative = copy.copy(self)
        relative.model = self.model.fresh()
        return relative

    def eps_and_features(self, x, t):
        """As the model's; the answer in closed form has no features, None."""
        return self.model.eps_and_features(x, t) if self._answered else (self.eps(x, t), None)

    def _view(self, want, x, t):
        if self._answered:
            return self.model._view(want, x, t)
        self._answered = True
        alpha, sigma = alpha_and_sigma(self.schedule, x, t)
        mean, std = (v.to(x) if isinstance(v, torch.Tensor) else v for v in (self.mean, self.std))
        off = (x - alpha * mean) / (alpha**2 * std**2 + sigma**2)
        return view_of(want, mean + alpha * std**2 * off, sigma * off, alpha, sigma)
