"""Makes the pictures beside it: kinds of files that the crate `image` does not write. Made with Pillow 12.3."""

from pathlib import Path

import numpy as np
from PIL import Image

here = Path(__file__).parent
rng = np.random.default_rng(3)
y, x = np.mgrid[0:40, 0:56]
levels = np.stack([x * 4 % 256, y * 6 % 256, (x * y) % 256], -1).astype(np.uint8)
levels[10:25, 12:40] = rng.integers(0, 255, (15, 28, 3))
picture = Image.fromarray(levels)
grey = np.asarray(picture.convert("L"), dtype=np.float32)

picture.save(here / "progressive.jpg", quality=70, progressive=True, subsampling=2)
picture.save(here / "restarts.jpg", quality=70, restart_marker_blocks=2, subsampling=1)
picture.convert("L").save(here / "grey.jpg", quality=80, progressive=True)
picture.quantize(16).save(here / "palette.tif")
picture.quantize(200).save(here / "palette_lzw.tif", compression="tiff_lzw")
Image.fromarray(grey / 255).save(here / "float.tif")
Image.fromarray(grey).save(here / "float_to_255.tif")
picture.quantize(64).save(here / "first_frame.gif", save_all=True, append_images=[picture.quantize(4)])
