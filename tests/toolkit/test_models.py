"""One model, four views: consistent, counted, and composable."""

import math

import numpy as np
import pytest
import torch

from toolkit import (
    AFS,
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    Guided,
    Mixture,
    Network,
    SubVP,
    Thresholded,
    VPCosine,
    grids,
    sample,
)
from toolkit.ddim import ddim
from toolkit.models import VIEWS, view_coefficients

SCHEDULES = [VP(), VPCosine(), VE(), SubVP(), EDM(), Flow(), Discrete.linear()]
by_name = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
MIXTURE = Mixture([0.2, 0.5, 0.3], [[-1.0, 0.3], [0.5, 0.5], [0.1, -0.8]], [0.3, 0.2, 0.4])


def times_of(schedule):
    low = max(schedule.end, 0.01)
    return [low, 0.3 * schedule.start, schedule.start]


def states(n=8, seed=0, dtype=torch.float64, d=2):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def raw_output(exact, predicts, sigma_data=0.5):
    """What a perfect network that predicts `predicts` returns, by the definitions in the papers."""
    schedule = exact.schedule
    if predicts != "edm":
        view = getattr(exact, predicts)
        return lambda x, c: view(x, float(c[0]))

    def edm(x_in, c_noise):
        sigma = torch.exp(4 * c_noise.double())[:, None]
        t = schedule.t_of_lam(-4 * float(c_noise[0].double()))
        total = sigma**2 + sigma_data**2
        x_hat = x_in * total.sqrt()  # the network sees c_in x_hat
        denoised = exact.x0(schedule.alpha(t) * x_hat, t)
        c_skip, c_out = sigma_data**2 / total, sigma * sigma_data / total.sqrt()
        return (denoised - c_skip * x_hat) / c_out

    return edm


@by_name
@pytest.mark.parametrize("predicts", [*VIEWS, "edm"])
def test_a_perfect_network_is_the_exact_model_in_every_view(schedule, predicts):
    exact = MIXTURE.model(schedule)
    model = Network(raw_output(exact, predicts), schedule, predicts=predicts)
    for t in times_of(schedule):
        x = schedule.alpha(t) * MIXTURE.sample(8, 1) + schedule.sigma(t) * states()
        for view in VIEWS:
            got, want = getattr(model, view)(x, t), getattr(exact, view)(x, t)
            # eps from x0 divides by sigma, x0 from eps by alpha: what float64 leaves is scaled so
            scale = max(1.0, schedule.sigma(t) / schedule.alpha(t), 1 / schedule.sigma(t)) ** 2
            assert torch.allclose(got, want, rtol=1e-9, atol=2e-13 * scale), (
                view,
                t,
                (got - want).abs().max(),
            )


@by_name
@pytest.mark.parametrize("have", [*VIEWS, "edm"])
@pytest.mark.parametrize("want", [*VIEWS, "edm"])
def test_every_pair_of_views_undoes_its_inverse(schedule, have, want):
    for t in times_of(schedule):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        a, b = view_coefficients(have, want, alpha, sigma)
        c, d = view_coefficients(want, have, alpha, sigma)
        assert b * d == pytest.approx(1, rel=1e-11)
        assert c + d * a == pytest.approx(0, abs=1e-11 * max(1, abs(c)))
        assert view_coefficients(have, have, alpha, sigma) == pytest.approx((0, 1), abs=1e-12)


@by_name
@pytest.mark.parametrize("have", VIEWS)
def test_views_follow_the_definition_of_x_t(schedule, have):
    """From data and noise known, each view of x_t gives each other one."""
    x0, eps = states(seed=2), states(seed=3)
    for t in times_of(schedule):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x = alpha * x0 + sigma * eps
        truth = {"x0": x0, "eps": eps, "score": -eps / sigma, "v": alpha * eps - sigma * x0}
        truth["flow"] = eps - x0
        for want in VIEWS:
            a, b = view_coefficients(have, want, alpha, sigma)
            size = max(1.0, abs(a), abs(b)) * max(1.0, sigma, 1 / sigma)
            assert torch.allclose(a * x + b * truth[have], truth[want], atol=1e-14 * size, rtol=1e-9)


