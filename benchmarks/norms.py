"""The mean norm of each channel's gradient on faces of LFW View 1, and the cards that hold them.

    python benchmarks/norms.py           # about 6 minutes, and once 2 minutes for the chips

Each face is of another person, and none is in the pairs of `benchmarks/fewer_passes.py`, so that
these do not judge estimates on the faces that they were calibrated on. The norms go into
fggb_jax/models/cards/*.toml as well, where `norms="calibrated"` finds them.
"""

import argparse
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from common import MODELS, ROOT, in_reach, model_file, table, write
from lfw import DETECTORS, add_cache_option, calibration_images, load, test_pairs

import fggb_jax as fx

IMAGES = 32
PAIRS = 30  # of benchmarks/fewer_passes.py
CARDS = ROOT / "fggb_jax" / "models" / "cards"


def measure(name: str, cache: Path, count: int) -> dict[str, Any]:
    """One model's norms, and how far they lie apart."""
    model = fx.load_model(model_file(name))
    data = load(model.card.template, cache)
    chosen = calibration_images(data, test_pairs(data, PAIRS), count)
    source = (
        f"Mean over {count} people of LFW View 1, one photograph each; faces by "
        f"{DETECTORS[model.card.template]}; measured by `python benchmarks/norms.py`"
    )
    found = fx.calibrate_norms(model, data.chips[chosen], source=source).card
    values = np.array(found.norms)
    return {
        "model": name,
        "images": [data.names[i] for i in chosen],
        "norms": found.norms,
        "norms_source": source,
        "variation": float(values.std() / values.mean()),
        "ratio": float(values.max() / values.min()),
    }


def put(row: dict[str, Any]) -> None:
    """Write the norms into the model's card, in place of earlier ones."""
    path = CARDS / f"{row['model']}.toml"
    earlier = re.compile(r"^norms = \[.*?\]\nnorms_source = .*?\n", re.DOTALL | re.MULTILINE)
    numbers = textwrap.fill(", ".join(f"{x:g}" for x in row["norms"]), 96)
    lines = ["norms = [", textwrap.indent(numbers, "    ") + ",", "]"]
    entries = "\n".join([*lines, f'norms_source = "{row["norms_source"]}"', "licence = "])
    text = earlier.sub("", path.read_text("utf-8"))
    path.write_text(text.replace("licence = ", entries, 1), "utf-8")


def main() -> None:
    """Measure all models in reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--images", type=int, default=IMAGES, help="faces (%(default)s)")
    add_cache_option(parser)
    options = parser.parse_args()
    rows = []
    for name in in_reach(options.models):
        rows.append(measure(name, options.cache, options.images))
        put(rows[-1])
        print(f"{name}: {options.images} faces measured", flush=True)
    header = ("model", "channels", "faces", "standard deviation ÷ mean", "largest ÷ least")
    lines = [
        (
            r["model"],
            len(r["norms"]),
            len(r["images"]),
            f"{r['variation']:.3f}",
            f"{r['ratio']:.2f}",
        )
        for r in rows
    ]
    write("norms", {"rows": rows}, table(header, lines))


if __name__ == "__main__":
    main()
