"""Chapter 8: larger pictures on a small machine.

Preview and refine: a picture of a small side costs little; enlarged, with noise of a level that hides what
the enlarging has not got, it is a state from which a large network goes on.  Latents: diffusion of a few
numbers for each picture, principal components or what an autoencoder learns.  Memory: its peak, counted from
the tensors that live, and the part that gradients need.  Few bits: weights rounded as an eight-bit network
has them.
"""

import copy
import math
import weakref

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from toolkit.options import real_number, whole_number
from toolkit.training import fit

# --- small and large ------------------------------------------------------------------------------------


def _pictures(images, factor, divides):
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"images must be floating-point of shape (n, channels, height, width), got {tuple(images.shape)}"
        )
    factor = whole_number("factor", factor)
    if divides and (images.shape[2] % factor or images.shape[3] % factor):
        raise ValueError(f"the sides of images must divide by {factor}, got {tuple(images.shape[2:])}")
    return factor


def shrink(images, factor):
    """Images (n, c, h, w) -> (n, c, h / factor, w / factor): the mean of each block of factor^2 pixels.
    White noise of deviation sigma becomes white noise of deviation sigma / factor."""
    return F.avg_pool2d(images, _pictures(images, factor, True))


def enlarge(images, factor):
    """Images (n, c, h, w) -> (n, c, factor h, factor w), by bilinear interpolation."""
    factor = _pictures(images, factor, False)
    return F.interpolate(images, scale_factor=factor, mode="bilinear", align_corners=False)


def restart(schedule, preview, factor, t, noise):
    """The state at time t, alpha_t x + sigma_t eps, of the enlarged preview x (SDEdit: Meng et al. 2022, sec.
    3).

    preview: (n, c, h, w).  factor: how many times larger the sides become.  t: a time; the higher its level
    the more of the preview is drawn anew.  noise: standard normal (n, c, factor h, factor w).
    ValueError where the noise is of another shape.
    """
    large = enlarge(preview, factor)
    if noise.shape != large.shape:
        raise ValueError(f"noise must have shape {tuple(large.shape)}, got {tuple(noise.shape)}")
    return schedule.alpha(t) * large + schedule.sigma(t) * noise


