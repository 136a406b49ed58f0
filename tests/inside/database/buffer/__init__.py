"""The machinery of the database, with real servers."""
