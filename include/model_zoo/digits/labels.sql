-- The digit that the picture shows.

SELECT written_at AS event_time, image, digit
FROM digits
ORDER BY event_time, image
