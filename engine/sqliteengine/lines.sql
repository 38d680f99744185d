-- lines.db of layout version 2 (PRAGMA user_version): what ends with a boot. It
-- is never synced, and made anew rather than believed (db.go). Times are
-- nanoseconds of the clock in clock.go.

-- One row. token's high part is the epoch (token.go), which lockstep.db's meta
-- row must agree with; watched is the number of rows in watchers.
CREATE TABLE meta (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    token   INTEGER NOT NULL,
    watched INTEGER NOT NULL
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
