"""
Until commit, and what this transaction has touched.

What waits lies in Django's own list of commit hooks, `connection.run_on_commit`, and nowhere else: Django drops it
at a rollback, to a savepoint too, and so what a transaction has touched is always what is still waiting.

`TestCase` wraps each test in `atomic()` blocks that never commit, and marks them. They are no transaction to wait
for. An `atomic()` of the test's own inside them is: production would deliver when it ends. Nobody calls us at that
moment, so what waited is delivered at the next question asked of this connection, which is before anybody in the
test can see the difference.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar
from weakref import ref

from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")
Block = tuple[Any, str | None]  # an Atomic and its savepoint: the outermost has none, nor has `atomic(savepoint=False)`

# Ids of what waits anywhere in this process. Empty nearly always, and then a hit need not ask its connections.
waiting: set[int] = set()


class AtCommit(Generic[T]):
    """Deliver items when the transaction that they were handed to commits."""

    def __init__(self, deliver: Callable[[list[T]], object], block: Block | None) -> None:
        """Begin with nothing to deliver."""
        self.deliver = deliver
        self.items: dict[T, None] = {}  # in order, each once
        self.invalidated_in_transaction: set[str] = set()
        self.block = block  # the test's own outermost one, inside TestCase
        # The hook of ours that Django calls next. Weak, so that a rollback drops it.
        self.following: Callable[[], AtCommit[Any] | None] = lambda: None
        self.__qualname__ = type(self).__qualname__  # Django logs it if the hook raises
        waiting.add(id(self))

    def __call__(self) -> None:
        """Deliver, once: in a test this may have happened when Django calls it."""
        items, self.items = list(self.items), {}
        self.invalidated_in_transaction.clear()
        waiting.discard(id(self))
        try:
            if items:
                self.deliver(items)
        except BaseException:  # an interrupt, after which Django drops the hooks that follow
            hook = self.following()
            while hook is not None:
                with suppress(Exception):
                    hook()
                hook = hook.following()
            raise

    def __del__(self) -> None:
        """Stop waiting after a rollback: Django has dropped us."""
        waiting.discard(id(self))


def at_commit(
    using: str, deliver: Callable[[list[T]], object], items: Collection[T], invalidates: Iterable[str] = ()
) -> None:
    """
    Deliver items when the transaction open on a database commits; at once where there is none.

    Items of one transaction that are delivered by the same function are delivered together. After a rollback, of the
    transaction or of the savepoint, nothing is delivered.

    Where the caller manages transactions by hand, nobody may ever tell us of a commit: the items are delivered at
    once, and once more if Django does.

    Args:
        using: Alias of the database.

        deliver: Takes the list of items. It raises nothing but interrupts.

        items: What to deliver; hashable, each delivered once however often it is handed over.

        invalidates: Keys for which `invalidated_in_transaction()` answers yes on this connection until then.
    """
    connection = connections[using]
    block, by_hand = _open_block(connection), _is_managed_by_hand(connection)
    if block is not None or by_hand:
        pending = _joinable(connection, deliver) or _joined(connection, deliver, block)
        pending.items |= dict.fromkeys(items)
        pending.invalidated_in_transaction.update(invalidates)
    if block is None or by_hand:
        deliver(list(items))


def _joined(connection: BaseDatabaseWrapper, deliver: Callable[[list[T]], object], block: Block | None) -> AtCommit[T]:
    """Enter a new hook into Django's list."""
    in_test = _is_in_test(connection)
    pending = AtCommit(deliver, block if in_test else None)
    ours = _hooks_of(connection)
    if ours:
        ours[-1][1].following = ref(pending)
    # Robust: Django logs an Exception of the hook and calls the hooks that follow.
    hook: Any = (set(connection.savepoint_ids), pending, True)
    # A hook of the user's that raises stops all that come after it: ours stand before those, or an invalidation is
    # lost. In a test it goes last, as captureOnCommitCallbacks() counts what stood in the list before.
    place = len(connection.run_on_commit) if in_test else len(ours)
    connection.run_on_commit.insert(place, hook)
    return pending


def _joinable(connection: BaseDatabaseWrapper, deliver: Callable[[list[T]], object]) -> AtCommit[T] | None:
    """Find what waits last to be delivered by the same function, if it lies under the same savepoints."""
    # Only the last: behind another one's items, what comes now would be delivered before them.
    ids, hook = next((each for each in reversed(_hooks_of(connection)) if each[1].deliver == deliver), (set(), None))
    return hook if ids == set(connection.savepoint_ids) else None


# --- what waits here ---


def invalidated_in_transaction(keys: Iterable[str]) -> bool:
    """
    Tell whether a transaction open in this thread has touched one of these keys.

    Deliver first what a test's own transactions, ended by now, have left waiting.
    """
    wanted = set(keys)
    return any(not wanted.isdisjoint(hook.invalidated_in_transaction) for hook in _waiting_here())


