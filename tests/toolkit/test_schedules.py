"""Schedules against their derivatives, against quadrature, and against other people's tables."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from toolkit import EDM, VE, VP, Discrete, Flow, SubVP, VPCosine
from toolkit.schedules import NOTATIONS, LinearSDE, convert

SMOOTH = [VP(), VP(0.5, 12.0), SubVP(), VPCosine(), VPCosine(0.02), VE(), VE(0.1, 5.0), EDM(), Flow()]
TABLES = [Discrete.linear(), Discrete.quadratic(), Discrete.sigmoid(), Discrete.cosine(), Discrete.linear(25)]
VARIANCE_PRESERVING = (VP, VPCosine, Discrete)
NAMES = ["alpha", "sigma", "lam", "log_alpha", "f", "g2", "beta"]


def inner_times(schedule, n=41):
    """Times strictly inside the schedule's interval."""
    low, high = max(schedule.end, 1e-3), schedule.start
    return np.linspace(low, high, n + 2)[1:-1]


def derivative(function, t, h):
    """Sixth-order central difference."""
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    return sum(w * (function(t + k * h) - function(t - k * h)) for k, w in weights.items()) / h


@pytest.mark.parametrize("schedule", SMOOTH, ids=repr)
def test_f_is_the_derivative_of_log_alpha(schedule):
    t = inner_times(schedule)
    h = 2e-3 * np.minimum(t, np.maximum(schedule.start - t, 1e-2))
    assert schedule.f(t) == pytest.approx(derivative(schedule.log_alpha, t, h), rel=1e-7, abs=1e-8)
    assert schedule.beta(t) == pytest.approx(-2 * schedule.f(t), abs=0)


@pytest.mark.parametrize("schedule", SMOOTH, ids=repr)
def test_g2_is_the_growth_of_the_variance_that_drift_does_not_explain(schedule):
    t = inner_times(schedule)
    h = 2e-3 * np.minimum(t, np.maximum(schedule.start - t, 1e-2))
    growth = derivative(lambda u: schedule.sigma(u) ** 2, t, h)
    assert schedule.g2(t) == pytest.approx(
        growth - 2 * schedule.f(t) * schedule.sigma(t) ** 2, rel=1e-7, abs=1e-7
    )


@pytest.mark.parametrize("schedule", SMOOTH, ids=repr)
@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_levels_follow_from_f_and_g2_by_quadrature(schedule, share):
    """The same (alpha, sigma) by integrating the SDE's coefficients: the second route to each schedule."""
    low = max(schedule.end, 0.0)
    t = low + share * (min(schedule.start, 5.0) - low)
    general = LinearSDE(schedule.f, schedule.g2, start=t, sigma0=schedule.sigma(0.0))
    assert general.alpha(t) == pytest.approx(schedule.alpha(t), rel=1e-11)
    assert general.sigma(t) == pytest.approx(schedule.sigma(t), rel=1e-11)


@pytest.mark.parametrize("schedule", SMOOTH + TABLES, ids=repr)
def test_lambda_is_half_the_log_snr_decreases_and_is_inverted(schedule):
    t = inner_times(schedule, 97)
    lam = schedule.lam(t)
    assert lam == pytest.approx(np.log(schedule.alpha(t) / schedule.sigma(t)), abs=1e-11)
    assert (np.diff(lam) < 0).all()
    assert schedule.t_of_lam(lam) == pytest.approx(t, rel=1e-10)
    assert schedule.lam(schedule.t_of_lam(lam)) == pytest.approx(lam, abs=1e-11)


@pytest.mark.parametrize(
    "schedule", [s for s in SMOOTH + TABLES if isinstance(s, VARIANCE_PRESERVING)], ids=repr
)
def test_variance_is_preserved(schedule):
    t = np.concatenate([[0.0], inner_times(schedule, 97)])
    assert schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 == pytest.approx(1, abs=1e-14)
    assert schedule.g2(t) == pytest.approx(schedule.beta(t), abs=0)


