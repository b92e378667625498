-- The point's x, as it was measured.

SELECT measured_at AS event_time, x
FROM points
ORDER BY event_time
