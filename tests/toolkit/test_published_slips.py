"""Slips of published code whose package is not in the environment: their formulas, written anew, are measured
(docs/divergences.md: D9 to D12, D17, D18, and D1, whose formula two more code bases have).
"""

import math

import numpy as np
import pytest
import torch

from tests.seeds import seed_of
from toolkit import VE, VP, Flow, Mixture, grids, initial_noise, sample
from toolkit.convergence import exact_start, reference, slope
from toolkit.dpm_solver import divided_coefficients, dpmpp_2m, dpmpp_3m_divided
from toolkit.exponential import Row, adams_table, phi, run_table
from toolkit.models import Thresholded
from toolkit.sampling import Sampler

MODES = Mixture.ring(8, radius=1.0, std=0.3)
STEPS = [64, 128, 256]


def ends(schedule):
    return schedule.t_of_lam(-math.log(5)), schedule.t_of_lam(math.log(5))


def order_of(run, schedule, grid):
    """The slope of run(model, x, times) -> state against the probability flow, σ/α from 5 to 0.2."""
    model, x = MODES.model(schedule), 5 * initial_noise(20, 2, seed_of("slips"), torch.float64)
    x = x * schedule.alpha(ends(schedule)[0])
    want = reference(model, x, *ends(schedule))
    errors = [float((run(model, x, grid(n)) - want).square().mean().sqrt()) for n in STEPS]
    return slope(STEPS, errors)


def even(schedule):
    return lambda n: grids.uniform_lambda(schedule, n, *ends(schedule)).tolist()


def rough(schedule, ratio=3.0):
    """Steps in σ/α that alternate, within a smooth change."""
    def times(n):
        sizes = np.where(np.arange(n) % 2, 1.0, ratio) * np.linspace(2, 1, n)
        share = np.concatenate([[0], np.cumsum(sizes) / sizes.sum()])
        return schedule.t_of_lam(-np.log(5 + share * (0.2 - 5))).tolist()

    return times


# --- D1: the official code, and diff-sampler ------------------------------------------------------------


def third_update(schedule, times, i):
    """The weights of m_0, m_1, m_2 in the update of `multistep_dpm_solver_third_update` (official code; the
    same in diff-sampler's `dpm_pp_update`): with r_0 and r_1 the last two steps over h, D1_0 = (m_0 - m_1) /
    r_0, D1_1 = (m_1 - m_2) / r_1, D1 = D1_0 + r_0 / (r_0 + r_1) (D1_0 - D1_1), D2 = (D1_0 - D1_1) / (r_0 +
    r_1).
    """
    lam, unit = schedule.lam(np.array(times)), np.eye(3)
    h, r_0, r_1 = lam[i + 1] - lam[i], lam[i] - lam[i - 1], lam[i - 1] - lam[i - 2]
    r_0, r_1 = r_0 / h, r_1 / h
    first, before = (unit[0] - unit[1]) / r_0, (unit[1] - unit[2]) / r_1
    slope_, bend = first + r_0 / (r_0 + r_1) * (first - before), (first - before) / (r_0 + r_1)
    near = math.expm1(-h)
    inner = near * unit[0] - (near / h + 1) * slope_ + ((near + h) / h**2 - 0.5) * bend
    return -schedule.alpha(times[i + 1]) * inner


def test_the_third_order_update_of_the_official_code_is_the_divided_form():
    """D1.  Its D2 is a second divided difference in units of h; what phi_3 multiplies must be twice that."""
    schedule, times = VP(), grids.quadratic(VP(), 8).tolist()
    row = divided_coefficients(schedule, times)[6]
    assert np.allclose(third_update(schedule, times, 6), row.weights, rtol=1e-9)
    right = adams_table(schedule, times, 3)[6].weights
    assert np.abs(third_update(schedule, times, 6) - right).max() > 1e-3
    run = lambda model, x, t: sample(dpmpp_3m_divided, model, x, t).x
    assert order_of(run, VP(), even(VP())) == pytest.approx(2, abs=0.1)


# --- D9: the official UniPC, vary_coeff -----------------------------------------------------------------


def vary_table(schedule, times, order):
    """The corrector of UniPC's variant "vary_coeff" as rows, the prediction at the step's end first.  With
    C_jk = r_j^(k-1) / k!, the last r being 1, and A its inverse, the right one adds sum_k phi_(k+1) A_k . D;
    there D's last entry, the new prediction, enters with its weight in the last-but-one row of A only.
    """
    lam, rows = schedule.lam(np.array(times)), []
    for i in range(len(times) - 1):
        count = min(order, i + 1)
        h = lam[i + 1] - lam[i]
        r = np.append((lam[i - np.arange(1, count)] - lam[i]) / h, 1.0)
        size = len(r)
        inverse = np.linalg.inv(r[:, None] ** np.arange(size) / [math.factorial(k + 1) for k in range(size)])
        terms = [h * phi(k + 2, -h) for k in range(size)]
        past = sum((terms[k] * inverse[k, :-1] for k in range(size - 1)), np.zeros(size - 1))
        new = terms[size - 1] * inverse[max(size - 2, 0), -1]
        past = past / r[:-1]
        weights = [new, h * phi(1, -h) - new - past.sum(), *past]
        scale = schedule.alpha(times[i + 1])
        ratio = schedule.sigma(times[i + 1]) / schedule.sigma(times[i])
        rows.append(Row(float(ratio), tuple(float(scale * w) for w in weights), 0.0))
    return rows


