"""AMED: the mean value where it is known, the solvers where they are others, and what training reaches."""

import math

import pytest
import torch

from toolkit import AFS, EDM, VP, Flow, GaussianFlow, Guided, Mixture, Network, grids, initial_noise, sample
from toolkit.amed import (
    BASES,
    Predictor,
    amed_plugin,
    amed_solver,
    best_time,
    explained,
    level_of,
    mean_direction,
    refined,
    teacher_error,
    teacher_path,
    time_of,
    train_predictor,
)
from toolkit.convergence import reference
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpm_solver_2, dpmpp_2m
from toolkit.multistep import ipndm
from toolkit.networks import ToyMLP, digits_model

RING = Mixture.ring(8, radius=1.0, std=0.3)
WIDE = EDM(sigma_max=10.0)
schedules = pytest.mark.parametrize("schedule", [VP(), EDM(), Flow()], ids=lambda s: type(s).__name__)


def with_middles(schedule, times):
    """The grid with a time in the middle, in lambda, of each step."""
    fine = []
    for t, s in zip(times[:-1], times[1:]):
        middle = math.sqrt(level_of(schedule, float(t)) * level_of(schedule, float(s)))
        fine += [float(t), time_of(schedule, middle)]
    return [*fine, float(times[-1])]


def fixed(r, c=1.0, **options):
    """A predictor that always says r and c."""
    predictor = Predictor(**options)
    with torch.no_grad():
        predictor.body[2].bias[0] = math.log(r / (1 - r))
        predictor.body[2].bias[1] = math.atanh((c - 1) / predictor.ranges[0])
    return predictor


# --- the mean value -------------------------------------------------------------------------------------


@schedules
@pytest.mark.parametrize("std", [0.5, 1.3])
def test_the_mean_value_of_a_gaussian_is_taken_where_algebra_says(schedule, std):
    """y = C sqrt(d^2 + k^2): the slope k / sqrt(d^2 + k^2) equals the mean m at k = m d / sqrt(1 - m^2)."""
    t, s = time_of(schedule, 5.0), time_of(schedule, 0.2)
    x = initial_noise(6, 3, 1, torch.float64) * schedule.sigma(t)
    model = Mixture.gaussian(3, std).model(schedule)
    mean = (math.hypot(std, 0.2) - math.hypot(std, 5.0)) / (0.2 - 5.0)
    level = mean * std / math.sqrt(1 - mean**2)
    r, residual = best_time(model, x, t, s)
    assert torch.allclose(r, torch.full_like(r, math.log(level / 5.0) / math.log(0.2 / 5.0)), atol=1e-6)
    assert residual.max() < 1e-6
    end = GaussianFlow(schedule, std=std).map(x, t, s)
    gap = (end / schedule.alpha(s) - x / schedule.alpha(t)) / (0.2 - 5.0)
    assert torch.allclose(mean_direction(model, x, t, s), gap, atol=1e-9)


def test_in_one_dimension_the_mean_value_theorem_holds_and_in_two_it_does_not(seed):
    line = Mixture([0.3, 0.7], [[-1.0], [0.8]], [0.2, 0.3]).model(WIDE)
    x = 3.0 * initial_noise(16, 1, seed, torch.float64)
    assert best_time(line, x, 3.0, 0.05)[1].max() < 1e-5
    plane = Mixture.ring(3, std=0.15).model(WIDE)
    x = 3.0 * initial_noise(16, 2, seed, torch.float64)
    coarse = best_time(plane, x, 3.0, 0.05)[1]
    fine = best_time(plane, x, 3.0, 2.7)[1]
    assert coarse.median() > 0.005 and fine.median() < 0.1 * coarse.median()


