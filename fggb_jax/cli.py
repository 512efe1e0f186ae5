"""The command line. Heavy imports happen inside commands, so that --help is quick."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fggb_jax.errors import FggbError, ImageError, ModelError, OptionError
from fggb_jax.faces.detector_card import DetectorCard, detector_cards

if TYPE_CHECKING:
    from fggb_jax.data.pair_list import PairList
    from fggb_jax.evaluation import VerificationReport
    from fggb_jax.evaluation.scoring import Scores
    from fggb_jax.explanation import Explanation
    from fggb_jax.faces.detection import Detector
    from fggb_jax.faces.finder import FoundFace
    from fggb_jax.models.card import Card
    from fggb_jax.models.face_model import FaceModel

DEFAULT_MODEL = "dlib-resnet-v1"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Explain why a face-verification model takes two faces for the same person, or not.",
)
models_app = typer.Typer(help="The models that are known, their licences and where to get them.")
app.add_typer(models_app, name="models")

notes = Console(stderr=True, highlight=False, soft_wrap=True)
# In a pipe a table is as wide as it needs to be: whatever reads it must not meet cut-off words.
results = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)

PairsArgument = Annotated[
    Path, typer.Argument(help="PAIRS.csv, LFW's pairs.txt, a .bin set, or a folder per person.")
]
ImagesOption = Annotated[
    Path | None, typer.Option(help="The folder of the images, where the pairs do not say.")
]
MethodOption = Annotated[
    str,
    typer.Option(
        help="The method; its options go behind colons, as in occlusion:size=16:fill=black."
    ),
]
ThresholdOption = Annotated[
    str,
    typer.Option(
        help="The cosine from which a pair is accepted; auto takes the one that "
        "`fggb verify --calibrate` stored, else the card's."
    ),
]
ModelOption = Annotated[
    str, typer.Option(help="A name of `fggb models`, or the path of an .onnx file.")
]
AlignedOption = Annotated[
    bool, typer.Option("--aligned", help="The images are aligned faces already.")
]
FaceOption = Annotated[
    str, typer.Option(help="Which of several faces: largest, center, or an index from the left.")
]
DetectorOption = Annotated[
    str,
    typer.Option(
        help="auto, dlib, yunet, or the path of a YuNet or SCRFD .onnx file; auto takes dlib's for "
        "models that are aligned by dlib's points, for others YuNet where it is here, else dlib's."
    ),
]
GradientOption = Annotated[
    str | None, typer.Option(help="FGGB: magnitude (the default) or signed.")
]
NormsOption = Annotated[
    str | None,
    typer.Option(
        help="Signed FGGB: exact (the default), or estimated in a few passes: equal, calibrated, "
        "top."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command(epilog="Example:  fggb demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("fggb-demo"),
    as_json: JsonOption = False,
) -> None:
    """Explain the sample portraits with the default model: one genuine pair, one impostor pair."""
    from fggb_jax.data import samples
    from fggb_jax.models.load import load_model

    _use_compilation_cache()
    model = load_model()
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


@app.command(epilog="Example:  fggb explain probe.jpg gallery.jpg --out pair")
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
    from fggb_jax.models.load import load_model

    value = threshold if threshold == "auto" else _number(threshold)
    # Whatever is cheap to refuse is refused before a model is loaded.
    spec = MethodSpec.parse(method)
    if spec.read != "signed" or spec.smooth:
        raise OptionError(
            f"{method}: read= and smooth= are of `fggb evaluate` alone; leave them out here, where "
            "maps are raw: report.html smooths them on the screen"
        )
    photos = [_read(path) for path in (probe, gallery)]
    _use_compilation_cache()
    loaded = load_model(model)
    if aligned:
        faces = [_Face(_fit(photo, path, loaded)) for photo, path in _pairs(photos, probe, gallery)]
    else:
        find = _finder(loaded, detector, landmarks, face, _folder(model))
        faces = [find(photo, path) for photo, path in _pairs(photos, probe, gallery)]
    if (faces[0].chip == faces[1].chip).all():
        raise ImageError(
            f"{probe} and {gallery} are the same image: there is nothing to compare; give two "
            "photographs"
        )
    given = {"gradient": gradient, "norms": norms}
    options = {**dict(spec.options), **{k: v for k, v in given.items() if v is not None}}
    chips = (faces[0].chip, faces[1].chip)
    explanation = _explain(loaded, *chips, spec.method, value, options, probe.name)
    explanation = _placed(explanation, faces)
    _write(explanation, out)
    if as_json:
        results.print_json(json.dumps(explanation.to_dict()))
    else:
        _print(explanation, out, f"{probe.name}, {gallery.name}")


@app.command(epilog="Example:  fggb verify pairs.csv --model face.onnx --json")
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
    from fggb_jax.models.load import load_model

    if retry_failed and out is None:
        raise OptionError("--retry-failed needs --out, the folder of the run that failed")
    far_of(rule)  # refused now rather than after the run
    listed = _labelled(pairs, images)
    assert listed.same is not None
    _use_compilation_cache()
    loaded = load_model(model)
    to_face, faces = _to_face(loaded, aligned, detector, face, _folder(model))
    run = _run(loaded, faces, face)
    known = kept(out, listed, run) if out and retry_failed else None
    with _progress("images") as report:
        scores = score(loaded, listed, to_face, known=known, progress=report)
    if out is not None:  # first of all: whatever may come, it need not be computed again
        _keep(scores, listed, run, out)
    scored = ~np.isnan(scores.cosines)
    for name, why in scores.errors.items():
        _note(f"{name}: {why}")
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


@app.command(epilog="Example:  fggb evaluate pairs.csv --methods fggb,occlusion,centre --out table")
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
            "cosine_deletion_insertion, ground_truth, inpainting, patch_replacement, sanity, "
            "specificity, stability."
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
        int, typer.Option(min=0, help="Passes of a black-box map, and of FAME's; 0: as published.")
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
    from fggb_jax.models.load import load_model

    # Whatever is cheap to refuse is refused before a model is loaded.
    specs, judges = evaluation.chosen(methods, metrics, forwards or None)
    value = threshold if threshold == "auto" else _number(threshold)
    listed = _labelled(pairs, images)
    _use_compilation_cache()
    loaded = load_model(model)
    to_face, faces = _to_face(loaded, aligned, detector, face, _folder(model))
    with _progress("faces") as report:
        study, errors, source = read_study(
            loaded, listed, to_face, value, limit=limit, seed=seed, progress=report
        )
    for name, why in errors.items():
        _note(f"{name}: {why}")
    run = {
        **_run(loaded, faces, face),
        "model": loaded.card.name,
        "model_sha256": loaded.sha256,
        "pairs": listed.source,
        "names": list(study.names),
        "threshold": study.threshold,
        "threshold_source": source,
        "forwards": forwards or None,
        "seed": seed,
    }
    with _writing(out):
        known = resume(out, run)
        with _progress("maps and scores") as report:
            made = evaluation.run(study, specs, judges, known, progress=report)
            records = write_records(out / RECORDS, made, known)
        found = write_results(out, study, specs, judges, records, run)
    for record in found["errors"]:
        _note(f"{record['method']}, {record['judge']}, pair {record['pair']}: {record['error']}")
    if found["errors"]:
        _note("all other results are in the tables; the same command tries those again")
    if as_json:
        results.print_json(json.dumps(found))
    else:
        results.print(escape((out / "table.md").read_text("utf-8")))
        for name in ("table.json", "table.md", "curves.png", "evaluation.html"):
            results.print(f"  {escape(str(out / name))}")
    if errors or found["errors"]:
        raise typer.Exit(1)


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models, where no subcommand is given."""
    if context.invoked_subcommand is None:
        list_models()


