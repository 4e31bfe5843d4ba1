"""Atomic files: a reader finds the old file or the whole new one, even after a power failure.

A file is written under a temporary name in the same folder, flushed to the disk (fsync) and renamed over its final
name; then the folder is flushed. This holds after SIGKILL and on a full disk too. The new file takes over the old one's
owner, permissions and extended attributes (access lists among them) as far as the system allows, and a symbolic link stays
one: what it points to is replaced.
"""

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` when the block ends without an error.

    On an error the temporary file is removed, `path` stays as it was, and the error propagates.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "only a regular file can be replaced, this is a device or a pipe", str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        _flush(temporary)
        _take_over(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that a reader finds the old file or the whole new one.

    Raises OSError (a full disk, a missing folder) and leaves the old file untouched.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.bin"
    >>> write_bytes(path, b"1234"); path.read_bytes()
    b'1234'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically like `write_bytes`.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> write_text(path, "beta = 2"); path.read_text()
    'beta = 2'
    """
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` to `path` as JSON, atomically like `write_bytes`; NaN and infinity become null, which every reader accepts.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.json"
    >>> write_json(path, {"tau_int": float("nan")}); json.loads(path.read_text())
    {'tau_int': None}
    """
    write_text(path, json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Return `value` as JSON can represent it: arrays and NumPy numbers as lists and numbers, NaN and infinity as None.

    >>> plain({"a": (1, float("inf"))})
    {'a': [1, None]}
    """
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # arrays and scalars of any library, whose classes have nothing else in common
        return plain(value.tolist())
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Remove the temporary files that a killed writer left in `folder` and return their names.

    Only the process that owns the folder may call it: it would remove the unfinished file of another writer too.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / ".a.txt.01234567.part").write_text("hal"); remove_leftovers(folder)
    ['.a.txt.01234567.part']
    """
    leftovers = sorted(Path(folder).glob(".*.part"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return [path.name for path in leftovers]


def _take_over(old: Path, new: Path) -> None:
    """Give a new file the owner, permissions and extended attributes of an old one, if there is one.

    Only root may give files away, and not every file system has all of these: what cannot be kept is no error.
    """
    if not old.exists():
        return
    found = old.stat()
    with contextlib.suppress(OSError):
        os.chown(new, found.st_uid, found.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        for name in os.listxattr(old):
            os.setxattr(new, name, os.getxattr(old, name))
    with contextlib.suppress(OSError):
        os.chmod(new, stat.S_IMODE(found.st_mode))


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # The rename is an entry of the folder; systems that cannot open a folder keep renames in order by themselves.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
