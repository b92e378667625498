SELECT at AS event_time, station, humidity FROM days ORDER BY at, station
