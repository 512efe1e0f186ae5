"""Functions of a model and images, made ready for many images on a CPU.

What depends on the model's parameters alone, kernels with the normalizations beside them and
Winograd's transforms of these, is computed once for a model. The rest is one program of a few
images, channels last; it goes to as many threads as there are cores, since XLA alone keeps them
busy in large matrix products only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import jax
import numpy as np

from fggb_jax.attribution.jacobian import current_settings, in_threads
from fggb_jax.attribution.memory import described, plan_threads
from fggb_jax.attribution.pullback import Program, Pullback, divide, evaluate, results_of
from fggb_jax.errors import OptionError
from fggb_jax.models.face_model import FaceModel
from onnx2jax.lowering.channels_last import parameter, placed, read, run
from onnx2jax.lowering.conv import Form

Shapes = Sequence[jax.ShapeDtypeStruct]
T = TypeVar("T")

ROWS = 64  # of a product of Winograd's transforms; with 16 or 32 the smaller blocks are faster

# Winograd's transforms, and the share of a memory budget that kernels may take with them: these are
# 4 times the plain ones, or 16/9, and are made by one program, which may take as much again.
FORMS = ((Form(winograd=4, rows=ROWS), 1 / 4), (Form(winograd=2), 1 / 2), (Form(winograd=0), 1 / 2))


class Traced:
    """A function whose parameters' part is apart from the rest; compared by identity.

    Attributes:
        program: of the arguments that are not parameters; its kernels are not in it.
        compiled: whether it has been evaluated before.
    """

    def __init__(
        self, function: Callable[..., Any], parameters: Shapes, arguments: Shapes, form: Form
    ) -> None:
        """Trace it.

        Args:
            function: of arrays: the parameters, then the arguments; returns arrays.
            parameters: shapes of the former.
            arguments: shapes of the latter.
            form: of convolutions.
        """
        closed = jax.make_jaxpr(function)(*parameters, *arguments)
        count, results = len(arguments), len(closed.jaxpr.outvars)
        early, late = divide(closed.jaxpr, count, results)
        variables = (*closed.jaxpr.constvars, *closed.jaxpr.invars)

        def fast(*arrays: Any) -> list[Any]:
            values = dict(zip(variables, (*closed.consts, *arrays), strict=True))
            evaluate(early, values)
            inner = {v: parameter(values[v], tuple(range(v.aval.ndim))) for v in late.kernels}
            inner |= {v: placed(values[v]) for v in late.arguments}
            run(late.eqns, inner, form=form, fold=True)
            return [read(inner, v).plain for v in late.outvars]

        closed = jax.make_jaxpr(fast)(*parameters, *arguments)
        self.program: Program = divide(closed.jaxpr, count, results)[1]
        self.compiled = False
        self._kernels = jax.jit(partial(results_of, closed, self.program.kernels))

    def of(self, model: Any) -> Pullback:
        """The function of a model's parameters."""
        return Pullback(self.program, self._kernels(*jax.tree.leaves(model)), ())


@jax.jit
def evaluated(function: Pullback, *arguments: Any) -> Any:
    """What a function that was made ready makes of its arguments."""
    return function(*arguments)


@dataclass(frozen=True, eq=False)
class Ready:
    """A model that is made ready, within a budget.

    Attributes:
        traced: what was asked for.
        functions: these of the model.
        threads: groups of images at a time.
    """

    traced: tuple[Traced, ...]
    functions: tuple[Pullback, ...]
    threads: int

    def by_group(self, one: Callable[[np.ndarray], T], parts: Iterable[np.ndarray], size: int) -> T:
        """Arrays, or a tuple of them, of many images, a few at a time.

        Args:
            one: (size, H, W, 3) → arrays of as many rows, by the functions.
            parts: the images, K ≥ 1, some (b, H, W, 3) at a time; each is asked for while those
                before it are worked on.
            size: images of a group; the last one of a part is filled up.

        Returns:
            As of `one`, of K rows.
        """

        def group(images: np.ndarray) -> T:
            found = one(_filled(images, size))
            return jax.tree.map(lambda rows: np.asarray(rows)[: len(images)], found)

        groups = (part[i : i + size] for part in parts for i in range(0, len(part), size))
        # What compiles goes first and alone: two threads would compile the same twice.
        compiled = all(one.compiled for one in self.traced)
        found = [*in_threads(group, groups, self.threads, alone=int(not compiled))]
        for traced in self.traced:
            traced.compiled = True
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def _filled(images: np.ndarray, size: int) -> np.ndarray:
    """With the last one again and again: another shape would compile anew."""
    missing = size - len(images)
    return np.concatenate([images, np.repeat(images[-1:], missing, 0)]) if missing else images


def made_ready(
    model: FaceModel, trace: Callable[..., tuple[Traced, ...]], memory: int | None
) -> Ready | None:
    """The model made ready, once; None where its kernels do not fit a budget in bytes.

    Args:
        model: whose functions are wanted.
        trace: (structure of the model, shapes of its leaves, (H, W), form, settings that JAX's own
            caches distinguish as well) → the functions; cached, so that all models of a structure
            are traced once.
        memory: the budget; that of `limits` where None.
    """
    settings = tuple(current_settings().values())
    _, structure, shapes = described(model)
    for form, share in FORMS:
        traced = trace(structure, shapes, model.card.size, form, settings)
        with contextlib.suppress(OptionError):
            threads = plan_threads([one.program for one in traced], memory, share)
            made = _READY.setdefault(model, {})
            if traced not in made:
                made[traced] = tuple(one.of(model) for one in traced)
            return Ready(traced, made[traced], threads)
    return None


# Kernels are kept as long as the model lives.
_READY: WeakKeyDictionary[FaceModel, dict[Any, tuple[Pullback, ...]]] = WeakKeyDictionary()
