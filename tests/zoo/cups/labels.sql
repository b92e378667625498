SELECT brewed_at AS event_time, machine, size FROM brews ORDER BY brewed_at, machine
