"""Train the students of chapter 5 and record how good they are:

    python -m studies.train_distilled teacher                     the digits' teacher, first
    python -m studies.train_distilled student digits consistency  one student, with --seed 0, 1, 2
    python -m studies.train_distilled record                      measure all, and ship those of seed 0
    python -m studies.train_distilled again                       measure anew what ships

A student is written to the folder `seeds`, which is not part of the project; `record` measures what lies
there and writes book/ch05/recorded/distillation.json.  Seconds are those of one core and depend on the
machine; everything else does not."""

import json
import statistics
import time
from pathlib import Path

import torch
import typer

from book import folders
from studies.shipping import WEIGHTS, ship
from toolkit import grids
from toolkit.convergence import reference
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.distill import at_scale
from toolkit.distilled import (
    METHODS,
    OPTIONS,
    START,
    as_model,
    file_name,
    jump,
    mixture,
    setting,
    student,
    teacher,
    train,
)
from toolkit.dpm_solver import dpmpp_2m
from toolkit.metrics import class_accuracy, frechet_distance, nearest_neighbour_ratio, sliced_wasserstein
from toolkit.models import Guided
from toolkit.networks import DIGITS_SIGMA_DATA, DigitsMLP, load_weights, save_weights
from toolkit.noise import initial_noise
from toolkit.ode import edm_heun
from toolkit.sampling import sample
from toolkit.schedules import EDM
from toolkit.training import train as train_denoiser

RECORD = folders.folder("05") / "recorded" / "distillation.json"
SEEDS = (0, 1, 2)
N = 2000  # images for each Fréchet distance
POINTS = 4000  # points for each sliced Wasserstein distance
SCALES = (1.0, 2.0, 3.0, 4.0)
WAYS = (  # the teacher's settings: name in the record, sampler, steps
    ("DDIM", ddim, (1, 2, 4, 8, 18, 64)),
    ("2M", dpmpp_2m, (3, 4, 5, 6, 7, 8, 12, 18)),
    ("Heun", edm_heun, (3, 4, 5, 6, 8, 12, 18, 128)),  # 128: the flow itself
)
app = typer.Typer(add_completion=False)


