"""What does each address answer, and what does it refuse?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import gnas_ext
from gnas_ext.serve import questions
from gnas_ext.serve.guard import HEADERS
from python_tests.recommend.conftest import ITEMS, USERS, make_sample

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from gnas_ext.serve import Current

HISTORY = ["00021", "00147", "00007"]


def answer(client: TestClient, path: str, body: dict[str, Any] | None = None) -> Any:
    found = client.get(path) if body is None else client.post(path, json=body)
    assert found.status_code == 200, found.text
    return found.json()


def refusal(client: TestClient, path: str, body: Any = None, status: int = 422) -> str:
    found = client.get(path) if body is None else client.post(path, json=body)
    assert found.status_code == status, found.text
    (words,) = found.json().values()
    assert found.json().keys() == {"error"}
    assert "\n" not in words
    return str(words)


def test_lists_are_those_of_the_recommender(client: TestClient, folder: Path) -> None:
    found = answer(client, "/recommend", {"users": ["03", "05"], "k": 4, "filter_items": ["00007"]})
    rows = gnas_ext.load(folder).recommend(["03", "05"], k=4, filter_items=["00007"])
    for entry, user in zip(found["lists"], ["03", "05"], strict=True):
        wanted = rows.filter(user=user).select("item", "title", "score").to_dicts()
        assert (entry["user"], entry["source"]) == (user, "model")
        assert entry["items"] == wanted


def test_a_user_comes_as_often_as_asked_for_even_without_items(client: TestClient) -> None:
    found = answer(client, "/recommend", {"users": ["03", "03"], "items": []})
    assert [entry["items"] for entry in found["lists"]] == [[], []]


def test_a_history_is_folded_in(client: TestClient, folder: Path) -> None:
    (entry,) = answer(client, "/recommend", {"history": HISTORY, "k": 4})["lists"]
    wanted = gnas_ext.load(folder).recommend_for_items(HISTORY, k=4)
    assert entry["items"] == wanted.select("item", "title", "score").to_dicts()
    assert (entry["user"], entry["source"]) == (None, "history")


def test_strangers_get_what_is_popular_unless_that_is_not_wanted(client: TestClient) -> None:
    (entry,) = answer(client, "/recommend", {"users": ["nobody"], "k": 2})["lists"]
    assert (entry["user"], entry["source"], len(entry["items"])) == ("nobody", "popular", 2)
    refused = refusal(client, "/recommend", {"users": ["nobody"], "unknown": "error"})
    assert refused.startswith("unknown user 'nobody': 12 users are known")


def test_similar_items(client: TestClient, folder: Path) -> None:
    found = answer(client, "/similar?item=00021&k=3")
    wanted = gnas_ext.load(folder).similar("00021", 3)
    assert (found["item"], found["title"]) == ("00021", "Film <3>")
    assert found["items"] == wanted.select("item", "title", "score").to_dicts()


def test_what_a_model_cannot_say_is_said(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from gnas_ext.serve import Current, make_app

    with TestClient(make_app(Current(make_sample("popularity").save(tmp_path / "a")), watch_s=0)) as client:
        assert "popularity alone" in refusal(client, "/similar?item=00021")


@pytest.mark.parametrize("who", [{"user": "03"}, {"history": HISTORY}, {"user": "nobody"}])
def test_an_explanation_sums_to_the_score(client: TestClient, who: dict[str, Any]) -> None:
    found = answer(client, "/explain", {**who, "item": "00021", "reasons": 2})
    lines = [reason["contribution"] for reason in found["reasons"]]
    assert len(lines) <= 2
    total = found["base"] + sum(lines) + found["others"]["contribution"] + found["rest"]
    assert total == pytest.approx(found["score"], rel=1e-5, abs=1e-5)
    assert found["title"] == "Film <3>"


def test_an_explanation_says_what_share_its_map_explains(client: TestClient, folder: Path) -> None:
    found = answer(client, "/explain", {"user": "03", "item": "00021"})
    wanted = gnas_ext.load(folder).explain("03", "00021")
    assert wanted.explained is not None
    assert (found["method"], found["explained"], found["sums"]) == ("folded", wanted.explained, wanted.sums)
    # What is popular needs no map: the field is there, and says so.
    assert answer(client, "/explain", {"user": "nobody", "item": "00021"})["explained"] is None


def test_an_explanation_names_no_other_user(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from gnas_ext.serve import Current, make_app

    with TestClient(make_app(Current(make_sample("graph_filter").save(tmp_path / "a")), watch_s=0)) as client:
        found = answer(client, "/explain", {"user": "03", "item": "00021"})
    assert found["method"] == "paths"
    assert "user" not in json.dumps(found["reasons"])
    assert "paths" not in found


def test_items_are_found_by_words_of_their_title_or_by_id(client: TestClient) -> None:
    assert [item["item"] for item in answer(client, "/items?q=fILM")["items"]] == ["00007", "00021"]
    assert [item["item"] for item in answer(client, "/items?q=3 film")["items"]] == ["00021"]
    assert [item["item"] for item in answer(client, "/items?q=00070")["items"]] == ["00070"]
    assert answer(client, "/items?q=.*")["items"] == []
    assert answer(client, "/items?q=%20")["items"] == []
    assert len(answer(client, "/items?q=0&limit=5")["items"]) == 5


def test_health_says_what_answers(client: TestClient, current: Current) -> None:
    found = answer(client, "/healthz")
    assert (found["status"], found["users"], found["items"]) == ("ok", USERS, ITEMS)
    assert (found["artefact"], found["reloads"], found["reload_error"]) == (current.now.sha256, 0, None)


def test_open_api_describes_all_of_it(client: TestClient) -> None:
    found = answer(client, "/openapi.json")
    assert set(found["paths"]) == {"/recommend", "/similar", "/explain", "/items", "/healthz"}
    assert "HTTPValidationError" not in json.dumps(found)
    users = found["components"]["schemas"]["RecommendQuestion"]["properties"]["users"]
    assert users["anyOf"][0]["maxItems"] == questions.MOST_USERS
    explained = found["components"]["schemas"]["Explained"]
    assert "explained" in explained["required"]
    assert [kind["type"] for kind in explained["properties"]["explained"]["anyOf"]] == ["number", "null"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/recommend", {}, "the question: expected either users or history, and one of them"),
        ("/recommend", {"users": ["03"], "history": ["00021"]}, "expected either users or history"),
        ("/recommend", {"users": ["03"], "k": 0}, "k: Input should be greater than or equal to 1, got 0"),
        ("/recommend", {"users": ["03"], "k": 1001}, "k: Input should be less than or equal to 1000, got 1001"),
        ("/recommend", {"users": ["03"], "k": "many"}, "k: Input should be a valid integer"),
        ("/recommend", {"users": []}, "users: List should have at least 1 item"),
        ("/recommend", {"users": ["03"] * 257}, "users: List should have at most 256 items"),
        ("/recommend", {"history": ["00021"] * 1001}, "history: List should have at most 1000 items"),
        ("/recommend", {"users": ["03"], "filter_items": ["00021"] * 10_001}, "filter_items: List should have at most"),
        ("/recommend", {"users": ["03"], "items": ["00021"] * 10_001}, "items: List should have at most 10000"),
        ("/recommend", {"users": [True]}, "users.0: expected an id: a string of 1 … 256 characters or a whole number"),
        ("/recommend", {"users": [0.5]}, "users.0: expected an id"),
        ("/recommend", {"users": [""]}, "users.0: expected an id"),
        ("/recommend", {"users": ["x" * 257]}, "users.0: expected an id"),
        ("/recommend", {"users": [2**64]}, "users.0: expected an id"),
        ("/recommend", {"users": [None]}, "users.0: expected an id"),
        ("/recommend", {"users": ["03"], "wish": 1}, "wish: Extra inputs are not permitted, got 1"),
        ("/recommend", {"users": ["03"], "unknown": "guess"}, "unknown: Input should be 'popular' or 'error'"),
        ("/recommend", {"history": ["x"]}, "unknown item 'x': 30 items are known"),
        ("/recommend", [], "the question: Input should be a valid dictionary"),
        ("/explain", {"user": "03", "item": "x"}, "unknown item 'x'"),
        ("/explain", {"item": "00021"}, "expected either user or history"),
        ("/explain", {"user": "03", "item": "00021", "reasons": 101}, "reasons: Input should be less than or equal to"),
        ("/similar?item=x", None, "unknown item 'x'"),
        ("/similar", None, "item: Field required"),
        ("/similar?item=00021&k=1001", None, "k: Input should be less than or equal to 1000"),
        (f"/similar?item={'x' * 257}", None, "item: String should have at most 256 characters"),
        ("/items?q=", None, "q: String should have at least 1 character"),
        ("/items?q=x&limit=101", None, "limit: Input should be less than or equal to 100"),
    ],
)
def test_what_cannot_be_used_is_one_line(client: TestClient, path: str, body: Any, words: str) -> None:
    assert words in refusal(client, path, body)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"users": [' + b"9" * 9999 + b"]}"])
def test_a_body_that_is_no_json_is_refused(client: TestClient, body: bytes) -> None:
    found = client.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert found.status_code in (400, 422)
    assert found.json().keys() == {"error"}


def test_an_address_that_is_none(client: TestClient) -> None:
    assert refusal(client, "/nothing", status=404) == "GET /nothing: Not Found"
    assert refusal(client, "/recommend", status=405) == "GET /recommend: Method Not Allowed"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/recommend", rb'{"users": ["\ud800"]}'),
        ("/recommend", rb'{"history": ["\udfff"]}'),
        ("/recommend", rb'{"users": ["03"], "items": ["a\ud800"]}'),
        ("/explain", rb'{"user": "\ud800", "item": "00021"}'),
        ("/explain", rb'{"user": "03", "item": "\ud800"}'),
    ],
)
def test_an_id_that_is_no_text_is_refused(client: TestClient, path: str, body: bytes) -> None:
    found = client.post(path, content=body, headers={"content-type": "application/json"})
    assert found.status_code == 422
    assert "expected an id" in found.json()["error"]


def test_a_body_that_is_not_said_to_be_json_is_refused_in_plain_words(client: TestClient) -> None:
    found = client.post("/recommend", content=b'{"users": ["03"]}')
    assert found.status_code == 422
    assert found.json() == {"error": "expected a header content-type: application/json, and a body in JSON"}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(client: TestClient, chunked: bool) -> None:
    long = b" " * (questions.LONGEST_BODY + 1)
    found = client.post("/recommend", content=iter([long]) if chunked else long)
    assert found.status_code == 413
    assert found.json() == {"error": "expected a body of at most 1048576 bytes"}


def test_a_mistake_of_ours_is_not_shown(client: TestClient, current: Current, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current.now.recommender, "rank", lambda *_, **__: int("secret"))
    assert refusal(client, "/recommend", {"users": ["03"]}, status=500) == "internal error; the server's log has it"
    found = client.post("/recommend", json={"users": ["03"]})
    assert [found.headers.get_list(name.decode()) for name, _ in HEADERS] == [[value.decode()] for _, value in HEADERS]


def test_the_page_may_run_nothing_but_its_own(client: TestClient) -> None:
    for path, kind in {
        "/": "text/html",
        "/page.js": "text/javascript",
        "/page.css": "text/css",
        "/theme.css": "text/css",
    }.items():
        found = client.get(path)
        assert found.headers["content-type"] == f"{kind}; charset=utf-8"
        assert "default-src 'none'; script-src 'self'" in found.headers["content-security-policy"]
        assert found.headers["x-content-type-options"] == "nosniff"
    assert "//" not in client.get("/").text.replace("<!--", "")
