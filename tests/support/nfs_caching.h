// The file system that stands for Linux's NFSv3 client with default caching: it passes everything
// through to a directory, which plays the server, and has the kernel keep names and attributes for
// ever. On NFS that would be until the directory's attributes time out (acdirmin to acdirmax, 30 to
// 60 s); for ever, so that a program which forgets to look anew fails each time and not sometimes.
//
// What holds here as on NFS (Linux, fs/nfs/dir.c, inode.c, unlink.c; close-to-open, "actimeo"):
//
// - A name that was looked up leads to the same file, or to none, whatever other clients do, until
//   this client changes it, its directory is opened (nfs_check_verifier: the change is seen), or
//   the kernel insists (LOOKUP_EXCL, LOOKUP_REVAL).
// - stat(2) answers with the attributes last fetched. open(2) fetches them anew and drops what was
//   cached of the data (close-to-open).
// - A file or directory that another client removed, or replaced by rename(2), is stale: open(2),
//   stat(2) and read(2) of it, and lookups in it, are ESTALE. Where a path was given, the kernel
//   then walks it again and asks for each name on its way.
// - What changes a directory (O_CREAT|O_EXCL, mkdir, rename, unlink) happens at the server, which
//   knows better than the client; but a name that is believed to be missing is not even asked to be
//   unlinked or renamed.
// - A file that this client has open and unlinks, or renames another to, stays as ".nfs…" in its
//   directory until it is closed; so long that name cannot be unlinked (EBUSY).
// - A listing says names, not types. An append goes where this client believes the end to be.
// - Locks (flock, fcntl) hold among the processes of one client only, as with "nolock"; and boot_id
//   is another on each.
//
// What does not: the server's timestamps are as fine as the changes, so that an opened directory
// never looks unchanged when it is not; writes reach the server at once, where NFS may wait for
// fsync or close; nothing is lost by a crash (fsync does nothing); the first stat after open(2)
// fetches the attributes rather than open(2) itself; a name missing after LOOKUP_REVAL is asked for
// again; no request is sent twice; there are files and directories only.
#pragma once

#include "base/unique_fd.h"

namespace test {

// Serves the directory on an open /dev/fuse until the mount is gone; false, with a line on standard
// error, if it cannot. Once in a process, which does nothing else.
bool serve_as_nfs_client(base::UniqueFd directory, base::UniqueFd device);

}  // namespace test
