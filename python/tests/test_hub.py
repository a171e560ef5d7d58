"""Models by their names on the hub, which is here a small server of the machine's own."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tiny_grounding_dino as tiny
import torch
from huggingface_hub import constants
from test_checkpoint import GOLDEN

from glip_torch.sources import CheckpointError, hub, open_source

COMMIT = "0123456789abcdef" * 2 + "01234567"
NAME = "somebody/llmdet_small"


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that a download needs: a revision, the list of its files, and the files."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.wfile.write(self.answer())

    def answer(self):
        api, files = f"/api/models/{NAME}", self.server.files
        if self.path.startswith(f"{api}/revision/"):
            return self.json({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})
        if self.path.startswith(f"{api}/tree/"):
            return self.json([{"type": "file", "path": name} | self.size(files[name]) for name in files])
        name = self.path.removeprefix(f"/{NAME}/resolve/{COMMIT}/")
        if name in files:
            self.server.served.add(name)
            return self.content(files[name])
        self.send_error(404)
        return b""

    def size(self, content):
        return {"size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def json(self, value):
        return self.content(json.dumps(value).encode())

    def content(self, content):
        self.send_response(200)
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        for header, value in (headers | {"Content-Length": len(content)}).items():
            self.send_header(header, str(value))
        self.end_headers()
        return b"" if self.command == "HEAD" else content

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub without files, and an empty cache."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.served = {}, set()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    # HF_ENDPOINT and HF_HOME are read when the library is first imported.
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def published(tmp_path, server):
    """An MM-Grounding-DINO that the hub has, under a name of LLMDet's, with files that nobody needs."""
    model = tiny.mm_grounding_dino()
    model.save_pretrained(tmp_path / "model")
    server.files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    server.files |= {"vocab.txt": "\n".join(tiny.VOCABULARY).encode(), "README.md": b"---\nlicense: apache-2.0\n---\n"}
    server.files |= {"pytorch_model.bin": b"the same again", "training_args.bin": b"pickled", "picture.png": b""}
    return model


def refusal(name):
    with pytest.raises(CheckpointError) as error:
        open_source(name)
    return str(error.value)


def test_a_model_is_downloaded_by_its_name_and_no_more_than_is_needed(server, published):
    source = open_source(NAME)
    for ours, theirs in zip(tiny.outputs(source.model), tiny.outputs(published)):
        assert torch.equal(ours, theirs)
    assert source.variant.startswith("LLMDet of") and source.form == "a model of the Hugging Face hub"
    assert (source.weights, source.licence) == (f"{NAME}@{COMMIT[:12]}", "apache-2.0")
    assert source.tokenizer.encode("w5 w6. w7.").ids == tiny.PROMPT
    assert server.served == {"config.json", "model.safetensors", "vocab.txt", "README.md"}


def test_what_was_downloaded_is_found_without_a_connection(server, published, monkeypatch):
    open_source(NAME)
    server.served.clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert open_source(NAME).weights == f"{NAME}@{COMMIT[:12]}"
    assert not server.served


def test_weights_in_the_older_format_are_fetched_where_there_are_no_others(tmp_path, server, published):
    torch.save(published.state_dict(), tmp_path / "pytorch_model.bin")
    del server.files["model.safetensors"]
    server.files["pytorch_model.bin"] = (tmp_path / "pytorch_model.bin").read_bytes()
    for ours, theirs in zip(tiny.outputs(open_source(NAME).model), tiny.outputs(published)):
        assert torch.equal(ours, theirs)


def test_a_file_of_a_model_is_a_source_too(server):
    server.files = {"old/glip.pth": GOLDEN.read_bytes(), "README.md": b"---\nlicense: mit\n---\n"}
    source = open_source(f"{NAME}/old/glip.pth", text_heads=4)
    assert (source.variant, source.weights) == ("GLIP-T", f"{NAME}/old/glip.pth@{COMMIT[:12]}")
    assert f"{NAME} on the hub has no file other.pth" in refusal(f"{NAME}/other.pth")
    assert f"has no config.json: if it holds a checkpoint, give its file too, {NAME}/FILE.pth" in refusal(NAME)


def test_names_that_the_hub_does_not_have_are_refused_with_a_remedy(server):
    message = refusal("somebody/unheard-of")
    assert f"somebody/unheard-of is no file or folder here, and {constants.ENDPOINT} did not give it" in message
    assert "Is the name right?" in message and "HF_ENDPOINT names a mirror" in message


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_a_hub_that_is_not_there_is_named_with_a_remedy(server, monkeypatch, endpoint):
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    message = refusal(NAME)
    assert f"{endpoint} did not give it (ConnectError: " in message
    assert "download it on another machine (hf download) and give the folder's path" in message


def test_a_user_who_is_offline_is_told_so(server, published, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(NAME)
    assert not server.served


@pytest.mark.parametrize(
    "source, named",
    [
        ("iSEE-Laboratory/llmdet_tiny", True),
        ("owner/name/folder/model.pth", True),
        ("runs/model.pth", False),
        ("name", False),
        ("/abs/olute", False),
        ("../up/there", False),
        ("tests/none", False),
    ],
)
def test_names_are_told_from_paths(tmp_path, monkeypatch, source, named):
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hub.is_name(source) == named
