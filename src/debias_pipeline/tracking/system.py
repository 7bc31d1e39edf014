"""Log the use of CPU, memory, disk, network and GPU."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psutil

# Seconds.
_INTERVAL: Final = 10.0
_PATIENCE: Final = 10.0


class SystemMetrics:
    """Samples MLflow's system metrics in a thread, and once more at the end.

    MLflow's own `SystemMetricsMonitor` sends what it samples to the store itself, and stops as soon
    as the store fails; this class uses its sensors only.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        """Start sampling, unless MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false.

        Args:
            log: `TrackedRun.log`.
        """
        self._log, self._step = log, 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="system metrics")
        if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() in ("true", "1"):
            # The first value of the CPU counts from this call.
            psutil.cpu_percent()
            self._thread.start()

    def stop(self) -> None:
        """Log a last sample; a run that is short has no other."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _work(self) -> None:
        interval = float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL") or _INTERVAL)
        stopped, sensors = False, list[Any]()
        while not stopped:
            stopped = self._stopped.wait(interval)
            # Not before, as this imports MLflow.
            sensors = sensors or _sensors()
            values: dict[str, float] = {}
            for sensor in sensors:
                sensor.collect_metrics()
                values |= sensor.aggregate_metrics()
                sensor.clear_metrics()
            self._log(metrics={"system": values}, step=self._step)
            self._step += 1


def _sensors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    sensors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    # ImportError without nvidia-ml-py, and RuntimeError without a GPU.
    with suppress(ImportError, RuntimeError):
        sensors.append(GPUMonitor())
    return sensors
