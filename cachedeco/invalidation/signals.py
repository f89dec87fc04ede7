"""
What Django tells of changed rows, and which namespaces that invalidates.

A model is watched from the moment that the first function depends on it, for as long as the process lives: whoever
decorates again at each call of an outer function must not disconnect what others rely on.

A row that moves from one value of a field to another concerns both. The old value is the database's, not the
instance's, which may have been loaded long ago.
"""

# ruff: noqa: SLF001 -- Django documents _meta and _state

from collections.abc import Iterable
from contextlib import suppress
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.apps import apps
from django.db import connections
from django.db.models import Field, Model, QuerySet
from django.db.models.signals import class_prepared, m2m_changed, post_delete, post_save, pre_delete, pre_save

from cachedeco.invalidation.namespaces import Namespace, every_row_of, invalidate_namespaces, some_rows_of
from cachedeco.invalidation.relations import ModelClass, senders_of, silent_targets_of, throughs_of, with_proxies
from cachedeco.invalidation.rows import ModelReference, check_telling, field_of, model_of, text_of
from cachedeco.runtime.modes import current_mode

UID: Final = "cachedeco"


class ModelSubscription:
    """A model that some function depends on, and the fields by which one depends on a part of it."""

    def __init__(self, model: ModelClass) -> None:
        """Begin without fields."""
        self.model = model
        self.fields: dict[str, Field[Any, Any]] = {}
        self.every = every_row_of(model)
        self.rows = some_rows_of(model)

    def names_of(self, values: Iterable[str]) -> set[Namespace]:
        """Return the namespaces of the rows that have these values, as `text_of()` gives them."""
        return {some_rows_of(self.model, value) for value in values}


WatchedFields = list[tuple[ModelSubscription, "Field[Any, Any]"]]

# By what a signal names: the class that was saved or deleted; and, by the class whose row was deleted, those of whose
# rows Django says nothing then.
_by_sender: dict[ModelClass, list[ModelSubscription]] = {}
_by_deleted: dict[ModelClass, list[ModelSubscription]] = {}
_watched: dict[ModelClass, ModelSubscription] = {}
# What depends_on named: whether that was while Django started, as it then does in each process.
_asked: dict[tuple[ModelReference, str | None], bool] = {}
# By an instance's state, as an instance without a primary key can't be hashed: the rows that its change concerns.
_before: "WeakKeyDictionary[object, set[tuple[ModelSubscription, str]]]" = WeakKeyDictionary()
_lock = Lock()


def watch(reference: ModelReference, field: str | None) -> None:
    """
    Invalidate what depends on a model, or on the part of it by one field, whenever Django tells of a changed row.

    Until all models are loaded this is only remembered: `connect()` is then called by our `AppConfig`.
    """
    with _lock:
        known = (reference, field) in _asked
        _asked.setdefault((reference, field), not apps.ready)
    if apps.models_ready and not known:
        _connect(reference, field)


def connect() -> None:
    """Connect whatever is watched. What can't be is for the system check to tell."""
    for reference, field in list(_asked):
        with suppress(TypeError):
            _connect(reference, field)


def is_watched_everywhere(model: ModelClass, field: "Field[Any, Any] | None") -> bool:
    """Tell whether every process watches the model, and the field: those that start Django as this one did."""
    for (reference, name), at_start in list(_asked.items()):
        with suppress(TypeError):
            if at_start and model_of(reference) is model:
                watched = None if name is None else field_of(model, name)
                if field in {None, watched}:
                    return True
    return False


def _connect(reference: ModelReference, name: str | None) -> None:
    model = model_of(reference)
    field = None if name is None else field_of(model, name)
    if field is not None:
        check_telling(field)
    with _lock:
        watched = _watched.setdefault(model, ModelSubscription(model))
        if field is not None:
            watched.fields = {**watched.fields, field.attname: field}
        for sender in senders_of(model):
            _enter(_by_sender, sender, watched)
            if not sender._meta.auto_created:  # Django sends none, and would fetch each row before deleting it
                pre_save.connect(_on_pre_save, sender=sender, weak=False, dispatch_uid=UID)
                post_save.connect(_on_post_save, sender=sender, weak=False, dispatch_uid=UID)
                pre_delete.connect(_on_pre_delete, sender=sender, weak=False, dispatch_uid=UID)
                post_delete.connect(_on_post_delete, sender=sender, weak=False, dispatch_uid=UID)
        for through in (model, *throughs_of(model)):
            m2m_changed.connect(_on_m2m_changed, sender=through, weak=False, dispatch_uid=UID)
        for target in silent_targets_of(model):
            for sender in with_proxies(target):
                _enter(_by_deleted, sender, watched)
                post_delete.connect(_on_target_deleted, sender=sender, weak=False, dispatch_uid=f"{UID}.target")


def _enter(table: dict[ModelClass, list[ModelSubscription]], sender: ModelClass, watched: ModelSubscription) -> None:
    found = table.get(sender, [])
    if watched not in found:
        table[sender] = [*found, watched]  # a new list: a signal may be going through the old one


def _on_class_prepared(sender: ModelClass, **_: object) -> None:
    """Connect again once a model is there that was defined after Django had started."""
    if apps.models_ready and sender._meta.apps is apps:
        # Relations to it are known from when it is in the registry, which follows.
        apps.lazy_model_operation(lambda _model: connect(), (sender._meta.app_label, sender._meta.model_name))


class_prepared.connect(_on_class_prepared, weak=False, dispatch_uid=UID)


