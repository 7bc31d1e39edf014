"""Wiring of evaluation: one modular pipeline, instantiated once per method."""

from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.pipelines.evaluation.nodes import judge, predict_test

RUN_PARAMETERS = ("params:device", "params:precision")


def create_pipeline(method: str) -> Pipeline:
    """Checkpoint → predictions → metrics and group accuracy of a method.

    Args:
        method: the namespace.
    """
    evaluation = pipeline(
        [
            node(
                predict_test,
                inputs=["images", "manifest", "checkpoint", *RUN_PARAMETERS],
                outputs="predictions",
                name="predict",
            ),
            node(
                judge,
                inputs=[
                    "predictions",
                    "manifest",
                    "sample_weights",
                    "data_card",
                    "training_record",
                ],
                outputs=["metrics", "group_accuracy", "final_metrics"],
                name="judge",
            ),
        ]
    )
    return pipeline(
        evaluation,
        namespace=method,
        inputs={"images", "manifest", "data_card"},
        parameters=set(RUN_PARAMETERS),
        tags=["evaluation"],
    )
