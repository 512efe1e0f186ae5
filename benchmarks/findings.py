"""Which map can be trusted, on real faces: the evaluation behind docs/findings.md.

    python benchmarks/findings.py --out DIR             judges, for hours; goes on where it stopped
    python benchmarks/findings.py --out DIR --report    writes the results of what is there

600 pairs of LFW View 1, half genuine, and three recognizers, by `fggb evaluate`. `half_hidden` was
chosen on the first pairs of the list, which is in the order of names; so it is compared with others
on the second half of the list, whose persons nobody had looked at.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from common import MODELS, in_reach, model_file, shared_data, table, write

from fggb_jax.data.pairs import read_pairs
from fggb_jax.evaluation import judgement
from fggb_jax.evaluation.map_table import Summary, cell, runtimes, score_matrix, summaries
from fggb_jax.evaluation.paired import differences
from fggb_jax.evaluation.records import RECORDS, RUN, read_records

SIGNED = "fggb:gradient=signed:norms=equal"
SHORT = (  # what all judges are given: 54 forward passes a map
    *("centre", "random", "image_mean", "half_hidden", "fggb", "fggb:smooth=3", "occlusion"),
    *(f"{SIGNED}:read=magnitude:smooth=3", f"{SIGNED}:smooth=6"),
)
LONG = (  # what only constructed ground truth is asked about
    *SHORT,
    *("half_hidden:swap=0", "half_hidden:sigma=0", "half_hidden:rounds=1"),
    *("fggb:smooth=6", "fggb:read=pair_specific", "fggb:read=pair_specific:smooth=6", SIGNED),
    *("gradient", "gradient:smooth=6", "xssab", "xssab:smooth=6", "gradcam"),
    *("integrated_gradients:steps=4", "integrated_gradients:steps=4:smooth=6"),
    *("partner_swap", "occlusion:forwards=9"),
)
DELETION = (
    "deletion_insertion",
    "conditional_deletion_insertion",
    "cosine_deletion_insertion",
)
# The maps of a pair are made once for all judges of a command.
STAGES = ((SHORT, ("ground_truth", *DELETION)), (LONG, ("ground_truth",)))
RIVALS = ("occlusion", "fggb", "fggb:smooth=6", f"{SIGNED}:smooth=6", "centre")
OURS = "half_hidden"
QUESTIONS = ("dissimilarity_auprc", "similarity_auprc")  # on which ours is compared with them


def judge(
    model: str, methods: Sequence[str], metrics: Sequence[str], out: Path, limit: int
) -> None:
    """A stage for a recognizer."""
    name = model if model == MODELS[0] else str(model_file(model))
    command = [
        *(sys.executable, "-c", "from fggb_jax.cli import main; main()", "evaluate"),
        *(str(shared_data() / "lfw" / "pairs.csv"), "--model", name),
        *("--methods", ",".join(methods), "--metrics", ",".join(metrics)),
        *("--limit", str(limit), "--out", str(out / model)),
    ]
    subprocess.run(command, check=False)  # 1 where a photograph has no face


def report(out: Path) -> None:
    """Results of all recognizers that have a folder."""
    found = {m: summary(out / m) for m in MODELS if (out / m / RECORDS).is_file()}
    write("findings", {"models": found}, text(found))


def summary(folder: Path) -> dict[str, Any]:
    """Means and intervals of one recognizer, of all pairs and of those nobody has looked at."""
    run = json.loads((folder / RUN).read_text("utf-8"))
    records, pairs = read_records(folder / RECORDS), len(run["names"])
    late = late_pairs(run["names"])
    judged = {r["method"] for r in records}
    methods = [m for m in LONG if m in judged]
    judges = [judgement.find(name) for name in ("ground_truth", *DELETION)]
    by_score: dict[str, Any] = {}
    for by_judge in summaries(records, judges, methods, pairs).values():
        by_score |= by_judge
    less = {
        score: compared(
            score_matrix(records, "ground_truth", score, methods, pairs)[:, late], methods
        )
        for score in QUESTIONS
    }
    return {
        "pairs": pairs,
        "scores": {
            score: {method: asdict(one) for method, one in by_method.items()}
            for score, by_method in by_score.items()
        },
        "less": less,
        "cost": runtimes(records, methods, pairs),
    }


def late_pairs(names: Sequence[str]) -> np.ndarray:
    """Whether a pair is in the second half of the list's pairs of its kind.

    The list is in the order of the persons' names.
    """
    listed = read_pairs(shared_data() / "lfw" / "pairs.csv")
    same = np.asarray(listed.same)
    late = {}
    for kind in (np.flatnonzero(same), np.flatnonzero(~same)):
        for place, pair in enumerate(kind.tolist()):
            late[listed.name(pair)] = place >= len(kind) // 2
    return np.array([late[name] for name in names])


def compared(values: np.ndarray, methods: Sequence[str]) -> dict[str, list[float]]:
    """Rival → ours less it, the ends of the 95 % interval, p with Holm's correction, pairs."""
    measured = [r for r in RIVALS if r in methods and not np.isnan(values[methods.index(r)]).all()]
    if OURS not in methods or not measured or np.isnan(values[methods.index(OURS)]).all():
        return {}
    rivals = values[[methods.index(r) for r in measured]]
    ours = np.broadcast_to(values[methods.index(OURS)], rivals.shape)
    found = differences(ours, rivals)
    rows = zip(found.mean, found.low, found.high, found.adjusted, found.pairs, strict=True)
    return {rival: [float(x) for x in row] for rival, row in zip(measured, rows, strict=True)}


