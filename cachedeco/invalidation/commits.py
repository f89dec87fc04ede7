"""
Commits: deliver invalidations and entries at commit, and know what the open transactions have invalidated.

One hook for each transaction lies in Django's own list, `connection.run_on_commit`, before the hooks of users, and
nothing is sent before Django calls it. Django decides what happens to it:

commit
    Django calls the hook. It delivers all invalidations of the transaction together.

rollback
    Django drops the hook: its `__del__` runs, and nothing is delivered. On CPython this is immediate, by reference
    counting.

rollback to a savepoint
    Django asks each hook whether it lies under the savepoint. The answer undoes what was added under it, by an undo
    log: savepoints that are released cost nothing, and the list is never scanned.

commit in doubt
    `commit()` raised, since the connection was cut: the server may have committed. Django drops the hook, as after a
    rollback. Invalidations are then delivered all the same, more often than needed and never less; entries are not.

A caller that has switched autocommit off, or has sent BEGIN itself, ends its transaction behind Django's back. Then an
invalidation is delivered at once, and again when the end is seen: when Django calls the hook (`set_autocommit(True)`),
when the connection is closed, or at the next look from this thread.

`TestCase` wraps each test in `atomic()` blocks that never commit, and marks them: they count as no transaction. An
`atomic()` block of the test inside them counts: in production, Django would call the hooks at its end. In a test it
does not, so the next look at this connection delivers, before the test can see a difference.
"""

import sys
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Any, Final, TypeVar
from weakref import ref

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation.pending_entry import PendingEntry
from cachedeco.invalidation.transactions import (
    AtomicBlock,
    blocks,
    connections_here,
    driver_in_transaction,
    is_in_test,
    is_managed_by_hand,
    open_block,
)
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import pass_interrupt

T = TypeVar("T")
Deliver = Callable[[list[Any]], object]

# In the place of a thread: connections that several threads use, as LiveServerTestCase lets them.
ANY_THREAD: Final = 0
# How long one row of the outbox stands for all writes of a block that defers: a deliverer takes it at twice that age.
LONGEST_DEFERRED_SECONDS: Final = 1.0
UNDELIVERED: Final = "What waited for a commit could not be delivered"

# What waits for commits, by the thread of the connection. A hit of a thread looks only for its own.
waiting: dict[int, tuple["Pending", ...]] = {}


