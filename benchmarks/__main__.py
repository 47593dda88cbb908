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

from benchmarks import errors, loops, noise, playground, solvers, throughput
from benchmarks.timing import fresh_process, summary

RESULTS = Path(__file__).parent / "results"
CHAPTERS = Path(__file__).parents[1] / "chapters"
IMPORTS = {
    "torch": "import torch",
    "toolkit": "import toolkit",
    "toolkit, its core": "from toolkit import VP, Mixture, Network, grids, sample",
    "chapter 1's sampler": "from toolkit import Network, grids, sample; from toolkit.ddpm import ddpm",
    "chapter 2's sampler": "from toolkit import Network, grids, sample; from toolkit.ddim import ddim",
    "chapter 4's samplers": "from toolkit import Network, grids, sample; from toolkit.multistep import unipc",
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
    loads = ", ".join(f"{load} ({part})" for part, load in results["load"].items())
    versions = ", ".join(f"{name} {number}" for name, number in about["packages"].items() if number)
    lines = [
        "# Measured",
        "",
        f"{about['cpu']}, {about['cores']} cores, {about['threads']} thread in use, {about['system']}, "
        f"Python {about['python']}; {versions}.",
        "",
        f"Load average while measuring: {loads}. Other work may have shared the machine: trust the best "
        "times and their ratios, and read the medians as a measure of the disturbance.",
        "",
        "## Time a step, beyond the model",
        "",
        "A model that returns a constant tensor; states of 1x8x8 float32; loops run in turn, "
        f"{results['rounds']} rounds; what a run prepares before its first step is shared out over its "
        "steps. The floor is the same arithmetic written out over floats computed beforehand, with "
        f"`torch.randn` at each step for DDPM. Target: at most {loops.TARGET} times the floor. Our DDPM's "
        "noise is a function of (seed, sample, step), the same whatever the batch split.",
        "",
        "| family | loop | steps | batch | best, µs | median, µs | best / floor | median / floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results.get("loops", []):
        cells = [
            r[k]
            for k in ("family", "name", "steps", "batch", "best_us", "median_us", "ratio", "median_ratio")
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "Peers that are not installed are left out.", ""]
    if "noise" in results:
        lines += [*noise.page(results["noise"]), ""]
    if "solvers" in results:
        lines += [*solvers.page(results["solvers"]), ""]
    if "throughput" in results:
        lines += [*throughput.page(results["throughput"]), ""]
    if "errors" in results:
        lines += [*errors.page(results["errors"]), ""]
    if results.get("playground"):
        lines += [*playground.page(results["playground"]), ""]
    lines += ["## Imports", ""]
    lines += [f"In fresh processes, in turn. Target: at most {IMPORT_TARGET} times `import torch`.", ""]
    lines += ["| import | best, ms | median, ms | best / torch |", "|---|---|---|---|"]
    for r in results.get("imports", []):
        lines.append(
            f"| {r['name']} | {r['best_us'] / 1e3:.0f} | {r['median_us'] / 1e3:.0f} | {r['ratio']} |"
        )
    if results.get("chapters"):
        lines += ["", "## Chapters", "", "Run from top to bottom, the kernel's start included.", ""]
        lines += ["| chapter | seconds |", "|---|---|"]
        lines += [f"| {r['name']} | {r['seconds']} |" for r in results["chapters"]]
    return "\n".join(lines) + "\n"


def load() -> float | None:
    """The load average of the last five minutes."""
    return round(os.getloadavg()[1], 1) if hasattr(os, "getloadavg") else None


def main():
    parts = {
        "loops": lambda: [row for case in loops.CASES for row in loops.measure(*case, options.rounds)],
        "noise": lambda: noise.measure(options.rounds),
        "solvers": lambda: [row for case in solvers.CASES for row in solvers.measure(*case, options.rounds)],
        "throughput": throughput.measure,
        "errors": errors.measure,
        "playground": lambda: playground.measure(max(20, options.rounds)),
        "imports": lambda: imports(max(3, options.rounds // 3)),
        "chapters": chapters,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each loop (default 30)")
    parser.add_argument("--skip-chapters", action="store_true", help="do not run the chapters")
    parser.add_argument(
        "--only", nargs="+", choices=parts, help="measure these parts; the others stay as they were recorded"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = machine()
    recorded = RESULTS / f"{tag(about)}.json"
    results = json.loads(recorded.read_text()) if options.only and recorded.exists() else {"load": {}}
    results |= {"machine": about, "rounds": options.rounds}
    for name in options.only or parts:
        if name != "chapters" or not options.skip_chapters:
            results[name] = parts[name]()
            results["load"][name] = load()
    RESULTS.mkdir(exist_ok=True)
    recorded.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    text = page(results)
    recorded.with_suffix(".md").write_text(text)
    print(text)
    print(f"Written: benchmarks/results/{recorded.name} and .md")


if __name__ == "__main__":
    main()
