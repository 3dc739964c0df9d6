"""Bodies that are no strict JSON object, each named by its row of the bad-input catalogue."""

import pytest

BODIES = [
    pytest.param(b"", id="row_1"),
    pytest.param(b"{", id="row_2"),
    *(pytest.param(body, id=f"row_3-{body.decode()}") for body in (b"[]", b'"x"', b"1", b"null", b"true")),
    pytest.param(b'{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}', id="row_4"),
    pytest.param(b'{"interaction_id":"a","rating":1,"rating":-1}', id="row_4-feedback"),
    *(
        pytest.param(b'{"model":"live","temperature":%s}' % each, id=f"row_5-{each.decode()}")
        for each in (b"NaN", b"Infinity", b"-Infinity")
    ),
    pytest.param(b'{"model":"live","temperature":1e999}', id="row_6-1e999"),
    pytest.param(b'{"model":"live","seed":' + b"9" * 10_000 + b"}", id="row_6-10000-digits"),
    pytest.param(b'{"model":' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="row_7-lists"),
    pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="row_7-objects"),
    pytest.param(b'{"model":"\xff\xfe"}', id="row_8-not-utf-8"),
    pytest.param('{"model":"live"}'.encode("utf-16"), id="row_8-utf-16"),
    pytest.param(b'\xef\xbb\xbf{"model":"live"}', id="row_8-bom"),
    pytest.param(rb'{"model":"\ud800"}', id="row_9-high"),
    pytest.param(rb'{"model":"live","messages":[{"role":"user","content":"\udc00"}]}', id="row_9-low"),
]
