SELECT observed_at AS event_time, station, sky, humidity, clouds FROM hours ORDER BY observed_at, station
