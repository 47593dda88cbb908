"""Train the shipped digits networks:  python -m studies.train_digits [--name large-digits]

One to four minutes on one core; twenty for `large-digits`, of 28 x 28 pixels, where the processor computes in
bf16, else take `amp` out of its recipe (an estimated thirty-five then).  The recipe is EDM's (Karras et al.
2022, table 1) with a tenth of the labels dropped, and it **stops early on purpose**: trained for
longer it draws ever more near-copies of the training images (chapter 1); `large-digits` is still far from
that.  `measure` prints the three numbers that have to be looked at together."""

import json
from functools import partial
from pathlib import Path

import torch
import typer

from studies.shipping import WEIGHTS, ship
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.grids import karras
from toolkit.metrics import class_accuracy, frechet_distance, nearest_neighbour_ratio
from toolkit.models import Network
from toolkit.networks import DIGITS_SIGMA_DATA, LARGE_DIGITS_SIGMA_DATA, DigitsMLP, UNet, load_weights
from toolkit.noise import initial_noise
from toolkit.ode import edm_heun
from toolkit.sampling import sample
from toolkit.schedules import EDM
from toolkit.training import train

SHARED = dict(
    predicts="edm",
    sigma_data=DIGITS_SIGMA_DATA,
    t_sampler=("lognormal", -1.2, 1.2),
    p_uncond=0.1,
    lr=2e-3,
    betas=(0.9, 0.99),
    warmup=100,
    ema=0.999,
    seed=0,
)
LARGE = dict(
    sigma_data=LARGE_DIGITS_SIGMA_DATA,
    t_sampler=("lognormal", -0.5, 1.2),  # more pixels to a stroke: what decides its shape is drowned later
    amp="bf16",
    steps=8000,
    batch=64,
)
RECIPES = {
    "digits": (DigitsMLP, dict(steps=5000, batch=256)),
    "digits-unet": (UNet, dict(steps=2500, batch=128)),
    "large-digits": (partial(UNet, (1, 28, 28), channels=(48, 128), patch=2), LARGE),
}


def measure(net, n=2000, loop=ddim, steps=100, seed=0):
    """Fréchet distance, class accuracy and share of near copies of n samples, one label each."""
    side, sigma_data = net.shape[-1], net.notes["settings"]["sigma_data"]
    labels = digit_labels(n, seed, side)
    model = Network(net, EDM(), predicts="edm", label=labels, sigma_data=sigma_data)
    times = karras(EDM(), steps)
    images = sample(loop, model, initial_noise(n, net.shape, seed) * times[0], times).x
    ratio = nearest_neighbour_ratio(images, digits("train", side)[0])
    return dict(
        frechet=round(frechet_distance(images), 3),
        accuracy=round(class_accuracy(images, labels), 4),
        copies=float((ratio < 0.5).mean()),
        n=n,
    )


def main(name: str = "digits", folder: Path = WEIGHTS, checkpoint: Path | None = None):
    """Train NAME, write NAME.safetensors to FOLDER and measure what was written. With a file CHECKPOINT a run
    that was stopped goes on where it was."""
    if name not in RECIPES:
        raise typer.BadParameter(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    architecture, recipe = RECIPES[name]
    settings = SHARED | recipe
    torch.set_num_threads(1)
    torch.manual_seed(settings["seed"])
    net = architecture()
    images, labels = digits("train", net.shape[-1])
    run = train(net, images, EDM(), labels=labels, progress=True, checkpoint=checkpoint, **settings)
    digest = ship(name, run.net, folder, settings=settings, schedule=repr(EDM()), script="train_digits.py")
    loss = run.losses[-1000:].mean()
    print(f"{name}: {run.seconds:.0f} s, loss {loss:.4f} over the last 1000 steps, sha256 {digest}")
    net = load_weights(Path(folder) / f"{name}.safetensors")
    options = dict(n=1000, loop=edm_heun, steps=18) if name == "large-digits" else {}
    for seed in range(3):
        print(f"seed {seed}:", json.dumps(measure(net, seed=seed, **options)))


if __name__ == "__main__":
    typer.run(main)
