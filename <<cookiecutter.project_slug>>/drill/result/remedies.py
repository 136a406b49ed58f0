"""The reason for a loss and its remedy: the first rule that has an answer.

A rule is a function of a case that returns the end of the loss's sentence, or
None. Add a new one to ``RULES``, before less specific ones. Losses with the same
answer are reported as one fault, so an answer contains no numbers that differ
from loss to loss.
"""

from collections.abc import Callable

from drill.load.ledger import Kind, Reason
from drill.load.streams import SILENCE_SECONDS
from drill.result.case import (
    TOLERANCE_SECONDS,
    Case,
    cut_requests,
    hook_fault,
    why_cut,
    why_killed,
    why_no_drain,
    why_out_of_time,
    why_too_soon,
)

Rule = Callable[[Case], str | None]


def excused(case: Case) -> str | None:
    if not case.excused:
        return None
    if case.out_of_time:
        return why_out_of_time(case.lane)
    return "caused by the scenario, so it does not count"


def no_endpoint(case: Case) -> str | None:
    if case.reason is not Reason.NO_ENDPOINT:
        return None
    replicas = case.view.plan.replicas
    if replicas == 1:
        return "no pod was ready: run at least 2 replicas"
    if case.view.rehearsal.workload.surge(replicas)[1]:
        return "no pod was ready: set rollout.maxUnavailable to 0"
    return "no pod was ready: the readiness probes of all pods must not fail at once"


def overdue(case: Case) -> str | None:
    if case.reason is not Reason.STATUS or case.lost.detail != "504":
        return None
    return "its time was over: raise requests.timeoutSeconds, or give its route a deadline"


def ended_by_itself(case: Case) -> str | None:
    """Its container exited before it was told to stop."""
    lane = case.lane
    if lane is None or case.told:
        return None
    exits = [at for at in lane.times("exited") if at <= case.at + TOLERANCE_SECONDS]
    if not exits or any(exits[-1] < at <= case.at for at in lane.times("ready")):
        return None
    return "its container had exited without being told to stop: see its log"


def killed(case: Case) -> str | None:
    if case.lane is None or not case.told or not case.after_kill:
        return None
    return why_killed(case.view, case.lane)


def failed_hook(case: Case) -> str | None:
    lane = case.lane
    if lane is None or not case.told or lane.draining_at is not None:
        return None
    return hook_fault(lane)


def cut_off(case: Case) -> str | None:
    """It was in flight at the end of the drain."""
    lane = case.lane
    if lane is None or not case.arrived or not case.in_flight_at_close:
        return None
    if case.sample.kind.is_stream or not (routes := cut_requests(lane.cut)):
        return None
    return why_cut(case.view, routes)


def no_drain(case: Case) -> str | None:
    """The pod was told to stop and, according to its log, did not drain."""
    lane = case.lane
    if lane is None or not case.told or not case.after_close or lane.draining_at is not None:
        return None
    return why_no_drain(case.view, lane)


def unfinished_stream(case: Case) -> str | None:
    if not case.sample.kind.is_stream or not case.arrived or not case.told:
        return None
    if case.reason is Reason.STATUS:
        return None
    proper = "a close frame" if case.sample.kind is Kind.WEBSOCKET else "the last chunk of its body"
    return f"a stream must end with {proper} before its connection closes"


def idle_too_long(case: Case) -> str | None:
    """The server closed a kept connection while the client reused it."""
    if not case.reused or case.reason not in (Reason.RESET, Reason.CLOSED):
        return None
    if not case.told:
        return "closed while idle: raise keepAliveSeconds above the clients' idle timeout"
    return (
        "its client did not know of the stop: responses while draining must say Connection: close, "
        "and shutdown.quietSeconds must be longer than connections stay idle"
    )


def closed_too_soon(case: Case) -> str | None:
    """Clients were still sent to the pod after it closed its listener."""
    if case.lane is None or not case.told or not case.after_close:
        return None
    return why_too_soon(case.view, case.lane)


def blocked(case: Case) -> str | None:
    """A timeout: the loop is blocked, or the handler hangs if others were answered meanwhile."""
    if case.lane is None or case.reason is not Reason.TIMEOUT:
        return None
    begin, end = case.sample.began, case.sample.ended
    if case.sample.kind.is_stream:  # it worked until the last silence
        begin = max(begin, end - SILENCE_SECONDS)
    others = case.view.served.get(case.lane.name, ())
    if any(begin < other.began and other.ended < end for other in others):
        if routes := cut_requests(case.lane.cut):
            return why_cut(case.view, routes)
        return (
            "others were answered meanwhile, so its handler hangs: set a timeout on what it awaits"
        )
    return (
        "nothing was answered meanwhile, so something blocks the event loop: "
        "move it to a thread (asyncio.to_thread)"
    )


def error(case: Case) -> str | None:
    if case.reason is not Reason.STATUS:
        return None
    if case.told and case.lost.detail == "503":
        return "a draining pod must keep serving"
    return "an error in the handler: see the pod's log"


def not_ready(case: Case) -> str | None:
    if case.lane is None or case.lane.phase(case.at) not in ("starting", "unready"):
        return None
    return "the pod was not ready: its readiness probe must fail before clients do"


def unknown(case: Case) -> str:
    return "see the pod's log" if case.lane else "see the pods' logs"


RULES: tuple[Rule, ...] = (
    excused,
    no_endpoint,
    overdue,
    ended_by_itself,
    killed,
    failed_hook,
    cut_off,
    no_drain,
    unfinished_stream,
    idle_too_long,
    closed_too_soon,
    blocked,
    error,
    not_ready,
)


def remedy(case: Case) -> str:
    return next(filter(None, (rule(case) for rule in RULES)), None) or unknown(case)


def sentence(case: Case) -> str:
    """Return, for example, "refused by pod b, 0.8 s after its listener closed: ..."."""
    parts = [f"{case.lost}{by(case)}", when(case)]
    if state := endpoint(case):
        parts.append(state)
    return f"{', '.join(parts)}: {remedy(case)}"


def by(case: Case) -> str:
    if case.reason is Reason.NO_ENDPOINT or not case.lane:
        return ""
    sure = bool(case.sample.pod)
    return f" by pod {case.lane.name}" if sure else f" (most likely by pod {case.lane.name})"


def when(case: Case) -> str:
    """Return the time since the pod's last event before the loss."""
    lane = case.lane
    if lane is None:
        return f"{case.at:.1f} s into the rehearsal"
    for date, event in (
        (lane.killed_at, "after it was killed"),
        (lane.closed_at, "after its listener closed"),
        (lane.told_at, "after it was told to stop"),
    ):
        if date is not None and case.at >= date:
            return f"{case.at - date:.1f} s {event}"
    phase = lane.phase(case.at)
    return f"{case.at:.1f} s into the rehearsal" + (f", while {phase}" if phase else "")


def endpoint(case: Case) -> str:
    """Return the state of the pod's endpoint at that time, if it matters."""
    lane = case.lane
    if lane is None or not case.told:
        return ""
    if lane.seen is not None and any(span.holds(case.at) for span in lane.seen):
        return "endpoint still published"
    state = next((span.name for span in lane.endpoint if span.holds(case.at)), "gone")
    return f"endpoint {state} in the API"
