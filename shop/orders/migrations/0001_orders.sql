CREATE TABLE orders (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT    NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))), -- names its effects elsewhere
    request_key TEXT    UNIQUE,                 -- the client's Idempotency-Key, until the order failed
    fingerprint TEXT    NOT NULL,               -- the request that the order was made for
    user_id     INTEGER NOT NULL,
    currency    TEXT    NOT NULL CHECK (currency IN ('KRW', 'USD')),
    total       INTEGER NOT NULL CHECK (total > 0),
    status      TEXT    NOT NULL DEFAULT 'pending' CHECK (status IN (
        'pending', 'reserved', 'charging', 'payment_unknown', 'paid', 'confirmed', 'out_of_stock',
        'declining', 'declined', 'failing', 'failed', 'refunding', 'refunded')),
    charge_id   INTEGER,                        -- of payments, once it is known to be made
    reason      TEXT,                           -- why it ended badly
    field       TEXT,                           -- the field of the request that is to blame, if one is
    created_at  INTEGER NOT NULL,               -- this and the other times: milliseconds since 1970
    due_at      INTEGER,                        -- when it is taken up again if nobody is at it; null once it is over
    tries       INTEGER NOT NULL DEFAULT 0      -- how often its next step failed in a row
) STRICT;

CREATE INDEX orders_by_due ON orders (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX orders_by_user ON orders (user_id, id);

CREATE TABLE lines (
    order_id   INTEGER NOT NULL REFERENCES orders (id),
    position   INTEGER NOT NULL,
    product_id INTEGER NOT NULL,                -- of the catalog
    product    TEXT    NOT NULL,                -- its English name when it was ordered
    quantity   INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
    price      INTEGER NOT NULL CHECK (price > 0), -- of one, when it was ordered
    PRIMARY KEY (order_id, position),
    UNIQUE (order_id, product_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    position INTEGER NOT NULL,
    status   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (order_id, position)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER order_begins AFTER INSERT ON orders
BEGIN
    INSERT INTO history (order_id, position, status, at) VALUES (NEW.id, 0, NEW.status, NEW.created_at);
END;

-- An order from before there was a payments service.
INSERT INTO orders (id, fingerprint, user_id, currency, total, status, created_at)
VALUES (1, '', 1, 'KRW', 15000, 'confirmed', 1767312000000);
INSERT INTO lines (order_id, position, product_id, product, quantity, price)
VALUES (1, 0, 1, 'Book', 1, 15000);
