"""What the tests of HTTP sources ask for: places, an hour a record, over three days."""

import datetime as dt
from collections.abc import Callable

from ferryman.data.sources.http_source import HttpSource
from ferryman.spec.windows import day_window

DAY = day_window(dt.datetime(2013, 1, 2, tzinfo=dt.UTC))
START = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
RECORDS = [
    {
        "at": f"{START + dt.timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}",
        "place": ["north", "süd", ""][hour % 3],
        "n": hour,
        "heat": None if hour == 30 else hour / 2,
    }
    for hour in range(72)
]
SPAN = {"since": "{start}", "until": "{end}"}
Open = Callable[..., HttpSource]
