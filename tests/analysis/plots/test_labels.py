"""Names of models, methods, families and numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analysis.labels import family_label, method_label, number, shorten, wrap


def test_short_labels() -> None:
    names = ["swin_tiny_patch4_window7_224", "deit_tiny_patch16_224.fb_in1k", "mobilenetv2_100", "mixer_b16_224"]
    assert list(shorten(names).values()) == ["deit_tiny", "mixer_b16", "mobilenetv2_100", "swin_tiny"]
    assert shorten(["vit_s_patch16_224", "vit_s_patch32_224"]) == {
        "vit_s_patch16_224": "vit_s_patch16",
        "vit_s_patch32_224": "vit_s_patch32",
    }
    assert set(shorten(["resnet50.a1_in1k", "resnet50.tv_in1k"]).values()) == {"resnet50_a1_in1k", "resnet50_tv_in1k"}


def test_sizes_are_dropped_but_not_numbers_of_models() -> None:
    small = ["resnet_nano_32", "vit_nano_patch8_32"]
    assert shorten(small) == {"resnet_nano_32": "resnet_nano", "vit_nano_patch8_32": "vit_nano"}
    kept = ["regnety_160", "levit_256", "mobilenetv2_050", "resmlp_12_224"]
    assert shorten(kept) == dict(zip(kept, ["regnety_160", "levit_256", "mobilenetv2_050", "resmlp_12"], strict=True))


def test_words_and_numbers() -> None:
    names = {"pat": "PAT", "fitnet": "FitNet", "reviewkd": "ReviewKD", "sokd": "SoKD", "scratch": "scratch"}
    assert {name: method_label(name) for name in names} == names
    assert [family_label(name) for name in ("cnn", "vit", "mlp")] == ["CNN", "ViT", "MLP"]
    assert [number(value) for value in (1.234, -1.236, -0.001)] == ["+1.23", "−1.24", "+0.00"]
    assert number(12.34, 0) == "+12"


part = st.sampled_from(["vit", "tiny", "patch4", "patch16", "window7", "224", "384", "b16", "32"])
name = st.lists(part, min_size=1, max_size=6)


@given(st.lists(name.map("_".join), max_size=12))
def test_labels_are_never_ambiguous(names: list[str]) -> None:
    labels = shorten(names)
    assert set(labels) == set(names) and len(set(labels.values())) == len(set(names))


@given(st.text(alphabet="abc_ .", max_size=60), st.integers(4, 20), st.integers(1, 3))
def test_wrapped_text_keeps_its_lines(text: str, width: int, lines: int) -> None:
    assert len(wrap(text, width, lines).split("\n")) <= lines


def test_the_seed_of_a_teacher_stays() -> None:
    found = shorten(["vit_micro_patch8_32", "vit_micro_patch8_32@1", "swin_t_window7_224@2", "swin_t_window7_384"])
    assert list(found.values()) == ["swin_t_224@2", "swin_t_384", "vit_micro", "vit_micro@1"]
