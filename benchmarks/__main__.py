"""`python -m benchmarks`: measure, print, and write benchmarks/results/<machine>.json and .md.

Overheads are ratios of loops run in turn in one process; the best of many rounds is what a busy machine
disturbs least.
"""

import argparse
import json
import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks import loops
from benchmarks.timing import fresh_process, summary

RESULTS = Path(__file__).parent / "results"
CHAPTERS = Path(__file__).parents[1] / "chapters"
IMPORTS = {
    "torch": "import torch",
    "toolkit": "import toolkit",
    "toolkit, its core": "from toolkit import VP, Mixture, Network, grids, sample",
    "chapter 1's sampler": "from toolkit import Network, grids, sample; from toolkit.ddpm import ddpm",
    "chapter 2's sampler": "from toolkit import Network, grids, sample; from toolkit.ddim import ddim",
    "chapter 2, all of it": "from toolkit import data, networks, plots, widgets; import toolkit.ddim",
}
IMPORT_TARGET = 1.15


def machine() -> dict:
    """The machine and the versions, without names or paths that are its owner's."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        cpu = names[0] if names else cpu
    packages = {}
    for name in ("torch", "numpy", "diffusers", "k-diffusion", "smalldiffusion"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": packages,
    }


def tag(about: dict) -> str:
    """A file name for a machine: its processor and cores."""
    short = re.sub(r"\(R\)|\(TM\)|CPU|Processor|@.*", " ", about["cpu"])
    return re.sub(r"[^a-z0-9]+", "-", f"{short} {about['cores']} cores".lower()).strip("-")


def imports(rounds: int) -> list:
    """Rows {name, best_us, median_us, ratio}: imports in fresh processes, in turn, against `import torch`."""
    taken = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            taken[name].append(fresh_process(code))
    rows = [{"name": name, **summary(seconds)} for name, seconds in taken.items()]
    return [{**row, "ratio": round(row["best_us"] / rows[0]["best_us"], 3)} for row in rows]


def chapters() -> list:
    """Rows {name, seconds}: each chapter run once from top to bottom, its kernel's start included."""
    import nbformat
    from nbclient import NotebookClient

    rows = []
    for path in sorted(CHAPTERS.glob("[0-9][0-9]_*.ipynb")):
        start = time.perf_counter()
        NotebookClient(
            nbformat.read(path, as_version=4), timeout=600, resources={"metadata": {"path": CHAPTERS}}
        ).execute()
        rows.append({"name": path.stem, "seconds": round(time.perf_counter() - start, 1)})
    return rows


def page(results: dict) -> str:
    """The results as a page to read."""
    about = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["packages"].items() if number)
    lines = [
        "# Measured",
        "",
        f"{about['cpu']}, {about['cores']} cores, {about['threads']} thread in use, {about['system']}, "
        f"Python {about['python']}; {versions}.",
        "",
        f"Load average while measuring: {results['load']}. Other work may have shared the machine: trust the "
        "best times and their ratios, and read the medians as a measure of the disturbance.",
        "",
        "## Time a step, beyond the model",
        "",
        "A model that returns a constant tensor; states of 1x8x8 float32; loops run in turn, "
        f"{results['rounds']} rounds; what a run prepares before its first step is shared out over its "
        "steps. The floor is the same arithmetic written out over floats computed beforehand, with "
        f"`torch.randn` at each step for DDPM. Target: at most {loops.TARGET} times the floor. Our DDPM's "
        "noise is a Brownian path (the same whatever the batch split, and on finer grids): with 2, 10, 20, "
        "100, 200 or 1000 equal steps it costs one draw a step, on other grids several.",
        "",
        "| family | loop | steps | batch | best, µs | median, µs | best / floor | median / floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results["loops"]:
        cells = [
            r[k]
            for k in ("family", "name", "steps", "batch", "best_us", "median_us", "ratio", "median_ratio")
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "Peers that are not installed are left out.", "", "## Imports", ""]
    lines += [f"In fresh processes, in turn. Target: at most {IMPORT_TARGET} times `import torch`.", ""]
    lines += ["| import | best, ms | median, ms | best / torch |", "|---|---|---|---|"]
    for r in results["imports"]:
        lines.append(
            f"| {r['name']} | {r['best_us'] / 1e3:.0f} | {r['median_us'] / 1e3:.0f} | {r['ratio']} |"
        )
    if results["chapters"]:
        lines += ["", "## Chapters", "", "Run from top to bottom, the kernel's start included.", ""]
        lines += ["| chapter | seconds |", "|---|---|"]
        lines += [f"| {r['name']} | {r['seconds']} |" for r in results["chapters"]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each loop (default 30)")
    parser.add_argument("--skip-chapters", action="store_true", help="do not run the chapters")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {
        "machine": machine(),
        "rounds": options.rounds,
        "loops": [row for case in loops.CASES for row in loops.measure(*case, options.rounds)],
        "imports": imports(max(3, options.rounds // 3)),
        "chapters": [] if options.skip_chapters else chapters(),
    }
    results["load"] = round(os.getloadavg()[1], 1) if hasattr(os, "getloadavg") else None
    RESULTS.mkdir(exist_ok=True)
    name = tag(results["machine"])
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    text = page(results)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)
    print(f"Written: benchmarks/results/{name}.json and .md")


if __name__ == "__main__":
    main()
