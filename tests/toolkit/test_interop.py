"""Networks and configs of diffusers read, and our samplers in the place of its schedulers."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from benchmarks.errors import in_float64
from tests.seeds import seed_of
from toolkit import VP, Discrete, Flow, Guided, Network, Sampler, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.ddpm import ddpm
from toolkit.dpm_solver import dpmpp_2m
from toolkit.interop import as_diffusers, config_of, model_of, predicts_of, schedule_of, times_of
from toolkit.models import Thresholded
from toolkit.multistep import pndm, unipc
from toolkit.noise import Brownian, Replay
from toolkit.ode import edm_heun, euler, heun
from toolkit.sampling import every_sampler
from toolkit.sde import edm_stochastic, euler_maruyama

diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::Warning:diffusers.*")
SHAPE = (1, 8, 8)
CHANGES = (
    "changes the state before it first asks the network, and a pipeline asks first: take another sampler or "
    "grid"
)
REFUSED = {
    "implicit_euler": "derivatives",
    "trapezoid": "derivatives",
    "rk4_invert": CHANGES,
    "edm_stochastic": CHANGES,
}


def config(**settings):
    """That of a DDIMScheduler, with nothing clipped."""
    return diffusers.DDIMScheduler(**{"clip_sample": False, **settings}).config


KINDS = {
    "linear": config(),
    "scaled_linear": config(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "cosine": config(beta_schedule="squaredcos_cap_v2"),
    "sigmoid": diffusers.DDPMScheduler(beta_schedule="sigmoid", clip_sample=False).config,
    "trained": config(num_train_timesteps=50, trained_betas=np.linspace(0.001, 0.3, 50).tolist()),
    "zero SNR": config(rescale_betas_zero_snr=True, timestep_spacing="trailing"),
    "flow": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).config,
}
CASES = [(kind, p) for kind in KINDS for p in ("eps", "x0", "v", "flow") if (kind, p) != ("flow", "v")]


class Small(torch.nn.Module):
    """A small network of theirs: (x, timestep) -> like x."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.nn.Parameter(
            0.3 * torch.randn(64, 64, dtype=torch.float64, generator=generator), False
        )

    def forward(self, x, timestep, return_dict=True):
        phase = (timestep.float() / 1000).double().expand(len(x))  # theirs turn it into float32 too
        out = torch.tanh(x.flatten(1) @ self.weight + phase[:, None]).view(x.shape)
        return (out,)


