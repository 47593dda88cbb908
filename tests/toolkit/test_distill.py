"""Distillation: each method against a closed form, an exact teacher or a property that it must have."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from toolkit import EDM, VP, Flow, Guided, Mixture, Network, SubVP, grids, initial_noise, sample
from toolkit.convergence import exact_variance
from toolkit.ddim import ddim
from toolkit.distill import (
    ConsistencyModel,
    Critic,
    FlowMap,
    at_scale,
    boundary_coefficients,
    consistency,
    critic_loss,
    ddim_step,
    distill_adversarially,
    distill_guidance,
    distill_progressively,
    doubling_levels,
    draw_intervals,
    guided_paths,
    guided_x0,
    heun_target,
    late_times,
    pseudo_huber,
    reflow,
    regress_on_pairs,
    train_consistency,
    two_step_target,
    weight,
    x0_that_leads,
)
from toolkit.mixtures import GaussianFlow, QuantileFlow
from toolkit.models import Model
from toolkit.networks import DigitsMLP, ScaledMLP, ToyMLP
from toolkit.noise import Replay
from toolkit.ode import edm_heun
from toolkit.training import batches, draw_times, fit, loss

pytestmark = pytest.mark.slow

SCHEDULES = [VP(), EDM(), Flow(), SubVP()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
PAIR = Mixture([0.3, 0.7], [[-0.8], [0.6]], [0.2, 0.15])  # in one dimension the flow map is known


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def three_times(schedule, n, seed):
    """t > middle > s of each sample, anywhere on the schedule: (n,) float64."""
    u = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u = u.sort(descending=True).values.clamp(0.02, 0.98)
    return (schedule.end + (schedule.start - schedule.end) * u + torch.tensor([2e-3, 1e-3, 0.0])).unbind(1)


def small(shape=(2,), seed=0, width=32, blocks=2, **options):
    torch.manual_seed(seed)
    return ToyMLP(shape, width=width, blocks=blocks, **options)


def same_weights(a, b):
    return all(torch.equal(a.state_dict()[key], value) for key, value in b.state_dict().items())


def rmse(a, b):
    return float((a.double() - b.double()).square().mean().sqrt())


# --- progressive distillation: the target ---------------------------------------------------------------


@by_schedule
def test_one_step_with_the_target_is_two_steps_of_the_teacher(schedule, seed):
    teacher = Mixture.ring(5, std=0.2).model(schedule)
    t, middle, s = three_times(schedule, 64, seed)
    x = initial_noise(64, 2, seed, dtype=torch.float64) * schedule.sigma(t)[:, None]
    target = two_step_target(teacher, x, t, middle, s)
    assert teacher.nfe == 2
    student = Network(lambda x, c: target, schedule, predicts="x0")
    twice = ddim_step(teacher, ddim_step(teacher, x, t, middle), middle, s)
    size = x.abs().max()
    torch.testing.assert_close(ddim_step(student, x, t, s) / size, twice / size, rtol=0, atol=1e-12)


@by_schedule
@pytest.mark.parametrize("steps", [1, 3])
def test_one_step_with_heuns_target_ends_where_heun_does(schedule, steps, seed):
    """Against Heun's method for dy/dk = eps in y = x / alpha, k = sigma / alpha, written out sample by
    sample."""
    teacher = Mixture.ring(5, std=0.2).model(schedule)
    t, _, s = three_times(schedule, 12, seed)
    times = [t + (s - t) * k / steps for k in range(steps + 1)]
    x = initial_noise(12, 2, seed, dtype=torch.float64) * schedule.sigma(t)[:, None]
    target = heun_target(teacher, x, times)
    assert teacher.nfe == 2 * steps
    student = Network(lambda x, c: target, schedule, predicts="x0")
    got, size = ddim_step(student, x, t, s), x.abs().max()
    for i in range(12):
        y = x[i : i + 1]
        for here, there in zip(times, times[1:]):
            a, b = float(here[i]), float(there[i])
            gap = schedule.sigma(b) / schedule.alpha(b) - schedule.sigma(a) / schedule.alpha(a)
            slope = teacher.eps(y, a)
            euler = schedule.alpha(b) * (y / schedule.alpha(a) + gap * slope)
            mean = (slope + teacher.eps(euler, b)) / 2
            y = schedule.alpha(b) * (y / schedule.alpha(a) + gap * mean)
        torch.testing.assert_close(got[i : i + 1] / size, y / size, rtol=0, atol=1e-11)


@by_schedule
def test_x0_that_leads_inverts_a_ddim_step(schedule):
    model = Mixture.ring(3, std=0.3).model(schedule)
    for seed in range(3):
        t, _, s = three_times(schedule, 50, seed)
        x = initial_noise(50, 2, seed, dtype=torch.float64) * schedule.sigma(t)[:, None]
        found = x0_that_leads(schedule, x, t, ddim_step(model, x, t, s), s)
        # alpha_s - r alpha_t, by which it divides, loses digits where s is close to t
        alpha, sigma, alpha_s, sigma_s = (f(u) for u in (t, s) for f in (schedule.alpha, schedule.sigma))
        lost = sigma / (alpha_s * sigma - alpha * sigma_s)
        error = (found - model.x0(x, t)).abs().amax(1) / (1 + lost.abs() * x.abs().amax(1))
        assert error.max() < 1e-13
    # and with numbers for times
    y = ddim_step(model, x, 0.5, 0.2)
    torch.testing.assert_close(
        x0_that_leads(schedule, x, 0.5, y, 0.2), model.x0(x, 0.5), rtol=1e-11, atol=1e-11
    )


@by_schedule
def test_a_ddim_step_is_the_samplers(schedule):
    model = Mixture.ring(8).model(schedule)
    for t, s in ((0.9, 0.4), (0.5, 0.01)):
        x = initial_noise(20, 2, 3, dtype=torch.float64)
        times = [torch.full((20,), u, dtype=torch.float64) for u in (t, s)]
        torch.testing.assert_close(
            ddim_step(model, x, *times), sample(ddim, model, x, [t, s]).x, rtol=1e-12, atol=1e-13
        )


class Follows(Model):
    """The student that minimises the loss of progressive distillation: at each time of its grid it predicts
    the two-step target.
    """

    def __init__(self, teacher, times):
        self.teacher, self.schedule, self._calls = teacher, teacher.schedule, [0]
        self.steps = {round(t, 12): rest for t, *rest in zip(times[:-2:2], times[1:-1:2], times[2::2])}

    def _view(self, want, x, t):
        target = two_step_target(self.teacher, x, t, *self.steps[round(float(t), 12)])
        schedule = self.schedule
        return target if want == "x0" else (x - schedule.alpha(t) * target) / schedule.sigma(t)


@by_schedule
@pytest.mark.parametrize("grid", ["uniform", "karras"])
def test_eight_steps_of_the_student_are_sixteen_of_the_teacher(schedule, grid):
    """ids E8, BT23, C29: with the two-step target, not with the teacher's own prediction as the target."""
    teacher = Mixture.gaussian(3, 0.5).model(schedule)
    fine = grids.GRIDS[grid](schedule, 16)
    x = initial_noise(10, 3, 1, dtype=torch.float64) * schedule.sigma(schedule.start)
    want = sample(ddim, teacher, x, fine).x
    coarse = fine[::2]
    torch.testing.assert_close(coarse, grids.GRIDS[grid](schedule, 8), rtol=1e-9, atol=1e-12)
    got = sample(ddim, Follows(teacher, fine.tolist()), x, coarse).x
    assert (got - want).abs().max() < 1e-12

    # the literal loss |f(x_t, t) - teacher(x_t, t)|^2: for Gaussian data its minimiser is a gain, which least
    # squares finds to be the teacher's, so its 8 steps are the teacher's 8 steps
    def literal(x, c):
        y = initial_noise(500, 3, 7, dtype=torch.float64)
        t = float(c[0])
        return x * float((y * teacher.x0(y, t)).sum() / y.square().sum())

    plain = sample(ddim, teacher, x, coarse).x
    got = sample(ddim, Network(literal, schedule, "x0"), x, coarse).x
    assert (got - plain).abs().max() < 1e-12
    assert (plain - want).abs().max() > 1e-2


