"""The theoretical limit of a stop: the earliest exit that loses nothing."""

from collections.abc import Sequence
from dataclasses import replace

from drill.load.ledger import Sample
from drill.load.loss import Reason
from drill.result.budgets import Budgets
from drill.result.lane import Lane


def with_limit(lane: Lane, samples: Sequence[Sample], budgets: Budgets) -> Lane:
    """Adds ``last_arrival`` and ``possible_at`` to a pod that was told to stop::

        max(E, D, E + J) + U

    E   the last moment at which a client could still be sent to the pod: before
        it, a closed listener refuses somebody
    D   the end of the last request that began before E
    J   the time over which clients of streams are told, if the pod had any, and
        not before E: those told sooner could come back to the same pod
    U   the clean-up, as long as it took: from the closed listener to the exit
    """
    told = lane.told_at
    if told is None:
        return lane
    own = [sample for sample in samples if sample.pod == lane.name]
    arrival = _last_arrival(lane, told, own)
    lane = replace(lane, last_arrival=arrival)
    if arrival is None or lane.gone_at is None or lane.closed_at is None or lane.killed_at:
        return lane
    answered = (s.ended for s in own if not s.kind.is_stream and not s.lost and s.began <= arrival)
    spread = (budgets.stream_spread or 0.0) if _had_streams(lane, told, own) else 0.0
    clean_up = lane.gone_at - lane.closed_at
    return replace(
        lane, possible_at=max(arrival, max(answered, default=arrival), arrival + spread) + clean_up
    )


def _last_arrival(lane: Lane, told: float, own: Sequence[Sample]) -> float | None:
    """When the last client forgot the pod; where nobody can tell, its last request."""
    if lane.seen is None:
        reached = [s.began for s in own if not (s.lost and s.lost.reason is Reason.REFUSED)]
        return max(told, *reached) if reached else None
    return max((told, *(span.end for span in lane.seen)))


def _had_streams(lane: Lane, told: float, own: Sequence[Sample]) -> bool:
    if lane.report is not None:
        return bool(lane.report.get("streams_ended"))
    return any(sample.kind.is_stream and sample.ended >= told for sample in own)
