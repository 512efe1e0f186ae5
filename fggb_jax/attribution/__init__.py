"""Attribution methods, one a file; importing this package registers them all."""

from fggb_jax.attribution import fggb  # noqa: F401
