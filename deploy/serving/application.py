"""The Open Inference Protocol (KServe's V2, over HTTP with JSON).

    GET  /v2/health/live, /v2/health/ready, /v2/models/NAME/ready
    GET  /v2, /v2/models/NAME                  what serves, and a model's inputs and outputs
    POST /v2/models/NAME/infer                 {"inputs": [{"name", "shape", "datatype", "data"}, …]}

Models may be asked for as /v2/models/NAME/versions/1 too. Errors are {"error": sentence}.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from deploy.serving.served import Request, Served
from deploy.serving.versions import VERSION
from devices.errors import UsageError

BINARY = "Inference-Header-Content-Length"
"""The header of the protocol's extension for tensors in binary."""
NO_BINARY = "Tensors in binary are not served; send their data as JSON."


def application(served: Mapping[str, Served]) -> FastAPI:
    """The web application of loaded models, by name."""
    # Clients of the protocol do not all say that what they send is JSON.
    app = FastAPI(title="cutonce", strict_content_type=False)
    app.include_router(_server())
    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        app.include_router(_models(served), prefix=prefix)

    _say_errors(app)
    return app


class UnknownModel(UsageError):
    """A model or version that is not served."""


def _say_errors(app: FastAPI) -> None:
    """All of them as the protocol has them."""

    @app.exception_handler(UsageError)
    def unusable(_: Any, error: UsageError) -> JSONResponse:
        code = 404 if isinstance(error, UnknownModel) else 400
        return JSONResponse({"error": str(error)}, code)

    @app.exception_handler(RequestValidationError)
    def invalid(asked: HttpRequest, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = NO_BINARY if BINARY in asked.headers else f"{where}: {first['msg']}."
        return JSONResponse({"error": said}, 400)

    @app.exception_handler(HTTPException)
    def refused(asked: HttpRequest, error: HTTPException) -> JSONResponse:
        said = NO_BINARY if BINARY in asked.headers else str(error.detail)
        return JSONResponse({"error": said}, error.status_code)

    @app.exception_handler(Exception)
    def failed(_: Any, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 500)


def _server() -> APIRouter:
    """Coroutines, which answer while all threads wait for models."""
    router = APIRouter()

    @router.get("/v2")
    async def about() -> dict[str, Any]:
        version = importlib.metadata.version("cutonce")
        return {"name": "cutonce", "version": version, "extensions": []}

    @router.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/v2/health/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}  # everything was loaded before anything is answered

    return router


def _models(served: Mapping[str, Served]) -> APIRouter:
    router = APIRouter()

    def known(name: str, version: str) -> Served:
        if name not in served or version != VERSION:
            raise UnknownModel(
                f"There is no model {name!r} of version {version}; there is {', '.join(served)}, of "
                f"version {VERSION}."
            )
        return served[name]

    @router.get("")
    async def metadata(name: str, version: str = VERSION) -> dict[str, Any]:
        return known(name, version).metadata(name)

    @router.get("/ready")
    async def ready(name: str, version: str = VERSION) -> dict[str, Any]:
        known(name, version)
        return {"name": name, "ready": True}

    # No coroutine: it runs in a thread, so that the event loop is free while a model works.
    @router.post("/infer")
    def infer(name: str, request: Request, version: str = VERSION) -> dict[str, Any]:
        return known(name, version).infer(name, request)

    return router
