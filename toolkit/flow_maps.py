"""Chapter 7, first half: flow maps, which learn the mean direction of a step itself.

On `Flow`, x_t = (1 - t) x_0 + t eps, the probability flow is dx/dt = v(x, t).  A step from t to s needs the
mean of v along the way (Geng et al. 2025, eq. 3),

    u(x, t, s) = 1 / (t - s) * integral of v from s to t along the trajectory through x at t,
    x_s = x - (t - s) u(x, t, s),

which is the *flow map* (Boffi et al. 2025b).  s -> t gives v, flow matching; s = 0 the consistency function.
The mean obeys (Geng et al. 2025, eq. 6)

    u = v - (t - s) du/dt,        d/dt the total derivative along the trajectory, s held.

`mean_velocity` is u of a model that is known exactly, `MeanVelocity` a network for it, `train` fits one by
one of three losses, and `flow_map` samples in any number of calls:

    meanflow_loss       the identity, its derivative in forward mode (Geng et al. 2025, alg. 1)
    lagrangian_loss     the end of a step moves with the velocity there (Boffi et al. 2025)
    shortcut_loss       one step is two of half the length (Frans et al. 2025)
    each with the velocity from the data's own pairs, or, for a distillation, from a `teacher`."""

import torch
from torch.func import jvp

from toolkit.convergence import reference
from toolkit.ddpm import diffuse
from toolkit.distill import column, ddim_step, mean_square
from toolkit.models import Calls, Labelled, Wrapper, alpha_and_sigma, view_coefficients
from toolkit.options import real_number
from toolkit.sampling import sampler
from toolkit.schedules import Flow
from toolkit.training import batches, fit

# --- the mean velocity, exactly ---------------------------------------------------------------------------


def mean_velocity(model, x, t, s):
    """u(x, t, s) = (x - x_s) / (t - s) on `Flow`, x_s the exact trajectory's state: x (B, ...) at time t,
    s < t.  float64, for a model on Flow that `convergence.reference` can follow.  At s = t: the velocity."""
    if s == t:
        return model.flow(x.double(), t)
    return (x.double() - reference(model, x, t, s)) / (t - s)


def mean_noise(u, x, t, s):
    """What u means in x / alpha and kappa = sigma / alpha (chapter 6's coordinates): the mean of eps in kappa
    along the same step, linear in u.  u, x (B, ...); 0 <= s < t < 1, numbers.

    y_s = (x - (t - s) u) / (1 - s) and y_t = x / (1 - t), so that
    (y_t - y_s) / (kappa_t - kappa_s) = x + (1 - t) u, whatever s is: u = eps - x_0 asks the same question."""
    if not 0 <= s < t < 1:
        raise ValueError(f"times must obey 0 <= s < t < 1, got t = {t:g}, s = {s:g}")
    return x + (1 - t) * u


# --- models of two times ----------------------------------------------------------------------------------


class ExactFlowMap(Wrapper):
    """A model's own flow map, by `convergence.reference`: what a trained one should be.  On `Flow`.

    mean(x, t, s) and map(x, t, s): float64, t and s numbers."""

    def mean(self, x, t, s):
        return mean_velocity(self.model, x, float(t), float(s))

    def map(self, x, t, s):
        return x.double() if s == t else reference(self.model, x, float(t), float(s))

    def _view(self, want, x, t):
        return self.model._view(want, x, t)


class MeanVelocity(Labelled):
    """A network of two times as a model on `Flow`: mean(x, t, s) is its u, map(x, t, s) = x - (t - s) u where
    it takes x; its views are those of the velocity u(x, t, t), so that every solver runs on it too.

    network: called as network(x, t, label, gap=t - s), t and gap (B,), label (B,) or None, as
        `networks.TwoTimeMLP` is; it returns a tensor like x.
    label: see `models.Labelled`.
    t and s are numbers or tensors (B,), 0 <= s <= t <= 1.  Every evaluation counts as one call."""

    def __init__(self, network, label=None):
        if not callable(network):
            raise ValueError(f"a network is called as network(x, t, label, gap=), got {network!r:.60}")
        self.network, self.schedule, self._calls = network, Flow(), Calls()
        self.label = self.with_label(label).label if label is not None else None

    def mean(self, x, t, s):
        """u(x, t, s), shaped like x (B, ...): one call."""
        self._calls.add()
        t, s = (_times(time, x) for time in (t, s))
        label = None if self.label is None else self._labels(x)
        return self.network(x, t, label, gap=t - s)

    def map(self, x, t, s):
        """x's state at time s, x - (t - s) u(x, t, s): one call."""
        gap = _times(t, x) - _times(s, x)
        return x - column(gap, x) * self.mean(x, t, s)

    def with_network(self, network):
        """This model with another network of the same kind, such as a trained or averaged copy; calls go on
        being counted together."""
        relative = self.with_label(self.label)
        relative.network = network
        return relative

    def _view(self, want, x, t):
        flow = self.mean(x, t, t)
        to = view_coefficients("flow", want, *alpha_and_sigma(self.schedule, x, t))
        return to.x * x + to.prediction * flow


