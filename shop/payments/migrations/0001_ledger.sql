-- Double entry, enforced here so that no code path can get round it:
--   an entry is never changed or removed;
--   a transaction commits only with its seal (a deferred foreign key);
--   a seal is refused unless the entries of the transaction sum to zero in every currency;
--   a sealed transaction takes no further entry;
--   a customer's or the shop's account never goes below zero.

CREATE TABLE accounts (
    id       INTEGER PRIMARY KEY,
    owner    TEXT    NOT NULL,           -- 'user:7', 'shop', 'bank'
    currency TEXT    NOT NULL CHECK (currency IN ('KRW', 'USD')),
    balance  INTEGER NOT NULL DEFAULT 0, -- kept by the trigger `entry_counts` only
    UNIQUE (owner, currency),
    CHECK (owner = 'bank' OR balance >= 0)
) STRICT;

CREATE TABLE transactions (
    id        INTEGER PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN ('opening', 'charge', 'refund')),
    reference TEXT    NOT NULL,          -- what it is for, in words of the caller
    at        INTEGER NOT NULL,          -- seconds since 1970
    seal      INTEGER NOT NULL CHECK (seal = id)
        REFERENCES seals (transaction_id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE TABLE seals (
    transaction_id INTEGER PRIMARY KEY REFERENCES transactions (id)
) STRICT;

CREATE TABLE entries (
    transaction_id INTEGER NOT NULL REFERENCES transactions (id),
    position       INTEGER NOT NULL,
    account_id     INTEGER NOT NULL REFERENCES accounts (id),
    amount         INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (transaction_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX entries_by_account ON entries (account_id, amount);

CREATE TRIGGER entry_not_after_seal BEFORE INSERT ON entries
WHEN EXISTS (SELECT 1 FROM seals WHERE transaction_id = NEW.transaction_id)
BEGIN SELECT raise(ABORT, 'the transaction is sealed'); END;

CREATE TRIGGER entry_counts AFTER INSERT ON entries
BEGIN UPDATE accounts SET balance = balance + NEW.amount WHERE id = NEW.account_id; END;

CREATE TRIGGER entry_stays BEFORE UPDATE ON entries
BEGIN SELECT raise(ABORT, 'an entry is never changed'); END;

CREATE TRIGGER entry_is_kept BEFORE DELETE ON entries
BEGIN SELECT raise(ABORT, 'an entry is never removed'); END;

CREATE TRIGGER seal_is_kept BEFORE DELETE ON seals
BEGIN SELECT raise(ABORT, 'a seal is never removed'); END;

CREATE TRIGGER seal_needs_balance BEFORE INSERT ON seals
BEGIN
    SELECT raise(ABORT, 'the transaction has no entries')
    WHERE NOT EXISTS (SELECT 1 FROM entries WHERE transaction_id = NEW.transaction_id);
    SELECT raise(ABORT, 'the transaction does not sum to zero')
    WHERE EXISTS (
        SELECT 1 FROM entries JOIN accounts ON accounts.id = entries.account_id
        WHERE entries.transaction_id = NEW.transaction_id
        GROUP BY accounts.currency
        HAVING sum(entries.amount) <> 0);
END;
