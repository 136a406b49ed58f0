"""Asking the service: probes, metrics and status on a port of their own, preStop on a socket."""
