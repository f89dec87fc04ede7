"""The auditor: compute a sample of the hits again, and report those that have changed without an invalidation."""


def register() -> None:
    """Have the auditor audit the hits that the setting `AUDIT` asks for."""
    from cachedeco.auditing import auditor  # when the app is ready: it uses the settings
    from cachedeco.loading.sampling import install_auditor  # as above

    install_auditor(auditor)
