"""Values that set each of the chart, but for those that exclude each other."""

from typing import Any

DIGEST = "sha256:" + "0123456789abcdef" * 4
PEER = {"namespaceSelector": {"matchLabels": {"team": "edge"}}}

EVERY_VALUE: dict[str, Any] = {
    "global": {"anything": 1},
    "enabled": True,
    "tags": {"web": True},
    "behind": "aws-alb",
    "shutdown": {
        "floorSeconds": 2.5,
        "slackSeconds": 1,
        "watchEndpoints": True,
        "fallbackSeconds": 3,
        "quietSeconds": 0.5,
        "limitSeconds": 10,
        "streamSpreadSeconds": 1,
        "stopSeconds": 90,
        "marginSeconds": 3,
    },
#% if cookiecutter.mesh == "istio"
    "keepAliveSeconds": 3700,
#% else
    "keepAliveSeconds": 90,
#% endif
    "requests": {
        "timeoutSeconds": 9.5,
        "proxyTimeoutSeconds": 20,
        "clientTimeoutSeconds": 20.5,
        "headerSeconds": 5,
        "headerBytes": 1048576,
        "bodyBytes": 123456789,
        "leastRate": 0,
        "stallSeconds": 30,
        "maxConnections": 1000,
#% if cookiecutter.mesh == "istio"
        "keepAliveLeastSeconds": 3601,
#% else
        "keepAliveLeastSeconds": 61,
#% endif
        "maxInFlight": 100,
        "inFlightLimit": "adaptive",
        "minInFlight": 8,
        "queue": 0,
        "queueSeconds": 0.25,
        "priority": "header",
        "priorityHeader": "X-Class",
        "reservedShare": 0.1,
    },
    "websockets": {
        "messageBytes": 4096,
        "pingSeconds": 10,
        "pongSeconds": 5,
        "idleSeconds": 60,
        "maxOpen": 50,
    },
    "proxy": {
        "trusted": ["10.1.0.7", "fd00::/8"],
        "headers": ["for", "proto", "prefix"],
        "rootPath": "/shop/v1",
    },
#% if cookiecutter.database == "postgresql"
    "database": {
        "secret": "shop-db-app",
        "secretKey": "fqdn-uri",
        "passwordSecret": "shop-db-password",
        "passwordKey": "secret",
        "poolSize": 4,
        "maxConnections": 100,
        "pooler": "pgbouncer",
        "gating": True,
    },
#% endif
#% if cookiecutter.tracing == "opentelemetry"
    "tracing": {"endpoint": "http://collector.monitoring:4318/otlp", "sampleRatio": 0.01},
#% endif
#% if cookiecutter.database == "postgresql"
    "migrations": {
        "enabled": True,
        "secretKey": "owner",
        "lockSeconds": 0.5,
        "statementSeconds": 600,
        "waitSeconds": 30,
        "deadlineSeconds": 900,
        "retries": 0,
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "1Gi"}},
        "annotations": {"argocd.argoproj.io/hook": "PreSync"},
    },
#% endif
#% if cookiecutter.service_registry != "none"
    "registry": {
        "url": "https://registry.infra",
        "secret": "shop-registry",
        "strategy": "event",
        "service": "orders",
        "tags": ["v1"],
        "intervalSeconds": 2.5,
        "ttlSeconds": 20,
        "failures": 4,
        "successes": 5,
        "deregisterSeconds": 1.5,
        "readersSeconds": 6,
    },
#% endif
#% if cookiecutter.leader_election == "yes"
    "leaderElection": {
        "leaseSeconds": 20,
        "renewSeconds": 12.5,
        "retrySeconds": 3,
        "finishSeconds": 0,
    },
