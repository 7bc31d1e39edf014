"""The audit pipeline, in the namespace `audit`."""

from typing import Final

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.pipelines.audit.nodes import plan, reach_verdict, report, train_audit
from debias_pipeline.pipelines.evaluation import FROM_SUSPECTS

AUDIT: Final = "audit"
_OF_RUN = ("params:seed", "params:device", "params:precision")


def create_pipeline() -> Pipeline:
    """Return the pipeline that looks for a shortcut in the data."""
    audit = pipeline(
        [
            described_node(
                plan,
                inputs=[
                    *("images", "manifest", "data_card", "snapshots"),
                    *("params:recipe_of_method", "params:recipe", "params:budget"),
                    *_OF_RUN,
                    *("params:threads", "params:resume"),
                ],
                outputs="plan",
                name="plan",
            ),
            described_node(
                train_audit,
                inputs=[
                    *("images", "manifest", "data_card", "snapshots", "plan"),
                    *_OF_RUN,
                    "params:resume",
                ],
                outputs=[
                    "checkpoint",
                    "sample_weights",
                    "suspects",
                    "held_out_predictions",
                    # The last one, as its snapshots are removed when it is saved.
                    "training_record",
                ],
                name="train",
            ),
            described_node(
                reach_verdict,
                inputs=["held_out_predictions", "suspects", "manifest", "plan"],
                outputs="verdict",
                name="decide",
            ),
            *FROM_SUSPECTS,
            described_node(
                report,
                inputs=[
                    *("verdict", "suspects", "images", "manifest", "data_card", "plan"),
                    *("saliency", "label_estimates"),
                ],
                outputs="report",
                name="report",
            ),
        ]
    )
    own = (
        *("params:recipe", "params:budget", "params:threads", "params:resume"),
        "params:bias_labels",
        *_OF_RUN,
    )
    return pipeline(
        audit,
        namespace=AUDIT,
        inputs={"images", "manifest", "data_card"},
        parameters={
            **{name: name for name in own},
            "params:recipe_of_method": "params:disent.recipe",
        },
        tags=["audit"],
    )
