"""What a run learns, and by which metric it is scored."""

TASK, METRIC = "classification", "top1"
