"""Names for what several entries depend on, whatever function made them."""

from collections.abc import Iterable
from datetime import date
from enum import Enum
from itertools import accumulate
from typing import Final
from urllib.parse import quote
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from cachedeco.invalidation.delivery import Invalidation, invalidate
from cachedeco.invalidation.rows import ModelReference, check_telling, field_of, label_of, model_of, text_of
from cachedeco.runtime import conf, modes
from cachedeco.runtime.validation import repr_of
from cachedeco.storage.cache_keys import shorten_keys
from cachedeco.storage.store import Store

# What depends on a model has one token, rewritten with each row that changes. What depends on some rows of it has two:
# that of those rows, and above it one that is rewritten where nobody can tell which rows have changed. So a saved row
# leaves alone what depends on others, and a hit reads one token for a model and two for a part of one.
MODEL: Final = "model"
ROWS: Final = "rows"


class Namespace:
    """
    Name what several entries depend on, whatever function made them.

    ::

        Namespace("club", club.pk).invalidate()  # every entry of every function under club:7
        Namespace("club").invalidate()           # ... and of all clubs

    A namespace covers all that begin with its parts. The instance is immutable, hashable and cheap; nothing is
    registered anywhere. Parts are compared as text, since one that comes from a URL must reach what one that comes
    from a row has stored: `7`, `"7"` and the row whose primary key it is name the same.

    Args:
        parts: One or more of str, int, UUID, date, datetime, an enum's member with such a value, a saved row.

    Raises:
        TypeError: There are no parts, or one is of another type or a row that is not saved.
    """

    __slots__ = ("path",)

    path: str  #: the parts, quoted and joined by ":"

    def __init__(self, *parts: object) -> None:
        """Join the parts."""
        if not parts:
            msg = "Namespace() takes one or more parts, such as Namespace('club', 7)."
            raise TypeError(msg)
        self.path = ":".join([part_of(part) for part in parts])

    @classmethod
    def for_model(cls, model: ModelReference, /, **value: object) -> "Namespace":
        """
        Name what depends on a model: to invalidate it by hand, after a write that sends no signal.

        ::

            Namespace.for_model(ClubClass).invalidate()             # what has depends_on=[ClubClass], or a part of it
            Namespace.for_model(ClubClass, club_id=7).invalidate()  # of the parts by club_id, that of club 7 only

        Args:
            model: A model, or its name, "app_label.Model". A proxy is the model that it stands for.

            value: A field of the model and its value, where only such rows have changed. What depends on the whole
                model is invalidated as well, and what depends on the same rows by another field is not.

        Raises:
            TypeError: It is no model, or the field is none that `depends_on` takes.
        """
        found = model_of(model)
        every = every_row_of(found)
        if not value:
            return _ModelNamespace(every, some_rows_of(found))
        if len(value) > 1:
            msg = f"Namespace.for_model() takes one field, not {', '.join(value)}."
            raise TypeError(msg)
        [(name, given)] = value.items()
        field = field_of(found, name)
        check_telling(field)
        return _ModelNamespace(some_rows_of(found, text_of(field, given)), every)

    def token_name(self, prefix: str) -> str:
        """Return the key of this namespace's own token."""
        return f"{prefix}:n:{self.path}"

    def token_names(self, prefix: str) -> list[str]:
        """Return the keys of the tokens that an entry in this namespace depends on: its ancestors' and its own."""
        return [f"{prefix}:n:{path}" for path in accumulate(self.path.split(":"), "{}:{}".format)]

    def __repr__(self) -> str:
        """Show the path."""
        return f"<Namespace {self.path}>"

    def __eq__(self, other: object) -> bool:
        """Compare by path."""
        return isinstance(other, Namespace) and self.path == other.path

    def __hash__(self) -> int:
        """Hash by path."""
        return hash((Namespace, self.path))

    def invalidate(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        """
        Invalidate every entry under this namespace, in every cache of the setting `ALIASES`: one command for each.

        Inside `atomic()` this takes effect for this connection at once, and for everybody when it commits. An
        invalidation that a cache does not acknowledge is logged at ERROR, counted, and delivered before this process
        reads from that cache again.

        Args:
            using: Alias of the database whose transaction to wait for.
        """
        invalidate_namespaces(using, [self])

    async def ainvalidate(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        """Invalidate as `invalidate()` does, from async code."""
        await sync_to_async(self.invalidate)(using=using)


class _ModelNamespace(Namespace):
    """A namespace that is invalidated together with another one, which an entry in it does not depend on."""

    __slots__ = ("other",)

    def __init__(self, namespace: Namespace, other: Namespace) -> None:
        self.path = namespace.path
        self.other = other


def every_row_of(model: type[Model]) -> Namespace:
    """Return the namespace of what depends on a model."""
    return Namespace(f"{MODEL}.{label_of(model)}")


def some_rows_of(model: type[Model], *value: str) -> Namespace:
    """Return the namespace of what depends on any part of a model; on that of one value, as `text_of()` gives it."""
    return Namespace(f"{ROWS}.{label_of(model)}", *value)


def invalidate_namespaces(using: str, namespaces: Iterable[Namespace]) -> None:
    """Invalidate several namespaces as `Namespace.invalidate()` does one: still by one command for each cache."""
    if modes.current_mode() == "off":
        return
    settings = conf.settings()
    every: dict[Namespace, None] = {}
    for each in namespaces:
        every |= dict.fromkeys((each, each.other) if isinstance(each, _ModelNamespace) else (each,))
    names = [each.token_name(settings.KEY_PREFIX) for each in every]
    stores = [Store(alias) for alias in settings.ALIASES]
    invalidate(
        using, *[Invalidation(store, shorten_keys([name], store.key_budget())[0]) for store in stores for name in names]
    )


def part_of(value: object) -> str:
    """Return the text of one part of a namespace's path, without a ":" or anything else that could forge one."""
    if isinstance(value, Model):
        if value.pk is None or value._state.adding:  # noqa: SLF001 -- Django documents _state for this
            msg = f"{repr_of(value)} is not saved, so it names no namespace: save it first."
            raise TypeError(msg)
        return part_of(value.pk)
    if isinstance(value, Enum):
        return part_of(value.value)
    if isinstance(value, date):
        return quote(value.isoformat(), safe="")
    if not isinstance(value, str | int | UUID):
        kinds = "str, int, UUID, date, datetime, enum members or rows"
        msg = f"Namespace() can't take {repr_of(value)}; its parts are {kinds}."
        raise TypeError(msg)
    text = str(value)
    return text if text.isascii() and text.isalnum() else quote(text, safe="", errors="surrogatepass")


def paths_of(prefix: str, given: object) -> list[str]:
    """Return the keys of the tokens of the namespaces that a callable gave."""
    spaces = [given] if isinstance(given, Namespace) else given
    if isinstance(spaces, Iterable) and not isinstance(spaces, str):
        found = list(spaces)
        if all(isinstance(each, Namespace) for each in found):
            # Sorted: a set has another order in each process, and the stamp keeps the order of the tokens.
            return sorted({name for each in found for name in each.token_names(prefix)})
    msg = f"the callable of namespace= gave {given!r}; it must give a Namespace, or several: Namespace('club', 7)."
    raise TypeError(msg)
