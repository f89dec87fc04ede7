"""Miss reasons: why an entry was not served, in words."""

import re
from typing import Final

from cachedeco.invalidation.namespaces import ROWS, TABLE
from cachedeco.loading.lookup import Found
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.conf import settings
from cachedeco.storage.entries import examine_entry

LONGEST_NAME: Final = 200  # characters
UNREADABLE: Final = "unreadable"


def miss_reason(policy: CachePolicy, found: Found) -> str:
    """Return why a call is a miss: a `MissReason`, and ": " and the name of the token where one is to blame."""
    token = ""
    reason: str
    if found.raw is None:
        reason = "cache not read"
    elif found.entry is not None:
        reason = "expired"
    elif found.key != found.keys[0]:  # of an entry beside a living one
        reason = "other models"
    else:
        reason, token = examine_entry(policy.codec, found.keys, found.raw)
    return f"{reason}: {token_name(found, token)}" if token else reason


def token_name(found: Found, token: str) -> str:
    """
    Return what a token stands for, by its key.

    "this call", "the function", "namespace club:7", "table clubs_club", "rows of clubs_class with club_id 7", "the
    nested call shop.price(club=7)", "the nested function shop.price()".
    """
    if token in found.keys[1:3]:
        return "this call" if token == found.keys[1] else "the function"
    # Behind what Django and KEY_PREFIX put before it; a KEY_FUNCTION may have left nothing of it.
    matched = re.search(rf"{re.escape(settings().KEY_PREFIX)}:([tfn]):(.*)", token)
    kind, name = matched.groups() if matched else ("", token)
    if kind == "n":
        beginning, _, path = name.partition(".")
        if beginning == TABLE:
            name = f"table {path}"
        elif beginning == ROWS:
            table, _, rows = path.partition(":")
            name = f"rows of {table}" + (f" with {rows.replace('.', ' ', 1)}" if rows else "")
        else:
            name = f"namespace {name}"
    elif kind:
        name = f"the nested {'call' if kind == 't' else 'function'} {name}"
    return name[:LONGEST_NAME]
