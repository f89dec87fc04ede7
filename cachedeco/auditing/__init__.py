"""The auditor: recompute a sample of the hits, and report values that changed without an invalidation."""


def register() -> None:
    """Install the auditor, which samples hits as the setting `AUDIT` says."""
    from cachedeco.auditing import auditor  # imported when the app is ready, since it reads settings
    from cachedeco.loading.sampling import install_auditor  # as above

    install_auditor(auditor)
