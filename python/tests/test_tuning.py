"""Tuning, on a GLIP and pictures small enough that a whole run takes less than a second."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from test_checkpoint import TINY

from glip_torch import tune
from glip_torch.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from glip_torch.config import GLIPConfig, Recommended, level_sizes
from glip_torch.model import GLIP
from glip_torch.postprocess import Detections
from glip_torch.tokenizer import SPECIAL_TOKENS, build_tokenizer
from glip_torch.tuning import TuningError, loop
from glip_torch.tuning.coco import read_coco
from glip_torch.tuning.examples import Example, batches, examples_of, targets_of
from glip_torch.tuning.learned_prompt import read_learned_prompt, write_learned_prompt
from glip_torch.tuning.methods import METHODS
from glip_torch.tuning.optimizer import rate_and_decay
from glip_torch.tuning.phrases import Category, build_prompt, clean_name, read_categories
from glip_torch.tuning.settings import Settings
from glip_torch.tuning.shots import draw_shots, first_images
from glip_torch.tuning.stopping import StopRule

VOCABULARY = [*SPECIAL_TOKENS, ".", "a", "red", "cell", "circle", "ü", "##ü", "on", "glass"]
WITHOUT_FUSION = GLIPConfig(**{**vars(TINY), "fusion": None})
CLOSED_GATES = replace(TINY, fusion=replace(TINY.fusion, gated=True))


pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_model(config=TINY):
    torch.manual_seed(0)
    model = GLIP(config).eval()
    with torch.no_grad():
        # Far from its initial values, whose scores are all below what is counted as a detection.
        model.head.bias0.fill_(-1.0)
        model.head.dot_product_projection_text.weight.mul_(4)
    return model


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """A checkpoint, its vocabulary, and a data set of six pictures: each has a cell, every other one a circle too."""
    folder = tmp_path_factory.mktemp("tuning") / "files"
    (folder / "images").mkdir(parents=True)
    save_checkpoint(tiny_model(), folder / "tiny.pth")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    images, annotations = [], []
    for number in range(6):
        picture = np.full((60, 64, 3), 90, np.uint8)
        for category, (x, y, colour) in enumerate([(4, 8, (220, 30, 30)), (34, 20, (30, 30, 220))], 1):
            if category == 1 or number % 2:
                picture[y : y + 24, x : x + 24] = colour
                annotations.append({"image_id": number, "category_id": category * 10, "bbox": [x, y, 24, 24]})
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 60})
    for number, annotation in enumerate(annotations):
        annotation |= {"id": number + 1, "area": 576, "iscrowd": 0}
    categories = [{"id": 20, "name": "circle"}, {"id": 10, "name": "red_cell"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "data.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def files(originals, tmp_path):
    """A copy to work in."""
    return shutil.copytree(originals, tmp_path / "files")


def data(files):
    return read_coco(files / "data.json", files / "images")


def edited(files, edit):
    """The data set after an edit of its JSON."""
    content = json.loads((files / "data.json").read_text())
    edit(content)
    (files / "data.json").write_text(json.dumps(content))
    return files


#: What the command needs and does not read before it is asked to.
DATA = ["--train", "t.json", "--val", "v.json", "--test", "t.json", "--images", "images"]


def arguments(files, out, *options):
    annotations = [part for split in ("train", "val", "test") for part in (f"--{split}", str(files / "data.json"))]
    sizes = [
        "--short-side",
        "60",
        "--long-side",
        "64",
        "--epochs",
        "1",
        "--max-tokens",
        "32",
        "--validation-images",
        "2",
    ]
    chosen = [] if "--method" in options else ["--method", "prompt"]
    where = [str(files / "tiny.pth"), str(files / out), "--images", str(files / "images")]
    return [*where, *annotations, *sizes, *chosen, *options]


def run(files, out, *options):
    return tune.tune(tune.parse_arguments(arguments(files, out, *options)))


def tuner(files, method="prompt", config=TINY, **settings):
    settings = Settings(method=method, short_side=60, long_side=64, **settings).resolved()
    all_of_it = data(files)
    tokenizer = build_tokenizer(files / "vocab.txt")
    prompt = build_prompt(all_of_it.categories, read_categories(None, all_of_it.categories), tokenizer, 32)
    return loop.Tuner(tiny_model(config), prompt, loop.Splits(all_of_it, all_of_it, all_of_it), settings, files / "out")


def outputs(output):
    return torch.cat([output.logits.flatten(), output.deltas.flatten(), output.centerness.flatten()])


# --- methods --------------------------------------------------------------------------------------------------------

HEAD = ["bbox_pred.weight", "bbox_pred.bias", "centerness.weight", "centerness.bias", "log_scale", "bias_lang", "bias0"]
HEAD += ["dot_product_projection_text.weight", "dot_product_projection_text.bias"]
BOTTOM = ("model.image_encoder.swin.patch_embed.", "model.image_encoder.swin.stages.0.")


def intended(method, names):
    return {
        "prompt": {"offset"},
        "linear": {f"model.head.{name}" for name in HEAD},
        "full": {name for name in names if not name.startswith(BOTTOM)},
    }[method]


@pytest.mark.parametrize("config", [TINY, WITHOUT_FUSION], ids=["fused", "without fusion"])
@pytest.mark.parametrize("method", METHODS)
def test_exactly_the_intended_parameters_are_trained(files, method, config):
    self = tuner(files, method, config)
    names = {name for name, _ in self.method.named_parameters()} - {"offset"}
    before = {name: tensor.detach().clone() for name, tensor in self.method.named_parameters()}
    self._step([0, 1])
    after = dict(self.method.named_parameters())
    wanted = intended(method, names)
    assert {name for name, _ in self.method.trained()} == wanted
    assert {name for name, tensor in after.items() if tensor.grad is not None} == wanted
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    # A key's bias shifts all scores of a softmax alike: its gradient is zero, or what rounding leaves of it.
    assert changed <= wanted and len(wanted - changed) <= 0.1 * len(wanted)
    assert {"offset"} <= changed or {"model.head.bias0", "model.head.bbox_pred.weight"} <= changed


@pytest.mark.parametrize(
    "config", [TINY, WITHOUT_FUSION, CLOSED_GATES], ids=["fused", "without fusion", "closed gates"]
)
@pytest.mark.parametrize("method", METHODS)
def test_before_tuning_the_outputs_are_the_models(files, method, config):
    self = tuner(files, method, config)
    pixels = torch.randn(2, 3, 64, 64)
    ids = torch.tensor([self.prompt.input_ids] * 2)
    with torch.no_grad():
        expected = tiny_model(config)(pixels, ids, torch.ones_like(ids))
        torch.testing.assert_close(outputs(self.method(*self.method.freeze(pixels))), outputs(expected))


@torch.no_grad()
def test_where_gates_are_closed_a_prompt_needs_the_tower_once(files):
    method, pixels = tuner(files, "prompt", CLOSED_GATES).method, torch.randn(2, 3, 64, 64)
    method.offset.normal_()
    once = outputs(method(*method.freeze(pixels)))
    assert not method.tower_reads
    method.tower_reads = True
    torch.testing.assert_close(outputs(method(*method.freeze(pixels))), once)
    assert tuner(files, "prompt").method.tower_reads


def test_rates_are_official_ones_by_official_names():
    settings = Settings(method="full").resolved()
    assert rate_and_decay("rpn.head.log_scale", settings) == (1e-4, 0.05)
    assert rate_and_decay("backbone.body.layers.1.blocks.0.attn.relative_position_bias_table", settings) == (2e-4, 0)
    assert rate_and_decay("language_backbone.body.model.encoder.layer.0.output.dense.weight", settings) == (1e-5, 0.05)
    assert rate_and_decay("language_backbone.body.model.encoder.layer.0.output.dense.bias", settings) == (2e-5, 0)
    settings = Settings(method="prompt").resolved()
    assert rate_and_decay("rpn.head.tunable_linear.weight", settings) == (0.05, 0.25)


def test_patience_and_copies_follow_the_shots():
    few, everything = Settings(shots=3).resolved(), Settings().resolved()
    assert (few.copies, few.step_patience, few.stop_patience) == (4, 3, 8)
    assert (everything.copies, everything.step_patience, everything.stop_patience) == (1, 2, 4)
    assert Settings(shots=3, copies=7, stop_patience=2).resolved().copies == 7


# --- what is learned ------------------------------------------------------------------------------------------------


def test_a_learned_prompt_gives_the_outputs_of_the_tuned_model(files):
    self = tuner(files, epochs=1)
    result = self.run()
    learned = read_learned_prompt(files / "out" / "prompt.safetensors")
    untuned = tiny_model()
    assert learned.model == fingerprint(untuned) == result["model"]
    assert learned.text == "red cell. circle" and learned.attention_mask.tolist() == [1] * len(learned.hidden)
    assert [(phrase.label, phrase.text, phrase.tokens) for phrase in learned.phrases] == [
        ("red_cell", "red cell", (1, 2)),
        ("circle", "circle", (4,)),
    ]
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        tuned = self.method(*self.method.freeze(pixels))
        pyramid = untuned.image_encoder(pixels)
        again = untuned.head(*untuned.fuse(pyramid, learned.hidden[None], learned.attention_mask[None]))
        ids = torch.tensor([self.prompt.input_ids])
        before = untuned(pixels, ids, torch.ones_like(ids))
    torch.testing.assert_close(outputs(again), outputs(tuned))
    assert (outputs(tuned) - outputs(before)).abs().max() > 0.1


@pytest.mark.parametrize("method", ["linear", "full"])
def test_a_tuned_model_is_an_official_checkpoint(files, method):
    self = tuner(files, method, epochs=1)
    self.run()
    model = load_checkpoint(files / "out" / "model.pth")
    for name, tensor in self.method.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert fingerprint(model) != fingerprint(tiny_model())


def test_spans_of_a_learned_prompt_are_in_bytes(files):
    tokenizer = build_tokenizer(files / "vocab.txt")
    prompt = build_prompt(["x", "y"], [Category("ü cell", "ü ", " ü"), Category("red")], tokenizer, 32)
    states = torch.zeros(len(prompt.input_ids), 4)
    write_learned_prompt(files / "prompt.safetensors", prompt, states, states, "model")
    with safe_open(files / "prompt.safetensors", "pt") as file:
        metadata = file.metadata()
    entries = json.loads(metadata["phrases"])
    text = metadata["text"].encode()
    assert [text[slice(*entry["spans"][0])].decode() for entry in entries] == ["ü cell", "red"]
    assert [entry["index"] for entry in entries] == [0, 1]
    assert read_learned_prompt(files / "prompt.safetensors").phrases == prompt.phrases


def test_what_is_not_finite_is_not_written(files):
    prompt = build_prompt(["red"], [Category("red")], build_tokenizer(files / "vocab.txt"), 32)
    states = torch.full((len(prompt.input_ids), 4), float("nan"))
    with pytest.raises(TuningError, match="lower learning rate"):
        write_learned_prompt(files / "prompt.safetensors", prompt, states, states, "model")
    assert not list(files.glob("prompt*"))


def test_files_that_are_no_learned_prompts_are_refused(files):
    with pytest.raises(TuningError, match="cannot be read as safetensors"):
        read_learned_prompt(files / "vocab.txt")
    save_file({"hidden": torch.zeros(1)}, files / "other.safetensors")
    with pytest.raises(TuningError, match="no learned prompt"):
        read_learned_prompt(files / "other.safetensors")


def test_the_best_epoch_is_the_one_that_is_kept(files, monkeypatch):
    scores = iter([0.1, 0.3, 0.2])
    self = tuner(files, epochs=3)
    offsets = []

    def measure(*splits):
        offsets.append(self.method.offset.detach().clone())
        return {split: {"AP": next(scores, 0.0), "AP50": 0.0} for split in splits}

    monkeypatch.setattr(self, "_measure", measure)
    result = self.run(before={split: {"AP": 0.0, "AP50": 0.0} for split in ("val", "test")})
    assert result["best_epoch"] == 2 and [epoch["AP"] for epoch in result["curve"]] == [0.1, 0.3, 0.2]
    # Measured for a last time after the best epoch's offsets were put back.
    assert torch.equal(offsets[3], offsets[1]) and not torch.equal(offsets[2], offsets[1])


@pytest.mark.parametrize("joint_score", [False, True])
def test_tuning_lowers_the_loss(files, joint_score):
    self = tuner(files, joint_score=joint_score)
    losses = [self._step([0, 1])["token"] for _ in range(8)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("joint_score", [False, True])
def test_words_and_centerness_are_trained_apart_or_as_one_score(files, joint_score):
    self = tuner(files, "linear", joint_score=joint_score)
    output = self.method(*self.states["train"].batch([0, 1]))
    for value in vars(output).values():
        value.retain_grad()
    examples = self.states["train"].examples[:2]
    targets = targets_of(examples, [phrase.tokens for phrase in self.prompt.phrases], len(self.prompt.input_ids))
    losses = self._losses(output, targets, level_sizes(*examples[0].padded, self.method.model.config.strides))
    losses.token.backward()
    # Official's loss of the words knows nothing of centerness, which has one of its own.
    assert (output.centerness.grad is not None) == joint_score
    assert (losses.centerness.item() == 0) == joint_score


# --- shots ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_every_category_has_its_shots(files, shots):
    for seed in range(5):
        counts = draw_shots(data(files), shots, seed).boxes_per_category()
        assert min(counts[0], counts[1]) >= shots


def test_shots_are_a_function_of_the_seed(files):
    def drawn(seed):
        return [image.id for image in draw_shots(data(files), 2, seed).images]

    assert all(drawn(seed) == drawn(seed) for seed in range(5))
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


def test_no_image_is_drawn_that_adds_nothing(files):
    # One circle is needed, and a cell comes with it: a picture more at most, if one without a circle came first.
    assert all(len(draw_shots(data(files), 1, seed).images) <= 2 for seed in range(5))


def test_all_shots_are_the_whole_set(files):
    assert draw_shots(data(files), None, 0) == data(files)


def test_the_first_images_are_the_same_for_every_seed(files):
    some = first_images(data(files), 4)
    assert [image.id for image in some.images] == [image.id for image in first_images(data(files), 4).images]
    assert len(some.images) == 4 == len(some.source["images"])
    assert {a["image_id"] for a in some.source["annotations"]} == {image.id for image in some.images}


# --- stopping -------------------------------------------------------------------------------------------------------


def test_the_rule_slows_down_on_a_plateau_and_stops_after_worse_epochs():
    rule = StopRule(step_patience=1, stop_patience=3)
    curve = [(0.0, True), (0.2, True), (0.4, True), (0.4, True), (0.3, False), (0.39, False), (0.35, False)]
    seen = []
    for ap, best in curve:
        assert rule.update(ap) == best
        seen.append((rule.reductions, rule.stopped))
    # 0.4 again is as good as the best, but no improvement: the second epoch without one slows down, the third worse one stops.
    assert seen == [(0, False), (0, False), (0, False), (0, False), (1, False), (1, False), (2, True)]
    assert (rule.best, rule.best_epoch) == (0.4, 4)


def test_a_better_epoch_restores_the_patience():
    rule = StopRule(step_patience=5, stop_patience=2)
    for ap in (0.5, 0.4, 0.6, 0.5):
        rule.update(ap)
    assert not rule.stopped
    rule.update(0.5)
    assert rule.stopped and rule.best_epoch == 3


def test_a_rule_goes_on_from_its_state():
    rule = StopRule(2, 3)
    for ap in (0.1, 0.0, 0.05):
        rule.update(ap)
    again = StopRule(**rule.state())
    for both in (rule, again):
        both.update(0.02)
    assert again == rule and again.stopped


# --- runs -----------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def test_a_resumed_run_ends_as_if_it_had_never_stopped(files, monkeypatch):
    whole = run(files, "whole", "--epochs", "3")
    epoch = loop.Tuner._epoch

    def stop_in_the_third_epoch(self):
        if self.rule.epoch == 2:
            raise Interrupted
        epoch(self)

    monkeypatch.setattr(loop.Tuner, "_epoch", stop_in_the_third_epoch)
    with pytest.raises(Interrupted):
        run(files, "parts", "--epochs", "3")
    assert [path.name for path in (files / "parts").iterdir()] == ["state.pt"]
    monkeypatch.setattr(loop.Tuner, "_epoch", epoch)
    resumed = run(files, "parts", "--epochs", "3")
    for result in (whole, resumed):
        del result["seconds"]
    assert resumed == whole
    assert sorted(path.name for path in (files / "parts").iterdir()) == ["prompt.safetensors", "result.json"]
    ours, theirs = (read_learned_prompt(files / out / "prompt.safetensors") for out in ("parts", "whole"))
    assert torch.equal(ours.hidden, theirs.hidden)


def test_a_run_is_not_gone_on_with_other_settings(files, monkeypatch):
    self = tuner(files)
    self.out.mkdir()
    self.before = {"val": {}, "test": {}}
    self._save()
    with pytest.raises(TuningError, match=r"another batch 4: give the same again"):
        tuner(files, batch=2).run()


def test_the_result_says_what_was_measured(files):
    result = run(files, "out", "--shots", "2", "--seed", "1", "--token-target", "one", "--joint-score")
    assert json.loads((files / "out" / "result.json").read_text()) == result
    assert (result["method"], result["shots"], result["seed"]) == ("prompt", 2, 1)
    assert result["settings"]["learning_rate"] == 0.05 and not result["settings"]["shared_target"]
    assert result["settings"]["joint_score"] and {epoch["centerness"] for epoch in result["curve"]} == {0}
    assert result["images"]["test"] == 6 and result["boxes"]["test"] == 9
    assert result["trained_parameters"] == len(build_tokenizer(files / "vocab.txt").encode(result["prompt"]).ids) * 64
    for measured in (result["before"], result["after"]):
        assert set(measured) == {"val", "test"} and 0 <= measured["test"]["AP"] <= measured["test"]["AP50"] <= 1
    assert len(result["curve"]) == result["epochs"] == 1


def test_sizes_and_target_are_the_checkpoints_unless_given_and_go_into_the_tuned_one(files):
    model = tiny_model()
    model.recommended = Recommended(50, 60, score_threshold=0.3, shared_target=False)
    save_checkpoint(model, files / "tiny.pth")

    def settings(*options):
        chosen = tune.parse_arguments(["tiny.pth", "out", "--method", "linear", *DATA, *options])
        return tune.settings_of(chosen, load_checkpoint(files / "tiny.pth").recommended)

    assert (settings().short_side, settings().long_side, settings().shared_target) == (50, 60, False)
    given = settings("--short-side", "40", "--token-target", "shared")
    assert (given.short_side, given.long_side, given.shared_target) == (40, 60, True)
    unknown = tune.settings_of(tune.parse_arguments(["tiny.pth", "out", "--method", "linear", *DATA]), Recommended())
    assert unknown == Settings(method="linear").resolved()
    assert (unknown.short_side, unknown.long_side, unknown.shared_target) == (800, 1333, True)

    run(files, "out", "--method", "linear")
    assert load_checkpoint(files / "out" / "model.pth").recommended == Recommended(60, 64, 0.3, shared_target=False)


@pytest.mark.parametrize("method, file", [("prompt", "prompt.safetensors"), ("linear", "model.pth")])
def test_the_command_ends_with_what_it_wrote(files, capsys, method, file):
    assert tune.main(arguments(files, "out", "--method", method)) == 0
    assert capsys.readouterr().out.endswith(f"wrote {files / 'out' / file}\n")
    assert (files / "out" / file).exists()


def test_a_result_is_kept_unless_told(files, capsys):
    (files / "out").mkdir()
    (files / "out" / "result.json").write_text("{}")
    assert tune.main(arguments(files, "out")) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (files / "out" / "result.json").read_text() == "{}"
    (files / "out" / "model.pth").write_text("of another method")
    assert tune.main(arguments(files, "out", "--overwrite")) == 0
    assert json.loads((files / "out" / "result.json").read_text())["method"] == "prompt"
    assert not (files / "out" / "model.pth").exists()


def test_a_loss_that_is_not_finite_ends_the_run(files):
    self = tuner(files)
    with torch.no_grad():
        self.method.offset.fill_(float("nan"))
    with pytest.raises(TuningError, match=r"the loss is nan in epoch 1: tune with a lower learning rate than 0.05"):
        self._epoch()


# --- data -----------------------------------------------------------------------------------------------------------


def test_boxes_go_to_the_networks_pixels_and_back(files):
    (example, *_) = examples_of(data(files), 30, 64)
    assert example.size == (32, 30) and example.padded == (32, 32)
    # 4, 8 with 24 x 24 pixels: the last ones are 27 and 31.
    assert example.boxes.tolist() == [[2.0, 4.0, 13.5, 15.5]]
    back = example.to_original(Detections(example.boxes, torch.ones(1), torch.zeros(1)))
    assert back.boxes.tolist() == [[4.0, 8.0, 27.0, 31.0]]


def test_a_batch_is_of_one_size(files):
    image = data(files).images[0]
    sizes = [(64, 60), (32, 32), (64, 64), (64, 60), (32, 30)]
    examples = [Example(image, size) for size in sizes]
    assert list(batches(examples, [4, 3, 2, 1, 0], 2)) == [[3, 2], [4, 1], [0]]


def test_crowds_and_boxes_without_area_are_left_out(files):
    def edit(content):
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1]["bbox"][2] = 0

    assert data(edited(files, edit)).box_count == data(files).box_count == 7


def test_images_without_boxes_are_learned_from_too(files):
    def edit(content):
        content["annotations"] = content["annotations"][:2]

    self = tuner(edited(files, edit))
    assert self._step([4, 5])["box"] == 0 and self._step([4, 5])["token"] > 0


def test_only_the_names_tokens_are_the_phrases(files):
    tokenizer = build_tokenizer(files / "vocab.txt")
    prompt = build_prompt(["red_cell"], [Category("cell", "a red ", " on glass")], tokenizer, 32)
    assert prompt.text == "a red cell on glass"
    assert [tokenizer.id_to_token(prompt.input_ids[token]) for token in prompt.phrases[0].tokens] == ["cell"]


def test_names_are_cleaned_as_official_does():
    assert clean_name("baseball_bat_(sports)") == "baseball bat"


@pytest.mark.parametrize("name", ["prompts.json", "prompts.yaml"])
def test_prompt_files_have_a_name_and_perhaps_context(files, name):
    content = '- {name: cell, prefix: "a ", suffix: " on glass"}\n- name: circle\n'
    entries = [{"name": "cell", "prefix": "a ", "suffix": " on glass"}, {"name": "circle"}]
    (files / name).write_text(content if name.endswith("yaml") else json.dumps(entries))
    assert run(files, "out", "--prompts", str(files / name))["prompt"] == "a cell on glass. circle"


@pytest.mark.parametrize(
    "content, message",
    [
        ("[{}, {}]", "entry 1: no name"),
        ('[{"name": "a"}]', "1 entries for 2 categories"),
        ('[{"name": "a", "sufix": ""}, {"name": "b"}]', "entry 1: unknown"),
        ('[{"name": 3}, {"name": "b"}]', "entry 1: not an object of texts"),
        ('{"name": "a"}', "not a list"),
        ("[", "cannot be read"),
    ],
)
def test_prompt_files_that_cannot_be_are_refused(files, content, message):
    (files / "prompts.json").write_text(content)
    with pytest.raises(TuningError, match=message):
        read_categories(files / "prompts.json", ["x", "y"])


def drop(key):
    return lambda content: content.pop(key)


def test_what_is_left_out_of_the_data_is_told(files, capsys):
    def edit(content):
        content["annotations"][0]["bbox"][0] = float("nan")
        content["annotations"][1].update(image_id=99)
        content["categories"].append({"id": 0, "name": "things", "supercategory": "none"})
        for category in content["categories"][:2]:
            category["supercategory"] = "things"

    edited(files, edit)
    assert data(files).categories == ("red_cell", "circle") and data(files).box_count == 7
    run(files, "out")
    error = capsys.readouterr().err
    assert "data.json: left out: annotation 1: malformed (bbox is [NaN,8,24,24]" in error
    assert "data.json: left out: annotation 2: unknown image (99)" in error


@pytest.mark.parametrize(
    "edit, options, message",
    [
        (lambda c: c["images"][2].update(file_name="none.png"), [], "1 of 6 images are missing"),
        (lambda c: c["images"][2].update(width=70), [], "2.png is 64 x 60, but listed as 70 x 60"),
        (lambda c: c["categories"].append({"id": 30, "name": "bolt"}), [], "category 'bolt' has 0 boxes"),
        (lambda c: c.update(annotations=[]), [], "has no boxes in 6 images"),
        (lambda c: c.update(categories=[]), [], "has no categories"),
        (drop("annotations"), [], "has no list of annotations"),
        (
            lambda c: c["images"][2].update(width=None, file_name="../vocab.txt"),
            [],
            "does not say the size of .*vocab.txt",
        ),
        (None, ["--method", "magic"], "unknown method 'magic': known are prompt, linear, full"),
        (None, ["--shots", "4"], "category 'circle' has 3 boxes in the training set, and 4 are needed"),
        (None, ["--shots", "few"], "--shots few"),
        (None, ["--max-tokens", "5"], "2 categories has 6 tokens, more than the limit of 5"),
        (None, ["--learning-rate", "0"], "learning_rate 0.0 is not positive"),
        (None, ["--short-side", "90"], "do not make a size"),
        (None, ["--threads", "0"], "--threads 0 is not positive"),
        (None, ["--train", "none.json"], "none.json does not exist"),
        (None, ["--train", "vocab.txt"], "is no JSON"),
        (None, ["--text-heads", "7"], "7 text heads do not divide"),
        (lambda c: c["categories"][0].update(name="?"), ["--vocab", "letters.txt"], "lacks"),
    ],
)
def test_what_cannot_be_tuned_with_is_refused(files, capsys, monkeypatch, edit, options, message):
    monkeypatch.chdir(files)
    (files / "letters.txt").write_text("a\nb\n")
    if edit is not None:
        edited(files, edit)
    assert tune.main(arguments(files, "out", *options)) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: ")
    assert re.search(message, error), error
    assert not list((files / "out").glob("*"))


def test_a_picture_that_cannot_be_read_is_named(files):
    (files / "images" / "2.png").write_text("no picture")
    with pytest.raises(TuningError, match=r"image .*2.png cannot be read"):
        run(files, "out")


def test_splits_must_agree_on_the_categories(files):
    content = json.loads((files / "data.json").read_text())
    content["categories"][0]["name"] = "disc"
    (files / "other.json").write_text(json.dumps(content))
    with pytest.raises(TuningError, match="train and val list different categories"):
        run(files, "out", "--val", str(files / "other.json"))
