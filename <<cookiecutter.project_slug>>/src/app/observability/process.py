"""Metrics of the process, read when they are asked for: memory, descriptors, threads, GC.

The names are those of prometheus-client. What comes from ``/proc`` is left out where there is
none, as on macOS.
"""

import gc
import platform
import resource
import time
from pathlib import Path

from app.observability.metrics import Labels, Metric, by, counter, gauge

#: Unix time of the import.
STARTED = time.time()

_PROC = Path("/proc/self")


def process_metrics() -> list[Metric]:
    """The current values."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return [
        gauge(
            "process_start_time_seconds",
            "Unix time at which the process started, but for its imports.",
            STARTED,
        ),
        counter(
            "process_cpu_seconds_total",
            "CPU time of the process, in user and system mode.",
            time.process_time(),
        ),
        gauge("process_max_fds", "Limit of open file descriptors.", limit),
        *_from_proc(),
        Metric("python_info", "gauge", "The Python that runs the service.", [(_python(), 1)]),
        *_garbage_collector(),
    ]


def _from_proc() -> list[Metric]:
    try:
        # What comes after the name of the program, which may have spaces and brackets.
        fields = (_PROC / "stat").read_text("utf-8").rpartition(")")[2].split()
        threads, virtual, pages = int(fields[17]), int(fields[20]), int(fields[21])
        descriptors = len([*(_PROC / "fd").iterdir()]) - 1  # without that of the listing
    except (OSError, IndexError, ValueError):
        return []
    resident = pages * resource.getpagesize()
    return [
        gauge("process_resident_memory_bytes", "Memory of the process in RAM (RSS).", resident),
        gauge("process_virtual_memory_bytes", "Address space of the process.", virtual),
        gauge("process_open_fds", "Open file descriptors.", descriptors),
        gauge("process_threads", "Threads of the process.", threads),
    ]


def _python() -> dict[str, str]:
    major, minor, patch = platform.python_version_tuple()
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "major": major,
        "minor": minor,
        "patchlevel": patch,
    }


def _garbage_collector() -> list[Metric]:
    stats = list(enumerate(gc.get_stats()))

    def each(key: str) -> list[tuple[Labels, float]]:
        return by("generation", {str(generation): one[key] for generation, one in stats})

    return [
        Metric(
            "python_gc_collections_total",
            "counter",
            "Runs of the garbage collector.",
            each("collections"),
        ),
        Metric(
            "python_gc_objects_collected_total",
            "counter",
            "Objects that the garbage collector has freed.",
            each("collected"),
        ),
        Metric(
            "python_gc_objects_uncollectable_total",
            "counter",
            "Objects that the garbage collector could not free.",
            each("uncollectable"),
        ),
    ]
