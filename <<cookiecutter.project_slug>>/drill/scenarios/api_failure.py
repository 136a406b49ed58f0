"""Rolling updates while pods cannot see their own endpoints, in each way an API can fail."""

from dataclasses import replace

from drill.plan import ApiFault, Plan
from drill.scenarios.rolling import Rolling

WORDS = {
    ApiFault.FORBIDDEN: "may not be asked by the pods",
    ApiFault.DOWN: "is down",
    ApiFault.HANGS: "takes connections and never answers",
    ApiFault.DIES: "dies while it is watched",
    ApiFault.FORGETS: "forgets every version",
    ApiFault.LIES: "calls every endpoint ready",
}


class ApiFailure(Rolling):
    """The drain has to go by `shutdown.fallbackSeconds`, or by its limit where it is lied to."""

    def __init__(self, fault: ApiFault) -> None:
        self.fault = fault
        self.name = f"api-{fault}"
        self.title = f"rolling update of {{replicas}} pods while the API {WORDS[fault]}"

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, api=self.fault)
