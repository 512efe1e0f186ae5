"""dlib's neural network files → ONNX, and its landmark predictors → NumPy.

    import dlib2onnx

    proto = dlib2onnx.convert("dlib_face_recognition_resnet_model_v1.dat")
    detector = dlib2onnx.convert("mmod_human_face_detector.dat")
    predictor = dlib2onnx.read_shape_predictor("shape_predictor_5_face_landmarks.dat")

Reads dlib's serialization with NumPy alone; neither dlib nor JAX is needed.
"""

from dlib2onnx.convert import convert
from dlib2onnx.errors import DlibFormatError
from dlib2onnx.shape_predictor import Level, ShapePredictor, read_shape_predictor

__all__ = ["DlibFormatError", "Level", "ShapePredictor", "convert", "read_shape_predictor"]
