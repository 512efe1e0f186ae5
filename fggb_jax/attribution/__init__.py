"""Attribution methods, one a file; importing this package registers them all."""

from fggb_jax.attribution import (  # noqa: F401
    baselines,
    by_image,
    corrrise,
    fame,
    fggb,
    frequency,
    gradcam,
    gradient,
    half_hidden,
    integrated_gradients,
    lime,
    minplus,
    occlusion,
    partner_swap,
    rise,
    smoothgrad,
    srise,
    xface,
    xssab,
)
