"""
Model signals: invalidate the namespaces of a model and of its rows when Django signals a change.

A model is watched from the first function that depends on it until the process ends: a function that is decorated
again at each call of an outer one never disconnects receivers that other functions need.

A row that moves from one value of a field to another invalidates the namespaces of both. The old value is read from
the database, since the instance may have been loaded long ago.
"""

# ruff: noqa: SLF001 -- Django documents _meta and _state

from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.apps import apps
from django.db import connections
from django.db.models import Field, Model, QuerySet
from django.db.models.signals import class_prepared, m2m_changed, post_delete, post_save, pre_delete, pre_save

from cachedeco.invalidation.namespaces import Namespace, invalidate_namespaces, model_namespace, rows_namespace
from cachedeco.invalidation.relations import ModelClass, senders_of, silent_targets_of, throughs_of, with_proxies
from cachedeco.invalidation.rows import ModelReference, check_canonical, field_of, model_of, text_of
from cachedeco.runtime.modes import current_mode

UID: Final = "cachedeco"


class ModelSubscription:
    """A model that functions depend on, and the fields by which they depend on rows of it."""

    def __init__(self, model: ModelClass) -> None:
        """Start without fields."""
        self.model = model
        self.fields: dict[str, Field[Any, Any]] = {}
        self.namespace = model_namespace(model)
        self.rows_parent = rows_namespace(model)

    def namespaces_of(self, values: Iterable[str]) -> set[Namespace]:
        """Return the namespaces of the rows with these values, which are results of `text_of()`."""
        return {rows_namespace(self.model, value) for value in values}


WatchedFields = list[tuple[ModelSubscription, "Field[Any, Any]"]]

# By the sender of a signal, the class that was saved or deleted.
_subscriptions_by_sender: dict[ModelClass, list[ModelSubscription]] = {}
# By the class of a deleted row: models whose rows change with it without a signal.
_subscriptions_by_deleted: dict[ModelClass, list[ModelSubscription]] = {}
_subscriptions: dict[ModelClass, ModelSubscription] = {}
# Arguments of watch(): whether the call was while Django started, as it then is in each process.
_watch_requests: dict[tuple[ModelReference, str | None], bool] = {}
# The row before a change, by the instance's state: an instance without a primary key can't be hashed.
_rows_before: "WeakKeyDictionary[object, set[tuple[ModelSubscription, str]]]" = WeakKeyDictionary()
_lock = Lock()


def watch(reference: ModelReference, field: str | None) -> None:
    """
    Invalidate the entries that depend on a model, or on rows of it by one field, when Django signals a changed row.

    Until all models are loaded the request is only stored: the `AppConfig` then calls `connect()`.
    """
    with _lock:
        known = (reference, field) in _watch_requests
        _watch_requests.setdefault((reference, field), not apps.ready)
    if apps.models_ready and not known:
        _connect(reference, field)


def connect() -> None:
    """Connect all stored requests. A system check reports those that can't be connected."""
    for reference, field in list(_watch_requests):
        with suppress(TypeError):
            _connect(reference, field)


def is_watched_everywhere(model: ModelClass, field: "Field[Any, Any] | None") -> bool:
    """Tell whether every process that starts Django as this one did watches the model, and the field."""
    for (reference, name), at_start in list(_watch_requests.items()):
        with suppress(TypeError):
            if at_start and model_of(reference) is model:
                subscription = None if name is None else field_of(model, name)
                if field in {None, subscription}:
                    return True
    return False


