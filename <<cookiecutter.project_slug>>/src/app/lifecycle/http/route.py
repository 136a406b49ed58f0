"""The route of a request as its template, such as ``/items/{id}``; never the path itself."""

from collections.abc import Iterator
from typing import Any

from app.lifecycle.asgi import Scope

#: The route of a request that matched none.
UNMATCHED = "unmatched"
#: What a mount adds to its own path.
_REST = "/{path}"


def route_of(scope: Scope) -> str:
    """The template of the route, with the prefixes of included routers and mounts.

    Valid when the handler is done: the router fills in ``scope``. UNMATCHED if there is no
    route, or a middleware passed on a copy of the scope.
    """
    if "endpoint" not in scope:
        return UNMATCHED
    route = scope.get("route")
    # FastAPI: what an included router makes of a route that knows nothing of it.
    context = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None and context.original_route is route:
        template: str = context.path_format
    elif route is not None and not hasattr(route, "routes"):
        template = route.path_format
    else:
        return _found(scope)
    root = scope.get("app_root_path")
    return template if root is None else _mounts(scope, root)[0] + template


def _found(scope: Scope) -> str:
    """The template of a mount, or of a route of Starlette's that FastAPI does not name."""
    root = scope.get("app_root_path", scope.get("root_path", ""))
    prefix, routes = _mounts(scope, root)
    for route in _flat(routes):
        if getattr(route, "endpoint", None) is scope["endpoint"]:
            return prefix + str(route.path_format)
    return prefix + _REST if prefix else UNMATCHED


def _mounts(scope: Scope, root: str) -> tuple[str, Any]:
    """The templates of the mounts that a request went through, and the routes of the last."""
    rest = scope.get("root_path", "").removeprefix(root) + "/"
    template, routes = "", getattr(scope.get("router"), "routes", ())
    while rest != "/":
        for route in _flat(routes):
            regex = getattr(route, "path_regex", None) if hasattr(route, "routes") else None
            if regex is not None and (found := regex.match(rest)):
                template += route.path
                rest, routes = "/" + found["path"], route.routes
                break
        else:
            return template, ()
    return template, routes


def _flat(routes: Any) -> Iterator[Any]:
    """Each of ``routes``, and those of FastAPI's included routers instead of these."""
    for route in routes:
        if contexts := getattr(route, "effective_route_contexts", None):
            for context in contexts():
                yield context.starlette_route or context
        elif hasattr(route, "host_regex"):
            yield from _flat(route.routes)
        else:
            yield route
