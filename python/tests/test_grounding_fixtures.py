"""Good and bad lines of the grounding format, which the reader of `glip-tools` is tested with too."""

import json
from pathlib import Path

import pytest

from glip_torch.data.files import JsonLines, read_records
from glip_torch.data.grounding import DataError, Place, header_line, parse_header, parse_record, record_line

FOLDER = Path(__file__).parents[2] / "glip-tools" / "tests" / "fixtures" / "grounding"
PLACE = Place(Path("train.jsonl"), 7)


def bad_lines(name):
    """A line, and what its message may say."""
    rows = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [(line, reasons.split("|")) for reasons, line in (row.split("\t") for row in rows)]


@pytest.mark.parametrize("version", ["", "_version_1"])
def test_good_lines_are_understood_as_they_are_meant(version):
    path = FOLDER / f"good{version}.jsonl"
    lines = [header_line(JsonLines(path).header), *map(record_line, read_records(path))]
    understood = (FOLDER / f"understood{version}.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(map(json.loads, lines)) == list(map(json.loads, understood))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("line, reasons", bad_lines("bad_records.tsv"))
def test_bad_records_are_refused_for_their_reason(line, reasons, version):
    with pytest.raises(DataError) as error:
        parse_record(line.encode(), PLACE, version)
    message = str(error.value)
    assert message.startswith("train.jsonl, line 7: ")
    assert any(reason in message for reason in reasons), message


@pytest.mark.parametrize("line, reasons", bad_lines("bad_headers.tsv"))
def test_bad_headers_are_refused_for_their_reason(line, reasons):
    with pytest.raises(DataError) as error:
        parse_header(line.encode(), PLACE)
    assert any(reason in str(error.value) for reason in reasons), error.value


@pytest.mark.parametrize(
    "encoding, message",
    [
        ("utf-8-sig", None),
        ("utf-16-le", r"line 1: in UTF-16 \(little"),
        ("latin-1", r"line 2: .*byte 0xfc in line 1, column 12"),
    ],
)
def test_encodings(encoding, message, tmp_path):
    lines = '{"format": "glip-grounding", "format_version": 2}\n{"image": "ü.jpg", "width": 9, "height": 9, "categories": []}\n'
    (tmp_path / "x.jsonl").write_bytes(lines.encode(encoding))
    if message is None:
        assert [record.image for record in read_records(tmp_path / "x.jsonl")] == ["ü.jpg"]
    else:
        with pytest.raises(DataError, match=message):
            list(read_records(tmp_path / "x.jsonl"))
