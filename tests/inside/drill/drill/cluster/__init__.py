"""The backend ``cluster``, against a server that speaks the part of the Kubernetes API it uses."""
