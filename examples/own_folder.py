"""A study on a folder of one's own images: FOLDER/train/<class>/ and FOLDER/test/<class>/ (or val/).

python examples/own_folder.py FOLDER [EPOCHS]
"""

import sys
from pathlib import Path

from pat import Recipe
from pat.data import load, own_data
from sweeps import Search, Study, run


def main(folder: str, epochs: int = 10) -> None:
    path = Path(folder).absolute()
    data = own_data(path, image_size=32)  # for photographs rather 128 or 224, with models made for it
    print(load(data, path.parent).account)  # what was counted, and what was passed over
    recipe = Recipe(epochs=epochs, batch_size=16, lr=1e-3, optimizer="adamw", crop_scale=(0.6, 1.0), flip=0.5)
    teacher, students = "convnext_micro_32", ("vit_nano_patch8_32", "mixer_nano_patch8_32")
    study = Study(
        name=path.name,
        data=data,
        teachers={teacher: recipe},
        students=dict.fromkeys(students, recipe),
        pairs=tuple((teacher, student) for student in students),
        methods=("kd",),
        search=Search(trials=0),
        seeds=2,
    )
    result = run(study, data_root=path.parent)
    print(result.best()[["teacher", "student", "method", "score", "file"]].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
