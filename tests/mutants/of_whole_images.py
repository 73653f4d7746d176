"""Data and views of whole images: boxes, masks, their readers, batches by aspect, sizes and places."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, of

MUTANTS: list[Mutant] = [
    *of(
        "pat/data/boxes.py",
        ("first = starts - (counts.cumsum(0) - counts)", "first = starts - counts.cumsum(0).clamp(max=0)"),
        ("rows = slice(sum(self.counts[:start]), sum(self.counts[:stop]))", "rows = slice(0, sum(self.counts[:stop]))"),
        ("if found != (height, width):", "if False:"),
    ),
    *of(
        "pat/data/annotations.py",
        ("    rows.sort(key=lambda row: row[0])\n", ""),
        ("self.boxes.labels) + 1", "self.boxes.labels)"),
        ("dict(sorted(categories.items()))", "categories"),
        ("left + width, top + height, entry", "width, height, entry"),
        ("{hashlib.sha256(content).hexdigest()}", "{file.stem}"),
        ("EOFError, zipfile.BadZipFile)", "EOFError)"),
    ),
    *of(
        "pat/data/coco.py",
        ("images[~seen.boxes.crowd]", "images"),
        ("    if not training:\n        return found\n", ""),
    ),
    *of(
        "pat/data/masks.py",
        ("torch.cat([self.images[index], mask[..., None]], 2)", "torch.cat([mask[..., None], self.images[index]], 2)"),
        ("        allowed[list(void)] = True\n", ""),
        ("    if image != mask:\n", "    if False:\n"),
    ),
    *of("pat/data/mask_folder.py", ("largest_value(path, masks) + 1 if", "largest_value(path, masks) if")),
    *of(
        "pat/views/order.py",
        ("permutation(images, seed, ORDER, epoch)", "permutation(images, seed, ORDER, 0)"),
        ("permutation(len(sizes), seed, ORDER, epoch)", "permutation(len(sizes), seed, ORDER, 0)"),
        ("    ready = ready[ready[:, -1].argsort()]\n", ""),
        (".sort().values", ""),
        ("(width >= height, width < height)", "(width > height, width <= height)"),
    ),
    *of(
        "pat/views/placing.py",
        ("[torch.where(flip, width - right, left)", "[torch.where(flip, width - left, left)"),
        (")[images].flip(1).repeat(1, 2)", ")[images].repeat(1, 2)"),
        ("(exact + 0.5).floor()", "exact.floor()"),
        ("draws * (full - size + 1)", "draws * (full - size)"),
        ("uniform(seed, epoch, indices, slots.FLIP) <", "uniform(seed, 0, indices, slots.FLIP) <"),
        ("+ STRIDE - 1) // STRIDE * STRIDE", "// STRIDE + 1) * STRIDE"),
    ),
    *of(
        "pat/views/dense.py",
        ("everyone.size)\n        indices", "everyone.rows(own).size)\n        indices"),
        ("chosen = chosen.only(~chosen.crowd)", "chosen = chosen.only(chosen.crowd | True)"),
        ("    steps[0] /= 2\n", ""),
        ("seen.flip(0) if axis and placing.flip[place] else seen", "seen"),
        ("hash64(seed, epoch, indices, slots.SAMPLES)", "hash64(seed, epoch, indices * 0, slots.SAMPLES)"),
        ("batches = order.split(batch_size)[rank::world]", "batches = order.split(batch_size)[rank:]"),
    ),
]
