"""Chapter 3: diffusion forwards and backwards, its samplers and Langevin dynamics, as statements that run.

For Gaussian data all of these are linear in the start and the noises, so that variances are sums of squared
gains and need no sampling: `gains` below, and `exact_variance`.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.peers import part
from toolkit import (
    EDM,
    VE,
    VP,
    Brownian,
    Discrete,
    Flow,
    Mixture,
    SubVP,
    VPCosine,
    exact_variance,
    grids,
    initial_noise,
    sample,
)
from toolkit.convergence import slope, weak_errors
from toolkit.noise import Noise, Replay
from toolkit.ode import edm_heun, euler, heun
from toolkit.sampling import Sampler, sample_last
from toolkit.sde import (
    churned,
    edm_stochastic,
    euler_maruyama,
    langevin,
    langevin_step,
    predictor_corrector,
    restart,
    reverse_coefficients,
    simulate,
    snr_step,
    stochastic_heun,
    subdivided,
)

SCHEDULES = [VP(), VPCosine(), SubVP(), VE(), EDM(), Flow(), Discrete.linear()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
some_schedules = pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=lambda s: type(s).__name__)
RING = Mixture.ring(8, std=0.3)


def levels(schedule, *kappas):
    return [schedule.t_of_lam(-math.log(kappa)) for kappa in kappas]


def noisy(schedule, mixture, t, n=16, seed=0):
    noise = initial_noise(n, mixture.d, seed, torch.float64)
    return schedule.alpha(t) * mixture.sample(n, seed) + schedule.sigma(t) * noise


def gains(run, noises):
    """(gain of the start, gains (noises,) of each noise) of a run(x, rng) that is linear in them."""
    basis = torch.eye(noises + 1, dtype=torch.float64)
    last = sample_last(run(basis[:1], Replay(basis[1:, None, :])))[0]
    return float(last[0]), last[1:].numpy()


# --- forward --------------------------------------------------------------------------------------------


def forward_gains(schedule, n, start, end):
    times = np.linspace(start, end, n + 1)
    return gains(lambda x, rng: simulate(schedule, x, times, rng), n)


@by_schedule
def test_forward_mean_and_variance_tend_to_alpha_and_sigma(schedule):
    """Exactly, without sampling; the error of both is of order 1 in the step."""
    start, end = (0.1, 0.7) if schedule.start <= 1 else (0.5, 8.0)
    alpha = schedule.alpha(end) / schedule.alpha(start)
    variance = schedule.sigma(end) ** 2 - (alpha * schedule.sigma(start)) ** 2
    steps, means, spreads = [64, 128, 256], [], []
    for n in steps:
        mean, noise = forward_gains(schedule, n, start, end)
        means.append(abs(mean - alpha))
        spreads.append(abs((noise**2).sum() - variance))
    assert slope(steps, spreads) == pytest.approx(1, abs=0.1) and spreads[-1] < 0.02 * variance
    if isinstance(schedule, (VE, EDM, Flow)):
        assert max(means) < 1e-12  # f = 0; and Flow's alpha is straight, so that Euler makes no error
    else:
        assert slope(steps, means) == pytest.approx(1, abs=0.1) and means[-1] < 0.02 * alpha


def test_the_coefficient_of_ve_squares_its_noise_level():
    """g^2 = 2 log(r) sigma^2; with sigma in place of sigma^2 the noise ends at 2 (sigma_max - sigma_min), 100
    where 2500 is wanted (BP8)."""

    class Unsquared(VE):
        def _g2(self, t, xp):
            return super()._g2(t, xp) / self._sigma(t, xp)

    right, wrong = ((forward_gains(s, 2000, 0.0, 1.0)[1] ** 2).sum() for s in (VE(), Unsquared()))
    assert right == pytest.approx(2500, rel=0.01)
    assert wrong == pytest.approx(100, rel=0.01)


def test_forward_paths_are_brownian_paths(seed):
    """Each step by hand; a refined grid sees the same path when asked to, so that the ends of both are close;
    rows and seeds are what they are elsewhere."""
    schedule, x0 = VP(), initial_noise(6, 2, dtype=torch.float64)
    states = list(simulate(schedule, x0, [0.0, 0.25, 1.0], rng=3))
    z = list(Noise(3).normals(x0, [1.0, 0.75, 0.0]))
    x = x0
    for (t, s), noise in zip([(0.0, 0.25), (0.25, 1.0)], z):
        x = x + schedule.f(t) * (s - t) * x + math.sqrt(schedule.g2(t) * (s - t)) * noise
    assert [t for t, _ in states] == [0.0, 0.25, 1.0]
    assert torch.allclose(states[-1][1], x, atol=1e-12)
    end = lambda n, seed: sample_last(simulate(schedule, x0, np.linspace(0, 1, n + 1), Brownian(seed)))
    finest = end(4000, seed)
    errors = [float((end(n, seed) - finest).square().mean().sqrt()) for n in (64, 128, 256)]
    assert slope([64, 128, 256], errors) == pytest.approx(1, abs=0.3)  # additive noise
    assert (end(64, seed) - end(64, seed + 1)).abs().max() > 0.1
    part = sample_last(simulate(schedule, x0[2:4], np.linspace(0, 1, 65), Brownian(seed, first=2)))
    assert torch.equal(part, end(64, seed)[2:4])


# --- the reverse family ---------------------------------------------------------------------------------


@by_schedule
def test_coefficients_of_the_family(schedule):
    """dx = (f x - (1 + level^2) / 2 g^2 score) dt + level g dw, for numbers and for functions of time."""
    times = np.array([0.9, 0.5, 0.2]) * schedule.start
    f, g2, sigma = schedule.f(times), schedule.g2(times), schedule.sigma(times)
    for level in (0.0, 0.5, 1.0, 2.0):
        p, q, c = reverse_coefficients(schedule, times, level)
        assert p == pytest.approx(f) and c == pytest.approx(level * np.sqrt(g2))
        assert -q * sigma == pytest.approx(-(1 + level**2) / 2 * g2)  # of the score
    p, q, c = reverse_coefficients(schedule, times, lambda t: t / schedule.start)
    assert c == pytest.approx(np.array([0.9, 0.5, 0.2]) * np.sqrt(g2))
    assert q == pytest.approx((1 + np.array([0.9, 0.5, 0.2]) ** 2) / 2 * g2 / sigma)


FAMILY = [0.0, 0.5, 1.0, 2.0, np.sqrt]


@pytest.mark.slow
@some_schedules
@pytest.mark.parametrize("level", FAMILY, ids=["0", "0.5", "1", "2", "of time"])
@pytest.mark.parametrize("solver, order", [(euler_maruyama, 1), (stochastic_heun, 2)])
def test_every_member_has_the_same_marginals(schedule, level, solver, order):
    """The output's variance tends to alpha^2 std^2 + sigma^2, at the solver's weak order, whatever the
    level."""
    start, end = levels(schedule, 5.0, 0.2)
    steps = [128, 256, 512] if solver is euler_maruyama else [64, 128, 256]
    squares = 0  # of several data: for a single one the error's leading term may all but vanish
    for std in (0.3, 0.6, 1.1):
        errors = weak_errors(solver, schedule, steps, std, start=start, end=end, tau=level)
        exact = (schedule.alpha(end) * std) ** 2 + schedule.sigma(end) ** 2
        assert errors[-1] < 0.02 * exact
        squares = squares + np.square(errors)
    assert slope(steps, np.sqrt(squares)) == pytest.approx(order, abs=0.15), squares


@Sampler
def noise_dropped(model, x, times):
    """The reverse SDE's drift without its noise: what is *not* the probability flow."""
    p, q, _ = reverse_coefficients(model.schedule, times, 1.0)
    yield times[0], x
    for i, t in enumerate(times[:-1]):
        x = x + (times[i + 1] - t) * (p[i] * x + q[i] * model.eps(x, t))
        yield times[i + 1], x


