"""A replica's log keeps the newest lines within a size."""

from chalicelib.local.fleet.logs import LONGEST_LINE, Log, tail


def test_the_newest_lines_are_kept_within_twice_the_limit(tmp_path):
    log = Log(tmp_path / "d-1.log", limit=100)
    for number in range(100):
        log.write(b"line %02d\n" % number)
    assert log.lines(3) == ["line 97", "line 98", "line 99"]
    assert len(log.lines(1000)) > 10
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200


def test_an_attempts_lines_are_told_from_those_before_it(tmp_path):
    log = Log(tmp_path / "d-1.log")
    log.write(b"first\n")
    mark = log.mark()
    log.write(b"second\n")
    assert log.lines(10, since=mark) == ["second"]


def test_a_log_goes_on_after_a_restart_of_the_platform(tmp_path):
    Log(tmp_path / "d-1.log").write(b"before\n")
    Log(tmp_path / "d-1.log").write(b"after\n")
    assert tail(tmp_path / "d-1.log", 10) == ["before", "after"]


def test_bytes_that_are_no_text_and_endless_lines_are_shown_as_well_as_can_be(tmp_path):
    log = Log(tmp_path / "d-1.log")
    log.write(b"\xff\n" + b"x" * 10_000)
    assert log.lines(2) == ["\N{REPLACEMENT CHARACTER}", "x" * LONGEST_LINE]


def test_there_are_no_lines_where_there_is_no_log(tmp_path):
    assert tail(tmp_path / "none.log", 10) == []
