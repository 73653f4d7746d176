"""Contrastive representation distillation (CRD, Tian, Krishnan & Isola 2020, arXiv 1910.10699)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.config import ConfigError
from pat.counter import hash64
from pat.embedding import Embedding
from pat.gather import gather_batch, global_mean
from pat.losses import full_precision, nce_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Seen, Task


@register_method
class CRD(Method):
    """L = L_CE + weight * (L_NCE of the student against the teacher's memory + the other way round), equation 18.

    Pooled features are embedded in `dim` dimensions; each side has a memory of one embedding for every training image,
    updated with `momentum`. `negatives` images of other classes are drawn anew for each image of each step, with
    replacement. The defaults are those of the OFA and PAT tables (the paper weighs the loss with 0.8).

    Memory and step count are buffers; the draws are functions of (seed, step, image), so several workers compute what
    one does. Its forward needs the indices of the images, and `Task.labels`.
    """

    memory_student: Tensor
    memory_teacher: Tensor
    step: Tensor
    key: Tensor
    scale: Tensor

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 1.0,
        dim: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__(student, teacher, task)
        if len(task.labels.unique()) < 2:
            raise ConfigError("method 'crd': needs the labels of the training images, of two classes at least")
        self.weight, self.negatives, self.temperature, self.momentum = weight, negatives, temperature, momentum
        self.student_embedding = Embedding(student, task.canvas)
        self.teacher_embedding = Embedding(teacher, task.for_teacher.canvas)
        self.embed_student = nn.Linear(self.student_embedding.dim, dim)
        self.embed_teacher = nn.Linear(self.teacher_embedding.dim, dim)
        images, reach = len(task.labels), math.sqrt(3 / dim)
        self.register_buffer("memory_student", torch.empty(images, dim).uniform_(-reach, reach))
        self.register_buffer("memory_teacher", torch.empty(images, dim).uniform_(-reach, reach))
        self.register_buffer("key", torch.randint(1 << 62, ()))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.zeros(2))
        self.others = _Others(task.labels)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        if indices is None:
            raise ConfigError("method 'crd': its forward needs the indices of the training images")
        logits, features = self.student_embedding(images)
        ((_, teacher),) = self.ask(self.for_teacher(images), self.teacher_embedding)
        seen = F.normalize(self.embed_student(features).float(), dim=1)
        given = F.normalize(self.embed_teacher(teacher).float(), dim=1)
        random = hash64(self.key, self.step, indices[:, None], torch.arange(self.negatives, device=indices.device))
        compared = torch.cat([indices[:, None], self.others(indices, random)], dim=1)  # [B, 1 + K]
        crd = self._contrast(seen, self.memory_teacher, compared, 0) + self._contrast(
            given, self.memory_student, compared, 1
        )
        if self.training:
            self._remember(seen, given, indices)
        return self.result(Seen(logits), targets, crd=(self.weight, crd))

    def _contrast(self, anchors: Tensor, memory: Tensor, compared: Tensor, side: int) -> Tensor:
        """The loss of normalised `anchors` [B, D] against the rows `compared` [B, 1 + K] of the other side's memory.

        All products with the memory are cheaper than K of its rows for each anchor. The normaliser is that of the
        first batch, as in the paper's code.
        """
        with full_precision(anchors):
            products = (anchors @ memory.T).gather(1, compared)
        scores = (products / self.temperature).exp()
        first = global_mean(scores.mean()) * len(memory)
        scale = torch.where(self.step == 0, first, self.scale[side])
        if self.training:
            self.scale = torch.stack([scale, self.scale[1]] if side == 0 else [self.scale[0], scale])
        return nce_loss(scores / scale, len(memory))

    @torch.no_grad()
    def _remember(self, seen: Tensor, given: Tensor, indices: Tensor) -> None:
        """Every worker takes note of the whole global batch, in new tensors: the gradients still need the old ones."""
        everywhere = gather_batch(indices)
        for name, fresh in (("memory_student", seen), ("memory_teacher", given)):
            memory = getattr(self, name)
            mixed = self.momentum * memory[everywhere] + (1 - self.momentum) * gather_batch(fresh.detach())
            setattr(self, name, memory.index_copy(0, everywhere, F.normalize(mixed, dim=1)))
        self.step += 1


class _Others(nn.Module):
    """Turns random bits into images of another class, each as likely as any."""

    order: Tensor
    first: Tensor
    size: Tensor
    labels: Tensor

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        size = torch.bincount(labels)
        tensors = {
            "order": torch.argsort(labels, stable=True),
            "first": size.cumsum(0) - size,
            "size": size,
            "labels": labels.clone(),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, indices: Tensor, random: Tensor) -> Tensor:
        """`random` int64 [B, K] -> indices [B, K] of images whose class is not that of `indices` [B]."""
        own = self.labels[indices]
        first, size = self.first[own][:, None], self.size[own][:, None]
        place = random.remainder(len(self.labels) - size)
        return self.order[torch.where(place < first, place, place + size)]
