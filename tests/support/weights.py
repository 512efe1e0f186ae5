"""A file of weights, as a server hands it out."""

import hashlib

import numpy as np

CONTENT = np.random.default_rng(0).bytes(1 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "/models/face.onnx"
