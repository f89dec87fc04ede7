"""The tenant for which an actor acts, as a KEY_FUNCTION knows it."""

from contextvars import ContextVar

tenant = ContextVar("tests_schedules_tenant", default="")


def tenant_key(key: str, prefix: str, version: int) -> str:
    """Return the whole key of the current tenant."""
    return f"{tenant.get()}:{prefix}:{version}:{key}"