def test_the_best_time_is_a_minimum_and_the_other_kind_uses_eulers_line():
    model, x = RING.model(WIDE), 4.0 * initial_noise(8, 2, 3, torch.float64)
    mean = mean_direction(model, x, 4.0, 0.3)
    d = model.eps(x, 4.0)

    def left(r):
        level = 4.0 ** (1 - r) * 0.3**r
        return ((model.eps(x + (level - 4.0)[:, None] * d, level) - mean).norm(dim=1)) / mean.norm(dim=1)

    r, residual = best_time(model, x, 4.0, 0.3, along="euler")
    assert torch.allclose(left(r), residual)
    assert all((left((r + shift).clamp(0, 1)) >= residual - 1e-9).all() for shift in (-0.2, -0.01, 0.01, 0.2))
    with pytest.raises(ValueError, match="along"):
        best_time(model, x, 4.0, 0.3, along="chord")


def test_explained_variance_of_paths_with_known_dimension():
    grid = torch.linspace(0, 1, 9, dtype=torch.float64)
    a, b = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    line = grid[:, None, None] * a
    plane = line + (grid**2)[:, None, None] * b
    assert torch.allclose(explained(line)[:, 0], torch.ones(5).double())
    shares = explained(plane)
    assert (shares[:, 0] < 1 - 1e-6).all() and torch.allclose(shares[:, 1], torch.ones(5).double())
    assert shares.shape == (5, 7) and (shares.diff(dim=1) >= -1e-12).all()


# --- the solvers ----------------------------------------------------------------------------------------


@schedules
def test_untrained_amed_is_dpm_solver_2_and_the_plugin_its_base_on_the_finer_grid(schedule, seed):
    model, times = RING.model(schedule), grids.karras(schedule, 6)
    x = initial_noise(16, 2, seed, torch.float64) * schedule.sigma(schedule.start)

    def close(a, b):
        return torch.allclose(a, b, rtol=1e-10, atol=1e-11)

    assert close(sample(amed_solver, model, x, times).x, sample(dpm_solver_2, model, x, times).x)
    for base, solver in zip(BASES, (ddim, dpm_solver_2, dpmpp_2m, ipndm)):
        fine = sample(solver, model, x, with_middles(schedule, times)).x
        assert close(sample(amed_plugin, model, x, times, base=base).x, fine), base
    # a fresh predictor says the same thing, sample by sample
    fresh = sample(amed_solver, model, x, times, predictor=Predictor(2)).x
    assert torch.allclose(fresh, sample(amed_solver, model, x, times).x, atol=1e-6)


