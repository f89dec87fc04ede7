"""
A panel for django-debug-toolbar: each call of a cached function, what it cost or saved, and why it was a miss.

One line of the settings::

    DEBUG_TOOLBAR_PANELS = [*PANELS_DEFAULTS, "cachedeco.contrib.debug_toolbar.CachedecoPanel"]
"""

from cachedeco.contrib.debug_toolbar.panel import CachedecoPanel

__all__ = ["CachedecoPanel"]
