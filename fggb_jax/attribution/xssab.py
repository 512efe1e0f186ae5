"""xSSAB: the channels that argue for the match and those that argue against it, pulled back apart.

Huber, Luu, Terhörst, Damer, "Efficient Explainable Face Verification based on Similarity Score
Argument Backpropagation", arXiv 2304.13409, WACV 2024. For unit embeddings f¹, f² of N channels,
the threshold t and v_k = f¹_k f²_k, whose sum is the cosine:

    f²⁺_k = f²_k where v_k ≥ t/N, else 0;   f²⁻ = f² − f²⁺
    S = mean_RGB |∂(f¹·f²⁺)/∂I| − mean_RGB |∂(f¹·f²⁻)/∂I|

two vector–Jacobian products. f¹ is differentiated through its normalisation.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fggb_jax.attribution.comparison import Comparison, unit
from fggb_jax.attribution.registry import face_method


# Which channels argue for the match depends on the threshold: another one is another explanation.
@face_method("xssab", "xSSAB", movable=False)
def xssab(c: Comparison) -> Float[np.ndarray, "H W"]:
    """How much more the channels for the match react to a pixel than those against it."""
    share = np.float32(c.threshold / len(c.target))
    speaks_for = unit(c.embeddings[0]) * c.target >= share
    parts = [np.where(chosen, c.target, np.float32(0)) for chosen in (speaks_for, ~speaks_for)]
    positive, negative = (np.abs(c.gradient(target=part)).mean(-1) for part in parts)
    return positive - negative
