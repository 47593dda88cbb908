"""What each fast solver costs a call beyond the model: every registered solver of chapters 3 and 4, the two
multistep floors written out by hand, and the solvers of other libraries.
"""

import itertools
import sys
from types import SimpleNamespace

import torch

from benchmarks.loops import SCHEDULE, SHAPE, ours
from benchmarks.peers import part
from benchmarks.timing import interleaved, summary
from toolkit import Network, dpm_solver, grids, multistep, ode, sample, sde
from toolkit.exponential import adams_table
from toolkit.sampling import REGISTRY

RUNS = itertools.count()  # of the loops that need other times at each run
CASES = [(20, 1), (20, 64), (100, 1)]  # steps, batch
TARGET, UNIPC_TARGET = 1.8, 40.0  # 2M and 3M: times their floor; UniPC-3: microseconds
MODULES = [module.__name__ for module in (ode, sde, dpm_solver, multistep)]
VARIANTS = {
    "dpmpp_2m(form='exact')": (dpm_solver.dpmpp_2m, {"form": "exact"}),
    "exponential_ab(order=4)": (multistep.exponential_ab, {"order": 4}),
    "deis(variant='rhoab')": (multistep.deis, {"variant": "rhoab"}),
    "ipndm(variable_step=True)": (multistep.ipndm, {"variable_step": True}),
    "unipc(order=2)": (multistep.unipc, {"order": 2}),
    "unipc(corrector=False)": (multistep.unipc, {"corrector": False}),
}


def every_solver() -> dict:
    """{label: (sampler, options)}: what chapters 3 and 4 register, and some of its variants."""
    registered = {name: (f, {}) for name, f in REGISTRY.items() if f.__module__ in MODULES}
    return {**registered, **VARIANTS}


def with_new_weights(sampler, x, constant, times):
    """The sampler's loop on times that differ in their last digits from run to run."""

    def loop():
        shift = 1 - 1e-12 * next(RUNS)
        ours(sampler, x, constant, [t * shift for t in times])()

    return loop


def floor(x, constant, times, order):
    """2M (order 2) or 3M (order 3) written out by hand: the network's eps is made x0, the weights are floats
    computed beforehand.
    """
    rows = adams_table(SCHEDULE, times, order)
    alpha, sigma = ([level(t) for t in times] for level in (SCHEDULE.alpha, SCHEDULE.sigma))
    p, q = [1 / a for a in alpha], [-s / a for a, s in zip(alpha, sigma)]
    a = [row.a for row in rows]
    first, second, third = ([(*row.weights, 0.0, 0.0)[j] for row in rows] for j in range(3))
    net, steps = lambda x, c: constant, range(len(rows))

    def two():
        y, m1 = x, constant
        for i in steps:
            m = p[i] * y + q[i] * net(y, None)
            y = a[i] * y + first[i] * m + second[i] * m1
            m1 = m

    def three():
        y, m1, m2 = x, constant, constant
        for i in steps:
            m = p[i] * y + q[i] * net(y, None)
            y = a[i] * y + first[i] * m + second[i] * m1 + third[i] * m2
            m1, m2 = m, m1

    return {2: two, 3: three}[order]


def diffusers_loops(x, constant, steps):
    """{name: loop} of its fast schedulers; ImportError without it."""
    import diffusers as d

    kinds = {
        "DPMSolverMultistep, 2M": d.DPMSolverMultistepScheduler(),
        "DPMSolverMultistep, 3M": d.DPMSolverMultistepScheduler(solver_order=3),
        "DPMSolverMultistep, 2M SDE": d.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
        "DPMSolverSinglestep, 2": d.DPMSolverSinglestepScheduler(solver_order=2, lower_order_final=True),
        "UniPC, 2": d.UniPCMultistepScheduler(solver_order=2),
        "UniPC, 3": d.UniPCMultistepScheduler(solver_order=3),
        "DEIS, 3": d.DEISMultistepScheduler(solver_order=3),
        "PNDM": d.PNDMScheduler(skip_prk_steps=True),
        "SASolver": d.SASolverScheduler(),
    }

    def loop_of(scheduler):
        def loop():
            scheduler.set_timesteps(steps)  # its multistep memory has to be emptied before each run
            y = x
            for t in scheduler.timesteps:
                y = scheduler.step(constant, t, y).prev_sample

        return loop

    return {f"diffusers {name}": (loop_of(kind), steps) for name, kind in kinds.items()}


