"""Each rule for a loss by hand: what happened, and the sentence that a reader gets."""

from dataclasses import replace

import pytest

from drill.load.ledger import Kind, Reason, Sample
from drill.plan import Plan
from drill.record import Event
from tests.drill.result.made import (
    BUDGETS,
    CUT,
    KILLED,
    LANE,
    SILENT,
    STARTING,
    Loss,
    decided_by,
    hook_that_ended_with,
)

TOO_SOON = "refused by pod b, 0.8 s after its listener closed, endpoint still published: raise"
OTHER = Sample(Kind.NEW, "b", 12.0, 12.1)

LOSSES: dict[str, tuple[Loss, str]] = {
    "excused": (
        Loss(excused=True),
        "refused by pod b, 0.8 s after its listener closed, endpoint still published: "
        "caused by the scenario, so it does not count",
    ),
    "floor": (Loss(), f"{TOO_SOON} shutdown.floorSeconds to 8"),
    "floor-above-the-limit": (
        Loss(budgets=replace(BUDGETS, limit=6.0)),
        f"{TOO_SOON} shutdown.floorSeconds to 8 and shutdown.limitSeconds above it",
    ),
    "fallback": (
        Loss(lane=decided_by("fallback")),
        f"{TOO_SOON} shutdown.fallbackSeconds, or shutdown.floorSeconds to 8",
    ),
    "slack": (
        Loss(lane=decided_by("endpoint gone + slack")),
        f"{TOO_SOON} shutdown.slackSeconds, or shutdown.floorSeconds to 8",
    ),
    "no-pod": (
        Loss(Reason.NO_ENDPOINT, lane=None),
        "no endpoint, 15.8 s into the rehearsal: no pod was ready: "
        "the readiness probes of all pods must not fail at once",
    ),
    "one-replica": (
        Loss(Reason.NO_ENDPOINT, lane=None, plan=Plan(replicas=1)),
        "no endpoint, 15.8 s into the rehearsal: no pod was ready: run at least 2 replicas",
    ),
    "unavailable": (
        Loss(Reason.NO_ENDPOINT, lane=None, surge=(0, 1)),
        "no endpoint, 15.8 s into the rehearsal: no pod was ready: set rollout.maxUnavailable to 0",
    ),
    "not-ready": (
        Loss(at=20, lane=STARTING),
        "refused by pod b, 20.0 s into the rehearsal, while starting: the pod was not ready: "
        "its readiness probe must fail before clients do",
    ),
    "no-hook": (
        Loss(lane=SILENT, pre_stop=None),
        "refused by pod b, 0.8 s after its listener closed, endpoint still published: it stops "
        "serving at SIGTERM and has no preStop hook: "
        "drain first (python -m app drain as preStop)",
    ),
    "no-drain": (
        Loss(lane=SILENT),
        "refused by pod b, 0.8 s after its listener closed, endpoint still published: it exits at "
        "SIGTERM without a drain: let its preStop hook wait for 8 s (python -m app drain)",
    ),
    "hook-not-found": (
        Loss(lane=hook_that_ended_with(127), at=11.0),
        "refused by pod b, 0.8 s after its listener closed, endpoint still published: its preStop "
        "hook failed with 127 (command not found), so SIGTERM came at once: "
        "it should be python -m app drain",
    ),
    "cut-off": (
        Loss(Reason.RESET, at=15.0, began=9.0, kind=Kind.SLOW, lane=replace(LANE, report=CUT)),
        "reset by pod b, 0.0 s after its listener closed, endpoint still published: GET "
        "/slow (2) did not end and was cut off at the limit of 18 s: set a timeout on "
        "what it awaits, or raise shutdown.limitSeconds",
    ),
    "grace-too-short": (
        Loss(Reason.RESET, at=40.1, lane=KILLED, budgets=replace(BUDGETS, grace=20.0)),
        "reset by pod b, 0.1 s after it was killed, endpoint gone in the API: "
        "terminationGracePeriodSeconds 20 is shorter than the service's own limit + stream spread "
        "+ farewell + stop = 28: let the chart set it",
    ),
    "stream-without-an-end": (
        Loss(Reason.STREAM, at=14.0, began=2.0, kind=Kind.SSE),
        "ended improperly by pod b, 4.0 s after it was told to stop, endpoint still published: "
        "a stream must end with the last chunk of its body before its connection closes",
    ),
    "keep-alive": (
        Loss(Reason.RESET, "on a kept connection", at=5.0, kind=Kind.KEPT),
        "reset on a kept connection by pod b, 5.0 s into the rehearsal, while ready: closed while "
        "idle: raise keepAliveSeconds above the clients' idle timeout",
    ),
    "handler-hangs": (
        Loss(Reason.TIMEOUT, at=40.0, began=8.0, served=(OTHER,)),
        "timed out by pod b, 8.0 s into the rehearsal, while ready: others were answered "
        "meanwhile, so its handler hangs: set a timeout on what it awaits",
    ),
    "loop-blocked": (
        Loss(Reason.TIMEOUT, at=40.0, began=8.0),
        "timed out by pod b, 8.0 s into the rehearsal, while ready: nothing was answered "
        "meanwhile, so something blocks the event loop: move it to a thread (asyncio.to_thread)",
    ),
    "stream-while-the-loop-was-blocked": (
        Loss(Reason.TIMEOUT, at=90.0, began=8.0, kind=Kind.SSE, served=(OTHER,)),
        "timed out by pod b, 8.0 s into the rehearsal, while ready: nothing was answered "
        "meanwhile, so something blocks the event loop: move it to a thread (asyncio.to_thread)",
    ),
    "refuses-while-draining": (
        Loss(Reason.STATUS, "503", at=12.0, began=12.0),
        "answered 503 by pod b, 2.0 s after it was told to stop, endpoint still published: "
        "a draining pod must keep serving",
    ),
    "overdue": (
        Loss(Reason.STATUS, "504", at=12.0, began=12.0),
        "answered 504 by pod b, 2.0 s after it was told to stop, endpoint still published: its "
        "time was over: raise requests.timeoutSeconds, or give its route a deadline",
    ),
    "handler-fails": (
        Loss(Reason.STATUS, "500", at=5.0, began=5.0),
        "answered 500 by pod b, 5.0 s into the rehearsal, while ready: "
        "an error in the handler: see the pod's log",
    ),
    "ended-by-itself": (
        Loss(at=5.0, lane=replace(LANE, events=(Event(4.0, "exited", "b", "code 1"),))),
        "refused by pod b, 5.0 s into the rehearsal, while ready: its container had exited "
        "without being told to stop: see its log",
    ),
    "unknown": (
        Loss(Reason.MALFORMED, at=5.0, lane=None),
        "answered with invalid HTTP, 5.0 s into the rehearsal: see the pods' logs",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_explained(name: str) -> None:
    loss, told = LOSSES[name]
    assert loss.sentence == told
