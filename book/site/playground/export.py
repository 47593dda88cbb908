"""What the playground takes from the toolkit and the book, as plain data: nothing is said twice."""

import base64
import inspect

import numpy as np
import torch

from book.ch02.experiments import three_modes
from book.ch03.figures import FIELD_DATA
from book.ch04.experiments import FIVE
from book.ch06.experiments import TRIANGLE, UNEQUAL
from book.ch08.experiments import PAIR, PEAKS, moons
from book.problems import RING, WIDE_RING
from toolkit.distilled import mixture
from toolkit.networks import pretrained
from toolkit.sampling import every_sampler

# --- samplers -------------------------------------------------------------------------------------------

TITLES = {
    "Chapter 2": {
        "ddim": "DDIM",
        "ddim_adaptive": "DDIM that chooses its steps",
        "ddim_invert": "DDIM undone: data into noise",
    },
    "Chapter 3": {
        "euler": "Euler",
        "heun": "Heun",
        "edm_heun": "EDM's Heun",
        "midpoint": "Midpoint",
        "rk4": "RK4",
        "rk4_invert": "RK4 the other way: data into noise",
        "rk45": "RK45, which chooses its steps",
        "implicit_euler": "Implicit Euler",
        "trapezoid": "Trapezoidal rule, implicit",
    },
    "Chapter 4": {
        "dpm_solver_1": "DPM-Solver-1",
        "dpm_solver_2": "DPM-Solver-2",
        "dpm_solver_3": "DPM-Solver-3",
        "dpm_solver_fast": "DPM-Solver-fast",
        "dpm_solver_adaptive": "DPM-Solver-12 and -23, which choose their steps",
        "dpmpp_2s": "DPM-Solver++(2S)",
        "dpmpp_2m": "DPM-Solver++(2M)",
        "dpmpp_3m": "DPM-Solver++(3M)",
        "dpmpp_3m_divided": "DPM-Solver++(3M) as libraries have it",
        "exponential_ab": "Exponential Adams-Bashforth",
        "deis": "DEIS",
        "ipndm": "iPNDM",
        "pndm": "PNDM",
        "unipc": "UniPC",
    },
    "Chapter 8": {"adaptive_per_sample": "Steps for each sample by itself"},
}
# Deterministic samplers that the page has not, and why.
NEEDS_MORE = {
    "amed_solver": "reads a trained predictor; without one it is dpm_solver_2",
    "amed_plugin": "reads a trained predictor; without one it is its base on a finer grid",
    "weighted": "has learned weights; without them it is ddim",
    "midpoints": "has learned levels; without them it is dpm_solver_2",
    "flow_map": "asks a network of two times, trained for it; without one it is ddim",
}
RANDOM = "with noise on the way, so that there is no exact end to compare with"
# The values that an option may take, where its default does not say so.
CHOICES = {
    "variable": ["t", "sigma", "lam"],
    "mean": ["arithmetic", "geometric"],
    "prediction": ["x0", "eps"],
    "variant": ["tab", "rhoab"],
    ("dpmpp_2m", "form"): ["midpoint", "exact"],
    ("unipc", "form"): ["bh1", "bh2"],
    ("dpm_solver_adaptive", "order"): [2, 3],
    ("ipndm", "order"): [1, 2, 3, 4],
    "order": [1, 2, 3, 4, 5],
    ("ddim_invert", "iterations"): [0, 1, 2, 3, 4, 5],
    "iterations": [1, 2, 3, 4, 5],
}
# The numbers that an option may be on the page: within them every run comes to its end.
RANGES = {
    "tol": [1e-6, 0.9],
    "rtol": [1e-12, 1],
    "atol": [1e-12, 1],
    "first": [0.001, 5],
    "safety": [0.1, 1],
    "r1": [0.01, 1],
    "r2": [0.01, 1],
    "rate": [-3, 3],
}
# What the page does not offer: noise, which it has none of; earlier states; lists; a number of calls.
NOT_OFFERED = {"rng", "eta", "history", "log", "nfe"}


def deterministic() -> dict:
    """The samplers of the page, by name: those that draw no noise and need nothing that was trained for them.
    ddim draws none unless it is asked to.
    """
    chosen = {name: one for name, one in every_sampler().items() if one.kind in ("ode", "inversion")}
    return {
        name: one
        for name, one in chosen.items()
        if name not in NEEDS_MORE and (not one.random or name == "ddim")
    }


