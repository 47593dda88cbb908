"""Diffusion of strings against Bayes' rule, the chain rule and counted samples."""

import itertools
import math
from collections import Counter

import pytest
import torch

from toolkit.masked import Strings, bound, each, even, law, some, surest, total_variation, unmask


@pytest.fixture
def strings(seed):
    """A few random strings of three letters."""
    generator = torch.Generator().manual_seed(seed)
    words = ["".join(word) for word in itertools.product("abc", repeat=3)]
    kept = [words[i] for i in torch.randperm(27, generator=generator)[:9]]
    kept += [word for word in ("aab", "bca", "cbc") if word not in kept]  # each letter is there
    return Strings(dict(zip(kept, (torch.rand(len(kept), generator=generator) + 0.1).tolist())))


def probabilities(strings, found):
    """`law`'s probabilities of the strings' own words."""
    written = strings.write(strings.states())
    return found[[written.index(word) for word in strings.words]]


def entropy(strings):
    return -float(strings.probabilities @ strings.probabilities.log())


def mean_of(strings, fits, place, letter):
    """Bayes' rule by a loop: the probability of a letter among the words for which fits(word)."""
    pairs = [(p, word[place] == letter) for word, p in zip(strings.words, strings.probabilities.tolist())]
    pairs = [pair for pair, word in zip(pairs, strings.words) if fits(word)]
    return sum(p for p, there in pairs if there) / sum(p for p, _ in pairs)


def test_guess_is_bayes_rule(strings):
    for word in ("a__", "_b_", "___"):
        if not any(all(m in ("_", w) for m, w in zip(word, one)) for one in strings.words):
            continue
        found = strings.guess(strings.read([word]))[0]
        for place, letter in itertools.product(range(3), strings.alphabet):
            fits = lambda one, word=word: all(m in ("_", w) for m, w in zip(word, one))
            wanted = mean_of(strings, fits, place, letter)
            assert float(found[place, strings.alphabet.index(letter)]) == pytest.approx(wanted)


def test_guess_where_no_word_fits():
    strings = Strings({"ab": 3, "ba": 1})
    assert strings.guess(strings.read(["a_", "aa"])).tolist() == [[[1, 0], [0, 1]], [[1, 0], [1, 0]]]
    lost = Strings({"abc": 3, "bac": 1}).guess(torch.tensor([[0, 0, 3]]))[0, 2]
    assert lost.tolist() == [0, 0, 1]


@pytest.mark.parametrize("rules", [[some(1)] * 3, [surest(1)] * 3])
def test_one_letter_at_a_time_is_exact_in_whichever_order(strings, rules):
    found, calls = law(strings, rules)
    assert total_variation(strings, found) < 1e-12
    assert calls == pytest.approx(3)


def test_all_at_once_is_the_product_of_the_letters_laws(strings):
    found, calls = law(strings, even(1))
    letters = strings.guess(torch.full((1, 3), strings.mask))[0]
    wanted = letters[torch.arange(3), strings.tokens].prod(1)
    torch.testing.assert_close(probabilities(strings, found), wanted)
    assert calls == pytest.approx(1)


def test_law_is_that_of_counted_samples(strings, seed):
    n = 20_000
    for rules in (even(3), [some(2), some(1)], [surest(2)] * 2, [each(0.4), each(1.0)]):
        found, _ = law(strings, rules)
        *_, x = unmask(strings, n, rules, seed)
        counted = Counter(strings.write(x))
        written = strings.write(strings.states())
        spread = (found * (1 - found) / n).sqrt()
        for word, p, s in zip(written, found.tolist(), spread.tolist()):
            assert abs(counted[word] / n - p) <= 6 * s + 1e-9


def test_distance_falls_with_steps_as_one_over_their_number(strings):
    distances = [total_variation(strings, law(strings, even(n))[0]) for n in (1, 2, 16, 32)]
    assert distances == sorted(distances, reverse=True)
    assert distances[2] / distances[3] == pytest.approx(2, abs=0.15)


def test_calls_are_steps_in_which_something_is_revealed(strings):
    n = 5  # (1 - 1/n) is the chance of a letter not to be revealed in a given one of n steps
    assert law(strings, even(n))[1] == pytest.approx(n * (1 - (1 - 1 / n) ** 3))


def test_bound_is_the_entropy_and_what_parallel_steps_lose(strings):
    """At one step it is exactly the product law's mean log-likelihood; it falls to the entropy."""
    excess = [bound(strings, n) - entropy(strings) for n in (1, 4, 32, 64)]
    for n, more in zip((1, 4, 32), excess):
        own = probabilities(strings, law(strings, even(n))[0])
        missed = float(strings.probabilities @ (strings.probabilities / own).log())
        assert missed <= more + 1e-12
        assert n > 1 or missed == pytest.approx(more)
    assert excess[2] / excess[3] == pytest.approx(2, abs=0.1)


def test_runs_leave_no_mask_and_repeat_with_their_seed(strings, seed):
    one, two = ([*unmask(strings, 50, even(4), seed)] for _ in range(2))
    assert (one[0] == strings.mask).all() and (one[-1] < strings.mask).all()
    assert all(torch.equal(a, b) for a, b in zip(one, two))
    for before, after in zip(one, one[1:]):  # what is revealed stays
        assert ((before == after) | (before == strings.mask)).all()


def test_bad_words_are_told():
    with pytest.raises(ValueError, match="of one length"):
        Strings({"ab": 1, "abc": 1})
    with pytest.raises(ValueError, match="positive"):
        Strings({"ab": 1, "ba": math.nan})
    with pytest.raises(ValueError, match="steps"):
        even(0)
