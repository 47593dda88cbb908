"""The right answers of lesson 05, from 05_distillation.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: edm_skip, edm_out, target,
amplify, log10_std, stopped, through, middle, below, enough_training, enough_heun, means_std, best_level,
four_rounds, trained_gains, ratio, pays_from, pays_from_equal, student, first_step, heavy, light.
"""

import math
import sympy
import torch
from matplotlib.figure import Figure
from toolkit import EDM, grids
from toolkit.distill import boundary_coefficients


def karras_levels(intervals):
    """Noise levels of Karras's grid, from 0.002 up to 80: (intervals + 1,) float64."""
    return grids.karras(EDM(), intervals).flip(0)


s, e, d, c = sympy.symbols("s e d c", positive=True)
c_skip = d**2 / ((s - e) ** 2 + d**2)
c_out = (s - e) * d / sympy.sqrt(s**2 + d**2)


def consistency_function(network, x, s, end, std):
    """f(x, s), shaped like x.

    network(x, c): F, x (B, ...) and c (B,).  x: (B, ...).  s: levels (B,).  end, std: floats, e and d.
    """
    skip = std**2 / ((s - end) ** 2 + std**2)
    size = torch.sqrt(s**2 + std**2)
    out = (s - end) * std / size
    skip, out, size = (v.reshape(-1, *[1] * (x.ndim - 1)) for v in (skip, out, size))
    return skip * x + out * network(x / size, torch.log(s) / 4)


x, y, a_t, s_t, a_s, s_s, x0_hat = sympy.symbols("x y a_t s_t a_s s_s x0_hat")


def two_step_target(predict, schedule, x, t, middle, s):
    """The student's target at (x, t), shaped like x.

    predict(x, t): the teacher's x0, (B, ...) from (B, ...) and (B,).  x: (B, ...).  t > middle > s: (B,).
    """
    def level(u):
        shape = (-1, *[1] * (x.ndim - 1))
        return schedule.alpha(u).reshape(shape), schedule.sigma(u).reshape(shape)

    def step(x, u, v):
        (alpha, sigma), (alpha_v, sigma_v) = level(u), level(v)
        x0 = predict(x, u)
        return alpha_v * x0 + sigma_v / sigma * (x - alpha * x0)

    y = step(step(x, t, middle), middle, s)
    (alpha, sigma), (alpha_s, sigma_s) = level(t), level(s)
    return (y - sigma_s / sigma * x) / (alpha_s - sigma_s / sigma * alpha)


def training_loss(f, x0, z, s, r):
    """The loss of consistency training, a tensor without axes.

    f(x, s): (B, d) from (B, d) and levels (B,).  x0, z: data and noise, (B, d).  s > r: levels (B,).
    """
    x = x0 + s[:, None] * z
    with torch.no_grad():
        wanted = f(x0 + r[:, None] * z, r)
    return ((f(x, s) - wanted).square().mean(dim=1) / (s - r)).mean()


def distillation_loss(f, teacher, x0, z, s, r):
    """The loss of consistency distillation; teacher(x, s) is D, called like f."""
    x = x0 + s[:, None] * z
    with torch.no_grad():
        noise = (x - teacher(x, s)) / s[:, None]
        wanted = f(x + (r - s)[:, None] * noise, r)
    return ((f(x, s) - wanted).square().mean(dim=1) / (s - r)).mean()


def loss_of_batch(network, x0, t, s, generator):
    """The loss of a batch, a tensor without axes.  x0: (B, d).  t > s: levels (B,).  network: F(x, u)."""
    z = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)

    def f(u):
        state = x0 + u[:, None] * z
        c_skip, c_out = boundary_coefficients(u[:, None], 0.002, 0.5)
        return c_skip * state + c_out * network(state, u)

    with torch.no_grad():
        target = f(s)
    return (f(t) - target).square().mean()


d, r, s = sympy.symbols("d r s", positive=True)
factor_shared = (d**2 + r * s) / (d**2 + s**2)
factor_independent = d**2 / (d**2 + s**2)


def linear_loss(a, levels, std):
    """L(a), a tensor without axes.  a: (M,), requires grad.  levels: increasing, (M + 1,).  std: d."""
    student = torch.cat([torch.ones(1, dtype=a.dtype), a])
    high, low, s, r = student[1:], student[:-1].detach(), levels[1:], levels[:-1]
    square = high**2 * (std**2 + s**2) - 2 * high * low * (std**2 + r * s) + low**2 * (std**2 + r**2)
    return (square / (s - r)).sum()


finer = "stays"  # 0.315, 0.319, 0.319: the gradient pulls the target towards the noisier answer
with_teacher = "stays"  # on one path a consistent a makes every term 0, and no gradient moves it from there


