"""Networks: a small class-conditional U-Net, MLPs for digits and for points, a classifier, and the shipped
weights.

All denoisers have one face, the one that `Network` calls:

    net(x, c, label=None) -> like x        net.features(x, c, label=None) -> (B, net.feature_size)

x is (B, *net.shape); c (B,) says how noisy x is, in any unit of order one (the shipped weights use EDM's
c_noise = log(sigma/alpha) / 4); label (B,) holds classes 0 ... n_classes - 1, or n_classes for "no class"
(the null label of classifier-free guidance), which is also what a missing label means.
`net.forward_with_features` gives both in one call, so reading the bottleneck costs no second evaluation
(AMED's predictor reads it: Zhou et al. 2024, sec. 3).

When c is one number expanded to the batch (`is_one_number`), the conditioning is worked out once for each
class instead of once for each sample: half the cost of the MLPs.
"""

import hashlib
import json
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).parent / "weights"
DIGITS_SIGMA_DATA = 0.85  # root mean square of the digits' pixels in [-1, 1]
LARGE_DIGITS_SIGMA_DATA = 0.62  # standard deviation of the larger digits' pixels about their mean, -0.74


# --- conditioning ---------------------------------------------------------------------------------------


def is_one_number(c):
    """Whether c (B,) is one number expanded to the batch: stride 0, as `models.Network` builds it for a float
    t.  Asked of the memory's layout, it costs no look at values, for which a GPU would have to be waited for.
    """
    return c.stride(0) == 0


