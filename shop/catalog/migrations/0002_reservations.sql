-- `released` may also stand for a reservation that was never made: a release that overtook its reservation
-- leaves it behind, so that the late reservation is refused.
CREATE TABLE reservations (
    key        TEXT    PRIMARY KEY,
    state      TEXT    NOT NULL CHECK (state IN ('held', 'confirmed', 'released', 'expired')),
    expires_at INTEGER NOT NULL                             -- milliseconds since 1970
) STRICT, WITHOUT ROWID;

CREATE INDEX reservations_by_expiry ON reservations (state, expires_at);

CREATE TABLE reservation_lines (
    key        TEXT    NOT NULL REFERENCES reservations (key) ON DELETE CASCADE,
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (key, product_id)
) STRICT, WITHOUT ROWID;
