SELECT at AS event_time, station, sky, humidity, clouds FROM hours ORDER BY at, station
