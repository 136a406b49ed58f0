"""The service registry: settings, client, and the registrar, which keeps this pod's entry there."""
