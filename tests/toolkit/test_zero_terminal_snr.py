"""Where alpha is 0 at the start x is noise alone: a network that predicts x0, v or flow starts there under
every sampler that can, and every other one is told what to do instead.
"""

import math

import numpy as np
import pytest
import torch

from tests.seeds import seed_of
from toolkit import (
    AFS,
    Discrete,
    Flow,
    Guided,
    Mixture,
    Network,
    Thresholded,
    VPCosine,
    grids,
    initial_noise,
    sample,
)
from toolkit.ddim import ddim
from toolkit.models import VIEWS, view_of
from toolkit.sampling import every_sampler
from toolkit.training import draw_times, loss

REGISTRY = every_sampler()
ZERO = Discrete.zero_terminal_snr(Discrete.quadratic(100, 0.00085, 0.012).betas)
SCHEDULES = [ZERO, Discrete([0.1, 0.5, 1.0]), Flow(), VPCosine()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=["rescaled", "three", "Flow", "VPCosine"])
DATA = Mixture.gaussian(2, 0.5, mean=1.0)
STARTS = [n for n, s in REGISTRY.items() if s.kind in ("ode", "sde") and s.nfe]
each_start = pytest.mark.parametrize("name", STARTS)


def network_of(schedule, predicts, calls=None):
    """The exact model of DATA, as a network with this prediction."""
    exact = DATA.model(schedule)

    def network(x, c):
        if calls is not None:
            calls.append(c)
        alpha, sigma = (level(c.double())[:, None] for level in (schedule.alpha, schedule.sigma))
        return view_of(predicts, exact.x0(x, c), exact.eps(x, c), alpha, sigma).to(x.dtype)

    return network


# --- the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Discrete.linear, Discrete.quadratic, Discrete.cosine])
@pytest.mark.parametrize("T", [50, 1000])
def test_the_table_is_diffusers_own(make, T):
    ddim_module = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    betas = make(T).betas
    theirs = ddim_module.rescale_zero_terminal_snr(torch.as_tensor(betas)).numpy()
    ours = Discrete.zero_terminal_snr(betas)
    assert np.allclose(ours.betas, theirs, rtol=1e-11, atol=0)
    assert ours.betas[-1] == 1 and ours.alpha_bar[-1] == 0
    assert ours.alpha_bar[1] == pytest.approx(make(T).alpha_bar[1], rel=1e-12)


@pytest.mark.parametrize("schedule", [*SCHEDULES[:2], Discrete([1.0])], ids=["rescaled", "three", "one"])
def test_it_is_a_schedule_like_any_other(schedule):
    t = np.linspace(0.001, 1, 777)
    alpha, lam, sigma = schedule.alpha(t), schedule.lam(t), schedule.sigma(t)
    assert alpha[-1] == 0 and lam[-1] == -math.inf and sigma[-1] == 1 and (np.diff(lam) < 0).all()
    assert np.allclose(alpha**2 + sigma**2, 1, rtol=0, atol=1e-14)
    assert np.allclose(schedule.t_of_lam(lam), t, rtol=0, atol=1e-12)
    steps = np.arange(1, schedule.T + 1)
    bar = schedule.alpha(steps / schedule.T) ** 2
    assert np.allclose(bar, schedule.alpha_bar[1:], rtol=1e-12, atol=1e-30)
    inner = np.linspace(0.003, 0.997, 61) + 1e-4  # on no knot
    slope = (schedule.log_alpha(inner + 1e-7) - schedule.log_alpha(inner - 1e-7)) / 2e-7
    assert np.allclose(schedule.f(inner), slope, rtol=1e-5)
    for name in ("alpha", "sigma", "lam", "f"):
        tensors, arrays = getattr(schedule, name)(torch.as_tensor(t)), getattr(schedule, name)(t)
        assert np.allclose(tensors.numpy(), arrays, rtol=1e-12), name
    assert np.allclose(schedule.t_of_lam(torch.as_tensor(lam)).numpy(), t, rtol=0, atol=1e-12)


