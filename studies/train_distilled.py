"""Train the students of chapter 5 and record how good they are:

    python -m studies.train_distilled teacher                     the digits' teacher, first
    python -m studies.train_distilled student digits consistency  one student, with --seed 0, 1, 2
    python -m studies.train_distilled student digits guided-1     the guided ones of 8, 4, 2 and 1 steps
    python -m studies.train_distilled record digits consistency   measure it, and ship the one of seed 0
    python -m studies.train_distilled plane                       measure the plane's teachers
    python -m studies.train_distilled again                       measure the digits' teacher anew
    python -m studies.train_distilled straightness                what one call of reflow's students lacks

A student is written to the folder `seeds`, which is not part of the project, with its recipe in the file's
notes; `record` measures what lies there and puts it into book/ch05/recorded/distillation.json, where the rows
of the others stay as they are.  "guided-1" starts from the "guided" that ships: record that one first.
Seconds are those of one core and depend on the machine; everything else does not."""

import json
import statistics
import time
from functools import cache, partial
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
    FEW,
    FEW_STEPS,
    OPTIONS,
    RECIPES,
    START,
    as_model,
    few_steps,
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
LOWER_LAST = (("2M", dpmpp_2m, (4, 5, 6, 7, 8, 12)),)  # with a last step of first order
SIX_ROUNDS = {"rounds": (32, 16, 8, 4, 2, 1), "steps": (300, 300, 600, 1000, 1300, 1500)}
CONTROLS = {  # students of the digits by another recipe, which do not ship: name -> its student, what differs
    "progressive, DDIM first": ("progressive", {"first_heun": None}),
    "progressive, six rounds": ("progressive", SIX_ROUNDS),
    "progressive, six rounds, DDIM first": ("progressive", SIX_ROUNDS | {"first_heun": None}),
    "CD, 18 levels": ("consistency-distilled", {"levels": (18, 18)}),
    "CD, 8 to 18 levels": ("consistency-distilled", {"levels": (8, 18)}),
    "guided, noisy data alone": ("guided", {"share": 0.0}),
    "reflow, uniform times": ("reflow", {"t_sampler": "uniform"}),
}
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
    """Train the student NAME of the setting ON ("digits", "ring", "swiss roll") from one seed; "guided-1" on
    the way makes those of more steps.  NAME may be one of CONTROLS."""
    torch.set_num_threads(1)
    seeds.mkdir(exist_ok=True)
    began = time.process_time()
    if name in CONTROLS:
        base, change = CONTROLS[name]
        options = OPTIONS["digits"][base] | change
        models = {name: RECIPES[base](setting(on), seed, **options)}
    elif name in FEW:
        by_steps, options = few_steps(seed, FEW[name]), FEW_STEPS
        models = {other: by_steps[n] for other, n in FEW.items() if n in by_steps}
    else:
        models = {name: train(name, on, seed)}
        options = OPTIONS["digits" if on == "digits" else "plane"][name]
    notes = dict(seed=seed, seconds=round(time.process_time() - began), settings=_told(options))
    for name, model in models.items():
        save_weights(model.network, seeds / f"{on}-{name}-{seed}.safetensors", **notes)
    print(f"{on} {', '.join(models)} {seed}: {notes['seconds']} s", flush=True)


def _told(options):
    """Options as a file's notes can hold them: a function by its name."""
    told = {}
    for key, value in options.items():
        if isinstance(value, partial):
            value = [value.func.__name__, value.keywords]
        told[key] = getattr(value, "__name__", value)
    return told


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


def _solver(model, sampler, steps, **options):
    times = grids.karras(EDM(), steps)
    return lambda noise: sample(sampler, model, noise, times, **options).x


def _teacher_figures(solvers, **options):
    ways = {f"{name} {steps}": (sampler, steps) for name, sampler, counts in solvers for steps in counts}

    def measured(way, seed):
        return digits_figures(lambda label: _solver(teacher().with_label(label), *way, **options), seed)

    return {name: [measured(way, seed) for seed in SEEDS] for name, way in ways.items()}


