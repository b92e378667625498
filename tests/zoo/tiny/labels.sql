SELECT at AS event_time, station, rain > 0 AS wet FROM days ORDER BY at, station