def seeded(make, seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def unet():
    """An untrained U-Net of theirs, float64."""
    sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    make = diffusers.UNet2DModel
    return seeded(
        lambda: make(sample_size=8, in_channels=1, out_channels=1, attention_head_dim=4, **sizes, **blocks)
    ).double()


@pytest.fixture(scope="module")
def conditional():
    """The same with cross-attention to prompts (L, 6)."""
    sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    make = diffusers.UNet2DConditionModel
    return seeded(
        lambda: make(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            cross_attention_dim=6,
            attention_head_dim=2,
            **sizes,
            **blocks,
        )
    ).double()


def looped(scheduler, network, x, generator=None, **options):
    """What a pipeline does, in a few lines."""
    options |= {} if generator is None else {"generator": generator}
    for t in scheduler.timesteps:
        out = network(x, timestep=t)
        out = out[0] if isinstance(out, tuple) else out.sample
        x = scheduler.step(out, t, x, **options).prev_sample
    return x


def relative(one, other):
    return float((one - other).abs().max() / other.abs().max())


def states(seed, n=3):
    return initial_noise(n, SHAPE, seed, torch.float64)


# --- a config and a network read ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flow"])
def test_tables_are_theirs(kind):
    settings = dict(KINDS[kind])
    make = getattr(diffusers, settings.pop("_class_name", "DDPMScheduler"), diffusers.DDIMScheduler)
    theirs = make.from_config(KINDS[kind])
    ours = schedule_of(theirs)
    np.testing.assert_allclose(
        ours.alpha_bar[1:], theirs.alphas_cumprod.double().numpy(), rtol=2e-4, atol=1e-7
    )
    assert ours.T == len(theirs.betas)


def test_a_config_is_read_wherever_it_is(tmp_path):
    theirs = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    theirs.save_pretrained(tmp_path / "pipe" / "scheduler")
    folder = tmp_path / "pipe"
    places = [theirs, theirs.config, dict(theirs.config), folder, str(folder / "scheduler")]
    for place in [*places, folder / "scheduler" / "scheduler_config.json"]:
        assert np.array_equal(schedule_of(place).betas, Discrete.cosine().betas)
        assert predicts_of(place) == "v"
    with pytest.raises(ValueError, match="nothing is downloaded"):
        schedule_of("google/ddpm-cat-256")
    with pytest.raises(ValueError, match="got int"):
        schedule_of(3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"beta_schedule": "laplace"}, "beta_schedule .* 'laplace'"),
        ({"prediction_type": "score"}, "prediction_type .* 'score'"),
        ({"timestep_spacing": "odd"}, "timestep_spacing .* 'odd'"),
        ({"use_karras_sigmas": True}, "use_karras_sigmas"),
        ({"beta_schedule": None, "_class_name": "Odd"}, "Odd does not say beta_schedule"),
        ({"thresholding": True, "sample_max_value": 2.0}, "sample_max_value=2"),
    ],
)
def test_a_setting_that_is_not_known_is_named(settings, named, unet):
    with pytest.raises(ValueError, match=named):
        model_of(unet, {**KINDS["linear"], **settings}, clip=None)
        times_of({**KINDS["linear"], **settings}, 10)


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("steps", [3, 10, 50])
def test_times_are_theirs(spacing, steps):
    for more in ({}, {"steps_offset": 1, "set_alpha_to_one": False}):
        theirs = diffusers.DDIMScheduler(timestep_spacing=spacing, **more)
        theirs.set_timesteps(steps)
        times = times_of(theirs, steps)
        n = (np.array(times) * 1000 - 1).round().astype(int).tolist()
        assert n[-1] == (0 if more else -1)
        assert n[:-1] == [t for t in theirs.timesteps.tolist() if t > n[-1]]


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_times_of_a_flow_are_theirs(shift):
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(7)
    np.testing.assert_allclose(times_of(theirs, 7), theirs.sigmas.numpy(), atol=1e-7)
    by_size = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    by_size.set_timesteps(7, mu=0.8)
    np.testing.assert_allclose(times_of(by_size, 7, shift=np.exp(0.8)), by_size.sigmas.numpy(), atol=1e-7)
    with pytest.raises(ValueError, match="use_dynamic_shifting"):
        times_of(by_size, 7)


@pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
def test_ddim_of_theirs_is_our_ddim_on_their_network(unet, predicts):
    theirs = diffusers.DDIMScheduler(clip_sample=False, prediction_type=predicts, timestep_spacing="trailing")
    theirs.alphas_cumprod = torch.from_numpy(schedule_of(theirs).alpha_bar[1:])
    theirs.set_timesteps(8)
    x = states(seed_of("ddim", predicts))
    run = sample(ddim, model_of(unet, theirs), x, times_of(theirs, 8))
    assert relative(run.x, looped(theirs, unet, x)) < 1e-6
    assert run.nfe == 8


def test_clipping_is_what_the_config_says(unet):
    theirs = diffusers.DDIMScheduler()  # clip_sample is on by default
    theirs.alphas_cumprod = torch.from_numpy(schedule_of(theirs).alpha_bar[1:])
    theirs.set_timesteps(8)
    x = states(3)
    run = sample(ddim, model_of(unet, theirs), x, times_of(theirs, 8))
    assert relative(run.x, looped(theirs, unet, x, use_clipped_model_output=True)) < 1e-6
    ours = as_diffusers(ddim, theirs)
    ours.set_timesteps(8)
    assert relative(looped(ours, unet, x), run.x) < 1e-6
    assert isinstance(model_of(unet, theirs), Thresholded)
    assert isinstance(model_of(unet, theirs, clip=False), Network)


