"""Chapter 5: the flow map and its slope, the losses' targets and minimisers, refinement, break-even."""

import math

import numpy as np
import sympy
import torch

from book.ch05 import experiments
from book.problems import rms, two_peaks
from tests.book.notebooks.equations import equation
from toolkit import EDM, VP, Flow, Mixture, distilled, grids, initial_noise, sample
from toolkit.convergence import reference
from toolkit.data import digit_labels
from toolkit.ddim import ddim
from toolkit.distill import (
    ConsistencyModel,
    FlowMap,
    at_scale,
    boundary_coefficients,
    consistency,
    critic_loss,
    ddim_step,
    guided_x0,
    pseudo_huber,
    two_step_target,
    x0_that_leads,
)
from toolkit.mixtures import GaussianFlow
from toolkit.models import Guided
from toolkit.networks import ToyMLP
from toolkit.training import target

SCHEDULE = EDM()
PEAKS = two_peaks()
DOUBLE = {"dtype": torch.float64}


@equation("distill.flowmap")
def flowmap():
    """Quantile matching ends where an independent ODE solver ends, and quantiles are kept."""
    x = experiments.quantiles(20)
    for t in (80.0, 3.0):
        y = experiments.flow_map(x * t / 80, start=t)
        before = experiments.marginal(PEAKS, x * t / 80, t)[1]
        after = experiments.marginal(PEAKS, y, SCHEDULE.end)[1]
        assert np.allclose(before, after, atol=1e-12)
    start = torch.as_tensor(x[[1, 8, 15]])[:, None]
    solved = reference(PEAKS.model(SCHEDULE), start, 80.0, SCHEDULE.end)[:, 0]
    assert np.allclose(solved, experiments.flow_map(start[:, 0]), atol=1e-6)


@equation("distill.slope")
def slope():
    """The derivative by differences is the ratio of densities, from three levels."""
    for t in (80.0, 2.0, 0.3):
        x = np.linspace(-1.5, 1.5, 13) * math.hypot(1, t)
        h = 1e-5 * math.hypot(1, t)
        result = (experiments.flow_map(x + h, start=t) - experiments.flow_map(x - h, start=t)) / (2 * h)
        y = experiments.flow_map(x, start=t)
        ratio = experiments.marginal(PEAKS, x, t)[0] / experiments.marginal(PEAKS, y, SCHEDULE.end)[0]
        gentle = ratio * t < 100
        assert gentle.sum() > 6 and np.allclose(result[gentle], ratio[gentle], rtol=1e-4)


@equation("distill.regression")
def regression():
    """Least squares on polynomials of x: with independent data as targets the fit is the posterior mean, with
    the flow map's answers the flow map's own projection, without any noise left.
    """
    wide = Mixture([0.5, 0.5], [[-1.0], [1.0]], [0.5, 0.5])
    t, n = 1.0, 200_000
    x0 = wide.sample(n, seed=1)
    x = x0 + t * initial_noise(n, 1, 2, **DOUBLE)
    posterior = wide.model(SCHEDULE).x0(x, t)[:, 0].numpy()
    ends = experiments.flow_map(x[:, 0], wide, start=t)
    order = np.argsort(x[:, 0].numpy()).reshape(400, -1)  # 400 bins of 500
    bins = lambda y: np.asarray(y).reshape(-1)[order]  # noqa: E731
    data, mean, flow = bins(x0), bins(posterior), bins(ends)
    z = (data.mean(1) - mean.mean(1)) / (data.std(1) / 500**0.5)
    assert abs(z.mean()) < 0.2 and 0.8 < z.std() < 1.2, "the mean of the data in a bin is the posterior mean"
    assert rms(posterior - ends) > 0.2, "the two minimisers differ"
    assert data.std(1).mean() > 0.3 and np.median(flow.std(1)) < 0.01, "only the first leaves an error"


