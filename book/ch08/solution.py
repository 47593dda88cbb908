"""The right answers of lesson 08, from 08_practice.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: std_plain, std_published,
std_turned, std_full, remembered, rows, mean_once, mean_twenty, middle_mean, middle_std, fair_p, fair_q,
floor_30, better, ten_copies.
"""

import math
import sympy
import torch
from matplotlib.figure import Figure
from toolkit import initial_noise


def front(points):
    """The names on the front, in order of the cost.  points: dict name -> (cost, error)."""
    found = []
    for name, (cost, error) in points.items():
        others = points.values()
        if not any(c <= cost and e <= error and (c < cost or e < error) for c, e in others):
            found.append(name)
    return sorted(found, key=lambda name: points[name])


def draw(points):
    """All samplers, and a line through those on the front; returns the Axes.  points: as above."""
    ax = Figure(figsize=(6.0, 3.6), layout="constrained").add_subplot()
    ax.scatter(*zip(*points.values()), color="0.6", label="all")
    ax.plot(*zip(*[points[name] for name in front(points)]), "o-", color="black", label="front")
    for name, at in points.items():
        ax.annotate(name, at, xytext=(4, 4), textcoords="offset points", fontsize=8)
    ax.set(xscale="log", yscale="log", xlabel="calls of the network", ylabel="error")
    ax.margins(x=0.1)
    ax.legend(frameon=False)
    return ax


def leaders(scores):
    """The best one and those that tie with it.  scores: dict name -> list of errors, one for each seed."""
    table = {name: torch.as_tensor(errors, dtype=torch.float64) for name, errors in scores.items()}
    best = min(table, key=lambda name: table[name].mean())
    found = [best]
    for name in table:
        apart = table[name] - table[best]
        if name != best and apart.mean() < 2 * apart.std() / math.sqrt(len(apart)):
            found.append(name)
    return found


def pays_from(training, slow, fast):
    """How many samples a training must serve, a float.  training: seconds.  slow, fast: seconds a sample."""
    return training / (slow - fast) if fast < slow else math.inf


samples = 90 / (19 * 0.0004)


def beta(t):
    """The rate of the listing's schedule at time t."""
    return 0.1 + 19.9 * t


def bar(t):
    """The squared signal at time t: exp of minus the rate's integral."""
    return math.exp(-(0.1 * t + 9.95 * t**2))


def step_after(guess, before):
    """The length of the next step: 0.02 at first, and shorter where the model changes its mind."""
    return 0.02 if before is None else 0.02 / (1 + 5 * (guess - before).square().mean().sqrt().item())


def adaptive(eps, x, end, noise):
    """The state at time `end`, (B, d).  eps(x, t): (B, d), t a float.  x: (B, d) at time 1.
    noise(): standard normal (B, d), fresh each time."""
    t, before = 1.0, None
    while t > end:
        guess = eps(x, t)
        step = min(step_after(guess, before), t - end)
        sigma = math.sqrt(1 - bar(t))
        x = x + step * beta(t) * (x / 2 - guess / sigma) + math.sqrt(beta(t) * step) * noise()
        t, before = t - step, guess
    return x


signal_ends = 0.9 / 19.9  # where beta passes 1
unseen = "time"
sees_it = "mean"


def eta_walk(eps, x, levels, etas, noises):
    """The state at levels[-1], (B, d).  eps(x, s): (B, d).  x: (B, d) at levels[0].
    levels: N + 1 floats, decreasing.  etas: N floats.  noises: N of (B, d)."""
    for s, e, eta, z in zip(levels, levels[1:], etas, noises):
        c = eta * e / s * math.sqrt(s**2 - e**2)
        x = x + (math.sqrt(e**2 - c**2) - s) * eps(x, s) + c * z
    return x


published = "early"


def guided(net, x, s, label, w, null, low=0.0, high=math.inf):
    """The guided eps, (B, d), by one call.

    net(x, s, label): (rows, d), s a float, label (rows,).  x: (B, d).  label: (B,), int64.  null: an int.
    """
    if not low < s <= high:
        return net(x, s, label)
    both = net(torch.cat([x, x]), s, torch.cat([label, torch.full_like(label, null)]))
    given, free = both.chunk(2)
    return free + w * (given - free)


def dropped(label, u, p, null):
    """Labels for training, (B,).  label: (B,), int64.  u: (B,), uniform.  p: a float.  null: an int."""
    return torch.where(u < p, null, label)


