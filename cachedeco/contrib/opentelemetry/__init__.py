"""
OpenTelemetry: spans of what the cache was asked, and metrics, from the event hooks.

One line of the settings; they go to the providers that the project has set up::

    INSTALLED_APPS = [..., "cachedeco", "cachedeco.contrib.opentelemetry"]

For other providers, call `install(tracer_provider, meter_provider)` in the `ready()` of an app, instead.
"""

from cachedeco.contrib.opentelemetry.hooks import install

__all__ = ["install"]
