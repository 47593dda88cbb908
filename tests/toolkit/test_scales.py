"""Previews, latents, peak memory, checkpointing and rounding against what is known of them."""

import pytest
import torch
from torch import nn

from toolkit import EDM, VP, Network, grids, initial_noise, sample
from toolkit.networks import MLP
from toolkit.ode import euler
from toolkit.scales import (
    Autoencoder,
    Checkpointed,
    LearnedLatents,
    PeakMemory,
    PrincipalLatents,
    bytes_of_weights,
    enlarge,
    noise_error_at_scale,
    restart,
    rounded,
    shrink,
    spectrum,
)

DOUBLE = {"dtype": torch.float64}


def normals(*shape, seed=0, **options):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **(DOUBLE | options))


# --- small and large ------------------------------------------------------------------------------------


def test_means_of_blocks_make_noise_smaller_by_the_factor(seed):
    noise = 3 * normals(200, 1, 28, 28, seed=seed)
    for factor in (2, 4):
        small = shrink(noise, factor)
        assert float(small.std()) == pytest.approx(3 / factor, rel=0.05)
        assert float(small[0, 0, 0, 0]) == pytest.approx(float(noise[0, 0, :factor, :factor].mean()))
        beside = (small[..., 1:] * small[..., :-1]).mean() / small.var()
        assert abs(float(beside)) < 0.05  # still white


def test_enlarging_keeps_means_and_planes(seed):
    flat = normals(3, 1, 1, 1, seed=seed).expand(3, 1, 7, 7)
    torch.testing.assert_close(enlarge(flat, 4), flat[..., :1, :1].expand(3, 1, 28, 28))
    plane = torch.arange(7, **DOUBLE).expand(1, 1, 7, 7)
    inner = enlarge(plane, 2)[..., 2:-2]
    torch.testing.assert_close(inner.diff(dim=3), torch.full_like(inner[..., 1:], 0.5))


@pytest.mark.parametrize("schedule, t", [(EDM(), 1.5), (VP(), 0.4)])
def test_restart_is_the_forward_process_of_the_enlarged_preview(schedule, t, seed):
    preview, noise = normals(2, 1, 7, 7, seed=seed), normals(2, 1, 28, 28, seed=seed + 1)
    x = restart(schedule, preview, 4, t, noise)
    torch.testing.assert_close((x - schedule.sigma(t) * noise) / schedule.alpha(t), enlarge(preview, 4))
    with pytest.raises(ValueError, match="noise must have shape"):
        restart(schedule, preview, 4, t, noise[..., :14])


def test_spectrum_of_noise_is_flat_and_of_a_wave_one_line(seed):
    assert torch.allclose(
        spectrum(2 * normals(400, 1, 16, 16, seed=seed)), torch.tensor(4.0, **DOUBLE), rtol=0.2
    )
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(16, **DOUBLE) / 16).expand(1, 1, 16, 16)
    found = spectrum(wave)
    assert int(found.argmax()) == 3
    assert float(found.sum() - found[3]) < 1e-20


def test_pictures_of_the_wrong_kind_are_told():
    with pytest.raises(ValueError, match="must divide by 3"):
        shrink(normals(2, 1, 28, 28), 3)
    with pytest.raises(ValueError, match="floating-point of shape"):
        enlarge(torch.zeros(7, 7), 2)


# --- latents --------------------------------------------------------------------------------------------


def test_latents_are_white_and_lose_what_is_left_out(seed):
    images = (normals(300, 16, seed=seed) @ normals(16, 16, seed=seed + 1)).view(300, 1, 4, 4) + 2
    for k in (1, 5, 16):
        latents = PrincipalLatents(images, k)
        z = latents.encode(images)
        torch.testing.assert_close(z.T @ z / len(z), torch.eye(k, **DOUBLE))
        torch.testing.assert_close(z.mean(0), torch.zeros(k, **DOUBLE))
        lost = (latents.decode(z) - images).square().flatten(1).sum(1).mean()
        torch.testing.assert_close(lost, latents.lost.sum())
        singular = torch.linalg.svdvals((images - images.mean(0)).flatten(1)) ** 2 / 300
        torch.testing.assert_close(latents.kept, singular[:k])
    with pytest.raises(ValueError, match="k must be at most 16"):
        PrincipalLatents(images, 17)


