"""Conditions: guidance against the exact Bayes rule, inpainting against the exact posterior."""

import math

import pytest
import torch

from tests.seeds import seed_of
from toolkit import EDM, VP, Flow, Guided, Mixture, Network, grids, initial_noise, sample
from toolkit.conditions import (
    ClassifierGuided,
    GuidedBetween,
    Reconstructed,
    class_log_prob,
    conditioned,
    dps,
    inpaint,
    repaint_moves,
    tilted,
)
from toolkit.ddim import ddim

DOUBLE = {"dtype": torch.float64}
RING = Mixture.ring(5, std=0.3)
SCHEDULES = [VP(), EDM(), Flow()]
PAIR = Mixture([1.0], [[0.2, -0.1]], covariances=[[[0.09, 0.081], [0.081, 0.09]]])  # rho = 0.9
KNOWN, MASK = torch.tensor([0.5, 0.0]), torch.tensor([True, False])


def skewed():
    """Three Gaussians in three dimensions, none of them round."""
    root = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(4), **DOUBLE)
    centres = torch.randn(3, 3, generator=torch.Generator().manual_seed(5), **DOUBLE)
    return Mixture([0.2, 0.3, 0.5], centres, covariances=root @ root.mT / 4 + 0.05 * torch.eye(3).double())


def states(*case, n=6, d=2):
    return initial_noise(n, d, seed_of(*case), **DOUBLE)


def moments(x):
    return x.mean(0), torch.cov(x.T)


# --- exact answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "level", [[0.0, math.inf, math.inf], [0.0, 0.0, math.inf], [0.3, 1.2, math.inf], [0.2, 0.5, 2.0]]
)
def test_the_posterior_is_bayes_rule(level):
    """p(x) p(y | x) over p(x | y) is p(y), the same at every x that agrees with what is known."""
    data, y, level = skewed(), states("y", level, n=1, d=3)[0], torch.tensor(level, **DOUBLE)
    found = conditioned(data, y, level)
    soft, free = (level > 0) & level.isfinite(), level > 0
    x = torch.where(free, states("x", level, n=8, d=3), y)
    joint = data.log_prob(x) - ((y - x)[:, soft] ** 2 / (2 * level[soft] ** 2)).sum(1)
    within = Mixture(found.weights, found.means[:, free], covariances=found.covariances[:, free][:, :, free])
    ratio = joint - within.log_prob(x[:, free])
    assert torch.allclose(ratio, ratio[0].expand(8), atol=1e-8)
    assert torch.allclose(found.means[:, ~free], y[~free].expand(3, -1), atol=1e-9)


def test_a_posterior_told_nothing_is_the_prior():
    found, x = conditioned(RING, torch.zeros(2), [math.inf, math.inf]), states("prior")
    assert torch.allclose(found.log_prob(x), RING.log_prob(x))
    masked = conditioned(PAIR, KNOWN, MASK)
    assert torch.equal(masked.means, conditioned(PAIR, KNOWN, [0.0, math.inf]).means)
    assert masked.means[0, 1] == pytest.approx(-0.1 + 0.9 * (0.5 - 0.2))
    assert masked.covariances[0, 1, 1] == pytest.approx(0.09 * (1 - 0.81))


def test_the_class_probabilities_add_up_to_one():
    data = Mixture([1, 2, 3, 1.0], states("means", n=4), [0.3] * 4, labels=[0, 1, 1, 2])
    model, x = data.model(VP()), states("classes")
    total = sum(class_log_prob(model, label)(x, 0.4).exp() for label in (0, 1, 2))
    assert torch.allclose(total, torch.ones_like(total))
    at_end = class_log_prob(data.model(EDM(1e-7)), 1)(x, 1e-7)
    assert torch.allclose(tilted(data, 1, 3.0, x), data.log_prob(x) + 3 * at_end, atol=1e-6)
    full = Mixture(
        data.weights, data.means, covariances=0.09 * torch.eye(2).expand(4, 2, 2), labels=data.labels
    )
    assert torch.allclose(tilted(full, 1, 3.0, x), tilted(data, 1, 3.0, x))


