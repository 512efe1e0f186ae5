"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MODEL = "dlib-resnet-v1"

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


def threshold_given(text: str) -> float | str:
    """A threshold option: "auto", or the cosine."""
    from fggb_jax.explanation import check_threshold

    return text if text == "auto" else check_threshold(text)
