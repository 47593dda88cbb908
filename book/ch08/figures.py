"""Figures of chapter 8: practice."""

import numpy as np

from book.plots import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    Picture,
    array,
    bars,
    image_grid,
    listing,
    mark,
    new_figure,
    number,
    style,
)
from book.problems import rms

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


def previews_refined(rows) -> Picture:
    """Previews, and what the large network makes of them from several levels: dict label -> (n, 1, h, w)."""
    enlarged = array(rows["enlarged"])
    told = [
        f"{name} {number(rms(array(images) - enlarged))}" for name, images in rows.items() if "from" in name
    ]
    return image_grid(
        rows,
        alt=f"{len(enlarged)} digits in columns; rows: {listing(rows, 8)}. RMS distance from the "
        f"enlarged preview: {listing(told, 8)}.",
    )


def one_level(enlarged, state, digits, distance) -> Picture:
    """For the widget: enlarged previews, the noisy state, the refined digits (n, 1, 28, 28), and how far
    these are from the previews once they are small again."""
    rows = {"enlarged": enlarged, "with noise": state, "refined": digits}
    return image_grid(
        rows,
        noisy=[False, True, False],
        title=f"made small again, {distance:.2f} from the preview",
        alt=f"{len(enlarged)} previews enlarged, with noise, and what the large network makes of them; "
        f"made small again these are {number(distance)} from the previews.",
    )


@style()
def hidden_detail(spectra, levels=(0.35, 1.4, 5.6)) -> Picture:
    """The power of digits at each frequency, of what enlarging has not got, and of noise: label -> (m,)."""
    fig, ax = new_figure(height=3.4)
    told = []
    for i, (name, power) in enumerate(spectra.items()):
        ax.plot(np.arange(1, len(power)), power[1:], label=name, **mark(i))
        told.append(f"{name} has at most {number(power[1:].max())}")
    for level in levels:
        ax.axhline(level**2, color=GREY, linestyle=":", linewidth=1.2)
        ax.annotate(f"noise of level {level:g}", (len(power) - 1, level**2), (0, 3), fontsize=8.5,
                    textcoords="offset points", ha="right", color=INK)  # fmt: skip
    ax.set(yscale="log", xlabel="frequency, waves across the picture", ylabel="power")
    ax.legend(loc="upper right")
    return Picture(
        fig,
        f"Power against frequency, from 1 to {len(power) - 1} waves: {listing(told)}. Noise of level "
        f"{listing([f'{level:g}' for level in levels])} is flat at "
        f"{listing([number(level**2) for level in levels])}.",
    )


@style()
def refined(curves, others) -> Picture:
    """Distance against the level of refinement.  curves: label -> (levels, means, standard errors); others:
    label -> distance, as lines across."""
    fig, ax = new_figure(height=3.7)
    told = []
    for i, (name, (levels, means, errors)) in enumerate(curves.items()):
        ax.errorbar(levels, means, 2 * np.array(errors), label=name, capsize=3, **mark(i))
        best = int(np.argmin(means))
        told.append(
            f"{name} {number(means[0])} from {levels[0]:g}, least {number(means[best])} from {levels[best]:g}"
        )
    for (name, value), look in zip(others.items(), (":", "-.", "--", "-")):
        ax.axhline(value, color=GREY, linestyle=look, linewidth=1.3, label=name)
    ax.set(xscale="log", yscale="log", xlabel="level where the large network takes over", ylabel="distance")
    ax.set_xticks(levels, [f"{level:g}" for level in levels])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    lines_told = [f"{name} {number(value)}" for name, value in others.items()]
    return Picture(
        fig, f"Distance of refined previews by level; {'; '.join(told)}. Beside them {listing(lines_told)}."
    )


def floors(values, real) -> Picture:
    """Bars of distances of reconstructions and samples by latents; real: that of real digits, a line."""
    picture = bars(values, "distance", fmt="{:.2g}", reference=(real, "real digits"), height=3.6)
    (ax,) = picture.axes
    ax.set_ylim(0, 1.35 * max(max(row.values()) for row in values.values()))
    ax.legend(ncols=4, loc="upper center", fontsize=8.5)
    return picture


@style()
def topics(papers) -> Picture:
    """A timeline of open topics.  papers: dict topic -> list of (year, name)."""
    fig, ax = new_figure(height=0.62 * len(papers) + 0.7)
    years = [year for found in papers.values() for year, _ in found]
    for i, found in enumerate(papers.values()):
        ax.plot([min(y for y, _ in found), max(y for y, _ in found)], [i, i], color=GREY, linewidth=1)
        for j, (year, name) in enumerate(found):
            ax.plot(year, i, MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], markeredgecolor=INK)
            up = j % 2 == 0
            ax.annotate(name, (year, i), (0, 6 if up else -6), textcoords="offset points", fontsize=8,
                        ha="center", va="bottom" if up else "top")  # fmt: skip
    ax.set_yticks(range(len(papers)), list(papers))
    ax.set_xticks(range(min(years), max(years) + 1))
    ax.set_xlim(min(years) - 0.6, max(years) + 0.9)
    ax.set_ylim(len(papers) - 0.4, -0.6)
    ax.grid(False, axis="y")
    told = [
        f"{topic}: {listing([f'{name} {year}' for year, name in found], 6)}"
        for topic, found in papers.items()
    ]
    return Picture(fig, f"A timeline of papers by topic. {'; '.join(told)}.")


# --- the contest ----------------------------------------------------------------------------------------
