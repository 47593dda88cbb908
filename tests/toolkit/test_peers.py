"""Step for step the same as diffusers, given the same noise.

Ours are built from its betas.  Its tables are float32, in which 1 - alpha-bar has lost three digits where
there is little noise: to compare the algorithms it is given the same products in float64 (states are in the
dtype under test), and one more test measures what its own tables cost.  Its step number t in 0..T-1 is our
n = t + 1: after its step 0 nothing is left of the noise, as at our n = 0.
"""

import numpy as np
import pytest
import torch

from toolkit import Discrete, Network, Thresholded, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm
from toolkit.noise import Replay

diffusers = pytest.importorskip("diffusers")

BETAS = {
    "linear": dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    "cosine": dict(beta_schedule="squaredcos_cap_v2"),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
both_tables = pytest.mark.parametrize("table", BETAS)


def denoiser(schedule, predicts="eps"):
    """A fixed network of (x, step number n) for both libraries: it shrinks x as a denoiser must, and
    mixes neighbours.
    """

    def net(x, n):
        alpha, sigma = (level(n[0].double() / 1000) for level in (schedule.alpha, schedule.sigma))
        y = x.double()
        x0 = 0.25 * alpha / (0.25 * alpha**2 + sigma**2) * y + 0.3 * torch.tanh(y + y.roll(1, -1))
        eps = (y - alpha * x0) / sigma
        return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0}[predicts].to(x.dtype)

    return net


def a_pair(kind, table, exact=True, **options):
    """(their scheduler, our schedule) with one table of betas and, unless exact=False, of its products
    in float64.
    """
    theirs = kind(**BETAS[table], clip_sample=False, **options)
    ours = Discrete(theirs.betas.double().numpy())
    if exact:
        theirs.betas = torch.from_numpy(ours.betas)
        theirs.alphas = 1 - theirs.betas
        theirs.alphas_cumprod = torch.from_numpy(ours.alpha_bar[1:])
        theirs.one = torch.ones((), dtype=torch.float64)
        theirs.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    return theirs, ours


def our_times(theirs):
    """Their timesteps as a grid of ours, down to n = 0."""
    return np.array([*(theirs.timesteps.tolist()), -1]) / 1000 + 1 / 1000


def noises(x, steps, seed=3):
    return list(initial_noise(steps, x.shape, seed, x.dtype))


def start(dtype, seed=0, channels=2):
    return initial_noise(3, (channels, 4, 4), seed, dtype)


def error(one, two):
    return float((one - two).abs().max() / two.abs().max())


@pytest.mark.slow
@both_dtypes
@both_tables
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    "steps, spacing",
    [(10, "leading"), (10, "trailing"), (50, "leading"), (100, "trailing"), (1000, "leading")],
)
def test_ddim(dtype, table, eta, steps, spacing):
    theirs, schedule = a_pair(diffusers.DDIMScheduler, table, timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    net = denoiser(schedule)
    x = y = start(dtype)
    zs = noises(x, steps)
    for t, z in zip(theirs.timesteps, zs):
        y = theirs.step(net(y, t.reshape(1) + 1), t, y, eta=eta, variance_noise=z).prev_sample
    times = our_times(theirs)
    if spacing == "trailing":
        assert times == pytest.approx(grids.strided(schedule, steps).numpy(), abs=1e-15)
    run = sample(ddim, Network(net, schedule, clock="index"), x, times, draws=Replay(zs), eta=eta)
    divided = (
        2 * torch.finfo(dtype).eps / schedule.alpha(times[0])
    )  # both divide eps's rounding by alpha: 5e-5 at cosine's T
    assert error(run.x, y) < TOLERANCE[dtype] + (divided if times[0] == 1 else 0)


@both_tables
def test_ddim_with_the_peer_s_own_tables_agrees_to_their_precision(table):
    theirs, schedule = a_pair(diffusers.DDIMScheduler, table, exact=False)
    theirs.set_timesteps(50)
    net = denoiser(schedule)
    x = y = start(torch.float32)
    for t in theirs.timesteps:
        y = theirs.step(net(y, t.reshape(1) + 1), t, y).prev_sample
    assert error(sample(ddim, Network(net, schedule, clock="index"), x, our_times(theirs)).x, y) < 1e-3


@both_dtypes
@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_ddim_from_every_prediction(dtype, kind):
    theirs, schedule = a_pair(diffusers.DDIMScheduler, "linear", prediction_type=kind)
    theirs.set_timesteps(20)
    predicts = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}[kind]
    net = denoiser(schedule, predicts)
    x = y = start(dtype)
    for t in theirs.timesteps:
        y = theirs.step(net(y, t.reshape(1) + 1), t, y).prev_sample
    model = Network(net, schedule, predicts=predicts, clock="index")
    assert error(sample(ddim, model, x, our_times(theirs)).x, y) < TOLERANCE[dtype]


