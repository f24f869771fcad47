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

from deploy.serving.served import Request, Served
from deploy.serving.versions import VERSION
from devices.errors import UsageError


def application(served: Mapping[str, Served]) -> FastAPI:
    """The web application of loaded models, by name."""
    # Clients of the protocol do not all say that what they send is JSON.
    app = FastAPI(title="cutonce", strict_content_type=False)
    app.include_router(_server())
    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        app.include_router(_models(served), prefix=prefix)

    @app.exception_handler(LookupError)
    def missing(_: Any, error: LookupError) -> JSONResponse:
        return JSONResponse({"error": error.args[0]}, 404)

    @app.exception_handler(UsageError)
    def unusable(_: Any, error: UsageError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Any, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return JSONResponse({"error": f"{where}: {first['msg']}."}, 400)

    return app


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
            raise LookupError(
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