def test_definitions():
    t = np.linspace(0.01, 0.99, 7)
    assert VE(0.02, 30.0).sigma(t) == pytest.approx(0.02 * (30 / 0.02) ** t, rel=1e-14)
    assert EDM().sigma(3.5) == 3.5 and EDM().alpha(3.5) == 1.0
    assert Flow().alpha(t) == pytest.approx(1 - t, abs=1e-15) and (Flow().sigma(t) == t).all()
    assert SubVP().sigma(t) == pytest.approx(1 - VP().alpha(t) ** 2, rel=1e-13)
    integral = [quad(lambda u: 0.1 + u * 19.9, 0, u)[0] for u in t]
    assert VP().alpha(t) == pytest.approx(np.exp(-0.5 * np.array(integral)), rel=1e-13)
    angle = (np.array([0.0, *t]) + 0.008) / 1.008 * np.pi / 2
    assert VPCosine().alpha(t) == pytest.approx(np.cos(angle[1:]) / np.cos(angle[0]), rel=1e-13)


def test_small_noise_levels_do_not_cancel():
    """sigma at t = 1e-9 from the series sqrt(beta_min t), where 1 - alpha^2 in floats has lost seven
    digits.
    """
    t = 1e-9
    assert VP().sigma(t) == pytest.approx(math.sqrt(0.1 * t), rel=1e-7)
    assert SubVP().sigma(t) == pytest.approx(0.1 * t, rel=1e-7)
    slope = math.pi / 1.008 * math.tan(0.008 / 1.008 * math.pi / 2)
    assert VPCosine().sigma(t) == pytest.approx(math.sqrt(slope * t), rel=1e-6)


def test_ends():
    for schedule in (VPCosine(), Flow()):
        assert schedule.alpha(1.0) == 0.0 and schedule.lam(1.0) == -math.inf
        assert 0 < schedule.alpha(schedule.start) < 0.01
    for schedule in (VP(), VPCosine(), Flow(), *TABLES):
        assert schedule.alpha(0.0) == 1.0 and schedule.sigma(0.0) == 0.0 and schedule.lam(0.0) == math.inf
        assert schedule.t_of_lam(math.inf) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("schedule", SMOOTH + TABLES, ids=repr)
@pytest.mark.parametrize("name", [*NAMES, "t_of_lam"])
def test_numbers_arrays_and_tensors_of_any_shape_agree(schedule, name):
    method = getattr(schedule, name)
    values = inner_times(schedule, 12).reshape(3, 2, 2)
    if name == "t_of_lam":
        values = schedule.lam(values)
    array = method(values)
    assert isinstance(array, np.ndarray) and array.shape == values.shape and array.dtype == np.float64
    number = method(float(values[1, 0, 1]))
    assert type(number) is float and number == pytest.approx(array[1, 0, 1], rel=1e-13)
    tensor = method(torch.from_numpy(values))
    assert tensor.dtype == torch.float64 and tensor.shape == values.shape
    assert tensor.numpy() == pytest.approx(array, rel=1e-13)
    scalar = method(torch.tensor(float(values[0, 0, 0])))
    assert scalar.shape == () and scalar.dtype == torch.float32
    assert method(torch.from_numpy(values).transpose(0, 2)).numpy() == pytest.approx(array.T, rel=1e-13)
    assert method(torch.empty(0)).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", SMOOTH + TABLES, ids=repr)
def test_dtype_is_kept_and_as_exact_as_it_can_be(schedule, dtype):
    """Arithmetic is float64 inside, so a half-precision time costs only the rounding of the answer."""
    t = torch.from_numpy(inner_times(schedule)).to(dtype).clamp(max=schedule.start)
    for name in NAMES:
        got, want = getattr(schedule, name)(t), getattr(schedule, name)(t.double())
        assert got.dtype == dtype
        assert torch.equal(got, want.to(dtype)), name


def test_whole_numbers_are_times_too():
    assert VP().alpha(1) == VP().alpha(1.0)
    assert torch.equal(VP().alpha(torch.tensor([0, 1])), VP().alpha(torch.tensor([0.0, 1.0]).double()))


