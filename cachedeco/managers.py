"""Manager and QuerySet whose bulk writes, for which Django sends no signals, invalidate dependent entries."""

from typing import Any, TypeVar

from django.db.models import Manager, Model, QuerySet

from cachedeco.invalidation.namespaces import Namespace, invalidate_namespaces
from cachedeco.invalidation.relations import relatives_of

M = TypeVar("M", bound=Model)


class InvalidatingQuerySet(QuerySet[M]):
    """
    Invalidate after `update()`, `bulk_create()`, `bulk_update()`, and their async twins.

    All entries that depend on the model or on some of its rows are invalidated, since Django does not say which rows
    have changed: once, at commit. The process that writes need not import the cached functions. Methods that send
    signals invalidate anyway: `delete()`, and what saves row by row, `create()`, `get_or_create()` and
    `update_or_create()`.
    """

    invalidates_bulk_writes = True  #: read by the system check W001

    def update(self, **kwargs: Any) -> int:
        """Update as Django's method does, and invalidate if any row matched."""
        rows = super().update(**kwargs)
        if rows:
            self._invalidate(self.db)
        return rows

    update.alters_data = True  # type: ignore[attr-defined] # no template may call it, as with Django's method

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[M]:
        """Create as Django's method does, and invalidate if any row was created."""
        created = super().bulk_create(*args, **kwargs)
        if created:
            self._invalidate(self.db)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined] # as above

    def _raw_delete(self, using: str | None) -> int:
        """Delete as Django's method does, for models without receivers of signals, and invalidate."""
        rows: int = super()._raw_delete(using)
        if rows:
            self._invalidate(using or self.db)
        return rows

    _raw_delete.alters_data = True  # type: ignore[attr-defined] # as above

    def _invalidate(self, using: str) -> None:
        invalidate_namespaces(using, [Namespace.for_model(model) for model in relatives_of(self.model)])


class InvalidatingManager(Manager[M]):
    """
    A manager whose bulk writes invalidate.

    ::

        class ClubClass(models.Model):
            objects = InvalidatingManager()

            class Meta:
                base_manager_name = "objects"  # then `club.classes.add(row)` invalidates too

    Derive a QuerySet of your own from `InvalidatingQuerySet`, and make its manager with `as_manager()`.
    """

    _queryset_class = InvalidatingQuerySet