class Pending:
    """What waits for the commit of one transaction."""

    def __init__(self, connection: BaseDatabaseWrapper | None, block: AtomicBlock | None) -> None:
        """Start empty; the block is None if the caller manages the transaction by hand, the connection for none."""
        # Weak: a connection goes with its thread.
        self.connection: Callable[[], BaseDatabaseWrapper | None] = ref(connection) if connection else lambda: None
        self.block = block
        self.items: dict[Deliver, dict[Any, None]] = {}  # by function, in order, each once
        self.earlier: dict[Deliver, dict[Any, None]] = {}  # as these: those of before `begin_anew()`
        self.invalidated: dict[str, None] = {}
        # Database and tables of a statement: what these end is among the items.
        self.written: dict[tuple[str, frozenset[str]], None] = {}
        self.entries: dict[PendingEntry[Any], None] = {}
        self.entries_by_key: dict[str, list[PendingEntry[Any]]] = {}
        # The undo log: each with the number of the last savepoint that had begun by then, as Django numbers those of a
        # connection. Savepoints that were released cost nothing: Django never rolls back to them.
        self._undo: list[tuple[int, Callable[[], object]]] = []
        self.has_failed = False  # the database makes a rollback of a commit now
        self._was_open = False
        self._was_repeated = False
        self._thread = ANY_THREAD if connection and connection.allow_thread_sharing else get_ident()

    def wait(self) -> None:
        """Be found by the calls of this thread, until the end."""
        waiting[self._thread] = (*waiting.get(self._thread, ()), self)

    # --- add, and undo ---

    def add(self, deliver: Deliver, items: Iterable[Any], invalidates: Iterable[str]) -> None:
        """Add items for a function, and keys that count as invalidated."""
        for container, elements in ((self.items.setdefault(deliver, {}), items), (self.invalidated, invalidates)):
            for element in elements:
                if element not in container:
                    self._log(partial(container.pop, element, None))  # None: an interrupt may come before the next line
                    container[element] = None

    def add_written(self, using: str, tables: frozenset[str]) -> None:
        """Note that the items have what a statement ends that has written these tables of a database."""
        self._log(partial(self.written.pop, (using, tables), None))
        self.written[using, tables] = None

    def add_entry(self, entry: PendingEntry[Any]) -> None:
        """Add an item that may wait for other transactions, too."""
        self._log(entry.drop)
        self.entries[entry] = None
        for key in entry.values:
            self.entries_by_key.setdefault(key, []).append(entry)

    def _log(self, undo: Callable[[], object]) -> None:
        """Log how to undo what is added next."""
        self._undo.append((self.connection().savepoint_state, undo))  # type: ignore[union-attr] # its thread is here

    def roll_back_to(self, savepoint: str) -> bool:
        """Undo what was added since a savepoint began, of `atomic()` or by hand; tell whether that leaves nothing."""
        number = savepoint.rpartition("_x")[2]
        if not number.isdecimal():
            return False  # none that Django has made: its hooks stay, too
        while self._undo and self._undo[-1][0] >= int(number):
            self._undo.pop()[1]()
        return not self._undo

    # --- the end of the transaction ---

    def has_ended(self, connection: BaseDatabaseWrapper) -> bool:
        """Tell whether the transaction has ended, and Django has neither called nor dropped the hook."""
        if self.block is not None:
            return self.block not in blocks(connection)
        is_open = driver_in_transaction(connection)
        # Without a statement since the last commit there is no transaction yet: the invalidation came before its write.
        self._was_open |= is_open is not False
        return self._was_open and is_open is False

    def look(self, connection: BaseDatabaseWrapper) -> None:
        """Remember that the transaction is open: its end may come before the next look."""
        self._was_open |= driver_in_transaction(connection) is not False

    def commit(self) -> None:
        """Deliver, once: all that is there by now."""
        if self.has_failed:
            self.drop_entries()
        try:
            self._forget()
            self._deliver_items()
            self._deliver_entries()
        except BaseException:  # an interrupt may cost an entry, and no invalidation
            self._was_repeated = True
            self._forget()
            self._deliver_items()
            raise

    def deliver_early(self) -> None:
        """Deliver the items, and begin anew."""
        self._join_earlier()
        for deliver, items in list(self.items.items()):
            deliver(list(items))
        self.begin_anew()

    def begin_anew(self) -> None:
        """
        Take what is added from now on for new, also if it equals an item: what has recorded that may be gone.

        The items wait on. A rollback to a savepoint does not undo them any more: at worst they are delivered in vain.
        """
        # One by one: a signal's handler may invalidate between any two lines, and what it adds waits on, too.
        for deliver, items in list(self.items.items()):
            earlier = self.earlier.setdefault(deliver, {})
            for item in list(items):
                earlier[item] = None
                items.pop(item, None)  # the handler may have begun anew, too
        self.written.clear()

    def begin_after_rollback(self) -> None:
        """Drop the entries, and begin anew: the transaction goes on, without what it has written so far."""
        self.drop_entries()
        self.begin_anew()

    def drop(self) -> None:
        """Deliver nothing if Django has dropped the hook for a rollback; otherwise what has not been delivered yet."""
        self._forget()
        self.drop_entries()
        is_left = bool(self.items or self.earlier)  # nearly never: Django drops the hook when it has called it, too
        connection = self.connection()
        # Not a third time: what was interrupted twice is in the retry queue, and nothing can be raised from here.
        if is_left and connection is not None and not self._was_repeated and self._may_be_committed(connection):
            self.commit()

    def drop_entries(self) -> None:
        """Never deliver the entries: the transaction was not committed, as far as is known."""
        for entry in self.entries:
            entry.drop()

    def _may_be_committed(self, connection: BaseDatabaseWrapper) -> bool:
        """Tell whether the transaction may have been committed, although Django drops the hook."""
        if self.block is None:
            return True
        if connection.in_atomic_block:
            return False  # closed in the middle: the server rolls back
        return (
            # Committed, and then Django was interrupted before it could call the hook.
            connection.run_commit_hooks_on_set_autocommit_on
            # commit() was interrupted, and what follows here is no rollback of its transaction.
            or connection.autocommit
            # rollback() failed, after commit() did; a rollback that works clears this before it drops the hook.
            or connection.errors_occurred
            # commit() failed. A proxy may have lost its server, and have another one for the rollback.
            or isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
        )

    def _deliver_items(self) -> None:
        self._join_earlier()
        while self.items:
            deliver, items = next(iter(self.items.items()))
            if items:  # not if savepoints have undone them all
                deliver(list(items))
            del self.items[deliver]  # not before: what an interrupt stops is delivered again

    def _join_earlier(self) -> None:
        for deliver, items in list(self.earlier.items()):
            self.items.setdefault(deliver, {}).update(items)
        self.earlier.clear()

    def _deliver_entries(self) -> None:
        """Deliver the entries that wait for no other transaction."""
        ready: dict[Deliver, list[Any]] = {}
        for entry in self.entries:
            entry.commits_left -= 1
            if not entry.commits_left and not entry.is_dropped:
                ready.setdefault(entry.deliver, []).append(entry.item)
        self.entries.clear()
        for deliver, items in ready.items():
            deliver(items)

    def _forget(self) -> None:
        others = tuple([each for each in waiting.get(self._thread, ()) if each is not self])
        if others:
            waiting[self._thread] = others
        else:
            waiting.pop(self._thread, None)