def k_diffusion_loops(x, constant, steps):
    """{name: (loop, calls)} of its fast samplers; ImportError without it."""
    sampling = part("k_diffusion", "sampling", absent=("torchvision.transforms.functional",))
    sigmas = sampling.get_sigmas_karras(steps, 0.01, 80.0)
    noise = {"noise_sampler": lambda a, b: torch.randn_like(x)}
    calls = {
        "dpm_2": (2 * steps - 1, {}),
        "lms": (steps, {}),
        "dpmpp_2s_ancestral": (2 * steps - 1, noise),
        "dpmpp_2m": (steps, {}),
        "dpmpp_2m_sde": (steps, noise),
        "dpmpp_3m_sde": (steps, noise),
    }

    def loop_of(name, options):
        run = getattr(sampling, f"sample_{name}")
        return lambda: run(lambda x, sigma: constant, x, sigmas, disable=True, **options)

    return {
        f"k-diffusion sample_{name}": (loop_of(name, options), n) for name, (n, options) in calls.items()
    }


def measure(steps: int, batch: int, rounds: int) -> list:
    """Rows {name, steps, batch, calls, best_us, median_us, ratio}, microseconds a call of the model; ratio,
    best against best, for 2M and 3M only."""
    x = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))
    constant, times = torch.ones_like(x), grids.strided(SCHEDULE, steps).tolist()
    loops = {f"floor of {k}M, by hand": (floor(x, constant, times, k), steps) for k in (2, 3)}
    for name, (solver, options) in every_solver().items():
        model = Network(lambda x, c: constant, SCHEDULE)
        calls = sample(solver, model, x, times, **options).nfe
        loops[f"toolkit {name}"] = ours(solver, x, constant, times, options), calls
    for solver in (dpm_solver.dpmpp_2m, dpm_solver.dpmpp_3m, multistep.unipc):
        loops[f"toolkit {solver.__name__}, new weights"] = with_new_weights(solver, x, constant, times), steps
    for add in (diffusers_loops, k_diffusion_loops):
        try:
            loops.update(add(x, constant, steps))
        except ImportError as missing:
            print(f"left out: {add.__name__} ({missing})", file=sys.stderr)
    with torch.no_grad():
        taken = interleaved({name: loop for name, (loop, _) in loops.items()}, rounds)
    floors = {k: min(taken[f"floor of {k}M, by hand"]) for k in (2, 3)}
    rows = []
    for name, seconds in taken.items():
        calls = loops[name][1]
        row = {"name": name, "steps": steps, "batch": batch, "calls": calls, **summary(seconds, calls)}
        order = {"toolkit dpmpp_2m": 2, "toolkit dpmpp_3m": 3}.get(name)
        row["ratio"] = round(min(seconds) / floors[order], 2) if order else None
        rows.append(row)
    return rows


def page(rows: list) -> list:
    """The lines of this part of the page."""
    lines = [
        "## Time a call of every solver, beyond the model",
        "",
        "A model that returns a constant, so that all is overhead: the best time, in microseconds for each "
        "call of the model, what a run prepares before its first step shared out over its calls. The toolkit "
        "remembers its weights from run to run, as the batches of one run need the same; rows with \"new "
        "weights\" make them each time. diffusers sets its time steps anew at each run, which empties its "
        f"memory. Targets: 2M and 3M at most {TARGET} times their floors, UniPC-3 at most "
        f"{UNIPC_TARGET:g} µs.",
        "",
        "| solver | " + " | ".join(f"{s} steps, batch {b}" for s, b in CASES) + " |",
        "|---|" + "---|" * len(CASES),
    ]
    by_name = {}
    for row in rows:
        by_name.setdefault(row["name"], {})[row["steps"], row["batch"]] = SimpleNamespace(**row)
    for name, cells in by_name.items():
        shown = [cells.get(case) for case in CASES]
        text = [
            "" if c is None else f"{c.best_us}" + (f" ({c.ratio} × floor)" if c.ratio else "") for c in shown
        ]
        lines.append(f"| {name} | " + " | ".join(text) + " |")
    return lines
