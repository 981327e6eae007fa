CREATE TABLE charges (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    key            TEXT    NOT NULL UNIQUE,   -- the Idempotency-Key that it was asked for with
    user_id        INTEGER NOT NULL,
    order_ref      TEXT    NOT NULL,
    currency       TEXT    NOT NULL CHECK (currency IN ('KRW', 'USD')),
    amount         INTEGER NOT NULL CHECK (amount > 0),
    status         TEXT    NOT NULL CHECK (status IN ('captured', 'declined')),
    refunded       INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
    transaction_id INTEGER REFERENCES transactions (id),
    CHECK ((status = 'captured') = (transaction_id IS NOT NULL)),
    CHECK (refunded = 0 OR status = 'captured')
) STRICT;

CREATE TABLE refunds (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    charge_id      INTEGER NOT NULL REFERENCES charges (id),
    amount         INTEGER NOT NULL CHECK (amount > 0),
    transaction_id INTEGER NOT NULL REFERENCES transactions (id)
) STRICT;

-- The answer to each request that had an effect or was declined, written in the transaction of the effect.
-- It lives as long as the charge: a key that was forgotten could charge twice.
CREATE TABLE answers (
    key         TEXT    PRIMARY KEY,
    fingerprint TEXT    NOT NULL,             -- the request that the key was first used for
    status      INTEGER NOT NULL,
    body        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
