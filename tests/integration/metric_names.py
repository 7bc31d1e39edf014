"""What `metrics` promises of every checkpoint."""

ACCURACIES = (
    "accuracy",
    "group_balanced_accuracy",
    "adjusted_average_accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
)
