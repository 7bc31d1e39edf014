"""A Dask cluster on Kubernetes, for `DaskRunner` to join: the manifest for Dask's operator.

    pip install dask-kubernetes
    python docs/scale/kubernetes.py --image IMAGE --workers 20 --gpu > cluster.yaml
    kubectl apply --filename cluster.yaml

The operator itself must be there: https://kubernetes.dask.org says how to install it.
"""

import argparse
from typing import Any

import yaml
from dask_kubernetes.operator import make_cluster_spec


def manifest(options: argparse.Namespace) -> dict[str, Any]:
    """The DaskCluster.

    Args:
        options: see `parse`.
    """
    worker = ["dask", "worker", "--nthreads", "1", "--memory-limit", "0"]
    amounts = {"cpu": str(options.threads), "memory": options.memory}
    if options.gpu:
        worker += ["--resources", "GPU=1"]
        amounts["nvidia.com/gpu"] = "1"
    spec: dict[str, Any] = make_cluster_spec(
        name=options.name,
        image=options.image,
        n_workers=options.workers,
        worker_command=worker,
        resources={"limits": amounts, "requests": dict(amounts)},
    )
    (scheduler,) = spec["spec"]["scheduler"]["spec"]["containers"]
    # Not `dask-scheduler`, which Dask has no more.
    scheduler["args"] = ["dask", "scheduler", "--host", "0.0.0.0"]
    # Cells wait at the scheduler: one that waits at a worker is blamed if the worker dies.
    scheduler["env"] = [{"name": "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION", "value": "1.0"}]
    # It needs no GPU.
    scheduler["resources"] = {"requests": {"cpu": "1", "memory": "4Gi"}}
    (container,) = spec["spec"]["worker"]["spec"]["containers"]
    # The operator adds to this list, and cannot add to none.
    container["env"] = []
    # Where MLflow's server and the store are, and who may use them.
    container["envFrom"] = [{"secretRef": {"name": f"{options.name}-store"}}]
    return spec


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """What is said on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="debias")
    parser.add_argument("--image", required=True, help="has this project and its `dask` extra")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=4, help="of a worker: benchmark.threads")
    parser.add_argument("--memory", default="8Gi", help="of a worker")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each worker")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    print(yaml.safe_dump(manifest(parse()), sort_keys=False), end="")
