-- What is known about each flight before its scheduled departure.
--
-- Runs once per ingested window, in DuckDB. What each view holds is decided by the engine, so that
-- this query cannot look ahead:
--   flights          the window's flights, without the columns that are known only afterwards
--   flights_history  flights of the 29 days before the window, all columns, and only those whose
--                    label was already known when the window began
--   weather          the window's hourly reports, and those of the 12 hours before it
--   planes           the registry of planes
-- Time: `time_hour` and `event_time` are UTC; `hour`, `minute`, `year`, `month`, `day` are New
-- York's wall clock. People plan by the wall clock, so the schedule's features use it; joins use UTC.

WITH schedule AS (
    SELECT
        *,
        time_hour + to_minutes(minute) AS event_time,
        -- How full the runway is planned to be. The plan is known; who was cancelled is not.
        count(*) OVER (PARTITION BY origin, time_hour) AS departures_same_hour
    FROM flights
),

-- One report an hour. The recent past matters beside the last hour: snow that has just stopped
-- still lies on the runway. `RANGE` counts hours, not rows, so that a gap does not reach further.
reports AS (
    SELECT
        *,
        -- rounded, since the order of a floating sum is not ours: the same rows, the same bytes
        round(sum(precip) OVER last_6_hours, 2) AS precip_6h,
        min(visib) OVER last_6_hours AS visib_6h,
        pressure - first(pressure) OVER last_6_hours AS pressure_trend,
        -- A report of hour 9 is complete, and so known, at 10.
        time_hour + INTERVAL 1 HOUR AS known_at
    FROM weather
    WINDOW last_6_hours AS (
        PARTITION BY origin ORDER BY time_hour
        RANGE BETWEEN INTERVAL 5 HOURS PRECEDING AND CURRENT ROW
    )
),

-- The last report that was complete when the flight's hour began, if it is at most 6 hours old:
-- older than that, it says nothing any more, and "no weather" (NULL) is the honest answer.
departure_hours AS (SELECT DISTINCT origin, time_hour FROM schedule),

last_report AS (
    SELECT reports.*, departure_hours.time_hour AS departure_hour
    FROM departure_hours
    ASOF JOIN reports
        ON reports.origin = departure_hours.origin
        AND reports.known_at <= departure_hours.time_hour
    WHERE reports.known_at >= departure_hours.time_hour - INTERVAL 6 HOURS
),

-- How often flights like this one were late lately. Cancelled and diverted ones have no label.
arrivals AS (
    SELECT *, CAST(arr_delay > 15 AS INTEGER) AS late
    FROM flights_history
    WHERE arr_delay IS NOT NULL
),

-- Sums of whole numbers only, here and below: they are exact in whatever order threads add them.
overall AS (SELECT avg(late) AS rate FROM arrivals),

-- Each rate is the excess over the overall rate of the same days: "worse than the rest", not "it
-- was a bad month", which would let a model learn the calendar. Groups with few flights are drawn
-- towards zero by counting imaginary average flights: 5 where groups are small, 20 elsewhere.
by_flight AS (
    SELECT carrier, flight, origin, (sum(late) - count(*) * any_value(rate)) / (count(*) + 5) AS excess
    FROM arrivals CROSS JOIN overall
    GROUP BY carrier, flight, origin
),

by_hour AS (
    SELECT carrier, origin, hour, (sum(late) - count(*) * any_value(rate)) / (count(*) + 20) AS excess
    FROM arrivals CROSS JOIN overall
    GROUP BY carrier, origin, hour
),

by_route AS (
    SELECT origin, dest, (sum(late) - count(*) * any_value(rate)) / (count(*) + 20) AS excess
    FROM arrivals CROSS JOIN overall
    GROUP BY origin, dest
),

by_plane AS (
    SELECT tailnum, (sum(late) - count(*) * any_value(rate)) / (count(*) + 5) AS excess
    FROM arrivals CROSS JOIN overall
    WHERE tailnum IS NOT NULL
    GROUP BY tailnum
)

SELECT
    schedule.event_time,
    schedule.carrier,
    schedule.flight,
    schedule.origin,
    schedule.dest,

    -- the schedule
    schedule.hour * 60 + schedule.minute AS departure_minute,
    schedule.sched_arr_time // 100 * 60 + schedule.sched_arr_time % 100 AS arrival_minute,
    CAST(isodow(make_date(schedule.year, schedule.month, schedule.day)) AS INTEGER) AS weekday,
    schedule.distance,
    CAST(schedule.departures_same_hour AS INTEGER) AS departures_same_hour,

    -- the plane; a sixth of the flights name one that the registry does not have
    schedule.year - planes.year AS plane_age,
    planes.seats AS plane_seats,
    -- the first word joins AIRBUS and AIRBUS INDUSTRIE, and the three MCDONNELLs
    coalesce(split_part(planes.manufacturer, ' ', 1), '') AS plane_maker,

    -- the weather of the last full hour
    last_report.temp,
    last_report.dewp,
    last_report.humid,
    CAST(last_report.wind_dir AS DOUBLE) AS wind_dir,
    last_report.wind_speed,
    last_report.wind_gust,
    last_report.precip,
    last_report.pressure,
    last_report.visib,
    last_report.precip_6h,
    last_report.visib_6h,
    last_report.pressure_trend,

    -- the recent past
    by_flight.excess AS flight_excess_late,
    by_hour.excess AS hour_excess_late,
    by_route.excess AS route_excess_late,
    by_plane.excess AS plane_excess_late,

    -- proof that the weather was known in time; the engine checks it against event_time
    last_report.known_at AS weather_known_at

FROM schedule
LEFT JOIN last_report
    ON last_report.origin = schedule.origin
    AND last_report.departure_hour = schedule.time_hour
LEFT JOIN planes ON planes.tailnum = schedule.tailnum
LEFT JOIN by_flight
    ON by_flight.carrier = schedule.carrier
    AND by_flight.flight = schedule.flight
    AND by_flight.origin = schedule.origin
LEFT JOIN by_hour
    ON by_hour.carrier = schedule.carrier
    AND by_hour.origin = schedule.origin
    AND by_hour.hour = schedule.hour
LEFT JOIN by_route
    ON by_route.origin = schedule.origin
    AND by_route.dest = schedule.dest
LEFT JOIN by_plane ON by_plane.tailnum = schedule.tailnum
ORDER BY event_time, schedule.origin, schedule.carrier, schedule.flight, schedule.dest
