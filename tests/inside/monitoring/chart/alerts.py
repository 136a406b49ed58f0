"""What each alert is about, as series that make it fire and recover, for `promtool test rules`.

A case has samples a minute apart unless it says otherwise, and for some minutes the alerts that
fire then: all of them, so that a case also shows what does not fire.
"""

from dataclasses import dataclass, field

SELF = 'namespace="prod",job="web-example-service",pod="a"'
#% if cookiecutter.database == "postgresql"
OTHERS = [SELF.replace('"a"', f'"{other}"') for other in "bc"]
#% endif
POD = 'namespace="prod",pod="web-example-service-5d4f-x7k2p"'
SERVICE = f'{POD},container="app"'
AUTOSCALER = 'namespace="prod",horizontalpodautoscaler="keda-hpa-web-example-service"'
REQUESTS = "http_server_request_duration_seconds"
LAG = "app_event_loop_lag_seconds"
#: Ten requests per second that are well and fast.
TRAFFIC = {
    f'{REQUESTS}_count{{{SELF},http_response_status_code="200"}}': "0+600x600",
    f'{REQUESTS}_bucket{{{SELF},le="0.5"}}': "0+600x600",
}
UP = {f"up{{{SELF}}}": "1x10000"}


@dataclass(frozen=True)
class Case:
    """Series with their values, and who fires at which minutes."""

    series: dict[str, str]
    fires: dict[float, set[str]]
    interval: str = "1m"
    always: dict[str, str] = field(default_factory=lambda: UP)


def failing(values: str, error: str = "503") -> dict[str, str]:
    """Requests that fail, but fast."""
    return {
        f'{REQUESTS}_count{{{SELF},error_type="{error}"}}': values,
        f'{REQUESTS}_bucket{{{SELF},error_type="{error}",le="0.5"}}': values,
    }


def one(name: str, labels: str, values: str) -> dict[str, str]:
    return {f"{name}{{{labels}}}": values}


def draining(seconds: str) -> dict[str, str]:
    """The last two scrapes of a pod, after five minutes of others."""
    return (
        one("app_drain_seconds", SELF, f"0x29 {seconds} stale")
        | one("app_drain_limit_seconds", SELF, "18x31 stale")
        | one("app_grace_seconds", SELF, "30x31 stale")
    )


