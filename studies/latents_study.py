"""Digits of 28 x 28 pixels from smaller things: previews of 7 x 7 pixels, and latents.

    python -m studies.latents_study preview    # trains and ships the preview network: half a minute
    python -m studies.latents_study scales     # previews refined: three minutes, recorded/scales.json
    python -m studies.latents_study latents    # latents and joint training: four minutes, recorded/latents.json

Times are those of one core.  Distances are from the digits for training; what real digits of the test split
have is their floor."""

import json
from pathlib import Path

import numpy as np
import torch
import typer
from torch import nn

from studies.shipping import WEIGHTS, ship
from toolkit import EDM, VP, Network, grids, initial_noise, sample
from toolkit.data import digit_labels, digits
from toolkit.metrics import class_accuracy, digit_features, frechet_from_features
from toolkit.multistep import ipndm
from toolkit.networks import MLP, digits_model
from toolkit.ode import edm_heun
from toolkit.scales import PrincipalLatents, enlarge, restart, shrink
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
LEVELS = (0.35, 0.7, 1.4, 2.8, 5.6)


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
                found[f"{kind} | {level} | {calls}"] = ruler(sample(ipndm, model, x, times).x, labels)
    return found


@app.command()
def scales(n: int = 200, seeds: int = 8):
    """Previews refined by the large network from several levels, and the large network alone."""
    torch.set_num_threads(1)
    ruler, runs = Ruler(), []
    for seed in range(seeds):
        runs.append(refined(digit_labels(n, seed, 28), seed, ruler))
        print(seed, flush=True)
    table = {name: {what: [run[name][what] for run in runs] for what in runs[0][name]} for name in runs[0]}
    about = "kind | level at which the large network takes over | its calls: one number a seed"
    record("scales", about, {"n": n, "seeds": seeds, "runs": table})


# --- latents --------------------------------------------------------------------------------------------


class Autoencoder(nn.Module):
    """Images (n, 1, 28, 28) to k numbers and back, two layers each way."""

    def __init__(self, k, width=192):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, width), nn.SiLU(), nn.Linear(width, k))
        self.decoder = nn.Sequential(nn.Linear(k, width), nn.SiLU(), nn.Linear(width, 784))

    def encode(self, images):
        return self.encoder(images.flatten(1))

    def decode(self, latents):
        return self.decoder(latents).view(-1, 1, 28, 28)


def trained_autoencoder(images, k, steps=3000, seed=0):
    """An autoencoder of least squares, and the function pair that makes its latents unit variance."""
    torch.manual_seed(seed)

    def loss(generator):
        x = images[torch.randint(len(images), (128,), generator=generator)]
        return (net.decode(net.encode(x)) - x).square().mean()

    net = Autoencoder(k)
    best = fit(net, loss, steps=steps, lr=2e-3, ema=0.99, seed=seed).net.requires_grad_(False)
    z = best.encode(images)
    std, mean = torch.std_mean(z, 0)
    return lambda x: (best.encode(x) - mean) / std, lambda z: best.decode(z * std + mean)


def prior_samples(latents, labels, wanted, steps=4000, seed=0):
    """Latents (n, k) of a diffusion trained on `latents`, one for each wanted label."""
    torch.manual_seed(seed)
    net = MLP(latents.shape[1:], 10, width=160, blocks=4, condition=96)
    settings = SHARED | dict(steps=steps, sigma_data=1.0, t_sampler=("lognormal", -0.6, 1.2), seed=seed)
    net = train(net, latents, EDM(), labels=labels, **settings).net.requires_grad_(False)
    model, times = Network(net, EDM(), "edm", label=wanted, sigma_data=1.0), grids.karras(EDM(), 18)
    noise = initial_noise(len(wanted), latents.shape[1:], seed + 7) * times[0]
    return sample(edm_heun, model, noise, times).x


def of_latents(encode, decode, ruler, wanted):
    """The floors and the samples of one pair of encoder and decoder."""
    (train_set, labels), (test, truth) = digits("train", 28), digits("test", 28)
    again, z = decode(encode(test)), encode(train_set)
    gaussian = decode(initial_noise(len(wanted), z.shape[1:], 3))
    return {
        "lost": round(float((again - test).square().mean()), 5),
        "reconstructed": ruler(again, truth),
        "samples": ruler(decode(prior_samples(z, labels, wanted)), wanted),
        "normal latents": ruler(gaussian, wanted),
    }


