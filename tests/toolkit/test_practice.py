"""Compositions of samplers, difficulty, and steps that follow the sample."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from book.problems import rms
from toolkit import VP, Guided, Mixture, grids, initial_noise, sample
from toolkit.convergence import exact_variance, reference, slope
from toolkit.ddim import ddim, ddim_adaptive, step_error, step_for
from toolkit.ddpm import ddpm
from toolkit.dpm_solver import dpmpp_2m
from toolkit.noise import Noise
from toolkit.ode import heun
from toolkit.practice import (
    adaptive_per_sample,
    allocate,
    break_even,
    calls_of,
    correct,
    difficulty,
    frontier,
    most_to_gain,
    relay,
)
from toolkit.sde import euler_maruyama, predictor_corrector

RING, SPAN = Mixture.ring(8), [1.0, 1e-3]
TIMES = grids.uniform_lambda(VP(), 8)


def noise(n=20, seed=0):
    return initial_noise(n, 2, seed, dtype=torch.float64)


# --- what a choice costs ----------------------------------------------------------------------------------


def test_a_training_has_paid_where_the_two_bills_are_equal():
    n = break_even(90.0, slow=0.02, fast=0.005)
    assert 90 + n * 0.005 == pytest.approx(n * 0.02)
    assert break_even(90.0, 0.01, 0.01) == math.inf


def test_the_frontier_holds_what_nothing_matches():
    points = {
        "a": (1, 9.0),
        "b": (2, 3.0),
        "worse": (3, 3.0),
        "c": (5, 1.0),
        "slower": (6, 2.0),
        "tie": (2, 4.0),
    }
    assert frontier(points) == ["a", "b", "c"]
    for name in set(points) - set(frontier(points)):
        assert any(all(a <= b for a, b in zip(points[f], points[name])) for f in frontier(points))


# --- compositions -----------------------------------------------------------------------------------------


def test_a_relay_of_one_sampler_is_that_sampler(seed):
    x, model = noise(seed=seed), RING.model(VP())
    for one in (ddim, ddpm, heun):
        whole = sample(one, model, x, TIMES, draws=seed, keep_path=True)
        parts = sample(relay((one, 3), (one, 5)), model, x, TIMES, draws=seed, keep_path=True)
        assert torch.allclose(whole.path, parts.path, atol=1e-12) and whole.times == parts.times
        assert whole.nfe == parts.nfe == relay((one, 3), (one, 5)).nfe(8)


def test_a_relay_is_its_legs_run_by_hand():
    x, model = noise(), RING.model(VP())
    first = sample(dpmpp_2m, model, x, TIMES[:6]).x
    by_hand = sample(ddim, model, first, TIMES[5:]).x
    assert torch.equal(sample(relay((dpmpp_2m, 5), (ddim, 3)), model, x, TIMES).x, by_hand)


def test_eta_of_each_step_is_a_relay_of_single_steps():
    """The variance is that of the recursion by hand, on one Gaussian."""
    etas, std, schedule = (1.0, 0.5, 0.2, 0.0, 0.0, 0.3, 0.7, 1.0), 0.5, VP()
    legs = [(ddim, 1, {"eta": eta}) for eta in etas]
    alone = [exact_variance(relay(*legs), schedule, TIMES, std)]
    same = [exact_variance(relay(*[(ddim, 1, {"eta": 1.0})] * 8), schedule, TIMES, std)]
    assert same[0] == pytest.approx(exact_variance(ddim, schedule, TIMES, std, eta=1.0))
    assert alone[0] != pytest.approx(same[0])


def test_a_corrector_that_follows_each_step_is_predictor_corrector():
    """Same predictor, same corrector: level by level the same run, on the same noise."""
    x, model = noise(), RING.model(VP())
    legs = [leg for _ in range(8) for leg in ((euler_maruyama, 1), (correct, 1, {"snr": 0.1}))]
    ours = sample(relay(*legs), model, x, TIMES, draws=3)
    theirs = sample(predictor_corrector, model, x, TIMES, draws=3, corrections=1, snr=0.1)
    assert torch.allclose(ours.x, theirs.x, atol=1e-12) and ours.nfe == theirs.nfe == 16


def test_the_result_of_a_relay_does_not_depend_on_the_batches():
    x, model = noise(), RING.model(VP())
    one = relay((ddpm, 3), (dpmpp_2m, 4), (correct, 2), (ddpm, 1))
    whole = sample(one, model, x, TIMES, draws=Noise(5))
    assert torch.allclose(whole.x, sample(one, model, x, TIMES, draws=Noise(5), batch_size=7).x, atol=1e-12)


@pytest.mark.parametrize(
    "legs, sentence",
    [
        ([(ddim,)], "steps must be a whole number"),
        ([(len, 3)], "a leg is"),
        ([(ddim_adaptive, 8)], "a leg is"),
        ([(ddim, 0)], "steps must be a whole number"),
    ],
)
def test_a_bad_leg_is_one_sentence(legs, sentence):
    with pytest.raises(ValueError, match=sentence):
        relay(*legs)


def test_a_grid_of_another_length_is_one_sentence():
    with pytest.raises(ValueError, match="the legs make 9 steps and the grid has 8$"):
        sample(relay((ddim, 9)), RING.model(VP()), noise(), TIMES)


# --- difficulty -------------------------------------------------------------------------------------------


def test_difficulty_is_what_two_orders_disagree_by():
    """By hand from the states of the second-order run: DDIM's step from each, against where it went."""
    model, x, schedule = RING.model(VP()), noise(), VP()
    index = difficulty(model, x, TIMES)
    total, y, past = np.zeros(len(x)), x, None
    for t, s in zip(TIMES.tolist(), TIMES.tolist()[1:]):
        eps = model.eps(y, t)
        first = sample(ddim, model, y, [t, s]).x
        new = first
        if past is not None:
            h, before = schedule.lam(s) - schedule.lam(t), schedule.lam(t) - past[1]
            slope = (eps - past[0]) / before
            new = (
                first - schedule.alpha(s) * math.exp(-schedule.lam(t)) * (1 - (1 + h) * math.exp(-h)) * slope
            )
            total += ((new - first) / schedule.alpha(s)).square().mean(1).sqrt().numpy()
        past, y = (eps, schedule.lam(t)), new
    assert np.allclose(index, total)