@pytest.mark.parametrize("base", [None, *BASES])
@pytest.mark.parametrize("r", [0.3, 0.6])
def test_times_of_their_own_for_each_sample_are_the_times_of_each_alone(base, r):
    """Half of a batch told r, the other half 1 - r, against two batches with numbers for times."""

    class Split(Predictor):
        def forward(self, features, start, end, n):
            shares = torch.tensor([r, 1 - r]).repeat_interleave(n // 2)
            return shares.double(), torch.ones(n), torch.ones(n)

    model, times = RING.model(VP()), grids.karras(VP(), 4)
    x = initial_noise(8, 2, 5, torch.float64)
    solver, options = (amed_solver, {}) if base is None else (amed_plugin, {"base": base})
    both = sample(solver, model, x, times, predictor=Split(), **options).x
    for rows, share in ((slice(0, 4), r), (slice(4, 8), 1 - r)):
        alone = sample(solver, model, x[rows], times, predictor=fixed(share), **options).x
        assert torch.allclose(both[rows], alone, atol=1e-5)


def test_scale_of_the_direction_scales_the_step():
    model, times = RING.model(WIDE), [4.0, 1.0]
    x = 4.0 * initial_noise(4, 2, 0, torch.float64)
    plain, longer = (sample(amed_solver, model, x, times, predictor=fixed(0.5, c)).x for c in (1.0, 1.02))
    assert torch.allclose(longer - x, 1.02 * (plain - x), atol=1e-6)


def test_calls_with_an_analytic_first_step_and_features_from_one_call():
    net = ToyMLP(width=32)
    model = Network(net, EDM(), predicts="edm")
    noise, times = initial_noise(4, 2, 0) * 80, grids.karras(EDM(), 2)
    predictor = Predictor(32)
    assert sample(amed_solver, model, noise, times, predictor=predictor).nfe == 4
    assert sample(amed_solver, AFS(model), noise, times, predictor=predictor).nfe == 3
    eps, features = model.eps_and_features(noise, 2.0)
    assert torch.equal(eps, model.eps(noise, 2.0)) and features.shape == (4, 32)
    assert AFS(model).eps_and_features(noise, 80.0)[1] is None
    labels = torch.tensor([1, 2, 3, 4])
    guided = Guided(digits_model(EDM()), labels, 2.0)
    images = initial_noise(4, (1, 8, 8), 1) * 3
    eps, features = guided.eps_and_features(images, 3.0)
    assert torch.allclose(eps, guided.eps(images, 3.0), atol=1e-6) and features.shape == (4, 320)
    exact = RING.model(EDM())
    eps, features = exact.eps_and_features(noise, 2.0)
    assert torch.allclose(features, exact.x0(noise, 2.0), atol=1e-4)


def test_a_layer_norm_of_two_features_leaves_one_bit():
    """Which of the two is the larger, and no more."""
    points = torch.tensor([[1.0, 0.0], [30.0, -2.0], [-5.0, -6.0]])
    for normalise in (True, False):
        code = Predictor(2, normalise=normalise).encode(points)
        assert torch.allclose(code[0], code[1], atol=1e-3) is normalise
        assert torch.allclose(code[0], code[2], atol=1e-3) is normalise


def test_what_cannot_work_is_told_in_a_sentence():
    x, times = initial_noise(2, 2), [1.0, 0.1]
    with pytest.raises(ValueError, match="base must be one of"):
        sample(amed_plugin, RING.model(VP()), x, times, base="euler")
    bare = Network(lambda x, c: x, VP())
    with pytest.raises(ValueError, match="forward_with_features"):
        sample(amed_solver, bare, x, times, predictor=Predictor(3))


# --- the teacher and training ---------------------------------------------------------------------------


def test_the_refined_grid_keeps_its_times_and_the_teacher_converges():
    schedule, times = EDM(), grids.karras(EDM(), 3).tolist()
    assert refined(schedule, times, 5)[::5] == times
    even = refined(schedule, times, 4)
    assert even == pytest.approx(grids.karras(schedule, 12).tolist(), rel=1e-9)
    model, x = RING.model(WIDE), 10.0 * initial_noise(64, 2, 0, torch.float64)
    times = grids.karras(WIDE, 3).tolist()
    errors = [teacher_error(model, x, times, n, truth=64) for n in (4, 8, 16)]
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2]
    exact = reference(model, x, times[0], times[1])
    assert (teacher_path(model, x, times, 32)[1] - exact).abs().max() < 0.02


@pytest.mark.parametrize("base", [None, "ddim"])
def test_training_lowers_the_error_on_fresh_noise(seed, base):
    model, times = Mixture.ring(8, std=0.1).model(WIDE), grids.karras(WIDE, 2).tolist()
    predictor = Predictor(2)
    run = train_predictor(
        predictor,
        model,
        times,
        lambda generator: 10.0 * torch.randn(128, 2, generator=generator),
        steps=120,
        base=base,
        seed=seed,
    )
    fresh = 10.0 * initial_noise(1000, 2, 100 + seed)
    truth = teacher_path(model, fresh, times, 64)[-1]
    solver, options = (amed_solver, {}) if base is None else (amed_plugin, {"base": base})
    before, after = (
        (sample(solver, model, fresh, times, predictor=p, **options).x - truth).square().mean().sqrt()
        for p in (None, run.net)
    )
    assert after < 0.8 * before, (before, after)
    again = train_predictor(
        Predictor(0), model, times, lambda g: 10.0 * torch.randn(8, 2, generator=g), steps=3, seed=seed
    )
    assert math.isfinite(float(again.losses[-1]))
