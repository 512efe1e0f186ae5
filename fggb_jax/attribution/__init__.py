"""Attribution methods, one a file; importing this package registers them all."""

from fggb_jax.attribution import by_image, fggb, gradient, occlusion  # noqa: F401
