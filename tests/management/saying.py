"""Run a subcommand of `manage.py cachedeco` in this process."""

import json
from io import StringIO
from typing import Any, NamedTuple

from django.core.management import CommandError, call_command


class Said(NamedTuple):
    """What a command has printed, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def json(self) -> Any:
        """What it has printed, as JSON."""
        return json.loads(self.out)


def said(*options: str) -> Said:
    """Return what a subcommand says; an error is what it says on standard error."""
    out, err, code = StringIO(), StringIO(), 0
    try:
        call_command("cachedeco", *options, stdout=out, stderr=err)
    except CommandError as error:
        err.write(str(error))
        code = error.returncode
    return Said(out.getvalue(), err.getvalue(), code)
