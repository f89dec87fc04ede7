"""Invalidations that survive: a Django app that keeps them as rows of the transaction, until a cache has them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachedeco.outbox.delivery import Report


def deliver(*, databases: "Sequence[str] | None" = None, batch: int = 500, replay: bool = False) -> "Report":
    """
    Deliver, once, what no cache has acknowledged yet, and delete what is past the replay window.

    For a periodic task: `manage.py cachedeco deliver` does the same from a shell, and its `--loop` also notices when a
    server returns with old memory. Several at the same time do no harm.

    Args:
        databases: Aliases of the databases whose rows to deliver; None is every one that has the table.

        batch: How many rows to deliver together.

        replay: Deliver also what was acknowledged within `OUTBOX_SECONDS`: for a server that forgot it.

    Returns:
        How many invalidations were delivered and replayed, and how many wait still.
    """
    from cachedeco.outbox.delivery import Deliverer

    return Deliverer(databases, batch).run(replay=replay)