@pytest.mark.parametrize("schedule", SMOOTH + TABLES, ids=repr)
def test_gradients_flow_through_tensors(schedule):
    t = torch.from_numpy(inner_times(schedule, 5)).requires_grad_()
    (schedule.log_alpha(t) + schedule.sigma(t) ** 2).sum().backward()
    f, g2, sigma = (getattr(schedule, name)(t.detach()) for name in ("f", "g2", "sigma"))
    assert torch.allclose(t.grad, f + g2 + 2 * f * sigma**2, rtol=1e-9, atol=1e-12)


# --- tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [1, 10, 1000])
def test_a_table_is_the_product_of_its_steps(T):
    rng = np.random.default_rng(T)
    betas = rng.uniform(1e-4, 0.5 / math.sqrt(T), T)
    schedule = Discrete(betas)
    product = [math.prod(1 - b for b in betas[:n]) for n in range(T + 1)]
    assert schedule.T == T and schedule.alpha_bar.shape == (T + 1,)
    assert schedule.alpha_bar == pytest.approx(product, rel=1e-12)
    times = np.arange(T + 1) / T
    assert schedule.alpha(times) ** 2 == pytest.approx(product, rel=1e-12)
    assert schedule.t_of_lam(schedule.lam(times[1:])) == pytest.approx(times[1:], rel=1e-10)


def test_named_tables_follow_their_definitions():
    assert Discrete.linear().betas == pytest.approx(np.linspace(1e-4, 0.02, 1000), rel=1e-14)
    assert Discrete.linear(100).betas == pytest.approx(np.linspace(1e-3, 0.2, 100), rel=1e-14)
    assert np.sqrt(Discrete.quadratic().betas) == pytest.approx(
        np.linspace(0.01, math.sqrt(0.02), 1000), rel=1e-14
    )
    x = np.linspace(-6, 6, 1000)
    assert Discrete.sigmoid().betas == pytest.approx(1e-4 + 0.0199 / (1 + np.exp(-x)), rel=1e-13)
    bar = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    cosine = [min(1 - bar((n + 1) / 1000) / bar(n / 1000), 0.999) for n in range(1000)]
    assert Discrete.cosine().betas == pytest.approx(cosine, rel=1e-9)
    inside = np.arange(990) / 1000
    assert Discrete.cosine().alpha(inside) == pytest.approx(VPCosine().alpha(inside), rel=1e-10)


def test_tables_are_those_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    names = {
        "linear": "linear",
        "scaled_linear": "quadratic",
        "sigmoid": "sigmoid",
        "squaredcos_cap_v2": "cosine",
    }
    for theirs, ours in names.items():
        table = diffusers.DDPMScheduler(beta_schedule=theirs, beta_start=1e-4, beta_end=0.02)
        schedule = getattr(Discrete, ours)()
        # their tables are float32, and so is their cumulative product
        assert schedule.betas == pytest.approx(table.betas.double().numpy(), rel=1e-4)
        assert schedule.alpha_bar[1:] == pytest.approx(
            table.alphas_cumprod.double().numpy(), rel=1e-3, abs=1e-7
        )


def test_a_table_between_its_steps_is_linear_in_log_alpha():
    schedule = Discrete(np.linspace(0.01, 0.4, 10))
    ends = np.arange(11) / 10
    for share in (0.25, 0.5):
        between = schedule.log_alpha(ends[:-1] + share / 10)
        logs = np.log(schedule.alpha_bar) / 2
        assert between == pytest.approx((1 - share) * logs[:-1] + share * logs[1:], rel=1e-12)
    middles = ends[:-1] + 0.05
    assert schedule.f(middles) == pytest.approx(np.diff(np.log(schedule.alpha_bar)) / 2 * 10, rel=1e-12)
    assert schedule.f(ends[1:]) == pytest.approx(
        schedule.f(middles), rel=1e-12
    )  # a knot belongs to the cell before it


