"""Who answers at the Service's own address?

The API says when an endpoint was withdrawn, not when a node's kube-proxy applied it. A pod can
see that: as long as short connections to its Service are answered by itself, in its share, it
is in rotation on this node. Other nodes may still be later.

That others answer is evidence only if this pod would have been seen. One of ``n`` pods is
missed by ``k`` connections with (1 - 1/n) ** k, so 99.9 % take about 6.9 n of them: 200 for up to
29 pods, 690 for 100, 3,450 for 500. More than 200 are not made, over 4 s. A rolling update drains
a quarter of the pods at a time: of 100 pods, 25 with 50 connections a second make 1,250, and
with as many as it takes 4,300; of 500 pods, 125 would make 108,000. Beyond 29 pods only this
pod's own answers count, and the drain goes by its fallback where that is longer than slack.

All of it holds where any connection may go to any pod. With session affinity, topology-aware
routing or ``internalTrafficPolicy: Local`` a node sends to some of the pods only, which cannot
be seen here: what is in rotation for other nodes may then never answer on this one.
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

    def sureness(self) -> float:
        """How probable it is that this pod answers one of ``tries`` if it is in rotation."""
        return 1.0 if self.pods <= 1 else 1 - (1 - 1 / self.pods) ** self.tries()

    def interval(self) -> float:
        """Seconds between two connections."""
        return max(SHORTEST, min(LONGEST, SPREAD / self.tries()))


class Change(Protocol):
    """Tells the drain what was found out."""

    def __call__(self, *, own_answer: float = ..., asking_until: float = ...) -> None: ...


class Finding(NamedTuple):
    """What came of it, and why the answers of others are no evidence; empty where they are."""

    sentence: str
    unsure: str = ""


#: Where nothing more is known.
UNKNOWN = "who answers is not known"


def ask(question: Question, over: threading.Event, change: Change) -> Finding:
    """Connect until others have answered often enough in a row; return what came of it.

    Each answer of this pod itself is told at once. Returns early when ``over`` is set, when
    answers are missing, or when this pod goes on answering for ever.
    """
    where = f"Service {question.service}"
    if not question.pod:
        return Finding(f"{where} is not asked who answers: POD_NAME is not set", UNKNOWN)
    try:
        family, address = resolve(question.host, question.port, Deadline(question.FIRST / 2))[0]
    except OSError as error:
        why = f"{question.host}: {error.strerror or error}"
        return Finding(f"{where} is not asked who answers: {why}", UNKNOWN)
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
                    f"{where} does not always answer this pod: it may not be reachable from itself "
                    "(hairpin), a mesh or a policy may be in between; going by the API alone"
                )
                return Finding(sentence, UNKNOWN)
        over.wait(interval)
    if others < tries:
        still = f"{where} still leads to this pod, which answered {own} of {total} connections"
        return Finding(still, UNKNOWN)
    return _others_answer(question, own)


def _others_answer(question: Question, own: int) -> Finding:
    """A whole row of others, after ``own`` answers of this pod: how sure is it?"""
    said = (
        f"Service {question.service} leads to other pods: {question.tries()} connections in a row"
    )
    said += f", after {own} answers of this one" if own else ""
    if question.sureness() >= SURE - 1e-9:
        return Finding(said)
    sure = f"sure to {math.floor(100 * question.sureness())} %"
    return Finding(
        f"{said}; with {question.pods} pods that is {sure}: not counted", f"who answers is {sure}"
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
