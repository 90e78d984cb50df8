"""What may be asked, and how much of it? The bodies of requests and answers, with a limit on every part."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

MOST_ITEMS = 1_000  # of a list
MOST_USERS = 256  # of a request
MOST_HISTORY = 1_000  # items that somebody has touched
MOST_FILTER = 10_000  # items to leave out, or to choose among
MOST_REASONS = 100
LONGEST_ID = 256  # characters
LONGEST_BODY = 1 << 20  # bytes
# JSON can name half a character, such as "\ud800", which no text holds.
_HALVES = re.compile("[\ud800-\udfff]")


def _id(value: object) -> str | int:
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64
    if whole or (isinstance(value, str) and 1 <= len(value) <= LONGEST_ID and not _HALVES.search(value)):
        return value  # type: ignore[return-value]
    raise ValueError(f"expected an id: a string of 1 … {LONGEST_ID} characters or a whole number of 64 bits")


_SCHEMA = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": LONGEST_ID}, {"type": "integer"}]}
Id = Annotated[str | int, PlainValidator(_id), WithJsonSchema(_SCHEMA)]
Length = Annotated[int, Field(ge=1, le=MOST_ITEMS, description="Items of a list at most.")]
History = Annotated[list[Id], Field(min_length=1, max_length=MOST_HISTORY)]
Filter = Annotated[list[Id], Field(max_length=MOST_FILTER)]


class _Question(BaseModel):
    """A body in which a field that is not known is a mistake, not a wish that goes unheard."""

    model_config = ConfigDict(extra="forbid")


class RecommendQuestion(_Question):
    """Lists for users of the log, or for somebody who touched some items."""

    users: Annotated[list[Id], Field(min_length=1, max_length=MOST_USERS)] | None = None
    history: History | None = None
    k: Length = 20
    exclude_seen: bool = True
    filter_items: Filter | None = None
    items: Filter | None = None
    unknown: Literal["popular", "error"] = "popular"

    @model_validator(mode="after")
    def _one_of_two(self) -> "RecommendQuestion":
        if (self.users is None) == (self.history is None):
            raise ValueError("expected either users or history, and one of them")
        return self


class ExplainQuestion(_Question):
    """Why a user of the log, or somebody who touched some items, is recommended an item."""

    item: Id
    user: Id | None = None
    history: History | None = None
    reasons: Annotated[int, Field(ge=1, le=MOST_REASONS)] = 5
    unknown: Literal["popular", "error"] = "popular"

    @model_validator(mode="after")
    def _one_of_two(self) -> "ExplainQuestion":
        if (self.user is None) == (self.history is None):
            raise ValueError("expected either user or history, and one of them")
        return self


class Item(BaseModel):
    """An item with its title, null where it is not known."""

    item: str | int
    title: str | None


class Scored(Item):
    """An item of a list; scores compare within the list."""

    score: float


class UserList(BaseModel):
    """A list, best first; `source` says where it is from: the stored user, the history, or what is popular."""

    user: str | int | None
    source: Literal["model", "history", "popular"]
    items: list[Scored]


class Recommended(BaseModel):
    """A list a user, in the order asked for."""

    lists: list[UserList]


class Similar(Item):
    """The items that are most like one."""

    items: list[Scored]


class Reason(Item):
    """What a touched item contributes to a score."""

    contribution: float


class Others(BaseModel):
    """The touched items that are not shown."""

    count: int
    contribution: float


class Explained(Item):
    """A score as a sum: base, what is shown, what is not, and the rest."""

    score: float
    method: str
    sums: str
    base: float
    reasons: list[Reason]
    others: Others
    rest: float
    explained: Annotated[
        float | None,
        Field(description="Of two tables: share of the variance of users' rows that touched items explain; else null."),
    ]


class Found(BaseModel):
    """Items whose title holds some words."""

    items: list[Item]


class Health(BaseModel):
    """What answers."""

    status: Literal["ok"]
    name: str
    artefact: str
    users: int
    items: int
    since: str
    reloads: int
    reload_error: str | None


class Failure(BaseModel):
    """What is wrong, in one line."""

    error: str
