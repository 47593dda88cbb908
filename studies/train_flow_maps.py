"""Train the flow maps of chapter 7 and record how good they are:

    python -m studies.train_flow_maps train digits meanflow   one flow map, with --seed 0, 1, 2
    python -m studies.train_flow_maps record digits meanflow  measure its seeds, and ship that of seed 0
    python -m studies.train_flow_maps train triangle shortcut  the same in the plane, which does not ship
    python -m studies.train_flow_maps consistency             measure chapter 5's consistency students
    python -m studies.train_flow_maps matching                DMD on the ring, eight seeds

A flow map is written to the folder `seeds`, which is not part of the project, with its recipe in the file's
notes; `record` measures what lies there and puts it into book/ch07/recorded/flow_maps.json, where the rows of
the others stay as they are.  For "consistency" the students of seeds 1 and 2 are made beforehand by
`studies.train_distilled student ring consistency --seed 1`, and on digits alike.  Seconds are those of one
core and depend on the machine; everything else does not."""

import json
import math
import time
from functools import partial
from pathlib import Path

import torch
import typer
from torch import nn

from book import folders
from book.ch07.experiments import CALLS, PLANE, PlaneNetwork, astray, jump, plane_data
from studies.shipping import WEIGHTS, ship
from toolkit import grids
from toolkit.convergence import reference
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.distill import consistency
from toolkit.distilled import START, as_model, refinement_times
from toolkit.flow_maps import MeanVelocity, train
from toolkit.metrics import class_accuracy, frechet_distance, nearest_neighbour_ratio, sliced_wasserstein
from toolkit.mixtures import Mixture
from toolkit.networks import TwoTimeMLP, load_weights, pretrained, save_weights
from toolkit.noise import initial_noise
from toolkit.sampling import sample
from toolkit.schedules import EDM, Flow

RECORD = folders.folder("07") / "recorded" / "flow_maps.json"
SEEDS = (0, 1, 2)
N = 2000  # images for each Fréchet distance
POINTS = 4000  # points for each sliced Wasserstein distance
SHARED = {
    "digits": dict(loss="meanflow", batch=256, p_uncond=0.5, steps=1000, lr=2e-3),
    "triangle": dict(loss="meanflow", batch=512, steps=1200, lr=2e-3),
    "ring": dict(loss="meanflow", batch=512, steps=1500, lr=2e-3),
}
LONG = dict(steps=2900, p_uncond=0.65, tangent="model", power=1.0)
RECIPES = {  # what differs from SHARED; "meanflow" of the digits is the one that ships
    "digits": {
        "meanflow": LONG,
        "meanflow-pairs": LONG | dict(tangent="pair"),
        "meanflow-unweighed": LONG | dict(power=0.0),
        "meanflow-short": {},
        "lagrangian": dict(loss="lagrangian"),
        "shortcut": dict(loss="shortcut"),
    },
    "triangle": {"meanflow": {}, "lagrangian": dict(loss="lagrangian"), "shortcut": dict(loss="shortcut")},
    "ring": {"meanflow": {}},
}
SHIPPED = ("meanflow", "lagrangian", "shortcut")  # of the digits
WIDE = Mixture.ring(8, radius=3.0, std=0.1)  # for distribution matching: modes far apart
WAYS = {
    "DMD, levels to 5": {},
    "DMD, levels to 0.5": dict(top=0.5),
    "regression": dict(weight=1.0, match=0.0),
    "DMD and regression": dict(weight=1.0),
}
app = typer.Typer(add_completion=False)


def recipe(on, name):
    """The options of `flow_maps.train`; ValueError for a name that is unknown."""
    if name not in RECIPES.get(on, ()):
        known = "; ".join(f"{on}: {', '.join(names)}" for on, names in RECIPES.items())
        raise ValueError(f"recipes are {known}; got {on!r}, {name!r}")
    return SHARED[on] | RECIPES[on][name]


