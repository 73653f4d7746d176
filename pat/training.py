"""Everything a run holds in memory: modules, optimiser, schedule, EMA; built from a configuration, saved, restored."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import timm.layers
import timm.optim
import timm.scheduler
import torch
import torch.distributed as dist
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pat.compiled import compile_steps
from pat.config import ConfigError, RunConfig
from pat.data import Dataset
from pat.data.files import drafted
from pat.groups import own_optimizers, parameter_groups
from pat.io import IO
from pat.memory import NO_MEASURES, Measures
from pat.methods import Method, create_method
from pat.models import has_batchnorm
from pat.plain import Teachers
from pat.starting import checked_sha256
from pat.tasks import Score, Task, task_on
from pat.unused import has_unused

State = dict[str, Any]


class Training:
    """The modules of one run on one worker's device. `epoch` counts finished epochs, `history` has a row for each;
    `losses` are those of the steps of an epoch that is not finished, `seconds` is what that took up to a checkpoint.

    `initial_sha256` is that of the file of weights it starts from, empty where there is none.
    """

    def __init__(
        self,
        config: RunConfig,
        io: IO,
        dataset: Dataset,
        teacher_file: Path | None,
        teacher_sha256: str | None,
        measures: Measures = NO_MEASURES,
        initial_file: Path | None = None,
        initial_sha256: str | None = None,
        teachers: Teachers | None = None,
        captured: bool = False,
    ) -> None:
        recipe, method = config.recipe, config.method
        if io.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(io.device)
        self.teachers = teachers or Teachers(shared=False)
        self.initial_sha256 = checked_sha256(initial_file, initial_sha256)
        self.task = task_on(config.task, config.data, dataset, config.teacher.image_size if config.teacher else 0)
        self.task.check(config.student, recipe, config.initial)
        drafted(dataset.train, recipe.draft)
        student = self.task.student(config.student, config.seed, config.initial, initial_file)
        shared = io.world_size > 1 and io.device.type == "cuda"
        if shared:  # before the method looks at the model: it listens to modules that this replaces
            student = synchronised(student)
        check_workers(config, io, len(dataset.train), student)
        if measures.checkpointing:  # before the method looks at the model: some then call other modules of it
            student.set_grad_checkpointing(True)  # type: ignore[operator]
        teacher, self.teacher_sha256 = None, ""
        if config.teacher is not None:
            own = self.task.for_teacher
            teacher, self.teacher_sha256 = self.teachers.once(
                (config.teacher, config.task, teacher_file, teacher_sha256),
                lambda: load_teacher(config, own, teacher_file, teacher_sha256),
            )
        built = create_method(method.name, student, teacher, self.task, config.seed, **method.options)
        if teacher is not None and not recipe.compiled:
            built.passes = self.teachers.passes(teacher, recipe.precision)
        if shared:
            share_batchnorm(built)
        self.method = built.to(io.device).to(memory_format=torch.channels_last)  # measured faster on CPU and GPU
        self.student: nn.Module = self.method.student
        if recipe.compiled:
            compile_steps(self.method)
        self.measures = measures
        self.trainable = [p for p in self.method.parameters() if p.requires_grad]
        self.steps_per_epoch = len(dataset.train) // recipe.batch_size
        self.optimizer = _optimizer(config, self.method)
        learning = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        self.clipped = [p for p in self.trainable if id(p) in learning]
        self.own_optimizers = own_optimizers(self.method, self.method.groups(), self.steps_per_epoch)
        self.schedule = _schedule(config, self.optimizer, self.steps_per_epoch)
        self.ema = (
            ModelEmaV3(self.student, recipe.ema_decay, use_warmup=recipe.ema_warmup) if recipe.ema_decay else None
        )
        self.step_module: nn.Module = self.method
        if io.world_size > 1:
            unused = self.method.unused_parameters or has_unused(self.task, config.student)
            self.step_module = DistributedDataParallel(
                self.method, broadcast_buffers=False, find_unused_parameters=unused
            )
        self.io, self.epoch, self.captured = io, 0, captured
        self.history: list[dict[str, Any]] = []
        self.best_bits: dict[str, Tensor] = {}
        self.best_details: dict[str, dict[str, float]] = {}
        self.last_losses: list[float] = []
        self.losses: list[dict[str, Tensor]] = []
        self.seconds = 0.0

    @property
    def exported(self) -> str:
        """Which weights are the run's product: the EMA where the recipe keeps one."""
        return "ema" if self.ema else "raw"

    def unsynchronised(self) -> AbstractContextManager[None]:
        """Gradients stay with their worker for the time of the block."""
        module = self.step_module
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    def product(self) -> State:
        """The weights that the run exports."""
        return self.task.product(self.ema.module if self.ema else self.student)

    def keep(self, rule: str, test: Score) -> None:
        """What a chosen epoch's score on the test images was made of."""
        if test.correct is not None:
            self.best_bits[rule] = test.correct
        if test.details:
            self.best_details[rule] = dict(test.details)

    def state(self, config: RunConfig) -> State:
        """All that a continuation needs, on this worker. Random numbers are functions of (seed, step): no state."""
        method = {k: v for k, v in self.method.state_dict().items() if not k.startswith("teacher.")}
        for name in self.method.per_sample:
            method[name] = gather_rows(method[name], self.io.world_size)
        return {
            "config": config.to_json(),
            "teacher_sha256": self.teacher_sha256,
            "epoch": self.epoch,
            "step": len(self.losses),
            "losses": stacked(self.losses, self.io.world_size),
            "seconds": self.seconds,
            "history": self.history,
            "best_bits": self.best_bits,
            "best_details": self.best_details,
            "last_losses": self.last_losses,
            "method": method,
            "optimizer": self.optimizer.state_dict(),
            "own_optimizers": [own.optimizer.state_dict() for own in self.own_optimizers],
            "ema": self.ema.module.state_dict() if self.ema else None,
        }

    def restore(self, state: State, config: RunConfig) -> None:
        """Continues from `state`. Raises ConfigError for a checkpoint of another run, model or teacher."""
        if state.get("config") != config.to_json():
            raise ConfigError(f"checkpoint belongs to another run, not to {config.run_id} ({config.student})")
        if state["teacher_sha256"] != self.teacher_sha256:
            raise ConfigError(
                f"run {config.run_id} began with a teacher of SHA-256 {state['teacher_sha256']}, "
                f"the one given now has {self.teacher_sha256}"
            )
        method = dict(state["method"])
        for name in self.method.per_sample:
            rows = len(method[name]) // self.io.world_size
            method[name] = method[name][self.io.rank * rows : (self.io.rank + 1) * rows]
        missing, foreign = self.method.load_state_dict(method, strict=False)
        if foreign or any(not key.startswith("teacher.") for key in missing):
            raise ConfigError(f"checkpoint of run {config.run_id} does not fit its models: {(foreign or missing)[0]}")
        self.optimizer.load_state_dict(state["optimizer"])
        for own, kept in zip(self.own_optimizers, state["own_optimizers"], strict=True):
            own.optimizer.load_state_dict(kept)
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        self.epoch, self.history = state["epoch"], _renamed(state["history"])
        steps, losses = state.get("step", 0), state.get("losses", {})  # older checkpoints were made between epochs
        losses = {name: values.to(self.io.device) for name, values in losses.items()}
        self.losses = [{name: values[step] for name, values in losses.items()} for step in range(steps)]
        self.seconds = state.get("seconds", 0.0)
        self.best_bits, self.last_losses = state["best_bits"], state["last_losses"]
        self.best_details = state.get("best_details", {})  # checkpoints of ledger version 3 have none

    def share_statistics(self) -> None:
        """Gives every worker rank 0's running statistics (those of BatchNorm without synchronisation differ)."""
        if self.io.world_size > 1:
            for module in (self.method, *([self.ema.module] if self.ema else [])):
                for name, buffer in module.named_buffers():
                    if not name.startswith("teacher") and name not in self.method.per_sample:
                        dist.broadcast(buffer, src=0)


