"""Training, on a GLIP and pictures small enough that a step takes hundredths of a second."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from PIL import Image
from two_processes import TINY, build_trainer, train_in_two_processes

from glip_torch import train
from glip_torch.average_precision import coco_precision, mean_precision, xywh
from glip_torch.checkpoint import load_checkpoint, save_checkpoint
from glip_torch.config import NANO, NANO_MIXED, Recommended
from glip_torch.data.__main__ import main as data_command
from glip_torch.data.files import GroundingWriter, read_records
from glip_torch.data.grounding import Category, Header, Record
from glip_torch.data.worlds import WORLDS
from glip_torch.evaluate import ground
from glip_torch.model import GLIP
from glip_torch.postprocess import Detections
from glip_torch.preprocess import normalise, pad
from glip_torch.probes import AttributeProbes
from glip_torch.tokenizer import build_tokenizer, mixed_vocabulary, nano_vocabulary
from glip_torch.training import TrainingError, loop, sources
from glip_torch.training.network import Trained
from glip_torch.training.optimizer import parameter_groups
from glip_torch.training.schedule import rate_at
from glip_torch.training.settings import NANO as NANO_SETTINGS
from glip_torch.training.settings import OFFICIAL, Settings

SETTINGS = replace(NANO_SETTINGS, batch=2, steps=4, warm_up=1, log_every=1, save_minutes=60)


@pytest.fixture(autouse=True)
def single_thread(one_thread):
    """As a training process has it."""
    yield
    # Accelerate keeps what the first Accelerator of a process was made with.
    AcceleratorState._reset_state()
    PartialState._reset_state()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight pictures of 64 x 64."""
    folder = tmp_path_factory.mktemp("scenes")
    data_command(["scenes", str(folder), "--count", "8", "--side", "64"])
    return folder / "detection.jsonl"


def weights(trainer):
    return {
        **trainer.state.trained.state_dict(),
        **{f"ema {k}": v for k, v in trainer.state.average.model.state_dict().items()},
    }


