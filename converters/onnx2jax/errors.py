"""What can go wrong between an ONNX file and a JAX function."""


class OnnxError(Exception):
    """Anything this package raises on purpose. The message says what was wrong and what to do."""


class InvalidModelError(OnnxError, ValueError):
    """The file is not a valid ONNX model: truncated, empty, cyclic, mistyped …"""


class UnsupportedModelError(OnnxError, NotImplementedError):
    """A valid model that asks for something not written yet; all such things are listed at once."""


class InputError(OnnxError, ValueError):
    """The arrays given to a model do not fit its declared inputs."""


class OperatorError(OnnxError, ValueError):
    """An operator could not be evaluated; the node is named."""


class DataDependentError(OperatorError):
    """A size or a branch depends on a value that is traced; the remedy is in the message."""
