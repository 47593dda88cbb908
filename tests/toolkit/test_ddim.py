"""Chapter 2: the family, its sampler, inversion, and interpolation, as statements that run."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from toolkit import (
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    Mixture,
    Network,
    SubVP,
    VPCosine,
    exact_variance,
    grids,
    initial_noise,
    sample,
)
from toolkit.ddim import curvature, ddim, ddim_coefficients, ddim_invert, ddim_sigma, edit, lerp, slerp
from toolkit.ddpm import ddpm, ddpm_coefficients, posterior, step_variances
from toolkit.sampling import sample_last

SCHEDULES = [VP(), VPCosine(), VE(), SubVP(), EDM(), Flow(), Discrete.linear(), Discrete.cosine()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
MIXTURE = Mixture([0.2, 0.5, 0.3], [[-1.0, 0.3], [0.5, 0.5], [0.1, -0.8]], [0.3, 0.2, 0.4])


def some_grids(schedule):
    middle = 0.5 * (schedule.start + schedule.end) + 1e-3
    yield grids.uniform(schedule, 10).tolist()
    yield grids.quadratic(schedule, 10).tolist()
    yield grids.karras(schedule, 5, end=max(schedule.end, 0.01)).tolist()
    yield [schedule.start, middle, schedule.end]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- what the paper says of its family ------------------------------------------------------------------


@by_schedule
def test_eta_one_is_ddpm(schedule):
    """eta = 1 is DDPM's posterior: the same three coefficients to machine precision, on any sub-sequence."""
    for times in some_grids(schedule):
        a, b, c = ddim_coefficients(schedule, times, eta=1.0)
        a_ddpm, b_ddpm = ddpm_coefficients(schedule, times)
        sizes = np.array(a) * schedule.sigma(
            np.array(times[:-1])
        )  # b is a difference of two numbers of this size
        assert a == pytest.approx(a_ddpm, rel=2e-14)
        assert (np.abs(np.subtract(b, b_ddpm)) <= 2e-14 * sizes).all()
        assert c == pytest.approx(np.sqrt(step_variances(schedule, times, "posterior")), rel=2e-14, abs=0)


@by_schedule
def test_eta_one_samples_what_ddpm_samples(schedule):
    model = MIXTURE.model(schedule)
    for times in some_grids(schedule):
        x = randn(5, 2) * max(schedule.sigma(times[0]), schedule.alpha(times[0]))
        for seed in range(2):
            one, two = (
                sample(ddim, model, x, times, draws=seed, eta=1.0).x,
                sample(ddpm, model, x, times, draws=seed).x,
            )
            assert torch.allclose(one, two, atol=1e-9 * float(x.abs().max()))


@by_schedule
def test_ddim_is_euler_in_sigma_over_alpha(schedule):
    """eta = 0: d(x / alpha) = eps d(sigma / alpha), one Euler step after another."""
    model = MIXTURE.model(schedule)
    for times in some_grids(schedule):
        x = randn(5, 2) * max(schedule.sigma(times[0]), 0.5)
        run = sample(ddim, model, x, times, keep_path=True)
        y = x / schedule.alpha(times[0])
        for t, s in zip(times, times[1:]):
            kappa = [schedule.sigma(u) / schedule.alpha(u) for u in (t, s)]
            y = y + (kappa[1] - kappa[0]) * model.eps(schedule.alpha(t) * y, t)
        want = schedule.alpha(times[-1]) * y
        assert torch.allclose(run.x, want, atol=1e-10 * float(x.abs().max()), rtol=1e-9)


@by_schedule
def test_one_step_is_exact_where_eps_does_not_change(schedule):
    """The step integrates the linear part exactly: with eps constant along the path, one step is as
    good as a thousand.
    """
    eps = randn(4, 2, seed=3)
    model = Network(lambda x, c: eps, schedule)
    x, (t, s) = randn(4, 2), (schedule.start, max(schedule.end, 0.01))
    want = schedule.alpha(s) / schedule.alpha(t) * (x - schedule.sigma(t) * eps) + schedule.sigma(s) * eps
    size = schedule.alpha(s) / schedule.alpha(t) * max(1, schedule.sigma(t))
    for steps in (1, 7, 100):
        got = sample(ddim, model, x, grids.quadratic(schedule, steps, t, s)).x
        assert torch.allclose(got, want, atol=1e-13 * size, rtol=1e-11)