def levels_at(step, steps, first, last):
    """The number of intervals at this step of steps, an int.  All arguments are ints; first <= last."""
    stages = math.ceil(math.log2(last / first)) + 1
    return min(first * 2 ** (step * stages // steps), last)


def shares(levels, mean, std):
    """The probability of each interval, (N,), for increasing levels (N + 1,)."""
    mass = torch.special.ndtr((torch.log(levels) - mean) / std).diff()
    return mass / mass.sum()


def train_factor(d, r, s):
    """q of an interval in training, a float."""
    return (d**2 + r * s) / (d**2 + s**2)


def heun_factor(d, r, s):
    """q of an interval in distillation with Heun, a float."""
    k1 = s / (d**2 + s**2)
    k2 = (1 + (r - s) * k1) * r / (d**2 + r**2)
    return 1 + (r - s) * (k1 + k2) / 2


def one_step_error(factor, count, d):
    """|deviation of one-step samples - exact| for a student with this factor(d, r, s), count intervals."""
    levels = karras_levels(count).tolist()
    gain = math.prod(factor(d, r, s) for r, s in zip(levels, levels[1:]))
    return abs(gain * math.hypot(d, 80) - math.hypot(d, 0.002))


def draw(counts, std):
    """Error of the one-step deviation against the number of intervals; returns the Axes.

    counts: increasing list of ints.  std: d.
    """
    ax = Figure(figsize=(6.4, 3.6), layout="constrained").add_subplot()
    lines = (("training", train_factor, "o-"), ("distillation, Heun", heun_factor, "s--"))
    for label, factor, style in lines:
        ax.loglog(counts, [one_step_error(factor, count, std) for count in counts], style, label=label)
    ax.set(xlabel="intervals M", ylabel="error of the standard deviation")
    ax.legend(frameon=False)
    return ax


twin = "ddim"  # its step multiplies x by 1 + (r - s) s / (d^2 + s^2), which is train_factor


def refine(f, x, levels, end, noises):
    """The sample after len(levels) jumps, shaped like x.

    f(x, s): a consistency function that ends at level `end`; s a float.  x: (B, d) at levels[0].
    levels: decreasing list of floats.  noises: list of standard normal (B, d), one for each of levels[1:].
    """
    sample = f(x, levels[0])
    for s, z in zip(levels[1:], noises):
        sample = f(sample + math.sqrt(s**2 - end**2) * z, s)
    return sample


def seconds(n, calls, per_call, training=0.0, pairs=0, pair_calls=0):
    """All seconds for n samples of `calls` calls each.  per_call, training: seconds.  pair_calls: a pair."""
    return training + (pairs * pair_calls + n * calls) * per_call


claim = "fails"


def walk(velocity, z, steps):
    """Where `steps` equal steps of Euler lead from the noise z, (B, d).  velocity(x, t): (B, d), t (B,)."""
    x = z
    for i in range(steps):
        t = torch.full((len(z),), 1 - i / steps, dtype=z.dtype)
        x = x - velocity(x, t) / steps
    return x


def flow_loss(velocity, x0, z, t):
    """L, a tensor without axes.  x0, z: the pairs, (B, d).  t: (B,)."""
    x = (1 - t[:, None]) * x0 + t[:, None] * z
    return (velocity(x, t) - (z - x0)).square().mean()


chords, again = "never", "no"
softplus = torch.nn.functional.softplus


def critic_loss(critic, real, fake):
    """L_C, a tensor without axes.  critic(x): logits (B, 1) from (B, 1).  real, fake: (B, 1)."""
    return softplus(-critic(real)).mean() + softplus(critic(fake.detach())).mean()


def student_loss(critic, fake, wanted, weight):
    """L_S, a tensor without axes.  fake, wanted: (B, 1).  weight: lambda, a float."""
    return (fake - wanted).square().mean() + weight * softplus(-critic(fake)).mean()


x, d, q = sympy.symbols("x d q", positive=True)
best_logit = sympy.log(q / d) + x**2 / 2 * (1 / q**2 - 1 / d**2)
mirror = "cannot"


def guided_target(predict, x, s, label, w):
    """D_w, (B, d).  predict(x, s, label): D, (B, d).  x: (B, d).  s, w: (B,).  label: ints (B,); 0 is none."""
    without = predict(x, s, torch.zeros_like(label))
    return without + w[:, None] * (predict(x, s, label) - without)


def guided_loss(student, predict, x0, z, s, label, w):
    """L, a tensor without axes.  student(x, s, label, w): (B, d).  x0, z: data and noise, (B, d)."""
    x = x0 + s[:, None] * z
    with torch.no_grad():
        wanted = guided_target(predict, x, s, label, w)
    return (student(x, s, label, w) - wanted).square().mean()


w, d, k, s = sympy.symbols("w d k s", positive=True)
tilted = 1 / sympy.sqrt(w / (d**2 + s**2) - (w - 1) / (k**2 + s**2))
sampled = d * (d / k) ** (w - 1)
narrow = ((0.5**2 + 0.5**2) / (1 + 0.5**2)) ** 1.5
states = "guided"
