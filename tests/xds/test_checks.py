from __future__ import annotations

from pilotage.xds.checks import denial, refuse


async def test_a_request_that_nothing_can_check_is_refused() -> None:
    answer = await refuse(None)
    assert (answer.status.code, answer.denied_response.status.code) == (7, 503)


def test_a_denial_may_have_several_headers_of_one_name() -> None:
    answer = denial(302, [("set-cookie", "a=1"), ("set-cookie", "b=2")], "")
    assert [it.header.value for it in answer.denied_response.headers] == ["a=1", "b=2"]
    assert len({it.append_action for it in answer.denied_response.headers}) == 1
