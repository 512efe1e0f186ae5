"""dlib's neural network files → ONNX.

    import dlib2onnx

    proto = dlib2onnx.convert("dlib_face_recognition_resnet_model_v1.dat")

Reads dlib's serialization with NumPy alone; neither dlib nor JAX is needed.
"""

from dlib2onnx.convert import convert
from dlib2onnx.errors import DlibFormatError

__all__ = ["DlibFormatError", "convert"]
