"""How do pages look? The colours that all pages of the package share, and the rules of the report."""

from importlib import resources


def styles() -> str:
    """Both, as CSS."""
    package = resources.files("gnas_ext")
    return "".join(
        package.joinpath(name).read_text(encoding="utf-8") for name in ("style/theme.css", "report/page.css")
    )
