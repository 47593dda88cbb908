"""Flow maps: the identity of the mean velocity, each loss at the exact map and off it, and the sampler."""

import math

import pytest
import torch

from tests.seeds import seed_of
from toolkit import EDM, VP, Flow, Mixture, Network, sample
from toolkit.amed import mean_direction
from toolkit.convergence import reference
from toolkit.ddim import ddim
from toolkit.distill import FlowMap, consistency
from toolkit.flow_maps import (
    LOSSES,
    ExactFlowMap,
    MeanVelocity,
    draw_dyadic,
    draw_pairs,
    flow_map,
    lagrangian_loss,
    mean_and_rate,
    mean_noise,
    mean_velocity,
    meanflow_loss,
    meanflow_target,
    shortcut_loss,
    train,
)
from toolkit.networks import TwoTimeMLP

RING = Mixture.ring(8, radius=1.0, std=0.1).model(Flow())
STD, CENTRE = 0.4, 0.7


def states(*case, n=6, dim=2):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed_of(*case)), dtype=torch.float64)


def times(*case, n=6):
    """t > s, both (n,)."""
    both = torch.rand(2, n, generator=torch.Generator().manual_seed(seed_of(*case)), dtype=torch.float64)
    return both.amax(0), both.amin(0)


class Gaussian(MeanVelocity):
    """The exact map of data N(CENTRE, STD^2): x_s is where x's deviations are kept; `wrong` scales its
    mean."""

    def __init__(self, wrong=1.0):
        super().__init__(lambda x, t, label, gap: wrong * self.exact(x, t, t - gap))

    @staticmethod
    def exact(x, t, s):
        t, s = t[:, None], s[:, None]
        width = lambda t: ((1 - t) ** 2 * STD**2 + t**2).sqrt()  # noqa: E731
        off = x - (1 - t) * CENTRE
        # (x - x_s) / (t - s) with the difference of the widths divided by t - s, which holds at t = s too
        ratio = ((t + s) - (2 - t - s) * STD**2) / (width(t) * (width(t) + width(s)))
        return off * ratio - CENTRE


# --- the mean velocity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("t, s", [(0.95, 0.1), (0.7, 0.4), (0.3, 0.05)])
def test_the_mean_velocity_obeys_its_identity(t, s):
    """u = v - (t - s) du/dt along the exact trajectory, the derivative by Richardson's central
    differences."""
    x = states("identity", t, s)
    mean = lambda now: mean_velocity(RING, reference(RING, x, t, now), now, s)  # noqa: E731
    central = lambda h: (mean(t + h) - mean(t - h)) / (2 * h)  # noqa: E731
    rate = (4 * central(1e-3) - central(2e-3)) / 3
    assert torch.allclose(mean_velocity(RING, x, t, s), RING.flow(x, t) - (t - s) * rate, atol=1e-8)


@pytest.mark.parametrize("t, s", [(0.95, 0.1), (0.5, 0.2)])
def test_mean_velocity_and_mean_noise_are_one_thing(t, s):
    x = states("noise", t, s)
    means = mean_noise(mean_velocity(RING, x, t, s), x, t, s)
    assert torch.allclose(means, mean_direction(RING, x, t, s), atol=1e-9)


def test_over_no_time_the_mean_is_the_velocity():
    x = states("edge")
    assert torch.allclose(mean_velocity(RING, x, 0.5, 0.5), RING.flow(x, 0.5))
    near = mean_velocity(RING, x, 0.5, 0.5 - 1e-4)
    assert torch.allclose(near, RING.flow(x, 0.5), atol=1e-2) and not torch.equal(near, RING.flow(x, 0.5))


def test_mean_noise_refuses_times_at_which_it_has_no_meaning():
    x = states("refuse")
    for t, s in ((1.0, 0.5), (0.3, 0.3), (0.3, -0.1)):
        with pytest.raises(ValueError, match="times must obey"):
            mean_noise(x, x, t, s)


# --- losses -----------------------------------------------------------------------------------------------


def losses_of(model, *case):
    """{loss: (B,)} of a model of the Gaussian data, with the exact velocity."""
    x, (t, s) = states(*case), times(*case)
    v = Gaussian.exact(x, t, t)
    return {
        "meanflow": meanflow_loss(model, x, v, t, s),
        "lagrangian": lagrangian_loss(model, x, t, s),
        "shortcut": shortcut_loss(model, x, t, s),
    }


