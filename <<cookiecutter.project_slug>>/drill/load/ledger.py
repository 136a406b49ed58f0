"""[drill.load.loss] How a request, a stream or a job is lost.
[drill.load.ledger] What came of every request.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """How a request is lost."""

    NO_ENDPOINT = "no endpoint"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed without an answer"
    TRUNCATED = "cut off in the answer"
    TIMEOUT = "timed out"
    STATUS = "answered"
    MALFORMED = "answered no HTTP"
    STREAM = "ended without its proper end"
    UNDONE = "never done"


class Lost(Exception):  # noqa: N818
    """A request, or a stream, did not get its answer."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason = reason
        self.detail = detail


class Kind(StrEnum):
    """The ways in which clients use a service."""

    NEW = "new connections"
    KEPT = "kept connections"
    CHECKED = "kept, checked first"
    SLOW = "slow requests"
    UPLOAD = "uploads"
    JOB = "jobs"
    SSE = "SSE streams"
    WEBSOCKET = "WebSockets"

    @property
    def is_stream(self) -> bool:
        return self in (Kind.SSE, Kind.WEBSOCKET)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request from when it was due, or one stream from when it was opened.

    Counting from when it was due keeps a stalled service from hiding the
    requests that it kept waiting.
    """

    kind: Kind
    pod: str
    began: float
    ended: float
    lost: Lost | None = None

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a pod accepted and must therefore do."""

    id: str
    pod: str
    accepted: float


class Ledger:
    """Every request and stream with its outcome, and every job that was accepted."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self.jobs: list[Job] = []
        self.streams_left_open: Counter[Kind] = Counter()
        self.messages: Counter[Kind] = Counter()
        self._clock = clock

    def served(self, kind: Kind, pod: str, began: float) -> None:
        self.samples.append(Sample(kind, pod, began, self._clock()))

    def lost(self, kind: Kind, pod: str, began: float, lost: Lost) -> None:
        self.samples.append(Sample(kind, pod, began, self._clock(), lost))

    def accepted(self, job: str, pod: str) -> None:
        self.jobs.append(Job(job, pod, self._clock()))

    def of(self, kind: Kind) -> list[Sample]:
        return [sample for sample in self.samples if sample.kind is kind]
