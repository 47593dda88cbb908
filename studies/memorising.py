"""Train the digits network for longer than it is shipped, and look for copies:  python -m studies.memorising

Each length is a run of its own by the recipe of `studies.train_digits`; the shipped network is the first.
Ten minutes on one core.  Written to book/ch01/recorded/memorising.json."""

import json

import torch

from book import folders
from book.ch01.experiments import distances, steps_of
from studies.train_digits import RECIPES, SHARED
from toolkit import ddpm as d
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.files import write_file
from toolkit.grids import karras
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


def measure(net, batches=8, n=360):
    """Of batches of n samples by two samplers: mean Fréchet distance and its standard deviation, and how many
    of all samples are near-copies of a training digit.
    """
    labels = torch.cat([digit_labels(n, seed) for seed in range(batches)])
    settings = dict(predicts="edm", label=labels, sigma_data=DIGITS_SIGMA_DATA)
    table, times = Discrete.linear(1000), karras(EDM(), 50)
    noise, training = initial_noise(batches * n, net.shape, seed=0), digits("train")[0]
    samples = {
        "DDPM": sample(d.ddpm, Network(net, table, **settings), noise, steps_of(table, 100), draws=1).x,
        "DDIM": sample(ddim, Network(net, EDM(), **settings), noise * times[0], times).x,
    }
    result = {}
    for name, images in samples.items():
        found = distances(images, n)["samples of the network"]
        result[name] = {
            "Fréchet distance": [round(float(found.mean()), 2), round(float(found.std(ddof=1)), 2)],
            "near-copies": int((nearest_neighbour_ratio(images, training) < 0.5).sum()),
        }
    return result


def main():
    """Train, measure and write the file."""
    torch.set_num_threads(1)
    shipped = RECIPES["digits"][1]["steps"]
    networks = {shipped: measure(pretrained("digits"))} | {n: measure(trained(n)) for n in LENGTHS}
    about = "networks for digits by their number of training steps: 2,880 samples each, by DDPM in 100 "
    about += "steps, and by DDIM in 50"
    write_file(
        RESULT, json.dumps({"about": about, "networks": networks}, indent=1, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
