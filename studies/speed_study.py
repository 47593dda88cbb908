"""What makes sampling faster on one processor core:  python -m studies.speed_study

Each row is a ratio of processor times, before over after, the medians of interleaved repetitions; recorded as
book/ch08/recorded/speed.json.  Seconds of a machine are not recorded.  Two minutes; torch.compile needs a C++
compiler."""

import copy
import json
import statistics
import time
import warnings

import torch
import typer

from studies.latents_study import RECORDED, record
from toolkit import EDM, VP, grids, initial_noise, sample
from toolkit.models import Network
from toolkit.multistep import ipndm
from toolkit.networks import digits_model, pretrained

CALLS = 10


def ratio(before, after, repetitions=7):
    """Processor time of before() over that of after(): median and range, each pair one after the other."""
    before(), after()
    found = []
    for _ in range(repetitions):
        times = []
        for run in (before, after):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
        found.append(times[0] / times[1])
    low, high = min(found), max(found)
    return {"ratio": round(statistics.median(found), 3), "range": [round(low, 3), round(high, 3)]}


def runner(net, n, dtype=torch.float32, calls=CALLS):
    """A function that draws n digits with a network in so many calls."""
    model = Network(net, EDM(), "edm", sigma_data=net.sigma_data if hasattr(net, "sigma_data") else 0.85)
    times = grids.karras(EDM(), calls)
    noise = (initial_noise(n, pretrained_shape(net)) * times[0]).to(dtype)
    return lambda: sample(ipndm, model, noise, times).x


def pretrained_shape(net):
    """The shape of a sample of a network, compiled or not."""
    return getattr(net, "_orig_mod", net).shape


def one_at_a_time(n=32):
    """Rows of one batch, drawn each alone, over all at once."""
    model, times = digits_model(EDM()), grids.karras(EDM(), CALLS)
    noise = initial_noise(n, (1, 8, 8)) * times[0]

    def alone():
        for row in noise.split(1):
            sample(ipndm, model, row, times)

    return ratio(alone, lambda: sample(ipndm, model, noise, times))


def coefficients_each_time(n):
    """A DDIM loop that asks the schedule's formulas at each step for each row, over the loop with a table."""
    model, times = digits_model(VP()), grids.uniform(VP(), 50)
    schedule, noise = model.schedule, initial_noise(n, (1, 8, 8))
    table = [(float(schedule.alpha(t)), float(schedule.sigma(t))) for t in times.tolist()]

    def loop(levels):
        x = noise
        with torch.no_grad():
            for i, (t, s) in enumerate(zip(times.tolist(), times[1:].tolist())):
                (a, c), (b, d) = levels(i, t), levels(i + 1, s)
                eps = model.eps(x, t)
                x = b / a * x + (d - b / a * c) * eps
        return x

    def formulas(i, t):
        time = torch.full((n,), t, dtype=torch.float64)
        return [f(time).float()[:, None, None, None] for f in (schedule.alpha, schedule.sigma)]

    return ratio(lambda: loop(formulas), lambda: loop(lambda i, t: table[i]))


def compiled(net, n):
    """The eager run over the compiled one, and runs until the compiling has paid."""
    fast = torch.compile(net)
    began = time.process_time()
    runner(fast, n)()
    spent = time.process_time() - began
    found = ratio(runner(net, n), runner(fast, n))
    began = time.process_time()
    runner(net, n)()
    gained = (time.process_time() - began) * (1 - 1 / found["ratio"])
    return found | {"runs until it pays": round(spent / gained) if gained > 0 else None}


def small():
    """Of the 8 x 8 network."""
    net, n = pretrained("digits"), 250
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {torch.nn.Linear})
    return {
        "one batch of 32 instead of 32 runs": one_at_a_time(),
        "a table of coefficients, 1 row": coefficients_each_time(1),
        "a table of coefficients, 250 rows": coefficients_each_time(250),
        "bf16 weights, 8 x 8, 250 rows": ratio(runner(net, n), runner(copy.deepcopy(net).bfloat16(), n)),
        "fp16 weights, 8 x 8, 250 rows": ratio(runner(net, n), runner(copy.deepcopy(net).half(), n)),
        "int8 linear layers, 8 x 8, 250 rows": ratio(runner(net, n), runner(quantised, n)),
        "torch.compile, 8 x 8, 250 rows": compiled(net, n),
    }


def large():
    """Of the 28 x 28 network, three pairs each."""
    net, n = pretrained("large-digits"), 10
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    return {
        "bf16 weights, 28 x 28, 10 rows": ratio(runner(net, n), runner(copy.deepcopy(net).bfloat16(), n), 3),
        "channels last, 28 x 28, 10 rows": ratio(runner(net, n), runner(last, n), 3),
    }


def main(only: str = "small, large"):
    """Measure the rows of ONLY and record them beside the others."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    path = RECORDED / "speed.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    for measure in (small, large):
        rows |= measure() if measure.__name__ in only else {}
    record("speed", "Processor time before over after, one thread: median and range of pairs", {"rows": rows})


if __name__ == "__main__":
    typer.run(main)
