"""
Transactions: deliver invalidations and entries at commit, and know what the open transaction has invalidated.

The hooks lie in Django's own list of commit hooks, `connection.run_on_commit`, and nowhere else. Django drops them at a
rollback, to a savepoint too, so the hooks in this list are always what the open transaction will deliver.

`TestCase` wraps each test in `atomic()` blocks that never commit, and marks them: they count as no transaction. An
`atomic()` block of the test inside them counts: in production, Django would call the hooks at its end. In a test it
does not, so the next look at this connection delivers them, before the test can see a difference.
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

# Ids of the pending hooks of this process. Nearly always empty, and then a hit need not look at its connections.
waiting: set[int] = set()


class AtCommit(Generic[T]):
    """A commit hook that delivers items."""

    def __init__(self, deliver: Callable[[list[T]], object], block: Block | None) -> None:
        """Start without items."""
        self.deliver = deliver
        self.items: dict[T, None] = {}  # in order, each once
        self.invalidated_in_transaction: set[str] = set()
        self.block = block  # inside TestCase: the test's outermost block
        # The next hook of this class in Django's list. A weak reference, so that a rollback drops it.
        self.next_hook: Callable[[], AtCommit[Any] | None] = lambda: None
        self.__qualname__ = type(self).__qualname__  # in Django's log if the hook raises
        waiting.add(id(self))

    def __call__(self) -> None:
        """Deliver the items, once: in a test they may be delivered before Django calls the hook."""
        items, self.items = list(self.items), {}
        self.invalidated_in_transaction.clear()
        waiting.discard(id(self))
        try:
            if items:
                self.deliver(items)
        except BaseException:  # an interrupt, after which Django drops the hooks that follow
            hook = self.next_hook()
            while hook is not None:
                with suppress(Exception):
                    hook()
                hook = hook.next_hook()
            raise

    def __del__(self) -> None:
        """Stop pending after a rollback: Django has dropped the hook."""
        waiting.discard(id(self))


def at_commit(
    using: str, deliver: Callable[[list[T]], object], items: Collection[T], invalidates: Iterable[str] = ()
) -> None:
    """
    Deliver items when the transaction on a database commits; at once without a transaction.

    Items of one transaction that are delivered by the same function are delivered together. After a rollback, of the
    transaction or of the savepoint, nothing is delivered.

    If the caller manages transactions by hand, Django may never call the hook: the items are delivered at once, and
    once more if Django calls it.

    Args:
        using: Alias of the database.

        deliver: Takes the list of items. Raises only interrupts.

        items: What to deliver; hashable, and equal items are delivered once.

        invalidates: Keys for which `invalidated_in_transaction()` returns True on this connection until then.
    """
    connection = connections[using]
    block, by_hand = _open_block(connection), _is_managed_by_hand(connection)
    if block is not None or by_hand:
        pending = _find_hook_to_join(connection, deliver) or _add_hook(connection, deliver, block)
        pending.items |= dict.fromkeys(items)
        pending.invalidated_in_transaction.update(invalidates)
    if block is None or by_hand:
        deliver(list(items))


def _add_hook(
    connection: BaseDatabaseWrapper, deliver: Callable[[list[T]], object], block: Block | None
) -> AtCommit[T]:
    """Insert a new hook into Django's list."""
    in_test = _is_in_test(connection)
    pending = AtCommit(deliver, block if in_test else None)
    ours = _hooks_of(connection)
    if ours:
        ours[-1][1].next_hook = ref(pending)
    # Robust: Django logs an Exception of the hook and calls the hooks that follow.
    hook: Any = (set(connection.savepoint_ids), pending, True)
    # A hook of the user's that raises stops all hooks behind it: ours stand first, or an invalidation would be lost.
    # In a test it goes last, since captureOnCommitCallbacks() skips as many hooks as were in the list before.
    index = len(connection.run_on_commit) if in_test else len(ours)
    connection.run_on_commit.insert(index, hook)
    return pending


def _find_hook_to_join(connection: BaseDatabaseWrapper, deliver: Callable[[list[T]], object]) -> AtCommit[T] | None:
    """Return the last pending hook with the same function, if it lies under the same savepoints."""
    # Only the last: new items in an earlier hook would be delivered before the items of later ones.
    ids, hook = next((pair for pair in reversed(_hooks_of(connection)) if pair[1].deliver == deliver), (set(), None))
    return hook if ids == set(connection.savepoint_ids) else None


