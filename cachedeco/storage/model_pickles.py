"""
Pickle rows and QuerySets without Django's version, and remember which fields their models have.

Django puts its version into the pickle of each row and QuerySet, and warns when another version loads it, a patch
release too. Here the version is left out, and that of the loading process takes its place: patch releases of Django
share entries. Feature releases do not, since their entries have other keys.

Rows that were fetched with Django's `FETCH_PEERS` fetch what they lack together. Pickle takes the weak references to
each other from them, and a hit would query for each row: here rows of one group find each other again.

A row that lacks a field of today is loaded with a deferred field, and each hit would query for it. So the bytes name
the models among the values, with a digest of their fields.
"""

import pickle
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from io import BytesIO
from typing import Any, Final
from weakref import ref

import django
from django.apps import apps
from django.db import DJANGO_VERSION_PICKLE_KEY
from django.db.models import Model, QuerySet

from cachedeco.storage.refusals import refuse_part

# Fixed rather than "highest": processes on an older Python must read entries of those on a newer one.
PICKLE_PROTOCOL: Final = 5
DIGEST_BYTES: Final = 8
_VERSIONED: Final = (Model, QuerySet)
_USUAL_SETTER: Final = vars(Model)["__setstate__"]

# What `are_current()` has found current. Bounded by the sets of models that the code of the project caches together.
_current: set[bytes] = set()


class ModelPickler(pickle.Pickler):
    """A pickler that collects the models of the rows that it meets."""

    def __init__(self, file: BytesIO) -> None:
        """Write to a file."""
        super().__init__(file, PICKLE_PROTOCOL)
        self.models: set[type[Model]] = set()
        self._groups: dict[int, list[ref[Model]]] = {}  # empty lists, by the identity of the peers that they stand for

    def reducer_override(self, value: Any) -> Any:
        """
        Leave out the version. Not called for plain values: None, bool, numbers, text, bytes, list, dict, tuple.

        Raises:
            RefusedValueError: The value must not be stored.
            PicklingError: It is told by its identity alone, which a copy has not.
        """
        refuse_part(value)
        kind = type(value)  # and not isinstance(): a lazy object names the class of what is in it
        if kind is object:
            msg = "a hit would have another object() in its place: return None, or a member of an enum"
            raise pickle.PicklingError(msg)
        if not issubclass(kind, _VERSIONED):
            return NotImplemented
        # Of a QuerySet, too: its rows may be dicts, as values() gives them.
        self.models.add(kind if issubclass(kind, Model) else value.model)
        reduced = value.__reduce_ex__(PICKLE_PROTOCOL)
        # A class of the project may reduce to anything, with a setter of its own too.
        if not isinstance(reduced, tuple) or len(reduced) < 3 or len(reduced) == 6:  # noqa: PLR2004 -- object.__reduce__()
            return reduced
        make, args, state = reduced[:3]
        if not isinstance(state, dict) or DJANGO_VERSION_PICKLE_KEY not in state:
            return reduced
        del state[DJANGO_VERSION_PICKLE_KEY]  # of a copy, which __reduce__() has made
        is_usual = getattr(kind, "__setstate__", None) is _USUAL_SETTER and "_memoryview_attrs" not in state
        restore: Any = restore_row if is_usual else restore_state
        peers = getattr(getattr(value, "_state", None), "peers", ())
        if len(peers) > 1:
            state = (restore, state, self._groups.setdefault(id(peers), []))
            restore = restore_peer
        return (make, args, state, *reduced[3:], *(None,) * (5 - len(reduced)), restore)


def restore_row(row: Any, state: dict[str, Any]) -> None:
    """Restore the state of a row as Django does: in one call for each row, as each hit runs this."""
    row.__dict__.update(state)


def restore_state(value: Any, state: dict[str, Any]) -> None:
    """Restore the state of a QuerySet, or of a row with a way of its own, as if this version of Django had saved it."""
    state[DJANGO_VERSION_PICKLE_KEY] = django.__version__
    value.__setstate__(state)
    vars(value).pop(DJANGO_VERSION_PICKLE_KEY, None)


def restore_peer(row: Any, parts: tuple[Any, dict[str, Any], list[ref[Any]]]) -> None:
    """Restore a row, and add it to the rows that were fetched with it: all that are in the value."""
    restore, state, peers = parts
    restore(row, state)
    peers.append(ref(row))
    row._state.peers = peers  # as Django does where it has fetched rows


def dump(value: object) -> tuple[bytes, bytes]:
    """Return the pickle of a value, and what `are_current()` takes: empty if there is no row in it."""
    file = BytesIO()
    pickler = ModelPickler(file)
    pickler.dump(value)
    return file.getvalue(), _describe(frozenset(pickler.models)) if pickler.models else b""


def are_current(description: bytes) -> bool:
    """Tell whether models have the fields that they had when a value was pickled. No bytes raise."""
    if description in _current:
        return True
    try:
        names = description[DIGEST_BYTES:].decode().split(" ")
        models = [apps.get_model(name) for name in names]
    except (LookupError, ValueError):  # a model is gone, or the bytes are no description
        return False
    if _describe(frozenset(models)) != description:
        return False
    _current.add(description)
    return True


def digest_here(description: bytes) -> str:
    """Return a digest of the fields that the models of a description have in this process. No bytes raise."""
    names = description[DIGEST_BYTES:].decode(errors="replace").split(" ")
    models: set[type[Model]] = set()
    for name in names:
        with suppress(LookupError, ValueError):  # a model that is gone has no fields
            models.add(apps.get_model(name))
    return _describe(frozenset(models))[:DIGEST_BYTES].hex()


@lru_cache(maxsize=1000)
def _describe(models: frozenset[type[Model]]) -> bytes:
    """Return a digest of the fields of models, and their names."""
    names = sorted(model._meta.label for model in models)
    fields = sorted(map(_fields_of, models))
    return blake2b(repr(fields).encode(), digest_size=DIGEST_BYTES).digest() + " ".join(names).encode()


def _fields_of(model: type[Model]) -> tuple[str, Iterable[tuple[str, ...]]]:
    meta = model._meta
    return meta.label, sorted(map(_describe_field, meta.concrete_fields))


def _describe_field(field: Any) -> tuple[str, ...]:
    """Return what decides the type of a field's values: its class too, as it may convert what the column has."""
    cls = type(field)
    leads_to = str(field.related_model._meta.label) if field.is_relation else ""
    target = field.target_field.get_internal_type() if field.is_relation else ""
    return field.attname, f"{cls.__module__}.{cls.__qualname__}", field.get_internal_type(), leads_to, target
