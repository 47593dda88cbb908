"""Error against model calls, ours and other libraries': a mixture whose flow is known, so that the network's
own error is out of it.

Two tables.  In the first every solver, a peer's too, works on the same grid with the model asked at exactly
its own noise levels, in float64: algorithms are compared.  In the second the peers run as they come: their
own tables in float32, their own grids, the model asked at their whole numbers of steps.
"""

import math
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.peers import part
from toolkit import (
    VE,
    VP,
    Discrete,
    Mixture,
    ddim,
    dpm_solver,
    grids,
    initial_noise,
    multistep,
    ode,
    sample,
)
from toolkit.convergence import reference

CALLS = (5, 10, 20, 50, 100, 200)
FIVE = Mixture(
    [0.15, 0.25, 0.2, 0.25, 0.15],
    [[1.2, 0.3], [-0.4, 1.1], [-1.1, -0.5], [0.5, -1.0], [0.0, 0.1]],
    [0.45, 0.5, 0.55, 0.6, 0.65],
)
STARTS, SEED = 256, 0

# name: sampler, options
OURS = {
    "DDIM = DPM-Solver-1": (ddim.ddim, {}),
    "Euler in t": (ode.euler, {"variable": "t"}),
    "Heun in sigma / alpha": (ode.heun, {"variable": "sigma"}),
    "Heun in lambda": (ode.heun, {"variable": "lam"}),
    "RK4 in lambda": (ode.rk4, {"variable": "lam"}),
    "DPM-Solver-2": (dpm_solver.dpm_solver_2, {}),
    "DPM-Solver-3": (dpm_solver.dpm_solver_3, {}),
    "DPM-Solver-fast": (dpm_solver.dpm_solver_fast, {}),
    "DPM-Solver++ 2S": (dpm_solver.dpmpp_2s, {}),
    "DPM-Solver++ 2M": (dpm_solver.dpmpp_2m, {}),
    "DPM-Solver++ 2M, exact form": (dpm_solver.dpmpp_2m, {"form": "exact"}),
    "DPM-Solver++ 3M": (dpm_solver.dpmpp_3m, {}),
    "3M with a divided difference": (dpm_solver.dpmpp_3m_divided, {}),
    "exponential AB-4": (multistep.exponential_ab, {"order": 4}),
    "exponential AB-2 in eps": (multistep.exponential_ab, {"order": 2, "prediction": "eps"}),
    "exponential AB-3 in eps": (multistep.exponential_ab, {"order": 3, "prediction": "eps"}),
    "DEIS-3, tAB": (multistep.deis, {}),
    "DEIS-4, rhoAB": (multistep.deis, {"order": 4, "variant": "rhoab"}),
    "iPNDM-4": (multistep.ipndm, {}),
    "PNDM": (multistep.pndm, {}),
    "UniPC-2, bh2": (multistep.unipc, {"order": 2}),
    "UniPC-3, bh2": (multistep.unipc, {}),
}

# name: scheduler of diffusers, its options
SCHEDULERS = {
    "diffusers DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "diffusers DPM++ 2M, heun": ("DPMSolverMultistepScheduler", {"solver_type": "heun"}),
    "diffusers DPM++ 3M": ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    "diffusers UniPC-2": ("UniPCMultistepScheduler", {"solver_order": 2}),
    "diffusers UniPC-3": ("UniPCMultistepScheduler", {"solver_order": 3}),
    "diffusers DEIS-2 (log rho)": ("DEISMultistepScheduler", {"solver_order": 2}),
    "diffusers DEIS-3 (log rho)": ("DEISMultistepScheduler", {"solver_order": 3}),
}

# name: sampler of k-diffusion, its options, calls a step
SAMPLERS = {
    "k-diffusion euler": ("euler", {}, 1),
    "k-diffusion heun": ("heun", {}, 2),
    "k-diffusion dpm_2": ("dpm_2", {}, 2),
    "k-diffusion lms": ("lms", {}, 1),
    "k-diffusion dpmpp_2s": ("dpmpp_2s_ancestral", {"eta": 0.0}, 2),
    "k-diffusion dpmpp_2m": ("dpmpp_2m", {}, 1),
    "k-diffusion dpmpp_3m_sde, eta 0": ("dpmpp_3m_sde", {"eta": 0.0}, 1),
}