@equation("distill.ddim")
def ddim_from_data():
    """The step written in the predicted data is the sampler's, and the batched one's."""
    model, x = Mixture.ring(8).model(VP()), initial_noise(20, 2, 0, **DOUBLE)
    t, u = 0.7, 0.3
    a, s, b, r = (
        model.schedule.alpha(t),
        model.schedule.sigma(t),
        model.schedule.alpha(u),
        model.schedule.sigma(u),
    )
    x0 = model.x0(x, t)
    by_hand = b * x0 + r / s * (x - a * x0)
    every = lambda v: torch.full((20,), v, **DOUBLE)  # noqa: E731
    assert torch.allclose(by_hand, sample(ddim, model, x, [t, u]).x, atol=1e-12)
    assert torch.allclose(by_hand, ddim_step(model, x, every(t), every(u)), atol=1e-12)


@equation("distill.two-step")
def two_step():
    """Solved by sympy from the step; and in numbers: one step with the target ends where two
    of the teacher end.
    """
    a, s, b, r, x, y, hat = sympy.symbols("alpha_t sigma_t alpha_s sigma_s x y hat", positive=True)
    (result,) = sympy.solve(sympy.Eq(b * hat + r / s * (x - a * hat), y), hat)
    assert sympy.simplify(result - (y - r / s * x) / (b - r / s * a)) == 0
    model, state = Mixture.ring(8).model(VP()), initial_noise(20, 2, 0, **DOUBLE)
    every = lambda v: torch.full((20,), v, **DOUBLE)  # noqa: E731
    t, m, u = every(0.8), every(0.6), every(0.35)
    tilde = two_step_target(model, state, t, m, u)
    end = sample(ddim, model, state, [0.8, 0.6, 0.35]).x
    alpha, sigma = VP().alpha(0.8), VP().sigma(0.8)
    one = VP().alpha(0.35) * tilde + VP().sigma(0.35) / sigma * (state - alpha * tilde)
    assert torch.allclose(one, end, atol=1e-12)
    assert torch.allclose(x0_that_leads(VP(), state, t, end, u), tilde, atol=1e-12)
    assert not torch.allclose(tilde, model.x0(state, 0.8), atol=0.05), "which the teacher does not predict"


@equation("distill.guided")
def guided():
    """The target is `Guided`'s prediction, at a scale for each sample; scale 1 is the plain conditional."""
    model, x = Mixture.ring(8).model(SCHEDULE), initial_noise(6, 2, 0, **DOUBLE)
    label, scale = torch.arange(6), torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 0.5], **DOUBLE)
    result = guided_x0(model, x, 0.7, label, scale)
    for i in range(6):
        one = Guided(model, int(label[i]), float(scale[i])).x0(x[i : i + 1], 0.7)
        assert torch.allclose(result[i : i + 1], one, atol=1e-10)
    assert torch.allclose(result[1:2], model.with_label(1).x0(x[1:2], 0.7), atol=1e-12)


@equation("distill.second-stage")
def second_stage():
    """With the target of a guided student at a scale for each sample, one step ends where two of it end, and
    each sample's target is that of its own scale alone.
    """
    first, x = distilled.student("guided"), 4.0 * initial_noise(6, (1, 8, 8), 2)
    label, scale = digit_labels(6, 1), torch.tensor([1.0, 1.5, 2.0, 3.0, 3.5, 4.0])
    model = at_scale(first.with_label(label), scale)
    t, m, u = (torch.full((6,), v, **DOUBLE) for v in (4.0, 2.0, 1.0))
    with torch.no_grad():
        end = ddim_step(model, ddim_step(model, x, t, m), m, u)
        aim = two_step_target(model, x, t, m, u)
        assert torch.allclose(aim + (x - aim) / 4, end, atol=1e-4)
        for i in range(6):
            alone = at_scale(first.with_label(label[i : i + 1]), float(scale[i]))
            one = two_step_target(alone, x[i : i + 1], *(v[:1] for v in (t, m, u)))
            assert torch.allclose(aim[i : i + 1], one, atol=1e-4)