def test_a_network_is_asked_in_its_own_dtype_and_in_batches(unet):
    half = copy.deepcopy(unet).float()
    x = states(5)
    run = sample(ddim, model_of(half, KINDS["linear"]), x, times_of(KINDS["linear"], 4), batch_size=2)
    assert run.x.dtype == torch.float64
    assert (
        relative(run.x, sample(ddim, model_of(unet, KINDS["linear"]), x, times_of(KINDS["linear"], 4)).x)
        < 1e-3
    )


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_guidance_with_prompts(conditional, scale):
    prompts, empty = initial_noise(3, (4, 6), 1, torch.float64), initial_noise(1, (4, 6), 2, torch.float64)
    model = model_of(conditional, KINDS["scaled_linear"], encoder_hidden_states=prompts)
    guided = Guided(model, {"encoder_hidden_states": prompts}, scale, null={"encoder_hidden_states": empty})
    x, times = states(7), times_of(KINDS["scaled_linear"], 4)
    run = sample(dpmpp_2m, guided, x, times)
    batched = sample(dpmpp_2m, guided, x, times, batch_size=2)
    scheduler = as_diffusers(dpmpp_2m, KINDS["scaled_linear"])
    scheduler.set_timesteps(4)

    def network(x, timestep):
        null, given = (
            conditional(x, timestep, encoder_hidden_states=one).sample
            for one in (empty.expand(3, 4, 6), prompts)
        )
        return (null + scale * (given - null),)

    want = looped(scheduler, network, x)
    assert relative(run.x, want) < 1e-6
    assert relative(batched.x, want) < 1e-6
    assert scale != 1.0 or relative(sample(dpmpp_2m, model, x, times).x, want) < 1e-6
    with pytest.raises(ValueError, match="not both"):
        model_of(conditional, KINDS["linear"], label=1, encoder_hidden_states=prompts)


def test_classes_are_labels(unet):
    sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    classes = seeded(
        lambda: diffusers.UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, num_class_embeds=4, **sizes, **blocks
        )
    ).double()
    x, label = states(8), torch.tensor([2, 0, 3])
    t = 0.5
    model = model_of(classes, KINDS["linear"], label=label)
    want = classes(x, 499, class_labels=label).sample
    assert relative(model.eps(x, t), want) < 1e-9
    assert (
        relative(Guided(model, label, 2.0, null=1).eps(x, t), 2 * want - model.with_label(1).eps(x, t)) < 1e-9
    )


def test_a_learned_variance_is_seen():
    class Twice(Small):
        config = type("Config", (), {"in_channels": 1, "out_channels": 2})

        def forward(self, x, timestep, return_dict=True):
            out = super().forward(x, timestep)[0]
            return torch.cat([out, out.tanh()], dim=1)

    settings = {**KINDS["linear"], "variance_type": "learned_range"}
    x, network = states(9), Twice(9)
    run = sample(ddpm, model_of(network, settings), x, times_of(settings, 4), variance="learned", draws=2)
    scheduler = as_diffusers(ddpm, settings, variance="learned", draws=2)
    scheduler.set_timesteps(4)
    assert relative(looped(scheduler, lambda x, timestep: (network(x, timestep),), x), run.x) < 1e-6


# --- our samplers as schedulers -------------------------------------------------------------------------


def both(sampler, kind, predicts, network, x, steps=5, draws=3, **options):
    """(through the drop-in, by `sample`); ValueErrors in their place."""
    settings = {name: one for name, one in KINDS[kind].items() if name != "prediction_type"}

    def ours():
        model = model_of(network, settings, predicts=predicts)
        return sample(sampler, model, x, times_of(settings, steps), draws=draws, **options).x

    def theirs():
        scheduler = as_diffusers(sampler, settings, predicts=predicts, draws=draws, **options)
        scheduler.set_timesteps(steps)
        return looped(scheduler, network, x)

    results = []
    for run in (theirs, ours):
        try:
            results.append(run())
        except ValueError as error:
            results.append(str(error))
    return results


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, one in every_sampler().items() if one.nfe])
def test_every_sampler_of_fixed_steps_gives_what_sample_gives(name):
    """And where `sample` refuses (eps at alpha = 0, for one), the drop-in does with the same words."""
    network, options = Small(seed_of(name)), {"corrections": 2} if name == "langevin" else {}
    equal = 0
    for kind, predicts in CASES:
        x = states(seed_of(name, kind, predicts))
        got, want = both(every_sampler()[name], kind, predicts, network, x, **options)
        if isinstance(want, str):
            assert got in (want, f"{name} {CHANGES}")
        elif isinstance(got, str):
            assert REFUSED[name] in got
        else:
            assert relative(got, want) < 1e-6, (kind, predicts)
            equal += 1
    assert (equal == 0) == (name in REFUSED and name != "edm_stochastic")


@pytest.mark.parametrize("name", ["ddpm", "ddim", "heun", "dpmpp_2m", "unipc", "sde_dpmpp_2m"])
def test_on_a_network_of_theirs(unet, name):
    got, want = both(every_sampler()[name], "cosine", "v", unet, states(seed_of(name)))
    assert relative(got, want) < 1e-6


@pytest.mark.parametrize("name", [name for name, one in every_sampler().items() if not one.nfe])
def test_an_adaptive_sampler_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} looks at values"):
        as_diffusers(every_sampler()[name], KINDS["linear"]).set_timesteps(5)