QUIET: set[str] = set()
BURNING = {"AvailabilityBurn", "AvailabilityBurnSlow"}
CASES: dict[str, Case] = {
    "well": Case(TRAFFIC | failing("0+1x600", "404"), {30: QUIET, 60: QUIET}),
    "a tenth of requests fails": Case(
        TRAFFIC | failing("0x30 67+67x30 2077x60"),
        {30: QUIET, 45: BURNING, 60: BURNING, 100: {"AvailabilityBurnSlow"}},
    ),
    "a tenth of requests fails for three minutes": Case(
        TRAFFIC | failing("0x55 67+67x3 268x5"), {58: {"AvailabilityBurnSlow"}}
    ),
    "requests are cut off by their deadline": Case(
        TRAFFIC | failing("0x30 67+67x30", "deadline"), {30: QUIET, 45: BURNING}
    ),
    "one in a hundred fails, which takes longer to notice": Case(
        TRAFFIC | failing("0x30 6+6x60 366x60"),
        {35: QUIET, 80: BURNING, 130: {"AvailabilityBurnSlow"}},
    ),
    "one in 500 fails, until better times": Case(
        dict.fromkeys(TRAFFIC, "0+600x60 36000+60000x60") | failing("0+1.2x60 72x60"),
        {50: {"AvailabilityBurnSlow"}, 115: QUIET},
    ),
    "half of a few requests fails at night": Case(
        one(f"{REQUESTS}_count", SELF, "0x30 1x3 2x3 3x90") | failing("0x31 1x3 2x90"),
        {40: QUIET, 100: QUIET},
    ),
    "clients who are wrong or gone": Case(
        TRAFFIC | failing("0+60x60", "client gone"), {30: QUIET, 55: QUIET}
    ),
    "a third of requests is slow": Case(
        one(f"{REQUESTS}_count", SELF, "0+600x120")
        | one(f"{REQUESTS}_bucket", f'{SELF},le="0.5"', "0+600x30 18400+400x30 31000+600x60"),
        {30: QUIET, 50: {"LatencyBurn", "LatencyBurnSlow"}, 110: {"LatencyBurnSlow"}},
    ),
    "one in 50 is slow, until better times": Case(
        one(f"{REQUESTS}_count", SELF, "0+600x60 36600+60000x60")
        | one(f"{REQUESTS}_bucket", f'{SELF},le="0.5"', "0+588x60 35868+60000x60"),
        {50: {"LatencyBurnSlow"}, 115: QUIET},
    ),
    "a stop cuts off requests": Case(
        one("app_requests_cut_total", SELF, "0x20 2x1"),
        {4: QUIET, 11: {"RequestsCut"}, 20: {"RequestsCut"}, 30: QUIET},
        interval="30s",
    ),
    "a drain almost reaches its limit": Case(
        draining("2 12") | one("app_requests_in_flight", SELF, "3x31 stale"),
        {4: QUIET, 6: {"DrainNearLimit"}, 15: {"DrainNearLimit"}, 25: QUIET},
        interval="10s",
    ),
    "a drain has enough time": Case(
        draining("1 8") | one("app_requests_in_flight", SELF, "3x31 stale"),
        {6: QUIET, 10: QUIET},
        interval="10s",
    ),
    "a drain waits, but nothing is in flight": Case(
        draining("5 15.5") | one("app_requests_in_flight", SELF, "0x31 stale"),
        {6: QUIET, 10: QUIET},
        interval="10s",
    ),
    "a stop almost reaches its grace period": Case(
        one("app_drain_seconds", SELF, "0x10 25 stale")
        | one("app_grace_seconds", SELF, "30x11 stale"),
        {2: QUIET, 6: {"StopNearGrace"}, 25: QUIET},
        interval="30s",
    ),
    "a container is killed": Case(
        one(
            "kube_pod_container_status_last_terminated_exitcode",
            f'{SERVICE},uid="1"',
            "_x10 137x60",
        )
        | one("kube_pod_container_status_restarts_total", f'{SERVICE},uid="1"', "0x10 1x60"),
        {9: QUIET, 13: {"PodKilled"}, 40: QUIET},
    ),
    "a container ends with an error": Case(
        one("kube_pod_container_status_last_terminated_exitcode", SERVICE, "_x10 1x60")
        | one("kube_pod_container_status_restarts_total", SERVICE, "0x10 1x60"),
        {13: QUIET},
    ),
    "a container of another deployment is killed": Case(
        {
            series.replace("web-example-service-", "web-example-service-worker-"): values
            for series, values in (
                one("kube_pod_container_status_last_terminated_exitcode", SERVICE, "_x10 137x60")
                | one("kube_pod_container_status_restarts_total", SERVICE, "0x10 1x60")
            ).items()
        },
        {13: QUIET},
    ),
    "a container crashes again and again": Case(
        one(
            "kube_pod_container_status_waiting_reason",
            f'{SERVICE},reason="CrashLoopBackOff"',
            "_x5 1x2 _ 1x3 _x20",
        ),
        {4: QUIET, 6: QUIET, 10: {"CrashLoop"}, 25: QUIET},
    ),
    "a rollout is stuck": Case(
        one(
            "kube_deployment_status_condition",
            'namespace="prod",deployment="web-example-service",condition="Progressing",status="false"',
            "0x10 1x10 0x10",
        ),
        {9: QUIET, 12: {"RolloutStuck"}, 22: QUIET},
    ),
    "the autoscaler wants more than it may": Case(
        one("kube_horizontalpodautoscaler_status_desired_replicas", AUTOSCALER, "4x10 10x30 8x10")
        | one("kube_horizontalpodautoscaler_spec_max_replicas", AUTOSCALER, "10x60"),
        {9: QUIET, 20: QUIET, 28: {"AutoscalerAtMaximum"}, 43: QUIET},
    ),
    "the event loop stands still now": Case(
        one("app_event_loop_stalled_seconds", SELF, "0x5 20x2 0x20"),
        {4: QUIET, 7: {"EventLoopBlocked"}, 16: QUIET},
    ),
    "the event loop stands still again and again": Case(
        one(f"{LAG}_count", SELF, "0+240x60")
        | one(f"{LAG}_bucket", f'{SELF},le="1.0"', "0+240x10 2639 2878 3117+240x60"),
        {9: QUIET, 16: {"EventLoopBlocked"}, 40: QUIET},
    ),
    "the event loop stands still once": Case(
        one(f"{LAG}_count", SELF, "0+240x60")
        | one(f"{LAG}_bucket", f'{SELF},le="1.0"', "0+240x10 2639+240x60"),
        {9: QUIET, 16: QUIET},
    ),
    "load is shed": Case(
        TRAFFIC
        | one(
            "app_requests_shed_total",
            f'{SELF},reason="full",priority="normal"',
            "0x10 0+60x20 1200x20",
        ),
        {9: QUIET, 11: QUIET, 16: {"RequestsShed"}, 40: QUIET},
    ),
    "one request is shed now and then": Case(
        TRAFFIC
        | one("app_requests_shed_total", f'{SELF},reason="full",priority="normal"', "0+2x60"),
        {30: QUIET},
    ),
    "connections are refused": Case(
        one("app_connections_refused_total", SELF, "0x10 0+5x20 100x20")
        | one("app_websockets_refused_total", SELF, "0x50"),
        {9: QUIET, 20: {"ConnectionsRefused"}, 40: QUIET},
    ),
    "WebSockets are refused": Case(
        one("app_connections_refused_total", SELF, "0x50")
        | one("app_websockets_refused_total", SELF, "0+1x50"),
        {20: {"ConnectionsRefused"}},
    ),
    "a check fails": Case(
        one("app_check_well", f'{SELF},check="cache",gating="false"', "1x10 0x20 1x10"),
        {9: QUIET, 13: QUIET, 20: {"CheckFailing"}, 33: QUIET},
    ),
    "a task keeps failing": Case(
        one("app_task_failures_total", f'{SELF},task="refresh"', "0x5 0+1x10 10x60"),
        {5: QUIET, 12: {"TaskFailing"}, 70: QUIET},
    ),
    "a task failed once": Case(
        one("app_task_failures_total", f'{SELF},task="refresh"', "0x5 1x60"), {12: QUIET}
    ),
    "log lines are lost": Case(
        one("app_log_lines_dropped_total", SELF, "0x5 50x60"),
        {4: QUIET, 8: {"LogLinesDropped"}, 30: QUIET},
    ),
    "one of two pods is not reached": Case(
        one("up", SELF, "1x60") | one("up", SELF.replace('"a"', '"b"'), "1x10 0x20 1x20"),
        {9: QUIET, 13: QUIET, 20: {"TargetDown"}, 33: QUIET},
        always={},
    ),
    "no pod is reached": Case(
        one("up", SELF, "1x10 0x20 1x20"),
        {9: QUIET, 13: QUIET, 20: {"TargetDown", "NothingScraped"}, 33: QUIET},
        always={},
    ),
    "no pod is looked for": Case(
        one("up", SELF, "1x10 stale _x15 1x20"),
        {9: QUIET, 20: {"NothingScraped"}, 33: QUIET},
        always={},
    ),
#% if cookiecutter.database == "postgresql"
    "most pods do not reach the database": Case(
        one("app_check_well", f'{SELF},check="database",gating="false"', "1x10 0x4 1x20"),
        {9: QUIET, 13: {"DatabaseDown"}, 17: QUIET},
    ),
    "one pod of three does not reach the database": Case(
        one("app_check_well", f'{SELF},check="database",gating="false"', "1x10 0x4 1x20")
        | one("app_check_well", f'{OTHERS[0]},check="database",gating="false"', "1x40")
        | one("app_check_well", f'{OTHERS[1]},check="database",gating="false"', "1x40"),
        {9: QUIET, 13: QUIET},
    ),
    "requests wait for connections all the time": Case(
        one("db_client_connection_pending_requests", SELF, "0x10 3x20 0x20")
        | one("db_client_connection_timeouts_total", SELF, "0x60"),
        {9: QUIET, 13: QUIET, 20: {"ConnectionPoolExhausted"}, 40: QUIET},
    ),
    "requests wait for connections now and then": Case(
        one("db_client_connection_pending_requests", SELF, "0 3 0 5 0 2 0 3 0 5 0 2 0 3 0 5 0"),
        {8: QUIET, 12: QUIET},
    ),
    "requests got no connection in time": Case(
        one("db_client_connection_timeouts_total", SELF, "0x5 0+2x10 20x60"),
        {4: QUIET, 12: {"ConnectionPoolExhausted"}, 40: QUIET},
    ),
    "connections are held for long": Case(
        one("app_database_connections_leaked_total", SELF, "0x5 0+1x10 10x60"),
        {5: QUIET, 12: {"ConnectionsLeaked"}, 70: QUIET},
    ),
    "a connection is held for long once": Case(
        one("app_database_connections_leaked_total", SELF, "0x5 1x60"), {12: QUIET}
    ),
    "changes are lost": Case(
        one("app_database_dirty_returns_total", SELF, "0x5 1x60"),
        {4: QUIET, 8: {"ChangesLost"}, 60: QUIET},
    ),
    "a message is given up": Case(
        one("app_outbox_messages", f'{SELF},state="dead"', "0x10 1x20 0x20")
        | one("app_outbox_messages", f'{OTHERS[0]},state="dead"', "0x10 1x20 0x20")
        | one("app_outbox_messages", f'{SELF},state="pending"', "3x50"),
        {9: QUIET, 12: {"MessagesDead"}, 33: QUIET},
    ),
    "messages wait in the outbox": Case(
        one("app_outbox_overdue_seconds", SELF, "0x10 0+60x20 0x20")
        | one("app_outbox_overdue_seconds", OTHERS[0], "0x10 0+60x20 0x20"),
        {9: QUIET, 15: QUIET, 20: {"MessagesOverdue"}, 35: QUIET},
    ),
    "pods together are not as late as the alert wants": Case(
        one("app_outbox_overdue_seconds", SELF, "200x30")
        | one("app_outbox_overdue_seconds", OTHERS[0], "200x30"),
        {20: QUIET},
    ),
#% endif
#% if cookiecutter.service_registry != "none"
    "a pod is not in the service registry": Case(
        one("app_registry_listed", SELF, "1x10 0x20 1x20") | one("app_ready", SELF, "1x60"),
        {9: QUIET, 20: {"NotRegistered"}, 33: QUIET},
    ),
    "a pod that is not ready is not in the registry": Case(
        one("app_registry_listed", SELF, "0x50") | one("app_ready", SELF, "0x50"), {20: QUIET}
    ),
    "an entry is left in the service registry": Case(
        one("app_registry_given_up", SELF, "0x10 1 stale"),
        {9: QUIET, 20: {"EntryLeftInRegistry"}, 40: QUIET},
    ),
#% endif
#% if cookiecutter.leader_election == "yes"
    "nobody leads": Case(
        one("app_leader", SELF, "1x10 0x20 1x20"), {9: QUIET, 20: {"NotOneLeader"}, 33: QUIET}
    ),
    "two lead": Case(
        one("app_leader", SELF, "1x50")
        | one("app_leader", SELF.replace('"a"', '"b"'), "0x10 1x20 0x20"),
        {9: QUIET, 20: {"NotOneLeader"}, 33: QUIET},
    ),
#% endif
#% if cookiecutter.tls == "yes"
    "a renewed certificate is broken": Case(
        one("app_tls_reload_failures_total", SELF, "0x10 6+6x20 126x20"),
        {14: QUIET, 20: {"CertificateNotReloaded"}, 48: QUIET},
    ),
    # A day long, from minute -1000 on; the clock of the test begins at 0.
    "a certificate is not renewed, then it is": Case(
        one("app_tls_certificate_not_before_timestamp_seconds", SELF, "-60000x200 12000x50")
        | one("app_tls_certificate_not_after_timestamp_seconds", SELF, "12000x200 98400x50"),
        {100: {"CertificateExpires"}, 199: {"CertificateExpires"}, 203: QUIET},
    ),
    "a certificate in the middle of its time": Case(
        one("app_tls_certificate_not_before_timestamp_seconds", SELF, "-60000x50")
        | one("app_tls_certificate_not_after_timestamp_seconds", SELF, "60000x50"),
        {40: QUIET},
    ),
#% endif
    "another release is in trouble": Case(
        {
            series.replace('"prod"', '"staging"'): values
            for series, values in (
                TRAFFIC | failing("0+600x100") | one("app_log_lines_dropped_total", SELF, "0+9x60")
            ).items()
        },
        {50: QUIET},
    ),
}
