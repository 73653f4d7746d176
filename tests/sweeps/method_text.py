"""The text of a file with a method of one's own: KD's loss, weighed."""

METHOD = """
from pat.losses import kd_loss
from pat.methods import Method, register_method

@register_method
class Mine(Method):
    couples_samples = False

    def __init__(self, student, teacher, task, *, weight: float = 1.0):
        super().__init__(student, teacher, task)
        self.weight = weight

    def forward(self, images, targets, indices=None):
        seen = self.see(images, targets)
        told = self.told(images, seen)
        return self.result(seen, targets, mine=(self.weight, kd_loss(seen.logits, told.logits, 2.0)))
"""
