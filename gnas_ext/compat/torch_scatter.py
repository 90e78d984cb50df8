"""torch-scatter's functions over these ops: `from gnas_ext.compat import torch_scatter`.

Names, arguments, `out=`, broadcasting of the index, empty rows and the marks of empty arguments are those of
torch-scatter 2.1.2 (https://pytorch-scatter.readthedocs.io). Three things differ, on purpose. Results repeat exactly.
NaN wins a max or min, as in torch; there it is passed over. And gradients are right to any order, those of a product
with zeros too. Integers are reduced by plain torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from gnas_ext.compat._places import Extreme, Places, broadcast, integer_extreme
from gnas_ext.compat._segments import Segments
from gnas_ext.ops import segment_arg, segment_reduce

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "gather_coo",
    "gather_csr",
    "scatter",
    "scatter_add",
    "scatter_log_softmax",
    "scatter_logsumexp",
    "scatter_max",
    "scatter_mean",
    "scatter_min",
    "scatter_mul",
    "scatter_softmax",
    "scatter_std",
    "scatter_sum",
    "segment_add_coo",
    "segment_add_csr",
    "segment_coo",
    "segment_csr",
    "segment_max_coo",
    "segment_max_csr",
    "segment_mean_coo",
    "segment_mean_csr",
    "segment_min_coo",
    "segment_min_csr",
    "segment_sum_coo",
    "segment_sum_csr",
]


def scatter_sum(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """out[…, i, …] += the src[…, e, …] with index[…, e, …] == i, along `dim`.

    Args:
        src: any shape; floating point or integers.
        index: int64, src's shape or one that broadcasts to it: one dimension is that of `dim`.
        dim: the dimension that is reduced.
        out: added to, in place, and returned.
        dim_size: size of `dim` in the result, where `out` is not given; by default what the largest index asks for.

    Returns:
        src's shape with `dim` of that size; `out` where it is given.
    """
    value = _places(src, index, dim, out, dim_size).reduce(src, "sum")
    return value if out is None else out.add_(value)


def scatter_add(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """`scatter_sum`."""
    return scatter_sum(src, index, dim, out, dim_size)


def scatter_mul(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """The product of what goes to each place, times `out` where given; ones where nothing goes."""
    places = _places(src, index, dim, out, dim_size)
    full = broadcast(index, src.shape, places.dim).expand_as(src).long()
    if out is None and src.numel() == 0:
        return places.reduce(src, "sum")  # zeros, not ones: so it is there
    start = src.new_ones(places.shape) if out is None else out
    value = start.scatter_reduce(places.dim, full, src, "prod", include_self=True)
    return value if out is None else out.copy_(value)


def scatter_mean(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """The sum, with `out` in it where it is given, over the number of entries alone; integers are divided downwards."""
    places = _places(src, index, dim, out, dim_size)
    if out is None:
        return places.reduce(src, "mean")
    return out.copy_(_divide(out + places.reduce(src, "sum"), places.count()))


def scatter_max(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The largest of what goes to each place, and of `out` where it is given; and where along `dim` it stood.

    Returns:
        Values, zero where nothing goes; and positions, int64, src.size(dim) where nothing goes or `out` is not
        exceeded.
    """
    return _extreme(src, _places(src, index, dim, out, dim_size), "max", out)


