from serve.door.throttle import WINDOW_S, Throttle, network


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_an_address_is_told_to_wait_until_its_minute_is_over() -> None:
    clock = Clock()
    throttle = Throttle(3, clock)
    assert [throttle.count("10.0.0.1") for _ in range(3)] == [0.0, 0.0, 0.0]
    clock.now_s += 20
    assert throttle.count("10.0.0.1") == WINDOW_S - 20
    assert throttle.count("10.0.0.2") == 0.0
    clock.now_s += WINDOW_S - 20
    assert throttle.count("10.0.0.1") == 0.0


def test_the_table_is_bounded_and_the_oldest_window_goes_first() -> None:
    clock = Clock()
    throttle = Throttle(1, clock, most_addresses=3)
    for number in range(10):
        throttle.count(f"10.0.0.{number}")
        clock.now_s += 1
    assert list(throttle._windows) == ["10.0.0.7", "10.0.0.8", "10.0.0.9"]
    clock.now_s += WINDOW_S
    throttle.count("10.0.1.1")
    assert list(throttle._windows) == ["10.0.1.1"]


def test_an_ipv6_caller_counts_by_the_network_that_is_its_own() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert network("::ffff:10.0.0.1") == "10.0.0.1"
    assert network("10.0.0.1") == "10.0.0.1"
    assert network("testclient") == "testclient"
