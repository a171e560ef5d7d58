"""Tries the scripts beside it on clusters of two workers on this machine: `python check.py --glip target/release/glip`.

500 rendered scenes, and two lines that must fail, go through one process, through Spark and through Ray. On both clusters
a worker is killed at its work. All three must give the same records. Needs the packages `pyspark` (and Java 17) and
`ray[data]`, and glip_torch to draw scenes; takes a few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCENES = 500
NAMES = ("red circle", "blue square", "green triangle", "yellow star", "purple ring")
#: Options of `glip label`: a model that knows those.
OPTIONS = ("--threads", "1", "--model", str(HERE.parents[1] / "models/glip-drawn"))


def render(folder: Path) -> Path:
    """Scenes as pictures, and the lines that name them. One picture is cut off, and one does not exist."""
    import numpy as np
    from PIL import Image

    from glip_torch.data.scenes import render_scene

    lines = folder / "pictures.jsonl"
    with lines.open("w") as file:
        for index in range(SCENES):
            image = f"scene {index:03}.jpg"
            Image.fromarray(np.asarray(render_scene(9001, index, 192, 192).image)).save(folder / image)
            print(json.dumps({"image": image, "categories": NAMES}), file=file)
        broken = folder / "cut off.jpg"
        broken.write_bytes((folder / "scene 000.jpg").read_bytes()[:2000])
        for image in (broken.name, "missing.jpg"):
            print(json.dumps({"image": image, "categories": NAMES}), file=file)
    return lines


def descendants(root: int) -> Iterator[tuple[int, int, str]]:
    """Process id, parent's id and command line of the processes below one."""
    found: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it has ended
            found[int(entry.name)] = parent, command
    for process, (parent, command) in found.items():
        ancestor = parent
        while ancestor in found and ancestor != root:
            ancestor = found[ancestor][0]
        if ancestor == root:
            yield process, parent, command


def is_at_work(process: int) -> bool:
    """Whether it has answered some lines."""
    try:
        counters = dict(line.split(": ") for line in Path(f"/proc/{process}/io").read_text().splitlines())
    except OSError:
        return False  # it has ended
    return int(counters["wchar"]) > 4000


def run_and_kill(command: list[str], victim: Callable[[int, dict], int | None], log: Path) -> int:
    """Runs a script, and kills what `victim` says of its first process of glip at work; returns how many there were."""
    seen, killed = set(), False
    with log.open("w") as file:
        script = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        while script.poll() is None:
            processes = {process: (parent, line) for process, parent, line in descendants(script.pid)}
            workers = [p for p, (_, line) in processes.items() if " label - " in line and not line.startswith("sh ")]
            seen.update(workers)
            for worker in workers:
                if not killed and is_at_work(worker) and (target := victim(worker, processes)) is not None:
                    os.kill(target, signal.SIGKILL)
                    killed = True
            time.sleep(0.02)
    if script.returncode or not killed:
        sys.exit(f"{command[1]}: code {script.returncode}, a worker was killed: {killed}\n{log.read_text()[-4000:]}")
    print("".join(line for line in log.read_text().splitlines(True) if " a second" in line), end="")
    return len(seen)


def executor_of(worker: int, processes: dict) -> int | None:
    """The Spark executor that a process belongs to."""
    while worker in processes:
        if "CoarseGrainedExecutorBackend" in processes[worker][1]:
            return worker
        worker = processes[worker][0]
    return None


def parent_of(worker: int, processes: dict) -> int | None:
    """The Ray actor that a process belongs to."""
    return processes[worker][0]


def compare(name: str, expected: list[str], found: list[str], processes: int) -> None:
    if found != expected:
        differing = next((i for i, pair in enumerate(zip(expected, found)) if pair[0] != pair[1]), len(found))
        sys.exit(f"{name}: {len(found)} records instead of {len(expected)}, number {differing} differs")
    print(
        f"{name}: the same {len(found)} records; a worker was killed, glip was started {processes} times\n", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glip", type=Path, required=True, help="the command")
    glip = str(parser.parse_args().glip.absolute())
    with tempfile.TemporaryDirectory(prefix="glip check ") as temporary:
        folder = Path(temporary)
        lines = render(folder)
        begin = time.monotonic()
        alone = subprocess.run(
            [glip, "label", "-", "--inline-errors", *OPTIONS],
            cwd=folder, stdin=lines.open(), capture_output=True, check=True, encoding="utf-8",
        )  # fmt: skip
        expected = alone.stdout.splitlines()
        failures = [json.loads(line)["image"] for line in expected if "error" in json.loads(line)]
        if len(expected) != SCENES + 2 or failures != ["cut off.jpg", "missing.jpg"]:
            sys.exit(f"one process: {len(expected)} records, failures {failures}")
        seconds = time.monotonic() - begin
        print(f"one process: {len(expected)} images in {seconds:.1f} s, {len(expected) / seconds:.1f} a second\n")

        options = ["--folder", str(folder), "--glip", glip]
        out = folder / "spark"
        spark = [sys.executable, str(HERE / "spark_label.py"), f"file://{lines}", f"file://{out}", *options]
        spark += ["--master", "local-cluster[2,1,1024]", "--partitions", "8", "--", *OPTIONS]
        processes = run_and_kill(spark, executor_of, folder / "spark.log")
        parts = sorted(out.glob("part-*"))
        compare("Spark", expected, [r for part in parts for r in part.read_text().splitlines()], processes)

        out = folder / "ray.jsonl"
        ray = [sys.executable, str(HERE / "ray_label.py"), str(lines), str(out), *options]
        processes = run_and_kill([*ray, "--", *OPTIONS], parent_of, folder / "ray.log")
        compare("Ray, an actor killed", expected, out.read_text().splitlines(), processes)
        processes = run_and_kill([*ray, "--", *OPTIONS], lambda worker, _: worker, folder / "ray.log")
        compare("Ray, glip killed", expected, out.read_text().splitlines(), processes)


if __name__ == "__main__":
    main()
