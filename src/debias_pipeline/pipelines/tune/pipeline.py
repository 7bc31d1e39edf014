"""The pipeline `tune`: one node, in the namespace `tune`."""

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.pipelines.tune.nodes import search_recipes
from debias_pipeline.tuning import TUNE

_OF_RUN = (
    *("params:tune", "params:typed", "params:seed", "params:seeds", "params:device"),
    *("params:precision", "params:threads", "params:resume"),
)


def create_pipeline() -> Pipeline:
    """Return the pipeline that searches for hyper-parameters."""
    search = described_node(
        search_recipes,
        inputs=["images", "manifest", "data_card", "snapshots", "study", *_OF_RUN],
        outputs="tuning",
        name="search",
    )
    return pipeline(
        [search],
        namespace=TUNE,
        inputs={"images", "manifest", "data_card"},
        parameters={name: name for name in _OF_RUN},
        tags=[TUNE],
    )
