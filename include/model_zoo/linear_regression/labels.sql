-- The point's y.

SELECT measured_at AS event_time, x, y
FROM points
ORDER BY event_time
