"""A report of the drill, made up: small, and with everything in it that a report can hold."""

from typing import Any

HOSTILE = "</script><script>document.title = 'broken'</script>"
REMEDY = "refused by pod a1, 0.8 s after its listener closed: raise `shutdown.floorSeconds`"

Report = dict[str, Any]


def make_report() -> Report:
    """A service that lost some, its naive variant that lost more, and a scenario left out."""
    left_out = make_rehearsal("service") | {
        "scenario": "node-drain",
        "passed": True,
        "skipped": "needs more than one node: --backend cluster",
    }
    return {
        "version": 1,
        "project": "example-service",
        "made": "2026-11-24T00:10:00Z",
        "passed": False,
        "rehearsals": [make_rehearsal("service"), make_rehearsal("naive", lost=40), left_out],
    }


def make_rehearsal(variant: str, lost: int = 4) -> Report:
    """12 s in which a1 is replaced by b1 and refuses ``lost`` requests within 0.4 s."""
    losses = [make_loss(6.0 + 0.4 * n / lost) for n in range(lost)]
    losses += [make_loss(8.0, pod="", reason="no endpoint", text=HOSTILE, detail=HOSTILE)]
    losses += [make_loss(9.0, pod="b1", excused=True, text="answered 503 on purpose")]
    bins = [0] * 48
    for loss in losses:
        bins[int(loss["at"] / 0.25)] += 1
    return {
        "scenario": "rolling",
        "variant": variant,
        "backend": "local",
        "title": "rolling update of 1 pod, 40 requests a second, endpoints 2 s late",
        "passed": False,
        "verdict": f"{lost + 1} of 480 requests and streams lost",
        "seconds": 12.0,
        "disturbance": [3.0, 8.0],
        "propagation": [2.0, 2.0],
        "late": 0.02,
        "budgets": {
            "floor": 1.0,
            "slack": None,
            "fallback": None,
            "quiet": 1.0,
            "limit": 4.0,
            "stream_spread": 3.0,
            "farewell": 2.0,
            "stop": 5.0,
            "grace": 30.0,
            "margin": 2.0,
        },
        "pods": [make_old_pod(), make_new_pod()],
        "bins": {
            "seconds": 0.25,
            "from": 0.0,
            "served": [10 - min(count, 10) for count in bins],
            "lost": bins,
            "p50_ms": [None if 24 <= n < 28 else 1.5 for n in range(48)],
            "p99_ms": [None if 24 <= n < 28 else 9.0 + n for n in range(48)],
        },
        "requests": [
            {"kind": "new connections", "sent": 480, "served": 475 - lost, "shed": 0}
            | {"lost": lost + 1}
            | {"p50_ms": 1.5, "p99_ms": 21.0},
            {"kind": "uploads", "sent": 0, "served": 0, "shed": 0, "lost": 0}
            | {"p50_ms": None, "p99_ms": None},
        ],
        "jobs": {"accepted": 12, "done": 12, "missing": 0},
        "streams": [
            {"kind": "SSE streams", "opened": 8, "ended": 6, "lost": 0}
            | {"still_open": 2, "messages": 300},
        ],
        "latency": {
            "before": {"p50_ms": 1.4, "p99_ms": 8.0},
            "during": {"p50_ms": 1.6, "p99_ms": 21.0},
            "after": {"p50_ms": None, "p99_ms": None},
        },
        "losses": losses,
        "checks": [
            {"what": "p99", "value": "9 ms", "bound": "at most 8 ms", "passed": False}
            | {"remedy": HOSTILE}
        ],
        "faults": [f"new connections: {lost} {REMEDY}", f"1 {HOSTILE}"],
        "skipped": None,
    }


def make_loss(
    at: float,
    pod: str = "a1",
    reason: str = "refused",
    text: str = REMEDY,
    detail: str = "in connecting",
    excused: bool = False,
) -> Report:
    where = {"at": round(at, 3), "kind": "new connections", "pod": pod}
    return where | {"reason": reason, "detail": detail, "excused": excused, "text": text}


def make_old_pod() -> Report:
    """Deleted at 4 s, gone at 7 s; clients are sent to it for 2 s after the deletion."""
    return {
        "name": "a1",
        "revision": 1,
        "canary": False,
        "node": "node-1",
        "address": "127.0.0.11:23456",
        "phases": spans("phase", [("starting", 0.0), ("ready", 1.0), ("draining", 4.0)], 6.5)
        + spans("phase", [("stopping", 6.5)], 7.0),
        "endpoint": spans("state", [("not ready", 0.0), ("ready", 1.0), ("serving", 4.0)], 5.0)
        + spans("state", [("terminating", 5.0)], 7.0),
        "seen": [{"from": 3.0, "to": 6.0}],
        "deleted_at": 4.0,
        "gone_at": 7.0,
        "grace_ends_at": 34.0,
        "limit_at": 8.0,
        "possible_at": 6.2,
        "exit_code": 0,
        "restarts": 0,
        "events": [
            {"at": 4.0, "what": "deleted", "detail": ""},
            {"at": 6.5, "what": "preStop ended", "detail": "code 0"},
            {"at": 6.5, "what": "SIGTERM", "detail": ""},
            {"at": 6.8, "what": "stopped", "detail": ""},
            {"at": 6.9, "what": "SIGKILL", "detail": HOSTILE},
            {"at": 7.0, "what": "exit", "detail": "code 0"},
        ],
        "stop": {"event": "stopped", "requests_served": 61, "cut": []},
    }


def make_new_pod() -> Report:
    """Unready for a second, and still there at the end."""
    return {
        "name": "b1",
        "revision": 2,
        "canary": False,
        "node": None,
        "address": None,
        "phases": spans("phase", [("starting", 3.0), ("ready", 4.0), ("unready", 9.0)], 10.0)
        + spans("phase", [("ready", 10.0)], 12.0),
        "endpoint": spans("state", [("not ready", 3.0), ("ready", 4.0), ("not ready", 9.0)], 10.0)
        + spans("state", [("ready", 10.0)], 12.0),
        "seen": [{"from": 6.0, "to": 11.0}],
        "deleted_at": None,
        "gone_at": None,
        "grace_ends_at": None,
        "limit_at": None,
        "possible_at": None,
        "exit_code": None,
        "restarts": 1,
        "events": [{"at": 9.0, "what": "liveness failed", "detail": "3 times"}],
        "stop": None,
    }


def spans(name: str, begins: list[tuple[str, float]], end: float) -> list[Report]:
    """Each lasts until the next begins, the last one until ``end``."""
    ends = [begin for _, begin in begins[1:]] + [end]
    return [
        {name: value, "from": begin, "to": to}
        for (value, begin), to in zip(begins, ends, strict=True)
    ]
