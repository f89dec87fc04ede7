"""The app `cachedeco.contrib.admin`; Django's admin finds its pages in `admin.py`."""

from django.apps import AppConfig


class AdminConfig(AppConfig):
    """Show cached functions in Django's admin."""

    name = "cachedeco.contrib.admin"
    label = "cachedeco_admin"
    verbose_name = "cachedeco"
    default_auto_field = "django.db.models.BigAutoField"
