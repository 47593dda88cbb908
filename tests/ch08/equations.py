"""Chapter 8: practice."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from book.ch08 import experiments
from book.ch08.experiments import GIVEN, LINE, LINE_MODEL, MASK, PAIR, PEAKS
from book.contest.scoring import Interval
from tests.book.notebooks.equations import equation
from toolkit import VP, Guided, Mixture, initial_noise, sample
from toolkit.conditions import (
    ClassifierGuided,
    Reconstructed,
    class_log_prob,
    conditioned,
    inpaint,
    tilted,
)
from toolkit.ddim import ddim
from toolkit.metrics import nearest_neighbour_ratio
from toolkit.noise import Replay

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------

DOUBLE = {"dtype": torch.float64}
STATES = initial_noise(6, 1, 3, **DOUBLE)


def slope_of(function, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


@equation("cond.bayes")
def bayes():
    """The classifier's slope is what parts the two scores, and class_log_prob has it."""
    said = class_log_prob(LINE_MODEL, 1)
    added = slope_of(lambda x: said(x, 0.4), STATES)
    wanted = LINE_MODEL.with_label(1).score(STATES, 0.4)
    assert torch.allclose(LINE_MODEL.score(STATES, 0.4) + added, wanted, atol=1e-10)


@equation("cond.average")
def average():
    """By quadrature over x_0: the mean of the clean classifier is the one that knows the noise."""
    t, x0 = 0.4, experiments.WHERE
    alpha, sigma = LINE_MODEL.schedule.alpha(t), LINE_MODEL.schedule.sigma(t)
    weight = torch.softmax(LINE.log_prob(x0) - ((STATES - alpha * x0[:, 0]) / sigma) ** 2 / 2, 1)
    clean = (tilted(LINE, 1, 1.0, x0) - LINE.log_prob(x0)).exp()
    assert torch.allclose(weight @ clean, class_log_prob(LINE_MODEL, 1)(STATES, t).exp(), atol=1e-8)


@equation("cond.classifier")
def classifier():
    said, t = class_log_prob(LINE_MODEL, 1), 0.4
    made = ClassifierGuided(LINE_MODEL, said, 3.0).eps(STATES, t)
    step = 3.0 * LINE_MODEL.schedule.sigma(t) * slope_of(lambda x: said(x, t), STATES)
    assert torch.allclose(made, LINE_MODEL.eps(STATES, t) - step, atol=1e-10)


@equation("cond.free")
def free():
    """Without a classifier it is the same, and `Guided`."""
    null, given = LINE_MODEL.eps(STATES, 0.4), LINE_MODEL.with_label(1).eps(STATES, 0.4)
    wanted = null + 3.0 * (given - null)
    assert torch.allclose(Guided(LINE_MODEL, 1, 3.0).eps(STATES, 0.4), wanted)
    guided = ClassifierGuided(LINE_MODEL, class_log_prob(LINE_MODEL, 1), 3.0)
    assert torch.allclose(guided.eps(STATES, 0.4), wanted, atol=1e-10)


@equation("cond.tilted")
def tilted_density():
    """Both forms are one density; its score is the guided one's where there is no noise, and the right term
    has its diffused score where there is."""
    x, w = experiments.WHERE, 3.0
    given = Mixture([1.0], [[1.0]], [0.5]).log_prob(x)
    ratio = tilted(LINE, 1, w, x) - (w * given + (1 - w) * LINE.log_prob(x))
    assert torch.allclose(ratio, ratio[:1].expand(len(x)), atol=1e-9)
    t = 1e-4
    score = slope_of(lambda x: tilted(LINE, 1, w, x), STATES)
    assert torch.allclose(Guided(LINE_MODEL, 1, w).score(STATES, t), score, atol=1e-2)
    t = 0.4
    alpha, sigma = LINE_MODEL.schedule.alpha(t), LINE_MODEL.schedule.sigma(t)
    data = torch.softmax(tilted(LINE, 1, w, x), 0)
    near = torch.softmax(data.log() - ((STATES - alpha * x[:, 0]) / sigma) ** 2 / 2, 1)
    diffused = (alpha * (near @ x) - STATES) / sigma**2
    assert torch.allclose(experiments.right_term(w).score(STATES, t), diffused, atol=1e-6)
    assert (Guided(LINE_MODEL, 1, w).score(STATES, t) - diffused).abs().max() > 0.1


@equation("cond.posterior")
def posterior():
    root = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), **DOUBLE)
    data = Mixture([1.0], [[0.3, -0.2, 0.1]], covariances=(root @ root.T)[None])
    y, level = torch.tensor([0.5, -1.0, 0.0], **DOUBLE), torch.tensor([0.0, 0.4, math.inf])
    A, C, mean = torch.eye(3, **DOUBLE)[:2], data.covariances[0], data.means[0]
    G = C @ A.T @ torch.linalg.inv(A @ C @ A.T + torch.diag(torch.tensor([0.0, 0.16], **DOUBLE)))
    found = conditioned(data, y, level)
    assert torch.allclose(found.means[0], mean + G @ (y[:2] - A @ mean))
    assert torch.allclose(found.covariances[0], C - G @ A @ C, atol=1e-12)


