"""Which pods answer at the Service's address?

The API shows when an endpoint was withdrawn, not when a node's kube-proxy applied it. A pod can
observe that: while it answers its share of short connections to its own Service, it is in
rotation on this node. Other nodes may be later.

Answers of other pods are evidence only if this pod would have shown up. ``k`` connections miss
one of ``n`` pods with probability (1 - 1/n) ** k, so 99.9 % takes about 6.9 n connections: 200 for
29 pods, 690 for 100, 3,450 for 500. The limit is 200, over 4 s: a rolling update drains a quarter
of the pods at a time, so of 100 pods, 25 make 1,250 connections a second at 50 each, and 4,300
without the limit; of 500 pods, 125 would make 108,000. Beyond 29 pods only this pod's own
answers count, and the drain uses its fallback if that is longer than slack.

This assumes that any connection may reach any pod. With session affinity, topology-aware routing
or ``internalTrafficPolicy: Local``, a node uses only some of the pods, and a pod in rotation on
other nodes may never answer here.
"""

import errno
import math
import socket
import threading
import time
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from app.lifecycle.kubernetes.bounded import Deadline, resolve
from app.lifecycle.kubernetes.identity import POD_HEADER

#: The required probability that this pod would have answered if it were in rotation.
SURE = 0.999
#: Seconds over which connections are spread, and the shortest and longest interval.
SPREAD, SHORTEST, LONGEST = 1.2, 0.02, 0.1
#: Most consecutive answers of other pods, and most connections in all.
MOST_IN_A_ROW, MOST = 200, 1000
#: Seconds for one answer, and how many may fail.
PATIENCE, MISSING = 0.4, 3
#: Most bytes of an answer's head.
HEAD = 4096


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask. ``pods`` is the number of pods in rotation, including this one."""

    #: Seconds in which the first connection is answered, or the question is given up.
    FIRST: ClassVar[float] = 2.0

    service: str
    host: str
    port: int
    pod: str
    pods: int

    def tries(self) -> int:
        """How many consecutive connections other pods must answer."""
        if self.pods <= 1:
            return 1
        return min(MOST_IN_A_ROW, math.ceil(math.log(1 - SURE) / math.log(1 - 1 / self.pods)))

    def confidence(self) -> float:
        """The probability that this pod answers one of ``tries`` if it is in rotation."""
        return 1.0 if self.pods <= 1 else 1 - (1 - 1 / self.pods) ** self.tries()

    def interval(self) -> float:
        """Seconds between two connections."""
        return max(SHORTEST, min(LONGEST, SPREAD / self.tries()))


class Change(Protocol):
    """Reports to the drain."""

    def __call__(self, *, own_answer: float = ..., asking_until: float = ...) -> None: ...


class Finding(NamedTuple):
    """The result, and why answers of other pods are no evidence; empty if they are."""

    sentence: str
    unsure: str = ""


#: The result without an answer.
UNKNOWN = "which pods answer is unknown"


def ask(question: Question, over: threading.Event, change: Change) -> Finding:
    """Connect until other pods have answered often enough in a row.

    Reports each answer of this pod at once. Returns early when ``over`` is set, when
    answers are missing, or when this pod keeps answering.
    """
    where = f"Service {question.service}"
    if not question.pod:
        return Finding(f"{where}: cannot check which pods answer: POD_NAME is not set", UNKNOWN)
    try:
        family, address = resolve(question.host, question.port, Deadline(question.FIRST / 2))[0]
    except OSError as error:
        why = f"{question.host}: {error.strerror or error}"
        return Finding(f"{where}: cannot check which pods answer: {why}", UNKNOWN)
    tries, interval = question.tries(), question.interval()
    longest = tries * (interval + PATIENCE / 10) + MISSING * PATIENCE + 0.5
    others = own = missing = total = 0
    while others < tries and total < MOST and not over.is_set():
        total += 1
        pod = who_answers(family, address, question.host)
        now = time.monotonic()
        if pod == question.pod:
            own, others = own + 1, 0
            change(own_answer=now, asking_until=now + longest)
        elif pod is not None:
            others += 1
            if total == 1:
                change(asking_until=now + longest)
        else:
            missing += 1
            if missing > MISSING:
                sentence = (
                    f"{where} does not always answer this pod: hairpin traffic may not work, or a "
                    "mesh or policy may interfere; using the API alone"
                )
                return Finding(sentence, UNKNOWN)
        over.wait(interval)
    if others < tries:
        still = f"{where} still routes to this pod, which answered {own} of {total} connections"
        return Finding(still, UNKNOWN)
    return _others_answer(question, own)


def _others_answer(question: Question, own: int) -> Finding:
    """The finding after enough consecutive answers of other pods."""
    said = (
        f"Service {question.service} routes to other pods: {question.tries()} connections in a row"
    )
    said += f", after {own} answers of this pod" if own else ""
    if question.confidence() >= SURE - 1e-9:
        return Finding(said)
    confidence = f"{math.floor(100 * question.confidence())} % certain"
    return Finding(
        f"{said}; with {question.pods} pods that is only {confidence}: not counted",
        f"which pods answer is only {confidence}",
    )


def who_answers(family: int, address: object, host: str) -> str | None:
    """The name of the pod that answers; empty if unknown; None without an answer.

    A refused connection counts as another pod, because this pod still listens. The whole
    answer must arrive within ``PATIENCE``.
    """
    request = f"GET /readyz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    deadline = Deadline(PATIENCE)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(address)  # type: ignore[arg-type]
            connection.sendall(request.encode())
            head = b""
            while b"\r\n\r\n" not in head and len(head) < HEAD:
                connection.settimeout(deadline.left())
                part = connection.recv(HEAD)
                if not part:
                    return None
                head += part
    except OSError as error:
        return "" if error.errno == errno.ECONNREFUSED else None
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == POD_HEADER:
            return value.strip().decode("latin-1")
    return ""
