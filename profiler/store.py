"""The measurement store: SQLite, every visit committed the moment it is taken."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import platformdirs

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.errors import StoreError
from devices.fingerprint import Fingerprint
from devices.target import Target
from profiler.measurement import Measurement, Visit

SCHEMA = 1
_TABLES = """
CREATE TABLE fingerprint (id TEXT PRIMARY KEY, facts TEXT NOT NULL);
CREATE TABLE subject (
    id INTEGER PRIMARY KEY,
    campaign TEXT NOT NULL,
    target TEXT NOT NULL,
    fingerprint TEXT NOT NULL REFERENCES fingerprint,
    digest TEXT NOT NULL,
    architecture TEXT NOT NULL,
    batch INTEGER NOT NULL,
    length INTEGER NOT NULL,
    precision TEXT NOT NULL,
    UNIQUE (campaign, target, fingerprint, digest, batch, length)
);
CREATE TABLE visit (
    id INTEGER PRIMARY KEY,
    subject INTEGER NOT NULL REFERENCES subject,
    started REAL NOT NULL,
    milliseconds TEXT NOT NULL
);
CREATE INDEX visit_subject ON visit (subject);
CREATE TABLE canary (
    campaign TEXT NOT NULL,
    target TEXT NOT NULL,
    fingerprint TEXT NOT NULL REFERENCES fingerprint,
    kind TEXT NOT NULL,
    started REAL NOT NULL,
    milliseconds REAL NOT NULL
);
"""

_WAYS_OUT = {
    "FULL": "Free some disk space and run the same command again: what was measured is kept.",
    "BUSY": "Another process holds it; let that finish, then run the same command again.",
    "NOTADB": "It is no SQLite file; name another with --store.",
    "CORRUPT": "It is damaged; put a backup in its place, or name another with --store.",
    "READONLY": "Make it and its folder writable, or name another with --store.",
}
_OTHER_WAY = "Make its folder usable, or name another with --store."


def default_path() -> Path:
    """``$XDG_DATA_HOME/cutonce/measurements.sqlite``, or the platform's like."""
    return Path(platformdirs.user_data_dir("cutonce", appauthor=False)) / "measurements.sqlite"


def open_store(path: Path | None = None) -> Store:
    """The store at ``path``, or the user's own."""
    return Store(path or default_path())


class Store:
    """An open store; a context manager that closes it.

    Raises:
        StoreError: it cannot be opened, read or written, or a newer version made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def add_fingerprint(self, fingerprint: Fingerprint) -> None:
        facts = json.dumps(fingerprint.to_json())
        with self._explained(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO fingerprint VALUES (?, ?)", (fingerprint.id, facts)
            )

    def fingerprints(self) -> dict[str, Fingerprint]:
        """Every machine that was measured, by its fingerprint's id."""
        with self._explained():
            rows = self._connection.execute("SELECT id, facts FROM fingerprint").fetchall()
        return {name: Fingerprint.from_json(json.loads(facts)) for name, facts in rows}

    def subject(
        self,
        campaign: str,
        target: Target,
        fingerprint: str,
        architecture: Architecture,
        workload: Workload,
        precision: str,
    ) -> int:
        """The number of a subject, made where it is new."""
        key = (
            campaign,
            str(target),
            fingerprint,
            architecture.digest,
            workload.batch,
            workload.length,
        )
        with self._explained(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO subject (campaign, target, fingerprint, digest, batch, "
                "length, architecture, precision) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, json.dumps(architecture.to_json()), precision),
            )
            [number] = self._connection.execute(
                "SELECT id FROM subject WHERE campaign = ? AND target = ? AND fingerprint = ? "
                "AND digest = ? AND batch = ? AND length = ?",
                key,
            ).fetchone()
        return int(number)

    def add_visit(self, subject: int, visit: Visit) -> None:
        """Keep one visit, durably."""
        with self._explained(), self._connection:
            self._connection.execute(
                "INSERT INTO visit (subject, started, milliseconds) VALUES (?, ?, ?)",
                (subject, visit.started, json.dumps(visit.milliseconds)),
            )

    def add_canary(
        self,
        campaign: str,
        target: Target,
        fingerprint: str,
        kind: str,
        started: float,
        milliseconds: float,
    ) -> None:
        """Keep one canary run."""
        with self._explained(), self._connection:
            self._connection.execute(
                "INSERT INTO canary VALUES (?, ?, ?, ?, ?, ?)",
                (campaign, str(target), fingerprint, kind, started, milliseconds),
            )

    def measurements(
        self, *, campaign: str, target: Target | None = None, fingerprint: str | None = None
    ) -> list[Measurement]:
        """What a campaign measured, in the order it was begun, as far as there are visits."""
        query = (
            "SELECT id, target, fingerprint, architecture, batch, length, precision FROM subject "
            "WHERE campaign = ? AND (? IS NULL OR target = ?) AND (? IS NULL OR fingerprint = ?) "
            "ORDER BY id"
        )
        name = None if target is None else str(target)
        with self._explained():
            rows = self._connection.execute(query, (campaign, name, name, fingerprint, fingerprint))
            found = [
                Measurement(
                    campaign,
                    Target.parse(text),
                    owner,
                    Architecture.from_json(json.loads(architecture)),
                    Workload(batch, length),
                    precision,
                    tuple(self._visits(number)),
                )
                for number, text, owner, architecture, batch, length, precision in rows.fetchall()
            ]
        return [measurement for measurement in found if measurement.visits]

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def _visits(self, subject: int) -> Iterator[Visit]:
        query = "SELECT started, milliseconds FROM visit WHERE subject = ? ORDER BY id"
        for started, milliseconds in self._connection.execute(query, (subject,)):
            yield Visit(started, tuple(json.loads(milliseconds)))

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA foreign_keys=ON")
        if self._version() == 0:
            self._create()
        version = self._version()
        if version > SCHEMA:
            raise StoreError(
                f"{self.path} was written by a newer cutonce (schema {version}, this one knows "
                f"{SCHEMA}); upgrade, or name another store with --store."
            )

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _create(self) -> None:
        [tables] = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and self._version() == 0:
            raise StoreError(
                f"{self.path} is a database of something else; name another store with --store."
            )
        self._connection.execute("PRAGMA journal_mode=WAL")
        with self._connection:
            # Another process may be about to do the same: the lock comes first, then the question.
            self._connection.execute("BEGIN IMMEDIATE")
            if self._version() == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={SCHEMA}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            name = getattr(error, "sqlite_errorname", "")
            way = next((way for cause, way in _WAYS_OUT.items() if cause in name), _OTHER_WAY)
            raise StoreError(
                f"The measurement store {self.path} cannot be used: {error}. {way}"
            ) from error
