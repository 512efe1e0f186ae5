"""`benchmarks` is no package: its scripts import each other as they do when they run."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """The folder of the scripts, where `import` finds them."""
    if not BENCHMARKS.is_dir():
        pytest.skip("the tests run without the repository's benchmarks")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return BENCHMARKS
