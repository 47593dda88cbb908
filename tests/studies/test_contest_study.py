"""The study of the contest: what it makes of stored digits is what its rows say."""

from book.contest.rules import Rules
from studies import contest_study
from toolkit.metrics import fresh_distances


def test_stored_digits_are_copies_and_what_is_made_of_them_is_less_so():
    n, rules = 300, Rules()
    found = contest_study.copied(n)
    assert found["copies"]["copies"] == found["copies"]["near"] == 1
    assert found["copies and noise, a spacing"]["copies"] <= rules.copies
    assert found["midpoints of near digits"]["near"] > rules.near
    assert found["a digit and a difference of two others"]["copies"] < 0.02
    assert found["copies and noise, a spacing"]["frechet"] > found["copies"]["frechet"]


def test_a_gaussian_of_more_directions_has_more_numbers_and_no_copies():
    found = contest_study.gaussians(300)
    assert [numbers for numbers, _ in found.values()] == [640 * (1 + rank) for rank in found]
    assert all(
        one["frechet"] > fresh_distances(300).mean() and one["copies"] == 0 for _, one in found.values()
    )


def test_the_samplers_of_the_baselines_run_on_shipped_networks(monkeypatch):
    monkeypatch.setattr(contest_study, "NOISES", range(2))
    monkeypatch.setattr(contest_study, "Rules", lambda: Rules(n=60, calls=(1, 4)))
    found, again = contest_study.shipped("dpmpp_2m", "digits")
    assert found[4][0]["frechet"] < found[1][0]["frechet"]
    assert again[4] < Rules().again


def test_a_list_of_stored_digits_midpoints_comes_again_and_drawn_anew_they_do_not(monkeypatch):
    monkeypatch.setattr(contest_study, "LISTS", (300,))
    found = contest_study.listed(600)
    assert found["anew for each sample"]["again"] < Rules().again < found["300 on a list"]["again"]
    assert all(one["copies"] <= Rules().copies and one["near"] <= Rules().near for one in found.values())
