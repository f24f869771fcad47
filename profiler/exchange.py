"""Moving measurements: from one store into another, and out into Parquet."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

from devices.errors import MissingDependency, StoreError
from profiler.store import Store

_SAME = "campaign, target, fingerprint, digest, batch, length"
_SUBJECT = f"{_SAME}, architecture, precision"
_VISIT = "started, milliseconds, process, causes, microjoules"
# Merged twice, everything is there once: a visit is known by its subject, its moment and its runs.
_MERGE = f"""
INSERT OR IGNORE INTO fingerprint SELECT id, facts FROM other.fingerprint;
INSERT INTO subject ({_SUBJECT}) SELECT {_SUBJECT} FROM other.subject WHERE true
    ON CONFLICT DO UPDATE SET precision = excluded.precision WHERE precision = '';
INSERT INTO visit (subject, {_VISIT})
    SELECT mine.id, {_VISIT} FROM other.visit AS theirs
    JOIN other.subject AS owner ON owner.id = theirs.subject
    JOIN main.subject AS mine USING ({_SAME})
    WHERE NOT EXISTS (
        SELECT 1 FROM main.visit AS known WHERE known.subject = mine.id
        AND known.started = theirs.started AND known.milliseconds = theirs.milliseconds
    ) ORDER BY theirs.id;
INSERT INTO reading SELECT * FROM other.reading EXCEPT SELECT * FROM main.reading;
INSERT OR IGNORE INTO footprint
    SELECT mine.id, file_bytes, peak_bytes FROM other.footprint AS theirs
    JOIN other.subject AS owner ON owner.id = theirs.subject
    JOIN main.subject AS mine USING ({_SAME});
INSERT INTO failure (subject, happened, sentence)
    SELECT mine.id, happened, sentence FROM other.failure AS theirs
    JOIN other.subject AS owner ON owner.id = theirs.subject
    JOIN main.subject AS mine USING ({_SAME})
    WHERE NOT EXISTS (
        SELECT 1 FROM main.failure AS known
        WHERE known.subject = mine.id AND known.happened = theirs.happened
    ) ORDER BY theirs.id;
"""


def merge(store: Store, other: Path) -> int:
    """Copy what another store holds and ``store`` does not; returns how many visits.

    The other store is only read, also where it is of an older schema.

    Raises:
        StoreError: there is no such store, or it cannot be read.
    """
    if not other.is_file():
        raise StoreError(f"There is no store {other}; name the SQLite file of another machine's.")
    with TemporaryDirectory() as place:
        copy = Path(place) / "other.sqlite"
        _copy(other, copy)
        Store(copy).close()  # of this schema now
        with store.transaction() as connection:
            connection.execute("ATTACH ? AS other", (str(copy),))
            try:
                [(visits,)] = connection.execute("SELECT count(*) FROM visit")
                connection.execute("BEGIN IMMEDIATE")
                for statement in filter(str.strip, _MERGE.split(";")):
                    connection.execute(statement)
                [(after,)] = connection.execute("SELECT count(*) FROM visit")
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
            finally:
                connection.execute("DETACH other")
            return int(after - visits)


def _copy(source: Path, copy: Path) -> None:
    """The whole store, with what its log still holds."""
    try:
        with (
            sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True) as read,
            sqlite3.connect(copy) as written,
        ):
            read.backup(written)
        read.close()
        written.close()
    except sqlite3.Error as error:
        raise StoreError(
            f"{source} cannot be read ({error}); name a store that cutonce wrote."
        ) from error


def write_parquet(store: Store, path: Path) -> int:
    """Write every visit as a row, with its raw runs; returns how many.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    try:
        import pandas as pd
        import pyarrow  # noqa: F401 - what pandas writes with
    except ImportError as error:
        raise MissingDependency(
            'Parquet needs pyarrow; install it with: pip install "cutonce[hub]".'
        ) from error
    query = (
        f"SELECT {_SUBJECT}, visit.{_VISIT.replace(', ', ', visit.')} FROM visit "
        "JOIN subject ON subject.id = visit.subject ORDER BY visit.id"
    )
    with store.transaction() as connection:
        table = pd.read_sql_query(query, connection)
    for column in ("milliseconds", "causes"):
        table[column] = [json.loads(text) for text in table[column]]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        table.to_parquet(unfinished, index=False)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return len(table)
