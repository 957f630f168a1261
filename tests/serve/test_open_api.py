"""Whatever a client makes up from the service's own description, nothing of it is a fault of the service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("schemathesis", reason="needs the extra `dev`")
pytest.importorskip("fastapi", reason="needs the extra `serve`")

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import Served, live

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
PATHS = ("/health", "/v1/about", "/v1/sample", "/v1/images", "/v1/scores", "/v1/held/{name}", "/metrics")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    with live(tmp_path_factory.mktemp("open_api"), budget=None) as found:
        yield found


def test_the_description_is_whole(served: tuple[Served, str]) -> None:
    told = served[0].app.openapi()
    assert set(told["paths"]) == set(PATHS)
    for path, verbs in told["paths"].items():
        for verb in verbs.values():
            assert verb["description"] and ("security" in verb or path == "/health")
    body = told["paths"]["/v1/images"]["post"]["requestBody"]["content"]
    assert body["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.filterwarnings("ignore")
def test_no_request_that_it_describes_is_a_fault(served: tuple[Served, str], path: str) -> None:
    here, url = served
    schema = schemathesis.openapi.from_dict(here.app.openapi())
    (verb,) = schema[path]
    every = list(hypothesis.HealthCheck)
    seen: list[int] = []

    @hypothesis.given(case=schema[path][verb].as_strategy())
    @hypothesis.settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=every)
    def one(case: schemathesis.Case) -> None:
        answer = case.call(base_url=url, headers=here.headers)
        case.validate_response(answer, checks=CHECKS)
        seen.append(answer.status_code)

    one()
    assert seen and 401 not in seen
