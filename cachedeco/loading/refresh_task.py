"""The task that refreshes an entry in a worker, for REFRESH = "task". It needs Django 6."""

from django.tasks import task

from cachedeco.loading.refreshing import refresh_from


@task
def refresh(message: str) -> None:
    """Refresh the entry that a signed message names."""
    refresh_from(message)
