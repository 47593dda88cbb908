"""Train the digit classifiers whose features measure Fréchet distances:  python -m studies.train_classifier
[--name large-classifier]

Half a minute on one core, and two for the digits of 28 x 28 pixels.  Each sees only the digits for training,
moved and scaled by a little each time."""

import time
from pathlib import Path

import torch
import typer
from torch.nn import functional as F

from studies.shipping import WEIGHTS, ship
from toolkit.data import digits
from toolkit.networks import DigitClassifier

SETTINGS = dict(seed=0, steps=2500, batch=128, lr=3e-3, weight_decay=0.05, dropout=0.5, shift=0.125, zoom=0.1)
RECIPES = {
    "classifier": dict(side=8),
    "large-classifier": dict(side=28, patch=2),
}


def augmented(images, generator, shift, zoom):
    """Images (B, 1, h, w) moved by up to `shift` (in half widths) and scaled by up to `zoom`, background
    -1."""
    n = len(images)
    move = (2 * torch.rand(n, 2, generator=generator) - 1) * shift
    scale = 1 + (2 * torch.rand(n, generator=generator) - 1) * zoom
    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = move
    grid = F.affine_grid(affine, images.shape, align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


def main(name: str = "classifier", folder: Path = WEIGHTS, seed: int = SETTINGS["seed"]):
    """Train NAME and write NAME.safetensors to FOLDER."""
    if name not in RECIPES:
        raise typer.BadParameter(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    s, began = SETTINGS | {"seed": seed}, time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(s["seed"])
    net, generator = DigitClassifier(**RECIPES[name]), torch.Generator().manual_seed(s["seed"])
    images, labels = digits("train", net.shape[-1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=s["lr"], weight_decay=s["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, s["steps"])
    for _ in range(s["steps"]):
        rows = torch.randint(len(images), (s["batch"],), generator=generator)
        features = net.features(augmented(images[rows], generator, s["shift"], s["zoom"]))
        # dropout spreads what the classifier knows over all 64 features; without it a handful carry it
        loss = F.cross_entropy(net.head(F.dropout(features, s["dropout"])), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    test, truth = digits("test", net.shape[-1])
    with torch.no_grad():
        accuracy = round(float((net(test).argmax(1) == truth).float().mean()), 4)
    digest = ship(name, net, folder, settings=s, test_accuracy=accuracy, script="train_classifier.py")
    print(f"test accuracy {accuracy}, {time.perf_counter() - began:.0f} s, sha256 {digest}")


if __name__ == "__main__":
    typer.run(main)
