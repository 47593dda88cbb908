"""Training: its maths piece by piece, that it learns, and that a killed run ends in the very same weights."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from toolkit import EDM, VP, Discrete, Flow, Mixture, Network, grids, initial_noise, sample
from toolkit.data import two_moons
from toolkit.ddim import ddim
from toolkit.metrics import sliced_wasserstein
from toolkit.models import view_coefficients
from toolkit.networks import ToyMLP
from toolkit.training import draw_times, learning_rate, loss, noise_error_factor, target, train

PREDICTS = ["eps", "x0", "v", "score", "flow", "edm"]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def points(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, 2, generator=generator, dtype=torch.float64) for _ in range(2))


def small(seed=0, **options):
    torch.manual_seed(seed)
    return ToyMLP(width=32, blocks=2, **options)


def same_weights(a, b):
    return all(torch.equal(a.state_dict()[key], value) for key, value in b.state_dict().items())


# --- the maths ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicts", PREDICTS)
def test_a_network_that_returns_the_target_knows_the_noise(predicts):
    x0, eps = points(50)
    alpha, sigma = VP().alpha(0.4), VP().sigma(0.4)
    answer = target(predicts, x0, eps, alpha, sigma, sigma_data=0.7)
    model = Network(lambda x, c: answer, VP(), predicts, sigma_data=0.7)
    xt = alpha * x0 + sigma * eps
    torch.testing.assert_close(model.eps(xt, 0.4), eps, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.x0(xt, 0.4), x0, rtol=1e-10, atol=1e-10)
    t = torch.full((50,), 0.4, dtype=torch.float64)
    assert loss(model, x0, eps, t).item() < 1e-20


@pytest.mark.parametrize("schedule", [VP(), EDM(), Flow(), Discrete.linear()], ids=repr)
@pytest.mark.parametrize("predicts", PREDICTS)
def test_a_weight_means_the_same_loss_whatever_the_network_predicts(predicts, schedule):
    # the same wrong answer, said in each of the five ways, has the same weighted error of eps
    x0, eps = points(40)
    t = torch.full((40,), 0.35, dtype=torch.float64)
    alpha, sigma = schedule.alpha(0.35), schedule.sigma(0.35)
    xt = alpha * x0 + sigma * eps
    wrong = eps + 0.1 * xt
    answer = target(predicts, (xt - sigma * wrong) / alpha, wrong, alpha, sigma, sigma_data=0.6)
    model = Network(lambda x, c: answer, schedule, predicts, sigma_data=0.6)
    got = loss(model, x0, eps, t, weighting=lambda schedule, t: 3 * torch.ones_like(t)).item()
    assert got == pytest.approx(3 * ((0.1 * xt) ** 2).mean().item(), rel=1e-5)


def test_edm_target_has_unit_variance_and_edm_weight():
    # Karras et al. 2022, app. B.6: c_out and lambda are such that the target and its weight are of order one
    x0, eps = points(200_000)
    x0 = 0.6 * x0
    for level in (0.01, 0.5, 40.0):
        assert target("edm", x0, eps, 1.0, level, 0.6).var().item() == pytest.approx(1, rel=0.02)
        c_out = view_coefficients("edm", "x0", 1.0, level, 0.6)[1]
        assert noise_error_factor("edm", 1.0, level, 0.6) == pytest.approx((c_out / level) ** 2, rel=1e-12)


def test_simple_loss_of_a_score_is_that_of_its_noise():
    x0, eps = points(40)
    t = torch.linspace(0.1, 0.9, 40, dtype=torch.float64)
    noise = Network(lambda x, c: 0.3 * x, VP(), "eps")
    score = Network(lambda x, c: -0.3 * x / VP().sigma(c.double())[:, None], VP(), "score")
    assert loss(score, x0, eps, t).item() == pytest.approx(loss(noise, x0, eps, t).item(), rel=1e-6)


def test_times_follow_their_distributions():
    generator = torch.Generator().manual_seed(0)
    t = draw_times("uniform", VP(), 1000, generator)
    ordered = t.sort().values
    assert VP().end <= ordered[0] and ordered[-1] <= VP().start
    assert (ordered - torch.linspace(VP().end, 1, 1000, dtype=torch.float64)).abs().max() < 2e-3
    counts = torch.bincount(
        (draw_times("uniform", Discrete.linear(100), 500, generator) * 100).round().long()
    )
    assert counts[0] == 0 and len(counts) == 101 and (counts[1:] == 5).all()
    for schedule in (EDM(), VP()):
        level = -schedule.lam(draw_times(("lognormal", -1.0, 0.8), schedule, 4000, generator))
        assert level.mean().item() == pytest.approx(-1.0, abs=0.01) and level.std().item() == pytest.approx(
            0.8, abs=0.01
        )
    assert (
        draw_times(lambda schedule, u: u**2, VP(), 1000, generator) < 0.25
    ).double().mean() == pytest.approx(0.5, abs=2e-3)


def test_learning_rate_warms_up_and_comes_down():
    rates = [learning_rate(i, 1000, 2e-3, 100) for i in range(1000)]
    assert rates[0] == pytest.approx(2e-5) and max(rates) == rates[100] == pytest.approx(2e-3)
    assert rates[-1] == pytest.approx(0.02 * 2e-3)
    assert all(a >= b for a, b in zip(rates[100:], rates[101:]))


# --- the loop -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicts", PREDICTS)
def test_every_target_learns_a_gaussian(predicts):
    # data N(m, s^2): eps* = sigma (x - alpha m) / (alpha^2 s^2 + sigma^2)
    data = torch.tensor([0.5, -0.3]) + 0.5 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    run = train(small(), data, VP(), predicts=predicts, steps=300, batch=128, ema=0.98, sigma_data=0.5)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    model = Network(run.net, VP(), predicts, sigma_data=0.5)
    for t in (0.2, 0.5):
        alpha, sigma = VP().alpha(t), VP().sigma(t)
        xt = alpha * torch.tensor([0.5, -0.3]) + x * math.hypot(0.5 * alpha, sigma)
        with torch.no_grad():
            assert (model.eps(xt, t) - sigma / math.hypot(0.5 * alpha, sigma) * x).square().mean() < 0.02


def test_trained_network_samples_its_data():
    data = two_moons(20_000)
    torch.manual_seed(0)
    run = train(ToyMLP(width=64), data, VP(), predicts="edm", steps=600, batch=256, ema=0.99, sigma_data=1.0)
    noise = initial_noise(2000, (2,), seed=0)
    model = Network(run.net, VP(), "edm", sigma_data=1.0)
    near = sliced_wasserstein(
        sample(ddim, model, noise, grids.uniform_lambda(VP(), 40)).x, two_moons(2000, seed=9)
    )
    assert near < 0.2 < 0.3 < sliced_wasserstein(noise, two_moons(2000, seed=9))


def test_labels_are_learned_and_dropped():
    data = torch.cat([torch.full((500, 2), -1.0), torch.full((500, 2), 1.0)])
    data += 0.1 * torch.randn(data.shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(1000) // 500
    run = train(
        small(n_classes=2), data, VP(), labels=labels, predicts="x0", steps=500, p_uncond=0.3, ema=0.99
    )
    model, x = Network(run.net, VP(), "x0"), torch.zeros(4, 2)
    with torch.no_grad():
        assert (model.with_label(0).x0(x, 0.9) + 1).abs().max() < 0.2
        assert (model.with_label(1).x0(x, 0.9) - 1).abs().max() < 0.2
        assert model.x0(x, 0.9).abs().max() < 0.3  # no label: the mean of both
    unlabelled = small(n_classes=2)
    before = unlabelled.conditioning.classes.weight.detach().clone()
    train(unlabelled, data, VP(), labels=labels, steps=20, p_uncond=1.0, lr=1e-3)
    moved = (unlabelled.conditioning.classes.weight - before * (1 - 1e-5)).abs().amax(1)
    assert moved[2] > 20 * moved[:2].max()  # only weight decay touches unused labels


def test_same_seed_same_weights_and_global_state_untouched():
    data = two_moons(500)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    first = train(small(), data, VP(), steps=30, seed=4)
    torch.set_rng_state(state)
    net = small()
    after_building = torch.get_rng_state()
    second = train(net, data, VP(), steps=30, seed=4)
    assert torch.equal(torch.get_rng_state(), after_building)
    assert same_weights(first.net, second.net) and torch.equal(first.losses, second.losses)
    assert not same_weights(first.net, train(small(), data, VP(), steps=30, seed=5).net)
    assert not first.net.training and torch.isfinite(first.losses).all() and first.losses.shape == (30,)


def test_mixed_precision_is_only_what_the_device_has():
    data = two_moons(200)
    plain = train(small(), data, VP(), steps=5)
    if not torch.cuda.is_available():
        assert same_weights(plain.net, train(small(), data, VP(), steps=5, amp="auto").net)
    half = train(small(), data, VP(), steps=5, amp="bf16")
    assert half.net.inlet.weight.dtype == torch.float32 and not same_weights(plain.net, half.net)
    torch.testing.assert_close(half.losses, plain.losses, rtol=0.05, atol=0.05)
    with pytest.raises(ValueError, match="needs a GPU"):
        train(small(), data, VP(), steps=5, amp="fp16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("amp", [False, "auto", "fp16"])
def test_training_and_resume_on_a_gpu(tmp_path, amp):
    whole = train(small().cuda(), two_moons(500), VP(), steps=40, amp=amp)
    with pytest.raises(Killed):
        train(
            small().cuda(),
            two_moons(500),
            VP(),
            steps=40,
            amp=amp,
            checkpoint=tmp_path / "run",
            checkpoint_every=10,
            callback=kill_at(25),
        )
    resumed = train(small(1).cuda(), two_moons(500), VP(), steps=40, amp=amp, checkpoint=tmp_path / "run")
    assert resumed.resumed_at == 20 and same_weights(whole.net, resumed.net)


# --- resuming -------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def kill_at(step):
    def callback(now, value):
        if now == step:
            raise Killed

    return callback


class Dropping(nn.Module):
    """A network with dropout and a buffer, whose randomness is torch's global state."""

    n_classes = 2

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(3, 32), nn.BatchNorm1d(32), nn.SiLU(), nn.Dropout(0.3), nn.Linear(32, 2)
        )

    def forward(self, x, c, label=None):
        return self.body(torch.cat([x, c[:, None]], 1))


