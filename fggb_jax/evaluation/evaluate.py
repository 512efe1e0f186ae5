"""Judge methods on pairs, one record at a time, so that a run can stop and go on anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from fggb_jax.attribution import registry
from fggb_jax.attribution.embedding_pass import Progress
from fggb_jax.errors import FggbError, OptionError
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
from fggb_jax.evaluation.records import Record
from fggb_jax.evaluation.study import Study

RUNTIME = "runtime"  # the record of what a map took

# What the table has beside the names of `registry.methods()`.
VARIANTS = (
    "fggb:smooth=3",
    "fggb:read=pair_specific",
    "fggb:gradient=signed:norms=equal:smooth=6",
    "fggb:gradient=signed:norms=equal:read=magnitude:smooth=3",
)


def chosen(
    methods: str, metrics: str, forwards: int | None
) -> tuple[list[MethodSpec], list[Judge]]:
    """The methods and judges that a command line names.

    Args:
        methods: specs with commas between them; "all" stands for all methods whose maps are of
            pixels, and `VARIANTS`.
        metrics: names with commas between them, or "all".
        forwards: passes of a black-box map, and of FAME's, there and back; None: as published.

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
        Pair by pair, in the order of `spread`, and judge by judge, a record as plain values:
        `pair`, `method`, `judge`, and `scores` (null where a score makes no sense for a pair) or
        `error`. The judge "runtime" has the seconds and passes of a map.
    """
    done = {(r["pair"], r["method"], r["judge"]) for r in known if "error" not in r}
    total = len(study.pairs) * len(methods) * (len(judges) + 1)
    maker = MapMaker(study.model, study.threshold, memory)
    if progress is not None:
        progress(len(done), total)
    for pair in spread(len(study.pairs)):
        asked = [
            (judge, [m for m in methods if (pair, m.text, _name(judge)) not in done])
            for judge in (None, *judges)
        ]
        if not any(wanted for _, wanted in asked):
            continue
        case = study.case(pair)
        for judge, wanted in asked:
            if wanted and judge is not None and judge.prepare is not None:
                with suppress(FggbError):  # each map will say so for itself
                    judge.prepare(case, [maker.explainer(spec) for spec in wanted])
            for spec in wanted:
                yield _record(maker, case, pair, spec, judge)
                done.add((pair, spec.text, _name(judge)))
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
    record: Record = {"pair": pair, "method": spec.text, "judge": _name(judge)}
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


def _name(judge: Judge | None) -> str:
    return RUNTIME if judge is None else judge.name


def _plain(value: Any) -> Any:
    """A number or a list of them; what is no number is null, since JSON has none."""
    if np.ndim(value):
        return [_plain(v) for v in value]
    return float(value) if math.isfinite(value) else None
