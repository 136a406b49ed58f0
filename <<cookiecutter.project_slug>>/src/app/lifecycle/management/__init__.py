"""The management port (probes, metrics, status) and the control socket for the preStop hook."""
