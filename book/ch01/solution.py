"""The right answers of lesson 01, from 01_ddpm.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: axes_5, lowest_loss,
correlation_9.
"""

import math
import numpy as np
import torch
import sympy
from toolkit.ddpm import posterior as toolkit_posterior


def jump(x0, n, noise, betas):
    """x_n given x_0, each row at its own step.

    x0, noise: (B, d).  n: int64 (B,), each from 0 to T.  betas: (T,), betas[0] is beta_1.  Returns (B, d).
    """
    products = torch.cumprod(1 - betas, 0)
    alpha_bar = torch.cat([torch.ones(1, dtype=betas.dtype), products])
    row = alpha_bar[n][:, None]
    return row.sqrt() * x0 + (1 - row).sqrt() * noise


def posterior(alpha_t, sigma_t, alpha_s, sigma_s):
    """(c_0, c_t, variance) of q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, variance), s < t.

    All are floats; sigma_t > 0, and sigma_s may be 0.
    """
    ratio = alpha_t / alpha_s
    beta = sigma_t**2 - ratio**2 * sigma_s**2
    c_0 = alpha_s * beta / sigma_t**2
    c_t = ratio * sigma_s**2 / sigma_t**2
    return c_0, c_t, beta * sigma_s**2 / sigma_t**2


r, sigma_t, sigma_s = sympy.symbols("r sigma_t sigma_s", positive=True)
noise_coefficient = -(sigma_t**2 - r**2 * sigma_s**2) / (r * sigma_t)


def ancestral(model, x, times, noises, variance="posterior"):
    """Ancestral sampling along `times`; returns x at the last of them.

    model: has .eps(x, t), and .schedule with .alpha(t) and .sigma(t).  x: (B, d), at times[0].
    times: decreasing list of floats.  noises: list of tensors (B, d), one for each step.
    """
    schedule = model.schedule
    for t, s, z in zip(times, times[1:], noises):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
        x0 = (x - sigma * model.eps(x, t)) / alpha
        c_0, c_t, tilde = posterior(alpha, sigma, alpha_s, sigma_s)
        x = c_0 * x0 + c_t * x
        if sigma_s > 0:
            beta = sigma**2 - (alpha / alpha_s) ** 2 * sigma_s**2
            x = x + math.sqrt(tilde if variance == "posterior" else beta) * z
    return x


def cosine_betas(T, s=0.008, largest=0.999):
    """The betas of the cosine schedule, (T,): entry 0 is beta_1."""
    f = np.cos((np.arange(T + 1) / T + s) / (1 + s) * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], largest)


def negative_elbo(model, x0, noises):
    """The negative ELBO, term by term, in nats a dimension: (L_T, tensor of the KLs of n = 2 ... T, L_0).

    model: has .eps(x, t) and a Discrete .schedule.  x0: (B, d).  noises: (T, B, d), for the steps of the chain.
    """
    schedule = model.schedule
    T, betas, bar = schedule.T, schedule.betas, schedule.alpha_bar  # betas[n - 1] is beta_n, bar[n] is alpha-bar_n
    kls, x = [], x0
    for n in range(1, T + 1):
        before, beta = x, betas[n - 1]
        x = math.sqrt(1 - beta) * before + math.sqrt(beta) * noises[n - 1]
        eps = model.eps(x, n / T)
        x0_hat = (x - math.sqrt(1 - bar[n]) * eps) / math.sqrt(bar[n])
        c_0, c_n, tilde = toolkit_posterior(schedule, n / T, (n - 1) / T)
        mean = c_0 * x0_hat + c_n * x
        if n == 1:
            L_0 = 0.5 * ((x0 - mean) ** 2 / beta + math.log(2 * math.pi * beta)).mean()
        else:
            target = c_0 * x0 + c_n * x
            kls.append(((target - mean) ** 2).mean() / (2 * tilde))
    L_T = 0.5 * (bar[T] * (x0**2).mean() + (1 - bar[T]) - 1 - math.log(1 - bar[T]))
    return L_T, torch.stack(kls), L_0


def bound_weight(bar, bar_before):
    """The weight of step n: bar and bar_before are alpha-bar_n and alpha-bar_{n-1}, floats or NumPy arrays."""
    snr, snr_before = bar / (1 - bar), bar_before / (1 - bar_before)
    return 0.5 * (snr_before / snr - 1)


verdict_9 = "fails"


def step_distribution(history):
    """(p, w), both (T,): the probability of each step and the weight of its loss.

    history: (T, K) positive floats, the K latest losses of each step.
    """
    root = history.square().mean(1).sqrt()
    p = root / root.sum()
    return p, 1 / (len(p) * p)


def training_step(net, optimiser, x0, n, noise, alpha_bar):
    """One step of training; returns the loss before it, a float.

    net(x, n): the predicted noise, (B, d).  x0, noise: (B, d).  n: int64 (B,), from 1 to T.  alpha_bar: (T + 1,).
    """
    bar = alpha_bar[n][:, None]
    x = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
    loss = (net(x, n) - noise).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()