@pytest.mark.parametrize("build", [lambda seed: small(seed, n_classes=2), lambda seed: Dropping()])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(tmp_path, build):
    options = dict(labels=torch.arange(500) % 2, steps=60, batch=32, checkpoint_every=10)
    start = build(0)
    first = {key: value.clone() for key, value in start.state_dict().items()}
    whole = train(start, two_moons(500), VP(), **options)
    again = build(0)
    again.load_state_dict(first)
    path = tmp_path / "run.ckpt"
    for stop in (27, 48):  # killed twice
        with pytest.raises(Killed):
            train(again, two_moons(500), VP(), checkpoint=path, callback=kill_at(stop), **options)
        again = build(99)  # what a new process would start with
    resumed = train(again, two_moons(500), VP(), checkpoint=path, **options)
    assert resumed.resumed_at == 40
    assert same_weights(whole.net, resumed.net) and same_weights(start, again)
    assert torch.equal(whole.losses, resumed.losses)
    finished = train(build(7), two_moons(500), VP(), checkpoint=path, **options)
    assert finished.resumed_at == 60 and same_weights(whole.net, finished.net)
    assert os.listdir(tmp_path) == ["run.ckpt"]


RUN = """
import sys, torch
from toolkit import VP
from toolkit.data import two_moons
from toolkit.networks import ToyMLP
from toolkit.training import train
torch.set_num_threads(1)
torch.manual_seed(0)
train(ToyMLP(width=32, blocks=2), two_moons(500), VP(), steps=int(sys.argv[2]), batch=32,
      checkpoint=sys.argv[1], checkpoint_every=20)
"""