@some_schedules
def test_dropping_the_noise_without_halving_the_score_is_another_equation(schedule):
    """Its variance collapses however small the steps (BT10); the flow, with g^2 / 2, has the right one."""
    start, end = levels(schedule, 20.0, 0.02)
    exact = (schedule.alpha(end) * 0.5) ** 2 + schedule.sigma(end) ** 2
    for steps in (500, 1000):
        times = grids.uniform_lambda(schedule, steps, start, end)
        assert exact_variance(noise_dropped, schedule, times, 0.5) < 0.02 * exact
        assert exact_variance(heun, schedule, times, 0.5) == pytest.approx(exact, rel=1e-3)


@by_schedule
def test_level_zero_is_the_probability_flow(schedule, seed):
    model = RING.model(schedule)
    for grid in (grids.uniform, grids.karras):
        times = grid(schedule, 9, end=max(schedule.end, 0.02)).tolist()
        x = noisy(schedule, RING, times[0], seed=seed)
        close = dict(rtol=1e-12, atol=1e-12 * float(x.abs().max()))
        one = sample(euler_maruyama, model, x, times, tau=0, keep_path=True).path
        assert torch.allclose(one, sample(euler, model, x, times, keep_path=True).path, **close)
        if schedule.sigma(0.0) == 0:
            times = [*times, 0.0]
        one = sample(stochastic_heun, model, x, times, tau=0, keep_path=True).path
        assert torch.allclose(one, sample(heun, model, x, times, keep_path=True).path, **close)


