"""Is there a shortcut in a data set, and which images show it?"""

from debias_pipeline.audit.cross_fitting import held_out_folds, predict_all
from debias_pipeline.audit.planning import (
    AuditPlan,
    interrupted_audit,
    parse_budget,
    plan_audit,
)
from debias_pipeline.audit.verdict import Verdict, decide

__all__ = [
    "AuditPlan",
    "Verdict",
    "decide",
    "held_out_folds",
    "interrupted_audit",
    "parse_budget",
    "plan_audit",
    "predict_all",
]
