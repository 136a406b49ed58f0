"""The service registry: a server of it, readers, and services that register there."""
