"""Detection and segmentation: what is drawn, how regions are read, what is lost and found, what is measured."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "pat/dense/fpn.py",
        ('"always_partition": True', '"always_partition": False'),
        ("return freeze_batch_norm_2d(model) if freeze_norm else model", "return model"),
        ("if strides != [strides[0] * 2**stage for stage in range(4)]:", "if False:"),
        ("        self.taps = _taps(self.backbone, self.taps.image_size)\n", ""),
        ('return {f"backbone.{name}" for name in names()}', "return names()"),
        ("if any(grid not in sizes_at(size, stride) for", "if not all(grid for"),
        ("    except Exception as error:", "    except ValueError as error:"),
    ),
    *of(
        "pat/dense/anchors.py",
        ("(self.centres < sizes[:, None]).all(dim=2)", "(self.centres <= sizes[:, None]).all(dim=2)"),
        ("(level * 2**20 + rows)", "(2**20 + rows)"),
        ("size**2 / heights", "heights"),
    ),
    *of(
        "pat/dense/sampling.py",
        ("allow_low_quality_matches=each", "allow_low_quality_matches=False"),
        ("[: int(count * share)]", "[:count]"),
        ("[: count - len(positive)]", "[: count - int(count * share)]"),
        ("negative[priority[negative].argsort(stable=True)]", "negative"),
    ),
    *of(
        "pat/dense/detector.py",
        ("nn.init.normal_(layer.weight, std=std)", "nn.init.normal_(layer.weight, std=2 * std)"),
        ("share = share_of(torch.tensor(len(placed), device=placed.device))", "share = None"),
        ("[positive, samples.labels[positive]]", "[positive, samples.labels[positive] - 1]"),
        ("region = {name: value * samples.share", "region = {name: value / samples.share"),
        ("objectness.masked_fill(~inside, -torch.inf)", "objectness"),
        ("[: self.proposals[2]]", ""),
        ("count = ANCHORS_DRAWN * len(truths)", "count = sum(map(len, kinds))"),
        ("hash64(keys[image], _DRAW_ANCHOR,", "hash64(keys[0], _DRAW_ANCHOR,"),
        ("hash64(key, _DRAW_REGION,", "hash64(0, _DRAW_REGION,"),
        ("candidates = torch.cat([proposed, boxes])", "candidates = proposed"),
        ("labels[index] * kinds[drawn]", "labels[index]"),
        ("sampling_ratio=0, aligned=True", "sampling_ratio=0, aligned=False"),
        ("edges / 224", "edges / 256"),
        ("return logits.float(), deltas.float()", "return logits, deltas"),
        ("boxes = clip_boxes_to_image(boxes, size)[:, 1:]", "boxes = boxes[:, 1:]"),
        ("torch.where(scores > SCORE)", "torch.where(scores > 0)"),
    ),
    *of(
        "pat/gather.py",
        ("return count / global_mean(count)", "return global_mean(count) / count"),
    ),
    *of(
        "pat/dense/valid.py",
        ("* stride < sizes", "* stride <= sizes"),
        ("2 ** round(math.log2(pixels / cells))", "pixels / cells"),
    ),
    *of(
        "pat/dense/segmenter.py",
        ("sum(maps[1:], maps[0])", "maps[0]"),
        ("            GlobalBatchNorm2d(width),\n", ""),
    ),
    *of(
        "pat/dense/miou.py",
        ("counted = truth != void", "counted = truth == truth"),
        ("[union > 0].mean()", ".nan_to_num().mean()"),
        (
            "truth[counted].long() * num_classes + predicted[counted]",
            "predicted[counted].long() * num_classes + truth[counted]",
        ),
    ),
    *of(
        "pat/dense/ap.py",
        ('"iscrowd": int(crowd)', '"iscrowd": 0'),
        ("(x1 - x0).tolist(), (y1 - y0).tolist()", "x1.tolist(), y1.tolist()"),
        ("enumerate(columns, start=1)", "enumerate(columns)"),
        ("if stats[key] >= 0}", "}"),
    ),
]
