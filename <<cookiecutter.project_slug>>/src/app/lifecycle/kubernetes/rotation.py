"""Finds out, while the service drains, whether connections are still sent to this pod.

The API says when the endpoint was withdrawn, the Service's own address when this node
has applied it. Both are asked in daemon threads: nothing here can hold up the stop, and
whatever goes wrong only means that the drain goes by another rule. Imported when a drain
begins: a healthy service pays nothing for it.
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
from app.lifecycle.kubernetes.endpoint import OwnEndpoint, Standing
from app.lifecycle.kubernetes.identity import Cluster, Identity, ServiceName

#: Seconds before the API is asked again after it has failed: the first time and the longest;
#: up to half of it more, so that the pods of a node do not all come at once.
FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0

#: Seconds after which a stream that ends has not failed.
SHORT = 1.0

#: Seconds in which the API is heard of, or its failure: for the first list, and for a watch
#: that is begun and hangs, a pause, and the list after that. The drain goes by them even if the
#: thread that asks hangs itself.
FIRST_WORD = PATIENCE + 0.5
NEXT_WORD = 2.5 * PATIENCE + STREAM + 1.5 * FIRST_DELAY + 0.5

#: Called in one of the threads with what is known now and, if that is worth telling, a sentence.
Tell = Callable[[Rotation, str], None]


class RotationWatch:
    """Tells what it finds out until ``end``; ``fallback`` is what is said to count without it."""

    def __init__(
        self, identity: Identity, cluster: Cluster, tell: Tell, *, fallback: float
    ) -> None:
        self._identity = identity
        self._cluster = cluster
        self._tell = tell
        self._fallback = fallback
        self._own = OwnEndpoint(identity, [service.name for service in cluster.services])
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asking = False
        self._last_heard = -math.inf
        # Until the first answer of the API, or the lack of one, nothing is known to be over.
        self.rotation = Rotation(gone=math.inf, heard_by=time.monotonic() + FIRST_WORD)

    def start(self) -> None:
        try:
            threading.Thread(target=self._watch, name="endpoint", daemon=True).start()
        except RuntimeError as error:  # the container has as many threads as it may have
            self._lost(str(error))

    def end(self) -> None:
        """Tell nothing any more; the threads end when they next look."""
        self._ended.set()

    def _watch(self) -> None:
        """List and watch, again and again."""
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
                        raise ApiError("the API ends the watch at once")
                    failures = 0
            except Exception as error:  # whatever an API may answer: the drain goes on
                if time.monotonic() - began >= SHORT:
                    failures = 0
                failures += 1
                # What it has forgotten can be listed anew at once, the first time.
                forgotten = isinstance(error, ApiError) and error.status == GONE
                if failures == 1 and forgotten:
                    continue
                if api is None:
                    self._lost(explain(error))
                elif not isinstance(error, TimeoutError):
                    # Until it broke the stream was there, and nothing had happened.
                    self._last_heard = time.monotonic()
                self._ended.wait(_delay(failures))
            finally:
                if api is not None:
                    api.close()

    def _follow(self, api: KubeApi) -> None:
        """Take over changes until the API ends the stream, as it is asked to."""
        for kind, changed in api.changes():
            if kind != "BOOKMARK":
                self._own.apply(kind, changed)
            self._heard()
            if self._ended.is_set():
                return
        self._heard()

    def _listed(self) -> KubeApi:
        """Ask where the endpoint stands; return the API to watch it from there."""
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
        """Go by where the endpoint stands now."""
        self._last_heard = time.monotonic()
        before = self.rotation.gone
        match self._own.standing():
            case Standing.IN_ROTATION:
                until = self._last_heard + NEXT_WORD
                said = "the endpoint is in rotation: waiting for it to go"
                if before != math.inf:
                    self._change(said, gone=math.inf, last_seen=self._last_heard, heard_by=until)
                elif until - self.rotation.heard_by > SHORT:  # not for each of many changes
                    self._change("", last_seen=self._last_heard, heard_by=until)
            case Standing.UNKNOWN:
                names = " and ".join(self._own.unseen())
                self._lost(f"this pod is not among the endpoints of Service {names}")
            case Standing.WITHDRAWN:
                if before is None or before == math.inf:
                    self._withdrawn()

    def _withdrawn(self) -> None:
        now = time.monotonic()
        services = [service for service in self._cluster.services if service.port]
        with self._lock:
            begins = bool(services) and not self._asking
            self._asking = self._asking or begins
        if not begins:
            self._change("the endpoint is withdrawn", gone=now)
            return
        # Nothing is sure before the last Service has been asked.
        until = now + Question.FIRST
        self._change("the endpoint is withdrawn", gone=now, asking_until=until, unsure=UNKNOWN)
        threading.Thread(
            target=self._ask, args=(services,), name="who answers", daemon=True
        ).start()

    def _lost(self, why: str) -> None:
        """Nothing can be seen of the endpoint; that it was seen withdrawn stays true."""
        if self.rotation.gone == math.inf:
            self._change(
                f"the endpoint cannot be watched: {why}; "
                f"the fallback of {self._fallback:g} s takes its place",
                gone=None,
                last_seen=self._last_heard,
            )

    def _ask(self, services: list[ServiceName]) -> None:
        """See who answers at the addresses of ``services``, one after the other."""
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
            except Exception as error:  # as above
                sentence = f"Service {service.name} cannot be asked who answers: {error!r}"
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
                self._tell(self.rotation, sentence)


def _delay(failures: int) -> float:
    """Seconds to wait after ``failures`` failures in a row."""
    shortest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 10))
    return shortest * (1 + random.random() / 2)
