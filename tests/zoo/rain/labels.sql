SELECT at AS event_time, station, millimetres > 0 AS wet FROM hours ORDER BY at, station