def _stored(on, name, seed, seeds, kind=None):
    network = load_weights(seeds / f"{on}-{name}-{seed}.safetensors")
    return as_model(kind or name, network, on), network.notes["seconds"]


def student_row(on, name, seed, seeds, kind=None):
    """Seconds to train a stored student, and what 1, 2 and 4 steps give."""
    model, seconds = _stored(on, name, seed, seeds, kind)
    row = {"seed": seed, "seconds": seconds}
    for steps in (1, 2, 4):

        def images(label):
            return lambda noise: jump(model.with_label(label), noise, steps, seed)  # noqa: B023

        row[str(steps)] = digits_figures(images, seed) if on == "digits" else plane_figures(images(None), on)
    return row


def _student_figures(on, name, seeds, kind=None):
    """A row for each seed."""
    return [student_row(on, name, seed, seeds, kind) for seed in (SEEDS if on != "swiss roll" else SEEDS[:1])]


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


@cache
def _goal(scale, seed):
    """The guided teacher's digits, of labels and noise that no one else has, in 18 steps of DDIM."""
    labels, noise = digit_labels(N, seed + 10), initial_noise(N, (1, 8, 8), seed + 10) * START
    return _solver(Guided(teacher(), labels, scale), ddim, 18)(noise)


def _to_goal(model_of, way, seed):
    """Fréchet distance, by the scale, from `_goal` to the digits of `model_of(labels, scale)` in this way,
    sampler and steps, from the noise of `seed`."""
    labels, noise = digit_labels(N, seed), initial_noise(N, (1, 8, 8), seed) * START
    made = {scale: _solver(model_of(labels, scale), *way)(noise) for scale in SCALES}
    return {f"{s:g}": round(frechet_distance(x, _goal(s, seed)), 3) for s, x in made.items()}


def _targets(models, steps):
    """Fréchet distances to the *guided teacher's* digits of other noise, by the scale: of a guided student
    (one for each seed, `models`) in so many steps of DDIM, between the two `_bounds`."""
    rows = []
    for seed, model in zip(SEEDS, models):
        made = {"student": _to_goal(_at(model), (ddim, steps), seed)} | _bounds(seed)
        row = {scale: {who: by_scale[scale] for who, by_scale in made.items()} for scale in made["floor"]}
        rows.append({"seed": seed} | row)
    return rows


@cache
def _bounds(seed):
    """The same distances of the guided teacher itself, the floor, and of the teacher without guidance, both
    in 18 steps."""
    return {
        "floor": _to_goal(lambda labels, scale: Guided(teacher(), labels, scale), (ddim, 18), seed),
        "unguided": _to_goal(lambda labels, scale: teacher().with_label(labels), (ddim, 18), seed),
    }


def _at(model):
    return lambda labels, scale: at_scale(model.with_label(labels), scale)


def _control_figures(name, seeds):
    """The rows of a control, as its student has them."""
    base, _ = CONTROLS[name]
    models = [_stored("digits", name, seed, seeds, base)[0] for seed in SEEDS]
    return _targets(models, 18) if base == "guided" else _student_figures("digits", name, seeds, base)


def _few_steps_figures(seeds):
    """The guided students of few steps: "seconds" to train them, `_targets` for each number of steps, and
    under "solvers" what the guided student that ships reaches with so many calls of a solver."""
    found = {"solvers": {}}
    for name, steps in FEW.items():
        models, seconds = zip(*(_stored("digits", name, seed, seeds) for seed in SEEDS))
        found[f"{steps}"] = _targets(models, steps)
    for name, sampler, counts in (("DDIM", ddim, (1, 2, 4, 8)), ("2M", dpmpp_2m, (2, 3, 4, 5, 6, 8))):
        for steps in counts:
            rows = [_to_goal(_at(student("guided")), (sampler, steps), seed) for seed in SEEDS]
            found["solvers"][f"{name} {steps}"] = rows
    return found | {"seconds": list(seconds)}


