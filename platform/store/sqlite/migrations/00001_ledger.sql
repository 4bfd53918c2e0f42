-- +goose Up
-- Times are milliseconds since 1970 UTC, 0 is none. Rows of an order's pizzas
-- and events have one integer as their key, order * 2^32 + number: they lie
-- together, in order, in the cheapest tree there is.

CREATE TABLE orders (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    count         INTEGER NOT NULL,
    dispatched    INTEGER NOT NULL, -- numbers up to here are on the bus
    done_ahead    INTEGER NOT NULL, -- done pizzas numbered above dispatched
    completed     INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    completed_at  INTEGER NOT NULL, -- of the pizza completed last so far
    last_event    INTEGER NOT NULL, -- stream number drawn last
    progress      TEXT NOT NULL,    -- 'step count dead,…'
    lease_token   TEXT NOT NULL,
    lease_until   INTEGER NOT NULL,
    turn          INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_to_dispatch ON orders (turn) WHERE dispatched < count;
-- The column comes first: SQLite turns a comparison round that ends in one, and
-- then does not find the index for it.
CREATE INDEX orders_open ON orders (seq) WHERE count > completed + dead_lettered;

CREATE TABLE pizzas (
    key          INTEGER PRIMARY KEY, -- order * 2^32 + number of the pizza
    status       INTEGER NOT NULL,    -- 0 cooking, 1 complete, 2 dead-lettered
    steps        TEXT NOT NULL,       -- 'step event time,…'; ? behind the time: inferred
    body_event   INTEGER NOT NULL,    -- the event that has the pizza's body
    completed_at INTEGER NOT NULL,
    letter       TEXT                 -- of a dead-lettered one
) STRICT;
CREATE INDEX pizzas_dead_lettered ON pizzas (key) WHERE status = 2;

CREATE TABLE facts (
    key    INTEGER PRIMARY KEY, -- order * 2^32 + number of the event
    pizza  INTEGER NOT NULL,    -- its number in the order
    kind   INTEGER NOT NULL,    -- 0 dispatched, 1 stage, 2 complete, 3 dead letter
    step   TEXT,
    source TEXT,                -- module; NULL: unknown, or inferred
    body   BLOB,                -- of a dead letter: the error
    at     INTEGER NOT NULL     -- of a dead letter; the times of steps are with the pizza
) STRICT;

CREATE TABLE dead_letters (
    id           TEXT PRIMARY KEY,
    status       TEXT NOT NULL,
    order_id     TEXT, -- NULL: the body tells no pizza
    number       INTEGER,
    topic        TEXT NOT NULL,
    module       TEXT NOT NULL,
    error        TEXT NOT NULL,
    kind         TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    requeues     INTEGER NOT NULL,
    fingerprint  TEXT NOT NULL,
    first_failed INTEGER NOT NULL,
    last_failed  INTEGER NOT NULL,
    message_key  TEXT NOT NULL,
    headers      TEXT NOT NULL, -- JSON object
    body         BLOB,
    truncated    INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_in_order ON dead_letters (first_failed, id);
CREATE INDEX dead_letters_of_order ON dead_letters (order_id, first_failed, id);

CREATE TABLE idempotency_keys (
    key        TEXT PRIMARY KEY,
    order_id   TEXT NOT NULL,
    count      INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE totals (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
