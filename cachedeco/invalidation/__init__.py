"""What ends an entry: namespaces, tokens, transactions, changed rows."""
