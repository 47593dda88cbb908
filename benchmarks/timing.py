"""How things are timed: interleaved, many times, the best and the median of each."""

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path


def interleaved(loops: dict, rounds: int) -> dict:
    """{name: [seconds of each round]} of callables run in turn, so that a busy moment falls on all alike."""
    for loop in loops.values():
        loop()  # warm up
    taken = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop()
            taken[name].append(time.perf_counter() - start)
    return taken


def summary(seconds: list, calls: int = 1) -> dict:
    """Best and median in microseconds a call."""
    return {
        "best_us": round(min(seconds) / calls * 1e6, 2),
        "median_us": round(statistics.median(seconds) / calls * 1e6, 2),
    }


def fresh_process(code: str) -> float:
    """Seconds that `code` reports in a new interpreter: the clock runs inside, so that Python's own
    start is left out.
    """
    timed = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
    result = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(result.stdout)


@dataclass
class Watched:
    """What a command took: seconds by the clock, seconds of processors in all of its processes, and the most
    memory that they had together, in bytes, if asked for."""

    seconds: float
    cpu: float
    memory: int


def watched(line: list[str], folder, memory: bool = False, **more) -> Watched:
    """Run a command and watch it and all that it starts, four times a second, as /proc shows them.

    memory: count what processes share once, which takes a moment each.  Raises RuntimeError when it fails.
    """
    import psutil

    used, most, done = {}, 0, threading.Event()
    start = time.perf_counter()
    process = subprocess.Popen(
        line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more
    )

    def watch():
        nonlocal most
        above = psutil.Process(process.pid)
        while not done.wait(0.25):
            together = 0
            for one in [above, *_family(above)]:
                with contextlib.suppress(psutil.Error, OSError):
                    times = one.cpu_times()
                    used[one.pid, one.create_time()] = times.user + times.system
                    together += _share(one.pid) if memory else 0
            most = max(most, together)

    thread = threading.Thread(target=watch)
    thread.start()
    _, said = process.communicate()
    seconds = time.perf_counter() - start
    done.set()
    thread.join()
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{line[:3]}: {said[-1000:]}")
    return Watched(seconds, sum(used.values()), most)


def _family(process) -> list:
    import psutil

    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _share(pid: int) -> int:
    """Bytes of a process's memory, those that it shares with others in part; 0 where nobody tells."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))


def load() -> float:
    """Processes that wanted a core during the last minute."""
    return round(os.getloadavg()[0], 1)
