"""Sets of values that together set every value of the chart at least once."""

from pathlib import Path
from typing import Any

import yaml

from tests.chart.every_value import DIGEST as DIGEST
from tests.chart.every_value import EVERY_VALUE
from tests.chart.every_value import PEER as PEER

CHART = Path(__file__).resolve().parents[2] / "chart"


def values_file(name: str) -> Any:
    return yaml.safe_load((CHART / f"values-{name}.yaml").read_text("utf-8"))


CASES: dict[str, Any] = {
    "defaults": {},
    "dev": values_file("dev"),
    "production": values_file("production"),
    "single-node": values_file("single-node"),
    "canary": values_file("canary"),
    "edge": values_file("edge"),
#% if cookiecutter.tls == "yes"
    "tls": {
        "behind": "envoy",
        "service": {"port": 443},
        "tls": {
            "secretName": "web-tls",
            "minimumVersion": "1.3",
            "hostname": "web.default.svc",
            "caConfigMap": "internal-ca",
        },
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
#% if cookiecutter.mesh != "none"
        "mesh": {"enabled": False},
#% endif
    },
#% endif
    "all-typed": EVERY_VALUE,
    "hpa": {
        "autoscaling": {
            "kind": "hpa",
            "minReplicas": 1,
            "maxReplicas": 3,
            "cpuPercent": None,
            "memoryPercent": 80,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "requests"},
                        "target": {"type": "AverageValue", "averageValue": "100"},
                    },
                }
            ],
            "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}},
        },
    },
    "keda": {
        "autoscaling": {
            "kind": "keda",
            "minReplicas": 2,
            "maxReplicas": 9,
            "cpuPercent": 50,
            "triggers": [
                {
                    "type": "cron",
                    "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 18 * * *"},
                }
            ],
        },
    },
    "platform-chooses": {
        "runAsUser": None,
        "serviceAccount": {"create": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
#% if cookiecutter.monitoring == "prometheus"
    "found-by-service": {
        "monitoring": {"enabled": True, "monitor": "service", "rules": {"enabled": False}},
        "networkPolicy": {"managementFrom": [PEER]},
    },
#% endif
#% if cookiecutter.mesh == "istio"
    "faults": {
        "mesh": {
            "route": {
                "enabled": True,
                "retries": {"attempts": 0},
                "fault": {
                    "delayPercent": 10,
                    "delaySeconds": 3,
                    "abortPercent": 0.5,
                    "abortStatus": 500,
                },
            }
        },
        "canary": {"release": "web-canary", "weight": 20},
    },
#% endif
#% if cookiecutter.argo_rollouts == "yes"
    "rollout": {
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
        "argoRollouts": {
            "enabled": True,
            "traffic": "gateway",
            "weights": [1, 10, 100],
            "pauseSeconds": 600,
            "scaleDownDelaySeconds": 60,
            "analysis": {
                "prometheus": "https://prometheus.example.com",
                "intervalSeconds": 60,
                "windowSeconds": 300,
                "leastRequests": 1000,
                "errorShare": 0.005,
                "slower": 1.5,
                "slowerSeconds": 0.1,
                "inconclusiveLimit": 3,
            },
        },
    },
    "rollout-by-pods": {"argoRollouts": {"enabled": True}},
#% endif
    "unwatched": {"shutdown": {"watchEndpoints": False}},
}
