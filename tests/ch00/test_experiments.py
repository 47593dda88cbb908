"""The numbers and pictures of chapter 0 say what its prose says of them."""

import pytest

from book.ch00 import experiments, figures
from toolkit import EDM, VE, VP
from toolkit.data import digits


def test_few_steps_draw_digits_that_are_too_alike():
    found = experiments.digits_in_few_steps(seeds=(7,))
    spread = [value for name, value in found.items() if name.endswith(", variance")]
    away = [value for name, value in found.items() if name.endswith("from 200 steps")]
    assert len(spread) == 6 and spread == sorted(spread) and spread[-2] < found["the data, variance"]
    assert away == sorted(away, reverse=True) and away[0] > 3 * away[1] > 0
    assert spread[3] - spread[1] > 3 * (spread[4] - spread[3])  # from 50 steps on it hardly grows


def test_a_machine_reads_through_noise_in_which_the_eye_is_lost():
    found = experiments.read_through_noise(seeds=(5,))
    assert found["λ = 0"] > 0.88 and found["λ = -1"] == pytest.approx(0.75, abs=0.03)
    assert found["λ = -2"] == pytest.approx(1 / 3, abs=0.04)


def test_the_three_pictures_of_noise_levels():
    digit = digits(side=28)[0][0].double()
    named = {"VP": VP(), "VE": VE(), "EDM": EDM()}
    assert "the same to" in figures.same_noise_level(digit, named).alt
    assert "DDPM: ᾱ = 0.5;" in figures.rosetta(digit, 0.0).alt
    picture = figures.schedules(named)
    assert picture.axes[1].get_yscale() == "log" and len(picture.fig.legends) == 1