def test_a_last_beta_of_one_only():
    for betas in ([1.0, 0.5], [0.5, 1.0, 1.0], [0.5, 1.1]):
        with pytest.raises(ValueError, match="but for the last, which may be 1"):
            Discrete(betas)


# --- models ---------------------------------------------------------------------------------------------


@by_schedule
def test_what_a_model_tells_there(schedule):
    """x_1 holds no data: eps is x, x0 the data's mean, whatever the network predicts of it."""
    x = initial_noise(4, 2, 3, torch.float64)
    want = {"eps": x, "score": -x, "x0": torch.ones_like(x), "v": -torch.ones_like(x), "flow": x - 1}
    wrapped = [DATA.model(schedule), AFS(DATA.model(schedule), mean=1.0, std=0.5)]
    wrapped += [Guided(DATA.model(schedule), 0, 3.0), Thresholded(DATA.model(schedule), quantile=None)]
    if not isinstance(schedule, Flow):
        wrapped.append(Network(network_of(schedule, "v"), schedule, "v"))
    for model in (*wrapped, *(Network(network_of(schedule, p), schedule, p) for p in ("x0", "flow"))):
        for view in VIEWS:
            for t in (1.0, torch.tensor(1.0), torch.ones(4)):
                model.begin()
                assert torch.allclose(getattr(model, view)(x, t), want[view], atol=1e-12), (model, view)


@by_schedule
def test_a_number_and_a_tensor_are_refused_alike(schedule):
    x, says = torch.ones(2, 2), r"x0 cannot be computed from eps where alpha = 0 and sigma = 1"
    for t in (1.0, torch.tensor(1.0), torch.tensor([0.5, 1.0])):
        with pytest.raises(ValueError, match=says):
            Network(lambda x, c: x, schedule, "eps").x0(x, t)
        with pytest.raises(ValueError, match="cannot be asked at t = 1"):
            Network(lambda x, c: x, schedule, "edm").x0(x, t)
        with pytest.raises(ValueError, match="clock='sigma' cannot be asked at t = 1"):
            Network(lambda x, c: x, schedule, "x0", clock="sigma").x0(x, t)
    for t in (0.0, torch.tensor(0.0), torch.tensor([0.5, 0.0])):
        for predicts, view in (("x0", "eps"), ("x0", "score"), ("score", "score"), ("x0", "flow")):
            model = Network(lambda x, c: x, schedule, predicts)
            if predicts == view:
                assert torch.equal(model.score(x, t), x)
                continue
            with pytest.raises(ValueError, match=f"{view} cannot be .* from x0 where alpha = 1 and sigma"):
                getattr(model, view)(x, t)


@by_schedule
def test_training_holds_the_noisiest_step(schedule):
    x0, eps = DATA.sample(16, 1).float(), initial_noise(16, 2, 2)
    t = draw_times(lambda s, u: torch.ones_like(u), schedule, 16, None)
    for predicts in ("x0", "eps", "flow", "score"):
        model = Network(lambda x, c: 0 * x, schedule, predicts)
        assert math.isfinite(loss(model, x0, eps, t))


# --- samplers -------------------------------------------------------------------------------------------


