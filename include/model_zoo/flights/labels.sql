-- The label: did the flight arrive more than 15 minutes late?
--
-- `flights` holds the window's flights with every column; the engine asks for labels one day after
-- the event, when the arrivals are known.

SELECT
    time_hour + to_minutes(minute) AS event_time,
    carrier,
    flight,
    origin,
    dest,
    -- A cancelled or diverted flight has no arrival delay, hence no label (NULL, not "on time"):
    -- it is predicted and counted as unlabelled, but never trained or evaluated on.
    arr_delay > 15 AS late
FROM flights
ORDER BY event_time, origin, carrier, flight, dest
