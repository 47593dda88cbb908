"""Make docs/journey.png, the picture in README.md: python docs/make_journey.py"""

from pathlib import Path

import torch

from book.ch00.figures import journey_rows
from book.plots import journey
from toolkit import Discrete
from toolkit.networks import digits_model

LABELS = torch.tensor([3, 0, 1, 2, 4, 5, 6])  # the network is told which digit to draw

if __name__ == "__main__":
    model = digits_model(Discrete.linear(T=1000), name="large-digits")
    # of the first eight seeds the one whose digits by DDIM are all whole: about one in ten is broken
    rows = journey_rows(model, samples=len(LABELS), label=LABELS, seed=7)
    picture = journey(rows, width=10.4)  # at which a pixel of a digit is two of the picture
    picture.save(Path(__file__).with_name("journey.png"))
