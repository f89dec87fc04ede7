"""What a function under AUTO is known to read, in the process of the caller."""

from typing import Any

from cachedeco.tracking.known_tables import KnownTables
from tests.schedules.simulation import world

# What follows from the names.
FOLLOWING = {"keys", "_by_key"}


class _OfProcess:
    """An attribute of which each process has its own."""

    def __set_name__(self, _owner: type, name: str) -> None:
        """Note by which name it is asked for."""
        self._name = name

    def __get__(self, known: "KnownHere", _owner: type | None = None) -> Any:
        """Return that of the process: what an actor sees of it is part of his history."""
        here = world()
        found = here.process.known.get((known._list_key, self._name), known.at_first[self._name])
        if here.running:
            here.running.saw(self._name, tuple(found) if self._name in FOLLOWING else found)
        return found

    def __set__(self, known: "KnownHere", value: Any) -> None:
        """Set that of the process."""
        world().process.known[known._list_key, self._name] = value


class KnownHere(KnownTables):
    """The tables that a function is known to read, by process."""

    names = _OfProcess()  # type: ignore[assignment] # for an attribute of that type
    keys = _OfProcess()  # type: ignore[assignment] # as above
    _by_key = _OfProcess()  # type: ignore[assignment] # as above
    is_loaded = _OfProcess()  # type: ignore[assignment] # as above
    _dead = _OfProcess()  # type: ignore[assignment] # as above

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with none, in each process."""
        self._list_key = args[1]
        self.at_first = {"names": frozenset[str](), "keys": [], "_by_key": {}, "is_loaded": False, "_dead": 0}
        super().__init__(*args, **kwargs)
