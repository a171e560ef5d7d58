"""Labels pictures on an Apache Spark cluster: `glip label -` in `RDD.pipe`, one process for each partition.

    spark-submit spark_label.py pictures.jsonl out --folder /shared/data --partitions 64 -- --categories names.json

Lines are those that `glip label` reads, with paths relative to --folder, which every worker sees; so are `glip` and
its model. The output is a folder of parts, in the order of the input: a record for every line, or
`{"image": ..., "error": ...}`. A partition whose process or worker dies is done again by Spark, as a whole.
"""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Iterator

from pyspark import AccumulatorParam, SparkContext


class Rows(AccumulatorParam):
    """A list that workers add to."""

    def zero(self, value: list) -> list:
        return []

    def addInPlace(self, value1: list, value2: list) -> list:
        return value1 + value2


def filter_command(glip: str, folder: str, arguments: list[str]) -> str:
    """What a partition's lines go through. Anything but success is an error of the task, which Spark retries."""
    command = shlex.join([glip, "label", "-", "--inline-errors", *arguments])
    return shlex.join(["sh", "-c", f"cd {shlex.quote(folder)} && exec {command}"])


def timed(rows) -> callable:
    """Passes a partition's records on, and adds its worker, their number and the seconds they took to `rows`."""

    def run(records: Iterable[str]) -> Iterator[str]:
        begin, count = time.monotonic(), 0
        for record in records:
            count += 1
            yield record
        # An executor runs in a folder of its own, which is called by its number.
        worker = f"{socket.gethostname()}, executor {os.path.basename(os.getcwd())}"
        rows.add([(worker, count, time.monotonic() - begin)])

    return run


def label(context: SparkContext, lines: str, out: str, command: str, partitions: int) -> None:
    rows = context.accumulator([], Rows())
    # Without one, the command would have no environment at all. This one finds ONNX Runtime as it is found here.
    environment = dict(os.environ)
    records = context.textFile(lines, minPartitions=partitions).pipe(command, environment, checkCode=True)
    records.mapPartitions(timed(rows)).saveAsTextFile(out)
    print_throughput(rows.value)


def print_throughput(rows: list[tuple[str, int, float]]) -> None:
    workers: dict[str, tuple[int, float]] = {}
    for worker, count, seconds in rows:
        done, busy = workers.get(worker, (0, 0.0))
        workers[worker] = done + count, busy + seconds
    for worker, (count, seconds) in sorted(workers.items()):
        print(f"{worker}: {count} images in {seconds:.1f} s, {count / seconds:.1f} a second", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", help="JSON Lines, as a path or a pattern that Spark reads")
    parser.add_argument("out", help="the folder to write, which must not exist")
    parser.add_argument("--folder", default=os.getcwd(), help="what paths in the lines are relative to")
    parser.add_argument("--partitions", type=int, default=2, help="at least so many; a retry repeats one (default: 2)")
    parser.add_argument("--glip", default="glip", help="the command on the workers (default: glip)")
    parser.add_argument("--master", help="the cluster, if spark-submit does not say")
    parser.epilog = "What stands after -- are options of `glip label`."
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:end], argparse.Namespace(arguments=sys.argv[end + 1 :]))


def main() -> None:
    arguments = parse_arguments()
    context = SparkContext(master=arguments.master, appName="glip label")
    command = filter_command(arguments.glip, arguments.folder, arguments.arguments)
    label(context, arguments.lines, arguments.out, command, arguments.partitions)
    context.stop()


if __name__ == "__main__":
    main()
