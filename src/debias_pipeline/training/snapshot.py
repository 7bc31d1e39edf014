"""Snapshots of a training run, from which an interrupted run continues."""

import hashlib
import json
import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from debias_pipeline.nested import changes

logger = logging.getLogger(__name__)

# A snapshot is saved when training since the last one took this many times as long as saving it,
# so that snapshots cost at most 1 % of a run.
TRAINING_PER_SNAPSHOT = 100
# The newest may be damaged if the machine fails while it is written.
SNAPSHOTS_KEPT = 2


@dataclass(frozen=True)
class Snapshot:
    """The state of a training run between two steps.

    Attributes:
        tensors: by name, on the CPU.
        metadata: plain JSON values; NaN and infinities are allowed.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]


class SnapshotFolder(Protocol):
    """A folder with the snapshots of one training run."""

    def location(self) -> str:
        """Return the path or URL of the folder."""

    def names(self) -> Sequence[str]:
        """Return the names of the snapshots, oldest first."""

    def write(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Write a snapshot; it appears whole or not at all.

        Raises:
            OSError: if it cannot be written, such as on a full disk.
        """

    def read(self, name: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """Return tensors and metadata of a snapshot, or None if the file cannot be read."""

    def set_aside(self, name: str) -> str:
        """Rename a snapshot so that `names` no longer lists it; return its new path."""

    def remove(self, name: str) -> None:
        """Delete a snapshot."""


class SnapshotStore(Protocol):
    """The folders with the snapshots of one method on one data set, one folder per fingerprint."""

    def folder(self, digest: str, fingerprint: Mapping[str, Any]) -> SnapshotFolder:
        """Return the folder for a fingerprint and its digest."""

    def other_fingerprints(self, digest: str) -> Mapping[str, Mapping[str, Any]]:
        """Return path of the folder → fingerprint, for all folders except that of `digest`."""

    def exclusive(self, digest: str) -> AbstractContextManager[None]:
        """Lock the settings of this digest, so that no other process trains with them.

        Raises:
            AlreadyRunningError: if another process does.
        """

    def clear(self, digest: str) -> None:
        """Delete the snapshots of runs with these settings."""


class Snapshots:
    """Save snapshots of a training run, and find the one to resume from.

    Attributes:
        digest: eight hexadecimal digits that identify the fingerprint.
    """

    def __init__(self, store: SnapshotStore, fingerprint: Mapping[str, Any]) -> None:
        """Set up.

        Args:
            store: contains the snapshots of all runs.
            fingerprint: everything that the result of the run depends on, as JSON values. Snapshots
                with another fingerprint are never used.
        """
        self._store, self._fingerprint = store, fingerprint
        self.digest = fingerprint_digest(fingerprint)
        self._folder = store.folder(self.digest, fingerprint)
        self._last_end = time.perf_counter()
        self._last_cost = 0.0
        self._warned = False

    def exclusive(self) -> AbstractContextManager[None]:
        """See `SnapshotStore.exclusive`."""
        return self._store.exclusive(self.digest)

    def latest(self) -> Snapshot | None:
        """Return the newest snapshot that can be read, or None if there is none.

        Damaged snapshots are renamed, with a warning. If there are only snapshots of other
        settings, they are kept, and the differences are logged.
        """
        for name in reversed(self._folder.names()):
            content = self._folder.read(name)
            if content is not None:
                tensors, metadata = content
                if metadata.get("checksum") == _checksum(tensors):
                    return Snapshot(tensors, metadata)
            logger.warning(
                "Snapshot %s of %s is damaged; it is renamed to %s and the one before it is used",
                name, self._folder.location(), self._folder.set_aside(name),
            )  # fmt: skip
        for path, other in self._store.other_fingerprints(self.digest).items():
            logger.info(
                "Snapshots of a run with other settings (%s) are not used: %s",
                "; ".join(_differences(other, self._fingerprint)), path,
            )  # fmt: skip
        return None

    def due(self) -> bool:
        """Return whether enough time has passed since the last snapshot for the next one."""
        passed = time.perf_counter() - self._last_end
        return passed >= TRAINING_PER_SNAPSHOT * self._last_cost

    def save(self, step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bool:
        """Write a snapshot and delete all but the newest ones.

        A snapshot that cannot be written does not stop training: a warning says so, once.

        Args:
            step: number of steps made so far, all stages together.
            tensors: by name.
            metadata: plain JSON values.

        Returns:
            Whether the snapshot was written.
        """
        started = time.perf_counter()
        on_cpu = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        described = {**metadata, "checksum": _checksum(on_cpu)}
        try:
            self._folder.write(f"step-{step:09d}", on_cpu, described)
            for name in self._folder.names()[:-SNAPSHOTS_KEPT]:
                self._folder.remove(name)
        except OSError as error:
            self._warn(step, error)
            return False
        finally:
            self._last_end = time.perf_counter()
            self._last_cost = self._last_end - started
        return True

    def _warn(self, step: int, error: OSError) -> None:
        if not self._warned:
            logger.warning(
                "The snapshot of step %d could not be written to %s (%s); training goes on and "
                "tries again at later steps without another warning",
                step, self._folder.location(), error,
            )  # fmt: skip
        self._warned = True

    def remove(self) -> None:
        """Delete all snapshots of these settings."""
        for name in self._folder.names():
            self._folder.remove(name)


def fingerprint_digest(fingerprint: Mapping[str, Any]) -> str:
    """Return eight hexadecimal digits of a hash of the fingerprint."""
    text = json.dumps(fingerprint, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return a text such as "recipe.steps=3000, now 100" for each difference."""
    return sorted(f"{name}={old}, now {new}" for name, old, new in changes(theirs, ours))


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return a checksum of names, dtypes, shapes and values."""
    checksum = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        described = f"{name} {tensor.dtype} {list(tensor.shape)}"
        content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        checksum = zlib.crc32(content.data, zlib.crc32(described.encode(), checksum))
    return checksum
