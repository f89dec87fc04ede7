"""
Until commit, and what this transaction has touched.

What waits lies in Django's own list of commit hooks, `connection.run_on_commit`, and nowhere else: Django drops it
at a rollback, to a savepoint too, and so what a transaction has touched is always what is still waiting.

`TestCase` wraps each test in `atomic()` blocks that never commit, and marks them. They are no transaction to wait
for. An `atomic()` of the test's own inside them is: production would deliver when it ends. Nobody calls us at that
moment, so what waited is delivered at the next question asked of this connection, which is before anybody in the
test can see the difference.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

# Ids of what waits anywhere in this process. Empty nearly always, and then a hit need not ask its connections.
waiting: set[int] = set()


class AtCommit(Generic[T]):
    """Deliver items when the transaction that they were handed to commits."""

    def __init__(self, deliver: Callable[[list[T]], object], savepoint: str | None) -> None:
        """Begin with nothing to deliver."""
        self.deliver = deliver
        self.items: list[T] = []
        self.touched: set[str] = set()
        self.savepoint = savepoint  # of the test's own outermost block, inside TestCase
        waiting.add(id(self))

    def __call__(self) -> None:
        """Deliver, once: in a test this may have happened when Django calls it."""
        items, self.items = self.items, []
        self.touched.clear()
        waiting.discard(id(self))
        if items:
            self.deliver(items)

    def __del__(self) -> None:
        """Stop waiting after a rollback: Django has dropped us."""
        waiting.discard(id(self))


def at_commit(using: str, deliver: Callable[[list[T]], object], item: T, touches: Iterable[str] = ()) -> None:
    """
    Deliver an item when the transaction open on a database commits; at once where there is none.

    Items of one transaction that are delivered by the same function are delivered together. After a rollback, of the
    transaction or of the savepoint, nothing is delivered.

    Args:
        using: Alias of the database.

        deliver: Takes the list of items. It must not raise.

        item: What to deliver.

        touches: Keys for which `touched()` is to answer yes on this connection until then.
    """
    connection = connections[using]
    blocks = _test_blocks(connection)
    own = connection.savepoint_ids[blocks - 1] if 0 < blocks < len(connection.atomic_blocks) else None
    if not connection.in_atomic_block or (blocks and own is None):
        deliver([item])
        return
    pending = _joinable(connection, deliver)
    if pending is None:
        pending = AtCommit(deliver, own)
        hook: Any = (set(connection.savepoint_ids), pending, True)
        # A hook of the user's that raises stops all that come after it: ours goes first, or an invalidation is lost.
        # In a test it goes last, as captureOnCommitCallbacks() counts what stood in the list before.
        connection.run_on_commit.insert(len(connection.run_on_commit) if blocks else 0, hook)
    pending.items.append(item)
    pending.touched.update(touches)


def _test_blocks(connection: BaseDatabaseWrapper) -> int:
    """Count the outermost blocks that belong to TestCase."""
    blocks: list[Any] = connection.atomic_blocks
    return next((n for n, block in enumerate(blocks) if not block._from_testcase), len(blocks))  # noqa: SLF001


def _joinable(connection: BaseDatabaseWrapper, deliver: Callable[[list[T]], object]) -> AtCommit[T] | None:
    """Find what waits for the same commit, under the same savepoints, to be delivered by the same function."""
    savepoints = set(connection.savepoint_ids)
    for ids, hook in _hooks_of(connection):
        if ids == savepoints and hook.deliver == deliver:
            return hook
    return None


def _hooks_of(connection: BaseDatabaseWrapper) -> list[tuple[set[str | None], AtCommit[Any]]]:
    """Return what of ours waits for this connection's commit, with the savepoints that it lies under."""
    hooks: list[Any] = connection.run_on_commit
    return [(ids, hook) for ids, hook, _ in hooks if isinstance(hook, AtCommit) and id(hook) in waiting]


def touched(keys: Iterable[str]) -> bool:
    """
    Tell whether a transaction open in this thread has touched one of these keys.

    Deliver first what a test's own transactions, ended by now, have left waiting.
    """
    wanted = set(keys)
    return any(not wanted.isdisjoint(hook.touched) for hook in _waiting_here())


def settle() -> None:
    """Deliver what a test's own transactions, ended by now, have left waiting."""
    if waiting:
        _waiting_here()


def _waiting_here() -> list[AtCommit[Any]]:
    still = []
    for connection in connections.all(initialized_only=True):
        for _ids, hook in _hooks_of(connection):
            if hook.savepoint is None or hook.savepoint in connection.savepoint_ids:
                still.append(hook)
            else:
                hook()
    return still


def snapshot_may_be_old(using: str) -> bool:
    """
    Tell whether what is read on this connection, as it is now, may be older than what a stamp read now vouches for.

    In a transaction at REPEATABLE READ or above, on SQLite, and wherever we can't tell, a read does not see what a
    writer has committed, and invalidated, since the transaction began: such a value must not be stored.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        return _test_blocks(connection) < len(connection.atomic_blocks) and not _reads_committed(connection)
    # Where the caller manages transactions by hand, nobody tells us when one begins or ends.
    return connection.connection is not None and not connection.autocommit


def _reads_committed(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether each statement sees all that was committed before it: READ COMMITTED, known for certain."""
    if connection.vendor == "oracle":
        return True  # its default, and Django offers no other
    level = getattr(connection, "isolation_level", None)
    name = getattr(level, "name", level)  # PostgreSQL's driver has an enum, MySQL's a text
    return isinstance(name, str) and name.replace("_", " ").lower() == "read committed"
