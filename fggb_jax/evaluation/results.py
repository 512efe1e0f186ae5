"""What an evaluation leaves: table.json, table.md, curves.png and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fggb_jax.evaluation.curves_figure import draw
from fggb_jax.evaluation.judgement import Judge
from fggb_jax.evaluation.map_maker import MapMaker
from fggb_jax.evaluation.map_table import (
    NOTE,
    markdown,
    mean_curve,
    runtimes,
    score_matrix,
    summaries,
    tables,
)
from fggb_jax.evaluation.method_spec import MethodSpec
from fggb_jax.evaluation.records import Record
from fggb_jax.evaluation.study import Study
from fggb_jax.report.evaluation_page import Shown, chosen_pairs, render


def write_results(
    folder: Path,
    study: Study,
    methods: Sequence[MethodSpec],
    judges: Sequence[Judge],
    records: Sequence[Record],
    run: Mapping[str, Any],
    memory: int | None = None,
) -> dict[str, Any]:
    """Write all that the records say of these methods and judges.

    Args:
        folder: where to.
        study: the pairs.
        methods: in the order of the tables.
        judges: likewise.
        records: of a run; those of other methods and judges are left out.
        run: what the run was, as plain values.
        memory: of the maps that are shown.

    Returns:
        What table.json holds.
    """
    names, pairs = [spec.text for spec in methods], len(study.pairs)
    summary, times = summaries(records, judges, names, pairs), runtimes(records, names, pairs)
    found = {
        "run": dict(run),
        "methods": names,
        "scores": {
            judge.name: {
                score: {
                    "better": judge.scores[score],
                    "methods": {name: asdict(s) for name, s in by_method.items()},
                }
                for score, by_method in summary[judge.name].items()
            }
            for judge in judges
        },
        "quoted": {judge.name: judge.quoted for judge in judges if judge.quoted},
        "curves": _curves(records, judges, names),
        "cost": times,
        "errors": [r for r in records if "error" in r],
    }
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (folder / "table.json").write_text(text + "\n", "utf-8")
    made = tables(summary, times, judges, names)
    facts = _facts(study, run)
    heading = "# Methods judged\n\n" + "\n".join(f"- {fact}" for fact in facts)
    (folder / "table.md").write_text(f"{heading}\n\n{markdown(made)}", "utf-8")
    figure = draw(records, judges, names)
    if figure is not None:
        figure.savefig(folder / "curves.png", dpi=150)
    judge = judges[0]
    score = next(iter(summary[judge.name]), next(iter(judge.scores)))
    shown = _shown(study, methods, judge, score, records, memory)
    by = f"{judge.title}: {score.replace('_', ' ')}"
    rows = [vars(table) for table in made if table.rows]
    page = render("Methods judged", [*facts, NOTE], rows, figure, shown, by)
    (folder / "evaluation.html").write_text(page, "utf-8")
    return found


def _curves(
    records: Sequence[Record], judges: Sequence[Judge], methods: Sequence[str]
) -> dict[str, Any]:
    """Judge → curve → its axis, where it is measured, and the mean of each method."""
    found: dict[str, Any] = {}
    for judge in judges:
        for curve, (axis, at) in judge.curves.items():
            means = {m: mean_curve(records, judge.name, curve, m) for m in methods}
            lines = {m: values.tolist() for m, values in means.items() if values is not None}
            if lines:
                entry = {"axis": axis, "at": list(at), "methods": lines}
                found.setdefault(judge.name, {})[curve] = entry
    return found


def _facts(study: Study, run: Mapping[str, Any]) -> list[str]:
    genuine = int(study.same.sum())
    return [
        f"{len(study.pairs)} pairs, {genuine} genuine and {len(study.pairs) - genuine} impostor: "
        f"{run['pairs']}",
        f"model {run['model']}, faces: {run['faces']}",
        f"threshold {study.threshold:.4f}: {run['threshold_source']}",
        f"passes of a black-box map, and of FAME's, there and back: "
        f"{run['forwards'] or 'as published'}; seed "
        f"{study.seed}",
    ]


def _shown(
    study: Study,
    methods: Sequence[MethodSpec],
    judge: Judge,
    score: str,
    records: Sequence[Record],
    memory: int | None,
) -> dict[str, list[Shown]]:
    """Each method's best, typical and worst pair; their maps are made once more."""
    maker = MapMaker(study.model, study.threshold, memory)
    names = [spec.text for spec in methods]
    values = score_matrix(records, judge.name, score, names, len(study.pairs))
    found = {}
    for spec, row in zip(methods, values, strict=True):
        picked = chosen_pairs(row, judge.scores[score] == "higher")
        found[spec.text] = [
            _one(study, maker, spec, title, pair, float(row[pair]))
            for title, pair in picked.items()
        ]
    return found


def _one(
    study: Study, maker: MapMaker, spec: MethodSpec, title: str, pair: int, value: float
) -> Shown:
    case = study.case(pair)
    reading = maker.explainer(spec)(case.probe, case.gallery)
    cosine = float(study.cosines[pair])
    decision = "accepted" if cosine >= study.threshold else "rejected"
    kind = "genuine" if case.same else "impostor"
    probe, gallery = (study.faces[i] for i in study.pairs[pair])
    return Shown(
        title,
        study.names[pair],
        probe,
        gallery,
        reading.signed,
        f"{value:.3g}; {kind}, cosine {cosine:.3f}, {decision}",
    )
