"""Labels pictures on a Ray cluster: actors of Ray Data that each have a process of `glip label -`.

    python ray_label.py pictures.jsonl labels.jsonl --folder /shared/data --workers 64 -- --categories names.json

Lines are those that `glip label` reads, with paths relative to --folder, which every worker sees; so are `glip` and
its model. The output is in the order of the input: a record for every line, or `{"image": ..., "error": ...}`. A batch
whose process or worker dies is done again by Ray.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import ray


class Filter:
    """A process of `glip label -`, which loads its model once and answers every line with one."""

    def __init__(self, glip: str, folder: str, arguments: list[str]):
        self.command = [glip, "label", "-", "--inline-errors", *arguments]
        self.folder = folder
        self.worker = f"{socket.gethostname()}, process {os.getpid()}"
        self.process: subprocess.Popen | None = None

    def __call__(self, batch: dict) -> dict:
        begin = time.monotonic()
        lines = [str(line) for line in batch["text"]]
        records = self._answers(lines)
        seconds = (time.monotonic() - begin) / len(lines)
        return {"record": records, "worker": [self.worker] * len(lines), "seconds": [seconds] * len(lines)}

    def _answers(self, lines: list[str]) -> list[str]:
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        process = self.process
        # From a thread, so that neither side waits for the other to read.
        writing = threading.Thread(target=_write, args=(process, lines))
        writing.start()
        answers = [process.stdout.readline() for _ in lines]
        writing.join()
        if not all(answers):
            # What it has answered is dropped: Ray gives the whole batch to a new process.
            self.process = None
            process.kill()
            raise RuntimeError(f"glip ended with code {process.wait()}, its batch is done again")
        return [answer.rstrip("\n") for answer in answers]


def _write(process: subprocess.Popen, lines: list[str]) -> None:
    try:
        process.stdin.write("".join(line + "\n" for line in lines))
        process.stdin.flush()
    except OSError:
        pass  # It has ended, which whoever reads from it will see.


def label(lines: Path, out: Path, folder: str, glip: str, arguments: list[str], workers: int, batch: int) -> None:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    # A process that died is started anew for the same batch; an actor that died is replaced by Ray in any case.
    context.actor_task_retry_on_errors = True
    records = ray.data.read_text(str(lines.absolute())).map_batches(
        Filter,
        fn_constructor_args=(glip, folder, arguments),
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    done: dict[str, list[float]] = defaultdict(list)
    partial = out.with_name(out.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for row in records.iter_rows():
            print(row["record"], file=file)
            done[row["worker"]].append(row["seconds"])
    partial.replace(out)
    for worker, seconds in sorted(done.items()):
        count, busy = len(seconds), sum(seconds)
        print(f"{worker}: {count} images in {busy:.1f} s, {count / busy:.1f} a second", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path, help="JSON Lines")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--folder", default=os.getcwd(), help="what paths in the lines are relative to")
    parser.add_argument("--workers", type=int, default=2, help="processes of glip (default: 2)")
    parser.add_argument("--batch", type=int, default=32, help="lines that a retry repeats (default: 32)")
    parser.add_argument("--glip", default="glip", help="the command on the workers (default: glip)")
    parser.add_argument("--address", help="the cluster (default: a new one on this machine)")
    parser.epilog = "What stands after -- are options of `glip label`."
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:end], argparse.Namespace(arguments=sys.argv[end + 1 :]))


def main() -> None:
    arguments = parse_arguments()
    # A cluster here has a core for each worker, and one that reads: otherwise reading would wait for ever.
    cores = None if arguments.address else arguments.workers + 1
    ray.init(address=arguments.address, num_cpus=cores, log_to_driver=False)
    label(
        arguments.lines,
        arguments.out,
        arguments.folder,
        arguments.glip,
        arguments.arguments,
        arguments.workers,
        arguments.batch,
    )


if __name__ == "__main__":
    main()
