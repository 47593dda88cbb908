"""Fast solvers against their namesakes in diffusers, k-diffusion and smalldiffusion: equal where those are
right; where they are not, ours has its order, and the test says where the mistake sits (diffusers 0.42.1,
k-diffusion 0.1.1.post1).

The peers are given our grid's sigma / alpha in float64 and the model at exactly the noise levels they work
with, so that algorithms are compared and nothing else; what their own tables and step numbers cost is
measured apart, below.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import errors as on_our_grid
from benchmarks.errors import by_diffusers, in_float64
from benchmarks.peers import part
from toolkit import VE, VP, Discrete, Mixture, Network, VPCosine, grids, initial_noise, sample
from toolkit.convergence import exact_start, reference, slope
from toolkit.ddim import ddim
from toolkit.dpm_solver import (
    dpm_solver_2,
    dpm_solver_fast,
    dpmpp_2m,
    dpmpp_2s,
    dpmpp_3m,
    dpmpp_3m_divided,
    sde_dpmpp_1,
    sde_dpmpp_2m,
    sde_dpmpp_3m,
)
from toolkit.multistep import deis, exponential_ab, ipndm, pndm, unipc
from toolkit.noise import Replay
from toolkit.ode import heun

diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(diffusers|k_diffusion).*")
MODES = Mixture.ring(8, radius=1.0, std=0.3)
TOLERANCE = 1e-9  # float64 against float64; what is asked of them is 1e-6


def library(package, module):
    """A part of a peer, or the test is skipped."""
    try:
        return part(package, module, absent=("torchvision.transforms.functional", "accelerate"))
    except ImportError as missing:
        pytest.skip(str(missing))


def ends(schedule):
    """The times at which sigma / alpha is 5 and 0.2."""
    return schedule.t_of_lam(-math.log(5)), schedule.t_of_lam(math.log(5))


def uneven(schedule, count=12):
    """Times between them with steps of many sizes."""
    shares = np.cumsum([0, *(1 + 0.6 * np.sin(2.3 * np.arange(count)))])
    return schedule.t_of_lam(-math.log(5) + 2 * math.log(5) * shares / shares[-1]).tolist()


def even(schedule, count):
    return grids.uniform_lambda(schedule, count, *ends(schedule)).tolist()


def start(schedule, t, seed=0, n=8):
    """States of the ring of Gaussians at time t, float64."""
    noise = initial_noise(n, 2, seed, torch.float64)
    return schedule.alpha(t) * MODES.sample(n, seed) + schedule.sigma(t) * noise


def distance(one, two):
    return float((one - two).abs().max() / two.abs().max())


def noises(x, steps, seed):
    return list(initial_noise(steps, x.shape, seed + 7, x.dtype))


# --- diffusers ------------------------------------------------------------------------------------------


@pytest.fixture
def double():
    """Their DPM-Solver casts every state to float32 (D7; `step`, "Upcast to avoid precision issues"): here
    that means float64.
    """
    with in_float64():
        yield


DPM, UNIPC = diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler
DEIS, SINGLE = diffusers.DEISMultistepScheduler, diffusers.DPMSolverSinglestepScheduler
SDE = {"algorithm_type": "sde-dpmsolver++"}

# their scheduler and its options, our sampler and its options
DIFFUSERS = {
    "DPM-1, eps": (DPM, {"solver_order": 1, "algorithm_type": "dpmsolver"}, ddim, {}),
    "DPM++ 1": (DPM, {"solver_order": 1}, ddim, {}),
    "2M midpoint": (DPM, {}, dpmpp_2m, {}),
    "2M heun": (DPM, {"solver_type": "heun"}, dpmpp_2m, {"form": "exact"}),
    "2M, eps, heun": (
        DPM,
        {"algorithm_type": "dpmsolver", "solver_type": "heun"},
        exponential_ab,
        {"order": 2, "prediction": "eps"},
    ),
    "SDE 1": (DPM, {**SDE, "solver_order": 1}, sde_dpmpp_1, {}),
    "SDE 2M midpoint": (DPM, SDE, sde_dpmpp_2m, {}),
    "SDE 2M heun": (DPM, {**SDE, "solver_type": "heun"}, sde_dpmpp_2m, {"form": "exact"}),
    **{
        f"UniPC-{k} {form}": (
            UNIPC,
            {"solver_order": k, "solver_type": form},
            unipc,
            {"order": k, "form": form},
        )
        for k in (1, 2, 3)
        for form in ("bh1", "bh2")
    },
    **{
        f"UniP-{k}": (
            UNIPC,
            {"solver_order": k, "disable_corrector": list(range(99))},
            unipc,
            {"order": k, "corrector": False},
        )
        for k in (1, 2, 3)
    },
    **{
        f"DEIS-{k}": (DEIS, {"solver_order": k}, exponential_ab, {"order": k, "prediction": "eps"})
        for k in (1, 2, 3)
    },  # their polynomial is in log rho, which is our "lam"
    "3M, as it is": (DPM, {"solver_order": 3}, dpmpp_3m_divided, {}),
}


@pytest.mark.parametrize("schedule", [VP(), VPCosine()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", DIFFUSERS)
def test_equal_to_diffusers(double, name, schedule, seed):
    kind, options, solver, ours = DIFFUSERS[name]
    times = uneven(schedule)
    model, x = MODES.model(schedule), start(schedule, times[0], seed)
    zs = noises(x, len(times) - 1, seed) if solver.random else []
    theirs = by_diffusers(kind, options, model, x, times, zs)
    run = sample(solver, model, x, times, draws=Replay(zs), keep_path=True, **ours)
    assert distance(run.path, theirs) < TOLERANCE


@pytest.mark.parametrize(
    "algorithm, solver", [("dpmsolver++", dpmpp_2s), ("dpmsolver", dpm_solver_2)], ids=["++", "eps"]
)
def test_equal_to_diffusers_singlestep(double, algorithm, solver, seed):
    """Its grid holds the middles too, and two of its steps are one of ours."""
    schedule = VP()
    times = even(schedule, 12)
    model, x = MODES.model(schedule), start(schedule, times[0], seed)
    theirs = by_diffusers(SINGLE, {"solver_order": 2, "algorithm_type": algorithm}, model, x, times)
    path = sample(solver, model, x, times[::2], keep_path=True).path
    assert distance(path, theirs[::2]) < TOLERANCE


@pytest.mark.parametrize("name", ["2M midpoint", "2M heun", "UniPC-1 bh2", "UniPC-2 bh2"])
def test_equal_to_diffusers_down_to_no_noise(double, name, seed):
    """Where the last sigma is 0, theirs too jumps to the predicted data."""
    kind, options, solver, ours = DIFFUSERS[name]
    times = [*uneven(VP()), 0.0]
    model, x = MODES.model(VP()), start(VP(), times[0], seed)
    low = {"lower_order_final": True} if kind is UNIPC else {}
    theirs = by_diffusers(kind, {**options, "final_sigmas_type": "zero", **low}, model, x, times)
    assert distance(sample(solver, model, x, times, keep_path=True, **ours).path, theirs) < TOLERANCE


def test_equal_to_diffusers_pndm(seed):
    """With "leading" spacing, all but the last step, which theirs takes with four eps to sigma = 0."""
    theirs = diffusers.PNDMScheduler(set_alpha_to_one=True)
    ours = Discrete(theirs.betas.double().numpy())
    theirs.alphas_cumprod = torch.from_numpy(ours.alpha_bar[1:])
    theirs.set_timesteps(10)
    model = MODES.model(ours)
    times = [*(np.arange(9, -1, -1) * 100 + 1) / 1000, 0.0]
    x = y = start(ours, times[0], seed)
    for t in theirs.timesteps[:-1]:
        y = theirs.step(model.eps(y, (float(t) + 1) / 1000), t, y).prev_sample
    run = sample(pndm, model, x, times, keep_path=True)
    assert run.nfe == len(theirs.timesteps) and distance(run.path[-2], y) < TOLERANCE


# --- k-diffusion, whose alpha is 1 ----------------------------------------------------------------------

K_DIFFUSION = {
    "euler": ({}, ddim, {}),
    "heun": ({}, heun, {"variable": "sigma"}),
    "dpm_2": ({}, dpm_solver_2, {}),
    "lms": ({}, deis, {"order": 4, "variant": "rhoab"}),
    "lms ": ({"order": 3}, ipndm, {"order": 3, "variable_step": True}),
    "dpmpp_2s_ancestral": ({"eta": 0.0}, dpmpp_2s, {}),
    "dpmpp_2m": ({}, dpmpp_2m, {}),
    "dpmpp_2m_sde": ({}, sde_dpmpp_2m, {}),
    "dpmpp_2m_sde ": ({"solver_type": "heun"}, sde_dpmpp_2m, {"form": "exact"}),
    "dpmpp_2m_sde  ": ({"eta": 0.25}, sde_dpmpp_2m, {"tau": 0.5}),  # its eta is tau^2
}


def by_k_diffusion(name, *arguments):
    """See benchmarks.errors; the test is skipped without k-diffusion."""
    library("k_diffusion", "sampling")
    return on_our_grid.by_k_diffusion(name.strip(), *arguments)


# `sample_lms` uses four predictions in a last step to sigma = 0 too; ours is a jump to the predicted data
ENDS = [(name, clean) for name in K_DIFFUSION for clean in ([False] if "lms" in name else [False, True])]


@pytest.mark.parametrize("name, clean", ENDS)
def test_equal_to_k_diffusion(name, clean, seed):
    options, solver, ours = K_DIFFUSION[name]
    schedule = VE()
    times = [*uneven(schedule), *([0.0] * clean)]
    model, x = MODES.model(schedule), start(schedule, times[0], seed)
    zs = noises(x, len(times) - 1, seed) if solver.random else []
    theirs = by_k_diffusion(name, options, model, x, times, zs)
    run = sample(solver, model, x, times, draws=Replay(zs), **ours)
    assert distance(run.x, theirs) < TOLERANCE


@pytest.mark.parametrize("nfe", [3, 7, 11, 12, 20])
def test_equal_to_k_diffusion_fast(nfe, seed):
    sampling = library("k_diffusion", "sampling")
    schedule = VE()
    times = even(schedule, nfe // 3 + 1)
    model, x = MODES.model(schedule), start(schedule, times[0], seed)
    denoiser = lambda y, sigma: model.x0(y, float(schedule.t_of_lam(-math.log(float(sigma[0])))))
    low, high = (torch.tensor(s, dtype=torch.float64) for s in (0.2, 5.0))
    theirs = sampling.sample_dpm_fast(denoiser, x, low, high, nfe, disable=True)
    assert distance(sample(dpm_solver_fast, model, x, times, nfe=nfe).x, theirs) < 1e-6  # its t is float32


def test_equal_to_smalldiffusion(seed):
    """gam = 3/2 is Adams-Bashforth's second order of equal steps, whatever the steps are; gam = 1 DDIM."""
    diffusion = library("smalldiffusion", "diffusion")
    schedule = VE()
    times = uneven(schedule)
    model, x = MODES.model(schedule), start(schedule, times[0], seed)
    for gam, (solver, ours) in ((1.0, (ddim, {})), (1.5, (ipndm, {"order": 2}))):
        theirs = by_smalldiffusion(diffusion, model, x, times, gam)
        assert distance(sample(solver, model, x, times, **ours).x, theirs) < TOLERANCE


