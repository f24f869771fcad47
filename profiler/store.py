"""The measurement store: SQLite, every visit committed the moment it is taken."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import platformdirs

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.errors import StoreError
from devices.fingerprint import Fingerprint
from devices.target import Target
from profiler.gate import Reading
from profiler.measurement import Measurement
from profiler.schema import MIGRATIONS, SCHEMA
from profiler.visit import Visit

_WAYS_OUT = {
    "FULL": "Free some disk space and run the same command again: what was measured is kept.",
    "IOERR": "Free some disk space, or mend the disk, and run the same command again: what was "
    "measured is kept.",
    "BUSY": "Another process holds it; let that finish, then run the same command again.",
    "NOTADB": "It is no SQLite file; name another with --store.",
    "CORRUPT": "It is damaged; put a backup in its place, or name another with --store.",
    "READONLY": "Make it and its folder writable, or name another with --store.",
}
_OTHER_WAY = "Make its folder usable, or name another with --store."


def default_path() -> Path:
    """``$XDG_DATA_HOME/cutonce/measurements.sqlite``, or the platform's like."""
    return Path(platformdirs.user_data_dir("cutonce", appauthor=False)) / "measurements.sqlite"


def open_store(path: str | Path | None = None) -> Store:
    """The store at ``path``, or the user's own."""
    return Store(Path(path or default_path()))


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
        """The number of a subject, made where it is new.

        ``precision`` is empty where it is not known, because it could not be loaded.
        """
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
                "INSERT INTO subject (campaign, target, fingerprint, digest, batch, length, "
                "architecture, precision) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET precision = excluded.precision WHERE precision = ''",
                (*key, json.dumps(architecture.to_json()), precision),
            )
            [number] = self._connection.execute(
                "SELECT id FROM subject WHERE campaign = ? AND target = ? AND fingerprint = ? "
                "AND digest = ? AND batch = ? AND length = ?",
                key,
            ).fetchone()
        return int(number)

    def add_visit(self, subject: int, visit: Visit) -> int:
        """Keep one visit, durably; returns its number."""
        row = (
            subject, visit.started, json.dumps(visit.milliseconds), visit.process,
            json.dumps(visit.causes), visit.microjoules,
        )  # fmt: skip
        with self._explained(), self._connection:
            cursor = self._connection.execute(
                "INSERT INTO visit (subject, started, milliseconds, process, causes, microjoules) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
        return int(cursor.lastrowid or 0)

    def judge_visit(self, number: int, causes: Sequence[str]) -> None:
        """Say what disturbed a visit that was kept before it could be judged."""
        with self._explained(), self._connection:
            self._connection.execute(
                "UPDATE visit SET causes = ? WHERE id = ?", (json.dumps(causes), number)
            )

    def readings(self, fingerprint: str, most: int) -> list[Reading]:
        """The newest readings of a machine, ``most`` at most."""
        query = "SELECT facts FROM reading WHERE fingerprint = ? ORDER BY started DESC LIMIT ?"
        with self._explained():
            rows = self._connection.execute(query, (fingerprint, most)).fetchall()
        return [Reading(**json.loads(facts)) for (facts,) in rows]

    def add_reading(self, campaign: str, fingerprint: str, reading: Reading) -> None:
        """Keep what the machine said of itself."""
        with self._explained(), self._connection:
            self._connection.execute(
                "INSERT INTO reading VALUES (?, ?, ?, ?)",
                (campaign, fingerprint, reading.started, json.dumps(asdict(reading))),
            )

    def add_failure(self, subject: int, happened: float, sentence: str) -> None:
        """Keep that a subject could not be measured."""
        with self._explained(), self._connection:
            self._connection.execute(
                "INSERT INTO failure (subject, happened, sentence) VALUES (?, ?, ?)",
                (subject, happened, sentence),
            )

    def failures(self, campaign: str) -> list[tuple[Target, Architecture, str]]:
        """Target, architecture and sentence of everything that failed in a campaign."""
        with self._explained():
            rows = self._connection.execute(
                "SELECT target, architecture, sentence FROM failure JOIN subject "
                "ON subject.id = failure.subject WHERE campaign = ? ORDER BY failure.id",
                (campaign,),
            ).fetchall()
        return [
            (Target.parse(target), Architecture.from_json(json.loads(architecture)), sentence)
            for target, architecture, sentence in rows
        ]

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
        self.close()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for work of one's own; what fails is explained as everywhere here."""
        with self._explained():
            yield self._connection

    def last_fingerprint(self, target: Target) -> Fingerprint | None:
        """The machine that ``target`` was last measured on."""
        with self._explained():
            row = self._connection.execute(
                "SELECT facts FROM visit JOIN subject ON subject.id = visit.subject "
                "JOIN fingerprint ON fingerprint.id = subject.fingerprint "
                "WHERE target = ? ORDER BY visit.id DESC LIMIT 1",
                (str(target),),
            ).fetchone()
        return None if row is None else Fingerprint.from_json(json.loads(row[0]))

    def counts(self) -> list[tuple[str, str, int, int]]:
        """Per target and fingerprint: how many configurations and visits there are."""
        with self._explained():
            return self._connection.execute(
                "SELECT target, fingerprint, count(DISTINCT subject.id), count(visit.id) "
                "FROM subject JOIN visit ON subject.id = visit.subject "
                "GROUP BY target, fingerprint ORDER BY target, min(visit.id)"
            ).fetchall()

    def _visits(self, subject: int) -> Iterator[Visit]:
        query = (
            "SELECT started, milliseconds, process, causes, microjoules FROM visit WHERE subject = ? "
            "ORDER BY id"
        )
        for started, runs, process, causes, used in self._connection.execute(query, (subject,)):
            yield Visit(started, tuple(json.loads(runs)), process, tuple(json.loads(causes)), used)

    def _prepare(self) -> None:
        version = self._version()
        if version > SCHEMA:
            raise StoreError(
                f"{self.path} was written by a newer cutonce (schema {version}, this one knows "
                f"{SCHEMA}); upgrade, or name another store with --store."
            )
        if version < SCHEMA:
            self._migrate()
        # Refused at once while another process opens the same new file; the next to open it sets it.
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA foreign_keys=ON")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        [tables] = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and self._version() == 0:
            raise StoreError(
                f"{self.path} is a database of something else; name another store with --store."
            )
        with self._connection:
            # Another process may be about to do the same: the lock comes first, then the question.
            self._connection.execute("BEGIN IMMEDIATE")
            for number in range(self._version(), SCHEMA):
                for statement in filter(str.strip, MIGRATIONS[number].split(";")):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={number + 1}")

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
