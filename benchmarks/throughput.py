"""Images a second: our loop, as it is and as one CUDA graph, beside the loop of diffusers on one network.

Two networks, whose weights do not matter here: the one of the digits, and a U-Net of some 56 million numbers
at 32 x 32 pixels.  On a machine without a GPU the graphs and the U-Net are not run, and the page says so.
"""

import time

import torch

from toolkit import Discrete, Network, grids, initial_noise, sample
from toolkit.dpm_solver import dpmpp_2m
from toolkit.networks import DigitsMLP

STEPS = 20
BATCHES = (1, 4, 16, 64, 256, 1024)
ROUNDS = 3
TARGET = 5  # our graph over diffusers' loop, at batch 1, on the network of the digits
SCHEDULE = Discrete.quadratic()


def unet(device):
    from diffusers import UNet2DModel

    widths = (160, 320, 320, 320)
    blocks = dict(
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    net = UNet2DModel(sample_size=32, block_out_channels=widths, layers_per_block=2, **blocks)
    return (lambda x, c: net(x, c, return_dict=False)[0]), net.eval().requires_grad_(False).to(device)


def loops(call, shape, batch, runs, device) -> dict:
    """{name: a function that makes runs x batch images}: of one network, called as call(x, c)."""
    from diffusers import DPMSolverMultistepScheduler

    model = Network(call, SCHEDULE, clock="index")
    times = grids.uniform(SCHEDULE, STEPS)
    noise = initial_noise(runs * batch, shape, device=device)
    scheduler = DPMSolverMultistepScheduler(beta_schedule="scaled_linear", beta_start=1e-4, beta_end=0.02)
    scheduler.set_timesteps(STEPS, device=device)

    @torch.no_grad()
    def theirs():
        for part in noise.split(batch):
            scheduler.set_timesteps(STEPS, device=device)
            for n in scheduler.timesteps:
                part = scheduler.step(call(part, n.expand(batch)), n, part).prev_sample

    ours = {"toolkit": lambda: sample(dpmpp_2m, model, noise, times, batch_size=batch)}
    if device == "cuda":
        ours["toolkit, one graph"] = lambda: sample(
            dpmpp_2m, model, noise, times, batch_size=batch, graph=True
        )
    return {"diffusers": theirs, **ours}


def images_a_second(loop, images, device) -> float:
    """The best of a few rounds, the first, which warms up, apart."""
    best = float("inf")
    for i in range(ROUNDS + 1):
        start = time.perf_counter()
        loop()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start) if i else best
    return images / best


def measure() -> list:
    """Rows {network, device, batch, and images a second by loop, or None for what was not run}."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for name in ("digits, 8 × 8", "U-Net, 32 × 32"):
        digits = name.startswith("digits")
        for batch in BATCHES:
            row = {"network": name, "device": device, "batch": batch, "toolkit, one graph": None}
            if digits or device == "cuda":
                net = DigitsMLP().eval().requires_grad_(False).to(device) if digits else None
                call, shape = (net, (1, 8, 8)) if digits else (unet(device)[0], (3, 32, 32))
                runs = max(1, (64 if digits else 16) // batch)
                for loop, run in loops(call, shape, batch, runs, device).items():
                    row[loop] = round(images_a_second(run, runs * batch, device), 1)
            rows.append(row)
    return rows


def page(rows: list) -> list:
    """Lines of the page of results."""
    lines = [
        "## Images a second",
        "",
        f"DPM-Solver++ (2M), {STEPS} calls, on {'a GPU' if rows[0]['device'] == 'cuda' else 'the CPU'}; one "
        "network, called by all loops. Target: at batch 1 on the network of the digits, one graph makes "
        f"at least {TARGET} times the images that diffusers' loop makes. Where there is no GPU, neither "
        "graphs nor the U-Net are run.",
        "",
        "| network | batch | diffusers | toolkit | our graph | toolkit / diffusers | graph / diffusers |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        speeds = [r.get(k) for k in ("diffusers", "toolkit", "toolkit, one graph")]
        ratios = [ours / speeds[0] if ours else None for ours in speeds[1:]]
        cells = [f"{v:.0f}" if v else "not run" for v in speeds]
        cells += [f"{v:.2f}" if v else "not run" for v in ratios]
        lines.append("| " + " | ".join([r["network"], str(r["batch"]), *cells]) + " |")
    return lines