def equal(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def losses_of(out):
    return [
        {name: record[name] for name in ("step", "token", "box", "centerness", "learning_rate")}
        for record in log_of(out)
    ]


# --- resuming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [1, 3])
def test_a_run_goes_on_from_any_state_as_if_it_had_never_stopped(tmp_path, data, kept):
    # Dropout, to see that what the network draws is the same too.
    settings = replace(SETTINGS, keep_every=1)
    whole = build_trainer(tmp_path / "whole", data, settings, dropout=0.1)
    whole.run()
    resumed = build_trainer(
        tmp_path / "resumed", data, settings, dropout=0.1, resume=tmp_path / "whole" / f"state-{kept}.pt"
    )
    assert resumed.state.step == kept
    resumed.run()
    equal(weights(whole), weights(resumed))
    assert losses_of(tmp_path / "resumed") == losses_of(tmp_path / "whole")[kept:]


def test_a_run_goes_on_with_its_steps_shared_out_otherwise(tmp_path, data):
    whole = build_trainer(tmp_path / "whole", data, replace(SETTINGS, keep_every=1, batch=4))
    whole.run()
    state = tmp_path / "whole" / "state-3.pt"
    small = replace(SETTINGS, batch=2, accumulate=2)
    resumed = build_trainer(tmp_path / "resumed", data, small, resume=state)
    resumed.run()
    expected, found = log_of(tmp_path / "whole")[3], log_of(tmp_path / "resumed")[0]
    for name in ("token", "box", "centerness"):
        assert found[name] == pytest.approx(expected[name], abs=2e-4)
    with pytest.raises(TrainingError, match=r"a run with examples of a step 4 \(now 2\)"):
        build_trainer(tmp_path / "resumed", data, replace(small, accumulate=1), resume=state)


def test_a_state_of_another_run_is_refused(tmp_path, data):
    build_trainer(tmp_path, data, replace(SETTINGS, steps=1)).run()
    state = tmp_path / "state.pt"
    # A run may be made longer.
    assert build_trainer(tmp_path, data, replace(SETTINGS, steps=2), resume=state).state.step == 1
    with pytest.raises(TrainingError, match=r"a run with seed 1 \(now 2\): give the same again, or another folder"):
        build_trainer(tmp_path, data, replace(SETTINGS, seed=2), resume=state)
    with pytest.raises(TrainingError, match="does not exist"):
        build_trainer(tmp_path, data, SETTINGS, resume=tmp_path / "state-7.pt")
    torch.save({"step": 3}, state)
    with pytest.raises(TrainingError, match="no state of a run of this version"):
        build_trainer(tmp_path, data, SETTINGS, resume=state)


def test_checkpoints_are_official_ones_with_the_averaged_weights(tmp_path, data):
    run = build_trainer(tmp_path, data, replace(SETTINGS, steps=2))
    run.run()
    model = load_checkpoint(tmp_path / "model.pth", text_heads=TINY.text.heads)
    equal(model.state_dict(), run.state.average.model.state_dict())
    trained = run.state.trained.model.state_dict()
    assert any(not torch.equal(tensor, trained[name]) for name, tensor in model.state_dict().items())


# --- one step, however it is shared out -----------------------------------------------------------------------------


def close(one, other, tolerance):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert (tensor - other[name]).abs().max() < tolerance, name


def test_batches_that_make_a_step_are_one_large_batch(tmp_path, data):
    settings = replace(SETTINGS, steps=1)
    large = build_trainer(tmp_path / "large", data, replace(settings, batch=4))
    small = build_trainer(tmp_path / "small", data, replace(settings, batch=2, accumulate=2))
    gradients = []
    for run in (large, small):
        run.run()
        gradients.append({name: p.grad for name, p in run.state.trained.named_parameters()})
    close(*gradients, tolerance=2e-6)
    assert losses_of(tmp_path / "large")[0]["token"] == pytest.approx(
        losses_of(tmp_path / "small")[0]["token"], abs=2e-4
    )


def test_two_processes_are_one_with_the_doubled_batch(tmp_path, data):
    settings = replace(SETTINGS, steps=2)
    first, second = train_in_two_processes(tmp_path / "two", data, settings)
    equal(first["weights"], second["weights"])
    whole = build_trainer(tmp_path / "one", data, replace(settings, batch=4))
    whole.run()
    # Adam's first step has the learning rate's size however small a gradient is, so that rounding errors grow in the second.
    close(first["gradients"], {name: p.grad for name, p in whole.state.trained.named_parameters()}, tolerance=3e-5)
    difference = [(first["weights"][name] - tensor).abs().mean() for name, tensor in weights(whole).items()]
    assert max(difference) < 0.02 * settings.learning_rate
    logged, expected = log_of(tmp_path / "two"), log_of(tmp_path / "one")
    for name in ("token", "box", "centerness"):
        assert [r[name] for r in logged] == pytest.approx([r[name] for r in expected], abs=2e-4)


def test_bfloat16(tmp_path, data):
    # Not of 64 x 64: PyTorch 2.15's bfloat16 convolution of a 1 x 1 map (P6 to P7) reads memory that nobody wrote.
    build_trainer(tmp_path / "float", data, replace(SETTINGS, steps=1), side=128).run()
    AcceleratorState._reset_state()
    half = build_trainer(tmp_path / "half", data, replace(SETTINGS, steps=1, precision="bf16"), side=128)
    half.run()
    assert all(tensor.dtype == torch.float32 for tensor in weights(half).values())
    expected, found = log_of(tmp_path / "float")[0], log_of(tmp_path / "half")[0]
    assert found["token"] == pytest.approx(expected["token"], rel=0.05) and found["token"] != expected["token"]


# --- learning -------------------------------------------------------------------------------------------------------


def test_four_pictures_are_learned_by_heart(tmp_path):
    few = squares(tmp_path)
    settings = replace(SETTINGS, batch=4, steps=200, learning_rate=3e-3, language_rate=3e-3, warm_up=10, log_every=50)
    run = build_trainer(tmp_path / "run", few, settings)
    run.run()
    assert average_precision(run.state.average.model, few) == pytest.approx(1.0)


def squares(folder):
    """Four pictures of 64 x 64 with two coloured squares each, large enough for every one to have anchors."""
    colours = {"red": (200, 30, 30), "green": (30, 160, 50), "blue": (40, 60, 200), "yellow": (220, 210, 40)}
    with GroundingWriter(folder / "squares.jsonl", Header(tuple(f"{colour} square" for colour in colours))) as writer:
        for number, (left, right) in enumerate(
            (("red", "blue"), ("blue", "green"), ("yellow", "red"), ("green", "yellow"))
        ):
            image, boxes = (
                np.full((64, 64, 3), 128, np.uint8),
                ((3, 5 + 6 * number, 27, 29 + 6 * number), (34, 8, 62, 36)),
            )
            for colour, (x1, y1, x2, y2) in zip((left, right), boxes):
                image[y1:y2, x1:x2] = colours[colour]
            Image.fromarray(image).save(folder / f"{number}.png")
            found = tuple(Category(f"{c} square", (tuple(map(float, box)),)) for c, box in zip((left, right), boxes))
            writer.write(Record(f"{number}.png", 64, 64, categories=found))
    return folder / "squares.jsonl"


def average_precision(model, path, tokenizer=None):
    """AP50 of grounding each picture's own categories, all of one batch."""
    tokenizer, records = tokenizer or build_tokenizer(nano_vocabulary()), list(read_records(path))
    names = sorted({category.name for record in records for category in record.categories})
    truth = {"images": [], "categories": [{"id": n, "name": name} for n, name in enumerate(names)], "annotations": []}
    found = []
    for number, record in enumerate(records, 1):
        truth["images"].append({"id": number})
        for category in record.categories:
            for x1, y1, x2, y2 in category.boxes:
                box = [x1, y1, x2 - x1, y2 - y1]
                entry = {"image_id": number, "category_id": names.index(category.name), "bbox": box, "iscrowd": 0}
                truth["annotations"].append({**entry, "id": len(truth["annotations"]) + 1, "area": box[2] * box[3]})
        image = np.asarray(Image.open(path.parent / record.image))
        asked = [category.name for category in record.categories]
        with torch.no_grad():
            pyramid = model.image_encoder(pad(normalise(image))[None])
        detections: Detections
        (detections,) = ground(model, tokenizer, pyramid, image.shape[:2], [asked])
        found += [
            {"image_id": number, "category_id": names.index(asked[label]), "bbox": xywh(box), "score": float(score)}
            for box, score, label in zip(detections.boxes.tolist(), detections.scores, detections.labels)
        ]
    return mean_precision(coco_precision(truth, found))["AP50"]


def test_parameter_groups_by_rate_and_decay():
    trained = Trained(GLIP(TINY), AttributeProbes(TINY.channels, stages=2))
    groups = parameter_groups(trained, OFFICIAL)
    assert sum(len(group["params"]) for group in groups) == len(list(trained.parameters()))
    by_parameter = {id(p): (group["base_rate"], group["weight_decay"]) for group in groups for p in group["params"]}
    rates = {name: by_parameter[id(parameter)] for name, parameter in trained.named_parameters()}
    assert rates["model.text_encoder.bert.embeddings.word_embeddings.weight"] == (1e-5, 1e-4)
    assert rates["model.text_encoder.bert.embeddings.LayerNorm.weight"] == (1e-5, 0.0)
    # The tower's own BERT layers learn as fast as the rest, as in official's.
    assert rates["model.tower.layers.0.text_layer.bert_layer.output.dense.weight"] == (1e-4, 1e-4)
    assert rates["model.image_encoder.swin.patch_embed.proj.bias"] == (1e-4, 0.0)


def test_schedules():
    cosine = replace(NANO_SETTINGS, warm_up=200)
    assert rate_at(cosine, 1e-3, 0, 0.0) == pytest.approx(1e-3 / 200)
    assert rate_at(cosine, 1e-3, 10_000, 0.5) == pytest.approx((1e-3 + 1e-5) / 2)
    assert rate_at(cosine, 1e-3, 10_000, 1.0) == pytest.approx(1e-5)
    assert [rate_at(OFFICIAL, 1e-4, 10_000, p) for p in (0.0, 0.66, 0.67, 0.9)] == pytest.approx(
        [1e-4, 1e-4, 1e-5, 1e-6]
    )
    assert rate_at(OFFICIAL, 1e-4, 999, 0.1) == pytest.approx(0.5e-4)
    assert sources.scene_side(0.0) == 128 and sources.scene_side(1.0) == 256
    assert sources.simple_share(0.0) == 1 > sources.simple_share(0.1) > sources.simple_share(0.5) > 0


def test_the_average_remembers_little_at_first(tmp_path, data):
    run = build_trainer(tmp_path, data, replace(SETTINGS, steps=1, ema=0.999))
    before = {name: tensor.clone() for name, tensor in run.state.average.model.state_dict().items()}
    run.run()
    after, trained = run.state.average.model.state_dict(), run.state.trained.model.state_dict()
    name = "head.bbox_pred.weight"
    # Of the first step nine tenths are taken over: (1 + 0) / (10 + 0) is what stays.
    assert torch.allclose(after[name], before[name] * 0.1 + trained[name] * 0.9)


# --- what goes wrong ------------------------------------------------------------------------------------------------


class Broken:
    """A source whose third step has a pixel that is no number."""

    def __init__(self, source):
        self.source, self.records, self.describe = source, source.records, source.describe

    def open(self, *arguments):
        self.reader = self.source.open(*arguments)
        self.step = 0
        return self

    def next(self, progress):
        (batch,) = self.reader.next(progress)
        self.step += 1
        if self.step == 3:
            batch.pixels[1, 0, 5, 5] = math.nan
            self.culprit, self.other = batch.names[1], batch.names[0]
        return [batch]


def test_what_is_not_finite_stops_before_the_weights(tmp_path, data):
    run = build_trainer(tmp_path, data, SETTINGS)
    run.source = Broken(run.source)
    with pytest.raises(TrainingError, match="step 3 is not finite") as error:
        run.run()
    assert f"suspects: {run.source.culprit}. The weights are those before" in str(error.value)
    report = json.loads((tmp_path / "not_finite.0.json").read_text())
    assert report["step"] == 3 and report["suspects"] == [run.source.culprit]
    assert report["records"] == [run.source.other, run.source.culprit] and math.isnan(report["losses"]["token"])
    two_steps = build_trainer(tmp_path / "good", data, replace(SETTINGS, keep_every=2))
    two_steps.run()
    good = torch.load(tmp_path / "good" / "state-2.pt", weights_only=True)["trained"]
    equal(run.state.trained.state_dict(), good)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    equal(saved["trained"], good)
    assert saved["step"] == 2


def test_records_that_cannot_be_used_are_counted(tmp_path, data):
    bad = data.with_name("bad.jsonl")
    bad.write_text(data.read_text() + '{"image": "x.png"}\n')
    build_trainer(tmp_path, bad, replace(SETTINGS, steps=5)).run()
    assert log_of(tmp_path)[-1]["skipped"] == 1
    (line,) = (tmp_path / "skipped.0.jsonl").read_text().splitlines()
    assert json.loads(line)["line"] == 10 and "width is None" in json.loads(line)["reason"]


# --- the command ----------------------------------------------------------------------------------------------------


def run_command(*options):
    """The command in this process, instead of ones that it starts."""
    arguments = train.parse_arguments([str(option) for option in options])
    train.check_arguments(arguments)
    arguments.out.mkdir(exist_ok=True)
    train._run(arguments)


def test_fine_tuning_from_a_checkpoint(tmp_path, data):
    vocabulary = nano_vocabulary()
    checkpoint = tmp_path / "glip.pth"
    torch.manual_seed(0)
    save_checkpoint(GLIP(replace(TINY, text=replace(TINY.text, vocab_size=len(vocabulary)))), checkpoint)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    options = [tmp_path / "run", "--init", checkpoint, "--text-heads", TINY.text.heads, "--data", data, "--cpu"]
    sizes = ["--short-sides", 64, "--long-side", 128, "--batch", 3, "--log-every", 1, "--tensorboard"]
    run_command(*options, *sizes, "--epochs", 1)
    # Eight records make three steps of three.
    assert [record["step"] for record in log_of(tmp_path / "run")] == [1, 2, 3]
    model = load_checkpoint(tmp_path / "run" / "model.pth", text_heads=TINY.text.heads)
    assert model.config.backbone == TINY.backbone
    assert model.recommended == Recommended(64, 128, shared_target=True)
    assert (tmp_path / "run" / "vocab.txt").read_text().split() == vocabulary
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    run_command(*options, *sizes, "--epochs", 1.3)
    assert [record["step"] for record in log_of(tmp_path / "run")] == [1, 2, 3, 4]


def test_a_run_takes_the_sizes_and_the_target_of_its_checkpoint(tmp_path, data, capsys):
    model = GLIP(replace(TINY, text=replace(TINY.text, vocab_size=len(nano_vocabulary()))))
    model.recommended = Recommended(64, 96, score_threshold=0.3, shared_target=False)
    save_checkpoint(model, tmp_path / "glip.pth")
    (tmp_path / "vocab.txt").write_text("\n".join(nano_vocabulary()))
    options = ["--init", tmp_path / "glip.pth", "--text-heads", TINY.text.heads, "--data", data, "--steps", 1, "--cpu"]
    run_command(tmp_path / "run", *options, "--batch", 1)
    assert capsys.readouterr().out == f"wrote {tmp_path / 'run' / 'model.pth'}\n"
    trained = load_checkpoint(tmp_path / "run" / "model.pth", text_heads=TINY.text.heads)
    assert trained.recommended == model.recommended

    def prepared(*others):
        return train.prepare(train.parse_arguments([str(option) for option in (tmp_path, *options, *others)]))

    setup = prepared()
    assert setup.settings == replace(OFFICIAL, steps=1, warm_up=0, shared_target=False)
    assert (setup.source.images.short_sides, setup.source.images.long_side) == ((64,), 96)
    # With the other target scores are of another scale.
    setup = prepared("--shared-target", "--short-sides", 32, 48, "--long-side", 64)
    assert setup.settings.shared_target
    assert setup.model.recommended == Recommended(48, 64, shared_target=True)


def test_rendered_scenes_from_scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "STAGES", ((0.0, 64),))
    options = ["--steps", 1, "--batch", 1, "--seed", 3, "--log-every", 1, "--cpu"]
    run_command(tmp_path, *options)
    (record,) = log_of(tmp_path)
    assert record["probes"] > 0 and record["short_side"] == 64
    model = load_checkpoint(tmp_path / "model.pth", text_heads=NANO.text.heads)
    assert model.config == replace(NANO, text=replace(NANO.text, vocab_size=len(nano_vocabulary())))
    assert model.recommended == Recommended(64, 96, shared_target=False)
    # The recipe `nano`: what the first step of seed 3 has always seen.
    assert record["token"] == pytest.approx(2.8861, abs=2e-3) and record["box"] == pytest.approx(1.8087, abs=2e-3)


