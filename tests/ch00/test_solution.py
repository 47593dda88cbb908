"""The book's own answers to exercise 00 against what is known apart from them."""

import math

import torch

from book.ch00 import solution
from toolkit import VP, Mixture


def test_from_noise_to_data_undoes_the_jump():
    x0, eps = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for alpha, sigma in ((0.8, 0.6), (1.0, 40.0)):
        found = solution.recover_x0(alpha * x0 + sigma * eps, eps, alpha, sigma)
        assert torch.allclose(found, x0, atol=1e-12)


def test_from_noise_to_data_is_the_toolkits_view_of_eps():
    model, x = Mixture.ring().model(VP()), torch.ones(1, 2, dtype=torch.float64)
    alpha, sigma = VP().alpha(0.4), VP().sigma(0.4)
    assert torch.allclose(solution.recover_x0(x, model.eps(x, 0.4), alpha, sigma), model.x0(x, 0.4))


def test_alpha_bar_is_the_schedules_own():
    t = VP().t_of_lam(-1.0)
    assert math.isclose(solution.alpha_bar, VP().alpha(t) ** 2, rel_tol=1e-12)
