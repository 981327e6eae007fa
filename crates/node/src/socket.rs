//! Where a node listens for its owner: a unix socket in a folder that only the owner may enter.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::hex;

/// The socket of the system whose manifest lies in `root` (absolute): in `$XDG_RUNTIME_DIR/madang`, or else in
/// `/tmp/madang-<uid>`. Its name is short whatever `root` is, since the path of a socket has at most 107 bytes.
pub fn path(root: &Path) -> PathBuf {
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    folder().join(format!("{}.sock", hex::encode(&digest[..8])))
}

/// The sockets of all systems of this user, of some of which the node may be gone.
pub fn all() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "sock")).collect()
}

fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if !runtime.is_empty() && runtime.len() <= 64 => PathBuf::from(runtime).join("madang"),
        _ => PathBuf::from(format!("/tmp/madang-{}", rustix::process::getuid().as_raw())),
    }
}

/// Makes the folder of a socket and proves that it is the owner's alone.
///
/// # Errors
/// If it cannot be made, or belongs to somebody else, or others may enter it.
pub(crate) fn prepare_folder(socket: &Path) -> io::Result<()> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    let ours = found.is_dir() && found.uid() == rustix::process::getuid().as_raw();
    if !ours || found.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} must be a folder that only you may enter (mode 0700)", folder.display()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_fits_a_socket_address_and_differs_by_root() {
        let deep = PathBuf::from(format!("/{}", "deep/".repeat(200)));
        assert!(path(&deep).as_os_str().len() <= 107);
        assert_ne!(path(&deep), path(Path::new("/shop")));
    }

    #[test]
    fn a_folder_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("runtime/a.sock");
        prepare_folder(&socket).unwrap();
        fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(prepare_folder(&socket).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
