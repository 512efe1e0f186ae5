"""Which map can be trusted, on real faces: the evaluation behind docs/findings.md.

    python benchmarks/findings.py --out DIR     judges, for hours; goes on where it stopped
    python benchmarks/findings.py --report      writes the tables anew, of the scores that are here

The scores of every pair are kept, without curves, in benchmarks/results/findings: whoever doubts an
interval can make another, and an empty DIR goes on from them.

600 pairs of LFW View 1, half genuine, and three recognizers, by `fggb evaluate`. `half_hidden` was
chosen on the first pairs of the list, which is in the order of names; so it is compared with others
on the second half of the list, whose persons nobody had looked at.
"""

import argparse
import json
import lzma
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from common import MODELS, RESULTS, in_reach, model_file, shared_data, table, write

from fggb_jax.data.pairs import read_pairs
from fggb_jax.evaluation import judgement
from fggb_jax.evaluation.evaluate import RUNTIME
from fggb_jax.evaluation.map_table import Summary, cell, runtimes, score_matrix, summaries
from fggb_jax.evaluation.paired import differences
from fggb_jax.evaluation.records import (
    RECORDS,
    RUN,
    Record,
    read_records,
    resume,
    write_records,
)

SIGNED = "fggb:gradient=signed:norms=equal"
SHORT = (  # what all judges are given: 54 forward passes a map of a genuine pair, 90 of others
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
    *("deletion_insertion", "deletion_insertion_blur", "conditional_deletion_insertion"),
    *("cosine_deletion_insertion_blur", "cosine_deletion_insertion_mean_face"),
)
# The maps of a pair are made once for all judges of a command.
STAGES = ((SHORT, ("ground_truth", *DELETION)), (LONG, ("ground_truth",)))
RIVALS = ("occlusion", "fggb", "fggb:smooth=6", f"{SIGNED}:smooth=6", "centre")
OURS = "half_hidden"
QUESTIONS = ("dissimilarity_auprc", "similarity_auprc")  # on which ours is compared with them

SCORES = RESULTS / "findings"  # of every pair, a file a recognizer
DIGITS = 5


def pair_list() -> Path:
    """Pairs of LFW View 1."""
    return shared_data() / "lfw" / "pairs.csv"


def judge(
    model: str, methods: Sequence[str], metrics: Sequence[str], out: Path, limit: int
) -> None:
    """A stage for a recognizer."""
    name = model if model == MODELS[0] else str(model_file(model))
    command = [
        *(sys.executable, "-c", "from fggb_jax.cli import main; main()", "evaluate"),
        *(str(pair_list()), "--model", name),
        *("--methods", ",".join(methods), "--metrics", ",".join(metrics)),
        *("--limit", str(limit), "--out", str(out / model)),
    ]
    subprocess.run(command, check=False)  # 1 where a photograph has no face


def keep(folder: Path, name: str) -> None:
    """Add a recognizer's scores, without curves, to the file that is kept.

    Not the path of the list, which says nothing elsewhere.
    """
    run = json.loads((folder / RUN).read_text("utf-8"))
    del run["pairs"]
    before = kept(name)["records"] if _same_run(run, name) else []
    judges = {RUNTIME, "ground_truth", *DELETION}
    records = [
        {**record, "scores": _short(record["scores"])}
        for record in read_records(folder / RECORDS)
        if record["judge"] in judges and record["method"] in LONG and "scores" in record
    ]
    every = {(r["pair"], r["method"], r["judge"]): r for r in (*before, *records)}
    whole = {"run": run, "late": late_pairs(run["names"]).tolist(), "records": [*every.values()]}
    SCORES.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    _kept_file(name).write_bytes(lzma.compress(text.encode(), preset=9))


def _same_run(run: Mapping[str, Any], name: str) -> bool:
    """Whether scores are kept, of this run; another's must not go into one file with them."""
    if not _kept_file(name).is_file():
        return False
    if kept(name)["run"] != run:
        raise SystemExit(
            f"{_kept_file(name)} has the scores of another run: give --limit and the rest as they "
            "were, set FGGB_RESULTS to keep these scores elsewhere, or remove that file"
        )
    return True


def _kept_file(name: str) -> Path:
    return SCORES / f"{name}.json.xz"


def _short(scores: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        name: value if value is None else float(f"{value:.{DIGITS}g}")
        for name, value in scores.items()
        if not isinstance(value, list)
    }


def kept(name: str) -> dict[str, Any]:
    """What `keep` wrote: the run, which pairs nobody had looked at, and the records."""
    return json.loads(lzma.decompress(_kept_file(name).read_bytes()))


def go_on(folder: Path, name: str) -> None:
    """Give a folder that has no run the one that is kept; its curves are of new pairs alone."""
    if _kept_file(name).is_file() and not (folder / RUN).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        found = kept(name)
        resume(folder, {**found["run"], "pairs": read_pairs(pair_list()).source})
        write_records(folder / RECORDS, iter(found["records"]), ())


def report(out: Path) -> None:
    """Keep the scores of a folder's runs; tables of all that are kept, others stay as they are."""
    for model in MODELS:
        if (out / model / RECORDS).is_file():
            keep(out / model, model)
    before = RESULTS / "findings.json"
    found = json.loads(before.read_text("utf-8"))["models"] if before.is_file() else {}
    found |= {m: summary(kept(m)) for m in MODELS if _kept_file(m).is_file()}
    write("findings", {"models": found}, text(found))


def summary(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Means and intervals of one recognizer, of all pairs and of those nobody has looked at."""
    records: list[Record] = scores["records"]
    pairs, late = len(scores["run"]["names"]), np.array(scores["late"])
    judged = {r["method"] for r in records}
    methods = [m for m in LONG if m in judged]
    judges = [judgement.find(name) for name in ("ground_truth", *DELETION)]
    by_score: dict[str, Any] = {}
    for by_judge in summaries(records, judges, methods, pairs).values():
        by_score |= {score: found for score, found in by_judge.items() if score != "empty"}
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
    listed = read_pairs(pair_list())
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
        models = in_reach(asked.models)
        for model in models:
            go_on(asked.out / model, model)
        for methods, metrics in STAGES:
            for model in models:
                judge(model, methods, metrics, asked.out, asked.limit)
    report(asked.out)