def test_views_at_the_ends():
    x = states()
    # nothing is noise at sigma = 0
    assert torch.equal(Network(lambda x, c: x, EDM(), predicts="edm", clock="sigma").x0(x, 0.0), x)
    with pytest.raises(ValueError, match="clock='c_noise' cannot be asked at t = 0"):
        Network(lambda x, c: x, EDM(), predicts="edm").x0(x, 0.0)
    assert torch.equal(Network(lambda x, c: x, EDM(), predicts="eps").x0(x, 0.0), x)
    with pytest.raises(ValueError, match="eps cannot be computed from x0"):
        Network(lambda x, c: x, EDM(), predicts="x0").eps(x, 0.0)
    with pytest.raises(ValueError, match="x0 cannot be computed from eps"):
        Network(lambda x, c: x, Flow(), predicts="eps").x0(x, 1.0)
    assert torch.equal(Network(lambda x, c: x, VPCosine(), predicts="v").x0(x, 1.0), -x)


@by_name
def test_clocks(schedule):
    seen = []

    def net(x, c):
        seen.append(c)
        return x

    for t in times_of(schedule):
        lam, sigma, alpha = schedule.lam(t), schedule.sigma(t), schedule.alpha(t)
        truth = {"t": t, "lam": lam, "sigma": sigma / alpha, "c_noise": math.log(sigma / alpha) / 4}
        if isinstance(schedule, Discrete):
            truth["index"] = 1000 * t
        for clock, value in truth.items():
            for x in (states(), states(dtype=torch.float32), states(dtype=torch.float16)):
                model = Network(net, schedule, clock=clock)
                for time in (
                    t,
                    torch.tensor(t, dtype=torch.float64),
                    torch.full((len(x),), t, dtype=torch.float64),
                ):
                    model.eps(x, time)
                    c = seen.pop()
                    assert c.shape == (len(x),) and c.device == x.device
                    assert c.dtype == (torch.float64 if x.dtype == torch.float64 else torch.float32)
                    assert c.tolist() == pytest.approx([value] * len(x), rel=1e-6, abs=1e-6)
    assert Network(net, schedule).clock == "t" and Network(net, schedule, predicts="edm").clock == "c_noise"


def test_a_network_is_told_whole_steps():
    """Embedding tables are indexed by the clock: n / T * T must be n, in float64 as well, and 1 at least."""
    for T in (50, 100, 250, 1000):
        schedule, seen = Discrete(np.full(T, 1e-3)), []
        model = Network(lambda x, c: seen.append(c) or x, schedule, clock="index")  # noqa: B023
        for dtype in (torch.float32, torch.float64):
            x = torch.zeros(1, 1, dtype=dtype)
            for n in range(T + 1):
                model.eps(x, n / T)
                assert int(seen.pop().long()) == max(n, 1)


def test_half_precision_clocks_are_not_half_precise():
    seen = []
    model = Network(lambda x, c: seen.append(c) or x, Discrete.linear(), clock="index")
    model.eps(states(dtype=torch.bfloat16), 0.999)
    assert seen[0].tolist() == pytest.approx([999.0] * 8, abs=1e-3)


