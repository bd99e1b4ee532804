"""When containers sleep and wake."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pilotage.routes.gate import Gate
from pilotage.sleep.state import LONGEST_BACKOFF, Action, Phase, SleepState


def asleep(idle_timeout: float = 10.0) -> SleepState:
    return SleepState(idle_timeout, running=False, now=0.0, next_epoch=itertools.count(7).__next__)


def ready(idle_timeout: float = 10.0) -> SleepState:
    return SleepState(idle_timeout, running=True, now=0.0, next_epoch=itertools.count(7).__next__)


def quiescing() -> SleepState:
    state = ready()
    state.advance(10.0)
    return state


def stopping() -> SleepState:
    state = quiescing()
    state.quiet(11.0)
    return state


def test_the_first_request_wakes_a_sleeping_container_and_others_join() -> None:
    state = asleep()
    assert state.gate == Gate(7, "closed")
    assert state.want(1.0) is Action.WAKE
    assert state.want(1.1) is None
    assert (state.phase, state.gate) == (Phase.WAKING, Gate(7, "closed"))


def test_a_container_that_woke_answers_under_the_name_that_requests_wait_for() -> None:
    state = asleep()
    state.want(1.0)
    state.woke(3.5)
    assert (state.phase, state.gate, state.last_wake) == (Phase.READY, Gate(7, "open"), 2.5)


def test_a_failed_attempt_rejects_the_requests_that_wait_and_those_that_follow_for_a_while() -> None:
    state = asleep()
    state.want(1.0)
    state.wake_failed("no such image", 2.0)
    assert state.gate == Gate(8, "failed", "no such image")
    assert state.want(2.5) is None
    assert state.advance(2.9) is None
    assert state.phase is Phase.FAILED
    state.advance(3.0)
    assert state.gate == Gate(9, "closed")
    assert state.want(3.1) is Action.WAKE


def test_the_wait_after_failures_doubles_up_to_a_limit_and_success_resets_it() -> None:
    state, now, waits = asleep(), 0.0, []
    for _ in range(8):
        state.want(now)
        state.wake_failed("broken", now)
        assert state.retry_at is not None
        waits.append(state.retry_at - now)
        now = state.retry_at
        state.advance(now)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert LONGEST_BACKOFF == 30
    state.want(now)
    state.woke(now)
    state.observe(running=False, now=now)
    state.want(now)
    state.wake_failed("broken", now)
    assert state.retry_at == now + 1


def test_units_that_fail_together_do_not_try_again_together() -> None:
    waits: list[list[float]] = []
    for spread in (0.0, 0.5, 1.0):
        state, now = SleepState(60.0, running=False, now=0.0, spread=lambda by=spread: by), 0.0  # type: ignore[misc]
        waits.append([])
        for _ in range(6):
            state.want(now)
            state.wake_failed("broken", now)
            waits[-1].append(round((state.retry_at or 0) - now, 1))
            now = state.retry_at or 0
            state.advance(now)
    assert waits == [[1, 2, 4, 8, 16, 30], [1, 1.7, 3.3, 6.7, 13.3, 25], [1, 1.3, 2.7, 5.3, 10.7, 20]]


def test_an_idle_container_is_put_to_sleep_only_after_its_requests_have_ended() -> None:
    state = ready()
    assert state.sleeps_at == 10.0
    assert state.advance(9.9) is None
    assert state.phase is Phase.READY
    state.advance(10.0)
    assert (state.phase, state.gate) == (Phase.QUIESCING, Gate(8, "closed", is_awake=True))
    assert state.quiet(11.0) is Action.STOP
    assert state.stopped(12.0) is None
    assert (state.phase, state.gate) == (Phase.ASLEEP, Gate(8, "closed"))


@pytest.mark.parametrize(("in_progress", "issued"), [(1, 0), (0, 1), (3, 5)])
def test_requests_keep_a_container_awake(in_progress: int, issued: int) -> None:
    state = ready()
    state.report(in_progress=in_progress, issued=issued, now=8.0)
    state.report(in_progress=0, issued=0, now=9.0)
    assert state.sleeps_at == 18.0


def test_a_request_in_progress_keeps_a_container_awake_for_as_long_as_it_lasts() -> None:
    state = ready()
    state.report(in_progress=1, issued=0, now=1.0)
    assert state.due is None
    assert state.advance(1000.0) is None
    assert state.phase is Phase.READY


def test_a_request_cancels_a_sleep_that_has_not_reached_the_engine() -> None:
    state = quiescing()
    assert state.want(10.5) is None
    assert (state.phase, state.gate) == (Phase.READY, Gate(8, "open"))
    assert state.quiet(11.0) is None


def test_a_request_during_the_stop_wakes_the_container_right_after_it() -> None:
    state = stopping()
    assert state.want(11.5) is None
    assert state.gate == Gate(8, "closed")
    assert state.stopped(12.0) is Action.WAKE
    state.woke(13.0)
    assert state.gate == Gate(8, "open")


def test_a_container_that_cannot_be_stopped_stays_awake() -> None:
    state = stopping()
    assert state.stopped(12.0, "the engine refuses") is None
    assert (state.phase, state.failure, state.gate) == (Phase.READY, "the engine refuses", Gate(8, "open"))
    assert state.sleeps_at == 22.0


def test_an_envoy_that_does_not_respond_keeps_the_container_awake() -> None:
    state = quiescing()
    state.advance(39.9)
    assert state.phase is Phase.QUIESCING
    state.advance(40.0)
    assert (state.phase, state.gate) == (Phase.READY, Gate(8, "open"))
    assert state.sleeps_at == 50.0


@pytest.mark.parametrize("make", [ready, quiescing])
def test_a_container_that_somebody_else_stops_is_asleep(make: type) -> None:
    state: SleepState = make()
    state.observe(running=False, now=20.0)
    assert (state.phase, state.gate) == (Phase.ASLEEP, Gate(8, "closed"))


def test_a_container_that_somebody_else_starts_is_served_once_it_is_ready() -> None:
    state = asleep()
    assert state.observe(running=True, now=5.0) is Action.WAKE
    state.woke(6.0)
    assert state.gate == Gate(7, "open")


def test_a_container_that_others_need_stays_awake() -> None:
    state = ready()
    state.postpone(10.0)
    assert state.sleeps_at == 20.0
    state.advance(20.0)
    assert state.phase is Phase.QUIESCING


def test_an_operator_puts_a_container_to_sleep_at_once() -> None:
    state = ready()
    assert state.sleep(1.0)
    assert state.phase is Phase.QUIESCING
    assert not asleep().sleep(1.0)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, no request is led to a container that is being stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.state = SleepState(10.0, running=False, now=0.0)
        self.actions: list[Action] = []  # begun and not ended
        self.closed: set[int] = set()  # epochs that have been open and are no longer
        self.opened: int | None = None

    def begin(self, action: Action | None) -> None:
        if action is not None:
            self.actions.append(action)

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.begin(self.state.advance(self.now))

    @rule()
    def wanted(self) -> None:
        self.begin(self.state.want(self.now))

    @rule(running=st.booleans())
    def observed(self, running: bool) -> None:
        self.begin(self.state.observe(running=running, now=self.now))

    @rule(in_progress=st.integers(0, 2), issued=st.integers(0, 2))
    def reported(self, in_progress: int, issued: int) -> None:
        self.state.report(in_progress=in_progress, issued=issued, now=self.now)

    @rule()
    def needed(self) -> None:
        self.state.postpone(self.now)

    @rule()
    def quiet(self) -> None:
        self.begin(self.state.quiet(self.now))

    @rule()
    def told_to_sleep(self) -> None:
        self.state.sleep(self.now)

    @precondition(lambda self: Action.WAKE in self.actions)
    @rule(works=st.booleans())
    def wake_ends(self, works: bool) -> None:
        self.actions.remove(Action.WAKE)
        if works:
            self.state.woke(self.now)
        else:
            self.state.wake_failed("broken", self.now)

    @precondition(lambda self: Action.STOP in self.actions)
    @rule(works=st.booleans())
    def stop_ends(self, works: bool) -> None:
        self.actions.remove(Action.STOP)
        self.begin(self.state.stopped(self.now, "" if works else "refused"))

    @invariant()
    def at_most_one_thing_is_done_at_a_time(self) -> None:
        assert len(self.actions) <= 1

    @invariant()
    def nothing_is_stuck(self) -> None:
        """Something is under way, or a request, the time or the engine leads on."""
        state = self.state
        busy = {Phase.WAKING: Action.WAKE, Phase.STOPPING: Action.STOP}.get(state.phase)
        assert busy is None or busy in self.actions
        if state.phase in (Phase.QUIESCING, Phase.FAILED):
            assert state.due is not None

    @invariant()
    def requests_pass_only_while_nothing_is_being_stopped(self) -> None:
        assert self.state.gate.opening != "open" or Action.STOP not in self.actions

    @invariant()
    def a_name_that_was_closed_is_never_opened_again(self) -> None:
        gate = self.state.gate
        if self.opened is not None and (gate.opening != "open" or gate.epoch != self.opened):
            self.closed.add(self.opened)
        self.opened = gate.epoch if gate.opening == "open" else None
        assert self.opened not in self.closed
        if gate.opening == "failed":
            self.closed |= {gate.epoch - 1, gate.epoch}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
