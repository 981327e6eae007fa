-- By which name somebody logs in, and the hash of their password (PHC form, argon2id). Who has none cannot log in.
CREATE TABLE logins (
    login    TEXT    PRIMARY KEY CHECK (length(login) BETWEEN 1 AND 100),
    user     INTEGER NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    password TEXT    NOT NULL
) STRICT;
