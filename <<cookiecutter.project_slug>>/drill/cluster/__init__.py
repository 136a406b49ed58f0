"""The cluster backend: a real cluster, that of the current kube context."""