def scatter_min(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest, as `scatter_max` has the largest."""
    return _extreme(src, _places(src, index, dim, out, dim_size), "min", out)


def scatter(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """One of `scatter_sum` ("sum" or "add"), `scatter_mul`, `scatter_mean`, `scatter_min` and `scatter_max`, by name.

    Raises:
        ValueError: reduce is none of them.
    """
    match reduce:
        case "sum" | "add":
            return scatter_sum(src, index, dim, out, dim_size)
        case "mul":
            return scatter_mul(src, index, dim, out, dim_size)
        case "mean":
            return scatter_mean(src, index, dim, out, dim_size)
        case "min":
            return scatter_min(src, index, dim, out, dim_size)[0]
        case "max":
            return scatter_max(src, index, dim, out, dim_size)[0]
    raise ValueError(f"scatter: expected reduce in sum, add, mul, mean, min, max, got {reduce!r}")


def segment_sum_coo(src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None) -> Tensor:
    """`scatter_sum` along the last dimension of index, which is sorted."""
    return scatter_sum(src, index, index.dim() - 1, out, dim_size)


def segment_add_coo(src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None) -> Tensor:
    """`segment_sum_coo`."""
    return segment_sum_coo(src, index, out, dim_size)


def segment_mean_coo(src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None) -> Tensor:
    """`scatter_mean` along the last dimension of index, which is sorted; integers are divided towards zero."""
    if src.is_floating_point():
        return scatter_mean(src, index, index.dim() - 1, out, dim_size)
    places = _places(src, index, index.dim() - 1, out, dim_size)
    total = places.reduce(src, "sum") if out is None else out + places.reduce(src, "sum")
    value = total.div(places.count().clamp(min=1), rounding_mode="trunc").to(src.dtype)
    return value if out is None else out.copy_(value)


def segment_min_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """`scatter_min` along the last dimension of index, which is sorted."""
    return scatter_min(src, index, index.dim() - 1, out, dim_size)


def segment_max_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """`scatter_max` along the last dimension of index, which is sorted."""
    return scatter_max(src, index, index.dim() - 1, out, dim_size)


def segment_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None, reduce: str = "sum"
) -> Tensor:
    """`scatter` along the last dimension of index, which is sorted; "mul" is not among its reductions."""
    if reduce == "mul":
        raise ValueError("segment_coo: expected reduce in sum, add, mean, min, max, got 'mul'")
    return scatter(src, index, index.dim() - 1, out, dim_size, reduce)


def gather_coo(src: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
    """Gives each entry what stands at its index, along the last dimension of index: the transpose of `segment_sum_coo`.

    Args:
        src: [x0, …, rows, …].
        index: [x0, …, entries], int64, sorted.
        out: overwritten, and returned.

    Returns:
        [x0, …, entries, …], src's dtype.
    """
    dim = index.dim() - 1
    shape = (*src.shape[:dim], index.shape[dim], *src.shape[dim + 1 :])
    value = Places(shape, index, dim, src.shape[dim]).spread(src)
    return value if out is None else out.copy_(value)


def segment_sum_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """The sum of each range indptr[…, i] … indptr[…, i+1]-1, along the last dimension of indptr.

    Args:
        src: [x0, …, entries, …]; floating point or integers.
        indptr: [x0, …, rows + 1], int64, ascending; leading dimensions broadcast.
        out: overwritten, and returned.

    Returns:
        [x0, …, rows, …], src's dtype; zero for empty ranges.
    """
    return _segment_csr(src, indptr, out, "sum")


def segment_add_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """`segment_sum_csr`."""
    return segment_sum_csr(src, indptr, out)


def segment_mean_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """The mean of each range, as `segment_sum_csr` has the sum; integers are divided towards zero."""
    return _segment_csr(src, indptr, out, "mean")


def segment_min_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The smallest of each range, and where it stands; zero and src's size in empty ranges."""
    return _segment_csr_extreme(src, indptr, out, "min")


def segment_max_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The largest of each range, and where it stands; zero and src's size in empty ranges."""
    return _segment_csr_extreme(src, indptr, out, "max")


def segment_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None, reduce: str = "sum") -> Tensor:
    """One of `segment_sum_csr` ("sum" or "add"), `segment_mean_csr`, `segment_min_csr`, `segment_max_csr`, by name.

    Raises:
        ValueError: reduce is none of them.
    """
    match reduce:
        case "sum" | "add":
            return segment_sum_csr(src, indptr, out)
        case "mean":
            return segment_mean_csr(src, indptr, out)
        case "min":
            return segment_min_csr(src, indptr, out)[0]
        case "max":
            return segment_max_csr(src, indptr, out)[0]
    raise ValueError(f"segment_csr: expected reduce in sum, add, mean, min, max, got {reduce!r}")


def gather_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Gives each entry what its range has: the transpose of `segment_sum_csr`.

    Args:
        src: [x0, …, rows, …].
        indptr: [x0, …, rows + 1], int64, ascending; leading dimensions broadcast.
        out: written where there is a range, and returned.

    Returns:
        [x0, …, indptr[-1], …], src's dtype.
    """
    dim = indptr.dim() - 1
    count = (int(indptr.flatten()[-1]) if src.numel() else 0) if out is None else out.shape[dim]
    segments = Segments((*src.shape[:dim], count, *src.shape[dim + 1 :]), indptr)
    value = segments.spread(src)
    return value if out is None else out.copy_(torch.where(segments.covered(), value, out))


def scatter_softmax(src: Tensor, index: Tensor, dim: int = -1, dim_size: int | None = None) -> Tensor:
    """The softmax over what goes to each place; src's shape."""
    _check_floating("scatter_softmax", src)
    places = _places(src, index, dim, None, dim_size)
    exponent = (src - places.spread(places.arg(src.detach(), "max")[0])).exp()
    return exponent / places.spread(places.reduce(exponent, "sum"))