def test_codes_are_white_and_lose_less_of_a_curve_than_a_line_does(seed):
    """One number is enough for an arc, for a straight axis it is not; scaling the codes changes no image."""
    angle = 4.5 * torch.rand(400, 1, generator=torch.Generator().manual_seed(seed))
    plane = torch.linalg.qr(normals(16, 2, seed=seed, dtype=torch.float32))[0]
    images = (torch.cat([angle.cos(), angle.sin()], 1) @ plane.T).view(-1, 1, 4, 4)
    learned = LearnedLatents(images, 1, steps=200, seed=seed)
    z = learned.encode(images)
    assert float(z.mean()) == pytest.approx(0, abs=1e-4) and float(z.square().mean()) == pytest.approx(
        1, rel=1e-4
    )
    again = learned.decode(z)
    torch.testing.assert_close(again, learned.net.decoder(learned.net.codes(images)), atol=1e-4, rtol=1e-3)
    straight = PrincipalLatents(images, 1).lost.sum()
    assert float((again - images).square().flatten(1).sum(1).mean()) < 0.5 * float(straight)


def test_the_codes_divergence_is_that_of_normal_laws(seed):
    torch.manual_seed(seed)
    net, x = Autoencoder((1, 4, 4), 3, kl=0.3), normals(20, 1, 4, 4, seed=seed, dtype=torch.float32)
    mean, log = net.encoder(x).split(3, 1)
    z = mean + log.exp() * torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
    laws = torch.distributions.Normal(mean, log.exp()), torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(*laws).sum() / x.numel()
    wanted = (net.decoder(z) - x).square().mean() + 0.3 * divergence
    torch.testing.assert_close(net.loss(x, torch.Generator().manual_seed(seed)), wanted)
    torch.testing.assert_close(net.codes(x), mean)
    with pytest.raises(ValueError, match="kl must be at least 0"):
        Autoencoder((1, 4, 4), 3, kl=-1)


def test_noise_error_at_scale_is_least_squares(seed):
    for scale in (0.01, 0.5, 3.0):
        z, eps = scale * normals(200_000, seed=seed), normals(200_000, seed=seed + 1)
        x = 0.6 * z + 0.8 * eps
        guess = x * (x @ eps) / (x @ x)
        wanted = noise_error_at_scale(scale, 0.6, 0.8)
        assert float((guess - eps).square().mean()) == pytest.approx(wanted, rel=0.02)


# --- memory ---------------------------------------------------------------------------------------------


def test_peak_counts_what_lives_at_once():
    with PeakMemory() as memory:
        a = torch.zeros(1000, dtype=torch.float64)
        b = a + 1
        c = a.view(10, 100)  # no memory of its own
        del b
        d = c * 2
        a.add_(1)
        del c
    assert memory.peak == 16_000
    assert memory.live == 16_000
    del d
    assert memory.live == 8000


def test_chunks_need_less_memory_and_give_the_same_to_rounding():
    torch.manual_seed(0)
    net = MLP((6,), width=32, blocks=2).double()
    torch.nn.init.normal_(net.outlet.weight, std=0.2)
    model, x = Network(net, EDM(), "edm"), initial_noise(64, 6, **DOUBLE) * 80
    found, peaks = [], []
    for size in (64, 8):
        with PeakMemory() as memory:
            found.append(sample(euler, model, x, grids.karras(EDM(), 5), batch_size=size).x)
        peaks.append(memory.peak)
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    assert peaks[1] < peaks[0] / 2


def test_checkpointed_has_the_same_gradients_for_less_memory():
    torch.manual_seed(0)
    net = MLP((6,), width=64, blocks=4).double()
    torch.nn.init.normal_(net.outlet.weight, std=0.2)
    x, peaks, gradients = initial_noise(32, 6, **DOUBLE) * 80, [], []
    for one in (net, Checkpointed(net)):
        noise = x.clone().requires_grad_()
        with PeakMemory() as memory:
            model = Network(one, EDM(), "edm")
            end = sample(euler, model, noise, grids.karras(EDM(), 12), gradients=True).x
            gradients.append(torch.autograd.grad(end.square().sum(), noise)[0])
        peaks.append(memory.peak)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    assert peaks[1] < peaks[0] / 3


# --- few bits -------------------------------------------------------------------------------------------


def test_rounded_weights_stand_on_their_grid(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(20, 3))
    for bits in (2, 8):
        coarse, top = rounded(net, bits), 2 ** (bits - 1) - 1
        for before, after in zip(net[::2], coarse[::2]):
            rows, old = after.weight.detach().flatten(1), before.weight.detach().flatten(1)
            step = old.abs().amax(1, keepdim=True) / top
            assert float(((rows - old) / step).abs().max()) <= 0.5 + 1e-4
            assert torch.allclose(rows / step, (rows / step).round(), atol=1e-4)
            assert torch.equal(after.bias, before.bias)
    with pytest.raises(ValueError, match="bits must be from 2"):
        rounded(net, 1)


def test_bytes_of_weights():
    assert bytes_of_weights(nn.Linear(7, 3)) == 96
    assert bytes_of_weights(nn.Linear(7, 3), bits=4) == 12
