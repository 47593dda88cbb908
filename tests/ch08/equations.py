"""Chapter 8: practice."""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch

from book.ch08 import experiments
from tests.book.notebooks.equations import equation
from toolkit import EDM, VP
from toolkit.masked import Strings, bound, even
from toolkit.scales import PrincipalLatents, enlarge, noise_error_at_scale, restart, shrink

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------

WORDS = Strings({"abc": 5, "abb": 3, "cab": 2, "bbc": 1})


@equation("scales.average")
def the_mean_of_a_block_has_noise_smaller_by_its_side():
    """The mean of f^2 independent variances sigma^2 has sigma^2 / f^2; and `shrink` takes that mean."""
    for factor in (2, 4):
        block = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
        weights = torch.autograd.functional.jacobian(lambda x, f=factor: shrink(x, f)[0, 0, 0, 0], block)
        assert float(weights.square().sum()) == pytest.approx(1 / factor**2)


@equation("scales.restart")
def the_restart_is_a_state_of_the_forward_process():
    generator = torch.Generator().manual_seed(0)
    preview, noise = (
        torch.rand(3, 1, 7, 7, generator=generator),
        torch.randn(3, 1, 28, 28, generator=generator),
    )
    for schedule, t in ((VP(), 0.3), (EDM(), 1.4)):
        x = restart(schedule, preview, 4, t, noise)
        torch.testing.assert_close(x, schedule.alpha(t) * enlarge(preview, 4) + schedule.sigma(t) * noise)


@equation("latents.lost")
def what_principal_latents_lose_is_the_variance_left_out():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(50, 1, 4, 4, generator=generator, dtype=torch.float64) ** 3
    values = torch.linalg.eigvalsh(torch.cov(images.flatten(1).T, correction=0)).flip(0)
    for k in (1, 7, 15):
        latents = PrincipalLatents(images, k)
        lost = (latents.decode(latents.encode(images)) - images).square().flatten(1).sum(1).mean()
        torch.testing.assert_close(lost, values[k:].sum())


@equation("latents.scale")
def the_least_error_of_eps_by_projection():
    """E[eps x]^2 / E[x^2] is what the best guess explains of eps."""
    s, alpha, sigma = sympy.symbols("s alpha sigma", positive=True)
    left = 1 - sigma**2 / (alpha**2 * s**2 + sigma**2)
    assert sympy.simplify(left - noise_error_at_scale(s, alpha, sigma)) == 0
    assert sympy.limit(noise_error_at_scale(s, alpha, sigma), s, 0) == 0
    assert sympy.simplify(sympy.diff(left, s)).is_positive


@equation("speed.rest")
def a_rounded_product_moves_the_root_of_the_rest():
    """To first order: d sqrt(1 - a) / sqrt(1 - a) = -a / (2 (1 - a)) da / a."""
    a, d = sympy.symbols("a d", positive=True)
    change = sympy.diff(sympy.log(sympy.sqrt(1 - a * (1 + d))), d).subs(d, 0)
    assert sympy.simplify(change + a / (2 * (1 - a))) == 0
    near_one = np.float32(1 - 1e-4)
    exact = math.sqrt(1 - float(near_one))
    assert abs(math.sqrt(1 - float(np.nextafter(near_one, np.float32(0)))) / exact - 1) == pytest.approx(
        2**-24 / (2e-4), rel=0.01
    )


@equation("masked.step")
def reveals_of_many_steps_are_one_reveal():
    """Steps 1 -> 2 -> 3 of levels a < b < c leave a mask with (1 - c) / (1 - a), as one step does; and `even`
    has these shares."""
    a, b, c = sympy.symbols("a b c")
    share = lambda low, high: (high - low) / (1 - low)  # noqa: E731
    both = (1 - share(a, b)) * (1 - share(b, c))
    assert sympy.simplify(both - (1 - share(a, c))) == 0
    masked = torch.ones(1, 3, dtype=torch.bool)
    for n, rule in enumerate(even(5)):
        ((_, found),) = rule(None, masked)
        assert found[0, 0] == pytest.approx(share(n / 5, (n + 1) / 5))


@equation("masked.bound")
def the_bound_is_the_entropy_and_the_dependence_of_what_is_drawn_at_once():
    """In one step all letters are drawn from their own laws: the excess is their total correlation.  In two,
    it is summed by hand over what is masked and what is revealed."""
    p, tokens = WORDS.probabilities, WORDS.tokens
    entropy = -float(p @ p.log())

    def dependence(seen, drawn):
        """E of sum_i H(x_i | seen) - H(x_drawn | seen), over the words."""
        conditional = lambda places: sum(  # noqa: E731
            -float(p[w]) * math.log(share(places + seen, w) / share(seen, w)) for w in range(len(p))
        )
        share = lambda places, w: float(  # noqa: E731
            p[(tokens[:, places] == tokens[w, places]).all(1)].sum()
        )
        return sum(conditional([i]) for i in drawn) - conditional(drawn)

    assert bound(WORDS, 1) - entropy == pytest.approx(dependence([], [0, 1, 2]))
    two = 0.0
    for kept in itertools.product(
        (False, True), repeat=3
    ):  # revealed by the first of two even steps, 1/8 each
        first, second = [i for i in range(3) if kept[i]], [i for i in range(3) if not kept[i]]
        two += (dependence([], first) + dependence(first, second)) / 8
    assert bound(WORDS, 2) - entropy == pytest.approx(two)


@equation("measures.bias")
def the_bias_of_the_frechet_distance_for_large_n():
    found = experiments.bias_of_distance()
    for measured, formula in list(zip(found["measured"][1], found["d/n + d(d+1)/4n"][1]))[2:]:
        assert measured == pytest.approx(formula, rel=0.1)


@equation("scales.hidden")
def two_normals_of_one_deviation_differ_by_their_means():
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 10, generator=generator, dtype=torch.float64)
    normal = lambda mean: torch.distributions.Normal(mean, 1.4)  # noqa: E731
    found = torch.distributions.kl_divergence(normal(one), normal(two)).sum()
    torch.testing.assert_close(found, (one - two).square().sum() / (2 * 1.4**2))
