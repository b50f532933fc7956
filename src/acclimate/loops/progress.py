"""A progress bar on the terminal: steps, loss, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar(total: int, done: int, wanted: bool | None) -> Iterator[Callable[[float], None]]:
    """Tell it the loss after each step; ``wanted=None`` shows it where the output is a terminal."""
    from tqdm import tqdm

    with tqdm(
        total=total, initial=done, disable=None if wanted is None else not wanted, leave=False, unit="step"
    ) as shown:

        def tell(loss: float) -> None:
            shown.set_postfix(loss=f"{loss:.3f}", refresh=False)
            shown.update()

        yield tell