def test_a_sampler_that_moves_first_is_refused():
    scheduler = as_diffusers(
        edm_stochastic, KINDS["linear"], grid=lambda s, n: grids.strided(s, n, start=0.5)
    )
    with pytest.raises(ValueError, match="changes the state before it first asks"):
        scheduler.set_timesteps(5)


def test_a_sampler_of_the_reader_s_own():
    def halves(model, x, times):
        yield times[0], x
        for t, s in zip(times, times[1:]):
            x = x.clone()
            x += 0.1 * model.x0(x, t)  # in place, too
            yield s, x.clamp(-3, 3)

    got, want = both(Sampler(halves), "linear", "eps", Small(1), states(2))
    assert relative(got, want) < 1e-9


@pytest.mark.parametrize("sampler", [dpmpp_2m, unipc], ids=lambda s: s.__name__)
def test_equal_to_their_own_schedulers(sampler, unet):
    """Their DPM-Solver++(2M) and UniPC-2 on the same steps, in float64."""
    make = {"dpmpp_2m": diffusers.DPMSolverMultistepScheduler, "unipc": diffusers.UniPCMultistepScheduler}
    theirs = make[sampler.__name__](lower_order_final=True)
    theirs.alphas_cumprod = torch.from_numpy(schedule_of(theirs).alpha_bar[1:])
    x = states(seed_of(sampler.__name__))
    with in_float64():
        theirs.set_timesteps(16)
        ours = as_diffusers(sampler, theirs, **({"order": 2} if sampler is unipc else {}))
        ours.set_timesteps(timesteps=theirs.timesteps)
        assert ours.timesteps.tolist() == theirs.timesteps.tolist()
        want = looped(theirs, unet, x)
    assert relative(looped(ours, unet, x), want) < (1e-6 if sampler is dpmpp_2m else 1e-5)  # float32 sigmas


def test_equal_to_their_flow_matching(unet):
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    x = states(11)
    theirs.set_timesteps(10)
    want = looped(theirs, unet, x.float().double())
    for sampler in (ddim, euler):
        ours = as_diffusers(sampler, theirs)
        ours.set_timesteps(10)
        assert relative(ours.timesteps.double(), theirs.timesteps.double()) < 1e-6
        assert relative(looped(ours, unet, x.float().double()), want) < 1e-4  # theirs steps in float32
    by_size = as_diffusers(ddim, diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True))
    by_size.set_timesteps(sigmas=np.linspace(1, 0.1, 10), mu=0.8)
    other = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    other.set_timesteps(sigmas=np.linspace(1, 0.1, 10), mu=0.8)
    assert relative(by_size.timesteps, other.timesteps) < 1e-6


def test_calls_are_listed_one_by_one():
    scheduler = as_diffusers(heun, KINDS["linear"], grid=grids.strided)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 749, 499, 499, 249, 249]
    assert scheduler.order == 2 and scheduler.init_noise_sigma == 1.0 and len(scheduler) == 1000
    assert scheduler.num_inference_steps == 4 and scheduler.config.num_train_timesteps == 1000
    sigmas = scheduler.sigmas
    assert len(sigmas) == 8 and sigmas[-1] == 0 and (sigmas.diff() <= 0).all()
    assert not hasattr(scheduler.config, "steps_offsets")


@pytest.mark.parametrize("pipeline", ["DDPMPipeline", "DDIMPipeline"])
@pytest.mark.parametrize("sampler", [ddim, ddpm, heun, unipc], ids=lambda s: s.__name__)
def test_pipelines_run(unet, pipeline, sampler):
    pipe = getattr(diffusers, pipeline)(unet, diffusers.DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = as_diffusers(sampler, pipe.scheduler)
    seed = seed_of(pipeline, sampler.__name__)
    drawn = torch.Generator().manual_seed(seed)
    images = pipe(2, generator=drawn, num_inference_steps=4, output_type="pt").images
    again = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, *SHAPE, generator=again, dtype=torch.float64)
    model = model_of(unet, pipe.scheduler)
    run = sample(sampler, model, noise, times_of(pipe.scheduler, 4), generator=again)
    assert relative(images, (run.x / 2 + 0.5).clamp(0, 1)) < 1e-6


def test_a_generator_for_each_sample():
    network, x = Small(4), states(4)
    scheduler = as_diffusers(ddpm, KINDS["linear"])
    scheduler.set_timesteps(4)
    generators = lambda: [torch.Generator().manual_seed(s) for s in (5, 6, 7)]
    whole = looped(scheduler, network, x, generators())
    for i, generator in enumerate(generators()):
        assert relative(looped(scheduler, network, x[i : i + 1], generator), whole[i : i + 1]) < 1e-9