def test_the_numbers_of_the_eight_step_student():
    """VP, uniform grid, N(0, 0.5^2): .3464 for plain DDIM-8 against .4185 for the student."""
    stds = [math.sqrt(exact_variance(ddim, VP(), grids.uniform(VP(), n))) for n in (8, 16)]
    assert stds == pytest.approx([0.3464, 0.4185], abs=1e-4)


# --- the boundary ---------------------------------------------------------------------------------------


def test_boundary_coefficients_are_the_papers():
    for sigma_data in (0.3, 0.5, 1.0):
        level = torch.logspace(-2, 2, 50, dtype=torch.float64)
        for end in (0.002, 0.0):
            skip, out = boundary_coefficients(level, end, sigma_data)
            # Song et al. 2023, app. C, as printed
            assert torch.allclose(skip, sigma_data**2 / ((level - end) ** 2 + sigma_data**2), rtol=1e-14)
            assert torch.allclose(
                out, sigma_data * (level - end) / torch.sqrt(sigma_data**2 + level**2), rtol=1e-14
            )
            assert boundary_coefficients(end, end, sigma_data) == (1.0, 0.0)
        # at end = 0 they are those of Karras et al. 2022, table 1
        assert torch.allclose(skip, sigma_data**2 / (level**2 + sigma_data**2), rtol=1e-14)
        assert torch.allclose(out, level * sigma_data / (level**2 + sigma_data**2) ** 0.5, rtol=1e-14)


@by_schedule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_the_end_a_consistency_model_returns_its_input(schedule, dtype, seed):
    network = small(seed=seed).to(dtype)
    loud = ConsistencyModel(lambda x, c: 100 * network(x, c), schedule)
    x = initial_noise(64, 2, seed, dtype=dtype)
    end = schedule.end
    want = x / schedule.alpha(end)
    tolerance = {"rtol": 2 * torch.finfo(dtype).eps, "atol": 1e-2 * torch.finfo(dtype).eps}
    for t in (end, torch.full((64,), end, dtype=torch.float64)):
        torch.testing.assert_close(loud.x0(x, t), want, **tolerance)
        if isinstance(schedule, EDM):
            assert torch.equal(loud.x0(x, t), want)
    # an `end` of one's own
    own = ConsistencyModel(network, schedule, end=0.3)
    torch.testing.assert_close(own.x0(x, 0.3), x / schedule.alpha(0.3), **tolerance)
    assert not torch.allclose(own.x0(x, end), want, rtol=1e-3)


@by_schedule
def test_at_the_boundary_nothing_of_the_network_remains(schedule):
    """With times as numbers to the last bit."""
    x = initial_noise(64, 2, 5)
    answers = [
        ConsistencyModel(lambda x, c, k=k: torch.full_like(x, k), schedule).x0(x, schedule.end)
        for k in (0.0, -3.0, 1e6)
    ]
    assert all(torch.equal(answers[0], other) for other in answers)


