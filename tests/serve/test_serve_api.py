"""A server in a process of its own says over HTTP what the library says here."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from PIL import Image  # noqa: E402
from service_here import drawing, error_of, sent, server, shots  # noqa: E402

import quickstudy as qs  # noqa: E402
from quickstudy.serve import protocol, schemas  # noqa: E402

DRAWINGS, LABELS = shots(3, 3)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    store = tmp_path_factory.mktemp("served") / "store"
    with server(store) as here, httpx.Client(base_url=here.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def model(client: Any) -> Any:
    answer = client.post("/api/models", files=sent(*DRAWINGS), data={"labels": LABELS, "name": "shapes"})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def here() -> qs.Model:
    return qs.pretrained("handwriting", device="cpu").adapt(DRAWINGS, LABELS)


def test_answers_are_those_of_the_library(client: Any, model: Any, here: qs.Model) -> None:
    schemas.State(**model)
    asked = [drawing(i % 3, 500 + i) for i in range(6)]
    answer = client.post(f"/api/models/{model['id']}/ask", files=sent(*asked))
    found = schemas.Answers(**answer.json()).answers
    expected = here.predict(asked, false_alarms=0.05)
    assert [one.label for one in found] == expected.names
    for i, one in enumerate(found):
        assert one.probabilities is not None
        assert list(one.probabilities.values()) == pytest.approx(expected.probabilities[i].tolist(), abs=1e-5)
        assert one.known == pytest.approx(float(expected.known[i]), abs=1e-5)
        assert one.refused == bool(expected.refused[i])
    estimate = here.estimate
    assert model["estimate"]["mean"] == pytest.approx(estimate.mean, abs=1e-6)
    assert model["estimate"]["low"] == pytest.approx(estimate.low, abs=1e-6)


def test_the_nearest_example_is_the_same_drawing(client: Any, model: Any) -> None:
    answer = client.post(f"/api/models/{model['id']}/ask", files=sent(DRAWINGS[4]))
    near = answer.json()["answers"][0]["nearest"]
    assert near[0]["id"] == model["examples"][4]["id"] and near[0]["similarity"] == pytest.approx(1, abs=1e-3)


def test_records_in_json_are_the_same(client: Any, model: Any) -> None:
    records = [{"file": base64.b64encode(drawing(i, 7)).decode(), "name": f"{i}.png"} for i in range(3)]
    of_json = client.post(f"/api/models/{model['id']}/ask", json={"records": records}).json()
    of_form = client.post(f"/api/models/{model['id']}/ask", files=sent(*(drawing(i, 7) for i in range(3)))).json()
    assert of_json == of_form
    covered = client.post(f"/api/models/{model['id']}/ask", json={"records": records, "coverage": 0.9}).json()
    assert all(one["label"] in one["set"] for one in covered["answers"])


def test_many_at_once_are_answered_as_one_alone(client: Any, model: Any) -> None:
    other = client.post("/api/models", files=sent(*DRAWINGS), data={"labels": LABELS}).json()["id"]
    asked = [(other if i % 2 else model["id"], drawing(i % 5, 900 + i)) for i in range(24)]

    def ask(one: tuple[str, bytes]) -> Any:
        return client.post(f"/api/models/{one[0]}/ask", files=sent(one[1])).json()["answers"][0]

    alone = [ask(one) for one in asked]
    with ThreadPoolExecutor(12) as threads:
        at_once = list(threads.map(ask, asked))
    for one, several in zip(alone, at_once, strict=True):
        assert one["label"] == several["label"]
        assert one["probabilities"] == pytest.approx(several["probabilities"], abs=1e-4)
    assert client.delete(f"/api/models/{other}").status_code == 200


def test_a_broken_picture_among_others_spoils_its_own_question_alone(client: Any, model: Any) -> None:
    def ask(i: int) -> int:
        data = b"\x89PNG\r\n\x1a\nbroken" if i % 4 == 0 else drawing(i % 3, i)
        return int(client.post(f"/api/models/{model['id']}/ask", files=sent(data)).status_code)

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(ask, range(24))) == [422 if i % 4 == 0 else 200 for i in range(24)]


def test_a_model_grows_from_nothing_forgets_and_undoes(client: Any) -> None:
    made = client.post("/api/models", json={"name": "grown"}).json()
    path = f"/api/models/{made['id']}"
    assert made["examples"] == [] and made["versions"] == 0
    assert error_of(client.post(f"{path}/ask", files=sent(DRAWINGS[0]))) == (409, "too_few")
    one = client.post(f"{path}/examples", files=sent(DRAWINGS[0]), data={"labels": "a"}).json()
    assert one["names"] == ["a"] and "estimate" not in one
    assert error_of(client.post(f"{path}/ask", files=sent(DRAWINGS[0]))) == (409, "too_few")
    two = client.post(f"{path}/examples", files=sent(*DRAWINGS[3:5]), data={"labels": "b"}).json()
    assert two["names"] == ["a", "b"] and len(two["examples"]) == 3 and two["versions"] == 2
    before = client.post(f"{path}/ask", files=sent(DRAWINGS[1])).json()
    less = client.delete(f"{path}/examples/{two['examples'][1]['id']}").json()
    assert [one["id"] for one in less["examples"]] == [two["examples"][i]["id"] for i in (0, 2)]
    assert client.post(f"{path}/ask", files=sent(DRAWINGS[1])).json() != before
    assert client.post(f"{path}/undo").json() == two
    assert client.post(f"{path}/ask", files=sent(DRAWINGS[1])).json() == before
    gone = client.delete(f"{path}/classes/b").json()
    assert gone["names"] == ["a"]
    assert [client.post(f"{path}/undo").status_code for _ in range(4)] == [200, 200, 200, 409]
    assert client.get(path).json()["examples"] == []
    assert client.delete(path).json() == {"id": made["id"]}
    assert error_of(client.get(path)) == (404, "not_found") == error_of(client.delete(path))


def test_a_picture_is_what_the_model_sees(client: Any, model: Any, here: qs.Model) -> None:
    answer = client.get(model["examples"][2]["picture"])
    assert answer.headers["content-type"] == "image/png"
    pixels = torch.tensor(np.asarray(Image.open(io.BytesIO(answer.content))))
    assert here.kept is not None
    assert torch.equal(255 - pixels, here.kept.x[2, 0])  # type: ignore[call-overload,index]


def test_it_is_measured_as_the_library_measures(client: Any, model: Any, here: qs.Model) -> None:
    drawings, labels = shots(3, 4, seed=9)
    answer = client.post(f"/api/models/{model['id']}/score", files=sent(*drawings), data={"labels": labels})
    expected = here.score(drawings, labels)
    assert answer.json()["text"] == str(expected)
    assert answer.json()["count"] == 12


def test_a_downloaded_model_is_the_one_that_was_asked(client: Any, model: Any, here: qs.Model, tmp_path: Path) -> None:
    answer = client.get(f"/api/models/{model['id']}/download")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        file.extractall(tmp_path)
    loaded = qs.Model.load(tmp_path / "model")
    assert torch.equal(loaded.predict(DRAWINGS).probabilities, here.predict(DRAWINGS).probabilities)
    assert error_of(client.get(f"/api/models/{model['id']}/download?to=pickle")) == (422, "invalid")


def test_open_inference_says_the_same(client: Any, model: Any, here: qs.Model) -> None:
    assert client.get("/v2").json()["name"] == "quickstudy"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    told = protocol.Metadata(**client.get(f"/v2/models/{model['id']}").json())
    assert client.get(f"/v2/models/{model['id']}/ready").json() == {"name": model["id"], "ready": True}
    x = here.spec.format.store(DRAWINGS[:2]).x
    expected = here.predict(DRAWINGS[:2])
    for datatype, tensor in (("UINT8", x), ("FP32", x.float() / 255)):  # type: ignore[union-attr]
        given = {
            "name": told.inputs[0].name,
            "shape": list(tensor.shape),
            "datatype": datatype,
            "data": tensor.flatten().tolist(),
        }
        answer = client.post(f"/v2/models/{model['id']}/infer", json={"id": "q", "inputs": [given]}).json()
        outputs = {one.name: one for one in protocol.Inferred(**answer).outputs}
        assert [one.name for one in told.outputs] == list(outputs) and answer["id"] == "q"
        p = torch.tensor(outputs["probabilities"].data).view(2, 3)
        assert torch.allclose(p, expected.probabilities, atol=1e-5)
        assert outputs["probabilities"].parameters == {"classes": list(here.names)}
        assert outputs["known"].data == pytest.approx(expected.known.tolist(), abs=1e-5)
    only = client.post(
        f"/v2/models/{model['id']}/infer", json={"inputs": [given], "outputs": [{"name": "known"}]}
    ).json()
    assert [one["name"] for one in only["outputs"]] == ["known"]


def test_what_goes_wrong_is_a_text_in_open_inference(client: Any) -> None:
    empty = client.post("/api/models", json={}).json()["id"]
    unready = client.get(f"/v2/models/{empty}/ready")  # of which clients look at the status alone
    for answer, status in ((unready, 409), (client.get("/v2/models/none"), 404), (client.put("/v2"), 405)):
        assert answer.status_code == status and protocol.Failure(**answer.json()).error
    told = client.get("/openapi.json").json()["paths"]["/v2/models/{model}/infer"]["post"]["responses"]
    for status in ("404", "422", "429"):
        assert told[status]["content"]["application/json"]["schema"]["$ref"].endswith("/Failure")


def test_a_class_may_be_called_anything_in_a_set(client: Any) -> None:
    labels = [label.replace("shape 0", "one; two") for label in LABELS]
    made = client.post("/api/models", files=sent(*DRAWINGS), data={"labels": labels}).json()
    answer = client.post(f"/api/models/{made['id']}/ask", files=sent(*DRAWINGS), data={"coverage": "0.9"}).json()
    sets = [one["set"] for one in answer["answers"]]
    assert {name for one in sets for name in one} == set(made["names"])


@pytest.mark.parametrize(
    "body",
    [
        {}, {"inputs": []}, {"inputs": [{}]},
        {"inputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [1]}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": [1]}]},
        {"inputs": [{"name": "x", "shape": [0, 1, 28, 28], "datatype": "FP32", "data": []}]},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [300] * 784}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": [9.0] * 784}]},
        {"inputs": [{"name": "x", "shape": [2147483647, 2147483647], "datatype": "FP32", "data": [1]}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [0.7] * 784}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [-1] * 784}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": "BOOL", "data": [2] * 784}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": ["UINT8"], "data": [1] * 784}]},
        {"inputs": [{"name": "x", "shape": [1, 1, 28, 28], "datatype": {}, "data": [1] * 784}]},
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(client: Any, model: Any, body: Any) -> None:
    answer = client.post(f"/v2/models/{model['id']}/infer", json=body)
    assert answer.status_code == 422 and protocol.Failure(**answer.json()).error


REFUSED: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
    ("examples", {"files": sent(DRAWINGS[0])}, (422, "labels")),
    ("examples", {"json": {"records": []}}, (422, "no_records")),
    ("examples", {"json": {"records": ["/etc/passwd"], "labels": ["a"]}}, (422, "not_usable")),
    ("examples", {"json": {"records": [{"file": "!"}], "labels": ["a"]}}, (422, "base64")),
    ("examples", {"files": sent(DRAWINGS[0]), "data": {"labels": ""}}, (422, "not_usable")),
    ("examples", {"files": sent(DRAWINGS[0]), "data": {"labels": "x" * 101}}, (422, "not_usable")),
    ("examples", {"files": sent(b""), "data": {"labels": "a"}}, (422, "not_usable")),
    ("examples", {"content": b"x", "headers": {"content-type": "text/plain"}}, (415, "content_type")),
    ("examples", {"content": b"[", "headers": {"content-type": "application/json"}}, (400, "json")),
    ("examples", {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, (400, "json")),
    ("examples", {"content": b"[]", "headers": {"content-type": "application/json"}}, (400, "json")),
    ("examples", {"content": b'{"a": NaN}', "headers": {"content-type": "application/json"}}, (400, "json")),
    ("examples", {"content": b"--", "headers": {"content-type": "multipart/form-data; boundary=b"}}, (400, "form")),
    ("examples", {"content": b"--", "headers": {"content-type": "multipart/form-data"}}, (400, "form")),
    ("ask", {"files": sent(DRAWINGS[0]), "data": {"coverage": "2"}}, (422, "not_usable")),
    ("ask", {"files": sent(DRAWINGS[0]), "data": {"false_alarm": "0.01"}}, (422, "field")),
    ("ask", {"json": {"records": [], "covrage": 0.9}}, (422, "field")),
    ("ask?coverage=0.9", {"files": sent(DRAWINGS[0])}, (422, "field")),
    ("examples", {"files": sent(DRAWINGS[0]), "data": {"labels": "a", "name": "b"}}, (422, "field")),
    ("ask", {"files": sent(*[DRAWINGS[0]] * 257)}, (413, "too_many_records")),
    ("ask", {"content": bytes(17_000_000)}, (413, "too_large")),
    ("score", {"files": sent(DRAWINGS[0])}, (422, "labels")),
]


@pytest.mark.parametrize(("route", "given", "expected"), REFUSED)
def test_what_cannot_be_done_is_refused_in_words(
    client: Any, model: Any, route: str, given: dict[str, Any], expected: tuple[int, str]
) -> None:
    answer = client.post(f"/api/models/{model['id']}/{route}", **given)
    assert error_of(answer) == expected
    assert len(answer.json()["error"]["message"]) > 20
    assert client.get(f"/api/models/{model['id']}").json() == model  # nothing has changed


def test_a_picture_of_many_pixels_is_refused_before_it_is_decoded(client: Any, model: Any) -> None:
    file = io.BytesIO()
    Image.new("1", (6000, 6000)).save(file, "PNG")
    answer = client.post(f"/api/models/{model['id']}/ask", files=sent(file.getvalue()))
    assert error_of(answer) == (422, "not_usable") and "6000 x 6000" in answer.json()["error"]["message"]


def test_a_body_without_a_length_is_stopped_at_the_limit(client: Any, model: Any) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(1_000_000)

    try:
        answer = client.post(f"/api/models/{model['id']}/ask", content=endless())
    except httpx.TransportError:
        return  # the connection was closed while it was sending, which is what a client of more than 16 MB may see
    assert error_of(answer) == (413, "too_large")


@pytest.mark.parametrize("id", ["..%2f..%2fetc", "0" * 23, "0" * 24, "A" * 24, "%00", "shapes"])
def test_no_name_from_outside_is_a_path(client: Any, id: str) -> None:
    assert error_of(client.get(f"/api/models/{id}"))[0] == 404


def test_pages_of_others_may_not_ask(client: Any) -> None:
    assert error_of(client.get("/api/about", headers={"host": "evil.example"})) == (403, "host")
    assert error_of(client.get("/api/about", headers={"origin": "http://evil.example"})) == (403, "origin")
    assert error_of(client.get("/api/about", headers={"origin": "null"})) == (403, "origin")
    own = client.get("/api/about", headers={"origin": str(client.base_url).rstrip("/")})
    assert own.status_code == 200 and "access-control-allow-origin" not in own.headers
    assert own.headers["x-content-type-options"] == "nosniff" and own.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in own.headers["content-security-policy"]


def test_about_and_the_list_say_what_there_is(client: Any, model: Any) -> None:
    about = schemas.About(**client.get("/api/about").json())
    assert about.format.kind == "image" and about.target == "classes" and "model" in about.downloads and not about.token
    listed = schemas.Listed(**client.get("/api/models").json())
    assert model["id"] in [one.id for one in listed.models]
    assert error_of(client.post("/api/models", json={"start": "none"})) == (404, "not_found")
    assert error_of(client.put("/api/about")) == (405, "method")
    assert error_of(client.get("/nowhere"))[0] == 404


def test_what_is_counted_can_be_read(client: Any, model: Any) -> None:
    text = client.get("/metrics").text
    assert 'quickstudy_requests_total{method="POST",route="/api/models",status="201"}' in text
    assert "quickstudy_asked_together_bucket" in text and "quickstudy_running_requests 0.0" in text


def test_the_schema_names_only_what_it_holds(client: Any) -> None:
    told = client.get("/openapi.json").json()
    text = json.dumps(told)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= told["components"]["schemas"].keys()
    assert {"State", "Answers", "Refusal", "Inference", "Sent"} <= named
