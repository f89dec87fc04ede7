"""Wait for the NOTIFY of triggers, and for a signal: the pause of the deliverer's loop."""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from socket import socketpair
from time import monotonic
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.outbox.triggers import CHANNEL
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import pass_interrupt


class Stop:
    """A flag that a signal handler may set, and that ends a pause at once."""

    def __init__(self) -> None:
        """Begin unset."""
        self.is_set = False
        self._receiver, self._sender = socketpair()

    def set(self) -> None:
        """Set the flag."""
        if not self.is_set:
            self.is_set = True
            self._sender.send(b"\0")

    def fileno(self) -> int:
        """Return what becomes readable when the flag is set."""
        return self._receiver.fileno()

    def close(self) -> None:
        """Close both sockets."""
        self._receiver.close()
        self._sender.close()


class Listener:
    """
    Connections that are told when triggers have recorded something, one for each database on PostgreSQL.

    They are used for nothing else: a notice that comes during other work of the deliverer waits in its socket. Behind a
    pool of transactions, such as PgBouncer's, no notice arrives, and the pause lasts its whole time.
    """

    def __init__(self, databases: Iterable[str]) -> None:
        """Open nothing yet."""
        self._connections = [
            connections.create_connection(alias) for alias in databases if connections[alias].vendor == "postgresql"
        ]
        self._deaf: set[str] = set()  # databases whose failure was reported

    def listen(self) -> None:
        """
        Listen on each connection that does not yet; an error is an event, once, and tried again at the next call.

        To be called before the outbox is read: what is recorded after that ends the next pause.
        """
        for connection in self._connections:
            if connection.connection is not None:
                continue
            try:
                self._listen_on(connection)
            except Exception as error:  # noqa: BLE001 -- without notices the loop polls
                pass_interrupt(error)
                with suppress(Error):
                    connection.close()
                if connection.alias not in self._deaf:
                    self._deaf.add(connection.alias)
                    reason = f"The outbox of database {connection.alias!r} can't be listened to, and is polled"
                    emit(Event("error", reason=reason, error=error))
            else:
                self._deaf.discard(connection.alias)

    def wait(self, seconds: float, stop: Stop) -> bool:
        """Return True when a trigger has recorded something or the flag is set, False after so many seconds."""
        end = monotonic() + seconds
        with DefaultSelector() as selector:
            selector.register(stop, EVENT_READ)
            for connection in self._connections:
                if connection.connection is not None:
                    selector.register(connection.connection.fileno(), EVENT_READ, connection)
            while (left := end - monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.data is None or self._take_notices(key.data):
                        return True
                    # The server is gone. Not at once again, or the loop would spin until it is back.
                    selector.unregister(key.fileobj)
        return False

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()

    def _listen_on(self, connection: BaseDatabaseWrapper) -> None:
        connection.connect()
        connection.set_autocommit(True)
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        _drop_notices(connection.connection)

    def _take_notices(self, connection: BaseDatabaseWrapper) -> bool:
        """Read what the server has sent; return False if the connection is broken, and close it."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Exception as error:  # noqa: BLE001 -- the next run of the loop listens anew
            pass_interrupt(error)
            with suppress(Error):
                connection.close()
            return False
        return True


def _drop_notices(driver: Any) -> None:
    """Have the driver keep no notices: that one came is all that it tells."""
    if hasattr(driver, "add_notify_handler"):  # psycopg 3
        driver.add_notify_handler(lambda _: None)
    else:
        driver.notifies = deque(maxlen=1)  # psycopg 2 documents that the list can be replaced
