"""Who answers at the Service's own address?

The API says when an endpoint was withdrawn, not when a node's kube-proxy applied it. A pod can
see that: as long as short connections to its Service are answered by itself, in its share, it
is in rotation on this node. Other nodes may still be later.
"""

import errno
import math
import socket
import threading
import time
from dataclasses import dataclass
from typing import ClassVar, Protocol

from app.lifecycle.bounded import Deadline, resolve
from app.lifecycle.identity import POD_HEADER

#: How sure to be that this pod would have answered if it still could have.
SURE = 0.999
#: Seconds over which the connections are spread, and the least and most between two of them.
SPREAD, SHORTEST, LONGEST = 1.2, 0.02, 0.1
#: Most connections in a row that others answer, and most in all.
MOST_IN_A_ROW, MOST = 200, 1000
#: Seconds for one answer, and how many may be missing.
PATIENCE, MISSING = 0.4, 3
#: Bytes of an answer that are read: its head.
HEAD = 4096


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask. ``pods`` is between how many connections are spread, with this one."""

    #: Seconds within which a connection must have been answered, or it is given up.
    FIRST: ClassVar[float] = 2.0

    service: str
    host: str
    port: int
    pod: str
    pods: int

    def tries(self) -> int:
        """How many connections in a row others must answer."""
        if self.pods <= 1:
            return 1
        return min(MOST_IN_A_ROW, math.ceil(math.log(1 - SURE) / math.log(1 - 1 / self.pods)))

    def interval(self) -> float:
        """Seconds between two connections."""
        return max(SHORTEST, min(LONGEST, SPREAD / self.tries()))


class Change(Protocol):
    """Tells the drain what was found out."""

    def __call__(self, *, own_answer: float = ..., asking_until: float = ...) -> None: ...


def ask(question: Question, over: threading.Event, change: Change) -> str:
    """Connect until others have answered often enough in a row; return a sentence about it.

    Each answer of this pod itself is told at once. Returns early when ``over`` is set, when
    answers are missing, or when this pod goes on answering for ever.
    """
    where = f"Service {question.service}"
    if not question.pod:
        return f"{where} is not asked who answers: POD_NAME is not set"
    try:
        family, address = resolve(question.host, question.port, Deadline(question.FIRST / 2))[0]
    except TimeoutError:
        return f"{where} is not asked who answers: {question.host}: no answer from the DNS"
    except OSError as error:
        return f"{where} is not asked who answers: {question.host}: {error.strerror or error}"
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
                return (
                    f"{where} does not always answer this pod: it may not be reachable from itself "
                    "(hairpin), a mesh or a policy may be in between; going by the API alone"
                )
        over.wait(interval)
    if others < tries:
        return f"{where} still leads to this pod, which answered {own} of {total} connections"
    return f"{where} leads to other pods: {others} connections in a row" + (
        f", after {own} answers of this one" if own else ""
    )


def who_answers(family: int, address: object, host: str) -> str | None:
    """The pod's name; empty if it is not said, as where nobody listens; None without an answer.

    Refused means: not this pod, whose listener is open. An answer that drips is none: all of
    it has to come within ``PATIENCE``.
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