def scatter_log_softmax(
    src: Tensor, index: Tensor, dim: int = -1, eps: float = 1e-12, dim_size: int | None = None
) -> Tensor:
    """The logarithm of `scatter_softmax`, with `eps` added to each sum before its logarithm; src's shape."""
    _check_floating("scatter_log_softmax", src)
    places = _places(src, index, dim, None, dim_size)
    centred = src - places.spread(places.arg(src.detach(), "max")[0])
    return centred - places.spread((places.reduce(centred.exp(), "sum") + eps).log())


def scatter_logsumexp(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    eps: float = 1e-12,
) -> Tensor:
    """log(sum of exp + eps) of what goes to each place, and of `out` where it is given; zero where nothing goes."""
    _check_floating("scatter_logsumexp", src)
    places = _places(src, index, dim, out, dim_size)
    value, arg = places.arg(src.detach(), "max")
    largest = value.masked_fill(arg == places.entries, -torch.inf)
    centred = (src - places.spread(largest)).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    total = places.reduce(centred.exp(), "sum")
    if out is not None:
        total = total + (out - largest).exp()
    result = ((total + eps).log() + largest).nan_to_num(neginf=0.0)
    return result if out is None else out.copy_(result)


def scatter_std(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    unbiased: bool = True,
) -> Tensor:
    """The standard deviation of what goes to each place, over one entry less where `unbiased`.

    `out`, where it is given, is added to the sum of squares, in place.
    """
    places = _places(src, index, dim, out, dim_size)
    count = places.count().to(src.dtype)
    mean = places.reduce(src, "sum") / count.clamp(min=1)
    squares = places.reduce((src - places.spread(mean)).square(), "sum")
    total = squares if out is None else out.add_(squares)
    divisor = (count.clamp(min=1) - 1).clamp(min=1) if unbiased else count.clamp(min=1)
    return (total / (divisor + 1e-6)).sqrt()


def _places(src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None) -> Places:
    return Places(src.shape, index, dim, dim_size if out is None else out.shape[dim])


def _check_floating(name: str, src: Tensor) -> None:
    if not src.is_floating_point():
        raise ValueError(f"{name}: expected src of floating point, got {src.dtype}")


def _divide(total: Tensor, count: Tensor) -> Tensor:
    count = count.clamp(min=1)
    return total / count.to(total.dtype) if total.is_floating_point() else total.div(count, rounding_mode="floor")


def _extreme(src: Tensor, places: Places, reduce: Extreme, out: Tensor | None) -> tuple[Tensor, Tensor]:
    value, arg = places.arg(src, reduce)
    if out is None:
        return value, arg
    leads = (value > out if reduce == "max" else value < out) | (value != value)
    won = (arg != places.entries) & leads
    return out.copy_(torch.where(won, value, out)), torch.where(won, arg, places.entries)


def _segment_csr(src: Tensor, indptr: Tensor, out: Tensor | None, reduce: Literal["sum", "mean"]) -> Tensor:
    segments = Segments(src.shape, indptr)
    flat = segments.flat(src)
    if src.is_floating_point():
        value = segments.result(segment_reduce(flat, segments.indptr, reduce))
    else:
        value = segments.result(flat.new_zeros(segments.total, flat.shape[1]).index_add_(0, segments.index(), flat))
        if reduce == "mean":
            value = value.div(segments.lengths().clamp(min=1), rounding_mode="trunc").to(src.dtype)
    return value if out is None else out.copy_(value)


def _segment_csr_extreme(src: Tensor, indptr: Tensor, out: Tensor | None, reduce: Extreme) -> tuple[Tensor, Tensor]:
    segments = Segments(src.shape, indptr)
    flat = segments.flat(src)
    if src.is_floating_point():
        value, arg = segment_arg(flat, segments.indptr, reduce)
    else:
        value, arg = integer_extreme(flat, segments.index(), segments.total, reduce)
    value, arg = segments.result(value), segments.positions(segments.result(arg.long()))
    return (value if out is None else out.copy_(value)), arg