def data_of(on):
    """(data, labels or None, a fresh network) of "digits", "triangle" or "ring"."""
    if on in PLANE:
        return plane_data(on), None, PlaneNetwork()
    return *digits("train"), TwoTimeMLP(shape=(1, 8, 8), n_classes=10, width=160, condition=96)


def trained(on, name, seed, **change):
    """(network, seconds of one core) of a flow map trained by its recipe, with changes."""
    options = recipe(on, name) | change
    torch.manual_seed(seed)
    data, labels, network = data_of(on)
    began = time.process_time()
    run = train(network, data, labels=labels, seed=seed, **options)
    return run.net, round(time.process_time() - began)


@app.command("train")
def make(on: str, name: str, seed: int = 0, seeds: Path = Path("seeds")):
    """Train the flow map NAME of the setting ON ("digits", "triangle" or "ring") from one seed."""
    torch.set_num_threads(1)
    seeds.mkdir(exist_ok=True)
    network, seconds = trained(on, name, seed)
    notes = dict(seed=seed, seconds=seconds, settings=recipe(on, name))
    path = seeds / f"flow-{on}-{name}-{seed}"
    if on in PLANE:
        torch.save(dict(weights=network.state_dict(), **notes), path.with_suffix(".pt"))
    else:
        save_weights(network, path.with_suffix(".safetensors"), **notes)
    print(f"{on} {name} {seed}: {seconds} s", flush=True)


def stored(on, name, seed, seeds):
    """(model, seconds) of a flow map that `make` wrote."""
    path = seeds / f"flow-{on}-{name}-{seed}"
    if on == "digits":
        network = load_weights(path.with_suffix(".safetensors"))
        return MeanVelocity(network), network.notes["seconds"]
    kept, network = torch.load(path.with_suffix(".pt"), weights_only=True), PlaneNetwork()
    network.load_state_dict(kept["weights"])
    return MeanVelocity(network.requires_grad_(False)), kept["seconds"]


# --- measuring ----------------------------------------------------------------------------------------------


def digits_figures(made, labels):
    """Fréchet distances, and the share of near copies, of N images without labels and with them: `made`
    takes labels or None."""
    free, classed = made(None), made(labels)
    copies = (nearest_neighbour_ratio(free, digits("train")[0]) < 0.5).mean()
    return {
        "no label": round(frechet_distance(free), 3),
        "label": round(frechet_distance(classed), 3),
        "read right": round(class_accuracy(classed, labels), 4),
        "copies": round(float(copies), 4),
    }


def plane_figures(made, on):
    """Sliced Wasserstein distance to POINTS fresh points of the data, and the share far from every mode."""
    fresh = PLANE[on].sample(POINTS, 5)
    return {"W2": round(sliced_wasserstein(made, fresh), 4), "astray": round(astray(made, on), 4)}


def floor_of(on, draws=5):
    """The sliced Wasserstein distance of POINTS points of the data to others: mean of so many draws."""
    found = [plane_figures(PLANE[on].sample(POINTS, 10 + i), on)["W2"] for i in range(draws)]
    return round(sum(found) / draws, 4)


def figures_of(on, way, seed, counts=CALLS):
    """What `way(noise, calls, labels)` makes from noise of level 1, by the number of calls."""
    if on in PLANE:
        noise = initial_noise(POINTS, 2, 77)
        return {str(calls): plane_figures(way(noise, calls, None), on) for calls in counts}
    noise, labels = initial_noise(N, (1, 8, 8), seed), digit_labels(N, seed)
    return {str(calls): digits_figures(partial(way, noise, calls), labels) for calls in counts}


