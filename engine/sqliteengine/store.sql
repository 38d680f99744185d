-- lockstep.db of layout version 2 (PRAGMA user_version): what users store, and
-- what must be durable. Times are nanoseconds of the clock in clock.go, so every
-- one of them ends with the boot (db.go).

-- One row. boot is the one that lines.db is of, and token where that began to
-- count: only the two together say that it can be believed. revision counts
-- commits of the whole store, and since base no map was forgotten.
CREATE TABLE meta (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    boot     TEXT    NOT NULL,
    token    INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    base     INTEGER NOT NULL
);

-- logged and bytes measure the map's part of changes; every commit after floor
-- is in it. emptied is when the last entry went, 0 while there is one.
CREATE TABLE maps (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    floor    INTEGER NOT NULL,
    logged   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    entries  INTEGER NOT NULL,
    emptied  INTEGER NOT NULL
);
CREATE TABLE entries (
    map      INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    value    BLOB,
    UNIQUE (map, key)
);
CREATE TABLE changes (
    map      INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    deleted  INTEGER NOT NULL,
    value    BLOB,
    UNIQUE (map, revision, n)
);

-- Commits that carried an id, for an hour after at.
CREATE TABLE commits (
    seq      INTEGER PRIMARY KEY,
    map      TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    UNIQUE (map, id)
);
