"""The outcome of every request, and the ways to lose one."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """How a request, a stream or a job is lost."""

    NO_ENDPOINT = "no endpoint"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed without a response"
    TRUNCATED = "cut off in the response"
    TIMEOUT = "timed out"
    STATUS = "answered"
    MALFORMED = "answered with invalid HTTP"
    STREAM = "ended improperly"
    UNDONE = "never completed"


class Lost(Exception):  # noqa: N818
    """A request or stream did not get its answer."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason = reason
        self.detail = detail


class Kind(StrEnum):
    """The kinds of requests and streams."""

    NEW = "new connections"
    KEPT = "kept connections"
    CHECKED = "kept, checked first"
    SLOW = "slow requests"
    UPLOAD = "uploads"
    JOB = "jobs"
#% if cookiecutter.database == "postgresql"
    WRITE = "writes"
#% endif
    SSE = "SSE streams"
    WEBSOCKET = "WebSockets"

    @property
    def is_stream(self) -> bool:
        return self in (Kind.SSE, Kind.WEBSOCKET)


class Slow(StrEnum):
    """How a client is slow."""

    HEADERS = "slow headers"
    BODY = "slow bodies"
    READER = "slow readers"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request from the time it was due, or one stream from its opening.

    Latency counts from the due time, so that a stalled service cannot hide the
    requests it delayed (coordinated omission).
    """

    kind: Kind
    pod: str
    began: float
    ended: float
    lost: Lost | None = None
    #: Answered 503 with Retry-After by a pod above its limit.
    shed: bool = False

    @property
    def served(self) -> bool:
        return not self.lost and not self.shed

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a pod has accepted and must complete."""

    id: str
    pod: str
    accepted: float


class Ledger:
    """Every request and stream with its outcome, and every accepted job."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self.jobs: list[Job] = []
        self.streams_left_open: Counter[Kind] = Counter()
        self.messages: Counter[Kind] = Counter()
        #: How long each slow client was connected, until the service closed it or the load ended.
        self.slow_closed: defaultdict[Slow, list[float]] = defaultdict(list)
        self.slow_left: defaultdict[Slow, list[float]] = defaultdict(list)
        self._clock = clock

    def served(self, kind: Kind, pod: str, began: float) -> None:
        self.samples.append(Sample(kind, pod, began, self._clock()))

    def lost(self, kind: Kind, pod: str, began: float, lost: Lost) -> None:
        self.samples.append(Sample(kind, pod, began, self._clock(), lost))

    def shed(self, kind: Kind, pod: str, began: float) -> None:
        self.samples.append(Sample(kind, pod, began, self._clock(), shed=True))

    def accepted(self, job: str, pod: str) -> None:
        self.jobs.append(Job(job, pod, self._clock()))

    def of(self, kind: Kind) -> list[Sample]:
        return [sample for sample in self.samples if sample.kind is kind]