@pytest.mark.parametrize("order", [2, 3])
def test_unipc_with_varying_coefficients_is_of_order_one(order):
    """D9.  The sum over k is left out for the new prediction; with it the corrector is Adams-Moulton's."""
    def run(table):
        def loop(model, x, times):
            predictor = adams_table(model.schedule, times, order)
            yield from run_table(model, x, times, predictor, corrector=table(model.schedule, times))

        return lambda model, x, times: sample(Sampler(loop), model, x, times).x

    right = lambda schedule, times: adams_table(schedule, times, order, implicit=True)
    theirs = lambda schedule, times: vary_table(schedule, times, order)
    assert order_of(run(theirs), VP(), even(VP())) == pytest.approx(1, abs=0.15)
    assert order_of(run(right), VP(), even(VP())) > 2.6


# --- D10: azula's REABSampler ---------------------------------------------------------------------------


def rosenbrock_weights(u, i, count):
    """Integrals over the step, against e^u / (1 + e^2u), of Lagrange's polynomials on the last `count` nodes
    of u = log(sigma / alpha), the oldest first.
    """
    nodes, powers = u[i + 1 - count : i + 1], np.arange(count)[:, None]
    y, weights = np.polynomial.legendre.leggauss(20)
    v = u[i] + (u[i + 1] - u[i]) * (y + 1) / 2
    kernel = weights * (u[i + 1] - u[i]) / 2 * np.exp(v) / (1 + np.exp(2 * v))
    return np.linalg.solve(nodes**powers, v**powers @ kernel)


def rosenbrock(slip):
    """Two predictions of f = (alpha x / s - s x0) / sigma with s^2 = alpha^2 + sigma^2, the linear part that
    is right for data N(0, 1); with the slip sqrt(alpha_s^2 + sigma_t^2) stands before the integral.
    """
    def run(model, x, times):
        alpha, sigma = (level(np.array(times)) for level in (model.schedule.alpha, model.schedule.sigma))
        u, past, size = np.log(sigma / alpha), [], np.hypot(alpha, sigma)
        for i, t in enumerate(times[:-1]):
            past = [*past, (alpha[i] * x / size[i] - size[i] * model.x0(x, t)) / sigma[i]][-2:]
            weights = rosenbrock_weights(u, i, len(past)).tolist()
            before = math.hypot(alpha[i + 1], sigma[i if slip else i + 1])
            x = size[i + 1] / size[i] * x + before * sum(w * f for w, f in zip(weights, past))
        return x

    return run


@pytest.mark.parametrize("slip, order", [(False, 2), (True, 1)])
def test_the_rosenbrock_sampler_of_azula_is_of_order_one(slip, order):
    """D10.  The factor before the integral has the noise of the step's start for that of its end."""
    assert order_of(rosenbrock(slip), VP(), even(VP())) == pytest.approx(order, abs=0.15)


# --- D11: diff-sampler's ipndm_v ------------------------------------------------------------------------


def three_steps(h, slip):
    """Adams-Bashforth's weights of the last three slopes for steps h = (h_n, h_(n-1), h_(n-2)); with the slip
    a closing bracket comes too late: 1 - a b stands for (1 - a) b in the third term.
    """
    a = h[0] / (3 * (h[0] + h[1]))
    b = h[0] * (h[0] + h[1]) / (h[1] * (h[1] + h[2]))
    third = (1 - a * b) / 2 if slip else (1 - a) * b / 2
    q, p = h[0] / h[1], h[1] / h[2]
    return np.array([(2 + q) / 2 + third, -q / 2 - (1 + p) * third, p * third])


@pytest.mark.parametrize("slip, order", [(False, 3), (True, 2)])
def test_variable_steps_of_ipndm_v_lose_an_order_on_a_rough_grid(slip, order):
    """D11, its third order, in σ/α, from exact states.  On equal steps the slip changes nothing."""
    def run(model, x, times):
        kappa = [math.exp(-model.schedule.lam(t)) for t in times]
        history, x = exact_start(model, x, times, 2)
        eps = [model.eps(state, t) for t, state in reversed(history)]
        for i in range(2, len(times) - 1):
            eps = [model.eps(x, times[i]), *eps[:2]]
            h = [kappa[i + 1 - k] - kappa[i - k] for k in range(3)]
            x = x + h[0] * sum(w * e for w, e in zip(three_steps(h, slip).tolist(), eps))
        return x  # alpha is 1

    assert order_of(run, VE(), rough(VE())) == pytest.approx(order, abs=0.2)
    assert np.allclose(three_steps([1.0, 1.0, 1.0], slip), [23 / 12, -16 / 12, 5 / 12])


# --- D12: diff-sampler thresholds always ----------------------------------------------------------------


