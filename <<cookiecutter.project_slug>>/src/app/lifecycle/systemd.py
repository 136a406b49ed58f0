"""Tells systemd that the service is ready, is alive, or stops: the protocol of sd_notify(3).

Only imported if systemd has set ``NOTIFY_SOCKET``, as it does for units of ``Type=notify``.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable

import structlog

from app.lifecycle.phase import Lifecycle, Phase

log = structlog.get_logger(__name__)


def notify(lifecycle: Lifecycle, alive: Callable[[], bool]) -> None:
    """Report each phase from a thread, and that the service is ``alive`` if a watchdog asks.

    Removes systemd's variables from the environment: they are not meant for child processes.
    """
    address = os.environ.pop("NOTIFY_SOCKET", "")
    microseconds = os.environ.pop("WATCHDOG_USEC", "")
    period = _watchdog_period(microseconds, os.environ.pop("WATCHDOG_PID", ""))
    threading.Thread(
        target=_follow, args=(address, lifecycle, alive, period), name="systemd", daemon=True
    ).start()


def _watchdog_period(microseconds: str, pid: str) -> float | None:
    """Seconds between two signs of life, half of what systemd waits for; None: it does not."""
    if pid not in ("", str(os.getpid())) or not microseconds.isdecimal():
        return None
    return int(microseconds) / 2e6 or None


def _follow(
    address: str, lifecycle: Lifecycle, alive: Callable[[], bool], period: float | None
) -> None:
    # An abstract socket has a NUL in place of the @.
    path = "\0" + address[1:] if address.startswith("@") else address
    reported = Phase.STARTING
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect(path)
        except OSError as error:
            log.warning("systemd cannot be notified", socket=address, reason=str(error))
            return
        while reported is not Phase.STOPPED:
            lifecycle.wait_in_thread(Phase(reported + 1), period)
            lines = []
            if (phase := lifecycle.phase) is not reported:
                reported = phase
                lines += _news(phase, lifecycle)
            if period is not None and alive():
                lines.append("WATCHDOG=1")
            if lines:
                with contextlib.suppress(OSError):  # the next one may arrive
                    sender.send("\n".join(lines).encode())


def _news(phase: Phase, lifecycle: Lifecycle) -> list[str]:
    """The lines that report ``phase``."""
    if phase is Phase.READY:
        return ["READY=1", "STATUS=ready"]
    why = f"STATUS={phase.label}: {' '.join(lifecycle.reason.split())}"
    if phase is Phase.DRAINING:
        # A unit whose TimeoutStopSec is shorter must not cut the stop off.
        return ["STOPPING=1", f"EXTEND_TIMEOUT_USEC={lifecycle.remaining() * 1e6:.0f}", why]
    return [why]