def test_workers_render_the_same_scenes_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "STAGES", ((0.0, 64), (0.5, 96)))
    options = ["--steps", 4, "--batch", 1, "--accumulate", 2, "--log-every", 1, "--cpu"]
    for workers in (0, 2):
        run_command(tmp_path / str(workers), *options, "--workers", workers)
        AcceleratorState._reset_state()
    assert losses_of(tmp_path / "2") == losses_of(tmp_path / "0")
    assert [record["short_side"] for record in log_of(tmp_path / "2")] == [64, 64, 96, 96]


def test_scenes_go_on_from_a_checkpoint_of_their_world(tmp_path):
    options = ["--steps", 1, "--batch", 1, "--log-every", 1, "--cpu"]
    run_command(tmp_path / "first", *options, "--short-sides", 64)
    checkpoint = tmp_path / "first" / "model.pth"
    sizes, begin = ["--short-sides", 96, 64], ["--init", checkpoint, "--text-heads", NANO.text.heads]
    go_on = [*options, *begin, *sizes, "--steps", 3, "--first-step", 1]
    run_command(tmp_path / "second", *go_on)
    first, second = (
        load_checkpoint(run / "model.pth", NANO.text.heads) for run in (checkpoint.parent, tmp_path / "second")
    )
    assert [record["step"] for record in log_of(tmp_path / "second")] == [2, 3]
    assert {record["short_side"] for record in log_of(tmp_path / "second")} <= {64, 96}
    drift = [(a - b).abs().max() for a, b in zip(first.parameters(), second.parameters())]
    # Two steps of warm-up: near the first run's weights, which a new model would not be.
    assert 0 < max(drift) < 0.01
    with pytest.raises(TrainingError, match="is not that of the world 'mixed'"):
        run_command(tmp_path / "third", *go_on, "--world", "mixed")


