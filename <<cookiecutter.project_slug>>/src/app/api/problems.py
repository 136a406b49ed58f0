"""Every error of the API is problem details (RFC 9457), also those of FastAPI itself."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from app.lifecycle.deadline import DeadlineExceeded
from app.lifecycle.http.problem import MEDIA_TYPE, problem
from app.observability.logging import current_request, request_id_of

#: Where an OpenAPI document keeps its schemas.
COMPONENTS = "#/components/schemas/"
#: Statuses of responses without a body (RFC 9110), besides 1xx.
NO_BODY = (204, 205, 304)


class InvalidPart(BaseModel):
    """What is wrong with a part of a request."""

    location: list[str | int]
    message: str


class Problem(BaseModel):
    """An error of this service, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[InvalidPart] = []


#: What every route may answer besides its own response.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Error",
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{COMPONENTS}Problem"}}},
    }
}


def install(app: FastAPI) -> None:
    """Let ``app``, made with ``responses=RESPONSES``, answer errors with problem details."""
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DeadlineExceeded, _deadline_exceeded)
    app.add_exception_handler(Exception, _unexpected)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schema = Problem.model_json_schema(ref_template=f"{COMPONENTS}{{model}}")
            schemas.update(schema.pop("$defs"), Problem=schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101
    status, detail, headers = error.status_code, error.detail, error.headers
    if status < 200 or status in NO_BODY:
        return Response(status_code=status, headers=headers)
    if isinstance(detail, str):
        return answer(request, status, detail, headers)
    # FastAPI allows anything that JSON can express; RFC 9457 wants a text.
    return answer(request, status, "see errors", headers, errors=detail)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    # Not the value: it may be a secret, and the client knows it.
    errors = [{"location": list(one["loc"]), "message": one["msg"]} for one in error.errors()]
    return answer(request, 422, "the request is not valid", errors=errors)


async def _deadline_exceeded(request: Request, _error: Exception) -> JSONResponse:
    return answer(request, 504, "the request took longer than its deadline allows")


async def _unexpected(request: Request, _error: Exception) -> JSONResponse:
    """The traceback is in the log, under the same request id."""
    return answer(request, 500, "an unexpected error, which is in the log")


def answer(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> JSONResponse:
    known = current_request.get()
    request_id = known.request_id if known else request_id_of(request.headers.raw)
    content = problem(status, detail, request_id, **members)
    return JSONResponse(content, status, headers, media_type=MEDIA_TYPE)
