"""The access logs for lines. What the lines say: test_rule_script."""

from __future__ import annotations

from pilotage.xds.rule_lines import LINES, line_logs


def test_a_request_without_lines_meets_only_a_cheap_filter() -> None:
    logs = line_logs()
    assert [log.name.rpartition(".")[2] for log in logs] == ["stdout", "stderr"]
    for log in logs:
        assert log.filter.metadata_filter.matcher.filter == LINES
        assert not log.filter.metadata_filter.match_if_key_not_found.value
