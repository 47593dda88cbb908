"""What conditions do to digits, and what a dropped label costs: the recorded figures of chapter 8's second
part.

    python -m studies.conditions_study guides       guidance by three classifiers, three seeds
    python -m studies.conditions_study scales       Fréchet distance against scale and levels, eight seeds
    python -m studies.conditions_study inpainting   the lower half of digits, three seeds
    python -m studies.conditions_study dropout      one network with dropped labels, four seeds
    python -m studies.conditions_study words        points by text, three trainings

Each writes its part of book/ch08/recorded/conditions.json and leaves the others as they are.  Some two CPU
minutes each; nothing in it is a time."""

import json
import math

import torch
import typer

from book import folders
from book.ch08.experiments import TEXTS, found_in, places_of, said, text_network
from toolkit import EDM, VP, Guided, Mixture, Network, grids, initial_noise, sample
from toolkit.conditions import (
    ClassifierGuided,
    GuidedBetween,
    Reconstructed,
    class_log_prob,
    dps,
    inpaint,
)
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.metrics import class_accuracy, frechet_distance, fresh_distances
from toolkit.networks import ToyMLP, digits_model, pretrained
from toolkit.training import train

RECORD = folders.folder("08") / "recorded" / "conditions.json"
STEPS = 30
INTERVALS = {
    "all levels": (0.0, math.inf),
    "0.3 to 3": (0.3, 3.0),
    "above 1": (1.0, math.inf),
    "below 1": (0, 1),
}
app = typer.Typer(add_completion=False)


def keep(part, found):
    """Put a part into the record."""
    old = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    about = "Digits of 8 x 8 and a ring of four classes; see studies/conditions_study.py."
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(old | {"about": about, part: found}, indent=1, sort_keys=True) + "\n")


def noises(n, seed):
    """Noise (n, 1, 8, 8) at EDM's first level, and the levels."""
    times = grids.karras(EDM(), STEPS)
    return float(times[0]) * initial_noise(n, (1, 8, 8), seed), times


def read_by_neighbours(images, labels):
    """Share of images whose nearest digit of the test split, which no guide has seen, has the label."""
    test, truth = digits("test")
    nearest = torch.cdist(images.flatten(1), test.flatten(1)).argmin(1)
    return float((truth[nearest] == labels).double().mean())


def guides(labels):
    """log p(label | x_t) by three classifiers: exact for the training digits and their noise; the shipped
    one, of clean digits, asked at the state; the same, asked at the predicted digit."""
    images, classes = digits("train")
    exact = Mixture.empirical(images, labels=classes).model(EDM())
    clean, model = pretrained("classifier"), digits_model(EDM())
    rows = torch.arange(len(labels))
    said = lambda x: clean(x).log_softmax(1)[rows, labels]
    return {
        "knows the noise": class_log_prob(exact, labels),
        "clean, at the state": lambda x, t: said(x),
        "clean, at the estimate": lambda x, t: said(model.x0(x, t)),
    }


@app.command("guides")
def record_guides(n: int = 500):
    """The label asked for, read off, and the Fréchet distance, by guide and scale."""
    found = {}
    for seed in range(3):
        labels, (noise, times) = digit_labels(n, seed), noises(n, seed)
        model = digits_model(EDM())
        runs = {f"{name} | {w}": ClassifierGuided(model, log_prob, w)
                for name, log_prob in guides(labels).items() for w in (1, 3, 10)}  # fmt: skip
        runs |= {f"labels in the network | {w}": Guided(model, labels, w) for w in (1, 3)}
        runs["no condition | 0"] = model
        for name, run in runs.items():
            x = sample(ddim, run, noise, times).x
            row = {"read": read_by_neighbours(x, labels), "FD": frechet_distance(x)}
            found.setdefault(name, []).append(row)
            print(seed, name, row, flush=True)
    keep("guides", found)


@app.command("scales")
def record_scales(n: int = 1000):
    """Fréchet distance and calls, by scale and the levels on which it acts."""
    found = {"floor": [float(v) for v in fresh_distances(n)]}
    for seed in range(8):
        labels, (noise, times) = digit_labels(n, seed), noises(n, seed)
        for name, (low, high) in INTERVALS.items():
            for w in (1, 1.5, 2, 3, 5) if name == "all levels" else (2, 3, 5):
                run = sample(ddim, GuidedBetween(digits_model(EDM()), labels, w, low, high), noise, times)
                row = {"FD": frechet_distance(run.x), "calls": run.nfe, "read": class_accuracy(run.x, labels)}
                found.setdefault(f"{name} | {w:g}", []).append(row)
                print(seed, name, w, row, flush=True)
    keep("scales", found)