@by_schedule
def test_views_of_a_consistency_model_agree(schedule):
    network = small().double()
    model = ConsistencyModel(network, schedule, sigma_data=0.7)
    x = initial_noise(40, 2, 2, dtype=torch.float64)
    vector = torch.linspace(0.1, 0.9, 40, dtype=torch.float64)
    for t in (0.4, vector):
        times = torch.as_tensor(t, dtype=torch.float64).reshape(-1, 1)
        alpha, sigma = schedule.alpha(times), schedule.sigma(times)
        x0, eps = model.x0(x, t), model.eps(x, t)
        torch.testing.assert_close(alpha * x0 + sigma * eps, x, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(model.score(x, t), -eps / sigma, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(model.v(x, t), alpha * eps - sigma * x0, rtol=1e-11, atol=1e-11)
        # against the formula, written out
        level, floor = sigma / alpha, schedule.sigma(schedule.end) / schedule.alpha(schedule.end)
        skip, out = boundary_coefficients(level, floor, 0.7)
        raw = network(x / alpha / (level**2 + 0.49).sqrt(), (level.log() / 4)[:, 0].expand(40))
        torch.testing.assert_close(x0, skip * x / alpha + out * raw, rtol=1e-9, atol=1e-9)
    each = torch.stack([model.x0(x[i : i + 1], float(vector[i]))[0] for i in range(40)])
    torch.testing.assert_close(model.x0(x, vector), each, rtol=1e-10, atol=1e-10)


def test_with_network_changes_the_network_and_nothing_else():
    first, second = small(n_classes=3, seed=0), small(n_classes=3, seed=1)
    model = ConsistencyModel(first, VP(), label=2, sigma_data=0.8, end=0.05)
    x = initial_noise(6, 2)
    before = model.x0(x, 0.5)
    other = model.with_network(second)
    assert isinstance(other, ConsistencyModel)
    assert (other.label, other.end, other.sigma_data) == (2, 0.05, 0.8)
    want = ConsistencyModel(second, VP(), label=2, sigma_data=0.8, end=0.05).x0(x, 0.5)
    assert torch.equal(other.x0(x, 0.5), want) and torch.equal(model.x0(x, 0.5), before)
    assert model.nfe == other.nfe == 3  # counted together
    torch.testing.assert_close(other.x0(x, 0.05), x / VP().alpha(0.05))


# --- sampling in jumps ----------------------------------------------------------------------------------


def last(states):
    return list(states)[-1][1]


@by_schedule
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("std", [0.5, 1.3])
def test_jumps_of_the_perfect_student_have_the_exact_variance(schedule, steps, std):
    """Linear in its start and its noises, so one run on basis vectors gives every gain."""
    times = grids.karras(schedule, steps).tolist()
    flow = FlowMap(GaussianFlow(schedule, std=std))
    basis = torch.eye(steps + 1, dtype=torch.float64)
    start = math.hypot(schedule.alpha(times[0]) * std, schedule.sigma(times[0]))
    x = last(consistency(flow, start * basis[:1], times, rng=Replay(basis[1:, None, :])))
    end = schedule.alpha(times[-1]) ** 2 * std**2 + schedule.sigma(times[-1]) ** 2
    assert float(x.square().sum()) == pytest.approx(end, rel=1e-12)
    assert flow.nfe == steps


@pytest.mark.parametrize("schedule", [EDM(), VP()], ids=["EDM", "VP"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_distribution_does_not_depend_on_the_number_of_jumps(schedule, steps, seed):
    n, flow = 4000, QuantileFlow(schedule, PAIR)
    alpha, sigma = schedule.alpha(schedule.start), schedule.sigma(schedule.start)
    noise = initial_noise(n, 1, seed, dtype=torch.float64) * sigma + alpha * PAIR.sample(n, seed)
    run = sample(consistency, FlowMap(flow), noise, grids.karras(schedule, steps), draws=seed)
    assert run.nfe == steps
    weights, means = PAIR.weights.numpy(), schedule.alpha(schedule.end) * PAIR.means[:, 0].numpy()
    spread = np.hypot(schedule.alpha(schedule.end) * PAIR.stds.numpy(), schedule.sigma(schedule.end))

    def cdf(x):
        return (weights * stats.norm.cdf((x[:, None] - means) / spread)).sum(1)

    assert stats.kstest(run.x[:, 0].numpy(), cdf).pvalue > 1e-3


@pytest.mark.parametrize("schedule", [EDM(), VP()], ids=["EDM", "VP"])
def test_one_jump_of_a_denoiser_gives_the_mean(schedule):
    mean = float((PAIR.weights * PAIR.means[:, 0]).sum())
    for seed in range(3):
        noise = initial_noise(2000, 1, seed, dtype=torch.float64) * schedule.sigma(schedule.start)
        ends = [schedule.start, schedule.end]
        x = sample(consistency, PAIR.model(schedule), noise, ends).x
        assert x.std() < 0.02 and x.mean() == pytest.approx(mean, abs=0.02)
        assert sample(consistency, FlowMap(QuantileFlow(schedule, PAIR)), noise, ends).x.std() > 0.5


def test_one_jump_is_x0_at_the_start_and_needs_no_noise():
    for schedule in SCHEDULES:
        model = ConsistencyModel(small(), schedule)
        x = initial_noise(5, 2)
        runs = [sample(consistency, model, x, [schedule.start, schedule.end], draws=s).x for s in (0, 1)]
        assert torch.equal(*runs)
        torch.testing.assert_close(runs[0], schedule.alpha(schedule.end) * model.x0(x, schedule.start))


def test_flow_map_views_agree_and_calls_are_counted():
    model = FlowMap(QuantileFlow(VP(), PAIR), end=0.01)
    x = initial_noise(30, 1, 1, dtype=torch.float64)
    x0, eps = model.x0(x, 0.6), model.eps(x, 0.6)
    torch.testing.assert_close(VP().alpha(0.6) * x0 + VP().sigma(0.6) * eps, x)
    torch.testing.assert_close(model.x0(x, 0.01), x / VP().alpha(0.01), rtol=1e-10, atol=1e-10)
    assert model.nfe == 3


# --- weights and metrics --------------------------------------------------------------------------------


def test_weights():
    level = torch.logspace(-3, 2, 40, dtype=torch.float64)
    for d in (0.5, 1.0, 2.0):
        snr = level**-2
        torch.testing.assert_close(weight("uniform", level, d), torch.full_like(level, d**-2))
        torch.testing.assert_close(weight("snr", level, d), snr)
        torch.testing.assert_close(weight("truncated snr", level, d), torch.maximum(snr, torch.tensor(d**-2)))
        # lambda(sigma) of Karras et al. 2022, table 1
        edm = (level**2 + d**2) / (level * d) ** 2
        torch.testing.assert_close(weight("snr+1", level, d), edm)
        # under it the raw network's error counts alike at all levels: lambda c_out^2 = 1
        out = boundary_coefficients(level, 0.0, d)[1]
        torch.testing.assert_close(weight("snr+1", level, d) * out**2, torch.ones_like(level))
    # for d = 1: SNR + 1 and max(SNR, 1) (Salimans & Ho 2022, sec. 4)
    torch.testing.assert_close(weight("snr+1", level, 1.0), snr + 1)
    torch.testing.assert_close(weight("truncated snr", level, 1.0), snr.clamp(min=1))
    with pytest.raises(ValueError, match="for consistency, '1/gap'; got '1/gap'"):
        weight("1/gap", torch.ones(3))  # needs the neighbouring level
    with pytest.raises(ValueError, match="weighting must be 'uniform'.*'karras'"):
        weight("karras", level)


def test_pseudo_huber_is_a_parabola_then_a_length():
    error = torch.randn(30, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    length = error.flatten(1).norm(dim=1)
    torch.testing.assert_close(pseudo_huber(error, 1.0), (length**2 + 1).sqrt() - 1)
    torch.testing.assert_close(pseudo_huber(1e-4 * error, 0.5), 1e-8 * length**2 / 1.0, rtol=1e-6, atol=1e-15)
    torch.testing.assert_close(pseudo_huber(1e6 * error, 0.5), 1e6 * length - 0.5, rtol=1e-9, atol=0)
    assert pseudo_huber(torch.zeros(4, 2), 0.1).tolist() == [0.0] * 4


# --- the schedule of consistency training ---------------------------------------------------------------


@pytest.mark.parametrize("first, last", [(10, 1280), (2, 16), (10, 160), (3, 3), (1, 2)])
@pytest.mark.parametrize("steps", [800, 100, 37])
def test_levels_double_at_equal_times(first, last, steps):
    """min(s0 2^floor(k / K'), s1) intervals, K' = K / (log2(s1 / s0) + 1) (Song & Dhariwal 2024, sec. 3.4,
    whose N counts their ends, one more).  Our stages are equal to a step, theirs to a rounding of K'.
    """
    seen = [doubling_levels(k, steps, first, last) for k in range(steps)]
    stages = int(math.log2(last / first)) + 1
    assert seen == [min(first * 2 ** math.floor(k * stages / steps), last) for k in range(steps)]
    if steps % stages == 0:
        length = steps // stages  # their floor does nothing
        assert seen == [min(first * 2 ** (k // length), last) for k in range(steps)]
    assert seen[0] == first and seen[-1] == last
    lengths = [seen.count(n) for n in sorted(set(seen))]
    assert len(lengths) == stages and max(lengths) - min(lengths) <= 1


def test_levels_that_are_no_power_of_two_apart_end_at_the_last():
    seen = [doubling_levels(k, 90, 10, 50) for k in range(90)]
    assert sorted(set(seen)) == [10, 20, 40, 50] and seen == sorted(seen)
    assert seen[-1] == 50 and doubling_levels(0, 1, 10, 10) == 10


@pytest.mark.parametrize("schedule", [EDM(), VP()], ids=["EDM", "VP"])
@pytest.mark.parametrize("mean, std", [(-1.1, 2.0), (0.5, 1.0)])
def test_intervals_come_with_the_stated_probabilities(schedule, mean, std):
    times, n = grids.karras(schedule, 12), 40_000
    levels = np.array([schedule.sigma(t) / schedule.alpha(t) for t in times.tolist()])
    root = math.sqrt(2) * std
    area = np.array([math.erf((math.log(level) - mean) / root) for level in levels])
    share = area[:-1] - area[1:]
    share /= share.sum()
    for seed in range(3):
        drawn = draw_intervals(times, schedule, n, torch.Generator().manual_seed(seed), mean, std)
        assert drawn.shape == (n,) and drawn.dtype == torch.int64
        frequency = np.bincount(drawn.numpy(), minlength=12) / n
        assert (np.abs(frequency - share) < 4.5 * np.sqrt(share * (1 - share) / n) + 1 / n).all()


# --- consistency training in closed form ----------------------------------------------------------------


class Gains(nn.Module):
    """A raw network with one number for each noise level: F = p_i x."""

    def __init__(self, schedule, times):
        super().__init__()
        self.register_buffer("c", -schedule.lam(times).float() / 4)
        self.p = nn.Parameter(torch.zeros(len(times)))

    def forward(self, x, c, label=None):
        return self.p[(c[:, None] - self.c).abs().argmin(1)].reshape(-1, *[1] * (x.ndim - 1)) * x


def gains(model, times):
    """How much the student multiplies x / alpha by, at each of these times."""
    one = torch.ones(1, 1, dtype=torch.float64)
    model = model.with_network(copy.deepcopy(model.network).double())
    with torch.no_grad():
        return torch.cat([model.x0(model.schedule.alpha(t) * one, t)[:, 0] for t in times.tolist()]).numpy()


def gaussian_data(d, seed=0, n=4000, size=16):
    """n samples in `size` dimensions whose elements together have mean 0 and deviation d exactly."""
    x = torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (d * (x - x.mean()) / x.std(unbiased=False)).float()


def moments(schedule, times, d, shared=True):
    """Var(x_n), Cov(x_n, x_n+1) of x / alpha, n from the data on."""
    s = np.array([schedule.sigma(t) / schedule.alpha(t) for t in times.tolist()])[::-1]
    return d**2 + s**2, d**2 + (s[:-1] * s[1:] if shared else 0 * s[1:])


def recursion(variances, covariances):
    a = [1.0]
    for covariance, variance in zip(covariances, variances[1:]):
        a.append(a[-1] * covariance / variance)
    return np.array(a)


def trained_gains(schedule, levels, d, seed=0, steps=500, **options):
    times = grids.karras(schedule, levels)
    student = ConsistencyModel(Gains(schedule, times), schedule)
    run = train_consistency(
        student,
        gaussian_data(d),
        steps=steps,
        levels=(levels, levels),
        log_level=(0.0, 3.0),
        lr=0.05,
        warmup=10,
        ema=0.95,
        seed=seed,
        **options,
    )
    return gains(student.with_network(run.net), times)[::-1], times


@pytest.mark.parametrize("points, want", [(5, 0.328), (20, 0.457), (80, 0.490), (160, 0.495)])
def test_the_bias_of_consistency_training_falls_with_the_number_of_levels(points, want):
    """ids BT25, E11, C30: the one-step deviation of the minimiser on that many noise levels, geometric from
    .02 to 20, against the flow map's sqrt(.5^2 + .02^2) = .5004.
    """
    times = grids.uniform_lambda(EDM(), points - 1, start=20.0, end=0.02)
    variances, covariances = moments(EDM(), times, 0.5)
    assert recursion(variances, covariances)[-1] * variances[-1] ** 0.5 == pytest.approx(want, abs=6e-4)
    if points == 160:
        variances, covariances = moments(EDM(), times, 0.5, shared=False)
        assert 1e-145 < recursion(variances, covariances)[-1] * variances[-1] ** 0.5 < 1e-144


@pytest.mark.parametrize("grid", ["karras", "uniform_lambda"])
def test_that_bias_is_of_first_order(grid):
    """id C30: twice the levels, half the bias, towards the flow map's deviation."""
    bias = []
    for levels in (160, 320, 640):
        variances, covariances = moments(EDM(), grids.GRIDS[grid](EDM(), levels), 0.5)
        ours = recursion(variances, covariances)[-1] * variances[-1] ** 0.5
        bias.append(math.hypot(0.5, EDM().end) - ours)
    assert bias[0] / bias[1] == pytest.approx(2, abs=0.05) and bias[1] / bias[2] == pytest.approx(2, abs=0.03)


@pytest.mark.parametrize("schedule", [EDM(), VP()], ids=["EDM", "VP"])
@pytest.mark.parametrize("levels", [5, 8])
def test_consistency_training_reaches_its_minimiser(schedule, levels, seed):
    got, times = trained_gains(schedule, levels, 0.5, seed)
    want = recursion(*moments(schedule, times, 0.5))
    np.testing.assert_allclose(got, want, rtol=0.04)
    assert got[0] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("option", [{"metric": "huber"}, {"weighting": "1/gap"}, {"target": "average"}])
def test_the_minimiser_stays_with_other_weights_and_with_an_average(option):
    """With one number for each level weights do not matter; for Gaussian errors nor does the metric."""
    got, times = trained_gains(EDM(), 4, 0.5, **option)
    np.testing.assert_allclose(got, recursion(*moments(EDM(), times, 0.5)), rtol=0.05)


def test_noise_drawn_anew_collapses(seed):
    got, times = trained_gains(EDM(), 5, 0.5, seed, shared_noise=False)
    want = recursion(*moments(EDM(), times, 0.5, shared=False))
    deviations = np.sqrt(0.25 + np.array([float(EDM().sigma(t)) for t in times.tolist()[::-1]]) ** 2)
    np.testing.assert_allclose(got * deviations, want * deviations, atol=0.01)
    assert want[-1] * deviations[-1] < 1e-3


def test_a_gradient_through_the_target_moves_the_minimiser(seed):
    """The loss sum_n w_n E(a_n+1 x_n+1 - a_n x_n)^2 is then minimised in all gains at once, a_0 = 1: a linear
    system, whose solution lies closer to a constant.
    """
    levels = 4
    got, times = trained_gains(EDM(), levels, 0.5, seed, target="student", weighting="uniform", steps=800)
    variances, covariances = moments(EDM(), times, 0.5)
    edges = stats.norm.cdf(np.log(np.sqrt(variances - 0.25)) / 3.0)
    w = np.diff(edges)
    system, right = np.zeros((levels, levels)), np.zeros(levels)
    for n in range(levels):  # the term of (a_n, a_n+1); unknown k is a_k+1
        system[n, n] += w[n] * variances[n + 1]
        if n:
            system[n - 1, n - 1] += w[n] * variances[n]
            system[n, n - 1] -= w[n] * covariances[n]
            system[n - 1, n] -= w[n] * covariances[n]
        else:
            right[0] = w[0] * covariances[0]
    want = np.linalg.solve(system, right)
    stopped = recursion(variances, covariances)
    np.testing.assert_allclose(got[1:], want, rtol=0.06)
    assert (want[:-1] < 0.9 * stopped[1:-1]).any()
    assert np.abs(got - stopped).max() > 3 * np.abs(got[1:] - want).max()


def test_consistency_distillation_ends_where_its_solver_does(seed):
    """The minimiser with a teacher is the end of Heun's path on the same grid, its error included."""
    d = 0.5
    teacher = Mixture.gaussian(16, d).model(EDM())
    got, times = trained_gains(EDM(), 6, d, seed, teacher=teacher)
    s = np.array(times.tolist())
    want = [1.0]
    for t, u in zip(s[-2::-1], s[:0:-1]):  # dx/ds = s x / (d^2 + s^2)
        slope, gap = t / (d**2 + t**2), u - t
        euler = 1 + gap * slope
        want.append(want[-1] * (1 + gap / 2 * (slope + u / (d**2 + u**2) * euler)))
    np.testing.assert_allclose(got, want, rtol=0.03)


@pytest.mark.parametrize("metric", ["mse", "huber"])
@pytest.mark.parametrize("weighting", ["1/gap", "snr+1", "uniform"])
def test_the_loss_of_a_step_is_the_formula(metric, weighting, seed):
    """lambda d(f(x + t eps, t), f(x + s eps, s)), written out for EDM, with the same generator."""
    data, student = Mixture.ring(4).sample(100, seed).float(), ConsistencyModel(small(seed=seed), EDM())
    generator, times = torch.Generator().manual_seed(seed), grids.karras(EDM(), 7)
    x0, eps, _ = batches(student.network, data, batch=50)(generator)
    place = draw_intervals(times, EDM(), 50, generator)
    t, s = times[place], times[place + 1]
    with torch.no_grad():
        far, near = (student.x0(x0 + u[:, None].float() * eps, u) for u in (t, s))
    squares = (far - near).double().square()
    c = 0.00054 * math.sqrt(2)
    size = squares.mean(1) if metric == "mse" else (squares.sum(1) + c * c).sqrt() - c
    scale = {"1/gap": 1 / (t - s), "snr+1": 1 / t**2 + 4, "uniform": 0 * t + 4}[weighting]
    options = dict(levels=(7, 7), batch=50, seed=seed, metric=metric, weighting=weighting)
    run = train_consistency(student, data, steps=1, **options)
    assert float(run.losses[0]) == pytest.approx(float((scale * size).mean()), rel=1e-4)


def test_an_average_without_memory_is_the_stopped_gradient():
    for seed in (0, 1):
        runs = []
        for options in ({"target": "stop-gradient"}, {"target": "average", "decay": 0.0}):
            student = ConsistencyModel(small(seed=seed), EDM())
            data = Mixture.ring(4).sample(200, seed)
            runs.append(train_consistency(student, data, steps=30, seed=seed, batch=32, **options))
        assert same_weights(runs[0].net, runs[1].net) and torch.equal(runs[0].losses, runs[1].losses)
    student = ConsistencyModel(small(seed=seed), EDM())
    slow = train_consistency(student, data, steps=30, seed=seed, batch=32, target="average", decay=0.9)
    assert not same_weights(slow.net, runs[0].net)


# --- the methods learn ----------------------------------------------------------------------------------


def one_dimensional(seed, kind=ConsistencyModel, width=48):
    network = small((1,), seed, width=width, blocks=3)
    if kind is ConsistencyModel:
        return ConsistencyModel(network, EDM(), sigma_data=0.7)
    return Network(network, EDM(), predicts="edm", sigma_data=0.7)


def one_step(student, run, noise):
    model = student.with_network(run.net)
    return sample(consistency, model, noise, [model.schedule.start, model.schedule.end]).x


@pytest.mark.parametrize("predicts, weighting", [("x0", "truncated snr"), ("v", "snr+1")])
def test_progressive_distillation_in_the_predictions_of_its_paper(predicts, weighting, seed):
    """Students that predict x0 or v, on VP (Salimans & Ho 2022): one step near the teacher's four."""
    schedule = VP()
    teacher, data = PAIR.model(schedule), PAIR.sample(4000, seed).float()
    student = Network(small((1,), seed, width=48, blocks=3), schedule, predicts, clock="lam", sigma_data=0.7)
    grid = partial(grids.uniform, end=0.01)
    options = dict(grid=grid, weighting=weighting, seed=seed, lr=4e-3, batch=128)
    run = distill_progressively(student, teacher, data, rounds=(2, 1), steps=(200, 200), **options)[-1]
    noise = initial_noise(600, 1, 40 + seed)
    want = sample(ddim, teacher, noise, grid(schedule, 4)).x
    once = sample(ddim, teacher, noise, grid(schedule, 1)).x
    got = sample(ddim, student.with_network(run.net), noise, grid(schedule, 1)).x
    assert rmse(got, want) < 0.1 * rmse(once, want)


def test_distillation_and_regression_find_the_flow_map(seed):
    """In one dimension, beside E[x0] = the mean, which the teacher itself gives in one step."""
    flow = QuantileFlow(EDM(), PAIR)
    noise = initial_noise(3000, 1, 10 + seed) * 80
    held_out = initial_noise(500, 1, 99) * 80
    want = flow.map(held_out, 80.0, EDM().end)
    spread = float(want.std())

    student = one_dimensional(seed)
    run = train_consistency(
        student,
        PAIR.sample(4000, seed),
        steps=400,
        teacher=PAIR.model(EDM()),
        levels=(8, 32),
        seed=seed,
        lr=4e-3,
        batch=128,
    )
    assert rmse(one_step(student, run, held_out), want) < 0.3 * spread

    student = one_dimensional(seed, Network)
    samples = flow.map(noise, 80.0, EDM().end)
    run = regress_on_pairs(student, noise, samples, steps=300, seed=seed, lr=4e-3, batch=128)
    assert rmse(one_step(student, run, held_out), want) < 0.1 * spread
    denoised = sample(consistency, PAIR.model(EDM()), held_out, [80.0, EDM().end]).x
    assert rmse(denoised, want) > 0.9 * spread


def test_each_round_of_progressive_distillation_meets_its_target(seed):
    student, teacher = one_dimensional(seed, Network, 32), PAIR.model(EDM())
    data = PAIR.sample(4000, seed)
    first = copy.deepcopy(student.network)
    runs = distill_progressively(
        student, teacher, data, rounds=(4, 2, 1), steps=(250, 150, 150), seed=seed, lr=5e-3, batch=128
    )
    assert [len(run.losses) for run in runs] == [250, 150, 150]
    assert not same_weights(first, student.network)
    for run, pieces in zip(runs, (4, 2, 1)):
        model, times = student.with_network(run.net), grids.karras(EDM(), 2 * pieces)
        eps = initial_noise(400, 1, 5 + seed)
        for i in range(0, 2 * pieces, 2):
            t, middle, s = (times[i + k].expand(400) for k in range(3))
            x = data[:400].float() + float(t[0]) * eps
            with torch.no_grad():
                target, got = two_step_target(teacher, x, t, middle, s), model.x0(x, t)
            assert rmse(got, target) < 0.06 * float(PAIR.sample(4000, 0).std()), (pieces, i)
        teacher = model


def test_progressive_distillation_reaches_the_closed_form(seed):
    """With one number for each level: four steps of the student are eight of the teacher, then two are."""
    teacher, fine = Mixture.gaussian(16, 0.5).model(EDM()), grids.karras(EDM(), 8)
    student = Network(Gains(EDM(), fine), EDM(), predicts="edm")
    options = dict(rounds=(4, 2), steps=(300, 300), lr=0.05, warmup=10, ema=0.95, seed=seed)
    runs = distill_progressively(student, teacher, gaussian_data(0.5), **options)
    x = initial_noise(50, 16, seed) * 80
    want = sample(ddim, teacher, x, fine).x
    for run, steps in zip(runs, (4, 2)):
        model = student.with_network(run.net)
        got = sample(ddim, model, x, grids.karras(EDM(), steps)).x
        assert rmse(got, want) < 0.03 * float(want.std()), steps


def test_a_first_round_of_heun_steps_reaches_the_closed_form(seed):
    """With one number for each level: two steps of the student are six of Heun's, and so is its one step."""
    teacher, coarse = Mixture.gaussian(16, 0.5).model(EDM()), grids.karras(EDM(), 2)
    student = Network(Gains(EDM(), coarse), EDM(), predicts="edm")
    options = dict(rounds=(2, 1), steps=(300, 300), lr=0.05, warmup=10, ema=0.95, seed=seed)
    runs = distill_progressively(student, teacher, gaussian_data(0.5), first_heun=3, **options)
    x = initial_noise(50, 16, seed) * 80
    want = _heuns_end(teacher, x.double(), grids.karras(EDM(), 6).tolist())
    ddims = sample(ddim, teacher, x, grids.karras(EDM(), 4)).x  # where the paper's first round would lead
    for run, steps in zip(runs, (2, 1)):
        got = sample(ddim, student.with_network(run.net), x, grids.karras(EDM(), steps)).x
        assert rmse(got, want) < 0.03 * float(want.std()) < 0.2 * rmse(ddims, want), steps


def _heuns_end(model, x, times):
    """Heun's method on EDM(), a step to the end included."""
    for t, s in zip(times, times[1:]):
        slope = model.eps(x, t)
        x = x + (s - t) / 2 * (slope + model.eps(x + (s - t) * slope, s))
    return x


@pytest.mark.parametrize("first_heun", [None, 2])
def test_a_step_of_a_guided_students_round_is_the_formula(first_heun, seed):
    """|f(x_t, t, w) - the target of the teacher at the same label and scale|^2, written out for EDM with
    the same generator."""
    _, teacher = teacher_and_student(seed)
    _, student = teacher_and_student(seed + 5)
    moved(teacher, seed), moved(student, seed + 1)
    options = dict(rounds=(2,), steps=(1,), labels=LABELS, p_uncond=0.0, batch=32, seed=seed)
    more = dict(first_heun=first_heun, scales=(1.0, 4.0))
    before = copy.deepcopy(student.network)
    run = distill_progressively(student, teacher, points(), **options, **more)[0]

    generator, parts = torch.Generator().manual_seed(seed), first_heun or 2
    x0, eps, label = batches(student.network, points(), LABELS, 0.0, batch=32)(generator)
    times, place = grids.karras(EDM(), 2 * parts), parts * torch.randint(2, (32,), generator=generator)
    w = 1 + 3 * torch.rand(32, generator=generator)
    through = [times[place + k] for k in range(parts + 1)]
    x = x0 + through[0][:, None].float() * eps
    model = at_scale(teacher.with_label(label), w)
    with torch.no_grad():
        target = heun_target(model, x, through) if first_heun else two_step_target(model, x, *through)
        error = at_scale(student.with_network(before).with_label(label), w).x0(x, through[0]) - target
    want = ((1 / through[0] ** 2 + 4) * error.double().square().mean(1)).mean()
    assert float(run.losses[0]) == pytest.approx(float(want), rel=1e-4)


def test_late_times_crowd_towards_the_noise(seed):
    """Their distribution function on [end, start] is 1 - ((start - t) / (start - end))^(1 / power)."""
    n, generator = 4000, torch.Generator().manual_seed(seed)
    for schedule, power in ((Flow(), 2), (VP(), 2), (Flow(), 4)):
        t = draw_times(partial(late_times, power=power), schedule, n, generator).sort().values
        share = 1 - ((schedule.start - t) / (schedule.start - schedule.end)) ** (1 / power)
        assert (share - (torch.arange(n) + 0.5) / n).abs().max() < 2 / n


def test_reflow_asks_at_the_times_it_is_given():
    """One step's loss with late times is the formula with those times."""
    noise, data = initial_noise(64, 2), points()
    losses = {}
    for name, sampler in (("uniform", "uniform"), ("late", late_times)):
        student = Network(small(), Flow(), predicts="flow")
        losses[name] = float(reflow(student, noise, data, steps=1, batch=64, t_sampler=sampler).losses[0])
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(64, (64,), generator=generator)
        t = draw_times(sampler, Flow(), 64, generator)
        want = loss(Network(small(), Flow(), predicts="flow"), data[rows], noise[rows], t)
        assert losses[name] == pytest.approx(want.item(), rel=1e-5)
    assert losses["uniform"] != pytest.approx(losses["late"], rel=1e-3)


def test_reflow_straightens_paths(seed):
    """The paths' distance from their chords and the error of one Euler step, against a first round, which
    pairs noise and data at random.
    """
    flow, n = QuantileFlow(Flow(), PAIR), 3000
    noise = initial_noise(n, 1, 20 + seed)
    pairs = flow.map(noise, Flow().start, Flow().end)
    bends, errors = [], []
    for samples in (PAIR.sample(n, seed), pairs):
        student = Network(small((1,), seed, width=48), Flow(), predicts="flow")
        run = reflow(student, noise, samples, steps=300, lr=4e-3, seed=seed, batch=128)
        model, x = student.with_network(run.net), noise[:400]
        path = sample(ddim, model, x, grids.uniform(Flow(), 32), keep_path=True)
        share = (path.times[0] - torch.tensor(path.times)) / (path.times[0] - path.times[-1])
        chord = path.path[0] + share[:, None, None].float() * (path.path[-1] - path.path[0])
        bends.append(rmse(path.path, chord))
        errors.append(rmse(sample(ddim, model, x, [Flow().start, Flow().end]).x, path.x))
    assert bends[1] < 0.2 * bends[0]
    assert errors[1] < 0.35 * errors[0]


def on_modes(x, mixture):
    """Share of points within three deviations of a mode, and the least share of any mode."""
    distance = torch.cdist(x.double(), mixture.means)
    nearest, which = distance.min(1)
    return float((nearest < 3 * mixture.stds[0]).double().mean()), float(
        torch.bincount(which, minlength=len(mixture.means)).min() / len(x)
    )


def test_the_critic_corrects_what_the_teacher_gets_wrong(seed):
    """The teacher's samples are drawn in by a factor of .6, which regression copies; a critic that knows the
    data moves the student out again, and no mode is lost.
    """
    mixture = Mixture.ring(4, std=0.1)
    noise = initial_noise(1000, 2, seed) * 80
    pairs = 0.6 * sample(edm_heun, mixture.model(EDM()), noise, grids.karras(EDM(), 12)).x
    fresh, data = initial_noise(2000, 2, 50 + seed) * 80, mixture.sample(3000, seed)
    found = []
    for adversarial in (0.0, 1.0):
        student = Network(small((2,), seed, width=40), EDM(), predicts="edm", sigma_data=0.7)
        options = dict(adversarial=adversarial, gamma=0.1, steps=200, lr=3e-3, seed=seed, batch=128)
        run = distill_adversarially(student, noise, pairs, data, **options)
        x = one_step(student, run, fresh)
        found.append((float(x.norm(dim=1).mean()), *on_modes(x, mixture)))
    (radius, near, least), (radius_with, near_with, least_with) = found
    assert radius == pytest.approx(0.6, abs=0.04) and radius_with > radius + 0.12
    assert near_with > near + 0.08
    assert min(least, least_with) > 0.18  # each of four modes has about a quarter


# --- guidance -------------------------------------------------------------------------------------------


def teacher_and_student(seed=0, shape=(2,), n_classes=3):
    torch.manual_seed(seed)
    options = dict(shape=shape, n_classes=n_classes, width=32, blocks=2, condition=24)
    teacher, student = DigitsMLP(**options), ScaledMLP(**options)
    found = student.load_state_dict(teacher.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert all(key.startswith("conditioning.scale.") for key in found.missing_keys)
    return (Network(net, EDM(), predicts="edm") for net in (teacher, student))


def test_a_loaded_student_is_the_conditional_teacher_at_every_scale(seed):
    teacher, student = teacher_and_student(seed)
    x, label = initial_noise(7, 2, seed), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    t = torch.linspace(0.01, 70, 7, dtype=torch.float64)
    want = teacher.with_label(label).x0(x, t)
    for scale in (0.0, 1.0, 3.7, torch.linspace(-1, 5, 7)):
        assert torch.equal(at_scale(student.with_label(label), scale).x0(x, t), want)
    assert torch.equal(student.with_label(label).x0(x, t), want)  # and without at_scale


def moved(student, seed=3):
    """Weights for which the scale matters."""
    generator = torch.Generator().manual_seed(seed)
    for p in student.network.parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=generator)
    return student


def test_at_scale_takes_numbers_and_one_scale_a_sample():
    _, student = teacher_and_student()
    moved(student)
    x, label = initial_noise(9, 2), torch.arange(9) % 3
    scale = torch.linspace(0, 4, 9)
    times = grids.karras(EDM(), 4)
    model = at_scale(student.with_label(label), scale)
    run = sample(ddim, model, 80 * x, times)
    assert run.nfe == 4  # one call a step
    for i in (0, 3, 8):
        one = at_scale(student.with_label(label[i : i + 1]), float(scale[i]))
        torch.testing.assert_close(
            sample(ddim, one, 80 * x[i : i + 1], times).x[0], run.x[i], rtol=1e-4, atol=1e-4
        )
    assert not torch.allclose(at_scale(student, 0.0).x0(x, 1.0), at_scale(student, 4.0).x0(x, 1.0), atol=1e-2)
    for size in (1, 2, 4):  # the scales are cut with the batch
        split = sample(ddim, model, 80 * x, times, batch_size=size)
        torch.testing.assert_close(split.x, run.x, rtol=1e-4, atol=1e-4)
    # with_label afterwards is as with_label before
    again = at_scale(student, scale).with_label(label)
    assert torch.equal(again.x0(x, 1.0), model.x0(x, 1.0))


def test_the_table_of_classes_gives_what_each_row_does():
    """A time that is one number for the whole batch is looked up by class."""
    _, student = teacher_and_student()
    net = moved(student).network
    x, label = initial_noise(20, 2), torch.arange(20) % 4
    one = torch.full((1,), 0.3)
    for scale in (0.0, 2.5, torch.tensor(2.5)):
        table = net(x, one.expand(20), label, scale=scale)
        torch.testing.assert_close(table, net(x, one.repeat(20), label, scale=scale), rtol=1e-5, atol=1e-6)
        each = torch.full((20,), float(scale))
        torch.testing.assert_close(table, net(x, one.repeat(20), label, scale=each), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(table, net(x, one.expand(20), label, scale=each), rtol=1e-5, atol=1e-6)


def test_guided_x0_is_that_of_guided(seed):
    mixture = Mixture([0.5, 0.3, 0.2], [[1.0, 0], [0, 1.0], [-1.0, 0]], [0.2, 0.3, 0.4])
    for schedule in SCHEDULES:
        teacher = mixture.model(schedule)
        x, label = initial_noise(12, 2, seed, dtype=torch.float64), torch.arange(12) % 3
        t = torch.linspace(0.2, 0.8, 12, dtype=torch.float64)
        for scale in (0.0, 1.0, 2.5):
            want = Guided(teacher, label, scale).x0(x, t)
            before = teacher.nfe
            torch.testing.assert_close(guided_x0(teacher, x, t, label, scale), want)
            assert teacher.nfe - before == 2
        scales = torch.linspace(0, 3, 12, dtype=torch.float64)
        alone = [slice(i, i + 1) for i in range(12)]
        each = [Guided(teacher, label[i], float(scales[i])).x0(x[i], t[i]) for i in alone]
        torch.testing.assert_close(guided_x0(teacher, x, t, label, scales), torch.cat(each))


def test_guidance_distillation_comes_close_for_a_range_of_scales(seed):
    mixture = Mixture([0.4, 0.3, 0.3], [[1.0, 0], [-0.5, 0.8], [-0.5, -0.8]], [0.3, 0.3, 0.3])
    teacher = mixture.model(EDM())
    label = torch.arange(1500) % 3
    data = mixture.means[label].float() + 0.3 * initial_noise(1500, 2, seed)
    _, student = teacher_and_student(seed)
    options = dict(scales=(0.0, 4.0), steps=400, seed=seed, lr=4e-3, batch=192)
    run = distill_guidance(student, teacher, data, label, **options)
    fresh = data[:600] + 0.7 * initial_noise(600, 2, 30 + seed)
    _, untrained = teacher_and_student(seed)
    for scale in (0.0, 1.0, 2.0, 4.0):
        want = Guided(teacher, label[:600], scale).x0(fresh, 0.7)
        with torch.no_grad():
            got, before = (
                at_scale(m.with_label(label[:600]), scale).x0(fresh, 0.7)
                for m in (student.with_network(run.net), untrained)
            )
        assert rmse(got, want) < 0.6 * rmse(before, want), scale
    assert run.losses[-50:].mean() < 0.05 * run.losses[:10].mean()


@by_schedule
def test_guided_paths_are_those_of_ddim_with_guidance(schedule, seed):
    mixture = Mixture([0.5, 0.3, 0.2], [[1.0, 0], [0, 1.0], [-1.0, 0]], [0.2, 0.3, 0.4])
    teacher, label = mixture.model(schedule), torch.arange(6) % 3
    noise = initial_noise(6, 2, seed, dtype=torch.float64) * schedule.sigma(schedule.start)
    times, scales = grids.karras(schedule, 5), torch.linspace(0, 3, 6, dtype=torch.float64)
    paths = guided_paths(teacher, noise, times, label, scales)
    assert teacher.nfe == 2 * 5 and paths.states.shape == (5, 6, 2)
    for i in range(6):
        model = Guided(teacher, label[i : i + 1], float(scales[i]))
        want = sample(ddim, model, noise[i : i + 1], times, keep_path=True).path[:-1, 0]
        torch.testing.assert_close(paths.states[:, i], want, rtol=1e-9, atol=1e-9)
    x, t, drawn, scale = paths.draw(3000, torch.Generator().manual_seed(seed))
    place, row = ((a[:, None] - b).abs().argmin(1) for a, b in ((t, paths.times), (scale, scales)))
    assert torch.equal(x, paths.states[place, row]) and torch.equal(drawn, label[row])
    counts = torch.bincount(6 * place + row, minlength=30).double()
    assert (counts - 100).abs().max() < 5 * 10  # five deviations of a count whose mean is 100


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_step_of_guidance_distillation_is_the_formula(share, seed):
    """(5.6), with this share of the batch on guided paths, written out for EDM with the same generator."""
    teacher, student = teacher_and_student(seed)
    moved(student, seed)
    before, n = copy.deepcopy(student.network), 32
    noise, scales = 80 * initial_noise(20, 2, seed), torch.linspace(1, 4, 20)
    paths = guided_paths(teacher, noise, grids.karras(EDM(), 6), torch.arange(20) % 3, scales)
    options = dict(paths=paths, share=share, batch=n, steps=1, seed=seed)
    run = distill_guidance(student, teacher, points(), LABELS, **options)

    generator, k = torch.Generator().manual_seed(seed), round(share * n)
    x0, eps, label = batches(before, points(), LABELS, 0.0, batch=n)(generator)
    t = draw_times("lognormal", EDM(), n, generator)
    w = 1 + 3 * torch.rand(n, generator=generator)
    x = x0 + t[:, None].float() * eps
    if k:
        x[:k], t[:k], label[:k], w[:k] = paths.draw(k, generator)
    with torch.no_grad():
        got = at_scale(student.with_network(before).with_label(label), w).x0(x, t)
        error = got - guided_x0(teacher, x, t, label, w)
    want = ((1 / t**2 + 4) * error.double().square().mean(1)).mean()
    assert float(run.losses[0]) == pytest.approx(float(want), rel=1e-4)


def test_a_share_of_paths_is_a_share():
    teacher, student = teacher_and_student()
    for share in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf"share must lie in \[0, 1\], got {share}"):
            distill_guidance(student, teacher, points(), LABELS, share=share, steps=1)


# --- the critic -----------------------------------------------------------------------------------------


def test_the_critics_loss_for_a_linear_critic():
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    real, fake = (initial_noise(40, 3, seed, dtype=torch.float64) for seed in (0, 1))
    for gamma in (0.0, 1.0, 7.0):
        got = critic_loss(lambda x, label: x @ slope, real, fake, gamma=gamma).detach()
        odds = torch.log1p(torch.exp(-real @ slope)).mean() + torch.log1p(torch.exp(fake @ slope)).mean()
        assert float(got) == pytest.approx(float(odds + gamma / 2 * slope.square().sum()), rel=1e-12)


def test_the_r1_term_against_finite_differences(seed):
    torch.manual_seed(seed)
    critic = Critic((2, 2), n_classes=3, width=16).double()
    real, fake = (initial_noise(6, (2, 2), seed + k, dtype=torch.float64) for k in (0, 9))
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    squares = 0.0
    for i in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[i] = 1e-5
        step = step.reshape(2, 2)
        with torch.no_grad():
            slope = (critic(real + step, label) - critic(real - step, label)) / 2e-5
        squares += float(slope.square().mean())
    with_r1, without = (critic_loss(critic, real, fake, label, gamma=g).item() for g in (3.0, 0.0))
    assert with_r1 - without == pytest.approx(1.5 * squares, rel=1e-6)
    # and it can be descended on
    critic_loss(critic, real, fake, label).backward()
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters())
    assert critic.body[1].weight.grad.abs().max() > 0


def test_a_label_adds_a_projection_of_the_features():
    torch.manual_seed(0)
    critic = Critic((3,), n_classes=4, width=16)
    x = initial_noise(10, 3)
    h = critic.body(x)
    null = critic(x)
    assert null.shape == (10,)
    torch.testing.assert_close(critic(x, torch.full((10,), 4)), null)
    for k in range(4):
        gap = ((critic.classes.weight[k] - critic.classes.weight[4]) * h).mean(1)
        torch.testing.assert_close(critic(x, torch.full((10,), k)) - null, gap, rtol=1e-4, atol=1e-6)
    assert Critic((2,))(x[:, :2]).shape == (10,)  # without classes


def test_the_critics_gradient_does_not_reach_the_student():
    critic, made = Critic((2,)), torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    made.requires_grad_(True)
    critic_loss(critic, torch.zeros(5, 2), made).backward()
    assert made.grad is None


# --- every method as a loop -----------------------------------------------------------------------------


def points(n=64, size=2, seed=0):
    return Mixture.ring(4).sample(n, seed).float()[:, :size]


def labelled(kind=Network, seed=0, network=ToyMLP):
    torch.manual_seed(seed)
    net = network((2,), n_classes=3, width=16, blocks=2, condition=16)
    return kind(net, EDM(), **({"predicts": "edm"} if kind is Network else {}))


LABELS = torch.arange(64) % 3
TEACHER = labelled(seed=11)  # which knows the label for no class


def _progressive(student, **loop):
    steps = (loop.pop("steps"),) * 2
    options = dict(rounds=(2, 1), steps=steps, labels=LABELS)
    return distill_progressively(student, TEACHER, points(), **options, **loop)[-1]


METHODS = {
    "regression": lambda student, **loop: regress_on_pairs(
        student, 80 * initial_noise(64, 2), points(), labels=LABELS, **loop
    ),
    "progressive": _progressive,
    "guidance": lambda student, **loop: distill_guidance(student, TEACHER, points(), LABELS, **loop),
    "training": lambda student, **loop: train_consistency(student, points(), labels=LABELS, **loop),
    "distillation": lambda student, **loop: train_consistency(
        student, points(), labels=LABELS, teacher=TEACHER, target="average", metric="huber", **loop
    ),
    "adversarial": lambda student, **loop: distill_adversarially(
        student, 80 * initial_noise(64, 2), points(), points(), labels=LABELS, data_labels=LABELS, **loop
    ),
    "reflow": lambda student, **loop: reflow(student, initial_noise(64, 2), points(), labels=LABELS, **loop),
}
every_method = pytest.mark.parametrize("name", METHODS)


def student_for(name, seed=0):
    kind = ConsistencyModel if name in ("training", "distillation") else Network
    return labelled(kind, seed, ScaledMLP if name == "guidance" else ToyMLP)


@every_method
def test_a_seed_decides_all_and_the_global_state_is_left_alone(name):
    runs = []
    for seed in (0, 0, 1):
        student = student_for(name)
        torch.manual_seed(len(runs))  # must not matter
        before = torch.get_rng_state()
        runs.append(METHODS[name](student, steps=4, batch=16, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        assert not runs[-1].net.training and not same_weights(student_for(name).network, student.network)
        assert len(runs[-1].losses) == 4 and torch.isfinite(runs[-1].losses).all()
    assert same_weights(runs[0].net, runs[1].net) and torch.equal(runs[0].losses, runs[1].losses)
    assert not same_weights(runs[0].net, runs[2].net)


@every_method
def test_a_callback_sees_every_step_and_can_stop(name):
    seen = []

    def callback(step, value):
        seen.append((step, float(value)))
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        METHODS[name](student_for(name), steps=10, batch=8, callback=callback)
    assert [step for step, _ in seen] == [0, 1, 2]


@every_method
def test_a_loss_that_is_not_finite_is_told(name):
    student = student_for(name)
    student.network.outlet.bias.data.fill_(math.nan)
    with pytest.raises(ValueError, match="loss became NaN or infinite at step 0"):
        METHODS[name](student, steps=2, batch=8)


@every_method
def test_steps_must_be_given_and_unknown_options_are_refused(name):
    with pytest.raises(TypeError, match="rate"):
        METHODS[name](student_for(name), steps=2, rate=1)


def test_a_run_can_be_resumed_where_the_loop_keeps_nothing(tmp_path):
    noise, data = 80 * initial_noise(64, 2), points()

    def go(steps, path, callback=None):
        student = Network(small(), EDM(), predicts="edm")
        options = dict(steps=steps, batch=8, checkpoint=path, checkpoint_every=5, callback=callback)
        return regress_on_pairs(student, noise, data, **options)

    def stop(step, value):
        if step == 12:
            raise KeyboardInterrupt

    whole = go(20, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        go(20, tmp_path / "b", stop)
    resumed = go(20, tmp_path / "b")
    assert resumed.resumed_at == 10 and same_weights(resumed.net, whole.net)
    for name in ("progressive", "training", "distillation", "adversarial"):
        with pytest.raises(ValueError, match="cannot resume"):
            METHODS[name](student_for(name), steps=2, checkpoint=tmp_path / "c")


def test_fit_takes_any_loss():
    net = nn.Linear(3, 1)
    want = torch.tensor([[1.0, -2.0, 0.5]])

    def loss_of(generator):
        x = torch.randn(64, 3, generator=generator)
        return F.mse_loss(net(x), x @ want.T)

    run = fit(net, loss_of, steps=400, lr=0.05, ema=0.9, warmup=10)
    torch.testing.assert_close(run.net.weight, want, atol=0.02, rtol=0)
    assert run.losses.shape == (400,) and not run.net.weight.requires_grad


def test_batches_come_from_the_generator_and_drop_labels():
    net = small(n_classes=3)
    draw = batches(net, points(), LABELS, p_uncond=0.25, batch=4000)
    (x0, eps, label), again = (draw(torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip((x0, eps, label), again))
    assert x0.shape == eps.shape == (4000, 2) and label.shape == (4000,)
    assert float((label == 3).double().mean()) == pytest.approx(0.25, abs=0.03)
    rows = torch.cdist(x0, points()).argmin(1)
    kept = label != 3
    assert torch.equal(label[kept], LABELS[rows[kept]])
    assert abs(float(eps.mean())) < 0.05 and float(eps.std()) == pytest.approx(1, abs=0.03)
    assert batches(net, points())(torch.Generator())[2] is None


# --- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [regress_on_pairs, reflow])
def test_pairs_must_match(method):
    student = labelled()
    noise, data = initial_noise(10, 2), points(10)
    for wrong in (data[:9], data[:, :1], data[:, None]):
        with pytest.raises(ValueError, match=r"noise and samples must have one shape.*\(10, 2\)"):
            method(student, noise, wrong, steps=1)
    with pytest.raises(ValueError, match=r"labels its first axis.*\(4,\)"):
        method(student, noise, data, labels=torch.zeros(4, dtype=torch.int64), steps=1)
    with pytest.raises(ValueError, match="labels run from 0 to 3"):
        method(student, noise, data, labels=torch.full((10,), 7), steps=1)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite and not empty"):
            method(student, noise, data * bad, steps=1)
    with pytest.raises(ValueError, match="finite and not empty"):
        method(student, noise[:0], data[:0], steps=1)
    # float64 pairs are taken too, and the null label is one of the labels
    method(student, noise.double(), data.double(), labels=torch.full((10,), 3), steps=1)


def test_rounds_must_halve():
    student = labelled()
    for rounds, steps in (((8, 4, 3), (1, 1, 1)), ((4, 4), (1, 1)), ((4, 2), (1,)), ((1, 2), (1, 1))):
        with pytest.raises(ValueError, match="rounds must halve"):
            distill_progressively(student, TEACHER, points(), rounds=rounds, steps=steps)


def test_options_that_do_not_exist():
    student = labelled(ConsistencyModel)
    for option, message in (
        ({"target": "teacher"}, "target must be one of 'stop-gradient', 'average', 'student'; got 'teacher'"),
        ({"metric": "lpips"}, "metric must be one of 'mse', 'huber'; got 'lpips'"),
        ({"weighting": "none"}, "weighting must be .*got 'none'"),
        ({"levels": (0, 10)}, r"levels must be two numbers.*got \(0, 10\)"),
        ({"levels": (20, 10)}, r"levels must be two numbers.*got \(20, 10\)"),
        ({"checkpoint": "x"}, "cannot resume"),
    ):
        with pytest.raises(ValueError, match=message):
            train_consistency(student, points(), steps=2, **option)
    for method in (distill_progressively, lambda *a, **k: distill_guidance(*a, LABELS, **k)):
        with pytest.raises(ValueError, match="weighting must be"):
            more = {"steps": (1,), "rounds": (1,)} if method is distill_progressively else {"steps": 1}
            method(labelled(network=ScaledMLP), TEACHER, points(), weighting="none", **more)


@pytest.mark.parametrize("name", ["progressive", "guidance", "training", "adversarial"])
def test_data_and_labels_are_checked(name, monkeypatch):
    monkeypatch.setitem(globals(), "LABELS", torch.arange(64) % 4)
    if name != "adversarial":  # whose pairs may have the null label
        with pytest.raises(ValueError, match="labels must be 64 whole numbers from 0 to 2"):
            METHODS[name](student_for(name), steps=1)
    monkeypatch.setitem(globals(), "LABELS", torch.arange(60) % 3)
    with pytest.raises(ValueError, match="labels"):
        METHODS[name](student_for(name), steps=1)
    monkeypatch.setitem(globals(), "LABELS", torch.arange(64) % 3)
    monkeypatch.setitem(globals(), "points", lambda: torch.full((64, 2), math.nan))
    with pytest.raises(ValueError, match="finite"):
        METHODS[name](student_for(name), steps=1)


def test_the_critic_sees_labels_of_both_or_of_neither():
    noise, data = 80 * initial_noise(64, 2), points()
    for labels in ({"labels": LABELS}, {"data_labels": LABELS}):
        with pytest.raises(ValueError, match="both, or neither"):
            distill_adversarially(labelled(), noise, data, data, steps=1, **labels)


def test_a_student_must_not_be_its_teacher():
    teacher = labelled()
    with pytest.raises(ValueError, match="share one network"):
        distill_progressively(teacher, teacher, points(), rounds=(1,), steps=(1,))
    student = ConsistencyModel(teacher.network, EDM())
    with pytest.raises(ValueError, match="share one network"):
        train_consistency(student, points(), steps=1, teacher=teacher)
    with pytest.raises(ValueError, match="share one network"):
        distill_guidance(teacher, teacher, points(), LABELS, steps=1)


def test_the_teacher_is_left_as_it_was():
    torch.manual_seed(1)
    teacher = Network(ToyMLP((2,), n_classes=3, width=16, blocks=2), EDM(), predicts="edm")
    before = copy.deepcopy(teacher.network)
    student = teacher.with_network(copy.deepcopy(teacher.network))
    distill_progressively(student, teacher, points(), rounds=(2, 1), steps=(3, 3), labels=LABELS, batch=16)
    student = ConsistencyModel(copy.deepcopy(teacher.network), EDM())
    train_consistency(student, points(), steps=3, teacher=teacher, labels=LABELS, batch=16)
    assert same_weights(teacher.network, before)
    assert all(p.grad is None for p in teacher.network.parameters())
