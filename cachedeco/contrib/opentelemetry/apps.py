"""The app `cachedeco.contrib.opentelemetry`: installs the hook when Django starts."""

from django.apps import AppConfig


class OpenTelemetryConfig(AppConfig):
    """Send spans and metrics of cached functions to the providers of OpenTelemetry."""

    name = "cachedeco.contrib.opentelemetry"
    label = "cachedeco_opentelemetry"
    verbose_name = "cachedeco's traces"

    def ready(self) -> None:
        """Install the hook."""
        from cachedeco.contrib.opentelemetry import install

        install()