def ways(model, known, mask):
    """The ways to fill in: name -> (sampler, model, options)."""
    told = {"known": known, "level": mask}
    repaint = lambda **options: (inpaint, model, told | options)
    estimate = lambda **options: (ddim, Reconstructed(model, known, mask, **options), {"eta": 1.0})
    return {
        "replacement": repaint(),
        "RePaint, 5 times": repaint(repeats=5),
        "RePaint, 5 times, jumps of 5": repaint(repeats=5, jump=5),
        "RePaint, 20 times": repaint(repeats=20),
        "estimate, r = κ": estimate(),
        "estimate, r of one pixel": estimate(std=0.85),
        "estimate, r of the model": estimate(std="model"),
        "DPS, ζ = 0.3": (dps, model, {"known": known, "mask": mask, "zeta": 0.3}),
        "DPS, ζ = 1": (dps, model, {"known": known, "mask": mask, "zeta": 1.0}),
    }


@app.command("inpainting")
def record_inpainting(n: int = 360):
    """Digits of the test split whose upper half is known: what the whole is read as, and how far the halves
    are off."""
    images, labels = (part[:n] for part in digits("test"))
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, :4] = True
    real = {"read": class_accuracy(images, labels), "calls": 0, "known off": 0.0, "filled off": 0.0}
    found = {"the digits": [real]}
    for seed in range(3):
        noise, times = noises(n, seed)
        for name, (solver, model, options) in ways(digits_model(EDM()), images, mask).items():
            run = sample(solver, model, noise, times, draws=seed, **options)
            off = (run.x - images).square()
            found.setdefault(name, []).append(
                {
                    "read": class_accuracy(run.x, labels),
                    "calls": run.nfe,
                    "known off": float(off[:, mask].mean().sqrt()),
                    "filled off": float(off[:, ~mask].mean().sqrt()),
                }
            )
            print(seed, name, found[name][-1], flush=True)
    keep("inpainting", found)


@app.command("dropout")
def record_dropout(steps: int = 1500):
    """Root mean square error of eps with the label, without, and guided at scale 3, on a ring of four."""
    data, schedule = Mixture.ring(4, std=0.3), VP()
    labels = torch.arange(20_000) % 4
    points = data.means[labels] + 0.3 * initial_noise(20_000, 2, 1, torch.float64)
    test, times = (
        data.sample(2000, 2),
        torch.rand(2000, generator=torch.Generator().manual_seed(3)) * 0.9 + 0.05,
    )
    x = schedule.alpha(times)[:, None] * test + schedule.sigma(times)[:, None] * initial_noise(2000, 2, 4)
    asked, exact, found = torch.arange(2000) % 4, data.model(schedule), {}
    for p in (0.02, 0.1, 0.2, 0.5):
        for seed in range(4):
            torch.manual_seed(seed)
            run = train(ToyMLP(n_classes=4, width=64), points.float(), schedule, steps=steps, labels=labels,
                        p_uncond=p, seed=seed)  # fmt: skip
            model = Network(run.net, schedule)
            row = {}
            for name, make in {
                "label": lambda m: m.with_label(asked),
                "no label": lambda m: m.with_label(None),
                "guided, w = 3": lambda m: Guided(m, asked, 3.0),
            }.items():
                with torch.no_grad():
                    off = make(model).eps(x.float(), times) - make(exact).eps(x, times)
                row[name] = float(off.square().mean().sqrt())
            found.setdefault(f"{p:g}", []).append(row)
            print(p, seed, row, flush=True)
    keep("dropout", found)


@app.command("words")
def record_words():
    """Share of points in a place that the text allows, by text and scale, with and without dropped texts."""
    found = {}
    for seed in range(3):
        for name, options in {"texts dropped": {}, "texts kept": {"dropped": 0.0, "whole": 0.0}}.items():
            network = text_network(seed=seed, **options)
            for text in TEXTS[:-1]:
                for scale in (1, 3):
                    points = said(text, scale, n=500, seed=seed, network=network)
                    share = found_in(points, places_of(text))
                    found.setdefault(f"{name} | {text}, w = {scale}", []).append(share)
                    print(seed, name, text, scale, share, flush=True)
    keep("words", found)


if __name__ == "__main__":
    app()