def _renamed(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a checkpoint by today's names: until version 4 of the ledger a score was called top1."""
    return [{name.replace("_top1_", "_score_"): value for name, value in row.items()} for row in history]


def synchronised(module: nn.Module) -> Any:
    """With BatchNorm whose statistics are those of all workers; timm's kind keeps the activation that it has in it."""
    return timm.layers.convert_sync_batchnorm(module)


def share_batchnorm(method: Method) -> None:
    """The same for the modules that the method itself has, beside its models."""
    for name, module in list(method.named_children()):
        if module is not method.student and module is not method.teacher:
            method.add_module(name, synchronised(module))


def check_workers(config: RunConfig, io: IO, train_images: int, student: nn.Module) -> None:
    """Raises ConfigError for a batch that cannot be cut or shared, or a precision that the device lacks."""
    batch, world = config.recipe.batch_size, io.world_size
    if batch % world:
        raise ConfigError(f"recipe.batch_size = {batch}: must be divisible by the {world} workers of a run")
    if batch > train_images:
        raise ConfigError(f"recipe.batch_size = {batch}: train has only {train_images} images")
    if config.recipe.precision == "bf16" and io.device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError(f"recipe.precision = 'bf16': {torch.cuda.get_device_name(io.device)} has no bf16; use fp32")
    shared = world == 1 or io.device.type == "cuda" or not has_batchnorm(student)
    needed = 1 if shared else world
    if config.unsynced_workers != needed:
        kind = "without shared BatchNorm statistics " if needed > 1 else ""
        raise ConfigError(
            f"unsynced_workers = {config.unsynced_workers}: this run has {world} workers {kind}"
            f"and needs unsynced_workers = {needed}"
        )


def load_teacher(config: RunConfig, task: Task, file: Path | None, expected: str | None) -> tuple[nn.Module, str]:
    """The frozen teacher of `config` and the SHA-256 of its bytes, which an identity `sha256:…` fixes."""
    assert config.teacher is not None
    if file is None:
        raise ConfigError(f"teacher {config.teacher.name!r} ({config.teacher.weights}): no weights file given")
    kind, _, value = config.teacher.weights.partition(":")
    return task.trained(config.teacher.name, file, value if kind == "sha256" else expected)


def _optimizer(config: RunConfig, method: Method) -> torch.optim.Optimizer:
    """The recipe's, of all that is trained but what has an optimiser of its own."""
    recipe, groups = config.recipe, method.groups()
    try:
        kind = timm.optim.get_optimizer_class(recipe.optimizer, bind_defaults=False)
        # One fused kernel instead of several for each of hundreds of small tensors, where the optimiser has one.
        fused = {"fused": True} if "fused" in inspect.signature(kind).parameters else {}
        return timm.optim.create_optimizer_v2(
            method,
            opt=recipe.optimizer,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            param_group_fn=(lambda _: parameter_groups(method, groups, recipe.weight_decay)) if groups else None,
            **fused,
        )
    except (ValueError, AssertionError) as error:
        raise ConfigError(f"recipe.optimizer = {recipe.optimizer!r}: {error}") from error


def _schedule(config: RunConfig, optimizer: torch.optim.Optimizer, steps: int) -> timm.scheduler.scheduler.Scheduler:
    recipe = config.recipe
    try:
        schedule, _ = timm.scheduler.create_scheduler_v2(
            optimizer,
            sched=recipe.schedule,
            num_epochs=recipe.epochs,
            min_lr=recipe.min_lr,
            warmup_epochs=recipe.warmup_steps / steps if recipe.warmup_steps else recipe.warmup_epochs,
            warmup_lr=recipe.warmup_lr,
            decay_epochs=recipe.decay_epochs,
            decay_rate=recipe.decay_rate,
            step_on_epochs=recipe.schedule_per_epoch,
            updates_per_epoch=steps,
            **({"decay_milestones": list(recipe.milestones)} if recipe.milestones else {}),
        )
    except ValueError as error:
        raise ConfigError(f"recipe.schedule = {recipe.schedule!r}: {error}") from error
    if schedule is None:
        raise ConfigError(f"recipe.schedule = {recipe.schedule!r}: use 'constant' for a fixed rate")
    return schedule


def stacked(losses: Sequence[dict[str, Tensor]], world: int) -> dict[str, Tensor]:
    """Each loss of the steps so far [steps], the mean over all workers."""
    found = {name: torch.stack([parts[name] for parts in losses]) for name in (losses[0] if losses else ())}
    if world > 1:
        for values in found.values():
            dist.all_reduce(values)
            values /= world
    return found


def gather_rows(rows: Tensor, world: int) -> Tensor:
    """The rows of all workers in the order of their ranks."""
    if world == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)
