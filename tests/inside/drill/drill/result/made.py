"""A pod, its stop and its losses, made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drill.load.ledger import Kind, Lost, Reason, Sample
from drill.plan import Plan
from drill.record import PodRecord
from drill.result.case import Case, View
from drill.result.lanes import Lane, Span
from drill.result.remedies import sentence
from drill.result.stop import Budgets

#: Told to stop at 10 s, drained until 15 s, gone at 16 s; clients are sent to it until 17.5 s.
POD = PodRecord("b", 1, "node-1", "127.0.0.12", Path("b.log"), exit_code=0)
LANE = Lane(
    POD,
    events=(),
    phases=(Span("ready", 1, 10), Span("draining", 10, 15), Span("stopping", 15, 16)),
    endpoint=(Span("ready", 1, 10), Span("serving", 10, 16)),
    seen=(Span("", 1, 17.5),),
    told_at=10.0,
    draining_at=10.1,
    closed_at=15.0,
    gone_at=16.0,
    grace_ends_at=40.0,
    last_request=17.5,
    report={"cut": [], "decided_by": "floor"},
)
STARTING = replace(LANE, told_at=None, closed_at=None, phases=(Span("starting", 0, 30),))
SILENT = replace(LANE, draining_at=None, report=None)
KILLED = replace(LANE, killed_at=40.0, closed_at=40.0, gone_at=40.0)
CUT = {"cut": ["GET /slow", "GET /slow"], "decided_by": "floor"}
BUDGETS = Budgets(
    floor=5.0,
    slack=2.0,
    fallback=5.0,
    quiet=1.0,
    limit=18.0,
    stream_spread=3.0,
    farewell=2.0,
    stop=5.0,
    grace=30.0,
    margin=2.0,
)


@dataclass
class Loss:
    """Refused at 15.8 s, unless it is said otherwise."""

    reason: Reason = Reason.REFUSED
    detail: str = ""
    at: float = 15.8
    began: float = 15.8
    kind: Kind = Kind.NEW
    lane: Lane | None = LANE
    plan: Plan = field(default_factory=Plan)
    budgets: Budgets = BUDGETS
    pre_stop: object = "drain"
    surge: tuple[int, int] = (1, 0)
    served: Sequence[Sample] = ()
    excused: bool = False

    @property
    def view(self) -> View:
        template = SimpleNamespace(pre_stop=self.pre_stop)
        workload = SimpleNamespace(template=template, surge=lambda replicas: self.surge)
        ledger = SimpleNamespace(samples=self.served)
        rehearsal: Any = SimpleNamespace(plan=self.plan, workload=workload, ledger=ledger)
        return View(rehearsal, self.budgets, {self.lane.name: self.lane} if self.lane else {})

    @property
    def case(self) -> Case:
        lost = Lost(self.reason, self.detail)
        sample = Sample(self.kind, self.lane.name if self.lane else "", self.began, self.at, lost)
        return Case(self.view, sample, lost, self.lane, self.excused)

    @property
    def sentence(self) -> str:
        return sentence(self.case)


def decided_by(rule: str) -> Lane:
    return replace(LANE, report={"cut": [], "decided_by": rule})


def hook_that_ended_with(code: int, signalled_at: float = 10.2) -> Lane:
    pod = replace(POD, pre_stop_code=code)
    return replace(SILENT, pod=pod, signalled_at=signalled_at, closed_at=signalled_at)