# --- pending hooks ---


def invalidated_in_transaction(keys: Iterable[str]) -> bool:
    """
    Tell whether a transaction that is open in this thread has invalidated one of these keys.

    First delivers the hooks of a test's transactions that have ended.
    """
    wanted = set(keys)
    return any(not wanted.isdisjoint(hook.invalidated_in_transaction) for hook in _pending_hooks())


def pending_items(deliver: Callable[[list[T]], object]) -> list[T]:
    """Return the items of this thread that a function will deliver at commit, the latest last."""
    return [item for hook in _pending_hooks() if hook.deliver == deliver for item in hook.items]


def pending_groups(using: str, deliver: Callable[[list[T]], object]) -> list[Collection[T]]:
    """
    Return the items of a connection that a function will deliver at commit, by hook, the earliest first.

    They are views, not copies. Whenever an item that is added now is delivered, all of these are: the savepoints that
    they lie under are open, or were released.
    """
    return [hook.items.keys() for _ids, hook in _hooks_of(connections[using]) if hook.deliver == deliver]


def _pending_hooks() -> list[AtCommit[Any]]:
    pending_hooks: list[AtCommit[Any]] = []
    for connection in connections.all(initialized_only=True):
        for _ids, hook in _hooks_of(connection):
            if hook.block is None or hook.block in _blocks(connection):
                pending_hooks.append(hook)
            else:
                hook()
    return pending_hooks


def _hooks_of(connection: BaseDatabaseWrapper) -> list[tuple[set[str | None], AtCommit[Any]]]:
    """Return the pending hooks of a connection, each with the savepoints that it lies under."""
    hooks: list[Any] = connection.run_on_commit
    return [(ids, hook) for ids, hook, _ in hooks if isinstance(hook, AtCommit) and id(hook) in waiting]


# --- the open transaction ---


def is_open(using: str) -> bool:
    """Tell whether a rollback can undo a write on this connection."""
    connection = connections[using]
    return _open_block(connection) is not None or _is_managed_by_hand(connection)


def writes_can_roll_back(alias: str) -> bool:
    """Tell whether a rollback would undo a write to a cache: on the database cache, inside `atomic()`."""
    cache = caches[alias]
    return isinstance(cache, DatabaseCache) and is_open(router.db_for_write(cache.cache_model_class))


def snapshot_may_be_old(using: str) -> bool:
    """
    Tell whether a read on this connection may return older data than a stamp that is read now stands for.

    In a transaction at REPEATABLE READ or above, on SQLite, and where the level is unknown, a read does not see what
    other writers have committed, and invalidated, since the transaction began: such a value must not be stored.
    """
    connection = connections[using]
    if _is_managed_by_hand(connection):
        return True  # the start of such a transaction can't be seen
    return _open_block(connection) is not None and not _reads_committed(connection)


def any_open() -> bool:
    """
    Tell whether a transaction is open in this thread, on any database.

    It may hold locks that another caller waits for, and no other caller may see what it has written.
    """
    return any(
        _open_block(connection) is not None or _is_managed_by_hand(connection)
        for connection in connections.all(initialized_only=True)
    )


def any_in_test() -> bool:
    """Tell whether this thread is inside the block of a TestCase, on any database."""
    return any(_is_in_test(connection) for connection in connections.all(initialized_only=True))


def is_managed_by_hand(using: str) -> bool:
    """Tell whether the caller has switched autocommit off, so that Django may never call a commit hook."""
    return _is_managed_by_hand(connections[using])


def _is_managed_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether autocommit is off: an atomic() block then commits nothing at its end."""
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
    """Tell whether each statement is known to see all that was committed before it: READ COMMITTED."""
    if connection.vendor == "postgresql":
        return _isolation_on_postgresql(connection) == "read committed"
    # On MySQL Django sets the level that it names, for each session. Other databases are unknown.
    return getattr(connection, "isolation_level", None) == "read committed"


def _isolation_on_postgresql(connection: Any) -> str | None:
    """
    Ask the server for the isolation level; None if the transaction has failed.

    Django's own attribute ignores the server's default, the role and SET TRANSACTION. Costs one more round trip for a
    miss inside a transaction, which does not appear in Django's log of queries.
    """
    try:
        with connection.connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            return str(cursor.fetchone()[0])
    except connection.Database.Error:  # for example, the transaction has failed already
        return None