@equation("distill.consistency")
def self_consistency():
    """The flow map has both properties; a constant has the first only."""
    x = experiments.quantiles(50)
    for t in (20.0, 1.0, 0.1):
        assert np.allclose(
            experiments.flow_map(experiments.flow_map(x, end=t), start=t), experiments.flow_map(x), atol=1e-6
        )
    perfect = FlowMap(GaussianFlow(SCHEDULE, std=0.5))
    y = torch.tensor([[0.3]], **DOUBLE)
    assert torch.allclose(perfect.x0(y, SCHEDULE.end), y)
    result = experiments.pairing()
    assert result["loss of a constant, no boundary"] == 0.0


@equation("distill.skip")
def skip():
    """At the end the identity whatever F is; away from it EDM's coefficients, to first order in epsilon; the
    model composes just these.
    """
    sigma, end, d = sympy.symbols("sigma epsilon d", positive=True)
    c_skip = d**2 / ((sigma - end) ** 2 + d**2)
    c_out = d * (sigma - end) / sympy.sqrt(sigma**2 + d**2)
    assert c_skip.subs(sigma, end) == 1 and c_out.subs(sigma, end) == 0
    assert sympy.simplify(c_skip.subs(end, 0) - d**2 / (sigma**2 + d**2)) == 0
    for level in (0.002, 0.5, 80.0):
        result = boundary_coefficients(level, 0.002, 0.5)
        at = {sigma: level, end: 0.002, d: 0.5}
        assert math.isclose(result[0], c_skip.subs(at)) and math.isclose(
            result[1], c_out.subs(at), abs_tol=1e-15
        )
        x = torch.tensor([[0.7]], **DOUBLE)
        model = ConsistencyModel(lambda x, c: torch.full_like(x, 1.3), SCHEDULE, sigma_data=0.5)
        assert math.isclose(float(model.x0(x, level)), result[0] * 0.7 + result[1] * 1.3, rel_tol=1e-12)


@equation("distill.loss")
def loss():
    """Expected descent on the slopes of a Gaussian with the target held fixed settles at the recursion's;
    with the target's gradient it settles elsewhere.
    """
    for steps in (5, 20):
        _, end = experiments.sweeps_with_average(0.0, steps)
        assert math.isclose(end, experiments.one_step_std(steps), rel_tol=1e-6)
    s = experiments.rising(5)
    var, cross = 0.25 + s**2, 0.25 + s[1:] * s[:-1]
    w = s[1:] ** -2 + 4
    value = lambda a: float(
        (w * (a[1:] ** 2 * var[1:] - 2 * a[1:] * a[:-1] * cross + a[:-1] ** 2 * var[:-1])).sum()
    )  # noqa: E731, E501
    best = experiments.slopes_with_gradient(5)
    for n in range(1, 6):
        for h in (1e-3, -1e-3):
            other = best.copy()
            other[n] *= 1 + h
            assert value(other) > value(best)
    assert value(best) < value(experiments.linear_slopes(5))


@equation("distill.pair")
def pair():
    """By quadrature, and by drawing pairs: the mean of x_s near a given x_t is the DDIM step from it."""
    grid, t, s = experiments.quantiles(200) / 40, 2.0, 1.2
    mean = experiments.mean_of(lambda y: y, grid, t - s, *experiments.noise_given(PEAKS, grid, t))
    step = sample(ddim, PEAKS.model(SCHEDULE), torch.as_tensor(grid)[:, None], [t, s]).x[:, 0].numpy()
    assert abs(mean - step).max() < 1e-10
    n, t, s = 400_000, 1.0, 0.7
    x0, z = PEAKS.sample(n, seed=3), initial_noise(n, 1, 4, **DOUBLE)
    x, y = x0 + t * z, x0 + s * z
    step = sample(ddim, PEAKS.model(SCHEDULE), x, [t, s]).x
    basis = torch.cat([torch.ones_like(x), x, x.square(), x.sin()], 1)
    assert ((y - step) * basis).mean(0).abs().max() < 0.005, (
        "the difference is orthogonal to functions of x_t"
    )
    assert rms(y - step) > 0.05


