"""Bad bodies, rows and columns, of every dialect that sends them."""

from serving_requests.bad_request import (
    API,
    LINE,
    NOT_JSON,
    PLACE_DISTANCE,
    PLACE_HOUR,
    REGRESS,
    ROW,
    V1,
    V2,
    BadRequest,
    columns,
    rows,
    value,
)


def _carrier(text: str) -> bytes:
    """A row whose carrier is written so."""
    return b'{"instances": [{"carrier": "%b", "distance": 1, "hour": 1}]}' % text.encode()


BODIES = [
    BadRequest("no body", V1, b"", NOT_JSON),
    BadRequest("no JSON", V1, b"instances=1", NOT_JSON),
    BadRequest("half of a JSON", V1, b'{"instances": [', NOT_JSON),
    BadRequest("two JSON values", V1, b"{} {}", NOT_JSON),
    BadRequest("bytes that are no UTF-8", V1, b'{"instances": ["\xff\xfe"]}', NOT_JSON),
    BadRequest("a lone surrogate in a text", V1, _carrier("\\ud800"), NOT_JSON),
    BadRequest("a lone surrogate in a name", V1, b'{"instances": [{"\\ud800": 1}]}', NOT_JSON),
    BadRequest("a NUL byte in a text", V1, _carrier("\0"), NOT_JSON),
    BadRequest("NaN", V1, value("NaN"), "must be finite", **PLACE_DISTANCE),
    BadRequest("Infinity", V1, value("-Infinity"), "must be finite", **PLACE_DISTANCE),
    BadRequest("1e400", V1, value("1e400"), "must be finite", **PLACE_DISTANCE),
    BadRequest(
        "NaN in the second row of a column",
        V1,
        b'{"inputs": {"carrier": ["UA", ""], "distance": [1, NaN], "hour": [1, 2]}}',
        "must be finite",
        row=1,
        field="distance",
    ),
    BadRequest("NaN in a bare list", API, b"[1, NaN]", "must be finite", row=1, field="x"),
    BadRequest("5,000 digits", V1, value("9" * 5000), NOT_JSON),
    BadRequest("5,000 lists in one another", V1, value("[" * 5000 + "]" * 5000), NOT_JSON),
    BadRequest("5,000 lists in one another, cut", V2, b"[" * 5000, NOT_JSON),
    BadRequest("a list, not an object", V1, b"[1, 2]", "the body must be a JSON object"),
    BadRequest("null", V2, b"null", "the body must be a JSON object"),
    BadRequest(
        "a larger body", V1, b" " * (8 * 2**20 + 1), "the body is larger than 8388608 bytes", 413
    ),
    BadRequest(
        "a compressed body",
        V1,
        b"\x1f\x8b\x08",
        "a packed body is not read; send it as it is",
        415,
        headers={"content-encoding": "gzip"},
    ),
]
ROWS = [
    BadRequest("neither form", V1, b"{}", "the body needs exactly one of 'instances' and 'inputs'"),
    BadRequest(
        "both forms",
        V1,
        b'{"instances": [], "inputs": {}}',
        "the body needs exactly one of 'instances' and 'inputs'",
    ),
    BadRequest(
        "an unknown key",
        V1,
        b'{"instances": [], "model": "x"}',
        "unknown key in the body",
        field="model",
    ),
    BadRequest(
        "another signature",
        V1,
        b'{"instances": [1], "signature_name": "x"}',
        "no such signature; there are 'serving_default' and 'tensorflow/serving/predict'",
        field="signature_name",
    ),
    BadRequest("no rows", V1, rows(), "rows must be a list of at least one object"),
    BadRequest(
        "rows that are an object",
        V1,
        b'{"instances": {"x": 1}}',
        "rows must be a list of at least one object",
    ),
    BadRequest("10,001 rows", V1, rows(*[{}] * 10_001), "10001 rows; at most 10000 in one request"),
    BadRequest(
        "a row that is null",
        V1,
        rows(ROW, None),
        "a row must be an object of column: value, or a list of values in the model's order",
        row=1,
    ),
    BadRequest(
        "a row that is a text",
        V1,
        rows("UA"),
        "a row must be an object of column: value, or a list of values in the model's order",
        row=0,
    ),
    BadRequest(
        "a row with one value too few",
        V1,
        rows(["UA", 719.0]),
        "a row of 2 values; the model takes 3",
        row=0,
    ),
    BadRequest(
        "a bare value for three columns",
        V1,
        rows(5),
        "a row must be an object of column: value, or a list of values in the model's order",
        row=0,
    ),
    BadRequest("an unknown column", V1, rows({**ROW, "z": 1}), "unknown column", row=0, field="z"),
    BadRequest(
        "a missing column",
        V1,
        rows(ROW, {"carrier": "UA", "hour": 1}),
        "column is missing",
        row=1,
        field="distance",
    ),
    BadRequest(
        "a column named as another, but for its last letter",
        V1,
        rows({"carrier": "UA", "distance": 1, "hour\n": 1}),
        "unknown column",
        row=0,
        field="hour\n",
    ),
    BadRequest(
        "text for a number", V1, value('"far"'), "must be a number or null", **PLACE_DISTANCE
    ),
    BadRequest(
        "true for a number", V1, value("true"), "must be a number or null", **PLACE_DISTANCE
    ),
    BadRequest(
        "a list for a number", V1, value("[1]"), "must be a number or null", **PLACE_DISTANCE
    ),
    BadRequest(
        "an object for a number",
        V1,
        value('{"b64": "AA=="}'),
        "must be a number or null",
        **PLACE_DISTANCE,
    ),
    BadRequest("a number beyond float32", V1, value("1e300"), "is too large", **PLACE_DISTANCE),
    BadRequest("400 digits", V1, value("9" * 400), "is too large", **PLACE_DISTANCE),
    BadRequest(
        "a half hour", V1, rows({**ROW, "hour": 1.5}), "must be a whole number", **PLACE_HOUR
    ),
    BadRequest(
        "an hour beyond 2**53", V1, rows({**ROW, "hour": 2**60}), "is too large", **PLACE_HOUR
    ),
    BadRequest(
        "a number for a text",
        V1,
        rows({**ROW, "carrier": 7}),
        "must be text or null",
        row=0,
        field="carrier",
    ),
    BadRequest(
        "a long text",
        V1,
        rows({**ROW, "carrier": "x" * 1001}),
        "longer than 1000 characters",
        row=0,
        field="carrier",
    ),
    BadRequest(
        "a number as entity key",
        V1,
        rows({**ROW, "entity_key": 5}),
        "must be text",
        row=0,
        field="entity_key",
    ),
    BadRequest(
        "a time without a zone",
        V1,
        rows({**ROW, "event_time": "2013-01-01T10:15:00"}),
        "must be a time with a zone, such as 2013-01-01T10:15:00Z",
        row=0,
        field="event_time",
    ),
    BadRequest("null where none may be", LINE, rows(1, None), "must not be null", row=1, field="x"),
    BadRequest(
        "a list of two for one column",
        LINE,
        rows([1, 2]),
        "a row of 2 values; the model takes 1",
        row=0,
    ),
    BadRequest(
        "columns of two lengths",
        V1,
        columns(carrier=["UA"], distance=[1, 2], hour=[1]),
        "every column must be a list, all of one length",
        field="distance",
    ),
    BadRequest(
        "a column that is no list",
        V1,
        columns(carrier="UA", distance=[1], hour=[1]),
        "every column must be a list, all of one length",
        field="carrier",
    ),
    BadRequest(
        "columns without rows",
        V1,
        columns(carrier=[], distance=[], hour=[]),
        "every column must be a list, all of one length",
        field="carrier",
    ),
    BadRequest(
        "a missing column of columns",
        V1,
        columns(carrier=["UA"], hour=[1]),
        "column is missing",
        field="distance",
    ),
    BadRequest("a bare list of texts", API, b'["a"]', "must be a number or null", row=0, field="x"),
    BadRequest("a bare value", API, b"1", "the body must be a JSON object"),
    BadRequest("a bare list, cut", API, b"[1, 2", NOT_JSON),
]
EXAMPLES = [
    BadRequest(
        "instances for regress", REGRESS, rows(1), "unknown key in the body", field="instances"
    ),
    BadRequest(
        "no examples",
        REGRESS,
        b'{"examples": []}',
        "examples must be a list of at least one object",
        field="examples",
    ),
    BadRequest(
        "an example that is no object",
        REGRESS,
        b'{"examples": [1]}',
        "an example must be an object of column: value",
        row=0,
    ),
    BadRequest(
        "a value in context and example",
        REGRESS,
        b'{"examples": [{"x": 1}], "context": {"x": 1}}',
        "stands in the context too",
        row=0,
        field="x",
    ),
    BadRequest(
        "an unknown column in the context",
        REGRESS,
        b'{"examples": [{"x": 1}], "context": {"z": 1}}',
        "unknown column in the context",
        field="z",
    ),
    BadRequest(
        "classify of a regression",
        "/v1/models/line:classify",
        b'{"examples": [{"x": 1}]}',
        "a regression model answers no :classify; ask for :predict or :regress",
    ),
]
