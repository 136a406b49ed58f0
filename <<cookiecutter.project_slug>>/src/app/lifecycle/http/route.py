"""The route of a request: its template, never its path."""

from app.lifecycle.asgi import Scope


def route_of(scope: Scope) -> str | None:
    """The template with all prefixes, such as ``/jobs/{job_id}``; None until it is routed.

    FastAPI keeps that of a route in an included router apart; a mounted application has its
    place in ``root_path``.
    """
    found = (scope.get("fastapi") or {}).get("effective_route_context") or scope.get("route")
    template = getattr(found, "path_format", None)
    if template is None:
        return None
    root = str(scope.get("root_path", ""))
    return root.removeprefix(scope.get("app_root_path", root)) + str(template)
