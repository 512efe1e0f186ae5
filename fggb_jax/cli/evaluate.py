"""`fggb evaluate`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from fggb_jax.cli.console import note, progress, results, writing
from fggb_jax.cli.options import (
    DEFAULT_MODEL,
    AlignedOption,
    DetectorOption,
    FaceOption,
    ImagesOption,
    JsonOption,
    ModelOption,
    PairsArgument,
    ThresholdOption,
    threshold_given,
)
from fggb_jax.cli.photographs import to_face_of
from fggb_jax.cli.recognizer import beside, load
from fggb_jax.cli.runs import labelled, run_of

if TYPE_CHECKING:
    from fggb_jax.evaluation.records import Record


def evaluate(
    pairs: PairsArgument,
    model: ModelOption = DEFAULT_MODEL,
    methods: Annotated[
        str,
        typer.Option(
            help="Methods, or all whose maps are of pixels; options go behind colons, as in "
            "fggb:gradient=signed:smooth=3. How a map is read is said by read=magnitude or "
            "read=pair_specific, and smooth=σ."
        ),
    ] = "all",
    metrics: Annotated[
        str,
        typer.Option(
            help="Metrics, or all: deletion_insertion, conditional_deletion_insertion, "
            "cosine_deletion_insertion, each of them also with _blur or _mean_face behind; "
            "ground_truth, inpainting, patch_replacement, sanity, specificity, stability."
        ),
    ] = "deletion_insertion,ground_truth",
    out: Annotated[Path, typer.Option(help="The folder to write to, or to go on in.")] = Path(
        "fggb-evaluation"
    ),
    limit: Annotated[
        int | None, typer.Option(min=2, help="At most so many pairs, half of them genuine.")
    ] = None,
    threshold: ThresholdOption = "auto",
    forwards: Annotated[
        int,
        typer.Option(
            min=0, help="Passes of a black-box map, and of FAME's, there and back; 0: as published."
        ),
    ] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    images: ImagesOption = None,
    aligned: AlignedOption = False,
    face: FaceOption = "center",
    detector: DetectorOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Judge methods on labelled pairs: table.json, table.md, curves.png and evaluation.html.

    Every result is kept as soon as it is there: the same command goes on where it stopped, and the
    same folder takes more methods and metrics. A map that fails costs its own line; the exit status
    is 1 then.
    """
    from fggb_jax.evaluation import evaluate as evaluation
    from fggb_jax.evaluation.records import RECORDS, resume, write_records
    from fggb_jax.evaluation.results import write_results
    from fggb_jax.evaluation.study import read_study

    # Whatever is cheap to refuse is refused before a model is loaded.
    specs, judges = evaluation.chosen(methods, metrics, forwards or None)
    value = threshold_given(threshold)
    listed = labelled(pairs, images)
    loaded = load(model)
    to_face, faces = to_face_of(loaded, aligned, detector, face, beside(model))
    with progress("faces") as report:
        study, errors, source = read_study(
            loaded, listed, to_face, value, limit=limit, seed=seed, progress=report
        )
    for name, why in errors.items():
        note(f"{name}: {why}")
    run = {
        **run_of(loaded, faces, face),
        "model": loaded.card.name,
        "model_sha256": loaded.sha256,
        "pairs": listed.source,
        "names": list(study.names),
        "threshold": study.threshold,
        "threshold_source": source,
        "forwards": forwards or None,
        "seed": seed,
    }
    with writing(out):
        known = resume(out, run)
        with progress("maps and scores") as report:
            made = evaluation.run(study, specs, judges, known, progress=report)
            records = write_records(out / RECORDS, made, known)
        found = write_results(out, study, specs, judges, records, run)
    for line in _causes(found["errors"]):
        note(line)
    if found["errors"]:
        note("all other results are in the tables; the same command tries those again")
    if as_json:
        results.print_json(json.dumps(found))
    else:
        results.print(escape((out / "table.md").read_text("utf-8")))
        for name in ("table.json", "table.md", "curves.png", "evaluation.html"):
            results.print(f"  {escape(str(out / name))}")
    if errors or found["errors"]:
        raise typer.Exit(1)


def _causes(errors: Sequence[Record]) -> list[str]:
    """What went wrong, each cause once: a wrong option fails for every pair and metric alike."""
    where: dict[str, list[Record]] = defaultdict(list)
    for record in errors:
        where[f"{record['method']}: {record['error']}"].append(record)
    return [
        f"{cause} ({len(at)} results, the first one {at[0]['judge']} of pair {at[0]['pair']})"
        for cause, at in where.items()
    ]
