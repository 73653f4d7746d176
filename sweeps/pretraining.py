"""What precedes the own training of some cells: a run that generates what is hidden of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pat.config import ConfigError, Data, Part, Recipe, Task
from pat.methods import list_methods
from pat.tasks import create_task, task_class

GENERATION, LONGER = "generation", "longer"


@dataclass(frozen=True)
class Pretraining(Part):
    """The pre-training of each cell whose method is one of `task`: by the student of the cell under its teacher, with
    seed 0, once for the default setting and once for each that is searched. The runs of a setting, its search's and
    those of all seeds, then begin with what its pre-training has exported, and train as scratch does.

    Cells of the method `longer` are the control: scratch, for `longer` times the epochs of the student's recipe. That
    is to be the device-hours of pre-training and training over those of the training alone (`--plan` has both).

    `data`, `task` and `recipe` are its own; its method's options stand in `Study.options`. Whatever another study under
    the same storage has pre-trained alike is taken over.
    """

    label = "pretraining"
    data: Data
    recipe: Recipe
    task: Task = field(default_factory=lambda: Task(GENERATION))
    longer: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not task_class(self.task.name).own_methods:
            raise ConfigError(f"pretraining.task {self.task.name!r}: {GENERATION} is needed")
        if self.longer <= 1:
            raise ConfigError(f"pretraining.longer = {self.longer}: more than 1, of the epochs of scratch")

    @property
    def methods(self) -> list[str]:
        """The methods of pre-training."""
        return list_methods(self.task.name)

    def has(self, method: str) -> bool:
        """Whether a method is one of them."""
        return method in self.methods

    def check(self, students: Mapping[str, str]) -> None:
        """Raises ConfigError for a recipe or a student that does not suit it; `students`: name -> initial weights."""
        task = create_task(self.task, self.data, num_classes=1)
        for name, initial in students.items():
            task.check(name, self.recipe, initial)
