"""What chapter 7 writes out in its cells is what `toolkit.flow_maps` does: the cells are run, and their
functions held against the core's."""

from functools import cache, partial

import pytest
import torch

from book.ch07 import experiments
from book.ch07.experiments import GaussianMap
from tests.book.notebooks.pages import left_by
from toolkit import Flow, grids, initial_noise, sample
from toolkit.flow_maps import (
    MeanVelocity,
    flow_map,
    lagrangian_loss,
    meanflow_loss,
    shortcut_loss,
)
from toolkit.networks import TwoTimeMLP

page = cache(partial(left_by, "07_flow_maps"))


def drawn(n=32):
    """A fresh network in the plane, whose gap counts, as the core's model and as the page's u(x, t, s), with
    pairs of points, and times (n,)."""
    torch.manual_seed(3)
    network = TwoTimeMLP(shape=(2,), width=16, blocks=2)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    x0, eps = torch.randn(2, n, 2)
    both = torch.rand(2, n)
    model = MeanVelocity(network)
    return model, lambda x, t, s: model.mean(x, t[:, 0], s[:, 0]), x0, eps, both.amax(0), both.amin(0)


def gradient(loss, model):
    found = torch.autograd.grad(loss.mean(), [*model.network.parameters()], allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


def alike(ours, theirs, model):
    assert torch.allclose(ours, theirs, rtol=1e-4)
    assert torch.allclose(gradient(ours, model), gradient(theirs, model), rtol=1e-3, atol=1e-6)


def test_meanflow():
    model, u, x0, eps, t, s = drawn()
    ours = page("meanflow-by-hand")["meanflow_by_hand"](u, x0, eps, t[:, None], s[:, None])
    x = (1 - t[:, None]) * x0 + t[:, None] * eps
    alike(ours, meanflow_loss(model, x, eps - x0, t, s), model)


@pytest.mark.parametrize("name, loss", [("lagrangian", lagrangian_loss), ("shortcut", shortcut_loss)])
def test_the_other_losses(name, loss):
    model, u, x, _, t, s = drawn()
    ours = page("others-by-hand")[f"{name}_by_hand"](u, x, t[:, None], s[:, None])
    alike(ours, loss(model, x, t, s), model)


@torch.no_grad()
def test_the_sampler():
    model, u, x, *_ = drawn()
    times = grids.uniform(Flow(), 3, 1.0, 0.0)
    ours = page("meanflow-by-hand")["jump_by_hand"](u, x, times.tolist())
    assert torch.allclose(ours, sample(flow_map, model, x, times).x, atol=1e-5)


def test_the_identity_s_residual_sees_a_wrong_velocity():
    residual = page("identity-by-hand")["identity_residual"]
    x = experiments.starts(0.8, 4, seed=11)
    assert residual(x, 0.8, 0.2).abs().max() < 1e-9
    assert residual(x, 0.8, 0.2, h=0.05).abs().max() > 1e-9  # it is measured, and not 0 by construction


def test_the_dmd_step_has_the_gradient_of_the_divergence():
    """Of N(m, s^2) against N(0, 1) at one level: d KL / dm = m / (1 + level^2), times the weight."""
    pull = page("dmd-by-hand")["dmd_pull"]
    z, eps, level = initial_noise(200_000, 1, 0), initial_noise(200_000, 1, 1), torch.tensor(0.5)
    m, s = torch.tensor(0.6, requires_grad=True), torch.tensor(0.8, requires_grad=True)
    real = lambda y, level: -y / (1 + level**2)
    fake = lambda y, level: -(y - m) / (s**2 + level**2)
    got = torch.autograd.grad(pull(lambda z: m + s * z, z, real, fake, level, eps), (m, s))
    wide = 0.8**2 + 0.25
    assert float(got[0]) == pytest.approx(0.5 * 0.6 / 1.25, rel=0.03)
    assert float(got[1]) == pytest.approx(0.5 * 0.8 * (1 / 1.25 - 1 / wide), rel=0.03)


def test_the_fake_score_is_learned_at_its_minimum():
    loss = page("dmd-by-hand")["fake_loss"]
    z, eps, level = initial_noise(50_000, 1, 0), initial_noise(50_000, 1, 1), torch.tensor(0.5)
    scale = torch.tensor(1.0, requires_grad=True)
    fake = lambda y, level: -scale * (y - 0.6) / (0.8**2 + level**2)
    slope = torch.autograd.grad(loss(lambda z: 0.6 + 0.8 * z, z, fake, level, eps), scale)[0]
    assert abs(float(slope)) < 0.01


def test_a_gaussian_map_is_what_the_losses_are_asked_about():
    """The experiments' closed map, against the core's sampler in any number of calls."""
    x = initial_noise(50, 1, 2, dtype=torch.float64)
    for calls in (1, 3):
        made = sample(flow_map, GaussianMap(), x, grids.uniform(Flow(), calls, 1.0, 0.0)).x
        assert torch.allclose(made, experiments.STD * x)