def by_smalldiffusion(diffusion, model, x, times, gam):
    schedule = model.schedule
    face = SimpleNamespace(
        eval=lambda: None,
        predict_eps_cfg=lambda y, sigma, cond, scale: model.eps(y, float(schedule.t_of_lam(-sigma.log()))),
        rand_input=lambda n: torch.zeros(n, 2),
    )
    sigmas = torch.from_numpy(schedule.sigma(np.array(times)))
    cpu = SimpleNamespace(device="cpu")
    *_, last = diffusion.samples(face, sigmas, gam=gam, xt=x, accelerator=cpu)
    return last


# --- no worse than any of them --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [k for k, v in DIFFUSERS.items() if not v[2].random])
def test_no_larger_error_than_diffusers(double, name, seed):
    kind, options, solver, ours = DIFFUSERS[name]
    model = MODES.model(VP())
    x = start(VP(), ends(VP())[0], seed)
    want = reference(model, x, *ends(VP()))
    rms = lambda y: float((y - want).square().mean().sqrt())
    for nfe in (5, 10, 20, 50):
        times = even(VP(), nfe)
        run = sample(solver, model, x, times, **ours)
        assert run.nfe == nfe
        assert rms(run.x) <= 1.01 * rms(by_diffusers(kind, options, model, x, times)[-1])


