"""The backend ``local``: a cluster of processes on this machine."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from drill.local.cluster import LocalCluster
from drill.plan import Plan
from drill.timeline import Timeline


class LocalBackend:
    """Logs go to a numbered folder for each rehearsal, under ``folder``.

    Without one they are kept until the drill ends. ``echo`` gets what happens.
    """

    name = "local"
    unsupported: Mapping[str, str] = {}

    def __init__(
        self, echo: Callable[[str], None] = lambda line: None, folder: Path | None = None
    ) -> None:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="drill-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self._echo = echo
        self._folder = folder
        self._clusters = 0

    def open(self, plan: Plan) -> LocalCluster:
        self._clusters += 1
        folder = self._folder / str(self._clusters)
        folder.mkdir(parents=True)
        return LocalCluster(plan, folder, Timeline(self._echo))
