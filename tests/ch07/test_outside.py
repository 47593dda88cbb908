"""Conclusions of chapter 7 just outside what its tables show: other noises, other places for the calls, other
levels, other starts.  The samplers are written out here."""

import math

import numpy as np
import pytest
import torch

from book.ch07 import experiments
from studies import train_flow_maps as study
from toolkit import initial_noise
from toolkit.data import digit_labels
from toolkit.flow_maps import MeanVelocity
from toolkit.metrics import frechet_distance
from toolkit.networks import DIGITS_SIGMA_DATA, pretrained

N = 2000


@torch.no_grad()
def jumped(x, times, label=None, name="meanflow"):
    """x (n, 1, 8, 8) through these times by a flow map that ships."""
    network, whole = pretrained(f"flow-map-{name}"), torch.ones(len(x))
    for t, s in zip(times, times[1:]):
        x = x - (t - s) * network(x, t * whole, label, gap=(t - s) * whole)
    return x


@pytest.mark.slow
def test_four_calls_of_meanflow_are_ahead_of_one_and_sixteen_change_little():
    """Of the network that ships, on other noises than the record's, with labels and without."""
    even = lambda calls: [1 - i / calls for i in range(calls + 1)]
    for seed in (100, 103):
        noise, label = initial_noise(N, (1, 8, 8), seed), digit_labels(N, seed)
        free, classed = (
            [frechet_distance(jumped(noise, even(calls), told)) for calls in (1, 4, 16)]
            for told in (None, label)
        )
        assert free[1] < free[0] / 2 and classed[1] < classed[0]
        for _, four, sixteen in (free, classed):
            assert abs(math.log(sixteen / four)) < math.log(1.4)


@pytest.mark.slow
def test_where_a_flow_map_stops_counts():
    """Two calls without labels: by way of .9 they gain half of what they gain by way of .5, or less."""
    noise = initial_noise(N, (1, 8, 8), 100)
    early, half, one = (frechet_distance(jumped(noise, t)) for t in ([1, 0.9, 0], [1, 0.5, 0], [1, 0]))
    assert half < one / 2 and 1.5 * half < early < one


def test_the_shortcut_agrees_with_itself_on_its_own_halves_alone():
    """Two jumps against one from 1 to 0 by way of a half, and from .9 to .1."""

    def apart(t, s, name):
        x = initial_noise(500, (1, 8, 8), 9)
        two = jumped(x, [t, (t + s) / 2, s], name=name) - jumped(x, [t, s], name=name)
        return float(two.square().mean().sqrt())

    assert apart(1.0, 0.0, "shortcut") < 0.1 < 0.15 < apart(0.9, 0.1, "shortcut")
    assert apart(0.9, 0.1, "lagrangian") < apart(0.9, 0.1, "meanflow") < 0.15


@torch.no_grad()
def answers(x, levels, label, anew=None):
    """Chapter 5's consistency student through these levels: its noise kept, or drawn from `anew`."""
    network, low = pretrained("student-consistency"), 0.002
    for level, then in zip(levels, levels[1:]):
        wide, rise = math.hypot(level, DIGITS_SIGMA_DATA), level - low
        out = network(x / wide, torch.full((len(x),), math.log(level) / 4), label)
        x0 = DIGITS_SIGMA_DATA**2 / math.hypot(rise, DIGITS_SIGMA_DATA) ** 2 * x
        x0 = x0 + DIGITS_SIGMA_DATA * rise / wide * out
        if anew is not None and then == low:
            return x0
        noise = (x - x0) / level if anew is None else torch.randn(x.shape, generator=anew)
        x = x0 + then * noise
    return x


@pytest.mark.slow
def test_small_levels_hurt_a_consistency_model_that_keeps_its_noise():
    """Sixteen calls with labels: on Karras's levels four times as far as one, between 80 and 2 alike; fresh
    noise is nearer than one."""
    noise, label = 80 * initial_noise(N, (1, 8, 8), 100), digit_labels(N, 100)
    karras = [(80 ** (1 / 7) + i / 16 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(16)]
    high = np.geomspace(80, 2, 16).tolist()
    distance = lambda levels, anew=None: frechet_distance(answers(noise, [*levels, 0.002], label, anew))
    one = distance([80])
    assert distance(karras) > 3 * one and distance(high) < 1.4 * one
    assert distance(karras, torch.Generator().manual_seed(1)) < 0.75 * one


def test_a_narrow_start_keeps_to_its_peak_only_where_small_levels_count_and_peaks_are_apart():
    levels = experiments.LEVELS
    even = np.linspace(levels[0], levels[-1], len(levels))
    assert experiments.matched(0.9, 0.2)[0] > 0.8
    assert abs(experiments.matched(0.9, 0.2, levels=even)[0]) < 1e-6
    assert abs(experiments.matched(0.6, 0.2, gap=2 / 3)[0]) < 1e-6


def test_one_in_a_hundred_moves_with_the_draw():
    """The ratio of what one sample in a hundred exceeds, along the pair's velocity and along the exact one,
    and that of the medians, on another thousand."""
    found = experiments.target_noise(seed=40)
    for step in {name.split(" | ")[0] for name in found}:
        assert 1.2 < found[f"{step} | pair's, 1 in 100"] / found[f"{step} | exact, 1 in 100"] < 10
        assert 1.4 < found[f"{step} | exact, median"] / found[f"{step} | pair's, median"] < 5


@pytest.mark.slow
def test_other_trainings_of_dmd_serve_more_modes_and_never_all():
    noise = initial_noise(study.POINTS, 2, 77)
    found = [study.covered(study.matched(seed, steps=500)(noise))["modes"] for seed in (21, 23)]
    assert max(found) < 8


@pytest.mark.slow
def test_another_training_in_the_plane_ranks_the_losses_alike_and_closer():
    noise = initial_noise(study.POINTS, 2, 77)
    networks = [study.trained("triangle", name, 4)[0] for name in ("lagrangian", "meanflow")]
    with torch.no_grad():
        lagrangian, meanflow = (
            experiments.astray(experiments.jump(MeanVelocity(net), noise)) for net in networks
        )
    assert 0.14 < lagrangian < meanflow < 0.21