@pytest.mark.slow
@each_start
@pytest.mark.parametrize("schedule", [ZERO, Flow(), VPCosine()], ids=["rescaled", "Flow", "VPCosine"])
def test_every_sampler_starts_there(name, schedule):
    solver, calls, seed = REGISTRY[name], [], seed_of(name, schedule)
    times = grids.uniform(schedule, 10, start=1.0, end=0.01)
    noise = initial_noise(500, 2, seed, torch.float64)
    x0 = Network(network_of(schedule, "x0", calls), schedule, "x0")
    run = sample(solver, x0, noise, times, draws=seed, keep_path=True)
    assert len(calls) == run.nfe == 1 + solver.nfe(len(times) - 2) and run.times == times.tolist()
    t = float(times[1])
    ddim_step = schedule.alpha(t) + schedule.sigma(t) * noise
    assert torch.allclose(run.path[1], ddim_step, atol=1e-12)
    for predicts in ("flow", *([] if isinstance(schedule, Flow) else ["v"])):
        model = Network(network_of(schedule, predicts), schedule, predicts)
        other = sample(solver, model, noise, times, draws=seed).x
        assert torch.allclose(other, run.x, rtol=0, atol=1e-8), predicts
    data = schedule.alpha(t) * DATA.sample(500, seed) + schedule.sigma(t) * noise
    later = sample(solver, DATA.model(schedule), data, times[1:], draws=seed).x  # from exact samples
    assert run.x.mean(0).sub(1).abs().max() < 0.15 and (run.x.std(0) - later.std(0)).abs().max() < 0.08
    one_step = sample(solver, x0, noise[:3], [1.0, 0.0], draws=seed)
    assert torch.allclose(one_step.x, torch.ones(3, 2).double(), atol=1e-12) and one_step.nfe == 1


@pytest.mark.parametrize("name", REGISTRY)
def test_what_cannot_start_there_says_what_can_be_done(name):
    solver = REGISTRY[name]
    for schedule in (ZERO, Flow(), VPCosine()):
        x = initial_noise(4, 2, 1) if solver.kind != "inversion" else DATA.sample(4, 1).float()
        eps, x0 = (Network(lambda x, c: torch.tanh(x), schedule, p) for p in ("eps", "x0"))
        if solver.kind in ("mcmc", "inversion") or solver.nfe is None:  # langevin asks nothing at its start
            for model in (eps, x0):
                try:
                    sample(solver, model, x, [1.0, 0.5, 0.1])
                except ValueError as problem:
                    assert "start" in str(problem) and len(str(problem).splitlines()) == 1  # noqa: PT017
                else:
                    assert name == "langevin"
            continue
        with pytest.raises(ValueError, match="x0 cannot be computed from eps where alpha = 0") as problem:
            sample(solver, eps, x, [1.0, 0.5, 0.1])
        assert torch.isfinite(sample(solver, x0, x, [1.0, 0.5, 0.1]).x).all()
        assert "start a little later" in str(problem.value) and "predicts x0, v or flow" in str(problem.value)


def test_batches_and_noise_are_as_ever():
    noise, times = initial_noise(5, 2, 5), grids.uniform(ZERO, 4, end=0.0)
    model = Network(network_of(ZERO, "x0"), ZERO, "x0")
    for name in STARTS:
        whole = sample(REGISTRY[name], model, noise, times, draws=3).x
        assert torch.equal(sample(REGISTRY[name], model, noise, times, draws=3, batch_size=3).x, whole), name


def test_diffusers_ddim_with_rescaled_betas():
    """v-prediction, trailing steps, as Lin et al. 2024 sample; their clock counts from 0."""
    diffusers = pytest.importorskip("diffusers")
    T, steps = 100, 10
    betas = Discrete.quadratic(T, 0.00085, 0.012).betas
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=T, trained_betas=betas, rescale_betas_zero_snr=True, clip_sample=False,
        prediction_type="v_prediction", timestep_spacing="trailing", set_alpha_to_one=True,
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    schedule = Discrete.zero_terminal_snr(betas)
    network = network_of(schedule, "v")
    x = noise = initial_noise(4, 2, 9, torch.float64)
    for n in scheduler.timesteps:
        v = network(x, torch.full((4,), (int(n) + 1) / T, dtype=torch.float64))
        x = scheduler.step(v, n, x).prev_sample
    times = [*((int(n) + 1) / T for n in scheduler.timesteps), 0.0]
    got = sample(ddim, Network(network, schedule, "v"), noise, times).x
    assert torch.allclose(got, x, atol=2e-6)  # their table is float32
