-- lines.db of layout version 2 (PRAGMA user_version): what ends with a boot. It
-- is never synced, and made anew rather than believed (db.go). Times are
-- nanoseconds of the clock in clock.go.

-- A session lives while it has a row, its file is locked and its deadline, in
-- that file, has not passed.
CREATE TABLE sessions (
    id   INTEGER PRIMARY KEY,
    bell INTEGER NOT NULL
);

-- token 0: waits. session 0: granted for a term, belongs to nobody; ends says
-- until when. bell is the session's: who makes room reads no other page for it.
-- The note is last: a line is read without it.
--
-- The row of the empty name, which no line has, is no claim: its token is the
-- last one given (the high part is the epoch, token.go), its shares the number of
-- rows in watchers. It is here, and there is no index, because what a page costs
-- is most of what a grant costs: as long as the table is one page, a grant reads
-- and writes only that.
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

-- Whose bell to ring when a line ('l' and its name) or a map ('m') changes.
CREATE TABLE watchers (
    topic TEXT    NOT NULL,
    bell  INTEGER NOT NULL,
    PRIMARY KEY (topic, bell)
) WITHOUT ROWID;
