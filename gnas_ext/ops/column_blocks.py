"""Which columns of a row are kept? Masks over blocks of 16 columns, and rows that hold their live blocks alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from gnas_ext.ops._entries import FLOATS

BLOCK = 16  # columns: a cache line of float32


@dataclass(frozen=True, eq=False)
class RaggedRows:
    """Rows as wide as their live column blocks, one after another: what `compact_blocks` makes.

    Args:
        values: [16 * blocks of all rows], float32, float64, bfloat16 or float16: for each row its live blocks in the
            order of the columns, the last block of a row filled up with zeros where the width is no multiple of 16.
        begin: [rows], int32 or int64: the block of `values` that a row begins with.
        blocks: [groups, ceil(width / 16)], bool: which blocks are live in the rows of a group.
        group: [rows], uint8: which group a row belongs to; None where there is one.
        width: columns of the rows that it stands for.

    Raises:
        TypeError: a dtype is another one.
        ValueError: a shape or device does not fit.
    """

    values: Tensor
    begin: Tensor
    blocks: Tensor
    group: Tensor | None
    width: int

    def __post_init__(self) -> None:
        check_ragged("RaggedRows", self)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.begin.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, width), of the matrix that it stands for."""
        return self.rows, self.width

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds."""
        return sum(t.nbytes for t in (self.values, self.begin, self.blocks, self.group) if t is not None)

    def rank(self) -> Tensor:
        """[groups, blocks], int32: where in a row of the group a block stands; -1 where it is dead."""
        return torch.where(self.blocks, self.blocks.cumsum(1) - 1, -1).int()

    def expand(self) -> Tensor:
        """The matrix, [rows, width], with zeros where blocks are dead. Gradients flow to values."""
        live = block_mask(self.blocks, self.group, self.rows)
        where = (self.begin.long().unsqueeze(1) + live.cumsum(1) - 1)[live]
        out = self.values.new_zeros(self.rows, live.shape[1], BLOCK)
        out = out.masked_scatter(live.unsqueeze(2), self.values.view(-1, BLOCK)[where])
        return out.flatten(1)[:, : self.width]

    def to(self, device: torch.device | str) -> RaggedRows:
        """The same rows on another device."""
        group = None if self.group is None else self.group.to(device)
        return replace(
            self,
            values=self.values.to(device),
            begin=self.begin.to(device),
            blocks=self.blocks.to(device),
            group=group,
        )


def compact_blocks(x: Tensor, blocks: Tensor, group: Tensor | None = None) -> RaggedRows:
    """The live column blocks of each row, side by side: the bytes of dead ones are gone.

    Args:
        x: [rows, width], float32, float64, bfloat16 or float16.
        blocks: [groups, ceil(width / 16)] or [ceil(width / 16)], bool: which blocks are live.
        group: [rows], integers from 0 to groups - 1, of which there are at most 256: whose mask a row has.

    Returns:
        The rows, their beginnings in int32 (in int64 where they would not fit). How much it holds depends on the mask's
        values, so this runs outside of torch.compile.

    Raises:
        ValueError: a shape or device does not fit, or there are more than 256 groups.
        TypeError: a dtype is none of the above.

    Gradients flow to x. Where one mask holds for all rows, a narrower matrix says the same:
    `compact_blocks(x, blocks).values.view(len(x), -1)`, as `spmm` takes it.
    """
    if x.dim() != 2:
        raise ValueError(f"compact_blocks: expected x of shape [rows, width], got {list(x.shape)}")
    if x.dtype not in FLOATS:
        raise TypeError(f"compact_blocks: expected x in float32, float64, bfloat16 or float16, got {x.dtype}")
    blocks, group = checked_mask("compact_blocks", blocks, group, x.shape[0], x.shape[1], x.device)
    live = block_mask(blocks, group, x.shape[0])
    filled = pad(x, (0, live.shape[1] * BLOCK - x.shape[1]))
    values = filled.view(x.shape[0], live.shape[1], BLOCK)[live].flatten()
    length = live.sum(1)
    begin = length.cumsum(0) - length
    if values.shape[0] == 0 and group is not None and x.shape[0] > 0:
        values = pad(values, (0, BLOCK))
    stored = values.shape[0] // BLOCK
    # A row without live blocks begins at one that is there: the kernels read it, and leave it out.
    begin = begin.clamp(max=max(stored - 1, 0))
    return RaggedRows(values, begin.int() if stored < 2**31 else begin, blocks, group, x.shape[1])


def block_mask(blocks: Tensor, group: Tensor | None, rows: int) -> Tensor:
    """[rows, blocks], bool: which blocks of each row are live."""
    return blocks.expand(rows, -1) if group is None else blocks[group.long()]


def column_mask(blocks: Tensor, group: Tensor | None, width: int) -> Tensor:
    """[rows, width], or [1, width] without group: the blocks' values at each column, in the dtype of blocks."""
    chosen = blocks if group is None else blocks[group.long()]
    return chosen.repeat_interleave(BLOCK, 1)[:, :width]


