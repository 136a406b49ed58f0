"""The kube context, as `kubectl` and the package `kubernetes` know it."""

import os
from pathlib import Path

from kubernetes.aio import client, config

from drill.cluster.api import Api
from drill.errors import DrillError


def current_context(kubeconfig: str) -> str:
    """Raises DrillError where there is none. ``kubeconfig`` is as in KUBECONFIG."""
    if not any(Path(path).expanduser().exists() for path in kubeconfig.split(os.pathsep) if path):
        raise DrillError(f"there is no kubeconfig at {kubeconfig}: set KUBECONFIG to yours.")
    try:
        _, current = config.list_kube_config_contexts(kubeconfig)
        return str(current["name"])
    except Exception as error:  # TypeError, ConfigException, YAMLError: what it comes upon
        why = " ".join(str(error).split())  # YAML's errors have several lines
        raise DrillError(
            f"{kubeconfig} has no current context ({why}): `kubectl config use-context NAME`."
        ) from error


async def connect(context: str, kubeconfig: str) -> Api:
    """Raises DrillError for a kubeconfig that cannot be used."""
    configuration = client.Configuration()
    try:
        await config.load_kube_config(
            kubeconfig, context, client_configuration=configuration, persist_config=False
        )
        configuration.connection_pool_maxsize = 0  # no limit: every watch and log is a connection
        # Python 3.13 refuses certificates without an authority key identifier, kubectl does not.
        configuration.disable_strict_ssl_verification = True
        return Api(client.ApiClient(configuration), context)
    except Exception as error:  # whatever a plugin for logging in may raise
        raise DrillError(
            f"context {context} cannot be used ({error}): "
            f"see whether `kubectl --context {context} get pods` works."
        ) from error