#% endif
    "image": {
        "repository": "registry.example.com:5000/a/b",
        "tag": "1.2.3",
        "digest": DIGEST,
        "pullPolicy": "Always",
    },
    "imagePullSecrets": [{"name": "registry"}],
    "config": {
        "APP_HOST": "0.0.0.0",
        "APP_KUBERNETES__API": "https://10.96.0.1",
        "APP_KUBERNETES__CREDENTIALS": "/var/run/secrets/kubernetes.io/serviceaccount",
        "APP_PROBES__UNREADY_SECONDS": 1000000 / 1e6,
        "APP_PROBES__MAIN_PORT": False,
        "APP_LOG__LEVEL": "debug",
        "APP_LOG__FORMAT": "json",
        "APP_LOG__ACCESS": False,
    },
    "secrets": ["database"],
    "env": [
        {"name": "ZONE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['zone']"}}},
        {"name": "TZ", "value": "UTC"},
    ],
    "listen": {"port": 9000, "managementPort": 9001},
    "probes": {
        "stallSeconds": 20,
        "startup": {
            "initialDelaySeconds": 2,
            "periodSeconds": 3,
            "timeoutSeconds": 4,
            "failureThreshold": 10,
        },
        "readiness": {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 1},
        "liveness": {"periodSeconds": 15, "timeoutSeconds": 10, "failureThreshold": 2},
    },
    "replicas": 5,
    "podDisruptionBudget": {"enabled": True, "maxUnavailable": 1},
    "rollout": {
        "maxSurge": 2,
        "maxUnavailable": "10%",
        "minReadySeconds": 7,
        "progressDeadlineSeconds": 120,
        "revisionHistoryLimit": 2,
    },
    "spread": {"zones": "DoNotSchedule", "nodes": "ScheduleAnyway"},
    "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "2", "memory": "1Gi"}},
    "runAsUser": 4711,
    "tmpSize": "1Gi",
    "serviceAccount": {
        "create": True,
        "name": "robot",
        "annotations": {"iam.example.com/role": "reader"},
        "automountToken": True,
    },
    "service": {
        "type": "LoadBalancer",
        "port": 8000,
        "annotations": {"example.com/scheme": "internal"},
        "externalTrafficPolicy": "Local",
        "loadBalancerClass": "example.com/nlb",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"example.com/a": "b"},
        "hosts": [
            {"host": "a.example.com"},
            {"host": "b.example.com", "paths": [{"path": "/v1", "pathType": "Exact"}]},
        ],
        "tls": [{"secretName": "tls", "hosts": ["a.example.com"]}],
    },
    "httpRoute": {
        "enabled": True,
        "annotations": {"example.com/a": "b"},
        "parentRefs": [{"name": "gateway", "namespace": "edge", "sectionName": "https"}],
        "hostnames": ["a.example.com"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                "timeouts": {"request": "30s"},
                "filters": [
                    {
                        "type": "RequestHeaderModifier",
                        "requestHeaderModifier": {"set": [{"name": "x", "value": "y"}]},
                    }
                ],
            }
        ],
    },
    "canary": {"release": "web-canary", "weight": 25},
    "networkPolicy": {
        "enabled": True,
        "from": [PEER],
        "managementFrom": [PEER],
        "dns": [{"ipBlock": {"cidr": "10.96.0.10/32"}}],
        "api": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
        "egress": [{"to": [PEER], "ports": [{"port": 5432, "protocol": "TCP"}]}],
    },
#% if cookiecutter.mesh != "none"
    "mesh": {
        "enabled": True,
        "nativeSidecar": False,
        "apiServer": ["10.96.0.1/32", "10.0.0.1/32"],
        "namespace": "mesh",
#% if cookiecutter.mesh == "istio"
        "route": {
            "enabled": True,
            "hosts": ["a.example.com"],
            "gateways": ["edge/public"],
            "retries": {"attempts": 3, "perTrySeconds": 2.5},
            "outliers": {
                "connectionFailures": 5,
                "serverErrors": 20,
                "intervalSeconds": 10,
                "ejectionSeconds": 60,
                "maxPercent": 10,
            },
        },
#% endif
    },
#% endif
#% if cookiecutter.monitoring == "prometheus"
    "monitoring": {
        "enabled": True,
        "monitor": "pod",
        "interval": "1m",
        "scrapeTimeout": "60s",
        "labels": {"release": "prometheus"},
        "rules": {
            "enabled": True,
            "runbookUrl": "https://docs.example.com/runbook",
            "slo": {"availability": 0.99, "latencyShare": 0.95, "latencySeconds": 2.5},
            "leastBadRequests": 50,
        },
        "dashboard": {
            "enabled": True,
            "labels": {"dashboards": "all"},
            "folder": "Services",
        },
    },
#% endif
    "test": {"path": "/hello"},
    "sidecars": [{"name": "proxy", "image": "proxy:1", "ports": [{"containerPort": 3306}]}],
    "initContainers": [{"name": "migrate", "image": "migrate:1", "command": ["up"]}],
    "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
                ]
            }
        }
    },
    "priorityClassName": "high",
    "fullnameOverride": "other",
    "labels": {"team": "payments"},
    "annotations": {"example.com/reload": "true"},
    "podLabels": {"zone": "a"},
    "podAnnotations": {"example.com/scrape": "false"},
}
