"""The drill's error."""

from pathlib import Path


class DrillError(Exception):
    """The drill cannot run. The message is one sentence with the reason and the remedy.

    ``log`` is the output of the process that failed.
    """

    def __init__(self, text: str, log: Path | None = None) -> None:
        super().__init__(text)
        self.log = log
