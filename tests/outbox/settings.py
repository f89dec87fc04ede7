"""The project of the tests in a process of its own: its outbox records, in the database that the environment names."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [app if "outbox" not in app else "cachedeco.outbox" for app in INSTALLED_APPS]
DATABASES["outbox"] = json.loads(os.environ["OUTBOX_DATABASE"])
CACHES = {"default": json.loads(os.environ["OUTBOX_CACHE"])}
DATABASE_ROUTERS = ["tests.outbox.sites.OnlyThere"]
# Some models of the tests mix foreign keys of the database with those of Python, which Django 6.1 takes for an error.
SILENCED_SYSTEM_CHECKS = ["fields.E323", "models.E050"]
