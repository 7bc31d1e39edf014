"""The evaluation pipeline, created once per method in the method's namespace."""

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.evaluation import images_to_label
from debias_pipeline.methods import get_method, method_names
from debias_pipeline.pipelines.evaluation.nodes import (
    estimate_from_labels,
    evaluate,
    explain_suspects,
    import_published,
    list_suspects,
    map_both_branches,
    predict_test,
)

RUN_PARAMETERS = ("params:device", "params:precision")
PRETRAINED = "pretrained"

EVALUATION = [
    described_node(
        predict_test,
        inputs=["images", "manifest", "checkpoint", "data_card", *RUN_PARAMETERS],
        outputs="predictions",
        name="predict",
    ),
    described_node(
        evaluate,
        inputs=["predictions", "manifest", "sample_weights", "data_card", "training_record"],
        outputs=["metrics", "group_accuracy", "final_metrics"],
        name="evaluate",
    ),
]

# What is made from the list of suspicious images; the audit makes it, too.
FROM_SUSPECTS = [
    described_node(
        explain_suspects,
        inputs=["images", "manifest", "suspects", "checkpoint", "params:device"],
        outputs="saliency",
        name="explain",
    ),
    described_node(images_to_label, inputs="suspects", outputs="to_label", name="draw_to_label"),
    described_node(
        estimate_from_labels,
        inputs=["suspects", "to_label", "manifest", "data_card", "params:bias_labels"],
        outputs="label_estimates",
        name="estimate_from_labels",
    ),
]

# Not part of EVALUATION, as trials of a grid do not list suspicious images. Only for methods that
# have a bias branch.
SUSPECTS = [
    described_node(
        list_suspects,
        inputs=[
            "images",
            "manifest",
            "sample_weights",
            "checkpoint",
            "data_card",
            *RUN_PARAMETERS,
        ],
        outputs="suspects",
        name="list_suspects",
    ),
    described_node(
        map_both_branches,
        inputs=["images", "manifest", "checkpoint", "params:device"],
        outputs="feature_map",
        name="map_features",
    ),
    *FROM_SUSPECTS,
]


def lists_suspects(namespace: str) -> bool:
    """Return whether a namespace is that of a method that ranks images."""
    return namespace in method_names() and get_method(namespace).ranks_images()


def create_pretrained_pipeline(method: str) -> Pipeline:
    """Return the pipeline that imports and evaluates published networks of a method.

    Its namespace is `pretrained`.
    """
    importing = pipeline(
        [
            described_node(
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
    """Return the pipeline that predicts the test split with a method and computes metrics.

    Methods that rank images also list the suspicious images of all splits.
    """
    with_suspects = lists_suspects(method)
    return pipeline(
        [*EVALUATION, *(SUSPECTS if with_suspects else [])],
        namespace=method,
        inputs={"images", "manifest", "data_card"},
        parameters={*RUN_PARAMETERS, *(["params:bias_labels"] if with_suspects else [])},
        tags=["evaluation"],
    )