class Conditioning(nn.Module):
    """(c, label) -> (B, width): sinusoids of c through two layers, plus a learned vector for each class."""

    def __init__(self, width, n_classes, waves=32):
        super().__init__()
        self.n_classes = n_classes
        self.register_buffer("frequency", torch.logspace(0, math.log10(50), waves // 2), persistent=False)
        self.level = nn.Sequential(nn.Linear(waves + 1, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(n_classes + 1, width)

    def forward(self, c, label):
        return F.silu(self.level(self._waves(c)) + self.classes(label))

    def _waves(self, c):
        angle = c[:, None] * self.frequency
        waves = torch.cat([c[:, None], angle.cos(), angle.sin()], 1)
        return waves.to(self.classes.weight.dtype)  # c itself stays precise, so that times stay apart

    def rows(self, c, label):
        """The conditioning as (table, rows): the vector of sample i is table[rows[i]], or table[i] if rows is
        None."""
        if c.numel() > self.n_classes + 1 and is_one_number(c):
            classes = torch.arange(self.n_classes + 1, device=c.device)
            return self(c[:1].expand(len(classes)), classes), label
        return self(c, label), None


class ScaleConditioning(Conditioning):
    """Conditioning on a guidance scale too: sinusoids of scale / `unit` through two layers, added, the last
    of them zero at first, so that weights of a `Conditioning` keep their meaning (Meng et al. 2023, sec.
    3.1)."""

    unit = 4.0

    def __init__(self, width, n_classes, waves=32):
        super().__init__(width, n_classes, waves)
        self.scale = nn.Sequential(nn.Linear(waves + 1, width), nn.SiLU(), nn.Linear(width, width))
        nn.init.zeros_(self.scale[2].weight)
        nn.init.zeros_(self.scale[2].bias)

    def forward(self, c, label, scale):
        told = self.scale(self._waves(scale / self.unit))
        return F.silu(self.level(self._waves(c)) + self.classes(label) + told)

    def rows(self, c, label, scale=1.0):
        """As `Conditioning.rows`, at guidance `scale`, a number or (B,)."""
        if isinstance(scale, torch.Tensor) and scale.ndim:
            return self(c, label, scale.to(c)), None
        scale = torch.as_tensor(scale, dtype=c.dtype, device=c.device)
        if c.numel() > self.n_classes + 1 and is_one_number(c):
            classes = torch.arange(self.n_classes + 1, device=c.device)
            return self(c[:1].expand(len(classes)), classes, scale.expand(len(classes))), label
        return self(c, label, scale.expand(len(c))), None


class GapConditioning(ScaleConditioning):
    """The same for a second time, told as the gap t - s to the first: sinusoids of gap through two layers,
    zero at first, so that a fresh network's mean over a step is its velocity at the start of it."""

    unit = 1.0

    def rows(self, c, label, gap=0.0):
        """As `Conditioning.rows`, at the gap, a number or (B,)."""
        return super().rows(c, label, scale=gap)


def _modulate(layer, table, rows):
    scale_shift = layer(table)
    scale_shift = scale_shift if rows is None else scale_shift[rows]
    return scale_shift.chunk(2, dim=1)


class Denoiser(nn.Module):
    """What the denoisers share: the checks of shapes and labels, and the three ways to call one.

    A subclass sets `shape`, `n_classes` and `feature_size` and gives `encode(x, table, rows) -> (hidden,
    features, rest)` and `decode(hidden, rest, table, rows) -> output`, the two halves on either side of the
    bottleneck."""

    def forward(self, x, c, label=None, **more):
        """x (B, *shape), c (B,), label (B,) int64 or None -> a tensor like x. `more` goes to the
        conditioning."""
        return self.forward_with_features(x, c, label, **more)[0]

    def forward_with_features(self, x, c, label=None, **more):
        """The output (B, *shape) and the bottleneck's features (B, feature_size), from one evaluation."""
        table, rows = self.condition(x, c, label, **more)
        hidden, features, rest = self.encode(x, table, rows)
        return self.decode(hidden, rest, table, rows), features

    def features(self, x, c, label=None, **more):
        """The features (B, feature_size) of the bottleneck; the half of the network behind it is not run."""
        table, rows = self.condition(x, c, label, **more)
        return self.encode(x, table, rows)[1]

    def condition(self, x, c, label, **more):
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"x must have shape (batch, {', '.join(map(str, self.shape))}), got {tuple(x.shape)}"
            )
        if c.shape != x.shape[:1]:
            raise ValueError(
                f"c must have shape ({len(x)},), one value for each row of x, got {tuple(c.shape)}"
            )
        if label is None:
            label = torch.full((len(x),), self.n_classes, dtype=torch.int64, device=x.device)
        elif label.shape != x.shape[:1]:
            raise ValueError(f"label must have shape ({len(x)},), got {tuple(label.shape)}")
        elif (
            label.device.type == "cpu"
            and len(label)
            and not 0 <= int(label.min()) <= int(label.max()) <= self.n_classes
        ):
            raise ValueError(
                f"labels run from 0 to {self.n_classes} (no class), got {sorted(set(label.tolist()))}"
            )
        return self.conditioning.rows(c, label, **more)


# --- MLPs -----------------------------------------------------------------------------------------------


class FilmBlock(nn.Module):
    """h + W2 silu(W1 film(norm(h))): a residual block whose normalised input is scaled and shifted by the
    condition (FiLM: Perez et al. 2018)."""

    def __init__(self, width, condition):
        super().__init__()
        self.film = nn.Linear(condition, 2 * width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, h, table, rows):
        scale, shift = _modulate(self.film, table, rows)
        y = torch.addcmul(shift, F.layer_norm(h, h.shape[1:]), 1 + scale)
        return h + self.second(F.silu(self.first(y)))


class MLP(Denoiser):
    """A residual MLP on flattened input; the bottleneck is the hidden state half-way through the blocks.

    `shape` is that of one sample, `n_classes` may be 0. Feature size: `width`."""

    def __init__(self, shape, n_classes=0, width=128, blocks=4, condition=None):
        super().__init__()
        condition = condition or width
        self.config = dict(
            shape=list(shape), n_classes=n_classes, width=width, blocks=blocks, condition=condition
        )
        self.shape, self.n_classes, self.feature_size = tuple(shape), n_classes, width
        size = math.prod(shape)
        self.conditioning = self.make_conditioning(condition, n_classes)
        self.inlet = nn.Linear(size, width)
        self.blocks = nn.ModuleList(FilmBlock(width, condition) for _ in range(blocks))
        self.outlet = nn.Linear(width, size)

    make_conditioning = Conditioning

    def encode(self, x, table, rows):
        h = self.inlet(x.flatten(1))
        for block in self.blocks[: len(self.blocks) // 2]:
            h = block(h, table, rows)
        return h, h, None

    def decode(self, h, rest, table, rows):
        for block in self.blocks[len(self.blocks) // 2 :]:
            h = block(h, table, rows)
        return self.outlet(F.layer_norm(h, h.shape[1:])).unflatten(1, self.shape)


class DigitsMLP(MLP):
    """The MLP for digits: 1 x 8 x 8, ten classes, four blocks. `pretrained("digits")` has these
    hyper-parameters."""

    def __init__(self, shape=(1, 8, 8), n_classes=10, width=160, blocks=4, condition=96):
        super().__init__(shape, n_classes, width, blocks, condition)


class ScaledMLP(DigitsMLP):
    """DigitsMLP that takes a guidance scale too: net(x, c, label, scale=), a number or (B,).

    `load_state_dict(teacher's, strict=False)` makes it, for every scale, the teacher's conditional model."""

    make_conditioning = ScaleConditioning


class TwoTimeMLP(MLP):
    """An MLP that takes two times, for flow maps: net(x, t, label, gap=), gap = t - s, a number or (B,)."""

    make_conditioning = GapConditioning


class ToyMLP(MLP):
    """The MLP for points in the plane: shape (2,), no classes unless asked for, three blocks of width 128."""

    def __init__(self, shape=(2,), n_classes=0, width=128, blocks=3, condition=None):
        super().__init__(shape, n_classes, width, blocks, condition)


# --- U-Net ----------------------------------------------------------------------------------------------


class ConvBlock(nn.Module):
    """A residual block of two 3 x 3 convolutions, the second one's normalised input modulated by the
    condition."""

    def __init__(self, inside, outside, condition):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.film = nn.Linear(condition, 2 * outside)
        self.norm2, self.conv2 = (
            nn.GroupNorm(8, outside, affine=False),
            nn.Conv2d(outside, outside, 3, padding=1),
        )
        self.skip = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, table, rows):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = (m[:, :, None, None] for m in _modulate(self.film, table, rows))
        return self.skip(x) + self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))


class UNet(Denoiser):
    """A U-Net (Ronneberger et al. 2015) with one residual block a level on each side and one at the bottom.

    `channels` gives the width of each level, multiples of 8. With `patch` = p the first level takes p x p
    pixels as p^2 channels on a grid p times coarser, at a fraction of the cost. Height and width must divide
    by p 2^(levels - 1). The bottleneck is the bottom block's output, averaged over its pixels. Feature size:
    channels[-1]."""

    def __init__(self, shape=(1, 8, 8), n_classes=10, channels=(24, 48, 96), condition=96, patch=1):
        super().__init__()
        factor = patch * 2 ** (len(channels) - 1)
        if len(shape) != 3 or shape[1] % factor or shape[2] % factor:
            raise ValueError(
                f"shape must be (channels, height, width) with sides that divide by {factor}, got {shape}"
            )
        if any(c % 8 for c in channels):
            raise ValueError(f"channels must be multiples of 8, got {tuple(channels)}")
        self.config = dict(
            shape=list(shape), n_classes=n_classes, channels=list(channels), condition=condition, patch=patch
        )
        self.shape, self.n_classes, self.feature_size = tuple(shape), n_classes, channels[-1]
        self.patch, pixels = patch, shape[0] * patch**2
        self.conditioning = Conditioning(condition, n_classes)
        self.inlet = nn.Conv2d(pixels, channels[0], 3, padding=1)
        levels = list(zip((channels[0], *channels), channels))
        self.down = nn.ModuleList(ConvBlock(a, b, condition) for a, b in levels)
        self.bottom = ConvBlock(channels[-1], channels[-1], condition)
        self.up = nn.ModuleList(ConvBlock(2 * b, a, condition) for a, b in reversed(levels))
        self.norm, self.outlet = nn.GroupNorm(8, channels[0]), nn.Conv2d(channels[0], pixels, 3, padding=1)

    def encode(self, x, table, rows):
        h, skips = self.inlet(F.pixel_unshuffle(x, self.patch)), []
        for i, block in enumerate(self.down):
            h = block(F.avg_pool2d(h, 2) if i else h, table, rows)
            skips.append(h)
        h = self.bottom(h, table, rows)
        return h, h.mean((2, 3)), skips

    def decode(self, h, skips, table, rows):
        for i, (block, skip) in enumerate(zip(self.up, reversed(skips))):
            h = F.interpolate(h, scale_factor=2.0, mode="nearest") if i else h
            h = block(torch.cat([h, skip], 1), table, rows)
        return F.pixel_shuffle(self.outlet(F.silu(self.norm(h))), self.patch)


# --- classifier -----------------------------------------------------------------------------------------


class DigitClassifier(nn.Module):
    """A small convolutional network for digits of `side` x `side` pixels in [-1, 1]: logits (B, 10). With
    `patch` = p it works on p x p pixels at once, as `UNet` does.

    `features` gives the 64 penultimate activations in which `toolkit.metrics` measures Fréchet distances."""

    feature_size = 64

    def __init__(self, side=8, patch=1):
        super().__init__()
        self.config = dict(side=side, patch=patch)
        self.shape, self.patch = (1, side, side), patch
        self.body = nn.Sequential(
            nn.Conv2d(patch**2, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (side // patch // 4) ** 2, 64),
            nn.SiLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.features(x))

    def features(self, x):
        """The 64 penultimate activations of images x (B, 1, side, side)."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this classifier reads digits of shape (batch, {', '.join(map(str, self.shape))}), got "
                f"{tuple(x.shape)}"
            )
        return self.body(F.pixel_unshuffle(x, self.patch))


# --- shipped weights ------------------------------------------------------------------------------------

NETWORKS = (MLP, DigitsMLP, ScaledMLP, TwoTimeMLP, ToyMLP, UNet, DigitClassifier)
ARCHITECTURES = {cls.__name__: cls for cls in NETWORKS}


def save_weights(net, path, **notes):
    """Write `net` to a safetensors file: weights in float16, the class, its hyper-parameters and `notes` as
    metadata."""
    from safetensors.torch import save_file

    # one key: safetensors writes several in an order that changes from run to run, and the hash with it
    about = {"architecture": type(net).__name__, "config": net.config, "notes": notes}
    state = {key: value.detach().cpu().half().contiguous() for key, value in net.state_dict().items()}
    save_file(state, path, {"toolkit": json.dumps(about, sort_keys=True)})


def load_weights(path, sha256=None):
    """Build the network that `save_weights` wrote to `path`: float32, evaluation mode, gradients off.

    Its `notes` attribute holds what the training script recorded. ValueError where the file is not such a
    file, or its SHA-256 is not the one given."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no weights file {str(path)!r}")
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(
            f"{str(path)!r} is not the file that was shipped (its SHA-256 differs); restore it with git"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["toolkit"])
            state = {key: file.get_tensor(key).float() for key in file.keys()}
        with torch.random.fork_rng([]):  # the first weights are drawn from the global state
            net = ARCHITECTURES[about["architecture"]](**about["config"])
        net.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError, TypeError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{str(path)!r} does not hold the weights of one of our networks ({reason})"
        ) from None
    net.notes = about["notes"]
    return net.eval().requires_grad_(False)


def pretrained(name="digits"):
    """A shipped network, in evaluation mode: "digits" (an MLP) or "digits-unet" for 8 x 8 pixels,
    "large-digits" (a U-Net) for 28 x 28, "classifier" or "large-classifier".

    The denoisers are EDM's raw network F of c_noise, with the sigma_data that their notes name;
    `digits_model` wraps them. Files and hashes are listed in toolkit/weights/manifest.json. Each call reads
    the file anew."""
    manifest = json.loads((WEIGHTS / "manifest.json").read_text("utf8"))
    if name not in manifest:
        raise ValueError(f"there are no shipped weights {name!r}; there are {', '.join(manifest)}")
    return load_weights(WEIGHTS / manifest[name]["file"], manifest[name]["sha256"])


def digits_model(schedule, label=None, name="digits"):
    """A shipped digits network as a model on any `schedule`; `label` (n,) or None for unconditional
    sampling. `name`: "digits", "digits-unet", "digits-teacher", or "large-digits" for 28 x 28 pixels."""
    from toolkit.models import Network

    net = pretrained(name)
    sigma_data = net.notes.get("settings", {}).get("sigma_data")
    if sigma_data is None:
        raise ValueError(f"the shipped weights {name!r} are not those of a digits network such as 'digits'")
    return Network(net, schedule, predicts="edm", label=label, sigma_data=sigma_data)