def _connect(reference: ModelReference, name: str | None) -> None:
    model = model_of(reference)
    field = None if name is None else field_of(model, name)
    if field is not None:
        check_canonical(field)
    with _lock:
        subscription = _subscriptions.setdefault(model, ModelSubscription(model))
        if field is not None:
            subscription.fields = {**subscription.fields, field.attname: field}
        for sender in senders_of(model):
            _subscribe(_subscriptions_by_sender, sender, subscription)
            # Django sends no signals of auto-created models; with receivers it would fetch each row before deleting it.
            if not sender._meta.auto_created:
                pre_save.connect(_on_pre_save, sender=sender, weak=False, dispatch_uid=UID)
                post_save.connect(_on_post_save, sender=sender, weak=False, dispatch_uid=UID)
                pre_delete.connect(_on_pre_delete, sender=sender, weak=False, dispatch_uid=UID)
                post_delete.connect(_on_post_delete, sender=sender, weak=False, dispatch_uid=UID)
        for through in (model, *throughs_of(model)):
            m2m_changed.connect(_on_m2m_changed, sender=through, weak=False, dispatch_uid=UID)
        for target in silent_targets_of(model):
            for sender in with_proxies(target):
                _subscribe(_subscriptions_by_deleted, sender, subscription)
                post_delete.connect(_on_target_deleted, sender=sender, weak=False, dispatch_uid=f"{UID}.target")


def _subscribe(
    table: dict[ModelClass, list[ModelSubscription]], sender: ModelClass, subscription: ModelSubscription
) -> None:
    subscriptions = table.get(sender, [])
    if subscription not in subscriptions:
        table[sender] = [*subscriptions, subscription]  # a new list: a receiver may be iterating over the old one


def _on_class_prepared(sender: ModelClass, **_: object) -> None:
    """Connect all requests again after a model was defined that Django did not know at its start."""
    if apps.models_ready and sender._meta.apps is apps:
        # Its relations are known only when it is in the registry, which comes after this signal.
        apps.lazy_model_operation(lambda _model: connect(), (sender._meta.app_label, sender._meta.model_name))


class_prepared.connect(_on_class_prepared, weak=False, dispatch_uid=UID)


# --- receivers ---


def _on_pre_save(sender: ModelClass, instance: Model, using: str, **_: object) -> None:
    """Remember the row as it is in the database, before it is overwritten."""
    fields = _watched_fields(sender, instance)
    if fields and current_mode() != "off":
        _rows_before[instance._state] = _stored_rows(fields, sender, instance, using)


def _on_post_save(
    sender: ModelClass, instance: Model, using: str, update_fields: frozenset[str] | None = None, **_: object
) -> None:
    """Invalidate the namespaces of the model, of the row's old values, and of its new ones."""
    before = _rows_before.pop(instance._state, None)
    changed: list[Namespace] = []
    for subscription in _subscriptions_by_sender.get(sender, ()):
        now = [
            _saved_text(instance, field)
            for field in subscription.fields.values()
            if update_fields is None or not update_fields.isdisjoint({field.name, field.attname})
        ]
        changed += _namespaces_of_change(
            subscription, before, now if isinstance(instance, subscription.model) else [None]
        )
    invalidate_namespaces(using, changed)


def _on_pre_delete(sender: ModelClass, instance: Model, using: str, origin: object = None, **_: object) -> None:
    """Remember the row before it is deleted."""
    fields = _watched_fields(sender, instance)
    if not fields or current_mode() == "off":
        return
    # Rows that Django has fetched in order to delete them are current; the caller's own instance may be old.
    if isinstance(origin, Model) and isinstance(origin, sender) and origin.pk == instance.pk:
        _rows_before[instance._state] = _stored_rows(fields, sender, instance, using)
    else:
        _rows_before[instance._state] = {
            (subscription, text_of(field, getattr(instance, field.attname))) for subscription, field in fields
        }


def _on_post_delete(sender: ModelClass, instance: Model, using: str, **_: object) -> None:
    """Invalidate the namespaces of the model, and of the row's old values."""
    before = _rows_before.pop(instance._state, None)
    # Not those of its multi-table children: each of these sends a signal of its own.
    subscriptions = [item for item in _subscriptions_by_sender.get(sender, ()) if isinstance(instance, item.model)]
    _invalidate_changes(using, subscriptions, before, [])


