-- +goose Up
-- Several processes, and the buses that the ledger was on.

CREATE TABLE processes (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    bus        TEXT NOT NULL,    -- identity of the bus that it is on
    alone      INTEGER NOT NULL, -- 1: it holds a lock that one process has at a time
    renewed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE buses (
    identity   TEXT PRIMARY KEY,
    driver     TEXT NOT NULL,
    prefix     TEXT NOT NULL,
    pipeline   TEXT NOT NULL,    -- its stages, comma-separated
    started_at INTEGER NOT NULL  -- when the ledger came to it last
) STRICT, WITHOUT ROWID;

-- The totals of steps leave the complete pizzas out, which are past every step:
-- so they do not depend on the pipeline of whoever writes.
INSERT INTO totals (name, value)
SELECT 'unfinished:' || substr(item, 1, instr(item, ' ') - 1),
       sum(CAST(substr(item, instr(item, ' ') + 1) AS INTEGER) - completed)
FROM (
    SELECT json_each.value AS item, completed
    FROM orders, json_each('["' || replace(progress, ',', '","') || '"]')
    WHERE progress <> ''
)
GROUP BY 1;
DELETE FROM totals WHERE name LIKE 'passed:%';
DELETE FROM meta WHERE name = 'pipeline';
