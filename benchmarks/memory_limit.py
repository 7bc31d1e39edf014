"""Starting a command that gets only so much memory, page cache included."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def limited(command: Sequence[str], limit: int) -> Iterator[list[str]]:
    """A command that runs `command` in a control group with a memory limit.

    Args:
        command: what to run.
        limit: bytes.

    Yields:
        The longer command. The group lives as long as the context.

    Raises:
        RuntimeError: if this machine lets us make no such group.
    """
    parent = _own_group_of_version_1()
    if parent is not None:
        group = parent / f"benchmark-{os.getpid()}"
        group.mkdir()
        try:
            (group / "memory.limit_in_bytes").write_text(str(limit))
            enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
            yield ["sh", "-c", enter, str(group), *command]
        finally:
            group.rmdir()
        return
    if shutil.which("systemd-run") is None:
        raise RuntimeError("no control group to limit memory in: run this as root or with systemd")
    user = [] if os.geteuid() == 0 else ["--user"]
    limits = ["-p", f"MemoryMax={limit}", "-p", "MemorySwapMax=0"]
    yield ["systemd-run", "--scope", "--quiet", *user, *limits, *command]


def _own_group_of_version_1() -> Path | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        group = _CGROUPS / "memory" / path.lstrip("/")
        if controllers == "memory" and os.access(group, os.W_OK):
            return group
    return None