# --- joint training -------------------------------------------------------------------------------------


def jointly(images, care, ruler, wanted, steps=2500, k=16, seed=0):
    """Autoencoder and diffusion of its latents by one loss, squared error of the image and of eps.

    care: "none"; "unit": latents of each batch brought to mean 0 and variance 1 before noise is added; "stop":
    the second loss has no gradient into the encoder, and sees the latents at unit variance.
    """
    torch.manual_seed(seed)
    net = nn.ModuleDict({"code": Autoencoder(k), "noise": MLP((k,), 0, width=96, blocks=3)})
    schedule, track = VP(), {"deviation": [], "eps": [], "image": []}

    def loss(generator):
        x = images[torch.randint(len(images), (128,), generator=generator)]
        z = net["code"].encode(x)
        std, mean = torch.std_mean(z.detach() if care == "stop" else z, 0)
        told = z if care == "none" else (z - mean) / std
        told = told.detach() if care == "stop" else told
        t = 0.001 + 0.999 * torch.rand(len(x), generator=generator)
        eps = torch.randn(told.shape, generator=generator)
        alpha, sigma = (f(t).float()[:, None] for f in (schedule.alpha, schedule.sigma))
        wrong = (net["noise"](alpha * told + sigma * eps, t) - eps).square().mean()
        image = (net["code"].decode(z if care == "none" else told_back(told, z, care)) - x).square().mean()
        for name, value in (("deviation", z.std(0).mean()), ("eps", wrong), ("image", image)):
            track[name].append(float(value.detach()))
        return image + wrong

    told_back = lambda told, z, care: told if care == "unit" else z  # noqa: E731
    best = fit(net, loss, steps=steps, lr=1e-3, ema=0.99, seed=seed).net.requires_grad_(False)
    z = best["code"].encode(images)
    std, mean = torch.std_mean(z, 0)
    scale, shift = (torch.ones(k), torch.zeros(k)) if care == "none" else (std, mean)
    model = Network(best["noise"], schedule, "eps")
    run = sample(edm_heun, model, initial_noise(len(wanted), k, 5), grids.karras(schedule, 18))
    back = lambda z: best["code"].decode(z if care != "stop" else z * scale + shift)  # noqa: E731
    test = digits("test", 28)[0]
    coded = best["code"].encode(test)
    again = best["code"].decode((coded - shift) / scale if care == "unit" else coded)
    return {
        "deviation": [round(float(np.mean(track["deviation"][i : i + 50])), 5) for i in range(0, steps, 100)],
        "eps": round(float(np.mean(track["eps"][-300:])), 4),
        "lost": round(float((again - test).square().mean()), 5),
        "samples": ruler(back(run.x), wanted)["distance"],
    }


@app.command()
def latents(n: int = 1000, trainings: int = 3):
    """Latents of several sizes with their floors, and joint training."""
    torch.set_num_threads(1)
    ruler, wanted = Ruler(), digit_labels(n, 0, 28)
    images, (test, truth) = digits("train", 28)[0], digits("test", 28)
    found = {"n": n, "floor": ruler(test, truth), "latents": {}, "joint": {}}
    for k in (4, 8, 16, 32, 64):
        principal = PrincipalLatents(images, k)
        found["latents"][f"principal, {k}"] = of_latents(principal.encode, principal.decode, ruler, wanted)
    for k in (8, 16):
        found["latents"][f"autoencoder, {k}"] = of_latents(*trained_autoencoder(images, k), ruler, wanted)
    print(json.dumps(found["latents"], indent=1), flush=True)
    for care in ("none", "unit", "stop"):
        found["joint"][care] = [jointly(images, care, ruler, wanted, seed=s) for s in range(trainings)]
        print(care, [(run["deviation"][-1], run["eps"], run["samples"]) for run in found["joint"][care]])
    model, times = digits_model(EDM(), wanted, "large-digits"), grids.karras(EDM(), 12)
    noise = times[0] * initial_noise(n, (1, 28, 28), 0)
    found["pixels, 12 calls"] = ruler(sample(ipndm, model, noise, times, batch_size=250).x, wanted)
    record(
        "latents", "Distances from the 4,000 digits for training, at n; floor: the real test digits", found
    )


if __name__ == "__main__":
    app()
