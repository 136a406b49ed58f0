"""Watches, during a drain, whether connections are still sent to this pod.

The API shows when the endpoint was withdrawn; the Service's address shows when this
node has applied that. Daemon threads ask both, so nothing here can delay the stop: after
an error the drain uses its fallback. Imported when a drain begins.
"""

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from app.lifecycle.drain import Rotation
from app.lifecycle.kubernetes.api import GONE, PATIENCE, STREAM, ApiError, KubeApi, explain
from app.lifecycle.kubernetes.data_plane import UNKNOWN, Finding, Question, ask
from app.lifecycle.kubernetes.endpoint import EndpointState, OwnEndpoint
from app.lifecycle.kubernetes.identity import Cluster, Identity, ServiceName

#: First and longest delay after a failed request, in seconds, plus up to half of it at random,
#: so that the pods of a node do not all retry at once.
FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0

#: A stream that lasted this many seconds did not fail when it ends.
SHORT = 1.0

#: Seconds in which the API responds or fails: the first list; then a watch that hangs, a delay
#: and the next list. The drain relies on them even if the thread hangs.
FIRST_RESPONSE = PATIENCE + 0.5
NEXT_RESPONSE = 2.5 * PATIENCE + STREAM + 1.5 * FIRST_DELAY + 0.5

#: Called in one of the threads with the current state and, if it is worth logging, a sentence.
Report = Callable[[Rotation, str], None]


class RotationWatch:
    """Reports the rotation until ``end``; ``fallback`` is only named in messages."""

    def __init__(
        self, identity: Identity, cluster: Cluster, report: Report, *, fallback: float
    ) -> None:
        self._identity = identity
        self._cluster = cluster
        self._report = report
        self._fallback = fallback
        self._own = OwnEndpoint(identity, [service.name for service in cluster.services])
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asking = False
        self._last_heard = -math.inf
        # Until the API responds or fails, the endpoint counts as in rotation.
        self.rotation = Rotation(gone=math.inf, heard_by=time.monotonic() + FIRST_RESPONSE)

    def start(self) -> None:
        try:
            threading.Thread(target=self._watch, name="endpoint", daemon=True).start()
        except RuntimeError as error:  # the container has reached its limit of threads
            self._lost(str(error))

    def end(self) -> None:
        """Report nothing more; the threads end soon."""
        self._ended.set()

    def _watch(self) -> None:
        """List and watch until the end."""
        failures = 0
        while not self._ended.is_set():
            began = time.monotonic()
            api: KubeApi | None = None
            try:
                api = self._listed()
                while not self._ended.is_set():
                    began = time.monotonic()
                    self._follow(api)
                    if time.monotonic() - began < SHORT:
                        raise ApiError("the API ends every watch at once")
                    failures = 0
            except Exception as error:  # whatever the API responds, the drain continues
                if time.monotonic() - began >= SHORT:
                    failures = 0
                failures += 1
                # A version that the API no longer has is listed again at once, the first time.
                forgotten = isinstance(error, ApiError) and error.status == GONE
                if failures == 1 and forgotten:
                    continue
                if api is None:
                    self._lost(explain(error))
                elif not isinstance(error, TimeoutError):
                    # Until it broke, the stream would have shown a change.
                    self._last_heard = time.monotonic()
                self._ended.wait(_delay(failures))
            finally:
                if api is not None:
                    api.close()

    def _follow(self, api: KubeApi) -> None:
        """Apply changes until the API ends the stream, as requested."""
        for kind, changed in api.changes():
            if kind != "BOOKMARK":
                self._own.apply(kind, changed)
            self._heard()
            if self._ended.is_set():
                return
        self._heard()

    def _listed(self) -> KubeApi:
        """List the endpoint; return the API to continue with a watch."""
        if not (self._identity.pod or self._identity.addresses):
            raise ApiError("POD_NAME is not set")
        names = [service.name for service in self._cluster.services]
        api = KubeApi(self._cluster, self._identity.namespace, names)
        try:
            self._own.replace(api.slices())
        except BaseException:
            api.close()
            raise
        self._heard()
        return api

    def _heard(self) -> None:
        """Update the rotation from the state of the endpoint."""
        self._last_heard = time.monotonic()
        before = self.rotation.gone
        match self._own.state():
            case EndpointState.IN_ROTATION:
                until = self._last_heard + NEXT_RESPONSE
                text = "endpoint in rotation: waiting for it to be withdrawn"
                if before != math.inf:
                    self._change(text, gone=math.inf, last_seen=self._last_heard, heard_by=until)
                elif until - self.rotation.heard_by > SHORT:  # not for every single change
                    self._change("", last_seen=self._last_heard, heard_by=until)
            case EndpointState.UNKNOWN:
                names = " and ".join(self._own.unseen())
                self._lost(f"this pod is not among the endpoints of Service {names}")
            case EndpointState.WITHDRAWN:
                if before is None or before == math.inf:
                    self._withdrawn()

    def _withdrawn(self) -> None:
        now = time.monotonic()
        services = [service for service in self._cluster.services if service.port]
        with self._lock:
            begins = bool(services) and not self._asking
            self._asking = self._asking or begins
        if not begins:
            self._change("endpoint withdrawn", gone=now)
            return
        # No evidence until every Service has been asked.
        until = now + Question.FIRST
        self._change("endpoint withdrawn", gone=now, asking_until=until, unsure=UNKNOWN)
        threading.Thread(
            target=self._ask, args=(services,), name="who answers", daemon=True
        ).start()

    def _lost(self, why: str) -> None:
        """The endpoint cannot be watched; a withdrawal that was seen remains valid."""
        if self.rotation.gone == math.inf:
            self._change(
                f"endpoint cannot be watched: {why}; using the fallback of {self._fallback:g} s",
                gone=None,
                last_seen=self._last_heard,
            )

    def _ask(self, services: list[ServiceName]) -> None:
        """Check which pods answer at the addresses of ``services``, one after the other."""
        unsure = ""
        for service in services:
            question = Question(
                service=service.name,
                host=service.host or f"{service.name}.{self._identity.namespace}.svc",
                port=service.port,
                pod=self._identity.pod,
                pods=self._own.pods(service.name),
            )
            try:
                found = ask(question, self._ended, lambda **parts: self._change("", **parts))
            except Exception as error:
                sentence = f"Service {service.name}: cannot check which pods answer: {error!r}"
                found = Finding(sentence, UNKNOWN)
            unsure = unsure or found.unsure
            self._change(found.sentence)
        with self._lock:
            self._asking = False
        self._change("", asking_until=-math.inf, unsure=unsure)

    def _change(self, sentence: str, **parts: float | str | None) -> None:
        with self._lock:
            self.rotation = replace(self.rotation, **parts)  # type: ignore[arg-type]
            if not self._ended.is_set():
                self._report(self.rotation, sentence)


def _delay(failures: int) -> float:
    """Seconds to wait after ``failures`` consecutive failures."""
    shortest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 10))
    return shortest * (1 + random.random() / 2)
