"""What each metric says, in a sentence for who reads a report."""

from collections.abc import Mapping

MEANINGS: Mapping[str, str] = {
    "roc_auc": "chance that a row of the class scores above one that is not; 0.5 is guessing",
    "pr_auc": "average precision over all recalls; guessing gives the share of the class",
    "log_loss": "how surprising the truth was, in nats a row; 0 is perfect",
    "brier": "mean squared error of the probabilities; 0 is perfect",
    "calibration_error": "mean distance between a probability and how often it came true",
    "accuracy": "share of rows whose answer was right",
    "precision": "share of the positive answers that were right",
    "recall": "share of the positive rows that were answered so",
    "f1": "harmonic mean of precision and recall",
    "precision_macro": "precision, every class counting the same",
    "recall_macro": "recall, every class counting the same",
    "f1_macro": "F1, every class counting the same",
    "precision_weighted": "precision, classes counting by their rows",
    "recall_weighted": "recall, classes counting by their rows",
    "f1_weighted": "F1, classes counting by their rows",
    "mae": "mean size of the error, in the label's unit",
    "rmse": "root of the mean squared error, in the label's unit; large errors count more",
    "r2": "share of the label's variance that is explained; 0 is the mean as the answer",
    "mape": "mean size of the error as a share of the true value; rows whose value is 0 left out",
}
