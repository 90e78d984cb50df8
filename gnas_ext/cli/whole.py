"""What is done with an artefact as a whole: `gnas-ext evaluate`, `show`, `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gnas_ext.cli.arguments import Artefact, Item, MinRating, Rating, Sep, Timestamp, User, at_least, folder_of

Later = Annotated[Path, typer.Argument(metavar="LOG", help="What came after training.", show_default=False)]
Out = Annotated[Path, typer.Option(help="File to write; for faiss a folder.", show_default=False)]


class ExportForm(StrEnum):
    """What other programs read."""

    parquet = "parquet"
    faiss = "faiss"
    torch = "torch"
    onnx = "onnx"


def evaluate(
    artefact: Artefact,
    log: Later,
    k: Annotated[int, typer.Option("-k", "--k", help="Length of the lists.")] = 20,
    user: User = None,
    item: Item = None,
    timestamp: Timestamp = None,
    rating: Rating = None,
    sep: Sep = None,
    min_rating: MinRating = None,
) -> None:
    """Measure an artefact on a later log."""
    from gnas_ext.data import read_log
    from gnas_ext.recommend import load
    from gnas_ext.recommend.later import measure_later

    at_least("-k", k, 1)
    recommender = load(folder_of(artefact))
    later = read_log(log, user, item, timestamp, rating, sep, min_rating=min_rating)
    result, notes = measure_later(recommender, later, k)
    console = Console()
    for note in notes:
        console.print(Text(note), highlight=False)
    for name, value in result.metrics.items():
        console.print(f"{name:<14} {value:.4f}", highlight=False)
    console.print(f"{'ms a user':<14} {result.latency_ms:.4f}", highlight=False)


def show(artefact: Artefact) -> None:
    """Print what an artefact is made of."""
    from gnas_ext.cli.shrunk import row_lines
    from gnas_ext.evaluate.compare import comparison_table
    from gnas_ext.evaluate.cost import human_bytes
    from gnas_ext.recommend import load

    recommender = load(folder_of(artefact))
    manifest = recommender.manifest
    console = Console()
    console.print(Text(f"{manifest.name}: {manifest.n_users:,} users, {manifest.n_items:,} items"))
    console.print(Text(f"{human_bytes(manifest.size_bytes)} in {len(manifest.tensors)} tensors:"))
    for name, spec in manifest.tensors.items():
        size = human_bytes(spec.size_bytes)
        console.print(Text(f"  {name:<14} {spec.dtype:<8} {size:>8}  {list(spec.shape)}"))
    for line in row_lines(recommender.model):
        console.print(Text(line))
    console.print(Text(f"genotype: {' '.join(f'{gene}={value}' for gene, value in manifest.genotype.items())}"))
    if manifest.comparison:
        console.print(comparison_table(manifest.comparison))
    origin = manifest.provenance
    console.print(Text(f"data: {origin.data}; {origin.split_method}\n{origin.fingerprint}"))
    if origin.command:
        console.print(Text(f"made by: {origin.command}"), soft_wrap=True)


def export(
    artefact: Artefact,
    to: Annotated[ExportForm, typer.Option(help="Lists; vectors; a scorer, for PyTorch or any.", show_default=False)],
    out: Out,
    k: Annotated[int, typer.Option("-k", "--k", help="Items a user, in lists.")] = 20,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out of lists what the user has touched.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write an artefact for other programs, checked."""
    from gnas_ext.evaluate.cost import human_bytes
    from gnas_ext.recommend import load
    from gnas_ext.recommend.export import export as write

    written = write(load(folder_of(artefact)), to.value, out, k=k, exclude_seen=exclude_seen, overwrite=overwrite)
    files = [written] if written.is_file() else list(written.iterdir())
    size = human_bytes(sum(file.stat().st_size for file in files))
    Console().print(Text(f"{out}: {size}, agrees with the artefact's own scores"), soft_wrap=True)
