"""For other packages: pages of the admin, metrics, traces, a panel of debug-toolbar."""
