-- The pixels as they were written down: there is nothing to join.

SELECT written_at AS event_time, image, COLUMNS('^p[0-9]+$')
FROM digits
ORDER BY event_time, image
