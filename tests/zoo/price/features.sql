SELECT sold_at AS event_time, street, metres, rooms FROM homes ORDER BY sold_at, street
