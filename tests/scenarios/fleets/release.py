"""What a release of the project is: the settings, and what differs from the other release."""

import json
import os
from typing import Any, NamedTuple


class Release(NamedTuple):
    """One release, as a test describes it to the process."""

    name: str  #: in the values that it computes
    caches: dict[str, Any]
    serializer: str = "pickle"
    signing_keys: tuple[str, ...] = ()
    has_rank: bool = False  #: whether the model has one field more
    patch: str = ""  #: the version of Django that it says it has
    computes_rows: bool = True  #: or plain data

    def environment(self) -> dict[str, str]:
        """Return the variable that hands it to a process."""
        return {"CACHEDECO_TESTS_RELEASE": json.dumps(self)}


def current() -> Release:
    """Return the release of this process."""
    return Release(*json.loads(os.environ["CACHEDECO_TESTS_RELEASE"]))