def text(found: Mapping[str, Any]) -> str:
    """All tables."""
    parts = []
    for title, columns in TABLES.items():
        header = ("method", *(f"{m}: {short}" for m in found for short in columns))
        scores = [summarized(one, score) for one in found.values() for score in columns.values()]
        names = [m for m in LONG if any(m in by_method for by_method in scores)]
        rows = [(f"`{n}`", *(cell(by_method, n) for by_method in scores)) for n in names]
        parts.append(f"### {title}\n\n{table(header, rows)}")
    parts.append(f"### `{OURS}` less others, pairs nobody had looked at\n\n{gains(found)}")
    parts.append(f"### Cost of a map, passes forth + back\n\n{costs(found)}")
    return "\n\n".join(parts)


def summarized(one: Mapping[str, Any], score: str) -> dict[str, Summary]:
    """Method → its summary, of a recognizer's results."""
    return {m: Summary(**row) for m, row in one["scores"].get(score, {}).items()}


def gains(found: Mapping[str, Any]) -> str:
    """Differences in ground truth on the second half of the list."""
    header = ("recognizer", "score", *(f"less `{rival}`" for rival in RIVALS))
    rows = []
    for model, one in found.items():
        for score, less in one["less"].items():
            cells = [
                f"{r[0]:+.3f} [{r[1]:+.3f}, {r[2]:+.3f}]" if (r := less.get(rival)) else "–"
                for rival in RIVALS
            ]
            rows.append((model, score.replace("_", " "), *cells))
    return table(header, rows)


def costs(found: Mapping[str, Any]) -> str:
    """Passes; not seconds, since recognizers may be judged beside each other."""
    names = [m for m in LONG if all(m in one["cost"] for one in found.values())]
    rows = []
    for name in names:
        each = [one["cost"][name] for one in found.values()]
        cells = [f"{c['forwards']:.0f} + {c['backwards']:.0f}" for c in each]
        rows.append((f"`{name}`", *cells))
    return table(("method", *found), rows)


# A table's title → its columns for each recognizer → the score.
TABLES = {
    "Constructed ground truth, AUPRC (↑), genuine pairs": {
        "dissimilarity": "dissimilarity_auprc",
        "similarity": "similarity_auprc",
    },
    "Deletion (↓) and insertion (↑) of all pairs by similarity maps, black": {
        "deletion": "deletion_black",
        "insertion": "insertion_black",
    },
    "The same, blurred": {"deletion": "deletion_blur", "insertion": "insertion_blur"},
    "Genuine pairs by similarity maps, black: accuracy": {
        "deletion ↓": "genuine_deletion_black",
        "insertion ↑": "genuine_insertion_black",
    },
    "Impostor pairs by dissimilarity maps, black: accuracy": {
        "deletion ↓": "impostor_deletion_black",
        "insertion ↑": "impostor_insertion_black",
    },
    "Impostor pairs by dissimilarity maps, cosine while pixels go": {
        "blur ↑": "impostor_cosine_deletion_blur",
        "mean face ↑": "impostor_cosine_deletion_mean_face",
    },
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("findings"), help="folder of the runs")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--limit", type=int, default=600, help="pairs, half of them genuine")
    parser.add_argument("--report", action="store_true", help="write the results of what is there")
    asked = parser.parse_args()
    if not asked.report:
        for methods, metrics in STAGES:
            for model in in_reach(asked.models):
                judge(model, methods, metrics, asked.out, asked.limit)
    report(asked.out)
