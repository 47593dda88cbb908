"""What the page offers to begin with: settings that belong to a section of the book."""

import html
from typing import NamedTuple
from urllib.parse import urlencode


class Preset(NamedTuple):
    """A section, its chapter's file, what is set up, what to look at, the settings by the page's names."""

    section: str
    chapter: str
    title: str
    see: str
    settings: dict


PRESETS = (
    Preset("2.5", "02_ddim", "DDIM at ten and at fifty calls",
           "Nearly the same digits from the same noise; five times the calls.",
           {"data": "digits", "schedule": "linear", "label": "turns",
            "a": "ddim", "a.grid": "strided", "a.calls": 10,
            "b": "ddim", "b.grid": "strided", "b.calls": 50}),
    Preset("2.10", "02_ddim", "DDIM undone",
           "From the exact end back into the noise. Five repetitions a step undo DDIM's steps exactly, at "
           "six times the calls; the distance to the exact noise that is left is DDIM's own error.",
           {"data": "ring", "a": "ddim_invert", "a.calls": 20,
            "b": "ddim_invert", "b.calls": 120, "b.iterations": 5}),
    Preset("3.5", "03_sde_ode", "One ODE, two variables",
           "Euler in t and in σ/α at ten calls: the same curves, another error.",
           {"data": "field", "a": "euler", "a.grid": "uniform", "a.calls": 10,
            "b": "euler", "b.grid": "uniform", "b.calls": 10, "b.variable": "sigma"}),
    Preset("3.6", "03_sde_ode", "Orders 2 and 4 at the same calls",
           "Heun and RK4 at 40 calls; raise both to 80 and see by how much each error falls.",
           {"data": "wide_ring", "a": "heun", "a.calls": 40, "a.variable": "sigma",
            "b": "rk4", "b.calls": 40, "b.variable": "sigma", "a.grid": "uniform_lambda",
            "b.grid": "uniform_lambda"}),
    Preset("3.8", "03b_solvers", "A step that is too long",
           "Euler's method in t, explicit and implicit, at four steps on a narrow Gaussian.",
           {"data": "gaussian", "schedule": "sub_vp", "a": "euler", "a.grid": "uniform", "a.calls": 4,
            "b": "implicit_euler", "b.grid": "uniform", "b.calls": 8}),
    Preset("4.5", "04_dpm_solver", "2M at ten calls",
           "DPM-Solver++(2M) beside DDIM: what remembering one prediction is worth.",
           {"data": "ring", "a": "dpmpp_2m", "a.grid": "uniform_lambda", "a.calls": 10,
            "b": "ddim", "b.grid": "uniform_lambda", "b.calls": 10}),
    Preset("4.9", "04_dpm_solver", "The same solver on two grids",
           "2M at eight calls, equal steps in λ and Karras's grid with ρ = 7, on digits.",
           {"data": "digits", "schedule": "edm", "label": "turns",
            "a": "dpmpp_2m", "a.grid": "uniform_lambda", "a.calls": 8,
            "b": "dpmpp_2m", "b.grid": "karras", "b.rho": 7, "b.calls": 8}),
    Preset("4.13", "04b_family", "The third order that is not",
           "3M and the form that libraries have, on modes that overlap.",
           {"data": "five", "a": "dpmpp_3m", "a.grid": "uniform_lambda", "a.calls": 40,
            "b": "dpmpp_3m_divided", "b.grid": "uniform_lambda", "b.calls": 40}),
    Preset("4.19", "04b_family", "Steps that the solver chooses",
           "RK45 and DPM-Solver-23: look at the times in the table of numbers.",
           {"data": "ring", "a": "rk45", "b": "dpm_solver_adaptive"}),
    Preset("6.1", "06_amed", "Every solver guesses a mean",
           "DDIM takes the direction at the start of a step, DPM-Solver-2 one in between; "
           "at six calls each, and at twenty.",
           {"data": "triangle", "schedule": "edm", "a": "ddim", "a.grid": "karras", "a.calls": 6,
            "b": "dpm_solver_2", "b.grid": "karras", "b.calls": 6}),
    Preset("8.7", "08_practice", "Steps for each sample by itself",
           "Each sample has its own time; the calls that are counted are rounds.",
           {"data": "ring", "a": "adaptive_per_sample",
            "b": "ddim_adaptive", "b.extrapolate": 1, "b.tol": 0.03}),
    Preset("8.11", "08b_conditions", "Guidance at w = 3",
           "The digit 3 with twice the calls a step; try w = 1 and w = 0.",
           {"data": "digits", "schedule": "edm", "label": 3, "w": 3, "a": "edm_heun", "a.grid": "karras",
            "a.calls": 40, "b": "dpmpp_2m", "b.grid": "karras", "b.calls": 20}),
)  # fmt: skip


def listed() -> str:
    """The list items of the page: a link that sets the page up, which other pages may have too, such as
    `playground/index.html#section-4.5`; and one to the chapter.
    """
    return "\n".join(map(_item, PRESETS))


def _item(preset):
    name, settings = f"section-{preset.section}", html.escape(urlencode(preset.settings))
    return (
        f'<li id="{name}" data-settings="{settings}">'
        f'<a href="#{name}">{preset.section} {html.escape(preset.title)}</a> '
        f'<span>{html.escape(preset.see)} <a href="../chapters/{preset.chapter}.html">'
        f"Read section {preset.section}</a></span></li>"
    )
