"""The cluster of the current kube context."""
