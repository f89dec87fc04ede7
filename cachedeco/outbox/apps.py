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
        from cachedeco.invalidation.delivery import record_with  # noqa: PLC0415 -- see above
        from cachedeco.outbox import checks  # noqa: F401, PLC0415 -- registers by being imported
        from cachedeco.outbox.recording import record  # noqa: PLC0415 -- see above

        record_with(record)
