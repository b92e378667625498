SELECT seen AS event_time, station, humidity FROM days ORDER BY seen, station