@equation("distill.recursion")
def recursion():
    """The tabulated minimiser beats its neighbours in the drawn loss of each level, and is the Gaussian's
    slope where the data are one Gaussian.
    """
    functions, s = experiments.minimiser(5), experiments.rising(5)
    n = 300_000
    x0, z = PEAKS.sample(n, seed=5)[:, 0].numpy(), initial_noise(n, 1, 6, **DOUBLE)[:, 0].numpy()
    for k in range(5):
        x, wanted = x0 + s[k + 1] * z, functions[k](x0 + s[k] * z)
        answer = functions[k + 1](x)
        for wiggle in (np.ones(n), np.sin(x), np.tanh(3 * x / s[k + 1])):
            assert abs(((wanted - answer) * wiggle).mean()) < 4 * np.std((wanted - answer) * wiggle) / n**0.5


@equation("distill.variance")
def variance():
    """By quadrature over x: the mean is kept, and the variance lost is what the pair leaves uncertain."""
    functions, s = experiments.minimiser(10), experiments.rising(10)
    for k in (2, 5, 9):
        q = (np.arange(4000) + 0.5) / 4000
        high = experiments.levels_of(q, PEAKS, s[k + 1])
        low = experiments.levels_of(q, PEAKS, s[k])
        answer, below = functions[k + 1](high), functions[k](low)
        law = experiments.noise_given(PEAKS, high, s[k + 1])
        square = experiments.mean_of(lambda y, k=k: functions[k](y) ** 2, high, s[k + 1] - s[k], *law)
        lost = (square - answer**2).mean()
        assert abs(answer.mean() - below.mean()) < 2e-4 and lost > 0
        assert math.isclose(answer.var(), below.var() - lost, abs_tol=1e-3)


@equation("distill.gaussian")
def gaussian():
    """The slope is the regression coefficient of x_n on x_{n+1}, and over the exact factor the cosine of the
    difference of angles, both by sympy; the deviation is the product of cosines to rounding, on any grid; and
    equal angles lose least.
    """
    d, t, u = sympy.symbols("d t u", positive=True)
    x0, z = sympy.symbols("x0 z")
    low, high = x0 + t * z, x0 + u * z
    cov = lambda a, b: sympy.expand(a * b).coeff(x0, 2) * d**2 + sympy.expand(a * b).coeff(z, 2)  # noqa: E731
    factor = cov(low, high) / cov(high, high)
    assert sympy.simplify(factor - (d**2 + t * u) / (d**2 + u**2)) == 0
    exact = sympy.sqrt((d**2 + t**2) / (d**2 + u**2))
    cosine = sympy.expand_trig(sympy.cos(sympy.atan(u / d) - sympy.atan(t / d)))
    assert sympy.simplify(factor / exact - cosine) == 0
    every = (grids.karras, grids.uniform_lambda, grids.quadratic, experiments.even_angle)
    for std, m, grid in ((s, m, g) for s in (0.5, 1.3) for m in (1, 7, 160) for g in every):
        share = experiments.one_step_std(m, std=std, grid=grid) / math.hypot(std, SCHEDULE.end)
        assert math.isclose(share, experiments.product_of_cosines(m, grid, std), rel_tol=1e-12)
    best = experiments.product_of_cosines(160, experiments.even_angle)
    whole = math.atan(SCHEDULE.start / 0.5) - math.atan(SCHEDULE.end / 0.5)
    assert math.isclose(best, math.cos(whole / 160) ** 160, rel_tol=1e-9)
    assert all(best > experiments.product_of_cosines(160, grid) for grid in every[:3])
    assert 0.0075 < 1 - best < math.pi**2 / 8 / 160
    data = experiments.linear_slopes(160, shared=False)
    assert data[-1] < 1e-200


