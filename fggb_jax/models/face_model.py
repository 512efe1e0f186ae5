"""A face recognizer as a pytree: parameters, a pure embedding function, a card."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from fggb_jax.data.images import as_float
from fggb_jax.errors import ModelError
from fggb_jax.models.card import Card
from fggb_jax.precision import full_precision

EmbedFunction = Callable[[Any, Any], Any]
Stage = Callable[["FaceModel", Any], Any]
AnyArray = Array | np.ndarray
Images = Float[AnyArray, "B H W 3"] | UInt8[AnyArray, "B H W 3"]


@jax.tree_util.register_pytree_node_class
class FaceModel:
    """Any JAX callable that embeds faces, with the card that says what it wants.

    It is a pytree whose leaves are those of `params`, so it passes through `jit`, `vmap`, `grad`
    and shardings as an argument; and it is itself a pure function of one image.

    Args:
        embed: a pure function `embed(params, x) → (N,)` of one face, x preprocessed and laid out
            as the card says, without a batch axis. A flax.nnx module goes through
            `FaceModel.from_nnx`; an Equinox module may be the params of `lambda m, x: m(x)`.
        params: any pytree of arrays.
        card: the preprocessing.
        sha256: of the file that the params come from, where there is one.

    Example:
        >>> import jax.numpy as jnp, fggb_jax as fx
        >>> card = fx.Card("mean-color", size=(8, 8), layout="HWC")
        >>> model = fx.FaceModel(lambda p, x: p * x.mean((0, 1)), jnp.ones(3), card)
        >>> model(jnp.ones((8, 8, 3))).tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(
        self, embed: EmbedFunction, params: Any, card: Card, sha256: str | None = None
    ) -> None:
        if not callable(embed):
            raise ModelError(f"embed is {embed!r}; give a function embed(params, x) → (N,)")
        self.function = embed
        self.params = params
        self.card = card
        self.sha256 = sha256

    def __call__(self, image: Float[Array, "H W 3"]) -> Float[Array, " N"]:
        """Embed one aligned RGB face in [0, 1]: (H, W, 3) → (N,). Pure."""
        return self.function(self.params, self.card.preprocess(image))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Pure functions (model, x) → x whose composition is the model, image first.

        A converted network is cut where its resolution changes, which lets the channel engine
        take fewer channels at once where they are large. Any other callable is one stage; one with
        an attribute `stages`, functions (params, x) → x that compose to it, is cut at these.
        """
        cut = _cut(self.function)
        first = lambda model, x: cut[0](model.params, model.card.preprocess(x))  # noqa: E731
        return (first, *(partial(_run_stage, stage) for stage in cut[1:]))

    def embed(self, images: Images) -> Float[Array, "B N"]:
        """Embed a batch of aligned faces.

        Args:
            images: (B, H, W, 3) RGB, float in [0, 1] or uint8 in [0, 255].

        Returns:
            (B, N) float32, of full float32 products on every device unless
            `jax.default_matmul_precision` says otherwise.

        Raises:
            ImageError: the shape is not the card's, or values are out of range or not finite.
        """
        images = as_float(images, (None, *self.card.size, 3), self.card.name)
        with full_precision():
            return _embed_batch(self, images)

    @cached_property
    def dimension(self) -> int:
        """The number of channels N of the embedding.

        Raises:
            ModelError: the function does not return one vector for one face.
        """
        image = jax.ShapeDtypeStruct((*self.card.size, 3), jnp.float32)
        shape = jax.eval_shape(lambda model, x: model(x), self, image)
        if not isinstance(shape, jax.ShapeDtypeStruct) or len(shape.shape) != 1:
            shapes = jax.tree.map(lambda s: s.shape, shape)
            raise ModelError(
                f"{self.card.name!r} returns {shapes} for one face, not one embedding (N,): "
                "is it a face recognizer?"
            )
        return shape.shape[0]

    @classmethod
    def from_nnx(cls, module: Any, card: Card, sha256: str | None = None) -> FaceModel:
        """Wrap a flax.nnx module that maps a batch (1, …) to (1, N), in evaluation mode.

        Args:
            module: an `flax.nnx.Module`; it is not changed.
            card: the preprocessing; its layout is most often "HWC" for flax.
            sha256: of the module's weights, where there is one.
        """
        from flax import nnx

        graph, state = nnx.split(module)

        def embed(params: Any, x: Any) -> Any:
            network = nnx.merge(graph, params)
            network.eval()  # batch statistics as trained, no dropout
            return network(x[None])[0]

        return cls(embed, state, card, sha256)

    def tree_flatten(self) -> tuple[tuple[Any], tuple[Any, ...]]:
        return (self.params,), (self.function, self.card, self.sha256)

    @classmethod
    def tree_unflatten(cls, aux: tuple[Any, ...], children: tuple[Any]) -> FaceModel:
        function, card, sha256 = aux
        return cls(function, children[0], card, sha256)

    def __repr__(self) -> str:
        height, width = self.card.size
        return f"FaceModel({self.card.name!r}, {height}×{width} {self.card.color})"


def _cut(function: EmbedFunction) -> tuple[EmbedFunction, ...]:
    """The stages that an embedding function offers."""
    return getattr(function, "stages", None) or (function,)


def _run_stage(stage: EmbedFunction, model: FaceModel, x: Any) -> Any:
    return stage(model.params, x)


@jax.jit
def _embed_batch(model: FaceModel, images: Array) -> Array:
    return jax.vmap(model)(images).astype(jnp.float32)
