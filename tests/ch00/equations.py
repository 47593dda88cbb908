"""Chapter 0: the marginal, lambda, the views, and the drift and diffusion of a schedule."""

import numpy as np
import sympy
import torch

from tests.book.notebooks.equations import equation
from toolkit import EDM, VE, VP, Discrete, Flow, Mixture, SubVP, VPCosine, initial_noise
from toolkit.ddpm import diffuse
from toolkit.schedules import LinearSDE

SCHEDULES = (VP(), SubVP(), VPCosine(), VE(), EDM(), Flow(), Discrete.linear())


@equation("start.marginal")
def marginal():
    """`diffuse` is alpha x_0 + sigma eps: mean and deviation of many draws, under every schedule."""
    noise = initial_noise(40_000, 1, seed=5, dtype=torch.float64)
    for schedule in SCHEDULES:
        t = schedule.t_of_lam(0.3)
        x = diffuse(schedule, torch.full_like(noise, 2.0), t, noise)
        assert abs(float(x.mean()) - 2 * schedule.alpha(t)) < 5 * schedule.sigma(t) / 200
        assert abs(float(x.std()) / schedule.sigma(t) - 1) < 0.02


@equation("start.lambda")
def half_log_snr():
    for schedule in SCHEDULES:
        t = schedule.t_of_lam(np.linspace(-2, 2, 9))
        ratio = schedule.alpha(t) / schedule.sigma(t)
        assert np.allclose(np.exp(2 * schedule.lam(t)), ratio**2, rtol=1e-12)
        assert np.allclose(schedule.lam(t), np.linspace(-2, 2, 9), atol=1e-12)


@equation("start.views")
def views():
    """The three linear relations, between views that the mixture computes each by its own closed form."""
    x = initial_noise(16, 2, seed=1, dtype=torch.float64)
    for schedule in SCHEDULES:
        model, t = Mixture.ring(5).model(schedule), schedule.t_of_lam(0.5)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        assert torch.allclose(model.x0(x, t), (x - sigma * model.eps(x, t)) / alpha, rtol=0, atol=1e-10)
        assert torch.allclose(model.score(x, t), -model.eps(x, t) / sigma, rtol=1e-12)
        v = alpha * model.eps(x, t) - sigma * model.x0(x, t)
        assert torch.allclose(model.v(x, t), v, rtol=0, atol=1e-10)


@equation("start.fg")
def drift_and_diffusion():
    """Symbolically, the moments of dx = f x dt + g dw are alpha and sigma; quadrature gives them back."""
    t = sympy.Symbol("t", positive=True)
    alpha, sigma = sympy.Function("alpha")(t), sympy.Function("sigma")(t)
    f = sympy.diff(sympy.log(alpha), t)
    g2 = sympy.diff(sigma**2, t) - 2 * f * sigma**2
    x0 = sympy.Symbol("x0")
    assert sympy.simplify(sympy.diff(alpha * x0, t) - f * alpha * x0) == 0  # d mean / dt = f mean
    variance_rate = 2 * f * sigma**2 + g2
    assert sympy.simplify(sympy.diff(sigma**2, t) - variance_rate) == 0
    for schedule in (VP(), SubVP(), VPCosine(), Flow(), EDM()):
        general = LinearSDE(schedule.f, schedule.g2)
        assert abs(general.alpha(0.6) - schedule.alpha(0.6)) < 1e-12
        assert abs(general.sigma(0.6) - schedule.sigma(0.6)) < 1e-11
