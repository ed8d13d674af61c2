"""The ways to start a worker, strongest first: bubblewrap, Landlock, and, where the user insists, neither.

In all of them the worker confines itself with seccomp and resource limits (`inside/`). Bubblewrap adds namespaces: no
network, own processes, a file system of which only Python's own files exist, read-only. Landlock closes the files and
the network of a process that otherwise stays where it is. As root each worker gives up root for a user id of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from archon.sandbox.limits import Limits

Name = Literal["bubblewrap", "landlock", "unsafe"]
BOX = "/box"
"""Where `inside/` lies within bubblewrap."""
INSIDE = Path(__file__).parent / "inside"
_MAIN = "import sys; sys.path.insert(0, {!r}); from inside.worker import main; main()"
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/etc/ld.so.cache")
_USERS = range(59_000, 60_000)


@dataclass(frozen=True, slots=True)
class Backend:
    """How workers are started."""

    name: Name
    user_namespace: bool = False
    """bubblewrap: whether it must make a user namespace (it need not as a full root)."""

    @property
    def drops_user(self) -> bool:
        """Whether each worker gets a user id of its own."""
        return sys.platform == "linux" and os.geteuid() == 0 and not self.user_namespace

    def command(self, limits: Limits, slot: int) -> list[str]:
        """The command of a worker; `slot` is a number no other living worker of this process has."""
        inside = BOX if self.name == "bubblewrap" else str(INSIDE.parent)
        python = [interpreter(), "-S", "-s", "-P", "-B", "-X", "utf8", "-W", "ignore", "-c", _MAIN.format(inside)]
        return [*self._wrapper(), *python, json.dumps(self._settings(limits, slot))]

    def _settings(self, limits: Limits, slot: int) -> dict[str, Any]:
        user = _USERS[(os.getpid() * 37 + slot) % len(_USERS)] if self.drops_user else None
        own_user = self.drops_user or self.user_namespace
        landlock = [str(INSIDE), *python_files(), *filter(os.path.exists, _SYSTEM), "/dev/urandom"]
        hidden = self.name != "bubblewrap" and user is not None and not _open_to_all(Path(python_files()[0]))
        return {
            "uid": user,
            "strict": self.name != "unsafe",
            "readable": landlock if self.name == "landlock" else None,
            "limits": limits.resources(own_user=own_user),
            "keeps_reading": hidden,
        }

    def _wrapper(self) -> list[str]:
        if self.name != "bubblewrap":
            return []
        found = [shutil.which("bwrap") or "bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        found += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
        if self.user_namespace:
            found += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
        else:
            found += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        shown = shown_files()
        for folder in shown_folders():
            found += ["--perms", "0755", "--dir", folder]
        for path in dict.fromkeys(shown):
            found += ["--ro-bind", path, path]
        found += ["--ro-bind", str(INSIDE), f"{BOX}/inside"]
        for device in ("/dev/null", "/dev/urandom"):
            found += ["--dev-bind", device, device]
        return [*found, "--remount-ro", "/", "--chdir", "/home", "--"]


def backends() -> Iterator[Backend]:
    """Every safe way that may work here, strongest first; whether one does is found out by trying it (`probe`)."""
    if sys.platform != "linux":
        return
    if shutil.which("bwrap"):
        if os.geteuid() == 0:
            yield Backend("bubblewrap")
        yield Backend("bubblewrap", user_namespace=True)
    yield Backend("landlock")


def interpreter() -> str:
    """The real file of the Python that runs this, not a virtual environment's link."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def python_files() -> list[str]:
    """What the interpreter reads: its standard library, and its shared library where it has one."""
    # Of the interpreter and not of a virtual environment, whose folder holds whatever its owner has installed.
    own = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    libraries = dict.fromkeys(os.path.realpath(sysconfig.get_path(key, vars=own)) for key in ("stdlib", "platstdlib"))
    base = Path(sys.base_prefix) / "lib"
    shared = (sysconfig.get_config_var(key) for key in ("INSTSONAME", "LDLIBRARY"))
    places = (Path(sysconfig.get_config_var("LIBDIR") or base), base)
    files = [str(place / name) for name in shared if name for place in places if (place / name).is_file()]
    return [*libraries, *dict.fromkeys(files)]


def shown_files() -> list[str]:
    """Files and folders that exist within bubblewrap too."""
    return [path for path in _SYSTEM if os.path.exists(path)] + [interpreter(), *python_files()]  # noqa: PTH110


def shown_folders() -> list[str]:
    """The folders above them, of which nothing else is shown. Python may lie anywhere, in a home or in `/tmp`."""
    return _parents([*shown_files(), "/dev/null", "/home/any", f"{BOX}/inside"])


def environment() -> dict[str, str]:
    """All of a worker's environment. A fixed hash seed makes runs repeat."""
    return {"HOME": "/home", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0"}


def _parents(paths: Iterable[str]) -> list[str]:
    """Every folder above the paths, the outer ones first. Bubblewrap would close those it makes itself to others."""
    folders = {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "/"}
    links = {"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64"}
    return sorted(folders - links)


def _open_to_all(path: Path) -> bool:
    """Whether any user may read below `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents))
