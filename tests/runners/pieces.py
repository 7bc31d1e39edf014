"""Nodes and datasets that Dask workers import."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from distributed import get_worker
from kedro.io import AbstractDataset

from debias_pipeline.errors import UserError
from debias_pipeline.stopping import Stopped, stopping_on_request


def worker_name(device: str) -> str:
    return f"{device} on {get_worker().name}"


def threads(device: str, of_parameters: int | str = "auto") -> int:
    return torch.get_num_threads()


def double(value: int) -> int:
    return 2 * value


def same(value: Any) -> Any:
    return value


def listed(*values: Any) -> list[Any]:
    return [*values]


def refuse(value: int) -> int:
    try:
        raise UserError("percent=0: choose more than 0")
    except UserError as error:
        raise RuntimeError("while loading") from error


class StubbornError(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("no")


def fail_stubbornly(value: int) -> int:
    raise StubbornError("stubborn failure")


def die(value: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return value


def sleep(value: int) -> int:
    Path("asleep").touch()
    time.sleep(120)
    return value


def train_elsewhere(value: int) -> list[str]:
    """Train until the worker is closed; on the next worker, name both."""
    trains = Path("trains")
    if trains.exists():
        return [trains.read_text(), get_worker().name]
    with stopping_on_request() as request:
        trains.write_text(str(get_worker().name))
        Path("asleep").touch()
        while request.signal_number is None:
            time.sleep(0.01)
        raise Stopped(request.signal_number, "Stopped after step 5")


class Unseen(AbstractDataset[Any, Any]):
    """What is saved on a machine of its own."""

    def load(self) -> Any:
        return None

    def save(self, data: Any) -> None:
        pass

    def _exists(self) -> bool:
        return False

    def _describe(self) -> dict[str, Any]:
        return {}
