"""`PendingEntry`: what waits for the commits of several transactions."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class PendingEntry(Generic[T]):
    """An entry, or several of one function, that is delivered when the last of several transactions commits."""

    __slots__ = ("commits_left", "deliver", "is_dropped", "item", "values")

    def __init__(
        self, deliver: Callable[[list[T]], object], item: T, values: Mapping[str, bytes], commits_left: int
    ) -> None:
        """Wait for so many commits."""
        self.deliver = deliver
        self.item = item
        self.values = values
        self.commits_left = commits_left
        self.is_dropped = False

    def drop(self) -> None:
        """Never deliver: one of the transactions has undone what the item was computed from."""
        self.is_dropped = True
