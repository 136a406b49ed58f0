"""The route of a request as its template, such as ``/items/{id}``; never the path itself."""

from collections.abc import Iterator
from typing import Any

from app.lifecycle.asgi import Scope

#: The route of a request that matched none.
UNMATCHED = "unmatched"
#: What a mount adds to its own path.
_REST = "/{path}"
#: How many prefixes of mounts are kept; one with parameters has any number of root paths.
_MOST_PREFIXES = 1000

#: Templates of mounts by router and root path.
_prefixes: dict[tuple[int, str], str] = {}


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
    return _prefix(scope) + template if "app_root_path" in scope else template


def _found(scope: Scope) -> str:
    """The template of a mount, or of a route of Starlette's that FastAPI does not name."""
    prefix, routes = _mounts(scope)
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    for route in _flat(routes):
        if getattr(route, "endpoint", None) is scope["endpoint"] and route.path_regex.match(path):
            return prefix + str(route.path_format)
    return prefix + _REST if prefix else UNMATCHED


def _prefix(scope: Scope) -> str:
    """The templates of the mounts that a request went through."""
    key = id(scope.get("router")), scope["root_path"]
    prefix = _prefixes.get(key)
    if prefix is None:
        prefix = _mounts(scope)[0]
        if len(_prefixes) < _MOST_PREFIXES:
            _prefixes[key] = prefix
    return prefix


def _mounts(scope: Scope) -> tuple[str, Any]:
    """The templates of the mounts, and the routes of the last."""
    root = scope.get("root_path", "")
    rest = root.removeprefix(scope.get("app_root_path", root)) + "/"
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
    """Each of ``routes``; those of a host or of FastAPI's included routers instead of these."""
    for route in routes:
        if contexts := getattr(route, "effective_route_contexts", None):
            for context in contexts():
                yield context.starlette_route or context
        elif hasattr(route, "host_regex"):
            yield from _flat(route.routes)
        else:
            yield route
