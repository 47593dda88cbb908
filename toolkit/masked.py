"""Chapter 8: diffusion of strings.

At level a, the share of letters that are still there, each of a string's L letters is a mask with probability
1 - a, on its own (the absorbing state of Austin et al. 2021, D3PM).  The way back from level a to b > a
reveals each mask with probability (b - a) / (1 - a), and draws a letter for it from a guess of x_0 (Sahoo et
al. 2024, MDLM).  The guess is a law for each letter alone: what one step reveals is drawn independently.
For a short list of strings all is exact: the guess and, summed over all states, the law of what a sampler
draws.  A state is a row of letter numbers, `strings.mask` for a mask.
"""

import itertools

import torch
from torch.nn.functional import one_hot

from toolkit.options import whole_number


class Strings:
    """A law of strings of one length: `words`, a dict string -> weight."""

    def __init__(self, words):
        lengths = {len(word) for word in words}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"words must be strings of one length of at least 1, got {sorted(lengths)}")
        weights = torch.tensor([float(weight) for weight in words.values()], dtype=torch.float64)
        if not ((weights > 0) & weights.isfinite()).all():
            raise ValueError("the weight of a word must be a positive number")
        self.words, self.length, self.alphabet = (
            list(words),
            lengths.pop(),
            "".join(sorted({*"".join(words)})),
        )
        self.mask = len(self.alphabet)
        self.tokens, self.probabilities = self.read(self.words), weights / weights.sum()

    def read(self, words):
        """The states (B, L) int64 of words, "_" for a mask."""
        return torch.tensor([[(self.alphabet + "_").index(letter) for letter in word] for word in words])

    def write(self, states):
        """The words of states (B, L)."""
        return ["".join((self.alphabet + "_")[token] for token in state) for state in states.tolist()]

    def guess(self, states):
        """The exact law (B, L, V) float64 of each letter of x_0 given the revealed ones of states (B, L), at
        any level.  Where no word fits, since a step went wrong, masks get the law among all words."""
        fits = ((states[:, None] == self.tokens) | (states[:, None] == self.mask)).all(2)
        weights = (fits | ~fits.any(1, keepdim=True)) * self.probabilities
        weights = weights / weights.sum(1, keepdim=True)
        found = torch.einsum("bw,wlv->blv", weights, one_hot(self.tokens, self.mask).double())
        known = one_hot(states, self.mask + 1)[..., :-1].double()
        return torch.where((states == self.mask)[..., None], found, known)

    def states(self):
        """All (V + 1)^L states (S, L), with masks and without, in the order of `law`."""
        return torch.cartesian_prod(*[torch.arange(self.mask + 1)] * self.length).reshape(-1, self.length)


# A rule says what a step reveals: (guess (B, L, V), masked (B, L)) -> pairs (weight (B,), share (B, L)).


def each(share):
    """The rule that reveals every mask with probability `share`, whatever happens to the others."""
    return lambda guess, masked: [(torch.ones(len(masked)).double(), share * masked.double())]


def even(steps):
    """Rules of the diffusion in so many steps: the level grows evenly from 0 to 1."""
    return [each(1 / (steps - n)) for n in range(whole_number("steps", steps))]


def some(count):
    """The rule that reveals `count` of the masks, chosen evenly, or all where fewer are left."""

    def rule(guess, masked):
        subsets = torch.tensor(list(itertools.product((False, True), repeat=masked.shape[1])))
        fits = (masked | ~subsets[:, None]).all(2)  # (2^L, B)
        fits &= subsets.sum(1)[:, None] == masked.sum(1).clamp(max=count)
        weights = fits / fits.sum(0).double()
        return [(weight, subset.expand_as(masked).double()) for weight, subset in zip(weights, subsets)]

    return rule


def surest(count):
    """The rule that reveals the `count` masks whose likeliest letter is the likeliest (MaskGIT: Chang et al.
    2022, without its noise), the first of those that tie."""

    def rule(guess, masked):
        sure = guess.amax(2).masked_fill(~masked, -1.0)
        order = torch.sort(sure, dim=1, descending=True, stable=True).indices[:, :count]
        return [(torch.ones_like(sure[:, 0]), torch.zeros_like(sure).scatter(1, order, 1.0) * masked)]

    return rule


def unmask(strings, n, rules, seed=0):
    """Algorithm: from n rows of masks, a step for each rule; yields the states (n, L)."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda p: torch.multinomial(p, 1, generator=generator)[:, 0]  # noqa: E731
    x = torch.full((n, strings.length), strings.mask)
    yield x
    for rule in rules:
        guess = strings.guess(x)  # the call
        weights, shares = (torch.stack(both) for both in zip(*rule(guess, x == strings.mask)))
        share = shares[draw(weights.T), torch.arange(n)]
        revealed = torch.rand(x.shape, generator=generator, dtype=torch.float64) < share
        x = torch.where(revealed & (x == strings.mask), draw(guess.flatten(0, 1)).view_as(x), x)
        yield x


def law(strings, rules):
    """The exact law of `unmask`'s end, (S,) over `strings.states()`, and the mean number of calls: after a
    step that reveals nothing the guess still holds (Sahoo et al. 2024)."""
    states, calls = strings.states(), 0.0
    guess, masked = strings.guess(states), states == strings.mask
    now, stay = masked.all(1).double(), one_hot(states, strings.mask + 1).double()
    change = masked[..., None] * (torch.cat([guess, torch.zeros_like(stay[..., :1])], 2) - stay)
    for rule in rules:
        then = torch.zeros_like(now)
        for weight, share in rule(guess, masked):
            there = (now * weight).nonzero()[:, 0]
            letter, rows = (stay + share[..., None] * change)[there], (now * weight)[there]
            calls += float(rows @ (1 - (1 - share[there]).prod(1)))
            for place in range(strings.length):  # a product over letters, one more axis for each
                rows = rows[..., None] * letter[:, place].view(len(there), *[1] * place, letter.shape[2])
            then += rows.sum(0).flatten()
        now = then
    return now, calls


def total_variation(strings, found):
    """Half the sum of absolute differences between `law`'s probabilities (S,) and the strings'."""
    place = (strings.mask + 1) ** torch.arange(strings.length - 1, -1, -1)
    wanted = torch.zeros_like(found).index_add(0, (strings.tokens * place).sum(1), strings.probabilities)
    return float((found - wanted).abs().sum() / 2)


def bound(strings, steps):
    """The bound on the strings' mean negative log-likelihood, in nats, of `even(steps)`: each letter costs
    -log of the guess at the state before the step that reveals it (Sahoo et al. 2024)."""
    hidden = torch.tensor(list(itertools.product((False, True), repeat=strings.length)))
    states = torch.where(hidden[:, None], strings.mask, strings.tokens)  # (2^L, words, L)
    guess = strings.guess(states.flatten(0, 1)).view(*states.shape, -1)
    cost = -guess.gather(3, strings.tokens.expand_as(states)[..., None])[..., 0].log()
    cost = ((cost * hidden[:, None]).sum(2) * strings.probabilities).sum(1)  # of revealing all, by pattern
    a = torch.arange(steps, dtype=torch.float64)[:, None] / steps  # the levels before the steps
    there = (1 - a) ** hidden.sum(1) * a ** (~hidden).sum(1)  # probability of each pattern
    return float((there * cost / (steps * (1 - a))).sum())
