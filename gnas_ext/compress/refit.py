"""Which codes rank most like the teacher? Least squares of its scores, solved side by side, then codes by that measure.

Each row has a best value for the other side as it is stored (`squares`), errors of its codes included, and codes are
chosen one part after the other by what they do to the scores, not by their distance to the row. Rows stay near what
they were where lists say little (ridge).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gnas_ext.compress.lists import rescaled
from gnas_ext.compress.product import nearest
from gnas_ext.compress.squares import Meetings, held
from gnas_ext.models.coded import CodedModel, GroupedTable, ProductTable
from gnas_ext.models.systems import solve_each

if TYPE_CHECKING:
    from gnas_ext.compress.lists import Lists
    from gnas_ext.models.factors import FactorModel


def refit(
    model: FactorModel, coded: CodedModel, lists: Lists, rounds: int = 1, ridge: float = 0.1, top: float = 0.5
) -> CodedModel:
    """Chooses the codes of a model anew, so that its lists are the teacher's.

    In each round users are solved with items as they are stored, then items with users, and at last users again.
    After each the vectors of the codebooks move half of the way to what is best for the rows that picked them. Rows are
    of any length afterwards: their codes say which.

    Args:
        model: float32, with the columns of `coded`: what rows stay near to.
        coded: product codes on both sides; items may be in groups of them.
        lists: the teacher's, in any unit: each list's scores become those that `model` has for the same items, in the
            teacher's order (`rescaled`).
        rounds: 0 solves users alone.
        ridge: how strongly rows are held, of the mean of their matrix's diagonal; above 0.
        top: of `Meetings`.

    Raises:
        ValueError: a side is not in product codes, or ridge or top is out of range.
    """
    tables = coded.item.tables if isinstance(coded.item, GroupedTable) else (coded.item,)
    products = [table for table in tables if isinstance(table, ProductTable)]
    if not isinstance(coded.user, ProductTable) or len(products) < len(tables):
        raise ValueError("refit: expected product codes on both sides, of items in groups or not")
    if not ridge > 0:
        raise ValueError(f"refit: expected ridge above 0, got {ridge}")
    users, items = model.user.float(), model.item.float()
    prior = coded.prior_row()
    meetings = Meetings(rescaled(lists, model), torch.zeros(coded.n_items) if prior is None else prior, top)
    # Rows that the tables stand for, without bringing them to a length.
    user = unnormalised(coded.user, users)
    group = coded.item.groups() if isinstance(coded.item, GroupedTable) else torch.zeros(len(items), dtype=torch.int64)
    members = [(group == number).nonzero()[:, 0] for number in range(len(products))]
    products = [unnormalised(table, items[ids]) for ids, table in zip(members, products, strict=True)]
    for _ in range(rounds):
        user = _users(meetings, users, user, _spread(members, products), ridge)
        products = _items(meetings, items, user.float(), members, products, ridge)
    user = _users(meetings, users, user, _spread(members, products), ridge)
    if isinstance(coded.item, GroupedTable):
        return CodedModel(user, replace(coded.item, tables=tuple(products)), coded.prior)
    return CodedModel(user, products[0], coded.prior)


def _users(meetings: Meetings, rows: Tensor, user: ProductTable, stored: Tensor, ridge: float) -> ProductTable:
    """Users' codes for items as they are stored."""
    codes, books = user.codes.clone(), _Books(user)
    for who, h, b in meetings.users(stored):
        codes[who] = books.solved(h, b, rows[who], codes[who], ridge)
    return replace(user, codes=codes, codebook=books.moved())


def _items(
    meetings: Meetings,
    rows: Tensor,
    stored: Tensor,
    members: list[Tensor],
    tables: list[ProductTable],
    ridge: float,
) -> list[ProductTable]:
    """Items' codes, of each group, for users as they are stored."""
    wanted = meetings.centred(stored, _spread(members, tables))
    found = []
    for ids, table in zip(members, tables, strict=True):
        codes, books = table.codes.clone(), _Books(table)
        row = torch.full((len(rows),), -1)
        row[ids] = torch.arange(len(ids))
        for which, h, b in meetings.items(stored, wanted, row >= 0):
            mine = row[which]
            codes[mine] = books.solved(h, b, rows[which], codes[mine], ridge)
        found.append(replace(table, codes=codes, codebook=books.moved()))
    return found


