"""
Prometheus: counters, gauges and a histogram of what cached functions do, from the event hooks.

One line of the settings; the metrics are in the default registry, which the project exposes as it does its own::

    INSTALLED_APPS = [..., "cachedeco", "cachedeco.contrib.prometheus"]

For another registry, call `install(registry)` in the `ready()` of an app, instead.
"""

from cachedeco.contrib.prometheus.metrics import install

__all__ = ["install"]
