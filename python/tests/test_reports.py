import importlib.util
from pathlib import Path

import pytest

REPORTS = Path(__file__).parents[1] / "reports"


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("tuning_report", REPORTS / "tuning_report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_report_are_those_of_its_results(report):
    import json

    text = report.REPORT.read_text(encoding="utf-8")
    assert report.fill(text, json.loads(report.RESULTS.read_text(encoding="utf-8"))) == text


def test_cells_say_how_many_runs_are_missing(report):
    assert report.cell([1.0, 2.0, 3.0]) == "2.0 ± 1.0"
    assert report.cell([1.0, 3.0]) == "2.0 ± 1.4 (of 2)"
    assert report.cell([1.0]) == "1.0 (of 1)"
    assert report.cell([]) == "not run"
