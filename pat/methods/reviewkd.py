"""Knowledge review (ReviewKD, Chen, Liu, Zhao & Jia 2021, arXiv 2104.09044), between any two families."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pat.clock import WarmUp
from pat.fusion import Fusion
from pat.losses import hcl_loss
from pat.methods.base import Parts, register_method
from pat.methods.fitnet import FitNet
from pat.tasks import Seen, Task


@register_method
class ReviewKD(FitNet):
    """L = L_CE + weight * sum over stages of L_HCL(fused map of the student, map of the teacher), section 3.

    Every map of the student is fused with all deeper ones (`pat.fusion`) and compared with the teacher's by the
    hierarchical context loss. The defaults are those of the public code: weight 1 (0.6 to 8 for single pairs), let in
    over the first `warmup_epochs` (1 on ImageNet; 0: at once), where the training loop tells the epoch; no KD.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, task: Task, *, weight: float = 1.0, warmup_epochs: int = 20
    ) -> None:
        super().__init__(student, teacher, task, Fusion, hcl_loss, weight=weight)
        self.warmup = WarmUp(warmup_epochs)

    def begin_epoch(self, epoch: int) -> None:
        self.warmup.begin(epoch)

    def compared(self, aligned: Sequence[Tensor], told: Seen, indices: Tensor | None) -> Parts:
        weight, hint = super().compared(aligned, told, indices)["hint"]
        return {"hint": (weight * self.warmup.factor, hint)}
