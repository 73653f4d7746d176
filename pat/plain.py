"""Plain passes of a frozen teacher: what is asked of them, and one pass for all runs that ask of the same images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from pat.stages import logits_of
from pat.taps import Tapped

T = TypeVar("T")
Forward = Callable[[], Tensor]


class Question(Protocol):
    """What is wanted of a plain pass of `model`. Of one model, questions of one `key` have the same answer."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def key(self) -> Hashable: ...

    def within(self, forward: Forward) -> tuple[Tensor, Any]:
        """The logits that `forward` gives, which is one pass of the model, and the answer to the question."""


class Logits:
    """The logits alone, as taps that have no maps give them."""

    key = "logits"

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def within(self, forward: Forward) -> tuple[Tensor, Tapped]:
        logits = forward()
        return logits, Tapped(logits, ())


def answers(images: Tensor, questions: Sequence[Question]) -> tuple[Any, ...]:
    """The answers to questions about one model, all of one pass."""
    return _nested(images, questions)[1]


def _nested(images: Tensor, questions: Sequence[Question]) -> tuple[Tensor, tuple[Any, ...]]:
    first, *rest = questions
    if not rest:
        logits, answer = first.within(lambda: logits_of(first.model(images)))
        return logits, (answer,)
    found: list[tuple[Any, ...]] = []

    def inner() -> Tensor:
        logits, others = _nested(images, rest)
        found.append(others)
        return logits

    logits, answer = first.within(inner)
    return logits, (answer, *found[0])


class SharedPass:
    """The plain passes of one teacher for several runs: one for all that they ask of the same images.

    What is asked is learnt by being asked: a pass answers all that has been asked of any before. Images are the same
    where they are one tensor. Answers are kept until others are asked for, or until `forget`.
    """

    def __init__(self) -> None:
        self._asked: dict[Hashable, Question] = {}
        self.forget()

    def forget(self) -> None:
        """Let go of images and answers."""
        self._given: Tensor | None = None
        self._images: Tensor | None = None
        self._answers: dict[Hashable, Any] = {}

    def images(self, given: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """What `make` makes of the student's images for the teacher; once for the same ones."""
        if self._given is not given or self._images is None:
            self.forget()
            self._given, self._images = given, make()
        return self._images

    def answers(self, images: Tensor, questions: Sequence[Question]) -> tuple[Any, ...]:
        """As the function of this name; of images that `images` gave."""
        if any(question.key not in self._answers for question in questions):
            self._asked |= {question.key: question for question in questions}
            self._answers = dict(zip(self._asked, answers(images, [*self._asked.values()]), strict=True))
        return tuple(self._answers[question.key] for question in questions)


class Teachers:
    """The frozen teachers of runs that are trained together: each is loaded, asked of a batch and scored once."""

    def __init__(self, shared: bool) -> None:
        """`shared`: whether there are several runs; one has nothing to share its passes with."""
        self._shared = shared
        self._known: dict[Hashable, Any] = {}
        self._passes: dict[tuple[nn.Module, str], SharedPass] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes, the first time that it is asked for by this key."""
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found

    def passes(self, teacher: nn.Module, precision: str) -> SharedPass | None:
        """Those that runs of this teacher and precision share."""
        return self._passes.setdefault((teacher, precision), SharedPass()) if self._shared else None

    def forget(self) -> None:
        """Let go of what was asked of the last batch."""
        for passes in self._passes.values():
            passes.forget()