@by_schedule
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_a_step_carries_the_marginal_at_t_to_the_marginal_at_s(schedule, eta):
    """x_t = alpha_t x0 + sigma_t eps becomes alpha_s x0 plus noise of variance sigma_s^2, whatever eta:
    the paper's lemma 1.
    """
    for times in some_grids(schedule):
        t, s = np.array(times[:-1]), np.array(times[1:])
        a, b, c = (np.array(v) for v in ddim_coefficients(schedule, times, eta))
        assert a * schedule.alpha(t) == pytest.approx(schedule.alpha(s), rel=1e-12)
        direction = a * schedule.sigma(t) + b
        size = (a * schedule.sigma(t)) ** 2
        assert (np.abs(direction**2 + c**2 - schedule.sigma(s) ** 2) <= 1e-13 * np.maximum(size, 1)).all()


def test_eta_scales_the_posterior_deviation():
    t, s = np.array([0.3, 0.9]), np.array([0.1, 0.5])
    tilde = posterior(VP(), t, s)[2]
    for eta in (0.0, 0.5, 1.0, 1.2):
        assert ddim_sigma(VP(), t, s, eta) == pytest.approx(eta * np.sqrt(tilde), rel=1e-12)
    assert ddim_sigma(VP(), 0.3, 0.1) == pytest.approx(math.sqrt(tilde[0]), rel=1e-12)


# --- marginals, by sampling -----------------------------------------------------------------------------

N = 20_000
LEVELS = grids.uniform(VP(), 8).tolist()


def knows_x0(x0):
    """A network that answers with the data from which x was made: then each step is q_eta(x_s | x_t,
    x_0) itself.
    """
    return Network(lambda x, c: x0, VP(), predicts="x0")


def marginal_pvalues(loop, seed, **options):
    """p-values, at each time, that the noise in x_s has variance sigma_s^2 (chi-squared) and that x_s
    has the mixture's law (KS).
    """
    mixture = Mixture([0.3, 0.7], [[-0.8], [0.5]], [0.15, 0.25])
    x0 = mixture.sample(N, seed)
    x = VP().alpha(1.0) * x0 + VP().sigma(1.0) * initial_noise(N, 1, seed, torch.float64)
    values = []
    for t, state in loop(knows_x0(x0), x, LEVELS, rng=seed, **options):
        alpha, sigma = VP().alpha(t), VP().sigma(t)
        square = float(((state - alpha * x0) / sigma).square().sum())
        tail = stats.chi2.cdf(square, N)
        spread = np.sqrt((alpha * mixture.stds.numpy()) ** 2 + sigma**2)
        centres = alpha * mixture.means[:, 0].numpy()
        weights = mixture.weights.numpy()

        def law(y, centres=centres, spread=spread, weights=weights):
            return stats.norm.cdf((y[:, None] - centres) / spread) @ weights

        values += [2 * min(tail, 1 - tail), stats.kstest(state[:, 0].numpy(), law).pvalue]
    return values


@pytest.mark.parametrize("eta", [0.0, 0.25, 0.5, 1.0])
def test_marginals_are_the_same_for_every_eta(eta, seed):
    """q_eta(x_s | x_t, x_0) leads from the marginal at one time to the marginal at the next, noise or
    no noise.
    """
    assert min(marginal_pvalues(ddim, seed, eta=eta)) > 1e-6


def broken(change):
    """DDIM with one mistake in its coefficients (a, b, c) or its noise."""

    def loop(model, x, times, rng, eta):
        from toolkit.noise import noise_of

        t, s = np.array(times[:-1]), np.array(times[1:])
        a, b, c = (np.array(v) for v in ddim_coefficients(model.schedule, times, eta))
        a, b, c = change(a, b, c, model.schedule, t, s)
        noises = noise_of(rng, x, times)
        yield times[0], x
        for i in range(len(s)):
            x = a[i] * x + b[i] * model.eps(x, times[i]) + c[i] * next(noises)
            yield times[i + 1], x

    return loop


