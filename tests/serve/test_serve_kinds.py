"""All kinds of records and of starts: rows, texts, series, vectors; runs, adapted models and banks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from service_here import drawing, error_of, sent, shots  # noqa: E402

import quickstudy as qs  # noqa: E402
from quickstudy.registry import learners, models, sources  # noqa: E402
from quickstudy.runs.train import train  # noqa: E402
from quickstudy.serve.app import application  # noqa: E402
from quickstudy.serve.limits import Limits, Settings  # noqa: E402

ROWS = [{"size": i % 7, "colour": "red" if i % 2 else "blue", "note": None} for i in range(12)]
KINDS = ["warm" if i % 2 else "cold" for i in range(12)]
PRICES = [2.5 * (i % 7) + 1 for i in range(12)]


class Here:
    """An application in this process, asked as if over a network."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(app=application(settings))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", timeout=60)

    def __call__(self, method: str, path: str, **given: Any) -> Any:
        return self._loop.run_until_complete(self._client.request(method, path, **given))

    def good(self, method: str, path: str, **given: Any) -> Any:
        answer = self(method, path, **given)
        assert answer.status_code < 300, answer.text
        return answer.json()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Here]:
    monkeypatch.chdir(tmp_path)  # a run under runs/ goes before a model of the package of the same name
    return lambda *starts: Here(
        Settings(starts=tuple(map(str, starts)), store=str(tmp_path / "store"), limits=Limits())
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of vectors, by MAML, and of series, of two steps each."""
    place = tmp_path_factory.mktemp("trained")
    config = qs.RunConfig(
        name="vectors", tasks=sources.part("linear"), model=models.part("mlp", width=4, depth=1),
        learner=learners.part("maml", lr=0.1), ways=2, shots=2, queries=2, iterations=2, meta_batch=2,
        validation_episodes=2, calibration_episodes=1, device="cpu", compile="off", vectorize="loop", protocols=(),
    )  # fmt: skip
    train(config, out=place / "vectors", quiet=True)
    from dataclasses import replace

    series = replace(config, tasks=sources.part("series"), learner=learners.part("anil", lr=0.1), ways=1, shots=8)
    train(series, out=place / "series", quiet=True)
    return place


def test_rows_tell_classes_or_numbers_by_their_labels(served: Callable[..., Here]) -> None:
    here = served("tables")
    run = qs.pretrained("tables")
    assert here.good("GET", "/api/about")["format"]["kind"] == "table"
    for labels in (KINDS, PRICES):
        made = here.good("POST", "/api/models", json={"records": ROWS[:8], "labels": labels[:8]})
        grown = here.good(
            "POST", f"/api/models/{made['id']}/examples", json={"records": ROWS[8:], "labels": labels[8:]}
        )
        assert grown["examples"][0]["text"] == "size 0, colour blue, note"
        answers = here.good("POST", f"/api/models/{made['id']}/ask", json={"records": ROWS[:3]})["answers"]
        expected = run.adapt(ROWS, labels).predict(ROWS[:3])
        if labels is KINDS:
            assert [one["label"] for one in answers] == expected.names
        else:
            assert [one["value"] for one in answers] == pytest.approx(expected.values.flatten().tolist(), rel=1e-4)
            assert all(one["spread"] > 0 for one in answers)
    for record in ("text", 1, None, [], {}, {"size": [1]}, {"size": {}}, {"size": 10**400}):
        body = {"records": [record], "labels": ["warm"]}
        assert here("POST", f"/api/models/{made['id']}/examples", json=body).status_code == 422, record
    lacking = here("POST", f"/api/models/{made['id']}/ask", json={"records": [{"size": 1}]})
    assert error_of(lacking) == (422, "not_usable")
    assert error_of(here("POST", f"/api/models/{made['id']}/ask", files=sent(drawing(0, 0)))) == (422, "not_usable")


def test_a_change_that_nothing_can_be_learned_from_is_not_made(served: Callable[..., Here]) -> None:
    here = served("tables-numbers")
    made = here.good("POST", "/api/models", json={"records": ROWS, "labels": PRICES})
    answer = here("POST", f"/api/models/{made['id']}/examples", json={"records": [{"other": 1}], "labels": [3.5]})
    assert (
        error_of(answer) == (422, "not_usable") and "other" in answer.json()["error"]["message"]
    ) or "size" in answer.text
    assert (
        error_of(here("POST", f"/api/models/{made['id']}/examples", json={"records": ROWS[:1], "labels": ["x"]}))[0]
        == 422
    )
    assert here.good("GET", f"/api/models/{made['id']}") == made


def test_vectors_of_a_gradient_learner(served: Callable[..., Here], trained: Path) -> None:
    here = served(trained / "vectors")
    x, labels = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], ["a", "b", "b", "a"]
    made = here.good("POST", "/api/models", json={"records": x, "labels": labels})
    answers = here.good("POST", f"/api/models/{made['id']}/ask", json={"records": x})["answers"]
    expected = qs.Run(trained / "vectors").adapt(torch.tensor(x), labels).predict(torch.tensor(x))
    assert [one["label"] for one in answers] == expected.names
    assert [one["probabilities"]["a"] for one in answers] == pytest.approx(
        expected.probabilities[:, 0].tolist(), abs=1e-5
    )
    for record in ("/etc/passwd", [[["x"]]], [True], [1e999], [[1, 2], [3]], [1, 2, 3]):
        body = json.dumps({"records": [record], "labels": ["a"]}).replace("Infinity", "1e999")
        given = {"content": body, "headers": {"content-type": "application/json"}}
        assert here("POST", f"/api/models/{made['id']}/examples", **given).status_code == 422, record
    tensor = {"name": "x", "shape": [4, 2], "datatype": "FP32", "data": x}
    outs = here.good("POST", f"/v2/models/{made['id']}/infer", json={"inputs": [tensor]})["outputs"]
    p = next(one for one in outs if one["name"] == "probabilities")
    assert p["data"] == pytest.approx(expected.probabilities.flatten().tolist(), abs=1e-5)


def test_a_series_goes_on_and_is_forecast(served: Callable[..., Here], trained: Path) -> None:
    here = served(trained / "series")
    assert here.good("GET", "/api/about")["format"]["kind"] == "series"
    seen = [1.0, 3.0, 2.0, 5.0, 4.0, 7.0, 6.0, 9.0]
    made = here.good("POST", "/api/models", json={"records": [seen[:5]]})
    here.good("POST", f"/api/models/{made['id']}/examples", json={"records": [seen[5:]]})
    answers = here.good("POST", f"/api/models/{made['id']}/ask", json={"steps": 4})["answers"]
    expected = qs.Run(trained / "series").adapt(seen).predict(seen, steps=4)
    assert [one["value"] for one in answers] == pytest.approx(expected.values.flatten().tolist(), rel=1e-4)
    given = here.good("POST", f"/api/models/{made['id']}/ask", json={"records": [seen], "steps": 4})["answers"]
    assert given == answers


def test_an_adapted_model_is_asked_as_it_is_and_copies_of_it_grow(served: Callable[..., Here], tmp_path: Path) -> None:
    drawings, labels = shots(3, 3)
    model = qs.pretrained("handwriting").adapt(drawings, labels)
    model.save(tmp_path / "shapes")
    here = served(tmp_path / "shapes")
    assert here.good("GET", "/api/models")["models"][0]["id"] == "shapes"
    asked = [drawing(i % 3, 300 + i) for i in range(3)]
    answers = here.good("POST", "/api/models/shapes/ask", files=sent(*asked))["answers"]
    assert [one["label"] for one in answers] == model.predict(asked).names
    for method, path in (("POST", "examples"), ("POST", "undo"), ("DELETE", ""), ("DELETE", "classes/shape%200")):
        given: dict[str, Any] = {"files": sent(asked[0]), "data": {"labels": "a"}} if path == "examples" else {}
        assert error_of(here(method, f"/api/models/shapes/{path}".rstrip("/"), **given)) == (409, "fixed")
    made = here.good("POST", "/api/models")
    assert made["names"] == ["shape 0", "shape 1", "shape 2"] and len(made["examples"]) == 9 and made["versions"] == 0
    more = [drawing(3, i) for i in range(3)]
    here.good("POST", f"/api/models/{made['id']}/examples", files=sent(*more), data={"labels": "new"})
    here.good("DELETE", f"/api/models/{made['id']}/classes/shape%200")
    found = here.good("POST", f"/api/models/{made['id']}/ask", files=sent(*asked, *more))["answers"]
    grown = model.more(more, ["new"] * 3).without("shape 0").predict([*asked, *more])
    assert [one["label"] for one in found] == grown.names
    names = [list(one["probabilities"]) for one in found]
    assert names[0] == list(grown.classes)
    p = torch.tensor([list(one["probabilities"].values()) for one in found])
    assert torch.allclose(p, grown.probabilities, atol=1e-4)


def test_a_model_without_its_examples_is_asked_alone(served: Callable[..., Here], tmp_path: Path) -> None:
    drawings, labels = shots(2, 2)
    qs.pretrained("handwriting").adapt(drawings, labels, keep=False).save(tmp_path / "sealed")
    here = served(tmp_path / "sealed")
    assert here.good("GET", "/api/about")["learns"] is False
    assert here.good("POST", "/api/models/sealed/ask", files=sent(drawings[0]))["answers"][0]["label"] == "shape 0"
    assert error_of(here("POST", "/api/models")) == (409, "cannot_grow")


def test_a_start_that_is_gone_or_another_is_told(tmp_path: Path, trained: Path, served: Callable[..., Here]) -> None:
    made = served("handwriting").good("POST", "/api/models")
    assert error_of(served("tables")("GET", f"/api/models/{made['id']}")) == (409, "start_missing")
    (tmp_path / "handwriting").symlink_to(trained / "vectors")
    changed = served(tmp_path / "handwriting")
    (tmp_path / "handwriting").unlink()
    del changed
    again = served("handwriting", "tables")
    assert again.good("GET", f"/api/models/{made['id']}") == made
    assert again.good("POST", "/api/models", json={"start": "tables"})["start"] == "tables"


def test_models_of_a_bank_start_from_it_and_are_put_into_it(
    served: Callable[..., Here], trained: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lancedb")
    from quickstudy.memory import Bank
    from quickstudy.memory.runs import memory_of_run

    memory_of_run(qs.Run(trained / "vectors"), Bank(tmp_path / "bank")).build(
        qs.Run(trained / "vectors").parts.source, 3
    )
    here = served(tmp_path / "bank")
    x, labels = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], ["a", "b", "b", "a"]
    made = here.good("POST", "/api/models", json={"records": x, "labels": labels})
    path = f"/api/models/{made['id']}"
    answers = here.good("POST", f"{path}/ask", json={"records": x})
    assert len(Bank(tmp_path / "bank")) == 4
    assert served(tmp_path / "bank").good("POST", f"{path}/ask", json={"records": x}) == answers  # another process
    assert len(Bank(tmp_path / "bank")) == 4
    here.good("POST", f"{path}/examples", json={"records": [[3.0, 3.0]], "labels": ["a"]})
    assert len(Bank(tmp_path / "bank")) == 4  # in the place of what it was
    here.good("DELETE", path)
    assert len(Bank(tmp_path / "bank")) == 3
    assert not list((tmp_path / "store").glob("*/*"))


def test_a_file_that_is_damaged_hides_no_other_model(served: Callable[..., Here], tmp_path: Path) -> None:
    here = served("tables")
    body = {"records": [{"a": 1}, {"a": 2}], "labels": ["p", "q"]}
    whole, broken = (here.good("POST", "/api/models", json=body)["id"] for _ in range(2))
    path = tmp_path / "store" / "open" / f"{broken}.study"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    told = {one["id"]: one for one in here.good("GET", "/api/models")["models"]}
    assert told.keys() == {whole, broken} and told[broken]["damaged"] and not told[whole].get("damaged")
    here.good("DELETE", f"/api/models/{broken}")
    assert [one["id"] for one in here.good("GET", "/api/models")["models"]] == [whole]


@pytest.mark.parametrize("labels", [["p", "q", "p"], [1.5, 2.5, 3.0]])
def test_open_inference_describes_what_it_says(served: Callable[..., Here], labels: list[Any]) -> None:
    here = served("tables")
    made = here.good("POST", "/api/models", json={"records": [{"a": 1}, {"a": 2}, {"a": 4}], "labels": labels})["id"]
    told = here.good("GET", f"/v2/models/{made}")
    tensor = {"name": "x", "shape": [2, *told["inputs"][0]["shape"][1:]], "datatype": "FP32", "data": [0.5, 0, 0] * 2}
    said = here.good("POST", f"/v2/models/{made}/infer", json={"inputs": [tensor]})["outputs"]
    assert [(one["name"], one["shape"][1:]) for one in said] == [(o["name"], o["shape"][1:]) for o in told["outputs"]]


def test_more_records_than_may_be_are_not_looked_at(served: Callable[..., Here]) -> None:
    here = served("tables")
    rows = [{"a": i} for i in range(4)]
    made = here.good("POST", "/api/models", json={"records": rows, "labels": ["p", "q"] * 2})["id"]
    many = {"records": [{"a": 1}] * 257, "labels": ["p"]}
    for path in ("ask", "score"):
        assert error_of(here("POST", f"/api/models/{made}/{path}", json=many)) == (413, "too_many_records"), path
    strange = {"records": [{"a": []}] * 1001, "labels": ["p"]}
    for path in ("", f"/{made}/ask", f"/{made}/examples"):
        assert error_of(here("POST", f"/api/models{path}", json=strange)) == (413, "too_many_records"), path
    tensor = {"name": "x", "shape": [257, 1, 3], "datatype": "FP32", "data": [0] * 771}
    assert here("POST", f"/v2/models/{made}/infer", json={"inputs": [tensor]}).status_code == 413
