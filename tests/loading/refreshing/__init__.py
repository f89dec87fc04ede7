"""Entries past their timeout, or nearly: who refreshes them, and what everybody else is served."""
