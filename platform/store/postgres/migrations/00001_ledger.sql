-- +goose Up
-- The tables of the SQLite store, as far as the databases allow. Times are
-- milliseconds since 1970 UTC, 0 is none. Rows of an order's pizzas and events
-- have one integer as their key, order * 2^32 + number: they lie together, in
-- order. What others wrote is bytea: text takes neither a zero byte nor
-- anything else that is not UTF-8. IDs are compared by their bytes, whatever the
-- language of the database, as the rest of pizzamill does.

CREATE TABLE orders (
    seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            text COLLATE "C" NOT NULL UNIQUE,
    count         integer NOT NULL,
    dispatched    integer NOT NULL, -- numbers up to here are on the bus
    done_ahead    integer NOT NULL, -- done pizzas numbered above dispatched
    completed     integer NOT NULL,
    dead_lettered integer NOT NULL,
    created_at    bigint NOT NULL,
    completed_at  bigint NOT NULL, -- of the pizza completed last so far
    last_event    bigint NOT NULL, -- stream number drawn last
    progress      text NOT NULL,   -- 'step count dead,…'
    lease_token   text NOT NULL,
    lease_until   bigint NOT NULL,
    turn          bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX orders_to_dispatch ON orders (turn, seq) WHERE dispatched < count;
CREATE INDEX orders_open ON orders (seq) WHERE count > completed + dead_lettered;

CREATE TABLE pizzas (
    key          bigint PRIMARY KEY, -- order * 2^32 + number of the pizza
    status       smallint NOT NULL,  -- 0 cooking, 1 complete, 2 dead-lettered
    steps        text NOT NULL,      -- 'step event time,…'; ? behind the time: inferred
    body_event   bigint NOT NULL,    -- the event that has the pizza's body
    completed_at bigint NOT NULL,
    letter       text NOT NULL       -- of a dead-lettered one, else ''
) WITH (fillfactor = 70);
CREATE INDEX pizzas_dead_lettered ON pizzas (key) WHERE status = 2;

CREATE TABLE facts (
    key    bigint PRIMARY KEY, -- order * 2^32 + number of the event
    pizza  integer NOT NULL,   -- its number in the order
    kind   smallint NOT NULL,  -- 0 dispatched, 1 stage, 2 complete, 3 dead letter
    step   text NOT NULL,
    source text NOT NULL,      -- module; '': unknown, or inferred
    body   bytea,              -- of a dead letter: the error
    at     bigint NOT NULL     -- of a dead letter; the times of steps are with the pizza
);

CREATE TABLE dead_letters (
    id           text COLLATE "C" PRIMARY KEY,
    status       text NOT NULL,
    order_id     text COLLATE "C", -- NULL: the body tells no pizza
    number       integer,
    topic        text NOT NULL,
    module       text NOT NULL,
    error        text NOT NULL,
    kind         text NOT NULL,
    attempts     integer NOT NULL,
    requeues     integer NOT NULL,
    fingerprint  text NOT NULL,
    first_failed bigint NOT NULL,
    last_failed  bigint NOT NULL,
    message_key  bytea NOT NULL,
    headers      bytea NOT NULL, -- JSON object
    truncated    boolean NOT NULL,
    body         bytea
);
CREATE INDEX dead_letters_in_order ON dead_letters (first_failed, id);
CREATE INDEX dead_letters_of_order ON dead_letters (order_id, first_failed, id);

CREATE TABLE idempotency_keys (
    key        text COLLATE "C" PRIMARY KEY,
    order_id   text NOT NULL,
    count      integer NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE totals (
    name  text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 10); -- a handful of rows that every commit moves

CREATE TABLE meta (
    name  text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE processes (
    id         text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL,
    bus        text NOT NULL,    -- identity
    alone      boolean NOT NULL, -- holds the ledger's lock
    renewed_at bigint NOT NULL
);

CREATE TABLE buses (
    identity   text COLLATE "C" PRIMARY KEY,
    driver     text NOT NULL,
    prefix     text NOT NULL,
    pipeline   text NOT NULL,
    started_at bigint NOT NULL
);
