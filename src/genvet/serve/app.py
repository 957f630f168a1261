"""The service over HTTP: who asks, how much, and how an answer or a refusal is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Path, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genvet.core.errors import GenVetError
from genvet.core.printable import printable
from genvet.remote import JSON, LEFT
from genvet.serve import bodies, keys, page, problems
from genvet.serve.desk import Desk
from genvet.serve.ledger import Ledger
from genvet.serve.logs import log
from genvet.serve.problems import Problem
from genvet.serve.service import Answer, Service
from genvet.serve.store import Client
from genvet.serve.wire import BINARY

HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
SMALL = 1024
"""Bytes of a body that is no tensors."""
HELD = "Genvet-Held"
"""Under /v1/held/ and this name, the client collects what a person decides about."""
TIDY = 600.0
"""Seconds from one time that old charges and images are forgotten to the next."""
HEALTHY = 1.0
"""Seconds for which the database is taken to be as it was."""
_bearer = HTTPBearer(auto_error=False, description="A key of this service, as `genvet serve keys add` showed it.")


class Ask(BaseModel):
    """How many images of the service's own choosing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    n: Annotated[int, Field(ge=1, le=1024)]


class Told(BaseModel):
    """A problem, as RFC 9457 writes it."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""


def build(service: Service, close: Callable[[], None] = lambda: None) -> FastAPI:
    """The application; `close` runs when it ends, after all that was accepted was answered."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidied(service))
        yield
        tidying.cancel()
        await asyncio.to_thread(service.close)
        close()

    app = FastAPI(
        title="GenVet",
        description="A guarded generative model. Tensors travel as safetensors.",
        lifespan=lifespan,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_middleware(Border, service=service)
    _open(app, service)
    _asking(app, service)
    _operating(app, service)
    if isinstance(service.log, Ledger):
        told = {name: str(value) for name, value in service.about().items() if name != "classes"}
        rate = getattr(service.model, "rate", Desk.rate)
        app.include_router(page.router(Desk(service.store, service.reviews, service.log, told, rate)))
    return app


async def caller(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None
) -> Client:
    """Who asks; raises Problem 401 for a key that is missing, unknown or revoked."""
    if given is None:
        raise problems.nobody()
    service: Service = request.app.state.service
    client = await asyncio.to_thread(service.store.known, keys.digest(given.credentials))
    if client is None:
        raise problems.nobody()
    request.scope["genvet.client"] = client.name
    return client


async def operator(client: Annotated[Client, Depends(caller)]) -> Client:
    """The same, for what operators alone may see."""
    if client.role != "operator":
        raise Problem(403, "this is for operators")
    return client


Caller = Annotated[Client, Depends(caller)]
Operator = Annotated[Client, Depends(operator)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


def _open(app: FastAPI, service: Service) -> None:
    """What needs no key."""
    known: dict[str, Any] = {"until": 0.0, "well": False}

    @app.get("/health", responses={503: _problem("The database cannot be reached.")})
    async def health() -> dict[str, str]:
        """Whether the service can answer."""
        if time.monotonic() > known["until"]:
            known.update(well=await asyncio.to_thread(_reached, service), until=time.monotonic() + HEALTHY)
        if not known["well"] or service.closing:
            raise problems.away()
        return {"status": "ok"}


def _asking(app: FastAPI, service: Service) -> None:
    """What clients ask for."""

    @app.get("/v1/about", responses=_problems(401))
    async def about(client: Caller, response: Response) -> dict[str, Any]:
        """What is served: kind, shape, prior or classes, and how much may be asked at once."""
        response.headers.update(_left(client.left))
        return service.about()

    @app.post("/v1/sample", **_binary("how many", JSON, Ask.model_json_schema()))
    async def sample(request: Request, client: Caller, key: Key = None) -> Response:
        """Images for latents that the service draws."""
        async with service.turn(client):
            ask = await _ask(request, service)
            return _answer(await service.sample(client, ask.n, key))

    @app.post("/v1/images", **_binary("safetensors: `z` (n, dim), and one-hot `labels` (n, classes) where there are"))
    async def images(request: Request, client: Caller, key: Key = None) -> Response:
        """Images for latents of the client's own, where the policy lets clients choose."""
        async with service.turn(client):
            return _answer(await service.images(client, await _tensors(request, service), key))

    @app.get("/v1/held/{name}", **_binary())
    async def held(client: Caller, name: Annotated[str, Path(max_length=64)]) -> Response:
        """What a person has decided about the queries that were held: `status` stays 2 until somebody has."""
        return _answer(await service.held(client, name))

    @app.post("/v1/scores", **_binary("safetensors: `x` (n, channels, height, width) in [-1, 1]"))
    async def scores(request: Request, client: Caller, key: Key = None) -> Response:
        """What a classifier tells of images."""
        async with service.turn(client):
            return _answer(await service.scores(client, await _tensors(request, service), key))


def _operating(app: FastAPI, service: Service) -> None:
    """What operators look at, and what describes the service."""

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    @app.get("/metrics", response_class=Response, responses=text | _problems(401, 403))
    async def metrics(client: Operator) -> Response:
        """Counters and times for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/openapi.json", responses=_problems(401), include_in_schema=False)
    async def openapi(client: Caller) -> JSONResponse:
        return JSONResponse(app.openapi())


class Border:
    """Around all: headers of every answer, its time, one line in the log; and every error becomes a problem."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in HEADERS if one[0] not in there)]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            if status:
                raise
            await _written(_explained(error, scope))(scope, receive, noted)
        finally:
            self._told(scope, status, time.perf_counter() - began)

    def _told(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "other")  # never what was typed: it may hold anything, and there is no end of it
        self.service.metrics.requests.labels(path, str(status)).inc()
        self.service.metrics.seconds.labels(path).observe(seconds)
        told = {
            "path": path,
            "status": status,
            "method": printable(scope["method"], 10),
        }
        log().info("request", client=scope.get("genvet.client"), **told, ms=round(1000 * seconds, 1))


def _explained(error: Exception, scope: Scope) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, GenVetError):
        log().warning("refused", kind=type(error).__name__, said=printable(error.message, 400))
        return problems.told(error)
    log().error("fault", kind=type(error).__name__, exc_info=error)
    return Problem(500, "this is a fault of the service; nothing was charged")


def _written(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, headers=problem.headers, media_type=problems.KIND)


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: "there is nothing here", 405: "this is not how to ask here"}
    answer = _written(Problem(error.status_code, said.get(error.status_code, "this request does not parse")))
    answer.headers.update(error.headers or {})
    return answer


