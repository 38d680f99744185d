-- Layout version 1 (PRAGMA user_version). Times are nanoseconds of the clock in
-- clock.go, so every one of them ends with the boot (see db.go, fresh).

-- One row. token's high part is the epoch (token.go); revision counts commits
-- of the whole store, and since base no map was forgotten; watched is the number
-- of rows in watchers.
CREATE TABLE meta (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    boot     TEXT    NOT NULL,
    token    INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    base     INTEGER NOT NULL,
    watched  INTEGER NOT NULL
);

-- A session lives while it has a row, its file is locked and its deadline, in
-- that file, has not passed.
CREATE TABLE sessions (
    id   INTEGER PRIMARY KEY,
    bell INTEGER NOT NULL
);

-- token 0: waits. session 0: granted for a term, belongs to nobody; ends says
-- until when. bell is the session's: who makes room reads no other page for it.
-- The note is last: a line is read without it.
CREATE TABLE claims (
    name    TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    id      TEXT    NOT NULL,
    kind    INTEGER NOT NULL,
    shares  INTEGER NOT NULL,
    lim     INTEGER NOT NULL,
    session INTEGER NOT NULL,
    bell    INTEGER NOT NULL,
    token   INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    term    INTEGER NOT NULL,
    ends    INTEGER NOT NULL,
    note    BLOB,
    PRIMARY KEY (name, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX claims_own ON claims (session, id);

-- Whose bell to ring when a line ('l' and its name) or a map ('m') changes.
CREATE TABLE watchers (
    topic TEXT    NOT NULL,
    bell  INTEGER NOT NULL,
    PRIMARY KEY (topic, bell)
) WITHOUT ROWID;

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