# --- notation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("have", NOTATIONS)
@pytest.mark.parametrize("want", NOTATIONS)
def test_notations_round_trip(have, want):
    t = np.linspace(0.02, 0.98, 25)
    for schedule in (VP(), VPCosine(), SubVP(), VE(), Flow()):
        levels = schedule.alpha(t), schedule.sigma(t)
        restricted = NOTATIONS[have].vp_only or NOTATIONS[want].vp_only
        if restricted and not isinstance(schedule, VARIANCE_PRESERVING):
            continue
        start = NOTATIONS[have].to(*levels)
        assert len(start) == len(NOTATIONS[have].symbols)
        there = convert(start, have, want)
        assert len(there) == len(NOTATIONS[want].symbols)
        for back, value in zip(convert(there, want, have), start):
            assert back == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_notations_say_what_their_authors_say():
    schedule = Discrete.linear()
    t = np.array([0.1, 0.5, 0.9])
    pair = schedule.alpha(t), schedule.sigma(t)
    (bar,) = convert(pair, "this book", "DDPM")
    assert bar == pytest.approx(schedule.alpha_bar[[100, 500, 900]], rel=1e-12)
    assert convert(pair, "this book", "DDIM")[0] == pytest.approx(bar, abs=0)
    assert convert((bar,), "DDPM", "Su's blog")[0] == pytest.approx(np.sqrt(bar), rel=1e-14)
    scale, sigma = convert(pair, "this book", "EDM")
    assert scale * sigma == pytest.approx(pair[1], rel=1e-14) and scale == pytest.approx(pair[0])
    scale, time = convert(pair, "this book", "flow")
    assert scale * (1 - time) == pytest.approx(pair[0], rel=1e-13)
    assert scale * time == pytest.approx(pair[1], rel=1e-13)


@pytest.mark.parametrize("arguments", [((0.5, 0.5), "this book", "DDPM"), ((0.5,), "DDPM", "Klingon")])
def test_impossible_conversions_are_refused(arguments):
    with pytest.raises(ValueError):
        convert(*arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VP(0, 20),
        lambda: VP(5, 1),
        lambda: SubVP(-1, 2),
        lambda: VP(math.nan, 1),
        lambda: VE(1, 0.1),
        lambda: VE(0, 1),
        lambda: EDM(3, 2),
        lambda: VPCosine(-1),
        lambda: Discrete([]),
        lambda: Discrete([1.0, 0.1]),
        lambda: Discrete([0.1, 1.1]),
        lambda: Discrete.zero_terminal_snr([0.1]),
        lambda: Discrete([0.1, math.nan]),
        lambda: Discrete([[0.1]]),
        lambda: Discrete([0.0]),
    ],
)
def test_impossible_schedules_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()


@pytest.mark.parametrize("schedule", [VP(), SubVP(), VE(), EDM()], ids=repr)
def test_a_general_sde_is_a_schedule_like_any_other(schedule):
    general = LinearSDE(schedule.f, schedule.g2, start=1.0, sigma0=schedule.sigma(0.0))
    t = np.linspace(1e-3, 1.0, 7)
    for name in (*NAMES, "t_of_lam"):
        at = schedule.lam(t) if name == "t_of_lam" else t
        want = getattr(schedule, name)(at)
        assert getattr(general, name)(at) == pytest.approx(want, rel=1e-10, abs=1e-12), name
        tensor = getattr(general, name)(torch.tensor(at))
        assert tensor.numpy() == pytest.approx(want, rel=1e-10, abs=1e-12), name
        assert getattr(general, name)(float(at[2])) == pytest.approx(want[2], rel=1e-10, abs=1e-12), name


def test_a_general_sde_says_what_is_wrong():
    with pytest.raises(ValueError, match="g2 positive"):
        LinearSDE(lambda t: -t, lambda t: 0 * t)
    with pytest.raises(ValueError, match="finite"):
        LinearSDE(lambda t: np.inf + t, lambda t: 1 + t)
    assert LinearSDE(lambda t: -1.0, lambda t: 2.0).sigma(0.5) == pytest.approx(np.sqrt(1 - np.exp(-1)))


@pytest.mark.parametrize("wrong", ["1", math.nan, None, [0.1, 0.2], True])
def test_a_schedule_is_made_of_numbers(wrong):
    for name, make in (
        ("beta_min", lambda: VP(wrong)),
        ("beta_max", lambda: SubVP(0.1, wrong)),
        ("s", lambda: VPCosine(wrong)),
        ("sigma_min", lambda: VE(wrong)),
        ("sigma_max", lambda: EDM(0.002, wrong)),
        ("start", lambda: LinearSDE(lambda t: -t, lambda t: 2 + t, start=wrong)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be a number, got"):
            make()
