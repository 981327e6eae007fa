//! Where a file has content: the supervisor frees the head of a log that is too long.

use std::{fs::File, io};

use rustix::{fs::SeekFrom, io::Errno};

/// The first byte of a file that is not in a hole at its beginning.
pub(super) fn first_data(file: &File, size: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(0)) {
        Ok(offset) => Ok(offset.min(size)),
        Err(Errno::NXIO) => Ok(size),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
