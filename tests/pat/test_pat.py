"""PAT itself: prompts, feedback, stages, against the faults of the published code."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from pat.align import Aligner, pair_stages, resize
from pat.config import ConfigError
from pat.losses import cross_entropy, hcl_loss, kd_loss
from pat.methods import Method, create_method
from pat.models import create_model
from pat.prompts import PromptBlock, chosen_stages
from tests import tiny


def build(student: str = tiny.VIT, teacher: str = tiny.CNN, size: int = 32, **options: object) -> Method:
    models = (create_model(name, 10, size) for name in (student, teacher))
    return create_method("pat", *models, tiny.task(size), **{**tiny.SMALL_PAT, **options})


def batch(count: int = 6, size: tuple[int, int] = (32, 32), seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, *size, generator=generator)
    return images, torch.eye(10)[torch.randint(0, 10, (count,), generator=generator)]


def test_total_is_the_weighted_sum() -> None:
    method = build(kd_weight=0.5, feature_weight=2.0, regularisation_weight=3.0, temperature=2.0)
    losses = method(*batch())
    expected = losses["ce"] + 0.5 * losses["kd"] + 2 * losses["feature"] + 3 * losses["regularisation"]
    torch.testing.assert_close(losses["loss"].detach(), expected)


def test_step_is_the_paper_s_formula() -> None:
    """Every term recomputed from the modules by hand, at strength 0, where the prompted teacher is the plain one."""
    method = build(feedback="current", prompt_depth=4)
    images, targets = batch()
    losses = method(images, targets)
    student, teacher = method.student_taps(images), method.teacher_taps(method.for_teacher(images))
    regions = zip(method.align, method.attention(student.maps), teacher.maps, strict=True)
    aligned = [resize(align(x), like.shape[-2:]) for align, x, like in regions]
    feature = sum(hcl_loss(a, t) for a, t in zip(aligned, teacher.maps, strict=True))
    torch.testing.assert_close(losses["feature"], feature.detach())
    torch.testing.assert_close(losses["ce"], cross_entropy(student.logits, targets).detach())
    torch.testing.assert_close(losses["kd"], kd_loss(student.logits, teacher.logits, 1.0).detach())
    assert losses["regularisation"].abs() < 1e-6


def test_targets_are_not_detached() -> None:
    """L_FD alone trains the prompts (paper, section 3.3)."""
    method = build(kd_weight=0.0, regularisation_weight=0.0)
    method(*batch())["loss"].backward()
    strengths = [p.grad for n, p in method.named_parameters() if n.endswith("strength")]
    assert len(strengths) == 4 and all(g is not None and g != 0 for g in strengths)


@pytest.mark.parametrize("teacher", [tiny.CNN, "vit_nano_patch8_32", "mixer_nano_patch8_32", "resnet_nano_32"])
def test_teacher_is_never_touched(teacher: str) -> None:
    method = build(teacher=teacher)
    before = {name: tensor.clone() for name, tensor in method.teacher.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for seed in range(3):
        method.train()
        optimizer.zero_grad()
        method(*batch(seed=seed))["loss"].backward()
        optimizer.step()
    assert not method.teacher.training
    for name, tensor in method.teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_strength_decides_whether_a_prompt_acts() -> None:
    method = build()
    images, targets = batch()
    plain = method.teacher(method.for_teacher(images))
    assert torch.equal(method.teacher_taps(method.for_teacher(images)).logits, plain)
    assert method(images, targets)["regularisation"].abs() < 1e-6
    for block in method.prompts.values():
        nn.init.constant_(block.strength, 0.5)
    assert method(images, targets)["regularisation"] > 1e-6


def test_a_prompt_is_a_map_not_a_bias() -> None:
    """The published gate without its features would give one number a channel."""
    block = PromptBlock((8, 6, 6), (8, 6, 6))
    nn.init.constant_(block.strength, 1.0)
    x, feedback = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6)
    prompt = block(x, feedback) - x
    assert (prompt.flatten(2).std(dim=2) > 1e-6).all()
    assert not torch.allclose(block(x, feedback), block(x, feedback.flip(3)))


@pytest.mark.parametrize("feedback", [(8, 3, 3), (8, 6, 9), (5, 6, 6)])
def test_feedback_of_another_shape_is_aligned(feedback: tuple[int, int, int]) -> None:
    block, x = PromptBlock((8, 6, 6), feedback), torch.randn(2, 8, 6, 6)
    assert isinstance(block.feedback, Aligner) and block(x, torch.randn(2, *feedback)).shape == x.shape
    for other in (None, (8, 6, 6)):
        assert isinstance(PromptBlock((8, 6, 6), other).feedback, nn.Identity)


def test_short_last_batch_with_previous_feedback() -> None:
    method = build(feedback="previous")
    for count in (6, 2, 6):
        losses = method(*batch(count))
        losses["loss"].backward()
        assert torch.isfinite(losses["loss"])
        assert len(method.feedback_0) == count


def test_feedback_is_of_the_previous_batch() -> None:
    """What a prompt hears is what the last training step left; what is only scored leaves nothing."""
    method, heard = build(feedback="previous"), list[Tensor]()
    method.prompts["3"].register_forward_pre_hook(lambda _, given: heard.append(given[1].clone()))
    method.train()(*batch(seed=1))
    assert not heard.pop().any(), "nothing has been learnt before the first step"
    told = method.feedback_3.clone()
    method.eval()(*batch(seed=0))
    assert torch.equal(heard.pop(), told) and told.any()
    assert torch.equal(method.feedback_3, told)
    method.train()(*batch(seed=0))
    assert torch.equal(heard.pop(), told) and not torch.equal(method.feedback_3, told)


def test_feedback_survives_a_state_dict_round_trip() -> None:
    method, other = build(), build()
    method(*batch(5))
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.feedback_2, method.feedback_2) and len(other.feedback_2) == 5


def test_what_is_counted_as_right_is_the_prompted_teacher_s() -> None:
    method, judged = build(feedback="none").eval(), []
    for block in method.prompts.values():
        nn.init.constant_(block.strength, 30.0)
    own = method.judge
    method.judge = lambda *given: judged.append(own(*given).logits.argmax(1)) or own(*given)  # type: ignore[method-assign]
    images, targets = batch()
    method(images, targets)
    plain, prompted = judged
    assert not torch.equal(plain, prompted)
    assert method(images, torch.eye(10)[prompted])["prompted_top1"] == 100


@pytest.mark.parametrize("feedback", ["previous", "current", "none"])
@pytest.mark.parametrize("depth", [0, 1, 4, (1, 3)])
def test_feedback_and_depth(feedback: str, depth: int | tuple[int, ...]) -> None:
    method = build(feedback=feedback, prompt_depth=depth)
    losses = method(*batch())
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert len(method.prompts) == (len(depth) if isinstance(depth, tuple) else depth)


def test_a_non_square_input_and_any_region_count() -> None:
    student = timm.create_model("resnet18", num_classes=10)
    teacher = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=(64, 96), depth=4)
    method = create_method("pat", student, teacher, tiny.task((64, 96)), regions=(4, 9, 16, 25), region_dim=16, heads=2)
    losses = method(*batch(2, size=(64, 96)))
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])


def test_stages_are_paired_from_the_last_one_backwards() -> None:
    assert pair_stages("abcd", 4) == list("abcd") and pair_stages("abcd", 3) == list("bcd")
    assert pair_stages("abc", 4) == list("aabc"), "the first may repeat"


def test_prompted_stages() -> None:
    assert [chosen_stages("", depth, 4) for depth in (4, 1, 0)] == [(0, 1, 2, 3), (3,), ()]
    assert chosen_stages("", 4, 3) == (0, 1, 2) and chosen_stages("", (4, 1), 4) == (0, 3)
    for bad in (5, -1, (0, 1), (1, 1), ()):
        with pytest.raises(ConfigError, match="prompt_depth"):
            chosen_stages("prompt_depth", bad, 4)
    with pytest.raises(ConfigError, match="feedback"):
        build(feedback="next")


def test_parameter_counts_are_those_of_the_paper() -> None:
    """ConvNeXt-T -> DeiT-T at the defaults adds 14.48 M parameters (the paper); ours counts within 1 %."""
    student, teacher = (timm.create_model(n, num_classes=100) for n in ("deit_tiny_patch16_224", "convnext_tiny"))
    method = create_method("pat", student, teacher, tiny.task(224, classes=100))
    extra = sum(p.numel() for n, p in method.named_parameters() if not n.startswith(("student.", "teacher.")))
    assert extra == pytest.approx(14.48e6, rel=0.01)