BROKEN = {
    "noise is added and the direction is not shortened": lambda a, b, c, q, t, s: (
        a,
        q.sigma(s) - a * q.sigma(t),
        c,
    ),
    "no noise, though the direction is shortened": lambda a, b, c, q, t, s: (a, b, 0 * c),
    "variance where a deviation belongs": lambda a, b, c, q, t, s: (a, b, c**2),
    "the direction keeps the noise of t": lambda a, b, c, q, t, s: (
        a,
        np.sqrt(q.sigma(t) ** 2 - c**2) - a * q.sigma(t),
        c,
    ),
    "deviation doubled": lambda a, b, c, q, t, s: (a, b, 2 * c),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_the_test_of_marginals_fails_a_broken_sampler(mistake, seed):
    assert min(marginal_pvalues(broken(BROKEN[mistake]), seed, eta=1.0)) < 1e-9


def test_the_test_of_marginals_passes_the_same_loop_unbroken():
    assert min(marginal_pvalues(broken(lambda a, b, c, q, t, s: (a, b, c)), 0, eta=1.0)) > 1e-6


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_with_a_real_model_the_variance_converges_for_every_eta(eta):
    """The model does not know x_0, so marginals hold in the limit of small steps only: first order in
    their size.
    """
    errors = [
        abs(exact_variance(ddim, VP(), grids.uniform(VP(), n, end=0.05), eta=eta) - target(0.05))
        for n in (100, 200, 400)
    ]
    assert errors[0] > 1.8 * errors[1] > 1.8**2 * errors[2] and errors[2] < 0.01


def target(t, std=0.5):
    return (VP().alpha(t) * std) ** 2 + VP().sigma(t) ** 2


# --- what is deterministic ------------------------------------------------------------------------------


def test_without_noise_the_seed_does_not_matter_and_the_start_does():
    model, times, x = MIXTURE.model(VP()), grids.uniform(VP(), 10), initial_noise(4, 2)
    assert torch.equal(sample(ddim, model, x, times, draws=0).x, sample(ddim, model, x, times, draws=1).x)
    assert not torch.allclose(
        sample(ddim, model, x, times, eta=0.2).x, sample(ddim, model, x, times, eta=0.2, draws=1).x
    )
    assert not torch.allclose(sample(ddim, model, x, times).x, sample(ddim, model, 1.01 * x, times).x)


def test_the_last_step_to_no_noise_is_the_predicted_data():
    schedule, x = Discrete.linear(), randn(3, 2)
    model = MIXTURE.model(schedule)
    for eta in (0.0, 1.0):
        assert torch.allclose(sample(ddim, model, x, [0.4, 0.0], eta=eta).x, model.x0(x, 0.4), atol=1e-12)


def test_curvature():
    angle = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    half_circle = torch.stack([angle.cos(), angle.sin()], dim=1)[:, None]
    line = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None, None] * randn(1, 4, 3)
    assert float(curvature(half_circle)) == pytest.approx(math.pi / 2, rel=1e-6)
    assert curvature(line).tolist() == pytest.approx([1] * 4)


# --- inversion ------------------------------------------------------------------------------------------


def round_trip(steps, iterations, seed, end=0.01):
    model, times = MIXTURE.model(VP()), grids.uniform_lambda(VP(), steps, end=end)
    x0 = MIXTURE.sample(32, seed)
    x = VP().alpha(end) * x0 + VP().sigma(end) * randn(32, 2, seed=seed)
    run = sample(ddim_invert, model, x, times, iterations=iterations)
    assert run.nfe == ddim_invert.nfe(steps, iterations=iterations)
    assert run.times == times.tolist()[::-1]
    return float((sample(ddim, model, run.x, times).x - x).square().mean().sqrt())