def test_a_threshold_that_cannot_be_turned_off_shrinks_unbounded_data():
    """D12.  dpm_pp and unipc with data prediction clip and rescale each prediction; N(0, 4) data come out at
    a quarter of their standard deviation.
    """
    model = Mixture.gaussian(16, 2.0).model(VP())
    x, times = initial_noise(500, 16, seed_of("clip"), torch.float64), grids.uniform_lambda(VP(), 20)
    assert float(sample(dpmpp_2m, model, x, times).x.std()) == pytest.approx(2, abs=0.1)
    assert float(sample(dpmpp_2m, Thresholded(model, 0.995), x, times).x.std()) < 0.6


# --- D17: the first NanoFlow of rectified-flow-pytorch --------------------------------------------------


def nano_flow(model, x, times, size, inverted=False):
    """Euler from noise to data, x + size v, asked at these times, 0 for noise; inverted: trained with 0 for
    the data, and still begun at 0 with noise.
    """
    for time in times:
        t = time if inverted else 1 - time
        velocity = model.x0(x, t) - model.eps(x, t) if t > 1e-9 else x  # without noise left no eps is known
        x = x + size * velocity
    return x


def test_times_of_nano_flow_that_do_not_fit_its_steps_cost_no_order():
    """D17.  n points from 0 to 1 and steps of 1/n, or of 1/(n - 1), as the issue proposes: on the ring both
    err less than half as much as points that fit.
    """
    model, x = MODES.model(Flow()), initial_noise(100, 2, seed_of("nano"), torch.float64)
    want = reference(model, x, 1 - 1e-7, 1e-6)  # at 0 and 1 lambda is infinite
    errors = {"fit": [], "printed": [], "proposed": []}
    for n in STEPS:
        fit, printed = np.linspace(0, 1, n + 1)[:-1].tolist(), np.linspace(0, 1, n).tolist()
        cases = ("fit", fit, 1 / n), ("printed", printed, 1 / n), ("proposed", printed, 1 / (n - 1))
        for name, times, size in cases:
            end = nano_flow(model, x, times, size)
            errors[name].append(float((end - want).square().mean().sqrt()))
    for found in errors.values():
        assert slope(STEPS, found) == pytest.approx(1, abs=0.1)
    for name in ("printed", "proposed"):
        assert max(np.array(errors[name]) / errors["fit"]) < 0.5


def test_nano_flow_run_the_wrong_way_spares_a_centred_gaussian_only():
    """D17, what was mended after all: data are time 0 in training, and noise is in sampling."""
    times = np.linspace(0, 1, 257)[:-1].tolist()
    x = initial_noise(4000, 2, seed_of("inverted"), torch.float64)
    for mixture, wrong in ((Mixture.gaussian(2, 0.5), (0.9, 1.1)), (MODES, (0.0, 0.85))):
        model = mixture.model(Flow())
        right, inverted = (nano_flow(model, x, times, 1 / 256, way).square().mean() for way in (False, True))
        low, high = wrong
        assert low < float((inverted / right).sqrt()) < high


# --- D18: the official AMED-Solver ----------------------------------------------------------------------


def amed_step(model, y, start, end, r, c, a, official):
    """A step in kappa = sigma / alpha, alpha = 1: the level in between is start^(1 - r) end^r, the model is
    told a times it.  official: the direction is divided by the level itself; ours: by what the model is told.
    """
    time = lambda level: model.schedule.t_of_lam(-math.log(level))
    middle = start ** (1 - r) * end**r
    halfway = y + (middle - start) * model.eps(y, time(start))
    direction = (halfway - model.x0(halfway, time(a * middle))) / (middle if official else a * middle)
    return y + c * (end - start) * direction


@pytest.mark.parametrize("a", [0.9, 1.1])
def test_the_official_amed_step_is_ours_with_another_scale_of_the_direction(a):
    """D18.  c / a for c makes one of the other; with one c their errors stop falling at different levels."""
    model = MODES.model(VE())
    x = 5 * initial_noise(100, 2, seed_of("amed"), torch.float64)
    step = lambda official, c: amed_step(model, x, 2.0, 1.0, 0.4, c, a, official)
    assert torch.allclose(step(True, 1.03 / a), step(False, 1.03), rtol=1e-12)
    want, errors = reference(model, x, *ends(VE())), {}
    for official in (True, False):
        for scale in (1.0, a):
            y = stepped(model, x, even(VE())(128), scale, official)
            errors[official, scale] = float((y - want).square().mean().sqrt())
    assert errors[True, 1.0] == pytest.approx(errors[False, 1.0], rel=1e-6) and errors[True, 1.0] < 1e-3
    assert 0.01 < errors[True, a] < 0.9 * errors[False, a]


def stepped(model, y, times, a, official):
    """The state after `amed_step`s with r = 1/2 and c = 1 along these times."""
    levels = [math.exp(-model.schedule.lam(t)) for t in times]
    for start, end in zip(levels, levels[1:]):
        y = amed_step(model, y, start, end, 0.5, 1.0, a, official)
    return y