def _floor(on):
    """The sliced Wasserstein distance between POINTS fresh points and POINTS others: mean of five."""
    points = [mixture(on).sample(POINTS, seed) for seed in (5, 10, 11, 12, 13, 14)]
    return statistics.mean(sliced_wasserstein(points[0], other) for other in points[1:])


@app.command("record")
def record(on: str, name: str, seeds: Path = Path("seeds"), path: Path = RECORD, folder: Path = WEIGHTS):
    """Measure the student NAME of the setting ON, from all its seeds, put it into the record at PATH, and
    copy that of seed 0 to FOLDER; the swiss roll's do not ship."""
    torch.set_num_threads(1)
    found, names = json.loads(path.read_text()), [name]
    if name in FEW:
        names, found["guided, few steps"] = list(FEW), _few_steps_figures(seeds)
    elif name == "guided":
        found["guided"] = _guided_figures(seeds)
        models = [_stored(on, name, seed, seeds)[0] for seed in SEEDS]
        found["guided target"] = _targets(models, 18)
    elif name in CONTROLS:
        names, found["controls"][name] = [], _control_figures(name, seeds)
    else:
        found[on][name] = _student_figures(on, name, seeds)
    for one in names if on != "swiss roll" else ():
        network = load_weights(seeds / f"{on}-{one}-0.safetensors")
        digest = ship(file_name(one, on), network, folder, **network.notes, script="train_distilled.py")
        print(f"{file_name(one, on)}: sha256 {digest}")
    path.write_text(json.dumps(found, indent=1) + "\n")


@app.command("plane")
def plane(path: Path = RECORD):
    """Measure the floor and the teachers of the plane, and put them into the record at PATH."""
    found = json.loads(path.read_text()) | {"n": N, "points": POINTS}
    for on in ("ring", "swiss roll"):
        found[on]["floor"] = round(_floor(on), 4)
        for steps in (1, 2, 4, 18):
            found[on][f"DDIM {steps}"] = plane_figures(_solver(setting(on).teacher, ddim, steps), on)
    path.write_text(json.dumps(found, indent=1) + "\n")


@app.command("again")
def again(path: Path = RECORD):
    """Measure the digits' teacher anew, some minutes, and put it into the record at PATH."""
    torch.set_num_threads(1)
    found = json.loads(path.read_text())
    found["teacher"] = _teacher_figures(WAYS)
    found["teacher, first-order last step"] = _teacher_figures(LOWER_LAST, lower_last=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def _pair_errors(model, pairs):
    """Root mean square distance of a student's images in 1, 2, 4, 16 and 64 steps from the teacher's ends of
    the same noise; pairs: (noise, ends, labels)."""
    noise, ends, labels = pairs
    made = {steps: jump(model.with_label(labels), noise, steps) for steps in (1, 2, 4, 16, 64)}
    return {f"{steps}": round(float((x - ends).square().mean().sqrt()), 4) for steps, x in made.items()}


@app.command("straightness")
def straightness(seeds: Path = Path("seeds"), path: Path = RECORD):
    """Measure, for seed 0 of reflow and of its control, the errors on N pairs that it was trained on and on N
    others, and put them into the record at PATH: many steps follow the student's own flow."""
    torch.set_num_threads(1)
    seen = [values[:N] for values in setting("digits").pairs(OPTIONS["digits"]["reflow"]["pairs"], 0)]
    both = {"trained on": seen, "others": setting("digits").pairs(N, 50)}
    found = json.loads(path.read_text())
    found["reflow, errors"] = {}
    for name in ("reflow", "reflow, uniform times"):
        model, _ = _stored("digits", name, 0, seeds, "reflow")
        found["reflow, errors"][name] = {which: _pair_errors(model, pairs) for which, pairs in both.items()}
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    app()
