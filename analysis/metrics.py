"""The words of each metric. Every score is in percent and more is better, so that words are all that differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Metric:
    """How to speak of a score: `name` in full, `plain` within a sentence, `short` in a heading, `unit` after a number,
    `points` for differences.

    `per_image`: the score is a mean over images, so that one more correct image adds 100 / images to it. `published`:
    how the names of the same metric in `published.csv` begin; `details`: what else a test may give, in percent.
    """

    name: str
    plain: str
    short: str
    unit: str
    points: str
    published: str
    per_image: bool = False
    details: Mapping[str, str] = field(default_factory=dict)

    def say(self, text: str) -> str:
        """`text` with {name}, {plain}, {Plain} (at the beginning of a sentence), {short} and {points} filled in, and
        in {images} what is offered for other test images."""
        return text.format(
            name=self.name,
            plain=self.plain,
            Plain=self.plain[0].upper() + self.plain[1:],
            short=self.short,
            points=self.points,
            images=self.no_images or "images_low and images_high: other seeds and other test images.",
        )

    def axis(self, text: str) -> str:
        """The same along an axis of a figure, with the unit behind it where that is a sign."""
        return self.say(text) + (f" ({self.unit})" if self.unit == "%" else "")

    def number(self, value: float) -> str:
        """A score as text."""
        return f"{value:.2f} {self.unit}"

    def told(self, value: float) -> str:
        """The same within a line of text, where no heading says what is measured."""
        return f"{self.plain} {value:.2f}" + (f" {self.unit}" if self.unit == "%" else "")

    @property
    def no_images(self) -> str:
        """Why there is no interval over seeds and images; empty where there may be one."""
        if self.per_image:
            return ""
        return (
            f"No interval answers for other seeds and other test images: {self.plain} is not a mean over images, so "
            "that what a single image adds to it is not defined."
        )


METRICS = {
    "top1": Metric(
        name="top-1 accuracy",
        plain="accuracy",
        short="top-1",
        unit="%",
        points="percentage points",
        published="top1",
        per_image=True,
    ),
    "map": Metric(
        name="box AP",
        plain="box AP",
        short="AP",
        unit="AP",
        points="AP points",
        published="bbox_map",
        details={
            "ap50": "AP at IoU 0.50",
            "ap75": "AP at IoU 0.75",
            "aps": "AP of small objects",
            "apm": "AP of medium objects",
            "apl": "AP of large objects",
        },
    ),
    "miou": Metric(
        name="mean IoU",
        plain="mean IoU",
        short="mIoU",
        unit="%",
        points="mIoU points",
        published="miou",
        details={"pixel_accuracy": "pixel accuracy"},
    ),
    "explained": Metric(
        name="explained share of the target",
        plain="explained share",
        short="explained",
        unit="%",
        points="percentage points",
        published="explained",
    ),
}
"""By the name that the ledger's column `metric` has."""
