"""The report page: one self-contained HTML file that shows what a search did and proved.

In scope: reading a run directory and drawing it. Out of scope: every number on the page, which the
search, the export and the measurement wrote; nothing is computed here beyond a share or a ratio.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from devices.errors import DataError, MissingDependency


def render(run: Path) -> str:
    """The page of the finished search in directory ``run``; it opens without network.

    Raises:
        DataError: ``run`` holds no finished search, or its run.json is damaged.
        MissingDependency: plotly is not installed.
    """
    from cutonce.page.artifacts import read_artifacts
    from cutonce.runs import read_run

    evidence = read_run(run)
    artifacts = read_artifacts(run)
    try:
        from cutonce.page import sections
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "plotly":
            raise
        raise MissingDependency(
            'The report needs plotly, which is not installed: pip install "cutonce[report]".'
        ) from error
    try:
        return _document(sections.title(evidence), sections.body(evidence, artifacts))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run / 'run.json'} is damaged ({type(error).__name__}: {error}); run the same "
            "`cutonce search` again with another --out."
        ) from error


def _document(title: str, body: str) -> str:
    # Drawn from the page itself: plotly is inline, and there is no other script, font or image.
    from plotly.offline import get_plotlyjs

    style = files(__name__).joinpath("style.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
