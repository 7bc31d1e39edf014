"""docs/scale.md shows what its scripts and template really make."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import jinja2
import pytest
import yaml
from kedro.pipeline import Pipeline
from slugify import slugify

from debias_pipeline.grid import Trial, create_pipelines

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "scale.md").read_text(encoding="utf-8")
IMAGE = "registry.example.org/debias-pipeline:1"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scale_{name}", DOCS / "scale" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(language: str) -> str:
    """The page's one block of a language."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(block)


def test_slurm_job_is_the_one_shown() -> None:
    pytest.importorskip("dask_jobqueue", reason="needs: pip install dask-jobqueue")
    slurm = script("slurm")
    with slurm.make_cluster(slurm.parse(["--threads=4", "--memory=8GiB", "--gpu"])) as cluster:
        job = cluster.job_script()
    made = re.sub(r"\S+ (-m \S+) \S+://\S+", r"<python> \1 <scheduler>", job)
    assert made.strip() == shown("bash").strip()


def test_kubernetes_manifest_is_the_one_that_the_script_makes() -> None:
    pytest.importorskip("dask_kubernetes", reason="needs: pip install dask-kubernetes")
    kubernetes = script("kubernetes")
    options = kubernetes.parse(["--image", IMAGE, "--gpu"])
    kept = (DOCS / "scale" / "kubernetes.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(kept) == kubernetes.manifest(options)


def test_kubernetes_manifest_has_what_the_runner_and_the_operator_need() -> None:
    manifest = yaml.safe_load((DOCS / "scale" / "kubernetes.yaml").read_text(encoding="utf-8"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    worker, scheduler = (
        manifest["spec"][part]["spec"]["containers"][0] for part in ("worker", "scheduler")
    )
    assert worker["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert "GPU=1" in worker["args"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert worker["env"] == []
    assert scheduler["args"][:2] == ["dask", "scheduler"]
    assert "limits" not in scheduler["resources"]
    assert {port["containerPort"] for port in scheduler["ports"]} == {8786, 8787}
    service = manifest["spec"]["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == manifest["metadata"]["name"]


@pytest.fixture(scope="module")
def grid() -> Pipeline:
    recipe = {"method": "disent", "steps": 10}
    trials = [
        Trial("cmnist", percent, "disent", (0, 1), "fp32", recipe, None, *[f"cmnist/{percent}"] * 2)
        for percent in ("0.5pct", "1pct")
    ]
    return create_pipelines(trials)["benchmark"]


def dag(grid: Pipeline, group_by: str | None) -> str:
    """What kedro-airflow makes of the template: it adds the filter and the names."""
    environment = jinja2.Environment(
        autoescape=True, lstrip_blocks=True, loader=jinja2.FileSystemLoader(DOCS / "scale")
    )
    environment.filters["slugify"] = slugify
    return environment.get_template("airflow_dag.j2").render(
        dag_name="debias_pipeline",
        package_name="debias_pipeline",
        pipeline_name="benchmark",
        env="paper",
        node_objs=grid.group_nodes_by(group_by=group_by),
        project="/srv/debias-pipeline",
    )


def edges(text: str) -> set[tuple[str, str]]:
    """Which task comes before which."""
    return {
        (ast.literal_eval(each.left.slice), ast.literal_eval(each.right.slice))
        for each in ast.walk(ast.parse(text))
        if isinstance(each, ast.BinOp)
        and isinstance(each.op, ast.RShift)
        and isinstance(each.left, ast.Subscript)
        and isinstance(each.right, ast.Subscript)
    }


def test_airflow_has_a_task_per_trial_after_its_data_and_before_the_leaderboard(
    grid: Pipeline,
) -> None:
    text = dag(grid, None)
    settings = ("cmnist_0_5pct", "cmnist_1pct")
    assert edges(text) == {
        *((f"{setting}.build_data", f"{setting}.disent") for setting in settings),
        *((f"{setting}.disent", "rank") for setting in settings),
        *((f"{setting}.build_data", "rank") for setting in settings),
    }
    assert text.count(">>") == 6
    assert text.count('--namespaces=cmnist_0_5pct.disent"') == 1
    assert text.count('--nodes=cmnist_0_5pct.build_data"') == 1
    for line in shown("python").splitlines():
        assert line == "        …" or line in text.splitlines(), line


def test_airflow_can_have_a_task_per_setting(grid: Pipeline) -> None:
    text = dag(grid, "namespace")
    assert edges(text) == {("cmnist_0_5pct", "rank"), ("cmnist_1pct", "rank")}
    assert "--namespaces=cmnist_0_5pct" in text
    assert "--nodes=rank" in text
