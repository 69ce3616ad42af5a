"""CSV files as they are found in the wild: read rightly, or refused with the place and the reason."""

from __future__ import annotations

import gzip

import pytest

from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES
from shared.errors import Invalid, TooLarge
from tests.unit.artifacts.conversions import Workbench

LOG = b"case_id,activity,timestamp\n1,Register,2020-01-01T10:00:00\n2,Decide,2020-01-02T10:00:00\n"


def test_a_plain_log_is_read_with_its_columns_found(bench: Workbench) -> None:
    done = bench.convert(LOG)
    assert (done.record_count, done.case_count) == (2, 2)
    assert (done.roles.case_id, done.roles.activity, done.roles.time) == ("case_id", "activity", "timestamp")
    assert done.columns == [("case_id", "integer"), ("activity", "string"), ("timestamp", "timestamp")]
    assert done.size_bytes == bench.target.stat().st_size


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_it_does_not_matter_in_what_pieces_the_file_arrives(bench: Workbench, piece: int) -> None:
    bench.convert(LOG, piece=piece)
    assert [row["activity"] for row in bench.rows()] == ["Register", "Decide"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(bench: Workbench, delimiter: str) -> None:
    done = bench.convert(LOG.replace(b",", delimiter.encode()))
    assert done.source["delimiter"] == delimiter
    assert len(done.columns) == 3


def test_semicolons_win_where_commas_are_decimal(bench: Workbench) -> None:
    bench.convert(b"case;price;note\n1;1,50;a, b\n2;2,75;c\n")
    assert bench.rows()[0] == {"case": 1, "price": 1.5, "note": "a, b"}


def test_excels_hint_names_the_delimiter(bench: Workbench) -> None:
    done = bench.convert(b"sep=;\r\na;b\r\n1;2\r\n")
    assert [name for name, _ in done.columns] == ["a", "b"]
    assert bench.rows() == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_the_encoding_is_found(bench: Workbench, encoding: str) -> None:
    text = "case,activity\n1,Prüfung zu 5 €\n2,Schließen\n"
    bench.convert(text.encode(encoding), piece=3)
    assert [row["activity"] for row in bench.rows()] == ["Prüfung zu 5 €", "Schließen"]


def test_an_eight_bit_character_far_from_the_start_still_decides_the_encoding(bench: Workbench) -> None:
    data = b"case,activity\n" + b"1,plain\n" * 50_000 + "2,Prüfung\n".encode("cp1252")
    done = bench.convert(data)
    assert done.source["encoding"] == "windows-1252"
    assert bench.rows()[-1]["activity"] == "Prüfung"


def test_quoted_newlines_and_delimiters_belong_to_the_value(bench: Workbench) -> None:
    bench.convert(b'case,note\n1,"two\nlines, ""quoted"""\n2,plain\n')
    assert bench.rows()[0]["note"] == 'two\nlines, "quoted"'


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_other_line_ends_are_line_ends(bench: Workbench, newline: bytes) -> None:
    bench.convert(LOG.replace(b"\n", newline))
    assert len(bench.rows()) == 2


def test_a_header_alone_is_a_table_without_rows(bench: Workbench) -> None:
    for data in (b"case_id,activity\n", b"case_id,activity", b"case_id,activity\n\n\n"):
        done = bench.convert(data)
        assert (done.record_count, done.case_count) == (0, 0)
        assert [name for name, _ in done.columns] == ["case_id", "activity"]
        assert bench.csv() == b"case_id,activity\n"


def test_five_thousand_columns_are_read(bench: Workbench) -> None:
    names = [f"a_rather_long_column_name_{number}" for number in range(5_000)]
    bench.convert(",".join(names).encode() + b"\n" + b",".join([b"1"] * 5_000) + b"\n")
    assert bench.table().num_columns == 5_000


def test_a_column_without_a_name_gets_one(bench: Workbench) -> None:
    done = bench.convert(b",case,activity\n0,1,a\n")
    assert [name for name, _ in done.columns] == ["column_1", "case", "activity"]


def test_gzip_is_unpacked_also_in_several_members(bench: Workbench) -> None:
    half = len(LOG) // 2
    done = bench.convert(gzip.compress(LOG[:half]) + gzip.compress(LOG[half:]), piece=10)
    assert done.source["gzip"] is True
    assert done.record_count == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"  \n \n", "nothing but white space"),
        (b"a,b\n1,2\n3\n", "Line 3, column 'b': there is 1 value, but the header names 2 columns"),
        (b"a,b\n1,2\n3,4,5\n", "Line 3: there are 3 values, but the header names 2 columns"),
        (b'a,b\n"x\ny",2\n3\n', "Line 4, column 'b': there is 1 value"),
        (b"a,b,a\n1,2,3\n", "Line 1, column 'a': the header names it 2 times"),
        (b"a,b\n1,2\n3,\x00\n", "Line 3, column 'b': there is a NUL byte"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "Line 3, column 'b': a quoted value that begins here is not closed"),
        (b'a,b\n1,2\n"x\n","4\n5,6\n', "Line 4, column 'b': a quoted value that begins here is not closed"),
        (b"a,b\n1,2\n3,\x1b[0m\n", "Line 3, column 'b': there is the control character 0x1b"),
        (b"a,b\x0b\n1,2\n", "Line 1, character 4: there is the control character 0x0b"),
        (b"{}", "JSON"),
        (b'[{"a": 1}]', "JSON"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"PK\x03\x04....", "Excel"),
        (b"%PDF-1.7", "PDF"),
        (gzip.compress(LOG, mtime=0)[:-12], "truncated"),
        (gzip.compress(LOG, mtime=0)[:-8] + b"no crc..", "gzip data is damaged"),
        (gzip.compress(gzip.compress(LOG, mtime=0), mtime=0), "gzip twice"),
        (b"\xef\xbb\xbfa,b\n1,\xff\n", "Line 2, column 'b': the text is not valid UTF-8 (bytes 0xff)"),
        (b"\xef\xbb\xbfa,b\xff\n1,2\n", "Line 1, character 4: the text is not valid UTF-8"),
        ("a,b\n1,2\n3,".encode("utf-16") + b"\x00\xdc", "Line 3, column 'b': the text is not valid UTF-16-LE"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "ends in the middle"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(bench: Workbench, data: bytes, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        bench.convert(data)
    assert words in refusal.value.detail
    assert refusal.value.faults[0].path == "file"


def test_a_nul_byte_behind_the_first_block_is_found_with_its_line(bench: Workbench) -> None:
    with pytest.raises(Invalid, match="Line 100002, column 'a': there is a NUL byte"):
        bench.convert(b"a,b\n" + b"1,2\n" * 100_000 + b"\x00,2\n")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b'"k\nl",\x1b', "Line 100003, column 'b': there is the control character 0x1b"),
        (b'"k\nl",\xff', "Line 100003, column 'b': the text is not valid UTF-8"),
    ],
)
def test_other_bytes_that_no_text_has_are_found_far_from_the_start(bench: Workbench, row: bytes, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        bench.convert(b"\xef\xbb\xbfa,b\n" + b"1,2\n" * 100_000 + row + b"\n" + b"1,2\n" * 500_000)
    assert refusal.value.detail.startswith(words)


def test_a_line_longer_than_the_limit_is_refused_with_its_number(bench: Workbench) -> None:
    with pytest.raises(Invalid, match=f"Line 3, column 'b': the line is longer than {MAX_RECORD_BYTES} bytes"):
        bench.convert(b"a,b\n1,2\n3," + b"x" * (3 * MAX_RECORD_BYTES) + b"\n")
    assert bench.convert(b"a,b\n1,2\n3," + b"x" * (MAX_RECORD_BYTES - 3) + b"\n4,5\n").record_count == 3


def test_a_record_of_many_lines_longer_than_the_limit_is_refused_with_its_place(bench: Workbench) -> None:
    def lines(count: int) -> bytes:
        return b'"' + (b"x" * 999 + b"\n") * count + b'"'

    with pytest.raises(Invalid, match="Line 3, column 'b': a quoted value that begins here is not closed, or a value"):
        bench.convert(b"a,b\n1,2\n3," + lines(5_000) + b"\n")
    with pytest.raises(Invalid, match="Line 3, column 'c': the record that begins here, with values of several lines"):
        bench.convert(b"a,b,c\n1,2,3\n3," + lines(1_500) + b"," + lines(4_200) + b"\n")


def test_a_header_that_never_ends_is_refused(bench: Workbench) -> None:
    with pytest.raises(Invalid, match="first line is too long"):
        bench.convert(b"x" * (3 * MAX_RECORD_BYTES))


def test_a_gzip_bomb_stops_at_the_limit(bench: Workbench) -> None:
    bomb = gzip.compress(b"a,b\n" + b"1,2\n" * 2_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match="1000000 bytes"):
        bench.convert(bomb, limit=1_000_000)


def test_wished_columns_win_and_must_exist(bench: Workbench) -> None:
    data = b"case_id,order,activity,when\n1,a,x,2020-01-01\n2,a,y,2020-01-02\n"
    done = bench.convert(data, case_id="order")
    assert (done.roles.case_id, done.case_count, done.roles.time) == ("order", 1, "when")
    with pytest.raises(Invalid) as refusal:
        bench.convert(data, case_id="nope", time="neither")
    assert [fault.path for fault in refusal.value.faults] == ["caseIdColumn", "timeColumn"]
    assert "'nope'" in refusal.value.detail
    assert "'order'" in refusal.value.detail
