"""Migrations, written by `manage.py cachedeco triggers clubs --app triggers`."""