AS_THEY_COME = {
    "diffusers DDIM, leading": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "diffusers PNDM, leading": ("PNDMScheduler", {"skip_prk_steps": True}),
    **{
        f"{name}, {how}": (kind, {**options, **more})
        for name, (kind, options) in SCHEDULERS.items()
        for how, more in (("linspace", {}), ("karras", {"use_karras_sigmas": True}))
    },
}


# --- peers on our grid (the tests use these too) ---------------------------------------------------------


@contextmanager
def in_float64():
    """DPM-Solver in diffusers casts every state to float32; within this, that means float64."""
    from diffusers import schedulers

    double = SimpleNamespace(**{**vars(torch), "float32": torch.float64})
    multi, single = schedulers.scheduling_dpmsolver_multistep, schedulers.scheduling_dpmsolver_singlestep
    with patch.object(multi, "torch", double), patch.object(single, "torch", double):
        yield


def by_diffusers(kind, options, model, x, times, zs=()):
    """The states (steps + 1, B, ...) of a scheduler of diffusers that works on our grid, the first one x.

    kind: the class.  zs: the noises of an SDE's steps.  No lowered order at the end unless options ask for
    it.
    """
    ending = {} if "DEIS" in kind.__name__ else {"final_sigmas_type": "sigma_min"}
    theirs = kind(**{"lower_order_final": False, **ending, **options})
    theirs.set_timesteps(len(times) - 1)
    theirs.sigmas = torch.from_numpy(np.exp(-model.schedule.lam(np.array(times))))
    theirs.timesteps = torch.arange(len(times) - 1)
    states = [x]
    for i, t in enumerate(times[:-1]):
        extra = {"variance_noise": zs[i]} if zs else {}
        x = theirs.step(model.eps(x, t), theirs.timesteps[i], x, **extra).prev_sample
        states.append(x)
    return torch.stack(states)


def by_k_diffusion(name, options, model, x, times, zs=()):
    """The last state of k-diffusion's sample_NAME on our grid, alpha = 1 (a VE or EDM schedule's model)."""
    sampling = part("k_diffusion", "sampling", absent=("torchvision.transforms.functional",))
    queue = list(zs)
    if "sde" in name or "ancestral" in name:
        options = {"noise_sampler": lambda a, b: queue.pop(0) if queue else torch.zeros_like(x), **options}
    denoiser = lambda y, sigma: model.x0(y, float(model.schedule.t_of_lam(-math.log(float(sigma[0])))))
    sigmas = torch.from_numpy(model.schedule.sigma(np.array(times)))
    return getattr(sampling, f"sample_{name}")(denoiser, x, sigmas, disable=True, **options)


# --- tables ----------------------------------------------------------------------------------------------


def steps_for(calls, solver, options):
    """The steps with which a solver makes at most so many calls, or None."""
    fitting = [n for n in range(1, calls + 1) if solver.nfe(n) <= calls]
    return fitting[-1] if fitting else None


def row(name, run, want) -> dict:
    """{name, errors: {calls: rmse or None}}; run(calls) gives a state, or None where nothing fits."""
    errors = {}
    for calls in CALLS:
        try:
            got = run(calls)
        except (IndexError, ValueError) as problem:
            errors[calls] = f"{type(problem).__name__}"
            continue
        errors[calls] = None if got is None else float(f"{float((got - want).square().mean().sqrt()):.3g}")
    return {"name": name, "errors": errors}