theirs = 3
networks = 1
x, k, m, d, D, w = sympy.symbols("x k m d D w", positive=True)
guided_score = -(1 - w) * x / (D**2 + k**2) - w * (x - m) / (d**2 + k**2)
tilted_std = 1 / sympy.sqrt((1 - w) / D**2 + w / d**2)  # the precisions add up
tilted_mean = w * m / d**2 * tilted_std**2
guided_std = D ** (1 - w) * d**w
guided_mean = m * (D**2 + 2 * d**2) / D**2
narrower = "guided"


def repaint(denoise, x, known, mask, levels, repeats, noise):
    """The state at levels[-1], (B, d).  denoise(x, s): (B, d), s a float.  x: (B, d) at levels[0].

    known: (d,).  mask: (d,), bools, True where known.  levels: floats, decreasing, the last one above 0.
    repeats: an int.  noise(): standard normal (B, d), fresh each time.
    """
    for s, e in zip(levels, levels[1:]):
        for turn in range(repeats):
            if turn:
                x = x + math.sqrt(s**2 - e**2) * noise()
            clean = denoise(x, s)
            x = clean + e**2 / s**2 * (x - clean) + e / s * math.sqrt(s**2 - e**2) * noise()
            x = torch.where(mask, known + e * noise(), x)
    return x


mean_exact = 0.5 + 0.8 * (2.5 - 1)
shows_in = "deviation"
s, d = sympy.symbols("s d", positive=True)


def posterior(mean, covariance, y, level):
    """(mean (d,), covariance (d, d)) of x_0 given y.  mean, y, level: (d,).  covariance: (d, d).
    level: 0 for a pixel that is known, math.inf for one of which nothing is told (y is then any number)."""
    told = torch.isfinite(level)
    inner = covariance[told][:, told] + torch.diag(level[told] ** 2)
    gain = torch.linalg.solve(inner, covariance[told]).T
    return mean + gain @ (y - mean)[told], covariance - gain @ covariance[told]


def given_score(mean, covariance, y, level, x, noise_level):
    """The gradient of log p(x | y) at the noise level s, (B, d).  x: (B, d).  noise_level: a float above 0."""
    centre, spread = posterior(mean, covariance, y, level)
    noisy = spread + noise_level**2 * torch.eye(len(mean), dtype=mean.dtype)
    return -torch.linalg.solve(noisy, (x - centre).T).T


spread = s**2 * d**2 / (s**2 + d**2)
too_weak = (s**2 + d**2) / d**2


def in_chunks(eps, n, dim, levels, chunk, seed):
    """The samples, (n, dim), float64.  eps(x, s): (B, dim), B at most `chunk`, s a float.
    levels: floats, decreasing.  seed: an int from 0 to 999."""
    parts = []
    for first in range(0, n, chunk):
        shape = (len(levels), dim)  # row i is a function of the seed and first + i
        drawn = initial_noise(min(chunk, n - first), shape, seed, torch.float64, first=first)
        noises = drawn.transpose(0, 1)  # (N + 1, rows, dim)
        x = levels[0] * noises[0]
        for s, e, z in zip(levels, levels[1:], noises[1:]):
            x = x + (e**2 / s - s) * eps(x, s) + e / s * math.sqrt(s**2 - e**2) * z
        parts.append(x)
    return torch.cat(parts)


one_stream, all_ahead, by_chunk, by_sample = "other", "same", "other", "same"
ahead_mib = 10_000 * 784 * 21 * 4 / 2**20
n, p, L = sympy.symbols("n p L", positive=True)


def unmask_step(x, guess, a, b, u, v):
    """The states after a step from level a to b, (B, L), int64.

    x: (B, L), int64, letters 0 to V - 1, and V for a mask.  guess: (B, L, V).  u, v: (B, L), uniform.
    """
    mask = guess.shape[2]
    letters = (guess.cumsum(2) <= v[..., None]).sum(2)
    revealed = (x == mask) & (u < (b - a) / (1 - a))
    return torch.where(revealed, letters, x)


wrong_words = 2 * p * (1 - p) / n
calls = n * (1 - (1 - 1 / n) ** L)


def frechet(one, two):
    """The Fréchet distance of two sets of features, (n, d) and (m, d): a float."""
    first, second = torch.cov(one.T), torch.cov(two.T)
    roots = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    apart = (one.mean(0) - two.mean(0)).square().sum()
    return (apart + first.trace() + second.trace() - 2 * roots).item()


def inception(answers):
    """The inception score: a float.  answers: (n, classes), each row sums to 1; some entries may be 0."""
    mean = answers.mean(0)
    return torch.special.xlogy(answers, answers / mean.clamp(min=1e-300)).sum(1).mean().exp().item()


sees_copies = "frechet"
