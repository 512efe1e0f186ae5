"""`fggb explain` and `fggb demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from fggb_jax.cli.console import progress, results, writing
from fggb_jax.cli.options import (
    DEFAULT_MODEL,
    AlignedOption,
    DetectorOption,
    FaceOption,
    GradientOption,
    JsonOption,
    MethodOption,
    ModelOption,
    NormsOption,
    ThresholdOption,
    threshold_given,
)
from fggb_jax.cli.photographs import Face, finder, fit, placed, read
from fggb_jax.cli.recognizer import beside, load
from fggb_jax.errors import ImageError, OptionError

if TYPE_CHECKING:
    from fggb_jax.explanation import Explanation
    from fggb_jax.models.face_model import FaceModel


def demo(
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("fggb-demo"),
    as_json: JsonOption = False,
) -> None:
    """Explain the sample portraits with the default model: one genuine pair, one impostor pair."""
    from fggb_jax.data import samples

    model = load(DEFAULT_MODEL)
    printed = []
    # The genuine pair's files lie in the folder itself, the impostor's in one of its own.
    for title, names, folder in (
        ("same person", ("obama_a", "obama_b"), out),
        ("another person", ("obama_a", "biden"), out / "impostor"),
    ):
        probe, gallery = (samples.chip(name, model.card) for name in names)
        explanation = _explain(model, probe, gallery, "fggb", "auto", {}, title)
        _write(explanation, folder)
        printed.append({"pair": title, "folder": str(folder), **explanation.to_dict()})
        if not as_json:
            _print(explanation, folder, title)
    if as_json:
        results.print_json(json.dumps(printed))


def explain(
    probe: Annotated[Path, typer.Argument(help="The photograph of the face that is asked about.")],
    gallery: Annotated[Path, typer.Argument(help="The one that it is compared with.")],
    model: ModelOption = DEFAULT_MODEL,
    method: MethodOption = "fggb",
    threshold: ThresholdOption = "auto",
    gradient: GradientOption = None,
    norms: NormsOption = None,
    aligned: AlignedOption = False,
    face: FaceOption = "largest",
    detector: DetectorOption = "auto",
    landmarks: Annotated[
        Path | None, typer.Option(help="Landmarks of the photographs, as JSON or CSV.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("fggb-out"),
    as_json: JsonOption = False,
) -> None:
    """Explain one pair: result.json, maps.npz, figure.png and report.html."""
    from fggb_jax.evaluation.method_spec import MethodSpec

    value = threshold_given(threshold)
    # Whatever is cheap to refuse is refused before a model is loaded.
    spec = MethodSpec.parse(method)
    if spec.read != "signed" or spec.smooth:
        raise OptionError(
            f"{method}: read= and smooth= are of `fggb evaluate` alone; leave them out here, where "
            "maps are raw: report.html smooths them on the screen"
        )
    photos = [(read(path), path) for path in (probe, gallery)]
    loaded = load(model)
    if aligned:
        faces = [Face(fit(photo, path, loaded)) for photo, path in photos]
    else:
        find = finder(loaded, detector, landmarks, face, beside(model))
        faces = [find(photo, path) for photo, path in photos]
    if (faces[0].chip == faces[1].chip).all():
        raise ImageError(
            f"{probe} and {gallery} are the same image: there is nothing to compare; give two "
            "photographs"
        )
    given = {"gradient": gradient, "norms": norms}
    options = {**dict(spec.options), **{k: v for k, v in given.items() if v is not None}}
    chips = (faces[0].chip, faces[1].chip)
    explanation = _explain(loaded, *chips, spec.method, value, options, probe.name)
    explanation = placed(explanation, faces)
    _write(explanation, out)
    if as_json:
        results.print_json(json.dumps(explanation.to_dict()))
    else:
        _print(explanation, out, f"{probe.name}, {gallery.name}")


def _explain(
    model: FaceModel,
    probe: Any,
    gallery: Any,
    method: str,
    threshold: float | str,
    options: dict[str, Any],
    title: str,
) -> Explanation:
    from fggb_jax.explain import explain as explain_pair

    with progress(f"{title}: channels") as report:
        return explain_pair(model, probe, gallery, method, threshold, progress=report, **options)


def _write(explanation: Explanation, folder: Path) -> None:
    with writing(folder):
        result = json.dumps(explanation.to_dict(), indent=2, ensure_ascii=False)
        (folder / "result.json").write_text(result + "\n", "utf-8")
        explanation.save(folder / "maps.npz")
        explanation.to_html(folder / "report.html")
        explanation.figure().savefig(folder / "figure.png", dpi=150)


def _print(explanation: Explanation, folder: Path, title: str) -> None:
    accepted = explanation.decision == "accept"
    color, sign = ("green", "≥") if accepted else ("red", "<")
    results.print(
        f"[bold {color}]{explanation.decision}[/]  {escape(title)}: cosine "
        f"{explanation.cosine:.4f} {sign} threshold {explanation.threshold:g}"
    )
    results.print(f"  [dim]threshold: {escape(explanation.provenance['threshold_source'])}[/]")
    if estimate := explanation.provenance.get("estimate"):
        results.print(f"  [dim]estimated: {escape(estimate)}[/]")
    for name in ("figure.png", "report.html", "maps.npz", "result.json"):
        results.print(f"  {escape(str(folder / name))}")