class Deferral(Pending):
    """What waits for the end of a block of `deferred_invalidation()`, and for no transaction."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__(None, None)
        self._since = monotonic()

    def begin_anew_in_time(self) -> None:
        """Begin anew before a deliverer takes the rows of the outbox: what is written behind it needs others."""
        now = monotonic()
        if now - self._since >= LONGEST_DEFERRED_SECONDS:
            self._since = now
            self.begin_anew()

    def _log(self, undo: Callable[[], object]) -> None:
        """Log nothing: no rollback undoes what was written in autocommit."""


@contextmanager
def deferring() -> Generator[None]:
    """Keep back what would be delivered at once in this thread, each item once, until the block ends; blocks nest."""
    if _deferral_here() is not None:
        yield
        return
    deferral = Deferral()
    try:
        deferral.wait()  # after `try`: an interrupt must not leave what keeps back all that follows in this thread
        yield
    finally:
        try:
            deferral.commit()
        except BaseException:  # an interrupt: perhaps before its first line
            deferral.commit()
            raise


def _deferral_here() -> Deferral | None:
    """Return the block that defers in this thread; it begins anew first, if it is time to."""
    deferral = next((each for each in waiting.get(get_ident(), ()) if isinstance(each, Deferral)), None)
    if deferral is not None:
        deferral.begin_anew_in_time()
    return deferral


class CommitHook:
    """The hook of one transaction. Only Django's list holds it, so that `__del__` tells when Django drops it."""

    pending: Pending = Pending(None, None)  # nothing, for one whose making is interrupted

    def __init__(self, pending: Pending) -> None:
        """Stand for what waits."""
        self.pending = pending

    def __call__(self) -> None:
        """Deliver: the transaction has committed. Raises only interrupts: the hooks of users follow."""
        try:
            self.pending.commit()
        except Exception as error:  # noqa: BLE001 -- as said
            pass_interrupt(error)
            emit(Event("error", reason=UNDELIVERED, error=error))

    def __del__(self) -> None:
        """Tell what waits that Django does not call the hook, or has called it."""
        self.pending.drop()


class Savepoints(set[str | None]):
    """The savepoints that a hook lies under, as Django asks for them when it rolls back to one of them."""

    def __init__(self, pending: Pending, savepoints: Iterable[str | None]) -> None:
        """Hold the savepoints that are open now; those that follow are known to what waits."""
        super().__init__(savepoints)
        self._pending = pending

    def __contains__(self, savepoint: object) -> bool:
        """Undo what was added under a savepoint. True, by which Django drops the hook, if nothing is left."""
        return self._pending.roll_back_to(str(savepoint))


def at_commit(
    connection: BaseDatabaseWrapper,
    deliver: Callable[[list[T]], object],
    items: Collection[T],
    invalidates: Iterable[str],
) -> None:
    """
    Deliver invalidations when the transaction of a connection commits; at once without a transaction.

    Items of one transaction that are delivered by the same function are delivered together. After a rollback, of the
    transaction or of the savepoint, nothing is delivered. If the outcome of the commit is unknown, they are delivered.

    If the caller manages transactions by hand, Django may never call the hook: the items are delivered at once, and
    once more when the end of the transaction is seen.

    Args:
        connection: The one that has run, or will run, the statements that the items are about.

        deliver: Takes the list of items. Raises only interrupts.

        items: What to deliver; hashable, and equal items are delivered once.

        invalidates: Keys for which `invalidated_in_transaction()` returns True in this thread until then.
    """
    by_hand = is_managed_by_hand(connection)
    block = None if by_hand else open_block(connection)
    if by_hand or block is not None:
        pending = pending_on(connection, block)
        pending.add(deliver, items, invalidates)
        pending.look(connection)
    elif (deferral := _deferral_here() if waiting else None) is not None:
        deferral.add(deliver, items, invalidates)
    else:
        deliver(list(items))
    if by_hand:
        deliver(list(items))


def note_written(connection: BaseDatabaseWrapper, tables: frozenset[str]) -> None:
    """Note that what these tables end is among the items that wait here for a commit, if anything waits."""
    pending = _pending_of_statement(connection)
    if pending is not None:
        pending.add_written(connection.alias, tables)