@app.command("teacher")
def make_teacher(folder: Path = WEIGHTS):
    """Train the digits' teacher: the recipe of the `digits` network, with half of the labels dropped."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = digits("train")
    settings = dict(
        predicts="edm", sigma_data=DIGITS_SIGMA_DATA, p_uncond=0.5, steps=5000, batch=256, lr=2e-3, seed=0
    )
    run = train_denoiser(DigitsMLP(), images, EDM(), labels=labels, progress=True, **settings)
    digest = ship("digits-teacher", run.net, folder, settings=settings, script="train_distilled.py")
    print(f"digits-teacher: {run.seconds:.0f} s, sha256 {digest}")


@app.command("student")
def make_student(on: str, name: str, seed: int = 0, seeds: Path = Path("seeds")):
    """Train the student NAME of the setting ON ("digits", "ring", "swiss roll") from one seed."""
    torch.set_num_threads(1)
    seeds.mkdir(exist_ok=True)
    began = time.process_time()
    model = train(name, on, seed)
    seconds = round(time.process_time() - began)
    save_weights(model.network, seeds / f"{on}-{name}-{seed}.safetensors", seed=seed, seconds=seconds)
    print(f"{on} {name} {seed}: {seconds} s", flush=True)


# --- measuring ----------------------------------------------------------------------------------------------


def digits_figures(model_of, seed):
    """Fréchet distance with and without labels, accuracy and share of near copies of N images;
    `model_of(label)` -> noise -> images."""
    labels = digit_labels(N, seed)
    noise = initial_noise(N, (1, 8, 8), seed) * START
    free, classed = model_of(None)(noise), model_of(labels)(noise)
    training = digits("train")[0]
    return {
        "unconditional": round(frechet_distance(free), 3),
        "conditional": round(frechet_distance(classed), 3),
        "accuracy": round(class_accuracy(classed, labels), 4),
        "copies": round(float((nearest_neighbour_ratio(free, training) < 0.5).mean()), 4),
    }


def plane_figures(images_of, on):
    """Root mean square and median distance to the exact end of the trajectory, and the sliced Wasserstein
    distance to POINTS fresh points, beside that of another POINTS fresh points."""
    noise = initial_noise(POINTS, 2, 77) * START
    exact = reference(setting(on).teacher, noise[:1000], START, EDM().end)
    made = images_of(noise)
    distance = (made[:1000] - exact).square().sum(1).sqrt()
    return {
        "rms": round(float(distance.square().mean().sqrt()), 4),
        "median": round(float(distance.median()), 4),
        "sliced Wasserstein": round(sliced_wasserstein(made, mixture(on).sample(POINTS, 5)), 4),
    }


def _solver(model, sampler, steps):
    times = grids.karras(EDM(), steps)
    return lambda noise: sample(sampler, model, noise, times).x


def _teacher_figures():
    ways = {f"{name} {steps}": (sampler, steps) for name, sampler, counts in WAYS for steps in counts}

    def measured(way, seed):
        return digits_figures(lambda label: _solver(teacher().with_label(label), *way), seed)

    return {name: [measured(way, seed) for seed in SEEDS] for name, way in ways.items()}


def _stored(on, name, seed, seeds):
    network = load_weights(seeds / f"{on}-{name}-{seed}.safetensors")
    return as_model(name, network, on), network.notes["seconds"]


def _student_figures(on, name, seeds):
    """A row for each seed: seconds, and what 1, 2 and 4 steps give."""

    def measured(model, steps, seed):
        def images(label):
            return lambda noise: jump(model.with_label(label), noise, steps, seed)

        return digits_figures(images, seed) if on == "digits" else plane_figures(images(None), on)

    rows = []
    for seed in SEEDS if on != "swiss roll" else SEEDS[:1]:
        model, seconds = _stored(on, name, seed, seeds)
        found = {str(steps): measured(model, steps, seed) for steps in (1, 2, 4)}
        rows.append({"seed": seed, "seconds": seconds} | found)
    return rows


def _guided_figures(seeds):
    """The guided student against `Guided`, both 18 steps of DDIM: 18 calls against 36."""
    rows = []
    for seed in SEEDS:
        model, seconds = _stored("digits", "guided", seed, seeds)
        labels = digit_labels(N, seed)
        noise = initial_noise(N, (1, 8, 8), seed) * START
        plain = _solver(teacher().with_label(labels), ddim, 18)(noise)
        row = {"seed": seed, "seconds": seconds}
        for scale in SCALES:
            want = _solver(Guided(teacher(), labels, scale), ddim, 18)(noise)
            got = _solver(at_scale(model.with_label(labels), scale), ddim, 18)(noise)
            row[f"{scale:g}"] = {
                "teacher": round(frechet_distance(want), 3),
                "student": round(frechet_distance(got), 3),
                "rmse": round(float((got - want).square().mean().sqrt()), 4),
                "rmse without guidance": round(float((plain - want).square().mean().sqrt()), 4),
            }
        rows.append(row)
    return rows


def _guided_target():
    """Fréchet distances to the *guided teacher's* digits of other noise, by the scale: of the shipped guided
    student, of the guided teacher itself (the floor), and of the teacher without guidance.  A row for each
    seed of the noise; 18 steps of DDIM each."""
    rows, model = [], student("guided")
    for seed in SEEDS:
        labels, others = digit_labels(N, seed), digit_labels(N, seed + 10)
        noise, other = (initial_noise(N, (1, 8, 8), s) * START for s in (seed, seed + 10))
        plain = _solver(teacher().with_label(labels), ddim, 18)(noise)
        row = {"seed": seed}
        for scale in SCALES:
            goal = _solver(Guided(teacher(), others, scale), ddim, 18)(other)
            made = {
                "student": _solver(at_scale(model.with_label(labels), scale), ddim, 18)(noise),
                "floor": _solver(Guided(teacher(), labels, scale), ddim, 18)(noise),
                "unguided": plain,
            }
            row[f"{scale:g}"] = {who: round(frechet_distance(x, goal), 3) for who, x in made.items()}
        rows.append(row)
    return rows


def _of_shipped_networks():
    """What needs the shipped networks alone: the teacher's settings, and the guided student's goal."""
    return {"teacher": _teacher_figures(), "guided target": _guided_target()}


def _floor(on):
    """The sliced Wasserstein distance between POINTS fresh points and POINTS others: mean of five."""
    points = [mixture(on).sample(POINTS, seed) for seed in (5, 10, 11, 12, 13, 14)]
    return statistics.mean(sliced_wasserstein(points[0], other) for other in points[1:])


@app.command("record")
def record(seeds: Path = Path("seeds"), path: Path = RECORD, folder: Path = WEIGHTS):
    """Measure everything, write it to PATH, and copy the students of seed 0 to FOLDER."""
    found = {"n": N, "points": POINTS, "guided": _guided_figures(seeds)}
    for on in ("digits", "ring", "swiss roll"):
        found[on] = {name: _student_figures(on, name, seeds) for name in METHODS}
    for on in ("ring", "swiss roll"):
        found[on]["floor"] = round(_floor(on), 4)
        for steps in (1, 2, 4, 18):
            found[on][f"DDIM {steps}"] = plane_figures(_solver(setting(on).teacher, ddim, steps), on)
    for on, kind in (("digits", "digits"), ("ring", "plane")):
        for name in OPTIONS[kind]:
            network = load_weights(seeds / f"{on}-{name}-0.safetensors")
            ship(file_name(name, on), network, folder, **network.notes, script="train_distilled.py")
    path.write_text(json.dumps(found | _of_shipped_networks(), indent=1) + "\n")


@app.command("again")
def again(path: Path = RECORD):
    """Measure anew what asks the shipped networks alone, some minutes, and put it into the record at PATH."""
    torch.set_num_threads(1)
    found = json.loads(path.read_text()) | _of_shipped_networks()
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    app()
