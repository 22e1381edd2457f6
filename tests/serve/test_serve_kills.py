"""A server that is killed has lost nothing that it had acknowledged; one that is ended finishes what it has begun."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from service_here import drawing, sent, server, shots  # noqa: E402

from quickstudy.serve.study import Study  # noqa: E402

KILLS = int(os.environ.get("QUICKSTUDY_SERVER_KILLS", "1"))
ROUNDS, LEAST = 50, 4  # of adding, in all and before each kill, so that it comes in the midst of them


@pytest.mark.parametrize("workers", [1, 4])
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path, workers: int) -> None:
    """Four clients add to a model each and to one that all share, until the server is killed; then it is looked at by
    the next server."""
    rng = random.Random(workers)
    told: dict[str, set[str]] = {}
    lock = threading.Lock()
    each = max(ROUNDS // KILLS, LEAST)

    def add(url: str, number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            try:
                own = client.post("/api/models", json={}).json()["id"]
                with lock:
                    told[own] = set()
                for i in range(each):
                    for id in (own, shared):
                        files = sent(drawing(i % 3, 50 * number + i))
                        answer = client.post(f"/api/models/{id}/examples", files=files, data={"labels": f"c{i % 3}"})
                        assert answer.status_code == 200, answer.text
                        with lock:
                            told[id] |= {answer.json()["examples"][-1]["id"]} if id == own else set()
                            told["of " + id] = told.get("of " + id, set()) | {
                                one["id"] for one in answer.json()["examples"]
                            }
            except (httpx.TransportError, httpx.RemoteProtocolError):
                return  # killed

    shared = ""
    for _ in range(KILLS):
        with server(tmp_path / "store", "--workers", str(workers), "--limits.examples", "100000") as here:
            if not shared:
                shared = httpx.post(f"{here.url}/api/models", json={"name": "shared"}).json()["id"]
                told[shared] = set()
            clients = [threading.Thread(target=add, args=(here.url, i)) for i in range(4)]
            for one in clients:
                one.start()
            time.sleep(rng.uniform(0.5, 3))
            here.kill()
            for one in clients:
                one.join()
    held = {path.stem: Study.of(path.read_bytes()) for path in (tmp_path / "store").glob("*/*.study")}
    ids = {id for id in told if not id.startswith("of ")}
    assert ids <= held.keys()
    for id in ids:
        assert told.get("of " + id, set()) | told[id] <= set(held[id].live)
    assert sum(len(study.live) for study in held.values()) > KILLS
    with (
        server(tmp_path / "store", "--limits.examples", "100000") as here,
        httpx.Client(base_url=here.url, timeout=60) as client,
    ):
        listed = [one["id"] for one in client.get("/api/models").json()["models"]]
        assert ids <= set(listed) == held.keys()
        for id in listed:  # none that nothing can use
            assert len(client.get(f"/api/models/{id}").json()["examples"]) == len(held[id].live)
            added = client.post(f"/api/models/{id}/examples", files=sent(drawing(0, 1)), data={"labels": "c0"})
            assert added.status_code == 200


def test_one_process_sees_what_another_has_changed(tmp_path: Path) -> None:
    """Every connection may meet another process, and each answer follows from all that was acknowledged before."""
    drawings, labels = shots(2, 2)
    with server(tmp_path / "store", "--workers", "2") as here:

        def once(method: str, path: str, **given: Any) -> Any:
            answer = httpx.request(method, here.url + path, timeout=60, **given)  # a connection of its own
            assert answer.status_code < 300, answer.text
            return answer.json()

        id = once("POST", "/api/models", files=sent(*drawings), data={"labels": labels})["id"]
        for i in range(8):
            state = once(
                "POST", f"/api/models/{id}/examples", files=sent(drawing(i % 2, 70 + i)), data={"labels": f"n{i % 2}"}
            )
            assert len(state["examples"]) == 5 + i
            answer = once("POST", f"/api/models/{id}/ask", files=sent(drawing(i % 2, 70 + i)))["answers"][0]
            assert answer["nearest"][0]["id"] == state["examples"][-1]["id"]
        for i in range(8):
            assert len(once("POST", f"/api/models/{id}/undo")["examples"]) == 11 - i
        once("DELETE", f"/api/models/{id}")
        assert [httpx.get(f"{here.url}/api/models/{id}").status_code for _ in range(6)] == [404] * 6
        text = "".join(httpx.get(f"{here.url}/metrics").text for _ in range(3))
        assert 'method="POST",route="/api/models/{model}/undo",status="200"} 8.0' in text  # of all processes


def test_a_request_that_has_begun_is_finished_before_the_end(tmp_path: Path) -> None:
    with server(tmp_path / "store") as here, httpx.Client(base_url=here.url, timeout=60) as client:
        drawings, labels = shots(5, 20)
        answers: list[Any] = []
        files = sent(*drawings)
        sending = threading.Thread(
            target=lambda: answers.append(client.post("/api/models", files=files, data={"labels": labels}))
        )
        sending.start()
        time.sleep(0.15)
        here.process.send_signal(signal.SIGTERM)
        sending.join()
        assert here.process.wait(60) == 0
        assert answers[0].status_code == 201
        assert (tmp_path / "store" / "open" / f"{answers[0].json()['id']}.study").exists()