async def _unfit(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[0] if error.errors() else {"loc": (), "msg": ""}
    place = ".".join(str(part) for part in found["loc"])
    return _written(Problem(422, f"the request does not fit: {printable(place, 60)}: {printable(found['msg'], 100)}"))


async def _ask(request: Request, service: Service) -> Ask:
    """How many images are asked for. FastAPI would read a body of any length before it looked at the key."""
    try:
        ask = Ask.model_validate_json(await bodies.read(request, JSON, SMALL, service.policy.limits.seconds))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    if ask.n > service.most:
        raise Problem(422, f"so many are not answered at once: n from 1 to {service.most}")
    return ask


async def _tensors(request: Request, service: Service) -> bytes:
    limits = service.policy.limits
    return await bodies.read(request, BINARY, int(limits.megabytes * 2**20), limits.seconds)


def _answer(answer: Answer) -> Response:
    held = {HELD: answer.held} if answer.held else {}
    return Response(answer.body, media_type=BINARY, headers=_left(answer.left) | held)


def _left(left: int | None) -> dict[str, str]:
    return {} if left is None else {LEFT: str(left)}


async def _tidied(service: Service) -> None:
    """Now and then, forget what need not be remembered."""
    while True:
        await asyncio.sleep(TIDY)
        try:
            await asyncio.to_thread(service.store.forget)
            await asyncio.to_thread(service.reviews.forget)
        except (Problem, GenVetError) as error:
            log().warning("not tidied", kind=type(error).__name__)


def _reached(service: Service) -> bool:
    try:
        with service.store.reading() as connection:
            connection.exec_driver_sql("select 1 from clients limit 1")
    except Problem:
        return False
    return True


def _problem(what: str) -> dict[str, Any]:
    return {"description": what, "model": Told, "content": {problems.KIND: {"schema": {"$ref": TOLD}}}}


TOLD = "#/components/schemas/Told"
MEANING = {
    400: "The request does not parse.",
    401: "No key, or none that is valid.",
    402: "The budget does not pay for it.",
    403: "Not for this key, or not of this service.",
    404: "This service holds no such model.",
    408: "It took too long to arrive.",
    413: "Larger than the service takes.",
    415: "Of another kind than the service takes.",
    422: "It parses, and does not fit.",
    429: "More than the rate allows: Retry-After tells when.",
    451: "The guards refuse it.",
    503: "Too much at once, or the database is away: Retry-After tells when.",
    504: "It took too long.",
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _problem(MEANING[status]) for status in statuses}


TENSORS = {"type": "string", "format": "binary"}


def _binary(takes: str = "", kind: str = BINARY, schema: Mapping[str, Any] = TENSORS) -> dict[str, Any]:
    """How a route that answers with tensors is described, and the body that it reads itself."""
    headers = {
        LEFT: {"description": "Queries that the budget has left.", "schema": {"type": "integer"}},
        HELD: {"description": "Where what is held is collected: /v1/held/ and this.", "schema": {"type": "string"}},
    }
    told = "safetensors: `x`, `owner` (m,), `status` (n,); or scores, label or top"
    good = {"description": told, "content": {BINARY: {"schema": TENSORS}}, "headers": headers}
    every: dict[str, Any] = {"response_class": Response, "responses": {200: good, **_problems(*MEANING)}}
    if takes:
        body = {"description": takes, "required": True, "content": {kind: {"schema": schema}}}
        every["openapi_extra"] = {"requestBody": body}
    return every
