"""Where models come from: every form that weights are found in, and what is said of those that do not fit."""

import json
import re
import shutil
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_grounding_dino as tiny
import torch
from safetensors.torch import load_file, save_file
from test_checkpoint import GOLDEN
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino.modeling_grounding_dino import (
    generate_masks_with_special_tokens_and_transfer_map,
)

from glip_torch.checkpoint import fingerprint, load_checkpoint
from glip_torch.config import UNKNOWN, Recommended
from glip_torch.export import __main__ as command
from glip_torch.grounding_dino import variant
from glip_torch.sources import CheckpointError, mmdetection, open_source

BUILDERS = {"grounding-dino": tiny.grounding_dino, "mm-grounding-dino": tiny.mm_grounding_dino}


@pytest.fixture(scope="module")
def models():
    return {name: build() for name, build in BUILDERS.items()}


@pytest.fixture
def folder(tmp_path, models):
    """A Grounding DINO as `save_pretrained` writes it, with what lies beside it."""
    return saved(models["grounding-dino"], tmp_path / "model")


def saved(model, folder, **options):
    model.save_pretrained(folder, **options)
    (folder / "vocab.txt").write_text("\n".join(tiny.VOCABULARY) + "\n")
    processor = {"size": {"shortest_edge": 600, "longest_edge": 1000}, "image_mean": [0.485, 0.456, 0.406]}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\nlicense: none of it\n")
    return folder


def edit_config(folder, **entries):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))


def edit_tensors(folder, edit):
    state = load_file(folder / "model.safetensors")
    edit(state)
    save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")


def assert_alike(model, other):
    for ours, theirs in zip(tiny.outputs(model), tiny.outputs(other)):
        assert torch.equal(ours, theirs)


def refusal(source, text_heads=None):
    with pytest.raises(CheckpointError) as error:
        open_source(str(source), text_heads)
    return str(error.value)


# Hugging Face folders


@pytest.mark.parametrize("name", BUILDERS)
def test_a_folder_gives_the_model_that_was_saved(tmp_path, models, name):
    source = open_source(str(saved(models[name], tmp_path / name)))
    assert type(source.model) is type(models[name]) and not source.model.training
    assert_alike(source.model, models[name])
    assert {parameter.dtype for parameter in source.model.parameters()} == {torch.float32}


def test_what_lies_beside_the_weights_is_found(folder):
    source = open_source(str(folder))
    assert (source.weights, source.licence, source.resize) == ("model", "apache-2.0", (600, 1000))
    assert source.recommended == Recommended(600, 1000)
    assert source.tokenizer.encode("w5 w6. w7.").ids == tiny.PROMPT
    millions = sum(parameter.numel() for parameter in source.model.parameters()) / 1e6
    assert source.description == (
        "Grounding DINO of a Swin 8 wide and [1, 1, 2, 1] deep: a Hugging Face folder, "
        f"{millions:.1f} M parameters, from model"
    )


def test_nothing_beside_the_weights_is_needed(tmp_path, models):
    models["grounding-dino"].save_pretrained(tmp_path / "bare")
    source = open_source(str(tmp_path / "bare"))
    assert (source.tokenizer, source.licence, source.recommended) == (None, None, UNKNOWN)


def test_a_tokenizer_json_is_preferred_and_neither_pads_nor_truncates(folder):
    tokenizer = open_source(str(folder)).tokenizer
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("nonsense")
    assert open_source(str(folder)).tokenizer.encode("w5 w6. w7.").ids == tiny.PROMPT


@pytest.mark.parametrize(
    "name, content",
    [
        ("preprocessor_config.json", {"size": 600, "max_size": 1000}),
        ("processor_config.json", {"image_processor": {"size": {"shortest_edge": 600, "longest_edge": 1000}}}),
    ],
)
def test_sizes_are_found_where_older_and_newer_versions_put_them(folder, name, content):
    (folder / "preprocessor_config.json").unlink()
    (folder / name).write_text(json.dumps(content))
    assert open_source(str(folder)).resize == (600, 1000)


