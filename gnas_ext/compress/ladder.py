"""Which recipes are there for so many bytes and milliseconds, and which one next where none of them was small enough?

Bytes are known before anything is tried, from what tables take; milliseconds are measured. They go with the columns
that a row has once it is decoded, not with how it is stored.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil
from gnas_ext.models.coded import CODEWORDS, WIDEST_PART

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.compress.adapt import Limits, Tried
    from gnas_ext.models.factors import FactorModel


def ladder(model: FactorModel, limits: Limits, epochs: int = 6) -> list[Recipe]:
    """Recipes for a number of bytes: nothing at all where that fits, else as many bytes a row as do.

    Nearest codes; those that rank as the teacher does; and learned ones that leave rare items fewer bytes, so that
    others have more. Then rows of as many bits as there is room for, of all columns or, where that is too much, of the
    half, quarter or eighth of them that holds most: few rows do not pay for codebooks. Where milliseconds are limited,
    narrower rows follow in any case, in codes where there is no room for bits. Where there is room for none of these,
    they are the most columns that fit in any way, in codebooks of 8 bits and a byte for 16 columns if need be; and
    where nothing fits, the smallest there is.
    """
    width, timed = model.user.width, math.isfinite(limits.latency_ms)
    found = [Recipe(())] if model.size_bytes() <= limits.bytes else []
    found += _codes(model, limits.bytes, epochs)
    rows = _rows(model, limits.bytes, epochs)
    found += list(rows.values()) if timed else list(rows.values())[:1]
    if not found:
        fitting = (_at_width(model, keep, limits.bytes, epochs) for keep in _widths(width))
        return next(filter(None, fitting), [_smallest(model, epochs)])
    if timed:
        for keep in _halves(width)[1:]:
            if keep not in rows:
                found += _at_width(model, keep, limits.bytes, epochs)[-1:]
    return found


def smaller(model: FactorModel, limits: Limits, tried: Sequence[Tried], epochs: int = 6) -> Recipe | None:
    """The recipe to try next, after some of which none keeps to the limits: the widest that may.

    Args:
        model: to be made smaller.
        limits: to keep to.
        tried: one or more. A model that was too slow says how wide the next may be, as if milliseconds went with the
            columns alone: they fall by less, so none is passed over that would do. Where all were too large, the
            smallest says how much less than the limit to aim at.
        epochs: of the steps that teach.

    Returns:
        None where nothing is left: the smallest there is was tried.
    """
    slow = [one for one in tried if one.latency_ms > limits.latency_ms]
    widest = min((one.model.user.width * limits.latency_ms / one.latency_ms for one in slow), default=math.inf)
    room = limits.bytes * min(1, limits.bytes / min(one.bytes for one in tried))
    done = {one.recipe for one in tried}
    for keep in _widths(model.user.width):
        found = _at_width(model, keep, room, epochs)[-1:] if keep <= widest else []
        if found and found[0] not in done:
            return found[0]
    last = _smallest(model, epochs)
    return None if last in done else last


def _codes(model: FactorModel, most_bytes: float, epochs: int) -> list[Recipe]:
    width, rows = model.user.width, model.n_users + model.n_items
    shared = 2 * (512 * width + 4 * width + 4) + _prior_bytes(model)
    most = min(width, int((most_bytes - shared) // rows)) if math.isfinite(most_bytes) else width
    least = -(-width // WIDEST_PART)
    if most < least:
        return []
    found = [Recipe((Codes(most, most),)), Recipe((Codes(most, most, solves=1),))]
    # Half of the items give up a quarter of their bytes for the other half, if there is room for a quarter more.
    quarter = most // 4
    if quarter and most + quarter <= width and most - quarter >= least:
        spare = shared + 512 * width + rows * most + rows // 4
        if spare <= most_bytes:
            rare = Codes(most, most + quarter, epochs=epochs, rare_share=0.5, rare_bytes=most - quarter)
            found.append(Recipe((rare,)))
    return found


def _rows(model: FactorModel, most_bytes: float, epochs: int) -> dict[int, Recipe]:
    """By the columns that are kept, the most first: rows of the most bits that fit, where any do."""
    rows, found = model.n_users + model.n_items, {}
    for keep in _halves(model.user.width):
        for bits in (8, 4, 2):
            # Room for a zero a row is asked for with 4 bits too, which have none.
            roomy = rows * (keep * bits / 8 + (4 if bits == 8 else 8)) + _prior_bytes(model)
            if max(roomy, _row_bytes(model, keep, bits)) <= most_bytes:
                found[keep] = _in_bits(model, keep, bits, epochs)
                break
    return found


def _at_width(model: FactorModel, keep: int, most_bytes: float, epochs: int) -> list[Recipe]:
    """So many columns in the most bits an entry that fit: rows of 8, 4 or 2, or codes, the nearest and then refitted.

    Columns need not be taught before they are refitted: on Gowalla, that adds less than 1% to 3 bytes of 32 columns.
    """
    fits = [bits for bits in (8, 4, 2) if _row_bytes(model, keep, bits) <= most_bytes]
    codes = _most_codes(model, keep, most_bytes)
    # Of as many bits, codes lose less than rows of 4 or 2.
    if codes is not None and 8 not in fits and 8 * codes.user_bytes >= keep * max(fits, default=0):
        less = (Columns(keep),) if keep < model.user.width else ()
        return [Recipe((*less, codes)), Recipe((*less, replace(codes, solves=1)))]
    return [_in_bits(model, keep, fits[0], epochs)] if fits else []


def _most_codes(model: FactorModel, width: int, most_bytes: float) -> Codes | None:
    """Codes of the most bytes a row that fit, with codebooks of 8 bits where these leave room for more; None fit."""
    sizes = {}
    for book_bits in (16, 8):
        shared = _code_bytes(model, width, 0, book_bits)
        each = _code_bytes(model, width, 1, book_bits) - shared
        sizes[book_bits] = int(min(width, (most_bytes - shared) / each))
    best = 8 if sizes[8] > sizes[16] else 16
    return Codes(sizes[best], sizes[best], book_bits=best) if sizes[best] >= -(-width // WIDEST_PART) else None


def _smallest(model: FactorModel, epochs: int) -> Recipe:
    """One column, in a byte a row; or in five, where rows are too few to pay for codebooks."""
    if _row_bytes(model, 1, 8) < _code_bytes(model, 1, 1, 8):
        return _in_bits(model, 1, 8, epochs)
    return Recipe((Columns(1), Codes(1, 1, book_bits=8)))


def _in_bits(model: FactorModel, keep: int, bits: int, epochs: int) -> Recipe:
    less = (Columns(keep), Distil(epochs)) if keep < model.user.width else ()
    return Recipe((*less, Bits(bits, epochs=epochs if bits < 8 else 0)))


def _halves(width: int) -> list[int]:
    """All columns, the half, quarter and eighth of them."""
    return list(dict.fromkeys(max(1, width // part) for part in (1, 2, 4, 8)))


def _widths(width: int) -> list[int]:
    """All columns and fewer, down to one: the most that a number of bytes can stand for, and halves of halves."""
    halves = {width >> times for times in range(width.bit_length())}
    return sorted({*range(WIDEST_PART, width, WIDEST_PART), *halves}, reverse=True)


def _code_bytes(model: FactorModel, width: int, size: int, book_bits: int) -> int:
    """Of both tables in product codes of so many bytes a row (`models.ProductTable`), and the prior."""
    book = CODEWORDS * width * book_bits // 8 + (2 * width if book_bits == 8 else 0)
    return (model.n_users + model.n_items) * size + 2 * (book + 4 * size + 4) + _prior_bytes(model)


def _row_bytes(model: FactorModel, width: int, bits: int) -> int:
    """Of both tables in rows of so many bits an entry, with a scale each and a zero of 2 bits, and the prior."""
    rows = (model.n_users + model.n_items) * (-(-width * bits // 8) + (8 if bits == 2 else 4))
    if bits == 8:  # these are not taught, so the prior stays float32
        return rows + (4 * model.n_items if model.prior is not None else 0)
    return rows + 2 * 8 + _prior_bytes(model)


def _prior_bytes(model: FactorModel) -> int:
    """Of a prior in a byte an item (`prior_table`)."""
    return model.n_items + 2 * CODEWORDS + 8 if model.prior is not None else 0
