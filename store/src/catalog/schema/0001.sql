-- A file that is an image, or that an image names.
CREATE TABLE images (
    id          INTEGER PRIMARY KEY,
    path        BLOB NOT NULL UNIQUE, -- absolute, symbolic links resolved
    device      INTEGER,              -- these three identify the file; all NULL: nothing stands there
    inode       INTEGER,
    born        INTEGER,              -- nanoseconds since 1970; 0: the filesystem does not tell
    format      TEXT,                 -- NULL: known only by name
    size        INTEGER,              -- of the virtual disk, in bytes
    fingerprint BLOB,                 -- BLAKE3 of the header; NULL: the format has none
    digest      BLOB,                 -- docs/DIGEST.md; NULL: not known
    seen        INTEGER NOT NULL      -- when it was last looked at, nanoseconds since 1970
) STRICT;
CREATE INDEX images_by_identity ON images (device, inode);

-- What an image says that it needs.
CREATE TABLE edges (
    overlay INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    role    TEXT NOT NULL,            -- backing, data-file
    base    INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    name    BLOB NOT NULL,            -- as it stands in the overlay
    format  TEXT,                     -- as it stands there, if it does
    PRIMARY KEY (overlay, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_by_base ON edges (base);

-- A command that changed images, or tried to.
CREATE TABLE transactions (
    id        INTEGER PRIMARY KEY,
    key       TEXT NOT NULL UNIQUE,   -- made by the process: no event is entered twice
    started   INTEGER NOT NULL,       -- nanoseconds since 1970
    ended     INTEGER NOT NULL,
    directory BLOB NOT NULL,          -- in which it ran
    command   BLOB NOT NULL,          -- its words, a NUL after each
    outcome   TEXT NOT NULL,          -- done, failed, interrupted, recovered
    code      INTEGER NOT NULL,       -- exit code
    message   TEXT NOT NULL           -- why it failed
) STRICT;

-- The images that it changed.
CREATE TABLE touched (
    txn   INTEGER NOT NULL REFERENCES transactions ON DELETE CASCADE,
    path  BLOB NOT NULL,              -- its name then
    image INTEGER REFERENCES images ON DELETE SET NULL,
    PRIMARY KEY (txn, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX touched_by_image ON touched (image);
CREATE INDEX touched_by_path ON touched (path);
