"""Invalidation: namespaces, tokens, writes at the SQL, parts of tables, delivery at commit, retry queue."""
