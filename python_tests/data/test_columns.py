from __future__ import annotations

import pytest

from gnas_ext.data.columns import NAMES, choose, choose_by_position, normalise
from gnas_ext.errors import InputError

GUESS = {"user": None, "item": None, "rating": None, "timestamp": None}
REQUIRED = ["user", "item"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["userId", "movieId", "rating", "timestamp"], ["userId", "movieId", "rating", "timestamp"]),
        (["user_id", "item_id", "score", "ts"], ["user_id", "item_id", "score", "ts"]),
        (["UID", "IID", "Stars", "Date"], ["UID", "IID", "Stars", "Date"]),
        (
            ["reviewerID", "asin", "reviewText", "overall", "unixReviewTime", "reviewTime"],
            ["reviewerID", "asin", "overall", "unixReviewTime"],
        ),
        (["review_id", "user_id", "business_id", "stars", "date"], ["user_id", "business_id", "stars", "date"]),
        (
            ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
            ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
        ),
    ],
)
def test_guesses_the_names_that_people_use(columns: list[str], expected: list[str]) -> None:
    assert list(choose("f", columns, GUESS, REQUIRED).values()) == expected


def test_visitors_and_customers_are_users() -> None:
    assert choose("f", ["timestamp", "visitorid", "event", "itemid"], GUESS, REQUIRED) == {
        "user": "visitorid",
        "item": "itemid",
        "timestamp": "timestamp",
    }
    assert choose("f", ["customer_id", "track_id"], GUESS, REQUIRED) == {"user": "customer_id", "item": "track_id"}
    assert choose("f", ["event_time", "product_id", "category_id", "user_id"], GUESS, REQUIRED) == {
        "user": "user_id",
        "item": "product_id",
        "timestamp": "event_time",
    }


def test_no_name_means_two_things() -> None:
    names = [name for role in ("user", "item", "rating", "timestamp", "title", "genres") for name in NAMES[role]]
    assert sorted(names) == sorted(set(names))
    assert all(name == normalise(name) for name in names)


def test_a_named_column_wins_over_a_guess() -> None:
    chosen = choose("f", ["user_id", "uid", "item"], {**GUESS, "user": "uid"}, REQUIRED)
    assert chosen["user"] == "uid"


def test_a_named_column_is_found_in_another_spelling() -> None:
    assert choose("f", ["User ID", "item"], {**GUESS, "user": "user_id"}, REQUIRED)["user"] == "User ID"


def test_the_error_names_the_file_what_is_there_and_the_mend() -> None:
    with pytest.raises(InputError) as error:
        choose("ratings.csv", ["userId", "movieId", "rating", "timestamp"], {**GUESS, "user": "user"}, REQUIRED)
    assert str(error.value) == (
        "ratings.csv: no column 'user'; found userId, movieId, rating, timestamp. Name it with --user userId"
    )


def test_the_error_suggests_the_closest_name() -> None:
    with pytest.raises(InputError, match=r"Name it with --item itm$"):
        choose("f", ["user", "colour", "itm"], GUESS, REQUIRED)


def test_the_error_shortens_a_long_list() -> None:
    with pytest.raises(InputError, match="c11 and 88 more"):
        choose("f", [f"c{at}" for at in range(100)], GUESS, REQUIRED)


def test_one_column_cannot_be_both() -> None:
    with pytest.raises(InputError, match="column 'a' is named for both user and item"):
        choose("f", ["a", "b"], {"user": "a", "item": "a"}, REQUIRED)


def test_none_leaves_a_column_out() -> None:
    assert "timestamp" not in choose("f", ["user", "item", "ts"], {**GUESS, "timestamp": "none"}, REQUIRED)


def test_none_cannot_leave_out_what_is_needed() -> None:
    with pytest.raises(InputError, match="no column 'user'"):
        choose("f", ["user", "item"], {**GUESS, "user": "none"}, REQUIRED)


def test_without_a_header_columns_go_by_position() -> None:
    columns = ["column_1", "column_2", "column_3"]
    positions = ["user", "item", "rating", "timestamp"]
    assert list(choose_by_position("f", columns, positions, GUESS, REQUIRED)) == ["user", "item", "rating"]


def test_without_a_header_named_columns_leave_their_place() -> None:
    columns = ["column_1", "column_2"]
    wanted = {**GUESS, "user": "column_2", "item": "column_1"}
    chosen = choose_by_position("f", columns, ["user", "item"], wanted, REQUIRED)
    assert chosen == {"user": "column_2", "item": "column_1"}


def test_without_a_header_a_missing_column_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no column 'item'; found column_1, column_2\. Name it with --item column_1"):
        choose_by_position("f", ["column_1", "column_2"], ["user", "item"], {**GUESS, "user": "column_2"}, REQUIRED)
