"""PostgreSQL: settings, pool, sessions and migrations. It knows nothing of the routes."""