def is_noted(connection: BaseDatabaseWrapper, tables: frozenset[str]) -> bool:
    """Tell whether `note_written()` has these tables: a loop of writes then costs this one look."""
    pending = _pending_of_statement(connection)
    return pending is not None and (connection.alias, tables) in pending.written


def _pending_of_statement(connection: BaseDatabaseWrapper) -> Pending | None:
    """Return what waits for the transaction of a statement that runs now, or for the end of a block that defers."""
    if not waiting:
        return None
    if not connection.in_atomic_block:
        return _deferral_here()
    # In a test the hook does not stand first, and may be that of a block that has ended.
    hook: Any = connection.run_on_commit[0][1] if connection.run_on_commit else None
    return hook.pending if isinstance(hook, CommitHook) and not is_in_test(connection) else None


def pending_on(connection: BaseDatabaseWrapper, block: AtomicBlock | None) -> Pending:
    """
    Return what waits for the commit of the open transaction of a connection; a new one if nothing does.

    Its outermost block is given; None if the caller manages the transaction by hand.
    """
    known = next((pending for pending in pending_of(connection) if pending.block == block), None)
    if known is not None:
        return known
    pending = Pending(connection, block)
    # Not robust: Django would log what the handler of a signal raises in the hook, and no more.
    hook: Any = (Savepoints(pending, connection.savepoint_ids), CommitHook(pending), False)
    # A hook of the user's that raises stops all hooks behind it: ours stands first, or an invalidation would be lost.
    # In a test it goes last, since captureOnCommitCallbacks() skips as many hooks as were in the list before.
    connection.run_on_commit.insert(len(connection.run_on_commit) if is_in_test(connection) else 0, hook)
    pending.wait()  # not before the hook is there: it would wait for nothing after an interrupt
    return pending


# --- what waits ---


def has_pending() -> bool:
    """Tell whether anything of this thread waits for a commit, and the functions below can give more than nothing."""
    return bool(waiting) and (get_ident() in waiting or ANY_THREAD in waiting)


def deliver_ended() -> None:
    """Deliver what waits for transactions of this thread that have ended behind Django's back."""
    _pending_here()


def invalidated_in_transaction(keys: Iterable[str]) -> bool:
    """
    Tell whether a transaction that is open in this thread has invalidated one of these keys.

    First delivers what waits for transactions of this thread that have ended, as a test's do.
    """
    here = _pending_here()
    return any(key in pending.invalidated for key in keys for pending in here)


def pending_value(key: str) -> bytes | None:
    """Return the value that `at_last_commit()` got last for a key, and that still waits for a commit."""
    found: bytes | None = None
    for pending in _pending_here():
        entries = pending.entries_by_key.get(key, [])
        while entries and entries[-1].is_dropped:
            entries.pop()
        if entries:
            found = entries[-1].values[key]
    return found


def pending_items(connection: BaseDatabaseWrapper, deliver: Callable[[list[T]], object]) -> Collection[T]:
    """
    Return the items that a function will deliver when the transaction of a connection commits, the earliest first.

    A view, not a copy. Whenever an item that is added now is delivered, all of these are: the savepoints that they
    lie under are open, or were released.
    """
    several = [pending.items.get(deliver, {}) for pending in pending_of(connection)]
    if not several and open_block(connection) is None and (deferral := _deferral_here()) is not None:
        several = [deferral.items.get(deliver, {})]
    return several[-1].keys() if several else ()


def pending_of(connection: BaseDatabaseWrapper) -> list[Pending]:
    """Return what waits for the open transactions of a connection; what waits for ended ones is delivered first."""
    return [pending for pending in _pending_here() if pending.connection() is connection]


def waiting_for(connection: BaseDatabaseWrapper) -> list[Pending]:
    """Return what waits for transactions of a connection, also for one that ends now: nothing is delivered."""
    several = (*waiting.get(get_ident(), ()), *waiting.get(ANY_THREAD, ()))
    return [pending for pending in several if pending.connection() is connection]


def _pending_here() -> list[Pending]:
    """Return what waits for the open transactions of this thread; first deliver what waits for those that ended."""
    found: list[Pending] = []
    several = list(waiting.get(get_ident(), ()))
    if ANY_THREAD in waiting:
        ours = connections_here()
        several += [each for each in waiting.get(ANY_THREAD, ()) if each.connection() in ours]
    for pending in several:
        connection = pending.connection()
        if connection is not None and pending.has_ended(connection):
            if not is_in_test(connection):  # it may have been rolled back
                pending.drop_entries()
            pending.commit()
        else:
            found.append(pending)
    return found


def forget_other_threads() -> None:
    """Forget what waits for commits of threads that a forked child does not have."""
    here = waiting.get(get_ident())
    waiting.clear()
    if here:
        waiting[get_ident()] = here
