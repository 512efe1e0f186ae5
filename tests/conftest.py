"""Strictness for every test: no silent promotion, several devices, the shared data found."""

import gc
import os
from pathlib import Path

# Before JAX starts: two host devices, so that nothing may assume there is one.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = Path(
    os.environ.get("FGGB_SHARED", Path(__file__).resolve().parents[2] / "shared" / "data")
)


@pytest.fixture(scope="module", autouse=True)
def programs_are_forgotten():
    """A process of thousands of compiled programs holds gigabytes, and grows slow."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def no_cards_of_ones_own(tmp_path_factory):
    """A developer's own cards and calibrated thresholds change no test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FGGB_CARDS", str(tmp_path_factory.mktemp("cards")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real faces and models that lies beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}; set FGGB_SHARED to the folder that has them")
    return SHARED


@pytest.fixture(scope="session")
def model_file(shared):
    """Find a real model's file by name."""
    return lambda name: shared / "models" / name


@pytest.fixture(scope="session")
def dlib_proto():
    """dlib's face ResNet as ONNX."""
    import dlib2onnx
    from fggb_jax.errors import ModelError
    from fggb_jax.models.load import dlib_weights

    try:
        return dlib2onnx.convert(dlib_weights())
    except ModelError as error:
        pytest.skip(str(error))
