"""The Django app `cachedeco.outbox`: from when it is ready, invalidations are recorded."""

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """Keep invalidations as rows, each in the database whose transaction it waits for."""

    name = "cachedeco.outbox"
    label = "cachedeco_outbox"
    verbose_name = "cachedeco's outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Begin to record, and register the checks."""
        # Here, as they need the models.
        from cachedeco.invalidation.delivery import record_with
        from cachedeco.outbox import checks  # noqa: F401 -- registers by being imported
        from cachedeco.outbox.recording import record

        record_with(record)
