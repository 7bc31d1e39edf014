"""Log the use of CPU, memory, disk, network and GPU."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psutil

# Seconds.
_INTERVAL: Final = 10.0
_PATIENCE: Final = 2.0


class SystemMetrics:
    """Sample MLflow's system metrics in a thread, and once more at the end.

    MLflow's own `SystemMetricsMonitor` sends what it samples to the store itself, and stops as soon
    as the store fails. Its sensors are not used either, as they would import MLflow.
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
            self._thread.start()

    def stop(self) -> None:
        """Log a last sample; a run that is short has no other."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _work(self) -> None:
        # The next value counts from this call, which psutil remembers per thread.
        psutil.cpu_percent()
        network = psutil.net_io_counters()
        interval = float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL") or _INTERVAL)
        stopped = False
        while not stopped:
            stopped = self._stopped.wait(interval)
            values = {**_use_of_machine(), **_traffic_since(network), **_use_of_gpus()}
            self._log(metrics={"system": values}, step=self._step)
            self._step += 1


def _use_of_machine() -> dict[str, float]:
    """Return metrics of CPU, memory and disk, with MLflow's names."""
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(os.sep)
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": round(memory.used / 1e6, 1),
        "system_memory_usage_percentage": round(100 * memory.used / memory.total, 1),
        "disk_usage_percentage": disk.percent,
        "disk_usage_megabytes": round(disk.used / 1e6, 1),
        "disk_available_megabytes": round(disk.free / 1e6, 1),
    }


def _traffic_since(before: Any) -> dict[str, float]:
    """Return the traffic since earlier counters of psutil, with MLflow's names."""
    now = psutil.net_io_counters()
    return {
        "network_receive_megabytes": (now.bytes_recv - before.bytes_recv) / 1e6,
        "network_transmit_megabytes": (now.bytes_sent - before.bytes_sent) / 1e6,
    }


def _use_of_gpus() -> dict[str, float]:
    """Return metrics of each GPU, with MLflow's names; {} without nvidia-ml-py or a driver.

    What a GPU does not show is left out.
    """
    try:
        import pynvml as nvml
    except ImportError:
        return {}
    values: dict[str, float] = {}
    with suppress(nvml.NVMLError):
        nvml.nvmlInit()
        for number in range(nvml.nvmlDeviceGetCount()):
            gpu, prefix = nvml.nvmlDeviceGetHandleByIndex(number), f"gpu_{number}"
            with suppress(nvml.NVMLError):
                memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
                values[f"{prefix}_memory_usage_percentage"] = 100 * memory.used / memory.total
                values[f"{prefix}_memory_usage_megabytes"] = memory.used / 1e6
            with suppress(nvml.NVMLError):
                utilization = nvml.nvmlDeviceGetUtilizationRates(gpu)
                values[f"{prefix}_utilization_percentage"] = utilization.gpu
            with suppress(nvml.NVMLError):
                power = nvml.nvmlDeviceGetPowerUsage(gpu)
                limit = nvml.nvmlDeviceGetEnforcedPowerLimit(gpu)
                values[f"{prefix}_power_usage_watts"] = power / 1000
                values[f"{prefix}_power_usage_percentage"] = 100 * power / limit
    return {name: round(value, 1) for name, value in values.items()}