def test_draws_may_be_played_back():
    network, x = Small(5), states(5)
    zs = list(initial_noise(4, x.shape, 6, torch.float64))
    got, want = both(euler_maruyama, "linear", "x0", network, x, steps=4, draws=Replay(zs))
    assert relative(got, want) < 1e-9
    assert relative(*both(ddpm, "linear", "x0", network, x, draws=Brownian(8))) < 1e-9


@pytest.mark.parametrize("sampler", [ddpm, unipc, heun, pndm], ids=lambda s: s.__name__)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_goes_on_where_the_first_is(sampler, copied):
    network, x = Small(6), states(6)
    scheduler = as_diffusers(sampler, config_of(Discrete.linear()))
    scheduler = copied(scheduler)
    scheduler.set_timesteps(5)
    want = looped(scheduler, network, x)
    other, y = scheduler, x
    for i, t in enumerate(scheduler.timesteps):
        if i in (0, 3, 4):
            other = copied(other)
            y = y.clone()
        y = other.step(network(y, t)[0], t, y).prev_sample
    assert torch.equal(y, want)


def test_a_run_may_be_left_and_another_begun():
    network, x = Small(7), states(7)
    scheduler = as_diffusers(unipc, KINDS["linear"])
    scheduler.set_timesteps(5)
    want = looped(scheduler, network, x)
    assert torch.equal(looped(scheduler, network, x), want)  # without set_timesteps between
    first = scheduler.timesteps[0]
    scheduler.step(network(x, first)[0], first, x)
    with pytest.raises(ValueError, match="not the next"):
        scheduler.step(network(x, scheduler.timesteps[3])[0], scheduler.timesteps[3], x)
    assert torch.equal(looped(scheduler, network, x), want)
    scheduler.set_timesteps(5)
    assert torch.equal(looped(scheduler, network, x), want)


def test_a_changed_state_begins_anew():
    """One call a step and no memory: as if nothing were; with memory, as a run from there."""
    network, x = Small(8), states(8)
    for sampler, change in ((ddim, torch.Tensor.add), (unipc, torch.Tensor.add), (unipc, torch.Tensor.add_)):
        scheduler = as_diffusers(sampler, KINDS["linear"])
        scheduler.set_timesteps(5)
        y = x
        for i, t in enumerate(scheduler.timesteps):
            if i == 2:
                y = change(y, 0.1)
                middle = y.clone()
            y = scheduler.step(network(y, t)[0], t, y).prev_sample
        want = sample(sampler, model_of(network, KINDS["linear"]), middle, times_of(KINDS["linear"], 5)[2:]).x
        assert relative(y, want) < 1e-9
    scheduler = as_diffusers(heun, KINDS["linear"])
    scheduler.set_timesteps(5)
    first, second = scheduler.timesteps[:2]
    y = scheduler.step(network(x, first)[0], first, x).prev_sample
    with pytest.raises(ValueError, match="within a step of heun"):
        scheduler.step(network(y, second)[0], second, y + 1)


def test_noise_of_a_run_begun_anew_is_fresh():
    x = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    scheduler = as_diffusers(euler_maruyama, KINDS["linear"], predicts="x0", grid=grids.strided)
    scheduler.set_timesteps(4)
    one, two = (scheduler.step(x, t, x).prev_sample for t in scheduler.timesteps[:2])
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.15


def test_runs_begin_in_the_middle_for_img2img():
    network, x = Small(10), states(10)
    scheduler = as_diffusers(heun, KINDS["linear"], grid=grids.strided)
    scheduler.set_timesteps(5)
    model = model_of(network, KINDS["linear"])
    want = sample(heun, model, x, grids.strided(model.schedule, 5)[2:]).x
    for tells in (True, False):  # some pipelines tell where they begin, others only begin there
        scheduler.set_timesteps(5)
        if tells:
            scheduler.set_begin_index(2 * scheduler.order)
        y = x
        for i, t in enumerate(scheduler.timesteps):
            if i >= 2 * scheduler.order:
                y = scheduler.step(network(y, t)[0], t, y).prev_sample
        assert relative(y, want) < 1e-9
    scheduler = as_diffusers(pndm, KINDS["linear"], grid=grids.strided)
    scheduler.set_timesteps(5)
    scheduler.set_begin_index(4)
    with pytest.raises(ValueError, match="pndm makes other calls"):
        scheduler.step(x, scheduler.timesteps[4], x)


