"""What this process does with its sockets, step by step: how many trips to a server something takes."""

import socket
from itertools import groupby
from typing import Any, Final

import pytest

_STEPS: Final = {"send": "sent", "sendall": "sent", "recv": "read", "recv_into": "read"}


class Steps(list[str]):
    """Each time that a socket has `"sent"` or `"read"` something, in any thread; `clear()` forgets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put functions in the place of the socket's own."""
        super().__init__()
        for name, step in _STEPS.items():
            original = getattr(socket.socket, name)

            def noted(sock: socket.socket, *arguments: Any, original: Any = original, step: str = step) -> Any:
                self.append(step)
                return original(sock, *arguments)

            monkeypatch.setattr(socket.socket, name, noted)

    @property
    def sent_at_once(self) -> list[int]:
        """How often something was sent, each time before the next answer was read."""
        return [len([*several]) for step, several in groupby(self) if step == "sent"]
