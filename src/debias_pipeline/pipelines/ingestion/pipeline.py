"""The ingestion pipeline: one node that builds the data set."""

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.pipelines.ingestion.nodes import build_data


def create_pipeline() -> Pipeline:
    """Return the pipeline that builds images, manifest, data card and figures from raw data."""
    return pipeline(
        [
            described_node(
                build_data,
                inputs=[
                    "params:dataset",
                    "params:percent",
                    "params:raw_dir",
                    "params:data_seed",
                    "params:data_options",
                    "bad_files",
                ],
                outputs=["images", "manifest", "data_card", "data_figures"],
                name="build_data",
            )
        ]
    )
