"""`kedro`, noting when the first training step is done and how much memory was used.

python -m benchmarks.watched_kedro <file for the notes> <time of the start> run …
"""

import json
import resource
import sys
import time
from pathlib import Path

STATUS = Path("/proc/self/status")


def main() -> None:
    """Run the command line that follows the two arguments of one's own."""
    report, started = Path(sys.argv[1]), float(sys.argv[2])
    sys.argv = ["kedro", *sys.argv[3:]]
    first_steps: list[float] = []
    _watch_first_step(first_steps)
    from kedro.framework.cli.cli import main as kedro

    try:
        kedro()
    except SystemExit as ended:
        if ended.code:
            raise
    notes = {
        "first_step": first_steps[0] - started,
        "total": time.time() - started,
        "peak_memory": _peak_memory(),
    }
    report.write_text(json.dumps(notes))


def _watch_first_step(times: list[float]) -> None:
    # The project needs it in any case, so that importing it here adds nothing.
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def note(*_: object) -> None:
        times.append(time.time())
        handle.remove()

    handle = register_optimizer_step_post_hook(note)


def _peak_memory() -> float:
    """Gigabytes. Linux's status, unlike `getrusage`, leaves out what the parent had used."""
    if not STATUS.exists():
        units = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * units / 1e9
    line = next(each for each in STATUS.read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


if __name__ == "__main__":
    main()
