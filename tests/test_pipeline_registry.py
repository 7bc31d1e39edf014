"""Which pipelines are created: those that a run asked for, otherwise all."""

from collections.abc import Iterator

import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.cli.registry import list_registered_pipelines
from kedro.framework.project import configure_project, pipelines

from debias_pipeline.methods import method_names
from debias_pipeline.pipeline_registry import register_pipelines

OTHERS = {
    *("__default__", "audit", "ingestion", "training", "evaluation", "reporting"),
    *("benchmark", "leaderboard", "predict", "tune"),
}


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    configure_project("debias_pipeline")
    yield
    pipelines.set_requested(None)


@pytest.mark.parametrize(
    ("requested", "created"),
    [
        (["__default__"], {"__default__"}),
        (["lff"], {"lff"}),
        (["ingestion", "training", "reporting"], {"ingestion", "training", "reporting"}),
        (["benchmark"], {"benchmark"}),
        (["lff", "no such pipeline"], {"lff"}),
        (["no such pipeline"], set()),
    ],
)
def test_a_run_creates_only_the_pipelines_that_it_asked_for(
    requested: list[str], created: set[str]
) -> None:
    pipelines.set_requested(requested)
    assert set(register_pipelines()) == created


def test_other_commands_see_all_pipelines() -> None:
    result = CliRunner().invoke(list_registered_pipelines)
    assert {*yaml.safe_load(result.stdout)} == {*OTHERS, *method_names()}


def test_a_pipeline_of_a_method_is_a_part_of_the_default_one() -> None:
    every = register_pipelines()
    assert set(every["disent"].nodes) < set(every["__default__"].nodes)
    assert set(every["training"].nodes) < set(every["__default__"].nodes)
    assert not every["benchmark"].nodes