def _spread(members: list[Tensor], tables: list[ProductTable]) -> Tensor:
    """The rows of groups, each in its place."""
    out = torch.empty(sum(map(len, members)), tables[0].width)
    for ids, table in zip(members, tables, strict=True):
        out[ids] = table.float()
    return out


def unnormalised(table: ProductTable, rows: Tensor) -> ProductTable:
    """The table without a length, its codes those nearest to the rows."""
    if not table.length:
        return table
    # Codebooks of rows that were brought to a length are near to rows of that length.
    weight = torch.ones(table.width)
    return replace(table, codes=nearest(rows, table.books, table.widths, weight), length=0.0)


class _Books:
    """The codebook of a table, and where the rows that pick its vectors pull them."""

    def __init__(self, table: ProductTable) -> None:
        self.widths, self.books = table.widths, table.books
        self.squares = [torch.zeros(len(self.books), width, width) for width in self.widths]
        self.pulls = [torch.zeros(len(self.books), width) for width in self.widths]

    def solved(self, h: Tensor, b: Tensor, rows: Tensor, codes: Tensor, ridge: float) -> Tensor:
        """Codes near to the best rows, by what they do to scores."""
        h, b = held(h, b, rows, ridge)
        x = solve_each(h, b)
        codes = best_codes(x, h, self.books, self.widths, codes)
        off = picked(self.books, self.widths, codes) - x
        pull = (h @ off[:, :, None])[:, :, 0]
        first = 0
        for place, width in enumerate(self.widths):
            columns = slice(first, first + width)
            index = codes[:, place].long()
            self.squares[place].index_add_(0, index, h[:, columns, columns])
            self.pulls[place].index_add_(0, index, pull[:, columns])
            first += width
        return codes

    def moved(self) -> Tensor:
        """The codebook after half a Newton step, for all parts move at once; float16."""
        steps = []
        for square, pull in zip(self.squares, self.pulls, strict=True):
            least = 1e-3 * square.diagonal(dim1=1, dim2=2).mean(1) + 1e-12
            whole = square + least[:, None, None] * torch.eye(square.shape[1])
            steps.append(solve_each(whole, pull))
        return (self.books - 0.5 * torch.cat(steps, 1)).half()


def picked(books: Tensor, widths: tuple[int, ...], codes: Tensor) -> Tensor:
    """The rows that codes name, [n, width]."""
    parts = torch.split(books, list(widths), 1)
    return torch.cat([part[codes[:, place].long()] for place, part in enumerate(parts)], 1)


def best_codes(x: Tensor, h: Tensor, books: Tensor, widths: tuple[int, ...], codes: Tensor, sweeps: int = 2) -> Tensor:
    """Codes of least (q - x)' H (q - x), part after part with the others as they are, [n, parts], uint8.

    Args:
        x: [n, width].
        h: [n, width, width], symmetric.
        books: [256, width].
        widths: columns of each part.
        codes: to begin with, [n, parts].
        sweeps: over all parts.
    """
    codes = codes.clone()
    columns = torch.split(torch.arange(books.shape[1]), list(widths))
    off = picked(books, widths, codes) - x
    for _ in range(sweeps):
        for place, part in enumerate(columns):
            begin, end = int(part[0]), int(part[-1]) + 1
            book, own = books[:, begin:end], h[:, begin:end, begin:end]
            # With this part at zero.
            off[:, begin:end] = -x[:, begin:end]
            pull = (h[:, begin:end] @ off[:, :, None])[:, :, 0]
            outer = (book[:, :, None] * book[:, None, :]).flatten(1)
            cost = own.flatten(1) @ outer.T + 2 * pull @ book.T
            best = cost.min(1).indices
            codes[:, place] = best.to(torch.uint8)
            off[:, begin:end] = book[best] - x[:, begin:end]
    return codes