@equation("cond.replace")
def replace():
    """After a step of `inpaint` the known pixel is alpha_s y + sigma_s z, z the noise that it was given, and
    the other is DDIM's."""
    model, (t, s) = PAIR.model(VP()), (0.7, 0.5)
    x, z = initial_noise(4, 2, 0, **DOUBLE), [initial_noise(4, 2, seed, **DOUBLE) for seed in range(4)]
    run = sample(inpaint, model, x, [t, s], draws=Replay(z), known=GIVEN["pair"], level=MASK)
    alpha, sigma = model.schedule.alpha, model.schedule.sigma
    assert torch.allclose(run.x[:, 0], alpha(s) * 0.5 + sigma(s) * z[2][:, 0])
    start = torch.where(MASK, alpha(t) * 0.5 + sigma(t) * z[0], x)
    step = sample(ddim, model, start, [t, s], eta=1.0, draws=Replay([z[1]])).x
    assert torch.allclose(run.x[:, 1], step[:, 1])


@equation("cond.estimate")
def estimate():
    """With any variance, the derivative by differences."""
    model, t, x = PEAKS.model(VP()), 0.4, initial_noise(5, 2, 1, **DOUBLE)
    alpha, sigma, h = model.schedule.alpha(t), model.schedule.sigma(t), 1e-5
    steps = h * torch.eye(2, **DOUBLE)
    rows = [(model.x0(x + step, t) - model.x0(x - step, t))[:, 0] / (2 * h) for step in steps]
    x0, r2 = model.x0(x, t), (sigma / alpha) ** 2
    miss = (GIVEN["peaks"][0] - x0[:, :1]) / r2
    wanted = x0 + sigma**2 / alpha * torch.stack(rows, 1) * miss
    made = Reconstructed(model, GIVEN["peaks"], MASK).x0(x, t)
    assert torch.allclose(made, wanted, atol=1e-6)


@equation("cond.spread")
def spread():
    """The covariance of x_0 given x_t is kappa^2 alpha dx0/dx, here the first pixel's in closed form; and all
    three are what `Reconstructed` divides by."""
    model, t, x = PAIR.model(VP()), 0.4, initial_noise(5, 2, 1, **DOUBLE)
    alpha, sigma = model.schedule.alpha(t), model.schedule.sigma(t)
    C, kappa = PAIR.covariances[0], sigma / alpha
    left = C - C @ torch.linalg.inv(C + kappa**2 * torch.eye(2, **DOUBLE)) @ C
    row = slope_of(lambda x: model.x0(x, t)[:, 0], x)
    assert torch.allclose(kappa**2 * alpha * row, left[0].expand(5, 2))
    miss = GIVEN["pair"][0] - model.x0(x, t)[:, :1]
    for std, r2 in ((None, kappa**2), (0.3, kappa**2 * 0.09 / (kappa**2 + 0.09)), ("model", left[0, 0])):
        made = Reconstructed(model, GIVEN["pair"], MASK, std=std).x0(x, t)
        assert torch.allclose(made, model.x0(x, t) + sigma**2 / alpha * row * miss / r2)


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


# --- the contest ----------------------------------------------------------------------------------------


@equation("contest.ratio")
def nearest_ratio():
    """By hand on points of small whole numbers, and beside an independent search over all pairs."""
    data = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 6.0]])
    halfway = (data[1:2] + data[2:]) / 2
    assert nearest_neighbour_ratio(halfway, data)[0] == pytest.approx(0.5)
    rng = np.random.default_rng(4)
    x, data = rng.standard_normal((20, 3)), rng.standard_normal((30, 3))
    apart = np.linalg.norm(data[:, None] - data[None], axis=-1) + 1e9 * np.eye(30)
    to = np.linalg.norm(x[:, None] - data[None], axis=-1)
    wanted = to.min(1) / apart.min(1)[to.argmin(1)]
    assert nearest_neighbour_ratio(x, data) == pytest.approx(wanted)


@equation("contest.interval")
def interval_of_logarithms():
    """Covers the median of a log-normal in 95 of 100 triples, and equals scipy's."""
    rng = np.random.default_rng(3)
    logs = 0.7 * rng.standard_normal((2000, 3))
    found = [Interval.of(np.exp(row)) for row in logs]
    assert np.mean([one.low < 1 < one.high for one in found]) == pytest.approx(0.95, abs=0.02)
    low, high = stats.t.interval(0.95, 2, logs[0].mean(), stats.sem(logs[0]))
    got = [math.log(value) for value in (found[0].mean, found[0].low, found[0].high)]
    assert got == pytest.approx([logs[0].mean(), low, high])
    assert stats.t.ppf(0.975, 2) / math.sqrt(3) == pytest.approx(2.5, abs=0.02)
