"""Classes get other names over HTTP, for good, and take them back."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from service_here import drawing, error_of, sent, server, shots  # noqa: E402

DRAWINGS, LABELS = shots(3, 2)
NAME = "a/b?c#d%2e é猫"


def test_a_class_is_renamed_for_good_and_undone(tmp_path: Path) -> None:
    with server(tmp_path / "kept") as here, httpx.Client(base_url=here.url, timeout=60) as client:
        model = client.post("/api/models", files=sent(*DRAWINGS), data={"labels": LABELS}).json()
        place = f"/api/models/{model['id']}"
        asked = sent(drawing(1, 77))
        before = client.post(f"{place}/ask", files=asked).json()["answers"][0]

        renamed = client.post(f"{place}/classes/{quote('shape 1', safe='')}", json={"name": NAME})
        assert renamed.status_code == 200, renamed.text
        state = renamed.json()
        assert state["names"] == sorted(["shape 0", NAME, "shape 2"]) and len(state["examples"]) == len(LABELS)
        labels = [NAME if label == "shape 1" else label for label in LABELS]
        assert [one["label"] for one in state["examples"]] == labels  # in the places where they were
        after = client.post(f"{place}/ask", files=asked).json()["answers"][0]
        called = {NAME if name == "shape 1" else name: p for name, p in before["probabilities"].items()}
        assert after["probabilities"] == pytest.approx(called, abs=1e-5)
        pictures = [client.get(f"{place}/examples/{one['id']}/picture").status_code for one in state["examples"]]
        assert set(pictures) == {200}

        taken = client.post(f"{place}/classes/{quote(NAME, safe='')}", json={"name": "shape 0"})
        assert error_of(taken) == (409, "name_taken")
        assert client.post(f"{place}/classes/nobody", json={"name": "x"}).status_code == 404
        assert client.post(f"{place}/classes/{quote('shape 0')}", json={"name": 3}).status_code == 422
        assert client.post(f"{place}/classes/{quote('shape 0')}", json={"name": " "}).status_code == 422
        here.kill()
    with server(tmp_path / "kept") as here, httpx.Client(base_url=here.url, timeout=60) as client:
        assert client.get(place).json()["examples"] == state["examples"]
        undone = client.post(f"{place}/undo").json()
        assert [one["label"] for one in undone["examples"]] == LABELS
        gone = client.delete(f"{place}/classes/{quote('shape 1', safe='')}").json()
        assert gone["names"] == ["shape 0", "shape 2"]
