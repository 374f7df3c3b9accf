-- +goose Up
-- The log is the truth: rows are written once and never changed.
CREATE TABLE event_log (
    seq         INTEGER PRIMARY KEY,
    at          TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    rollout_id  TEXT    NOT NULL,
    event_seq   INTEGER,
    event_hash  BLOB,
    policy_hash TEXT    NOT NULL,
    flags       INTEGER NOT NULL,
    payload     BLOB    NOT NULL,
    prev_hash   BLOB    NOT NULL,
    hash        BLOB    NOT NULL
);
-- One event is stored once, whatever the reducer believes. Rows without an event_seq are distinct to it.
CREATE UNIQUE INDEX event_log_event ON event_log (host, rollout_id, event_seq);

-- Views: cause is the seq of the log row that last changed the row.
CREATE TABLE host_rollouts (
    host       TEXT    NOT NULL,
    rollout_id TEXT    NOT NULL,
    cause      INTEGER NOT NULL,
    highest    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    record     BLOB,
    want       TEXT    NOT NULL,
    cleared    INTEGER NOT NULL,
    PRIMARY KEY (host, rollout_id)
) WITHOUT ROWID;

CREATE TABLE rollouts (
    rollout_id TEXT PRIMARY KEY,
    channel    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    wave       INTEGER NOT NULL,
    opened_at  TEXT    NOT NULL,
    cause      INTEGER NOT NULL,
    body       BLOB    NOT NULL
) WITHOUT ROWID;

CREATE TABLE quarantines (
    channel       TEXT    NOT NULL,
    closure       TEXT    NOT NULL,
    cause         INTEGER NOT NULL,
    at            TEXT    NOT NULL,
    host          TEXT    NOT NULL,
    rollout_id    TEXT    NOT NULL,
    cleared_at    TEXT    NOT NULL,
    cleared_by    TEXT    NOT NULL,
    cleared_cause INTEGER NOT NULL,
    PRIMARY KEY (channel, closure)
) WITHOUT ROWID;

CREATE TABLE dispatches (
    host       TEXT PRIMARY KEY,
    rollout_id TEXT    NOT NULL,
    cause      INTEGER NOT NULL,
    written    INTEGER NOT NULL,
    body       BLOB    NOT NULL
) WITHOUT ROWID;

CREATE TABLE holds (
    host   TEXT    NOT NULL,
    kind   TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    since  TEXT    NOT NULL,
    cause  INTEGER NOT NULL,
    PRIMARY KEY (host, kind)
) WITHOUT ROWID;

CREATE TABLE probe_failures (
    host       TEXT    NOT NULL,
    rollout_id TEXT    NOT NULL,
    probe      TEXT    NOT NULL,
    cause      INTEGER NOT NULL,
    at         TEXT    NOT NULL,
    mode       TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (host, rollout_id, probe)
) WITHOUT ROWID;

CREATE TABLE parked (
    host       TEXT    NOT NULL,
    rollout_id TEXT    NOT NULL,
    event_seq  INTEGER NOT NULL,
    cause      INTEGER NOT NULL,
    PRIMARY KEY (host, rollout_id, event_seq)
) WITHOUT ROWID;

-- What rows and views refer to.
CREATE TABLE policies (
    hash TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE tickets (
    rollout_id TEXT NOT NULL,
    host       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    raw        BLOB NOT NULL,
    signature  BLOB NOT NULL,
    PRIMARY KEY (rollout_id, host)
) WITHOUT ROWID;

CREATE TABLE hosts (
    host TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE meta;
DROP TABLE hosts;
DROP TABLE tickets;
DROP TABLE policies;
DROP TABLE parked;
DROP TABLE probe_failures;
DROP TABLE holds;
DROP TABLE dispatches;
DROP TABLE quarantines;
DROP TABLE rollouts;
DROP TABLE host_rollouts;
DROP TABLE event_log;
