"""A method of one's own: KD on the classes that the teacher holds likely, in a plain training loop and in a study.

python examples/own_method.py [EPOCHS]                                            the loop below
cd examples && pat-sweep --preset digits --import own_method --methods kd,own_method    a study
"""

import sys
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, TensorDataset

from pat import Data, create_task
from pat import Task as TaskName
from pat.data import load
from pat.losses import kd_loss
from pat.methods import Losses, Method, register_method
from pat.tasks import Task


@register_method
class Likely(Method):
    """KD over the `kept` classes that are likeliest for the teacher, image by image. Its name is that of its file."""

    couples_samples = False

    def __init__(self, student: nn.Module, teacher: nn.Module, task: Task, *, kept: int = 5, weight: float = 1.0):
        super().__init__(student, teacher, task)
        self.kept, self.weight = kept, weight

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        likely = told.logits.topk(min(self.kept, told.logits.shape[1]), dim=1).indices
        kd = kd_loss(seen.logits.gather(1, likely), told.logits.gather(1, likely), 1.0)
        return self.result(seen, targets, kd=(self.weight, kd))


def main(epochs: int = 5) -> None:
    data = Data("digits", image_size=32)
    digits = load(data, Path("data"))
    train, test, classes = digits.train, digits.test, digits.num_classes
    student = timm.create_model("vit_nano_patch8_32", num_classes=classes)
    teacher = timm.create_model("convnext_micro_32", num_classes=classes)  # here untrained; load yours into it
    method = Likely(student, teacher, create_task(TaskName(), data, classes), kept=3)
    optimizer = torch.optim.AdamW((weight for weight in method.parameters() if weight.requires_grad), lr=1e-3)
    shown, unseen = (interpolate(part.images.float() / 255, (32, 32)) for part in (train, test))
    loader = DataLoader(TensorDataset(shown, train.labels), batch_size=32, shuffle=True)
    for epoch in range(epochs):
        for images, labels in loader:
            losses = method.train()(images, labels)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
        with torch.no_grad():
            right = student.eval()(unseen).argmax(dim=1) == test.labels
        print(f"epoch {epoch + 1}: loss {losses['loss'].item():.3f}, {100 * right.float().mean().item():.1f} % on test")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