@by_schedule
def test_the_last_step_s_noise(schedule):
    """Left out by default where the step ends at sigma = 0, and only there; otherwise as asked."""
    model, z = RING.model(schedule), list(initial_noise(2, (4, 2), 5, torch.float64))
    for end in (0.0, 0.02):
        times = [0.6 * schedule.start, 0.2 * schedule.start, end]
        x = noisy(schedule, RING, times[0], 4)
        ends = {
            last: sample(euler_maruyama, model, x, times, draws=Replay(z), tau=0.7, last_noise=last).x
            for last in (None, True, False)
        }
        spread = 0.7 * math.sqrt(schedule.g2(times[1]) * (times[1] - end))
        assert torch.allclose(ends[True] - ends[False], spread * z[1], atol=1e-9 * max(1, spread))
        assert torch.equal(ends[None], ends[schedule.sigma(end) > 0])


def test_heun_s_method_jumps_to_the_predicted_data():
    model, times = RING.model(VP()), [0.5, 0.2, 0.0]
    path = sample(stochastic_heun, model, noisy(VP(), RING, 0.5), times, keep_path=True).path
    assert torch.allclose(path[-1], model.x0(path[-2], 0.2), atol=1e-12)


@Sampler
def heun_without_noise_ahead(model, x, times, rng=0):
    """Heun's drift with a predictor that sees no noise, and g frozen at the left end (BP10)."""
    p, q, c = reverse_coefficients(model.schedule, times, 1.0)
    noises = rng.normals(x, times)
    yield times[0], x
    for i, (t, s) in enumerate(zip(times, times[1:])):
        drift = p[i] * x + q[i] * model.eps(x, t)
        ahead = x + (s - t) * drift
        drift = (drift + p[i + 1] * ahead + q[i + 1] * model.eps(ahead, s)) / 2
        x = x + (s - t) * drift + math.sqrt(t - s) * c[i] * next(noises)
        yield s, x


@some_schedules
def test_why_the_predictor_includes_the_noise(schedule):
    """Without it "Heun's method" for the SDE is of weak order 1, its error more than ten times as large at
    equal steps."""
    start, end = levels(schedule, 5.0, 0.2)
    steps, ends = [128, 256, 512], {"start": start, "end": end}
    for std in (0.4, 0.8):
        errors = weak_errors(heun_without_noise_ahead, schedule, steps, std, grids.uniform_lambda, **ends)
        assert slope(steps, errors) == pytest.approx(1, abs=0.1), errors
        ours = weak_errors(stochastic_heun, schedule, steps, std, grids.uniform_lambda, **ends)
        assert ours[0] < 0.1 * errors[0]


