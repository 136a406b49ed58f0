"""A change of the schema in the middle of a rolling update."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from dev import postgres
from drill.backend import Cluster
from drill.database import URL
from drill.load.ledger import Kind
from drill.load.routes import Upload
from drill.plan import Plan
from drill.scenarios.base import Scenario, restart

#: What a migration adds that old and new pods can live with. Try yours here.
EXPAND = "ALTER TABLE notes ADD COLUMN drill text; CREATE TABLE drill (id int)"
#: A write: a row in ``notes`` for each that is answered with 2xx, and none for another one.
WRITE = Upload("/notes", "POST", '{"title": "drill", "text": "a note"}', octets=4096, seconds=0.2)
#: How many of 20 requests write.
SHARE = 6
POLL_SECONDS = 0.1
ROWS = "SELECT count(*) FROM notes"


class Migration(Scenario):
    """Old and new pods write before, during and after the change."""

    name = "migration"
    title = "rolling update of {replicas} pods while the schema changes under their writes"

    def __init__(self, sql: str = EXPAND) -> None:
        self.sql = sql
        #: When the schema changed, and how many rows the load has left.
        self.changed = 0.0
        self.rows = 0
        self._url = ""
        self._before = 0

    def prepare(self, plan: Plan) -> Plan:
        self._url = plan.environment[URL]
        self._before = self._rows()
        # The only ones that write, so that rows and responses can be compared.
        shares = {**plan.routes.shares, Kind.UPLOAD: SHARE, Kind.WRITE: 0}
        return replace(plan, routes=replace(plan.routes, upload=WRITE, shares=shares))

    async def act(self, cluster: Cluster) -> Sequence[str]:
        old = {pod.name for pod in cluster.pods()}
        await cluster.update(restart)
        while not cluster.is_rolled_out():
            if not old <= {pod.name for pod in cluster.pods()}:
                break  # a new pod has replaced an old one: both serve
            await asyncio.sleep(POLL_SECONDS)
        self.changed = cluster.timeline.now()
        cluster.timeline.mark(f"schema changes: {self.sql}")
        sql = f"SET lock_timeout = '2s'; {self.sql}"
        try:
            await asyncio.to_thread(postgres.query, self._url, sql)
        except postgres.PostgresError as error:
            return (f"the schema could not be changed: {error}",)
        finally:
            await cluster.rolled_out()
        return ()

    async def after(self) -> None:
        self.rows = await asyncio.to_thread(self._rows) - self._before

    def _rows(self) -> int:
        return int(postgres.query(self._url, ROWS)[0][0])
