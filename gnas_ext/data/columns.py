"""Which column is the user, which the item: the names that people use, and what to say when none fits."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ABSENT = "none"
"""What people give as a column's name to say: there is such a column, leave it alone."""

# Normalised names (see `normalise`), the likelier first.
NAMES: dict[str, tuple[str, ...]] = {
    "user": (
        *(
            "user",
            "userid",
            "uid",
            "visitorid",
            "visitor",
            "customerid",
            "customer",
            "reviewerid",
            "memberid",
            "member",
        ),
        *("accountid", "account", "clientid", "profileid", "buyerid", "viewerid", "readerid", "listenerid", "personid"),
        *("authorid", "userguid", "useruuid", "username", "userno", "usernum", "sessionid", "session", "playlistid"),
    ),
    "item": (
        *("item", "itemid", "iid", "movieid", "movie", "filmid", "productid", "product", "asin", "parentasin", "sku"),
        *("articleid", "article", "businessid", "bookid", "book", "isbn", "trackid", "track", "songid", "song"),
        *("artistid", "artist", "albumid", "videoid", "video", "newsid", "postid", "venueid", "locationid", "poiid"),
        *("placeid", "gameid", "appid", "animeid", "recipeid", "jobid", "courseid", "adid", "aid", "eventid"),
        *("contentid", "documentid", "docid", "showid", "podcastid", "listingid", "hotelid", "goodsid", "stockcode"),
        *("itemno", "itemnum", "tconst"),
    ),
    "rating": (
        *("rating", "ratings", "rate", "score", "stars", "star", "starrating", "overall", "overallrating"),
        *("reviewscore", "reviewoverall", "reviewrating", "userrating", "preference", "weight", "playcount", "plays"),
    ),
    "timestamp": (
        *("timestamp", "ts", "time", "unixreviewtime", "unixtime", "unixtimestamp", "epoch", "eventtime"),
        *("eventtimestamp", "datetime", "date", "createdat", "created", "reviewtime", "reviewdate", "invoicedate"),
        *("orderdate", "purchasedate", "dateadded", "utctimestamp", "timestampms", "timems", "timestr", "tdat"),
        *("ratingtimestamp", "ratedat", "watchedat", "clickedat"),
    ),
    "title": (
        *("title", "name", "movietitle", "booktitle", "itemtitle", "itemname", "productname", "producttitle"),
        *("trackname", "songname", "artistname", "primarytitle", "prodname", "headline"),
    ),
    "genres": ("genres", "genre", "categories", "category", "tags", "mainCategory".lower(), "class", "topics", "topic"),
}


def normalise(name: str) -> str:
    """A name without case, signs and the type that RecBole writes behind it: 'User_ID:token' is 'userid'."""
    bare = re.sub(r":(token|float|token_seq|float_seq)$", "", name.strip().casefold())
    return "".join(sign for sign in bare if sign.isalnum())


def choose(
    path: str, columns: Sequence[str], wanted: Mapping[str, str | None], required: Sequence[str]
) -> dict[str, str]:
    """The column for each role, as named by the caller or else as guessed.

    Args:
        path: the file, for the error.
        columns: the names that the file has.
        wanted: for each role (a key of `NAMES`) the caller's name, "none" to leave it out, or None to guess.
        required: the roles that must be found.

    Returns:
        role -> column; roles that are neither found nor required are left out.

    Raises:
        InputError: a named or a required column is missing, or one column was named for two roles.
    """
    chosen: dict[str, str] = {}
    for role, name in wanted.items():
        if name is None or _says_absent(name, columns):
            continue
        found = _named(name, columns)
        if found is None:
            raise InputError(_missing(path, role, name, columns, taken=chosen))
        if found in chosen.values():
            other = next(key for key, column in chosen.items() if column == found)
            raise InputError(f"{path}: column {found!r} is named for both {other} and {role}; each needs its own")
        chosen[role] = found
    for role, name in wanted.items():
        if name is None and (guess := _guess(role, columns, taken=chosen)) is not None:
            chosen[role] = guess
    for role in required:
        if role not in chosen:
            raise InputError(_missing(path, role, role, columns, taken=chosen))
    return {role: chosen[role] for role in wanted if role in chosen}


def choose_by_position(
    path: str,
    columns: Sequence[str],
    positions: Sequence[str],
    wanted: Mapping[str, str | None],
    required: Sequence[str],
) -> dict[str, str]:
    """As `choose`, for a file without a header: unnamed roles take their column in order of `positions`."""
    named = {role: name for role, name in wanted.items() if name is not None}
    chosen = choose(path, columns, named, required=())
    for role, column in zip(positions, columns, strict=False):
        if role in wanted and wanted[role] is None and column not in chosen.values():
            chosen[role] = column
    for role in required:
        if role not in chosen:
            raise InputError(_missing(path, role, role, columns, taken=chosen))
    return {role: chosen[role] for role in wanted if role in chosen}


def _says_absent(name: str, columns: Sequence[str]) -> bool:
    return name == ABSENT and ABSENT not in columns


def _named(name: str, columns: Sequence[str]) -> str | None:
    if name in columns:
        return name
    alike = [column for column in columns if normalise(column) == normalise(name)]
    return alike[0] if len(alike) == 1 else None


def _guess(role: str, columns: Sequence[str], taken: Mapping[str, str]) -> str | None:
    free = {normalise(column): column for column in reversed(columns) if column not in taken.values()}
    return next((free[name] for name in NAMES[role] if name in free), None)


def _missing(path: str, role: str, name: str, columns: Sequence[str], taken: Mapping[str, str]) -> str:
    free = [column for column in columns if column not in taken.values()]
    close = difflib.get_close_matches(name, free, n=1, cutoff=0.5)
    suggestion = _guess(role, columns, taken) or (close[0] if close else free[0] if free else "COLUMN")
    shown = ", ".join(columns[:12]) + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")
    return f"{path}: no column {name!r}; found {shown}. Name it with --{role} {suggestion}"
