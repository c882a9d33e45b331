//! What a replacement takes over from the file it replaces.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::{Errno, Result};

/// The kernel's limit for one attribute and for the list of their names.
const MAX_XATTR: usize = 64 << 10;
/// The extended attribute that holds an access control list.
const ACCESS_LIST: &CStr = c"system.posix_acl_access";
/// Attributes that vouch for the old content.
const OF_CONTENT: [&CStr; 3] = [c"security.ima", c"security.evm", c"security.capability"];

/// Gives `to` the owner, group and extended attributes (labels, access lists) of `from`.
pub(super) fn copy_owner_and_labels(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let (old, new) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
        rustix::fs::fchown(to, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)))?;
    }
    // The directory may have given the new file an access list that the old one does not have.
    ignore_missing(rustix::fs::fremovexattr(to, ACCESS_LIST))?;
    let mut names = vec![0; MAX_XATTR];
    let len = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let names = names[..len].split_inclusive(|&byte| byte == 0);
    names
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .try_for_each(|name| copy_attribute(from, to, name))
}

fn copy_attribute(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    if OF_CONTENT.contains(&name) {
        return Ok(());
    }
    let Some(value) = attribute(from, name)? else { return Ok(()) };
    // Labels that the new file got anyway need no permission to be set.
    if attribute(to, name)?.as_ref() == Some(&value) {
        return Ok(());
    }
    ignore_missing(rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty()))
}

fn attribute(fd: BorrowedFd<'_>, name: &CStr) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; MAX_XATTR];
    match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Gives `to` the permission bits of `from`.
pub(super) fn copy_mode(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fchmod(to, Mode::from_raw_mode(rustix::fs::fstat(from)?.st_mode))
}

fn ignore_missing(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}
