"""Makes the golden data in this folder from a full set: `python make_golden.py GOLDEN_DIR VOCAB_TXT`.

The full set holds numbers computed by the official GLIP implementation (MIT) on two small
configurations with random weights. All that is dropped here are the rows of BERT's vocabulary that no
case uses, 6 MB a model; token ids are renumbered alike. The pictures are from datitran/raccoon_dataset
and Shenggan/BCCD_Dataset, both MIT; the vocabulary is bert-base-uncased's (Apache-2.0).
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

EMBEDDINGS = "module.language_backbone.body.model.embeddings.word_embeddings.weight"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def main(golden: Path, vocab: Path) -> None:
    here = Path(__file__).parent
    words = vocab.read_text(encoding="utf-8").splitlines()
    variants = [folder for folder in sorted(golden.iterdir()) if folder.is_dir()]
    used = {word_id for folder in variants for case in cases(folder) for word_id in np.load(case)["input_ids"].tolist()}
    kept = sorted(used | {words.index(word) for word in SPECIAL})
    renumbered = {old: new for new, old in enumerate(kept)}
    (here / "vocab.txt").write_text("".join(f"{words[word_id]}\n" for word_id in kept), encoding="utf-8")

    for folder in variants:
        target = here / folder.name
        target.mkdir(exist_ok=True)
        for file in folder.iterdir():
            if file.suffix in (".json", ".png"):
                shutil.copyfile(file, target / file.name)
        checkpoint = torch.load(folder / "model.pth", weights_only=True)
        checkpoint["model"][EMBEDDINGS] = checkpoint["model"][EMBEDDINGS][kept].clone()
        torch.save(checkpoint, target / "model.pth")
        for case in cases(folder):
            arrays = dict(np.load(case))
            ids = arrays["input_ids"]
            arrays["input_ids"] = np.array([renumbered[word_id] for word_id in ids.tolist()], dtype=ids.dtype)
            np.savez_compressed(target / case.name, **arrays)


def cases(folder: Path) -> list[Path]:
    return [folder / f"{case['name']}.npz" for case in json.loads((folder / "cases.json").read_text())]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
