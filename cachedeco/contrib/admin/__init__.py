"""
Pages of Django's admin: what the cached functions cost and save, why a call is a miss, whether the caches are well.

One line of the settings, beside Django's admin::

    INSTALLED_APPS = ["django.contrib.admin", ..., "cachedeco", "cachedeco.contrib.admin"]

`manage.py migrate` makes two permissions, to look and to invalidate, and no table.
"""
