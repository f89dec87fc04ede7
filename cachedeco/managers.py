"""A manager and a QuerySet whose bulk writes, of which Django tells nobody, invalidate what depends on the model."""

from typing import Any, TypeVar

from django.db.models import Manager, Model, QuerySet

from cachedeco.invalidation.namespaces import Namespace, invalidate_namespaces
from cachedeco.invalidation.relations import relatives_of

M = TypeVar("M", bound=Model)


class InvalidatingQuerySet(QuerySet[M]):
    """
    Invalidate after `update()`, `bulk_create()`, `bulk_update()`, and their twins for async code.

    Whatever depends on the model is invalidated, on parts of it too, as nobody can tell which rows have changed: once,
    at commit. The functions need not be imported by the process that writes. `delete()` sends signals, and so does what
    saves row by row: `create()`, `get_or_create()`, `update_or_create()`.
    """

    invalidates_bulk_writes = True  #: what the system check looks for

    def update(self, **kwargs: Any) -> int:
        """Do as Django's, and invalidate if there were such rows."""
        rows = super().update(**kwargs)
        if rows:
            self._invalidate(self.db)
        return rows

    update.alters_data = True  # type: ignore[attr-defined] # no template may call it, as Django has it

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[M]:
        """Do as Django's, and invalidate if there was something to create."""
        created = super().bulk_create(*args, **kwargs)
        if created:
            self._invalidate(self.db)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined] # as above

    def _raw_delete(self, using: str | None) -> int:
        """Do as Django's, which deletes so what nobody listens to."""
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

    A QuerySet of your own gets it from `InvalidatingQuerySet`, and its manager from `as_manager()`.
    """

    _queryset_class = InvalidatingQuerySet
