"""What the service opens and must close."""
