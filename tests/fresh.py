"""What a fresh process does for the round trip law: build the base, load the file, write the outputs down.

python fresh.py FOLDER        FOLDER/N.safetensors are adapters, FOLDER/rows.txt their numbers and models
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

__all__ = ["main"]


def main(folder: Path) -> None:
    from table import build, case, outputs

    from acclimate import load

    for line in (folder / "rows.txt").read_text().splitlines():
        number, name = line.split("|")
        model = build(case(name))
        load(model, folder / f"{number}.safetensors", name="again")
        with torch.no_grad():
            found = outputs(model, case(name).batch())
        save_file({str(i): y.contiguous() for i, y in enumerate(found)}, folder / f"{number}.out")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