@by_name
@pytest.mark.parametrize("predicts", [*VIEWS, "edm"])
def test_a_time_for_each_sample_equals_one_time_for_all(schedule, predicts):
    model = Network(lambda x, c: torch.tanh(x) * (1 + 0.1 * c[:, None]), schedule, predicts=predicts)
    exact = MIXTURE.model(schedule)
    x, ts = states(6), np.repeat(times_of(schedule), 2)
    for m in (model, exact):
        for view in VIEWS:
            got = getattr(m, view)(x, torch.from_numpy(ts))
            for i, t in enumerate(ts):
                want = getattr(m, view)(x[i : i + 1], float(t))
                assert torch.allclose(got[i : i + 1], want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("predicts", [*VIEWS, "edm"])
def test_dtype_is_kept(dtype, predicts):
    x = states(dtype=dtype)
    for model in (
        Network(lambda x, c: 0.5 * x, VP(), predicts=predicts),
        Thresholded(Network(lambda x, c: 0.5 * x, VP(), predicts=predicts)),
        AFS(Network(lambda x, c: 0.5 * x, VP(), predicts=predicts)),
    ):
        for t in (0.5, torch.full((8,), 0.5)):
            for view in VIEWS:
                got = getattr(model, view)(x, t)
                assert got.dtype == dtype and got.shape == x.shape


# --- counting -------------------------------------------------------------------------------------------


def conditional_net(x, c, label=None):
    return x if label is None else x + label[:, None].to(x)


def test_relatives_share_one_counter():
    model = Network(conditional_net, VP())
    guided = Guided(model, 3, 2.0)
    clipped = Thresholded(guided)
    x = states()
    model.eps(x, 0.5)
    assert model.nfe == guided.nfe == clipped.nfe == 1
    model.with_label(1).x0(x, 0.5)
    assert model.nfe == 2
    guided.eps(x, 0.5)
    assert model.nfe == 4  # guidance costs two calls
    clipped.v(x, 0.5)
    assert model.nfe == clipped.nfe == model.with_label(7).nfe == 6
    assert Network(conditional_net, VP()).nfe == 0  # another model is another counter


def test_labels_reach_the_network():
    model, x = Network(conditional_net, VP(), label=2), states(3)
    assert torch.equal(model.eps(x, 0.5), x + 2)
    assert torch.equal(model.with_label(None).eps(x, 0.5), x)
    each = torch.tensor([4, 5, 6])
    assert torch.equal(model.with_label(each).eps(x, 0.5), x + each[:, None])
    assert torch.equal(model.with_label([4, 5, 6]).eps(x, 0.5), x + each[:, None])
    assert torch.equal(model.with_label(each).rows(1, 3).eps(x[1:], 0.5), (x + each[:, None])[1:])
    assert model.label == 2  # with_label makes a relative and leaves the model alone


def test_labels_that_do_not_fit():
    with pytest.raises(ValueError, match="label"):
        Network(conditional_net, VP(), label=torch.tensor([1, 2])).eps(states(3), 0.5)
    unlabelled = Thresholded(Network(conditional_net, VP()))
    assert torch.equal(unlabelled.with_label(1).model.eps(states(), 0.5), states() + 1)


# --- wrappers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5, -1.0])
@pytest.mark.parametrize("predicts", VIEWS)
def test_guidance_is_the_formula_by_hand(scale, predicts):
    net = lambda x, c, label=None: torch.tanh(x) if label is None else torch.tanh(x * (1 + label[:, None]))
    model = Network(net, VP(), predicts=predicts)
    x, label = states(), torch.arange(8) % 3
    null, wanted = (model.with_label(l).eps(x, 0.4) for l in (None, label))
    guided = Guided(model, label, scale)
    eps = null + scale * (wanted - null)
    assert torch.allclose(guided.eps(x, 0.4), eps, atol=1e-13)
    alpha, sigma = VP().alpha(0.4), VP().sigma(0.4)
    x0 = (x - sigma * eps) / alpha
    assert torch.allclose(guided.x0(x, 0.4), x0, atol=1e-12)
    assert torch.allclose(guided.score(x, 0.4), -eps / sigma, atol=1e-12)
    assert torch.allclose(guided.v(x, 0.4), alpha * eps - sigma * x0, atol=1e-12)
    assert torch.equal(guided.rows(2, 5).eps(x[2:5], 0.4), guided.eps(x, 0.4)[2:5])


def test_guidance_of_an_exact_model_is_the_tilted_score():
    """scale 1 is the conditional model, 0 the unconditional one, and log p + w log p(c|x) has the
    guided score.
    """
    model = Mixture([0.5, 0.5], [[-1.0], [1.0]], [0.5, 0.5]).model(VP())
    x = states(d=1).requires_grad_()
    assert torch.allclose(Guided(model, 1, 1.0).eps(x, 0.3), model.with_label(1).eps(x, 0.3), atol=1e-13)
    assert torch.allclose(Guided(model, 1, 0.0).eps(x, 0.3), model.eps(x, 0.3), atol=1e-13)
    tilted = model.log_prob(x, 0.3) + 3.0 * (model.with_label(1).log_prob(x, 0.3) - model.log_prob(x, 0.3))
    (gradient,) = torch.autograd.grad(tilted.sum(), x)
    assert torch.allclose(Guided(model, 1, 3.0).score(x, 0.3), gradient, atol=1e-10)


def test_static_thresholding_clips():
    model = Network(lambda x, c: 3 * x, VP(), predicts="x0")
    x = states()
    clipped = (3 * x).clamp(-1, 1)
    static = Thresholded(model, quantile=None)
    assert torch.equal(static.x0(x, 0.3), clipped)
    alpha, sigma = VP().alpha(0.3), VP().sigma(0.3)
    eps = (x - alpha * clipped) / sigma
    assert torch.allclose(static.eps(x, 0.3), eps, atol=1e-13)
    assert torch.allclose(static.v(x, 0.3), alpha * eps - sigma * clipped, atol=1e-13)
    assert torch.allclose(static.score(x, 0.3), -eps / sigma, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("quantile, limit", [(0.9, 1.0), (1.0, 0.5), (0.5, 2.0)])
def test_dynamic_thresholding_rescales_each_sample(dtype, quantile, limit):
    x = states(6, d=20, dtype=dtype) * torch.tensor([0.1, 0.5, 1, 2, 4, 8], dtype=dtype)[:, None]
    got = Thresholded(Network(lambda x, c: x, VP(), predicts="x0"), quantile, limit).x0(x, 0.3)
    for row, out in zip(x.numpy(), got.numpy()):
        s = max(limit, np.quantile(np.abs(row), quantile))
        assert out == pytest.approx(np.clip(row, -s, s) * limit / s, rel=4 * torch.finfo(dtype).eps * 20)
    assert got.abs().max() <= limit * (1 + 1e-6)


def test_thresholding_leaves_data_inside_the_limit_alone():
    model = Network(lambda x, c: 0.1 * torch.tanh(x), VP(), predicts="x0")
    for wrapped in (Thresholded(model), Thresholded(model, quantile=None)):
        for view in VIEWS:
            assert torch.allclose(
                getattr(wrapped, view)(states(), 0.4), getattr(model, view)(states(), 0.4), atol=1e-13
            )


@by_name
def test_the_analytic_first_step_is_exact_on_gaussian_data_and_free(schedule):
    exact = Mixture.gaussian(2, std=0.7, mean=0.3).model(schedule)
    model = AFS(exact, mean=0.3, std=0.7)
    t, x = schedule.start, schedule.sigma(schedule.start) * states()
    for view in VIEWS:
        model.begin()
        want = getattr(exact, view)(x, t)
        before = exact.nfe
        assert torch.allclose(getattr(model, view)(x, t), want, rtol=1e-10, atol=1e-10)
        assert exact.nfe == before
        getattr(model, view)(x, t)
        assert exact.nfe == before + 1  # only the first call is free


def test_every_run_gets_its_free_first_step():
    exact = MIXTURE.model(VP())
    label_net = Network(conditional_net, VP())
    times = grids.uniform(VP(), 5)
    for model, calls in [
        (AFS(exact), 4),
        (Thresholded(AFS(exact)), 4),
        (AFS(Thresholded(exact)), 4),
        (Guided(AFS(label_net), 1, 2.0), 8),
        (AFS(Guided(label_net, torch.arange(6), 2.0)), 8),
    ]:
        for batch_size in (None, 6, 2):
            assert sample(ddim, model, states(6), times, batch_size=batch_size).nfe == calls


# --- errors ---------------------------------------------------------------------------------------------

X = states(4)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: Network(lambda x, c: x[:2], VP()).eps(X, 0.5), r"shape \(4, 2\), got shape \(2, 2\)"),
        (lambda: Network(lambda x, c: None, VP()).eps(X, 0.5), "NoneType"),
        (lambda: Network(lambda x, c: x, VP(), learned_variance=True).eps(X, 0.5), r"shape \(4, 4\)"),
        (lambda: Network(lambda x, c: x, VP()).eps_and_fraction(X, 0.5), "learned_variance=True"),
        (lambda: MIXTURE.model(VP()).eps_and_fraction(X, 0.5), "learned_variance=True"),
        (
            lambda: Thresholded(Network(lambda x, c: x, VP())).eps_and_fraction(X, 0.5),
            "learned_variance=True",
        ),
        (lambda: Network(lambda x, c: x, VP()).x0(X, torch.rand(3)), r"shape \(4,\)"),
        (lambda: Network(lambda x, c: x, VP()).x0(X, torch.rand(4, 1)), r"shape \(4,\)"),
        (lambda: MIXTURE.model(VP()).eps(X, torch.rand(3)), r"shape \(4,\)"),
        (lambda: Network(lambda x, c: x, VP(), predicts="noise"), "predicts must be one of"),
        (lambda: Network(lambda x, c: x, VP(), clock="sundial"), "clock must be one of"),
        (lambda: Network(lambda x, c: x, VP(), clock="index"), "needs a Discrete schedule"),
        (lambda: Thresholded(MIXTURE.model(VP()), quantile=1.5), "quantile"),
        (lambda: view_coefficients("eps", "noise", 0.5, 0.5), "noise"),
    ],
)
def test_mistakes_are_one_sentence(call, says):
    with pytest.raises(ValueError, match=says) as problem:
        call()
    assert len(str(problem.value).splitlines()) == 1


def test_learned_variance_is_read_from_the_second_half_of_the_channels():
    net = lambda x, c: torch.cat([2 * x, torch.full_like(x, 0.5)], dim=1)
    model = Network(net, VP(), predicts="v", learned_variance=True)
    plain = Network(lambda x, c: 2 * x, VP(), predicts="v")
    x = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    eps, fraction = model.eps_and_fraction(x, 0.5)
    assert model.nfe == 1 and torch.equal(eps, plain.eps(x, 0.5)) and (fraction == 0.75).all()
    for view in VIEWS:
        assert torch.equal(getattr(model, view)(x, 0.5), getattr(plain, view)(x, 0.5))
