SELECT seen AS event_time, station, rain > 0 AS wet FROM days ORDER BY seen, station
