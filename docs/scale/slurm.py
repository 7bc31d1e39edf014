"""Start a Dask cluster whose workers are SLURM jobs, which `DaskRunner` can use.

    pip install dask-jobqueue
    python docs/scale/slurm.py --workers 20 --threads 4 --memory 8GiB --walltime 04:00:00

Run it in the project's folder; the logs of the jobs are written there. This process contains the
scheduler: leave it running until the grid is done. Ctrl-C ends the jobs.
"""

import argparse
import signal
import threading

import dask
from dask_jobqueue import SLURMCluster

# Trials wait at the scheduler, as Dask counts a dead worker against all its trials.
SETTINGS = {"distributed.scheduler.worker-saturation": 1.0}


def make_cluster(options: argparse.Namespace) -> SLURMCluster:
    """Return a cluster without any jobs yet.

    Args:
        options: see `parse`.
    """
    # SLURM limits memory; Dask would pause a worker before it reaches the limit.
    worker = ["--memory-limit", "0", "--no-dashboard"]
    job = ["--output=slurm-%j.log"]
    if options.gpu:
        worker += ["--resources", "GPU=1"]
        job += ["--gres=gpu:1"]
    return SLURMCluster(
        queue=options.partition,
        account=options.account,
        cores=1,  # a worker runs one trial at a time
        job_cpu=options.threads,
        memory=options.memory,
        walltime=options.walltime,
        worker_extra_args=worker,
        job_extra_directives=job,
        scheduler_options={"dashboard_address": ":0"},
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=8, help="maximum number of jobs at a time")
    parser.add_argument("--threads", type=int, default=4, help="cores per job: benchmark.threads")
    parser.add_argument("--memory", default="8GiB", help="memory per job")
    parser.add_argument(
        "--walltime", default="04:00:00", help="of a job: enough for several trials"
    )
    parser.add_argument("--gpu", action="store_true", help="one GPU per job")
    parser.add_argument("--partition")
    parser.add_argument("--account")
    parser.add_argument("--job-script", action="store_true", help="print a job, submit nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Start the scheduler, submit jobs when trials wait, and run until Ctrl-C."""
    options = parse(arguments)
    with dask.config.set(SETTINGS), make_cluster(options) as cluster:
        if options.job_script:
            print(cluster.job_script())
            return
        # Submits jobs while trials wait, and ends them when no trial waits.
        cluster.adapt(minimum=0, maximum=options.workers)
        print(f"export DASK_SCHEDULER_ADDRESS={cluster.scheduler_address}", flush=True)
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()


if __name__ == "__main__":
    main()
