"""Files that are no tables: CoNLL's tagged words, SQuAD's questions, a text on every line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from devices.errors import DataError


def parse_conll(text: str, path: Path) -> pd.DataFrame:
    """Columns ``words`` and ``tags``, lists, of a file with a word and its tag on every line.

    Other columns may stand between them. Texts end at an empty line; lines that begin a document are
    left out.

    Raises DataError for a line with one field.
    """
    rows: list[tuple[list[str], list[str]]] = [([], [])]
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0] == "-DOCSTART-":
            rows.append(([], []))
        elif len(fields) == 1:
            raise DataError(
                f"{path} line {number} holds {line.strip()[:40]!r} alone; expected a word and its tag."
            )
        else:
            rows[-1][0].append(fields[0])
            rows[-1][1].append(fields[-1])
    whole = [row for row in rows if row[0]]
    return pd.DataFrame(whole, columns=["words", "tags"], dtype=object)


def parse_squad(text: str, path: Path) -> pd.DataFrame:
    """Columns ``question``, ``context`` and ``answers`` of a file as SQuAD's.

    Raises DataError where it is none.
    """
    try:
        rows = [
            {
                "question": entry["question"],
                "context": paragraph["context"],
                "answers": {
                    key: [answer[key] for answer in entry["answers"]]
                    for key in ("text", "answer_start")
                },
            }
            for article in json.loads(text)["data"]
            for paragraph in article["paragraphs"]
            for entry in paragraph["qas"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no questions as SQuAD's ({type(error).__name__}: {error}); expected data, "
            "paragraphs, qas. A table in JSON has one object a line and ends in .jsonl."
        ) from error
    return pd.DataFrame(rows, dtype=object)


def parse_lines(text: str) -> pd.DataFrame:
    """Column ``text``: every line that is not empty."""
    return pd.DataFrame({"text": [line for line in map(str.strip, text.split("\n")) if line]})
