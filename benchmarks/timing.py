"""How things are timed: interleaved, many times, the best and the median of each."""

import statistics
import subprocess
import sys
import time


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
