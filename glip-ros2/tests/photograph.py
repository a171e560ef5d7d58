"""Photographs as cameras give them, and what is to be found in them."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Picture

ROOT = Path(__file__).parents[2]
SIZE = WIDTH, HEIGHT = (640, 480)


@dataclass
class Photograph:
    """A picture, and the file that the command `glip` reads."""

    rgb: bytes
    file: Path

    @classmethod
    def read(cls, name: str, folder: Path) -> "Photograph":
        """A photograph of the examples, in the camera's size."""
        with Picture.open(ROOT / f"examples/images/{name}.jpg") as picture:
            picture = picture.convert("RGB").resize(SIZE)
        file = folder / f"{name}.png"
        picture.save(file)
        return cls(picture.tobytes(), file)

    def encoded(self, encoding: str) -> bytes:
        """Its pixels in an encoding of ROS."""
        if encoding == "rgb8":
            return self.rgb
        picture = Picture.frombytes("RGB", SIZE, self.rgb)
        red, green, blue = picture.split()
        if encoding == "bgr8":
            return Picture.merge("RGB", (blue, green, red)).tobytes()
        alpha = Picture.new("L", SIZE, 0)
        return Picture.merge("RGBA", (blue, green, red, alpha)).tobytes()

    def ground(self, glip: Path, prompt: str, *options: str | Path) -> list[dict]:
        """What the command `glip ground` finds in it."""
        command = [glip, "ground", self.file, prompt, "--json", *options]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return found["detections"]


def numbered(found: list[dict]) -> bytes:
    """The masks of detections as one picture: the number of the detection that a pixel belongs to, the first on top."""
    levels = bytearray(WIDTH * HEIGHT)
    for number in reversed(range(len(found))):
        at = 0
        for index, length in enumerate(run_lengths(found[number]["mask"]["counts"])):
            if index % 2:
                for pixel in range(at, at + length):  # down the columns, from left to right
                    levels[pixel % HEIGHT * WIDTH + pixel // HEIGHT] = number + 1
            at += length
    return bytes(levels)


def run_lengths(text: str) -> list[int]:
    """COCO's compressed run lengths as numbers."""
    lengths, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value, shift = 0, 0
    return lengths
