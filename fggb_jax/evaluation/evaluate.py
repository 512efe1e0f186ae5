"""Judge methods on pairs, one record at a time, so that a run can stop and go on anywhere."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from fggb_jax.attribution import registry
from fggb_jax.attribution.comparison import unit
from fggb_jax.data.pair_list import PairList
from fggb_jax.errors import FggbError, ImageError, OptionError
from fggb_jax.evaluation import (  # noqa: F401  those that are not used here register judges
    inpainting,
    judgement,
    localization,
    patch_replacement,
    removal,
    sanity,
    specificity,
    stability,
)
from fggb_jax.evaluation.judgement import Case, Judge
from fggb_jax.evaluation.map_maker import MapMaker
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.evaluation.rates import calibrate
from fggb_jax.evaluation.scoring import ToFace, aligned
from fggb_jax.explain import threshold_of
from fggb_jax.models import disk
from fggb_jax.models.card import Card

Progress = Callable[[int, int], None]
Record = dict[str, Any]

OTHERS = 4  # faces of other persons that a case has
RUNTIME = "runtime"  # the record of what a map took


@dataclass(frozen=True, eq=False)
class Study:
    """The pairs that methods are judged on, with the recognizer that they explain.

    Attributes:
        model: a `FaceModel` or a `BlackBox`.
        faces: (K, H, W, 3) aligned faces.
        pairs: (P, 2) indices of the probe and the gallery image.
        same: (P,) whether a pair is genuine.
        threshold: the cosine from which a pair is accepted.
        names: (P,) what messages call a pair.
        seed: of what judges draw at random.
    """

    model: Any
    faces: UInt8[np.ndarray, "K H W 3"]
    pairs: Int[np.ndarray, "P 2"]
    same: Bool[np.ndarray, " P"]
    threshold: float
    names: Sequence[str]
    seed: int = 0

    @cached_property
    def embeddings(self) -> Float[np.ndarray, "K N"]:
        """Of all faces, of length 1."""
        return unit(judgement.embedded(self.model, self.faces))

    @cached_property
    def cosines(self) -> Float[np.ndarray, " P"]:
        """Of all pairs."""
        return np.sum(self.embeddings[self.pairs[:, 0]] * self.embeddings[self.pairs[:, 1]], axis=1)

    @cached_property
    def mean_face(self) -> Float[np.ndarray, "H W 3"]:
        """Of all faces."""
        total = np.zeros(self.faces.shape[1:], np.float64)
        for face in self.faces:
            total += face
        return (total / (255 * len(self.faces))).astype(np.float32)

    def case(self, pair: int) -> Case:
        """A pair as judges are given it."""
        probe, gallery = self.pairs[pair]
        return Case(
            model=self.model,
            probe=_floats(self.faces[probe]),
            gallery=_floats(self.faces[gallery]),
            same=bool(self.same[pair]),
            threshold=self.threshold,
            others=_floats(self.faces[self._others(pair)]),
            mean_face=self.mean_face,
            seed=(self.seed, pair),
        )

    def _others(self, pair: int) -> list[int]:
        """Faces that the model itself takes for other persons than both of the pair's.

        Pair lists do not name persons; should there be too few, the least alike come first. The
        pair's own two images are never among them.

        Raises:
            OptionError: there is no third face.
        """
        likeness = (self.embeddings @ self.embeddings[self.pairs[pair]].T).max(1)
        order = np.random.default_rng([self.seed, pair, OTHERS]).permutation(len(self.faces))
        strangers = [int(i) for i in order if likeness[i] < self.threshold]
        alike = [int(i) for i in np.argsort(likeness, kind="stable")]
        own = set(self.pairs[pair].tolist())
        found = [i for i in dict.fromkeys(strangers + alike) if i not in own]
        if not found:
            raise OptionError(
                "an evaluation needs faces of other persons than a pair's: give pairs with at "
                "least 3 faces in all"
            )
        return found[:OTHERS]


# What the table has beside the names of `registry.methods()`.
VARIANTS = (
    "fggb:smooth=3",
    "fggb:read=pair_specific",
    "fggb:gradient=signed",
    "fggb:gradient=signed:read=magnitude:smooth=3",
)


def chosen(
    methods: str, metrics: str, forwards: int | None
) -> tuple[list[MethodSpec], list[Judge]]:
    """The methods and judges that a command line names.

    Args:
        methods: specs with commas between them; "all" stands for all methods whose maps are of
            pixels, and `VARIANTS`.
        metrics: names with commas between them, or "all".
        forwards: passes of a black-box map, and of FAME's; None: as published.

    Raises:
        OptionError: a name or option that does not exist, or one given twice, or a method whose
            maps are not of pixels.
    """
    shared = {"forwards": forwards}
    listed = [text.strip() for text in methods.split(",") if text.strip()]
    every = [*(name for name in registry.methods() if _of_pixels(name)), *VARIANTS]
    texts = [t for text in listed for t in (every, [text])[text != "all"]]
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    names = [n for name in names for n in (judgement.judges(), [name])[name != "all"]]
    for what, given in (("method", texts), ("metric", names)):
        if not given:
            raise OptionError(f"no {what} was given; name some, or all")
        if twice := sorted({x for x in given if given.count(x) > 1}):
            raise OptionError(f"{what} {twice[0]!r} is given twice")
    specs = [MethodSpec.parse(text, shared) for text in texts]
    for spec in specs:
        if not _of_pixels(spec.method):
            raise OptionError(
                f"the maps of method {spec.method!r} are of {registry.find(spec.method).plane}, "
                "not of pixels: removing pixels by such a map means nothing, so it is not evaluated"
            )
    return specs, [judgement.find(name) for name in names]


def _of_pixels(method: str) -> bool:
    return registry.find(method).plane == "pixels"


def study(
    model: Any,
    listed: PairList,
    to_face: ToFace,
    threshold: float | str,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Study, dict[str, str], str]:
    """Read and align what is asked about.

    Args:
        model: the recognizer.
        listed: labelled pairs.
        to_face: as of `scoring.score`.
        threshold: a cosine, or "auto": the card's, else that of the equal error rate of these
            pairs.
        limit: at most so many pairs, half of them genuine, spread over the list.
        seed: of what judges draw.
        progress: called as progress(done, total) with counts of images.

    Returns:
        The study; image → why it is left out, with its pairs; where the threshold comes from.

    Raises:
        ImageError: no pair is left.
    """
    assert listed.same is not None  # the caller's to check
    picked = _picked(listed.same, limit)
    wanted = list(dict.fromkeys(listed.pairs[picked].ravel().tolist()))
    chips: dict[int, np.ndarray] = {}
    errors: dict[str, str] = {}
    for done, (i, found) in enumerate(aligned([(i, listed.images[i]) for i in wanted], to_face), 1):
        if isinstance(found, ImageError):
            errors[listed.images[i].name] = str(found)
        else:
            chips[i] = found
        if progress is not None:
            progress(done, len(wanted))
    left = [p for p in picked if all(int(i) in chips for i in listed.pairs[p])]
    if not left:
        raise ImageError("no pair is left whose two faces can be used")
    place = {i: k for k, i in enumerate(chips)}
    made = Study(
        model=model,
        faces=np.stack(list(chips.values())),
        pairs=np.array([[place[int(i)] for i in listed.pairs[p]] for p in left]),
        same=listed.same[left],
        threshold=math.nan,
        names=[listed.name(p) for p in left],
        seed=seed,
    )
    value, source = _threshold(made, threshold, model.card)
    return replace(made, threshold=value), errors, source


def _picked(same: np.ndarray, limit: int | None) -> list[int]:
    """Which pairs: of each kind half of the limit, evenly spread, in the list's order."""
    if limit is None or limit >= len(same):
        return list(range(len(same)))
    genuine, impostor = np.flatnonzero(same), np.flatnonzero(~same)
    first = min(max(limit // 2, limit - len(impostor)), len(genuine))
    parts = [
        kind[np.arange(count) * len(kind) // max(count, 1)]
        for kind, count in ((genuine, first), (impostor, min(limit - first, len(impostor))))
    ]
    return sorted(int(i) for part in parts for i in part)


def _threshold(study: Study, threshold: float | str, card: Card) -> tuple[float, str]:
    if threshold != "auto" or card.threshold is not None:
        return threshold_of(threshold, card)
    return calibrate(study.cosines, study.same, data="the pairs of this very evaluation")


def run(
    study: Study,
    methods: Sequence[MethodSpec],
    judges: Sequence[Judge],
    known: Sequence[Record] = (),
    *,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Record]:
    """Judge every method on every pair.

    Args:
        study: model and pairs.
        methods: to be judged.
        judges: each is given all methods' maps of the same pairs.
        known: records of an earlier run of the same study; what they hold is not done again.
        memory: a budget in bytes for each map.
        progress: called as progress(done, total) with counts of records.

    Yields:
        Pair by pair, in the order of `spread`, a record as plain values: `pair`, `method`, `judge`,
        and `scores` (null where a score makes no sense for a pair) or `error`. The judge "runtime"
        has the seconds and passes of a map.
    """
    done = {(r["pair"], r["method"], r["judge"]) for r in known if "error" not in r}
    total = len(study.pairs) * len(methods) * (len(judges) + 1)
    maker = MapMaker(study.model, study.threshold, memory)
    if progress is not None:
        progress(len(done), total)
    for pair in spread(len(study.pairs)):
        wanted = [
            (spec, judge)
            for spec in methods
            for judge in (None, *judges)
            if (pair, spec.text, judge.name if judge else RUNTIME) not in done
        ]
        case = study.case(pair) if wanted else None
        for spec, judge in wanted:
            assert case is not None
            yield _record(maker, case, pair, spec, judge)
            done.add((pair, spec.text, judge.name if judge else RUNTIME))
            if progress is not None:
                progress(len(done), total)


def spread(count: int) -> list[int]:
    """0 … count − 1 in an order of which every beginning is spread evenly over the whole.

    A run that is stopped early has then seen genuine and impostor pairs of all parts of the list.
    Van der Corput's order: the binary digits of 0, 1, 2, … reversed.

    Example:
        >>> spread(6)
        [0, 4, 2, 1, 5, 3]
    """
    bits = (count - 1).bit_length() or 1
    reversed_bits = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits))
    return [i for i in reversed_bits if i < count]


def _record(
    maker: MapMaker, case: Case, pair: int, spec: MethodSpec, judge: Judge | None
) -> Record:
    name = judge.name if judge else RUNTIME
    record: Record = {"pair": pair, "method": spec.text, "judge": name}
    try:
        if judge is None:
            made = maker.make(spec, case.probe, case.gallery)
            reading = spec.reading(made.face, made.cosine)
            scores: Mapping[str, Any] = {
                "seconds": made.seconds,
                "forwards": made.forwards,
                "backwards": made.backwards,
                # A map that holds nothing of a kind cannot be judged by it.
                "similarity_empty": float(not reading.similarity.any()),
                "dissimilarity_empty": float(not reading.dissimilarity.any()),
            }
        else:
            scores = judge.judge(case, maker.explainer(spec))
    except FggbError as error:  # costs this record alone
        return {**record, "error": str(error)}
    return {**record, "scores": {key: _plain(value) for key, value in scores.items()}}


def _plain(value: Any) -> Any:
    """A number or a list of them; what is no number is null, since JSON has none."""
    if np.ndim(value):
        return [_plain(v) for v in value]
    return float(value) if math.isfinite(value) else None


def _floats(face: np.ndarray) -> np.ndarray:
    return face.astype(np.float32) / np.float32(255)


# A run's folder. Records on disk: a line each, so that whatever ends a run loses one line at most.


RUN, RECORDS = "run.json", "records.jsonl"


def resume(folder: Path, run: Mapping[str, Any]) -> list[Record]:
    """The records that a folder has of the same run.

    Args:
        folder: may be empty.
        run: what records depend on, as plain values.

    Raises:
        OptionError: the folder has another run's records.
    """
    path, text = folder / RUN, json.dumps(run, indent=1, ensure_ascii=False, sort_keys=True)
    if not path.is_file():
        disk.write(path, io.BytesIO(text.encode()))
    elif (before := path.read_text("utf-8")) != text:
        raise OptionError(
            f"{folder} has a run with other {_changed(before, run)}: give another --out, or, to go "
            f"on with that run, the settings that {path} says it had"
        )
    return read_records(folder / RECORDS)


def _changed(before: str, run: Mapping[str, Any]) -> str:
    try:
        old = json.loads(before)
    except json.JSONDecodeError:
        return "settings"
    now = json.loads(json.dumps(run))
    return ", ".join(key for key in now if old.get(key) != now[key]) or "settings"


def read_records(path: Path) -> list[Record]:
    """The records of an earlier run; a last line that was cut off is left out."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise OptionError(
                    f"{path}, line {number}, is damaged: remove that line and give the same "
                    "command again, which makes its result anew"
                ) from None
    return records


def write_records(path: Path, records: Iterator[Record], known: Sequence[Record]) -> list[Record]:
    """Append records as they come; all of them, the known ones first."""
    kept = [record for record in known if "error" not in record]
    # Anew: a cut-off line and errors that are tried again are gone then. In one step, since a run
    # that is stopped here must not lose what others have made.
    disk.write(path, io.BytesIO("".join(map(_line, kept)).encode()))
    with path.open("a", encoding="utf-8") as file:
        for record in records:
            file.write(_line(record))
            file.flush()
            kept.append(record)
    return kept


def _line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