def test_inference_mode_and_a_finished_run():
    network, x = Small(14), states(14)
    scheduler = as_diffusers(unipc, KINDS["linear"])
    scheduler.set_timesteps(3)
    want = looped(scheduler, network, x)
    with torch.inference_mode():
        got = looped(scheduler, network, x)
        assert got.is_inference() and torch.equal(got, want)
    assert torch.equal(looped(scheduler, network, x), want)
    with pytest.raises(ValueError, match="needs num_inference_steps"):
        scheduler.set_timesteps()


def test_gradients_and_dtypes_follow_the_caller():
    network = Small(11)
    x = states(11).requires_grad_()
    scheduler = as_diffusers(dpmpp_2m, KINDS["linear"])
    scheduler.set_timesteps(3)
    looped(scheduler, network, x).sum().backward()
    assert x.grad.abs().sum() > 0
    half = states(11).half()
    outs = []
    y = half
    for t in scheduler.timesteps:
        y = scheduler.step(network(y.double(), t)[0].half(), t, y).prev_sample
        outs.append(y.dtype)
    assert set(outs) == {torch.float16}


def test_step_tells_the_data_too_and_refuses_what_it_does_not_do():
    network, x = Small(12), states(12)
    scheduler = as_diffusers(ddim, KINDS["linear"], eta=0.5)
    scheduler.set_timesteps(5)
    t = scheduler.timesteps[0]
    out = network(x, t)[0]
    model = model_of(network, KINDS["linear"])
    step = scheduler.step(out, t, x, eta=0.0, use_clipped_model_output=None)
    assert relative(step.pred_original_sample, model.x0(x, (int(t) + 1) / 1000)) < 1e-9
    with pytest.raises(ValueError, match="eta is not known here"):
        scheduler.step(out, t, x, eta=1.0)
    scheduler.set_timesteps(5)
    pair = scheduler.step(out, t, x, return_dict=False)
    assert type(pair) is tuple and torch.equal(pair[0], step.prev_sample)
    with pytest.raises(ValueError, match="set_timesteps|not the next"):
        as_diffusers(ddim, KINDS["linear"]).step(out, t, x)


@pytest.mark.parametrize("kind", ["linear", "flow"])
def test_noise_is_added_as_theirs_adds_it(kind):
    x, noise = states(1), states(2)
    scheduler = as_diffusers(ddim, KINDS[kind])
    scheduler.set_timesteps(5)
    if kind == "flow":
        t, theirs = scheduler.timesteps[:3], diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
        theirs.set_timesteps(5)
        want = theirs.scale_noise(x, theirs.timesteps[:3], noise)
    else:
        t = torch.tensor([10, 500, 999])
        want = diffusers.DDIMScheduler().add_noise(x, noise, t)
    assert relative(scheduler.add_noise(x, noise, t), want) < 1e-5


@pytest.mark.parametrize("schedule", [Discrete.quadratic(), Flow()], ids=lambda s: type(s).__name__)
def test_a_schedule_of_ours_for_theirs(schedule):
    made = config_of(schedule, "flow" if isinstance(schedule, Flow) else "v")
    again = schedule_of(json.loads(json.dumps(made)))
    assert type(again) is type(schedule)
    if isinstance(schedule, Discrete):
        assert np.array_equal(again.betas, schedule.betas)
        theirs = diffusers.DDIMScheduler.from_config(made)
        np.testing.assert_allclose(theirs.alphas_cumprod.numpy(), schedule.alpha_bar[1:], rtol=1e-4)
        assert theirs.config.prediction_type == "v_prediction"
    assert predicts_of(made) == ("flow" if isinstance(schedule, Flow) else "v")
    with pytest.raises(ValueError, match="no schedule like VP"):
        config_of(VP())
    with pytest.raises(ValueError, match="predicts"):
        config_of(schedule, "score")


def test_edm_heun_on_a_latent_grid():
    """A sampler in sigma / alpha on a grid between the steps, whose timesteps are not whole."""
    got, want = both(edm_heun, "scaled_linear", "eps", Small(13), states(13))
    assert relative(got, want) < 1e-6
    scheduler = as_diffusers(edm_heun, KINDS["scaled_linear"], grid=grids.karras)
    with pytest.raises(ValueError, match="lambda"):
        scheduler.set_timesteps(4)  # the schedule ends at sigma = 0
