"""Small experiments of chapter 0, each a dict label -> number."""

import numpy as np
import torch

from book.problems import rms
from toolkit import Discrete, grids, initial_noise, sample
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.networks import digits_model
from toolkit.schedules import convert

STEPS = (1, 5, 10, 50)


def digits_in_few_steps(steps=STEPS, n=400, seeds=range(4)) -> dict:
    """n digits of 8 x 8, told their class, by DDIM: distance a pixel from those of 200 steps with the same
    noise (root mean square), and variance over the samples, averaged over pixels and seeds; the variance of
    the data last.
    """
    base, away, spread = digits_model(Discrete.linear()), {}, {}
    for seed in seeds:
        noise, model = initial_noise(n, (1, 8, 8), seed), base.with_label(digit_labels(n, seed))
        runs = {k: sample(ddim, model, noise, grids.strided(model.schedule, k)).x for k in (*steps, 200)}
        for k, x in runs.items():
            away.setdefault(k, []).append(rms(x - runs[200]))
            spread.setdefault(k, []).append(float(x.var(0).mean()))
    result = {}
    for k in away:
        if k in steps:
            result[f"{k} step{'s' * (k > 1)}, distance from 200 steps"] = round(float(np.mean(away[k])), 2)
        result[f"{k} step{'s' * (k > 1)}, variance"] = round(float(np.mean(spread[k])), 2)
    return result | {"the data, variance": round(float(digits("all")[0].var(0).mean()), 2)}


def read_through_noise(lams=(2, 1, 0, -1, -2), seeds=range(2)) -> dict:
    """Share of test digits of 28 x 28 whose class the best guess names at half log-SNR `lams`: the class with
    the largest posterior weight, were the training digits all there is.
    """
    (train, classes), (test, labels), result = digits("train", side=28), digits("test", side=28), {}
    train, test = train.flatten(1).double(), test.flatten(1).double()
    for lam in lams:
        alpha, sigma = convert((1.0, float(lam)), "half log-SNR", "this book")
        right = []
        for seed in seeds:
            x = alpha * test + sigma * initial_noise(len(test), test.shape[1], seed, dtype=torch.float64)
            weight = torch.softmax(-(torch.cdist(x, alpha * train) ** 2) / (2 * sigma**2), 1)
            votes = torch.zeros(len(x), 10, dtype=torch.float64).index_add_(1, classes, weight)
            right.append(float((votes.argmax(1) == labels).double().mean()))
        result[f"λ = {lam}"] = round(float(np.mean(right)), 2)
    return result