@pytest.mark.parametrize("solver, method", [(euler_maruyama, "euler"), (stochastic_heun, "heun")])
@pytest.mark.parametrize("schedule", [VP(), VE()], ids=lambda s: type(s).__name__)
def test_torchsde_on_the_same_brownian_path(solver, method, schedule):
    torchsde = pytest.importorskip("torchsde")
    model, times = RING.model(schedule), np.linspace(0.9, 0.2, 21).tolist()

    class Reversed(torch.nn.Module):
        """In u = -t, so that time increases."""

        noise_type, sde_type = "diagonal", "stratonovich" if method == "heun" else "ito"

        def f(self, u, y):
            p, q, _ = reverse_coefficients(schedule, [-float(u)])
            return -(p[0] * y + q[0] * model.eps(y, -float(u)))

        def g(self, u, y):
            return torch.full_like(y, math.sqrt(schedule.g2(-float(u))))

    for seed in (0, 1):
        x = noisy(schedule, RING, 0.9, seed=seed)
        z = iter([math.sqrt(0.035) * n for n in Brownian(seed).normals(x, times)])

        class Path(torchsde.BaseBrownian):
            shape, dtype, device, levy_area_approximation = x.shape, x.dtype, x.device, "none"

            def __call__(self, ta, tb=None, return_U=False, return_A=False, noises=z):
                return next(noises)

            def __repr__(self):
                return "the same path"

            def size(self, like=x):
                return like.shape

        grid = -torch.tensor(times, dtype=torch.float64)
        want = torchsde.sdeint(Reversed(), x, grid, bm=Path(), method=method, dt=0.035)[-1]
        assert torch.allclose(sample(solver, model, x, times, draws=Brownian(seed)).x, want, atol=1e-10)


@pytest.mark.parametrize("level", [0.5, 1.0])
def test_samples_have_the_mixture_s_law(level, seed):
    """Not only its variance: Kolmogorov-Smirnov on a mixture in one dimension."""
    mixture = Mixture([0.3, 0.7], [[-0.8], [0.5]], [0.15, 0.25])
    start, end = levels(VP(), 20.0, 0.05)
    x = noisy(VP(), mixture, start, 3000, seed)
    got = sample(stochastic_heun, mixture.model(VP()), x, grids.uniform_lambda(VP(), 100, start, end),
                 draws=seed, tau=level).x[:, 0].numpy()  # fmt: skip
    spreads = np.sqrt((VP().alpha(end) * mixture.stds.numpy()) ** 2 + VP().sigma(end) ** 2)
    means = VP().alpha(end) * mixture.means[:, 0].numpy()
    law = lambda v: (mixture.weights.numpy() * stats.norm.cdf(v[:, None], means, spreads)).sum(1)
    assert stats.kstest(got, law).pvalue > 1e-3


# --- EDM's sampler --------------------------------------------------------------------------------------


@pytest.fixture
def k_diffusion():
    try:
        return part("k_diffusion", "sampling", absent=("torchvision.transforms.functional",))
    except ImportError as missing:
        pytest.skip(f"k-diffusion: {missing}")


@pytest.mark.parametrize(
    "churn, options",
    [
        (40.0, {}),
        (3.0, {"noise_scale": 1.007}),
        (80.0, {"low": 0.05, "high": 5.0, "noise_scale": 1.003}),
        (0.0, {}),
    ],
)
@pytest.mark.parametrize("schedule", [EDM(), VE()], ids=lambda s: type(s).__name__)
def test_k_diffusion_s_heun_with_churn(k_diffusion, monkeypatch, schedule, churn, options, seed):
    model, steps = RING.model(schedule), 12
    start = 0.9 if isinstance(schedule, VE) else None  # churn stays within VE's span
    times = grids.karras(schedule, steps, start, levels(schedule, 0.012)[0]).tolist()
    clean = [0.0] if schedule.sigma(0.0) == 0 else []
    kappas = torch.tensor([*schedule.sigma(np.array(times)), *clean], dtype=torch.float64)
    x = noisy(schedule, RING, times[0], seed=seed)
    zs = list(initial_noise(steps + 1, x.shape, seed + 5, torch.float64))
    queue = list(zs)
    monkeypatch.setattr(torch, "randn_like", lambda x: queue.pop(0))
    theirs = {"low": "s_tmin", "high": "s_tmax", "noise_scale": "s_noise"}
    want = k_diffusion.sample_heun(
        lambda y, kappa: model.x0(y, schedule.t_of_lam(-math.log(float(kappa[0])))),
        x, kappas, disable=True, s_churn=churn, **{theirs[k]: v for k, v in options.items()},
    )  # fmt: skip
    got = sample(edm_stochastic, model, x, [*times, *clean], draws=Replay(zs), churn=churn, **options).x
    assert torch.allclose(got, want, rtol=0, atol=1e-10 * float(x.abs().max()))


