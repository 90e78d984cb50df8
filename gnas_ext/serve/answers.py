"""How does a question become an answer? By one call of the recommender, ids and titles beside the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gnas_ext.serve import questions as ask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gnas_ext.serve.current import Loaded


def recommended(now: Loaded, question: ask.RecommendQuestion) -> ask.Recommended:
    """Lists for users or for a history."""
    options = (question.k, question.exclude_seen, question.filter_items, question.items)
    if question.history is not None:
        rows = now.recommender.recommend_for_items(question.history, *options)
        return ask.Recommended(lists=[ask.UserList(user=None, source="history", items=_scored(rows))])
    assert question.users is not None
    lists = now.recommender.rank(question.users, *options, unknown=question.unknown)
    found = []
    for user, codes, scores, known in zip(
        lists.users.to_list(), lists.items.tolist(), lists.scores.tolist(), lists.known.tolist(), strict=True
    ):
        items = [
            ask.Scored(item=now.names[code][0], title=now.names[code][1], score=score)
            for code, score in zip(codes, scores, strict=True)
            if code >= 0
        ]
        found.append(ask.UserList(user=user, source="model" if known else "popular", items=items))
    return ask.Recommended(lists=found)


def similar(now: Loaded, item: str, k: int) -> ask.Similar:
    """The items that are most like one."""
    rows = now.recommender.similar(item, k)
    id_, title = now.recommender.item(item)
    return ask.Similar(item=id_, title=title, items=_scored(rows))


def explained(now: Loaded, question: ask.ExplainQuestion) -> ask.Explained:
    """A score as a sum. Whose walks a contribution came by is left out: other users are nobody's business."""
    if question.history is not None:
        explanation = now.recommender.explain_for_items(question.history, question.item)
    else:
        assert question.user is not None
        explanation = now.recommender.explain(question.user, question.item, unknown=question.unknown)
    # The strongest are shown, for the item or against it.
    strongest = explanation.reasons.sort(pl.col("contribution").abs(), descending=True, maintain_order=True)
    shown, hidden = strongest.head(question.reasons), strongest.slice(question.reasons)
    return ask.Explained(
        item=explanation.item,
        title=explanation.title,
        score=explanation.score,
        method=explanation.method,
        sums=explanation.sums,
        base=explanation.base,
        reasons=[ask.Reason(item=i, title=t, contribution=c) for i, t, c in shown.iter_rows()],
        others=ask.Others(count=hidden.height, contribution=float(hidden["contribution"].sum())),
        rest=explanation.rest,
        explained=explanation.explained,
    )


def found(now: Loaded, words: str, limit: int) -> ask.Found:
    """Items whose title holds all of the words."""
    wanted = words.lower().split()[:8]
    if not wanted:
        return ask.Found(items=[])
    hit = pl.all_horizontal(pl.col("words").str.contains(word, literal=True) for word in wanted)
    rows = now.shelf.lazy().filter(hit).head(limit).collect()
    return ask.Found(items=[ask.Item(item=item, title=title) for item, title, _ in rows.iter_rows()])


def _scored(rows: pl.DataFrame) -> list[ask.Scored]:
    columns: Iterable[tuple[str | int, str | None, float]] = rows.select("item", "title", "score").iter_rows()
    return [ask.Scored(item=item, title=title, score=score) for item, title, score in columns]
