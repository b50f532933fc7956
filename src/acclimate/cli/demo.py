"""``acclimate demo``: two real networks, three jobs, one report, through the verbs that a user would type."""

from __future__ import annotations

import time
from pathlib import Path

from acclimate.cli.demo_stream import changed_world
from acclimate.cli.demo_task import new_task
from acclimate.cli.demo_together import together
from acclimate.cli.output import columns, say
from acclimate.report import Code, Section, Text, page

__all__ = ["demo"]

OWN = """\
# your own texts (CSV with the columns text and label) on any encoder of transformers
acclimate run lora --model MODEL_FOLDER --train train.csv --eval test.csv --out adapted

# your own model on a stream of images, with nothing but the stream
acclimate run tent --model my_package.models:load --stream images/ --out adapted"""


def demo(out: Path) -> None:
    """Run all jobs, print their tables, and write the adapters and ``report.html`` to a folder."""
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    say("1  A new task: which part of Python's standard library does a docstring come from?")
    task_rows, task_sections = new_task(out)
    say("\n2  A world that changed, and no labels: handwritten digits under seven conditions, one after the other")
    world_rows, world_sections = changed_world(out)
    say("\n3  Two adapters of the sentence encoder, taught apart, together")
    both_rows, both_sections = together(out)
    report = out / "report.html"
    sections: list[Section] = [
        *task_sections,
        *world_sections,
        *both_sections,
        Text(heading="On your own data"),
        Code(OWN),
    ]
    report.write_text(page("What acclimate did on this machine", sections), encoding="utf-8")
    print("\nA new task (held-out files)\n" + columns(task_rows))
    print("\nA world that changed (mean accuracy over the stream)\n" + columns(world_rows))
    print("\nTwo adapters together (accuracy on the classes of each)\n" + columns(both_rows))
    print(f"\nadapters and report: {out}/  (open {report})")
    print(f"\nOn your own data:\n{OWN}")
    say(f"\n{time.perf_counter() - began:.0f} seconds")
