-- Ids are never used twice, not even after a deletion: orders keep them for ever.
CREATE TABLE users (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

INSERT INTO users (name) VALUES ('Alice'), ('Bob');
