"""Bad tensors of the Open Inference Protocol, and bad paths of every dialect."""

import json
import struct

from serving_requests.bad_request import (
    INPUTS,
    NOT_JSON,
    PLACE_DISTANCE,
    PLACE_HOUR,
    ROW,
    V1,
    V2,
    BadRequest,
    columns,
    header,
    rows,
    sized,
    tensors,
)

HOUR = struct.pack("<q", 15)

TENSORS = [
    BadRequest(
        "no tensors", V2, b'{"inputs": []}', "inputs must be a list of tensors", field="inputs"
    ),
    BadRequest(
        "columns instead of tensors",
        V2,
        columns(hour=[1]),
        "inputs must be a list of tensors",
        field="inputs",
    ),
    BadRequest(
        "a tensor without a name",
        V2,
        b'{"inputs": [{"shape": [1]}]}',
        "every tensor must be an object with a name",
        field="inputs",
    ),
    BadRequest(
        "the same tensor twice",
        V2,
        tensors(name="carrier"),
        "two tensors have this name",
        field="carrier",
    ),
    BadRequest("an unknown tensor", V2, tensors(name="z"), "unknown column", field="z"),
    BadRequest(
        "a missing tensor",
        V2,
        json.dumps({"inputs": INPUTS[:2]}).encode(),
        "column is missing",
        field="hour",
    ),
    BadRequest(
        "BOOL for a number",
        V2,
        tensors(datatype="BOOL", data=[True]),
        "datatype must be a whole number (INT8 to UINT64) or FP16, FP32, FP64",
        field="hour",
    ),
    BadRequest(
        "FP64 for a text",
        V2,
        tensors(place=0, datatype="FP64", data=[1.0]),
        "datatype must be BYTES",
        field="carrier",
    ),
    BadRequest("a half for INT64", V2, tensors(data=[1.5]), "is no INT64", **PLACE_HOUR),
    BadRequest(
        "300 for UINT8", V2, tensors(datatype="UINT8", data=[300]), "is no UINT8", **PLACE_HOUR
    ),
    BadRequest(
        "text in an INT64", V2, tensors(data=["15"]), "must be a number or null", **PLACE_HOUR
    ),
    BadRequest(
        "a shape of other rows",
        V2,
        tensors(shape=[2]),
        "shape tells of 2 values, data holds 1",
        field="hour",
    ),
    BadRequest(
        "a shape of two columns",
        V2,
        tensors(shape=[1, 2]),
        "shape must be [rows] or [rows, 1]",
        field="hour",
    ),
    BadRequest(
        "a negative shape",
        V2,
        tensors(shape=[-1]),
        "shape must tell of at least one row",
        field="hour",
    ),
    BadRequest(
        "tensors of two lengths",
        V2,
        tensors(shape=[2], data=[1, 2]),
        "every column must be a list, all of one length",
        field="hour",
    ),
    BadRequest(
        "an unknown output",
        V2,
        tensors(more={"outputs": [{"name": "z"}]}),
        "no such output; there is 'late'",
        field="z",
    ),
    BadRequest("an id that is a number", V2, tensors(more={"id": 5}), "must be text", field="id"),
    BadRequest(
        "parameters that are a list",
        V2,
        tensors(more={"parameters": []}),
        "parameters must be an object",
        field="parameters",
    ),
    BadRequest(
        "fewer bytes than announced",
        **sized(8, HOUR[:7]),
        text="binary_data_size is 8, but 7 bytes are left of the body",
        field="hour",
    ),
    BadRequest(
        "bytes of no tensor",
        **sized(8, HOUR + b"123"),
        text="3 bytes of the body belong to no tensor",
    ),
    BadRequest(
        "bytes of half a number",
        **sized(4, HOUR[:4]),
        text="INT64 of shape [1] is 8 bytes, not 4",
        field="hour",
    ),
    BadRequest(
        "a negative size",
        **sized(-8, HOUR),
        text="binary_data_size must be a whole number of bytes",
        field="hour",
    ),
    BadRequest(
        "a text that is longer than its bytes",
        **sized(6, b"\xff\xff\xff\xffUA", "carrier"),
        text="ends within a text",
        row=0,
        field="carrier",
    ),
    BadRequest(
        "a text that is no UTF-8",
        **sized(6, b"\2\0\0\0\xff\xfe", "carrier"),
        text="must be UTF-8 text",
        row=0,
        field="carrier",
    ),
    BadRequest(
        "NaN as bytes",
        **sized(8, struct.pack("<d", float("nan")), "distance"),
        text="must be finite",
        **PLACE_DISTANCE,
    ),
    BadRequest(
        "a header longer than the body",
        **header("99999"),
        text="inference-header-content-length is not a length of this body",
    ),
    BadRequest(
        "a header of 5,000 digits",
        **header("9" * 5000),
        text="inference-header-content-length is not a length of this body",
    ),
    BadRequest(
        "a header that is no number",
        **header("-1"),
        text="inference-header-content-length is not a length of this body",
    ),
    BadRequest("a header that ends within the JSON", **header("20"), text=NOT_JSON),
]
PATHS = [
    BadRequest("another model", "/v1/models/none:predict", rows(ROW), "no such model", 404),
    BadRequest(
        "a model's name with a line end",
        "/v1/models/tiny%0A:predict",
        rows(ROW),
        "no such model",
        404,
    ),
    BadRequest(
        "a model's name with a slash",
        "/v1/models/..%2Ftiny:predict",
        rows(ROW),
        "no such path",
        404,
    ),
    BadRequest(
        "a model's name in capitals", "/v1/models/TINY:predict", rows(ROW), "no such model", 404
    ),
    BadRequest(
        "a long path", "/v1/models/" + "x" * 600 + ":predict", rows(ROW), "no such path", 404
    ),
    BadRequest(
        "a version that is not loaded",
        "/v1/models/tiny/versions/9:predict",
        rows(ROW),
        "model 'tiny' has no such version",
        404,
    ),
    BadRequest(
        "a version that is no number",
        "/v1/models/tiny/versions/x:predict",
        rows(ROW),
        "no such path",
        404,
    ),
    BadRequest(
        "a version of 20 digits",
        f"/v1/models/tiny/versions/{10**19}:predict",
        rows(ROW),
        "no such path",
        404,
    ),
    BadRequest(
        "a label that is not there",
        "/v1/models/tiny/labels/stable:predict",
        rows(ROW),
        "model 'tiny' has no such version",
        404,
    ),
    BadRequest(
        "a label of a model without it",
        "/v1/models/line/labels/previous:predict",
        rows(1),
        "model 'line' has no such version",
        404,
    ),
    BadRequest(
        "the state of another version",
        "/v1/models/tiny/versions/9",
        b"",
        "model 'tiny' has no such version",
        404,
        method="GET",
    ),
    BadRequest(
        "a version in v2 that is not loaded",
        "/v2/models/tiny/versions/9/infer",
        tensors(),
        "model 'tiny' has no such version",
        404,
    ),
    BadRequest("an unknown verb", "/v1/models/tiny:explain", rows(ROW), "no such path", 404),
    BadRequest("an unknown path", "/v1/model/tiny", b"", "no such path", 404, method="GET"),
    BadRequest("GET of a prediction", V1, b"", "method not allowed", 405, method="GET"),
    BadRequest("DELETE of a prediction", V2, b"", "method not allowed", 405, method="DELETE"),
    BadRequest("POST of a state", "/v1/models/tiny", rows(ROW), "method not allowed", 405),
    BadRequest("POST of a server's state", "/v2", b"{}", "method not allowed", 405),
]
