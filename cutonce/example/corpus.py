"""A text-classification task from the docstrings of the installed Python's standard library.

Each example is a paragraph of a docstring; its label is the package it belongs to. Nothing is
downloaded: every Python installation carries about five thousand such paragraphs.
"""

from __future__ import annotations

import ast
import csv
import random
import re
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devices.errors import DataError

CLASSES = 12
_SKIPPED = {"test", "tests", "idlelib", "site-packages", "lib2to3", "__pycache__", "ensurepip"}
_MINIMUM_WORDS = 6
_SHINGLE = 8  # paragraphs that share a run of this many words count as near-duplicates


@dataclass(frozen=True)
class Paragraph:
    """One paragraph and the package that it documents."""

    text: str
    package: str


def collect(root: Path | None = None) -> list[Paragraph]:
    """All paragraphs of the ``CLASSES`` largest packages below ``root`` (the standard library).

    Raises:
        DataError: the library's sources are not there, as in some stripped installations.
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    found = dict.fromkeys(
        Paragraph(text, package) for package, path in _sources(root) for text in _paragraphs(path)
    )
    largest = Counter(paragraph.package for paragraph in found).most_common(CLASSES)
    if len(largest) < CLASSES:
        raise DataError(
            f"{root} holds documented sources of {len(largest)} packages, {CLASSES} are needed; "
            "use a Python whose standard library comes with its .py files."
        )
    packages = {name for name, _ in largest}
    return [paragraph for paragraph in found if paragraph.package in packages]


def split(
    paragraphs: list[Paragraph], share: float, seed: int
) -> tuple[list[Paragraph], list[Paragraph]]:
    """(rest, held out): about ``share`` held out, near-duplicates together on one side."""
    groups = _near_duplicates(paragraphs)
    random.Random(seed).shuffle(groups)
    wanted = share * len(paragraphs)
    held_out: list[Paragraph] = []
    rest: list[Paragraph] = []
    for group in groups:
        (held_out if len(held_out) + len(group) <= wanted else rest).extend(group)
    return rest, held_out


def write(paragraphs: list[Paragraph], path: Path) -> None:
    """A CSV file with the columns ``text`` and ``package``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "package"])
        writer.writerows((paragraph.text, paragraph.package) for paragraph in paragraphs)


def _sources(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not _SKIPPED.intersection(parts):
            yield parts[0].removesuffix(".py"), path


def _paragraphs(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # the library ships a few deliberately broken files
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented):
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                text = " ".join(paragraph.split())
                if len(text.split()) >= _MINIMUM_WORDS:
                    yield text


def _near_duplicates(paragraphs: list[Paragraph]) -> list[list[Paragraph]]:
    """Paragraphs grouped so that two which share a shingle are in one group (union-find)."""
    parent = list(range(len(paragraphs)))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first_with: dict[tuple[str, ...], int] = {}
    for index, paragraph in enumerate(paragraphs):
        words = re.findall(r"[a-z]+", paragraph.text.lower())
        for start in range(max(1, len(words) - _SHINGLE + 1)):
            other = first_with.setdefault(tuple(words[start : start + _SHINGLE]), index)
            parent[find(index)] = find(other)
    groups: dict[int, list[Paragraph]] = defaultdict(list)
    for index, paragraph in enumerate(paragraphs):
        groups[find(index)].append(paragraph)
    return list(groups.values())
