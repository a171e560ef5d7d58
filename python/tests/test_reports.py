import importlib.util
import json
from pathlib import Path

import pytest

REPORTS = Path(__file__).parents[1] / "reports"


def load(name, monkeypatch):
    """A script of the reports' folder, which imports others from there."""
    monkeypatch.syspath_prepend(str(REPORTS))
    spec = importlib.util.spec_from_file_location(name, REPORTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["tuning_report", "teaching_report"])
def test_the_tables_of_a_report_are_those_of_its_results(monkeypatch, name):
    report = load(name, monkeypatch)
    text = report.REPORT.read_text(encoding="utf-8")
    assert report.fill(text, json.loads(report.RESULTS.read_text(encoding="utf-8"))) == text


def test_cells_say_how_many_runs_are_missing(monkeypatch):
    cell = load("tuning_report", monkeypatch).cell
    assert cell([1.0, 2.0, 3.0]) == "2.0 ± 1.0"
    assert cell([1.0, 3.0]) == "2.0 ± 1.4 (of 2)"
    assert cell([1.0]) == "1.0 (of 1)"
    assert cell([]) == "not run"


def test_what_the_data_sets_of_the_teaching_report_say(monkeypatch, tmp_path):
    world = load("teaching_world", monkeypatch)
    said = {kind: list(world.records(kind, 7, 60, tmp_path)) for kind in world.KINDS}
    assert {c.name for record in said["detection"] for c in record.categories} == set(world.DETECTED)
    texts = {kind: [record.text for record in said[kind]] for kind in ("grounding", "captions")}
    words = {kind: {w for text in found for w in text.replace(",", "").split()} for kind, found in texts.items()}
    assert not words["grounding"] & set(world.UNBOXED)
    assert set(world.CAPTIONED) <= words["grounding"] and set(world.SHAPES) <= words["captions"]
    assert words["grounding"] | words["captions"] <= set(world.vocabulary())
    assert not any(f"{c} {s}" in text for found in texts.values() for text in found for c, s in world.UNSAID)
    assert not any(phrase.boxes for record in said["captions"] for phrase in record.phrases)
    phrases = [(record, phrase) for record in said["grounding"] for phrase in record.phrases]
    for record, phrase in phrases:
        query = world.query_of(record.text[slice(*phrase.spans[0])])
        scene = world.draw_scene(7, int(record.image.split("/")[1].split(".")[0]))
        meant = {thing.edges for thing in scene.objects if query.matches(thing)}
        assert set(phrase.boxes) == meant and (query.shape or query.colour)
    # Some mention what is not there.
    assert 0 < sum(not phrase.boxes for _, phrase in phrases) < len(phrases) / 2