def two_jumps(model, on, seed):
    """Root mean square distance between one jump from 1 to 0 and two by way of a time between, by that
    time."""
    noise = initial_noise(1000, 2 if on in PLANE else (1, 8, 8), 500 + seed)
    one = model.map(noise, 1.0, 0.0)
    middles = (0.1, 0.25, 0.5, 0.75, 0.9)
    two = {m: model.map(model.map(noise, 1.0, m), m, 0.0) for m in middles}
    return {f"{m:g}": round(float((x - one).square().mean().sqrt()), 4) for m, x in two.items()}


@torch.no_grad()
def measured(on, name, seed, seeds):
    """The row of one flow map: seconds, its figures by calls, those of its velocity u(x, t, t) followed in 64
    steps of DDIM, and how far two jumps are from one."""
    model, seconds = stored(on, name, seed, seeds)

    def way(noise, calls, label):
        return jump(model.with_label(label), noise, calls)

    def flow(noise, calls, label):
        return sample(ddim, model.with_label(label), noise, grids.uniform(Flow(), calls, 1.0, 0.0)).x

    row = {"seed": seed, "seconds": seconds} | figures_of(on, way, seed)
    row["velocity"] = figures_of(on, flow, seed, (64,))["64"]
    return row | {"two jumps": two_jumps(model, on, seed)}


def kept(path):
    """The record at this path, or an empty one."""
    return json.loads(path.read_text()) if path.exists() else {"digits": {}, "triangle": {}, "ring": {}}


def keep(found, path):
    """Write the record; its folder is made if need be."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


@app.command("record")
def record(on: str, name: str, seeds: Path = Path("seeds"), path: Path = RECORD, folder: Path = WEIGHTS):
    """Measure the flow map NAME of the setting ON from the seeds there are, and ship that of seed 0 if it is
    one of SHIPPED."""
    torch.set_num_threads(1)
    found = kept(path)
    there = [seed for seed in SEEDS if any(seeds.glob(f"flow-{on}-{name}-{seed}.*"))]
    found[on][name] = [measured(on, name, seed, seeds) for seed in there]
    found |= {"n": N, "points": POINTS}
    if on in PLANE:
        found["floor"] = found.get("floor", {}) | {on: floor_of(on)}
    if on == "digits" and name in SHIPPED:
        network = load_weights(seeds / f"flow-{on}-{name}-0.safetensors")
        digest = ship(f"flow-map-{name}", network, folder, **network.notes, script="train_flow_maps.py")
        print(f"flow-map-{name}: sha256 {digest}")
    keep(found, path)


# --- consistency models, in two ways ------------------------------------------------------------------------


def consistency_ways(model):
    """Ways to make samples with a consistency model of chapter 5, name -> way(noise, calls, labels).

    "fresh noise": jump to the end and add noise anew (`distill.consistency`) at levels of Karras's grid, as
    many as there are calls; "low levels": the same at chapter 5's own levels, up to 4 calls; "no noise": the
    noise that the jump itself implies, which is DDIM."""
    schedule = EDM()

    def fresh(noise, calls, label, times=None):
        times = grids.karras(schedule, calls) if times is None else times
        return sample(consistency, model.with_label(label), noise * START, times, draws=0).x

    def low(noise, calls, label):
        return fresh(noise, calls, label, refinement_times(calls))

    def still(noise, calls, label):
        return sample(ddim, model.with_label(label), noise * START, grids.karras(schedule, calls)).x

    return {"fresh noise": fresh, "no noise": still, "low levels": low}


def consistency_of(on, seed, seeds):
    """Chapter 5's consistency student: what ships for seed 0, or the file that its study wrote."""
    path = seeds / f"{on}-consistency-{seed}.safetensors"
    shipped = {"digits": "student-consistency", "ring": "ring-consistency"}[on]
    return as_model("consistency", load_weights(path) if seed else pretrained(shipped), on)