def checked_mask(
    op: str, blocks: Tensor, group: Tensor | None, rows: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """A mask as the kernels take it, [groups, blocks] and group in uint8; or the reason why it is none."""
    if blocks.dtype != torch.bool:
        raise TypeError(f"{op}: expected blocks in bool, got {blocks.dtype}")
    count = (width + BLOCK - 1) // BLOCK
    mask = blocks.unsqueeze(0) if blocks.dim() == 1 else blocks
    if mask.dim() != 2 or mask.shape[1] != count:
        raise ValueError(
            f"{op}: expected blocks of shape [groups, {count}] for a width of {width}, got {list(blocks.shape)}"
        )
    if group is None and mask.shape[0] != 1:
        raise ValueError(f"{op}: expected blocks of shape [{count}] without group, got {list(blocks.shape)}")
    if mask.device != device:
        raise ValueError(f"{op}: blocks is on {mask.device}, x on {device}: move one with .to()")
    if group is not None:
        if mask.shape[0] > 256:
            raise ValueError(f"{op}: expected at most 256 groups, got {mask.shape[0]}")
        if group.shape != (rows,):
            raise ValueError(f"{op}: expected group of shape [{rows}], got {list(group.shape)}")
        if group.is_floating_point() or group.is_complex():
            raise TypeError(f"{op}: expected group of integers, got {group.dtype}")
        if group.device != device:
            raise ValueError(f"{op}: group is on {group.device}, x on {device}: move one with .to()")
        group = as_group(op, group, mask.shape[0])
    return mask.contiguous(), group


def as_group(op: str, group: Tensor, groups: int) -> Tensor:
    """Groups in uint8. Others that do not fit it would wrap around, and are refused; the kernels check the rest."""
    if group.dtype == torch.uint8:
        return group
    if group.numel() and not torch.compiler.is_compiling() and not 0 <= int(group.min()) <= int(group.max()) < groups:
        raise ValueError(
            f"{op}: expected group from 0 to {groups - 1}, got values from {int(group.min())} to {int(group.max())}"
        )
    return group.to(torch.uint8)


def check_ragged(op: str, rows: RaggedRows) -> None:
    """The contract of ragged rows. Nothing but shapes and types is looked at."""
    if rows.values.dtype not in FLOATS:
        raise TypeError(f"{op}: expected values in float32, float64, bfloat16 or float16, got {rows.values.dtype}")
    if rows.values.dim() != 1 or rows.values.shape[0] % BLOCK != 0:
        raise ValueError(f"{op}: expected values of shape [16 * blocks], got {list(rows.values.shape)}")
    if rows.begin.dim() != 1:
        raise ValueError(f"{op}: expected begin of shape [rows], got {list(rows.begin.shape)}")
    if rows.begin.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{op}: expected begin in int32 or int64, got {rows.begin.dtype}")
    if rows.begin.device != rows.values.device:
        raise ValueError(f"{op}: begin is on {rows.begin.device}, values on {rows.values.device}: move one with .to()")
    if rows.group is not None and rows.group.dtype != torch.uint8:
        raise TypeError(f"{op}: expected group in uint8, got {rows.group.dtype}")
    if rows.blocks.dim() != 2:
        raise ValueError(f"{op}: expected blocks of shape [groups, blocks], got {list(rows.blocks.shape)}")
    checked_mask(op, rows.blocks, rows.group, rows.begin.shape[0], rows.width, rows.values.device)