def same_grid() -> list:
    """VP from t = 1 to 1e-3, uniform in lambda, float64; k-diffusion the same in x / alpha."""
    model, x = FIVE.model(VP()), initial_noise(STARTS, 2, SEED, torch.float64)
    want = reference(model, x, 1.0, 1e-3)
    grid = lambda steps: grids.uniform_lambda(VP(), steps).tolist()
    rows = []
    for name, (solver, options) in OURS.items():
        steps = lambda calls, solver=solver, options=options: steps_for(calls, solver, options)
        run = lambda calls, steps=steps, solver=solver, options=options: (
            sample(solver, model, x, grid(steps(calls)), **options).x if steps(calls) else None
        )
        rows.append(row(name, run, want))
    try:
        import diffusers
    except ImportError:
        diffusers = None
    if diffusers:
        with in_float64():
            for name, (kind, options) in SCHEDULERS.items():
                run = lambda calls, kind=kind, options=options: by_diffusers(
                    getattr(diffusers, kind), options, model, x, grid(calls)
                )[-1]
                rows.append(row(name, run, want))
    try:
        part("k_diffusion", "sampling", absent=("torchvision.transforms.functional",))
    except ImportError:
        return rows
    plain, alpha = VE(), VP().alpha(1.0)
    start, end = (plain.t_of_lam(VP().lam(t)) for t in (1.0, 1e-3))
    for name, (sampler, options, cost) in SAMPLERS.items():
        run = lambda calls, sampler=sampler, options=options, cost=cost: VP().alpha(1e-3) * by_k_diffusion(
            sampler,
            options,
            FIVE.model(plain),
            x / alpha,
            grids.uniform_lambda(plain, calls // cost, start, end).tolist(),
        )
        rows.append(row(name, run, want))
    return rows


def as_they_come() -> list:
    """diffusers with its own float32 tables, time steps and defaults, to the noise of its first step, beside
    three of ours on the same table.  [] without diffusers.
    """
    try:
        import diffusers
    except ImportError:
        return []
    schedule = Discrete(diffusers.DDIMScheduler().betas.double().numpy())
    model, x = FIVE.model(schedule), initial_noise(STARTS, 2, SEED, torch.float64)
    first = 1 / schedule.T
    rows = []
    for name in ("DDIM = DPM-Solver-1", "DPM-Solver++ 2M", "DPM-Solver++ 3M", "UniPC-3, bh2"):
        solver, options = OURS[name]
        run = lambda calls, solver=solver, options=options: (
            sample(solver, model, x, grids.uniform_lambda(schedule, calls, end=first), **options).x
        )
        rows.append(row(f"toolkit {name}, uniform in lambda", run, reference(model, x, 1.0, first)))
    for name, (kind, options) in AS_THEY_COME.items():

        def run(calls, kind=kind, options=options):
            ending = {"final_sigmas_type": "sigma_min"} if "DPM" in kind or "UniPC" in kind else {}
            theirs = getattr(diffusers, kind)(**ending, **options)
            theirs.set_timesteps(calls)
            y = x.float()
            for t in theirs.timesteps:
                y = theirs.step(model.eps(y.double(), (int(t) + 1) / schedule.T).float(), t, y).prev_sample
            return y.double()

        rows.append(row(name, run, reference(model, x, 1.0, first)))
    return rows


def measure() -> dict:
    """{"same grid": rows, "as they come": rows}."""
    return {"same grid": same_grid(), "as they come": as_they_come()}


def page(tables: dict) -> list:
    """The lines of this part of the page."""
    shown = lambda value: "" if value is None else value if isinstance(value, str) else f"{value:.2g}"
    lines = [
        "## Error against model calls",
        "",
        f"Root mean square error, against the exact flow, of {STARTS} samples of a mixture of five "
        "Gaussians in the plane (deviations .45 to .65), from pure noise. First every solver on the same "
        "grid: VP from t = 1 to 1e-3, steps equal in lambda, float64, the model asked at exactly the noise "
        "levels that the solver works with. A solver of several calls a step takes as many steps as fit.",
        "",
    ]
    header = ["| solver | " + " | ".join(map(str, CALLS)) + " |", "|---|" + "---|" * len(CALLS)]
    # a results file keeps its keys as strings
    body = lambda rows: [
        f"| {r['name']} | "
        + " | ".join(shown({str(k): v for k, v in r["errors"].items()}[str(n)]) for n in CALLS)
        + " |"
        for r in rows
    ]
    lines += header + body(tables["same grid"])
    if tables["as they come"]:
        lines += [
            "",
            "diffusers as it comes, from T to the noise of its first step: its own float32 tables, its own "
            "time steps (the model is asked at whole numbers of them), the order of its last steps lowered "
            "below 15 steps, beside ours on the same table with steps equal in lambda.",
            "",
        ]
        lines += header + body(tables["as they come"])
    return lines
