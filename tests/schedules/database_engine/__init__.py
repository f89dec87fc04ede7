"""The engine of the database of a schedule, by the names that Django looks for."""
