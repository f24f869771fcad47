"""The tables of the measurement store, and how an older store becomes one of today."""

from __future__ import annotations

_FIRST = """
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

# Visits of the first schema were not judged; they count as they did then.
_SECOND = """
ALTER TABLE visit ADD COLUMN process TEXT NOT NULL DEFAULT '';
ALTER TABLE visit ADD COLUMN causes TEXT NOT NULL DEFAULT '[]';
CREATE TABLE reading (
    campaign TEXT NOT NULL,
    fingerprint TEXT NOT NULL REFERENCES fingerprint,
    started REAL NOT NULL,
    facts TEXT NOT NULL
);
INSERT INTO reading
    SELECT campaign, fingerprint, started, json_object(kind, milliseconds) FROM canary;
DROP TABLE canary;
CREATE TABLE failure (
    id INTEGER PRIMARY KEY,
    subject INTEGER NOT NULL REFERENCES subject,
    happened REAL NOT NULL,
    sentence TEXT NOT NULL
);
"""

_THIRD = """
ALTER TABLE visit ADD COLUMN microjoules REAL;
CREATE TABLE footprint (
    subject INTEGER PRIMARY KEY REFERENCES subject,
    file_bytes INTEGER NOT NULL,
    peak_bytes INTEGER
);
"""

MIGRATIONS = (_FIRST, _SECOND, _THIRD)
"""MIGRATIONS[n] makes schema n + 1 of schema n; schema 0 is an empty file."""

SCHEMA = len(MIGRATIONS)