def test_naive_inversion_is_off_by_the_step_size(seed):
    errors = [round_trip(n, 0, seed) for n in (200, 400, 800)]
    slope = -np.polyfit(np.log([200, 400, 800]), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("steps", [20, 60])
def test_fixed_point_inversion_is_exact(seed, steps):
    errors = [round_trip(steps, iterations, seed) for iterations in (0, 2, 8, 80)]
    assert errors[0] > errors[1] > errors[2] and errors[0] > 1e-3
    assert errors[3] < 1e-11


def test_inversion_ends_at_the_exact_flow_s_start():
    """With small steps, data are encoded as the ODE's own latent."""
    from toolkit import GaussianFlow

    model, times = Mixture.gaussian(2, 0.5).model(VP()), grids.uniform_lambda(VP(), 800)
    x = randn(8, 2) * 0.5
    want = GaussianFlow(VP(), std=0.5).map(x, float(times[-1]), 1.0)
    assert torch.allclose(sample(ddim_invert, model, x, times).x, want, atol=0.02)
    assert torch.allclose(sample(ddim_invert, model, x, times, iterations=3).x, want, atol=0.02)


# --- interpolation and editing --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 2), (3, 1, 4, 4)])
def test_slerp_is_a_great_circle(shape):
    x, y = randn(*shape), randn(*shape, seed=1)
    y = y * (x.flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)).reshape(-1, *[1] * (len(shape) - 1))
    radius = x.flatten(1).norm(dim=1)
    angle = lambda u, v: torch.arccos(((u * v).flatten(1).sum(1) / radius**2).clamp(-1, 1))
    for weight in (0.0, 0.25, 0.5, 0.9, 1.0):
        z = slerp(x, y, weight)
        assert torch.allclose(z.flatten(1).norm(dim=1), radius, rtol=1e-12)
        assert torch.allclose(angle(x, z), weight * angle(x, y), atol=1e-7)
    assert torch.allclose(slerp(x, y, 0.0), x) and torch.allclose(slerp(x, y, 1.0), y)


def test_slerp_of_parallel_latents_is_lerp():
    x = randn(4, 3)
    assert torch.allclose(slerp(x, x, 0.3), x, atol=1e-12)
    assert torch.equal(slerp(x, 2 * x, 0.3), lerp(x, 2 * x, 0.3))
    mixed = slerp(x, torch.cat([x[:2], randn(2, 3, seed=2)]), 0.5)
    assert mixed.isfinite().all() and torch.allclose(mixed[:2], x[:2])


def test_slerp_stays_on_the_shell_where_noise_lives_and_lerp_leaves_it(seed):
    x, y = initial_noise(50, 4096, seed), initial_noise(50, 4096, seed + 10)
    assert torch.allclose(slerp(x, y, 0.5).norm(dim=1), torch.tensor(64.0), rtol=0.05)
    assert torch.allclose(lerp(x, y, 0.5).norm(dim=1), torch.tensor(64 / math.sqrt(2)), rtol=0.05)


def test_editing_with_the_same_model_changes_nothing_and_with_another_moves_the_data():
    data = Mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [0.2, 0.2])
    left, right = (data.model(VP()).with_label(label) for label in (0, 1))
    times = grids.uniform_lambda(VP(), 50)
    x = data.means[0] + 0.2 * randn(16, 2)
    assert torch.allclose(edit(left, left, x, times, until=0.6, iterations=60), x, atol=1e-9)
    moved = [edit(left, right, x, times, until=u) for u in (0.1, 0.4, 1.0)]
    distance = [float((m - x).norm(dim=1).mean()) for m in moved]
    assert distance[0] < distance[1] < distance[2] and distance[2] == pytest.approx(2, abs=0.1)
    assert torch.allclose(
        moved[2] - x, torch.tensor([2.0, 0.0]).double(), atol=0.1
    )  # the rest of the sample is kept


def test_editing_a_part_is_the_sampler_on_that_part():
    model, times = MIXTURE.model(VP()), grids.uniform(VP(), 10)
    x = randn(3, 2)
    part = times[4:]
    want = sample_last(ddim(model, sample_last(ddim_invert(model, x, part)), part))
    assert torch.equal(edit(model, model, x, times, until=float(times[4])), want)


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m, x: sample(ddim, m, x, [1.0, 0.5], eta=-0.1), "not negative, got -0.1"),
        (lambda m, x: sample(ddim, m, x, [1.0, 0.9, 0.8], eta=9.0), "eta = 9 asks for more noise"),
        (lambda m, x: sample(ddim, m, x, [1.0, 0.5], eta=math.nan), "eta must be a number, got nan"),
        (lambda m, x: sample(ddim, m, x, [0.5, 1.0]), "decrease"),
        (lambda m, x: edit(m, m, x, [1.0, 0.5, 0.1], until=0.05), "nothing to edit"),
        (lambda m, x: sample(ddim_invert, m, x, [1.0, 0.5], iterations=-1), "iterations"),
    ],
)
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call(MIXTURE.model(VP()), randn(2, 2))
    assert len(str(problem.value).splitlines()) == 1