def spectrum(images):
    """The power of images (n, 1, s, s) at the frequencies k = 0 ... s // 2: (s // 2 + 1,), the mean of
    |FFT|^2 / s^2 over the ring of those that round to k.  White noise of deviation sigma has sigma^2 at
    each."""
    side = images.shape[-1]
    power = torch.fft.fft2(images.double()).abs().square().mean((0, 1)) / side**2
    along = torch.fft.fftfreq(side, dtype=torch.float64) * side
    ring = torch.hypot(along[:, None], along).round().long()
    return torch.stack([power[ring == k].mean() for k in range(side // 2 + 1)])


# --- latents --------------------------------------------------------------------------------------------


class PrincipalLatents:
    """The linear autoencoder of k numbers with the least squared error: principal components (Pearson 1901),
    each scaled to unit variance.

    images: (n, ...) from which means and components are taken.  k: numbers for each picture.
    `kept` and `lost` are the variances (k,) and (d - k,) of the components that are kept and left out; what
    the images lose, the mean squared error summed over pixels, is `lost.sum()`.
    """

    def __init__(self, images, k):
        points = images.flatten(1).double()
        if not 1 <= whole_number("k", k) <= min(points.shape):
            raise ValueError(
                f"k must be at most {min(points.shape)} for images {tuple(images.shape)}, got {k}"
            )
        self.shape, self.mean = images.shape[1:], points.mean(0)
        covariance = (points - self.mean).T @ (points - self.mean) / len(points)
        values, vectors = (found.flip(-1) for found in torch.linalg.eigh(covariance))
        self.kept, self.lost = values[:k], values[k:].clamp(min=0)
        self.axes = vectors[:, :k]

    def encode(self, images):
        """Latents (n, k) of images (n, ...), in their dtype; those of the images at hand have mean 0 and
        variance 1."""
        points = images.flatten(1).double() - self.mean
        return (points @ self.axes / self.kept.sqrt()).to(images.dtype)

    def decode(self, latents):
        """Images (n, ...) of latents (n, k), in their dtype."""
        points = (latents.double() * self.kept.sqrt()) @ self.axes.T + self.mean
        return points.unflatten(1, self.shape).to(latents.dtype)


class Autoencoder(nn.Module):
    """Two networks of two hidden layers: images (n, *shape) in [-1, 1] -> k numbers, `encoder`, and back,
    `decoder`.

    kl: 0, or the weight in `loss` of the codes' divergence from N(0, 1), as a small one is used by Rombach et
    al. (2022, sec. 3.1); the encoder then tells a mean and the log of a deviation for each number."""

    def __init__(self, shape, k, kl=0.0, width=256):
        super().__init__()
        if real_number("kl", kl) < 0:
            raise ValueError(f"kl must be at least 0, got {kl}")
        self.k, self.kl, pixels = whole_number("k", k), kl, math.prod(shape)
        inner = (nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, width), *inner, nn.Linear(width, 2 * k if kl else k)
        )
        inner = (nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.decoder = nn.Sequential(
            nn.Linear(k, width), *inner, nn.Linear(width, pixels), nn.Tanh(), nn.Unflatten(1, tuple(shape))
        )

    def codes(self, x):
        """The codes (n, k) of images: with a KL term, their means."""
        return self.encoder(x)[:, : self.k]

    def loss(self, x, generator):
        """The mean squared error a pixel; with kl, of noisy codes, and kl times their divergence from N(0, 1)
        a pixel (Kingma & Welling 2014, app. B)."""
        if not self.kl:
            return (self.decoder(self.encoder(x)) - x).square().mean()
        mean, log = self.encoder(x).split(self.k, 1)
        z = mean + log.exp() * torch.randn(mean.shape, generator=generator, dtype=x.dtype)
        divergence = 0.5 * (mean.square() + (2 * log).exp() - 1 - 2 * log).sum() / x.numel()
        return (self.decoder(z) - x).square().mean() + self.kl * divergence


class LearnedLatents:
    """Latents that an `Autoencoder` learns from images (n, *shape) in [-1, 1]: `encode`, `decode` and `kept`
    as `PrincipalLatents` has them.

    Nothing in the loss of an autoencoder holds the scale of its codes: they are brought to mean 0, variance 1
    and no correlation on the images at hand, and back before they are decoded.  `kept`: the variances (k,) of
    the codes before that, along their principal axes.  kl: see `Autoencoder`.  steps: of 128 images each."""

    def __init__(self, images, k, *, kl=0.0, steps=2000, seed=0):
        torch.manual_seed(seed)
        net = Autoencoder(images.shape[1:], k, kl).to(images)

        def loss(generator):
            return net.loss(images[torch.randint(len(images), (128,), generator=generator)], generator)

        self.net = fit(net, loss, steps=steps, lr=2e-3, ema=0.99, seed=seed).net.requires_grad_(False)
        self.white = PrincipalLatents(self.net.codes(images), k)
        self.kept = self.white.kept

    def encode(self, images):
        """Latents (n, k) of images (n, *shape), in their dtype."""
        return self.white.encode(self.net.codes(images))

    def decode(self, latents):
        """Images (n, *shape) of latents (n, k), in their dtype."""
        return self.net.decoder(self.white.decode(latents))


def noise_error_at_scale(scale, alpha, sigma):
    """The least mean squared error of a guess of eps, for Gaussian latents z of deviation s = `scale`, at x =
    alpha z + sigma eps: alpha^2 s^2 / (alpha^2 s^2 + sigma^2).  It falls to 0 with the scale, whatever the
    level: noise is easy to see where there is nothing else."""
    signal = (alpha * scale) ** 2
    return signal / (signal + sigma**2)


# --- memory ---------------------------------------------------------------------------------------------


class PeakMemory(TorchDispatchMode):
    """The most bytes that tensors made inside a `with` block held at one moment, `peak`, and those that they
    hold now, `live`.

    Counted from the storages of what each operation returns; what a library uses within an operation, and
    what was there before, is not in it."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self._known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {id(one.untyped_storage()) for one in tree_leaves((args, kwargs)) if _dense(one)}
        for one in tree_leaves(result):
            if _dense(one) and id(one.untyped_storage()) not in given:
                self._add(one.untyped_storage())
        return result

    def _add(self, storage):
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._gone, key, size).atexit = False

    def _gone(self, key, size):
        self._known.discard(key)
        self.live -= size


def _dense(one):
    return isinstance(one, torch.Tensor) and one.layout == torch.strided


class Checkpointed(nn.Module):
    """A network whose activations are not kept for the gradient but computed again when it is taken (Chen et
    al. 2016): the same values and gradients, for one more evaluation of each call."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *args, **options):
        return checkpoint(self.network, *args, use_reentrant=False, preserve_rng_state=False, **options)


# --- few bits -------------------------------------------------------------------------------------------


def rounded(network, bits=8):
    """A copy of a network whose matrices and kernels are rounded to `bits` bits: in each output channel to
    the 2^bits - 1 multiples of a step that reach its largest weight.  Biases stay as they are."""
    if not 2 <= whole_number("bits", bits) <= 16:
        raise ValueError(f"bits must be from 2 to 16, got {bits}")
    network, top = copy.deepcopy(network), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                weight = module.weight
                step = weight.abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1)) / top
                step = step.clamp(min=torch.finfo(weight.dtype).tiny)
                weight.copy_((weight / step).round() * step)
    return network


def bytes_of_weights(network, bits=32):
    """What a network's weights take at so many bits each, in bytes."""
    return math.ceil(sum(weight.numel() for weight in network.parameters()) * bits / 8)
