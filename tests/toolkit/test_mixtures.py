"""Every oracle is checked by a second, independent route."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad, solve_ivp

from toolkit import EDM, VE, VP, Discrete, Flow, GaussianFlow, Mixture, QuantileFlow, SubVP, VPCosine

SCHEDULES = [VP(), VPCosine(), VE(), SubVP(), EDM(), Flow(), Discrete.linear()]
by_name = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def some_times(schedule):
    low, high = max(schedule.end, 0.01), schedule.start
    return [low, 0.3 * high + 0.7 * low, 0.7 * high, high]


def a_mixture(d, seed=0, full=False, K=4):
    rng = np.random.default_rng(seed)
    means, weights = rng.normal(size=(K, d)), rng.uniform(0.2, 1, K)
    if not full:
        return Mixture(weights, means, rng.uniform(0.1, 0.6, K))
    roots = rng.normal(size=(K, d, d)) * 0.5
    return Mixture(weights, means, covariances=roots @ roots.transpose(0, 2, 1) + 0.02 * np.eye(d))


def noisy(mixture, schedule, t, n=32, seed=1):
    """Draws of x_t."""
    x0 = mixture.sample(n, seed)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed + 100), dtype=torch.float64)
    return schedule.alpha(t) * x0 + schedule.sigma(t) * noise


@by_name
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_score_is_the_gradient_of_log_prob(schedule, full, d):
    mixture = a_mixture(d, seed=d, full=full)
    model = mixture.model(schedule)
    for t in some_times(schedule):
        x = noisy(mixture, schedule, t).requires_grad_()
        (gradient,) = torch.autograd.grad(model.log_prob(x, t).sum(), x)
        sigma = schedule.sigma(t)
        assert torch.allclose(sigma * model.score(x, t), sigma * gradient, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("full", [False, True])
def test_log_prob_is_the_density_that_scipy_knows(full):
    mixture = a_mixture(3, seed=7, full=full)
    alpha, sigma = 0.7, 0.4
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    density = np.zeros(20)
    for k, weight in enumerate(mixture.weights):
        within = mixture.covariances[k] if full else mixture.stds[k] ** 2 * torch.eye(3).double()
        cov = alpha**2 * within + sigma**2 * torch.eye(3).double()
        density += float(weight) * stats.multivariate_normal(alpha * mixture.means[k], cov).pdf(x)
    assert mixture.log_prob(x, alpha, sigma).numpy() == pytest.approx(np.log(density), abs=1e-11)
    columns = [torch.full((20, 1), level, dtype=torch.float64) for level in (alpha, sigma)]
    assert torch.allclose(mixture.log_prob(x, *columns), mixture.log_prob(x, alpha, sigma), atol=1e-12)


@by_name
@pytest.mark.parametrize("full", [False, True])
def test_tweedie(schedule, full):
    """E[x_0 | x_t] = (x + sigma^2 score) / alpha, computed in the model along another path."""
    mixture = a_mixture(3, seed=11, full=full)
    model = mixture.model(schedule)
    for t in some_times(schedule):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x = noisy(mixture, schedule, t)
        x0 = model.x0(x, t)
        assert torch.allclose(
            alpha * x0, x + sigma**2 * model.score(x, t), atol=1e-10 * max(1, sigma), rtol=1e-10
        )
        assert torch.allclose(model.eps(x, t), -sigma * model.score(x, t), atol=1e-12)
        assert torch.allclose(model.v(x, t), alpha * model.eps(x, t) - sigma * x0, atol=1e-10 * max(1, sigma))


@pytest.mark.slow
@by_name
def test_x0_is_the_posterior_mean_by_quadrature(schedule):
    mixture = a_mixture(1, seed=3)
    model = mixture.model(schedule)
    peaks = [(float(m), float(s)) for m, s in zip(mixture.means[:, 0], mixture.stds)]
    span = [min(m - 12 * s for m, s in peaks), max(m + 12 * s for m, s in peaks)]

    heights = [float(w) / (s * math.sqrt(2 * math.pi)) for w, (_, s) in zip(mixture.weights, peaks)]

    def prior(x0):
        return sum(h * math.exp(-0.5 * ((x0 - m) / s) ** 2) for h, (m, s) in zip(heights, peaks))

    for t in some_times(schedule)[1:]:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        for x in noisy(mixture, schedule, t, n=3)[:, 0].tolist():

            def joint(x0, power, x=x, alpha=alpha, sigma=sigma):
                return x0**power * prior(x0) * math.exp(-0.5 * ((x - alpha * x0) / sigma) ** 2)

            likely = [x / alpha + k * sigma / alpha for k in (-3, -1, 0, 1, 3)]
            points = sorted(p for p in likely + [m for m, _ in peaks] if span[0] < p < span[1])
            first, zeroth = (
                quad(joint, *span, args=(power,), points=points, epsabs=1e-15, epsrel=1e-13, limit=500)[0]
                for power in (1, 0)
            )
            got = model.x0(torch.tensor([[x]], dtype=torch.float64), t)
            assert float(got) == pytest.approx(first / zeroth, abs=1e-10)


@by_name
@pytest.mark.parametrize("view", ["eps", "x0", "score", "v"])
def test_isotropic_and_full_covariance_are_two_routes_to_one_model(schedule, view):
    isotropic = a_mixture(4, seed=5)
    covariances = isotropic.stds[:, None, None] ** 2 * torch.eye(4).double()
    full = Mixture(isotropic.weights, isotropic.means, covariances=covariances)
    assert torch.allclose(full.covariance(), isotropic.covariance(), atol=1e-13)
    for t in some_times(schedule):
        x = noisy(isotropic, schedule, t)
        one, two = (getattr(m.model(schedule), view)(x, t) for m in (isotropic, full))
        assert torch.allclose(one, two, atol=1e-10, rtol=1e-10)
        times = torch.full((len(x),), t, dtype=torch.float64)
        for mixture in (isotropic, full):
            assert torch.allclose(
                getattr(mixture.model(schedule), view)(x, times), one, atol=1e-10, rtol=1e-10
            )


def test_full_covariance_does_not_depend_on_the_axes():
    """Rotating the data rotates the answer."""
    mixture = a_mixture(3, seed=2, full=True)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(4)).double())
    turned = Mixture(mixture.weights, mixture.means @ turn.T, covariances=turn @ mixture.covariances @ turn.T)
    x = noisy(mixture, VP(), 0.4)
    one, two = mixture.model(VP()).x0(x, 0.4), turned.model(VP()).x0(x @ turn.T, 0.4)
    assert torch.allclose(one @ turn.T, two, atol=1e-11)


# --- exact flows ----------------------------------------------------------------------------------------


def reference_flow(model, x, t, s, rtol=1e-12, atol=1e-13):
    """The probability-flow ODE dx/dt = f x - g^2/2 score by scipy's DOP853, in log-SNR time where the
    schedule is steep.
    """
    schedule, shape = model.schedule, x.shape

    def slope(u, y):
        now = schedule.t_of_lam(u)
        speed = 1 / (-0.5 * schedule.g2(now) / schedule.sigma(now) ** 2)  # dt/dlambda
        state = torch.from_numpy(y).reshape(shape)
        drift = schedule.f(now) * state - 0.5 * schedule.g2(now) * model.score(state, now)
        return (speed * drift).numpy().reshape(-1)

    ends = schedule.lam(t), schedule.lam(s)
    solution = solve_ivp(slope, ends, x.numpy().reshape(-1), method="DOP853", rtol=rtol, atol=atol)
    assert solution.success
    return torch.from_numpy(solution.y[:, -1]).reshape(shape)


def flow_ends(schedule):
    low = {"VE": 0.0, "Discrete": 0.02, "EDM": 0.05}.get(type(schedule).__name__, 0.02)
    return (5.0 if isinstance(schedule, EDM) else 0.9 * schedule.start), low


@pytest.mark.parametrize(
    "schedule", [s for s in SCHEDULES if not isinstance(s, Discrete)], ids=lambda s: type(s).__name__
)
def test_gaussian_flow_solves_the_ode(schedule):
    t, s = flow_ends(schedule)
    rng = np.random.default_rng(3)
    root = rng.normal(size=(3, 3))
    covariance, mean = root @ root.T / 4 + 0.05 * np.eye(3), rng.normal(size=3)
    full = Mixture([1.0], mean[None], covariances=covariance[None])
    flow = GaussianFlow(schedule, mean, covariance=covariance)
    x = noisy(full, schedule, t, n=6)
    want = reference_flow(full.model(schedule), x, t, s)
    assert torch.allclose(flow.map(x, t, s), want, atol=1e-10, rtol=1e-10)
    assert torch.allclose(flow.map(flow.map(x, t, s), s, t), x, atol=1e-11 * max(1, schedule.sigma(t)))
    simple, one = GaussianFlow(schedule, 0.3, std=0.5), Mixture.gaussian(3, 0.5, 0.3)
    assert torch.allclose(
        simple.map(x, t, s), reference_flow(one.model(schedule), x, t, s), atol=1e-10, rtol=1e-10
    )


@pytest.mark.parametrize(
    "schedule", [VP(), VPCosine(), VE(0.1, 8.0), SubVP(), EDM(), Flow()], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("full", [False, True])
def test_quantile_flow_solves_the_ode(schedule, full):
    t, s = flow_ends(schedule)
    mixture = a_mixture(1, seed=8, full=full)
    x = noisy(mixture, schedule, t, n=6)
    flow = QuantileFlow(schedule, mixture)
    want = reference_flow(mixture.model(schedule), x, t, s)
    assert torch.allclose(flow.map(x, t, s), want, atol=1e-10)
    assert torch.equal(flow.map(x[:, 0], t, s), flow.map(x, t, s)[:, 0])


def test_quantile_flow_of_one_gaussian_is_the_gaussian_flow():
    x = torch.linspace(-9, 9, 41, dtype=torch.float64)[:, None]  # far into both tails
    one, two = QuantileFlow(VP(), Mixture.gaussian(1, 0.5, 0.2)), GaussianFlow(VP(), 0.2, std=0.5)
    for t, s in [(1.0, 0.0), (1.0, 0.3), (0.2, 0.9)]:
        assert torch.allclose(one.map(x, t, s), two.map(x, t, s), atol=1e-10, rtol=1e-11)


def test_flows_keep_dtype_and_device_of_the_state():
    x = torch.randn(5, 1)
    for flow in (QuantileFlow(VP(), Mixture.gaussian(1, 0.5)), GaussianFlow(VP(), std=0.5)):
        assert flow.map(x, 1.0, 0.1).dtype == torch.float32


# --- data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_samples_have_the_moments_of_the_mixture(full, seed):
    mixture, n = a_mixture(3, seed=20, full=full), 40_000
    x = mixture.sample(n, seed)
    assert x.dtype == torch.float64 and torch.equal(x, mixture.sample(n, seed))
    covariance = mixture.covariance()
    z = (x.mean(0) - mixture.mean()) / (covariance.diagonal() / n).sqrt()
    assert z.abs().max() < 5
    centred = x - mixture.mean()
    products = centred[:, :, None] * centred[:, None, :]
    z = (products.mean(0) - covariance) / (products.std(0) / math.sqrt(n))
    assert z.abs().max() < 5.5


def test_the_ring():
    ring = Mixture.ring(8, radius=2.0, std=0.1)
    assert ring.d == 2 and torch.allclose(ring.means.norm(dim=1), torch.full((8,), 2.0).double())
    assert torch.allclose(ring.mean(), torch.zeros(2).double(), atol=1e-15)
    assert torch.allclose(ring.covariance(), (2.0 + 0.01) * torch.eye(2).double(), atol=1e-14)


def test_point_masses_give_the_ideal_denoiser_of_a_finite_data_set():
    data = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    model = Mixture.empirical(data).model(VP())
    x = noisy(Mixture.empirical(data), VP(), 0.5, n=9).reshape(9, 1, 2, 2)
    alpha, sigma = VP().alpha(0.5), VP().sigma(0.5)
    squares = (x[:, None] - alpha * data[None]).square().flatten(2).sum(-1)
    weights = torch.softmax(-squares / (2 * sigma**2), dim=1)
    assert torch.allclose(model.x0(x, 0.5).flatten(1), weights @ data.flatten(1), atol=1e-12)


def test_a_condition_picks_components():
    mixture = Mixture([0.2, 0.3, 0.5], [[-1.0], [0.0], [2.0]], [0.3, 0.2, 0.4], labels=[0, 1, 1])
    model = mixture.model(VP())
    second = Mixture([0.3, 0.5], [[0.0], [2.0]], [0.2, 0.4]).model(VP())
    x = torch.linspace(-2, 3, 11, dtype=torch.float64)[:, None]
    for t in (0.1, 0.5, 1.0):
        for view in ("eps", "x0", "score", "v", "log_prob"):
            assert torch.allclose(
                getattr(model.with_label(1), view)(x, t), getattr(second, view)(x, t), atol=1e-12
            )
    labels = torch.tensor([0, 1] * 5 + [0])
    mixed = model.with_label(labels).x0(x, 0.5)
    for label in (0, 1):
        assert torch.equal(mixed[labels == label], model.with_label(label).x0(x, 0.5)[labels == label])
    log_p = [math.log(w) + model.with_label(c).log_prob(x, 0.5) for c, w in ((0, 0.2), (1, 0.8))]
    assert torch.allclose(torch.logaddexp(*log_p), model.log_prob(x, 0.5), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("full", [False, True])
def test_lower_precision_states(dtype, full):
    mixture = a_mixture(2, seed=1, full=full)
    model = mixture.model(VP())
    x = noisy(mixture, VP(), 0.5).to(dtype)
    for view in ("eps", "x0", "score", "v"):
        got, want = getattr(model, view)(x, 0.5), getattr(model, view)(x.double(), 0.5)
        assert got.dtype == dtype
        assert torch.allclose(got.double(), want, atol=8 * torch.finfo(dtype).eps + 1e-5, rtol=1e-2)


def test_images_are_samples_too():
    mixture = a_mixture(4, seed=6)
    x = noisy(mixture, VP(), 0.5)
    model = mixture.model(VP())
    assert torch.equal(model.eps(x.reshape(-1, 1, 2, 2), 0.5).flatten(1), model.eps(x, 0.5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mixture([1.0, 1.0], [[0.0]], [1.0]),
        lambda: Mixture([1.0], [0.0], [1.0]),
        lambda: Mixture([-1.0], [[0.0]], [1.0]),
        lambda: Mixture([1.0], [[0.0]], [-1.0]),
        lambda: Mixture([1.0], [[0.0]], [1.0, 2.0]),
        lambda: Mixture([1.0], [[0.0]]),
        lambda: Mixture([1.0], [[0.0]], [1.0], covariances=[[[1.0]]]),
        lambda: Mixture([1.0], [[0.0, 0.0]], covariances=[[[1.0]]]),
        lambda: Mixture([1.0], [[0.0, 0.0]], covariances=[[[1.0, 2.0], [2.0, 1.0]]]),
        lambda: Mixture([1.0, math.nan], [[0.0], [1.0]], [1.0, 1.0]),
        lambda: Mixture([1.0, 1.0], [[0.0], [math.nan]], [1.0, 1.0]),
        lambda: QuantileFlow(VP(), Mixture.ring()),
        lambda: GaussianFlow(VP()),
        lambda: GaussianFlow(VP(), std=1.0, covariance=[[1.0]]),
        lambda: Mixture.ring().model(VP()).eps(torch.zeros(3, 5), 0.5),
        lambda: Mixture.ring().model(VP()).eps(torch.zeros(2), 0.5),
        lambda: Mixture.ring().model(VP()).with_label(8),
    ],
)
def test_impossible_mixtures_are_refused(make):
    with pytest.raises(ValueError) as problem:
        make()
    assert len(str(problem.value).splitlines()) == 1