@equation("distill.huber")
def huber():
    """Both limits, by sympy and in the core; and what minimises its mean goes from the mean to the median."""
    e, c = sympy.symbols("e c", positive=True)
    rho = sympy.sqrt(e**2 + c**2) - c
    assert sympy.simplify(sympy.series(rho, e, 0, 4).removeO() - e**2 / (2 * c)) == 0
    assert sympy.limit(rho / e, e, sympy.oo) == 1
    error = torch.tensor([[3.0, 4.0], [1e-4, 0.0]], **DOUBLE)
    assert torch.allclose(pseudo_huber(error, 0.1)[0], torch.tensor(math.sqrt(25.01) - 0.1, **DOUBLE))
    points, v = np.array([0.0, 0.0, 0.0, 1.0, 4.0]), np.linspace(-1, 5, 60_001)
    best = lambda c: v[(np.sqrt((points[:, None] - v) ** 2 + c**2) - c).mean(0).argmin()]  # noqa: E731
    assert abs(best(1e-4) - np.median(points)) < 1e-3 and abs(best(100.0) - points.mean()) < 0.01


@equation("distill.multistep")
def multistep():
    """The variance added is the missing one; with the flow map any number of steps keeps the distribution,
    and a biased slope gives the variance of the recursion.
    """
    t, end = 3.0, SCHEDULE.end
    assert math.isclose(end**2 + (t**2 - end**2), t**2)
    perfect = FlowMap(GaussianFlow(SCHEDULE, std=0.5))
    x = math.hypot(80, 0.5) * initial_noise(100_000, 1, 0, **DOUBLE)
    out = sample(consistency, perfect, x, [80.0, t, 0.5, end], draws=1).x
    assert abs(float(out.std()) - experiments.TRUE_STD) < 0.004
    std, gain = experiments.refined_std(20, [10])
    s, a = experiments.rising(20), experiments.linear_slopes(20)
    first = a[-1] ** 2 * (80**2 + 0.25)
    assert math.isclose(std**2, a[10] ** 2 * (first + s[10] ** 2 - s[0] ** 2), rel_tol=1e-12)


@equation("distill.critic")
def critic():
    """Pointwise the critic's loss p softplus(-D) + q softplus(D) is least at log(p / q); the core's loss is
    that sum; and at q = p its value is 2 log 2.
    """
    p, q, D = sympy.symbols("p q D", positive=True)
    value = p * sympy.log(1 + sympy.exp(-D)) + q * sympy.log(1 + sympy.exp(D))
    assert sympy.simplify(sympy.diff(value, D).subs(D, sympy.log(p / q))) == 0
    second = sympy.diff(value, D, 2).subs({p: 0.3, q: 0.7})
    assert all(second.subs(D, v) > 0 for v in (-3, 0, 3))
    flat = lambda x, label=None: (0 * x).sum(1)  # noqa: E731
    x = torch.ones(4, 2)
    assert math.isclose(float(critic_loss(flat, x, x).detach()), 2 * math.log(2), rel_tol=1e-6)


@equation("distill.reflow")
def reflow_field():
    """The regression target in the core is z - x_0; the mean of it given x_t is the velocity of the exact
    flow; and on pairs of the flow map it is the pairs' own line.
    """
    flow = Flow()
    x0, z, t = torch.tensor([[0.3]], **DOUBLE), torch.tensor([[-1.1]], **DOUBLE), 0.4
    v = target("edm", x0, z, torch.tensor(1 - t, **DOUBLE), torch.tensor(t, **DOUBLE), 1.0)
    assert torch.isfinite(v).all()
    model, x = PEAKS.model(flow), torch.linspace(-1, 1, 9, **DOUBLE)[:, None]
    mean = model.eps(x, t) - model.x0(x, t)  # E[z - x_0 | x_t]
    h = 1e-5
    ends = [experiments.flow_map(x[:, 0], PEAKS, t, t + k * h, flow) for k in (1, -1)]
    velocity = (ends[0] - ends[1]) / (2 * h)
    assert np.allclose(mean[:, 0], velocity, atol=1e-5)
    result = experiments.straight_in_one_dimension()
    assert result["pairs whose lines cross"] == 0 and result["before, Euler steps: 1, error"] > 0.8
    assert result["after, Euler steps: 10, error"] < 0.02 < result["before, Euler steps: 10, error"]


