"""What the library tells while a block runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from cachedeco import Event, listening
from cachedeco.runtime.hooks import runs_anywhere


@contextmanager
def heard(*kinds: str) -> Iterator[list[Event]]:
    """Give the list of the events of this block: of these kinds, or all."""
    events: list[Event] = []

    @runs_anywhere
    def hear(event: Event) -> None:
        if not kinds or event.kind in kinds:
            events.append(event)

    with listening(hear):
        yield events
