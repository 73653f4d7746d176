"""Generative distillation from a transformer to a CNN over masked images, H-GKD-style (arXiv 2309.09571).

The paper's loss, ratio and schedule are not public: what its abstract says - a UNet-style student with sparse
convolution mimics what a transformer makes of the image, over masked modelling - is built of SparK's student and the
loss of G2SD (Huang et al. 2023, arXiv 2306.12241).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pat.errors import ConfigError
from pat.losses import normalised_tokens
from pat.methods.base import register_method
from pat.methods.spark import SparK


@register_method
class HGKD(SparK):
    """As `spark`, but the target is what the teacher makes of the whole image.

    It is the map of the teacher's last stage that has a position for each `task.stride` pixels of the student's - for a
    ViT its last block's tokens - normalised at each position, without weights. Defaults: smooth L1 with beta 2 at all
    positions, as in G2SD.
    """

    teacherless = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Any,
        *,
        ratio: float = 0.6,
        loss: str = "smooth_l1",
        positions: str = "all",
        width: int = 256,
    ) -> None:
        taps = task.for_teacher.taps(teacher)
        sizes, needed = [stage.size for stage in taps.stages], tuple(side // task.stride for side in task.canvas)
        if needed not in sizes:
            of = ", ".join(f"{height} x {width}" for height, width in dict.fromkeys(sizes))
            raise ConfigError(
                f"task.stride = {task.stride}: {needed[0]} x {needed[1]} positions, and the teacher's maps have {of}; "
                "it must be one of them"
            )
        self._place = len(sizes) - 1 - sizes[::-1].index(needed)
        self._channels = taps.stages[self._place].channels
        super().__init__(student, teacher, task, ratio=ratio, loss=loss, positions=positions, width=width)
        self.teacher_taps = taps

    def channels(self, task: Any) -> int:
        return self._channels

    def target(self, images: Tensor) -> Tensor:
        (tapped,) = self.ask(self.for_teacher(images), self.teacher_taps)
        return normalised_tokens(tapped.maps[self._place])