@pytest.fixture
def given_noise(monkeypatch):
    """Their DDPM draws its noise inside `step`; hand it ours."""
    queue = []
    module = diffusers.schedulers.scheduling_ddpm
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **kwargs: queue.pop(0))
    return queue


@pytest.mark.slow
@both_dtypes
@both_tables
@pytest.mark.parametrize("theirs_name, ours_name", [("fixed_small", "posterior"), ("fixed_large", "beta")])
@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_ddpm(given_noise, dtype, table, theirs_name, ours_name, steps):
    theirs, schedule = a_pair(diffusers.DDPMScheduler, table, variance_type=theirs_name)
    theirs.set_timesteps(steps)
    net = denoiser(schedule)
    x = y = start(dtype)
    zs = noises(x, steps)
    given_noise += zs
    for t in theirs.timesteps:
        y = theirs.step(net(y, t.reshape(1) + 1), t, y).prev_sample
    model = Network(net, schedule, clock="index")
    run = sample(ddpm, model, x, our_times(theirs), draws=Replay(zs), variance=ours_name)
    assert error(run.x, y) < TOLERANCE[dtype]


@both_dtypes
def test_ddpm_with_a_learned_variance(given_noise, dtype):
    theirs, schedule = a_pair(diffusers.DDPMScheduler, "linear", variance_type="learned_range")
    theirs.set_timesteps(50)
    net = denoiser(schedule)
    wide = lambda x, n: torch.cat([net(x, n), torch.sin(3 * x)], dim=1)
    x = y = start(dtype)
    zs = noises(x, 50)
    given_noise += zs
    for t in theirs.timesteps:
        y = theirs.step(wide(y, t.reshape(1) + 1), t, y).prev_sample
    model = Network(wide, schedule, clock="index", learned_variance=True)
    run = sample(ddpm, model, x, our_times(theirs), draws=Replay(zs), variance="learned")
    assert error(run.x, y) < TOLERANCE[dtype]


@both_dtypes
def test_static_and_dynamic_thresholding(dtype):
    for quantile in (None, 0.9):
        options = (
            {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1e6}
            if quantile
            else {}
        )
        theirs, schedule = a_pair(diffusers.DDIMScheduler, "linear", **options)
        if quantile is None:
            theirs.register_to_config(clip_sample=True)
        theirs.set_timesteps(20)
        net = denoiser(schedule)
        x = y = start(dtype)
        for t in theirs.timesteps:
            y = theirs.step(net(y, t.reshape(1) + 1), t, y, use_clipped_model_output=True).prev_sample
        model = Thresholded(Network(net, schedule, clock="index"), quantile)
        assert error(sample(ddim, model, x, our_times(theirs)).x, y) < TOLERANCE[dtype]


def test_adding_noise_is_diffuse():
    from toolkit.ddpm import diffuse

    theirs, schedule = a_pair(diffusers.DDPMScheduler, "linear")
    x0, noise, steps = start(torch.float64), start(torch.float64, seed=1), torch.tensor([0, 499, 999])
    got = diffuse(schedule, x0, (steps + 1).double() / 1000, noise)
    assert error(got, theirs.add_noise(x0, noise, steps)) < 1e-12