@models_app.command("list", epilog="Example:  fggb models list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models and the detectors that a card is known for."""
    from fggb_jax.models import zoo

    known = _cards()
    entries = [_entries(card) for card in known.values()]
    detectors = detector_cards().values()
    if as_json:
        results.print_json(json.dumps(entries + [asdict(card) for card in detectors]))
        return
    table = Table("name", "face", "channels", "threshold", "here", "licence", box=None)
    for card, values in zip(known.values(), entries, strict=True):
        size = f"{card.size[0]}×{card.size[1]} {card.color}"
        threshold = "–" if values["threshold"] is None else f"{values['threshold']:g}"
        threshold += ", calibrated here" if values["calibrated_here"] else ""
        here = "package" if card.name == DEFAULT_MODEL else "cache" if zoo.is_cached(card) else "–"
        row = (card.name, size, card.dimension, threshold, here, card.licence)
        table.add_row(*(escape(str(cell)) for cell in row))
    for card in detectors:
        here = "cache" if zoo.is_cached(card) else "–"
        table.add_row(card.name, "detector", "–", "–", here, escape(card.licence))
    results.print(table)


@models_app.command("show", epilog="Example:  fggb models show dlib-resnet-v1")
def show_model(
    name: Annotated[str, typer.Argument(help="A name of `fggb models list`.")],
    as_json: JsonOption = False,
) -> None:
    """Show one model's card, with the threshold and the norms in use."""
    from fggb_jax.report.words import plain

    card = _card(name)
    values = asdict(card) if isinstance(card, DetectorCard) else _entries(card)
    if as_json:
        results.print_json(json.dumps(values))
        return
    table = Table(box=None, show_header=False)
    for key, value in values.items():
        table.add_row(key, escape(plain(value)))
    results.print(table)


@models_app.command("get", epilog="Example:  fggb models get sface")
def get_model(
    name: Annotated[str, typer.Argument(help="A name of `fggb models list`.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence that is shown.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="A folder, file or URL to take it from instead.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
) -> None:
    """Fetch a model's weights into the cache, after showing their licence."""
    from fggb_jax.models import zoo
    from fggb_jax.models.load import dlib_weights

    card = _card(name)
    if name == DEFAULT_MODEL:
        results.print(escape(str(dlib_weights())))
        return
    ask = (lambda notice: typer.confirm(f"{notice}\nAccept?", err=True)) if _asks() else None
    with _progress("bytes") as report:
        path = zoo.fetch(
            card,
            source=source,
            offline=offline or None,
            progress=report,
            accept_licence=accept_licence or None,
            confirm=ask,
        )
    results.print(escape(str(path)))


@models_app.command("add", epilog="Example:  fggb models add face.onnx --name mine")
def add_model(
    path: Annotated[Path, typer.Argument(help="An .onnx file with its card, a .toml, beside it.")],
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
) -> None:
    """Make a model of your own known by name."""
    from fggb_jax.models import user_cards

    results.print(escape(str(user_cards.add(path, name))))


@models_app.command("norms", epilog="Example:  fggb models norms dlib-resnet-v1 faces/")
def measure_norms(
    model: Annotated[str, typer.Argument(help="A name of `fggb models`, or an .onnx file.")],
    images: Annotated[list[Path], typer.Argument(help="Photographs of faces, or folders of them.")],
    count: Annotated[
        int, typer.Option(min=1, help="At most so many images, spread over those given.")
    ] = 32,
    aligned: AlignedOption = False,
    face: FaceOption = "center",
    detector: DetectorOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure the norms of a model's channels, and store them for `--norms calibrated` and `top`.

    A few dozen photographs of different people are enough. One that fails is left out and named;
    the exit status is 1 then.
    """
    from fggb_jax.attribution.calibrate import calibrate_norms
    from fggb_jax.data.image_files import image_files
    from fggb_jax.models import calibration
    from fggb_jax.models.load import load_model

    found = image_files(images)
    chosen = [found[i * len(found) // count] for i in range(count)] if len(found) > count else found
    _use_compilation_cache()
    loaded = load_model(model)
    to_face, faces = _to_face(loaded, aligned, detector, face, _folder(model))
    chips, failed = [], 0
    for path in chosen:
        try:
            chips.append(to_face(_read(path), str(path)))
        except ImageError as error:
            failed += 1
            _note(f"{path}: {error}")
    if not chips:
        raise ImageError(f"none of {len(chosen)} images has a face that can be used")
    source = f"mean over {len(chips)} images; {faces}"
    with _progress("faces") as report:
        calibrated = calibrate_norms(loaded, np.stack(chips), progress=report)
    norms = calibrated.card.norms
    assert norms is not None  # that is what was measured
    assert loaded.sha256 is not None  # load_model knows it of every model
    path = calibration.store_norms(loaded.sha256, norms, source, model=loaded.card.name)
    if as_json:
        stored = {
            "model": loaded.card.name,
            "images": len(chips),
            "norms": norms,
            "file": str(path),
        }
        results.print_json(json.dumps(stored))
    else:
        results.print(
            f"{len(norms)} norms, {min(norms):g} to {max(norms):g}, mean over {len(chips)} images"
        )
    _note(
        f"the norms are stored in {path}: `--norms calibrated` uses them for {loaded.card.name} "
        "from now on; delete the file to undo that"
    )
    if failed:
        raise typer.Exit(1)


def _cards() -> dict[str, Card]:
    """All cards; what is wrong with a user's own one is noted."""
    from fggb_jax.models.load import cards
    from fggb_jax.models.user_cards import user_cards

    return {**cards(), **user_cards(report=_note)}


def _weights() -> dict[str, Card | DetectorCard]:
    """The cards of models and of detectors."""
    return {**detector_cards(), **_cards()}


def _card(name: str) -> Card | DetectorCard:
    if name not in (known := _weights()):
        raise ModelError(f"no card {name!r}; known are {', '.join(known)}")
    return known[name]


def _entries(card: Card) -> dict[str, Any]:
    """A card with threshold and norms in use, and the files of those that were measured here."""
    from fggb_jax.models import calibration

    try:
        used = calibration.calibrated(card, card.sha256)
    except ModelError as error:
        _note(str(error))
        used = card
    here = {}
    for key, file_of in (
        ("calibrated_here", calibration.file_of),
        ("norms_here", calibration.norms_file_of),
    ):
        there = used is not card and card.sha256 and file_of(card.sha256).is_file()
        here[key] = str(file_of(card.sha256)) if card.sha256 and there else None
    return {**used.to_dict(), **here}


def _asks() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and notes.is_terminal


def main() -> None:
    """Run the command line: status 0 where all went well, 2 for wrong usage, 1 otherwise."""
    try:
        app()
    except FggbError as error:
        notes.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except OSError as error:
        notes.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)


def _number(text: str) -> float:
    from fggb_jax.explanation import check_threshold

    return check_threshold(text)


def _read(path: Path) -> Any:
    from fggb_jax.data.images import read_image

    return read_image(path, note=_note)


class _Face(NamedTuple):
    """An aligned face, and where it was found."""

    chip: Any
    found: FoundFace | None = None


def _pairs(photos: list[Any], probe: Path, gallery: Path) -> Iterator[tuple[Any, Path]]:
    return zip(photos, (probe, gallery), strict=True)


def _folder(model: str) -> Path | None:
    """The folder of a model that is given as a file: a detector may lie beside it."""
    return Path(model).parent if Path(model).is_file() else None


def _detector(model: FaceModel, source: str, beside: Path | None) -> Detector:
    """The detector asked for; a note where a better one could be had."""
    from fggb_jax.faces.finder import detector_for

    chosen = detector_for(model.card, source, beside=beside)
    if source == "auto" and chosen.schemes == ("dlib-68",):
        _note(
            "five landmarks are derived from dlib's 68, whose training data exclude commercial "
            "use; YuNet's are better and free: fggb models get yunet"
        )
    return chosen


def _finder(
    model: FaceModel, detector: str, landmarks: Path | None, which: str, beside: Path | None
) -> Callable[[Any, Path], _Face]:
    """What turns a photograph into an aligned face, with its notes printed."""
    from fggb_jax.faces.finder import find_face, given_face
    from fggb_jax.faces.landmark_files import read_landmarks

    if landmarks is not None:
        given = read_landmarks(landmarks)

        def find(photo: Any, path: Path) -> FoundFace:
            if (points := given.get(path.resolve())) is None:
                raise ImageError(f"{landmarks} has no landmarks of {path}; add a line for it")
            return given_face(photo, model.card, points)
    else:
        chosen = _detector(model, detector, beside)

        def find(photo: Any, path: Path) -> FoundFace:
            return find_face(photo, model.card, chosen, which=which, name=str(path))

    def face(photo: Any, path: Path) -> _Face:
        found = find(photo, path)
        for line in found.notes:
            _note(line)
        return _Face(found.aligned.chip, found)

    return face


def _to_face(
    model: FaceModel, aligned: bool, detector: str, which: str, beside: Path | None
) -> tuple[Callable[[Any, str], Any], str]:
    """What `score` asks for, a photograph's aligned face, quietly; and who finds it, in words."""
    if aligned:
        from fggb_jax.data.images import resize_aligned

        return lambda photo, name: resize_aligned(photo, model.card.size, name), "aligned faces"
    from fggb_jax.faces.finder import find_face

    chosen = _detector(model, detector, beside)

    def to_face(photo: Any, name: str) -> Any:
        return find_face(photo, model.card, chosen, which=which, name=name).aligned.chip

    return to_face, f"faces by {chosen.name}"


def _labelled(pairs: Path, images: Path | None) -> PairList:
    """Pairs that say which are genuine."""
    from fggb_jax.data.pairs import read_pairs

    listed = read_pairs(pairs, images)
    if listed.same is None:
        raise ImageError(f"{pairs} does not say which pairs are the same person: add a column same")
    return listed


def _store(found: VerificationReport, model: FaceModel, faces: str) -> None:
    """Keep the threshold for `--threshold auto`, and say so."""
    from fggb_jax.models import calibration

    assert model.sha256 is not None  # load_model knows it of every model
    name = model.card.name
    path = calibration.store(
        model.sha256, found.threshold, found.threshold_source, model=name, detector=faces
    )
    _note(
        f"the threshold is stored in {path}: `--threshold auto` uses it for {name} from now on; "
        "delete the file to undo that"
    )


def _run(model: FaceModel, faces: str, which: str) -> dict[str, Any]:
    """What a run's embeddings depend on, besides the images."""
    from fggb_jax.explain import library_versions

    other = {"threshold": None, "threshold_source": "", "norms": None, "norms_source": ""}
    card = {**model.card.to_dict(), **other}
    version = library_versions(["fggb-jax"])["fggb-jax"]
    return {
        "model": model.sha256,
        "card": card,
        "faces": faces,
        "which": which,
        "version": version,
    }


def _keep(scores: Scores, listed: PairList, run: dict[str, Any], folder: Path) -> None:
    from fggb_jax.evaluation.kept import keep

    with _writing(folder):
        keep(folder, scores.embeddings, listed, run)
        _write_csv(folder / "errors.csv", ("image", "error"), scores.errors.items())


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
    with _writing(folder):
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
        (folder / "verification.json").write_text(text + "\n", "utf-8")
        _write_csv(folder / "scores.csv", ("probe", "gallery", "same", "cosine"), rows)
        figure.savefig(folder / "roc.png", dpi=150)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """A folder to write results to; what goes wrong is one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise FggbError(f"cannot write to {folder}: {error.strerror or error}") from None


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _placed(explanation: Explanation, faces: list[_Face]) -> Explanation:
    """With the photographs, where faces were cut out of them."""
    from fggb_jax.explanation import Placement

    probe, gallery = (
        face.found and Placement(face.found.photo, face.found.aligned.matrix) for face in faces
    )
    detectors = [face.found.detector for face in faces if face.found]
    provenance = {**explanation.provenance, "detector": detectors[0] if detectors else "aligned"}
    return replace(
        explanation,
        probe_placement=probe,
        gallery_placement=gallery,
        provenance=provenance,
    )


def _fit(face: Any, path: Path, model: FaceModel) -> Any:
    from fggb_jax.data.images import resize_aligned

    height, width = model.card.size
    fitted = resize_aligned(face, model.card.size, str(path))
    if fitted is not face:
        _note(f"{path}: resized from {face.shape[1]}×{face.shape[0]} to {width}×{height}")
    return fitted


def _note(text: str) -> None:
    notes.print(f"[yellow]note:[/] {escape(text)}")


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

    with _progress(title) as report:
        return explain_pair(model, probe, gallery, method, threshold, progress=report, **options)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing in a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal)
    with bar:
        task = bar.add_task(f"{escape(title)}: channels", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _write(explanation: Explanation, folder: Path) -> None:
    with _writing(folder):
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


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs: the second one starts at once."""
    import jax
    from platformdirs import user_cache_path

    folder = user_cache_path("fggb_jax") / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