def _times(time, x):
    """A number or (B,) as (B,) of x's dtype."""
    if isinstance(time, torch.Tensor):
        return time.to(x.device, x.dtype).expand(len(x))
    return torch.full((len(x),), float(time), dtype=x.dtype, device=x.device)


@sampler(order=None, nfe=lambda steps: steps, kind="jump", cite="geng2025meanflow")
def flow_map(model, x, times):
    """Jump from each time to the next by the model's flow map, x_s = x_t - (t - s) u(x_t, t, s) (Geng et al.
    2025, alg. 2): exact for an exact map, whatever the times.

    x (B, ...) at times[0].  A model without `map` knows the direction at a time and not its mean: it takes
    the one for the other, which is one step of DDIM."""
    yield times[0], x
    for t, s in zip(times, times[1:]):
        x = model.map(x, t, s) if hasattr(model, "map") else ddim_step(model, x, t, s)
        yield s, x


# --- losses -----------------------------------------------------------------------------------------------
#
# Each is a squared error, the mean over a sample's elements: (B,).  x_t is the state at t, and v the velocity
# there: eps - x0 of the pair, whose mean given x_t is the velocity, or a teacher's.


def mean_and_rate(model, x, v, t, s):
    """u(x, t, s) and du/dt, its total derivative along velocity v with s held, by one forward-mode pass
    (`torch.func.jvp` with tangent (v, 1)): both (B, ...).  x, v (B, ...), t, s (B,)."""
    return jvp(lambda x, t: model.mean(x, t, s), (x, t), (v, torch.ones_like(t)))


def meanflow_target(v, rate, t, s):
    """v - (t - s) du/dt, what u should be: linear in v and in the rate, which is linear in the velocity that
    it goes along.  With those of random pairs its mean given x_t is therefore the right one."""
    return v - column(t - s, v) * rate


def meanflow_loss(model, x, v, t, s, along=None):
    """MeanFlow (Geng et al. 2025, eq. 9-11): |u - sg(v - (t - s) du/dt)|^2, v (B, ...) the velocity at x_t,
    such as eps - x_0 of the pair.

    along: the velocity along which the derivative goes; v unless given.  The model's own mean(x, t, t) has a
    smaller variance (Geng et al. 2025b).  sg, the stop-gradient, keeps the derivative out of the descent:
    without it the loss is another, with another minimiser."""
    u, rate = mean_and_rate(model, x, v if along is None else along, t, s)
    return mean_square(u - meanflow_target(v, rate, t, s).detach())


def lagrangian_loss(model, x, t, s, teacher=None):
    """Lagrangian self-distillation (Boffi et al. 2025, who call it LSD): |dX/ds - sg(u(X, s, s))|^2.  The end
    X(s) = x - (t - s) u(x, t, s) of a step must move, as s does, with the velocity there, or with the
    teacher's."""
    end, rate = jvp(lambda s: x - column(t - s, x) * model.mean(x, t, s), (s,), (torch.ones_like(s),))
    with torch.no_grad():
        wanted = model.mean(end, s, s) if teacher is None else teacher.flow(end, s)
    return mean_square(rate - wanted)


def shortcut_loss(model, x, t, s):
    """The shortcut model (Frans et al. 2025): a step from t to s is two of half the length,
    |u(x, t, s) - sg(u(x, t, m) + u(x_m, m, s)) / 2|^2, m = (t + s) / 2 and x_m the first one's end."""
    middle = (t + s) / 2
    with torch.no_grad():
        first = model.mean(x, t, middle)
        halfway = x - column(t - middle, x) * first
        wanted = (first + model.mean(halfway, middle, s)) / 2
    return mean_square(model.mean(x, t, s) - wanted)


LOSSES = ("meanflow", "lagrangian", "shortcut")


