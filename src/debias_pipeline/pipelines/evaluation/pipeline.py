"""The evaluation pipeline, created once per method in the method's namespace."""

from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.pipelines.evaluation.nodes import evaluate, import_published, predict_test

RUN_PARAMETERS = ("params:device", "params:precision")
PRETRAINED = "pretrained"

EVALUATION = [
    node(
        predict_test,
        inputs=["images", "manifest", "checkpoint", "data_card", *RUN_PARAMETERS],
        outputs="predictions",
        name="predict",
    ),
    node(
        evaluate,
        inputs=["predictions", "manifest", "sample_weights", "data_card", "training_record"],
        outputs=["metrics", "group_accuracy", "final_metrics"],
        name="evaluate",
    ),
]


def create_pretrained_pipeline(method: str) -> Pipeline:
    """Return the pipeline that imports and evaluates published networks of a method.

    Its namespace is `pretrained`.
    """
    importing = pipeline(
        [
            node(
                import_published,
                inputs=["params:pretrained", "params:recipe", "data_card", "params:precision"],
                outputs=["checkpoint", "history", "sample_weights", "training_record"],
                name="import_published",
            )
        ]
    )
    return create_pipeline(PRETRAINED) + pipeline(
        importing,
        namespace=PRETRAINED,
        inputs={"data_card"},
        parameters={
            "params:pretrained": "params:pretrained",
            "params:precision": "params:precision",
            "params:recipe": f"params:{method}.recipe",
        },
        tags=["evaluation"],
    )


def create_pipeline(method: str) -> Pipeline:
    """Return the pipeline that predicts the test split with a method and computes metrics."""
    return pipeline(
        EVALUATION,
        namespace=method,
        inputs={"images", "manifest", "data_card"},
        parameters=set(RUN_PARAMETERS),
        tags=["evaluation"],
    )
