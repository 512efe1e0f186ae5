"""`fggb verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.markup import escape

from fggb_jax.cli.console import note, notes, progress, results, write_csv, writing
from fggb_jax.cli.options import (
    DEFAULT_MODEL,
    AlignedOption,
    DetectorOption,
    FaceOption,
    ImagesOption,
    JsonOption,
    ModelOption,
    PairsArgument,
)
from fggb_jax.cli.photographs import to_face_of
from fggb_jax.cli.recognizer import beside, load
from fggb_jax.cli.runs import labelled, run_of
from fggb_jax.errors import OptionError

if TYPE_CHECKING:
    from fggb_jax.data.pair_list import PairList
    from fggb_jax.evaluation import VerificationReport
    from fggb_jax.evaluation.scoring import Scores
    from fggb_jax.models.face_model import FaceModel


def verify(
    pairs: PairsArgument,
    model: ModelOption = DEFAULT_MODEL,
    images: ImagesOption = None,
    rule: Annotated[
        str, typer.Option(help="How the threshold is set: eer, or far=1e-3 and the like.")
    ] = "eer",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Store the threshold, for `--threshold auto`.")
    ] = False,
    aligned: AlignedOption = False,
    face: FaceOption = "center",
    detector: DetectorOption = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder for verification.json, roc.png, scores.csv, errors.csv, embeddings.npz."
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Only images that failed in the run of --out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how well a model verifies labelled pairs: EER, AUC, TAR at FAR, the threshold.

    Of several faces the one in the middle counts: data sets are cropped around the person meant.
    An image that fails costs its own pairs, which are named; the exit status is 1 then.
    """
    from fggb_jax import evaluation
    from fggb_jax.evaluation.kept import kept
    from fggb_jax.evaluation.rates import far_of
    from fggb_jax.evaluation.scoring import score

    if retry_failed and out is None:
        raise OptionError("--retry-failed needs --out, the folder of the run that failed")
    far_of(rule)  # refused now rather than after the run
    listed = labelled(pairs, images)
    assert listed.same is not None
    loaded = load(model)
    to_face, faces = to_face_of(loaded, aligned, detector, face, beside(model))
    run = run_of(loaded, faces, face)
    known = kept(out, listed, run) if out and retry_failed else None
    with progress("images") as report:
        scores = score(loaded, listed, to_face, known=known, progress=report)
    if out is not None:  # first of all: whatever may come, it need not be computed again
        _keep(scores, listed, run, out)
    scored = ~np.isnan(scores.cosines)
    for name, why in scores.errors.items():
        note(f"{name}: {why}")
    for i in np.flatnonzero(~scored):
        notes.print(f"dropped: {escape(listed.name(int(i)))}")
    found = evaluation.verify(
        scores.cosines[scored],
        listed.same[scored],
        dropped=int((~scored).sum()),
        folds=None if listed.folds is None else listed.folds[scored],
        clusters=listed.pairs[scored],
        rule=rule,
        data=f"{listed.source}, model {loaded.card.name}",
    )
    if out is not None:
        _write_verification(found, listed, scores.cosines, loaded.card.name, out)
    if as_json:
        results.print_json(json.dumps({**found.to_dict(), "model": loaded.card.name}))
    else:
        results.print(escape(found.table()))
    if calibrate:
        _store(found, loaded, faces)
    if found.dropped:
        raise typer.Exit(1)


def _keep(scores: Scores, listed: PairList, run: dict[str, Any], folder: Path) -> None:
    from fggb_jax.evaluation.kept import keep

    with writing(folder):
        keep(folder, scores.embeddings, listed, run)
        write_csv(folder / "errors.csv", ("image", "error"), scores.errors.items())


def _write_verification(
    found: VerificationReport, listed: PairList, cosines: Any, model: str, folder: Path
) -> None:
    from fggb_jax.evaluation.roc_figure import Scored, draw

    scored = ~np.isnan(cosines)
    assert listed.same is not None  # checked before anything was scored
    figure = draw([Scored(model, cosines[scored], listed.same[scored], found.threshold)])
    rows = [
        (*(listed.images[i].name for i in pair), int(same), "" if np.isnan(c) else f"{c:.6f}")
        for pair, same, c in zip(listed.pairs, listed.same, cosines, strict=True)
    ]
    with writing(folder):
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
        (folder / "verification.json").write_text(text + "\n", "utf-8")
        write_csv(folder / "scores.csv", ("probe", "gallery", "same", "cosine"), rows)
        figure.savefig(folder / "roc.png", dpi=150)


def _store(found: VerificationReport, model: FaceModel, faces: str) -> None:
    """Keep the threshold for `--threshold auto`, and say so."""
    from fggb_jax.models import calibration

    assert model.sha256 is not None  # load_model knows it of every model
    name = model.card.name
    path = calibration.store(
        model.sha256, found.threshold, found.threshold_source, model=name, detector=faces
    )
    note(
        f"the threshold is stored in {path}: `--threshold auto` uses it for {name} from now on; "
        "delete the file to undo that"
    )
