"""What chapters 5 and 5b write by hand in the page is what `toolkit.distill` does: their cells are run, and
their functions held against the core's.
"""

from functools import partial

import numpy as np
import pytest
import torch

from book.ch05 import experiments
from tests.book.notebooks.pages import left_by
from toolkit import EDM, VP, Flow, Mixture, distill, distilled, initial_noise, sample
from toolkit.data import digit_labels
from toolkit.models import Network
from toolkit.networks import ToyMLP
from toolkit.noise import Replay
from toolkit.ode import edm_heun
from toolkit.training import batches, fit

DOUBLE = {"dtype": torch.float64}


def every(n, t):
    return torch.full((n,), t, **DOUBLE)


def test_the_two_step_target():
    by_hand, x = left_by("05_distillation", "two-step-by-hand"), initial_noise(50, 2, 3, **DOUBLE)
    ring = Mixture.ring(8).model(VP())
    for t, m, s in ((0.8, 0.6, 0.35), (0.9, 0.5, 0.1)):
        target, end = by_hand["target_by_hand"](ring, x, t, m, s)
        theirs = distill.two_step_target(ring, x, every(50, t), every(50, m), every(50, s))
        assert torch.allclose(target, theirs)
        assert torch.allclose(by_hand["ddim_step"](x, target, t, s), end)


@pytest.mark.parametrize("taught", [False, True])
def test_the_consistency_loss(taught):
    by_hand = left_by("05_distillation", "train-loss")
    peaks, schedule = by_hand["peaks"], EDM()
    torch.manual_seed(5)
    model = distill.ConsistencyModel(ToyMLP(shape=(1,), width=24), schedule, sigma_data=by_hand["d"])
    exact = peaks.model(schedule)
    x0, z, _, _ = by_hand["draw"](torch.Generator().manual_seed(1))
    t, s = (torch.full((len(x0), 1), v) for v in (2.0, 1.5))
    x = x0 + t * z
    end = sample(edm_heun, exact, x, [2.0, 1.5]).x.float() if taught else x0 + s * z
    wanted = model.x0(end, s[:, 0]).detach()
    theirs = distill.consistency_loss(model, wanted, x, t[:, 0].double(), s[:, 0].double())
    ours = by_hand["loss_by_hand"](model, x0, z, t, s, exact if taught else None)
    assert torch.allclose(ours, theirs.float(), rtol=1e-4)


def test_the_recursion():
    by_hand = left_by("05_distillation", "recursion-by-hand")
    x = experiments.quantiles(300)
    for levels in (1, 7):
        assert np.allclose(by_hand["minimiser_by_hand"](levels)(x), experiments.minimiser(levels)[-1](x))


def test_jump_noise_jump():
    by_hand = left_by("05_distillation", "multistep-by-hand")
    torch.manual_seed(2)
    model = distill.ConsistencyModel(ToyMLP(shape=(1,), width=24), EDM(), sigma_data=0.9)
    levels = [80.0, 1.0, 0.3, EDM().end]
    x, *draws = (initial_noise(100, 1, k) for k in range(4))
    ours = by_hand["jump_noise_jump"](model, 80 * x, levels, draws)
    theirs = sample(distill.consistency, model, 80 * x, levels, draws=Replay(draws)).x
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_guided_targets_of_both_stages():
    by_hand = left_by("05b_students", "guided-by-hand", "second-stage-by-hand")
    teacher, first = distilled.teacher(), distilled.student("guided")
    label, scale, x = digit_labels(16, 4), torch.linspace(1, 4, 16), 4.0 * initial_noise(16, (1, 8, 8), 7)
    ours = by_hand["guided_target"](teacher, x, 4.0, label, scale[:, None, None, None])
    assert torch.allclose(ours, distill.guided_x0(teacher, x, 4.0, label, scale), atol=1e-5)
    with torch.no_grad():
        ours = by_hand["second_stage_target"](first, x, 4.0, 2.0, 1.0, label, scale)
        model = distill.at_scale(first.with_label(label), scale)
        theirs = distill.two_step_target(model, x, *(every(16, v) for v in (4.0, 2.0, 1.0)))
    assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_the_critics_and_the_students_update():
    by_hand, shared, answers = left_by("05b_students", "critic-by-hand"), distilled.setting("ring"), []
    x, y = (v.float() for v in experiments.ring_ends())
    for own in (True, False):
        model = shared.fresh(0)
        f = lambda x, model=model: model.x0(x, EDM().start)  # noqa: E731
        torch.manual_seed(0)
        critic = distill.Critic((2,))
        optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.99))
        if own:
            draw = batches(model.network, shared.data, batch=64)
            both = partial(
                by_hand["both_steps"], D=critic, f=f, optimizer=optimizer, draw_data=draw, pairs=(x, y)
            )
            run = fit(model.network, both, steps=10, seed=0)
        else:
            run = distill.distill_adversarially(model, x, y, shared.data, steps=10, batch=64, seed=0)
        answers.append(model.with_network(run.net).x0(x, EDM().start).detach())
    assert torch.allclose(*answers, atol=1e-4)


def test_reflow():
    by_hand, answers = left_by("05b_students", "reflow-by-hand"), []
    z, x0 = by_hand["z"], by_hand["x0"]
    for own in (True, False):
        torch.manual_seed(0)
        model = Network(ToyMLP(shape=(1,), width=24), Flow(), predicts="edm", sigma_data=by_hand["d"])
        by_hand["model"] = model  # the cell's loss reads it from the page
        run = (
            fit(model.network, by_hand["reflow_by_hand"], steps=10, seed=0)
            if own
            else distill.reflow(model, z, x0, steps=10, seed=0)
        )
        answers.append(model.with_network(run.net).flow(z, 0.5).detach())
    assert torch.allclose(*answers, atol=1e-4)