def test_the_gaussian_map_is_exact():
    model = Mixture([1.0], [[CENTRE, CENTRE]], [STD]).model(Flow())
    x = states("gaussian")
    u = Gaussian().mean(x, torch.full((6,), 0.9).double(), torch.full((6,), 0.2).double())
    assert torch.allclose(u, mean_velocity(model, x, 0.9, 0.2), atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_is_zero_at_the_exact_map_and_not_beside_it(loss):
    assert losses_of(Gaussian(), loss)[loss].abs().max() < 1e-20
    assert losses_of(Gaussian(1.1), loss)[loss].max() > 1e-6


def test_a_teacher_s_velocity_takes_the_place_of_one_s_own():
    """A map that is consistent with a wrong velocity of its own is not with the teacher's."""
    x, (t, s) = states("teacher"), times("teacher")
    right = Mixture([1.0], [[CENTRE, CENTRE]], [STD]).model(Flow())
    still = MeanVelocity(lambda x, t, label, gap: 0.0 * x)  # nothing moves: consistent with v = 0
    assert lagrangian_loss(still, x, t, s).abs().max() == 0
    assert lagrangian_loss(still, x, t, s, right).min() > 0
    assert lagrangian_loss(Gaussian(), x, t, s, right).max() < 1e-20


def test_the_target_is_linear_in_the_pair_s_velocity():
    """So pairs at one x_t may be mixed before or after: no bias, for any network."""
    model = MeanVelocity(fresh_network())
    x, (t, s) = states("linear").float(), [time.float() for time in times("linear")]
    v, w = states("one").float(), states("other").float()
    target = lambda v: meanflow_target(v, mean_and_rate(model, x, v, t, s)[1], t, s)  # noqa: E731
    mixed = target(0.3 * v + 0.7 * w)
    assert torch.allclose(mixed, 0.3 * target(v) + 0.7 * target(w), atol=1e-5)
    assert not torch.allclose(mixed, target(v), atol=1e-2)


def test_the_rate_is_that_of_finite_differences():
    model = MeanVelocity(fresh_network().double())
    x, (t, s), v, h = states("rate"), times("rate"), states("along"), 1e-5
    u, rate = mean_and_rate(model, x, v, t, s)
    central = (model.mean(x + h * v, t + h, s) - model.mean(x - h * v, t - h, s)) / (2 * h)
    assert torch.allclose(u, model.mean(x, t, s)) and torch.allclose(rate, central, atol=1e-7)


def test_no_gradient_flows_through_the_target():
    """The loss has the gradient of a regression to a fixed target."""
    net = fresh_network()
    x, (t, s), v = states("sg").float(), [time.float() for time in times("sg")], states("v").float()
    meanflow_loss(MeanVelocity(net), x, v, t, s).sum().backward()
    got = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    u, rate = mean_and_rate(MeanVelocity(net), x, v, t, s)
    fixed = torch.tensor((v - (t - s)[:, None] * rate).tolist())
    (u - fixed).square().mean(1).sum().backward()
    assert all(torch.allclose(g, p.grad, atol=1e-5) for g, p in zip(got, net.parameters()))


def fresh_network():
    """A small network whose last layers are not 0, so that it depends on both times."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed_of("network"))
        net = TwoTimeMLP((2,), n_classes=3, width=16, blocks=2)
        for layer in (net.conditioning.scale[2], *(block.second for block in net.blocks)):
            torch.nn.init.normal_(layer.weight, std=0.3)
    return net


# --- times ------------------------------------------------------------------------------------------------


def test_pairs_of_times_are_ordered_and_reach_both_ends():
    t, s = draw_pairs(4000, torch.Generator().manual_seed(seed_of("pairs")))
    assert ((0 <= s) & (s <= t) & (t <= 1)).all() and t.max() > 0.98 and s.min() < 0.02
    assert not torch.equal(t, s)


def test_dyadic_steps_have_the_lengths_of_powers_of_two_and_stand_on_multiples():
    t, s = draw_dyadic(4000, torch.Generator().manual_seed(seed_of("dyadic")), finest=16)
    length = t - s
    assert set(length.tolist()) == {1.0, 0.5, 0.25, 0.125}
    assert ((t / length) % 1 == 0).all() and t.max() == 1 and s.min() == 0
    share = torch.stack([(length == size).float().mean() for size in (1, 1 / 2, 1 / 4, 1 / 8)])
    assert (share - 0.25).abs().max() < 5 * math.sqrt(3 / 16 / 4000)


# --- the model and the sampler ----------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [[0.9, 0.1], [0.9, 0.6, 0.1], [0.9, 0.85, 0.8, 0.1]], ids=len)
def test_an_exact_map_is_exact_in_any_number_of_jumps(grid):
    x = states("jumps", len(grid))
    run = sample(flow_map, ExactFlowMap(RING), x, grid)
    assert torch.allclose(run.x, reference(RING, x, 0.9, 0.1), atol=1e-10)


@pytest.mark.parametrize("schedule", [Flow(), VP(), EDM()], ids=lambda s: type(s).__name__)
def test_without_a_map_it_is_ddim(schedule):
    model = Mixture.ring(8).model(schedule)
    grid = torch.linspace(schedule.start, schedule.end, 5)
    x = schedule.sigma(schedule.start) * states("ddim")
    ours, theirs = (sample(sampler, model, x, grid) for sampler in (flow_map, ddim))
    assert ours.nfe == theirs.nfe == 4 and torch.allclose(ours.x, theirs.x)


def test_a_jump_from_pure_noise_counts_one_call():
    model, noise = Gaussian(), states("noise alone")
    run = sample(flow_map, model, noise, [1.0, 0.0])
    assert run.nfe == 1
    assert torch.allclose(run.x, CENTRE + STD * noise)


def test_its_views_are_those_of_the_velocity():
    exact = Mixture([1.0], [[CENTRE, CENTRE]], [STD]).model(Flow())
    x = states("views")
    for view in ("eps", "x0", "score", "v", "flow"):
        assert torch.allclose(getattr(Gaussian(), view)(x, 0.6), getattr(exact, view)(x, 0.6), atol=1e-12)


def test_its_edge_is_the_consistency_function():
    """With s = 0 a flow map serves where a consistency function does."""
    edge = FlowMap(ExactFlowMap(RING))
    x = states("consistency")
    jump = sample(consistency, edge, x, [0.9, Flow().end]).x
    assert torch.allclose(jump, reference(RING, x, 0.9, Flow().end), atol=1e-10)


def test_a_fresh_network_takes_the_velocity_for_the_mean():
    net = TwoTimeMLP((2,), width=16, blocks=2)
    model, x = MeanVelocity(net), states("fresh").float()
    assert torch.equal(model.mean(x, 0.8, 0.1), model.mean(x, 0.8, 0.8))


def test_labels_are_cut_with_the_batch_and_calls_are_shared():
    net = fresh_network()
    model, x = MeanVelocity(net), states("labels").float()
    labelled = model.with_label(torch.tensor([0, 1, 2, 0, 1, 2]))
    whole = sample(flow_map, labelled, x, [1.0, 0.5, 0.0]).x
    assert torch.equal(whole, sample(flow_map, labelled, x, [1.0, 0.5, 0.0], batch_size=6).x)
    assert torch.allclose(whole, sample(flow_map, labelled, x, [1.0, 0.5, 0.0], batch_size=4).x, atol=1e-6)
    assert not torch.allclose(whole, sample(flow_map, model, x, [1.0, 0.5, 0.0]).x)
    assert model.nfe == 2 * (1 + 1 + 2 + 1)


# --- training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_training_learns_more_than_the_velocity(loss):
    """One call of the velocity ends at the data's mean, with deviation 0: flow matching alone, `share` 1,
    knows no more.  With each loss the deviation grows towards the data's; it passes a quarter of it in 300
    steps."""
    data = CENTRE + STD * states("data", n=2000, dim=1).float()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed_of("fit", loss))
        net = TwoTimeMLP((1,), width=32, blocks=2)
    run = train(net, data, loss=loss, steps=300, batch=128, lr=5e-3, seed=seed_of(loss))
    made = sample(flow_map, MeanVelocity(run.net), states("fresh", n=2000, dim=1).float(), [1.0, 0.0]).x
    assert abs(float(made.mean()) - CENTRE) < 0.2 and STD / 4 < float(made.std()) < 1.5 * STD


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(loss="mean"), "loss must be one of"),
        (dict(share=1.5), r"share must lie in \[0, 1\]"),
        (dict(tangent="data"), "tangent must be"),
        (dict(tangent="model", loss="shortcut"), "tangent='model' is for"),
        (dict(teacher=Mixture.ring(8).model(VP())), "teacher must be a model on Flow"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        train(TwoTimeMLP((2,), width=8, blocks=2), torch.zeros(10, 2), steps=1, **options)


def test_a_network_of_one_time_is_refused_by_its_own_error():
    with pytest.raises(ValueError, match="a network is called as"):
        MeanVelocity("net")
    assert isinstance(Network(lambda x, c: x, Flow(), "flow").flow(states("n"), 0.5), torch.Tensor)
