"""What is given to redis-py to send."""

from typing import Any

from cachedeco.storage.redis_connections import ask, ask_each


class Recording:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.given: list[tuple[Any, ...]] = []

    def send_command(self, *arguments: Any) -> None:
        """Keep one command."""
        self.given.append(arguments)

    def pack_commands(self, commands: list[tuple[Any, ...]]) -> list[bytes]:
        """Keep some."""
        self.given += commands
        return []

    def send_packed_command(self, packed: list[bytes]) -> None:
        """Send nothing."""

    def read_response(self, **_: Any) -> bytes:
        """Answer."""
        return b"OK"


def test_numbers_are_sent_as_text() -> None:
    """In hiredis an exception of a signal's handler, raised while a number becomes text, ends the process."""
    connection = Recording()

    ask("SET", "key", 7, "EX", 60)(connection)
    ask_each([("INCRBY", "key", 2), ("SET", "other", b"value", "PX", 1.5)])(connection)

    expected = [
        ("SET", "key", "7", "EX", "60"),
        ("INCRBY", "key", "2"),
        ("SET", "other", b"value", "PX", "1.5"),
    ]
    assert expected == connection.given
