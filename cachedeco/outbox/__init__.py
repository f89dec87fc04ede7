"""Transactional outbox: invalidations are rows of the caller's transaction until a cache acknowledges them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachedeco.outbox.delivery import Report


def deliver(*, databases: "Sequence[str] | None" = None, batch: int = 500, replay: bool = False) -> "Report":
    """
    Deliver all invalidations that no cache has acknowledged yet, and delete rows past the replay window; then return.

    For a periodic task: `manage.py cachedeco deliver` does the same from a shell, and its `--loop` also notices when a
    server returns with old memory. Several deliverers may run at the same time.

    Args:
        databases: Aliases of the databases whose rows to deliver; None is every database that has the table.

        batch: Number of rows to deliver together.

        replay: Also deliver rows that were acknowledged within `OUTBOX_SECONDS`: for a server that lost them.

    Returns:
        The numbers of invalidations that were delivered, were replayed, and still wait.
    """
    from cachedeco.outbox.delivery import Deliverer

    return Deliverer(databases, batch).run(replay=replay)