@app.command("consistency")
@torch.no_grad()
def measure_consistency(on: str, seeds: Path = Path("seeds"), path: Path = RECORD):
    """Measure chapter 5's consistency students of the setting ON, as many as there are."""
    torch.set_num_threads(1)
    found, rows = kept(path), {}
    there = [seed for seed in SEEDS if not seed or (seeds / f"{on}-consistency-{seed}.safetensors").exists()]
    for seed in there:
        for name, way in consistency_ways(consistency_of(on, seed, seeds)).items():
            calls = [n for n in CALLS if name != "low levels" or n <= 4]
            rows.setdefault(name, []).append({"seed": seed} | figures_of(on, way, seed, calls))
    found[on]["consistency"] = rows
    keep(found, path)


# --- distribution matching ----------------------------------------------------------------------------------


def _layers(inside, width=64):
    return nn.Sequential(
        *(nn.Linear(inside, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))
    )


def matched(seed, pairs=None, weight=0.0, match=1.0, top=5.0, steps=500, critics=2, batch=256):
    """A generator of the wide ring in one call by DMD (Yin et al. 2024): the real eps is exact, the fake one
    a small network that follows the generator, `critics` steps for each of the generator's; levels from 0.05
    to top.

    pairs: (noise, ends of the exact flow); weight: of the squared distance to them, match: of DMD."""
    torch.manual_seed(seed)
    generator, fake, real = _layers(2), _layers(3), WIDE.model(EDM())
    learn = torch.optim.Adam(generator.parameters(), 1e-3), torch.optim.Adam(fake.parameters(), 2e-3)

    def noisy(x):
        level = torch.exp(torch.empty(len(x), 1).uniform_(math.log(0.05), math.log(top)))
        eps = torch.randn_like(x)
        return x + level * eps, level, eps

    def eps_of(y, level):
        return fake(torch.cat([y / (1 + level**2).sqrt(), level.log()], 1))

    def descend(optimiser, loss):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    for _ in range(steps):
        for _ in range(critics if match else 0):
            with torch.no_grad():
                y, level, eps = noisy(generator(torch.randn(batch, 2)))
            descend(learn[1], (eps_of(y, level) - eps).square().mean())
        x = generator(torch.randn(batch, 2))
        with torch.no_grad():
            y, level, _ = noisy(x)
            pull = real.eps(y, level[:, 0]) - eps_of(y, level)  # level (fake score - real score)
        loss = match * (x * pull).sum(1).mean()
        if weight:
            rows = torch.randint(len(pairs[0]), (batch,))
            loss = loss + weight * (generator(pairs[0][rows]) - pairs[1][rows]).square().sum(1).mean()
        descend(learn[0], loss)
    return generator.requires_grad_(False)


def covered(made):
    """Of points (n, 2): how many of the wide ring's modes are the nearest one of a quarter of their share or
    more, the share of points further than four deviations from all, and the sliced Wasserstein distance."""
    distance, mode = torch.cdist(made.double(), WIDE.means).min(1)
    return {
        "modes": int((torch.bincount(mode, minlength=8) > len(made) / 32).sum()),
        "astray": round(float((distance > 4 * WIDE.stds[0]).double().mean()), 4),
        "W2": round(sliced_wasserstein(made, WIDE.sample(POINTS, 5)), 4),
    }


@app.command("matching")
def measure_matching(path: Path = RECORD, count: int = 8, steps: int = 500):
    """Train and measure generators by DMD, by regression on pairs, and by both, from eight seeds."""
    torch.set_num_threads(1)
    noise, starts = initial_noise(POINTS, 2, 77), initial_noise(4000, 2, 1, dtype=torch.float64)
    ends = reference(WIDE.model(EDM()), starts * START, START, EDM().end)
    pairs, rows = (starts.float(), ends.float()), {}
    for name, options in WAYS.items():
        made = [matched(seed, pairs, steps=steps, **options)(noise) for seed in range(count)]
        rows[name] = [covered(x) for x in made]
        print(name, rows[name], flush=True)
    keep(kept(path) | {"matching": rows}, path)


if __name__ == "__main__":
    app()
