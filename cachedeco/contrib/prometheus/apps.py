"""The app `cachedeco.contrib.prometheus`: installs the hook when Django starts."""

from django.apps import AppConfig


class PrometheusConfig(AppConfig):
    """Count the events of cached functions in the default registry of prometheus_client."""

    name = "cachedeco.contrib.prometheus"
    label = "cachedeco_prometheus"
    verbose_name = "cachedeco's metrics"

    def ready(self) -> None:
        """Install the hook."""
        from cachedeco.contrib.prometheus import install

        install()
