"""The Django app `cachedeco.outbox`: records invalidations from `ready()` on."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class OutboxConfig(AppConfig):
    """Keep each invalidation as a row in the database whose commit it waits for."""

    name = "cachedeco.outbox"
    label = "cachedeco_outbox"
    verbose_name = "cachedeco's outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Start recording, mark the statements that are watched, and register the checks."""
        # Imported here, since these modules import the models.
        from cachedeco.invalidation.delivery import record_with
        from cachedeco.outbox import checks  # noqa: F401 -- registers by being imported
        from cachedeco.outbox.marking import mark
        from cachedeco.outbox.recording import begin_migrations, end_migrations, record
        from cachedeco.tracking.watcher import mark_with

        record_with(record)
        mark_with(mark)
        pre_migrate.connect(begin_migrations, sender=self)
        post_migrate.connect(end_migrations, sender=self)
