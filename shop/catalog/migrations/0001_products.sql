CREATE TABLE products (
    id       INTEGER PRIMARY KEY,
    name_en  TEXT    NOT NULL UNIQUE,
    name_ko  TEXT    NOT NULL UNIQUE,
    krw      INTEGER NOT NULL CHECK (krw > 0),              -- whole won
    usd      INTEGER NOT NULL CHECK (usd > 0),              -- cents
    stock    INTEGER NOT NULL CHECK (stock >= 0),           -- on the shelf
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND stock)
) STRICT;

CREATE TABLE price_changes (
    id         INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products (id),
    currency   TEXT    NOT NULL CHECK (currency IN ('KRW', 'USD')),
    before     INTEGER NOT NULL,
    after      INTEGER NOT NULL CHECK (after > 0 AND after <> before),
    at         INTEGER NOT NULL                             -- milliseconds since 1970
) STRICT;

CREATE INDEX price_changes_by_product ON price_changes (product_id, id);

-- Trigrams find any part of a word of three characters or more, in Korean as in English.
CREATE VIRTUAL TABLE products_fts USING fts5 (
    name_en, name_ko, content = 'products', content_rowid = 'id', tokenize = 'trigram'
);

CREATE TRIGGER product_is_found AFTER INSERT ON products
BEGIN
    INSERT INTO products_fts (rowid, name_en, name_ko) VALUES (NEW.id, NEW.name_en, NEW.name_ko);
END;

CREATE TRIGGER product_is_found_by_new_name AFTER UPDATE OF name_en, name_ko ON products
BEGIN
    INSERT INTO products_fts (products_fts, rowid, name_en, name_ko)
    VALUES ('delete', OLD.id, OLD.name_en, OLD.name_ko);
    INSERT INTO products_fts (rowid, name_en, name_ko) VALUES (NEW.id, NEW.name_en, NEW.name_ko);
END;

CREATE TRIGGER product_is_not_found_after AFTER DELETE ON products
BEGIN
    INSERT INTO products_fts (products_fts, rowid, name_en, name_ko)
    VALUES ('delete', OLD.id, OLD.name_en, OLD.name_ko);
END;
