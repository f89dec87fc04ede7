"""The outbox as the tests have it installed: its tables and its checks, and nothing that records."""

from cachedeco.outbox.apps import OutboxConfig


class QuietOutboxConfig(OutboxConfig):
    """
    Record nothing, however often the apps get ready: they do again where a test changes INSTALLED_APPS.

    The tests of the outbox switch the recording on themselves.
    """

    def ready(self) -> None:
        """Register the checks only."""
        from cachedeco.outbox import checks  # noqa: F401 -- needs the models
