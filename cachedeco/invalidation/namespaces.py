"""Namespaces: tags that several entries depend on, of any function, for a model, its rows, or names of your own."""

import re
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, date, datetime
from enum import Enum
from itertools import accumulate
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model
from django.utils.functional import Promise

from cachedeco.invalidation.delivery import Invalidation, invalidate
from cachedeco.invalidation.identities import PartTypeError, advice_for_nameless, evaluate, is_saved, primary_key_of
from cachedeco.invalidation.rows import ModelReference, check_canonical, field_of, model_of, table_of, text_of_given
from cachedeco.invalidation.tables import tables
from cachedeco.invalidation.tokens import LONGEST_LIFETIME
from cachedeco.runtime import conf, modes
from cachedeco.runtime.frames import from_async
from cachedeco.runtime.reprs import describe, repr_of, shorten
from cachedeco.runtime.subjects import ROWS, TABLE
from cachedeco.runtime.templates import alters_data
from cachedeco.storage.keyspace import Keyspace
from cachedeco.storage.refusals import path_of
from cachedeco.storage.store import Store

# By name: it can't be imported before the apps are ready.
ANONYMOUS: Final = "django.contrib.auth.models.AnonymousUser"
TABLES: Final = (quote(f"{TABLE}."), quote(f"{ROWS}."))  # beginnings of paths
# A field of a template, as only the parameter *namespace* fills it in.
FIELD: Final = re.compile(r"\{[^\W\d]\w*(\.\w+)*\}")

# Called with each namespace that is invalidated by hand, with DEBUG; swapped whole by look_with().
_look: "Callable[[Namespace], None] | None" = None


def look_with(look: "Callable[[Namespace], None]") -> None:
    """Pass each namespace that is invalidated by hand to a function, with `DEBUG`: it knows those of all functions."""
    global _look  # noqa: PLW0603 -- swapped whole, as said above
    _look = look