def _on_target_deleted(sender: ModelClass, using: str, **_: object) -> None:
    """Invalidate the models with rows that pointed to the deleted one: Django has changed them without a signal."""
    signalled = _subscriptions_by_sender.get(sender, ())
    # A whole model that the signal itself names is invalidated already.
    silent = [item for item in _subscriptions_by_deleted.get(sender, ()) if item.fields or item not in signalled]
    _invalidate_changes(using, silent, None, [None])


def _on_m2m_changed(  # noqa: PLR0913 -- the arguments of the signal
    sender: ModelClass,
    *,
    action: str,
    instance: Model,
    model: ModelClass,
    pk_set: set[object] | None,
    using: str,
    **_: object,
) -> None:
    """Invalidate the namespaces of both sides, and of the through model."""
    if not action.startswith("post_") or (pk_set is not None and not pk_set):
        return
    senders = (sender, type(instance), model)
    sides = [item for cls in senders for item in _subscriptions_by_sender.get(cls, ())]
    _invalidate_changes(using, dict.fromkeys(sides), None, [None])


def _invalidate_changes(
    using: str,
    subscriptions: Iterable[ModelSubscription],
    before: set[tuple[ModelSubscription, str]] | None,
    now: Sequence[str | None],
) -> None:
    """Invalidate the namespaces of several models, whose rows have changed in the same way."""
    changed = [namespace for item in subscriptions for namespace in _namespaces_of_change(item, before, now)]
    invalidate_namespaces(using, changed)


def _namespaces_of_change(
    subscription: ModelSubscription, before: set[tuple[ModelSubscription, str]] | None, now: Iterable[str | None]
) -> list[Namespace]:
    """Return the namespaces to invalidate: the model's, and those of the rows, or of all rows if these are unknown."""
    namespaces = {subscription.namespace}
    if subscription.fields:
        texts = [*now] if before is None else [*now, *(text for owner, text in before if owner is subscription)]
        is_known = before is not None and None not in texts
        namespaces |= subscription.namespaces_of(filter(None, texts)) if is_known else {subscription.rows_parent}
    return sorted(namespaces, key=lambda namespace: namespace.path)


def _watched_fields(sender: ModelClass, instance: Model) -> WatchedFields:
    """Return the fields of an instance by which functions depend on rows of its model, or of a parent model."""
    subscriptions = [item for item in _subscriptions_by_sender.get(sender, ()) if isinstance(instance, item.model)]
    return [(item, field) for item in subscriptions for field in item.fields.values()]


def _stored_rows(
    fields: WatchedFields, sender: ModelClass, instance: Model, using: str
) -> set[tuple[ModelSubscription, str]]:
    """
    Return the texts of the row's fields in the database now; nothing if it is not there.

    Also if update_fields leaves these fields alone, or the instance is new: another process may have moved the row
    since it was loaded, or the instance may have been made by hand with the primary key of an existing row.
    """
    pk = instance.pk
    if pk is None or hasattr(pk, "resolve_expression"):
        return set()
    # Not by a manager of the model: it may leave rows out.
    rows: QuerySet[Model] = QuerySet(sender, using=using).filter(pk=pk)
    connection = connections[using]
    if connection.in_atomic_block and connection.features.has_select_for_update:
        # Two writers that move the row at once: the second must see the value of the first. Each of them takes this
        # lock for its own UPDATE anyway; no stronger one is taken.
        rows = rows.select_for_update(no_key=connection.features.has_select_for_no_key_update)
    stored = next(iter(rows.values_list(*[field.attname for _, field in fields])), None)
    texts = () if stored is None else zip(fields, stored, strict=True)
    return {(subscription, text_of(field, value)) for (subscription, field), value in texts}


def _saved_text(instance: Model, field: "Field[Any, Any]") -> str | None:
    """Return the text of a saved field; None if only the database knows its value."""
    value = vars(instance).get(field.attname)
    if field.attname not in vars(instance) or getattr(field, "generated", False):
        return None
    return None if hasattr(value, "resolve_expression") else text_of(field, value)