# --- what they do ---


def _on_pre_save(sender: ModelClass, instance: Model, using: str, **_: object) -> None:
    """Remember what the row is in the database, as long as it is there."""
    fields = _fields_for(sender, instance)
    if fields and current_mode() != "off":
        _before[instance._state] = _stored_rows(fields, sender, instance, using)


def _on_post_save(
    sender: ModelClass, instance: Model, using: str, update_fields: frozenset[str] | None = None, **_: object
) -> None:
    """Invalidate what depends on the model, on what the row was, and on what it is now."""
    before = _before.pop(instance._state, None)
    changed: list[Namespace] = []
    for watched in _by_sender.get(sender, ()):
        now = [
            _written(instance, field)
            for field in watched.fields.values()
            if update_fields is None or not update_fields.isdisjoint({field.name, field.attname})
        ]
        changed += _changed(watched, before, now if isinstance(instance, watched.model) else [None])
    invalidate_namespaces(using, changed)


def _on_pre_delete(sender: ModelClass, instance: Model, using: str, origin: object = None, **_: object) -> None:
    """Remember what the row is."""
    fields = _fields_for(sender, instance)
    if not fields or current_mode() == "off":
        return
    # What Django has fetched in order to delete it is as good as what we would fetch; what the caller brought is not.
    if isinstance(origin, Model) and isinstance(origin, sender) and origin.pk == instance.pk:
        _before[instance._state] = _stored_rows(fields, sender, instance, using)
    else:
        _before[instance._state] = {
            (watched, text_of(field, getattr(instance, field.attname))) for watched, field in fields
        }


def _on_post_delete(sender: ModelClass, instance: Model, using: str, **_: object) -> None:
    """Invalidate what depends on the model, and on what the row was."""
    before = _before.pop(instance._state, None)
    # A deleted parent takes its children along, and each is told.
    concerned = [each for each in _by_sender.get(sender, ()) if isinstance(instance, each.model)]
    invalidate_namespaces(using, [name for each in concerned for name in _changed(each, before, [])])


def _on_target_deleted(sender: ModelClass, using: str, **_: object) -> None:
    """Invalidate the models with rows that pointed to the deleted one: Django has changed them, and says nothing."""
    told = _by_sender.get(sender, ())
    silent = [
        each for each in _by_deleted.get(sender, ()) if each.fields or each not in told
    ]  # else it is done already
    invalidate_namespaces(using, [name for each in silent for name in _changed(each, None, [None])])


def _on_m2m_changed(  # noqa: PLR0913 -- what the signal brings
    sender: ModelClass,
    *,
    action: str,
    instance: Model,
    model: ModelClass,
    pk_set: set[object] | None,
    using: str,
    **_: object,
) -> None:
    """Invalidate what depends on one of the two sides, or on the rows between them."""
    if not action.startswith("post_") or (pk_set is not None and not pk_set):
        return
    sides = [*_by_sender.get(sender, ()), *_by_sender.get(type(instance), ()), *_by_sender.get(model, ())]
    invalidate_namespaces(using, [name for each in dict.fromkeys(sides) for name in _changed(each, None, [None])])


def _changed(
    watched: ModelSubscription, before: set[tuple[ModelSubscription, str]] | None, now: Iterable[str | None]
) -> list[Namespace]:
    """Return what to invalidate of a model: all parts of it where it is not known which are concerned."""
    names = {watched.every}
    if watched.fields:
        texts = [*now] if before is None else [*now, *(text for each, text in before if each is watched)]
        known = before is not None and None not in texts
        names |= watched.names_of(filter(None, texts)) if known else {watched.rows}
    return sorted(names, key=lambda each: each.path)


def _fields_for(sender: ModelClass, instance: Model) -> WatchedFields:
    """Return the fields of an instance by which somebody depends on a part of its model, or of a parent of that."""
    watched = [each for each in _by_sender.get(sender, ()) if isinstance(instance, each.model)]
    return [(each, field) for each in watched for field in each.fields.values()]


def _stored_rows(
    fields: WatchedFields, sender: ModelClass, instance: Model, using: str
) -> set[tuple[ModelSubscription, str]]:
    """
    Return what the row is in the database now; nothing where it is not there.

    It is asked for even where an update_fields leaves these fields alone, or the instance is new: the instance may have
    been loaded before another process moved the row, or been made by hand with the primary key of a row there is.
    """
    pk = instance.pk
    if pk is None or hasattr(pk, "resolve_expression"):
        return set()
    # None of the model's managers: one may leave rows out.
    rows: QuerySet[Model] = QuerySet(sender, using=using).filter(pk=pk)
    connection = connections[using]
    if connection.in_atomic_block and connection.features.has_select_for_update:
        # Two that move the row at once: the second must see where the first has put it. Each is about to take this
        # lock for its own UPDATE anyway, so take no stronger one.
        rows = rows.select_for_update(no_key=connection.features.has_select_for_no_key_update)
    stored = next(iter(rows.values_list(*[field.attname for _, field in fields])), None)
    texts = () if stored is None else zip(fields, stored, strict=True)
    return {(watched, text_of(field, value)) for (watched, field), value in texts}


def _written(instance: Model, field: "Field[Any, Any]") -> str | None:
    """Return what a saved row now is, None where only the database knows."""
    value = vars(instance).get(field.attname)
    if field.attname not in vars(instance) or getattr(field, "generated", False):
        return None
    return None if hasattr(value, "resolve_expression") else text_of(field, value)
