"""Train the digits network for longer than it is shipped, and look for copies:  python -m studies.memorising

Each length is a run of its own by the recipe of `studies.train_digits`; the shipped network is the first.
Ten minutes on one core.  Written to book/ch01/recorded/memorising.json."""

import json

import numpy as np
import torch

from book import folders
from book.ch01.experiments import distances, steps_of
from studies.train_digits import RECIPES, SHARED
from toolkit import ddpm as d
from toolkit.data import digit_labels, digits
from toolkit.files import write_file
from toolkit.metrics import nearest_neighbour_ratio
from toolkit.models import Network
from toolkit.networks import DIGITS_SIGMA_DATA, pretrained
from toolkit.noise import initial_noise
from toolkit.sampling import sample
from toolkit.schedules import EDM, Discrete
from toolkit.training import train

RESULT = folders.folder("01") / "recorded" / "memorising.json"
LENGTHS = (10_000, 20_000)


def trained(steps):
    """The digits network after `steps` steps of its recipe."""
    architecture, recipe = RECIPES["digits"]
    torch.manual_seed(SHARED["seed"])
    images, labels = digits("train")
    return train(architecture(), images, EDM(), labels=labels, **(SHARED | recipe | dict(steps=steps))).net


def measure(net, batches=8, n=360, steps=100):
    """Mean Fréchet distance of batches of n samples, and the percentage of near-copies among them all."""
    labels = torch.cat([digit_labels(n, seed) for seed in range(batches)])
    model = Network(net, Discrete.linear(1000), "edm", label=labels, sigma_data=DIGITS_SIGMA_DATA)
    noise = initial_noise(batches * n, net.shape, seed=0)
    images = sample(d.ddpm, model, noise, steps_of(model.schedule, steps), draws=1).x
    found = distances(images, n)["samples of the network"]
    ratio = nearest_neighbour_ratio(images, digits("train")[0])
    return {
        "Fréchet distance": round(float(found.mean()), 3),
        "its standard deviation": round(float(found.std(ddof=1)), 3),
        "ratios below 1/2, per cent": round(100 * float((ratio < 0.5).mean()), 2),
        "median ratio": round(float(np.median(ratio)), 3),
    }


def main():
    """Train, measure and write the file."""
    torch.set_num_threads(1)
    shipped = RECIPES["digits"][1]["steps"]
    networks = {shipped: measure(pretrained("digits"))} | {n: measure(trained(n)) for n in LENGTHS}
    about = "networks for digits by their number of training steps: 2,880 samples each, by DDPM in 100 steps"
    write_file(RESULT, json.dumps({"about": about, "networks": networks}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
