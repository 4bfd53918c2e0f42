-- +goose Up
-- Which events a stage has processed on a bus. Event IDs begin with the time of
-- their order, so that new rows lie together in the index; a hash would be half
-- as long and land all over it.

CREATE TABLE processed_scopes (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bus   text COLLATE "C" NOT NULL, -- identity
    stage text COLLATE "C" NOT NULL,
    UNIQUE (bus, stage)
);

CREATE TABLE processed_events (
    scope integer NOT NULL,
    event text COLLATE "C" NOT NULL,
    at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, event)
);
CREATE INDEX processed_events_by_age ON processed_events (at);
