"""A follower's and a publisher's beginning and end, in every order, from several threads and after a fork.

Law: what cannot be asked any more is an error that says so; nothing hangs, and no event is lost.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from numpy.random import default_rng

from armstream.engine import FollowerError, PublishError, TradesPublisher, WeightsFollower
from armstream.events import Close, Fill
from deploy.kafka.node import free_port
from tests.test_engine import answering, fill_of, unheard, vector_of


def nobody(start_timeout_seconds: float = 0.3) -> WeightsFollower:
    """A follower of where no broker is."""
    client = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
    return WeightsFollower(client, start_timeout_seconds=start_timeout_seconds)


def test_a_follower_is_entered_once_also_where_entering_failed() -> None:
    follower = nobody()
    with pytest.raises(FollowerError, match="was not read to its end"):
        follower.__enter__()
    for _ in range(2):
        with pytest.raises(FollowerError, match="was entered before: make a new one"):
            follower.__enter__()


def test_of_several_threads_that_enter_a_follower_one_does() -> None:
    follower, said = nobody(2.0), list[str]()

    def enter() -> None:
        try:
            follower.__enter__()
        except FollowerError as error:
            said.append(str(error))

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted("entered before" in line for line in said) == [False, True, True, True]


def test_a_follower_may_end_before_it_began_and_more_than_once() -> None:
    follower = nobody()
    follower.__exit__(None, None, None)
    follower.__exit__(None, None, None)
    with pytest.raises(FollowerError, match="inside its with block"):
        follower.choose("book", default_rng(1), arms=("a", "b"))


def test_a_follower_that_is_ended_from_its_own_thread_waits_for_nobody() -> None:
    """As `on_vector` may do."""
    follower = nobody()
    done = threading.Event()

    def follow() -> None:
        follower.__exit__(None, None, None)
        done.set()

    follower._follow = follow  # type: ignore[method-assign]
    with pytest.raises(FollowerError, match="was not read to its end"):
        follower.__enter__()
    assert done.is_set()


def test_flush_after_close_is_an_error_that_says_so_and_closing_twice_is_none() -> None:
    publisher = unheard()
    publisher.close()
    publisher.close()
    for _ in range(2):
        with pytest.raises(PublishError, match="nothing is sent: the publisher is closed") as raised:
            publisher.flush()
        assert raised.value.events == ()


def test_who_flushes_while_another_thread_closes_hears_of_it() -> None:
    publisher = unheard(flush_timeout_seconds=3.0)
    publisher.publish(fill_of())
    heard: list[BaseException] = []

    def flush() -> None:
        try:
            publisher.flush()
        except (PublishError, TimeoutError) as error:
            heard.append(error)

    thread = threading.Thread(target=flush)
    thread.start()
    time.sleep(0.2)
    with pytest.raises(PublishError) as raised:
        publisher.close()
    thread.join(20)
    given_back = [*raised.value.events, *(event for one in heard for event in getattr(one, "events", ()))]
    assert len(heard) == 1
    assert given_back == [fill_of()]


def test_of_many_threads_that_publish_while_one_closes_each_event_comes_back_once() -> None:
    publisher = unheard({"queue.buffering.max.messages": 20}, queue_timeout_seconds=20.0)
    sent: list[str] = []
    back: list[Fill | Close] = []

    def publish(number: int) -> None:
        for count in range(50):
            name = f"{number}-{count}"
            sent.append(name)
            try:
                publisher.publish(fill_of(name))
            except PublishError as error:
                back.extend(error.events)
                if "is closed" in str(error):
                    return

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    with pytest.raises(PublishError) as raised:
        publisher.close()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(event.event_id for event in (*back, *raised.value.events)) == sorted(sent)


# After a fork


def in_child(*asks: Callable[[], object]) -> list[str]:
    """What a forked process hears; it ends in order, as an interpreter does."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        for ask in asks:
            try:
                said = repr(ask())
            except RuntimeError as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, f"{said}\n".encode())
        sys.exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        lines = told.read().splitlines()
    assert os.waitpid(pid, 0)[1] == 0
    return lines


def forked() -> None:
    """Run in a process of its own, since what forks here has threads."""
    follower, publisher = answering(vector_of()), unheard()
    publisher.publish(fill_of())
    was_forked = "this process was forked from the one that"
    drawn, status, ended, sent, flushed, closed, own = in_child(
        lambda: follower.choose("book", default_rng(1)),
        lambda: follower.status("book"),
        lambda: follower.__exit__(None, None, None),
        lambda: publisher.publish(fill_of("f2")),
        publisher.flush,
        publisher.close,
        lambda: TradesPublisher({"bootstrap.servers": "127.0.0.1:1"}).close(),
    )
    assert drawn.startswith(f"FollowerError: {was_forked} follows"), drawn
    assert status == drawn
    assert sent.startswith("PublishError: Fill 'f2'"), sent
    assert was_forked in sent
    assert flushed.startswith(f"PublishError: nothing is sent: {was_forked} made the publisher"), flushed
    assert (ended, closed, own) == ("None", "None", "None")

    assert follower.status("book").fallback is None
    try:
        publisher.close()
    except PublishError as error:
        assert error.events == (fill_of(),)  # noqa: PT017 - this is no test
    else:
        raise AssertionError("the event is the parent's, and was not delivered")


def test_a_forked_process_hears_that_it_was_forked_and_ends_in_order() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tests.test_engine_life import forked; forked()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
