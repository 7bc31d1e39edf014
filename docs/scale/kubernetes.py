"""Write the manifest of a Dask cluster on Kubernetes, which `DaskRunner` can use.

    pip install dask-kubernetes
    python docs/scale/kubernetes.py --image IMAGE --workers 20 --gpu > cluster.yaml
    kubectl apply --filename cluster.yaml

Dask's operator must be installed first: see https://kubernetes.dask.org.
"""

import argparse
from typing import Any

import yaml
from dask_kubernetes.operator import make_cluster_spec


def manifest(options: argparse.Namespace) -> dict[str, Any]:
    """Return the manifest of the `DaskCluster`.

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
    # The default, `dask-scheduler`, no longer exists in Dask.
    scheduler["args"] = ["dask", "scheduler", "--host", "0.0.0.0"]
    # Trials wait at the scheduler, as Dask counts a dead worker against all its trials.
    scheduler["env"] = [{"name": "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION", "value": "1.0"}]
    # The scheduler needs no GPU.
    scheduler["resources"] = {"requests": {"cpu": "1", "memory": "4Gi"}}
    (container,) = spec["spec"]["worker"]["spec"]["containers"]
    # The operator appends to this list; it fails if there is none.
    container["env"] = []
    # Addresses and credentials of the MLflow server and the store.
    container["envFrom"] = [{"secretRef": {"name": f"{options.name}-store"}}]
    return spec


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="debias")
    parser.add_argument("--image", required=True, help="with this project and its `dask` extra")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=4, help="benchmark.threads")
    parser.add_argument("--memory", default="8Gi", help="memory per worker")
    parser.add_argument("--gpu", action="store_true", help="one GPU per worker")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    print(yaml.safe_dump(manifest(parse()), sort_keys=False), end="")
