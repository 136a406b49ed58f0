"""The end of a container: the hook, SIGTERM, and SIGKILL when its time is over.

https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/ and
``killContainer`` in ``pkg/kubelet/kuberuntime``.
"""

import asyncio

from drill.chart.workload import Action
from drill.local.actions import run_hook
from drill.local.containers import Container
from drill.local.processes import Process
from drill.record import PodRecord
from drill.timeline import Timeline

#: What there is after SIGTERM at least, also when the hook has used up the grace period
#: (minimumGracePeriodInSeconds).
LEAST_SECONDS = 2.0
#: What the record has for a hook that did not end by itself.
HUNG = 137


async def stop(
    container: Container,
    process: Process,
    exited: "asyncio.Future[int]",
    grace: float,
    record: PodRecord,
    timeline: Timeline,
) -> None:
    """Returns when the container has ended; ``grace`` is for the hook and SIGTERM together."""
    deadline = timeline.now() + grace
    if (action := container.template.pre_stop) is not None and grace > 0:
        record.pre_stop_code = code = await _run(action, container, exited, grace)
        timeline.mark("preStop ended", record.name, f"code {code}", quiet=True)
    if not exited.done():
        timeline.mark("SIGTERM", record.name, quiet=True)
        process.terminate()
        left = max(deadline - timeline.now(), LEAST_SECONDS)
        await asyncio.wait((exited,), timeout=left)
    if not exited.done():
        timeline.mark("SIGKILL", record.name, "the grace period is over")
        process.kill()
        await asyncio.wait((exited,))


async def _run(
    action: Action, container: Container, exited: "asyncio.Future[int]", grace: float
) -> int:
    """The hook's code. It ends with its container, and here with the grace period too."""
    hook = asyncio.ensure_future(run_hook(action, container))
    try:
        await asyncio.wait((hook, exited), timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if exited.done() and not hook.done():
            await asyncio.wait((hook,), timeout=1.0)  # it has yet to say so
        return hook.result() if hook.done() else HUNG
    finally:
        hook.cancel()
        await asyncio.wait((hook,))
