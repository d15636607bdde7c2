"""No shared memory outlives its cluster, whoever is killed.

Every process of a cluster holds a shared flock on the file ``lease`` in the cluster's directory,
its own or one inherited through fork. The kernel lets go of it when the process ends, however it
ends. So a cluster is dead exactly when the lease can be locked exclusively, and whoever starts
the next cluster removes what dead ones left.

A directory is renamed before it is emptied, under the exclusive lock. Interleaving with a cluster
that is just starting (C) under a janitor (J):

1. C makes the directory and opens the lease. 2. J opens the lease and locks it exclusively: nobody
holds it yet. 3. C waits for the shared lock. 4. J renames the directory and unlocks. 5. C has a
lock on a file that is not the directory's lease any more; it sees that and starts over.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from parallax.ids import new_token
from parallax.store import flock
from parallax.store.segment import names_file

LEASE = "lease"
SPILL_LINK = "spill"


def hold_lease(root: Path) -> int:
    """Make the directory if need be and hold its lease.

    Returns:
        A file descriptor: the lease is held until it is closed here and in all forked children.
        Not inherited by programs that are started.

    Raises:
        NotADirectoryError: `root` is something else, or a link.
        PermissionError: it belongs to another user.
    """
    flock.require_flock()
    while True:
        try:
            with suppress(FileExistsError):
                root.mkdir(mode=0o700)
            _check_private(root)
            fd = _open_lease(root)
        except FileNotFoundError:
            continue  # a janitor took the directory away
        flock.share(fd)
        if names_file(str(root / LEASE), fd):
            return fd
        os.close(fd)


def remove_if_last(root: Path, lease_fd: int) -> bool:
    """Give up the lease, and remove the directory if nobody else holds it.

    Args:
        root: the cluster's directory.
        lease_fd: what `hold_lease` returned, here or in a parent; closed by this call.

    Returns:
        Whether the directory is gone by now.
    """
    # A lock can be tried only on a file opened anew: parents and children share the old one's.
    os.close(lease_fd)
    return _remove_if_dead(root)


def sweep(base_dir: Path, prefix: str, uid: int) -> list[Path]:
    """Remove the directories of dead clusters.

    Args:
        base_dir: where clusters' directories are, such as `/dev/shm`.
        prefix: how their names begin.
        uid: the user whose directories to look at; others' are left alone.

    Returns:
        What was removed.
    """
    removed = []
    for path in sorted(base_dir.glob(f"{prefix}*")):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == uid and _remove_if_dead(path):
            removed.append(path)
    return removed


def _remove_if_dead(root: Path) -> bool:
    try:
        fd = _open_lease(root)
    except FileNotFoundError:
        return True
    try:
        if not flock.try_seize(fd) or not names_file(str(root / LEASE), fd):
            return False
        dead = root.with_name(f"{root.name}.{new_token()}")
        root.rename(dead)
        _remove_tree(dead)
        return True
    finally:
        os.close(fd)


def _open_lease(root: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(root / LEASE, flags, 0o600)


def _remove_tree(root: Path) -> None:
    # Errors are ignored: what cannot be removed now is the next janitor's, who finds it by name.
    try:
        spill_dir = os.readlink(root / SPILL_LINK)
    except OSError:  # nothing was ever spilled
        pass
    else:
        shutil.rmtree(spill_dir, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)


def _check_private(root: Path) -> None:
    """Other users may write to the folder around: take nothing that one of them has put there."""
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{root} is not a directory; remove it and try again")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise PermissionError(
            f"{root} belongs to user {found.st_uid}; remove it, or choose another cluster name"
        )
    if found.st_mode & 0o077:
        root.chmod(0o700)