def items_for(deliver: Callable[[list[T]], object]) -> list[T]:
    """Return what waits in this thread to be delivered by a function, the latest last."""
    return [item for hook in _waiting_here() if hook.deliver == deliver for item in hook.items]


def waiting_on(using: str, deliver: Callable[[list[T]], object]) -> list[Collection[T]]:
    """
    Return what waits on a connection to be delivered by a function: in groups, the earliest first; views, not copies.

    All of it is delivered whenever what comes now is: a savepoint that it lies under is open still, or was released.
    """
    return [hook.items.keys() for _ids, hook in _hooks_of(connections[using]) if hook.deliver == deliver]


def _waiting_here() -> list[AtCommit[Any]]:
    still: list[AtCommit[Any]] = []
    for connection in connections.all(initialized_only=True):
        for _ids, hook in _hooks_of(connection):
            if hook.block is None or hook.block in _blocks(connection):
                still.append(hook)
            else:
                hook()
    return still


def _hooks_of(connection: BaseDatabaseWrapper) -> list[tuple[set[str | None], AtCommit[Any]]]:
    """Return what of ours waits for this connection's commit, with the savepoints that it lies under."""
    hooks: list[Any] = connection.run_on_commit
    return [(ids, hook) for ids, hook, _ in hooks if isinstance(hook, AtCommit) and id(hook) in waiting]


# --- what kind of transaction is open ---


def is_open(using: str) -> bool:
    """Tell whether a rollback could still undo what is written on this connection now."""
    connection = connections[using]
    return _open_block(connection) is not None or _is_managed_by_hand(connection)


def writes_can_roll_back(alias: str) -> bool:
    """Tell whether a rollback would undo what is written to a cache now: on the database cache, inside `atomic()`."""
    cache = caches[alias]
    return isinstance(cache, DatabaseCache) and is_open(router.db_for_write(cache.cache_model_class))


def snapshot_may_be_old(using: str) -> bool:
    """
    Tell whether what is read on this connection, as it is now, may be older than what a stamp read now vouches for.

    In a transaction at REPEATABLE READ or above, on SQLite, and wherever we can't tell, a read does not see what a
    writer has committed, and invalidated, since the transaction began: such a value must not be stored.
    """
    connection = connections[using]
    if _is_managed_by_hand(connection):
        return True  # nobody tells us when one of these begins
    return _open_block(connection) is not None and not _reads_committed(connection)


def any_open() -> bool:
    """
    Tell whether a transaction is open in this thread, on any database.

    What it has locked may be what another caller waits for, and what it has written nobody else may see.
    """
    return any(
        _open_block(connection) is not None or _is_managed_by_hand(connection)
        for connection in connections.all(initialized_only=True)
    )


def any_in_test() -> bool:
    """Tell whether this thread is inside the block of a TestCase, on any database."""
    return any(_is_in_test(connection) for connection in connections.all(initialized_only=True))


def is_managed_by_hand(using: str) -> bool:
    """Tell whether the caller has taken autocommit off, so that nobody may ever tell us of a commit."""
    return _is_managed_by_hand(connections[using])


def _is_managed_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the caller has taken autocommit off: an atomic() block then commits nothing when it ends."""
    if connection.in_atomic_block:
        return not connection.commit_on_exit
    return connection.connection is not None and not connection.autocommit


def _is_in_test(connection: BaseDatabaseWrapper) -> bool:
    blocks: list[Any] = connection.atomic_blocks
    return bool(blocks) and blocks[0]._from_testcase  # noqa: SLF001 -- Django's own mark, as its durable blocks use it


def _open_block(connection: BaseDatabaseWrapper) -> Block | None:
    """Return the outermost open block that is not TestCase's."""
    return next((block for block in _blocks(connection) if not block[0]._from_testcase), None)  # noqa: SLF001


def _blocks(connection: BaseDatabaseWrapper) -> list[Block]:
    """Return the open blocks, the outermost first: `@atomic` is one object for all its calls, a savepoint is not."""
    blocks: list[Any] = connection.atomic_blocks
    savepoints: list[Any] = connection.savepoint_ids
    return list(zip(blocks, [None] * (len(blocks) - len(savepoints)) + savepoints, strict=True))


def _reads_committed(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether each statement sees all that was committed before it: READ COMMITTED, known for certain."""
    if connection.vendor == "postgresql":
        return _isolation_on_postgresql(connection) == "read committed"
    # MySQL, where Django sets the level that it names, for each session. Nothing that we know else.
    return getattr(connection, "isolation_level", None) == "read committed"


def _isolation_on_postgresql(connection: Any) -> str | None:
    """
    Ask the server: Django names READ COMMITTED whatever the server's default, the role or SET TRANSACTION say.

    One more round trip for a miss inside a transaction, past Django's log of queries: it is none of the caller's.
    """
    try:
        with connection.connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            return str(cursor.fetchone()[0])
    except connection.Database.Error:  # the transaction has failed already, say
        return None
