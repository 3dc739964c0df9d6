import json
import time

import pytest

from serve.asking.jsonbody import MAX_DEPTH, parse
from serve.errors import InvalidRequest


def refused(raw: bytes) -> InvalidRequest:
    """Return the refusal of a body."""
    with pytest.raises(InvalidRequest) as caught:
        parse(raw)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_json"
    return caught.value


@pytest.mark.parametrize(
    "value",
    [
        {}, [], "x", 1, None, True, -1.5, {"a": {"a": {"a": 1}}}, [{"a": 1}, {"a": 1}], {"a": "x:y", "b": ":::"},
        {"": ""}, "\U0001f600", "\x00", {"a": -(2**63), "b": 2**63}, 1e308, {"a:b": {"c": ":"}},
    ],
)  # fmt: skip
def test_what_is_strict_json_comes_back_as_it_was(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False, indent=2).encode().replace(b"\x00", b"\\u0000")) == value


@pytest.mark.parametrize("raw", [b"", b" ", b"{", b"[1,]", b"{'a': 1}", b"{a: 1}", b"01", b"1 2", b"tru", b'"\n"'])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    refused(raw)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","model":"a"}', "model"),
        (b'{"model":"a","mod\\u0065l":"b"}', "model"),
        (b'{"a":[{"b":{"c":1,"c":2}}]}', "c"),
        (b'[{"x":1,"y":2,"x":3}]', "x"),
        (b'{"text":"a:b","n":1,"n":2}', "n"),
        (b'{"' + b"k" * 500 + b'":1,"' + b"k" * 500 + b'":2}', "k" * 64),
    ],
)
def test_a_name_given_twice_is_refused_by_name(raw: bytes, name: str) -> None:
    assert refused(raw).param == name


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9223372036854775809", b"1" * 19 + b"0"]
)
def test_numbers_that_are_none_or_too_large_are_refused(number: bytes) -> None:
    refused(number)
    refused(b'{"a": [' + number + b"]}")


def test_the_field_of_an_integer_beyond_64_bits_is_named() -> None:
    assert refused(b'{"n": 1, "seed": [[18446744073709551616]]}').param == "seed"


@pytest.mark.parametrize("digits", [4000, 10_000, 1_000_000])
def test_an_integer_of_very_many_digits_costs_no_time(digits: int) -> None:
    started = time.process_time()
    refused(b'{"seed": -' + b"7" * digits + b"}")
    assert time.process_time() - started < 0.1


def test_many_long_integers_cost_no_time() -> None:
    started = time.process_time()
    refused(b"[" + b",".join([b"7" * 4000] * 250) + b"]")
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_bounded(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> bytes:
        return opening * depth + b"1" + closing * depth

    parse(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 10_000, 100_000):
        assert "deeper" in str(refused(nested(depth)))
    refused(opening * 100_000)
    refused(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "raw", [b'"\xff"', b'{"\xff":1}', b'"\xed\xa0\x80"', "{}".encode("utf-16"), b"\xef\xbb\xbf{}", b'"\xc3"']
)
def test_bytes_that_are_not_plain_utf8_are_refused(raw: bytes) -> None:
    refused(raw)


@pytest.mark.parametrize("raw", [rb'"\ud800"', rb'"\udc00"', rb'"\udc00\ud800"', rb'"\ud800x"', rb'{"\ud800 ":1}'])
def test_lone_surrogates_are_refused(raw: bytes) -> None:
    refused(raw)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse(rb'"\ud83d\ude00"') == "\U0001f600"


def test_a_body_of_one_kilobyte_costs_less_than_50_microseconds() -> None:
    turns = [{"role": "user", "content": "Tell me: what is it? " * 15}, {"role": "assistant", "content": "well " * 80}]
    raw = json.dumps({"model": "live", "temperature": 0.5, "stream": True, "messages": turns}).encode()
    runs = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(50):
            parse(raw)
        runs.append((time.perf_counter() - started) / 50)
    assert min(runs) < 50e-6
