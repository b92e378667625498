SELECT sold_at AS event_time, street, price FROM homes ORDER BY sold_at, street