@pytest.mark.slow
def test_resuming_after_sigkill(tmp_path):
    path, steps = tmp_path / "run.ckpt", 300
    process = subprocess.Popen([sys.executable, "-c", RUN, str(path), str(steps)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    errors = process.communicate()[1].decode()
    assert path.exists(), errors
    resumed = train(small(99), two_moons(500), VP(), steps=steps, batch=32, checkpoint=path)
    whole = train(small(0), two_moons(500), VP(), steps=steps, batch=32)
    assert 0 < resumed.resumed_at and same_weights(whole.net, resumed.net)


def test_a_checkpoint_that_does_not_fit_is_told_in_a_sentence(tmp_path):
    path = tmp_path / "run.ckpt"
    options = dict(steps=20, checkpoint=path)
    train(small(), two_moons(100), VP(), **options)
    for change, part in [
        (dict(seed=1), "another seed"),
        (dict(lr=1e-3, predicts="v"), "another lr, predicts"),
    ]:
        with pytest.raises(ValueError, match=part):
            train(small(), two_moons(100), VP(), **options | change)
    with pytest.raises(ValueError, match="another data"):
        train(small(), two_moons(100, seed=1), VP(), **options)
    with pytest.raises(ValueError, match="another net"):
        train(ToyMLP(width=16), two_moons(100), VP(), **options)
    with pytest.raises(ValueError, match="another schedule"):
        train(small(), two_moons(100), VP(beta_max=10.0), **options)
    assert train(small(), two_moons(100), VP(), resume=False, **options | dict(seed=1)).resumed_at == 0
    whole = path.read_bytes()
    for damaged in (whole[:1000], b"", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged; delete it") as error:
            train(small(), two_moons(100), VP(), **options)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options, part",
    [
        (dict(data=torch.full((4, 2), math.nan)), "8 values that are NaN"),
        (dict(data=torch.zeros(0, 2)), "not empty"),
        (dict(labels=torch.tensor([0, 1])), "labels must be 100 whole numbers"),
        (dict(labels=torch.full((100,), 2)), "from 0 to 1"),
        (dict(predicts="noise"), "predicts must be one of"),
        (dict(t_sampler="normal"), "t_sampler must be"),
        (dict(weighting="vlb"), "weighting must be 'simple'"),
        (dict(amp="fp8"), "amp must be"),
        (dict(lr=1e30), "NaN or infinite at step"),
    ],
)
def test_errors_are_sentences(options, part):
    options = dict(data=two_moons(100), schedule=VP(), steps=100) | options
    with pytest.raises(ValueError) as error:
        train(small(n_classes=2), options.pop("data"), options.pop("schedule"), **options)
    assert part in str(error.value) and "\n" not in str(error.value)


def test_the_exact_model_has_the_smallest_loss():
    # the exact model's expected loss is the smallest there is: any perturbation of it does worse
    mixture = Mixture.ring(8)
    x0, exact = mixture.sample(4000, 0), mixture.model(VP())
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = draw_times("uniform", VP(), 4000, torch.Generator().manual_seed(2))

    def scaled(scale):
        return loss(Network(lambda x, c: scale * exact.eps(x, c), VP(), "eps"), x0, eps, t).item()

    assert scaled(1.0) < min(scaled(0.8), scaled(1.2))
