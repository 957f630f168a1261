"""The guarded service over the wire: what is answered, what is charged, and what nobody may see."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
import time
import wave
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import httpx
import torch
from safetensors.torch import load, save
from serving import DIM, OCTETS, SHAPE, Served, ask, classifier, generator, images, keyed, live, serving, z

from genvet.core.errors import AccessDenied, BadInput, BudgetSpent
from genvet.core.queries import Queries, Samples
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.defences.query.gaussian_noise import GaussianNoise
from genvet.defences.query.linear_interpolation import LinearInterpolation
from genvet.defences.query.rounding import Rounding
from genvet.remote import BINARY, JSON, KEY, LEFT, RemoteQueries, RemoteScores
from genvet.serve import keys
from genvet.serve.service import Stands
from genvet.serve.tampering import verify


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as found:
        yield found


def test_images_are_those_of_the_generator(served: Served) -> None:
    answer = images(served, z(5))
    told = load(answer.content)
    assert answer.status_code == 200 and answer.headers[LEFT] == "995"
    assert torch.allclose(told["x"], generator()(z(5)), atol=1e-6)
    assert told["owner"].tolist() == list(range(5)) and told["status"].tolist() == [0] * 5
    assert answer.headers["Cache-Control"] == "no-store" and "server" not in answer.headers
    row = served.log.latest(1)[0].said
    assert (row["client"], row["asked"], row["answered"], row["charged"]) == ("client0", 5, 5, 5)


def test_nobody_is_answered_without_a_key_but_health(served: Served) -> None:
    assert ask(served, "GET", "/health").json() == {"status": "ok"}
    paths = [("GET", "/v1/about"), ("POST", "/v1/sample"), ("POST", "/v1/images"), ("POST", "/v1/scores")]
    paths += [("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/v1/held/x")]
    keys.revoked(served.store, "operator0")
    for method, path in paths:
        for secret in ("", "Bearer ", "Bearer genvet_x", "Basic eDp5", f"Bearer {served.operator}", "Bearer \xff"):
            answer = ask(served, method, path, headers={"Authorization": secret.encode("latin1")})
            assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer", (path, secret)
            assert answer.headers["content-type"] == "application/problem+json"
    assert ask(served, "GET", "/metrics").status_code == 403, "clients are no operators"
    assert all("client" not in row.said or not row.said.get("charged") for row in served.log.latest(9))


@pytest.mark.parametrize(("path", "kind"), [("sample", JSON), ("images", BINARY), ("scores", BINARY)])
def test_a_body_is_not_read_before_the_key(served: Served, path: str, kind: str) -> None:
    """Else a stranger could fill the memory with one, or never end it."""
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(path)
        yield b'{"n": 1}'

    headers = {"Authorization": "Bearer genvet_x", "Content-Type": kind}
    assert ask(served, "POST", f"/v1/{path}", content=body(), headers=headers).status_code == 401 and not read
    ask(served, "POST", f"/v1/{path}", content=body(), headers={"Content-Type": kind})
    assert read == [path]


def test_a_request_that_is_sent_again_is_charged_once_and_answered_the_same(served: Served) -> None:
    first, again = (images(served, z(3), key="k") for _ in range(2))
    assert first.content == again.content and again.headers[LEFT] == "997"
    assert images(served, z(3, 1), key="k").status_code == 422, "another request under the same key"
    one, two, three = (
        ask(served, "POST", "/v1/sample", json={"n": 4}, headers={"Idempotency-Key": k}) for k in ("a", "a", "b")
    )
    assert one.content == two.content != three.content
    served.service._kept.clear()
    kept_nowhere = ask(served, "POST", "/v1/sample", json={"n": 4}, headers={"Idempotency-Key": "a"})
    assert kept_nowhere.content == one.content, "a replay brings no new images"
    assert served.store.clients()[0].used == 3 + 4 + 4


def test_budgets_and_rates_are_told(tmp_path: Path) -> None:
    with serving(tmp_path, budget=5, rate=4.0) as served:
        fast = images(served, z(5))
        assert fast.status_code == 429 and int(fast.headers["Retry-After"]) == 1
        assert images(served, z(4)).headers[LEFT] == "1"
        with served.store.writing() as connection:
            connection.exec_driver_sql("update clients set tokens = coalesce(burst, 0)")
        assert images(served, z(2)).status_code == 402
        assert served.store.clients()[0].used == 4


BAD: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "no safetensors": (b"hello", 400),
    "a long header": ((1 << 62).to_bytes(8, "little") + b"{}", 400),
    "no rows": (save({"z": torch.zeros(0, DIM)}), 422),
    "too many rows": (save({"z": torch.zeros(65, DIM)}), 422),
    "another width": (save({"z": torch.zeros(2, DIM + 1)}), 422),
    "not finite": (save({"z": torch.full((2, DIM), torch.nan)}), 422),
    "whole numbers": (save({"z": torch.zeros(2, DIM, dtype=torch.long)}), 422),
    "other names": (save({"z": torch.zeros(2, DIM), "w": torch.zeros(2)}), 422),
    "labels": (save({"z": torch.zeros(2, DIM), "labels": torch.zeros(2, 3)}), 422),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies_are_problems_and_cost_nothing(served: Served, name: str) -> None:
    body, status = BAD[name]
    answer = ask(served, "POST", "/v1/images", content=body, headers=OCTETS)
    told = answer.json()
    assert (answer.status_code, told["status"]) == (status, status) and served.store.clients()[0].used == 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert "/" not in told["detail"] and "Traceback" not in answer.text and "torch" not in answer.text


def test_other_requests_that_do_not_fit(served: Served) -> None:
    for json_body in ({}, {"n": 0}, {"n": 65}, {"n": 1e9}, {"n": "3"}, {"n": True}, {"n": 1, "m": 2}, []):
        assert ask(served, "POST", "/v1/sample", json=json_body).status_code == 422, json_body
    assert ask(served, "POST", "/v1/images", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert ask(served, "GET", "/v1/images").status_code == 405 and ask(served, "GET", "/v2/").status_code == 404
    assert ask(served, "GET", "/v1/about/").status_code == 404, "no redirects"
    assert ask(served, "POST", "/v1/scores", content=b"x", headers=OCTETS).status_code == 404
    assert images(served, z(1), key="k" * 300).status_code == 422
    assert ask(served, "POST", "/v1/sample", content=b'{"n": 1}', headers=OCTETS).status_code == 415
    assert ask(served, "POST", "/v1/sample").status_code == 415
    for content, status in ((b'{"n": 1}' + b" " * 2000, 413), (b"[" * 1000, 422), (b'{"n": 1', 422), (b"", 422)):
        assert ask(served, "POST", "/v1/sample", content=content, headers={"Content-Type": JSON}).status_code == status


def test_a_body_larger_than_the_policy_allows_is_not_read(tmp_path: Path) -> None:
    with serving(tmp_path, policy={"limits": {"megabytes": 0.01}, "latents": {"source": "client"}}) as served:
        assert images(served, z(1000)).status_code == 413 and images(served, z(40)).status_code == 422
        assert images(served, z(served.service.most)).status_code == 200 and served.service.most < 64


def test_labels_are_one_hot(tmp_path: Path) -> None:
    with serving(tmp_path, generator(3)) as served:
        labels = torch.eye(3)[[0, 2]]
        told = load(images(served, z(2), labels=labels).content)
        assert torch.allclose(told["x"], generator(3)(z(2), labels), atol=1e-6)
        for bad in ({}, {"labels": labels * 0.5}, {"labels": labels[:, :2].contiguous()}, {"labels": labels[:1]}):
            assert images(served, z(2), **bad).status_code == 422


def test_a_service_that_draws_itself_takes_no_latents(tmp_path: Path) -> None:
    with live(tmp_path, policy={"latents": {"source": "server"}}) as (served, url), keyed(served):
        view = RemoteQueries(url)
        with pytest.raises(AccessDenied, match="itself"):
            view.ask(z(1))
        assert images(served, z(1)).status_code == 403
        first = view.sample(70, Rng(1))
        assert first.shape == (70, *SHAPE) and len(first.flatten(1).unique(dim=0)) == 70
        assert torch.equal(first, view.sample(70, Rng(1))) and not torch.equal(first, view.sample(70, Rng(2)))
        assert served.store.clients()[0].used == 140


def test_the_client_is_a_view_like_any_other(tmp_path: Path) -> None:
    with live(tmp_path) as (served, url), keyed(served):
        view, here = RemoteQueries(url, answered=tmp_path / "run" / "a.sqlite"), generator().seen_as(Queries)
        assert isinstance(view, Queries) and isinstance(view, Samples)
        assert view.shape == here.shape and view.latent == here.latent
        latents = z(130)
        assert torch.allclose(view(latents), here(latents), atol=1e-6) and (view.used, view.left) == (130, 870)
        assert torch.allclose(view.sample(70, Rng(5)), here.sample(70, Rng(5)), atol=1e-6)
        view(latents[:1])
        assert view.used == 201, "asking again is another query"
        RemoteQueries(url)(latents[:1]), RemoteQueries(url)(latents[:1])
        assert served.store.clients()[0].used == 203, "two that ask the same are two"
        again = RemoteQueries(url, answered=tmp_path / "run" / "a.sqlite", budget=0)
        assert torch.allclose(again(latents), here(latents), atol=1e-6) and again.used == 0
        with pytest.raises(BudgetSpent):
            again(z(1, 9))
        with pytest.raises(BudgetSpent):
            RemoteQueries(url)(z(900, 2))
    with pytest.MonkeyPatch.context() as patch, live(tmp_path / "b") as (_, url):
        patch.setenv(KEY, "wrong")
        with pytest.raises(AccessDenied, match="key"):
            RemoteQueries(url)


def test_scores_reach_the_client_that_there_was(tmp_path: Path) -> None:
    x = torch.rand(70, *SHAPE, generator=Rng(1).block()) * 2 - 1
    true = classifier()(x)
    with live(tmp_path, classifier()) as (served, url), keyed(served):
        with pytest.raises(BadInput, match="no generator") as error:
            RemoteQueries(url)
        assert "genvet attack mirror_black_box" in error.value.hint
        view = RemoteScores(url)
        assert torch.allclose(view(x), true, atol=1e-6) and (view.used, view.left) == (70, 930)
    for kind, told in (("label", 70), ("top_k", 140)):
        policy = {"answers": {"kind": kind, "k": 2}}
        with live(tmp_path / kind, classifier(), policy=policy) as (served, url), keyed(served):
            found = RemoteScores(url)(x)
            assert int((found > 0).sum()) == told and torch.equal(found.argmax(1), true.argmax(1))
    rounding = Stands(Rounding(decimals=1), Nothing())
    with live(tmp_path / "rounded", classifier(), guards=[rounding]) as (served, url), keyed(served):
        assert torch.allclose(RemoteScores(url)(x), true.round(decimals=1), atol=1e-6)


def test_guards_stand_before_the_model_and_remember_each_client_alone(tmp_path: Path) -> None:
    noise = Stands(GaussianNoise(sigma=0.1), Nothing())
    with serving(tmp_path / "noise", guards=[noise]) as served:
        x = load(images(served, z(4)).content)["x"]
        assert 0.05 < float((x - generator()(z(4))).std()) < 0.15
    way = Stands(LinearInterpolation(far=1.0), Nothing())
    with serving(tmp_path / "way", guards=[way]) as served:
        images(served, z(1, 1))
        mine = served.key
        served.key = keys.added(served.store, "other", budget=9)
        images(served, z(1, 2))
        served.key = mine
        x = load(images(served, z(1, 3)).content)["x"]
        assert torch.allclose(x, generator()(z(1, 1)), atol=1e-5), "the query before is this client's"


def test_concurrent_requests_share_batches_and_get_their_own_answers(tmp_path: Path) -> None:
    with live(tmp_path, budget=300) as (served, url):
        sizes: list[int] = []
        served.service.batcher.on_batch = lambda rows, seconds: sizes.append(rows)
        client = httpx.Client(headers=served.headers | OCTETS, timeout=60)

        def one(i: int) -> int:
            answer = client.post(f"{url}/v1/images", content=save({"z": z(2, i)}))
            if answer.status_code == 200:
                assert torch.allclose(load(answer.content)["x"], generator()(z(2, i)), atol=1e-5)
            return answer.status_code

        with ThreadPoolExecutor(16) as pool:
            told = list(pool.map(one, range(200)))
        client.close()
        assert sorted(told) == [200] * 150 + [402] * 50 and served.store.clients()[0].used == 300
        assert max(sizes) > 2 and max(sizes) <= 64, "some waited together"


def test_many_clients_spend_their_own_budgets_to_the_query(tmp_path: Path) -> None:
    """40 clients with 3 queries each, asked for 5: 120 are paid for, and each client gets 3."""
    with live(tmp_path) as (served, url):
        secrets = [keys.added(served.store, f"c{i}", budget=3) for i in range(40)]
        client = httpx.Client(headers=OCTETS, timeout=60)

        def one(i: int) -> int:
            headers = {"Authorization": f"Bearer {secrets[i % 40]}"}
            return client.post(f"{url}/v1/images", content=save({"z": z(1, i)}), headers=headers).status_code

        with ThreadPoolExecutor(12) as pool:
            told = list(pool.map(one, range(200)))
        client.close()
        assert told.count(200) == 120 and told.count(402) == 80
        assert {row.used for row in served.store.clients() if row.name.startswith("c") and row.budget == 3} == {3}
        rows = [row.said for row in served.log.latest(500, kinds=["answer"])]
        assert sum(row["charged"] for row in rows) == 120 == len(rows)


def test_what_fails_is_a_problem_without_a_stack_and_costs_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("/secret/path broke")

    monkeypatch.setattr(type(served.service.model.module), "forward", broken)
    answer = images(served, z(1))
    assert answer.status_code == 500 and "secret" not in answer.text and "Traceback" not in answer.text
    assert served.store.clients()[0].used == 0


def test_a_request_that_takes_too_long_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, policy={"limits": {"seconds": 0.05}, "latents": {"source": "client"}}) as served:
        forward = type(served.service.model.module).forward
        monkeypatch.setattr(type(served.service.model.module), "forward", lambda *a: (time.sleep(0.2), forward(*a))[1])
        answer = images(served, z(1))
        assert answer.status_code == 504 and "Retry-After" in answer.headers
        assert served.store.clients()[0].used == 0


def test_no_more_wait_than_the_policy_allows(tmp_path: Path) -> None:
    with serving(tmp_path, policy={"limits": {"waiting": 1}, "latents": {"source": "client"}}) as served:
        served.service.waiting = 1
        answer = images(served, z(1))
        assert answer.status_code == 503 and "Retry-After" in answer.headers


def test_one_client_does_not_keep_the_others_out(tmp_path: Path) -> None:
    """Whoever begins requests and ends them slowly has only so many of the places."""
    with serving(tmp_path, policy={"limits": {"each": 2}, "latents": {"source": "client"}}) as served:
        slow, statuses = Event(), list[int]()

        async def body() -> AsyncIterator[bytes]:
            while not slow.is_set():
                await asyncio.sleep(0.01)
            yield b"x"

        def begun() -> None:
            statuses.append(ask(served, "POST", "/v1/images", content=body(), headers=OCTETS).status_code)

        threads = [Thread(target=begun) for _ in range(2)]
        for thread in threads:
            thread.start()
        while served.service.waiting < 2:
            time.sleep(0.01)
        answer = images(served, z(1))
        assert answer.status_code == 429 and "Retry-After" in answer.headers
        other = {"Authorization": f"Bearer {keys.added(served.store, 'other')}"}
        assert ask(served, "POST", "/v1/images", content=save({"z": z(1)}), headers=OCTETS | other).status_code == 200
        slow.set()
        for thread in threads:
            thread.join()
        assert statuses == [400, 400] and images(served, z(1)).status_code == 200


def test_the_database_may_go_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr("genvet.serve.store.PATIENCE", 0.05)
    with serving(tmp_path) as served:
        images(served, z(1))
        path = tmp_path / "service.sqlite"
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("begin immediate")
        answer = images(served, z(1))
        assert answer.status_code == 503 and answer.headers["Retry-After"] == "5" and "sqlite" not in answer.text
        holder.close()
        assert images(served, z(1)).headers[LEFT] == "998", "what was not answered was not charged"


def test_keys_never_reach_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with live(tmp_path, level=logging.INFO) as (served, url), keyed(served):
        RemoteQueries(url)(z(2))
        httpx.get(f"{url}/v1/about?key={served.key}", headers={"Authorization": f"Bearer {served.operator}x"})
        httpx.get(f"{url}/{served.key}", headers=served.headers)
        httpx.post(f"{url}/v1/images", headers=served.headers, content=served.key)
        held = [served.key, served.operator, keys.digest(served.key)]
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    told = [json.loads(line) for line in lines]
    asked = [one for one in told if one["event"] == "request"]
    assert len(asked) == 5 and asked[1]["client"] == "client0" and asked[1]["path"] == "/v1/images"
    assert not any(secret in line for secret in held for line in lines)


def test_what_prometheus_reads(served: Served) -> None:
    images(served, z(3))
    text = ask(served, "GET", "/metrics", headers={"Authorization": f"Bearer {served.operator}"}).text
    assert 'genvet_queries_total{outcome="answered"} 3.0' in text and "genvet_charged_total 3.0" in text
    assert 'genvet_requests_total{path="/v1/images",status="200"} 1.0' in text and "client0" not in text


def test_what_was_accepted_is_answered_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import Blobs

    forward = Blobs.forward
    monkeypatch.setattr(Blobs, "forward", lambda *a: (time.sleep(0.3), forward(*a))[1])
    with ThreadPoolExecutor(1) as pool:
        with live(tmp_path) as (served, url):
            asked = pool.submit(
                httpx.post, f"{url}/v1/images", headers=served.headers | OCTETS, content=save({"z": z(1)}), timeout=20
            )
            while not served.service.waiting:
                time.sleep(0.01)
        assert asked.result().status_code == 200


def test_what_is_held_waits_for_a_person_and_is_collected(tmp_path: Path) -> None:
    policy = {"latents": {"source": "client", "otherwise": "hold"}}
    with serving(tmp_path, policy=policy) as served:
        odd = torch.cat([z(2), 9 * z(2, 1)])
        answer = images(served, odd, key="k")
        told, place = load(answer.content), f"/v1/held/{answer.headers['Genvet-Held']}"
        assert told["status"].tolist() == [0, 0, 2, 2] and told["owner"].tolist() == [0, 1]
        assert answer.headers[LEFT] == "996" and images(served, odd, key="k").headers["Genvet-Held"] in place
        assert load(ask(served, "GET", place).content)["status"].tolist() == [2, 2]
        first, second = served.service.reviews.waiting()
        served.service.reviews.decide(first.id, "approved", "boss")
        served.service.reviews.decide(second.id, "rejected", "boss")
        told = load(ask(served, "GET", place).content)
        assert told["status"].tolist() == [0, 1] and torch.allclose(told["x"], generator()(odd[2:3]), atol=1e-5)
        served.key = keys.added(served.store, "other", budget=9)
        assert ask(served, "GET", place).status_code == 404, "another client's"


def test_held_sounds_are_heard_at_their_own_rate(tmp_path: Path) -> None:
    model = replace(generator(), shape=(1, 64), metadata={"genvet.data": '{"rate": 8000}'})
    model.module.register_forward_hook(lambda module, given, x: x.flatten(2))
    with serving(tmp_path, model, policy={"latents": {"source": "client", "otherwise": "hold"}}) as served:
        assert load(images(served, 9 * z(1)).content)["status"].tolist() == [2]
        entered = ask(served, "POST", "/desk/in", data={"key": served.operator})
        page = ask(served, "GET", "/desk", headers={"Cookie": entered.headers["set-cookie"].partition(";")[0]}).text
        (sound,) = re.findall(r"data:audio/wav;base64,([A-Za-z0-9+/=]+)", page)
        with wave.open(io.BytesIO(base64.b64decode(sound))) as told:
            assert (told.getframerate(), told.getnframes()) == (8000, 64)


def test_latents_that_fail_are_blocked_and_charged(served: Served) -> None:
    told = load(images(served, torch.cat([torch.ones(1, DIM) * 4, z(2)])).content)
    assert told["status"].tolist() == [1, 0, 0] and told["owner"].tolist() == [1, 2]
    assert torch.allclose(told["x"], generator()(z(2)), atol=1e-6) and served.store.clients()[0].used == 3


def test_a_full_disk_is_told_and_charges_nothing(served: Served) -> None:
    import sqlalchemy as sa

    def full(connection: sa.Connection) -> None:
        connection.exec_driver_sql("pragma max_page_count=1")

    sa.event.listen(served.store.engine, "begin", full)
    for i in range(400):
        answer = images(served, z(2, i))
        if answer.status_code != 200:
            break
    sa.event.remove(served.store.engine, "begin", full)
    assert answer.status_code == 503 and "disk" in answer.json()["detail"] and "Retry-After" in answer.headers
    assert served.store.clients()[0].used == 2 * i
    with served.store.writing() as connection:
        connection.exec_driver_sql("pragma max_page_count=1000000")
    assert images(served, z(1)).status_code == 200


def test_a_log_that_was_tampered_with_stops_the_service(served: Served) -> None:
    images(served, z(1))
    with served.store.writing() as connection:
        connection.exec_driver_sql("update ledger set body = '{}', mac = zeroblob(32)")
    answer = images(served, z(1))
    assert answer.status_code == 503 and served.store.clients()[0].used == 1


def test_two_workers_on_one_database_spend_one_budget(tmp_path: Path, database: str) -> None:
    """90 requests of 2 queries to two services, of which the budget pays for 50."""
    first = live(tmp_path / "a", url=database, budget=100)
    with first as (served, one), live(tmp_path / "b", url=database) as (_, two):
        client = httpx.Client(headers=served.headers | OCTETS, timeout=60)

        def asked(i: int) -> int:
            return client.post(f"{(one, two)[i % 2]}/v1/images", content=save({"z": z(2, i)})).status_code

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(asked, range(90)))
        client.close()
        assert sorted(told) == [200] * 50 + [402] * 40 and served.store.clients()[0].used == 100
        rows = [row.said for row in served.log.latest(500, kinds=["answer"])]
        assert len(rows) == 50 and verify(served.store.engine, bytes(32), tmp_path / "a" / "head").sound
