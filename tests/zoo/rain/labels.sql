SELECT observed_at AS event_time, station, millimetres > 0 AS wet FROM hours ORDER BY observed_at, station
