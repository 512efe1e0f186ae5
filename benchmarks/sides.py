"""Processes that work in turn, so that neither side's threads or memory disturb the other's."""

import multiprocessing
from collections.abc import Callable
from typing import Any


class Side:
    """A process, seen from here: `ask` sends an order and waits for the answer.

    Args:
        serve: what the process runs, a function of a module: serve(pipe, *arguments). It answers
            each order that it receives, a tuple, until ("stop",).
        arguments: for it.
    """

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        self.serve, self.arguments = serve, arguments
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=self.serve, args=(other, *self.arguments), daemon=True
        )
        self.process.start()
        other.close()

    def ask(self, *order: Any, seconds: float | None = None) -> Any:
        """The answer to an order.

        Raises:
            TimeoutError: none came in so many seconds; the process was replaced by a new one.
            EOFError: the process died; likewise.
        """
        self.pipe.send(order)
        try:
            if not self.pipe.poll(seconds):
                raise TimeoutError(f"no answer in {seconds:.0f} s")
            return self.pipe.recv()
        except (TimeoutError, EOFError):
            self.process.kill()
            self.process.join()
            self._start()
            raise

    def stop(self) -> None:
        """End the process."""
        self.pipe.send(("stop",))
        self.process.join()