def draw_pairs(n, generator, device="cpu", mean=-0.4, std=1.0):
    """n pairs of times t >= s, both (n,) float32: each the larger and the smaller of two times, of which half
    are uniform on [0, 1], so that t near 1 is seen, and half the logistic function of a normal (Geng et al.
    2025, sec. 4.3, whose mean and deviation these are)."""
    draw = lambda make: make((2, n), generator=generator, device=device, dtype=torch.float32)  # noqa: E731
    normal = torch.sigmoid(mean + std * draw(torch.randn))
    both = torch.where(draw(torch.rand) < 0.5, draw(torch.rand), normal)
    return both.amax(0), both.amin(0)


def draw_dyadic(n, generator, device="cpu", finest=128):
    """n pairs t, s (n,) float32 of the shortcut model: t - s = 1, 1/2, 1/4, ..., 2 / finest alike often, t a
    multiple of it (Frans et al. 2025, sec. 4)."""
    powers = finest.bit_length() - 1
    count = 2 ** torch.randint(powers, (n,), generator=generator, device=device)  # steps of this length
    place = (torch.rand(n, generator=generator, device=device) * count).floor() + 1
    return place / count, (place - 1) / count


def train(
    net,
    data,
    *,
    loss="meanflow",
    teacher=None,
    tangent="pair",
    steps=4000,
    share=0.5,
    labels=None,
    p_uncond=0.1,
    batch=256,
    power=0.0,
    **loop,
):
    """Train a network of two times, in place, as a `MeanVelocity` on `data` (n, ...).

    loss: "meanflow", "lagrangian" or "shortcut", on pairs t > s; the share `share` of each batch is flow
        matching instead, |u(x, t, t) - v|^2, where all of them get the velocity from.
    teacher: a model on `Flow`, whose velocity takes the place of the pair's: a distillation.  (The shortcut
        loss asks for no velocity: there it serves the share of flow matching.)
    tangent: for "meanflow", the velocity along which the derivative goes: "pair", the same as the target's,
        or "model", the network's own.
    labels, p_uncond, batch: as in `training.train`.
    power: weighs each sample's squared error by 1 / (error + 0.001)^power, sg (Geng et al. 2025, adaptive
        loss weighting); 0 is the plain one, whose minimiser is a mean, and other powers favour what is met.
    loop: arguments of `training.fit`.  Returns its `Training`; `MeanVelocity(run.net)` samples, by
    `flow_map`.  ValueError for an unknown loss, a share outside [0, 1], a teacher on another schedule."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {loss!r}")
    if tangent not in ("pair", "model"):
        raise ValueError(f"tangent must be 'pair' or 'model', got {tangent!r}")
    if tangent == "model" and loss != "meanflow":
        raise ValueError(f"tangent='model' is for loss='meanflow', got loss={loss!r}")
    if not 0 <= real_number("share", share) <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    if teacher is not None and not isinstance(teacher.schedule, Flow):
        raise ValueError(f"the teacher must be a model on Flow, got {type(teacher.schedule).__name__}")
    draw, schedule = batches(net, data, labels, p_uncond, batch), Flow()
    student, flat = MeanVelocity(net), round(share * batch)
    pairs = draw_dyadic if loss == "shortcut" else draw_pairs

    def loss_of(generator):
        x0, eps, label = draw(generator)
        t, s = pairs(len(x0), generator, x0.device)
        x = diffuse(schedule, x0, t, eps)
        v = eps - x0 if teacher is None else _told(teacher, label, x, t)
        at = lambda rows: student.with_label(None if label is None else label[rows])  # noqa: E731
        here, there = slice(flat), slice(flat, None)
        errors = [mean_square(at(here).mean(x[here], t[here], t[here]) - v[here])]
        if flat < len(x0):
            told = None if teacher is None else _labelled(teacher, label, there)
            errors.append(_of_pairs(loss, at(there), x[there], v[there], t[there], s[there], told, tangent))
        error = torch.cat(errors)
        return (error / (error.detach() + 1e-3) ** power).mean() if power else error.mean()

    return fit(net, loss_of, steps=steps, **loop)


def _of_pairs(loss, model, x, v, t, s, teacher, tangent):
    if loss == "meanflow":
        with torch.no_grad():
            along = model.mean(x, t, t) if tangent == "model" else None
        return meanflow_loss(model, x, v, t, s, along)
    if loss == "lagrangian":
        return lagrangian_loss(model, x, t, s, teacher)
    return shortcut_loss(model, x, t, s)


def _labelled(teacher, label, rows=slice(None)):
    return teacher if label is None else teacher.with_label(label[rows])


@torch.no_grad()
def _told(teacher, label, x, t):
    return _labelled(teacher, label).flow(x, t)