def test_difficulty_falls_as_the_grid_is_refined(seed):
    model, x = RING.model(VP()), noise(seed=seed)
    coarse, fine = (difficulty(model, x, grids.uniform_lambda(VP(), n)).mean() for n in (32, 128))
    assert 3 < coarse / fine < 5.5  # each of n disagreements is of size h^2


def test_the_division_is_the_best_one():
    d = np.array([0.1, 1.0, 2.0, 5.0])
    loss = lambda n: ((d / n**2) ** 2).sum()  # noqa: E731
    best = minimize(
        lambda n: np.log(loss(n)), np.full(4, 10.0), constraints={"type": "eq", "fun": lambda n: n.sum() - 40}
    )
    share = d**0.4 / (d**0.4).mean() * 10
    assert np.allclose(best.x, share, rtol=0.02)
    assert math.sqrt(loss(np.full(4, 10.0)) / loss(share)) == pytest.approx(most_to_gain(d))


def test_an_allocation_keeps_the_budget(seed):
    d = np.random.default_rng(seed).lognormal(size=100)
    n = allocate(d, 10)
    assert 9 < n.mean() <= 10 and n.min() >= 2 and (np.diff(n[np.argsort(d)]) >= 0).all()
    assert (allocate(np.zeros(5), 7) == 7).all() and most_to_gain(np.ones(5)) == pytest.approx(1)
    with pytest.raises(ValueError, match="mean must be at least 2"):
        allocate(d, 1)


# --- steps that follow the sample -------------------------------------------------------------------------


def test_step_for_undoes_step_error():
    h = np.array([1e-5, 1e-3, 0.1, 1.0, 5.0])
    assert np.allclose(step_for(step_error(h)), h, rtol=1e-3)
    assert step_for(1.0) == step_for(2.0) == math.inf and step_for(0.0) == 0


def test_one_sample_alone_is_the_sampler_of_chapter_2():
    model, x = RING.model(VP()), noise(5)
    together = sample(adaptive_per_sample, model, x, SPAN, tol=0.02).x
    for i in range(5):
        alone = sample(ddim_adaptive, model, x[i : i + 1], SPAN, tol=0.02, extrapolate=True)
        assert torch.allclose(together[i], alone.x[0], atol=1e-12)


@pytest.mark.parametrize("end", [1e-3, 0.0])
def test_calls_are_those_of_each_sample_alone(end):
    model, x, log = RING.model(VP()), noise(12), []
    run = sample(adaptive_per_sample, model, x, [1.0, end], tol=0.02, log=log)
    calls = calls_of(log, 12)
    alone = [sample(adaptive_per_sample, model, x[i : i + 1], [1.0, end], tol=0.02).nfe for i in range(12)]
    assert calls.tolist() == alone and run.nfe == calls.max()
    assert run.times[-1] == end and all(t > s for t, s in zip(run.times, run.times[1:]))


def test_its_order_is_two_in_the_mean_calls(seed):
    model, x = Mixture.ring(8, std=0.3).model(VP()), noise(50, seed)
    exact, calls, errors = reference(model, x, *SPAN, 1e-9), [], []
    for tol in (1e-3, 1e-4, 1e-5):
        log = []
        errors.append(rms(sample(adaptive_per_sample, model, x, SPAN, tol=tol, log=log).x - exact))
        calls.append(calls_of(log, 50).mean())
    assert slope(calls, errors) > 1.8


def test_labels_follow_their_samples():
    model, x, label = RING.model(VP()), noise(9), torch.arange(9) % 8
    run = sample(adaptive_per_sample, model.with_label(label), x, SPAN, tol=0.02)
    for i in (0, 5, 8):
        alone = sample(adaptive_per_sample, model.with_label(label[i : i + 1]), x[i : i + 1], SPAN, tol=0.02)
        assert torch.allclose(run.x[i], alone.x[0], atol=1e-12)
    guided = Guided(model, label, 2.0)
    with pytest.raises(ValueError, match="one label tensor"):
        sample(adaptive_per_sample, guided, x, SPAN, tol=0.02)


def test_a_bad_tolerance_is_one_sentence():
    with pytest.raises(ValueError, match="^tol must lie between 0 and 1"):
        sample(adaptive_per_sample, RING.model(VP()), noise(), SPAN, tol=1.0)