@equation("distill.tangent")
def tangent():
    """The gradient of (5.8) over twice the gap comes to that of the tangent with order one; the mean tangent
    of the flow map is zero, on a Gaussian by sympy and on wide modes by differences, and of no denoiser.
    """
    torch.manual_seed(3)
    net = ToyMLP(shape=(1,), width=24).double()
    f = ConsistencyModel(net, SCHEDULE, sigma_data=0.9).x0
    x0, z = PEAKS.sample(500, seed=1), initial_noise(500, 1, 2, **DOUBLE)
    t = torch.linspace(0.5, 5, 500, **DOUBLE)
    slope = lambda loss: torch.cat([g.ravel() for g in torch.autograd.grad(loss, net.parameters())])  # noqa: E731
    value, rate = torch.func.jvp(f, (x0 + t[:, None] * z, t), (z, torch.ones_like(t)))
    limit, off = slope((value * rate.detach()).mean()), []
    for gap in (0.02, 0.01):
        below = f(x0 + (t - gap)[:, None] * z, t - gap).detach()
        loss = (f(x0 + t[:, None] * z, t) - below).square().mean()
        off.append(float((slope(loss) / (2 * gap) - limit).norm() / limit.norm()))
    assert off[0] < 0.02 and 1.8 < off[0] / off[1] < 2.2

    x, u, d, e = sympy.symbols("x u d e", positive=True)
    flow, denoiser = x * sympy.sqrt((d**2 + e**2) / (d**2 + u**2)), x * d**2 / (d**2 + u**2)
    mean = lambda g: sympy.diff(g, u) + u * x / (d**2 + u**2) * sympy.diff(g, x)  # noqa: E731
    assert sympy.simplify(mean(flow)) == 0 and sympy.simplify(mean(denoiser)) != 0
    wide, h = experiments.two_modes(0.7, 0.4), 1e-4
    for level in (0.3, 1.0, 4.0):
        y = np.linspace(-1, 1, 9) * math.hypot(0.8, level)
        eps = wide.model(SCHEDULE).eps(torch.as_tensor(y)[:, None], level)[:, 0].numpy()
        there = lambda y, v: experiments.flow_map(y, wide, start=v)  # noqa: E731
        by_level = (there(y, level + h) - there(y, level - h)) / (2 * h)
        by_place = (there(y + h, level) - there(y - h, level)) / (2 * h)
        assert np.allclose(by_level + eps * by_place, 0, atol=1e-4)


@equation("distill.shortcut")
def shortcut():
    """The mean of two velocities is the velocity of the two-step target, on equal steps; and at length 0 the
    best answer is the flow's own velocity.
    """
    model, x = Mixture.ring(8).model(Flow()), initial_noise(20, 2, 0, **DOUBLE)
    every = lambda v: torch.full((20,), v, **DOUBLE)  # noqa: E731
    for t, h in ((0.9, 0.2), (0.5, 0.1)):
        v = model.flow(x, t)
        mean = (v + model.flow(x - h * v, t - h)) / 2
        aim = two_step_target(model, x, every(t), every(t - h), every(t - 2 * h))
        assert torch.allclose(mean, (x - aim) / t, atol=1e-10)
        assert torch.allclose(x - 2 * h * mean, sample(ddim, model, x, [t, t - h, t - 2 * h]).x, atol=1e-10)
    assert torch.allclose(model.flow(x, 0.5), model.eps(x, 0.5) - model.x0(x, 0.5), atol=1e-10)


@equation("distill.breakeven")
def breakeven():
    """Both bills are equal at n*, symbolically."""
    C, c_T, c_S, n = sympy.symbols("C c_T c_S n", positive=True)
    (result,) = sympy.solve(sympy.Eq(n * c_T, C + n * c_S), n)
    assert sympy.simplify(result - C / (c_T - c_S)) == 0