@pytest.mark.parametrize("name", [k for k, v in K_DIFFUSION.items() if not v[1].random])
def test_no_larger_error_than_k_diffusion(name, seed):
    options, solver, ours = K_DIFFUSION[name]
    model = MODES.model(VE())
    x = start(VE(), ends(VE())[0], seed)
    want = reference(model, x, *ends(VE()))
    rms = lambda y: float((y - want).square().mean().sqrt())
    for steps in (5, 10, 20, 50):
        times = even(VE(), steps)
        theirs = by_k_diffusion(name, options, model, x, times)
        assert rms(sample(solver, model, x, times, **ours).x) <= 1.01 * rms(theirs)


# --- where they are wrong -------------------------------------------------------------------------------


found = pytest.mark.xfail(
    diffusers.__version__ != "0.42.1", reason="found in diffusers 0.42.1; another may have mended it"
)


def errors_of(run, schedule, steps, seed=0):
    """Root mean square errors of run(model, x, times) -> state, on uniform grids in lambda."""
    model = MODES.model(schedule)
    first, last = ends(schedule)
    x = start(schedule, first, seed, 32)
    want = reference(model, x, first, last)
    return [float((run(model, x, even(schedule, n)) - want).square().mean().sqrt()) for n in steps]


STEPS = [64, 128, 256]