class Namespace:
    """
    A namespace: a tag that several entries depend on, of any function.

    ::

        Namespace("club", club.pk).invalidate()  # every entry of every function under club:7
        Namespace("club").invalidate()           # ... and of all clubs

    A namespace covers all that begin with its parts. The instance is immutable, hashable and cheap; nothing is
    registered anywhere. Parts are compared as text, so that a part of a URL and a part of a row name the same
    namespace: `7`, `"7"` and the row with this primary key are equal.

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
        Return the namespace of a model: to invalidate it by hand, after a write that is not seen, as by a trigger.

        ::

            Namespace.for_model(ClubClass).invalidate()             # depends_on=[ClubClass], or rows of it
            Namespace.for_model(ClubClass, club_id=7).invalidate()  # the rows of club 7 only

        It ends what a write ends that is seen, also what depends on other tables: those of multi-table parents and
        children, of both sides of a many-to-many table, of rows that the database deletes with a row.

        Args:
            model: A model, or its name, "app_label.Model". A proxy is its concrete model.

            value: A field of the model and its value, if only such rows have changed. Entries that depend on the whole
                model are invalidated too; entries that depend on the same rows by another field are not.

        Raises:
            TypeError: It is no model, or not one field, or a field that `depends_on` does not take.
        """
        concrete = model_of(model)
        table = table_of(concrete)
        if not value:
            return _ModelNamespace(table_namespace(table), table)
        if len(value) > 1:
            msg = f"Namespace.for_model() takes one field, not {', '.join(value)}."
            raise TypeError(msg)
        [(name, field_value)] = value.items()
        field = field_of(concrete, name)
        check_canonical(field)
        return _ModelNamespace(rows_of_table(table, text_of_given(field, field_value)), table)

    def __repr__(self) -> str:
        """Show the path: short, and without secrets."""
        return f"<Namespace {shorten(self.path)}>"

    def __eq__(self, other: object) -> bool:
        """Compare by path."""
        return isinstance(other, Namespace) and self.path == other.path

    def __hash__(self) -> int:
        """Hash by path."""
        return hash((Namespace, self.path))

    @alters_data
    def invalidate(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        """
        Invalidate every entry under this namespace, in every cache of the setting `ALIASES`: one command for each.

        Inside `atomic()` this takes effect for this connection at once, and for all others at commit. An invalidation
        that a cache does not acknowledge is logged at ERROR, counted, and delivered before this process reads from
        that cache again.

        Args:
            using: Alias of the database whose commit it waits for. It goes out once more at the commits of other
                databases whose transactions are open in this thread.

        Raises:
            ValueError: There is no such database.
        """
        _check_database(using)
        if modes.current_mode() == "off":
            return
        if django_settings.DEBUG and _look is not None and not is_of_tables(self):
            _look(self)
        invalidate(using, *invalidations_of(self._ended_namespaces()))

    ainvalidate = from_async(invalidate)

    def _ended_namespaces(self) -> "Iterable[Namespace]":
        """Return the namespaces that an invalidation of this one ends."""
        return (self,)


def _check_database(using: str) -> None:
    """
    Refuse an alias that Django does not know: in the words of the option *using*, and not of Django's internals.

    Raises:
        ValueError: There is no such database.
    """
    if using not in connections:
        msg = f"invalidate() got using={repr_of(using)}; it takes an alias of DATABASES: {', '.join(connections)}."
        raise ValueError(msg)


class _ModelNamespace(Namespace):
    """
    The namespace of a model, or of rows of it, which ends others, too.

    An entry that depends on a model has one token of it, replaced with each row that changes. An entry that depends on
    rows of a model has two: that of these rows, and its parent, replaced if it is unknown which rows have changed. So a
    saved row keeps entries that depend on other rows, and a hit reads one token for a model and two for rows of it.
    """

    __slots__ = ("table",)

    def __init__(self, namespace: Namespace, table: str) -> None:
        self.path = namespace.path
        self.table = table

    def _ended_namespaces(self) -> Iterable[Namespace]:
        """Return it with the whole model, or all rows of it, and with all that a write of its table ends beside it."""
        whole_model = table_namespace(self.table)
        yield self
        yield rows_of_table(self.table) if self == whole_model else whole_model
        # Not before: a module may name a namespace while the models are being loaded.
        for table in sorted(tables().ended_with(self.table) - {self.table}):
            yield table_namespace(table)
            yield rows_of_table(table)


def is_of_tables(namespace: Namespace) -> bool:
    """Tell whether a namespace stands for a model or for rows of it."""
    return namespace.path.startswith(TABLES)


def whole_key_of(namespace: Namespace, prefix: str, keyspace: Keyspace) -> str:
    """Return the whole key of the token of a namespace: a table's is the same for all tenants."""
    key = f"{prefix}:n:{namespace.path}"
    return keyspace.table_key(key) if is_of_tables(namespace) else keyspace.whole_key(key)


def token_keys(namespace: Namespace, prefix: str) -> list[str]:
    """Return the keys of the tokens that an entry in a namespace depends on: its parents' and its own."""
    return [f"{prefix}:n:{path}" for path in accumulate(namespace.path.split(":"), "{}:{}".format)]


def table_namespace(table: str) -> Namespace:
    """Return the namespace of the entries that depend on a whole table."""
    return Namespace(f"{TABLE}.{table}")


def rows_of_table(table: str, *value: str) -> Namespace:
    """Return the namespace of the entries that depend on rows of a table; on those with one value, of `text_of()`."""
    return Namespace(f"{ROWS}.{table}", *value)


def invalidations_of(namespaces: Iterable[Namespace]) -> Generator[Invalidation]:
    """Yield the tokens of namespaces to replace, in every cache of the setting `ALIASES`."""
    settings = conf.settings()
    several = list(namespaces)
    for store in map(Store, settings.ALIASES):
        for namespace in several:
            key = whole_key_of(namespace, settings.KEY_PREFIX, store.keyspace)
            yield Invalidation(store, key, LONGEST_LIFETIME)


def part_of(value: object) -> str:  # noqa: PLR0911 -- one return for each kind of value
    """
    Return the text of one part of a namespace's path, quoted: no ":" can be forged.

    Raises:
        PartTypeError: The value names no namespace.
    """
    if value.__class__ is int:  # most are, and each hit runs this
        return str(value)
    if isinstance(value, Model):
        if not is_saved(value):
            raise PartTypeError(value, advice_for_nameless(value))
        key = primary_key_of(value)
        return "%2C".join(map(part_of, key)) if isinstance(key, tuple) else part_of(key)
    if isinstance(value, Enum):
        return part_of(value.value)
    if isinstance(value, Promise):
        return part_of(evaluate(value))
    if isinstance(value, date):
        return quote(_text_of_date(value), safe="")
    if not isinstance(value, str | int | UUID):
        if path_of(value.__class__) == ANONYMOUS:  # of a lazy object that of the user in it
            return field_part(value.pk)  # type: ignore[attr-defined] # None, as that of its template {user.pk}
        raise PartTypeError(value)
    text = str(value)
    return text if text.isascii() and text.isalnum() else quote(text, safe="", errors="surrogatepass")


def _text_of_date(value: date) -> str:
    """Return the text of a date or datetime: one moment has one, in each time zone."""
    if isinstance(value, datetime) and value.utcoffset() is not None:
        value = value.astimezone(UTC)
    return value.isoformat()


def field_part(value: object) -> str:
    """
    Return the text of a template's field. It may be None, as `{user.pk}` of an AnonymousUser: in a key it may, too.

    `Namespace()` refuses None, as the primary key of a row that was deleted.
    """
    return "None" if value is None else part_of(value)


def token_keys_of(start: str, table_start: str, value: Any) -> list[str]:
    """
    Return the keys of the tokens of the namespaces that a callable returned: one, or several.

    They begin with *start*, those of tables with *table_start*.
    """
    namespaces = [value]
    if not isinstance(value, Namespace | str) and isinstance(value, Iterable):
        namespaces = list(value)
    for each in namespaces:
        if not isinstance(each, Namespace):
            where = "" if each is value else f" in a {type(value).__name__}"
            must = "it must give a Namespace, or several: Namespace('club', 7)"
            raise PartTypeError(each, text=f"the callable of namespace= gave {describe(each)}{where}; {must}.")
    # Sorted: a set has another order in each process, and the stamp keeps the order of the tokens.
    return sorted(
        {
            key
            for namespace in namespaces
            for key in token_keys(namespace, table_start if is_of_tables(namespace) else start)
        }
    )