@by_schedule
def test_without_churn_it_is_edm_s_heun(schedule):
    model = RING.model(schedule)
    times = grids.karras(schedule, 8, end=max(schedule.end, 0.02)).tolist()
    for end in ([], [0.0]) if schedule.sigma(0.0) == 0 else ([],):
        x = noisy(schedule, RING, times[0])
        one, two = (
            sample(edm_stochastic, model, x, [*times, *end], churn=0.0),
            sample(edm_heun, model, x, [*times, *end]),
        )
        assert torch.allclose(one.x, two.x, rtol=1e-10, atol=1e-11 * float(x.abs().max()))
        assert one.nfe == two.nfe == 16 + len(end)


def test_raised_noise_levels():
    kappa = np.array([10.0, 5.0, 1.0, 0.1, 0.0])
    assert churned(kappa, 0.4) == pytest.approx(1.1 * kappa[:-1])
    assert churned(kappa, 1e6) == pytest.approx(math.sqrt(2) * kappa[:-1])
    assert churned(kappa, 0.4, low=1.0, high=5.0) == pytest.approx([10.0, 5.5, 1.1, 0.1])


@pytest.mark.parametrize("schedule", [VP(), EDM(), Flow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("churn", [5.0, 40.0, 1e6])
def test_churn_keeps_the_marginals(schedule, churn):
    """Whatever noise is added is taken out again: the variance is right as steps shrink, and not with more
    noise than the level accounts for."""
    start, end = levels(schedule, 5.0, 0.2)
    times = grids.uniform_lambda(schedule, 300, start, end)
    exact = (schedule.alpha(end) * 0.6) ** 2 + schedule.sigma(end) ** 2
    assert exact_variance(edm_stochastic, schedule, times, 0.6, churn=churn) == pytest.approx(exact, rel=0.02)
    inflated = exact_variance(edm_stochastic, schedule, times, 0.6, churn=churn, noise_scale=1.3)
    assert inflated > 1.01 * exact


# --- Langevin dynamics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.01, 0.5, 1.0, 1.9])
def test_langevin_s_own_stationary_variance(s, share):
    """On N(0, s^2): v' = (1 - step / s^2)^2 v + 2 step, whose fixed point is s^2 / (1 - step / (2 s^2))."""
    step = share * s**2
    move = lambda x, z: float(langevin_step(torch.tensor(x), torch.tensor(-x / s**2), step, torch.tensor(z)))
    decay, kick = move(1.0, 0.0), move(0.0, 1.0)
    assert (decay, kick**2) == (
        pytest.approx(1 - share, rel=1e-6, abs=1e-6),
        pytest.approx(2 * step, rel=1e-6),
    )
    for v in (0.0, 100.0 * s**2):
        for _ in range(2000):
            v = decay**2 * v + kick**2
        assert v == pytest.approx(s**2 / (1 - step / (2 * s**2)), rel=1e-4)


@pytest.mark.parametrize("s", [0.3, 4.0])
def test_langevin_diverges_beyond_twice_the_variance(s):
    for share, stays in [(1.98, True), (2.02, False)]:
        x = torch.ones(1, dtype=torch.float64)
        for _ in range(1000):
            x = langevin_step(x, -x / s**2, share * s**2, torch.zeros(1))
        assert (float(x.abs()) < 1) == stays


def test_the_snr_rule_s_step_scales_with_the_width(seed):
    """p made c times wider has scores c times smaller: the step grows c^2 times, and all of the motion c
    times."""
    x, z = initial_noise(5, (1, 3, 3), seed), initial_noise(5, (1, 3, 3), seed + 9)
    step = snr_step(-x, z, 0.16)
    assert step.shape == (5, 1, 1, 1)
    want = 2 * (0.16 * z.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)) ** 2
    assert torch.allclose(step.flatten(), want)
    moved = langevin_step(x, -x, step, z)
    for c in (1e-3, 7.0):
        wide = snr_step(-x / c, z, 0.16)
        assert torch.allclose(wide, c**2 * step)
        assert torch.allclose(langevin_step(c * x, -x / c, wide, z), c * moved, rtol=1e-4, atol=1e-5 * c)


@pytest.mark.parametrize("step", [0.05, 0.3, 1.5])
def test_annealed_langevin_reaches_the_last_level_s_law_but_for_its_own_bias(step):
    """With their rule, step sigma_i^2 / sigma_n^2, and many corrections; on Gaussian data, exactly."""
    schedule, std, times = VE(), 0.5, levels(VE(), 50.0, 5.0, 1.0)
    model, width = Mixture.gaussian(401, std).model(schedule), std**2 + 1.0
    start, noise = gains(lambda x, rng: langevin(model, x, times, corrections=200, step=step, rng=rng), 400)
    got = (start * 50.0) ** 2 + (noise**2).sum()
    assert got == pytest.approx(width / (1 - step / (2 * width)), rel=1e-5)


def test_annealed_langevin_keeps_x_from_one_level_to_the_next():
    """As NCSN does, it visits times[1:]; each with its own score, and at the end a jump to the data."""
    schedule, times, step = VP(), [0.8, 0.5, 0.3, 0.0], 1e-3
    model, x = RING.model(schedule), noisy(VP(), RING, 0.8)
    zs = list(initial_noise(9, x.shape, 1, torch.float64))
    run = sample(langevin, model, x, times, draws=Replay(zs), corrections=3, step=step)
    y, queue = x, iter(zs)
    for t in (0.5, 0.3):
        size = step * (schedule.sigma(t) / schedule.sigma(0.3)) ** 2
        for _ in range(3):
            y = y + size * model.score(y, t) + math.sqrt(2 * size) * next(queue)
    assert torch.allclose(run.x, model.x0(y, 0.3), atol=1e-12)
    assert run.nfe == 7


@by_schedule
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_predictor_without_correctors_is_euler_maruyama(schedule, level):
    model = RING.model(schedule)
    for end in (0.0, 0.02):
        times = [schedule.start, 0.4 * schedule.start, 0.1 * schedule.start, end]
        for seed in (0, 1):
            x = noisy(schedule, RING, times[0], seed=seed)
            one = sample(predictor_corrector, model, x, times, draws=seed, corrections=0, tau=level).x
            two = sample(euler_maruyama, model, x, times, draws=seed, tau=level).x
            assert torch.equal(one, two)


@pytest.mark.parametrize("norms", ["expected", "sample"])
def test_predictor_corrector_by_hand(norms):
    schedule, times, model = VP(), [0.8, 0.5, 0.0], RING.model(VP())
    x = noisy(schedule, RING, 0.8)
    zs = list(initial_noise(6, x.shape, 1, torch.float64))
    run = sample(predictor_corrector, model, x, times, draws=Replay(zs), corrections=2, snr=0.1, norms=norms)
    p, q, c = reverse_coefficients(schedule, times)
    y = x - 0.3 * (p[0] * x + q[0] * model.eps(x, 0.8)) + math.sqrt(0.3) * c[0] * zs[0]
    for z in zs[1:3]:
        score = model.score(y, 0.5)
        size = 2 * (0.1 * z.norm(dim=1) / score.norm(dim=1)) ** 2
        size = torch.full_like(size, 2 * (0.1 * schedule.sigma(0.5)) ** 2) if norms == "expected" else size
        y = y + size[:, None] * score + (2 * size[:, None]).sqrt() * z
    y = y - 0.5 * (p[1] * y + q[1] * model.eps(y, 0.5))  # to sigma = 0: no noise, no correction
    assert torch.allclose(run.x, y, atol=1e-12)
    assert run.nfe == 4


def corrected_error(schedule, steps, corrections, step, std=0.5):
    """Error of predictor-corrector's variance, exactly, between kappa = 20 and 0.1."""
    start, end = levels(schedule, 20.0, 0.1)
    times, noises = grids.uniform_lambda(schedule, steps, start, end), steps * (1 + corrections)
    model, options = Mixture.gaussian(noises + 1, std).model(schedule), {"corrections": corrections}
    first, rest = gains(
        lambda x, rng: predictor_corrector(model, x, times, step=step, rng=rng, **options), noises
    )
    variance = lambda t: (schedule.alpha(t) * std) ** 2 + schedule.sigma(t) ** 2
    return first**2 * variance(start) + (rest**2).sum() - variance(end)


@pytest.mark.parametrize("schedule", [VP(), VE()], ids=lambda s: type(s).__name__)
def test_a_corrector_repairs_a_coarse_predictor_and_brings_a_bias_of_its_own(schedule):
    """Small corrections take away most of what few Euler-Maruyama steps get wrong; large ones leave their own
    stationary variance in its place, which a finer grid does not cure."""
    end = levels(schedule, 0.1)[0]
    width = (schedule.alpha(end) * 0.5) ** 2 + schedule.sigma(end) ** 2
    for steps in (8, 15):
        assert abs(corrected_error(schedule, steps, 10, 0.01)) < 0.5 * corrected_error(
            schedule, steps, 0, 0.01
        )
    for steps in (8, 15, 30):
        bias = width / (1 - 0.05 / (2 * width)) - width
        assert corrected_error(schedule, steps, 10, 0.05) == pytest.approx(bias, rel=0.03)


def test_subdivided():
    assert subdivided([1.0, 0.4, 0.0], 2) == pytest.approx([1.0, 0.7, 0.4, 0.2, 0.0])
    assert subdivided([1.0, 0.4], 1) == [1.0, 0.4]


@pytest.mark.parametrize(
    "sampler, options",
    [
        (euler_maruyama, {"tau": 0.5}),
        (stochastic_heun, {"tau": 2.0}),
        (edm_stochastic, {"churn": 10.0}),
        (langevin, {"corrections": 3}),
        (predictor_corrector, {"corrections": 2, "snr": 0.1}),
    ],
)
def test_samples_do_not_depend_on_the_batch_split(sampler, options):
    model, times = RING.model(VP()), grids.uniform(VP(), 7)
    for seed in (0, 1):
        x = noisy(VP(), RING, 1.0, 9, seed)
        whole = sample(sampler, model, x, times, draws=seed, **options).x
        for size in (1, 4):
            part = sample(sampler, model, x, times, draws=seed, batch_size=size, **options).x
            assert torch.allclose(part, whole, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(sample(sampler, model, x, times, draws=seed + 2, **options).x, whole)


# --- bad input ------------------------------------------------------------------------------------------


X = initial_noise(2, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    "call, says",
    [
        (
            lambda m: sample(euler_maruyama, m, X, [1.0, 0.5], tau=-1.0),
            "tau must be.*not negative, got -1",
        ),
        (lambda m: sample(stochastic_heun, m, X, [1.0, 0.5], tau=math.nan), "tau must be.*got nan"),
        (lambda m: sample(euler_maruyama, m, X, [1.0, 0.5], tau=lambda t: t - 0.8), "got -0.3"),
        (
            lambda m: sample(edm_stochastic, m, X, [1.0, 0.5], churn=-3.0),
            "churn must be.*not negative, got -3",
        ),
        (lambda m: sample(edm_stochastic, m, X, [1.0, 0.5], churn=math.nan), "churn must be"),
        (
            lambda m: sample(langevin, m, X, [1.0, 0.5], corrections=0),
            "corrections must be at least 1, got 0",
        ),
        (lambda m: sample(predictor_corrector, m, X, [1.0, 0.5], corrections=-1), "at least 0, got -1"),
        (lambda m: sample(predictor_corrector, m, X, [1.0, 0.5], snr=0.0), "snr and step must be positive"),
        (lambda m: sample(langevin, m, X, [1.0, 0.5], step=-0.1), "positive, got snr = 0.16, step = -0.1"),
        (lambda m: next(simulate(VP(), X, [1.0, 0.5])), "increase"),
        (lambda m: next(simulate(VP(), X, [0.5])), "at least two"),
        (lambda m: next(simulate(VP(), X, [0.0, 1.0], rng="3")), "rng must be"),
    ],
)
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call(RING.model(VP()))
    assert len(str(problem.value).splitlines()) == 1


# --- Restart --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [0.002, 0.0])
def test_restart_without_rounds_is_edms_sampler(end):
    schedule = EDM()
    model, x = RING.model(schedule), 80 * initial_noise(6, 2, 0, torch.float64)
    times = [80.0, 10.0, 2.0, 0.3, 0.05, end]
    runs = sample(restart, model, x, times, rounds=0), sample(edm_heun, model, x, times)
    assert torch.allclose(runs[0].x, runs[1].x, rtol=1e-12) and runs[0].nfe == runs[1].nfe


def test_a_round_of_restart_is_a_jump_up_and_heuns_steps_down():
    schedule = VP()
    model, x, z = (
        RING.model(schedule),
        initial_noise(6, 2, 0, torch.float64),
        initial_noise(6, 2, 1, torch.float64),
    )
    times = levels(schedule, 5.0, 1.0, 0.21, 0.05)
    high = levels(schedule, 0.9)[0]
    low = sample(edm_heun, model, x, times[:3]).x
    up = schedule.alpha(high) * (low / schedule.alpha(times[2]) + math.sqrt(0.9**2 - 0.21**2) * z)
    down = schedule.t_of_lam(-np.log(np.linspace(0.9 ** (1 / 7), 0.21 ** (1 / 7), 4) ** 7))
    again = sample(edm_heun, model, up, down).x
    want = sample(edm_heun, model, again, times[2:]).x
    run = sample(
        restart, model, x, times, low=0.2, high=0.9, rounds=1, inner=3, draws=Replay([z]), keep_path=True
    )
    assert torch.allclose(run.x, want, rtol=1e-9) and torch.allclose(run.path[2], again, rtol=1e-9)
    assert run.nfe == 2 * (3 + 3) and len(run.times) == 4


@some_schedules
def test_restart_keeps_the_distribution_of_an_exact_model(schedule):
    """To the discretisation's order; rounds add no variance of their own."""
    times = grids.uniform_lambda(schedule, 400, *levels(schedule, 5.0, 0.02))
    last = float(times[-1])
    want = (schedule.alpha(last) * 0.5) ** 2 + schedule.sigma(last) ** 2
    for rounds in (0, 1, 5):
        assert exact_variance(restart, schedule, times, rounds=rounds) == pytest.approx(want, rel=1e-4)


def test_restart_on_a_grid_that_stays_above_it_is_edms_sampler():
    model, x, times = RING.model(VP()), initial_noise(2, 2), levels(VP(), 5.0, 3.0, 2.0)
    run = sample(restart, model, x, times, low=0.2, high=1.0)
    assert torch.allclose(run.x, sample(edm_heun, model, x, times).x) and run.nfe == 4


def test_restart_says_what_it_cannot_do():
    model, x = RING.model(VP()), initial_noise(2, 2)
    with pytest.raises(ValueError, match="0 < low < high"):
        sample(restart, model, x, grids.uniform(VP(), 5), low=1.0, high=0.5)
    with pytest.raises(ValueError, match="rounds must be a whole number"):
        sample(restart, model, x, grids.uniform(VP(), 5), rounds=-1)