def third_order_from_exact_states(model, x, times):
    history, state = exact_start(model, x, times, 2)
    return sample(dpmpp_3m, model, state, times[2:], history=history).x


@found
def test_third_order_multistep_of_diffusers_is_of_order_two(double, seed):
    """D1.  `multistep_dpm_solver_third_order_update`: D2 = (D1_0 - D1_1) / (r0 + r1) is a divided difference,
    and the term with phi_3 needs the second derivative, twice that.
    """
    theirs = errors_of(
        lambda model, x, times: by_diffusers(DPM, {"solver_order": 3}, model, x, times)[-1], VP(), STEPS, seed
    )
    ours = errors_of(third_order_from_exact_states, VP(), STEPS, seed)
    assert slope(STEPS, theirs) == pytest.approx(2, abs=0.1)
    assert slope(STEPS, ours) == pytest.approx(3, abs=0.1)
    assert all(one < wrong for one, wrong in zip(ours, theirs))


def test_third_order_sde_of_k_diffusion_without_noise_is_of_order_two(seed):
    """D1.  `sample_dpmpp_3m_sde`: d2 = (d1_0 - d1_1) / (r0 + r1), the same divided difference."""
    theirs = lambda m, x, times: by_k_diffusion("dpmpp_3m_sde", {"eta": 0.0}, m, x, times, noises(x, 1, 0))
    assert slope(STEPS, errors_of(theirs, VE(), STEPS, seed)) == pytest.approx(2, abs=0.1)
    ours = errors_of(third_order_from_exact_states, VE(), STEPS, seed)
    assert slope(STEPS, ours) == pytest.approx(3, abs=0.1)


def parabola(schedule):
    """A model whose x0 is a parabola in lambda, the same for every x."""
    return Network(lambda x, c: torch.full_like(x, float(c[0]) ** 2), schedule, predicts="x0", clock="lam")