# --- guidance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("view", ["eps", "x0", "score", "v", "flow"])
def test_an_exact_classifier_is_guidance_without_one(schedule, view):
    model, x, t = RING.model(schedule), states(view, schedule), schedule.t_of_lam(0.3)
    guided = ClassifierGuided(model, class_log_prob(model, 2), 2.5)
    for time in (float(t), torch.full((6,), float(t), **DOUBLE)):
        found = getattr(guided, view)(x, time)
        assert torch.allclose(found, getattr(Guided(model, 2, 2.5), view)(x, time), atol=1e-9)
    before = model.nfe
    guided.eps(x, float(t))
    assert model.nfe == before + 1


def test_guidance_runs_in_every_mode_of_gradients():
    model, times = RING.model(VP()), grids.uniform_lambda(VP(), 4)
    guided = ClassifierGuided(model, class_log_prob(model, 2), 2.5)
    pulled = Reconstructed(model, KNOWN, MASK, std="model")
    for one in (guided, pulled):
        wanted = sample(ddim, one, states("modes"), times).x
        with torch.inference_mode():
            assert torch.allclose(sample(ddim, one, states("modes"), times).x, wanted)
        assert torch.allclose(sample(ddim, one, states("modes"), times, batch_size=2).x, wanted)
        assert sample(ddim, one, states("modes").float(), times).x.dtype == torch.float32


def test_guidance_on_some_levels():
    """Inside it is `Guided`, outside the conditional model, and the calls are counted."""
    model, x = RING.model(EDM()), states("levels")
    some = GuidedBetween(model, 1, 3.0, low=0.2, high=2.0)
    for level, like in ((3.0, model.with_label(1)), (1.0, Guided(model, 1, 3.0)), (0.2, model.with_label(1))):
        before = model.nfe
        found = some.x0(x, level)
        assert model.nfe - before == (2 if level == 1.0 else 1)
        assert torch.equal(found, like.x0(x, level))
        eps, features = some.eps_and_features(x, level)
        assert torch.equal(eps, like.eps(x, level)) and features.shape == (6, 4)
    times = grids.karras(EDM(), 6)
    noise = EDM().sigma(float(times[0])) * x
    whole = sample(ddim, GuidedBetween(model, 0, 3.0).with_label(torch.arange(6) % 5), noise, times)
    assert torch.equal(whole.x, sample(ddim, Guided(model, torch.arange(6) % 5, 3.0), noise, times).x)
    parts = GuidedBetween(model, torch.arange(6) % 5, 3.0, 0.1, 1.0)
    assert torch.allclose(
        sample(ddim, parts, noise, times).x, sample(ddim, parts, noise, times, batch_size=4).x
    )


# --- what is known of a picture -----------------------------------------------------------------------------


@pytest.mark.parametrize("steps, repeats, jump", [(5, 1, 1), (5, 3, 1), (12, 3, 4), (3, 2, 5)])
def test_repaint_s_moves(steps, repeats, jump):
    """From noise to data, down by one or up by one; each place below is passed `repeats` times downwards
    where jumps start, as the paper's loop does."""
    places = repaint_moves(steps, repeats, jump)
    changes = [b - a for a, b in zip(places, places[1:])]
    assert places[0] == steps and places[-1] == 0 and set(changes) <= {-1, 1}
    down, ups = changes.count(-1), changes.count(1)
    assert ups == (repeats - 1) * jump * len(range(0, steps - jump, jump)) and down == steps + ups
    run = sample(inpaint, RING.model(VP()), states("moves"), grids.uniform_lambda(VP(), steps),
                 repeats=repeats, jump=jump)  # fmt: skip
    assert run.nfe == down == inpaint.nfe(steps, repeats=repeats, jump=jump)


