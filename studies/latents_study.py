"""Digits of 28 x 28 pixels from smaller things: previews of 7 x 7 pixels, and latents.

    python -m studies.latents_study preview    # trains and ships the preview network: half a minute
    python -m studies.latents_study scales     # previews refined: six minutes, recorded/scales.json
    python -m studies.latents_study fresh      # the same with fresh noise: two minutes, added to scales.json
    python -m studies.latents_study latents    # latents, joint training: one minute, recorded/latents.json
    python -m studies.latents_study learned    # latents of autoencoders: three minutes, added to latents.json

Times are those of one core.  Distances are from the digits for training; what real digits of the test split
have is their floor."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import torch
import typer
from torch import nn

from studies.shipping import WEIGHTS, ship
from toolkit import EDM, VP, Network, grids, initial_noise, sample
from toolkit.data import digit_labels, digits
from toolkit.ddim import ddim
from toolkit.metrics import class_accuracy, digit_features, frechet_from_features, sliced_wasserstein
from toolkit.multistep import ipndm
from toolkit.networks import MLP, digits_model
from toolkit.ode import edm_heun
from toolkit.scales import LearnedLatents, PrincipalLatents, enlarge, restart, shrink
from toolkit.training import fit, train

app = typer.Typer(add_completion=False)
RECORDED = Path(__file__).resolve().parents[1] / "book" / "ch08" / "recorded"
MACHINE = "one core of a server's processor, torch 2.13"
SHARED = dict(
    predicts="edm",
    t_sampler=("lognormal", -1.2, 1.2),
    p_uncond=0.1,
    lr=2e-3,
    betas=(0.9, 0.99),
    warmup=100,
    ema=0.999,
    seed=0,
    batch=256,
)
PREVIEW = SHARED | dict(steps=6000, sigma_data=0.46)  # standard deviation of the means over 4 x 4 pixels
LEVELS = (0.35, 0.7, 1.4, 2.8, 5.6, 11.0, 22.0, 45.0)


def record(name, about, found):
    """Write book/ch08/recorded/NAME.json."""
    RECORDED.mkdir(exist_ok=True)
    text = json.dumps({"about": about, "machine": MACHINE} | found, indent=1)
    (RECORDED / f"{name}.json").write_text(text + "\n")


class Ruler:
    """The distance of images from the digits for training, and how many are read as their labels."""

    def __init__(self):
        self.features = digit_features(digits("train", 28)[0])

    def __call__(self, images, labels):
        distance = frechet_from_features(digit_features(images), self.features)
        return {"distance": round(distance, 4), "accuracy": round(class_accuracy(images, labels), 4)}


# --- previews -------------------------------------------------------------------------------------------


@app.command()
def preview(folder: Path = WEIGHTS):
    """Train the preview network on digits of 7 x 7 pixels and write it to FOLDER."""
    torch.set_num_threads(1)
    torch.manual_seed(PREVIEW["seed"])
    net = MLP((1, 7, 7), 10, width=96, blocks=3, condition=64)
    images, labels = digits("train", 28)
    run = train(net, shrink(images, 4), EDM(), labels=labels, **PREVIEW)
    ship("preview-digits", run.net, folder, settings=PREVIEW, schedule=repr(EDM()), script="latents_study.py")
    print(f"{run.seconds:.0f} s, loss {run.losses[-1000:].mean():.4f} over the last 1000 steps")


def previews(labels, seed):
    """Preview of each kind: label -> (images, factor).  Perfect ones are real digits for testing, shrunk."""
    images, classes = digits("test", 28)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    rows = {c: iter(order[classes[order] == c].tolist()) for c in range(10)}
    real = images[[next(rows[int(c)]) for c in labels]]
    model, times = digits_model(EDM(), labels, "preview-digits"), grids.karras(EDM(), 10)
    noise = initial_noise(len(labels), (1, 7, 7), seed + 500) * times[0]
    drawn = sample(edm_heun, model, noise, times).x
    return {"network, 7": (drawn, 4), "real, 7": (shrink(real, 4), 4), "real, 14": (shrink(real, 2), 2)}, real


def refined(labels, seed, ruler):
    """Everything that one seed draws: a name "kind | level | calls" -> distance and accuracy."""
    model, (kinds, real) = digits_model(EDM(), labels, "large-digits"), previews(labels, seed)
    noise, found = initial_noise(len(labels), (1, 28, 28), seed), {"floor": ruler(real, labels)}
    for calls in (2, 3, 4, 6, 8, 12):
        times = grids.karras(EDM(), calls)
        found[f"direct | 80 | {calls}"] = ruler(sample(ipndm, model, times[0] * noise, times).x, labels)
    for kind, (small, factor) in kinds.items():
        found[f"{kind} | 0 | 0"] = ruler(enlarge(small, factor), labels)
        for level in LEVELS:
            for calls in (2, 4) if kind == "network, 7" else (4,):
                times = grids.karras(EDM(), calls, start=level)
                x = restart(EDM(), small, factor, level, noise)
                found[f"{kind} | {level:g} | {calls}"] = ruler(sample(ipndm, model, x, times).x, labels)
    for kind, start in (("noise", torch.zeros_like(noise)), ("class mean", class_means()[labels])):
        for level in LEVELS[4:]:
            for calls in (2, 4):
                times = grids.karras(EDM(), calls, start=level)
                x = start + level * noise
                found[f"{kind} | {level:g} | {calls}"] = ruler(sample(ipndm, model, x, times).x, labels)
    return found


def class_means():
    """(10, 1, 28, 28): of the digits for training."""
    images, classes = digits("train", 28)
    return torch.stack([images[classes == label].mean(0) for label in range(10)])


def with_noise(labels, seed, ruler, calls):
    """Previews refined, and none, with fresh noise in each step and without: a name -> distance, accuracy.

    DDIM has both, so that the noise is all that differs; iPNDM is what the other tables have."""
    model, (kinds, _) = digits_model(EDM(), labels, "large-digits"), previews(labels, seed)
    small, factor = kinds["network, 7"]
    noise, found = initial_noise(len(labels), (1, 28, 28), seed), {}
    ways = {"iPNDM": (ipndm, {}), "DDIM": (ddim, {})}
    ways["DDIM, fresh noise"] = (ddim, {"eta": 1.0, "draws": seed})
    for name, level in (("from 1.4", 1.4), ("from 2.8", 2.8), ("no preview", None)):
        times = grids.karras(EDM(), calls, start=level)
        x = restart(EDM(), small, factor, level, noise) if level else times[0] * noise
        for way, (solver, options) in ways.items():
            found[f"{name} | {way}"] = ruler(sample(solver, model, x, times, **options).x, labels)
    return found


def by_seed(runs):
    """{name: {what: [each run's]}} of runs {name: {what: number}}."""
    return {name: {what: [run[name][what] for run in runs] for what in runs[0][name]} for name in runs[0]}


@app.command()
def fresh(n: int = 200, calls: int = 8, seeds: int = 8):
    """Previews refined with fresh noise in each step and without, added to the recorded scales."""
    torch.set_num_threads(1)
    ruler = Ruler()
    runs = [with_noise(digit_labels(n, seed, 28), seed, ruler, calls) for seed in range(seeds)]
    recorded = json.loads((RECORDED / "scales.json").read_text())
    record("scales", recorded["about"], recorded | {"fresh": {"calls": calls, "runs": by_seed(runs)}})


@app.command()
def scales(n: int = 200, seeds: int = 8):
    """Previews refined by the large network from several levels, and the large network alone."""
    torch.set_num_threads(1)
    ruler, runs = Ruler(), []
    for seed in range(seeds):
        runs.append(refined(digit_labels(n, seed, 28), seed, ruler))
        print(seed, flush=True)
    about = "kind | level at which the large network takes over | its calls: one number a seed"
    path = RECORDED / "scales.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    record("scales", about, kept | {"n": n, "seeds": seeds, "runs": by_seed(runs)})


# --- latents --------------------------------------------------------------------------------------------


def prior_samples(latents, labels, wanted, steps=2000, seed=0):
    """Latents (n, k) of a diffusion trained on `latents`, one for each wanted label."""
    torch.manual_seed(seed)
    net = MLP(latents.shape[1:], 10, width=128, blocks=3, condition=64)
    settings = SHARED | dict(
        steps=steps, batch=128, sigma_data=1.0, t_sampler=("lognormal", -0.6, 1.2), seed=seed
    )
    net = train(net, latents, EDM(), labels=labels, **settings).net.requires_grad_(False)
    model, times = Network(net, EDM(), "edm", label=wanted, sigma_data=1.0), grids.karras(EDM(), 18)
    noise = initial_noise(len(wanted), latents.shape[1:], seed + 7) * times[0]
    return sample(edm_heun, model, noise, times).x


def of_latents(latents, ruler, wanted, seed=0):
    """The floors and the samples of one kind of latents, and the images that were drawn."""
    (train_set, labels), (test, truth) = digits("train", 28), digits("test", 28)
    drawn = latents.decode(prior_samples(latents.encode(train_set), labels, wanted, seed=seed))
    normal = initial_noise(len(wanted), len(latents.kept), seed + 3)
    return {
        "reconstructed": ruler(latents.decode(latents.encode(test)), truth),
        "samples": ruler(drawn, wanted),
        "normal latents": ruler(latents.decode(normal), wanted),
    }, drawn


# --- autoencoders ---------------------------------------------------------------------------------------


def from_normal(codes):
    """The sliced distance of codes (n, k) from as many normal numbers."""
    return round(sliced_wasserstein(codes, initial_noise(len(codes), codes.shape[1:], 9)), 3)


def of_learned(latents, ruler, wanted, seed):
    """What `of_latents` finds, the codes' deviation before it was made 1, their distance from normal ones on
    digits for testing, and the images that were drawn."""
    found, drawn = of_latents(latents, ruler, wanted, seed)
    codes = latents.encode(digits("test", 28)[0])
    more = {"deviation": round(float(latents.kept.mean().sqrt()), 2), "from normal": from_normal(codes)}
    return found | more, drawn


def at_scale(latents, factor, ruler, wanted):
    """Samples of the same diffusion where the latents have another deviation than its levels are made for."""
    images, labels = digits("train", 28)
    drawn = prior_samples(factor * latents.encode(images), labels, wanted)
    return ruler(latents.decode(drawn / factor), wanted)


def packed(latents, drawn, wanted):
    """A reconstructed and a drawn digit of each class, as bytes in text: {"reconstructed", "drawn"}."""
    test, truth = digits("test", 28)
    rows = test[[int((truth == c).nonzero()[3]) for c in range(10)]]
    first = drawn[[int((wanted == c).nonzero()[0]) for c in range(10)]]
    kinds = {"reconstructed": latents.decode(latents.encode(rows)), "drawn": first}
    grey = {kind: ((x.clamp(-1, 1) + 1) * 127.5).round().byte().numpy() for kind, x in kinds.items()}
    return {kind: base64.b64encode(zlib.compress(x.tobytes(), 9)).decode() for kind, x in grey.items()}


KINDS = {  # name: (seeds, what makes the latents of a seed)
    "16, principal": (2, lambda images, seed: PrincipalLatents(images, 16)),
    "16, autoencoder": (2, lambda images, seed: LearnedLatents(images, 16, seed=seed)),
    "16, autoencoder with KL": (1, lambda images, seed: LearnedLatents(images, 16, kl=0.3, seed=seed)),
}


@app.command()
def learned(n: int = 1000):
    """Latents of autoencoders beside principal ones, added to the recorded latents; pictures of seed 1."""
    torch.set_num_threads(1)
    ruler, wanted, images = Ruler(), digit_labels(n, 0, 28), digits("train", 28)[0]
    found = {"normal": from_normal(initial_noise(1000, 16, 10)), "kinds": {}, "pictures": {}, "scale": {}}
    for kind, (seeds, make) in KINDS.items():
        found["kinds"][kind] = []
        for seed in range(seeds):
            latents = make(images, seed)
            row, drawn = of_learned(latents, ruler, wanted, seed)
            found["kinds"][kind].append(row)
            if seed == 1:
                found["pictures"][kind] = packed(latents, drawn, wanted)
            print(kind, row, flush=True)
    latents = LearnedLatents(images, 16)
    found["scale"] = {str(factor): at_scale(latents, factor, ruler, wanted) for factor in (0.1, 4.2)}
    recorded = json.loads((RECORDED / "latents.json").read_text())
    record("latents", recorded["about"], {**recorded, "learned": found})


# --- joint training -------------------------------------------------------------------------------------


class Joint(nn.Module):
    """An autoencoder of points (n, d) and a network of its latents' noise, trained by one loss.

    care: "none"; "unit": latents of each batch are brought to mean 0 and variance 1; "stop": so they are for
    the noise, which has no gradient into the encoder.
    """

    def __init__(self, care, d=64, k=16, width=96):
        super().__init__()
        self.care, self.noise = care, MLP((k,), width=width, blocks=2)
        self.encoder = nn.Sequential(nn.Linear(d, width), nn.SiLU(), nn.Linear(width, k))
        self.decoder = nn.Sequential(nn.Linear(k, width), nn.SiLU(), nn.Linear(width, d))

    def losses(self, x, schedule, generator):
        """Squared errors of a point and of eps, and the latents' deviation."""
        z = self.encoder(x)
        white = (z - z.mean(0)) / z.std(0)
        told = {"none": z, "unit": white, "stop": white.detach()}[self.care]
        t = 0.001 + 0.999 * torch.rand(len(x), generator=generator)
        eps = torch.randn(told.shape, generator=generator)
        alpha, sigma = (level(t).float()[:, None] for level in (schedule.alpha, schedule.sigma))
        wrong = (self.noise(alpha * told + sigma * eps, t) - eps).square().mean()
        point = (self.decoder(white if self.care == "unit" else z) - x).square().mean()
        return point, wrong, z.std(0).mean()


def jointly(images, care, ruler, wanted, steps=1500, seed=0):
    """One training by the sum of both losses, on 64 principal components, and what it draws."""
    torch.manual_seed(seed)
    net, schedule, track = Joint(care), VP(), []
    principal = PrincipalLatents(images, 64)
    scales = principal.kept.sqrt().float()
    points = principal.encode(images) * scales

    def loss(generator):
        x = points[torch.randint(len(points), (128,), generator=generator)]
        point, wrong, deviation = net.losses(x, schedule, generator)
        track.append([float(one.detach()) for one in (deviation, wrong)])
        return point + wrong

    best = fit(net, loss, steps=steps, lr=2e-3, ema=0.99, seed=seed).net.requires_grad_(False)
    z, track = best.encoder(points), np.array(track)
    std, mean = torch.std_mean(z, 0)
    again = best.decoder((z - mean) / std if care == "unit" else z)
    noise, times = initial_noise(len(wanted), z.shape[1:], 5), grids.karras(schedule, 18)
    drawn = sample(edm_heun, Network(best.noise, schedule, "eps"), noise, times).x
    drawn = best.decoder(drawn * std + mean if care == "stop" else drawn)
    return {
        "deviation": [round(float(part.mean()), 5) for part in np.split(track[:, 0], 30)],
        "eps": round(float(track[-300:, 1].mean()), 4),
        "lost": round(float((again - points).square().mean() / points.square().mean()), 4),
        "samples": ruler(principal.decode(drawn / scales), wanted)["distance"],
    }


@app.command()
def latents(n: int = 1000, trainings: int = 2):
    """Latents of several sizes with their floors, and joint training."""
    torch.set_num_threads(1)
    ruler, wanted = Ruler(), digit_labels(n, 0, 28)
    images, found = digits("train", 28)[0], {"n": n, "latents": {}, "joint": {}}
    kept = json.loads((RECORDED / "latents.json").read_text()).get("learned", {})
    found["floor"] = ruler(*digits("test", 28))
    for k in (4, 16, 64):
        found["latents"][str(k)] = of_latents(PrincipalLatents(images, k), ruler, wanted)[0]
        print(k, found["latents"][str(k)], flush=True)
    for care in ("none", "unit", "stop"):
        found["joint"][care] = [jointly(images, care, ruler, wanted, seed=s) for s in range(trainings)]
        print(care, found["joint"][care], flush=True)
    about = "Distances from the 4,000 digits for training, at n; floor: the real test digits"
    record("latents", about, found | {"learned": kept})


if __name__ == "__main__":
    app()