@found
def test_mean_of_the_third_order_sde_solvers(double):
    """D2.  diffusers' `multistep_dpm_solver_third_order_update`, "sde-dpmsolver++": D2's coefficient ends in
    -0.5 where +0.5 belongs, and the local error of the mean is of order 2; k-diffusion's, which has D1
    only, is of order 3.  Ours is exact on a parabola: without noise, one step of 3M after exact history.
    """
    off = {"diffusers": [], "k-diffusion": [], "ours": []}
    sizes = [0.2, 0.1, 0.05]
    for h in sizes:
        for name, schedule in (("diffusers", VP()), ("k-diffusion", VE()), ("ours", VP())):
            times = schedule.t_of_lam(np.arange(4) * h).tolist()
            model, x = parabola(schedule), torch.ones(1, 2, dtype=torch.float64)
            zs = [torch.zeros_like(x)] * 3
            rates = np.exp(-2 * h * (1 - np.polynomial.legendre.leggauss(20)[0] / 2 - 0.5))
            lam = 2 * h + h * (np.polynomial.legendre.leggauss(20)[0] / 2 + 0.5)
            mean = 2 * h * (np.polynomial.legendre.leggauss(20)[1] / 2 * rates * lam**2).sum()
            if name == "ours":
                path = sample(sde_dpmpp_3m, model, x, times, draws=Replay(zs), keep_path=True).path
                before, after = path[-2], path[-1]
            elif name == "diffusers":
                path = by_diffusers(DPM, {**SDE, "solver_order": 3}, model, x, times, zs)
                before, after = path[-2], path[-1]
            else:
                before, after = (
                    by_k_diffusion("dpmpp_3m_sde", {}, model, x, times[:n], zs) for n in (3, 4)
                )
            gain = schedule.sigma(times[-1]) / schedule.sigma(times[-2]) * math.exp(-h)
            want = gain * before + schedule.alpha(times[-1]) * mean
            off[name].append(float((after - want).abs().max()))
    assert max(off["ours"]) < 1e-12
    assert slope([1 / h for h in sizes], off["diffusers"]) == pytest.approx(2, abs=0.3)
    assert slope([1 / h for h in sizes], off["k-diffusion"]) == pytest.approx(3, abs=0.3)


@found
def test_a_legal_scheduler_that_gives_nan_ends_finite_with_us():
    """D3.  UniPC of diffusers with solver_type="bh1" and the default end at sigma = 0: B(h) = h is infinite
    and multiplies what is 0 (`multistep_uni_p_bh_update`).
    """
    times = [*uneven(VP()), 0.0]
    model, x = MODES.model(VP()), start(VP(), times[0])
    options = {"solver_type": "bh1", "final_sigmas_type": "zero", "lower_order_final": True}
    theirs = by_diffusers(UNIPC, options, model, x, times)[-1]
    assert not theirs.isfinite().all()
    ours = sample(unipc, model, x, times, order=2, form="bh1").x
    assert distance(ours, sample(unipc, model, x, times, order=2).x) < 0.05


@found
@pytest.mark.parametrize("kind", [DPM, UNIPC, DEIS], ids=["DPM", "UniPC", "DEIS"])
def test_leading_time_steps_start_far_from_noise(kind):
    """D4.  `set_timesteps`, "leading": last_timestep // (n + 1), so that more steps start at less noise."""
    first = {}
    for n in (20, 100, 200):
        theirs = kind(timestep_spacing="leading")
        theirs.set_timesteps(n)
        first[n] = int(theirs.timesteps[0])
    assert first == {20: 940, 100: 900, 200: 800}
    assert all(grids.strided(Discrete.linear(), n)[0] == 1.0 for n in first)


@found
def test_a_model_asked_at_whole_numbers_of_steps_stops_converging():
    """D5.  `set_timesteps` with exponential sigmas: the solver works at any sigma, the model is asked at a
    time step cast to an integer.  Asked at the sigma instead, 2M has its order.
    """
    errors = {"as it is": [], "at its sigma": []}
    steps = [50, 100, 200]
    for n in steps:
        theirs = DPM(use_exponential_sigmas=True, final_sigmas_type="sigma_min", lower_order_final=False)
        schedule = Discrete(theirs.betas.double().numpy())
        model = MODES.model(schedule)
        theirs.set_timesteps(n)
        x = start(schedule, 1.0, 0, 32)
        want = reference(model, x, 1.0, 1 / 1000)
        for name in errors:
            theirs.set_timesteps(n)
            y = x
            for i, t in enumerate(theirs.timesteps):
                if name == "as it is":
                    asked = (int(t) + 1) / 1000
                else:
                    asked = float(schedule.t_of_lam(-math.log(float(theirs.sigmas[i]))))
                theirs._step_index = i  # two of its whole time steps may be the same
                y = theirs.step(model.eps(y, asked), t, y).prev_sample
            errors[name].append(float((y - want).square().mean().sqrt()))
    assert slope(steps, errors["as it is"]) < 1.2
    assert slope(steps, errors["at its sigma"]) > 1.6
    assert errors["as it is"][-1] > 5 * errors["at its sigma"][-1]


