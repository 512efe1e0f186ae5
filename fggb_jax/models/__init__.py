"""Face models: cards, the pytree that wraps any JAX callable, and loading."""
