"""`shardpack density`, as a user's shell runs it, and its page, as a browser shows it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from command_line import run

import shardpack as sp
from shardpack.cli.commands.density.running import Source
from shardpack.density import measure
from shardpack.density.page import page as html_page
from shardpack.density.synthetic import synthetic

LOGINS = ("--synthetic", "login:50-100", "--records", "3000", "--keys", "100")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("in") / "events.jsonl"
    lines = [
        json.dumps({"user": {"id": n % 7}, "at": 1_800_000_000 + n / 10, "text": "x" * (n % 60)}) for n in range(2000)
    ]
    file.write_text("\n".join(lines))
    return file


class TestTable:
    def test_fits_and_recommends(self) -> None:
        out, error = run("density", *LOGINS, "--rate", "5000")
        text = out.decode()
        assert error == ""
        assert max(map(len, text.splitlines())) <= 100
        assert "one record an entry" in text
        assert re.search(r"in place\s+of\s+\$239;\s+every\s+key\s+stays\s+on\s+its\s+shard", text)

    def test_is_what_the_page_shows(self) -> None:
        page = (Path(__file__).parents[2] / "docs/density.md").read_text("utf-8")
        (shown,) = re.findall(r"^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        out, _ = run("density", *LOGINS, "--rate", "5000")
        heads = [line.split() for line in shown.splitlines() if re.match(r"strategy| +\$ a", line)]
        assert [line.split() for line in out.decode().splitlines() if line.split() in heads] == heads
        assert len(heads) == 2
        for words in (
            "With the Producer's defaults: from $239 to $",
            "user records in a Kinesis record, which wait for 0.1 s",
        ):
            assert words in shown
            assert words in out.decode()

    def test_without_a_rate(self) -> None:
        out, _ = run("density", *LOGINS)
        assert b"$" not in out
        assert b"times fewer Kinesis records" in out

    def test_a_file(self, events: Path) -> None:
        out, _ = run("density", events, "--key", "user.id", "--json")
        told = json.loads(out)
        records = [(str(n % 7), line.encode()) for n, line in enumerate(events.read_text().splitlines())]
        (plain, *_) = measure(records).rows
        assert told["rows"][0]["user_bytes"] == plain.user_bytes == sum(len(data) for _, data in records)
        assert told["rows"][0]["user_records"] == 2000
        assert told["rate"] is None
        by_key = next(row for row in told["rows"] if row["strategy"]["by"] == "key")
        assert by_key["kinesis_records"] == 7

    def test_standard_input(self, events: Path) -> None:
        for named in (("-",), ()):
            out, _ = run("density", *named, "--json", stdin=events.read_bytes())
            assert json.loads(out)["rows"][0]["user_records"] == 2000

    def test_timestamps(self, events: Path) -> None:
        out, _ = run(
            "density", events, "--key", "user.id", "--timestamp", "at", "--json", "--record-max-buffered-time", "1"
        )
        told = json.loads(out)
        assert told["rate"] == pytest.approx(10, rel=0.01)
        (row,) = (row for row in told["rows"] if row["strategy"]["name"] == "1 MiB, any")
        assert 190 <= row["kinesis_records"] <= 200
        assert row["wait"]["p99"] == pytest.approx(1.0, rel=0.05)

    @pytest.mark.parametrize("at", ['"2027-01-15T08:00:00Z"', '"2027-01-15T08:00:00"', "1800000000", "1800000000000"])
    def test_times_of_every_kind(self, at: str) -> None:
        lines = f'{{"at": {at}}}\n' * 3
        out, _ = run("density", "-", "--timestamp", "at", "--json", stdin=lines.encode())
        assert json.loads(out)["rows"][0]["user_records"] == 3

    def test_prices_as_given(self) -> None:
        out, _ = run("density", *LOGINS, "--rate", "10", "--shard-hour", "1", "--million-put-units", "0", "--json")
        told = json.loads(out)
        assert told["prices"] == "as given"
        assert told["rows"][0]["provisioned"] == pytest.approx(730)

    def test_peers(self) -> None:
        out, _ = run("density", *LOGINS, "--peers", "--json")
        names = [row["strategy"]["name"] for row in json.loads(out)["rows"]]
        assert [name for name in names if "aws_kinesis_agg" in name] == [
            "aws_kinesis_agg, 51,200 B",
            "aws_kinesis_agg, 1,048,576 B",
        ]

    @pytest.mark.parametrize(
        ("arguments", "stdin", "status", "message"),
        [
            ((), b"", 1, "-: there is no line in it"),
            (("x", *LOGINS), b"", 2, "give a FILE"),
            ((*LOGINS, "--key", "k"), b"", 2, "--key and --timestamp are for a FILE"),
            (("--synthetic", "login"), b"", 1, "no kind of event"),
            (("-", "--timestamp", "at"), b"{}\n", 1, "-:1: the field 'at' is null; a time is seconds"),
            (("-", "--timestamp", "at"), b'{"at": "soon"}\n', 1, "-:1: the field 'at' is \"soon\""),
            (("-", "--timestamp", "at"), b"text\n", 1, "-:1: not JSON"),
            (("-", "--key", "k"), b'{"k": ""}\n', 1, "-:1: partition_key has 0 characters"),
            (("-", "--record-max-buffered-time", "1"), b"text\n", 1, "needs the rate"),
            ((*LOGINS, "--rate", "0"), b"", 1, "rate is 0.0; give a number above 0"),
            (("no-such-file",), b"", 1, "no-such-file: No such file"),
        ],
    )
    def test_what_is_wrong(self, arguments: tuple[str, ...], stdin: bytes, status: int, message: str) -> None:
        _, error = run("density", *arguments, stdin=stdin, status=status)
        assert message in re.sub(r"\s*[│\n]\s*", " ", error)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    run("density", *LOGINS, "--rate", "5000", "--report", file)
    return file.read_text()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "large.log"
    file.write_text("".join(f"{n} {'x' * (n % 97)}\n" for n in range(120_000)))
    return file


class TestPage:
    def test_it_stands_alone(self, page: str) -> None:
        assert page.count("<script>") == 1
        assert 'src="' not in page
        assert "url(" not in page
        assert not re.search(r"<(link|img|iframe)\b", page)
        assert "in place of $239" in page

    def test_each_table_and_picture_has_a_name(self, page: str) -> None:
        assert page.count("<table>") == page.count("<caption>") == page.count('tabindex="0"') == 4
        (chart,) = re.findall(r'<svg [^>]*role="img" aria-labelledby="t0 d0">.*?</svg>', page, re.DOTALL)
        assert '<title id="t0">' in chart
        assert '<desc id="d0">Dollars a month by record_max_buffered_time. Provisioned falls from $' in chart
        assert chart.count("<text") == 8

    def test_each_button_copies_settings_that_a_producer_takes(self, page: str) -> None:
        copied = [unescape(one) for one in re.findall(r'data-copy="([^"]*)"', page)]
        assert len(copied) == 9
        for one in copied:
            assert isinstance(eval(one, {"sp": sp}), sp.ProducerConfig)

    def test_a_name_is_no_markup(self) -> None:
        measured = measure(synthetic("a:50", 100), rate=5)
        assert "<b>.log" not in html_page([("<b>.log", measured), ("other", measured)])

    def test_several_inputs(self, events: Path, tmp_path: Path) -> None:
        other, report = tmp_path / "other.jsonl", tmp_path / "report.html"
        other.write_text('{"user": {"id": 1}}\n' * 50)
        arguments = ("density", events, other, "--key", "user.id", "--rate", "500")
        text = run(*arguments, "--report", report)[0].decode()
        assert text.count("Packing density: ") == 2
        assert text.count("The inputs, with what is recommended for each") == 1
        assert max(map(len, text.splitlines())) <= 100 or max(map(len, (str(events), str(other)))) > 40
        told = json.loads(run(*arguments, "--json")[0])
        assert [(one["name"], one["rows"][0]["user_records"]) for one in told["logs"]] == [
            (str(events), 2000),
            (str(other), 50),
        ]
        assert report.read_text().count("<h2>What it costs</h2>") == 2
        assert report.read_text().count("<h2>The inputs compared</h2>") == 1


def test_a_picture(tmp_path: Path) -> None:
    charts = pytest.importorskip("shardpack.density.charts")
    picture = tmp_path / "chart.png"
    run("density", *LOGINS, "--rate", "5000", "--png", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert charts.picture(measure([("k", b"d")]))


class TestSample:
    def test_of_a_large_file_is_told_with_its_error(self, large: Path) -> None:
        told = json.loads(run("density", large, "--json")[0])
        part = told["sampling"]
        assert (part["of"], part["blocks"]) == (120_000, 40)
        assert 45_000 < part["records"] < 65_000
        assert 0 < part["error"] < 0.05
        assert told["rows"][0]["user_records"] == part["records"]
        size = large.stat().st_size / 120_000 - 1
        assert told["rows"][0]["user_bytes"] / part["records"] == pytest.approx(size, rel=part["error"])
        assert any(note.startswith(f"Packed {part['records']:,} of 120,000 lines") for note in told["notes"])

    def test_of_a_compressed_file_there_is_none_and_a_large_one_says_so(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "events.log.gz"
        source = Source(str(file), None, None, None, 1, 1)
        for size, said in ((1 << 20, ""), (3 << 20, f"shardpack: {file}: it is compressed, so every line is packed;")):
            with file.open("wb") as out:
                out.truncate(size)
            assert source._size("gzip") is None
            assert source._size(None) == size
            assert capsys.readouterr().err.startswith(said)

    def test_what_comes_through_a_pipe_is_packed_whole(self, large: Path) -> None:
        lines = large.read_bytes()[:100_000]
        told = json.loads(run("density", "-", "--json", stdin=lines)[0])
        assert told["sampling"] is None
        assert told["rows"][0]["user_records"] == len(lines.splitlines())


def test_the_library_says_the_same() -> None:
    out, _ = run("density", *LOGINS, "--json")
    told = json.loads(out)
    assert told["recommended"] == measure(synthetic("login:50-100", 3000, keys=100)).recommended.strategy.name
    assert told["rows"][0]["kinesis_bytes"] == sum(
        len(one.data) + len(one.partition_key) for one in synthetic("login:50-100", 3000, keys=100)
    )
    assert sp.__name__ == "shardpack"


ODD_TIMES = [
    "9" * 400,
    "-" + "9" * 400,
    "1e400",
    "NaN",
    "-1e300",
    "1e300",
    "true",
    "null",
    '"soon"',
    "[]",
]


@pytest.mark.parametrize("time", ODD_TIMES, ids=lambda time: time[:9])
def test_a_time_that_is_none(time: str) -> None:
    lines = f'{{"t": 1}}\n{{"t": {time}}}\n'.encode()

    _, error = run("density", "-", "--timestamp", "t", stdin=lines, status=1)

    assert error.startswith("shardpack: -:2: the field 't' is ")
    assert error.count("\n") == 1
    assert len(error) < 300


@pytest.mark.parametrize(
    ("first", "second"), [('"0001-01-01T00:00:00+14:00"', "1"), ("0", "5e-324"), ("0", "253402300799")]
)
def test_times_at_the_edges_are_times(first: str, second: str) -> None:
    lines = f'{{"t": {first}}}\n{{"t": {second}}}\n'.encode()

    assert json.loads(run("density", "-", "--timestamp", "t", "--json", stdin=lines)[0])["rows"]


@pytest.mark.parametrize("option", ["--rate", "--record-max-buffered-time", "--shard-hour", "--on-demand-gigabyte"])
@pytest.mark.parametrize("value", ["1e308", "nan", "inf", "-1", "1e13"])
def test_numbers_beyond_reason_are_refused(option: str, value: str) -> None:
    _, error = run("density", "-", "--rate", "5", option, value, stdin=b"a\nb\n", status=1)

    assert f"is {float(value)!r}; give a " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--rate", "--record-max-buffered-time", "--shard-hour", "--on-demand-gigabyte"])
def test_the_largest_numbers_are_finite(option: str) -> None:
    value = "1e12" if option in ("--rate", "--record-max-buffered-time") else "1e9"
    out, _ = run("density", "-", "--rate", "5", option, value, "--json", stdin=b"a\nb\n")

    assert b"Infinity" not in out
    assert b"NaN" not in out


def test_an_input_without_a_line_is_told() -> None:
    assert run("density", "-", status=1)[1] == "shardpack: -: there is no line in it, so there is nothing to measure\n"


class TestOutputs:
    @pytest.mark.parametrize("option", ["--report", "--png"])
    @pytest.mark.parametrize("how", ["by its name", "through a link", "as a hard link", "as standard input"])
    def test_the_input_is_never_overwritten(self, tmp_path: Path, option: str, how: str) -> None:
        file, out = tmp_path / "log.jsonl", tmp_path / "out"
        file.write_text("one\ntwo\n")
        if how == "by its name":
            out = tmp_path / "x" / ".." / "log.jsonl"
            (tmp_path / "x").mkdir()
        elif how == "through a link":
            out.symlink_to(file)
        elif how == "as a hard link":
            out.hardlink_to(file)
        if how == "as standard input":
            with file.open("rb") as stdin:
                done = subprocess.run(
                    [sys.executable, "-m", "shardpack", "density", "-", option, file],
                    stdin=stdin,
                    capture_output=True,
                    check=False,
                )
            status, error = done.returncode, done.stderr.decode()
        else:
            _, error = run("density", file, option, out, status=1)
            status = 1

        assert (status, file.read_text()) == (1, "one\ntwo\n")
        assert f"{option} would overwrite the input; name another file" in error

    def test_nor_one_output_by_the_other(self, tmp_path: Path) -> None:
        _, error = run("density", *LOGINS, "--report", tmp_path / "out", "--png", tmp_path / "out", status=1)

        assert "--png would overwrite the file of --report" in error
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("options", [(), ("--rate", "5"), ("--timestamp", "at")])
    @pytest.mark.parametrize("lines", [1, 2])
    def test_charts_of_next_to_nothing(self, tmp_path: Path, lines: int, options: tuple[str, ...]) -> None:
        report, png = tmp_path / "out.html", tmp_path / "out.png"
        given = b'{"at": 1800000000}\n' * lines

        _, error = run("density", "-", *options, "--report", report, "--png", png, stdin=given)

        assert error == ""
        assert report.read_text(encoding="utf-8").endswith("</html>")
        assert png.read_bytes().startswith(b"\x89PNG")


def test_lines_of_any_length_are_measured_and_told() -> None:
    lines = [b"x" * 100] * 20 + [b"y" * 72 * 1024, b"z" * 1_048_576]
    out = b" ".join(run("density", "-", stdin=b"\n".join(lines))[0].split()).decode()
    assert (
        "Sent alone, too large for an aggregate: 1 user record at 25,600 bytes, 1 user record at 51,200 bytes." in out
    )
    assert "Left out, too large for a Kinesis record: 1 user record at 1,048,576 bytes." in out

    rows = {
        row["strategy"]["name"]: row
        for row in json.loads(run("density", "-", "--json", stdin=b"\n".join(lines))[0])["rows"]
    }
    assert [(rows[name]["alone"], rows[name]["left_out"]) for name in ("KPL size, shard", "10 MiB, any")] == [
        (1, 1),
        (0, 0),
    ]


def test_an_input_that_no_kinesis_record_holds_is_told() -> None:
    error = run("density", "-", stdin=b"x" * 12_000_000, status=1)[1]
    assert "nothing in it fits into a Kinesis record" in error
    assert "1 user record at 10,485,760 bytes" in error
