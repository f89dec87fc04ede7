"""Use the site as its developer does all day: look at each page, with the cache that the settings name."""  # noqa: INP001 -- a script

import os

import django

YESTERDAY = "Yesterday's class"

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    django.setup()

    from clubs.models import Club
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", run_syncdb=True, verbosity=0)
    club = Club.objects.create(pk=1, name=YESTERDAY)
    club.clubclass_set.create(name=YESTERDAY)
    for path in ("/1/", "/1/sidebar/", "/1/teachers/", "/count/", "/news/", "/visits/"):
        print(path, Client().get(path).content.decode().strip())  # noqa: T201 -- for a developer who runs it by hand