def test_nothing_known_is_ddpm():
    model, times, x = RING.model(VP()), grids.uniform_lambda(VP(), 8), states("nothing")
    wanted = sample(ddim, model, x, times, eta=1.0, draws=3).x
    for made in (sample(inpaint, model, x, times, draws=3), sample(dps, model, x, times, draws=3)):
        assert torch.equal(made.x, wanted)


def linear_run(data, known, mask, schedule, times):
    """Mean and covariance of what replacement ends in, for one Gaussian: each step is linear."""
    mean, cov = data.means[0], data.covariances[0]
    held = torch.diag(mask.double())
    free = torch.eye(2).double() - held

    def put_back(m, S, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return free @ m + alpha * held @ known, free @ S @ free + sigma**2 * held

    m, S = put_back(torch.zeros(2, **DOUBLE), torch.eye(2, **DOUBLE), times[0])
    for t, s in zip(times, times[1:]):
        at, st, a, v = schedule.alpha(t), schedule.sigma(t), schedule.alpha(s), schedule.sigma(s)
        gain = (
            at * cov @ torch.linalg.inv(at**2 * cov + st**2 * torch.eye(2, **DOUBLE))
        )  # x0 = mean + gain off
        ratio = at / a
        beta = st**2 - ratio**2 * v**2
        c0, ct, tilde = a * beta / st**2, ratio * v**2 / st**2, beta * v**2 / st**2
        step = c0 * gain + ct * torch.eye(2, **DOUBLE)
        m = step @ m + c0 * (mean - at * gain @ mean)
        m, S = put_back(m, step @ S @ step.T + tilde * torch.eye(2, **DOUBLE), s)
    return m, S


def test_replacement_is_the_linear_recursion_that_it_is_on_a_gaussian():
    times = grids.uniform_lambda(VP(), 20)
    run = sample(inpaint, PAIR.model(VP()), states("linear", n=20_000), times, known=KNOWN, level=MASK)
    mean, cov = linear_run(PAIR, KNOWN.double(), MASK, VP(), times.tolist())
    found = moments(run.x)
    assert torch.allclose(found[0], mean, atol=0.006) and torch.allclose(found[1], cov, atol=0.002)
    exact = conditioned(PAIR, KNOWN, MASK)
    assert (mean - exact.means[0])[1].abs() > 0.05  # and it is not the posterior


def test_repeats_come_to_the_posterior():
    """Within what twenty steps allow, RePaint's error in the mean falls as repeats grow."""
    times, exact = grids.uniform_lambda(VP(), 20), conditioned(PAIR, KNOWN, MASK).means[0, 1]
    off = []
    for repeats in (1, 4, 16):
        run = sample(inpaint, PAIR.model(VP()), states("repaint", n=3000), times, known=KNOWN, level=MASK,
                     repeats=repeats)  # fmt: skip
        off.append(float((run.x.mean(0)[1] - exact).abs()))
    assert off[0] > 2 * off[1] > 2 * off[2] and off[2] < 0.03


def test_region_noise_is_a_noisy_observation():
    """A pixel held down to a level keeps what noise of that level lets through: on average over the noise the
    exact posterior, mean and covariance."""
    data = Mixture([1.0], [[0.0, 0.0]], covariances=[[[1.0, 0.0], [0.0, 0.25]]])  # no pixel tells of another
    level, times = torch.tensor([0.8, math.inf]), grids.uniform_lambda(VP(), 100)
    run = sample(inpaint, data.model(VP()), states("region", n=8000), times, known=torch.ones(2), level=level)
    exact = conditioned(data, torch.ones(2), level)
    gain = 1 / (1 + 0.8**2)
    spread = exact.covariances[0] + torch.tensor([[gain * 0.8, 0], [0, 0]]).double() ** 2
    mean, cov = moments(run.x)
    assert torch.allclose(mean, exact.means[0], atol=0.05) and torch.allclose(cov, spread, atol=0.05)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_the_x0_estimate_with_the_model_s_own_variance_is_exact_on_a_gaussian(schedule):
    """The score of p_t(x | y), here the joint Gaussian's, at any level."""
    x, t = states("tmpd", schedule), float(schedule.t_of_lam(0.4))
    found = Reconstructed(PAIR.model(schedule), KNOWN, MASK, std="model").score(x, t)
    exact = conditioned(PAIR, KNOWN, MASK).model(schedule).score(x, t)
    assert torch.allclose(found, exact, atol=1e-8)
    other = Reconstructed(PAIR.model(schedule), KNOWN, MASK).score(x, t)
    assert (other - exact).abs().max() > 0.01


def test_the_deviation_of_a_pixel_by_itself():
    """Without correlation a number for std is the model's own variance; scale multiplies the added term."""
    data, x = Mixture.gaussian(2, std=0.5), states("alone")
    model = data.model(VP())
    own, told = (Reconstructed(model, KNOWN, MASK, std=std).score(x, 0.4) for std in ("model", 0.5))
    assert torch.allclose(own, told, atol=1e-9)
    plain = model.score(x, 0.4)
    twice = Reconstructed(model, KNOWN, MASK, scale=2.0, std=0.5).score(x, 0.4)
    assert torch.allclose(twice - plain, 2 * (told - plain), atol=1e-9)


def test_dps_pulls_known_pixels_towards_what_is_known():
    times = grids.uniform_lambda(VP(), 30)
    off = []
    for zeta in (0.0, 0.03, 0.1):
        run = sample(dps, PAIR.model(VP()), states("dps", n=500), times, known=KNOWN, mask=MASK, zeta=zeta)
        off.append(float((run.x[:, 0] - 0.5).abs().mean()))
    assert off[0] > off[1] > off[2] and run.nfe == 30


def test_pictures_and_batches():
    """Known pixels of images come back, whatever the batches; a network serves as a model does."""
    data = Mixture.gaussian(16, std=0.5)
    model, times = data.model(VP()), grids.uniform_lambda(VP(), 6)
    noise, mask = initial_noise(4, (1, 4, 4), 0, **DOUBLE), torch.arange(16).reshape(1, 4, 4) < 8
    options = {"known": 0.3 * torch.ones(1, 4, 4), "level": mask, "repeats": 2}
    whole = sample(inpaint, model, noise, times, **options)
    parts = sample(inpaint, model, noise, times, batch_size=3, **options)
    assert torch.allclose(whole.x, parts.x) and (whole.x[:, mask] - 0.3).abs().max() < 0.1
    network = Network(lambda x, t: model.eps(x, float(t[0])), VP())
    assert torch.allclose(sample(inpaint, network, noise, times, **options).x, whole.x, atol=1e-4)


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask, sentence",
    [
        (lambda m, x: ClassifierGuided(m, class_log_prob(m, 0)).flow(x, 1.0), "noise alone"),
        (lambda m, x: Reconstructed(m, KNOWN, MASK).flow(x, 1.0), "noise alone"),
        (lambda m, x: GuidedBetween(m, 0, 2.0, 1.0, 0.5), "0 <= low <= high"),
        (lambda m, x: GuidedBetween(m, 0, 2.0).eps(x, torch.full((6,), 0.5)), "one time for all samples"),
        (lambda m, x: conditioned(RING, torch.zeros(2), [-1.0, 0.0]), "none of them negative"),
        (lambda m, x: repaint_moves(5, 0), "repeats must be a whole number of at least 1"),
        (lambda m, x: repaint_moves(5, 2, 0), "jump must be a whole number of at least 1"),
    ],
)
def test_errors(ask, sentence):
    with pytest.raises(ValueError, match=sentence):
        ask(RING.model(Flow()), states("errors"))
