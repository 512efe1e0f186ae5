"""Energy of a GPU while something runs, by nvidia-smi."""

import contextlib
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

QUERY = ("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", "50")


def energy(work: Callable[[], Any], seconds: float = 1.0) -> float | None:
    """Joules of one call, over calls that fill so many seconds; None where nothing tells.

    The mean of the power that is read meanwhile, times the time of a call.
    """
    if shutil.which(QUERY[0]) is None:
        return None
    meter = subprocess.Popen(QUERY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    each = (time.perf_counter() - start) / calls
    meter.terminate()
    watts = readings(meter.communicate()[0])
    return statistics.mean(watts) * each if watts else None


def readings(text: str) -> list[float]:
    """The numbers among the lines that nvidia-smi wrote; a card that cannot tell says [N/A]."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found.append(float(line))
    return found
