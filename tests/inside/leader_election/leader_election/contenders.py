"""Pods that want the same lease, and what they wrote down about who ran when."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Start
from tests.harness import Service, eventually
from tests.leader_election.lease_server import LeaseServer

#: Short, so that a test need not wait: a lease counts whole seconds.
LEASE, RENEW, RETRY = 3, 2.0, 0.4
#: So long that a hand-over is told from a lease that ran out, on a slow machine too.
LONG_LEASE = {
    "APP_LEADER_ELECTION__LEASE_SECONDS": "60",
    "APP_LEADER_ELECTION__RENEW_SECONDS": "40",
}
#: Seconds by which a note may come late on a busy machine.
SLOP = 0.05


@dataclass(frozen=True)
class Note:
    """One line of the journal."""

    at: float
    pod: str
    word: str


@dataclass
class Contenders:
    """Starts services that share a journal."""

    start: Start
    folder: Path
    server: LeaseServer
    started: list[Service] = field(default_factory=list)

    def pod(self, name: str, work: str = "steady", **settings: str) -> Service:
        """Start one; do not wait for it."""
        service = self.start(
            "tests.apps.singleton",
            POD_NAME=name,
            POD_NAMESPACE="prod",
            WORK=work,
            JOURNAL=str(self.folder / "journal"),
            **{
                "APP_KUBERNETES__CREDENTIALS": str(self.folder),
                "APP_KUBERNETES__API": f"http://127.0.0.1:{self.server.port}",
                "APP_LEADER_ELECTION__LEASE": "singletons",
                "APP_LEADER_ELECTION__LEASE_SECONDS": str(LEASE),
                "APP_LEADER_ELECTION__RENEW_SECONDS": str(RENEW),
                "APP_LEADER_ELECTION__RETRY_SECONDS": str(RETRY),
                "APP_SHUTDOWN__FLOOR_SECONDS": "0",
                **settings,
            },
        )
        self.started.append(service)
        return service

    def pair(self, work: str = "steady", **settings: str) -> tuple[Service, Service]:
        """A pod that leads and runs, and one that follows."""
        first = self.pod("first", work, **settings)
        self.runs("first")
        second = self.pod("second", work, **settings).ready()
        eventually(lambda: second.status()["leadership"]["leader"], "the second to know who leads")
        assert second.status()["leadership"]["leads"] is False
        return first, second

    def notes(self, pod: str = "", word: str = "") -> list[Note]:
        journal = self.folder / "journal"
        lines = journal.read_text().splitlines() if journal.exists() else []
        read = [Note(float(at), name, what) for at, name, what in map(str.split, lines)]
        return [n for n in read if pod in ("", n.pod) and word in ("", n.word)]

    def runs(self, pod: str, since: float = 0.0, timeout: float = 40) -> float:
        """Wait until the singleton runs in ``pod``; when it was first seen after ``since``."""

        def seen() -> list[Note]:
            return [note for note in self.notes(pod) if note.at > since and note.word != "end"]

        return eventually(seen, f"the singleton to run in {pod}", timeout)[0].at

    def spans(self, counts: Callable[[Note], bool]) -> list[tuple[float, float, str]]:
        """From when to when it ran in which pod, in the order of the beginnings."""
        spans = []
        notes = [note for note in self.notes() if counts(note)]
        for pod in {note.pod for note in notes}:
            own = [note for note in notes if note.pod == pod]
            begins = [i for i, note in enumerate(own) if note.word == "begin"]
            for begin, end in itertools.pairwise([*begins, len(own)]):
                spans.append((own[begin].at, own[end - 1].at, pod))
        return sorted(spans)

    def ran_alone(self, *, after_the_time: tuple[str, ...] = ()) -> None:
        """No two pods ran it at once, from its first step to the end of its clean-up.

        The clean-up of a pod in ``after_the_time``, which was stopped meanwhile, is
        left out: it cannot come in time.
        """

        def counts(note: Note) -> bool:
            return note.word != "end" or note.pod not in after_the_time

        for (_, end, pod), (begin, _, other) in itertools.pairwise(self.spans(counts)):
            assert pod == other or begin > end, (
                f"{other} began {end - begin:.3f} s before {pod} ended"
            )
