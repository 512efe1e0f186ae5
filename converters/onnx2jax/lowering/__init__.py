"""How operators are computed on each backend, where the plain form is slow."""
