"""The backend ``cluster``: the cluster of the current kube context."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from drill.cluster.clock import ClusterTimeline
from drill.cluster.cluster import KubernetesCluster, Place
from drill.cluster.context import current_context
from drill.errors import DrillError
from drill.plan import ApiFault, Plan


class ClusterBackend:
    """Installs a release for each rehearsal, or takes the one named ``release``.

    ``context`` has to name the current context: whoever drills has to know
    where. Pods' logs go to a numbered folder for each rehearsal, under
    ``folder``; without one they are kept until the drill ends.
    """

    name = "cluster"
    unsupported: Mapping[str, str] = {
        "slow-endpoints": "the nodes' kube-proxy cannot be slowed down from here",
        **{f"api-{fault}": "the API server cannot be broken from here" for fault in ApiFault},
    }

    def __init__(
        self,
        context: str | None,
        namespace: str = "default",
        release: str | None = None,
        echo: Callable[[str], None] = lambda line: None,
        folder: Path | None = None,
    ) -> None:
        """Raises DrillError for a context that is not confirmed."""
        kubeconfig = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        current = current_context(kubeconfig)
        if context is None:
            raise DrillError(
                f"the current context is {current}: confirm it with --context {current}."
            )
        if context != current:
            raise DrillError(
                f"--context {context} is not the current context, which is {current}: "
                f"`kubectl config use-context {context}` if that is the one."
            )
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="drill-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self._place = Place(kubeconfig, context, namespace, release)
        self._echo = echo
        self._folder = folder
        self._clusters = 0

    def open(self, plan: Plan) -> KubernetesCluster:
        self._clusters += 1
        folder = self._folder / str(self._clusters)
        folder.mkdir(parents=True)
        return KubernetesCluster(plan, self._place, folder, ClusterTimeline(self._echo))
