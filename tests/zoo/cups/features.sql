SELECT brewed_at AS event_time, machine, grams, heat FROM brews ORDER BY brewed_at, machine