def test_a_world_brings_its_words_model_and_probes(tmp_path):
    setup = train.prepare(train.parse_arguments([str(tmp_path), "--steps", "1", "--world", "mixed"]))
    assert setup.vocabulary == mixed_vocabulary() != nano_vocabulary()
    assert setup.model.config == NANO_MIXED
    assert setup.probes.classes == [len(values) for values in WORLDS["mixed"].attributes.values()]
    assert setup.source.describe() == {"data": "scenes of mixed"}


def test_the_model_stays_under_four_million_parameters():
    assert sum(parameter.numel() for parameter in GLIP(NANO).parameters()) < 4_000_000


@pytest.mark.parametrize(
    "options, message",
    [
        (["--epochs", "1"], "rendered scenes have no epochs"),
        (["--steps", "1", "--init", "x.pth", "--data", "y", "--no-fusion"], "a checkpoint has fusion or not"),
        (["--steps", "1", "--precision", "fp16", "--cpu"], "fp16 needs a GPU"),
        (["--steps", "0"], "--steps is 0: give a number above 0"),
        (["--steps", "1", "--batch", "-2"], "--batch is -2"),
        (["--steps", "9", "--first-step", "5"], "--first-step is 5: it needs the weights to go on with"),
        (["--steps", "5", "--init", "x.pth", "--first-step", "5"], "--first-step is 5"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        train.main([str(tmp_path / "run"), *options])
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_that_is_missing_or_too_large(tmp_path, data):
    checkpoint = tmp_path / "glip.pth"
    save_checkpoint(GLIP(TINY), checkpoint)
    parse = lambda *options: train.parse_arguments(
        [str(tmp_path), "--steps", "1", "--init", str(checkpoint), "--data", str(data), "--text-heads", "2", *options]
    )
    with pytest.raises(TrainingError, match="vocab.txt cannot be read: give the model's with --vocab"):
        train.prepare(parse())
    (tmp_path / "large.txt").write_text("\n".join([*nano_vocabulary(), *(f"word{n}" for n in range(99))]))
    with pytest.raises(TrainingError, match="tokens, the model knows"):
        train.prepare(parse("--vocab", str(tmp_path / "large.txt")))


def test_settings_are_the_recipes_unless_given():
    parse = lambda *options: train._with_options(OFFICIAL, train.parse_arguments(["out", "--steps", "7", *options]))
    assert parse() == replace(OFFICIAL, steps=7)
    changed = parse("--learning-rate", "0.5", "--no-shared-target", "--ema", "0")
    assert (changed.learning_rate, changed.shared_target, changed.ema) == (0.5, False, 0.0)
    assert {name for name in vars(Settings()) if name not in Settings().resumable()} == {
        "steps", "minutes", "batch", "accumulate", "log_every", "save_minutes", "keep_every"
    }  # fmt: skip


def test_a_run_of_minutes_ends(tmp_path, data, monkeypatch):
    clock = iter(np.arange(0, 1000, 10.0))
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    run = build_trainer(tmp_path, data, replace(SETTINGS, steps=None, minutes=1))
    run.run()
    progress = [record["progress"] for record in log_of(tmp_path)]
    assert progress[0] == 0 and progress == sorted(progress) and 1 <= run.state.seconds / 60 < 1.5