def test_other_pixel_means_are_refused(folder):
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5]}))
    assert "image_mean [0.5, 0.5, 0.5]: only [0.485, 0.456, 0.406] is exported" in refusal(folder)


def test_shards_old_files_and_half_precision_give_the_same_model(tmp_path, models):
    model = models["mm-grounding-dino"]
    sharded = saved(model, tmp_path / "sharded", max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    assert_alike(open_source(str(sharded)).model, model)
    old = saved(model, tmp_path / "old")
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    assert_alike(open_source(str(old)).model, model)
    edit_config(sharded, dtype="float16")
    assert open_source(str(sharded)).model.dtype == torch.float32


def test_shards_outside_the_folder_are_refused(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    assert "lists ['../model.safetensors'], which are no files of its folder" in refusal(folder)


def test_the_file_of_weights_stands_for_its_folder(folder):
    assert open_source(str(folder / "model.safetensors")).weights == "model"
    shutil.copy(folder / "model.safetensors", folder.parent / "alone.safetensors")
    assert "needs its config.json beside it" in refusal(folder.parent / "alone.safetensors")


def test_what_older_versions_saved_besides_is_let_pass(folder):
    def edit(state):
        block = "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention.self."
        state[block + "relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
        state["model.text_backbone.embeddings.position_ids"] = torch.arange(64)[None]
        for name in ("model.decoder.bbox_embed.0", "bbox_embed.1", "model.decoder.bbox_embed.1"):
            state |= {name + key[12:]: state[key] for key in list(state) if key.startswith("bbox_embed.0")}
        for name in [name for name in state if ".swin.layernorm." in name]:
            del state[name]

    before = open_source(str(folder)).model
    edit_tensors(folder, edit)
    assert_alike(open_source(str(folder)).model, before)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_decoders_heads_are_the_models_whatever_is_said_of_word_embeddings(tmp_path, models, name):
    folder = saved(models[name], tmp_path / name)
    edit_config(folder, tie_word_embeddings=False)
    assert_alike(open_source(str(folder)).model, models[name])


def test_heads_that_differ_where_they_should_be_one_are_named(folder):
    def edit(state):
        state |= {"bbox_embed.1" + key[12:]: 2 * state[key] for key in list(state) if key.startswith("bbox_embed.0")}

    edit_tensors(folder, edit)
    assert re.search(r"bbox_embed\.\d\.\S+ and bbox_embed\.\d\.\S+ differ, where config.json says", refusal(folder))


def test_missing_unexpected_and_misshapen_tensors_are_all_named(folder):
    def edit(state):
        del state["model.level_embed"]
        state["model.more.weight"] = torch.zeros(3)
        state["model.enc_output.bias"] = torch.zeros(5)

    edit_tensors(folder, edit)
    message = refusal(folder)
    for problem in (
        "missing: model.level_embed",
        "unexpected: model.more.weight",
        "misshapen: model.enc_output.bias is (5,), the architecture needs (32,)",
    ):
        assert problem in message


def test_early_conversions_of_llmdet_are_told_from_grounding_dino(folder):
    edit_tensors(folder, lambda state: state.update({"class_embed.0.bias": torch.zeros(1)}))
    assert "early conversion of LLMDet" in refusal(folder) and "iSEE-Laboratory/llmdet_tiny" in refusal(folder)


@pytest.mark.parametrize("model_type, name", [("owlv2", "OWLv2"), ("deformable_detr", "Deformable DETR"), ("x", "'x'")])
def test_other_architectures_of_transformers_are_named(folder, model_type, name):
    edit_config(folder, model_type=model_type)
    assert f"is of {name}, another architecture: give a model of GLIP" in refusal(folder)


def test_encoders_of_other_kinds_are_named(folder):
    edit_config(folder, text_config={"model_type": "roberta"})
    assert "an encoder is 'roberta', where every published model has 'bert'" in refusal(folder)


def test_quantised_weights_are_refused(folder):
    edit_config(folder, quantization_config={"quant_method": "bitsandbytes"})
    assert "the weights are quantised" in refusal(folder)


def test_a_configuration_cannot_ask_for_code(folder):
    before = open_source(str(folder)).model
    code = {"_attn_implementation": "nobody/kernels", "attn_implementation": "nobody/kernels", "auto_map": {"": "x.y"}}
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit_config(folder, **code, text_config=text | code)
    model = open_source(str(folder)).model
    assert model.config._attn_implementation == before.config._attn_implementation
    assert_alike(model, before)


def test_phrases_do_not_see_each_other(folder):
    """As they would by BERT's eager attention, which adds a mask of booleans to its scores."""
    model = open_source(str(folder)).model

    def encoded(other):
        ids = torch.tensor([[101, 5, 6, 1012, other, 1012, 102]])
        mask, positions = generate_masks_with_special_tokens_and_transfer_map(ids, model.model.special_tokens)
        with torch.no_grad():
            return model.model.text_backbone(ids, mask[:, None], torch.zeros_like(ids), positions).last_hidden_state[0]

    assert torch.equal(encoded(7)[:4], encoded(8)[:4]) and not torch.equal(encoded(7)[4], encoded(8)[4])


def test_the_head_count_of_a_folder_is_its_own(folder):
    assert open_source(str(folder), 3)
    assert "--text-heads 4: " in refusal(folder, 4)


def test_folders_without_a_model_say_what_is_missing(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert "config.json is missing" in refusal(tmp_path / "empty")
    shutil.copy(GOLDEN, tmp_path / "empty" / "glip.pth")
    assert f"give a file of it, {tmp_path / 'empty' / 'glip.pth'}" in refusal(tmp_path / "empty")
    (folder / "model.safetensors").unlink()
    assert "holds no weights: none of model.safetensors, " in refusal(folder)
    (folder / "config.json").write_text("{")
    assert "is the download complete?" in refusal(folder)


# The original projects' checkpoints


def golden(name):
    """Names and shapes of the original code's tensors, filled by their names as they were there, and what it gave."""
    case = json.loads((GOLDEN.parents[1] / f"grounding_dino_{name}.json").read_text())
    return {tensor: filled(tensor, shape) for tensor, shape in case["tensors"].items()}, case


def filled(name, shape):
    # The heads of all layers are one there, and held twice.
    name = re.sub(r".*bbox_embed\.\d+", "bbox_embed", name)
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    values = values * np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1 * values + name.endswith("weight")
    return torch.from_numpy(values.astype(np.float32))


def wrapped_original(state):
    unused = {"label_enc.weight": torch.zeros(5, 256), "bert.embeddings.position_ids": torch.arange(64)[None]}
    return {"model": {f"module.{name}": tensor for name, tensor in (state | unused).items()}}


def wrapped_mmdetection(state):
    unused = {
        "lmm.layers.0.weight": torch.zeros(3),
        "connector.0.bias": torch.zeros(3),
        "image_seperate.weight": torch.zeros(1),
    }
    return {"state_dict": state | unused, "meta": {"epoch": 12}}


ORIGINALS = {
    "original": (wrapped_original, "Grounding DINO of", "an original checkpoint", 4),
    "mmdetection": (wrapped_mmdetection, "LLMDet of", "an mmdetection checkpoint", 5),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_original_checkpoints_give_what_the_original_code_gives(tmp_path, name):
    wrapped, family, form, levels = ORIGINALS[name]
    state, case = golden(name)
    torch.save(wrapped(state), tmp_path / "model.pth")
    source = open_source(str(tmp_path / "model.pth"))
    assert source.variant.startswith(family) and (source.form, source.weights) == (form, "model.pth")
    assert source.model.config.num_feature_levels == levels
    pixels = torch.from_numpy(np.random.RandomState(0).standard_normal((1, 3, 224, 256)).astype(np.float32))
    logits, boxes = tiny.outputs(source.model, pixels, case["ids"])
    torch.testing.assert_close(logits, torch.tensor(case["logits"]), rtol=0, atol=2e-4)
    torch.testing.assert_close(boxes, torch.tensor(case["boxes"]), rtol=0, atol=2e-5)


def test_shared_heads_of_an_original_checkpoint_are_one(tmp_path):
    state, _ = golden("original")
    torch.save({"model": state}, tmp_path / "model.pth")
    assert open_source(str(tmp_path / "model.pth")).model.config.decoder_bbox_embed_share
    own = {name: tensor + 1 if re.search(r"bbox_embed\.1\.", name) else tensor for name, tensor in state.items()}
    torch.save({"model": own}, tmp_path / "model.pth")
    assert not open_source(str(tmp_path / "model.pth")).model.config.decoder_bbox_embed_share


def test_the_published_sizes_have_names():
    swin = {"tiny": (96, (2, 2, 6, 2)), "base": (128, (2, 2, 18, 2)), "large": (192, (2, 2, 18, 2))}
    for size, (embed_dim, depths) in swin.items():
        backbone = {"model_type": "swin", "embed_dim": embed_dim, "depths": depths}
        model = SimpleNamespace(config=GroundingDinoConfig(backbone_config=backbone))
        assert variant(model) == f"Grounding DINO {size}"


@pytest.mark.parametrize("name", ORIGINALS)
def test_problems_of_original_checkpoints_are_named(tmp_path, name):
    state, _ = golden(name)
    del state["transformer.level_embed" if name == "original" else "level_embed"]
    torch.save({"model": state}, tmp_path / "model.pth")
    assert "tensor 'model.level_embed' is missing: is the checkpoint complete?" in refusal(tmp_path / "model.pth")
    state, _ = golden(name)
    del state["transformer.decoder.norm.bias" if name == "original" else "decoder.norm.bias"]
    state["more.weight"] = torch.zeros(3)
    torch.save({"model": state}, tmp_path / "model.pth")
    message = refusal(tmp_path / "model.pth")
    assert "missing: model.decoder.layer_norm.bias" in message and "unexpected: more.weight" in message


def test_mmdetections_families_are_told_apart():
    state, _ = golden("mmdetection")
    assert mmdetection.family(state) == "MM-Grounding-DINO"
    assert mmdetection.family(state | {"lmm.a": torch.zeros(1)}) == "LLMDet"
    unbiased = {name: tensor for name, tensor in state.items() if "cls_branches" not in name}
    assert mmdetection.family(unbiased) == "Grounding DINO"
    scale = {f"bbox_head.cls_branches.{layer}.log_scale": torch.zeros(1) for layer in range(3)}
    assert type(mmdetection.build(unbiased | scale, None)).__name__ == "GroundingDinoForObjectDetection"
    learned = unbiased | scale | {"bbox_head.cls_branches.2.log_scale": torch.tensor([0.5])}
    with pytest.raises(CheckpointError, match=r"cls_branches.2.log_scale is 0.5: .* train with log_scale 'auto'"):
        mmdetection.build(learned, None)


def test_merging_of_patches_is_reordered_as_the_pixels_are():
    pixels, weight = torch.randn(1, 3, 8, 6), torch.randn(5, 12)
    theirs = torch.nn.functional.unfold(pixels, 2, stride=2).transpose(1, 2) @ weight.T
    corners = [pixels[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    ours = torch.cat(corners, dim=1).flatten(2).transpose(1, 2) @ mmdetection._merged_by_pixel(weight).T
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "name, title",
    [
        ("class_embed.0.weight label_enc.weight", "DINO, a closed-set detector"),
        ("transformer.encoder.layers.0.self_attn.sampling_offsets.bias class_embed.0.bias", "Deformable DETR"),
        ("class_embed.weight transformer.encoder.layers.0.norm1.weight", "DETR, a closed-set"),
        ("owlv2.text_model.embeddings.position_ids", "OWLv2"),
        ("backbone.image_model.stem.conv.weight", "YOLO-World"),
        ("cls_token patch_embed.proj.weight", "a vision transformer alone"),
        ("roi_heads.box_head.fc6.weight", "Faster R-CNN"),
    ],
)
def test_checkpoints_of_other_architectures_are_named(tmp_path, name, title):
    torch.save({"model": {f"module.{tensor}": torch.zeros(1) for tensor in name.split()}}, tmp_path / "other.pth")
    message = refusal(tmp_path / "other.pth")
    assert f"is of {title}" in message and "give one of GLIP, Grounding DINO, MM-Grounding-DINO or LLMDet" in message


def test_unknown_architectures_are_described(tmp_path):
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / "other.pth")
    assert "no architecture known here (its tensors are a.weight, ...)" in refusal(tmp_path / "other.pth")


# GLIP's checkpoints


@pytest.mark.parametrize("form", ["bare", "state_dict", "lightning", "compiled", "safetensors"])
def test_glip_is_read_in_every_form(tmp_path, form):
    state = {name.removeprefix("module."): tensor for name, tensor in torch.load(GOLDEN)["model"].items()}
    if form == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "glip.safetensors")
    else:
        prefix = {"lightning": "model.module.", "compiled": "_orig_mod."}.get(form, "")
        state = {prefix + name: tensor for name, tensor in state.items()}
        content = state if form == "bare" else {"state_dict": state, "epoch": 3}
        torch.save(content, tmp_path / "glip.ckpt")
    file = next(tmp_path.iterdir())
    source = open_source(str(file), text_heads=4)
    assert (source.variant, source.form, source.weights) == ("GLIP-T", "a GLIP checkpoint", file.name)
    assert fingerprint(source.model) == fingerprint(load_checkpoint(GOLDEN, 4)) == fingerprint(load_checkpoint(file, 4))


def test_a_tensor_under_two_names_is_refused(tmp_path):
    torch.save({"model": {"a": torch.zeros(1), "module.a": torch.zeros(1)}}, tmp_path / "twice.pth")
    assert "holds 'a' twice, as 'a' and 'module.a'" in refusal(tmp_path / "twice.pth")


class History:
    """As mmengine logs training: it holds functions, by which a pickle could run anything."""

    def __init__(self):
        self.values = np.zeros(3)

    def __reduce__(self):
        return (print, ("this must not run",), self.__dict__)


def test_what_trainers_store_besides_is_neither_read_nor_run(tmp_path, capsys):
    checkpoint = torch.load(GOLDEN) | {"message_hub": {"loss": History()}, "settings": (Path("a"), {History: 1})}
    torch.save(checkpoint, tmp_path / "glip.pth")
    assert open_source(str(tmp_path / "glip.pth"), text_heads=4).variant == "GLIP-T"
    assert capsys.readouterr().out == ""


def test_a_path_that_does_not_exist_is_not_looked_for_elsewhere(tmp_path):
    assert "does not exist, and is no name of a model on the hub (OWNER/NAME)" in refusal(tmp_path / "none.pth")
    assert "does not exist" in refusal("tests/none.pth") and "does not exist" in refusal("none")


# The command


def test_the_command_says_what_it_found_and_passes_it_on(tmp_path, monkeypatch, capsys):
    shutil.copy(GOLDEN, tmp_path / "glip.pth")
    shutil.copy(GOLDEN.parents[1] / "vocab.txt", tmp_path / "vocab.txt")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    given = {}

    def write_bundle(model, export, tokenizer, target, options, overwrite):
        given.update(tokens=tokenizer.get_vocab_size(), options=options)
        raise ValueError("far enough")

    monkeypatch.setattr(command, "write_bundle", write_bundle)
    arguments = [str(tmp_path / "glip.pth"), str(tmp_path / "out"), "--text-heads", "4"]
    assert command.main(arguments) == 1
    assert capsys.readouterr().out.startswith("GLIP-T: a GLIP checkpoint, ")
    assert given["tokens"] == len((tmp_path / "vocab.txt").read_text().splitlines())
    assert (given["options"].weights, given["options"].licence) == ("glip.pth", "mit")
    assert command.main([*arguments, "--source", "a friend", "--licence", "CC0"]) == 1
    assert (given["options"].weights, given["options"].licence) == ("a friend", "CC0")
