"""A model without a table: the admin lists it, and Django makes the permissions that it names."""

from django.db import models


class Function(models.Model):  # noqa: DJ008 -- nothing is ever one
    """A cached function, as the admin sees it. It has no rows."""

    class Meta:
        """Two permissions: to look at all pages, and to invalidate."""

        managed = False
        app_label = "cachedeco_admin"
        default_permissions = ("view",)
        permissions = (("invalidate_function", "Can invalidate cached functions"),)
        verbose_name = "cached function"
