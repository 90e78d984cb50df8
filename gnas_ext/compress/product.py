"""How do rows become a byte for some columns together? Parts as wide as pays, and 256 vectors for each (k-means)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gnas_ext.models.coded import CODEWORDS, WIDEST_PART, CodedModel, GroupedTable, ProductTable, Rows

# Rows that k-means looks at, and its rounds: more move the codebooks by less than training does afterwards.
_SAMPLE = 16_384
_ROUNDS = 12
# Rows whose distances are found at once, half a megabyte of them: they stay in the cache.
_BLOCK = 512


def product_table(
    x: Tensor,
    parts: int,
    weight: Tensor | None = None,
    length: float = 0.0,
    seed: int = 0,
) -> ProductTable:
    """Stores rows in `parts` bytes each, after training: widths, codebooks by k-means, the nearest codes.

    Args:
        x: [n, width], float32, finite; its columns in falling order of what they hold (`rotate`).
        parts: bytes a row, from width / 16 to width.
        weight: [width], how much an error in each column costs (`importance`); None for alike.
        length: of every row, for a table that is to restore it; 0 for none.
        seed: of the first codebooks.

    Raises:
        ValueError: parts or a shape does not fit.
    """
    weight = torch.ones(x.shape[1]) if weight is None else weight
    widths = part_widths(x.var(0, correction=0) * weight, parts)
    books = codebooks(x, widths, weight, seed)
    # Codes are chosen for the codebook that is stored.
    return ProductTable(nearest(x, books.half().float(), widths, weight), books.half(), widths, length)


def int8_books(table: ProductTable) -> ProductTable:
    """The same codes for the same vectors in int8, with a scale a column: half the bytes of those in float16."""
    books = table.books
    scale = (books.abs().amax(0) / 127).half()
    codes = (books / scale.float().masked_fill(scale == 0, 1)).round().clamp(-127, 127).to(torch.int8)
    return replace(table, codebook=codes, codebook_scale=scale)


def small_books(model: CodedModel) -> CodedModel:
    """A model of product codes, in groups or not, with all of its codebooks in int8 (`int8_books`)."""
    return CodedModel(_small(model.user), _small(model.item), model.prior)


def _small(rows: Rows) -> Rows:
    if isinstance(rows, GroupedTable):
        return replace(rows, tables=tuple(_small(table) for table in rows.tables))
    return int8_books(rows) if isinstance(rows, ProductTable) else rows


def part_widths(spread: Tensor, parts: int) -> tuple[int, ...]:
    """Columns of each part, so that the error of all is least: an exact search over all ways to cut.

    A byte for w columns of variances s leaves an error of about w (s_1 … s_w)^(1/w) 2^(-16 / w): the rate-distortion
    bound of a Gaussian (Cover and Thomas, 2006, chapter 10) up to a factor.

    Args:
        spread: [width], variance of each column, weighted.
        parts: how many.
    """
    width = len(spread)
    if not math.ceil(width / WIDEST_PART) <= parts <= width:
        raise ValueError(
            f"part_widths: expected {math.ceil(width / WIDEST_PART)} to {width} parts for {width} columns, got {parts}"
        )
    logs = [0.0, *spread.double().clamp(min=1e-30).log().cumsum(0).tolist()]
    # By size and end of a part: what it leaves by itself, and the best that ends in it.
    alone = np.full((min(WIDEST_PART, width), width + 1), np.inf)
    for size in range(1, len(alone) + 1):
        for end in range(size, width + 1):
            mean_log = (logs[end] - logs[end - size]) / size
            alone[size - 1, end] = size * math.exp(mean_log - 16 / size * math.log(2))
    best = np.full(width + 1, np.inf)
    best[0] = 0.0
    came = []
    for _ in range(parts):
        whole = alone.copy()
        for size in range(1, len(alone) + 1):
            whole[size - 1, size:] += best[:-size]
        best, last = whole.min(0), whole.argmin(0) + 1
        came.append(last.tolist())
    widths: list[int] = []
    end = width
    for part in range(parts, 0, -1):
        widths.append(came[part - 1][end])
        end -= widths[-1]
    return tuple(reversed(widths))


def codebooks(x: Tensor, widths: tuple[int, ...], weight: Tensor, seed: int = 0) -> Tensor:
    """256 vectors for each part by k-means (Lloyd, 1982), each part's in its columns, [256, width], float32.

    Args:
        x: [n, width], one row or more; at most 16,384 of them are looked at.
        widths: columns of each part.
        weight: [width], of the squared errors.
        seed: draws rows to look at and to begin with.
    """
    generator = torch.Generator().manual_seed(seed)
    if len(x) > _SAMPLE:
        x = x[torch.randperm(len(x), generator=generator)[:_SAMPLE]]
    books = []
    for points, scale in zip(torch.split(x, list(widths), 1), torch.split(weight.sqrt(), list(widths)), strict=True):
        scaled = points * scale
        first = torch.randint(len(scaled), (CODEWORDS,), generator=generator)
        if len(scaled) >= CODEWORDS:
            first = torch.randperm(len(scaled), generator=generator)[:CODEWORDS]
        centres = scaled[first]
        if scaled.shape[1] == 1:
            # As dense as the cube root of a Gaussian's density, which is best for one (Panter and Dite, 1951): Lloyd's
            # rounds would take long to get there.
            share = (torch.arange(CODEWORDS) + 0.5) / CODEWORDS
            spread = (6**0.5) * torch.erfinv(2 * share - 1) * scaled.std(correction=0)
            centres = (scaled.mean() + spread).clamp(float(scaled.min()), float(scaled.max()))[:, None]
        for _ in range(_ROUNDS):
            code = _nearest(scaled, centres)
            counts = torch.bincount(code, minlength=CODEWORDS)
            sums = torch.zeros_like(centres).index_add_(0, code, scaled)
            used = counts > 0
            centres[used] = sums[used] / counts[used, None]
            # An idle vector moves to a row that is badly off.
            idle = (~used).nonzero()[:, 0]
            if len(idle):
                error = (scaled - centres[code]).square().sum(1)
                worst = error.topk(min(len(idle), len(error))).indices
                centres[idle[: len(worst)]] = scaled[worst]
        books.append(centres / scale)
    return torch.cat(books, 1)


def nearest(x: Tensor, books: Tensor, widths: tuple[int, ...], weight: Tensor) -> Tensor:
    """The nearest vector of each part for each row, [n, parts], uint8; the first of equals.

    Args:
        x: [n, width].
        books: [256, width].
        widths: columns of each part.
        weight: [width], of the squared errors.
    """
    scale = weight.sqrt()
    codes = [
        _nearest(points, centres).to(torch.uint8)
        for points, centres in zip(
            torch.split(x * scale, list(widths), 1), torch.split(books * scale, list(widths), 1), strict=True
        )
    ]
    return torch.stack(codes, 1)


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each point, [n], int64: |c|² / 2 - <x, c> is least."""
    half = centres.square().sum(1) / 2
    flipped = centres.T.contiguous()
    return torch.cat(
        [torch.addmm(half, some, flipped, alpha=-1).min(1).indices for some in torch.split(points, _BLOCK)]
    )
