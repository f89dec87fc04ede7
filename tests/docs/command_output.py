"""
Run the commands of a page on the example site, in one process, and print what each has printed, as JSON.

    python tests/docs/command_output.py < commands.json

Standard input is a list of pairs: the address of a cache, empty for that of the site, and what stands behind
`manage.py`. The site has its database in memory, with a few clubs.
"""

import json
import logging
import os
import shlex
import sys
from io import StringIO
from pathlib import Path

SITE = Path(__file__).resolve().parents[2] / "examples" / "clubsite"


def said(cache_url: str, line: str) -> str:
    """Return what a command prints, on standard output and then on standard error."""
    from clubsite.cache_url import cache_from_url
    from django.core.management import CommandError, call_command
    from django.test import override_settings

    out, err = StringIO(), StringIO()
    caches = {"CACHES": {"default": cache_from_url(cache_url, key_prefix="clubsite")}} if cache_url else {}
    try:
        with override_settings(**caches):
            call_command(*shlex.split(line), stdout=out, stderr=err)
    except CommandError as error:
        err.write(f"CommandError: {error}\n")
    return out.getvalue() + err.getvalue()


def main() -> None:
    """Run the commands."""
    os.chdir(SITE)
    sys.path[0] = str(SITE)
    os.environ |= {
        "CACHE_URL": "locmem://",
        "CLUBSITE_DB": ":memory:",
        "COLUMNS": "100",
        "DJANGO_SETTINGS_MODULE": "clubsite.settings",
    }
    import django

    django.setup()
    logging.disable()  # the page shows what the command says
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("make_clubs", clubs=3, classes=4, stdout=StringIO())
    json.dump([said(*each) for each in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
