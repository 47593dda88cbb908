"""The rules as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass

DAY = 86_400.0


@dataclass(frozen=True)
class Rules:
    """What an entry may use, and what it is judged by.  Boards and points belong to one set of rules.

    calls: the columns: network evaluations a sample, on average over the samples.
    size: numbers in the network, and bytes of source and of notes, together.
    source, notes: bytes of each.
    seconds: of training, by the organiser's clock, on `cores` cores.
    sampling: seconds for the sampler's own work in one column, the network's not counted.
    n: samples in a column; seeds: independent trainings.
    obeyed: least share of samples in which the classifier reads the digit that was asked for.
    copies, near: largest shares of samples whose `metrics.nearest_neighbour_ratio` is below 0.5 and 0.7.
    again: largest share of samples that come again from other noise (`scoring.repeated`).
    """

    calls: tuple[int, ...] = (1, 2, 4, 8)
    size: int = 400_000
    source: int = 8192
    notes: int = 8192
    seconds: float = 90.0
    cores: int = 2
    sampling: float = 60.0
    n: int = 2000
    seeds: int = 3
    obeyed: float = 0.8
    copies: float = 0.02
    near: float = 0.12
    again: float = 0.15

    def __post_init__(self):
        if not self.calls or min(self.calls) < 1 or min(self.seeds, self.cores) < 1 or self.n < 10:
            raise ValueError("calls, seeds and cores must be at least 1, and n at least 10")
        if not (0 < self.seconds <= DAY and 0 < self.sampling <= DAY):
            raise ValueError(
                f"seconds must be above 0 and at most a day, got {self.seconds:g} and {self.sampling:g}"
            )

    def told(self) -> dict:
        """The rules as JSON has them."""
        return asdict(self) | {"calls": list(self.calls)}


class Refused(ValueError):
    """An entry, or one column of it, is not scored; the text is a clause that says why."""