@found
@pytest.mark.parametrize("steps", [7, 30])
def test_ddim_of_diffusers_steps_to_another_time_than_its_next(steps):
    """D6.  `DDIMScheduler.step`: prev_timestep = t - 1000 // n, which "linspace" spacing does not have."""
    theirs = diffusers.DDIMScheduler(timestep_spacing="linspace", clip_sample=False)
    theirs.set_timesteps(steps)
    t, following = theirs.timesteps[steps // 2 : steps // 2 + 2].tolist()
    schedule = Discrete(theirs.betas.double().numpy())
    x = start(schedule, (t + 1) / 1000)
    model = MODES.model(schedule)
    got = theirs.step(model.eps(x, (t + 1) / 1000), t, x).prev_sample
    to = lambda n: sample(ddim, model, x, [(t + 1) / 1000, (n + 1) / 1000]).x
    assert distance(got, to(t - 1000 // steps)) < 1e-4 < distance(got, to(following))


@found
def test_deis_of_diffusers_in_its_own_float32():
    """D7.  `multistep_deis_third_order_update`, ind_fn: differences of large numbers, in float32 tables."""
    times = even(VP(), 400)
    model, x = MODES.model(VP()), start(VP(), times[0])
    ours = sample(exponential_ab, model, x, times, order=3, prediction="eps").x
    assert distance(by_diffusers(DEIS, {"solver_order": 3}, model, x, times)[-1], ours) < 1e-6

    class Float32DEIS(DEIS):
        """With its sigmas in the precision that it keeps them in."""

        def step(self, eps, t, x):
            self.sigmas = self.sigmas.float()
            return super().step(eps, t, x)

    assert distance(by_diffusers(Float32DEIS, {"solver_order": 3}, model, x, times)[-1], ours) > 1e-4


@found
def test_a_hidden_last_order_makes_more_steps_worse(double, seed):
    """D8.  `step`: lower_order_final holds for fewer than 15 steps only, so that the order of the last steps
    changes there.  Ours changes nothing by itself.
    """
    def jump(run):
        errors = errors_of(run, VP(), range(11, 19), seed)
        return float(np.abs(np.diff(np.log(errors), 2)).max())

    options = {"solver_order": 3, "lower_order_final": True}
    assert jump(lambda model, x, times: by_diffusers(DPM, options, model, x, times)[-1]) > math.log(1.3)
    assert jump(lambda model, x, times: sample(dpmpp_3m, model, x, times).x) < math.log(1.1)


def test_gam_two_of_smalldiffusion_is_of_order_one(seed):
    """D13.  `samples`: eps_av = gam eps + (1 - gam) eps_prev; order 2 needs gam = 3/2 (equal steps)."""
    diffusion = library("smalldiffusion", "diffusion")
    for gam, order in ((2.0, 1), (1.5, 2)):
        run = lambda model, x, times, gam=gam: by_smalldiffusion(diffusion, model, x, times, gam)
        assert slope(STEPS, errors_of(run, VE(), STEPS, seed)) == pytest.approx(order, abs=0.15)


@found
def test_the_shift_of_flow_matching_is_applied_twice_at_its_end():
    """D15 (diffusers #13243).  `FlowMatchEulerDiscreteScheduler` keeps its smallest sigma after the shift,
    and `set_timesteps` shifts a grid that ends there once more: the last step begins at thrice the noise.
    """
    shift, least = 3.0, 1 / 1000
    shifted = lambda sigma: shift * sigma / (1 + (shift - 1) * sigma)
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(10)
    last = float(theirs.sigmas[-2])
    assert last == pytest.approx(shifted(shifted(least)), rel=1e-4)
    assert last > 2.9 * shifted(least)


@found
@pytest.mark.filterwarnings("ignore")
def test_given_times_of_flow_matching_are_kept_and_its_sigmas_shifted():
    """D16 (diffusers #14461).  The release asks the network at the given times again; with a shift the state
    is at another level.
    """
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(timesteps=[900.0, 500.0, 100.0])
    assert theirs.timesteps.tolist() == [900.0, 500.0, 100.0]
    assert theirs.sigmas.tolist()[:3] == pytest.approx([27 / 28, 0.75, 0.25], abs=1e-6)
