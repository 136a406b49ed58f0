"""The one way a drill gives up."""

from pathlib import Path


class DrillError(Exception):
    """The drill cannot run. Its text is one sentence with the reason and the remedy.

    ``log`` names the output of the process that is to blame.
    """

    def __init__(self, text: str, log: Path | None = None) -> None:
        super().__init__(text)
        self.log = log