def samplers() -> dict:
    """{name: its group and title in the page's menu, what the registry promises of it, and its options}."""
    titles = {name: (group, title) for group, some in TITLES.items() for name, title in some.items()}
    return {
        name: {
            "group": titles[name][0],
            "title": titles[name][1],
            "order": one.order,
            "inversion": one.kind == "inversion",
            "adaptive": one.nfe is None,
            "options": _options(name, one),
        }
        for name, one in deterministic().items()
    }


def left_out() -> dict:
    """{name: why the page has it not}."""
    others = (name for name in every_sampler() if name not in deterministic())
    return {name: NEEDS_MORE.get(name, RANDOM) for name in others}


def _options(name, one):
    """Its options in order: {name: {"default", "choices" or None, "range" or None}}."""
    found = {}
    for option, about in list(inspect.signature(one.loop).parameters.items())[3:]:
        if option not in NOT_OFFERED:
            choices = CHOICES.get((name, option), CHOICES.get(option))
            found[option] = {"default": about.default, "choices": choices, "range": RANGES.get(option)}
    return found


# --- schedules and grids ----------------------------------------------------------------------------------

# What the page's menus say; the page's own files say how each is computed.
SCHEDULES = {
    "vp": "VP, linear β",
    "vp_cosine": "VP, cosine",
    "sub_vp": "sub-VP",
    "ve": "VE",
    "edm": "EDM, σ = t",
    "flow": "Flow matching, α = 1 − t",
    "linear": "DDPM's table, linear",
    "quadratic": "DDPM's table, quadratic",
    "sigmoid": "DDPM's table, sigmoid",
    "cosine": "DDPM's table, cosine",
}
GRIDS = {
    "uniform": "equal steps in t",
    "quadratic": "equal steps in √t",
    "uniform_lambda": "equal steps in λ",
    "karras": "equal steps in (σ/α)^(1/ρ), Karras",
    "truncated": "equal steps in λ, ends left out",
    "strided": "whole steps of DDPM's table",
}


# --- data -----------------------------------------------------------------------------------------------


def mixtures() -> dict:
    """{name: what the page's menu says, and the mixture's numbers: weights (K,), means (K, 2), and of each
    covariance the spectrum (K, 2) and the basis (K, 2, 2), its eigenvectors as columns}.
    """
    named = {
        "ring": ("Ring of eight narrow modes (chapters 2 to 4)", RING),
        "wide_ring": ("Ring of eight broad modes (chapters 3 and 4)", WIDE_RING),
        "triangle": ("Three modes (chapters 6 and 7)", TRIANGLE),
        "two_modes": ("Two equal modes (chapter 8)", PEAKS),
        "unequal": ("A broad mode and a narrow one (chapter 6)", UNEQUAL),
        "field": ("Three unequal modes (chapter 3)", FIELD_DATA),
        "long": ("Three long, thin modes (chapter 2)", three_modes()),
        "five": ("Five modes that overlap (chapter 4)", FIVE),
        "gaussian": ("One Gaussian, correlation 0.9 (chapter 8)", PAIR),
        "moons": ("Two moons (chapter 8)", moons()),
        "swiss_roll": ("Swiss roll (chapter 5)", mixture("swiss roll")),
    }
    return {name: {"title": title} | _numbers(one) for name, (title, one) in named.items()}


def _numbers(one):
    if one.stds is not None:
        spectrum = one.stds[:, None].expand(-1, 2) ** 2
        basis = torch.eye(2, dtype=torch.float64).expand(len(spectrum), 2, 2)
    else:
        spectrum, basis = torch.linalg.eigh(one.covariances)
        spectrum = spectrum.clamp(min=0)
    arrays = {"weights": one.weights, "means": one.means, "spectrum": spectrum, "basis": basis}
    return {name: array.tolist() for name, array in arrays.items()}


# --- the network ----------------------------------------------------------------------------------------


def network() -> dict:
    """The digits' network: its tensors' names and sizes, their numbers in half precision, in which they are
    shipped, as base64, one tensor after the other, by rows; and the frequencies of its sinusoids.
    """
    net = pretrained("digits")
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    halves = np.concatenate([tensor.astype("<f2").ravel() for tensor in state.values()])
    exact = np.concatenate([tensor.ravel() for tensor in state.values()])
    if not (halves.astype(np.float32) == exact).all():
        raise ValueError("the digits' weights are not half-precision numbers: write them in single precision")
    return {
        "tensors": [[name, tensor.size] for name, tensor in state.items()],
        "frequency": net.conditioning.frequency.double().tolist(),
        "sigmaData": net.notes["settings"]["sigma_data"],
        "base64": base64.b64encode(halves.tobytes()).decode("ascii"),
    }
