"""The predict pipeline: one node that predicts new images."""

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.pipelines.predict.nodes import predict_images


def create_pipeline() -> Pipeline:
    """Return the pipeline that predicts new images with a trained model."""
    return pipeline(
        [
            described_node(
                predict_images,
                inputs=[
                    "params:model",
                    "params:images",
                    "params:rule",
                    "params:model_seed",
                    "params:device",
                ],
                outputs="image_predictions",
                name="predict_images",
                tags=["predict"],
            )
        ]
    )
