"""Transactions: at commit, and never after a rollback."""
