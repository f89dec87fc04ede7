"""`Exchange`: a command of an event loop to a server, and how its answer is read."""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from cachedeco.storage.replies import ReplyParser

T = TypeVar("T")
Answer_co = TypeVar("Answer_co", covariant=True)


class LastAnswer(Exception):  # noqa: N818 -- it is an answer
    """An answer behind which a connection can't be used: more may follow that belongs to it."""

    def __init__(self, answer: object) -> None:
        """Keep the answer."""
        super().__init__()
        self.answer = answer


class Exchange(Protocol[Answer_co]):
    """A command, and how its answer is read. An answer that is an exception is raised where it is waited for."""

    @property
    def command(self) -> bytes:
        """The bytes to send."""
        ...

    def cut(self, data: bytes, at: int, /) -> tuple[Answer_co, int] | None:
        """
        Return the answer that begins at an offset, and where it ends; None if it needs the parser.

        Raises:
            Exception: As `parse()` does.
        """
        ...

    def parse(self, data: bytes, /) -> ReplyParser[tuple[Answer_co, bytes]]:
        """
        Parse the answer, of which the beginning is given; return it, and the bytes behind it.

        Raises:
            LastAnswer: This is the answer, and the last one.

            Exception: This is no answer, or a refusal to read: the connection can't be used any more.
        """
        ...


class Pipeline(Generic[T]):
    """
    Several commands that are sent at once on one connection; the answer is a list of theirs, or the first refusal.

    An event loop reads while it writes, so a server that reads nothing while it writes holds up neither.
    """

    __slots__ = ("_exchanges", "command")

    def __init__(self, exchanges: Sequence[Exchange[T]]) -> None:
        """Join the commands."""
        self._exchanges = exchanges
        self.command = b"".join([each.command for each in exchanges])

    def cut(self, _data: bytes, _at: int) -> None:
        """See `Exchange`."""
        return

    def parse(self, data: bytes) -> ReplyParser[tuple[Any, bytes]]:
        """See `Exchange`."""
        answers: list[T] = []
        for each in self._exchanges:
            answer, data = yield from each.parse(data)
            answers.append(answer)
        refusal = next((answer for answer in answers if isinstance(answer, Exception)), None)
        return refusal or answers, data
